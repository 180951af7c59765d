package stock

import (
	"satchel/internal/entity"
	"satchel/server/module/attach"
)

// Statuses of the documents that move stock.
const (
	Picked    = "Picked"
	Shipped   = "Shipped"
	Cancelled = "Cancelled"
	Done      = "Done"
	Requested = "Requested"
	Ordered   = "Ordered"
	Arrived   = "Arrived"
	Fitted    = "Fitted"
)

// Prefixes of the orders' numbers.
const (
	salesOrders    = "SO"
	purchaseOrders = "PO"
)

var (
	salesStates    = []string{Draft, Approved, Picked, Shipped, Cancelled}
	transferStates = []string{Draft, Done, Cancelled}
	countStates    = []string{Draft, Done}
	partStates     = []string{Requested, Ordered, Arrived, Fitted, Cancelled}
)

// pieces is a list of products and how many of each.
func pieces(no uint8) *entity.Field {
	return entity.List(no, "lines",
		entity.To(1, "product", "product").Need(),
		entity.Integer(2, "quantity").Need().AtLeast(1),
	)
}

// ProductRelationship says what a product has to do with another.
var ProductRelationship = &entity.Type{
	No: 406, Name: "productRelationship", Apps: app, Rank: 8,
	Fields: []*entity.Field{
		entity.To(1, "product", "product").Need().Fixed(),
		entity.To(2, "related", "product").Need().Fixed(),
		entity.OneOf(3, "kind", "accessory", "spare-part", "replacement", "alternative").Else("alternative").Need(),
		entity.Integer(4, "quantity").AtLeast(1),
	},
	Check: relationshipChecked,
}

// SalesOrder is what a client ordered. Approved, its pieces are reserved;
// picking takes them out of the warehouse.
var SalesOrder = &entity.Type{
	No: 407, Name: "salesOrder", Apps: app, Rank: 43, Root: "client",
	Fields: []*entity.Field{
		entity.To(1, "client", "client").Need().Fixed(),
		entity.Str(2, "number").UpTo(60).Only().Searched(), // given when approved, if not before
		entity.To(3, "warehouse", "warehouse"),
		entity.To(4, "carrier", "carrier"),
		entity.On(5, "ordered"),
		entity.On(6, "wanted"),
		entity.List(7, "lines",
			entity.To(1, "product", "product").Need(),
			entity.Integer(2, "quantity").Need().AtLeast(1),
			entity.Amount(3, "unitPrice"),
			entity.Decimal(4, "taxPercent"),
			entity.Str(5, "text"),
		),
		entity.Amount(8, "net").System(),
		entity.Amount(9, "tax").System(),
		entity.Amount(10, "total").System(),
		entity.OneOf(11, "status", salesStates...).Else(Approved).System(),
		entity.At(12, "approvedAt").System(),
		entity.At(13, "pickedAt").System(),
		entity.At(14, "shippedAt").System(),
		entity.Str(15, "tracking").System(),
		entity.Long(16, "notes"),
		entity.To(17, "owner", "employee"),
		entity.At(18, "cancelledAt").System(),
	},
	Status: &entity.Lifecycle{Field: "status", Initial: Draft, States: salesStates},
	Actions: []*entity.Action{
		{
			Name: "approve", App: entity.Stock, From: []string{Draft}, To: Approved,
			Stamps: []string{"approvedAt"}, Do: approveSale,
		},
		{Name: "pick", App: entity.Stock, From: []string{Approved}, To: Picked, Stamps: []string{"pickedAt"}, Do: pick},
		{
			Name: "ship", App: entity.Stock, From: []string{Picked}, To: Shipped, Stamps: []string{"shippedAt"},
			Args: []*entity.Field{entity.Str(15, "tracking")},
		},
		{
			Name: "cancel", App: entity.Stock, From: []string{Draft, Approved, Picked}, To: Cancelled,
			Stamps: []string{"cancelledAt"}, Do: cancelSale,
		},
	},
	Check:   salesChecked,
	Changed: salesChanged,
}

// Receipt is what came in, against a purchase order or without one.
var Receipt = &entity.Type{
	No: 408, Name: typeReceipt, Apps: app, Rank: 48, NoDelete: true,
	Fields: []*entity.Field{
		entity.To(1, "purchaseOrder", "purchaseOrder").Fixed(),
		entity.To(2, "warehouse", "warehouse").Need().Fixed(),
		entity.On(3, "received"),
		withFixed(pieces(4)),
		entity.Str(5, "number").UpTo(60).Searched(),
		entity.Long(6, "notes"),
	},
	Created: receiptCreated,
	Check:   receiptChecked,
	Changed: receiptChanged,
}

func withFixed(f *entity.Field) *entity.Field { return f.Need().Fixed() }

