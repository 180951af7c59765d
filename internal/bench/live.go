package bench

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"
)

const (
	// socketsPerUser of the users' devices are live in C, D and R.
	socketsPerUser = 5
	// someWrites is how many writes a run of C10 makes, allWrites one of
	// C500, leaves how many records leave in one of D1.
	someWrites = 40
	allWrites  = 10
	leaves     = 10
	// eventWait bounds how long the clients wait for a page.
	eventWait = 20 * time.Second
	// pause is how long the clients are left alone between two events, for
	// acknowledgements and for what should not come.
	pause = 10 * time.Millisecond
)

// event is one change and what the clients are to see of it.
type event struct {
	began   time.Time
	concern func(*phone) bool
	count   func(page) int
	need    int // of a client, to have it all

	mu     sync.Mutex
	have   map[*phone]int
	waits  []float64 // ms, of each client that has it all
	left   int
	astray int // pages at clients that it does not concern
	done   chan struct{}
}

var liveMu sync.Mutex // guards bench.live while clients connect

func (b *bench) keep(p *phone) {
	liveMu.Lock()
	defer liveMu.Unlock()
	b.live = append(b.live, p)
}

func (b *bench) disconnect() {
	for _, p := range b.live {
		p.close()
	}
	b.live = nil
}

// connectAll makes the users' clients live, once.
func (b *bench) connectAll(ctx context.Context) error {
	if b.live != nil {
		for _, p := range b.live {
			select {
			case <-p.done:
				return fmt.Errorf("a client lost its connection: %w", p.failed)
			default:
			}
		}
		return nil
	}
	type client struct {
		user int
		a    *account
	}
	var list []client
	for u, own := range b.world.phones {
		for _, a := range own[:socketsPerUser] {
			list = append(list, client{u, a})
		}
	}
	b.say("connecting %d clients", len(list))
	err := each(ctx, 8, list, func(c client) error {
		access, err := b.http.token(c.a)
		if err != nil {
			return err
		}
		p, err := connect(ctx, b.server.address, access, "")
		if err != nil {
			return err
		}
		p.user = c.user
		b.keep(p)
		return nil
	})
	if err != nil {
		return err
	}
	time.Sleep(200 * time.Millisecond)
	return b.server.collect(ctx)
}

// watch tells the clients which event they are in.
func (b *bench) watch(e *event) {
	e.have, e.done = map[*phone]int{}, make(chan struct{})
	f := func(p *phone, got page, at time.Time) { e.page(p, got, at) }
	for _, p := range b.live {
		if e.concern(p) {
			e.left++
		}
		p.onPage.Store(&f)
	}
}

func (e *event) page(p *phone, got page, at time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.concern(p) {
		e.astray++
		return
	}
	had := e.have[p]
	e.have[p] += e.count(got)
	if had < e.need && e.have[p] >= e.need {
		e.waits = append(e.waits, ms(at.Sub(e.began)))
		if e.left--; e.left == 0 {
			close(e.done)
		}
	}
}

// happen makes the change and waits until all whom it concerns have it and
// the others had time to get what they should not.
func (b *bench) happen(ctx context.Context, e *event, method, path, access string, body []byte) error {
	b.watch(e)
	e.began = time.Now()
	if err := b.http.send(method, path, access, body, nil); err != nil {
		return err
	}
	select {
	case <-e.done:
	case <-time.After(eventWait):
		e.mu.Lock()
		defer e.mu.Unlock()
		return fmt.Errorf("%d clients of those concerned have not all of it after %v", e.left, eventWait)
	case <-ctx.Done():
		return ctx.Err()
	}
	time.Sleep(pause)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.astray > 0 {
		return fmt.Errorf("%d pages came to clients that the change does not concern", e.astray)
	}
	return nil
}

func (e *event) last() float64 { return slices.Max(e.waits) }

func records(p page) int { return p.records }
func removed(p page) int { return p.removed }

func (b *bench) manager() (string, error) { return b.http.token(b.world.writers[0]) }

