package apply

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/internal/mutant"
	"satchel/internal/policy"
	"satchel/sync/bits"
	"satchel/sync/state"
	"satchel/sync/store"
	"satchel/sync/subject"
)

// A run is the entity.Context of the hand-written rules of the modules.
var _ entity.Context = (*run)(nil)

// Now is tenant time.
func (r *run) Now() ident.Millis { return r.w.Now() }

// At is when it happened for the person, by the phone's clock put right.
func (r *run) At() ident.Millis { return r.at }

// Actor is who asked or, in a replay, whose work it is.
func (r *run) Actor() ident.RecordID { return cmp.Or(r.behalf, r.cmd.Actor) }

// Load returns a record, whoever may see it.
func (r *run) Load(id ident.RecordID) (*entity.Record, bool) { return r.w.Load(id) }

// Referring implements entity.Context.
func (r *run) Referring(typ, field string, id ident.RecordID, f func(*entity.Record) bool) {
	t := r.cfg.Cat.Type(typ)
	if t == nil || t.Field(field) == nil {
		return
	}
	for o := range r.w.Referring(t, t.Field(field).No, id).All() {
		if rec, ok := r.w.LoadOrd(o); ok && !f(rec) {
			return
		}
	}
}

// Pair implements entity.Context.
func (r *run) Pair(typ, one string, a ident.RecordID, other string, b ident.RecordID) (*entity.Record, bool) {
	t := r.cfg.Cat.Type(typ)
	if t == nil || t.Field(one) == nil || t.Field(other) == nil {
		return nil, false
	}
	for o := range bits.And(r.w.Referring(t, t.Field(one).No, a), r.w.Referring(t, t.Field(other).No, b)).All() {
		if rec, ok := r.w.LoadOrd(o); ok {
			return rec, true
		}
	}
	return nil, false
}

// Save stages a record that a rule changed.
func (r *run) Save(rec *entity.Record) error {
	before, ok := r.w.LoadOrd(rec.Ord)
	if !ok {
		return fault.Newf(fault.InternalError, "a rule saves a record that is not there")
	}
	return r.save(before, rec)
}

// Create stages a record that a rule makes.
func (r *run) Create(typ string, values map[string]entity.Value) (*entity.Record, error) {
	t := r.cfg.Cat.Type(typ)
	if t == nil {
		return nil, fault.Newf(fault.InternalError, "a rule makes a record of unknown type %s", typ)
	}
	draft := &entity.Record{Type: t, ID: r.freshID()}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		draft.Set(name, values[name])
	}
	if err := r.belong(draft); err != nil {
		return nil, err
	}
	if t.Drafted != nil {
		t.Drafted(r, draft)
	}
	if t.Status != nil && draft.Get(t.Status.Field).IsNull() {
		draft.Set(t.Status.Field, entity.StringValue(t.Status.Initial))
	}
	return r.insert(draft)
}

// Delete stages the end of a record. What belongs to it must be gone before.
func (r *run) Delete(rec *entity.Record) error {
	if r.hasChildren(rec) || r.mayHaveHiddenChildren(rec) {
		if rec.Type.Kept {
			return fault.Newf(fault.HasDependents, "Other records bear this name. Disable the person instead.")
		}
		return fault.New(fault.HasDependents)
	}
	falling := r.falling(rec)
	if len(falling) > maxFalling {
		return fault.Newf(fault.HasDependents, "More than %d records go with this one. Take them off first.", maxFalling)
	}
	for _, one := range falling {
		if err := r.Delete(one); err != nil {
			return err
		}
	}
	r.drop(rec)
	if rec.Type.Name == subject.Employee {
		r.w.Delete(store.Credentials, []byte(rec.ID))
		r.w.Delete(store.Credentials, factorRow(rec.ID))
	}
	if rec.Type.Changed != nil {
		if err := rec.Type.Changed(r, rec, nil); err != nil {
			return err
		}
	}
	return r.announce(rec, nil, rec.Type.All())
}

