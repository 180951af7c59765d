package rest

import (
	"bytes"
	"container/heap"
	"encoding/binary"
	"math"

	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/internal/mutant"
	"satchel/sync/bits"
	"satchel/sync/column"
	"satchel/sync/project"
	"satchel/sync/scope"
	"satchel/sync/state"
	"satchel/sync/tenant"
)

// hit is a record of a page.
type hit struct {
	ord ident.Ordinal
	key []byte // sort key, then the ordinal
}

// answer computes a page of the list and renders it.
func (q *query) answer(v *tenant.View, visible scope.Sets) ([]byte, error) {
	parts := q.narrow(v.Reader, visible)
	after, err := q.place(v.Reader)
	if err != nil {
		return nil, err
	}
	hits, err := q.hits(v.Reader, parts, after)
	if err != nil {
		return nil, err
	}
	more := len(hits) > q.limit
	hits = hits[:min(len(hits), q.limit)]
	body := []byte(`{"items":[`)
	var p project.Projector
	var rd entity.Reader
	var id ident.RecordID
	for i, h := range hits {
		if i > 0 {
			body = append(body, ',')
		}
		raw := v.Bytes(h.ord)
		if err := rd.Read(raw, false); err != nil {
			return nil, err
		}
		id = ident.RecordID(rd.ID)
		c, _ := parts.Of(h.ord)
		if body, _, err = p.AppendREST(body, raw, id, c.Mask, c.Context); err != nil {
			return nil, err
		}
	}
	body = append(body, ']')
	if more {
		last := hits[len(hits)-1]
		body = append(body, `,"next":"`...)
		body = append(body, q.sealer.seal(encodePlace(id, last.key), q.binding)...)
		body = append(body, '"')
	}
	return append(body, '}'), nil
}

// A cursor is the id of the last record of the page before, 0, and its sort
// key: nothing in it that the page did not show.
func encodePlace(id ident.RecordID, key []byte) []byte {
	b := append([]byte(id), 0)
	return append(b, key[:len(key)-4]...)
}

// place returns the sort key behind which the page begins, nil for the first.
func (q *query) place(rd *state.Reader) ([]byte, error) {
	if q.cursor == "" {
		return nil, nil
	}
	raw, err := q.sealer.open(q.cursor, q.binding)
	if err != nil {
		return nil, err
	}
	id, key, ok := bytes.Cut(raw, []byte{0})
	ord := rd.Ordinal(ident.RecordID(id)) // of a deleted record too
	if !ok || ord == 0 {
		return nil, badCursor()
	}
	return binary.BigEndian.AppendUint32(bytes.Clone(key), ord), nil
}

// narrow takes from the parts what the indexes say can't be in the list. What
// it leaves is judged record by record.
func (q *query) narrow(rd *state.Reader, visible scope.Sets) scope.Sets {
	var out scope.Sets
	for _, p := range visible {
		if p.Context && q.parent == 0 {
			continue
		}
		s := p.Set
		if mutant.On(mutant.SearchForgetsHidden) && len(q.terms) > 0 {
			s = rd.Index(state.TypeKey(q.t.No))
		}
		if q.parent != 0 {
			var under []bits.Set
			for _, f := range q.by {
				if p.Mask.Has(f.No) {
					under = append(under, rd.Index(state.RefKey(q.t.No, f.No, q.parent)))
				}
			}
			s = bits.And(s, bits.OrAll(under...))
		}
		// Who does not see that a record is archived sees it in its place.
		if !q.archived && p.Mask.Has(entity.NoArchived) {
			s = bits.AndNot(s, rd.Index(state.ArchivedKey))
		}
		for i := range q.where {
			s = q.where[i].narrow(rd, q.t, p.Class, s)
		}
		if !s.IsEmpty() {
			out = append(out, scope.Part{Class: p.Class, Set: s})
		}
	}
	return out
}

// narrow returns a set of which every record of s that fulfils the condition
// is a member.
func (c *condition) narrow(rd *state.Reader, t *entity.Type, class scope.Class, s bits.Set) bits.Set {
	f := c.field
	if f.No != noID && f.No != noUpdatedAt && !class.Mask.Has(f.No) {
		// The person sees no value of it in these records.
		if (c.op == opNull && c.null) || c.op == opNe {
			return s
		}
		return bits.Set{}
	}
	if c.op != opEq && c.op != opIn && c.op != opContains {
		return s
	}
	var sets []bits.Set
	for _, v := range c.values {
		switch {
		case f.No == noID:
			sets = append(sets, bits.Of(rd.Ordinal(v.Ref())))
		case !f.Indexed():
			return s
		case f.Kind == entity.Ref || f.Kind == entity.Refs:
			o := rd.Ordinal(v.Ref())
			if o == 0 {
				continue
			}
			sets = append(sets, rd.Index(state.RefKey(t.No, f.No, o)))
		case f.Kind == entity.Enum:
			sets = append(sets, rd.Index(state.ValueKey(t.No, f.No, v.Text())))
		case f.Kind == entity.Bool:
			sets = append(sets, rd.Index(state.ValueKey(t.No, f.No, string(v))))
		default:
			return s
		}
	}
	if c.values == nil {
		return s
	}
	return bits.And(s, bits.OrAll(sets...))
}

