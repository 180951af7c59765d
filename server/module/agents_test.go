package module_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"satchel/internal/command"
	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/internal/ident"
	. "satchel/internal/testworld" //nolint:revive // its names are people
	"satchel/sync/state"
	"satchel/sync/tenant"
)

// paying is a world in which agents are paid.
type paying struct {
	*World
	t *testing.T
}

func pays(t *testing.T) *paying {
	t.Helper()
	return &paying{New(t), t}
}

// write makes a change in a person's name.
func (p *paying) write(who ident.RecordID, w command.Write) (ident.RecordID, error) {
	res, err := p.Tenant.Submit(context.Background(), &command.Command{Actor: who, Write: &w})
	return res.ID, err
}

func (p *paying) create(typ string, kv ...any) (ident.RecordID, error) {
	return p.write(AgentsAdmin, command.Write{Op: "create", Type: typ, Fields: Object(kv...)})
}

func (p *paying) patch(typ string, id ident.RecordID, kv ...any) error {
	_, err := p.write(AgentsAdmin, command.Write{Op: "patch", Type: typ, ID: id, Fields: Object(kv...)})
	return err
}

func (p *paying) remove(typ string, id ident.RecordID) error {
	_, err := p.write(AgentsAdmin, command.Write{Op: "delete", Type: typ, ID: id})
	return err
}

func (p *paying) act(who ident.RecordID, typ string, id ident.RecordID, action string, kv ...any) error {
	_, err := p.write(who, command.Write{Op: "action", Type: typ, ID: id, Action: action, Args: Object(kv...)})
	return err
}

// complete brings an activity from where it stands to Completed.
func (p *paying) complete(id ident.RecordID) {
	p.t.Helper()
	p.Import(Row("jobActivity", id, "status", "Reviewed"))
	p.must(p.act(Manager, "jobActivity", id, "complete"))
}

func (p *paying) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *paying) refused(code fault.Code, field string, err error) {
	p.t.Helper()
	if !fault.Is(err, code) || fault.Of(err).Field != field {
		p.t.Errorf("%v, want %s on %q", err, code, field)
	}
}

// each calls f for the records of a type.
func (p *paying) each(typ string, f func(*entity.Record)) {
	p.t.Helper()
	p.must(p.Tenant.Read(func(v *tenant.View) error {
		for o := range v.Index(state.TypeKey(v.Cat.Type(typ).No)).All() {
			if r, ok := v.LoadOrd(o); ok {
				f(r)
			}
		}
		return nil
	}))
}

// accrued is what accrued to an agent from an activity, "" for from none:
// "basis amount quantity status", sorted.
func (p *paying) accrued(agent, activity ident.RecordID) []string {
	p.t.Helper()
	out := []string{}
	p.each("accrual", func(r *entity.Record) {
		if r.Get("agent").Ref() != agent || r.Get("activity").Ref() != activity {
			return
		}
		var m struct {
			Amount   int64
			Currency string
		}
		p.must(json.Unmarshal(r.Get("amount"), &m))
		out = append(out, fmt.Sprintf("%s %d %s %s", r.Get("basis").Text(), m.Amount, r.Get("quantity"), r.StatusText()))
	})
	slices.Sort(out)
	return out
}

func (p *paying) want(agent, activity ident.RecordID, want ...string) {
	p.t.Helper()
	if got := p.accrued(agent, activity); !slices.Equal(got, append([]string{}, want...)) {
		p.t.Errorf("%s accrued of %s %q, want %q", agent, activity, got, want)
	}
}

func (p *paying) value(id ident.RecordID, field string) (out string) {
	p.t.Helper()
	p.must(p.Tenant.Read(func(v *tenant.View) error {
		if r, ok := v.Load(id); ok {
			out = r.Get(field).Text()
		}
		return nil
	}))
	return out
}

// spent adds a time entry to an activity.
func (p *paying) spent(activity, who ident.RecordID, kind string, d time.Duration) {
	p.t.Helper()
	kv := []any{"activity", activity, "employee", who, "kind", kind, "start", "2026-03-02T08:00:00Z"}
	if d > 0 {
		kv = append(kv, "end", time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC).Add(d).Format("2006-01-02T15:04:05.000Z"))
	}
	p.Import(Row("timeEntry", ident.RecordID(fmt.Sprintf("time-%s-%s-%d", activity, kind, d)), kv...))
}

