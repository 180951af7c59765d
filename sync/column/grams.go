package column

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"slices"
	"sort"
)

// grams tells for texts of three bytes which records may have them. Records
// come in segments of 65,536, so that what changes costs a segment at most.
// It is immutable.
type grams struct {
	segs []*segment
	// loose are the records, ascending, whose text changed after their segment
	// was made: they may have anything.
	loose []uint32
}

const (
	segmentBits = 16
	segmentSize = 1 << segmentBits
	// maxLoose is how many loose records a segment may have before it is made
	// anew, which costs about as much as looking at them a few hundred times.
	maxLoose = 2048
)

// segment is the postings of up to 65,536 records: for each trigram of their
// texts those that have it, ascending, as varints of the gaps. Two zero bytes
// are taken to follow each text, so that shorter terms are what trigrams begin
// with.
type segment struct {
	n     int      // records covered
	keys  []uint32 // trigrams, ascending
	from  []uint32 // where their postings begin; one more at the end
	posts []byte
}

// common is the share of a segment's records beyond which a trigram has no
// postings: it is taken to be everywhere.
const common = 4

func (g *grams) size() int64 {
	n := int64(4 * len(g.loose))
	for _, s := range g.segs {
		n += s.size()
	}
	return n
}

func (s *segment) size() int64 { return int64(4*len(s.keys) + 4*len(s.from) + len(s.posts)) }

// indexed makes the grams of texts.
func indexed(t *texts) *grams {
	g := &grams{}
	var d digest
	for lo := 0; lo < len(t.start); lo += segmentSize {
		g.segs = append(g.segs, d.segment(t, lo, min(lo+segmentSize, len(t.start))))
	}
	return g
}

// moved returns the grams of the column's next version: of n records, those
// given, ascending, having another text.
func (g *grams) moved(t *texts, changed []uint32, n int) *grams {
	out := &grams{segs: slices.Clone(g.segs)}
	loose := make([]uint32, 0, len(g.loose)+len(changed))
	loose = append(append(loose, g.loose...), changed...)
	slices.Sort(loose)
	loose = slices.Compact(loose)
	var d digest
	for lo := 0; lo < n; lo += segmentSize {
		i := lo >> segmentBits
		end, _ := slices.BinarySearch(loose, uint32(lo+segmentSize))
		here := loose[:end]
		loose = loose[end:]
		if i == len(out.segs) {
			out.segs = append(out.segs, &segment{from: []uint32{0}})
		}
		// Records behind those the segment covers are loose without being
		// listed.
		tail := min(n-lo, segmentSize) - out.segs[i].n
		listed, _ := slices.BinarySearch(here, uint32(lo+out.segs[i].n))
		if listed+tail > maxLoose {
			out.segs[i] = d.segment(t, lo, min(lo+segmentSize, n))
			continue
		}
		out.loose = append(out.loose, here[:listed]...)
	}
	return out
}

// digest makes segments; it keeps its working memory from one to the next.
type digest struct {
	table  []uint32 // open addressing: slot + 1, 0 for free
	keys   []uint32 // by slot
	last   []uint32 // by slot: the record seen last, plus 1
	counts []uint32 // by slot
	slots  []uint32 // of the trigrams of all texts, one behind the other
}

// repeat stands in slots for a trigram that the text had before.
const repeat = 1<<32 - 1

// each calls f for each trigram of a text.
func each(x []byte, f func(uint32)) {
	if len(x) == 0 {
		return
	}
	k := uint32(x[0])
	for i := range x {
		k <<= 8
		if i+1 < len(x) {
			k |= uint32(x[i+1])
		}
		if i > 0 {
			f(k & 0xffffff)
		}
	}
	f(k << 8 & 0xffffff)
}

