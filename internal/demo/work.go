package demo

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"satchel/internal/ident"
	"satchel/server/module/billing"
	"satchel/server/module/helpdesk"
	"satchel/server/module/service"
)

// How far back and ahead work lies, in days.
const (
	daysBack  = 21
	daysAhead = 10
)

// visit is one activity to be made.
type visit struct {
	who        *person // nil: in the queue
	shop       *shop
	start, end ident.Millis
	status     string
}

// work plans every engineer's days, and a queue that nobody has yet.
func (b *builder) work() {
	done := []string{service.Reviewed, service.Completed, service.Invoiced, service.Closed, service.Closed, service.Closed}
	underWay := []string{service.Working, service.Travelling, service.OnSite, service.Paused, service.AwaitingParts}
	midnight := b.now.Day().Start()
	var out []*person
	for i := range people {
		if people[i].goesOut() {
			out = append(out, &people[i])
		}
	}
	for n, p := range out {
		for d := -daysBack; d <= daysAhead; d++ {
			if d == 0 {
				b.today(p, underWay[n%len(underWay)])
				continue
			}
			morning := midnight + ident.Millis(d)*day + 15*hour // eight in the morning at the shops
			if weekday := morning.Time().Weekday(); weekday == 0 || weekday == 6 {
				continue
			}
			for slot := range 1 + b.rng.IntN(3) {
				v := visit{who: p, shop: b.visited(p), start: morning + ident.Millis(slot)*3*hour}
				v.end = v.start + ident.Millis(1+b.rng.IntN(2))*hour
				switch {
				case d > 0 && b.rng.IntN(2) == 0:
					v.status = service.Accepted
				case d > 0:
					v.status = service.Assigned
				case b.rng.IntN(12) == 0:
					v.status = service.Cancelled
				case d >= -2:
					v.status = service.Cleared
				default:
					v.status = pick(b, done)
				}
				b.visit(v)
			}
		}
	}
	for range 14 { // the queue
		start := midnight + ident.Millis(1+b.rng.IntN(5))*day + 16*hour
		b.visit(visit{shop: b.visited(nil), start: start, end: start + 2*hour, status: service.New})
	}
}

// today gives a person one visit that is done, if the day is old enough, one
// under way, and two to come, all within the UTC day of now.
func (b *builder) today(p *person, status string) {
	begin := b.now.Day().Start()
	end := begin + day
	within := func(m ident.Millis) ident.Millis { return min(max(m, begin), end-30*minute) }
	if b.now-begin >= 3*hour {
		b.visit(visit{p, b.visited(p), within(b.now - 4*hour), b.now - 2*hour, service.Cleared})
	}
	// It has begun, even when that was before midnight.
	b.visit(visit{p, b.visited(p), b.now - 40*minute, b.now + 80*minute, status})
	for i, s := range []string{service.Accepted, service.Assigned} {
		start := within(b.now + ident.Millis(2+2*i)*hour)
		b.visit(visit{p, b.visited(p), start, start + hour, s})
	}
}

// visited picks a shop with machines that is not hidden from the person.
func (b *builder) visited(p *person) *shop {
	for {
		n := b.rng.IntN(len(b.shops))
		if b.rng.IntN(3) == 0 {
			n %= 40
		}
		if len(b.shops[n].assets) == 0 || (p != nil && slices.Contains(p.hidden, n+1)) {
			continue
		}
		return b.shops[n]
	}
}

