package badinput

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"satchel/internal/fault"
	"satchel/server/rest"
)

// deep is JSON of n lists, one in the other.
func deep(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }

// bodies are those that no route takes, whatever it is for.
func bodies() []value {
	return []value{
		{"half an object", `{"a":1`, malformed},
		{"a list", `[]`, anyProblem},
		{"null", `null`, anyProblem},
		{"a number", `1`, anyProblem},
		{"a text", `"x"`, anyProblem},
		{"two values", `{} {}`, malformed},
		{"a comma too many", `{"a":1,}`, malformed},
		{"a comment", `{/**/}`, malformed},
		{"a byte order mark", "\ufeff{}", malformed},
		{"UTF-16", "{\x00}\x00", malformed},
		{"a key twice", `{"a":1,"a":1}`, malformed},
		{"a key twice, written in two ways", `{"ab":1,"\u0061b":1}`, malformed},
		{"a key without quotes", `{a:1}`, malformed},
		{"an unknown key", `{"no such key":1}`, anyProblem},
		{"a prototype", `{"__proto__":{"admin":true}}`, anyProblem},
		{"too deep", `{"a":` + deep(40) + `}`, fault.TooDeep},
		{"far too deep", strings.Repeat(`{"a":`, 20_000), anyProblem},
		{"a control character", "{\"a\":\"\x01\"}", malformed},
		{"no UTF-8", "{\"\xff\":1}", malformed},
		{"zeros", "\x00\x00\x00\x00", malformed},
		{"a form", "a=1&b=2", malformed},
		{"XML", "<a/>", malformed},
	}
}

// anyRoute is a route of the application and an address of it.
type anyRoute struct{ method, pattern, path string }

// routes lists every route that is mounted, by whatever edge.
func (c *corpus) routes(homes []*home) (out []anyRoute) {
	ids := map[string]string{}
	for _, h := range homes {
		ids[h.base] = h.id
	}
	// A collection has more than one name.
	for _, r := range c.w.rest.Routes() {
		if r.Kind == rest.List {
			for _, h := range homes {
				if h.t == r.Type {
					ids[r.Path] = h.id
				}
			}
		}
	}
	for _, r := range c.w.App.GetRoutes(true) {
		pattern := strings.ReplaceAll(strings.ReplaceAll(r.Path, ":id", "{id}"), `\:`, ":")
		if r.Method == http.MethodConnect || strings.Contains(pattern, ":wish") || strings.HasSuffix(pattern, ":tenant") {
			continue // these have cases of their own
		}
		path := pattern
		if i := strings.Index(path, "/{id}"); i >= 0 {
			id, ok := ids[path[:i]]
			switch {
			case ok:
			case strings.HasPrefix(path, "/mobile/v1/activities"):
				id = "act-acme-1"
			case strings.HasPrefix(path, "/mobile/v1/tickets"):
				id = "ticket-acme-1"
			default:
				id = absent
			}
			path = path[:i] + "/" + id + path[i+5:]
		}
		out = append(out, anyRoute{r.Method, pattern, path})
	}
	slices.SortFunc(out, func(a, b anyRoute) int {
		return strings.Compare(a.pattern+" "+a.method, b.pattern+" "+b.method)
	})
	return slices.Compact(out)
}

// tokenFor is the token of a sign-in that the address takes.
func (c *corpus) tokenFor(path string) string {
	if strings.HasPrefix(path, "/sync/") || strings.HasPrefix(path, "/mobile/") {
		return c.w.device
	}
	return c.w.token
}

// open are addresses that anybody may ask: a token is not looked at.
var open = []string{"/openapi.json", "/docs", "/sync/v1/capabilities", "/mobile/v1/capabilities"}

// bodiless reads no body: whoever wants to sign out is signed out.
const bodiless = "/v1/auth/logout"

