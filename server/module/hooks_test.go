package module

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/internal/ident"
)

// state is a context over a few records in memory. It runs a type's hooks as
// the core does: Created and Check before a record is staged, Changed after.
type state struct {
	t       *testing.T
	cat     *entity.Catalogue
	actor   ident.RecordID
	records map[ident.RecordID]*entity.Record
	order   []ident.RecordID
	n       int
	series  map[string]int64
}

const now = ident.Millis(1_000_000)

func newState(t *testing.T) *state {
	cat, err := Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	s := &state{t: t, cat: cat, actor: "person-1", records: map[ident.RecordID]*entity.Record{}}
	s.must(s.add("client", "client-1", "name", "acme", "salesArea", "area-0001"))
	return s
}

func (s *state) Now() ident.Millis     { return now }
func (s *state) At() ident.Millis      { return now - 5 }
func (s *state) Actor() ident.RecordID { return s.actor }
func (s *state) FreshID() ident.RecordID {
	s.n++
	return ident.RecordID(fmt.Sprintf("fresh-%03d", s.n))
}

func (s *state) Load(id ident.RecordID) (*entity.Record, bool) {
	r, ok := s.records[id]
	return r, ok
}

func (s *state) Referring(typ, field string, id ident.RecordID, f func(*entity.Record) bool) {
	for _, o := range s.order {
		if r := s.records[o]; r != nil && r.Type.Name == typ && r.Get(field).Ref() == id && !f(r) {
			return
		}
	}
}

func (s *state) Pair(typ, one string, a ident.RecordID, other string, b ident.RecordID) (found *entity.Record, ok bool) {
	s.Referring(typ, one, a, func(r *entity.Record) bool {
		if r.Get(other).Ref() == b {
			found, ok = r, true
		}
		return !ok
	})
	return found, ok
}

func (s *state) Delete(r *entity.Record) error {
	delete(s.records, r.ID)
	if r.Type.Changed != nil {
		return r.Type.Changed(s, r, nil)
	}
	return nil
}

func (s *state) Each(typ, field, value string, f func(*entity.Record) bool) {
	for _, o := range s.order {
		if r := s.records[o]; r != nil && r.Type.Name == typ && r.Get(field).Text() == value && !f(r) {
			return
		}
	}
}

func (s *state) Named(typ, field, text string) bool {
	if !s.cat.Type(typ).Field(field).Unique {
		s.t.Errorf("the texts of %s.%s are not indexed", typ, field)
	}
	for _, r := range s.records {
		if r.Type.Name == typ && strings.EqualFold(r.Get(field).Text(), text) {
			return true
		}
	}
	return false
}

func (s *state) Number(series string) int64 {
	if s.series == nil {
		s.series = map[string]int64{}
	}
	s.series[series]++
	return s.series[series]
}

func (s *state) Save(r *entity.Record) error {
	before := s.records[r.ID]
	if r.Type.Check != nil {
		if err := r.Type.Check(s, before, r); err != nil {
			return err
		}
	}
	if before == nil {
		s.order = append(s.order, r.ID)
	}
	s.records[r.ID] = r
	if r.Type.Changed != nil {
		return r.Type.Changed(s, before, r)
	}
	return nil
}

func (s *state) Create(typ string, values map[string]entity.Value) (*entity.Record, error) {
	return s.create(typ, s.FreshID(), values)
}

func (s *state) create(typ string, id ident.RecordID, values map[string]entity.Value) (*entity.Record, error) {
	r := &entity.Record{Type: s.cat.Type(typ), ID: id}
	for k, v := range values {
		r.Set(k, v)
	}
	if l := r.Type.Status; l != nil {
		r.Set(l.Field, entity.StringValue(l.Initial))
	}
	if r.Type.Drafted != nil {
		r.Type.Drafted(s, r)
	}
	if r.Type.Created != nil {
		if err := r.Type.Created(s, r); err != nil {
			return nil, err
		}
	}
	return r, s.Save(r)
}

func (s *state) add(typ, id string, kv ...string) error {
	values := map[string]entity.Value{}
	for i := 0; i < len(kv); i += 2 {
		raw := kv[i+1]
		if raw == "" || (raw[0] != '{' && raw[0] != '[') {
			raw = string(entity.StringValue(raw))
		}
		v, err := s.cat.Type(typ).Field(kv[i]).Normalize([]byte(raw))
		if err != nil {
			return err
		}
		values[kv[i]] = v
	}
	_, err := s.create(typ, ident.RecordID(id), values)
	return err
}

