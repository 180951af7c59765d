package rest_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"satchel/internal/command"
	"satchel/internal/ident"
	"satchel/internal/testworld"
	"satchel/sync/wire"
)

// pushed sends a person's offline work from the installation "phone" and returns
// the results.
func pushed(t *testing.T, w *world, who ident.RecordID, ms ...command.Mutation) []wire.Result {
	t.Helper()
	claims, err := w.Signer.Verify(w.DeviceToken(who, "phone"), ident.MillisOf(w.Clock()))
	if err != nil {
		t.Fatal(err)
	}
	now := ident.MillisOf(w.Clock())
	for i := range ms {
		ms[i].At, ms[i].Hash = now-60_000, []byte{byte(ms[i].N)}
	}
	res := w.Do(&command.Command{Actor: who, Session: claims.Session, Device: claims.Device, Push: &command.Push{Now: now, Mutations: ms}})
	return res.Push.Results
}

// bundle is how the quarantine shows work.
type bundle struct {
	ID, State string
	Items     []kept
}

type kept struct {
	Bundle   string
	Author   struct{ ID, Name string }
	Status   string
	Code     string
	Root     uint64
	Mutation struct {
		N           uint64
		ID          string
		Fields, Was map[string]json.RawMessage
	}
	Conflicts []struct {
		ID, Field, How string
		Mine           json.RawMessage
	}
	Present map[string]json.RawMessage
	Closed  *struct {
		How, Reason string
		By          struct{ Name string }
	}
}

func decoded[T any](t *testing.T, res *testworld.Response) (v T) {
	t.Helper()
	if err := json.Unmarshal(res.Body, &v); err != nil {
		t.Fatalf("%v: %s", err, res.Body)
	}
	return v
}

// replayed is what a replay answers.
type replayed struct {
	Done    bool
	Results []struct {
		N                   uint64
		Status, Code, Field string
		ID                  string
		Conflicts           []wire.FieldConflict
	}
}

const quarantined = "/v1/admin/quarantine"

// engineerWork is a bundle of two: a time entry without a start, and an edit of
// it; beside it an edit of a client, which engineers may not make.
func engineerWork(t *testing.T, w *world) (entry string) {
	t.Helper()
	entry = w.Prefix(testworld.Engineer, "phone") + "entry"
	id := ident.RecordID(entry)
	res := pushed(t, w, testworld.Engineer,
		command.Mutation{N: 1, Op: "create", Type: "timeEntry", ID: id, Fields: testworld.Object("activity", "act-acme-1", "note", "=SUM(A1)")},
		command.Mutation{N: 2, Op: "patch", Type: "timeEntry", ID: id, Fields: testworld.Object("note", "two hours"), Was: testworld.Object("note", "=SUM(A1)")},
		command.Mutation{N: 3, Op: "patch", Type: "client", ID: testworld.Acme, Fields: testworld.Object("city", "Elsewhere"), Was: testworld.Object("city", "Town of acme")})
	for i, code := range []string{"missing_field", "depends_on", "not_allowed"} {
		if res[i].Status != wire.Refused || res[i].Code != code {
			t.Fatalf("%+v", res[i])
		}
	}
	return entry
}

