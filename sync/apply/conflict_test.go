package apply_test

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"satchel/internal/command"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/sync/apply"
	"satchel/sync/audit"
	"satchel/sync/state"
	"satchel/sync/wire"
)

// noted is a world where the engineer typed "phone" into a note that the office
// had changed to "office" from nothing, with the conflict's id.
func noted(t *testing.T) (w *world, p *phone, conflict ident.RecordID) {
	t.Helper()
	w = field(t)
	p = w.signIn("emp-eng-1", "i1")
	w.load(row("jobActivity", "act-one-1", "note", "office"))
	r := p.push(patch("jobActivity", "act-one-1", obj("note", "phone"), obj("note", "")))[0]
	want(t, r, wire.Conflict, fault.EditConflict)
	if len(r.Conflicts) != 1 || r.Conflicts[0].Conflict == "" {
		t.Fatalf("%+v", r)
	}
	return w, p, ident.RecordID(r.Conflicts[0].Conflict)
}

func settle(who, id ident.RecordID, action string, args command.Object) *command.Command {
	return write(who, command.Write{Op: "action", Type: "conflict", ID: id, Action: action, Args: args})
}

// trail returns the rows about a record, newest first.
func trail(t *testing.T, w *world, id ident.RecordID) (out []audit.Row) {
	t.Helper()
	w.reader(func(rd *state.Reader) {
		if err := audit.Back(rd.KV(), audit.Last, func(r *audit.Row) bool {
			if r.ID == id {
				out = append(out, *r)
			}
			return true
		}); err != nil {
			t.Fatal(err)
		}
	})
	return out
}

func TestConflictRecord(t *testing.T) {
	w, p, id := noted(t)
	for f, v := range map[string]string{
		"author": "emp-eng-1", "record": "act-one-1", "recordType": "jobActivity", "field": "note", "mine": `"phone"`, "was": "null",
		"device": string(p.id), "status": "Open", "clientId": "client-one", "how": "", "settledBy": "",
	} {
		if got := w.value(id, f); got != v {
			t.Errorf("%s is %q, not %q", f, got, v)
		}
	}
	q := quarantine(w)
	if len(q) != 1 || q[0].Status != wire.Conflict || q[0].Conflicts[0].ID != id || string(q[0].Conflicts[0].Was) != "null" || q[0].Client != "client-one" {
		t.Fatalf("%+v", q)
	}
	// The author's devices carry it, nobody else's do.
	sent, _ := p.sync()
	if !sent[string(id)] {
		t.Error("the author's phone lacks the conflict")
	}
	other := w.signIn("emp-mgr-1", "i2")
	if sent, _ := other.sync(); sent[string(id)] {
		t.Error("the manager's device has the engineer's conflict")
	}
	field := w.login("emp-eng-1", "i3")
	if pg := field.page(w.do(field.pulling(command.Pull{Profile: "field", Limit: 1000}))); !slices.ContainsFunc(pg.Records, func(r wire.Record) bool { return r.ID == string(id) }) {
		t.Error("the field profile lacks the conflict")
	}
	// What is hidden takes the conflict along.
	w.load(row("clientVisibility", "vis-eng-1", "employee", "emp-eng-1", "mode", "all-but"),
		row("visibilityRule", "rule-eng-1", "visibility", "vis-eng-1", "client", "client-one"))
	if _, removed := p.sync(); !removed[string(id)] {
		t.Error("the conflict stays on the phone")
	}
	w.refused(fault.NotFoundCode, settle("emp-eng-1", id, "keep-theirs", nil))
}

// Nobody makes, changes or deletes a conflict by hand.
func TestConflictIsTheCores(t *testing.T) {
	w, p, id := noted(t)
	w.refused(fault.NotAllowed, write("emp-eng-1", command.Write{Op: "create", Type: "conflict", Fields: obj("field", "note")}))
	w.refused(fault.NotAllowed, write("emp-eng-1", command.Write{Op: "patch", Type: "conflict", ID: id, Fields: obj("mine", `"x"`)}))
	w.refused(fault.NotAllowed, write("emp-eng-1", command.Write{Op: "delete", Type: "conflict", ID: id}))
	want(t, p.push(command.Mutation{Op: wire.OpDelete, Type: "conflict", ID: id})[0], wire.Refused, fault.NotAllowed)
}

