package crm

import (
	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/server/module/attach"
)

// selling are the apps that share accounts and the work on them.
var selling = []entity.App{entity.CRM, entity.Sales}

// sales owns what CRM owns here.
var sales = []entity.App{entity.Sales}

// Statuses of tasks, opportunities and campaigns.
const (
	Open    = "Open"
	Done    = "Done"
	Won     = "Won"
	Lost    = "Lost"
	Draft   = "Draft"
	Running = "Running"
	Ended   = "Ended"
)

var (
	taskStates        = []string{Open, Done}
	opportunityStates = []string{Open, Won, Lost}
	campaignStates    = []string{Draft, Running, Ended}
)

// beneath lists the fields beneath whose records work on an account is shown
// to those who may not see it in lists of its own.
var beneath = []string{"client", "opportunity", "campaign"}

// assign hands a record to somebody who may see its client.
func assign(no uint8, field string) *entity.Action {
	return &entity.Action{
		Name: "assign", App: entity.CRM, Also: sales, Assigns: field,
		Args: []*entity.Field{entity.To(no, field, "employee").Need()},
	}
}

// ofOneClient refuses work beneath an opportunity of another client, or of a
// client that the work does not name: it would go on being seen by those from
// whom that client is hidden. The core asks the same of what people write; this
// is for imports.
func ofOneClient(c entity.Context, r *entity.Record) error {
	o, ok := c.Load(r.Get("opportunity").Ref())
	if ok && o.Client() != r.Client() {
		return fault.Newf(fault.BadReference, "client must be the opportunity's client.").OnField("client")
	}
	return nil
}

// Activity is a call, a meeting or a letter, as it took place or is planned.
var Activity = &entity.Type{
	No: 105, Name: "activity", Plural: "activities", Apps: selling, Rank: 46, Root: "client", Parents: beneath,
	Fields: []*entity.Field{
		entity.Str(1, "subject").Need().Searched(),
		entity.OneOf(2, "kind", "call", "meeting", "email", "letter", "visit", "note").Else("note").Need(),
		entity.At(3, "when").ByDay(),
		entity.Integer(4, "durationMinutes").AtLeast(0),
		// Fixed: given at creation or by assign, never by an edit.
		entity.To(5, "owner", "employee").Fixed(),
		entity.To(6, "client", "client").Fixed(),
		entity.To(7, "contact", "contact"),
		entity.To(8, "opportunity", "opportunity").Fixed(),
		entity.To(9, "campaign", "campaign").Fixed(),
		entity.Long(10, "notes"),
		entity.Str(11, "outcome"),
		entity.To(12, "site", "site"),
	},
	Actions: []*entity.Action{assign(5, "owner")},
	Drafted: func(c entity.Context, r *entity.Record) { attach.Author(c, r, "owner") },
	Created: ofOneClient,
}

// Task is something that one person is to do. It is nobody's only while it
// waits in the queue, where the core puts it when its assignee may not know of
// the client any more.
var Task = &entity.Type{
	No: 106, Name: "task", Apps: selling, Rank: 46, Root: "client", Parents: beneath,
	Fields: []*entity.Field{
		entity.Str(1, "title").Need().Searched(),
		entity.Long(2, "notes"),
		entity.To(3, "assignee", "employee").Fixed(),
		entity.At(4, "due").ByDay(),
		entity.OneOf(5, "priority", "low", "normal", "high").Else("normal"),
		entity.To(6, "client", "client").Fixed(),
		entity.To(7, "contact", "contact"),
		entity.To(8, "opportunity", "opportunity").Fixed(),
		entity.To(9, "campaign", "campaign").Fixed(),
		entity.OneOf(10, "status", taskStates...).Else(Open).System(),
		entity.At(11, "completedAt").System(),
		entity.To(12, "site", "site"),
	},
	Status: &entity.Lifecycle{Field: "status", Initial: Open, States: taskStates, Open: []string{Open}},
	Actions: []*entity.Action{
		assign(3, "assignee"),
		{Name: "complete", App: entity.CRM, Also: sales, From: []string{Open}, To: Done, Stamps: []string{"completedAt"}},
		{Name: "reopen", App: entity.CRM, Also: sales, From: []string{Done}, To: Open, Clears: []string{"completedAt"}},
		{Name: "bulk-delete", App: entity.CRM, Also: sales, Bulk: true, Removes: true},
	},
	Drafted: func(c entity.Context, r *entity.Record) { attach.Author(c, r, "assignee") },
	Created: ofOneClient,
}

