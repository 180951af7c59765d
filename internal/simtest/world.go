package simtest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"satchel/internal/command"
	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/internal/oracle"
	"satchel/server/session/token"
	"satchel/sync/apply"
	"satchel/sync/store"
)

const password = "stored-hash"

// obj makes an object of names and values.
func obj(kv ...any) command.Object {
	o := command.Object{}
	for i := 0; i < len(kv); i += 2 {
		b, err := json.Marshal(kv[i+1])
		must(err)
		o[kv[i].(string)] = b
	}
	return o
}

// theme is the part of the business that a history is mostly about: its
// people take part, its records are there from the start, its types and roles
// come up more often. Worlds stay small that way.
type theme struct {
	name string
	// mostly are the types that most changes are about.
	mostly []string
	// workers are those whom work is mostly assigned to, bosses those who
	// change what is not their own.
	workers, bosses []ident.RecordID
}

// serving is what every theme has of Service and Helpdesk.
var serving = []string{
	"jobActivity", "jobActivity", "jobActivity", "job", "ticket", "ticket", "ticketUpdate", "client", "comment", "document",
	"employee",
}

var themes = []*theme{
	{
		name: "service", mostly: slices.Concat(serving, []string{
			"asset", "site", "contact", "timeEntry", "checklistAnswer", "partUsed", "stockLevel", "warehouse", "product", "invoice",
		}),
		workers: []ident.RecordID{"emp-eng001", "emp-eng002", "emp-subcon", "emp-gagent", "emp-onsite", "emp-svcmgr", "emp-combo1"},
		bosses:  []ident.RecordID{"emp-svcadm", "emp-svcmgr", "emp-tmgr01"},
	},
	{
		name: "selling", mostly: []string{
			"task", "task", "task", "activity", "activity", "opportunity", "opportunity", "campaign", "campaignMember", "campaignMember",
			"tag", "tagging", "tagging", "filter", "client", "contact", "comment", "document", "delegation", "jobActivity", "ticket",
		},
		workers: []ident.RecordID{"emp-crmmgr", "emp-crmrep", "emp-crmops", "emp-crmgst", "emp-salrep", "emp-salgst", "emp-outsel", "emp-deputy"},
		bosses:  []ident.RecordID{"emp-crmadm", "emp-crmmgr", "emp-salops"},
	},
	{
		name: "stock", mostly: slices.Concat(serving[:4], []string{
			"salesOrder", "salesOrder", "salesOrder", "purchaseOrder", "receipt", "transfer", "count", "adjustment", "partOrder",
			"partOrder", "partUsed", "product", "productRelationship", "warehouse", "stockLevel", "supplier", "carrier", "comment",
		}),
		workers: []ident.RecordID{"emp-eng001", "emp-eng002", "emp-stkwhs"},
		bosses:  []ident.RecordID{"emp-stkctl", "emp-stkord", "emp-stkwhs"},
	},
	{
		name: "money", mostly: []string{
			"invoice", "invoice", "invoice", "contract", "contract", "creditNote", "billingRun", "payment", "payment", "allocation",
			"statement", "collectionNote", "client", "comment", "document", "job", "filter",
		},
		workers: []ident.RecordID{"emp-eng001", "emp-biller", "emp-debtor"},
		bosses:  []ident.RecordID{"emp-biller", "emp-debtor", "emp-debops"},
	},
	{
		name: "agents", mostly: slices.Concat(serving[:5], []string{
			"agent", "rateCard", "accountAssignment", "accrual", "accrual", "agentInvoice", "agentInvoice", "agentStatement", "timeEntry",
			"comment", "document", "delegation",
		}),
		workers: []ident.RecordID{"emp-eng001", "emp-eng002", "emp-subcon"},
		bosses:  []ident.RecordID{"emp-agtadm", "emp-agtadm", "emp-svcmgr"},
	},
}

// actor is one of those who take part: who they are and what roles they hold.
type actor struct {
	id, kind, client string
	areas            []string
	onsite           []string
	roles            []string
	phones           string // profiles: o office, f field
	theme            string // "" for those who take part in every history
}

