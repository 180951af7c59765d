package rest_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"satchel/internal/command"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/internal/policy"
	. "satchel/internal/testworld" //nolint:revive // its names are people
	"satchel/server/roles"
	"satchel/sync/apply"
	"satchel/sync/tenant"
)

// step is one request of a clause's case and what must come of it.
type step struct {
	who          ident.RecordID
	method, path string
	body         any
	headers      []string // names and values
	status       int
	code         fault.Code
	has, lacks   []string // ids of a list, or members of a record
	unset        []string // members that the record has no value of
	silent       []string // what must not stand in the answer at all
	run          func(t *testing.T, w *world)
	proves       proof // of a step that runs; a request says itself what it proves
}

// proof is what a step shows of a clause.
type proof uint8

const (
	allowing proof = 1 << iota
	refusing
	onDevices // through a device's pages
)

// when returns the proof where it holds, otherwise none.
func (p proof) when(holds bool) proof {
	if holds {
		return p
	}
	return 0
}

func get(who ident.RecordID, path string) step {
	return step{who: who, method: "GET", path: path, status: 200}
}

// seek is get with a filter, sort or search in the query.
func seek(who ident.RecordID, path string, kv ...string) step {
	q := url.Values{}
	for i := 0; i < len(kv); i += 2 {
		q.Set(kv[i], kv[i+1])
	}
	return get(who, path+"?"+q.Encode())
}

func post(who ident.RecordID, path string, kv ...any) step {
	return step{who: who, method: "POST", path: path, body: Object(kv...), status: 200}
}

func create(who ident.RecordID, path string, kv ...any) step {
	s := post(who, path, kv...)
	s.status = 201
	return s
}

func patch(who ident.RecordID, path string, kv ...any) step {
	return step{who: who, method: "PATCH", path: path, body: Object(kv...), status: 200}
}

func remove(who ident.RecordID, path string) step {
	return step{who: who, method: "DELETE", path: path, status: 204}
}

// do runs something that proves nothing by itself, unless it is said by as.
func do(f func(t *testing.T, w *world)) step { return step{run: f} }

func (s step) as(p proof) step { s.proves = p; return s }

func (s step) shows(what ...string) step { s.has = what; return s }
func (s step) hides(what ...string) step { s.lacks = what; return s }
func (s step) blank(what ...string) step { s.unset = what; return s }
func (s step) quiet(what ...string) step { s.silent = what; return s }

// some requires a list of so many.
func (s step) some(n int) step {
	return do(func(t *testing.T, w *world) {
		t.Helper()
		if got := w.HTTP(s.who, s.method, s.path, nil).Want(t, s.status, string(s.code)).IDs(t); len(got) != n {
			t.Errorf("%s: %s lists %v, want %d", s.who, s.path, got, n)
		}
	}).as(allowing.when(n > 0) | refusing.when(n == 0))
}

func (s step) no(status int, code fault.Code) step {
	s.status, s.code = status, code
	return s
}

// The refusals by their names.
func (s step) forbidden() step { return s.no(403, fault.NotAllowed) }
func (s step) absent() step    { return s.no(404, fault.NotFoundCode) }

func (s step) take(t *testing.T, w *world) {
	t.Helper()
	if s.run != nil {
		s.run(t, w)
		return
	}
	res := w.HTTP(s.who, s.method, s.path, s.body, s.headers...)
	if res.Status != s.status || res.Code() != string(s.code) {
		t.Errorf("%s: %s %s %v: %d %q, want %d %q: %s", s.who, s.method, s.path, show(s.body), res.Status, res.Code(), s.status, s.code, res.Body)
		return
	}
	for _, word := range s.silent {
		if bytes.Contains(res.Body, []byte(word)) {
			t.Errorf("%s: %s %s tells %q: %s", s.who, s.method, s.path, word, res.Body)
		}
	}
	if s.has == nil && s.lacks == nil && s.unset == nil {
		return
	}
	var have []string
	o := res.Object(t)
	if _, ok := o["items"]; ok {
		have = res.IDs(t)
		w.were(t, s.lacks...)
	} else {
		w.filled(t, o, s.lacks)
		for k := range o {
			have = append(have, k)
		}
	}
	for _, id := range s.has {
		if !slices.Contains(have, id) {
			t.Errorf("%s: %s %s lacks %s: %v", s.who, s.method, s.path, id, have)
		}
	}
	for _, id := range slices.Concat(s.lacks, s.unset) {
		if slices.Contains(have, id) {
			t.Errorf("%s: %s %s has %s", s.who, s.method, s.path, id)
		}
	}
}

func show(body any) string {
	b, _ := json.Marshal(body)
	return string(b)
}

// refuses reports whether the step expects a refusal or something left out.
func (s step) refuses() bool {
	if s.run != nil {
		return s.proves&refusing != 0
	}
	return s.status >= 400 || len(s.lacks) > 0 || len(s.silent) > 0
}

// allows reports whether the step expects something done or shown.
func (s step) allows() bool {
	if s.run != nil {
		return s.proves&allowing != 0
	}
	return s.status < 300 && (len(s.has) > 0 || len(s.lacks)+len(s.silent) == 0)
}

func (s step) syncs() bool { return s.proves&onDevices != 0 }

