package oracle

import (
	"encoding/binary"
	"errors"
	"testing"

	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/server/module"
	"satchel/sync/store"
)

// state writes records by the documented format.
type state struct {
	t   testing.TB
	cat *entity.Catalogue
	eng *store.Mem
	ord uint32
}

func newState(t testing.TB) *state {
	cat, err := module.Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	return &state{t: t, cat: cat, eng: store.NewMem()}
}

func (s *state) put(typ, id, client string, kv ...string) {
	s.t.Helper()
	s.ord++
	r := &entity.Record{Type: s.cat.Type(typ), ID: ident.RecordID(id), Ord: s.ord}
	if client != "" {
		r.Put(entity.NoClientID, entity.StringValue(client))
	}
	for i := 0; i < len(kv); i += 2 {
		v := entity.StringValue(kv[i+1])
		switch r.Type.Field(kv[i]).Kind {
		case entity.Refs, entity.Strings:
			v = entity.SetValue([]string{kv[i+1]})
		case entity.Bool:
			v = entity.BoolValue(kv[i+1] == "true")
		default:
		}
		r.Set(kv[i], v)
	}
	r.Seal(entity.Stamp{Pos: ident.Position(s.ord), At: 1000})
	err := s.eng.Update(func(w store.Writer) error {
		k := binary.BigEndian.AppendUint32(nil, s.ord)
		return errors.Join(
			w.Put(store.Records, k, r.Append(nil)),
			w.Put(store.Ordinals, k, append(binary.BigEndian.AppendUint16(nil, r.Type.No), id...)),
			w.Put(store.Meta, []byte("time"), binary.BigEndian.AppendUint64(nil, 1_700_000_000_000)))
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *state) person(id, kind, client string, roles ...string) {
	kv := []string{"name", id, "email", id + "@example.com", "kind", kind, "status", "Active"}
	if client != "" {
		kv = append(kv, "client", client)
	}
	s.put("employee", id, client, kv...)
	for i, r := range roles {
		s.put("roleAssignment", id+"-role-"+string(rune('a'+i)), "", "employee", id, "role", r)
	}
}

func (s *state) look() *World {
	s.t.Helper()
	snap, err := s.eng.Snapshot()
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(snap.Close)
	w, err := New(s.cat).Look(snap)
	if err != nil {
		s.t.Fatal(err)
	}
	return w
}

// TestManual holds the judge itself against plain sentences of the manual.
func TestManual(t *testing.T) {
	s := newState(t)
	s.put("salesArea", "area-north", "", "name", "North")
	s.put("salesArea", "area-south", "", "name", "South")
	s.put("client", "client-aa", "client-aa", "name", "A", "salesArea", "area-north", "accessNotes", "gate", "billingNotes", "secret")
	s.put("client", "client-bb", "client-bb", "name", "B", "salesArea", "area-south")
	s.put("job", "job-aaaa", "client-aa", "client", "client-aa", "title", "Boiler", "ticket", "ticket-a")
	s.put("jobActivity", "act-aaaa", "client-aa", "job", "job-aaaa", "title", "Visit", "assignee", "engineer", "status", "Assigned")
	s.put("ticket", "ticket-a", "client-aa", "client", "client-aa", "subject", "Help", "requester", "staff-aa")
	s.put("ticketUpdate", "upd-publ", "client-aa", "ticket", "ticket-a", "visibility", "public", "kind", "note", "text", "x", "author", "ticketer")
	s.put("ticketUpdate", "upd-intl", "client-aa", "ticket", "ticket-a", "visibility", "internal", "kind", "note", "text", "x")
	s.put("checklist", "check-aa", "", "name", "Gas")
	s.person("engineer", "in-house", "", "service.engineer", "mobile.service-agent-user")
	s.person("engineer-hid", "in-house", "", "service.engineer")
	s.put("clientVisibility", "vis-hidd", "", "employee", "engineer-hid", "mode", "all-but")
	s.put("visibilityRule", "rule-hid", "client-aa", "visibility", "vis-hidd", "client", "client-aa")
	s.person("rep-north", "in-house", "", "service.sales-representative")
	s.put("employee", "rep-south", "", "name", "S", "kind", "in-house", "status", "Active", "salesAreas", "area-south")
	s.put("roleAssignment", "role-south", "", "employee", "rep-south", "role", "service.sales-representative")
	s.person("guest-ag", "in-house", "", "service.guest-agent")
	s.person("staff-aa", "client-staff", "client-aa", "level.basic", "service.guest")
	s.person("staff-bb", "client-staff", "client-bb", "level.basic")
	s.person("ticketer", "in-house", "", "level.ticket-manager")
	s.person("outsider", "subcontractor", "", "service.guest", "level.ticket-manager")
	s.put("roleAssignment", "role-over", "", "employee", "rep-north", "role", "service.manager", "until", "2023-11-14T22:13:20.000Z")
	s.person("denied-1", "in-house", "", "service.guest")
	s.put("individualPermission", "deny-fld", "", "employee", "denied-1", "effect", "denial", "verb", "view", "entityType", "client", "field", "accessNotes")
	s.holds([]sentence{
		{"engineer", "client-aa", true, []string{"name", "accessNotes", "!billingNotes"}, "SVC-ENG-1"},
		{"engineer", "job-aaaa", true, []string{"title", "ticket", "!createdBy"}, "SVC-ENG-5"},
		{"engineer", "ticket-a", false, nil, "SVC-ENG-5: not assigned"},
		{"engineer-hid", "client-aa", false, nil, "BM-CLIENT-2"},
		{"engineer-hid", "client-bb", true, nil, "BM-CLIENT-2"},
		{"engineer-hid", "act-aaaa", false, nil, "SVC-ENG-5"},
		{"rep-north", "client-aa", false, nil, "SVC-REP-1, and an assignment that has ended"},
		{"rep-south", "client-bb", true, nil, "SVC-REP-1"},
		{"rep-south", "client-aa", false, nil, "SVC-REP-1"},
		{"rep-south", "check-aa", true, nil, "reading 8"},
		{"guest-ag", "job-aaaa", true, []string{"title", "!description", "!ticket"}, "SVC-GAGENT-1"},
		{"guest-ag", "client-aa", false, nil, "reading 21"},
		{"staff-aa", "client-aa", true, nil, "BM-BASIC-5"},
		{"staff-aa", "client-bb", false, nil, "BM-BASIC-5"},
		{"staff-aa", "check-aa", false, nil, "reading 18"},
		{"staff-aa", "upd-publ", true, nil, "BM-BASIC-1"},
		{"staff-aa", "upd-intl", false, nil, "reading 18"},
		{"staff-aa", "ticketer", true, []string{"name", "!email", "!kind"}, "reading 27"},
		{"staff-bb", "ticketer", false, nil, "reading 27"},
		{"staff-bb", "ticket-a", false, nil, "BM-BASIC-5"},
		{"ticketer", "upd-intl", true, nil, "BM-TMGR-1"},
		{"outsider", "upd-intl", false, nil, "reading 18"},
		{"outsider", "ticket-a", true, nil, "BM-TMGR-1"},
		{"outsider", "check-aa", false, nil, "reading 18"},
		{"denied-1", "client-aa", true, []string{"name", "!accessNotes"}, "BM-IND-1"},
	})
}

// sentence is what somebody must or must not see of a record.
type sentence struct {
	who, id string
	sees    bool
	fields  []string // that must be there; with ! that must not; "beneath": only beneath a parent
	clause  string
}

// holds looks at the world and asks the judge about each sentence.
func (s *state) holds(all []sentence) {
	s.t.Helper()
	w := s.look()
	for _, c := range all {
		got, ok := w.Sees(ident.RecordID(c.who), ident.RecordID(c.id))
		if ok != c.sees {
			s.t.Errorf("%s: %s sees %s: %v", c.clause, c.who, c.id, ok)
			continue
		}
		beneath := false
		for _, f := range c.fields {
			if f == "beneath" {
				beneath = true
				continue
			}
			want := f[0] != '!'
			if !want {
				f = f[1:]
			}
			if _, has := got.Fields[f]; has != want {
				s.t.Errorf("%s: %s sees %s.%s: %v", c.clause, c.who, c.id, f, has)
			}
		}
		if got.Context != beneath {
			s.t.Errorf("%s: %s sees %s beneath a parent: %v", c.clause, c.who, c.id, got.Context)
		}
	}
}

// TestManualOfSelling does so for CRM and Sales.
func TestManualOfSelling(t *testing.T) {
	s := newState(t)
	for _, x := range []string{"north", "south"} {
		s.put("salesArea", "area-"+x, "", "name", x)
		c := "client-" + x
		s.put("client", c, c, "name", x, "salesArea", "area-"+x, "accountNotes", "crm", "billingNotes", "secret")
		s.put("contact", "cont-"+x, c, "client", c, "name", "C")
		s.put("task", "task-"+x, c, "client", c, "title", "T", "assignee", "somebody")
		s.put("comment", "comm-"+x, c, "parent", "task-"+x, "parentType", "task", "text", "x")
		s.put("campaign", "camp-"+x, "", "name", "C", "owner", "somebody")
		s.put("campaignMember", "memb-"+x, c, "campaign", "camp-"+x, "client", c)
		s.put("tagging", "tagg-"+x, c, "tag", "tag-publ", "parent", c, "parentType", "client", "visibility", "public", "owner", "somebody")
	}
	s.put("tag", "tag-publ", "", "name", "t", "visibility", "public", "owner", "somebody")
	s.put("tag", "tag-priv", "", "name", "t", "visibility", "private", "owner", "somebody")
	s.put("filter", "filt-crm", "", "name", "f", "visibility", "public", "app", "crm", "entityType", "task")
	s.put("filter", "filt-sal", "", "name", "f", "visibility", "public", "app", "sales", "entityType", "task")
	s.person("somebody", "in-house", "")
	north := func(id, role string) {
		s.put("employee", id, "", "name", id, "kind", "in-house", "status", "Active", "salesAreas", "area-north")
		s.put("roleAssignment", id+"-role", "", "employee", id, "role", role)
		s.put("task", "task-"+id, "client-south", "client", "client-south", "title", "T", "assignee", id)
		s.put("comment", "comm-"+id, "client-south", "parent", "task-"+id, "parentType", "task", "text", "x")
	}
	for _, x := range [][2]string{
		{"crm-manager", "crm.manager"},
		{"crm-operate", "crm.operations"},
		{"crm-guests", "crm.guest"},
		{"crm-blind", "crm.representative"},
		{"sal-person", "sales.representative"},
		{"sal-guests", "sales.guest"},
		{"sal-gmanag", "sales.guest-manager"},
	} {
		north(x[0], x[1])
	}
	s.put("clientVisibility", "vis-blind", "", "employee", "crm-blind", "mode", "all-but")
	s.put("visibilityRule", "rule-blind", "client-north", "visibility", "vis-blind", "client", "client-north")
	s.person("out-guest", "subcontractor", "", "crm.guest")
	s.holds([]sentence{
		{"crm-manager", "client-north", true, []string{"name", "accountNotes", "!billingNotes"}, "CRM-MGR-1"},
		{"crm-manager", "client-south", false, nil, "CRM-MGR-1"},
		{"crm-manager", "cont-north", true, nil, "reading 33"},
		{"crm-manager", "task-crm-manager", true, []string{"client"}, "CRM-MGR-2, reading 22"},
		{"crm-manager", "comm-crm-manager", true, nil, "CRM-MGR-2"},
		{"crm-manager", "task-north", true, nil, "CRM-MGR-3"},
		{"crm-manager", "comm-north", true, nil, "CRM-MGR-3"},
		{"crm-manager", "task-south", false, nil, "CRM-MGR-3"},
		{"crm-manager", "camp-north", true, nil, "reading 19"},
		{"crm-manager", "camp-south", false, nil, "reading 19"},
		{"crm-manager", "memb-south", false, nil, "reading 19"},
		{"crm-manager", "tagg-north", true, nil, "CRM-MGR-1"},
		{"crm-manager", "tagg-south", false, nil, "CRM-MGR-1"},
		{"crm-manager", "tag-publ", true, nil, "reading 11"},
		{"crm-manager", "tag-priv", false, nil, "reading 11"},
		{"crm-manager", "filt-crm", true, nil, "reading 11"},
		{"crm-manager", "filt-sal", false, nil, "reading 11"},
		{"crm-blind", "camp-north", false, nil, "BM-CLIENT-2: a hidden member brings no campaign"},
		{"crm-blind", "task-crm-blind", true, nil, "CRM-REP-2"},
		{"crm-operate", "client-south", true, nil, "CRM-OPS-1"},
		{"crm-operate", "task-north", false, nil, "CRM-OPS-2, reading 3"},
		{"crm-operate", "task-crm-operate", true, nil, "CRM-OPS-2"},
		{"crm-operate", "camp-north", false, nil, "CRM-OPS-2"},
		{"crm-guests", "task-south", true, []string{"beneath"}, "CRM-GUEST-2"},
		{"crm-guests", "comm-south", true, []string{"beneath"}, "reading 4"},
		{"crm-guests", "task-crm-guests", true, nil, "CRM-GUEST-1"},
		{"crm-guests", "comm-crm-guests", true, nil, "CRM-GUEST-1"},
		{"crm-guests", "camp-south", true, nil, "CRM-GUEST-1"},
		{"out-guest", "camp-south", false, nil, "reading 18"},
		{"out-guest", "task-south", true, []string{"beneath"}, "CRM-GUEST-2"},
		{"sal-person", "client-south", true, []string{"accountNotes", "!billingNotes"}, "SAL-REP-10"},
		{"sal-person", "task-south", true, []string{"beneath"}, "SAL-REP-3"},
		{"sal-person", "task-sal-person", true, nil, "SAL-REP-1"},
		{"sal-person", "camp-south", true, nil, "SAL-REP-10"},
		{"sal-person", "filt-sal", true, nil, "reading 11"},
		{"sal-guests", "task-south", true, []string{"beneath"}, "SAL-GUEST-2"},
		{"sal-gmanag", "task-south", true, nil, "SAL-GMGR-1"},
	})
}

// TestManualOfTrade does so for Stock, Billing, Debtors and Agents.
func TestManualOfTrade(t *testing.T) {
	s := newState(t)
	for _, x := range []string{"north", "south"} {
		s.put("salesArea", "area-"+x, "", "name", x)
		c := "client-" + x
		s.put("client", c, c, "name", x, "salesArea", "area-"+x, "accountNotes", "crm", "billingNotes", "bill", "debtorNotes", "debt", "deliveryNotes", "stock")
		s.put("contact", "cont-"+x, c, "client", c, "name", "C")
		s.put("salesOrder", "sale-"+x, c, "client", c)
		s.put("invoice", "invo-"+x, c, "client", c, "remarks", "x", "approvalNotes", "bill", "collectionNotes", "debt")
		s.put("contract", "cntr-"+x, c, "client", c, "title", "x")
		s.put("payment", "paym-"+x, c, "client", c, "reference", "x")
		s.put("comment", "comm-"+x, c, "parent", "paym-"+x, "parentType", "payment", "text", "x")
		s.put("accrual", "accr-"+x, c, "client", c, "text", "x")
	}
	s.put("product", "prod-aaa", "", "name", "P", "description", "x")
	s.put("supplier", "supp-aaa", "", "name", "S")
	s.put("purchaseOrder", "puro-aaa", "", "supplier", "supp-aaa")
	s.put("stockLevel", "levl-aaa", "", "product", "prod-aaa")
	s.put("agent", "agnt-aaa", "", "name", "A")
	s.put("filter", "filt-stk", "", "name", "f", "visibility", "public", "app", "stock", "entityType", "product")
	for _, x := range [][2]string{
		{"stk-guest", "stock.guest"},
		{"stk-repre", "stock.sales-representative"},
		{"bil-guest", "billing.guest"},
		{"bil-repre", "billing.sales-representative"},
		{"deb-opera", "debtors.operations"},
		{"agt-admin", "agents.accounting-administrator"},
	} {
		s.put("employee", x[0], "", "name", x[0], "kind", "in-house", "status", "Active", "salesAreas", "area-north")
		s.put("roleAssignment", x[0]+"-role", "", "employee", x[0], "role", x[1])
	}
	s.person("stk-outsid", "subcontractor", "", "stock.guest")
	s.holds([]sentence{
		{"stk-guest", "client-south", true, []string{"deliveryNotes", "!accountNotes", "!billingNotes"}, "STK-GUEST-1"},
		{"stk-guest", "puro-aaa", true, nil, "STK-GUEST-1"},
		{"stk-guest", "filt-stk", true, nil, "STK-GUEST-1"},
		{"stk-guest", "invo-south", false, nil, "STK-GUEST-1"},
		{"stk-outsid", "sale-north", true, nil, "STK-GUEST-1"},
		{"stk-outsid", "supp-aaa", false, nil, "reading 18"},
		{"stk-repre", "sale-north", true, nil, "STK-REP-1"},
		{"stk-repre", "sale-south", false, nil, "STK-REP-1"},
		{"stk-repre", "supp-aaa", true, nil, "reading 8"},
		{"stk-repre", "puro-aaa", false, nil, "reading 8"},
		{"stk-repre", "levl-aaa", false, nil, "reading 8"},
		{"bil-guest", "invo-south", true, []string{"approvalNotes", "!collectionNotes"}, "BILL-GUEST-1"},
		{"bil-guest", "client-south", true, []string{"billingNotes", "!debtorNotes"}, "reading 2"},
		{"bil-guest", "prod-aaa", true, []string{"description"}, "BILL-GUEST-1: what lines name"},
		{"bil-guest", "paym-south", false, nil, "BILL-GUEST-1"},
		{"bil-guest", "comm-south", false, nil, "BILL-GUEST-1: on what is Debtors'"},
		{"bil-repre", "invo-north", true, nil, "BILL-REP-1"},
		{"bil-repre", "cntr-south", false, nil, "BILL-REP-1"},
		{"deb-opera", "invo-south", true, []string{"collectionNotes", "!approvalNotes"}, "DEB-OPS-1, reading 35"},
		{"deb-opera", "cntr-south", false, nil, "DEB-OPS-1"},
		{"deb-opera", "comm-south", true, nil, "DEB-OPS-1"},
		{"deb-opera", "prod-aaa", true, nil, "DEB-OPS-1: what lines name"},
		{"agt-admin", "accr-south", true, nil, "AGT-ADMIN-1"},
		{"agt-admin", "agnt-aaa", true, nil, "AGT-ADMIN-1"},
		{"agt-admin", "client-south", true, []string{"name", "!accountNotes", "!billingNotes"}, "AGT-ADMIN-1: whom agents look after"},
		{"agt-admin", "cont-south", false, nil, "AGT-ADMIN-1"},
	})
}

// TestActingForAnother: what is lent and what is not.
func TestActingForAnother(t *testing.T) {
	s := newState(t)
	s.put("salesArea", "area-north", "", "name", "north")
	for _, c := range []string{"client-open", "client-ours", "client-mine"} {
		s.put("client", c, c, "name", c, "salesArea", "area-north", "accessNotes", "x")
		s.put("job", "job-"+c, c, "client", c, "title", "J")
		s.put("jobActivity", "act-"+c, c, "job", "job-"+c, "title", "V", "assignee", "engineer", "status", "Assigned")
		s.put("ticket", "tick-"+c, c, "client", c, "subject", "T", "assignee", "engineer")
		s.put("ticketUpdate", "intl-"+c, c, "ticket", "tick-"+c, "visibility", "internal", "kind", "note", "text", "x")
	}
	s.person("engineer", "in-house", "", "service.engineer", adminRole)
	s.put("preference", "pref-eng", "", "owner", "engineer", "key", "k")
	s.put("report", "rep-aaaa", "", "name", "r")
	s.put("individualPermission", "deny-eng", "", "employee", "engineer", "effect", "denial", "verb", "view", "entityType", "client", "field", "accessNotes")
	hide := func(who, client string) {
		s.put("clientVisibility", "vis-"+who, "", "employee", who, "mode", "all-but")
		s.put("visibilityRule", "rule-"+who, client, "visibility", "vis-"+who, "client", client)
	}
	hide("engineer", "client-mine")
	for _, x := range [][2]string{{"deputy-1", "in-house"}, {"deputy-2", "subcontractor"}, {"deputy-3", "in-house"}, {"deputy-4", "in-house"}} {
		s.person(x[0], x[1], "")
		until := "2023-11-14T22:13:20.001Z" // a millisecond from now
		if x[0] == "deputy-3" {
			until = "2023-11-14T22:13:20.000Z"
		}
		from := "engineer"
		if x[0] == "deputy-4" {
			from = "deputy-1" // who has nothing but what was lent
		}
		s.put("delegation", "dele-"+x[0], "", "delegator", from, "delegate", x[0], "until", until)
	}
	hide("deputy-1", "client-ours")
	s.holds([]sentence{
		{"deputy-1", "act-client-open", true, nil, "reading 25"},
		{"deputy-1", "client-open", true, []string{"name", "!accessNotes"}, "reading 25: what the delegator is denied"},
		{"deputy-1", "act-client-ours", false, nil, "reading 25: hidden from the delegate"},
		{"deputy-1", "act-client-mine", false, nil, "reading 25: hidden from the delegator"},
		{"deputy-1", "intl-client-open", true, nil, "reading 25"},
		{"deputy-1", "pref-eng", false, nil, "reading 25: what is personal"},
		{"deputy-1", "engineer-role-b", false, nil, "reading 25: running the tenant is not lent"},
		{"deputy-1", "deny-eng", false, nil, "reading 25: running the tenant is not lent"},
		{"deputy-2", "act-client-open", true, nil, "reading 25"},
		{"deputy-2", "intl-client-open", false, nil, "reading 18"},
		{"deputy-2", "rep-aaaa", false, nil, "reading 18"},
		{"deputy-3", "act-client-open", false, nil, "reading 25: time-bound"},
		{"deputy-4", "act-client-open", false, nil, "reading 25: within the delegator's own rights"},
	})
}

// TestLimitedRole: a tenant-made role of some clients only.
func TestLimitedRole(t *testing.T) {
	s := newState(t)
	s.put("salesArea", "area-north", "", "name", "north")
	for _, c := range []string{"client-aa", "client-bb"} {
		s.put("client", c, c, "name", c, "salesArea", "area-north")
	}
	s.put("checklist", "check-aa", "", "name", "Gas")
	s.put("organizationalRole", "org-some", "", "name", "s", "baseRoles", "service.guest", "limitClients", "true")
	s.put("organizationalRole", "org-none", "", "name", "n", "baseRoles", "service.guest", "limitClients", "true")
	s.put("organizationalRoleClient", "orgc-aaa", "client-aa", "role", "org-some", "client", "client-aa")
	s.person("some-one", "in-house", "", "org-some")
	s.person("no-client", "in-house", "", "org-none")
	s.person("both-one", "in-house", "", "org-none", "service.engineer")
	s.holds([]sentence{
		{"some-one", "client-aa", true, nil, "BM-LEVEL-3"},
		{"some-one", "client-bb", false, nil, "BM-LEVEL-3"},
		{"some-one", "check-aa", true, nil, "BM-LEVEL-3: what belongs to no client"},
		{"no-client", "client-aa", false, nil, "BM-LEVEL-3"},
		{"both-one", "client-aa", true, nil, "reading 30"},
	})
}

// TestMayWrite: who may certainly write nothing.
func TestMayWrite(t *testing.T) {
	s := newState(t)
	s.person("guest-11", "in-house", "", "service.guest", "sales.guest")
	s.person("worker-1", "in-house", "", "service.guest", "service.engineer")
	s.person("given-11", "in-house", "", "service.guest")
	s.put("individualPermission", "give-11a", "", "employee", "given-11", "effect", "grant", "verb", "edit", "entityType", "job")
	s.person("acts-for", "in-house", "", "service.guest")
	s.put("delegation", "dele-111", "", "delegator", "worker-1", "delegate", "acts-for", "until", "2024-11-14T22:13:20.001Z")
	w := s.look()
	for who, may := range map[ident.RecordID]bool{"guest-11": false, "worker-1": true, "given-11": true, "acts-for": true, "nobody-1": false} {
		if got := w.MayWrite(who, "job"); got != may {
			t.Errorf("%s may write jobs: %v", who, got)
		}
	}
	if !w.MayWrite("guest-11", "preference") {
		t.Error("reading 26: a guest keeps preferences")
	}
}

// TestContext: an activity of a guest agent is there beneath a pinned job
// only, marked.
func TestContext(t *testing.T) {
	s := newState(t)
	s.put("salesArea", "area-north", "", "name", "North")
	s.put("client", "client-aa", "client-aa", "name", "A", "salesArea", "area-north")
	s.put("job", "job-aaaa", "client-aa", "client", "client-aa", "title", "Boiler")
	s.put("jobActivity", "act-aaaa", "client-aa", "job", "job-aaaa", "title", "Visit", "assignee", "guest-ag")
	s.person("guest-ag", "in-house", "", "service.guest-agent")
	w := s.look()
	d := &Device{Employee: "guest-ag"}
	if _, ok := w.Holds(d)["act-aaaa"]; ok {
		t.Error("the activity stands in a list of its own")
	}
	d.Pins = []ident.RecordID{"job-aaaa"}
	if got := w.Holds(d)["act-aaaa"]; !got.Context {
		t.Errorf("beneath its pinned job: %+v", got)
	}
	d.Field = true
	if got := w.Holds(d); len(got) != 0 {
		t.Errorf("a field device without the Mobile role holds %v", got)
	}
}

// TestDamage: rows that are not as documented are told, not guessed at.
func TestDamage(t *testing.T) {
	s := newState(t)
	s.put("salesArea", "area-north", "", "name", "North")
	snap, _ := s.eng.Snapshot()
	good := append([]byte(nil), snap.Get(store.Records, []byte{0, 0, 0, 1})...)
	for n := range good {
		if _, err := decode(s.cat, 1, good[:n]); !errors.Is(err, ErrRow) {
			t.Errorf("%d of %d bytes: %v", n, len(good), err)
		}
	}
	if _, err := decode(s.cat, 1, append(good, 0)); !errors.Is(err, ErrRow) {
		t.Errorf("a byte too many: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	s := newState(f)
	s.put("salesArea", "area-north", "", "name", "North")
	snap, err := s.eng.Snapshot()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append([]byte(nil), snap.Get(store.Records, []byte{0, 0, 0, 1})...))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if r, err := decode(s.cat, 1, raw); err != nil && !errors.Is(err, ErrRow) {
			t.Errorf("%v %v", r, err)
		}
	})
}
