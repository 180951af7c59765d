package oplog

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"satchel/internal/ident"
	"satchel/internal/mutant"
	"satchel/sync/store"
)

// The rows of Meta; see the package comment.
const (
	epochRow       = "log/epoch"
	boundsRow      = "log/bounds"
	proposerPrefix = "log/p/"
)

// local is the log kept in the tenant's own store.
type local struct {
	engine store.Engine
	folder Folder
	epoch  uint64

	// write is held through Append, Truncate and Close; mu, taken inside it,
	// only while the fields below are read or changed.
	write sync.Mutex
	mu    sync.Mutex

	floor, last ident.Position
	seen        map[string]seen // by proposer; only under write
	halted      error           // only under write
	room        []byte          // to encode an entry in; only under write
}

// seen is the last entry of a proposer.
type seen struct {
	number uint64
	pos    ident.Position
}

// Open opens the log in e, or begins one when there is none. It verifies that
// the rows agree with each other ([ErrCorrupt]) and that the epoch is the one
// expected ([ErrEpoch]). Nothing else may write to the rows of the log while it
// is open; a [store.Engine] has one open log at most.
func Open(e store.Engine, f Folder, opts Options) (Log, error) {
	l := &local{engine: e, folder: f}
	if err := l.load(opts); err != nil {
		return nil, err
	}
	return l, nil
}

func (l *local) load(opts Options) error {
	fresh, err := l.read(opts)
	if err == nil && fresh {
		// The snapshot is closed by now: an update may have to wait for it.
		err = l.begin(max(opts.Epoch, 1))
	}
	return err
}

// read takes the rows of an existing log and verifies them; fresh means that
// there is none yet.
func (l *local) read(opts Options) (fresh bool, err error) {
	s, err := l.engine.Snapshot()
	if err != nil {
		return false, err
	}
	defer s.Close()
	if s.Get(store.Meta, []byte(epochRow)) == nil && s.Get(store.Meta, []byte(boundsRow)) == nil {
		s.Scan(store.Log, nil, func(_, _ []byte) bool {
			err = fmt.Errorf("%w: entries without bounds", ErrCorrupt)
			return false
		})
		return true, err
	}
	return false, l.readRows(s, opts)
}

func (l *local) readRows(s store.Reader, opts Options) (err error) {
	if l.epoch, err = readEpoch(s); err != nil {
		return err
	}
	if opts.Epoch != 0 && opts.Epoch != l.epoch {
		return fmt.Errorf("%w: the log has epoch %d, not %d", ErrEpoch, l.epoch, opts.Epoch)
	}
	if l.floor, l.last, err = readBounds(s); err != nil {
		return err
	}
	if l.seen, err = readProposers(s, l.last); err != nil {
		return err
	}
	return l.verifyEnds(s)
}

// begin makes the rows of a new log.
func (l *local) begin(epoch uint64) error {
	l.epoch, l.floor, l.seen = epoch, 1, map[string]seen{}
	return l.engine.Update(func(w store.Writer) error {
		if err := w.Put(store.Meta, []byte(epochRow), binary.AppendUvarint(nil, epoch)); err != nil {
			return err
		}
		return writeBounds(w, 1, 0)
	})
}

// BumpEpoch gives the log in e a new epoch and returns it: to be called on a
// store that was restored to an earlier point, before the log is opened. at is
// the restorer's clock, random any number that nobody chose; the epoch is that
// instant, or one more than it was, and so much more. Counting alone would give
// two restores of one backup the same epoch, and so would a clock that is set back
// between them: what a device got in the first history would pass for something
// of the second.
func BumpEpoch(e store.Engine, at ident.Millis, random uint32) (uint64, error) {
	var epoch uint64
	err := e.Update(func(w store.Writer) (err error) {
		if epoch, err = readEpoch(w); err != nil {
			return err
		}
		epoch = max(epoch+1, uint64(max(at, 0))) + uint64(random)
		return w.Put(store.Meta, []byte(epochRow), binary.AppendUvarint(nil, epoch))
	})
	if err != nil {
		return 0, err
	}
	return epoch, nil
}

