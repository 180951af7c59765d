package canary

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"satchel/internal/calendar"
	"satchel/internal/command"
	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/internal/testworld"
)

// Person is one of the people of a [World].
type Person struct {
	// Key is what the person is called here, "engineer".
	Key   string
	ID    ident.RecordID
	Email string
	Roles []string
	// Mobile: the person has the Mobile module, and a phone.
	Mobile bool
	kind   string
	client int // of client staff, an index of clients, or -1
	north  bool
}

// The clients by their place in World.Clients: the first two lie in the north,
// the others in the south. Blind people don't see the second.
const (
	acme = iota
	blue
	corp
	dune
	clients
)

// people are the cast. Whoever is to have other rights than their roles gets
// them in rights.
func people() []Person {
	in := func(key string, roles ...string) Person {
		return Person{Key: key, Roles: roles, kind: "in-house", client: -1, Mobile: slices.Contains(roles, mobile)}
	}
	as := func(p Person, kind string, client int) Person { p.kind, p.client = kind, client; return p }
	north := func(p Person) Person { p.north = true; return p }
	return []Person{
		in("admin", admin), in("half-admin", admin, mobile, "service.guest", "stock.guest"),
		in("manager", "service.manager"), in("blind", "service.manager", "level.basic"), in("engineer", "service.engineer", mobile),
		in("colleague", "service.engineer", mobile), in("guest", "service.guest"), in("guest-agent", "service.guest-agent", mobile),
		north(in("rep", "service.sales-representative")), in("basic", "level.basic"), as(in("staff", "level.basic"), "client-staff", acme),
		as(in("blue-staff", "level.basic"), "client-staff", blue), as(in("liaison", "level.onsite-manager", mobile), "client-staff", acme),
		in("onsite", "level.onsite-manager", mobile), as(in("contractor", "service.manager", mobile), "subcontractor", -1),
		in("ticketer", "level.ticket-manager"), north(in("crm-manager", "crm.manager")), north(in("crm-rep", "crm.representative")),
		in("crm-ops", "crm.operations"), in("crm-guest", "crm.guest"), in("sales-rep", "sales.representative"), in("sales-guest", "sales.guest"),
		in("biller", "billing.agent"), north(in("bill-rep", "billing.sales-representative")), in("stock-ctrl", "stock.controller"),
		north(in("stock-rep", "stock.sales-representative")), in("debt-ops", "debtors.operations"), in("paymaster", "agents.accounting-administrator"),
		in("deputy", "level.basic", mobile), in("denied", "service.manager", "stock.guest", "crm.guest-manager"), in("desk"), in("granted", "level.basic"),
		in("nobody"), in("mobile-only", mobile),
	}
}

const (
	admin  = "level.customer-administrator"
	mobile = "mobile.service-agent-user"
)

// World is a tenant in which every field that has room bears a token.
type World struct {
	People  []Person
	Clients []ident.RecordID
	// Rows make the tenant, in order.
	Rows []command.Row

	cat  *entity.Catalogue
	m    *mint
	by   map[string][]made
	turn int
}

// made is a record of the world.
type made struct {
	id     ident.RecordID
	client int // -1 for none
}

// NewWorld makes a world of the seed.
func NewWorld(cat *entity.Catalogue, seed int64) *World {
	w := &World{cat: cat, m: newMint(seed), by: map[string][]made{}, People: people()}
	for i := range w.People {
		p := &w.People[i]
		p.ID = w.id("emp")
		p.Email = w.m.word() + "@example.com"
	}
	w.base()
	w.rights()
	w.fill()
	for i, id := range w.Clients { // these could not be named before they were there
		w.Rows = append(w.Rows, testworld.Row("client", id, "owner", w.Person([]string{"manager", "crm-rep", "biller", "sales-rep"}[i]).ID))
	}
	for i, x := range w.by["ticket"] {
		if i%2 == 0 {
			w.Rows = append(w.Rows, testworld.Row("ticket", x.id, "job", w.of("job", x.client)))
		}
	}
	return w
}

// Person returns one of the people.
func (w *World) Person(key string) *Person {
	for i := range w.People {
		if w.People[i].Key == key {
			return &w.People[i]
		}
	}
	panic("canary: nobody is called " + key)
}

