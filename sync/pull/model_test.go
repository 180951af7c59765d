package pull_test

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/sync/bits"
	"satchel/sync/pull"
	"satchel/sync/scope"
	"satchel/sync/state"
	"satchel/sync/store"
)

// The smallest world in which the protocol can go wrong: one device and eight
// records of two types, each in no class, or in one of two. What the records
// hold is their version; pages are lost, come late and in another order.

const records = 8

// rows is a state of eight records: just what pull reads.
type rows struct {
	pos     uint64
	changed [records]uint64
	recs    [records][]byte
	index   map[string][]byte
}

func (r *rows) Get(b store.Bucket, k []byte) []byte {
	switch b {
	case store.Meta:
		if k := string(k); k == "applied" || k == "time" {
			return binary.BigEndian.AppendUint64(nil, r.pos)
		}
	case store.Records:
		if o := binary.BigEndian.Uint32(k); o >= 1 && o <= records {
			return r.recs[o-1]
		}
	}
	return nil
}

func (r *rows) Scan(b store.Bucket, from []byte, fn func(k, v []byte) bool) {
	switch b {
	case store.Index:
		if v, ok := r.index[string(from)]; ok {
			fn(append(append([]byte(nil), from...), 0, 0), v)
		}
	case store.Records:
		for o := binary.BigEndian.Uint32(from); o <= records; o++ {
			if o >= 1 && !fn(binary.BigEndian.AppendUint32(nil, o), r.recs[o-1]) {
				return
			}
		}
	case store.Changes:
		r.scanChanges(binary.BigEndian.Uint64(from), fn)
	}
}

// scanChanges gives the newest positions rows of their own and joins older ones
// by four: who is behind is told too much.
func (r *rows) scanChanges(from uint64, fn func(k, v []byte) bool) {
	type span struct{ first, last uint64 }
	changed := map[span][]uint32{}
	for i, p := range r.changed {
		at := span{p, p}
		if block := (span{p - p%4, p - p%4 + 3}); block.last+2 < r.pos {
			at = block
		}
		changed[at] = append(changed[at], uint32(i+1))
	}
	for _, at := range slices.SortedFunc(maps.Keys(changed), func(a, b span) int { return cmp.Compare(a.last, b.last) }) {
		if at.last < from {
			continue
		}
		v := bits.Of(changed[at]...).AppendTo(binary.AppendUvarint(nil, at.first))
		if !fn(binary.BigEndian.AppendUint64(nil, at.last), v) {
			return
		}
	}
}

func catalogue(t testing.TB) *entity.Catalogue {
	fields := func() []*entity.Field { return []*entity.Field{entity.Integer(1, "a"), entity.Integer(2, "b")} }
	cat, err := entity.NewCatalogue(
		&entity.Type{No: 1, Name: "parent", Apps: []entity.App{entity.Service}, Rank: 1, Fields: fields()},
		&entity.Type{No: 2, Name: "child", Apps: []entity.App{entity.Service}, Rank: 2, Fields: fields()},
	)
	if err != nil {
		t.Fatal(err)
	}
	return cat
}

// variant is the protocol, or the protocol with a rule left out.
type variant struct {
	late     bool // pages may come late; otherwise they are lost or in time
	noUnsure bool // the server forgets what it is unsure of
	noFrom   bool // the phone takes any page
	resets   bool // the phone also asks to heal a type, loses its token, or its store
	ahead    bool // pages of updates alone are not stored; the server forgets them at times
	copies   bool // there is a copy of the phone's store, made at some moment, that goes on as well
	anyStep  bool // what was sent last counts as applied, whatever the phone names
	calm     bool // classes hardly change
	stores   bool // how far an unstored page led is stored as if every copy had come as far
}

// sentAs is what a phone has of a record: the class it was sent in, the version
// of the fields of that class, and that of each, 0 for one it does not see.
type sentAs struct {
	class   int
	version uint64
	fields  [2]uint64
}

// laid is what comes of the fields written at since or later, laid over what a
// phone has.
func (x sentAs) laid(over sentAs, since uint64) sentAs {
	for i, at := range x.fields {
		if at < since {
			x.fields[i] = over.fields[i]
		}
	}
	return x
}

