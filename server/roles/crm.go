package roles

import (
	"slices"

	"satchel/internal/entity"
	"satchel/internal/policy"
	"satchel/server/module/attach"
	"satchel/server/module/crm"
	"satchel/server/module/helpdesk"
	"satchel/server/module/service"
)

// crmRoles are the roles of CRM.
var crmRoles = []*policy.Role{
	CRMAdministrator, CRMManager, CRMRepresentative, CRMOperations, CRMGuestManager, CRMGuest,
}

// CRMAdministrator does everything in CRM.
var CRMAdministrator = &policy.Role{
	Key: "crm.administrator", Title: "CRM administrator", App: entity.CRM,
	Clauses: policy.Clauses{
		policy.May(anything...).OnEverything().As("CRM-ADMIN-1"),
	},
}

// CRMManager sells in the own sales areas and decides which accounts lie there.
var CRMManager = &policy.Role{
	Key: "crm.manager", Title: "CRM manager", App: entity.CRM,
	Clauses: append(sellsInAreas("CRM-MGR"),
		// Both need the account in an own area as it stands: moved out, it is
		// gone for whoever moved it.
		policy.May("archive", "restore").On(crm.Client, crm.Contact, crm.Site).In(policy.AssignedSalesAreas()).As("CRM-MGR-4"),
		policy.May("set-area").On(crm.Client).In(policy.AssignedSalesAreas()).As("CRM-MGR-5"),

		sharedTags("CRM-MGR-6/tags"),
		sharesTags("CRM-MGR-6/own-tags"),
		noBulkTags("CRM-MGR-6").AsStated(),
		noBulkTasks("CRM-MGR-7").AsStated(),
		sharedFilters(entity.CRM, "CRM-MGR-8/filters"),
		noPublicFilters("CRM-MGR-8").AsStated(),
	),
}

// CRMRepresentative sells in the own sales areas.
var CRMRepresentative = &policy.Role{
	Key: "crm.representative", Title: "CRM representative", App: entity.CRM,
	Clauses: append(sellsInAreas("CRM-REP"),
		noArchive("CRM-REP-4").AsStated(),
		noSetArea("CRM-REP-5").AsStated(),
		sharedTags("CRM-REP-6/tags"),
		sharesTags("CRM-REP-6/own-tags"),
		noBulkTags("CRM-REP-6").AsStated(),
		noBulkTasks("CRM-REP-7").AsStated(),
		sharedFilters(entity.CRM, "CRM-REP-8/filters"),
		noPublicFilters("CRM-REP-8").AsStated(),
	),
}

// CRMOperations keeps the accounts of all areas, and the own work.
var CRMOperations = &policy.Role{
	Key: "crm.operations", Title: "CRM operations", App: entity.CRM,
	Clauses: append(slices.Concat(
		keepsAccounts("CRM-OPS-1"),
		ownWork("CRM-OPS-2"),
		attached("CRM-OPS-2/campaigns", policy.Under(attach.Parent, crm.Campaign, policy.Self("owner"))),
	),
		// Beneath an account, too, nobody else's work: the sentence about any
		// sales area is about accounts alone.
		policy.May(ofCampaign...).On(crm.Campaign).In(policy.Self("owner")).As("CRM-OPS-2/campaigns"),
		policy.May(policy.Create).On(crm.Campaign).In(policy.Self("owner")).As("CRM-OPS-2/new-campaigns"),
		policy.May(policy.View, policy.Create, policy.Edit).On(crm.CampaignMember).
			In(policy.Under("campaign", crm.Campaign, policy.Self("owner"))).As("CRM-OPS-2/members"),
		remarks("CRM-OPS-2/members", policy.Under(attach.Parent, crm.CampaignMember, policy.Under("campaign", crm.Campaign, policy.Self("owner")))),

		noArchive("CRM-OPS-3").AsStated(),
		noSetArea("CRM-OPS-4").AsStated(),
		sharedTags("CRM-OPS-5/tags"),
		noPublicTags("CRM-OPS-5").AsStated(),
		noBulkTags("CRM-OPS-6").AsStated(),
		noBulkTasks("CRM-OPS-7").AsStated(),
		sharedFilters(entity.CRM, "CRM-OPS-8/filters"),
		noPublicFilters("CRM-OPS-8").AsStated(),
	),
}

// CRMGuestManager looks at everything in CRM.
var CRMGuestManager = &policy.Role{
	Key: "crm.guest-manager", Title: "Guest manager (CRM)", App: entity.CRM,
	Clauses: policy.Clauses{
		policy.May(policy.View).OnEverything().As("CRM-GMGR-1"),
		policy.MayNot(anyWrite...).OnEverything().AsStated().As("CRM-GMGR-2"),
	},
}

// CRMGuest looks at everything in CRM, at other people's work only beneath
// what it is about.
var CRMGuest = &policy.Role{
	Key: "crm.guest", Title: "Guest (CRM)", App: entity.CRM,
	Clauses: append(looksAtSelling("CRM-GUEST-1", "CRM-GUEST-2"),
		policy.MayNot(anyWrite...).OnEverything().AsStated().As("CRM-GUEST-3"),
	),
}

