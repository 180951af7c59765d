package badinput

import (
	"fmt"
	"strings"

	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/server/rest"
	"satchel/sync/state"
	"satchel/sync/tenant"
)

// absent is the id of nothing.
const absent = "no-such-record-1"

// value is one that a field does not take.
type value struct {
	what string
	raw  string
	code fault.Code
}

const (
	badValue   = fault.BadValue
	malformed  = fault.Malformed
	anyProblem = fault.Code("")
)

// texts that are none, as they stand in JSON. Those that are no JSON are
// malformed whatever the field.
var brokenTexts = []value{
	{"bytes that are no UTF-8", "\"a\xffb\"", malformed},
	{"an overlong slash", "\"..\xc0\xaf..\"", malformed},
	{"an overlong NUL", "\"a\xc0\x80b\"", malformed},
	{"an encoded surrogate", "\"a\xed\xa0\x80b\"", malformed},
	{"beyond Unicode", "\"a\xf4\x90\x80\x80b\"", malformed},
	{"half a surrogate pair", `"a\ud800b"`, malformed},
	{"surrogates the wrong way round", `"\udc00\ud800"`, malformed},
	{"a raw NUL", "\"a\x00b\"", malformed},
	{"a raw line break", "\"a\nb\"", malformed},
	{"an escape that is none", `"a\xb"`, malformed},
	{"half an escape", `"a\u00"`, malformed},
	{"no end", `"abc`, malformed},
	{"single quotes", `'abc'`, malformed},
}

// brokenNumbers are no JSON.
var brokenNumbers = []value{
	{"NaN", "NaN", malformed},
	{"Infinity", "-Infinity", malformed},
	{"hexadecimal", "0x1F", malformed},
	{"a leading zero", "012", malformed},
	{"a plus", "+1", malformed},
	{"no digits", "-", malformed},
	{"half an exponent", "1e", malformed},
	{"half a fraction", "1.", malformed},
}

var shapes = map[entity.Kind][]value{}

