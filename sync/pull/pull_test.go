package pull_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/sync/bits"
	"satchel/sync/pull"
	"satchel/sync/scope"
	"satchel/sync/state"
	"satchel/sync/store"
)

// The types of these tests: fields seen and unseen, parents and children.
var (
	child = &entity.Type{
		No: 1, Name: "child", Apps: []entity.App{entity.CRM}, Rank: 20,
		Fields: []*entity.Field{entity.Long(1, "seen"), entity.Str(2, "also"), entity.Str(3, "unseen")},
	}
	parent = &entity.Type{
		No: 2, Name: "parent", Apps: []entity.App{entity.CRM}, Rank: 10,
		Fields: []*entity.Field{entity.Long(1, "seen"), entity.Str(2, "also"), entity.Str(3, "unseen")},
	}
	client = &entity.Type{No: 3, Name: "client", Apps: []entity.App{entity.CRM}, IsClient: true, Fields: []*entity.Field{entity.To(1, "salesArea")}}
	cat    = func() *entity.Catalogue {
		c, err := entity.NewCatalogue(child, parent, client)
		if err != nil {
			panic(err)
		}
		return c
	}()
)

const (
	narrow = entity.Mask(1 << 1)
	wide   = entity.Mask(1<<1 | 1<<2)
)

func class(t *entity.Type, m entity.Mask) scope.Class { return scope.Class{Type: t.No, Mask: m} }

// world is a state with what one device may see of it, and the device.
type world struct {
	t   rapid.TB
	w   *state.Writer
	eng *store.Mem
	pos ident.Position
	now map[ident.Ordinal]scope.Class
	dev pull.Device
	n   int
}

func newWorld(t rapid.TB) *world {
	return &world{t: t, w: state.NewWriter(cat), eng: store.NewMem(), now: map[ident.Ordinal]scope.Class{}}
}

