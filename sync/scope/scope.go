// Package scope computes sync sets: the set reading of the scopes whose point
// reading package policy has. A person's sync set is split into disjoint
// classes by what the person sees of the records in them. It reads state and
// changes nothing.
package scope

import (
	"cmp"
	"slices"

	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/internal/mutant"
	"satchel/internal/policy"
	"satchel/sync/bits"
	"satchel/sync/state"
)

// Class is a projection: records of one type of which the same fields are
// seen.
type Class struct {
	Type    uint16
	Mask    entity.Mask
	Context bool
}

// Part is the records of one class.
type Part struct {
	Class
	Set bits.Set
}

// Sets is a sync set: disjoint parts, sorted by type, mask and context.
type Sets []Part

// All returns the union of the parts.
func (s Sets) All() bits.Set {
	sets := make([]bits.Set, len(s))
	for i, p := range s {
		sets[i] = p.Set
	}
	return bits.OrAll(sets...)
}

// Of returns the class an ordinal is in.
func (s Sets) Of(o ident.Ordinal) (Class, bool) {
	for _, p := range s {
		if p.Set.Contains(o) {
			return p.Class, true
		}
	}
	return Class{}, false
}

// OfType is Of for an ordinal of which the number of the type is known; 0 is for
// none.
func (s Sets) OfType(o ident.Ordinal, typ uint16) (Class, bool) {
	if typ == 0 {
		return s.Of(o)
	}
	for _, p := range s {
		if p.Type == typ && p.Set.Contains(o) {
			return p.Class, true
		}
	}
	return Class{}, false
}

// Len counts the records.
func (s Sets) Len() int {
	n := 0
	for _, p := range s {
		n += p.Set.Len()
	}
	return n
}

// Equal reports whether two sync sets have the same parts in the same order.
func (s Sets) Equal(t Sets) bool {
	return slices.EqualFunc(s, t, func(a, b Part) bool { return a.Class == b.Class && bits.Equal(a.Set, b.Set) })
}

// Same reports whether two sync sets are one in memory.
func Same(s, t Sets) bool {
	return len(s) == len(t) && (len(s) == 0 || &s[0] == &t[0])
}

func (s Sets) sort() Sets {
	slices.SortFunc(s, func(a, b Part) int {
		c := cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.Mask, b.Mask))
		if c == 0 && a.Context != b.Context {
			c = 1
			if b.Context {
				c = -1
			}
		}
		return c
	})
	return s
}

// Window bounds work by time: [From, To).
type Window struct{ From, To ident.Millis }

// eval evaluates the scopes of one subject on one state.
type eval struct {
	rd  *state.Reader
	sub *policy.Subject
	// selves are those whose records count as the person's: the person and, for
	// profiles, those it acts for. onsite are the clients they are onsite for.
	selves []ident.Ordinal
	onsite []ident.RecordID
	// others evaluate what was delegated with the eyes of whose right it is;
	// reader is the evaluation for who acts with it, nil for the person alone.
	others map[*policy.Subject]*eval
	reader *eval
	window Window
	memo   map[memoKey]bits.Set
	away   bits.Set // what is hidden or, for an allow-list, allowed
	// within, where set, bounds every set: profiles only.
	within *bits.Set
	// named are the parts whose fields mention people.
	named Sets
	// refs, where set, remembers what records refer to, for many evaluations.
	refs *references
}

type memoKey struct {
	scope *policy.Scope
	typ   uint16
}

// Visible computes everything the person may see, context-only records in
// parts of their own.
func Visible(rd *state.Reader, sub *policy.Subject) Sets {
	if !sub.Active {
		return nil
	}
	e := newEval(rd, sub, Window{})
	var out Sets
	var later []*entity.Type
	for _, t := range rd.Cat.Types {
		if mentions(sub, t) {
			later = append(later, t)
			continue
		}
		out = append(out, e.split(t)...)
	}
	// Records reached because they are named come last: the others name them.
	e.named = out
	for _, t := range later {
		out = append(out, e.split(t)...)
	}
	return out.sort()
}