func init() { //nolint:gochecknoinits // a table that refers to others
	b := func(raw ...string) (out []value) {
		for _, r := range raw {
			out = append(out, value{r, r, badValue})
		}
		return out
	}
	text := b(`1`, `-1.5e10`, `true`, `[]`, `["a"]`, `{}`, `{"a":1}`)
	shapes[entity.String] = append(b(`"a\u0000b"`, `"a\u001bb"`, `"a\nb"`, `"\u0007"`, `"\ufffd"`, `"a\u202eb"`, `"a\u2066b"`, `"a\u0085b"`, `"a\u007fb"`, `"a\u2028b"`), text...)
	shapes[entity.Text] = append(b(`"a\u0000b"`, `"\ufffd"`, `"a\u202eb"`, `"a\u2069b"`, `"a\u009fb"`, `"a\u001bb"`), text...)
	number := b(`"1"`, `true`, `[]`, `[1]`, `{}`, `1e400`, `-1e99999`, `"NaN"`)
	shapes[entity.Number] = number
	shapes[entity.Int] = append(b(`1.5`, `1e3`, `9007199254740993`, `-9007199254740993`, `99999999999999999999999999`, `1.0`), number...)
	shapes[entity.Bool] = b(`"true"`, `1`, `0`, `[]`, `{}`, `"yes"`)
	shapes[entity.Time] = b(`"now"`, `"2026-01-31"`, `"2026-02-30T08:00:00Z"`, `"2026-13-01T08:00:00Z"`, `"2026-01-31T24:00:00Z"`, `"2026-01-31T08:00:61Z"`,
		`"2026-01-31T08:00:00"`, `"2026-01-31 08:00:00Z"`, `"1899-12-31T23:59:59Z"`, `"10000-01-01T00:00:00Z"`, `"-2026-01-31T08:00:00Z"`, `1767859200`, `true`, `[]`, `{}`,
		`"2026-01-31T08:00:00+25:00"`, `"9999-12-31T23:59:59-10:00"`, `"2026-01-31T08:00:00Z\u0000"`)
	shapes[entity.Date] = b(`"today"`, `"2026-02-30"`, `"2026-2-3"`, `"20260131"`, `"31.01.2026"`, `"2026-01-31T08:00:00Z"`, `"10000-01-01"`, `"2025-02-29"`, `20260131`, `true`, `[]`, `{}`)
	shapes[entity.Enum] = b(`"no such value"`, `1`, `true`, `[]`, `{}`, `"\u0000"`)
	shapes[entity.Ref] = b(`1`, `true`, `[]`, `{}`, `"x"`, `"../../etc/passwd"`, `"client/acme-1"`, `"CLIENT-ACME"`, `"client-acme\u0000"`, `"client acme"`,
		`"client-\u00e4cme"`, `"client-acme\u202e"`, `"-client-acme"`, `"`+strings.Repeat("a", ident.MaxIDLength+1)+`"`)
	shapes[entity.Refs] = b(`1`, `true`, `"client-acme"`, `[1]`, `[null]`, `[""]`, `["x"]`, `["../../etc/passwd"]`, `[["client-acme"]]`, `[{}]`, `{"nope":[]}`, `{"add":"x"}`, `{"remove":[1]}`)
	shapes[entity.Strings] = b(`1`, `true`, `"a"`, `[1]`, `[null]`, `[""]`, `["a\u0000"]`, `["a\nb"]`, `["a\u202eb"]`, `{"add":["a\u2067b"]}`, `[["a"]]`, `[{}]`, `["`+strings.Repeat("x", 201)+`"]`, `{"nope":[]}`, `{"add":1}`, `{"remove":[null]}`)
	shapes[entity.Money] = b(`1`, `"1.00"`, `true`, `[]`, `{}`, `{"amount":1}`, `{"currency":"EUR"}`, `{"amount":"1","currency":"EUR"}`, `{"amount":1.5,"currency":"EUR"}`,
		`{"amount":1e3,"currency":"EUR"}`, `{"amount":9007199254740993,"currency":"EUR"}`, `{"amount":1,"currency":"eur"}`, `{"amount":1,"currency":"EURO"}`,
		`{"amount":1,"currency":"E\u0000R"}`, `{"amount":1,"currency":""}`, `{"amount":1,"currency":7}`, `{"amount":null,"currency":"EUR"}`,
		`{"Amount":1,"currency":"EUR"}`, `{"amount":1,"currency":"EUR","rate":2}`)
	shapes[entity.Point] = b(`1`, `"1,2"`, `true`, `[]`, `[1,2]`, `{}`, `{"lat":1}`, `{"lat":91,"lng":0}`, `{"lat":-90.001,"lng":0}`, `{"lat":0,"lng":181}`, `{"lat":0,"lng":-1e300}`,
		`{"lat":"1","lng":2}`, `{"lat":null,"lng":2}`, `{"LAT":1,"lng":2}`, `{"lat":1,"lng":2,"alt":3}`)
	shapes[entity.Lines] = b(`1`, `"x"`, `true`, `{}`, `[1]`, `[null]`, `[[]]`, `["x"]`, `[{"id":1}]`, `[{"id":""}]`, `[{"id":"a\u0000"}]`,
		`[{"id":"`+strings.Repeat("a", ident.MaxIDLength+1)+`"}]`)
}

// wrongs are values that a field does not take.
func wrongs(f *entity.Field) []value {
	out := append([]value(nil), shapes[f.Kind]...)
	add := func(what, raw string, code fault.Code) { out = append(out, value{what, raw, code}) }
	switch f.Kind {
	case entity.String, entity.Text:
		limit := f.Max
		if limit == 0 {
			limit = 200
			if f.Kind == entity.Text {
				limit = 20_000
			}
		}
		add("too long", `"`+strings.Repeat("x", limit+1)+`"`, badValue)
		if limit < 1000 {
			add("too long in wide characters", `"`+strings.Repeat("€", limit+1)+`"`, badValue)
		}
	case entity.Int:
		if f.Min != nil {
			add("too small", fmt.Sprint(*f.Min-1), badValue)
		}
	case entity.Enum:
		v := f.Values[0]
		add("a space behind", `"`+v+` "`, badValue)
		if up := swapped(v); up != v {
			add("another case", `"`+up+`"`, badValue)
		}
		add("mark of direction", `"`+v+`\u202e"`, badValue)
	case entity.Strings, entity.Refs, entity.Lines:
		limit := f.Max
		if limit == 0 {
			limit = 1000
		}
		if limit <= 1000 {
			one := map[entity.Kind]string{entity.Strings: `"n%05d"`, entity.Refs: `"record-%05d"`, entity.Lines: `{"id":"%d"}`}[f.Kind]
			var b strings.Builder
			for i := range limit + 1 {
				if i > 0 {
					b.WriteByte(',')
				}
				fmt.Fprintf(&b, one, i)
			}
			add("too many", "["+b.String()+"]", badValue)
		}
	}
	if f.Kind == entity.Lines {
		add("an id twice", `[{"id":"1"},{"id":"1"}]`, anyProblem)
		add("unknown member", `[{"id":"1","no such member":1}]`, anyProblem)
		for _, it := range f.Items {
			for i, v := range wrongs(it) {
				if i%3 == 0 || it.Kind == entity.Ref || it.Kind == entity.Money { // the kinds have their turn as fields
					add(it.Name+" "+v.what, `[{"id":"1",`+quote(it.Name)+`:`+v.raw+`}]`, anyProblem)
				}
			}
		}
	}
	return out
}

