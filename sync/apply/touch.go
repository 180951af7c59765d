package apply

import (
	"slices"

	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/internal/mutant"
	"satchel/internal/policy"
	"satchel/sync/bits"
	"satchel/sync/pull"
	"satchel/sync/scope"
	"satchel/sync/subject"
)

// Watched is a device that somebody waits for changes of.
type Watched struct {
	Device   ident.DeviceID
	Employee ident.RecordID
}

// Touched returns which of the devices may have something to pull after an
// entry with these effects. It may name a device too many, never one too few.
// It reads the state of Rest.
func (m *Machine) Touched(eff Effects, devices []Watched, f func(i int)) {
	if len(devices) == 0 {
		return
	}
	x := m.touch(eff)
	for i, w := range devices {
		if d := m.loadDevice(w.Device); x.everyDevice(w.Employee) || d != nil && x.device(w.Employee, &d.Sync) {
			f(i)
		}
	}
}

// watch is the devices that are watched from entry to entry, those of a person
// that hold the same in one group: what an entry means for them is found out
// once. Devices are put into their groups when they are next asked about.
type watch struct {
	people  map[ident.RecordID]*watcher
	devices map[ident.DeviceID]*watched
	moved   map[ident.DeviceID]struct{} // whose group may be another by now
	groups  map[groupKey]*group
}

// watcher is a person with watched devices.
type watcher struct {
	id     ident.RecordID
	groups []*group
}

// watched is a device.
type watched struct {
	id    ident.DeviceID
	who   *watcher
	group *group
	at    int // in group.devices
}

// group is devices of one person for which an entry means the same.
type group struct {
	who     *watcher
	key     groupKey
	holds   pull.Device
	devices []*watched
	at      int // in who.groups
}

// groupKey tells groups of devices at rest apart by where in memory the list of
// what they hold is, which those share that hold all that they may. A device that
// is not at rest is alone.
type groupKey struct {
	who  *watcher
	held *scope.Part
	rest bool
	id   ident.DeviceID // of a device that is alone
}

// Watch has a device named by [Machine.TouchedWatched] from now on.
func (m *Machine) Watch(w Watched) {
	x := &m.watch
	if x.devices == nil {
		x.people, x.devices = map[ident.RecordID]*watcher{}, map[ident.DeviceID]*watched{}
		x.moved, x.groups = map[ident.DeviceID]struct{}{}, map[groupKey]*group{}
	}
	if d := x.devices[w.Device]; d != nil {
		if d.who.id == w.Employee {
			return
		}
		m.Unwatch(w.Device)
	}
	p := x.people[w.Employee]
	if p == nil {
		p = &watcher{id: w.Employee}
		x.people[w.Employee] = p
	}
	d := &watched{id: w.Device, who: p}
	x.devices[w.Device] = d
	x.put(d, groupKey{who: p, id: d.id}, pull.Device{})
	x.moved[w.Device] = struct{}{}
}

// Unwatch ends Watch.
func (m *Machine) Unwatch(id ident.DeviceID) {
	x := &m.watch
	d := x.devices[id]
	if d == nil {
		return
	}
	x.take(d)
	delete(x.devices, id)
	delete(x.moved, id)
	if len(d.who.groups) == 0 {
		delete(x.people, d.who.id)
	}
}

// changed notes that a device holds something else, or the same elsewhere.
func (x *watch) changed(id ident.DeviceID) {
	if x.devices[id] != nil && !mutant.On(mutant.WatchStale) {
		x.moved[id] = struct{}{}
	}
}

// put puts a device into the group of a key.
func (x *watch) put(d *watched, k groupKey, holds pull.Device) {
	g := x.groups[k]
	if g == nil {
		g = &group{who: d.who, key: k, holds: holds, at: len(d.who.groups)}
		x.groups[k] = g
		d.who.groups = append(d.who.groups, g)
	}
	d.group, d.at = g, len(g.devices)
	g.devices = append(g.devices, d)
}

// take takes a device out of its group.
func (x *watch) take(d *watched) {
	g := d.group
	last := len(g.devices) - 1
	g.devices[d.at] = g.devices[last]
	g.devices[d.at].at = d.at
	g.devices[last], g.devices = nil, g.devices[:last]
	d.group = nil
	if last > 0 {
		return
	}
	delete(x.groups, g.key)
	list := g.who.groups
	last = len(list) - 1
	list[g.at] = list[last]
	list[g.at].at = g.at
	list[last], g.who.groups = nil, list[:last]
}

