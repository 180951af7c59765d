package oracle

// crmEverything: administrators and guest managers look at everything in CRM.
func crmEverything(w *World, _ *person, r *Record) []reach { return w.everything("crm", r) }

// crmGuest: a guest looks at everything; other people's work on accounts
// stands in no list of its own.
func crmGuest(w *World, p *person, r *Record) []reach { return w.aside(p, r, w.everything("crm", r)) }

// aside puts other people's activities, tasks and opportunities out of the
// lists, to be seen beneath their parents alone, and what hangs on them with
// them: a list of comments would be one of what is commented on.
func (w *World) aside(p *person, r *Record, all []reach) []reach {
	about := r
	if on, hangs := w.hangsOn(r); hangs && on != nil {
		about = on
	}
	if onAccount(about) && !p.has(about) {
		for i := range all {
			all[i].context = true
		}
	}
	return all
}

// onAccount reports whether the record is an activity, a task or an
// opportunity.
func onAccount(r *Record) bool {
	switch r.Type.Name {
	case "activity", "task", "opportunity":
		return true
	}
	return false
}

// has reports whether an activity, task, opportunity or campaign is assigned
// to the person.
func (p *person) has(r *Record) bool {
	switch r.Type.Name {
	case "task":
		return p.is(r, "assignee")
	case "activity", "opportunity", "campaign":
		return p.is(r, "owner")
	}
	return false
}

// shared reports whether the record is a public tag, or a public filter of the
// app.
func (w *World) shared(app string, r *Record) bool {
	return (r.Type.Name == "tag" || r.Type.Name == "filter") && w.covers(app, r)
}

// isArea: whoever makes accounts chooses an area for them.
func isArea(r *Record) bool { return r.Type.Name == "salesArea" || r.Type.Name == "geoArea" }

// crmTerritory: managers and representatives look at the accounts of their
// areas and the work on them, at what is assigned to themselves wherever it
// is, and at the campaigns that concern their accounts.
func crmTerritory(w *World, p *person, r *Record) []reach {
	if w.inTerritory(p, r) {
		return []reach{{fields: w.opened(r.Type, "core", "crm"), named: true}}
	}
	// Own work elsewhere is somewhere that has a name.
	if r.Type.Name == "site" {
		for _, typ := range []string{"activity", "task"} {
			for _, work := range w.whose(typ, "site", r.ID) {
				if p.has(work) && !p.unaware(work.client()) {
					return []reach{{fields: only(r.Type, "name"), named: true}}
				}
			}
		}
	}
	return nil
}

func (w *World) inTerritory(p *person, r *Record) bool {
	switch r.Type.Name {
	case "client", "contact", "site", "campaignMember":
		return w.area(p, r)
	case "activity", "task", "opportunity":
		return p.has(r) || w.area(p, r)
	case "campaign":
		if p.has(r) {
			return true
		}
		for _, m := range w.whose("campaignMember", "campaign", r.ID) {
			// A member nobody may tell the person of brings no campaign along.
			if w.area(p, m) && !p.unaware(m.client()) {
				return true
			}
		}
		return false
	}
	if on, hangs := w.hangsOn(r); hangs {
		return on != nil && w.coversAny(r, "crm") && w.inTerritory(p, on)
	}
	return w.shared("crm", r) || isArea(r)
}

// crmOperations: operations look at the accounts of every area, and of the
// work at what is assigned to themselves alone.
func crmOperations(w *World, p *person, r *Record) []reach {
	if w.operated(p, r) {
		return []reach{{fields: w.opened(r.Type, "core", "crm"), named: true}}
	}
	return nil
}

func (w *World) operated(p *person, r *Record) bool {
	switch r.Type.Name {
	case "client", "contact", "site":
		return true
	case "activity", "task", "opportunity", "campaign":
		return p.has(r)
	case "campaignMember":
		c := w.to(r, "campaign")
		return c != nil && p.has(c)
	}
	if on, hangs := w.hangsOn(r); hangs {
		return on != nil && w.coversAny(r, "crm") && w.operated(p, on)
	}
	return w.shared("crm", r) || isArea(r)
}
