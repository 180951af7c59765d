package strictjson

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"slices"
	"sync"
	"unicode/utf8"

	"satchel/internal/fault"
)

// linearKeys is the number of members up to which a new key is compared with
// every earlier one of its object; a larger object's keys are sorted when it
// ends, so that many keys never cost quadratic time.
const linearKeys = 32

// span is a piece of text: of the scanner's arena if unescaped, else of its
// data. Offsets rather than slices, so that pooled scanners hold no pointers.
type span struct {
	off, end int
	arena    bool
}

// scanner walks one JSON text from front to back. Every method that reads a
// value leaves pos behind it.
type scanner struct {
	data  []byte
	pos   int
	depth int
	lim   Limits
	keys  []span // the keys of all objects now open, innermost last
	arena []byte // unescaped keys among them
	names cache  // of keys; stays from body to body
	words cache  // of string values; these may be secrets, so it is emptied
}

var scanners = sync.Pool{New: func() any { return new(scanner) }}

func newScanner(data []byte, lim Limits) *scanner {
	s := scanners.Get().(*scanner)
	s.data, s.lim = data, lim.orDefault()
	return s
}

func (s *scanner) release() {
	s.data, s.pos, s.depth = nil, 0, 0
	// What one huge body needed must not stay in the pool for ever.
	if cap(s.keys) > 1<<12 {
		s.keys = nil
	}
	if cap(s.arena) > 1<<16 {
		s.arena = nil
	}
	s.keys, s.arena = s.keys[:0], s.arena[:0]
	clear(s.words[:])
	scanners.Put(s)
}

func (s *scanner) malformed() error {
	return fault.Newf(fault.Malformed, "The body is not valid JSON (at byte %d).", s.pos)
}

func (s *scanner) duplicate(key []byte) error {
	k := clip(key)
	return fault.Newf(fault.Malformed, "The key %q stands twice in one object.", k).OnField(k)
}

// clip shortens a key to what may stand in a message.
func clip(key []byte) string {
	const most = 64
	if len(key) <= most {
		return string(key)
	}
	n := most
	for n > 0 && !utf8.RuneStart(key[n]) {
		n--
	}
	return string(key[:n]) + "…"
}

// space skips insignificant whitespace and returns the next byte, 0 at the
// end (a NUL byte is no JSON either, so nothing is confused by that).
func (s *scanner) space() byte {
	for s.pos < len(s.data) {
		switch c := s.data[s.pos]; c {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return c
		}
	}
	return 0
}

// end refuses anything but whitespace after the value.
func (s *scanner) end() error {
	s.space()
	if s.pos != len(s.data) {
		return s.malformed()
	}
	return nil
}

// enter opens an array or object whose bracket stands at pos.
func (s *scanner) enter() error {
	if s.depth == s.lim.Depth {
		return fault.New(fault.TooDeep)
	}
	s.depth++
	s.pos++
	return nil
}

// next steps to element n of an array or object that closes with the given
// bracket: past the comma, or past the bracket and out, where it answers
// false.
func (s *scanner) next(n int, closing byte) (bool, error) {
	c := s.space()
	if c == closing {
		s.pos++
		s.depth--
		return false, nil
	}
	if n > 0 {
		if c != ',' {
			return false, s.malformed()
		}
		s.pos++
		s.space()
	}
	if n == s.lim.Items {
		return false, fault.Newf(fault.TooBig, "An array or object has more than %d elements.", s.lim.Items)
	}
	return true, nil
}

// member steps to member n of an object: past key and colon, to the value. It
// answers false past the closing brace. The key's text is s.text(key);
// an unescaped copy stays in the arena until the caller cuts it off.
func (s *scanner) member(n int) (key span, more bool, err error) {
	if more, err = s.next(n, '}'); !more {
		return key, false, err
	}
	if s.pos == len(s.data) || s.data[s.pos] != '"' {
		return key, false, s.malformed()
	}
	text, escaped, err := s.str()
	if err != nil {
		return key, false, err
	}
	if s.space() != ':' {
		return key, false, s.malformed()
	}
	s.pos++
	return s.intern(text, escaped), true, nil
}

