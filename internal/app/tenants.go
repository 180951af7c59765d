package app

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

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
	// opened is told of every tenant that is opened; nil for nobody.
	opened func(*tenant.Tenant)

	mu     sync.Mutex
	open   map[ident.TenantID]*tenant.Tenant
	closed bool
}

// NewTenants serves the tenants of a data folder.
func NewTenants(dir string, log *slog.Logger, clock func() time.Time) (*Tenants, error) {
	all, err := suite.Load()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(dir, "tenants"), 0o700); err != nil {
		return nil, err
	}
	return &Tenants{dir: dir, suite: all, log: log, clock: clock, columns: column.NewBudget(column.DefaultBytes), open: map[ident.TenantID]*tenant.Tenant{}}, nil
}

// Path returns the file of a tenant.
func (ts *Tenants) Path(id ident.TenantID) string {
	return filepath.Join(ts.dir, "tenants", string(id)+".db")
}

// List returns the slugs of all tenants, sorted.
func (ts *Tenants) List() ([]ident.TenantID, error) {
	names, err := os.ReadDir(filepath.Join(ts.dir, "tenants"))
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
// where needed. One that stopped after a storage error is opened again.
func (ts *Tenants) Tenant(id ident.TenantID) (*tenant.Tenant, error) {
	if !slug.MatchString(string(id)) {
		return nil, fault.New(fault.InvalidCredentials)
	}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.closed {
		return nil, fault.New(fault.ShuttingDown)
	}
	if t := ts.open[id]; t != nil {
		if t.Failed() == nil {
			return t, nil
		}
		_ = t.Close() // its error is the one that stopped it, logged then
		delete(ts.open, id)
	}
	if _, err := os.Stat(ts.Path(id)); errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.InvalidCredentials)
	}
	return ts.start(id)
}

// Create makes a new tenant's file and opens it.
func (ts *Tenants) Create(id ident.TenantID) (*tenant.Tenant, error) {
	if !slug.MatchString(string(id)) {
		return nil, fmt.Errorf("tenant %q: a slug has 1 to 40 characters of a-z, 0-9 and -", id)
	}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if _, err := os.Stat(ts.Path(id)); err == nil {
		return nil, fmt.Errorf("tenant %q exists already", id)
	}
	return ts.start(id)
}

func (ts *Tenants) start(id ident.TenantID) (*tenant.Tenant, error) {
	eng, err := store.OpenBolt(ts.Path(id), store.Options{Timeout: 2 * time.Second})
	if err != nil {
		return nil, fault.New(fault.TenantStopped).Because(err)
	}
	t, err := tenant.Open(tenant.Options{
		ID: id, Cat: ts.suite.Cat, Roles: ts.suite.Roles, Field: ts.suite.Field, Rules: ts.suite.Rules, Engine: eng,
		Clock: ts.clock, Random: rand.Reader, Log: ts.log, Columns: ts.columns,
	})
	if err != nil {
		return nil, fault.New(fault.TenantStopped).Because(errors.Join(err, eng.Close()))
	}
	ts.open[id] = t
	if ts.opened != nil {
		ts.opened(t)
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
	defer ts.mu.Unlock()
	ts.closed = true
	var errs []error
	for id, t := range ts.open {
		errs = append(errs, t.Close())
		delete(ts.open, id)
	}
	return errors.Join(errs...)
}
