package rest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"satchel/internal/command"
	"satchel/internal/ident"
	. "satchel/internal/testworld" //nolint:revive // its names are people
	"satchel/sync/wire"
)

// told is a page of the trail as its reader gets it.
type told struct {
	Items []struct {
		At, DoneAt, Op, Name, Values string
		Actor, For, Device, Client   *struct{ ID, Name string }
		Record                       struct{ Type, ID, Name string }
		Changes                      []struct {
			Field         string
			Before, After json.RawMessage
		}
	}
	Next string
}

// asked reads a page of the trail.
func asked(t *testing.T, w *world, who ident.RecordID, query string) (out told) {
	t.Helper()
	res := w.HTTP(who, "GET", "/v1/admin/audit"+query, nil).Want(t, 200, "")
	if err := json.Unmarshal(res.Body, &out); err != nil {
		t.Fatalf("%v: %s", err, res.Body)
	}
	return out
}

// changed finds the change of a field in the newest row.
func (p *told) changed(t *testing.T, field string) (before, after string) {
	t.Helper()
	if len(p.Items) == 0 {
		t.Fatal("no row")
	}
	for _, c := range p.Items[0].Changes {
		if c.Field == field {
			return string(c.Before), string(c.After)
		}
	}
	t.Fatalf("no change of %s in %+v", field, p.Items[0])
	return "", ""
}

func TestAuditTellsWhoAssigned(t *testing.T) {
	w := newWorld(t)
	w.HTTP(Ticketer, "POST", "/v1/helpdesk/tickets/ticket-acme-1/assign", Object("assignee", Engineer)).Want(t, 200, "")
	p := asked(t, w, Admin, "?record=ticket-acme-1")
	before, after := p.changed(t, "assignee")
	r := p.Items[0]
	if before != "null" || after != `"emp-engineer"` || r.Op != "action" || r.Name != "assign" || r.Actor == nil || r.Actor.ID != string(Ticketer) ||
		r.Actor.Name == "" || r.Client == nil || r.Client.Name != "acme ltd" || r.Record.Type != "ticket" || r.Record.ID != "ticket-acme-1" || r.Device != nil || r.DoneAt != "" {
		t.Errorf("%s -> %s %+v", before, after, r)
	}
	// Before that the record was imported, with many others: by the server.
	if first := p.Items[len(p.Items)-1]; first.Op != "import" || first.Values != "notKept" || first.Actor != nil || len(first.Changes) == 0 || first.Changes[0].After != nil {
		t.Errorf("%+v", first)
	}
	w.HTTP(Ticketer, "POST", "/v1/helpdesk/tickets/ticket-acme-1/assign", Object("assignee", Colleague)).Want(t, 200, "")
	p = asked(t, w, Admin, "?record=ticket-acme-1&op=assign&limit=1")
	if before, after = p.changed(t, "assignee"); before != `"emp-engineer"` || after != `"emp-colleague"` {
		t.Errorf("%s -> %s", before, after)
	}
}

func TestAuditIsForAdministrators(t *testing.T) {
	w := newWorld(t)
	for _, who := range People() {
		if who == Admin {
			continue
		}
		for _, path := range []string{"/v1/admin/audit", "/v1/admin/audit?record=job-acme-1", "/v1/admin/audit?limit=x", "/v1/admin/audit/head"} {
			w.HTTP(who, "GET", path, nil).Want(t, 403, "not_allowed")
		}
	}
	w.HTTP("", "GET", "/v1/admin/audit", nil).Want(t, 401, "invalid_token")
	w.HTTP(Admin, "POST", "/v1/admin/audit", "{}").Want(t, 405, "method_not_allowed")
}

// TestAuditOfPhones: what was done offline bears the phone and the time there.
func TestAuditOfPhones(t *testing.T) {
	w := newWorld(t)
	device := w.Device(Engineer, "phone")
	claims, err := w.Signer.Verify(w.DeviceToken(Engineer, "phone"), ident.MillisOf(w.Clock()))
	if err != nil {
		t.Fatal(err)
	}
	now := ident.MillisOf(w.Clock())
	w.Do(&command.Command{Actor: Engineer, Session: claims.Session, Device: device, Push: &command.Push{
		Now: now, Mutations: []command.Mutation{{
			N: 1, Op: wire.OpAction, Type: "jobActivity", ID: "act-acme-1", Action: "travel", At: now - ident.Millis((2 * time.Hour).Milliseconds()), Hash: []byte("h"),
		}},
	}})
	p := asked(t, w, Admin, "?record=act-acme-1")
	r := p.Items[0]
	if r.Name != "travel" || r.Device == nil || r.Device.ID != string(device) || r.Device.Name != "phone" ||
		r.At != Start.Format("2006-01-02T15:04:05.000Z") || r.DoneAt != Start.Add(-2*time.Hour).Format("2006-01-02T15:04:05.000Z") {
		t.Errorf("%+v", r)
	}
	// The sign-in that made the phone known.
	p = asked(t, w, Admin, "?op=signIn&actor="+string(Engineer))
	if len(p.Items) != 1 || p.Items[0].Name != "device" || p.Items[0].Device.ID != string(device) {
		t.Errorf("%+v", p.Items)
	}
}