// What follows is shared by the roles of CRM and of Sales.

// Types on whose records comments, documents and taggings hang, by name.
var (
	accountTypes = []string{"client", "contact", "site"}
	workTypes    = []string{"activity", "task", "opportunity"}
)

// ofWork is all that is done with an activity, a task or an opportunity but
// deleting it. Statuses change and work changes hands by actions, so that to
// edit it is to be given these.
var ofWork = []policy.Verb{
	policy.View, policy.Create, policy.Edit, policy.Comment, "assign", "complete", "reopen", "win", "lose",
}

// ofTask is the part of ofWork that tasks have.
var ofTask = []policy.Verb{policy.View, policy.Create, policy.Edit, policy.Comment, "assign", "complete", "reopen"}

// ofCampaign is likewise what is done with a campaign that is there.
var ofCampaign = []policy.Verb{policy.View, policy.Edit, policy.Comment, "assign", "start", "end"}

// attached are the clauses for what hangs on records: scope reaches the
// comments, documents and taggings themselves. Tags are put on a record one by
// one by whoever works with it; private ones are everybody's own anyway.
func attached(id string, scope *policy.Scope) policy.Clauses {
	return policy.Clauses{
		policy.May(policy.View, policy.Create).On(service.Comment).In(scope).As(id + "/comments"),
		policy.May(policy.View, policy.Create, policy.Edit).On(helpdesk.Document).In(scope).As(id + "/documents"),
		policy.May(policy.View, policy.Create, policy.Delete).On(crm.Tagging).In(policy.And(shared(), scope)).As(id + "/taggings"),
	}
}

// remarks are the clauses for comments on records that nothing else hangs on.
func remarks(id string, scope *policy.Scope) *policy.Clause {
	return policy.May(policy.View, policy.Create).On(service.Comment).In(scope).As(id + "/comments")
}

// remarksOnAreas shows what is said of the areas.
func remarksOnAreas(id string) *policy.Clause {
	return policy.May(policy.View).On(service.Comment).In(on("salesArea", "geoArea")).As(id + "/comments")
}

// attachedToView are the same clauses for whoever only looks.
func attachedToView(id string, scope *policy.Scope) policy.Clauses {
	return policy.Clauses{
		policy.May(policy.View).On(service.Comment, helpdesk.Document).In(scope).As(id + "/attached"),
		policy.May(policy.View).On(crm.Tagging).In(policy.And(shared(), scope)).As(id + "/taggings"),
	}
}

// shared reaches tags, taggings and filters that are everybody's.
func shared() *policy.Scope { return policy.Where("visibility", attach.Public) }

// on reaches what hangs on records of the types.
func on(types ...string) *policy.Scope { return policy.Where(attach.ParentType, types...) }

// onOwnWork reaches what hangs on the person's own work.
func onOwnWork() *policy.Scope {
	return policy.Or(
		policy.Under(attach.Parent, crm.Activity, policy.Self("owner")),
		policy.Under(attach.Parent, crm.Task, policy.Self("assignee")),
		policy.Under(attach.Parent, crm.Opportunity, policy.Self("owner")),
	)
}

// ownWork are the clauses about activities, tasks and opportunities assigned
// to the person, wherever their account lies. Who owns work may delete it.
func ownWork(id string) policy.Clauses {
	return append(policy.Clauses{
		policy.May(ofWork...).On(crm.Activity, crm.Opportunity).In(policy.Self("owner")).As(id),
		policy.May(ofTask...).On(crm.Task).In(policy.Self("assignee")).As(id + "/tasks"),
		policy.May(policy.Delete).On(crm.Activity, crm.Opportunity).In(policy.Self("owner")).As(id + "/delete"),
		policy.May(policy.Delete).On(crm.Task).In(policy.Self("assignee")).As(id + "/delete-tasks"),
	}, attached(id, onOwnWork())...)
}

// othersWork are the clauses about work that stands in no list of its own,
// only beneath its account, opportunity or campaign.
func othersWork(id string) policy.Clauses {
	out := policy.Clauses{policy.May(policy.View).On(crm.Activity, crm.Task, crm.Opportunity).As(id)}
	out = append(out, attachedToView(id, on(workTypes...))...)
	for _, c := range out {
		c.InContext()
	}
	return out
}

// keepsAccounts are the clauses of somebody who keeps the accounts of every
// area; contacts and sites go with them. The areas are there to be chosen.
func keepsAccounts(id string) policy.Clauses {
	return append(policy.Clauses{
		policy.May(policy.View, policy.Create, policy.Edit, policy.Comment).On(crm.Client, crm.Contact, crm.Site).As(id),
		policy.May(policy.View).On(crm.SalesArea, crm.GeoArea).As(id + "/areas"),
		remarksOnAreas(id + "/areas"),
	}, attached(id, on(accountTypes...))...)
}

