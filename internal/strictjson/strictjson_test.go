package strictjson

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"satchel/internal/fault"
)

func wantCode(t *testing.T, what string, err error, code fault.Code) {
	t.Helper()
	switch {
	case code == "" && err != nil:
		t.Errorf("%s: refused: %v", what, err)
	case code != "" && !fault.Is(err, code):
		t.Errorf("%s: got %v, want %s", what, err, code)
	}
}

func short(s string) string {
	if len(s) > 60 {
		s = s[:60] + "…"
	}
	return strconv.Quote(s)
}

// keyed is an object of n different keys.
func keyed(n int) string {
	var b strings.Builder
	b.WriteByte('{')
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `"k%d":%d`, i, i)
	}
	b.WriteByte('}')
	return b.String()
}

var texts = []struct {
	text string
	code fault.Code
}{
	{`{}`, ""},
	{` [ ] `, ""},
	{`null`, ""},
	{`true`, ""},
	{`false`, ""},
	{`0`, ""},
	{`-0`, ""},
	{`-0.0e-0`, ""},
	{`1E+9`, ""},
	{`""`, ""},
	{"\t{\"a\"\r\n:\n[1 , 2]}\n", ""},
	{`"\ud83d\ude00"`, ""},
	{`"\u0000"`, ""},
	{`"\uFFFF"`, ""},
	{`"😀 ü ` + "\u007f" + `"`, ""},
	{`"\"\\\/\b\f\n\r\t"`, ""},
	{`{"a":{"a":{"a":1}},"b":{"a":1}}`, ""},
	{`{"a":1,"A":2}`, ""},
	{`{"K":1,"\u212a":2,"k":3}`, ""},
	{``, fault.Malformed},
	{` `, fault.Malformed},
	{`{}{}`, fault.Malformed},
	{`1 2`, fault.Malformed},
	{`{} x`, fault.Malformed},
	{"{}\x00", fault.Malformed},
	{"\ufeff{}", fault.Malformed},
	{"\x00", fault.Malformed},
	{"\"\x00\"", fault.Malformed},
	{"\"a\nb\"", fault.Malformed},
	{"\"aaaaaaaaaaaa\x1f\"", fault.Malformed},
	{`{`, fault.Malformed},
	{`[`, fault.Malformed},
	{`[1,]`, fault.Malformed},
	{`[,1]`, fault.Malformed},
	{`[1 2]`, fault.Malformed},
	{`{"a"}`, fault.Malformed},
	{`{"a":}`, fault.Malformed},
	{`{"a":1,}`, fault.Malformed},
	{`{a:1}`, fault.Malformed},
	{`{'a':1}`, fault.Malformed},
	{`{"a":1]`, fault.Malformed},
	{`[1}`, fault.Malformed},
	{`{1:2}`, fault.Malformed},
	{`{,"a":1}`, fault.Malformed},
	{`01`, fault.Malformed},
	{`-`, fault.Malformed},
	{`+1`, fault.Malformed},
	{`.5`, fault.Malformed},
	{`1.`, fault.Malformed},
	{`1e`, fault.Malformed},
	{`1e+`, fault.Malformed},
	{`0x10`, fault.Malformed},
	{`NaN`, fault.Malformed},
	{`Infinity`, fault.Malformed},
	{`nul`, fault.Malformed},
	{`nulll`, fault.Malformed},
	{`True`, fault.Malformed},
	{`- 1`, fault.Malformed},
	{`"`, fault.Malformed},
	{`"\`, fault.Malformed},
	{`"\"`, fault.Malformed},
	{`"\x"`, fault.Malformed},
	{`"\u12"`, fault.Malformed},
	{`"\u12g4"`, fault.Malformed},
	{`"\u00`, fault.Malformed},
	{`"\ud800"`, fault.Malformed},
	{`"\udc00"`, fault.Malformed},
	{`"\ud800\ud800"`, fault.Malformed},
	{`"\ud800x"`, fault.Malformed},
	{`"\ude00\ud83d"`, fault.Malformed},
	{`"\ud83d\n"`, fault.Malformed},
	{"\"\xff\"", fault.Malformed},
	{"\"\xc0\x80\"", fault.Malformed},
	{"\"\xed\xa0\x80\"", fault.Malformed},
	{"\"\xf4\x90\x80\x80\"", fault.Malformed},
	{"\"abcdefgh\xe2\x82\"", fault.Malformed},
	{`// c` + "\n1", fault.Malformed},
	{"\u00a01", fault.Malformed},
	{"\v1", fault.Malformed},
	{`{"a":1,"a":1}`, fault.Malformed},
	{`{"a":1,"\u0061":2}`, fault.Malformed},
	{`{"\u0061":1,"b":[],"a":2}`, fault.Malformed},
	{`{"\u00e9":1,"é":2}`, fault.Malformed},
	{`{"😀":1,"\ud83d\ude00":2}`, fault.Malformed},
	{`[{"x":{"":1,"":2}}]`, fault.Malformed},
	{`{"a":{"b":1},"c":{"b":1},"a":0}`, fault.Malformed},
	{strings.Repeat("[", 32) + strings.Repeat("]", 32), ""},
	{strings.Repeat("[", 33) + strings.Repeat("]", 33), fault.TooDeep},
	{strings.Repeat(`{"a":`, 33) + "1" + strings.Repeat("}", 33), fault.TooDeep},
	{strings.Repeat("[", 10<<20), fault.TooDeep},
	{strings.Repeat(`{"a":`, 2<<20), fault.TooDeep},
	{"[" + strings.Repeat("0,", 9_999) + "0]", ""},
	{"[" + strings.Repeat("0,", 10_000) + "0]", fault.TooBig},
	{"[" + strings.Repeat("[],", 5<<20) + "0]", fault.TooBig},
	{keyed(10_000), ""},
	{keyed(10_001), fault.TooBig},
	{strings.TrimSuffix(keyed(500), "}") + `,"\u006b17":0}`, fault.Malformed},
	{strings.TrimSuffix(keyed(33), "}") + `,"k32":0}`, fault.Malformed},
	{strings.TrimSuffix(keyed(32), "}") + `,"k0":0}`, fault.Malformed},
	{strings.TrimSuffix(keyed(31), "}") + `,"k0":0}`, fault.Malformed},
}

func TestCheck(t *testing.T) {
	for _, tt := range texts {
		wantCode(t, short(tt.text), Check([]byte(tt.text), Limits{}), tt.code)
	}
	// The same rules hold on every way in.
	for _, tt := range texts {
		if tt.code == "" {
			continue
		}
		var raw json.RawMessage
		wantCode(t, "Decode "+short(tt.text), Decode([]byte(tt.text), &raw), tt.code)
		_, err := Object([]byte(tt.text))
		wantCode(t, "Object "+short(tt.text), err, tt.code)
		_, err = Canonical([]byte(tt.text))
		wantCode(t, "Canonical "+short(tt.text), err, tt.code)
		_, err = Normalize([]byte(tt.text))
		wantCode(t, "Normalize "+short(tt.text), err, tt.code)
	}
	for _, n := range []int{0, 1, 7, 8, 9, 15, 16, 17} {
		for _, c := range []string{`"`, `\`, "\x1f", "\x80", "\n"} {
			wantCode(t, "run and "+c, Check([]byte(`"`+strings.Repeat("x", n)+c+`yyyyyyyyyyy`), Limits{}), fault.Malformed)
		}
		wantCode(t, "run", Check([]byte(`"`+strings.Repeat("~", n)+` !#[]`+"\x7f"+`"`), Limits{}), "")
	}
	wantCode(t, "own depth", Check([]byte(`[[1]]`), Limits{Depth: 1}), fault.TooDeep)
	wantCode(t, "own items", Check([]byte(`[1,2]`), Limits{Items: 1}), fault.TooBig)
	wantCode(t, "depth has a ceiling", Check([]byte(strings.Repeat("[", 10<<20)), Limits{Depth: math.MaxInt}), fault.TooDeep)
}

func TestBombsAreCheap(t *testing.T) {
	many := []byte("{" + strings.Repeat(`"a":1,`, 2<<20) + `"a":1}`)
	sameLength := []byte(keyed(10_000))
	for name, bomb := range map[string][]byte{
		"nested arrays": bytes.Repeat([]byte("["), 10<<20), "repeated key": many, "many keys": sameLength,
		"digits": bytes.Repeat([]byte("9"), 10<<20), "backslashes": append([]byte(`"`), bytes.Repeat([]byte(`\\`), 5<<20)...),
	} {
		start := time.Now()
		_ = Check(bomb, Limits{})
		if d := time.Since(start); d > time.Second {
			t.Errorf("%s took %v", name, d)
		}
	}
}

func TestCheckAllocatesNothing(t *testing.T) {
	data := pushBody(20)
	// The pool may lose the scanner now and then; the body must cost nothing.
	if n := testing.AllocsPerRun(100, func() { _ = Check(data, Limits{}) }); n > 2 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzCheck(f *testing.F) {
	for _, tt := range texts {
		if len(tt.text) < 1000 {
			f.Add([]byte(tt.text))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		err := Check(data, Limits{})
		if err == nil && !json.Valid(data) {
			t.Fatalf("passed, but is no JSON: %q", data)
		}
		var e *fault.Error
		if err != nil {
			e = fault.Of(err)
			if e.Code != fault.Malformed && e.Code != fault.TooDeep && e.Code != fault.TooBig {
				t.Fatalf("code %s for %q", e.Code, data)
			}
		}
		if err != nil && json.Valid(data) && e.Code == fault.Malformed && e.Field == "" {
			// Only broken text may be refused without naming a repeated key.
			if !bytes.Contains(data, []byte(`\u`)) && strings.ToValidUTF8(string(data), "") == string(data) && !bytes.Contains(data, []byte(`""`)) {
				t.Fatalf("refused valid JSON %q: %v", data, err)
			}
		}
		var raw json.RawMessage
		if derr := Decode(data, &raw); (derr == nil) != (err == nil) {
			t.Fatalf("Check %v, Decode %v: %q", err, derr, data)
		}
	})
}

type inner struct {
	ID    string `json:"id"`
	Count int8   `json:"count,omitempty"`
	Self  *inner `json:"self,omitempty"`
}

type Base struct {
	Kind   string `json:"kind"`
	Shadow string `json:"shadow"`
}

type upper string

func (u *upper) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		return fmt.Errorf("empty")
	}
	*u = upper(strings.ToUpper(string(b)))
	return nil
}

