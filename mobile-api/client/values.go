package client

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	mobile "satchel/mobile-api/wire"
)

// Bounds that every server has where a field names none.
const (
	usualLine    = 200    // characters
	usualText    = 20_000 // characters
	usualEntries = 1000
	maxEntry     = 200 // bytes of a set's entry
	maxID        = 40
	minID        = 8
	maxWhole     = 1 << 53
)

// fits checks a JSON value against the rules of a field. void is set for what
// stands for no value: null, an empty text, an empty list.
func fits(f *mobile.FieldRules, raw json.RawMessage) (void bool, refused *RuleError) {
	return fitsBut(f, raw, unfit)
}

// fitsOver is fits for a value that takes the place of another. Where that one
// would be refused itself for its characters, which were taken once, the server
// judges which of them may stay.
func fitsOver(f *mobile.FieldRules, raw, held json.RawMessage) (void bool, refused *RuleError) {
	void, refused = fits(f, raw)
	if refused == nil {
		return void, nil
	}
	if _, odd := fits(f, held); odd != nil {
		return fitsBut(f, raw, once)
	}
	return void, refused
}

// barred says which characters texts of a kind can't have.
type barred func(kind string, r rune) bool

func (b barred) in(kind, s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return b(kind, r) })
}

// unfit is the characters that a server takes in no new text: control
// characters, what is no UTF-8, and what embeds, overrides or isolates a
// direction of writing. Texts of many lines may break them and have tabs.
func unfit(kind string, r rune) bool {
	switch r {
	case '\n', '\r', '\t', '\u2028', '\u2029':
		return kind != kindText
	}
	return r == utf8.RuneError || unicode.IsControl(r) || (r >= '\u202a' && r <= '\u202e') || (r >= '\u2066' && r <= '\u2069')
}

// once is what servers refused before.
func once(kind string, r rune) bool {
	return r == utf8.RuneError || r == 0 || (kind != kindText && r < ' ')
}

const kindText = "text"

func fitsBut(f *mobile.FieldRules, raw json.RawMessage, bars barred) (void bool, refused *RuleError) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || bytes.Equal(raw, []byte("null")) {
		return true, nil
	}
	bad := func(words string) *RuleError {
		return &RuleError{Code: codeBadValue, Field: f.Name, Message: f.Name + " " + words}
	}
	switch f.Kind {
	case "string", kindText:
		return fitsText(f, raw, bars, bad)
	case "int":
		n, err := strconv.ParseInt(string(raw), 10, 64)
		if err != nil || n > maxWhole || n < -maxWhole {
			return false, bad("must be a whole number.")
		}
		if f.Min != nil && n < *f.Min {
			return false, bad("must be at least " + strconv.FormatInt(*f.Min, 10) + ".")
		}
	case "number":
		if _, err := strconv.ParseFloat(string(raw), 64); err != nil || raw[0] == '"' {
			return false, bad("must be a number.")
		}
	case "bool":
		if s := string(raw); s != "true" && s != "false" {
			return false, bad("must be true or false.")
		}
	case "time":
		if _, ok := instantOf(raw); !ok {
			return false, bad("must be a time like 2026-01-31T08:00:00Z.")
		}
	case "date":
		s, ok := textOf(raw)
		if _, err := time.Parse(time.DateOnly, s); !ok || err != nil {
			return false, bad("must be a date like 2026-01-31.")
		}
	case "enum":
		if s, ok := textOf(raw); !ok || !slices.Contains(f.Values, s) {
			return false, bad("must be one of: " + strings.Join(f.Values, ", ") + ".")
		}
	case "ref":
		if s, ok := textOf(raw); !ok || !isID(s) {
			return false, bad("must be the id of a record.")
		}
	case "refs", "strings":
		return fitsSet(f, raw, bars, bad)
	case "money":
		return false, fitsMoney(raw, bad)
	case "point":
		return false, fitsPoint(raw, bad)
	case "lines":
		return fitsLines(f, raw, bars, bad)
	}
	return false, nil // of a kind that this program does not know the server judges
}

type refuse func(words string) *RuleError

func fitsText(f *mobile.FieldRules, raw []byte, bars barred, bad refuse) (bool, *RuleError) {
	s, ok := textOf(raw)
	if !ok {
		return false, bad("must be a text.")
	}
	limit := f.Max
	if limit == 0 {
		limit = usualLine
		if f.Kind == kindText {
			limit = usualText
		}
	}
	if utf8.RuneCountInString(s) > limit {
		return false, bad("may have at most " + strconv.Itoa(limit) + " characters.")
	}
	if bars.in(f.Kind, s) {
		return false, bad("has a character that can't be stored.")
	}
	return s == "", nil
}

func fitsSet(f *mobile.FieldRules, raw []byte, bars barred, bad refuse) (bool, *RuleError) {
	var rows []json.RawMessage
	if json.Unmarshal(raw, &rows) != nil {
		return false, bad("must be a list of texts.")
	}
	if limit := entries(f); len(rows) > limit {
		return false, bad("may have at most " + strconv.Itoa(limit) + " entries.")
	}
	for _, row := range rows {
		s, ok := textOf(row)
		if !ok || s == "" || len(s) > maxEntry || bars.in(f.Kind, s) || f.Kind == "refs" && !isID(s) {
			return false, bad("has an entry that can't be used.")
		}
	}
	return len(rows) == 0, nil
}

