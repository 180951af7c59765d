package apply_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"satchel/internal/command"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/sync/apply"
	"satchel/sync/state"
	"satchel/sync/wire"
)

func quarantine(w *world) (out []apply.Quarantined) {
	w.reader(func(rd *state.Reader) {
		apply.EachQuarantined(rd, func(q apply.Quarantined) bool {
			out = append(out, q)
			return true
		})
	})
	return out
}

func TestPushNumbers(t *testing.T) {
	w := field(t)
	p := w.signIn("emp-eng-1", "i1")
	note := func(n uint64, text, was string) command.Mutation {
		m := patch("jobActivity", "act-one-1", obj("note", text), obj("note", was))
		m.N, m.Hash = n, []byte(text)
		return m
	}
	first := note(1, "a", "")
	want(t, p.push(first)[0], wire.Applied, "")
	// The same again, in one push with what follows, and after a gap.
	res := p.push(first, note(2, "b", "a"), note(2, "b", "a"), note(4, "c", "b"))
	want(t, res[0], wire.Applied, "")
	want(t, res[1], wire.Applied, "")
	want(t, res[2], wire.Applied, "")
	want(t, res[3], wire.Refused, fault.NumberGap)
	if v := w.value("act-one-1", "note"); v != "b" {
		t.Fatalf("note %q", v)
	}
	want(t, p.push(note(1, "other", ""))[0], wire.Refused, fault.NumberReused)
	// Number 0 was never given out, and was never applied.
	zero := note(0, "zero", "b")
	c := p.cmd()
	c.Push = &command.Push{Now: w.now, Mutations: []command.Mutation{zero}}
	want(t, w.ok(c).Push.Results[0], wire.Refused, fault.BadParameter)
	// Acknowledged results still tell a repetition from another content.
	c = p.cmd()
	c.Push = &command.Push{Now: w.now, Acked: 2}
	w.ok(c)
	want(t, p.push(first)[0], wire.Applied, "")
	want(t, p.push(note(2, "clone", "b"))[0], wire.Refused, fault.NumberReused)
	if got := w.ok(p.pushing()).Push.Processed; got != 2 {
		t.Fatalf("processed %d", got)
	}
}

func TestRefusedResultStaysRefused(t *testing.T) {
	w := field(t)
	p := w.signIn("emp-eng-1", "i1")
	m := patch("client", "client-one", obj("name", "x"), obj("name", "one"))
	m.N, m.Hash = 1, []byte("1")
	want(t, p.push(m)[0], wire.Refused, fault.NotAllowed)
	c := p.cmd()
	c.Push = &command.Push{Now: w.now, Acked: 1}
	w.ok(c)
	want(t, p.push(m)[0], wire.Refused, fault.NotAllowed)
}

func TestDependsOn(t *testing.T) {
	w := field(t)
	p := w.signIn("emp-eng-1", "i1")
	id := func(s string) ident.RecordID { return ident.RecordID(p.pre + s) }
	entry := func(at string, fields ...string) command.Mutation {
		return command.Mutation{Op: wire.OpCreate, Type: "timeEntry", ID: id(at), Fields: obj(fields...)}
	}
	res := p.push(
		entry("aaaa", "activity", "act-one-1"), // start is missing
		patch("timeEntry", id("aaaa"), obj("note", "x"), obj("note", "")),
		command.Mutation{Op: wire.OpAction, Type: "jobActivity", ID: "act-one-1", Action: "accept", After: []uint64{2}},
		entry("bbbb", "activity", "act-one-1", "start", "2023-11-20T09:00:00Z"),
		// The same id again is another attempt; what follows builds on it.
		entry("aaaa", "activity", "act-one-1", "start", "2023-11-20T09:00:00Z"),
		patch("timeEntry", id("aaaa"), obj("note", "x"), obj("note", "")),
	)
	want(t, res[0], wire.Refused, fault.MissingField)
	want(t, res[1], wire.Refused, fault.DependsOn)
	want(t, res[2], wire.Refused, fault.DependsOn)
	want(t, res[3], wire.Applied, "")
	want(t, res[4], wire.Applied, "")
	want(t, res[5], wire.Applied, "")
	q := quarantine(w)
	if len(q) != 3 {
		t.Fatalf("%d quarantined", len(q))
	}
	for i, x := range q {
		if x.Root != 1 || x.Mutation.N != uint64(i+1) || x.Author != "emp-eng-1" || x.Device != p.id {
			t.Fatalf("quarantined %+v", x)
		}
	}
	if string(q[1].Mutation.Fields["note"]) != `"x"` {
		t.Fatal("what was typed is lost")
	}
}

