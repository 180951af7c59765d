// Package service declares the types of the Service app: assets, jobs, their
// activities and what an engineer records on site. It is imported by
// server/module and by server/roles.
package service

import (
	"satchel/internal/entity"
	"satchel/server/module/attach"
	"satchel/server/module/sla"
	"satchel/server/module/stock"
)

var app = []entity.App{entity.Service}

// Priorities of jobs, in rising order.
var Priorities = sla.Priorities

// Asset is a piece of equipment at a client.
var Asset = &entity.Type{
	No: 200, Name: "asset", Apps: app, Rank: 30, Root: "client", Archivable: true,
	Fields: []*entity.Field{
		entity.To(1, "client", "client").Need().Fixed(),
		entity.Str(2, "name").Need().Searched(),
		entity.Str(3, "serial").UpTo(80).Searched(),
		entity.To(4, "product", "product"),
		entity.To(5, "site", "site"),
		entity.On(6, "installed"),
		entity.On(7, "warrantyUntil"),
		entity.Long(8, "notes"),
	},
}

// Checklist is a template of questions; the answers are records of their own
// beneath an activity.
var Checklist = &entity.Type{
	No: 203, Name: "checklist", Apps: app, Rank: 6, Archivable: true,
	Fields: []*entity.Field{
		entity.Str(1, "name").Need().Searched(),
		entity.Long(2, "description"),
		entity.List(3, "items",
			entity.Str(1, "question").Need(),
			entity.OneOf(2, "answer", "yes-no", "text", "number").Else("text"),
			entity.Flag(3, "required"),
		).UpTo(200),
	},
}

// ChecklistAnswer is the answer to one item of a checklist in one activity.
var ChecklistAnswer = &entity.Type{
	No: 204, Name: "checklistAnswer", Apps: app, Rank: 60, Root: "activity",
	Fields: []*entity.Field{
		entity.To(1, "activity", "jobActivity").Need().Fixed(),
		entity.To(2, "checklist", "checklist").Need().Fixed(),
		entity.Str(3, "item").Need().Fixed().UpTo(40),
		entity.Long(4, "answer").UpTo(2000),
		entity.At(5, "answeredAt"),
		entity.Long(6, "note").UpTo(2000),
	},
}

// TimeEntry is time spent on an activity.
var TimeEntry = &entity.Type{
	No: 205, Name: "timeEntry", Plural: "time-entries", Apps: app, Rank: 60, Root: "activity",
	Fields: []*entity.Field{
		entity.To(1, "activity", "jobActivity").Need().Fixed(),
		entity.To(2, "employee", "employee").Fixed(),
		entity.OneOf(3, "kind", "work", "travel", "waiting", "break").Else("work"),
		entity.At(4, "start").Need(),
		entity.At(5, "end"),
		entity.Flag(6, "billable"),
		entity.Long(7, "note").UpTo(2000),
	},
	Check: func(_ entity.Context, _, after *entity.Record) error { return attach.InOrder(after, "start", "end") },
	Created: func(c entity.Context, r *entity.Record) error {
		attach.Author(c, r, "employee")
		return nil
	},
}

// PartUsed is material that an activity consumed.
var PartUsed = &entity.Type{
	No: 206, Name: "partUsed", Plural: "parts-used", Apps: app, Rank: 60, Root: "activity",
	Fields: []*entity.Field{
		entity.To(1, "activity", "jobActivity").Need().Fixed(),
		entity.To(2, "product", "product").Need(),
		entity.Integer(3, "quantity").Need().AtLeast(0),
		entity.To(4, "warehouse", "warehouse"),
		entity.Flag(5, "billable"),
		entity.Long(6, "note").UpTo(2000),
	},
	Changed: func(c entity.Context, before, after *entity.Record) error {
		one := after
		if one == nil {
			one = before
		}
		return stock.Consume(c, one.Get("activity").Ref(), use(before), use(after))
	},
}

// use is what a record of material took out of the stock.
func use(r *entity.Record) stock.Use {
	if r == nil {
		return stock.Use{}
	}
	return stock.Use{Product: r.Get("product").Ref(), Warehouse: r.Get("warehouse").Ref(), Quantity: r.Get("quantity").Int()}
}

// Signature is the client's signature under an activity; the drawing is a
// document of the activity.
var Signature = &entity.Type{
	No: 207, Name: "signature", Apps: app, Rank: 61, Root: "activity",
	Fields: []*entity.Field{
		entity.To(1, "activity", "jobActivity").Need().Fixed(),
		entity.Str(2, "signedBy").Need(),
		entity.At(3, "signedAt").Need(),
		entity.To(4, "drawing", "document"),
		entity.Long(5, "note").UpTo(2000),
	},
}

// Comment is a remark on a record of any type of any app, but for what has no
// readers of its own: a comment, a ticket's update and a document are read by
// whoever reads what they hang on, and are commented on there; tags, taggings
// and filters may be one person's alone. Tickets have updates besides.
var Comment = &entity.Type{
	No: 208, Name: "comment", Apps: attach.Apps, Rank: 62, Root: attach.Parent, Everything: attach.OfApp,
	Fields: []*entity.Field{
		entity.To(1, attach.Parent).Need().Fixed().OfPerson(),
		entity.OneOf(2, attach.ParentType, "client", "contact", "site", "asset", "job", "jobActivity", "invoice",
			"activity", "task", "opportunity", "campaign", "contract", "creditNote", "payment", "salesOrder", "purchaseOrder", "partOrder",
			"product", "supplier", "carrier", "agent", "ticket", "warehouse", "rateCard", "accrual", "agentInvoice", "accountAssignment", "receipt",
			"transfer", "count", "adjustment", "productRelationship", "collectionNote", "statement", "billingRun", "checklist",
			"serviceAgent", "timeEntry", "partUsed",
			"salesArea", "geoArea", "campaignMember", "signature", "checklistAnswer", "stockLevel", "stockMovement", "allocation",
			"agentStatement", "agentStatementLine").System(),
		entity.Long(3, "text").Need().Searched(),
		entity.To(4, "author", "employee").System(),
	},
	Drafted: attach.Drafted,
	Created: attach.Created("author"),
}

// Agent is a person as Service dispatches them. Naming the employee here is
// what lets a dispatcher see the name: the employee record itself is Admin's.
var Agent = &entity.Type{
	No: 209, Name: "serviceAgent", Apps: app, Rank: 9, Archivable: true, Former: "Former service agent",
	Fields: []*entity.Field{
		entity.Str(1, "name").Need().Searched().OfPerson(),
		entity.To(2, "employee", "employee").Need().Only(),
		entity.To(3, "warehouse", "warehouse"),
		entity.Str(4, "phone").UpTo(60).OfPerson(),
	},
}

// Types lists the package's types.
func Types() []*entity.Type {
	return []*entity.Type{
		Asset, Job, JobActivity, Checklist, ChecklistAnswer, TimeEntry, PartUsed, Signature, Comment, Agent,
	}
}