// visit makes an activity with its job and all that was recorded on site.
func (b *builder) visit(v visit) {
	asset := pick(b, v.shop.assets)
	machine := b.machines[asset]
	fault := pick(b, strings.Split(machines[machine].faults, "|"))
	kind := "repair"
	switch {
	case strings.Contains(fault, "inspection"):
		kind = "inspection"
	case strings.Contains(fault, "install"):
		kind = "installation"
	case strings.Contains(fault, "due"), strings.Contains(fault, "change"), strings.Contains(fault, "update"):
		kind = "maintenance"
	}
	title := machines[machine].name + ": " + fault
	reported := min(v.start-ident.Millis(1+b.rng.IntN(5))*day, b.now-hour)
	job := b.id("job")
	b.add("job", job, reported, "client", v.shop.id, "title", title, "number", fmt.Sprintf("J-%05d", 10000+b.numbers["job"]), "kind", kind,
		"description", "Reported by the shop: "+fault+".", "priority", pick(b, service.Priorities), "site", first(v.shop.sites),
		"contact", first(v.shop.contacts), "asset", asset, "reported", reported, "due", v.end+2*day)

	id := b.id("activity")
	reached := func(s string) bool {
		order := service.JobActivity.Status.States
		return v.status != service.Cancelled && slices.Index(order, v.status) >= slices.Index(order, s)
	}
	at := func(ok bool, m ident.Millis) ident.Millis {
		if !ok {
			return 0
		}
		return min(m, b.now)
	}
	var who, skill ident.RecordID
	lists := []ident.RecordID{checklistIDs[0]}
	if v.who != nil {
		who = v.who.id()
		if slices.Contains(v.who.skills, machines[machine].skill) {
			skill = machines[machine].skill
		}
	} else {
		skill = machines[machine].skill
	}
	if machines[machine].name == "Air compressor" {
		lists = append(lists, checklistIDs[1])
	}
	var report, reason string
	if reached(service.Cleared) {
		report = pick(b, []string{"Found and repaired.", "Part replaced, test run fine.", "Adjusted; the shop is content.", "Repaired for now; a new part is advisable."})
	}
	if v.status == service.Cancelled {
		reason = pick(b, []string{"The shop repaired it itself.", "Closed that day.", "Double booking."})
	}
	made := min(reported+hour, b.now)
	b.add("jobActivity", id, made, "job", job, "title", title, "instructions", "Ask at the counter. "+v.shop.name+" opens at eight.",
		"assignee", who, "assignedAt", at(who != "", made), "scheduledStart", v.start, "scheduledEnd", v.end, "schedulingRole", skill,
		"checklists", lists, "workDone", report, "status", v.status, "cancelReason", reason,
		"acceptedAt", at(reached(service.Accepted), made+hour), "travelStart", at(reached(service.Travelling), v.start-25*minute),
		"arrivedAt", at(reached(service.OnSite), v.start), "startedAt", at(reached(service.Working), v.start+5*minute),
		"finishedAt", at(reached(service.Cleared), v.end))
	if reached(service.Travelling) && who != "" {
		b.record(v, id, lists, reached)
	}
	switch v.status {
	case service.Closed:
		b.after("job", job, "status", service.JobClosed, "closedAt", min(v.end+day, b.now))
	case service.Cancelled:
		b.after("job", job, "status", service.JobCancelled, "cancelReason", reason)
	}
	if v.status == service.Invoiced || (v.status == service.Closed && b.rng.IntN(3) == 0) {
		b.invoice(v, job, title)
	}
	switch b.rng.IntN(12) {
	case 0:
		b.add("comment", b.id("comment"), made, "parent", asset, "text", "The type plate is on the back, behind the hose.")
	case 1:
		b.add("comment", b.id("comment"), made, "parent", v.shop.id, "text", "Deliveries in the yard; ring twice.")
	case 2:
		b.add("comment", b.id("comment"), made, "parent", id, "text", "The shop asks for a call half an hour before.")
	}
}

// record makes what was written down on site.
func (b *builder) record(v visit, activity ident.RecordID, lists []ident.RecordID, reached func(string) bool) {
	arrived := min(v.start, b.now)
	b.add("timeEntry", b.id("time"), arrived, "activity", activity, "employee", v.who.id(), "kind", "travel",
		"start", min(v.start-25*minute, b.now), "end", ended(reached(service.OnSite), arrived), "billable", false)
	if reached(service.Working) {
		b.add("timeEntry", b.id("time"), arrived, "activity", activity, "employee", v.who.id(), "kind", "work",
			"start", min(v.start+5*minute, b.now), "end", ended(reached(service.Cleared), min(v.end, b.now)), "billable", true)
	}
	if !reached(service.OnSite) {
		return
	}
	for _, list := range lists {
		for i, q := range checklists[list].items {
			if i > 0 && !reached(service.Cleared) {
				break
			}
			answer := map[string]string{"yes-no": "yes", "number": fmt.Sprintf("%d.%d", 7+b.rng.IntN(3), b.rng.IntN(10)), "text": "nothing"}[q.Answer]
			b.add("checklistAnswer", b.id("answer"), arrived, "activity", activity, "checklist", list, "item", q.ID, "answer", answer, "answeredAt", arrived)
		}
	}
	if !reached(service.Cleared) {
		return
	}
	finished := min(v.end, b.now)
	if van := b.vans[v.who.id()]; van != nil && b.rng.IntN(2) == 0 {
		b.add("partUsed", b.id("part"), finished, "activity", activity, "product", pick(b, van), "quantity", 1+b.rng.IntN(2),
			"warehouse", ident.RecordID("demo-van-"+v.who.slug("-")), "billable", true)
	}
	if b.rng.IntN(3) > 0 {
		b.add("signature", b.id("signature"), finished, "activity", activity, "signedBy", pick(b, []string{"A. Dale", "M. Croft", "J. Lund", "P. Osei"}), "signedAt", finished)
	}
}

// ended is the instant, where it has come.
func ended(yes bool, m ident.Millis) ident.Millis {
	if yes {
		return m
	}
	return 0
}