func eur(n int64) map[string]any { return map[string]any{"amount": n, "currency": "EUR"} }

// TestAccruals: what an activity is worth to its assignee, by each basis.
func TestAccruals(t *testing.T) {
	p := pays(t)
	// The world's own entry of act-acme-1 has no end and counts nothing.
	p.spent("act-acme-1", Engineer, "work", 100*time.Minute)
	p.spent("act-acme-1", Engineer, "work", 1*time.Minute+300*time.Millisecond)
	p.spent("act-acme-1", Engineer, "travel", 30*time.Minute)
	p.spent("act-acme-1", Engineer, "break", time.Hour)
	p.spent("act-acme-1", Colleague, "work", 5*time.Hour)
	p.complete("act-acme-1")
	// 101.005 minutes at 60.00 an hour are 101.005, half a cent up.
	p.want("paid-engineer", "act-acme-1", "activity 2500 1 Open", "hour 10101 1.6834 Open", "travel-hour 1500 0.5 Open")
	p.each("accrual", func(r *entity.Record) {
		if r.Get("activity").Ref() == "act-acme-1" && (r.Client() != Acme || r.Get("earned").Text() != "2026-03-02T10:00:00.000Z") {
			t.Errorf("%s earned with %s at %s", r.ID, r.Client(), r.Get("earned").Text())
		}
	})
	// Nobody else's work accrues to anybody, and work that nobody has to none.
	p.complete("act-dune-1")
	p.Import(Row("jobActivity", "act-acme-2", "status", "Reviewed"))
	p.must(p.act(Manager, "jobActivity", "act-acme-2", "complete"))
	for _, id := range []ident.RecordID{"act-dune-1", "act-acme-2"} {
		p.want("paid-engineer", id)
		p.want("paid-reseller", id)
	}
	// What is imported as done accrues nothing.
	p.Import(Row("jobActivity", "act-done-1", "job", "job-acme-1", "title", "Long ago", "assignee", Engineer, "status", "Completed"))
	p.want("paid-engineer", "act-done-1")
	// It goes on being settled as it accrued.
	p.must(p.act(Manager, "jobActivity", "act-acme-1", "invoice"))
	p.must(p.act(Manager, "jobActivity", "act-acme-1", "close"))
	p.want("paid-engineer", "act-acme-1", "activity 2500 1 Open", "hour 10101 1.6834 Open", "travel-hour 1500 0.5 Open")
}

// TestRatesThatCount: the card of the day, and none that is archived.
func TestRatesThatCount(t *testing.T) {
	for name, c := range map[string]struct {
		change func(p *paying)
		want   []string
	}{
		"from today": {func(p *paying) { p.must(p.patch("rateCard", "rates-one", "validFrom", "2026-03-02")) }, []string{"activity 2500 1 Open"}},
		"up to today": {func(p *paying) {
			p.must(p.patch("rateCard", "rates-one", "validUntil", "2026-03-02", "validFrom", "2026-03-02"))
		}, []string{"activity 2500 1 Open"}},
		"from tomorrow":      {func(p *paying) { p.must(p.patch("rateCard", "rates-one", "validFrom", "2026-03-03")) }, nil},
		"until yesterday":    {func(p *paying) { p.must(p.patch("rateCard", "rates-one", "validUntil", "2026-03-01")) }, nil},
		"card archived":      {func(p *paying) { p.must(p.act(AgentsAdmin, "rateCard", "rates-one", "archive")) }, nil},
		"agent archived":     {func(p *paying) { p.must(p.act(AgentsAdmin, "agent", "paid-engineer", "archive")) }, nil},
		"agent without card": {func(p *paying) { p.must(p.patch("agent", "paid-engineer", "rateCard", nil)) }, nil},
		"card without rates": {func(p *paying) { p.must(p.patch("rateCard", "rates-one", "rates", nil)) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			p := pays(t)
			c.change(p)
			p.complete("act-blue-1")
			p.want("paid-engineer", "act-blue-1", c.want...)
		})
	}
}

