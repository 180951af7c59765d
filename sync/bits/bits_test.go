package bits

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/RoaringBitmap/roaring/v2"
	"pgregory.net/rapid"
)

type model map[uint32]bool

func (m model) sorted() []uint32 {
	out := make([]uint32, 0, len(m))
	for o := range m {
		out = append(out, o)
	}
	slices.Sort(out)
	return out
}

func (m model) clone() model {
	c := make(model, len(m))
	for o := range m {
		c[o] = true
	}
	return c
}

// ordinals cluster so that chunks and sets meet, touch chunk ends, and are
// sometimes far away.
var ordinal = rapid.OneOf(
	rapid.Uint32Range(0, 40),
	rapid.Uint32Range(ChunkSize-20, ChunkSize+20),
	rapid.Uint32Range(3*ChunkSize, 3*ChunkSize+40),
	rapid.Uint32Range(math.MaxUint32-20, math.MaxUint32),
)

// sameChunks reports whether two sets share all their memory.
func sameChunks(a, b Set) bool {
	if len(a.slots) != len(b.slots) {
		return false
	}
	for i, e := range a.slots {
		if e != b.slots[i] {
			return false
		}
	}
	return true
}

// check compares everything one can ask of a set.
func check(t interface {
	Helper()
	Fatalf(string, ...any)
}, s Set, m model,
) {
	t.Helper()
	want := m.sorted()
	if got := s.Slice(); !slices.Equal(got, want) {
		t.Fatalf("slice: %v, want %v", got, want)
	}
	if got := slices.Collect(s.All()); !slices.Equal(got, want) {
		t.Fatalf("all: %v, want %v", got, want)
	}
	if s.Len() != len(want) || s.IsEmpty() != (len(want) == 0) {
		t.Fatalf("length %d, empty %v, want %d", s.Len(), s.IsEmpty(), len(want))
	}
	lo, okLo := s.Min()
	hi, okHi := s.Max()
	if okLo != (len(want) > 0) || okHi != okLo || okLo && (lo != want[0] || hi != want[len(want)-1]) {
		t.Fatalf("from %d to %d (%v, %v) of %v", lo, hi, okLo, okHi, want)
	}
	for i, e := range s.slots {
		if e.c.n == 0 || int(e.c.bm.GetCardinality()) != e.c.n || key(e.c.bm.Minimum()) != e.key || key(e.c.bm.Maximum()) != e.key {
			t.Fatalf("chunk %d is not sound", e.key)
		}
		if i > 0 && s.slots[i-1].key >= e.key {
			t.Fatalf("chunk %d is out of order", e.key)
		}
	}
}

