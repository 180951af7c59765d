// Package agents declares those who are paid by what they do for clients:
// agents, their rates, the accounts they look after, what accrues to them and
// what they are paid. It is imported by server/module and by server/roles, and
// by server/module/service, whose activities are what accrues.
package agents

import (
	"satchel/internal/entity"
	"satchel/server/module/attach"
)

var app = []entity.App{entity.Agents}

// Statuses of accruals and agents' invoices.
const (
	Open      = "Open"
	Invoiced  = "Invoiced"
	Cancelled = "Cancelled"
	Draft     = "Draft"
	Approved  = "Approved"
	Paid      = "Paid"
)

var (
	accrualStates = []string{Open, Invoiced, Cancelled}
	invoiceStates = []string{Draft, Approved, Paid}
)

// Agent is whoever is paid by work or by accounts: an employee or another
// company. It belongs to no client.
var Agent = &entity.Type{
	No: 700, Name: "agent", Apps: app, Rank: 9, Archivable: true, Former: "Former agent",
	Fields: []*entity.Field{
		entity.Str(1, "name").Need().Searched().OfPerson(),
		entity.To(2, "employee", "employee").Only(),
		entity.OneOf(3, "kind", "employee", "subcontractor", "reseller").Else("subcontractor").Need(),
		entity.Str(4, "email").OfPerson(),
		entity.Str(5, "phone").UpTo(60).OfPerson(),
		entity.To(6, "rateCard", "rateCard"),
		entity.Str(7, "taxNumber").UpTo(60).OfPerson(),
		entity.Long(8, "notes").OfPerson(),
	},
}

// RateCard says what work is worth to an agent.
var RateCard = &entity.Type{
	No: 701, Name: "rateCard", Apps: app, Rank: 8, Archivable: true,
	Fields: []*entity.Field{
		entity.Str(1, "name").Need().Searched(),
		entity.On(2, "validFrom"),
		entity.On(3, "validUntil"),
		entity.List(4, "rates",
			// Per hour of work, per hour of travel, per activity.
			entity.OneOf(1, "basis", "hour", "travel-hour", "activity").Need(),
			entity.Amount(2, "amount").Need(),
		).UpTo(50),
	},
	Check: checkCard,
}

// AccountAssignment says that an agent looks after a client, from a day up to
// and including another. No two of one agent and client share a day.
var AccountAssignment = &entity.Type{
	No: 702, Name: "accountAssignment", Apps: app, Rank: 40, Root: "client",
	Fields: []*entity.Field{
		entity.To(1, "agent", "agent").Need().Fixed(),
		entity.To(2, "client", "client").Need().Fixed(),
		entity.On(3, "from").Need(),
		entity.On(4, "to"),
		// Percent of the rates that the agent is paid for work at this client;
		// all of it unless given. Where an agent has no assignment to the client
		// the rates count in full.
		entity.Decimal(5, "share"),
	},
	Check: checkAssignment,
}

// Accrual is one sum that an agent has earned with a client: from an activity
// that was completed, see Accrue, or entered by hand. It may be negative, where
// too much was invoiced before. Once it is invoiced or cancelled it stands
// fast.
var Accrual = &entity.Type{
	No: 703, Name: "accrual", Apps: app, Rank: 57, Root: "client",
	Fields: []*entity.Field{
		entity.To(1, "agent", "agent").Need().Fixed(),
		entity.To(2, "client", "client").Need().Fixed(),
		entity.To(3, "activity", "jobActivity").Fixed(),
		entity.Amount(4, "amount").Need(),
		entity.OneOf(5, "basis", "hour", "travel-hour", "activity", "other").Else("other").Need(),
		entity.Decimal(6, "quantity"),
		entity.At(7, "earned").ByDay(),
		entity.Str(8, "text"),
		entity.OneOf(9, "status", accrualStates...).Else(Open).System(),
		entity.To(10, "agentInvoice", "agentInvoice").System(),
	},
	Status: &entity.Lifecycle{Field: "status", Initial: Open, States: accrualStates},
	Actions: []*entity.Action{
		{Name: "cancel", App: entity.Agents, From: []string{Open}, To: Cancelled},
	},
	Check:   checkAccrual,
	Created: accrualCreated,
	Changed: accrualChanged,
}

// Invoice is what an agent is paid for a span of days, UTC, both included.
// When it is made it takes the agent's open accruals of those days, which are
// its lines: the accruals that name it, each with its own client. It has no
// total of its own, which would tell of clients that its reader may not know;
// that it has any line at all, which approving asks for, is told. A draft that
// is deleted gives its accruals back.
var Invoice = &entity.Type{
	No: 704, Name: "agentInvoice", Apps: app, Rank: 56,
	Fields: []*entity.Field{
		entity.To(1, "agent", "agent").Need().Fixed(),
		entity.Str(2, "number").UpTo(60).Searched(), // given when approved, if not before
		entity.On(3, "from").Need().Fixed(),
		entity.On(4, "to").Need().Fixed(),
		entity.Str(5, "reference"),
		entity.OneOf(6, "status", invoiceStates...).Else(Approved).System(),
		entity.At(7, "approvedAt").System(),
		entity.At(8, "paidAt").System(),
		entity.Long(9, "notes"),
	},
	Status: &entity.Lifecycle{Field: "status", Initial: Draft, States: invoiceStates},
	Actions: []*entity.Action{
		{Name: "approve", App: entity.Agents, From: []string{Draft}, To: Approved, Stamps: []string{"approvedAt"}, Do: approve},
		{Name: "pay", App: entity.Agents, From: []string{Approved}, To: Paid, Stamps: []string{"paidAt"}},
	},
	Check:   checkInvoice,
	Changed: invoiceChanged,
}

// Statement lists what accrued to an agent in a span of days, UTC, both
// included: open and invoiced, as it was when the statement was made. Its lines
// are records of their own, each with its client; they are made and deleted
// with it.
var Statement = &entity.Type{
	No: 705, Name: "agentStatement", Apps: app, Rank: 58,
	Fields: []*entity.Field{
		entity.To(1, "agent", "agent").Need().Fixed(),
		entity.On(2, "from").Need().Fixed(),
		entity.On(3, "to").Need().Fixed(),
	},
	Check:   func(_ entity.Context, _, after *entity.Record) error { return attach.InOrder(after, "from", "to") },
	Changed: statementChanged,
}

// StatementLine is one line of an agent's statement.
var StatementLine = &entity.Type{
	No: 706, Name: "agentStatementLine", Apps: app, Rank: 59, Root: "accrual", Parents: []string{"statement"},
	Fields: []*entity.Field{
		// Not required: what requires a record keeps it from being deleted.
		entity.To(1, "statement", "agentStatement").Fixed().System(),
		entity.To(2, "accrual", "accrual").Need().Fixed().System(),
		entity.On(3, "date").System(),
		entity.Str(4, "text").System(),
		entity.Amount(5, "amount").System(),
		entity.OneOf(6, "state", accrualStates...).Else(Open).System(),
	},
}

// Types lists the package's types.
func Types() []*entity.Type {
	return []*entity.Type{Agent, RateCard, AccountAssignment, Accrual, Invoice, Statement, StatementLine}
}
