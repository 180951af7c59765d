package bits

import "github.com/RoaringBitmap/roaring/v2"

// How chunks meet in a walk over two sets.
type pair struct {
	key  uint16
	a, b *chunk // nil where that set has no such chunk; never both
}

// walk calls fn for each chunk key of a or b in ascending order, until fn
// returns false.
func walk(a, b Set, fn func(pair) bool) {
	i, j := 0, 0
	for i < len(a.slots) || j < len(b.slots) {
		var p pair
		switch {
		case j == len(b.slots) || i < len(a.slots) && a.slots[i].key < b.slots[j].key:
			p = pair{a.slots[i].key, a.slots[i].c, nil}
			i++
		case i == len(a.slots) || b.slots[j].key < a.slots[i].key:
			p = pair{b.slots[j].key, nil, b.slots[j].c}
			j++
		default:
			p = pair{a.slots[i].key, a.slots[i].c, b.slots[j].c}
			i, j = i+1, j+1
		}
		if !fn(p) {
			return
		}
	}
}

// common returns how many ordinals two chunks share.
func common(a, b *chunk) int {
	if a == b {
		return a.n
	}
	return int(a.bm.AndCardinality(b.bm))
}

// combine builds a set out of what fn returns for each pair of chunks; nil is
// left out.
func combine(a, b Set, fn func(a, b *chunk) *chunk) Set {
	slots := make([]slot, 0, max(len(a.slots), len(b.slots)))
	walk(a, b, func(p pair) bool {
		if c := fn(p.a, p.b); c != nil {
			slots = append(slots, slot{p.key, c})
		}
		return true
	})
	return setOf(slots)
}

// orSame returns the first of the sets that has as many ordinals as out, which
// must contain all of them or be contained in all, so that it is the same set;
// otherwise out. It keeps the chunks of one set together, so that comparing
// with it later costs nothing.
func orSame(out Set, sets ...Set) Set {
	for _, s := range sets {
		if s.n == out.n {
			return s
		}
	}
	return out
}

// Counting before computing costs a little where chunks differ and saves both
// the copy and, later, the comparison where one contains the other, which is
// the common case: sets of one tenant overlap much and change little.

func orChunk(a, b *chunk) *chunk {
	switch {
	case a == nil:
		return b
	case b == nil || a == b:
		return a
	}
	switch n := common(a, b); n {
	case b.n:
		return a
	case a.n:
		return b
	default:
		return chunkOf(roaring.Or(a.bm, b.bm), a.n+b.n-n)
	}
}

func andChunk(a, b *chunk) *chunk {
	if a == nil || b == nil {
		return nil
	}
	switch n := common(a, b); n {
	case 0:
		return nil
	case a.n:
		return a
	case b.n:
		return b
	default:
		return chunkOf(roaring.And(a.bm, b.bm), n)
	}
}

func andNotChunk(a, b *chunk) *chunk {
	if a == nil || b == nil {
		return a
	}
	switch n := common(a, b); n {
	case 0:
		return a
	case a.n:
		return nil
	default:
		return chunkOf(roaring.AndNot(a.bm, b.bm), a.n-n)
	}
}

// Or returns the ordinals that are in a or in b.
func Or(a, b Set) Set {
	switch {
	case a.n == 0:
		return b
	case b.n == 0:
		return a
	}
	return orSame(combine(a, b, orChunk), a, b)
}

// And returns the ordinals that are in both a and b.
func And(a, b Set) Set {
	if a.n == 0 || b.n == 0 {
		return Set{}
	}
	return orSame(combine(a, b, andChunk), a, b)
}

// AndNot returns the ordinals of a that are not in b.
func AndNot(a, b Set) Set {
	if a.n == 0 || b.n == 0 {
		return a
	}
	return orSame(combine(a, b, andNotChunk), a)
}

// OrAll returns the ordinals that are in any of the sets. It is faster than
// joining them one by one.
func OrAll(sets ...Set) Set {
	live := make([]Set, 0, len(sets))
	for _, s := range sets {
		if s.n > 0 {
			live = append(live, s)
		}
	}
	switch len(live) {
	case 0:
		return Set{}
	case 1:
		return live[0]
	case 2:
		return Or(live[0], live[1])
	}
	var slots []slot
	next := make([]int, len(live)) // the first slot of each set not yet taken
	var meet []*chunk
	var maps []*roaring.Bitmap
	for {
		k, found := uint16(0), false
		for i, s := range live {
			if next[i] < len(s.slots) {
				if e := s.slots[next[i]].key; !found || e < k {
					k, found = e, true
				}
			}
		}
		if !found {
			break
		}
		meet = meet[:0]
		for i, s := range live {
			if next[i] < len(s.slots) && s.slots[next[i]].key == k {
				c := s.slots[next[i]].c
				next[i]++
				if len(meet) == 0 || meet[len(meet)-1] != c {
					meet = append(meet, c)
				}
			}
		}
		slots = append(slots, slot{k, orChunks(meet, &maps)})
	}
	return orSame(setOf(slots), live...)
}

// orChunks joins the chunks of one key; maps is scratch space.
func orChunks(cs []*chunk, maps *[]*roaring.Bitmap) *chunk {
	if len(cs) <= 2 {
		if len(cs) == 1 {
			return cs[0]
		}
		return orChunk(cs[0], cs[1])
	}
	largest := cs[0]
	bms := (*maps)[:0]
	for _, c := range cs {
		bms = append(bms, c.bm)
		if c.n > largest.n {
			largest = c
		}
	}
	*maps = bms
	if largest.n == ChunkSize {
		return largest
	}
	out := newChunk(roaring.FastOr(bms...))
	if out.n == largest.n {
		return largest
	}
	return out
}

// Intersects reports whether a and b have an ordinal in common.
func Intersects(a, b Set) bool {
	hit := false
	walk(a, b, func(p pair) bool {
		hit = p.a != nil && p.b != nil && (p.a == p.b || p.a.bm.Intersects(p.b.bm))
		return !hit
	})
	return hit
}

// AndLen returns the number of ordinals in both a and b, without making the set.
func AndLen(a, b Set) int {
	n := 0
	walk(a, b, func(p pair) bool {
		if p.a != nil && p.b != nil {
			n += common(p.a, p.b)
		}
		return true
	})
	return n
}

// Equal reports whether a and b have the same ordinals.
func Equal(a, b Set) bool {
	if a.n != b.n || len(a.slots) != len(b.slots) {
		return false
	}
	for i, e := range a.slots {
		f := b.slots[i]
		if e.key != f.key || !sameChunk(e.c, f.c) {
			return false
		}
	}
	return true
}

// sameChunk reports whether two chunks of one key have the same ordinals.
func sameChunk(a, b *chunk) bool {
	// Counting is independent of how the ordinals are represented, which the
	// library's own comparison is not for every pair of representations.
	return a == b || a.n == b.n && common(a, b) == a.n
}