// act runs an action as the core does.
func (s *state) act(id, name string, kv ...string) error {
	r := s.records[ident.RecordID(id)].Clone()
	a := r.Type.Action(name)
	if a.From != nil && !slices.Contains(a.From, r.StatusText()) {
		return fault.New(fault.WrongStatus)
	}
	args := entity.Args{}
	for i := 0; i < len(kv); i += 2 {
		args[kv[i]] = entity.StringValue(kv[i+1])
	}
	for _, f := range a.Args {
		if args.Has(f.Name) && r.Type.Field(f.Name) != nil {
			r.Set(f.Name, args[f.Name])
		}
	}
	if a.To != "" {
		r.Set(r.Type.Status.Field, entity.StringValue(a.To))
	}
	for _, f := range a.Stamps {
		r.Set(f, entity.TimeValue(s.At()))
	}
	for _, f := range a.Clears {
		r.Set(f, nil)
	}
	if a.Do != nil {
		if err := a.Do(s, r, args); err != nil {
			return err
		}
	}
	return s.Save(r)
}

func (s *state) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *state) status(want string, ids ...string) {
	s.t.Helper()
	for _, id := range ids {
		if got := s.records[ident.RecordID(id)].StatusText(); got != want {
			s.t.Errorf("%s is %s, want %s", id, got, want)
		}
	}
}

// TestJobFollowsItsActivities walks a job with two activities from the first
// assignment to the end, and back.
func TestJobFollowsItsActivities(t *testing.T) {
	s := newState(t)
	s.must(s.add("job", "job-00001", "client", "client-1", "title", "mend"))
	s.must(s.add("jobActivity", "act-00001", "job", "job-00001", "title", "go"))
	s.status("Open", "job-00001")
	s.must(s.add("jobActivity", "act-00002", "job", "job-00001", "title", "go", "assignee", "person-2"))
	s.status("Assigned", "act-00002")
	s.status("Scheduled", "job-00001")
	s.must(s.act("act-00002", "unassign"))
	s.status("Open", "job-00001")
	s.must(s.act("act-00001", "assign", "assignee", "person-2"))
	s.status("Scheduled", "job-00001")
	s.must(s.act("act-00001", "accept"))
	s.status("Scheduled", "job-00001")
	for _, step := range []string{"travel", "arrive", "start", "await-parts", "resume", "pause", "resume", "clear", "review"} {
		s.must(s.act("act-00001", step))
		s.status("In Progress", "job-00001")
	}
	s.must(s.act("act-00001", "complete"))
	s.status("In Progress", "job-00001") // the other one is still to come
	s.must(s.act("act-00002", "cancel", "cancelReason", "not needed"))
	s.status("Completed", "job-00001")
	s.must(s.act("act-00002", "reopen"))
	s.status("New", "act-00002") // nobody has it
	s.status("In Progress", "job-00001")
	if err := s.act("job-00001", "close"); !fault.Is(err, fault.WrongStatus) {
		t.Errorf("closing with work to do: %v", err)
	}
	s.must(s.act("act-00002", "cancel"))
	s.must(s.act("job-00001", "close"))
	s.must(s.act("act-00001", "invoice"))
	s.must(s.act("act-00001", "close"))
	s.status("Closed", "job-00001")
	if err := s.add("jobActivity", "act-00003", "job", "job-00001", "title", "go"); !fault.Is(err, fault.WrongStatus) {
		t.Errorf("an activity for a closed job: %v", err)
	}
	s.must(s.act("act-00001", "reopen"))
	s.status("Assigned", "act-00001")
	s.status("Scheduled", "job-00001")
	if !s.records["job-00001"].Get("closedAt").IsNull() {
		t.Error("a job taken up again is still closed at some time")
	}
}

func TestCancellingAJob(t *testing.T) {
	s := newState(t)
	s.must(s.add("job", "job-00001", "client", "client-1", "title", "mend"))
	for _, id := range []string{"act-00001", "act-00002", "act-00003"} {
		s.must(s.add("jobActivity", id, "job", "job-00001", "title", "go", "assignee", "person-2"))
	}
	for _, step := range []string{"accept", "start", "clear", "review", "complete"} {
		s.must(s.act("act-00001", step))
	}
	s.must(s.act("job-00001", "cancel", "cancelReason", "client left"))
	s.status("Cancelled", "job-00001", "act-00002", "act-00003")
	s.status("Completed", "act-00001")
	if got := s.records["act-00002"].Get("cancelReason").Text(); got != "client left" {
		t.Errorf("the reason is %q", got)
	}
	s.must(s.act("act-00002", "reopen"))
	s.status("In Progress", "job-00001") // one is done, one is to do
}

