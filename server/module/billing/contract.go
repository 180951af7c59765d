package billing

import (
	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/server/module/attach"
	"satchel/server/module/lines"
)

var app = []entity.App{entity.Billing}

// Statuses of contracts, credit notes and billing runs, beside Draft and
// Approved.
const (
	Active  = "Active"
	Expired = "Expired"
	Done    = "Done"
)

var (
	contractStates = []string{Draft, Active, Expired}
	creditStates   = []string{Draft, Approved}
	runStates      = []string{Draft, Done}
)

// priced is a list of what is charged.
func priced(no uint8) *entity.Field {
	return entity.List(no, "lines",
		entity.Str(1, "text").Need(),
		entity.To(2, "product", "product"),
		entity.Decimal(3, "quantity").Need(),
		entity.Amount(4, "unitPrice").Need(),
		entity.Decimal(5, "taxPercent"),
	)
}

// Contract is what a client pays for again and again; billing runs draft the
// invoices of the active ones. Activated, it is billed from the day it starts,
// in advance, a whole interval at a time.
var Contract = &entity.Type{
	No: 501, Name: "contract", Apps: app, Rank: 43, Root: "client",
	Fields: []*entity.Field{
		entity.To(1, "client", "client").Need().Fixed(),
		entity.Str(2, "number").UpTo(60).Only().Searched(), // given when activated, if not before
		entity.Str(3, "title").Need().Searched(),
		entity.OneOf(4, "kind", "service", "maintenance", "rental", "subscription", "other").Else("other").Need(),
		entity.On(5, "starts").Need(),
		entity.On(6, "ends"),
		entity.OneOf(7, "interval", "monthly", "quarterly", "yearly", "once").Else("monthly").Need(),
		priced(8),
		entity.Amount(9, "net").System(),
		entity.Amount(10, "tax").System(),
		entity.Amount(11, "total").System(),
		entity.OneOf(12, "status", contractStates...).Else(Active).System(),
		entity.At(13, "activatedAt").System(),
		entity.At(14, "expiredAt").System(),
		entity.To(15, "owner", "employee"),
		// The first day that no invoice covers yet; none where nothing is left
		// to bill.
		entity.On(16, "nextBilling").System(),
		entity.Long(17, "notes"),
		// While an earlier period is to be billed again, because its draft was
		// deleted: the first day that was never billed.
		entity.On(18, "billedUntil").System(),
	},
	Status: &entity.Lifecycle{Field: "status", Initial: Draft, States: contractStates},
	Actions: []*entity.Action{
		{Name: "activate", App: entity.Billing, From: []string{Draft}, To: Active, Stamps: []string{"activatedAt"}, Do: activate},
		{Name: "expire", App: entity.Billing, From: []string{Active}, To: Expired, Stamps: []string{"expiredAt"}},
	},
	Check:   checkContract,
	Changed: onlyDraftsEnd,
}

// checkContract keeps what is charged as it was agreed on; a contract that
// runs may be ended earlier or later.
func checkContract(c entity.Context, before, after *entity.Record) error {
	if err := attach.InOrder(after, "starts", "ends"); err != nil {
		return err
	}
	if before == nil || before.StatusText() == Draft {
		sum(before, after)
		return lines.Typed(c, before, after, contracts)
	}
	fields := []string{"number", "starts", "interval", "lines"}
	if before.StatusText() == Expired {
		fields = append(fields, "ends")
	}
	return fast(before, after, "This can't be changed once the contract is active.", fields...)
}

// activate lets billing runs bill a contract from the day it starts.
func activate(c entity.Context, r *entity.Record, _ entity.Args) error {
	if err := charge(r, "A contract"); err != nil {
		return err
	}
	lines.Number(c, r, contracts)
	r.Set("nextBilling", r.Get("starts"))
	return nil
}

// onlyDraftsEnd refuses to delete what others rely on by now.
func onlyDraftsEnd(_ entity.Context, before, after *entity.Record) error {
	if after == nil && before.StatusText() != Draft {
		return fault.Newf(fault.WrongStatus, "Only drafts can be deleted.")
	}
	return nil
}