func TestSettleConflict(t *testing.T) {
	for _, c := range []struct {
		name, action, how, note string
		who                     ident.RecordID
		args                    command.Object
	}{
		{"the author keeps theirs", "keep-theirs", "theirs", "office", "emp-eng-1", nil},
		{"the author keeps mine", "keep-mine", "mine", "phone", "emp-eng-1", nil},
		{"the author writes both", "keep-edited", "edited", "office and phone", "emp-eng-1", obj("value", "office and phone")},
		{"the office keeps mine", "keep-mine", "mine", "phone", "emp-mgr-1", nil},
		{"the office keeps theirs", "keep-theirs", "theirs", "office", "emp-mgr-1", nil},
		{"the office clears it", "keep-edited", "edited", "", "emp-mgr-1", command.Object{"value": json.RawMessage("null")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, _, id := noted(t)
			w.ok(settle(c.who, id, c.action, c.args))
			if got := w.value("act-one-1", "note"); got != c.note {
				t.Errorf("note %q", got)
			}
			if w.value(id, "status") != "Settled" || w.value(id, "how") != c.how || w.value(id, "settledBy") != string(c.who) || w.value(id, "settledAt") == "" {
				t.Errorf("%s %s %s", w.value(id, "status"), w.value(id, "how"), w.value(id, "settledBy"))
			}
			if q := quarantine(w); len(q) != 1 || q[0].Closed == nil || q[0].Closed.How != apply.HowSettled || q[0].Closed.By != c.who || q[0].Conflicts[0].How != c.how {
				t.Errorf("%+v", q)
			}
			if row := trail(t, w, id)[0]; row.Op != audit.Action || row.Name != c.action || row.Actor != c.who {
				t.Errorf("%+v", row)
			}
			if row := trail(t, w, "act-one-1")[0]; c.how != "theirs" && (row.Op != audit.Patch || row.Actor != c.who) {
				t.Errorf("%+v", row)
			}
			// Once is enough.
			for _, a := range []string{"keep-mine", "keep-theirs"} {
				w.refused(fault.WrongStatus, settle(c.who, id, a, nil))
			}
		})
	}
}

// TestSettleConflictRights: what is kept is an edit of the record by whoever
// settles it.
func TestSettleConflictRights(t *testing.T) {
	w, p, id := noted(t)
	w.load(person("emp-gst-1", "service.guest")...)
	w.load(person("emp-blind-1", "service.manager")...)
	w.load(row("clientVisibility", "vis-bld-1", "employee", "emp-blind-1", "mode", "all-but"),
		row("visibilityRule", "rule-bld-1", "visibility", "vis-bld-1", "client", "client-one"))
	never := w.do(settle("emp-gst-1", "never-was-1", "keep-mine", nil)).Err
	for _, who := range []ident.RecordID{"emp-gst-1", "emp-blind-1", "emp-eng-2", "emp-ada-1"} {
		for _, a := range []string{"keep-mine", "keep-theirs", "keep-edited", "no-such-action"} {
			err := w.do(settle(who, id, a, nil)).Err
			if f, n := fault.Of(err), fault.Of(never); f == nil || f.Code != fault.NotFoundCode || f.Message != n.Message {
				t.Errorf("%s %s: %v", who, a, err)
			}
		}
	}
	// Who may not know of the field has no conflict about it.
	w.load(row("individualPermission", "perm-mgr-1", "employee", "emp-mgr-1", "effect", "denial", "verb", "view", "entityType", "jobActivity", "field", "note"))
	w.refused(fault.NotFoundCode, settle("emp-mgr-1", id, "keep-mine", nil))
	// Nor may the author write what they may not write any more; to give their
	// own words up they need nothing.
	w.load(row("individualPermission", "perm-eng-1", "employee", "emp-eng-1", "effect", "denial", "verb", "edit", "entityType", "jobActivity", "field", "note"))
	w.refused(fault.FieldNotAllowed, settle("emp-eng-1", id, "keep-mine", nil))
	want(t, p.push(act("conflict", id, "keep-edited", obj("value", "more words")))[0], wire.Refused, fault.FieldNotAllowed)
	if q := quarantine(w); len(q) != 2 || string(q[1].Mutation.Args["value"]) != `"more words"` {
		t.Fatalf("%+v", q)
	}
	w.ok(settle("emp-eng-1", id, "keep-theirs", nil))
	if w.value("act-one-1", "note") != "office" {
		t.Error("the record has changed")
	}
}

