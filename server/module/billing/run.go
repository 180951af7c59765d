package billing

import (
	"encoding/json"
	"fmt"

	"satchel/internal/entity"
	"satchel/internal/fault"
)

// Bounds of one billing run.
const (
	maxInvoices = 1000 // of all contracts
	maxPeriods  = 24   // of one contract
)

// Run drafts an invoice for each period of each active contract that begins by
// the day it is for. One run drafts at most 1,000 invoices, and at most 24 of
// one contract: what is left is done by the next run. It says nothing of how
// many: the invoices name it, and each person counts those they see.
var Run = &entity.Type{
	No: 503, Name: "billingRun", Apps: app, Rank: 42,
	Fields: []*entity.Field{
		entity.Str(1, "name").Need().Searched(),
		entity.On(2, "through").Need(),
		entity.OneOf(3, "status", runStates...).Else(Done).System(),
		entity.At(4, "ranAt").System(),
	},
	Status: &entity.Lifecycle{Field: "status", Initial: Draft, States: runStates},
	Actions: []*entity.Action{
		{Name: "run", App: entity.Billing, From: []string{Draft}, To: Done, Stamps: []string{"ranAt"}, Do: bill},
	},
	Check: func(_ entity.Context, before, after *entity.Record) error {
		if before == nil || before.StatusText() == Draft {
			return nil
		}
		return fast(before, after, "A billing run is for one day.", "through")
	},
	Changed: onlyDraftsEnd,
}

// months is how long an interval is; a contract that is billed once has none.
var months = map[string]int{"monthly": 1, "quarterly": 3, "yearly": 12}

// bill drafts what is due, contract by contract in the order in which they
// were made, and notes at each how far it is billed, so that nothing is billed
// twice. A contract whose end has passed, and of which every period is billed,
// expires.
func bill(c entity.Context, run *entity.Record, _ entity.Args) error {
	through, now := run.Get("through").Text(), today(c).Text()
	var due []*entity.Record
	c.Each("contract", "status", Active, func(r *entity.Record) bool {
		if billable(r, through) || over(r, now) {
			due = append(due, r.Clone())
		}
		return true
	})
	drafted := 0
	for _, r := range due {
		made, err := billOne(c, run, r, through, min(maxPeriods, maxInvoices-drafted))
		if err != nil {
			return err
		}
		drafted += made
		if over(r, now) {
			r.Set("status", entity.StringValue(Expired))
			r.Set("expiredAt", entity.TimeValue(c.Now()))
		}
		if err := c.Save(r); err != nil {
			return err
		}
	}
	return nil
}

// billOne drafts up to so many invoices of one contract.
func billOne(c entity.Context, run, r *entity.Record, through string, most int) (drafted int, err error) {
	billed := billedAgain(c, r)
	for drafted < most && billable(r, through) {
		p := next(r)
		if !billed[p.from.Text()] {
			if err := draft(c, run, r, p); err != nil {
				return drafted, err
			}
			drafted++
		}
		advance(r, p)
	}
	return drafted, nil
}

// billedAgain returns the first days of the periods of which there are
// invoices, of a contract that has gaps; one without is billed in order.
func billedAgain(c entity.Context, r *entity.Record) map[string]bool {
	if r.Get("billedUntil").IsNull() {
		return nil
	}
	days := map[string]bool{}
	c.Referring("invoice", "contract", r.ID, func(inv *entity.Record) bool {
		days[inv.Get("periodFrom").Text()] = true
		return true
	})
	return days
}

// unbill lets the period of a draft that was deleted be billed again. Invoices
// of other periods stay, so that those are not; a contract that had expired
// because all of it was billed runs again.
func unbill(c entity.Context, inv *entity.Record) error {
	from := inv.Get("periodFrom")
	r, ok := c.Load(inv.Get("contract").Ref())
	if !ok || from.IsNull() {
		return nil
	}
	r = r.Clone()
	if r.StatusText() == Expired && over(r, today(c).Text()) {
		r.Set("status", entity.StringValue(Active))
		r.Set("expiredAt", nil)
	}
	until := r.Get("nextBilling")
	if r.Get("billedUntil").IsNull() {
		r.Set("billedUntil", until)
	}
	if until.IsNull() || from.Text() < until.Text() {
		r.Set("nextBilling", from)
	}
	return c.Save(r)
}

// billable reports whether a contract has a period that begins by the date and
// is not billed.
func billable(r *entity.Record, through string) bool {
	next, ends := r.Get("nextBilling"), r.Get("ends")
	return !next.IsNull() && !r.Get("lines").IsNull() && next.Text() <= through && (ends.IsNull() || next.Text() <= ends.Text())
}

// over reports whether a contract's end has passed and all of it is billed.
func over(r *entity.Record, now string) bool {
	next, ends := r.Get("nextBilling"), r.Get("ends")
	return !ends.IsNull() && ends.Text() < now && (next.IsNull() || next.Text() > ends.Text())
}

// period is what one invoice of a contract is for, and when the next begins;
// to and next are null where there is no such day.
type period struct{ from, to, next entity.Value }

// next is the contract's next period. A last one that the contract's end cuts
// short is charged like any other; its invoice is a draft, to be looked at.
func next(r *entity.Record) period {
	p := period{from: r.Get("nextBilling"), to: r.Get("ends")}
	if step := months[r.Get("interval").Text()]; step > 0 {
		// Reckoned from the first day, so that what begins on the 31st is not
		// for ever after billed on the 28th.
		if at, ok := plusMonths(r.Get("starts"), monthsBetween(r.Get("starts"), p.from)+step); ok {
			p.next = at
		}
	}
	if !p.next.IsNull() {
		if last := dayBefore(p.next); p.to.IsNull() || last.Text() < p.to.Text() {
			p.to = last
		}
	}
	return p
}

// advance moves a contract on to the period after.
func advance(r *entity.Record, p period) {
	r.Set("nextBilling", p.next)
	if until := r.Get("billedUntil"); !until.IsNull() && (p.next.IsNull() || p.next.Text() >= until.Text()) {
		r.Set("billedUntil", nil)
	}
}

// draft makes the invoice of a period.
func draft(c entity.Context, run, r *entity.Record, p period) error {
	rows, err := charged(r.Get("lines"), p.from, p.to)
	if err != nil {
		return err
	}
	_, err = c.Create("invoice", map[string]entity.Value{
		"client": r.Get("client"), "contract": entity.RefValue(r.ID), "billingRun": entity.RefValue(run.ID),
		"owner": r.Get("owner"), "lines": rows, "periodFrom": p.from, "periodTo": p.to,
	})
	return err
}

// charged is a contract's lines with the period they are for in their texts.
func charged(rows entity.Value, from, to entity.Value) (entity.Value, error) {
	period := " (" + from.Text()
	if !to.IsNull() {
		period += " – " + to.Text()
	}
	period += ")"
	var list []map[string]json.RawMessage
	if err := json.Unmarshal(rows, &list); err != nil {
		return nil, fault.New(fault.InternalError).Because(fmt.Errorf("billing: lines of a contract: %w", err))
	}
	for _, row := range list {
		text := []rune(entity.Value(row["text"]).Text())
		room := maxText - len([]rune(period))
		if len(text) > room {
			text = append(text[:room-1], '…')
		}
		row["text"] = json.RawMessage(entity.StringValue(string(text) + period))
	}
	raw, err := json.Marshal(list)
	if err != nil {
		return nil, fault.New(fault.InternalError).Because(err)
	}
	return Invoice.Field("lines").Recall(raw)
}

// maxText is how many characters the text of a line has at most.
const maxText = 200