// mayHaveHiddenChildren reports whether clients are hidden from the person who
// asks and records of clients may belong to this one, which belongs to none.
// Whether some do must not show, so that such records are not theirs to
// delete.
func (r *run) mayHaveHiddenChildren(rec *entity.Record) bool {
	if r.sub == nil || rec.Client() != "" || !r.sub.Conceals() {
		return false
	}
	for _, t := range r.cfg.Cat.Types {
		if t.Falls || (t.Root == "" && !t.IsClient) {
			continue
		}
		for _, f := range t.RefsTo(rec.Type.Name) {
			// By its root a record follows the client of this one, which has none.
			if (f.Required || rec.Type.Kept) && f.Name != t.Root {
				return true
			}
		}
	}
	return false
}

// maxFalling bounds what one delete takes along.
const maxFalling = 5000

// falling returns the records that go with a record.
func (r *run) falling(rec *entity.Record) []*entity.Record { return falling(&r.w.Reader, rec) }

func falling(rd *state.Reader, rec *entity.Record) []*entity.Record {
	var out []*entity.Record
	for _, t := range rd.Cat.Types {
		if !t.Falls {
			continue
		}
		for _, f := range t.RefsTo(rec.Type.Name) {
			if t.Root != f.Name && !f.Required {
				continue
			}
			for o := range rd.Referring(t, f.No, rec.ID).All() {
				if one, ok := rd.LoadOrd(o); ok {
					out = append(out, one)
				}
			}
		}
	}
	return out
}

// Each implements entity.Context.
func (r *run) Each(typ, field, value string, f func(*entity.Record) bool) {
	t := r.cfg.Cat.Type(typ)
	if t == nil || t.Field(field) == nil {
		return
	}
	for o := range r.w.Index(state.ValueKey(t.No, t.Field(field).No, value)).All() {
		if rec, ok := r.w.LoadOrd(o); ok && !f(rec) {
			return
		}
	}
}

// Named implements entity.Context. A field that is not unique has no index of
// its texts: to ask for it is a fault of the program.
func (r *run) Named(typ, field, text string) bool {
	t := r.cfg.Cat.Type(typ)
	if t == nil || t.Field(field) == nil || !t.Field(field).Unique {
		panic(fmt.Sprintf("apply: the texts of %s.%s are not indexed", typ, field))
	}
	return len(r.w.Named(t, field, text)) > 0
}

// Number implements entity.Context.
func (r *run) Number(series string) int64 {
	row := []byte("series/" + series)
	n := uint64(1)
	if v := r.w.Get(store.Meta, row); len(v) == 8 {
		n = binary.BigEndian.Uint64(v) + 1
	}
	r.w.Put(store.Meta, row, binary.BigEndian.AppendUint64(nil, n))
	return int64(n)
}

// FreshID derives an id from the command's randomness.
func (r *run) FreshID() ident.RecordID { return r.freshID() }

// savepoint is a place within a command to go back to.
type savepoint struct {
	mark  state.Mark
	eff   Effects
	ended map[ident.SessionID]int
	trail int
	// devices is how many were touched, reheld how many assignments changed.
	devices, reheld int
}

func (r *run) savepoint() savepoint {
	return savepoint{r.w.Mark(), r.eff, maps.Clone(r.eff.Ended), len(r.trail), len(r.devicesTouched), len(r.reheld)}
}

// undo rolls back a part of a command.
func (r *run) undo(to savepoint) {
	r.rollback(to.mark, r, to.devices, to.reheld)
	r.eff, r.eff.Ended = to.eff, to.ended
	r.policyTouched, r.admins = false, nil
	r.trail = r.trail[:to.trail]
}

// foresee is called before a change of a record that may decide rights is
// staged: it notes which of the people concerned are administrators until then.
// before or after is nil where there is none.
func (r *run) foresee(before, after *entity.Record) {
	for _, rec := range []*entity.Record{before, after} {
		if rec == nil || !subject.Decides(rec.Type) {
			continue
		}
		r.policyTouched = true
		// What may be anybody's makes or unmakes no administrator.
		who, _ := r.cfg.Roles.Affected(&r.w.Reader, rec)
		for _, id := range who {
			if _, noted := r.admins[id]; !noted {
				if r.admins == nil {
					r.admins = map[ident.RecordID]bool{}
				}
				r.admins[id] = r.administers(id)
			}
		}
	}
}

