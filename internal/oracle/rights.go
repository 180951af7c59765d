package oracle

import (
	"slices"
	"strings"

	"satchel/internal/entity"
	"satchel/internal/ident"
)

// person is what an employee's records say of their rights.
type person struct {
	id     string
	kind   string
	active bool
	client string // of client staff
	areas  map[string]bool
	onsite map[string]bool
	only   bool // listed clients are the only ones seen; otherwise they are the hidden ones
	listed map[string]bool
	roles  []held
	mobile bool
	grants []*Record
	denies []*Record
	writes bool // an individual grant gives more than to look
	// lenders are the people whom the person acts for now, each with the
	// person as reader.
	lenders []*person
	// reader is who looks with this person's rights, nil for the person alone.
	reader *person

	views map[uint32]view   // by ordinal, once worked out
	named map[string]bool   // people whom visible records name; nil until worked out
	gone  map[uint16]fields // by type, what denials take; all fields where they take the record
}

// view is what a person sees of one record.
type view struct {
	fields  fields
	context bool
}

// held is a role of the manual as a person holds it, narrowed where it comes
// by way of an organizational role.
type held struct {
	key  string
	apps []string
	cut  []string
	// clients, where not nil, are the only ones of whose records the role
	// gives anything.
	clients map[string]bool
}

const (
	inHouse     = "in-house"
	clientStaff = "client-staff"
	mobileRole  = "mobile.service-agent-user"
	adminRole   = "level.customer-administrator"
)

// inForce: from "from" (inclusive) until "until" (exclusive).
func (w *World) inForce(r *Record) bool {
	if from, ok := r.instant("from"); ok && from > w.Now {
		return false
	}
	if until, ok := r.instant("until"); ok && w.Now >= until {
		return false
	}
	return true
}

// person returns a person with all that they may look at, by what others let
// them too; nil for nobody.
func (w *World) person(id ident.RecordID) *person {
	if p, ok := w.people[id]; ok {
		return p
	}
	p := w.alone(id)
	if p == nil {
		return nil
	}
	w.people[id] = p
	for _, d := range w.whose("delegation", "delegate", id) {
		from := ident.RecordID(d.Text("delegator"))
		if !w.inForce(d) || from == id || slices.ContainsFunc(p.lenders, func(l *person) bool { return l.id == string(from) }) {
			continue
		}
		// Worked out anew: what the delegator was lent is not lent on.
		by := w.alone(from)
		if by == nil || !by.active {
			continue
		}
		by.reader = p
		// Running the tenant can't be handed to anybody.
		by.roles = slices.DeleteFunc(by.roles, func(h held) bool { return h.key == adminRole })
		p.lenders = append(p.lenders, by)
	}
	return p
}

// alone returns a person with the rights of their own.
func (w *World) alone(id ident.RecordID) *person {
	e := w.byID[id]
	if e == nil || e.Type.Name != "employee" {
		return nil
	}
	p := &person{
		id: string(id), kind: e.Text("kind"), active: e.Text("status") == "Active",
		areas: set(e.List("salesAreas")), onsite: map[string]bool{}, listed: map[string]bool{},
		views: map[uint32]view{}, gone: map[uint16]fields{},
	}
	if p.kind == clientStaff {
		p.client = e.client()
	}
	for _, v := range w.whose("clientVisibility", "employee", id) {
		if v.Text("mode") == "only" {
			p.only = true
		}
		for _, rule := range w.whose("visibilityRule", "visibility", v.ID) {
			p.listed[rule.client()] = true
		}
	}
	for _, r := range w.whose("onsiteClient", "employee", id) {
		if !p.hides(r.client()) {
			p.onsite[r.client()] = true
		}
	}
	got := map[string]bool{}
	for _, r := range w.whose("roleAssignment", "employee", id) {
		key := r.Text("role")
		if !w.inForce(r) || got[key] {
			continue
		}
		got[key] = true
		if o := w.byID[ident.RecordID(key)]; o != nil && o.Type.Name == "organizationalRole" {
			p.roles = append(p.roles, w.organizational(o)...)
		} else {
			p.roles = append(p.roles, held{key: key})
		}
	}
	p.mobile = got[mobileRole]
	for _, r := range w.whose("individualPermission", "employee", id) {
		switch {
		case !w.inForce(r):
		case r.Text("effect") == "denial":
			p.denies = append(p.denies, r)
		case r.Text("verb") == "view":
			p.grants = append(p.grants, r)
		default:
			p.writes = true
		}
	}
	return p
}

