package apply_test

import (
	"encoding/json"
	"strings"
	"testing"

	"satchel/internal/command"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/sync/wire"
)

// tagging is field with somebody who tags, from whom a client is hidden, a tag,
// and somebody else's work.
func tagging(t *testing.T) *world {
	t.Helper()
	w := field(t)
	w.load(person("emp-ops-1", "sales.operations")...)
	w.load(person("emp-rep-1", "sales.representative")...)
	w.load(
		row("clientVisibility", "vis-ops-1", "employee", "emp-ops-1", "mode", "all-but"),
		row("visibilityRule", "rule-ops-1", "visibility", "vis-ops-1", "client", "client-two"),
		row("tag", "tag-key-1", "name", "Key", "visibility", "public"),
		row("task", "task-one-1", "title", "x", "client", "client-one", "assignee", "emp-rep-1"),
		row("task", "task-loose-1", "title", "x", "assignee", "emp-rep-1"),
	)
	return w
}

// TestReferencesInArguments: every record that an action is told of must be
// one that its actor sees; hidden, absent and out of reach are one answer.
func TestReferencesInArguments(t *testing.T) {
	w := tagging(t)
	w.load(
		row("task", "task-own-1", "title", "x", "assignee", "emp-ops-1"),
	)
	attach := func(action string, ids ...string) *command.Command {
		raw, err := json.Marshal(ids)
		if err != nil {
			t.Fatal(err)
		}
		return write("emp-ops-1", command.Write{
			Op: "action", App: "sales", Type: "tag", ID: "tag-key-1", Action: action, Args: command.Object{"records": raw},
		})
	}
	for _, action := range []string{"bulk-attach", "bulk-detach"} {
		var said string
		for _, id := range []string{"never-was-1", "client-two", "task-loose-1", "job-one-1", "emp-ada-1"} {
			r := w.do(attach(action, "client-one", id))
			f := fault.Of(r.Err)
			if f == nil || f.Code != fault.BadReference || f.Field != "records" {
				t.Fatalf("%s of %s: %v", action, id, r.Err)
			}
			if said == "" {
				said = f.Message
			}
			if f.Message != said {
				t.Errorf("%s of %s says %q, of what never was %q", action, id, f.Message, said)
			}
		}
	}
	if got := w.referring("tagging", "tag", "tag-key-1"); len(got) != 0 {
		t.Fatalf("a refused action left %v", got)
	}
	w.ok(attach("bulk-attach", "client-one", "task-one-1", "task-own-1"))
	w.ok(attach("bulk-attach", "client-one"))
	if got := w.referring("tagging", "tag", "tag-key-1"); len(got) != 3 {
		t.Fatalf("the tag is on %v", got)
	}
	w.ok(attach("bulk-detach", "client-one", "task-own-1"))
	if got := w.referring("tagging", "parent", "task-one-1"); len(got) != 1 {
		t.Fatalf("the tag left on the task is %v", got)
	}
	w.refused(fault.BadValue, attach("bulk-attach", "x"))
	w.refused(fault.MissingField, attach("bulk-attach"))
}

// TestContextOnlyBeneathNothing: what is seen only beneath a parent is absent
// where there is none to be seen, for whoever would write it or refer to it.
func TestContextOnlyBeneathNothing(t *testing.T) {
	w := field(t)
	w.load(person("emp-rep-1", "sales.representative")...)
	w.load(person("emp-rep-2", "sales.representative")...)
	w.load(
		row("task", "task-one-1", "title", "x", "client", "client-one", "assignee", "emp-rep-2"),
		row("task", "task-loose-1", "title", "x", "assignee", "emp-rep-2"),
	)
	for id, code := range map[ident.RecordID]fault.Code{
		"task-one-1": fault.NotAllowed, "task-loose-1": fault.NotFoundCode, "never-was-1": fault.NotFoundCode,
	} {
		w.refused(code, write("emp-rep-1", command.Write{Op: "patch", Type: "task", ID: id, Fields: obj("title", "y")}))
		w.refused(code, write("emp-rep-1", command.Write{Op: "delete", Type: "task", ID: id}))
		w.refused(code, write("emp-rep-1", command.Write{Op: "action", Type: "task", ID: id, Action: "complete"}))
	}
	comment := func(parent string) *command.Command {
		return write("emp-rep-1", command.Write{Op: "create", Type: "comment", Fields: obj("parent", parent, "text", "x")})
	}
	w.refused(fault.NotAllowed, comment("task-one-1"))
	w.refused(fault.BadReference, comment("task-loose-1"))
	w.refused(fault.BadReference, comment("never-was-1"))
	// Made for somebody else it is theirs; who made it is not shown it again.
	r := w.ok(write("emp-rep-1", command.Write{Op: "create", Type: "task", Fields: obj("title", "x", "assignee", "emp-rep-2")}))
	if r.ID == "" || r.Body != nil {
		t.Errorf("made %q, shown %s", r.ID, r.Body)
	}
}