func (w *World) id(of string) ident.RecordID {
	if len(of) > 20 {
		of = of[:20]
	}
	return ident.RecordID(strings.ToLower(of) + "-" + w.m.word())
}

func (w *World) add(typ string, id ident.RecordID, client int, kv ...any) ident.RecordID {
	if id == "" {
		id = w.id(typ)
	}
	w.Rows = append(w.Rows, testworld.Row(typ, id, kv...))
	w.by[typ] = append(w.by[typ], made{id, client})
	return id
}

// filled adds a record whose fields are as given, and otherwise full.
func (w *World) filled(typ string, id ident.RecordID, client int, kv ...any) ident.RecordID {
	t := w.cat.Type(typ)
	given := map[string]bool{}
	for i := 0; i < len(kv); i += 2 {
		given[kv[i].(string)] = true
	}
	for _, f := range t.Fields {
		if given[f.Name] || untouched[typ+"."+f.Name] {
			continue
		}
		if v := w.value(t, f, client); v != nil {
			kv = append(kv, f.Name, v)
		}
	}
	return w.add(typ, id, client, kv...)
}

// untouched are the fields that are left to the server, or that nothing may
// stand in: what stands there is no text of anybody's, or comes to be where the
// record is made.
var untouched = map[string]bool{
	"comment.parentType": true, "document.parentType": true, "tagging.parentType": true, "stockMovement.causeType": true, "notification.aboutType": true,
	"tagging.owner": true, "tagging.visibility": true,
	"employee.mailStatus": true, // mail that came back: nobody here would get any
	"ticket.onsiteGroup":  true, // must be one that there is
	"stockLevel.reserved": true, "payment.allocated": true, "payment.open": true, "invoice.settled": true, "invoice.open": true,
	"payment.refunded": true, "allocation.returned": true,
}

// Bare are the fields that bear no token, with the reason.
var Bare = func() map[string]string {
	out := map[string]string{}
	for why, fields := range map[string][]string{
		"names a type, a field, a role, a verb or an event, of which all are known": {
			"filter.entityType", "filter.sort", "individualPermission.entityType", "individualPermission.field", "individualPermission.verb",
			"organizationalRole.apps", "organizationalRole.baseRoles", "organizationalRole.cutFields", "report.entityType", "report.groupBy", "report.totals",
			"notification.aboutType", "notification.event",
		},
		"a zone or a currency that there is":           {"employee.timeZone", "statement.currency"},
		"a percentage, or a number of pieces in stock": {"opportunity.probability", "stockLevel.reserved"},
		"the server's clock":                           {"device.lastSeen", "device.revokedAt"},
		"would put what it is of out of force":         {"delegation.from", "individualPermission.from", "roleAssignment.from"},
		"a search would find nothing in any list":      {"filter.search"},
		"a number of days":                             {"setting.days"},
		"comes to be when money is paid back only":     {"payment.refunded", "allocation.returned"},
		"dates, and minutes of an offset":              {"schedulingRole.daysOff", "schedulingRole.utcOffset"},
		"would let nobody be dispatched":               {"schedulingRole.dispatchedBy"},
		"names a group that bears a token itself":      {"ticket.onsiteGroup"},
		"levels, priorities and a number of hours":     {"setting.targets"},
		"comes to be when offline work meets another's only": {
			"conflict.at", "conflict.author", "conflict.device", "conflict.field", "conflict.mine", "conflict.mutation", "conflict.record", "conflict.recordType",
			"conflict.settledAt", "conflict.settledBy", "conflict.was",
		},
	} {
		for _, f := range fields {
			out[f] = why
		}
	}
	return out
}()

