package state_test

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/sync/bits"
	"satchel/sync/state"
	"satchel/sync/store"
)

// The types of these tests: every kind of field that has an index.
var (
	area   = &entity.Type{No: 1, Name: "salesArea", Apps: []entity.App{entity.CRM}, Fields: []*entity.Field{entity.Str(1, "name").Only()}}
	client = &entity.Type{
		No: 2, Name: "client", Apps: []entity.App{entity.CRM}, IsClient: true, Archivable: true,
		Fields: []*entity.Field{entity.Str(1, "name").Only(), entity.To(2, "salesArea", "salesArea")},
	}
	work = &entity.Type{
		No: 3, Name: "work", Apps: []entity.App{entity.CRM}, Root: "client", Archivable: true,
		Fields: []*entity.Field{
			entity.To(1, "client", "client").Fixed(), entity.OneOf(2, "kind", "a", "b"), entity.Flag(3, "urgent"),
			entity.At(4, "start").ByDay(), entity.ToMany(5, "areas", "salesArea"), entity.At(6, "end"), entity.Str(7, "text"),
		},
	}
	cat = func() *entity.Catalogue {
		c, err := entity.NewCatalogue(area, client, work)
		if err != nil {
			panic(err)
		}
		return c
	}()
)

const day = 24 * 60 * 60 * 1000

// expected recomputes every row that is derived from records, and since which
// position each record is as it is.
func expected(live map[ident.RecordID]*entity.Record) (index map[state.Key][]uint32, names map[string]bool, changes map[ident.Ordinal]ident.Position) {
	index, names, changes = map[state.Key][]uint32{}, map[string]bool{}, map[ident.Ordinal]ident.Position{}
	ord := func(id ident.RecordID) ident.Ordinal {
		if r := live[id]; r != nil {
			return r.Ord
		}
		return 0
	}
	for _, r := range live {
		add := func(k state.Key) { index[k] = append(index[k], r.Ord) }
		add(state.TypeKey(r.Type.No))
		for n, length := range state.Lengths {
			if len(r.Append(nil)) > length {
				add(state.LongKey(n))
			}
		}
		if c := r.Client(); c == "" {
			add(state.NoClientKey)
		} else {
			add(state.ClientKey(ord(c)))
			if a := live[c].Get("salesArea").Ref(); a != "" {
				add(state.AreaKey(ord(a)))
			}
		}
		if r.Archived() {
			add(state.ArchivedKey)
		}
		for _, f := range append(slices.Clone(r.Type.Fields), r.Type.FieldNo(entity.NoClientID)) {
			if f == nil {
				continue
			}
			v := r.Value(f.No)
			switch {
			case f.Kind == entity.Bool:
				add(state.ValueKey(r.Type.No, f.No, map[bool]string{true: "true", false: "false"}[v.Bool()]))
			case v.IsNull():
			case f.Kind == entity.Ref:
				add(state.RefKey(r.Type.No, f.No, ord(v.Ref())))
			case f.Kind == entity.Refs:
				for _, s := range v.Set() {
					add(state.RefKey(r.Type.No, f.No, ord(ident.RecordID(s))))
				}
			case f.Kind == entity.Enum:
				add(state.ValueKey(r.Type.No, f.No, v.Text()))
			case f.Kind == entity.Time && f.Days:
				m, _ := v.Time()
				add(state.DayKey(r.Type.No, f.No, m.Day()))
			}
			if f.Unique && !v.IsNull() {
				names[fmt.Sprint(r.Type.No, "/", f.No, "/", strings.ToLower(v.Text()), "/", r.Ord)] = true
			}
		}
		changes[r.Ord] = r.Last(^entity.Mask(0)).Pos
	}
	return index, names, changes
}