// numbers reads exactly n varints that take up all of row.
func numbers(r store.Reader, row string, n int) ([]uint64, error) {
	v := reader{rest: r.Get(store.Meta, []byte(row))}
	out := make([]uint64, n)
	for i := range out {
		out[i] = v.uvarint()
	}
	if v.err != nil || len(v.rest) > 0 {
		return nil, fmt.Errorf("%w: the row %q is unreadable", ErrCorrupt, row)
	}
	return out, nil
}

func readEpoch(r store.Reader) (uint64, error) {
	v, err := numbers(r, epochRow, 1)
	if err != nil {
		return 0, err
	}
	if v[0] == 0 {
		return 0, fmt.Errorf("%w: epoch 0", ErrCorrupt)
	}
	return v[0], nil
}

func readBounds(r store.Reader) (floor, last ident.Position, err error) {
	v, err := numbers(r, boundsRow, 2)
	if err != nil {
		return 0, 0, err
	}
	floor, last = ident.Position(v[0]), ident.Position(v[1])
	if floor == 0 || floor > last+1 {
		return 0, 0, fmt.Errorf("%w: floor %d, last position %d", ErrCorrupt, floor, last)
	}
	return floor, last, nil
}

func writeBounds(w store.Writer, floor, last ident.Position) error {
	v := binary.AppendUvarint(nil, uint64(floor))
	return w.Put(store.Meta, []byte(boundsRow), binary.AppendUvarint(v, uint64(last)))
}

func readProposers(r store.Reader, last ident.Position) (map[string]seen, error) {
	all := map[string]seen{}
	var err error
	store.ScanPrefix(r, store.Meta, []byte(proposerPrefix), func(k, v []byte) bool {
		name := string(k[len(proposerPrefix):])
		n := reader{rest: v}
		p := seen{number: n.uvarint(), pos: ident.Position(n.uvarint())}
		if n.err != nil || len(n.rest) > 0 || p.number == 0 || p.pos == 0 || p.pos > last {
			err = fmt.Errorf("%w: the row of proposer %q", ErrCorrupt, name)
		}
		all[name] = p
		return err == nil
	})
	return all, err
}

func rowKey(p ident.Position) []byte { return binary.BigEndian.AppendUint64(nil, uint64(p)) }

// verifyEnds checks the first and the last entry against the bounds; what lies
// between is checked as it is read.
func (l *local) verifyEnds(s store.Reader) error {
	first, beyond := ident.Position(0), false
	s.Scan(store.Log, nil, func(k, _ []byte) bool {
		if len(k) == 8 {
			first = ident.Position(binary.BigEndian.Uint64(k))
		}
		return false
	})
	s.Scan(store.Log, rowKey(l.last+1), func(_, _ []byte) bool {
		beyond = true
		return false
	})
	switch {
	case beyond:
		return fmt.Errorf("%w: entries beyond the last position, %d", ErrCorrupt, l.last)
	case l.floor > l.last && first != 0, l.floor <= l.last && first != l.floor:
		return fmt.Errorf("%w: the first entry is %d where the floor is %d", ErrCorrupt, first, l.floor)
	case l.floor > l.last:
		return nil
	}
	for _, pos := range []ident.Position{l.floor, l.last} {
		if _, err := l.entry(pos, s.Get(store.Log, rowKey(pos))); err != nil {
			return err
		}
	}
	return nil
}

// entry decodes the row of pos.
func (l *local) entry(pos ident.Position, row []byte) (Entry, error) {
	if row == nil {
		return Entry{}, fmt.Errorf("%w: entry %d is missing", ErrCorrupt, pos)
	}
	e, err := Decode(row)
	switch {
	case err != nil:
		return Entry{}, fmt.Errorf("entry %d: %w", pos, err)
	case e.Pos != pos:
		return Entry{}, fmt.Errorf("%w: entry %d stands in the row of %d", ErrCorrupt, e.Pos, pos)
	case e.Epoch > l.epoch:
		return Entry{}, fmt.Errorf("%w: entry %d has epoch %d, the log %d", ErrEpoch, pos, e.Epoch, l.epoch)
	}
	return e, nil
}

