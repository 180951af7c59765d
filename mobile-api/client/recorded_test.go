package client_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gofiber/fiber/v2"

	"satchel/internal/command"
	"satchel/internal/entity"
	"satchel/internal/testworld"
	"satchel/mobile-api/client"
	"satchel/mobile-api/handler"
	mobile "satchel/mobile-api/wire"
	"satchel/server/edge"
	"satchel/server/session"
	"satchel/server/session/password/passwordtest"
	"satchel/server/syncapi"
	"satchel/server/ws/upgrade"
)

// record writes the transcript of the present protocol anew. It is for a new
// version of the protocol, which gets a file of its own: the phones that spoke
// what is recorded are out there.
var record = flag.Bool("record", false, "write the transcript of this protocol version anew")

// exchange is one request of a recorded client and what it was answered, a line
// of the transcript. What differs from run to run stands as ${name}.
type exchange struct {
	Method   string            `json:"method"`
	Path     string            `json:"path"`
	Header   map[string]string `json:"header,omitempty"`
	Body     json.RawMessage   `json:"body,omitempty"`
	Status   int               `json:"status"`
	Response json.RawMessage   `json:"response,omitempty"`
}

// sent are the headers of a request that are part of the protocol.
var sent = []string{"Authorization", "If-None-Match", "If-Match", "Idempotency-Key", mobile.HeaderProtocol, mobile.HeaderNow}

// varying are members of answers that differ from run to run, where the name is
// enough to tell; ids in a sign-in's answer are among them.
var varying = []string{"accessToken", "refreshToken", "checkpoint", "idPrefix", "rules", "version"}

const passphrase = "correct horse battery"

// signable is a world where people sign in as they do.
func signable(t *testing.T) *testworld.World {
	t.Helper()
	hasher := passwordtest.New(t)
	w := testworld.New(t, func(app *fiber.App, auth *edge.Auth, cat *entity.Catalogue) {
		ses := &session.Service{Auth: auth, Hasher: hasher}
		ses.Mount(app)
		t.Cleanup(ses.Close)
		(&syncapi.Server{Auth: auth, Sockets: upgrade.New(upgrade.Options{})}).Mount(app)
		if _, err := handler.Mount(app, auth, cat, handler.Options{}); err != nil {
			t.Fatal(err)
		}
	})
	hash, err := hasher.Hash(context.Background(), passphrase)
	if err != nil {
		t.Fatal(err)
	}
	w.Do(&command.Command{Secret: &command.Secret{Employee: testworld.Engineer, Hash: hash}})
	return w
}

// names are what varies, by value, and the other way round.
type names struct {
	of, value map[string]string
	n         int
	then, now []any // records of the round under way, as recorded and as they are
}

func newNames() *names { return &names{of: map[string]string{}, value: map[string]string{}} }

// learn names what varies in an answer.
func (n *names) learn(path, key string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for _, k := range sortedNames(v) {
			n.learn(path, k, v[k])
		}
	case []any:
		for _, x := range v {
			n.learn(path, key, x)
		}
	case string:
		device := key == "id" && strings.HasPrefix(path, "/v1/auth/") && !strings.HasPrefix(v, "emp-")
		if (device || slices.Contains(varying, key)) && v != "" && n.of[v] == "" {
			n.n++
			n.of[v] = fmt.Sprintf("${%s-%d}", key, n.n)
		}
	}
}

// hide puts names for values.
func (n *names) hide(s string) string {
	for _, v := range longest(n.of) {
		s = strings.ReplaceAll(s, v, n.of[v])
	}
	return s
}

// show puts values for names.
func (n *names) show(s string) string {
	for _, name := range longest(n.value) {
		s = strings.ReplaceAll(s, name, n.value[name])
	}
	return s
}

func longest(m map[string]string) []string {
	keys := sortedNames(m)
	slices.SortStableFunc(keys, func(a, b string) int { return len(b) - len(a) })
	return keys
}

