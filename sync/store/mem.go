package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/tidwall/btree"
)

// Mem is an engine in memory, for tests and simulations. A commit is one
// pointer; a snapshot costs nothing however large the state.
type Mem struct {
	// Refuse, where not nil, is asked before each update; an error is returned
	// as it is and leaves the engine usable: what [ErrDiskFull] is. Set it
	// between updates, as the other hooks.
	Refuse func() error
	// FailWrite, where not nil, is asked at each Put and Delete of an update; an
	// error refuses that write. The engine stays usable.
	FailWrite func() error
	// FailCommit, where not nil, is asked at each commit; an error makes the
	// commit fail with nothing of it kept. Set it before use.
	FailCommit func() error
	// LoseCommit, where not nil, is asked after each commit has taken hold; an
	// error is reported as a failed commit although everything is kept.
	LoseCommit func() error

	write  sync.Mutex // held through an Update
	state  atomic.Pointer[memState]
	broken atomic.Pointer[error] // why nothing more is taken
}

// memState is one committed state; it never changes.
type memState struct {
	trees [maxBucket + 1]*btree.BTreeG[item] // nil where empty
	size  int64                              // bytes of keys and values
}

// item is one row, or in a Stage the lack of one.
type item struct {
	k, v    []byte
	deleted bool
}

func newTree() *btree.BTreeG[item] {
	return btree.NewBTreeGOptions(func(a, b item) bool { return bytes.Compare(a.k, b.k) < 0 },
		btree.Options{NoLocks: true})
}

// NewMem returns an empty engine.
func NewMem() *Mem {
	m := &Mem{}
	s := &memState{}
	s.trees[Meta] = newTree()
	row := item{k: []byte(formatKey), v: binary.AppendUvarint(nil, Format)}
	s.trees[Meta].Set(row)
	s.size = int64(len(row.k) + len(row.v))
	m.state.Store(s)
	return m
}

// Clone returns a new engine with the state of the latest commit, without the
// hooks: what a machine finds after a crash. The original stays as it is.
func (m *Mem) Clone() *Mem {
	m.write.Lock()
	defer m.write.Unlock()
	old := m.state.Load()
	s := &memState{size: old.size}
	for b, t := range old.trees {
		if t != nil {
			s.trees[b] = t.Copy()
		}
	}
	c := &Mem{}
	c.state.Store(s)
	return c
}

func (m *Mem) usable() error {
	if err := m.broken.Load(); err != nil {
		return *err
	}
	return nil
}

// Update implements [Engine].
func (m *Mem) Update(fn func(Writer) error) error {
	m.write.Lock()
	defer m.write.Unlock()
	if err := m.usable(); err != nil {
		return err
	}
	if m.Refuse != nil {
		if err := m.Refuse(); err != nil {
			return err
		}
	}
	base := m.state.Load()
	w := &memWriter{state: &memState{trees: base.trees, size: base.size}, fail: m.FailWrite}
	defer func() { w.ended = true }()
	if err := fn(w); err != nil {
		return err
	}
	if m.FailCommit != nil {
		if err := m.FailCommit(); err != nil {
			return m.fail(err)
		}
	}
	m.state.Store(w.state)
	if m.LoseCommit != nil {
		if err := m.LoseCommit(); err != nil {
			return m.fail(err)
		}
	}
	return nil
}

func (m *Mem) fail(err error) error {
	err = fmt.Errorf("%w: %w", ErrUnknown, err)
	m.broken.Store(&err)
	return err
}

// Snapshot implements [Engine].
func (m *Mem) Snapshot() (Snapshot, error) {
	if err := m.usable(); err != nil {
		return nil, err
	}
	return &memSnapshot{state: m.state.Load()}, nil
}

// Size implements [Engine]: the bytes of all keys and values.
func (m *Mem) Size() (int64, error) { return m.state.Load().size, nil }

// Close implements [Engine]. [Mem.Clone] still works afterwards.
func (m *Mem) Close() error {
	m.write.Lock()
	defer m.write.Unlock()
	if m.usable() == nil {
		err := ErrClosed
		m.broken.Store(&err)
	}
	return nil
}

