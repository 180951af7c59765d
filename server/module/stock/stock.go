// Package stock declares products, warehouses (a van is one), stock levels,
// suppliers, carriers, orders and everything else that moves stock. The level
// of a product in a warehouse is what was counted when its row was made or
// imported, and from then on the sum of its movements: documents change levels
// through movements alone. Documents that the system brings in, as an import
// does, are history and move nothing. The package is imported by server/module,
// by server/module/service for the parts that activities use, and by
// server/roles.
package stock

import (
	"satchel/internal/entity"
)

var app = []entity.App{entity.Stock}

// Product is an article: sold, installed or used up.
var Product = &entity.Type{
	No: 400, Name: "product", Apps: app, Rank: 4, Archivable: true,
	Fields: []*entity.Field{
		entity.Str(1, "name").Need().Searched(),
		entity.Str(2, "number").UpTo(60).Only().Searched(),
		entity.Long(3, "description"),
		entity.Str(4, "category").UpTo(80),
		entity.Str(5, "unit").UpTo(20),
		entity.Amount(6, "listPrice"),
		// What it costs is nobody's business outside Stock.
		entity.Amount(7, "cost").In(entity.FacetStock),
		entity.Integer(8, "reorderPoint").AtLeast(0).In(entity.FacetStock),
	},
}

// Kinds of warehouses.
const (
	KindWarehouse = "warehouse"
	KindVan       = "van"
)

// Warehouse is a place that holds stock; a van has a custodian.
var Warehouse = &entity.Type{
	No: 401, Name: "warehouse", Apps: app, Rank: 5, Archivable: true,
	Fields: []*entity.Field{
		entity.Str(1, "name").Need().Searched(),
		entity.OneOf(2, "kind", KindWarehouse, KindVan).Else(KindWarehouse).Need(),
		entity.To(3, "custodian", "employee"),
		entity.Str(4, "street"),
		entity.Str(5, "city"),
		entity.Position(6, "position"),
		// Whether more may be taken out than the count says is there. Of a van
		// it always may: what was fitted was fitted.
		entity.Flag(7, "allowNegative").In(entity.FacetStock),
	},
	Check: warehouseChecked,
}

// Level is how much of a product lies in a warehouse. The quantity is
// counted when the row is created; afterwards only movements change it.
var Level = &entity.Type{
	No: 402, Name: typeLevel, Apps: app, Rank: 8,
	Fields: []*entity.Field{
		entity.To(1, "product", "product").Need().Fixed(),
		entity.To(2, "warehouse", "warehouse").Need().Fixed(),
		entity.Integer(3, "quantity").Need().Fixed(),
		entity.Str(4, "bin").UpTo(40),
		// What approved orders will take, of all clients together.
		entity.Integer(5, "reserved").System(),
	},
	Created: levelCreated,
	Changed: levelChanged,
}

// Supplier is a company that products are bought from.
var Supplier = &entity.Type{
	No: 403, Name: "supplier", Apps: app, Rank: 2, Archivable: true, Former: "Former supplier",
	Fields: []*entity.Field{
		entity.Str(1, "name").Need().Searched().OfPerson(),
		entity.Str(2, "number").UpTo(60).Searched(),
		entity.Set(3, "phones").UpTo(20).OfPerson(),
		entity.Set(4, "emails").UpTo(20).OfPerson(),
		entity.Str(5, "website").OfPerson(),
		entity.Integer(6, "leadTimeDays").AtLeast(0),
		entity.Flag(7, "preferred"),
		entity.Long(8, "notes").OfPerson(),
	},
}

// Carrier is a company that moves goods.
var Carrier = &entity.Type{
	No: 404, Name: "carrier", Apps: app, Rank: 2, Archivable: true, Former: "Former carrier",
	Fields: []*entity.Field{
		entity.Str(1, "name").Need().Searched().OfPerson(),
		entity.Str(2, "website").OfPerson(),
		entity.Set(3, "phones").UpTo(20).OfPerson(),
		entity.Amount(4, "baseRate"),
	},
}

// Statuses of a purchase order.
const (
	Draft    = "Draft"
	Approved = "Approved"
	Received = "Received"
)

var orderStates = []string{Draft, Approved, Received, Cancelled}

// PurchaseOrder is an order at a supplier. It belongs to no client. What of an
// approved one will not come any more is cancelled: it is Cancelled then, or
// Received where something of it came.
var PurchaseOrder = &entity.Type{
	No: 405, Name: "purchaseOrder", Apps: app, Rank: 42,
	Fields: []*entity.Field{
		entity.Str(1, "number").UpTo(60).Only().Searched(),
		entity.To(2, "supplier", "supplier").Need().Fixed(),
		entity.To(3, "warehouse", "warehouse"),
		entity.To(4, "carrier", "carrier"),
		entity.On(5, "ordered"),
		entity.On(6, "expected"),
		entity.List(7, "lines",
			entity.To(1, "product", "product").Need(),
			entity.Integer(2, "quantity").Need().AtLeast(1),
			entity.Amount(3, "unitPrice"),
			entity.Decimal(4, "taxPercent"),
		),
		entity.Long(8, "notes"),
		entity.OneOf(9, "status", orderStates...).Else(Draft).System(),
		entity.At(10, "approvedAt").System(),
		entity.At(11, "receivedAt").System(),
		entity.Amount(12, "net").System(),
		entity.Amount(13, "tax").System(),
		entity.Amount(14, "total").System(),
		entity.At(15, "cancelledAt").System(),
	},
	Status: &entity.Lifecycle{Field: "status", Initial: Draft, States: orderStates},
	Actions: []*entity.Action{
		{
			Name: "approve", App: entity.Stock, From: []string{Draft}, To: Approved,
			Stamps: []string{"approvedAt"}, Do: approvePurchase,
		},
		{
			Name: "receive", App: entity.Stock, From: []string{Approved}, To: Received,
			Stamps: []string{"receivedAt"}, Do: receiveAll,
		},
		{
			Name: "cancel", App: entity.Stock, From: []string{Draft, Approved}, To: Cancelled,
			Stamps: []string{"cancelledAt"}, Do: cancelPurchase,
		},
	},
	Check:   purchaseChecked,
	Changed: purchaseChanged,
}

// Types lists the package's types.
func Types() []*entity.Type {
	return []*entity.Type{
		Product, Warehouse, Level, Supplier, Carrier, PurchaseOrder,
		ProductRelationship, SalesOrder, Receipt, Transfer, Count, Adjustment, PartOrder, Movement,
	}
}
