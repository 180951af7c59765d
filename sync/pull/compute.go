package pull

import (
	"cmp"
	"fmt"
	"slices"

	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/internal/mutant"
	"satchel/sync/bits"
	"satchel/sync/project"
	"satchel/sync/scope"
	"satchel/sync/state"
)

// Limits of a page.
const (
	DefaultLimit = 2000
	MaxLimit     = 10_000
	// maxRemoved bounds the removals of a page; they are small and go first.
	maxRemoved = 10_000
	// maxScanned is how many changes a pull that finds nothing looks through
	// before its mark is stored, so that the next one need not.
	maxScanned = 2000
	// maxBytes bounds the visible segments of a page; one record always fits. See
	// [state.Lengths].
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
	// First returns the records that are to arrive before all others where
	// not everything fits on the page: own work. nil for none.
	First func() bits.Set
	// Apart is how many records have to follow for those to get a page of their
	// own where the device has nothing; 0 for never.
	Apart int
	// Since is how far a device that has the page Number has come besides, by
	// pages of updates that were not stored; nil for no further.
	Since *Mark
	// Ahead is how many records such a page may have, 0 for none at all.
	Ahead int
	// Brief: a page that has to be stored is not wanted. As soon as it is sure
	// that it must be, Compute says so and returns no page.
	Brief bool
	// Memo, where set, is of the state that is read. What else decides about a
	// page than this and First has to be part of a place in it.
	Memo *Memo
	// Foreseen, where set, still stands.
	Foreseen *Foreseen
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
	// Rebase: the page has nothing to apply but a checkpoint to go on from.
	Rebase bool
	// Size is how many bytes the items' visible segments have at most.
	Size int
	// Later: the page is not the first of its round.
	Later bool
	// Ahead: the page brings nothing but updates of what is held, and is not
	// stored. Whoever applied it has all up to Mark, and whoever didn't still has
	// what is stored.
	Ahead bool
	// Mark is how far the device has come with this page, since how far it had
	// come before, where whole says that it had all of what it holds by then.
	Mark, since Mark
	whole       bool
	// arrivals are the items, from one place to another, that are new to the
	// device, or may be. All others are updates of what it holds.
	arrivals [2]int
	// Content is what it has in common with pages of other devices, nil for
	// nothing.
	Content *Content
}

// Updates reports whether the page has updates that are known to start from what
// the device has of them.
//
// A mark says of a record only that nothing is missing of it unless it changed
// after the mark. Amid a round a record may have changed before the mark too, and
// not been sent because its last change comes later in the order of changes. Only
// between rounds does the device have all of what it holds as of its mark.
func (p *Page) Updates() bool {
	return p.based() && len(p.Items) > p.arrivals[1]-p.arrivals[0]
}

// based reports whether it is known what the device has of what it holds.
func (p *Page) based() bool { return !p.Reset && !p.Rebase && p.whole }

// Lacks returns the position from which on the device may lack what was written
// to the i-th item: it has the record in the class that it is sent in, as it was
// just before that or at some time since. ok is false where the device may have
// nothing of it, or not as it is taken to.
func (p *Page) Lacks(i int) (from ident.Position, ok bool) {
	if !p.based() {
		return 0, false
	}
	if i >= p.arrivals[0] && i < p.arrivals[1] && !mutant.On(mutant.ArrivalsAsChanges) {
		return 0, false
	}
	since := p.since
	if mutant.On(mutant.ChangesSincePage) {
		since = p.Mark
	}
	if p.Items[i].Ord <= since.Ord {
		return since.Pos + 1, true
	}
	return since.Pos, true
}

// Empty reports whether there is nothing to apply.
func (p *Page) Empty() bool {
	return p.Removed.IsEmpty() && len(p.Items) == 0 && !p.Reset && !p.Rebase
}

