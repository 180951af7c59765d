package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"satchel/sync/wire"
)

// TestBadRequests: what a device may not send is refused as a whole, with a
// stable code, and changes nothing.
func TestBadRequests(t *testing.T) {
	s := newServer(t)
	c := s.signIn(eve, "raw")
	c.pull(map[string]any{"profile": "field"})
	deep := strings.Repeat("[", 2000) + strings.Repeat("]", 2000)
	now := s.clock.Now().UTC().Format(time.RFC3339)
	many := strings.TrimSuffix(strings.Repeat(`{"n":1,"op":"delete","type":"job","id":"job-one-1","at":"`+now+`"},`, 501), ",")
	for _, b := range []struct {
		path, body string
		status     int
		code       string
	}{
		{"pull", ``, 400, "malformed_json"},
		{"pull", `{`, 400, "malformed_json"},
		{"pull", `[]`, 422, "bad_value"},
		{"pull", `null`, 422, "bad_value"},
		{"pull", `{"limit":1}{}`, 400, "malformed_json"},
		{"pull", `{"limit":"1"}`, 422, "bad_value"},
		{"pull", `{"limit":1.5}`, 422, "bad_value"},
		{"pull", `{"limit":-1}`, 400, "bad_parameter"},
		{"pull", `{"limit":0}`, 400, "bad_parameter"},
		{"pull", `{"limit":10001}`, 400, "bad_parameter"},
		{"pull", `{"limit":1,"limit":2}`, 400, "malformed_json"},
		{"pull", `{"Limit":1}`, 400, "unknown_field"},
		{"pull", `{"cursor":"x"}`, 400, "unknown_field"},
		{"pull", `{"checkpoint":7}`, 422, "bad_value"},
		{"pull", `{"checkpoint":"` + strings.Repeat("x", 201) + `"}`, 400, "bad_checkpoint"},
		{"pull", `{"profile":"FIELD"}`, 400, "bad_parameter"},
		{"pull", `{"profile":"warehouse"}`, 400, "bad_parameter"},
		{"pull", `{"window":{"from":"2026-01-02T00:00:00Z","to":"2026-01-01T00:00:00Z"}}`, 400, "bad_parameter"},
		{"pull", `{"window":{"from":"2026-01-01T00:00:00Z","to":"2026-01-01T00:00:00Z"}}`, 400, "bad_parameter"},
		{"pull", `{"window":{"from":"yesterday","to":"2026-01-01T00:00:00Z"}}`, 400, "bad_parameter"},
		{"pull", `{"window":{"from":"2026-01-01T00:00:00Z"}}`, 400, "bad_parameter"},
		{"pull", `{"window":{"From":"2026-01-01T00:00:00Z","to":"2026-02-01T00:00:00Z"}}`, 400, "unknown_field"},
		{"pull", `{"pins":[{"type":"client","id":"X"}]}`, 400, "bad_parameter"},
		{"pull", `{"pins":{"type":"client","id":"client-one"}}`, 422, "bad_value"},
		{"pull", `{"schema":-1}`, 400, "bad_parameter"},
		{"pull", `{"heal":` + deep + `}`, 400, "too_deep"},
		{"push", `{"acked":0,"now":"` + now + `","mutations":[` + many + `]}`, 413, "too_large"},
		{"push", `{"acked":0,"now":"soon","mutations":[]}`, 400, "bad_parameter"},
		{"push", `{"acked":-1,"now":"` + now + `","mutations":[]}`, 422, "bad_value"},
		{"push", `{"acked":0,"now":"` + now + `","mutations":[{"op":"delete"}]}`, 422, ""},
		{"push", `{"acked":0,"now":"` + now + `","mutations":[{"n":0,"op":"delete","type":"job","id":"job-one-1","at":"` + now + `"}]}`, 422, "bad_value"},
		{"push", `{"acked":0,"now":"` + now + `","mutations":[{"N":1}]}`, 400, "unknown_field"},
		{"push", `{"acked":0,"now":"` + now + `","mutations":[7]}`, 422, "bad_value"},
		{"push", `{"acked":0,"now":"` + now + `","mutations":[{"n":1,"n":1}]}`, 400, "malformed_json"},
		{"push", `{"acked":0,"now":"` + now + `","mutations":[{"n":1,"args":` + deep + `}]}`, 400, "too_deep"},
		{"push", `{"acked":0,"now":"` + now + `","Mutations":[]}`, 400, "unknown_field"},
		{"verify", `{"types":[]}`, 422, "bad_value"},
		{"verify", `{"types":{"job":{"count":"1"}}}`, 422, "bad_value"},
		{"verify", `{"Types":{}}`, 400, "unknown_field"},
	} {
		r := c.post("/sync/v1/"+b.path, b.body)
		if r.status != b.status || b.code != "" && r.code() != b.code || r.code() == "" {
			t.Errorf("%s %.120s: %d %s, want %d %s", b.path, b.body, r.status, r.code(), b.status, b.code)
		}
	}
	for _, h := range [][2]string{{"Content-Encoding", "gzip"}, {"Content-Encoding", "zstd"}, {"Content-Type", "text/plain"}} {
		if r := c.post("/sync/v1/pull", `{}`, h[0], h[1]); r.status != 415 {
			t.Errorf("%s: %s answered %d %s", h[0], h[1], r.status, r.body)
		}
	}
	for _, p := range []string{"/sync/v1/pull/", "/sync/v1/Pull", "/sync/v2/pull"} {
		if r := c.post(p, `{}`); r.status != 404 {
			t.Errorf("%s answered %d", p, r.status)
		}
	}
	if r := s.post("/sync/v1/pull", "", `{}`); r.status != 401 || r.code() != "invalid_token" {
		t.Errorf("nobody: %d %s", r.status, r.body)
	}
	s.signIn(eve, "").post("/sync/v1/pull", `{}`).want(t, 403, "device_required")
	// Nothing of all this took a number or left a trace.
	if r := c.push(0); r.Processed != 0 || len(s.quarantined()) != 0 {
		t.Errorf("processed %d, quarantine %d", r.Processed, len(s.quarantined()))
	}
}

