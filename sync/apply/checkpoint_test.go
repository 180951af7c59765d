package apply_test

import (
	"testing"

	"satchel/internal/command"
)

// TestForeignCheckpoints: a checkpoint is its device's own. From anybody else's,
// another device's of the same person among them, everything is sent anew.
func TestForeignCheckpoints(t *testing.T) {
	w := field(t)
	one, two, other := w.signIn("emp-eng-1", "i1"), w.login("emp-eng-1", "i2"), w.signIn("emp-mgr-1", "i3")
	for _, p := range []*phone{one, two, other} {
		p.sync()
	}
	for _, from := range []*phone{two, other} {
		if from.cp == one.cp {
			t.Fatal("two devices have one checkpoint")
		}
		c := one.pulling(command.Pull{})
		c.Pull.Checkpoint = from.cp
		own := one.cp
		if pg := one.page(w.do(c)); !pg.Reset || pg.ResetTypes != nil {
			t.Errorf("from the checkpoint of %s: reset %v, %d records", from.id, pg.Reset, len(pg.Records))
		}
		if sent, _ := one.sync(); one.cp == own || len(sent) != 0 {
			t.Errorf("after the reset: %v", sent)
		}
	}
	// Its own is good still.
	w.load(row("jobActivity", "act-one-1", "title", "Later"))
	if pg := one.pull(); pg.Reset || len(pg.Records) != 1 {
		t.Errorf("from its own: reset %v, %d records", pg.Reset, len(pg.Records))
	}
}