// entry makes changes as one entry.
func (w *world) entry(f func()) {
	w.pos++
	if err := w.eng.Update(func(tx store.Writer) error {
		w.w.Begin(tx, w.pos, ident.Millis(w.pos))
		f()
		_, err := w.w.Flush(tx)
		return err
	}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) make(t *entity.Type, m entity.Mask, text string) (o ident.Ordinal) {
	w.entry(func() { o = w.makeIn(t, m, text) })
	return o
}

func (w *world) makeIn(t *entity.Type, m entity.Mask, text string) ident.Ordinal {
	w.n++
	r := w.w.New(t, ident.RecordID(fmt.Sprintf("record-%05d", w.n)))
	r.Set("seen", entity.StringValue(text))
	w.w.Save(nil, r, "")
	if m != 0 {
		w.now[r.Ord] = class(t, m)
	}
	return r.Ord
}

func (w *world) writeIn(o ident.Ordinal, field string) {
	before, ok := w.w.LoadOrd(o)
	if !ok {
		w.t.Fatal("no such record")
	}
	w.n++
	after := before.Clone()
	after.Set(field, entity.StringValue(fmt.Sprint(w.n)))
	w.w.Save(before, after, "")
}

func (w *world) write(o ident.Ordinal, field string) { w.entry(func() { w.writeIn(o, field) }) }

func (w *world) sets() scope.Sets {
	by := map[scope.Class]*bits.Builder{}
	for o, c := range w.now {
		if by[c] == nil {
			by[c] = &bits.Builder{}
		}
		by[c].Add(o)
	}
	var out scope.Sets
	for c, b := range by {
		out = append(out, scope.Part{Class: c, Set: b.Set()})
	}
	slices.SortFunc(out, func(a, b scope.Part) int {
		return int(a.Type)*1000 + int(a.Mask) - int(b.Type)*1000 - int(b.Mask)
	})
	return out
}

func (w *world) pull(req pull.Request) (p *pull.Page, changed bool) {
	snap, err := w.eng.Snapshot()
	if err != nil {
		w.t.Fatal(err)
	}
	defer snap.Close()
	p, after, changed := pull.Compute(state.NewReader(cat, snap), w.dev, w.sets(), req)
	if changed {
		w.dev = after
	}
	return p, changed
}

// at asks with a checkpoint of the device's.
func at(n uint64) pull.Request { return pull.Request{Number: n, Known: true} }

func ords(p *pull.Page) (out []ident.Ordinal) {
	for _, it := range p.Items {
		out = append(out, it.Ord)
	}
	return out
}

func (w *world) wantItems(p *pull.Page, os ...ident.Ordinal) {
	w.t.Helper()
	if got := ords(p); !slices.Equal(got, os) {
		w.t.Fatalf("records %v, want %v", got, os)
	}
}

func TestFirstPages(t *testing.T) {
	w := newWorld(t)
	a, b, c, d := w.make(child, narrow, "a"), w.make(parent, narrow, "b"), w.make(child, wide, "c"), w.make(parent, wide, "d")
	w.make(child, 0, "hidden")
	p, _ := w.pull(pull.Request{Fresh: true, Limit: 3})
	w.wantItems(p, b, d, a) // parents first, by ordinal within a type
	if !p.More || p.Complete || p.Reset || p.N != 1 {
		t.Fatalf("%+v", p)
	}
	p, _ = w.pull(at(1))
	w.wantItems(p, c)
	if p.More || !p.Complete || p.N != 2 {
		t.Fatalf("%+v", p)
	}
	// Acknowledged: nothing to send. Holding is what must be stored; asking
	// again changes nothing.
	p, changed := w.pull(at(2))
	if !p.Empty() || !p.Complete || !changed || p.N != 0 {
		t.Fatalf("%+v, changed %v", p, changed)
	}
	if p, changed = w.pull(at(2)); !p.Empty() || changed {
		t.Fatalf("%+v, changed %v", p, changed)
	}
}

func (w *world) settled() (n uint64) {
	w.t.Helper()
	p, _ := w.pull(pull.Request{Fresh: true})
	for range 100 {
		if p.N != 0 {
			n = p.N
		}
		if p.Empty() {
			return n
		}
		p, _ = w.pull(at(n))
	}
	w.t.Fatal("never complete")
	return 0
}

func TestUpdates(t *testing.T) {
	w := newWorld(t)
	a, b, c := w.make(child, narrow, "a"), w.make(child, wide, "b"), w.make(child, narrow, "c")
	n := w.settled()
	// What the device can't see is no change for it.
	w.write(a, "unseen")
	w.write(a, "also")
	if p, changed := w.pull(at(n)); !p.Empty() || changed {
		t.Fatalf("a hidden write shows: %+v, %v", p, changed)
	}
	w.write(c, "seen")
	w.write(b, "also")
	w.write(a, "unseen")
	p, _ := w.pull(at(n))
	w.wantItems(p, c, b) // in change order
	// Within one entry by ordinal, and a page may end in the middle of it.
	n = p.N
	w.entry(func() { w.writeIn(c, "seen"); w.writeIn(a, "seen"); w.writeIn(b, "seen") })
	p, _ = w.pull(pull.Request{Number: n, Known: true, Limit: 2})
	w.wantItems(p, a, b)
	// A write to what was sent comes again, after what was not.
	w.write(a, "seen")
	p, _ = w.pull(at(p.N))
	w.wantItems(p, c, a)
	if !p.Complete {
		t.Fatalf("%+v", p)
	}
}

// TestMarkIsStored: a pull that looked through many hidden changes stores its
// mark, so that the next does not look through them again.
func TestMarkIsStored(t *testing.T) {
	w := newWorld(t)
	var mine []ident.Ordinal
	w.entry(func() {
		for range 3000 {
			mine = append(mine, w.makeIn(child, narrow, "x"))
		}
	})
	n := w.settled()
	w.entry(func() {
		for _, o := range mine[:2500] {
			w.writeIn(o, "unseen")
		}
	})
	if p, changed := w.pull(at(n)); !p.Empty() || !changed {
		t.Fatalf("%d records, changed %v", len(p.Items), changed)
	}
	if p, changed := w.pull(at(n)); !p.Empty() || changed {
		t.Fatalf("%d records, changed %v", len(p.Items), changed)
	}
	w.write(mine[7], "seen")
	p, _ := w.pull(at(n))
	w.wantItems(p, mine[7])
}

func TestClasses(t *testing.T) {
	w := newWorld(t)
	a := w.make(child, wide, "a")
	n := w.settled()
	w.now[a] = class(child, narrow)
	p, _ := w.pull(at(n))
	w.wantItems(p, a)
	if p.Items[0].Class.Mask != narrow {
		t.Fatal("sent in the old class")
	}
	// It changes back before the page is acknowledged: sent again.
	w.now[a] = class(child, wide)
	p, _ = w.pull(at(n))
	w.wantItems(p, a)
	delete(w.now, a)
	if p, _ = w.pull(at(p.N)); p.Removed.Len() != 1 {
		t.Fatalf("%+v", p)
	}
	if p, changed := w.pull(at(p.N)); !p.Empty() || !changed {
		t.Fatalf("%+v", p)
	}
}

func TestSuperseded(t *testing.T) {
	w := newWorld(t)
	a := w.make(child, narrow, "a")
	n := w.settled()
	b := w.make(child, narrow, "b")
	lost, _ := w.pull(at(n))
	w.wantItems(lost, b)
	// The answer is lost, and meanwhile b is gone: it may have arrived.
	delete(w.now, b)
	p, _ := w.pull(at(n))
	if !p.Removed.Contains(b) || len(p.Items) != 0 {
		t.Fatalf("%+v", p)
	}
	// The lost page arrives late and is applied, not the last one: its number
	// is known, nothing is reset, and b is still taken away.
	w.write(a, "seen")
	p, _ = w.pull(at(lost.N))
	w.wantItems(p, a)
	if p.Reset || !p.Removed.Contains(b) {
		t.Fatalf("%+v", p)
	}
	if !w.dev.Unsure.Contains(b) {
		t.Fatal("what may be there is sure")
	}
	if p, _ = w.pull(at(p.N)); !p.Empty() || !w.dev.Unsure.IsEmpty() {
		t.Fatalf("%+v, unsure %v", p, w.dev.Unsure.Slice())
	}
}

func TestResets(t *testing.T) {
	for name, req := range map[string]func(n uint64) pull.Request{
		"unknown":     func(uint64) pull.Request { return pull.Request{} },
		"rolled back": func(uint64) pull.Request { return at(1) },
		"ahead":       func(n uint64) pull.Request { return at(n + 5) },
		"emptied":     func(uint64) pull.Request { return pull.Request{Fresh: true} },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			a, b := w.make(child, narrow, "a"), w.make(parent, narrow, "b")
			n := w.settled()
			c := w.make(child, narrow, "c")
			p, _ := w.pull(at(n))
			w.pull(at(p.N))
			n = p.N
			p, _ = w.pull(req(n))
			w.wantItems(p, b, a, c)
			if !p.Reset || p.ResetTypes != nil || !p.Removed.IsEmpty() {
				t.Fatalf("%+v", p)
			}
			// Lost, and the device turns out to be where it was.
			again, _ := w.pull(at(n))
			w.wantItems(again, b, a, c)
			if again.Reset {
				t.Fatal("reset although its checkpoint is known")
			}
			// Asked the same way again, it is reset again; then it is current.
			p, _ = w.pull(req(n))
			if !p.Reset {
				t.Fatalf("%+v", p)
			}
			if p, _ = w.pull(at(p.N)); !p.Empty() || !p.Complete {
				t.Fatalf("%+v", p)
			}
		})
	}
}