// Transfer moves pieces from one warehouse to another.
var Transfer = &entity.Type{
	No: 409, Name: "transfer", Apps: app, Rank: 48,
	Fields: []*entity.Field{
		entity.To(1, "source", "warehouse").Need(),
		entity.To(2, "target", "warehouse").Need(),
		pieces(3),
		entity.Long(4, "notes"),
		entity.OneOf(5, "status", transferStates...).Else(Draft).System(),
		entity.At(6, "completedAt").System(),
	},
	Status: &entity.Lifecycle{Field: "status", Initial: Draft, States: transferStates},
	Actions: []*entity.Action{
		{Name: "complete", App: entity.Stock, From: []string{Draft}, To: Done, Stamps: []string{"completedAt"}, Do: transfer},
		{Name: "cancel", App: entity.Stock, From: []string{Draft}, To: Cancelled},
	},
	Check:   transferChecked,
	Changed: postedStays,
}

// Count is a stocktaking of one warehouse; posted, the levels are as counted.
var Count = &entity.Type{
	No: 410, Name: "count", Apps: app, Rank: 48,
	Fields: []*entity.Field{
		entity.To(1, "warehouse", "warehouse").Need().Fixed(),
		entity.On(2, "counted"),
		entity.List(3, "lines",
			entity.To(1, "product", "product").Need(),
			entity.Integer(2, "counted").Need().AtLeast(0),
		),
		entity.Long(4, "notes"),
		entity.OneOf(5, "status", countStates...).Else(Draft).System(),
		entity.At(6, "postedAt").System(),
	},
	Status: &entity.Lifecycle{Field: "status", Initial: Draft, States: countStates},
	Actions: []*entity.Action{
		{Name: "post", App: entity.Stock, From: []string{Draft}, To: Done, Stamps: []string{"postedAt"}, Do: postCount},
	},
	Check:   countChecked,
	Changed: postedStays,
}

// Adjustment puts one level right, with a reason.
var Adjustment = &entity.Type{
	No: 411, Name: "adjustment", Apps: app, Rank: 48, NoDelete: true,
	Fields: []*entity.Field{
		entity.To(1, "warehouse", "warehouse").Need().Fixed(),
		entity.To(2, "product", "product").Need().Fixed(),
		entity.Integer(3, "change").Need().Fixed(),
		entity.OneOf(4, "reason", "damaged", "found", "lost", "correction", "other").Else("other").Need(),
		entity.Long(5, "note").UpTo(2000),
	},
	Check:   adjustmentChecked,
	Changed: adjustmentChanged,
}

// PartOrder asks for a part that a job or ticket of a client needs.
var PartOrder = &entity.Type{
	No: 412, Name: "partOrder", Apps: app, Rank: 52, Root: "client", Parents: []string{"client", "job", "ticket"},
	Fields: []*entity.Field{
		entity.To(1, "client", "client").Need().Fixed(),
		entity.To(2, "job", "job").Fixed(),
		entity.To(3, "ticket", "ticket").Fixed(),
		entity.To(4, "product", "product").Need(),
		entity.Integer(5, "quantity").Need().AtLeast(1),
		entity.To(6, "supplier", "supplier"),
		entity.To(7, "requestedBy", "employee").Fixed(),
		entity.On(8, "neededBy"),
		entity.Long(9, "notes"),
		entity.To(10, "purchaseOrder", "purchaseOrder"),
		entity.OneOf(11, "status", partStates...).Else(Ordered).System(),
		entity.At(12, "orderedAt").System(),
		entity.At(13, "arrivedAt").System(),
		entity.At(14, "fittedAt").System(),
	},
	Status: &entity.Lifecycle{Field: "status", Initial: Requested, States: partStates},
	Actions: []*entity.Action{
		{Name: "order", App: entity.Stock, From: []string{Requested}, To: Ordered, Stamps: []string{"orderedAt"}},
		{Name: "arrive", App: entity.Stock, From: []string{Ordered}, To: Arrived, Stamps: []string{"arrivedAt"}},
		{Name: "fit", App: entity.Stock, From: []string{Arrived}, To: Fitted, Stamps: []string{"fittedAt"}},
		{Name: "cancel", App: entity.Stock, From: []string{Requested, Ordered}, To: Cancelled},
	},
	Drafted: func(c entity.Context, r *entity.Record) { attach.Author(c, r, "requestedBy") },
	Check:   partChecked,
}

// Movement is one change of one level and what caused it: the document, or of
// parts used the activity that used them. The system writes it. What a
// client's order caused goes with that client, so that movements one may see
// need not add up to the level.
var Movement = &entity.Type{
	No: 413, Name: typeMovement, Apps: app, Rank: 64, Root: "cause", NoDelete: true,
	Fields: []*entity.Field{
		entity.To(1, "product", "product").Need().System(),
		entity.To(2, "warehouse", "warehouse").Need().System(),
		entity.Integer(3, "change").Need().System(),
		entity.To(4, "cause").Fixed().System(),
		entity.OneOf(5, "causeType", "salesOrder", "receipt", "transfer", "count", "adjustment", "partUsed").System(),
		entity.At(6, "at").System(),
	},
}