func (d *digest) slot(k uint32) uint32 {
	mask := uint32(len(d.table) - 1)
	for i := k * 2654435761 >> 7 & mask; ; i = (i + 1) & mask {
		s := d.table[i]
		if s == 0 {
			d.keys, d.last, d.counts = append(d.keys, k), append(d.last, 0), append(d.counts, 0)
			d.table[i] = uint32(len(d.keys))
			if 2*len(d.keys) > len(d.table) {
				d.grow()
			}
			return uint32(len(d.keys) - 1)
		}
		if d.keys[s-1] == k {
			return s - 1
		}
	}
}

func (d *digest) grow() {
	d.table = make([]uint32, 2*len(d.table))
	mask := uint32(len(d.table) - 1)
	for s, k := range d.keys {
		i := k * 2654435761 >> 7 & mask
		for d.table[i] != 0 {
			i = (i + 1) & mask
		}
		d.table[i] = uint32(s + 1)
	}
}

// segment indexes the records from lo up to but without hi.
func (d *digest) segment(t *texts, lo, hi int) *segment {
	if d.table == nil {
		d.table = make([]uint32, 1<<14)
	}
	clear(d.table)
	d.keys, d.last, d.counts, d.slots = d.keys[:0], d.last[:0], d.counts[:0], d.slots[:0]
	for l := lo; l < hi; l++ {
		each(t.of(uint32(l)), func(k uint32) {
			s := d.slot(k)
			if d.last[s] == uint32(l+1) {
				s = repeat
			} else {
				d.last[s] = uint32(l + 1)
				d.counts[s]++
			}
			d.slots = append(d.slots, s)
		})
	}
	// Counting sort: all records of a trigram behind each other.
	limit := uint32(hi-lo) / common
	if hi-lo < 64 {
		limit = 64
	}
	at := make([]uint32, len(d.keys))
	total := uint32(0)
	for s, n := range d.counts {
		at[s] = total
		if n <= limit {
			total += n
		}
	}
	ords := make([]uint16, total)
	next := slices.Clone(at)
	i := 0
	for l := lo; l < hi; l++ {
		for range t.of(uint32(l)) {
			if s := d.slots[i]; s != repeat && d.counts[s] <= limit {
				ords[next[s]] = uint16(l - lo)
				next[s]++
			}
			i++
		}
	}
	bySlot := make([]uint32, len(d.keys))
	for s := range bySlot {
		bySlot[s] = uint32(s)
	}
	slices.SortFunc(bySlot, func(a, b uint32) int { return int(d.keys[a]) - int(d.keys[b]) })
	out := &segment{n: hi - lo, keys: make([]uint32, 0, len(bySlot)), from: make([]uint32, 0, len(bySlot)+1)}
	posts := make([]byte, 0, int(total)+int(total)/8)
	for _, s := range bySlot {
		out.keys = append(out.keys, d.keys[s])
		out.from = append(out.from, uint32(len(posts)))
		prev := -1
		for _, o := range ords[at[s]:next[s]] {
			posts = binary.AppendUvarint(posts, uint64(int(o)-prev))
			prev = int(o)
		}
	}
	out.from = append(out.from, uint32(len(posts)))
	out.posts = slices.Clone(posts)
	return out
}

// hits is a set of locals within a segment.
type hits [segmentSize / 64]uint64

func (h *hits) add(i int) { h[i>>6] |= 1 << (i & 63) }

// addRange adds all from lo up to but without hi.
func (h *hits) addRange(lo, hi int) {
	for ; lo < hi && lo&63 != 0; lo++ {
		h.add(lo)
	}
	for ; lo+64 <= hi; lo += 64 {
		h[lo>>6] = ^uint64(0)
	}
	for ; lo < hi; lo++ {
		h.add(lo)
	}
}

// postings calls f for each record of a posting list.
func postings(b []byte, f func(int)) {
	at := -1
	for len(b) > 0 {
		if b[0] < 0x80 {
			at += int(b[0])
			b = b[1:]
		} else {
			gap, n := binary.Uvarint(b)
			at += int(gap)
			b = b[n:]
		}
		f(at)
	}
}

