package store

import (
	"bytes"
	"fmt"

	"github.com/tidwall/btree"
)

// Stage collects writes in memory over a [Reader] and reads as if they had been
// made. Marks allow the writes of one command to be taken back while those
// before it stay. It is for one goroutine.
type Stage struct {
	base  Reader
	trees [maxBucket + 1]*btree.BTreeG[item] // nil where nothing is staged
	undo  []undo
	rows  int
	bytes int
	scans scans
	sets  [maxBucket + 1]uint64 // see Writes
}

// undo is how to take back one write.
type undo struct {
	b      Bucket
	prev   item // what was staged before; only the key where nothing was
	staged bool
}

// NewStage returns a stage with nothing staged over base.
func NewStage(base Reader) *Stage { return &Stage{base: base} }

// Get implements [Reader]. The value stays valid until the base's transaction
// ends, whatever is staged or taken back meanwhile.
func (s *Stage) Get(b Bucket, key []byte) []byte {
	if t := s.trees[mustBucket(b)]; t != nil {
		if it, ok := t.Get(item{k: key}); ok {
			return it.v // nil where deleted
		}
	}
	return s.base.Get(b, key)
}

// getAll looks up, for [GetAll].
func (s *Stage) getAll(b Bucket, keys []uint32, values [][]byte) {
	GetAll(s.base, b, keys, values)
	if t := s.trees[mustBucket(b)]; t != nil {
		overlaid(t, keys, values)
	}
}

// Scan implements [Reader] over the base and what is staged.
func (s *Stage) Scan(b Bucket, from []byte, fn func(k, v []byte) bool) {
	s.scans[mustBucket(b)]++
	defer func() { s.scans[b]-- }()
	t := s.trees[b]
	if t == nil || t.Len() == 0 {
		s.base.Scan(b, from, fn)
		return
	}
	it := t.Iter()
	defer it.Release()
	o := overlay{dir: 1}
	o.add(it, it.Seek(item{k: from}))
	o.merge(fn, func(fn func(k, v []byte) bool) { s.base.Scan(b, from, fn) })
}

// Put stages a row, copying both slices. A key that no engine takes and a
// write inside a scan of the bucket are faults of the program: Put panics.
func (s *Stage) Put(b Bucket, k, v []byte) {
	k, v = copyPair(k, v)
	s.set(b, item{k: k, v: v})
}

// Delete stages the removal of a row; it panics as [Stage.Put] does.
func (s *Stage) Delete(b Bucket, k []byte) {
	s.set(b, item{k: bytes.Clone(k), deleted: true})
}

func (s *Stage) set(b Bucket, row item) {
	if err := checkWrite(b, row.k); err != nil {
		panic(err)
	}
	if err := s.scans.check(b); err != nil {
		panic(err)
	}
	t := s.trees[b]
	if t == nil {
		t = newTree()
		s.trees[b] = t
	}
	prev, staged := t.Set(row)
	s.sets[b]++
	s.count(row, 1)
	if staged {
		s.count(prev, -1)
	} else {
		prev = item{k: row.k}
	}
	s.undo = append(s.undo, undo{b, prev, staged})
}

// count adds a staged row to the totals, or takes it away.
func (s *Stage) count(row item, sign int) {
	s.rows += sign
	s.bytes += sign * (len(row.k) + len(row.v))
}

// Mark returns a point to which [Stage.Rollback] can go back.
func (s *Stage) Mark() int { return len(s.undo) }

// Rollback takes back everything staged since mark, which must be one that
// Mark returned since the last Reset and that was not rolled back behind; it
// panics otherwise.
func (s *Stage) Rollback(mark int) {
	if mark < 0 || mark > len(s.undo) {
		panic(fmt.Sprintf("store: rollback to %d of %d staged writes", mark, len(s.undo)))
	}
	for i := len(s.undo) - 1; i >= mark; i-- {
		u := s.undo[i]
		if err := s.scans.check(u.b); err != nil {
			panic(err)
		}
		t := s.trees[u.b]
		now, _ := t.Get(u.prev)
		s.count(now, -1)
		if u.staged {
			t.Set(u.prev)
			s.count(u.prev, 1)
		} else {
			t.Delete(u.prev)
		}
	}
	clear(s.undo[mark:]) // let go of what was staged
	s.undo = s.undo[:mark]
}

// Flush makes the staged writes on w, bucket by bucket in ascending order of
// keys, which is what a B+tree on disk takes best. The stage itself stays as it
// is until Reset. It stops at the first error.
func (s *Stage) Flush(w Writer) error {
	put := w.Put
	if o, ok := w.(ownedPutter); ok {
		put = o.putOwned // staged slices are never written to again
	}
	for b, t := range s.trees {
		if t == nil {
			continue
		}
		var err error
		t.Scan(func(row item) bool {
			if row.deleted {
				err = w.Delete(Bucket(b), row.k)
			} else {
				err = put(Bucket(b), row.k, row.v)
			}
			return err == nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Writes counts the rows of a bucket that were ever staged, those taken back and
// those dropped by Reset included: what was read of a bucket at the same count is
// still so, unless somebody else wrote to the base.
func (s *Stage) Writes(b Bucket) uint64 { return s.sets[mustBucket(b)] }

// Len returns how many rows are staged, removals included.
func (s *Stage) Len() int { return s.rows }

// Bytes returns the bytes of the staged keys and values.
func (s *Stage) Bytes() int { return s.bytes }

// Reset drops everything staged and reads from base from now on.
func (s *Stage) Reset(base Reader) {
	for b, t := range s.trees {
		if t != nil {
			if err := s.scans.check(Bucket(b)); err != nil {
				panic(err)
			}
			t.Clear()
		}
	}
	clear(s.undo)
	*s = Stage{base: base, trees: s.trees, undo: s.undo[:0], sets: s.sets}
}