// TestBadMutations: one that may not happen is refused alone, in its place,
// and its content is kept.
func TestBadMutations(t *testing.T) {
	s := newServer(t)
	c := s.signIn(eve, "raw")
	c.pull(map[string]any{"profile": "field"})
	comment := O("parent", "act-one-1", "text", "fine")
	n := 0
	id := func(s string) string { return c.prefix + s + "-and-some-more" }
	m := func(op, typ, id string, more ...any) map[string]any {
		n++
		return c.mutation(n, op, typ, id, more...)
	}
	with := func(m map[string]any, k string, v any) map[string]any { m[k] = v; return m }
	long := strings.Repeat("y", 170<<10)
	list := []struct {
		m    map[string]any
		code string
	}{
		{m("create", "comment", id("one"), "fields", comment), ""},
		{m("create", "comment", id("one"), "fields", comment), "bad_id"}, // taken
		{m("create", "comment", "dzzzzzzzzone-and-some-more", "fields", comment), "bad_id"},
		{m("create", "comment", strings.ToUpper(id("two")), "fields", comment), "bad_id"},
		{m("create", "comment", "", "fields", comment), "bad_id"},
		{m("create", "comment", "../../etc", "fields", comment), "bad_id"},
		{m("create", "spaceship", id("ship"), "fields", O()), "bad_parameter"},
		{m("create", "Comment", id("two"), "fields", comment), "bad_parameter"},
		{m("create", "comment", id("two"), "fields", O("parent", "act-one-1", "Text", "x")), "unknown_field"},
		{m("create", "comment", id("two"), "fields", O("parent", "act-one-1", "text", 7)), "bad_value"},
		{m("create", "comment", id("two"), "fields", O("parent", "act-one-1")), "missing_field"},
		{m("explode", "comment", id("one")), ""},
		{m("patch", "jobActivity", "act-one-1", "fields", O("note", "x")), "missing_field"}, // without was
		{m("patch", "jobActivity", "act-one-1", "fields", O("status", "Closed"), "was", O("status", "Assigned")), "read_only_field"},
		{m("patch", "job", "job-one-1", "fields", O("title", "Mine"), "was", O("title", "Boiler of one")), "not_allowed"},
		{m("delete", "jobActivity", "act-one-1"), "not_allowed"},
		{m("action", "jobActivity", "act-one-1"), ""},
		{m("action", "jobActivity", "act-one-1", "action", "fly"), ""},
		{m("action", "jobActivity", "act-one-1", "action", "resume"), "wrong_status"},
		{m("action", "jobActivity", "act-one-1", "action", "accept", "args", O("bogus", 1)), "unknown_field"},
		{with(m("action", "jobActivity", "act-one-1", "action", "accept"), "at", "noon"), "bad_value"},
		{with(m("create", "comment", id("odd"), "fields", comment), "Extra", "kept"), "unknown_field"},
		{with(m("create", "comment", id("odder"), "fields", comment), "op", 7), "bad_value"},
		{m("create", "comment", id("big"), "fields", O("parent", "act-one-1", "text", long)), "too_large"},
		{m("patch", "jobActivity", "act-one-1", "fields", O("note", "last"), "was", O("note", nil)), ""},
	}
	var ms []map[string]any
	for _, l := range list {
		ms = append(ms, l.m)
	}
	res := c.push(0, ms...)
	if len(res.Results) != len(list) || res.Processed != uint64(len(list)) {
		t.Fatalf("%d results, processed %d", len(res.Results), res.Processed)
	}
	refused := 0
	for i, r := range res.Results {
		first, last := i == 0, i == len(list)-1
		if (r.Status == wire.Applied) != (first || last) || list[i].code != "" && r.Code != list[i].code || r.N != uint64(i+1) {
			raw, _ := json.Marshal(list[i].m)
			t.Errorf("%.150s: %+v, want %s", raw, r, list[i].code)
		}
		if r.Status == wire.Refused {
			refused++
		}
	}
	q := s.quarantined()
	if len(q) != refused {
		t.Fatalf("%d in the quarantine, %d refused", len(q), refused)
	}
	for _, k := range q {
		if list[k.Mutation.N-1].m["Extra"] != nil && (string(k.Mutation.Fields["Extra"]) != `"kept"` || string(k.Mutation.Fields["text"]) != `"fine"`) {
			t.Errorf("of what could not be read is kept: %+v", k.Mutation)
		}
	}
	if got := s.value("act-one-1", "note"); got != "last" {
		t.Errorf("note %q", got)
	}
	// Again, the outcomes are the same to the byte; the same numbers with
	// another content are refused; a gap names the number that is due.
	again := c.push(0, ms...)
	one, _ := json.Marshal(res)
	two, _ := json.Marshal(again)
	if string(one) != string(two) {
		t.Errorf("a replay differs:\n%s\n%s", one, two)
	}
	other := c.mutation(1, "create", "comment", id("one"), "fields", O("parent", "act-one-1", "text", "other"))
	if r := c.push(0, other).Results[0]; r.Code != "number_reused" || r.Status != wire.Refused {
		t.Errorf("reuse: %+v", r)
	}
	if r := c.push(5, other).Results[0]; r.Code != "number_reused" { // acknowledged long ago
		t.Errorf("reuse after acknowledgement: %+v", r)
	}
	gap := c.push(0, c.mutation(n+2, "action", "jobActivity", "act-one-1", "action", "accept"))
	if r := gap.Results[0]; r.Code != "number_gap" || !strings.Contains(r.Message, fmt.Sprint(n+1)) || gap.Processed != uint64(n) {
		t.Errorf("gap: %+v", gap)
	}
	// Keys in another order: the same content.
	same := fmt.Sprintf(`{"mutations":[{"at":%q,"id":%q,"type":"comment","op":"create","n":1,"fields":{"text":"fine","parent":"act-one-1"}}],"now":%q,"acked":0}`,
		ms[0]["at"], id("one"), ms[0]["at"])
	var r wire.Results
	c.post("/sync/v1/push", same).into(t, &r)
	if r.Results[0].Status != wire.Applied {
		t.Errorf("the same content: %+v", r.Results[0])
	}
}

