package oracle

import (
	"slices"

	"satchel/internal/ident"
)

// The manual's sentences about seeing, one function a role: what the role
// gives a person of one record. Everything is worked out from the record and
// those it names, whatever any index says.

// to returns the record that a field names, nil for none.
func (w *World) to(r *Record, field string) *Record { return w.byID[ident.RecordID(r.Text(field))] }

// is reports whether a field names the person.
func (p *person) is(r *Record, field string) bool { return r.Text(field) == p.id }

// base is everybody's: their own affairs and the names that go with what
// they see.
func (w *World) base(p *person, r *Record) []reach {
	t := r.Type
	core := reach{fields: opened(t, "core"), personal: true}
	switch t.Name {
	case "employee":
		var out []reach
		if string(r.ID) == p.id {
			out = append(out, reach{fields: opened(t, "core", "admin"), personal: true})
		}
		name := reach{fields: only(t, "name"), personal: true}
		if p.client != "" && r.client() == p.client {
			out = append(out, name)
		}
		if w.names(p)[string(r.ID)] {
			out = append(out, name)
		}
		return out
	case "device":
		if p.is(r, "employee") {
			return []reach{core}
		}
	case "notification":
		if p.is(r, "recipient") {
			return []reach{core}
		}
	case "preference":
		if p.is(r, "owner") {
			return []reach{core}
		}
	case "salesArea", "geoArea", "schedulingRole", "report":
		if p.kind == inHouse {
			return []reach{core}
		}
	case "tag", "tagging", "filter":
		if p.is(r, "owner") && r.Text("visibility") == "private" {
			return []reach{core}
		}
	case "delegation":
		if p.is(r, "delegator") || p.is(r, "delegate") {
			return []reach{core}
		}
	}
	return nil
}

// covers reports whether "everything" in an app means the record: not what is
// private to its maker, another app's filters, or what hangs on records of
// other apps.
func (w *World) covers(app string, r *Record) bool {
	switch r.Type.Name {
	case "tag", "tagging":
		return r.Text("visibility") == "public"
	case "filter":
		return r.Text("visibility") == "public" && r.Text("app") == app
	case "comment", "document":
		for _, t := range w.cat.Types {
			if t.Name == r.Text("parentType") {
				return inApp(t, app)
			}
		}
		return false
	}
	return true
}

// names returns the people whom a record that the person sees names in a
// field that the person sees. People name nobody; who made or last wrote a
// record is not named by it.
func (w *World) names(p *person) map[string]bool {
	if p.named != nil {
		return p.named
	}
	p.named = map[string]bool{}
	for _, r := range w.records {
		if r.Type.Name != "employee" {
			if f, _ := w.view(p, r); f != 0 {
				r.namesIn(f, p.named)
			}
		}
	}
	return p.named
}

// namesIn adds the people that the visible fields name.
func (r *Record) namesIn(f fields, into map[string]bool) {
	for _, fd := range r.Type.Fields {
		if !f.has(fd.No) || (len(fd.Targets) > 0 && !slices.Contains(fd.Targets, "employee")) {
			continue
		}
		switch fd.Kind.String() {
		case "ref":
			if id := r.Text(fd.Name); id != "" {
				into[id] = true
			}
		case "refs":
			for _, id := range r.List(fd.Name) {
				into[id] = true
			}
		}
	}
}

func (w *World) role(key string, p *person, r *Record) []reach {
	switch key {
	case "service.administrator", "service.manager", "service.guest":
		return w.serviceAll(r)
	case "service.engineer":
		return w.engineer(p, r)
	case "service.sales-representative":
		return w.serviceRep(p, r)
	case "service.guest-agent":
		return guestAgent(p, r)
	case adminRole:
		return w.customerAdministrator(r)
	case "level.basic":
		return w.basic(p, r)
	case "level.ticket-manager":
		return w.ticketManager(p, r)
	case "level.onsite-manager":
		return w.onsiteManager(p, r)
	}
	return nil // the mobile role gives no records
}

