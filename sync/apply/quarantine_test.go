package apply_test

import (
	"bytes"
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

// desk is field with emp-boss-1, who runs the tenant and manages Service, so
// that they may replay what engineers did.
func desk(t *testing.T) (*world, *phone) {
	t.Helper()
	w := field(t)
	w.load(person("emp-boss-1", "level.customer-administrator", "service.manager")...)
	return w, w.signIn("emp-eng-1", "i1")
}

func (p *phone) new(s string) ident.RecordID { return ident.RecordID(p.pre + s) }

func replay(who ident.RecordID, b command.Bundle, fixed map[uint64]command.Object) *command.Command {
	return &command.Command{Actor: who, Replay: &command.Replay{Bundle: b, Fields: fixed}}
}

func made(typ string, id ident.RecordID, kv ...string) command.Mutation {
	return command.Mutation{Op: wire.OpCreate, Type: typ, ID: id, Fields: obj(kv...)}
}

// states renders the results of a replay.
func states(r *apply.Replayed) (out []string) {
	for _, x := range r.Results {
		out = append(out, x.Status+x.Code)
	}
	return out
}

// TestBundle: whatever builds on refused work, by whatever chain, is kept with
// it; the rest goes on.
func TestBundle(t *testing.T) {
	_, p := desk(t)
	w := p.w
	entry, other := p.new("entry"), p.new("other")
	res := p.push(
		made("timeEntry", entry, "activity", "act-one-1"),                     // 1: start is missing
		patch("timeEntry", entry, obj("note", "later"), obj("note", "")),      // 2: the later edit of a refused create
		made("comment", p.new("said"), "parent", "act-one-1", "text", "fine"), // 3: goes on
		made("comment", p.new("onit"), "parent", string(entry), "text", "on it"),
		made("timeEntry", other, "activity", "act-two-1"), // 5: another bundle begins
		command.Mutation{Op: wire.OpAction, Type: "jobActivity", ID: "act-one-1", Action: "accept", After: []uint64{2}},
		command.Mutation{Op: wire.OpAction, Type: "jobActivity", ID: "act-two-1", Action: "resume"}, // 7: not paused
		made("comment", p.new("both"), "parent", string(other), "text", "of both"),
		command.Mutation{Op: wire.OpPatch, Type: "comment", ID: p.new("both"), Fields: obj("text", string(entry)), Was: obj("text", ""), After: []uint64{4, 8}},
	)
	for i, x := range []string{
		"refusedmissing_field", "refuseddepends_on", "applied", "refuseddepends_on", "refusedmissing_field",
		"refuseddepends_on", "refusedwrong_status", "refuseddepends_on", "refuseddepends_on",
	} {
		if got := res[i].Status + res[i].Code; got != x {
			t.Errorf("%d is %s, not %s", i+1, got, x)
		}
	}
	roots := map[uint64]uint64{}
	for _, q := range quarantine(w) {
		roots[q.Mutation.N] = q.Root
		if q.Client != "client-one" && q.Mutation.N < 5 {
			t.Errorf("%d is of client %q", q.Mutation.N, q.Client)
		}
	}
	// 9 builds on both bundles, which become one; 7 stands alone.
	if want := map[uint64]uint64{1: 1, 2: 1, 4: 1, 5: 1, 6: 1, 7: 7, 8: 1, 9: 1}; !equalRoots(roots, want) {
		t.Errorf("roots %v, want %v", roots, want)
	}
	if q := quarantine(w); q[5].Mutation.Action != "resume" {
		t.Errorf("%+v", q[5])
	}
}

func equalRoots(a, b map[uint64]uint64) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if b[k] != v {
			return false
		}
	}
	return true
}

// An id in a text is no reference.
func TestTextIsNoReference(t *testing.T) {
	_, p := desk(t)
	id := p.new("aaaa")
	res := p.push(made("timeEntry", id, "activity", "act-one-1"),
		made("comment", p.new("bbbb"), "parent", "act-one-1", "text", `as in "`+string(id)+`"`),
		made("comment", p.new("cccc"), "parent", "act-one-1", "text", "see "+string(id)))
	want(t, res[0], wire.Refused, fault.MissingField)
	want(t, res[1], wire.Applied, "")
	want(t, res[2], wire.Applied, "")
}

