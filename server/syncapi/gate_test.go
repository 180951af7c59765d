package syncapi

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"satchel/sync/tenant"
)

func TestGateUnderRush(t *testing.T) {
	g := gate{places: 5}
	one := new(tenant.Tenant)
	var in, most, served atomic.Int32
	var wait sync.WaitGroup
	for range 500 {
		wait.Go(func() {
			if !g.enter(one, nil) {
				t.Error("turned away")
				return
			}
			n := in.Add(1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			served.Add(1)
			time.Sleep(100 * time.Microsecond) // so that the others come
			in.Add(-1)
			g.leave(one)
		})
	}
	wait.Wait()
	if served.Load() != 500 || most.Load() > 5 || most.Load() < 2 {
		t.Errorf("%d served, %d at once", served.Load(), most.Load())
	}
	if len(g.lines) != 0 {
		t.Errorf("%d lines are left", len(g.lines))
	}
}

func TestGate(t *testing.T) {
	g := gate{places: 1}
	one, other := new(tenant.Tenant), new(tenant.Tenant)
	if !g.enter(one, nil) {
		t.Fatal("an empty gate is closed")
	}
	if !g.enter(other, nil) {
		t.Fatal("a tenant waits for another's devices")
	}
	g.leave(other)
	// One gives up, one comes later and gets its turn.
	done, gave, got := make(chan struct{}), make(chan bool), make(chan bool)
	go func() { gave <- g.enter(one, done) }()
	go func() { got <- g.enter(one, nil) }()
	close(done)
	if <-gave {
		t.Error("entered a gate that is full")
	}
	select {
	case <-got:
		t.Error("entered a gate that is full")
	case <-time.After(20 * time.Millisecond):
	}
	g.leave(one)
	if !<-got {
		t.Error("turned away")
	}
	g.leave(one)
	if len(g.lines) != 0 {
		t.Errorf("%d lines are left", len(g.lines))
	}
}