// special are values that must be of a certain kind.
func (w *World) special(t *entity.Type, f *entity.Field) (json.RawMessage, bool) {
	text := func(s string) (json.RawMessage, bool) { return json.RawMessage(fmt.Sprintf("%q", s)), true }
	switch t.Name + "." + f.Name {
	case "statement.currency":
		return text("EUR")
	case "filter.entityType", "report.entityType":
		return text("client")
	case "filter.app", "report.app":
		return text("service")
	case "filter.query":
		return text("name contains " + w.m.word() + " and number ne " + w.m.word())
	case "report.filter":
		return text("name ne " + w.m.word())
	case "filter.sort":
		return text("name")
	case "report.groupBy":
		return json.RawMessage(`["name"]`), true
	case "report.totals":
		return nil, true
	case "employee.timeZone":
		return text("Europe/Berlin")
	case "filter.search":
		return text("")
	case "schedulingRole.daysOff":
		return json.RawMessage(`["2019-12-25"]`), true
	case "schedulingRole.utcOffset":
		return json.RawMessage("0"), true
	case "schedulingRole.hours": // people work at all times, by lines whose ids are tokens
		var rows []string
		for _, day := range calendar.Weekdays {
			rows = append(rows, fmt.Sprintf(`{"id":"l-%s","day":%q,"from":"00:00","until":"24:00"}`, w.m.word(), day))
		}
		return json.RawMessage("[" + strings.Join(rows, ",") + "]"), true
	case "document.sha256":
		return text(w.m.digest())
	}
	if f.Name == "status" && t.Status != nil {
		if s := begun[t.Name]; s != "" {
			return text(s)
		}
		return text(t.Status.Initial)
	}
	if f.Kind == entity.Int && smallInts[t.Name+"."+f.Name] {
		return json.RawMessage("3"), true
	}
	if f.Name == "taxPercent" || f.Name == "share" {
		n := w.m.number()
		return json.RawMessage(n[:1] + "." + n[1:]), true
	}
	return nil, false
}

// begun are statuses that records stand in, where that is not the first.
var begun = map[string]string{"invoice": "Approved", "jobActivity": "Accepted", "ticket": "Assigned"}

// smallInts are multiplied with money, or counted in stock.
var smallInts = map[string]bool{
	"opportunity.probability": true, "salesOrder.quantity": true, "purchaseOrder.quantity": true, "receipt.quantity": true, "transfer.quantity": true,
}

func (w *World) value(t *entity.Type, f *entity.Field, client int) json.RawMessage {
	if v, ok := w.special(t, f); ok {
		return v
	}
	switch f.Kind {
	case entity.Ref, entity.Refs:
		to := w.target(f, client)
		if to == "" {
			return nil
		}
		if f.Kind == entity.Refs {
			return json.RawMessage(fmt.Sprintf("[%q]", to))
		}
		return json.RawMessage(fmt.Sprintf("%q", to))
	case entity.Lines:
		return w.lines(t, f, client)
	case entity.String, entity.Text, entity.Int, entity.Bool, entity.Time, entity.Date, entity.Enum, entity.Strings, entity.Money, entity.Point, entity.Number:
	}
	return w.m.value(f)
}

func (w *World) lines(t *entity.Type, f *entity.Field, client int) json.RawMessage {
	line := map[string]json.RawMessage{"id": json.RawMessage(fmt.Sprintf("%q", "l-"+w.m.word()))}
	for _, it := range f.Items {
		if it.Name == "quantity" && it.Kind == entity.Number {
			line[it.Name] = json.RawMessage("2")
			continue
		}
		if v := w.value(t, it, client); v != nil {
			line[it.Name] = v
		}
	}
	b, err := json.Marshal([]any{line})
	if err != nil {
		panic(err)
	}
	return b
}

// target picks a record that the field may name: of the same client, or of none.
func (w *World) target(f *entity.Field, client int) ident.RecordID {
	var all []made
	for _, n := range f.Targets {
		for _, x := range w.by[n] {
			if n == "employee" && x.client >= 0 && x.client != client {
				continue
			}
			if x.client < 0 || x.client == client {
				all = append(all, x)
			}
		}
	}
	if len(all) == 0 {
		return ""
	}
	w.turn++
	return all[w.turn%len(all)].id
}

// base makes what everything hangs on: areas, people, clients.
func (w *World) base() {
	for range 2 {
		w.filled("salesArea", "", -1)
		w.filled("geoArea", "", -1)
	}
	w.filled("schedulingRole", "", -1)
	w.filled("carrier", "", -1)
	areas := w.by["salesArea"]
	for i := range clients {
		id := w.filled("client", "", i, "salesArea", areas[i/2].id)
		w.Clients = append(w.Clients, id)
	}
	for i := range w.People {
		p := &w.People[i]
		kv := []any{"email", p.Email, "kind", p.kind, "status", "Active"}
		if p.client >= 0 {
			kv = append(kv, "client", w.Clients[p.client])
		} else {
			kv = append(kv, "client", nil)
		}
		var in []ident.RecordID
		if p.north {
			in = append(in, areas[0].id)
		}
		w.filled("employee", p.ID, p.client, append(kv, "salesAreas", in)...)
		for _, r := range p.Roles {
			w.add("roleAssignment", "", p.client, "employee", p.ID, "role", r, "until", w.m.day())
		}
		w.filled("preference", "", -1, "owner", p.ID)
	}
}

