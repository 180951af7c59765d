package tenant

import (
	"context"
	"maps"
	"slices"
	"sync/atomic"

	"satchel/internal/command"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/internal/policy"
	"satchel/sync/apply"
	"satchel/sync/state"
	"satchel/sync/wire"
)

// Live is a device that is told at once when it may have something to pull.
// There is no queue: a mark says that something happened, and the pull finds
// out what.
type Live struct {
	Session  ident.SessionID
	Device   ident.DeviceID
	Employee ident.RecordID

	dirty  chan struct{} // of Join
	ended  chan int
	to     Listener // of Follow, nil otherwise
	taker  Taker    // to, where it is one
	due    bool     // it is among those of Tenant.due; the loop's
	rights atomic.Bool
}

// Listener is told of what concerns a device by whoever finds it out, the
// tenant's loop among them: both methods return at once and call nothing of the
// tenant. They may be called at the same time, and after Part a last time.
type Listener interface {
	// Dirty says that the device may have something to pull.
	Dirty()
	// Ended gives the close code when the session ended or another connection
	// took the device over.
	Ended(code int)
}

// closeGoingAway is the WebSocket code for a server that ends.
const closeGoingAway = 1001

// Dirty yields when the device may have something to pull.
func (l *Live) Dirty() <-chan struct{} { return l.dirty }

// Ended yields the close code when the session ended or another connection
// took the device over.
func (l *Live) Ended() <-chan int { return l.ended }

// Rights reports whether the person's rights may be others than when it was
// asked last, or when the device was joined: true the first time. It costs
// nothing, so that nobody has to look where nothing changed.
func (l *Live) Rights() bool { return l.rights.Load() && l.rights.Swap(false) }

func (l *Live) mark() {
	if l.to != nil {
		l.to.Dirty()
		return
	}
	select {
	case l.dirty <- struct{}{}:
	default:
	}
}

func (l *Live) end(code int) {
	if l.to != nil {
		l.to.Ended(code)
		return
	}
	select {
	case l.ended <- code:
	default:
	}
}

// Join makes a device live; an older connection of the same device ends. The
// caller checks the session again after joining: what ends it later is told.
func (t *Tenant) Join(session ident.SessionID, device ident.DeviceID, employee ident.RecordID) *Live {
	return t.join(&Live{Session: session, Device: device, Employee: employee, dirty: make(chan struct{}, 1), ended: make(chan int, 1)})
}

// Follow is Join for whoever has no goroutine to wait for marks: to is called
// instead of what Dirty and Ended yield, which are nil.
func (t *Tenant) Follow(session ident.SessionID, device ident.DeviceID, employee ident.RecordID, to Listener) *Live {
	taker, _ := to.(Taker)
	return t.join(&Live{Session: session, Device: device, Employee: employee, to: to, taker: taker})
}

func (t *Tenant) join(l *Live) *Live {
	l.rights.Store(true)
	t.mu.Lock()
	if t.gone != 0 {
		t.mu.Unlock()
		l.end(t.gone)
		return l
	}
	if other := t.lives[l.Device]; other != nil {
		other.end(wire.CloseSuperseded)
	}
	t.live(l)
	t.mu.Unlock()
	select { // a field device may need a tick at midnight
	case t.wake <- struct{}{}:
	default:
	}
	return l
}

// Part ends a Join.
func (t *Tenant) Part(l *Live) {
	t.mu.Lock()
	if t.lives[l.Device] == l {
		t.ended(l)
	}
	t.mu.Unlock()
	t.left(l.Device)
}

// live and ended note who is live, for the loop too. They are called with mu.
func (t *Tenant) live(l *Live) {
	t.lives[l.Device] = l
	t.came[l.Device] = struct{}{}
}

func (t *Tenant) ended(l *Live) {
	delete(t.lives, l.Device)
	t.came[l.Device] = struct{}{}
}

// watch has the machine watch those that are live by now. It is called with mu,
// by the loop.
func (t *Tenant) watch() {
	for id := range t.came {
		if l := t.lives[id]; l != nil {
			t.machine.Watch(apply.Watched{Device: id, Employee: l.Employee})
		} else {
			t.machine.Unwatch(id)
		}
	}
	clear(t.came)
}

// LiveCount returns how many devices are live.
func (t *Tenant) LiveCount() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.lives)
}

// notify wakes the devices that an entry touched and ends what it ended.
func (t *Tenant) notify(eff apply.Effects) {
	t.mu.Lock()
	if len(eff.Ended) > 0 || len(eff.People) > 0 || eff.Everybody {
		for _, l := range t.lives {
			if code, ok := eff.Ended[l.Session]; ok {
				l.end(code)
				t.ended(l)
				continue
			}
			if eff.Everybody || slices.Contains(eff.People, l.Employee) {
				l.rights.Store(true) // before it is marked
			}
		}
	}
	t.watch()
	some := len(t.lives) > 0
	t.mu.Unlock()
	if !some || (len(eff.Touched) == 0 && len(eff.People) == 0 && !eff.Everybody && !eff.Bulk) || !t.resting() {
		return
	}
	var ids []ident.DeviceID
	t.machine.TouchedWatched(eff, func(id ident.DeviceID) { ids = append(ids, id) })
	t.mark(ids)
}

