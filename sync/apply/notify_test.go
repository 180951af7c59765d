package apply_test

import (
	"bytes"
	"strings"
	"testing"

	"satchel/internal/command"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/sync/apply"
	"satchel/sync/oplog"
	"satchel/sync/outbox"
	"satchel/sync/state"
	"satchel/sync/store"
)

// intents returns what the outbox holds.
func (w *world) intents() (out []outbox.Intent) {
	w.reader(func(rd *state.Reader) {
		outbox.Due(rd.KV(), 1<<60, func(in outbox.Intent) bool { out = append(out, in); return true })
	})
	return out
}

// addressed signs somebody in on a phone that has a push token.
func (w *world) addressed(who ident.RecordID, installation, token string) *phone {
	p := w.signIn(who, installation)
	w.ok(&command.Command{Actor: who, Session: p.sess, Device: p.id, Address: &command.Address{Token: token}})
	return p
}

func (w *world) address(id ident.DeviceID) (a apply.Address, ok bool) {
	w.reader(func(rd *state.Reader) { a, ok = apply.ReadAddress(rd, id, w.now) })
	return a, ok
}

// replayed folds the log again, by a machine of its own for each entry, and
// compares every row: what a machine remembers makes no difference.
func (w *world) replayed() {
	w.t.Helper()
	eng := store.NewMem()
	err := w.log.Entries(0, func(e oplog.Entry) (bool, error) {
		log, err := oplog.Open(eng, machine(w.t.(*testing.T), w), oplog.Options{})
		if err != nil {
			return false, err
		}
		_, err = log.Append(w.t.Context(), oplog.Draft{Time: e.Time, Version: e.Version, Proposer: e.Proposer, Number: e.Number, Commands: e.Commands})
		return err == nil, err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	a, _ := w.eng.Snapshot()
	defer a.Close()
	b, _ := eng.Snapshot()
	defer b.Close()
	if !bytes.Equal(dump(a), dump(b)) {
		w.t.Error("the replay left other bytes")
	}
}

func (w *world) assign(act, who string) *command.Command {
	return write("emp-mgr-1", command.Write{Op: "action", Type: "jobActivity", ID: ident.RecordID(act), Action: "assign", Args: obj("assignee", who)})
}

// TestDeliver: reports are taken once, from the system alone; what was sent to
// some devices is left for the others; nothing is withdrawn from somebody who
// may know of it after all.
func TestDeliver(t *testing.T) {
	w := ruled(t)
	w.ok(w.assign("act-one-1", "emp-eng-2"))
	var in outbox.Intent
	for _, x := range w.intents() {
		if x.Event == "jobActivity.assigned" {
			in = x
		}
	}
	if in.Person != "emp-eng-2" || in.About != "act-one-1" || in.Notification == "" || !strings.HasPrefix(in.ID, outbox.NewID(w.now, [15]byte{})[:12]) {
		t.Fatalf("%+v", w.intents())
	}
	report := func(a command.Attempt) *command.Command {
		return &command.Command{Deliver: &command.Deliver{Attempts: []command.Attempt{a, {Intent: "never", Done: 255}, {Intent: ""}}}}
	}
	left := func() (out outbox.Intent) {
		for _, x := range w.intents() {
			if x.ID == in.ID {
				return x
			}
		}
		return out
	}
	c := report(command.Attempt{Intent: in.ID, Done: uint8(in.Channels)})
	c.Actor = "emp-ada-1"
	w.refused(fault.NotAllowed, c)
	w.ok(report(command.Attempt{Intent: in.ID, Reached: []ident.DeviceID{"device-1"}, Failed: true, NotBefore: w.now + 50_000}))
	if x := left(); x.Attempts != 1 || len(x.Reached) != 1 || x.NotBefore != w.now-1000+50_000 {
		t.Errorf("%+v", x)
	}
	w.ok(report(command.Attempt{Intent: in.ID, Reached: []ident.DeviceID{"device-1"}, NotBefore: 1}))
	if x := left(); x.Attempts != 1 || len(x.Reached) != 1 || x.NotBefore != w.now {
		t.Errorf("put off: %+v", x)
	}
	w.ok(report(command.Attempt{Intent: in.ID, Withdraw: true}))
	if left().ID == "" || w.value(in.Notification, "event") == "" {
		t.Error("withdrawn from somebody who may know")
	}
	w.load(row("clientVisibility", "vis-eng-2", "employee", "emp-eng-2", "mode", "all-but"), row("visibilityRule", "rule-eng-2", "visibility", "vis-eng-2", "client", "client-one"))
	for range 2 {
		w.ok(report(command.Attempt{Intent: in.ID, Withdraw: true}))
		if left().ID != "" || w.value(in.Notification, "event") != "" {
			t.Error("still there")
		}
	}
	w.replayed()
}

// TestTokensOfUndoneWork: a token that a mutation took away stays taken away
// where a later mutation of the same push is undone, in memory as on disk.
func TestTokensOfUndoneWork(t *testing.T) {
	w := ruled(t)
	p := w.addressed("emp-eng-2", "i2", "token-two")
	ada := w.signIn("emp-ada-1", "i9")
	if _, ok := w.address(p.id); !ok {
		t.Fatal("no address")
	}
	res := ada.push(act("employee", "emp-eng-2", "disable", nil), act("employee", "emp-ada-1", "disable", nil))
	want(t, res[0], "applied", "")
	want(t, res[1], "refused", fault.LastAdministrator)
	if a, ok := w.address(p.id); ok {
		t.Errorf("%+v", a)
	}
	w.ok(write("emp-ada-1", command.Write{Op: "action", Type: "employee", ID: "emp-eng-2", Action: "enable"}))
	again := w.login("emp-eng-2", "i2")
	if a, ok := w.address(again.id); ok {
		t.Errorf("a sign-in without a token has one: %+v", a)
	}
	w.replayed()
}

// TestCatchUp: a tenant from before addresses and news were kept has them with
// its first entry.
func TestCatchUp(t *testing.T) {
	w := ruled(t)
	p := w.addressed("emp-eng-1", "i1", "token-one")
	w.load(row("ticket", "ticket-due-1", "client", "client-one", "subject", "Cold", "assignee", "emp-eng-1", "due", (w.now + 10_000_000).RFC3339()))
	due := func() (n int) {
		w.reader(func(rd *state.Reader) {
			rd.KV().Scan(store.Due, nil, func(k, _ []byte) bool {
				if k[8] == 'n' {
					n++
				}
				return true
			})
		})
		return n
	}
	was := due()
	if was != 2 { // near, and past
		t.Fatalf("%d rows wait", was)
	}
	err := w.eng.Update(func(tx store.Writer) error {
		var rows [][2][]byte
		for b, keep := range map[store.Bucket]func(k []byte) bool{
			store.Due:     func(k []byte) bool { return k[8] != 'n' },
			store.Devices: func(k []byte) bool { return k[0] != 'a' && k[0] != 'h' },
			store.Meta:    func(k []byte) bool { return string(k) != "news" },
		} {
			tx.Scan(b, nil, func(k, _ []byte) bool {
				if !keep(k) {
					rows = append(rows, [2][]byte{{byte(b)}, bytes.Clone(k)})
				}
				return true
			})
		}
		for _, r := range rows {
			if err := tx.Delete(store.Bucket(r[0][0]), r[1]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := w.address(p.id); ok || due() != 0 {
		t.Fatal("not as it was before")
	}
	w.ok(&command.Command{Tick: &command.Tick{}})
	if a, ok := w.address(p.id); !ok || a.Token != "token-one" || due() != was {
		t.Errorf("%+v, %d rows wait, want %d", a, due(), was)
	}
	// The token of a phone whose next user signs in goes all the same.
	w.signIn("emp-eng-2", "i1")
	if a, ok := w.address(p.id); ok {
		t.Errorf("%+v", a)
	}
}

// TestNewsAtOnce: as many events as fall due at one instant are all told, a few
// hundred with each entry.
func TestNewsAtOnce(t *testing.T) {
	w := ruled(t)
	at := w.now + 1_000_000
	var rs []command.Row
	for i := range 500 {
		rs = append(rs, row("task", ident.RecordID("task-due-"+strings.Repeat("x", i%7)+ident.NewPrefix([5]byte{byte(i >> 8), byte(i)})), "title", "Call", "assignee", "emp-mgr-1", "due", at.RFC3339()))
	}
	w.load(append(person("emp-sales-1", "sales.manager"), row("roleAssignment", "ra-sales-1", "employee", "emp-mgr-1", "role", "sales.manager"))...)
	w.load(rs...)
	w.now = at
	count := func() (n int) {
		for _, in := range w.intents() {
			if in.Event == "task.due" {
				n++
			}
		}
		return n
	}
	for i, want := range []int{200, 400, 500, 500} {
		w.ok(&command.Command{Tick: &command.Tick{}})
		if n := count(); n != want {
			t.Errorf("after %d entries: %d told, want %d", i+1, n, want)
		}
	}
	w.replayed()
}
