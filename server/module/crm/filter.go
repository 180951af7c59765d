package crm

import (
	"slices"

	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/server/module/attach"
)

// Filter is a saved question over records of one type of one app. It runs with
// the rights of whoever runs it. Whether the question is one that lists of the
// type understand is judged where it is asked.
var Filter = &entity.Type{
	No: 112, Name: "filter", Rank: 7,
	Apps: []entity.App{
		entity.CRM, entity.Sales, entity.Billing, entity.Service, entity.Stock, entity.Debtors, entity.Agents, entity.Helpdesk,
	},
	Everything: []entity.Bound{{Field: "visibility", Value: attach.Public}, {Field: "app", OfApp: true}},
	PersonalIf: &entity.Bound{Field: "visibility", Value: attach.Private},
	Fields: []*entity.Field{
		entity.Str(1, "name").Need().Searched(),
		entity.OneOf(2, "visibility", attach.Public, attach.Private).Else(attach.Private).Need().Fixed(),
		entity.To(3, "owner", "employee").Fixed().OfPerson(),
		entity.OneOf(4, "app", "crm", "sales", "billing", "service", "stock", "debtors", "agents", "helpdesk").Need().Fixed(),
		entity.Str(5, "entityType").UpTo(40).Need().Fixed(),
		entity.Long(6, "query").UpTo(4000), // as the filter parameter of a list
		entity.Str(7, "sort"),              // as the sort parameter
		entity.Str(8, "search"),            // as the q parameter
	},
	Drafted: func(c entity.Context, r *entity.Record) { attach.Author(c, r, "owner") },
	Check: func(_ entity.Context, _, r *entity.Record) error {
		if !slices.Contains(filterable[entity.App(r.Get("app").Text())], r.Get("entityType").Text()) {
			return fault.Newf(fault.BadValue, "entityType must be the name of a type that %s has.", r.Get("app").Text()).OnField("entityType")
		}
		return nil
	},
}

// filterable are the types of each app's lists. The catalogue knows them too,
// but is put together from this package; a test holds the two together.
var filterable = map[entity.App][]string{
	entity.CRM:   sold,
	entity.Sales: sold,
	entity.Billing: {
		"client", "contact", "site", "comment", "document", "filter", "invoice", "contract", "creditNote", "billingRun",
	},
	entity.Service: {
		"client", "contact", "site", "comment", "document", "filter", "asset", "job", "jobActivity", "checklist", "checklistAnswer",
		"timeEntry", "partUsed", "signature", "serviceAgent", "invoice",
	},
	entity.Stock: {
		"client", "contact", "site", "comment", "document", "filter", "product", "productRelationship", "warehouse", "stockLevel",
		"stockMovement", "supplier", "carrier", "purchaseOrder", "salesOrder", "receipt", "transfer", "count", "adjustment", "partOrder",
	},
	entity.Debtors: {
		"client", "contact", "site", "comment", "document", "filter", "invoice", "creditNote", "payment", "allocation", "statement",
		"collectionNote",
	},
	entity.Agents: {
		"client", "comment", "document", "filter", "agent", "rateCard", "accountAssignment", "accrual", "agentInvoice", "agentStatement",
		"agentStatementLine",
	},
	entity.Helpdesk: {"client", "contact", "site", "comment", "document", "filter", "ticket", "ticketUpdate"},
}

// sold are the types of CRM and of Sales.
var sold = []string{
	"client", "contact", "site", "comment", "document", "filter", "salesArea", "geoArea", "activity", "task", "opportunity",
	"campaign", "campaignMember", "tag", "tagging",
}
