package roles

import (
	"fmt"
	"slices"
	"testing"

	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/internal/policy"
)

// world is a state small enough to search through: the lookup that decisions
// ask, and the people they are about.
type world struct {
	t       *testing.T
	cat     *entity.Catalogue
	roles   map[string]*policy.Compiled
	records map[ident.RecordID]*entity.Record
	order   []ident.RecordID
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, cat: catalogue(t), roles: compiled(t), records: map[ident.RecordID]*entity.Record{}}
	for _, area := range []string{"north", "south"} {
		w.add("salesArea", "area-"+area, "name", area)
	}
	for _, c := range []struct{ id, area string }{{"acme", "north"}, {"blue", "north"}, {"corp", "south"}} {
		w.add("client", "client-"+c.id, "name", c.id, "salesArea", "area-"+c.area)
		w.add("site", "site-"+c.id, "client", "client-"+c.id, "name", "yard")
		w.add("asset", "asset-"+c.id, "client", "client-"+c.id, "name", "pump")
		w.add("job", "job-"+c.id+"-1", "client", "client-"+c.id, "title", "mend", "status", "Open")
	}
	return w
}

// add puts a record together from names and texts; its client follows its
// root, as the core has it.
func (w *world) add(typ, id string, kv ...any) *entity.Record {
	w.t.Helper()
	t := w.cat.Type(typ)
	r := &entity.Record{Type: t, ID: ident.RecordID(id)}
	for i := 0; i < len(kv); i += 2 {
		switch v := kv[i+1].(type) {
		case string:
			r.Set(kv[i].(string), entity.StringValue(v))
		case []string:
			r.Set(kv[i].(string), entity.SetValue(v))
		default:
			w.t.Fatalf("no value of %T", v)
		}
	}
	switch {
	case t.IsClient:
		r.Put(entity.NoClientID, entity.RefValue(r.ID))
	case t.Root != "":
		if p, ok := w.records[r.RootOf()]; ok {
			r.Put(entity.NoClientID, p.Value(entity.NoClientID))
		}
	}
	if w.records[r.ID] == nil {
		w.order = append(w.order, r.ID)
	}
	w.records[r.ID] = r
	return r
}

func (w *world) Load(id ident.RecordID) (*entity.Record, bool) {
	r, ok := w.records[id]
	return r, ok
}

func refsIn(r *entity.Record, f *entity.Field) []string {
	v := r.Value(f.No)
	switch {
	case v.IsNull():
		return nil
	case f.Kind == entity.Refs:
		return v.Set()
	}
	return []string{v.Text()}
}

func (w *world) AnyReferring(typ, field string, id ident.RecordID, match func(*entity.Record) bool) bool {
	for _, o := range w.order {
		r := w.records[o]
		if r.Type.Name == typ && slices.Contains(refsIn(r, r.Type.Field(field)), string(id)) && match(r) {
			return true
		}
	}
	return false
}

func (w *world) Naming(id ident.RecordID, f func(*entity.Record, uint8) bool) {
	for _, o := range w.order {
		r := w.records[o]
		for _, x := range r.Type.Fields {
			if (x.Kind == entity.Ref || x.Kind == entity.Refs) && x.Indexed() && slices.Contains(refsIn(r, x), string(id)) && !f(r, x.No) {
				return
			}
		}
	}
}

// person adds an employee and builds the subject with base and the roles.
func (w *world) person(id, kind string, change func(*policy.Subject), keys ...string) *policy.Subject {
	w.t.Helper()
	s := &policy.Subject{ID: ident.RecordID(id), Kind: kind, Active: true, Roles: keys}
	if change != nil {
		change(s)
	}
	kv := []any{"name", id, "kind", kind, "status", "Active", "email", id + "@example.com"}
	if s.Client != "" {
		kv = append(kv, "client", string(s.Client))
	}
	w.add("employee", id, kv...)
	held := []*policy.Compiled{w.roles["base"]}
	for _, k := range keys {
		if w.roles[k] == nil {
			w.t.Fatalf("no role %s", k)
		}
		held = append(held, w.roles[k])
	}
	return s.Build(policy.Hold(held, s.Outside()), nil, nil)
}

func (w *world) sees(s *policy.Subject, want bool, ids ...string) {
	w.t.Helper()
	for _, id := range ids {
		if got := s.View(w.records[ident.RecordID(id)], w).Mask != 0; got != want {
			w.t.Errorf("%s sees %s: %v, want %v", s.ID, id, got, want)
		}
	}
}