func TestQuarantine(t *testing.T) {
	w := newWorld(t)
	w.Give(testworld.Admin, "service.administrator")
	entry := engineerWork(t, w)
	list := decoded[bundle](t, w.HTTP(testworld.Admin, "GET", quarantined, nil).Want(t, 200, ""))
	if len(list.Items) != 3 || list.Items[0].Bundle != list.Items[1].Bundle || list.Items[2].Bundle == list.Items[1].Bundle || list.Items[0].Author.Name != "engineer" {
		t.Fatalf("%+v", list)
	}
	one := quarantined + "/" + list.Items[0].Bundle
	other := quarantined + "/" + list.Items[2].Bundle
	b := decoded[bundle](t, w.HTTP(testworld.Admin, "GET", one, nil).Want(t, 200, ""))
	if b.ID != list.Items[0].Bundle || b.State != "open" || len(b.Items) != 2 || b.Items[1].Mutation.N != 2 {
		t.Fatalf("%+v", b)
	}
	if x := decoded[bundle](t, w.HTTP(testworld.Admin, "GET", other, nil).Want(t, 200, "")); string(x.Items[0].Present["city"]) != `"Town of acme"` {
		t.Fatalf("%+v", x)
	}
	for _, id := range []string{"nothing", "never-was-1.1", strings.TrimSuffix(list.Items[0].Bundle, ".1") + ".9", list.Items[0].Bundle + "0", "act-acme-1.1"} {
		w.HTTP(testworld.Admin, "GET", quarantined+"/"+id, nil).Want(t, 404, "not_found")
		w.HTTP(testworld.Admin, "POST", quarantined+"/"+id+":replay", nil).Want(t, 404, "not_found")
		w.HTTP(testworld.Admin, "POST", quarantined+"/"+id+":discard", testworld.Object("reason", "x")).Want(t, 404, "not_found")
	}
	// It is for administrators alone, and for those who may know of the client.
	w.Person("emp-second", "level.customer-administrator", "service.administrator")
	w.Hide("emp-second", testworld.Acme)
	for _, p := range append(testworld.People(), "emp-second") {
		if p == testworld.Admin {
			continue
		}
		status, code := 403, "not_allowed"
		if p == "emp-second" {
			status, code = 404, "not_found"
			if l := decoded[bundle](t, w.HTTP(p, "GET", quarantined+"?state=all", nil).Want(t, 200, "")); len(l.Items) != 0 {
				t.Errorf("%+v", l)
			}
			if res := w.HTTP(p, "GET", quarantined+":export?format=csv&state=all", nil).Want(t, 200, ""); bytes.Count(res.Body, []byte("\n")) != 1 {
				t.Errorf("%s", res.Body)
			}
		} else {
			w.HTTP(p, "GET", quarantined+":export", nil).Want(t, 403, "not_allowed")
		}
		w.HTTP(p, "GET", one, nil).Want(t, status, code)
		w.HTTP(p, "POST", one+":replay", nil).Want(t, status, code)
		w.HTTP(p, "POST", one+":discard", testworld.Object("reason", "x")).Want(t, status, code)
	}
	w.HTTP("", "GET", one, nil).Want(t, 401, "invalid_token")
	// As it is it can't be done.
	r := decoded[replayed](t, w.HTTP(testworld.Admin, "POST", one+":replay", nil).Want(t, 200, ""))
	if r.Done || len(r.Results) != 1 || r.Results[0].Code != "missing_field" || r.Results[0].Field != "start" {
		t.Fatalf("%+v", r)
	}
	for _, body := range []string{
		`{"mutations":[{"n":9,"fields":{}}]}`, `{"mutations":[{"n":1,"fields":{}},{"n":1,"fields":{}}]}`, `{"Mutations":[]}`, `[]`, `{"mutations":[{"n":1,"fields":{"start":"x","start":"y"}}]}`,
	} {
		if res := w.HTTP(testworld.Admin, "POST", one+":replay", body); res.Status < 400 || res.Status >= 500 {
			t.Errorf("%s: %d %s", body, res.Status, res.Body)
		}
	}
	fixed := `{"mutations":[{"n":1,"fields":{"start":"2026-03-02T08:00:00Z"}}]}`
	for range 2 { // the second is the first, repeated
		r = decoded[replayed](t, w.HTTP(testworld.Admin, "POST", one+":replay", fixed, "Idempotency-Key", "k").Want(t, 200, ""))
		if !r.Done || len(r.Results) != 2 || r.Results[0].ID != entry {
			t.Fatalf("%+v", r)
		}
	}
	w.HTTP(testworld.Admin, "POST", one+":replay", `{}`, "Idempotency-Key", "k").Want(t, 422, "idempotency_key_reused")
	w.HTTP(testworld.Admin, "POST", one+":replay", fixed).Want(t, 409, "wrong_status")
	got := w.HTTP(testworld.Engineer, "GET", "/v1/service/time-entries/"+entry, nil).Want(t, 200, "").Object(t)
	if got["note"] != "two hours" || got["employee"] != string(testworld.Engineer) || got["createdBy"] != string(testworld.Admin) {
		t.Errorf("%v", got)
	}
	// The trail names both.
	var trail struct {
		Items []struct {
			Op, Name   string
			Actor, For struct{ ID string }
			Record     struct{ ID string }
		}
	}
	if err := json.Unmarshal(w.HTTP(testworld.Admin, "GET", "/v1/admin/audit?record="+entry, nil).Want(t, 200, "").Body, &trail); err != nil {
		t.Fatal(err)
	}
	if len(trail.Items) != 2 || trail.Items[1].Op != "create" || trail.Items[1].Actor.ID != string(testworld.Admin) || trail.Items[1].For.ID != string(testworld.Engineer) {
		t.Errorf("%+v", trail)
	}
	// The other is given up, with a reason.
	w.HTTP(testworld.Admin, "POST", other+":discard", `{}`).Want(t, 422, "missing_field")
	w.HTTP(testworld.Admin, "POST", other+":discard", testworld.Object("reason", strings.Repeat("x", 501))).Want(t, 422, "bad_value")
	w.HTTP(testworld.Admin, "POST", other+":discard", testworld.Object("reason", "Not\nhere")).Want(t, 422, "bad_value")
	w.HTTP(testworld.Admin, "POST", other+":discard", testworld.Object("reason", "They did not move")).Want(t, 204, "")
	w.HTTP(testworld.Admin, "POST", other+":discard", testworld.Object("reason", "They did not move")).Want(t, 409, "wrong_status")
	if err := json.Unmarshal(w.HTTP(testworld.Admin, "GET", "/v1/admin/audit?op=discarded", nil).Want(t, 200, "").Body, &trail); err != nil {
		t.Fatal(err)
	}
	if len(trail.Items) != 1 || trail.Items[0].Name != list.Items[2].Bundle+": They did not move" || trail.Items[0].For.ID != string(testworld.Engineer) {
		t.Errorf("%+v", trail)
	}
	for state, n := range map[string]int{"open": 0, "closed": 3, "all": 3} {
		l := decoded[bundle](t, w.HTTP(testworld.Admin, "GET", quarantined+"?state="+state, nil).Want(t, 200, ""))
		if len(l.Items) != n {
			t.Errorf("%s: %+v", state, l.Items)
		}
		if n > 0 && (l.Items[0].Closed.How != "replayed" || l.Items[2].Closed.Reason != "They did not move" || l.Items[2].Closed.By.Name != "admin") {
			t.Errorf("%+v", l.Items)
		}
	}
	w.HTTP(testworld.Admin, "GET", quarantined+"?state=ajar", nil).Want(t, 400, "bad_parameter")
	w.HTTP(testworld.Admin, "GET", quarantined+":export?state=ajar", nil).Want(t, 400, "bad_parameter")
	w.HTTP(testworld.Admin, "GET", quarantined+":export?format=pdf", nil).Want(t, 400, "bad_parameter")
}