type wirePage struct {
	from, token string
	reset       bool
	types       []uint16
	removed     []uint32
	sent        map[uint32]sentAs
	since       map[uint32]uint64 // from when on the fields of those sent are told, that are not told whole
	complete    map[uint32]sentAs // what the phone then holds, where complete
}

func typeOf(o uint32) uint16 { return uint16(1 + (o-1)/(records/2)) }

// mask of a class: the second sees both fields.
func maskOf(class int) entity.Mask { return []entity.Mask{0, 1 << 1, 1<<1 | 1<<2}[class] }

type history struct {
	rng   *rand.Rand
	cat   *entity.Catalogue
	rows  *rows
	recs  [records]*entity.Record
	class [records]int
	dev   pull.Device
	v     variant

	phone map[uint32]sentAs
	token string
	given map[uint32]bool
	late  []wirePage
	since map[uint32]uint64 // when each record went out that the phone may have had since

	// What is remembered of pages that were not stored, by token: where they lead.
	steps  map[string]pull.Mark
	last   pull.Mark // of these
	number int
	// The copy of the phone, while the other is at work.
	other struct {
		phone map[uint32]sentAs
		token string
	}
}

// change lets the copy go on, or makes another.
func (h *history) change() {
	if h.other.phone == nil || h.rng.IntN(3) == 0 {
		h.other.phone, h.other.token = maps.Clone(h.phone), h.token
		return
	}
	h.phone, h.other.phone = h.other.phone, h.phone
	h.token, h.other.token = h.other.token, h.token
}

func (h *history) seen(o uint32) sentAs {
	c := h.class[o-1]
	if c == 0 {
		return sentAs{}
	}
	r := h.recs[o-1]
	out := sentAs{class: c, version: uint64(r.Last(maskOf(c)).Pos)}
	for i := range out.fields {
		out.fields[i] = uint64(r.Last(maskOf(c) & (1 << (i + 1))).Pos)
	}
	return out
}

func (h *history) write(o uint32, field uint8) {
	h.rows.pos++
	r := h.recs[o-1]
	r.Put(field, entity.IntValue(int64(h.rows.pos)))
	r.Seal(entity.Stamp{Pos: ident.Position(h.rows.pos), At: 1})
	h.rows.recs[o-1] = r.Append(nil)
	h.rows.changed[o-1] = h.rows.pos
}

func (h *history) now() scope.Sets {
	by := map[scope.Class][]uint32{}
	var out scope.Sets
	for _, typ := range []uint16{1, 2} {
		for c := 1; c <= 2; c++ {
			cl := scope.Class{Type: typ, Mask: maskOf(c)}
			for o := uint32(1); o <= records; o++ {
				if typeOf(o) == typ && h.class[o-1] == c {
					by[cl] = append(by[cl], o)
				}
			}
			if len(by[cl]) > 0 {
				out = append(out, scope.Part{Class: cl, Set: bits.Of(by[cl]...)})
			}
		}
	}
	return out
}

