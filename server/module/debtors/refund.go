package debtors

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/server/module/lines"
)

// maxRefunds is how often something of one payment can be paid back.
const maxRefunds = 100

// refund pays a client's credit back. Without an invoice it is what is open of
// the payment. With one it is what that is overpaid by, because a credit note
// came after the money: so much of the payment's allocations to it is returned
// first, and the invoice stays paid. Like allocate it leaves r, the payment as
// it was before, untouched.
func refund(c entity.Context, r *entity.Record, args entity.Args) error {
	sum, currency := lines.Amount(args["sum"])
	if sum <= 0 {
		return fault.Newf(fault.BadValue, "A refund must be more than nothing.").OnField("sum")
	}
	if _, of := lines.Amount(r.Get("amount")); of != currency {
		return fault.Newf(fault.BadValue, "A refund must be in the payment's currency.").OnField("sum")
	}
	if args.Has("invoice") {
		if err := giveBack(c, r, args["invoice"].Ref(), sum); err != nil {
			return err
		}
	}
	p, ok := c.Load(r.ID)
	if !ok {
		return fault.New(fault.NotFoundCode)
	}
	if left, _ := lines.Amount(p.Get("open")); sum > left {
		return fault.Newf(fault.BadValue, "That is more than is left of the payment.").OnField("sum")
	}
	p = p.Clone()
	back, _ := lines.Amount(p.Get("refunded"))
	p.Set("refunded", lines.Money(back+sum, currency))
	if err := note(c, p, args); err != nil {
		return err
	}
	return keep(c, p)
}

// giveBack returns of the payment's allocations to an overpaid invoice what is
// to be paid back of it.
func giveBack(c entity.Context, payment *entity.Record, invoice ident.RecordID, sum int64) error {
	inv, ok := c.Load(invoice)
	if !ok || inv.Get("client").Ref() != payment.Get("client").Ref() {
		return fault.New(fault.BadReference).OnField("invoice")
	}
	if open, _ := lines.Amount(inv.Get("open")); sum > -open {
		return fault.Newf(fault.BadValue, "That is more than the invoice is overpaid by.").OnField("sum")
	}
	var from []*entity.Record
	c.Referring("allocation", "payment", payment.ID, func(a *entity.Record) bool {
		if a.Get("invoice").Ref() == invoice && standing(a) > 0 {
			from = append(from, a)
		}
		return true
	})
	_, currency := lines.Amount(payment.Get("amount"))
	for _, a := range from {
		part := min(sum, standing(a))
		if part == 0 {
			break
		}
		a = a.Clone()
		back, _ := lines.Amount(a.Get("returned"))
		a.Set("returned", lines.Money(back+part, currency))
		if err := c.Save(a); err != nil {
			return err
		}
		sum -= part
	}
	if sum > 0 {
		return fault.Newf(fault.BadValue, "That is more than is allocated of the payment to the invoice.").OnField("sum")
	}
	return nil
}

// paidBack is one refund as a payment notes it.
type paidBack struct {
	ID      string          `json:"id"`
	Date    string          `json:"date"`
	Amount  json.RawMessage `json:"amount"`
	Invoice string          `json:"invoice,omitempty"`
}

// refundsOf lists what was paid back of a payment, in order.
func refundsOf(r *entity.Record) ([]paidBack, error) {
	var list []paidBack
	if v := r.Get("refunds"); !v.IsNull() {
		if err := json.Unmarshal(v, &list); err != nil {
			return nil, fault.New(fault.InternalError).Because(fmt.Errorf("debtors: refunds of a payment: %w", err))
		}
	}
	return list, nil
}

// note adds a refund to those of a payment.
func note(c entity.Context, p *entity.Record, args entity.Args) error {
	list, err := refundsOf(p)
	if err != nil {
		return err
	}
	if len(list) >= maxRefunds {
		return fault.Newf(fault.BadValue, "Of one payment something is paid back at most %d times.", maxRefunds).OnField("sum")
	}
	list = append(list, paidBack{
		ID: strconv.Itoa(len(list) + 1), Date: c.At().Time().Format(time.DateOnly),
		Amount: json.RawMessage(args["sum"]), Invoice: string(args["invoice"].Ref()),
	})
	raw, err := json.Marshal(list)
	if err != nil {
		return fault.New(fault.InternalError).Because(err)
	}
	rows, err := p.Type.Field("refunds").Recall(raw)
	if err != nil {
		return err
	}
	p.Set("refunds", rows)
	return nil
}
