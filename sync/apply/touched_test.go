package apply_test

import (
	"slices"
	"testing"

	"satchel/internal/command"
	"satchel/internal/ident"
	"satchel/sync/apply"
	"satchel/sync/oplog"
	"satchel/sync/state"
)

// TestTouchedByNaming: whoever a changed record names, or named before, may
// have something to pull, whether or not they see the record: a guest agent
// holds the job of an activity that no list of theirs shows.
func TestTouchedByNaming(t *testing.T) {
	w := newWorld(t)
	w.ok(&command.Command{Setup: &command.Setup{Name: "Ada", Email: "ada@example.com", Employee: "emp-ada-1", Hash: "x", Secret: []byte("0123456789abcdef")}})
	w.load(append(append(append(
		person("emp-guest-1", "service.guest-agent", "mobile.service-agent-user"),
		person("emp-guest-2", "service.guest-agent", "mobile.service-agent-user")...),
		person("emp-other-1", "service.guest")...),
		row("salesArea", "area-north", "name", "North"),
		row("client", "client-one", "name", "One", "salesArea", "area-north"),
		row("job", "job-one-1", "client", "client-one", "title", "Boiler"),
		row("jobActivity", "act-one-1", "job", "job-one-1", "title", "Visit", "assignee", "emp-guest-1"),
	)...)
	one, two := w.signIn("emp-guest-1", "i1"), w.signIn("emp-guest-2", "i2")
	holds := func(p *phone) bool {
		pg := p.page(w.ok(p.pulling(command.Pull{Profile: "field"})))
		p.cp = pg.Checkpoint
		for _, r := range pg.Records {
			if r.ID == "job-one-1" {
				return true
			}
		}
		return false
	}
	if !holds(one) || holds(two) {
		t.Fatal("the job goes with the activity")
	}
	var eff apply.Effects
	w.m.OnCommit = func(_ oplog.Entry, res []apply.Result, e apply.Effects) { w.res, eff = res, e }
	w.load(row("jobActivity", "act-one-1", "assignee", "emp-guest-2"))
	snap, err := w.eng.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer snap.Close()
	w.m.Rest(snap)
	defer w.m.Leave()
	named := map[ident.RecordID]bool{}
	all := []apply.Watched{{Device: one.id, Employee: "emp-guest-1"}, {Device: two.id, Employee: "emp-guest-2"}}
	w.m.Touched(eff, all, func(i int) { named[all[i].Employee] = true })
	for _, x := range all {
		if !named[x.Employee] {
			t.Errorf("%s, whom the activity names before or after, is not touched", x.Employee)
		}
	}
}

// TestWatched: devices that are watched from entry to entry are named by what they
// hold by then, not by what they held when the watch began, and no more once it
// has ended.
func TestWatched(t *testing.T) {
	w := field(t)
	w.load(append(person("emp-mgr-1", "service.manager"), person("emp-mgr-2", "service.manager")...)...)
	one, two, three := w.signIn("emp-mgr-1", "i1"), w.login("emp-mgr-1", "i2"), w.signIn("emp-mgr-2", "i1")
	for _, p := range []*phone{one, two, three} {
		w.m.Watch(apply.Watched{Device: p.id, Employee: p.who})
	}
	var eff apply.Effects
	w.m.OnCommit = func(_ oplog.Entry, res []apply.Result, e apply.Effects) { w.res, eff = res, e }
	rename := func(title string) (named []*phone) {
		w.load(row("job", "job-one-1", "title", title))
		if eff.Moved {
			t.Fatal("a title moves no index")
		}
		w.reader(func(rd *state.Reader) {
			w.m.Rest(rd.KV())
			defer w.m.Leave()
			w.m.TouchedWatched(eff, func(id ident.DeviceID) {
				for _, p := range []*phone{one, two, three} {
					if p.id == id {
						named = append(named, p)
					}
				}
			})
		})
		return named
	}
	is := func(when string, got []*phone, want ...*phone) {
		t.Helper()
		if len(got) != len(want) {
			t.Fatalf("%s: %d devices are named, want %d", when, len(got), len(want))
		}
		for _, p := range want {
			if !slices.Contains(got, p) {
				t.Errorf("%s: one that is concerned is not named", when)
			}
		}
	}
	is("before they pulled", rename("A"))
	one.sync()
	is("one has pulled", rename("B"), one)
	two.sync()
	three.sync()
	is("all have", rename("C"), one, two, three)
	for _, p := range []*phone{one, two, three} {
		p.sync()
	}
	is("all have again", rename("D"), one, two, three)
	w.m.Unwatch(two.id)
	w.m.Unwatch(two.id)
	is("one is gone", rename("E"), one, three)
	w.load(row("clientVisibility", "vis-mgr-1", "employee", "emp-mgr-1", "mode", "all-but"),
		row("visibilityRule", "rule-mgr-1", "visibility", "vis-mgr-1", "client", "client-one"))
	one.sync()
	one.pull() // that it has let go of it
	is("hidden from one", rename("F"), three)
	w.m.Watch(apply.Watched{Device: two.id, Employee: two.who})
	is("one is back that may hold it", rename("G"), two, three)
}

// TestTouchedByTheNameThatGoes: who sees a task beneath its client alone has the
// name of whom it is assigned to, and not the task. The name goes with the task,
// or when the task is somebody else's.
func TestTouchedByTheNameThatGoes(t *testing.T) {
	for name, change := range map[string]func(w *world){
		"deleted":  func(w *world) { w.ok(write("", command.Write{Op: "delete", Type: "task", ID: "task-one-1"})) },
		"assigned": func(w *world) { w.load(row("task", "task-one-1", "assignee", "emp-rep-3")) },
		"set apart by another field": func(w *world) {
			w.load(row("visibilityRule", "rule-rep-1", "visibility", "vis-rep-1", "client", "client-one"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := field(t)
			w.load(append(append(person("emp-rep-1", "sales.representative"), person("emp-rep-2", "sales.guest")...), person("emp-rep-3", "sales.guest")...)...)
			w.load(row("clientVisibility", "vis-rep-1", "employee", "emp-rep-1", "mode", "all-but"),
				row("task", "task-one-1", "client", "client-one", "title", "Call", "assignee", "emp-rep-2"))
			p := w.signIn("emp-rep-1", "i1")
			sent, _ := p.sync()
			if p.pull(); !sent["emp-rep-2"] || sent["task-one-1"] {
				t.Fatalf("the device has the name: %v, and the task: %v", sent["emp-rep-2"], sent["task-one-1"])
			}
			hit := touched(t, w, p, func() { change(w) })
			if _, removed := p.sync(); !hit || !removed["emp-rep-2"] {
				t.Errorf("woken %v, the name goes %v", hit, removed["emp-rep-2"])
			}
		})
	}
}
