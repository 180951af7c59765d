package oracle

import "slices"

// serviceEverything: everything in Service, with the parts and where they lie.
func serviceEverything(w *World, _ *person, r *Record) []reach {
	switch r.Type.Name {
	case "product", "warehouse", "stockLevel":
		return []reach{{fields: w.opened(r.Type, "core", "service"), named: true}}
	}
	return w.everything("service", r)
}

// mineActivity reports whether a field names an activity assigned to the
// person.
func (w *World) mineActivity(p *person, r *Record, field string) bool {
	a := w.to(r, field)
	return a != nil && a.Type.Name == "jobActivity" && p.is(a, "assignee")
}

// myJob reports whether an activity of a job is assigned to the person.
func (w *World) myJob(p *person, job *Record) bool {
	return slices.ContainsFunc(w.whose("jobActivity", "job", job.ID), func(a *Record) bool { return p.is(a, "assignee") })
}

// set reports whether the tenant has a setting on.
func (w *World) set(key string) bool {
	return slices.ContainsFunc(w.byType["setting"], func(r *Record) bool { return r.Text("key") == key && r.flag("on") })
}

// engineer: customers and assets, the own activities and what they bring
// along.
func engineer(w *World, p *person, r *Record) []reach {
	t := r.Type
	yes := reach{fields: w.opened(t, "core", "service"), named: true}
	when := func(ok bool) []reach {
		if ok {
			return []reach{yes}
		}
		return nil
	}
	switch t.Name {
	case "client", "contact", "site", "asset", "checklist", "product":
		return when(true)
	case "comment":
		pt := r.Text("parentType")
		return when(pt == "client" || pt == "asset" || w.mineActivity(p, r, "parent"))
	case "jobActivity":
		return when(p.is(r, "assignee"))
	case "job":
		if w.myJob(p, r) {
			return []reach{{named: true, fields: only(t, "client", "clientId", "title", "number", "description", "kind",
				"priority", "site", "contact", "asset", "reported", "due", "status", "ticket", "createdAt")}}
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
		if w.update(p, r, "assignee") {
			return []reach{said(r, yes)}
		}
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

// update reports whether an update belongs to a ticket that names the person
// in one of the fields.
func (w *World) update(p *person, r *Record, fields ...string) bool {
	tk := w.to(r, "ticket")
	return tk != nil && tk.Type.Name == "ticket" && p.in(tk, fields...)
}

// said bounds what is given of an update: what is said among the house is the
// house's, and what is neither that nor public is nobody's.
func said(update *Record, x reach) reach {
	switch update.Text("visibility") {
	case "public":
	case "internal":
		x.house = true
	default:
		x.fields = 0
	}
	return x
}

// serviceTerritory: sales representatives look at Service within their areas,
// and at the catalogue, which lies in none.
func serviceTerritory(w *World, p *person, r *Record) []reach {
	return w.within(p, "service", r, "product", "warehouse", "checklist")
}

// guestAgent: the list of jobs, which a tenant may narrow to those of the own
// activities, and beneath a job the own activities; of the own ones the name of
// the site.
func guestAgent(w *World, p *person, r *Record) []reach {
	switch r.Type.Name {
	case "job":
		mine := w.myJob(p, r)
		if w.set("guest-agent-own-jobs") && !mine {
			return nil
		}
		header := only(r.Type, "client", "clientId", "title", "number", "kind", "priority", "reported", "due", "status", "createdAt")
		if mine {
			header |= only(r.Type, "site")
		}
		return []reach{{named: true, fields: header}}
	case "site":
		for _, job := range w.whose("job", "site", r.ID) {
			if w.myJob(p, job) && !p.unaware(job.client()) {
				return []reach{{personal: true, fields: only(r.Type, "name")}}
			}
		}
	case "jobActivity":
		if p.is(r, "assignee") {
			return []reach{{fields: w.opened(r.Type, "core", "service"), named: true, context: true}}
		}
	}
	return nil
}