func sortedNames[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// TestRecord makes the transcript: a day of an engineer's phone.
func TestRecord(t *testing.T) {
	if !*record {
		t.Skip("only with -record")
	}
	w := signable(t)
	var out bytes.Buffer
	n := newNames()
	note := func(r *http.Request, body []byte, res *http.Response, raw []byte) {
		var v any
		if json.Unmarshal(raw, &v) == nil {
			n.learn(r.URL.Path, "", v)
		}
		e := exchange{Method: r.Method, Path: n.hide(r.URL.RequestURI()), Header: map[string]string{}, Status: res.StatusCode}
		for _, h := range sent {
			if s := r.Header.Get(h); s != "" {
				e.Header[h] = n.hide(s)
			}
		}
		if len(body) > 0 {
			e.Body = json.RawMessage(n.hide(string(body)))
		}
		if len(raw) > 0 {
			e.Response = json.RawMessage(n.hide(string(raw)))
		}
		line, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(append(line, '\n'))
	}
	net := &wired{w: w, genuine: true, through: note}
	p, err := client.OpenMemory(client.NewMemory(), client.Options{
		Server: "http://satchel.example", Tenant: string(testworld.Slug), Installation: "recorded-phone-1", Name: "Recorded", Platform: "test",
		Transport: net, Clock: w.Clock, Random: bytes.NewReader(bytes.Repeat([]byte("as it was recorded, "), 4000)), PageLimit: 40,
	})
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(p.Login(t.Context(), "engineer@example.com", passphrase))
	must(p.SetProfile(client.ProfileField))
	must(p.Pin("client", "client-dune"))
	sync(t, p)
	for _, step := range []string{"travel", "arrive", "start"} {
		must(p.Action("jobActivity", "act-acme-1", step, nil))
	}
	must(p.Patch("jobActivity", "act-acme-1", map[string]any{"note": "gate code"}))
	made, err := p.Create("comment", map[string]any{"parent": "act-acme-1", "text": "hello"})
	must(err)
	_, err = p.Create("timeEntry", map[string]any{"activity": "act-acme-1", "kind": "work", "start": "2026-03-02T09:00:00Z"})
	must(err)
	must(p.Action("jobActivity", "act-blue-1", "review", nil, client.EditAnyway))
	must(p.Patch("comment", made, map[string]any{"text": "hello again"}, client.EditAnyway))
	sync(t, p)
	_, err = p.Verify(t.Context())
	must(err)

	// The module, as a phone asks it.
	var tok string
	for v, name := range n.of {
		if strings.HasPrefix(name, "${accessToken") {
			tok = v
		}
	}
	ask := func(method, path, body string, headers ...string) {
		t.Helper()
		req, err := http.NewRequest(method, "http://satchel.example"+path, strings.NewReader(body))
		must(err)
		req.Header.Set("Authorization", "Bearer "+tok)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set(mobile.HeaderProtocol, "1")
		for i := 0; i < len(headers); i += 2 {
			req.Header.Set(headers[i], headers[i+1])
		}
		res, err := net.RoundTrip(req)
		must(err)
		must(res.Body.Close())
	}
	ask("GET", "/mobile/v1/capabilities", "")
	ask("GET", "/mobile/v1/me/day?date=2026-03-02", "")
	ask("GET", "/mobile/v1/me/week", "")
	ask("GET", "/mobile/v1/activities/act-acme-1", "")
	ask("POST", "/mobile/v1/activities/act-acme-1/pause", `{"at":"2026-03-02T08:00:00Z"}`, mobile.HeaderNow, "2026-03-02T08:30:00Z", "Idempotency-Key", "recorded-1")
	ask("POST", "/mobile/v1/activities/act-acme-1/pause", `{"at":"2026-03-02T08:00:00Z"}`, "Idempotency-Key", "recorded-1")
	ask("POST", "/mobile/v1/activities/act-acme-1/pause", `{}`)
	ask("POST", "/mobile/v1/activities/act-acme-1/parts", `{"product":"product-seal","quantity":1}`)
	ask("POST", "/mobile/v1/activities/act-acme-1/checklist-answers", `{"checklist":"checklist-one","item":"item-1","answer":"no"}`)
	ask("POST", "/mobile/v1/activities/act-acme-1/signature", `{"signedBy":"Ms Client"}`)
	ask("POST", "/mobile/v1/activities/act-acme-1/comments", `{"text":"noted"}`)
	ask("POST", "/mobile/v1/activities/act-dune-1/travel", `{}`)
	ask("GET", "/mobile/v1/tickets", "")
	ask("GET", "/mobile/v1/tickets/ticket-acme-3", "")
	ask("POST", "/mobile/v1/tickets/ticket-acme-3/reply", `{"text":"on my way"}`)
	ask("POST", "/mobile/v1/tickets/ticket-acme-3/start", `{}`)
	ask("GET", "/mobile/v1/dispatch", "")
	ask("GET", "/mobile/v1/me/day", "", mobile.HeaderProtocol, "99")
	must(p.Logout(t.Context()))
	if err := os.WriteFile(transcript(1), out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

func transcript(version int) string {
	return filepath.Join("testdata", fmt.Sprintf("protocol%d.jsonl", version))
}

// TestRecordedClients replays what phones of every protocol version said against
// this server: it must answer each with the same status, and with everything
// that was in the answer then, of the same kind. More may be in it.
func TestRecordedClients(t *testing.T) {
	for version := mobile.MinProtocol; version <= mobile.Protocol; version++ {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			f, err := os.Open(transcript(version))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close() //nolint:errcheck // only read from
			w := signable(t)
			n := newNames()
			in := bufio.NewScanner(f)
			in.Buffer(nil, 16<<20)
			lines := 0
			for in.Scan() {
				lines++
				var e exchange
				if err := json.Unmarshal(in.Bytes(), &e); err != nil {
					t.Fatalf("line %d: %v", lines, err)
				}
				replay(t, w, n, lines, &e)
			}
			if err := in.Err(); err != nil || lines < 20 {
				t.Fatalf("%d lines, %v", lines, err)
			}
		})
	}
}

func replay(t *testing.T, w *testworld.World, n *names, line int, e *exchange) {
	t.Helper()
	var headers []string
	token := ""
	for _, h := range sortedNames(e.Header) {
		if h == "Authorization" {
			token = strings.TrimPrefix(n.show(e.Header[h]), "Bearer ")
			continue
		}
		headers = append(headers, h, n.show(e.Header[h]))
	}
	var body any
	if len(e.Body) > 0 {
		body = n.show(string(e.Body))
	}
	res := w.Send(token, e.Method, n.show(e.Path), body, headers...)
	where := fmt.Sprintf("line %d, %s %s", line, e.Method, e.Path)
	if res.Status != e.Status {
		t.Fatalf("%s: answered %d, then it was %d: %s", where, res.Status, e.Status, res.Body)
	}
	if len(e.Response) == 0 {
		return
	}
	var was, is any
	if err := json.Unmarshal(e.Response, &was); err != nil {
		t.Fatalf("%s: %v", where, err)
	}
	if err := json.Unmarshal(res.Body, &is); err != nil {
		t.Fatalf("%s: %v: %s", where, err, res.Body)
	}
	if strings.HasSuffix(e.Path, "/sync/v1/pull") {
		n.round(t, where, was, is)
	}
	alike(t, n, where, "", was, is)
}

// round takes the records out of a page and compares those of a whole round: which
// of them comes on which page is the server's to decide.
func (n *names) round(t *testing.T, where string, was, is any) {
	t.Helper()
	take := func(page any, into *[]any) (more bool) {
		m, _ := page.(map[string]any)
		rs, _ := m["records"].([]any)
		*into = append(*into, rs...)
		delete(m, "records")
		more, _ = m["more"].(bool)
		return more
	}
	take(is, &n.now)
	if take(was, &n.then) {
		return
	}
	alike(t, n, where+" records", "", n.then, n.now)
	n.then, n.now = nil, nil
}

// exact are members that a phone acts on by their value.
var exact = []string{"code", "type", "kind", "op", "status", "processed", "more", "n"}

// alike demands that everything of what was is in what is, of the same kind, and
// takes down what varies.
func alike(t *testing.T, n *names, where, key string, was, is any) {
	t.Helper()
	switch was := was.(type) {
	case nil:
	case map[string]any:
		now, ok := is.(map[string]any)
		if !ok {
			t.Errorf("%s: no object any more: %v", where, is)
			return
		}
		for _, k := range sortedNames(was) {
			v, there := now[k]
			if !there {
				t.Errorf("%s: %s is gone", where, k)
				continue
			}
			alike(t, n, where+" "+k, k, was[k], v)
		}
	case []any:
		now, ok := is.([]any)
		if !ok {
			t.Errorf("%s: no list any more: %v", where, is)
			return
		}
		met := 0
		for i, x := range was {
			y, there := counterpart(x, i, was, now)
			if there {
				met++
				alike(t, n, fmt.Sprintf("%s[%d]", where, i), key, x, y)
			}
		}
		if len(was) > 0 && met == 0 {
			t.Errorf("%s: nothing of the list is left", where)
		}
	case string:
		now, ok := is.(string)
		switch {
		case !ok:
			t.Errorf("%s: no text any more: %v", where, is)
		case strings.HasPrefix(was, "${") && strings.HasSuffix(was, "}") && strings.Count(was, "$") == 1:
			n.value[was] = now
		case slices.Contains(exact, key) && n.show(was) != now:
			t.Errorf("%s: %q, then it was %q", where, now, was)
		}
	default:
		if fmt.Sprintf("%T", was) != fmt.Sprintf("%T", is) || slices.Contains(exact, key) && was != is {
			t.Errorf("%s: %v, then it was %v", where, is, was)
		}
	}
}

// counterpart finds an entry of a list in that of now: a text by itself, an
// object by its id, its name or its type where it has one, otherwise by its
// place.
func counterpart(x any, i int, was, now []any) (any, bool) {
	if m, ok := x.(map[string]any); ok {
		for _, k := range []string{"id", "name", "type"} {
			s, ok := m[k].(string)
			if !ok || strings.Contains(s, "$") {
				continue
			}
			at := slices.IndexFunc(now, func(y any) bool {
				o, ok := y.(map[string]any)
				return ok && o[k] == s && (m["type"] == nil || o["type"] == m["type"])
			})
			if at >= 0 {
				return now[at], true
			}
		}
	}
	if s, ok := x.(string); ok && slices.Contains(now, any(s)) {
		return s, true
	}
	if len(was) == len(now) {
		return now[i], true
	}
	return nil, false
}
