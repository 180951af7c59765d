package oracle

import (
	"slices"

	"satchel/internal/ident"
)

// manual holds the sentences about seeing, one function a role: what the role
// gives a person of one record. Everything is worked out from the record and
// those it names, whatever any index says.
var manual = map[string]func(w *World, p *person, r *Record) []reach{
	"crm.administrator":  crmEverything,
	"crm.manager":        crmTerritory,
	"crm.representative": crmTerritory,
	"crm.operations":     crmOperations,
	"crm.guest-manager":  crmEverything,
	"crm.guest":          crmGuest,

	"sales.administrator":  salesEverything,
	"sales.manager":        salesEverything,
	"sales.representative": salesPeople,
	"sales.operations":     salesPeople,
	"sales.guest-manager":  salesEverything,
	"sales.guest":          salesGuest,

	"billing.administrator":        billingEverything,
	"billing.agent":                billingEverything,
	"billing.sales-representative": billingTerritory,
	"billing.guest":                billingEverything,

	"service.administrator":        serviceEverything,
	"service.manager":              serviceEverything,
	"service.engineer":             engineer,
	"service.sales-representative": serviceTerritory,
	"service.guest-agent":          guestAgent,
	"service.guest":                serviceEverything,

	"stock.administrator":        stockEverything,
	"stock.controller":           stockEverything,
	"stock.order-administrator":  stockEverything,
	"stock.warehouse-operations": stockEverything,
	"stock.sales-representative": stockTerritory,
	"stock.guest":                stockEverything,

	"debtors.administrator": debtorsEverything,
	"debtors.operations":    debtorsEverything,

	"agents.accounting-administrator": agentsEverything,

	mobileRole: nothing,

	adminRole:              customerAdministrator,
	"level.basic":          basic,
	"level.ticket-manager": ticketManager,
	"level.onsite-manager": onsiteManager,
}

// Knows reports whether the judge knows the manual's sentences about a role.
func Knows(role string) bool { return manual[role] != nil }

// nothing is what the Mobile role gives of records.
func nothing(*World, *person, *Record) []reach { return nil }

// to returns the record that a field names, nil for none.
func (w *World) to(r *Record, field string) *Record { return w.byID[ident.RecordID(r.Text(field))] }

// is reports whether a field names the person.
func (p *person) is(r *Record, field string) bool { return r.Text(field) == p.id }

// base is everybody's: their own affairs and the names that go with what
// they see.
func (w *World) base(p *person, r *Record) []reach {
	t := r.Type
	core := reach{fields: w.opened(t, "core"), personal: true}
	switch t.Name {
	case "employee":
		var out []reach
		if string(r.ID) == p.id {
			out = append(out, reach{fields: w.opened(t, "core", "admin"), personal: true})
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
	case "conflict":
		if p.is(r, "author") {
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
		t := w.cat.Type(r.Text("parentType"))
		return t != nil && inApp(t, app)
	}
	return true
}

// coversAny reports whether "everything" in one of the apps means the record.
func (w *World) coversAny(r *Record, apps ...string) bool {
	return slices.ContainsFunc(apps, func(a string) bool { return inApp(r.Type, a) && w.covers(a, r) })
}

// everything is what a role that looks at everything in an app has of a
// record.
func (w *World) everything(app string, r *Record) []reach {
	if !w.coversAny(r, app) {
		return nil
	}
	return []reach{{fields: w.opened(r.Type, facetsOf(app)...)}}
}

// within is everything in an app that belongs to a client in one of the
// person's areas, and of what belongs to no client the types named.
func (w *World) within(p *person, app string, r *Record, catalogue ...string) []reach {
	switch all := w.opened(r.Type, facetsOf(app)...); {
	case slices.Contains(catalogue, r.Type.Name):
		return []reach{{fields: all, named: true}}
	case w.coversAny(r, app) && w.area(p, r):
		return []reach{{fields: all}}
	}
	return nil
}

// area reports whether the record's client lies in one of the person's areas.
func (w *World) area(p *person, r *Record) bool {
	c := w.byID[ident.RecordID(r.client())]
	return c != nil && p.areas[c.Text("salesArea")]
}

// hangsOn returns what a comment, a document or a tag hangs on; ok is false
// for records of other types. A tag that somebody keeps for themselves hangs
// on nothing that others see.
func (w *World) hangsOn(r *Record) (parent *Record, ok bool) {
	switch r.Type.Name {
	case "comment", "document":
		return w.to(r, "parent"), true
	case "tagging":
		if r.Text("visibility") == "public" {
			return w.to(r, "parent"), true
		}
		return nil, true
	}
	return nil, false
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
