package state

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"

	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/internal/mutant"
	"satchel/sync/bits"
	"satchel/sync/store"
)

// maxCachedIndexes bounds the indexes a Writer remembers between batches.
const maxCachedIndexes = 1 << 20

// maxRoom bounds the room for encoding that is kept between batches, in bytes.
const maxRoom = 64 << 10

// Touch is one record changed by a command.
type Touch struct {
	Ord  ident.Ordinal
	Type *entity.Type
	// Named are the people whom a changed field named before or names now:
	// what is theirs may be other than it was, whether or not they see the
	// record itself.
	Named []ident.Ordinal
	// Fields are the written ones of a record that was there before and still is,
	// none of one that is new or gone.
	Fields entity.Mask
}

// Effects is what a batch did to the state, for those who keep views of it.
type Effects struct {
	Touched []Touch
	// Moved: some index changed, so that sync sets may have.
	Moved bool
	// Bulk: whole sets moved; every view is to be looked at.
	Bulk bool
}

// Writer stages the changes of one batch. It is for one goroutine. Begin, any
// number of commands each between Mark and (on refusal) Rollback, then Flush;
// or Abort.
type Writer struct {
	Reader
	*store.Stage
	pos     ident.Position
	before  ident.Millis // tenant time of the batch before
	now     ident.Millis
	base    map[Key]bits.Set // as before the batch
	undo    []indexUndo
	effects Effects
	moves   uint64
	block   ident.Position // of the change index
	record  []byte         // room to encode one in
}

type indexUndo struct {
	key  Key
	prev bits.Set
}

// Mark is a place to roll back to.
type Mark struct {
	rows, index, touched int
	moved, bulk          bool
}

// NewWriter makes a writer; it reads nothing before Begin.
func NewWriter(cat *entity.Catalogue) *Writer {
	st := store.NewStage(nil)
	return &Writer{
		Reader: Reader{Cat: cat, kv: st, index: map[Key]bits.Set{}, recent: &recent{}}, Stage: st, base: map[Key]bits.Set{},
		block: ChangeBlock,
	}
}

// Begin starts a batch on a state, at the position and time of its entry.
// Tenant time never goes back.
func (w *Writer) Begin(base store.Reader, pos ident.Position, at ident.Millis) {
	w.Stage.Reset(base)
	w.base = map[Key]bits.Set{}
	w.undo = w.undo[:0]
	w.effects = Effects{}
	if cap(w.record) > maxRoom {
		w.record = nil
	}
	if len(w.index) > maxCachedIndexes {
		w.index = map[Key]bits.Set{}
	}
	w.pos = pos
	w.before = w.Reader.Now()
	w.now = max(w.before, at)
	w.Put(store.Meta, []byte(metaTime), binary.BigEndian.AppendUint64(nil, uint64(w.now)))
	w.Put(store.Meta, []byte(metaPos), binary.BigEndian.AppendUint64(nil, uint64(pos)))
}

// Rest has the writer read a state between batches, in which it is as late as the
// last one left it: also where that was another process's.
func (w *Writer) Rest(base store.Reader) {
	w.Stage.Reset(base)
	w.pos, w.now = w.Reader.Position(), w.Reader.Now()
}

// Enter tells the writer the epoch of the batch's entry, after Begin. The first
// entry of a new epoch carries time forward by up to [maxStride], as much as
// the epoch says. Two histories that begin with the same backup would otherwise
// write at the same instants for as long as their clock is behind tenant time,
// and what is told apart by counts and instants, as revs are, would be the same
// in both.
func (w *Writer) Enter(epoch uint64) {
	last := u64(w.Get(store.Meta, []byte(metaEpoch)))
	if last == epoch {
		return
	}
	w.Put(store.Meta, []byte(metaEpoch), binary.BigEndian.AppendUint64(nil, epoch))
	if last == 0 {
		return // the first entry of all, or the first since epochs are noted
	}
	w.now = max(w.now, w.before+stride(epoch))
	w.Put(store.Meta, []byte(metaTime), binary.BigEndian.AppendUint64(nil, uint64(w.now)))
}

// Force tells the writer what the batch's entry is applied by.
func (w *Writer) Force(v uint64) {
	if w.InForce() != v {
		w.Put(store.Meta, []byte(metaForce), binary.BigEndian.AppendUint64(nil, v))
	}
}

