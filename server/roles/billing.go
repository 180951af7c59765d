package roles

import (
	"satchel/internal/entity"
	"satchel/internal/policy"
	"satchel/server/module/billing"
	"satchel/server/module/crm"
	"satchel/server/module/stock"
)

// billingRoles are the roles of Billing.
var billingRoles = []*policy.Role{BillingAdministrator, BillingAgent, BillingSalesRepresentative, BillingGuest}

// runsBilling are the clauses of somebody who may do everything in Billing,
// under the id of the sentence that says so. Products are Stock's and only
// looked up. Voiding is Debtors', and what is approved stands fast but for
// Billing's own notes.
func runsBilling(id string) policy.Clauses {
	return policy.Clauses{
		policy.May(anything...).OnEverything().As(id),
		policy.May(policy.View).On(stock.Product).As(id + "/products"),
		policy.MayNot(policy.Edit, policy.Delete).On(billing.Invoice).When("status", billing.Issued()...).As(id + "/drafts"),
		policy.May(policy.Edit).On(billing.Invoice).Only("approvalNotes").As(id + "/notes"),
	}
}

// BillingAdministrator does everything in Billing.
var BillingAdministrator = &policy.Role{
	Key: "billing.administrator", Title: "Billing administrator", App: entity.Billing,
	Clauses: runsBilling("BILL-ADMIN-1"),
}

// BillingAgent does everything in Billing but what makes a claim on a client:
// approving invoices and activating contracts; nor archives customers or makes
// public filters.
var BillingAgent = &policy.Role{
	Key: "billing.agent", Title: "Billing agent", App: entity.Billing,
	Clauses: append(runsBilling("BILL-AGENT-1"),
		policy.MayNot("approve").On(billing.Invoice).As("BILL-AGENT-2"),
		policy.MayNot("activate").On(billing.Contract).As("BILL-AGENT-3"),
		policy.MayNot("archive", "restore").On(crm.Client).As("BILL-AGENT-4"),
		noPublicFilters("BILL-AGENT-5"),
	),
}

// BillingSalesRepresentative looks at Billing within the own sales areas, and
// at the products that invoices name.
var BillingSalesRepresentative = &policy.Role{
	Key: "billing.sales-representative", Title: "Sales representative (Billing)", App: entity.Billing,
	Clauses: policy.Clauses{
		policy.May(policy.View).OnEverything().In(policy.AssignedSalesAreas()).As("BILL-REP-1"),
		policy.May(policy.View).On(stock.Product).As("BILL-REP-1/products"),
		policy.MayNot(anyWrite...).OnEverything().AsStated().As("BILL-REP-2"),
	},
}

// BillingGuest looks at everything in Billing.
var BillingGuest = &policy.Role{
	Key: "billing.guest", Title: "Guest (Billing)", App: entity.Billing,
	Clauses: policy.Clauses{
		policy.May(policy.View).OnEverything().As("BILL-GUEST-1"),
		policy.May(policy.View).On(stock.Product).As("BILL-GUEST-1/products"),
		policy.MayNot(anyWrite...).OnEverything().AsStated().As("BILL-GUEST-2"),
	},
}
