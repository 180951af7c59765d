package roles

import (
	"satchel/internal/policy"
	"satchel/server/module/admin"
	"satchel/server/module/crm"
	"satchel/server/module/everyone"
	"satchel/server/module/helpdesk"
	"satchel/server/module/service"
	"satchel/server/module/stock"
)

// Field is what a phone with the field profile carries of what its user may
// see: own work within the device's window, and a fixed list of paths from it.
// It grants nothing; everything else is on demand, by pinning it. A new phone
// gets the day's work, and what it needs, before the rest.
func Field() []policy.Selection {
	// Own activities that are scheduled within the window, and open ones
	// without a schedule.
	work := policy.And(policy.Self("assignee"), policy.Or(
		policy.Window("scheduledStart"),
		policy.And(policy.Where("status", service.JobActivity.Status.Open...), policy.Unset("scheduledStart"))))
	jobs := policy.From(service.JobActivity, "job", work)
	ofJobs := func(field string) *policy.Scope { return policy.From(service.Job, field, jobs) }
	ofWork := func(field string) *policy.Scope { return policy.Under(field, service.JobActivity, work) }
	first := []policy.Selection{
		{Type: service.JobActivity, Scope: work},
		{Type: service.Job, Scope: jobs},
		{Type: crm.Client, Scope: ofJobs("client")},
		{Type: crm.Site, Scope: ofJobs("site")},
		{Type: crm.Contact, Scope: policy.Or(ofJobs("contact"), policy.Under("site", crm.Site, ofJobs("site")))},
		{Type: service.Asset, Scope: ofJobs("asset")},
		{Type: service.Checklist, Scope: policy.From(service.JobActivity, "checklists", work)},
		{Type: service.ChecklistAnswer, Scope: ofWork("activity")},
		{Type: service.TimeEntry, Scope: ofWork("activity")},
		{Type: service.PartUsed, Scope: ofWork("activity")},
		{Type: service.Signature, Scope: ofWork("activity")},
		{Type: service.Comment, Scope: ofWork("parent")},
		{Type: helpdesk.Document, Scope: ofWork("parent")},
		{Type: stock.Product, Scope: policy.Or(
			policy.From(service.PartUsed, "product", ofWork("activity")),
			policy.From(service.Asset, "product", ofJobs("asset")))},
		{Type: crm.SalesArea, Scope: policy.From(crm.Client, "salesArea", ofJobs("client"))},
		{Type: crm.GeoArea, Scope: policy.From(crm.Client, "geoArea", ofJobs("client"))},
		{Type: admin.SchedulingRole, Scope: policy.From(service.JobActivity, "schedulingRole", work)},
		{Type: admin.Employee, Scope: policy.Self("id")},
		{Type: admin.Employee, Scope: policy.Mentioned()},
		{Type: everyone.Preference, Scope: policy.Self("owner")},
	}
	for i := range first {
		first[i].First = true
	}

	// Tickets one has to do with, and those of the clients one is onsite for:
	// the open ones, and what was opened within the window.
	tickets := policy.And(
		policy.Or(policy.Self("assignee"), policy.Self("requester"), policy.Self("watchers"), policy.OnsiteClients()),
		policy.Or(policy.Where("status", helpdesk.Ticket.Status.Open...), policy.Window("opened")))
	ofTickets := func(field string) *policy.Scope { return policy.From(helpdesk.Ticket, field, tickets) }
	clients := policy.Or(ofTickets("client"), policy.OnsiteClients())
	van := policy.Self("custodian")
	inVan := policy.Under("warehouse", stock.Warehouse, van)
	return append(first, []policy.Selection{
		{Type: helpdesk.Ticket, Scope: tickets},
		{Type: helpdesk.Update, Scope: policy.Under("ticket", helpdesk.Ticket, tickets)},
		{Type: helpdesk.Document, Scope: policy.Under("parent", helpdesk.Ticket, tickets)},
		{Type: crm.Client, Scope: clients},
		{Type: crm.Site, Scope: ofTickets("site")},
		{Type: crm.Contact, Scope: policy.Or(ofTickets("contact"), policy.Under("site", crm.Site, ofTickets("site")))},
		{Type: service.Asset, Scope: ofTickets("asset")},
		{Type: crm.SalesArea, Scope: policy.From(crm.Client, "salesArea", clients)},
		{Type: crm.GeoArea, Scope: policy.From(crm.Client, "geoArea", clients)},
		{Type: service.Agent, Scope: policy.Self("employee")},
		{Type: stock.Warehouse, Scope: van},
		{Type: stock.Level, Scope: inVan},
		{Type: stock.Product, Scope: policy.Or(
			policy.From(stock.Level, "product", inVan),
			policy.From(service.Asset, "product", ofTickets("asset")))},
		{Type: admin.OnsiteClient, Scope: policy.OnsiteClients()},
		{Type: admin.Employee, Scope: policy.Or(
			policy.OnsiteClients(), policy.From(admin.OnsiteClient, "employee", policy.OnsiteClients()))},
		{Type: admin.Device, Scope: policy.Self("employee")},
		{Type: everyone.Notification, Scope: policy.Self("recipient")},
		{Type: everyone.Conflict, Scope: policy.Self("author")},
	}...)
}
