package agents

import (
	"fmt"
	"math/big"
	"slices"
	"strings"

	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/server/module/attach"
	"satchel/server/module/lines"
)

// checkCard refuses a span that ends before it begins, two rates for one basis
// and rates below zero.
func checkCard(_ entity.Context, _, after *entity.Record) error {
	rates, err := ratesOf(after)
	if err != nil {
		return err
	}
	for _, r := range ofRates {
		if amount, _ := lines.Amount(rates[r.basis]); amount < 0 {
			return fault.Newf(fault.BadValue, "A rate can't be negative.").OnField("rates.amount")
		}
	}
	return attach.InOrder(after, "validFrom", "validUntil")
}

// checkAssignment refuses a span that ends before it begins, one that shares a
// day with another of the same agent and client, and a share that is no
// percentage.
func checkAssignment(c entity.Context, _, after *entity.Record) error {
	if err := attach.InOrder(after, "from", "to"); err != nil {
		return err
	}
	if v := after.Get("share"); !v.IsNull() {
		percent, ok := new(big.Rat).SetString(string(v))
		if !ok || percent.Sign() < 0 || percent.Cmp(big.NewRat(100, 1)) > 0 {
			return fault.Newf(fault.BadValue, "share must be a percentage from 0 to 100.").OnField("share")
		}
	}
	var clash bool
	c.Referring("accountAssignment", "agent", after.Get("agent").Ref(), func(o *entity.Record) bool {
		clash = o.ID != after.ID && o.Get("client").Ref() == after.Get("client").Ref() &&
			begins(o, after) && begins(after, o)
		return !clash
	})
	if clash {
		return fault.Newf(fault.Duplicate, "The agent looks after the client on some of these days already.").OnField("from")
	}
	return nil
}

// begins reports whether a begins before b is over.
func begins(a, b *entity.Record) bool {
	return b.Get("to").IsNull() || a.Get("from").Text() <= b.Get("to").Text()
}

// unchanged refuses a change of the named fields with wrong_status.
func unchanged(before, after *entity.Record, words string, fields ...string) error {
	for _, f := range fields {
		if string(before.Get(f)) != string(after.Get(f)) {
			return fault.Newf(fault.WrongStatus, "%s", words).OnField(f)
		}
	}
	return nil
}

func checkAccrual(_ entity.Context, before, after *entity.Record) error {
	if before == nil || before.StatusText() == Open {
		return nil
	}
	return unchanged(before, after, "An accrual that is invoiced or cancelled can't be changed.",
		"amount", "basis", "quantity", "earned", "text")
}

// accrualCreated takes an accrual that says nothing else for one of now that
// is no rate's.
func accrualCreated(c entity.Context, r *entity.Record) error {
	if r.Get("earned").IsNull() {
		r.Set("earned", entity.TimeValue(c.At()))
	}
	if r.Get("basis").IsNull() {
		r.Set("basis", entity.StringValue(Other))
	}
	return nil
}

// accrualChanged keeps what an agent was paid.
func accrualChanged(_ entity.Context, before, after *entity.Record) error {
	if after == nil && before.StatusText() == Invoiced {
		return fault.Newf(fault.WrongStatus, "An accrual that is invoiced can't be deleted.")
	}
	return nil
}

// Numbers of agents' invoices are the series' own; a draft may bear another
// one, given by hand.
const (
	series = "agentInvoice"
	prefix = "AGI-"
)

func checkInvoice(_ entity.Context, before, after *entity.Record) error {
	if err := attach.InOrder(after, "from", "to"); err != nil {
		return err
	}
	if after.StatusText() == Draft && strings.HasPrefix(after.Get("number").Text(), prefix) {
		return fault.Newf(fault.BadValue, "Numbers that begin with %s are given when an invoice is approved.", prefix).OnField("number")
	}
	if before == nil || before.StatusText() == Draft {
		return nil
	}
	return unchanged(before, after, "An agent's invoice that was approved can't be changed.", "number", "reference")
}

