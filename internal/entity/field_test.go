package entity

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"satchel/internal/fault"
	"satchel/internal/ident"
)

func TestNormalize(t *testing.T) {
	line := List(1, "lines", Str(1, "text").Need(), Integer(2, "n"))
	for _, c := range []struct {
		f    *Field
		in   string
		want string // "" for no value
	}{
		{Str(1, "f"), `"a"`, `"a"`},
		{Str(1, "f"), ` "\u0061" `, `"a"`},
		{Str(1, "f"), `""`, ``},
		{Str(1, "f"), `null`, ``},
		{Str(1, "f"), `"<ä>"`, "\"\\u003cä\\u003e\""},
		{Long(1, "f"), `"a\nb"`, `"a\nb"`},
		{Integer(1, "f"), `-0`, `0`},
		{Integer(1, "f"), `9007199254740992`, `9007199254740992`},
		{Integer(1, "f").AtLeast(1), `1`, `1`},
		{Decimal(1, "f"), `1.50`, `1.5`},
		{Decimal(1, "f"), `15e-1`, `1.5`},
		{Decimal(1, "f"), `-0.0`, `0`},
		{Flag(1, "f"), `false`, `false`},
		{At(1, "f"), `"2026-01-31T10:00:00+02:00"`, `"2026-01-31T08:00:00.000Z"`},
		{At(1, "f"), `"2026-01-31T08:00:00.0009Z"`, `"2026-01-31T08:00:00.000Z"`},
		{On(1, "f"), `"2024-02-29"`, `"2024-02-29"`},
		{OneOf(1, "f", "a", "b"), `"b"`, `"b"`},
		{To(1, "f"), `"abcdefgh"`, `"abcdefgh"`},
		{ToMany(1, "f"), `["bbbbbbbb","aaaaaaaa","bbbbbbbb"]`, `["aaaaaaaa","bbbbbbbb"]`},
		{ToMany(1, "f"), `[]`, ``},
		{Set(1, "f"), `["b","a"]`, `["a","b"]`},
		{Amount(1, "f"), `{"currency":"EUR","amount":-5}`, `{"amount":-5,"currency":"EUR"}`},
		{Position(1, "f"), `{"lng":-0.0,"lat":1.50}`, `{"lat":1.5,"lng":0}`},
		{line, `[{"n":1,"text":"x","id":"1"}]`, `[{"id":"1","text":"x","n":1}]`},
		{line, `[]`, ``},
	} {
		got, err := c.f.Normalize([]byte(c.in))
		if err != nil || string(got) != c.want {
			t.Errorf("%s of %s: %s, %v; want %s", c.f.Kind, c.in, got, err, c.want)
		}
	}
}

func TestNormalizeRefuses(t *testing.T) {
	line := List(1, "lines", Str(1, "text").Need(), Integer(2, "n"))
	for _, c := range []struct {
		f    *Field
		in   string
		code fault.Code
	}{
		{Str(1, "f"), `1`, fault.BadValue},
		{Str(1, "f"), `"a\nb"`, fault.BadValue},
		{Str(1, "f"), `"\u0000"`, fault.BadValue},
		{Str(1, "f"), "\"\xff\"", fault.BadValue},
		{Str(1, "f").UpTo(2), `"äöü"`, fault.BadValue},
		{Integer(1, "f"), `1.5`, fault.BadValue},
		{Integer(1, "f"), `"1"`, fault.BadValue},
		{Integer(1, "f"), `9007199254740993`, fault.BadValue},
		{Integer(1, "f").AtLeast(0), `-1`, fault.BadValue},
		{Decimal(1, "f"), `1e400`, fault.BadValue},
		{Decimal(1, "f"), `"1"`, fault.BadValue},
		{Flag(1, "f"), `"true"`, fault.BadValue},
		{At(1, "f"), `"2026-01-31"`, fault.BadValue},
		{At(1, "f"), `"9999-12-31T23:59:59-12:00"`, fault.BadValue}, // the year 10000 in UTC
		{At(1, "f"), `"1899-12-31T00:00:00Z"`, fault.BadValue},
		{On(1, "f"), `"2026-02-30"`, fault.BadValue},
		{OneOf(1, "f", "a"), `"A"`, fault.BadValue},
		{To(1, "f"), `"short"`, fault.BadValue},
		{To(1, "f"), `"ABCDEFGH"`, fault.BadValue},
		{ToMany(1, "f"), `["abcdefgh",""]`, fault.BadValue},
		{ToMany(1, "f").UpTo(1), `["abcdefgh","bbbbbbbb"]`, fault.BadValue},
		{Set(1, "f"), `[null]`, fault.BadValue},
		{Set(1, "f"), `["a\u0007"]`, fault.BadValue},
		{Set(1, "f"), `"a"`, fault.BadValue},
		{Amount(1, "f"), `{"Amount":1,"currency":"EUR"}`, fault.BadValue},
		{Amount(1, "f"), `{"amount":1,"currency":"eur"}`, fault.BadValue},
		{Amount(1, "f"), `{"amount":1.5,"currency":"EUR"}`, fault.BadValue},
		{Amount(1, "f"), `{"amount":1,"currency":"EUR","x":1}`, fault.BadValue},
		{Position(1, "f"), `{"LAT":1,"lng":2}`, fault.BadValue},
		{Position(1, "f"), `{"lat":91,"lng":0}`, fault.BadValue},
		{Position(1, "f"), `{"lat":"1","lng":0}`, fault.BadValue},
		{line, `[{"id":null,"text":"x"}]`, fault.BadValue},
		{line, `[{"id":"1","text":"x"},{"id":"1","text":"y"}]`, fault.BadValue},
		{line, `[{"id":"1"}]`, fault.MissingField},
		{line, `[{"id":"1","text":"x","TEXT":"y"}]`, fault.UnknownField},
		{line, `[null]`, fault.BadValue},
		{line, `{}`, fault.BadValue},
	} {
		got, err := c.f.Normalize([]byte(c.in))
		if !fault.Is(err, c.code) {
			t.Errorf("%s of %s: %s, %v; want %s", c.f.Kind, c.in, got, err, c.code)
		}
	}
}