// organizational returns the roles that a tenant-made role is built on, each
// narrowed as it says. One that is built on running the tenant, or on what
// everybody has, counts for nothing.
func (w *World) organizational(o *Record) []held {
	bases := o.List("baseRoles")
	if slices.Contains(bases, adminRole) || slices.Contains(bases, "base") {
		return nil
	}
	var clients map[string]bool
	if o.flag("limitClients") {
		clients = map[string]bool{} // with no row, none at all
		for _, r := range w.whose("organizationalRoleClient", "role", o.ID) {
			clients[r.client()] = true
		}
	}
	var out []held
	for _, b := range bases {
		out = append(out, held{b, o.List("apps"), o.List("cutFields"), clients})
	}
	return out
}

func set(ss []string) map[string]bool {
	m := map[string]bool{}
	for _, s := range ss {
		m[s] = true
	}
	return m
}

// hides: client staff see their own client alone; beyond that the list says
// which clients are hidden, or the only ones there are.
func (p *person) hides(client string) bool {
	switch {
	case client == "":
		return false
	case p.kind == clientStaff && client != p.client:
		return true
	case p.only:
		return !p.listed[client]
	}
	return p.listed[client]
}

// unaware: the client is hidden from the person, or from who looks with the
// person's rights.
func (p *person) unaware(client string) bool {
	return p.hides(client) || (p.reader != nil && p.reader.hides(client))
}

// admits reports whether the ceiling lets a person have a grant of a record
// without a client: client staff nothing but what is personal, other outside
// workers what names the type.
func (p *person) admits(x reach) bool {
	switch {
	case x.personal || p.kind == inHouse:
		return true
	case p.kind == clientStaff:
		return false
	}
	return x.named
}

// reach is one grant's reach on one record.
type reach struct {
	fields  fields
	context bool
	// personal reaches past the ceiling and is nobody else's; named says that
	// the grant names the type, which outside workers need for records without
	// a client.
	personal, named bool
	// house is for the tenant's own people only.
	house bool
	// app is the one by way of which it is given, which a denial may take; ""
	// for that of the role.
	app string
}

// appOf is the app of a role of the manual.
func appOf(key string) string {
	switch app, _, _ := strings.Cut(key, "."); {
	case key == adminRole:
		return "admin"
	case app == "level":
		return "helpdesk"
	case app == "mobile":
		return "service"
	default:
		return app
	}
}

// left is what the person's denials of apps leave of what an app gives of a
// type.
func (p *person) left(x reach, t *entity.Type) fields {
	out := x.fields
	for _, d := range p.denies {
		if d.Text("app") == "" || d.Text("app") != x.app || !d.speaksOf(t) {
			continue
		}
		if f := d.Text("field"); f != "" {
			out &^= only(t, f)
		} else {
			out = 0
		}
	}
	return out
}

// speaksOf reports whether an individual permission takes the view of a type.
func (r *Record) speaksOf(t *entity.Type) bool {
	if v := r.Text("verb"); v != "" && v != "*" && v != "view" {
		return false
	}
	n := r.Text("entityType")
	return n == "" || n == t.Name
}

// facetsOf are the groups of fields that an app opens.
func facetsOf(app string) []entity.Facet {
	switch app {
	case "crm", "sales":
		return []entity.Facet{"core", "crm"}
	case "me":
		return []entity.Facet{"core"}
	}
	return []entity.Facet{"core", entity.Facet(app)}
}

