package column

import (
	"cmp"
	"errors"
	"maps"
	"math"
	"slices"
	"sync"

	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/sync/bits"
	"satchel/sync/state"
)

// Store has the columns of one tenant. Its methods may be called by many
// goroutines.
type Store struct {
	budget *Budget
	// read gives a function the latest committed state.
	read   func(func(*state.Reader) error) error
	behind int // maxChanged
	heaped int // maxHeaped

	mu     sync.Mutex
	closed bool
	tables map[uint16]*table
}

// New makes the store of a tenant, empty. read calls a function with the
// tenant's latest committed state, as often as asked; columns are built from
// it in pieces, so that no state is held open for long.
func New(b *Budget, read func(func(*state.Reader) error) error) *Store {
	return &Store{budget: b, read: read, behind: maxChanged, heaped: maxHeaped, tables: map[uint16]*table{}}
}

// Close lets go of all columns, and no more are kept.
func (s *Store) Close() {
	s.mu.Lock()
	s.closed = true
	tables := slices.Collect(maps.Values(s.tables))
	s.mu.Unlock()
	for _, t := range tables {
		func() {
			t.grow.Lock()
			defer t.grow.Unlock()
			t.clear()
		}()
	}
}

func (s *Store) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// Distrust lets go of a type's columns, which told something that is not so.
func (s *Store) Distrust(t *entity.Type) {
	tb := s.table(t)
	tb.grow.Lock()
	defer tb.grow.Unlock()
	tb.clear()
	s.budget.count(func(s *Stats) { s.Mistaken++ })
}

// Budget returns the budget the columns are held in.
func (s *Store) Budget() *Budget { return s.budget }

func (s *Store) table(t *entity.Type) *table {
	s.mu.Lock()
	defer s.mu.Unlock()
	tb := s.tables[t.No]
	if tb == nil {
		tb = &table{s: s, t: t, refused: map[ID]int64{}}
		s.tables[t.No] = tb
	}
	return tb
}

// table is the columns of one type, in the latest version and the one before.
// Locks are taken in the order build, grow, mu; the budget's is the innermost.
type table struct {
	s *Store
	t *entity.Type

	build sync.Mutex // held while columns are built
	grow  sync.Mutex // held while a version is made and put in place

	mu      sync.Mutex // guards what follows
	latest  *version
	earlier *version
	refused map[ID]int64 // columns that did not fit, and the room they want
}

// version is the columns as of one position. It is immutable. Values are those
// of the records as they stood then, null for records that were gone.
type version struct {
	pos  ident.Position
	dir  *directory
	cols map[ID]*column
	// line is the same for all versions of which one grew out of the other.
	line *byte
}

// has reports whether the version has all that is wanted.
func (v *version) has(wants []Want) bool {
	for _, w := range wants {
		if !v.cols[w.ID].can(w) {
			return false
		}
	}
	return true
}

func (c *column) can(w Want) bool {
	return c != nil && (!w.Ordered || c.order != nil) && (!w.Searched || c.grams != nil)
}

// maxChanged is how many rows of the change index a version may lie behind
// before a newer one is made: what changed since is read record by record,
// about a microsecond each, while a new version copies the columns that
// changed.
const maxChanged = 1000

// maxBehind is the same for who can't have a newer version, because it is
// newer than the state that is read.
const maxBehind = 10 * maxChanged

// View is the columns of a type as one state sees them.
type View struct {
	v       *version
	changed bits.Set
	heaped  int
}

// Changed returns the records that the columns know nothing of in this state,
// of any type: those changed or new since.
func (v *View) Changed() bits.Set { return v.changed }

// At returns the wanted columns for a state, nil where there are none. build
// says whether to call Build and come back with a state read after it.
func (s *Store) At(rd *state.Reader, t *entity.Type, wants []Want) (view *View, build bool) {
	tb := s.table(t)
	v := tb.before(rd.Position())
	if v == nil || !v.has(wants) {
		return nil, tb.admits(wants)
	}
	changed, all := since(rd, v.pos, s.behind)
	if !all {
		if newer := tb.advance(rd); newer != nil {
			v = newer
		}
		if changed, all = since(rd, v.pos, maxBehind); !all || !v.has(wants) {
			return nil, false
		}
	}
	ids := make([]ID, len(wants))
	for i, w := range wants {
		ids[i] = w.ID
	}
	s.budget.use(tb, ids)
	return &View{v, changed, s.heaped}, false
}

// since returns the records changed after a position, perhaps with some that
// were not, and whether those are all or there are more than so many.
func since(rd *state.Reader, pos ident.Position, most int) (bits.Set, bool) {
	var b bits.Builder
	n := 0
	rd.Changed(pos, func(o ident.Ordinal, _ uint16) bool {
		b.Add(o)
		n++
		return n <= most
	})
	return b.Set(), n <= most
}

