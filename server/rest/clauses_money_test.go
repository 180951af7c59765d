package rest_test

import (
	"slices"
	"strings"
	"testing"

	"satchel/internal/command"
	"satchel/internal/fault"
	"satchel/internal/ident"
	. "satchel/internal/testworld" //nolint:revive // its names are people
	"satchel/sync/verify"
)

const (
	buying      = "/v1/billing/customers"
	bills       = "/v1/billing/invoices"
	contracts   = "/v1/billing/contracts"
	credits     = "/v1/billing/credit-notes"
	runs        = "/v1/billing/billing-runs"
	billFilters = "/v1/billing/filters"
	owing       = "/v1/debtors/customers"
	debts       = "/v1/debtors/invoices"
	payments    = "/v1/debtors/payments"
	allocations = "/v1/debtors/allocations"
	balances    = "/v1/debtors/statements"
	collecting  = "/v1/debtors/collection-notes"
	debtFilters = "/v1/debtors/filters"
)

// eur is a sum of money in minor units.
func eur(n int) map[string]any { return map[string]any{"amount": n, "currency": "EUR"} }

// charged is a list of one line.
func charged(n int) []any {
	return []any{map[string]any{"id": "1", "text": "Work", "product": "product-pump", "quantity": 1, "unitPrice": eur(n)}}
}

// worth requires values of a record that the person reads; money in minor
// units.
func worth(who ident.RecordID, path string, kv ...any) step {
	return do(func(t *testing.T, w *world) {
		t.Helper()
		o := w.HTTP(who, "GET", path, nil).Want(t, 200, "").Object(t)
		for i := 0; i < len(kv); i += 2 {
			got := o[kv[i].(string)]
			if m, ok := got.(map[string]any); ok {
				got = m["amount"]
			}
			want := kv[i+1]
			if n, ok := want.(int); ok {
				want = float64(n)
			}
			if got != want {
				t.Errorf("%s: %s of %s is %v, want %v", who, kv[i], path, got, want)
			}
		}
	})
}

// sound requires that whatever is derived from the records agrees with them.
func sound() step {
	return do(func(t *testing.T, w *world) {
		t.Helper()
		snap, err := w.Engine.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		defer snap.Close()
		if rep := verify.Run(w.Cat, snap, nil); !rep.OK() {
			t.Errorf("the state is unsound: %v", rep.Problems)
		}
	})
}

// everyFilter makes a filter that everybody would have, or one's own.
func everyFilter(who ident.RecordID, path, visibility string) step {
	app := strings.Split(path, "/")[2]
	return create(who, path, "name", "Open", "visibility", visibility, "app", app, "entityType", "invoice", "query", "status eq Sent")
}

// moneyOf is everything that hangs on one client in Billing and Debtors.
func moneyOf(c string, ids ...string) []string {
	var out []string
	for _, id := range ids {
		out = append(out, strings.ReplaceAll(id, "*", c))
	}
	return out
}

var (
	billedOf = []string{"client-*", "contract-*-1", "contract-*-2", "invoice-*", "invoice-*-2", "invoice-*-3", "credit-*-1", "credit-*-2"}
	owedOf   = []string{
		"client-*", "invoice-*", "invoice-*-2", "invoice-*-3", "credit-*-1", "payment-*-1", "payment-*-2", "allocation-*-1", "statement-*-1",
		"collection-*-1",
	}
)

