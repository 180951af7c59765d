package syncapi

import (
	"sync"

	"satchel/sync/tenant"
)

// gate lets a bounded number of a tenant's devices through at a time, in the
// order in which they come. After a restart all devices are back at once: those
// that wait cost a goroutine with a small stack, and no subject or page, until
// it is their turn; no tenant waits for another's. A gate that is zero has 64
// places.
type gate struct {
	places int // of each tenant; 0 for 64

	mu    sync.Mutex
	lines map[*tenant.Tenant]*line
}

// line is those of one tenant who are in or wait.
type line struct {
	in  chan struct{} // has an element for each that is in
	all int
}

// defaultPlaces keeps the commits in which pulls are done together well filled
// and bounds the pages in memory.
const defaultPlaces = 64

// enter waits for a place, to be given back by leave. It is false where done is
// closed first.
func (g *gate) enter(t *tenant.Tenant, done <-chan struct{}) bool {
	g.mu.Lock()
	if g.lines == nil {
		g.lines = map[*tenant.Tenant]*line{}
	}
	l := g.lines[t]
	if l == nil {
		places := g.places
		if places == 0 {
			places = defaultPlaces
		}
		l = &line{in: make(chan struct{}, places)}
		g.lines[t] = l
	}
	l.all++
	g.mu.Unlock()
	select {
	case l.in <- struct{}{}:
		return true
	case <-done:
		g.gone(t, l)
		return false
	}
}

func (g *gate) leave(t *tenant.Tenant) {
	g.mu.Lock()
	l := g.lines[t]
	g.mu.Unlock()
	<-l.in
	g.gone(t, l)
}

func (g *gate) gone(t *tenant.Tenant, l *line) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if l.all--; l.all == 0 {
		delete(g.lines, t)
	}
}
