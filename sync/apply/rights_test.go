package apply_test

import (
	"encoding/json"
	"testing"

	"satchel/internal/command"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/sync/wire"
)

// TestLastAdministrator: no way of ceasing to be one works for the last
// customer administrator; each works once there are two.
func TestLastAdministrator(t *testing.T) {
	ra := func(w *world) ident.RecordID {
		var id ident.RecordID
		for _, x := range w.referring("roleAssignment", "employee", "emp-ada-1") {
			id = x
		}
		return id
	}
	create := func(typ string, kv ...string) func(*world) *command.Command {
		return func(*world) *command.Command {
			return write("emp-ada-1", command.Write{Op: "create", Type: typ, Fields: obj(kv...)})
		}
	}
	ways := map[string]func(w *world) *command.Command{
		"disabled": func(*world) *command.Command {
			return write("emp-ada-1", command.Write{Op: "action", Type: "employee", ID: "emp-ada-1", Action: "disable"})
		},
		"role taken": func(w *world) *command.Command {
			return write("emp-ada-1", command.Write{Op: "delete", Type: "roleAssignment", ID: ra(w)})
		},
		"role ends": func(w *world) *command.Command {
			return write("emp-ada-1", command.Write{Op: "patch", Type: "roleAssignment", ID: ra(w), Fields: obj("until", "2099-01-01T00:00:00Z")})
		},
		"role begins later": func(w *world) *command.Command {
			return write("emp-ada-1", command.Write{Op: "patch", Type: "roleAssignment", ID: ra(w), Fields: obj("from", "2099-01-01T00:00:00Z")})
		},
		"allow-list":       create("clientVisibility", "employee", "emp-ada-1", "mode", "only"),
		"denial":           create("individualPermission", "employee", "emp-ada-1", "effect", "denial"),
		"denial of admin":  create("individualPermission", "employee", "emp-ada-1", "effect", "denial", "app", "admin", "verb", "edit"),
		"denial to come":   create("individualPermission", "employee", "emp-ada-1", "effect", "denial", "verb", "view", "from", "2099-01-01T00:00:00Z"),
		"import of status": func(*world) *command.Command { return rows(row("employee", "emp-ada-1", "status", "Disabled")) },
		"import of role": func(w *world) *command.Command {
			return rows(row("roleAssignment", ra(w), "role", "service.manager"))
		},
	}
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			w := field(t)
			w.load(person("emp-bob-1")...)
			check := func(refused bool) {
				t.Helper()
				r := w.do(way(w))
				err := r.Err
				if len(r.Count.Rejected) > 0 {
					err = r.Count.Rejected[0].Err
				}
				if refused != fault.Is(err, fault.LastAdministrator) || !refused && err != nil {
					t.Fatalf("refused %v: %v", refused, err)
				}
			}
			check(true)
			// One whose own role ends, who is invited or has hidden clients is no
			// successor.
			w.load(row("roleAssignment", "ra-bob-0001", "employee", "emp-bob-1", "role", "level.customer-administrator", "until", "2099-01-01T00:00:00Z"))
			check(true)
			w.load(row("roleAssignment", "ra-bob-0002", "employee", "emp-bob-1", "role", "level.customer-administrator"),
				row("clientVisibility", "vis-bob-1", "employee", "emp-bob-1", "mode", "only"))
			check(true)
			w.ok(write("emp-ada-1", command.Write{Op: "delete", Type: "clientVisibility", ID: "vis-bob-1"}))
			check(false)
		})
	}
	t.Run("hidden client", func(t *testing.T) {
		w := field(t)
		w.ok(write("emp-ada-1", command.Write{Op: "create", Type: "clientVisibility", Fields: obj("employee", "emp-ada-1", "mode", "all-but")}))
		vis := w.referring("clientVisibility", "employee", "emp-ada-1")[0]
		w.refused(fault.LastAdministrator, write("emp-ada-1", command.Write{Op: "create", Type: "visibilityRule", Fields: obj("visibility", string(vis), "client", "client-one")}))
		// A denial of one field leaves an administrator.
		w.ok(write("emp-ada-1", command.Write{Op: "create", Type: "individualPermission", Fields: obj(
			"employee", "emp-ada-1", "effect", "denial", "verb", "view", "entityType", "client", "field", "name")}))
	})
	t.Run("two at once", func(t *testing.T) {
		w := field(t)
		w.load(person("emp-bob-1", "level.customer-administrator")...)
		off := func(who ident.RecordID) *command.Command {
			return write("emp-ada-1", command.Write{Op: "action", Type: "employee", ID: who, Action: "disable"})
		}
		res := w.entry(off("emp-bob-1"), off("emp-ada-1"))
		if res[0].Err != nil || !fault.Is(res[1].Err, fault.LastAdministrator) {
			t.Fatalf("%v, %v", res[0].Err, res[1].Err)
		}
		// The refused one left nothing: Ada still runs the tenant.
		w.ok(write("emp-ada-1", command.Write{Op: "action", Type: "employee", ID: "emp-bob-1", Action: "enable"}))
	})
}