var cast = []actor{
	{id: "emp-admin1", kind: "in-house", roles: []string{"level.customer-administrator"}, phones: "o"},
	{id: "emp-keeper", kind: "in-house", roles: []string{
		"level.customer-administrator", "service.administrator", "sales.administrator", "billing.administrator", "stock.administrator", "level.ticket-manager",
	}},
	{id: "emp-admin2", kind: "in-house", roles: []string{"level.customer-administrator", "service.guest"}},
	{id: "emp-svcmgr", kind: "in-house", roles: []string{"service.manager", "level.basic"}, phones: "of"},
	{id: "emp-eng001", kind: "in-house", roles: []string{"service.engineer", "mobile.service-agent-user"}, phones: "fo"},
	{id: "emp-eng002", kind: "in-house", roles: []string{"service.engineer", "mobile.service-agent-user", "level.basic"}, phones: "ff"},
	{id: "emp-gagent", kind: "in-house", roles: []string{"service.guest-agent", "mobile.service-agent-user"}, phones: "of"},
	{id: "emp-tmgr01", kind: "in-house", roles: []string{"level.ticket-manager"}, phones: "o"},
	{id: "emp-onsite", kind: "in-house", onsite: []string{"client-aa", "client-bb"}, roles: []string{"level.onsite-manager", "mobile.service-agent-user"}, phones: "fo"},
	{id: "emp-staff1", kind: "client-staff", client: "client-aa", roles: []string{"level.basic"}, phones: "o"},
	{id: "emp-subcon", kind: "subcontractor", roles: []string{"service.engineer", "mobile.service-agent-user", "service.guest"}, phones: "fo"},
	{id: "emp-combo1", kind: "in-house", areas: []string{"area-south", "area-north"}, roles: []string{"service.sales-representative", "service.guest-agent", "level.basic"}, phones: "o"},
	{id: "emp-newbie", kind: "programmer", phones: "o"},
	// Acts for others and has little of their own.
	{id: "emp-deputy", kind: "in-house", roles: []string{"level.basic", "mobile.service-agent-user"}, phones: "fo"},

	{id: "emp-svcadm", kind: "in-house", roles: []string{"service.administrator"}, phones: "o", theme: "service"},
	{id: "emp-rep001", kind: "in-house", areas: []string{"area-north"}, roles: []string{"service.sales-representative"}, phones: "o", theme: "service"},
	{id: "emp-guest1", kind: "in-house", roles: []string{"service.guest"}, phones: "o", theme: "service"},
	{id: "emp-itmgr1", kind: "inside-it", roles: []string{"level.ticket-manager", "level.basic"}, phones: "o", theme: "service"},
	{id: "emp-liaisn", kind: "client-staff", client: "client-bb", onsite: []string{"client-bb"}, roles: []string{"level.basic", "level.onsite-manager", "mobile.service-agent-user"}, phones: "f", theme: "service"},

	{id: "emp-crmadm", kind: "in-house", roles: []string{"crm.administrator", "sales.manager"}, phones: "o", theme: "selling"},
	{id: "emp-crmmgr", kind: "in-house", areas: []string{"area-north"}, roles: []string{"crm.manager"}, phones: "o", theme: "selling"},
	{id: "emp-crmrep", kind: "in-house", areas: []string{"area-south", "area-north"}, roles: []string{"crm.representative"}, phones: "o", theme: "selling"},
	{id: "emp-crmops", kind: "in-house", roles: []string{"crm.operations"}, phones: "o", theme: "selling"},
	{id: "emp-crmgst", kind: "in-house", roles: []string{"crm.guest"}, phones: "o", theme: "selling"},
	{id: "emp-salrep", kind: "in-house", roles: []string{"sales.representative"}, phones: "o", theme: "selling"},
	{id: "emp-salops", kind: "in-house", areas: []string{"area-westx"}, roles: []string{"sales.operations", "crm.manager"}, phones: "o", theme: "selling"},
	{id: "emp-salgst", kind: "in-house", roles: []string{"sales.guest"}, phones: "o", theme: "selling"},
	{id: "emp-outsel", kind: "subcontractor", roles: []string{"sales.representative", "crm.guest"}, phones: "o", theme: "selling"},

	{id: "emp-stkctl", kind: "in-house", roles: []string{"stock.controller"}, phones: "o", theme: "stock"},
	{id: "emp-stkord", kind: "in-house", roles: []string{"stock.order-administrator"}, phones: "o", theme: "stock"},
	{id: "emp-stkwhs", kind: "in-house", roles: []string{"stock.warehouse-operations"}, phones: "o", theme: "stock"},
	{id: "emp-stkrep", kind: "in-house", areas: []string{"area-south", "area-north"}, roles: []string{"stock.sales-representative"}, phones: "o", theme: "stock"},
	{id: "emp-stkgst", kind: "subcontractor", roles: []string{"stock.guest"}, phones: "o", theme: "stock"},

	{id: "emp-biller", kind: "in-house", roles: []string{"billing.administrator"}, phones: "o", theme: "money"},
	{id: "emp-bilrep", kind: "in-house", areas: []string{"area-south"}, roles: []string{"billing.sales-representative"}, phones: "o", theme: "money"},
	{id: "emp-bilgst", kind: "in-house", roles: []string{"billing.guest"}, phones: "o", theme: "money"},
	{id: "emp-debtor", kind: "in-house", roles: []string{"debtors.administrator", "billing.agent"}, phones: "o", theme: "money"},
	{id: "emp-debops", kind: "in-house", roles: []string{"debtors.operations"}, phones: "o", theme: "money"},

	{id: "emp-agtadm", kind: "in-house", roles: []string{"agents.accounting-administrator"}, phones: "o", theme: "agents"},
	{id: "emp-agtout", kind: "inside-it", roles: []string{"agents.accounting-administrator"}, phones: "o", theme: "agents"},
}