// rights are what sets people apart beside their roles.
func (w *World) rights() {
	hide := func(key, mode string, which ...int) {
		vis := w.add("clientVisibility", "", -1, "employee", w.Person(key).ID, "mode", mode)
		for _, c := range which {
			w.add("visibilityRule", "", c, "visibility", vis, "client", w.Clients[c])
		}
	}
	for _, key := range []string{"half-admin", "blind", "colleague", "crm-manager", "sales-rep", "biller", "debt-ops", "stock-ctrl", "paymaster"} {
		hide(key, "all-but", blue)
	}
	hide("contractor", "only", acme)
	hide("crm-ops", "only", acme, corp)
	for _, key := range []string{"onsite", "liaison"} {
		w.filled("onsiteClient", "", acme, "employee", w.Person(key).ID, "client", w.Clients[acme])
	}
	w.filled("onsiteClient", "", blue, "employee", w.Person("manager").ID, "client", w.Clients[blue])
	deny := func(key string, kv ...any) {
		w.add("individualPermission", "", -1, append([]any{"employee", w.Person(key).ID, "effect", "denial", "verb", "view", "until", w.m.day()}, kv...)...)
	}
	for _, d := range []struct {
		typ    string
		fields []string
	}{
		{"client", []string{"name", "number", "accessNotes", "position"}},
		{"job", []string{"title", "due", "client"}},
		{"jobActivity", []string{"title", "scheduledStart", "status"}},
		{"contact", []string{"name"}},
		{"document", []string{"name", "mediaType"}},
		{"ticket", []string{"subject"}},
		{"product", []string{"name"}},
		{"invoice", []string{"total"}},
	} {
		for _, f := range d.fields {
			deny("denied", "entityType", d.typ, "field", f)
		}
	}
	deny("denied", "entityType", "asset")
	deny("half-admin", "entityType", "employee", "field", "phone")
	deny("half-admin", "entityType", "employee", "field", "kind")
	deny("half-admin", "entityType", "employee", "field", "name")
	deny("half-admin", "entityType", "report", "field", "name")
	deny("half-admin", "entityType", "roleAssignment", "field", "role")
	grant := func(key string, kv ...any) {
		w.add("individualPermission", "", -1, append([]any{"employee", w.Person(key).ID, "effect", "grant"}, kv...)...)
	}
	grant("granted", "verb", "view", "entityType", "invoice", "app", "billing")
	grant("granted", "verb", "view", "entityType", "employee", "field", "title")
	grant("granted", "verb", "view", "entityType", "asset", "app", "service")
	role := w.filled("organizationalRole", "", -1, "baseRoles", []string{"service.manager", "billing.agent"}, "apps", []string{"service"},
		"cutFields", []string{"client.accessNotes", "job.description", "asset.serial"}, "limitClients", true)
	w.add("organizationalRoleClient", "", acme, "role", role, "client", w.Clients[acme])
	w.add("roleAssignment", "", -1, "employee", w.Person("desk").ID, "role", role)
	w.filled("delegation", "", -1, "delegator", w.Person("engineer").ID, "delegate", w.Person("deputy").ID, "from", nil)
	w.filled("delegation", "", -1, "delegator", w.Person("blind").ID, "delegate", w.Person("deputy").ID, "from", nil)
}

// fill makes records of every other type: of those that belong to clients some
// of each client, of the others a few.
func (w *World) fill() {
	done := map[string]bool{"device": true, "conflict": true, "setting": true}
	for _, t := range w.cat.Types {
		if len(w.by[t.Name]) > 0 {
			done[t.Name] = true
		}
	}
	for left := true; left; {
		left = false
		for _, t := range w.cat.Types {
			if done[t.Name] || !w.ready(t, done) {
				continue
			}
			w.some(t)
			done[t.Name], left = true, true
		}
	}
	for _, t := range w.cat.Types {
		if !done[t.Name] {
			panic("canary: nothing makes a record of type " + t.Name)
		}
	}
}

