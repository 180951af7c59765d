package tenant

import (
	"time"

	"satchel/internal/ident"
	"satchel/sync/apply"
)

// processStart is what entries are dated by, steadily.
var processStart = time.Now()

// Hold keeps the tenant from being taken for idle until the function it returns
// is called: for who uses the engine for long.
func (t *Tenant) Hold() (release func()) {
	t.reading.Add(1)
	return func() { t.reading.Add(-1) }
}

// Idle reports whether nobody would notice if the tenant was closed: for so long
// nothing was entered, nobody reads, waits for an answer or is live, and no device
// is about to be told to pull. What nobody has asked for is the caller's to know.
// due is when something falls due, 0 for never: by then it is to be open.
func (t *Tenant) Idle(quiet time.Duration) (due ident.Millis, idle bool) {
	if t.Failed() != nil || time.Since(processStart)-time.Duration(t.entered.Load()) < quiet {
		return 0, false
	}
	if t.reading.Load() > 0 || len(t.queue) > 0 || len(t.pages) > 0 || t.LiveCount() > 0 || !t.sleepers.settled() {
		return 0, false
	}
	snap, err := t.opts.Engine.Snapshot()
	if err != nil {
		return 0, false
	}
	defer snap.Close()
	due, _ = apply.NextDue(snap)
	return due, true
}

// settled reports whether no device is to be looked at or told.
func (s *sleepers) settled() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.owed) == 0 && len(s.recheck) == 0
}