// invoice bills a visit's job; the statuses take turns.
func (b *builder) invoice(v visit, job ident.RecordID, title string) {
	status := billing.Invoice.Status.States[b.numbers["invoice"]%len(billing.Invoice.Status.States)]
	id := b.id("invoice")
	hours, price := 1+b.rng.IntN(3), 9500
	issued := min(v.end+day, b.now)
	lines := fmt.Sprintf(`[{"id":"work","text":%q,"quantity":%d,"unitPrice":{"amount":%d,"currency":"USD"},"taxPercent":10}]`, title, hours, price)
	fields := []any{
		"client", v.shop.id, "number", fmt.Sprintf("INV-%05d", b.numbers["invoice"]), "job", job, "issued", date(issued), "due", date(issued + 30*day),
		"lines", json.RawMessage(lines), "status", status,
	}
	if status != billing.Draft && status != billing.Void {
		net := money(hours * price)
		fields = append(fields, "net", net, "tax", net/10, "total", net+net/10, "approvedAt", issued)
	}
	for s, field := range map[string]string{billing.Sent: "sentAt", billing.Paid: "paidAt", billing.Void: "voidedAt"} {
		if s == status {
			fields = append(fields, field, issued)
		}
	}
	b.add("invoice", id, issued, fields...)
}

// requests are what tickets are about.
var requests = []struct{ subject, category string }{
	{"The card reader shows error 41", "Tills"},
	{"Please bring forward the yearly inspection", "Planning"},
	{"Invoice names the wrong site", "Accounts"},
	{"Charging rack beeps since this morning", "Machines"},
	{"New colleague needs a sign-in", "IT"},
	{"Spare hoses for the repair stand", "Parts"},
	{"Compressor is loud", "Machines"},
	{"Till can't reach the network", "IT"},
}

// tickets makes the help desk's work: some at every shop that somebody is
// onsite at, the rest anywhere.
func (b *builder) tickets() {
	states := helpdesk.Ticket.Status.States
	for _, n := range []int{3, 4, 9, 10} {
		for i := range 6 {
			b.ticket(n, states[i])
		}
	}
	for i := range 60 {
		b.ticket(1+b.rng.IntN(40), states[i%len(states)])
	}
}

func (b *builder) ticket(n int, status string) {
	s := b.shop(n)
	requester, assignee := named("Bea Lindgren"), named("Bea Lindgren")
	for i := range people {
		p := &people[i]
		switch {
		case p.staff == n:
			requester = p.id()
		case slices.Contains(p.onsite, n) && p.holds(basic):
			assignee = p.id()
		}
	}
	if b.rng.IntN(4) == 0 && n > 10 && n < 30 {
		assignee = named("Nina Park")
	}
	about := pick(b, requests)
	opened := b.now - ident.Millis(b.rng.IntN(20*24))*hour - hour
	if status == helpdesk.New {
		opened, assignee = b.now-ident.Millis(1+b.rng.IntN(6))*hour, ""
	}
	rank := slices.Index(helpdesk.Ticket.Status.States, status)
	if rank < slices.Index(helpdesk.Ticket.Status.States, helpdesk.Resolved) {
		rank = 0
	}
	var resolved, closed ident.Millis
	var resolution string
	if rank > 0 {
		resolved, resolution = min(opened+5*hour, b.now), "Settled by phone."
	}
	if status == helpdesk.Closed {
		closed = min(opened+6*hour, b.now)
	}
	id := b.id("ticket")
	assigned := ident.Millis(0)
	if assignee != "" {
		assigned = min(opened+30*minute, b.now)
	}
	b.add("ticket", id, opened, "client", s.id, "subject", about.subject, "number", fmt.Sprintf("T-%05d", b.numbers["ticket"]),
		"description", about.subject+". Seen at "+s.name+".", "category", about.category, "requester", requester, "assignee", assignee,
		"watchers", []ident.RecordID{named("Tessa Moor")}, "priority", pick(b, service.Priorities), "due", opened+3*day, "site", first(s.sites),
		"asset", first(s.assets), "contact", first(s.contacts), "status", status, "opened", opened, "assignedAt", assigned,
		"resolvedAt", resolved, "closedAt", closed, "resolution", resolution)
	if assignee == "" {
		return
	}
	b.update(id, requester, opened+hour, helpdesk.Public, helpdesk.UpdateRequest, "Is there any news?")
	b.update(id, assignee, opened+2*hour, helpdesk.Public, helpdesk.Reply, "Somebody is looking at it today.")
	if b.rng.IntN(2) == 0 {
		b.update(id, assignee, opened+3*hour, helpdesk.Internal, helpdesk.Note, "Third time this year; a new machine would be cheaper.")
	}
}

func (b *builder) update(ticket, author ident.RecordID, at ident.Millis, visibility, kind, text string) {
	b.add("ticketUpdate", b.id("update"), min(at, b.now), "ticket", ticket, "visibility", visibility, "kind", kind, "text", text, "author", author)
}
