package app

import (
	"context"
	"log/slog"
	"time"

	"satchel/internal/ident"
	"satchel/sync/tenant"
)

// DefaultTenantIdle is after how long a tenant that nobody uses is closed.
const DefaultTenantIdle = 15 * time.Minute

// idling is what is known of tenants that nobody uses: they are closed, and
// opened when somebody asks for them or something in them falls due. Its fields
// are guarded by the lock of the Tenants it belongs to.
type idling struct {
	after  time.Duration                    // how long nobody used those that are closed; 0: none are
	asked  map[ident.TenantID]time.Time     // of open ones: when they were asked for last
	due    map[ident.TenantID]ident.Millis  // of closed ones: when something falls due
	moving map[ident.TenantID]chan struct{} // being opened or closed; closed when that is done
	// Set before anything is served, nil in tests: unfinished reports whether
	// files of a tenant are under way, sweep clears away what is over in it.
	unfinished func(ident.TenantID) bool
	sweep      func(context.Context, *tenant.Tenant) error
}

func newIdling() idling {
	return idling{
		asked: map[ident.TenantID]time.Time{}, due: map[ident.TenantID]ident.Millis{},
		moving: map[ident.TenantID]chan struct{}{},
	}
}

// move notes that a tenant is being opened or closed, until the function it
// returns is called. Both hold ts.mu.
func (ts *Tenants) move(id ident.TenantID) (done func()) {
	over := make(chan struct{})
	ts.idle.moving[id] = over
	ts.mending.work.Add(1)
	return func() {
		delete(ts.idle.moving, id)
		close(over)
		ts.mending.work.Done()
	}
}

const (
	// idleLook bounds how long nobody looks for idle tenants.
	idleLook = time.Minute
	// idleSweep is how long a tenant is closed before it is opened for what is
	// over in it to be cleared away.
	idleSweep = 24 * time.Hour
)

// tend closes tenants that nobody uses and opens those in which something falls
// due, until ctx ends.
func (ts *Tenants) tend(ctx context.Context) {
	if ts.idle.after <= 0 {
		return
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		ts.wakeDue(ctx)
		ts.closeIdle()
		timer.Reset(ts.untilTended())
	}
}

// untilTended is how long there is nothing to tend.
func (ts *Tenants) untilTended() time.Duration {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	wait, now := min(idleLook, ts.idle.after), ident.MillisOf(ts.clock())
	for _, at := range ts.idle.due {
		wait = min(wait, time.Duration(at-now)*time.Millisecond)
	}
	return max(wait, time.Millisecond)
}

// wakeDue opens the tenants in which something has fallen due; what that is they
// find out themselves.
func (ts *Tenants) wakeDue(ctx context.Context) {
	ts.mu.Lock()
	now := ident.MillisOf(ts.clock())
	var ids []ident.TenantID
	for id, at := range ts.idle.due {
		if at <= now {
			ids = append(ids, id)
			delete(ts.idle.due, id) // or it would be tried over and over
		}
	}
	ts.mu.Unlock()
	for _, id := range ids {
		t, err := ts.Tenant(id)
		if err == nil && ts.idle.sweep != nil {
			err = ts.idle.sweep(ctx, t)
		}
		if err != nil && ctx.Err() == nil {
			ts.log.Error("a tenant that was closed could not be looked after", slog.String("tenant", string(id)), slog.String("error", err.Error()))
		}
	}
}

// closeIdle closes the tenants that nobody uses. Who asks for one meanwhile waits
// and has it opened again.
func (ts *Tenants) closeIdle() {
	var idle []*tenant.Tenant
	ts.mu.Lock()
	for id, t := range ts.open {
		if !ts.closed && ts.idle.moving[id] == nil && time.Since(ts.idle.asked[id]) >= ts.idle.after {
			idle = append(idle, t)
		}
	}
	ts.mu.Unlock()
	for _, t := range idle {
		if n, _ := backlog(t); n > 0 || ts.idle.unfinished != nil && ts.idle.unfinished(t.ID()) {
			continue // its courier has work, or files are under way
		}
		ts.closeUnused(t)
	}
}

func (ts *Tenants) closeUnused(t *tenant.Tenant) {
	id := t.ID()
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.closed || ts.open[id] != t || ts.idle.moving[id] != nil || time.Since(ts.idle.asked[id]) < ts.idle.after {
		return
	}
	due, unused := t.Idle(ts.idle.after)
	if !unused {
		return
	}
	defer ts.move(id)()
	delete(ts.open, id)
	delete(ts.idle.asked, id)
	ts.idle.due[id] = ident.MillisOf(ts.clock().Add(idleSweep))
	if due != 0 {
		ts.idle.due[id] = min(due, ts.idle.due[id])
	}
	ts.mu.Unlock()
	err := t.Close()
	ts.mu.Lock()
	if err != nil {
		ts.log.Error("an idle tenant could not be closed", slog.String("tenant", string(id)), slog.String("error", err.Error()))
	}
}
