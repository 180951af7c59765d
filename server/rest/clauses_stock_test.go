package rest_test

import (
	"encoding/json"
	"strings"
	"testing"

	"satchel/internal/fault"
	"satchel/internal/ident"
	. "satchel/internal/testworld" //nolint:revive // its names are people
)

const (
	buyers      = "/v1/stock/customers"
	products    = "/v1/stock/products"
	relations   = "/v1/stock/product-relationships"
	warehouses  = "/v1/stock/warehouses"
	levels      = "/v1/stock/stock-levels"
	suppliers   = "/v1/stock/suppliers"
	carriers    = "/v1/stock/carriers"
	sales       = "/v1/stock/sales-orders"
	purchases   = "/v1/stock/purchase-orders"
	receipts    = "/v1/stock/receipts"
	transfers   = "/v1/stock/transfers"
	counts      = "/v1/stock/counts"
	adjustments = "/v1/stock/adjustments"
	partOrders  = "/v1/stock/part-orders"
	movements   = "/v1/stock/stock-movements"
	filters     = "/v1/stock/filters"
)

// publicFilter is a filter of Stock that everybody would have.
var publicFilter = []any{"name", "Open", "visibility", "public", "app", "stock", "entityType", "salesOrder", "query", "status eq Draft"}

// privateFilter is one's own.
var privateFilter = []any{"name", "Mine", "visibility", "private", "app", "stock", "entityType", "salesOrder", "query", "status eq Draft"}

// allOfStock are the steps of somebody who sees everything in Stock.
func allOfStock(who ident.RecordID) []step {
	return []step{
		get(who, buyers).shows(everyClient...),
		get(who, buyers+"/client-acme").shows("deliveryNotes", "name").hides("accountNotes", "accessNotes", "billingNotes", "debtorNotes"),
		get(who, products).shows("product-seal", "product-valve"),
		get(who, products+"/product-valve").shows("cost", "name"),
		get(who, relations).shows("relation-one"),
		get(who, warehouses).shows("warehouse-main", "van-engineer"),
		get(who, levels).shows("level-main-seal", "level-two-valve"),
		get(who, suppliers).shows("supplier-one"),
		get(who, carriers).shows("carrier-one"),
		get(who, sales).shows("sale-acme-1", "sale-dune-2"),
		get(who, purchases).shows("order-one-1", "order-two-1"),
		get(who, receipts).shows("receipt-two-1"),
		get(who, transfers).shows("shift-two-1"),
		get(who, counts).shows("count-two-1"),
		get(who, adjustments).shows("adjust-two-1"),
		get(who, partOrders).shows("parts-acme-1", "parts-dune-2"),
		get(who, movements).shows("movement-acme-1", "movement-dune-1"),
		get(who, buyers+"/client-corp/sales-orders").shows("sale-corp-1").hides("sale-acme-1"),
		synced(who, append(ofClients(stockOfClient, "acme", "blue", "corp", "dune"), "product-valve", "relation-one", "warehouse-main", "level-two-valve",
			"supplier-one", "carrier-one", "order-two-1", "receipt-two-1", "shift-two-1", "count-two-1", "adjust-two-1"),
			[]string{"job-acme-1", "ticket-acme-1", "asset-acme", "invoice-acme", "task-acme-1"}),
		carries(who, "client-acme", []string{"deliveryNotes", "name"}, []string{"accountNotes", "accessNotes", "billingNotes", "debtorNotes"}),
		// Not what other apps have.
		get(who, jobs).forbidden(),
		get(who, tickets).forbidden(),
		get(Nobody, sales).forbidden(),
		get(Nobody, sales+"/sale-acme-1").absent(),
	}
}