func TestHeal(t *testing.T) {
	w := newWorld(t)
	a, b := w.make(child, narrow, "a"), w.make(parent, narrow, "b")
	n := w.settled()
	req := at(n)
	req.Heal = []uint16{child.No}
	p, _ := w.pull(req)
	w.wantItems(p, a)
	if !p.Reset || !slices.Equal(p.ResetTypes, []uint16{child.No}) {
		t.Fatalf("%+v", p)
	}
	w.write(b, "seen")
	if p, _ = w.pull(at(p.N)); p.Reset {
		t.Fatalf("%+v", p)
	}
	w.wantItems(p, b)
}

func TestReconcile(t *testing.T) {
	w := newWorld(t)
	a, b := w.make(child, narrow, "a"), w.make(parent, narrow, "b")
	w.settled()
	w.write(a, "seen")
	w.write(b, "seen")
	// The device has b as it is now, by its digest, and knows no checkpoint.
	p, _ := w.pull(pull.Request{Agreed: []uint16{parent.No, client.No}})
	w.wantItems(p, a)
	if !p.Reset || !slices.Equal(p.ResetTypes, []uint16{child.No}) {
		t.Fatalf("%+v", p)
	}
	if p, _ = w.pull(at(p.N)); !p.Empty() || !p.Complete {
		t.Fatalf("what agrees is sent all the same: %+v", p)
	}
	w.write(b, "seen")
	p, _ = w.pull(at(w.dev.Ack))
	w.wantItems(p, b)
}

