package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"satchel/internal/ident"
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

// live is a client that is told of changes.
type live struct {
	user, n int
	reader
	event atomic.Pointer[event] // that it is told the news of
	lost  atomic.Pointer[error]
}

func (l *live) hear(n news) {
	if n.lost != nil {
		l.lost.CompareAndSwap(nil, &n.lost)
	}
	if e := l.event.Load(); e != nil {
		e.hear(l, n)
	}
}

// event is one change and what the clients are to see of it.
type event struct {
	began   time.Time
	concern func(*live) bool
	count   func(news) int
	mark    string // of the news that count, "" for all
	need    int    // of a client, to have it all

	mu     sync.Mutex
	have   map[*live]int
	waits  []float64 // ms, of each client that has it all
	left   int
	astray int    // news at clients that it does not concern
	first  string // of these
	err    error  // a client was lost
	done   chan struct{}
}

var liveMu sync.Mutex // guards bench.live while clients connect

func (b *bench) keep(l *live) {
	liveMu.Lock()
	defer liveMu.Unlock()
	b.live = append(b.live, l)
}

// disconnect ends every live client.
func (b *bench) disconnect(ctx context.Context) error {
	list := b.live
	b.live, b.last = nil, nil
	return each(ctx, 8, list, func(l *live) error { return l.end(ctx) })
}

// goLive makes a person's nth device a live client. It may have synced before.
func (b *bench) goLive(ctx context.Context, l *live) (err error) {
	if l.reader == nil {
		if l.reader, err = b.peer.reader(ctx, l.user, l.n); err != nil {
			return err
		}
	}
	if err := l.follow(ctx, l.hear); err != nil {
		return apart(err, l.end(ctx))
	}
	b.keep(l)
	return nil
}

// end closes a client's device, if it has not been.
func (l *live) end(ctx context.Context) error {
	r := l.reader
	if r == nil {
		return nil
	}
	l.reader = nil
	return r.close(ctx)
}

// connectAll makes the users' clients live, once.
func (b *bench) connectAll(ctx context.Context) error {
	if b.live != nil {
		for _, l := range b.live {
			if err := l.lost.Load(); err != nil {
				return lostError(*err)
			}
		}
		return nil
	}
	var list []*live
	for u := range b.world.users {
		for n := range socketsPerUser {
			list = append(list, &live{user: u, n: n})
		}
	}
	b.say("connecting %d clients", len(list))
	if err := each(ctx, 8, list, func(l *live) error { return b.goLive(ctx, l) }); err != nil {
		return apart(err, b.disconnect(ctx)) // the next work connects anew
	}
	time.Sleep(200 * time.Millisecond)
	_, err := b.peer.memory(ctx) // for the collection of garbage before it
	if _, yes := unsupported(err); yes {
		return nil
	}
	return err
}

func lostError(err error) error { return fmt.Errorf("a client lost its connection: %w", err) }

// watch tells the clients which event they are in.
func (b *bench) watch(e *event) {
	e.have, e.done = map[*live]int{}, make(chan struct{})
	for _, l := range b.live {
		if e.concern(l) {
			e.left++
		}
	}
	for _, l := range b.live {
		l.event.Store(e)
	}
	b.last = e
}

func (e *event) hear(l *live, n news) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case n.lost != nil:
		if e.err == nil && e.left > 0 {
			e.err = lostError(n.lost)
			close(e.done)
		}
		return
	case !e.concern(l):
		if e.astray++; e.astray == 1 {
			e.first = fmt.Sprintf("device %d of user %d: %d records, %d removals, mark %q", l.n, l.user, n.changed, n.removed, n.mark)
		}
		return
	case e.mark != "" && n.mark != e.mark:
		return
	}
	had := e.have[l]
	e.have[l] += e.count(n)
	if had < e.need && e.have[l] >= e.need {
		e.waits = append(e.waits, ms(n.at.Sub(e.began)))
		if e.left--; e.left == 0 && e.err == nil {
			close(e.done)
		}
	}
}

// happen makes the change and waits until all whom it concerns have it and
// the others had time to get what they should not.
func (b *bench) happen(ctx context.Context, e *event, change func() error) error {
	if b.last != nil { // what came since
		if err := b.last.check(); err != nil {
			return err
		}
	}
	b.watch(e)
	e.began = time.Now()
	if err := change(); err != nil {
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
	return e.check()
}

// check reports what went wrong in an event that is over.
func (e *event) check() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err != nil {
		return e.err
	}
	if e.astray > 0 {
		return fmt.Errorf("news came %d times to clients that the change does not concern, first to %s", e.astray, e.first)
	}
	return nil
}

