package apply

import (
	"satchel/internal/ident"
	"satchel/internal/mutant"
	"satchel/sync/bits"
	"satchel/sync/pull"
	"satchel/sync/scope"
	"satchel/sync/state"
)

// next is what the page after a page follows from.
type next struct {
	pos    ident.Position // of the page before
	day    ident.Day
	device pull.Device
	now    scope.Sets
	limit  int
	own    *bits.Set // what comes first, where that was asked for
}

// Foreseen is the page after a large one, computed before it is asked for, and
// its body, which whoever foresaw it makes.
type Foreseen struct {
	*pull.Foreseen
	Page *Page
	Body *Body
	from *next
}

// Follows reports whether the page after this one may be worth computing before
// it is asked for.
func (p *Page) Follows() bool {
	return p.next != nil && p.Now.Len()-p.next.device.Held.Len() > 2*len(p.Items)
}

// headRoom is more than stands before the records of a page.
const headRoom = 256

// Foresee computes the page after this one, from any snapshot of its commit or a
// later one; nil where that can't be told yet. Any goroutine may call it.
func (p *Page) Foresee(rd *state.Reader) *Foreseen {
	from := p.next
	f := pull.Foresee(rd, from.device, from.now, from.limit, func() (bits.Set, bool) {
		if from.own == nil {
			return bits.Set{}, false
		}
		return *from.own, true
	})
	if f == nil {
		return nil
	}
	body := NewBody()
	body.room = headRoom
	return &Foreseen{Foreseen: f, Page: &Page{Page: f.Page(), Device: p.Device}, Body: body, from: from}
}

// Expect has the pulls of the next entry know what was foreseen for a device.
func (m *Machine) Expect(f *Foreseen) { m.expected[f.Page.Device] = f }

// Is reports whether a page that was computed is the one that was foreseen.
func (f *Foreseen) Is(p *Page) bool { return p.Content == f.Page.Content }

// stands reports whether nothing has changed since the page before that the
// foreseen one could tell of, and it is still the same day.
func (f *Foreseen) stands(r *run) bool {
	same := true
	r.w.Changed(f.from.pos, func(ident.Ordinal, uint16) bool { same = false; return false })
	return same && r.w.Now().Day() == f.from.day || mutant.On(mutant.ForeseenStands)
}
