package command

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"maps"
	"slices"
	"strconv"

	"satchel/internal/ident"
)

// Most of what stands in a log is a write of a record, and encoding/json took a
// tenth of the time of one. What follows writes and reads the very form that
// encoding/json gives a command with a [Write], where its texts are plain and its
// values are no lists or objects, and leaves everything else to it: what a
// command says never depends on which of the two read it.

// appendCommand appends a command that only writes as encoding/json renders it;
// ok is false where it is left to that.
func appendCommand(b []byte, c *Command) (_ []byte, ok bool) {
	e := encoder{b: append(b, '{')}
	e.text(`"a":`, string(c.Actor))
	e.text(`"s":`, string(c.Session))
	e.text(`"d":`, string(c.Device))
	e.bytes(`"r":`, c.Seed)
	e.name(`"write":`)
	e.write(c.Write)
	e.b = append(e.b, '}')
	return e.b, !e.failed
}

// onlyWrites reports whether a write is all that the command holds.
func onlyWrites(c *Command) bool {
	return c.Write != nil && c.Bulk == nil && c.Push == nil && c.Pull == nil && c.Login == nil && c.Refresh == nil &&
		c.Logout == nil && c.Secret == nil && c.Invite == nil && c.Accept == nil && c.Factor == nil && c.Forget == nil &&
		c.File == nil && c.Replay == nil && c.Discard == nil && c.Import == nil && c.Setup == nil && c.Tick == nil &&
		c.Deliver == nil && c.Address == nil && c.Rekey == nil && c.Erase == nil && c.Act == nil
}

// encoder appends members of objects, those that are empty left out.
type encoder struct {
	b      []byte
	failed bool
}

func (e *encoder) write(w *Write) {
	e.b = append(e.b, `{"op":`...)
	e.quote(w.Op)
	e.text(`"app":`, w.App)
	e.name(`"type":`)
	e.quote(w.Type)
	e.text(`"id":`, string(w.ID))
	e.object(`"fields":`, w.Fields)
	e.text(`"action":`, w.Action)
	e.object(`"args":`, w.Args)
	e.text(`"ifMatch":`, w.IfMatch)
	if w.At != 0 {
		e.name(`"at":`)
		e.b = strconv.AppendInt(e.b, int64(w.At), 10)
	}
	if w.Mobile {
		e.name(`"mobile":`)
		e.b = append(e.b, "true"...)
	}
	e.text(`"key":`, w.Key)
	e.bytes(`"keyHash":`, w.KeyHash)
	e.b = append(e.b, '}')
}

// name begins a member, by its name as it is written.
func (e *encoder) name(name string) {
	if e.b[len(e.b)-1] != '{' {
		e.b = append(e.b, ',')
	}
	e.b = append(e.b, name...)
}

func (e *encoder) text(name, s string) {
	if s != "" {
		e.name(name)
		e.quote(s)
	}
}

func (e *encoder) quote(s string) {
	if plainText(s) != len(s) {
		e.failed = true
		return
	}
	e.b = append(e.b, '"')
	e.b = append(e.b, s...)
	e.b = append(e.b, '"')
}

func (e *encoder) bytes(name string, v []byte) {
	if len(v) > 0 {
		e.name(name)
		e.b = append(e.b, '"')
		e.b = base64.StdEncoding.AppendEncode(e.b, v)
		e.b = append(e.b, '"')
	}
}

func (e *encoder) object(name string, o Object) {
	if len(o) == 0 {
		return
	}
	e.name(name)
	e.b = append(e.b, '{')
	if len(o) == 1 {
		for k, v := range o {
			e.member(k, v)
		}
	} else {
		for _, k := range slices.Sorted(maps.Keys(o)) {
			e.member(k, o[k])
		}
	}
	e.b = append(e.b, '}')
}

func (e *encoder) member(k string, v json.RawMessage) {
	e.name("")
	e.quote(k)
	e.b = append(e.b, ':')
	if n := plainValue(v); n == len(v) && n > 0 {
		e.b = append(e.b, v...)
		return
	}
	b, err := json.Marshal(v)
	if err != nil {
		e.failed = true
		return
	}
	e.b = append(e.b, b...)
}

// readCommand reads what appendCommand wrote; ok is false for anything else,
// which may be a command all the same. It keeps nothing of b.
func readCommand(b []byte) (_ *Command, ok bool) {
	d := decoder{b: b, first: true}
	var c Command
	d.skip("{")
	c.Actor = ident.RecordID(d.text(`"a":`))
	c.Session = ident.SessionID(d.text(`"s":`))
	c.Device = ident.DeviceID(d.text(`"d":`))
	c.Seed = d.bytes(`"r":`)
	if !d.name(`"write":`) {
		return nil, false
	}
	c.Write = d.write()
	d.skip("}")
	return &c, !d.failed && len(d.b) == 0
}

// decoder takes members off an object in the order in which encoder appends
// them. Once something else comes it has failed and yields nothing of use.
type decoder struct {
	b      []byte
	first  bool // of the object's members
	failed bool
}

