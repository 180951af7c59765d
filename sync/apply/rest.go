package apply

import (
	"slices"

	"satchel/internal/command"
	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/internal/mutant"
	"satchel/internal/policy"
	"satchel/sync/bits"
	"satchel/sync/scope"
	"satchel/sync/state"
	"satchel/sync/store"
	"satchel/sync/subject"
)

// Rest lets the machine read a committed state between entries. The snapshot
// must stay open until the next Rest, Append or Leave.
func (m *Machine) Rest(kv store.Reader) {
	m.w.Stage.Reset(kv)
	m.load()
}

// Leave ends Rest.
func (m *Machine) Leave() { m.w.Stage.Reset(nil) }

// Reader reads the state of Rest.
func (m *Machine) Reader() *state.Reader { return &m.w.Reader }

// SetEpoch tells the machine the log's epoch before the first entry.
func (m *Machine) SetEpoch(e uint64) { m.epoch = e }

// Peek applies a command to the state of Rest and takes everything back. done
// is true where there was nothing to take back: then the answer stands and
// the command need not go through the log. A pull that has nothing to send is
// such a command.
func (m *Machine) Peek(c *command.Command) (res Result, done bool) {
	if m.brings(c) {
		return Result{}, false
	}
	mark := m.w.Mark()
	rows := m.w.Len()
	r := m.start(c)
	defer func() {
		if p := recover(); p != nil {
			res, done = Result{Err: m.panicked(p)}, true
		}
		m.rollback(mark, r, 0)
	}()
	res = r.dispatch()
	return res, m.w.Len() == rows && res.Err == nil
}

// brings reports whether a pull is sure to have a page that must be stored: of
// a device that has nothing, or in the midst of a round. To compute such a
// page only to find that it can't be answered from here would double its cost.
func (m *Machine) brings(c *command.Command) bool {
	if c.Pull == nil {
		return false
	}
	if c.Pull.Checkpoint == "" {
		return true
	}
	d := m.devices[c.Device]
	return d != nil && d.Sync.Pending != nil && d.Sync.Pending.Target != 0
}

// Owes reports whether a pull would bring the device anything: the device of
// somebody who may use the Mobile module. What it was sent last it is taken to
// have. ahead says, for the checkpoint of a stored page, how far the device has
// come beyond it. It reads the state of Rest.
func (m *Machine) Owes(id ident.DeviceID, ahead func(checkpoint string) *command.Mark) (owes bool) {
	d := m.loadDevice(id)
	if d == nil {
		return false
	}
	if sub := m.subject(d.Employee); sub == nil || !sub.Active || !sub.Mobile {
		return false
	}
	n := d.Sync.Ack
	if d.Sync.Pending != nil {
		n = d.Sync.Pending.N
	}
	if n == 0 {
		return true // it has yet to begin
	}
	mark := m.w.Mark()
	at := m.checkpoint(id, n)
	r := m.start(&command.Command{
		Actor: d.Employee, Session: d.Session, Device: id, Pull: &command.Pull{Checkpoint: at, Since: ahead(at), Limit: 1},
	})
	defer func() {
		if p := recover(); p != nil {
			_ = m.panicked(p) // logged; the device finds out by itself
			owes = false
		}
		m.rollback(mark, r, 0)
	}()
	res := r.dispatch()
	return res.Page != nil && !res.Page.Empty()
}

// Watched is a device that somebody waits for changes of.
type Watched struct {
	Device   ident.DeviceID
	Employee ident.RecordID
}

// maxPointChecks bounds the point decisions made for one entry; beyond it
// every device that might be touched is taken to be.
const maxPointChecks = 20_000

// Touched returns which of the devices may have something to pull after an
// entry with these effects. It may name a device too many, never one too few.
// It reads the state of Rest.
func (m *Machine) Touched(eff Effects, devices []Watched, f func(i int)) {
	if len(devices) == 0 {
		return
	}
	people := map[ident.RecordID]bool{}
	for _, id := range eff.People {
		people[id] = true
	}
	named := map[ident.Ordinal]bool{}
	byType := map[uint16]*bits.Builder{}
	for _, t := range eff.Touched {
		for _, o := range t.Named {
			named[o] = true
		}
		b := byType[t.Type.No]
		if b == nil {
			b = &bits.Builder{}
			byType[t.Type.No] = b
		}
		b.Add(t.Ord)
	}
	sets := make(map[uint16]bits.Set, len(byType))
	for no, b := range byType {
		sets[no] = b.Set()
	}
	arrives := map[ident.RecordID]bool{}
	checks := 0
	for i, w := range devices {
		if eff.Everybody || eff.Bulk || people[w.Employee] || (m.holdsAny(w.Device, sets) && !mutant.On(mutant.LiveNotWoken)) ||
			(len(named) > 0 && m.isNamed(w.Employee, named)) {
			f(i)
			continue
		}
		if !eff.Moved {
			continue
		}
		yes, known := arrives[w.Employee]
		if !known {
			yes = m.mayArrive(w.Employee, eff.Touched, &checks)
			arrives[w.Employee] = yes
		}
		if yes || m.mayLoseNames(w, eff.Touched) {
			f(i)
		}
	}
}