func (w *world) may(s *policy.Subject, want bool, v policy.Verb, ids ...string) {
	w.t.Helper()
	for _, id := range ids {
		if d := s.Decide(v, w.records[ident.RecordID(id)], w); d.Allowed != want {
			w.t.Errorf("%s may %s %s: %v (%s), want %v", s.ID, v, id, d.Allowed, d.Clause, want)
		}
	}
}

func (w *world) shows(s *policy.Subject, id string, want bool, fields ...string) {
	w.t.Helper()
	r := w.records[ident.RecordID(id)]
	m := s.View(r, w).Mask
	for _, f := range fields {
		if got := m.Has(r.Type.Field(f).No); got != want {
			w.t.Errorf("%s sees %s of %s: %v, want %v", s.ID, f, id, got, want)
		}
	}
}

// TestEngineer: readings 12, 20 and 37, SVC-ENG-1 to -13.
func TestEngineer(t *testing.T) {
	w := newWorld(t)
	s := w.person("engineer", policy.InHouse, nil, "service.engineer")
	w.person("colleague", policy.InHouse, nil)
	w.add("warehouse", "van-own", "name", "van 1", "kind", "van", "custodian", "engineer")
	w.add("warehouse", "van-other", "name", "van 2", "kind", "van", "custodian", "colleague")
	w.add("product", "prod-seal", "name", "seal")
	w.add("stockLevel", "level-own", "product", "prod-seal", "warehouse", "van-own")
	w.add("stockLevel", "level-other", "product", "prod-seal", "warehouse", "van-other")
	w.add("invoice", "invoice-1", "client", "client-acme", "status", "Draft")
	w.add("jobActivity", "act-own", "job", "job-acme-1", "title", "go", "assignee", "engineer", "status", "Working")
	w.add("jobActivity", "act-other", "job", "job-corp-1", "title", "go", "assignee", "colleague", "status", "Working")
	for _, a := range []string{"own", "other"} {
		w.add("timeEntry", "time-"+a, "activity", "act-"+a)
		w.add("partUsed", "part-"+a, "activity", "act-"+a)
		w.add("signature", "sign-"+a, "activity", "act-"+a)
		w.add("checklistAnswer", "answer-"+a, "activity", "act-"+a)
		w.add("comment", "comment-"+a, "parent", "act-"+a, "parentType", "jobActivity", "author", "colleague")
		w.add("document", "document-"+a, "parent", "act-"+a, "parentType", "jobActivity")
	}
	w.add("comment", "comment-client", "parent", "client-corp", "parentType", "client")
	w.add("comment", "comment-asset", "parent", "asset-corp", "parentType", "asset")
	w.add("comment", "comment-job", "parent", "job-acme-1", "parentType", "job")
	records := []string{"time-own", "part-own", "sign-own", "answer-own"}

	w.sees(s, true, "client-acme", "client-corp", "site-corp", "asset-corp", "act-own", "job-acme-1", "prod-seal", "van-own", "level-own",
		"comment-own", "comment-client", "comment-asset", "document-own", "time-own", "part-own", "sign-own", "answer-own")
	w.sees(s, false, "act-other", "job-corp-1", "invoice-1", "van-other", "level-other", "comment-other", "comment-job", "document-other", "time-other")
	w.shows(s, "job-acme-1", true, "title", "description", "client")
	w.shows(s, "job-acme-1", false, "cancelReason", "closedAt")
	w.shows(s, "client-acme", true, "accessNotes")
	w.shows(s, "client-acme", false, "accountNotes", "paymentTermDays", "creditLimit", "deliveryNotes")

	// Comments and the people in them.
	w.may(s, true, policy.Comment, "client-corp", "asset-corp", "act-own")
	w.may(s, false, policy.Comment, "act-other", "job-acme-1", "site-acme")
	w.may(s, true, policy.Create, "comment-client", "comment-asset", "comment-own")
	w.may(s, false, policy.Create, "comment-job", "comment-other")
	w.shows(s, "colleague", true, "name")
	w.shows(s, "colleague", false, "email", "kind", "phone")

	w.may(s, false, policy.Edit, "client-acme", "asset-acme", "job-acme-1", "invoice-1", "act-other")
	w.may(s, false, policy.Delete, "act-own", "time-own", "document-own")
	w.may(s, false, "assign", "act-own")
	w.may(s, false, "reopen", "act-own")

	for _, status := range w.cat.Type("jobActivity").Status.States {
		open := !slices.Contains([]string{"Reviewed", "Completed", "Invoiced", "Closed", "Cancelled"}, status)
		t.Run(status, func(t *testing.T) {
			w.t = t
			w.add("jobActivity", "act-own", "job", "job-acme-1", "title", "go", "assignee", "engineer", "status", status)
			w.may(s, open, policy.Edit, append(records, "act-own", "document-own")...)
			w.may(s, open, policy.Create, append(records, "document-own")...)
			w.may(s, true, policy.Create, "comment-own")
			w.may(s, true, policy.Comment, "act-own")
			w.sees(s, true, append(records, "act-own", "document-own", "comment-own")...)
			d := s.Decide(policy.Edit, w.records["act-own"], w)
			if !open && (d.Reason != policy.Closed || d.Clause != "SVC-ENG-8") {
				t.Errorf("refused by %s for reason %d", d.Clause, d.Reason)
			}
		})
	}
}

