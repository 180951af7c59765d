package rest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"satchel/internal/command"
	"satchel/internal/ident"
	"satchel/internal/testworld"
)

// TestRevisions: ETag, If-None-Match and If-Match.
func TestRevisions(t *testing.T) {
	w := newWorld(t)
	const job = "/v1/service/jobs/job-acme-1"
	first := w.HTTP(testworld.Manager, "GET", job, nil).Want(t, 200, "")
	tag := first.Header.Get("ETag")
	if rev := first.Object(t)["rev"]; tag != fmt.Sprintf("%q", rev) {
		t.Fatalf("ETag %s, rev %v", tag, rev)
	}
	for _, h := range []string{tag, "W/" + tag, `"x", ` + tag, "*"} {
		if res := w.HTTP(testworld.Manager, "GET", job, nil, "If-None-Match", h).Want(t, 304, ""); len(res.Body) != 0 || res.Header.Get("ETag") != tag {
			t.Errorf("304 with %q, %s", res.Body, res.Header.Get("ETag"))
		}
	}
	w.HTTP(testworld.Manager, "GET", job, nil, "If-None-Match", `"x"`).Want(t, 200, "")
	// Whoever sees other fields has another rev of the same record.
	if other := w.HTTP(testworld.GuestAgent, "GET", job, nil).Header.Get("ETag"); other == tag {
		t.Error("the same rev for fewer fields")
	}
	res := w.HTTP(testworld.Manager, "PATCH", job, testworld.Object("description", "New"), "If-Match", tag).Want(t, 200, "")
	next := res.Header.Get("ETag")
	if next == tag || next == "" {
		t.Errorf("rev after a change: %s", next)
	}
	w.HTTP(testworld.Manager, "PATCH", job, testworld.Object("description", "Late"), "If-Match", tag).Want(t, 412, "rev_mismatch")
	w.HTTP(testworld.Manager, "POST", job+"/cancel", nil, "If-Match", tag).Want(t, 412, "rev_mismatch")
	w.HTTP(testworld.Manager, "DELETE", job, nil, "If-Match", tag).Want(t, 412, "rev_mismatch")
	w.HTTP(testworld.Manager, "PATCH", job, testworld.Object("description", "Any"), "If-Match", "*").Want(t, 200, "")
	w.HTTP(testworld.Manager, "PATCH", "/v1/service/jobs/never-was-1", testworld.Object("description", "x"), "If-Match", "*").Want(t, 404, "not_found")
	// What the guest agent does not see changes no rev of theirs.
	before := w.HTTP(testworld.GuestAgent, "GET", job, nil)
	w.HTTP(testworld.Manager, "PATCH", job, testworld.Object("description", "Unseen")).Want(t, 200, "")
	if after := w.HTTP(testworld.GuestAgent, "GET", job, nil); !bytes.Equal(before.Body, after.Body) {
		t.Errorf("an unseen change shows: %s / %s", before.Body, after.Body)
	}
}