func (d *decoder) write() *Write {
	d.skip(`{"op":`)
	w := &Write{Op: d.quoted()}
	d.first = false
	w.App = d.text(`"app":`)
	d.skip(`,"type":`)
	w.Type = d.quoted()
	w.ID = ident.RecordID(d.text(`"id":`))
	w.Fields = d.object(`"fields":`)
	w.Action = d.text(`"action":`)
	w.Args = d.object(`"args":`)
	w.IfMatch = d.text(`"ifMatch":`)
	if d.name(`"at":`) {
		w.At = d.millis()
	}
	if d.name(`"mobile":`) {
		d.skip("true")
		w.Mobile = true
	}
	w.Key = d.text(`"key":`)
	w.KeyHash = d.bytes(`"keyHash":`)
	d.skip("}")
	return w
}

// skip takes off what has to come next.
func (d *decoder) skip(s string) {
	if len(d.b) < len(s) || string(d.b[:len(s)]) != s {
		d.failed = true
		return
	}
	d.b = d.b[len(s):]
}

// name takes off the name of a member, as it is written, if that comes next.
func (d *decoder) name(name string) bool {
	at := 1
	if d.first {
		at = 0
	}
	if d.failed || len(d.b) < at+len(name) || at == 1 && d.b[0] != ',' || string(d.b[at:at+len(name)]) != name {
		return false
	}
	d.b, d.first = d.b[at+len(name):], false
	return true
}

func (d *decoder) text(name string) string {
	if !d.name(name) {
		return ""
	}
	return d.quoted()
}

func (d *decoder) quoted() string { return string(d.inside()) }

// inside takes off a plain text and returns what its quotes hold.
func (d *decoder) inside() []byte {
	d.skip(`"`)
	n := plainText(d.b)
	if n == len(d.b) || d.b[n] != '"' {
		d.failed = true
	}
	if d.failed {
		return nil
	}
	in := d.b[:n]
	d.b = d.b[n+1:]
	return in
}

func (d *decoder) bytes(name string) []byte {
	if !d.name(name) {
		return nil
	}
	in := d.inside()
	out := make([]byte, base64.StdEncoding.DecodedLen(len(in)))
	n, err := base64.StdEncoding.Decode(out, in)
	d.failed = d.failed || err != nil
	return out[:n]
}

func (d *decoder) object(name string) Object {
	if !d.name(name) {
		return nil
	}
	o := Object{}
	d.skip("{")
	for more := true; more && !d.failed; {
		k := d.quoted()
		d.skip(":")
		o[k] = bytes.Clone(d.value())
		if more = len(d.b) > 0 && d.b[0] == ','; more {
			d.b = d.b[1:]
		}
	}
	d.skip("}")
	return o
}

// value takes off a plain value.
func (d *decoder) value() json.RawMessage {
	n := plainValue(d.b)
	if n == 0 {
		d.failed = true
	}
	v := d.b[:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) millis() ident.Millis {
	n, err := strconv.ParseInt(string(d.value()), 10, 64)
	d.failed = d.failed || err != nil
	return ident.Millis(n)
}

// plainText returns how far a text needs no escape and is ASCII.
func plainText[T string | []byte](s T) int {
	for i := range len(s) {
		switch c := s[i]; {
		case c < ' ' || c > '~', c == '"', c == '\\', c == '<', c == '>', c == '&':
			return i
		}
	}
	return len(s)
}

// plainValue returns the length of the text, number, truth or null that b begins
// with; 0 where encoding/json would say it otherwise, or where there is none.
func plainValue(b []byte) int {
	if len(b) == 0 {
		return 0
	}
	switch b[0] {
	case '"':
		return plainString(b)
	case 't':
		return literal(b, "true")
	case 'f':
		return literal(b, "false")
	case 'n':
		return literal(b, "null")
	}
	return plainNumber(b)
}

func literal(b []byte, s string) int {
	if len(b) >= len(s) && string(b[:len(s)]) == s {
		return len(s)
	}
	return 0
}

// plainString is plainValue for texts, escapes included. What HTML and
// JavaScript take amiss is left to encoding/json, which escapes it: 0xe2 begins
// the separators of lines and paragraphs.
func plainString(b []byte) int {
	for i := 1; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			return i + 1
		case c < ' ', c == '<', c == '>', c == '&', c == 0xe2:
			return 0
		case c == '\\':
			n := escape(b[i+1:])
			if n == 0 {
				return 0
			}
			i += n
		}
	}
	return 0
}

// escape returns the length of what follows a backslash, 0 where that is none.
func escape(b []byte) int {
	if len(b) == 0 {
		return 0
	}
	if b[0] != 'u' {
		if bytes.IndexByte([]byte(`"\/bfnrt`), b[0]) < 0 {
			return 0
		}
		return 1
	}
	if len(b) < 5 {
		return 0
	}
	for _, c := range b[1:5] {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
			return 0
		}
	}
	return 5
}

// plainNumber is plainValue for numbers.
func plainNumber(b []byte) int {
	i := 0
	digits := func() int {
		from := i
		for i < len(b) && b[i] >= '0' && b[i] <= '9' {
			i++
		}
		return i - from
	}
	if b[0] == '-' {
		i++
	}
	from := i
	if n := digits(); n == 0 || n > 1 && b[from] == '0' {
		return 0
	}
	if i < len(b) && b[i] == '.' {
		if i++; digits() == 0 {
			return 0
		}
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		if i++; i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		if digits() == 0 {
			return 0
		}
	}
	return i
}
