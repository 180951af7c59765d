package entity

import (
	"cmp"
	"encoding/binary"
	"errors"
	"slices"

	"satchel/internal/ident"
)

// Stamp says where in the log, when and by whom something was written.
type Stamp struct {
	Pos ident.Position
	At  ident.Millis
	By  ident.RecordID // "" for the system
}

// Cell is one field of a record: its value (nil where cleared), how often the
// field was written, and the stamp of the last write. Counters stand at the
// field, not at the record, so that nothing a reader sees depends on writes
// to fields the reader does not see.
type Cell struct {
	No    uint8
	Stamp uint8
	Count uint32
	Value Value
}

// fresh marks a cell written since the record was loaded.
const fresh = 0xff

// Record is one record in memory. Values may alias the bytes it was decoded
// from and are never written to.
type Record struct {
	Type   *Type
	ID     ident.RecordID
	Ord    ident.Ordinal
	Stamps []Stamp
	Cells  []Cell // ascending by No
}

func (r *Record) at(no uint8) (int, bool) {
	return slices.BinarySearchFunc(r.Cells, no, func(c Cell, n uint8) int { return cmp.Compare(c.No, n) })
}

// Value returns the field's value, nil for none.
func (r *Record) Value(no uint8) Value {
	if i, ok := r.at(no); ok {
		return r.Cells[i].Value
	}
	return nil
}

// Get returns the value of the named field, nil for none and for an unknown
// name.
func (r *Record) Get(name string) Value {
	if f := r.Type.byName[name]; f != nil {
		return r.Value(f.No)
	}
	return nil
}

// Put writes a field; it reports whether that changes the value. Clearing a
// field that was never set is no change.
func (r *Record) Put(no uint8, v Value) bool {
	i, ok := r.at(no)
	if !ok {
		if v.IsNull() {
			return false
		}
		r.Cells = slices.Insert(r.Cells, i, Cell{No: no, Stamp: fresh, Count: 1, Value: v})
		return true
	}
	c := &r.Cells[i]
	if string(c.Value) == string(v) {
		return false
	}
	if c.Stamp != fresh {
		c.Count++
	}
	c.Stamp, c.Value = fresh, v
	return true
}

// Set writes the named field; an unknown name is a fault of the program.
func (r *Record) Set(name string, v Value) bool {
	f := r.Type.byName[name]
	if f == nil {
		panic("entity: type " + r.Type.Name + " has no field " + name)
	}
	return r.Put(f.No, v)
}

// Dirty returns the fields written since the record was loaded or sealed.
func (r *Record) Dirty() Mask {
	var m Mask
	for _, c := range r.Cells {
		if c.Stamp == fresh {
			m |= 1 << c.No
		}
	}
	return m
}

// Seal gives the written fields their stamp and forgets stamps that no field
// bears any more.
func (r *Record) Seal(s Stamp) {
	var used [len(r.Type.byNo)]bool
	for _, c := range r.Cells {
		if c.Stamp != fresh {
			used[c.Stamp] = true
		}
	}
	var moved [64]uint8
	kept := make([]Stamp, 0, len(r.Stamps)+1)
	for i, st := range r.Stamps {
		if used[i] {
			moved[i] = uint8(len(kept))
			kept = append(kept, st)
		}
	}
	dirty := false
	for i := range r.Cells {
		c := &r.Cells[i]
		if c.Stamp == fresh {
			c.Stamp, dirty = uint8(len(kept)), true
		} else {
			c.Stamp = moved[c.Stamp]
		}
	}
	if dirty {
		kept = append(kept, s)
	}
	r.Stamps = kept
}

// Last returns the newest stamp among the fields of the mask.
func (r *Record) Last(m Mask) Stamp {
	var last Stamp
	for _, c := range r.Cells {
		if m.Has(c.No) && c.Stamp != fresh && r.Stamps[c.Stamp].Pos > last.Pos {
			last = r.Stamps[c.Stamp]
		}
	}
	return last
}

// Client returns the client the record belongs to, "" for none.
func (r *Record) Client() ident.RecordID { return r.Value(NoClientID).Ref() }