func TestConflicts(t *testing.T) {
	w := field(t)
	p := w.signIn("emp-eng-1", "i1")
	w.load(row("jobActivity", "act-one-1", "note", "office", "title", "Visit"))
	// One field both changed, one only the phone.
	res := p.push(patch("jobActivity", "act-one-1", obj("note", "phone", "workDone", "done"), obj("note", "", "workDone", "")))
	want(t, res[0], wire.Conflict, fault.EditConflict)
	if c := res[0].Conflicts; len(c) != 1 || c[0].Field != "note" || string(c[0].Mine) != `"phone"` || string(c[0].Theirs) != `"office"` {
		t.Fatalf("conflicts %s", c)
	}
	if w.value("act-one-1", "note") != "office" || w.value("act-one-1", "workDone") != "done" {
		t.Fatal("merged wrongly")
	}
	// Both wrote the same: no conflict.
	w.load(row("jobActivity", "act-one-1", "note", "same"))
	want(t, p.push(patch("jobActivity", "act-one-1", obj("note", "same"), obj("note", "office")))[0], wire.Applied, "")
	// A patch says what it changed from.
	want(t, p.push(patch("jobActivity", "act-one-1", obj("note", "x"), nil))[0], wire.Refused, fault.MissingField)
	// What "was" tells of fields that are not written counts for nothing.
	want(t, p.push(patch("jobActivity", "act-one-1", obj("note", "x"), obj("note", "same", "gone", "y")))[0], wire.Applied, "")
	// A repetition after the record is hidden has the same outcome and tells
	// nothing of the record.
	conflict := patch("jobActivity", "act-one-1", obj("note", "phone"), obj("note", ""))
	conflict.N = 1
	p.n++
	conflict.N, conflict.Hash = p.n, []byte("h")
	want(t, p.push(conflict)[0], wire.Conflict, fault.EditConflict)
	w.load(row("clientVisibility", "vis-eng-1", "employee", "emp-eng-1", "mode", "all-but"),
		row("visibilityRule", "rule-eng-1", "visibility", "vis-eng-1", "client", "client-one"))
	again := p.push(conflict)[0]
	want(t, again, wire.Conflict, fault.EditConflict)
	if again.Rev != "" || string(again.Conflicts[0].Theirs) != "null" {
		t.Fatalf("shows what is hidden: %+v", again)
	}
	// And what is still queued for it is refused as not found.
	want(t, p.push(patch("jobActivity", "act-one-1", obj("note", "z"), obj("note", "x")))[0], wire.Refused, fault.NotFoundCode)
}

func TestSetsMerge(t *testing.T) {
	w := field(t)
	raw := func(s string) command.Object { return command.Object{"phones": json.RawMessage(s)} }
	w.load(command.Row{Type: "client", ID: "client-one", Fields: raw(`["1","2"]`)})
	p := w.signIn("emp-mgr-1", "i1")
	w.load(command.Row{Type: "client", ID: "client-one", Fields: raw(`["1","2","3"]`)})
	want(t, p.push(patch("client", "client-one", raw(`["2","4"]`), raw(`["1","2"]`)))[0], wire.Applied, "")
	w.reader(func(rd *state.Reader) {
		r, _ := rd.Load("client-one")
		if got := r.Get("phones").Set(); !slices.Equal(got, []string{"2", "3", "4"}) {
			t.Fatalf("phones %v", got)
		}
	})
	// Both sides' entries together are more than the field takes.
	list := func(from, n int) string {
		var ss []string
		for i := range n {
			ss = append(ss, fmt.Sprint(from+i))
		}
		b, _ := json.Marshal(ss)
		return string(b)
	}
	w.load(command.Row{Type: "client", ID: "client-one", Fields: raw(list(100, 15))})
	want(t, p.push(patch("client", "client-one", raw(list(200, 15)), raw("null")))[0], wire.Refused, fault.BadValue)
}