// stored reads the same rows as they stand.
func stored(kv store.Reader) (index map[state.Key][]uint32, names map[string]bool, err error) {
	index, names = map[state.Key][]uint32{}, map[string]bool{}
	chunks := map[state.Key]map[uint16][]byte{}
	kv.Scan(store.Index, nil, func(k, v []byte) bool {
		key := state.Key(k[:len(k)-2])
		if chunks[key] == nil {
			chunks[key] = map[uint16][]byte{}
		}
		chunks[key][binary.BigEndian.Uint16(k[len(k)-2:])] = v
		return true
	})
	for k, rows := range chunks {
		s, derr := bits.Decode(func(yield func(uint16, []byte) bool) {
			for _, hi := range slices.Sorted(maps.Keys(rows)) {
				if !yield(hi, rows[hi]) {
					return
				}
			}
		})
		if derr != nil {
			return nil, nil, derr
		}
		index[k] = s.Slice()
	}
	kv.Scan(store.Names, nil, func(k, _ []byte) bool {
		names[fmt.Sprint(binary.BigEndian.Uint16(k), "/", k[2], "/", string(k[3:len(k)-5]), "/", binary.BigEndian.Uint32(k[len(k)-4:]))] = true
		return true
	})
	return index, names, nil
}

// judgeChanges: whoever asks what changed after a position is told of every
// record that did, and, close to the end, of no other.
func judgeChanges(t *rapid.T, rd *state.Reader, last map[ident.Ordinal]ident.Position) {
	rows := 0
	rd.Changes(0, func(state.ChangedIn) bool { rows++; return true })
	if end := int(rd.Position()); rows > 2*2+bits2(end) {
		t.Fatalf("%d rows for %d entries", rows, end)
	}
	for after := ident.Position(0); after <= rd.Position(); after++ {
		told := map[ident.Ordinal]bool{}
		rd.Changed(after, func(o ident.Ordinal, typ uint16) bool {
			if is, _ := rd.Name(o); typ != 0 && typ != is.No {
				t.Fatalf("record %d is told as of type %d, and is of %d", o, typ, is.No)
			}
			told[o] = true
			return true
		})
		for o, p := range last {
			if p > after && !told[o] {
				t.Fatalf("record %d changed at %d and is not told after %d", o, p, after)
			}
			if p <= after && told[o] && after+2 >= rd.Position() {
				t.Fatalf("record %d changed at %d and is told after %d", o, p, after)
			}
		}
	}
}

// bits2 is how many aligned blocks there are at most: one for each power of two.
func bits2(n int) (out int) {
	for ; n > 0; n /= 2 {
		out++
	}
	return out
}

// long is a text of so many bytes.
func long(n int) entity.Value { return entity.StringValue(strings.Repeat("l", n)) }

// TestIndexes: after any history of saves, removals, rollbacks and aborted
// batches every derived row is what the records make it, on disk and in what
// the writer remembers.
func TestIndexes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		eng := store.NewMem()
		w := state.NewWriter(cat)
		w.Block(2)
		committed := map[ident.RecordID]*entity.Record{}
		made := 0
		for batch := range rapid.IntRange(1, 12).Draw(t, "batches") {
			live := maps.Clone(committed)
			abort := rapid.IntRange(0, 4).Draw(t, "abort") == 0
			err := eng.Update(func(tx store.Writer) error {
				w.Begin(tx, ident.Position(batch+1), ident.Millis(batch))
				for range rapid.IntRange(1, 5).Draw(t, "commands") {
					mark, before := w.Mark(), maps.Clone(live)
					for range rapid.IntRange(1, 4).Draw(t, "changes") {
						change(t, w, live, &made)
					}
					if rapid.IntRange(0, 3).Draw(t, "refused") == 0 {
						w.Rollback(mark)
						live = before
					}
				}
				if _, err := w.Flush(tx); err != nil {
					return err
				}
				if abort {
					return fmt.Errorf("aborted")
				}
				return nil
			})
			switch {
			case abort:
				w.Abort()
			case err != nil:
				t.Fatal(err)
			default:
				committed = live
			}
		}
		snap, err := eng.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		defer snap.Close()
		wantIndex, wantNames, wantChanges := expected(committed)
		index, names, err := stored(snap)
		if err != nil {
			t.Fatal(err)
		}
		for k, ords := range wantIndex {
			slices.Sort(ords)
			if !slices.Equal(index[k], ords) {
				t.Fatalf("index %q: %v, want %v", k, index[k], ords)
			}
		}
		for k := range index {
			if wantIndex[k] == nil {
				t.Fatalf("index %q: %v, want none", k, index[k])
			}
		}
		if !maps.Equal(names, wantNames) {
			t.Fatalf("names %v, want %v", names, wantNames)
		}
		judgeChanges(t, state.NewReader(cat, snap), wantChanges)
		// A writer at rest knows the newest changes by itself.
		w.Stage.Reset(snap)
		judgeChanges(t, &w.Reader, wantChanges)
		w.Begin(snap, 99, 0)
		rd := state.NewReader(cat, snap)
		for k, ords := range wantIndex {
			if got := w.Index(k).Slice(); !slices.Equal(got, ords) {
				t.Fatalf("remembered index %q: %v, want %v", k, got, ords)
			}
			if got := rd.Index(k).Slice(); !slices.Equal(got, ords) {
				t.Fatalf("read index %q: %v, want %v", k, got, ords)
			}
		}
		for id, r := range committed {
			got, ok := rd.Load(id)
			if !ok || string(got.Append(nil)) != string(r.Append(nil)) {
				t.Fatalf("record %s differs", id)
			}
		}
	})
}