func TestManyRemovals(t *testing.T) {
	w := newWorld(t)
	w.make(child, narrow, "x")
	w.dev = pull.Device{Ack: 1, Last: 1, Held: scope.Sets{{Class: class(child, narrow), Set: bits.Range(100, 25_100)}}}
	n, total := uint64(1), 0
	for i := range 3 {
		p, _ := w.pull(at(n))
		if total += p.Removed.Len(); p.Removed.Len() > 10_000 || p.More != (i < 2) || p.Later != (i > 0) || (i < 2 && len(p.Items) > 0) {
			t.Fatalf("page %d: %d removed, %d records, more %v, later %v", i, p.Removed.Len(), len(p.Items), p.More, p.Later)
		}
		n = p.N
	}
	if total != 25_000 {
		t.Fatalf("%d removed", total)
	}
}

func TestCutByBytes(t *testing.T) {
	w := newWorld(t)
	mb := func(n int) string { return strings.Repeat("x", n<<20) }
	a, b, c, d := w.make(child, narrow, mb(5)), w.make(child, narrow, mb(3)), w.make(child, narrow, mb(2)), w.make(child, narrow, "x")
	p, _ := w.pull(pull.Request{Fresh: true})
	w.wantItems(p, a) // at least one
	p, _ = w.pull(at(p.N))
	w.wantItems(p, b)
	p, _ = w.pull(at(p.N))
	w.wantItems(p, c, d)
}

// TestLongRecords: pages are cut where it is sure that all they bring has room, and
// where records are long, by how long they are; a record that grows counts.
func TestLongRecords(t *testing.T) {
	w := newWorld(t)
	text := func(n int) string { return strings.Repeat("x", n) }
	var want []ident.Ordinal
	add := func(n, length int) {
		w.entry(func() {
			for range n {
				want = append(want, w.makeIn(child, narrow, text(length)))
			}
		})
	}
	add(1500, 300)
	add(1500, 1000)
	add(1000, 3000)
	add(2000, 10)
	w.entry(func() { // those that were short
		for _, o := range want[4000:5000] {
			before, _ := w.w.LoadOrd(o)
			after := before.Clone()
			after.Set("seen", entity.StringValue(text(2500)))
			w.w.Save(before, after, "")
		}
	})
	var got []ident.Ordinal
	var pages []int
	req := pull.Request{Fresh: true, Limit: pull.MaxLimit}
	for more := true; more; {
		p, _ := w.pull(req)
		if p.Size > 4<<20 {
			t.Errorf("page %d has up to %d bytes", p.N, p.Size)
		}
		pages = append(pages, len(p.Items))
		got = append(got, ords(p)...)
		more, req = p.More, at(p.N)
		req.Limit = pull.MaxLimit
	}
	if !slices.Equal(got, want) {
		t.Errorf("%d records came, want %d, in their order", len(got), len(want))
	}
	// 1,500 * 300 + 1,500 * 1,000 + 748 * 3,000 and so on; some bytes belong to each.
	if len(pages) != 2 || pages[0] < 3700 || pages[0] > 3750 {
		t.Errorf("pages of %d records", pages)
	}
	w.dev = pull.Device{}
	for _, o := range want[3000:5000] {
		delete(w.now, o)
	}
	// What has room for certain is not cut: 1,500 of at most 419 bytes, 1,500 of 2,097.
	if p, _ := w.pull(pull.Request{Fresh: true, Limit: pull.MaxLimit}); p.More || len(p.Items) != 4000 || p.Size > 4<<20 {
		t.Errorf("%d records of at most %d bytes, more: %v", len(p.Items), p.Size, p.More)
	}
}

