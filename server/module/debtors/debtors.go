// Package debtors declares what clients owe and pay: payments and what they are
// allocated to, statements, and notes of those who collect. It is imported by
// server/module and by server/roles.
//
// The sums balance after every change: a payment's allocated is the sum of its
// allocations, less what of them was returned, refunded is the sum of its
// refunds, and open is what is left of its amount; an invoice's settled grows
// and shrinks with its allocations, by billing.Settle.
package debtors

import (
	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/server/module/attach"
	"satchel/server/module/lines"
)

var app = []entity.App{entity.Debtors}

// Statuses of a payment.
const (
	Open      = "Open"
	Allocated = "Allocated"
	Refunded  = "Refunded"
	Reversed  = "Reversed"
)

var paymentStates = []string{Open, Allocated, Refunded, Reversed}

// Payment is money that came in from a client. It is Allocated when nothing
// of it is open, and Refunded when all of it was paid back. Reversed, because
// the bank took it back or it was never the client's, it settles nothing and
// never will. What was paid back stays so: a refund that comes back is a
// payment of its own.
var Payment = &entity.Type{
	No: 600, Name: "payment", Apps: app, Rank: 54, Root: "client", NoDelete: true,
	Fields: []*entity.Field{
		entity.To(1, "client", "client").Need().Fixed(),
		entity.On(2, "received").Need(),
		entity.Amount(3, "amount").Need().Fixed(),
		entity.OneOf(4, "method", "transfer", "direct-debit", "card", "cash", "cheque", "other").Else("other"),
		entity.Str(5, "reference").Searched(),
		entity.Amount(6, "allocated").System(),
		entity.Amount(7, "open").System(),
		entity.OneOf(8, "status", paymentStates...).Else(Open).System(),
		entity.At(9, "reversedAt").System(),
		entity.Str(10, "reverseReason").System(),
		entity.Long(11, "notes"),
		entity.Amount(12, "refunded").System(),
		entity.List(13, "refunds",
			entity.On(1, "date").Need(),
			entity.Amount(2, "amount").Need(),
			entity.To(3, "invoice", "invoice"), // whose credit it was
		).UpTo(maxRefunds).System(),
	},
	Status: &entity.Lifecycle{Field: "status", Initial: Open, States: paymentStates},
	Actions: []*entity.Action{
		{
			Name: "allocate", App: entity.Debtors, From: []string{Open}, Do: allocate,
			Args: []*entity.Field{entity.To(1, "invoice", "invoice").Need(), entity.Amount(2, "sum").Need()},
		},
		{
			// Pays a client's credit back: what is open of the payment or, of an
			// invoice that is overpaid, what of the payment is allocated to that.
			Name: "refund", App: entity.Debtors, From: []string{Open, Allocated}, Do: refund,
			Args: []*entity.Field{entity.Amount(1, "sum").Need(), entity.To(2, "invoice", "invoice")},
		},
		{
			Name: "reverse", App: entity.Debtors, From: []string{Open, Allocated, Refunded}, To: Reversed, Stamps: []string{"reversedAt"},
			Args: []*entity.Field{entity.Str(10, "reverseReason")},
		},
	},
	Check:   checkPayment,
	Changed: paymentChanged,
}

// Allocation is the part of a payment that settles one invoice. Deleting it
// takes that back, but for what was returned of it already, by a refund.
var Allocation = &entity.Type{
	No: 601, Name: "allocation", Apps: app, Rank: 55, Root: "payment",
	Fields: []*entity.Field{
		entity.To(1, "payment", "payment").Need().Fixed(),
		entity.To(2, "invoice", "invoice").Need().Fixed(),
		entity.Amount(3, "amount").Need().Fixed(),
		entity.Amount(4, "returned").System(),
	},
	Check:   checkAllocation,
	Changed: allocationChanged,
}

// Statement is what stood between a client and the company in a span of days,
// both among them, in one currency. It is worked out when it is made and stays
// as it was. opening is what the client owed before, closing what the client
// owed after; less than nothing is the client's. A debit is owed to the
// company, a credit to the client.
var Statement = &entity.Type{
	No: 602, Name: "statement", Apps: app, Rank: 56, Root: "client",
	Fields: []*entity.Field{
		entity.To(1, "client", "client").Need().Fixed(),
		entity.On(2, "from").Need().Fixed(),
		entity.On(3, "to").Need().Fixed(),
		entity.Str(4, "currency").Need().Fixed().UpTo(3),
		entity.Amount(5, "opening").System(),
		entity.Amount(6, "closing").System(),
		entity.List(7, "lines",
			entity.On(1, "date").Need(),
			entity.Str(2, "text").Need(),
			entity.To(3, "document", "invoice", "payment", "creditNote"),
			entity.Amount(4, "debit"),
			entity.Amount(5, "credit"),
		).System(),
	},
	Created: state,
}

// CollectionNote is what was said about a debt.
var CollectionNote = &entity.Type{
	No: 603, Name: "collectionNote", Apps: app, Rank: 56, Root: "client",
	Fields: []*entity.Field{
		entity.To(1, "client", "client").Need().Fixed(),
		entity.To(2, "invoice", "invoice").Fixed(),
		entity.Long(3, "text").Need(),
		entity.To(4, "author", "employee").System(),
		entity.On(5, "nextContact"),
		entity.On(6, "promisedOn"),
		entity.Amount(7, "promised"),
	},
	Created: func(c entity.Context, r *entity.Record) error {
		attach.Author(c, r, "author")
		return nil
	},
	Check: checkNote,
}

// checkNote holds a note to an invoice of the same client, and a promise to
// something.
func checkNote(c entity.Context, before, after *entity.Record) error {
	if before == nil && !after.Get("invoice").IsNull() {
		if inv, ok := c.Load(after.Get("invoice").Ref()); !ok || inv.Get("client").Ref() != after.Get("client").Ref() {
			return fault.New(fault.BadReference).OnField("invoice")
		}
	}
	if sum, _ := lines.Amount(after.Get("promised")); !after.Get("promised").IsNull() && sum <= 0 {
		return fault.Newf(fault.BadValue, "What is promised must be more than nothing.").OnField("promised")
	}
	return nil
}

// Types lists the package's types.
func Types() []*entity.Type { return []*entity.Type{Payment, Allocation, Statement, CollectionNote} }