// TestAuditOfDelegates: who acts with the right of another is told with whose.
func TestAuditOfDelegates(t *testing.T) {
	w := newWorld(t)
	lends(t, w, Manager, Nobody)
	w.HTTP(Nobody, "PATCH", "/v1/service/jobs/job-acme-1", Object("title", "By the deputy")).Want(t, 200, "")
	p := asked(t, w, Admin, "?record=job-acme-1")
	if r := p.Items[0]; r.Actor.ID != string(Nobody) || r.For == nil || r.For.ID != string(Manager) {
		t.Errorf("%+v", r)
	}
	w.HTTP(Manager, "PATCH", "/v1/service/jobs/job-acme-1", Object("title", "By the manager")).Want(t, 200, "")
	p = asked(t, w, Admin, "?record=job-acme-1")
	if r := p.Items[0]; r.Actor.ID != string(Manager) || r.For != nil {
		t.Errorf("%+v", r)
	}
}

// TestAuditHidesClients: an administrator from whom a client is hidden gets the
// same bytes whether or not anything was done there.
func TestAuditHidesClients(t *testing.T) {
	const half ident.RecordID = "emp-half-admin"
	var bodies [2]map[string][]byte
	for i := range bodies {
		w := newWorld(t)
		w.Person(half, "level.customer-administrator")
		w.Hide(half, Blue)
		w.Token(half)
		w.Token(Manager)
		w.HTTP(Manager, "PATCH", "/v1/service/jobs/job-acme-1", Object("title", "One")).Want(t, 200, "")
		if i == 1 { // what the administrator must not notice
			w.HTTP(Manager, "PATCH", "/v1/service/jobs/job-blue-1", Object("title", "Secret")).Want(t, 200, "")
			w.HTTP(Manager, "POST", "/v1/service/job-activities/act-blue-1/cancel", nil).Want(t, 200, "")
			w.Import(Row("site", "site-blue-9", "client", Blue, "name", "Lair"))
		}
		w.HTTP(Manager, "PATCH", "/v1/service/jobs/job-acme-1", Object("title", "Two")).Want(t, 200, "")
		if i == 1 {
			w.HTTP(Manager, "PATCH", "/v1/service/jobs/job-blue-1", Object("title", "Later")).Want(t, 200, "")
		}
		bodies[i] = map[string][]byte{}
		since := "from=" + Start.Format(time.RFC3339)
		for _, q := range []string{
			since + "&limit=200", since + "&limit=200&type=job", since + "&actor=" + string(Manager), since + "&op=patch", since + "&client=" + string(Blue),
			"client=" + string(Blue), "record=job-blue-1", "record=job-acme-1", "record=site-blue-9", "record=" + string(Blue), "record=never-was-1",
			since + "&actor=" + string(Blind), "op=system",
		} {
			res := w.HTTP(half, "GET", "/v1/admin/audit?"+q, nil)
			bodies[i][q] = fmt.Appendf(nil, "%d %s", res.Status, res.Body)
		}
		if i == 1 {
			if p := asked(t, w, Admin, "?"+since+"&client="+string(Blue)); len(p.Items) < 4 {
				t.Errorf("the other administrator sees %d rows", len(p.Items))
			}
		}
		w.HTTP(half, "GET", "/v1/admin/audit/head", nil).Want(t, 403, "not_allowed")
	}
	for q, a := range bodies[0] {
		if b := bodies[1][q]; !bytes.Equal(a, b) {
			t.Errorf("%s:\n%s\n%s", q, a, b)
		}
	}
	for _, q := range []string{"record=job-blue-1", "record=site-blue-9", "record=" + string(Blue)} {
		if !bytes.Equal(bodies[1][q], bodies[1]["record=never-was-1"]) {
			t.Errorf("%s differs from what never was: %s", q, bodies[1][q])
		}
	}
	if !bytes.Contains(bodies[1]["record=job-acme-1"], []byte("Two")) {
		t.Errorf("%s", bodies[1]["record=job-acme-1"])
	}
}