// fitsChange checks a change of a set, {"add":[…],"remove":[…]}.
func fitsChange(f *mobile.FieldRules, raw json.RawMessage) *RuleError {
	var parts map[string]json.RawMessage
	refused := &RuleError{Code: codeBadValue, Field: f.Name, Message: f.Name + " takes a list, or an object of add and remove."}
	if json.Unmarshal(raw, &parts) != nil {
		return refused
	}
	for _, k := range sortedKeys(parts) {
		if k != "add" && k != "remove" {
			return refused
		}
		bars := barred(unfit)
		if k == "remove" { // what is there can go
			bars = once
		}
		if _, err := fitsBut(f, parts[k], bars); err != nil {
			return err
		}
	}
	return nil
}

func fitsMoney(raw []byte, bad refuse) *RuleError {
	m, ok := exactly(raw, "amount", "currency")
	n, err := strconv.ParseInt(string(m["amount"]), 10, 64)
	currency, ok2 := textOf(m["currency"])
	if !ok || err != nil || n > maxWhole || n < -maxWhole || !ok2 || len(currency) != 3 ||
		strings.Trim(currency, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
		return bad("must have a whole amount and a currency of three capital letters.")
	}
	return nil
}

func fitsPoint(raw []byte, bad refuse) *RuleError {
	m, ok := exactly(raw, "lat", "lng")
	lat, err := strconv.ParseFloat(string(m["lat"]), 64)
	lng, err2 := strconv.ParseFloat(string(m["lng"]), 64)
	if !ok || err != nil || err2 != nil || lat < -90 || lat > 90 || lng < -180 || lng > 180 {
		return bad("must be a latitude and a longitude in degrees.")
	}
	return nil
}

func fitsLines(f *mobile.FieldRules, raw []byte, bars barred, bad refuse) (bool, *RuleError) {
	var rows []map[string]json.RawMessage
	if json.Unmarshal(raw, &rows) != nil {
		return false, bad("must be a list of objects.")
	}
	if limit := entries(f); len(rows) > limit {
		return false, bad("may have at most " + strconv.Itoa(limit) + " lines.")
	}
	seen := map[string]bool{}
	for _, row := range rows {
		id, ok := textOf(row["id"])
		if !ok || id == "" || len(id) > maxID || bars.in("", id) || seen[id] {
			return false, bad("needs an id of its own in each line.")
		}
		seen[id] = true
		left := len(row) - 1
		for i := range f.Lines {
			it := &f.Lines[i]
			v, has := row[it.Name]
			if has {
				left--
			}
			void, err := fitsBut(it, v, bars)
			switch {
			case err != nil:
				err.Field = f.Name + "." + it.Name
				return false, err
			case void && it.Required:
				return false, &RuleError{Code: codeMissingField, Field: f.Name + "." + it.Name, Message: "each line of " + f.Name + " needs " + it.Name + "."}
			}
		}
		if left > 0 {
			return false, &RuleError{Code: codeUnknownField, Field: f.Name, Message: "a line of " + f.Name + " has an unknown member."}
		}
	}
	return len(rows) == 0, nil
}

func entries(f *mobile.FieldRules) int {
	if f.Max > 0 {
		return f.Max
	}
	return usualEntries
}

func exactly(raw []byte, names ...string) (map[string]json.RawMessage, bool) {
	var m map[string]json.RawMessage
	if json.Unmarshal(raw, &m) != nil || len(m) != len(names) {
		return nil, false
	}
	for _, n := range names {
		if _, ok := m[n]; !ok {
			return nil, false
		}
	}
	return m, true
}

// textOf decodes a JSON string.
func textOf(raw []byte) (s string, ok bool) {
	if len(raw) < 2 || raw[0] != '"' || json.Unmarshal(raw, &s) != nil {
		return "", false
	}
	return s, true
}

// instantOf decodes a time, in milliseconds.
func instantOf(raw []byte) (int64, bool) {
	s, ok := textOf(raw)
	t, err := time.Parse(time.RFC3339Nano, s)
	if t = t.UTC(); !ok || err != nil || t.Year() < 1900 || t.Year() > 9999 {
		return 0, false
	}
	return t.UnixMilli(), true
}

func isID(s string) bool {
	if len(s) < minID || len(s) > maxID || s[0] == '-' || s[0] == '_' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// differ reports whether two values of a field are surely not the same.
func differ(f *mobile.FieldRules, a, b json.RawMessage) bool {
	switch f.Kind {
	case "string", "text", "enum", "ref", "date":
		x, ok := textOf(a)
		y, ok2 := textOf(b)
		return ok && ok2 && x != y
	case "time":
		x, ok := instantOf(a)
		y, ok2 := instantOf(b)
		return ok && ok2 && x != y
	case "int", "bool":
		return !bytes.Equal(bytes.TrimSpace(a), bytes.TrimSpace(b))
	}
	return false
}
