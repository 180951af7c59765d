package debtors

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/server/module/attach"
	"satchel/server/module/billing"
	"satchel/server/module/lines"
)

// maxLines is how many lines a statement has at most.
const maxLines = 1000

// entry is one thing that changed what a client owes.
type entry struct {
	date   string // YYYY-MM-DD
	text   string
	of     ident.RecordID
	debit  bool
	amount int64
}

// state works a statement out: over the client's invoices that were approved
// and not voided, approved credit notes and payments, of which a reversed one
// appears as it came and as it went, and each refund as it was paid. It refuses
// a span that has more than 1,000 lines.
func state(c entity.Context, r *entity.Record) error {
	for _, f := range []string{"client", "from", "to", "currency"} {
		if r.Get(f).IsNull() {
			return fault.Newf(fault.MissingField, "%s is required.", f).OnField(f)
		}
	}
	if err := attach.InOrder(r, "from", "to"); err != nil {
		return err
	}
	currency := r.Get("currency").Text()
	if len(currency) != 3 || strings.Trim(currency, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
		return fault.Newf(fault.BadValue, "currency must be three capital letters.").OnField("currency")
	}
	from, to := r.Get("from").Text(), r.Get("to").Text()
	var opening, closing int64
	var within []entry
	all, err := entries(c, r.Get("client").Ref(), currency)
	if err != nil {
		return err
	}
	for _, e := range all {
		if e.date > to {
			continue
		}
		sum := e.amount
		if !e.debit {
			sum = -sum
		}
		closing += sum
		if e.date < from {
			opening += sum
		} else {
			within = append(within, e)
		}
		if max(opening, -opening, closing, -closing) > lines.Largest {
			return fault.Newf(fault.BadValue, "The sums of the statement are too large.").OnField("from")
		}
	}
	if len(within) > maxLines {
		return fault.Newf(fault.BadValue, "A statement has at most %d lines. Choose a shorter span.", maxLines).OnField("to")
	}
	// What happened on one day stands in the order in which it was collected.
	slices.SortStableFunc(within, func(a, b entry) int { return cmp.Compare(a.date, b.date) })
	var b bytes.Buffer
	b.WriteByte('[')
	for i, e := range within {
		if i > 0 {
			b.WriteByte(',')
		}
		side := "credit"
		if e.debit {
			side = "debit"
		}
		fmt.Fprintf(&b, `{"id":"%d","date":%s,"text":%s,"document":%s,"%s":%s}`, i+1, entity.StringValue(e.date),
			entity.StringValue(clip(e.text)), entity.RefValue(e.of), side, lines.Money(e.amount, currency))
	}
	b.WriteByte(']')
	rows, err := r.Type.Field("lines").Recall(b.Bytes())
	if err != nil {
		return err
	}
	r.Set("lines", rows)
	r.Set("opening", lines.Money(opening, currency))
	r.Set("closing", lines.Money(closing, currency))
	return nil
}

// entries collects what changed a client's balance in the currency: invoices,
// credit notes, payments with what was paid back of them, each in the order in
// which they were made.
func entries(c entity.Context, client ident.RecordID, currency string) (out []entry, err error) {
	put := func(r *entity.Record, amount entity.Value, date, text string, debit bool) {
		if sum, in := lines.Amount(amount); in == currency && sum != 0 {
			out = append(out, entry{date, strings.TrimSpace(text), r.ID, debit, sum})
		}
	}
	add := func(r *entity.Record, field, date, text string, debit bool) { put(r, r.Get(field), date, text, debit) }
	c.Referring("invoice", "client", client, func(r *entity.Record) bool {
		if billing.Counts(r.StatusText()) {
			add(r, "total", dated(r, "issued", "approvedAt"), "Invoice "+r.Get("number").Text(), true)
		}
		return true
	})
	c.Referring("creditNote", "client", client, func(r *entity.Record) bool {
		if r.StatusText() == billing.Approved {
			add(r, "total", dated(r, "issued", "approvedAt"), "Credit note "+r.Get("number").Text(), false)
		}
		return true
	})
	c.Referring("payment", "client", client, func(r *entity.Record) bool {
		add(r, "amount", r.Get("received").Text(), "Payment "+r.Get("reference").Text(), false)
		var back []paidBack
		if back, err = refundsOf(r); err != nil {
			return false
		}
		for _, b := range back {
			put(r, entity.Value(b.Amount), b.Date, "Refund "+r.Get("reference").Text(), true)
		}
		if r.StatusText() == Reversed {
			add(r, "amount", dated(r, "", "reversedAt"), "Payment reversed "+r.Get("reference").Text(), true)
		}
		return true
	})
	return out, err
}

// dated is the day that counts for a record: its date field, or else the UTC
// day of an instant, or else of its creation.
func dated(r *entity.Record, date, instant string) string {
	if date != "" && !r.Get(date).IsNull() {
		return r.Get(date).Text()
	}
	for _, v := range []entity.Value{r.Get(instant), r.Value(entity.NoCreatedAt)} {
		if m, ok := v.Time(); ok {
			return m.Time().Format(time.DateOnly)
		}
	}
	return ""
}

// clip bounds a text to what a line of text holds.
func clip(s string) string {
	const most = 200
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}