// Opportunity is business that may be won from an account.
var Opportunity = &entity.Type{
	No: 107, Name: "opportunity", Plural: "opportunities", Apps: selling, Rank: 45, Root: "client",
	Parents: []string{"client", "campaign"},
	Fields: []*entity.Field{
		entity.Str(1, "name").Need().Searched(),
		entity.To(2, "client", "client").Need().Fixed(),
		entity.To(3, "owner", "employee").Fixed(),
		entity.OneOf(4, "stage", "prospect", "qualified", "proposal", "negotiation").Else("prospect"),
		entity.Amount(5, "value"),
		entity.Integer(6, "probability").AtLeast(0), // percent
		entity.On(7, "expectedClose"),
		entity.To(8, "contact", "contact"),
		entity.To(9, "campaign", "campaign").Fixed(),
		entity.Long(10, "notes"),
		entity.OneOf(11, "status", opportunityStates...).Else(Open).System(),
		entity.At(12, "closedAt").System(),
		entity.Str(13, "lostReason").System(),
	},
	Status: &entity.Lifecycle{Field: "status", Initial: Open, States: opportunityStates, Open: []string{Open}},
	Actions: []*entity.Action{
		assign(3, "owner"),
		{Name: "win", App: entity.CRM, Also: sales, From: []string{Open}, To: Won, Stamps: []string{"closedAt"}},
		{
			Name: "lose", App: entity.CRM, Also: sales, From: []string{Open}, To: Lost, Stamps: []string{"closedAt"},
			Args: []*entity.Field{entity.Str(13, "lostReason")},
		},
		{
			Name: "reopen", App: entity.CRM, Also: sales, From: []string{Won, Lost}, To: Open,
			Clears: []string{"closedAt", "lostReason"},
		},
	},
	Drafted: func(c entity.Context, r *entity.Record) { attach.Author(c, r, "owner") },
	Check: func(_ entity.Context, _, r *entity.Record) error {
		if r.Get("probability").Int() > 100 {
			return fault.Newf(fault.BadValue, "probability is a percentage, 0 to 100.").OnField("probability")
		}
		return nil
	},
}

// Campaign is an effort towards many accounts, which are its members. It
// belongs to none of them.
var Campaign = &entity.Type{
	No: 108, Name: "campaign", Apps: selling, Rank: 44,
	Fields: []*entity.Field{
		entity.Str(1, "name").Need().Searched(),
		entity.To(2, "owner", "employee").Fixed(),
		entity.OneOf(3, "kind", "mailing", "phone", "event", "online", "other").Else("other"),
		entity.On(4, "starts"),
		entity.On(5, "ends"),
		entity.Amount(6, "budget"),
		entity.Long(7, "description"),
		entity.OneOf(8, "status", campaignStates...).Else(Draft).System(),
		entity.At(9, "startedAt").System(),
		entity.At(10, "endedAt").System(),
	},
	Status: &entity.Lifecycle{Field: "status", Initial: Draft, States: campaignStates},
	Actions: []*entity.Action{
		assign(2, "owner"),
		{Name: "start", App: entity.CRM, Also: sales, From: []string{Draft}, To: Running, Stamps: []string{"startedAt"}},
		{Name: "end", App: entity.CRM, Also: sales, From: []string{Running}, To: Ended, Stamps: []string{"endedAt"}},
	},
	Drafted: func(c entity.Context, r *entity.Record) { attach.Author(c, r, "owner") },
	Check:   func(_ entity.Context, _, r *entity.Record) error { return attach.InOrder(r, "starts", "ends") },
}

// CampaignMember is one account that a campaign is for.
var CampaignMember = &entity.Type{
	No: 109, Name: "campaignMember", Apps: selling, Rank: 47, Root: "client", Parents: []string{"client", "campaign"},
	Fields: []*entity.Field{
		entity.To(1, "campaign", "campaign").Need().Fixed(),
		entity.To(2, "client", "client").Need().Fixed(),
		entity.To(3, "contact", "contact"),
		entity.OneOf(4, "response", "none", "interested", "declined").Else("none"),
		entity.Long(5, "notes").UpTo(2000),
	},
	Created: func(c entity.Context, r *entity.Record) error {
		if o, ok := c.Pair("campaignMember", "campaign", r.Get("campaign").Ref(), "client", r.Get("client").Ref()); ok && o.ID != r.ID {
			return fault.Newf(fault.Duplicate, "The campaign already has this client.").OnField("client")
		}
		return nil
	},
}