// allOfBilling are the steps of somebody who may do everything in Billing.
func allOfBilling(who ident.RecordID) []step {
	return []step{
		get(who, buying).shows(everyClient...),
		get(who, bills).shows("invoice-acme", "invoice-acme-2", "invoice-corp-3"),
		get(who, contracts).shows("contract-acme-1", "contract-corp-2"),
		get(who, credits).shows("credit-acme-1", "credit-corp-2"),
		get(who, runs).shows("run-march"),
		get(who, buying+"/client-acme/contracts").shows("contract-acme-1").hides("contract-corp-1"),
		get(who, bills+"/invoice-acme-3/credit-notes").shows("credit-acme-1").hides("credit-corp-1"),
		synced(who, slices.Concat(moneyOf("acme", billedOf...), moneyOf("corp", billedOf...), []string{"run-march", "product-seal"}),
			[]string{"job-acme-1", "job-dune-1", "payment-acme-1", "allocation-acme-1", "statement-acme-1", "collection-acme-1", "asset-acme", "ticket-acme-1", "warehouse-main"}),
		// What invoices name of other apps is there to be looked up.
		get(who, "/v1/stock/products/product-valve").shows("name").hides("cost"),
		get(who, jobs).forbidden(),
		patch(who, "/v1/stock/products/product-seal", "name", "x").forbidden(),

		create(who, buying, "name", "Fresh", "salesArea", "area-south", "paymentTermDays", 14),
		patch(who, buying+"/client-corp", "taxNumber", "T-1", "paymentTermDays", 10),
		create(who, contracts, "client", "client-corp", "title", "Care", "kind", "service", "starts", "2026-03-01", "interval", "monthly", "lines", charged(100)),
		patch(who, contracts+"/contract-corp-2", "ends", "2027-12-31", "lines", charged(700)),
		worth(who, contracts+"/contract-corp-2", "total", 700, "status", "Draft"),
		patch(who, contracts+"/contract-corp-1", "ends", "2027-12-31"),
		patch(who, contracts+"/contract-corp-1", "lines", charged(700)).no(409, fault.WrongStatus),
		create(who, bills, "client", "client-corp", "lines", charged(100)),
		patch(who, bills+"/invoice-corp", "remarks", "Thank you", "lines", charged(900)),
		worth(who, bills+"/invoice-corp", "total", 900, "status", "Draft", "open", nil),
		post(who, bills+"/invoice-corp-2/send"),
		create(who, credits, "client", "client-corp", "invoice", "invoice-corp-3", "lines", charged(100), "reason", "Late"),
		create(who, credits, "client", "client-corp", "invoice", "invoice-acme-3", "lines", charged(100)).no(422, fault.BadReference),
		create(who, credits, "client", "client-corp", "invoice", "invoice-corp", "lines", charged(100)).no(409, fault.WrongStatus),
		patch(who, credits+"/credit-corp-2", "lines", charged(600)),
		post(who, credits+"/credit-corp-2/approve"),
		worth(who, credits+"/credit-corp-2", "number", "CN-000001", "issued", "2026-03-02"),
		worth(who, bills+"/invoice-corp-2", "open", 5400, "settled", 600),
		patch(who, credits+"/credit-corp-2", "lines", charged(1)).no(409, fault.WrongStatus),
		remove(who, credits+"/credit-corp-2").no(409, fault.WrongStatus),
		remove(who, contracts+"/contract-blue-2"),
		remove(who, contracts+"/contract-blue-1").no(409, fault.WrongStatus),
		post(who, contracts+"/contract-blue-1/expire"),
		create(who, "/v1/billing/comments", "parent", "invoice-corp-2", "text", "Seen"),
		create(who, "/v1/billing/comments", "parent", "job-corp-1", "text", "x").no(422, fault.BadReference),
		create(who, "/v1/billing/comments", "parent", "job-dune-1", "text", "x").no(422, fault.BadReference),

		// A run bills each contract for what is due, and tells nothing of it.
		post(who, runs+"/run-march/run"),
		worth(who, contracts+"/contract-acme-1", "nextBilling", "2026-04-01"),
		do(func(t *testing.T, w *world) {
			made := w.HTTP(who, "GET", bills+"?filter=billingRun%20eq%20run-march", nil).IDs(t)
			if len(made) != 2 { // contract-blue-1 has expired
				t.Errorf("the run drafted %v", made)
			}
			for _, id := range made {
				worth(who, bills+"/"+id, "status", "Draft", "total", 10000, "number", nil).take(t, w)
			}
			run := w.HTTP(who, "GET", runs+"/run-march", nil).Object(t)
			for f := range run {
				if !slices.Contains([]string{"id", "type", "rev", "name", "through", "status", "ranAt", "createdAt", "updatedAt", "updatedBy"}, f) {
					t.Errorf("a run tells %s", f)
				}
			}
		}),
		post(who, runs+"/run-march/run").no(409, fault.WrongStatus),

		// What is approved stands fast but for one's own notes; voiding and
		// collecting are others'.
		patch(who, bills+"/invoice-acme-2", "remarks", "x").no(403, fault.FieldNotAllowed),
		patch(who, bills+"/invoice-acme-2", "lines", charged(1)).no(403, fault.FieldNotAllowed),
		patch(who, bills+"/invoice-acme-2", "approvalNotes", "Checked twice"),
		patch(who, bills+"/invoice-acme-2", "collectionNotes", "x").no(400, fault.UnknownField),
		patch(who, bills+"/invoice-acme", "status", "Paid").no(422, fault.ReadOnlyField),
		patch(who, bills+"/invoice-acme", "open", eur(0)).no(422, fault.ReadOnlyField),
		remove(who, bills+"/invoice-dune"), // a draft
		remove(who, bills+"/invoice-acme-2").forbidden(),
		post(who, debts+"/invoice-acme-2/void").forbidden(),
		get(who, payments).forbidden(),
		create(who, payments, "client", "client-acme", "received", "2026-03-01", "amount", eur(1)).forbidden(),
		patch(who, buying+"/client-corp", "accountNotes", "x").no(400, fault.UnknownField),
		get(who, assets).forbidden(),
		get(who, tickets).forbidden(),
		sound(),
	}
}