// Append implements [Log].
func (l *local) Append(ctx context.Context, d Draft) (ident.Position, error) {
	l.write.Lock()
	defer l.write.Unlock()
	if l.halted != nil {
		return 0, l.halted
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if err := checkDraft(d); err != nil {
		return 0, err
	}
	switch had := l.seen[d.Proposer]; {
	case d.Number == had.number && !mutant.On(mutant.DraftTwice):
		return had.pos, nil
	case d.Number < had.number:
		return l.findOld(d)
	case d.Number > had.number+1:
		return 0, fmt.Errorf("%w: %d comes after %d of %q", ErrGap, d.Number, had.number, d.Proposer)
	}
	e := Entry{
		Epoch: l.epoch, Pos: l.last + 1, Time: d.Time, Version: d.Version,
		Proposer: d.Proposer, Number: d.Number, Commands: d.Commands,
	}
	if err := l.commit(e); err != nil && !mutant.On(mutant.AnswerUncommitted) {
		return 0, err
	}
	l.seen[e.Proposer] = seen{e.Number, e.Pos}
	l.setBounds(l.floor, e.Pos)
	l.folder.Committed(e)
	return e.Pos, nil
}

// commit writes and folds the entry in one transaction.
func (l *local) commit(e Entry) error {
	folding, done := false, false
	defer func() {
		if folding && !done { // Fold panicked
			l.halt(errors.New("the folder panicked"))
			l.folder.Aborted(e, l.halted)
		}
	}()
	err := l.engine.Update(func(w store.Writer) error {
		if err := l.verifyHead(w); err != nil {
			return err
		}
		if err := l.put(w, e); err != nil {
			return err
		}
		folding = true
		return l.folder.Fold(w, e)
	})
	done = true
	if err == nil {
		return nil
	}
	if errors.Is(err, store.ErrUnknown) || errors.Is(err, ErrEpoch) || errors.Is(err, ErrCorrupt) {
		l.halt(err)
	}
	if folding {
		l.folder.Aborted(e, err)
	}
	return fmt.Errorf("oplog: entry %d: %w", e.Pos, err)
}

// verifyHead makes sure that the rows are still as this log left them.
func (l *local) verifyHead(r store.Reader) error {
	epoch, err := readEpoch(r)
	if err != nil {
		return err
	}
	if epoch != l.epoch {
		return fmt.Errorf("%w: the log has epoch %d, it was opened with %d", ErrEpoch, epoch, l.epoch)
	}
	floor, last, err := readBounds(r)
	if err != nil {
		return err
	}
	if floor != l.floor || last != l.last {
		return fmt.Errorf("%w: bounds %d to %d, they were left at %d to %d", ErrCorrupt, floor, last, l.floor, l.last)
	}
	return nil
}

// maxRoom bounds the room for encoding that is kept between entries, in bytes.
const maxRoom = 256 << 10

// put puts the entry's rows.
func (l *local) put(w store.Writer, e Entry) error {
	row := appendEntry(l.room[:0], e)
	if cap(row) <= maxRoom {
		l.room = row
	}
	if err := w.Put(store.Log, rowKey(e.Pos), row); err != nil {
		return err
	}
	p := binary.AppendUvarint(nil, e.Number)
	p = binary.AppendUvarint(p, uint64(e.Pos))
	if err := w.Put(store.Meta, []byte(proposerPrefix+e.Proposer), p); err != nil {
		return err
	}
	return writeBounds(w, l.floor, e.Pos)
}

// findOld returns the position of an entry before its proposer's last one.
func (l *local) findOld(d Draft) (ident.Position, error) {
	var pos ident.Position
	err := l.Entries(0, func(e Entry) (bool, error) {
		if e.Proposer == d.Proposer && e.Number == d.Number {
			pos = e.Pos
		}
		return pos == 0, nil
	})
	if err == nil && pos == 0 {
		err = fmt.Errorf("%w: number %d of %q was appended long ago", ErrTruncated, d.Number, d.Proposer)
	}
	return pos, err
}

func (l *local) halt(err error) {
	if l.halted == nil {
		l.halted = fmt.Errorf("%w: %w", ErrHalted, err)
	}
}

func (l *local) setBounds(floor, last ident.Position) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.floor, l.last = floor, last
}

