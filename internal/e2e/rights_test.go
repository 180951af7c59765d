package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"satchel/internal/app"
	"satchel/internal/command"
	"satchel/internal/ident"
	"satchel/mobile-api/client"
	"satchel/sync/wire"
)

// TestReassign: what is given to somebody else leaves the one phone, offline
// for a while, and arrives on the other, which is live.
func TestReassign(t *testing.T) {
	s := newServer(t)
	from, to := s.phone(eve, "field"), s.phone(eddie, "field")
	to.lacks("jobActivity/act-one-1", "job/job-one-1")
	to.follow()
	s.Write(mia, command.Write{Op: "action", Type: "jobActivity", ID: "act-one-1", Action: "assign", Args: O("assignee", eddie)})
	soon(t, "it arrives", func() bool {
		return to.has("jobActivity", "act-one-1") && to.has("job", "job-one-1") && to.has("client", "client-one")
	})
	from.want("jobActivity/act-one-1")
	rep := from.sync()
	if rep.Removed < 3 {
		t.Errorf("removed %d", rep.Removed)
	}
	from.lacks("jobActivity/act-one-1", "job/job-one-1", "client/client-one")
	from.want("jobActivity/act-two-1")
	to.unfollow()
	to.verify()
	from.verify()
}

// TestClientHidden: everything of the client vanishes; unsent work on it is
// refused like work on what never was, and kept on the server.
func TestClientHidden(t *testing.T) {
	s := newServer(t)
	p := s.phone(eve, "field")
	p.patch("jobActivity", "act-one-1", map[string]any{"note": "the secret of the valve"})
	id := p.create("timeEntry", map[string]any{"activity": "act-one-1", "employee": eve, "kind": "work", "start": "2026-01-05T08:00:00Z"})
	p.patch("jobActivity", "act-two-1", map[string]any{"note": "harmless"})
	s.hide(eve, "client-one")
	rep := p.sync()
	if len(rep.Results) != 3 || rep.Results[0].Status != wire.Refused || rep.Results[0].Code != "not_found" ||
		rep.Results[1].Status != wire.Refused || rep.Results[2].Status != wire.Applied {
		t.Fatalf("results %+v", rep.Results)
	}
	p.lacks("jobActivity/act-one-1", "job/job-one-1", "client/client-one", "timeEntry/"+id)
	p.want("jobActivity/act-two-1", "client/client-two")
	q := s.quarantined()
	if len(q) != 2 || string(q[0].Mutation.Fields["note"]) != `"the secret of the valve"` || q[0].Author != eve || q[0].Received == 0 || string(q[0].Device) != p.device() {
		t.Fatalf("quarantine %+v", q)
	}
	for _, pr := range p.problems() {
		raw, err := json.Marshal(pr)
		if err != nil {
			t.Fatal(err)
		}
		if !pr.Hidden && pr.Mutation.Op != wire.OpCreate || bytes.Contains(raw, []byte("valve")) {
			t.Errorf("a problem still tells: %s", raw)
		}
	}
	p.verify()
}

