package apply_test

import (
	"encoding/json"
	"testing"

	"satchel/internal/command"
	"satchel/internal/fault"
	"satchel/internal/ident"
)

// TestReferencesInArguments: every record that an action is told of must be
// one that its actor sees; hidden, absent and out of reach are one answer.
func TestReferencesInArguments(t *testing.T) {
	w := field(t)
	w.load(person("emp-ops-1", "sales.operations")...)
	w.load(person("emp-rep-1", "sales.representative")...)
	w.load(
		row("clientVisibility", "vis-ops-1", "employee", "emp-ops-1", "mode", "all-but"),
		row("visibilityRule", "rule-ops-1", "visibility", "vis-ops-1", "client", "client-two"),
		row("tag", "tag-key-1", "name", "Key", "visibility", "public"),
		row("task", "task-own-1", "title", "x", "assignee", "emp-ops-1"),
		row("task", "task-one-1", "title", "x", "client", "client-one", "assignee", "emp-rep-1"),
		row("task", "task-loose-1", "title", "x", "assignee", "emp-rep-1"),
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
