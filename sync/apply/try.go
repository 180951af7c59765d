package apply

import (
	"maps"
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

// Trial applies commands to a snapshot without writing anything: to see what
// they would lead to. The tenant goes on meanwhile; nothing of a trial gets
// into its log, its state or its numbering. It is for one goroutine, and valid
// as long as the snapshot is open.
type Trial struct {
	m *Machine
	// before reads the state as it is at the trial's time without the commands.
	before *state.Reader
}

// NewTrial begins a trial on a snapshot. now is the clock's time: what begins or
// ends by it has done so, with the commands and without.
func NewTrial(cfg Config, snap store.Reader, now ident.Millis) *Trial {
	as := state.NewWriter(cfg.Cat)
	pos := state.NewReader(cfg.Cat, snap).Position()
	as.Begin(snap, pos, now) // time alone goes on
	t := &Trial{m: New(cfg), before: &as.Reader}
	t.m.trial = true
	t.m.w.Begin(snap, pos+1, now)
	t.m.effects = Effects{Ended: map[ident.SessionID]int{}}
	t.m.load()
	return t
}

// Do applies a command on top of those before it and answers as the tenant
// would. A refused command leaves nothing.
func (t *Trial) Do(c *command.Command) Result { return t.m.command(c) }

// After reads the state with the commands.
func (t *Trial) After() *state.Reader { return &t.m.w.Reader }

// Effect is what the commands change for somebody, in records. Records that the
// asker of Compare does not see are in no count.
type Effect struct {
	Arrives, Leaves map[uint16]int // by type number
	// Changed counts records that stay and of which other fields are seen.
	Changed int
}

// IsZero reports whether nothing changes.
func (e *Effect) IsZero() bool { return len(e.Arrives) == 0 && len(e.Leaves) == 0 && e.Changed == 0 }

// DeviceEffect is what the commands change for a device. What comes or goes
// without them is not counted: Arrives counts records that it would be sent
// because of the commands and does not have, Leaves those that it has, or may
// have, and would keep but for them.
type DeviceEffect struct {
	ID ident.DeviceID
	Effect
}

// PersonEffect is what the commands change for a person: of what they may see,
// wherever, context-only records included, and on their devices, sorted by id.
type PersonEffect struct {
	ID ident.RecordID
	Effect
	Devices []DeviceEffect
}

// discarded takes rows that nobody wants.
type discarded struct{ store.Reader }

// Put implements store.Writer.
func (discarded) Put(store.Bucket, []byte, []byte) error { return nil }

// Delete implements store.Writer.
func (discarded) Delete(store.Bucket, []byte) error { return nil }

// Compare returns for whom the commands applied so far change something that
// the asker may know of, sorted by id; asker is "" for the operator, who may
// know everything. People, devices and records are told with the asker's rights
// as they are without the commands. It is to be called once, after all
// commands.
func (t *Trial) Compare(asker ident.RecordID) ([]PersonEffect, error) {
	touched, err := t.m.w.Flush(discarded{})
	if err != nil {
		return nil, err
	}
	t.m.w.Like(t.before)
	c := &comparison{
		Trial: t, classes: Classes(t.before), was: scope.NewCrowd(t.before), moved: touched.Bulk,
		touched: map[*entity.Type]bool{}, deltas: map[pair]*deltas{},
	}
	var ords bits.Builder
	for _, x := range touched.Touched {
		c.touched[x.Type] = true
		ords.Add(x.Ord)
	}
	c.is = c.was.After(t.After(), ords.Set())
	if asker != "" {
		sub, ok := t.m.cfg.Roles.Build(t.before, asker)
		if !ok {
			return nil, notFound()
		}
		c.look(sub)
	}
	var out []PersonEffect
	for _, id := range c.affected(touched) {
		if p, ok := c.person(id); ok {
			out = append(out, p)
		}
	}
	return out, nil
}

// comparison is a Compare under way.
type comparison struct {
	*Trial
	classes []scope.Class
	was, is *scope.Crowd
	touched map[*entity.Type]bool // types of which records differ
	moved   bool                  // clients changed their areas
	asker   *policy.Subject
	seen    map[uint16]bits.Set // by type; nil where the asker sees everything
	deltas  map[pair]*deltas
}

// pair names the shares of a type before and after.
type pair struct {
	typ     uint16
	was, is string
}

// delta is what changes of a set of records of one type.
type delta struct{ arrives, leaves, changed bits.Set }

// deltas of one type: of all that is seen, and of root lists alone.
type deltas struct{ all, root delta }

// look notes what the asker sees, in either state.
func (c *comparison) look(sub *policy.Subject) {
	c.asker, c.seen = sub, map[uint16]bits.Set{}
	for _, crowd := range []*scope.Crowd{c.was, c.is} {
		for _, s := range crowd.Shares(sub) {
			c.seen[s.Type.No] = bits.Or(c.seen[s.Type.No], s.Sets.All())
		}
	}
}

// known reports whether the asker sees a record.
func (c *comparison) known(id ident.RecordID) bool {
	if c.asker == nil || mutant.On(mutant.TrialTellsHidden) {
		return true
	}
	for _, rd := range []*state.Reader{c.before, c.After()} {
		if rec, ok := rd.Load(id); ok && c.asker.View(rec, rd).Mask != 0 {
			return true
		}
	}
	return false
}

// person compares what somebody sees and carries.
func (c *comparison) person(id ident.RecordID) (PersonEffect, bool) {
	out := PersonEffect{ID: id}
	if !c.known(id) {
		return out, false
	}
	was, is := c.sight(c.was, c.before, id), c.sight(c.is, c.After(), id)
	if was != nil && is != nil {
		is.Compare(was.Person, c.touched, c.moved)
	}
	list := map[uint16]*deltas{}
	for _, t := range c.m.cfg.Cat.Types {
		if is != nil && is.Same(t) {
			continue
		}
		if d := c.between(t, was.of(t), is.of(t)); d != nil {
			list[t.No] = d
			out.add(t.No, d.all, bits.Set{}, false)
		}
	}
	typ := c.m.cfg.Cat.Type(subject.Device)
	for o := range c.before.Referring(typ, typ.Field("employee").No, id).All() {
		_, dev := c.before.Name(o)
		if d, ok := c.device(dev, was, is, list); ok {
			out.Devices = append(out.Devices, d)
		}
	}
	slices.SortFunc(out.Devices, func(a, b DeviceEffect) int { return compareIDs(a.ID, b.ID) })
	return out, !out.IsZero() || len(out.Devices) > 0
}

func compareIDs(a, b ident.RecordID) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// sight is what one person sees in one state; nil for somebody who is not
// there.
type sight struct {
	*scope.Person
	sub *policy.Subject
}

func (c *comparison) sight(crowd *scope.Crowd, rd *state.Reader, id ident.RecordID) *sight {
	sub, ok := c.m.cfg.Roles.Build(rd, id)
	if !ok {
		return nil
	}
	return &sight{crowd.Person(sub), sub}
}

// of returns the share of a type; an empty one has a key of its own.
func (s *sight) of(t *entity.Type) scope.Share {
	if s != nil {
		if x := s.Share(t); len(x.Sets) > 0 {
			return x
		}
	}
	return scope.Share{Type: t, Key: "-"}
}

// between compares two shares, nil where nothing differs. Those that many
// people have are compared once.
func (c *comparison) between(t *entity.Type, was, is scope.Share) *deltas {
	if len(was.Sets) == 0 && len(is.Sets) == 0 {
		return nil
	}
	k := pair{t.No, was.Key, is.Key}
	shared := was.Key != "" && is.Key != ""
	if d, ok := c.deltas[k]; ok && shared {
		return d
	}
	var d *deltas
	if all := c.differ(t.No, was.Sets, is.Sets); !all.isZero() {
		d = &deltas{all, c.differ(t.No, listed(was.Sets), listed(is.Sets))}
	}
	if shared {
		c.deltas[k] = d
	}
	return d
}

// listed leaves out what is shown beneath its parent only.
func listed(s scope.Sets) scope.Sets {
	if !slices.ContainsFunc(s, func(p scope.Part) bool { return p.Context }) {
		return s
	}
	return slices.DeleteFunc(slices.Clone(s), func(p scope.Part) bool { return p.Context })
}

func (c *comparison) differ(typ uint16, was, is scope.Sets) delta {
	if slices.EqualFunc(was, is, func(a, b scope.Part) bool { return a.Class == b.Class && bits.Equal(a.Set, b.Set) }) {
		return delta{}
	}
	seen := func(s bits.Set) bits.Set {
		if c.seen == nil {
			return s
		}
		return bits.And(s, c.seen[typ])
	}
	before, after := was.All(), is.All()
	var changed []bits.Set
	for _, p := range was {
		changed = append(changed, bits.AndNot(bits.And(p.Set, after), part(is, p.Class)))
	}
	return delta{seen(bits.AndNot(after, before)), seen(bits.AndNot(before, after)), seen(bits.OrAll(changed...))}
}

func (d *delta) isZero() bool {
	return d.arrives.IsEmpty() && d.leaves.IsEmpty() && d.changed.IsEmpty()
}

// add counts a type's delta: for a person all of it, for a device with what it
// holds of the type.
func (e *Effect) add(typ uint16, d delta, held bits.Set, device bool) {
	arrives, leaves, changed := d.arrives.Len(), d.leaves.Len(), d.changed.Len()
	if device {
		arrives -= bits.AndLen(d.arrives, held)
		leaves, changed = bits.AndLen(d.leaves, held), bits.AndLen(d.changed, held)
	}
	count := func(m *map[uint16]int, n int) {
		if n == 0 {
			return
		}
		if *m == nil {
			*m = map[uint16]int{}
		}
		(*m)[typ] = n
	}
	count(&e.Arrives, arrives)
	count(&e.Leaves, leaves)
	e.Changed += changed
}

// device compares what a device carries with what it has.
func (c *comparison) device(id ident.DeviceID, was, is *sight, list map[uint16]*deltas) (DeviceEffect, bool) {
	out := DeviceEffect{ID: id}
	rec, ok := c.before.Load(id)
	if !ok || rec.StatusText() == deviceRevoked || !c.known(id) {
		return out, false
	}
	d := ReadDevice(c.before, c.classes, id)
	if d == nil {
		return out, false
	}
	if rec, ok := c.After().Load(id); !ok || rec.StatusText() == deviceRevoked {
		is = nil
	} else if !d.Field && len(d.Pins) == 0 {
		// It carries what stands in root lists, like every other such device.
		for no, x := range list {
			out.add(no, x.root, d.heldOf(no), true)
		}
		return out, !out.IsZero()
	}
	carried := func(crowd *scope.Crowd, s *sight) map[uint16]scope.Sets {
		of := map[uint16]scope.Sets{}
		if s == nil {
			return of
		}
		for _, p := range crowd.Carried(s.sub, scope.Join(s.Shares()), d.Profile(c.before.Now()), c.m.cfg.Field) {
			of[p.Type] = append(of[p.Type], p)
		}
		return of
	}
	before, after := carried(c.was, was), carried(c.is, is)
	for _, t := range c.m.cfg.Cat.Types {
		if x := c.differ(t.No, before[t.No], after[t.No]); !x.isZero() {
			out.add(t.No, x, d.heldOf(t.No), true)
		}
	}
	return out, !out.IsZero()
}

// heldOf returns what the device has or may have of a type, and perhaps unsure
// records of others.
func (d *Device) heldOf(typ uint16) bits.Set {
	sets := []bits.Set{d.Sync.Unsure}
	of := func(parts scope.Sets) {
		for _, p := range parts {
			if p.Type == typ {
				sets = append(sets, p.Set)
			}
		}
	}
	of(d.Sync.Held)
	if p := d.Sync.Pending; p != nil {
		of(p.Sent)
	}
	return bits.OrAll(sets...)
}

// affected returns those for whom something may differ, sorted: those whose
// rights a changed record decides, those whom one names, those who see one
// before or after, and where whole areas moved everybody. It may name somebody
// too many, never one too few.
func (c *comparison) affected(eff state.Effects) []ident.RecordID {
	who := map[ident.RecordID]bool{}
	everybody := eff.Bulk
	readers := []*state.Reader{c.before, c.After()}
	add := func(rd *state.Reader, id ident.RecordID) {
		who[id] = true
		for _, by := range c.m.cfg.Roles.Delegates(rd, id) {
			who[by] = true
		}
	}
	decides := func(rd *state.Reader, r *entity.Record) {
		switch r.Type.Name {
		case subject.Organizational:
			c.holders(rd, r.ID, add)
		case subject.RoleClient:
			c.holders(rd, r.Get("role").Ref(), add)
		case subject.Device:
			add(rd, r.Get("employee").Ref())
		default:
			ids, all := c.m.cfg.Roles.Affected(rd, r)
			everybody = everybody || all
			for _, id := range ids {
				who[id] = true
			}
		}
	}
	ords := map[ident.Ordinal]bool{}
	for _, t := range eff.Touched {
		ords[t.Ord] = true
		for _, o := range t.Named {
			for _, rd := range readers {
				if _, id := rd.Name(o); id != "" {
					add(rd, id)
				}
			}
		}
	}
	touched := slices.Sorted(maps.Keys(ords))
	var was, is []*entity.Record
	for _, o := range touched {
		for i, rd := range readers {
			if r, ok := rd.LoadOrd(o); ok {
				decides(rd, r)
				if i == 0 {
					was = append(was, r)
				} else {
					is = append(is, r)
				}
			}
		}
	}
	staff := c.m.cfg.Cat.Type(subject.Employee).No
	people := bits.Or(c.before.Index(state.TypeKey(staff)), c.After().Index(state.TypeKey(staff)))
	everybody = everybody || people.Len()*len(touched) > maxPointChecks
	for o := range people.All() {
		_, id := c.After().Name(o)
		if !who[id] && (everybody || c.sees(id, was, is)) {
			who[id] = true
		}
	}
	return slices.Sorted(maps.Keys(who))
}

// sees reports whether somebody whose rights are the same before and after sees
// one of the records, as they stood or stand.
func (c *comparison) sees(id ident.RecordID, was, is []*entity.Record) bool {
	sub, ok := c.m.cfg.Roles.Build(c.before, id)
	if !ok {
		return false
	}
	one := func(rd *state.Reader, list []*entity.Record) bool {
		return slices.ContainsFunc(list, func(r *entity.Record) bool { return sub.Brings(r.Type) || sub.View(r, rd).Mask != 0 })
	}
	return one(c.before, was) || one(c.After(), is)
}

// holders calls f for everybody who holds a tenant-made role, whether or not in
// force.
func (c *comparison) holders(rd *state.Reader, role ident.RecordID, f func(*state.Reader, ident.RecordID)) {
	t := c.m.cfg.Cat.Type(subject.RoleAssignment)
	rd.Each(rd.Index(state.TypeKey(t.No)), func(o ident.Ordinal, _ []byte) bool {
		if r, ok := rd.LoadOrd(o); ok && r.Get("role").Text() == string(role) {
			f(rd, r.Get("employee").Ref())
		}
		return true
	})
}