// isNamed reports whether changed fields name the person or somebody for whom
// the person acts.
func (m *Machine) isNamed(id ident.RecordID, named map[ident.Ordinal]bool) bool {
	if named[m.w.Ordinal(id)] {
		return true
	}
	if sub := m.subject(id); sub != nil {
		for _, by := range sub.For {
			if named[m.w.Ordinal(by)] {
				return true
			}
		}
	}
	return false
}

// holdsAny reports whether the device may have one of the records.
func (m *Machine) holdsAny(id ident.DeviceID, sets map[uint16]bits.Set) bool {
	d := m.loadDevice(id)
	if d == nil {
		return false
	}
	in := func(parts scope.Sets) bool {
		for _, p := range parts {
			if s, ok := sets[p.Type]; ok && meets(p.Set, s) {
				return true
			}
		}
		return false
	}
	if in(d.Sync.Held) || (d.Sync.Pending != nil && in(d.Sync.Pending.Sent)) {
		return true
	}
	if !d.Sync.Unsure.IsEmpty() {
		for _, s := range sets {
			if meets(d.Sync.Unsure, s) {
				return true
			}
		}
	}
	return false
}

// meets reports whether a device's set has one of the changed records. Most
// entries change few records and concern few devices: then looking for each
// is cheaper than laying the sets beside each other.
func meets(held, changed bits.Set) bool {
	const few = 8
	if changed.Len() > few {
		return bits.Intersects(held, changed)
	}
	for o := range changed.All() {
		if held.Contains(o) {
			return true
		}
	}
	return false
}

// mayArrive reports whether the person sees one of the changed records.
func (m *Machine) mayArrive(id ident.RecordID, touched []state.Touch, checks *int) bool {
	sub := m.subject(id)
	if sub == nil || !sub.Active {
		return false
	}
	for _, t := range touched {
		if sub.Brings(t.Type) {
			return true
		}
		if len(sub.Grants(t.Type, "view")) == 0 {
			continue
		}
		if *checks++; *checks > maxPointChecks {
			return true
		}
		if rec, ok := m.w.LoadOrd(t.Ord); ok && sub.View(rec, &m.w.Reader).Mask != 0 {
			return true
		}
	}
	return false
}

// mayLoseNames reports whether the device may have somebody's name only because
// of one of the changed records: one that its user sees, or saw, beneath a parent
// alone, so that the device does not have the record itself.
func (m *Machine) mayLoseNames(w Watched, touched []state.Touch) bool {
	sub, d := m.subject(w.Employee), m.loadDevice(w.Device)
	if sub == nil || d == nil {
		return false
	}
	for _, t := range touched {
		if !slices.ContainsFunc(sub.Grants(t.Type, policy.View), func(g *policy.Grant) bool { return g.Context }) {
			continue
		}
		if slices.ContainsFunc(t.Named, d.Sync.MayHold) {
			return true
		}
		// It may have left their sight by a change of other fields than those that
		// name people.
		rec, ok := m.w.LoadOrd(t.Ord)
		if !ok {
			continue
		}
		for _, f := range t.Type.RefsTo(subject.Employee) {
			ids := rec.Get(f.Name).Set()
			if f.Kind == entity.Ref {
				ids = []string{rec.Get(f.Name).Text()}
			}
			if slices.ContainsFunc(ids, func(id string) bool { return d.Sync.MayHold(m.w.Ordinal(ident.RecordID(id))) }) {
				return true
			}
		}
	}
	return false
}

// FieldDevice reports whether the device carries the field profile with a
// window that moves with the days.
func (m *Machine) FieldDevice(id ident.DeviceID) bool {
	d := m.loadDevice(id)
	return d != nil && d.Field && d.Window == nil
}