// every sends each route what no route takes.
func (c *corpus) every(homes []*home) {
	all := bodies()
	paths := map[string][]string{}
	for i, r := range c.routes(homes) {
		token := c.tokenFor(r.path)
		c.noToken(i, r)
		if r.method == "POST" || r.method == "PUT" || r.method == "PATCH" {
			for k, v := range all {
				if strings.HasPrefix(r.pattern, "/files") || r.pattern == bodiless { // the one takes bytes, and has its own cases
					break
				}
				// Routes of types are many and alike: each gets part of them.
				if strings.HasPrefix(r.pattern, "/v1/") && strings.Contains(r.pattern, "{id}") && (i+k)%3 != 0 {
					continue
				}
				q := request{kind: "bodies", name: v.what, method: r.method, path: r.path, route: r.pattern, body: []byte(v.raw), token: token}
				if v.code != anyProblem {
					// What reads a body as it goes may meet the unknown key first.
					q.codes, q.unless = []fault.Code{v.code}, append([]fault.Code{fault.UnknownField, badValue}, before...)
				}
				c.add(q)
			}
			for k, h := range [][]string{
				{"Content-Type", "text/plain"},
				{"Content-Type", "application/x-www-form-urlencoded"},
				{"Content-Type", "multipart/form-data; boundary=x"},
				{"Content-Type", "application/xml"},
				{"Content-Type", "application/json-patch+json"},
				{"Content-Encoding", "gzip"},
				{"Content-Encoding", "identity, br"},
				{"Content-Encoding", "zstd"},
			} {
				if strings.HasPrefix(r.pattern, "/files") || r.pattern == bodiless || i%4 != k%4 {
					continue
				}
				c.add(request{
					kind: "headers", name: h[0], method: r.method, path: r.path, route: r.pattern, body: []byte(`{}`), header: h, token: token,
					codes: []fault.Code{fault.MediaType, fault.EncodingRefused}, unless: before,
				})
			}
		}
		if strings.Contains(r.pattern, "{id}") && r.method != http.MethodOptions {
			base, rest, _ := strings.Cut(r.pattern, "{id}")
			for k, id := range []string{
				absent, "x", "..%2f..%2fetc%2fpasswd", "%2e%2e", "..%5c..", "a%00bcdefghij", "%ff%fe%fd", "client-acme%e2%80%ae", strings.Repeat("a", 41),
				strings.Repeat("a", 4000), "CLIENT-ACME", "client-acme%20", "'%20or%201=1--", "*", "%252e%252e", "null", "-1", "client-%C0%AFacme",
			} {
				if i%6 != k%6 {
					continue
				}
				q := request{kind: "ids", name: id[:min(len(id), 30)], method: r.method, path: base + id + rest, route: r.pattern, token: token}
				if r.method == "POST" || r.method == "PATCH" || r.method == "PUT" {
					q.body = []byte(`{}`)
				}
				c.add(q)
			}
		}
		if r.method == "GET" {
			for k, query := range []string{
				"?nothing=1", "?limit=0", "?limit=-1", "?limit=1e3", "?limit=99999999999999999999", "?limit=%00", "?limit=1&limit=1", "?cursor=x", "?cursor=" + strings.Repeat("A", 5000),
				"?Limit=1", "?%00=1", "?a[b]=1", "?=1", "?%ff=1",
			} {
				if slices.Contains(open, r.pattern) || r.pattern == "/sync/v1/live" || i%2 != k%2 && k > 1 {
					continue
				}
				if r.pattern == "/sync/v1/rules" || strings.HasPrefix(r.pattern, "/v1/auth/oidc") || strings.HasSuffix(r.pattern, "/content") || strings.HasSuffix(r.pattern, "/thumbnail") {
					continue // these ignore a query, or have cases of their own
				}
				c.add(request{
					kind: "parameters", name: query[:min(len(query), 30)], method: "GET", path: r.path + query, route: r.pattern, token: token,
					codes: []fault.Code{fault.BadParameter}, unless: before,
				})
			}
		}
		paths[r.path] = append(paths[r.path], r.method)
	}
	for i, r := range c.routes(homes) {
		for k, m := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "OPTIONS", "PROPFIND", "get", "X"} {
			if slices.Contains(paths[r.path], m) || (k+i)%5 != 0 {
				continue
			}
			c.add(request{kind: "methods", name: m, method: m, path: r.path, route: r.pattern, body: []byte(`{}`), token: c.tokenFor(r.path)})
		}
	}
}

// badTokens are not those of anybody.
func (c *corpus) badTokens() (out []string) {
	parts := strings.Split(c.w.token, ".")
	enc := base64.RawURLEncoding.EncodeToString
	none := enc([]byte(`{"alg":"none","typ":"at+jwt"}`))
	return []string{
		"x", "a.b.c", strings.Repeat("a", 9000), parts[0] + "." + parts[1] + ".", none + "." + parts[1] + ".", none + "." + parts[1] + "." + parts[2],
		c.w.token + "x", c.w.token[:len(c.w.token)-4], parts[0] + "." + enc([]byte(`{}`)) + "." + parts[2], "..", c.w.token + "." + parts[2],
	}
}

func (c *corpus) noToken(i int, r anyRoute) {
	if slices.Contains(open, r.pattern) || strings.HasPrefix(r.pattern, "/v1/auth/") || r.method == "OPTIONS" {
		return
	}
	codes := []fault.Code{fault.InvalidToken}
	if strings.HasSuffix(r.pattern, "/live") {
		codes = nil // without one it is asked for the upgrade first
	}
	add := func(name string, h []string) {
		q := request{kind: "tokens", name: name, method: r.method, path: r.path, route: r.pattern, header: h, token: "-", codes: codes}
		if r.method != "GET" && r.method != "HEAD" {
			q.body = []byte(`{}`)
		}
		c.add(q)
	}
	add("none", nil)
	bad := c.badTokens()
	add("no bearer's", []string{"Authorization", "Basic " + c.w.token})
	add("bad", []string{"Authorization", "Bearer " + bad[i%len(bad)]})
}