// settle puts the devices that changed where they belong.
func (m *Machine) settle() {
	x := &m.watch
	for id := range x.moved {
		d := x.devices[id]
		k := groupKey{who: d.who, id: id}
		var holds pull.Device
		if is := m.loadDevice(id); is != nil {
			holds = pull.Device{Held: is.Sync.Held, Unsure: is.Sync.Unsure, Pending: is.Sync.Pending}
			if atRest(&holds) {
				k, holds.Pending = groupKey{who: d.who, rest: true}, nil
				if len(holds.Held) > 0 {
					k.held = &holds.Held[0]
				}
			}
		}
		x.take(d)
		x.put(d, k, holds)
	}
	clear(x.moved)
}

// atRest reports whether a device may have what it holds and nothing else. So it
// is with one whose page under way brought updates alone; that such a page was
// applied is not stored, so that live devices mostly have one.
func atRest(d *pull.Device) bool {
	if !d.Unsure.IsEmpty() {
		return false
	}
	if d.Pending == nil {
		return true
	}
	for _, p := range d.Pending.Sent {
		held := 0
		for _, h := range d.Held {
			if h.Type == p.Type {
				held += bits.AndLen(h.Set, p.Set)
			}
		}
		if held < p.Set.Len() {
			return false
		}
	}
	return true
}

// TouchedWatched calls f for those of the watched devices that Touched would name.
func (m *Machine) TouchedWatched(eff Effects, f func(ident.DeviceID)) {
	m.settle()
	x := m.touch(eff)
	for _, p := range m.watch.people {
		all := x.everyDevice(p.id)
		for _, g := range p.groups {
			if !all && !x.device(p.id, &g.holds) {
				continue
			}
			for _, d := range g.devices {
				f(d.id)
			}
		}
	}
}

// maxPointChecks bounds the point decisions made for one entry; beyond it
// every device that might be touched is taken to be.
const maxPointChecks = 20_000

// touch works out whom an entry's effects concern.
type touch struct {
	m       *Machine
	eff     Effects
	people  map[ident.RecordID]bool
	named   map[ident.RecordID]bool
	changed []typed
	arrives map[ident.RecordID]bool
	checks  int
	records []touched // of eff.Touched, as far as they were looked at
}

// touched is a record of an entry's effects, read once for all people.
type touched struct {
	read bool
	rec  *entity.Record // nil for none
	// kept: whoever sees it because others name it has it, see deciding.
	kept bool
}

// typed is the changed records of a type, one by one where they are few.
type typed struct {
	no  uint16
	set bits.Set
	few []ident.Ordinal
}

// maxFew is how many changed records of a type are looked for one by one. Most
// entries change few records and concern few devices: then that is cheaper than
// laying sets beside each other.
const maxFew = 8

func (m *Machine) touch(eff Effects) *touch {
	x := &touch{m: m, eff: eff, people: map[ident.RecordID]bool{}, named: map[ident.RecordID]bool{}, arrives: map[ident.RecordID]bool{}}
	for _, id := range eff.People {
		x.people[id] = true
	}
	var types []uint16
	by := map[uint16]*bits.Builder{}
	for _, t := range eff.Touched {
		for _, o := range t.Named {
			_, id := m.w.Name(o)
			x.named[id] = true
		}
		b := by[t.Type.No]
		if b == nil {
			b = &bits.Builder{}
			by[t.Type.No] = b
			types = append(types, t.Type.No)
		}
		b.Add(t.Ord)
	}
	for _, no := range types {
		x.changed = append(x.changed, changedOf(no, by[no].Set()))
	}
	return x
}

// everyDevice reports whether all of a person's devices are concerned: rights
// changed, or a changed field names the person or somebody for whom the person
// acts.
func (x *touch) everyDevice(id ident.RecordID) bool {
	if x.eff.Everybody || x.eff.Bulk || x.people[id] || x.named[id] {
		return true
	}
	if len(x.named) == 0 {
		return false
	}
	sub := x.m.subject(id)
	return sub != nil && slices.ContainsFunc(sub.For, func(by ident.RecordID) bool { return x.named[by] })
}

