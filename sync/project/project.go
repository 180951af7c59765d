// Package project turns stored records into what a reader sees of them: the
// fields of a mask, spliced from stored segments without parsing JSON, and a
// rev, writer and time that depend on those fields alone. Pull and the module
// API both speak through it.
package project

import (
	"crypto/sha256"
	"encoding/binary"

	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/internal/mutant"
)

// Rev names a version of a record as one reader sees it: 16 hex digits over
// the id and, of each visible field ever written, the number, the count of
// writes and the instant of the last one. Two readers with different masks
// have different revs of one record, and a write to fields outside a mask
// leaves that mask's rev as it was. The instant is there for a server that was
// put back to a backup: it counts the same writes again with other values, and
// a device that was ahead of it must not take the one for the other.
type Rev uint64

func (r Rev) String() string {
	var b [16]byte
	return string(r.Append(b[:0]))
}

// Append appends the rev's 16 characters to dst.
func (r Rev) Append(dst []byte) []byte {
	const digits = "0123456789abcdef"
	var b [16]byte
	for i := range b {
		b[i] = digits[r>>(60-4*i)&15]
	}
	return append(dst, b[:]...)
}

const (
	fnvOffset = 14695981039346656037
	fnvPrime  = 1099511628211
	// To fold zero bytes is to multiply: these fold a byte and the zeros after it.
	fnvPrime3 = fnvPrime * fnvPrime * fnvPrime & (1<<64 - 1)
	fnvPrime4 = fnvPrime3 * fnvPrime & (1<<64 - 1)
)

// revState folds ids and counters; finish spreads what FNV leaves in the low
// bits over the whole word.
type revState uint64

func newRev(id []byte) revState {
	h := revState(fnvOffset)
	for _, c := range id {
		h = (h ^ revState(c)) * fnvPrime
	}
	return h
}

// cell folds the number, four bytes of the count and eight of the instant, the
// lowest first.
func (h revState) cell(no uint8, count uint32, at ident.Millis) revState {
	h = (h ^ revState(no)) * fnvPrime
	if count > 0xff || uint64(at) >= 1<<48 {
		return h.bytes(uint64(count), 4).bytes(uint64(at), 8)
	}
	// Each step waits for the one before: the zeros that nearly every cell has at
	// the same places cost one step, not five.
	h = (h ^ revState(count)) * fnvPrime4
	h = (h ^ revState(byte(at))) * fnvPrime
	h = (h ^ revState(byte(at>>8))) * fnvPrime
	h = (h ^ revState(byte(at>>16))) * fnvPrime
	h = (h ^ revState(byte(at>>24))) * fnvPrime
	h = (h ^ revState(byte(at>>32))) * fnvPrime
	return (h ^ revState(byte(at>>40))) * fnvPrime3
}

// bytes folds the n lowest bytes of v.
func (h revState) bytes(v uint64, n int) revState {
	for range n {
		h = (h ^ revState(byte(v))) * fnvPrime
		v >>= 8
	}
	return h
}

func (h revState) finish() Rev {
	x := uint64(h)
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	x ^= x >> 33
	return Rev(x)
}

// Projector reads stored records; it keeps buffers between them and is for
// one goroutine.
type Projector struct {
	rd entity.Reader
	// day as it stands in an instant: what is read in a row was often written on
	// one day.
	day  ident.Day
	date []byte
}

// AppendFields appends the members of the JSON object of the visible fields,
// without braces, to dst: the type's own fields, the system's, updatedAt and
// (where a person wrote) updatedBy.
func (p *Projector) AppendFields(dst, raw []byte, mask entity.Mask) ([]byte, Rev, error) {
	if err := p.rd.Read(raw, false); err != nil {
		return dst, 0, err
	}
	return p.appendFields(dst, mask)
}

// appendFields is AppendFields of the record that was begun to be read.
func (p *Projector) appendFields(dst []byte, mask entity.Mask) ([]byte, Rev, error) {
	h := newRev(p.rd.ID)
	if mutant.On(mutant.RevTellsHidden) {
		h = h.cell(0, uint32(p.rd.Len()), 0)
	}
	start := len(dst)
	var last latest
	for {
		c, ok, err := p.rd.Next()
		if err != nil {
			return dst, 0, err
		}
		if !ok {
			break
		}
		if !mask.Has(c.No) && !mutant.On(mutant.MaskedEncoded) {
			continue
		}
		s := &p.rd.Stamps[c.Stamp]
		h = h.cell(c.No, c.Count, s.At)
		last.note(s.Pos, c.Stamp)
		if len(c.Segment) == 0 {
			continue
		}
		if len(dst) > start {
			dst = append(dst, ',')
		}
		dst = append(dst, c.Segment...)
	}
	if last.pos > 0 {
		if len(dst) > start {
			dst = append(dst, ',')
		}
		dst = p.appendUpdatedAt(dst, last.stamp)
		if by := p.rd.Writer(last.stamp); len(by) > 0 {
			dst = appendUpdatedBy(append(dst, ','), by)
		}
	}
	return dst, h.finish(), nil
}

