package scope

import (
	"slices"

	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/internal/mutant"
	"satchel/internal/policy"
	"satchel/sync/bits"
	"satchel/sync/state"
)

// Profile says which of the records its user may see a device carries.
type Profile struct {
	Field  bool // own work and what it needs; otherwise everything listed
	Window Window
	Pins   []ident.RecordID
}

// DefaultWindow bounds a field device that named no window: from 30 days
// before to 90 days after the tenant's present day.
func DefaultWindow(now ident.Millis) Window {
	d := now.Day()
	return Window{(d - 30).Start(), (d + 91).Start()}
}

// DayAround contains the day that it is at this time, wherever one is.
func DayAround(now ident.Millis) Window {
	const day = ident.Millis(24 * 60 * 60 * 1000)
	return Window{now - day, now + day}
}

// Carried narrows what the person may see to what a device with the profile
// carries: for an office device all that stands in root lists, for a field
// device what the selections choose; in both, what is pinned and, beneath
// pinned parents, context-only records.
func Carried(rd *state.Reader, sub *policy.Subject, visible Sets, p Profile, sel []policy.Selection) Sets {
	return carried(rd, nil, sub, visible, p, sel)
}

func carried(rd *state.Reader, refs *references, sub *policy.Subject, visible Sets, p Profile, sel []policy.Selection) Sets {
	if p.Field && !sub.Mobile && !mutant.On(mutant.FieldWithoutRole) {
		return nil
	}
	pinned := beneath(rd, visible, p.Pins)
	var chosen map[uint16]bits.Set
	var e *eval
	if p.Field {
		e, chosen = choose(rd, refs, sub, visible, p.Window, sel)
	}
	pick := func(part Part) bits.Set {
		var s bits.Set
		switch {
		case part.Context:
		case p.Field:
			s = bits.And(part.Set, chosen[part.Type])
		default:
			return part.Set
		}
		if !pinned.IsEmpty() {
			s = bits.Or(s, bits.And(part.Set, pinned))
		}
		return s
	}
	var out Sets
	for _, part := range visible {
		if s := pick(part); !s.IsEmpty() {
			out = append(out, Part{part.Class, s})
		}
	}
	if !p.Field {
		return out
	}
	// People named by what the device carries come along, in the class the
	// policy gives them.
	e.named = out
	named := map[*entity.Type]bits.Set{}
	for _, s := range sel {
		if hasMention(s.Scope) {
			named[s.Type] = e.mentioned(s.Type)
		}
	}
	if len(named) == 0 {
		return out
	}
	var all Sets
	for _, part := range visible {
		s := pick(part)
		if x, ok := named[rd.Cat.TypeNo(part.Type)]; ok && !part.Context {
			s = bits.Or(s, bits.And(part.Set, x))
		}
		if !s.IsEmpty() {
			all = append(all, Part{part.Class, s})
		}
	}
	return all
}

// choose evaluates the selections that don't go by mention.
func choose(rd *state.Reader, refs *references, sub *policy.Subject, visible Sets, w Window, sel []policy.Selection) (*eval, map[uint16]bits.Set) {
	e := newEval(rd, sub, w)
	e.refs = refs
	// Who acts for somebody carries that person's work too.
	for _, id := range sub.For {
		e.selves = append(e.selves, rd.Ordinal(id))
		if by := sub.Lender(id); by != nil {
			e.onsite = append(slices.Clone(e.onsite), by.Onsite...)
		}
	}
	// Paths lead through what the person sees: what somebody else's record
	// refers to is no work of theirs.
	seen := visible.All()
	e.within = &seen
	chosen := map[uint16]bits.Set{}
	for _, s := range sel {
		if !hasMention(s.Scope) {
			chosen[s.Type.No] = bits.Or(chosen[s.Type.No], e.set(s.Type, s.Scope))
		}
	}
	return e, chosen
}

// OwnWork returns what a field device of the person would carry, people apart:
// what is worth having first.
func OwnWork(rd *state.Reader, sub *policy.Subject, visible Sets, w Window, sel []policy.Selection) bits.Set {
	_, chosen := choose(rd, nil, sub, visible, w, sel)
	var sets []bits.Set
	for _, p := range visible {
		if s, ok := chosen[p.Type]; ok && !p.Context {
			sets = append(sets, bits.And(p.Set, s))
		}
	}
	return bits.OrAll(sets...)
}

// beneath returns the pinned records and what stands beneath them: all that
// belongs to a pinned client; of others, the records whose parents they are,
// down to the leaves. Pins that the person does not see count for nothing.
func beneath(rd *state.Reader, visible Sets, pins []ident.RecordID) bits.Set {
	var out bits.Builder
	var todo []ident.Ordinal
	for _, id := range pins {
		o := rd.Ordinal(id)
		c, ok := visible.Of(o)
		if !ok || c.Context {
			continue
		}
		out.Add(o)
		if rd.Cat.TypeNo(c.Type).IsClient {
			out.AddSet(rd.Index(state.ClientKey(o)))
			continue
		}
		todo = append(todo, o)
	}
	seen := map[ident.Ordinal]bool{}
	for len(todo) > 0 {
		o := todo[0]
		todo = todo[1:]
		if seen[o] {
			continue
		}
		seen[o] = true
		for _, t := range rd.Cat.Types {
			for _, f := range t.Above() {
				for c := range rd.Index(state.RefKey(t.No, f.No, o)).All() {
					out.Add(c)
					todo = append(todo, c)
				}
			}
		}
	}
	return out.Set()
}
