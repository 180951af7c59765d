package store

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"

	"satchel/internal/durable"
	"satchel/internal/fault"
	"satchel/internal/mutant"
)

// journalBucket is the bucket at the top level of the file which says what of
// which journal has been folded into it: the row journalRow holds the nonce and
// the number of the last commit (64 bits, little-endian). It is none of a
// [Reader]'s.
var (
	journalBucket = []byte{0xff}
	journalRow    = []byte("folded")
)

const (
	// heavy is how many times FoldBytes may lie over the file before updates wait
	// for it.
	heavy = 3
	// keptRecord is how much memory is kept for the next commit's record.
	keptRecord = 1 << 20
	// foldAgain is how long after a fold for which there was no space the next is
	// tried.
	foldAgain = time.Second
)

// begin runs the first update of an open store. It goes into the file itself,
// with the nonce of the journal that takes the others, so that the file tells
// what beside it is its own.
func (b *Bolt) begin(fn func(Writer) error) error {
	var n nonce
	_, _ = rand.Read(n[:]) // never fails
	// No segment of an older journal comes back after a power cut.
	if err := durable.SyncDir(filepath.Dir(b.path)); err != nil {
		return fmt.Errorf("store: %s: %w", b.path, err)
	}
	err := b.commit(func(w *boltWriter) error {
		if err := fn(w); err != nil {
			return err
		}
		return w.putFolded(n, 0)
	})
	if err == nil {
		b.journal = newJournal(b.path, n)
	}
	return err
}

// append runs an update and writes it to the journal.
func (b *Bolt) append(fn func(Writer) error) error {
	r, err := b.layers()
	if err != nil {
		return err
	}
	d := draftOver(r.over[0])
	r.over[0] = &d.layer
	w := &journalWriter{layers: r, draft: d, record: newRecord(b.record)}
	err = func() error {
		defer w.end()
		return fn(w)
	}()
	if cap(w.record) <= keptRecord {
		b.record = w.record[:0]
	} else {
		b.record = nil
	}
	if err != nil || len(w.record) == recordHead {
		return err
	}
	if err := b.journal.append(w.record, b.number+1); err != nil {
		switch {
		case errors.Is(err, errBefore) && outOfSpace(err):
			return fault.New(fault.DiskFull).Because(fmt.Errorf("store: %s: %w", b.path, err))
		case errors.Is(err, errUntried):
			return fmt.Errorf("store: %s: %w", b.path, err)
		}
		err = fmt.Errorf("%w: %s: %w", ErrUnknown, b.path, err)
		b.stop(err)
		return err
	}
	b.number++
	b.layMu.Lock()
	b.top = &d.layer
	b.layMu.Unlock()
	b.over.Store(int64(d.bytes))
	b.ask()
	return nil
}

// ask sees to it that what lies over the file is folded. It is called with write.
func (b *Bolt) ask() {
	if !b.due {
		b.due = true
		b.timer = time.AfterFunc(b.opts.FoldAfter, b.background)
	}
	if !b.rushed && b.over.Load() >= int64(b.opts.FoldBytes) {
		b.rushed = true
		go b.background()
	}
}

// background folds. What can't be folded for want of space is tried again; any
// other error has stopped the engine.
func (b *Bolt) background() {
	if err := b.fold(); err != nil && b.stopped() == nil {
		time.AfterFunc(foldAgain, b.background)
	}
}

// relieve waits until little enough lies over the file for another update.
func (b *Bolt) relieve() error {
	if b.over.Load() < heavy*int64(b.opts.FoldBytes) && !b.left.Load() {
		return nil
	}
	return b.fold()
}

// fold brings all that was committed before it was called into the file.
func (b *Bolt) fold() error {
	b.folding.Lock()
	defer b.folding.Unlock()
	return b.foldHeld(false)
}

// foldHeld is fold for whoever has folding, and write too where writing is set.
// After an error all is as it was, the journal included.
func (b *Bolt) foldHeld(writing bool) error {
	if err := b.foldFrozen(); err != nil { // an earlier one had no space
		return err
	}
	if !writing {
		b.write.Lock()
	}
	err := b.stopped()
	if err == nil {
		b.freeze()
	}
	if !writing {
		b.write.Unlock()
	}
	if err != nil {
		return err
	}
	return b.foldFrozen()
}

// freeze has what lies over the file folded next; what comes lies over that, and
// goes to the other segment. It is called with folding and write.
func (b *Bolt) freeze() {
	b.layMu.Lock()
	defer b.layMu.Unlock()
	b.due, b.rushed = false, false
	if b.timer != nil {
		b.timer.Stop()
	}
	if b.top.empty() {
		return
	}
	b.frozen, b.top, b.frozenOf, b.frozenTo = b.top, nil, b.journal.nonce, b.number
	if mutant.On(mutant.FoldNotesTooMuch) {
		b.frozenTo++
	}
	b.over.Store(0)
	b.journal.turn()
}