// someSee is C10. The others had the pause between the writes, and the time
// after the last, to get something.
func (b *bench) someSee(ctx context.Context) error {
	if err := b.connectAll(ctx); err != nil {
		return err
	}
	var each, last []float64
	for n := range b.Runs * someWrites {
		access, err := b.manager()
		if err != nil {
			return err
		}
		no := n % (b.world.users / 2)
		id := b.world.areas[no].assets[n/(b.world.users/2)]
		e := &event{concern: func(p *phone) bool { return p.user/2 == no }, count: records, need: 1}
		body := fmt.Appendf(nil, `{"notes":"Seen by some, %d, %d"}`, n, time.Now().UnixNano())
		if err := b.happen(ctx, e, http.MethodPatch, assetPath(id), access, body); err != nil {
			return err
		}
		each, last = append(each, e.waits...), append(last, e.last())
	}
	b.many("C10", "ms", each)
	b.many("C10last", "ms", last)
	return nil
}

func everybody(*phone) bool { return true }

// allSee is C500.
func (b *bench) allSee(ctx context.Context) error {
	if err := b.connectAll(ctx); err != nil {
		return err
	}
	var last []float64
	for n := range b.Runs * allWrites {
		access, err := b.manager()
		if err != nil {
			return err
		}
		e := &event{concern: everybody, count: records, need: 1}
		body := fmt.Appendf(nil, `{"notes":"Seen by all, %d, %d"}`, n, time.Now().UnixNano())
		if err := b.happen(ctx, e, http.MethodPatch, assetPath(b.world.public.assets[n%publicAssets]), access, body); err != nil {
			return err
		}
		last = append(last, e.last())
		time.Sleep(100 * time.Millisecond) // 500 acknowledgements
	}
	b.many("C500", "ms", last)
	return nil
}

// left is D1.
func (b *bench) left(ctx context.Context) error {
	if err := b.connectAll(ctx); err != nil {
		return err
	}
	var last []float64
	for n := range b.Runs * leaves {
		access, err := b.manager()
		if err != nil {
			return err
		}
		no := n % (b.world.users / 2)
		a := &b.world.areas[no]
		id := a.assets[len(a.assets)-1]
		a.assets = a.assets[:len(a.assets)-1]
		b.spent++
		e := &event{concern: func(p *phone) bool { return p.user/2 == no }, count: removed, need: 1}
		if err := b.happen(ctx, e, http.MethodDelete, assetPath(id), access, nil); err != nil {
			return err
		}
		last = append(last, e.last())
	}
	b.many("D1", "ms", last)
	return nil
}

// revoked is D1000, restored is R1000: each undoes the other.
func (b *bench) revoked(ctx context.Context) error  { return b.rights(ctx, "D1000", false) }
func (b *bench) restored(ctx context.Context) error { return b.rights(ctx, "R1000", true) }

func (b *bench) rights(ctx context.Context, name string, give bool) error {
	if err := b.connectAll(ctx); err != nil {
		return err
	}
	var last []float64
	for range b.Runs {
		user := b.taken % b.world.users
		b.taken++
		for _, own := range []bool{false, true} {
			e, err := b.assign(ctx, user, own)
			if err != nil {
				return err
			}
			if own == give {
				last = append(last, e.last())
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
	b.many(name, "ms", last)
	return nil
}

// assign gives a user the own area or takes it.
func (b *bench) assign(ctx context.Context, user int, own bool) (*event, error) {
	access, err := b.http.token(b.world.admin)
	if err != nil {
		return nil, err
	}
	e := &event{
		concern: func(p *phone) bool { return p.user == user },
		count:   removed, need: len(b.world.areas[user/2].assets) + clientsPerArea,
	}
	if own {
		e.count = records
	}
	body := []byte(`{"salesAreas":` + b.world.areasOf(user, own) + `}`)
	if err := b.happen(ctx, e, http.MethodPatch, "/v1/admin/employees/"+string(b.world.people[user]), access, body); err != nil {
		return nil, err
	}
	if len(e.waits) != socketsPerUser {
		return nil, errors.New("not all of the user's clients were told")
	}
	return e, nil
}