// were fails for ids of records that never were: that one is missing would say
// nothing.
func (w *world) were(t *testing.T, ids ...string) {
	t.Helper()
	if err := w.Tenant.Read(func(v *tenant.View) error {
		for _, id := range ids {
			if v.Ordinal(ident.RecordID(id)) == 0 {
				t.Errorf("%s is to be missing, and never was", id)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// filled fails for fields without a value in the record that an answer shows:
// that one is missing would say nothing.
func (w *world) filled(t *testing.T, answer map[string]any, fields []string) {
	t.Helper()
	id, _ := answer["id"].(string)
	if err := w.Tenant.Read(func(v *tenant.View) error {
		rec, ok := v.Load(ident.RecordID(id))
		if !ok {
			return nil // no record's answer
		}
		for _, name := range fields {
			if f := rec.Type.Field(name); f != nil && rec.Value(f.No).IsNull() {
				t.Errorf("%s of %s is to be missing, and has no value", name, id)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// rows imports before the steps that follow.
func rows(rs ...command.Row) step {
	return do(func(t *testing.T, w *world) { t.Helper(); w.Import(rs...) })
}

// pull submits a device's first pull, in the name of a sign-in on a phone.
func pull(who ident.RecordID, profile string, code fault.Code) step {
	return do(func(t *testing.T, w *world) {
		t.Helper()
		claims, err := w.Signer.Verify(w.DeviceToken(who, "phone"), ident.MillisOf(w.Clock()))
		if err != nil {
			t.Fatal(err)
		}
		_, err = w.Tenant.Pull(context.Background(), &command.Command{
			Actor: who, Session: claims.Session, Device: claims.Device, Pull: &command.Pull{Profile: profile},
		}, apply.ToldSmall)
		if code == "" && err != nil || code != "" && !fault.Is(err, code) {
			t.Errorf("%s pulls %s: %v, want %q", who, profile, err, code)
		}
	}).as(onDevices | allowing.when(code == "") | refusing.when(code != ""))
}

// imports submits rows in the person's name, as commands of operators come.
func imports(who ident.RecordID, code fault.Code) step {
	return do(func(t *testing.T, w *world) {
		t.Helper()
		row := Row("client", ident.RecordID("client-by-"+called(who)), "name", "Brought", "salesArea", AreaNorth)
		_, err := w.Tenant.Submit(t.Context(), &command.Command{Actor: who, Import: &command.Import{Rows: []command.Row{row}}})
		if code == "" && err != nil || code != "" && !fault.Is(err, code) {
			t.Errorf("%s imports: %v, want %q", who, err, code)
		}
	}).as(allowing.when(code == "") | refusing.when(code != ""))
}

// asAbsent requires that each address is answered like one of a record that
// never was, byte by byte.
func asAbsent(who ident.RecordID, method string, body any, paths ...string) step {
	return do(func(t *testing.T, w *world) {
		t.Helper()
		for _, p := range paths {
			parts := strings.Split(p, "/")
			parts[4] = "never-was-1"
			hidden, never := w.HTTP(who, method, p, body), w.HTTP(who, method, strings.Join(parts, "/"), body)
			if hidden.Status != 404 || !bytes.Equal(hidden.Body, never.Body) || hidden.Status != never.Status {
				t.Errorf("%s %s: %d %s; absent: %d %s", method, p, hidden.Status, hidden.Body, never.Status, never.Body)
			}
			w.were(t, strings.Split(p, "/")[4])
		}
	}).as(refusing)
}

const (
	customers  = "/v1/service/customers"
	assets     = "/v1/service/assets"
	jobs       = "/v1/service/jobs"
	activities = "/v1/service/job-activities"
	comments   = "/v1/service/comments"
	times      = "/v1/service/time-entries"
	invoices   = "/v1/service/invoices"
	tickets    = "/v1/helpdesk/tickets"
	updates    = "/v1/helpdesk/ticket-updates"
	documents  = "/v1/helpdesk/documents"
	employees  = "/v1/admin/employees"
	assigned   = "/v1/admin/role-assignments"
	permits    = "/v1/admin/individual-permissions"
	orgRoles   = "/v1/admin/organizational-roles"
	visible    = "/v1/admin/client-visibilities"
	rules      = "/v1/admin/visibility-rules"

	mobileDay     = "/mobile/v1/me/day"
	mobileTickets = "/mobile/v1/tickets"
)

// upload sends content for a document; where it is taken says nothing of
// whether the document gets it.
func upload(who ident.RecordID, document ident.RecordID, content string) step {
	s := post(who, "/files/")
	s.status, s.body = 201, content
	s.headers = []string{
		"Tus-Resumable", "1.0.0", "Upload-Length", strconv.Itoa(len(content)), "Content-Type", "application/offset+octet-stream",
		"Upload-Metadata", "document " + base64.StdEncoding.EncodeToString([]byte(document)),
	}
	return s
}

// attached makes a document beneath a record, sends its content, and has it read
// by those who may and by those who may not.
func attached(who, parent ident.RecordID, may, mayNot []ident.RecordID) step {
	return do(func(t *testing.T, w *world) {
		t.Helper()
		made := w.HTTP(who, "POST", documents, Object("parent", parent, "name", "note.txt")).Want(t, 201, "").Object(t)
		id, _ := made["id"].(string)
		content := "for " + id
		upload(who, ident.RecordID(id), content).take(t, w)
		for _, p := range may {
			if res := w.HTTP(p, "GET", documents+"/"+id+"/content", nil).Want(t, 200, ""); string(res.Body) != content {
				t.Errorf("%s reads %q", p, res.Body)
			}
		}
		for _, p := range mayNot {
			w.HTTP(p, "GET", documents+"/"+id+"/content", nil).Want(t, 404, string(fault.NotFoundCode))
		}
	}).as(allowing.when(len(may) > 0) | refusing.when(len(mayNot) > 0))
}

var everyClient = []string{"client-acme", "client-blue", "client-corp", "client-dune"}

// everything are the steps of somebody who may do everything in Service.
func everything(who ident.RecordID) []step {
	return []step{
		get(who, customers).shows(everyClient...),
		get(who, jobs).shows("job-acme-1", "job-dune-1"),
		get(who, activities).shows("act-acme-1", "act-acme-2", "act-dune-1"),
		get(who, invoices).shows("invoice-acme", "invoice-corp"),
		get(who, "/v1/service/jobs/job-acme-1/documents").shows("document-acme-1"),
		synced(who, append(ids(everyClient...), "job-dune-1", "act-acme-2", "asset-blue", "invoice-corp", "time-dune-1", "comment-corp-3", "document-acme-1", "checklist-one", "product-seal"),
			ids("ticket-acme-1", "update-acme-1", "document-acme-2", "supplier-one", "task-acme-1", "contract-acme-1", "payment-acme-1", "comment-task-acme")),
		carries(who, "client-acme", ids("name", "accessNotes"), ids("accountNotes", "billingNotes", "debtorNotes", "deliveryNotes")),
		create(who, jobs, "client", "client-corp", "title", "New work"),
		create(who, activities, "job", "job-corp-1", "title", "Look", "assignee", "emp-engineer"),
		create(who, customers, "name", "Fresh", "salesArea", "area-south"),
		create(who, comments, "parent", "job-corp-1", "text", "Seen"),
		create(who, comments, "parent", "sign-corp-1", "text", "Whose?"),
		create(who, comments, "parent", "answer-corp-1", "text", "Sure?"),
		patch(who, customers+"/client-corp", "name", "Corp anew", "accessNotes", "Ring twice"),
		patch(who, invoices+"/invoice-corp", "remarks", "Draft"),
		post(who, activities+"/act-corp-2/assign", "assignee", "emp-colleague"),
		post(who, assets+"/asset-corp/archive"),
		remove(who, activities+"/act-dune-2"),
		// Other apps' things are not everything in Service.
		get(who, tickets).forbidden(),
		patch(who, customers+"/client-corp", "accountNotes", "x").no(400, fault.UnknownField),
		post(who, "/v1/billing/invoices/invoice-corp/approve").forbidden(),
		rows(Row("invoice", "invoice-blue", "status", "Approved"), Row("invoice", "invoice-acme", "status", "Approved")),
		patch(who, invoices+"/invoice-acme", "remarks", "late").forbidden(),
	}
}

// writes are refused to whoever may write nothing, on a job and an activity
// that the person sees.
func writes(who ident.RecordID, job, activity string) []step {
	return []step{
		create(who, jobs, "client", "client-acme", "title", "x").forbidden(),
		create(who, customers, "name", "x", "salesArea", "area-north").forbidden(),
		patch(who, jobs+"/"+job, "title", "x").forbidden(),
		remove(who, jobs+"/"+job).forbidden(),
		post(who, jobs+"/"+job+"/cancel").forbidden(),
		post(who, activities+"/"+activity+"/cancel").forbidden(),
		create(who, comments, "parent", job, "text", "x").forbidden(),
		// What everybody keeps: their own preferences and read marks.
		create(who, "/v1/me/preferences", "owner", who, "key", "size", "value", "9"),
		post(who, "/v1/me/notifications:read", "ids", []string{"note-" + strings.TrimPrefix(string(who), "emp-")}),
	}
}

func join(lists ...[]step) []step { return slices.Concat(lists...) }

// clauses holds for each sentence of the manual what it allows and what it
// refuses, through the public interface. Each runs in a world of its own.
var serviceClauses = map[string][]step{
	"SVC-ADMIN-1": join(everything(SvcAdmin), []step{
		post(SvcAdmin, customers+"/client-dune/archive"),
		post(SvcAdmin, customers+"/client-dune/restore"),
	}),
	"SVC-MGR-1": everything(Manager),
	"SVC-MGR-2": {
		post(Manager, customers+"/client-dune/archive").forbidden(),
		post(SvcAdmin, customers+"/client-dune/archive"),
		post(Manager, customers+"/client-dune/restore").forbidden(),
		post(Manager, assets+"/asset-dune/archive"),
	},

	"SVC-ENG-1": {
		get(Engineer, customers).shows(everyClient...),
		get(Engineer, customers+"/client-dune").shows("accessNotes", "name").hides("accountNotes", "billingNotes", "debtorNotes", "deliveryNotes"),
		get(Engineer, "/v1/service/contacts").shows("contact-dune"),
		get(Engineer, "/v1/service/sites").shows("site-dune"),
		get(Nobody, customers).forbidden(),
		get(Nobody, customers+"/client-dune").absent(),
		synced(Engineer, append(ids(everyClient...), "contact-dune", "site-dune"), ids("task-acme-1", "contract-acme-1", "supplier-one")),
		carries(Engineer, "client-dune", ids("accessNotes", "name"), ids("accountNotes", "billingNotes", "debtorNotes", "deliveryNotes")),
		synced(Nobody, nil, everyClient),
		do(func(_ *testing.T, w *world) { w.Hide(Engineer, Dune) }),
		get(Engineer, customers).shows("client-acme").hides("client-dune"),
		asAbsent(Engineer, "GET", nil, customers+"/client-dune", "/v1/service/sites/site-dune"),
	},
	"SVC-ENG-2": {
		get(Engineer, assets).shows("asset-acme", "asset-dune"),
		get(Engineer, customers+"/client-dune/assets").shows("asset-dune").hides("asset-acme"),
		get(Basic, assets+"/asset-dune").absent(),
		synced(Engineer, ids("asset-acme", "asset-dune"), nil),
		synced(Basic, nil, ids("asset-acme", "asset-dune")),
	},
	"SVC-ENG-3": {
		create(Engineer, comments, "parent", "client-dune", "text", "Dog in the yard"),
		get(Engineer, customers+"/client-dune/comments").shows("comment-dune-1"),
		create(Engineer, comments, "parent", "job-acme-1", "text", "x").forbidden(),
		create(Guest, comments, "parent", "client-dune", "text", "x").forbidden(),
		synced(Engineer, ids("comment-dune-1"), ids("comment-dune-3", "comment-wide-1", "comment-task-dune")),
	},
	"SVC-ENG-4": {
		create(Engineer, comments, "parent", "asset-dune", "text", "Rusty"),
		rows(Row("comment", "comment-asset-1", "parent", "asset-dune", "text", "Loud")),
		get(Engineer, assets+"/asset-dune/comments").shows("comment-asset-1"),
		synced(Engineer, ids("comment-asset-1"), ids("comment-dune-3")),
		synced(Basic, nil, ids("comment-asset-1")),
		create(Engineer, comments, "parent", "site-dune", "text", "x").forbidden(),
	},
	"SVC-ENG-5": {
		get(Engineer, activities).shows("act-acme-1", "act-corp-1").hides("act-acme-2", "act-dune-1"),
		get(Engineer, activities+"/act-acme-1").shows("checklists", "title"),
		get(Engineer, activities+"/act-dune-1").absent(),
		get(Engineer, jobs).shows("job-acme-1").hides("job-dune-1"),
		rows(Row("job", "job-acme-1", "closedAt", "2026-03-01T10:00:00Z", "cancelReason", "Rain")),
		get(Engineer, jobs+"/job-acme-1").shows("site", "contact").hides("closedAt", "cancelReason"),
		seek(Engineer, jobs, "filter", "cancelReason contains rain").no(400, fault.UnknownField),
		seek(Engineer, jobs, "sort", "closedAt").no(400, fault.UnknownField),
		get(Engineer, jobs+"/job-acme-1/job-activities").shows("act-acme-1").hides("act-acme-2", "act-acme-3"),
		get(Engineer, times).shows("time-acme-1").hides("time-dune-1"),
		get(Engineer, "/v1/service/signatures/sign-dune-1").absent(),
		get(Engineer, "/v1/stock/stock-levels").shows("level-van-seal").hides("level-main-seal"),
		get(Engineer, "/v1/service/checklists").shows("checklist-one"),
		get(Engineer, tickets).shows("ticket-acme-3").hides("ticket-acme-1"),
		synced(Engineer, ids("act-acme-1", "act-corp-1", "job-acme-1", "time-acme-1", "sign-acme-1", "answer-acme-1", "level-van-seal", "van-engineer", "checklist-one", "agent-engineer", "ticket-acme-3"),
			ids("act-acme-2", "act-dune-1", "job-dune-1", "time-dune-1", "sign-dune-1", "level-main-seal", "warehouse-main", "ticket-acme-1", "invoice-acme")),
		carries(Engineer, "job-acme-1", ids("site", "contact", "title"), ids("closedAt", "cancelReason")),
		takesAway(Engineer, ids("act-acme-1", "job-acme-1", "time-acme-1", "comment-acme-2"), ids("act-corp-1", "job-corp-1", "client-acme"),
			post(Manager, activities+"/act-acme-1/assign", "assignee", Colleague)),
		synced(Colleague, ids("act-acme-1", "job-acme-1", "time-acme-1", "comment-acme-2"), nil),
	},
	"SVC-ENG-6": {
		patch(Engineer, activities+"/act-acme-1", "note", "On my way"),
		post(Engineer, activities+"/act-acme-1/travel"),
		post(Engineer, activities+"/act-acme-1/arrive", "position", json.RawMessage(`{"lat":1,"lng":2}`)),
		post(Engineer, activities+"/act-acme-1/start"),
		create(Engineer, times, "activity", "act-acme-1", "start", "2026-03-02T10:00:00Z", "kind", "work"),
		create(Engineer, "/v1/service/parts-used", "activity", "act-acme-1", "product", "product-seal", "quantity", 1),
		create(Engineer, "/v1/service/signatures", "activity", "act-acme-1", "signedBy", "Ms Acme", "signedAt", "2026-03-02T10:00:00Z"),
		create(Engineer, documents, "parent", "act-acme-1", "name", "photo.jpg"),
		patch(Engineer, times+"/time-acme-1", "note", "Long"),
		post(Engineer, activities+"/act-acme-1/clear", "workDone", "New seal"),
		patch(Engineer, activities+"/act-dune-1", "note", "x").absent(),
		post(Engineer, activities+"/act-dune-1/travel").absent(),
		create(Engineer, times, "activity", "act-dune-1", "start", "2026-03-02T10:00:00Z").no(422, fault.BadReference),
		post(Engineer, activities+"/act-corp-1/assign", "assignee", "emp-colleague").forbidden(),
		post(Engineer, activities+"/act-corp-1/cancel").forbidden(),
		remove(Engineer, times+"/time-acme-1").forbidden(),
		patch(Engineer, activities+"/act-acme-1", "assignee", "emp-colleague").no(422, fault.ImmutableField),
	},
	"SVC-ENG-7": {
		create(Engineer, comments, "parent", "act-acme-1", "text", "Done soon"),
		get(Engineer, activities+"/act-acme-1/comments").shows("comment-acme-2"),
		create(Engineer, comments, "parent", "act-dune-1", "text", "x").no(422, fault.BadReference),
		get(Engineer, comments+"/comment-dune-2").absent(),
		synced(Engineer, ids("comment-acme-2"), ids("comment-dune-2", "comment-acme-3")),
	},
	"SVC-ENG-8": {
		rows(Row("jobActivity", "act-acme-1", "status", "Cleared")),
		patch(Engineer, activities+"/act-acme-1", "note", "Still mine"),
		create(Engineer, times, "activity", "act-acme-1", "start", "2026-03-02T10:00:00Z"),
		post(Engineer, activities+"/act-acme-1/review").forbidden(),
		post(Manager, activities+"/act-acme-1/review"),
		patch(Engineer, activities+"/act-acme-1", "note", "x").forbidden(),
		create(Engineer, times, "activity", "act-acme-1", "start", "2026-03-02T10:00:00Z").forbidden(),
		patch(Engineer, times+"/time-acme-1", "note", "x").forbidden(),
		create(Engineer, documents, "parent", "act-acme-1", "name", "x.jpg").forbidden(),
		create(Engineer, comments, "parent", "act-acme-1", "text", "One more thing"),
		get(Engineer, activities+"/act-acme-1"),
		rows(Row("jobActivity", "act-corp-1", "status", "Cancelled")),
		patch(Engineer, activities+"/act-corp-1", "note", "x").forbidden(),
		post(Manager, activities+"/act-acme-1/reopen"),
		patch(Engineer, activities+"/act-acme-1", "note", "Mine again"),
	},
	"SVC-ENG-9": {
		patch(Engineer, customers+"/client-acme", "name", "x").forbidden(),
		remove(Engineer, customers+"/client-acme").forbidden(),
		post(Engineer, customers+"/client-acme/archive").forbidden(),
		patch(Manager, customers+"/client-acme", "name", "Acme anew"),
	},
	"SVC-ENG-10": {
		patch(Engineer, assets+"/asset-acme", "name", "x").forbidden(),
		create(Engineer, assets, "client", "client-acme", "name", "x").forbidden(),
		patch(Manager, assets+"/asset-acme", "name", "Boiler 2"),
	},
	"SVC-ENG-11": {
		patch(Engineer, jobs+"/job-acme-1", "title", "x").forbidden(),
		post(Engineer, jobs+"/job-acme-1/close").forbidden(),
		patch(Manager, jobs+"/job-acme-1", "title", "Mend it"),
	},
	"SVC-ENG-12": {
		get(Engineer, invoices).forbidden(),
		patch(Engineer, invoices+"/invoice-acme", "remarks", "x").absent(),
		create(Engineer, invoices, "client", "client-acme").forbidden(),
		patch(Manager, invoices+"/invoice-acme", "remarks", "Draft"),
	},
	"SVC-ENG-13": {
		get(Engineer, "/v1/service/service-agents").shows("agent-engineer"),
		patch(Engineer, "/v1/service/service-agents/agent-engineer", "phone", "1").forbidden(),
		patch(Engineer, employees+"/emp-engineer", "name", "Boss").forbidden(),
		patch(Engineer, employees+"/emp-colleague", "name", "x").absent(),
		patch(Manager, "/v1/service/service-agents/agent-engineer", "phone", "1"),
	},

	"SVC-REP-1": {
		get(Rep, customers).shows("client-acme", "client-blue").hides("client-corp", "client-dune"),
		get(Rep, jobs).shows("job-blue-1").hides("job-corp-1"),
		get(Rep, activities).shows("act-acme-2").hides("act-corp-1"),
		get(Rep, invoices).shows("invoice-acme").hides("invoice-dune"),
		get(Rep, documents).shows("document-acme-1").hides("document-acme-2", "document-corp-1"),
		get(Rep, "/v1/stock/products").shows("product-seal"),
		get(Rep, "/v1/stock/warehouses").shows("warehouse-main"),
		get(Rep, "/v1/stock/purchase-orders").forbidden(),
		asAbsent(Rep, "GET", nil, customers+"/client-corp", jobs+"/job-corp-1", activities+"/act-corp-1"),
		// An area that is given is there at once, and gone when it is taken.
		patch(Admin, employees+"/emp-sales-rep", "salesAreas", json.RawMessage(`{"add":["area-south"],"remove":["area-north"]}`)),
		get(Rep, customers).shows("client-corp", "client-dune").hides("client-acme"),
		synced(Rep, ids("client-corp", "job-corp-1", "act-dune-1", "invoice-dune", "document-corp-1", "product-seal"),
			ids("client-acme", "job-acme-1", "act-blue-1", "invoice-acme", "document-acme-1", "order-one-1", "supplier-one")),
		takesAway(Rep, ids("client-corp", "job-corp-1", "act-corp-1", "site-corp", "time-corp-1", "comment-corp-1"), ids("client-dune", "job-dune-1"),
			post(CRMAdmin, "/v1/crm/accounts/client-corp/set-area", "salesArea", AreaNorth)),
	},
	"SVC-REP-2": join(writes(Rep, "job-acme-1", "act-acme-1"), []step{
		patch(Rep, customers+"/client-acme", "name", "x").forbidden(),
		patch(Rep, customers+"/client-corp", "name", "x").absent(),
	}),

	"SVC-MGR-3": {
		create(Manager, "/v1/service/filters", "name", "Mine", "visibility", "private", "app", "service", "entityType", "job", "query", "status eq Open"),
		create(Manager, "/v1/service/filters", "name", "All", "visibility", "public", "app", "service", "entityType", "job", "query", "status eq Open").forbidden(),
		create(SvcAdmin, "/v1/service/filters", "name", "All", "visibility", "public", "app", "service", "entityType", "job", "query", "status eq Open"),
		// Another app's are not Service's to make.
		create(SvcAdmin, "/v1/crm/filters", "name", "All", "visibility", "public", "app", "crm", "entityType", "client").forbidden(),
	},

	"SVC-GAGENT-1": {
		get(GuestAgent, jobs).shows("job-acme-1", "job-blue-1", "job-corp-1", "job-dune-1"),
		rows(Row("job", "job-dune-1", "description", "Ring at the neighbour's")),
		get(GuestAgent, jobs+"/job-dune-1").shows("title", "status").hides("description", "site", "asset", "contact"),
		seek(GuestAgent, jobs, "filter", "description contains neighbour").no(400, fault.UnknownField),
		synced(GuestAgent, ids("job-acme-1", "job-dune-1"), append(ids(everyClient...), "asset-acme", "site-acme", "act-blue-3", "comment-acme-3")),
		carries(GuestAgent, "job-dune-1", ids("title", "status"), ids("description", "site", "asset", "contact")),
		do(func(t *testing.T, w *world) {
			// Every other root list is refused, but for one's own affairs and
			// the names that go with what is seen.
			own := []string{
				"employee", "device", "notification", "preference", "salesArea", "geoArea", "schedulingRole", "delegation",
				"report", "tag", "tagging", "filter", "conflict", "site",
			}
			for _, r := range w.rest.Routes() {
				if r.Kind == "list" && r.Type.Name != "job" && !slices.Contains(own, r.Type.Name) {
					get(GuestAgent, r.Path).forbidden().take(t, w)
				}
			}
			me := w.HTTP(GuestAgent, "GET", "/v1/me", nil).Object(t)
			if got := show(me["apps"]); got != `[{"app":"service","menu":["jobs"]}]` {
				t.Errorf("the menu is %s", got)
			}
		}),
		get(GuestAgent, customers+"/client-acme").absent(),
		get(GuestAgent, assets+"/asset-acme").absent(),
	},
	"SVC-GAGENT-2": {
		get(GuestAgent, jobs+"/job-blue-1/job-activities").shows("act-blue-3").hides("act-blue-1", "act-blue-2"),
		get(GuestAgent, activities+"/act-blue-3").shows("title", "context"),
		get(GuestAgent, jobs+"/job-acme-1/job-activities").hides("act-acme-1", "act-acme-2", "act-acme-3"),
		get(GuestAgent, activities+"/act-blue-1").absent(),
		get(GuestAgent, activities).forbidden(),
		synced(GuestAgent, nil, ids("act-blue-1", "act-blue-3")),
		pinned(GuestAgent, "job", "job-blue-1", ids("act-blue-3"), ids("act-blue-1", "act-blue-2", "act-acme-1", "site-acme", "client-blue")),
		carries(GuestAgent, "site-blue", ids("name"), ids("client", "clientId")), // where the own work is
		pinned(GuestAgent, "job", "job-acme-1", nil, ids("act-blue-3", "act-acme-1", "act-acme-2", "act-acme-3")),
	},
	"SVC-GAGENT-3": join(writes(GuestAgent, "job-blue-1", "act-blue-3"), []step{
		patch(GuestAgent, activities+"/act-blue-3", "note", "x").forbidden(),
		post(GuestAgent, activities+"/act-blue-3/accept").forbidden(),
	}),

	"SVC-GUEST-1": {
		get(Guest, customers).shows(everyClient...),
		get(Guest, activities).shows("act-acme-1", "act-dune-1"),
		get(Guest, invoices).shows("invoice-dune"),
		get(Guest, documents).shows("document-dune-1").hides("document-dune-2"),
		get(Guest, "/v1/stock/products").shows("product-seal"),
		get(Guest, tickets).forbidden(),
		synced(Guest, append(ids(everyClient...), "job-dune-1", "act-acme-1", "invoice-dune", "document-dune-1", "product-seal"),
			ids("ticket-acme-1", "document-dune-2", "supplier-one", "task-acme-1", "contract-acme-1")),
	},
	"SVC-GUEST-2": join(writes(Guest, "job-acme-1", "act-acme-1"), []step{
		patch(Guest, customers+"/client-acme", "name", "x").forbidden(),
		patch(Guest, invoices+"/invoice-acme", "remarks", "x").forbidden(),
	}),

	"MOB-1": {
		get(Engineer, mobileDay).shows("activities"), get(Guest, mobileDay).no(403, fault.MobileModuleRequired),
		pull(Engineer, "field", ""), pull(Onsite, "field", ""), pull(Guest, "field", fault.MobileModuleRequired),
	},
	"MOB-2": {
		get(Colleague, mobileDay).no(403, fault.MobileModuleRequired),
		get(Colleague, mobileTickets).no(403, fault.MobileModuleRequired),
		get(Colleague, "/mobile/v1/activities/act-dune-1").no(403, fault.MobileModuleRequired),
		post(Colleague, "/mobile/v1/activities/act-dune-1/travel").no(403, fault.MobileModuleRequired),
		do(func(t *testing.T, w *world) { // whatever the sign-in is on
			w.Send(w.DeviceToken(Colleague, "phone"), "GET", mobileDay, nil).Want(t, 403, string(fault.MobileModuleRequired))
		}),
		pull(Colleague, "field", fault.MobileModuleRequired), pull(Colleague, "office", ""), get(Colleague, activities).shows("act-dune-1"),
	},
	"MOB-3": {
		pull(MobileOnly, "field", ""),
		get(MobileOnly, mobileDay).quiet("act-", "job-", "client-"), get(MobileOnly, mobileTickets).quiet("ticket-acme"),
		get(MobileOnly, "/mobile/v1/activities/act-acme-1").absent(), get(MobileOnly, mobileTickets+"/ticket-acme-1").absent(),
		get(MobileOnly, jobs).forbidden(), get(MobileOnly, customers+"/client-acme").absent(), get(MobileOnly, tickets).forbidden(),
		get(MobileOnly, "/v1/me").quiet("service\""),
	},

	"BM-LEVEL-1": {
		get(Basic, "/v1/stock/suppliers").forbidden(),
		create(Admin, assigned, "employee", Basic, "role", "level.ticket-manager"),
		get(Basic, "/v1/stock/suppliers").shows("supplier-one"),            // the new level
		create(Basic, documents, "parent", "client-acme", "name", "a.pdf"), // the old one
		create(Ticketer, assigned, "employee", Ticketer, "role", "service.administrator").forbidden(),
		create(Manager, assigned, "employee", Manager, "role", "service.administrator").forbidden(),
		synced(Basic, ids("supplier-one", "ticket-acme-2", "client-acme"), ids("task-acme-1", "role-basic-1")),
	},
	"BM-LEVEL-2": {
		get(Contractor, jobs).shows("job-acme-1"),
		patch(Contractor, jobs+"/job-acme-1", "title", "Mended"),
		// No records without a client, unless a grant names them.
		get(Contractor, "/v1/service/checklists").hides("checklist-one"),
		get(Contractor, "/v1/stock/products").shows("product-seal"),
		get(Staff, "/v1/crm/sales-areas").forbidden(),
		do(func(t *testing.T, w *world) {
			w.Person("emp-coder", "level.ticket-manager")
			w.Import(Row("employee", "emp-coder", "kind", "programmer"))
			get("emp-coder", updates).shows("update-acme-1").hides("update-acme-2").take(t, w)
		}),
		synced("emp-coder", ids("update-acme-1", "ticket-acme-1", "job-acme-1"), ids("update-acme-2", "supplier-one", "level-main-seal")),
		synced(Contractor, ids("job-acme-1", "product-seal"), ids("job-blue-1", "checklist-one", "agent-engineer")),
	},
	"BM-LEVEL-3": {
		do(func(t *testing.T, w *world) { limited(t, w, Corp) }),
		get("emp-limited", jobs).shows("job-corp-1").hides("job-acme-1", "job-blue-1", "job-dune-1"),
		asAbsent("emp-limited", "GET", nil, jobs+"/job-acme-1", customers+"/client-blue"),
		patch("emp-limited", jobs+"/job-corp-1", "title", "Mended"),
		create("emp-limited", jobs, "client", "client-acme", "title", "x").no(422, fault.BadReference),
		synced("emp-limited", ids("client-corp", "job-corp-1"), ids("client-acme", "job-acme-1", "act-blue-1", "job-dune-1")),
	},
	"BM-LEVEL-4": {
		create(Admin, orgRoles, "name", "Service desk", "baseRoles", []string{"service.manager", "level.ticket-manager"}, "apps", []string{"service"}),
		do(func(t *testing.T, w *world) {
			id := w.HTTP(Admin, "GET", orgRoles+`?filter=name%20eq%20"Service%20desk"`, nil).IDs(t)[0]
			w.Person("emp-desk", id)
		}),
		get("emp-desk", jobs).shows("job-acme-1"),
		get("emp-desk", tickets).forbidden(),
		get("emp-desk", "/v1/stock/suppliers").forbidden(),
		synced("emp-desk", ids("job-acme-1", "client-acme"), ids("ticket-acme-1", "update-acme-1", "supplier-one")),
	},
	"BM-LEVEL-5": {
		create(Admin, orgRoles, "name", "Blurred", "baseRoles", []string{"service.manager"}, "cutFields", []string{"client.accessNotes", "job.description"}),
		do(func(t *testing.T, w *world) {
			id := w.HTTP(Admin, "GET", orgRoles+`?filter=name%20eq%20Blurred`, nil).IDs(t)[0]
			w.Person("emp-blurred", id)
		}),
		get("emp-blurred", customers+"/client-acme").shows("name").hides("accessNotes"),
		patch("emp-blurred", customers+"/client-acme", "name", "Acme again"),
		patch("emp-blurred", customers+"/client-acme", "accessNotes", "x").no(400, fault.UnknownField),
		seek("emp-blurred", customers, "filter", "accessNotes contains access").no(400, fault.UnknownField),
		seek("emp-blurred", jobs, "filter", "description null").no(400, fault.UnknownField),
		seek("emp-blurred", customers, "sort", "accessNotes").no(400, fault.UnknownField),
		create("emp-blurred", jobs, "client", "client-acme", "title", "x", "description", "x").no(400, fault.UnknownField),
		carries("emp-blurred", "client-acme", ids("name"), ids("accessNotes")),
		get("emp-blurred", customers+":export?format=csv").quiet("accessNotes", "access-acme"),
	},

	"BM-ADMIN-1": {
		post(Admin, employees+"/emp-admin/disable").no(409, fault.LastAdministrator),
		do(func(t *testing.T, w *world) {
			id := w.HTTP(Admin, "GET", assigned+"?filter=employee%20eq%20emp-admin", nil).IDs(t)[0]
			remove(Admin, assigned+"/"+id).no(409, fault.LastAdministrator).take(t, w)
			patch(Admin, assigned+"/"+id, "until", "2027-01-01T00:00:00Z").no(409, fault.LastAdministrator).take(t, w)
			create(Admin, visible, "employee", Admin, "mode", "only").no(409, fault.LastAdministrator).take(t, w)
			w.Give(Basic, "level.customer-administrator", "until", "2026-06-01T00:00:00Z")
			remove(Admin, assigned+"/"+id).no(409, fault.LastAdministrator).take(t, w) // one with an end is none
			w.Person("emp-second", "level.customer-administrator")
			remove(Admin, assigned+"/"+id).status204().take(t, w)
		}).as(allowing | refusing),
		get(Admin, assigned).forbidden(),
	},
	"BM-ADMIN-2": {
		create(Admin, employees, "name", "New", "email", "new@example.com", "kind", "in-house"),
		patch(Admin, employees+"/emp-basic", "phone", "1"),
		post(Admin, employees+"/emp-leaver/enable"),
		create(Admin, employees, "name", "Twice", "email", "BASIC@example.com", "kind", "in-house").no(409, fault.Duplicate),
		create(SvcAdmin, employees, "name", "x", "email", "x@example.com", "kind", "in-house").forbidden(),
		create(Ticketer, employees, "name", "x", "email", "x@example.com", "kind", "in-house").forbidden(),
		synced(Admin, ids("emp-basic", "emp-leaver", "role-basic-1", "visible-blind"), ids("pref-basic", "note-basic", "tag-secret-rep")),
		synced(SvcAdmin, nil, ids("emp-leaver", "role-basic-1", "visible-blind")),
	},
	"BM-ADMIN-3": {
		get(Guest, jobs),
		post(Admin, employees+"/emp-guest/disable"),
		get(Guest, jobs).no(401, fault.SessionRevoked),
		remove(Admin, employees+"/emp-basic").no(409, fault.HasDependents), // work bears the name
		remove(Admin, employees+"/emp-mobile-only"),
		get(Admin, assigned).hides("role-mobile-only-1"),
		synced(Admin, ids("emp-guest", "role-guest-1"), ids("emp-mobile-only", "role-mobile-only-1")),
		remove(SvcAdmin, employees+"/emp-nobody").absent(),
		post(Engineer, employees+"/emp-engineer/disable").forbidden(),
		post(Ticketer, employees+"/emp-basic/disable").forbidden(),
	},
	"BM-ADMIN-4": {
		create(Admin, orgRoles, "name", "Reader", "baseRoles", []string{"service.guest"}),
		patch(Admin, orgRoles+"/orgrole-1", "name", "Front desk"),
		create(SvcAdmin, orgRoles, "name", "x").forbidden(),
		get(SvcAdmin, orgRoles).forbidden(),
		synced(Admin, ids("orgrole-1"), nil), synced(SvcAdmin, nil, ids("orgrole-1")),
	},
	"BM-ADMIN-5": {
		create(Admin, "/v1/admin/scheduling-roles", "name", "Electric"),
		patch(Manager, "/v1/admin/scheduling-roles/skill-gas-1", "name", "x").forbidden(),
		create(Manager, "/v1/admin/scheduling-roles", "name", "x").forbidden(),
		patch(Admin, "/v1/admin/scheduling-roles/skill-gas-1", "description", "Boilers"),
		// The skills there are the house knows, and nobody outside it.
		synced(Manager, ids("skill-gas-1"), nil), synced(Staff, nil, ids("skill-gas-1")),
	},
	"BM-ADMIN-6": {
		get(Admin, customers+"/client-acme").shows("accountNotes", "accessNotes", "billingNotes", "debtorNotes", "deliveryNotes"),
		get(Admin, activities).shows("act-acme-1", "act-dune-1"),
		get(Admin, tickets).shows("ticket-acme-1"),
		get(Admin, "/v1/stock/suppliers").shows("supplier-one"),
		patch(Admin, jobs+"/job-acme-1", "title", "x").forbidden(),
		post(Admin, tickets+"/ticket-acme-1/close").forbidden(),
		get(Admin, "/v1/me/preferences").shows("pref-admin").hides("pref-basic"),
		create(Admin, reports, "name", "Jobs by kind", "app", "service", "entityType", "job", "groupBy", []string{"kind"}),
		create(SvcAdmin, reports, "name", "x", "app", "service", "entityType", "job").forbidden(),
		rows(Row("report", "report-jobs", "name", "Jobs", "app", "service", "entityType", "job", "groupBy", []string{"kind"})),
		get(Admin, reports+"/report-jobs/result").shows("groups", "total"),
		// Whoever else is shown it sees what they may see of it, and changes it not.
		get(Rep, reports+"/report-jobs/result").shows("total"),
		patch(Rep, reports+"/report-jobs", "name", "x").forbidden(),
		remove(Manager, reports+"/report-jobs").forbidden(),
		get(Staff, reports).forbidden(),
		patch(Admin, reports+"/report-jobs", "name", "All jobs"),
		synced(Admin, ids("client-acme", "job-acme-1", "ticket-acme-1", "supplier-one", "payment-acme-1", "task-acme-1", "report-jobs"), ids("pref-basic", "tag-secret-rep")),
		carries(Admin, "client-acme", ids("accountNotes", "accessNotes", "billingNotes", "debtorNotes", "deliveryNotes"), nil),
		remove(Admin, reports+"/report-jobs"),
	},
	"BM-ADMIN-7": {
		get(Admin, "/v1/admin/quarantine"),
		get(Admin, "/v1/admin/holders?client=client-acme"),
		imports(Admin, ""), imports(SvcAdmin, fault.NotAllowed), imports(Ticketer, fault.NotAllowed),
		rows(Row("importRun", "import-one", "mapping", "clients.csv", "started", "2026-03-01T10:00:00Z", "created", 3)),
		get(Admin, "/v1/admin/import-runs").shows("import-one"), get(SvcAdmin, "/v1/admin/import-runs").forbidden(),
		synced(Admin, ids("import-one"), nil), synced(SvcAdmin, nil, ids("import-one")),
		get(Admin, "/v1/stock/customers:export?format=csv"), get(Admin, "/v1/debtors/payments:export?format=csv"),
		get(SvcAdmin, "/v1/debtors/payments:export?format=csv").forbidden(),
		create(Admin, "/v1/admin/settings", "key", "read-notifications-kept", "on", true, "days", 90),
		create(SvcAdmin, "/v1/admin/settings", "key", "unread-notifications-kept", "on", true, "days", 90).forbidden(),
		get(SvcAdmin, "/v1/admin/quarantine").forbidden(),
		get(Ticketer, "/v1/admin/holders?client=client-acme").forbidden(),
		get(Onsite, "/v1/admin/explain?principal=emp-basic&action=view&type=job&id=job-acme-1").forbidden(),
	},

	"BM-BASIC-1": {
		create(Basic, tickets, "client", "client-corp", "subject", "Cold"),
		create(Staff, tickets, "client", "client-acme", "subject", "Cold", "priority", "high"),
		get(Basic, tickets).shows("ticket-acme-1", "ticket-corp-1").hides("ticket-acme-2", "ticket-acme-3"),
		get(Staff, tickets).shows("ticket-acme-3").hides("ticket-acme-1", "ticket-blue-1"),
		create(Basic, tickets, "client", "client-corp", "subject", "x", "assignee", "emp-engineer").no(403, fault.FieldNotAllowed),
		create(Staff, tickets, "client", "client-blue", "subject", "x").no(422, fault.BadReference),
		create(Nobody, tickets, "client", "client-corp", "subject", "x").forbidden(),
		create(Basic, updates, "ticket", "ticket-acme-1", "visibility", "public", "kind", "reply", "text", "And?"),
		create(Basic, updates, "ticket", "ticket-acme-1", "visibility", "internal", "kind", "note", "text", "x").forbidden(),
		patch(Basic, tickets+"/ticket-acme-1", "subject", "x").forbidden(),
		synced(Basic, ids("ticket-acme-1", "ticket-corp-1", "update-acme-1"), ids("ticket-acme-2", "ticket-acme-3", "update-acme-2")),
		synced(Staff, ids("ticket-acme-3"), ids("ticket-acme-1", "ticket-blue-1", "update-acme-1")),
	},
	"BM-BASIC-2": {
		post(Basic, tickets+"/ticket-acme-1/request-update", "message", "Any news?"),
		post(Staff, tickets+"/ticket-acme-3/request-update"),
		post(Staff, tickets+"/ticket-acme-1/request-update").absent(),
		post(Basic, tickets+"/ticket-acme-2/request-update").absent(),
		post(Engineer, tickets+"/ticket-acme-3/request-update").forbidden(),
	},
	"BM-BASIC-3": {
		get(Basic, "/v1/helpdesk/customers").shows(everyClient...),
		get(Basic, "/v1/helpdesk/customers/client-acme").shows("name", "city").hides("accessNotes", "accountNotes", "billingNotes"),
		get(Basic, "/v1/helpdesk/customers/client-acme/contacts").shows("contact-acme"),
		get(Basic, "/v1/helpdesk/sites").shows("site-corp"),
		get(Basic, jobs).forbidden(),
		get(Basic, customers+"/client-acme/jobs").forbidden(),
		synced(Basic, append(ids(everyClient...), "contact-acme", "site-corp"), ids("job-acme-1", "asset-acme", "task-acme-1", "emp-guest")),
		carries(Basic, "client-acme", ids("name", "city"), ids("accessNotes", "accountNotes", "billingNotes", "debtorNotes")),
		patch(Basic, "/v1/helpdesk/customers/client-acme", "name", "x").forbidden(),
	},
	"BM-BASIC-4": {
		create(Basic, documents, "parent", "client-corp", "name", "offer.pdf"),
		create(Basic, documents, "parent", "ticket-acme-1", "name", "photo.jpg"),
		create(Staff, documents, "parent", "site-acme", "name", "plan.pdf"),
		get(Basic, documents).hides("document-acme-1", "document-acme-2"),
		attached(Basic, "client-corp", []ident.RecordID{Basic}, []ident.RecordID{Staff, Nobody}),
		attached(Staff, "site-acme", []ident.RecordID{Staff}, []ident.RecordID{Basic, Nobody}),
		upload(Nobody, "document-acme-1", "x").no(403, fault.NotAllowed),
		do(func(t *testing.T, w *world) { // bytes for somebody else's come to nothing
			upload(Basic, "document-acme-1", "from somebody else").take(t, w)
			get(Manager, documents+"/document-acme-1/content").absent().take(t, w)
			get(Basic, documents+"/document-acme-1/content").absent().take(t, w)
			get(Manager, "/v1/service/documents/document-acme-1").blank("sha256", "size").take(t, w)
		}).as(refusing),
		create(Staff, documents, "parent", "client-blue", "name", "x").no(422, fault.BadReference),
		create(Basic, documents, "parent", "ticket-acme-2", "name", "x").no(422, fault.BadReference),
		create(Nobody, documents, "parent", "client-corp", "name", "x").forbidden(),
		rows(Row("document", "document-basic", "parent", "client-acme", "name", "offer.pdf", "uploadedBy", Basic)),
		get(Basic, documents).shows("document-basic"), get(Staff, documents).hides("document-basic"),
		synced(Basic, ids("document-basic"), ids("document-acme-1", "document-acme-2")), synced(Staff, nil, ids("document-basic")),
	},
	"BM-BASIC-5": {
		get(Staff, "/v1/helpdesk/customers").shows("client-acme").hides("client-blue", "client-corp", "client-dune"),
		get(Staff, "/v1/helpdesk/sites").shows("site-acme").hides("site-blue"),
		asAbsent(Staff, "GET", nil, "/v1/helpdesk/customers/client-blue", "/v1/helpdesk/sites/site-corp"),
		// Whatever roles they hold.
		do(func(t *testing.T, w *world) {
			w.Give(Staff, "service.administrator")
			w.Give(Staff, "stock.guest")
		}),
		get(Staff, jobs).shows("job-acme-1").hides("job-blue-1", "job-corp-1"),
		get(Staff, jobs+"/job-blue-1").absent(),
		get(Staff, "/v1/stock/suppliers").hides("supplier-one"),
		get(Staff, employees).hides("emp-manager", "emp-guest"),
		synced(Staff, ids("client-acme", "job-acme-1", "site-acme", "asset-acme"),
			ids("client-blue", "job-blue-1", "site-blue", "act-corp-1", "contact-dune", "supplier-one", "product-valve", "emp-guest")),
	},

	"BM-TMGR-1": {
		get(Ticketer, tickets).shows("ticket-acme-1", "ticket-dune-1", "ticket-blue-2"),
		create(Ticketer, tickets, "client", "client-dune", "subject", "Phone call", "assignee", "emp-engineer"),
		post(Ticketer, tickets+"/ticket-dune-1/assign", "assignee", "emp-colleague"),
		patch(Ticketer, tickets+"/ticket-dune-1", "priority", "urgent"),
		post(Ticketer, tickets+"/ticket-dune-1/close"),
		post(Ticketer, tickets+"/ticket-dune-1/reopen"),
		create(Ticketer, updates, "ticket", "ticket-corp-1", "visibility", "internal", "kind", "note", "text", "Hm"),
		get(Ticketer, updates).shows("update-corp-1", "update-corp-2"),
		synced(Ticketer, ids("ticket-acme-2", "ticket-dune-1", "update-corp-1", "update-corp-2", "document-acme-2"), ids("task-acme-1", "comment-task-acme")),
		post(Ticketer, tickets+"/ticket-blue-1/assign", "assignee", "emp-blind").no(422, fault.AssigneeNotEligible),
		post(Ticketer, tickets+"/ticket-blue-1/assign", "assignee", "emp-staff").no(422, fault.AssigneeNotEligible),
		remove(Ticketer, tickets+"/ticket-dune-1").forbidden(),
		post(Basic, tickets+"/ticket-dune-1/assign", "assignee", "emp-basic").forbidden(),
	},
	"BM-TMGR-2": {
		get(Ticketer, jobs).shows("job-acme-1", "job-dune-1"),
		get(Ticketer, assets).shows("asset-dune"),
		get(Ticketer, "/v1/stock/stock-levels").shows("level-main-seal"),
		get(Ticketer, "/v1/stock/suppliers").shows("supplier-one"),
		get(Ticketer, customers+"/client-acme").shows("accessNotes", "deliveryNotes").hides("accountNotes", "debtorNotes", "billingNotes"),
		patch(Ticketer, jobs+"/job-acme-1", "title", "x").forbidden(),
		synced(Ticketer, ids("job-acme-1", "asset-dune", "level-main-seal", "supplier-one", "sale-acme-1"), ids("payment-acme-1", "contract-acme-1", "task-acme-1", "accrual-acme")),
		carries(Ticketer, "client-acme", ids("accessNotes", "deliveryNotes"), ids("accountNotes", "debtorNotes", "billingNotes")),
	},
	"BM-TMGR-3": {
		get(Ticketer, assigned).forbidden(),
		create(Ticketer, assigned, "employee", Ticketer, "role", "level.customer-administrator").forbidden(),
		create(Ticketer, visible, "employee", Basic, "mode", "only").forbidden(),
		create(Ticketer, orgRoles, "name", "x").forbidden(),
		get(Ticketer, "/v1/admin/quarantine").forbidden(),
		get(Admin, assigned).shows("role-basic-1"),
		synced(Ticketer, nil, ids("role-basic-1", "visible-blind", "rule-blind", "orgrole-1")),
	},

	"BM-IND-1": {
		get(Basic, assets).forbidden(),
		create(Admin, permits, "employee", Basic, "effect", "grant", "verb", "view", "entityType", "asset"),
		get(Basic, assets).shows("asset-dune"),
		synced(Basic, ids("asset-dune"), ids("job-dune-1")),
		takesAway(Guest, ids("invoice-acme", "invoice-dune"), ids("job-acme-1"),
			create(Admin, permits, "employee", Guest, "effect", "denial", "verb", "view", "entityType", "invoice")),
		get(Guest, invoices).forbidden(),
		get(Guest, invoices+"/invoice-acme").absent(),
		create(Admin, permits, "employee", Manager, "effect", "denial", "verb", "edit", "entityType", "job"),
		patch(Manager, jobs+"/job-acme-1", "title", "x").forbidden(),
		create(Admin, permits, "employee", Manager, "effect", "denial", "verb", "view", "entityType", "client", "field", "accessNotes"),
		get(Manager, customers+"/client-acme").shows("name").hides("accessNotes"),
		carries(Manager, "client-acme", ids("name"), ids("accessNotes")),
		patch(Manager, customers+"/client-acme", "accessNotes", "x").no(400, fault.UnknownField),
		create(Manager, permits, "employee", Manager, "effect", "grant", "verb", "view", "entityType", "ticket").forbidden(),
	},
	"BM-IND-2": {
		do(func(t *testing.T, w *world) {
			w.Person("emp-basic-two", "level.basic")
			w.Permit(Basic, "grant", "verb", "view", "entityType", "asset")
			w.Permit("emp-basic-two", "denial", "entityType", "contact")
		}),
		get(Basic, assets).shows("asset-dune"), get("emp-basic-two", assets).forbidden(), get(Staff, assets).forbidden(),
		get("emp-basic-two", "/v1/helpdesk/contacts").forbidden(), get(Basic, "/v1/helpdesk/contacts").shows("contact-acme"),
		// A grant to one person never unhides a client.
		do(func(t *testing.T, w *world) {
			w.Permit(Blind, "grant", "verb", "view", "entityType", "ticket")
			w.Permit(Blind, "grant", "verb", "view", "entityType", "job")
		}),
		get(Blind, tickets).shows("ticket-acme-1").hides("ticket-blue-1"),
		get(Blind, jobs+"/job-blue-1").absent(),
		synced(Blind, ids("ticket-acme-1", "job-acme-1"), ids("ticket-blue-1", "job-blue-1")),
		synced(Staff, nil, ids("asset-acme")), synced("emp-basic-two", ids("client-acme"), ids("contact-acme", "asset-acme")),
	},

	"BM-ONSITE-1": {
		get(Onsite, employees).shows("emp-staff", "emp-liaison", "emp-onsite").hides("emp-manager", "emp-guest", "emp-nobody"),
		get(Liaison, employees).shows("emp-staff", "emp-onsite").hides("emp-manager", "emp-guest"),
		get(Onsite, employees+"/emp-staff").shows("name", "phone", "kind").hides("email"),
		get(Onsite, employees+"/emp-manager").absent(),
		patch(Onsite, employees+"/emp-staff", "phone", "x").forbidden(),
		synced(Onsite, ids("emp-staff", "emp-liaison", "onsite-row-1"), ids("emp-manager", "emp-guest", "emp-nobody")),
		carries(Onsite, "emp-staff", ids("name", "phone", "kind"), ids("email")),
	},
	"BM-ONSITE-2": {
		post(Onsite, tickets+"/ticket-acme-1/assign", "assignee", "emp-staff"),
		post(Onsite, tickets+"/ticket-acme-1/assign", "assignee", "emp-onsite"),
		post(Liaison, tickets+"/ticket-acme-2/assign", "assignee", "emp-liaison"),
		do(func(t *testing.T, w *world) { // from the phone
			w.Send(w.DeviceToken(Onsite, "phone"), "POST", tickets+"/ticket-acme-2/assign", Object("assignee", "emp-staff")).Want(t, 200, "")
		}),
		post(Onsite, mobileTickets+"/ticket-acme-3/assign", "assignee", "emp-staff"),
		get(Onsite, mobileTickets+"/ticket-acme-1/assignees").shows("emp-staff", "emp-onsite").hides("emp-engineer", "emp-manager"),
		post(Onsite, mobileTickets+"/ticket-acme-1/assign", "assignee", "emp-engineer").no(422, fault.AssigneeNotEligible),
		post(Onsite, mobileTickets+"/ticket-blue-1/assign", "assignee", "emp-staff").absent(),
		get(Onsite, mobileTickets+"/ticket-blue-1/assignees").absent(),
		post(Staff, mobileTickets+"/ticket-acme-1/assign", "assignee", "emp-staff").no(403, fault.MobileModuleRequired),
		post(Onsite, tickets+"/ticket-acme-1/assign", "assignee", "emp-engineer").no(422, fault.AssigneeNotEligible),
		post(Onsite, tickets+"/ticket-acme-1/assign", "assignee", "never-was-1").no(422, fault.AssigneeNotEligible),
		post(Onsite, tickets+"/ticket-blue-1/assign", "assignee", "emp-staff").absent(),
	},
	"BM-ONSITE-3": {
		get(Onsite, tickets).shows("ticket-acme-1", "ticket-acme-3").hides("ticket-blue-1", "ticket-corp-1"),
		create(Onsite, tickets, "client", "client-acme", "subject", "Leak"),
		post(Onsite, tickets+"/ticket-acme-1/resolve", "resolution", "Sealed"),
		get(Onsite, "/v1/helpdesk/customers").shows("client-acme").hides("client-blue"),
		asAbsent(Onsite, "GET", nil, tickets+"/ticket-blue-1", "/v1/helpdesk/customers/client-blue"),
		create(Onsite, tickets, "client", "client-blue", "subject", "x").no(422, fault.BadReference),
		get(Onsite, jobs).forbidden(),
		synced(Onsite, ids("ticket-acme-1", "ticket-acme-3", "update-acme-2", "client-acme", "site-acme"), ids("ticket-blue-1", "client-blue", "update-blue-1", "job-acme-1")),
		// Being onsite ends with the row.
		takesAway(Onsite, ids("ticket-acme-2", "client-acme", "emp-staff"), ids("emp-onsite"), remove(Admin, "/v1/admin/onsite-clients/onsite-row-1")),
		get(Onsite, tickets+"/ticket-acme-2").absent(),
	},

	"BM-CLIENT-1": {
		get(Manager, customers).shows("client-corp"),
		create(Admin, visible, "employee", Manager, "mode", "all-but"),
		do(func(t *testing.T, w *world) {
			id := w.HTTP(Admin, "GET", visible+"?filter=employee%20eq%20emp-manager", nil).IDs(t)[0]
			takesAway(Manager, ids("client-corp", "job-corp-1", "act-corp-1", "contact-corp"), ids("client-acme", "job-acme-1"),
				create(Admin, rules, "visibility", id, "client", "client-corp")).take(t, w)
		}).as(allowing | refusing | onDevices),
		get(Manager, customers).hides("client-corp"),
		get(SvcAdmin, customers).shows("client-corp"),
		create(SvcAdmin, visible, "employee", Guest, "mode", "only").forbidden(),
		get(Manager, visible).forbidden(),
		get(Blind, rules).forbidden(),
	},
	"BM-CLIENT-2": {
		get(Blind, customers).shows("client-acme").hides("client-blue"),
		get(Blind, jobs).shows("job-acme-1").hides("job-blue-1"),
		get(Blind, activities).hides("act-blue-1", "act-blue-2"),
		asAbsent(Blind, "GET", nil, customers+"/client-blue", jobs+"/job-blue-1", activities+"/act-blue-1", "/v1/service/sites/site-blue",
			"/v1/service/contacts/contact-blue", invoices+"/invoice-blue", comments+"/comment-blue-1", times+"/time-blue-1",
			customers+"/client-blue/jobs", jobs+"/job-blue-1/job-activities"),
		asAbsent(Blind, "PATCH", Object("title", "x"), jobs+"/job-blue-1"),
		asAbsent(Blind, "DELETE", nil, jobs+"/job-blue-1", customers+"/client-blue"),
		asAbsent(Blind, "POST", Object("assignee", "emp-engineer"), activities+"/act-blue-2/assign"),
		synced(Blind, ids("client-acme", "job-acme-1", "act-acme-1"), ofBlue),
		// What is made there later does not come either.
		rows(Row("job", "job-blue-later", "client", Blue, "title", "Later")),
		synced(Blind, nil, ids("job-blue-later")), get(Blind, jobs).hides("job-blue-later"),
	},
	"BM-CLIENT-5": {
		get(Blind, assets).shows("asset-acme").hides("asset-blue"),
		seek(Blind, assets, "q", "blue").hides("asset-blue").quiet("blue"),
		asAbsent(Blind, "GET", nil, assets+"/asset-blue"),
		get(Manager, assets).shows("asset-blue"),
		// What is ordered, lies or moves for it, whoever else is told of it.
		given(Blind, "stock.guest"),
		get(Blind, sales).shows("sale-acme-1").hides("sale-blue-1", "sale-blue-2", "sale-blue-3"),
		get(Blind, movements).shows("movement-acme-1").hides("movement-blue-1"),
		get(Blind, levels+"/level-two-hose").shows("quantity").quiet("blue"),
		get(Blind, products+"/product-hose/stock-movements").shows("movement-acme-1").hides("movement-blue-1"),
		asAbsent(Blind, "GET", nil, sales+"/sale-blue-1", movements+"/movement-blue-1"),
		synced(Blind, ids("asset-acme", "sale-acme-1", "movement-acme-1", "level-two-hose"), ids("asset-blue", "sale-blue-1", "sale-blue-3", "movement-blue-1")),
	},
	"BM-CLIENT-6": {
		get(Blind, "/v1/service/parts-used").shows("part-acme-1").hides("part-blue-1"),
		asAbsent(Blind, "GET", nil, "/v1/service/parts-used/part-blue-1"),
		get(Blind, "/v1/stock/products/product-seal/parts-used").shows("part-acme-1").hides("part-blue-1"),
		given(Blind, "stock.warehouse-operations"),
		get(Blind, partOrders).shows("parts-acme-1").hides("parts-blue-1", "parts-blue-2"),
		get(Blind, products+"/product-pump/part-orders").shows("parts-acme-1").hides("parts-blue-1"),
		seek(Blind, partOrders, "filter", "job eq job-blue-1").quiet("parts-blue"),
		asAbsent(Blind, "GET", nil, partOrders+"/parts-blue-1"),
		asAbsent(Blind, "POST", nil, partOrders+"/parts-blue-1/order"),
		create(Blind, partOrders, "client", "client-blue", "product", "product-pump", "quantity", 1).no(422, fault.BadReference),
		synced(Blind, ids("part-acme-1", "parts-acme-1"), ids("part-blue-1", "parts-blue-1", "parts-blue-2")),
	},
	"BM-CLIENT-7": {
		get(Manager, jobs).shows("job-blue-1"),
		seek(Blind, jobs, "q", "blue").hides("job-blue-1").quiet("blue"),
		seek(Blind, jobs, "filter", "client eq client-blue").quiet("job-blue"),
		seek(Blind, jobs, "filter", "id in (job-blue-1, job-acme-1)").shows("job-acme-1").hides("job-blue-1"),
		seek(Blind, jobs, "sort", "-title", "limit", "200").quiet("blue"),
		get(Blind, "/v1/explain?action=view&type=job&id=job-blue-1").absent().quiet("blue ltd", "rule"),
		get(Blind, "/v1/service/service-agents").quiet("blue"),
		get(Blind, "/v1/me").quiet("client-blue", "rule"),
		get(Blind, "/v1/me/notifications").quiet("blue"),
		get(Blind, jobs+":export?format=csv").quiet("blue"), get(Blind, customers+":export?format=csv").quiet("blue"),
		get(Blind, activities+"/act-acme-2/assignees?q=blue").quiet("blue"),
		rows(Row("report", "report-jobs", "name", "Jobs", "app", "service", "entityType", "job")),
		do(func(t *testing.T, w *world) {
			count := func(who ident.RecordID) float64 {
				total, _ := w.HTTP(who, "GET", reports+"/report-jobs/result", nil).Want(t, 200, "").Object(t)["total"].(map[string]any)
				n, _ := total["count"].(float64)
				return n
			}
			if seen, all := count(Blind), count(Manager); seen != 3 || all != 4 {
				t.Errorf("of %v jobs %v are counted", all, seen)
			}
		}).as(refusing),
		do(func(t *testing.T, w *world) {
			// Of what a device never held it is told no removal.
			d := newTablet(t, w, Blind)
			d.lacks(ofBlue...)
			rows(Row("job", "job-blue-brief", "client", Blue, "title", "Brief")).take(t, w)
			if gone := d.pull(); len(gone) > 0 {
				t.Errorf("told of %v", gone)
			}
			remove(SvcAdmin, jobs+"/job-blue-brief").take(t, w)
			post(SvcAdmin, activities+"/act-blue-2/cancel").take(t, w)
			if gone := d.pull(); len(gone) > 0 {
				t.Errorf("told of %v", gone)
			}
		}).as(refusing | onDevices),
		create(Blind, jobs, "client", "client-blue", "title", "x").no(422, fault.BadReference),
		do(func(t *testing.T, w *world) {
			hidden := w.HTTP(Blind, "POST", jobs, Object("client", "client-blue", "title", "x"))
			never := w.HTTP(Blind, "POST", jobs, Object("client", "never-was-1", "title", "x"))
			if !bytes.Equal(hidden.Body, never.Body) {
				t.Errorf("%s / %s", hidden.Body, never.Body)
			}
			// What else refers to it is refused in the same words.
			for _, f := range []string{"site", "contact", "asset"} {
				hidden := w.HTTP(Blind, "PATCH", jobs+"/job-acme-1", Object(f, f+"-blue"))
				never := w.HTTP(Blind, "PATCH", jobs+"/job-acme-1", Object(f, "never-was-1"))
				if hidden.Status != 422 || !bytes.Equal(hidden.Body, never.Body) {
					t.Errorf("%s / %s", hidden.Body, never.Body)
				}
			}
		}),
	},
	"BM-CLIENT-8": {
		get(Contractor, customers).shows("client-acme").hides("client-blue", "client-corp", "client-dune"),
		get(Contractor, jobs).shows("job-acme-1").hides("job-blue-1", "job-dune-1"),
		asAbsent(Contractor, "GET", nil, customers+"/client-blue", jobs+"/job-corp-1"),
		// A client made later is not among the chosen ones.
		rows(Row("client", "client-later", "name", "Later", "salesArea", "area-north")),
		get(Contractor, customers).hides("client-later"),
		get(Blind, customers).shows("client-later"),
		synced(Contractor, ids("client-acme", "job-acme-1", "act-acme-3"), append(ids("client-later", "client-corp", "job-corp-1", "client-dune"), ofBlue...)),
		create(Contractor, jobs, "client", "client-corp", "title", "x").no(422, fault.BadReference),
		takesAway(Contractor, ids("client-acme", "job-acme-1", "act-acme-3"), nil, remove(Admin, rules+"/rule-contractor")),
	},
}

// ofBlue is what the client Blue has in Service.
var ofBlue = ids("client-blue", "site-blue", "contact-blue", "asset-blue", "job-blue-1", "act-blue-1", "act-blue-2", "time-blue-1", "part-blue-1",
	"sign-blue-1", "answer-blue-1", "comment-blue-1", "comment-blue-2", "invoice-blue", "document-blue-1")

func (s step) status204() step { s.status = 204; return s }

// clauses are the cases of every app's clauses; one stands in one place.
var clauses = func() map[string][]step {
	all := map[string][]step{}
	for _, part := range []map[string][]step{serviceClauses, sellingClauses, stockClauses, moneyClauses, agentsClauses} {
		for id, steps := range part {
			if all[id] != nil {
				panic("two cases of " + id)
			}
			all[id] = steps
		}
	}
	return all
}()

// elsewhere are the clauses that no request can show: mail and pushes.
var elsewhere = map[string]string{
	"BM-CLIENT-3": "task notifications: TestNewsOfHiddenClients", "BM-CLIENT-4": "e-mails: TestNewsOfHiddenClients",
}

func TestClauses(t *testing.T) {
	for i, id := range slices.Sorted(maps.Keys(clauses)) {
		steps := clauses[id]
		if i%sparse(10) != 0 {
			continue
		}
		t.Run(id, func(t *testing.T) {
			t.Parallel()
			w := wholeWorld(t)
			for _, s := range steps {
				s.take(t, w)
			}
		})
	}
}

// manual counts the manual's clauses by the parts of it: CRM-MGR-1 to CRM-MGR-8.
var manual = map[string]int{
	"CRM-ADMIN": 1, "CRM-MGR": 8, "CRM-REP": 8, "CRM-OPS": 8, "CRM-GMGR": 2, "CRM-GUEST": 3,
	"BILL-ADMIN": 1, "BILL-AGENT": 5, "BILL-REP": 2, "BILL-GUEST": 2,
	"SVC-ADMIN": 1, "SVC-MGR": 3, "SVC-ENG": 13, "SVC-REP": 2, "SVC-GAGENT": 3, "SVC-GUEST": 2,
	"STK-ADMIN": 1, "STK-CTRL": 6, "STK-ORD": 8, "STK-WHS": 11, "STK-REP": 2, "STK-GUEST": 2,
	"SAL-ADMIN": 1, "SAL-MGR": 3, "SAL-REP": 10, "SAL-OPS": 10, "SAL-GMGR": 2, "SAL-GUEST": 3,
	"DEB-ADMIN": 2, "DEB-OPS": 2, "AGT-ADMIN": 1, "MOB": 3,
	"BM-LEVEL": 5, "BM-ADMIN": 7, "BM-BASIC": 5, "BM-IND": 2, "BM-TMGR": 3, "BM-ONSITE": 3, "BM-CLIENT": 8,
}

// shown are the clauses about what people see that no role's clause grants.
var shown = []string{
	"MOB-1", "MOB-2", "MOB-3", "BM-LEVEL-2", "BM-LEVEL-3", "BM-LEVEL-4", "BM-LEVEL-5", "BM-BASIC-5", "BM-IND-1", "BM-IND-2",
	"BM-CLIENT-1", "BM-CLIENT-2", "BM-CLIENT-5", "BM-CLIENT-6", "BM-CLIENT-7", "BM-CLIENT-8",
}

// TestEveryClauseHasACase: a clause of the manual without a case fails, and so
// does a case that allows nothing or refuses nothing, and one of a clause about
// what people see that asks no device.
func TestEveryClauseHasACase(t *testing.T) {
	known, seen := map[string]bool{}, map[string]bool{}
	for part, n := range manual {
		for i := range n {
			known[part+"-"+strconv.Itoa(i+1)] = true
		}
	}
	for _, id := range shown {
		seen[id] = true
	}
	for _, r := range roles.All() {
		if r == roles.Base {
			continue
		}
		for _, c := range r.Clauses {
			id, _, _ := strings.Cut(c.ID, "/")
			if !known[id] {
				t.Errorf("clause %s of %s is not in the manual", id, r.Key)
			}
			seen[id] = seen[id] || slices.Contains(c.Verbs, policy.View)
		}
	}
	for id := range known {
		if clauses[id] == nil && elsewhere[id] == "" {
			t.Errorf("clause %s has no case", id)
		}
	}
	for id, steps := range clauses {
		if !known[id] {
			t.Errorf("%s is a case of no clause", id)
		}
		if !slices.ContainsFunc(steps, step.allows) || !slices.ContainsFunc(steps, step.refuses) {
			t.Errorf("the case of %s allows nothing or refuses nothing", id)
		}
		if seen[id] && !slices.ContainsFunc(steps, step.syncs) {
			t.Errorf("the case of %s asks no device", id)
		}
		if elsewhere[id] != "" {
			t.Errorf("%s has a case after all", id)
		}
	}
}