// TestRequeue: work under a client that becomes hidden goes back to the queue,
// in nobody's name, with nothing left of the assignment.
func TestRequeue(t *testing.T) {
	w := field(t)
	p := w.signIn("emp-eng-1", "i1")
	p.sync()
	want(t, p.push(act("jobActivity", "act-one-1", "accept", nil))[0], wire.Applied, "")
	w.ok(write("emp-ada-1", command.Write{Op: "create", Type: "clientVisibility", Fields: obj("employee", "emp-eng-1", "mode", "all-but")}))
	vis := w.referring("clientVisibility", "employee", "emp-eng-1")[0]
	w.ok(write("emp-ada-1", command.Write{Op: "create", Type: "visibilityRule", Fields: obj("visibility", string(vis), "client", "client-one")}))
	for f, v := range map[string]string{"assignee": "", "status": "New", "assignedAt": "", "acceptedAt": ""} {
		if got := w.value("act-one-1", f); got != v {
			t.Errorf("%s is %q", f, got)
		}
	}
	if got := w.value("act-two-1", "assignee"); got != "emp-eng-1" {
		t.Errorf("the other client's work went to %q", got)
	}
	_, removed := p.sync()
	for _, id := range []string{"client-one", "job-one-1", "act-one-1"} {
		if !removed[id] {
			t.Errorf("%s stays on the phone", id)
		}
	}
	if removed["act-two-1"] {
		t.Error("the other client's work left")
	}
}

// TestReopenedForSomebodyElse: finished work that is taken up again does not
// go back to somebody who may not know of the client by now.
func TestReopenedForSomebodyElse(t *testing.T) {
	for name, lose := range map[string]func(w *world){
		"hidden": func(w *world) {
			w.load(row("clientVisibility", "vis-eng-1", "employee", "emp-eng-1", "mode", "all-but"),
				row("visibilityRule", "rule-eng-1", "visibility", "vis-eng-1", "client", "client-one"))
		},
		"disabled": func(w *world) { w.load(row("employee", "emp-eng-1", "status", "Disabled")) },
		"neither":  func(*world) {},
	} {
		t.Run(name, func(t *testing.T) {
			w := field(t)
			do := func(action string) {
				w.ok(write("emp-mgr-1", command.Write{Op: "action", Type: "jobActivity", ID: "act-one-1", Action: action}))
			}
			do("cancel")
			lose(w)
			do("reopen")
			status, who := "New", ""
			if name == "neither" {
				status, who = "Assigned", "emp-eng-1"
			}
			if w.value("act-one-1", "status") != status || w.value("act-one-1", "assignee") != who {
				t.Fatalf("%s, %q", w.value("act-one-1", "status"), w.value("act-one-1", "assignee"))
			}
		})
	}
}