// queries sends each list what its parameters can't be.
func (c *corpus) queries(homes []*home) {
	esc := url.QueryEscape
	for i, h := range homes {
		f := h.t.Fields[0].Name
		send := func(k int, name, query string, field string) {
			if k%2 != i%2 && i > 6 {
				return
			}
			c.add(request{
				kind: "parameters", name: h.t.Name + " " + name, method: "GET", path: h.base + "?" + query, route: h.base,
				codes: []fault.Code{fault.BadParameter, fault.UnknownField}, field: field, unless: before,
			})
		}
		for k, v := range []string{"0", "201", "-1", "1.5", "1e2", " 1", "+1", "0x10", "", "none", "99999999999999999999", "\x00", "٣"} {
			send(k, "limit "+v, "limit="+esc(v), "limit")
		}
		for k, v := range []string{"x", "AAAA", strings.Repeat("A", 100), strings.Repeat("A", 5000), "\x00", "../..", "%", "null", "e30="} {
			send(k, "cursor "+v[:min(9, len(v))], "cursor="+esc(v), "cursor")
		}
		for k, v := range []string{
			"nothing", f + ",", ",", "-", "--" + f, "-" + f + "," + f, f + ";drop", strings.Repeat("a", 3000), f + " desc", "\x00", "createdBy.name", "rev", "\xff",
		} {
			send(k, "sort "+v[:min(20, len(v))], "sort="+esc(v), "")
		}
		for k, v := range []string{
			"nothing eq 1", f, f + " eq", f + " like x", f + " EQ x", f + " eq x or " + f + " eq y", f + " eq \"x", f + " eq 'x", f + " in x", f + " in ()", f + " in (", f + " in (a", f + " in (a,", f + " in (a,)",
			f + " eq a and", "and", "(" + f + " eq x)", f + " null maybe", f + " contains \"\"", "\"" + f + "\" eq x", f + " eq \"a\\x\"", strings.Repeat(f+" null and ", 21) + f + " null",
			strings.Repeat("x", 4001), f + " in (" + strings.Repeat("a,", 250) + "a)", f + " eq \x00", "id lt", "updatedAt eq yesterday", "updatedAt gt 2026-02-30", "createdAt contains 2", "rev eq 1",
			strings.Repeat("(", 3000), f + " eq x; drop", "1 eq 1", "archivedAt eq true", "\xff eq 1",
		} {
			send(k, "filter "+v[:min(30, len(v))], "filter="+esc(v), "")
		}
		send(0, "q too long", "q="+strings.Repeat("a", 201), "q")
		send(1, "q of too many words", "q="+esc(strings.Repeat("a ", 11)), "q")
		send(0, "q with NUL", "q=a%00b", "q")
		send(1, "q no UTF-8", "q=%ff%fe", "q")
		send(0, "archived", "archived=maybe", "archived")
		send(1, "archived empty", "archived=", "archived")
		send(0, "twice", "sort="+f+"&sort="+f, "sort")
		send(1, "unknown", "offset=10", "")
		send(0, "case", "LIMIT=10", "")
	}
}

// changes sends writes with headers that are none.
func (c *corpus) changes(homes []*home) {
	for _, h := range homes {
		one := h.base + "/" + h.id
		for _, v := range []string{`""`, `"a", "b"`, `a b`, `W/"a","b"`, `"a`, strings.Repeat("a", 101), `,`, `"a"b"`} {
			for _, m := range []string{"PATCH", "DELETE"} {
				c.add(request{
					kind: "headers", name: h.t.Name + " If-Match " + v[:min(10, len(v))], method: m, path: one, route: h.base + "/{id}", body: []byte(`{}`), header: []string{"If-Match", v},
					codes: []fault.Code{fault.BadParameter, fault.RevMismatch}, unless: append([]fault.Code{fault.WrongStatus, fault.Archived}, before...),
				})
			}
		}
		for _, v := range []string{`"0000000000000000"`, `W/"0000"`, `"nope"`} {
			c.add(request{
				kind: "headers", name: h.t.Name + " If-Match " + v, method: "DELETE", path: one, route: h.base + "/{id}", header: []string{"If-Match", v},
				codes: []fault.Code{fault.RevMismatch}, unless: append([]fault.Code{fault.WrongStatus, fault.BadParameter}, before...),
			})
		}
		for _, v := range []string{strings.Repeat("k", 201), "clé", "a\tb"} {
			c.add(request{
				kind: "headers", name: h.t.Name + " Idempotency-Key", method: "PATCH", path: one, route: h.base + "/{id}", body: []byte(`{}`), header: []string{"Idempotency-Key", v},
				codes: []fault.Code{fault.BadParameter}, field: "Idempotency-Key", unless: before,
			})
		}
		for _, a := range h.t.Actions {
			if !a.Bulk {
				continue
			}
			path := h.base + ":" + a.Name
			for _, b := range []string{
				`{}`, `{"ids":[]}`, `{"ids":null}`, `{"ids":"` + h.id + `"}`, `{"ids":[1]}`, `{"ids":[null]}`, `{"ids":[["a"]]}`, `{"ids":["` + h.id + `","` + h.id + `"]}`,
				`{"IDS":["` + h.id + `"]}`, `{"ids":["` + h.id + `"],"no such argument":1}`, `{"ids":[` + strings.TrimSuffix(strings.Repeat(`"a",`, 501), ",") + `]}`, `{"ids":{}}`,
			} {
				c.add(request{kind: "bulk", name: h.t.Name + " " + a.Name, method: "POST", path: path, route: path, body: []byte(b)})
			}
		}
	}
}