// TestCutsByWhatIsVisible: where pages are cut tells nothing of fields that are not to
// be seen.
func TestCutsByWhatIsVisible(t *testing.T) {
	cuts := func(hidden string) (out []int) {
		w := newWorld(t)
		w.entry(func() {
			for i := range 2900 {
				typ, n := parent, 1200
				if i >= 1500 {
					typ, n = child, 2000
				}
				r := w.w.New(typ, ident.RecordID(fmt.Sprintf("record-%05d", i)))
				r.Set("seen", entity.StringValue(strings.Repeat("s", n)))
				r.Set("unseen", entity.StringValue(hidden))
				w.w.Save(nil, r, "")
				w.now[r.Ord] = class(typ, narrow)
			}
		})
		req := pull.Request{Fresh: true, Limit: pull.MaxLimit}
		for more := true; more; {
			p, _ := w.pull(req)
			out = append(out, len(p.Items))
			more, req = p.More, at(p.N)
			req.Limit = pull.MaxLimit
		}
		return out
	}
	want := cuts("short")
	if len(want) != 2 || want[0] < 2600 {
		t.Fatalf("cut into %d", want)
	}
	if got := cuts(strings.Repeat("h", 1000)); !slices.Equal(got, want) {
		t.Errorf("cut into %d where hidden fields are long, into %d where they are short", got, want)
	}
}

// TestBusyTenant: changes that never end don't keep new records away.
func TestBusyTenant(t *testing.T) {
	w := newWorld(t)
	a := w.make(child, narrow, "a")
	n := w.settled()
	b := w.make(child, narrow, "b")
	for range 6 {
		w.write(a, "seen")
		p, _ := w.pull(pull.Request{Number: n, Known: true, Limit: 1})
		if slices.Contains(ords(p), b) {
			return
		}
		n = p.N
	}
	t.Fatal("the new record starves")
}

// onPhone is what a phone has of a record.
type onPhone struct {
	class   scope.Class
	version ident.Position
}

// message is a page on its way.
type message struct {
	from, n uint64
	page    *pull.Page
	vers    map[ident.Ordinal]ident.Position
}