// pull is a pull as apply handles it: the state is kept only where Compute
// says that it changed.
func (h *history) pull(token string, limit int, heal []uint16) (wirePage, string) {
	req := pull.Request{Limit: limit, Heal: heal, Fresh: token == ""}
	if !req.Fresh {
		base, _, _ := strings.Cut(token, "+")
		n, err := strconv.ParseUint(base, 10, 64)
		req.Number, req.Known = n, err == nil
	}
	// What the phone says of itself is stored, at times.
	says := h.v.ahead && h.rng.IntN(6) == 0
	if h.v.ahead {
		if h.rng.IntN(20) == 0 { // a restart
			h.steps = map[string]pull.Mark{}
		}
		if m, ok := h.steps[token]; ok {
			req.Since = &m
		}
		if h.v.anyStep && h.last != (pull.Mark{}) {
			req.Since = &h.last
		}
		if !says {
			req.Ahead = 2
		}
	}
	if h.rng.IntN(3) == 0 {
		first := bits.Of(1+uint32(h.rng.IntN(records)), 1+uint32(h.rng.IntN(records)))
		req.First, req.Apart = func() bits.Set { return first }, h.rng.IntN(4)
	}
	rd := state.NewReader(h.cat, h.rows)
	if p := h.dev.Pending; p != nil && req.Known && req.Number == p.N {
		h.givenUp(p)
	}
	page, after, changed := pull.Compute(rd, h.dev, h.now(), req)
	if h.v.noUnsure {
		after.Unsure = bits.Set{}
	}
	if h.v.stores && page.Empty() {
		after.Mark = page.Mark
	}
	if changed || says || !page.Empty() && !page.Ahead {
		h.dev = after
	}
	out := wirePage{from: token, token: token, reset: page.Reset, types: page.ResetTypes, removed: page.Removed.Slice()}
	out.sent, out.since = map[uint32]sentAs{}, map[uint32]uint64{}
	switch {
	case page.Ahead:
		h.number++
		base, _, _ := strings.Cut(token, "+")
		out.token = base + "+" + strconv.Itoa(h.number)
		h.steps[out.token], h.last = page.Mark, page.Mark
	case !page.Empty():
		out.token = strconv.FormatUint(page.N, 10)
	case h.v.ahead && token != "":
		h.steps[token] = page.Mark
	}
	if len(page.Items) > max(limit, 1) {
		return out, "a page is longer than its limit"
	}
	if bad := h.arrivals(); bad != "" {
		return out, bad
	}
	last := 0
	for _, o := range out.removed {
		if h.class[o-1] != 0 {
			return out, "a removal of what is visible"
		}
		if !h.given[o] {
			return out, "a removal of what was never given"
		}
	}
	for i, it := range page.Items {
		if from, ok := page.Lacks(i); ok {
			out.since[it.Ord] = uint64(from)
		}
		want := h.seen(it.Ord)
		if want.class == 0 || maskOf(want.class) != it.Class.Mask {
			return out, "a record is sent in another class than its own"
		}
		if _, twice := out.sent[it.Ord]; twice {
			return out, "a record is sent twice on a page"
		}
		out.sent[it.Ord] = want
		h.given[it.Ord] = true
		last++
	}
	if page.Complete {
		out.complete = map[uint32]sentAs{}
		for o := uint32(1); o <= records; o++ {
			if x := h.seen(o); x.class != 0 {
				out.complete[o] = x
			}
		}
	}
	return out, ""
}

// givenUp forgets since when the phone had what it gives up with a page that it
// acknowledges.
func (h *history) givenUp(p *pull.Pending) {
	sent := p.Sent.All()
	for o := range h.since {
		dropped := p.Reset && (p.ResetTypes == nil || slices.Contains(p.ResetTypes, typeOf(o)))
		if (dropped || p.Removed.Contains(o)) && !sent.Contains(o) {
			delete(h.since, o)
		}
	}
}

// arrivals holds what the device says of its arrivals against what was seen to
// happen.
func (h *history) arrivals() string {
	has := h.dev.Holds()
	for o := uint32(1); o <= records; o++ {
		if !has.Contains(o) {
			delete(h.since, o)
		} else if h.since[o] == 0 {
			h.since[o] = h.rows.pos
		}
		if at, ok := h.dev.Since(bits.Of(o)); ok != has.Contains(o) || uint64(at) != h.since[o] {
			return "a record is said to be there since another time"
		}
	}
	var all bits.Set
	for i, a := range h.dev.Arrivals {
		if a.Set.IsEmpty() || bits.Intersects(all, a.Set) || i > 0 && h.dev.Arrivals[i-1].At >= a.At {
			return "arrivals overlap, are empty or out of order"
		}
		all = bits.Or(all, a.Set)
	}
	if !bits.Equal(all, bits.Or(h.dev.Held.All(), h.dev.Unsure)) {
		return "arrivals are of other records than are held"
	}
	return ""
}