// maxStride is the most that a new epoch carries time forward, in milliseconds.
const maxStride = 1 << 16

// stride spreads epochs, which may be neighbours, over the milliseconds up to
// maxStride: Fibonacci hashing.
func stride(epoch uint64) ident.Millis {
	return 1 + ident.Millis(epoch*0x9e3779b97f4a7c15>>48)%maxStride
}

// Like lets the writer take the indexes that its batch does not change from a
// reader of the state that the batch stands on: the two then share their sets,
// and each is read once. It is for a writer that is used for one batch.
func (w *Writer) Like(before *Reader) {
	w.same = func(k Key) (bits.Set, bool) {
		if _, changed := w.base[k]; changed {
			return bits.Set{}, false
		}
		return before.Index(k), true
	}
}

// Pos returns the position of the batch's entry.
func (w *Writer) Pos() ident.Position { return w.pos }

// Now returns tenant time.
func (w *Writer) Now() ident.Millis { return w.now }

// Mark returns the present place.
func (w *Writer) Mark() Mark {
	return Mark{w.Stage.Mark(), len(w.undo), len(w.effects.Touched), w.effects.Moved, w.effects.Bulk}
}

// Rollback undoes everything since the mark.
func (w *Writer) Rollback(m Mark) {
	if !mutant.On(mutant.UndoLeavesRows) {
		w.Stage.Rollback(m.rows)
	}
	for i := len(w.undo) - 1; i >= m.index && !mutant.On(mutant.UndoLeavesIndex); i-- {
		if k := w.undo[i].key; !slices.Contains(longKeys[:], k) {
			w.moves++
		}
		w.index[w.undo[i].key] = w.undo[i].prev
	}
	w.undo = w.undo[:m.index]
	w.effects.Touched = w.effects.Touched[:m.touched]
	w.effects.Moved, w.effects.Bulk = m.moved, m.bulk
}

// Flush writes the batch's rows and index chunks.
func (w *Writer) Flush(to store.Writer) (Effects, error) {
	w.NoteChanges()
	w.joinOld()
	w.recent.note(w.pos, w.effects.Touched, w.block)
	for _, k := range slices.Sorted(maps.Keys(w.base)) {
		for hi, c := range bits.Changed(w.base[k], w.index[k]) {
			row := binary.BigEndian.AppendUint16([]byte(k), hi)
			if c.IsEmpty() {
				w.Delete(store.Index, row)
			} else {
				w.Put(store.Index, row, c.Bytes())
			}
		}
	}
	return w.effects, w.Stage.Flush(to)
}

// Abort forgets the batch and all that was remembered of it.
func (w *Writer) Abort() {
	w.moves++
	w.index = map[Key]bits.Set{}
	w.base = map[Key]bits.Set{}
	w.undo = nil
	w.effects = Effects{}
	w.recent.forget()
	w.Stage.Reset(nil)
}

// setIndex changes an index that decides who may see what.
func (w *Writer) setIndex(k Key, s bits.Set) {
	w.changeIndex(k, s)
	w.effects.Moved = true
	w.moves++
}

func (w *Writer) changeIndex(k Key, s bits.Set) {
	prev := w.Index(k)
	if _, ok := w.base[k]; !ok {
		w.base[k] = prev
	}
	w.undo = append(w.undo, indexUndo{k, prev})
	w.index[k] = s
}

// Moves counts the changes of indexes, those undone included: sets computed
// at the same count are the same.
func (w *Writer) Moves() uint64 { return w.moves }

func (w *Writer) put(k Key, o ident.Ordinal, in bool) {
	if s := w.Index(k); s.Contains(o) != in {
		w.setIndex(k, with(s, o, in))
	}
}

func with(s bits.Set, o ident.Ordinal, in bool) bits.Set {
	if in {
		return s.With(o)
	}
	return s.Without(o)
}

// measure keeps the indexes of long records, which decide nothing but how much fits
// on a page; length is 0 for a record that is gone.
func (w *Writer) measure(o ident.Ordinal, length int) {
	for n, k := range longKeys {
		in := length > Lengths[n]
		if s := w.Index(k); s.Contains(o) != in && !mutant.On(mutant.LengthNotNoted) {
			w.changeIndex(k, with(s, o, in))
		}
	}
}

