package column

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"

	"satchel/internal/entity"
	"satchel/internal/ident"
)

// Form is what a column keeps of a field's values.
type Form uint8

// The forms.
const (
	// Words are sort keys as numbers: of kinds whose KeyLength is fixed.
	Words Form = iota + 1
	// Folded is the text, folded; of the pseudo-field id the id as it is.
	Folded
	// Exact is the value as it is stored.
	Exact
	// Presence is whether there is a value, of any kind.
	Presence
)

// ID names a column of a type.
type ID struct {
	Field uint8
	Form  Form
	// Mask, of NoUpdatedAt alone, is the fields whose last write counts.
	Mask entity.Mask
}

// Want is a column and what it has to be able to do.
type Want struct {
	ID
	// Ordered: lists are sorted by it; only of Words and Folded.
	Ordered bool
	// Searched: texts are looked for in it; only of Folded.
	Searched bool
}

// errOdd says that a stored value is none that its form can keep. No value
// that passed validation is.
var errOdd = errors.New("column: a value has no place in a column")

// column is one column of one version. It is immutable. A later version may
// share its slices and have written behind their ends.
type column struct {
	ID
	kind  entity.Kind
	words []uint64 // of Words and Presence, by local
	texts texts    // of Folded and Exact
	order *order   // nil unless wanted
	grams *grams   // nil unless wanted
}

// texts are byte strings by local in one arena; an empty one is null.
type texts struct {
	start, end []uint32
	arena      []byte
	live       int // bytes of the arena in use
}

func (t *texts) of(l uint32) []byte { return t.arena[t.start[l]:t.end[l]] }

// key is what of a text takes part in an order.
func (t *texts) key(l uint32) []byte {
	s, e := t.start[l], t.end[l]
	return t.arena[s:min(e, s+maxKeyText)]
}

func (id ID) isText() bool { return id.Form == Folded || id.Form == Exact }

func (c *column) len() int {
	if c.isText() {
		return len(c.texts.start)
	}
	return len(c.words)
}

func (c *column) isNull(l uint32) bool {
	if c.isText() {
		return c.texts.start[l] == c.texts.end[l]
	}
	return c.words[l] == null
}

