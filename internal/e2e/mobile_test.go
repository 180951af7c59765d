package e2e_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"satchel/internal/command"
	"satchel/internal/ident"
	"satchel/mobile-api/client"
	"satchel/sync/tenant"
	"satchel/sync/wire"
)

// onsite adds an onsite manager of client-one with the Mobile module, for whom
// eddie works there too.
func (s *server) onsite(who ident.RecordID) {
	s.t.Helper()
	hash, err := s.app.Hasher().Hash(s.t.Context(), pass)
	if err != nil {
		s.t.Fatal(err)
	}
	s.Import(
		Row("employee", who, "name", email(who), "email", email(who), "kind", "in-house", "status", "Active"),
		Row("roleAssignment", s.newID("role"), "employee", who, "role", "level.onsite-manager"),
		Row("roleAssignment", s.newID("role"), "employee", who, "role", "mobile.service-agent-user"),
		Row("onsiteClient", s.newID("onsite"), "employee", who, "client", "client-one"),
		Row("onsiteClient", s.newID("onsite"), "employee", eddie, "client", "client-one"),
		Row("ticket", "ticket-one-1", "client", "client-one", "subject", "No heat"),
	)
	s.Do(&command.Command{Secret: &command.Secret{Employee: who, Hash: hash}})
}

// TestDispatchLive: work given to somebody else leaves the one phone and arrives
// on the other, with all that belongs to it, while both are connected.
func TestDispatchLive(t *testing.T) {
	s := newServer(t)
	s.Import(Row("roleAssignment", "role-mia-9", "employee", mia, "role", "mobile.service-agent-user"))
	from, to := s.phone(eve, "field"), s.phone(eddie, "field")
	from.want("jobActivity/act-one-1", "job/job-one-1", "client/client-one")
	to.lacks("jobActivity/act-one-1", "job/job-one-1", "client/client-one")
	from.follow()
	to.follow()
	office := s.signIn(mia, "")
	var queue struct{ Queue []json.RawMessage }
	office.get("/mobile/v1/dispatch").into(t, &queue)
	if len(queue.Queue) != 3 {
		t.Errorf("%d wait, want the three spare visits", len(queue.Queue))
	}
	start := time.Now()
	office.post("/mobile/v1/activities/act-one-1/assign", map[string]any{"assignee": eddie}).want(t, 200, "")
	soon(t, "it arrives", func() bool { return to.has("jobActivity", "act-one-1") && to.has("client", "client-one") })
	soon(t, "it leaves", func() bool { return !from.has("jobActivity", "act-one-1") && !from.has("client", "client-one") })
	t.Logf("there and gone after %v", time.Since(start))
	from.lacks("job/job-one-1")
	// The new one works with it at once; the old one can't any more.
	to.act("jobActivity", "act-one-1", "accept", nil)
	soon(t, "accepted", func() bool { return s.value("act-one-1", "status") == "Accepted" })
	if err := from.Action("jobActivity", "act-one-1", "accept", nil); err == nil {
		t.Error("the old phone still accepts it")
	}
	from.unfollow()
	to.unfollow()
	from.verify()
	to.verify()
}

// TestOnsiteManagerOffline: tickets are assigned from a phone without a network,
// to onsite staff alone; a double booking is told and done.
func TestOnsiteManagerOffline(t *testing.T) {
	const olga = ident.RecordID("emp-olga-1")
	s := newServer(t)
	s.onsite(olga)
	due := s.clock.Now().UTC().Add(30 * time.Minute)
	s.Import(Row("jobActivity", "act-two-2", "assignee", eddie, "status", "Assigned",
		"scheduledStart", due.Add(-time.Hour).Format(time.RFC3339), "scheduledEnd", due.Add(time.Hour).Format(time.RFC3339)))
	manager, worker := s.phone(olga, "field"), s.phone(eddie, "field")
	manager.want("ticket/ticket-one-1")
	manager.lacks("jobActivity/act-two-2", "client/client-two")
	worker.lacks("ticket/ticket-one-1")
	worker.follow()
	manager.act("ticket", "ticket-one-1", "assign", map[string]any{"assignee": eve}) // not onsite there
	manager.act("ticket", "ticket-one-1", "assign", map[string]any{"assignee": eddie})
	if r, _ := manager.Get("ticket", "ticket-one-1"); !r.Pending {
		t.Errorf("offline: %+v", r)
	}
	rep := manager.sync()
	if len(rep.Results) != 2 || rep.Results[0].Code != "assignee_not_eligible" || rep.Results[1].Status != wire.Applied {
		t.Fatalf("%+v", rep.Results)
	}
	if w := rep.Results[1].Warnings; len(w) != 1 || w[0].Code != wire.DoubleBooked || w[0].From == "" {
		t.Errorf("warnings %+v", w)
	}
	soon(t, "the ticket arrives", func() bool { return worker.has("ticket", "ticket-one-1") })
	if got := manager.text("ticket", "ticket-one-1", "assignee"); got != eddie {
		t.Errorf("assigned to %s", got)
	}
	manager.verify()
}

