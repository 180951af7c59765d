package roles

import (
	"satchel/internal/entity"
	"satchel/internal/policy"
	"satchel/server/module/admin"
	"satchel/server/module/billing"
	"satchel/server/module/crm"
	"satchel/server/module/helpdesk"
	"satchel/server/module/service"
	"satchel/server/module/stock"
)

// serviceRoles are the roles of Service.
var serviceRoles = []*policy.Role{
	ServiceAdministrator, ServiceManager, ServiceEngineer, ServiceSalesRepresentative, ServiceGuestAgent, ServiceGuest,
}

// runsService are the clauses of somebody who may do everything in Service,
// under the id of the sentence that says so. Parts come from Stock's catalogue
// and are only looked up. Invoices are drafted here: approving is Billing's,
// voiding Debtors', and what is approved is out of Service's hands.
func runsService(id string) policy.Clauses {
	return policy.Clauses{
		policy.May(anything...).OnEverything().As(id),
		policy.May(policy.View).On(stock.Product, stock.Warehouse, stock.Level).As(id + "/parts"),
		policy.MayNot(policy.Edit, policy.Delete).On(billing.Invoice).When("status", billing.Issued()...).As(id + "/drafts"),
	}
}

// ServiceAdministrator does everything in Service.
var ServiceAdministrator = &policy.Role{
	Key: "service.administrator", Title: "Service administrator", App: entity.Service,
	Clauses: runsService("SVC-ADMIN-1"),
}

// ServiceManager does everything in Service but archive customers and make
// public filters.
var ServiceManager = &policy.Role{
	Key: "service.manager", Title: "Service manager", App: entity.Service,
	Clauses: append(runsService("SVC-MGR-1"),
		policy.MayNot("archive", "restore").On(crm.Client).As("SVC-MGR-2"),
		noPublicFilters("SVC-MGR-3"),
	),
}

// ownActivity reaches what hangs on an activity assigned to the person.
func ownActivity(field string) *policy.Scope {
	return policy.Under(field, service.JobActivity, policy.Self("assignee"))
}

// ownOpenActivity is ownActivity for as long as the activity is not past
// Cleared. It is a scope because a document's parent may be of any type, which
// a condition can't look into.
func ownOpenActivity(field string) *policy.Scope {
	return policy.Under(field, service.JobActivity, policy.And(
		policy.Self("assignee"), policy.Where("status", service.UpToCleared()...)))
}

// jobHeader is what of a job tells an engineer where to go and why.
var jobHeader = []string{
	"client", "clientId", "title", "number", "description", "kind", "priority", "site", "contact", "asset",
	"reported", "due", "status", "ticket", "createdAt",
}

// ServiceEngineer goes to clients and does what is assigned to them there.
var ServiceEngineer = &policy.Role{
	Key: "service.engineer", Title: "Service engineer", App: entity.Service,
	Clauses: append(policy.Clauses{
		// Customers and assets, all that are not hidden, with what goes with a
		// customer.
		policy.May(policy.View).On(crm.Client, crm.Contact, crm.Site).As("SVC-ENG-1"),
		policy.May(policy.View).On(service.Asset).As("SVC-ENG-2"),

		policy.May(policy.Comment).On(crm.Client).As("SVC-ENG-3"),
		policy.May(policy.View).On(service.Comment).In(policy.Where("parentType", "client")).As("SVC-ENG-3/read"),
		policy.May(policy.Create).On(service.Comment).In(policy.Under("parent", crm.Client, policy.All())).As("SVC-ENG-3/write"),

		policy.May(policy.Comment).On(service.Asset).As("SVC-ENG-4"),
		policy.May(policy.View).On(service.Comment).In(policy.Where("parentType", "asset")).As("SVC-ENG-4/read"),
		policy.May(policy.Create).On(service.Comment).In(policy.Under("parent", service.Asset, policy.All())).As("SVC-ENG-4/write"),

		// Own activities, and to view what they bring along: the job's header,
		// records of the visit, forms, parts and what lies in the own van.
		policy.May(policy.View).On(service.JobActivity).In(policy.Self("assignee")).As("SVC-ENG-5"),
		policy.May(policy.View).On(service.Job).In(ownJob()).Only(jobHeader...).As("SVC-ENG-5/job"),
		policy.May(policy.View).On(service.ChecklistAnswer, service.TimeEntry, service.PartUsed, service.Signature).
			In(ownActivity("activity")).As("SVC-ENG-5/records"),
		policy.May(policy.View).On(helpdesk.Document).In(ownActivity("parent")).As("SVC-ENG-5/documents"),
		policy.May(policy.View).On(service.Checklist, stock.Product).As("SVC-ENG-5/catalogue"),
		policy.May(policy.View).On(service.Agent).In(policy.Self("employee")).As("SVC-ENG-5/agent"),
		policy.May(policy.View).On(stock.Warehouse).In(policy.Self("custodian")).As("SVC-ENG-5/van"),
		policy.May(policy.View).On(stock.Level).
			In(policy.Under("warehouse", stock.Warehouse, policy.Self("custodian"))).As("SVC-ENG-5/stock"),

		// Working on them, step by step, and recording it.
		policy.May(append([]policy.Verb{policy.Edit}, steps()...)...).On(service.JobActivity).
			In(policy.Self("assignee")).As("SVC-ENG-6"),
		policy.May(policy.Create, policy.Edit).
			On(service.ChecklistAnswer, service.TimeEntry, service.PartUsed, service.Signature).
			In(ownActivity("activity")).As("SVC-ENG-6/records"),
		policy.May(policy.Create, policy.Edit).On(helpdesk.Document).In(ownOpenActivity("parent")).As("SVC-ENG-6/documents"),

		// Comments stay open when the activity is not.
		policy.May(policy.Comment).On(service.JobActivity).In(policy.Self("assignee")).As("SVC-ENG-7"),
		policy.May(policy.View, policy.Create).On(service.Comment).In(ownActivity("parent")).As("SVC-ENG-7/comments"),

		// Past Cleared an activity is the manager's, and its records with it.
		policy.MayNot(policy.Edit).On(service.JobActivity).When("status", service.PastCleared()...).As("SVC-ENG-8"),
		policy.MayNot(policy.Create, policy.Edit).
			On(service.ChecklistAnswer, service.TimeEntry, service.PartUsed, service.Signature).
			When("activity.status", service.PastCleared()...).As("SVC-ENG-8/records"),

		policy.MayNot(policy.Edit).On(crm.Client).AsStated().As("SVC-ENG-9"),
		policy.MayNot(policy.Edit).On(service.Asset).AsStated().As("SVC-ENG-10"),
		policy.MayNot(policy.Edit).On(service.Job).AsStated().As("SVC-ENG-11"),
		policy.MayNot(policy.Edit).On(billing.Invoice).AsStated().As("SVC-ENG-12"),
		policy.MayNot(policy.Edit).On(service.Agent, admin.Employee).AsStated().As("SVC-ENG-13"),
	}, assignedTickets("SVC-ENG-5")...),
}