// mark tells live devices that they may have something to pull. It is the
// loop's.
func (t *Tenant) mark(ids []ident.DeviceID) {
	list := make([]*Live, 0, len(ids))
	t.mu.Lock()
	for _, id := range ids {
		if l := t.lives[id]; l != nil {
			list = append(list, l)
		}
	}
	t.mu.Unlock()
	t.Stats.Wakes.Add(uint64(len(list)))
	clear(t.stored)
	for _, l := range list {
		t.put(l)
	}
}

// wakeField marks the field devices whose window moves with the days.
func (t *Tenant) wakeField() {
	if !t.resting() {
		return
	}
	t.mu.Lock()
	ids := slices.Collect(maps.Keys(t.lives))
	t.mu.Unlock()
	t.mark(slices.DeleteFunc(ids, func(id ident.DeviceID) bool { return !t.machine.FieldDevice(id) }))
}

func (t *Tenant) endAll() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.gone = closeGoingAway
	for _, l := range t.lives {
		l.end(t.gone)
		t.ended(l)
	}
}

// Encoded is a page as JSON.
type Encoded struct {
	JSON       []byte
	Empty      bool // nothing to apply
	More       bool
	Checkpoint string
	// Ahead: nothing of the page is stored, so that nothing waits for its
	// acknowledgement.
	Ahead bool
}

// Pull computes the device's next page and encodes it from the snapshot of
// the commit that made it. told is what digests a complete page is to have.
//
// A pull is admitted only with a place among the pages under way, so that a
// change which everybody sees does not crowd out writes.
func (t *Tenant) Pull(ctx context.Context, c *command.Command, told apply.Told) (Encoded, error) {
	select {
	case t.pages <- struct{}{}:
	case <-ctx.Done():
		return Encoded{}, fault.New(fault.Busy).Because(ctx.Err())
	}
	defer func() { <-t.pages }()
	t.sleepers.pulled(c.Device)
	asked := t.ahead.Before(c)
	a, err := t.submit(ctx, &request{cmd: c, told: told, foreseen: t.expected(c.Device, c.Pull.Checkpoint)})
	if err != nil {
		return Encoded{}, err
	}
	defer a.close()
	if a.res.Err != nil {
		return Encoded{}, a.res.Err
	}
	t.ahead.After(c.Device, asked, a.res.Page)
	out, err := t.encodeInTurn(a, told)
	if err == nil {
		t.foresee(a.res.Page)
	}
	return out, err
}

func (t *Tenant) encodeInTurn(a answer, told apply.Told) (Encoded, error) {
	if a.body != nil && !a.mine {
		// Not from a place among the encoders, of which its maker needs one.
		if err := a.body.Wait(); err != nil {
			return Encoded{}, t.unencoded(err)
		}
	}
	t.encoders <- struct{}{}
	defer func() { <-t.encoders }()
	t.Stats.Pages.Add(1)
	return t.encode(a, told)
}

// encode renders a page. A store found damaged on the way stops the tenant.
func (t *Tenant) encode(a answer, told apply.Told) (Encoded, error) {
	b, err := t.pageJSON(a, told)
	if err != nil {
		return Encoded{}, t.unencoded(err)
	}
	page := a.res.Page
	return Encoded{JSON: b, Empty: page.Empty(), More: page.More, Checkpoint: page.Checkpoint, Ahead: page.Ahead}, nil
}

// unencoded is the answer where a page could not be encoded. A store found damaged
// stops the tenant, whoever made what the page has its records from.
func (t *Tenant) unencoded(err error) error {
	code := fault.InternalError
	if apply.Damaged(err) {
		t.stop(err)
		code = fault.TenantStopped
	}
	return fault.New(code).Because(err)
}

// pageJSON is encode's text; a panic is an error.
func (t *Tenant) pageJSON(a answer, told apply.Told) (out []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			out, err = nil, panicError(p)
		}
	}()
	page := a.res.Page
	if a.snap == nil { // there is nothing to read for it
		return page.AppendWith(a.room, t.opts.Cat, a.body), nil
	}
	rd := state.NewReader(t.opts.Cat, a.snap)
	var twin *state.Reader
	if a.twin != nil {
		// Two at it only where there is a place for another page at all.
		select {
		case t.encoders <- struct{}{}:
			defer func() { <-t.encoders }()
			twin = state.NewReader(t.opts.Cat, a.twin)
		default:
		}
	}
	if a.body == nil {
		return page.Encode(rd, twin, told)
	}
	a.body.Make(page, rd, twin, told)
	if err := a.body.Wait(); err != nil {
		return nil, err
	}
	return page.AppendWith(a.room, t.opts.Cat, a.body), nil
}

// Expected summarises what a device should hold by now.
func (v *View) Expected(sub *policy.Subject, device ident.DeviceID) (map[string]wire.Summary, error) {
	d := apply.ReadDevice(v.Reader, apply.Classes(v.Reader), device)
	if d == nil {
		return nil, fault.New(fault.DeviceRequired)
	}
	return apply.Digests(v.Reader, apply.Current(v.Reader, sub, d, v.t.opts.Field)), nil
}
