package state

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"sort"

	"satchel/internal/ident"
	"satchel/internal/mutant"
	sets "satchel/sync/bits"
	"satchel/sync/store"
)

// The change index says which records changed when. A row speaks of a range of
// log positions that no other row speaks of: its key is the range's last
// position, its value the first one as a varint and the set of ordinals that
// changed in it.
//
// The newest rows speak of one entry each. Older ones are joined, by aligned
// blocks that double in size with age, so that there are few of them however
// long the log was: a reader that is far behind is told of somewhat more than
// what it asked for, and looks at the records in any case. A write therefore
// adds to the newest row, and touches no page of the store that an older
// change of the same record stands on.

// ChangeBlock is how many entries are joined at once. At least as many of the
// newest have rows of their own.
const ChangeBlock = 1024

// Block sets how many entries are joined at once, in place of [ChangeBlock]. All
// who apply a log must agree on it: it is for tests, whose logs are short.
func (w *Writer) Block(n int) { w.block = ident.Position(n) }

// ChangedIn is a row of the change index: what changed in a range of positions.
type ChangedIn struct {
	First, Last ident.Position
	Set         sets.Set
}

func changeKey(last ident.Position) []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(last))
}

func (c ChangedIn) value() []byte {
	return c.Set.AppendTo(binary.AppendUvarint(nil, uint64(c.First)))
}

// ParseChanges reads a row of the change index. An error is [ErrDamaged].
func ParseChanges(k, v []byte) (ChangedIn, error) {
	first, n := binary.Uvarint(v)
	if len(k) != 8 || n <= 0 {
		return ChangedIn{}, fmt.Errorf("%w: change index, row %x", ErrDamaged, k)
	}
	c := ChangedIn{First: ident.Position(first), Last: ident.Position(binary.BigEndian.Uint64(k))}
	var err error
	if c.Set, err = sets.Parse(v[n:]); err != nil {
		return ChangedIn{}, fmt.Errorf("%w: change index, row %x: %w", ErrDamaged, k, err)
	}
	if c.First > c.Last {
		return ChangedIn{}, fmt.Errorf("%w: change index, row %x begins at %d", ErrDamaged, k, c.First)
	}
	return c, nil
}

// Changes calls f for the rows of the change index that end after the position,
// oldest first, until f returns false.
func (r *Reader) Changes(after ident.Position, f func(ChangedIn) bool) {
	r.kv.Scan(store.Changes, changeKey(after+1), func(k, v []byte) bool {
		c, err := ParseChanges(k, v)
		if err != nil {
			panic(err)
		}
		return f(c)
	})
}

// Changed calls f for each record changed after the position, until f returns
// false: all of them, some perhaps several times, and where the position is far
// back also others. With it comes the number of its type, 0 where that would have
// to be looked up.
func (r *Reader) Changed(after ident.Position, f func(o ident.Ordinal, typ uint16) bool) {
	if r.recent != nil && r.recent.reaches(after) {
		for _, c := range r.recent.after(after) {
			if !f(c.ord, c.typ) {
				return
			}
		}
		after = r.recent.last
	}
	r.Changes(after, func(c ChangedIn) bool {
		for o := range c.Set.All() {
			if !f(o, 0) {
				return false
			}
		}
		return true
	})
}

// recent is what the newest entries changed, as the change index has it: devices
// that are live ask for little else, and each of them for all of it. Entries
// before the first that this writer saw are not in it.
type recent struct {
	before, last ident.Position // it tells of what came after the one and up to the other
	list         []recentChange
}

type recentChange struct {
	pos ident.Position
	ord ident.Ordinal
	typ uint16
}

// maxRecent bounds the changes that are remembered.
const maxRecent = 1 << 14

// note adds an entry and lets go of those that are more than keep older.
func (r *recent) note(pos ident.Position, touched []Touch, keep ident.Position) {
	if r.last == 0 || pos != r.last+1 {
		r.before, r.list = pos-1, r.list[:0]
	}
	r.last = pos
	if mutant.On(mutant.RecentChangeLost) && len(touched) > 1 {
		touched = touched[1:]
	}
	for _, t := range touched {
		r.list = append(r.list, recentChange{pos, t.Ord, t.Type.No})
	}
	gone := 0
	if pos-r.before > 2*keep {
		r.before = pos - keep
		gone = r.find(r.before)
	}
	if over := len(r.list) - maxRecent; over > gone {
		// Half of them, so that it is not moved with every entry.
		gone = min(over+maxRecent/2, len(r.list))
		r.before = r.list[gone-1].pos
		gone = r.find(r.before)
	}
	if gone > 0 {
		r.list = append(r.list[:0], r.list[gone:]...)
	}
}

func (r *recent) forget() { *r = recent{} }

// find returns where the changes after a position begin.
func (r *recent) find(after ident.Position) int {
	return sort.Search(len(r.list), func(i int) bool { return r.list[i].pos > after })
}

func (r *recent) reaches(after ident.Position) bool {
	return r.last != 0 && after >= r.before && after <= r.last
}

func (r *recent) after(pos ident.Position) []recentChange { return r.list[r.find(pos):] }

// NoteChanges makes the change index tell what the batch has changed so far:
// for who reads it before Flush, which notes the rest.
func (w *Writer) NoteChanges() {
	var b sets.Builder
	for _, t := range w.effects.Touched {
		b.Add(t.Ord)
	}
	if s := b.Set(); !s.IsEmpty() {
		w.Put(store.Changes, changeKey(w.pos), ChangedIn{First: w.pos, Last: w.pos, Set: s}.value())
	}
}

// joinOld joins rows where a block of entries is full.
func (w *Writer) joinOld() {
	if w.pos%w.block == 0 && w.pos > w.block {
		w.joinChanges(w.pos - w.block)
	}
}

// joinChanges makes one row of the aligned range of blocks that ends with end:
// as many blocks as the largest power of two by which end can be divided.
func (w *Writer) joinChanges(end ident.Position) {
	from := end - w.block<<bits.TrailingZeros64(uint64(end/w.block))
	joined := ChangedIn{First: from + 1, Last: end}
	var old [][]byte
	var parts []sets.Set
	w.Reader.Changes(from, func(c ChangedIn) bool {
		if c.Last > end {
			return false
		}
		old, parts = append(old, changeKey(c.Last)), append(parts, c.Set)
		joined.First = min(joined.First, c.First) // of a store that began otherwise
		return true
	})
	for _, k := range old {
		w.Delete(store.Changes, k)
	}
	if mutant.On(mutant.JoinedChangeLost) && len(parts) > 1 {
		parts = parts[1:]
	}
	joined.Set = sets.OrAll(parts...)
	if !joined.Set.IsEmpty() {
		w.Put(store.Changes, changeKey(end), joined.value())
	}
}
