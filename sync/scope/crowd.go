package scope

import (
	"encoding/binary"
	"fmt"
	"slices"

	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/internal/policy"
	"satchel/sync/bits"
	"satchel/sync/state"
)

// Crowd computes the sync sets of many people on one state. What people with
// the same rights to a type see of it is computed once, whoever they are; only
// what is somebody's own is computed for each. It is for one goroutine, like
// the state it reads.
type Crowd struct {
	rd    *state.Reader
	seen  map[string]Sets
	named map[string]bits.Set
	refs  *references
	// eyes, where set, are those of whoever is told of the crowd.
	eyes *eval
	*numbers
}

// numbers gives what keys are made of short numbers: the same for the same
// content, in all crowds that share them.
type numbers struct {
	scopes map[*policy.Scope]trait
	grants map[*policy.Grant]number
	ids    map[string]uint64
}

// NewCrowd returns a crowd on a state.
func NewCrowd(rd *state.Reader) *Crowd {
	return &Crowd{
		rd: rd, seen: map[string]Sets{}, named: map[string]bits.Set{}, refs: newReferences(),
		numbers: &numbers{map[*policy.Scope]trait{}, map[*policy.Grant]number{}, map[string]uint64{}},
	}
}

// NewCrowdFor returns a crowd as it may be told to a reader from whom clients
// are hidden: what people see only because a record of such a client names it
// is left out, since it would tell that there is one. What they see of hidden
// clients themselves is in it.
func NewCrowdFor(rd *state.Reader, reader *policy.Subject) *Crowd {
	c := NewCrowd(rd)
	if reader.Conceals() {
		c.eyes = newEval(rd, reader, Window{})
	}
	return c
}

// After returns a crowd on a later state, in which no records but the touched
// differ. Keys of the one mean the same in the other.
func (c *Crowd) After(rd *state.Reader, touched bits.Set) *Crowd {
	return &Crowd{
		rd: rd, seen: map[string]Sets{}, named: map[string]bits.Set{}, numbers: c.numbers,
		refs: &references{one: c.refs.one, many: c.refs.many, touched: touched},
	}
}

// Shares returns what Visible returns, type by type in the catalogue's order,
// those last that are reached because others name them, without the types of
// which the person sees nothing.
func (c *Crowd) Shares(sub *policy.Subject) []Share { return c.Person(sub).Shares() }

// Visible returns what the package's Visible does.
func (c *Crowd) Visible(sub *policy.Subject) Sets { return Join(c.Shares(sub)) }

// Carried returns what the package's Carried does.
func (c *Crowd) Carried(sub *policy.Subject, visible Sets, p Profile, sel []policy.Selection) Sets {
	return carried(c.rd, c.refs, sub, visible, p, sel)
}

// Share is what one person sees of one type.
type Share struct {
	Type *entity.Type
	// Key is the same for everybody of the crowd who sees the same by the same
	// rights; "" where it is the person's own.
	Key  string
	Sets Sets
}

// Join makes one sync set of a person's shares.
func Join(shares []Share) Sets {
	var out Sets
	for _, s := range shares {
		out = append(out, s.Sets...)
	}
	return out.sort()
}

// Person is somebody of a crowd; shares are computed when they are asked for.
type Person struct {
	c      *Crowd
	sub    *policy.Subject
	e      *eval // made when first needed
	shares map[*entity.Type]Share
	// like is the same person in another state, of whom the types in same have
	// the same shares.
	like *Person
	same map[*entity.Type]bool
	// What of the person keys name; 0 where not looked up yet.
	hiding, areas, onsite, self uint64
}

// Person returns somebody of the crowd.
func (c *Crowd) Person(sub *policy.Subject) *Person {
	return &Person{c: c, sub: sub, shares: map[*entity.Type]Share{}}
}

// Shares returns all of the person's shares, see Crowd.Shares.
func (p *Person) Shares() []Share {
	if !p.sub.Active {
		return nil
	}
	var out, later []Share
	for _, t := range p.c.rd.Cat.Types {
		switch s := p.Share(t); {
		case len(s.Sets) == 0:
		case mentions(p.sub, t):
			later = append(later, s)
		default:
			out = append(out, s)
		}
	}
	return append(out, later...)
}

// Share returns what the person sees of a type.
func (p *Person) Share(t *entity.Type) Share {
	if s, ok := p.shares[t]; ok {
		return s
	}
	s := p.share(t)
	p.shares[t] = s
	return s
}

func (p *Person) share(t *entity.Type) Share {
	switch {
	case !p.sub.Active:
		return Share{Type: t}
	case p.same[t]:
		return p.like.Share(t)
	case mentions(p.sub, t):
		return Share{Type: t, Sets: p.mentioned(t)}
	}
	key, own := p.key(t)
	if own {
		return Share{t, "", p.reading().split(t).sort()}
	}
	sets, ok := p.c.seen[key]
	if !ok {
		sets = p.reading().split(t).sort()
		p.c.seen[key] = sets
	}
	return Share{t, key, sets}
}