// TestProtocol: a phone whose answers are lost, late, doubled or cut holds
// exactly what it may see once things fall quiet, and no removal names what it
// was never given.
func TestProtocol(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		var all []ident.Ordinal
		phone, cp := map[ident.Ordinal]onPhone{}, uint64(0)
		given := map[ident.Ordinal]bool{}
		var way []message
		version := func(o ident.Ordinal, m entity.Mask) ident.Position {
			r, ok := w.w.LoadOrd(o)
			if !ok {
				return 0
			}
			return r.Last(m).Pos
		}
		request := func(limit int) message {
			req := pull.Request{Number: cp, Known: cp != 0, Fresh: cp == 0, Limit: limit}
			p, _ := w.pull(req)
			msg := message{from: cp, n: p.N, page: p, vers: map[ident.Ordinal]ident.Position{}}
			w.w.Begin(must(w), w.pos, 0)
			for _, it := range p.Items {
				msg.vers[it.Ord] = version(it.Ord, it.Class.Mask)
			}
			for o := range p.Removed.All() {
				if !given[o] {
					t.Fatalf("a removal names %d, which the phone was never given", o)
				}
			}
			for _, it := range p.Items {
				given[it.Ord] = true
			}
			return msg
		}
		apply := func(m message) {
			if m.page.Empty() || m.from != cp {
				return
			}
			if m.page.Reset {
				clear(phone)
			}
			for o := range m.page.Removed.All() {
				delete(phone, o)
			}
			for _, it := range m.page.Items {
				phone[it.Ord] = onPhone{it.Class, m.vers[it.Ord]}
			}
			cp = m.n
		}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			limit := rapid.SampledFrom([]int{1, 2, 0}).Draw(t, "limit")
			switch what := rapid.IntRange(0, 8).Draw(t, "what"); {
			case what == 0 || len(all) == 0:
				all = append(all, w.make(rapid.SampledFrom([]*entity.Type{child, parent}).Draw(t, "type"), rapid.SampledFrom([]entity.Mask{0, narrow, wide}).Draw(t, "mask"), "x"))
			case what <= 2:
				w.entry(func() {
					for range rapid.IntRange(1, 3).Draw(t, "writes") {
						w.writeIn(rapid.SampledFrom(all).Draw(t, "record"), rapid.SampledFrom([]string{"seen", "also", "unseen"}).Draw(t, "field"))
					}
				})
			case what == 3:
				o := rapid.SampledFrom(all).Draw(t, "record")
				if m := rapid.SampledFrom([]entity.Mask{0, narrow, wide}).Draw(t, "mask"); m == 0 {
					delete(w.now, o)
				} else {
					r, _ := w.w.LoadOrd(o)
					w.now[o] = class(r.Type, m)
				}
			case what <= 5: // asked and answered at once
				apply(request(limit))
			case what == 6: // asked, the answer is on its way
				way = append(way, request(limit))
			case len(way) > 0: // an answer arrives, perhaps not for the last time
				i := rapid.IntRange(0, len(way)-1).Draw(t, "which")
				apply(way[i])
				if rapid.Bool().Draw(t, "once") {
					way = slices.Delete(way, i, i+1)
				}
			}
		}
		for i := 0; ; i++ {
			m := request(3)
			if m.page.Empty() {
				if !m.page.Complete {
					t.Fatal("nothing to send and not complete")
				}
				break
			}
			apply(m)
			if i > 200 {
				t.Fatal("never quiet")
			}
		}
		for o, c := range w.now {
			if got := phone[o]; got.class != c || got.version < version(o, c.Mask) {
				t.Fatalf("record %d is held as %+v, is %+v at %d", o, got, c, version(o, c.Mask))
			}
		}
		if len(phone) != len(w.now) {
			t.Fatalf("holds %d of %d", len(phone), len(w.now))
		}
	})
}