// facets sorts a type's fields by facet; the system's are core.
func facets(t *entity.Type) map[entity.Facet]fields {
	out := map[entity.Facet]fields{}
	for _, f := range t.Fields {
		facet := f.Facet
		if facet == "" {
			facet = "core"
		}
		out[facet] |= 1 << f.No
	}
	for _, no := range []uint8{entity.NoClientID, entity.NoCreatedAt, entity.NoCreatedBy, entity.NoArchived} {
		if t.FieldNo(no) != nil {
			out["core"] |= 1 << no
		}
	}
	return out
}

// opened returns a type's fields in the facets.
func (w *World) opened(t *entity.Type, fs ...entity.Facet) fields {
	var out fields
	for _, f := range fs {
		out |= w.facets[t][f]
	}
	return out
}

func only(t *entity.Type, names ...string) fields {
	var out fields
	for _, n := range names {
		if f := t.Field(n); f != nil {
			out |= 1 << f.No
		}
	}
	return out
}

func inApp(t *entity.Type, apps ...string) bool {
	for _, a := range t.Apps {
		if slices.Contains(apps, string(a)) {
			return true
		}
	}
	return false
}

const everyField = ^fields(0)

// denied returns the fields of a type that denials take from what the person
// sees of it by way of any app: everyField where they take the record.
func (p *person) denied(t *entity.Type) fields {
	if gone, ok := p.gone[t.No]; ok {
		return gone
	}
	var gone fields
	for _, d := range p.denies {
		if d.Text("app") != "" || !d.speaksOf(t) {
			continue
		}
		if f := d.Text("field"); f != "" {
			gone |= only(t, f)
		} else {
			gone = everyField
		}
	}
	p.gone[t.No] = gone
	return gone
}

// view returns the fields the person sees of the record, and whether only
// beneath a parent.
func (w *World) view(p *person, r *Record) (fields, bool) {
	if p == nil {
		return 0, false
	}
	v, ok := p.views[r.Ord]
	if !ok {
		v = w.look(p, r)
		p.views[r.Ord] = v
	}
	return v.fields, v.context
}

func (w *World) look(p *person, r *Record) view {
	if !p.active || p.hides(r.client()) {
		return view{}
	}
	gone := p.denied(r.Type)
	if gone == everyField {
		return view{}
	}
	var root, beneath fields
	take := func(x reach) {
		if (r.client() == "" && !p.admits(x)) || (x.house && p.kind != inHouse) {
			return
		}
		x.fields = p.left(x, r.Type)
		if x.context {
			beneath |= x.fields
		} else {
			root |= x.fields
		}
	}
	for _, x := range w.base(p, r) {
		take(x)
	}
	w.own(p, r, take)
	for _, by := range p.lenders {
		theirs := by.denied(r.Type)
		if theirs == everyField || by.hides(r.client()) {
			continue
		}
		w.own(by, r, func(x reach) {
			if x.personal || (r.client() == "" && !by.admits(x)) || (x.house && by.kind != inHouse) {
				return
			}
			x.fields = by.left(x, r.Type) &^ theirs
			take(x)
		})
	}
	context := false
	if root == 0 {
		root, context = beneath, true
	}
	if root &^= gone; root == 0 {
		return view{}
	}
	return view{root, context}
}

// own calls take with all that the person's roles and individual grants give
// of a record.
func (w *World) own(p *person, r *Record, take func(reach)) {
	for _, h := range p.roles {
		rule := manual[h.key]
		if rule == nil || (len(h.apps) > 0 && !inApp(r.Type, h.apps...)) {
			continue
		}
		if c := r.client(); h.clients != nil && c != "" && !h.clients[c] {
			continue
		}
		var cut fields
		for _, c := range h.cut {
			if typ, name, ok := cutOf(c); ok && typ == r.Type.Name {
				cut |= only(r.Type, name)
			}
		}
		for _, x := range rule(w, p, r) {
			x.fields &^= cut
			if x.app == "" {
				x.app = appOf(h.key)
			}
			take(x)
		}
	}
	for _, g := range p.grants {
		if x, ok := w.grantOf(g, r); ok {
			take(x)
		}
	}
}