// Compute returns the next page and the device as it stands afterwards.
// changed is false where the page is empty and nothing that matters about
// the device differs: then nothing need be stored, and the page has no
// number of its own. page is nil only where the request is Brief, and then
// changed is true.
func Compute(rd *state.Reader, d Device, now scope.Sets, req Request) (page *Page, after Device, changed bool) {
	typeSet := func(no uint16) bits.Set { return rd.Index(state.TypeKey(no)) }
	before := d
	page = &Page{Now: now}
	var foreseen *Foreseen
	switch {
	case d.Pending != nil && req.Known && (req.Number == d.Pending.N || mutant.On(mutant.PendingAssumed)):
		if req.Foreseen.answers(&d, now, &req) {
			foreseen, d = req.Foreseen, req.Foreseen.acked
		} else {
			d = d.acknowledged(typeSet)
		}
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
	agreed := page.Reset && len(req.Agreed) > 0
	if agreed {
		// The types that agree are held as they are now, once this page is
		// acknowledged; the others are dropped and sent anew.
		page.ResetTypes = others(rd.Cat, req.Agreed)
		page.Reset = len(page.ResetTypes) > 0
		page.Rebase = !page.Reset
	} else if !page.Reset && len(req.Heal) > 0 {
		page.Reset, page.ResetTypes = true, req.Heal
	}
	c := &computation{rd: rd, d: d, now: now, page: page, limit: limit(req.Limit), first: req.First}
	if req.Fresh {
		c.apart = req.Apart
	}
	if req.Since != nil && req.Known && !req.Fresh && req.Number == d.Ack && !page.Reset {
		c.since = req.Since
	}
	// Everything arrives anew or was found to be held as it is now.
	c.anew = agreed || (page.Reset && page.ResetTypes == nil)
	if agreed {
		c.agree(req.Agreed)
	}
	c.begin()
	if c.brief = req.Brief; c.brief && (page.Reset || page.Rebase) {
		return nil, before, true
	}
	if foreseen != nil {
		c.take(foreseen.page.Content)
	} else {
		c.runWith(req.Memo)
	}
	if c.stopped {
		return nil, before, true
	}
	after, page = c.d, c.page
	page.Mark = c.mark
	if page.Empty() {
		if c.since != nil && !mutant.On(mutant.AheadStored) {
			// What is stored stands for whoever has the page alone.
			return page, after, differs(&before, &after)
		}
		// With nothing to send the device is current as of this position.
		after.Mark, after.Target = c.mark, 0
		// A mark that many changes were looked through for is worth storing.
		return page, after, differs(&before, &after) || c.scanned > maxScanned
	}
	if page.Complete && c.updated == len(page.Items) && c.updated <= req.Ahead && page.Removed.IsEmpty() &&
		!page.Reset && !page.Rebase && after.Target == 0 && !differs(&before, &after) {
		page.Ahead = true
		return page, after, false
	}
	after.Last++
	page.N = after.Last
	after.Pending = &Pending{
		N: page.N, Removed: bits.Or(page.Removed, c.lost), Sent: append(c.sentParts(), c.agreed...), At: rd.Now(), Mark: c.mark, Target: c.target,
		Reset: page.Reset, ResetTypes: page.ResetTypes,
	}
	return page, after, true
}

// others returns the types that are not among the given.
func others(cat *entity.Catalogue, types []uint16) []uint16 {
	var out []uint16
	for _, t := range cat.Types {
		if !slices.Contains(types, t.No) {
			out = append(out, t.No)
		}
	}
	return out
}

// agree makes the parts of the types that agree what counts as held. What was
// held of them otherwise, the device does not have.
func (c *computation) agree(types []uint16) {
	was := bits.Or(c.d.Held.All(), c.d.Unsure)
	c.rebased = true
	for _, p := range c.now {
		if slices.Contains(types, p.Type) {
			c.parts = append(c.parts, p)
		}
	}
	c.agreed = c.parts
	c.lost = bits.AndNot(was, c.agreed.All())
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
	if scope.Same(a.Held, b.Held) {
		return false
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
	size   int // of the visible segments of the items, those unread left out
	pr     project.Projector
	mark   Mark
	since  *Mark // further than d.Mark
	target ident.Position
	anew   bool // nothing that is held can have changed
	first  func() bits.Set
	// brief: as in Request; stopped says that it came to that. personal: First
	// was asked.
	brief, stopped, personal bool
	apart                    int // as in Request; 0 where the device may have something
	// agreed is what the device was found to hold, lost what it was taken to
	// hold and does not.
	rebased bool
	agreed  scope.Sets
	lost    bits.Set
	// updated counts the items that are updates.
	updated int
	// scanned counts what of the change index was looked at.
	scanned int

	// unread are the items, from one place to another in ascending order of ordinals,
	// that were put on the page without reading them; they have unreadMost bytes at
	// most.
	unread     [][2]int
	unreadMost int

	parts  scope.Sets // of what is held, those that count
	unsure bits.Set
	// moved is what is held in a class that it does not stand in now.
	moved bits.Set
	// seen is what is on the page.
	seen seen
}

// begin finds where the device stands.
func (c *computation) begin() {
	c.mark, c.target = c.d.Mark, c.d.Target
	if c.since != nil && c.mark.Before(*c.since) {
		c.mark = *c.since
	}
	c.page.since, c.page.whole = c.mark, c.d.Target == 0 || mutant.On(mutant.ChangesAmidRound)
}

func (c *computation) run() {
	pos := c.rd.Position()
	switch {
	case c.rebased:
		c.mark, c.target = End(pos), pos
	case c.page.Reset:
		c.parts, c.unsure = drop(c.d.Held, c.d.Unsure, c.page.ResetTypes, func(no uint16) bits.Set { return c.rd.Index(state.TypeKey(no)) })
		if c.anew {
			c.mark, c.target = End(pos), pos
		}
	default:
		c.parts, c.unsure = c.d.Held, c.d.Unsure
	}
	c.compare()
	if c.brief && (!c.gone().IsEmpty() || len(c.arriving()) > 0) {
		c.stopped = true
		return
	}

	c.page.Later = c.target != 0
	done := c.removals()
	if c.target == 0 { // a new round
		c.target = pos
	}
	if done {
		if done = c.updates(); done {
			c.page.arrivals[0] = len(c.page.Items)
			done = c.arrivals(c.arriving())
			c.page.arrivals[1] = len(c.page.Items)
		}
		if done && c.target < pos { // room for the next round's updates
			c.target = pos
			done = c.updates()
		}
	}
	c.page.More, c.page.Complete, c.page.Size = !done, done, c.size+c.unreadMost
	if done {
		c.target = 0
	}

	// Held records that now stand in another class and were not sent again:
	// the device has them in a class that the mark no longer looks after.
	if !c.moved.IsEmpty() && !mutant.On(mutant.MovedNotUnsure) {
		c.d.Unsure = bits.Or(c.d.Unsure, bits.AndNot(bits.And(c.moved, c.now.All()), c.page.touched()))
	}
}

// compare finds what moved. A part that is held just as it is now takes over
// the set it is compared with, and all of them the list of those: next time there
// is nothing to compare, and devices that hold the same share its memory.
func (c *computation) compare() {
	if scope.Same(c.parts, c.now) {
		return
	}
	var moved []bits.Set
	parts := slices.Clone(c.parts)
	all := len(parts) == len(c.now)
	for i, p := range parts {
		is := in(c.now, p.Class)
		if bits.Equal(p.Set, is) {
			parts[i].Set = is
			continue
		}
		all = false
		if s := bits.AndNot(p.Set, is); !s.IsEmpty() {
			moved = append(moved, s)
		}
	}
	if all {
		parts = c.now
	}
	c.parts, c.moved = parts, bits.OrAll(moved...)
	if !c.page.Reset && !c.rebased {
		c.d.Held = parts
	}
}

// touched is all that the page sends or removes.
func (p *Page) touched() bits.Set {
	var b bits.Builder
	b.AddSet(p.Removed)
	for _, it := range p.Items {
		b.Add(it.Ord)
	}
	return b.Set()
}

func (c *computation) full() bool { return len(c.page.Items) >= c.limit }

// send puts a record on the page; it reports false where the page is full.
func (c *computation) send(o ident.Ordinal, cl scope.Class, size int) bool {
	if c.full() || (len(c.page.Items) > 0 && !c.room(size)) {
		return false
	}
	c.size += size
	c.put(o, cl)
	return true
}

func (c *computation) put(o ident.Ordinal, cl scope.Class) {
	c.page.Items = append(c.page.Items, Item{o, cl})
	c.seen.add(o)
}

// room reports whether so many bytes have room on the page. Where what was not read
// decides about that it is read: where a page is cut must depend on what is visible
// alone, and the bounds of what is unread are of all of a record.
func (c *computation) room(size int) bool {
	if c.size+c.unreadMost+size > maxBytes && len(c.unread) > 0 && !mutant.On(mutant.CutByHidden) {
		for _, at := range c.unread {
			state.EachOf(c.rd, c.page.Items[at[0]:at[1]], func(it *Item) ident.Ordinal { return it.Ord }, func(it *Item, raw []byte) bool {
				c.size += c.glance(it.Ord, raw, it.Class)
				return true
			})
		}
		c.unread, c.unreadMost = nil, 0
	}
	return c.size+c.unreadMost+size <= maxBytes
}

// glance returns the size of a record's visible segments.
func (c *computation) glance(o ident.Ordinal, raw []byte, cl scope.Class) int {
	size, _, err := c.pr.Glance(raw, cl.Mask)
	if err != nil {
		panic(fmt.Errorf("%w: record %d: %w", state.ErrDamaged, o, err))
	}
	return size
}

// gone is what the device has to let go of.
func (c *computation) gone() bits.Set {
	gone := bits.Or(c.moved, c.unsure)
	if mutant.On(mutant.ForgetRemoval) {
		gone = bits.Set{}
	}
	if mutant.On(mutant.RemoveNeverGiven) {
		gone = gone.With(c.rd.LastOrdinal())
	}
	if !gone.IsEmpty() {
		gone = bits.AndNot(gone, c.now.All())
	}
	return gone
}

func (c *computation) removals() bool {
	gone := c.gone()
	if gone.Len() <= maxRemoved {
		c.page.Removed = gone
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
	return false
}

// updates sends held records whose visible fields changed after the mark and
// up to the target, in change order, and moves the mark.
func (c *computation) updates() bool {
	end := End(c.target)
	if !c.mark.Before(end) {
		return true
	}
	type change struct {
		mark  Mark
		class scope.Class
		size  int
	}
	var found []change
	consider := func(o ident.Ordinal, cl scope.Class) {
		raw := c.rd.Bytes(o)
		if raw == nil || c.seen.has(o) {
			return
		}
		size, at, err := c.pr.Glance(raw, cl.Mask)
		if err != nil {
			panic(fmt.Errorf("%w: record %d: %w", state.ErrDamaged, o, err))
		}
		if m := (Mark{at, o}); c.mark.Before(m) && m.Before(end) {
			found = append(found, change{m, cl, size})
		}
	}
	// What the change index has after the mark, or all that is held, whichever is
	// less.
	budget := c.parts.Len()
	few := true
	n := 0
	c.rd.Changed(c.mark.Pos-1, func(o ident.Ordinal, typ uint16) bool {
		if n++; n > budget {
			few = false
			return false
		}
		c.scanned++
		if cl, ok := c.parts.OfType(o, typ); ok && in(c.now, cl).Contains(o) && !c.unsure.Contains(o) {
			consider(o, cl)
		}
		return true
	})
	if !few {
		found = found[:0]
		for _, p := range c.parts {
			for o := range bits.AndNot(bits.And(p.Set, in(c.now, p.Class)), c.unsure).All() {
				consider(o, p.Class)
			}
		}
	}
	slices.SortFunc(found, func(a, b change) int {
		return cmp.Or(cmp.Compare(a.mark.Pos, b.mark.Pos), cmp.Compare(a.mark.Ord, b.mark.Ord))
	})
	// A record that changed several times was found as often.
	found = slices.CompactFunc(found, func(a, b change) bool { return a.mark == b.mark })
	for _, f := range found {
		if !c.send(f.mark.Ord, f.class, f.size) {
			return false
		}
		c.updated++
		c.mark = f.mark
	}
	if mutant.On(mutant.MarkTooFar) {
		end.Pos++
	}
	c.mark = end
	return true
}

// arriving returns what is to be sent because it is new to the device, new
// in its class, or unsure.
func (c *computation) arriving() scope.Sets {
	if c.unsure.IsEmpty() && scope.Same(c.parts, c.now) {
		return nil
	}
	var out scope.Sets
	for _, p := range c.now {
		s := bits.AndNot(p.Set, in(c.parts, p.Class))
		if mutant.On(mutant.MaskChangeNotSent) {
			s = bits.AndNot(s, c.parts.All())
		}
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

// arrivals sends them: where not all of them fit, or own work is to be on a page
// of its own, that first; parents before children, in ordinal order within a
// type.
func (c *computation) arrivals(parts scope.Sets) bool {
	n := parts.Len()
	if c.first == nil || n <= c.limit-len(c.page.Items) && (c.apart == 0 || n < c.apart) {
		return c.wave(parts)
	}
	c.personal = true
	first := c.first()
	var own, rest scope.Sets
	for _, p := range parts {
		own = append(own, scope.Part{Class: p.Class, Set: bits.And(p.Set, first)})
		rest = append(rest, scope.Part{Class: p.Class, Set: bits.AndNot(p.Set, first)})
	}
	if !c.wave(own) {
		return false
	}
	if c.apart > 0 && rest.Len() >= c.apart && len(c.page.Items) > 0 {
		return false // it is shown while the rest is on its way
	}
	return c.wave(rest)
}

func (c *computation) wave(parts scope.Sets) bool {
	for len(parts) > 0 {
		n := 1
		for n < len(parts) && parts[n].Type == parts[0].Type {
			n++
		}
		ofType := parts[:n]
		parts = parts[n:]
		c.page.Items = slices.Grow(c.page.Items, min(ofType.Len(), c.limit-len(c.page.Items)))
		for all := ofType.All(); !all.IsEmpty(); {
			some := head(all, max(c.limit-len(c.page.Items), 1))
			if !c.sendAll(ofType, some) {
				return false
			}
			all = bits.AndNot(all, some)
		}
	}
	return true
}

// head returns the first n of a set.
func head(s bits.Set, n int) bits.Set {
	if s.Len() > n {
		for o := range s.All() {
			if n--; n < 0 {
				return bits.And(s, bits.Range(0, o))
			}
		}
	}
	return s
}

// sendAll puts records of a type on the page, with the classes of parts. It reads
// those that have room for certain only where they are encoded.
func (c *computation) sendAll(parts scope.Sets, all bits.Set) (more bool) {
	if most := c.atMost(parts, all); c.room(most) {
		from := len(c.page.Items)
		more = true
		for o := range all.All() {
			if c.seen.has(o) {
				continue
			}
			if more = !c.full(); !more {
				break
			}
			cl, _ := parts.Of(o)
			c.put(o, cl)
		}
		c.unread = append(c.unread, [2]int{from, len(c.page.Items)})
		c.unreadMost += most
		return more
	}
	more = true
	c.rd.Each(all, func(o ident.Ordinal, raw []byte) bool {
		cl, _ := parts.Of(o)
		more = c.seen.has(o) || c.send(o, cl, c.glance(o, raw, cl))
		return more
	})
	return more
}

// atMost returns how many bytes the visible segments of the records have at most.
// It reads none but the longest, and of those no more than have room.
func (c *computation) atMost(parts scope.Sets, all bits.Set) int {
	size, rest := 0, all
	for n, length := range state.Lengths {
		long := bits.And(rest, c.rd.Index(state.LongKey(n)))
		if mutant.On(mutant.LongAsShort) {
			long = bits.Set{}
		}
		size += (rest.Len() - long.Len()) * length
		rest = long
	}
	if rest.IsEmpty() {
		return size
	}
	c.rd.Each(rest, func(o ident.Ordinal, raw []byte) bool {
		if cl, _ := parts.Of(o); c.size+size <= maxBytes {
			size += c.glance(o, raw, cl)
		}
		return c.size+size <= maxBytes
	})
	return size
}

// sent groups the page's records by class.
func (c *computation) sent() scope.Sets {
	by := map[scope.Class]*bits.Builder{}
	var order []scope.Class
	var b *bits.Builder
	for i, it := range c.page.Items {
		if i == 0 || it.Class != c.page.Items[i-1].Class {
			b = by[it.Class]
		}
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
