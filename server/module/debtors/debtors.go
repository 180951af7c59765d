// Package debtors declares what clients owe and pay: payments and what they are
// allocated to, statements, and notes of those who collect. It is imported by
// server/module and by server/roles.
package debtors

import (
	"satchel/internal/entity"
	"satchel/server/module/attach"
)

var app = []entity.App{entity.Debtors}

// Statuses of a payment.
const (
	Open      = "Open"
	Allocated = "Allocated"
	Reversed  = "Reversed"
)

var paymentStates = []string{Open, Allocated, Reversed}

// Payment is money that came in from a client.
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
	},
	Status: &entity.Lifecycle{Field: "status", Initial: Open, States: paymentStates},
	Actions: []*entity.Action{
		{
			Name: "allocate", App: entity.Debtors, From: []string{Open},
			Args: []*entity.Field{entity.To(1, "invoice", "invoice").Need(), entity.Amount(2, "sum").Need()},
		},
		{
			Name: "reverse", App: entity.Debtors, From: []string{Open, Allocated}, To: Reversed, Stamps: []string{"reversedAt"},
			Args: []*entity.Field{entity.Str(10, "reverseReason")},
		},
	},
}

// Allocation is the part of a payment that settles one invoice. Deleting it
// takes that back.
var Allocation = &entity.Type{
	No: 601, Name: "allocation", Apps: app, Rank: 55, Root: "payment",
	Fields: []*entity.Field{
		entity.To(1, "payment", "payment").Need().Fixed(),
		entity.To(2, "invoice", "invoice").Need().Fixed(),
		entity.Amount(3, "amount").Need().Fixed(),
	},
}

// Statement is what stood between a client and the company in a span of days.
// It is worked out when it is made and stays as it was.
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
}

// Types lists the package's types.
func Types() []*entity.Type { return []*entity.Type{Payment, Allocation, Statement, CollectionNote} }
