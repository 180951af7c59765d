package simtest

import (
	"fmt"

	"satchel/internal/command"
	"satchel/internal/ident"
)

// business is what the tenant has of the history's theme at the start, beside
// clients, jobs and tickets: in every world something of each client, and
// something of the client of which twins differ alone.
func (s *sim) business() []command.Row {
	switch s.theme.name {
	case "selling":
		return s.selling()
	case "stock":
		return s.trading()
	case "money":
		return s.paying()
	case "agents":
		return s.agents()
	}
	return nil
}

// clients are those of every world, in the order of their areas: north, south,
// west, north.
var clients = []string{"client-aa", "client-bb", "client-cc", "client-dd"}

func (s *sim) selling() []command.Row {
	sellers := []string{"emp-crmmgr", "emp-crmrep", "emp-salrep", "emp-crmops"}
	rows := []command.Row{
		row("campaign", "camp-0001", "name", "Spring", "owner", "emp-crmops"),
		row("campaign", "camp-0002", "name", "Autumn", "owner", "emp-salrep"),
		// Its only member may be hidden from somebody in whose area it lies.
		row("campaign", "camp-0003", "name", "Winter"),
		row("campaignMember", "memb-0003", "campaign", "camp-0003", "client", "client-dd"),
		row("tag", "tag-publ1", "name", "important", "visibility", "public"),
		row("tag", "tag-priv1", "name", "mine", "visibility", "private", "owner", "emp-crmrep"),
		row("filter", "filt-crm1", "name", "mine", "visibility", "public", "app", "crm", "entityType", "task", "owner", "emp-crmadm"),
		row("filter", "filt-sal1", "name", "mine", "visibility", "public", "app", "sales", "entityType", "task", "owner", "emp-crmadm"),
		row("filter", "filt-prv1", "name", "mine", "visibility", "private", "app", "sales", "entityType", "task", "owner", "emp-salgst"),
		row("task", "task-noone", "title", "without a client", "assignee", "emp-salrep"),
		row("task", "task-campg", "title", "of a campaign", "campaign", "camp-0001", "assignee", "emp-crmops"),
	}
	for i, c := range clients {
		opp := "opp-" + c
		rows = append(rows,
			row("opportunity", opp, "client", c, "name", "Deal", "owner", sellers[i]),
			row("task", "task-"+c, "client", c, "title", "Call", "assignee", sellers[(i+1)%4], "opportunity", opp),
			row("task", "task-guest-"+c, "client", c, "title", "Read", "assignee", "emp-salgst"),
			row("activity", "actv-"+c, "client", c, "subject", "Talk", "kind", "call", "owner", sellers[(i+2)%4], "when", s.now.RFC3339()),
			row("tagging", "tagg-"+c, "tag", "tag-publ1", "parent", c),
			row("tagging", "tagg-opp-"+c, "tag", "tag-priv1", "parent", opp),
			row("comment", "comm-task-"+c, "parent", "task-"+c, "text", "Well", "author", sellers[i]),
		)
		if i < 3 {
			rows = append(rows, row("campaignMember", fmt.Sprintf("memb-%d-%s", i, c), "campaign", []string{"camp-0001", "camp-0002"}[i%2], "client", c))
		}
	}
	return rows
}

func (s *sim) trading() []command.Row {
	pieces := func(n int) []map[string]any {
		return []map[string]any{{"id": "l0", "product": "prod-pump", "quantity": n}}
	}
	rows := []command.Row{
		row("warehouse", "ware-main1", "name", "Main", "kind", "warehouse"),
		row("stockLevel", "level-main", "product", "prod-pump", "warehouse", "ware-main1", "quantity", 60),
		row("productRelationship", "rela-0001", "product", "prod-pump", "related", "prod-seal", "kind", "spare-part"),
		row("purchaseOrder", "puro-0001", "supplier", "supp-one1", "number", "P-1", "warehouse", "ware-main1", "lines", pieces(5)),
		row("transfer", "trans-001", "source", "ware-main1", "target", "van-0000", "lines", pieces(1)),
		row("count", "count-001", "warehouse", "ware-main1", "lines", []map[string]any{{"id": "l0", "product": "prod-pump", "counted": 60}}),
	}
	for i, c := range clients {
		job := fmt.Sprintf("job-000%d", i)
		rows = append(rows,
			row("salesOrder", "salo-"+c, "client", c, "number", "S-"+c, "warehouse", "ware-main1", "lines", pieces(2), "owner", "emp-stkord"),
			row("partOrder", "part-"+c, "client", c, "job", job, "product", "prod-seal", "quantity", 1, "requestedBy", "emp-eng001"),
			row("comment", "comm-salo-"+c, "parent", "salo-"+c, "text", "Soon"),
		)
	}
	return rows
}

func (s *sim) paying() []command.Row {
	rows := []command.Row{row("billingRun", "brun-0001", "name", "This month", "through", s.day(5))}
	for _, c := range clients {
		rows = append(rows,
			row("contract", "contr-"+c, "client", c, "number", "C-"+c, "title", "Care", "kind", "service", "interval", "monthly", "starts", s.day(-20), "lines", s.priced()),
			row("invoice", "invo-"+c, "client", c, "number", "I-"+c, "lines", s.priced(), "status", "Approved", "issued", s.day(-5), "owner", "emp-biller"),
			row("invoice", "draf-"+c, "client", c, "number", "D-"+c, "lines", s.priced()),
			row("creditNote", "cred-"+c, "client", c, "number", "R-"+c, "invoice", "invo-"+c, "lines", s.priced()),
			row("payment", "paym-"+c, "client", c, "received", s.day(-2), "amount", map[string]any{"amount": 90, "currency": "EUR"}),
			row("collectionNote", "note-"+c, "client", c, "invoice", "invo-"+c, "text", "Promised"),
			row("comment", "comm-invo-"+c, "parent", "invo-"+c, "text", "Sent"),
		)
	}
	return rows
}

func (s *sim) agents() []command.Row {
	rows := []command.Row{
		row("rateCard", "rate-0001", "name", "Standard", "rates", []map[string]any{
			{"id": "r0", "basis": "hour", "amount": map[string]any{"amount": 5000, "currency": "EUR"}},
		}),
		row("agent", "agnt-0001", "name", "Engineer", "employee", "emp-eng001", "kind", "employee", "rateCard", "rate-0001"),
		row("agent", "agnt-0002", "name", "Partner", "kind", "reseller"),
	}
	for i, c := range clients {
		rows = append(rows,
			row("accountAssignment", "acca-"+c, "agent", "agnt-0002", "client", c, "from", s.day(-30)),
			row("accrual", "accr-"+c, "agent", []string{"agnt-0001", "agnt-0002"}[i%2], "client", c, "basis", "other", "text", "Fee",
				"amount", map[string]any{"amount": 1000, "currency": "EUR"}, "earned", (s.now-ident.Millis(i)*86_400_000).RFC3339()),
		)
	}
	return append(rows,
		row("agentInvoice", "agti-0001", "agent", "agnt-0002", "number", "A-1", "from", s.day(-10), "to", s.day(1)),
		row("agentStatement", "agts-0001", "agent", "agnt-0001", "from", s.day(-10), "to", s.day(1)),
	)
}