// decides notes whose rights a record that was or is now there decides.
func (r *run) decides(rec *entity.Record) {
	if !subject.Decides(rec.Type) {
		return
	}
	r.w.BumpPolicy()
	who, all := r.cfg.Roles.Affected(&r.w.Reader, rec)
	if all {
		r.eff.Everybody = true
		r.subjects.forget()
	}
	for _, id := range who {
		if !mutant.On(mutant.StaleSubject) {
			r.subjects.drop(id)
		}
		r.eff.People = append(r.eff.People, id)
	}
	for _, f := range []string{"from", "until"} {
		if rec.Type.Field(f) == nil || len(who) == 0 {
			continue
		}
		if m, ok := rec.Get(f).Time(); ok && m > r.w.Now() {
			r.w.Put(store.Due, dueRow(m, duePolicy, who[0]), nil)
		}
	}
}

// settle judges what the changes of a command or mutation did to people's
// rights as a whole.
func (r *run) settle() error {
	if !r.policyTouched {
		return nil
	}
	if r.unmade() && !r.administered() && !mutant.On(mutant.LastAdministratorGoes) {
		return fault.New(fault.LastAdministrator)
	}
	r.policyTouched, r.admins = false, nil
	who := slices.Clone(r.eff.People)
	slices.Sort(who)
	for _, id := range slices.Compact(who) {
		if err := r.requeue(id); err != nil {
			return err
		}
		emp, ok := r.w.Load(id)
		if !ok || emp.StatusText() != subject.Active {
			r.endSessions(id, closeRevoked)
		}
	}
	return nil
}

// unmade reports whether somebody was an administrator before the changes that
// are to be judged, and is none now.
func (r *run) unmade() bool {
	for id, was := range r.admins {
		if was && !r.administers(id) {
			return true
		}
	}
	return false
}

// administered reports whether there is an administrator who can't be missed.
func (r *run) administered() bool {
	return slices.ContainsFunc(r.held()[subject.Administrator], func(h holder) bool { return r.administers(h.who) })
}

// administers reports whether a person is an administrator who counts: an active
// customer administrator without an end who sees every client.
func (r *run) administers(id ident.RecordID) bool {
	t := r.cfg.Cat.Type(subject.RoleAssignment)
	for o := range r.w.Referring(t, t.Field("employee").No, id).All() {
		if a, ok := r.w.LoadOrd(o); ok && r.lasting(a) {
			return r.unbounded(id)
		}
	}
	return false
}

// lasting reports whether a role given to somebody is that of an administrator,
// in force and without an end.
func (r *run) lasting(a *entity.Record) bool {
	if a.Get("role").Text() != subject.Administrator || !a.Get("until").IsNull() {
		return false
	}
	from, ok := a.Get("from").Time()
	return !ok || from <= r.w.Now()
}

// unbounded reports whether nothing that is said of a person takes from an
// administrator what makes one.
func (r *run) unbounded(id ident.RecordID) bool {
	return r.cfg.Roles.Unbounded(&r.w.Reader, id) && !r.denied(id)
}

// denied reports whether individual denials, now or once they begin, take from
// an administrator what makes one: the end of a denial is never waited for.
func (r *run) denied(id ident.RecordID) bool {
	t := r.cfg.Cat.Type(subject.Permission)
	for o := range r.w.Referring(t, t.Field("employee").No, id).All() {
		p, ok := r.w.LoadOrd(o)
		if !ok || p.Get("effect").Text() != "denial" {
			continue
		}
		if until, ok := p.Get("until").Time(); ok && until <= r.w.Now() {
			continue
		}
		// Of a person's record the fields count that a new administrator needs.
		if f := p.Get("field").Text(); f != "" && p.Get("entityType").Text() == subject.Employee && !slices.Contains([]string{"name", "email", "kind", "status"}, f) {
			continue
		}
		d := subject.DenialOf(p)
		for _, name := range []string{subject.Employee, subject.RoleAssignment} {
			for _, v := range []policy.Verb{policy.View, policy.Create, policy.Edit, policy.Delete} {
				if d.Takes(r.cfg.Cat.Type(name), v) {
					return true
				}
			}
		}
	}
	return false
}

