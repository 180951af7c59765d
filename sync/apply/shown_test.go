package apply_test

import (
	"testing"

	"satchel/sync/apply"
	"satchel/sync/oplog"
)

// TestRepeatedPushShowsNothingAbsent: a result that is told again shows nothing
// of a record that has become context-only, beneath nothing that is seen.
func TestRepeatedPushShowsNothingAbsent(t *testing.T) {
	w := field(t)
	w.load(append(person("emp-rep-1", "sales.representative"), person("emp-rep-2", "sales.representative")...)...)
	p := w.signIn("emp-rep-1", "i1")
	w.load(row("task", "task-free-1", "title", "Old", "assignee", "emp-rep-1", "notes", "office"))
	m := patch("task", "task-free-1", obj("notes", "phone"), obj("notes", ""))
	m.N, m.Hash = 1, []byte("h")
	p.n = 1
	if first := p.push(m)[0]; len(first.Conflicts) != 1 || string(first.Conflicts[0].Theirs) != `"office"` {
		t.Fatalf("%+v", first)
	}
	w.load(row("task", "task-free-1", "assignee", "emp-rep-2", "notes", "SECRET of two"))
	got := p.push(m)[0]
	if got.Rev != "" || len(got.Conflicts) != 1 || string(got.Conflicts[0].Theirs) != "null" {
		t.Errorf("%+v", got)
	}
}

// touched reports whether what change does wakes the phone.
func touched(t *testing.T, w *world, p *phone, change func()) bool {
	var eff apply.Effects
	w.m.OnCommit = func(_ oplog.Entry, res []apply.Result, e apply.Effects) { w.res, eff = res, e }
	change()
	snap, err := w.eng.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer snap.Close()
	w.m.Rest(snap)
	defer w.m.Leave()
	hit := false
	w.m.Touched(eff, []apply.Watched{{Device: p.id, Employee: p.who}}, func(int) { hit = true })
	return hit
}

// TestWokenByWhatIsDenied: who may not see members of campaigns is still woken
// when one brings its campaign into view.
func TestWokenByWhatIsDenied(t *testing.T) {
	w := field(t)
	w.load(person("emp-crm-1", "crm.manager")...)
	area := row("employee", "emp-crm-1")
	area.Fields["salesAreas"] = []byte(`["area-north"]`)
	w.load(area)
	w.load(row("individualPermission", "perm-crm-1", "employee", "emp-crm-1", "effect", "denial", "verb", "view", "entityType", "campaignMember"),
		row("campaign", "camp-one-1", "name", "Spring"))
	p := w.signIn("emp-crm-1", "i1")
	p.sync()
	p.sync()
	hit := touched(t, w, p, func() { w.load(row("campaignMember", "mem-one-1", "campaign", "camp-one-1", "client", "client-one")) })
	if sent, _ := p.sync(); !hit || !sent["camp-one-1"] {
		t.Errorf("woken %v, the campaign arrives %v", hit, sent["camp-one-1"])
	}
}
