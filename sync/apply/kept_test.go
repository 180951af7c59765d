package apply_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"satchel/internal/command"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/sync/apply"
	"satchel/sync/state"
	"satchel/sync/wire"
)

// cellOf is one field of one record.
type cellOf struct {
	id    ident.RecordID
	field string
}

// desktop is a model of a phone: what it shows of each field, and what it has
// not sent.
type desktop struct {
	*phone
	shows map[cellOf]string
	queue []command.Mutation
}

// words follows every text that anybody typed.
type words struct {
	t      *rapid.T
	w      *world
	n      int
	typed  []string
	seen   map[string]bool // overwritten by somebody who saw it
	values map[cellOf]string
}

func (x *words) fresh() string {
	x.n++
	s := fmt.Sprintf("typed-%d", x.n)
	x.typed = append(x.typed, s)
	return s
}

// refresh reads the records as they stand.
func (x *words) refresh(cells []cellOf) {
	x.values = map[cellOf]string{}
	for _, c := range cells {
		x.values[c] = x.w.value(c.id, c.field)
	}
}

// check: each word is on its record, in an open conflict, in the quarantine, or
// went when somebody who saw it wrote something else.
func (x *words) check(cells []cellOf, phones []*desktop) {
	var there []byte
	for _, d := range phones { // or still on its phone
		for i := range d.queue {
			b, err := json.Marshal(d.queue[i])
			if err != nil {
				x.t.Fatal(err)
			}
			there = append(append(there, b...), '\n')
		}
	}
	for _, c := range cells {
		there = append(append(there, x.w.value(c.id, c.field)...), '\n')
	}
	x.w.reader(func(rd *state.Reader) {
		t := x.w.cat.Type("conflict")
		for o := range rd.Index(state.TypeKey(t.No)).All() {
			if c, ok := rd.LoadOrd(o); ok && c.StatusText() == "Open" {
				there = append(append(there, c.Get("mine").Text()...), '\n')
			}
		}
		apply.EachQuarantined(rd, func(q apply.Quarantined) bool {
			b, err := json.Marshal(q.Mutation)
			if err != nil {
				x.t.Fatal(err)
			}
			there = append(append(there, b...), '\n')
			return true
		})
	})
	for _, s := range x.typed {
		if x.seen[s] {
			continue
		}
		if !bytes.Contains(there, []byte(`"`+s+`"`)) && !hasLine(there, s) {
			x.t.Fatalf("%s is lost", s)
		}
	}
}

func hasLine(b []byte, s string) bool {
	return slices.ContainsFunc(bytes.Split(b, []byte("\n")), func(l []byte) bool { return string(l) == s })
}

