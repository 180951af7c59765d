package store

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Format is the version of the stores this program writes. It goes up by one
// with each entry of the migrations table.
const Format = 4

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
		}
		m := table[have-1]
		if m.to != have+1 {
			return fmt.Errorf("store: migration %q leads to format %d, not %d", m.name, m.to, have+1)
		}
		err = b.Update(func(w Writer) error {
			if err := m.run(w); err != nil {
				return err
			}
			if err := w.(*boltWriter).putFormat(m.to); err != nil {
				return err
			}
			return m.verify(w)
		})
		if err != nil {
			return fmt.Errorf("store: migration to format %d (%s): %w", m.to, m.name, err)
		}
	}
}