// BumpPolicy says that somebody's rights have changed.
func (w *Writer) BumpPolicy() {
	w.Put(store.Meta, []byte(metaPolicy), binary.BigEndian.AppendUint64(nil, w.PolicyVersion()+1))
}

func ordRow(o ident.Ordinal) []byte { return binary.BigEndian.AppendUint32(nil, o) }

// New gives a fresh id its ordinal and returns the empty record; the caller
// has made sure that the id was never used.
func (w *Writer) New(t *entity.Type, id ident.RecordID) *entity.Record {
	o := w.LastOrdinal() + 1
	w.Put(store.Meta, []byte(metaOrdinal), ordRow(o))
	w.Put(store.IDs, []byte(id), append(binary.BigEndian.AppendUint16(ordRow(o), t.No), 0))
	w.Put(store.Ordinals, ordRow(o), append(binary.BigEndian.AppendUint16(nil, t.No), id...))
	return &entity.Record{Type: t, ID: id, Ord: o}
}

// Save stages a record; before is the record as it stood, nil for a new one.
// The fields written since then get the stamp of this entry.
func (w *Writer) Save(before, after *entity.Record, by ident.RecordID) {
	dirty := after.Dirty()
	written := dirty
	switch {
	case before == nil:
		written = 0
		dirty = after.Type.All() // an unset flag is indexed as false
	case dirty == 0:
		return
	}
	after.Seal(entity.Stamp{Pos: w.pos, At: w.now, By: by})
	w.record = after.Append(w.record[:0])
	w.Put(store.Records, ordRow(after.Ord), w.record)
	w.measure(after.Ord, len(w.record))
	w.effects.Touched = append(w.effects.Touched, Touch{after.Ord, after.Type, w.named(before, after, dirty), written})
	w.reindex(before, after, dirty)
}

// Remove deletes a record; its id stays taken and its ordinal named.
func (w *Writer) Remove(r *entity.Record) {
	w.Delete(store.Records, ordRow(r.Ord))
	w.measure(r.Ord, 0)
	w.Put(store.IDs, []byte(r.ID), append(binary.BigEndian.AppendUint16(ordRow(r.Ord), r.Type.No), 1))
	w.effects.Touched = append(w.effects.Touched, Touch{r.Ord, r.Type, w.named(r, nil, r.Type.All()), 0})
	w.reindex(r, nil, r.Type.All())
}

// named returns the people whom a written field names before or after; one
// that is nil names nobody.
func (w *Writer) named(before, after *entity.Record, dirty entity.Mask) []ident.Ordinal {
	r := after
	if r == nil {
		r = before
	}
	var out []ident.Ordinal
	for _, f := range r.Type.RefsTo(typeEmployee) {
		if !dirty.Has(f.No) || !slices.Contains(f.Targets, typeEmployee) {
			continue
		}
		for _, x := range []*entity.Record{before, after} {
			for _, k := range w.keys(x, f) {
				out = append(out, k.target())
			}
		}
	}
	return out
}

// typeEmployee is the type of the records that stand for people.
const typeEmployee = "employee"

// reindex moves the record's bits from where before stood to where after
// stands; dirty says which fields can differ.
func (w *Writer) reindex(before, after *entity.Record, dirty entity.Mask) {
	r := after
	if r == nil {
		r = before
	}
	if before == nil || after == nil {
		in := after != nil
		w.put(TypeKey(r.Type.No), r.Ord, in)
		if c := r.Client(); c == "" {
			w.put(NoClientKey, r.Ord, in)
		} else {
			w.put(ClientKey(w.Ordinal(c)), r.Ord, in)
			if a := w.areaOf(r); a != 0 {
				w.put(AreaKey(a), r.Ord, in)
			}
		}
	} else if r.Type.IsClient {
		w.moveArea(before, after)
	}
	for _, f := range r.Type.Indexed() {
		if !dirty.Has(f.No) {
			continue
		}
		was, is := w.keys(before, f), w.keys(after, f)
		for _, k := range was {
			if !slices.Contains(is, k) && !mutant.On(mutant.OldValueIndexed) {
				w.put(k, r.Ord, false)
			}
		}
		for _, k := range is {
			w.put(k, r.Ord, true)
		}
		if f.Kind == entity.Time && before != nil && len(is) > 0 && slices.Equal(was, is) {
			// Within its day the time moved all the same, perhaps past the edge
			// of somebody's window.
			w.setIndex(is[0], w.Index(is[0]))
		}
	}
	if dirty.Has(entity.NoArchived) {
		w.put(ArchivedKey, r.Ord, after != nil && after.Archived())
	}
	for _, f := range r.Type.Fields {
		if f.Unique && dirty.Has(f.No) {
			w.rename(before, after, f)
		}
	}
}