// works are the steps of somebody who does the work in the warehouse.
func works(who ident.RecordID) []step {
	return []step{
		create(who, receipts, "warehouse", "warehouse-two", "lines", Pieces("product-seal", 3)),
		create(who, receipts, "purchaseOrder", "order-two-1", "warehouse", "warehouse-two", "lines", Pieces("product-valve", 4)),
		patch(who, receipts+"/receipt-two-1", "notes", "Late"),
		post(who, purchases+"/order-two-1/receive"),
		post(who, sales+"/sale-corp-2/pick"),
		create(who, transfers, "source", "warehouse-main", "target", "van-engineer", "lines", Pieces("product-seal", 2)),
		post(who, transfers+"/shift-two-1/complete"),
		patch(who, counts+"/count-two-1", "notes", "At night"),
		post(who, counts+"/count-two-1/post"),
		create(who, adjustments, "warehouse", "warehouse-main", "product", "product-seal", "change", -1, "reason", "lost"),
		create(who, partOrders, "client", "client-blue", "product", "product-pump", "quantity", 1),
		post(who, partOrders+"/parts-acme-1/order"),
		post(who, partOrders+"/parts-acme-1/arrive"),
		post(who, partOrders+"/parts-acme-1/fit"),
		post(who, partOrders+"/parts-dune-1/cancel"),
	}
}

// ordering are the steps of somebody who runs the orders.
func ordering(who ident.RecordID) []step {
	return []step{
		create(who, sales, "client", "client-dune", "warehouse", "warehouse-two", "lines", Pieces("product-valve", 1)),
		patch(who, sales+"/sale-dune-1", "notes", "Soon"),
		post(who, sales+"/sale-dune-1/approve"),
		post(who, sales+"/sale-dune-1/pick"),
		post(who, sales+"/sale-dune-1/ship", "tracking", "T-1"),
		post(who, sales+"/sale-acme-2/cancel"),
		create(who, purchases, "supplier", "supplier-one", "lines", Pieces("product-pump", 1)),
		patch(who, purchases+"/order-one-1", "warehouse", "warehouse-main", "lines", Pieces("product-pump", 2)),
		post(who, purchases+"/order-one-1/approve"),
		post(who, purchases+"/order-one-1/receive"),
		create(who, suppliers, "name", "Other supplies"),
		patch(who, carriers+"/carrier-one", "website", "wheels.example"),
		create(who, buyers, "name", "Fresh", "salesArea", "area-south"),
		patch(who, buyers+"/client-corp", "deliveryNotes", "Gate 4"),
		create(who, "/v1/stock/comments", "parent", "sale-corp-1", "text", "Rang them"),
		create(who, "/v1/stock/comments", "parent", "level-main-seal", "text", "Count again"),
		create(who, levels, "product", "product-pump", "warehouse", "warehouse-two", "quantity", 5),
		patch(who, levels+"/level-two-hose", "bin", "A-7"),
	}
}

// unwritable are the steps of everybody in Stock against what only the system
// writes.
func unwritable(who ident.RecordID) []step {
	return []step{
		create(who, movements, "product", "product-seal", "warehouse", "warehouse-main", "change", 5).forbidden(),
		create(who, movements).forbidden(),
		patch(who, movements+"/movement-acme-1", "change", 5).forbidden(),
		remove(who, movements+"/movement-acme-1").forbidden(),
		patch(who, sales+"/sale-acme-1", "status", "Shipped").no(422, fault.ReadOnlyField),
		patch(who, levels+"/level-two-valve", "quantity", 500).no(422, fault.ImmutableField),
		patch(who, levels+"/level-two-valve", "reserved", 0).no(422, fault.ReadOnlyField),
		patch(who, buyers+"/client-corp", "accountNotes", "x").no(400, fault.UnknownField),
		post(who, buyers+"/client-corp/set-area", "salesArea", "area-north").forbidden(),
	}
}

// noWarehouses are the steps of somebody who leaves the warehouses as they are;
// noProducts and the others likewise.
func noWarehouses(who ident.RecordID) []step {
	return []step{
		create(who, warehouses, "name", "x", "kind", "warehouse").forbidden(),
		patch(who, warehouses+"/warehouse-two", "city", "x").forbidden(),
		post(who, warehouses+"/warehouse-main/archive").forbidden(),
		remove(who, warehouses+"/warehouse-two").forbidden(),
		patch(StockAdmin, warehouses+"/warehouse-two", "city", "Elsewhere"),
		get(who, warehouses+"/warehouse-two").shows("city", "name"),
	}
}