func TestReplayBundle(t *testing.T) {
	w, p := desk(t)
	entry := p.new("entry")
	p.push(
		made("timeEntry", entry, "activity", "act-one-1", "note", "three hours"),
		patch("timeEntry", entry, obj("note", "four hours"), obj("note", "three hours")),
		made("comment", p.new("said"), "parent", "act-two-1", "text", "of another", "more", "x"),
	)
	b := command.Bundle{Device: p.id, Root: 1}
	// As it is it can't be done; nothing is.
	res := w.ok(replay("emp-boss-1", b, nil)).Replay
	if res.Done || !slices.Equal(states(res), []string{"refusedmissing_field"}) || res.Results[0].Field != "start" {
		t.Fatalf("%+v", res)
	}
	fixed := map[uint64]command.Object{1: obj("start", "2023-11-20T09:00:00Z")}
	for _, who := range []ident.RecordID{"emp-mgr-1", "emp-eng-1", "emp-eng-2", "emp-blind-9"} {
		if who == "emp-blind-9" {
			w.load(person(who, "level.customer-administrator")...)
			w.load(row("clientVisibility", "vis-bld-1", "employee", string(who), "mode", "all-but"),
				row("visibilityRule", "rule-bld-1", "visibility", "vis-bld-1", "client", "client-one"))
			w.refused(fault.NotFoundCode, replay(who, b, fixed))
			w.refused(fault.NotFoundCode, &command.Command{Actor: who, Discard: &command.Discard{Bundle: b, Reason: "x"}})
			continue
		}
		w.refused(fault.NotAllowed, replay(who, b, fixed))
		w.refused(fault.NotAllowed, &command.Command{Actor: who, Discard: &command.Discard{Bundle: b, Reason: "x"}})
	}
	// Who replays must be allowed to do it.
	if res := w.ok(replay("emp-ada-1", b, fixed)).Replay; res.Done || res.Results[0].Code != string(fault.NotAllowed) {
		t.Fatalf("%+v", res)
	}
	w.refused(fault.NotFoundCode, replay("emp-boss-1", command.Bundle{Device: p.id, Root: 9}, nil))
	w.refused(fault.BadParameter, replay("emp-boss-1", b, map[uint64]command.Object{3: obj("text", "y")}))
	if w.value(entry, "note") != "" {
		t.Fatal("a refused replay has left something")
	}
	// The author may have lost the client meanwhile.
	w.load(row("clientVisibility", "vis-eng-1", "employee", "emp-eng-1", "mode", "all-but"),
		row("visibilityRule", "rule-eng-1", "visibility", "vis-eng-1", "client", "client-one"))
	c := replay("emp-boss-1", b, fixed)
	c.Replay.Key, c.Replay.KeyHash = "once", []byte("h")
	res = w.ok(c).Replay
	if !res.Done || !slices.Equal(states(res), []string{"applied", "applied"}) || res.Results[0].ID != entry {
		t.Fatalf("%+v", res)
	}
	if w.value(entry, "note") != "four hours" || w.value(entry, "employee") != "emp-eng-1" || w.value(entry, "createdBy") != "emp-boss-1" {
		t.Errorf("%s by %s, made by %s", w.value(entry, "note"), w.value(entry, "employee"), w.value(entry, "createdBy"))
	}
	rows := trail(t, w, entry)
	if len(rows) != 2 || rows[0].Actor != "emp-boss-1" || rows[0].For != "emp-eng-1" || rows[1].Op != audit.Create {
		t.Errorf("%+v", rows)
	}
	if row := trail(t, w, "emp-eng-1")[0]; row.Op != audit.Replayed || row.Actor != "emp-boss-1" || row.For != "emp-eng-1" || row.Name != apply.BundleID(b) || row.Client != "client-one" {
		t.Errorf("%+v", row)
	}
	// Once is enough; the same request again has the same answer.
	again := replay("emp-boss-1", b, fixed)
	again.Replay.Key, again.Replay.KeyHash = "once", []byte("h")
	if r := w.ok(again); !r.Replayed || !r.Replay.Done || len(r.Replay.Results) != 2 {
		t.Errorf("%+v", r)
	}
	w.refused(fault.WrongStatus, replay("emp-boss-1", b, fixed))
	for _, q := range quarantine(w) {
		if (q.Closed != nil) != (q.Root == 1) || (q.Closed != nil && (q.Closed.How != apply.HowReplayed || q.Closed.By != "emp-boss-1")) {
			t.Errorf("%+v", q)
		}
	}
	// As long as the client is hidden from the author, nothing tells them that it
	// was done. After that what the phone does to it depends on nothing; what it
	// did then has the same outcome as ever.
	want(t, p.push(patch("timeEntry", entry, obj("note", "blind"), obj("note", "four hours")))[0], wire.Refused, fault.DependsOn)
	w.ok(write("emp-ada-1", command.Write{Op: "delete", Type: "visibilityRule", ID: "rule-eng-1"}))
	w.load(row("jobActivity", "act-one-1", "assignee", "emp-eng-1", "status", "Accepted"))
	want(t, p.push(patch("timeEntry", entry, obj("note", "five hours"), obj("note", "four hours")))[0], wire.Applied, "")
	old := patch("timeEntry", entry, obj("note", "four hours"), obj("note", "three hours"))
	old.N = 2
	want(t, p.push(old)[0], wire.Refused, fault.DependsOn)
}

