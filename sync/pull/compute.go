package pull

import (
	"cmp"
	"slices"

	"satchel/internal/ident"
	"satchel/sync/bits"
	"satchel/sync/project"
	"satchel/sync/scope"
	"satchel/sync/state"
)

// Limits of a page.
const (
	DefaultLimit = 1000
	MaxLimit     = 10_000
	// maxRemoved bounds the removals of a page; they are small and go first.
	maxRemoved = 10_000
	// maxBytes bounds the visible segments of a page; one record always fits.
	maxBytes = 4 << 20
)

// Request is a pull, with its checkpoint already looked up.
type Request struct {
	Limit int
	// Number is the page the checkpoint names; Known whether it names one of
	// this device's at all.
	Number uint64
	Known  bool
	// Fresh: the device has nothing and says so.
	Fresh bool
	// Heal names types to be sent anew.
	Heal []uint16
	// Agreed names types of which the device was found to hold exactly what
	// it may see, while its checkpoint is unknown.
	Agreed []uint16
}

// Item is one record of a page and the class it is sent in.
type Item struct {
	Ord   ident.Ordinal
	Class scope.Class
}

// Page is a page as sets; its bytes are encoded from the snapshot of the
// commit that made it.
type Page struct {
	N       uint64
	Removed bits.Set
	Items   []Item
	More    bool
	// Complete: with this page the device holds exactly Now.
	Complete   bool
	Now        scope.Sets
	Reset      bool
	ResetTypes []uint16
}

// Empty reports whether there is nothing to apply.
func (p *Page) Empty() bool { return p.Removed.IsEmpty() && len(p.Items) == 0 && !p.Reset }

// Compute returns the next page and the device as it stands afterwards.
// changed is false where the page is empty and nothing that matters about
// the device differs: then nothing need be stored, and the page has no
// number of its own.
func Compute(rd *state.Reader, d Device, now scope.Sets, req Request) (page *Page, after Device, changed bool) {
	typeSet := func(no uint16) bits.Set { return rd.Index(state.TypeKey(no)) }
	before := d
	page = &Page{Now: now}
	switch {
	case d.Pending != nil && req.Known && req.Number == d.Pending.N:
		d = d.acknowledged(typeSet)
	case req.Fresh && d.Ack == 0:
		d = d.superseded(typeSet)
	case req.Known && req.Number >= d.Ack && req.Number <= d.Last && !req.Fresh:
		// The last page known to be applied, or one that was superseded after
		// it and applied nevertheless: what such pages touched is unsure.
		d = d.superseded(typeSet)
	default:
		d = d.superseded(typeSet)
		page.Reset = true
	}
	if page.Reset && len(req.Agreed) > 0 {
		// The types that agree are held as they are now; the others are
		// dropped and sent anew.
		d, page.ResetTypes = agree(rd, d, now, req.Agreed)
	} else if !page.Reset && len(req.Heal) > 0 {
		page.Reset, page.ResetTypes = true, req.Heal
	}
	c := &computation{rd: rd, d: d, now: now, page: page, limit: limit(req.Limit)}
	c.run()
	after, page = c.d, c.page
	if page.Empty() {
		// With nothing to send the device is current as of this position.
		after.Mark, after.Target = c.mark, 0
		return page, after, differs(&before, &after)
	}
	after.Last++
	page.N = after.Last
	after.Pending = &Pending{
		N: page.N, Removed: page.Removed, Sent: c.sent(), Mark: c.mark, Target: c.target,
		Reset: page.Reset, ResetTypes: page.ResetTypes,
	}
	return page, after, true
}

// agree takes the types' present sets as held. It returns the types to reset.
func agree(rd *state.Reader, d Device, now scope.Sets, agreed []uint16) (Device, []uint16) {
	var reset []uint16
	var held scope.Sets
	for _, t := range rd.Cat.Types {
		if !slices.Contains(agreed, t.No) {
			reset = append(reset, t.No)
		}
	}
	for _, p := range d.Held {
		if !slices.Contains(agreed, p.Type) {
			held = append(held, p)
		}
	}
	for _, p := range now {
		if slices.Contains(agreed, p.Type) {
			held = append(held, p)
			d.Unsure = bits.AndNot(d.Unsure, p.Set)
		}
	}
	d.Held = held
	return d, reset
}