type sample struct {
	Base
	Owner  string                     `json:"owner"`
	N      uint64                     `json:"n"`
	F      float64                    `json:"f"`
	OK     bool                       `json:"ok"`
	List   []inner                    `json:"list"`
	Pins   *[]inner                   `json:"pins"`
	Fields map[string]json.RawMessage `json:"fields"`
	Types  map[string]inner           `json:"types"`
	Raw    json.RawMessage            `json:"raw"`
	Any    any                        `json:"any"`
	At     time.Time                  `json:"at"`
	Up     upper                      `json:"up"`
	Pair   [2]int                     `json:"pair"`
	Bytes  []byte                     `json:"bytes"`
	Num    json.Number                `json:"num"`
	After  []uint64                   `json:"after"`
	Shadow int                        `json:"shadow"`
	Plain  string
	Hidden string `json:"-"`
	secret string
}

func TestDecodeFills(t *testing.T) {
	text := `{"kind":"x","owner":"a\u0062c","n":18446744073709551615,"f":-1.5e3,"ok":true,
	"list":[{"id":"1"},{"id":"2","count":-128,"self":{"id":"3"}}],"pins":[],"fields":{"a":1, "b" : [ null ] },
	"types":{"t":{"id":"z"}},"raw": {"q": "\u00e9"},"any":{"a":[1,"x",null,true]},"at":"2026-01-02T03:04:05Z","up":"abc",
	"pair":[1,2],"bytes":"aGk=","num":1.50,"after":[1,2,3],"shadow":7,"Plain":"p"}`
	var got, want sample
	if err := Decode([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(text), &want); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	_ = got.secret
}

func TestDecodeRefuses(t *testing.T) {
	for _, tt := range []struct {
		text  string
		code  fault.Code
		field string
	}{
		{`{"OWNER":"x"}`, fault.UnknownField, "OWNER"},
		{`{"owner":"x","Owner":"y"}`, fault.UnknownField, "Owner"},
		{`{"oWner":"x"}`, fault.UnknownField, "oWner"},
		{`{"o\u0077ner":"x"}`, "", ""},
		{`{"\u004fwner":"x"}`, fault.UnknownField, "Owner"},
		{`{"` + "\u212aind" + `":"x"}`, fault.UnknownField, "\u212aind"}, // Kelvin sign folds to k
		{`{"\u212aind":"x"}`, fault.UnknownField, "\u212aind"},
		{`{"li` + "\u017f" + `t":[]}`, fault.UnknownField, "li\u017ft"}, // long s folds to s
		{`{"owner ":"x"}`, fault.UnknownField, "owner "},
		{`{"owner\u0000":"x"}`, fault.UnknownField, "owner\x00"},
		{`{"":1}`, fault.UnknownField, ""},
		{`{"Hidden":"x"}`, fault.UnknownField, "Hidden"},
		{`{"-":"x"}`, fault.UnknownField, "-"},
		{`{"secret":"x"}`, fault.UnknownField, "secret"},
		{`{"Base":{}}`, fault.UnknownField, "Base"},
		{`{"plain":"x"}`, fault.UnknownField, "plain"},
		{`{"` + strings.Repeat("é", 100) + `":1}`, fault.UnknownField, strings.Repeat("é", 32) + "…"},
		{`{"list":[{"id":"1"},{"Id":"2"}]}`, fault.UnknownField, "list[1].Id"},
		{`{"list":[{"id":"1","self":{"self":{"iD":1}}}]}`, fault.UnknownField, "list[0].self.self.iD"},
		{`{"pins":[{"id":"1","x":1}]}`, fault.UnknownField, "pins[0].x"},
		{`{"types":{"t":{"ID":"z"}}}`, fault.UnknownField, "types.t.ID"},
		{`{"owner":"a","owner":"b"}`, fault.Malformed, "owner"},
		{`{"owner":"a","o\u0077ner":"b"}`, fault.Malformed, "owner"},
		{`{"fields":{"a":1,"\u0061":2}}`, fault.Malformed, "fields.a"},
		{`{"types":{"a":{"id":""},"a":{"id":""}}}`, fault.Malformed, "types.a"},
		{`{"raw":{"a":{"b":1,"b":2}}}`, fault.Malformed, "raw.b"},
		{`{"any":{"a":1,"a":2}}`, fault.Malformed, "any.a"},
		{`{"owner":1}`, fault.BadValue, "owner"},
		{`{"owner":["a"]}`, fault.BadValue, "owner"},
		{`{"n":-1}`, fault.BadValue, "n"},
		{`{"n":1.0}`, fault.BadValue, "n"},
		{`{"n":1e2}`, fault.BadValue, "n"},
		{`{"n":"1"}`, fault.BadValue, "n"},
		{`{"n":18446744073709551616}`, fault.BadValue, "n"},
		{`{"f":1e400}`, fault.BadValue, "f"},
		{`{"any":1e400}`, fault.BadValue, "any"},
		{`{"f":"1"}`, fault.BadValue, "f"},
		{`{"ok":1}`, fault.BadValue, "ok"},
		{`{"ok":"true"}`, fault.BadValue, "ok"},
		{`{"list":{}}`, fault.BadValue, "list"},
		{`{"list":[{"id":"1","count":128}]}`, fault.BadValue, "list[0].count"},
		{`{"list":[null]}`, fault.BadValue, "list[0]"},
		{`{"list":[[]]}`, fault.BadValue, "list[0]"},
		{`{"after":[1,null]}`, fault.BadValue, "after[1]"},
		{`{"types":{"t":null}}`, fault.BadValue, "types.t"},
		{`{"types":[]}`, fault.BadValue, "types"},
		{`{"fields":"x"}`, fault.BadValue, "fields"},
		{`{"at":"yesterday"}`, fault.BadValue, "at"},
		{`{"up":""}`, fault.BadValue, "up"},
		{`{"up":5}`, fault.BadValue, "up"},
		{`{"pair":[1]}`, fault.BadValue, "pair"},
		{`{"pair":[1,2,3]}`, fault.BadValue, "pair"},
		{`{"bytes":"%"}`, fault.BadValue, "bytes"},
		{`{"num":"1"}`, fault.BadValue, "num"},
		{`{"owner":tru}`, fault.Malformed, "owner"},
		{`{"fields":{"a":nul}}`, fault.Malformed, "fields.a"},
		{`[]`, fault.BadValue, ""},
		{`null`, fault.BadValue, ""},
		{`"x"`, fault.BadValue, ""},
		{`{"owner":null,"list":null,"n":null,"pins":null}`, "", ""},
		{`{"raw":` + strings.Repeat("[", 31) + strings.Repeat("]", 31) + `}`, "", ""},
		{`{"raw":` + strings.Repeat("[", 32) + strings.Repeat("]", 32) + `}`, fault.TooDeep, "raw"},
		{`{"list":[` + strings.Repeat(`{"id":""},`, 10_000) + `{}]}`, fault.TooBig, "list[10000]"},
		{strings.Repeat(`{"list":[{"id":"","self":`, 1) + strings.Repeat(`{"self":`, 1<<20), fault.TooDeep, "list[0].self" + strings.Repeat(".self", 29)},
	} {
		var into sample
		err := Decode([]byte(tt.text), &into)
		wantCode(t, short(tt.text), err, tt.code)
		if err != nil && fault.Of(err).Field != tt.field {
			t.Errorf("%s: field %q, want %q", short(tt.text), fault.Of(err).Field, tt.field)
		}
	}
}

func TestDecodeReplaces(t *testing.T) {
	type box struct {
		List []inner          `json:"list"`
		Map  map[string]int   `json:"map"`
		Ptr  *inner           `json:"ptr"`
		Any  any              `json:"any"`
		Keep string           `json:"keep"`
		Raw  *json.RawMessage `json:"raw"`
	}
	old := &inner{ID: "old", Count: 1}
	b := box{List: []inner{{ID: "old", Count: 9}}, Map: map[string]int{"old": 1}, Ptr: old, Any: old, Keep: "kept"}
	data := []byte(`{"list":[{"id":"new"}],"map":{},"ptr":{"id":"new"},"any":{"id":"new"},"raw":[1]}`)
	if err := Decode(data, &b); err != nil {
		t.Fatal(err)
	}
	for i := range data {
		data[i] = 'X' // a reused request buffer
	}
	want := box{List: []inner{{ID: "new"}}, Map: map[string]int{}, Ptr: &inner{ID: "new"}, Any: map[string]any{"id": "new"}, Keep: "kept", Raw: new(json.RawMessage)}
	*want.Raw = json.RawMessage(`[1]`)
	if !reflect.DeepEqual(b, want) {
		t.Errorf("got %+v, want %+v", b, want)
	}
	if old.ID != "old" {
		t.Error("wrote through a pointer it found")
	}
}

func TestDecodeGoTypes(t *testing.T) {
	for _, into := range []any{
		nil,
		sample{},
		(*sample)(nil), new(chan int), new(func()), new(map[int]string), new(struct{ E error }),
		new(struct {
			A int `json:"a,string"`
		}),
		reflect.New(reflect.StructOf([]reflect.StructField{
			{Name: "A", Type: reflect.TypeFor[int](), Tag: `json:"x"`},
			{Name: "B", Type: reflect.TypeFor[int](), Tag: `json:"x"`},
		})).Interface(),
		new(struct{ *Base }),
	} {
		wantCode(t, fmt.Sprintf("%T", into), Decode([]byte(`{}`), into), fault.InternalError)
	}
	var n int
	wantCode(t, "int", Decode([]byte(` 5 `), &n), "")
	if n != 5 {
		t.Error(n)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"kind":"x","list":[{"id":"1"}],"fields":{"a":1},"types":{"t":{"id":"z"}},"shadow":7,"pins":null}`))
	f.Add([]byte(`{"OWNER":"x"}`))
	f.Add([]byte(`{"after":[1,2],"bytes":"aGk=","pair":[1,2],"any":{"a":[1]},"num":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var got, want sample
		if err := Decode(data, &got); err != nil {
			if fault.Of(err).Code == fault.InternalError {
				t.Fatalf("%q: %v", data, err)
			}
			return
		}
		if err := Check(data, Limits{}); err != nil {
			t.Fatalf("decoded what Check refuses: %q: %v", data, err)
		}
		if err := json.Unmarshal(data, &want); err != nil {
			t.Fatalf("decoded what encoding/json refuses: %q: %v", data, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%q: got %+v, want %+v", data, got, want)
		}
	})
}

func TestObject(t *testing.T) {
	data := []byte(` { "b" : [1, 2] ,"a":{"x":"y"},"\u0063": null } `)
	f, err := Object(data)
	if err != nil {
		t.Fatal(err)
	}
	want := Fields{{"b", json.RawMessage(`[1, 2]`)}, {"a", json.RawMessage(`{"x":"y"}`)}, {"c", json.RawMessage(`null`)}}
	if !reflect.DeepEqual(f, want) {
		t.Errorf("got %q", f)
	}
	if raw, ok := f.Get("a"); !ok || string(raw) != `{"x":"y"}` {
		t.Errorf("Get(a) = %q, %v", raw, ok)
	}
	if _, ok := f.Get("A"); ok {
		t.Error("Get matches another case")
	}
	_ = append(f[0].Raw, '!')
	if string(f[1].Raw) != `{"x":"y"}` {
		t.Error("appending to a value overwrote its neighbour")
	}
	for _, text := range []string{`[]`, `1`, `null`, `"x"`} {
		_, err := Object([]byte(text))
		wantCode(t, text, err, fault.BadValue)
	}
	if f, err := Object([]byte(`{}`)); err != nil || len(f) != 0 || f == nil {
		t.Errorf("empty object: %v, %v", f, err)
	}
}

func FuzzObject(f *testing.F) {
	f.Add([]byte(`{"a":1,"b":{"c":[]}}`))
	f.Add([]byte(`{"a":1,"\u0061":2}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		fields, err := Object(data)
		var want map[string]json.RawMessage
		if err != nil {
			return
		}
		if err := json.Unmarshal(data, &want); err != nil || len(want) != len(fields) {
			t.Fatalf("%q: %v, %d fields, want %d", data, err, len(fields), len(want))
		}
		for _, f := range fields {
			if !bytes.Equal(want[f.Key], f.Raw) {
				t.Fatalf("%q: %q is %q, want %q", data, f.Key, f.Raw, want[f.Key])
			}
		}
	})
}

func TestCanonical(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{` { } `, `{}`},
		{`[ 1 , null, true , false ]`, `[1,null,true,false]`},
		{`{"b":1,"a":{"d":[{"z":1,"y":2}],"c":2}}`, `{"a":{"c":2,"d":[{"y":2,"z":1}]},"b":1}`},
		{`{"aa":1,"a":2,"":3,"A":4,"10":5,"9":6}`, `{"":3,"10":5,"9":6,"A":4,"a":2,"aa":1}`},
		// Keys by UTF-16: a character beyond U+FFFF sorts before U+E000 and up.
		{
			`{"\ufb33":1,"\ud83d\ude00":2,"\u20ac":3,"\r":4,"1":5,"\u0080":6,"\u00f6":7,"</script>":8}`,
			`{"\r":4,"1":5,"</script>":8,"` + "\u0080\":6,\"ö\":7,\"€\":3,\"😀\":2,\"\ufb33\":1}",
		},
		{`{"\ud83d\ude01":1,"\ud83d\ude00":2,"\ud7ff":3,"\ue000":4}`, "{\"\ud7ff\":3,\"😀\":2,\"😁\":1,\"\ue000\":4}"},
		{`{"a\ue000":1,"a\ud800\udc00":2,"a":3,"\u00e9":4,"\u00ea":5}`, "{\"a\":3,\"a\U00010000\":2,\"a\ue000\":1,\"é\":4,\"ê\":5}"},
		// Strings: the fewest escapes, lower-case hex, slash and DEL bare.
		{`"\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/"`, `"€$\u000f\nA'B\"\\\\\"/"`},
		{`"\u0000\u0008\u0009\u000a\u000b\u000c\u000d\u001F\u007f\u2028"`, `"\u0000\b\t\n\u000b\f\r\u001f` + "\u007f\u2028" + `"`},
		{`{"\u0061\"":"\ud83d\ude00"}`, `{"a\"":"😀"}`},
		// Numbers as ECMAScript prints them.
		{`[0,-0,-0.0,0e9,1,-1,1.0,10,1e0,1E2,100e-2]`, `[0,0,0,0,1,-1,1,10,1,100,1]`},
		{`[4.50,2e-3,0.000001,0.0000001,1e-7,0.00000012,-1.5e-10]`, `[4.5,0.002,0.000001,1e-7,1e-7,1.2e-7,-1.5e-10]`},
		{
			`[1e20,1e21,123456789012345678901,999999999999999999999,1e23,1.7976931348623157e308,5e-324]`,
			`[100000000000000000000,1e+21,123456789012345680000,1e+21,1e+23,1.7976931348623157e+308,5e-324]`,
		},
		{
			`[9007199254740991,9007199254740992,9007199254740993,333333333.33333329,0.1,1e-400]`,
			`[9007199254740991,9007199254740992,9007199254740992,333333333.3333333,0.1,0]`,
		},
		{
			`[295147905179352830000,9.5367431640625e-7,0.000009999999999999997,333333333.33333323]`,
			`[295147905179352830000,9.5367431640625e-7,0.000009999999999999997,333333333.33333325]`,
		},
	} {
		got, err := Canonical([]byte(tt.in))
		if err != nil || string(got) != tt.want {
			t.Errorf("%s:\n got  %s (%v)\n want %s", tt.in, got, err, tt.want)
		}
	}
	for _, in := range []string{`1e400`, `-1e309`, `[` + strings.Repeat("9", 400) + `]`} {
		_, err := Canonical([]byte(in))
		wantCode(t, short(in), err, fault.BadValue)
	}
}

func TestCanonicalSortsWideObjects(t *testing.T) {
	got, err := Canonical([]byte(keyed(1000)))
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]int
	_ = json.Unmarshal([]byte(keyed(1000)), &m)
	want, _ := json.Marshal(m) // sorts by bytes, which is UTF-16 order in ASCII
	if !bytes.Equal(got, want) {
		t.Error("not sorted")
	}
}

func TestNormalize(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{` {"b" : 1, "a":[ ] } `, `{"b":1,"a":[]}`},
		{`[9007199254740993, -12345678901234567890123, -0, 0, 007e0]`, ""},
		{`[9007199254740993, -12345678901234567890123, -0, 0]`, `[9007199254740993,-12345678901234567890123,0,0]`},
		{`[1.50, 1.0, 1e3, 1E-9, -0.0]`, `[1.5,1,1000,1e-9,0]`},
		{`"\u00e9\/\u0041\n\u000A"`, `"é/A\n\n"`},
		{`{"\u0061":1}`, `{"a":1}`},
	} {
		in := []byte(tt.in)
		got, err := Normalize(in)
		if (err != nil) != (tt.want == "") || string(got) != tt.want {
			t.Errorf("%s: got %s (%v), want %s", tt.in, got, err, tt.want)
		}
		if err == nil && len(got) > 0 {
			got[0] = 'X'
			if in[0] == 'X' {
				t.Errorf("%s: the answer is no copy", tt.in)
			}
		}
	}
	_, err := Normalize([]byte(`1e999`))
	wantCode(t, "1e999", err, fault.BadValue)
}