// TestClientToBeNamed: work beneath an opportunity names its client.
func TestClientToBeNamed(t *testing.T) {
	w := field(t)
	w.load(person("emp-rep-1", "sales.representative")...)
	w.load(row("opportunity", "opp-one-1", "name", "x", "client", "client-one", "owner", "emp-rep-1"))
	task := func(kv ...string) *command.Command {
		return write("emp-rep-1", command.Write{Op: "create", Type: "task", Fields: obj(append(kv, "title", "x", "opportunity", "opp-one-1")...)})
	}
	r := w.do(task())
	if f := fault.Of(r.Err); f == nil || f.Code != fault.MissingField || f.Field != "client" {
		t.Errorf("without a client: %v", r.Err)
	}
	w.refused(fault.BadReference, task("client", "client-two"))
	w.ok(task("client", "client-one"))
	res := w.ok(rows(row("task", "task-imported", "title", "x", "opportunity", "opp-one-1")))
	if len(res.Count.Rejected) != 1 || !fault.Is(res.Count.Rejected[0].Err, fault.MissingField) {
		t.Errorf("imported without a client: %+v", res.Count)
	}
}

// TestUnreadArguments: what an action would write into a field that its actor
// does not see is no argument to them, told in the words for one that there is
// not, whichever way the action comes: by itself, pushed by a device, or as
// refused work that somebody replays.
func TestUnreadArguments(t *testing.T) {
	w := field(t)
	w.load(row("geoArea", "geo-west-1", "name", "West"),
		row("opportunity", "opp-one-1", "name", "x", "client", "client-one"))
	w.load(person("emp-boss-1", "level.customer-administrator", "service.manager", "sales.administrator")...)
	deny := func(who, typ, name string) ident.RecordID {
		id := ident.RecordID(strings.ToLower("deny-" + who + "-" + name))
		w.load(row("individualPermission", id, "employee", who, "effect", "denial", "verb", "view", "entityType", typ, "field", name))
		return id
	}
	refusedAlike := func(who ident.RecordID, x command.Write, name, value string) {
		t.Helper()
		var words [2]string
		for i, arg := range []string{name, "neverWas"} {
			x.Op, x.Args = "action", obj(arg, value)
			f := fault.Of(w.do(write(who, x)).Err)
			if f == nil || f.Code != fault.UnknownField || f.Field != arg {
				t.Fatalf("%s {%s}: %v", x.Action, arg, f)
			}
			words[i] = strings.ReplaceAll(f.Message, arg, "…")
		}
		if words[0] != words[1] {
			t.Errorf("%q, of what is no argument %q", words[0], words[1])
		}
	}
	deny("emp-boss-1", "opportunity", "lostReason")
	deny("emp-boss-1", "client", "geoArea")
	deny("emp-mgr-1", "jobActivity", "assignee")
	lose := command.Write{Type: "opportunity", ID: "opp-one-1", Action: "lose"}
	refusedAlike("emp-boss-1", lose, "lostReason", "too dear")
	refusedAlike("emp-boss-1", command.Write{Type: "client", ID: "client-one", Action: "set-area"}, "geoArea", "geo-west-1")
	refusedAlike("emp-mgr-1", command.Write{Type: "jobActivity", ID: "act-one-1", Action: "assign"}, "assignee", "emp-eng-2")
	w.refused(fault.MissingField, write("emp-mgr-1", command.Write{Op: "action", Type: "jobActivity", ID: "act-one-1", Action: "assign"}))
	for id, was := range map[ident.RecordID][2]string{
		"opp-one-1": {"lostReason", ""}, "client-one": {"geoArea", ""}, "act-one-1": {"assignee", "emp-eng-1"},
	} {
		if got := w.value(id, was[0]); got != was[1] {
			t.Errorf("%s of %s is %q", was[0], id, got)
		}
	}
	lose.Op = "action"
	w.ok(write("emp-boss-1", lose)) // the action is theirs, the words are not

	// A phone's action is refused alike and kept; whoever replays it is judged
	// by what they see themselves.
	deny("emp-eng-1", "jobActivity", "workDone")
	boss := deny("emp-boss-1", "jobActivity", "workDone")
	p := w.signIn("emp-eng-1", "i1")
	p.sync()
	res := p.push(
		act("jobActivity", "act-one-1", "accept", nil), act("jobActivity", "act-one-1", "start", nil),
		act("jobActivity", "act-one-1", "clear", obj("workDone", "typed blind")),
	)
	want(t, res[1], wire.Applied, "")
	want(t, res[2], wire.Refused, fault.UnknownField)
	b := command.Bundle{Device: p.id, Root: 3}
	if r := w.ok(replay("emp-boss-1", b, nil)).Replay; r.Done || r.Results[0].Code != string(fault.UnknownField) {
		t.Fatalf("replayed unseen: %+v", r)
	}
	w.ok(write("emp-ada-1", command.Write{Op: "delete", Type: "individualPermission", ID: boss}))
	if r := w.ok(replay("emp-boss-1", b, nil)).Replay; !r.Done || w.value("act-one-1", "workDone") != "typed blind" {
		t.Fatalf("replayed: %+v", r)
	}
}
