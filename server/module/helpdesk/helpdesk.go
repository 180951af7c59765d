// Package helpdesk declares tickets, what is written on them, and documents.
// It is imported by server/module and by server/roles.
package helpdesk

import (
	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/server/module/attach"
	"satchel/server/module/sla"
)

var app = []entity.App{entity.Helpdesk}

// Statuses of a ticket.
const (
	New        = "New"
	Assigned   = "Assigned"
	InProgress = "In Progress"
	Waiting    = "Waiting"
	Resolved   = "Resolved"
	Closed     = "Closed"
)

var ticketStates = []string{New, Assigned, InProgress, Waiting, Resolved, Closed}

// Visibilities and kinds of a ticket's updates.
const (
	Public        = "public"
	Internal      = "internal"
	Note          = "note"
	UpdateRequest = "update-request"
	Reply         = "reply"
)

// Ticket is what somebody asks for on behalf of a client.
var Ticket = &entity.Type{
	No: 300, Name: "ticket", Apps: app, Rank: 41, Root: "client",
	Fields: []*entity.Field{
		entity.To(1, "client", "client").Need().Fixed(),
		entity.Str(2, "subject").Need().Searched(),
		entity.Str(3, "number").UpTo(60).Searched(),
		entity.Long(4, "description"),
		entity.To(5, "requester", "employee").Fixed(),
		// Fixed: given at creation or by assign, never by an edit.
		entity.To(6, "assignee", "employee").Fixed(),
		entity.ToMany(7, "watchers", "employee").UpTo(100),
		entity.OneOf(8, "priority", sla.Priorities...).Else("normal"),
		// By when it is agreed to be done, unless it is typed; see package sla.
		entity.At(9, "due").ByDay(),
		entity.To(10, "site", "site"),
		entity.To(11, "contact", "contact"),
		entity.To(12, "asset", "asset"),
		entity.Str(13, "category").UpTo(80).Searched(),
		entity.OneOf(14, "status", ticketStates...).Else(InProgress).System(),
		entity.To(15, "job", "job").System(),
		entity.Long(16, "resolution").System(),
		entity.At(17, "assignedAt").System(),
		entity.At(18, "resolvedAt").System(),
		entity.At(19, "closedAt").System(),
		entity.At(20, "opened").Fixed().ByDay(),
		// The group of people onsite at the client whom the ticket is for, by the
		// name that their rows bear: nobody else is assigned it.
		entity.Str(21, "onsiteGroup").UpTo(60).Searched(),
	},
	Status: &entity.Lifecycle{
		Field: "status", Initial: New, States: ticketStates,
		Open: []string{New, Assigned, InProgress, Waiting},
	},
	Actions: []*entity.Action{
		{
			Name: "assign", App: entity.Helpdesk, To: Assigned, Assigns: "assignee",
			From:   []string{New, Assigned, InProgress, Waiting},
			Args:   []*entity.Field{entity.To(6, "assignee", "employee").Need()},
			Stamps: []string{"assignedAt"},
		},
		{
			Name: "unassign", App: entity.Helpdesk, To: New, From: []string{Assigned, InProgress, Waiting},
			Clears: []string{"assignee", "assignedAt"},
		},
		{
			Name: "request-update", App: entity.Helpdesk, From: []string{New, Assigned, InProgress, Waiting},
			Args: []*entity.Field{entity.Long(1, "message").UpTo(2000)}, Do: requestUpdate,
		},
		{Name: "start", App: entity.Helpdesk, From: []string{Assigned, Waiting}, To: InProgress},
		{Name: "wait", App: entity.Helpdesk, From: []string{Assigned, InProgress}, To: Waiting},
		{
			Name: "resolve", App: entity.Helpdesk, From: []string{New, Assigned, InProgress, Waiting}, To: Resolved,
			Args: []*entity.Field{entity.Long(16, "resolution")}, Stamps: []string{"resolvedAt"},
		},
		{
			Name: "close", App: entity.Helpdesk, From: []string{New, Assigned, InProgress, Waiting, Resolved}, To: Closed,
			Stamps: []string{"closedAt"},
		},
		{
			Name: "reopen", App: entity.Helpdesk, From: []string{Resolved, Closed}, To: Assigned,
			Clears: []string{"resolvedAt", "closedAt"}, Do: reopen,
		},
		{
			Name: "to-job", App: entity.Helpdesk, From: []string{New, Assigned, InProgress, Waiting},
			Args: []*entity.Field{entity.Str(1, "title")}, Do: toJob,
		},
	},
	Check:   ticketChecked,
	Created: ticketCreated,
	Changed: func(c entity.Context, before, after *entity.Record) error {
		return sla.Changed(c, before, after, "opened")
	},
}