// A bundle is done whole or not at all, and in its order.
func TestReplayIsWhole(t *testing.T) {
	w, p := desk(t)
	entry := p.new("entry")
	p.push(
		made("timeEntry", entry, "activity", "act-one-1"),
		command.Mutation{Op: wire.OpAction, Type: "jobActivity", ID: "act-one-1", Action: "accept", After: []uint64{1}},
		command.Mutation{Op: wire.OpAction, Type: "jobActivity", ID: "act-one-1", Action: "resume", After: []uint64{1}},
	)
	b := command.Bundle{Device: p.id, Root: 1}
	res := w.ok(replay("emp-boss-1", b, map[uint64]command.Object{1: obj("start", "2023-11-20T09:00:00Z")})).Replay
	if res.Done || !slices.Equal(states(res), []string{"applied", "applied", "refusedwrong_status"}) || res.Results[0].Rev != "" {
		t.Fatalf("%+v", res)
	}
	if w.value(entry, "activity") != "" || w.value("act-one-1", "status") != "Assigned" {
		t.Fatal("half of it was done")
	}
	if q := quarantine(w); len(q) != 3 || q[0].Closed != nil {
		t.Fatalf("%+v", q)
	}
	w.refused(fault.MissingField, &command.Command{Actor: "emp-boss-1", Discard: &command.Discard{Bundle: b}})
	w.ok(&command.Command{Actor: "emp-ada-1", Discard: &command.Discard{Bundle: b, Reason: "Done by phone"}})
	w.refused(fault.WrongStatus, &command.Command{Actor: "emp-ada-1", Discard: &command.Discard{Bundle: b, Reason: "Done by phone"}})
	w.refused(fault.WrongStatus, replay("emp-boss-1", b, nil))
	if row := trail(t, w, "emp-eng-1")[0]; row.Op != audit.Discarded || row.Name != apply.BundleID(b)+": Done by phone" || row.Actor != "emp-ada-1" {
		t.Errorf("%+v", row)
	}
	// What builds on it later is refused all the same, in a bundle of its own.
	want(t, p.push(patch("timeEntry", entry, obj("note", "x"), obj("note", "")))[0], wire.Refused, fault.DependsOn)
	if q := quarantine(w); len(q) != 4 || q[3].Root != 4 || q[3].Closed != nil {
		t.Fatalf("%+v", q)
	}
}