func row(typ string, id string, kv ...any) command.Row {
	return command.Row{Type: typ, ID: ident.RecordID(id), Fields: obj(kv...)}
}

// cast are those who take part in this history.
func (s *sim) cast() []actor {
	return slices.DeleteFunc(slices.Clone(cast), func(a actor) bool { return a.theme != "" && a.theme != s.theme.name })
}

// found makes the tenant and its people.
func (s *sim) found() {
	s.do(&command.Command{Setup: &command.Setup{
		Name: "Root", Email: "root@example.com", Employee: "emp-root01", Hash: password, Secret: []byte("0123456789abcdef"),
	}})
	rows := []command.Row{
		row("salesArea", "area-north", "name", "North"), row("salesArea", "area-south", "name", "South"), row("salesArea", "area-westx", "name", "West"),
		row("geoArea", "geo-cityx", "name", "City"), row("schedulingRole", "skill-gas1", "name", "Gas"), row("schedulingRole", "skill-elec", "name", "Electric"),
		row("product", "prod-pump", "name", "Pump", "number", "P1"), row("product", "prod-seal", "name", "Seal", "cost", map[string]any{"amount": 100, "currency": "EUR"}),
		row("supplier", "supp-one1", "name", "Supplier"), row("carrier", "carr-one1", "name", "Carrier"),
		row("checklist", "check-gas1", "name", "Gas"),
	}
	for i, c := range []string{"client-aa", "client-bb", "client-cc", "client-dd"} {
		area := []string{"area-north", "area-south", "area-westx", "area-north"}[i]
		rows = append(rows,
			row("client", c, "name", c, "salesArea", area, "billingNotes", "secret "+c, "accessNotes", "gate "+c),
			row("site", "site-"+c, "client", c, "name", "Site"),
			row("contact", "cont-"+c, "client", c, "name", "Contact", "site", "site-"+c),
			row("asset", "asset-"+c, "client", c, "name", "Asset", "site", "site-"+c, "product", "prod-pump"),
		)
	}
	for _, p := range s.cast() {
		f := obj("name", p.id, "email", p.id+"@example.com", "kind", p.kind, "status", "Active")
		if p.client != "" {
			f["client"] = obj("c", p.client)["c"]
		}
		if p.areas != nil {
			f["salesAreas"] = obj("a", p.areas)["a"]
		}
		rows = append(rows, command.Row{Type: "employee", ID: ident.RecordID(p.id), Fields: f})
		for i, r := range p.roles {
			if s.cfg.Roles.Shipped(r) == nil {
				continue
			}
			rows = append(rows, row("roleAssignment", fmt.Sprintf("ra-%s-%d", p.id, i), "employee", p.id, "role", r))
		}
		for i, c := range p.onsite {
			rows = append(rows, row("onsiteClient", fmt.Sprintf("on-%s-%d", p.id, i), "employee", p.id, "client", c))
		}
	}
	in := func(n int) string { return (s.now + ident.Millis(n)*day).RFC3339() }
	for i, e := range []string{"emp-eng001", "emp-eng002", "emp-subcon", "emp-gagent"} {
		c := []string{"client-aa", "client-bb", "client-cc", "client-dd"}[i]
		van, job := fmt.Sprintf("van-000%d", i), fmt.Sprintf("job-000%d", i)
		rows = append(rows,
			row("warehouse", van, "name", "Van", "kind", "van", "custodian", e),
			row("stockLevel", fmt.Sprintf("level-00%d", i), "product", "prod-seal", "warehouse", van, "quantity", 3),
			row("serviceAgent", fmt.Sprintf("agent-00%d", i), "name", "Agent", "employee", e, "warehouse", van),
			row("job", job, "client", c, "title", "Job", "site", "site-"+c, "contact", "cont-"+c, "asset", "asset-"+c),
			row("jobActivity", fmt.Sprintf("acty-%d-0", i), "job", job, "title", "Visit", "assignee", e, "scheduledStart", in(i), "status", "Assigned"),
			row("jobActivity", fmt.Sprintf("acty-%d-1", i), "job", job, "title", "Later", "assignee", "emp-eng001", "checklists", []string{"check-gas1"}),
			row("ticket", fmt.Sprintf("ticket-%d", i), "client", c, "subject", "Ticket", "requester", "emp-combo1", "assignee", e, "watchers", []string{"emp-eng002"}, "status", "Assigned"),
			row("ticketUpdate", fmt.Sprintf("upd-%d-pub", i), "ticket", fmt.Sprintf("ticket-%d", i), "visibility", "public", "kind", "note", "text", "public"),
			row("ticketUpdate", fmt.Sprintf("upd-%d-int", i), "ticket", fmt.Sprintf("ticket-%d", i), "visibility", "internal", "kind", "note", "text", "internal", "author", "emp-tmgr01"),
			row("document", fmt.Sprintf("doc-%d-act", i), "parent", fmt.Sprintf("acty-%d-0", i), "name", "Plan"),
			row("comment", fmt.Sprintf("com-%d-cli", i), "parent", c, "text", "Comment", "author", "emp-svcmgr"),
			row("notification", fmt.Sprintf("note-%d-1", i), "recipient", e, "about", job, "event", "assigned", "text", "Look"),
		)
	}
	rows = append(rows, row("invoice", "inv-00001", "client", "client-aa", "number", "1", "job", "job-0000"))
	rows = append(rows, s.business()...)
	res := s.do(&command.Command{Import: &command.Import{Rows: rows}})
	if len(res.Count.Rejected) > 0 {
		r := res.Count.Rejected[0]
		s.fail("setting up: %s: %v", rows[r.Index].ID, r.Err)
	}
	for _, p := range s.cast() {
		s.do(&command.Command{Secret: &command.Secret{Employee: ident.RecordID(p.id), Hash: password}})
	}
}