func TestExportQuarantine(t *testing.T) {
	w := newWorld(t)
	engineerWork(t, w)
	res := w.HTTP(testworld.Admin, "GET", quarantined+":export?format=csv", nil).Want(t, 200, "")
	rows, err := csv.NewReader(bytes.NewReader(unmarked(t, res.Body))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 5 || !strings.HasPrefix(res.Header.Get("Content-Disposition"), "attachment") {
		t.Fatalf("%q", rows)
	}
	at := func(row int, col string) string { return rows[row][slices.Index(rows[0], col)] }
	if at(2, "field") != "note" || at(2, "value") != "'=SUM(A1)" || at(3, "was") != "'=SUM(A1)" || at(1, "author.name") != "engineer" || at(4, "value") != "Elsewhere" || at(4, "was") != "Town of acme" {
		t.Errorf("%q", rows)
	}
	if l := decoded[bundle](t, w.HTTP(testworld.Admin, "GET", quarantined+":export", nil).Want(t, 200, "")); len(l.Items) != 3 {
		t.Errorf("%+v", l)
	}
	if res := w.HTTP(testworld.Admin, "GET", quarantined+":export?format=xlsx", nil).Want(t, 200, ""); !bytes.HasPrefix(res.Body, []byte("PK")) {
		t.Error("no workbook")
	}
}

// A field that an administrator is denied is not shown to them here either.
func TestQuarantineWithholdsFields(t *testing.T) {
	w := newWorld(t)
	engineerWork(t, w)
	w.Person("emp-second", "level.customer-administrator")
	w.Permit("emp-second", "denial", "verb", "view", "entityType", "client", "field", "city")
	w.Permit("emp-second", "denial", "verb", "view", "entityType", "timeEntry")
	for _, path := range []string{quarantined, quarantined + ":export", quarantined + ":export?format=csv"} {
		res := w.HTTP("emp-second", "GET", path, nil).Want(t, 200, "")
		for _, s := range []string{"Elsewhere", "Town of acme", "SUM", "two hours"} {
			if bytes.Contains(res.Body, []byte(s)) {
				t.Errorf("%s shows %s: %s", path, s, res.Body)
			}
		}
	}
	for _, it := range decoded[bundle](t, w.HTTP("emp-second", "GET", quarantined, nil)).Items {
		if res := w.HTTP("emp-second", "GET", quarantined+"/"+it.Bundle, nil).Want(t, 200, ""); bytes.Contains(res.Body, []byte("Town of")) {
			t.Errorf("%s", res.Body)
		}
	}
}

// TestRefusedTellsNothing: what was refused of their own work tells people only
// what they typed and were told. Two worlds that differ in what has happened to
// a hidden client since, and in what an administrator made of the work, are the
// same to them.
func TestRefusedTellsNothing(t *testing.T) {
	var bodies [2][]byte
	for i := range bodies {
		w := newWorld(t)
		w.Give(testworld.Admin, "service.administrator")
		w.Hide(testworld.Engineer, testworld.Acme)
		res := pushed(t, w, testworld.Engineer,
			command.Mutation{N: 1, Op: "patch", Type: "jobActivity", ID: "act-acme-1", Fields: testworld.Object("note", "typed"), Was: testworld.Object("note", nil)},
			command.Mutation{N: 2, Op: "patch", Type: "client", ID: testworld.Corp, Fields: testworld.Object("city", "x"), Was: testworld.Object("city", "Town of corp")},
			command.Mutation{N: 3, Op: "create", Type: "comment", ID: ident.RecordID(w.Prefix(testworld.Engineer, "phone") + "aaaa"), Fields: testworld.Object("parent", "act-acme-1", "text", "on it")})
		if res[0].Code != "not_found" || res[2].Code != "bad_reference" {
			t.Fatalf("%+v", res)
		}
		list := decoded[bundle](t, w.HTTP(testworld.Admin, "GET", quarantined, nil).Want(t, 200, ""))
		if len(list.Items) != 3 {
			t.Fatalf("%+v", list)
		}
		for _, k := range []int{0, 2} {
			address := quarantined + "/" + list.Items[k].Bundle
			if i == 0 {
				w.HTTP(testworld.Admin, "POST", address+":discard", testworld.Object("reason", "No")).Want(t, 204, "")
			} else if r := decoded[replayed](t, w.HTTP(testworld.Admin, "POST", address+":replay", nil).Want(t, 200, "")); !r.Done {
				t.Fatalf("%+v", r)
			}
		}
		if i == 1 {
			w.Import(testworld.Row("client", testworld.Acme, "name", "renamed"), testworld.Row("jobActivity", "act-acme-1", "title", "other"))
		}
		// What they do next to it is answered the same, too.
		next := pushed(t, w, testworld.Engineer, command.Mutation{
			N: 4, Op: "patch", Type: "comment", ID: ident.RecordID(w.Prefix(testworld.Engineer, "phone") + "aaaa"), Fields: testworld.Object("text", "more"), Was: testworld.Object("text", "on it"),
		})
		raw, err := json.Marshal(next)
		if err != nil {
			t.Fatal(err)
		}
		mine := w.HTTP(testworld.Engineer, "GET", "/v1/me/refused", nil).Want(t, 200, "")
		for _, s := range []string{"acme ltd", "renamed", "replayed", "discarded", "emp-admin", `"name"`} {
			if bytes.Contains(mine.Body, []byte(s)) {
				t.Errorf("tells of %s: %s", s, mine.Body)
			}
		}
		if !bytes.Contains(mine.Body, []byte(`"typed"`)) || !bytes.Contains(mine.Body, []byte(`"on it"`)) {
			t.Errorf("%s", mine.Body)
		}
		bodies[i] = append(mine.Body, raw...)
		// Nobody else's work is among it.
		if l := decoded[bundle](t, w.HTTP(testworld.Colleague, "GET", "/v1/me/refused", nil).Want(t, 200, "")); len(l.Items) != 0 {
			t.Errorf("%+v", l)
		}
		// It comes in pages.
		var seen []uint64
		for path := "/v1/me/refused?limit=2"; path != ""; {
			var page struct {
				Items []struct{ Mutation struct{ N uint64 } }
				Next  string
			}
			if err := json.Unmarshal(w.HTTP(testworld.Engineer, "GET", path, nil).Want(t, 200, "").Body, &page); err != nil {
				t.Fatal(err)
			}
			for _, it := range page.Items {
				seen = append(seen, it.Mutation.N)
			}
			if path = ""; page.Next != "" {
				path = "/v1/me/refused?limit=2&cursor=" + page.Next
			}
		}
		if !slices.Equal(seen, []uint64{1, 2, 3, 4}) {
			t.Errorf("pages of %v", seen)
		}
	}
	if !bytes.Equal(bodies[0], bodies[1]) {
		t.Errorf("the worlds can be told apart:\n%s\n%s", bodies[0], bodies[1])
	}
}

// TestRecordConflicts: a conflict is shown with its record to whoever typed it
// and to whoever may see and edit the field.
func TestRecordConflicts(t *testing.T) {
	w := newWorld(t)
	w.Import(testworld.Row("jobActivity", "act-acme-1", "note", "office", "workDone", "their work"))
	res := pushed(t, w, testworld.Engineer, command.Mutation{
		N: 1, Op: "patch", Type: "jobActivity", ID: "act-acme-1", Fields: testworld.Object("note", "typed", "workDone", "my work"),
		Was: testworld.Object("note", nil, "workDone", "old work"),
	})
	if res[0].Status != wire.Conflict || len(res[0].Conflicts) != 2 {
		t.Fatalf("%+v", res)
	}
	note := res[0].Conflicts[0].Conflict
	type item struct {
		ID, Rev, Field, Status, How string
		Mine, Was, Theirs           json.RawMessage
		Author                      struct{ Name string }
	}
	type page struct {
		Items []item
		Next  string
	}
	const beneath = "/v1/service/job-activities/act-acme-1/conflicts"
	fields := func(p page) (out []string) {
		for _, it := range p.Items {
			out = append(out, it.Field)
		}
		return out
	}
	for who, want := range map[ident.RecordID][]string{
		testworld.Engineer: {"note", "workDone"}, testworld.Manager: {"note", "workDone"}, testworld.SvcAdmin: {"note", "workDone"},
		testworld.Guest: nil, testworld.Admin: nil, testworld.Colleague: nil,
	} {
		if who == testworld.Colleague {
			continue // sees the activity, edits only what is theirs: below
		}
		p := decoded[page](t, w.HTTP(who, "GET", beneath, nil).Want(t, 200, ""))
		if !slices.Equal(fields(p), want) {
			t.Errorf("%s is shown %v", who, fields(p))
		}
	}
	// A field that is not theirs to see, or to edit, has no conflicts.
	w.Person("emp-masked", "service.manager")
	w.Permit("emp-masked", "denial", "verb", "view", "entityType", "jobActivity", "field", "note")
	w.Person("emp-tied", "service.manager")
	w.Permit("emp-tied", "denial", "verb", "edit", "entityType", "jobActivity", "field", "workDone")
	for who, want := range map[ident.RecordID]string{"emp-masked": "workDone", "emp-tied": "note"} {
		if p := decoded[page](t, w.HTTP(who, "GET", beneath, nil).Want(t, 200, "")); !slices.Equal(fields(p), []string{want}) {
			t.Errorf("%s is shown %v", who, fields(p))
		}
	}
	w.Person("emp-unaware", "service.manager")
	w.Hide("emp-unaware", testworld.Acme)
	hidden := w.HTTP("emp-unaware", "GET", beneath, nil).Want(t, 404, "not_found")
	never := w.HTTP("emp-unaware", "GET", "/v1/service/job-activities/never-was-1/conflicts", nil).Want(t, 404, "not_found")
	if !bytes.Equal(hidden.Body, never.Body) {
		t.Errorf("%s / %s", hidden.Body, never.Body)
	}
	// In pages.
	p := decoded[page](t, w.HTTP(testworld.Manager, "GET", beneath+"?limit=1", nil).Want(t, 200, ""))
	q := decoded[page](t, w.HTTP(testworld.Manager, "GET", beneath+"?limit=1&cursor="+p.Next, nil).Want(t, 200, ""))
	if len(p.Items) != 1 || len(q.Items) != 1 || p.Items[0].ID == q.Items[0].ID || q.Next != "" {
		t.Errorf("%+v %+v", p, q)
	}
	it := p.Items[0]
	if it.ID != note || string(it.Mine) != `"typed"` || string(it.Was) != "null" || string(it.Theirs) != `"office"` || it.Author.Name != "engineer" || it.Status != "Open" {
		t.Errorf("%+v", it)
	}
	// It is settled under its own address, by whoever is shown it; to others it is
	// not there.
	settle := func(who ident.RecordID, id, action string, body any, headers ...string) *testworld.Response {
		return w.HTTP(who, "POST", "/v1/me/conflicts/"+id+"/"+action, body, headers...)
	}
	for _, who := range []ident.RecordID{testworld.Guest, testworld.Admin, "emp-masked", "emp-unaware", testworld.Colleague, testworld.Nobody} {
		w.HTTP(who, "GET", "/v1/me/conflicts/"+note, nil).Want(t, 404, "not_found")
		there, absent := settle(who, note, "keep-mine", nil).Want(t, 404, "not_found"), settle(who, "never-was-1", "keep-mine", nil)
		if !bytes.Equal(there.Body, absent.Body) {
			t.Errorf("%s: %s / %s", who, there.Body, absent.Body)
		}
	}
	// Whoever may not see the conflict by itself is not shown it by its address,
	// even where they may settle it.
	w.HTTP(testworld.Manager, "GET", "/v1/me/conflicts/"+note, nil).Want(t, 404, "not_found")
	settle(testworld.Manager, note, "keep-edited", `{}`).Want(t, 422, "missing_field")
	settle(testworld.Manager, note, "keep-edited", testworld.Object("value", 7)).Want(t, 422, "bad_value")
	settle(testworld.Manager, note, "keep-mine", nil, "If-Match", `"0000000000000000"`).Want(t, 412, "rev_mismatch")
	for range 2 {
		settle(testworld.Manager, note, "keep-edited", testworld.Object("value", "office and phone"), "If-Match", it.Rev, "Idempotency-Key", "k").Want(t, 204, "")
	}
	settle(testworld.Manager, note, "keep-mine", nil).Want(t, 409, "wrong_status")
	if got := w.HTTP(testworld.Manager, "GET", "/v1/service/job-activities/act-acme-1", nil).Object(t)["note"]; got != "office and phone" {
		t.Errorf("note %v", got)
	}
	got := settle(testworld.Engineer, res[0].Conflicts[1].Conflict, "keep-theirs", nil).Want(t, 200, "").Object(t)
	if got["status"] != "Settled" || got["how"] != "theirs" {
		t.Errorf("%v", got)
	}
	for state, n := range map[string]int{"open": 0, "closed": 2, "all": 2} {
		if p := decoded[page](t, w.HTTP(testworld.Manager, "GET", beneath+"?state="+state, nil).Want(t, 200, "")); len(p.Items) != n {
			t.Errorf("%s: %+v", state, p)
		}
	}
	w.HTTP(testworld.Manager, "GET", beneath+"?state=ajar", nil).Want(t, 400, "bad_parameter")
	// The author's own list.
	if ids := w.HTTP(testworld.Engineer, "GET", "/v1/me/conflicts", nil).IDs(t); len(ids) != 2 {
		t.Errorf("%v", ids)
	}
	if ids := w.HTTP(testworld.Manager, "GET", "/v1/me/conflicts", nil).IDs(t); len(ids) != 0 {
		t.Errorf("%v", ids)
	}
}

// A record's conflicts tell no more than the record: of every type and person,
// asking for them fails as asking for the record does.
func TestConflictsFollowTheirRecord(t *testing.T) {
	w := newWorld(t)
	for _, who := range []ident.RecordID{testworld.Guest, testworld.Staff, testworld.Contractor, testworld.Blind, testworld.Nobody} {
		for i, r := range w.rest.Routes() {
			if r.Kind != "conflicts" || r.Same != "" || i%sparse(8) != 0 {
				continue
			}
			for _, id := range []string{"client-blue", "job-blue-1", "act-acme-1", "ticket-acme-3", "supplier-one"} {
				record := w.HTTP(who, "GET", strings.Replace(strings.TrimSuffix(r.Path, "/conflicts"), "{id}", id, 1), nil)
				list := w.HTTP(who, "GET", strings.Replace(r.Path, "{id}", id, 1), nil)
				if record.Status != list.Status || (record.Status == 404 && !bytes.Equal(record.Body, list.Body)) {
					t.Errorf("%s: %s of %s: %d, the record %d", who, r.Path, id, list.Status, record.Status)
				}
			}
		}
	}
	if fmt.Sprint(w.HTTP(testworld.Manager, "GET", "/v1/service/jobs/job-acme-1/conflicts", nil).IDs(t)) != "[]" {
		t.Error("a conflict out of nowhere")
	}
}
