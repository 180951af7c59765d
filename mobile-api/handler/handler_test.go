package handler_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	"satchel/internal/command"
	"satchel/internal/entity"
	"satchel/internal/ident"
	. "satchel/internal/testworld" //nolint:revive // its names are people
	"satchel/mobile-api/handler"
	mobile "satchel/mobile-api/wire"
	"satchel/server/edge"
	"satchel/server/syncapi"
	"satchel/server/ws/upgrade"
	"satchel/sync/tenant"
)

func newWorld(t testing.TB) *World {
	t.Helper()
	return New(t, func(app *fiber.App, auth *edge.Auth, cat *entity.Catalogue) {
		if _, err := handler.Mount(app, auth, cat, handler.Options{}); err != nil {
			t.Fatal(err)
		}
		(&syncapi.Server{Auth: auth, Sockets: upgrade.New(upgrade.Options{})}).Mount(app)
	})
}

// at is a time on the world's first day.
func at(hour, minute int) string {
	return time.Date(2026, 3, 2, hour, minute, 0, 0, time.UTC).Format(time.RFC3339)
}

// field walks into a decoded answer: names of members and numbers of entries.
func field(t testing.TB, v any, path ...any) any {
	t.Helper()
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, ok := v.(map[string]any)
			if !ok {
				t.Fatalf("%v: no object at %v", path, p)
			}
			v = m[p]
		case int:
			l, ok := v.([]any)
			if !ok || p >= len(l) {
				t.Fatalf("%v: no entry %d in %v", path, p, v)
			}
			v = l[p]
		}
	}
	return v
}

func ids(t testing.TB, list any, path ...any) []string {
	t.Helper()
	out := []string{}
	l, ok := list.([]any)
	if !ok {
		t.Fatalf("no list: %v", list)
	}
	for _, one := range l {
		out = append(out, field(t, one, append(path, "id")...).(string))
	}
	return out
}

func get(t testing.TB, w *World, who ident.RecordID, path string) map[string]any {
	t.Helper()
	return w.HTTP(who, "GET", path, nil).Want(t, 200, "").Object(t)
}