// CreditNote takes back a part of an invoice that was approved, or all of it.
var CreditNote = &entity.Type{
	No: 502, Name: "creditNote", Apps: []entity.App{entity.Billing, entity.Debtors}, Rank: 53, Root: "client",
	Fields: []*entity.Field{
		entity.To(1, "client", "client").Need().Fixed(),
		entity.Str(2, "number").UpTo(60).Only().Searched(), // given when approved, if not before
		entity.To(3, "invoice", "invoice").Need().Fixed(),
		entity.Str(4, "reason"),
		priced(5),
		entity.Amount(6, "net").System(),
		entity.Amount(7, "tax").System(),
		entity.Amount(8, "total").System(),
		entity.OneOf(9, "status", creditStates...).Else(Approved).System(),
		entity.At(10, "approvedAt").System(),
		entity.On(11, "issued"),
	},
	Status: &entity.Lifecycle{Field: "status", Initial: Draft, States: creditStates},
	Actions: []*entity.Action{
		{Name: "approve", App: entity.Billing, From: []string{Draft}, To: Approved, Stamps: []string{"approvedAt"}, Do: approveCredit},
	},
	Check:   checkCredit,
	Changed: creditChanged,
}

// checkCredit holds a credit note to one invoice of the same client, and keeps
// what was approved as it was.
func checkCredit(c entity.Context, before, after *entity.Record) error {
	if before == nil {
		inv, ok := c.Load(after.Get("invoice").Ref())
		if !ok || inv.Get("client").Ref() != after.Get("client").Ref() {
			return fault.New(fault.BadReference).OnField("invoice")
		}
		if !Counts(inv.StatusText()) {
			return fault.Newf(fault.WrongStatus, "A credit note takes back from an invoice that was approved and not voided.").OnField("invoice")
		}
	}
	if before != nil && before.StatusText() != Draft {
		return fast(before, after, "A credit note that was approved can't be changed.", "number", "invoice", "reason", "issued", "lines")
	}
	sum(before, after)
	return lines.Typed(c, before, after, creditNotes)
}

// approveCredit lets a credit note count: for more than nothing, in the
// invoice's currency, and together with the earlier ones for no more than the
// invoice's total. It is given a number and a day of issue.
func approveCredit(c entity.Context, r *entity.Record, _ entity.Args) error {
	if err := charge(r, "A credit note"); err != nil {
		return err
	}
	inv, ok := c.Load(r.Get("invoice").Ref())
	if !ok {
		return fault.New(fault.BadReference).OnField("invoice")
	}
	if !Counts(inv.StatusText()) {
		return fault.Newf(fault.WrongStatus, "The invoice was voided.").OnField("invoice")
	}
	left, currency := lines.Amount(inv.Get("total"))
	c.Referring("creditNote", "invoice", inv.ID, func(o *entity.Record) bool {
		if o.ID != r.ID && o.StatusText() == Approved {
			sum, _ := lines.Amount(o.Get("total"))
			left -= sum
		}
		return true
	})
	sum, same := lines.Amount(r.Get("total"))
	if same != currency {
		return fault.Newf(fault.BadValue, "A credit note must be in the invoice's currency.").OnField("lines")
	}
	if sum > left {
		return fault.Newf(fault.BadValue, "Credit notes can't take back more than the invoice's total.").OnField("lines")
	}
	lines.Number(c, r, creditNotes)
	if r.Get("issued").IsNull() {
		r.Set("issued", today(c))
	}
	return nil
}

// creditChanged settles the invoice with a credit note that was approved.
func creditChanged(c entity.Context, before, after *entity.Record) error {
	if err := onlyDraftsEnd(c, before, after); err != nil {
		return err
	}
	if after == nil || after.StatusText() != Approved || before != nil && before.StatusText() == Approved {
		return nil
	}
	sum, _ := lines.Amount(after.Get("total"))
	return Settle(c, after.Get("invoice").Ref(), sum)
}
