package roles

import (
	"slices"

	"satchel/internal/entity"
	"satchel/internal/policy"
	"satchel/server/module/crm"
	"satchel/server/module/service"
)

// salesRoles are the roles of Sales.
var salesRoles = []*policy.Role{
	SalesAdministrator, SalesManager, SalesRepresentative, SalesOperations, SalesGuestManager, SalesGuest,
}

// SalesAdministrator does everything in Sales.
var SalesAdministrator = &policy.Role{
	Key: "sales.administrator", Title: "Sales administrator", App: entity.Sales,
	Clauses: policy.Clauses{
		policy.May(anything...).OnEverything().As("SAL-ADMIN-1"),
	},
}

// SalesManager does everything in Sales but archive accounts and make public
// filters.
var SalesManager = &policy.Role{
	Key: "sales.manager", Title: "Sales manager", App: entity.Sales,
	Clauses: policy.Clauses{
		policy.May(anything...).OnEverything().As("SAL-MGR-1"),
		noArchive("SAL-MGR-2"),
		noPublicFilters("SAL-MGR-3"),
	},
}

// seesCampaigns are the clauses of somebody who looks at campaigns, their
// members, and what hangs on them.
func seesCampaigns(id string) policy.Clauses {
	return append(policy.Clauses{
		policy.May(policy.View).On(crm.Campaign, crm.CampaignMember).As(id),
		policy.May(policy.View).On(service.Comment).In(on("campaignMember")).As(id + "/members/comments"),
	}, attachedToView(id, on("campaign"))...)
}

// SalesRepresentative works for any account, with the own work in lists and
// other people's only beneath what it is about.
var SalesRepresentative = &policy.Role{
	Key: "sales.representative", Title: "Sales representative (Sales)", App: entity.Sales,
	Clauses: slices.Concat(policy.Clauses{
		policy.May(policy.Create).On(crm.Task).As("SAL-REP-2"),

		noArchive("SAL-REP-4").AsStated(),
		noSetArea("SAL-REP-5").AsStated(),
		sharedTags("SAL-REP-6/tags"),
		noPublicTags("SAL-REP-6").AsStated(),
		noBulkTags("SAL-REP-7").AsStated(),
		noBulkTasks("SAL-REP-8").AsStated(),
		sharedFilters(entity.Sales, "SAL-REP-9/filters"),
		noPublicFilters("SAL-REP-9").AsStated(),
	}, ownWork("SAL-REP-1"), othersWork("SAL-REP-3"), keepsAccounts("SAL-REP-10"), seesCampaigns("SAL-REP-10/campaigns")),
}

// SalesOperations works as representatives do, hands out opportunities too,
// and keeps areas and tags in order.
var SalesOperations = &policy.Role{
	Key: "sales.operations", Title: "Sales operations", App: entity.Sales,
	Clauses: slices.Concat(policy.Clauses{
		policy.May(policy.Create).On(crm.Task).As("SAL-OPS-2"),
		policy.May(policy.Create).On(crm.Opportunity).As("SAL-OPS-3"),

		noArchive("SAL-OPS-5").AsStated(),
		noPublicTags("SAL-OPS-6").AsStated(),
		noBulkTasks("SAL-OPS-7").AsStated(),
		policy.May("set-area").On(crm.Client).As("SAL-OPS-8"),
		policy.May(policy.View, "bulk-attach", "bulk-detach").On(crm.Tag).In(shared()).As("SAL-OPS-8/tags"),
		sharedFilters(entity.Sales, "SAL-OPS-9/filters"),
		noPublicFilters("SAL-OPS-9").AsStated(),
	}, ownWork("SAL-OPS-1"), othersWork("SAL-OPS-4"), keepsAccounts("SAL-OPS-10"), seesCampaigns("SAL-OPS-10/campaigns")),
}

// SalesGuestManager looks at everything in Sales.
var SalesGuestManager = &policy.Role{
	Key: "sales.guest-manager", Title: "Guest manager (Sales)", App: entity.Sales,
	Clauses: policy.Clauses{
		policy.May(policy.View).OnEverything().As("SAL-GMGR-1"),
		policy.MayNot(anyWrite...).OnEverything().AsStated().As("SAL-GMGR-2"),
	},
}

// SalesGuest looks at everything in Sales, at other people's work only beneath
// what it is about.
var SalesGuest = &policy.Role{
	Key: "sales.guest", Title: "Guest (Sales)", App: entity.Sales,
	Clauses: append(looksAtSelling("SAL-GUEST-1", "SAL-GUEST-2"),
		policy.MayNot(anyWrite...).OnEverything().AsStated().As("SAL-GUEST-3"),
	),
}
