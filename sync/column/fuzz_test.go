package column

import (
	"bytes"
	"cmp"
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"satchel/internal/entity"
)

// FuzzKey: sort keys compare as the values that they are of do, and where they
// come to be numbers, the numbers do too.
func FuzzKey(f *testing.F) {
	for _, p := range [][2]string{
		{`1`, `2`},
		{`-1`, `1`},
		{`-9007199254740992`, `9007199254740992`},
		{`0.1`, `0.2`},
		{`-0.0`, `0`},
		{`1e300`, `-1e300`},
		{`5e-324`, `0`},
		{`"a"`, `"B"`},
		{`"a"`, `"aa"`},
		{`"Ä"`, `"ä"`},
		{`"a\u0000b"`, `"a"`},
		{`"İ"`, `"i"`},
		{`true`, `false`},
		{`"2026-01-31T08:00:00Z"`, `"2026-01-31T08:00:00.001Z"`},
		{`"2026-01-31"`, `"1999-12-31"`},
		{`{"amount":-5,"currency":"EUR"}`, `{"amount":4,"currency":"USD"}`},
	} {
		for k := range 8 {
			f.Add(p[0], p[1], k)
		}
	}
	fields := []*entity.Field{
		entity.Integer(1, "f"), entity.Decimal(1, "f"), entity.Flag(1, "f"), entity.At(1, "f"), entity.On(1, "f"), entity.Amount(1, "f"), entity.Str(1, "f"), entity.OneOf(1, "f", "b", "a", "c"),
	}
	f.Fuzz(func(t *testing.T, a, b string, k int) {
		fd := fields[uint(k)%uint(len(fields))]
		if !json.Valid([]byte(a)) || !json.Valid([]byte(b)) {
			return
		}
		x, err1 := fd.Normalize([]byte(a))
		y, err2 := fd.Normalize([]byte(b))
		if err1 != nil || err2 != nil || x.IsNull() || y.IsNull() {
			return
		}
		kx, ky := AppendKey(nil, fd, x), AppendKey([]byte("before"), fd, y)[6:]
		if len(kx) == 0 || len(kx) > maxKeyText+1 {
			t.Fatalf("%s has the key %x", x, kx)
		}
		got := bytes.Compare(kx, ky)
		if want, told := meaning(fd, x, y); told && got != want {
			t.Fatalf("%s: %s and %s compare as %d, their keys as %d", fd.Kind, x, y, want, got)
		}
		if bytes.Equal(x, y) && got != 0 {
			t.Fatalf("%s has two keys", x)
		}
		if n := KeyLength(fd.Kind); n > 0 && len(kx) != n || n == 0 && bytes.IndexByte(kx, 0) != len(kx)-1 {
			t.Fatalf("%s has a key of %d bytes: %x", x, len(kx), kx)
		}
		wx, ok1 := word(fd.Kind, kx)
		wy, ok2 := word(fd.Kind, ky)
		if ok1 && ok2 && cmp.Compare(wx, wy) != got {
			t.Fatalf("%s and %s: keys compare as %d, their numbers %d and %d", x, y, got, wx, wy)
		}
	})
}

// meaning compares two values by what they mean; told is false where their keys
// may be alike though they are not.
func meaning(f *entity.Field, x, y entity.Value) (c int, told bool) {
	switch f.Kind {
	case entity.Int:
		return cmp.Compare(x.Int(), y.Int()), true
	case entity.Number:
		a, _ := strconv.ParseFloat(string(x), 64)
		b, _ := strconv.ParseFloat(string(y), 64)
		return cmp.Compare(a, b), true
	case entity.Time:
		a, _ := x.Time()
		b, _ := y.Time()
		return cmp.Compare(a, b), true
	case entity.Date:
		return cmp.Compare(x.Text(), y.Text()), true
	case entity.Money:
		return cmp.Compare(Amount(x), Amount(y)), true
	case entity.String:
		a, b := Fold(x.Text()), Fold(y.Text())
		return cmp.Compare(a, b), len(a) < maxKeyText && len(b) < maxKeyText && !strings.ContainsRune(a+b, 0)
	}
	return 0, false
}