func (e *event) last() float64 { return slices.Max(e.waits) }

func changed(n news) int { return n.changed }
func gone(n news) int    { return n.removed }

func records(p page) int { return p.records }
func removed(p page) int { return p.removed }

func (b *bench) manager() (string, error) { return b.http.token(b.world.writers[0]) }

// someWrite changes a record and waits until all of those concerned have it.
func (b *bench) someWrite(ctx context.Context, n int, id ident.RecordID, concern func(*live) bool) (*event, error) {
	w, err := b.peer.writer(ctx, 0)
	if err != nil {
		return nil, err
	}
	mark := fmt.Sprintf("%d-%d", n, time.Now().UnixNano())
	e := &event{concern: concern, count: changed, mark: mark, need: 1}
	return e, b.happen(ctx, e, func() error { return w.write(ctx, id, markPrefix+mark) })
}

// someSee is C10. The others had the pause between the writes, and the time
// after the last, to get something.
func (b *bench) someSee(ctx context.Context) error {
	if err := b.connectAll(ctx); err != nil {
		return err
	}
	var each, last []float64
	for n := range b.Runs * someWrites {
		no := n % (b.world.users / 2)
		id := b.world.areas[no].assets[n/(b.world.users/2)]
		e, err := b.someWrite(ctx, n, id, func(l *live) bool { return l.user/2 == no })
		if err != nil {
			return err
		}
		each, last = append(each, e.waits...), append(last, e.last())
	}
	b.many("C10", "ms", each)
	b.many("C10last", "ms", last)
	return nil
}

func everybody(*live) bool { return true }

// allSee is C500.
func (b *bench) allSee(ctx context.Context) error {
	if err := b.connectAll(ctx); err != nil {
		return err
	}
	var last []float64
	for n := range b.Runs * allWrites {
		e, err := b.someWrite(ctx, n, b.world.public.assets[n%publicAssets], everybody)
		if err != nil {
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
		w, err := b.peer.writer(ctx, 0)
		if err != nil {
			return err
		}
		no := n % (b.world.users / 2)
		a := &b.world.areas[no]
		id := a.assets[len(a.assets)-1]
		e := &event{concern: func(l *live) bool { return l.user/2 == no }, count: gone, need: 1}
		if err := b.happen(ctx, e, func() error { return w.remove(ctx, id) }); err != nil {
			return err
		}
		a.assets = a.assets[:len(a.assets)-1]
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
	undo := map[bool]string{false: "D1000", true: "R1000"}[!give]
	_, quiet := b.peer.traits().cannot[undo]
	var last []float64
	for range b.Runs {
		user := b.taken % b.world.users
		b.taken++
		for _, own := range []bool{false, true} {
			if own != give && quiet {
				if err := b.assignQuietly(ctx, user, own); err != nil {
					return err
				}
				continue
			}
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
	a, err := b.peer.admin(ctx)
	if err != nil {
		return nil, err
	}
	e := &event{
		concern: func(l *live) bool { return l.user == user },
		count:   gone, need: len(b.world.areas[user/2].assets) + b.peer.traits().perArea,
	}
	if own {
		e.count = changed
	}
	if err := b.happen(ctx, e, func() error { return a.assign(ctx, user, own) }); err != nil {
		return nil, err
	}
	if len(e.waits) != socketsPerUser {
		return nil, errors.New("not all of the user's clients were told")
	}
	return e, nil
}

// assignQuietly does the same with a server whose live clients don't hear of
// it: the user's clients are exchanged for new ones.
func (b *bench) assignQuietly(ctx context.Context, user int, own bool) error {
	a, err := b.peer.admin(ctx)
	if err != nil {
		return err
	}
	var others, theirs []*live
	for _, l := range b.live {
		if l.user == user {
			theirs = append(theirs, l)
		} else {
			others = append(others, l)
		}
	}
	for _, l := range theirs {
		if err := l.end(ctx); err != nil {
			return err
		}
	}
	b.live = others
	if err := a.assign(ctx, user, own); err != nil {
		return err
	}
	for _, l := range theirs {
		if err := b.goLive(ctx, &live{user: user, n: l.n}); err != nil {
			return err
		}
	}
	time.Sleep(pause)
	return nil
}
