package tenant_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"

	"satchel/internal/command"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/sync/state"
	"satchel/sync/store"
)

// counted is an engine that counts the snapshots that are open, and those that
// records are read in a sweep from, which can be made to fail.
type counted struct {
	store.Engine
	open, swept atomic.Int64
	damaged     atomic.Bool
}

type countedSnapshot struct {
	store.Snapshot
	of    *counted
	swept *atomic.Bool
}

func (c *counted) Snapshot() (store.Snapshot, error) {
	s, err := c.Engine.Snapshot()
	if err != nil {
		return nil, err
	}
	c.open.Add(1)
	return countedSnapshot{s, c, &atomic.Bool{}}, nil
}

func (s countedSnapshot) Scan(b store.Bucket, from []byte, fn func(k, v []byte) bool) {
	if b == store.Records && !s.swept.Swap(true) {
		// The second of two at work; the first may have done all by itself.
		if s.of.swept.Add(1) > 1 && s.of.damaged.Load() {
			panic(state.ErrDamaged)
		}
	}
	s.Snapshot.Scan(b, from, fn)
}

func (s countedSnapshot) Close() {
	s.Snapshot.Close()
	s.of.open.Add(-1)
}

func sites(n int) (out []command.Row) {
	for i := range n {
		out = append(out, row("site", ident.RecordID(fmt.Sprintf("site-%06d", i)), "client", "client-one", "name", "Site"))
	}
	return out
}

// TestLargePages: large pages come whole and with their digests, on an engine
// whose snapshots are each for one goroutine, and leave none of them open.
func TestLargePages(t *testing.T) {
	bolt, err := store.OpenBolt(filepath.Join(t.TempDir(), "t.db"), store.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	eng := &counted{Engine: bolt}
	w := small(t, eng)
	w.load(sites(2_500)...)
	p := w.login("emp-mgr-1", "i1", "s1")
	got := map[string]int{}
	for more := true; more; {
		eng.swept.Store(0)
		page, err := p.pull("")
		if err != nil {
			t.Fatal(err)
		}
		if n := eng.swept.Load(); n != 2 {
			t.Errorf("a page of %d records was read from %d snapshots", len(page.Records), n)
		}
		for _, r := range page.Records {
			got[r.Type]++
		}
		p.cp, more = page.Checkpoint, page.More
		if page.Complete == nil {
			continue
		}
		for typ, s := range page.Complete.Types {
			if s.Count != got[typ] {
				t.Errorf("%s: %d are summed up, %d came", typ, s.Count, got[typ])
			}
		}
	}
	if got["site"] != 2_500 {
		t.Errorf("%d sites came", got["site"])
	}
	if err := w.ten.Close(); err != nil { // waits for whoever reads
		t.Fatal(err)
	}
	if n := eng.open.Load(); n != 0 {
		t.Errorf("%d snapshots are open", n)
	}
}

// TestLargeDamaged: a record that the other of two goroutines can't read stops
// the tenant and not the process.
func TestLargeDamaged(t *testing.T) {
	eng := &counted{Engine: store.NewMem()}
	w := small(t, eng)
	w.load(sites(1_500)...)
	p := w.login("emp-mgr-1", "i1", "s1")
	eng.swept.Store(0)
	eng.damaged.Store(true)
	if _, err := p.pull(""); !fault.Is(err, fault.TenantStopped) {
		t.Error(err)
	}
	if err := w.ten.Failed(); !errors.Is(err, state.ErrDamaged) {
		t.Errorf("the tenant goes on: %v", err)
	}
	_ = w.ten.Close()
	if n := eng.open.Load(); n != 0 {
		t.Errorf("%d snapshots are open", n)
	}
}