// TestNothingTypedIsLost: two phones and the office edit the same records, with
// and without a network, through refusals, conflicts and their settling.
func TestNothingTypedIsLost(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := field(t)
		w.load(person("emp-boss-1", "level.customer-administrator", "service.manager")...)
		x := &words{t: rt, w: w, seen: map[string]bool{}}
		cells := []cellOf{{"act-one-1", "note"}, {"act-one-1", "workDone"}, {"act-two-1", "note"}}
		phones := []*desktop{}
		for i, who := range []ident.RecordID{"emp-eng-1", "emp-mgr-1"} {
			phones = append(phones, &desktop{phone: w.signIn(who, fmt.Sprint("i", i)), shows: map[cellOf]string{}})
		}
		hidden := false
		x.refresh(cells)
		cell := func() cellOf { return rapid.SampledFrom(cells).Draw(rt, "cell") }
		done := func(d *desktop, m *command.Mutation, r wire.Result) {
			if m.Op == wire.OpAction {
				return // noted where it is settled
			}
			for f, raw := range m.Fields {
				clash := slices.ContainsFunc(r.Conflicts, func(c wire.FieldConflict) bool { return c.Field == f })
				var was, mine string
				_ = json.Unmarshal(m.Was[f], &was)
				_ = json.Unmarshal(raw, &mine)
				if r.Status == wire.Refused {
					continue
				}
				// What the phone typed over it showed its user.
				if x.seen[was] = true; clash {
					continue
				}
				if now := x.values[cellOf{m.ID, f}]; now != was && now != "" && now != mine && !x.seen[now] {
					rt.Fatalf("%s wrote %s over %s, having seen %s", d.who, mine, now, was)
				}
			}
		}
		for range rapid.IntRange(5, 40).Draw(rt, "steps") {
			x.refresh(cells)
			switch rapid.IntRange(0, 9).Draw(rt, "what") {
			case 0, 1, 2: // a phone edits offline
				d, c := rapid.SampledFrom(phones).Draw(rt, "phone"), cell()
				s := x.fresh()
				d.queue = append(d.queue, patch("jobActivity", c.id, obj(c.field, s), obj(c.field, d.shows[c])))
				d.shows[c] = s
				if rapid.IntRange(0, 4).Draw(rt, "odd") == 0 { // and something that can't be
					d.queue = append(d.queue, patch("jobActivity", c.id, obj("note", x.fresh(), "noSuch", "x"), obj("note", d.shows[cellOf{c.id, "note"}])))
				}
			case 3, 4: // a phone sends one piece after the other
				d := rapid.SampledFrom(phones).Draw(rt, "phone")
				for i := range d.queue {
					x.refresh(cells)
					done(d, &d.queue[i], d.push(d.queue[i])[0])
				}
				d.queue = nil
			case 5: // a phone reads
				d := rapid.SampledFrom(phones).Draw(rt, "phone")
				if len(d.queue) == 0 {
					for _, c := range cells {
						if w.sees(d.who, c.id) {
							d.shows[c] = x.values[c]
						}
					}
				}
			case 6: // the office writes over what it sees
				c := cell()
				if r := w.do(write("emp-boss-1", command.Write{Op: "patch", Type: "jobActivity", ID: c.id, Fields: obj(c.field, x.fresh())})); r.Err != nil {
					rt.Fatal(r.Err)
				}
				x.seen[x.values[c]] = true
			case 7: // somebody settles a conflict
				var open []ident.RecordID
				w.reader(func(rd *state.Reader) {
					ct := w.cat.Type("conflict")
					for o := range rd.Index(state.TypeKey(ct.No)).All() {
						if c, ok := rd.LoadOrd(o); ok && c.StatusText() == "Open" {
							open = append(open, c.ID)
						}
					}
				})
				if len(open) == 0 {
					continue
				}
				id := rapid.SampledFrom(open).Draw(rt, "conflict")
				who := rapid.SampledFrom([]ident.RecordID{"emp-eng-1", "emp-mgr-1", "emp-boss-1"}).Draw(rt, "who")
				c := cellOf{ident.RecordID(w.value(id, "record")), w.value(id, "field")}
				mine, now := unquoted(w.value(id, "mine")), x.values[c]
				action := rapid.SampledFrom([]string{"keep-mine", "keep-theirs", "keep-edited"}).Draw(rt, "action")
				var args command.Object
				if action == "keep-edited" {
					x.n++
					args = obj("value", fmt.Sprintf("edited-%d", x.n))
				}
				switch err := w.do(settle(who, id, action, args)).Err; {
				case err != nil:
					if who == "emp-boss-1" || (who == "emp-mgr-1" && w.sees(who, c.id)) {
						rt.Fatalf("%s may not %s: %v", who, action, err)
					}
				case action == "keep-mine":
					x.seen[now] = true
				case action == "keep-theirs":
					x.seen[mine] = true
				default:
					x.seen[now], x.seen[mine] = true, true
				}
			case 8: // the engineer loses a client, or has it again
				x.n++
				if hidden = !hidden; hidden {
					w.load(row("clientVisibility", "vis-eng-1", "employee", "emp-eng-1", "mode", "all-but"),
						row("visibilityRule", ident.RecordID(fmt.Sprintf("rule-eng-%d", x.n)), "visibility", "vis-eng-1", "client", "client-one"))
				} else {
					for _, id := range w.referring("visibilityRule", "visibility", "vis-eng-1") {
						w.ok(write("emp-ada-1", command.Write{Op: "delete", Type: "visibilityRule", ID: id}))
					}
					w.load(row("jobActivity", "act-one-1", "assignee", "emp-eng-1", "status", "Accepted"))
				}
			case 9: // an administrator works through the quarantine
				var waits []apply.Quarantined
				for _, q := range quarantine(w) {
					if q.Closed == nil && q.Root == q.Mutation.N {
						waits = append(waits, q)
					}
				}
				if len(waits) == 0 {
					continue
				}
				q := rapid.SampledFrom(waits).Draw(rt, "bundle")
				if rapid.Bool().Draw(rt, "discard") {
					w.ok(&command.Command{Actor: "emp-boss-1", Discard: &command.Discard{Bundle: q.Bundle(), Reason: "r"}})
					continue
				}
				r := w.do(replay("emp-boss-1", q.Bundle(), nil))
				if r.Err != nil && !fault.Is(r.Err, fault.WrongStatus) {
					rt.Fatal(r.Err)
				}
				if r.Replay != nil && r.Replay.Done {
					for _, c := range cells { // whoever replays sees what is there
						if now := w.value(c.id, c.field); now != x.values[c] {
							x.seen[x.values[c]] = true
						}
					}
				}
			}
			x.check(cells, phones)
		}
		// Whatever is still to be sent is sent.
		for _, d := range phones {
			for i := range d.queue {
				x.refresh(cells)
				done(d, &d.queue[i], d.push(d.queue[i])[0])
			}
			d.queue = nil
		}
		x.check(cells, phones)
	})
}

func unquoted(s string) (out string) {
	_ = json.Unmarshal([]byte(s), &out)
	return out
}