// facets are the fields of an invoice that are one app's alone: unknown to
// whoever holds no role of that app, in reads, lists, filters and sorts.
func facets(who ident.RecordID, path, own, other, word string) []step {
	return []step{
		get(who, path+"/invoice-acme-2").shows("number", "total", "open", own).hides(other).quiet(word),
		get(who, path).quiet(word),
		seek(who, path, "filter", own+" contains -acme").shows("invoice-acme-2").hides("invoice-corp-2"),
		seek(who, path, "filter", other+" contains -acme").no(400, fault.UnknownField),
		seek(who, path, "filter", other+" null").no(400, fault.UnknownField),
		seek(who, path, "sort", other).no(400, fault.UnknownField),
		seek(who, path, "q", word).hides("invoice-acme-2"),
		patch(who, path+"/invoice-acme", other, "x").no(400, fault.UnknownField),
	}
}

// noMoneyWrites are refused to whoever may write nothing in Billing.
func noMoneyWrites(who ident.RecordID) []step {
	return []step{
		create(who, bills, "client", "client-acme", "lines", charged(1)).forbidden(),
		create(who, contracts, "client", "client-acme", "title", "x").forbidden(),
		create(who, credits, "client", "client-acme", "invoice", "invoice-acme-3").forbidden(),
		create(who, runs, "name", "x", "through", "2026-03-31").forbidden(),
		create(who, buying, "name", "x", "salesArea", "area-north").forbidden(),
		patch(who, bills+"/invoice-acme", "remarks", "x").forbidden(),
		patch(who, bills+"/invoice-acme-2", "approvalNotes", "x").forbidden(),
		patch(who, contracts+"/contract-acme-2", "title", "x").forbidden(),
		patch(who, buying+"/client-acme", "name", "x").forbidden(),
		remove(who, contracts+"/contract-acme-2").forbidden(),
		remove(who, credits+"/credit-acme-2").forbidden(),
		post(who, bills+"/invoice-acme/approve").forbidden(),
		post(who, bills+"/invoice-acme-2/send").forbidden(),
		post(who, contracts+"/contract-acme-2/activate").forbidden(),
		post(who, credits+"/credit-acme-2/approve").forbidden(),
		post(who, buying+"/client-acme/archive").forbidden(),
		create(who, "/v1/billing/comments", "parent", "invoice-acme", "text", "x").forbidden(),
		everyFilter(who, billFilters, "public").forbidden(),
		// What everybody keeps: their own settings and filters.
		everyFilter(who, billFilters, "private"),
		create(who, "/v1/me/preferences", "owner", who, "key", "size", "value", "9"),
	}
}