func noProducts(who ident.RecordID) []step {
	return []step{
		create(who, products, "name", "x").forbidden(),
		patch(who, products+"/product-seal", "unit", "x").forbidden(),
		post(who, products+"/product-seal/archive").forbidden(),
		remove(who, products+"/product-seal").forbidden(),
		patch(StockCtrl, products+"/product-seal", "unit", "piece"),
		get(who, products+"/product-seal").shows("unit"),
	}
}

func noRelations(who ident.RecordID) []step {
	return []step{
		create(who, relations, "product", "product-seal", "related", "product-pump", "kind", "spare-part").forbidden(),
		patch(who, relations+"/relation-one", "quantity", 2).forbidden(),
		remove(who, relations+"/relation-one").forbidden(),
		create(StockCtrl, relations, "product", "product-seal", "related", "product-pump", "kind", "spare-part"),
		get(who, relations).shows("relation-one"),
	}
}

func noFilters(who ident.RecordID) []step {
	return []step{
		create(who, filters, publicFilter...).forbidden(),
		create(who, filters, privateFilter...),
		rows(Row("filter", "filter-one", append(publicFilter, "owner", StockAdmin)...)),
		get(who, filters).shows("filter-one"),
		patch(who, filters+"/filter-one", "name", "x").forbidden(),
		remove(who, filters+"/filter-one").forbidden(),
		create(StockAdmin, filters, publicFilter...),
		patch(StockAdmin, filters+"/filter-one", "name", "Drafts"),
	}
}

// noArchive are the steps of somebody who may not archive or restore a record
// of the collection.
func noArchive(who ident.RecordID, record string) []step {
	return []step{
		get(who, record),
		post(who, record+"/archive").forbidden(),
		post(StockAdmin, record+"/archive"),
		post(who, record+"/restore").forbidden(),
		post(StockAdmin, record+"/restore"),
	}
}

// noStockWrites are the steps of somebody who may only look, at records that
// the person sees.
func noStockWrites(who ident.RecordID) []step {
	return []step{
		create(who, sales, "client", "client-acme", "warehouse", "warehouse-two").forbidden(),
		patch(who, sales+"/sale-acme-1", "notes", "x").forbidden(),
		remove(who, sales+"/sale-acme-1").forbidden(),
		post(who, sales+"/sale-acme-1/approve").forbidden(),
		post(who, sales+"/sale-acme-2/pick").forbidden(),
		create(who, purchases, "supplier", "supplier-one").forbidden(),
		create(who, products, "name", "x").forbidden(),
		patch(who, suppliers+"/supplier-one", "website", "x").forbidden(),
		post(who, carriers+"/carrier-one/archive").forbidden(),
		create(who, receipts, "warehouse", "warehouse-two", "lines", Pieces("product-seal", 1)).forbidden(),
		create(who, adjustments, "warehouse", "warehouse-two", "product", "product-seal", "change", 1, "reason", "found").forbidden(),
		post(who, partOrders+"/parts-acme-1/order").forbidden(),
		patch(who, buyers+"/client-acme", "deliveryNotes", "x").forbidden(),
		create(who, "/v1/stock/comments", "parent", "sale-acme-1", "text", "x").forbidden(),
		create(who, filters, publicFilter...).forbidden(),
		create(who, filters, privateFilter...),
		create(who, "/v1/me/preferences", "owner", who, "key", "size", "value", "9"),
	}
}

// ofClients are the ids that the patterns make with each of these clients.
func ofClients(patterns []string, clients ...string) []string {
	var out []string
	for _, c := range clients {
		for _, p := range patterns {
			out = append(out, strings.ReplaceAll(p, "*", c))
		}
	}
	return out
}

// stockOfClient is what each client of the world has in Stock.
var stockOfClient = []string{"client-*", "sale-*-1", "sale-*-2", "sale-*-3", "movement-*-1", "parts-*-1", "parts-*-2"}