// begin puts the tenant there as it is set up, some people who see less than
// their roles say, and phones that sign in.
func (s *sim) begin() {
	s.base = s.template()
	if s.seed%16 == 7 {
		s.eng = s.openBolt(s.path())
		snap, err := s.base.Snapshot()
		must(err)
		must(s.eng.Update(func(w store.Writer) error { return copyRows(w, snap) }))
		snap.Close()
		s.count("histories on bolt")
	} else {
		s.eng = s.base.Clone()
	}
	s.open()
	_, s.baseAt = s.log.Bounds()
	s.look()
	s.now = s.world.Now
	s.key = token.RefreshKey(apply.DerivedKey(s.reader(), "refresh"))
	var rows []command.Row
	for _, p := range s.cast() {
		s.people = append(s.people, ident.RecordID(p.id))
		if !s.quietSetup && s.chance(50) && !strings.Contains(p.id, "admin") {
			rows = append(rows, row("clientVisibility", "vis-"+p.id, "employee", p.id, "mode", pick(s.rng, []string{"all-but", "all-but", "all-but", "only"})))
		}
	}
	if len(rows) > 0 {
		s.do(&command.Command{Import: &command.Import{Rows: rows}})
	}
	for _, p := range s.cast() {
		for i, profile := range p.phones {
			if s.quietSetup || (!s.chance(30) && len(s.phones) > 0) {
				continue // few phones, so that each goes through much
			}
			s.phone(ident.RecordID(p.id), fmt.Sprintf("inst-%s-%d", p.id, i), profile == 'f')
		}
	}
}