// allOfDebtors are the steps of somebody who may do everything in Debtors.
func allOfDebtors(who ident.RecordID) []step {
	return []step{
		get(who, owing).shows(everyClient...),
		get(who, owing+"/client-acme").shows("debtorNotes").hides("billingNotes", "accountNotes", "accessNotes", "deliveryNotes"),
		get(who, debts).shows("invoice-acme", "invoice-acme-2", "invoice-corp-3"),
		get(who, payments).shows("payment-acme-1", "payment-corp-2"),
		get(who, payments+"/payment-acme-1/allocations").shows("allocation-acme-1").hides("allocation-corp-1"),
		get(who, balances).shows("statement-acme-1"),
		get(who, collecting).shows("collection-corp-1"),
		synced(who, slices.Concat(moneyOf("acme", owedOf...), moneyOf("corp", owedOf...)),
			[]string{"contract-acme-1", "run-march", "job-acme-1", "asset-acme", "warehouse-main", "ticket-acme-1"}),
		get(who, "/v1/stock/products/product-valve").shows("name").hides("cost"),
		worth(who, debts+"/invoice-acme-3", "settled", 2600, "open", 3400, "status", "Sent"),
		worth(who, payments+"/payment-acme-1", "allocated", 2000, "open", 3000, "status", "Open"),
		worth(who, balances+"/statement-acme-1", "opening", 0, "closing", 6000+6000-600-5000-4000),

		create(who, payments, "client", "client-corp", "received", "2026-03-01", "amount", eur(700), "reference", "R"),
		create(who, payments, "client", "client-corp", "received", "2026-03-01", "amount", eur(-1)).no(422, fault.BadValue),
		create(who, payments, "client", "client-corp", "received", "2026-03-01", "amount", eur(1), "open", eur(1)).no(422, fault.ReadOnlyField),
		patch(who, payments+"/payment-corp-1", "notes", "From the bank"),
		patch(who, payments+"/payment-corp-1", "amount", eur(9)).no(422, fault.ImmutableField),
		post(who, payments+"/payment-corp-1/allocate", "invoice", "invoice-corp-3", "sum", eur(3001)).no(422, fault.BadValue),
		post(who, payments+"/payment-corp-2/allocate", "invoice", "invoice-corp-3", "sum", eur(3401)).no(422, fault.BadValue),
		post(who, payments+"/payment-corp-2/allocate", "invoice", "invoice-acme-3", "sum", eur(1)).no(422, fault.BadReference),
		post(who, payments+"/payment-corp-2/allocate", "invoice", "invoice-corp", "sum", eur(1)).no(409, fault.WrongStatus),
		post(who, payments+"/payment-corp-2/allocate", "invoice", "invoice-corp-3", "sum", map[string]any{"amount": 1, "currency": "USD"}).no(422, fault.BadValue),
		post(who, payments+"/payment-corp-2/allocate", "invoice", "invoice-corp-3").no(422, fault.MissingField),
		post(who, payments+"/payment-corp-2/allocate", "invoice", "invoice-corp-3", "sum", eur(3400)),
		worth(who, debts+"/invoice-corp-3", "open", 0, "status", "Paid"),
		worth(who, payments+"/payment-corp-2", "open", 600, "status", "Open"),
		create(who, allocations, "payment", "payment-corp-2", "invoice", "invoice-corp-2", "amount", eur(600)),
		worth(who, payments+"/payment-corp-2", "open", 0, "status", "Allocated"),
		post(who, payments+"/payment-corp-2/allocate", "invoice", "invoice-corp-2", "sum", eur(1)).no(409, fault.WrongStatus),
		// A client's credit is paid back, and the statement says so.
		post(who, payments+"/payment-blue-1/refund", "sum", eur(3001)).no(422, fault.BadValue),
		post(who, payments+"/payment-blue-1/refund").no(422, fault.MissingField),
		post(who, payments+"/payment-blue-1/refund", "sum", eur(1), "invoice", "invoice-blue-3").no(422, fault.BadValue),
		post(who, payments+"/payment-blue-1/refund", "sum", eur(1000)),
		worth(who, payments+"/payment-blue-1", "refunded", 1000, "open", 2000, "allocated", 2000, "status", "Open"),
		refundStated(who),
		seek(who, payments, "filter", "status eq Allocated").shows("payment-corp-2").hides("payment-corp-1"),
		seek(who, debts, "filter", "status eq Paid").shows("invoice-corp-3").hides("invoice-acme-3"),
		post(who, payments+"/payment-corp-2/reverse", "reverseReason", "Bounced"),
		worth(who, debts+"/invoice-corp-3", "open", 3400, "status", "Sent"),
		worth(who, debts+"/invoice-corp-2", "open", 6000, "status", "Approved"),
		worth(who, payments+"/payment-corp-2", "allocated", 0, "open", 0, "status", "Reversed"),
		seek(who, payments, "filter", "status eq Allocated").hides("payment-corp-2"),
		seek(who, payments, "filter", "status eq Open").shows("payment-corp-1").hides("payment-corp-2"),
		get(who, payments+"/payment-corp-2/allocations").quiet("alloc"),
		post(who, payments+"/payment-corp-2/reverse").no(409, fault.WrongStatus),
		create(who, allocations, "payment", "payment-corp-2", "invoice", "invoice-corp-2", "amount", eur(1)).no(409, fault.WrongStatus),
		create(who, balances, "client", "client-corp", "from", "2026-02-01", "to", "2026-03-31", "currency", "EUR"),
		create(who, balances, "client", "client-corp", "from", "2026-02-01", "to", "2026-01-31", "currency", "EUR").no(422, fault.BadValue),
		create(who, collecting, "client", "client-corp", "invoice", "invoice-corp-3", "text", "Promised", "promised", eur(5), "promisedOn", "2026-03-09"),
		patch(who, collecting+"/collection-corp-1", "nextContact", "2026-03-05"),
		patch(who, owing+"/client-corp", "dunningHold", true, "creditLimit", eur(100)),
		create(who, debts, "client", "client-corp", "lines", charged(100)),
		patch(who, debts+"/invoice-corp", "remarks", "Draft"),
		create(who, "/v1/debtors/comments", "parent", "payment-corp-1", "text", "Seen"),
		create(who, "/v1/debtors/comments", "parent", "allocation-corp-1", "text", "Why so much?"),
		rows(Row("comment", "comment-allocation", "parent", "allocation-corp-1", "text", "Ask")),
		get(who, allocations+"/allocation-corp-1/comments").shows("comment-allocation"),
		everyFilter(who, debtFilters, "public"),

		// Notes on a debt that stands; its content is nobody's, and neither are
		// approving and sending this app's.
		patch(who, debts+"/invoice-acme-2", "collectionNotes", "Rang them"),
		patch(who, debts+"/invoice-acme-2", "remarks", "x").no(403, fault.FieldNotAllowed),
		patch(who, debts+"/invoice-acme-2", "due", "2027-01-01").no(403, fault.FieldNotAllowed),
		post(who, bills+"/invoice-acme/approve").forbidden(),
		post(who, bills+"/invoice-acme-2/send").forbidden(),
		post(who, credits+"/credit-acme-2/approve").forbidden(),
		paymentsStay(who),
		get(who, contracts).forbidden(),
		get(who, contracts+"/contract-acme-1").absent(),
		get(who, jobs).forbidden(),
		patch(who, owing+"/client-corp", "billingNotes", "x").no(400, fault.UnknownField),
		sound(),
	}
}

