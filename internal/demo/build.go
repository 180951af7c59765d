package demo

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"satchel/internal/command"
	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/server/module/admin"
	"satchel/server/module/stock"
)

// Times in milliseconds.
const (
	minute = ident.Millis(60_000)
	hour   = 60 * minute
	day    = 24 * hour
)

// shop is a store of the sample with what hangs on it.
type shop struct {
	id, area ident.RecordID
	name     string
	sites    []ident.RecordID
	contacts []ident.RecordID
	assets   []ident.RecordID
}

// builder makes the demo's rows.
type builder struct {
	now      ident.Millis
	rng      *rand.Rand
	rows     []command.Row
	later    []command.Row // what can be said only when all else is there
	shops    []*shop       // in the order of the sample
	products []ident.RecordID
	vans     map[ident.RecordID][]ident.RecordID // a person's van: its products
	machines map[ident.RecordID]int              // which of machines an asset is
	numbers  map[string]int
}

func newBuilder(now ident.Millis) *builder {
	return &builder{
		now: now, rng: rand.New(rand.NewPCG(20, 26)), rows: slices.Clone(sample()),
		vans: map[ident.RecordID][]ident.RecordID{}, machines: map[ident.RecordID]int{}, numbers: map[string]int{},
	}
}

func (b *builder) build() []command.Row {
	b.survey()
	b.skills()
	b.staff()
	b.stockVans()
	b.checklists()
	b.assets()
	b.work()
	b.tickets()
	b.selling()
	b.trading()
	b.charging()
	b.agency()
	return append(b.rows, b.later...)
}

// survey finds the shops and products among the sample's rows.
func (b *builder) survey() {
	text := func(r *command.Row, field string) string { return entity.Value(r.Fields[field]).Text() }
	byID := map[string]*shop{}
	for i := range b.rows {
		r := &b.rows[i]
		switch r.Type {
		case "client":
			if text(r, "kind") == "company" {
				s := &shop{id: r.ID, name: text(r, "name"), area: ident.RecordID(text(r, "salesArea"))}
				byID[string(r.ID)] = s
				b.shops = append(b.shops, s)
			}
		case "site":
			if s := byID[text(r, "client")]; s != nil {
				s.sites = append(s.sites, r.ID)
			}
		case "contact":
			if s := byID[text(r, "client")]; s != nil {
				s.contacts = append(s.contacts, r.ID)
			}
		case "product":
			if strings.HasPrefix(text(r, "category"), "Components") || strings.HasPrefix(text(r, "category"), "Accessories") {
				b.products = append(b.products, r.ID)
			}
		}
	}
}

// shop returns a shop by its number, from 1.
func (b *builder) shop(n int) *shop { return b.shops[n-1] }

// money is an amount in US cents.
type money int64

// add adds a row; fields come as names and values, of which empty ones are
// left out.
func (b *builder) add(typ string, id ident.RecordID, at ident.Millis, fields ...any) {
	b.rows = append(b.rows, row(typ, id, at, fields...))
}

func (b *builder) after(typ string, id ident.RecordID, fields ...any) {
	b.later = append(b.later, row(typ, id, 0, fields...))
}

func row(typ string, id ident.RecordID, at ident.Millis, fields ...any) command.Row {
	r := command.Row{Type: typ, ID: id, At: at, Fields: command.Object{}}
	for i := 0; i < len(fields); i += 2 {
		var v entity.Value
		switch x := fields[i+1].(type) {
		case string:
			if x != "" {
				v = entity.StringValue(x)
			}
		case ident.RecordID:
			if x != "" {
				v = entity.RefValue(x)
			}
		case []ident.RecordID:
			ss := make([]string, len(x))
			for j, id := range x {
				ss[j] = string(id)
			}
			v = entity.SetValue(ss)
		case []string:
			v = entity.SetValue(x)
		case ident.Millis:
			if x != 0 {
				v = entity.TimeValue(x)
			}
		case int:
			v = entity.IntValue(int64(x))
		case bool:
			v = entity.BoolValue(x)
		case money:
			v = entity.Value(fmt.Sprintf(`{"amount":%d,"currency":"USD"}`, x))
		case json.RawMessage:
			v = entity.Value(x)
		default:
			panic(fmt.Sprintf("demo: a value of %T", x))
		}
		if v != nil {
			r.Fields[fields[i].(string)] = json.RawMessage(v)
		}
	}
	return r
}