// foldFrozen is called with folding, which alone changes frozen.
func (b *Bolt) foldFrozen() error {
	if b.frozen == nil && !b.left.Load() {
		return nil
	}
	if err := b.stopped(); err != nil {
		return err
	}
	if b.frozen != nil {
		err := b.growing(func() error {
			return b.commit(func(w *boltWriter) error { return w.takeIn(b.frozen, b.frozenOf, b.frozenTo) })
		})
		if err != nil {
			return err
		}
		b.layMu.Lock()
		b.frozen = nil
		b.layMu.Unlock()
	}
	if !b.left.Load() {
		b.journal.folded()
		return nil
	}
	// Until what a crash left is gone no update begins a journal of its own: the
	// segments of both have the same names.
	if err := RemoveJournal(b.path); err != nil {
		return fmt.Errorf("store: %s: %w", b.path, err)
	}
	b.left.Store(false)
	return nil
}

// end folds what can be folded and ends the journal. It is called with folding
// and write. A store that is broken keeps its journal: it may have what the file
// lacks.
func (b *Bolt) end(whole bool) error {
	if b.timer != nil {
		b.timer.Stop()
	}
	if b.journal == nil {
		return nil
	}
	var err error
	if whole {
		err = b.foldHeld(true)
		whole = err == nil
		if errors.Is(err, ErrDiskFull) {
			err = nil
		}
	}
	err = errors.Join(err, b.journal.close())
	if whole && err == nil {
		err = RemoveJournal(b.path)
	}
	return err
}

// recover folds what the last to have the store open left in a journal. Where
// there is no space for that it lies over the file, and whoever wants to write
// waits for space.
func (b *Bolt) recover() error {
	var n nonce
	var last uint64
	err := guard(func() error {
		return b.db.View(func(tx *bolt.Tx) (err error) {
			n, last, err = readFolded(tx)
			return err
		})
	})
	if err != nil {
		return err
	}
	d, to, found, err := replay(b.path, n, last)
	if err != nil || !found {
		return err
	}
	if to > last {
		err := guard(func() error {
			return b.commit(func(w *boltWriter) error { return w.takeIn(&d.layer, n, to) })
		})
		if errors.Is(err, ErrDiskFull) {
			b.frozen, b.frozenOf, b.frozenTo = &d.layer, n, to
			b.left.Store(true)
			return nil
		}
		if err != nil {
			return err
		}
	}
	return RemoveJournal(b.path)
}

// foldLeft folds what a crash left beside a store's file. It fails with
// [ErrDiskFull] where there is no space for that.
func foldLeft(path string) error {
	if !HasJournal(path) {
		return nil
	}
	b, err := OpenBolt(path, Options{})
	if err != nil {
		return err
	}
	return errors.Join(b.fold(), b.Close())
}

// readFolded returns what of which journal the file has; nothing where it never
// had one.
func readFolded(tx *bolt.Tx) (n nonce, last uint64, err error) {
	bk := tx.Bucket(journalBucket)
	if bk == nil {
		return n, 0, nil
	}
	v := bk.Get(journalRow)
	if len(v) != nonceLength+8 {
		return n, 0, fmt.Errorf("%w: the row of the journal is unreadable (%x)", ErrCorrupt, v)
	}
	return nonce(v[:nonceLength]), binary.LittleEndian.Uint64(v[nonceLength:]), nil
}

// putFolded notes what of which journal the file has once this is committed.
func (w *boltWriter) putFolded(n nonce, last uint64) error {
	bk, err := w.tx.CreateBucketIfNotExists(journalBucket)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	if err := bk.Put(journalRow, binary.LittleEndian.AppendUint64(n[:], last)); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return nil
}

// takeIn makes the writes of a layer, the last of which is a commit's.
func (w *boltWriter) takeIn(l *layer, n nonce, last uint64) error {
	err := l.rows(func(b Bucket, row item) error {
		if row.deleted {
			if mutant.On(mutant.FoldKeepsDeleted) {
				return nil
			}
			return w.Delete(b, row.k)
		}
		return w.putOwned(b, row.k, row.v)
	})
	if err != nil {
		return err
	}
	return w.putFolded(n, last)
}

// journalWriter is the writer of an update that goes to the journal.
type journalWriter struct {
	layers
	draft  *draft
	record []byte
	scans  scans
}

func (w *journalWriter) Scan(b Bucket, from []byte, fn func(k, v []byte) bool) {
	w.scans[mustBucket(b)]++
	defer func() { w.scans[b]-- }()
	w.layers.Scan(b, from, fn)
}

func (w *journalWriter) scanBack(b Bucket, from []byte, fn func(k, v []byte) bool) {
	w.scans[mustBucket(b)]++
	defer func() { w.scans[b]-- }()
	w.layers.scanBack(b, from, fn)
}

func (w *journalWriter) Put(b Bucket, k, v []byte) error {
	k, v = copyPair(k, v)
	return w.putOwned(b, k, v)
}

func (w *journalWriter) putOwned(b Bucket, k, v []byte) error { return w.set(b, item{k: k, v: v}) }

func (w *journalWriter) Delete(b Bucket, k []byte) error {
	return w.set(b, item{k: append(make([]byte, 0, len(k)), k...), deleted: true})
}

func (w *journalWriter) set(b Bucket, row item) error {
	if w.tx == nil {
		return ErrEnded
	}
	if err := checkWrite(b, row.k); err != nil {
		return err
	}
	if err := w.scans.check(b); err != nil {
		return err
	}
	w.draft.set(b, row)
	w.record = appendWrite(w.record, b, row)
	return nil
}