// TestHiddenLooksAbsent: what is answered about a hidden record is, byte for
// byte, what is answered about one that never was.
func TestHiddenLooksAbsent(t *testing.T) {
	s := newServer(t)
	s.hide(eddie, "client-one")
	one, two := s.signIn(eddie, "device-one"), s.signIn(eddie, "device-two")
	one.pull(map[string]any{"profile": "field"})
	two.pull(map[string]any{"profile": "field"})
	const hidden, absent = "act-one-1", "act-zzz-9"
	at := s.clock.Now().UTC().Format(time.RFC3339Nano)
	mutations := []func(id, prefix string) map[string]any{
		func(id, _ string) map[string]any {
			return map[string]any{"op": "patch", "type": "jobActivity", "id": id, "fields": O("note", "x"), "was": O("note", nil)}
		},
		func(id, _ string) map[string]any {
			return map[string]any{"op": "patch", "type": "jobActivity", "id": id, "fields": O("bogus", "x"), "was": O()}
		},
		func(id, _ string) map[string]any {
			return map[string]any{"op": "delete", "type": "jobActivity", "id": id}
		},
		func(id, _ string) map[string]any {
			return map[string]any{"op": "action", "type": "jobActivity", "id": id, "action": "accept"}
		},
		func(id, _ string) map[string]any {
			return map[string]any{"op": "action", "type": "jobActivity", "id": id, "action": "fly"}
		},
		func(id, _ string) map[string]any {
			return map[string]any{"op": "action", "type": "job", "id": id, "action": "close"}
		},
		// An id that is not the device's own, taken or not.
		func(id, _ string) map[string]any {
			return map[string]any{"op": "create", "type": "comment", "id": id, "fields": O("parent", "act-two-1", "text", "x")}
		},
		// A reference to it.
		func(id, prefix string) map[string]any {
			return map[string]any{"op": "create", "type": "comment", "id": prefix + "one", "fields": O("parent", id, "text", "x")}
		},
		func(id, prefix string) map[string]any {
			return map[string]any{"op": "create", "type": "timeEntry", "id": prefix + "two", "fields": O("activity", id, "employee", eddie, "kind", "work", "start", "2026-01-05T08:00:00Z")}
		},
	}
	for i, build := range mutations {
		var bodies [2]string
		for j, c := range []*signIn{one, two} {
			m := build([]string{hidden, absent}[j], c.prefix)
			m["n"], m["at"] = i+1, at
			bodies[j] = string(c.post("/sync/v1/push", map[string]any{"acked": 0, "now": at, "mutations": []any{m}}).body)
		}
		if bodies[0] != bodies[1] {
			t.Errorf("mutation %d: hidden %s, absent %s", i+1, bodies[0], bodies[1])
		}
		if !bytes.Contains([]byte(bodies[0]), []byte(`"refused"`)) {
			t.Errorf("mutation %d: %s", i+1, bodies[0])
		}
	}
	// And a pin of it brings nothing.
	for _, id := range []string{hidden, absent} {
		pg := one.pull(map[string]any{"pins": []wire.Ref{{Type: "jobActivity", ID: id}, {Type: "client", ID: "client-one"}}})
		for _, r := range pg.Records {
			if r.Type == "jobActivity" || r.Type == "client" {
				t.Errorf("pin of %s brought %s/%s", id, r.Type, r.ID)
			}
		}
	}
}

// TestAreaMoved: who works by sales areas gains and loses what moves.
func TestAreaMoved(t *testing.T) {
	s := newServer(t)
	p, q := s.phone(ron, "office"), s.phone(ron, "office")
	p.want("client/client-one", "job/job-one-1", "client/client-two")
	p.lacks("client/client-three", "job/job-three-1")
	p.follow()
	s.Import(Row("client", "client-one", "salesArea", "area-south"), Row("client", "client-three", "salesArea", "area-north"))
	soon(t, "the areas' clients change places", func() bool {
		return !p.has("client", "client-one") && !p.has("job", "job-one-1") && p.has("client", "client-three") && p.has("job", "job-three-1")
	})
	q.want("client/client-one")
	q.sync()
	q.lacks("client/client-one", "job/job-one-1", "jobActivity/act-one-1")
	q.want("client/client-three", "jobActivity/act-three-2")
	p.unfollow()
	p.verify()
	q.verify()
}

// TestRoleEndsByTime: a role that ends at an instant takes effect then, on an
// idle socket too, and for a phone that comes later.
func TestRoleEndsByTime(t *testing.T) {
	s := newServer(t)
	until := s.clock.Now().Add(1500 * time.Millisecond)
	s.Import(Row("roleAssignment", "role-until-1", "employee", ron, "role", "service.manager", "until", until.UTC().Format("2006-01-02T15:04:05.000Z")))
	p, q := s.phone(ron, "office"), s.phone(ron, "office")
	p.want("client/client-three", "job/job-three-1")
	q.want("client/client-three")
	p.follow()
	if s.clock.Now().After(until) {
		t.Skip("the machine is too slow for this")
	}
	soon(t, "the role's records leave the idle phone", func() bool { return !p.has("client", "client-three") && !p.has("job", "job-three-1") })
	if now := s.clock.Now(); now.Before(until) || now.Sub(until) > 2*time.Second {
		t.Errorf("they left %v after the instant", now.Sub(until))
	}
	p.want("client/client-one")
	q.sync()
	q.lacks("client/client-three")
	p.unfollow()
	p.verify()
	q.verify()
}

