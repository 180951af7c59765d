package store_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"satchel/sync/store"
	"satchel/sync/store/storetest"
)

func TestMem(t *testing.T) {
	storetest.Run(t, storetest.Harness{
		Open: func(storetest.TB) store.Engine { return store.NewMem() },
		Reopen: func(_ storetest.TB, e store.Engine) store.Engine {
			_ = e.Close()
			return e.(*store.Mem).Clone()
		},
	})
}

func TestMemStaged(t *testing.T) {
	storetest.Run(t, storetest.Harness{Open: func(storetest.TB) store.Engine { return storetest.Staged{Engine: store.NewMem()} }})
}

// boltHarness makes each store in a new folder.
func boltHarness(t *testing.T, opts store.Options, wrap func(store.Engine) store.Engine) storetest.Harness {
	root := t.TempDir()
	open := func(t storetest.TB, path string) store.Engine {
		b, err := store.OpenBolt(path, opts)
		if err != nil {
			t.Fatalf("open: %v", err)
		}
		return wrap(b)
	}
	unwrap := func(e store.Engine) *store.Bolt {
		if s, ok := e.(storetest.Staged); ok {
			e = s.Engine
		}
		return e.(*store.Bolt)
	}
	return storetest.Harness{
		Open: func(t storetest.TB) store.Engine {
			dir, err := os.MkdirTemp(root, "")
			if err != nil {
				t.Fatalf("%v", err)
			}
			return open(t, filepath.Join(dir, "tenant.db"))
		},
		Reopen: func(t storetest.TB, e store.Engine) store.Engine {
			b := unwrap(e)
			if err := b.Check(); err != nil {
				t.Fatalf("check: %v", err)
			}
			if err := b.Close(); err != nil {
				t.Fatalf("close: %v", err)
			}
			return open(t, b.Path())
		},
	}
}

func TestBolt(t *testing.T) {
	storetest.Run(t, boltHarness(t, direct, func(e store.Engine) store.Engine { return e }))
}

// direct writes every commit into the file.
var direct = store.Options{NoSync: true}

// TestBoltJournal folds now and then, TestBoltUnfolded never by itself.
func TestBoltJournal(t *testing.T) {
	often := store.Options{FoldBytes: 500, FoldAfter: time.Millisecond}
	storetest.Run(t, boltHarness(t, often, func(e store.Engine) store.Engine { return e }))
}

func TestBoltUnfolded(t *testing.T) {
	storetest.Run(t, boltHarness(t, store.Options{FoldAfter: time.Hour}, func(e store.Engine) store.Engine { return e }))
}

func TestBoltStaged(t *testing.T) {
	storetest.Run(t, boltHarness(t, direct, func(e store.Engine) store.Engine { return storetest.Staged{Engine: e} }))
}

func TestFaulty(t *testing.T) {
	storetest.Run(t, storetest.Harness{Open: func(storetest.TB) store.Engine { return &storetest.Faulty{Engine: store.NewMem()} }})
}
