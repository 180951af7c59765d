package demo

import (
	"encoding/json"
	"fmt"
	"slices"

	"satchel/internal/ident"
	"satchel/server/module/agents"
	"satchel/server/module/attach"
	"satchel/server/module/billing"
	"satchel/server/module/crm"
	"satchel/server/module/stock"
)

// sellers are those who have opportunities and tasks of their own.
var sellers = []string{
	"Hugo Stern", "Rosa Klein", "Emil Hart", "Felix Moss", "Jana West", "Noel Price", "Clara Engel", "Dora Lund",
}

// shopsOf returns shops that the person reaches: of the own areas, or any.
func (b *builder) shopsOf(p *person, n int) []*shop {
	var out []*shop
	for _, i := range b.rng.Perm(len(b.shops)) {
		s := b.shops[i]
		if len(p.areas) > 0 && !slices.Contains(p.areas, s.area) {
			continue
		}
		if out = append(out, s); len(out) == n {
			break
		}
	}
	return out
}

func byName(name string) *person {
	i := slices.IndexFunc(people, func(p person) bool { return p.name == name })
	return &people[i]
}

// selling makes the work on accounts: opportunities, tasks, activities,
// campaigns, tags and filters.
func (b *builder) selling() {
	midnight := b.now.Day().Start()
	fair, mailing := ident.RecordID("demo-campaign-fair"), ident.RecordID("demo-campaign-mailing")
	b.add("campaign", fair, 0, "name", "Workshop fair", "owner", named("Clara Engel"), "kind", "event", "starts", date(b.now+20*day),
		"ends", date(b.now+22*day), "budget", money(1_200_000), "status", crm.Running, "startedAt", b.now-5*day)
	b.add("campaign", mailing, 0, "name", "Spring inspection", "owner", named("Rosa Klein"), "kind", "mailing", "status", crm.Draft)
	for i := range 24 {
		s := b.shop(1 + 3*i)
		b.add("campaignMember", b.id("member"), 0, "campaign", []ident.RecordID{fair, mailing}[i%2], "client", s.id, "contact", first(s.contacts),
			"response", pick(b, []string{"none", "interested", "declined"}))
	}
	subjects := []string{"Yearly inspection of all machines", "Second compressor", "Charging rack for twelve bikes", "Full service contract", "New till"}
	for _, name := range sellers {
		p := byName(name)
		for i, s := range b.shopsOf(p, 5) {
			subject := pick(b, subjects)
			won, closed := crm.Open, ident.Millis(0)
			if i == 4 {
				won, closed = crm.Won, b.now-ident.Millis(3+i)*day
			}
			opportunity := b.id("opportunity")
			b.add("opportunity", opportunity, b.now-30*day, "name", subject+", "+s.name, "client", s.id, "owner", p.id(),
				"stage", pick(b, []string{"prospect", "qualified", "proposal", "negotiation"}), "value", money(50_000+b.rng.IntN(900_000)),
				"probability", 10*(1+b.rng.IntN(9)), "expectedClose", date(b.now+ident.Millis(10+b.rng.IntN(60))*day), "contact", first(s.contacts),
				"status", won, "closedAt", closed)
			b.add("activity", b.id("call"), b.now-6*day, "subject", "Call about: "+subject, "kind", pick(b, []string{"call", "meeting", "visit"}),
				"when", midnight+ident.Millis(i-3)*day+17*hour, "durationMinutes", 15+15*b.rng.IntN(4), "owner", p.id(), "client", s.id,
				"contact", first(s.contacts), "opportunity", opportunity)
			state, completed := crm.Open, ident.Millis(0)
			if i%3 == 2 {
				state, completed = crm.Done, b.now-day
			}
			b.add("task", b.id("task"), b.now-3*day, "title", "Send the offer to "+s.name, "assignee", p.id(), "client", s.id,
				"opportunity", opportunity, "due", midnight+ident.Millis(i-1)*day+22*hour, "status", state, "completedAt", completed)
		}
		b.add("task", b.id("task"), b.now-2*day, "title", "Prepare the monthly figures", "assignee", p.id(), "due", midnight+ident.Millis(5)*day,
			"priority", "low")
	}
	vip, cold := ident.RecordID("demo-tag-key-account"), ident.RecordID("demo-tag-call-again")
	b.add("tag", vip, 0, "name", "Key account", "visibility", attach.Public, "owner", named("Clara Engel"), "color", "gold")
	b.add("tag", cold, 0, "name", "Call again", "visibility", attach.Private, "owner", named("Rosa Klein"))
	for n := range 12 {
		b.add("tagging", b.id("tagging"), 0, "tag", vip, "parent", b.shop(2+5*n).id)
	}
	for _, s := range b.shopsOf(byName("Rosa Klein"), 3) {
		b.add("tagging", b.id("tagging"), 0, "tag", cold, "parent", s.id)
	}
	for _, f := range []struct{ app, typ, name, query, sort, who string }{
		{"crm", "opportunity", "Open opportunities by value", "status eq Open", "-value", "Clara Engel"},
		{"sales", "task", "Open tasks by day", "status eq Open", "due", "Dora Lund"},
		{"service", "job", "Urgent jobs", "priority in (high, urgent)", "-reported", "Sofia Adler"},
		{"billing", "invoice", "Drafts", "status eq Draft", "number", "Anke Roth"},
		{"stock", "salesOrder", "To be picked", "status eq Approved", "wanted", "Pia Storm"},
		{"debtors", "invoice", "Sent and open", "status eq Sent", "due", "Wilma Dean"},
	} {
		b.add("filter", b.id("filter"), 0, "name", f.name, "visibility", attach.Public, "owner", named(f.who), "app", f.app, "entityType", f.typ,
			"query", f.query, "sort", f.sort)
	}
	b.add("report", "demo-report-opportunities", 0, "name", "Opportunities by stage", "app", "crm", "entityType", "opportunity",
		"filter", "status eq Open", "groupBy", []string{"stage"}, "totals", []string{"sum:value", "avg:probability"})
	b.add("report", "demo-report-visits", 0, "name", "Visits by month and status", "app", "service", "entityType", "jobActivity",
		"groupBy", []string{"scheduledStart:month", "status"})
}