// TestTimePasses: a clock that moves on by days takes a role's end along, and
// a field device's window.
func TestTimePasses(t *testing.T) {
	s := newServer(t)
	start := s.clock.Now().Add(100 * 24 * time.Hour)
	s.Import(Row("jobActivity", "act-one-1", "scheduledStart", start.UTC().Format(time.RFC3339)),
		Row("roleAssignment", "role-until-1", "employee", ron, "role", "service.manager", "until", start.UTC().Format(time.RFC3339)))
	engineer, rep := s.phone(eve, "field"), s.phone(ron, "office")
	engineer.lacks("jobActivity/act-one-1") // beyond the window's 90 days
	rep.want("client/client-three")
	s.clock.Advance(20 * 24 * time.Hour)
	engineer.sync()
	engineer.want("jobActivity/act-one-1", "job/job-one-1")
	rep.sync()
	rep.want("client/client-three")
	s.clock.Advance(50 * 24 * time.Hour)
	for _, p := range []*phone{engineer, rep} { // too long for tokens, not for sessions
		p.sync()
	}
	s.clock.Advance(31 * 24 * time.Hour)
	engineer.sync()
	rep.sync()
	rep.lacks("client/client-three")
	engineer.want("jobActivity/act-one-1")
	s.clock.Advance(31 * 24 * time.Hour)
	engineer.sync()
	engineer.lacks("jobActivity/act-one-1")
	engineer.want("jobActivity/act-two-1") // without a date
	engineer.verify()
	rep.verify()
}

// TestFacetLost: a field that is denied is gone from records that stay, and
// comes back with the right.
func TestFacetLost(t *testing.T) {
	s := newServer(t)
	p, live := s.phone(mia, "office"), s.phone(mia, "office")
	field := func(p *phone) bool {
		r, err := p.Get("client", "client-one")
		if err != nil {
			t.Fatal(err)
		}
		_, ok := r.Fields["accessNotes"]
		return ok
	}
	if !field(p) {
		t.Fatal("no accessNotes to begin with")
	}
	live.follow()
	s.Import(Row("individualPermission", "denial-mia-1", "employee", mia, "effect", "denial", "entityType", "client", "field", "accessNotes"))
	soon(t, "the field leaves the live phone", func() bool { return !field(live) })
	rep := p.sync()
	if field(p) || rep.Records < 3 {
		t.Fatalf("still there, or not sent again: %+v", rep)
	}
	s.drop("individualPermission", "denial-mia-1")
	soon(t, "the field comes back", func() bool { return field(live) })
	p.sync()
	if !field(p) {
		t.Fatal("not given back")
	}
	// A change of a field one does not see is no change.
	s.Import(Row("individualPermission", "denial-mia-2", "employee", mia, "effect", "denial", "entityType", "client", "field", "billingNotes"))
	p.sync()
	before, _ := p.Get("client", "client-one")
	s.Import(Row("client", "client-one", "billingNotes", "owes us"))
	if rep := p.sync(); rep.Records != 0 {
		t.Errorf("%d records for a change unseen", rep.Records)
	}
	if after, _ := p.Get("client", "client-one"); after.Rev != before.Rev {
		t.Errorf("the rev moved from %s to %s", before.Rev, after.Rev)
	}
	live.unfollow()
	p.verify()
	live.verify()
}

// TestDeleted: a record that is deleted leaves every phone.
func TestDeleted(t *testing.T) {
	s := newServer(t)
	engineer, manager := s.phone(eve, "field"), s.phone(mia, "office")
	manager.follow()
	engineer.patch("jobActivity", "act-one-1", map[string]any{"note": "half done"})
	s.drop("jobActivity", "act-one-1")
	soon(t, "it leaves the manager", func() bool { return !manager.has("jobActivity", "act-one-1") })
	rep := engineer.sync()
	if len(rep.Results) != 1 || rep.Results[0].Code != "not_found" || len(s.quarantined()) != 1 {
		t.Errorf("work on it: %+v, %d kept", rep.Results, len(s.quarantined()))
	}
	engineer.lacks("jobActivity/act-one-1", "job/job-one-1")
	manager.unfollow()
	manager.verify()
}

