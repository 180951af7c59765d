// Package billing declares contracts, billing runs, credit notes and the
// invoice, which Billing, Service and Debtors share. It is imported by
// server/module, by server/roles and by package debtors, whose allocations
// settle invoices.
//
// Money goes like this: an invoice that was approved is open with its total;
// allocations of payments and approved credit notes settle it, by Settle
// alone; covered, it is Paid, and it is as it was before once that is taken
// back. What was approved is never changed: what a client gets back is a
// credit note.
package billing

import (
	"slices"

	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/server/module/attach"
	"satchel/server/module/lines"
)

// Statuses of an invoice.
const (
	Draft    = "Draft"
	Approved = "Approved"
	Sent     = "Sent"
	Paid     = "Paid"
	Void     = "Void"
)

// Prefixes of the documents' numbers.
const (
	invoices    = "INV"
	contracts   = "CON"
	creditNotes = "CN"
)

var states = []string{Draft, Approved, Sent, Paid, Void}

// Issued lists the statuses in which an invoice's content stands fast.
func Issued() []string { return Invoice.Status.Past(Draft) }

// Counts reports whether an invoice in the status is a debt, paid or not.
func Counts(status string) bool { return slices.Contains([]string{Approved, Sent, Paid}, status) }

// Awaits reports whether an invoice in the status takes allocations.
func Awaits(status string) bool { return status == Approved || status == Sent }

// Invoice is drafted by Service or Billing, approved and sent by Billing,
// settled or voided by Debtors. It is never deleted.
var Invoice = &entity.Type{
	No: 500, Name: "invoice", Apps: []entity.App{entity.Billing, entity.Service, entity.Debtors},
	Rank: 51, Root: "client",
	Fields: []*entity.Field{
		entity.To(1, "client", "client").Need().Fixed(),
		entity.Str(2, "number").UpTo(60).Only().Searched(), // given when approved, if not before
		entity.To(3, "job", "job"),
		entity.On(4, "issued"), // the day of the approval, if not said
		entity.On(5, "due"),    // by the client's payment term, if not said
		priced(6),
		entity.Long(7, "remarks"),
		entity.OneOf(8, "status", states...).Else(Approved).System(),
		// The sums of the lines; they stand fast with them.
		entity.Amount(9, "net").System(),
		entity.Amount(10, "tax").System(),
		entity.Amount(11, "total").System(),
		entity.At(12, "approvedAt").System(),
		entity.At(13, "sentAt").System(),
		entity.At(14, "paidAt").System(),
		entity.At(15, "voidedAt").System(),
		entity.Str(16, "voidReason").System(),
		entity.To(17, "contract", "contract").Fixed(),
		entity.To(18, "billingRun", "billingRun").Fixed().In(entity.FacetBilling),
		entity.To(19, "owner", "employee"),
		entity.Long(20, "approvalNotes").In(entity.FacetBilling),
		// What allocations and credit notes have covered, and what is left of a
		// debt: the total less what is settled; less than nothing where a
		// credit note gave back what was paid. A draft or void invoice is no
		// debt, nothing of it is open.
		entity.Amount(21, "settled").System(),
		entity.Amount(22, "open").System(),
		// Of the contract, the days that it is for; none where that has no end.
		entity.On(23, "periodFrom").In(entity.FacetBilling).System(),
		entity.On(24, "periodTo").In(entity.FacetBilling).System(),
		entity.Long(30, "collectionNotes").In(entity.FacetDebtors),
	},
	Status: &entity.Lifecycle{Field: "status", Initial: Draft, States: states},
	Actions: []*entity.Action{
		{Name: "approve", App: entity.Billing, From: []string{Draft}, To: Approved, Stamps: []string{"approvedAt"}, Do: approve},
		{Name: "send", App: entity.Billing, From: []string{Approved}, To: Sent, Stamps: []string{"sentAt"}},
		{
			Name: "void", App: entity.Debtors, From: []string{Draft, Approved, Sent}, To: Void, Stamps: []string{"voidedAt"},
			Args: []*entity.Field{entity.Str(16, "voidReason")}, Do: void,
		},
	},
	Check:   check,
	Changed: invoiceChanged,
}

// invoiceChanged lets only drafts be deleted, and the period of one that a
// billing run made be billed again.
func invoiceChanged(c entity.Context, before, after *entity.Record) error {
	if err := onlyDraftsEnd(c, before, after); err != nil || after != nil {
		return err
	}
	return unbill(c, before)
}

// check keeps what was approved as it was, and the sums in step.
func check(c entity.Context, before, after *entity.Record) error {
	if before != nil && before.StatusText() != Draft {
		if err := fast(before, after, "An invoice that was approved can't be changed.", "number", "job", "issued", "due", "lines"); err != nil {
			return err
		}
	} else {
		if err := attach.InOrder(after, "issued", "due"); err != nil {
			return err
		}
		if err := lines.Typed(c, before, after, invoices); err != nil {
			return err
		}
		sum(before, after)
	}
	return open(after)
}

