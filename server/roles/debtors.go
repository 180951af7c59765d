package roles

import (
	"satchel/internal/entity"
	"satchel/internal/policy"
	"satchel/server/module/billing"
	"satchel/server/module/stock"
)

// debtorsRoles are the roles of Debtors.
var debtorsRoles = []*policy.Role{DebtorsAdministrator, DebtorsOperations}

// onlyCollects are the clauses that bound everything in Debtors, under the id
// of the sentence that gives it: approving and sending invoices is Billing's,
// and of what was approved only Debtors' own notes are changed. The products
// that lines name are looked up.
func onlyCollects(id string) policy.Clauses {
	return policy.Clauses{
		policy.May(policy.View).On(stock.Product).As(id + "/products"),
		policy.MayNot(policy.Edit).On(billing.Invoice).When("status", billing.Issued()...).As(id + "/drafts"),
		policy.May(policy.Edit).On(billing.Invoice).Only("collectionNotes").As(id + "/notes"),
	}
}

// DebtorsAdministrator does everything in Debtors and voids invoices.
var DebtorsAdministrator = &policy.Role{
	Key: "debtors.administrator", Title: "Debtors administrator", App: entity.Debtors,
	Clauses: append(append(policy.Clauses{policy.May(anything...).OnEverything().As("DEB-ADMIN-1")}, onlyCollects("DEB-ADMIN-1")...),
		policy.May("void").On(billing.Invoice).As("DEB-ADMIN-2"),
	),
}

// DebtorsOperations does everything in Debtors but void invoices. Deleting is
// not part of it; a payment that was booked wrong is reversed.
var DebtorsOperations = &policy.Role{
	Key: "debtors.operations", Title: "Debtors operations", App: entity.Debtors,
	Clauses: append(append(policy.Clauses{
		policy.May(policy.View, policy.Create, policy.Edit, policy.Comment, policy.AnyAction).OnEverything().As("DEB-OPS-1"),
	}, onlyCollects("DEB-OPS-1")...),
		policy.MayNot("void").On(billing.Invoice).As("DEB-OPS-2"),
	),
}