// TestShares: who looks after an account is paid the share that was agreed,
// whoever does not in full.
func TestShares(t *testing.T) {
	for name, c := range map[string]struct {
		kv   []any
		want []string
	}{
		"none":              {nil, []string{"activity 2500 1 Open"}},
		"another client":    {[]any{"client", Blue, "from", "2026-01-01", "share", 10}, []string{"activity 2500 1 Open"}},
		"no share said":     {[]any{"client", Acme, "from", "2026-01-01"}, []string{"activity 2500 1 Open"}},
		"a share":           {[]any{"client", Acme, "from", "2026-03-02", "to", "2026-03-02", "share", 33.3}, []string{"activity 833 1 Open"}},
		"half a cent up":    {[]any{"client", Acme, "from", "2026-01-01", "share", 33.34}, []string{"activity 834 1 Open"}},
		"nothing":           {[]any{"client", Acme, "from", "2026-01-01", "share", 0}, nil},
		"over by yesterday": {[]any{"client", Acme, "from", "2026-01-01", "to", "2026-03-01", "share", 10}, []string{"activity 2500 1 Open"}},
		"from tomorrow":     {[]any{"client", Acme, "from", "2026-03-03", "share", 10}, []string{"activity 2500 1 Open"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := pays(t)
			if c.kv != nil {
				_, err := p.create("accountAssignment", append([]any{"agent", "paid-engineer"}, c.kv...)...)
				p.must(err)
			}
			p.complete("act-acme-1")
			p.want("paid-engineer", "act-acme-1", c.want...)
		})
	}
}

// TestAccruedAgain: work that is taken up again accrues what it is worth in
// the end, less what was invoiced.
func TestAccruedAgain(t *testing.T) {
	p := pays(t)
	const act, who = "act-acme-1", "paid-engineer"
	p.complete(act)
	extra, err := p.create("accrual", "agent", who, "client", Acme, "amount", eur(700), "basis", "other", "text", "Ferry")
	p.must(err)
	p.must(p.act(Manager, "jobActivity", act, "reopen"))
	p.want(who, act, "activity 2500 1 Cancelled")
	p.spent(act, Engineer, "work", time.Hour)
	p.complete(act)
	p.want(who, act, "activity 2500 1 Cancelled", "activity 2500 1 Open", "hour 6000 1 Open")
	// Invoiced, the hour was too much and the visit too little.
	bill, err := p.create("agentInvoice", "agent", who, "from", "2026-03-01", "to", "2026-03-31")
	p.must(err)
	p.must(p.act(Manager, "jobActivity", act, "reopen"))
	p.Import(Row("timeEntry", "time-act-acme-1-work-3600000000000", "end", "2026-03-02T08:30:00Z"))
	p.must(p.patch("rateCard", "rates-one", "rates", json.RawMessage(`[
		{"id":"1","basis":"hour","amount":{"amount":6000,"currency":"EUR"}},{"id":"3","basis":"activity","amount":{"amount":2600,"currency":"EUR"}}]`)))
	p.complete(act)
	p.want(who, act, "activity 100  Open", "activity 2500 1 Cancelled", "activity 2500 1 Invoiced", "hour -3000  Open", "hour 6000 1 Invoiced")
	// Another currency is no difference of the first.
	p.must(p.act(Manager, "jobActivity", act, "reopen"))
	p.must(p.patch("rateCard", "rates-one", "rates", json.RawMessage(`[{"id":"3","basis":"activity","amount":{"amount":9,"currency":"USD"}}]`)))
	p.complete(act)
	p.want(who, act, "activity -2500  Open", "activity 100  Cancelled", "activity 2500 1 Cancelled", "activity 2500 1 Invoiced",
		"activity 9  Open", "hour -3000  Cancelled", "hour -6000  Open", "hour 6000 1 Invoiced")
	// Cancelled at last: what is open is off, also what was given back since,
	// and not what somebody entered for another reason.
	p.must(p.act(Manager, "jobActivity", act, "reopen"))
	p.must(p.act(Manager, "jobActivity", act, "cancel"))
	p.must(p.remove("agentInvoice", bill))
	for _, a := range p.accrued(who, act) {
		if !strings.HasSuffix(a, " Cancelled") {
			t.Errorf("of a cancelled activity: %s", a)
		}
	}
	if got := p.value(extra, "status"); got != "Open" {
		t.Errorf("what has no activity is %s", got)
	}
}