// intern makes a key's span, unescaping it into the arena where needed.
func (s *scanner) intern(text span, escaped bool) span {
	if !escaped {
		return text
	}
	off := len(s.arena)
	s.arena = appendUnescaped(s.arena, s.data[text.off:text.end])
	return span{off, len(s.arena), true}
}

// text returns the bytes of a span; they are valid until the arena grows.
func (s *scanner) text(k span) []byte {
	if k.arena {
		return s.arena[k.off:k.end]
	}
	return s.data[k.off:k.end]
}

// unique adds a key to the innermost object, whose keys begin at base.
func (s *scanner) unique(base int, key span) error {
	if n := len(s.keys) - base; n < linearKeys {
		k := s.text(key)
		for _, other := range s.keys[base:] {
			if other.end-other.off == len(k) && bytes.Equal(s.text(other), k) {
				return s.duplicate(k)
			}
		}
	}
	s.keys = append(s.keys, key)
	return nil
}

// leave ends the innermost object, whose keys begin at base and whose
// unescaped keys at arena, and judges what unique left for the end.
func (s *scanner) leave(base, arena int) error {
	if keys := s.keys[base:]; len(keys) > linearKeys {
		slices.SortFunc(keys, func(a, b span) int { return bytes.Compare(s.text(a), s.text(b)) })
		for i := 1; i < len(keys); i++ {
			if k := s.text(keys[i]); bytes.Equal(s.text(keys[i-1]), k) {
				return s.duplicate(k)
			}
		}
	}
	s.keys, s.arena = s.keys[:base], s.arena[:arena]
	return nil
}

// skipValue checks one value of any kind and moves behind it.
func (s *scanner) skipValue() error {
	switch c := s.space(); {
	case c == '"':
		_, _, err := s.str()
		return err
	case c == '{':
		return s.skipObject()
	case c == '[':
		return s.skipArray()
	case c == '-' || c >= '0' && c <= '9':
		_, _, err := s.number()
		return err
	default:
		return s.literal()
	}
}

func (s *scanner) skipObject() error {
	if err := s.enter(); err != nil {
		return err
	}
	base, arena := len(s.keys), len(s.arena)
	for n := 0; ; n++ {
		key, more, err := s.member(n)
		if err != nil {
			return err
		}
		if !more {
			return s.leave(base, arena)
		}
		if err := s.unique(base, key); err != nil {
			return err
		}
		if err := s.skipValue(); err != nil {
			return err
		}
	}
}

func (s *scanner) skipArray() error {
	if err := s.enter(); err != nil {
		return err
	}
	for n := 0; ; n++ {
		more, err := s.next(n, ']')
		if !more || err != nil {
			return err
		}
		if err := s.skipValue(); err != nil {
			return err
		}
	}
}

// literal reads true, false or null.
func (s *scanner) literal() error {
	rest := s.data[s.pos:]
	for _, word := range [...]string{"true", "false", "null"} {
		if len(rest) >= len(word) && string(rest[:len(word)]) == word {
			s.pos += len(word)
			return nil
		}
	}
	return s.malformed()
}

// null reads null where it stands at pos.
func (s *scanner) null() bool {
	if rest := s.data[s.pos:]; len(rest) >= 4 && string(rest[:4]) == "null" {
		s.pos += 4
		return true
	}
	return false
}

