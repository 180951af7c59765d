package apply_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"satchel/internal/command"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/sync/apply"
	"satchel/sync/state"
	"satchel/sync/store"
)

const days ident.Millis = 24 * 60 * 60 * 1000

func (w *world) tick() { w.ok(&command.Command{Tick: &command.Tick{}}) }

// notes returns the notifications there are for somebody.
func (w *world) notes(who ident.RecordID) []ident.RecordID {
	return w.referring("notification", "recipient", who)
}

// aged counts the rows by which notifications and invitations are swept.
func (w *world) aged() (n int) {
	w.reader(func(rd *state.Reader) {
		for _, kind := range []byte{'u', 'r'} {
			store.ScanPrefix(rd.KV(), store.Outbox, []byte{kind}, func(_, _ []byte) bool { n++; return true })
		}
		store.ScanPrefix(rd.KV(), store.Sessions, []byte{'x'}, func(_, _ []byte) bool { n++; return true })
	})
	return n
}

// TestNotificationsLeave: notifications go 30 days after they were read, or 180
// days after they were made, and leave the phones that have them.
func TestNotificationsLeave(t *testing.T) {
	w := ruled(t)
	p := w.signIn("emp-eng-2", "i1")
	w.ok(w.assign("act-one-1", "emp-eng-2"))
	w.ok(w.assign("act-two-1", "emp-eng-2"))
	notes := w.notes("emp-eng-2")
	if len(notes) != 2 {
		t.Fatalf("%v", notes)
	}
	start := w.now
	if sent, _ := p.sync(); !sent[string(notes[0])] || !sent[string(notes[1])] {
		t.Fatal("the phone lacks them")
	}
	w.now = start + 10*days
	w.ok(write("emp-eng-2", command.Write{Op: "action", Type: "notification", ID: notes[0], Action: "read"}))
	read := w.now
	w.now = read + 30*days - 1001
	w.tick()
	if len(w.notes("emp-eng-2")) != 2 {
		t.Fatal("gone a moment early")
	}
	w.tick()
	if left := w.notes("emp-eng-2"); !slices.Equal(left, notes[1:]) {
		t.Fatalf("%v", left)
	}
	// Sessions don't last as long; the device is the same one.
	again := func() (removed map[string]bool) {
		cp := p.cp
		p = w.login("emp-eng-2", "i1")
		p.cp = cp
		_, removed = p.sync()
		return removed
	}
	if removed := again(); !removed[string(notes[0])] || removed[string(notes[1])] {
		t.Errorf("the phone is told that %v are gone", removed)
	}
	w.now = start + 180*days - 2000
	w.tick()
	if len(w.notes("emp-eng-2")) != 1 {
		t.Error("gone a moment early")
	}
	w.tick()
	if left := w.notes("emp-eng-2"); len(left) != 0 {
		t.Errorf("%v", left)
	}
	if removed := again(); !removed[string(notes[1])] {
		t.Error("it stays on the phone")
	}
	w.replayed()
}

// TestNotificationsKeptAsChosen: a tenant chooses other times, which count for
// what is there.
func TestNotificationsKeptAsChosen(t *testing.T) {
	w := ruled(t)
	w.ok(w.assign("act-one-1", "emp-eng-2"))
	w.ok(w.assign("act-two-1", "emp-eng-2"))
	notes := w.notes("emp-eng-2")
	w.ok(write("emp-eng-2", command.Write{Op: "action", Type: "notification", ID: notes[0], Action: "read"}))
	set := func(key string, on string, n string) *command.Command {
		return write("emp-ada-1", command.Write{Op: "create", Type: "setting", Fields: command.Object{"key": []byte(`"` + key + `"`), "on": []byte(on), "days": []byte(n)}})
	}
	for _, bad := range []string{"0", "-1", "1.5", "4000", "100000000000"} {
		w.refused(fault.BadValue, set("read-notifications-kept", "true", bad))
	}
	w.refused(fault.BadValue, set("guest-agent-own-jobs", "true", "3"))
	w.ok(set("read-notifications-kept", "true", "60"))
	w.ok(set("unread-notifications-kept", "false", "2"))
	w.now += 59 * days
	w.tick()
	if left := w.notes("emp-eng-2"); len(left) != 2 {
		t.Fatalf("%v", left)
	}
	for _, id := range w.all("setting") {
		if w.value(id, "key") == "unread-notifications-kept" {
			w.ok(write("emp-ada-1", command.Write{Op: "patch", Type: "setting", ID: id, Fields: command.Object{"on": []byte("true")}}))
		}
	}
	w.tick()
	if left := w.notes("emp-eng-2"); !slices.Equal(left, notes[:1]) {
		t.Errorf("%v, want the one that was read", left)
	}
	w.now += days
	w.tick()
	if left := w.notes("emp-eng-2"); len(left) != 0 {
		t.Errorf("%v", left)
	}
	if n := w.aged(); n != 0 {
		t.Errorf("%d rows left behind", n)
	}
	w.replayed()
}

