package rest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"

	"satchel/internal/entity"
	"satchel/internal/policy"
	"satchel/server/edge"
	"satchel/sync/bits"
	"satchel/sync/column"
	"satchel/sync/scope"
	"satchel/sync/state"
	"satchel/sync/tenant"
)

// defaultReadBelow is how many records are read for a list rather than looked
// up in columns: a few milliseconds' worth.
const defaultReadBelow = 2000

// lookup is how a list uses the tenant's columns.
type lookup struct {
	store *column.Store // nil: records are read
	least int
	// settled: columns that are missing are not waited for.
	settled bool
	// wants are those the list would use.
	wants []column.Want
}

// errColumns says that the list waits for columns to be built.
var errColumns = errors.New("rest: columns are missing")

// page answers a list. Where it wants columns that are not there they are
// built, with no state held open, and the list is asked for again.
func (s *Server) page(caller *edge.Caller, t *entity.Type, ask func(*tenant.View, *policy.Subject) (*query, error)) ([]byte, error) {
	var body []byte
	for settled := false; ; settled = true {
		var q *query
		err := caller.Read(func(v *tenant.View, sub *policy.Subject) (err error) {
			if q, err = ask(v, sub); err != nil {
				return err
			}
			if s.least >= 0 {
				q.lookup = lookup{store: caller.Tenant.Columns(), least: s.least, settled: settled}
			}
			body, err = q.answer(v, s.visible.of(caller.Tenant, v, sub, t))
			return err
		})
		if !errors.Is(err, errColumns) {
			return body, err
		}
		if err := caller.Tenant.Columns().Build(t, q.lookup.wants); err != nil {
			return nil, err
		}
	}
}

// hits returns the first limit+1 records behind the place, in the list's
// order. What columns find is judged again by the records themselves, with
// those that the columns know nothing of: columns make a list faster, they
// can't show what it must not.
func (q *query) hits(rd *state.Reader, parts scope.Sets, after []byte) ([]hit, error) {
	if q.lookup.store == nil || parts.Len() < q.lookup.least {
		return q.collect(rd, parts, after), nil
	}
	shorts, useful := q.shorten(rd, parts, after)
	if !useful {
		return q.collect(rd, parts, after), nil
	}
	view, build := q.lookup.store.At(rd, q.t, q.lookup.wants)
	if view == nil {
		if build && !q.lookup.settled {
			if len(q.sorts) == 0 {
				if hits, enough := q.among(rd, parts, after, q.lookup.least); enough {
					return hits, nil
				}
			}
			return nil, errColumns
		}
		return q.collect(rd, parts, after), nil
	}
	var few scope.Sets
	sure := 0
	for _, s := range shorts {
		left := bits.And(s.part.Set, view.Changed())
		if !s.empty {
			s.query.Set = bits.AndNot(s.query.Set, view.Changed())
			found, ok := view.Find(&s.query)
			if !ok {
				return q.collect(rd, parts, after), nil
			}
			sure += len(found)
			left = bits.Or(left, bits.Of(found...))
		}
		if !left.IsEmpty() {
			few = append(few, scope.Part{Class: s.part.Class, Set: left})
		}
	}
	hits := q.collect(rd, few, after)
	if len(hits) < min(sure, q.limit+1) {
		// A record was found that is not in the list: never, unless columns are
		// wrong. The list must not be.
		q.lookup.store.Distrust(q.t)
		return q.collect(rd, parts, after), nil
	}
	return hits, nil
}

// short is what columns are asked about one part of a list.
type short struct {
	part  scope.Part
	query column.Query
	empty bool // no record of the part can be in the list
}

// shorten makes the questions to columns, and says in q.lookup.wants what
// they take; useful is false where a list is as fast without.
func (q *query) shorten(rd *state.Reader, parts scope.Sets, after []byte) (out []short, useful bool) {
	place, ok := q.decode(after)
	if !ok {
		return nil, false
	}
	q.lookup.wants = nil
	useful = len(q.sorts) > 0
	for _, p := range parts {
		s := short{part: p, query: column.Query{Set: p.Set, After: place, Limit: q.limit + 1}}
		for i, t := range q.sorts {
			s.query.Sort = append(s.query.Sort, q.order(t, p.Mask, i == 0))
		}
		for i := range q.where {
			if !q.where[i].ask(q, rd, &s) {
				return nil, false
			}
		}
		if len(q.terms) > 0 {
			in := q.searched() & p.Mask
			s.empty = s.empty || in == 0
			var ids []column.ID
			for _, f := range q.t.Fields {
				if in.Has(f.No) {
					ids = append(ids, q.want(column.Want{ID: column.ID{Field: f.No, Form: column.Folded}, Searched: true}))
				}
			}
			for _, term := range q.terms {
				s.query.Terms = append(s.query.Terms, column.Term{Text: term, In: ids})
			}
		}
		useful = useful || len(s.query.Tests) > 0 || len(s.query.Terms) > 0
		out = append(out, s)
	}
	return out, useful
}

// want notes that a column is wanted.
func (q *query) want(w column.Want) column.ID {
	ws := &q.lookup.wants
	if i := slices.IndexFunc(*ws, func(o column.Want) bool { return o.ID == w.ID }); i >= 0 {
		(*ws)[i].Ordered = (*ws)[i].Ordered || w.Ordered
		(*ws)[i].Searched = (*ws)[i].Searched || w.Searched
	} else {
		*ws = append(*ws, w)
	}
	return w.ID
}

// hasWords reports whether the values of a field make a column of words.
func hasWords(f *entity.Field) bool { return column.KeyLength(f.Kind) > 0 }

