package bits

import (
	"slices"

	"github.com/RoaringBitmap/roaring/v2"
)

// Builder collects a set ordinal by ordinal without a new Set for each. The
// zero value is an empty builder. It is for one goroutine.
type Builder struct {
	drafts map[uint16]*draft
	last   *draft // the draft used last: ordinals mostly come in runs
	lastK  uint16
}

// draft is a chunk in the making: base as long as own is nil, own afterwards.
type draft struct {
	base *chunk
	own  *roaring.Bitmap
}

func (d *draft) contains(o uint32) bool {
	if d.own != nil {
		return d.own.Contains(o)
	}
	return d.base != nil && d.base.bm.Contains(o)
}

// writable returns the draft's bitmap as one that no Set refers to.
func (d *draft) writable() *roaring.Bitmap {
	switch {
	case d.own != nil:
	case d.base != nil:
		d.own = d.base.bm.Clone()
	default:
		d.own = roaring.New()
	}
	return d.own
}

func (b *Builder) draft(k uint16, create bool) *draft {
	if b.last != nil && b.lastK == k {
		return b.last
	}
	d := b.drafts[k]
	if d == nil {
		if !create {
			return nil
		}
		if b.drafts == nil {
			b.drafts = make(map[uint16]*draft)
		}
		d = &draft{}
		b.drafts[k] = d
	}
	b.last, b.lastK = d, k
	return d
}

// Add puts o into the set.
func (b *Builder) Add(o uint32) {
	d := b.draft(key(o), true)
	if d.own != nil || !d.contains(o) {
		d.writable().Add(o)
	}
}

// Remove takes o out of the set.
func (b *Builder) Remove(o uint32) {
	if d := b.draft(key(o), false); d != nil && d.contains(o) {
		d.writable().Remove(o)
	}
}

// AddSet puts all of s into the set; chunks that the builder has nothing of
// are shared, not copied.
func (b *Builder) AddSet(s Set) {
	for _, e := range s.slots {
		d := b.draft(e.key, true)
		switch {
		case d.own != nil:
			d.own.Or(e.c.bm)
		case d.base == nil:
			d.base = e.c
		default:
			d.base = orChunk(d.base, e.c)
		}
	}
}

// Set returns what has been collected so far. The builder can go on from
// there; the returned set does not change.
func (b *Builder) Set() Set {
	slots := make([]slot, 0, len(b.drafts))
	for k, d := range b.drafts {
		if d.own != nil {
			// A chunk that came back to what it was stays the chunk it was.
			if c := newChunk(d.own); c.n == 0 {
				d.base = nil
			} else if d.base == nil || !sameChunk(c, d.base) {
				d.base = c
			}
			d.own = nil
		}
		if d.base != nil {
			slots = append(slots, slot{k, d.base})
		}
	}
	slices.SortFunc(slots, func(a, b slot) int { return int(a.key) - int(b.key) })
	return setOf(slots)
}
