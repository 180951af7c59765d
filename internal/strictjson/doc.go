// Package strictjson reads JSON that strangers send. It exists because
// encoding/json is lenient where an edge must not be: it matches keys without
// regard to case, lets a repeated key win silently, ignores keys it doesn't
// know, replaces broken text by U+FFFD and sets no bounds. Here every such
// thing is a refusal with a stable code.
//
// What is refused everywhere: anything but exactly one JSON value (RFC 8259),
// a byte order mark, text that is no valid UTF-8, unpaired surrogates in
// escapes, raw control characters, a key that stands twice in one object
// (compared after unescaping), nesting and element counts beyond the Limits.
// An escaped NUL (\u0000) is valid JSON and is let through; whether a field
// may hold one is for the field to decide.
//
// It imports only fault and may be imported by all of Satchel.
package strictjson

import "satchel/internal/fault"

// Limits bounds what is read. A zero member means its default.
type Limits struct {
	Depth int // levels of arrays and objects; default 32, at most 1,000
	Items int // elements of one array, members of one object; default 10,000
}

// The defaults of Limits, and the most that Depth is taken as: reading
// recurses once a level, so it must stay far from the stack's end.
const (
	DefaultDepth = 32
	DefaultItems = 10_000
	maxDepth     = 1_000
)

func (l Limits) orDefault() Limits {
	if l.Depth <= 0 {
		l.Depth = DefaultDepth
	}
	l.Depth = min(l.Depth, maxDepth)
	if l.Items <= 0 {
		l.Items = DefaultItems
	}
	return l
}

// Check reads data once and refuses what the package comment lists. It does
// not allocate when data is fine. Errors are *fault.Error: fault.Malformed,
// fault.TooDeep or fault.TooBig.
func Check(data []byte, lim Limits) error {
	s := newScanner(data, lim)
	defer s.release()
	if err := s.skipValue(); err != nil {
		return err
	}
	return s.end()
}

// notObject is the refusal of a value that should have been an object.
func notObject() error {
	return fault.Newf(fault.BadValue, "The value must be an object.")
}
