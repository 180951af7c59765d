package policy

import (
	"cmp"
	"slices"
)

// Holding is what a set of roles comes to for whoever holds just these. Most
// people of a company hold one of few sets, so that it is made once and shared;
// it is never changed.
type Holding struct {
	grants  map[key][]*Grant
	refused map[key]string
	// narrowed: a tenant's own role is among them, which may cut what another
	// brings into view.
	narrowed bool
	brings   map[string]bool
}

// Hold returns what roles come to, for people outside the house or inside it.
func Hold(roles []*Compiled, outside bool) *Holding {
	h := hold(roles, outside)
	for _, c := range roles {
		h.narrowed = h.narrowed || c.Role.App == ""
	}
	return h
}

func hold(roles []*Compiled, outside bool) *Holding {
	h := &Holding{grants: map[key][]*Grant{}, refused: map[key]string{}, brings: map[string]bool{}}
	for _, c := range roles {
		for k, gs := range c.Grants {
			for _, g := range gs {
				if g.House && outside {
					continue
				}
				h.grants[k] = append(h.grants[k], g)
				if k.verb != View {
					continue
				}
				g.Scope.walk(func(x *Scope) {
					if x.Op == OpFrom || x.Op == OpUnder {
						h.brings[x.Type] = true
					}
				})
			}
		}
		for k, id := range c.Refused {
			if h.refused[k] == "" || id < h.refused[k] {
				h.refused[k] = id
			}
		}
	}
	for _, gs := range h.grants {
		inOrder(gs)
	}
	return h
}

// inOrder puts the person's own grants before those that were lent, so that a
// decision names a lender only where nothing else gives the right.
func inOrder(gs []*Grant) {
	slices.SortStableFunc(gs, func(a, b *Grant) int {
		if own := a.By == nil; own != (b.By == nil) {
			if own {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(a.Role, b.Role), cmp.Compare(a.Clause, b.Clause))
	})
}