func TestSettleConflictRefusals(t *testing.T) {
	w, p, id := noted(t)
	w.refused(fault.BadParameter, settle("emp-eng-1", id, "archive", nil))
	w.refused(fault.UnknownField, settle("emp-eng-1", id, "keep-mine", obj("value", "x")))
	w.refused(fault.UnknownField, settle("emp-eng-1", id, "keep-edited", obj("value", "x", "more", "y")))
	w.refused(fault.MissingField, settle("emp-eng-1", id, "keep-edited", nil))
	w.refused(fault.BadValue, settle("emp-eng-1", id, "keep-edited", command.Object{"value": json.RawMessage("7")}))
	if w.value(id, "status") != "Open" {
		t.Fatal("a refusal has settled it")
	}
	// A past activity is closed to the engineer: what was typed waits.
	w.load(row("jobActivity", "act-one-1", "status", "Reviewed"))
	if r := p.push(act("conflict", id, "keep-mine", nil))[0]; r.Status != wire.Refused {
		t.Fatalf("%+v", r)
	}
	w.load(row("jobActivity", "act-one-1", "status", "Working"))
	// The record may have changed again: who says mine sees theirs. If-Match is
	// of the conflict.
	var rev string
	w.reader(func(rd *state.Reader) {
		rec, _ := rd.Load(id)
		rev = apply.ConflictRev(rec)
	})
	w.load(row("jobActivity", "act-one-1", "note", "office again"))
	c := settle("emp-mgr-1", id, "keep-mine", nil)
	c.Write.IfMatch = "0000000000000000"
	w.refused(fault.RevMismatch, c)
	c = settle("emp-mgr-1", id, "keep-mine", nil)
	c.Write.IfMatch = rev
	w.ok(c)
	if w.value("act-one-1", "note") != "phone" {
		t.Error("mine was not kept")
	}
}

// A later edit of what is in conflict takes its place: whoever typed it saw
// what they typed over.
func TestConflictSequel(t *testing.T) {
	w, p, id := noted(t)
	r := p.push(patch("jobActivity", "act-one-1", obj("note", "phone, later"), obj("note", "phone")))[0]
	want(t, r, wire.Conflict, fault.EditConflict)
	if r.Conflicts[0].Conflict != string(id) || w.value(id, "mine") != `"phone, later"` || w.value(id, "was") != "null" {
		t.Fatalf("%+v, mine %s", r, w.value(id, "mine"))
	}
	if ids := w.referring("conflict", "record", "act-one-1"); len(ids) != 1 {
		t.Fatalf("conflicts %v", ids)
	}
	q := quarantine(w)
	if len(q) != 2 || q[0].Closed == nil || q[1].Closed != nil || string(q[1].Conflicts[0].Was) != "null" {
		t.Fatalf("%+v", q)
	}
	// What was typed over something else is a conflict of its own.
	want(t, p.push(patch("jobActivity", "act-one-1", obj("note", "phone, unaware"), obj("note", "before")))[0], wire.Conflict, fault.EditConflict)
	if ids := w.referring("conflict", "record", "act-one-1"); len(ids) != 2 || w.value(id, "mine") != `"phone, later"` {
		t.Fatalf("conflicts %v", ids)
	}
	// Another phone's edit is no sequel, even if it was typed over the same.
	other := w.login("emp-eng-1", "i2")
	want(t, other.push(patch("jobActivity", "act-one-1", obj("note", "tablet"), obj("note", "phone, later")))[0], wire.Conflict, fault.EditConflict)
	if ids := w.referring("conflict", "record", "act-one-1"); len(ids) != 3 {
		t.Fatalf("conflicts %v", ids)
	}
	w.ok(settle("emp-eng-1", id, "keep-mine", nil))
	if w.value("act-one-1", "note") != "phone, later" {
		t.Error("the later words are lost")
	}
	for _, x := range quarantine(w)[:2] {
		if x.Closed == nil {
			t.Errorf("%+v", x)
		}
	}
}