func swapped(s string) string {
	if up := strings.ToUpper(s); up != s {
		return up
	}
	return strings.ToLower(s)
}

func quote(s string) string { return `"` + s + `"` }

// home is where records of a type are to be found.
type home struct {
	t    *entity.Type
	base string
	id   string // of a record that who asks is shown, where there is one
}

// homes finds an address for each type, and a record of it.
func (c *corpus) homes() (out []*home) {
	by := map[string]*home{}
	for _, r := range c.w.rest.Routes() {
		if r.Type == nil || r.Kind != rest.List || by[r.Type.Name] != nil {
			continue
		}
		h := &home{t: r.Type, base: r.Path, id: absent}
		by[r.Type.Name] = h
		out = append(out, h)
	}
	err := c.w.Tenant.Read(func(v *tenant.View) error {
		for _, h := range out {
			var ids []string
			for o := range v.Reader.Index(state.TypeKey(h.t.No)).All() {
				if rec, ok := v.LoadOrd(o); ok && !rec.Archived() {
					ids = append(ids, string(rec.ID))
				}
			}
			if len(ids) > 0 {
				h.id = ids[0]
			}
		}
		return nil
	})
	if err != nil {
		c.w.t.Fatal(err)
	}
	// One that is shown to who asks, where there is one.
	for _, h := range out {
		if a, err := c.w.send(&request{method: "GET", path: h.base + "?limit=1", token: c.w.token}); err == nil && a.status == 200 {
			if i := strings.Index(string(a.body), `"id":"`); i >= 0 {
				id, _, _ := strings.Cut(string(a.body[i+6:]), `"`)
				h.id = id
			}
		}
	}
	return out
}

// maxCommand is more than what one change may come to, in bytes.
const maxCommand = 250 << 10

// before are the refusals that come before a value is looked at.
var before = []fault.Code{fault.NotAllowed, fault.NotFoundCode, fault.MethodNotAllowed}