// ticketChecked refuses an onsite group that the client has not: nobody could be
// assigned the ticket. One that is no more stands.
func ticketChecked(c entity.Context, before, after *entity.Record) error {
	group := after.Get("onsiteGroup").Text()
	if group == "" || before != nil && before.Get("onsiteGroup").Text() == group {
		return nil
	}
	found := false
	c.Referring("onsiteClient", "client", after.Get("client").Ref(), func(o *entity.Record) bool {
		found = o.Get("group").Text() == group
		return !found
	})
	if !found {
		return fault.Newf(fault.BadValue, "The client has no onsite group of this name.").OnField("onsiteGroup")
	}
	return nil
}

func ticketCreated(c entity.Context, r *entity.Record) error {
	attach.Author(c, r, "requester")
	if r.Get("opened").IsNull() {
		r.Set("opened", entity.TimeValue(c.At()))
	}
	if !r.Get("assignee").IsNull() {
		r.Set("status", entity.StringValue(Assigned))
		r.Set("assignedAt", entity.TimeValue(c.At()))
	}
	sla.Created(c, r, "opened")
	return nil
}

// requestUpdate leaves the question among the ticket's updates, where the
// assignee finds it.
func requestUpdate(c entity.Context, r *entity.Record, args entity.Args) error {
	text := args["message"]
	if text.IsNull() {
		text = entity.StringValue("An update is requested.")
	}
	_, err := c.Create(Update.Name, map[string]entity.Value{
		"ticket": entity.RefValue(r.ID), "kind": entity.StringValue(UpdateRequest),
		"visibility": entity.StringValue(Public), "text": text,
	})
	return err
}

func reopen(_ entity.Context, r *entity.Record, _ entity.Args) error {
	if r.Get("assignee").IsNull() {
		r.Set("status", entity.StringValue(New))
	}
	return nil
}

// toJob hands the ticket's work to Service; the ticket goes on beside it.
func toJob(c entity.Context, r *entity.Record, args entity.Args) error {
	if !r.Get("job").IsNull() {
		return fault.Newf(fault.WrongStatus, "The ticket already has a job.")
	}
	title := args["title"]
	if title.IsNull() {
		title = r.Get("subject")
	}
	values := map[string]entity.Value{
		"client": r.Get("client"), "title": title, "ticket": entity.RefValue(r.ID), "reported": r.Get("opened"),
	}
	for _, same := range []string{"description", "priority", "due", "site", "contact", "asset"} {
		if v := r.Get(same); !v.IsNull() {
			values[same] = v
		}
	}
	job, err := c.Create("job", values)
	if err != nil {
		return err
	}
	r.Set("job", entity.RefValue(job.ID))
	return nil
}

// Update is an entry in a ticket's conversation. Internal ones are for the
// tenant's own people.
var Update = &entity.Type{
	No: 301, Name: "ticketUpdate", Apps: app, Rank: 60, Root: "ticket",
	Fields: []*entity.Field{
		entity.To(1, "ticket", "ticket").Need().Fixed(),
		// A client that doesn't know a visibility must take it for internal.
		entity.OneOf(2, "visibility", Public, Internal).Else(Internal).Need().Fixed(),
		entity.OneOf(3, "kind", Note, UpdateRequest, Reply).Else(Note).Need().Fixed(),
		entity.Long(4, "text").Need().Searched(),
		entity.To(5, "author", "employee").System(),
	},
	Created: func(c entity.Context, r *entity.Record) error {
		attach.Author(c, r, "author")
		return nil
	},
}

// documents are the apps that have documents: Helpdesk and all others.
var documents = append([]entity.App{entity.Helpdesk}, attach.Apps[:len(attach.Apps)-1]...)

// Document is a file that hangs on a record. Its content is kept apart, comes
// by an upload that may end before the record is created or long after, and
// is what the system found it to be: until then size, type and hash are unset.
var Document = &entity.Type{
	No: 302, Name: "document", Apps: documents, Rank: 60, Root: attach.Parent, Archivable: true, Everything: attach.OfApp,
	Fields: []*entity.Field{
		entity.To(1, attach.Parent).Need().Fixed().OfPerson(),
		entity.OneOf(2, attach.ParentType,
			"client", "contact", "site", "asset", "job", "jobActivity", "invoice", "ticket", "product", "purchaseOrder",
			"activity", "task", "opportunity", "campaign", "contract", "creditNote", "payment", "statement", "salesOrder", "receipt",
			"partOrder", "supplier", "carrier", "agent", "agentInvoice").System(),
		entity.Str(3, "name").Need().Searched(),
		entity.Str(4, "mediaType").UpTo(120).System(),
		entity.Integer(5, "size").AtLeast(0).System(),
		entity.Str(6, "sha256").UpTo(64).System(),
		entity.To(7, "uploadedBy", "employee").System(),
	},
	Drafted: attach.Drafted,
	Created: attach.Created("uploadedBy"),
}

// Types lists the package's types.
func Types() []*entity.Type { return []*entity.Type{Ticket, Update, Document} }
