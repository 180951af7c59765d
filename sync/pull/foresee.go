package pull

import (
	"satchel/sync/bits"
	"satchel/sync/scope"
	"satchel/sync/state"
)

// Foreseen is what a device is presumed to ask for next: the page after the one
// that it was just sent, computed before it asks. It stands for as long as
// nothing changes that a page could tell of.
type Foreseen struct {
	pending *Pending
	now     list
	limit   int
	acked   Device // once the page before was applied
	page    *Page
}

// Foresee computes the page after the pending one of a device, which has to be
// one of several. It returns nil where that would be the last of its round, or
// personal and first, which is asked for what is to come first as First of a
// Request, can't say: such a page is computed when it is asked for.
func Foresee(rd *state.Reader, d Device, now scope.Sets, most int, first func() (own bits.Set, ok bool)) *Foreseen {
	if d.Pending == nil {
		return nil
	}
	acked := d.acknowledged(func(no uint16) bits.Set { return rd.Index(state.TypeKey(no)) })
	known := true
	c := &computation{rd: rd, d: acked, now: now, page: &Page{Now: now}, limit: limit(most), first: func() bits.Set {
		own, ok := first()
		known = known && ok
		return own
	}}
	c.begin()
	c.run()
	if !known || !c.page.More {
		return nil // how far it brings a device depends on when it asks
	}
	c.content().sent = c.sent()
	return &Foreseen{pending: d.Pending, now: listOf(now), limit: c.limit, acked: acked, page: c.page}
}

// Page returns the page, which has no number.
func (f *Foreseen) Page() *Page { return f.page }

// answers reports whether a device asks for this page: it acknowledges the page
// before, and wants nothing else.
func (f *Foreseen) answers(d *Device, now scope.Sets, req *Request) bool {
	return f != nil && f.pending == d.Pending && f.now == listOf(now) && f.limit == limit(req.Limit) &&
		!req.Fresh && req.Heal == nil && req.Since == nil
}
