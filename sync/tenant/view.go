package tenant

import (
	"errors"
	"sync"

	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/internal/mutant"
	"satchel/internal/policy"
	"satchel/sync/state"
	"satchel/sync/store"
)

// View is one committed state, for reading. It is for one goroutine and
// valid inside Read.
type View struct {
	*state.Reader
	t *Tenant
}

// Read calls f with the latest committed state. f must not keep it, nor wait
// for the network in it: an open state keeps old pages of the file alive.
func (t *Tenant) Read(f func(*View) error) error {
	if err := t.Failed(); err != nil {
		return fault.New(fault.TenantStopped).Because(err)
	}
	defer t.Hold()()
	snap, err := t.snapshot()
	if err != nil {
		return fault.New(fault.TenantStopped).Because(err)
	}
	defer snap.Close()
	return f(&View{state.NewReader(t.opts.Cat, snap), t})
}

// snapshot opens the committed state. An engine may find beside all commits that
// its disk fails, and whoever asks it next stops the tenant.
func (t *Tenant) snapshot() (store.Snapshot, error) {
	snap, err := t.opts.Engine.Snapshot()
	if errors.Is(err, store.ErrUnknown) {
		t.stop(err)
	}
	return snap, err
}

// subjectCache remembers people's rights per version of the policy.
type subjectCache struct {
	mu      sync.Mutex
	version uint64
	byID    map[ident.RecordID]*policy.Subject
}

// Subject returns a person's rights as of the view, nil for nobody. Time-
// bound parts count by the clock: an entry that ends them is on its way.
func (v *View) Subject(id ident.RecordID) *policy.Subject {
	version := v.PolicyVersion()
	c := &v.t.subjects
	c.mu.Lock()
	if c.version == version {
		if s, ok := c.byID[id]; ok {
			c.mu.Unlock()
			return s
		}
	}
	c.mu.Unlock()
	s, ok := v.t.opts.Roles.Build(v.Reader, id)
	if !ok {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byID == nil || c.version < version {
		c.version, c.byID = version, map[ident.RecordID]*policy.Subject{}
	}
	if c.version == version {
		c.byID[id] = s
	}
	return s
}

// SignedIn returns the rights behind a session, or why there are none.
func (v *View) SignedIn(session ident.SessionID, employee ident.RecordID) (*policy.Subject, error) {
	s, ok := v.t.machine.Sessions().Read(v.Reader, session)
	if !ok || s.Employee != employee {
		return nil, fault.New(fault.SessionRevoked)
	}
	if s.Ended(v.t.Now()) && !mutant.On(mutant.ReadAfterEnd) {
		if s.Device != "" {
			if d, ok := v.Load(s.Device); ok && d.StatusText() == "Revoked" {
				return nil, fault.New(fault.DeviceRevoked).With("wipe", true)
			}
		}
		return nil, fault.New(fault.SessionRevoked)
	}
	sub := v.Subject(employee)
	if sub == nil || !sub.Active {
		return nil, fault.New(fault.SessionRevoked)
	}
	return sub, nil
}