// lines renders priced lines of a document.
func lines(text string, product ident.RecordID, quantity, price int) json.RawMessage {
	ref := ""
	if product != "" {
		ref = fmt.Sprintf(`,"product":%q`, product)
	}
	return json.RawMessage(fmt.Sprintf(`[{"id":"1","text":%q%s,"quantity":%d,"unitPrice":{"amount":%d,"currency":"USD"},"taxPercent":10}]`, text, ref, quantity, price))
}

// trading makes what the warehouse does: orders of clients, goods in, moves
// between warehouses, parts for jobs.
func (b *builder) trading() {
	const central ident.RecordID = "demo-warehouse-central"
	b.add("warehouse", central, 0, "name", "Central store", "kind", stock.KindWarehouse, "city", "Seattle")
	for _, p := range b.products[:30] {
		b.add("stockLevel", b.id("level"), 0, "product", p, "warehouse", central, "quantity", 40+b.rng.IntN(60))
	}
	for i := range 40 {
		s, product := b.shop(1+(i*7)%len(b.shops)), b.products[i%30]
		ordered := b.now - ident.Millis(1+b.rng.IntN(20))*day
		status, approved := stock.Draft, ident.Millis(0)
		if i%4 != 0 {
			status, approved = stock.Approved, ordered+hour
		}
		b.add("salesOrder", b.id("order"), ordered, "client", s.id, "number", fmt.Sprintf("SO-D%04d", i+1), "warehouse", central,
			"ordered", date(ordered), "wanted", date(ordered+10*day), "lines", lines("", product, 1, 2_500+100*b.rng.IntN(40)), "status", status,
			"approvedAt", approved, "owner", named("Elsa Wood"))
	}
	for i := range 6 {
		b.add("productRelationship", b.id("relationship"), 0, "product", b.products[i], "related", b.products[i+10], "kind", "accessory")
	}
	b.add("receipt", "demo-receipt-0001", b.now-2*day, "warehouse", central, "received", date(b.now-2*day), "number", "GR-0001", "lines",
		json.RawMessage(fmt.Sprintf(`[{"id":"1","product":%q,"quantity":20}]`, b.products[0])))
	b.add("transfer", "demo-transfer-0001", b.now-day, "source", central, "target", ident.RecordID("demo-van-nina-park"), "lines",
		json.RawMessage(fmt.Sprintf(`[{"id":"1","product":%q,"quantity":2}]`, b.products[1])))
	b.add("count", "demo-count-0001", b.now, "warehouse", central, "counted", date(b.now), "lines",
		json.RawMessage(fmt.Sprintf(`[{"id":"1","product":%q,"counted":45}]`, b.products[2])))
	b.add("adjustment", "demo-adjustment-0001", b.now-day, "warehouse", central, "product", b.products[3], "change", -1, "reason", "damaged")
	for i := range 12 {
		s := b.shop(3 + i)
		b.add("partOrder", b.id("part-order"), b.now-3*day, "client", s.id, "product", b.products[i], "quantity", 1+i%3,
			"requestedBy", named("Nina Park"), "neededBy", date(b.now+4*day), "status", []string{stock.Requested, stock.Ordered, stock.Arrived}[i%3])
	}
}