func checkForms(t interface {
	Fatalf(string, ...any)
}, data []byte,
) {
	for name, form := range map[string]func([]byte) ([]byte, error){
		"Canonical": Canonical,
		"Normalize": func(b []byte) ([]byte, error) { return Normalize(b) },
	} {
		once, err := form(data)
		if (err == nil) != (Check(data, Limits{}) == nil) && !fault.Is(err, fault.BadValue) {
			t.Fatalf("%s: %v, but Check says otherwise: %q", name, err, data)
		}
		if err != nil {
			continue
		}
		twice, err := form(once)
		if err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("%s is not stable: %q -> %q -> %q (%v)", name, data, once, twice, err)
		}
		var a, b any
		if json.Unmarshal(data, &a) == nil {
			if err := json.Unmarshal(once, &b); err != nil || !reflect.DeepEqual(a, b) {
				t.Fatalf("%s changed the value: %q -> %q", name, data, once)
			}
		}
	}
	// Both roads lead to one canonical form.
	if n, err := Normalize(data); err == nil {
		a, errA := Canonical(data)
		b, errB := Canonical(n)
		if (errA == nil) != (errB == nil) || !bytes.Equal(a, b) {
			t.Fatalf("%q: canonical %q, by way of the stored form %q", data, a, b)
		}
	}
}

