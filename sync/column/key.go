package column

import (
	"encoding/binary"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"satchel/internal/entity"
)

// Numbers of the pseudo-fields that lists know beside a type's own; they are
// free in every type.
const (
	NoID        = 58 // the record's id
	NoUpdatedAt = 59 // the instant of the last write to a field that is seen
)

// Fold is how texts are compared without regard to case.
func Fold(s string) string { return strings.ToLower(s) }

// maxKeyText bounds what of a text takes part in an order, in bytes.
const maxKeyText = 200

// AppendKey appends a value's sort key: keys of one field compare as bytes
// like the values do. The value must not be null. dst is returned as it is
// where the kind has no order.
func AppendKey(dst []byte, f *entity.Field, v entity.Value) []byte {
	switch f.Kind {
	case entity.Int:
		return binary.BigEndian.AppendUint64(dst, uint64(v.Int())^1<<63)
	case entity.Money:
		return binary.BigEndian.AppendUint64(dst, uint64(Amount(v))^1<<63)
	case entity.Number:
		x, err := strconv.ParseFloat(string(v), 64)
		if err != nil {
			return dst
		}
		bits := math.Float64bits(x)
		if bits>>63 == 1 {
			bits = ^bits
		} else {
			bits |= 1 << 63
		}
		return binary.BigEndian.AppendUint64(dst, bits)
	case entity.Bool:
		if v.Bool() {
			return append(dst, 1)
		}
		return append(dst, 0)
	case entity.Enum:
		return append(dst, byte(slices.Index(f.Values, v.Text())+1))
	case entity.Time, entity.Date:
		// Stored in UTC and in one form, they compare as they stand.
		return append(dst, v[1:len(v)-1]...)
	case entity.String, entity.Text, entity.Ref:
		return appendText(dst, v)
	}
	return dst
}

// KeyLength returns the length of every sort key of a kind, in bytes; 0 for
// texts, whose keys end with their only zero byte.
func KeyLength(k entity.Kind) int {
	switch k {
	case entity.Int, entity.Money, entity.Number:
		return 8
	case entity.Bool, entity.Enum:
		return 1
	case entity.Time:
		return len("2006-01-02T15:04:05.000Z")
	case entity.Date:
		return len("2006-01-02")
	}
	return 0
}

// Amount returns the minor units of a sum of money, or a plain integer; 0 for
// anything else.
func Amount(v entity.Value) int64 {
	s := strings.TrimPrefix(string(v), `{"amount":`)
	if i := strings.IndexByte(s, ','); i >= 0 {
		s = s[:i]
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// appendText appends a text, folded and cut, so that it sorts before all that
// it begins: a zero byte ends it, and none stands within.
func appendText(dst []byte, v entity.Value) []byte {
	n := len(dst)
	dst = AppendFolded(dst, v)
	dst = dst[:min(len(dst), n+maxKeyText)]
	kept := dst[:n]
	for _, c := range dst[n:] {
		if c != 0 {
			kept = append(kept, c)
		}
	}
	return append(kept, 0)
}

// AppendFolded appends a text value folded to lower case, without its quotes;
// what is plain ASCII is not decoded. Null appends nothing.
func AppendFolded(dst []byte, v entity.Value) []byte {
	if len(v) < 2 {
		return dst
	}
	n := len(dst)
	for _, c := range v[1 : len(v)-1] {
		if c == '\\' || c >= utf8.RuneSelf {
			return append(dst[:n], Fold(v.Text())...)
		}
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return dst
}

// null is the word of no value: above all others, since records without a
// value come last.
const null = math.MaxUint64

// word maps a sort key of a kind with a fixed KeyLength to a number, such that
// numbers compare like keys and differ where keys do; ok is false where the
// key has no such number. Numbers lie strictly between 0 and null, so that
// null less a number is one too.
func word(k entity.Kind, key []byte) (w uint64, ok bool) {
	if n := KeyLength(k); n == 0 || len(key) != n {
		return 0, false
	}
	switch k {
	case entity.Bool, entity.Enum:
		return uint64(key[0]) + 1, true
	case entity.Time, entity.Date:
		for i, c := range key {
			if c >= '0' && c <= '9' {
				w = w*10 + uint64(c-'0')
			} else if c != "0000-00-00T00:00:00.000Z"[i] {
				return 0, false
			}
		}
	default:
		w = binary.BigEndian.Uint64(key)
	}
	return w, w != 0 && w != null
}
