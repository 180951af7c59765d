package column

import (
	"bytes"
	"math/bits"
	"slices"
	"sort"

	"satchel/internal/entity"
	"satchel/internal/ident"
	sets "satchel/sync/bits"
)

// MaxSorts is how many columns a list can be sorted by.
const MaxSorts = 4

// Op is what a Test asks.
type Op uint8

// The operators. A record without a value fulfils NoneOf and Missing alone.
const (
	Below    Op = iota + 1 // Keys[0] is a sort key: the record's comes before it
	AtMost                 // … or is it
	AtLeast                // the record's is it or comes behind it
	Above                  // the record's comes behind it
	OneOf                  // of Words: one of Keys, sort keys; of Exact: one of Keys, values as stored
	NoneOf                 // not so
	Has                    // of Exact sets: one of Keys, texts, is a member
	HasNone                // not so
	Missing                // there is no value
	Existing               // there is one
)

// Test is a condition on a column, which must be of Words, Exact or Presence;
// of Folded for Below to Above.
type Test struct {
	Column ID
	Op     Op
	Keys   [][]byte
}

// Term is a text, folded and not empty, that must stand in one of the columns,
// which are Folded.
type Term struct {
	Text []byte
	In   []ID
}

// Sort is one field of an order. Records without a value come last, whichever
// the direction.
type Sort struct {
	Column ID // of Words or Folded
	Down   bool
	// Hidden: no record has a value, whatever the column says.
	Hidden bool
}

// Place is where a page begins: behind a record with these sort keys and this
// ordinal.
type Place struct {
	Keys [][]byte // one for each Sort, nil for no value
	Ord  ident.Ordinal
}

// Query asks for the first records of a list.
type Query struct {
	// Set are the records in question; none of those changed since may be
	// among them.
	Set   sets.Set
	Tests []Test
	Terms []Term
	// Sort is the order; records with equal values, and without any Sort all,
	// are in the order of their ordinals. Columns must be Ordered where they
	// are Folded; the first should be.
	Sort  []Sort
	After *Place // nil for the beginning
	Limit int
}

// Find returns the first records of the list, at most Limit, in no particular
// order. ok is false where the columns can't tell.
func (v *View) Find(q *Query) (found []ident.Ordinal, ok bool) {
	f := finder{q: q, v: v.v, all: q.Set.Len() == v.v.dir.len()}
	if !f.compile() {
		return nil, false
	}
	if q.Set.IsEmpty() || q.Limit == 0 || f.never {
		return nil, true
	}
	some, count := candidates(f.terms, v.v.dir.len())
	count = min(count, q.Set.Len())
	if len(q.Sort) > 0 && count > v.heaped && f.walk(f.cols[0], count) {
		return f.ordinals(), true
	}
	f.heap = f.heap[:0]
	switch {
	case some != nil && count < q.Set.Len():
		f.each(some)
	case len(q.Sort) == 0:
		f.first()
	default:
		f.scan()
	}
	return f.ordinals(), true
}

// maxHeaped is how many records are looked at one after the other without a
// thought of a shorter way.
const maxHeaped = 4096

// finder answers one query.
type finder struct {
	q     *Query
	v     *version
	all   bool // every record of the directory is in the set
	never bool // no record can fulfil the tests
	tests []func(uint32) bool
	terms []term
	cols  [MaxSorts]*column
	lens  [MaxSorts]lens
	place [MaxSorts]uint64
	after uint32 // the first local behind the place's ordinal
	heap  []found
}

// found is a record with its place in the order.
type found struct {
	w [MaxSorts]uint64
	l uint32
}

// lens shows a column as numbers that compare as the list does.
type lens struct {
	words  []uint64
	rank   []uint32
	down   bool
	hidden bool
}

func (s *lens) at(l uint32) uint64 {
	var w uint64
	switch {
	case s.hidden:
		return null
	case s.words != nil:
		w = s.words[l]
	default:
		r := s.rank[l]
		if r == noRank {
			return null
		}
		w = ranked(int(r), true)
	}
	if s.down && w != null {
		return null - w
	}
	return w
}

// ranked is the number of a rank: even where a record has it, odd for what
// would stand before that record.
func ranked(r int, exact bool) uint64 {
	w := 2*uint64(r) + 1
	if exact {
		w++
	}
	return w
}

