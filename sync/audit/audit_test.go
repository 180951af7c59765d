package audit

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/sync/store"
)

// book is a trail under test, on a store of its own.
type book struct {
	t     testing.TB
	eng   *store.Mem
	typ   *entity.Type
	recs  map[ident.Ordinal]*entity.Record
	pos   ident.Position
	nexts byte
}

func newBook(t testing.TB) *book {
	return &book{t: t, eng: store.NewMem(), typ: &entity.Type{No: 7, Name: "thing"}, recs: map[ident.Ordinal]*entity.Record{}}
}

func idOf(o ident.Ordinal) ident.RecordID { return ident.RecordID(fmt.Sprintf("thing-no-%d", o)) }

// write changes fields of a record, makes it where it is not there, and
// returns the row. No values: the record is removed.
func (b *book) write(o ident.Ordinal, keep bool, kv map[uint8]string) Row {
	b.nexts++
	row := Row{Op: Patch, At: ident.Millis(1000 * b.pos), Actor: "emp-one-1", Device: "device-1", For: "emp-two-1", Name: "do"}
	row.Done = row.At - 500
	before := b.recs[o]
	if kv == nil {
		var m entity.Mask
		for _, c := range before.Cells {
			m |= 1 << c.No
		}
		row.Op = Delete
		row.Describe(before, nil, m, Salt{b.nexts}, true)
		delete(b.recs, o)
		return row
	}
	after := &entity.Record{Type: b.typ, ID: idOf(o), Ord: o}
	if before != nil {
		after = before.Clone()
	} else {
		row.Op = Create
		after.Put(entity.NoClientID, entity.RefValue("client-of-things"))
	}
	for no, v := range kv {
		var val entity.Value
		if v != "" {
			val = entity.StringValue(v)
		}
		after.Put(no, val)
	}
	fields := after.Dirty()
	after.Seal(entity.Stamp{Pos: b.pos, At: row.At, By: row.Actor})
	row.Describe(before, after, fields, Salt{b.nexts}, keep)
	b.recs[o] = after
	return row
}

// entry seals the rows that f makes as one log entry.
func (b *book) entry(f func() []Row) {
	b.t.Helper()
	b.pos += 3 // most entries change nothing
	rows := f()
	b.update(func(w store.Writer) {
		st := store.NewStage(w)
		Seal(st, b.pos, rows)
		if err := st.Flush(w); err != nil {
			b.t.Fatal(err)
		}
	})
}

func (b *book) update(f func(w store.Writer)) {
	b.t.Helper()
	if err := b.eng.Update(func(w store.Writer) error { f(w); return nil }); err != nil {
		b.t.Fatal(err)
	}
}

func (b *book) read(f func(r store.Reader)) {
	b.t.Helper()
	snap, err := b.eng.Snapshot()
	if err != nil {
		b.t.Fatal(err)
	}
	defer snap.Close()
	f(snap)
}

// problems is what Check finds.
func (b *book) problems() (out []string) {
	b.t.Helper()
	b.read(func(r store.Reader) {
		Check(r, func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) })
	})
	return out
}

// sample is a trail of every kind of row.
func sample(t testing.TB) *book {
	b := newBook(t)
	b.entry(func() []Row { return []Row{b.write(1, true, map[uint8]string{1: "a", 2: "b"})} })
	b.entry(func() []Row {
		return []Row{
			b.write(2, true, map[uint8]string{1: "x"}), b.write(1, true, map[uint8]string{1: "aa", 2: ""}),
			b.write(1, true, map[uint8]string{1: "aaa"}),
		}
	})
	b.entry(func() []Row {
		return []Row{{Op: SignIn, At: ident.Millis(1000 * b.pos), Actor: "emp-one-1", Session: "s1", Type: 3, ID: "emp-one-1"}}
	})
	b.entry(func() []Row { return []Row{b.write(3, false, map[uint8]string{1: "i"}), b.write(2, true, nil)} })
	b.entry(func() []Row { return []Row{b.write(1, true, map[uint8]string{2: "back"})} })
	if ps := b.problems(); len(ps) > 0 {
		t.Fatalf("a whole trail: %q", ps)
	}
	return b
}