// broken sends good bodies that end at each byte but the last.
func (c *corpus) broken() {
	for _, g := range []struct{ method, path, body, token string }{
		{"PATCH", "/v1/service/jobs/job-acme-1", `{"title":"Boiler \u00e9 \"x\"","priority":"high","description":null}`, c.w.token},
		{"POST", "/v1/service/jobs", `{"client":"client-acme","title":"Pump","priority":"normal"}`, c.w.token},
		{"POST", "/v1/billing/invoices", `{"client":"client-acme","lines":[{"id":"1","text":"x","quantity":-1.5e1,"unitPrice":{"amount":100,"currency":"EUR"}}]}`, c.w.token},
		{"POST", "/sync/v1/pull", `{"checkpoint":"","limit":10,"profile":"office","window":{"from":"2026-01-01T00:00:00Z","to":"2026-02-01T00:00:00Z"},"pins":[{"type":"client","id":"client-acme"}]}`, c.w.device},
		{"POST", "/sync/v1/push", `{"acked":0,"now":"2026-03-01T00:00:00Z","mutations":[{"n":1,"op":"patch","type":"job","id":"job-acme-1","fields":{"title":"x"},"was":{"title":"y"},"after":[],"at":"2026-03-01T00:00:00Z"}]}`, c.w.device},
		{"POST", "/sync/v1/verify", `{"types":{"job":{"count":3,"digest":"00ff"}}}`, c.w.device},
		{"POST", "/v1/auth/login", `{"tenant":"` + "acme" + `","email":"nobody@example.com","password":"wrong","device":{"installation":"i","incarnation":"1"}}`, "-"},
		{"POST", "/v1/admin/what-if", `{"change":[{"op":"delete","type":"roleAssignment","id":"role-made-1"}]}`, c.w.token},
		{"POST", "/mobile/v1/activities/act-acme-1/comments", `{"text":"Came at nine","at":"2026-03-01T08:00:00Z"}`, c.w.device},
	} {
		for i := 1; i < len(g.body); i++ {
			c.add(request{
				kind: "cut short", name: fmt.Sprintf("at %d", i), method: g.method, path: g.path, body: []byte(g.body[:i]), token: g.token,
				codes: []fault.Code{malformed}, unless: []fault.Code{fault.UnknownField, badValue},
			})
			// A byte that stands nowhere in JSON.
			b := []byte(g.body)
			b[i] = 0x1f
			c.add(request{
				kind: "a byte spoilt", name: fmt.Sprintf("at %d", i), method: g.method, path: g.path, body: b, token: g.token,
				codes: []fault.Code{malformed}, unless: []fault.Code{fault.UnknownField, badValue},
			})
		}
	}
}

// members sends each of the bodies that are not records a member of a wrong
// form, and one less.
func (c *corpus) members() {
	device := `{"installation":"i-1","incarnation":"1","name":"n","platform":"p","pushToken":"t"}`
	forms := []string{`1`, `true`, `[]`, `{}`, `[null]`, `"\u0000"`, `"` + strings.Repeat("x", 6000) + `"`, `-1`, `1e400`, `1.5`}
	for _, g := range []struct {
		method, path string
		good         [][2]string
		token        string
	}{
		{"POST", "/v1/auth/login", [][2]string{{"tenant", `"acme"`}, {"email", `"nobody@example.com"`}, {"password", `"wrong"`}, {"device", device}}, "-"},
		{"POST", "/v1/auth/refresh", [][2]string{{"refreshToken", `"x"`}, {"nonce", `"1"`}}, "-"},
		{"POST", "/v1/auth/accept", [][2]string{{"tenant", `"acme"`}, {"token", `"x"`}, {"password", `"long enough a password"`}}, "-"},
		{"POST", "/v1/auth/second-factor", [][2]string{{"tenant", `"acme"`}, {"challenge", `"x"`}, {"code", `"000000"`}}, "-"},
		{"POST", "/v1/auth/oidc/token", [][2]string{{"tenant", `"acme"`}, {"code", `"x"`}, {"code_verifier", `"y"`}, {"device", device}}, "-"},
		{"POST", "/v1/auth/invitations", [][2]string{{"employee", `"` + absent + `"`}}, ""},
		{"POST", "/v1/auth/second-factor/reset", [][2]string{{"employee", `"` + absent + `"`}}, ""},
		{"POST", "/v1/auth/oidc/reset", [][2]string{{"employee", `"` + absent + `"`}}, ""},
		{"POST", "/v1/auth/password", [][2]string{{"current", `"wrong"`}, {"new", `"long enough a password"`}}, c.w.keyed},
		{"POST", "/v1/me/totp", [][2]string{{"password", `"wrong"`}}, c.w.keyed},
		{"POST", "/v1/me/totp/confirm", [][2]string{{"enrolment", `"x"`}, {"code", `"000000"`}}, c.w.keyed},
		{"POST", "/v1/me/totp/disable", [][2]string{{"password", `"wrong"`}, {"code", `"000000"`}}, c.w.keyed},
		{"POST", "/v1/me/totp/recovery-codes", [][2]string{{"password", `"wrong"`}, {"code", `"000000"`}}, c.w.keyed},
	} {
		object := func(change string, raw string) []byte {
			var b strings.Builder
			b.WriteByte('{')
			for _, m := range g.good {
				v := m[1]
				if m[0] == change {
					if raw == "" {
						continue
					}
					v = raw
				}
				if b.Len() > 1 {
					b.WriteByte(',')
				}
				b.WriteString(quote(m[0]) + ":" + v)
			}
			return []byte(b.String() + "}")
		}
		c.add(request{kind: "bodies of no record", name: "wrong throughout", method: g.method, path: g.path, route: g.path, body: object("", ""), token: g.token})
		for _, m := range g.good {
			for _, v := range append(forms, "") {
				c.add(request{kind: "bodies of no record", name: m[0] + " " + v[:min(10, len(v))], method: g.method, path: g.path, route: g.path, body: object(m[0], v), token: g.token})
			}
			c.add(request{
				kind: "bodies of no record", name: m[0] + " in another case", method: g.method, path: g.path, route: g.path, token: g.token,
				body: []byte(strings.Replace(string(object("", "")), quote(m[0]), quote(strings.ToUpper(m[0])), 1)), codes: []fault.Code{fault.UnknownField},
			})
		}
	}
}