func steps() []policy.Verb {
	var vs []policy.Verb
	for _, s := range service.Steps {
		vs = append(vs, policy.Verb(s))
	}
	return vs
}

// ServiceSalesRepresentative looks at Service within the own sales areas, and
// at the catalogue rows that lie in no area.
var ServiceSalesRepresentative = &policy.Role{
	Key: "service.sales-representative", Title: "Sales representative (Service)", App: entity.Service,
	Clauses: policy.Clauses{
		policy.May(policy.View).OnEverything().In(policy.AssignedSalesAreas()).As("SVC-REP-1"),
		policy.May(policy.View).On(stock.Product, stock.Warehouse, service.Checklist).As("SVC-REP-1/catalogue"),
		policy.MayNot(anyWrite...).OnEverything().AsStated().As("SVC-REP-2"),
	},
}

// ownJob reaches jobs with an activity assigned to the person.
func ownJob() *policy.Scope { return policy.From(service.JobActivity, "job", policy.Self("assignee")) }

// guestAgentJob is what a guest agent sees of a job.
var guestAgentJob = []string{"client", "clientId", "title", "number", "kind", "priority", "reported", "due", "status", "createdAt"}

// ServiceGuestAgent sees the list of jobs and, beneath a job, the activities
// assigned to the person: those stand in no list of their own.
var ServiceGuestAgent = &policy.Role{
	Key: "service.guest-agent", Title: "Guest agent", App: entity.Service,
	Clauses: policy.Clauses{
		policy.May(policy.View).On(service.Job).Only(guestAgentJob...).As("SVC-GAGENT-1"),
		policy.May(policy.View).On(service.JobActivity).In(policy.Self("assignee")).InContext().As("SVC-GAGENT-2"),
		// Where the own work is, by its name: like the names of people it puts
		// nothing into the menu.
		policy.May(policy.View).On(service.Job).In(ownJob()).Only("site").As("SVC-GAGENT-2/where"),
		policy.May(policy.View).On(crm.Site).In(policy.From(service.Job, "site", ownJob())).Only("name").Self().As("SVC-GAGENT-2/site"),
		policy.MayNot(anyWrite...).OnEverything().AsStated().As("SVC-GAGENT-3"),
	},
}

// guestAgentOwnJobs is ServiceGuestAgent where the tenant has narrowed it to
// the jobs of the person's own activities.
var guestAgentOwnJobs = &policy.Role{
	Key: ServiceGuestAgent.Key, Title: ServiceGuestAgent.Title, App: ServiceGuestAgent.App,
	Clauses: append(policy.Clauses{
		policy.May(policy.View).On(service.Job).In(ownJob()).Only(guestAgentJob...).As("SVC-GAGENT-1"),
	}, ServiceGuestAgent.Clauses[1:]...),
}

// ServiceGuest looks at everything in Service.
var ServiceGuest = &policy.Role{
	Key: "service.guest", Title: "Guest (Service)", App: entity.Service,
	Clauses: policy.Clauses{
		policy.May(policy.View).OnEverything().As("SVC-GUEST-1"),
		policy.May(policy.View).On(stock.Product, stock.Warehouse, stock.Level).As("SVC-GUEST-1/parts"),
		policy.MayNot(anyWrite...).OnEverything().AsStated().As("SVC-GUEST-2"),
	},
}
