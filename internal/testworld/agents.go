package testworld

import (
	"encoding/json"

	"satchel/internal/command"
	"satchel/internal/ident"
)

// seedAgents is what the world has of Agents: rates-one with a rate of each
// basis in EUR; paid-engineer, who is the Engineer and is paid by it, and
// paid-reseller, who is nobody here; and for each client c, with these ids,
//
//	looks-c       the reseller's assignment to the client
//	accrual-c     10.00 EUR that the reseller earned there in February
//
// accrual-acme is taken into payout-one, a draft of the reseller's for
// February, and stands in statement-one.
func seedAgents() []command.Row {
	rows := []command.Row{
		Row("rateCard", "rates-one", "name", "Field rates", "rates", json.RawMessage(`[
			{"id":"1","basis":"hour","amount":{"amount":6000,"currency":"EUR"}},
			{"id":"2","basis":"travel-hour","amount":{"amount":3000,"currency":"EUR"}},
			{"id":"3","basis":"activity","amount":{"amount":2500,"currency":"EUR"}}]`)),
		Row("agent", "paid-engineer", "name", "The engineer", "employee", Engineer, "kind", "employee", "rateCard", "rates-one"),
		Row("agent", "paid-reseller", "name", "Partner", "kind", "reseller"),
	}
	accrual := func(c string) command.Row {
		return Row("accrual", ident.RecordID("accrual-"+c), "agent", "paid-reseller", "client", "client-"+c,
			"amount", map[string]any{"amount": 1000, "currency": "EUR"}, "basis", "other", "earned", "2026-02-10T12:00:00Z")
	}
	for _, c := range []string{"acme", "blue", "corp", "dune"} {
		rows = append(rows, Row("accountAssignment", ident.RecordID("looks-"+c), "agent", "paid-reseller", "client", "client-"+c, "from", "2026-01-01"))
	}
	// The documents take what there is when they are made.
	rows = append(rows, accrual("acme"),
		Row("agentInvoice", "payout-one", "agent", "paid-reseller", "from", "2026-02-01", "to", "2026-02-28"),
		Row("agentStatement", "statement-one", "agent", "paid-reseller", "from", "2026-02-01", "to", "2026-02-28"))
	for _, c := range []string{"blue", "corp", "dune"} {
		rows = append(rows, accrual(c))
	}
	return rows
}
