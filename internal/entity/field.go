package entity

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"satchel/internal/fault"
	"satchel/internal/ident"
)

// Kind is what a field holds.
type Kind uint8

// The kinds, with their JSON.
const (
	String  Kind = iota + 1 // one line of text, at most Max characters (200 unless said)
	Text                    // text with line breaks, at most Max characters (20,000 unless said)
	Int                     // integer within ±2^53
	Bool                    // true or false
	Time                    // RFC 3339, stored in UTC with milliseconds
	Date                    // YYYY-MM-DD
	Enum                    // one of Values
	Ref                     // id of a record of one of Targets
	Refs                    // set of ids, sorted
	Strings                 // set of strings, sorted
	Money                   // {"amount":minor units,"currency":"EUR"}
	Point                   // {"lat":…,"lng":…} in degrees
	Lines                   // list of objects with an id each, see Items
	Number                  // decimal number
)

var kindNames = [...]string{"", "string", "text", "int", "bool", "time", "date", "enum", "ref", "refs", "strings", "money", "point", "lines", "number"}

func (k Kind) String() string { return kindNames[k] }

// Field is one field of a type, or an argument of an action, or a member of
// a line.
type Field struct {
	No        uint8
	Name      string
	Kind      Kind
	Facet     Facet
	Required  bool
	Immutable bool // given at creation, never changed
	ReadOnly  bool // set by actions and by the system only
	Unique    bool // judged over what the writer sees
	Max       int
	Min       *int64
	Values    []string // of an Enum or a status
	Fallback  string   // what an older client shows for a value it doesn't know
	Targets   []string // type names of a Ref; empty for any type
	Items     []*Field // of Lines
	Days      bool     // a Time that is indexed by UTC day
	Search    bool     // q looks into it
	// Personal is what goes when a person is erased: a value that tells of the
	// person whom the record stands for; of a reference, the whole record with
	// the person whom it names, see Type.PersonalIf.
	Personal  bool
	unindexed bool
}

// Indexed reports whether the field's values have scope indexes.
func (f *Field) Indexed() bool {
	switch f.Kind {
	case Ref, Refs:
		return !f.unindexed
	case Enum, Bool:
		return true
	case Time:
		return f.Days
	}
	return false
}

// Str declares a one-line text field.
func Str(no uint8, name string) *Field { return &Field{No: no, Name: name, Kind: String} }

// Long declares a text field with line breaks.
func Long(no uint8, name string) *Field { return &Field{No: no, Name: name, Kind: Text} }

// Integer declares an integer field.
func Integer(no uint8, name string) *Field { return &Field{No: no, Name: name, Kind: Int} }

// Decimal declares a decimal number.
func Decimal(no uint8, name string) *Field { return &Field{No: no, Name: name, Kind: Number} }

// Flag declares a boolean field.
func Flag(no uint8, name string) *Field { return &Field{No: no, Name: name, Kind: Bool} }

// At declares an instant.
func At(no uint8, name string) *Field { return &Field{No: no, Name: name, Kind: Time} }

// On declares a calendar date.
func On(no uint8, name string) *Field { return &Field{No: no, Name: name, Kind: Date} }

// OneOf declares an enumeration.
func OneOf(no uint8, name string, values ...string) *Field {
	return &Field{No: no, Name: name, Kind: Enum, Values: values}
}

// To declares a reference to a record of one of the types; none for any type.
func To(no uint8, name string, types ...string) *Field {
	return &Field{No: no, Name: name, Kind: Ref, Targets: types}
}

// ToMany declares a set of references.
func ToMany(no uint8, name string, types ...string) *Field {
	return &Field{No: no, Name: name, Kind: Refs, Targets: types}
}

// Set declares a set of strings.
func Set(no uint8, name string) *Field { return &Field{No: no, Name: name, Kind: Strings} }

// Amount declares a sum of money.
func Amount(no uint8, name string) *Field { return &Field{No: no, Name: name, Kind: Money} }

// Position declares a point on the map.
func Position(no uint8, name string) *Field { return &Field{No: no, Name: name, Kind: Point} }

// List declares a list of lines with the given members.
func List(no uint8, name string, items ...*Field) *Field {
	return &Field{No: no, Name: name, Kind: Lines, Items: items}
}

// Need marks the field required.
func (f *Field) Need() *Field { f.Required = true; return f }

// Fixed marks the field immutable after creation.
func (f *Field) Fixed() *Field { f.Immutable = true; return f }

// System marks the field as set by actions and the system only.
func (f *Field) System() *Field { f.ReadOnly = true; return f }

// Only marks the field's values unique within the type.
func (f *Field) Only() *Field { f.Unique = true; return f }

// In puts the field into a facet.
func (f *Field) In(x Facet) *Field { f.Facet = x; return f }