// sellsInAreas are the first three sentences of CRM's managers and
// representatives: accounts in the own sales areas, the own work, and the work
// of those accounts. A campaign has no account. It is in reach where a member
// is, and of its members those are seen.
func sellsInAreas(role string) policy.Clauses {
	accounts, own, work := role+"-1", role+"-2", role+"-3"
	areas := policy.AssignedSalesAreas
	member := func() *policy.Scope { return policy.From(crm.CampaignMember, "campaign", areas()) }
	out := policy.Clauses{
		policy.May(policy.View, policy.Create, policy.Edit, policy.Comment).On(crm.Client, crm.Contact, crm.Site).In(areas()).As(accounts),
		policy.May(policy.View).On(crm.SalesArea, crm.GeoArea).As(accounts + "/areas"),
		remarksOnAreas(accounts + "/areas"),

		// Of own work beneath an account outside the areas, the account shows as
		// an id, and where the work is as a name.
		policy.May(policy.View).On(crm.Site).In(policy.Or(
			policy.From(crm.Activity, "site", policy.Self("owner")), policy.From(crm.Task, "site", policy.Self("assignee")),
		)).Only("name").As(own + "/site"),
		policy.May(ofCampaign...).On(crm.Campaign).In(policy.Self("owner")).As(own + "/campaigns"),
		policy.May(policy.Create).On(crm.Campaign).In(policy.Self("owner")).As(own + "/new-campaigns"),

		policy.May(ofWork...).On(crm.Activity, crm.Task, crm.Opportunity).In(areas()).As(work),
		policy.May(ofCampaign...).On(crm.Campaign).In(member()).As(work + "/campaigns"),
		policy.May(policy.View, policy.Create, policy.Edit).On(crm.CampaignMember).In(areas()).As(work + "/members"),
		remarks(work+"/members", policy.And(areas(), on("campaignMember"))),
	}
	out = append(out, attached(accounts, policy.And(areas(), on(accountTypes...)))...)
	out = append(out, ownWork(own)...)
	out = append(out, attached(work, policy.Or(
		policy.And(areas(), on(workTypes...)),
		policy.Under(attach.Parent, crm.Campaign, policy.Or(policy.Self("owner"), member())),
	))...)
	return out
}

// looksAtSelling are the clauses of guests: everything, of which other people's
// work stands in no list of its own; aside is the sentence that says so. They
// speak of everything throughout, and name no type, so that outside workers get
// no record without a client by them.
func looksAtSelling(id, aside string) policy.Clauses {
	work := []*entity.Type{crm.Activity, crm.Task, crm.Opportunity}
	attached := []*entity.Type{service.Comment, helpdesk.Document, crm.Tagging}
	others := slices.DeleteFunc(append(crm.Types(), attached...), func(t *entity.Type) bool { return slices.Contains(work, t) })
	see := func() *policy.Clause { return policy.May(policy.View).OnEverything() }
	return policy.Clauses{
		see().Except(append(attached, work...)...).As(id),
		// Of each kind of work, where it has the field.
		see().Except(others...).In(policy.Self("owner")).As(id + "/own"),
		see().Except(others...).In(policy.Self("assignee")).As(id + "/own-tasks"),
		// What hangs on records; nothing else has a type of parent.
		see().In(policy.Or(on(append([]string{"campaign"}, accountTypes...)...), onOwnWork())).As(id + "/attached"),
		// On these there are comments alone.
		see().In(on("campaignMember", "salesArea", "geoArea")).As(id + "/comments"),
		see().Except(others...).InContext().As(aside),
		see().In(on(workTypes...)).InContext().As(aside + "/attached"),
	}
}

// sharedTags and sharedFilters are what the roles without "everything" see of
// those that are everybody's.
func sharedTags(id string) *policy.Clause {
	return policy.May(policy.View).On(crm.Tag).In(shared()).As(id)
}

// sharesTags lets somebody make tags for everybody, and change those.
func sharesTags(id string) *policy.Clause {
	return policy.May(policy.Create, policy.Edit).On(crm.Tag).In(policy.And(shared(), policy.Self("owner"))).As(id)
}

func sharedFilters(app entity.App, id string) *policy.Clause {
	return policy.May(policy.View).On(crm.Filter).In(policy.And(shared(), policy.Where("app", string(app)))).As(id)
}

// noBulkTags withholds the bulk actions of tags. A role's "cannot" means that
// this role doesn't give it: what is everybody's own, private tags, Base gives.
func noBulkTags(id string) *policy.Clause {
	return policy.MayNot("bulk-attach", "bulk-detach").On(crm.Tag).As(id)
}

func noBulkTasks(id string) *policy.Clause { return policy.MayNot("bulk-delete").On(crm.Task).As(id) }

func noArchive(id string) *policy.Clause {
	return policy.MayNot("archive", "restore").On(crm.Client).As(id)
}

func noSetArea(id string) *policy.Clause { return policy.MayNot("set-area").On(crm.Client).As(id) }