func FuzzForms(f *testing.F) {
	for _, tt := range texts {
		if len(tt.text) < 1000 {
			f.Add([]byte(tt.text))
		}
	}
	f.Add([]byte(`{"\ufb33":1,"\ud83d\ude00":2,"b":[1e21,1e-7,0.1,123456789012345678]}`))
	f.Fuzz(func(t *testing.T, data []byte) { checkForms(t, data) })
}

// anyValue draws a value; its strings are valid UTF-8 of all planes.
func anyValue(depth int) *rapid.Generator[any] {
	text := rapid.StringOfN(rapid.RuneFrom([]rune{'a', 'b', '"', '\\', '/', '\n', 0, 0x1f, 0x7f, 'é', 0x2028, 0xd7ff, 0xe000, 0xfb33, 0xffff, 0x10000, 0x1f600, 0x10ffff}), 0, 12, -1)
	scalar := rapid.OneOf(
		rapid.Map(text, func(s string) any { return s }),
		rapid.Map(rapid.Float64(), func(f float64) any {
			if math.IsInf(f, 0) || math.IsNaN(f) {
				return nil
			}
			return f
		}),
		rapid.Map(rapid.Int64(), func(n int64) any { return n }),
		rapid.Map(rapid.Bool(), func(b bool) any { return b }))
	if depth == 0 {
		return scalar
	}
	return rapid.OneOf(scalar,
		rapid.Map(rapid.SliceOfN(anyValue(depth-1), 0, 5), func(l []any) any { return l }),
		rapid.Map(rapid.MapOfN(text, anyValue(depth-1), 0, 40), func(m map[string]any) any { return m }))
}

func TestFormsOfAnyValue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data, err := json.Marshal(anyValue(3).Draw(t, "value"))
		if err != nil {
			t.Fatal(err)
		}
		if err := Check(data, Limits{}); err != nil {
			t.Fatalf("%q: %v", data, err)
		}
		checkForms(t, data)
		var loose bytes.Buffer
		_ = json.Indent(&loose, data, " ", "\t")
		a, _ := Canonical(data)
		if b, err := Canonical(loose.Bytes()); err != nil || !bytes.Equal(a, b) {
			t.Fatalf("whitespace changes the canonical form of %q", data)
		}
	})
}

func TestNoValueStaysBehind(t *testing.T) {
	s := newScanner([]byte(`{"password":"hunter2 hunter2"}`), Limits{})
	d := decoder{scanner: s}
	var into struct {
		Password string `json:"password"`
	}
	if err := d.value(reflect.ValueOf(&into).Elem(), planOf(reflect.TypeOf(into)), false); err != nil {
		t.Fatal(err)
	}
	s.release()
	for _, word := range append(s.words[:], s.names[:]...) {
		if strings.Contains(word, "hunter") {
			t.Error("a pooled scanner keeps a value it read")
		}
	}
}
