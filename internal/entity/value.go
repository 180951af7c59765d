package entity

import (
	"encoding/json"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"satchel/internal/ident"
)

// Value is a field's value as normalised JSON; nil is no value.
type Value []byte

// IsNull reports whether there is no value.
func (v Value) IsNull() bool { return len(v) == 0 }

// StringValue encodes a text.
func StringValue(s string) Value {
	if plain(s) {
		b := make([]byte, 0, len(s)+2)
		b = append(b, '"')
		b = append(b, s...)
		return append(b, '"')
	}
	b, err := json.Marshal(s)
	if err != nil { // strings always marshal
		panic(err)
	}
	return b
}

// plain reports whether s stands in JSON as it is, with Go's escaping of
// HTML's three characters kept out of it.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' || c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// IntValue encodes an integer.
func IntValue(n int64) Value { return strconv.AppendInt(nil, n, 10) }

// BoolValue encodes a boolean.
func BoolValue(b bool) Value { return strconv.AppendBool(nil, b) }

// TimeValue encodes an instant.
func TimeValue(m ident.Millis) Value {
	b := make([]byte, 0, 26)
	b = append(b, '"')
	b = m.Time().AppendFormat(b, "2006-01-02T15:04:05.000Z")
	return append(b, '"')
}

// RefValue encodes a reference.
func RefValue(id ident.RecordID) Value { return StringValue(string(id)) }

// SetValue encodes a set: sorted, without repetition; empty is no value.
func SetValue(ss []string) Value {
	if len(ss) == 0 {
		return nil
	}
	ss = slices.Clone(ss)
	slices.Sort(ss)
	ss = slices.Compact(ss)
	b := []byte{'['}
	for i, s := range ss {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, StringValue(s)...)
	}
	return append(b, ']')
}

// Text returns the text of a String, Text, Enum, Ref, Date or Time; "" for
// no value.
func (v Value) Text() string {
	s, _ := unquote(v)
	return s
}

// Ref returns the id of a Ref.
func (v Value) Ref() ident.RecordID { return ident.RecordID(v.Text()) }

// Int returns an integer; 0 for no value.
func (v Value) Int() int64 {
	n, _ := strconv.ParseInt(string(v), 10, 64)
	return n
}

// Bool returns a boolean; false for no value.
func (v Value) Bool() bool { return string(v) == "true" }

// Time returns an instant and whether there is one.
func (v Value) Time() (ident.Millis, bool) {
	if len(v) < 2 {
		return 0, false
	}
	t, err := time.Parse(time.RFC3339Nano, string(v[1:len(v)-1]))
	if err != nil {
		return 0, false
	}
	return ident.MillisOf(t), true
}

// Set returns the entries of a Refs or Strings.
func (v Value) Set() []string {
	if len(v) == 0 {
		return nil
	}
	var ss []string
	if err := json.Unmarshal(v, &ss); err != nil {
		return nil
	}
	return ss
}

// unquote decodes a JSON string.
func unquote(raw []byte) (string, bool) {
	if len(raw) < 2 || raw[0] != '"' || raw[len(raw)-1] != '"' {
		return "", false
	}
	in := raw[1 : len(raw)-1]
	simple := true
	for _, c := range in {
		if c == '\\' || c == '"' || c < ' ' || c >= utf8.RuneSelf {
			simple = false
			break
		}
	}
	if simple {
		return string(in), true
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", false
	}
	return s, true
}
