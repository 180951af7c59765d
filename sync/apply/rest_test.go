package apply_test

import (
	"testing"

	"satchel/internal/command"
	"satchel/internal/fault"
	"satchel/sync/apply"
	"satchel/sync/state"
)

// TestRestKnowsTheTime: a machine that has folded nothing yet answers as of the
// time at which the state stands: a session that has run out is over.
func TestRestKnowsTheTime(t *testing.T) {
	w := field(t)
	w.load(person("emp-mgr-1", "service.manager")...)
	p := w.signIn("emp-mgr-1", "i1")
	p.sync()
	p.pull()
	peek := func() (res apply.Result, done bool) {
		m := apply.New(apply.Config{Cat: w.cat, Roles: w.roles})
		m.SetEpoch(w.log.Epoch())
		w.reader(func(rd *state.Reader) {
			m.Rest(rd.KV())
			defer m.Leave()
			res, done = m.Peek(p.pulling(command.Pull{}))
		})
		return res, done
	}
	if res, done := peek(); !done || res.Err != nil {
		t.Fatalf("%v, %v", done, res.Err)
	}
	w.now += apply.SessionIdle
	w.ok(&command.Command{Tick: &command.Tick{}})
	if res, _ := peek(); !fault.Is(res.Err, fault.SessionRevoked) {
		t.Errorf("a session that has run out is answered %v", res.Err)
	}
}
