package roles

import (
	"satchel/internal/entity"
	"satchel/internal/policy"
	"satchel/server/module/admin"
	"satchel/server/module/crm"
	"satchel/server/module/everyone"
	"satchel/server/module/helpdesk"
)

// business are the apps with a business's data, as against people's own.
var business = []entity.App{
	entity.CRM, entity.Sales, entity.Billing, entity.Service, entity.Stock, entity.Debtors, entity.Agents,
	entity.Helpdesk, entity.Admin,
}

// CustomerAdministrator runs the tenant: people, their roles, what they see.
// They look at everything, because reports, exports and backups need it, and
// change nothing outside Admin; to work in an app they hold a role of it.
var CustomerAdministrator = &policy.Role{
	Key: "level.customer-administrator", Title: "Customer administrator", App: entity.Admin,
	Clauses: policy.Clauses{
		// One of them is left at all times; the core refuses what would change
		// that.
		policy.May().As("BM-ADMIN-1"),
		policy.May(policy.View, policy.Create, policy.Edit, "invite", "enable", "confirm-mail").On(admin.Employee).As("BM-ADMIN-2"),
		// Whose name work bears is disabled; only whom nothing names can go.
		policy.May("disable", policy.Delete).On(admin.Employee).As("BM-ADMIN-3"),
		policy.May(policy.View, "revoke").On(admin.Device).As("BM-ADMIN-3/devices"),
		policy.May(policy.View, policy.Create, policy.Edit, policy.Delete).On(admin.OrganizationalRole).As("BM-ADMIN-4"),
		policy.May(policy.View, policy.Create, policy.Edit, policy.Delete).On(admin.SchedulingRole).As("BM-ADMIN-5"),
		policy.May(policy.View, policy.Create, policy.Edit, policy.Delete).On(admin.Setting).As("BM-ADMIN-7/settings"),
		policy.May(policy.View, policy.Create, policy.Edit, policy.Delete).
			On(admin.OrganizationalRoleClient).As("BM-ADMIN-4/clients"),
		policy.May(policy.View, policy.Create, policy.Edit, policy.Delete).On(everyone.Delegation).As("BM-ADMIN-2/delegations"),
		policy.May(policy.View).OnEverythingOf(business...).As("BM-ADMIN-6"),
		policy.May(policy.View, policy.Create, policy.Edit, policy.Delete, "archive", "restore").On(admin.Report).As("BM-ADMIN-6/reports"),
		// Import, export, backup and retention are commands of the core; what
		// imports did is there to be read.
		policy.May(policy.View).On(admin.ImportRun).As("BM-ADMIN-7"),
		// Nobody else writes what decides rights.
		policy.May(policy.View, policy.Create, policy.Edit, policy.Delete).On(admin.RoleAssignment).As("BM-LEVEL-1"),
		policy.May(policy.View, policy.Create, policy.Edit, policy.Delete).On(admin.IndividualPermission).As("BM-IND-1"),
		policy.May(policy.View, policy.Create, policy.Edit, policy.Delete).
			On(admin.ClientVisibility, admin.VisibilityRule).As("BM-CLIENT-1"),
		policy.May(policy.View, policy.Create, policy.Edit, policy.Delete).On(admin.OnsiteClient).As("BM-ONSITE-3"),
	},
}

// asked reaches tickets that the person requested or watches.
func asked() *policy.Scope {
	return policy.Or(policy.Self("requester"), policy.Self("watchers"))
}

// public and internal reach ticket updates by who they are for.
func public() *policy.Scope { return policy.Where("visibility", helpdesk.Public) }

func internal() *policy.Scope { return policy.Where("visibility", helpdesk.Internal) }

// said reaches updates that people write; requests for an update come from the
// ticket's own action.
func said() *policy.Scope { return policy.Where("kind", helpdesk.Note, helpdesk.Reply) }

// onTicket are the clauses about what hangs on tickets in the scope, under the
// id of the sentence that gives the tickets: updates, internal ones for the
// tenant's own people alone, and documents.
func onTicket(id string, tickets *policy.Scope) policy.Clauses {
	beneath := policy.Under("ticket", helpdesk.Ticket, tickets)
	return policy.Clauses{
		policy.May(policy.View).On(helpdesk.Update).In(policy.And(public(), beneath)).As(id + "/updates"),
		policy.May(policy.Create).On(helpdesk.Update).In(policy.And(public(), said(), beneath)).As(id + "/reply"),
		policy.May(policy.View).On(helpdesk.Update).In(policy.And(internal(), beneath)).InHouse().As(id + "/internal"),
		policy.May(policy.Create).On(helpdesk.Update).In(policy.And(internal(), said(), beneath)).InHouse().As(id + "/note"),
		policy.May(policy.View, policy.Create).On(helpdesk.Document).
			In(policy.Under("parent", helpdesk.Ticket, tickets)).As(id + "/documents"),
	}
}

// assignedTickets are the clauses of somebody whom tickets are assigned to:
// they see them and move them along.
func assignedTickets(id string) policy.Clauses {
	id += "/tickets"
	return append(policy.Clauses{
		policy.May(policy.View, "start", "wait", "resolve").On(helpdesk.Ticket).
			In(policy.Self("assignee")).As(id),
	}, onTicket(id, policy.Self("assignee"))...)
}