// TestOfficeProfile: an engineer at a desk carries all that may be seen.
func TestOfficeProfile(t *testing.T) {
	s := newServer(t)
	p := s.phone(eddie, "field")
	p.lacks("client/client-one")
	if err := p.SetProfile(client.ProfileOffice); err != nil {
		t.Fatal(err)
	}
	p.sync()
	p.want("client/client-one", "client/client-two", "client/client-three")
	p.lacks("jobActivity/act-one-1", "job/job-one-1")
	p.verify()
	if err := p.SetProfile(client.ProfileField); err != nil {
		t.Fatal(err)
	}
	p.sync()
	p.lacks("client/client-one")
	// Without the module there is no field profile.
	raw := s.signIn(mia, "desk")
	raw.post("/sync/v1/pull", map[string]any{"profile": "field"}).want(t, 403, "mobile_module_required")
}

// TestPinsAndWindow: what is pinned arrives and leaves with the pin, also over
// the socket; the window chooses own work by its date.
func TestPinsAndWindow(t *testing.T) {
	s := newServer(t)
	p := s.phone(eddie, "field")
	p.lacks("client/client-three")
	if err := p.Pin("client", "client-three"); err != nil {
		t.Fatal(err)
	}
	p.sync()
	p.want("client/client-three")
	p.follow()
	if err := errors.Join(p.Unpin("client", "client-three"), p.Pin("client", "client-two")); err != nil {
		t.Fatal(err)
	}
	soon(t, "the pins change places", func() bool { return !p.has("client", "client-three") && p.has("client", "client-two") })
	s.Import(Row("client", "client-two", "city", "Utrecht"))
	soon(t, "a pinned client's change arrives", func() bool { return p.text("client", "client-two", "city") == "Utrecht" })
	p.unfollow()
	p.verify()

	day := func(n int) string { return s.clock.Now().AddDate(0, 0, n).UTC().Format(time.RFC3339) }
	s.Import(Row("jobActivity", "act-one-1", "scheduledStart", day(200)), Row("jobActivity", "act-two-1", "scheduledStart", day(1)))
	e := s.phone(eve, "field")
	e.lacks("jobActivity/act-one-1")
	e.want("jobActivity/act-two-1", "jobActivity/act-three-1")
	e.follow()
	if err := e.SetWindow(s.clock.Now().AddDate(0, 0, 100), s.clock.Now().AddDate(0, 0, 300)); err != nil {
		t.Fatal(err)
	}
	soon(t, "the window moves", func() bool { return e.has("jobActivity", "act-one-1") && !e.has("jobActivity", "act-two-1") })
	s.Import(Row("jobActivity", "act-one-1", "scheduledStart", day(2)))
	soon(t, "what is put off leaves", func() bool { return !e.has("jobActivity", "act-one-1") })
	e.unfollow()
	e.verify()
}

// TestMobileRoleLost: the field set empties and says why, unsent work is kept
// on the server, and the person's desk goes on.
func TestMobileRoleLost(t *testing.T) {
	s := newServer(t)
	field, live, office := s.phone(eve, "field"), s.phone(eve, "field"), s.phone(eve, "office")
	field.patch("jobActivity", "act-one-1", map[string]any{"note": "written on the road"})
	live.follow()
	s.drop("roleAssignment", "role-eve-1-1")
	soon(t, "the live phone empties", func() bool { return !live.has("jobActivity", "act-one-1") && !live.has("client", "client-one") })
	soon(t, "it says why", func() bool { st, err := live.Status(); return err == nil && st.MobileEnded })
	rep, err := field.Sync(context.Background())
	if err != nil {
		t.Fatalf("first contact: %v", err)
	}
	if len(rep.Results) != 1 || rep.Results[0].Code != "mobile_module_required" {
		t.Errorf("results %+v", rep.Results)
	}
	if st, err := field.Status(); err != nil || !st.MobileEnded {
		t.Errorf("status %+v %v", st, err)
	}
	if types, err := field.Types(); err != nil || len(types) != 0 {
		t.Errorf("still holds %v, %v", types, err)
	}
	q := s.quarantined()
	if len(q) != 1 || string(q[0].Mutation.Fields["note"]) != `"written on the road"` {
		t.Errorf("quarantine %+v", q)
	}
	_, err = field.Sync(context.Background())
	var refusal *client.Error
	if !errors.As(err, &refusal) || refusal.Status != 403 || refusal.Code != "mobile_module_required" {
		t.Errorf("second contact: %v", err)
	}
	office.patch("jobActivity", "act-one-1", map[string]any{"note": "from the desk"})
	office.sync()
	office.want("jobActivity/act-one-1", "client/client-three")
	if got := s.value("act-one-1", "note"); got != "from the desk" {
		t.Errorf("the desk's note: %q", got)
	}
	// The module given back, the phone fills again.
	s.Import(Row("roleAssignment", "role-eve-again", "employee", eve, "role", "mobile.service-agent-user"))
	field.sync()
	field.want("jobActivity/act-one-1")
	live.unfollow()
	field.verify()
	office.verify()
}