// TestEligibleAssignees: one answer for every reason.
func TestEligibleAssignees(t *testing.T) {
	w := field(t)
	w.load(row("schedulingRole", "skill-gas-1", "name", "Gas"),
		row("jobActivity", "act-gas-01", "job", "job-one-1", "title", "Gas", "schedulingRole", "skill-gas-1"),
		row("clientVisibility", "vis-eng-2", "employee", "emp-eng-2", "mode", "all-but"),
		row("visibilityRule", "rule-eng-2", "visibility", "vis-eng-2", "client", "client-one"),
		row("employee", "emp-off-1", "name", "Off", "email", "off@example.com", "kind", "in-house", "status", "Disabled"))
	assign := func(id ident.RecordID, to string) error {
		return w.do(write("emp-mgr-1", command.Write{Op: "action", Type: "jobActivity", ID: id, Action: "assign", Args: obj("assignee", to)})).Err
	}
	var texts []string
	for _, err := range []error{
		assign("act-one-1", "emp-eng-2"),     // does not see the client
		assign("act-one-1", "emp-off-1"),     // disabled
		assign("act-one-1", "emp-nowhere-1"), // absent
		assign("act-one-1", "client-one"),    // nobody
		assign("act-gas-01", "emp-eng-1"),    // lacks the skill
		w.do(write("emp-mgr-1", command.Write{Op: "create", Type: "jobActivity", Fields: obj("job", "job-one-1", "title", "x", "assignee", "emp-off-1")})).Err,
		w.do(write("emp-mgr-1", command.Write{Op: "create", Type: "jobActivity", Fields: obj("job", "job-one-1", "title", "x", "assignee", "emp-eng-2")})).Err,
		w.do(write("emp-mgr-1", command.Write{Op: "create", Type: "jobActivity", Fields: obj("job", "job-one-1", "title", "x", "assignee", "emp-nowhere-1")})).Err,
		w.do(write("emp-mgr-1", command.Write{Op: "create", Type: "jobActivity", Fields: obj("job", "job-one-1", "title", "x", "assignee", "client-one")})).Err,
	} {
		if !fault.Is(err, fault.AssigneeNotEligible) {
			t.Fatal(err)
		}
		texts = append(texts, err.Error())
	}
	for _, s := range texts {
		if s != texts[0] {
			t.Errorf("%q differs from %q", s, texts[0])
		}
	}
	w.load(command.Row{Type: "employee", ID: "emp-eng-1", Fields: command.Object{"schedulingRoles": json.RawMessage(`["skill-gas-1"]`)}})
	if err := assign("act-gas-01", "emp-eng-1"); err != nil {
		t.Fatal(err)
	}
}

// TestDispatching: R13: a person is sent in the scheduling role that is asked for
// or, where none is, in one of their own: in its hours, by who may send its
// holders; what one may do for another includes sending.
func TestDispatching(t *testing.T) {
	w := field(t)
	const hours = `[{"id":"1","day":"wednesday","from":"08:00","until":"16:00"}]` // of 2023-11-15
	const inside, outside = "2023-11-15T09:00:00Z", "2023-11-15T18:00:00Z"
	w.load(person("emp-mgr-2", "service.manager")...)
	w.load(row("schedulingRole", "skill-lead-1", "name", "Lead"),
		row("schedulingRole", "skill-gas-1", "name", "Gas"), row("schedulingRole", "skill-call-1", "name", "On call"))
	w.load(command.Row{Type: "schedulingRole", ID: "skill-gas-1", Fields: command.Object{
		"hours": json.RawMessage(hours), "dispatchedBy": json.RawMessage(`["skill-lead-1"]`),
	}})
	skilled := func(who ident.RecordID, skills string) {
		w.load(command.Row{Type: "employee", ID: who, Fields: command.Object{"schedulingRoles": json.RawMessage(skills)}})
	}
	w.load(row("jobActivity", "act-gas-01", "job", "job-one-1", "title", "Gas", "schedulingRole", "skill-gas-1"))
	assign := func(by, id ident.RecordID, to, when string) error {
		return w.do(write(by, command.Write{Op: "action", Type: "jobActivity", ID: id, Action: "assign", Args: obj("assignee", to, "scheduledStart", when)})).Err
	}
	check := func(what string, err error, ok bool) {
		t.Helper()
		if ok && err != nil || !ok && !fault.Is(err, fault.AssigneeNotEligible) {
			t.Errorf("%s: %v", what, err)
		}
	}
	skilled("emp-eng-1", `["skill-gas-1"]`)
	check("by who may not send", assign("emp-mgr-1", "act-gas-01", "emp-eng-1", inside), false)
	check("not asked for, by who may not send", assign("emp-mgr-1", "act-one-1", "emp-eng-1", inside), false)
	check("without a role", assign("emp-mgr-1", "act-one-1", "emp-eng-2", outside), true)
	skilled("emp-mgr-1", `["skill-gas-1"]`)
	check("to oneself", assign("emp-mgr-1", "act-gas-01", "emp-mgr-1", inside), true)
	skilled("emp-mgr-1", `["skill-lead-1"]`)
	check("in hours", assign("emp-mgr-1", "act-gas-01", "emp-eng-1", inside), true)
	check("after hours", assign("emp-mgr-1", "act-gas-01", "emp-eng-1", outside), false)
	check("not asked for, after hours", assign("emp-mgr-1", "act-one-1", "emp-eng-1", outside), false)
	// Another role that the person holds has no hours; it is not the one asked for.
	skilled("emp-eng-1", `["skill-call-1","skill-gas-1"]`)
	check("on call", assign("emp-mgr-1", "act-one-1", "emp-eng-1", outside), true)
	check("on call for gas", assign("emp-mgr-1", "act-gas-01", "emp-eng-1", outside), false)
	// Who acts for somebody sends for them, and no longer than that.
	check("by a colleague", assign("emp-mgr-2", "act-gas-01", "emp-eng-1", inside), false)
	w.load(row("delegation", "deleg-mgr-1", "delegator", "emp-mgr-1", "delegate", "emp-mgr-2", "until", "2023-12-01T00:00:00Z"))
	check("by who acts for the lead", assign("emp-mgr-2", "act-gas-01", "emp-eng-1", inside), true)
	// A role that is gone bounds nothing.
	w.ok(write("emp-ada-1", command.Write{Op: "delete", Type: "schedulingRole", ID: "skill-gas-1"}))
	check("in a role that is gone", assign("emp-mgr-1", "act-gas-01", "emp-eng-1", outside), true)
}