// latest is the newest of the stamps that were noted.
type latest struct {
	pos   ident.Position
	stamp uint8
}

func (l *latest) note(pos ident.Position, stamp uint8) {
	if pos >= l.pos {
		l.pos, l.stamp = pos, stamp
	}
}

func (p *Projector) appendUpdatedAt(dst []byte, stamp uint8) []byte {
	dst = append(dst, `"updatedAt":"`...)
	dst = p.appendInstant(dst, p.rd.Stamps[stamp].At)
	return append(dst, '"')
}

func appendUpdatedBy(dst, by []byte) []byte {
	dst = append(dst, `"updatedBy":"`...)
	dst = append(dst, by...)
	return append(dst, '"')
}

// appendInstant appends what [ident.Millis.RFC3339] returns.
func (p *Projector) appendInstant(dst []byte, at ident.Millis) []byte {
	day := at.Day()
	ms := int(at - day.Start())
	if ms < 0 || ms >= 24*60*60*1000 { // of a day that can't be counted
		return append(dst, at.RFC3339()...)
	}
	if p.date == nil || p.day != day {
		p.day, p.date = day, day.Start().Time().AppendFormat(p.date[:0], "2006-01-02T")
	}
	dst = append(dst, p.date...)
	s := ms / 1000
	return append(dst,
		digit(s/36000), digit(s/3600), ':', digit(s/600%6), digit(s/60), ':', digit(s/10%6), digit(s),
		'.', digit(ms/100), digit(ms/10), digit(ms), 'Z')
}

// digit returns the last decimal digit of n.
func digit(n int) byte { return '0' + byte(n%10) }

// ID returns the id of the record read last, until the next is read.
func (p *Projector) ID() []byte { return p.rd.ID }

// AppendStored appends the record as it stands in a page and returns its rev.
func (p *Projector) AppendStored(dst, raw []byte, t *entity.Type, mask entity.Mask, context bool) ([]byte, Rev, error) {
	if err := p.rd.Read(raw, false); err != nil {
		return dst, 0, err
	}
	dst, at := p.appendStart(dst, t, context)
	dst, rev, err := p.appendFields(dst, mask)
	if err != nil {
		return dst, 0, err
	}
	rev.Append(dst[at:at])
	return append(dst, '}', '}'), rev, nil
}

// appendStart appends what stands before the fields of a record in a page, with
// room for the rev at the place it returns.
func (p *Projector) appendStart(dst []byte, t *entity.Type, context bool) (out []byte, rev int) {
	dst = append(dst, `{"type":"`...)
	dst = append(dst, t.Name...)
	dst = append(dst, `","id":"`...)
	dst = append(dst, p.rd.ID...)
	dst = append(dst, `","rev":"`...)
	rev = len(dst)
	dst = append(dst, `0000000000000000"`...)
	if context {
		dst = append(dst, `,"context":true`...)
	}
	return append(dst, `,"fields":{`...), rev
}

// AppendChanged is AppendStored for a reader who has the record under this mask
// as it was at some position from since-1 on: it has only those fields that were
// written at since or later, null where they were cleared, and the checksum of
// the record that comes of laying them over what the reader has. Where that saves
// nothing it is AppendStored.
func (p *Projector) AppendChanged(dst, raw []byte, t *entity.Type, mask entity.Mask, context bool, since ident.Position) ([]byte, Rev, error) {
	if err := p.rd.Read(raw, false); err != nil {
		return dst, 0, err
	}
	start := len(dst)
	dst, at := p.appendStart(dst, t, context)
	var c changes
	dst, err := p.appendChanges(dst, t, mask, since, &c)
	if err != nil {
		return dst, 0, err
	}
	if c.saved <= len(`,"check":"00000000"`) {
		return p.AppendStored(dst[:start], raw, t, mask, context)
	}
	c.rev.Append(dst[at:at])
	dst = append(dst, `},"check":"`...)
	dst = c.check.Append(dst)
	return append(dst, '"', '}'), c.rev, nil
}

// changes is what appendChanges finds out about a record.
type changes struct {
	rev   Rev
	check Check
	saved int // bytes of fields that were left out
}