// TestBadCheckpoints: a token that is stale, made up, or another device's
// shows nothing more than this device may have, and the device converges.
func TestBadCheckpoints(t *testing.T) {
	s := newServer(t)
	mine, theirs := s.signIn(eve, "mine"), s.signIn(mia, "theirs")
	first := mine.pull(map[string]any{"profile": "field", "limit": 3})
	foreign := theirs.pull(map[string]any{"limit": 3})
	if !first.More || first.From != "" || len(first.Records) != 3 {
		t.Fatalf("first page: %+v", first)
	}
	second := mine.pull(map[string]any{"checkpoint": first.Checkpoint, "limit": 3})
	third := mine.pull(map[string]any{"checkpoint": second.Checkpoint, "limit": 3})
	if second.Reset || third.Reset || second.From != first.Checkpoint {
		t.Fatalf("pages: %+v, %+v", second, third)
	}
	for _, cp := range []string{first.Checkpoint, foreign.Checkpoint, "1.00000000000000000000", "x", "99." + strings.Split(second.Checkpoint, ".")[1], "é\u0000"} {
		pg := mine.pull(map[string]any{"checkpoint": cp})
		if !pg.Reset || pg.From != cp {
			t.Errorf("%q: a page without a reset: from %q", cp, pg.From)
		}
		for _, r := range pg.Records {
			if r.ID == "act-one-2" {
				t.Errorf("%q: brought what is not this person's", cp)
			}
		}
	}
	p := s.phone(eve, "field")
	p.verify()
}