func (w *world) all(typ string) (out []ident.RecordID) {
	w.reader(func(rd *state.Reader) {
		for o := range rd.Index(state.TypeKey(w.cat.Type(typ).No)).All() {
			_, id := rd.Name(o)
			out = append(out, id)
		}
	})
	return out
}

// TestSweptLittleByLittle: many notifications of one age go with several
// entries, those of earlier versions too.
func TestSweptLittleByLittle(t *testing.T) {
	w := ruled(t)
	var rs []command.Row
	for i := range 1300 {
		rs = append(rs, row("notification", ident.RecordID(fmt.Sprintf("note-old-%d", i)), "recipient", "emp-eng-2", "event", "task.due", "text", "Look"))
	}
	for len(rs) > 0 {
		n := min(200, len(rs))
		w.load(rs[:n]...)
		rs = rs[n:]
	}
	// As earlier versions left it.
	err := w.eng.Update(func(tx store.Writer) error {
		for _, kind := range []byte{'u', 'r'} {
			var rows [][]byte
			store.ScanPrefix(tx, store.Outbox, []byte{kind}, func(k, _ []byte) bool { rows = append(rows, bytes.Clone(k)); return true })
			for _, k := range rows {
				if err := tx.Delete(store.Outbox, k); err != nil {
					return err
				}
			}
		}
		return tx.Delete(store.Meta, []byte("ages"))
	})
	if err != nil || w.aged() != 0 {
		t.Fatal(err, w.aged())
	}
	for _, want := range []int{500, 1000, 1300, 1300} {
		w.tick()
		if n := w.aged(); n != want {
			t.Errorf("%d rows, want %d", n, want)
		}
	}
	w.now += 181 * days
	left := len(w.notes("emp-eng-2"))
	for entries := 0; left > 0; entries++ {
		w.tick()
		now := len(w.notes("emp-eng-2"))
		if left-now > 64 || now == left || entries > 40 {
			t.Fatalf("%d of %d go with one entry", left-now, left)
		}
		left = now
	}
	if n := w.aged(); n != 0 {
		t.Errorf("%d rows left behind", n)
	}
}

// TestInvitationsLeave: invitations and resets go 30 days after they are over,
// whatever became of them.
func TestInvitationsLeave(t *testing.T) {
	w := field(t)
	invite := func(who ident.RecordID, tok string, reset bool) {
		c := &command.Command{Invite: &command.Invite{Employee: who, Digest: token(tok), Reset: reset}}
		w.ok(c)
	}
	w.ok(&command.Command{Secret: &command.Secret{Employee: "emp-eng-1", Hash: "h"}})
	invite("emp-eng-1", "a", false)
	invite("emp-eng-1", "b", false) // takes the place of the first
	invite("emp-eng-1", "c", true)
	invite("emp-eng-2", "d", false)
	w.ok(&command.Command{Accept: &command.Accept{Digest: token("d"), Hash: "x"}})
	rows := func() (n int) {
		w.reader(func(rd *state.Reader) {
			for _, kind := range []byte{'i', 'v', 'w'} {
				store.ScanPrefix(rd.KV(), store.Sessions, []byte{kind}, func(_, _ []byte) bool { n++; return true })
			}
		})
		return n
	}
	if n := rows(); n != 4 {
		t.Fatalf("%d rows", n)
	}
	w.now += apply.InvitationLifetime + 29*days
	w.tick()
	if n := rows(); n != 4-2 { // the reset was over long before
		t.Errorf("%d rows", n)
	}
	invite("emp-eng-2", "e", false)
	w.now += 2 * days
	w.tick()
	if n := rows(); n != 2 {
		t.Errorf("%d rows, want those of the newest", n)
	}
	w.now += 60 * days
	w.tick()
	if n := rows() + w.aged(); n != 0 {
		t.Errorf("%d rows left behind", n)
	}
	w.replayed()
}

