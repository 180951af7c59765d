package column

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/sync/bits"
	"satchel/sync/state"
	"satchel/sync/store"
)

// thing has a field of every form.
var thing = &entity.Type{
	No: 1, Name: "thing", Apps: []entity.App{entity.CRM},
	Fields: []*entity.Field{
		entity.Str(1, "name").Searched(), entity.Long(2, "notes").Searched(), entity.Integer(3, "size"),
		entity.OneOf(4, "kind", "a", "b", "c"), entity.At(5, "due"), entity.Flag(6, "on"), entity.Set(7, "tags"),
		entity.Decimal(8, "share"), entity.On(9, "day"), entity.Amount(10, "cost"),
	},
}

var other = &entity.Type{No: 2, Name: "other", Apps: []entity.App{entity.CRM}, Fields: []*entity.Field{entity.Str(1, "name")}}

var catalogue = func() *entity.Catalogue {
	c, err := entity.NewCatalogue(thing, other)
	if err != nil {
		panic(err)
	}
	return c
}()

// world is a tenant's state without a tenant.
type world struct {
	t   testing.TB
	eng store.Engine
	pos ident.Position
	r   *rand.Rand
	ids []ident.RecordID // live things
	n   int
}

func newWorld(t testing.TB, seed uint64) *world {
	return &world{t: t, eng: store.NewMem(), r: rand.New(rand.NewPCG(seed, 1))}
}

func (w *world) read(f func(*state.Reader) error) error {
	snap, err := w.eng.Snapshot()
	if err != nil {
		return err
	}
	defer snap.Close()
	return f(state.NewReader(catalogue, snap))
}