// change makes one change of the records.
func change(t *rapid.T, w *state.Writer, live map[ident.RecordID]*entity.Record, made *int) {
	of := func(typ *entity.Type) []ident.RecordID {
		var out []ident.RecordID
		for id, r := range live {
			if r.Type == typ {
				out = append(out, id)
			}
		}
		slices.Sort(out)
		return out
	}
	some := func(typ *entity.Type, label string) ident.RecordID {
		if ids := of(typ); len(ids) > 0 {
			return rapid.SampledFrom(append(ids, "")).Draw(t, label)
		}
		return ""
	}
	fill := func(r *entity.Record) {
		name := entity.StringValue(rapid.SampledFrom([]string{"x", "X", "y", "ü"}).Draw(t, "name"))
		switch r.Type {
		case area:
			r.Set("name", name)
		case client:
			r.Set("name", name)
			if a := some(area, "area"); a != "" {
				r.Set("salesArea", entity.RefValue(a))
			} else {
				r.Set("salesArea", nil)
			}
		case work:
			r.Set("kind", rapid.SampledFrom([]entity.Value{nil, entity.StringValue("a"), entity.StringValue("b")}).Draw(t, "kind"))
			r.Set("urgent", rapid.SampledFrom([]entity.Value{nil, entity.BoolValue(true), entity.BoolValue(false)}).Draw(t, "urgent"))
			r.Set("start", rapid.SampledFrom([]entity.Value{nil, entity.TimeValue(5), entity.TimeValue(9), entity.TimeValue(day), entity.TimeValue(-1)}).Draw(t, "start"))
			r.Set("areas", entity.SetValue(slices.DeleteFunc([]string{string(some(area, "a1")), string(some(area, "a2"))}, func(s string) bool { return s == "" })))
			r.Set("text", rapid.SampledFrom([]entity.Value{name, long(400), long(3000)}).Draw(t, "text"))
		}
		if r.Type.Archivable {
			r.Put(entity.NoArchived, rapid.SampledFrom([]entity.Value{nil, entity.TimeValue(1)}).Draw(t, "archived"))
		}
	}
	switch rapid.IntRange(0, 3).Draw(t, "what") {
	case 0, 1:
		typ := rapid.SampledFrom([]*entity.Type{area, client, work}).Draw(t, "type")
		*made++
		r := w.New(typ, ident.RecordID(fmt.Sprintf("record-%04d", *made)))
		if typ == client {
			r.Put(entity.NoClientID, entity.RefValue(r.ID))
		}
		if c := some(client, "client"); typ == work && c != "" {
			r.Set("client", entity.RefValue(c))
			r.Put(entity.NoClientID, entity.RefValue(c))
		}
		fill(r)
		r.Put(entity.NoCreatedAt, entity.TimeValue(1))
		w.Save(nil, r, "")
		live[r.ID] = r
	case 2:
		id := rapid.SampledFrom(append(slices.Sorted(maps.Keys(live)), "")).Draw(t, "save")
		before, ok := w.Load(id)
		if !ok {
			return
		}
		after := before.Clone()
		fill(after)
		w.Save(before, after, "somebody")
		if len(after.Stamps) > 0 {
			live[id] = after
		}
	case 3:
		// Only what nothing refers to; apply sees to that.
		id := rapid.SampledFrom(append(of(work), "")).Draw(t, "remove")
		if r, ok := w.Load(id); ok {
			w.Remove(r)
			delete(live, id)
			if _, ok := w.Load(id); ok {
				t.Fatal("a removed record is still there")
			}
			if i, ok := w.Identify(id); !ok || !i.Deleted {
				t.Fatal("a removed record's id is free")
			}
		}
	}
}
