package pull

import (
	"satchel/internal/ident"
	"satchel/internal/mutant"
	"satchel/sync/bits"
	"satchel/sync/scope"
)

// Memo remembers what pages bring, for as long as one state is read. Devices of
// a person mostly hold the same, may have the same and have come as far, and then
// get the same. The zero value is ready; it is for one goroutine, and whoever
// goes on to another state has it forget first.
type Memo struct {
	of    map[place]*Content
	items int
}

// Bounds of what a Memo remembers: places, and items of all their pages.
const (
	maxPlaces = 1024
	maxItems  = 2 * MaxLimit
)

// Forget forgets everything.
func (m *Memo) Forget() {
	if !mutant.On(mutant.MemoKept) {
		m.of, m.items = nil, 0
	}
}

// Content is what a page brings and where the device stands with it: of the same
// state, all pages with one Content bring the same and differ by their numbers
// alone.
type Content struct {
	removed               bits.Set
	items                 []Item
	sent                  scope.Sets // the items by class, where they were asked for
	more, complete, later bool
	size                  int
	held                  scope.Sets
	unsure                bits.Set
	mark                  Mark
	target                ident.Position
	updated, scanned      int
	since                 Mark
	whole                 bool
	arrivals              [2]int
}

// place is all that decides, in one state, what a device gets. Sync sets are told
// apart by where they are in memory: those that are shared are the same, and of
// others nothing is claimed.
type place struct {
	held, now list
	mark      Mark
	target    ident.Position
	limit     int
	apart     int
	reset     bool // of everything: what was held doesn't matter
}

// list is where a list of parts is in memory. It keeps it there.
type list struct {
	first *scope.Part
	n     int
}

func listOf(s scope.Sets) list {
	if len(s) == 0 {
		return list{}
	}
	return list{&s[0], len(s)}
}

// place returns the place of a computation that is to begin; ok is false where
// something else decides as well.
func (c *computation) place() (p place, ok bool) {
	if c.rebased || c.page.ResetTypes != nil || !c.page.Reset && !c.d.Unsure.IsEmpty() {
		return place{}, false
	}
	p = place{now: listOf(c.now), limit: c.limit, apart: c.apart, reset: c.page.Reset}
	if !c.page.Reset {
		p.held, p.mark, p.target = listOf(c.d.Held), c.mark, c.target
	}
	if mutant.On(mutant.MemoWithoutMark) {
		p.mark = Mark{}
	}
	return p, true
}

// runWith is run for a computation that others may have made.
func (c *computation) runWith(m *Memo) {
	if m == nil {
		c.run()
		return
	}
	at, ok := c.place()
	if known := m.of[at]; ok && known != nil {
		c.take(known)
		return
	}
	c.run()
	if !ok || c.personal || c.stopped || len(m.of) >= maxPlaces || m.items+len(c.page.Items) > maxItems {
		return
	}
	if m.of == nil {
		m.of = map[place]*Content{}
	}
	m.of[at] = c.content()
	m.items += len(c.page.Items)
}

// content is what was computed.
func (c *computation) content() *Content {
	p := c.page
	p.Content = &Content{
		removed: p.Removed, items: p.Items, more: p.More, complete: p.Complete, later: p.Later, size: p.Size,
		held: c.d.Held, unsure: c.d.Unsure, mark: c.mark, target: c.target, updated: c.updated, scanned: c.scanned,
		since: p.since, whole: p.whole, arrivals: p.arrivals,
	}
	return p.Content
}

// take takes over what was computed for another device.
func (c *computation) take(x *Content) {
	p := c.page
	p.Content, p.Removed, p.Items = x, x.removed, x.items
	p.More, p.Complete, p.Later, p.Size = x.more, x.complete, x.later, x.size
	p.since, p.whole, p.arrivals = x.since, x.whole, x.arrivals
	c.mark, c.target, c.updated, c.scanned = x.mark, x.target, x.updated, x.scanned
	if !p.Reset {
		c.d.Held, c.d.Unsure = x.held, x.unsure
	}
}

// sentParts is sent, once for all pages that bring the same.
func (c *computation) sentParts() scope.Sets {
	x := c.page.Content
	if x == nil {
		return c.sent()
	}
	if x.sent == nil {
		x.sent = c.sent()
	}
	return x.sent[:len(x.sent):len(x.sent)]
}