// UpTo bounds the length (String, Text, sets, lines).
func (f *Field) UpTo(n int) *Field { f.Max = n; return f }

// AtLeast bounds an integer from below.
func (f *Field) AtLeast(n int64) *Field { f.Min = &n; return f }

// ByDay indexes a Time by UTC day.
func (f *Field) ByDay() *Field { f.Days = true; return f }

// Searched lets q find records by this field.
func (f *Field) Searched() *Field { f.Search = true; return f }

// OfPerson marks the field as personal.
func (f *Field) OfPerson() *Field { f.Personal = true; return f }

// Else names the value that older clients show for one they don't know.
func (f *Field) Else(v string) *Field { f.Fallback = v; return f }

func bad(f *Field, format string, args ...any) error {
	return fault.Newf(fault.BadValue, format, args...).OnField(f.Name)
}

const maxSafeInt = 1 << 53

// Normalize checks a JSON value against the field and returns the form in
// which it is stored and compared: equal values have equal bytes. null and an
// empty string are no value (nil). Raw must be one valid JSON value. Texts
// have no characters that make them look like others; see unfit.
func (f *Field) Normalize(raw []byte) (Value, error) { return f.normalize(raw, unfit) }

func (f *Field) normalize(raw []byte, bars barred) (Value, error) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || bytes.Equal(raw, []byte("null")) {
		return nil, nil
	}
	switch f.Kind {
	case String, Text:
		return f.text(raw, bars)
	case Int:
		n, err := strconv.ParseInt(string(raw), 10, 64)
		if err != nil || n > maxSafeInt || n < -maxSafeInt {
			return nil, bad(f, "%s must be an integer.", f.Name)
		}
		if f.Min != nil && n < *f.Min {
			return nil, bad(f, "%s must be at least %d.", f.Name, *f.Min)
		}
		return IntValue(n), nil
	case Number:
		x, err := strconv.ParseFloat(string(raw), 64)
		if err != nil || raw[0] == '"' {
			return nil, bad(f, "%s must be a number.", f.Name)
		}
		return Value(appendNumber(nil, x)), nil
	case Bool:
		switch string(raw) {
		case "true", "false":
			return Value(bytes.Clone(raw)), nil
		}
		return nil, bad(f, "%s must be true or false.", f.Name)
	case Time:
		s, ok := unquote(raw)
		t, err := time.Parse(time.RFC3339Nano, s)
		if t = t.UTC(); !ok || err != nil || t.Year() < 1900 || t.Year() > 9999 {
			return nil, bad(f, "%s must be a time like 2026-01-31T08:00:00Z.", f.Name)
		}
		return TimeValue(ident.MillisOf(t)), nil
	case Date:
		s, ok := unquote(raw)
		t, err := time.Parse(time.DateOnly, s)
		if !ok || err != nil {
			return nil, bad(f, "%s must be a date like 2026-01-31.", f.Name)
		}
		return StringValue(t.Format(time.DateOnly)), nil
	case Enum:
		s, ok := unquote(raw)
		if !ok || !slices.Contains(f.Values, s) {
			return nil, bad(f, "%s must be one of: %s.", f.Name, strings.Join(f.Values, ", "))
		}
		return StringValue(s), nil
	case Ref:
		s, ok := unquote(raw)
		if !ok || !ident.RecordID(s).Valid() {
			return nil, bad(f, "%s must be the id of a record.", f.Name)
		}
		return StringValue(s), nil
	case Refs, Strings:
		return f.set(raw, bars)
	case Money:
		return f.money(raw)
	case Point:
		return f.point(raw)
	case Lines:
		return f.lines(raw, bars)
	}
	return nil, fault.Newf(fault.InternalError, "field %s has no kind", f.Name)
}

func (f *Field) text(raw []byte, bars barred) (Value, error) {
	s, ok := unquote(raw)
	if !ok {
		return nil, bad(f, "%s must be a text.", f.Name)
	}
	limit := f.Max
	if limit == 0 {
		limit = 200
		if f.Kind == Text {
			limit = 20000
		}
	}
	if utf8.RuneCountInString(s) > limit {
		return nil, bad(f, "%s may have at most %d characters.", f.Name, limit)
	}
	if bars.in(f.Kind, s) {
		return nil, bad(f, "%s has a character that can't be stored.", f.Name)
	}
	if s == "" {
		return nil, nil
	}
	return StringValue(s), nil
}

// appendNumber appends a number as it is stored; there is one zero.
func appendNumber(b []byte, x float64) []byte {
	if x == 0 {
		x = 0
	}
	return strconv.AppendFloat(b, x, 'f', -1, 64)
}

