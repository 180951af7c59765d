package debtors

import (
	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/server/module/attach"
	"satchel/server/module/billing"
	"satchel/server/module/lines"
)

// checkPayment keeps what is allocated and open in step with the amount.
func checkPayment(_ entity.Context, before, after *entity.Record) error {
	amount, currency := lines.Amount(after.Get("amount"))
	if amount <= 0 {
		return fault.Newf(fault.BadValue, "A payment must be more than nothing.").OnField("amount")
	}
	if before != nil && before.StatusText() == Reversed {
		for _, f := range []string{"received", "method", "reference"} {
			if string(before.Get(f)) != string(after.Get(f)) {
				return fault.Newf(fault.WrongStatus, "A payment that was reversed can't be changed.").OnField(f)
			}
		}
	}
	if before == nil && after.Get("allocated").IsNull() {
		// One that was used up before the books began here is allocated to
		// nothing in them.
		used := int64(0)
		if after.StatusText() == Allocated {
			used = amount
		}
		after.Set("allocated", lines.Money(used, currency))
	}
	if before == nil && after.Get("refunded").IsNull() {
		used := int64(0)
		if after.StatusText() == Refunded {
			used = amount
		}
		after.Set("refunded", lines.Money(used, currency))
	}
	used, _ := lines.Amount(after.Get("allocated"))
	back, _ := lines.Amount(after.Get("refunded"))
	left := amount - used - back
	if after.StatusText() == Reversed {
		left = 0
	}
	after.Set("open", lines.Money(left, currency))
	return nil
}

// allocate settles an invoice with a part of the payment. The allocation moves
// the payment's sums itself; r, which is the payment as it was before, stays
// untouched, so that nothing is put back.
func allocate(c entity.Context, r *entity.Record, args entity.Args) error {
	_, err := c.Create("allocation", map[string]entity.Value{
		"payment": entity.RefValue(r.ID), "invoice": args["invoice"], "amount": args["sum"],
	})
	if f := fault.Of(err); f != nil && f.Field == "amount" {
		f.Field = "sum" // as the action calls it
	}
	return err
}

// paymentChanged takes back the allocations of a payment that was reversed.
func paymentChanged(c entity.Context, before, after *entity.Record) error {
	if before == nil || after == nil || after.StatusText() != Reversed || before.StatusText() == Reversed {
		return nil
	}
	var all []*entity.Record
	c.Referring("allocation", "payment", after.ID, func(a *entity.Record) bool {
		all = append(all, a)
		return true
	})
	for _, a := range all {
		if err := attach.Discard(c, a); err != nil {
			return err
		}
		if err := c.Delete(a); err != nil {
			return err
		}
	}
	return nil
}

// checkAllocation holds an allocation to what is open on both sides: a payment
// that is not reversed and an invoice that waits for one, of the same client
// and in the same currency. It is never changed.
func checkAllocation(c entity.Context, before, after *entity.Record) error {
	if before != nil {
		for _, f := range []string{"payment", "invoice", "amount"} {
			if string(before.Get(f)) != string(after.Get(f)) {
				return fault.New(fault.ImmutableField).OnField(f)
			}
		}
		return nil
	}
	p, ok := c.Load(after.Get("payment").Ref())
	if !ok {
		return fault.New(fault.BadReference).OnField("payment")
	}
	inv, ok := c.Load(after.Get("invoice").Ref())
	if !ok || inv.Get("client").Ref() != p.Get("client").Ref() {
		return fault.New(fault.BadReference).OnField("invoice")
	}
	if p.StatusText() == Reversed {
		return fault.Newf(fault.WrongStatus, "A payment that was reversed settles nothing.").OnField("payment")
	}
	if !billing.Awaits(inv.StatusText()) {
		return fault.Newf(fault.WrongStatus, "Payments are allocated to invoices that are approved and not paid.").OnField("invoice")
	}
	sum, currency := lines.Amount(after.Get("amount"))
	if sum <= 0 {
		return fault.Newf(fault.BadValue, "An allocation must be more than nothing.").OnField("amount")
	}
	for _, side := range []struct {
		of    *entity.Record
		words string
	}{{p, "That is more than is left of the payment."}, {inv, "That is more than is left to pay of the invoice."}} {
		left, of := lines.Amount(side.of.Get("open"))
		if of != currency {
			return fault.Newf(fault.BadValue, "The payment, the invoice and the allocation must be in one currency.").OnField("amount")
		}
		if sum > left {
			return fault.Newf(fault.BadValue, "%s", side.words).OnField("amount")
		}
	}
	return nil
}

// allocationChanged moves the sums of both sides when an allocation is made,
// taken back, or returned in part.
func allocationChanged(c entity.Context, before, after *entity.Record) error {
	a := after
	if a == nil {
		a = before
	}
	sum := standing(after) - standing(before)
	if err := use(c, a.Get("payment").Ref(), sum); err != nil {
		return err
	}
	return billing.Settle(c, a.Get("invoice").Ref(), sum)
}

// standing is what an allocation settles; nil settles nothing.
func standing(a *entity.Record) int64 {
	if a == nil {
		return 0
	}
	sum, _ := lines.Amount(a.Get("amount"))
	back, _ := lines.Amount(a.Get("returned"))
	return sum - back
}

// use adds to what is allocated of a payment; an amount below zero takes back.
func use(c entity.Context, payment ident.RecordID, amount int64) error {
	r, ok := c.Load(payment)
	if !ok || amount == 0 {
		return nil
	}
	r = r.Clone()
	used, currency := lines.Amount(r.Get("allocated"))
	if currency == "" {
		_, currency = lines.Amount(r.Get("amount"))
	}
	r.Set("allocated", lines.Money(used+amount, currency))
	return keep(c, r)
}

// keep saves a payment whose sums moved, with the status that they give it.
func keep(c entity.Context, r *entity.Record) error {
	if r.StatusText() != Reversed {
		r.Set("status", entity.StringValue(statusOf(r)))
	}
	return c.Save(r)
}

func statusOf(r *entity.Record) string {
	all, _ := lines.Amount(r.Get("amount"))
	used, _ := lines.Amount(r.Get("allocated"))
	back, _ := lines.Amount(r.Get("refunded"))
	switch {
	case used+back < all:
		return Open
	case used == 0:
		return Refunded
	}
	return Allocated
}