// TestTimeBound: a role begins and ends at its instants, to the millisecond,
// by whatever entry carries time there.
func TestTimeBound(t *testing.T) {
	w := field(t)
	w.load(person("emp-tmp-1")...)
	from, until := w.now+100_000, w.now+200_000
	w.load(row("roleAssignment", "ra-tmp-001", "employee", "emp-tmp-1", "role", "service.guest", "from", from.RFC3339(), "until", until.RFC3339()))
	for _, x := range []struct {
		at   ident.Millis
		want bool
	}{{from - 1, false}, {from, true}, {until - 1, true}, {until, false}} {
		w.now = x.at - 1000
		w.ok(&command.Command{Tick: &command.Tick{}})
		if got := w.sees("emp-tmp-1", "job-one-1"); got != x.want {
			t.Errorf("at %d of %d..%d: %v", x.at, from, until, got)
		}
	}
}

func TestImportIsForAdministrators(t *testing.T) {
	w := field(t)
	c := rows(row("salesArea", "area-west-1", "name", "West"))
	c.Actor = "emp-mgr-1"
	w.refused(fault.NotAllowed, c)
	c = rows(row("salesArea", "area-west-1", "name", "West"))
	c.Actor = "emp-ada-1"
	if r := w.ok(c); r.Count.Created != 1 {
		t.Fatalf("%+v", r.Count)
	}
}

// TestImportKeepsClients: a row can't put a record under another client than
// its root's.
func TestImportKeepsClients(t *testing.T) {
	w := field(t)
	for _, r := range []command.Row{
		row("job", "job-one-1", "clientId", "client-two"),
		row("job", "job-new-01", "client", "client-one", "title", "x", "clientId", "client-two"),
		row("client", "client-one", "clientId", "client-two"),
		row("job", "job-one-1", "client", "client-two"),
		row("employee", "emp-bob-1", "name", "Bob", "email", "b@example.com", "kind", "in-house", "status", "Active", "clientId", "client-one"),
	} {
		if res := w.ok(rows(r)); len(res.Count.Rejected) != 1 {
			t.Errorf("%s %v taken", r.ID, r.Fields)
		}
	}
	if res := w.ok(rows(row("job", "job-one-1", "clientId", "client-one"))); res.Count.Same != 1 {
		t.Errorf("%+v", res.Count)
	}
}