func (p *Projector) appendChanges(dst []byte, t *entity.Type, mask entity.Mask, since ident.Position, out *changes) ([]byte, error) {
	h := newRev(p.rd.ID)
	start := len(dst)
	var last latest
	comma := func() {
		if len(dst) > start {
			dst = append(dst, ',')
		}
	}
	for {
		c, ok, err := p.rd.Next()
		if err != nil {
			return dst, err
		}
		if !ok {
			break
		}
		if !mask.Has(c.No) {
			continue
		}
		s := &p.rd.Stamps[c.Stamp]
		h = h.cell(c.No, c.Count, s.At)
		last.note(s.Pos, c.Stamp)
		out.check.Add(c.Segment)
		switch {
		case s.Pos < since:
			out.saved += len(c.Segment)
		case len(c.Segment) > 0:
			comma()
			dst = append(dst, c.Segment...)
		case t.FieldNo(c.No) != nil && !mutant.On(mutant.ClearedNotSaid):
			comma()
			dst = append(append(append(dst, '"'), t.FieldNo(c.No).Name...), `":null`...)
		}
	}
	if last.pos > 0 {
		comma()
		from := len(dst)
		dst = p.appendUpdatedAt(dst, last.stamp)
		out.check.Add(dst[from:])
		dst = append(dst, ',')
		from = len(dst)
		if by := p.rd.Writer(last.stamp); len(by) > 0 {
			dst = appendUpdatedBy(dst, by)
			out.check.Add(dst[from:])
		} else {
			dst = append(dst, `"updatedBy":null`...)
		}
	}
	out.rev = h.finish()
	return dst, nil
}

// Check is a checksum of a record's fields: the sum, modulo 2^32, of the first
// four bytes, the highest first, of the SHA-256 of each of its members as it
// stands in JSON, name and value. It does not depend on their order. The zero
// value is of no fields.
type Check uint32

// Add adds a member, `"name":value`; one that is empty does not count.
func (c *Check) Add(member []byte) {
	if len(member) > 0 {
		sum := sha256.Sum256(member)
		*c += Check(binary.BigEndian.Uint32(sum[:]))
	}
}

// Append appends the checksum's 8 hex digits to dst.
func (c Check) Append(dst []byte) []byte {
	var b [16]byte
	return append(dst, Rev(c).Append(b[:0])[8:]...)
}

// AppendREST appends the record as the module API answers it: id and rev
// beside the fields.
func (p *Projector) AppendREST(dst, raw []byte, id ident.RecordID, mask entity.Mask, context bool) ([]byte, Rev, error) {
	dst = append(dst, `{"id":"`...)
	dst = append(dst, id...)
	dst = append(dst, `","rev":"`...)
	at := len(dst)
	dst = append(dst, `0000000000000000"`...)
	if context {
		dst = append(dst, `,"context":true`...)
	}
	n := len(dst)
	dst = append(dst, ',')
	dst, rev, err := p.AppendFields(dst, raw, mask)
	if err != nil {
		return dst, 0, err
	}
	if len(dst) == n+1 {
		dst = dst[:n]
	}
	rev.Append(dst[at:at])
	return append(dst, '}'), rev, nil
}

// RevOf returns the record's rev under a mask.
func (p *Projector) RevOf(raw []byte, mask entity.Mask) (Rev, error) {
	if err := p.rd.Read(raw, false); err != nil {
		return 0, err
	}
	h := newRev(p.rd.ID)
	for {
		c, ok, err := p.rd.Next()
		if err != nil || !ok {
			return h.finish(), err
		}
		if mask.Has(c.No) {
			h = h.cell(c.No, c.Count, p.rd.Stamps[c.Stamp].At)
		}
	}
}

// Glance returns the bytes of the record's visible segments, by which pages
// are cut, and the position of the last visible change.
func (p *Projector) Glance(raw []byte, mask entity.Mask) (size int, changed ident.Position, err error) {
	if err := p.rd.Read(raw, false); err != nil {
		return 0, 0, err
	}
	for {
		c, ok, err := p.rd.Next()
		if err != nil || !ok {
			return size, changed, err
		}
		if mask.Has(c.No) {
			size += len(c.Segment)
			changed = max(changed, p.rd.Stamps[c.Stamp].Pos)
		} else if mutant.On(mutant.HiddenWriteSent) {
			changed = max(changed, p.rd.Stamps[c.Stamp].Pos)
		}
	}
}

// RevOfRecord is RevOf for a record in memory, which must be sealed.
func RevOfRecord(r *entity.Record, mask entity.Mask) Rev {
	h := newRev([]byte(r.ID))
	for _, c := range r.Cells {
		if mask.Has(c.No) {
			h = h.cell(c.No, c.Count, r.Stamps[c.Stamp].At)
		}
	}
	return h.finish()
}