func limit(n int) int {
	switch {
	case n <= 0:
		return DefaultLimit
	case n > MaxLimit:
		return MaxLimit
	}
	return n
}

// differs reports whether a pull without a page changed something that must
// be kept: what is held or unsure, or that a reset page was applied.
func differs(a, b *Device) bool {
	if !bits.Equal(a.Unsure, b.Unsure) || len(a.Held) != len(b.Held) {
		return true
	}
	if a.Pending != nil && a.Pending.Reset {
		return true
	}
	for _, p := range a.Held {
		if !bits.Equal(p.Set, in(b.Held, p.Class)) {
			return true
		}
	}
	return false
}

type computation struct {
	rd     *state.Reader
	d      Device
	now    scope.Sets
	page   *Page
	limit  int
	size   int
	pr     project.Projector
	mark   Mark
	target ident.Position

	parts                scope.Sets // of what is held, those that count
	held, unsure, nowAll bits.Set
	touched              bits.Builder
	touchedSet           map[ident.Ordinal]bool
}

func (c *computation) run() {
	c.mark, c.target = c.d.Mark, c.d.Target
	c.parts, c.unsure = c.d.Held, c.d.Unsure
	pos := c.rd.Position()
	if c.page.Reset {
		c.parts, c.unsure = drop(c.parts, c.unsure, c.page.ResetTypes, func(no uint16) bits.Set { return c.rd.Index(state.TypeKey(no)) })
		if c.page.ResetTypes == nil {
			// Everything arrives anew, as it is now.
			c.mark, c.target = End(pos), pos
		}
	}
	c.touchedSet = map[ident.Ordinal]bool{}
	c.held, c.nowAll = c.parts.All(), c.now.All()

	done := c.removals()
	if done {
		if c.target == 0 { // a new round
			c.target = pos
		}
		done = c.updates() && c.arrivals(c.arriving())
		if done && c.target < pos { // room for the next round's updates
			c.target = pos
			done = c.updates()
		}
	}
	c.page.More, c.page.Complete = !done, done
	if done {
		c.target = 0
	}

	// Held records that now stand in another class and were not sent again:
	// the device has them in a class that the mark no longer looks after.
	sent := c.touched.Set()
	var astray []bits.Set
	for _, p := range c.parts {
		astray = append(astray, bits.AndNot(bits.And(p.Set, c.nowAll), in(c.now, p.Class)))
	}
	c.d.Unsure = bits.Or(c.d.Unsure, bits.AndNot(bits.OrAll(astray...), sent))
}

func (c *computation) full() bool { return len(c.page.Items) >= c.limit }

// send puts a record on the page; it reports false where the page is full.
func (c *computation) send(o ident.Ordinal, cl scope.Class, size int) bool {
	if c.full() || (len(c.page.Items) > 0 && c.size+size > maxBytes) {
		return false
	}
	c.size += size
	c.page.Items = append(c.page.Items, Item{o, cl})
	c.touched.Add(o)
	c.touchedSet[o] = true
	return true
}

func (c *computation) removals() bool {
	gone := bits.AndNot(bits.Or(c.held, c.unsure), c.nowAll)
	if gone.Len() <= maxRemoved {
		c.page.Removed = gone
		c.touched.AddSet(gone)
		return true
	}
	var b bits.Builder
	n := 0
	for o := range gone.All() {
		b.Add(o)
		if n++; n == maxRemoved {
			break
		}
	}
	c.page.Removed = b.Set()
	c.touched.AddSet(c.page.Removed)
	return false
}