// TestBadFrames: what can't be a frame ends the conversation properly, and
// what is merely refused does not.
func TestBadFrames(t *testing.T) {
	s := newServer(t)
	c := s.signIn(eve, "raw")
	for _, f := range []struct {
		frame string
		code  string // of the error frame; "" for none
		close int    // 0: the conversation goes on
	}{
		{`{"kind":"pull","limit":-1}`, "bad_parameter", 0},
		{`{"kind":"pull","limit":0}`, "bad_parameter", 0},
		{`{"kind":"pull","profile":"warehouse"}`, "bad_parameter", 0},
		{`{"kind":"push","acked":0,"now":"x","mutations":[]}`, "bad_parameter", 0},
		{`{"kind":"dance"}`, "bad_parameter", 1008},
		{`{"kind":"pull","token":"x"}`, "unknown_field", 1008},
		{`{"kind":"pull","mutations":[]}`, "unknown_field", 1008},
		{`{"kind":"pull","Limit":1}`, "unknown_field", 1008},
		{`{"kind":"PULL"}`, "bad_parameter", 1008},
		{`{}`, "bad_parameter", 1008},
		{`{"kind"`, "malformed_json", 1008},
		{`[1]`, "bad_value", 1008},
		{`{"kind":"pull","checkpoint":"` + strings.Repeat("x", 1<<20) + `"}`, "", 1009},
	} {
		sock := s.socket(c.access)
		sock.send(f.frame)
		if f.code != "" {
			var p wire.Problem
			sock.frame(wire.KindError, &p)
			if p.Code != f.code {
				t.Errorf("%.80s: %+v, want %s", f.frame, p, f.code)
			}
		}
		if f.close != 0 {
			sock.closes(f.close)
			continue
		}
		sock.catchUp("", "field")
		_ = sock.Close()
		<-sock.closed
	}
	sock := s.socket(c.access)
	if err := sock.WriteMessage(2, []byte(`{"kind":"pull"}`)); err != nil {
		t.Fatal(err)
	}
	sock.closes(1003)
	for name, h := range map[string]http.Header{
		"origin": {"Authorization": {"Bearer " + c.access}, "Origin": {"https://evil.example"}},
	} {
		req, err := http.NewRequest(http.MethodGet, s.url+"/sync/v1/live", nil)
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range h {
			req.Header[k] = v
		}
		for k, v := range map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="} {
			req.Header.Set(k, v)
		}
		res, err := s.http.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != 403 {
			t.Errorf("%s: answered %d", name, res.StatusCode)
		}
	}
}