// TestModel runs random operations over a growing stock of sets, each of which
// must stay what it was when it was made.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sets, models := []Set{{}}, []model{{}}
		add := func(s Set, m model) {
			sets, models = append(sets, s), append(models, m)
			check(t, s, m)
		}
		pick := func() int { return rapid.IntRange(0, len(sets)-1).Draw(t, "set") }
		for range rapid.IntRange(1, 25).Draw(t, "steps") {
			i, j := pick(), pick()
			a, b, ma, mb := sets[i], sets[j], models[i], models[j]
			o := ordinal.Draw(t, "ordinal")
			m := ma.clone()
			switch rapid.IntRange(0, 8).Draw(t, "op") {
			case 0:
				ords := rapid.SliceOfN(ordinal, 0, 60).Draw(t, "ordinals")
				m = model{}
				for _, o := range ords {
					m[o] = true
				}
				add(Of(ords...), m)
			case 1:
				to := min(uint64(o)+uint64(rapid.IntRange(0, 300).Draw(t, "length")), math.MaxUint32)
				m = model{}
				for x := uint64(o); x < to; x++ {
					m[uint32(x)] = true
				}
				add(Range(o, uint32(to)), m)
			case 2:
				m[o] = true
				s := a.With(o)
				if ma[o] && !sameChunks(s, a) {
					t.Fatalf("with an ordinal it has is another set")
				}
				add(s, m)
			case 3:
				delete(m, o)
				s := a.Without(o)
				if !ma[o] && !sameChunks(s, a) {
					t.Fatalf("without an ordinal it lacks is another set")
				}
				add(s, m)
			case 4:
				for x := range mb {
					m[x] = true
				}
				add(Or(a, b), m)
			case 5:
				for x := range ma {
					if !mb[x] {
						delete(m, x)
					}
				}
				if AndLen(a, b) != len(m) || Intersects(a, b) != (len(m) > 0) {
					t.Fatalf("counted %d, intersects %v, want %d", AndLen(a, b), Intersects(a, b), len(m))
				}
				add(And(a, b), m)
			case 6:
				for x := range mb {
					delete(m, x)
				}
				add(AndNot(a, b), m)
			case 7:
				many := []Set{a, b}
				for x := range mb {
					m[x] = true
				}
				for range rapid.IntRange(0, 5).Draw(t, "more") {
					k := pick()
					many = append(many, sets[k])
					for x := range models[k] {
						m[x] = true
					}
				}
				add(OrAll(many...), m)
			case 8:
				var bl Builder
				m = model{}
				for range rapid.IntRange(0, 12).Draw(t, "builds") {
					x, k := ordinal.Draw(t, "ordinal"), pick()
					switch rapid.IntRange(0, 3).Draw(t, "build") {
					case 0:
						bl.Add(x)
						m[x] = true
					case 1:
						bl.Remove(x)
						delete(m, x)
					case 2:
						bl.AddSet(sets[k])
						for x := range models[k] {
							m[x] = true
						}
					case 3:
						add(bl.Set(), m.clone())
					}
				}
				add(bl.Set(), m)
			}
			if Equal(a, b) != slices.Equal(ma.sorted(), mb.sorted()) {
				t.Fatalf("equal: %v", Equal(a, b))
			}
			if ma[o] != a.Contains(o) {
				t.Fatalf("contains %d: %v", o, a.Contains(o))
			}
			var rest []uint32
			for _, x := range ma.sorted() {
				if x >= o {
					rest = append(rest, x)
				}
			}
			if got := slices.Collect(a.From(o)); !slices.Equal(got, rest) {
				t.Fatalf("from %d: %v, want %v", o, got, rest)
			}
			for x := range a.From(o) { // stops when told
				if x != rest[0] {
					t.Fatalf("first from %d is %d", o, x)
				}
				break
			}
			sync := clone(rows(a))
			for k, c := range Changed(a, b) {
				if c.IsEmpty() {
					delete(sync, k)
				} else {
					sync[k] = c.Bytes()
				}
			}
			if want := rows(b); fmt.Sprint(sync) != fmt.Sprint(want) {
				t.Fatalf("rows after the change: %v, want %v", sync, want)
			}
		}
		for i, s := range sets { // none was changed by what came after
			check(t, s, models[i])
			back, err := Decode(sortedRows(rows(s)))
			if err != nil || !Equal(s, back) {
				t.Fatalf("decoded: %v, %v", back.Slice(), err)
			}
			b := s.AppendTo([]byte("before"))
			if back, err = Parse(b[6:]); err != nil || !Equal(s, back) || string(b[:6]) != "before" {
				t.Fatalf("parsed: %v, %v", back.Slice(), err)
			}
			check(t, back, models[i])
			if !bytes.Equal(back.AppendTo(nil), b[6:]) || !bytes.Equal(Of(s.Slice()...).AppendTo(nil), b[6:]) {
				t.Fatalf("equal sets have different bytes")
			}
		}
	})
}

func rows(s Set) map[uint16][]byte {
	m := map[uint16][]byte{}
	for k, c := range s.Chunks() {
		m[k] = c.Bytes()
	}
	return m
}

func clone(m map[uint16][]byte) map[uint16][]byte {
	c := map[uint16][]byte{}
	for k, v := range m {
		c[k] = v
	}
	return c
}