// TestCreate: status, Location, ids of one's own.
func TestCreate(t *testing.T) {
	w := newWorld(t)
	body := testworld.Object("client", "client-acme", "title", "Fix")
	res := w.HTTP(testworld.Manager, "POST", "/v1/service/jobs", body).Want(t, 201, "")
	o := res.Object(t)
	loc := res.Header.Get("Location")
	if loc != "/v1/service/jobs/"+o["id"].(string) || res.Header.Get("ETag") != fmt.Sprintf("%q", o["rev"]) {
		t.Errorf("Location %s, %v", loc, o)
	}
	if got := w.HTTP(testworld.Manager, "GET", loc, nil).Want(t, 200, ""); !bytes.Equal(got.Body, res.Body) {
		t.Errorf("%s / %s", got.Body, res.Body)
	}
	// A device makes ids with its own prefix, once each.
	tok, prefix := w.DeviceToken(testworld.Manager, "desk"), w.Prefix(testworld.Manager, "desk")
	body["id"] = json.RawMessage(`"` + prefix + `job1"`)
	w.Send(tok, "POST", "/v1/service/jobs", body).Want(t, 201, "")
	w.Send(tok, "POST", "/v1/service/jobs", body).Want(t, 422, "bad_id")
	w.HTTP(testworld.Manager, "POST", "/v1/service/jobs", testworld.Object("id", prefix+"job2", "client", "client-acme", "title", "x")).Want(t, 422, "bad_id")
	w.HTTP(testworld.Manager, "DELETE", loc, nil).Want(t, 204, "")
	w.HTTP(testworld.Manager, "GET", loc, nil).Want(t, 404, "not_found")
	w.HTTP(testworld.Manager, "DELETE", loc, nil).Want(t, 404, "not_found")
	w.HTTP(testworld.Manager, "DELETE", "/v1/service/jobs/job-acme-1", nil).Want(t, 409, "has_dependents")
	// Null clears; a field that is not named stays.
	w.HTTP(testworld.Manager, "PATCH", "/v1/service/jobs/job-acme-1", `{"priority":null}`).Want(t, 200, "")
	if o := w.HTTP(testworld.Manager, "GET", "/v1/service/jobs/job-acme-1", nil).Object(t); o["priority"] != nil || o["title"] == nil {
		t.Errorf("%v", o)
	}
}

// TestGoneAfterwards: 204 where the writer does not see the record any more.
func TestGoneAfterwards(t *testing.T) {
	w := newWorld(t)
	// An engineer's ticket that is taken from them by a second role of theirs.
	w.Give(testworld.Engineer, "level.onsite-manager")
	w.Import(testworld.Row("onsiteClient", "onsite-row-3", "employee", testworld.Engineer, "client", testworld.Dune))
	w.HTTP(testworld.Engineer, "PATCH", "/v1/helpdesk/tickets/ticket-dune-1", testworld.Object("subject", "Hm")).Want(t, 200, "")
	// An administrator who gives up the role sees nothing of it.
	w.Person("emp-second", "level.customer-administrator")
	mine := w.HTTP("emp-second", "GET", "/v1/admin/role-assignments?filter=employee%20eq%20emp-second", nil).IDs(t)[0]
	res := w.HTTP("emp-second", "PATCH", "/v1/admin/role-assignments/"+mine, testworld.Object("until", "2026-01-02T00:00:00Z")).Want(t, 204, "")
	if len(res.Body) != 0 || res.Header.Get("ETag") != "" {
		t.Errorf("%s %v", res.Body, res.Header)
	}
	w.HTTP("emp-second", "GET", "/v1/admin/role-assignments", nil).Want(t, 403, "not_allowed")
}

// TestIdempotency: a key is good for one request, however often it is sent.
func TestIdempotency(t *testing.T) {
	w := newWorld(t)
	const path = "/v1/service/jobs"
	send := func(body any, key string) *testworld.Response {
		return w.HTTP(testworld.Manager, "POST", path, body, "Idempotency-Key", key)
	}
	one := send(`{"client":"client-acme","title":"Once"}`, "k1").Want(t, 201, "")
	two := send(`{ "title" : "Once", "client":"client-acme"}`, "k1").Want(t, 201, "") // the same in other words
	if !bytes.Equal(one.Body, two.Body) || one.Header.Get("Location") != two.Header.Get("Location") {
		t.Errorf("%s / %s", one.Body, two.Body)
	}
	send(`{"client":"client-acme","title":"Other"}`, "k1").Want(t, 422, "idempotency_key_reused")
	w.HTTP(testworld.Manager, "POST", "/v1/service/assets", `{"client":"client-acme","title":"Once"}`, "Idempotency-Key", "k1").Want(t, 422, "idempotency_key_reused")
	// Somebody else's key is another key.
	w.HTTP(testworld.SvcAdmin, "POST", path, `{"client":"client-acme","title":"Once"}`, "Idempotency-Key", "k1").Want(t, 201, "")
	// A refused request leaves the key free.
	send(`{"client":"client-acme"}`, "k2").Want(t, 422, "missing_field")
	send(`{"client":"client-acme","title":"Now"}`, "k2").Want(t, 201, "")
	loc := one.Header.Get("Location")
	for range 2 {
		w.HTTP(testworld.Manager, "DELETE", loc, nil, "Idempotency-Key", "k3").Want(t, 204, "")
	}
	// Sent by many at once, it is done once.
	var wg sync.WaitGroup
	w.Token(testworld.Manager)
	for range 20 {
		wg.Go(func() { send(`{"client":"client-acme","title":"Race"}`, "k4").Want(t, 201, "") })
	}
	wg.Wait()
	if got := w.HTTP(testworld.Manager, "GET", path+"?q=Race", nil).IDs(t); len(got) != 1 {
		t.Errorf("made %v", got)
	}
}

