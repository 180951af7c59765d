package agents

import (
	"encoding/json"
	"maps"
	"math/big"
	"slices"
	"strings"
	"time"

	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/server/module/lines"
)

// Names of types, which the hooks can't read from the declarations they stand
// in.
const (
	typeAccrual = "accrual"
	typeLine    = "agentStatementLine"
)

// Bases of accruals; Other is no rate's.
const (
	Hour       = "hour"
	TravelHour = "travel-hour"
	Activity   = "activity"
	Other      = "other"
)

// ofRates are the bases that rate cards know, in the order in which they
// accrue, each with the kind of time entries that it is counted by.
var ofRates = []struct{ basis, kind string }{{Activity, ""}, {Hour, "work"}, {TravelHour, "travel"}}

// Statuses of a job activity, as Service names them: in these its work is
// done.
var done = []string{"Completed", "Invoiced", "Closed"}

const activityCancelled = "Cancelled"

// Accrue keeps what accrues to agents in step with a job activity. Service
// calls it after each change of one; before is nil for a new activity, after
// for one that was deleted.
//
// When an activity becomes Completed, each agent who is the assignee, is not
// archived and has a rate card that is not archived and valid on that day
// (UTC) accrues one sum for each basis of the card: the amount for the
// activity, and the amounts for an hour of work and of travel times the
// assignee's ended time entries of that kind. An agent with an account
// assignment to the client in force that day is paid its share, one without is
// paid in full. Sums are rounded half away from zero to minor units; a sum of
// nothing is no accrual.
//
// When such an activity is taken up again, what accrued by its rates and is
// still open is cancelled. What is invoiced by then stays: completed again, the
// agent accrues the difference, which may be negative. Somebody else's invoiced
// accruals are left as they are. A cancelled or deleted activity cancels all
// open accruals of it. What is imported as done accrues nothing.
//
// A sum beyond what money holds is refused with bad_value.
func Accrue(c entity.Context, before, after *entity.Record) error {
	switch {
	case before == nil:
		return nil
	case after == nil:
		return cancel(c, before.ID, ofActivity)
	}
	was, is := before.StatusText(), after.StatusText()
	switch {
	case was == is:
		return nil
	case is == activityCancelled:
		return cancel(c, after.ID, ofActivity)
	case slices.Contains(done, is) && !slices.Contains(done, was):
		return complete(c, after)
	case slices.Contains(done, was) && !slices.Contains(done, is):
		return cancel(c, after.ID, byRate)
	}
	return nil
}

func ofActivity(*entity.Record) bool { return true }

// byRate reports whether an accrual is one of a rate card's.
func byRate(a *entity.Record) bool { return a.Get("basis").Text() != Other }

// cancel cancels the activity's open accruals that match.
func cancel(c entity.Context, activity ident.RecordID, match func(*entity.Record) bool) error {
	return each(c, "activity", activity, func(a *entity.Record) error {
		if a.StatusText() != Open || !match(a) {
			return nil
		}
		a = a.Clone()
		a.Set("status", entity.StringValue(Cancelled))
		return c.Save(a)
	})
}

// each calls f for the accruals whose field names the record; f may change
// them.
func each(c entity.Context, field string, id ident.RecordID, f func(*entity.Record) error) error {
	var all []*entity.Record
	c.Referring(typeAccrual, field, id, func(a *entity.Record) bool {
		all = append(all, a)
		return true
	})
	for _, a := range all {
		if err := f(a); err != nil {
			return err
		}
	}
	return nil
}

// complete accrues what a completed activity is worth.
func complete(c entity.Context, activity *entity.Record) error {
	if err := cancel(c, activity.ID, byRate); err != nil {
		return err
	}
	person := activity.Get("assignee").Ref()
	if person == "" {
		return nil
	}
	var who []*entity.Record
	c.Referring("agent", "employee", person, func(a *entity.Record) bool {
		if !a.Archived() {
			who = append(who, a)
		}
		return true
	})
	for _, agent := range who {
		if err := accrue(c, agent, activity); err != nil {
			return err
		}
	}
	return nil
}

