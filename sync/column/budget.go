package column

import (
	"container/list"
	"runtime"
	"sync"
	"time"
)

// DefaultBytes is the memory that columns may take where nothing is said, in
// bytes.
const DefaultBytes = 256 << 20

// resting is how long a column must not have been wanted before another may
// take its place: where more is wanted than there is room for, some lists are
// read record by record, and no time goes into building columns in turns.
const resting = 30 * time.Second

// Budget bounds the memory of the columns of a process, whatever tenants they
// are of. The columns wanted longest ago go first. Its methods may be called
// by many goroutines.
type Budget struct {
	limit int64
	clock func() time.Time
	turns chan struct{} // builds under way: half of the processors at most

	mu    sync.Mutex
	stats Stats
	byUse list.List // of *holding, most recently used first
	held  map[holder]*list.Element
}

// Stats counts what a budget's columns take and did.
type Stats struct {
	// Bytes and Columns are what there is now.
	Bytes   int64
	Columns int
	// Built columns, and the time that took in all; Refused are those for
	// which there was no room, Dropped those that made room.
	Built, Refused, Dropped uint64
	Building                time.Duration
	// Advanced counts how often a type's columns were brought up to date.
	Advanced uint64
	// Mistaken counts how often columns were told to be wrong.
	Mistaken uint64
}

// holder is a column of a table, or with the zero ID the table's directory.
type holder struct {
	t  *table
	id ID
}

type holding struct {
	holder
	bytes int64
	used  time.Time
}

// NewBudget makes a budget of so many bytes; none keeps no columns at all.
func NewBudget(bytes int64) *Budget {
	return &Budget{
		limit: bytes, clock: time.Now, turns: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)), held: map[holder]*list.Element{},
	}
}

// Stats returns the present counts.
func (b *Budget) Stats() Stats {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.stats
}

func (b *Budget) count(f func(*Stats)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f(&b.stats)
}

// use notes that columns are wanted.
func (b *Budget) use(t *table, ids []ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.clock()
	for _, id := range ids {
		if e := b.held[holder{t, id}]; e != nil {
			e.Value.(*holding).used = now //nolint:forcetypeassert // the list's own
			b.byUse.MoveToFront(e)
		}
	}
}

// room reports whether so many bytes could be had.
func (b *Budget) room(bytes int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	free := b.limit - b.stats.Bytes
	now := b.clock()
	for e := b.byUse.Back(); e != nil && free < bytes; e = e.Prev() {
		h := e.Value.(*holding) //nolint:forcetypeassert // the list's own
		if h.id == (ID{}) {
			continue
		}
		if now.Sub(h.used) < resting {
			break
		}
		free += h.bytes
	}
	return free >= bytes
}

// hold accounts for a column that was built and returns the columns that have
// to go for it; ok is false where it has to go itself.
func (b *Budget) hold(t *table, id ID, bytes int64) (out []holder, ok bool) {
	if !b.room(bytes) {
		b.count(func(s *Stats) { s.Refused++ })
		return nil, false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.drop(holder{t, id})
	b.stats.Bytes += bytes
	b.stats.Columns++
	b.held[holder{t, id}] = b.byUse.PushFront(&holding{holder{t, id}, bytes, b.clock()})
	return b.over(holder{t, id}), true
}

// resize accounts for columns that have another size now and returns those
// that have to go.
func (b *Budget) resize(t *table, sizes map[ID]int64) []holder {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, n := range sizes {
		if e := b.held[holder{t, id}]; e != nil {
			h := e.Value.(*holding) //nolint:forcetypeassert // the list's own
			b.stats.Bytes += n - h.bytes
			h.bytes = n
		}
	}
	return b.over(holder{})
}

// over lets go of the columns wanted longest ago, but for one, until the rest
// fits; the caller holds mu.
func (b *Budget) over(but holder) (out []holder) {
	for e := b.byUse.Back(); e != nil && b.stats.Bytes > b.limit; {
		h := e.Value.(*holding) //nolint:forcetypeassert // the list's own
		e = e.Prev()
		// A directory goes with the last of its columns.
		if h.holder != but && h.id != (ID{}) {
			b.drop(h.holder)
			b.stats.Dropped++
			out = append(out, h.holder)
		}
	}
	return out
}

// release forgets a column that is gone.
func (b *Budget) release(t *table, ids ...ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, id := range ids {
		b.drop(holder{t, id})
	}
}

// drop forgets a column; the caller holds mu.
func (b *Budget) drop(h holder) {
	if e := b.held[h]; e != nil {
		b.stats.Bytes -= b.byUse.Remove(e).(*holding).bytes //nolint:forcetypeassert // the list's own
		b.stats.Columns--
		delete(b.held, h)
	}
}
