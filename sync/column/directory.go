package column

import (
	"math/bits"
	"slices"

	"satchel/internal/ident"
)

// directory numbers the records of one type densely, in the order of their
// ordinals: columns are arrays by that number, the local. Ordinals are given
// out ascending and never again, so a directory only ever grows at its end.
// It is immutable; one grown from it shares what it can.
type directory struct {
	ords  []ident.Ordinal // by local, ascending
	pages []*page         // by the upper half of the ordinal, nil for none
}

// page tells the locals of 65,536 ordinals.
type page struct {
	words [1024]uint64 // which ordinals the directory has
	base  [1024]uint32 // of a word that has any, how many come before it
}

// extend returns the directory with more ordinals, ascending and above all it
// has. Only the latest directory of a line may be extended.
func (d *directory) extend(more []ident.Ordinal) *directory {
	if len(more) == 0 {
		return d
	}
	out := &directory{pages: slices.Clone(d.pages)}
	n := uint32(len(d.ords))
	var p *page
	at := -1
	for _, o := range more {
		if hi := int(o >> 16); hi != at {
			for len(out.pages) <= hi {
				out.pages = append(out.pages, nil)
			}
			p, at = &page{}, hi
			if old := out.pages[hi]; old != nil {
				*p = *old
			}
			out.pages[hi] = p
		}
		w := o >> 6 & 1023
		if p.words[w] == 0 {
			p.base[w] = n
		}
		p.words[w] |= 1 << (o & 63)
		n++
	}
	out.ords = append(d.ords, more...)
	return out
}

func (d *directory) len() int { return len(d.ords) }

// local returns the local of an ordinal, false where the directory has none.
func (d *directory) local(o ident.Ordinal) (uint32, bool) {
	hi := int(o >> 16)
	if hi >= len(d.pages) || d.pages[hi] == nil {
		return 0, false
	}
	p := d.pages[hi]
	w, bit := p.words[o>>6&1023], uint64(1)<<(o&63)
	if w&bit == 0 {
		return 0, false
	}
	return p.base[o>>6&1023] + uint32(bits.OnesCount64(w&(bit-1))), true
}

// behind returns the first local whose ordinal is above o.
func (d *directory) behind(o ident.Ordinal) uint32 {
	i, found := slices.BinarySearch(d.ords, o)
	if found {
		i++
	}
	return uint32(i)
}

// size is what the directory takes in memory, in bytes.
func (d *directory) size() int64 {
	n := int64(4 * len(d.ords))
	for _, p := range d.pages {
		if p != nil {
			n += 12 << 10
		}
	}
	return n
}