// before returns the newest version that is not newer than a position.
func (t *table) before(pos ident.Position) *version {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, v := range []*version{t.latest, t.earlier} {
		if v != nil && v.pos <= pos {
			return v
		}
	}
	return nil
}

// admits reports whether building what is wanted may be tried.
func (t *table) admits(wants []Want) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, w := range wants {
		if n, ok := t.refused[w.ID]; ok && !t.s.budget.room(n) {
			return false
		}
	}
	return t.s.budget.limit > 0
}

// place puts a version in place of the latest; the caller holds grow.
func (t *table) place(v *version) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.earlier, t.latest = t.latest, v
}

// clear lets go of everything; the caller holds grow.
func (t *table) clear() {
	t.mu.Lock()
	v := t.latest
	t.latest, t.earlier = nil, nil
	t.mu.Unlock()
	if v != nil {
		t.s.budget.release(t, append(slices.Collect(maps.Keys(v.cols)), ID{})...)
	}
}

// without takes columns out of the latest version; the caller holds grow.
func (t *table) without(ids ...ID) {
	t.mu.Lock()
	v := t.latest
	if v != nil {
		left := maps.Clone(v.cols)
		for _, id := range ids {
			delete(left, id)
		}
		t.latest = &version{v.pos, v.dir, left, v.line}
		t.earlier = nil // it would keep the memory
		if len(left) == 0 {
			t.latest = nil
		}
		v = t.latest
	}
	t.mu.Unlock()
	t.s.budget.release(t, ids...)
	if v == nil {
		t.s.budget.release(t, ID{})
	}
}

// settle drops the columns that have to make room. The caller holds no lock.
func settle(out []holder) {
	for _, h := range out {
		h.t.grow.Lock()
		if h.id == (ID{}) {
			h.t.clear()
		} else {
			h.t.without(h.id)
		}
		h.t.grow.Unlock()
	}
}

// refuse remembers that a column wants more room than there is.
func (t *table) refuse(id ID, room int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.refused[id] = room
}

// advance brings the columns to the state and returns that version, nil where
// there is none; one that is newer already stays.
func (t *table) advance(rd *state.Reader) *version {
	v, out := t.advanced(rd)
	settle(out)
	return v
}

func (t *table) advanced(rd *state.Reader) (*version, []holder) {
	t.grow.Lock()
	defer t.grow.Unlock()
	t.mu.Lock()
	v := t.latest
	t.mu.Unlock()
	pos := rd.Position()
	if v == nil || v.pos >= pos {
		return t.before(pos), nil
	}
	live := rd.Index(state.TypeKey(t.t.No))
	if v.dir.len() > 2*live.Len()+4096 {
		t.clear() // mostly of records that are gone
		return nil, nil
	}
	next, odd := t.next(v, v.dir, rd, live)
	if next == nil {
		t.clear()
		return nil, nil
	}
	t.place(next)
	t.s.budget.count(func(s *Stats) { s.Advanced++ })
	if len(odd) > 0 {
		t.without(odd...)
		for _, id := range odd {
			t.refuse(id, math.MaxInt64)
		}
		next = t.before(pos)
	}
	return next, t.s.budget.resize(t, next.sizes())
}

func (v *version) sizes() map[ID]int64 {
	out := map[ID]int64{}
	if v != nil {
		for id, c := range v.cols {
			out[id] = c.size()
		}
		out[ID{}] = v.dir.size()
	}
	return out
}

// next makes the version of a state out of an earlier one; dir is the latest
// directory of its line. It returns nil where the two don't fit together, and
// the columns that it had to leave as they were.
func (t *table) next(v *version, dir *directory, rd *state.Reader, live bits.Set) (*version, []ID) {
	var ords []ident.Ordinal
	rd.Changed(v.pos, func(o ident.Ordinal, _ uint16) bool {
		if live.Contains(o) {
			ords = append(ords, o)
		}
		return true
	})
	slices.Sort(ords)
	ords = slices.Compact(ords)
	known, _ := slices.BinarySearch(ords, dir.last()+1)
	for _, o := range ords[:known] {
		if _, ok := dir.local(o); !ok {
			return nil, nil
		}
	}
	dir = dir.extend(ords[known:])
	ids := slices.Collect(maps.Keys(v.cols))
	patches := make([]patch, len(ids))
	fields := make([]*entity.Field, len(ids))
	for i, id := range ids {
		fields[i] = t.field(id)
	}
	failed := map[ID]bool{}
	var r row
	need, stamps := needs(ids)
	rd.Each(bits.Of(ords...), func(o ident.Ordinal, raw []byte) bool {
		l, _ := dir.local(o)
		if err := r.read(raw, t.t, need, stamps); err != nil {
			panic(state.ErrDamaged)
		}
		for i, id := range ids {
			if !failed[id] && patches[i].note(v.cols[id], fields[i], l, &r) != nil {
				failed[id] = true
			}
		}
		return true
	})
	out := &version{rd.Position(), dir, map[ID]*column{}, v.line}
	var odd []ID
	for i, id := range ids {
		c := v.cols[id]
		if !failed[id] {
			c = c.patched(&patches[i], dir.len())
		}
		if failed[id] || c.texts.live > maxArena {
			odd = append(odd, id)
			continue
		}
		out.cols[id] = c
	}
	return out, odd
}