// number reads a number; integer says that it has neither fraction nor
// exponent.
func (s *scanner) number() (text []byte, integer bool, err error) {
	d, i := s.data, s.pos
	start := i
	if i < len(d) && d[i] == '-' {
		i++
	}
	switch {
	case i < len(d) && d[i] == '0':
		i++
	case i < len(d) && d[i] >= '1' && d[i] <= '9':
		for i < len(d) && isDigit(d[i]) {
			i++
		}
	default:
		s.pos = i
		return nil, false, s.malformed()
	}
	integer = true
	if i < len(d) && d[i] == '.' {
		integer = false
		i++
		from := i
		for i < len(d) && isDigit(d[i]) {
			i++
		}
		if i == from {
			s.pos = i
			return nil, false, s.malformed()
		}
	}
	if i < len(d) && (d[i] == 'e' || d[i] == 'E') {
		integer = false
		i++
		if i < len(d) && (d[i] == '+' || d[i] == '-') {
			i++
		}
		from := i
		for i < len(d) && isDigit(d[i]) {
			i++
		}
		if i == from {
			s.pos = i
			return nil, false, s.malformed()
		}
	}
	s.pos = i
	return d[start:i], integer, nil
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// special marks, in the high bit of each byte of w, the bytes that end a run
// of plain ASCII: quote, backslash, control characters and anything from 0x80
// up. A mark above the lowest one may be false (borrows run upwards), so only
// the lowest counts.
func special(w uint64) uint64 {
	quote := w ^ ones*'"'
	slash := w ^ ones*'\\'
	return ((quote-ones)&^quote | (slash-ones)&^slash | (w-ones*0x20)&^w | w) & highs
}

// str reads the string whose quote stands at pos. The span is what stands
// between the quotes.
func (s *scanner) str() (text span, escaped bool, err error) {
	d := s.data
	i := s.pos + 1
	start := i
	for {
		for i+8 <= len(d) {
			if m := special(binary.LittleEndian.Uint64(d[i:])); m != 0 {
				i += bits.TrailingZeros64(m) / 8
				break
			}
			i += 8
		}
		if i >= len(d) {
			s.pos = len(d)
			return text, false, s.malformed()
		}
		switch c := d[i]; {
		case c == '"':
			s.pos = i + 1
			return span{start, i, false}, escaped, nil
		case c == '\\':
			escaped = true
			n := escapeLen(d[i:])
			if n == 0 {
				s.pos = i
				return text, false, s.malformed()
			}
			i += n
		case c < 0x20:
			s.pos = i
			return text, false, s.malformed()
		case c < utf8.RuneSelf:
			i++
		default:
			r, n := utf8.DecodeRune(d[i:])
			if r == utf8.RuneError && n == 1 {
				s.pos = i
				return text, false, s.malformed()
			}
			i += n
		}
	}
}

// escapeLen measures the escape at the start of d, a surrogate pair as one;
// 0 where it is none.
func escapeLen(d []byte) int {
	if len(d) < 2 {
		return 0
	}
	switch d[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		r, ok := hex4(d)
		switch {
		case !ok || r >= 0xDC00 && r < 0xE000:
			return 0
		case r < 0xD800 || r >= 0xE000:
			return 6
		}
		if low, ok := hex4(d[6:]); ok && low >= 0xDC00 && low < 0xE000 {
			return 12
		}
	}
	return 0
}

// hex4 reads the escape that d starts with: \u and four hexadecimal digits.
func hex4(d []byte) (rune, bool) {
	if len(d) < 6 || d[0] != '\\' || d[1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range d[2:6] {
		switch {
		case isDigit(c):
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// appendUnescaped appends the text that a checked string stands for.
func appendUnescaped(dst, text []byte) []byte {
	for {
		i := bytes.IndexByte(text, '\\')
		if i < 0 {
			return append(dst, text...)
		}
		dst = append(dst, text[:i]...)
		text = text[i:]
		n := 2
		switch c := text[1]; c {
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'u':
			r, _ := hex4(text)
			n = 6
			if r >= 0xD800 && r < 0xE000 {
				low, _ := hex4(text[6:])
				r = 0x10000 + (r-0xD800)<<10 + (low - 0xDC00)
				n = 12
			}
			dst = utf8.AppendRune(dst, r)
		default:
			dst = append(dst, c)
		}
		text = text[n:]
	}
}

// cache gives out the same string again for the same few bytes. Keys, types
// and statuses repeat throughout a body, so most need no copy of their own.
type cache [64]string

func (c *cache) get(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	if len(b) > 24 {
		return string(b)
	}
	h := uint(len(b))*7 + uint(b[0])*31 + uint(b[len(b)-1])*17 + uint(b[len(b)/2])*5
	slot := &c[h%uint(len(c))]
	if *slot != string(b) {
		*slot = string(b)
	}
	return *slot
}