// apply takes a page as a phone does.
func (h *history) apply(p wirePage) string {
	if p.from != h.token && !h.v.noFrom {
		return ""
	}
	if p.reset {
		for o := range h.phone {
			hit := p.types == nil
			for _, t := range p.types {
				hit = hit || t == typeOf(o)
			}
			if hit {
				delete(h.phone, o)
			}
		}
	}
	for _, o := range p.removed {
		delete(h.phone, o)
	}
	for o, x := range p.sent {
		if since, changes := p.since[o]; changes && !h.v.noFrom {
			if h.phone[o].class != x.class {
				return "changed fields of what the phone does not have"
			}
			if x.laid(h.phone[o], since) != x {
				return "changed fields are missing"
			}
		}
		h.phone[o] = x
	}
	h.token = p.token
	if p.complete != nil {
		if s := differ(p.complete, h.phone); s != "" {
			return "a complete page, applied: " + s
		}
	}
	return ""
}

func differ(want, got map[uint32]sentAs) string {
	for o := uint32(1); o <= records; o++ {
		switch w, g := want[o], got[o]; {
		case w == g:
		case w.class == 0:
			return "a revoked record stays"
		case g.class == 0:
			return "a record is missing"
		case w.class != g.class:
			return "a record is in another class"
		default:
			return "a record is stale"
		}
	}
	return ""
}

func newHistory(cat *entity.Catalogue, seed uint64, v variant) *history {
	h := &history{
		rng: rand.New(rand.NewPCG(seed, 1)), cat: cat, v: v, phone: map[uint32]sentAs{}, given: map[uint32]bool{}, since: map[uint32]uint64{},
		rows: &rows{index: map[string][]byte{}}, steps: map[string]pull.Mark{},
	}
	for o := uint32(1); o <= records; o++ {
		h.recs[o-1] = &entity.Record{Type: cat.TypeNo(typeOf(o)), ID: ident.RecordID(fmt.Sprintf("record-%d", o)), Ord: o}
		h.write(o, 1)
		h.write(o, 2)
		h.class[o-1] = h.rng.IntN(3)
	}
	for typ, set := range map[uint16]bits.Set{1: bits.Range(1, records/2+1), 2: bits.Range(records/2+1, records+1)} {
		for _, c := range set.Chunks() {
			h.rows.index[string(state.TypeKey(typ))] = c.Bytes()
		}
	}
	return h
}

// runHistory plays one history and returns what went wrong, "" for nothing.
func runHistory(cat *entity.Catalogue, seed uint64, steps int, v variant) string {
	h := newHistory(cat, seed, v)
	deliver := func(p wirePage) string {
		switch h.rng.IntN(3) {
		case 0:
			return h.apply(p)
		case 2:
			if v.late {
				h.late = append(h.late, p)
			}
		}
		return ""
	}
	for range steps {
		bad := ""
		if v.copies && h.rng.IntN(10) == 0 {
			h.change()
		}
		switch h.rng.IntN(4) {
		case 0, 1:
			// Half of what happens happens to two records, so that classes change
			// to and fro between two pages.
			o := uint32(1 + h.rng.IntN(records))
			if h.rng.IntN(2) == 0 {
				o = uint32(1 + 4*h.rng.IntN(2))
			}
			if h.rng.IntN(2) == 0 && (!v.calm || h.rng.IntN(10) == 0) {
				h.rows.pos++
				h.class[o-1] = (h.class[o-1] + 1 + h.rng.IntN(2)) % 3
			} else {
				h.write(o, uint8(1+h.rng.IntN(2)))
			}
		case 2:
			var heal []uint16
			if v.resets {
				switch h.rng.IntN(12) {
				case 0:
					heal = []uint16{uint16(1 + h.rng.IntN(2))}
				case 1:
					h.token = "not a number of this device"
				case 2:
					h.token, h.phone = "", map[uint32]sentAs{}
				}
			}
			var p wirePage
			if p, bad = h.pull(h.token, 1+h.rng.IntN(3), heal); bad == "" {
				bad = deliver(p)
			}
		case 3:
			if len(h.late) > 0 {
				k := h.rng.IntN(len(h.late))
				p := h.late[k]
				h.late = append(h.late[:k], h.late[k+1:]...)
				bad = h.apply(p)
			}
		}
		if bad != "" {
			return bad
		}
	}
	if bad := h.settle(); bad != "" || h.other.phone == nil {
		return bad
	}
	h.phone, h.token = h.other.phone, h.other.token
	if bad := h.settle(); bad != "" {
		return "of the copy: " + bad
	}
	return ""
}