// TestEveryStatusIsReached: every status of every type is where a record
// begins or what some action leads to.
func TestEveryStatusIsReached(t *testing.T) {
	cat, err := Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	derived := map[string]bool{
		"job/Scheduled": true, "job/In Progress": true, "job/Completed": true,
		"invoice/Paid": true, "payment/Allocated": true, "payment/Refunded": true, "accrual/Invoiced": true,
	}
	for _, typ := range cat.Types {
		if typ.Status == nil {
			continue
		}
		for _, st := range typ.Status.States {
			ok := st == typ.Status.Initial || derived[typ.Name+"/"+st]
			for _, a := range typ.Actions {
				ok = ok || a.To == st
			}
			if !ok {
				t.Errorf("nothing makes a %s %s", typ.Name, st)
			}
		}
	}
}

func TestTicket(t *testing.T) {
	s := newState(t)
	s.must(s.add("ticket", "ticket-01", "client", "client-1", "subject", "help", "description", "it leaks", "priority", "high"))
	r := s.records["ticket-01"]
	if r.Get("requester").Ref() != "person-1" || r.Get("opened").IsNull() {
		t.Error("a ticket without a requester or a time")
	}
	s.must(s.act("ticket-01", "request-update", "message", "Any news?"))
	u := s.records["fresh-001"]
	if u.Type.Name != "ticketUpdate" || u.Get("kind").Text() != "update-request" || u.Get("visibility").Text() != "public" ||
		u.Get("text").Text() != "Any news?" || u.Get("author").Ref() != "person-1" {
		t.Errorf("the request for an update is %s %s", u.Type.Name, u.Get("text"))
	}
	s.must(s.act("ticket-01", "request-update"))
	s.must(s.act("ticket-01", "to-job"))
	job := s.records[s.records["ticket-01"].Get("job").Ref()]
	if job.Get("title").Text() != "help" || job.Get("priority").Text() != "high" || job.Get("client").Ref() != "client-1" ||
		job.Get("ticket").Ref() != "ticket-01" {
		t.Errorf("the job is %s", job.Get("title"))
	}
	if err := s.act("ticket-01", "to-job"); !fault.Is(err, fault.WrongStatus) {
		t.Errorf("a second job: %v", err)
	}
	s.must(s.act("ticket-01", "close"))
	s.must(s.act("ticket-01", "reopen"))
	s.status("New", "ticket-01") // nobody has it
	s.must(s.act("ticket-01", "assign", "assignee", "person-2"))
	s.must(s.act("ticket-01", "start"))
	s.must(s.act("ticket-01", "resolve", "resolution", "new seal"))
	if err := s.act("ticket-01", "request-update"); !fault.Is(err, fault.WrongStatus) {
		t.Errorf("asking about what is resolved: %v", err)
	}
	s.must(s.act("ticket-01", "reopen"))
	s.status("Assigned", "ticket-01")
}

func TestInvoice(t *testing.T) {
	s := newState(t)
	line := func(id, quantity, price, tax string) string {
		return fmt.Sprintf(`{"id":%q,"text":"x","quantity":%s,"unitPrice":{"amount":%s,"currency":"EUR"},"taxPercent":%s}`, id, quantity, price, tax)
	}
	for i, c := range []struct{ lines, net, tax, total string }{
		{"[" + line("1", "2", "1050", "20") + "]", "2100", "420", "2520"},
		{"[" + line("1", "0.5", "101", "0") + "]", "51", "0", "51"}, // half a cent up
		{"[" + line("1", "-0.5", "101", "0") + "," + line("2", "1", "200", "0") + "]", "149", "0", "149"},
		{"[" + line("1", "0.333", "100", "0") + "," + line("2", "3", "10", "7.5") + "]", "63", "2", "65"},
	} {
		id := fmt.Sprintf("invoice-%d", i)
		s.must(s.add("invoice", id, "client", "client-1", "lines", c.lines))
		s.must(s.act(id, "approve"))
		for f, want := range map[string]string{"net": c.net, "tax": c.tax, "total": c.total} {
			if got := string(s.records[ident.RecordID(id)].Get(f)); got != `{"amount":`+want+`,"currency":"EUR"}` {
				t.Errorf("%s: %s is %s, want %s", c.lines, f, got, want)
			}
		}
	}
	for i, lines := range []string{
		"",
		`[{"id":"1","text":"x","quantity":1,"unitPrice":{"amount":1,"currency":"EUR"}},{"id":"2","text":"x","quantity":1,"unitPrice":{"amount":1,"currency":"USD"}}]`,
		"[" + line("1", "1000000", "9007199254740992", "0") + "]",
		"[" + line("1", "1", "9007199254740992", "100") + "]",
	} {
		id := fmt.Sprintf("refused-%d", i)
		kv := []string{"client", "client-1"}
		if lines != "" {
			kv = append(kv, "lines", lines)
		}
		s.must(s.add("invoice", id, kv...))
		if err := s.act(id, "approve"); err == nil {
			t.Errorf("approved with %s", lines)
		}
		s.status("Draft", id)
	}
	r := s.records["invoice-0"].Clone()
	r.Set("lines", nil)
	if err := s.Save(r); !fault.Is(err, fault.WrongStatus) {
		t.Errorf("changing what was approved: %v", err)
	}
	r = s.records["invoice-0"].Clone()
	r.Set("collectionNotes", entity.StringValue("rang them"))
	s.must(s.Save(r))
}