// refundStated: a statement of Blue lists the refund of 10.00 as what Blue owes.
func refundStated(who ident.RecordID) step {
	return do(func(t *testing.T, w *world) {
		t.Helper()
		made := w.HTTP(who, "POST", balances, Object("client", "client-blue", "from", "2026-02-01", "to", "2026-03-31", "currency", "EUR")).Want(t, 201, "").Object(t)
		var debit any
		for _, l := range made["lines"].([]any) {
			if line := l.(map[string]any); line["document"] == "payment-blue-1" && strings.HasPrefix(line["text"].(string), "Refund") {
				debit = line["debit"].(map[string]any)["amount"]
			}
		}
		if debit != float64(1000) {
			t.Errorf("the statement says %v was paid back: %v", debit, made["lines"])
		}
	})
}

// moneyClauses are the cases of Billing and Debtors.
var moneyClauses = map[string][]step{
	"BILL-ADMIN-1": join(facets(BillAdmin, bills, "approvalNotes", "collectionNotes", "collect-acme"), allOfBilling(BillAdmin), []step{
		post(BillAdmin, bills+"/invoice-acme/approve"),
		worth(BillAdmin, bills+"/invoice-acme", "status", "Approved", "number", "I-acme", "issued", "2026-03-02", "open", 1000),
		// A number of the series, and a term that the client has by now.
		do(func(t *testing.T, w *world) {
			patch(BillAdmin, buying+"/client-dune", "paymentTermDays", 30).take(t, w)
			res := w.HTTP(BillAdmin, "POST", bills, Object("client", "client-dune", "lines", charged(250))).Want(t, 201, "")
			id, _ := res.Object(t)["id"].(string)
			post(BillAdmin, bills+"/"+id+"/approve").take(t, w)
			worth(BillAdmin, bills+"/"+id, "number", "INV-000001", "issued", "2026-03-02", "due", "2026-04-01", "total", 250).take(t, w)
		}),
		post(BillAdmin, contracts+"/contract-acme-2/activate"),
		worth(BillAdmin, contracts+"/contract-acme-2", "number", "CON-000001", "nextBilling", "2026-04-01"),
		post(BillAdmin, buying+"/client-dune/archive"),
		post(BillAdmin, buying+"/client-dune/restore"),
		everyFilter(BillAdmin, billFilters, "public"),
		remove(BillAdmin, credits+"/credit-acme-2"),
		// Others have no part in it.
		get(Nobody, bills).forbidden(),
		get(Nobody, bills+"/invoice-acme").absent(),
		get(Engineer, bills+"/invoice-acme").absent(),
		get(DebtAdmin, contracts).forbidden(),
		create(Manager, contracts, "client", "client-acme", "title", "x").forbidden(),
		// Service's people see the invoice, and of neither app what is its own.
		rows(Row("invoice", "invoice-acme-2", "billingRun", "run-march")),
		get(Manager, invoices+"/invoice-acme-2").shows("number", "total").hides("approvalNotes", "collectionNotes", "billingRun"),
		get(Manager, invoices).quiet("approve-acme", "collect-acme"),
		seek(Manager, invoices, "filter", "approvalNotes contains a").no(400, fault.UnknownField),
		seek(Manager, invoices, "filter", "collectionNotes contains a").no(400, fault.UnknownField),
		seek(Manager, invoices, "sort", "approvalNotes").no(400, fault.UnknownField),
		seek(Manager, invoices, "sort", "collectionNotes").no(400, fault.UnknownField),
		patch(Manager, invoices+"/invoice-blue", "approvalNotes", "x").no(400, fault.UnknownField),
	}),
	"BILL-AGENT-1": join(facets(BillAgent, bills, "approvalNotes", "collectionNotes", "collect-acme"), allOfBilling(BillAgent), []step{
		do(func(t *testing.T, w *world) { w.Hide(BillAgent, Acme) }),
		get(BillAgent, bills).shows("invoice-corp").hides(moneyOf("acme", billedOf...)...),
		asAbsent(BillAgent, "GET", nil, bills+"/invoice-acme", contracts+"/contract-acme-1", credits+"/credit-acme-1"),
		asAbsent(BillAgent, "POST", nil, bills+"/invoice-acme/send", contracts+"/contract-acme-1/expire"),
		create(BillAgent, bills, "client", "client-acme", "lines", charged(1)).no(422, fault.BadReference),
		synced(BillAgent, moneyOf("corp", billedOf...), moneyOf("acme", billedOf...)),
	}),
	"BILL-AGENT-2": {
		get(BillAgent, bills+"/invoice-acme").shows("total"),
		post(BillAgent, bills+"/invoice-acme/approve").forbidden(),
		post(BillGuest, bills+"/invoice-acme/approve").forbidden(),
		post(Manager, bills+"/invoice-acme/approve").forbidden(),
		post(DebtAdmin, bills+"/invoice-acme/approve").forbidden(),
		post(Engineer, bills+"/invoice-acme/approve").absent(),
		worth(BillAgent, bills+"/invoice-acme", "status", "Draft"),
		post(BillAdmin, bills+"/invoice-acme/approve"),
		post(BillAgent, bills+"/invoice-acme/send"),
	},
	"BILL-AGENT-3": {
		post(BillAgent, contracts+"/contract-acme-2/activate").forbidden(),
		post(BillAgent, contracts+"/contract-acme-1/expire"),
		post(BillAdmin, contracts+"/contract-acme-2/activate"),
		post(BillAdmin, contracts+"/contract-acme-2/activate").no(409, fault.WrongStatus),
	},
	"BILL-AGENT-4": {
		post(BillAgent, buying+"/client-dune/archive").forbidden(),
		post(BillAdmin, buying+"/client-dune/archive"),
		post(BillAgent, buying+"/client-dune/restore").forbidden(),
		post(BillAdmin, buying+"/client-dune/restore"),
		post(BillAgent, "/v1/billing/sites/site-dune/archive"),
	},
	"BILL-AGENT-5": {
		everyFilter(BillAgent, billFilters, "public").forbidden(),
		everyFilter(BillAgent, billFilters, "private"),
		rows(Row("filter", "filter-bills", "name", "Open", "visibility", "public", "app", "billing", "entityType", "invoice", "query", "status eq Sent")),
		get(BillAgent, billFilters).shows("filter-bills"),
		patch(BillAgent, billFilters+"/filter-bills", "name", "x").forbidden(),
		remove(BillAgent, billFilters+"/filter-bills").forbidden(),
		patch(BillAdmin, billFilters+"/filter-bills", "name", "Sent"),
		// Neither do the filters of another app become this one's.
		create(BillAdmin, billFilters, "name", "x", "visibility", "public", "app", "debtors", "entityType", "invoice").forbidden(),
	},

	"BILL-REP-1": {
		get(BillRep, buying).shows("client-acme", "client-blue").hides("client-corp", "client-dune"),
		get(BillRep, bills).shows("invoice-acme", "invoice-blue-3").hides("invoice-corp", "invoice-corp-2", "invoice-dune"),
		get(BillRep, contracts).shows("contract-acme-1", "contract-blue-2").hides("contract-corp-1"),
		get(BillRep, credits).shows("credit-blue-1").hides("credit-corp-1"),
		get(BillRep, bills+"/invoice-acme-2").shows("approvalNotes").hides("collectionNotes"),
		get(BillRep, jobs+"/job-acme-1").absent(),
		get(BillRep, runs).forbidden(),
		get(BillRep, "/v1/stock/products").shows("product-seal"),
		asAbsent(BillRep, "GET", nil, bills+"/invoice-corp-2", contracts+"/contract-corp-1", credits+"/credit-corp-1", jobs+"/job-corp-1", buying+"/client-corp"),
		synced(BillRep, slices.Concat(moneyOf("acme", billedOf...), moneyOf("blue", billedOf...), []string{"product-seal"}),
			slices.Concat(moneyOf("corp", billedOf...), []string{"run-march", "job-acme-1", "job-corp-1", "payment-acme-1", "collection-acme-1"})),
		// A client that moves takes along all that belongs to it.
		rows(Row("client", Acme, "salesArea", AreaSouth)),
		get(BillRep, bills).shows("invoice-blue").hides("invoice-acme", "invoice-acme-2"),
		get(BillRep, jobs+"/job-acme-1").absent(),
	},
	"BILL-REP-2": join([]step{get(BillRep, bills).shows("invoice-acme")}, noMoneyWrites(BillRep)),
	"BILL-GUEST-1": {
		get(BillGuest, bills).shows("invoice-acme", "invoice-corp-2", "invoice-dune"),
		get(BillGuest, bills+"/invoice-acme-2").shows("approvalNotes", "open").hides("collectionNotes"),
		get(BillGuest, runs).shows("run-march"),
		get(BillGuest, jobs).forbidden(),
		get(BillGuest, buying+"/client-corp").shows("billingNotes").hides("debtorNotes", "accountNotes", "accessNotes"),
		get(BillGuest, payments).forbidden(),
		get(BillGuest, tickets).forbidden(),
		synced(BillGuest, slices.Concat(moneyOf("acme", billedOf...), moneyOf("corp", billedOf...), []string{"run-march"}),
			[]string{"payment-corp-1", "collection-acme-1", "statement-acme-1", "asset-acme"}),
		get(Basic, bills).forbidden(),
	},
	"BILL-GUEST-2": join([]step{get(BillGuest, bills).shows("invoice-acme")}, noMoneyWrites(BillGuest), []step{
		post(BillGuest, runs+"/run-march/run").forbidden(),
		patch(BillGuest, runs+"/run-march", "name", "x").forbidden(),
	}),

	"DEB-ADMIN-1": join(facets(DebtAdmin, debts, "collectionNotes", "approvalNotes", "approve-acme"), allOfDebtors(DebtAdmin), []step{
		// Taking an allocation back reopens the invoice.
		post(DebtAdmin, payments+"/payment-acme-2/allocate", "invoice", "invoice-acme-3", "sum", eur(3400)),
		worth(DebtAdmin, debts+"/invoice-acme-3", "status", "Paid"),
		remove(DebtAdmin, allocations+"/allocation-acme-1"),
		worth(DebtAdmin, debts+"/invoice-acme-3", "status", "Sent", "open", 2000, "paidAt", nil),
		worth(DebtAdmin, payments+"/payment-acme-1", "open", 5000, "allocated", 0),
		remove(DebtAdmin, collecting+"/collection-acme-1"),
		remove(DebtAdmin, balances+"/statement-acme-1"),
		post(DebtAdmin, owing+"/client-dune/archive"),
		post(DebtAdmin, owing+"/client-dune/restore"),
		// Others have no part in it.
		get(Manager, payments).forbidden(),
		get(BillAdmin, collecting).forbidden(),
		get(BillAdmin, payments+"/payment-acme-1").absent(),
		create(BillAdmin, allocations, "payment", "payment-acme-1", "invoice", "invoice-acme-2", "amount", eur(1)).forbidden(),
		get(Nobody, debts).forbidden(),
		do(func(t *testing.T, w *world) { w.Hide(DebtAdmin, Blue) }),
		get(DebtAdmin, payments).shows("payment-acme-1").hides("payment-blue-1"),
		asAbsent(DebtAdmin, "GET", nil, payments+"/payment-blue-1", allocations+"/allocation-blue-1", balances+"/statement-blue-1", debts+"/invoice-blue-2"),
		asAbsent(DebtAdmin, "POST", Object("invoice", "invoice-acme-2", "sum", eur(1)), payments+"/payment-blue-1/allocate"),
		asAbsent(DebtAdmin, "DELETE", nil, allocations+"/allocation-blue-1"),
		do(func(t *testing.T, w *world) {
			hidden := w.HTTP(DebtAdmin, "POST", payments+"/payment-acme-1/allocate", Object("invoice", "invoice-blue-2", "sum", eur(1)))
			never := w.HTTP(DebtAdmin, "POST", payments+"/payment-acme-1/allocate", Object("invoice", "never-was-1", "sum", eur(1)))
			if hidden.Status != 422 || string(hidden.Body) != string(never.Body) {
				t.Errorf("%s / %s", hidden.Body, never.Body)
			}
		}),
		create(DebtAdmin, balances, "client", "client-blue", "from", "2026-02-01", "to", "2026-03-31", "currency", "EUR").no(422, fault.BadReference),
	}),
	"DEB-ADMIN-2": {
		post(DebtAdmin, debts+"/invoice-acme-3/void").no(409, fault.WrongStatus), // something of it is settled
		post(DebtAdmin, debts+"/invoice-acme-2/void", "voidReason", "Twice"),
		worth(DebtAdmin, debts+"/invoice-acme-2", "status", "Void", "open", nil, "voidReason", "Twice"),
		post(DebtAdmin, debts+"/invoice-acme/void"), // a draft
		post(DebtAdmin, debts+"/invoice-acme-2/void").no(409, fault.WrongStatus),
		post(DebtAdmin, payments+"/payment-acme-2/allocate", "invoice", "invoice-acme-2", "sum", eur(1)).no(409, fault.WrongStatus),
		post(BillAdmin, credits+"/credit-acme-2/approve").no(409, fault.WrongStatus),
		post(BillAdmin, debts+"/invoice-corp-2/void").forbidden(),
		post(BillAgent, debts+"/invoice-corp-2/void").forbidden(),
		post(SvcAdmin, debts+"/invoice-corp-2/void").forbidden(),
		post(Engineer, debts+"/invoice-corp-2/void").absent(),
		sound(),
	},
	"DEB-OPS-1": join(facets(DebtOps, debts, "collectionNotes", "approvalNotes", "approve-acme"), allOfDebtors(DebtOps), []step{
		post(DebtOps, owing+"/client-dune/archive"),
		// Everything, but deleting is not named among it.
		remove(DebtOps, allocations+"/allocation-acme-1").forbidden(),
		remove(DebtOps, collecting+"/collection-acme-1").forbidden(),
		remove(DebtOps, balances+"/statement-acme-1").forbidden(),
		remove(DebtOps, credits+"/credit-acme-2").forbidden(),
		remove(DebtOps, owing+"/client-blue").forbidden(),
	}),
	"DEB-OPS-2": {
		post(BillAdmin, payments+"/payment-acme-1/refund", "sum", eur(1)).absent(),
		post(DebtOps, debts+"/invoice-acme-2/void").forbidden(),
		post(DebtOps, debts+"/invoice-acme/void").forbidden(),
		worth(DebtOps, debts+"/invoice-acme-2", "status", "Approved"),
		post(DebtAdmin, debts+"/invoice-acme-2/void"),
		patch(DebtOps, debts+"/invoice-acme", "remarks", "A draft"),
	},
}

