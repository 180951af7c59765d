package tenant

import (
	"sync"
	"time"

	"satchel/internal/ident"
	"satchel/sync/apply"
	"satchel/sync/state"
)

// foresights are the pages that are computed before they are asked for: while a
// device reads a large page the server would wait for it, and then the device
// for the server.
type foresights struct {
	mu sync.Mutex
	of map[ident.DeviceID]*foresight
}

// foresight is one of them. It counts among places until it is let go of.
type foresight struct {
	checkpoint string        // that the device is presumed to ask with
	computed   chan struct{} // closed when page is set, or never will be
	page       *apply.Foreseen
	timer      *time.Timer
	once       sync.Once
}

// places bounds the pages of all tenants that are kept for who has yet to ask.
var places = make(chan struct{}, 4)

// foreseenFor is how long they are kept.
const foreseenFor = 2 * time.Second

func (x *foresight) free() { x.once.Do(func() { <-places }) }

// take returns what was foreseen for a device that asks with a checkpoint, nil
// for nothing. What was foreseen for another checkpoint is forgotten.
func (s *foresights) take(id ident.DeviceID, checkpoint string) *foresight {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.of[id]
	if x == nil {
		return nil
	}
	delete(s.of, id)
	x.timer.Stop()
	x.free()
	if x.checkpoint != checkpoint {
		return nil
	}
	return x
}

// keep keeps it for the device for a moment.
func (s *foresights) keep(id ident.DeviceID, x *foresight) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.of[id]; old != nil {
		old.timer.Stop()
		old.free()
	}
	if s.of == nil {
		s.of = map[ident.DeviceID]*foresight{}
	}
	s.of[id] = x
	x.timer = time.AfterFunc(foreseenFor, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.of[id] == x {
			delete(s.of, id)
		}
		x.free()
	})
}

// forget forgets all of them.
func (s *foresights) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range s.of {
		x.timer.Stop()
		x.free()
	}
	s.of = nil
}

// expected returns what was foreseen for a pull, as soon as it is computed.
func (t *Tenant) expected(id ident.DeviceID, checkpoint string) *apply.Foreseen {
	x := t.foresights.take(id, checkpoint)
	if x == nil {
		return nil
	}
	<-x.computed
	return x.page
}

// foresee begins with the page after one that was answered, where it is large
// and nobody else waits to be served.
func (t *Tenant) foresee(p *apply.Page) {
	if !p.Follows() {
		return
	}
	select {
	case places <- struct{}{}:
	default:
		return
	}
	x := &foresight{checkpoint: p.Checkpoint, computed: make(chan struct{})}
	select {
	case t.encoders <- struct{}{}:
	default:
		x.free()
		return
	}
	t.foresights.keep(p.Device, x)
	go func() {
		defer func() { <-t.encoders }()
		t.work(p, x)
	}()
}

// work computes and encodes the page after one. A store found damaged on the way
// stops the tenant; otherwise what failed fails where it is asked for.
func (t *Tenant) work(p *apply.Page, x *foresight) {
	told := false
	tell := func() {
		if !told {
			told = true
			close(x.computed)
		}
	}
	defer func() {
		if failed := recover(); failed != nil && apply.Damaged(failed) {
			t.stop(panicError(failed))
		}
	}()
	defer tell()
	snap, err := t.snapshot()
	if err != nil {
		return
	}
	defer snap.Close()
	rd := state.NewReader(t.opts.Cat, snap)
	var twin *state.Reader
	select {
	case t.encoders <- struct{}{}:
		defer func() { <-t.encoders }()
		if other, err := t.opts.Engine.Snapshot(); err == nil {
			defer other.Close()
			twin = state.NewReader(t.opts.Cat, other)
		}
	default:
	}
	if x.page = p.Foresee(rd); x.page == nil {
		return
	}
	tell()
	x.page.Body.Make(x.page.Page, rd, twin, apply.ToldNone)
}