// TestAuditHidesFields: a field taken from an administrator shows in no row,
// and a row of nothing else is not there.
func TestAuditHidesFields(t *testing.T) {
	const half ident.RecordID = "emp-half-admin"
	w := newWorld(t)
	w.Person(half, "level.customer-administrator")
	w.Permit(half, "denial", "entityType", "job", "verb", "view", "field", "title")
	w.HTTP(Manager, "PATCH", "/v1/service/jobs/job-acme-1", Object("title", "Quiet", "priority", "high")).Want(t, 200, "")
	w.HTTP(Manager, "PATCH", "/v1/service/jobs/job-acme-1", Object("title", "Hush")).Want(t, 200, "")
	if p := asked(t, w, Admin, "?record=job-acme-1&op=patch"); len(p.Items) != 2 {
		t.Fatalf("%+v", p)
	}
	p := asked(t, w, half, "?record=job-acme-1&op=patch")
	if len(p.Items) != 1 || len(p.Items[0].Changes) != 1 || p.Items[0].Changes[0].Field != "priority" {
		t.Errorf("%+v", p)
	}
	res := w.HTTP(half, "GET", "/v1/admin/audit?limit=200", nil).Want(t, 200, "")
	if bytes.Contains(res.Body, []byte("Quiet")) || bytes.Contains(res.Body, []byte("Hush")) {
		t.Error("a denied field shows")
	}
}

// TestAuditOfWhatIsGone: the changes of a removed record stay, for whoever would
// see it if it stood.
func TestAuditOfWhatIsGone(t *testing.T) {
	const half ident.RecordID = "emp-half-admin"
	w := newWorld(t)
	w.Person(half, "level.customer-administrator")
	w.Hide(half, Acme)
	id := w.HTTP(Manager, "POST", "/v1/service/jobs", Object("client", Acme, "title", "Short-lived")).Want(t, 201, "").Object(t)["id"].(string)
	w.HTTP(Manager, "PATCH", "/v1/service/jobs/"+id, Object("title", "Still there")).Want(t, 200, "")
	w.HTTP(SvcAdmin, "DELETE", "/v1/service/jobs/"+id, nil).Want(t, 204, "")
	p := asked(t, w, Admin, "?record="+id)
	var ops []string
	for _, r := range p.Items {
		ops = append(ops, r.Op)
	}
	if strings.Join(ops, " ") != "delete patch create" {
		t.Fatalf("%v", ops)
	}
	if before, after := p.changed(t, "title"); before != `"Still there"` || after != "null" || p.Items[0].Actor.ID != string(SvcAdmin) {
		t.Errorf("%s -> %s by %v", before, after, p.Items[0].Actor)
	}
	w.HTTP(half, "GET", "/v1/admin/audit?record="+id, nil).Want(t, 404, "not_found")
	res := w.HTTP(half, "GET", "/v1/admin/audit?limit=200", nil).Want(t, 200, "")
	if bytes.Contains(res.Body, []byte(id)) {
		t.Error("a removed record of a hidden client shows")
	}
}

