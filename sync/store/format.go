package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"satchel/internal/fault"
	"satchel/sync/bits"
)

// Format is the version of the stores this program writes. It goes up by one
// with each entry of the migrations table.
const Format = 8

// ErrFormat says that a store has a format that this program can't use.
var ErrFormat = errors.New("store: format not supported")

// migration brings a store from one format to the next.
type migration struct {
	to   uint64 // the format afterwards; the one before is to-1
	name string // what it does, for errors
	// run makes the change, verify reads the outcome before the commit.
	run    func(Writer) error
	verify func(Reader) error
}

// migrations has one entry for each format after the first, in order.
var migrations = []migration{
	{
		// Opening makes the bucket; the trail begins with the next change.
		to: 2, name: "audit trail",
		run:    func(Writer) error { return nil },
		verify: func(Reader) error { return nil },
	},
	{
		// The first entry of a program that knows them writes what is missing.
		to: 3, name: "addresses and news",
		run:    func(Writer) error { return nil },
		verify: func(Reader) error { return nil },
	},
	{
		// An older program would forget what is yet to be erased of a person.
		to: 4, name: "erasures",
		run:    func(Writer) error { return nil },
		verify: func(Reader) error { return nil },
	},
	{to: 5, name: "change index by entry", run: changesByEntry, verify: changesAreByEntry},
	{
		// The first entry of a program that knows them indexes the numbers of
		// documents; an older program would give them none.
		to: 6, name: "numbers of documents",
		run:    func(Writer) error { return nil },
		verify: func(Reader) error { return nil },
	},
	{
		// An older program would not look for commits in the journal.
		to: 7, name: "journal",
		run:    func(Writer) error { return nil },
		verify: func(Reader) error { return nil },
	},
	{to: 8, name: "index of long records", run: longRecords, verify: func(Reader) error { return nil }},
}

// longRecords makes the indexes of records longer than 419 bytes, and than 2,097.
func longRecords(w Writer) error {
	var long [2]bits.Builder
	w.Scan(Records, nil, func(k, v []byte) bool {
		if len(k) == 4 {
			for n, length := range [...]int{419, 2097} {
				if len(v) > length {
					long[n].Add(binary.BigEndian.Uint32(k))
				}
			}
		}
		return true
	})
	for n := range long {
		for hi, c := range long[n].Set().Chunks() {
			if err := w.Put(Index, binary.BigEndian.AppendUint16([]byte{'L', byte(n)}, hi), c.Bytes()); err != nil {
				return err
			}
		}
	}
	return nil
}

// changesByEntry makes one row of the change index out of those that each
// record had, a position and an ordinal, by positions.
func changesByEntry(w Writer) error {
	type entry struct {
		pos  uint64
		ords []uint32
	}
	var entries []entry
	var old [][]byte
	bad := false
	w.Scan(Changes, nil, func(k, _ []byte) bool {
		if bad = len(k) != 12; bad {
			return false
		}
		pos, ord := binary.BigEndian.Uint64(k), binary.BigEndian.Uint32(k[8:])
		if n := len(entries); n == 0 || entries[n-1].pos != pos {
			entries = append(entries, entry{pos: pos})
		}
		e := &entries[len(entries)-1]
		e.ords = append(e.ords, ord)
		old = append(old, bytes.Clone(k))
		return true
	})
	if bad {
		return fmt.Errorf("%w: the change index has a row that is none", ErrCorrupt)
	}
	for _, k := range old {
		if err := w.Delete(Changes, k); err != nil {
			return err
		}
	}
	for _, e := range entries {
		v := bits.Of(e.ords...).AppendTo(binary.AppendUvarint(nil, e.pos))
		if err := w.Put(Changes, binary.BigEndian.AppendUint64(nil, e.pos), v); err != nil {
			return err
		}
	}
	return nil
}

func changesAreByEntry(r Reader) (err error) {
	r.Scan(Changes, nil, func(k, v []byte) bool {
		pos, n := binary.Uvarint(v)
		if len(k) != 8 || n <= 0 || pos != binary.BigEndian.Uint64(k) {
			err = fmt.Errorf("%w: row %x of the change index was not made anew", ErrCorrupt, k)
		}
		return err == nil
	})
	return err
}

// readFormat returns the format that a store says it has.
func readFormat(r Reader) (uint64, error) {
	v := r.Get(Meta, []byte(formatKey))
	if v == nil {
		return 0, fmt.Errorf("%w: the format is missing", ErrFormat)
	}
	f, n := binary.Uvarint(v)
	if n != len(v) || f == 0 {
		return 0, fmt.Errorf("%w: the format is unreadable (%x)", ErrFormat, v)
	}
	return f, nil
}

// migrate brings b to the format that table ends in, one transaction a step.
func migrate(b *Bolt, table []migration) error {
	want := uint64(1 + len(table))
	for {
		var have uint64
		err := b.view(func(r Reader) (err error) {
			have, err = readFormat(r)
			return err
		})
		switch {
		case err != nil:
			return err
		case have > want:
			return fmt.Errorf("%w: it is format %d, this program knows formats up to %d; use a newer program", ErrFormat, have, want)
		case have == want:
			return nil
		case b.left.Load():
			// A migration writes to the file, and would miss what lies over it.
			return fault.New(fault.DiskFull).Because(errors.New("store: no space to fold the journal, which comes before a migration"))
		}
		m := table[have-1]
		if m.to != have+1 {
			return fmt.Errorf("store: migration %q leads to format %d, not %d", m.name, m.to, have+1)
		}
		err = b.commit(func(w *boltWriter) error {
			if err := m.run(w); err != nil {
				return err
			}
			if err := w.putFormat(m.to); err != nil {
				return err
			}
			return m.verify(w)
		})
		if err != nil {
			return fmt.Errorf("store: migration to format %d (%s): %w", m.to, m.name, err)
		}
	}
}
