package app

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"satchel/internal/command"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/sync/store"
	"satchel/sync/store/storetest"
	"satchel/sync/tenant"
)

// broken is a folder with one tenant whose commits can be made to fail.
type broken struct {
	t   *testing.T
	ts  *Tenants
	log said

	mu   sync.Mutex
	fail bool // the next commit is reported to have failed
	kept bool // and took hold all the same
	// between is called before the file is opened again.
	between func(path string) error
	opened  int
}

func newBroken(t *testing.T) *broken {
	t.Helper()
	b := &broken{t: t}
	ts, err := NewTenants(t.TempDir(), slog.New(slog.NewJSONHandler(&b.log, nil)), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	b.ts = ts
	open := ts.engine
	ts.engine = func(path string) (store.Engine, error) {
		b.mu.Lock()
		between := b.between
		b.between, b.opened = nil, b.opened+1
		b.mu.Unlock()
		if between != nil {
			if err := between(path); err != nil {
				return nil, err
			}
		}
		eng, err := open(path)
		if err != nil {
			return nil, err
		}
		sync := func(kept bool) func() error {
			return func() error {
				b.mu.Lock()
				defer b.mu.Unlock()
				if !b.fail || b.kept != kept {
					return nil
				}
				b.fail = false
				return errors.New("input/output error")
			}
		}
		return &checked{storetest.Faulty{Engine: eng, Fail: sync(false), Lose: sync(true)}, eng.(*store.Bolt)}, nil
	}
	if _, err := ts.SetUp(t.Context(), "acme", Administrator{}, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ts.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// checked is a faulty engine that is looked through like the one beneath.
type checked struct {
	storetest.Faulty
	bolt *store.Bolt
}

func (c *checked) Check() error { return c.bolt.Check() }

// area makes a sales area.
func area(id ident.RecordID) *command.Command {
	name, err := json.Marshal(string(id))
	if err != nil {
		panic(err)
	}
	return &command.Command{Import: &command.Import{Rows: []command.Row{{Type: "salesArea", ID: id, Fields: command.Object{"name": name}}}}}
}

func (b *broken) has(id ident.RecordID) bool {
	b.t.Helper()
	t, err := b.ts.Tenant("acme")
	if err != nil {
		b.t.Fatal(err)
	}
	has := false
	if err := t.Read(func(v *tenant.View) error { _, has = v.Identify(id); return nil }); err != nil {
		b.t.Fatal(err)
	}
	return has
}

// breakOn has a commit fail that makes an area.
func (b *broken) breakOn(id ident.RecordID, kept bool) {
	b.t.Helper()
	t, err := b.ts.Tenant("acme")
	if err != nil {
		b.t.Fatal(err)
	}
	b.mu.Lock()
	b.fail, b.kept = true, kept
	b.mu.Unlock()
	if _, err := t.Submit(b.t.Context(), area(id)); !fault.Is(err, fault.TenantStopped) {
		b.t.Fatalf("submitted: %v", err)
	}
}

// ask asks for the tenant until it is there or the log has a text.
func (b *broken) ask(text string) error {
	b.t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		_, err := b.ts.Tenant("acme")
		if err == nil || text != "" && b.log.has(text) {
			return err
		}
		if !fault.Is(err, fault.TenantStopped) {
			b.t.Fatalf("while it is stopped: %v", err)
		}
	}
	b.t.Fatal("nothing happened")
	return nil
}

// TestFailedCommit: a commit that fails stops the tenant, which is looked
// through and goes on, whether the commit took hold or not.
func TestFailedCommit(t *testing.T) {
	for name, kept := range map[string]bool{"lost": false, "kept": true} {
		t.Run(name, func(t *testing.T) {
			b := newBroken(t)
			ten, err := b.ts.Tenant("acme")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := ten.Submit(t.Context(), area("area-north")); err != nil {
				t.Fatal(err)
			}
			b.breakOn("area-south", kept)
			if _, err := b.ts.Tenant("acme"); !fault.Is(err, fault.TenantStopped) {
				t.Errorf("served before it was looked through: %v", err)
			}
			if err := b.ask(""); err != nil {
				t.Fatal(err)
			}
			if !b.log.has("a stopped tenant was checked and goes on") {
				t.Error("not logged")
			}
			if !b.has("area-north") || b.has("area-south") != kept {
				t.Errorf("north %v, south %v", b.has("area-north"), b.has("area-south"))
			}
			if ten, err = b.ts.Tenant("acme"); err != nil {
				t.Fatal(err)
			}
			if _, err := ten.Submit(t.Context(), area("area-west")); err != nil || !b.has("area-west") {
				t.Errorf("goes on: %v", err)
			}
		})
	}
}

// TestDamagedStaysClosed: a tenant that is found damaged when it is opened again
// stays closed, with a line that says so, and its file is free to be replaced.
func TestDamagedStaysClosed(t *testing.T) {
	b := newBroken(t)
	ten, err := b.ts.Tenant("acme")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ten.Submit(t.Context(), area("area-west")); err != nil {
		t.Fatal(err)
	}
	var lost struct{ key, value []byte }
	b.between = func(path string) error {
		eng, err := store.OpenBolt(path, store.Options{})
		if err != nil {
			return err
		}
		// The name of a record under which nothing finds it any more.
		return errors.Join(eng.Update(func(w store.Writer) error {
			w.Scan(store.IDs, nil, func(k, v []byte) bool { lost.key, lost.value = bytes.Clone(k), bytes.Clone(v); return false })
			return w.Delete(store.IDs, lost.key)
		}), eng.Close())
	}
	b.breakOn("area-north", false)
	if err := b.ask("stays closed"); !fault.Is(err, fault.TenantStopped) {
		t.Fatal(err)
	}
	b.mu.Lock()
	opened := b.opened
	b.mu.Unlock()
	for range 3 {
		if _, err := b.ts.Tenant("acme"); !fault.Is(err, fault.TenantStopped) || !errors.Is(err, errDamaged) {
			t.Error(err)
		}
	}
	b.ts.mending.work.Wait()
	if b.opened != opened {
		t.Errorf("opened %d times more", b.opened-opened)
	}
	if c := b.ts.Closed(); len(c) != 1 || c[0].Tenant != "acme" || c[0].Why != WhyDamaged {
		t.Errorf("%+v", c)
	}
	// An operator who has it tried again: it is looked through anew.
	if _, err := b.ts.Reopen(t.Context(), "acme"); !errors.Is(err, errDamaged) || b.opened != opened+1 {
		t.Errorf("%v, opened %d times", err, b.opened-opened)
	}
	eng, err := store.OpenBolt(b.ts.Path("acme"), store.Options{Timeout: time.Second})
	if err != nil {
		t.Fatalf("the file is still held: %v", err)
	}
	// The name comes back, as from a backup.
	err = eng.Update(func(w store.Writer) error { return w.Put(store.IDs, lost.key, lost.value) })
	if err := errors.Join(err, eng.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := b.ts.Tenant("acme"); !fault.Is(err, fault.TenantStopped) {
		t.Errorf("opened by itself: %v", err)
	}
	again, err := b.ts.Reopen(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := again.Submit(t.Context(), area("area-south")); err != nil || !b.has("area-south") || !b.has("area-west") {
		t.Errorf("goes on: %v", err)
	}
	if same, err := b.ts.Reopen(t.Context(), "acme"); same != again || err != nil {
		t.Errorf("one that runs is not left alone: %v", err)
	}
	if c := b.ts.Closed(); len(c) != 0 {
		t.Errorf("%+v", c)
	}
	if _, err := b.ts.Reopen(t.Context(), "nobody"); !fault.Is(err, fault.InvalidCredentials) {
		t.Error(err)
	}
}

// TestOpenedLater: what keeps a stopped tenant from being opened may pass.
func TestOpenedLater(t *testing.T) {
	b := newBroken(t)
	b.between = func(string) error { return errors.New("too many open files") }
	b.breakOn("area-north", true)
	if err := b.ask(""); err != nil {
		t.Fatal(err)
	}
	if !b.log.has("could not be opened") || !b.has("area-north") {
		t.Error("the failed attempt left no trace, or what was kept is gone")
	}
}

// TestHalfMadeTenant: a tenant whose setting up was broken off is none, and
// does not stand in the way of the next attempt.
func TestHalfMadeTenant(t *testing.T) {
	dir := t.TempDir()
	for _, leftover := range []string{"", "half of a file"} {
		ts, err := NewTenants(dir, nil, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		partial := filepath.Join(dir, "tenants", "acme.db.new")
		if leftover != "" {
			for _, path := range []string{partial, partial + ".new-123"} {
				if err := os.WriteFile(path, []byte(leftover), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		} else {
			ts.engine = func(path string) (store.Engine, error) {
				eng, err := store.OpenBolt(path, store.Options{})
				return &storetest.Faulty{Engine: eng, Fail: func() error { return errors.New("cut") }}, err
			}
		}
		ten, err := ts.SetUp(t.Context(), "acme", Administrator{}, nil)
		list, lerr := ts.List()
		if lerr != nil {
			t.Fatal(lerr)
		}
		if leftover == "" && (err == nil || len(list) > 0) {
			t.Errorf("broken off: %v, %v", list, err)
		}
		if leftover != "" && (err != nil || len(list) != 1 || ten.ID() != "acme") {
			t.Errorf("again: %v, %v", list, err)
		}
		if err := ts.Close(); err != nil {
			t.Error(err)
		}
		if list, err := os.ReadDir(filepath.Dir(partial)); err != nil || len(list) > 1 {
			t.Errorf("left behind: %v, %v", list, err)
		}
	}
}