// may adds to h the records of the segment that may have the term, not empty:
// all that have it, and few others. It reports whether it knows nothing of the
// term but that any record may have it; h is then as it was.
func (s *segment) may(term []byte, h *hits) (any bool) {
	if len(term) < 3 {
		return s.begins(term, h)
	}
	// The two shortest lists decide; what is left is looked at anyway.
	var lists [2][]byte
	found := 0
	for i := 0; i+3 <= len(term); i++ {
		k := uint32(term[i])<<16 | uint32(term[i+1])<<8 | uint32(term[i+2])
		j, ok := slices.BinarySearch(s.keys, k)
		if !ok {
			return false
		}
		b := s.posts[s.from[j]:s.from[j+1]]
		switch {
		case len(b) == 0: // everywhere
		case found == 0 || len(b) < len(lists[0]):
			lists[0], lists[1] = b, lists[0]
			found++
		case found == 1 || len(b) < len(lists[1]):
			lists[1] = b
			found++
		}
	}
	switch {
	case found == 0:
		return true
	case found == 1 || len(lists[0]) < 16:
		postings(lists[0], h.add)
	default:
		var first hits
		postings(lists[0], first.add)
		postings(lists[1], func(i int) { h[i>>6] |= first[i>>6] & (1 << (i & 63)) })
	}
	return false
}

// begins is may for terms of one or two bytes.
func (s *segment) begins(term []byte, h *hits) (any bool) {
	k, step := uint32(term[0])<<16, uint32(1<<16)
	if len(term) == 2 {
		k, step = k|uint32(term[1])<<8, 1<<8
	}
	lo, _ := slices.BinarySearch(s.keys, k)
	hi, _ := slices.BinarySearch(s.keys, k+step)
	if lo == hi {
		return false
	}
	if int(s.from[hi]-s.from[lo]) > s.n/common {
		return true
	}
	for j := lo; j < hi; j++ {
		if s.from[j] == s.from[j+1] {
			return true
		}
	}
	for j := lo; j < hi; j++ {
		postings(s.posts[s.from[j]:s.from[j+1]], h.add)
	}
	return false
}

// term is a text that must stand in one of the columns.
type term struct {
	text []byte
	in   []*column
}

func (t *term) holds(l uint32) bool {
	for _, c := range t.in {
		if bytes.Contains(c.texts.of(l), t.text) {
			return true
		}
	}
	return false
}

// candidates returns the locals, of n in all, that may fulfil all terms, as
// sets by segment, nil for a segment without any; and how many they are. The
// count is n, and there are no sets, where the grams say too little.
func candidates(terms []term, n int) (sets []*hits, count int) {
	sets = make([]*hits, (n+segmentSize-1)>>segmentBits)
	for i := range sets {
		lo := i << segmentBits
		size := min(n-lo, segmentSize)
		h := &hits{}
		h.addRange(0, size)
		left := size
		for t := range terms {
			var one hits
			any := false
			for _, c := range terms[t].in {
				if c.grams == nil || i >= len(c.grams.segs) {
					any = true
					break
				}
				s := c.grams.segs[i]
				if any = s.may(terms[t].text, &one); any {
					break
				}
				one.addRange(s.n, size)
				c.grams.addLoose(lo, &one)
			}
			if any {
				continue
			}
			left = 0
			for w := range h {
				h[w] &= one[w]
				left += bits.OnesCount64(h[w])
			}
			if left == 0 {
				break
			}
		}
		if left > 0 {
			sets[i] = h
			count += left
		}
	}
	if count == n {
		return nil, n
	}
	return sets, count
}

// addLoose adds the loose records of the segment that begins at lo.
func (g *grams) addLoose(lo int, h *hits) {
	from := sort.Search(len(g.loose), func(i int) bool { return int(g.loose[i]) >= lo })
	for _, l := range g.loose[from:] {
		if int(l)-lo >= segmentSize {
			return
		}
		h.add(int(l) - lo)
	}
}