// Compare finds the types of which the person sees the same as in an earlier
// state of which p's crowd is After; touched are the types of which records
// differ between the two, moved says that clients changed their areas. It tells
// so by rights and by what these look at, computing no share of the type, and
// may take a share for another that is the same.
func (p *Person) Compare(was *Person, touched map[*entity.Type]bool, moved bool) {
	p.like, p.same = was, map[*entity.Type]bool{}
	if !p.sub.Active || !was.sub.Active || moved {
		return
	}
	cat := p.c.rd.Cat
	var later []*entity.Type
	for _, t := range cat.Types {
		if mentions(p.sub, t) || mentions(was.sub, t) {
			later = append(later, t)
			continue
		}
		p.same[t] = p.alike(was, t, touched)
	}
	for _, t := range later {
		same := p.alike(was, t, touched)
		for _, u := range cat.Types {
			if same && len(u.RefsTo(t.Name)) > 0 && u != t && !slices.Contains(later, u) {
				same = p.same[u] && !touched[u]
			}
		}
		p.same[t] = same
	}
}

// Same reports whether Compare found the shares of a type to be the same.
func (p *Person) Same(t *entity.Type) bool { return p.same[t] }

// alike reports whether the rights to a type are the same, and whatever their
// scopes look at.
func (p *Person) alike(was *Person, t *entity.Type, touched map[*entity.Type]bool) bool {
	if touched[t] {
		return false
	}
	for _, g := range p.sub.Grants(t, policy.View) {
		n := p.c.grant(g)
		if n.id == 0 {
			return false
		}
		for _, name := range n.looksAt {
			if touched[p.c.rd.Cat.Type(name)] {
				return false
			}
		}
	}
	for _, g := range was.sub.Grants(t, policy.View) {
		if p.c.grant(g).id == 0 {
			return false
		}
	}
	a, _ := p.key(t)
	b, _ := was.key(t)
	return a == b
}

func (p *Person) reading() *eval {
	if p.e == nil {
		p.e = newEval(p.c.rd, p.sub, Window{})
		p.e.refs, p.e.reader = p.c.refs, p.c.eyes
	}
	return p.e
}

// trait is what the reading of a scope depends on beside the state and what is
// hidden from the person.
type trait struct {
	id uint64 // the same for scopes that say the same
	// own: on the person, or on all else the person sees; areas, onsite: on
	// these of the person.
	own, areas, onsite bool
	looksAt            []string // names of other types
}

// number is a grant's; id is 0 for one that was delegated, which depends on
// somebody else.
type number struct {
	id uint64
	trait
}

// id returns the number of a text, from 1 on.
func (n *numbers) id(s string) uint64 {
	id, ok := n.ids[s]
	if !ok {
		id = uint64(len(n.ids)) + 1
		n.ids[s] = id
	}
	return id
}

func (n *numbers) list(kind byte, ids []ident.RecordID) uint64 {
	b := []byte{kind}
	for _, id := range ids {
		b = append(append(b, id...), 0)
	}
	return n.id(string(b))
}

// trait looks at a scope with all that is within it.
func (n *numbers) trait(s *policy.Scope) trait {
	if t, ok := n.scopes[s]; ok {
		return t
	}
	t := trait{id: n.id("s" + s.String())}
	switch s.Op {
	case policy.OpSelf, policy.OpMentioned, policy.OpWindow:
		t.own = true
	case policy.OpAreas:
		t.areas = true
	case policy.OpOnsite:
		t.onsite = true
	case policy.OpUnder, policy.OpFrom:
		t.looksAt = append(t.looksAt, s.Type)
	case policy.OpAll, policy.OpWhere, policy.OpAnd, policy.OpOr, policy.OpUnset:
	case policy.OpOwnClient: // whose client it is decides what is hidden, too
	}
	for _, x := range s.Subs {
		in := n.trait(x)
		t.own, t.areas, t.onsite = t.own || in.own, t.areas || in.areas, t.onsite || in.onsite
		t.looksAt = append(t.looksAt, in.looksAt...)
	}
	n.scopes[s] = t
	return t
}

// grant numbers grants, those alike that reach the same of the same person.
func (n *numbers) grant(g *policy.Grant) number {
	if x, ok := n.grants[g]; ok {
		return x
	}
	x := number{trait: n.trait(g.Scope)}
	if g.By == nil {
		clients := uint64(0)
		if g.Clients != nil {
			clients = n.list('c', g.Clients)
		}
		x.id = n.id(fmt.Sprint("g", x.trait.id, " ", g.Mask, g.Context, g.Personal, g.Named, clients))
	}
	n.grants[g] = x
	return x
}