// serviceAll: everything in Service, with the parts and where they lie.
func (w *World) serviceAll(r *Record) []reach {
	t := r.Type
	var out []reach
	if inApp(t, "service") && w.covers("service", r) {
		out = append(out, reach{fields: opened(t, "core", "service")})
	}
	named := reach{fields: opened(t, "core", "service"), named: true}
	switch t.Name {
	case "product", "warehouse", "stockLevel":
		out = append(out, named)
	}
	return out
}

// mineActivity reports whether a field names an activity assigned to the
// person.
func (w *World) mineActivity(p *person, r *Record, field string) bool {
	a := w.to(r, field)
	return a != nil && a.Type.Name == "jobActivity" && p.is(a, "assignee")
}

func (w *World) engineer(p *person, r *Record) []reach {
	t := r.Type
	yes := []reach{{fields: opened(t, "core", "service"), named: true}}
	when := func(ok bool) []reach {
		if ok {
			return yes
		}
		return nil
	}
	switch t.Name {
	case "client", "contact", "site", "asset", "checklist", "product":
		return yes
	case "comment":
		pt := r.Text("parentType")
		return when(pt == "client" || pt == "asset" || w.mineActivity(p, r, "parent"))
	case "jobActivity":
		return when(p.is(r, "assignee"))
	case "job":
		for _, a := range w.byType["jobActivity"] {
			if a.Text("job") == string(r.ID) && p.is(a, "assignee") {
				return []reach{{named: true, fields: only(t, "client", "clientId", "title", "number", "description", "kind",
					"priority", "site", "contact", "asset", "reported", "due", "status", "ticket", "createdAt")}}
			}
		}
		return nil
	case "checklistAnswer", "timeEntry", "partUsed", "signature":
		return when(w.mineActivity(p, r, "activity"))
	case "serviceAgent":
		return when(p.is(r, "employee"))
	case "warehouse":
		return when(p.is(r, "custodian"))
	case "stockLevel":
		van := w.to(r, "warehouse")
		return when(van != nil && p.is(van, "custodian"))
	case "document":
		return when(w.mineActivity(p, r, "parent") || w.onTicket(p, r, "assignee"))
	case "ticket":
		return when(p.is(r, "assignee"))
	case "ticketUpdate":
		return when(w.update(p, r, "assignee"))
	}
	return nil
}

// onTicket reports whether a document hangs on a ticket that names the person
// in one of the fields.
func (w *World) onTicket(p *person, r *Record, fields ...string) bool {
	tk := w.to(r, "parent")
	return tk != nil && tk.Type.Name == "ticket" && p.in(tk, fields...)
}

// in reports whether one of the fields, single or sets, names the person.
func (p *person) in(r *Record, fields ...string) bool {
	for _, f := range fields {
		if p.is(r, f) || slices.Contains(r.List(f), p.id) {
			return true
		}
	}
	return false
}

// update reports whether an update on a ticket that names the person in one
// of the fields is for the person's eyes: internal ones are the house's.
func (w *World) update(p *person, r *Record, fields ...string) bool {
	tk := w.to(r, "ticket")
	if tk == nil || tk.Type.Name != "ticket" || !p.in(tk, fields...) {
		return false
	}
	return p.hears(r)
}

func (p *person) hears(update *Record) bool {
	switch update.Text("visibility") {
	case "public":
		return true
	case "internal":
		return p.kind == inHouse
	}
	return false
}

// area reports whether the record's client lies in one of the person's areas.
func (w *World) area(p *person, r *Record) bool {
	c := w.byID[ident.RecordID(r.client())]
	return c != nil && p.areas[c.Text("salesArea")]
}

func (w *World) serviceRep(p *person, r *Record) []reach {
	t := r.Type
	all := opened(t, "core", "service")
	switch {
	case t.Name == "product" || t.Name == "warehouse" || t.Name == "checklist":
		return []reach{{fields: all, named: true}}
	case inApp(t, "service") && w.covers("service", r) && w.area(p, r):
		return []reach{{fields: all}}
	}
	return nil
}

