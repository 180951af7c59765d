package tenant_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"satchel/internal/command"
	"satchel/internal/fault"
	"satchel/sync/apply"
	"satchel/sync/store"
)

// cutting is an engine whose snapshots, once it is told to, cut the records short
// that are read in a sweep.
type cutting struct {
	store.Engine
	on  atomic.Bool
	hit atomic.Int64
}

type cuttingSnapshot struct {
	store.Snapshot
	of *cutting
	on bool
}

func (c *cutting) Snapshot() (store.Snapshot, error) {
	s, err := c.Engine.Snapshot()
	if err != nil {
		return nil, err
	}
	return cuttingSnapshot{s, c, c.on.Load()}, nil
}

func (s cuttingSnapshot) Scan(b store.Bucket, from []byte, fn func(k, v []byte) bool) {
	s.Snapshot.Scan(b, from, func(k, v []byte) bool {
		if b == store.Records && s.on {
			s.of.hit.Add(1)
			v = v[:1]
		}
		return fn(k, v)
	})
}

// TestForeseenDamaged: a record that can't be read while a page is made that was
// foreseen stops the tenant, as it does otherwise.
func TestForeseenDamaged(t *testing.T) {
	eng := &cutting{}
	w := wideOn(t, func(e store.Engine) store.Engine { eng.Engine = e; return eng })
	p := w.login("emp-mgr-1", "i1", "s1")
	for page := 0; page < 4 && w.ten.Failed() == nil; page++ {
		c := p.cmd()
		c.Pull = &command.Pull{Checkpoint: p.cp, Limit: 1_100}
		e, err := w.ten.Pull(context.Background(), c, apply.ToldAll)
		if err != nil {
			if !fault.Is(err, fault.TenantStopped) {
				t.Errorf("page %d: %v", page, err)
			}
			break
		}
		p.cp = e.Checkpoint
		if page == 0 {
			time.Sleep(300 * time.Millisecond) // the next is there, whole
			eng.on.Store(true)                 // the one after it won't be
			continue
		}
		time.Sleep(300 * time.Millisecond)
	}
	if eng.hit.Load() == 0 {
		t.Fatal("nothing was read")
	}
	if w.ten.Failed() == nil {
		t.Errorf("the tenant goes on; %d pages were foreseen", w.ten.Stats.Foreseen.Load())
	}
	_ = w.ten.Close()
}
