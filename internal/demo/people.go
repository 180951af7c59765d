package demo

import (
	"slices"
	"strings"

	"satchel/internal/ident"
	"satchel/server/module/admin"
)

// Keys of the roles that the demo hands out.
const (
	serviceAdministrator  = "service.administrator"
	serviceManager        = "service.manager"
	serviceEngineer       = "service.engineer"
	serviceRepresentative = "service.sales-representative"
	serviceGuestAgent     = "service.guest-agent"
	serviceGuest          = "service.guest"
	mobileUser            = "mobile.service-agent-user"
	customerAdministrator = "level.customer-administrator"
	basic                 = "level.basic"
	ticketManager         = "level.ticket-manager"
	onsiteManager         = "level.onsite-manager"
)

// person is somebody who signs in. Shops are numbered in the order of the
// sample; see builder.shop.
type person struct {
	name   string
	title  string
	kind   string
	roles  []string
	areas  []ident.RecordID
	skills []ident.RecordID
	staff  int   // the shop of client staff, from 1; 0 for none
	onsite []int // shops they work at
	only   []int // the only shops they see
	hidden []int // shops they don't see
	until  bool  // the last role ends two weeks from now
}

// west are the sales areas of those who have some but not all.
var west = []ident.RecordID{"aw-area-0001", "aw-area-0004"}