func guestAgent(p *person, r *Record) []reach {
	switch r.Type.Name {
	case "job":
		return []reach{{named: true, fields: only(r.Type, "client", "clientId", "title", "number", "kind", "priority", "reported",
			"due", "status", "createdAt")}}
	case "jobActivity":
		if p.is(r, "assignee") {
			return []reach{{fields: opened(r.Type, "core", "service"), named: true, context: true}}
		}
	}
	return nil
}

// coversAny reports whether "everything" in one of the apps means the record.
func (w *World) coversAny(r *Record, apps ...string) bool {
	return slices.ContainsFunc(apps, func(a string) bool { return inApp(r.Type, a) && w.covers(a, r) })
}

func (w *World) customerAdministrator(r *Record) []reach {
	t := r.Type
	var out []reach
	if w.coversAny(r, "crm", "sales", "billing", "service", "stock", "debtors", "agents", "helpdesk", "admin") {
		out = append(out, reach{fields: opened(t, "core", "crm", "billing", "service", "stock", "debtors", "agents", "helpdesk", "admin")})
	}
	if inApp(t, "admin") {
		out = append(out, reach{fields: opened(t, "core", "admin"), named: true})
	}
	return out
}

func (w *World) basic(p *person, r *Record) []reach {
	t := r.Type
	yes := []reach{{fields: opened(t, "core", "helpdesk"), named: true}}
	mine := []string{"requester", "watchers", "assignee"}
	switch t.Name {
	case "client", "contact", "site":
		return []reach{{fields: opened(t, "core"), named: true}}
	case "ticket":
		if p.in(r, mine...) {
			return yes
		}
	case "ticketUpdate":
		// What is said among the house reaches whoever has the ticket, not who
		// asked for it.
		if (w.update(p, r, mine...) && r.Text("visibility") == "public") || w.update(p, r, "assignee") {
			return yes
		}
	case "document":
		if p.is(r, "uploadedBy") || w.onTicket(p, r, "assignee") {
			return yes
		}
	}
	return nil
}

func (w *World) ticketManager(p *person, r *Record) []reach {
	t := r.Type
	var out []reach
	named := reach{fields: opened(t, "core", "helpdesk"), named: true}
	switch t.Name {
	case "ticketUpdate":
		if p.hears(r) {
			return []reach{named}
		}
		return nil
	case "ticket":
		out = append(out, named)
	case "document":
		if r.Text("parentType") == "ticket" {
			out = append(out, named)
		}
	}
	if w.coversAny(r, "service", "helpdesk", "stock") {
		out = append(out, reach{fields: opened(t, "core", "service", "helpdesk", "stock")})
	}
	return out
}

func (w *World) onsiteManager(p *person, r *Record) []reach {
	t := r.Type
	here := r.client() != "" && p.onsite[r.client()]
	all := opened(t, "core", "helpdesk")
	switch t.Name {
	case "employee":
		var out []reach
		if here {
			out = append(out, reach{named: true, fields: only(t, "name", "kind", "client", "clientId", "title", "phone", "schedulingRoles", "status")})
		}
		for _, o := range w.byType["onsiteClient"] {
			if p.onsite[o.client()] && o.Text("employee") == string(r.ID) {
				out = append(out, reach{personal: true, fields: only(t, "name", "kind", "title", "phone", "schedulingRoles", "status")})
			}
		}
		return out
	case "onsiteClient", "ticket":
		if here {
			return []reach{{fields: all, named: true}}
		}
	case "client", "contact", "site":
		if here {
			return []reach{{fields: opened(t, "core"), named: true}}
		}
	case "ticketUpdate":
		if tk := w.to(r, "ticket"); tk != nil && tk.client() != "" && p.onsite[tk.client()] && p.hears(r) {
			return []reach{{fields: all, named: true}}
		}
	case "document":
		if tk := w.to(r, "parent"); tk != nil && tk.Type.Name == "ticket" && tk.client() != "" && p.onsite[tk.client()] {
			return []reach{{fields: all, named: true}}
		}
	}
	return nil
}