// ready reports whether what a record of the type may hang on is there.
func (w *World) ready(t *entity.Type, done map[string]bool) bool {
	if t.Name == "notification" && !done["job"] {
		return false
	}
	for _, f := range t.Fields {
		if f.Kind != entity.Ref && f.Kind != entity.Refs {
			continue
		}
		targets := f.Targets
		if len(targets) == 0 {
			if kind := t.Field(f.Name + "Type"); kind != nil {
				targets = kind.Values
			}
		}
		for _, n := range targets {
			if !done[n] && n != t.Name && !circular[t.Name+">"+n] {
				return false
			}
		}
	}
	return true
}

// circular are references both ways: these come to be later.
var circular = map[string]bool{
	"ticket>job": true, "comment>partUsed": true, "accrual>agentInvoice": true, "invoice>billingRun": true,
}

// each calls f for what records of the type may hang on, by the any-typed
// reference that is its root.
func (w *World) each(t *entity.Type, f func(made)) {
	for _, n := range t.Field(t.Root + "Type").Values {
		for _, x := range w.by[n] {
			if x.client >= 0 || len(w.by[n]) < 4 {
				f(x)
			}
		}
	}
}

func (w *World) some(t *entity.Type) {
	if root := t.Field(t.Root); root != nil && len(root.Targets) == 0 {
		if t.Name == "notification" {
			for i := range w.People {
				p := &w.People[i]
				job := w.by["job"][i%clients]
				w.filled(t.Name, "", job.client, "recipient", p.ID, "about", job.id, "aboutType", "job", "event", "jobActivity.assigned", "readAt", []any{nil, w.m.day()}[i%2])
			}
			return
		}
		seen := map[string]int{}
		w.each(t, func(x made) {
			key := string(x.id)
			if seen[key]++; seen[key] == 1 {
				w.filled(t.Name, "", x.client, t.Root, x.id)
			}
		})
		return
	}
	top := w.top(t)
	n := 2
	if top {
		n = clients
	}
	for i := range n {
		client := -1
		if top {
			client = i
		}
		times := 1
		if slices.Contains(owned, t.Name) {
			times = 3
		}
		for range times {
			w.filled(t.Name, "", client, w.given(t, i, client)...)
		}
	}
}

// owned are the types whose records are somebody's own: there are more of them,
// so that more people have some.
var owned = []string{"task", "activity", "opportunity", "jobActivity", "ticket", "tag", "filter"}

// top reports whether records of the type belong to clients.
func (w *World) top(t *entity.Type) bool {
	for depth := 0; t != nil && depth < 8; depth++ {
		if t.IsClient {
			return true
		}
		root := t.Field(t.Root)
		if root == nil || len(root.Targets) == 0 {
			return false
		}
		if t = w.cat.Type(root.Targets[0]); t != nil && t.Name == "employee" {
			return false
		}
	}
	return false
}

// given are fields that have to fit each other.
func (w *World) given(t *entity.Type, i, client int) []any {
	switch t.Name {
	case "productRelationship":
		return []any{"product", w.by["product"][i].id, "related", w.by["product"][1-i].id}
	case "stockLevel":
		return []any{"product", w.by["product"][i].id, "warehouse", w.by["warehouse"][i].id}
	case "allocation": // less than either side has
		sum := w.m.fresh(func() string { return w.m.number()[:9] })
		return []any{"amount", json.RawMessage(`{"amount":` + sum + `,"currency":"EUR"}`)}
	case "warehouse":
		if i == 0 {
			return []any{"kind", "van", "custodian", w.Person("engineer").ID}
		}
		return []any{"kind", "warehouse", "custodian", nil}
	case "jobActivity":
		// People of every kind have work everywhere.
		return []any{"assignee", w.worker(client)}
	case "agentInvoice", "agentStatement":
		return nil
	case "individualPermission", "clientVisibility", "setting":
		return nil
	}
	return nil
}

func (w *World) worker(client int) ident.RecordID {
	keys := []string{"engineer", "colleague", "guest-agent", "deputy"}
	if client == acme {
		keys = append(keys, "contractor")
	}
	w.turn++
	return w.Person(keys[w.turn%len(keys)]).ID
}