// raw returns the stored rows.
func (b *book) raw() (ks, vs [][]byte) {
	b.read(func(r store.Reader) {
		r.Scan(store.Audit, []byte{rowPrefix}, func(k, v []byte) bool {
			ks, vs = append(ks, bytes.Clone(k)), append(vs, bytes.Clone(v))
			return true
		})
	})
	return ks, vs
}

func put(t testing.TB, w store.Writer, b store.Bucket, k, v []byte) {
	t.Helper()
	if err := w.Put(b, k, v); err != nil {
		t.Fatal(err)
	}
}

func del(t testing.TB, w store.Writer, b store.Bucket, k []byte) {
	t.Helper()
	if err := w.Delete(b, k); err != nil {
		t.Fatal(err)
	}
}

func mention(ps []string, keys ...Key) bool {
	for _, k := range keys {
		if slices.ContainsFunc(ps, func(p string) bool { return strings.HasPrefix(p, "audit "+k.String()+":") }) {
			return true
		}
	}
	return false
}

func keyOf(t testing.TB, k []byte) Key {
	t.Helper()
	key, ok := parseKey(k)
	if !ok {
		t.Fatalf("key %x", k)
	}
	return key
}

// TestFlip changes every bit of every row, key and value: each is found, and
// for a value no row but that one is blamed.
func TestFlip(t *testing.T) {
	whole := sample(t)
	ks, vs := whole.raw()
	for i := range ks {
		for bit := range 8 * len(vs[i]) {
			// The salt of values that were not kept proves itself only by the
			// values, like one of values that were erased.
			if row, err := decode(keyOf(t, ks[i]), vs[i]); err == nil && row.State == HashOnly && bit/8 >= len(vs[i])-len(row.salt) {
				continue
			}
			b := &book{t: t, eng: whole.eng.Clone()}
			v := bytes.Clone(vs[i])
			v[bit/8] ^= 1 << (bit % 8)
			b.update(func(w store.Writer) { put(t, w, store.Audit, ks[i], v) })
			ps := b.problems()
			if !mention(ps, keyOf(t, ks[i])) {
				t.Fatalf("row %d, bit %d: %q", i, bit, ps)
			}
			for j := range ks {
				if j != i && bit >= 8*34 && strings.Contains(strings.Join(ps, "\n"), "audit "+keyOf(t, ks[j]).String()+": does not follow") {
					t.Fatalf("row %d, bit %d is blamed on row %d: %q", i, bit, j, ps)
				}
			}
		}
		for bit := range 8 * len(ks[i]) {
			b := &book{t: t, eng: whole.eng.Clone()}
			k := bytes.Clone(ks[i])
			k[bit/8] ^= 1 << (bit % 8)
			b.update(func(w store.Writer) {
				del(t, w, store.Audit, ks[i])
				put(t, w, store.Audit, k, vs[i])
			})
			if len(b.problems()) == 0 {
				t.Fatalf("row %d, bit %d of the key: not found", i, bit)
			}
		}
	}
}