// An id that can't be used is exchanged, wherever the bundle names it.
func TestReplayUnderAnotherID(t *testing.T) {
	w, p := desk(t)
	q := w.signIn("emp-eng-2", "i2")
	theirs := q.new("entry")
	p.push(
		made("timeEntry", theirs, "activity", "act-one-1", "start", "2023-11-20T09:00:00Z", "note", "mine"),
		made("comment", p.new("said"), "parent", string(theirs), "text", "on it"),
		patch("timeEntry", theirs, obj("note", "still mine"), obj("note", "mine")),
	)
	for _, x := range quarantine(w) {
		if x.Root != 1 {
			t.Fatalf("%+v", x)
		}
	}
	// Comments hang on no time entries; the rest can be done.
	res := w.ok(replay("emp-boss-1", command.Bundle{Device: p.id, Root: 1}, map[uint64]command.Object{2: obj("parent", "act-one-1")})).Replay
	if !res.Done {
		t.Fatalf("%+v", res)
	}
	id := res.Results[0].ID
	if id == theirs || res.Results[2].ID != id || w.value(id, "note") != "still mine" || w.value(theirs, "note") != "" {
		t.Fatalf("%+v", res)
	}
}

// A replay merges like a push, and overwrites only what was corrected.
func TestReplayMerges(t *testing.T) {
	w, p := desk(t)
	w.load(row("jobActivity", "act-one-1", "note", "before"))
	w.load(row("clientVisibility", "vis-eng-1", "employee", "emp-eng-1", "mode", "all-but"),
		row("visibilityRule", "rule-eng-1", "visibility", "vis-eng-1", "client", "client-one"))
	want(t, p.push(patch("jobActivity", "act-one-1", obj("note", "typed", "workDone", "done"), obj("note", "before", "workDone", "")))[0], wire.Refused, fault.NotFoundCode)
	w.load(row("jobActivity", "act-one-1", "note", "office"))
	b := command.Bundle{Device: p.id, Root: 1}
	res := w.ok(replay("emp-boss-1", b, nil)).Replay
	if res.Done || res.Results[0].Status != wire.Conflict || string(res.Results[0].Conflicts[0].Theirs) != `"office"` {
		t.Fatalf("%+v", res)
	}
	if w.value("act-one-1", "workDone") != "" {
		t.Fatal("half of it was done")
	}
	res = w.ok(replay("emp-boss-1", b, map[uint64]command.Object{1: obj("note", "office; typed")})).Replay
	if !res.Done || w.value("act-one-1", "note") != "office; typed" || w.value("act-one-1", "workDone") != "done" {
		t.Fatalf("%+v", res)
	}
}

// Conflicts can be settled out of the quarantine.
func TestReplayConflict(t *testing.T) {
	for _, c := range []struct {
		fixed command.Object
		note  string
	}{{nil, "phone"}, {obj("note", "both"), "both"}} {
		w, p, id := noted(t)
		w.load(person("emp-boss-1", "level.customer-administrator", "service.manager")...)
		b := command.Bundle{Device: p.id, Root: 1}
		if res := w.ok(replay("emp-boss-1", b, map[uint64]command.Object{1: obj("workDone", "x")})).Replay; res.Done || res.Results[0].Code != string(fault.BadParameter) {
			t.Fatalf("%+v", res)
		}
		res := w.ok(replay("emp-boss-1", b, map[uint64]command.Object{1: c.fixed})).Replay
		if !res.Done || w.value("act-one-1", "note") != c.note || w.value(id, "status") != "Settled" || w.value(id, "settledBy") != "emp-boss-1" {
			t.Fatalf("%+v: %s", res, w.value("act-one-1", "note"))
		}
		if q := quarantine(w); q[0].Closed == nil {
			t.Fatalf("%+v", q)
		}
	}
	w, p, id := noted(t)
	w.ok(&command.Command{Actor: "emp-ada-1", Discard: &command.Discard{Bundle: command.Bundle{Device: p.id, Root: 1}, Reason: "Old"}})
	if w.value("act-one-1", "note") != "office" || w.value(id, "how") != "theirs" || quarantine(w)[0].Closed.How == "" {
		t.Fatal("discarded wrongly")
	}
}