// TestMoneyOffline: what phones did without a network is judged when it comes
// in. Sums are worked out anew, and nothing is allocated twice.
func TestMoneyOffline(t *testing.T) {
	w := newWorld(t)
	pay := func(n uint64, payment ident.RecordID, sum int) command.Mutation {
		return command.Mutation{N: n, Op: "action", Type: "payment", ID: payment, Action: "allocate", Args: Object("invoice", "invoice-acme-3", "sum", eur(sum))}
	}
	got := offline(t, w, DebtOps, pay(1, "payment-acme-1", 3000), pay(2, "payment-acme-1", 1), pay(3, "payment-acme-2", 401), pay(4, "payment-acme-2", 400))
	if want := []string{"applied", "refusedwrong_status", "refusedbad_value", "applied"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	worth(DebtOps, debts+"/invoice-acme-3", "open", 0, "status", "Paid").take(t, w)
	worth(DebtOps, payments+"/payment-acme-2", "open", 3600).take(t, w)

	// Lines merge one by one; the total is that of both together.
	was := w.HTTP(BillAgent, "GET", bills+"/invoice-acme", nil).Object(t)["lines"]
	line := func(id string, n int) map[string]any {
		return map[string]any{"id": id, "text": "More", "quantity": 2, "unitPrice": eur(n), "taxPercent": 50}
	}
	both := append(slices.Clone(was.([]any)), line("2", 100))
	patch(BillAdmin, bills+"/invoice-acme", "lines", both).take(t, w)
	got = offline(t, w, BillAgent, command.Mutation{
		N: 1, Op: "patch", Type: "invoice", ID: "invoice-acme",
		Fields: Object("lines", append(slices.Clone(was.([]any)), line("3", 10))), Was: Object("lines", was),
	})
	if !slices.Equal(got, []string{"applied"}) {
		t.Errorf("%v", got)
	}
	worth(BillAgent, bills+"/invoice-acme", "net", 1000+200+20, "tax", 110, "total", 1330).take(t, w)
	sound().take(t, w)
}

// paymentsStay: who may delete is told that payments are kept, everybody else
// that they may not.
func paymentsStay(who ident.RecordID) step {
	s := remove(who, payments+"/payment-acme-2")
	if who == DebtAdmin {
		return s.no(409, fault.WrongStatus)
	}
	return s.forbidden()
}