// updates sends held records whose visible fields changed after the mark and
// up to the target, in change order, and moves the mark.
func (c *computation) updates() bool {
	end := End(c.target)
	if !c.mark.Before(end) {
		return true
	}
	same := make(scope.Sets, 0, len(c.parts))
	for _, p := range c.parts {
		if s := bits.AndNot(bits.And(p.Set, in(c.now, p.Class)), c.unsure); !s.IsEmpty() {
			same = append(same, scope.Part{Class: p.Class, Set: s})
		}
	}
	type change struct {
		mark  Mark
		class scope.Class
		size  int
	}
	var found []change
	consider := func(o ident.Ordinal, cl scope.Class) {
		raw := c.rd.Bytes(o)
		if raw == nil || c.touchedSet[o] {
			return
		}
		size, at, err := c.pr.Glance(raw, cl.Mask)
		if err != nil {
			panic(err)
		}
		if m := (Mark{at, o}); c.mark.Before(m) && m.Before(end) {
			found = append(found, change{m, cl, size})
		}
	}
	// The rows of the change index after the mark, or all that is held,
	// whichever are fewer.
	all := same.All()
	budget := all.Len()
	few := true
	n := 0
	c.rd.Changed(c.mark.Pos-1, func(_ ident.Position, o ident.Ordinal) bool {
		if n++; n > budget {
			few = false
			return false
		}
		if all.Contains(o) {
			cl, _ := same.Of(o)
			consider(o, cl)
		}
		return true
	})
	if !few {
		found = found[:0]
		for _, p := range same {
			for o := range p.Set.All() {
				consider(o, p.Class)
			}
		}
	}
	slices.SortFunc(found, func(a, b change) int {
		return cmp.Or(cmp.Compare(a.mark.Pos, b.mark.Pos), cmp.Compare(a.mark.Ord, b.mark.Ord))
	})
	for _, f := range found {
		if !c.send(f.mark.Ord, f.class, f.size) {
			return false
		}
		c.mark = f.mark
	}
	c.mark = end
	return true
}

// arriving returns what is to be sent because it is new to the device, new
// in its class, or unsure.
func (c *computation) arriving() scope.Sets {
	var out scope.Sets
	for _, p := range c.now {
		s := bits.AndNot(p.Set, in(c.parts, p.Class))
		if !c.unsure.IsEmpty() {
			s = bits.Or(s, bits.And(p.Set, c.unsure))
		}
		if !s.IsEmpty() {
			out = append(out, scope.Part{Class: p.Class, Set: s})
		}
	}
	slices.SortStableFunc(out, func(a, b scope.Part) int {
		return cmp.Or(cmp.Compare(typeRank(c.rd.Cat, a.Type), typeRank(c.rd.Cat, b.Type)), cmp.Compare(a.Type, b.Type))
	})
	return out
}

// arrivals sends them: parents before children, in ordinal order within a
// type.
func (c *computation) arrivals(parts scope.Sets) bool {
	for len(parts) > 0 {
		n := 1
		for n < len(parts) && parts[n].Type == parts[0].Type {
			n++
		}
		ofType := parts[:n]
		parts = parts[n:]
		more := true
		c.rd.Each(ofType.All(), func(o ident.Ordinal, raw []byte) bool {
			if c.touchedSet[o] {
				return true
			}
			cl, _ := ofType.Of(o)
			size, _, err := c.pr.Glance(raw, cl.Mask)
			if err != nil {
				panic(err)
			}
			more = c.send(o, cl, size)
			return more
		})
		if !more {
			return false
		}
	}
	return true
}

// sent groups the page's records by class.
func (c *computation) sent() scope.Sets {
	by := map[scope.Class]*bits.Builder{}
	var order []scope.Class
	for _, it := range c.page.Items {
		b := by[it.Class]
		if b == nil {
			b = &bits.Builder{}
			by[it.Class] = b
			order = append(order, it.Class)
		}
		b.Add(it.Ord)
	}
	var out scope.Sets
	for _, cl := range order {
		out = append(out, scope.Part{Class: cl, Set: by[cl].Set()})
	}
	return out
}

// Current reports whether the device holds exactly now and nothing visible
// changed after its mark, reading as little as can be.
func Current(rd *state.Reader, d Device, now scope.Sets) bool {
	page, _, changed := Compute(rd, d, now, Request{Known: true, Number: numberOf(d), Limit: 1})
	return page.Empty() && !changed
}

func numberOf(d Device) uint64 {
	if d.Pending != nil {
		return d.Pending.N
	}
	return d.Ack
}