// maxArena bounds the text of a column, in bytes: offsets have 32 bits, and
// the arena may be twice as long.
const maxArena = 1 << 30

// last returns the highest ordinal, 0 for none.
func (d *directory) last() ident.Ordinal {
	if len(d.ords) == 0 {
		return 0
	}
	return d.ords[len(d.ords)-1]
}

func (t *table) field(id ID) *entity.Field {
	switch id.Field {
	case NoID:
		return nil
	case NoUpdatedAt:
		return updatedAt
	}
	return t.t.FieldNo(id.Field)
}

// sliceRecords is how many records are read from one state while columns are
// built: some 50 ms worth.
const sliceRecords = 1 << 15

// errGone says that the columns that others were to be added to are gone.
var errGone = errors.New("column: dropped meanwhile")

// Build makes the wanted columns that are missing. Whoever wants the same at
// the same time waits for the one who builds. What does not fit the budget is
// not kept, which At then tells; an error is one of reading the state.
func (s *Store) Build(t *entity.Type, wants []Want) error {
	tb := s.table(t)
	tb.build.Lock()
	defer tb.build.Unlock()
	for range 3 {
		out, err := tb.add(wants)
		settle(out)
		if !errors.Is(err, errGone) {
			return err
		}
	}
	return nil // somebody is short of memory: lists are read record by record
}

// add builds what is missing; the caller holds build.
func (t *table) add(wants []Want) ([]holder, error) {
	if !t.admits(wants) {
		return nil, nil
	}
	t.s.budget.turns <- struct{}{}
	defer func() { <-t.s.budget.turns }()
	t.mu.Lock()
	from := t.latest
	t.mu.Unlock()
	began := t.s.budget.clock()
	base, err := t.base(from)
	if err != nil {
		return nil, err
	}
	// What can do more than before takes the place of what could do less.
	lacking := map[ID]Want{}
	for _, w := range wants {
		if from != nil && from.cols[w.ID].can(w) {
			continue
		}
		l := lacking[w.ID]
		l.ID, l.Ordered, l.Searched = w.ID, l.Ordered || w.Ordered, l.Searched || w.Searched
		if from != nil && from.cols[w.ID] != nil {
			l.Ordered = l.Ordered || from.cols[w.ID].order != nil
			l.Searched = l.Searched || from.cols[w.ID].grams != nil
		}
		lacking[w.ID] = l
	}
	if len(lacking) == 0 {
		return nil, nil
	}
	if err := t.pass(base, slices.SortedFunc(maps.Keys(lacking), compareIDs), from); err != nil {
		return nil, err
	}
	for id, c := range base.cols {
		if lacking[id].Ordered && c.order == nil {
			c.order = sorted(c)
		}
		if lacking[id].Searched && c.grams == nil {
			c.grams = indexed(&c.texts)
		}
	}
	out, err := t.join(from, base)
	t.s.budget.count(func(s *Stats) { s.Building += t.s.budget.clock().Sub(began) })
	return out, err
}

// charge accounts for columns that are put in place and returns those that
// have to go, which may be the same.
func (t *table) charge(sizes map[ID]int64) (out []holder) {
	room := int64(0)
	for _, n := range sizes {
		room += n
	}
	for _, id := range slices.SortedFunc(maps.Keys(sizes), compareIDs) {
		more, ok := t.s.budget.hold(t, id, sizes[id])
		out = append(out, more...)
		if !ok {
			// None of them is of use without the others.
			for id := range sizes {
				t.refuse(id, room)
				out = append(out, holder{t, id})
			}
			return out
		}
	}
	return out
}

func compareIDs(a, b ID) int {
	return cmp.Or(cmp.Compare(a.Field, b.Field), cmp.Compare(a.Form, b.Form), cmp.Compare(a.Mask, b.Mask))
}