// row is what filter, sort and search look at of one record.
type row struct {
	id      []byte
	values  [64]entity.Value // of the fields needed, where the person sees them
	updated entity.Value
	stamp   [26]byte
	folded  []byte // scratch
}

// read fills the row with the needed fields of a record under a mask.
func (r *row) read(rd *entity.Reader, raw []byte, t *entity.Type, mask, need entity.Mask) error {
	if err := rd.Read(raw, false); err != nil {
		return err
	}
	r.id = rd.ID
	for i := range r.values {
		if need.Has(uint8(i)) {
			r.values[i] = nil
		}
	}
	wantUpdated := need.Has(noUpdatedAt)
	var last entity.Stamp
	if mutant.On(mutant.ListReadsMasked) {
		mask = t.All()
	}
	left := need & mask
	for left != 0 || wantUpdated {
		c, ok, err := rd.Next()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		if !mask.Has(c.No) {
			continue
		}
		if s := rd.Stamps[c.Stamp]; wantUpdated && s.Pos >= last.Pos {
			last = s
		}
		if left.Has(c.No) {
			left &^= 1 << c.No
			if len(c.Segment) > 0 {
				r.values[c.No] = entity.Value(c.Segment[len(t.FieldNo(c.No).Name)+3:])
			}
		}
	}
	r.updated = nil
	if wantUpdated && last.Pos > 0 {
		b := append(r.stamp[:0], '"')
		b = last.At.Time().AppendFormat(b, "2006-01-02T15:04:05.000Z")
		r.updated = append(b, '"')
	}
	return nil
}

func (r *row) value(f *entity.Field) entity.Value {
	if f.No == noUpdatedAt {
		return r.updated
	}
	return r.values[f.No]
}

// need is the mask of the fields that the query looks at.
func (q *query) need() entity.Mask {
	m := entity.Mask(0)
	for _, c := range q.where {
		m |= 1 << c.field.No
	}
	for _, s := range q.sorts {
		m |= 1 << s.field.No
	}
	if len(q.terms) > 0 {
		m |= q.searched()
	}
	return m
}

// collect returns the first limit+1 records behind the place, in the list's
// order. Unsorted, that is the order of the ordinals, and it stops there;
// sorted, it looks at all of them and keeps limit+1.
func (q *query) collect(rd *state.Reader, parts scope.Sets, after []byte) []hit {
	hits, _ := q.among(rd, parts, after, math.MaxInt)
	return hits
}

// among is collect for who looks at so many records at most; it reports
// whether those were enough.
func (q *query) among(rd *state.Reader, parts scope.Sets, after []byte, most int) ([]hit, bool) {
	all := parts.All()
	if len(q.sorts) == 0 && after != nil {
		all = bits.AndNot(all, bits.Range(0, binary.BigEndian.Uint32(after)+1))
	}
	var (
		rec     entity.Reader
		r       row
		need    = q.need()
		keep    = page{most: q.limit + 1}
		key     []byte
		current = -1
	)
	class := func(o ident.Ordinal) scope.Class {
		if current < 0 || !parts[current].Set.Contains(o) {
			for i := range parts {
				if parts[i].Set.Contains(o) {
					current = i
					break
				}
			}
		}
		return parts[current].Class
	}
	enough := true
	rd.Each(all, func(o ident.Ordinal, raw []byte) bool {
		if most == 0 {
			enough = false
			return false
		}
		most--
		if need != 0 {
			if err := r.read(&rec, raw, q.t, class(o).Mask, need); err != nil {
				panic(state.ErrDamaged)
			}
			for i := range q.where {
				if !q.where[i].holds(&r) {
					return true
				}
			}
			if len(q.terms) > 0 && !q.found(&r) {
				return true
			}
		}
		key = key[:0]
		for _, s := range q.sorts {
			key = s.append(key, &r)
		}
		key = binary.BigEndian.AppendUint32(key, o)
		if len(q.sorts) == 0 {
			keep.hits = append(keep.hits, hit{o, bytes.Clone(key)})
			return len(keep.hits) < keep.most
		}
		if after == nil || bytes.Compare(key, after) > 0 {
			keep.offer(o, key)
		}
		return true
	})
	if len(q.sorts) > 0 {
		return keep.ordered(), enough
	}
	return keep.hits, enough
}