// compare orders two records by their values in two versions of the column,
// neither null.
func (c *column) compare(l uint32, d *column, m uint32) int {
	if c.isText() {
		return bytes.Compare(c.texts.key(l), d.texts.key(m))
	}
	switch x, y := c.words[l], d.words[m]; {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}

// size is what the column takes in memory, in bytes.
func (c *column) size() int64 {
	n := 8*int64(len(c.words)) + 8*int64(len(c.texts.start)) + int64(len(c.texts.arena))
	if c.order != nil {
		n += 4 * int64(len(c.order.perm)+len(c.order.rank))
	}
	if c.grams != nil {
		n += c.grams.size()
	}
	return n
}

// row is what columns take from a record.
type row struct {
	rd      entity.Reader
	values  [64]entity.Value
	writes  []write
	scratch []byte
}

type write struct {
	no uint8
	entity.Stamp
}

// needs is the mask of the fields the columns are made of, and whether any is
// made of stamps.
func needs(ids []ID) (m entity.Mask, stamps bool) {
	for _, id := range ids {
		switch id.Field {
		case NoID:
		case NoUpdatedAt:
			stamps = true
		default:
			m |= 1 << id.Field
		}
	}
	return m, stamps
}

// read fills the row with a record.
func (r *row) read(raw []byte, t *entity.Type, need entity.Mask, stamps bool) error {
	if err := r.rd.Read(raw, false); err != nil {
		return err
	}
	for i := range r.values {
		if need.Has(uint8(i)) {
			r.values[i] = nil
		}
	}
	r.writes = r.writes[:0]
	for need != 0 || stamps {
		c, ok, err := r.rd.Next()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		if stamps {
			r.writes = append(r.writes, write{c.No, r.rd.Stamps[c.Stamp]})
		}
		if need.Has(c.No) {
			need &^= 1 << c.No
			if len(c.Segment) > 0 {
				r.values[c.No] = entity.Value(c.Segment[len(t.FieldNo(c.No).Name)+3:])
			}
		}
	}
	return nil
}

// updated is the instant of the last write to the fields of the mask.
func (r *row) updated(m entity.Mask) (at ident.Millis, ok bool) {
	var last entity.Stamp
	for _, w := range r.writes {
		if m.Has(w.no) && w.Pos >= last.Pos {
			last = w.Stamp
		}
	}
	return last.At, last.Pos > 0
}

// updatedAt is the declaration of the pseudo-field.
var updatedAt = &entity.Field{No: NoUpdatedAt, Name: "updatedAt", Kind: entity.Time}

// word returns what the row has for a column of words.
func (r *row) word(id ID, f *entity.Field) (uint64, error) {
	var v entity.Value
	if id.Field == NoUpdatedAt {
		if at, ok := r.updated(id.Mask); ok {
			v = entity.TimeValue(at)
		}
	} else {
		v = r.values[id.Field]
	}
	if v.IsNull() {
		return null, nil
	}
	if id.Form == Presence {
		return 1, nil
	}
	r.scratch = AppendKey(r.scratch[:0], f, v)
	w, ok := word(f.Kind, r.scratch)
	if !ok {
		return 0, errOdd
	}
	return w, nil
}

// text returns what the row has for a column of texts; valid until the next
// call.
func (r *row) text(id ID) ([]byte, error) {
	if id.Field == NoID {
		return r.rd.ID, nil
	}
	v := r.values[id.Field]
	if v.IsNull() || id.Form == Exact {
		return v, nil
	}
	r.scratch = AppendFolded(r.scratch[:0], v)
	if len(r.scratch) == 0 || bytes.IndexByte(r.scratch, 0) >= 0 {
		return nil, errOdd
	}
	return r.scratch, nil
}

// order is a column's records in the order of their values: those with a
// value, equal ones by local, then those without.
type order struct {
	perm   []uint32
	valued int      // how many have a value
	rank   []uint32 // of texts, by local: where the record's equals begin in perm; noRank without a value
}

const noRank = 1<<32 - 1

// sorted makes the order of a column.
func sorted(c *column) *order {
	n := c.len()
	o := &order{perm: make([]uint32, 0, n)}
	if !c.isText() {
		type pair struct {
			w uint64
			l uint32
		}
		pairs := make([]pair, 0, n)
		for l, w := range c.words {
			if w != null {
				pairs = append(pairs, pair{w, uint32(l)})
			}
		}
		slices.SortFunc(pairs, func(a, b pair) int {
			switch {
			case a.w < b.w:
				return -1
			case a.w > b.w:
				return 1
			}
			return int(a.l) - int(b.l)
		})
		for _, p := range pairs {
			o.perm = append(o.perm, p.l)
		}
	} else {
		pieces := make([]piece, 0, n)
		for l := range uint32(n) {
			if !c.isNull(l) {
				pieces = append(pieces, piece{0, l})
			}
		}
		o.rank = make([]uint32, n)
		c.texts.sort(pieces, 0, o)
	}
	o.valued = len(o.perm)
	for l := range uint32(n) {
		if c.isNull(l) {
			o.perm = append(o.perm, l)
			if o.rank != nil {
				o.rank[l] = noRank
			}
		}
	}
	return o
}

// piece is eight bytes of a text, and whose.
type piece struct {
	w uint64
	l uint32
}

// eight returns the bytes of a text's key from a depth on, as a number that
// compares like them. Its last byte is 0 where the text ends: texts have no
// zero byte.
func (t *texts) eight(l uint32, depth int) uint64 {
	k := t.key(l)[depth:]
	if len(k) >= 8 {
		return binary.BigEndian.Uint64(k)
	}
	var b [8]byte
	copy(b[:], k)
	return binary.BigEndian.Uint64(b[:])
}

// sort appends the records of the pieces, which are alike up to the depth, in
// order and notes their ranks. Texts are compared eight bytes at a time, so
// that what many begin with alike is looked at once a record and not once a
// comparison.
func (t *texts) sort(pieces []piece, depth int, o *order) {
	for i := range pieces {
		pieces[i].w = t.eight(pieces[i].l, depth)
	}
	slices.SortFunc(pieces, func(a, b piece) int {
		switch {
		case a.w < b.w:
			return -1
		case a.w > b.w:
			return 1
		}
		return int(a.l) - int(b.l)
	})
	for from := 0; from < len(pieces); {
		to := from + 1
		for to < len(pieces) && pieces[to].w == pieces[from].w {
			to++
		}
		if to-from > 1 && pieces[from].w&0xff != 0 && depth+8 < maxKeyText {
			t.sort(pieces[from:to], depth+8, o)
		} else {
			rank := uint32(len(o.perm))
			for _, p := range pieces[from:to] {
				o.perm = append(o.perm, p.l)
				o.rank[p.l] = rank
			}
		}
		from = to
	}
}

// patch is what changes in a column from one version to the next.
type patch struct {
	locals []uint32 // ascending
	words  []uint64
	ends   []int // of texts in arena, one behind the other
	arena  []byte
}

// note adds the row's value where the column has another.
func (p *patch) note(c *column, f *entity.Field, l uint32, r *row) error {
	known := int(l) < c.len()
	if c.isText() {
		x, err := r.text(c.ID)
		if err != nil {
			return err
		}
		if !known || !bytes.Equal(x, c.texts.of(l)) {
			p.locals = append(p.locals, l)
			p.arena = append(p.arena, x...)
			p.ends = append(p.ends, len(p.arena))
		}
		return nil
	}
	w, err := r.word(c.ID, f)
	if err != nil {
		return err
	}
	if !known || w != c.words[l] {
		p.locals = append(p.locals, l)
		p.words = append(p.words, w)
	}
	return nil
}

// patched returns the column with the patch and n records in all; those that
// are new and not in the patch are null. Only the latest version may be
// patched, and only by one goroutine.
func (c *column) patched(p *patch, n int) *column {
	had := c.len()
	if len(p.locals) == 0 && n == had {
		return c
	}
	out := &column{ID: c.ID, kind: c.kind}
	rewrites := len(p.locals) > 0 && int(p.locals[0]) < had
	if c.isText() {
		t := c.texts
		if rewrites {
			t.start, t.end = slices.Clone(t.start), slices.Clone(t.end)
		}
		for len(t.start) < n {
			t.start, t.end = append(t.start, 0), append(t.end, 0)
		}
		from := 0
		for i, l := range p.locals {
			x := p.arena[from:p.ends[i]]
			from = p.ends[i]
			t.live += len(x) - int(t.end[l]-t.start[l])
			t.start[l] = uint32(len(t.arena))
			t.arena = append(t.arena, x...)
			t.end[l] = uint32(len(t.arena))
		}
		out.texts = t
		if len(t.arena) > 2*t.live+1<<16 {
			out.texts = t.compacted()
		}
	} else {
		out.words = c.words
		if rewrites {
			out.words = slices.Clone(out.words)
		}
		for len(out.words) < n {
			out.words = append(out.words, null)
		}
		for i, l := range p.locals {
			out.words[l] = p.words[i]
		}
	}
	if c.order != nil {
		out.order = c.order.moved(c, out, p.locals, n)
	}
	if c.grams != nil {
		out.grams = c.grams.moved(&out.texts, p.locals, n)
	}
	return out
}

// compacted returns the texts without what the arena has of old ones.
func (t *texts) compacted() texts {
	out := texts{make([]uint32, len(t.start)), make([]uint32, len(t.end)), make([]byte, 0, t.live), t.live}
	for l := range t.start {
		out.start[l] = uint32(len(out.arena))
		out.arena = append(out.arena, t.of(uint32(l))...)
		out.end[l] = uint32(len(out.arena))
	}
	return out
}

// moved returns the order of a column's next version: of n records, of which
// the given ones, ascending, have another value or are new, as are all beyond
// those the order has.
func (o *order) moved(was, is *column, changed []uint32, n int) *order {
	had := len(o.perm)
	gone := make([]uint64, n/64+1)
	var valued, nulls []uint32
	add := func(l uint32) {
		gone[l>>6] |= 1 << (l & 63)
		if is.isNull(l) {
			nulls = append(nulls, l)
		} else {
			valued = append(valued, l)
		}
	}
	for _, l := range changed {
		if int(l) < had {
			add(l)
		}
	}
	for l := had; l < n; l++ {
		add(uint32(l))
	}
	slices.SortFunc(valued, func(a, b uint32) int {
		if d := is.compare(a, is, b); d != 0 {
			return d
		}
		return int(a) - int(b)
	})
	out := &order{perm: make([]uint32, 0, n)}
	if o.rank != nil {
		out.rank = make([]uint32, n)
	}
	// Records keep company with those they were equal to; only where one moved
	// in or out are texts compared.
	last, lastKept, group := uint32(0), false, uint32(0)
	put := func(l uint32, kept bool) {
		if o.rank != nil {
			same := len(out.perm) > 0
			if same && kept && lastKept {
				same = o.rank[l] == o.rank[last]
			} else if same {
				same = is.compare(l, is, last) == 0
			}
			if !same {
				group = uint32(len(out.perm))
			}
			out.rank[l] = group
			last, lastKept = l, kept
		}
		out.perm = append(out.perm, l)
	}
	at := 0
	keep := func(to int) {
		for ; at < to; at++ {
			if l := o.perm[at]; gone[l>>6]&(1<<(l&63)) == 0 {
				put(l, true)
			}
		}
	}
	for _, l := range valued {
		lo, hi := at, o.valued
		for lo < hi {
			mid := int(uint(lo+hi) >> 1)
			d := was.compare(o.perm[mid], is, l)
			if d < 0 || d == 0 && o.perm[mid] < l {
				lo = mid + 1
			} else {
				hi = mid
			}
		}
		keep(lo)
		put(l, false)
	}
	keep(o.valued)
	out.valued = len(out.perm)
	for i := o.valued; i < had; i++ {
		l := o.perm[i]
		for len(nulls) > 0 && nulls[0] < l {
			out.perm = append(out.perm, nulls[0])
			nulls = nulls[1:]
		}
		if gone[l>>6]&(1<<(l&63)) == 0 {
			out.perm = append(out.perm, l)
		}
	}
	out.perm = append(out.perm, nulls...)
	if out.rank != nil {
		for _, l := range out.perm[out.valued:] {
			out.rank[l] = noRank
		}
	}
	return out
}