// Archived reports whether the record is archived.
func (r *Record) Archived() bool { return !r.Value(NoArchived).IsNull() }

// StatusText returns the record's status, "" for a type without one.
func (r *Record) StatusText() string {
	if r.Type.Status == nil {
		return ""
	}
	return r.Get(r.Type.Status.Field).Text()
}

// Clone returns a copy whose cells can be written without touching r.
func (r *Record) Clone() *Record {
	c := *r
	c.Cells = slices.Clone(r.Cells)
	c.Stamps = slices.Clone(r.Stamps)
	return &c
}

// The bytes of a record, version 1:
//
//	1            version
//	uvarint      type number
//	uvarint n, n bytes  id
//	uvarint      number of stamps, each: uvarint position, uvarint instant
//	             (milliseconds), uvarint n, n bytes of the writer's id
//	uvarint      number of cells, ascending by field number, each: 1 byte
//	             field number, 1 byte stamp index, uvarint count, uvarint n,
//	             n bytes of segment
//
// A segment is `"name":value` as it stands in JSON, or empty where the field
// was cleared; a projection is spliced from segments without parsing them.
const recordVersion = 1

// Append encodes a sealed record.
func (r *Record) Append(b []byte) []byte {
	b = append(b, recordVersion)
	b = binary.AppendUvarint(b, uint64(r.Type.No))
	b = binary.AppendUvarint(b, uint64(len(r.ID)))
	b = append(b, r.ID...)
	b = binary.AppendUvarint(b, uint64(len(r.Stamps)))
	for _, s := range r.Stamps {
		b = binary.AppendUvarint(b, uint64(s.Pos))
		b = binary.AppendUvarint(b, uint64(s.At))
		b = binary.AppendUvarint(b, uint64(len(s.By)))
		b = append(b, s.By...)
	}
	b = binary.AppendUvarint(b, uint64(len(r.Cells)))
	for _, c := range r.Cells {
		b = append(b, c.No, c.Stamp)
		b = binary.AppendUvarint(b, uint64(c.Count))
		if c.Value.IsNull() {
			b = append(b, 0)
			continue
		}
		name := r.Type.byNo[c.No].Name
		b = binary.AppendUvarint(b, uint64(len(name)+3+len(c.Value)))
		b = append(b, '"')
		b = append(b, name...)
		b = append(b, '"', ':')
		b = append(b, c.Value...)
	}
	return b
}

// ErrCorrupt says that stored bytes are not a record.
var ErrCorrupt = errors.New("entity: stored record is corrupt")

// Reader walks the bytes of a record without building it.
type Reader struct {
	TypeNo uint16
	ID     []byte
	Stamps []Stamp // shared buffer of the Reader, valid until the next Read
	raw    []byte
	by     []int // where in raw the writer of each stamp stands
	cells  []byte
	n      int
}

// RawCell is a cell as stored.
type RawCell struct {
	No      uint8
	Stamp   uint8
	Count   uint32
	Segment []byte // `"name":value`, empty where cleared
}

func uvarint(b []byte) (uint64, []byte, bool) {
	if len(b) > 0 && b[0] < 0x80 {
		return uint64(b[0]), b[1:], true
	}
	v, n := binary.Uvarint(b)
	if n <= 0 {
		return 0, nil, false
	}
	return v, b[n:], true
}

func take(b []byte) (part, rest []byte, ok bool) {
	n, b, ok := uvarint(b)
	if !ok || n > uint64(len(b)) {
		return nil, nil, false
	}
	return b[:n], b[n:], true
}

