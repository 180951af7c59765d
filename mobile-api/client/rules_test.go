package client_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strings"
	"testing"
	"time"

	"satchel/internal/testworld"
	"satchel/mobile-api/client"
	mobile "satchel/mobile-api/wire"
	"satchel/sync/wire"
)

// TestRulesTravel: the rules come with the first sync, not again while they are
// the same, and anew when the person's rights change.
func TestRulesTravel(t *testing.T) {
	w := tenantWorld(t)
	asked := map[int]int{}
	n := &wired{w: w, through: func(r *http.Request, _ []byte, res *http.Response, _ []byte) {
		if r.URL.Path == "/sync/v1/rules" {
			asked[res.StatusCode]++
		}
	}}
	p := phoneOf(t, w, testworld.Engineer, "field", n)
	first, err := p.Rules()
	if err != nil || first == nil || first.Field == nil || *first.Field != (mobile.FieldProfile{BackDays: 30, AheadDays: 90}) {
		t.Fatalf("%+v %v", first, err)
	}
	sync(t, p)
	sync(t, p)
	if asked[200] != 1 || len(asked) != 1 {
		t.Errorf("asked %v", asked)
	}
	for range 300 { // a token lives ten minutes
		w.Advance(5 * 60_000_000_000)
	}
	if err := p.Login(t.Context(), string(testworld.Engineer), "x"); err != nil {
		t.Fatal(err)
	}
	sync(t, p)
	if asked[304] != 1 || asked[200] != 1 {
		t.Errorf("a day later asked %v", asked)
	}
	// Something hidden changes no rules.
	w.Hide(testworld.Engineer, testworld.Blue)
	sync(t, p)
	if asked[304]+asked[200] != 2 {
		t.Errorf("with a client hidden asked %v", asked)
	}
	if err := p.Delete("jobActivity", "act-acme-1"); !errors.As(err, new(*client.RuleError)) {
		t.Errorf("an engineer deletes: %v", err)
	}
	w.Give(testworld.Engineer, "service.administrator")
	sync(t, p)
	second, err := p.Rules()
	if err != nil || second.Version == first.Version || asked[200] != 2 {
		t.Fatalf("%v %v, asked %v", second.Version, err, asked)
	}
	if err := p.Delete("timeEntry", "time-acme-1"); err != nil {
		t.Errorf("an administrator deletes: %v", err)
	}
}

// TestRulesWithoutANetwork: wrong entries are told while there is nobody to ask,
// nothing is queued of them, and an override queues them all the same.
func TestRulesWithoutANetwork(t *testing.T) {
	w := tenantWorld(t)
	p := phoneOf(t, w, testworld.Engineer, "field", nil)
	refuses := func(err error, code, field string) {
		t.Helper()
		var r *client.RuleError
		if !errors.As(err, &r) || r.Code != code || r.Field != field || r.Message == "" {
			t.Errorf("%v, want %s of %q", err, code, field)
		}
	}
	const act = "act-acme-1"
	refuses(p.Action("jobActivity", act, "clear", nil), "wrong_status", "")
	refuses(p.Action("jobActivity", act, "review", nil), "not_allowed", "")
	refuses(p.Action("jobActivity", act, "explode", nil), "bad_parameter", "action")
	refuses(p.Action("jobActivity", act, "travel", map[string]any{"where": "there"}), "unknown_field", "where")
	refuses(p.Patch("jobActivity", act, map[string]any{"status": "Cleared"}), "read_only_field", "status")
	refuses(p.Patch("jobActivity", act, map[string]any{"assignee": "emp-colleague"}), "immutable_field", "assignee")
	refuses(p.Patch("jobActivity", act, map[string]any{"title": nil}), "missing_field", "title")
	refuses(p.Patch("jobActivity", act, map[string]any{"titel": "x"}), "unknown_field", "titel")
	refuses(p.Patch("client", "client-acme", map[string]any{"name": "x"}), "not_allowed", "")
	_, err := p.Create("timeEntry", map[string]any{"activity": act})
	refuses(err, "missing_field", "start")
	_, err = p.Create("timeEntry", map[string]any{"activity": act, "start": "this morning"})
	refuses(err, "bad_value", "start")
	_, err = p.Create("partUsed", map[string]any{"activity": act, "product": "product-seal", "quantity": -1})
	refuses(err, "bad_value", "quantity")
	_, err = p.Create("invoice", map[string]any{"client": "client-acme"})
	refuses(err, "not_allowed", "")
	_, err = p.Create("balloon", nil)
	refuses(err, "bad_parameter", "type")
	if list, err := p.Pending(); err != nil || len(list) != 0 {
		t.Fatalf("queued all the same: %v %v", list, err)
	}

	// What waits counts as done.
	for _, step := range []string{"travel", "arrive", "start"} {
		if err := p.Action("jobActivity", act, step, nil); err != nil {
			t.Fatal(err)
		}
	}
	refuses(p.Action("jobActivity", act, "travel", nil), "wrong_status", "")
	if err := p.Action("jobActivity", act, "clear", map[string]any{"workDone": "Mended"}); err != nil {
		t.Fatal(err)
	}
	// Cleared is still the engineer's; Reviewed is not, nor what hangs on it.
	if _, err := p.Create("signature", map[string]any{"activity": act, "signedBy": "Ms C", "signedAt": "2026-03-02T09:00:00Z"}); err != nil {
		t.Errorf("of a cleared activity: %v", err)
	}
	refuses(p.Action("jobActivity", act, "pause", nil), "wrong_status", "")
	if err := p.Action("jobActivity", act, "pause", nil, client.EditAnyway); err != nil {
		t.Fatal(err)
	}
	results := sync(t, p)
	if n := len(results); n != 6 || results[n-1].Code != "wrong_status" || slices.ContainsFunc(results[:n-1], func(r wire.Result) bool { return r.Status != "applied" }) {
		t.Errorf("%+v", results)
	}
	w.Import(testworld.Row("jobActivity", act, "status", "Reviewed", "scheduledStart", "2026-03-02T08:00:00Z"))
	sync(t, p)
	refuses(p.Patch("jobActivity", act, map[string]any{"note": "x"}), "not_allowed", "")
	_, err = p.Create("partUsed", map[string]any{"activity": act, "product": "product-seal", "quantity": 1})
	refuses(err, "not_allowed", "")
	if _, err := p.Create("comment", map[string]any{"parent": act, "text": "still open"}); err != nil {
		t.Errorf("a comment: %v", err)
	}
}

