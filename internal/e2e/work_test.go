package e2e_test

import (
	"testing"
)

// TestFirstSlice: an engineer's own activity arrives, is accepted without a
// network, and the manager sees that when the phone is back.
func TestFirstSlice(t *testing.T) {
	s := newServer(t)
	engineer, manager := s.phone(eve, "field"), s.phone(mia, "office")
	engineer.want("jobActivity/act-one-1", "job/job-one-1", "client/client-one")
	engineer.lacks("jobActivity/act-one-2")
	live := manager.follow()
	engineer.act("jobActivity", "act-one-1", "accept", nil)
	if r, _ := engineer.Get("jobActivity", "act-one-1"); !r.Pending || r.Text("status") != "Assigned" {
		t.Fatalf("offline: %+v", r)
	}
	if got := manager.text("jobActivity", "act-one-1", "status"); got != "Assigned" {
		t.Fatalf("manager sees %q before the push", got)
	}
	engineer.sync()
	if got := engineer.text("jobActivity", "act-one-1", "status"); got != "Accepted" {
		t.Fatalf("engineer sees %q", got)
	}
	soon(t, "the manager sees it accepted", func() bool { return manager.text("jobActivity", "act-one-1", "status") == "Accepted" })
	_ = live
	engineer.verify()
	manager.verify()
}