// Bounds implements [Log].
func (l *local) Bounds() (floor, last ident.Position) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.floor, l.last
}

// Epoch implements [Log].
func (l *local) Epoch() uint64 { return l.epoch }

// A snapshot must not stay open while a caller works, so entries are read a
// page at a time: at most this many, or this many bytes.
const (
	pageEntries = 256
	pageBytes   = 1 << 20
)

// Entries implements [Log].
func (l *local) Entries(from ident.Position, fn func(Entry) (bool, error)) error {
	floor, last := l.Bounds()
	if from == 0 {
		from = floor
	}
	epoch := uint64(0)
	for from <= last || from < floor {
		page, err := l.page(from, last)
		for _, e := range page {
			if e.Epoch < epoch {
				return fmt.Errorf("%w: entry %d has epoch %d after one of %d", ErrCorrupt, e.Pos, e.Epoch, epoch)
			}
			epoch = e.Epoch
			if more, err := fn(e); !more || err != nil {
				return err
			}
		}
		if err != nil {
			return err
		}
		from += ident.Position(len(page))
	}
	return nil
}

// page reads at least one entry from from on, up to last, or fails; the
// entries before the one that fails come with the error.
func (l *local) page(from, last ident.Position) ([]Entry, error) {
	s, err := l.engine.Snapshot()
	if err != nil {
		return nil, err
	}
	defer s.Close()
	floor, _, err := readBounds(s)
	if err != nil {
		return nil, err
	}
	if from < floor {
		return nil, fmt.Errorf("%w: position %d, the floor is %d", ErrTruncated, from, floor)
	}
	var page []Entry
	size, next := 0, from
	s.Scan(store.Log, rowKey(from), func(k, v []byte) bool {
		if string(k) != string(rowKey(next)) {
			return false // a gap: judged below
		}
		var e Entry
		if e, err = l.entry(next, v); err != nil {
			return false
		}
		page = append(page, e)
		size += len(v)
		next++
		return next <= last && len(page) < pageEntries && size < pageBytes
	})
	if err == nil && len(page) == 0 {
		_, err = l.entry(next, nil)
	}
	return page, err
}

// truncateRows is how many entries one transaction of Truncate deletes, so that
// appends don't wait long.
const truncateRows = 1000

// Truncate implements [Log]. A long way is gone in several commits; after an
// error the floor may have moved part of it.
func (l *local) Truncate(floor ident.Position) error {
	for {
		done, err := l.truncateSome(floor)
		if done || err != nil {
			return err
		}
	}
}

func (l *local) truncateSome(floor ident.Position) (done bool, err error) {
	l.write.Lock()
	defer l.write.Unlock()
	switch {
	case l.halted != nil:
		return false, l.halted
	case floor > l.last+1:
		return false, fmt.Errorf("oplog: truncation to %d, beyond the last position, %d", floor, l.last)
	case floor <= l.floor:
		return true, nil
	}
	to := min(floor, l.floor+truncateRows)
	err = l.engine.Update(func(w store.Writer) error {
		if err := l.verifyHead(w); err != nil {
			return err
		}
		for p := l.floor; p < to; p++ {
			if err := w.Delete(store.Log, rowKey(p)); err != nil {
				return err
			}
		}
		return writeBounds(w, to, l.last)
	})
	if err != nil {
		if errors.Is(err, store.ErrUnknown) || errors.Is(err, ErrEpoch) || errors.Is(err, ErrCorrupt) {
			l.halt(err)
		}
		return false, fmt.Errorf("oplog: truncation to %d: %w", floor, err)
	}
	l.setBounds(to, l.last)
	return to == floor, nil
}

// Close implements [Log].
func (l *local) Close() error {
	l.write.Lock()
	defer l.write.Unlock()
	if !errors.Is(l.halted, ErrClosed) {
		l.halted = ErrClosed
	}
	return nil
}