// charging makes what clients are charged and pay.
func (b *builder) charging() {
	for i := range 30 {
		s := b.shop(1 + (i*5)%len(b.shops))
		starts := b.now - ident.Millis(40+b.rng.IntN(300))*day
		status, activated := billing.Active, starts
		if i%5 == 0 {
			status, activated = billing.Draft, 0
		}
		next := ""
		if status == billing.Active {
			next = date(b.now + 10*day)
		}
		b.add("contract", b.id("contract"), starts, "client", s.id, "number", fmt.Sprintf("CON-D%04d", i+1), "title", "Inspection and repair",
			"kind", "maintenance", "starts", date(starts), "interval", pick(b, []string{"monthly", "quarterly", "yearly"}),
			"lines", lines("Inspection and repair, all machines", "", 1, 15_000+1_000*b.rng.IntN(30)), "status", status, "activatedAt", activated,
			"nextBilling", next, "owner", named("Hugo Stern"))
	}
	for i := range 40 {
		s := b.shop(1 + (i*3)%len(b.shops))
		issued := b.now - ident.Millis(5+b.rng.IntN(80))*day
		status, sent := billing.Sent, issued+day
		if i%4 == 0 {
			status, sent = billing.Approved, 0
		}
		price := 8_000 + 500*b.rng.IntN(60)
		net := money(2 * price)
		invoice := b.id("bill")
		b.add("invoice", invoice, issued, "client", s.id, "number", fmt.Sprintf("INV-D%04d", i+1), "issued", date(issued), "due", date(issued+30*day),
			"lines", lines("Parts and work", "", 2, price), "status", status, "net", net, "tax", net/10, "total", net+net/10, "approvedAt", issued,
			"sentAt", sent, "owner", named("Bruno Keel"))
		if i%3 != 0 || status != billing.Sent {
			continue
		}
		// A part each: what is paid in full would be Paid by itself.
		payment, paid := b.id("payment"), (net+net/10)/2
		b.add("payment", payment, issued+20*day, "client", s.id, "received", date(min(issued+20*day, b.now)), "amount", paid, "method", "transfer",
			"reference", fmt.Sprintf("INV-D%04d", i+1))
		b.add("allocation", b.id("allocation"), issued+20*day, "payment", payment, "invoice", invoice, "amount", paid)
	}
	for i := range 6 {
		s := b.shop(1 + (i*3)%len(b.shops))
		b.add("collectionNote", b.id("collection"), b.now-day, "client", s.id, "text", "Promised to pay by the end of the month.",
			"promisedOn", date(b.now+9*day), "author", named("Axel Page"))
	}
}

// agency makes those who are paid by their work.
func (b *builder) agency() {
	b.add("rateCard", "demo-rates-contract", 0, "name", "On contract", "rates", json.RawMessage(
		`[{"id":"1","basis":"hour","amount":{"amount":6500,"currency":"USD"}},{"id":"2","basis":"activity","amount":{"amount":1500,"currency":"USD"}}]`))
	for _, name := range []string{"Lena Voss", "Gus Ellery"} {
		id := b.id("paid-agent")
		b.add("agent", id, 0, "name", name, "employee", named(name), "kind", "subcontractor", "rateCard", ident.RecordID("demo-rates-contract"))
		for n := range 6 {
			s := b.shop(2 + 4*n)
			b.add("accountAssignment", b.id("looks-after"), 0, "agent", id, "client", s.id, "from", date(b.now-200*day))
			b.add("accrual", b.id("accrual"), b.now-10*day, "agent", id, "client", s.id, "amount", money(6_500*(1+b.rng.IntN(4))), "basis", "other",
				"earned", b.now-ident.Millis(10+n)*day, "text", "Work in the shop", "status", agents.Open)
		}
	}
}