// TestAccruedByAnother: the one who did it in the end is paid for it, and what
// the first was paid stays.
func TestAccruedByAnother(t *testing.T) {
	p := pays(t)
	_, err := p.create("agent", "name", "The colleague", "employee", Colleague, "kind", "employee", "rateCard", "rates-one")
	p.must(err)
	var colleague ident.RecordID
	p.each("agent", func(r *entity.Record) {
		if r.Get("employee").Ref() == Colleague {
			colleague = r.ID
		}
	})
	p.complete("act-acme-1")
	_, err = p.create("agentInvoice", "agent", "paid-engineer", "from", "2026-03-02", "to", "2026-03-02")
	p.must(err)
	p.must(p.act(Manager, "jobActivity", "act-acme-1", "reopen"))
	p.must(p.act(Manager, "jobActivity", "act-acme-1", "assign", "assignee", Colleague))
	p.complete("act-acme-1")
	p.want("paid-engineer", "act-acme-1", "activity 2500 1 Invoiced")
	p.want(colleague, "act-acme-1", "activity 2500 1 Open")
	// A job that is cancelled does not cancel what is done; an activity that is
	// deleted leaves nothing open.
	p.must(p.act(Manager, "job", "job-acme-1", "cancel"))
	p.want(colleague, "act-acme-1", "activity 2500 1 Open")
	for _, typ := range []string{"timeEntry", "partUsed", "signature", "checklistAnswer", "comment"} {
		var ids []ident.RecordID
		p.each(typ, func(r *entity.Record) {
			if r.Get("activity").Ref() == "act-acme-1" || r.Get("parent").Ref() == "act-acme-1" {
				ids = append(ids, r.ID)
			}
		})
		for _, id := range ids {
			_, err := p.write(Manager, command.Write{Op: "delete", Type: typ, ID: id})
			p.must(err)
		}
	}
	_, err = p.write(Manager, command.Write{Op: "delete", Type: "jobActivity", ID: "act-acme-1"})
	p.must(err)
	p.each("accrual", func(r *entity.Record) {
		if r.Get("agent").Ref() == colleague && r.StatusText() != "Cancelled" {
			t.Errorf("of a deleted activity: %s", r.StatusText())
		}
	})
}

// TestTooMuchAccrues: a sum beyond what money holds is refused with all of the
// command, and not cut.
func TestTooMuchAccrues(t *testing.T) {
	p := pays(t)
	p.must(p.patch("rateCard", "rates-one", "rates", json.RawMessage(`[{"id":"1","basis":"hour","amount":{"amount":9007199254740991,"currency":"EUR"}}]`)))
	p.spent("act-acme-1", Engineer, "work", 2*time.Hour)
	p.Import(Row("jobActivity", "act-acme-1", "status", "Reviewed"))
	p.refused(fault.BadValue, "", p.act(Manager, "jobActivity", "act-acme-1", "complete"))
	if got := p.value("act-acme-1", "status"); got != "Reviewed" {
		t.Errorf("the activity is %s", got)
	}
}