// TestGuestAgent: readings 21, 22 and 40, SVC-GAGENT-1 to -3.
func TestGuestAgent(t *testing.T) {
	w := newWorld(t)
	s := w.person("guest-agent", policy.InHouse, nil, "service.guest-agent")
	w.add("jobActivity", "act-own", "job", "job-acme-1", "title", "go", "assignee", "guest-agent", "status", "Assigned")
	w.add("jobActivity", "act-other", "job", "job-acme-1", "title", "go", "status", "New")
	w.sees(s, true, "job-acme-1", "job-corp-1", "act-own")
	w.sees(s, false, "act-other", "client-acme", "asset-acme", "site-acme")
	w.shows(s, "job-acme-1", false, "description", "contact")
	// Of own work the site's name: reading 22.
	w.shows(s, "job-acme-1", true, "site")
	w.shows(s, "job-corp-1", false, "site")
	w.records["job-acme-1"].Set("site", entity.RefValue("site-acme"))
	w.records["job-corp-1"].Set("site", entity.RefValue("site-corp"))
	w.shows(s, "site-acme", true, "name")
	w.shows(s, "site-acme", false, "client", "clientId", "street")
	w.sees(s, false, "site-corp")
	if !s.View(w.records["act-own"], w).Context {
		t.Error("own activities stand in a list of their own")
	}
	for _, typ := range w.cat.Types {
		for _, g := range s.Grants(typ, policy.View) {
			if !g.Context && !g.Personal && typ.Name != "job" {
				t.Errorf("%s stands in the menu by %s", typ.Name, g.Clause)
			}
		}
	}
	if apps := s.Apps(w.cat); !slices.Equal(apps, []entity.App{entity.Service}) {
		t.Errorf("apps are %v", apps)
	}
	for _, v := range verbs(w.cat.Type("jobActivity")) {
		if v != policy.View {
			w.may(s, false, v, "act-own")
		}
	}
}

// TestServiceSalesRepresentative: readings 7 and 8, SVC-REP-1 and -2.
func TestServiceSalesRepresentative(t *testing.T) {
	w := newWorld(t)
	s := w.person("rep", policy.InHouse, func(s *policy.Subject) { s.Areas = []ident.RecordID{"area-north"} }, "service.sales-representative")
	w.add("product", "prod-seal", "name", "seal")
	w.add("warehouse", "warehouse-1", "name", "main", "kind", "warehouse")
	w.add("purchaseOrder", "order-001", "supplier", "supplier-1", "status", "Draft")
	w.add("document", "doc-north", "parent", "job-acme-1", "parentType", "job")
	w.add("document", "doc-south", "parent", "job-corp-1", "parentType", "job")
	w.sees(s, true, "client-acme", "client-blue", "job-blue-1", "asset-acme", "site-acme", "doc-north", "prod-seal", "warehouse-1")
	w.sees(s, false, "client-corp", "job-corp-1", "asset-corp", "site-corp", "doc-south", "order-001")
	// A client that moves takes along all that belongs to it.
	w.add("client", "client-acme", "name", "acme", "salesArea", "area-south")
	w.sees(s, false, "client-acme", "job-acme-1", "doc-north")
	// Somebody without areas sees no client at all.
	none := w.person("rep-none", policy.InHouse, nil, "service.sales-representative")
	w.sees(none, false, "client-blue", "job-blue-1")
	w.may(s, false, policy.Edit, "client-blue", "job-blue-1")
}