func TestIdempotencyKeys(t *testing.T) {
	w := field(t)
	create := func(hash string) *command.Command {
		return write("emp-mgr-1", command.Write{Op: "create", Type: "job", Fields: obj("client", "client-one", "title", "New"), Key: "key", KeyHash: []byte(hash)})
	}
	a := w.ok(create("h"))
	b := w.ok(create("h"))
	if a.ID != b.ID || !b.Replayed || len(b.Body) == 0 {
		t.Fatalf("%+v", b)
	}
	w.refused(fault.KeyReused, create("other"))
	// Another person's key is another key; a hidden record shows nothing.
	c := create("h")
	c.Actor = "emp-ada-1"
	w.refused(fault.NotAllowed, c)
	w.load(row("clientVisibility", "vis-mgr-1", "employee", "emp-mgr-1", "mode", "all-but"),
		row("visibilityRule", "rule-mgr-1", "visibility", "vis-mgr-1", "client", "client-one"))
	if r := w.ok(create("h")); !r.Replayed || len(r.Body) != 0 || r.Rev != "" {
		t.Fatalf("a repetition shows what is hidden: %s", r.Body)
	}
	long := create("h")
	long.Write.Key = string(make([]byte, 1000))
	w.refused(fault.BadParameter, long)
}

// TestOrganizationalRolesAreChecked: a role that can't be compiled is refused
// when it is written, not found to give nothing later.
func TestOrganizationalRolesAreChecked(t *testing.T) {
	w := field(t)
	role := func(fields string) command.Row {
		var o command.Object
		if err := json.Unmarshal([]byte(fields), &o); err != nil {
			t.Fatal(err)
		}
		return command.Row{Type: "organizationalRole", ID: "org-role-1", Fields: o}
	}
	for _, bad := range []string{
		`{"name":"A","baseRoles":["no.such-role"]}`,
		`{"name":"A","baseRoles":["level.customer-administrator"]}`,
		`{"name":"A","baseRoles":["base"]}`,
		`{"name":"A","baseRoles":["service.guest"],"cutFields":["client.noSuchField"]}`,
		`{"name":"A","baseRoles":["service.guest"],"cutFields":["nothing"]}`,
	} {
		if c := w.ok(rows(role(bad))).Count; len(c.Rejected) != 1 || !fault.Is(c.Rejected[0].Err, fault.BadValue) {
			t.Errorf("%s: %+v", bad, c)
		}
	}
	w.load(role(`{"name":"A","baseRoles":["service.guest"],"cutFields":["client.name"],"apps":["service"]}`))
	if c := w.ok(rows(role(`{"cutFields":["client.noSuchField"]}`))).Count; len(c.Rejected) != 1 {
		t.Errorf("changed: %+v", c)
	}
}

// What names no role, type, field or action is refused, rather than giving or
// taking nothing.
func TestWhatDecidesRightsIsChecked(t *testing.T) {
	w := field(t)
	refused := func(typ, fields string) {
		t.Helper()
		var o command.Object
		if err := json.Unmarshal([]byte(fields), &o); err != nil {
			t.Fatal(err)
		}
		c := w.ok(rows(command.Row{Type: typ, ID: "decides-01", Fields: o})).Count
		if len(c.Rejected) != 1 || (!fault.Is(c.Rejected[0].Err, fault.BadValue) && !fault.Is(c.Rejected[0].Err, fault.MissingField)) {
			t.Errorf("%s %s: %+v", typ, fields, c)
		}
	}
	for _, role := range []string{"no.such-role", "base", "client-one"} {
		refused("roleAssignment", `{"employee":"emp-eng-1","role":"`+role+`"}`)
	}
	for _, p := range []string{
		`"effect":"grant","entityType":"client"`,
		`"effect":"grant","verb":"fly","entityType":"client"`,
		`"effect":"denial","verb":"view","entityType":"clients"`,
		`"effect":"denial","verb":"view","entityType":"client","field":"nothing"`,
	} {
		refused("individualPermission", `{"employee":"emp-eng-1",`+p+`}`)
	}
}