// settle lets the phone pull until there is nothing more.
func (h *history) settle() string {
	for range 40 {
		p, bad := h.pull(h.token, 2, nil)
		if bad == "" {
			bad = h.apply(p)
		}
		if bad != "" {
			return bad
		}
		if p.complete != nil && p.token == p.from {
			break
		}
	}
	want := map[uint32]sentAs{}
	for o := uint32(1); o <= records; o++ {
		if x := h.seen(o); x.class != 0 {
			want[o] = x
		}
	}
	return differ(want, h.phone)
}

// seeds is how many histories are played: PULL_SEEDS, or a few.
func seeds(short int) uint64 {
	if n, err := strconv.Atoi(os.Getenv("PULL_SEEDS")); err == nil {
		return uint64(n)
	}
	return uint64(short)
}

func failures(t *testing.T, v variant, n uint64, steps int) (bad map[string]int, total int) {
	cat := catalogue(t)
	bad = map[string]int{}
	for seed := range n {
		if s := runHistory(cat, seed, steps, v); s != "" {
			bad[s]++
			total++
			if total == 1 {
				t.Logf("seed %d: %s", seed, s)
			}
		}
	}
	return bad, total
}

// TestProtocolHolds: with all its rules the protocol brings every phone into
// step, whatever is lost or late.
func TestProtocolHolds(t *testing.T) {
	for name, v := range map[string]variant{
		"losses": {}, "late pages": {late: true}, "late pages, resets": {late: true, resets: true},
		"pages not stored": {late: true, resets: true, ahead: true}, "copies": {late: true, resets: true, copies: true},
		"pages not stored, copies": {late: true, resets: true, ahead: true, copies: true},
		"pages not stored, calm":   {late: true, ahead: true, copies: true, calm: true},
	} {
		t.Run(name, func(t *testing.T) {
			if bad, n := failures(t, v, seeds(800), 80); n > 0 {
				t.Errorf("%d histories went wrong: %v", n, bad)
			}
		})
	}
}

// TestRulesAreNeeded: without any one rule some histories go wrong. It shows
// that the test above can fail, and why the rules are there.
func TestRulesAreNeeded(t *testing.T) {
	for name, v := range map[string]variant{
		"nothing unsure, losses":     {noUnsure: true},
		"nothing unsure, late pages": {noUnsure: true, late: true},
		"any page taken":             {noFrom: true, late: true},
		"any step taken":             {ahead: true, anyStep: true},
		"steps stored":               {ahead: true, copies: true, stores: true, calm: true},
	} {
		t.Run(name, func(t *testing.T) {
			if _, n := failures(t, v, 300, 80); n == 0 {
				t.Error("no history went wrong")
			} else {
				t.Logf("%d of 300 histories go wrong", n)
			}
		})
	}
}

func FuzzProtocol(f *testing.F) {
	f.Add(uint64(1), uint8(80))
	f.Fuzz(func(t *testing.T, seed uint64, steps uint8) {
		if s := runHistory(catalogue(t), seed, int(steps), variant{late: true, resets: true, ahead: true, copies: true}); s != "" {
			t.Error(s)
		}
	})
}

// TestClassToAndFro: a record that stands in another class while the mark
// passes its change, and in the old one again afterwards, is sent again.
func TestClassToAndFro(t *testing.T) {
	h := newHistory(catalogue(t), 1, variant{})
	h.class = [records]int{}
	h.class[1] = 1
	step := func(limit int) {
		t.Helper()
		p, bad := h.pull(h.token, limit, nil)
		if bad == "" {
			bad = h.apply(p)
		}
		if bad != "" {
			t.Fatal(bad)
		}
	}
	step(0)
	h.write(2, 1)
	h.class[0], h.class[1] = 1, 2 // record 1 arrives first and fills the page
	step(1)
	h.class[1] = 1
	step(0)
	step(0)
	if got, want := h.phone[2], h.seen(2); got != want {
		t.Errorf("the phone has %v, not %v", got, want)
	}
}