func TestDeleteReorderTruncate(t *testing.T) {
	whole := sample(t)
	ks, vs := whole.raw()
	for i := range ks {
		b := &book{t: t, eng: whole.eng.Clone()}
		b.update(func(w store.Writer) { del(t, w, store.Audit, ks[i]) })
		// The row behind the gap is named; behind the last there is none.
		ps := b.problems()
		if i+1 < len(ks) && !mention(ps, keyOf(t, ks[i+1])) || i+1 == len(ks) && !strings.Contains(strings.Join(ps, "\n"), "cut off") {
			t.Errorf("row %d deleted: %q", i, ps)
		}
		for j := range i {
			b := &book{t: t, eng: whole.eng.Clone()}
			b.update(func(w store.Writer) {
				put(t, w, store.Audit, ks[i], vs[j])
				put(t, w, store.Audit, ks[j], vs[i])
			})
			if ps := b.problems(); !mention(ps, keyOf(t, ks[i])) || !mention(ps, keyOf(t, ks[j])) {
				t.Errorf("rows %d and %d swapped: %q", i, j, ps)
			}
		}
		b = &book{t: t, eng: whole.eng.Clone()}
		b.update(func(w store.Writer) {
			for _, k := range ks[i:] {
				del(t, w, store.Audit, k)
			}
		})
		if ps := b.problems(); !strings.Contains(strings.Join(ps, "\n"), "cut off") {
			t.Errorf("truncated at %d: %q", i, ps)
		}
		// Whoever cuts off the beginning must say so in the cut.
		b = &book{t: t, eng: whole.eng.Clone()}
		b.update(func(w store.Writer) {
			for _, k := range ks[:i+1] {
				del(t, w, store.Audit, k)
			}
		})
		if len(b.problems()) == 0 {
			t.Errorf("the first %d rows gone: not found", i+1)
		}
	}
}

// TestMeta changes what stands beside the rows.
func TestMeta(t *testing.T) {
	whole := sample(t)
	for name, f := range map[string]func(w store.Writer){
		"no head":  func(w store.Writer) { del(t, w, store.Meta, []byte(metaHead)) },
		"no cut":   func(w store.Writer) { del(t, w, store.Meta, []byte(metaCut)) },
		"neither":  func(w store.Writer) { del(t, w, store.Meta, []byte(metaHead)); del(t, w, store.Meta, []byte(metaCut)) },
		"old head": func(w store.Writer) { put(t, w, store.Meta, []byte(metaHead), Head{Key: Key{6, 2}, Count: 4}.bytes()) },
		"count": func(w store.Writer) {
			h, _ := ReadHead(w)
			h.Count++
			put(t, w, store.Meta, []byte(metaHead), h.bytes())
		},
		"a removal forgotten": func(w store.Writer) { del(t, w, store.Audit, goneKey(2)) },
		"a removal invented":  func(w store.Writer) { put(t, w, store.Audit, goneKey(1), make([]byte, 12)) },
		"a removal moved":     func(w store.Writer) { put(t, w, store.Audit, goneKey(2), Key{3, 0}.append(nil)[1:]) },
		"a stray row":         func(w store.Writer) { put(t, w, store.Audit, []byte("x"), nil) },
	} {
		b := &book{t: t, eng: whole.eng.Clone()}
		b.update(f)
		if len(b.problems()) == 0 {
			t.Errorf("%s: not found", name)
		}
	}
}

// heads collects the head after every entry of a trail.
func heads(b *book) (out []Head) {
	b.read(func(r store.Reader) {
		if err := Back(r, Last, func(row *Row) bool {
			if len(out) == 0 || out[len(out)-1].Pos != row.Pos {
				out = append(out, Head{Key: row.Key, Hash: row.Hash})
			}
			return true
		}); err != nil {
			b.t.Fatal(err)
		}
	})
	return out
}

