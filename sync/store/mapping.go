package store

import (
	"errors"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"
)

// bbolt maps a file that outgrows its mapping anew, which waits for all readers
// to end, and lets none begin meanwhile: whoever reads and then wants to read the
// latest state too would wait for a fold that waits for them. So a fold may grow
// the file only as far as it is mapped. One that needs more is taken back, waits
// until nobody reads and is done again while none can begin. Until then whoever
// wants to read is only held up a little, so that the others come to an end.

// errOutgrown says that a commit needs more of the file mapped. Nothing of it is in
// effect.
var errOutgrown = errors.New("store: the file is to be mapped anew")

// heldUp is how long a reader waits for a fold that waits for readers: longer than
// most read.
const heldUp = 20 * time.Millisecond

// admit waits until a reader may begin. It is called with layMu.
func (b *Bolt) admit() {
	if !b.outgrown {
		return
	}
	until := time.Now().Add(heldUp)
	wake := time.AfterFunc(heldUp, func() {
		b.layMu.Lock()
		defer b.layMu.Unlock()
		b.calm.Broadcast()
	})
	defer wake.Stop()
	for b.outgrown && (b.readers == 0 || time.Now().Before(until)) {
		b.calm.Wait()
	}
}

// leave notes that a reader has ended.
func (b *Bolt) leave() {
	b.layMu.Lock()
	defer b.layMu.Unlock()
	if b.readers--; b.readers == 0 {
		b.calm.Broadcast()
	}
}

// growing runs a commit that may make the file larger than it is mapped. It is
// called with folding; f may be called twice.
func (b *Bolt) growing(f func() error) error {
	if b.db.MaxSize > 0 {
		return f() // nothing is mapped beyond that
	}
	b.db.MaxSize, b.bounded = b.mapped-1, true // at mapped bbolt would map more
	err := f()
	b.db.MaxSize, b.bounded = 0, false
	if !errors.Is(err, errOutgrown) {
		return err
	}
	b.layMu.Lock()
	b.outgrown = true
	for b.readers > 0 {
		b.calm.Wait()
	}
	b.layMu.Unlock()
	defer func() {
		b.layMu.Lock()
		b.outgrown = false
		b.calm.Broadcast()
		b.layMu.Unlock()
	}()
	if err := f(); err != nil {
		return err
	}
	_ = b.noteMapped(0) // where it is more than was noted, the next fold is done twice as well
	return nil
}

// noteMapped notes how much of the file is mapped at least: as much as was asked
// for when it was opened, and what it has.
func (b *Bolt) noteMapped(reserved int) error {
	err := b.db.View(func(tx *bolt.Tx) error {
		b.mapped = max(b.mapped, mapSize(max(reserved, int(tx.Size()))))
		return nil
	})
	if err != nil {
		return fmt.Errorf("store: %s: %w", b.path, err)
	}
	return nil
}

// mapSize is how much bbolt maps for so many bytes: a power of two up to 1 GiB,
// then whole GiB.
func mapSize(n int) int {
	const step = 1 << 30
	for size := 1 << 15; size <= step; size *= 2 {
		if n <= size {
			return size
		}
	}
	return (n + step - 1) / step * step
}