// TestChecks holds what the types refuse by themselves.
func TestChecks(t *testing.T) {
	s := newState(t)
	s.must(s.add("product", "product-1", "name", "seal"))
	s.must(s.add("warehouse", "warehouse-1", "name", "main", "kind", "warehouse"))
	s.must(s.add("stockLevel", "level-001", "product", "product-1", "warehouse", "warehouse-1"))
	s.must(s.add("job", "job-00001", "client", "client-1", "title", "mend"))
	s.must(s.add("ticket", "ticket-01", "client", "client-1", "subject", "help"))
	s.must(s.add("purchaseOrder", "order-001", "supplier", "supplier-1"))
	for _, c := range []struct {
		name string
		code fault.Code
		err  error
	}{
		{"client staff without client", fault.MissingField, s.add("employee", "emp-00001", "name", "a", "kind", "client-staff")},
		{"in-house with client", fault.BadValue, s.add("employee", "emp-00002", "name", "a", "kind", "in-house", "client", "client-1")},
		{"client staff", "", s.add("employee", "emp-00003", "name", "a", "kind", "client-staff", "client", "client-1")},
		{"in-house", "", s.add("employee", "emp-00004", "name", "a", "kind", "in-house")},
		{"role that ends before it begins", fault.BadValue, s.add("roleAssignment", "role-0001", "employee", "emp-00004", "role", "level.basic",
			"from", "2026-02-01T00:00:00Z", "until", "2026-01-01T00:00:00Z")},
		{"grant of nothing", fault.MissingField, s.add("individualPermission", "perm-0001", "employee", "emp-00004", "effect", "grant", "verb", "view")},
		{"grant without verb", fault.MissingField, s.add("individualPermission", "perm-0002", "employee", "emp-00004", "effect", "grant", "entityType", "job")},
		{"field without type", fault.MissingField, s.add("individualPermission", "perm-0003", "employee", "emp-00004", "effect", "denial", "field", "name")},
		{"denial of everything", "", s.add("individualPermission", "perm-0004", "employee", "emp-00004", "effect", "denial")},
		{"custodian of a building", fault.BadValue, s.add("warehouse", "warehouse-2", "name", "b", "kind", "warehouse", "custodian", "emp-00004")},
		{"van", "", s.add("warehouse", "warehouse-3", "name", "v", "kind", "van", "custodian", "emp-00004")},
		{"stock level twice", fault.Duplicate, s.add("stockLevel", "level-002", "product", "product-1", "warehouse", "warehouse-1")},
		{"stock level in the van", "", s.add("stockLevel", "level-003", "product", "product-1", "warehouse", "warehouse-3")},
		{"activity that ends before it begins", fault.BadValue, s.add("jobActivity", "act-00001", "job", "job-00001", "title", "go",
			"scheduledStart", "2026-02-01T00:00:00Z", "scheduledEnd", "2026-01-01T00:00:00Z")},
		{"activity of no job", fault.BadReference, s.add("jobActivity", "act-00002", "job", "job-00009", "title", "go")},
		{"comment on a ticket", "", s.add("comment", "comment-1", "parent", "ticket-01", "text", "hm")},
		{"comment on nothing", fault.BadReference, s.add("comment", "comment-2", "parent", "nothing-1", "text", "hm")},
		{"comment on a job", "", s.add("comment", "comment-3", "parent", "job-00001", "text", "hm")},
		{"document of a ticket", "", s.add("document", "document-1", "parent", "ticket-01", "name", "a.pdf")},
		{"order without lines", fault.MissingField, s.act("order-001", "approve")},
		{"area that is not said", fault.MissingField, s.act("client-1", "set-area")},
		{"area", "", s.act("client-1", "set-area", "salesArea", "area-0002")},
	} {
		if c.code == "" && c.err != nil || c.code != "" && !fault.Is(c.err, c.code) {
			t.Errorf("%s: %v, want %q", c.name, c.err, c.code)
		}
	}
	if s.records["client-1"].Get("salesArea").Ref() != "area-0002" {
		t.Error("the client did not move")
	}
	if r := s.records["comment-3"]; r.Get("parentType").Text() != "job" || r.Get("author").Ref() != "person-1" {
		t.Error("a comment without its parent's type or its author")
	}
	// The system has no name to sign with.
	s.actor = ""
	s.must(s.add("document", "document-2", "parent", "ticket-01", "name", "b.pdf"))
	if !s.records["document-2"].Get("uploadedBy").IsNull() {
		t.Error("the system signs as somebody")
	}
}
