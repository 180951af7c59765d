package tenant

import (
	"slices"
	"sync"
	"time"

	"satchel/internal/command"
	"satchel/internal/ident"
	"satchel/sync/apply"
)

// Devices that are not live are told by push that they have something to pull.
// Who is told is found out apart from commits: what commits touch is gathered
// for a moment, devices that may be concerned are picked as live ones are, and
// for each it is worked out whether a pull would bring it anything at all. So a
// change that a device's user may not see sends nothing, and a change that
// everybody sees is spread over many turns of the loop.
//
// A device is told once until it pulls, or wakeAgain has passed. All of it is in
// memory: a tenant that was opened looks at every device once.
type sleepers struct {
	mu      sync.Mutex
	on      bool
	devices map[ident.DeviceID]*sleeper
	owed    []ident.DeviceID // to be told, those first that were found first
	recheck []ident.DeviceID // to be looked at, whatever was touched

	// The loop's own.
	timer  *time.Timer
	armed  bool
	filled bool          // devices has those that there were when the tenant was opened
	seen   apply.Effects // gathered since the last look
	list   []apply.Watched
	eff    apply.Effects // that list is judged by
}

// sleeper is a device that has an address for pushes.
type sleeper struct {
	employee ident.RecordID
	owed     bool
	told     ident.Millis // when, 0 for not since it last pulled
}

const (
	// gatherFor is how long effects are gathered before devices are looked at.
	gatherFor = 200 * time.Millisecond
	// lookedAt is how many devices are looked at in one turn of the loop.
	lookedAt = 16
	// gathered bounds the records remembered until devices are looked at; where
	// there are more, every device is.
	gathered = 4096
	// wakeAgain is how long a device that did not pull is left alone.
	wakeAgain ident.Millis = 60 * 60 * 1000
)

// Watch turns the telling of devices that are not live on; it is asked for once
// by whoever sends the pushes.
func (t *Tenant) Watch() {
	s := &t.sleepers
	s.mu.Lock()
	s.on = true
	s.mu.Unlock()
	t.poke()
}

// Posted yields when the outbox has something to be looked at, or devices are to
// be told to pull.
func (t *Tenant) Posted() <-chan struct{} { return t.posted }

func (t *Tenant) post() {
	select {
	case t.posted <- struct{}{}:
	default:
	}
}

// poke lets the loop look around.
func (t *Tenant) poke() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// TakeOwed returns up to n devices that are to be told to pull and notes that
// they were told. Devices that have become live meanwhile are left out. more is
// set where there are others.
func (t *Tenant) TakeOwed(n int) (ids []ident.DeviceID, more bool) {
	s, now := &t.sleepers, t.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.owed) > 0 && len(ids) < n {
		id := s.owed[0]
		s.owed = s.owed[1:]
		d := s.devices[id]
		if d == nil || !d.owed {
			continue
		}
		d.owed = false
		if t.Live(id) {
			continue
		}
		d.told = now
		ids = append(ids, id)
	}
	return ids, len(s.owed) > 0
}

// Told notes that a device was told to pull by other means.
func (t *Tenant) Told(id ident.DeviceID) {
	s, now := &t.sleepers, t.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.devices[id]; d != nil {
		d.told, d.owed = now, false
	}
}

// NotTold takes a TakeOwed or Told back: the push did not go out. The device is
// looked at again with the next change that touches it.
func (t *Tenant) NotTold(id ident.DeviceID) {
	s := &t.sleepers
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.devices[id]; d != nil {
		d.told = 0
	}
}

// pulled notes that a device asks by itself.
func (s *sleepers) pulled(id ident.DeviceID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.devices[id]; d != nil {
		d.told, d.owed = 0, false
	}
}

// left has a device looked at that was live until now: what its socket was to
// bring may not have arrived.
func (t *Tenant) left(id ident.DeviceID) {
	s := &t.sleepers
	s.mu.Lock()
	known := s.devices[id] != nil
	if known {
		s.recheck = append(s.recheck, id)
	}
	s.mu.Unlock()
	if known {
		t.poke()
	}
}

