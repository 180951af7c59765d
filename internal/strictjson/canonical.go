package strictjson

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"

	"satchel/internal/fault"
)

// Canonical renders data in the canonical form of RFC 8785: no whitespace,
// members sorted by the UTF-16 code units of their keys, numbers as
// ECMAScript prints the IEEE 754 double they denote, strings with the fewest
// escapes. Texts that mean the same have the same bytes; integers beyond 2^53
// count as the double next to them, as that RFC has it. The default Limits
// hold. Errors are *fault.Error: those of Check, and fault.BadValue for a
// number beyond the range of a double.
func Canonical(data []byte) ([]byte, error) {
	return rewrite(data, true)
}

// Normalize renders a value the way it is stored: no whitespace, the fewest
// escapes, integers digit for digit (of any size; -0 becomes 0), other numbers
// as in Canonical, members in the order they came. The answer is a copy.
// Limits and errors are those of Canonical.
func Normalize(raw json.RawMessage) (json.RawMessage, error) {
	return rewrite(raw, false)
}

func rewrite(data []byte, canonical bool) ([]byte, error) {
	s := newScanner(data, Limits{})
	defer s.release()
	w := writer{scanner: s, out: make([]byte, 0, len(data)), canonical: canonical}
	if err := w.value(); err != nil {
		return nil, err
	}
	return w.out, s.end()
}

// writer copies what its scanner reads to out in a normal form.
type writer struct {
	*scanner
	out       []byte
	canonical bool     // RFC 8785, else the stored form
	members   []placed // of all objects now open, innermost last
	scratch   []byte
}

func (w *writer) value() error {
	switch c := w.space(); {
	case c == '"':
		text, escaped, err := w.str()
		if err != nil {
			return err
		}
		w.string(text, escaped)
		return nil
	case c == '{':
		return w.object()
	case c == '[':
		return w.array()
	case c == '-' || c >= '0' && c <= '9':
		return w.numeral()
	default:
		start := w.pos
		if err := w.literal(); err != nil {
			return err
		}
		w.out = append(w.out, w.data[start:w.pos]...)
		return nil
	}
}

func (w *writer) array() error {
	if err := w.enter(); err != nil {
		return err
	}
	w.out = append(w.out, '[')
	for n := 0; ; n++ {
		more, err := w.next(n, ']')
		if err != nil {
			return err
		}
		if !more {
			w.out = append(w.out, ']')
			return nil
		}
		if n > 0 {
			w.out = append(w.out, ',')
		}
		if err := w.value(); err != nil {
			return err
		}
	}
}

// placed is a member that has been written: its key, and where in out.
type placed struct {
	key      span
	off, end int
}

func (w *writer) object() error {
	if err := w.enter(); err != nil {
		return err
	}
	base, arena := len(w.keys), len(w.arena)
	w.out = append(w.out, '{')
	first := len(w.out)
	mine, sorted := len(w.members), true
	for n := 0; ; n++ {
		key, more, err := w.member(n)
		if err != nil {
			return err
		}
		if !more {
			break
		}
		if err := w.unique(base, key); err != nil {
			return err
		}
		if n > 0 {
			w.out = append(w.out, ',')
		}
		off := len(w.out)
		w.string(key, key.arena)
		w.out = append(w.out, ':')
		if err := w.value(); err != nil {
			return err
		}
		if w.canonical {
			if n > 0 && compareUTF16(w.text(w.members[mine+n-1].key), w.text(key)) > 0 {
				sorted = false
			}
			w.members = append(w.members, placed{key, off, len(w.out)})
		}
	}
	if !sorted {
		w.reorder(w.members[mine:], first)
	}
	w.members = w.members[:mine]
	w.out = append(w.out, '}')
	return w.leave(base, arena)
}

// reorder sorts the members of the object that begins at first in out.
func (w *writer) reorder(order []placed, first int) {
	slices.SortFunc(order, func(a, b placed) int { return compareUTF16(w.text(a.key), w.text(b.key)) })
	w.scratch = append(w.scratch[:0], w.out[first:]...)
	w.out = w.out[:first]
	for i, m := range order {
		if i > 0 {
			w.out = append(w.out, ',')
		}
		w.out = append(w.out, w.scratch[m.off-first:m.end-first]...)
	}
}

// compareUTF16 orders UTF-8 texts as if they were UTF-16. That differs from
// the order of bytes only where a character beyond U+FFFF, two surrogates in
// UTF-16, meets one from U+E000 to U+FFFF.
func compareUTF16(a, b []byte) int {
	n := min(len(a), len(b))
	i := 0
	for i < n && a[i] == b[i] {
		i++
	}
	if i == n {
		return len(a) - len(b)
	}
	for i > 0 && !utf8.RuneStart(a[i]) {
		i--
	}
	ra, _ := utf8.DecodeRune(a[i:])
	rb, _ := utf8.DecodeRune(b[i:])
	if (ra > 0xFFFF) != (rb > 0xFFFF) && ra >= 0xE000 && rb >= 0xE000 {
		return int(rb - ra)
	}
	return int(ra - rb)
}

// string writes a string: as it stands where it has no escapes, since
// whatever may stand unescaped in JSON also stands so in the normal form.
// A span of the arena is unescaped already.
func (w *writer) string(text span, escaped bool) {
	w.out = append(w.out, '"')
	switch {
	case text.arena:
		w.out = appendEscaped(w.out, w.text(text))
	case escaped:
		n := len(w.arena)
		w.arena = appendUnescaped(w.arena, w.text(text))
		w.out = appendEscaped(w.out, w.arena[n:])
		w.arena = w.arena[:n]
	default:
		w.out = append(w.out, w.text(text)...)
	}
	w.out = append(w.out, '"')
}

const hexDigits = "0123456789abcdef"

func appendEscaped(dst, text []byte) []byte {
	for _, c := range text {
		switch {
		case c >= 0x20 && c != '"' && c != '\\':
			dst = append(dst, c)
		case c >= 0x20:
			dst = append(dst, '\\', c)
		default:
			if short := "________btn_fr__"; int(c) < len(short) && short[c] != '_' {
				dst = append(dst, '\\', short[c])
			} else {
				dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
			}
		}
	}
	return dst
}

func (w *writer) numeral() error {
	text, integer, err := w.number()
	if err != nil {
		return err
	}
	// 15 digits are exact in a double and print as they stand.
	if integer && (len(text) <= 15 || !w.canonical) {
		if string(text) == "-0" {
			text = text[1:]
		}
		w.out = append(w.out, text...)
		return nil
	}
	f, err := strconv.ParseFloat(string(text), 64)
	if err != nil {
		return fault.Newf(fault.BadValue, "A number is beyond the range of numbers.")
	}
	w.out = appendNumber(w.out, f)
	return nil
}

// appendNumber prints f as ECMAScript's Number.prototype.toString does.
func appendNumber(dst []byte, f float64) []byte {
	if f == 0 {
		return append(dst, '0') // -0 too
	}
	if abs := math.Abs(f); abs >= 1e-6 && abs < 1e21 {
		return strconv.AppendFloat(dst, f, 'f', -1, 64)
	}
	start := len(dst)
	dst = strconv.AppendFloat(dst, f, 'e', -1, 64)
	// Go pads the exponent to two digits: e-07 becomes e-7.
	if e := bytes.LastIndexByte(dst[start:], 'e') + start; dst[e+2] == '0' {
		dst = append(dst[:e+2], dst[e+3:]...)
	}
	return dst
}