// TestAgentInvoices: an invoice takes what is open and lies within its days,
// once, and is numbered when it is approved.
func TestAgentInvoices(t *testing.T) {
	p := pays(t)
	add := func(earned string) ident.RecordID {
		t.Helper()
		id, err := p.create("accrual", "agent", "paid-engineer", "client", Acme, "amount", eur(100), "earned", earned)
		p.must(err)
		return id
	}
	before, first, last, after := add("2026-02-28T23:59:59Z"), add("2026-03-01T00:00:00Z"), add("2026-03-31T23:59:59Z"), add("2026-04-01T00:00:00Z")
	off := add("2026-03-05T00:00:00Z")
	p.must(p.act(AgentsAdmin, "accrual", off, "cancel"))
	march := []any{"agent", "paid-engineer", "from", "2026-03-01", "to", "2026-03-31"}
	one, err := p.create("agentInvoice", march...)
	p.must(err)
	states := func(want string, ids ...ident.RecordID) {
		t.Helper()
		for _, id := range ids {
			if got := p.value(id, "status"); got != want {
				t.Errorf("%s is %s, want %s", id, got, want)
			}
		}
	}
	states("Invoiced", first, last)
	states("Open", before, after)
	states("Cancelled", off)
	if p.value(first, "agentInvoice") != string(one) || p.value(before, "agentInvoice") != "" {
		t.Error("the accruals don't name their invoice")
	}
	// A second one finds nothing left, and can't be approved.
	two, err := p.create("agentInvoice", march...)
	p.must(err)
	p.refused(fault.MissingField, "", p.act(AgentsAdmin, "agentInvoice", two, "approve"))
	p.must(p.remove("agentInvoice", two))
	// What is on an invoice stands fast, also while it is a draft.
	p.refused(fault.WrongStatus, "amount", p.patch("accrual", first, "amount", eur(1)))
	p.refused(fault.WrongStatus, "", p.remove("accrual", first))
	p.refused(fault.WrongStatus, "", p.act(AgentsAdmin, "accrual", first, "cancel"))
	// Deleted, the draft gives back what it took.
	p.must(p.remove("agentInvoice", one))
	states("Open", first, last)
	if p.value(first, "agentInvoice") != "" {
		t.Error("an accrual names an invoice that is gone")
	}
	one, err = p.create("agentInvoice", march...)
	p.must(err)
	p.refused(fault.BadValue, "number", p.patch("agentInvoice", one, "number", "AGI-000001"))
	p.refused(fault.WrongStatus, "", p.act(AgentsAdmin, "agentInvoice", one, "pay"))
	p.must(p.act(AgentsAdmin, "agentInvoice", one, "approve"))
	p.refused(fault.WrongStatus, "", p.act(AgentsAdmin, "agentInvoice", one, "approve"))
	if got := p.value(one, "number"); got != "AGI-000001" {
		t.Errorf("number %s", got)
	}
	p.refused(fault.WrongStatus, "number", p.patch("agentInvoice", one, "number", "7"))
	p.refused(fault.WrongStatus, "reference", p.patch("agentInvoice", one, "reference", "x"))
	p.must(p.patch("agentInvoice", one, "notes", "By bank"))
	p.refused(fault.WrongStatus, "", p.remove("agentInvoice", one))
	states("Invoiced", first, last)
	p.must(p.act(AgentsAdmin, "agentInvoice", one, "pay"))
	p.refused(fault.WrongStatus, "", p.remove("agentInvoice", one))
	// A number that was given by hand is kept, and takes none of the series.
	add("2026-03-06T00:00:00Z")
	own, err := p.create("agentInvoice", append(march, "number", "2026/7")...)
	p.must(err)
	p.must(p.act(AgentsAdmin, "agentInvoice", own, "approve"))
	if got := p.value(own, "number"); got != "2026/7" {
		t.Errorf("number %s", got)
	}
	p.must(p.act(AgentsAdmin, "agentInvoice", "payout-one", "approve"))
	if got := p.value("payout-one", "number"); got != "AGI-000002" {
		t.Errorf("number %s", got)
	}
	_, err = p.create("agentInvoice", "agent", "paid-engineer", "from", "2026-03-31", "to", "2026-03-01")
	p.refused(fault.BadValue, "to", err)
}

// TestAgentStatements: a statement lists what accrued in its days as it stood,
// and its lines go with it.
func TestAgentStatements(t *testing.T) {
	p := pays(t)
	id, err := p.create("agentStatement", "agent", "paid-reseller", "from", "2026-02-10", "to", "2026-02-10")
	p.must(err)
	lines := func(statement ident.RecordID) (out []string) {
		p.each("agentStatementLine", func(r *entity.Record) {
			if r.Get("statement").Ref() == statement {
				out = append(out, fmt.Sprintf("%s %s %s %s", r.Client(), r.Get("date").Text(), r.Get("amount"), r.Get("state").Text()))
			}
		})
		return out
	}
	p.must(p.act(AgentsAdmin, "accrual", "accrual-dune", "cancel"))
	const line = ` 2026-02-10 {"amount":1000,"currency":"EUR"} `
	want := []string{"client-acme" + line + "Invoiced", "client-blue" + line + "Open", "client-corp" + line + "Open", "client-dune" + line + "Open"}
	if got := lines(id); !slices.Equal(got, want) {
		t.Errorf("lines %q", got)
	}
	later, err := p.create("agentStatement", "agent", "paid-reseller", "from", "2026-01-01", "to", "2026-12-31")
	p.must(err)
	if got := lines(later); !slices.Equal(got, want[:3]) {
		t.Errorf("lines with one cancelled %q", got)
	}
	empty, err := p.create("agentStatement", "agent", "paid-reseller", "from", "2026-02-11", "to", "2026-12-31")
	p.must(err)
	if got := lines(empty); len(got) != 0 {
		t.Errorf("lines of other days %q", got)
	}
	p.must(p.remove("agentStatement", id))
	if got := lines(id); len(got) != 0 {
		t.Errorf("lines without a statement %q", got)
	}
	if got := lines(later); len(got) != 3 {
		t.Errorf("another statement lost lines: %q", got)
	}
}

