package oracle

import (
	"slices"

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
	named  map[string]bool // people whom visible records name; nil until worked out
}

// held is a role of the manual as a person holds it, narrowed where it comes
// by way of an organizational role.
type held struct {
	key  string
	apps []string
	cut  []string
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

func (w *World) person(id ident.RecordID) *person {
	if p, ok := w.people[id]; ok {
		return p
	}
	e := w.byID[id]
	if e == nil || e.Type.Name != "employee" {
		return nil
	}
	p := &person{
		id: string(id), kind: e.Text("kind"), active: e.Text("status") == "Active",
		areas: set(e.List("salesAreas")), onsite: map[string]bool{}, listed: map[string]bool{},
	}
	w.people[id] = p
	if p.kind == clientStaff {
		p.client = e.client()
	}
	mine := func(typ string, f func(*Record)) {
		for _, r := range w.byType[typ] {
			if r.Text("employee") == p.id {
				f(r)
			}
		}
	}
	mine("clientVisibility", func(v *Record) {
		if v.Text("mode") == "only" {
			p.only = true
		}
		for _, rule := range w.byType["visibilityRule"] {
			if rule.Text("visibility") == string(v.ID) {
				p.listed[rule.client()] = true
			}
		}
	})
	mine("onsiteClient", func(r *Record) {
		if !p.hides(r.client()) {
			p.onsite[r.client()] = true
		}
	})
	got := map[string]bool{}
	mine("roleAssignment", func(r *Record) {
		key := r.Text("role")
		if !w.inForce(r) || got[key] {
			return
		}
		got[key] = true
		if o := w.byID[ident.RecordID(key)]; o != nil && o.Type.Name == "organizationalRole" {
			for _, base := range o.List("baseRoles") {
				if base == adminRole || base == "base" {
					return // such a role counts for nothing
				}
			}
			for _, base := range o.List("baseRoles") {
				p.roles = append(p.roles, held{base, o.List("apps"), o.List("cutFields")})
			}
			return
		}
		p.roles = append(p.roles, held{key: key})
	})
	p.mobile = got[mobileRole]
	mine("individualPermission", func(r *Record) {
		if !w.inForce(r) {
			return
		}
		if r.Text("effect") == "denial" {
			p.denies = append(p.denies, r)
		} else if r.Text("verb") == "view" {
			p.grants = append(p.grants, r)
		}
	})
	return p
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

// reach is one grant's reach on one record.
type reach struct {
	fields  fields
	context bool
	// personal reaches past the ceiling; named says that the grant names the
	// type, which outside workers need for records without a client.
	personal, named bool
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

// opened returns a type's fields in the facets; the system's are core.
func opened(t *entity.Type, fs ...entity.Facet) fields {
	var out fields
	for _, f := range t.Fields {
		facet := f.Facet
		if facet == "" {
			facet = "core"
		}
		if slices.Contains(fs, facet) {
			out |= 1 << f.No
		}
	}
	if slices.Contains(fs, "core") {
		for _, no := range []uint8{entity.NoClientID, entity.NoCreatedAt, entity.NoCreatedBy, entity.NoArchived} {
			if t.FieldNo(no) != nil {
				out |= 1 << no
			}
		}
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

// view returns the fields the person sees of the record, and whether only
// beneath a parent.
func (w *World) view(p *person, r *Record) (fields, bool) {
	if p == nil || !p.active || p.hides(r.client()) {
		return 0, false
	}
	var gone fields
	for _, d := range p.denies {
		if v := d.Text("verb"); v != "" && v != "*" && v != "view" {
			continue
		}
		if t := d.Text("entityType"); t != "" && t != r.Type.Name {
			continue
		}
		if a := d.Text("app"); a != "" && !inApp(r.Type, a) {
			continue
		}
		f := d.Text("field")
		if f == "" {
			return 0, false
		}
		gone |= only(r.Type, f)
	}
	var root, beneath fields
	take := func(x reach, h held) {
		if r.client() == "" && !x.personal {
			if p.kind == clientStaff || (p.kind != inHouse && !x.named) {
				return
			}
		}
		if len(h.apps) > 0 && !inApp(r.Type, h.apps...) {
			return
		}
		for _, c := range h.cut {
			if typ, name, ok := cutOf(c); ok && typ == r.Type.Name {
				x.fields &^= only(r.Type, name)
			}
		}
		if x.context {
			beneath |= x.fields
		} else {
			root |= x.fields
		}
	}
	for _, x := range w.base(p, r) {
		take(x, held{})
	}
	for _, h := range p.roles {
		for _, x := range w.role(h.key, p, r) {
			take(x, h)
		}
	}
	for _, g := range p.grants {
		if x, ok := w.grantOf(g, r); ok {
			take(x, held{})
		}
	}
	context := false
	if root == 0 {
		root, context = beneath, true
	}
	if root &^= gone; root == 0 {
		return 0, false
	}
	return root, context
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
		return reach{fields: opened(r.Type, facetsOf(app)...)}, true
	}
	if typ != r.Type.Name {
		return reach{}, false
	}
	if field != "" {
		f := only(r.Type, field)
		return reach{fields: f, named: true}, f != 0
	}
	if app == "" {
		app = string(r.Type.Apps[0])
	}
	return reach{fields: opened(r.Type, facetsOf(app)...), named: true}, true
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
