package bits

import (
	"iter"
	"slices"
	"sort"

	"github.com/RoaringBitmap/roaring/v2"
)

// ChunkSize is how many ordinals one chunk spans: chunk k holds the ordinals
// from k*ChunkSize to k*ChunkSize+ChunkSize-1.
const ChunkSize = 1 << 16

// chunk is never changed once a Set refers to it, and never empty.
type chunk struct {
	bm *roaring.Bitmap // full 32-bit ordinals, all of one key
	n  int             // how many
}

// slot places a chunk in a set.
type slot struct {
	key uint16 // the upper half of the chunk's ordinals
	c   *chunk
}

// Set is an immutable set of ordinals. The zero value is the empty set. Sets
// are values to be copied freely and may be read by many goroutines at once.
// They can't be compared with ==; use [Equal].
type Set struct {
	slots []slot // ascending by key; never written to once the Set exists
	n     int
}

func newChunk(bm *roaring.Bitmap) *chunk { return chunkOf(bm, int(bm.GetCardinality())) }

// chunkOf makes a chunk of a bitmap of n ordinals, which it takes over. Few
// ordinals are never kept as runs: where runs and single ordinals join to what
// fits an array, the library turns them into one with a copy for every run,
// which takes a hundred times as long as joining two arrays.
func chunkOf(bm *roaring.Bitmap, n int) *chunk {
	if n <= arrayMax && n > 0 && bm.HasRunCompression() {
		plain := roaring.New()
		plain.AddMany(bm.ToArray())
		bm = plain
	}
	return &chunk{bm, n}
}

func setOf(slots []slot) Set {
	s := Set{slots: slots}
	for _, e := range slots {
		s.n += e.c.n
	}
	return s
}

func key(o uint32) uint16 { return uint16(o >> 16) }

// first returns the lowest ordinal of chunk k.
func first(k uint16) uint32 { return uint32(k) << 16 }

// Of returns the set of the given ordinals, in any order, repeats allowed.
func Of(ords ...uint32) Set {
	var b Builder
	for _, o := range ords {
		b.Add(o)
	}
	return b.Set()
}

// Range returns the set of all ordinals from from up to but without to; it is
// empty when to <= from. Its cost is that of its chunks, not of its members.
func Range(from, to uint32) Set {
	if to <= from {
		return Set{}
	}
	slots := make([]slot, 0, int(key(to-1))-int(key(from))+1)
	for lo := uint64(from); lo < uint64(to); {
		hi := min((lo/ChunkSize+1)*ChunkSize, uint64(to))
		bm := roaring.New()
		bm.AddRange(lo, hi)
		slots = append(slots, slot{key(uint32(lo)), newChunk(bm)})
		lo = hi
	}
	return setOf(slots)
}

// find returns the index of chunk k, or where it would stand.
func (s Set) find(k uint16) (int, bool) {
	// Sets of one tenant are dense from chunk 0, so the guess is mostly right.
	if i := int(k); i < len(s.slots) && s.slots[i].key == k {
		return i, true
	}
	i := sort.Search(len(s.slots), func(i int) bool { return s.slots[i].key >= k })
	return i, i < len(s.slots) && s.slots[i].key == k
}

// Contains reports whether o is in the set.
func (s Set) Contains(o uint32) bool {
	i, ok := s.find(key(o))
	return ok && s.slots[i].c.bm.Contains(o)
}

// Len returns the number of ordinals in the set, in constant time.
func (s Set) Len() int { return s.n }

// IsEmpty reports whether the set has no ordinals.
func (s Set) IsEmpty() bool { return s.n == 0 }

// Min returns the lowest ordinal; false when the set is empty.
func (s Set) Min() (uint32, bool) {
	if s.n == 0 {
		return 0, false
	}
	return s.slots[0].c.bm.Minimum(), true
}

// Max returns the highest ordinal; false when the set is empty.
func (s Set) Max() (uint32, bool) {
	if s.n == 0 {
		return 0, false
	}
	return s.slots[len(s.slots)-1].c.bm.Maximum(), true
}

// With returns the set with o in it: s itself when it already is. Only the
// chunk of o is copied.
func (s Set) With(o uint32) Set {
	i, ok := s.find(key(o))
	if !ok {
		bm := roaring.New()
		bm.Add(o)
		return Set{slots: slices.Insert(slices.Clone(s.slots), i, slot{key(o), chunkOf(bm, 1)}), n: s.n + 1}
	}
	old := s.slots[i].c
	if old.bm.Contains(o) {
		return s
	}
	bm := old.bm.Clone()
	bm.Add(o)
	slots := slices.Clone(s.slots)
	slots[i].c = chunkOf(bm, old.n+1)
	return Set{slots: slots, n: s.n + 1}
}

// Without returns the set with o not in it: s itself when it is not. Only the
// chunk of o is copied.
func (s Set) Without(o uint32) Set {
	i, ok := s.find(key(o))
	if !ok || !s.slots[i].c.bm.Contains(o) {
		return s
	}
	old := s.slots[i].c
	if old.n == 1 {
		return Set{slots: slices.Delete(slices.Clone(s.slots), i, i+1), n: s.n - 1}
	}
	bm := old.bm.Clone()
	bm.Remove(o)
	slots := slices.Clone(s.slots)
	slots[i].c = chunkOf(bm, old.n-1)
	return Set{slots: slots, n: s.n - 1}
}

// All yields the ordinals in ascending order.
func (s Set) All() iter.Seq[uint32] {
	return func(yield func(uint32) bool) { each(s.slots, yield) }
}

// each calls yield for every ordinal of the slots until it returns false.
func each(slots []slot, yield func(uint32) bool) {
	for _, e := range slots {
		more := true
		e.c.bm.Iterate(func(o uint32) bool {
			more = yield(o)
			return more
		})
		if !more {
			return
		}
	}
}

// From yields the ordinals that are at least o, in ascending order.
func (s Set) From(o uint32) iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		i, ok := s.find(key(o))
		if ok {
			it := s.slots[i].c.bm.Iterator()
			it.AdvanceIfNeeded(o)
			for it.HasNext() {
				if !yield(it.Next()) {
					return
				}
			}
			i++
		}
		each(s.slots[i:], yield)
	}
}

// Slice returns the ordinals in ascending order, in a slice of the caller's own.
func (s Set) Slice() []uint32 {
	out := make([]uint32, 0, s.n)
	for _, e := range s.slots {
		it := e.c.bm.ManyIterator()
		for len(out) < cap(out) {
			n := it.NextMany(out[len(out):cap(out)])
			if n == 0 {
				break
			}
			out = out[:len(out)+n]
		}
	}
	return out
}