// TestAgentsRefuse holds what the types refuse by themselves.
func TestAgentsRefuse(t *testing.T) {
	p := pays(t)
	assign := func(from, to any, more ...any) error {
		kv := []any{"agent", "paid-engineer", "client", Acme, "from", from}
		if to != nil {
			kv = append(kv, "to", to)
		}
		_, err := p.create("accountAssignment", append(kv, more...)...)
		return err
	}
	p.must(assign("2026-02-01", "2026-02-28"))
	for _, span := range [][2]any{{"2026-01-01", nil}, {"2026-02-28", nil}, {"2026-01-01", "2026-02-01"}, {"2026-02-10", "2026-02-11"}, {"2026-02-01", "2026-02-28"}} {
		p.refused(fault.Duplicate, "from", assign(span[0], span[1]))
	}
	p.must(assign("2026-03-01", nil))
	p.must(assign("2026-01-01", "2026-01-31"))
	var id ident.RecordID
	p.each("accountAssignment", func(r *entity.Record) {
		if r.Get("from").Text() == "2026-01-01" && r.Get("agent").Ref() == "paid-engineer" {
			id = r.ID
		}
	})
	p.refused(fault.Duplicate, "from", p.patch("accountAssignment", id, "to", "2026-02-01"))
	p.must(p.patch("accountAssignment", id, "to", "2026-01-30"))
	p.refused(fault.BadValue, "to", p.patch("accountAssignment", id, "to", "2025-12-31"))
	for _, share := range []any{-1, 100.5} {
		p.refused(fault.BadValue, "share", p.patch("accountAssignment", id, "share", share))
	}
	p.must(p.patch("accountAssignment", id, "share", 100))

	_, err := p.create("rateCard", "name", "x", "validFrom", "2026-02-01", "validUntil", "2026-01-01")
	p.refused(fault.BadValue, "validUntil", err)
	twice := `[{"id":"1","basis":"hour","amount":{"amount":1,"currency":"EUR"}},{"id":"2","basis":"hour","amount":{"amount":1,"currency":"USD"}}]`
	_, err = p.create("rateCard", "name", "x", "rates", json.RawMessage(twice))
	p.refused(fault.BadValue, "rates", err)
	_, err = p.create("rateCard", "name", "x", "rates", json.RawMessage(`[{"id":"1","basis":"hour","amount":{"amount":-1,"currency":"EUR"}}]`))
	p.refused(fault.BadValue, "rates.amount", err)

	_, err = p.create("agent", "name", "Again", "kind", "employee", "employee", Engineer)
	p.refused(fault.Duplicate, "employee", err)
	_, err = p.create("agentStatement", "agent", "paid-reseller", "from", "2026-02-01", "to", "2026-01-01")
	p.refused(fault.BadValue, "to", err)
	_, err = p.create("agentStatementLine")
	p.refused(fault.NotAllowed, "", err)
	p.refused(fault.WrongStatus, "text", func() error {
		p.must(p.act(AgentsAdmin, "accrual", "accrual-corp", "cancel"))
		return p.patch("accrual", "accrual-corp", "text", "x")
	}())
	p.must(p.remove("accrual", "accrual-corp"))
	p.refused(fault.HasDependents, "", p.remove("agent", "paid-reseller"))
}
