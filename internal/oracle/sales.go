package oracle

// salesEverything: administrators, managers and guest managers look at
// everything in Sales.
func salesEverything(w *World, _ *person, r *Record) []reach { return w.everything("sales", r) }

// salesGuest: a guest looks at everything; other people's work on accounts
// stands in no list of its own.
func salesGuest(w *World, p *person, r *Record) []reach {
	return w.aside(p, r, w.everything("sales", r))
}

// salesPeople: representatives and operations look at accounts and campaigns
// and at their own work; other people's work they find beneath an account, an
// opportunity or a campaign, with what hangs on it.
func salesPeople(w *World, p *person, r *Record) []reach {
	x := reach{fields: w.opened(r.Type, "core", "crm"), named: true}
	about := r
	if on, hangs := w.hangsOn(r); hangs {
		if on == nil || !w.coversAny(r, "sales") {
			return nil
		}
		about = on
	} else if w.shared("sales", r) {
		return []reach{x}
	}
	if isArea(about) {
		return []reach{x}
	}
	switch about.Type.Name {
	case "client", "contact", "site", "campaign", "campaignMember":
		return []reach{x}
	}
	if onAccount(about) {
		x.context = !p.has(about)
		return []reach{x}
	}
	return nil
}
