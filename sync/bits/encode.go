package bits

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	mathbits "math/bits"

	"github.com/RoaringBitmap/roaring/v2"
)

// ErrCorrupt is within every error of [Decode] and [Parse].
var ErrCorrupt = errors.New("bits: not a valid set")

// Chunk is the part of a set that one row of a store holds. The zero value is
// an empty chunk.
type Chunk struct{ c *chunk }

// IsEmpty reports whether the chunk has no ordinals: its row is to be deleted.
func (c Chunk) IsEmpty() bool { return c.c == nil }

// Len returns the number of ordinals in the chunk, at most [ChunkSize].
func (c Chunk) Len() int {
	if c.c == nil {
		return 0
	}
	return c.c.n
}

// Bytes returns the chunk's row, in a slice of the caller's own: at most 8.3 KB,
// nil for an empty chunk. Equal chunks have equal bytes.
func (c Chunk) Bytes() []byte {
	if c.c == nil {
		return nil
	}
	return portable(c.c.bm.Clone())
}

// portable encodes bm, which it may change, in the smallest containers.
func portable(bm *roaring.Bitmap) []byte {
	bm.RunOptimize()
	b, err := bm.ToBytes()
	if err != nil {
		// Writing to memory does not fail.
		panic(fmt.Sprintf("bits: encoding a bitmap: %v", err))
	}
	return b
}

// Chunks yields the set's chunks in ascending order with their numbers (the
// upper 16 bits of their ordinals). None is empty.
func (s Set) Chunks() iter.Seq2[uint16, Chunk] {
	return func(yield func(uint16, Chunk) bool) {
		for _, e := range s.slots {
			if !yield(e.key, Chunk{e.c}) {
				return
			}
		}
	}
}

// Changed yields, in ascending order, the chunks to be written so that rows
// holding old hold new afterwards; an empty chunk means that the row is to be
// deleted. Chunks that the sets share are passed over without looking inside.
func Changed(old, new Set) iter.Seq2[uint16, Chunk] {
	return func(yield func(uint16, Chunk) bool) {
		walk(old, new, func(p pair) bool {
			if p.a != nil && p.b != nil && sameChunk(p.a, p.b) {
				return true
			}
			return yield(p.key, Chunk{p.b})
		})
	}
}

// Decode makes a set of its rows, which must come in ascending order. It keeps
// nothing of the rows' bytes. An error is [ErrCorrupt] and names the chunk: a
// row that is empty, damaged, has ordinals outside its chunk or bytes left
// over, or that comes out of order.
func Decode(rows iter.Seq2[uint16, []byte]) (Set, error) {
	var slots []slot
	for k, b := range rows {
		if n := len(slots); n > 0 && slots[n-1].key >= k {
			return Set{}, fmt.Errorf("%w: chunk %d comes after chunk %d", ErrCorrupt, k, slots[n-1].key)
		}
		bm, err := read(b, 1)
		if err != nil {
			return Set{}, fmt.Errorf("%w: chunk %d: %w", ErrCorrupt, k, err)
		}
		c := newChunk(bm)
		if c.n == 0 {
			return Set{}, fmt.Errorf("%w: chunk %d is empty", ErrCorrupt, k)
		}
		if lo, hi := bm.Minimum(), bm.Maximum(); key(lo) != k || key(hi) != k {
			return Set{}, fmt.Errorf("%w: chunk %d holds ordinals from %d to %d", ErrCorrupt, k, lo, hi)
		}
		slots = append(slots, slot{k, c})
	}
	return setOf(slots), nil
}

// AppendTo appends the whole set as one value and returns the extended slice.
// It is for sets small enough to be rewritten as one; the empty set takes 8
// bytes.
func (s Set) AppendTo(dst []byte) []byte {
	all := roaring.New()
	for _, e := range s.slots {
		all.Or(e.c.bm) // keys ascend, so that this appends a copy of the container
	}
	return append(dst, portable(all)...)
}

