package rest_test

import (
	"encoding/json"
	"testing"

	"satchel/internal/fault"
	. "satchel/internal/testworld" //nolint:revive // its names are people
)

const (
	agentsOf     = "/v1/agents/agents"
	rateCards    = "/v1/agents/rate-cards"
	accounts     = "/v1/agents/account-assignments"
	accruals     = "/v1/agents/accruals"
	payouts      = "/v1/agents/agent-invoices"
	statements   = "/v1/agents/agent-statements"
	paidLines    = "/v1/agents/agent-statement-lines"
	tenEuro      = `{"amount":1000,"currency":"EUR"}`
	payoutOne    = payouts + "/payout-one"
	statementOne = statements + "/statement-one"
)

// agentsClauses are the cases of Agents, and of what only administrators do.
var agentsClauses = map[string][]step{
	"AGT-ADMIN-1": {
		get(AgentsAdmin, agentsOf).shows("paid-engineer", "paid-reseller"),
		get(AgentsAdmin, accruals).shows("accrual-acme", "accrual-dune"),
		get(AgentsAdmin, payouts).shows("payout-one"),
		get(AgentsAdmin, statementOne+"/agent-statement-lines"),
		synced(AgentsAdmin, append(ids(everyClient...), "paid-engineer", "rates-one", "looks-dune", "accrual-dune", "payout-one", "statement-one", "emp-engineer"),
			ids("job-acme-1", "act-acme-1", "invoice-acme", "emp-guest", "role-basic-1", "agent-engineer")),
		carries(AgentsAdmin, "client-acme", ids("name", "salesArea"), ids("accountNotes", "accessNotes", "billingNotes", "debtorNotes")),
		carries(AgentsAdmin, "emp-engineer", ids("name"), ids("email", "kind", "status")),
		create(AgentsAdmin, rateCards, "name", "Night", "rates", json.RawMessage(`[{"id":"1","basis":"activity","amount":`+tenEuro+`}]`)),
		patch(AgentsAdmin, rateCards+"/rates-one", "validUntil", "2026-12-31"),
		create(AgentsAdmin, agentsOf, "name", "The manager", "kind", "employee", "employee", Manager, "rateCard", "rates-one"),
		patch(AgentsAdmin, agentsOf+"/paid-reseller", "email", "partner@example.com"),
		create(AgentsAdmin, accounts, "agent", "paid-engineer", "client", Acme, "from", "2026-01-01", "share", 50),
		create(AgentsAdmin, accruals, "agent", "paid-engineer", "client", Acme, "amount", json.RawMessage(tenEuro)),
		patch(AgentsAdmin, accruals+"/accrual-blue", "text", "Bonus"),
		post(AgentsAdmin, accruals+"/accrual-blue/cancel"),
		create(AgentsAdmin, payouts, "agent", "paid-engineer", "from", "2026-03-01", "to", "2026-03-31"),
		post(AgentsAdmin, payoutOne+"/approve"),
		post(AgentsAdmin, payoutOne+"/pay"),
		create(AgentsAdmin, statements, "agent", "paid-reseller", "from", "2026-02-01", "to", "2026-02-28"),
		remove(AgentsAdmin, statementOne),
		remove(AgentsAdmin, accounts+"/looks-blue"),
		post(AgentsAdmin, agentsOf+"/paid-reseller/archive"),
		post(AgentsAdmin, agentsOf+"/paid-reseller/restore"),
		create(AgentsAdmin, "/v1/agents/comments", "parent", "paid-reseller", "text", "By bank"),
		create(AgentsAdmin, "/v1/agents/filters", "name", "Open", "visibility", "public", "app", "agents", "entityType", "accrual", "query", "status eq Open"),
		// Clients are picked, by their core, and employees known by name where
		// an agent is one.
		get(AgentsAdmin, "/v1/agents/customers").shows(everyClient...),
		get(AgentsAdmin, "/v1/agents/customers/client-acme").shows("name", "salesArea").hides("accountNotes", "accessNotes", "billingNotes", "debtorNotes"),
		get(AgentsAdmin, employees).shows("emp-engineer", "emp-manager").hides("emp-guest"),
		get(AgentsAdmin, employees+"/emp-engineer").shows("name").hides("email", "kind", "status"),
		patch(AgentsAdmin, "/v1/agents/customers/client-acme", "name", "x").forbidden(),
		// Nobody makes a statement's lines by hand, and nothing outside Agents is
		// part of it.
		create(AgentsAdmin, paidLines).forbidden(),
		do(func(t *testing.T, w *world) {
			lines := w.HTTP(AgentsAdmin, "GET", paidLines, nil).IDs(t)
			if len(lines) == 0 {
				t.Fatal("no lines")
			}
			patch(AgentsAdmin, paidLines+"/"+lines[0]).forbidden().take(t, w)
			remove(AgentsAdmin, paidLines+"/"+lines[0]).forbidden().take(t, w)
			if apps := w.HTTP(AgentsAdmin, "GET", "/v1/me", nil).Object(t)["apps"].([]any); len(apps) != 1 || apps[0].(map[string]any)["app"] != "agents" {
				t.Errorf("the menu is %s", show(apps))
			}
		}),
		get(AgentsAdmin, jobs).forbidden(),
		get(AgentsAdmin, activities+"/act-acme-1").absent(),
		get(AgentsAdmin, invoices).forbidden(),
		get(AgentsAdmin, assigned).forbidden(),
		get(AgentsAdmin, tickets).forbidden(),
		// And nobody else settles with agents.
		get(SvcAdmin, accruals).forbidden(),
		get(Engineer, agentsOf+"/paid-engineer").absent(),
		get(Engineer, accruals).forbidden(),
		create(BillAdmin, payouts, "agent", "paid-engineer", "from", "2026-03-01", "to", "2026-03-31").forbidden(),
		get(Admin, accruals).shows("accrual-acme"),
		patch(Admin, accruals+"/accrual-corp", "text", "x").forbidden(),
		post(Admin, accruals+"/accrual-corp/cancel").forbidden(),
		// What a hidden client earned an agent is hidden with it.
		do(func(t *testing.T, w *world) { w.Hide(AgentsAdmin, Corp) }),
		get(AgentsAdmin, accruals).shows("accrual-acme").hides("accrual-corp"),
		get(AgentsAdmin, accounts).shows("looks-acme").hides("looks-corp"),
		get(AgentsAdmin, paidLines).quiet("client-corp"),
		asAbsent(AgentsAdmin, "GET", nil, accruals+"/accrual-corp", accounts+"/looks-corp"),
		create(AgentsAdmin, accruals, "agent", "paid-engineer", "client", Corp, "amount", json.RawMessage(tenEuro)).no(422, fault.BadReference),
	},
}