// TestRulesOfTheUnread: a field that is not shown to the person is offered for
// nothing, though a grant to change it is wider than what shows the record, and
// is no argument of an action; the server says the same.
func TestRulesOfTheUnread(t *testing.T) {
	w := tenantWorld(t)
	w.Permit(testworld.Engineer, "grant", "verb", "edit", "entityType", "client", "app", "debtors")
	for _, name := range []string{"workDone", "assignee"} {
		w.Permit(testworld.Manager, "denial", "verb", "view", "entityType", "jobActivity", "field", name)
	}
	refuses := func(p *client.Phone, do func(...client.EditOption) error, code, field string) {
		t.Helper()
		var r *client.RuleError
		if err := do(); !errors.As(err, &r) || r.Code != code || r.Field != field {
			t.Fatalf("the phone says %v, want %s of %q", err, code, field)
		}
		if err := do(client.EditAnyway); err != nil {
			t.Fatal(err)
		}
		if res := sync(t, p); len(res) != 1 || res[0].Status != wire.Refused || res[0].Code != code {
			t.Errorf("the phone says %v, the server %+v", r, res)
		}
		dismiss(t, p)
	}
	eng := phoneOf(t, w, testworld.Engineer, "office", nil)
	rules, err := eng.Rules()
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(rules.Types, func(r mobile.TypeRules) bool { return r.Type == "client" })
	for _, f := range rules.Types[i].Fields {
		if f.Name == "debtorNotes" || f.Seen == "" {
			t.Errorf("%s is offered", f.Name)
		}
	}
	patch := func(kv map[string]any) func(...client.EditOption) error {
		return func(how ...client.EditOption) error { return eng.Patch("client", "client-acme", kv, how...) }
	}
	refuses(eng, patch(map[string]any{"debtorNotes": "x"}), "unknown_field", "debtorNotes")
	if err := eng.Patch("client", "client-acme", map[string]any{"name": "Acme anew"}); err != nil {
		t.Error(err) // what is shown may be changed by that grant
	}
	if res := sync(t, eng); len(res) != 1 || res[0].Status != wire.Applied {
		t.Errorf("%+v", res)
	}

	mgr := phoneOf(t, w, testworld.Manager, "office", nil)
	do := func(name string, args map[string]any) func(...client.EditOption) error {
		return func(how ...client.EditOption) error {
			return mgr.Action("jobActivity", "act-acme-1", name, args, how...)
		}
	}
	refuses(mgr, do("assign", map[string]any{"assignee": string(testworld.Colleague)}), "unknown_field", "assignee")
	refuses(mgr, do("assign", nil), "missing_field", "assignee")
	for _, step := range []string{"start", "clear"} {
		if step == "clear" {
			refuses(mgr, do(step, map[string]any{"workDone": "All of it"}), "unknown_field", "workDone")
		}
		if err := do(step, nil)(); err != nil {
			t.Fatal(err)
		}
		if res := sync(t, mgr); len(res) != 1 || res[0].Status != wire.Applied {
			t.Errorf("%s: %+v", step, res)
		}
	}
}