// TestServiceManagement: readings 10, 23 and 35, SVC-ADMIN-1, SVC-MGR-1, -2.
func TestServiceManagement(t *testing.T) {
	w := newWorld(t)
	admin := w.person("administrator", policy.InHouse, nil, "service.administrator")
	manager := w.person("manager", policy.InHouse, nil, "service.manager")
	guest := w.person("guest", policy.InHouse, nil, "service.guest")
	w.add("jobActivity", "act-00001", "job", "job-acme-1", "title", "go", "status", "Closed")
	w.add("product", "prod-seal", "name", "seal")
	w.add("ticket", "ticket-01", "client", "client-acme", "subject", "help")
	w.add("document", "doc-job-1", "parent", "job-acme-1", "parentType", "job")
	w.add("document", "doc-ticket", "parent", "ticket-01", "parentType", "ticket")
	for _, s := range []*policy.Subject{admin, manager} {
		w.sees(s, true, "client-acme", "job-acme-1", "act-00001", "prod-seal", "doc-job-1")
		w.sees(s, false, "ticket-01", "doc-ticket")
		w.may(s, true, policy.Edit, "client-acme", "job-acme-1", "act-00001", "doc-job-1")
		w.may(s, true, policy.Create, "client-acme", "job-acme-1", "doc-job-1")
		w.may(s, false, policy.Create, "doc-ticket", "prod-seal", "ticket-01")
		w.may(s, true, policy.Delete, "client-acme", "job-acme-1")
		w.may(s, true, "reopen", "act-00001")
		w.may(s, false, "set-area", "client-acme")
		for _, status := range []string{"Draft", "Approved", "Sent", "Paid", "Void"} {
			w.add("invoice", "invoice-1", "client", "client-acme", "status", status)
			w.may(s, status == "Draft", policy.Edit, "invoice-1")
			w.sees(s, true, "invoice-1")
		}
	}
	w.may(admin, true, "archive", "client-acme")
	w.may(admin, true, "restore", "client-acme")
	w.may(manager, false, "archive", "client-acme")
	w.may(manager, false, "restore", "client-acme")
	w.may(manager, true, "archive", "asset-acme")
	if d := manager.Decide("archive", w.records["client-acme"], w); d.Reason != policy.Refusing || d.Clause != "SVC-MGR-2" {
		t.Errorf("refused by %s", d.Clause)
	}
	w.sees(guest, true, "client-acme", "job-acme-1", "act-00001", "invoice-1", "prod-seal")
	w.sees(guest, false, "doc-ticket", "ticket-01")
	w.may(guest, false, policy.Edit, "client-acme", "job-acme-1")

	// Reading 1: the roles of one person add up; what one does not grant,
	// another may.
	both := w.person("both", policy.InHouse, nil, "service.administrator", "service.manager")
	w.may(both, true, "archive", "client-acme")
}

