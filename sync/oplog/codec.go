package oplog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"satchel/internal/ident"
)

const (
	codecVersion = 1
	sumLength    = 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Size returns the most bytes that the draft can take up as an entry, whatever
// its epoch and position. Append refuses a draft whose Size exceeds
// MaxEntryBytes.
func Size(d Draft) int {
	n := 1 + 2*binary.MaxVarintLen64 + varintLen(zigzag(d.Time)) + varintLen(d.Version) +
		varintLen(uint64(len(d.Proposer))) + len(d.Proposer) + varintLen(d.Number) +
		varintLen(uint64(len(d.Commands))) + sumLength
	for _, c := range d.Commands {
		n += CommandSize(len(c))
	}
	return n
}

// CommandSize returns the bytes that a command of n bytes adds to an entry.
func CommandSize(n int) int { return varintLen(uint64(n)) + n }

func varintLen(v uint64) int {
	n := 1
	for ; v >= 0x80; v >>= 7 {
		n++
	}
	return n
}

func zigzag(t ident.Millis) uint64   { return uint64(t)<<1 ^ uint64(t>>63) }
func unzigzag(v uint64) ident.Millis { return ident.Millis(v>>1) ^ -ident.Millis(v&1) }

// Encode returns the entry's bytes. It checks no limits.
func Encode(e Entry) []byte {
	return appendEntry(make([]byte, 0, Size(Draft{Time: e.Time, Version: e.Version, Proposer: e.Proposer, Number: e.Number, Commands: e.Commands})), e)
}

// appendEntry is Encode into a slice that is empty.
func appendEntry(b []byte, e Entry) []byte {
	b = append(b, codecVersion)
	b = binary.AppendUvarint(b, e.Epoch)
	b = binary.AppendUvarint(b, uint64(e.Pos))
	b = binary.AppendUvarint(b, zigzag(e.Time))
	b = binary.AppendUvarint(b, e.Version)
	b = binary.AppendUvarint(b, uint64(len(e.Proposer)))
	b = append(b, e.Proposer...)
	b = binary.AppendUvarint(b, e.Number)
	b = binary.AppendUvarint(b, uint64(len(e.Commands)))
	for _, c := range e.Commands {
		b = binary.AppendUvarint(b, uint64(len(c)))
		b = append(b, c...)
	}
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// Decode reads what Encode wrote; every entry has exactly one encoding. It
// keeps nothing of b and takes memory in proportion to its length. An error is
// [ErrCorrupt].
func Decode(b []byte) (Entry, error) {
	e, err := decode(b)
	if err != nil {
		return Entry{}, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return e, nil
}

func decode(b []byte) (Entry, error) {
	if len(b) > MaxEntryBytes {
		return Entry{}, fmt.Errorf("an entry of %d bytes", len(b))
	}
	if len(b) < 1+sumLength {
		return Entry{}, errShort
	}
	body := b[:len(b)-sumLength]
	if crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(b[len(body):]) {
		return Entry{}, errors.New("wrong checksum")
	}
	if body[0] != codecVersion {
		return Entry{}, fmt.Errorf("codec version %d", body[0])
	}
	r := reader{rest: append([]byte(nil), body[1:]...)} // the commands' memory
	e := Entry{
		Epoch: r.uvarint(), Pos: ident.Position(r.uvarint()), Time: unzigzag(r.uvarint()),
	}
	e.Version = r.uvarint()
	e.Proposer = string(r.bytes())
	e.Number = r.uvarint()
	count := r.uvarint()
	if count > uint64(len(r.rest)) { // each takes a byte at least
		r.fail(errShort)
	}
	if r.err == nil && count > 0 {
		e.Commands = make([][]byte, count)
		for i := range e.Commands {
			e.Commands[i] = r.bytes()
		}
	}
	if len(r.rest) > 0 {
		r.fail(fmt.Errorf("%d bytes left over", len(r.rest)))
	}
	return e, r.err
}

var errShort = errors.New("cut short")

// reader takes values off a slice; after an error it yields zeros.
type reader struct {
	rest []byte
	err  error
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.rest = nil
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	switch {
	case n <= 0:
		r.fail(errShort)
		return 0
	case n > 1 && r.rest[n-1] == 0:
		r.fail(errors.New("a number in a longer form than needed"))
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *reader) bytes() []byte {
	n := r.uvarint()
	if n > uint64(len(r.rest)) {
		r.fail(errShort)
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}