// What can't be read as a mutation can be put right, too.
func TestReplayUnreadable(t *testing.T) {
	w, p := desk(t)
	m := made("timeEntry", p.new("entry"), "activity", "act-one-1", "start", "2023-11-20T09:00:00Z", "colour", "red")
	m.Refuse, m.RefuseText = fault.UnknownField, "There is no such member."
	want(t, p.push(m)[0], wire.Refused, fault.UnknownField)
	b := command.Bundle{Device: p.id, Root: 1}
	if res := w.ok(replay("emp-boss-1", b, nil)).Replay; res.Done || res.Results[0].Field != "colour" {
		t.Fatalf("%+v", res)
	}
	if res := w.ok(replay("emp-boss-1", b, map[uint64]command.Object{1: {"colour": json.RawMessage("null")}})).Replay; !res.Done {
		t.Fatalf("%+v", res)
	}
}

func TestEraseQuarantine(t *testing.T) {
	w, p, _ := noted(t)
	secret := made("timeEntry", p.new("entry"), "activity", "act-one-1", "note", "my secret")
	want(t, p.push(secret)[0], wire.Refused, fault.MissingField)
	other := w.signIn("emp-eng-2", "i2")
	want(t, other.push(made("timeEntry", other.new("entry"), "activity", "act-one-1", "note", "their secret"))[0], wire.Refused, fault.BadReference)
	snap, err := w.eng.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer snap.Close()
	sw := state.NewWriter(w.cat)
	sw.Begin(snap, 1000, w.now)
	if n := apply.EraseQuarantine(sw, func(q *apply.Quarantined) bool { return q.Author == "emp-eng-1" }); n != 2 {
		t.Errorf("%d erased", n)
	}
	if n := apply.EraseQuarantine(sw, func(q *apply.Quarantined) bool { return q.Author == "emp-eng-1" }); n != 0 {
		t.Errorf("%d erased again", n)
	}
	var left []byte
	apply.EachQuarantined(&sw.Reader, func(q apply.Quarantined) bool {
		b, _ := json.Marshal(q)
		left = append(left, b...)
		if q.Author == "emp-eng-1" && (!q.Erased || q.Mutation.Op == "" || q.Mutation.N == 0) {
			t.Errorf("%+v", q)
		}
		return true
	})
	for _, s := range []string{"my secret", `\"phone\"`, `"phone"`} {
		if bytes.Contains(left, []byte(s)) {
			t.Errorf("%s is left: %s", s, left)
		}
	}
	if !bytes.Contains(left, []byte("their secret")) {
		t.Error("somebody else's work went with it")
	}
}

// TestBundleIDs: names in addresses are read back, and nothing else is.
func TestBundleIDs(t *testing.T) {
	b := command.Bundle{Device: "rabcdefgh", Root: 12}
	if got, ok := apply.ParseBundleID(apply.BundleID(b)); !ok || got != b {
		t.Errorf("%+v", got)
	}
	for _, s := range []string{"", ".", "rabcdefgh", "rabcdefgh.", "rabcdefgh.0", "rabcdefgh.012", "rabcdefgh.-1", "r.1", "RABCDEFGH.1", "rabcdefgh.1.2", "rabcdefgh.1 "} {
		if b, ok := apply.ParseBundleID(s); ok {
			t.Errorf("%q is %+v", s, b)
		}
	}
}

// Settled work is kept for a while, and swept then.
func TestQuarantineIsSwept(t *testing.T) {
	w, p := desk(t)
	p.push(made("timeEntry", p.new("aaaa"), "activity", "act-one-1"), made("timeEntry", p.new("bbbb"), "activity", "act-one-1"))
	w.ok(&command.Command{Actor: "emp-boss-1", Discard: &command.Discard{Bundle: command.Bundle{Device: p.id, Root: 1}, Reason: "x"}})
	for _, c := range []struct {
		days, left int
	}{{89, 2}, {2, 1}, {400, 1}} {
		w.now += ident.Millis((time.Duration(c.days) * 24 * time.Hour).Milliseconds())
		w.ok(&command.Command{Tick: &command.Tick{}})
		if q := quarantine(w); len(q) != c.left {
			t.Fatalf("%d kept, want %d", len(q), c.left)
		}
	}
}