// TestAddAndRemove changes sets by their members.
func TestAddAndRemove(t *testing.T) {
	w := newWorld(t)
	const path = "/v1/service/customers/client-acme"
	phones := func(body string) []any {
		res := w.HTTP(testworld.Manager, "PATCH", path, body).Want(t, 200, "")
		p, _ := res.Object(t)["phones"].([]any)
		return p
	}
	for _, c := range []struct {
		body string
		want []any
	}{
		{`{"phones":["1","2"]}`, []any{"1", "2"}},
		{`{"phones":{"add":["3","2"],"remove":["1"]}}`, []any{"2", "3"}},
		{`{"phones":{"add":["4"]}}`, []any{"2", "3", "4"}},
		{`{"phones":{"remove":["2","9"]}}`, []any{"3", "4"}},
		{`{"phones":{}}`, []any{"3", "4"}},
		{`{"phones":{"add":["5"],"remove":["5"]}}`, []any{"3", "4"}},
		{`{"phones":{"add":null,"remove":["3","4"]}}`, nil},
	} {
		if got := phones(c.body); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.body, got, c.want)
		}
	}
	var many []string
	for i := range 21 {
		many = append(many, fmt.Sprint(i))
	}
	phones(`{"phones":["a"]}`)
	w.HTTP(testworld.Manager, "PATCH", path, testworld.Object("phones", map[string]any{"add": many[:20]})).Want(t, 422, "bad_value")
	// References among them are checked like any.
	const ticket = "/v1/helpdesk/tickets/ticket-acme-1"
	w.HTTP(testworld.Ticketer, "PATCH", ticket, testworld.Object("watchers", map[string]any{"add": []string{"emp-guest"}})).Want(t, 200, "")
	w.HTTP(testworld.Ticketer, "PATCH", ticket, testworld.Object("watchers", map[string]any{"add": []string{"job-acme-1"}})).Want(t, 422, "bad_reference")
	w.HTTP(testworld.Ticketer, "PATCH", ticket, testworld.Object("watchers", map[string]any{"add": []string{"never-was-1"}})).Want(t, 422, "bad_reference")
}

// offline pushes mutations in the name of a phone and returns the statuses.
func offline(t *testing.T, w *world, who ident.RecordID, ms ...command.Mutation) []string {
	t.Helper()
	claims, err := w.Signer.Verify(w.DeviceToken(who, "phone"), ident.MillisOf(w.Clock()))
	if err != nil {
		t.Fatal(err)
	}
	now := ident.MillisOf(w.Clock())
	for i := range ms {
		ms[i].At, ms[i].Hash = now, []byte{byte(ms[i].N)}
	}
	res, err := w.World.Tenant.Submit(context.Background(), &command.Command{
		Actor: who, Session: claims.Session, Device: claims.Device, Push: &command.Push{Now: now, Mutations: ms},
	})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, r := range res.Push.Results {
		out = append(out, r.Status+r.Code)
	}
	return out
}

