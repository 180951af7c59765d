package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/sync/oplog"
	"satchel/sync/store"
	"satchel/sync/tenant"
	"satchel/sync/verify"
)

// mending is what becomes of tenants that a storage error stopped. Its fields
// are guarded by the lock of the Tenants it belongs to.
type mending struct {
	work sync.WaitGroup
	// busy are those being opened again, closed when that has come to its end; next
	// when another attempt may be made to open one, shut those that were found
	// damaged and stay closed until [Tenants.Reopen], unopened those that could not
	// be opened when they were asked for last.
	busy     map[ident.TenantID]chan struct{}
	next     map[ident.TenantID]time.Time
	shut     map[ident.TenantID]error
	unopened map[ident.TenantID]error
}

func newMending() mending {
	return mending{
		busy: map[ident.TenantID]chan struct{}{}, next: map[ident.TenantID]time.Time{}, shut: map[ident.TenantID]error{},
		unopened: map[ident.TenantID]error{},
	}
}

// mendEvery is how long an attempt to open a stopped tenant waits for the one
// before: what kept it from opening may pass.
const mendEvery = time.Second

// errDamaged says that a tenant's file was looked through and is not sound.
var errDamaged = errors.New("the tenant's file is damaged")

// mend has a tenant that stopped opened again beside the requests that ask for
// it, which are refused meanwhile: reading everything takes a while where there
// is much, and other tenants don't wait for it. The caller holds ts.mu.
func (ts *Tenants) mend(id ident.TenantID, stopped *tenant.Tenant) {
	if ts.mending.busy[id] != nil || ts.mending.shut[id] != nil || time.Now().Before(ts.mending.next[id]) {
		return
	}
	over := make(chan struct{})
	ts.mending.busy[id] = over
	ts.mending.work.Go(func() {
		_ = stopped.Close() // its error is the one that stopped it, logged then
		t, rep, err := ts.reopen(id)
		ts.mu.Lock()
		defer ts.mu.Unlock()
		delete(ts.mending.busy, id)
		defer close(over)
		name := slog.String("tenant", string(id))
		switch {
		case err == nil && ts.closed:
			_ = t.Close() // nothing was submitted to it
		case err == nil:
			ts.log.Warn("a stopped tenant was checked and goes on", name, slog.Int("records", rep.Records), slog.Int("entries", rep.Entries))
			ts.run(t)
		case errors.Is(err, errDamaged), errors.Is(err, store.ErrCorrupt), errors.Is(err, store.ErrFormat), errors.Is(err, oplog.ErrCorrupt):
			ts.mending.shut[id] = err
			ts.log.Error("a stopped tenant is damaged and stays closed; restore a backup, then have it opened by satchel tenant reopen", name, slog.String("error", err.Error()))
		default:
			ts.mending.next[id] = time.Now().Add(mendEvery)
			ts.log.Error("a stopped tenant could not be opened", name, slog.String("error", err.Error()))
		}
	})
}

// Reopen checks all of a tenant that stopped, or was found damaged, and opens it
// where it is sound, as when a backup was put in its place. It returns once that
// has come to its end; a tenant that runs is left alone. The error is that of
// [Tenants.Tenant].
func (ts *Tenants) Reopen(ctx context.Context, id ident.TenantID) (*tenant.Tenant, error) {
	ts.mu.Lock()
	stopped := ts.open[id]
	if stopped == nil || stopped.Failed() == nil || ts.closed {
		ts.mu.Unlock()
		return ts.Tenant(id)
	}
	delete(ts.mending.shut, id)
	delete(ts.mending.next, id)
	ts.mend(id, stopped)
	over := ts.mending.busy[id]
	ts.mu.Unlock()
	select {
	case <-over:
	case <-ctx.Done():
		return nil, fault.New(fault.Busy).Because(ctx.Err())
	}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if t := ts.open[id]; t != nil && t.Failed() != nil {
		return nil, ts.halted(id, t)
	} else if t != nil {
		return t, nil
	}
	return nil, fault.New(fault.ShuttingDown)
}

// Why a tenant is not served.
const (
	// WhyStopped: a storage error stopped it, and it is looked through or will be.
	WhyStopped = "stopped"
	// WhyDamaged: it was found damaged and stays closed.
	WhyDamaged = "damaged"
	// WhyUnopened: it could not be opened, which is tried whenever it is asked for.
	WhyUnopened = "unopened"
)

// Closed is a tenant that is not served.
type Closed struct {
	Tenant ident.TenantID `json:"tenant"`
	Why    string         `json:"why"`
	// Error is for operators: it may name files and records.
	Error string `json:"error"`
}

// Closed lists the tenants that are not served, by name.
func (ts *Tenants) Closed() (out []Closed) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for id, t := range ts.open {
		if err := t.Failed(); err == nil {
			continue
		} else if shut := ts.mending.shut[id]; shut != nil {
			out = append(out, Closed{id, WhyDamaged, shut.Error()})
		} else {
			out = append(out, Closed{id, WhyStopped, err.Error()})
		}
	}
	for id, err := range ts.mending.unopened {
		out = append(out, Closed{id, WhyUnopened, err.Error()})
	}
	slices.SortFunc(out, func(a, b Closed) int { return cmp.Compare(a.Tenant, b.Tenant) })
	return out
}

// reopen opens a tenant after a commit failed, and checks all of it. What the
// operating system shows of the file then need not be what the disk has: a page
// whose sync failed may be held to be written. A commit of its own, whose syncs
// succeed, makes what is read from now on the truth.
func (ts *Tenants) reopen(id ident.TenantID) (*tenant.Tenant, *verify.Report, error) {
	eng, err := ts.engine(ts.Path(id))
	if err != nil {
		return nil, nil, err
	}
	rep, err := ts.inspect(eng)
	if err != nil {
		return nil, nil, errors.Join(err, eng.Close())
	}
	t, err := ts.tenant(id, eng)
	return t, rep, err
}

// inspect commits nothing and checks everything.
func (ts *Tenants) inspect(eng store.Engine) (*verify.Report, error) {
	if err := eng.Update(func(store.Writer) error { return nil }); err != nil {
		return nil, err
	}
	if c, ok := eng.(interface{ Check() error }); ok {
		if err := c.Check(); err != nil {
			return nil, err
		}
	}
	snap, err := eng.Snapshot()
	if err != nil {
		return nil, err
	}
	rep := verify.Run(ts.suite.Cat, snap, nil)
	snap.Close()
	log, err := oplog.Open(eng, unfolded{}, oplog.Options{})
	if err != nil {
		return nil, err
	}
	verify.Log(log, rep)
	if err := log.Close(); err != nil {
		return nil, err
	}
	if !rep.OK() {
		return nil, fmt.Errorf("%w, %d problems: %s", errDamaged, len(rep.Problems), rep.Problems[0])
	}
	return rep, nil
}

// unfolded folds nothing: the log is only read.
type unfolded struct{}

func (unfolded) Fold(store.Writer, oplog.Entry) error { return errors.New("the log is only read") }
func (unfolded) Committed(oplog.Entry)                {}
func (unfolded) Aborted(oplog.Entry, error)           {}

// halted is the refusal of a tenant that stopped.
func (ts *Tenants) halted(id ident.TenantID, stopped *tenant.Tenant) error {
	if err := ts.mending.shut[id]; err != nil {
		return fault.New(fault.TenantStopped).Because(err)
	}
	return fault.New(fault.TenantStopped).Because(stopped.Failed())
}