// stockClauses are the cases of Stock.
var stockClauses = map[string][]step{
	"STK-ADMIN-1": join(allOfStock(StockAdmin), unwritable(StockAdmin), ordering(StockAdmin), works(StockAdmin), []step{
		create(StockAdmin, products, "name", "Gasket", "cost", json.RawMessage(`{"amount":12,"currency":"EUR"}`)),
		create(StockAdmin, relations, "product", "product-seal", "related", "product-pump", "kind", "spare-part"),
		create(StockAdmin, warehouses, "name", "Third", "kind", "warehouse"),
		create(StockAdmin, filters, publicFilter...),
		post(StockAdmin, suppliers+"/supplier-one/archive"),
		post(StockAdmin, carriers+"/carrier-one/archive"),
		post(StockAdmin, products+"/product-hose/archive"),
		post(StockAdmin, buyers+"/client-dune/archive"),
		patch(StockAdmin, buyers+"/client-dune", "name", "x").no(409, fault.Archived),
		post(StockAdmin, buyers+"/client-dune/restore"),
		remove(StockAdmin, sales+"/sale-blue-1"),
		remove(StockAdmin, relations+"/relation-one"),
	}),
	"STK-CTRL-1": join(allOfStock(StockCtrl), unwritable(StockCtrl), ordering(StockCtrl), works(StockCtrl), []step{
		create(StockCtrl, products, "name", "Gasket"),
		patch(StockCtrl, products+"/product-seal", "cost", json.RawMessage(`{"amount":12,"currency":"EUR"}`)),
		create(StockCtrl, relations, "product", "product-seal", "related", "product-pump", "kind", "spare-part"),
		post(StockCtrl, products+"/product-pump/archive"),
		remove(StockCtrl, sales+"/sale-blue-1"),
		remove(StockCtrl, relations+"/relation-one"),
	}),
	"STK-CTRL-2": noWarehouses(StockCtrl),
	"STK-CTRL-3": noFilters(StockCtrl),
	"STK-CTRL-4": noArchive(StockCtrl, buyers+"/client-dune"),
	"STK-CTRL-5": noArchive(StockCtrl, carriers+"/carrier-one"),
	"STK-CTRL-6": noArchive(StockCtrl, suppliers+"/supplier-one"),

	"STK-ORD-1": join(allOfStock(StockOrders), unwritable(StockOrders), ordering(StockOrders), works(StockOrders), []step{
		// Deleting is not creating or editing.
		remove(StockOrders, sales+"/sale-blue-1").forbidden(),
		remove(StockOrders, partOrders+"/parts-blue-1").forbidden(),
		remove(StockOrders, levels+"/level-main-seal").forbidden(),
		remove(StockOrders, buyers+"/client-dune").forbidden(),
		remove(StockCtrl, sales+"/sale-blue-1"),
	}),
	"STK-ORD-2": noProducts(StockOrders),
	"STK-ORD-3": noRelations(StockOrders),
	"STK-ORD-4": noWarehouses(StockOrders),
	"STK-ORD-5": noFilters(StockOrders),
	"STK-ORD-6": noArchive(StockOrders, buyers+"/client-dune"),
	"STK-ORD-7": noArchive(StockOrders, carriers+"/carrier-one"),
	"STK-ORD-8": noArchive(StockOrders, suppliers+"/supplier-one"),

	"STK-WHS-1": join(allOfStock(StockOps), []step{
		create(StockOps, suppliers, "name", "x").forbidden(),
		patch(StockOps, suppliers+"/supplier-one", "website", "x").forbidden(),
		patch(StockOps, carriers+"/carrier-one", "website", "x").forbidden(),
		patch(StockOps, buyers+"/client-acme", "deliveryNotes", "x").forbidden(),
		create(StockOps, levels, "product", "product-pump", "warehouse", "warehouse-main", "quantity", 1).forbidden(),
		patch(StockOps, levels+"/level-two-hose", "bin", "x").forbidden(),
	}),
	"STK-WHS-2": {
		create(StockOps, sales, "client", "client-acme").forbidden(),
		patch(StockOps, sales+"/sale-acme-1", "notes", "x").forbidden(),
		post(StockOps, sales+"/sale-acme-1/approve").forbidden(),
		post(StockOps, sales+"/sale-acme-2/cancel").forbidden(),
		post(StockOrders, sales+"/sale-acme-1/approve"),
		post(StockOps, sales+"/sale-acme-1/pick"),
		post(StockOps, sales+"/sale-acme-1/ship").forbidden(),
	},
	"STK-WHS-3": {
		create(StockOps, purchases, "supplier", "supplier-one").forbidden(),
		patch(StockOps, purchases+"/order-one-1", "notes", "x").forbidden(),
		post(StockOps, purchases+"/order-one-1/approve").forbidden(),
		remove(StockOps, purchases+"/order-one-1").forbidden(),
		patch(StockOrders, purchases+"/order-one-1", "notes", "Call first"),
		post(StockOps, purchases+"/order-two-1/receive"),
	},
	"STK-WHS-4":  noProducts(StockOps),
	"STK-WHS-5":  noRelations(StockOps),
	"STK-WHS-6":  noWarehouses(StockOps),
	"STK-WHS-7":  noFilters(StockOps),
	"STK-WHS-8":  noArchive(StockOps, buyers+"/client-dune"),
	"STK-WHS-9":  noArchive(StockOps, carriers+"/carrier-one"),
	"STK-WHS-10": noArchive(StockOps, suppliers+"/supplier-one"),
	"STK-WHS-11": join(works(StockOps), []step{
		post(StockOps, sales+"/sale-blue-1/pick").no(409, fault.WrongStatus),
		remove(StockOps, partOrders+"/parts-blue-1").forbidden(),
		remove(StockOps, transfers+"/shift-two-1").forbidden(),
		create(StockGuest, receipts, "warehouse", "warehouse-two", "lines", Pieces("product-seal", 3)).forbidden(),
		post(Manager, sales+"/sale-acme-2/pick").absent(),
		// A job or ticket is named by those who see it, and only with its client.
		create(StockOps, partOrders, "client", "client-blue", "job", "job-blue-1", "product", "product-pump", "quantity", 1).no(422, fault.BadReference),
		do(func(_ *testing.T, w *world) { w.Give(StockOps, "service.guest") }),
		create(StockOps, partOrders, "client", "client-blue", "job", "job-blue-1", "product", "product-pump", "quantity", 1),
		create(StockOps, partOrders, "client", "client-acme", "job", "job-blue-1", "product", "product-pump", "quantity", 1).no(422, fault.BadReference),
	}),

	"STK-REP-1": {
		get(StockRep, buyers).shows("client-acme", "client-blue").hides("client-corp", "client-dune"),
		get(StockRep, sales).shows("sale-acme-1", "sale-blue-2").hides("sale-corp-1", "sale-dune-2"),
		get(StockRep, partOrders).shows("parts-acme-1", "parts-blue-2").hides("parts-corp-1", "parts-dune-1"),
		get(StockRep, movements).shows("movement-blue-1").hides("movement-corp-1"),
		get(StockRep, products).shows("product-valve"),
		get(StockRep, relations).shows("relation-one"),
		get(StockRep, warehouses).shows("warehouse-main"),
		get(StockRep, suppliers).shows("supplier-one"),
		get(StockRep, carriers).shows("carrier-one"),
		get(StockRep, purchases).forbidden(),
		get(StockRep, receipts).forbidden(),
		get(StockRep, levels).forbidden(),
		asAbsent(StockRep, "GET", nil, buyers+"/client-corp", sales+"/sale-corp-1", sales+"/sale-dune-2", partOrders+"/parts-corp-1",
			movements+"/movement-dune-1", purchases+"/order-two-1", levels+"/level-two-valve"),
		synced(StockRep,
			append(ofClients(stockOfClient, "acme", "blue"), "product-valve", "relation-one", "warehouse-two", "supplier-one", "carrier-one"),
			append(ofClients(stockOfClient, "corp", "dune"), "order-one-1", "order-two-1", "receipt-two-1", "level-two-valve", "count-two-1")),
		// An area that is given is there at once, and gone when it is taken.
		patch(Admin, employees+"/emp-stock-rep", "salesAreas", json.RawMessage(`{"add":["area-south"],"remove":["area-north"]}`)),
		get(StockRep, sales).shows("sale-corp-1").hides("sale-acme-1"),
		synced(StockRep, ofClients(stockOfClient, "corp", "dune"), ofClients(stockOfClient, "acme", "blue")),
	},
	"STK-REP-2": join(noStockWrites(StockRep), []step{
		patch(StockRep, sales+"/sale-corp-1", "notes", "x").absent(),
		post(StockRep, sales+"/sale-corp-2/pick").absent(),
	}),

	"STK-GUEST-1": join(allOfStock(StockGuest), []step{
		synced(StockGuest,
			append(ofClients(stockOfClient, "acme", "blue", "corp", "dune"), "order-one-1", "order-two-1", "receipt-two-1", "level-two-valve",
				"count-two-1", "shift-two-1", "adjust-two-1", "product-valve", "supplier-one"),
			[]string{"job-acme-1", "ticket-acme-1", "asset-acme", "invoice-acme"}),
		// A client that is hidden is gone with all that belongs to it; what lies
		// in the warehouse is told for all clients together.
		do(func(_ *testing.T, w *world) { w.Hide(StockGuest, Blue) }),
		get(StockGuest, sales).shows("sale-acme-1", "sale-dune-2").hides("sale-blue-1", "sale-blue-2", "sale-blue-3"),
		get(StockGuest, partOrders).shows("parts-acme-1").hides("parts-blue-1", "parts-blue-2"),
		get(StockGuest, movements).shows("movement-acme-1").hides("movement-blue-1"),
		get(StockGuest, levels+"/level-two-valve").shows("quantity", "reserved").quiet("blue"),
		get(StockGuest, products+"/product-hose/stock-movements").shows("movement-acme-1").hides("movement-blue-1").quiet("blue"),
		asAbsent(StockGuest, "GET", nil, sales+"/sale-blue-1", partOrders+"/parts-blue-1", movements+"/movement-blue-1", buyers+"/client-blue"),
		synced(StockGuest, ofClients(stockOfClient, "acme", "corp", "dune"), ofClients(stockOfClient, "blue")),
	}),
	"STK-GUEST-2": noStockWrites(StockGuest),
}