// compile prepares tests, terms and order.
func (f *finder) compile() bool {
	for i := range f.q.Tests {
		if !f.test(&f.q.Tests[i]) {
			return false
		}
	}
	for _, t := range f.q.Terms {
		one := term{text: t.Text}
		for _, id := range t.In {
			c := f.v.cols[id]
			if c == nil {
				return false
			}
			one.in = append(one.in, c)
		}
		f.terms = append(f.terms, one)
		f.never = f.never || len(one.in) == 0
	}
	if f.q.After != nil {
		f.after = f.v.dir.behind(f.q.After.Ord)
	}
	for i, s := range f.q.Sort {
		c := f.v.cols[s.Column]
		if c == nil && !s.Hidden || i == MaxSorts {
			return false
		}
		f.cols[i], f.lens[i] = c, lens{down: s.Down, hidden: s.Hidden}
		if !s.Hidden {
			f.lens[i].words = c.words
			if c.isText() {
				if c.order == nil {
					return false
				}
				f.lens[i].rank = c.order.rank
			}
		}
		if f.q.After != nil {
			w, ok := f.placed(c, s, f.q.After.Keys[i])
			if !ok {
				return false
			}
			f.place[i] = w
		}
	}
	return true
}

// placed is the number of a place's key.
func (f *finder) placed(c *column, s Sort, key []byte) (w uint64, ok bool) {
	switch {
	case key == nil:
		return null, true
	case s.Hidden:
		return 0, true // any but null
	case c.isText():
		key = bytes.TrimSuffix(key, zero)
		lo := c.bound(key)
		w = ranked(lo, lo < c.order.valued && bytes.Equal(c.texts.key(c.order.perm[lo]), key))
	default:
		if w, ok = word(c.kind, key); !ok {
			return 0, false
		}
	}
	if s.Down {
		w = null - w
	}
	return w, true
}

// zero ends the sort key of a text.
var zero = []byte{0}

// bound returns where in the order the first text stands that is at least key.
func (c *column) bound(key []byte) int {
	return sort.Search(c.order.valued, func(i int) bool { return bytes.Compare(c.texts.key(c.order.perm[i]), key) >= 0 })
}

// test adds a condition.
func (f *finder) test(t *Test) bool {
	c := f.v.cols[t.Column]
	if c == nil {
		return false
	}
	add := func(holds func(uint32) bool) bool {
		f.tests = append(f.tests, holds)
		return true
	}
	switch t.Op {
	case Missing:
		return add(c.isNull)
	case Existing:
		return add(func(l uint32) bool { return !c.isNull(l) })
	case Below, AtMost, AtLeast, Above:
		if c.isText() {
			return add(c.textRange(t.Op, bytes.TrimSuffix(t.Keys[0], zero)))
		}
		w, ok := word(c.kind, t.Keys[0])
		if !ok {
			return false
		}
		lo, hi := uint64(1), uint64(null-1)
		switch t.Op {
		case Below:
			hi = w - 1
		case AtMost:
			hi = w
		case AtLeast:
			lo = w
		default:
			lo = w + 1
		}
		words := c.words
		return add(func(l uint32) bool { w := words[l]; return w >= lo && w <= hi })
	case OneOf, NoneOf:
		return f.among(c, t, add)
	case Has, HasNone:
		if c.Form != Exact {
			return false
		}
		with := t.Op == Has
		quoted := make([][]byte, len(t.Keys))
		for i, k := range t.Keys {
			quoted[i] = entity.StringValue(string(k))
		}
		return add(func(l uint32) bool { return member(c.texts.of(l), t.Keys, quoted) == with })
	}
	return false
}

// among is test for OneOf and NoneOf.
func (f *finder) among(c *column, t *Test, add func(func(uint32) bool) bool) bool {
	in := t.Op == OneOf
	if c.Form == Exact {
		return add(func(l uint32) bool {
			x := c.texts.of(l)
			for _, k := range t.Keys {
				if bytes.Equal(x, k) {
					return in
				}
			}
			return !in
		})
	}
	if c.isText() {
		return false
	}
	ws := make([]uint64, len(t.Keys))
	for i, k := range t.Keys {
		var ok bool
		if ws[i], ok = word(c.kind, k); !ok {
			return false
		}
	}
	slices.Sort(ws)
	words := c.words
	if len(ws) == 1 {
		return add(func(l uint32) bool { return (words[l] == ws[0]) == in })
	}
	return add(func(l uint32) bool {
		_, found := slices.BinarySearch(ws, words[l])
		return found == in
	})
}