func newEval(rd *state.Reader, sub *policy.Subject, w Window) *eval {
	e := &eval{rd: rd, sub: sub, window: w, memo: map[memoKey]bits.Set{}, onsite: sub.Onsite}
	if o := rd.Ordinal(sub.ID); o != 0 {
		e.selves = []ident.Ordinal{o}
	}
	var sets []bits.Set
	for _, c := range sub.Clients {
		if o := rd.Ordinal(c); o != 0 {
			sets = append(sets, rd.Index(state.ClientKey(o)))
		}
	}
	e.away = bits.OrAll(sets...)
	return e
}

func mentions(sub *policy.Subject, t *entity.Type) bool {
	for _, g := range sub.Grants(t, policy.View) {
		if hasMention(g.Scope) {
			return true
		}
	}
	return false
}

func hasMention(s *policy.Scope) bool {
	return s.Op == policy.OpMentioned || slices.ContainsFunc(s.Subs, hasMention)
}

// split computes the classes of one type.
func (e *eval) split(t *entity.Type) Sets {
	gone, all := e.sub.Denied(t, policy.View)
	if all {
		return nil
	}
	grants := e.sub.Grants(t, policy.View)
	if len(grants) == 0 {
		return nil
	}
	root := e.classes(t, grants, false)
	beneath := e.classes(t, grants, true)
	if len(beneath) > 0 {
		seen := Sets(root).All()
		for i := range beneath {
			beneath[i].Set = bits.AndNot(beneath[i].Set, seen)
			beneath[i].Context = !mutant.On(mutant.ContextInSet)
		}
	}
	// Denied fields may make two classes one.
	merged := map[Class]bits.Set{}
	var order []Class
	for _, p := range append(root, beneath...) {
		p.Mask &^= gone
		if p.Mask == 0 || p.Set.IsEmpty() {
			continue
		}
		if s, ok := merged[p.Class]; ok {
			merged[p.Class] = bits.Or(s, p.Set)
			continue
		}
		merged[p.Class] = p.Set
		order = append(order, p.Class)
	}
	var out Sets
	for _, c := range order {
		out = append(out, Part{c, merged[c]})
	}
	return out
}

// classes splits what the grants reach into disjoint sets by the union of
// their masks.
func (e *eval) classes(t *entity.Type, grants []*policy.Grant, context bool) []Part {
	byMask := map[entity.Mask]bits.Set{}
	var masks []entity.Mask
	for _, g := range grants {
		if g.Context != context {
			continue
		}
		s := e.reach(t, g)
		if s.IsEmpty() {
			continue
		}
		if old, ok := byMask[g.Mask]; ok {
			byMask[g.Mask] = bits.Or(old, s)
			continue
		}
		byMask[g.Mask] = s
		masks = append(masks, g.Mask)
	}
	var parts []Part
	for _, m := range masks {
		rest := byMask[m]
		for i, n := 0, len(parts); i < n && !rest.IsEmpty(); i++ {
			both := bits.And(parts[i].Set, rest)
			if both.IsEmpty() {
				continue
			}
			rest = bits.AndNot(rest, both)
			if parts[i].Mask|m == parts[i].Mask || mutant.On(mutant.FirstMaskWins) {
				continue
			}
			parts[i].Set = bits.AndNot(parts[i].Set, both)
			parts = append(parts, Part{Class{Type: t.No, Mask: parts[i].Mask | m}, both})
		}
		if !rest.IsEmpty() {
			parts = append(parts, Part{Class{Type: t.No, Mask: m}, rest})
		}
	}
	return parts
}

// with returns the evaluation with another person's eyes.
func (e *eval) with(sub *policy.Subject) *eval {
	if sub == e.sub {
		return e
	}
	o := e.others[sub]
	if o == nil {
		if e.others == nil {
			e.others = map[*policy.Subject]*eval{}
		}
		o = newEval(e.rd, sub, e.window)
		o.reader = e
		e.others[sub] = o
	}
	return o
}

// shown takes from a set of records of clients what is hidden from the person.
func (e *eval) shown(bound bits.Set) bits.Set {
	if e.sub.Kind == policy.ClientStaff {
		bound = bits.And(bound, e.client(e.sub.Client))
	}
	if e.sub.Only {
		return bits.And(bound, e.away)
	}
	if mutant.On(mutant.KeepHidden) {
		return bound
	}
	return bits.AndNot(bound, e.away)
}