// syncing sends devices' requests that are none.
func (c *corpus) syncing() {
	send := func(path, body string, header ...string) {
		c.add(request{kind: "sync", name: path, method: "POST", path: path, route: path, body: []byte(body), token: c.w.device, header: header})
	}
	now := `"2026-03-01T00:00:00Z"`
	for _, b := range []string{
		`{"limit":0}`, `{"limit":-1}`, `{"limit":10001}`, `{"limit":1.5}`, `{"limit":"1"}`, `{"limit":9223372036854775808}`, `{"profile":"warehouse"}`, `{"profile":1}`, `{"profile":"OFFICE"}`, `{"profile":"office\u0000"}`,
		`{"checkpoint":1}`, `{"checkpoint":"` + strings.Repeat("x", 201) + `"}`, `{"checkpoint":"` + strings.Repeat("x", 100_000) + `"}`, `{"checkpoint":[]}`,
		`{"window":1}`, `{"window":{}}`, `{"window":{"from":"x","to":"y"}}`, `{"window":{"from":"2026-01-01T00:00:00Z"}}`, `{"window":{"from":"2026-02-01T00:00:00Z","to":"2026-01-01T00:00:00Z"}}`,
		`{"window":{"from":"0001-01-01T00:00:00Z","to":"9999-01-01T00:00:00Z"}}`, `{"window":{"from":"2026-01-01","to":"2026-02-01"}}`, `{"window":{"FROM":"2026-01-01T00:00:00Z","to":"2026-02-01T00:00:00Z"}}`,
		`{"pins":1}`, `{"pins":[1]}`, `{"pins":[{}]}`, `{"pins":[{"type":"client"}]}`, `{"pins":[{"type":"client","id":"../../x"}]}`, `{"pins":[{"type":"client","id":"x"}]}`, `{"pins":[null]}`,
		`{"pins":[` + strings.TrimSuffix(strings.Repeat(`{"type":"client","id":"client-acme"},`, 10_001), ",") + `]}`,
		`{"schema":-1}`, `{"schema":"1"}`, `{"schema":1e9}`, `{"heal":1}`, `{"heal":[1]}`, `{"heal":[null]}`,
		`{"reconcile":1}`, `{"reconcile":{"types":1}}`, `{"reconcile":{"types":{"job":1}}}`, `{"reconcile":{"types":{"job":{"count":"1"}}}}`,
		`{"Limit":1}`, `{"acked":1}`, `{"kind":"pull"}`,
	} {
		send("/sync/v1/pull", b)
	}
	mut := func(m string) string { return `{"acked":0,"now":` + now + `,"mutations":[` + m + `]}` }
	for _, b := range []string{
		`{}`, `{"acked":0}`, `{"acked":-1,"now":` + now + `,"mutations":[]}`, `{"acked":1.5,"now":` + now + `,"mutations":[]}`, `{"acked":"0","now":` + now + `,"mutations":[]}`,
		`{"acked":18446744073709551616,"now":` + now + `,"mutations":[]}`, `{"acked":0,"now":1,"mutations":[]}`, `{"acked":0,"now":"yesterday","mutations":[]}`, `{"acked":0,"now":"1026-03-01T00:00:00Z","mutations":[]}`,
		`{"acked":0,"now":` + now + `,"mutations":{}}`, `{"acked":0,"now":` + now + `,"mutations":"x"}`, `{"acked":0,"now":` + now + `,"schema":-1,"mutations":[]}`,
		`{"acked":0,"now":` + now + `,"mutations":[` + strings.TrimSuffix(strings.Repeat(`{"n":1},`, 501), ",") + `]}`,
		mut(`1`), mut(`null`), mut(`[]`), mut(`{}`), mut(`"x"`), mut(`{"n":0}`), mut(`{"n":-1}`), mut(`{"n":1.5}`), mut(`{"n":"1"}`), mut(`{"n":18446744073709551616}`), mut(`{"N":1}`), mut(`{"n":null}`),
		mut(`{"n":1,"n":1}`), mut(`{"op":"patch"}`), mut(`{"n":1e400}`),
		`{"ACKED":0,"now":` + now + `,"mutations":[]}`, `{"acked":0,"now":` + now + `,"mutations":[],"token":"x"}`,
	} {
		send("/sync/v1/push", b)
	}
	for _, b := range []string{`{"types":1}`, `{"types":[]}`, `{"types":{"job":1}}`, `{"types":{"job":{"count":1.5}}}`, `{"types":{"job":{"count":1,"digest":1}}}`, `{"types":{"job":{"Count":1}}}`, `{"kind":1}`} {
		send("/sync/v1/verify", b)
	}
	for _, v := range []string{"0", "x", "-1", "99", "1.0", "1,2", strings.Repeat("1", 100)} {
		send("/sync/v1/pull", `{}`, "Satchel-Protocol", v)
		send("/sync/v1/push", mut(``), "Satchel-Protocol", v)
	}
	for _, b := range []string{`{"pushToken":1}`, `{"pushToken":[]}`, `{"pushToken":"` + strings.Repeat("x", 4097) + `"}`, `{"PushToken":"x"}`, `{"token":"x"}`} {
		c.add(request{kind: "sync", name: "push token", method: "PUT", path: "/sync/v1/push-token", route: "/sync/v1/push-token", body: []byte(b), token: c.w.device})
	}
	// Without a device there is nothing to synchronise.
	for _, p := range []string{"/sync/v1/pull", "/sync/v1/push", "/sync/v1/verify"} {
		c.add(request{kind: "sync", name: "no device", method: "POST", path: p, route: p, body: []byte(`{}`), token: c.w.token, codes: []fault.Code{fault.DeviceRequired}})
	}
	// A socket that is asked for in another way.
	upgrade := map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
	for _, change := range [][2]string{
		{"Sec-WebSocket-Version", "8"},
		{"Sec-WebSocket-Version", ""},
		{"Sec-WebSocket-Key", ""},
		{"Sec-WebSocket-Key", "short"},
		{"Sec-WebSocket-Key", strings.Repeat("A", 4000)},
		{"Upgrade", "h2c"},
		{"Upgrade", ""},
		{"Connection", "keep-alive"},
		{"Origin", "https://evil.example"},
		{"Origin", "null"},
		{"Origin", "http://[::1"},
	} {
		h := []string{}
		for _, k := range []string{"Connection", "Upgrade", "Sec-WebSocket-Version", "Sec-WebSocket-Key", "Origin"} {
			v := upgrade[k]
			if k == change[0] {
				v = change[1]
			}
			if v != "" {
				h = append(h, k, v)
			}
		}
		c.add(request{kind: "sockets", name: change[0] + " " + change[1][:min(10, len(change[1]))], method: "GET", path: "/sync/v1/live", route: "/sync/v1/live", header: h, token: c.w.device})
	}
}