// members decodes an object that has exactly the named members. encoding/json
// would take "LAT" for "lat" in a struct; in a map it does not.
func members(raw []byte, names ...string) (map[string]json.RawMessage, bool) {
	var m map[string]json.RawMessage
	if err := json.Unmarshal(raw, &m); err != nil || len(m) != len(names) {
		return nil, false
	}
	for _, n := range names {
		if _, ok := m[n]; !ok {
			return nil, false
		}
	}
	return m, true
}

func (f *Field) set(raw []byte, bars barred) (Value, error) {
	// Decoded one by one: encoding/json would take a null for an empty text.
	var rows []json.RawMessage
	if err := json.Unmarshal(raw, &rows); err != nil {
		return nil, bad(f, "%s must be a list of texts.", f.Name)
	}
	limit := f.Max
	if limit == 0 {
		limit = 1000
	}
	if len(rows) > limit {
		return nil, bad(f, "%s may have at most %d entries.", f.Name, limit)
	}
	ss := make([]string, 0, len(rows))
	for _, row := range rows {
		s, ok := unquote(row)
		if !ok || s == "" || len(s) > 200 || bars.in(f.Kind, s) || (f.Kind == Refs && !ident.RecordID(s).Valid()) {
			return nil, bad(f, "%s has an entry that can't be used.", f.Name)
		}
		ss = append(ss, s)
	}
	return SetValue(ss), nil
}

func (f *Field) money(raw []byte) (Value, error) {
	m, ok := members(raw, "amount", "currency")
	if !ok {
		return nil, bad(f, "%s must be an amount in minor units and a currency.", f.Name)
	}
	n, err := strconv.ParseInt(string(m["amount"]), 10, 64)
	currency, ok := unquote(m["currency"])
	if err != nil || n > maxSafeInt || n < -maxSafeInt || !ok || len(currency) != 3 || strings.Trim(currency, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
		return nil, bad(f, "%s must have a whole amount and a currency of three capital letters.", f.Name)
	}
	return Value(fmt.Appendf(nil, `{"amount":%d,"currency":"%s"}`, n, currency)), nil
}

func (f *Field) point(raw []byte) (Value, error) {
	m, ok := members(raw, "lat", "lng")
	lat, err := strconv.ParseFloat(string(m["lat"]), 64)
	lng, err2 := strconv.ParseFloat(string(m["lng"]), 64)
	if !ok || err != nil || err2 != nil || lat < -90 || lat > 90 || lng < -180 || lng > 180 {
		return nil, bad(f, "%s must be a latitude and a longitude in degrees.", f.Name)
	}
	b := appendNumber([]byte(`{"lat":`), lat)
	b = append(b, `,"lng":`...)
	b = appendNumber(b, lng)
	return Value(append(b, '}')), nil
}

func (f *Field) lines(raw []byte, bars barred) (Value, error) {
	var rows []map[string]json.RawMessage
	if err := json.Unmarshal(raw, &rows); err != nil {
		return nil, bad(f, "%s must be a list of objects.", f.Name)
	}
	limit := f.Max
	if limit == 0 {
		limit = 1000
	}
	if len(rows) > limit {
		return nil, bad(f, "%s may have at most %d lines.", f.Name, limit)
	}
	if len(rows) == 0 {
		return nil, nil
	}
	seen := map[string]bool{}
	for _, row := range rows {
		if id, ok := unquote(row["id"]); ok {
			seen[id] = true
		}
	}
	// Lines that come without an id get one: the lowest number that is free.
	next, given := 0, map[string]bool{}
	var out []byte
	out = append(out, '[')
	for i, row := range rows {
		id, ok := unquote(row["id"])
		members := len(row) - 1
		if _, has := row["id"]; !has && row != nil {
			for next++; seen[strconv.Itoa(next)]; next++ {
			}
			id, ok, members = strconv.Itoa(next), true, len(row)
		}
		if !ok || id == "" || len(id) > ident.MaxIDLength || bars.in(String, id) || given[id] {
			return nil, bad(f, "each line of %s needs an id of its own.", f.Name)
		}
		given[id] = true
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, `{"id":`...)
		out = append(out, StringValue(id)...)
		left := members
		for _, it := range f.Items {
			v, has := row[it.Name]
			if has {
				left--
			}
			nv, err := it.normalize(v, bars)
			if err != nil {
				e := fault.Of(err)
				return nil, e.OnField(f.Name + "." + it.Name)
			}
			if nv == nil {
				if it.Required {
					return nil, fault.Newf(fault.MissingField, "each line of %s needs %s.", f.Name, it.Name).OnField(f.Name + "." + it.Name)
				}
				continue
			}
			out = append(out, ',', '"')
			out = append(out, it.Name...)
			out = append(out, '"', ':')
			out = append(out, nv...)
		}
		if left > 0 {
			return nil, fault.Newf(fault.UnknownField, "a line of %s has an unknown member.", f.Name).OnField(f.Name)
		}
		out = append(out, '}')
	}
	return Value(append(out, ']')), nil
}