// TestOnlyThoseWhoMayKnow: a change makes frames for those who may know of it
// and for nobody else.
func TestOnlyThoseWhoMayKnow(t *testing.T) {
	s := newServer(t)
	s.hide(mia, "client-two")
	type watcher struct {
		sock *socket
		cp   string
	}
	watchers := map[string]*watcher{}
	for who, profile := range map[string]string{mia: "office", ron: "office", eve: "field", eddie: "field"} {
		c := s.signIn(ident.RecordID(who), "watch")
		w := &watcher{sock: s.socket(c.access)}
		w.cp = w.sock.catchUp("", profile)
		watchers[who] = w
	}
	// Who is not to be told is given a moment to be told wrongly.
	told := func(who string, want bool) bool {
		wait := 150 * time.Millisecond
		if want {
			wait = patience
		}
		select {
		case f := <-watchers[who].sock.frames:
			var pg wire.Page
			raw, _ := json.Marshal(f)
			if err := json.Unmarshal(raw, &pg); err != nil {
				t.Fatal(err)
			}
			watchers[who].sock.send(map[string]any{"kind": "pull", "checkpoint": pg.Checkpoint})
			return true
		case <-time.After(wait):
			return false
		}
	}
	for i, change := range []struct {
		row   command.Row
		knows []string
	}{
		{Row("jobActivity", "act-three-1", "note", "one"), []string{mia, eve}},
		{Row("jobActivity", "act-one-2", "note", "two"), []string{mia, ron}},
		{Row("jobActivity", "act-two-2", "note", "two"), []string{ron}},
		{Row("jobActivity", "act-one-1", "note", "three"), []string{mia, ron, eve}},
		{Row("client", "client-three", "accessNotes", "four"), []string{mia, eve}},
		{Row("client", "client-three", "debtorNotes", "five"), nil},
	} {
		time.Sleep(20 * time.Millisecond) // acknowledgements settle
		s.Import(change.row)
		for who := range watchers {
			want := false
			for _, k := range change.knows {
				want = want || k == who
			}
			if got := told(who, want); got != want {
				t.Errorf("change %d: %s told: %v, want %v", i+1, who, got, want)
			}
		}
	}
}

// TestEverybodySees: a change that 200 live devices see reaches all of them.
func TestEverybodySees(t *testing.T) {
	s := newServer(t, func(c *app.Config) { c.PersonSockets = 200 })
	n := 200
	if testing.Short() {
		n = 60
	}
	signs, socks := make([]*signIn, n), make([]*socket, n)
	for i := range signs { // first all, since each makes a device record that mia sees
		signs[i] = s.signIn(mia, fmt.Sprintf("desk-%d", i))
	}
	for i := range socks {
		socks[i] = s.socket(signs[i].access)
		socks[i].catchUp("", "office")
	}
	time.Sleep(50 * time.Millisecond)
	start := time.Now()
	s.Import(Row("client", "client-one", "city", "Delft"))
	for _, c := range socks {
		var pg wire.Page
		c.frame(wire.KindPage, &pg)
		if len(pg.Records) != 1 || string(pg.Records[0].Fields["city"]) != `"Delft"` {
			t.Fatalf("page %+v", pg)
		}
	}
	t.Logf("%d devices told in %v", n, time.Since(start))
	s.Import(Row("client", "client-one", "city", "Gouda"))
	for i, c := range socks { // not acknowledged: no second page
		select {
		case f := <-c.frames:
			t.Fatalf("device %d got %s with a page under way", i, f["kind"])
		default:
		}
	}
}