// areaOf returns the ordinal of the sales area of the record's client.
func (w *Writer) areaOf(r *entity.Record) ident.Ordinal {
	client := r
	if !r.Type.IsClient {
		c, ok := w.Load(r.Client())
		if !ok {
			return 0
		}
		client = c
	}
	return w.Ordinal(client.Get("salesArea").Ref())
}

// moveArea takes a client with all that belongs to it from one area to
// another: set algebra, whatever the number of records.
func (w *Writer) moveArea(before, after *entity.Record) {
	from, to := w.Ordinal(before.Get("salesArea").Ref()), w.Ordinal(after.Get("salesArea").Ref())
	if from == to {
		return
	}
	all := w.Index(ClientKey(after.Ord))
	if from != 0 && !mutant.On(mutant.AreaKeepsClient) {
		w.setIndex(AreaKey(from), bits.AndNot(w.Index(AreaKey(from)), all))
	}
	if to != 0 {
		w.setIndex(AreaKey(to), bits.Or(w.Index(AreaKey(to)), all))
	}
	w.effects.Bulk = true
}

// keys returns the indexes a field's value puts the record into.
func (w *Writer) keys(r *entity.Record, f *entity.Field) []Key {
	if r == nil {
		return nil
	}
	return FieldKeys(&w.Reader, r, f)
}

// FieldKeys returns the indexes that a field's value puts a record into.
func FieldKeys(rd *Reader, r *entity.Record, f *entity.Field) []Key {
	v := r.Value(f.No)
	switch f.Kind {
	case entity.Ref:
		if v.IsNull() {
			return nil
		}
		return []Key{RefKey(r.Type.No, f.No, rd.Ordinal(v.Ref()))}
	case entity.Refs:
		var ks []Key
		for _, s := range v.Set() {
			ks = append(ks, RefKey(r.Type.No, f.No, rd.Ordinal(ident.RecordID(s))))
		}
		return ks
	case entity.Enum:
		if v.IsNull() {
			return nil
		}
		return []Key{ValueKey(r.Type.No, f.No, v.Text())}
	case entity.Bool:
		if v.Bool() {
			return []Key{ValueKey(r.Type.No, f.No, "true")}
		}
		return []Key{ValueKey(r.Type.No, f.No, "false")}
	case entity.Time:
		if m, ok := v.Time(); ok {
			return []Key{DayKey(r.Type.No, f.No, m.Day())}
		}
		return nil
	}
	panic(fmt.Sprintf("state: field %s of kind %s has no index", f.Name, f.Kind))
}

// nameRow leads the rows of a unique value: type, field, value folded to
// lower case, then the ordinal of each record that has it.
func nameRow(t *entity.Type, f *entity.Field, v string) []byte {
	b := append(binary.BigEndian.AppendUint16(nil, t.No), f.No)
	b = append(b, strings.ToLower(v)...)
	return append(b, 0)
}

func (w *Writer) rename(before, after *entity.Record, f *entity.Field) {
	if before != nil {
		if v := before.Value(f.No); !v.IsNull() {
			w.Delete(store.Names, append(nameRow(before.Type, f, v.Text()), ordRow(before.Ord)...))
		}
	}
	if after != nil {
		if v := after.Value(f.No); !v.IsNull() {
			w.Put(store.Names, append(nameRow(after.Type, f, v.Text()), ordRow(after.Ord)...), nil)
		}
	}
}

// IndexName puts a stored record into the index of names, by a field that has
// become unique.
func (w *Writer) IndexName(r *entity.Record, f *entity.Field) { w.rename(nil, r, f) }

// Named returns the records of the type whose unique field has the value,
// whatever its case.
func (r *Reader) Named(t *entity.Type, field, value string) []ident.Ordinal {
	var out []ident.Ordinal
	p := nameRow(t, t.Field(field), value)
	store.ScanPrefix(r.kv, store.Names, p, func(k, _ []byte) bool {
		if len(k) == len(p)+4 {
			out = append(out, binary.BigEndian.Uint32(k[len(p):]))
		}
		return true
	})
	return out
}