// TestSkewedClock: the phone's clock is put right, and whatever it says gives
// a time that can be stored.
func TestSkewedClock(t *testing.T) {
	w := field(t)
	p := w.signIn("emp-eng-1", "i1")
	for i, x := range []struct {
		action      string
		at, phone   ident.Millis
		wantInstant func(now ident.Millis) ident.Millis
	}{
		{"accept", 5_000, 65_000, func(now ident.Millis) ident.Millis { return now - 60_000 }},
		{"travel", 1 << 60, 0, func(now ident.Millis) ident.Millis { return now }},
		{"arrive", -62_000_000_000_000, 250_000_000_000_000, func(ident.Millis) ident.Millis { return 0 }},
	} {
		m := act("jobActivity", "act-one-1", x.action, nil)
		p.n++
		m.N, m.At, m.Hash = p.n, x.at, []byte{byte(i)}
		c := p.cmd()
		c.Push = &command.Push{Now: x.phone, Mutations: []command.Mutation{m}}
		want(t, w.ok(c).Push.Results[0], wire.Applied, "")
		w.reader(func(rd *state.Reader) {
			r, _ := rd.Load("act-one-1")
			f := map[string]string{"accept": "acceptedAt", "travel": "travelStart", "arrive": "arrivedAt"}[x.action]
			if got, ok := r.Get(f).Time(); !ok || got != x.wantInstant(w.now) {
				t.Fatalf("%s: %d %v, want %d", f, got, ok, x.wantInstant(w.now))
			}
		})
	}
}

func TestBadIDs(t *testing.T) {
	w := field(t)
	p, q := w.signIn("emp-eng-1", "i1"), w.signIn("emp-eng-2", "i2")
	create := func(id string) command.Mutation {
		return command.Mutation{Op: wire.OpCreate, Type: "preference", ID: ident.RecordID(id), Fields: obj("owner", "emp-eng-1", "key", "k")}
	}
	// Of another device, the server's, an existing record's, a malformed one:
	// the same answer.
	for _, id := range []string{q.pre + "aaaa", "rabcdefghijklmnop", "client-one", "client-nowhere", "X", "", p.pre} {
		want(t, p.push(create(id))[0], wire.Refused, fault.BadID)
	}
	want(t, p.push(create(p.pre + "aaaa"))[0], wire.Applied, "")
	want(t, p.push(create(p.pre + "aaaa"))[0], wire.Refused, fault.BadID)
	// A deleted record's id stays taken.
	want(t, p.push(command.Mutation{Op: wire.OpDelete, Type: "preference", ID: ident.RecordID(p.pre + "aaaa")})[0], wire.Applied, "")
	want(t, p.push(create(p.pre + "aaaa"))[0], wire.Refused, fault.BadID)
	// Without a device nobody brings ids along.
	w.refused(fault.BadID, write("emp-eng-1", command.Write{Op: "create", Type: "preference", ID: ident.RecordID(p.pre + "bbbb"), Fields: obj("owner", "emp-eng-1", "key", "k")}))
}

// TestRefusalIsDeterministic: which of several faults is told does not depend
// on the order of a map.
func TestRefusalIsDeterministic(t *testing.T) {
	var first []byte
	for i := range 20 {
		w := field(t)
		p := w.signIn("emp-mgr-1", "i1")
		r := p.push(command.Mutation{Op: wire.OpCreate, Type: "jobActivity", ID: ident.RecordID(p.pre + "aaaa"), Fields: obj(
			"job", "job-one-1", "title", "x", "status", "New", "startedAt", "2023-11-20T09:00:00Z", "finishedAt", "2023-11-20T09:00:00Z", "cancelReason", "y")})
		want(t, r[0], wire.Refused, fault.ReadOnlyField)
		var stored []byte
		w.reader(func(rd *state.Reader) { stored = dump(rd.KV()) })
		if i > 0 && !bytes.Equal(stored, first) {
			t.Fatal("two runs of one history differ")
		}
		first = stored
	}
}