// TestKeptHead: what a forger with the whole file can do leaves a trail that
// agrees with itself; a head kept elsewhere tells.
func TestKeptHead(t *testing.T) {
	whole := sample(t)
	all := heads(whole)
	if len(all) != 5 {
		t.Fatalf("%d heads", len(all))
	}
	whole.read(func(r store.Reader) {
		for _, h := range all {
			kept, err := ParseHead(h.String())
			if err != nil || Contains(r, kept) != nil {
				t.Errorf("%s: %v, %v", h, err, Contains(r, kept))
			}
			kept.Hash[5] ^= 1
			if Contains(r, kept) == nil {
				t.Errorf("%s with another hash lies on the trail", h)
			}
			kept.Pos++
			if Contains(r, kept) == nil {
				t.Errorf("%s at another place lies on the trail", h)
			}
		}
	})
	// The forger cuts the end off and moves the head.
	b := &book{t: t, eng: whole.eng.Clone()}
	ks, _ := b.raw()
	b.update(func(w store.Writer) {
		row, err := Read(w, keyOf(t, ks[3]))
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range ks[4:] {
			del(t, w, store.Audit, k)
		}
		del(t, w, store.Audit, goneKey(2))
		put(t, w, store.Meta, []byte(metaHead), Head{row.Key, 4, row.Hash}.bytes())
	})
	if ps := b.problems(); len(ps) > 0 {
		t.Fatalf("the forgery shows by itself: %q", ps)
	}
	b.read(func(r store.Reader) {
		for i, h := range all {
			if lost := h.Pos > 6; (Contains(r, h) != nil) != lost {
				t.Errorf("head %d: lost %v, %v", i, lost, Contains(r, h))
			}
		}
	})
	// The forger writes everything anew, with another actor in the first row.
	forged := newBook(t)
	whole.read(func(r store.Reader) {
		byEntry := map[ident.Position][]Row{}
		var order []ident.Position
		for _, k := range ks {
			row, err := Read(r, keyOf(t, k))
			if err != nil {
				t.Fatal(err)
			}
			if len(order) == 0 {
				row.Actor = "emp-innocent"
			}
			if byEntry[row.Pos] == nil {
				order = append(order, row.Pos)
			}
			byEntry[row.Pos] = append(byEntry[row.Pos], *row)
		}
		for _, pos := range order {
			forged.pos = pos - 3
			forged.entry(func() []Row { return byEntry[pos] })
		}
	})
	if ps := forged.problems(); len(ps) > 0 {
		t.Fatalf("the forgery shows by itself: %q", ps)
	}
	forged.read(func(r store.Reader) {
		for _, h := range all {
			if Contains(r, h) == nil {
				t.Errorf("%s lies on a trail that was written anew", h)
			}
		}
	})
}

func TestParseHeadRefuses(t *testing.T) {
	for _, s := range []string{"", "@", "ab@3", strings.Repeat("ab", 32), strings.Repeat("ab", 32) + "@", strings.Repeat("zz", 32) + "@3", strings.Repeat("ab", 32) + "@-3"} {
		if _, err := ParseHead(s); err == nil {
			t.Errorf("%q was taken for a head", s)
		}
	}
}

func TestErase(t *testing.T) {
	b := sample(t)
	b.update(func(w store.Writer) {
		st := store.NewStage(w)
		if took, err := Erase(st, Key{6, 1}); err != nil || !took {
			t.Fatal(took, err)
		}
		if took, err := Erase(st, Key{6, 1}); err != nil || took {
			t.Error("erased twice", err)
		}
		if _, err := Erase(st, Key{7, 3}); err == nil {
			t.Error("erased what is not there")
		}
		if err := st.Flush(w); err != nil {
			t.Fatal(err)
		}
	})
	if ps := b.problems(); len(ps) > 0 {
		t.Fatalf("after erasing: %q", ps)
	}
	b.read(func(r store.Reader) {
		row, err := Read(r, Key{6, 1})
		if err != nil || row.State != Erased {
			t.Fatalf("%v, %v", row, err)
		}
		cs, err := row.Changes()
		if err != nil || len(cs) != 2 || cs[0].Before != nil || cs[0].After != nil {
			t.Errorf("%v, %v", cs, err)
		}
		if rep := Check(r, t.Errorf); rep.Erased != 1 || rep.Rows != 8 {
			t.Errorf("%+v", rep)
		}
		if v := r.Get(store.Audit, Key{6, 1}.append(nil)); bytes.Contains(v, []byte("aa")) {
			t.Error("the value is still there")
		}
	})
}