// requeue takes open work under clients that are hidden from a person back
// from that person.
func (r *run) requeue(id ident.RecordID) error {
	sub := r.subject(id)
	if sub == nil || !sub.Conceals() || mutant.On(mutant.HiddenWorkStays) {
		return nil
	}
	for _, t := range r.cfg.Cat.Types {
		for _, a := range t.Actions {
			if a.Assigns == "" || t.Status == nil {
				continue
			}
			f := t.Field(a.Assigns)
			for o := range r.w.Referring(t, f.No, id).All() {
				rec, ok := r.w.LoadOrd(o)
				if !ok || !sub.Hides(rec.Client()) || !slices.Contains(t.Status.Open, rec.StatusText()) {
					continue
				}
				after := rec.Clone()
				unassign(after, a)
				if err := r.unsigned(func() error { return r.save(rec, after) }); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// unassign puts work back to the queue: without its assignee and without what
// was noted when it was assigned.
func unassign(rec *entity.Record, a *entity.Action) {
	rec.Set(a.Assigns, nil)
	for _, n := range a.Stamps {
		rec.Set(n, nil)
	}
	for _, n := range a.Clears {
		rec.Set(n, nil)
	}
	rec.Set(rec.Type.Status.Field, entity.StringValue(rec.Type.Status.Initial))
}

// unsigned makes a change in nobody's name.
func (r *run) unsigned(f func() error) error {
	actor, what := r.cmd.Actor, r.doing
	r.cmd.Actor, r.doing = "", doing{}
	defer func() { r.cmd.Actor, r.doing = actor, what }()
	return f()
}

// keepEligible puts work that is taken up again back to the queue where its
// assignee has since been disabled or may not know of the client any more.
func (r *run) keepEligible(before, after *entity.Record) {
	t := after.Type
	if t.Status == nil || !slices.Contains(t.Status.Open, after.StatusText()) || slices.Contains(t.Status.Open, before.StatusText()) {
		return
	}
	for _, a := range t.Actions {
		if a.Assigns == "" || after.Get(a.Assigns).IsNull() {
			continue
		}
		if sub := r.subject(after.Get(a.Assigns).Ref()); sub == nil || !sub.Active || sub.Hides(after.Client()) {
			unassign(after, a)
		}
	}
}

// Kinds of what falls due.
const duePolicy = 'p' // an employee's rights change by themselves

// dueRow sorts by instant: i64 with the sign bit flipped, kind, what.
func dueRow(at ident.Millis, kind byte, id ident.RecordID) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(at)^1<<63)
	return append(append(b, kind), id...)
}

// NextDue returns the next instant at which something falls due by itself.
func NextDue(kv store.Reader) (at ident.Millis, ok bool) {
	kv.Scan(store.Due, nil, func(k, _ []byte) bool {
		if len(k) > 9 {
			at, ok = ident.Millis(binary.BigEndian.Uint64(k)^1<<63), true
		}
		return !ok
	})
	return at, ok
}

// due handles everything that has fallen due by tenant time, before any
// command of the entry.
func (m *Machine) due() {
	var rows [][]byte
	news := 0
	m.w.Scan(store.Due, nil, func(k, _ []byte) bool {
		if ident.Millis(binary.BigEndian.Uint64(k)^1<<63) > m.w.Now() {
			return false
		}
		// Rights change at their instant, whatever else is due.
		if k[8] != dueNews {
			rows = append(rows, slices.Clone(k))
		} else if news++; news <= maxNews {
			rows = append(rows, slices.Clone(k))
		}
		return true
	})
	for _, k := range rows {
		m.w.Delete(store.Due, k)
		if k[8] == dueErasure {
			m.erasePart(ident.RecordID(k[9:]))
		}
		if k[8] == duePolicy && !mutant.On(mutant.DueUnnoticed) {
			id := ident.RecordID(k[9:])
			for _, who := range append(m.cfg.Roles.Delegates(&m.w.Reader, id), id) {
				m.subjects.drop(who)
				m.effects.People = append(m.effects.People, who)
			}
			m.w.BumpPolicy()
		}
	}
	for _, k := range rows { // told to those who may know by now
		if k[8] == dueNews {
			m.arrived(ident.Millis(binary.BigEndian.Uint64(k)^1<<63), ident.RecordID(k[9:]))
		}
	}
}