// accrue makes the agent's accruals of a completed activity.
func accrue(c entity.Context, agent, activity *entity.Record) error {
	day := dayOf(c.At())
	card, ok := c.Load(agent.Get("rateCard").Ref())
	if !ok || card.Archived() || !within(card, "validFrom", "validUntil", day) {
		return nil
	}
	rates, err := ratesOf(card)
	if err != nil {
		return err
	}
	share := shareOf(c, agent.ID, activity.Client(), day)
	for _, r := range ofRates {
		paid, err := invoiced(c, agent.ID, activity.ID, r.basis)
		if err != nil {
			return err
		}
		times := big.NewRat(1, 1)
		if r.kind != "" {
			times = hours(c, activity, r.kind)
		}
		amount, currency := lines.Amount(rates[r.basis])
		due := map[string]int64{}
		if currency != "" {
			sum, ok := whole(new(big.Rat).Mul(new(big.Rat).Mul(big.NewRat(amount, 1), times), share))
			if !ok {
				return tooLarge()
			}
			due[currency] = sum
		}
		quantity := entity.Value(decimal(times))
		if len(paid) > 0 {
			quantity = nil // of a difference there is none
		}
		for cur, sum := range paid {
			due[cur] -= sum
		}
		for _, cur := range slices.Sorted(maps.Keys(due)) {
			if due[cur] == 0 {
				continue
			}
			if due[cur] > lines.Largest || due[cur] < -lines.Largest {
				return tooLarge()
			}
			if _, err := c.Create(typeAccrual, map[string]entity.Value{
				"agent": entity.RefValue(agent.ID), "client": entity.RefValue(activity.Client()),
				"activity": entity.RefValue(activity.ID), "amount": lines.Money(due[cur], cur),
				"basis": entity.StringValue(r.basis), "quantity": quantity, "earned": entity.TimeValue(c.At()),
			}); err != nil {
				return err
			}
		}
	}
	return nil
}

func tooLarge() error { return fault.Newf(fault.BadValue, "What accrues to an agent is too large.") }

// ratesOf reads a card's rates by their basis.
func ratesOf(card *entity.Record) (map[string]entity.Value, error) {
	out := map[string]entity.Value{}
	if card.Get("rates").IsNull() {
		return out, nil
	}
	var rows []struct {
		Basis  string          `json:"basis"`
		Amount json.RawMessage `json:"amount"`
	}
	if err := json.Unmarshal(card.Get("rates"), &rows); err != nil {
		return nil, fault.New(fault.BadValue).OnField("rates").Because(err)
	}
	for _, r := range rows {
		if out[r.Basis] != nil {
			return nil, fault.Newf(fault.BadValue, "A rate card has one rate for each basis.").OnField("rates")
		}
		out[r.Basis] = entity.Value(r.Amount)
	}
	return out, nil
}

// shareOf returns the part of the rates that the agent is paid at the client.
func shareOf(c entity.Context, agent, client ident.RecordID, day string) *big.Rat {
	share := big.NewRat(1, 1)
	c.Referring("accountAssignment", "agent", agent, func(a *entity.Record) bool {
		if a.Client() != client || !within(a, "from", "to", day) {
			return true
		}
		if percent, ok := new(big.Rat).SetString(string(a.Get("share"))); ok {
			share = percent.Mul(percent, big.NewRat(1, 100))
		}
		return false
	})
	return share
}

// invoiced adds up what of an activity was invoiced for an agent by a basis,
// by currency.
func invoiced(c entity.Context, agent, activity ident.RecordID, basis string) (map[string]int64, error) {
	out := map[string]int64{}
	err := each(c, "activity", activity, func(a *entity.Record) error {
		if a.StatusText() != Invoiced || a.Get("agent").Ref() != agent || a.Get("basis").Text() != basis {
			return nil
		}
		amount, currency := lines.Amount(a.Get("amount"))
		if out[currency] += amount; out[currency] > lines.Largest || out[currency] < -lines.Largest {
			return tooLarge()
		}
		return nil
	})
	return out, err
}

// hours adds up the assignee's ended time entries of a kind.
func hours(c entity.Context, activity *entity.Record, kind string) *big.Rat {
	var sum int64 // milliseconds
	c.Referring("timeEntry", "activity", activity.ID, func(e *entity.Record) bool {
		if e.Get("employee").Ref() != activity.Get("assignee").Ref() || e.Get("kind").Text() != kind {
			return true
		}
		start, ok := e.Get("start").Time()
		end, ok2 := e.Get("end").Time()
		if ok && ok2 && end > start {
			sum += int64(end - start)
		}
		return true
	})
	return big.NewRat(sum, int64(time.Hour/time.Millisecond))
}

// dayOf is the day of an instant, UTC, as dates are stored.
func dayOf(m ident.Millis) string { return m.Time().UTC().Format(time.DateOnly) }

// within reports whether a day lies in the span of two dates of a record, both
// included; one that is not there is no bound.
func within(r *entity.Record, from, to, day string) bool {
	a, b := r.Get(from), r.Get(to)
	return (a.IsNull() || a.Text() <= day) && (b.IsNull() || day <= b.Text())
}

// whole rounds half away from zero; false where that is more than money holds.
func whole(x *big.Rat) (int64, bool) {
	n := new(big.Int).Mul(x.Num(), big.NewInt(2))
	n.Add(n, new(big.Int).Mul(x.Denom(), big.NewInt(int64(x.Sign()))))
	n.Quo(n, new(big.Int).Mul(x.Denom(), big.NewInt(2)))
	return n.Int64(), n.IsInt64() && n.Int64() <= lines.Largest && n.Int64() >= -lines.Largest
}

// decimal renders a quantity with at most four decimals, rounded half away
// from zero.
func decimal(x *big.Rat) string {
	s := x.FloatString(4)
	return strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
}
