package testworld

import (
	"encoding/json"

	"satchel/internal/command"
	"satchel/internal/ident"
)

// seedMoney is what the world has of Billing and Debtors, all of it in EUR:
// run-march, a billing run through March that is yet to run, and for each
// client c of "acme", "blue" (both in the north) and "corp" (in the south),
// with these ids,
//
//	contract-c-1     Active, 100.00 monthly since January, billed to the end of February
//	contract-c-2     Draft
//	invoice-c-2      Approved, 60.00 with tax, for job-c-1, with notes of both apps
//	invoice-c-3      Sent, 60.00 with tax, 20.00 of it allocated and 6.00 credited
//	credit-c-1       Approved, 6.00 of invoice-c-3
//	credit-c-2       Draft, 1.00 of invoice-c-2
//	payment-c-1      50.00, of which 30.00 are open
//	allocation-c-1   20.00 of payment-c-1 to invoice-c-3
//	payment-c-2      40.00, open
//	statement-c-1    of February
//	collection-c-1   a note on invoice-c-3
//
// Beside them stand the drafts invoice-c of every client.
func seedMoney() []command.Row {
	euro := func(n int) map[string]any { return map[string]any{"amount": n, "currency": "EUR"} }
	charge := func(text string, n, tax int) json.RawMessage {
		b, err := json.Marshal([]any{map[string]any{
			"id": "1", "text": text, "product": "product-seal", "quantity": 1, "unitPrice": euro(n), "taxPercent": tax,
		}})
		if err != nil {
			panic(err)
		}
		return b
	}
	rows := []command.Row{Row("billingRun", "run-march", "name", "March", "through", "2026-03-31")}
	for _, c := range []string{"acme", "blue", "corp"} {
		client := ident.RecordID("client-" + c)
		add := func(typ, id string, kv ...any) {
			rows = append(rows, Row(typ, ident.RecordID(id), kv...))
		}
		add("contract", "contract-"+c+"-1", "client", client, "title", "Care for "+c, "number", "CON-"+c, "kind", "maintenance",
			"starts", "2026-01-01", "interval", "monthly", "lines", charge("Care", 10000, 0), "status", "Active", "nextBilling", "2026-03-01")
		add("contract", "contract-"+c+"-2", "client", client, "title", "Rent for "+c, "kind", "rental",
			"starts", "2026-04-01", "interval", "yearly", "lines", charge("Rent", 50000, 0))
		add("invoice", "invoice-"+c+"-2", "client", client, "number", "INV-"+c+"-2", "job", "job-"+c+"-1", "issued", "2026-02-20", "due", "2026-03-22",
			"lines", charge("Work", 5000, 20), "status", "Approved", "approvedAt", "2026-02-20T09:00:00Z",
			"approvalNotes", "approve-"+c, "collectionNotes", "collect-"+c)
		add("invoice", "invoice-"+c+"-3", "client", client, "number", "INV-"+c+"-3", "issued", "2026-02-01", "due", "2026-02-15",
			"lines", charge("Parts", 5000, 20), "status", "Sent", "approvedAt", "2026-02-01T09:00:00Z", "sentAt", "2026-02-01T10:00:00Z")
		add("creditNote", "credit-"+c+"-1", "client", client, "number", "CN-"+c, "invoice", "invoice-"+c+"-3", "issued", "2026-02-10",
			"lines", charge("Scratched", 500, 20), "status", "Approved", "approvedAt", "2026-02-10T09:00:00Z")
		add("creditNote", "credit-"+c+"-2", "client", client, "invoice", "invoice-"+c+"-2", "lines", charge("Late", 100, 0))
		add("payment", "payment-"+c+"-1", "client", client, "received", "2026-02-15", "amount", euro(5000), "method", "transfer", "reference", "REF-"+c)
		add("allocation", "allocation-"+c+"-1", "payment", "payment-"+c+"-1", "invoice", "invoice-"+c+"-3", "amount", euro(2000))
		add("payment", "payment-"+c+"-2", "client", client, "received", "2026-02-25", "amount", euro(4000), "method", "cash")
		add("statement", "statement-"+c+"-1", "client", client, "from", "2026-02-01", "to", "2026-02-28", "currency", "EUR")
		add("collectionNote", "collection-"+c+"-1", "client", client, "invoice", "invoice-"+c+"-3", "text", "Rang "+c)
	}
	return rows
}
