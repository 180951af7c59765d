package strictjson

import "encoding/json"

// Field is one member of an object: its key, unescaped, and the text of its
// value without surrounding whitespace.
type Field struct {
	Key string
	Raw json.RawMessage
}

// Fields are the members of an object, in the order they came.
type Fields []Field

// Get returns the value of the member with exactly this key.
func (f Fields) Get(key string) (json.RawMessage, bool) {
	for i := range f {
		if f[i].Key == key {
			return f[i].Raw, true
		}
	}
	return nil, false
}

// Object splits data, one JSON object, into its members without decoding
// their values; the values are checked as by Check with the default Limits.
// The Raw of each member is a part of data, not a copy: it lives and changes
// with data. Errors are *fault.Error: those of Check, and fault.BadValue where
// data is valid but no object.
func Object(data []byte) (Fields, error) {
	s := newScanner(data, Limits{})
	defer s.release()
	if s.space() != '{' {
		if err := s.skipValue(); err != nil {
			return nil, err
		}
		if err := s.end(); err != nil {
			return nil, err
		}
		return nil, notObject()
	}
	if err := s.enter(); err != nil {
		return nil, err
	}
	fields := make(Fields, 0, 8)
	base, arena := len(s.keys), len(s.arena)
	for n := 0; ; n++ {
		key, more, err := s.member(n)
		if err != nil {
			return nil, err
		}
		if !more {
			break
		}
		if err := s.unique(base, key); err != nil {
			return nil, err
		}
		name := s.names.get(s.text(key))
		raw, err := s.raw()
		if err != nil {
			return nil, err
		}
		fields = append(fields, Field{name, raw})
	}
	if err := s.leave(base, arena); err != nil {
		return nil, err
	}
	return fields, s.end()
}

// raw checks a value and returns its text, a part of data that can't be
// appended into what follows it.
func (s *scanner) raw() (json.RawMessage, error) {
	s.space()
	start := s.pos
	if err := s.skipValue(); err != nil {
		return nil, err
	}
	return json.RawMessage(s.data[start:s.pos:s.pos]), nil
}