// TestAdministration: who holds a client's data, and what was refused of
// offline work.
func TestAdministration(t *testing.T) {
	w := newWorld(t)
	const holders = "/v1/admin/holders?client=client-acme"
	pull(testworld.Engineer, "field", "").take(t, w)
	pull(testworld.Colleague, "office", "").take(t, w)
	type item struct {
		Device, Employee   struct{ ID, Name string }
		Status             string
		Records, Unsure    int
		ToRemove, Removing int
		Mutation           struct{ ID, Op string }
		Code               string
		Author             struct{ ID, Name string }
	}
	read := func(path string) (items []item, next string) {
		t.Helper()
		var page struct {
			Items []item
			Next  string
		}
		if err := json.Unmarshal(w.HTTP(testworld.Admin, "GET", path, nil).Want(t, 200, "").Body, &page); err != nil {
			t.Fatal(err)
		}
		return page.Items, page.Next
	}
	items, next := read(holders + "&limit=1")
	if len(items) != 1 || next == "" {
		t.Fatalf("%+v %s", items, next)
	}
	more, end := read(holders + "&limit=1&cursor=" + next)
	if len(more) != 1 || end != "" || more[0].Device.ID == items[0].Device.ID {
		t.Fatalf("%+v %s", more, end)
	}
	for _, it := range append(items, more...) {
		// Nothing was acknowledged yet: what was sent may be there.
		if it.Records == 0 || it.Unsure != it.Records || it.ToRemove != 0 || it.Employee.Name == "" || it.Status != "Active" {
			t.Errorf("%+v", it)
		}
	}
	w.Hide(testworld.Engineer, testworld.Acme)
	items, _ = read(holders)
	for _, it := range items {
		if lost := it.Employee.ID == string(testworld.Engineer); (it.ToRemove == it.Records) != lost || (it.ToRemove == 0) == lost {
			t.Errorf("%+v", it)
		}
	}
	// The administrator from whom the client is hidden asks for nothing.
	w.Person("emp-second", "level.customer-administrator")
	w.Hide("emp-second", testworld.Acme)
	hidden := w.HTTP("emp-second", "GET", holders, nil).Want(t, 404, "not_found")
	never := w.HTTP("emp-second", "GET", "/v1/admin/holders?client=never-was-1", nil)
	if !bytes.Equal(hidden.Body, never.Body) {
		t.Errorf("%s / %s", hidden.Body, never.Body)
	}

	got := offline(t, w, testworld.Engineer,
		command.Mutation{N: 1, Op: "patch", Type: "jobActivity", ID: "act-acme-1", Fields: testworld.Object("note", "Typed offline"), Was: testworld.Object("note", nil)},
		command.Mutation{N: 2, Op: "patch", Type: "client", ID: "client-corp", Fields: testworld.Object("name", "x"), Was: testworld.Object("name", "corp ltd")})
	if !slices.Equal(got, []string{"refusednot_found", "refusednot_allowed"}) {
		t.Fatalf("%v", got)
	}
	items, next = read("/v1/admin/quarantine?limit=1")
	if len(items) != 1 || items[0].Mutation.ID != "act-acme-1" || items[0].Code != "not_found" || items[0].Author.Name != "engineer" || next == "" {
		t.Fatalf("%+v", items)
	}
	more, end = read("/v1/admin/quarantine?limit=1&cursor=" + next)
	if len(more) != 1 || more[0].Mutation.ID != "client-corp" || end != "" {
		t.Fatalf("%+v", more)
	}
	// What concerns a client hidden from the administrator is left out.
	if res := w.HTTP("emp-second", "GET", "/v1/admin/quarantine", nil).Want(t, 200, ""); bytes.Contains(res.Body, []byte("act-acme-1")) || !bytes.Contains(res.Body, []byte("client-corp")) {
		t.Errorf("%s", res.Body)
	}
	for _, p := range testworld.People() {
		if p != testworld.Admin {
			for _, path := range []string{holders, "/v1/admin/quarantine", "/v1/admin/explain?principal=" + string(p) + "&action=view&type=job&id=job-acme-1"} {
				w.HTTP(p, "GET", path, nil).Want(t, 403, "not_allowed")
			}
		}
	}
}