// base is an empty version for the columns to be built, of the records that
// the version has or, for nil, of those that there are.
func (t *table) base(from *version) (*version, error) {
	if from != nil {
		return &version{from.pos, from.dir, map[ID]*column{}, from.line}, nil
	}
	v := &version{dir: &directory{}, cols: map[ID]*column{}, line: new(byte)}
	return v, t.s.read(func(rd *state.Reader) error {
		v.pos = rd.Position()
		v.dir = v.dir.extend(rd.Index(state.TypeKey(t.t.No)).Slice())
		return nil
	})
}

// pass fills the columns in one reading of the type's records. Columns that
// another version has are taken from it; it can do less with them.
func (t *table) pass(v *version, ids []ID, from *version) error {
	n := v.dir.len()
	var cols []*column
	var fields []*entity.Field
	var missing []ID
	for _, id := range ids {
		if from != nil && from.cols[id] != nil {
			// Both lines go on from here, so neither may write behind the ends
			// of what they share.
			c := *from.cols[id]
			c.words, c.texts.arena = slices.Clip(c.words), slices.Clip(c.texts.arena)
			c.texts.start, c.texts.end = slices.Clip(c.texts.start), slices.Clip(c.texts.end)
			v.cols[id] = &c
			continue
		}
		c := &column{ID: id}
		if f := t.field(id); f != nil {
			c.kind = f.Kind
		}
		if id.isText() {
			c.texts.start, c.texts.end = make([]uint32, n), make([]uint32, n)
		} else {
			c.words = make([]uint64, n)
			for i := range c.words {
				c.words[i] = null
			}
		}
		v.cols[id] = c
		cols, fields, missing = append(cols, c), append(fields, t.field(id)), append(missing, id)
	}
	if len(missing) == 0 {
		return nil
	}
	need, stamps := needs(missing)
	var r row
	for lo := 0; lo < n; lo += sliceRecords {
		hi := min(lo+sliceRecords, n)
		err := t.s.read(func(rd *state.Reader) error {
			var err error
			some := bits.And(rd.Index(state.TypeKey(t.t.No)), bits.Range(v.dir.ords[lo], v.dir.ords[hi-1]+1))
			rd.Each(some, func(o ident.Ordinal, raw []byte) bool {
				l, ok := v.dir.local(o)
				if !ok {
					return true
				}
				if err = r.read(raw, t.t, need, stamps); err != nil {
					return false
				}
				for i, c := range cols {
					if c != nil && !c.set(l, fields[i], &r, t.s.budget.limit) {
						delete(v.cols, c.ID)
						t.refuse(c.ID, math.MaxInt64)
						cols[i] = nil
					}
				}
				return true
			})
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// set fills in a record's value; it reports false where the column can't have
// it, or has become larger than there can be room for.
func (c *column) set(l uint32, f *entity.Field, r *row, limit int64) bool {
	if !c.isText() {
		w, err := r.word(c.ID, f)
		c.words[l] = w
		return err == nil
	}
	x, err := r.text(c.ID)
	t := &c.texts
	if err != nil || int64(len(t.arena)+len(x)) > min(limit, maxArena) {
		return false
	}
	t.start[l] = uint32(len(t.arena))
	t.arena = append(t.arena, x...)
	t.end[l] = uint32(len(t.arena))
	t.live = len(t.arena)
	return true
}

// join puts columns that were built beside the present ones, all of them as of
// the latest state, and returns those that have to make room. from is the
// version they were built for, nil for none.
func (t *table) join(from, built *version) ([]holder, error) {
	t.grow.Lock()
	defer t.grow.Unlock()
	if t.s.isClosed() {
		return nil, nil
	}
	t.mu.Lock()
	present := t.latest
	t.mu.Unlock()
	if (from == nil) != (present == nil) || from != nil && present.line != from.line {
		return nil, errGone
	}
	var next *version
	err := t.s.read(func(rd *state.Reader) error {
		live := rd.Index(state.TypeKey(t.t.No))
		dir := built.dir
		if present != nil {
			if next, _ = t.next(present, present.dir, rd, live); next == nil {
				return errGone
			}
			dir = next.dir
		}
		fresh, odd := t.next(built, dir, rd, live)
		if fresh == nil || fresh.dir.len() != dir.len() && present != nil {
			return errGone
		}
		for _, id := range odd {
			t.refuse(id, math.MaxInt64)
		}
		if next == nil {
			next = fresh
			return nil
		}
		maps.Copy(next.cols, fresh.cols)
		return nil
	})
	if err != nil {
		return nil, err
	}
	sizes := map[ID]int64{}
	for id := range built.cols {
		if c := next.cols[id]; c != nil {
			sizes[id] = c.size()
		}
	}
	if from == nil {
		sizes[ID{}] = next.dir.size()
	}
	t.place(next)
	t.s.budget.count(func(s *Stats) { s.Built += uint64(len(sizes)) })
	return t.charge(sizes), nil
}