// TestHiddenStock: what an order of a hidden client moves is moved for
// everybody, and told to nobody who may not know of the client: not to those
// who write in Stock either.
func TestHiddenStock(t *testing.T) {
	w := newWorld(t)
	w.Hide(StockOps, Blue)
	for _, s := range []step{
		asAbsent(StockOps, "POST", nil, sales+"/sale-blue-2/pick"),
		asAbsent(StockOps, "POST", nil, partOrders+"/parts-blue-1/order"),
		asAbsent(StockOps, "PATCH", Object("notes", "x"), partOrders+"/parts-blue-1"),
		create(StockOps, partOrders, "client", "client-blue", "product", "product-pump", "quantity", 1).no(422, fault.BadReference),
		post(StockAdmin, sales+"/sale-blue-2/pick"),
		get(StockOps, levels+"/level-two-valve").quiet("blue"),
	} {
		s.take(t, w)
	}
	seen := w.HTTP(StockOps, "GET", movements+"?filter=product%20eq%20product-valve", nil).IDs(t)
	if all := w.HTTP(StockAdmin, "GET", movements+"?filter=product%20eq%20product-valve", nil).IDs(t); len(seen) != 0 || len(all) != 1 {
		t.Errorf("of the movements %v a person from whom the client is hidden sees %v", all, seen)
	} else {
		synced(StockOps, []string{"level-two-valve", "movement-acme-1"}, append(ofClients(stockOfClient, "blue"), all...)).take(t, w)
	}
	if l := w.HTTP(StockOps, "GET", levels+"/level-two-valve", nil).Object(t); l["quantity"] != 28.0 || l["reserved"] != 6.0 {
		t.Errorf("the level is %v, of which %v are reserved", l["quantity"], l["reserved"])
	}
}