// TestExplain: why somebody may or may not, to oneself and to administrators.
func TestExplain(t *testing.T) {
	w := newWorld(t)
	denial := w.Permit(testworld.Manager, "denial", "verb", "edit", "entityType", "asset")
	w.Import(testworld.Row("jobActivity", "act-corp-1", "status", "Reviewed"))
	w.Do(&command.Command{Actor: testworld.SvcAdmin, Write: &command.Write{Op: "action", Type: "client", ID: testworld.Dune, Action: "archive"}})
	for _, c := range []struct {
		who                   ident.RecordID
		action, typ, id       string
		allowed               bool
		reason, clause, extra string
	}{
		{testworld.Engineer, "edit", "jobActivity", "act-acme-1", true, "granted", "SVC-ENG-6", ""},
		{testworld.Engineer, "edit", "jobActivity", "act-corp-1", false, "closed", "SVC-ENG-8", ""},
		{testworld.Engineer, "edit", "job", "job-acme-1", false, "refused", "SVC-ENG-11", ""},
		{testworld.Engineer, "arrive", "jobActivity", "act-acme-1", true, "granted", "SVC-ENG-6", ""},
		{testworld.Engineer, "resume", "jobActivity", "act-acme-1", true, "granted", "SVC-ENG-6", "wrong_status"},
		{testworld.Manager, "edit", "client", "client-dune", true, "granted", "SVC-MGR-1", "archived"},
		{testworld.Manager, "archive", "client", "client-acme", false, "refused", "SVC-MGR-2", ""},
		{testworld.Manager, "edit", "asset", "asset-acme", false, "denied", "", string(denial)},
		{testworld.Manager, "create", "job", "", true, "granted", "SVC-MGR-1", ""},
		{testworld.Basic, "create", "asset", "", false, "no_grant", "", ""},
		{testworld.GuestAgent, "view", "jobActivity", "act-blue-3", true, "context", "SVC-GAGENT-2", ""},
		{testworld.Rep, "view", "client", "client-acme", true, "granted", "SVC-REP-1", ""},
	} {
		path := fmt.Sprintf("action=%s&type=%s&id=%s", c.action, c.typ, c.id)
		own := w.HTTP(c.who, "GET", "/v1/explain?"+path, nil).Want(t, 200, "").Object(t)
		for _, o := range []map[string]any{own, w.HTTP(testworld.Admin, "GET", "/v1/admin/explain?principal="+string(c.who)+"&"+path, nil).Want(t, 200, "").Object(t)} {
			clause, _ := o["clause"].(string)
			extra := fmt.Sprint(o["status"], o["denial"])
			if o["allowed"] != c.allowed || o["reason"] != c.reason || clause != c.clause || (c.extra != "" && extra != c.extra+"<nil>" && extra != "<nil>"+c.extra) || o["text"] == "" {
				t.Errorf("%s: %s: %v", c.who, path, o)
			}
		}
	}
	// To an administrator, a right that does not reach so far is told, with how
	// far it reaches.
	for _, c := range []struct {
		who           ident.RecordID
		action, id    string
		clause, scope string
	}{
		{testworld.CRMManager, "view", "client-dune", "CRM-MGR-1", "own areas"},
		{testworld.CRMManager, "archive", "client-dune", "CRM-MGR-4", "own areas"},
	} {
		path := fmt.Sprintf("action=%s&type=client&id=%s", c.action, c.id)
		o := w.HTTP(testworld.Admin, "GET", "/v1/admin/explain?principal="+string(c.who)+"&"+path, nil).Want(t, 200, "").Object(t)
		near, _ := o["near"].([]any)
		if o["allowed"] != false || o["reason"] != "no_grant" || len(near) != 1 || near[0].(map[string]any)["clause"] != c.clause ||
			near[0].(map[string]any)["scope"] != c.scope || !strings.Contains(o["text"].(string), c.clause) || !strings.Contains(o["text"].(string), c.scope) {
			t.Errorf("%s: %s: %v", c.who, path, o)
		}
		w.HTTP(c.who, "GET", "/v1/explain?"+path, nil).Want(t, 404, "not_found")
	}
	// Hidden from the one who asks: not there. To an administrator: by what.
	for _, id := range []string{"job-blue-1", "never-was-1"} {
		w.HTTP(testworld.Blind, "GET", "/v1/explain?action=view&type=job&id="+id, nil).Want(t, 404, "not_found")
	}
	for who, words := range map[ident.RecordID]string{testworld.Blind: "rule-blind", testworld.Contractor: "visible-contractor", testworld.Staff: "client staff"} {
		o := w.HTTP(testworld.Admin, "GET", "/v1/admin/explain?principal="+string(who)+"&action=view&type=job&id=job-blue-1", nil).Want(t, 200, "").Object(t)
		if o["allowed"] != false || o["reason"] != "hidden" || !bytes.Contains([]byte(o["text"].(string)), []byte(words)) {
			t.Errorf("%s: %v", who, o)
		}
	}
	w.HTTP(testworld.Admin, "GET", "/v1/admin/explain?principal=never-was-1&action=view&type=job&id=job-blue-1", nil).Want(t, 404, "not_found")
	w.HTTP(testworld.Admin, "GET", "/v1/admin/explain?principal=job-acme-1&action=view&type=job&id=job-blue-1", nil).Want(t, 404, "not_found")
	w.HTTP(testworld.Admin, "GET", "/v1/admin/explain?action=view&type=job&id=job-blue-1", nil).Want(t, 400, "bad_parameter")
	// Other people's preferences are nobody's business.
	w.HTTP(testworld.Admin, "GET", "/v1/admin/explain?principal=emp-basic&action=view&type=preference&id=pref-basic", nil).Want(t, 404, "not_found")
}