// Parse reads what [Set.AppendTo] wrote; no bytes at all are the empty set. It
// keeps nothing of b and takes memory in proportion to its length. An error is
// [ErrCorrupt].
func Parse(b []byte) (Set, error) {
	if len(b) == 0 {
		return Set{}, nil
	}
	all, err := read(b, ChunkSize)
	if err != nil {
		return Set{}, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	var slots []slot
	for next := int64(0); next < 1<<32; {
		o := all.NextValue(uint32(next))
		if o < 0 {
			break
		}
		k := key(uint32(o))
		whole := roaring.New()
		whole.AddRange(uint64(first(k)), uint64(first(k))+ChunkSize)
		slots = append(slots, slot{k, newChunk(roaring.And(all, whole))})
		next = int64(first(k)) + ChunkSize
	}
	return setOf(slots), nil
}

// read decodes one portable bitmap of at most max containers that takes up
// all of b. It keeps nothing of b.
func read(b []byte, max int) (*roaring.Bitmap, error) {
	// The library trusts what it reads, and its own check afterwards takes
	// quadratic time; so everything is checked here, before it sees a byte.
	if err := validate(b, max); err != nil {
		return nil, err
	}
	bm := roaring.New()
	if _, err := bm.ReadFrom(bytes.NewReader(b)); err != nil {
		return nil, err
	}
	return bm, nil
}

// The portable format: a cookie, then (with runs) a bit per container that
// says whether it is one of runs, then key and count less one of each
// container, then its offset (left out below four containers where there are
// runs), then the containers: up to 4,096 sorted values, or 8 KiB of bits, or
// the number of runs and each run's start and length less one. All numbers are
// little-endian.
const (
	cookieNoRuns = 12346
	cookieRuns   = 12347 // in the lower half; the upper is the count less one
	noOffsets    = 4
	arrayMax     = 4096
	bitmapBytes  = ChunkSize / 8
)

var errShort = errors.New("cut short")

// validate checks b from end to end in linear time and without allocating.
func validate(b []byte, max int) error {
	le := binary.LittleEndian
	if len(b) < 4 {
		return errShort
	}
	n, at := 0, 0
	var runs []byte // a bit per container; nil where none is of runs
	switch c := le.Uint32(b); {
	case c == cookieNoRuns:
		if len(b) < 8 {
			return errShort
		}
		if count := le.Uint32(b[4:]); count > uint32(max) {
			return fmt.Errorf("%d containers where at most %d may be", count, max)
		}
		n, at = int(le.Uint32(b[4:])), 8
	case c&0xffff == cookieRuns:
		n, at = int(c>>16)+1, 4
		if n > max {
			return fmt.Errorf("%d containers where at most %d may be", n, max)
		}
		if at+(n+7)/8 > len(b) {
			return errShort
		}
		runs = b[at : at+(n+7)/8]
		at += len(runs)
	default:
		return fmt.Errorf("unknown format %#x", c)
	}
	heads := at
	at += 4 * n
	offsets := 0
	if runs == nil || n >= noOffsets {
		offsets = at
		at += 4 * n
	}
	if at > len(b) {
		return errShort
	}
	for i := range n {
		k, card := le.Uint16(b[heads+4*i:]), int(le.Uint16(b[heads+4*i+2:]))+1
		if i > 0 && le.Uint16(b[heads+4*i-4:]) >= k {
			return fmt.Errorf("container %d is out of order", i)
		}
		if offsets > 0 && int(le.Uint32(b[offsets+4*i:])) != at {
			return fmt.Errorf("container %d has a wrong offset", i)
		}
		var err error
		var size int
		switch {
		case runs != nil && runs[i/8]&(1<<(i%8)) != 0:
			size, err = validateRuns(b[at:], card)
		case card > arrayMax:
			size, err = validateBitmap(b[at:], card)
		default:
			size, err = validateArray(b[at:], card)
		}
		if err != nil {
			return fmt.Errorf("container %d: %w", i, err)
		}
		at += size
	}
	if at != len(b) {
		return fmt.Errorf("%d bytes, of which %d are used", len(b), at)
	}
	return nil
}

func validateRuns(b []byte, card int) (size int, err error) {
	if len(b) < 2 {
		return 0, errShort
	}
	n := int(binary.LittleEndian.Uint16(b))
	size = 2 + 4*n
	if len(b) < size {
		return 0, errShort
	}
	next, sum := 0, 0 // where the next run may start at the earliest
	for i := range n {
		start := int(binary.LittleEndian.Uint16(b[2+4*i:]))
		end := start + int(binary.LittleEndian.Uint16(b[4+4*i:]))
		if start < next || end >= ChunkSize {
			return 0, errors.New("runs overlap, touch or leave the chunk")
		}
		next, sum = end+2, sum+end-start+1
	}
	if sum != card {
		return 0, fmt.Errorf("%d ordinals where %d are announced", sum, card)
	}
	return size, nil
}

func validateBitmap(b []byte, card int) (size int, err error) {
	if len(b) < bitmapBytes {
		return 0, errShort
	}
	sum := 0
	for i := 0; i < bitmapBytes; i += 8 {
		sum += mathbits.OnesCount64(binary.LittleEndian.Uint64(b[i:]))
	}
	if sum != card {
		return 0, fmt.Errorf("%d ordinals where %d are announced", sum, card)
	}
	return bitmapBytes, nil
}

func validateArray(b []byte, card int) (size int, err error) {
	if len(b) < 2*card {
		return 0, errShort
	}
	for i := 2; i < 2*card; i += 2 {
		if binary.LittleEndian.Uint16(b[i-2:]) >= binary.LittleEndian.Uint16(b[i:]) {
			return 0, errors.New("ordinals out of order")
		}
	}
	return 2 * card, nil
}