// phone gives somebody a phone, and signs in on it.
func (s *sim) phone(who ident.RecordID, installation string, field bool) {
	p := &phone{s: s, who: who, installation: installation, name: installation, field: field}
	p.wipe()
	s.phones = append(s.phones, p)
	s.submit("", p.login())
}

// do submits one command that is expected to be taken.
func (s *sim) do(c *command.Command) apply.Result {
	var out apply.Result
	s.submit("", request{cmd: c, what: said("%s", kindOf(c)), read: func(r *apply.Result) func() { out = *r; return nil }})
	if out.Err != nil {
		s.fail("setting up: %v", out.Err)
	}
	return out
}

// somebody returns a person, rarely one who is no more.
func (s *sim) somebody() ident.RecordID { return pick(s.rng, s.people) }

// some returns a live record of a type, nil for none.
func (s *sim) some(typ string) *oracle.Record {
	rs := s.world.Records(typ)
	if s.fixed != nil {
		rs = s.fixed[typ]
	}
	if len(rs) == 0 {
		return nil
	}
	return pick(s.rng, rs)
}

// any returns a live record of any type.
func (s *sim) any() *oracle.Record {
	for {
		if r := s.some(pick(s.rng, s.cat.Types).Name); r != nil {
			return r
		}
	}
}

// value makes a value for a field, nil for none.
func (s *sim) value(f *entity.Field) any {
	switch f.Kind {
	case entity.String, entity.Text:
		return s.unique()
	case entity.Int:
		return s.rng.IntN(50)
	case entity.Number:
		return float64(s.rng.IntN(100)) / 4
	case entity.Bool:
		return s.chance(50)
	case entity.Time:
		return s.someTime().RFC3339()
	case entity.Date:
		return s.someTime().RFC3339()[:10]
	case entity.Enum:
		return pick(s.rng, f.Values)
	case entity.Ref:
		if id := s.target(f); id != "" {
			return id
		}
	case entity.Refs:
		var ids []string
		for range s.rng.IntN(3) {
			if id := s.target(f); id != "" {
				ids = append(ids, id)
			}
		}
		return ids
	case entity.Strings:
		var ss []string
		for range s.rng.IntN(3) {
			ss = append(ss, s.unique())
		}
		return ss
	case entity.Money:
		return map[string]any{"amount": s.rng.IntN(10000), "currency": "EUR"}
	case entity.Point:
		return map[string]any{"lat": s.rng.IntN(90), "lng": s.rng.IntN(90)}
	case entity.Lines:
		var lines []map[string]any
		for i := range s.rng.IntN(3) {
			l := map[string]any{"id": fmt.Sprintf("l%d", i)}
			for _, it := range f.Items {
				if it.Required || s.chance(50) {
					if v := s.value(it); v != nil {
						l[it.Name] = v
					}
				}
			}
			lines = append(lines, l)
		}
		return lines
	}
	return nil
}

// someTime is mostly near now, sometimes at the edges of windows.
func (s *sim) someTime() ident.Millis {
	switch s.rng.IntN(4) {
	case 0:
		return s.now + ident.Millis(s.rng.IntN(int(day)))
	case 1:
		return s.now + ident.Millis(s.rng.IntN(240)-120)*day
	}
	return s.now + ident.Millis(s.rng.IntN(20)-10)*day/2
}

func (s *sim) target(f *entity.Field) string {
	if len(f.Targets) == 0 {
		return string(s.any().ID)
	}
	r := s.some(pick(s.rng, f.Targets))
	if r == nil {
		return ""
	}
	return string(r.ID)
}