// TestAuditPages leafs through the trail: the pages together are the whole,
// each row once, whatever is filtered.
func TestAuditPages(t *testing.T) {
	w := newWorld(t)
	for i := range 7 {
		w.HTTP(Manager, "PATCH", "/v1/service/jobs/job-acme-1", Object("title", fmt.Sprint(i))).Want(t, 200, "")
		w.HTTP(Manager, "PATCH", "/v1/service/jobs/job-corp-1", Object("title", fmt.Sprint(i))).Want(t, 200, "")
		w.Advance(time.Minute)
	}
	for q, n := range map[string]int{
		"": 0, "record=job-acme-1": 9, "type=job&op=patch": 14, "client=" + string(Corp) + "&op=patch": 7, "actor=" + string(Manager) + "&op=patch": 14,
		"actor=system&op=patch": 0, "op=assign": 0, "op=passwordSet&actor=system": len(People()) - 1,
		"op=patch&from=" + Start.Add(2*time.Minute).Format(time.RFC3339) + "&to=" + Start.Add(5*time.Minute).Format(time.RFC3339): 6,
		"record=job-acme-1&to=" + Start.Add(time.Minute).Format(time.RFC3339):                                                     3,
		"record=job-acme-1&from=" + Start.Add(6*time.Minute).Format(time.RFC3339):                                                 1,
		"to=2020-01-01T00:00:00Z": 0, "from=2030-01-01T00:00:00Z": 0,
	} {
		var rows []string
		cursor := ""
		for pages := 0; ; pages++ {
			if pages > 1000 {
				t.Fatalf("%s: no end", q)
			}
			res := w.HTTP(Admin, "GET", "/v1/admin/audit?limit=3&"+q+cursor, nil).Want(t, 200, "")
			var p struct {
				Items []json.RawMessage
				Next  string
			}
			if err := json.Unmarshal(res.Body, &p); err != nil {
				t.Fatal(err)
			}
			for _, it := range p.Items {
				rows = append(rows, string(it))
			}
			if p.Next == "" {
				break
			}
			cursor = "&cursor=" + p.Next
		}
		if (q != "" && len(rows) != n) || (q == "" && len(rows) < 200) {
			t.Errorf("%s: %d rows, want %d", q, len(rows), n)
		}
		var whole struct{ Items []json.RawMessage }
		if err := json.Unmarshal(w.HTTP(Admin, "GET", "/v1/admin/audit?limit=200&"+q, nil).Want(t, 200, "").Body, &whole); err != nil {
			t.Fatal(err)
		}
		for i, it := range whole.Items {
			if i >= len(rows) || string(it) != rows[i] {
				t.Errorf("%s: row %d differs between pages", q, i)
				break
			}
		}
	}
}

func TestAuditRefusesBadQuestions(t *testing.T) {
	w := newWorld(t)
	next := asked(t, w, Admin, "?limit=1").Next
	for _, q := range []string{
		"type=nothing", "op=nothing", "op=" + strings.Repeat("x", 500), "from=yesterday", "to=1", "limit=0", "limit=201", "Limit=1", "record=a&record=b",
		"cursor=x", "limit=1&op=patch&cursor=" + next, "actor=%00",
	} {
		w.HTTP(Admin, "GET", "/v1/admin/audit?"+q, nil).Want(t, 400, "bad_parameter")
	}
	w.HTTP(Admin, "GET", "/v1/admin/audit/head?x=1", nil).Want(t, 400, "bad_parameter")
	w.HTTP(Admin, "GET", "/v1/admin/audit?limit=1&cursor="+next, nil).Want(t, 200, "")
}

// TestAuditTellsOfRefusedAttempts: an attempt to leave the tenant without an
// administrator leaves a row though it changed nothing.
func TestAuditTellsOfRefusedAttempts(t *testing.T) {
	w := newWorld(t)
	w.HTTP(Admin, "POST", "/v1/admin/employees/emp-admin/disable", nil).Want(t, 409, "last_administrator")
	p := asked(t, w, Admin, "?op=refused")
	if len(p.Items) != 1 || p.Items[0].Name != "last_administrator" || p.Items[0].Record.ID != string(Admin) || p.Items[0].Actor.ID != string(Admin) {
		t.Errorf("%+v", p.Items)
	}
}

func TestAuditHead(t *testing.T) {
	w := newWorld(t)
	w.Token(Admin)
	head := func() string {
		return w.HTTP(Admin, "GET", "/v1/admin/audit/head", nil).Want(t, 200, "").Object(t)["head"].(string)
	}
	a := head()
	if !regexp.MustCompile(`^[0-9a-f]{64}@[0-9]+$`).MatchString(a) || head() != a {
		t.Errorf("%s", a)
	}
	w.HTTP(Manager, "PATCH", "/v1/service/jobs/job-acme-1", Object("title", "x")).Want(t, 200, "")
	if head() == a {
		t.Error("the head stands although something was done")
	}
}

// TestAuditNames: the operations don't share their names with actions, so that
// op means one of them.
func TestAuditNames(t *testing.T) {
	w := newWorld(t)
	doc := w.HTTP("", "GET", "/openapi.json", nil).Want(t, 200, "").Object(t)
	row := doc["components"].(map[string]any)["schemas"].(map[string]any)["AuditRow"].(map[string]any)
	ops := row["properties"].(map[string]any)["op"].(map[string]any)["enum"].([]any)
	for _, typ := range w.Cat.Types {
		for _, a := range typ.Actions {
			if slices.Contains(ops, any(a.Name)) {
				t.Errorf("%s of %s is an operation too", a.Name, typ.Name)
			}
		}
	}
}
