package testworld

import (
	"satchel/internal/command"
	"satchel/internal/ident"
)

// seedSelling is what the world has of CRM and Sales.
//
// Every client c has, all of it the SalesManager's:
//
//	activity-c-1, task-c-1, opportunity-c-1   on the client
//	task-c-2                                  beneath opportunity-c-1
//	comment-task-c, document-task-c           on task-c-1
//	tagging-c-1, tagging-task-c               tag-key-1 on the client and on task-c-1
//
// Of nobody's client: activity-wide-1 beneath campaign-wide-1, and task-loose-1
// beneath nothing, both the SalesManager's.
//
// Each person p of own has activity-p, task-p and opportunity-p on Corp, in the
// south, with comment-p and document-p on task-p, and task-loose-p beneath
// nothing.
//
// campaign-wide-1 is the SalesManager's for Acme and Corp (member-wide-acme,
// member-wide-corp), campaign-south-1 for Dune alone (member-south-dune). Each
// person p of ownCampaigns has campaign-p for Corp alone (member-p).
// comment-wide-1 stands on campaign-wide-1.
//
// tag-key-1 (the CRMAdmin's) and tag-crm-rep-1 (the CRMRep's) are everybody's;
// tag-secret-rep and tag-secret-admin are the CRMRep's and the CRMAdmin's
// alone, with tagging-secret-rep and tagging-secret-admin on Acme. filter-crm-1
// and filter-sales-1 are everybody's, filter-secret-rep the CRMRep's alone.
func seedSelling() []command.Row {
	var rows []command.Row
	add := func(typ string, id string, kv ...any) { rows = append(rows, Row(typ, ident.RecordID(id), kv...)) }

	add("tag", "tag-key-1", "name", "Key account", "visibility", "public", "owner", CRMAdmin)
	add("tag", "tag-crm-rep-1", "name", "Call back", "visibility", "public", "owner", CRMRep)
	add("tag", "tag-secret-rep", "name", "Slow payer", "visibility", "private", "owner", CRMRep)
	add("tag", "tag-secret-admin", "name", "Leaving", "visibility", "private", "owner", CRMAdmin)
	add("filter", "filter-crm-1", "name", "Big ones", "visibility", "public", "owner", CRMAdmin, "app", "crm", "entityType", "client")
	add("filter", "filter-sales-1", "name", "Open deals", "visibility", "public", "owner", SalesAdmin, "app", "sales", "entityType", "opportunity")
	add("filter", "filter-secret-rep", "name", "Mine", "visibility", "private", "owner", CRMRep, "app", "crm", "entityType", "task")

	for _, c := range []string{"acme", "blue", "corp", "dune"} {
		client := "client-" + c
		add("opportunity", "opportunity-"+c+"-1", "name", "Deal with "+c, "client", client, "owner", SalesManager, "probability", 50)
		add("activity", "activity-"+c+"-1", "subject", "Call to "+c, "kind", "call", "client", client, "owner", SalesManager)
		add("task", "task-"+c+"-1", "title", "Write to "+c, "client", client, "assignee", SalesManager)
		add("task", "task-"+c+"-2", "title", "Offer for "+c, "client", client, "opportunity", "opportunity-"+c+"-1", "assignee", SalesManager)
		add("comment", "comment-task-"+c, "parent", "task-"+c+"-1", "text", "On the task of "+c)
		add("document", "document-task-"+c, "parent", "task-"+c+"-1", "name", "letter-"+c+".pdf")
		add("tagging", "tagging-"+c+"-1", "tag", "tag-key-1", "parent", client)
		add("tagging", "tagging-task-"+c, "tag", "tag-key-1", "parent", "task-"+c+"-1")
	}
	add("tagging", "tagging-secret-rep", "tag", "tag-secret-rep", "parent", Acme)
	add("tagging", "tagging-secret-admin", "tag", "tag-secret-admin", "parent", Acme)

	add("campaign", "campaign-wide-1", "name", "Spring", "owner", SalesManager)
	add("campaign", "campaign-south-1", "name", "South", "owner", SalesManager)
	add("campaignMember", "member-wide-acme", "campaign", "campaign-wide-1", "client", Acme)
	add("campaignMember", "member-wide-corp", "campaign", "campaign-wide-1", "client", Corp)
	add("campaignMember", "member-south-dune", "campaign", "campaign-south-1", "client", Dune)
	add("comment", "comment-wide-1", "parent", "campaign-wide-1", "text", "On the campaign")
	add("activity", "activity-wide-1", "subject", "Mailing", "kind", "letter", "campaign", "campaign-wide-1", "owner", SalesManager)
	add("task", "task-loose-1", "title", "Tidy up", "assignee", SalesManager)

	for _, p := range own {
		n := name(p)
		add("opportunity", "opportunity-"+n, "name", "Deal of "+n, "client", Corp, "owner", p)
		add("activity", "activity-"+n, "subject", "Call by "+n, "kind", "call", "client", Corp, "owner", p)
		add("task", "task-"+n, "title", "Letter by "+n, "client", Corp, "assignee", p)
		add("task", "task-loose-"+n, "title", "Tidying by "+n, "assignee", p)
		add("comment", "comment-"+n, "parent", "task-"+n, "text", "On the task of "+n)
		add("document", "document-"+n, "parent", "task-"+n, "name", "letter-"+n+".pdf")
	}
	for _, p := range ownCampaigns {
		n := name(p)
		add("campaign", "campaign-"+n, "name", "Campaign of "+n, "owner", p)
		add("campaignMember", "member-"+n, "campaign", "campaign-"+n, "client", Corp)
	}
	return rows
}

// own are the people with activities, tasks and opportunities of their own,
// ownCampaigns those with a campaign.
var (
	own          = []ident.RecordID{CRMManager, CRMRep, CRMOps, CRMGuest, SalesRep, SalesOps, SalesGuest}
	ownCampaigns = []ident.RecordID{CRMManager, CRMRep, CRMOps}
)