// member reports whether a stored set has one of the texts; quoted are the
// same as they stand in JSON, which is looked for first.
func member(set []byte, texts, quoted [][]byte) bool {
	for i := range quoted {
		if !bytes.Contains(set, quoted[i]) {
			continue
		}
		for _, one := range entity.Value(set).Set() {
			if one == string(texts[i]) {
				return true
			}
		}
	}
	return false
}

// textRange is the comparison of texts with a key.
func (c *column) textRange(op Op, key []byte) func(uint32) bool {
	return func(l uint32) bool {
		if c.isNull(l) {
			return false
		}
		d := bytes.Compare(c.texts.key(l), key)
		switch op {
		case Below:
			return d < 0
		case AtMost:
			return d <= 0
		case AtLeast:
			return d >= 0
		default:
			return d > 0
		}
	}
}

// fits judges a record of the set.
func (f *finder) fits(l uint32) bool {
	for _, holds := range f.tests {
		if !holds(l) {
			return false
		}
	}
	for i := range f.terms {
		if !f.terms[i].holds(l) {
			return false
		}
	}
	return true
}

func (f *finder) member(l uint32) bool { return f.all || f.q.Set.Contains(f.v.dir.ords[l]) }

func (f *finder) full() bool { return len(f.heap) == f.q.Limit }

func (f *finder) ordinals() []ident.Ordinal {
	out := make([]ident.Ordinal, len(f.heap))
	for i := range f.heap {
		out[i] = f.v.dir.ords[f.heap[i].l]
	}
	return out
}

// each looks at the records of the sets.
func (f *finder) each(some []*hits) {
	for i, h := range some {
		if h == nil || len(f.q.Sort) == 0 && i < int(f.after>>segmentBits) {
			continue
		}
		for w, word := range h {
			for ; word != 0; word &= word - 1 {
				l := uint32(i<<segmentBits + w<<6 + bits.TrailingZeros64(word))
				if f.member(l) && f.offer(l) && len(f.q.Sort) == 0 {
					return
				}
			}
		}
	}
}

// first takes records in the order of their ordinals until there are enough.
func (f *finder) first() {
	from := ident.Ordinal(0)
	if f.q.After != nil {
		from = f.q.After.Ord + 1
	}
	for o := range f.q.Set.From(from) {
		if l, ok := f.v.dir.local(o); ok && f.offer(l) {
			return
		}
	}
}

// scan looks at all records of the set.
func (f *finder) scan() {
	if f.all {
		for l := range uint32(f.v.dir.len()) {
			f.offer(l)
		}
		return
	}
	for _, o := range f.q.Set.Slice() {
		if l, ok := f.v.dir.local(o); ok {
			f.offer(l)
		}
	}
}

// offer keeps a record of the set if it fits and is among the first; it
// reports whether there are as many as wanted.
func (f *finder) offer(l uint32) bool {
	n := len(f.q.Sort)
	if n == 0 {
		if l >= f.after && f.fits(l) {
			f.heap = append(f.heap, found{l: l})
		}
		return f.full()
	}
	full := f.full()
	one := found{l: l}
	one.w[0] = f.lens[0].at(l)
	if full && one.w[0] > f.heap[0].w[0] {
		return true
	}
	for i := 1; i < n; i++ {
		one.w[i] = f.lens[i].at(l)
	}
	if full && !less(&one, &f.heap[0], n) || f.q.After != nil && !f.behind(&one) || !f.fits(l) {
		return full
	}
	if !full {
		f.heap = append(f.heap, one)
		for i := len(f.heap) - 1; i > 0; {
			up := (i - 1) / 2
			if !less(&f.heap[up], &f.heap[i], n) {
				break
			}
			f.heap[up], f.heap[i] = f.heap[i], f.heap[up]
			i = up
		}
		return f.full()
	}
	f.heap[0] = one
	for i := 0; ; {
		top, at := i, 2*i+1
		for _, c := range [2]int{at, at + 1} {
			if c < len(f.heap) && less(&f.heap[top], &f.heap[c], n) {
				top = c
			}
		}
		if top == i {
			return true
		}
		f.heap[i], f.heap[top] = f.heap[top], f.heap[i]
		i = top
	}
}