// TestCut cuts at every instant: what is kept proves itself, behind a cut that
// says what came before.
func TestCut(t *testing.T) {
	whole := sample(t)
	all := heads(whole)
	for at := ident.Millis(0); at <= 17_000; at += 1000 {
		b := &book{t: t, eng: whole.eng.Clone()}
		kept := 0
		for _, h := range all {
			if ident.Millis(1000*h.Pos) >= at {
				kept++
			}
		}
		removed := 0
		b.update(func(w store.Writer) {
			_, n, more, err := Cut(w, at)
			if err != nil || more {
				t.Fatal(more, err)
			}
			removed = n
		})
		if ps := b.problems(); len(ps) > 0 {
			t.Errorf("cut before %d: %q", at, ps)
		}
		b.read(func(r store.Reader) {
			rep := Check(r, t.Errorf)
			if rep.Rows+removed != 8 || rep.Head.Count != 8 || rep.Cut.Count != uint64(removed) {
				t.Errorf("cut before %d: %d removed, %+v", at, removed, rep)
			}
			for i, h := range all { // newest first
				if err := Contains(r, h); (err == nil) != (i <= kept) {
					t.Errorf("cut before %d, %d entries kept: head at %d: %v", at, kept, h.Pos, err)
				}
			}
			if row, err := Gone(r, 2); err != nil || (row != nil) != (at <= 12_000) {
				t.Errorf("cut before %d: removal %v, %v", at, row, err)
			}
		})
		// It goes on behind the cut.
		b.typ, b.pos, b.recs = whole.typ, 15, map[ident.Ordinal]*entity.Record{}
		b.entry(func() []Row { return []Row{b.write(9, true, map[uint8]string{1: "new"})} })
		if ps := b.problems(); len(ps) > 0 {
			t.Errorf("after a cut before %d: %q", at, ps)
		}
	}
}

// TestCutInSteps: a large trail is cut in transactions that end at entries.
func TestCutInSteps(t *testing.T) {
	b := newBook(t)
	o := ident.Ordinal(0)
	for range 4 {
		b.entry(func() (rows []Row) {
			for range 7000 {
				o++
				rows = append(rows, b.write(o, false, map[uint8]string{1: "v"}))
			}
			return rows
		})
	}
	steps := []int{}
	for more := true; more; {
		b.update(func(w store.Writer) {
			var n int
			var err error
			if _, n, more, err = Cut(w, 1<<40); err != nil {
				t.Fatal(err)
			}
			steps = append(steps, n)
		})
		if ps := b.problems(); len(ps) > 0 {
			t.Fatalf("after step %d: %q", len(steps), ps)
		}
	}
	if !slices.Equal(steps, []int{14000, 14000}) {
		t.Errorf("steps of %v rows", steps)
	}
}