// sum works out the sums of a draft; of lines that can't be added up, as long
// as they are in two currencies, there are none. Of a document that begins its
// life here with a later status, having been imported, the sums that it came
// with stand.
func sum(before, after *entity.Record) {
	if before == nil && after.StatusText() != Draft && !after.Get("total").IsNull() {
		return
	}
	if lines.Sum(after) != nil {
		lines.Put(after, 0, 0, "")
	}
}

// fast refuses a change of any of the fields with wrong_status.
func fast(before, after *entity.Record, words string, fields ...string) error {
	for _, f := range fields {
		if string(before.Get(f)) != string(after.Get(f)) {
			return fault.Newf(fault.WrongStatus, "%s", words).OnField(f)
		}
	}
	return nil
}

// open works out what is left to pay.
func open(r *entity.Record) error {
	if !Counts(r.StatusText()) {
		r.Set("open", nil)
		return nil
	}
	total, currency := lines.Amount(r.Get("total"))
	settled, _ := lines.Amount(r.Get("settled"))
	if r.Get("settled").IsNull() {
		// One that was paid before the books began here is settled by nothing
		// in them.
		if r.StatusText() == Paid {
			settled = total
		}
		r.Set("settled", lines.Money(settled, currency))
	}
	left := total - settled
	if max(left, -left) > lines.Largest {
		return fault.Newf(fault.BadValue, "The sums of the invoice are too large.").OnField("settled")
	}
	r.Set("open", lines.Money(left, currency))
	return nil
}

// approve turns a draft into a debt: for more than nothing, with a number, a
// day of issue and, where the client has a payment term, a day when it is due.
func approve(c entity.Context, r *entity.Record, _ entity.Args) error {
	if err := charge(r, "An invoice"); err != nil {
		return err
	}
	lines.Number(c, r, invoices)
	if r.Get("issued").IsNull() {
		r.Set("issued", today(c))
	}
	client, ok := c.Load(r.Get("client").Ref())
	if !ok || !r.Get("due").IsNull() || client.Get("paymentTermDays").IsNull() {
		return nil
	}
	due, ok := plusDays(r.Get("issued"), client.Get("paymentTermDays").Int())
	if !ok {
		return fault.Newf(fault.BadValue, "By the client's payment term the invoice is due too far away.").OnField("due")
	}
	r.Set("due", due)
	return nil
}

// charge sums a document up that is about to count; it must be for something.
func charge(r *entity.Record, what string) error {
	if r.Get("lines").IsNull() {
		return fault.Newf(fault.MissingField, "%s needs lines.", what).OnField("lines")
	}
	net, tax, currency, err := lines.Totals(r.Get("lines"))
	if err != nil {
		return err
	}
	if net+tax <= 0 {
		return fault.Newf(fault.BadValue, "%s must be for more than nothing.", what).OnField("lines")
	}
	lines.Put(r, net, tax, currency)
	return nil
}

// void ends an invoice of which nothing is settled.
func void(_ entity.Context, r *entity.Record, _ entity.Args) error {
	if settled, _ := lines.Amount(r.Get("settled")); settled != 0 {
		return fault.Newf(fault.WrongStatus, "Something of the invoice is settled. Take the allocations back first.")
	}
	return nil
}

// Settle adds to what is settled of an invoice, in minor units of its
// currency; an amount below zero takes back. The invoice is Paid when that
// leaves nothing open, and Sent or Approved again when something is.
func Settle(c entity.Context, invoice ident.RecordID, amount int64) error {
	r, ok := c.Load(invoice)
	if !ok || amount == 0 {
		return nil
	}
	if !Counts(r.StatusText()) {
		return fault.New(fault.WrongStatus)
	}
	r = r.Clone()
	settled, _ := lines.Amount(r.Get("settled"))
	total, currency := lines.Amount(r.Get("total"))
	settled += amount
	r.Set("settled", lines.Money(settled, currency))
	switch paid := settled >= total; {
	case paid && r.StatusText() != Paid:
		r.Set("status", entity.StringValue(Paid))
		r.Set("paidAt", entity.TimeValue(c.At()))
	case !paid && r.StatusText() == Paid:
		back := Approved
		if !r.Get("sentAt").IsNull() {
			back = Sent
		}
		r.Set("status", entity.StringValue(back))
		r.Set("paidAt", nil)
	}
	return c.Save(r)
}

// Types lists the package's types.
func Types() []*entity.Type { return []*entity.Type{Invoice, Contract, CreditNote, Run} }