// uploads sends uploads that are none.
func (c *corpus) uploads() {
	meta := "document " + base64.StdEncoding.EncodeToString([]byte("document-acme-1"))
	good := [][2]string{{"Tus-Resumable", "1.0.0"}, {"Upload-Length", "10"}, {"Upload-Metadata", meta}}
	send := func(name, value string) {
		for _, path := range []string{"/files", "/files/"} {
			h, set := []string{}, false
			for _, g := range good {
				if g[0] == name {
					g[1], set = value, true
				}
				if g[1] != "" {
					h = append(h, g[0], g[1])
				}
			}
			if !set {
				h = append(h, name, value)
			}
			c.add(request{kind: "uploads", name: name + " " + value[:min(20, len(value))], method: "POST", path: path, route: path, header: h})
		}
	}
	for _, v := range []string{"", "0.2.2", "1.0.1", "2", "x", "1.0.0, 0.2.2"} {
		send("Tus-Resumable", v)
	}
	for _, v := range []string{"", "-1", "x", "1.5", "1e9", "+5", " ", "0x10", "99999999999999999999", "9223372036854775807", "10,10"} {
		send("Upload-Length", v)
	}
	send("Upload-Defer-Length", "1")
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	for _, v := range []string{
		"", "document", "document x", "document !!!", "document " + b64("../../etc/passwd"), "document " + b64("x"), "document " + b64("DOCUMENT-ACME-1"), "document " + b64("document-acme-1\x00"),
		meta + "," + meta, "filename " + b64("x.pdf"), meta + ",type " + b64("invoice"), meta + ", ", meta + ",,", strings.Repeat("a", 5000), "document\t" + b64("document-acme-1"),
		meta + ",k\xc3\xa9y " + b64("x"), "document " + strings.TrimRight(b64("document-acme-"), "=") + "===",
	} {
		send("Upload-Metadata", v)
	}
	var many strings.Builder
	many.WriteString(meta)
	for i := range 40 {
		fmt.Fprintf(&many, ",k%d %s", i, b64("v"))
	}
	send("Upload-Metadata", many.String())
	for _, m := range []string{"PATCH", "DELETE", "HEAD", "POST"} {
		for _, id := range []string{absent, "x", "..%2f..%2fkeys.json", "%00", strings.Repeat("a", 3000)} {
			for _, h := range [][]string{
				{"Tus-Resumable", "1.0.0", "Upload-Offset", "0", "Content-Type", "application/offset+octet-stream"},
				{"Tus-Resumable", "1.0.0", "Upload-Offset", "-1", "Content-Type", "application/offset+octet-stream"},
				{"Tus-Resumable", "1.0.0", "Upload-Offset", "99999999999999999999", "Content-Type", "application/offset+octet-stream"},
				{"Tus-Resumable", "1.0.0", "Upload-Offset", "0", "Content-Type", "text/plain"},
				{"Tus-Resumable", "1.0.0", "Upload-Offset", "0", "Upload-Checksum", "md5 x", "Content-Type", "application/offset+octet-stream"},
				{"Upload-Offset", "0"},
				{"Tus-Resumable", "1.0.0", "X-HTTP-Method-Override", "TRACE"},
			} {
				q := request{kind: "uploads", name: m + " " + id[:min(len(id), 20)], method: m, path: "/files/" + id, route: "/files/{id}", header: h}
				if m == "PATCH" || m == "POST" {
					q.body = []byte("0123456789")
				}
				c.add(q)
			}
		}
	}
	for _, id := range []string{absent, "document-acme-1", "..%2f..%2fkeys.json"} {
		for _, what := range []string{"content", "thumbnail"} {
			for _, rng := range []string{"", "bytes=0-", "bytes=9-1", "bytes=-0", "bytes=99999999999999999999-", "items=0-1", "bytes=0-1,2-3,4-5", "bytes=" + strings.Repeat("0-1,", 2000)} {
				h := []string{}
				if rng != "" {
					h = []string{"Range", rng}
				}
				c.add(request{kind: "downloads", name: what + " " + rng[:min(20, len(rng))], method: "GET", path: "/v1/helpdesk/documents/" + id + "/" + what, route: "/v1/helpdesk/documents/{id}/" + what, header: h})
			}
		}
	}
}