// TestBounces: what is reported counts by the log alone, is told to the person,
// and leaves nothing behind.
func TestBounces(t *testing.T) {
	w := ruled(t)
	report := func(bs ...command.Bounce) *command.Command {
		return &command.Command{Deliver: &command.Deliver{Bounces: bs}}
	}
	soft := func(mail string) command.Bounce {
		return command.Bounce{Person: "emp-eng-1", Address: apply.AddressDigest("emp-eng-1@EXAMPLE.com"), Mail: mail}
	}
	c := report(soft("x"))
	c.Actor = "emp-ada-1"
	w.refused(fault.NotAllowed, c)
	w.ok(report(soft("1"), soft("1"), soft("2"), soft("3"), soft("4"), soft(string(make([]byte, 100)))))
	if w.value("emp-eng-1", "mailStatus") != "" {
		t.Fatal("four are too many")
	}
	rows := func() (n int) {
		w.reader(func(rd *state.Reader) {
			for _, kind := range []byte{'b', 'c'} {
				store.ScanPrefix(rd.KV(), store.Outbox, []byte{kind}, func(_, _ []byte) bool { n++; return true })
			}
		})
		return n
	}
	w.now += 8 * days
	w.tick()
	if n := rows(); n != 0 {
		t.Errorf("%d rows left behind", n)
	}
	w.ok(report(soft("5"), soft("6"), soft("7"), soft("8")))
	if w.value("emp-eng-1", "mailStatus") != "" {
		t.Error("what came back last week counts")
	}
	w.ok(report(soft("9"), soft("9")))
	if w.value("emp-eng-1", "mailStatus") != "refused" || w.value("emp-eng-1", "mailRefusedAt") != w.now.RFC3339() {
		t.Error("five are not enough")
	}
	if n := w.notes("emp-eng-1"); len(n) != 1 || w.value(n[0], "event") != "mail.refused" {
		t.Errorf("told %v", n)
	}
	if tr := trail(t, w, "emp-eng-1"); len(tr) == 0 || tr[0].Actor != "" {
		t.Errorf("%+v", tr)
	}
	since := w.value("emp-eng-1", "mailRefusedAt")
	hard := soft("10")
	hard.Permanent = true
	w.ok(report(hard))
	if w.value("emp-eng-1", "mailRefusedAt") != since || len(w.notes("emp-eng-1")) != 1 {
		t.Error("it is told again")
	}
	confirm := func(who ident.RecordID, address string) {
		w.ok(write(who, command.Write{Op: "create", Type: "preference", Fields: obj("key", "mail-address", "value", address)}))
	}
	confirm("emp-eng-1", "another@example.com")
	confirm("emp-mgr-1", "emp-eng-1@example.com")
	for _, who := range []ident.RecordID{"emp-mgr-1", "emp-eng-1"} {
		w.refused(fault.NotAllowed, write(who, command.Write{Op: "action", Type: "employee", ID: "emp-eng-1", Action: "confirm-mail"}))
	}
	if w.value("emp-eng-1", "mailStatus") != "refused" {
		t.Error("confirmed by another address, or by another person")
	}
	confirm("emp-eng-1", "Emp-Eng-1@example.com")
	if w.value("emp-eng-1", "mailStatus") != "" {
		t.Error("still refused")
	}
	w.ok(report(hard))
	if w.value("emp-eng-1", "mailStatus") != "refused" {
		t.Error("the next hard one does not count")
	}
	w.now += 30 * days
	w.tick()
	if n := rows(); n != 0 {
		t.Errorf("%d rows left behind", n)
	}
	w.replayed()
}

// TestConflictSettled: who typed it is told that somebody else has settled it,
// and nothing of how.
func TestConflictSettled(t *testing.T) {
	for _, x := range []struct {
		by   ident.RecordID
		told int
	}{{"emp-mgr-1", 1}, {"emp-eng-1", 0}} {
		w := ruled(t)
		p := w.signIn("emp-eng-1", "i1")
		w.load(row("jobActivity", "act-one-1", "note", "office"))
		r := p.push(patch("jobActivity", "act-one-1", obj("note", "phone"), obj("note", "")))[0]
		w.ok(settle(x.by, ident.RecordID(r.Conflicts[0].Conflict), "keep-theirs", nil))
		n := 0
		for _, id := range w.notes("emp-eng-1") {
			if w.value(id, "event") == "conflict.settled" {
				n++
				if w.value(id, "about") != r.Conflicts[0].Conflict {
					t.Errorf("about %q", w.value(id, "about"))
				}
			}
		}
		if n != x.told {
			t.Errorf("settled by %s: told %d times, want %d", x.by, n, x.told)
		}
		w.replayed()
	}
}