// aware takes from a set of records of a type what is hidden from the person,
// or from who acts with the person's rights.
func (e *eval) aware(t *entity.Type, s bits.Set) bits.Set {
	if t.Root == "" && !t.IsClient {
		return s
	}
	for x := e; x != nil; x = x.reader {
		if len(x.sub.Clients) == 0 && !x.sub.Only && x.sub.Kind != policy.ClientStaff {
			continue
		}
		free := bits.And(s, e.rd.Index(state.NoClientKey))
		s = bits.Or(free, x.shown(bits.AndNot(s, free)))
	}
	return s
}

// reach is a grant's set, less what hiding and the ceiling take from it.
func (e *eval) reach(t *entity.Type, g *policy.Grant) bits.Set {
	by := e.with(e.sub.Author(g))
	s := by.set(t, g.Scope)
	if t.Root == "" && !t.IsClient {
		if !e.sub.Admits(g) {
			return bits.Set{}
		}
		return s
	}
	free := bits.And(s, e.rd.Index(state.NoClientKey))
	bound := e.shown(bits.AndNot(s, free))
	if by != e {
		bound = by.shown(bound)
	}
	if g.Clients != nil {
		var sets []bits.Set
		for _, c := range g.Clients {
			sets = append(sets, e.client(c))
		}
		bound = bits.And(bound, bits.OrAll(sets...))
	}
	if !free.IsEmpty() && e.sub.Admits(g) {
		bound = bits.Or(bound, free)
	}
	return bound
}

func (e *eval) client(id ident.RecordID) bits.Set {
	o := e.rd.Ordinal(id)
	if o == 0 {
		return bits.Set{}
	}
	return e.rd.Index(state.ClientKey(o))
}

// set is the records of the type in the scope.
func (e *eval) set(t *entity.Type, s *policy.Scope) bits.Set {
	k := memoKey{s, t.No}
	if got, ok := e.memo[k]; ok {
		return got
	}
	got := e.compute(t, s)
	if e.within != nil {
		got = bits.And(got, *e.within)
	}
	e.memo[k] = got
	return got
}

func (e *eval) compute(t *entity.Type, s *policy.Scope) bits.Set {
	ofType := func(x bits.Set) bits.Set { return bits.And(x, e.rd.Index(state.TypeKey(t.No))) }
	union := func(ids []ident.RecordID, key func(ident.Ordinal) state.Key) bits.Set {
		var sets []bits.Set
		for _, id := range ids {
			if o := e.rd.Ordinal(id); o != 0 {
				sets = append(sets, e.rd.Index(key(o)))
			}
		}
		return ofType(bits.OrAll(sets...))
	}
	switch s.Op {
	case policy.OpAll:
		return e.rd.Index(state.TypeKey(t.No))
	case policy.OpSelf:
		var sets []bits.Set
		for _, self := range e.selves {
			if s.Field == "id" {
				sets = append(sets, ofType(bits.Of(self)))
			} else {
				sets = append(sets, e.rd.Index(state.RefKey(t.No, t.Field(s.Field).No, self)))
			}
		}
		return bits.OrAll(sets...)
	case policy.OpWhere:
		var sets []bits.Set
		for _, v := range s.Values {
			sets = append(sets, e.rd.Index(state.ValueKey(t.No, t.Field(s.Field).No, v)))
		}
		return bits.OrAll(sets...)
	case policy.OpAreas:
		return union(e.sub.Areas, state.AreaKey)
	case policy.OpOwnClient:
		return ofType(e.client(e.sub.Client))
	case policy.OpOnsite:
		return union(e.onsite, state.ClientKey)
	case policy.OpAnd:
		// Point-wise operators filter what the others leave.
		var out bits.Set
		first := true
		for _, x := range s.Subs {
			if x.Op == policy.OpUnset {
				continue
			}
			if first {
				out, first = e.set(t, x), false
			} else {
				out = bits.And(out, e.set(t, x))
			}
		}
		for _, x := range s.Subs {
			if x.Op == policy.OpUnset {
				out = e.unset(t, x, out)
			}
		}
		return out
	case policy.OpOr:
		var sets []bits.Set
		for _, x := range s.Subs {
			sets = append(sets, e.set(t, x))
		}
		if mutant.On(mutant.IntersectUnion) && len(sets) > 1 {
			return bits.And(sets[0], sets[1])
		}
		return bits.OrAll(sets...)
	case policy.OpUnder:
		if e.rd.Index(state.TypeKey(t.No)).IsEmpty() {
			return bits.Set{}
		}
		u := e.rd.Cat.Type(s.Type)
		no := t.Field(s.Field).No
		var b bits.Builder
		for o := range e.set(u, s.Subs[0]).All() {
			b.AddSet(e.rd.Index(state.RefKey(t.No, no, o)))
		}
		return b.Set()
	case policy.OpFrom:
		u := e.rd.Cat.Type(s.Type)
		// What is hidden brings nothing along: it would tell that it is there.
		return e.targets(t, u, u.Field(s.Field), e.aware(u, e.set(u, s.Subs[0])))
	case policy.OpMentioned:
		return e.mentioned(t)
	case policy.OpWindow:
		return e.windowed(t, t.Field(s.Field))
	case policy.OpUnset:
		return e.unset(t, s, e.rd.Index(state.TypeKey(t.No)))
	}
	return bits.Set{}
}