// key names everything that decides what the person sees of a type, beside the
// state. own is set where the person itself is part of it, or somebody whose
// rights were delegated, whom the key does not name.
func (p *Person) key(t *entity.Type) (key string, own bool) {
	grants := p.sub.Grants(t, policy.View)
	var areas, onsite, self bool
	ids := make([]uint64, 0, len(grants))
	for _, g := range grants {
		n := p.c.grant(g)
		own = own || n.id == 0
		areas, onsite, self = areas || n.areas, onsite || n.onsite, self || n.own
		ids = append(ids, n.id)
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	gone, none := p.sub.Denied(t, policy.View)
	if none {
		ids, gone = nil, 0
	}
	if p.hiding == 0 {
		p.hiding = p.c.list('h', append([]ident.RecordID{ident.RecordID(fmt.Sprint(p.sub.Kind, p.sub.Only)), p.sub.Client}, p.sub.Clients...))
	}
	b := binary.AppendUvarint(nil, uint64(t.No))
	b = binary.AppendUvarint(b, uint64(gone))
	b = binary.AppendUvarint(b, p.hiding)
	part := func(needed bool, at *uint64, kind byte, of ...ident.RecordID) {
		if !needed {
			b = append(b, 0)
			return
		}
		if *at == 0 {
			*at = p.c.list(kind, of)
		}
		b = binary.AppendUvarint(b, *at)
	}
	part(areas, &p.areas, 'a', p.sub.Areas...)
	part(onsite, &p.onsite, 'o', p.sub.Onsite...)
	part(self, &p.self, 'p', p.sub.ID)
	// The own client is part of hiding.
	for _, id := range ids {
		b = binary.AppendUvarint(b, id)
	}
	return string(b), own || self
}

// mentioned computes a type that is reached because others name its records.
func (p *Person) mentioned(t *entity.Type) Sets {
	var sets []bits.Set
	e := p.reading()
	for _, u := range p.c.rd.Cat.Types {
		if u == t || len(u.RefsTo(t.Name)) == 0 || mentions(p.sub, u) {
			continue
		}
		s := p.Share(u)
		for _, part := range s.Sets {
			key := ""
			if s.Key != "" {
				key = fmt.Sprint(t.No, " ", part.Class, s.Key)
				if got, ok := p.c.named[key]; ok {
					sets = append(sets, got)
					continue
				}
			}
			if p.c.eyes != nil {
				part.Set = p.c.eyes.aware(u, part.Set)
			}
			e.named = Sets{part}
			got := e.mentioned(t)
			if key != "" {
				p.c.named[key] = got
			}
			sets = append(sets, got)
		}
	}
	all := bits.OrAll(sets...)
	var fill func(s *policy.Scope)
	fill = func(s *policy.Scope) {
		if s.Op == policy.OpMentioned {
			e.memo[memoKey{s, t.No}] = all
		}
		for _, x := range s.Subs {
			fill(x)
		}
	}
	for _, g := range p.sub.Grants(t, policy.View) {
		if g.By == nil {
			fill(g.Scope)
		}
	}
	return e.split(t).sort()
}

// references remembers what records refer to: looking at a record costs more
// than all set algebra over it, and people's scopes look at the same ones.
type references struct {
	one     map[uint64]ident.Ordinal
	many    map[uint64][]ident.Ordinal
	touched bits.Set // of these nothing is remembered
}

func newReferences() *references {
	return &references{one: map[uint64]ident.Ordinal{}, many: map[uint64][]ident.Ordinal{}}
}

// of returns what a field of a record refers to, nothing where the record is
// not there or not of the type. A nil *references remembers nothing.
func (r *references) of(rd *state.Reader, u *entity.Type, f *entity.Field, o ident.Ordinal) []ident.Ordinal {
	if r == nil || r.touched.Contains(o) {
		if rec, ok := rd.LoadOrd(o); ok && rec.Type == u {
			return referred(rd, rec, f)
		}
		return nil
	}
	key := func(f *entity.Field) uint64 { return uint64(u.No)<<40 | uint64(f.No)<<32 | uint64(o) }
	if one, ok := r.one[key(f)]; ok {
		if one == 0 {
			return nil
		}
		return []ident.Ordinal{one}
	}
	if many, ok := r.many[key(f)]; ok {
		return many
	}
	rec, ok := rd.LoadOrd(o)
	var out []ident.Ordinal
	for _, x := range u.Fields {
		if x != f && (!x.Indexed() || (x.Kind != entity.Ref && x.Kind != entity.Refs)) {
			continue
		}
		var to []ident.Ordinal
		if ok && rec.Type == u {
			to = referred(rd, rec, x)
		}
		switch len(to) {
		case 0:
			r.one[key(x)] = 0
		case 1:
			r.one[key(x)] = to[0]
		default:
			r.many[key(x)] = to
		}
		if x == f {
			out = to
		}
	}
	return out
}