// id returns the next id of a kind: "demo-job-0001".
func (b *builder) id(kind string) ident.RecordID {
	b.numbers[kind]++
	return ident.RecordID(fmt.Sprintf("demo-%s-%04d", kind, b.numbers[kind]))
}

// date renders the UTC day of an instant.
func date(m ident.Millis) string { return m.Time().Format("2006-01-02") }

func pick[T any](b *builder, list []T) T { return list[b.rng.IntN(len(list))] }

// first returns the first of a list, or nothing.
func first(ids []ident.RecordID) ident.RecordID {
	if len(ids) == 0 {
		return ""
	}
	return ids[0]
}

// Ids of the scheduling roles.
const (
	skillElectrics  ident.RecordID = "demo-skill-electrics"
	skillPneumatics ident.RecordID = "demo-skill-pneumatics"
	skillTills      ident.RecordID = "demo-skill-tills"
)

func (b *builder) skills() {
	b.add("schedulingRole", skillElectrics, 0, "name", "Electrics", "description", "May work on mains and battery chargers.")
	b.add("schedulingRole", skillPneumatics, 0, "name", "Pneumatics", "description", "Compressors and pneumatic repair stands.")
	b.add("schedulingRole", skillTills, 0, "name", "Tills", "description", "Points of sale and their network.")
	b.add("organizationalRole", "demo-orgrole-planning", 0, "name", "Planning without prices",
		"baseRoles", []string{serviceManager}, "apps", []string{"service"}, "cutFields", []string{"product.listPrice", "invoice.lines"})
}

// staff makes the people who sign in, with all that decides what they may do.
func (b *builder) staff() {
	since := b.now - 400*day
	for i := range people {
		p := &people[i]
		var client ident.RecordID
		if p.staff > 0 {
			client = b.shop(p.staff).id
		}
		b.add("employee", p.id(), since, "name", p.name, "email", p.email(), "kind", p.kind, "title", p.title, "client", client,
			"salesAreas", p.areas, "schedulingRoles", p.skills, "phone", fmt.Sprintf("+1 206 555 01%02d", i+1), "timeZone", "America/Los_Angeles",
			"status", admin.Active)
		for j, role := range p.roles {
			var until ident.Millis
			if p.until && j == len(p.roles)-1 {
				until = b.now + 14*day
			}
			b.add("roleAssignment", b.id("assignment"), since, "employee", p.id(), "role", role, "until", until)
		}
		for _, n := range p.onsite {
			b.add("onsiteClient", b.id("onsite"), since, "employee", p.id(), "client", b.shop(n).id)
		}
		rules, mode := p.hidden, admin.AllBut
		if p.only != nil {
			rules, mode = p.only, admin.Only
		}
		if rules == nil {
			continue
		}
		visibility := b.id("visibility")
		b.add("clientVisibility", visibility, since, "employee", p.id(), "mode", mode)
		for _, n := range rules {
			b.add("visibilityRule", b.id("rule"), since, "visibility", visibility, "client", b.shop(n).id)
		}
	}
	// One person's own deviations from the roles.
	b.add("individualPermission", "demo-denial-phones", since, "employee", named("Lena Voss"), "effect", admin.Denial,
		"verb", "view", "entityType", "client", "field", "phones")
	b.add("individualPermission", "demo-grant-suppliers", since, "employee", named("Sam Reyes"), "effect", admin.Grant,
		"verb", "view", "entityType", "supplier")
	// Two weeks of holidays.
	b.add("delegation", "demo-delegation-field", since, "delegator", named("Marcus Field"), "delegate", named("Sam Reyes"), "from", b.now-day,
		"until", b.now+13*day, "reason", "Holidays")
	// A role for two shops alone.
	b.add("organizationalRole", "demo-orgrole-two-shops", 0, "name", "Two shops, to look at", "baseRoles", []string{"service.guest"}, "limitClients", true)
	for i, n := range []int{5, 6} {
		b.add("organizationalRoleClient", ident.RecordID(fmt.Sprintf("demo-orgrole-client-%d", i+1)), 0, "role", ident.RecordID("demo-orgrole-two-shops"),
			"client", b.shop(n).id)
	}
	// Made by the tenant, and held by one of the sample's staff, who is invited.
	b.add("roleAssignment", "demo-assignment-planning", since, "employee", ident.RecordID("aw-employee-000001"), "role", "demo-orgrole-planning")
}