func must(w *world) store.Reader {
	s, err := w.eng.Snapshot()
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// A device that agrees in everything goes on from a fresh checkpoint, and
// nothing is dropped or sent.
func TestReconcileAllAgree(t *testing.T) {
	w := newWorld(t)
	a, _ := w.make(child, narrow, "a"), w.make(parent, narrow, "b")
	w.settled()
	w.write(a, "seen")
	p, _ := w.pull(pull.Request{Agreed: []uint16{child.No, parent.No, client.No}})
	w.wantItems(p)
	if p.Reset || p.Empty() || p.N == 0 || !p.Complete {
		t.Fatalf("%+v", p)
	}
	n := p.N
	if p, _ = w.pull(at(n)); !p.Empty() || !p.Complete {
		t.Fatalf("%+v", p)
	}
	w.write(a, "seen")
	p, _ = w.pull(at(n))
	w.wantItems(p, a)
}

// What was agreed counts only once the page is acknowledged: a request that
// nobody waits for any more must not make the device miss anything.
func TestReconcileSuperseded(t *testing.T) {
	w := newWorld(t)
	a := w.make(child, narrow, "a")
	n := w.settled()
	b := w.make(child, narrow, "b")
	w.pull(pull.Request{Agreed: []uint16{child.No, parent.No, client.No}})
	// The device is where it was: it has a, and not b.
	p, _ := w.pull(at(n))
	var got []ident.Ordinal
	for _, it := range p.Items {
		got = append(got, it.Ord)
	}
	if !slices.Contains(got, b) {
		t.Fatalf("%v without %d; %d is held", got, b, a)
	}
}

func TestOwnWorkFirst(t *testing.T) {
	w := newWorld(t)
	a, b := w.make(parent, narrow, "a"), w.make(parent, narrow, "b")
	c, d := w.make(child, narrow, "c"), w.make(child, narrow, "d")
	req := pull.Request{Fresh: true, Limit: 2, First: func() bits.Set { return bits.Of(b, d) }}
	p, _ := w.pull(req)
	w.wantItems(p, b, d)
	req = at(p.N)
	req.Limit, req.First = 2, func() bits.Set { return bits.Of(b, d) }
	p, _ = w.pull(req)
	w.wantItems(p, a, c)
}

// TestFirstApart: a device that has nothing gets what comes first on a page of its
// own where enough follows it, however often its answer is lost; one that has
// something, or has nothing that comes first, is not kept waiting.
func TestFirstApart(t *testing.T) {
	w := newWorld(t)
	a, b := w.make(parent, narrow, "a"), w.make(parent, narrow, "b")
	c, d := w.make(child, narrow, "c"), w.make(child, narrow, "d")
	first := func() bits.Set { return bits.Of(b, d) }
	fresh := pull.Request{Fresh: true, First: first, Apart: 2}
	for range 2 { // the second supersedes the first
		p, _ := w.pull(fresh)
		w.wantItems(p, b, d)
		if !p.More || p.Complete {
			t.Fatalf("more is %v, complete is %v", p.More, p.Complete)
		}
	}
	rest := at(w.dev.Last)
	rest.First, rest.Apart = first, 2
	p, _ := w.pull(rest)
	w.wantItems(p, a, c)
	if !p.Complete {
		t.Error("the second page does not complete the round")
	}
	for name, req := range map[string]pull.Request{
		"too little follows":      {Fresh: true, First: first, Apart: 3},
		"never apart":             {Fresh: true, First: first},
		"nothing comes first":     {Fresh: true, First: func() bits.Set { return bits.Set{} }, Apart: 1},
		"what is first is hidden": {Fresh: true, First: func() bits.Set { return bits.Of(d + 1) }, Apart: 1},
		"an unknown checkpoint":   {Number: 99, First: first, Apart: 1},
	} {
		w.dev = pull.Device{}
		p, _ := w.pull(req)
		if len(p.Items) != 4 || !p.Complete {
			t.Errorf("%s: %d records, complete is %v", name, len(p.Items), p.Complete)
		}
	}
}

// TestMemoKeepsFirstApart: of two devices that may have the same, the one that has
// to be shown what comes first gets that by itself, though the other, which had its
// page first, got everything at once; and the other way about.
func TestMemoKeepsFirstApart(t *testing.T) {
	w := newWorld(t)
	w.make(parent, narrow, "a")
	b := w.make(parent, narrow, "b")
	w.make(child, narrow, "c")
	d := w.make(child, narrow, "d")
	snap, err := w.eng.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer snap.Close()
	rd, now, memo := state.NewReader(cat, snap), w.sets(), new(pull.Memo)
	all := pull.Request{Number: 99, First: func() bits.Set { return bits.Of(b, d) }, Memo: memo}
	apart := all
	apart.Fresh, apart.Apart = true, 2
	had := pull.Device{Ack: 1, Last: 1}
	for range 2 {
		if p, _, _ := pull.Compute(rd, had, now, all); len(p.Items) != 4 || !p.Complete {
			t.Errorf("%d records at once, complete is %v", len(p.Items), p.Complete)
		}
		p, _, _ := pull.Compute(rd, had, now, apart)
		w.wantItems(p, b, d)
	}
}