// addresses sends what strangers come with.
func (c *corpus) addresses() {
	send := func(kind, method, path string, header ...string) {
		q := request{kind: kind, name: path[:min(60, len(path))], method: method, path: path, token: "-", header: header}
		if method == "POST" {
			q.body = []byte(`{}`)
		}
		c.add(q)
	}
	for _, q := range []string{
		"", "?tenant=acme", "?tenant=nobody&redirect_uri=https://app.example/callback", "?tenant=acme&redirect_uri=https://evil.example/", "?tenant=acme&redirect_uri=//evil.example",
		"?tenant=acme&redirect_uri=https://app.example/callback%2f..", "?tenant=acme&redirect_uri=https://app.example/callback&code_challenge=x&code_challenge_method=plain",
		"?tenant=acme&redirect_uri=https://app.example/callback&code_challenge=x", "?tenant=acme&redirect_uri=https://app.example/callback&code_challenge=" + strings.Repeat("a", 200) + "&code_challenge_method=S256",
		"?tenant=acme&tenant=acme", "?response_type=token&tenant=acme", "?tenant=%00", "?tenant=..%2f..", "?tenant=" + strings.Repeat("a", 5000), "?%zz=1", "?redirect_uri=javascript:alert(1)&tenant=acme",
	} {
		send("oidc", "GET", "/v1/auth/oidc/authorize"+q)
	}
	for _, tenant := range []string{"acme", "nobody", "..%2f..", "%00", strings.Repeat("a", 3000), "ACME"} {
		for _, q := range []string{
			"", "?state=x", "?code=x", "?state=x&code=y", "?state=x&state=y&code=z", "?error=access_denied", "?error=access_denied&state=x", "?state=" + strings.Repeat("A", 5000) + "&code=x", "?state=%00&code=%00",
			"?state=x&code=y&iss=https://evil.example", "?%ff=1",
		} {
			send("oidc", "GET", "/v1/auth/oidc/callback/"+tenant+q)
			send("oidc", "GET", "/v1/auth/oidc/callback/"+tenant+q, "Cookie", "satchel_oidc=x; __Host-oidc=y")
		}
	}
	for _, tok := range []string{"x", "AAAA", strings.Repeat("A", 100), strings.Repeat("A", 5000), "..%2f..%2fkeys.json", "%00", "%ff", "e30", "!!!", c.w.token, strings.Repeat("A", 64) + "="} {
		send("unsubscribe", "GET", "/v1/unsubscribe/"+tok)
		send("unsubscribe", "POST", "/v1/unsubscribe/"+tok)
		c.add(request{kind: "unsubscribe", name: "one click", method: "POST", path: "/v1/unsubscribe/" + tok, token: "-", body: []byte("List-Unsubscribe=One-Click"), header: []string{"Content-Type", "application/x-www-form-urlencoded"}})
	}
	for _, path := range []string{
		"/", "/v1", "/v1/", "/v2/me", "/v1/service", "/v1/nothing/jobs", "/v1/service/nothings", "/v1/service/jobs/", "/v1/service/jobs/job-acme-1/nothing", "/v1/service/Jobs", "/V1/service/jobs",
		"//v1/service/jobs", "/v1//service/jobs", "/v1/service/../admin/employees", "/v1/service/%2e%2e/admin/employees", "/v1/service/jobs%00", "/v1/service/jobs/job-acme-1/", "/v1/service/jobs;x=1", "/.git/config",
		"/debug/pprof/", "/metrics", "/backup/acme", "/files/../keys.json", "/docs/../keys.json", "/openapi.yaml", "/%ff", "/v1/service/jobs:", "/v1/service/jobs:nothing", "/v1/service/jobs:export:export", "/" + strings.Repeat("a/", 4000),
		"/v1/admin/quarantine:nothing", "/sync/v1", "/sync/v2/pull", "/mobile/v1", "/v1/me/nothing",
	} {
		c.add(request{kind: "addresses", name: path[:min(60, len(path))], method: "GET", path: path})
		c.add(request{kind: "addresses", name: path[:min(60, len(path))], method: "POST", path: path, body: []byte(`{}`)})
	}
	for _, q := range []string{"?date=x", "?date=2026-02-30", "?date=1899-01-01", "?date=99999-01-01", "?zone=Local", "?zone=../../etc/passwd", "?zone=%00", "?zone=Mars/Base", "?date=2026-01-01&date=2026-01-01", "?zone=" + strings.Repeat("a", 300), "?nothing=1"} {
		for _, p := range []string{"/mobile/v1/me/day", "/mobile/v1/me/week", "/mobile/v1/dispatch"} {
			c.add(request{kind: "mobile", name: q, method: "GET", path: p + q, route: p, token: c.w.device})
		}
	}
	for _, h := range [][]string{{"Satchel-Now", "x"}, {"Satchel-Now", "1026-01-01T00:00:00Z"}, {"Satchel-Protocol", "99"}, {"If-Match", `"a","b"`}, {"Idempotency-Key", "é"}} {
		for _, p := range []string{"/mobile/v1/activities/act-acme-1/pause", "/mobile/v1/tickets/ticket-acme-1/wait", "/mobile/v1/activities/act-acme-1/comments"} {
			c.add(request{kind: "mobile", name: h[0], method: "POST", path: p, route: strings.Replace(p, "act-acme-1", "{id}", 1), body: []byte(`{"text":"x"}`), header: h, token: c.w.device})
		}
	}
	for _, p := range []string{"comments", "time-entries", "parts", "checklist-answers", "signature", "documents", "assign", "travel", "clear"} {
		for _, b := range []string{`{"at":1}`, `{"at":"yesterday"}`, `{"at":"1026-01-01T00:00:00Z"}`, `{"now":1}`, `{"now":"x","at":"2026-01-01T00:00:00Z"}`, `{"id":1}`, `{"id":"x"}`, `{"id":"../../etc"}`, `{"activity":"act-blue-1","parent":"act-blue-1"}`, `{"At":"2026-01-01T00:00:00Z"}`, `{"text":{}}`} {
			c.add(request{kind: "mobile", name: p + " " + b, method: "POST", path: "/mobile/v1/activities/act-acme-1/" + p, route: "/mobile/v1/activities/{id}/" + p, body: []byte(b), token: c.w.device})
		}
	}
	// What administrators ask.
	for _, q := range []string{"", "?client=", "?client=x", "?client=" + absent, "?client=../x", "?nothing=1", "?client=client-acme&client=client-acme", "?client=client-acme&limit=0", "?client=client-acme&cursor=x"} {
		c.add(request{kind: "administration", name: "holders" + q, method: "GET", path: "/v1/admin/holders" + q, route: "/v1/admin/holders"})
	}
	for _, q := range []string{"?action=view", "?type=job", "?action=nothing&type=job", "?action=view&type=nothing", "?action=view&type=job&id=" + absent, "?action=view&type=job&id=../x", "?action=view&type=job&action=view", "?ACTION=view", ""} {
		c.add(request{kind: "administration", name: "explain" + q, method: "GET", path: "/v1/explain" + q, route: "/v1/explain"})
		c.add(request{kind: "administration", name: "admin explain" + q, method: "GET", path: "/v1/admin/explain" + q, route: "/v1/admin/explain"})
	}
	for _, q := range []string{"?nothing=1", "?limit=0", "?cursor=x", "?from=x", "?to=2026-02-30", "?actor=../x", "?client=x", "?type=nothing", "?from=2026-01-01T00:00:00Z&from=2026-01-01T00:00:00Z"} {
		c.add(request{kind: "administration", name: "audit" + q, method: "GET", path: "/v1/admin/audit" + q, route: "/v1/admin/audit"})
	}
	for _, b := range []string{
		`{}`, `{"change":1}`, `{"change":[]}`, `{"change":[1]}`, `{"change":[{}]}`, `{"CHANGE":[]}`, `{"change":[null]}`, `{"change":"x"}`,
	} {
		c.add(request{kind: "administration", name: "what-if", method: "POST", path: "/v1/admin/what-if", route: "/v1/admin/what-if", body: []byte(b)})
	}
	for _, b := range []string{`{"fields":1}`, `{"nothing":1}`, `[]`, `null`} {
		for _, verb := range []string{"replay", "discard"} {
			c.add(request{kind: "administration", name: verb, method: "POST", path: "/v1/admin/quarantine/" + absent + ":" + verb, route: "/v1/admin/quarantine/{id}:" + verb, body: []byte(b)})
		}
	}
}