func sortedRows(m map[uint16][]byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for k := range 1 << 16 {
			if b, ok := m[uint16(k)]; ok && !yield(uint16(k), b) {
				return
			}
		}
	}
}

// dense returns sets of all kinds of containers in one chunk.
func dense(seed uint64) []Set {
	rnd := rand.New(rand.NewPCG(seed, 1))
	random := func(n int) Set {
		var b Builder
		for range n {
			b.Add(rnd.Uint32N(ChunkSize))
		}
		return b.Set()
	}
	var even Builder
	for o := uint32(0); o < ChunkSize; o += 2 {
		even.Add(o)
	}
	full := Range(0, ChunkSize)
	return []Set{
		{},
		Of(7), random(100), random(4000), random(4200), random(30_000), even.Set(), full,
		Range(100, 60_000), full.Without(33), AndNot(full, random(50)), Range(10, 20),
		AndNot(full, even.Set()), Range(ChunkSize, ChunkSize+5),
	}
}

// TestDense meets every kind of container with every other; the library's
// operations must not hand one set's memory to another that changes.
func TestDense(t *testing.T) {
	ss := dense(1)
	var models []model
	for _, s := range ss {
		m := model{}
		for o := range s.All() {
			m[o] = true
		}
		models = append(models, m)
	}
	count := func(a, b model, keep func(inA, inB bool) bool) int {
		n := 0
		for o := range uint32(ChunkSize + 10) {
			if keep(a[o], b[o]) {
				n++
			}
		}
		return n
	}
	for i, a := range ss {
		for j, b := range ss {
			for name, c := range map[string]struct {
				s    Set
				keep func(a, b bool) bool
			}{
				"or":     {Or(a, b), func(a, b bool) bool { return a || b }},
				"and":    {And(a, b), func(a, b bool) bool { return a && b }},
				"andNot": {AndNot(a, b), func(a, b bool) bool { return a && !b }},
				"all":    {OrAll(a, b, ss[2]), func(a, b bool) bool { return a || b }},
			} {
				want := count(models[i], models[j], c.keep)
				if name == "all" {
					want = AndNot(ss[2], Or(a, b)).Len() + Or(a, b).Len()
				}
				if c.s.Len() != want || len(c.s.Slice()) != want {
					t.Fatalf("%s of %d and %d: %d, %d ordinals, want %d", name, i, j, c.s.Len(), len(c.s.Slice()), want)
				}
				// Change the outcome in every way there is.
				c.s.With(5).Without(6)
				var bl Builder
				bl.AddSet(c.s)
				bl.AddSet(a)
				for o := range uint32(2000) {
					bl.Add(o * 3)
					bl.Remove(o * 5)
				}
				bl.Set()
			}
		}
	}
	for i, s := range ss {
		check(t, s, models[i])
	}
}

// TestSharing: what is the same is the same memory.
func TestSharing(t *testing.T) {
	big := OrAll(Range(0, 300_000), Of(1_000_000))
	part := Range(70_000, 200_000)
	for name, c := range map[string][2]Set{
		"or of a part":       {Or(big, part), big},
		"or of a part, back": {Or(part, big), big},
		"all":                {OrAll(part, big, part, Of(3)), big},
		"and":                {And(big, big), big},
		"and of a part":      {And(part, big), part},
		"andNot apart":       {AndNot(big, Of(900_000)), big},
		"same elements":      {Or(Range(0, 300_000), big), big},
	} {
		if !sameChunks(c[0], c[1]) {
			t.Errorf("%s: chunks were copied", name)
		}
	}
	with := big.With(400_000)
	for i, e := range big.slots[:4] {
		if with.slots[i].c != e.c {
			t.Errorf("chunk %d was copied", i)
		}
	}
	n := 0
	for k := range Changed(big, with) {
		n++
		if k != key(400_000) {
			t.Errorf("chunk %d is said to have changed", k)
		}
	}
	if n != 1 {
		t.Errorf("%d chunks changed", n)
	}
	var b Builder
	b.AddSet(big)
	b.Add(400_000)
	b.Remove(400_000)
	b.Remove(5)
	b.Add(5)
	if !sameChunks(b.Set(), big) {
		t.Error("a builder that came back to what it was copied chunks")
	}
	if n := testing.AllocsPerRun(100, func() { Or(big, with); And(with, big); AndLen(big, with); Equal(big, big) }); n > 4 {
		t.Errorf("%v allocations where nothing is new", n)
	}
}