func cutOf(s string) (typ, field string, ok bool) {
	for i := range len(s) {
		if s[i] == '.' {
			return s[:i], s[i+1:], true
		}
	}
	return "", "", false
}

// grantOf is what one individual grant to view gives of a record.
func (w *World) grantOf(g, r *Record) (reach, bool) {
	app, typ, field := g.Text("app"), g.Text("entityType"), g.Text("field")
	if typ == "" {
		if !w.coversAny(r, app) {
			return reach{}, false
		}
		return reach{fields: w.opened(r.Type, facetsOf(app)...), app: app}, true
	}
	if typ != r.Type.Name {
		return reach{}, false
	}
	// What is somebody's own, or hangs on another app's records, is no app's to
	// grant.
	apps := []string{app}
	if app == "" || !inApp(r.Type, app) {
		apps = nil
		for _, a := range r.Type.Apps {
			apps = append(apps, string(a))
		}
	}
	if !w.coversAny(r, apps...) {
		return reach{}, false
	}
	if app == "" {
		app = string(r.Type.Apps[0])
	}
	if field != "" {
		f := only(r.Type, field)
		return reach{fields: f, named: true, app: app}, f != 0
	}
	return reach{fields: w.opened(r.Type, facetsOf(app)...), named: true, app: app}, true
}

// Sees returns what the employee sees of a record; ok is false for nothing.
func (w *World) Sees(employee, id ident.RecordID) (Shown, bool) {
	r := w.byID[id]
	p := w.person(employee)
	if r == nil || p == nil {
		return Shown{}, false
	}
	f, context := w.view(p, r)
	if f == 0 {
		return Shown{}, false
	}
	return r.show(f, context), true
}

// Active reports whether the employee may sign in.
func (w *World) Active(employee ident.RecordID) bool {
	p := w.person(employee)
	return p != nil && p.active
}

// Mobile reports whether the Mobile Service Agent module is open to the
// employee.
func (w *World) Mobile(employee ident.RecordID) bool {
	p := w.person(employee)
	return p != nil && p.mobile
}

// readOnly are the roles that the manual lets write nothing.
var readOnly = []string{
	"crm.guest-manager", "crm.guest", "sales.guest-manager", "sales.guest", "billing.sales-representative", "billing.guest",
	"service.sales-representative", "service.guest-agent", "service.guest", "stock.sales-representative", "stock.guest", mobileRole,
}

// kept are the types of what everybody may keep who may write nothing else.
var kept = []string{"preference", "tag", "tagging", "filter", "delegation", "notification", "device", "conflict"}

// MayWrite reports whether anything could let the employee write records of a
// type: false is certain, true is not looked into.
func (w *World) MayWrite(employee ident.RecordID, typ string) bool {
	p := w.person(employee)
	if p == nil || !p.active {
		return false
	}
	looks := func(p *person) bool {
		return !p.writes && !slices.ContainsFunc(p.roles, func(h held) bool { return !slices.Contains(readOnly, h.key) })
	}
	return slices.Contains(kept, typ) || !looks(p) || slices.ContainsFunc(p.lenders, func(by *person) bool { return !looks(by) })
}

// Administers reports whether the employee runs the tenant.
func (w *World) Administers(employee ident.RecordID) bool {
	p := w.person(employee)
	return p != nil && p.active && slices.ContainsFunc(p.roles, func(h held) bool { return h.key == adminRole })
}

// Hides reports whether the client is hidden from the employee.
func (w *World) Hides(employee, client ident.RecordID) bool {
	p := w.person(employee)
	return p != nil && p.hides(string(client))
}

// Mask returns the visible fields of a record as bits by field number, 0 for
// nothing, and whether it stands beneath a parent only.
func (w *World) Mask(employee, id ident.RecordID) (uint64, bool) {
	r, p := w.byID[id], w.person(employee)
	if r == nil || p == nil {
		return 0, false
	}
	f, context := w.view(p, r)
	return uint64(f), context
}
