package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/tidwall/btree"
)

// layer is rows that were committed, and keys that were deleted, but are not in
// the file yet. A layer that was published never changes.
type layer struct {
	trees [maxBucket + 1]*btree.BTreeG[item] // nil where nothing is
	bytes int                                // of keys and values that were written, those overwritten included
}

func (l *layer) empty() bool { return l == nil || l.bytes == 0 }

// rows yields the layer's rows bucket by bucket in ascending order of keys.
func (l *layer) rows(fn func(b Bucket, row item) error) error {
	for b, t := range l.trees {
		if t == nil {
			continue
		}
		var err error
		t.Scan(func(row item) bool {
			err = fn(Bucket(b), row)
			return err == nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// draft is a layer that is being written over another, which stays as it is.
type draft struct {
	layer
	mine [maxBucket + 1]bool // trees copied or made for this draft
}

func draftOver(l *layer) *draft {
	d := &draft{}
	if l != nil {
		d.layer = *l
	}
	return d
}

// set puts a row, or the lack of one. The slices must never be written to
// again.
func (d *draft) set(b Bucket, row item) {
	if !d.mine[b] {
		d.mine[b] = true
		if t := d.trees[b]; t != nil {
			d.trees[b] = t.Copy()
		} else {
			d.trees[b] = newTree()
		}
	}
	d.trees[b].Set(row)
	d.bytes += len(row.k) + len(row.v) + 1
}

// layers read the file's state with what lies over it.
type layers struct {
	boltReader
	over [2]*layer // the newest first, nil where there is none
	of   *Bolt
	file []byte // as mapped, nil until it is asked for
	// roots are the pages of the buckets' trees: 0 where it was not asked for yet,
	// inline where a bucket is too small to have one.
	roots [maxBucket + 1]uint64
}

// inline is no page of a tree.
const inline = 1

// tree returns the bucket's tree in the file; ok is false where it has none.
func (r *layers) tree(b Bucket) (t tree, ok bool) {
	root := r.roots[b]
	if root == 0 {
		if r.file == nil {
			r.file = mapped(r.tx)
		}
		buckets := tree{r.file, uint64(r.tx.Cursor().Bucket().Root())}
		head := buckets.get(bucketName(b))
		if len(head) < bucketHead {
			panic(fmt.Errorf("%w: bucket %s is missing", ErrCorrupt, b))
		}
		if root = binary.NativeEndian.Uint64(head); root == 0 {
			root = inline
		}
		r.roots[b] = root
	}
	return tree{r.file, root}, root != inline
}

// end ends the transaction that they read.
func (r *layers) end() {
	if r.tx != nil {
		_ = r.tx.Rollback() // of a read transaction: can't fail while it is open
		r.tx = nil
		r.of.leave()
	}
}

// above returns the bucket's trees over the file, the newest first.
func (r *layers) above(b Bucket) (trees [2]*btree.BTreeG[item], n int) {
	for _, l := range r.over {
		if l != nil && l.trees[mustBucket(b)] != nil {
			trees[n] = l.trees[b]
			n++
		}
	}
	return trees, n
}

// Get implements [Reader].
func (r *layers) Get(b Bucket, key []byte) []byte {
	if r.tx == nil {
		panic("store: read after the transaction ended")
	}
	for _, l := range r.over {
		if l == nil || l.trees[mustBucket(b)] == nil {
			continue
		}
		if it, ok := l.trees[b].Get(item{k: key}); ok {
			return it.v // nil where deleted
		}
	}
	if t, ok := r.tree(mustBucket(b)); ok {
		return t.get(key)
	}
	return r.boltReader.Get(b, key)
}

// getAll looks up, for [GetAll].
func (r *layers) getAll(b Bucket, keys []uint32, values [][]byte) {
	if r.tx == nil {
		panic("store: read after the transaction ended")
	}
	if t, ok := r.tree(mustBucket(b)); ok {
		t.getAll(keys, values)
	} else {
		getEach(&r.boltReader, b, keys, values)
	}
	trees, n := r.above(b)
	for _, t := range slices.Backward(trees[:n]) {
		overlaid(t, keys, values)
	}
}

// overlaid sets those values that a tree over what they were read from has.
func overlaid(t *btree.BTreeG[item], keys []uint32, values [][]byte) {
	if t.Len() == 0 {
		return
	}
	key := make([]byte, 4)
	for i, k := range keys {
		binary.BigEndian.PutUint32(key, k)
		if it, ok := t.Get(item{k: key}); ok {
			values[i] = it.v // nil where deleted
		}
	}
}

// Scan implements [Reader].
func (r *layers) Scan(b Bucket, from []byte, fn func(k, v []byte) bool) {
	trees, n := r.above(b)
	if n == 0 {
		r.boltReader.Scan(b, from, fn)
		return
	}
	o := overlay{dir: 1}
	for _, t := range trees[:n] {
		it := t.Iter()
		defer it.Release() //nolint:gocritic // two at most
		o.add(it, it.Seek(item{k: from}))
	}
	o.merge(fn, func(fn func(k, v []byte) bool) { r.boltReader.Scan(b, from, fn) })
}

// scanBack reads from the end, for [ScanBack].
func (r *layers) scanBack(b Bucket, from []byte, fn func(k, v []byte) bool) {
	trees, n := r.above(b)
	if n == 0 {
		r.boltReader.scanBack(b, from, fn)
		return
	}
	o := overlay{dir: -1}
	for _, t := range trees[:n] {
		it := t.Iter()
		defer it.Release() //nolint:gocritic // two at most
		var at bool
		switch {
		case from == nil:
			at = it.Last()
		case !it.Seek(item{k: from}):
			at = it.Last()
		case !bytes.Equal(it.Item().k, from):
			at = it.Prev()
		default:
			at = true
		}
		o.add(it, at)
	}
	o.merge(fn, func(fn func(k, v []byte) bool) { r.boltReader.scanBack(b, from, fn) })
}

// overlay goes through the rows of one or two trees at once, the first of which
// counts where both have a key.
type overlay struct {
	dir int // 1 ascending, -1 descending
	its [2]btree.IterG[item]
	at  [2]bool // whether the iterator stands at a row
	n   int
}

func (o *overlay) add(it btree.IterG[item], at bool) {
	o.its[o.n], o.at[o.n] = it, at
	o.n++
}

// first returns the tree whose row is next, -1 where there is none.
func (o *overlay) first() int {
	switch {
	case o.at[0] && o.at[1]:
		if o.dir*bytes.Compare(o.its[1].Item().k, o.its[0].Item().k) < 0 {
			return 1
		}
		return 0
	case o.at[0]:
		return 0
	case o.at[1]:
		return 1
	}
	return -1
}

// next passes over the row of tree i, and over one of the same key beneath it.
func (o *overlay) next(i int) {
	if i == 0 && o.at[1] && bytes.Equal(o.its[0].Item().k, o.its[1].Item().k) {
		o.step(1)
	}
	o.step(i)
}

func (o *overlay) step(i int) {
	if o.dir > 0 {
		o.at[i] = o.its[i].Next()
	} else {
		o.at[i] = o.its[i].Prev()
	}
}

// merge calls fn for the rows of the trees and of base, which calls what it is
// given for its own in the same order.
func (o *overlay) merge(fn func(k, v []byte) bool, base func(func(k, v []byte) bool)) {
	stopped := false
	// emit hands on the row of tree i, unless it stands for a lack of one.
	emit := func(i int) bool {
		row := o.its[i].Item()
		o.next(i)
		stopped = !row.deleted && !fn(row.k, row.v)
		return !stopped
	}
	i := o.first()
	base(func(k, v []byte) bool {
		for i >= 0 {
			c := o.dir * bytes.Compare(o.its[i].Item().k, k)
			if c > 0 {
				break
			}
			if !emit(i) {
				return false
			}
			i = o.first()
			if c == 0 {
				return true // the row above stands in for this one
			}
		}
		stopped = !fn(k, v)
		return !stopped
	})
	for !stopped && i >= 0 {
		emit(i)
		i = o.first()
	}
}