// TestRulesComeEarly: a device without rules fetches them beside the pages that are
// still to come, and not again at the end.
func TestRulesComeEarly(t *testing.T) {
	w := tenantWorld(t)
	n := &wired{w: w}
	asked := make(chan struct{}, 10)
	pulls := 0
	p, err := client.OpenMemory(client.NewMemory(), client.Options{
		Server: "http://satchel.example", Tenant: string(testworld.Slug), Clock: w.Clock, PageLimit: 5,
		Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			switch r.URL.Path {
			case "/sync/v1/rules":
				asked <- struct{}{}
			case "/sync/v1/pull":
				if pulls++; pulls == 2 { // which waits for nothing but its own answer
					if len(asked) > 0 {
						t.Error("the rules take the connection of the second page")
					}
					httptrace.ContextClientTrace(r.Context()).GotConn(httptrace.GotConnInfo{})
					select {
					case got := <-asked:
						asked <- got
					case <-time.After(time.Minute):
						t.Error("the second page is asked for alone")
					}
				}
			}
			return n.RoundTrip(r)
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Login(t.Context(), string(testworld.Engineer), "x"); err != nil {
		t.Fatal(err)
	}
	sync(t, p)
	if r, err := p.Rules(); r == nil || err != nil || len(asked) != 1 {
		t.Errorf("rules %v %v, asked %d times", r != nil, err, len(asked))
	}
}

// TestRulesOfAnOldServer: a server that has no rules leaves everything to itself.
func TestRulesOfAnOldServer(t *testing.T) {
	w := tenantWorld(t)
	gone := 0
	n := &wired{w: w}
	p, err := client.OpenMemory(client.NewMemory(), client.Options{
		Server: "http://satchel.example", Tenant: string(testworld.Slug), Clock: w.Clock,
		Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			if r.URL.Path == "/sync/v1/rules" {
				gone++
				r = r.Clone(r.Context())
				r.URL.Path = "/sync/v1/never"
			}
			return n.RoundTrip(r)
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Login(t.Context(), string(testworld.Manager), "x"); err != nil {
		t.Fatal(err)
	}
	sync(t, p)
	sync(t, p)
	if gone > 2 {
		t.Errorf("asked %d times", gone)
	}
	if r, err := p.Rules(); r != nil || err != nil {
		t.Errorf("rules %v %v", r, err)
	}
	if err := p.Patch("job", "job-acme-1", map[string]any{"status": "Closed"}); err != nil {
		t.Errorf("without rules: %v", err)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestRulesTellNothing: nobody's rules name a record, a client or an area, and
// what is hidden from somebody changes none of it.
func TestRulesTellNothing(t *testing.T) {
	plain, hiding := tenantWorld(t), tenantWorld(t)
	hiding.Hide(testworld.Manager, testworld.Acme, testworld.Corp)
	hiding.Allow(testworld.Onsite, testworld.Acme)
	fetch := func(w *testworld.World) *testworld.Response {
		t.Helper()
		return w.Send(w.DeviceToken(testworld.Manager, "phone"), "GET", "/sync/v1/rules", nil)
	}
	a, b := fetch(plain), fetch(hiding)
	if a.Status != 200 || string(a.Body) != string(b.Body) || a.Header.Get("ETag") != b.Header.Get("ETag") {
		t.Errorf("hiding shows: %s %s", a.Header.Get("ETag"), b.Header.Get("ETag"))
	}
	for _, jd := range judges {
		res := plain.Send(plain.DeviceToken(jd.who, "phone"), "GET", "/sync/v1/rules", nil).Want(t, 200, "")
		for _, secret := range []string{"client-acme", "client-blue", "area-north", "emp-", "acme"} {
			if strings.Contains(string(res.Body), secret) {
				t.Errorf("the rules of %s tell %q", jd.who, secret)
			}
		}
		tag := res.Header.Get("ETag")
		plain.Send(plain.DeviceToken(jd.who, "phone"), "GET", "/sync/v1/rules", nil, "If-None-Match", tag).Want(t, 304, "")
		var r mobile.Rules
		if err := json.Unmarshal(res.Body, &r); err != nil || `"`+r.Version+`"` != tag {
			t.Errorf("%s: %v %s %s", jd.who, err, r.Version, tag)
		}
	}
	// Without a device there is nothing to travel with.
	plain.HTTP(testworld.Manager, "GET", "/sync/v1/rules", nil).Want(t, 403, "device_required")
	plain.HTTP("", "GET", "/sync/v1/rules", nil).Want(t, 401, "invalid_token")
}