// TestBasic: readings 18, 27 and 34, BM-BASIC-1 to -5.
func TestBasic(t *testing.T) {
	w := newWorld(t)
	staff := w.person("staff", policy.ClientStaff, func(s *policy.Subject) { s.Client = "client-acme" }, "level.basic")
	inside := w.person("inside", policy.InHouse, nil, "level.basic")
	programmer := w.person("programmer", policy.Programmer, nil, "level.basic")
	w.person("mate", policy.ClientStaff, func(s *policy.Subject) { s.Client = "client-acme" })
	w.person("stranger", policy.ClientStaff, func(s *policy.Subject) { s.Client = "client-blue" })
	w.person("helper", policy.InHouse, nil)
	w.person("unseen", policy.InHouse, nil)
	w.add("ticket", "ticket-own", "client", "client-acme", "subject", "a", "requester", "staff", "assignee", "helper")
	w.add("ticket", "ticket-watched", "client", "client-acme", "subject", "b", "requester", "mate", "watchers", []string{"staff", "inside"})
	w.add("ticket", "ticket-other", "client", "client-acme", "subject", "c", "requester", "mate")
	w.add("ticket", "ticket-blue", "client", "client-blue", "subject", "d", "requester", "staff")
	w.add("ticket", "ticket-task", "client", "client-blue", "subject", "e", "requester", "stranger", "assignee", "programmer")
	w.add("ticketUpdate", "said-public", "ticket", "ticket-own", "visibility", "public", "kind", "reply")
	w.add("ticketUpdate", "said-internal", "ticket", "ticket-own", "visibility", "internal", "kind", "note")
	w.add("ticketUpdate", "asked-public", "ticket", "ticket-own", "visibility", "public", "kind", "update-request")
	w.add("ticketUpdate", "task-internal", "ticket", "ticket-task", "visibility", "internal", "kind", "note")
	w.add("document", "doc-own-1", "parent", "client-acme", "parentType", "client", "uploadedBy", "staff")
	w.add("document", "doc-mate", "parent", "client-acme", "parentType", "client", "uploadedBy", "mate")
	w.add("product", "prod-seal", "name", "seal")

	w.sees(staff, true, "client-acme", "site-acme", "ticket-own", "ticket-watched", "said-public", "doc-own-1")
	w.sees(staff, false, "client-blue", "client-corp", "site-blue", "ticket-other", "ticket-blue", "said-internal", "doc-mate",
		"asset-acme", "job-acme-1", "prod-seal", "area-north")
	w.shows(staff, "client-acme", true, "name", "salesArea", "owner")
	w.shows(staff, "client-acme", false, "accountNotes", "accessNotes", "billingNotes", "debtorNotes", "deliveryNotes")
	w.sees(staff, true, "mate", "helper", "staff")
	w.sees(staff, false, "stranger", "unseen")
	w.shows(staff, "helper", false, "email", "kind", "client", "clientId")
	w.shows(staff, "staff", true, "email", "salesAreas")

	w.may(staff, true, policy.Create, "ticket-own", "doc-own-1", "said-public")
	w.may(staff, false, policy.Create, "ticket-blue", "said-internal", "asked-public", "ticket-task")
	w.may(staff, true, "request-update", "ticket-own", "ticket-watched")
	w.may(staff, false, "request-update", "ticket-other", "ticket-blue")
	for _, v := range []policy.Verb{policy.Edit, policy.Delete, "assign", "close", "to-job"} {
		w.may(staff, false, v, "ticket-own")
	}
	// Whoever opens a ticket gives it to nobody.
	d := staff.Decide(policy.Create, w.records["ticket-own"], w)
	for _, f := range []string{"assignee", "requester", "due", "status"} {
		if d.Mask.Has(w.cat.Type("ticket").Field(f).No) {
			t.Errorf("opening a ticket sets %s", f)
		}
	}

	w.sees(inside, true, "client-acme", "client-blue", "ticket-watched", "area-north")
	w.sees(inside, false, "ticket-own", "ticket-other")
	w.may(inside, true, policy.Create, "ticket-blue")

	// Who has a ticket assigned works on it; an outside worker without the
	// internal updates.
	w.sees(programmer, true, "ticket-task", "client-blue")
	w.sees(programmer, false, "task-internal", "area-north", "ticket-own")
	w.may(programmer, true, "resolve", "ticket-task")
	w.may(programmer, false, "assign", "ticket-task")
	task := w.person("tasked", policy.InHouse, nil, "level.basic")
	w.add("ticket", "ticket-task", "client", "client-blue", "subject", "e", "assignee", "tasked")
	w.sees(task, true, "task-internal")
	w.sees(programmer, false, "ticket-task")
}

// TestClientStaffCeiling: reading 18: whatever roles client staff hold, only
// their own client's records.
func TestClientStaffCeiling(t *testing.T) {
	w := newWorld(t)
	keys := []string{"level.basic", "level.customer-administrator", "level.ticket-manager", "service.administrator"}
	s := w.person("staff", policy.ClientStaff, func(s *policy.Subject) { s.Client = "client-acme" }, keys...)
	w.person("unseen", policy.InHouse, nil)
	w.add("product", "prod-seal", "name", "seal")
	w.add("supplier", "supplier-1", "name", "s")
	w.sees(s, true, "client-acme", "job-acme-1", "asset-acme")
	w.sees(s, false, "client-blue", "job-blue-1", "unseen", "prod-seal", "supplier-1", "area-north")
	w.may(s, false, policy.Edit, "client-blue", "job-corp-1", "unseen")
	w.may(s, true, policy.Edit, "client-acme")
}

