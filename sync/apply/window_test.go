package apply_test

import (
	"testing"

	"satchel/internal/command"
	"satchel/internal/ident"
)

// TestWindowMoves: the default window of a field device moves with the tenant's
// day, though nothing is written; one that the device named stands.
func TestWindowMoves(t *testing.T) {
	w := field(t)
	const day = 24 * 60 * 60 * 1000
	at := func(days int) string { return (w.now + ident.Millis(days*day)).RFC3339() }
	w.load(
		row("jobActivity", "act-one-1", "scheduledStart", at(-29)),
		row("jobActivity", "act-two-1", "scheduledStart", at(95)),
	)
	p := w.signIn("emp-eng-1", "i1")
	p.page(w.do(p.pulling(command.Pull{Profile: "field"})))
	p.sync()
	stays := w.login("emp-eng-1", "i2")
	stays.page(w.do(stays.pulling(command.Pull{Profile: "field", Window: &command.Window{From: w.now - 40*day, To: w.now + 40*day}})))
	stays.sync()
	p.sync() // what is remembered of it is of the present state
	w.now += 10 * day
	sent, removed := p.sync()
	if !removed["act-one-1"] || !sent["act-two-1"] {
		t.Errorf("after ten days the device is sent %v and rid of %v", sent, removed)
	}
	if sent, removed := stays.sync(); len(sent) != 0 || removed["act-one-1"] {
		t.Errorf("a window that was named moved: %v, %v", sent, removed)
	}
}