// gather notes what an entry touched. It is the loop's.
func (t *Tenant) gatherEffects(eff apply.Effects) {
	s := &t.sleepers
	if !s.filled {
		return
	}
	if len(eff.Addressed) > 0 && t.resting() {
		s.mu.Lock()
		for _, id := range eff.Addressed {
			a, ok := apply.ReadAddress(t.machine.Reader(), id, t.Now())
			switch d := s.devices[id]; {
			case !ok:
				delete(s.devices, id)
			case d == nil:
				s.devices[id] = &sleeper{employee: a.Employee}
			default:
				d.employee = a.Employee
			}
		}
		s.mu.Unlock()
	}
	s.seen.Everybody = s.seen.Everybody || eff.Everybody
	s.seen.Bulk = s.seen.Bulk || eff.Bulk
	s.seen.Moved = s.seen.Moved || eff.Moved
	s.seen.People = append(s.seen.People, eff.People...)
	s.seen.Touched = append(s.seen.Touched, eff.Touched...)
	if len(s.seen.Touched) > gathered || len(s.seen.People) > gathered {
		s.seen = apply.Effects{Everybody: true}
	}
	if s.pending() {
		s.arm(gatherFor)
	}
}

func (s *sleepers) pending() bool {
	return len(s.seen.Touched) > 0 || len(s.seen.People) > 0 || s.seen.Everybody || s.seen.Bulk
}

func (s *sleepers) arm(d time.Duration) {
	if !s.armed {
		s.armed = true
		s.timer.Reset(d)
	}
}

// lookUp begins to look after the devices once that is asked for. It is the
// loop's.
func (t *Tenant) lookUp() {
	s := &t.sleepers
	s.mu.Lock()
	on, again := s.on, len(s.recheck) > 0
	s.mu.Unlock()
	if again {
		s.arm(0)
	}
	if !on || s.filled || !t.resting() {
		return
	}
	rd, now := t.machine.Reader(), t.Now()
	devices := map[ident.DeviceID]*sleeper{}
	apply.EachAddressed(rd, func(id ident.DeviceID) bool {
		if a, ok := apply.ReadAddress(rd, id, now); ok {
			devices[id] = &sleeper{employee: a.Employee}
		}
		return true
	})
	s.mu.Lock()
	s.devices, s.filled = devices, true
	s.mu.Unlock()
	s.seen.Everybody = len(devices) > 0
	if s.pending() {
		s.arm(0)
	}
	t.leave()
}

// look looks at some devices. It is the loop's.
func (t *Tenant) look() {
	s := &t.sleepers
	s.armed = false
	live := t.liveDevices()
	now := t.Now()
	s.mu.Lock()
	var sure []apply.Watched
	for _, id := range s.recheck {
		if d := s.devices[id]; d != nil && !live[id] && !d.owed && len(sure) < lookedAt {
			sure = append(sure, apply.Watched{Device: id, Employee: d.employee})
		}
	}
	s.recheck = s.recheck[min(len(s.recheck), lookedAt):]
	if len(s.list) == 0 && s.pending() {
		s.eff, s.seen = s.seen, apply.Effects{}
		for id, d := range s.devices {
			if !live[id] && !d.owed && (d.told == 0 || now-d.told >= wakeAgain) {
				s.list = append(s.list, apply.Watched{Device: id, Employee: d.employee})
			}
		}
		slices.SortFunc(s.list, func(a, b apply.Watched) int { return compareDevices(a.Device, b.Device) })
	}
	some := s.list[:min(len(s.list), lookedAt)]
	s.list = s.list[len(some):]
	rest := len(s.list) > 0 || len(s.recheck) > 0
	s.mu.Unlock()
	if (len(some) > 0 || len(sure) > 0) && t.resting() {
		t.machine.Touched(s.eff, some, func(i int) { sure = append(sure, some[i]) })
		found := false
		for _, w := range sure {
			ahead := func(checkpoint string) *command.Mark { return t.ahead.Where(w.Device, checkpoint) }
			if t.machine.Owes(w.Device, ahead) {
				found = true
				s.mu.Lock()
				if d := s.devices[w.Device]; d != nil && !d.owed {
					d.owed = true
					s.owed = append(s.owed, w.Device)
				}
				s.mu.Unlock()
			}
		}
		if found {
			t.post()
		}
		t.leave()
	}
	switch {
	case rest:
		s.arm(time.Millisecond)
	case s.pending():
		s.arm(gatherFor)
	}
}

func compareDevices(a, b ident.DeviceID) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// liveDevices are the devices that are live.
func (t *Tenant) liveDevices() map[ident.DeviceID]bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make(map[ident.DeviceID]bool, len(t.lives))
	for id := range t.lives {
		out[id] = true
	}
	return out
}

// Live reports whether a device has a live connection.
func (t *Tenant) Live(id ident.DeviceID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.lives[id] != nil
}
