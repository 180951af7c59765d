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
	rd     *state.Reader
	seen   map[string]Sets
	named  map[string]bits.Set
	scopes map[*policy.Scope]trait
	grants map[*policy.Grant]uint64 // 0: somebody's own
	// ids gives what keys are made of short numbers.
	ids map[string]uint64
}

// Share is what one person sees of one type.
type Share struct {
	Type *entity.Type
	// Key is the same for everybody of the crowd who sees the same by the same
	// rights; "" where it is the person's own.
	Key  string
	Sets Sets
}

// trait is what the reading of a scope depends on beside the state and what is
// hidden from the person.
type trait struct {
	id uint64 // the same for scopes that say the same
	// own: on the person, or on all else the person sees; areas, onsite: on
	// these of the person.
	own, areas, onsite bool
}

// NewCrowd returns a crowd on a state.
func NewCrowd(rd *state.Reader) *Crowd {
	return &Crowd{
		rd: rd, seen: map[string]Sets{}, named: map[string]bits.Set{}, scopes: map[*policy.Scope]trait{},
		grants: map[*policy.Grant]uint64{}, ids: map[string]uint64{},
	}
}

// Shares returns what Visible returns, type by type in the catalogue's order,
// without the types of which the person sees nothing.
func (c *Crowd) Shares(sub *policy.Subject) []Share {
	if !sub.Active {
		return nil
	}
	p := person{c: c, sub: sub}
	var out []Share
	var later []*entity.Type
	for _, t := range c.rd.Cat.Types {
		if mentions(sub, t) {
			later = append(later, t)
			continue
		}
		key := p.key(t)
		sets, ok := Sets(nil), false
		if key != "" {
			sets, ok = c.seen[key]
		}
		if !ok {
			sets = p.reading().split(t).sort()
			if key != "" {
				c.seen[key] = sets
			}
		}
		if len(sets) > 0 {
			out = append(out, Share{t, key, sets})
		}
	}
	n := len(out)
	for _, t := range later {
		if sets := p.mentioned(t, out[:n]); len(sets) > 0 {
			out = append(out, Share{Type: t, Sets: sets})
		}
	}
	return out
}

// Visible returns what the package's Visible does.
func (c *Crowd) Visible(sub *policy.Subject) Sets { return Join(c.Shares(sub)) }

// Join makes one sync set of a person's shares.
func Join(shares []Share) Sets {
	var out Sets
	for _, s := range shares {
		out = append(out, s.Sets...)
	}
	return out.sort()
}

// person is somebody whose shares are being computed.
type person struct {
	c   *Crowd
	sub *policy.Subject
	e   *eval // made when first needed

	// What of the person keys name; 0 where not looked up yet.
	hiding, areas, onsite uint64
}

func (p *person) reading() *eval {
	if p.e == nil {
		p.e = newEval(p.c.rd, p.sub, Window{})
	}
	return p.e
}

// id returns the number of a text, from 1 on.
func (c *Crowd) id(s string) uint64 {
	n, ok := c.ids[s]
	if !ok {
		n = uint64(len(c.ids)) + 1
		c.ids[s] = n
	}
	return n
}

func (c *Crowd) list(kind byte, ids []ident.RecordID) uint64 {
	b := []byte{kind}
	for _, id := range ids {
		b = append(append(b, id...), 0)
	}
	return c.id(string(b))
}

// trait looks at a scope with all that is within it.
func (c *Crowd) trait(s *policy.Scope) trait {
	if t, ok := c.scopes[s]; ok {
		return t
	}
	t := trait{id: c.id("s" + s.String())}
	switch s.Op {
	case policy.OpSelf, policy.OpMentioned, policy.OpWindow:
		t.own = true
	case policy.OpAreas:
		t.areas = true
	case policy.OpOnsite:
		t.onsite = true
	case policy.OpAll, policy.OpWhere, policy.OpAnd, policy.OpOr, policy.OpUnder, policy.OpFrom, policy.OpUnset:
	case policy.OpOwnClient: // whose client it is decides what is hidden, too
	}
	for _, x := range s.Subs {
		in := c.trait(x)
		t.own, t.areas, t.onsite = t.own || in.own, t.areas || in.areas, t.onsite || in.onsite
	}
	c.scopes[s] = t
	return t
}

// grant numbers grants, those alike that reach the same of the same person; 0
// is for those that speak of the person.
func (c *Crowd) grant(g *policy.Grant) uint64 {
	if id, ok := c.grants[g]; ok {
		return id
	}
	id := uint64(0)
	if tr := c.trait(g.Scope); !tr.own && g.By == nil {
		clients := uint64(0)
		if g.Clients != nil {
			clients = c.list('c', g.Clients)
		}
		id = c.id(fmt.Sprint("g", tr.id, " ", g.Mask, g.Context, g.Personal, g.Named, clients))
	}
	c.grants[g] = id
	return id
}

// key names everything that decides what the person sees of a type; "" where
// the person itself is part of it.
func (p *person) key(t *entity.Type) string {
	grants := p.sub.Grants(t, policy.View)
	var areas, onsite bool
	ids := make([]uint64, 0, len(grants))
	for _, g := range grants {
		id := p.c.grant(g)
		if id == 0 {
			return ""
		}
		tr := p.c.trait(g.Scope)
		areas, onsite = areas || tr.areas, onsite || tr.onsite
		ids = append(ids, id)
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
	part := func(needed bool, at *uint64, kind byte, of []ident.RecordID) {
		if !needed {
			b = append(b, 0)
			return
		}
		if *at == 0 {
			*at = p.c.list(kind, of)
		}
		b = binary.AppendUvarint(b, *at)
	}
	part(areas, &p.areas, 'a', p.sub.Areas)
	part(onsite, &p.onsite, 'o', p.sub.Onsite)
	// The own client is part of hiding.
	for _, id := range ids {
		b = binary.AppendUvarint(b, id)
	}
	return string(b)
}

// mentioned computes a type that is reached because others name its records.
func (p *person) mentioned(t *entity.Type, others []Share) Sets {
	var sets []bits.Set
	e := p.reading()
	for _, s := range others {
		for _, part := range s.Sets {
			key := ""
			if s.Key != "" {
				key = fmt.Sprint(t.No, " ", part.Class, s.Key)
				if got, ok := p.c.named[key]; ok {
					sets = append(sets, got)
					continue
				}
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