// fields sends each field of each type what it does not take.
func (c *corpus) fields(homes []*home) {
	for _, h := range homes {
		one := h.base + "/" + h.id
		for i, f := range h.t.Fields {
			send := func(what, raw string, codes []fault.Code, field string, create bool) {
				r := request{
					kind: "fields", name: h.t.Name + "." + f.Name + " " + what, codes: codes, field: field, unless: before,
					method: "PATCH", path: one, body: []byte(`{` + quote(f.Name) + `:` + raw + `}`), route: h.base + "/{id}",
				}
				if create {
					r.method, r.path, r.route = "POST", h.base, h.base
				}
				c.add(r)
			}
			create := f.Immutable
			for k, v := range wrongs(f) {
				codes, field := []fault.Code{v.code}, f.Name
				if len(v.raw) > maxCommand {
					codes, field = []fault.Code{fault.TooBig}, ""
				}
				if v.code == anyProblem {
					codes = []fault.Code{fault.BadValue, fault.UnknownField, fault.MissingField, fault.BadReference, fault.Malformed, fault.ReadOnlyField, fault.ImmutableField}
				}
				if v.code == malformed || v.code == anyProblem {
					field = ""
				}
				send(v.what, v.raw, codes, field, create || (k+i)%2 == 0 && v.raw[0] != '{')
			}
			broken := brokenTexts
			if f.Kind == entity.Int || f.Kind == entity.Number || f.Kind == entity.Money {
				broken = brokenNumbers
			}
			for k, v := range broken {
				if (k+i)%4 == 0 { // what is no JSON is so for every field
					send(v.what, v.raw, []fault.Code{malformed}, "", create)
				}
			}
			if f.Required && !f.Immutable && !f.ReadOnly {
				send("cleared", "null", []fault.Code{fault.MissingField}, f.Name, false)
			}
			if f.Kind == entity.Ref || f.Kind == entity.Refs {
				raw := quote(absent)
				if f.Kind == entity.Refs {
					raw = "[" + raw + "]"
				}
				codes := []fault.Code{fault.BadReference, fault.ImmutableField, fault.ReadOnlyField, fault.AssigneeNotEligible, fault.FieldNotAllowed}
				send("of nothing", raw, codes, "", false)
				send("of nothing, made", raw, append(codes, fault.MissingField, fault.BadValue), "", true)
			}
			c.add(request{
				kind: "keys", name: h.t.Name + "." + f.Name + " in another case", method: "PATCH", path: one, route: h.base + "/{id}",
				body: []byte(`{` + quote(swapped(f.Name)) + `:null}`), codes: []fault.Code{fault.UnknownField}, field: swapped(f.Name), unless: before,
			})
			c.add(request{
				kind: "keys", name: h.t.Name + "." + f.Name + " twice", method: "PATCH", path: one, route: h.base + "/{id}",
				body: []byte(`{` + quote(f.Name) + `:null,"\u00` + fmt.Sprintf("%02x", f.Name[0]) + f.Name[1:] + `":null}`), codes: []fault.Code{malformed}, unless: before,
			})
		}
		for _, k := range []string{"id", "rev", "type", "", "__proto__", "constructor", "name\\u0000", "no such field", "clientid", "CREATEDAT", "\\u212aind", "$where", "updatedAt"} {
			field := k
			if strings.ContainsRune(k, '\\') || k == "" {
				field = ""
			}
			c.add(request{
				kind: "keys", name: h.t.Name + " " + k, method: "PATCH", path: one, body: []byte(`{"` + k + `":1}`), route: h.base + "/{id}",
				codes: []fault.Code{fault.UnknownField}, field: field, unless: before,
			})
		}
		for _, k := range []string{"clientId", "createdAt", "createdBy", "archivedAt"} {
			raw := `"2026-01-01T00:00:00Z"`
			if k == "clientId" || k == "createdBy" {
				raw = `"client-blue"`
			}
			c.add(request{
				kind: "system fields", name: h.t.Name + " " + k, method: "PATCH", path: one, body: []byte(`{"` + k + `":` + raw + `}`), route: h.base + "/{id}",
				codes: []fault.Code{fault.ReadOnlyField, fault.UnknownField}, field: k, unless: append([]fault.Code{fault.Archived}, before...),
			})
		}
		for _, id := range []string{`1`, `null`, `""`, `[]`, `"x"`, `"../../x-y-z"`, `"client-acme"`, `"r` + strings.Repeat("a", 24) + `"`, `"` + strings.Repeat("a", 41) + `"`, `"ABCDEFGHIJ"`, `"a\u0000bcdefghi"`} {
			c.add(request{
				kind: "ids", name: h.t.Name + " made as " + id, method: "POST", path: h.base, body: []byte(`{"id":` + id + `}`), route: h.base,
				codes: []fault.Code{fault.BadID}, field: "id", unless: before,
			})
		}
	}
}

// arguments sends each action what it does not take.
func (c *corpus) arguments(homes []*home) {
	for _, h := range homes {
		for _, a := range h.t.Actions {
			path, route := h.base+"/"+h.id+"/"+a.Name, h.base+"/{id}/"+a.Name
			send := func(what, raw string, codes []fault.Code, field string) {
				c.add(request{
					kind: "arguments", name: h.t.Name + " " + a.Name + " " + what, method: "POST", path: path, route: route, body: []byte(raw),
					codes: codes, field: field, unless: before,
				})
			}
			send("unknown", `{"no such argument":1}`, []fault.Code{fault.UnknownField}, "no such argument")
			send("list", `[]`, []fault.Code{badValue}, "")
			send("null", `null`, []fault.Code{badValue}, "")
			send("broken", `{`, []fault.Code{malformed}, "")
			for _, f := range a.Args {
				for _, v := range wrongs(f) {
					codes, field := []fault.Code{v.code}, f.Name
					switch {
					case len(v.raw) > maxCommand:
						codes, field = []fault.Code{fault.TooBig}, ""
					case v.code == anyProblem:
						codes, field = []fault.Code{badValue, fault.UnknownField, fault.MissingField, fault.BadReference, malformed}, ""
					}
					send(f.Name+" "+v.what, `{`+quote(f.Name)+`:`+v.raw+`}`, codes, field)
				}
				send(f.Name+" in another case", `{`+quote(swapped(f.Name))+`:1}`, []fault.Code{fault.UnknownField}, swapped(f.Name))
				if f.Required {
					send(f.Name+" missing", `{}`, []fault.Code{fault.MissingField}, "")
				}
				if f.Kind == entity.Ref {
					send(f.Name+" of nothing", `{`+quote(f.Name)+`:"`+absent+`"}`, []fault.Code{fault.BadReference, fault.AssigneeNotEligible, fault.MissingField, fault.WrongStatus}, "")
				}
			}
		}
	}
}
