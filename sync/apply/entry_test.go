package apply_test

import (
	"slices"
	"testing"
	"time"

	"satchel/internal/command"
	"satchel/internal/ident"
	"satchel/sync/wire"
)

// TestPullsComeLast: a page stands for the whole entry it is part of, so a
// change made after it in the same entry is neither lost nor sent too early.
func TestPullsComeLast(t *testing.T) {
	w := field(t)
	p := w.signIn("emp-mgr-1", "i1")
	p.sync()
	w.load(row("site", "site-one-1", "client", "client-one", "name", "HQ"))
	// The pull stands between two writes; the second one's change has the same
	// position as the page.
	res := w.entry(
		write("emp-mgr-1", command.Write{Op: "patch", Type: "job", ID: "job-one-1", Fields: obj("title", "First")}),
		p.pulling(command.Pull{}),
		write("emp-mgr-1", command.Write{Op: "patch", Type: "job", ID: "job-two-1", Fields: obj("title", "Second")}),
	)
	for i, r := range res {
		if r.Err != nil {
			t.Fatalf("command %d: %v", i, r.Err)
		}
	}
	got := map[string]bool{}
	for _, r := range p.page(res[1]).Records {
		got[r.ID] = true
	}
	more, _ := p.sync()
	if !got["job-two-1"] && !more["job-two-1"] {
		t.Fatal("the change behind the pull is lost")
	}
}

// TestPullAfterHiding: what an entry takes away, no page of it still carries.
func TestPullAfterHiding(t *testing.T) {
	w := field(t)
	p := w.signIn("emp-mgr-1", "i1")
	res := w.entry(
		p.pulling(command.Pull{}),
		rows(row("clientVisibility", "vis-mgr-1", "employee", "emp-mgr-1", "mode", "all-but"),
			row("visibilityRule", "rule-mgr-1", "visibility", "vis-mgr-1", "client", "client-one")),
	)
	for _, r := range p.page(res[0]).Records {
		if r.ID == "client-one" || r.ID == "job-one-1" {
			t.Fatalf("%s left in the commit that hides it", r.ID)
		}
	}
}

// TestWindowEdge: a time that moves within its day past the edge of a window
// takes the activity off the device, although no index by day changes.
func TestWindowEdge(t *testing.T) {
	w := field(t)
	w.load(row("jobActivity", "act-one-1", "scheduledStart", "2023-11-20T09:00:00Z"))
	p := w.signIn("emp-eng-1", "i1")
	at := func(s string) ident.Millis {
		v, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return ident.MillisOf(v)
	}
	c := p.pulling(command.Pull{Profile: "field", Window: &command.Window{From: at("2023-11-20T08:00:00Z"), To: at("2023-11-20T12:00:00Z")}})
	first := p.page(w.do(c))
	if !slices.ContainsFunc(first.Records, func(r wire.Record) bool { return r.ID == "act-one-1" }) {
		t.Fatal("the activity is within the window")
	}
	p.sync()
	w.ok(write("emp-mgr-1", command.Write{Op: "patch", Type: "jobActivity", ID: "act-one-1", Fields: obj("scheduledStart", "2023-11-20T15:00:00Z")}))
	if _, removed := p.sync(); !removed["act-one-1"] {
		t.Fatal("the activity left the window and not the device")
	}
	w.ok(write("emp-mgr-1", command.Write{Op: "patch", Type: "jobActivity", ID: "act-one-1", Fields: obj("scheduledStart", "2023-11-20T11:00:00Z")}))
	if sent, _ := p.sync(); !sent["act-one-1"] {
		t.Fatal("the activity came back into the window and not to the device")
	}
}