// fields makes values for a new record of a type.
func (s *sim) fields(t *entity.Type) command.Object {
	o := command.Object{}
	for _, f := range t.Fields {
		if f.ReadOnly || (!f.Required && s.chance(60)) {
			continue
		}
		if v := s.value(f); v != nil {
			o[f.Name] = obj("v", v)["v"]
		}
	}
	give := func(name string, v any) { o[name] = obj("v", v)["v"] }
	switch t.Name {
	case "comment", "document", "tagging":
		if r := s.some(pick(s.rng, t.Field("parentType").Values)); r != nil {
			give("parent", r.ID)
		}
	case "individualPermission":
		o = s.permission(s.somebody())
	case "roleAssignment":
		give("role", s.roleKey())
	case "employee":
		give("email", s.unique()+"@example.com")
		if s.chance(70) {
			give("kind", "in-house")
			delete(o, "client")
		}
	case "organizationalRole":
		o = s.organizational()
	case "warehouse":
		if s.chance(70) {
			give("kind", "van")
		}
	case "filter":
		app := pick(s.rng, []string{"crm", "sales", "billing", "service", "stock", "debtors"})
		give("app", app)
		give("entityType", "client")
	case "delegation":
		o = s.delegation(s.somebody(), s.somebody())
	case "payment", "accrual", "allocation":
		give("amount", map[string]any{"amount": 1 + s.rng.IntN(300), "currency": "EUR"})
	case "creditNote", "collectionNote":
		// Of an invoice, and so of its client.
		if inv := s.some("invoice"); inv != nil {
			give("invoice", inv.ID)
			give("client", inv.Text("client"))
		}
	case "activity", "task":
		if p := s.some("opportunity"); p != nil && s.chance(40) {
			give("opportunity", p.ID)
			give("client", p.Text("client"))
		} else {
			delete(o, "opportunity")
		}
	case "partOrder":
		delete(o, "ticket")
		if j := s.some("job"); j != nil && s.chance(50) {
			give("job", j.ID)
			give("client", j.Text("client"))
		} else {
			delete(o, "job")
		}
	case "receipt":
		delete(o, "purchaseOrder")
		for _, po := range s.recordsOf("purchaseOrder") {
			if po.Text("status") == "Approved" && s.chance(50) {
				give("purchaseOrder", po.ID)
			}
		}
	case "statement":
		give("currency", "EUR")
		give("from", s.day(-20))
		give("to", s.day(s.rng.IntN(20)))
	case "agentInvoice", "agentStatement":
		give("from", s.day(-20))
		give("to", s.day(s.rng.IntN(20)))
		delete(o, "number")
	case "contract":
		give("starts", s.day(s.rng.IntN(60)-50))
		give("lines", s.priced())
		delete(o, "ends")
	case "billingRun":
		give("through", s.day(s.rng.IntN(20)))
	}
	if t.Name == "invoice" || t.Name == "creditNote" {
		give("lines", s.priced())
		delete(o, "due")
	}
	return o
}

// recordsOf returns the live records of a type, or those that are picked from.
func (s *sim) recordsOf(typ string) []*oracle.Record {
	if s.fixed != nil {
		return s.fixed[typ]
	}
	return s.world.Records(typ)
}

// day is the date some days from today.
func (s *sim) day(n int) string { return (s.now + ident.Millis(n)*86_400_000).RFC3339()[:10] }

// priced are the lines of a document that is for something.
func (s *sim) priced() []map[string]any {
	return []map[string]any{{
		"id": "l0", "text": s.unique(), "quantity": 1 + s.rng.IntN(3),
		"unitPrice": map[string]any{"amount": 100 + s.rng.IntN(200), "currency": "EUR"}, "taxPercent": 20,
	}}
}

// roleKeys are the roles that are given and built on: all but the customer
// administrator's, of whom there are two.
func (s *sim) roleKeys() []string {
	return slices.DeleteFunc(s.cfg.Roles.Keys(), func(k string) bool { return k == "level.customer-administrator" })
}

// ownRoles are those that the people of the history hold from the start.
func (s *sim) ownRoles() []string {
	var out []string
	for _, p := range s.cast() {
		for _, r := range p.roles {
			if s.cfg.Roles.Shipped(r) != nil && r != "level.customer-administrator" {
				out = append(out, r)
			}
		}
	}
	return out
}

