package roles

import (
	"satchel/internal/entity"
	"satchel/internal/policy"
	"satchel/server/module/crm"
	"satchel/server/module/stock"
)

// stockRoles are the roles of Stock.
var stockRoles = []*policy.Role{
	StockAdministrator, StockController, StockOrderAdministrator, StockWarehouseOperations,
	StockSalesRepresentative, StockGuest,
}

// catalogueWrites are what changes a product or a warehouse: who may not edit
// one may not put it away either.
var catalogueWrites = []policy.Verb{policy.Create, policy.Edit, policy.Delete, "archive", "restore"}

// runsStock are the clauses of somebody who may do everything in Stock, under
// the id of the sentence that says so. Levels change through documents;
// nobody writes a movement.
func runsStock(id string) policy.Clauses {
	return policy.Clauses{
		policy.May(anything...).OnEverything().As(id),
		noMovements(id),
	}
}

// noMovements takes the movements from a role that makes everything else: the
// system alone writes them down.
func noMovements(id string) *policy.Clause {
	return policy.MayNot(policy.Create, policy.Edit, policy.Delete).On(stock.Movement).As(id + "/movements")
}

// StockAdministrator does everything in Stock.
var StockAdministrator = &policy.Role{
	Key: "stock.administrator", Title: "Stock administrator", App: entity.Stock,
	Clauses: runsStock("STK-ADMIN-1"),
}

// StockController does everything in Stock but run the warehouses' list, make
// public filters and archive companies.
var StockController = &policy.Role{
	Key: "stock.controller", Title: "Stock controller", App: entity.Stock,
	Clauses: append(runsStock("STK-CTRL-1"),
		policy.MayNot(catalogueWrites...).On(stock.Warehouse).As("STK-CTRL-2"),
		noPublicFilters("STK-CTRL-3"),
		policy.MayNot("archive", "restore").On(crm.Client).As("STK-CTRL-4"),
		policy.MayNot("archive", "restore").On(stock.Carrier).As("STK-CTRL-5"),
		policy.MayNot("archive", "restore").On(stock.Supplier).As("STK-CTRL-6"),
	),
}

// StockOrderAdministrator runs orders, companies and what goes with them, and
// leaves the catalogue and the warehouses as they are. Deleting is not part of
// it.
var StockOrderAdministrator = &policy.Role{
	Key: "stock.order-administrator", Title: "Order administrator", App: entity.Stock,
	Clauses: policy.Clauses{
		policy.May(policy.View, policy.Create, policy.Edit, policy.Comment, policy.AnyAction).OnEverything().As("STK-ORD-1"),
		noMovements("STK-ORD-1"),
		policy.MayNot(catalogueWrites...).On(stock.Product).As("STK-ORD-2"),
		policy.MayNot(policy.Create, policy.Edit).On(stock.ProductRelationship).As("STK-ORD-3"),
		policy.MayNot(catalogueWrites...).On(stock.Warehouse).As("STK-ORD-4"),
		noPublicFilters("STK-ORD-5"),
		policy.MayNot("archive", "restore").On(crm.Client).As("STK-ORD-6"),
		policy.MayNot("archive", "restore").On(stock.Carrier).As("STK-ORD-7"),
		policy.MayNot("archive", "restore").On(stock.Supplier).As("STK-ORD-8"),
	},
}

// StockWarehouseOperations looks at everything in Stock and does the work in
// the warehouse: what comes in, lies there and goes out. Orders are picked and
// received as they are, without editing them.
var StockWarehouseOperations = &policy.Role{
	Key: "stock.warehouse-operations", Title: "Warehouse operations", App: entity.Stock,
	Clauses: policy.Clauses{
		policy.May(policy.View).OnEverything().As("STK-WHS-1"),
		policy.MayNot(policy.Create, policy.Edit).On(stock.SalesOrder).AsStated().As("STK-WHS-2"),
		policy.MayNot(policy.Create, policy.Edit).On(stock.PurchaseOrder).AsStated().As("STK-WHS-3"),
		policy.MayNot(catalogueWrites...).On(stock.Product).AsStated().As("STK-WHS-4"),
		policy.MayNot(policy.Create, policy.Edit).On(stock.ProductRelationship).AsStated().As("STK-WHS-5"),
		policy.MayNot(catalogueWrites...).On(stock.Warehouse).AsStated().As("STK-WHS-6"),
		noPublicFilters("STK-WHS-7").AsStated(),
		policy.MayNot("archive", "restore").On(crm.Client).AsStated().As("STK-WHS-8"),
		policy.MayNot("archive", "restore").On(stock.Carrier).AsStated().As("STK-WHS-9"),
		policy.MayNot("archive", "restore").On(stock.Supplier).AsStated().As("STK-WHS-10"),
		policy.May(policy.Create, policy.Edit, policy.Comment, policy.AnyAction).
			On(stock.Receipt, stock.Transfer, stock.Count, stock.Adjustment, stock.PartOrder).As("STK-WHS-11"),
		policy.May("pick").On(stock.SalesOrder).As("STK-WHS-11/pick"),
		policy.May("receive").On(stock.PurchaseOrder).As("STK-WHS-11/receive"),
	},
}

// StockSalesRepresentative looks at Stock within the own sales areas, and at
// the catalogue rows that lie in no area. What is ordered from suppliers, and
// how much lies where, belongs to nobody's area.
var StockSalesRepresentative = &policy.Role{
	Key: "stock.sales-representative", Title: "Sales representative (Stock)", App: entity.Stock,
	Clauses: policy.Clauses{
		policy.May(policy.View).OnEverything().In(policy.AssignedSalesAreas()).As("STK-REP-1"),
		policy.May(policy.View).On(stock.Product, stock.ProductRelationship, stock.Warehouse, stock.Carrier, stock.Supplier).
			As("STK-REP-1/catalogue"),
		policy.MayNot(anyWrite...).OnEverything().AsStated().As("STK-REP-2"),
	},
}

// StockGuest looks at everything in Stock.
var StockGuest = &policy.Role{
	Key: "stock.guest", Title: "Guest (Stock)", App: entity.Stock,
	Clauses: policy.Clauses{
		policy.May(policy.View).OnEverything().As("STK-GUEST-1"),
		policy.MayNot(anyWrite...).OnEverything().AsStated().As("STK-GUEST-2"),
	},
}
