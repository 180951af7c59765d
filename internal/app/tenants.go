package app

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"satchel/internal/durable"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/server/suite"
	"satchel/sync/column"
	"satchel/sync/store"
	"satchel/sync/tenant"
)

var slug = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,39}$`)

// Tenants are the tenants of a data folder, opened when first asked for. Each
// is one file, DIR/tenants/SLUG.db.
type Tenants struct {
	dir   string
	suite *suite.Suite
	log   *slog.Logger
	clock func() time.Time
	// columns bounds the memory of the columns of all tenants.
	columns *column.Budget
	// random is what tenants make tokens and ids of.
	random io.Reader
	// opened is told of every tenant that is opened; nil for nobody.
	opened func(*tenant.Tenant)

	// reserve is how much of the disk is kept, see Config.Reserve; engine opens
	// the file of a tenant.
	reserve uint64
	engine  func(path string) (store.Engine, error)

	paying sync.Mutex // held while acts are written into trails

	mu      sync.Mutex
	open    map[ident.TenantID]*tenant.Tenant
	mending mending
	idle    idling
	closed  bool
}

// NewTenants serves the tenants of a data folder.
func NewTenants(dir string, log *slog.Logger, clock func() time.Time) (*Tenants, error) {
	all, err := suite.Load()
	if err != nil {
		return nil, err
	}
	if err := durable.MkdirAll(filepath.Join(dir, "tenants")); err != nil {
		return nil, err
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	ts := &Tenants{dir: dir, suite: all, log: log, clock: clock, columns: column.NewBudget(column.DefaultBytes), random: rand.Reader, open: map[ident.TenantID]*tenant.Tenant{}, mending: newMending(), idle: newIdling()}
	ts.engine = func(path string) (store.Engine, error) {
		return store.OpenBolt(path, store.Options{Timeout: 2 * time.Second, Reserve: ts.reserve})
	}
	return ts, nil
}

// Path returns the file of a tenant.
func (ts *Tenants) Path(id ident.TenantID) string {
	return filepath.Join(ts.dir, "tenants", string(id)+".db")
}

// List returns the slugs of all tenants, sorted.
func (ts *Tenants) List() ([]ident.TenantID, error) { return tenantsIn(ts.dir) }

func tenantsIn(dir string) ([]ident.TenantID, error) {
	names, err := os.ReadDir(filepath.Join(dir, "tenants"))
	if err != nil {
		return nil, err
	}
	var out []ident.TenantID
	for _, n := range names {
		if id, ok := strings.CutSuffix(n.Name(), ".db"); ok && slug.MatchString(id) {
			out = append(out, ident.TenantID(id))
		}
	}
	return out, nil
}

// Tenant implements edge.Tenants: it returns a running tenant, opening it
// where needed. One that stopped after a storage error is opened again, once
// all of it was checked; until then it is refused with [fault.TenantStopped].
func (ts *Tenants) Tenant(id ident.TenantID) (*tenant.Tenant, error) {
	if !slug.MatchString(string(id)) {
		return nil, fault.New(fault.InvalidCredentials)
	}
	for {
		t, moving, err := ts.running(id)
		if moving == nil {
			return t, err
		}
		<-moving
	}
}

// running returns a tenant if it is open, and otherwise opens it without keeping
// others waiting. Where somebody else is opening or closing it, moving is closed
// when that is done.
func (ts *Tenants) running(id ident.TenantID) (_ *tenant.Tenant, moving <-chan struct{}, _ error) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.closed {
		return nil, nil, fault.New(fault.ShuttingDown)
	}
	if over := ts.idle.moving[id]; over != nil {
		return nil, over, nil
	}
	if t := ts.open[id]; t != nil {
		if t.Failed() == nil {
			ts.idle.asked[id] = time.Now()
			return t, nil, nil
		}
		ts.mend(id, t)
		return nil, nil, ts.halted(id, t)
	}
	if _, err := os.Stat(ts.Path(id)); errors.Is(err, fs.ErrNotExist) {
		delete(ts.mending.unopened, id) // taken away
		return nil, nil, fault.New(fault.InvalidCredentials)
	}
	defer ts.move(id)()
	ts.mu.Unlock()
	t, err := ts.opening(id)
	ts.mu.Lock()
	switch {
	case err != nil:
		ts.mending.unopened[id] = err
	case ts.closed:
		_ = t.Close() // nothing was submitted to it
		return nil, nil, fault.New(fault.ShuttingDown)
	default:
		ts.run(t)
	}
	return t, nil, err
}

// Create makes a new tenant's file and opens it.
func (ts *Tenants) Create(id ident.TenantID) (*tenant.Tenant, error) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if err := ts.vacant(id); err != nil {
		return nil, err
	}
	return ts.start(id)
}

// vacant refuses what can't be the name of a new tenant.
func (ts *Tenants) vacant(id ident.TenantID) error {
	if !slug.MatchString(string(id)) {
		return fmt.Errorf("tenant %q: a slug has 1 to 40 characters of a-z, 0-9 and -", id)
	}
	if _, err := os.Lstat(ts.Path(id)); err == nil {
		return fmt.Errorf("tenant %q exists already", id)
	}
	return nil
}

// start opens a tenant and has it served. The caller holds ts.mu.
func (ts *Tenants) start(id ident.TenantID) (*tenant.Tenant, error) {
	t, err := ts.opening(id)
	if err == nil {
		ts.run(t)
	}
	return t, err
}

// opening opens a tenant.
func (ts *Tenants) opening(id ident.TenantID) (*tenant.Tenant, error) {
	eng, err := ts.engine(ts.Path(id))
	if err != nil {
		return nil, fault.New(fault.TenantStopped).Because(err)
	}
	t, err := ts.tenant(id, eng)
	if err != nil {
		return nil, fault.New(fault.TenantStopped).Because(err)
	}
	return t, nil
}

// run has an open tenant served. The caller holds ts.mu.
func (ts *Tenants) run(t *tenant.Tenant) {
	ts.open[t.ID()] = t
	ts.idle.asked[t.ID()] = time.Now()
	delete(ts.idle.due, t.ID())
	delete(ts.mending.unopened, t.ID())
	if len(owedTo(ts.dir, t.ID())) > 0 {
		ts.mending.work.Go(func() { ts.pay(t) })
	}
	if ts.opened != nil {
		ts.opened(t)
	}
}

// tenant starts a tenant on its engine, which is closed where that fails.
func (ts *Tenants) tenant(id ident.TenantID, eng store.Engine) (*tenant.Tenant, error) {
	t, err := tenant.Open(tenant.Options{
		ID: id, Cat: ts.suite.Cat, Roles: ts.suite.Roles, Field: ts.suite.Field, Rules: ts.suite.Rules, Engine: eng,
		Clock: ts.clock, Random: ts.random, Log: ts.log, Columns: ts.columns,
	})
	if err != nil {
		return nil, errors.Join(err, eng.Close())
	}
	return t, nil
}

// closeOne closes an open tenant.
func (ts *Tenants) closeOne(id ident.TenantID) error {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	t := ts.open[id]
	if t == nil {
		return nil
	}
	delete(ts.open, id)
	delete(ts.idle.asked, id)
	return t.Close()
}

// Each calls f for every tenant that is open.
func (ts *Tenants) Each(f func(*tenant.Tenant)) {
	ts.mu.Lock()
	list := make([]*tenant.Tenant, 0, len(ts.open))
	for _, t := range ts.open {
		list = append(list, t)
	}
	ts.mu.Unlock()
	for _, t := range list {
		f(t)
	}
}

// Close finishes and closes every tenant.
func (ts *Tenants) Close() error {
	ts.mu.Lock()
	ts.closed = true
	ts.mu.Unlock()
	ts.mending.work.Wait() // none begins once closed
	ts.mu.Lock()
	defer ts.mu.Unlock()
	var errs []error
	for id, t := range ts.open {
		errs = append(errs, t.Close())
		delete(ts.open, id)
	}
	return errors.Join(errs...)
}
