// Package pull computes what a device gets next: its held set against what
// its user may see now. It is pure: given the state, the sync set and the
// device as it stands, Compute returns the page as sets and the device as it
// will stand; apply stores the one and encodes the other. DESIGN.md beside
// this file gives the protocol's rules and why each is needed.
package pull

import (
	"cmp"
	"slices"

	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/internal/mutant"
	"satchel/sync/bits"
	"satchel/sync/scope"
)

// Mark is a place in change order: everything changed at or before it has
// been sent. Records changed by one entry are told apart by ordinal.
type Mark struct {
	Pos ident.Position `json:"p"`
	Ord ident.Ordinal  `json:"o"`
}

// End is the mark behind everything changed at p.
func End(p ident.Position) Mark { return Mark{p, 1<<32 - 1} }

// Before reports whether m lies before n.
func (m Mark) Before(n Mark) bool {
	return cmp.Or(cmp.Compare(m.Pos, n.Pos), cmp.Compare(m.Ord, n.Ord)) < 0
}

// Pending is a page that was computed and not yet acknowledged.
type Pending struct {
	N       uint64
	Removed bits.Set
	Sent    scope.Sets // by the class the records were sent in
	// At is the tenant time at which it was computed.
	At     ident.Millis
	Mark   Mark
	Target ident.Position
	// Reset: the device drops all (or the types) before it applies the page.
	Reset      bool
	ResetTypes []uint16
}

// Refreshes reports whether the page under way, if there is one, brings nothing
// but newer versions of what is held, in the class that it is held in: what
// becomes of the page changes neither what is held nor since when.
func (d *Device) Refreshes() bool {
	p := d.Pending
	if p == nil {
		return true
	}
	if p.Reset || !p.Removed.IsEmpty() {
		return false
	}
	for _, s := range p.Sent {
		if bits.AndLen(in(d.Held, s.Class), s.Set) < s.Set.Len() {
			return false
		}
	}
	return true
}

func (p *Pending) touched() bits.Set { return bits.Or(p.Removed, p.Sent.All()) }

// Device is what pull knows of a device. A Device is never changed: Compute
// returns another that shares what is the same.
type Device struct {
	// Ack is the number of the last page known to be applied, Last the number
	// of the last page computed. Pages are counted per device.
	Ack, Last uint64
	Mark      Mark
	// Target is the position up to which the present round sends updates, 0
	// between rounds.
	Target  ident.Position
	Held    scope.Sets
	Unsure  bits.Set
	Pending *Pending
	// Arrivals say since when it has, or may have, what is held or unsure:
	// disjoint sets, ascending by time. Of devices from before times were kept
	// they lack what was held then.
	Arrivals []Arrival
}

// acknowledged is the device once its pending page was applied.
func (d Device) acknowledged(typeOf func(uint16) bits.Set) Device {
	p, was := d.Pending, d
	if d.Refreshes() {
		if !d.Unsure.IsEmpty() {
			d.Unsure = bits.AndNot(d.Unsure, p.touched())
		}
		d.Ack, d.Mark, d.Target, d.Pending = p.N, p.Mark, p.Target, nil
		return d
	}
	if p.Reset && !mutant.On(mutant.ResetKeepsHeld) {
		d.Held, d.Unsure = drop(d.Held, d.Unsure, p.ResetTypes, typeOf)
	}
	touched := p.touched()
	if !touched.IsEmpty() {
		d.Held = put(d.Held, touched, p.Sent)
		d.Unsure = bits.AndNot(d.Unsure, touched)
	}
	d.Ack, d.Mark, d.Target, d.Pending = p.N, p.Mark, p.Target, nil
	d.Arrivals = was.arrived(p, &d, true)
	return d
}

// superseded is the device when its pending page may or may not have been
// applied: everything the page speaks of is unsure.
func (d Device) superseded(typeOf func(uint16) bits.Set) Device {
	p, was := d.Pending, d
	if p == nil {
		return d
	}
	touched := p.touched()
	if mutant.On(mutant.PurgeBeforeAck) {
		d.Held, touched = put(d.Held, p.Removed, nil), p.Sent.All()
	}
	d.Unsure = bits.Or(d.Unsure, touched)
	if p.Reset && !mutant.On(mutant.LostResetSure) {
		// Applied, the page dropped what is held.
		held := d.Held.All()
		if p.ResetTypes != nil {
			var of []bits.Set
			for _, t := range p.ResetTypes {
				of = append(of, typeOf(t))
			}
			held = bits.And(held, bits.OrAll(of...))
			for _, part := range d.Held { // held records that live no more
				if slices.Contains(p.ResetTypes, part.Type) {
					held = bits.Or(held, part.Set)
				}
			}
		}
		d.Unsure = bits.Or(d.Unsure, held)
	}
	d.Pending = nil
	d.Arrivals = was.arrived(p, &d, false)
	return d
}

// put moves touched into the classes they were sent in; what was sent in
// none is held no more.
func put(held scope.Sets, touched bits.Set, sent scope.Sets) scope.Sets {
	byClass := map[scope.Class]bits.Set{}
	var order []scope.Class
	for _, p := range held {
		byClass[p.Class] = bits.AndNot(p.Set, touched)
		order = append(order, p.Class)
	}
	for _, p := range sent {
		if _, ok := byClass[p.Class]; !ok {
			order = append(order, p.Class)
		}
		byClass[p.Class] = bits.Or(byClass[p.Class], p.Set)
	}
	var out scope.Sets
	for _, c := range order {
		if s := byClass[c]; !s.IsEmpty() {
			out = append(out, scope.Part{Class: c, Set: s})
		}
	}
	return out
}

// drop forgets what is held of the types, of all where types is nil. Unsure
// ordinals go with the type they are of.
func drop(held scope.Sets, unsure bits.Set, types []uint16, typeOf func(uint16) bits.Set) (scope.Sets, bits.Set) {
	if types == nil {
		return nil, bits.Set{}
	}
	var out scope.Sets
	for _, p := range held {
		if slices.Contains(types, p.Type) {
			unsure = bits.AndNot(unsure, p.Set)
			continue
		}
		out = append(out, p)
	}
	for _, t := range types {
		unsure = bits.AndNot(unsure, typeOf(t))
	}
	return out, unsure
}

// Holds returns everything the device may have: held, pending and unsure.
func (d *Device) Holds() bits.Set {
	s := bits.Or(d.Held.All(), d.Unsure)
	if d.Pending != nil && !mutant.On(mutant.PendingNotHeld) {
		s = bits.Or(s, d.Pending.Sent.All())
	}
	return s
}

// MayHold reports whether a record is among what Holds returns.
func (d *Device) MayHold(o ident.Ordinal) bool {
	if _, held := d.Held.Of(o); held || d.Unsure.Contains(o) {
		return true
	}
	if d.Pending == nil {
		return false
	}
	_, sent := d.Pending.Sent.Of(o)
	return sent
}

// in returns the part of a class, empty for none.
func in(s scope.Sets, c scope.Class) bits.Set {
	for _, p := range s {
		if p.Class == c {
			return p.Set
		}
	}
	return bits.Set{}
}

// typeRank orders arrivals.
func typeRank(cat *entity.Catalogue, no uint16) int {
	if t := cat.TypeNo(no); t != nil {
		return t.Rank
	}
	return 0
}