func TestRowsReadWithStockTools(t *testing.T) {
	s := OrAll(Range(65_000, 70_000), Of(1, 3, 200_001))
	var all []uint32
	for _, c := range s.Chunks() {
		bm := roaring.New()
		if err := bm.UnmarshalBinary(c.Bytes()); err != nil {
			t.Fatal(err)
		}
		if c.Len() != int(bm.GetCardinality()) {
			t.Errorf("length %d, %d read", c.Len(), bm.GetCardinality())
		}
		all = append(all, bm.ToArray()...)
	}
	if !slices.Equal(all, s.Slice()) {
		t.Error("the rows hold something else")
	}
	whole := roaring.New()
	if err := whole.UnmarshalBinary(s.AppendTo(nil)); err != nil || !slices.Equal(whole.ToArray(), s.Slice()) {
		t.Errorf("the whole holds something else, %v", err)
	}
	if n := len(rows(Range(0, ChunkSize))[0]); n > 20 {
		t.Errorf("a full chunk takes %d bytes", n)
	}
}

func TestBytesAreTheSameHoweverMade(t *testing.T) {
	for i, s := range dense(2) {
		var b Builder
		ords := s.Slice()
		rand.New(rand.NewPCG(3, 4)).Shuffle(len(ords), func(i, j int) { ords[i], ords[j] = ords[j], ords[i] })
		b.AddSet(Range(0, 50_000))
		for o := range Range(0, 50_000).All() {
			b.Remove(o)
		}
		for _, o := range ords {
			b.Add(o)
		}
		if fmt.Sprint(rows(b.Set())) != fmt.Sprint(rows(s)) {
			t.Errorf("set %d", i)
		}
		back, err := Decode(sortedRows(rows(s)))
		if err != nil || fmt.Sprint(rows(back.With(70_000).Without(70_000))) != fmt.Sprint(rows(s)) {
			t.Errorf("set %d decoded: %v", i, err)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	row := rows(Of(ChunkSize+1, ChunkSize+2))[1]
	two := Of(1, ChunkSize+1).AppendTo(nil)
	dense := rows(dense(1)[5])[0]
	runs := rows(Range(10, 100))[0]
	edit := func(b []byte, at int, v byte) []byte {
		c := bytes.Clone(b)
		c[at] = v
		return c
	}
	type r struct {
		k uint16
		b []byte
	}
	for name, rs := range map[string][]r{
		"nothing":          {{1, nil}},
		"no containers":    {{1, Set{}.AppendTo(nil)}},
		"cut short":        {{1, row[:len(row)-1]}},
		"left over":        {{1, append(bytes.Clone(row), 0)}},
		"another chunk":    {{2, row}},
		"two chunks":       {{0, two}},
		"twice":            {{1, row}, {1, row}},
		"out of order":     {{2, rows(Of(2 * ChunkSize))[2]}, {1, row}},
		"repeated ordinal": {{1, edit(row, len(row)-2, 1)}},
		"wrong offset":     {{1, edit(row, 12, 17)}},
		"unknown format":   {{1, edit(row, 0, 1)}},
		"wrong count":      {{0, edit(dense, len(dense)-1, dense[len(dense)-1]^1)}},
		"run too long":     {{0, edit(runs, len(runs)-1, 0xff)}},
		"run of others":    {{0, edit(runs, len(runs)-2, 3)}},
	} {
		_, err := Decode(func(yield func(uint16, []byte) bool) {
			for _, r := range rs {
				if !yield(r.k, r.b) {
					return
				}
			}
		})
		if !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if s, err := Decode(sortedRows(nil)); err != nil || !s.IsEmpty() {
		t.Errorf("no rows: %v, %v", s, err)
	}
	if s, err := Parse(nil); err != nil || !s.IsEmpty() {
		t.Errorf("no bytes: %v, %v", s, err)
	}
}

func TestDecodeKeepsNothing(t *testing.T) {
	for i, s := range dense(3) {
		if s.IsEmpty() {
			continue
		}
		rs := rows(s)
		back, err := Decode(sortedRows(rs))
		if err != nil {
			t.Fatal(err)
		}
		whole := s.AppendTo(nil)
		parsed, err := Parse(whole)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range rs {
			clear(b)
		}
		clear(whole)
		if !slices.Equal(back.Slice(), s.Slice()) || !slices.Equal(parsed.Slice(), s.Slice()) {
			t.Errorf("set %d changed with the bytes it was read from", i)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range dense(4) {
		f.Add(s.AppendTo(nil))
		f.Add(OrAll(s, Of(200_000, 300_000, 400_000, 500_000)).AppendTo(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := Parse(b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		again, err := Parse(s.AppendTo(nil))
		if err != nil || !Equal(s, again) || len(s.Slice()) != s.Len() {
			t.Fatalf("%v", err)
		}
		for o := range s.All() {
			if !s.Contains(o) {
				t.Fatalf("%d is listed and not contained", o)
			}
			break
		}
		Or(s, Range(0, 5)).Without(0).With(9)
	})
}

func FuzzDecode(f *testing.F) {
	for _, s := range dense(5) {
		for k, c := range s.Chunks() {
			f.Add(k, c.Bytes())
		}
	}
	f.Fuzz(func(t *testing.T, k uint16, b []byte) {
		s, err := Decode(func(yield func(uint16, []byte) bool) { yield(k, b) })
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		lo, _ := s.Min()
		hi, _ := s.Max()
		if s.IsEmpty() || key(lo) != k || key(hi) != k || len(s.Slice()) != s.Len() {
			t.Fatalf("%d ordinals from %d to %d in chunk %d", s.Len(), lo, hi, k)
		}
		again, err := Decode(sortedRows(rows(s)))
		if err != nil || !Equal(s, again) {
			t.Fatalf("%v", err)
		}
		s.With(first(k)).Without(first(k) + 1)
	})
}

func benchSets(n uint32) (areas []Set, hidden []Set) {
	bs := make([]Builder, 200)
	hs := make([]Builder, 20)
	rnd := rand.New(rand.NewPCG(1, 2))
	for o := range n {
		bs[rnd.IntN(len(bs))].Add(o)
		if o%1000 < 20 {
			hs[o%20].Add(o)
		}
	}
	for i := range bs {
		areas = append(areas, bs[i].Set())
	}
	for i := range hs {
		hidden = append(hidden, hs[i].Set())
	}
	return areas, hidden
}

func BenchmarkMillion(b *testing.B) {
	areas, hidden := benchSets(1_000_000)
	user := OrAll(areas[0], areas[1])
	now := AndNot(user, hidden[0])
	held := now.With(3).Without(100)
	b.Run("user", func(b *testing.B) {
		for b.Loop() {
			AndNot(OrAll(areas[0], areas[1], areas[2]), OrAll(hidden...))
		}
	})
	b.Run("manager", func(b *testing.B) {
		for b.Loop() {
			AndNot(OrAll(areas[:50]...), OrAll(hidden...))
		}
	})
	b.Run("diff", func(b *testing.B) {
		for b.Loop() {
			AndNot(held, now)
			AndNot(now, held)
		}
	})
	b.Run("with", func(b *testing.B) {
		all := OrAll(areas[:100]...)
		o := uint32(0)
		for b.Loop() {
			o = (o + 7919) % 1_000_000
			all.With(o).Without(o + 1)
		}
	})
	b.Run("row", func(b *testing.B) {
		all := OrAll(areas[:100]...)
		for b.Loop() {
			for _, c := range all.Chunks() {
				c.Bytes()
				break
			}
		}
	})
}