// Basic is the level of employees and of client staff, who reach their own
// client alone.
var Basic = &policy.Role{
	Key: "level.basic", Title: "Basic", App: entity.Helpdesk,
	Clauses: append(policy.Clauses{
		// Whoever opens a ticket is its requester, and assigns it to nobody.
		policy.May(policy.Create).On(helpdesk.Ticket).
			Only("client", "subject", "description", "priority", "category", "site", "contact", "asset", "watchers").
			As("BM-BASIC-1"),
		policy.May(policy.View).On(helpdesk.Ticket).In(asked()).As("BM-BASIC-1/view"),
		policy.May(policy.View).On(helpdesk.Update).
			In(policy.And(public(), policy.Under("ticket", helpdesk.Ticket, asked()))).As("BM-BASIC-1/updates"),
		policy.May(policy.Create).On(helpdesk.Update).
			In(policy.And(public(), said(), policy.Under("ticket", helpdesk.Ticket, asked()))).As("BM-BASIC-1/reply"),
		policy.May("request-update").On(helpdesk.Ticket).In(asked()).As("BM-BASIC-2"),
		policy.May(policy.View).On(crm.Client, crm.Contact, crm.Site).Through(entity.Core).As("BM-BASIC-3"),
		// Documents: one's own, on what one can see.
		policy.May(policy.View).On(helpdesk.Document).In(policy.Self("uploadedBy")).As("BM-BASIC-4/view"),
		policy.May(policy.Create).On(helpdesk.Document).In(policy.Or(
			policy.Under("parent", helpdesk.Ticket, asked()),
			policy.Under("parent", crm.Client, policy.All()),
			policy.Under("parent", crm.Contact, policy.All()),
			policy.Under("parent", crm.Site, policy.All()),
		)).As("BM-BASIC-4"),
		// The ceiling of client staff is the core's: it holds for every role.
		policy.May().As("BM-BASIC-5"),
	}, assignedTickets("BM-BASIC-1")...),
}

// TicketManager manages any ticket and looks into Service, Helpdesk and Stock
// for it.
var TicketManager = &policy.Role{
	Key: "level.ticket-manager", Title: "Ticket manager", App: entity.Helpdesk,
	Clauses: append(append(policy.Clauses{
		policy.May(policy.View, policy.Create, policy.Edit, policy.AnyAction).On(helpdesk.Ticket).As("BM-TMGR-1"),
	}, managedUpdates("BM-TMGR-1")...),
		policy.May(policy.View).OnEverythingOf(entity.Service, entity.Helpdesk, entity.Stock).Except(helpdesk.Update).As("BM-TMGR-2"),
		policy.MayNot(policy.Create, policy.Edit, policy.Delete).On(admin.Types()...).AsStated().As("BM-TMGR-3"),
	),
}

// managedUpdates are onTicket for every ticket, without walking the tickets.
func managedUpdates(id string) policy.Clauses {
	return policy.Clauses{
		policy.May(policy.View).On(helpdesk.Update).In(public()).As(id + "/updates"),
		policy.May(policy.Create).On(helpdesk.Update).In(policy.And(public(), said())).As(id + "/reply"),
		policy.May(policy.View).On(helpdesk.Update).In(internal()).InHouse().As(id + "/internal"),
		policy.May(policy.Create).On(helpdesk.Update).In(policy.And(internal(), said())).InHouse().As(id + "/note"),
		policy.May(policy.View, "archive", "restore").On(helpdesk.Document).
			In(policy.Where("parentType", "ticket")).As(id + "/documents"),
		policy.May(policy.Create).On(helpdesk.Document).
			In(policy.Under("parent", helpdesk.Ticket, policy.All())).As(id + "/upload"),
	}
}

// OnsiteManager runs tickets and staff on the premises of certain clients,
// from a phone too. They may be the tenant's own or the client's person.
var OnsiteManager = &policy.Role{
	Key: "level.onsite-manager", Title: "Onsite manager", App: entity.Helpdesk,
	Clauses: append(policy.Clauses{
		// The staff: the client's own, and whoever of the tenant works there.
		// Personal, because in-house people belong to no client, which would
		// put them beyond a manager who is client staff.
		policy.May(policy.View).On(admin.Employee).In(policy.OnsiteClients()).
			Only("name", "kind", "client", "clientId", "title", "phone", "schedulingRoles", "status").As("BM-ONSITE-1"),
		policy.May(policy.View).On(admin.Employee).
			In(policy.From(admin.OnsiteClient, "employee", policy.OnsiteClients())).
			Only("name", "kind", "title", "phone", "schedulingRoles", "status").Self().As("BM-ONSITE-1/in-house"),
		policy.May(policy.View).On(admin.OnsiteClient).In(policy.OnsiteClients()).As("BM-ONSITE-1/rows"),

		policy.May("assign", "unassign").On(helpdesk.Ticket).In(policy.OnsiteClients()).As("BM-ONSITE-2"),

		policy.May(policy.View, policy.Create, policy.Edit,
			"request-update", "start", "wait", "resolve", "close", "reopen").
			On(helpdesk.Ticket).In(policy.OnsiteClients()).As("BM-ONSITE-3"),
		policy.May(policy.View).On(crm.Client, crm.Contact, crm.Site).In(policy.OnsiteClients()).
			Through(entity.Core).As("BM-ONSITE-3/clients"),
	}, onTicket("BM-ONSITE-3", policy.OnsiteClients())...),
}