// append appends the term's part of a sort key. Records without a value come
// last, whichever the direction.
func (s sortTerm) append(key []byte, r *row) []byte {
	if s.field.No == noID {
		key = append(append(append(key, 1), r.id...), 0)
		if s.down {
			invert(key[len(key)-len(r.id)-1:])
		}
		return key
	}
	v := r.value(s.field)
	if v.IsNull() {
		return append(key, 2)
	}
	key = append(key, 1)
	n := len(key)
	key = appendKey(key, s.field, v)
	if s.down {
		invert(key[n:])
	}
	return key
}

func invert(b []byte) {
	for i := range b {
		b[i] = ^b[i]
	}
}

// holds judges a condition against a record.
func (c *condition) holds(r *row) bool {
	if c.field.No == noID {
		match := false
		for _, v := range c.values {
			match = match || string(v[1:len(v)-1]) == string(r.id)
		}
		switch c.op {
		case opNull:
			return !c.null
		case opNe:
			return !match
		}
		return match
	}
	v := r.value(c.field)
	if c.op == opNull {
		return v.IsNull() == c.null
	}
	if v.IsNull() {
		return c.op == opNe
	}
	switch c.op {
	case opEq, opIn:
		return c.equals(v)
	case opNe:
		return !c.equals(v)
	case opContains:
		if c.values == nil {
			r.folded = column.AppendFolded(r.folded[:0], v)
			return bytes.Contains(r.folded, c.text)
		}
		return c.equals(v)
	}
	r.folded = appendKey(r.folded[:0], c.field, v)
	d := bytes.Compare(r.folded, c.key)
	switch c.op {
	case opLt:
		return d < 0
	case opLe:
		return d <= 0
	case opGt:
		return d > 0
	case opGe:
		return d >= 0
	}
	return false
}

// equals reports whether the value is, or a set has, one of the condition's.
func (c *condition) equals(v entity.Value) bool {
	switch c.field.Kind {
	case entity.Refs, entity.Strings:
		for _, one := range v.Set() {
			for _, want := range c.values {
				if one == want.Text() {
					return true
				}
			}
		}
		return false
	case entity.Money:
		for _, want := range c.values {
			if amount(v) == amount(want) {
				return true
			}
		}
		return false
	}
	for _, want := range c.values {
		if bytes.Equal(v, want) {
			return true
		}
	}
	return false
}

// found reports whether each term of q stands in some searched field.
func (q *query) found(r *row) bool {
	// A zero byte, which no text holds, keeps what stands in two fields apart.
	r.folded = r.folded[:0]
	for _, f := range q.t.Fields {
		if f.Search && q.known.Has(f.No) {
			r.folded = append(column.AppendFolded(r.folded, r.values[f.No]), 0)
		}
	}
	for _, term := range q.terms {
		if !bytes.Contains(r.folded, term) {
			return false
		}
	}
	return true
}

// page keeps the records with the lowest keys, at most so many: a heap with
// the highest of them on top.
type page struct {
	most int
	hits []hit
}

func (p *page) Len() int           { return len(p.hits) }
func (p *page) Less(i, j int) bool { return bytes.Compare(p.hits[i].key, p.hits[j].key) > 0 }
func (p *page) Swap(i, j int)      { p.hits[i], p.hits[j] = p.hits[j], p.hits[i] }

// Push and Pop implement heap.Interface.
func (p *page) Push(x any) { p.hits = append(p.hits, x.(hit)) }

// Pop takes the last element.
func (p *page) Pop() any {
	last := p.hits[len(p.hits)-1]
	p.hits = p.hits[:len(p.hits)-1]
	return last
}

// offer keeps a copy of the key if it is among the lowest.
func (p *page) offer(o ident.Ordinal, key []byte) {
	if len(p.hits) < p.most {
		heap.Push(p, hit{o, bytes.Clone(key)})
		return
	}
	if top := &p.hits[0]; bytes.Compare(key, top.key) < 0 {
		top.ord, top.key = o, append(top.key[:0], key...)
		heap.Fix(p, 0)
	}
}

// ordered returns what was kept, lowest first, and ends the page.
func (p *page) ordered() []hit {
	out := make([]hit, len(p.hits))
	for i := len(out) - 1; i >= 0; i-- {
		out[i] = heap.Pop(p).(hit)
	}
	return out
}