// fieldsOfEveryKind are fields with a generator of JSON that fits.
func fieldsOfEveryKind() map[*Field]*rapid.Generator[any] {
	text := rapid.StringMatching(`[ -~äß€😀]{0,40}`)
	id := rapid.StringMatching(`[a-z0-9][a-z0-9_-]{7,39}`)
	number := rapid.Float64Range(-1e15, 1e15)
	asAny := func(g *rapid.Generator[string]) *rapid.Generator[any] {
		return rapid.Map(g, func(s string) any { return s })
	}
	return map[*Field]*rapid.Generator[any]{
		Str(1, "f"):             asAny(text),
		Long(1, "f"):            asAny(rapid.StringMatching(`[ -~\n\t<>&]{0,80}`)),
		Integer(1, "f"):         rapid.Map(rapid.Int64Range(-maxSafeInt, maxSafeInt), func(n int64) any { return n }),
		Decimal(1, "f"):         rapid.Map(number, func(x float64) any { return x }),
		Flag(1, "f"):            rapid.Map(rapid.Bool(), func(b bool) any { return b }),
		OneOf(1, "f", "a", "b"): rapid.Map(rapid.SampledFrom([]string{"a", "b"}), func(s string) any { return s }),
		To(1, "f"):              asAny(id),
		ToMany(1, "f"):          rapid.Map(rapid.SliceOfN(id, 0, 9), func(s []string) any { return s }),
		Set(1, "f"): rapid.Map(rapid.SliceOfN(rapid.StringMatching(`[a-z<ä]{1,9}`), 0, 9),
			func(s []string) any { return s }),
		At(1, "f"): rapid.Custom(func(t *rapid.T) any {
			zone := time.FixedZone("", rapid.IntRange(-12, 14).Draw(t, "zone")*3600)
			return time.UnixMilli(rapid.Int64Range(-2_000_000_000_000, 4_000_000_000_000).Draw(t, "ms")).In(zone).Format(time.RFC3339Nano)
		}),
		On(1, "f"): rapid.Map(rapid.Int64Range(0, 40000), func(d int64) any {
			return ident.Day(d).Start().Time().Format(time.DateOnly)
		}),
		Amount(1, "f"): rapid.Custom(func(t *rapid.T) any {
			return map[string]any{"amount": rapid.Int64Range(-maxSafeInt, maxSafeInt).Draw(t, "n"), "currency": "EUR"}
		}),
		Position(1, "f"): rapid.Custom(func(t *rapid.T) any {
			return map[string]any{"lat": rapid.Float64Range(-90, 90).Draw(t, "lat"), "lng": rapid.Float64Range(-180, 180).Draw(t, "lng")}
		}),
		List(1, "f", Str(1, "text").Need(), Decimal(2, "n")): rapid.Custom(func(t *rapid.T) any {
			rows := []any{}
			for _, id := range rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z0-9]{1,5}`), 0, 5, rapid.ID).Draw(t, "ids") {
				rows = append(rows, map[string]any{"id": id, "n": number.Draw(t, "n"), "text": "x" + text.Draw(t, "text")})
			}
			return rows
		}),
	}
}

// TestNormalizeHolds: what fits is taken, is JSON, and is its own normal form;
// however the JSON was written, the bytes come out the same.
func TestNormalizeHolds(t *testing.T) {
	kinds := map[Kind]bool{}
	for f, g := range fieldsOfEveryKind() {
		kinds[f.Kind] = true
		t.Run(f.Kind.String(), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				x := g.Draw(t, "x")
				raw, err := json.Marshal(x)
				if err != nil {
					t.Fatal(err)
				}
				v, err := f.Normalize(raw)
				if err != nil {
					t.Fatalf("%s: %v", raw, err)
				}
				if v.IsNull() {
					return
				}
				if !json.Valid(v) {
					t.Fatalf("%s became %s, which is no JSON", raw, v)
				}
				again, err := f.Normalize(v)
				if err != nil || string(again) != string(v) {
					t.Fatalf("%s became %s, then %s, %v", raw, v, again, err)
				}
				spaced, err := json.MarshalIndent(x, " ", "\t")
				if err != nil {
					t.Fatal(err)
				}
				if other, err := f.Normalize(spaced); err != nil || string(other) != string(v) {
					t.Fatalf("%s became %s, but spaced %s, %v", raw, v, other, err)
				}
			})
		})
	}
	for k := String; k <= Number; k++ {
		if !kinds[k] {
			t.Errorf("kind %s is not covered", k)
		}
	}
}

// FuzzNormalize: no JSON, however odd, makes a value that is no JSON, or one
// that is not its own normal form.
func FuzzNormalize(f *testing.F) {
	var fields []*Field
	for x := range fieldsOfEveryKind() {
		fields = append(fields, x)
	}
	slices.SortFunc(fields, func(a, b *Field) int { return int(a.Kind) - int(b.Kind) })
	for _, s := range []string{`"a"`, `1e5`, `-0.0`, `["a","a"]`, `{"lat":1,"lng":2}`, `{"amount":1,"currency":"EUR"}`, `[{"id":"1","text":"a"}]`, `"2026-01-31T08:00:00Z"`, "\"\xed\xa0\x80\"", `[null]`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if !json.Valid(raw) {
			return
		}
		for _, x := range fields {
			v, err := x.Normalize(raw)
			if err != nil || v.IsNull() {
				continue
			}
			if !json.Valid(v) {
				t.Fatalf("%s of %q became %q", x.Kind, raw, v)
			}
			if again, err := x.Normalize(v); err != nil || string(again) != string(v) {
				t.Fatalf("%s of %q became %q, then %q, %v", x.Kind, raw, v, again, err)
			}
		}
	})
}

func TestValueReadsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.String().Draw(t, "s")
		if got := StringValue(s).Text(); got != strings.ToValidUTF8(s, "\ufffd") {
			t.Fatalf("%q read back as %q", s, got)
		}
		n := rapid.Int64().Draw(t, "n")
		if got := IntValue(n).Int(); got != n {
			t.Fatalf("%d read back as %d", n, got)
		}
		m := ident.Millis(rapid.Int64Range(-2_000_000_000_000, math.MaxInt32*1000).Draw(t, "m"))
		if got, ok := TimeValue(m).Time(); !ok || got != m {
			t.Fatalf("%d read back as %d, %v", m, got, ok)
		}
		set := rapid.SliceOf(rapid.StringMatching(`[a-zä<"]{1,5}`)).Draw(t, "set")
		want := slices.Clone(set)
		slices.Sort(want)
		want = slices.Compact(want)
		if got := SetValue(set).Set(); !slices.Equal(got, want) {
			t.Fatalf("%q read back as %q", set, got)
		}
	})
	var none Value
	if _, ok := none.Time(); ok || none.Text() != "" || none.Int() != 0 || none.Bool() || none.Set() != nil || none.Ref() != "" {
		t.Error("no value reads as something")
	}
}

// TestLinesGetIDs: lines that come without an id get the lowest that is free.
func TestLinesGetIDs(t *testing.T) {
	line := List(1, "lines", Str(1, "text"))
	v, err := line.Normalize([]byte(`[{"text":"a"},{"id":"2","text":"b"},{"text":"c"}]`))
	if want := `[{"id":"1","text":"a"},{"id":"2","text":"b"},{"id":"3","text":"c"}]`; err != nil || string(v) != want {
		t.Errorf("%s, %v", v, err)
	}
}