// stored reads a field as the system sees it.
func stored(t testing.TB, w *World, id ident.RecordID, name string) string {
	t.Helper()
	var out string
	err := w.Tenant.Read(func(v *tenant.View) error {
		rec, ok := v.Load(id)
		if !ok {
			t.Fatalf("there is no %s", id)
		}
		out = string(rec.Get(name))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Trim(out, `"`)
}

// routes are all addresses, with a body where one is needed.
var routes = []struct{ method, path, body string }{
	{"GET", "/me/day", ""},
	{"GET", "/me/week", ""},
	{"GET", "/dispatch", ""},
	{"GET", "/activities/act-acme-1", ""},
	{"POST", "/activities/act-acme-1/travel", "{}"},
	{"POST", "/activities/act-acme-1/assign", `{"assignee":"emp-engineer"}`},
	{"POST", "/activities/act-acme-1/time-entries", `{"start":"2026-03-02T08:00:00Z"}`},
	{"POST", "/activities/act-acme-1/parts", `{"product":"product-seal","quantity":1}`},
	{"POST", "/activities/act-acme-1/checklist-answers", `{"checklist":"checklist-one","item":"x","answer":"yes"}`},
	{"POST", "/activities/act-acme-1/signature", `{"signedBy":"Me"}`},
	{"POST", "/activities/act-acme-1/comments", `{"text":"x"}`},
	{"POST", "/activities/act-acme-1/documents", `{"name":"x.jpg"}`},
	{"GET", "/tickets", ""},
	{"POST", "/tickets", `{"client":"client-acme","subject":"x"}`},
	{"GET", "/tickets/ticket-acme-1", ""},
	{"GET", "/tickets/ticket-acme-1/assignees", ""},
	{"POST", "/tickets/ticket-acme-1/request-update", "{}"},
	{"POST", "/tickets/ticket-acme-1/assign", `{"assignee":"emp-onsite"}`},
	{"POST", "/tickets/ticket-acme-1/reply", `{"text":"x"}`},
	{"POST", "/tickets/ticket-acme-1/documents", `{"name":"x.jpg"}`},
}

// TestModuleRequired: without the role, whatever else somebody holds, every
// address refuses and nothing changes; with the role alone nothing is seen.
func TestModuleRequired(t *testing.T) {
	w := newWorld(t)
	for _, r := range routes {
		var body any
		if r.body != "" {
			body = r.body
		}
		for _, who := range []ident.RecordID{Colleague, Manager, Admin, Basic, Liaison} {
			res := w.HTTP(who, r.method, "/mobile/v1"+r.path, body)
			if res.Status != 403 || res.Code() != "mobile_module_required" {
				t.Errorf("%s %s %s: %d %s", who, r.method, r.path, res.Status, res.Body)
			}
		}
		res := w.HTTP(MobileOnly, r.method, "/mobile/v1"+r.path, body)
		switch r.path {
		case "/me/day", "/me/week", "/tickets":
			if r.method == "GET" {
				res.Want(t, 200, "")
				break
			}
			fallthrough
		default:
			if res.Status != 404 && res.Status != 403 || res.Code() == "mobile_module_required" {
				t.Errorf("with the module alone: %s %s: %d %s", r.method, r.path, res.Status, res.Body)
			}
		}
		w.HTTP("", r.method, "/mobile/v1"+r.path, body).Want(t, 401, "invalid_token")
	}
	day := get(t, w, MobileOnly, "/mobile/v1/me/day")
	if len(field(t, day, "activities").([]any))+len(field(t, day, "unscheduled").([]any)) > 0 {
		t.Errorf("with the module alone: %v", day)
	}
	if got := stored(t, w, "act-acme-1", "status"); got != "Accepted" {
		t.Errorf("act-acme-1 is %s", got)
	}
}

// TestDayAndWeek: own activities by time, with what belongs to them; what the
// person may not see is not there.
func TestDayAndWeek(t *testing.T) {
	w := newWorld(t)
	w.Import(
		Row("jobActivity", "act-acme-1", "scheduledStart", at(14, 0), "scheduledEnd", at(15, 0)),
		Row("jobActivity", "act-blue-1", "scheduledStart", at(8, 0)),
		Row("jobActivity", "act-corp-1", "scheduledStart", "2026-03-05T08:00:00Z"),
		Row("jobActivity", "act-dune-2", "assignee", Engineer, "status", "Assigned"),
		Row("jobActivity", "act-acme-2", "assignee", Engineer, "status", "Assigned", "scheduledStart", "2026-03-01T23:00:00Z", "scheduledEnd", at(1, 0)),
	)
	day := get(t, w, Engineer, "/mobile/v1/me/day?date=2026-03-02")
	if got := ids(t, day["activities"], "activity"); !slices.Equal(got, []string{"act-acme-2", "act-blue-1", "act-acme-1"}) {
		t.Errorf("the day: %v", got)
	}
	if got := ids(t, day["unscheduled"], "activity"); !slices.Equal(got, []string{"act-dune-2"}) {
		t.Errorf("unscheduled: %v", got)
	}
	one := field(t, day, "activities", 2)
	for name, id := range map[string]string{"job": "job-acme-1", "client": "client-acme", "site": "site-acme", "contact": "contact-acme", "asset": "asset-acme"} {
		if got := field(t, one, name, "id"); got != id {
			t.Errorf("%s is %v", name, got)
		}
	}
	// The role shows no billing notes, here either.
	if field(t, one, "client", "accessNotes") == nil || field(t, one, "client", "billingNotes") != nil {
		t.Errorf("the client: %v", field(t, one, "client"))
	}
	week := get(t, w, Engineer, "/mobile/v1/me/week?from=2026-03-02")
	if got := ids(t, week["activities"], "activity"); len(got) != 4 || got[3] != "act-corp-1" {
		t.Errorf("the week: %v", got)
	}
	// The same instants are another day elsewhere.
	east := get(t, w, Engineer, "/mobile/v1/me/day?date=2026-03-03&zone=Pacific/Auckland")
	if got := ids(t, east["activities"], "activity"); !slices.Equal(got, []string{"act-acme-1"}) {
		t.Errorf("in Auckland: %v", got)
	}
	w.Hide(Engineer, Acme)
	day = get(t, w, Engineer, "/mobile/v1/me/day?date=2026-03-02")
	if got := ids(t, day["activities"], "activity"); !slices.Equal(got, []string{"act-blue-1"}) {
		t.Errorf("with acme hidden: %v", got)
	}
	for _, q := range []string{"date=today", "date=2026-02-30", "zone=Mars", "zone=Local", "when=now", "date=2026-03-02&date=2026-03-02"} {
		w.HTTP(Engineer, "GET", "/mobile/v1/me/day?"+q, nil).Want(t, 400, "bad_parameter")
	}
}

// TestActingFor: whoever acts for somebody has that person's day too, less what
// is hidden from either.
func TestActingFor(t *testing.T) {
	w := newWorld(t)
	w.Person("emp-stand-in", "mobile.service-agent-user")
	w.Import(Row("delegation", "delegation-1", "delegator", Engineer, "delegate", "emp-stand-in",
		"from", "2026-03-01T00:00:00Z", "until", "2026-04-01T00:00:00Z"))
	day := get(t, w, "emp-stand-in", "/mobile/v1/me/day")
	if got := ids(t, day["unscheduled"], "activity"); !slices.Contains(got, "act-acme-1") || !slices.Contains(got, "act-blue-1") {
		t.Errorf("acting: %v", got)
	}
	w.Hide("emp-stand-in", Blue)
	day = get(t, w, "emp-stand-in", "/mobile/v1/me/day")
	if got := ids(t, day["unscheduled"], "activity"); slices.Contains(got, "act-blue-1") {
		t.Errorf("acting with blue hidden: %v", got)
	}
	w.HTTP("emp-stand-in", "POST", "/mobile/v1/activities/act-acme-1/travel", "{}").Want(t, 200, "")
}

// TestWorkingDay: a day of an engineer, with times on a phone whose clock is off.
func TestWorkingDay(t *testing.T) {
	w := newWorld(t)
	const act = "/mobile/v1/activities/act-acme-1"
	// The phone is two hours behind: it takes 08:00 for now, which is 10:00.
	step := func(name string, phone string, more ...any) *Response {
		t.Helper()
		return w.HTTP(Engineer, "POST", act+"/"+name, Object(append([]any{"at", phone, "now", at(8, 0)}, more...)...))
	}
	step("travel", at(7, 10)).Want(t, 200, "")
	if got := stored(t, w, "act-acme-1", "travelStart"); got != "2026-03-02T09:10:00.000Z" {
		t.Errorf("travelled at %s", got)
	}
	// By the header it is the same.
	res := w.HTTP(Engineer, "POST", act+"/arrive", Object("at", at(7, 30), "position", json.RawMessage(`{"lat":51.5,"lng":-0.12}`)), mobile.HeaderNow, at(8, 0))
	res.Want(t, 200, "")
	if got := stored(t, w, "act-acme-1", "arrivedAt"); got != "2026-03-02T09:30:00.000Z" {
		t.Errorf("arrived at %s", got)
	}
	if got := res.Object(t)["position"]; fmt.Sprint(got) != "map[lat:51.5 lng:-0.12]" {
		t.Errorf("at %v", got)
	}
	// What lies in the future is now.
	step("start", at(9, 0)).Want(t, 200, "")
	if got := stored(t, w, "act-acme-1", "startedAt"); got != "2026-03-02T10:00:00.000Z" {
		t.Errorf("started at %s", got)
	}
	step("pause", at(8, 0)).Want(t, 200, "")
	step("resume", at(8, 0)).Want(t, 200, "")
	step("await-parts", at(8, 0)).Want(t, 200, "")
	step("resume", at(8, 0)).Want(t, 200, "")
	step("accept", at(8, 0)).Want(t, 409, "wrong_status")
	step("pause", at(8, 0), "position", json.RawMessage(`{"lat":1,"lng":1}`)).Want(t, 400, "unknown_field")
	step("arrive", "yesterday").Want(t, 422, "bad_value")

	w.HTTP(Engineer, "POST", act+"/time-entries", Object("kind", "work", "start", at(9, 0), "end", at(9, 30))).Want(t, 201, "")
	w.HTTP(Engineer, "POST", act+"/time-entries", Object("kind", "work", "start", at(9, 0), "end", at(8, 30))).Want(t, 422, "bad_value")

	part := w.HTTP(Engineer, "POST", act+"/parts", Object("product", "product-seal", "quantity", 1)).Want(t, 201, "").Object(t)
	if part["warehouse"] != "van-engineer" {
		t.Errorf("the part came from %v", part["warehouse"])
	}
	if got := stored(t, w, "level-van-seal", "quantity"); got != "3" {
		t.Errorf("%s left in the van", got)
	}
	if loose := w.HTTP(Engineer, "POST", act+"/parts", `{"product":"product-seal","quantity":1,"warehouse":null}`).Want(t, 201, "").Object(t); loose["warehouse"] != nil {
		t.Errorf("a part from nowhere came from %v", loose["warehouse"])
	}

	answer := func(text string) *Response {
		return w.HTTP(Engineer, "POST", act+"/checklist-answers", Object("checklist", "checklist-one", "item", "item-2", "answer", text))
	}
	first := answer("no").Want(t, 201, "").Object(t)
	second := answer("yes").Want(t, 200, "").Object(t)
	if first["id"] != second["id"] || second["answer"] != "yes" {
		t.Errorf("answered %v, then %v", first, second)
	}
	w.HTTP(Engineer, "POST", act+"/checklist-answers", Object("checklist", "checklist-one", "answer", "x")).Want(t, 422, "missing_field")

	sign := w.HTTP(Engineer, "POST", act+"/signature", Object("signedBy", "Ms Client")).Want(t, 201, "").Object(t)
	if sign["signedAt"] != "2026-03-02T10:00:00.000Z" {
		t.Errorf("signed at %v", sign["signedAt"])
	}
	w.HTTP(Engineer, "POST", act+"/comments", Object("text", "All well")).Want(t, 201, "")
	w.HTTP(Engineer, "POST", act+"/comments", Object("text", "x", "parent", "client-blue")).Want(t, 400, "unknown_field")

	step("clear", at(8, 0), "workDone", "Mended").Want(t, 200, "")
	w.Do(&command.Command{Actor: Manager, Write: &command.Write{Op: "action", Type: "jobActivity", ID: "act-acme-1", Action: "review"}})
	// Past Cleared only comments are taken.
	w.HTTP(Engineer, "POST", act+"/parts", Object("product", "product-seal", "quantity", 1)).Want(t, 403, "not_allowed")
	w.HTTP(Engineer, "POST", act+"/signature", Object("signedBy", "x")).Want(t, 403, "not_allowed")
	w.HTTP(Engineer, "POST", act+"/checklist-answers", Object("checklist", "checklist-one", "item", "item-2", "answer", "late")).Want(t, 403, "not_allowed")
	w.HTTP(Engineer, "POST", act+"/comments", Object("text", "One more thing")).Want(t, 201, "")

	all := get(t, w, Engineer, act)
	if got := field(t, all, "activity", "workDone"); got != "Mended" {
		t.Errorf("done: %v", got)
	}
	for name, n := range map[string]int{"timeEntries": 2, "partsUsed": 3, "signatures": 2, "comments": 3, "documents": 0} {
		if got := len(field(t, all, name).([]any)); got != n {
			t.Errorf("%d %s, want %d", got, name, n)
		}
	}
	lists := field(t, all, "checklists").([]any)
	if len(lists) != 1 || field(t, lists[0], "checklist", "id") != "checklist-one" || len(field(t, lists[0], "answers").([]any)) != 2 {
		t.Errorf("checklists: %v", lists)
	}
	// Somebody else's activity is not there, nor are things added to it.
	w.HTTP(Engineer, "GET", "/mobile/v1/activities/act-dune-1", nil).Want(t, 404, "not_found")
	w.HTTP(Engineer, "POST", "/mobile/v1/activities/act-dune-1/travel", "{}").Want(t, 404, "not_found")
	w.HTTP(Engineer, "POST", "/mobile/v1/activities/act-dune-1/comments", Object("text", "x")).Want(t, 404, "not_found")
	w.HTTP(Engineer, "POST", "/mobile/v1/activities/never-was-1/comments", Object("text", "x")).Want(t, 404, "not_found")
}

// TestAssetHistory: earlier activities at the same asset, as far as seen.
func TestAssetHistory(t *testing.T) {
	w := newWorld(t)
	w.Import(
		Row("job", "job-acme-2", "client", Acme, "title", "Last year", "asset", "asset-acme"),
		Row("jobActivity", "act-acme-8", "job", "job-acme-2", "title", "Mine", "assignee", Engineer, "status", "Closed", "scheduledStart", "2025-03-02T08:00:00Z"),
		Row("jobActivity", "act-acme-9", "job", "job-acme-2", "title", "Not mine", "assignee", Colleague, "status", "Closed", "scheduledStart", "2025-04-02T08:00:00Z"),
	)
	all := get(t, w, Engineer, "/mobile/v1/activities/act-acme-1")
	if got := ids(t, all["assetHistory"]); !slices.Equal(got, []string{"act-acme-8"}) {
		t.Errorf("an engineer sees %v", got)
	}
	w.Give(Manager, "mobile.service-agent-user")
	all = get(t, w, Manager, "/mobile/v1/activities/act-acme-1")
	if got := ids(t, all["assetHistory"]); !slices.Equal(got, []string{"act-acme-9", "act-acme-8"}) {
		t.Errorf("a manager sees %v", got)
	}
}

// TestRepetitionAndMatch: a request sent again under its key is done once, one
// under another content is refused; If-Match is kept to.
func TestRepetitionAndMatch(t *testing.T) {
	w := newWorld(t)
	const act = "/mobile/v1/activities/act-acme-1"
	post := func(path string, body any, headers ...string) *Response {
		t.Helper()
		return w.HTTP(Engineer, "POST", path, body, headers...)
	}
	first := post(act+"/comments", Object("text", "once"), "Idempotency-Key", "k-1").Want(t, 201, "").Object(t)
	// The phone's clock has moved on when it is sent again.
	again := post(act+"/comments", Object("text", "once", "at", at(9, 59)), "Idempotency-Key", "k-1").Want(t, 201, "").Object(t)
	if first["id"] != again["id"] {
		t.Errorf("made %v and %v", first["id"], again["id"])
	}
	post(act+"/comments", Object("text", "other"), "Idempotency-Key", "k-1").Want(t, 422, "idempotency_key_reused")
	one := post(act+"/checklist-answers", Object("checklist", "checklist-one", "item", "k", "answer", "a"), "Idempotency-Key", "k-2").Want(t, 201, "").Object(t)
	two := post(act+"/checklist-answers", Object("checklist", "checklist-one", "item", "k", "answer", "a"), "Idempotency-Key", "k-2").Object(t)
	if one["id"] != two["id"] {
		t.Errorf("answered %v and %v", one, two)
	}
	post(act+"/travel", "{}", "Idempotency-Key", "k-3").Want(t, 200, "")
	post(act+"/travel", "{}", "Idempotency-Key", "k-3").Want(t, 200, "")
	post(act+"/travel", "{}").Want(t, 409, "wrong_status")

	tag := w.HTTP(Engineer, "GET", act, nil).Header.Get("ETag")
	post(act+"/arrive", "{}", "If-Match", tag).Want(t, 200, "")
	post(act+"/start", "{}", "If-Match", tag).Want(t, 412, "rev_mismatch")
	post(act+"/time-entries", Object("start", at(9, 0)), "If-Match", tag).Want(t, 412, "rev_mismatch")
	tag = w.HTTP(Engineer, "GET", act, nil).Header.Get("ETag")
	post(act+"/time-entries", Object("start", at(9, 0)), "If-Match", tag).Want(t, 201, "")
	post(act+"/start", "{}", "If-Match", `"a", "b"`).Want(t, 400, "bad_parameter")
	for _, body := range []string{"", "[]", `{"text":`, `{"text":"a","text":"b"}`} {
		if res := post(act+"/comments", body); res.Status < 400 || res.Status >= 500 {
			t.Errorf("%q: %d", body, res.Status)
		}
	}
}

// TestTickets: one's own and those of the clients one is onsite for, and what
// may be done with them.
func TestTickets(t *testing.T) {
	w := newWorld(t)
	list := func(who ident.RecordID, query string) []string {
		t.Helper()
		return ids(t, get(t, w, who, "/mobile/v1/tickets"+query)["items"], "ticket")
	}
	if got := list(Engineer, ""); !slices.Equal(got, []string{"ticket-acme-3"}) {
		t.Errorf("the engineer has %v", got)
	}
	got := list(Onsite, "")
	slices.Sort(got)
	if !slices.Equal(got, []string{"ticket-acme-1", "ticket-acme-2", "ticket-acme-3"}) {
		t.Errorf("the onsite manager has %v", got)
	}
	if got := list(Onsite, "?which=mine"); len(got) != 0 {
		t.Errorf("of the manager's own: %v", got)
	}
	w.HTTP(Onsite, "GET", "/mobile/v1/tickets?which=all", nil).Want(t, 400, "bad_parameter")
	w.HTTP(Onsite, "GET", "/mobile/v1/tickets?done=1", nil).Want(t, 400, "bad_parameter")

	made := w.HTTP(Onsite, "POST", "/mobile/v1/tickets", Object("client", Acme, "subject", "Broken")).Want(t, 201, "").Object(t)
	w.HTTP(Onsite, "POST", "/mobile/v1/tickets", Object("client", Blue, "subject", "Broken")).Want(t, 422, "bad_reference")
	id := ident.RecordID(made["id"].(string))
	w.HTTP(Onsite, "POST", "/mobile/v1/tickets/"+string(id)+"/reply", Object("text", "On it")).Want(t, 201, "")
	w.HTTP(Onsite, "POST", "/mobile/v1/tickets/"+string(id)+"/reply", Object("text", "x", "kind", "note")).Want(t, 400, "unknown_field")
	w.HTTP(Onsite, "POST", "/mobile/v1/tickets/"+string(id)+"/request-update", Object("message", "Well?")).Want(t, 200, "")
	w.HTTP(Onsite, "POST", "/mobile/v1/tickets/"+string(id)+"/documents", Object("name", "photo.jpg")).Want(t, 201, "")
	one := get(t, w, Onsite, "/mobile/v1/tickets/"+string(id))
	if len(field(t, one, "updates").([]any)) != 2 || len(field(t, one, "documents").([]any)) != 1 || field(t, one, "client", "id") != string(Acme) {
		t.Errorf("the ticket: %v", one)
	}
	// Their own work moves along; that of others is not there.
	w.HTTP(Engineer, "POST", "/mobile/v1/tickets/ticket-acme-3/resolve", Object("resolution", "Done")).Want(t, 200, "")
	if got := list(Engineer, ""); len(got) != 0 {
		t.Errorf("resolved, and still listed: %v", got)
	}
	if got := list(Engineer, "?done=true"); !slices.Equal(got, []string{"ticket-acme-3"}) {
		t.Errorf("what is done: %v", got)
	}
	w.HTTP(Engineer, "POST", "/mobile/v1/tickets/ticket-acme-1/resolve", "{}").Want(t, 404, "not_found")
	w.HTTP(Onsite, "GET", "/mobile/v1/tickets/ticket-blue-1", nil).Want(t, 404, "not_found")
	w.HTTP(Onsite, "POST", "/mobile/v1/tickets/ticket-blue-1/assign", Object("assignee", Onsite)).Want(t, 404, "not_found")
}

// TestOnsiteAssigns: an onsite manager sees who is free, by times alone, assigns
// to onsite staff only, and is warned of double bookings, which are not refused.
func TestOnsiteAssigns(t *testing.T) {
	w := newWorld(t)
	w.Person("emp-handy", "service.engineer")
	w.Person("emp-idle", "service.engineer")
	w.Import(
		Row("onsiteClient", "onsite-row-8", "employee", "emp-handy", "client", Acme),
		Row("onsiteClient", "onsite-row-9", "employee", "emp-idle", "client", Acme),
		// Work for a client of which the manager knows nothing, in two pieces.
		Row("jobActivity", "act-blue-2", "assignee", "emp-handy", "status", "Assigned", "title", "Secret visit",
			"scheduledStart", at(10, 30), "scheduledEnd", at(12, 0)),
		Row("jobActivity", "act-corp-2", "assignee", "emp-handy", "status", "Assigned", "scheduledStart", at(11, 30), "scheduledEnd", at(12, 30)),
		Row("jobActivity", "act-dune-2", "assignee", "emp-handy", "status", "Closed", "scheduledStart", at(14, 0)),
	)
	const ticket = "/mobile/v1/tickets/ticket-acme-1"
	res := w.HTTP(Onsite, "GET", ticket+"/assignees?from="+at(10, 0)+"&to="+at(20, 0), nil).Want(t, 200, "")
	for _, secret := range []string{"Secret", "blue", "corp", "act-"} {
		if strings.Contains(string(res.Body), secret) {
			t.Errorf("the answer tells %q: %s", secret, res.Body)
		}
	}
	people := map[string]any{}
	for _, one := range res.Object(t)["items"].([]any) {
		people[field(t, one, "id").(string)] = one
	}
	if people["emp-idle"] == nil || field(t, people["emp-idle"], "free") != true || people[string(Engineer)] != nil {
		t.Errorf("%v", people)
	}
	if got, _ := json.Marshal(field(t, people["emp-handy"], "busy")); string(got) != `[{"from":"2026-03-02T10:30:00.000Z","to":"2026-03-02T12:30:00.000Z"}]` {
		t.Errorf("busy %s", got)
	}
	w.HTTP(Onsite, "GET", ticket+"/assignees?from="+at(10, 0)+"&to="+at(9, 0), nil).Want(t, 400, "bad_parameter")
	w.HTTP(Onsite, "GET", ticket+"/assignees?from="+at(10, 0)+"&to=2027-03-02T00:00:00Z", nil).Want(t, 400, "bad_parameter")
	w.HTTP(Engineer, "GET", "/mobile/v1/tickets/ticket-acme-3/assignees", nil).Want(t, 403, "not_allowed")
	w.HTTP(Onsite, "GET", "/mobile/v1/tickets/ticket-blue-1/assignees", nil).Want(t, 404, "not_found")

	w.HTTP(Onsite, "POST", ticket+"/assign", Object("assignee", Engineer)).Want(t, 422, "assignee_not_eligible")
	plain := w.HTTP(Onsite, "POST", ticket+"/assign", Object("assignee", "emp-idle")).Want(t, 200, "").Object(t)
	if plain["warnings"] != nil {
		t.Errorf("nobody is booked twice: %v", plain["warnings"])
	}
	booked := w.HTTP(Onsite, "POST", ticket+"/assign", Object("assignee", "emp-handy")).Want(t, 200, "").Object(t)
	if field(t, booked, "warnings", 0, "code") != "double_booked" || field(t, booked, "warnings", 0, "from") != "2026-03-02T10:30:00.000Z" || booked["assignee"] != "emp-handy" {
		t.Errorf("%v", booked)
	}
	w.HTTP(Onsite, "POST", ticket+"/unassign", "{}").Want(t, 200, "")
	if got := stored(t, w, "ticket-acme-1", "status"); got != "New" {
		t.Errorf("the ticket is %s", got)
	}
	// Offline it is a mutation, and warns the same.
	tok := w.DeviceToken(Onsite, "phone")
	push := w.Send(tok, "POST", "/sync/v1/push", map[string]any{"acked": 0, "now": at(10, 0), "mutations": []any{
		map[string]any{"n": 1, "op": "action", "type": "ticket", "id": "ticket-acme-1", "action": "assign", "args": map[string]any{"assignee": "emp-handy"}, "at": at(9, 0)},
		map[string]any{"n": 2, "op": "action", "type": "ticket", "id": "ticket-acme-2", "action": "assign", "args": map[string]any{"assignee": "emp-idle"}, "at": at(9, 0)},
	}}).Want(t, 200, "").Object(t)
	if field(t, push, "results", 0, "warnings", 0, "code") != "double_booked" || field(t, push, "results", 1, "status") != "applied" || field(t, push, "results", 1, "warnings") != nil {
		t.Errorf("pushed: %v", push)
	}
}

// TestOffHours: R13: who is free works then, by the calendars of their scheduling
// roles; the dispatcher's board tells the same.
func TestOffHours(t *testing.T) {
	w := newWorld(t)
	w.Person("emp-handy", "service.engineer")
	w.Import(
		Row("onsiteClient", "onsite-row-8", "employee", "emp-handy", "client", Acme),
		Row("schedulingRole", "skill-gas-1", "utcOffset", 120, "hours", []map[string]string{
			{"id": "1", "day": "monday", "from": "10:00", "until": "14:00"}, {"id": "2", "day": "monday", "from": "15:00", "until": "24:00"},
		}),
		Row("employee", "emp-handy", "schedulingRoles", []string{"skill-gas-1"}),
		Row("employee", Engineer, "schedulingRoles", []string{"skill-gas-1"}),
	)
	// 2026-03-02 is a Monday; the hours are two ahead of UTC.
	for _, c := range []struct {
		from, to string
		free     bool
		off      string
	}{
		{at(9, 0), at(11, 0), true, `null`},
		{at(11, 0), at(14, 0), true, `[{"from":"2026-03-02T12:00:00.000Z","to":"2026-03-02T13:00:00.000Z"}]`},
		{at(12, 0), at(13, 0), false, `[{"from":"2026-03-02T12:00:00.000Z","to":"2026-03-02T13:00:00.000Z"}]`},
		{at(4, 0), at(9, 0), true, `[{"from":"2026-03-02T04:00:00.000Z","to":"2026-03-02T08:00:00.000Z"}]`},
		{at(22, 0), at(23, 0), false, `[{"from":"2026-03-02T22:00:00.000Z","to":"2026-03-02T23:00:00.000Z"}]`},
	} {
		res := w.HTTP(Onsite, "GET", "/mobile/v1/tickets/ticket-acme-1/assignees?from="+c.from+"&to="+c.to, nil).Want(t, 200, "").Object(t)
		for _, one := range res["items"].([]any) {
			m := one.(map[string]any)
			got, _ := json.Marshal(m["off"])
			switch id := m["id"]; {
			case id == "emp-handy" && (m["free"] != c.free || string(got) != c.off):
				t.Errorf("%s to %s: %v", c.from, c.to, m)
			case id == string(Onsite) && (m["free"] != true || string(got) != `null`):
				t.Errorf("who has no calendar: %v", m)
			}
		}
	}
	w.Give(Blind, "mobile.service-agent-user")
	out := get(t, w, Blind, "/mobile/v1/dispatch?date=2026-03-02")
	for _, one := range field(t, out, "agents").([]any) {
		if got, _ := json.Marshal(one.(map[string]any)["off"]); field(t, one, "agent", "id") == "agent-engineer" &&
			string(got) != `[{"from":"2026-03-02T00:00:00.000Z","to":"2026-03-02T08:00:00.000Z"},{"from":"2026-03-02T12:00:00.000Z","to":"2026-03-02T13:00:00.000Z"},{"from":"2026-03-02T22:00:00.000Z","to":"2026-03-03T00:00:00.000Z"}]` {
			t.Errorf("the engineer is off: %s", got)
		}
	}
}

// TestDispatch: who assigns activities sees what waits and each agent's day;
// nobody else does.
func TestDispatch(t *testing.T) {
	w := newWorld(t)
	w.HTTP(Engineer, "GET", "/mobile/v1/dispatch", nil).Want(t, 403, "not_allowed")
	w.HTTP(Onsite, "GET", "/mobile/v1/dispatch", nil).Want(t, 403, "not_allowed")
	w.Give(Blind, "mobile.service-agent-user")
	w.Import(
		Row("jobActivity", "act-acme-1", "scheduledStart", at(14, 0), "scheduledEnd", at(15, 0)),
		Row("jobActivity", "act-blue-1", "scheduledStart", at(8, 0), "scheduledEnd", at(9, 0)),
	)
	out := get(t, w, Blind, "/mobile/v1/dispatch?date=2026-03-02")
	queue := ids(t, out["queue"], "activity")
	if !slices.Contains(queue, "act-acme-2") || slices.Contains(queue, "act-blue-2") || slices.Contains(queue, "act-acme-1") {
		t.Errorf("the queue: %v", queue)
	}
	agents := field(t, out, "agents").([]any)
	i := slices.IndexFunc(agents, func(a any) bool { return field(t, a, "agent", "id") == "agent-engineer" })
	if i < 0 {
		t.Fatalf("agents: %v", agents)
	}
	one := agents[i]
	if got := ids(t, field(t, one, "activities"), "activity"); slices.Contains(got, "act-blue-1") || got[0] != "act-acme-1" {
		t.Errorf("the engineer's day: %v", got)
	}
	// What is hidden shows as time taken, and as nothing else.
	if got, _ := json.Marshal(field(t, one, "busy")); string(got) != `[{"from":"2026-03-02T08:00:00.000Z","to":"2026-03-02T09:00:00.000Z"},{"from":"2026-03-02T14:00:00.000Z","to":"2026-03-02T15:00:00.000Z"}]` {
		t.Errorf("busy: %s", got)
	}
	res := w.HTTP(Blind, "POST", "/mobile/v1/activities/act-acme-2/assign", Object("assignee", Engineer, "scheduledStart", at(14, 30), "scheduledEnd", at(16, 0))).Want(t, 200, "").Object(t)
	if field(t, res, "warnings", 0, "to") != "2026-03-02T15:00:00.000Z" {
		t.Errorf("assigned: %v", res)
	}
	w.HTTP(Engineer, "POST", "/mobile/v1/activities/act-acme-2/assign", Object("assignee", Engineer)).Want(t, 403, "not_allowed")
}

// TestCapabilities: anybody may ask, and a version that is not spoken is told
// so before anything else.
func TestCapabilities(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{"/mobile/v1/capabilities", "/sync/v1/capabilities"} {
		res := w.HTTP("", "GET", path, nil).Want(t, 200, "")
		var c mobile.Capabilities
		if err := json.Unmarshal(res.Body, &c); err != nil || c.Protocol != (mobile.Range{Min: 1, Max: 1}) || c.Schema.Min != 1 || !slices.Contains(c.Capabilities, mobile.CapRules) {
			t.Errorf("%s: %s %v", path, res.Body, err)
		}
	}
	w.HTTP(Engineer, "GET", "/mobile/v1/me/day", nil, mobile.HeaderProtocol, "1").Want(t, 200, "")
	for _, said := range []string{"2", "0", "-1", "one", "1.0"} {
		res := w.HTTP(Engineer, "GET", "/mobile/v1/me/day", nil, mobile.HeaderProtocol, said).Want(t, 426, "protocol_not_supported")
		if res.Header.Get("Upgrade") != "satchel/1" || field(t, res.Object(t), "protocol", "max") != 1.0 {
			t.Errorf("%s: %v %s", said, res.Header, res.Body)
		}
		w.Send(w.DeviceToken(Engineer, "phone"), "POST", "/sync/v1/pull", "{}", mobile.HeaderProtocol, said).Want(t, 426, "protocol_not_supported")
	}
}
