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