// earnedIn calls f for the agent's accruals that were earned within the span
// of a document; f may change them.
func earnedIn(c entity.Context, document *entity.Record, f func(*entity.Record) error) error {
	n := 0
	return each(c, "agent", document.Get("agent").Ref(), func(a *entity.Record) error {
		earned, ok := a.Get("earned").Time()
		if !ok || !within(document, "from", "to", dayOf(earned)) {
			return nil
		}
		if n++; n > maxAccruals {
			return fault.Newf(fault.BadValue, "More than %d accruals fall into these days; choose a shorter span.", maxAccruals).OnField("to")
		}
		return f(a)
	})
}

// maxAccruals bounds what one document takes: more would hold up everybody
// else's work.
const maxAccruals = 5000

// invoiceChanged takes accruals into a new draft and gives those of a deleted
// one back.
func invoiceChanged(c entity.Context, before, after *entity.Record) error {
	switch {
	case before == nil && after.StatusText() == Draft:
		return earnedIn(c, after, func(a *entity.Record) error {
			if a.StatusText() != Open {
				return nil
			}
			a = a.Clone()
			a.Set("status", entity.StringValue(Invoiced))
			a.Set("agentInvoice", entity.RefValue(after.ID))
			return c.Save(a)
		})
	case after == nil && before.StatusText() != Draft:
		return fault.Newf(fault.WrongStatus, "An agent's invoice that was approved can't be deleted.")
	case after == nil:
		return each(c, "agentInvoice", before.ID, func(a *entity.Record) error {
			a = a.Clone()
			a.Set("status", entity.StringValue(Open))
			a.Set("agentInvoice", nil)
			if undone(c, a) {
				a.Set("status", entity.StringValue(Cancelled))
			}
			return c.Save(a)
		})
	}
	return nil
}

// undone reports whether an accrual by rate is of an activity that was taken
// up again, cancelled or deleted since.
func undone(c entity.Context, a *entity.Record) bool {
	id := a.Get("activity").Ref()
	if id == "" || !byRate(a) {
		return false
	}
	activity, ok := c.Load(id)
	return !ok || !slices.Contains(done, activity.StatusText())
}

// approve numbers an invoice; one without lines is refused.
func approve(c entity.Context, r *entity.Record, _ entity.Args) error {
	has := false
	c.Referring(typeAccrual, "agentInvoice", r.ID, func(*entity.Record) bool {
		has = true
		return false
	})
	if !has {
		return fault.Newf(fault.MissingField, "An agent's invoice without accruals can't be approved.")
	}
	if r.Get("number").IsNull() {
		r.Set("number", entity.StringValue(fmt.Sprintf("%s%06d", prefix, c.Number(series))))
	}
	return nil
}

// statementChanged makes a statement's lines and deletes them with it.
func statementChanged(c entity.Context, before, after *entity.Record) error {
	switch {
	case before == nil:
		return earnedIn(c, after, func(a *entity.Record) error {
			if a.StatusText() == Cancelled {
				return nil
			}
			earned, _ := a.Get("earned").Time()
			_, err := c.Create(typeLine, map[string]entity.Value{
				"statement": entity.RefValue(after.ID), "accrual": entity.RefValue(a.ID),
				"date": entity.StringValue(dayOf(earned)), "text": a.Get("text"), "amount": a.Get("amount"),
				"state": entity.StringValue(a.StatusText()),
			})
			return err
		})
	case after == nil:
		var all []*entity.Record
		c.Referring(typeLine, "statement", before.ID, func(l *entity.Record) bool {
			all = append(all, l)
			return true
		})
		for _, l := range all {
			if err := attach.Discard(c, l); err != nil {
				return err
			}
			if err := c.Delete(l); err != nil {
				return err
			}
		}
	}
	return nil
}