func TestReading(t *testing.T) {
	b := sample(t)
	b.read(func(r store.Reader) {
		var got []string
		collect := func(row *Row) bool { got = append(got, row.Key.String()); return true }
		if err := Of(r, 1, Key{15, Last.N}, collect); err != nil || strings.Join(got, " ") != "15.0 6.2 6.1 3.0" {
			t.Errorf("changes of 1: %v, %v", got, err)
		}
		got = nil
		if err := Of(r, 1, Key{6, 1}, collect); err != nil || strings.Join(got, " ") != "6.1 3.0" {
			t.Errorf("changes of 1 from within an entry: %v, %v", got, err)
		}
		got = nil
		if row, err := Gone(r, 2); err != nil || row.Key != (Key{12, 1}) || !row.Removed {
			t.Fatalf("%v, %v", row, err)
		}
		if err := Of(r, 2, Key{12, 1}, collect); err != nil || strings.Join(got, " ") != "12.1 6.0" {
			t.Errorf("changes of 2: %v, %v", got, err)
		}
		got = nil
		if err := Of(r, 5, Key{12, 1}, collect); err != nil || got != nil {
			t.Errorf("changes of nothing: %v, %v", got, err)
		}
		if row, err := Gone(r, 1); row != nil || err != nil {
			t.Errorf("a removal of what is there: %v, %v", row, err)
		}
		for at, want := range map[ident.Millis]ident.Position{0: 2, 3000: 2, 3001: 5, 6000: 5, 12_000: 11, 15_000: 14, 15_001: 15, 1 << 40: 15} {
			k, err := Until(r, at)
			last := Key{}
			if err == nil {
				err = Back(r, k, func(row *Row) bool { last = row.Key; return false })
			}
			if err != nil || last.Pos > want || (last.Pos != 0 && ident.Millis(1000*last.Pos) >= at) || (want >= 3 && last.Pos+3 <= want && ident.Millis(1000*(last.Pos+3)) < at) {
				t.Errorf("before %d: %v, so %v, %v", at, k, last, err)
			}
		}
		row, err := Read(r, Key{6, 1})
		if err != nil {
			t.Fatal(err)
		}
		cs, err := row.Changes()
		if err != nil || fmt.Sprintf("%d %s %s %d %s %s", cs[0].No, cs[0].Before, cs[0].After, cs[1].No, cs[1].Before, cs[1].After) != `1 "a" "aa" 2 "b" ` {
			t.Errorf("%q, %v", cs, err)
		}
		if row.Actor != "emp-one-1" || row.Device != "device-1" || row.For != "emp-two-1" || row.At-row.Done != 500 || row.Client != "client-of-things" || row.Op != Patch || row.Link != 3 {
			t.Errorf("%+v", row)
		}
	})
}

// TestAgrees holds rows against the records they left.
func TestAgrees(t *testing.T) {
	b := sample(t)
	b.read(func(r store.Reader) {
		for _, x := range []struct {
			k          Key
			o          ident.Ordinal
			yes, known bool
		}{{Key{15, 0}, 1, true, true}, {Key{6, 1}, 1, false, true}, {Key{12, 0}, 3, true, true}, {Key{12, 1}, 3, false, false}} {
			row, err := Read(r, x.k)
			if err != nil {
				t.Fatal(err)
			}
			if yes, known := row.Agrees(b.recs[x.o]); yes != x.yes || known != x.known {
				t.Errorf("%s: %v, %v", x.k, yes, known)
			}
		}
		other := b.recs[3].Clone()
		other.Put(1, entity.StringValue("forged"))
		row, _ := Read(r, Key{12, 0})
		if yes, _ := row.Agrees(other); yes {
			t.Error("a hash agrees with another value")
		}
	})
}

func TestOps(t *testing.T) {
	for _, n := range Ops() {
		if o, ok := OpNamed(n); !ok || o.String() != n {
			t.Errorf("%s: %v %v", n, o, ok)
		}
	}
	if _, ok := OpNamed(""); ok || named("nothing") {
		t.Error("an operation without a name")
	}
	if Op(200).String() != "op 200" {
		t.Error(Op(200).String())
	}
}

// named reports whether there is such an operation.
func named(n string) bool {
	_, ok := OpNamed(n)
	return ok
}

func FuzzDecode(f *testing.F) {
	b := sample(f)
	ks, vs := b.raw()
	for i := range ks {
		f.Add(vs[i])
	}
	f.Fuzz(func(t *testing.T, v []byte) {
		row, err := decode(Key{3, 1}, v)
		if err != nil {
			return
		}
		_, _ = row.Changes()
		s, _ := split(v)
		again := append([]byte(nil), s.hash[:]...)
		again = binary.AppendUvarint(again, uint64(len(s.head)))
		again = row.appendTail(append(again, s.head...))
		if other, err := decode(Key{3, 1}, again); err != nil || !bytes.Equal(other.content, row.content) || other.Op != row.Op {
			t.Errorf("%v: %+v, %+v", err, row, other)
		}
	})
}