func TestDeleteConflicts(t *testing.T) {
	w := field(t)
	p := w.signIn("emp-mgr-1", "i1")
	w.load(row("site", "site-one-1", "client", "client-one", "name", "HQ"))
	del := func(was command.Object) command.Mutation {
		return command.Mutation{Op: wire.OpDelete, Type: "site", ID: "site-one-1", Was: was}
	}
	want(t, p.push(del(obj("name", "Old")))[0], wire.Refused, fault.EditConflict)
	want(t, p.push(command.Mutation{Op: wire.OpDelete, Type: "job", ID: "job-one-1"})[0], wire.Refused, fault.HasDependents)
	want(t, p.push(del(obj("name", "HQ")))[0], wire.Applied, "")
	want(t, p.push(del(obj("name", "HQ")))[0], wire.Refused, fault.NotFoundCode)
}

// TestMobileLost: queued work of a phone that lost the module goes to the
// quarantine; the phone hands back what it has and then is refused.
func TestMobileLost(t *testing.T) {
	w := field(t)
	p := w.signIn("emp-eng-1", "i1")
	p.page(w.do(p.pulling(command.Pull{Profile: "field"})))
	p.sync()
	w.ok(write("emp-ada-1", command.Write{Op: "delete", Type: "roleAssignment", ID: "ra-emp-eng-1-1"}))
	want(t, p.push(act("jobActivity", "act-one-1", "accept", nil))[0], wire.Refused, fault.MobileModuleRequired)
	if len(quarantine(w)) != 1 {
		t.Fatal("the work is lost")
	}
	pg := p.pull()
	if !pg.MobileEnded || len(pg.Removed) == 0 {
		t.Fatalf("page %+v", pg)
	}
	p.sync()
	w.refused(fault.MobileModuleRequired, p.pulling(command.Pull{}))
	w.refused(fault.MobileModuleRequired, p.pulling(command.Pull{Profile: "field"}))
	if pg := p.page(w.do(p.pulling(command.Pull{Profile: "office"}))); len(pg.Records) == 0 {
		t.Fatal("office sync asks for the Mobile role")
	}
}

func TestWrongStatusQuotesNothing(t *testing.T) {
	w := field(t)
	p := w.signIn("emp-eng-1", "i1")
	r := p.push(act("jobActivity", "act-one-1", "resume", nil))[0]
	want(t, r, wire.Refused, fault.WrongStatus)
	if bytes.Contains([]byte(r.Message), []byte("Assigned")) {
		t.Fatalf("a kept result quotes the record: %s", r.Message)
	}
}

// A field that can't be read can't be written, though its writing was granted,
// nor be guessed by way of was.
func TestUnreadFieldIsNotWritten(t *testing.T) {
	w := field(t)
	w.load(person("emp-gst-1", "service.guest-agent")...)
	w.load(row("job", "job-one-1", "description", "the secret"),
		row("individualPermission", "perm-gst-1", "employee", "emp-gst-1", "effect", "grant", "verb", "edit", "entityType", "job", "field", "description"))
	p := w.signIn("emp-gst-1", "phone")
	guess := func(was string) wire.Result {
		return p.push(patch("job", "job-one-1", obj("description", "mine"), obj("description", was)))[0]
	}
	wrong := guess("something else")
	w.load(row("job", "job-one-1", "description", "the secret"))
	right := guess("the secret")
	for _, r := range []wire.Result{wrong, right} {
		if want(t, r, wire.Refused, fault.UnknownField); len(r.Conflicts) > 0 || r.Message != wrong.Message {
			t.Fatalf("guessed wrong: %+v; right: %+v", wrong, right)
		}
	}
}