// named returns the id of one of the people.
func named(name string) ident.RecordID {
	i := slices.IndexFunc(people, func(p person) bool { return p.name == name })
	return people[i].id()
}

// stockVans gives each engineer a van with parts in it, and makes those who
// go out agents that can be dispatched.
func (b *builder) stockVans() {
	for i := range people {
		p := &people[i]
		if !p.goesOut() {
			continue
		}
		var van ident.RecordID
		if p.holds(mobileUser) {
			van = ident.RecordID("demo-van-" + p.slug("-"))
			b.add("warehouse", van, 0, "name", "Van of "+p.name, "kind", stock.KindVan, "custodian", p.id())
			for _, n := range b.rng.Perm(len(b.products))[:14] {
				product := b.products[n]
				b.vans[p.id()] = append(b.vans[p.id()], product)
				b.add("stockLevel", b.id("level"), 0, "product", product, "warehouse", van, "quantity", 2+b.rng.IntN(9))
			}
		}
		b.add("serviceAgent", ident.RecordID("demo-agent-"+p.slug("-")), 0, "name", p.name, "employee", p.id(), "warehouse", van,
			"phone", fmt.Sprintf("+1 206 555 01%02d", i+1))
	}
}

// question is an item of a checklist.
type question struct {
	ID       string `json:"id"`
	Question string `json:"question"`
	Answer   string `json:"answer"`
	Required bool   `json:"required,omitempty"`
}

// checklists by id.
var checklists = map[ident.RecordID]struct {
	name  string
	items []question
}{
	"demo-checklist-safety": {"Safety on arrival", []question{
		{"power", "Is the machine off the mains?", "yes-no", true},
		{"area", "Is the work area clear?", "yes-no", true},
		{"remarks", "What stood out?", "text", false},
	}},
	"demo-checklist-compressor": {"Compressor, yearly", []question{
		{"pressure", "Pressure at rest, in bar", "number", true},
		{"valve", "Does the safety valve open?", "yes-no", true},
		{"oil", "Oil changed?", "yes-no", false},
	}},
	"demo-checklist-handover": {"Handover", []question{
		{"works", "Was the machine seen working?", "yes-no", true},
		{"explained", "To whom was it explained?", "text", false},
	}},
}

// checklistIDs is the order in which checklists are made and asked.
var checklistIDs = []ident.RecordID{"demo-checklist-safety", "demo-checklist-compressor", "demo-checklist-handover"}

func (b *builder) checklists() {
	for _, id := range checklistIDs {
		c := checklists[id]
		items, err := json.Marshal(c.items)
		if err != nil {
			panic(err) // plain data
		}
		b.add("checklist", id, 0, "name", c.name, "items", json.RawMessage(items))
	}
}

// machines stand in workshops; the skill is what work on them may ask for.
var machines = []struct {
	name, faults string
	skill        ident.RecordID
}{
	{"Air compressor", "loses pressure overnight|trips the fuse|yearly inspection", skillPneumatics},
	{"Pneumatic repair stand", "sinks under load|hose leaks|clamp doesn't hold", skillPneumatics},
	{"Wheel truing machine", "reads off centre|display is dark|calibration due", ""},
	{"E-bike charging rack", "two bays don't charge|residual current trips|firmware update", skillElectrics},
	{"Point of sale", "receipt printer jams|card reader offline|new till to install", skillTills},
	{"Parts washer", "pump is noisy|heater stays cold|filter change", ""},
	{"Suspension dyno", "belt slips|load cell needs calibration|oil on the rig", skillElectrics},
	{"Window display lift", "stops halfway|limit switch broken|yearly inspection", skillElectrics},
}

// equipped is every how many shops has machines under service.
const equipped = 5

func (b *builder) assets() {
	for i, s := range b.shops {
		if i%equipped != 0 && i > 40 {
			continue
		}
		for range 1 + b.rng.IntN(3) {
			n := b.rng.IntN(len(machines))
			m, id := machines[n], b.id("asset")
			b.machines[id] = n
			installed := b.now - ident.Millis(200+b.rng.IntN(2000))*day
			b.add("asset", id, installed, "client", s.id, "name", m.name, "serial", fmt.Sprintf("SN-%06d", 100000+b.rng.IntN(900000)),
				"site", first(s.sites), "installed", date(installed), "warrantyUntil", date(installed+730*day))
			s.assets = append(s.assets, id)
		}
	}
}