// What was typed over something of one's own that was refused is a conflict.
func TestTypedOverRefused(t *testing.T) {
	w := field(t)
	p := w.signIn("emp-mgr-1", "i1")
	odd := patch("job", "job-one-1", command.Object{"priority": json.RawMessage(`"soonish"`)}, obj("priority", ""))
	want(t, p.push(odd)[0], wire.Refused, fault.BadValue)
	w.load(row("job", "job-one-1", "priority", "low"))
	next := patch("job", "job-one-1", obj("priority", "urgent"), obj("priority", "soonish"))
	r := p.push(next)[0]
	if len(r.Conflicts) != 1 || string(r.Conflicts[0].Theirs) != `"low"` {
		t.Fatalf("%+v", r)
	}
	// Where the record has that value anyway there is nothing to settle.
	want(t, p.push(patch("job", "job-one-1", obj("priority", "low"), obj("priority", "soonish")))[0], wire.Applied, "")
}

// The record may be deleted while a conflict is open; the words stay.
func TestConflictOutlivedByItsWords(t *testing.T) {
	w := field(t)
	p := w.signIn("emp-mgr-1", "i1")
	w.load(row("site", "site-one-1", "client", "client-one", "name", "HQ"))
	r := p.push(patch("site", "site-one-1", obj("name", "Typed"), obj("name", "Old")))[0]
	want(t, r, wire.Conflict, fault.EditConflict)
	id := ident.RecordID(r.Conflicts[0].Conflict)
	p.sync()
	w.load(person("emp-mgr-2", "service.manager")...)
	w.ok(write("emp-mgr-2", command.Write{Op: "delete", Type: "site", ID: "site-one-1"}))
	if _, removed := p.sync(); !removed[string(id)] {
		t.Error("the conflict stays")
	}
	q := quarantine(w)
	if len(q) != 1 || q[0].Closed != nil || string(q[0].Mutation.Fields["name"]) != `"Typed"` {
		t.Fatalf("%+v", q)
	}
	// There is nothing left to keep it in; it can be given up.
	res := w.ok(&command.Command{Actor: "emp-ada-1", Replay: &command.Replay{Bundle: q[0].Bundle()}})
	if res.Replay.Done || res.Replay.Results[0].Code != string(fault.NotFoundCode) {
		t.Fatalf("%+v", res.Replay)
	}
	w.ok(&command.Command{Actor: "emp-ada-1", Discard: &command.Discard{Bundle: q[0].Bundle(), Reason: "The site is gone"}})
	if q := quarantine(w); q[0].Closed == nil || q[0].Closed.How != apply.HowDiscarded {
		t.Fatalf("%+v", q)
	}
}

// Settled conflicts leave after a while, open ones do not.
func TestConflictsAreSwept(t *testing.T) {
	w, p, id := noted(t)
	open := p.push(patch("jobActivity", "act-one-1", obj("workDone", "typed"), obj("workDone", "before")))[0]
	want(t, open, wire.Conflict, fault.EditConflict)
	w.ok(settle("emp-eng-1", id, "keep-mine", nil))
	p.sync()
	later := func(d time.Duration) {
		w.now += ident.Millis(d.Milliseconds())
		w.ok(&command.Command{Tick: &command.Tick{}})
	}
	later(31 * 24 * time.Hour)
	if w.value(id, "status") != "" || w.value(ident.RecordID(open.Conflicts[0].Conflict), "status") != "Open" || len(quarantine(w)) != 2 {
		t.Fatalf("%q, %d kept", w.value(id, "status"), len(quarantine(w)))
	}
	later(60 * 24 * time.Hour)
	if q := quarantine(w); len(q) != 1 || q[0].Closed != nil {
		t.Fatalf("%+v", q)
	}
}