func less(a, b *found, n int) bool {
	for i := range n {
		if a.w[i] != b.w[i] {
			return a.w[i] < b.w[i]
		}
	}
	return a.l < b.l
}

// behind reports whether a record comes behind the place.
func (f *finder) behind(one *found) bool {
	for i := range f.q.Sort {
		if one.w[i] != f.place[i] {
			return one.w[i] > f.place[i]
		}
	}
	return one.l >= f.after
}

// walk takes records in the order of a column until there are enough. It
// reports false where that would take longer than looking at count records one
// after the other, or did.
func (f *finder) walk(c *column, count int) bool {
	if c == nil || c.order == nil || f.lens[0].hidden {
		return false
	}
	// A step of the walk reads here and there, one of the others reads on.
	one := len(f.q.Sort) == 1
	left := count / 4
	if !one { // equal records are read on, as those of the others
		left = 3 * left
	}
	if f.q.Limit*(f.v.dir.len()/count) > left {
		return false
	}
	o := c.order
	// take looks at records that are equal by the column and reports whether to
	// go on behind them. By more than one column the best of them are not known
	// before all were looked at.
	take := func(equal []uint32) bool {
		switch {
		case len(equal) == 0:
		case !one && len(equal) > left:
			left = 0
			return false
		case one && f.q.After != nil && f.lens[0].at(equal[0]) == f.place[0]:
			i, _ := slices.BinarySearch(equal, f.after)
			equal = equal[i:]
		}
		for _, l := range equal {
			if left == 0 {
				return false
			}
			left--
			if !f.member(l) {
				continue
			}
			if !one {
				f.offer(l)
			} else if f.fits(l) {
				if f.heap = append(f.heap, found{l: l}); f.full() {
					return false
				}
			}
		}
		return !f.full()
	}
	more := true
	switch place := f.place[0]; {
	case f.q.After != nil && place == null:
	case f.lens[0].down:
		at := o.valued
		if f.q.After != nil {
			at = c.above(null - place)
		}
		for more && at > 0 {
			from := c.runStart(at - 1)
			more = take(o.perm[from:at])
			at = from
		}
	default:
		at := 0
		if f.q.After != nil {
			at = c.position(place)
		}
		for more && at < o.valued {
			to := c.runStop(at)
			more = take(o.perm[at:to])
			at = to
		}
	}
	if more {
		take(o.perm[o.valued:])
	}
	return left > 0 || f.full()
}

// number is what lens shows of a record with a value, upwards.
func (c *column) number(l uint32) uint64 {
	if c.isText() {
		return ranked(int(c.order.rank[l]), true)
	}
	return c.words[l]
}

// position returns where in the order the first record stands whose number is
// at least w.
func (c *column) position(w uint64) int {
	return sort.Search(c.order.valued, func(i int) bool { return c.number(c.order.perm[i]) >= w })
}

// above returns where in the order the first record stands whose number is
// above w.
func (c *column) above(w uint64) int {
	return sort.Search(c.order.valued, func(i int) bool { return c.number(c.order.perm[i]) > w })
}

// runStart returns where those begin that are equal to the one at i.
func (c *column) runStart(i int) int {
	w := c.number(c.order.perm[i])
	step := 1
	for i-step >= 0 && c.number(c.order.perm[i-step]) == w {
		step *= 2
	}
	lo := max(0, i-step)
	return lo + sort.Search(i-lo, func(j int) bool { return c.number(c.order.perm[lo+j]) == w })
}

// runStop returns where those end that are equal to the one at i.
func (c *column) runStop(i int) int {
	w := c.number(c.order.perm[i])
	step := 1
	for i+step < c.order.valued && c.number(c.order.perm[i+step]) == w {
		step *= 2
	}
	hi := min(c.order.valued, i+step)
	return i + sort.Search(hi-i, func(j int) bool { return c.number(c.order.perm[i+j]) != w })
}