// commit writes one entry.
func (w *world) commit(f func(*state.Writer)) {
	w.t.Helper()
	w.pos++
	sw := state.NewWriter(catalogue)
	err := w.eng.Update(func(to store.Writer) error {
		sw.Begin(to, w.pos, ident.Millis(1_700_000_000_000+int64(w.pos)*1000*int64(1+w.r.IntN(3))))
		f(sw)
		_, err := sw.Flush(to)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

var words = []string{"alpha", "Beta", "beta", "gamma ray", "Ölbrenner", `say "hi"`, "zeta\\n", "Pump no. 12", "pump no. 7", "x", "ab", "a<b>&c", strings.Repeat("long ", 60) + "end", strings.Repeat("long ", 60) + "fin"}

func (w *world) value(f *entity.Field) entity.Value {
	if w.r.IntN(4) == 0 {
		return nil
	}
	raw := ""
	switch f.Kind {
	case entity.Int:
		raw = fmt.Sprint(w.r.IntN(7) - 3)
	case entity.Number:
		raw = fmt.Sprint(float64(w.r.IntN(9)-4) / 4)
	case entity.Money:
		raw = fmt.Sprintf(`{"amount":%d,"currency":"%s"}`, w.r.IntN(9)-4, []string{"EUR", "USD"}[w.r.IntN(2)])
	case entity.Bool:
		raw = fmt.Sprint(w.r.IntN(2) == 0)
	case entity.Enum:
		raw = `"` + f.Values[w.r.IntN(len(f.Values))] + `"`
	case entity.Time:
		raw = fmt.Sprintf(`"2026-01-%02dT0%d:00:00Z"`, 1+w.r.IntN(9), w.r.IntN(3))
	case entity.Date:
		raw = fmt.Sprintf(`"%d-01-%02d"`, 2024+w.r.IntN(3), 1+w.r.IntN(9))
	case entity.Strings:
		return entity.SetValue([]string{words[w.r.IntN(len(words))], words[w.r.IntN(len(words))]})
	default:
		s := words[w.r.IntN(len(words))]
		if w.r.IntN(3) == 0 {
			s += fmt.Sprint(" ", w.r.IntN(30))
		}
		if f.Kind == entity.String && len(s) > 200 {
			s = s[:200]
		}
		return entity.StringValue(s)
	}
	v, err := f.Normalize([]byte(raw))
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}

// change makes, edits and deletes things.
func (w *world) change(makes, edits, deletes int) {
	w.commit(func(sw *state.Writer) {
		for range makes {
			w.n++
			id := ident.RecordID(fmt.Sprintf("thing-%06d", w.r.IntN(1000)*1000+w.n%1000))
			if _, taken := sw.Identify(id); taken {
				continue
			}
			if w.r.IntN(5) == 0 { // other types lie in between
				o := sw.New(other, ident.RecordID(fmt.Sprintf("other-%06d", w.n)))
				o.Set("name", entity.StringValue("x"))
				sw.Save(nil, o, "")
			}
			rec := sw.New(thing, id)
			for _, f := range thing.Fields {
				rec.Put(f.No, w.value(f))
			}
			rec.Put(entity.NoCreatedAt, entity.TimeValue(sw.Now()))
			sw.Save(nil, rec, "")
			w.ids = append(w.ids, id)
		}
		for range min(edits, len(w.ids)) {
			id := w.ids[w.r.IntN(len(w.ids))]
			before, _ := sw.Load(id)
			after := before.Clone()
			for range 1 + w.r.IntN(2) {
				f := thing.Fields[w.r.IntN(len(thing.Fields))]
				after.Put(f.No, w.value(f))
			}
			sw.Save(before, after, "")
		}
		for range min(deletes, len(w.ids)-1) {
			i := w.r.IntN(len(w.ids))
			rec, _ := sw.Load(w.ids[i])
			sw.Remove(rec)
			w.ids = slices.Delete(w.ids, i, i+1)
		}
	})
}

// question is a query with its own reading, record by record.
type question struct {
	Query
	wants []Want
	holds []func(*row) bool
}

func (w *world) question() *question {
	q := &question{}
	q.Limit = 1 + w.r.IntN(7)
	want := func(x Want) ID { q.wants = append(q.wants, x); return x.ID }
	pick := func() *entity.Field { return thing.Fields[w.r.IntN(len(thing.Fields))] }
	values := func(f *entity.Field) entity.Value {
		for {
			if v := w.value(f); v != nil {
				return v
			}
		}
	}
	wordsOf := func(f *entity.Field) bool { return KeyLength(f.Kind) > 0 }
	for range w.r.IntN(3) {
		f := pick()
		switch v := values(f); w.r.IntN(5) {
		case 0:
			form, op := Presence, Missing
			if wordsOf(f) {
				form = Words
			}
			none := w.r.IntN(2) == 0
			if !none {
				op = Existing
			}
			q.Tests = append(q.Tests, Test{want(Want{ID: ID{Field: f.No, Form: form}}), op, nil})
			q.holds = append(q.holds, func(r *row) bool { return r.values[f.No].IsNull() == none })
		case 1:
			op := Below + Op(w.r.IntN(4))
			form := Words
			if !wordsOf(f) {
				form = Folded
			}
			if f.Kind == entity.Strings {
				continue
			}
			key := AppendKey(nil, f, v)
			q.Tests = append(q.Tests, Test{want(Want{ID: ID{Field: f.No, Form: form}}), op, [][]byte{key}})
			q.holds = append(q.holds, func(r *row) bool {
				v := r.values[f.No]
				if v.IsNull() {
					return false
				}
				d := bytes.Compare(AppendKey(nil, f, v), key)
				return map[Op]bool{Below: d < 0, AtMost: d <= 0, AtLeast: d >= 0, Above: d > 0}[op]
			})
		case 2:
			op, in := OneOf, true
			if w.r.IntN(2) == 0 {
				op, in = NoneOf, false
			}
			vs := []entity.Value{v, values(f)}[:1+w.r.IntN(2)]
			form := Exact
			keys := make([][]byte, len(vs))
			for i := range vs {
				keys[i] = vs[i]
				if wordsOf(f) {
					form, keys[i] = Words, AppendKey(nil, f, vs[i])
				}
			}
			q.Tests = append(q.Tests, Test{want(Want{ID: ID{Field: f.No, Form: form}}), op, keys})
			q.holds = append(q.holds, func(r *row) bool {
				return in == slices.ContainsFunc(vs, func(v entity.Value) bool {
					if f.Kind == entity.Money {
						return r.values[f.No] != nil && Amount(v) == Amount(r.values[f.No])
					}
					return bytes.Equal(v, r.values[f.No])
				})
			})
		case 3:
			f = thing.Field("tags")
			op, in, tag := Has, true, words[w.r.IntN(len(words))]
			if w.r.IntN(2) == 0 {
				op, in = HasNone, false
			}
			q.Tests = append(q.Tests, Test{want(Want{ID: ID{Field: f.No, Form: Exact}}), op, [][]byte{[]byte(tag)}})
			q.holds = append(q.holds, func(r *row) bool { return slices.Contains(r.values[f.No].Set(), tag) == in })
		}
	}
	for range w.r.IntN(3) {
		x := []byte(Fold(words[w.r.IntN(len(words))]))
		from := w.r.IntN(len(x))
		x = x[from : from+1+w.r.IntN(len(x)-from)]
		in := []ID{{Field: 1, Form: Folded}, {Field: 2, Form: Folded}}[w.r.IntN(2):]
		for _, id := range in {
			want(Want{ID: id, Searched: w.r.IntN(4) > 0})
		}
		q.Terms = append(q.Terms, Term{x, in})
		q.holds = append(q.holds, func(r *row) bool {
			return slices.ContainsFunc(in, func(id ID) bool { return bytes.Contains(AppendFolded(nil, r.values[id.Field]), x) })
		})
	}
	sorts := w.r.IntN(MaxSorts)
	if w.r.IntN(2) == 0 {
		sorts = 1
	}
	for range sorts {
		s := Sort{Down: w.r.IntN(2) == 0}
		switch f := pick(); {
		case w.r.IntN(8) == 0:
			s.Hidden = true
		case w.r.IntN(8) == 0:
			s.Column = want(Want{ID: ID{Field: NoID, Form: Folded}, Ordered: true})
		case w.r.IntN(5) == 0:
			s.Column = want(Want{ID: ID{Field: NoUpdatedAt, Form: Words, Mask: entity.Mask(w.r.Uint64())}, Ordered: true})
		case f.Kind == entity.Strings:
			continue
		case wordsOf(f):
			s.Column = want(Want{ID: ID{Field: f.No, Form: Words}, Ordered: w.r.IntN(2) == 0})
		default:
			s.Column = want(Want{ID: ID{Field: f.No, Form: Folded}, Ordered: true})
		}
		q.Sort = append(q.Sort, s)
	}
	return q
}

// keys are a record's sort keys, nil for no value.
func (q *question) keys(r *row) [][]byte {
	out := make([][]byte, len(q.Sort))
	for i, s := range q.Sort {
		switch {
		case s.Hidden:
		case s.Column.Field == NoID:
			out[i] = append(bytes.Clone(r.rd.ID), 0)
		case s.Column.Field == NoUpdatedAt:
			if at, ok := r.updated(s.Column.Mask); ok {
				out[i] = AppendKey(nil, updatedAt, entity.TimeValue(at))
			}
		default:
			if v := r.values[s.Column.Field]; !v.IsNull() {
				out[i] = AppendKey(nil, thing.FieldNo(s.Column.Field), v)
			}
		}
	}
	return out
}

// item is a record of the list with its place.
type item struct {
	Place
}

func (q *question) compare(a, b item) int {
	for i, s := range q.Sort {
		x, y := a.Keys[i], b.Keys[i]
		if x == nil || y == nil {
			if (x == nil) != (y == nil) {
				if x == nil {
					return 1
				}
				return -1
			}
			continue
		}
		if d := bytes.Compare(x, y); d != 0 {
			if s.Down {
				return -d
			}
			return d
		}
	}
	return int(a.Ord) - int(b.Ord)
}

// list answers by reading every record of the set.
func (q *question) list(rd *state.Reader, set bits.Set) []item {
	var out []item
	rd.Each(set, func(o ident.Ordinal, raw []byte) bool {
		var r row
		if err := r.read(raw, thing, thing.All(), true); err != nil {
			panic(err)
		}
		for _, h := range q.holds {
			if !h(&r) {
				return true
			}
		}
		out = append(out, item{Place{q.keys(&r), o}})
		return true
	})
	slices.SortFunc(out, q.compare)
	return out
}

// hold asks the columns and the records the same, page by page, and between
// the pages lets something happen.
func (q *question) hold(t testing.TB, w *world, s *Store, between func()) {
	t.Helper()
	q.After = nil
	for range 4 {
		if err := s.Build(thing, q.wants); err != nil {
			t.Fatal(err)
		}
		var next *Place
		err := w.read(func(rd *state.Reader) error {
			next = q.page(t, rd, s)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if next == nil {
			return
		}
		q.After = next
		between()
	}
}

// page holds one page against the records, and returns where the next begins.
func (q *question) page(t testing.TB, rd *state.Reader, s *Store) *Place {
	t.Helper()
	view, _ := s.At(rd, thing, q.wants)
	if view == nil {
		return nil
	}
	all := rd.Index(state.TypeKey(thing.No))
	if q.Limit%2 == 0 { // part of them
		all = bits.AndNot(all, bits.Range(all.Slice()[all.Len()/3], all.Slice()[all.Len()/2]))
	}
	query := q.Query
	query.Set = bits.AndNot(all, view.Changed())
	got, ok := view.Find(&query)
	if !ok {
		t.Fatalf("no answer to %+v", q.Query)
	}
	var want []item
	for _, it := range q.list(rd, query.Set) {
		if q.After == nil || q.compare(it, item{*q.After}) > 0 {
			want = append(want, it)
		}
	}
	want = want[:min(len(want), q.Limit)]
	ords := []ident.Ordinal{}
	for _, it := range want {
		ords = append(ords, it.Ord)
	}
	slices.Sort(got)
	sorted := slices.Sorted(slices.Values(ords))
	if !slices.Equal(got, sorted) {
		t.Fatalf("found %v, want %v\n%+v after %+v", got, sorted, q.Query, q.After)
	}
	// The whole page has what changed too.
	page := q.list(rd, bits.Or(bits.Of(ords...), bits.And(all, view.Changed())))
	page = slices.DeleteFunc(page, func(it item) bool { return q.After != nil && q.compare(it, item{*q.After}) <= 0 })
	if len(page) < q.Limit {
		return nil
	}
	return &page[q.Limit-1].Place
}

// TestFind: whatever is asked, of whichever state, columns find what reading
// every record finds.
func TestFind(t *testing.T) {
	rounds := 40
	if testing.Short() {
		rounds = 8
	}
	for seed := range uint64(rounds) {
		w := newWorld(t, seed)
		w.change(50+w.r.IntN(300), 0, 0)
		s := New(NewBudget(1<<30), w.read)
		s.behind, s.heaped = w.r.IntN(40), w.r.IntN(2)*200
		for range 25 {
			w.question().hold(t, w, s, func() { w.change(w.r.IntN(10), w.r.IntN(30), w.r.IntN(10)) })
		}
		if st := s.Budget().Stats(); st.Advanced == 0 && s.behind < 10 {
			t.Errorf("seed %d: columns never went on: %+v", seed, st)
		}
	}
}

// TestOlderState: who reads a state older than the columns gets its own.
func TestOlderState(t *testing.T) {
	w := newWorld(t, 3)
	w.change(300, 0, 0)
	s := New(NewBudget(1<<30), w.read)
	s.behind = 5
	q := &question{wants: []Want{{ID: ID{Field: 1, Form: Folded}, Ordered: true}}}
	q.Sort, q.Limit = []Sort{{Column: q.wants[0].ID}}, 50
	if err := s.Build(thing, q.wants); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		w.change(3, 4, 2)
		err := w.read(func(old *state.Reader) error {
			w.change(5, 20, 10)
			if err := w.read(func(rd *state.Reader) error { q.page(t, rd, s); return nil }); err != nil {
				return err
			}
			if view, _ := s.At(old, thing, q.wants); view == nil {
				t.Error("there is nothing for the state before")
			}
			q.page(t, old, s)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	var oldest *state.Reader
	snap, err := w.eng.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer snap.Close()
	oldest = state.NewReader(catalogue, snap)
	for range 3 {
		w.change(0, 30, 0)
		if err := w.read(func(rd *state.Reader) error { q.page(t, rd, s); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if view, build := s.At(oldest, thing, q.wants); view != nil || !build {
		t.Error("a state older than all columns was answered from them")
	}
}

// TestConcurrent: readers of different states, a writer, builds and evictions
// at the same time, each reader held to its own state.
func TestConcurrent(t *testing.T) {
	w := newWorld(t, 9)
	w.change(400, 0, 0)
	b := NewBudget(60_000)
	now := time.Now()
	var mu sync.Mutex
	b.clock = func() time.Time { mu.Lock(); defer mu.Unlock(); now = now.Add(20 * time.Second); return now }
	s := New(b, w.read)
	s.behind, s.heaped = 10, 100
	stop := make(chan struct{})
	var wait, writer sync.WaitGroup
	writer.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				w.change(2, 6, 2)
			}
		}
	})
	n := 40
	if testing.Short() {
		n = 10
	}
	for i := range uint64(4) {
		wait.Go(func() {
			mine := &world{t: t, eng: w.eng, r: rand.New(rand.NewPCG(i, 2))}
			for range n {
				mine.question().hold(t, mine, s, func() {})
			}
		})
	}
	wait.Wait()
	close(stop)
	writer.Wait()
	st := b.Stats()
	if st.Bytes > b.limit || st.Dropped == 0 || st.Built == 0 {
		t.Errorf("%+v", st)
	}
	s.Close()
	if err := s.Build(thing, []Want{{ID: ID{Field: 3, Form: Words}}}); err != nil {
		t.Error(err)
	}
	if st := b.Stats(); st.Bytes != 0 || st.Columns != 0 || b.byUse.Len() != 0 {
		t.Errorf("closed: %+v", st)
	}
}

// TestUpgrade: while a column is made able to do more, it goes on for those
// who use it as it was, and neither writes into what the other has.
func TestUpgrade(t *testing.T) {
	w := newWorld(t, 4)
	w.change(300, 0, 0)
	var during func(*state.Reader)
	s := New(NewBudget(1<<30), func(f func(*state.Reader) error) error {
		if during != nil {
			run := during
			during = nil
			for range 3 {
				w.change(9, 20, 1)
				if err := w.read(func(rd *state.Reader) error { run(rd); return nil }); err != nil {
					return err
				}
			}
		}
		return w.read(f)
	})
	s.behind = 0
	name := ID{Field: 1, Form: Folded}
	q := &question{wants: []Want{{ID: name, Searched: true}}}
	q.Limit, q.Terms = 401, []Term{{[]byte("a"), []ID{name}}}
	q.holds = []func(*row) bool{func(r *row) bool { return bytes.Contains(AppendFolded(nil, r.values[1]), []byte("a")) }}
	if err := s.Build(thing, q.wants); err != nil {
		t.Fatal(err)
	}
	type seen struct {
		view *View
		set  bits.Set
		want []ident.Ordinal
	}
	var views []seen
	during = func(rd *state.Reader) {
		q.page(t, rd, s)
		v, _ := s.At(rd, thing, q.wants)
		one := seen{view: v, set: rd.Index(state.TypeKey(thing.No))}
		for _, it := range q.list(rd, one.set) {
			one.want = append(one.want, it.Ord)
		}
		views = append(views, one)
	}
	sorted := []Want{{ID: name, Ordered: true}, {ID: ID{Field: 3, Form: Words}, Ordered: true}}
	if err := s.Build(thing, sorted); err != nil {
		t.Fatal(err)
	}
	if len(views) != 3 {
		t.Fatalf("%d views", len(views))
	}
	for i, one := range views {
		query := q.Query
		query.Set = one.set
		got, ok := one.view.Find(&query)
		if slices.Sort(got); !ok || !slices.Equal(got, one.want) {
			t.Errorf("view %d changed: %v, want %v", i, got, one.want)
		}
	}
	for _, wants := range [][]Want{q.wants, sorted} {
		if err := w.read(func(rd *state.Reader) error {
			if v, _ := s.At(rd, thing, wants); v == nil {
				t.Errorf("%v is missing", wants)
			}
			q.page(t, rd, s)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestBuildOnce: who wants the same at the same time waits for one building.
func TestBuildOnce(t *testing.T) {
	w := newWorld(t, 1)
	w.change(200, 0, 0)
	s := New(NewBudget(1<<30), w.read)
	wants := []Want{{ID: ID{Field: 1, Form: Folded}, Ordered: true, Searched: true}, {ID: ID{Field: 3, Form: Words}}}
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			if err := s.Build(thing, wants); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if st := s.Budget().Stats(); st.Built != 3 || st.Columns != 3 { // the directory counts
		t.Errorf("%+v", st)
	}
	// More of a column takes the place of less.
	if err := s.Build(thing, []Want{{ID: ID{Field: 3, Form: Words}, Ordered: true}}); err != nil {
		t.Fatal(err)
	}
	if st := s.Budget().Stats(); st.Columns != 3 {
		t.Errorf("%+v", st)
	}
}

// TestBudget: what does not fit is refused without being built again and
// again; what was not wanted for a while makes room.
func TestBudget(t *testing.T) {
	w := newWorld(t, 1)
	w.change(500, 0, 0)
	name := []Want{{ID: ID{Field: 1, Form: Folded}, Ordered: true}}
	size := []Want{{ID: ID{Field: 3, Form: Words}, Ordered: true}}
	has := func(s *Store, wants []Want) (ok, build bool) {
		if err := w.read(func(rd *state.Reader) error {
			v, b := s.At(rd, thing, wants)
			ok, build = v != nil, b
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return ok, build
	}
	none := New(NewBudget(0), w.read)
	if ok, build := has(none, name); ok || build {
		t.Error("a budget of nothing builds")
	}
	small := New(NewBudget(10_000), w.read)
	if _, build := has(small, name); !build {
		t.Error("not even tried")
	}
	if err := small.Build(thing, name); err != nil {
		t.Fatal(err)
	}
	if ok, build := has(small, name); ok || build {
		t.Error("what does not fit is built again")
	}
	if st := small.Budget().Stats(); st.Bytes != 0 || st.Refused == 0 {
		t.Errorf("%+v", st)
	}
	b := NewBudget(60_000)
	now := time.Now()
	b.clock = func() time.Time { return now }
	s := New(b, w.read)
	if err := s.Build(thing, name); err != nil {
		t.Fatal(err)
	}
	left := b.limit - b.Stats().Bytes
	b.limit -= left - 1000 // no room for another
	if err := s.Build(thing, size); err != nil {
		t.Fatal(err)
	}
	if ok, _ := has(s, name); !ok {
		t.Error("a column in use made room")
	}
	if ok, build := has(s, size); ok || build {
		t.Error("there was no room")
	}
	now = now.Add(resting + time.Second)
	if _, build := has(s, size); !build {
		t.Fatal("there is room now")
	}
	if err := s.Build(thing, size); err != nil {
		t.Fatal(err)
	}
	if ok, _ := has(s, size); !ok {
		t.Error("the older column stayed")
	}
	if ok, _ := has(s, name); ok {
		t.Error("both fit")
	}
	if st := b.Stats(); st.Bytes > b.limit || st.Dropped != 1 {
		t.Errorf("%+v", st)
	}
}

// TestMostlyGone: columns of records that are nearly all deleted start anew.
func TestMostlyGone(t *testing.T) {
	w := newWorld(t, 1)
	w.ids = nil
	w.commit(func(sw *state.Writer) {
		for i := range 10_000 {
			rec := sw.New(other, ident.RecordID(fmt.Sprintf("other-%06d", i)))
			rec.Set("name", entity.StringValue(fmt.Sprint("n", i)))
			sw.Save(nil, rec, "")
		}
	})
	s := New(NewBudget(1<<30), w.read)
	s.behind = 1
	wants := []Want{{ID: ID{Field: 1, Form: Folded}, Ordered: true}}
	if err := s.Build(other, wants); err != nil {
		t.Fatal(err)
	}
	w.commit(func(sw *state.Writer) {
		for i := range 9_990 {
			rec, _ := sw.Load(ident.RecordID(fmt.Sprintf("other-%06d", i)))
			sw.Remove(rec)
		}
		for i := range 5 {
			rec := sw.New(other, ident.RecordID(fmt.Sprintf("more-%06d", i)))
			rec.Set("name", entity.StringValue(fmt.Sprint("m", i)))
			sw.Save(nil, rec, "")
		}
	})
	ask := func() (v *View, build bool) {
		if err := w.read(func(rd *state.Reader) error { v, build = s.At(rd, other, wants); return nil }); err != nil {
			t.Fatal(err)
		}
		return v, build
	}
	ask()
	if v, build := ask(); v != nil || !build || s.Budget().Stats().Bytes != 0 {
		t.Errorf("%v %v %+v", v != nil, build, s.Budget().Stats())
	}
	if err := s.Build(other, wants); err != nil {
		t.Fatal(err)
	}
	if v, _ := ask(); v == nil || v.v.dir.len() != 15 {
		t.Error("not built anew")
	}
}

// TestDistrust: columns said to be wrong are gone, and built anew.
func TestDistrust(t *testing.T) {
	w := newWorld(t, 1)
	w.change(20, 0, 0)
	s := New(NewBudget(1<<30), w.read)
	wants := []Want{{ID: ID{Field: 1, Form: Folded}}}
	for range 2 {
		if err := s.Build(thing, wants); err != nil || s.Budget().Stats().Columns != 2 {
			t.Fatalf("%v %+v", err, s.Budget().Stats())
		}
		s.Distrust(thing)
		if st := s.Budget().Stats(); st.Columns != 0 || st.Bytes != 0 {
			t.Errorf("%+v", st)
		}
	}
	if n := s.Budget().Stats().Mistaken; n != 2 {
		t.Errorf("told %d times", n)
	}
}

// TestBuildFails: an error of reading comes back and leaves nothing.
func TestBuildFails(t *testing.T) {
	w := newWorld(t, 1)
	w.change(10, 0, 0)
	broken := errors.New("broken")
	n := 0
	s := New(NewBudget(1<<30), func(f func(*state.Reader) error) error {
		if n++; n == 2 {
			return broken
		}
		return w.read(f)
	})
	wants := []Want{{ID: ID{Field: 1, Form: Folded}}}
	if err := s.Build(thing, wants); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
	if err := s.Build(thing, wants); err != nil || s.Budget().Stats().Columns != 2 {
		t.Errorf("%v %+v", err, s.Budget().Stats())
	}
}

// TestWord: numbers compare like the keys they stand for.
func TestWord(t *testing.T) {
	w := newWorld(t, 5)
	for _, f := range thing.Fields {
		if KeyLength(f.Kind) == 0 {
			continue
		}
		for range 300 {
			a, b := w.value(f), w.value(f)
			if a.IsNull() || b.IsNull() {
				continue
			}
			x, y := AppendKey(nil, f, a), AppendKey(nil, f, b)
			v, ok := word(f.Kind, x)
			u, ok2 := word(f.Kind, y)
			if !ok || !ok2 || v == 0 || v == null {
				t.Fatalf("%s %s: no number", f.Name, a)
			}
			if d := bytes.Compare(x, y); (d < 0) != (v < u) || (d == 0) != (v == u) {
				t.Errorf("%s: %s and %s", f.Name, a, b)
			}
		}
	}
	for _, c := range []struct {
		k   entity.Kind
		key string
	}{
		{entity.Int, "short"},
		{entity.Int, "\x00\x00\x00\x00\x00\x00\x00\x00"},
		{entity.Int, "\xff\xff\xff\xff\xff\xff\xff\xff"},
		{entity.Time, "2026-01-01 00:00:00.000Z"},
		{entity.Time, "12026-01-01T00:00:00.00Z"},
		{entity.Date, "2026/01/01"},
		{entity.String, "text\x00"},
		{entity.Enum, ""},
	} {
		if _, ok := word(c.k, []byte(c.key)); ok {
			t.Errorf("%s %q has a number", c.k, c.key)
		}
	}
}

// TestDirectory: every ordinal has its local and no other has any.
func TestDirectory(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	d := &directory{}
	var all []ident.Ordinal
	next := ident.Ordinal(1)
	for range 50 {
		var more []ident.Ordinal
		for range r.IntN(3000) {
			more = append(more, next)
			next += 1 + ident.Ordinal(r.IntN(4))
		}
		if r.IntN(4) == 0 {
			next += 70_000
		}
		old := d
		d = d.extend(more)
		if old.len() != len(all) {
			t.Fatal("an old directory grew")
		}
		all = append(all, more...)
	}
	at := 0
	for o := ident.Ordinal(0); o < next+10; o++ {
		l, ok := d.local(o)
		is := at < len(all) && all[at] == o
		if ok != is || is && int(l) != at {
			t.Fatalf("%d: %d %v", o, l, ok)
		}
		if is {
			at++
		}
		if int(d.behind(o)) != at {
			t.Fatalf("behind %d: %d, want %d", o, d.behind(o), at)
		}
	}
}

// TestGrams: what has a term is always among those that may, whatever changed;
// and a rare term leaves few.
func TestGrams(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	const n = 70_000
	c := &column{ID: ID{Field: 1, Form: Folded}}
	p := &patch{}
	some := func(i int) string {
		switch r.IntN(12) {
		case 0:
			return ""
		case 1:
			return string(rune('a' + r.IntN(26)))
		case 2:
			return fmt.Sprintf("ü%d", i)
		}
		return fmt.Sprintf("pump no. %d", i)
	}
	fill := func(from, to, step int) {
		*p = patch{}
		for i := from; i < to; i += step {
			p.locals = append(p.locals, uint32(i))
			p.arena = append(p.arena, some(i)...)
			p.ends = append(p.ends, len(p.arena))
		}
	}
	fill(0, n, 1)
	c = c.patched(p, n)
	c.grams = indexed(&c.texts)
	for round := range 12 {
		for _, x := range []string{"pump", "no. 4321", "p", "ü", "6", "zz", "no. 69999", "a", "99", "mp no. 12", "no such", "ump no. 7", ".", ". 1"} {
			sets, count := candidates([]term{{[]byte(x), []*column{c}}}, c.len())
			have := 0
			for l := range uint32(c.len()) {
				if !bytes.Contains(c.texts.of(l), []byte(x)) {
					continue
				}
				have++
				if h := sets; h != nil && (h[l>>segmentBits] == nil || h[l>>segmentBits][l&(segmentSize-1)>>6]&(1<<(l&63)) == 0) {
					t.Fatalf("round %d: %q stands in %q", round, x, c.texts.of(l))
				}
			}
			if count < have {
				t.Fatalf("%q: %d counted, %d have it", x, count, have)
			}
			if have < 10 && len(x) > 2 && count > have+4*maxLoose+200 {
				t.Errorf("%q: %d may, %d do", x, count, have)
			}
		}
		size := c.len()
		if round%3 == 0 {
			fill(r.IntN(size), size+r.IntN(3000), 1)
			if round == 6 {
				size += 3000
			}
			size = max(size, int(p.locals[len(p.locals)-1])+1)
		} else {
			fill(r.IntN(100), size, 37+r.IntN(200))
		}
		c = c.patched(p, size)
	}
}

// BenchmarkAdvance measures a version of a million texts after 1,000 changes.
func BenchmarkAdvance(b *testing.B) {
	const n = 1_000_000
	c := &column{ID: ID{Field: 1, Form: Folded}}
	p := &patch{}
	for i := range n {
		p.locals = append(p.locals, uint32(i))
		p.arena = fmt.Appendf(p.arena, "rollfix 200 no. %d", i*7919%n)
		p.ends = append(p.ends, len(p.arena))
	}
	c = c.patched(p, n)
	b.Run("Order", func(b *testing.B) {
		for b.Loop() {
			c.order = sorted(c)
		}
	})
	b.Run("Grams", func(b *testing.B) {
		for b.Loop() {
			c.grams = indexed(&c.texts)
		}
	})
	b.Logf("%d MB, grams %d MB", c.size()>>20, c.grams.size()>>20)
	b.Run("Patch", func(b *testing.B) {
		round := 0
		for b.Loop() {
			round++
			*p = patch{}
			for i := range 1000 {
				p.locals = append(p.locals, uint32(i*997+round%900))
				p.arena = fmt.Appendf(p.arena, "hydra lift no. %d", i*round)
				p.ends = append(p.ends, len(p.arena))
			}
			c = c.patched(p, n)
		}
	})
}