// TestHiddenClient: reading 1, BM-CLIENT-2 and -8: hiding is above every role.
func TestHiddenClient(t *testing.T) {
	w := newWorld(t)
	hide := func(s *policy.Subject) { s.Clients = []ident.RecordID{"client-acme"} }
	only := func(s *policy.Subject) { s.Clients, s.Only = []ident.RecordID{"client-acme"}, true }
	w.add("product", "prod-seal", "name", "seal")
	for i, key := range []string{"service.administrator", "service.manager", "service.guest", "level.customer-administrator"} {
		s := w.person(fmt.Sprintf("hidden-%d", i), policy.InHouse, hide, key)
		w.sees(s, false, "client-acme", "job-acme-1", "site-acme", "asset-acme")
		w.sees(s, true, "client-blue", "job-blue-1", "prod-seal")
		w.may(s, false, policy.Edit, "client-acme", "job-acme-1")
		if d := s.Decide(policy.View, w.records["job-acme-1"], w); d.Reason != policy.Hidden {
			t.Errorf("the reason is %d", d.Reason)
		}
		c := w.person(fmt.Sprintf("consultant-%d", i), policy.Subcontractor, only, key)
		w.sees(c, true, "client-acme", "job-acme-1")
		w.sees(c, false, "client-blue", "job-blue-1", "client-corp")
	}
	// The engineer's own work under a hidden client is gone too, by every path.
	s := w.person("engineer", policy.InHouse, hide, "service.engineer")
	w.add("jobActivity", "act-own", "job", "job-acme-1", "title", "go", "assignee", "engineer", "status", "Assigned")
	w.sees(s, false, "act-own", "job-acme-1")
	w.may(s, false, "accept", "act-own")
}

// TestOutsideWorkers: reading 18: records without a client only where a grant
// names them.
func TestOutsideWorkers(t *testing.T) {
	w := newWorld(t)
	s := w.person("contractor", policy.Subcontractor, nil, "service.manager")
	tm := w.person("contractor-tm", policy.Subcontractor, nil, "level.ticket-manager")
	house := w.person("house-tm", policy.InHouse, nil, "level.ticket-manager")
	w.person("unseen", policy.InHouse, nil)
	w.add("supplier", "supplier-1", "name", "s")
	w.add("checklist", "checklist-1", "name", "c")
	w.add("ticket", "ticket-01", "client", "client-acme", "subject", "help")
	w.add("ticketUpdate", "said-internal", "ticket", "ticket-01", "visibility", "internal", "kind", "note")
	w.add("ticketUpdate", "said-public", "ticket", "ticket-01", "visibility", "public", "kind", "note")
	w.sees(s, true, "client-acme", "job-acme-1")
	w.sees(s, false, "checklist-1", "unseen")
	w.sees(tm, true, "ticket-01", "said-public")
	w.sees(tm, false, "said-internal", "supplier-1", "unseen")
	w.may(tm, false, policy.Create, "said-internal")
	w.sees(house, true, "said-internal", "supplier-1")
	w.may(house, true, policy.Create, "said-internal")
}

// TestTicketManager: BM-TMGR-1 to -3.
func TestTicketManager(t *testing.T) {
	w := newWorld(t)
	s := w.person("ticketer", policy.InHouse, nil, "level.ticket-manager")
	w.person("unseen", policy.InHouse, nil)
	w.add("ticket", "ticket-01", "client", "client-acme", "subject", "help", "requester", "unseen")
	w.add("product", "prod-seal", "name", "seal")
	w.add("roleAssignment", "assigned-1", "employee", "unseen", "role", "level.basic")
	for _, v := range []policy.Verb{policy.Edit, policy.Create, "assign", "close", "reopen", "to-job", "resolve"} {
		w.may(s, true, v, "ticket-01")
	}
	w.may(s, false, policy.Delete, "ticket-01")
	w.sees(s, true, "ticket-01", "job-acme-1", "asset-acme", "prod-seal", "client-acme")
	w.sees(s, false, "assigned-1")
	w.may(s, false, policy.Edit, "job-acme-1", "prod-seal", "client-acme", "assigned-1")
	w.may(s, false, policy.Create, "assigned-1")
	w.shows(s, "client-acme", false, "accountNotes", "creditLimit")
}