func (s *memState) get(b Bucket, key []byte) []byte {
	t := s.trees[mustBucket(b)]
	if t == nil {
		return nil
	}
	it, ok := t.Get(item{k: key})
	if !ok {
		return nil
	}
	return it.v
}

func (s *memState) scan(b Bucket, from []byte, fn func(k, v []byte) bool) {
	t := s.trees[mustBucket(b)]
	if t == nil {
		return
	}
	t.Ascend(item{k: from}, func(it item) bool { return fn(it.k, it.v) })
}

func (s *memState) scanBack(b Bucket, from []byte, fn func(k, v []byte) bool) {
	t := s.trees[mustBucket(b)]
	switch {
	case t == nil:
	case from == nil:
		t.Reverse(func(it item) bool { return fn(it.k, it.v) })
	default:
		t.Descend(item{k: from}, func(it item) bool { return fn(it.k, it.v) })
	}
}

func mustBucket(b Bucket) Bucket {
	if !b.Valid() {
		panic(fmt.Errorf("%w: %d", ErrBucket, uint8(b)))
	}
	return b
}

type memSnapshot struct{ state *memState } // nil once closed

func (s *memSnapshot) open() *memState {
	if s.state == nil {
		panic("store: snapshot read after it was closed")
	}
	return s.state
}

func (s *memSnapshot) Get(b Bucket, key []byte) []byte { return s.open().get(b, key) }

func (s *memSnapshot) Scan(b Bucket, from []byte, fn func(k, v []byte) bool) {
	s.open().scan(b, from, fn)
}

func (s *memSnapshot) scanBack(b Bucket, from []byte, fn func(k, v []byte) bool) {
	s.open().scanBack(b, from, fn)
}

func (s *memSnapshot) Close() { s.state = nil }

type memWriter struct {
	state *memState
	mine  [maxBucket + 1]bool // trees copied for this update
	scans scans
	ended bool
	fail  func() error // the engine's FailWrite
}

func (w *memWriter) Get(b Bucket, key []byte) []byte { return w.state.get(b, key) }

func (w *memWriter) Scan(b Bucket, from []byte, fn func(k, v []byte) bool) {
	w.scans[mustBucket(b)]++
	defer func() { w.scans[b]-- }()
	w.state.scan(b, from, fn)
}

func (w *memWriter) scanBack(b Bucket, from []byte, fn func(k, v []byte) bool) {
	w.scans[mustBucket(b)]++
	defer func() { w.scans[b]-- }()
	w.state.scanBack(b, from, fn)
}

// tree returns the bucket's tree for writing.
func (w *memWriter) tree(b Bucket) *btree.BTreeG[item] {
	if !w.mine[b] {
		w.mine[b] = true
		if t := w.state.trees[b]; t != nil {
			w.state.trees[b] = t.Copy()
		} else {
			w.state.trees[b] = newTree()
		}
	}
	return w.state.trees[b]
}

func (w *memWriter) check(b Bucket, k []byte) error {
	if w.ended {
		return ErrEnded
	}
	if err := checkWrite(b, k); err != nil {
		return err
	}
	if w.fail != nil {
		if err := w.fail(); err != nil {
			return err
		}
	}
	return w.scans.check(b)
}

func (w *memWriter) Put(b Bucket, k, v []byte) error {
	k, v = copyPair(k, v)
	return w.putOwned(b, k, v)
}

func (w *memWriter) putOwned(b Bucket, k, v []byte) error {
	if err := w.check(b, k); err != nil {
		return err
	}
	old, replaced := w.tree(b).Set(item{k: k, v: v})
	if replaced {
		w.state.size -= int64(len(old.k) + len(old.v))
	}
	w.state.size += int64(len(k) + len(v))
	return nil
}

func (w *memWriter) Delete(b Bucket, k []byte) error {
	if err := w.check(b, k); err != nil {
		return err
	}
	if w.state.trees[b] == nil {
		return nil
	}
	if old, ok := w.tree(b).Delete(item{k: k}); ok {
		w.state.size -= int64(len(old.k) + len(old.v))
	}
	return nil
}