// TestMenus: what stands in people's menus.
func TestMenus(t *testing.T) {
	w := newWorld(t)
	w.Person("emp-orgrole", "orgrole-1")
	w.Person("emp-granted")
	w.Permit("emp-granted", "grant", "verb", "view", "entityType", "asset")
	for who, want := range map[ident.RecordID]string{
		testworld.GuestAgent: `[{"app":"service","menu":["jobs"]}]`,
		testworld.MobileOnly: `[]`,
		testworld.Nobody:     `[]`,
		testworld.Basic:      `[{"app":"helpdesk","menu":["customers","contacts","sites","tickets","ticket-updates","documents"]}]`,
		"emp-granted":        `[{"app":"service","menu":["assets"]}]`,
	} {
		o := w.HTTP(who, "GET", "/v1/me", nil).Want(t, 200, "").Object(t)
		if got := show(o["apps"]); got != want {
			t.Errorf("%s: %s, want %s", who, got, want)
		}
	}
	org := w.HTTP("emp-orgrole", "GET", "/v1/me", nil).Object(t)
	guest := w.HTTP(testworld.Guest, "GET", "/v1/me", nil).Object(t)
	if show(org["apps"]) != show(guest["apps"]) || show(org["roles"]) != `["orgrole-1"]` {
		t.Errorf("%v", org)
	}
	staff := w.HTTP(testworld.Staff, "GET", "/v1/me", nil).Object(t)
	if got := show(staff["principal"]); got != `{"client":"client-acme","id":"emp-staff","kind":"client-staff","name":"staff"}` {
		t.Errorf("%s", got)
	}
	w.HTTP("", "GET", "/v1/me", nil).Want(t, 401, "invalid_token")
	w.Do(&command.Command{Actor: testworld.Basic, Logout: &command.Logout{Session: w.Session(testworld.Basic)}})
	w.HTTP(testworld.Basic, "GET", "/v1/me", nil).Want(t, 401, "session_revoked")
	w.HTTP(testworld.Basic, "POST", "/v1/helpdesk/tickets", testworld.Object("client", "client-acme", "subject", "x")).Want(t, 401, "session_revoked")
}