// device reports whether one of a person's devices is concerned that holds this.
func (x *touch) device(id ident.RecordID, d *pull.Device) bool {
	if x.holdsAny(d) && !mutant.On(mutant.LiveNotWoken) {
		return true
	}
	if !x.eff.Moved {
		return false
	}
	yes, known := x.arrives[id]
	if !known {
		yes = x.mayArrive(id)
		x.arrives[id] = yes
	}
	return yes || x.mayLoseNames(id, d)
}

// holdsAny reports whether the device may have one of the records.
func (x *touch) holdsAny(d *pull.Device) bool {
	in := func(parts scope.Sets) bool {
		for i := range parts {
			for j := range x.changed {
				if parts[i].Type == x.changed[j].no && x.changed[j].meets(parts[i].Set) {
					return true
				}
			}
		}
		return false
	}
	if in(d.Held) || (d.Pending != nil && in(d.Pending.Sent)) {
		return true
	}
	if !d.Unsure.IsEmpty() {
		for _, t := range x.changed {
			if t.meets(d.Unsure) {
				return true
			}
		}
	}
	return false
}

func changedOf(typ uint16, set bits.Set) typed {
	c := typed{no: typ, set: set}
	if set.Len() <= maxFew {
		c.few = set.Slice()
	}
	return c
}

// meets reports whether a device's set has one of the changed records.
func (t *typed) meets(held bits.Set) bool {
	if t.few == nil {
		return bits.Intersects(held, t.set)
	}
	for _, o := range t.few {
		if held.Contains(o) {
			return true
		}
	}
	return false
}

// mayArrive reports whether the person sees one of the changed records.
func (x *touch) mayArrive(id ident.RecordID) bool {
	m := x.m
	sub := m.subject(id)
	if sub == nil || !sub.Active {
		return false
	}
	for i, t := range x.eff.Touched {
		if sub.Brings(t.Type) {
			return true
		}
		grants := sub.Grants(t.Type, policy.View)
		if len(grants) == 0 {
			continue
		}
		if x.checks++; x.checks > maxPointChecks {
			return true
		}
		r := x.record(i)
		if r.rec == nil {
			continue
		}
		look := policy.Lookup(&m.w.Reader)
		if r.kept && !slices.ContainsFunc(grants, namedAndMore) {
			look = unnamed{&m.w.Reader}
		}
		if sub.View(r.rec, look).Mask != 0 {
			return true
		}
	}
	return false
}

// record returns a record of the effects.
func (x *touch) record(i int) *touched {
	if x.records == nil {
		x.records = make([]touched, len(x.eff.Touched))
	}
	r, t := &x.records[i], &x.eff.Touched[i]
	if !r.read {
		r.read = true
		r.rec, _ = x.m.w.LoadOrd(t.Ord)
		r.kept = t.Fields != 0 && t.Fields&x.m.decide[t.Type.No] == 0
	}
	return r
}

// mayLoseNames reports whether the device may have somebody's name only because
// of one of the changed records: one that its user sees, or saw, beneath a parent
// alone, so that the device does not have the record itself.
func (x *touch) mayLoseNames(id ident.RecordID, d *pull.Device) bool {
	m := x.m
	sub := m.subject(id)
	if sub == nil {
		return false
	}
	for i, t := range x.eff.Touched {
		if !slices.ContainsFunc(sub.Grants(t.Type, policy.View), func(g *policy.Grant) bool { return g.Context }) {
			continue
		}
		if slices.ContainsFunc(t.Named, d.MayHold) {
			return true
		}
		// It may have left their sight by a change of other fields than those that
		// name people.
		rec := x.record(i).rec
		if rec == nil {
			continue
		}
		for _, f := range t.Type.RefsTo(subject.Employee) {
			ids := rec.Get(f.Name).Set()
			if f.Kind == entity.Ref {
				ids = []string{rec.Get(f.Name).Text()}
			}
			if slices.ContainsFunc(ids, func(id string) bool { return d.MayHold(m.w.Ordinal(ident.RecordID(id))) }) {
				return true
			}
		}
	}
	return false
}