// Read starts on the bytes of a record. The stamps' writers are only decoded
// when withBy is set.
func (rd *Reader) Read(b []byte, withBy bool) error {
	if len(b) < 2 || b[0] != recordVersion {
		return ErrCorrupt
	}
	rd.raw = b
	no, b, ok := uvarint(b[1:])
	if !ok || no > 1<<16-1 {
		return ErrCorrupt
	}
	rd.TypeNo = uint16(no)
	if rd.ID, b, ok = take(b); !ok {
		return ErrCorrupt
	}
	var n, v uint64
	if n, b, ok = uvarint(b); !ok || n > 64 {
		return ErrCorrupt
	}
	if rd.Stamps, rd.by = rd.Stamps[:0], rd.by[:0]; cap(rd.Stamps) < int(n) {
		rd.Stamps = make([]Stamp, 0, n)
	}
	if cap(rd.by) < int(n) {
		rd.by = make([]int, 0, n)
	}
	for range n {
		var s Stamp
		if v, b, ok = uvarint(b); !ok {
			return ErrCorrupt
		}
		s.Pos = ident.Position(v)
		if v, b, ok = uvarint(b); !ok {
			return ErrCorrupt
		}
		s.At = ident.Millis(v)
		var by []byte
		rd.by = append(rd.by, len(rd.raw)-len(b))
		if by, b, ok = take(b); !ok {
			return ErrCorrupt
		}
		if withBy {
			s.By = ident.RecordID(by)
		}
		rd.Stamps = append(rd.Stamps, s)
	}
	if n, b, ok = uvarint(b); !ok || n > 64 {
		return ErrCorrupt
	}
	rd.n, rd.cells = int(n), b
	return nil
}

// Len returns how many bytes the record has as stored.
func (rd *Reader) Len() int { return len(rd.raw) }

// Writer returns the id of who wrote a stamp, empty for the system: part of the
// bytes that are read, whether or not Read decoded it.
func (rd *Reader) Writer(stamp uint8) []byte {
	by, _, _ := take(rd.raw[rd.by[stamp]:])
	return by
}

// Next returns the next cell; ok is false at the end.
func (rd *Reader) Next() (c RawCell, ok bool, err error) {
	if rd.n == 0 {
		if len(rd.cells) != 0 {
			return c, false, ErrCorrupt
		}
		return c, false, nil
	}
	b := rd.cells
	if len(b) < 4 || b[0] > 63 || int(b[1]) >= len(rd.Stamps) {
		return c, false, ErrCorrupt
	}
	c.No, c.Stamp = b[0], b[1]
	if b[2]|b[3] < 0x80 { // nearly always: a byte each
		n := int(b[3]) + 4
		if n > len(b) {
			return c, false, ErrCorrupt
		}
		c.Count, c.Segment, rd.cells = uint32(b[2]), b[4:n], b[n:]
		rd.n--
		return c, true, nil
	}
	v, b, ok := uvarint(b[2:])
	if !ok || v > 1<<32-1 {
		return c, false, ErrCorrupt
	}
	c.Count = uint32(v)
	if c.Segment, b, ok = take(b); !ok {
		return c, false, ErrCorrupt
	}
	rd.cells = b
	rd.n--
	return c, true, nil
}

// Decode builds a record from its bytes; values alias b.
func (c *Catalogue) Decode(ord ident.Ordinal, b []byte) (*Record, error) {
	var room [8]int // most records have few stamps
	rd := Reader{by: room[:0]}
	if err := rd.Read(b, true); err != nil {
		return nil, err
	}
	t := c.byNo[rd.TypeNo]
	if t == nil {
		return nil, ErrCorrupt
	}
	r := &Record{Type: t, ID: ident.RecordID(rd.ID), Ord: ord, Stamps: rd.Stamps} // the Reader is this record's alone
	r.Cells = make([]Cell, 0, rd.n+2)
	last := -1
	for {
		rc, ok, err := rd.Next()
		if err != nil {
			return nil, err
		}
		if !ok {
			return r, nil
		}
		f := t.byNo[rc.No]
		if f == nil || int(rc.No) <= last {
			return nil, ErrCorrupt
		}
		last = int(rc.No)
		cell := Cell{No: rc.No, Stamp: rc.Stamp, Count: rc.Count}
		if len(rc.Segment) > 0 {
			if len(rc.Segment) < len(f.Name)+4 {
				return nil, ErrCorrupt
			}
			cell.Value = Value(rc.Segment[len(f.Name)+3:])
		}
		r.Cells = append(r.Cells, cell)
	}
}