// words is the column of words of a field as a class sees it.
func (q *query) words(f *entity.Field, mask entity.Mask, ordered bool) column.ID {
	id := column.ID{Field: f.No, Form: column.Words}
	if f.No == noUpdatedAt {
		id.Mask = mask & q.t.All()
	}
	return q.want(column.Want{ID: id, Ordered: ordered})
}

// order is a term of the order, the first or another, as a class sees it.
func (q *query) order(t sortTerm, mask entity.Mask, first bool) column.Sort {
	f := t.field
	switch {
	case f.No == noID:
		return column.Sort{Column: q.want(column.Want{ID: column.ID{Field: noID, Form: column.Folded}, Ordered: true}), Down: t.down}
	case f.No != noUpdatedAt && !mask.Has(f.No):
		return column.Sort{Hidden: true, Down: t.down}
	case hasWords(f):
		return column.Sort{Column: q.words(f, mask, first), Down: t.down}
	}
	return column.Sort{Column: q.want(column.Want{ID: column.ID{Field: f.No, Form: column.Folded}, Ordered: true}), Down: t.down}
}

// ask adds the condition to the question about a part, unless narrow has
// decided it; false where columns can't be asked.
func (c *condition) ask(q *query, rd *state.Reader, s *short) bool {
	f, mask := c.field, s.part.Mask
	without := func(set bits.Set) { s.query.Set = bits.AndNot(s.query.Set, set) }
	test := func(id column.ID, op column.Op, keys ...[]byte) {
		s.query.Tests = append(s.query.Tests, column.Test{Column: id, Op: op, Keys: keys})
	}
	exact := func(form column.Form) column.ID {
		return q.want(column.Want{ID: column.ID{Field: f.No, Form: form}})
	}
	either := func(yes, no column.Op) column.Op {
		if c.op == opNe {
			return no
		}
		return yes
	}
	indexed := f.Indexed() && (f.Kind == entity.Ref || f.Kind == entity.Refs)
	switch {
	case f.No != noID && f.No != noUpdatedAt && !mask.Has(f.No): // narrow has decided it
	case f.No == noID && c.op == opNull:
		s.empty = s.empty || c.null
	case f.No == noID || indexed && c.op != opNull:
		if c.op == opNe {
			without(c.named(q, rd))
		}
	case c.op == opNull:
		op := column.Existing
		if c.null {
			op = column.Missing
		}
		if hasWords(f) {
			test(q.words(f, mask, false), op)
		} else {
			test(exact(column.Presence), op)
		}
	case f.Kind == entity.Enum && (c.op == opEq || c.op == opIn): // narrow has decided it
	case c.op == opLt || c.op == opLe || c.op == opGt || c.op == opGe:
		op := map[op]column.Op{opLt: column.Below, opLe: column.AtMost, opGt: column.Above, opGe: column.AtLeast}[c.op]
		if hasWords(f) {
			test(q.words(f, mask, false), op, c.key)
		} else {
			test(exact(column.Folded), op, c.key)
		}
	case c.op == opContains && c.values == nil:
		id := q.want(column.Want{ID: column.ID{Field: f.No, Form: column.Folded}, Searched: true})
		s.query.Terms = append(s.query.Terms, column.Term{Text: c.text, In: []column.ID{id}})
	case hasWords(f):
		test(q.words(f, mask, false), either(column.OneOf, column.NoneOf), c.keys(func(v entity.Value) []byte { return appendKey(nil, f, v) })...)
	case f.Kind == entity.Refs || f.Kind == entity.Strings:
		test(exact(column.Exact), either(column.Has, column.HasNone), c.keys(func(v entity.Value) []byte { return []byte(v.Text()) })...)
	case f.Kind == entity.String || f.Kind == entity.Text || f.Kind == entity.Ref:
		test(exact(column.Exact), either(column.OneOf, column.NoneOf), c.keys(func(v entity.Value) []byte { return v })...)
	default:
		return false
	}
	return true
}

// keys are the condition's values; that of nothing no record has.
func (c *condition) keys(key func(entity.Value) []byte) [][]byte {
	var out [][]byte
	for _, v := range c.values {
		if !v.IsNull() {
			out = append(out, key(v))
		}
	}
	return out
}

// named is the set of records that the condition's ids are of or, of a field,
// that refer to them.
func (c *condition) named(q *query, rd *state.Reader) bits.Set {
	var sets []bits.Set
	for _, v := range c.values {
		o := rd.Ordinal(v.Ref())
		switch {
		case o == 0:
		case c.field.No == noID:
			sets = append(sets, bits.Of(o))
		default:
			sets = append(sets, rd.Index(state.RefKey(q.t.No, c.field.No, o)))
		}
	}
	return bits.OrAll(sets...)
}

// decode takes apart the sort key behind which a page begins, nil for the
// first page.
func (q *query) decode(after []byte) (p *column.Place, ok bool) {
	if after == nil {
		return nil, true
	}
	p = &column.Place{}
	rest := after
	for _, t := range q.sorts {
		if len(rest) == 0 {
			return nil, false
		}
		tag := rest[0]
		rest = rest[1:]
		if tag == 2 {
			p.Keys = append(p.Keys, nil)
			continue
		}
		n := column.KeyLength(t.field.Kind)
		if n == 0 {
			end := byte(0)
			if t.down {
				end = ^end
			}
			n = bytes.IndexByte(rest, end) + 1
		}
		if tag != 1 || n == 0 || n > len(rest) {
			return nil, false
		}
		key := bytes.Clone(rest[:n])
		if t.down {
			invert(key)
		}
		p.Keys = append(p.Keys, key)
		rest = rest[n:]
	}
	if len(rest) != 4 {
		return nil, false
	}
	p.Ord = binary.BigEndian.Uint32(rest)
	return p, true
}