// people are the sign-ins. Whoever is the only one with just one role stays
// so: the demo shows what each role does by itself.
var people = []person{
	{name: "Ada Winter", title: "Head of administration", kind: admin.InHouse, roles: []string{customerAdministrator}},
	{name: "Sofia Adler", title: "Head of service", kind: admin.InHouse, roles: []string{serviceAdministrator}},
	{name: "Marcus Field", title: "Dispatcher", kind: admin.InHouse, roles: []string{serviceManager}},
	{name: "Jo Marsh", title: "Dispatcher, west", kind: admin.InHouse, roles: []string{serviceManager, mobileUser}, hidden: []int{30}},
	{name: "Erik Holm", title: "Workshop engineer", kind: admin.InHouse, roles: []string{serviceEngineer}, skills: []ident.RecordID{skillElectrics}},
	{name: "Nina Park", title: "Field engineer", kind: admin.InHouse, roles: []string{serviceEngineer, mobileUser}, skills: []ident.RecordID{skillElectrics, skillTills}},
	{name: "Omar Haddad", title: "Field engineer", kind: admin.InHouse, roles: []string{serviceEngineer, mobileUser}, skills: []ident.RecordID{skillPneumatics}},
	{name: "Priya Nair", title: "Field engineer", kind: admin.InHouse, roles: []string{serviceEngineer, mobileUser}, skills: []ident.RecordID{skillElectrics, skillPneumatics}},
	{name: "Tom Becker", title: "Field engineer", kind: admin.InHouse, roles: []string{serviceEngineer, mobileUser}, skills: []ident.RecordID{skillTills}, hidden: []int{31}},
	{name: "Lena Voss", title: "Field engineer, on contract", kind: admin.Subcontractor, roles: []string{serviceEngineer, mobileUser}, skills: []ident.RecordID{skillPneumatics}},
	{name: "Ruth Hale", title: "Sales, north-west and south-west", kind: admin.InHouse, roles: []string{serviceRepresentative}, areas: []ident.RecordID{"aw-area-0001", "aw-area-0004"}},
	{name: "Gus Ellery", title: "Helper on call", kind: admin.Subcontractor, roles: []string{serviceGuestAgent}},
	{name: "Vera Quist", title: "Auditor", kind: admin.InHouse, roles: []string{serviceGuest}},
	{name: "Kai Nomura", title: "Consultant", kind: admin.Programmer, roles: []string{serviceGuest}, only: []int{2, 8, 14}},
	{name: "Sam Reyes", title: "Stand-in for the dispatcher", kind: admin.InHouse, roles: []string{serviceGuest, serviceManager}, until: true},
	{name: "Milo Sand", title: "Waiting for a role", kind: admin.InHouse, roles: []string{mobileUser}},
	{name: "Bea Lindgren", title: "Help desk", kind: admin.InHouse, roles: []string{basic}, onsite: []int{3, 9}},
	{name: "Iris Cole", title: "IT on the premises", kind: admin.InsideIT, roles: []string{basic, mobileUser}, onsite: []int{3, 4, 9}},
	{name: "Carl Jonas", title: "Shop manager", kind: admin.ClientStaff, roles: []string{basic}, staff: 3},
	{name: "Tessa Moor", title: "Help desk lead", kind: admin.InHouse, roles: []string{ticketManager}},
	{name: "Owen Brandt", title: "Onsite manager", kind: admin.InHouse, roles: []string{onsiteManager}, onsite: []int{3, 4}},
	{name: "Ines Duarte", title: "Onsite manager", kind: admin.InHouse, roles: []string{onsiteManager, mobileUser}, onsite: []int{3, 9, 10}},
	{name: "Clara Engel", title: "Head of accounts", kind: admin.InHouse, roles: []string{"crm.administrator"}},
	{name: "Hugo Stern", title: "Account manager, west", kind: admin.InHouse, roles: []string{"crm.manager"}, areas: west},
	{name: "Rosa Klein", title: "Account representative, north-west", kind: admin.InHouse, roles: []string{"crm.representative"}, areas: west[:1]},
	{name: "Emil Hart", title: "Account operations", kind: admin.InHouse, roles: []string{"crm.operations"}},
	{name: "Mona Frey", title: "Member of the board", kind: admin.InHouse, roles: []string{"crm.guest-manager"}},
	{name: "Levi Stone", title: "Intern, accounts", kind: admin.InHouse, roles: []string{"crm.guest"}},
	{name: "Dora Lund", title: "Head of sales", kind: admin.InHouse, roles: []string{"sales.administrator"}},
	{name: "Felix Moss", title: "Sales manager", kind: admin.InHouse, roles: []string{"sales.manager"}},
	{name: "Jana West", title: "Sales representative", kind: admin.InHouse, roles: []string{"sales.representative"}},
	{name: "Noel Price", title: "Sales operations", kind: admin.InHouse, roles: []string{"sales.operations"}},
	{name: "Greta Bohm", title: "Controlling", kind: admin.InHouse, roles: []string{"sales.guest-manager"}},
	{name: "Timo Hale", title: "Intern, sales", kind: admin.InHouse, roles: []string{"sales.guest"}},
	{name: "Anke Roth", title: "Head of billing", kind: admin.InHouse, roles: []string{"billing.administrator"}},
	{name: "Bruno Keel", title: "Billing agent", kind: admin.InHouse, roles: []string{"billing.agent"}},
	{name: "Lotte Fine", title: "Sales, reading invoices", kind: admin.InHouse, roles: []string{"billing.sales-representative"}, areas: west},
	{name: "Udo Sharp", title: "Tax adviser", kind: admin.InHouse, roles: []string{"billing.guest"}},
	{name: "Pia Storm", title: "Head of stock", kind: admin.InHouse, roles: []string{"stock.administrator"}},
	{name: "Ralf Jung", title: "Stock controller", kind: admin.InHouse, roles: []string{"stock.controller"}},
	{name: "Elsa Wood", title: "Order desk", kind: admin.InHouse, roles: []string{"stock.order-administrator"}},
	{name: "Dirk Bell", title: "Warehouse", kind: admin.InHouse, roles: []string{"stock.warehouse-operations"}},
	{name: "Yara Ford", title: "Sales, reading stock", kind: admin.InHouse, roles: []string{"stock.sales-representative"}, areas: west},
	{name: "Otto Gray", title: "Stock auditor", kind: admin.InHouse, roles: []string{"stock.guest"}},
	{name: "Wilma Dean", title: "Head of debtors", kind: admin.InHouse, roles: []string{"debtors.administrator"}},
	{name: "Axel Page", title: "Debtors", kind: admin.InHouse, roles: []string{"debtors.operations"}},
	{name: "Fritz Nash", title: "Agents' accounts", kind: admin.InHouse, roles: []string{"agents.accounting-administrator"}},
	{name: "Paul Verne", title: "Liaison", kind: admin.ClientStaff, roles: []string{basic, onsiteManager, mobileUser}, staff: 9, onsite: []int{9}},
}

// slug is the name as it stands in ids and addresses.
func (p *person) slug(sep string) string {
	return strings.ReplaceAll(strings.ToLower(p.name), " ", sep)
}

func (p *person) id() ident.RecordID { return ident.RecordID("demo-person-" + p.slug("-")) }

func (p *person) email() string { return p.slug(".") + "@satchel-demo.example" }

func (p *person) holds(role string) bool { return slices.Contains(p.roles, role) }

// goesOut reports whether jobs are planned for the person.
func (p *person) goesOut() bool { return p.holds(serviceEngineer) || p.holds(serviceGuestAgent) }
