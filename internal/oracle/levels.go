package oracle

// customerAdministrator: everything in every app, and by name what is Admin's.
func customerAdministrator(w *World, _ *person, r *Record) []reach {
	t := r.Type
	var out []reach
	out = append(out, w.eachOf(r, "crm", "sales", "billing", "service", "stock", "debtors", "agents", "helpdesk", "admin")...)
	if inApp(t, "admin") {
		out = append(out, reach{fields: w.opened(t, "core", "admin"), named: true})
	}
	return out
}

// eachOf is everything in several apps, by way of each that means the record.
func (w *World) eachOf(r *Record, apps ...string) (out []reach) {
	for _, a := range apps {
		if w.coversAny(r, a) {
			out = append(out, reach{fields: w.opened(r.Type, facetsOf(a)...), app: a})
		}
	}
	return out
}

// basic: clients with their contacts and sites, the tickets one has to do
// with, the own documents.
func basic(w *World, p *person, r *Record) []reach {
	t := r.Type
	yes := reach{fields: w.opened(t, "core", "helpdesk"), named: true}
	mine := []string{"requester", "watchers", "assignee"}
	switch t.Name {
	case "client", "contact", "site":
		return []reach{{fields: w.opened(t, "core"), named: true}}
	case "ticket":
		if p.in(r, mine...) {
			return []reach{yes}
		}
	case "ticketUpdate":
		// What is said among the house reaches whoever has the ticket, not who
		// asked for it.
		if (w.update(p, r, mine...) && r.Text("visibility") == "public") || w.update(p, r, "assignee") {
			return []reach{said(r, yes)}
		}
	case "document":
		if p.is(r, "uploadedBy") || w.onTicket(p, r, "assignee") {
			return []reach{yes}
		}
	}
	return nil
}

// ticketManager: any ticket with what goes with it, and a look into Service,
// Helpdesk and Stock.
func ticketManager(w *World, _ *person, r *Record) []reach {
	t := r.Type
	named := reach{fields: w.opened(t, "core", "helpdesk"), named: true}
	var out []reach
	switch t.Name {
	case "ticketUpdate":
		return []reach{said(r, named)}
	case "ticket":
		out = append(out, named)
	case "document":
		if r.Text("parentType") == "ticket" {
			out = append(out, named)
		}
	}
	return append(out, w.eachOf(r, "service", "helpdesk", "stock")...)
}

// onsiteManager: the tickets and the staff of the clients one is onsite for.
func onsiteManager(w *World, p *person, r *Record) []reach {
	t := r.Type
	there := func(x *Record) bool { return x != nil && x.client() != "" && p.onsite[x.client()] }
	all := reach{fields: w.opened(t, "core", "helpdesk"), named: true}
	switch t.Name {
	case "employee":
		var out []reach
		if there(r) {
			out = append(out, reach{named: true, fields: only(t, "name", "kind", "client", "clientId", "title", "phone", "schedulingRoles", "status")})
		}
		for _, o := range w.whose("onsiteClient", "employee", r.ID) {
			if there(o) {
				out = append(out, reach{personal: true, fields: only(t, "name", "kind", "title", "phone", "schedulingRoles", "status")})
			}
		}
		return out
	case "onsiteClient", "ticket":
		if there(r) {
			return []reach{all}
		}
	case "client", "contact", "site":
		if there(r) {
			return []reach{{fields: w.opened(t, "core"), named: true}}
		}
	case "ticketUpdate":
		if there(w.to(r, "ticket")) {
			return []reach{said(r, all)}
		}
	case "document":
		if tk := w.to(r, "parent"); there(tk) && tk.Type.Name == "ticket" {
			return []reach{all}
		}
	}
	return nil
}
