package apply_test

import (
	"testing"

	"satchel/internal/command"
	"satchel/internal/fault"
)

// TestMobileLostByACopy: a copy of a phone, still at an earlier page, holds what
// the original has handed back since; it is told to drop it before it is refused.
func TestMobileLostByACopy(t *testing.T) {
	w := field(t)
	p := w.signIn("emp-eng-1", "i1")
	p.page(w.do(p.pulling(command.Pull{Profile: "field"})))
	p.sync()
	original := *p
	if original.cp == "" {
		t.Fatal("the phone has nothing")
	}
	w.ok(write("emp-ada-1", command.Write{Op: "delete", Type: "roleAssignment", ID: "ra-emp-eng-1-1"}))
	p.pull()
	p.sync()
	w.refused(fault.MobileModuleRequired, p.pulling(command.Pull{}))

	for _, cp := range []string{original.cp, "7.0123456789abcdef0123"} {
		c := *p
		c.cp = cp
		r := w.do(c.pulling(command.Pull{}))
		if r.Err != nil || r.Page == nil || !r.Page.Reset || !r.Page.MobileEnded || len(r.Page.Items) > 0 {
			t.Fatalf("the copy at %q is answered %v, %+v", cp, r.Err, r.Page)
		}
		c.cp = r.Page.Checkpoint
		c.pull()
		w.refused(fault.MobileModuleRequired, c.pulling(command.Pull{}))
	}
}