// TestOnsiteManager: reading 32, BM-ONSITE-1 to -3.
func TestOnsiteManager(t *testing.T) {
	w := newWorld(t)
	onsite := func(s *policy.Subject) { s.Onsite = []ident.RecordID{"client-acme"} }
	liaison := func(s *policy.Subject) {
		s.Client, s.Onsite = "client-acme", []ident.RecordID{"client-acme", "client-blue"}
	}
	in := w.person("onsite-in", policy.InHouse, onsite, "level.onsite-manager")
	li := w.person("onsite-li", policy.ClientStaff, liaison, "level.onsite-manager")
	w.person("there", policy.InHouse, nil)
	w.person("elsewhere", policy.InHouse, nil)
	w.person("staff", policy.ClientStaff, func(s *policy.Subject) { s.Client = "client-acme" })
	w.person("stranger", policy.ClientStaff, func(s *policy.Subject) { s.Client = "client-blue" })
	w.add("onsiteClient", "onsite-row-1", "employee", "there", "client", "client-acme")
	w.add("onsiteClient", "onsite-row-2", "employee", "elsewhere", "client", "client-blue")
	for _, c := range []string{"acme", "blue"} {
		w.add("ticket", "ticket-"+c, "client", "client-"+c, "subject", "help")
	}
	for _, s := range []*policy.Subject{in, li} {
		w.sees(s, true, "ticket-acme", "there", "staff", "client-acme", "site-acme")
		w.sees(s, false, "ticket-blue", "stranger", "elsewhere", "client-blue", "job-acme-1", "asset-acme")
		w.shows(s, "there", true, "name", "title", "schedulingRoles")
		w.shows(s, "there", false, "email", "salesAreas")
		for _, v := range []policy.Verb{"assign", policy.Edit, "close", policy.Create} {
			w.may(s, true, v, "ticket-acme")
			w.may(s, false, v, "ticket-blue")
		}
		w.may(s, false, policy.Edit, "staff", "there")
	}
}

// TestBase: reading 26: whatever the roles, one's own affairs.
func TestBase(t *testing.T) {
	w := newWorld(t)
	for i, key := range []string{"service.guest", "service.guest-agent", "mobile.service-agent-user"} {
		id := fmt.Sprintf("person-%d", i)
		s := w.person(id, policy.InHouse, nil, key)
		w.person("other", policy.InHouse, nil)
		w.add("preference", "pref-own", "owner", id, "key", "theme")
		w.add("preference", "pref-other", "owner", "other", "key", "theme")
		w.add("notification", "note-own", "recipient", id, "about", "job-acme-1")
		w.add("notification", "note-other", "recipient", "other", "about", "job-acme-1")
		w.add("device", "device-own", "employee", id, "status", "Active")
		w.add("device", "device-other", "employee", "other", "status", "Active")
		w.sees(s, true, id, "pref-own", "note-own", "device-own", "area-north")
		w.sees(s, false, "other", "pref-other", "note-other", "device-other")
		w.may(s, true, policy.Create, "pref-own")
		w.may(s, false, policy.Create, "pref-other")
		w.may(s, true, "read", "note-own")
		w.may(s, true, "revoke", "device-own")
		w.may(s, false, "revoke", "device-other")
		w.may(s, false, policy.Edit, id)
		w.shows(s, id, true, "email", "schedulingRoles")
	}
	// The notification of a client that is hidden is gone with it.
	s := w.person("hidden", policy.InHouse, func(s *policy.Subject) { s.Clients = []ident.RecordID{"client-acme"} }, "service.guest")
	w.add("notification", "note-hidden", "recipient", "hidden", "about", "job-acme-1")
	w.sees(s, false, "note-hidden")
	// And the disabled have nothing at all.
	gone := w.person("gone", policy.InHouse, func(s *policy.Subject) { s.Active = false }, "service.administrator")
	w.sees(gone, false, "gone", "client-acme")
	w.may(gone, false, policy.Edit, "client-acme")
}

// TestClausesAreComplete lists the manual's clauses for the roles here.
func TestClausesAreComplete(t *testing.T) {
	want := map[string]int{
		"SVC-ADMIN-": 1, "SVC-ENG-": 13, "SVC-REP-": 2, "SVC-GAGENT-": 3, "SVC-GUEST-": 2, "MOB-": 3,
		"BM-ADMIN-": 7, "BM-BASIC-": 5, "BM-TMGR-": 3, "BM-ONSITE-": 3, "SVC-MGR-": 2,
	}
	have := map[string]bool{}
	for _, r := range All() {
		for _, c := range r.Clauses {
			have[c.ID] = true
		}
	}
	for prefix, n := range want {
		for i := 1; i <= n; i++ {
			if id := fmt.Sprint(prefix, i); !have[id] {
				t.Errorf("no clause %s", id)
			}
		}
	}
}