func (s *sim) roleKey() string {
	if r := s.some("organizationalRole"); r != nil && s.chance(25) {
		return string(r.ID)
	}
	if s.chance(60) {
		return pick(s.rng, s.ownRoles())
	}
	return pick(s.rng, s.roleKeys())
}

func (s *sim) organizational() command.Object {
	base := []string{pick(s.rng, s.roleKeys())}
	if s.chance(50) {
		base = append(base, pick(s.rng, s.ownRoles()))
	}
	slices.Sort(base)
	o := obj("name", s.unique(), "baseRoles", slices.Compact(base))
	if s.chance(60) {
		o["apps"] = obj("v", []string{pick(s.rng, []string{"service", "helpdesk", "stock", "crm", "sales", "billing"}), "me"})["v"]
	}
	if s.chance(40) {
		o["limitClients"] = obj("v", true)["v"]
		s.count("role limited to clients")
	}
	if s.chance(70) {
		var cut []string
		for range 1 + s.rng.IntN(4) {
			t := pick(s.rng, s.cat.Types)
			cut = append(cut, t.Name+"."+pick(s.rng, t.Fields).Name)
		}
		o["cutFields"] = obj("v", cut)["v"]
	}
	return o
}

func (s *sim) permission(who ident.RecordID) command.Object {
	t := pick(s.rng, s.cat.Types)
	if s.chance(50) {
		t = s.cat.Type(pick(s.rng, []string{"client", "job", "jobActivity", "ticket", "asset", "invoice", "product", "employee", "comment", "task", "campaign", "salesOrder", "contract"}))
	}
	o := obj("employee", who, "effect", pick(s.rng, []string{"grant", "denial"}), "verb", pick(s.rng, []string{"view", "view", "view", "edit", "create"}))
	if s.chance(80) {
		o["entityType"] = obj("v", t.Name)["v"]
		if s.chance(60) {
			o["field"] = obj("v", pick(s.rng, t.Fields).Name)["v"]
		}
	} else {
		o["app"] = obj("v", pick(s.rng, []string{"service", "helpdesk", "stock", "billing", "admin", "crm", "sales", "debtors", "agents"}))["v"]
	}
	s.times(o)
	return o
}

// delegation lets one person act for another, for a while.
func (s *sim) delegation(by, to ident.RecordID) command.Object {
	o := obj("delegator", by, "delegate", to, "until", (s.now + ident.Millis(1+s.rng.IntN(600_000))).RFC3339())
	if s.chance(30) {
		o["from"] = obj("v", (s.now + ident.Millis(s.rng.IntN(100_000)-50_000)).RFC3339())["v"]
	}
	return o
}

// times makes a grant time-bound now and then.
func (s *sim) times(o command.Object) {
	if s.chance(30) {
		o["until"] = obj("v", (s.now + ident.Millis(1+s.rng.IntN(200_000))).RFC3339())["v"]
	}
	if s.chance(15) {
		o["from"] = obj("v", (s.now + ident.Millis(s.rng.IntN(100_000)-50_000)).RFC3339())["v"]
		delete(o, "until")
	}
}

// args makes arguments for an action.
func (s *sim) args(a *entity.Action) command.Object {
	o := command.Object{}
	for _, f := range a.Args {
		if f.Required || s.chance(40) {
			if v := s.value(f); v != nil {
				o[f.Name] = obj("v", v)["v"]
			}
		}
	}
	give := func(name string, v any) { o[name] = obj("v", v)["v"] }
	if a.Assigns != "" {
		if s.chance(70) {
			give(a.Assigns, pick(s.rng, s.theme.workers))
		} else {
			give(a.Assigns, s.somebody())
		}
	}
	switch a.Name {
	case "bulk-attach", "bulk-detach":
		var ids []ident.RecordID
		for range 1 + s.rng.IntN(3) {
			if r := s.some(pick(s.rng, []string{"client", "client", "task", "opportunity", "campaign", "contact"})); r != nil {
				ids = append(ids, r.ID)
			}
		}
		give("records", ids)
	case "allocate", "refund":
		give("sum", map[string]any{"amount": 1 + s.rng.IntN(100), "currency": "EUR"})
	}
	return o
}