// TestDayOnThePhone: a day without a network, told by the module the moment it
// has arrived, with the times of the phone.
func TestDayOnThePhone(t *testing.T) {
	s := newServer(t)
	s.Import(Row("checklist", "checklist-1", "name", "Safety"), Row("product", "product-1", "name", "Seal"),
		Row("warehouse", "warehouse-1", "name", "Van", "kind", "van", "custodian", eve),
		Row("stockLevel", "level-eve-1", "product", "product-1", "warehouse", "warehouse-1", "quantity", 5))
	p := s.phone(eve, "field")
	p.want("warehouse/warehouse-1", "stockLevel/level-eve-1")
	const act = "act-one-1"
	for _, step := range []string{"accept", "travel", "arrive", "start"} {
		p.act("jobActivity", act, step, nil)
		s.clock.Advance(10 * time.Minute)
	}
	p.create("timeEntry", map[string]any{"activity": act, "kind": "work", "start": s.clock.Now().Add(-10 * time.Minute)})
	p.create("partUsed", map[string]any{"activity": act, "product": "product-1", "quantity": 2, "warehouse": "warehouse-1"})
	p.create("checklistAnswer", map[string]any{"activity": act, "checklist": "checklist-1", "item": "item-1", "answer": "yes"})
	p.create("signature", map[string]any{"activity": act, "signedBy": "Ms One", "signedAt": s.clock.Now()})
	p.act("jobActivity", act, "clear", map[string]any{"workDone": "Mended"})
	before, _ := p.Pending()
	if err := p.Action("jobActivity", act, "start", nil); err == nil {
		t.Error("started again, cleared")
	}
	if after, _ := p.Pending(); len(after) != len(before) {
		t.Error("what was refused is queued")
	}
	p.sync()
	if list := p.problems(); len(list) != 0 {
		t.Fatalf("problems %+v", list)
	}
	var all struct {
		Activity                           map[string]any
		PartsUsed, TimeEntries, Signatures []json.RawMessage
	}
	s.signIn(eve, "").get("/mobile/v1/activities/"+act).into(t, &all)
	if all.Activity["status"] != "Cleared" || len(all.PartsUsed) != 1 || len(all.TimeEntries) != 1 || len(all.Signatures) != 1 {
		t.Errorf("%+v", all)
	}
	// Each step bears its own time, though all came in one push.
	travel, err := time.Parse(time.RFC3339, all.Activity["travelStart"].(string))
	arrived, err2 := time.Parse(time.RFC3339, all.Activity["arrivedAt"].(string))
	if err != nil || err2 != nil || arrived.Sub(travel) < 9*time.Minute {
		t.Errorf("travelled %v, arrived %v", all.Activity["travelStart"], all.Activity["arrivedAt"])
	}
	s.read(func(v *tenant.View) {
		level, _ := v.Load("level-eve-1")
		if level.Get("quantity").Int() != 3 {
			t.Errorf("%s left in the van", level.Get("quantity"))
		}
	})
	p.verify()
}

// TestRulesLive: rights that change reach the rules of a phone with its next
// sync, and the module with the next request.
func TestRulesLive(t *testing.T) {
	s := newServer(t)
	p := s.phone(eddie, "office")
	if err := p.Patch("job", "job-one-1", map[string]any{"title": "x"}); err == nil {
		t.Error("an engineer edits jobs")
	}
	s.Import(Row("roleAssignment", "role-eddie-9", "employee", eddie, "role", "service.manager"))
	p.sync()
	if err := p.Patch("job", "job-one-1", map[string]any{"title": "x"}); err != nil {
		t.Errorf("a manager: %v", err)
	}
	p.sync()
	c := s.signIn(eddie, "")
	c.get("/mobile/v1/dispatch").want(t, 200, "")
	s.drop("roleAssignment", "role-eddie-9")
	c.get("/mobile/v1/dispatch").want(t, 403, "not_allowed")
	p.sync()
	if err := p.Patch("job", "job-one-1", map[string]any{"title": "y"}, client.EditAnyway); err != nil && p.has("job", "job-one-1") {
		t.Errorf("queued anyway: %v", err)
	}
}

// TestRulesOverTheSocket: a phone that is live for days hears of changed rules
// though no record of its changes; a page that changes none says nothing of
// them.
func TestRulesOverTheSocket(t *testing.T) {
	s := newServer(t)
	p := s.phone(eddie, "office")
	p.follow()
	version := func() string {
		r, err := p.Rules()
		if err != nil || r == nil {
			t.Fatalf("%v %v", r, err)
		}
		return r.Version
	}
	first := version()
	s.Import(Row("individualPermission", "perm-eddie-9", "employee", eddie, "effect", "grant", "verb", "delete", "entityType", "timeEntry"))
	soon(t, "the rules are others", func() bool { return version() != first })
	s.drop("individualPermission", "perm-eddie-9")
	soon(t, "the rules are what they were", func() bool { return version() == first })

	raw := s.socket(s.signIn(eddie, "watching").access)
	ask := func(cp string) {
		t.Helper()
		if err := raw.WriteMessage(websocket.TextMessage, []byte(`{"kind":"pull","limit":1000,"checkpoint":`+cp+`}`)); err != nil {
			t.Fatal(err)
		}
	}
	// page is what the next page tells of the rules; it is acknowledged.
	page := func() string {
		t.Helper()
		select {
		case f := <-raw.frames:
			if string(f["kind"]) != `"page"` || string(f["more"]) != "false" {
				t.Fatalf("%s", f)
			}
			ask(string(f["checkpoint"]))
			return string(f["rules"])
		case <-time.After(10 * time.Second):
			t.Fatal("no page")
			return ""
		}
	}
	ask(`null`)
	if r := page(); r != `"`+first+`"` {
		t.Errorf("the first page tells %s, want %s", r, first)
	}
	s.Import(Row("salesArea", "area-north", "name", "Another"))
	if r := page(); r != "" {
		t.Errorf("a changed record tells %s", r)
	}
	s.Import(Row("individualPermission", "perm-eddie-8", "employee", eddie, "effect", "grant", "verb", "delete", "entityType", "timeEntry"))
	if r := page(); r == "" || r == `"`+first+`"` {
		t.Errorf("changed rights tell %q", r)
	}
}