// targets returns the live records of t that a field of records of u names.
func (e *eval) targets(t, u *entity.Type, f *entity.Field, from bits.Set) bits.Set {
	var b bits.Builder
	live := e.rd.Index(state.TypeKey(t.No))
	if live.IsEmpty() {
		return live
	}
	for o := range from.All() {
		for _, to := range e.refs.of(e.rd, u, f, o) {
			if live.Contains(to) {
				b.Add(to)
			}
		}
	}
	return b.Set()
}

// referred returns the ordinals of what a record's field refers to.
func referred(rd *state.Reader, r *entity.Record, f *entity.Field) []ident.Ordinal {
	v := r.Value(f.No)
	if v.IsNull() {
		return nil
	}
	var out []ident.Ordinal
	add := func(id ident.RecordID) {
		if o := rd.Ordinal(id); o != 0 {
			out = append(out, o)
		}
	}
	if f.Kind == entity.Refs {
		for _, id := range v.Set() {
			add(ident.RecordID(id))
		}
	} else {
		add(v.Ref())
	}
	return out
}

// mentioned returns the records of t that the other parts name in a field
// their class shows.
func (e *eval) mentioned(t *entity.Type) bits.Set {
	var b bits.Builder
	live := e.rd.Index(state.TypeKey(t.No))
	for _, p := range e.named {
		u := e.rd.Cat.TypeNo(p.Type)
		if u == t {
			continue
		}
		for _, f := range u.RefsTo(t.Name) {
			if !p.Mask.Has(f.No) && !mutant.On(mutant.MaskedMention) {
				continue
			}
			// Whichever is shorter: the records that name, or those that may
			// be named.
			if p.Set.Len() <= live.Len() {
				b.AddSet(e.targets(t, u, f, p.Set))
				continue
			}
			for o := range live.All() {
				if bits.Intersects(e.rd.Index(state.RefKey(u.No, f.No, o)), p.Set) {
					b.Add(o)
				}
			}
		}
	}
	return b.Set()
}

func (e *eval) windowed(t *entity.Type, f *entity.Field) bits.Set {
	from, to := e.window.From.Day(), (e.window.To - 1).Day()
	if e.window.To <= e.window.From {
		return bits.Set{}
	}
	to = min(to, from+maxWindowDays)
	var b bits.Builder
	for d := from; d <= to; d++ {
		day := e.rd.Index(state.DayKey(t.No, f.No, d))
		if d.Start() >= e.window.From && (d+1).Start() <= e.window.To {
			b.AddSet(day)
			continue
		}
		for o := range day.All() {
			if r, ok := e.rd.LoadOrd(o); ok {
				if m, ok := r.Value(f.No).Time(); ok && m >= e.window.From && m < e.window.To {
					b.Add(o)
				}
			}
		}
	}
	return b.Set()
}

// maxWindowDays bounds a window; longer ones are cut at the far end.
const maxWindowDays = 3660

func (e *eval) unset(t *entity.Type, s *policy.Scope, among bits.Set) bits.Set {
	var b bits.Builder
	f := t.Field(s.Field)
	for o := range among.All() {
		if r, ok := e.rd.LoadOrd(o); ok && r.Value(f.No).IsNull() {
			b.Add(o)
		}
	}
	return b.Set()
}
