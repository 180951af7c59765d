// Package project turns stored records into what a reader sees of them: the
// fields of a mask, spliced from stored segments without parsing JSON, and a
// rev, writer and time that depend on those fields alone. Pull and the module
// API both speak through it.
package project

import (
	"encoding/hex"

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
	var raw [8]byte
	for i := range raw {
		raw[i] = byte(r >> (56 - 8*i))
	}
	return hex.AppendEncode(dst, raw[:])
}

const (
	fnvOffset = 14695981039346656037
	fnvPrime  = 1099511628211
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

func (h revState) cell(no uint8, count uint32, at ident.Millis) revState {
	h = (h ^ revState(no)) * fnvPrime
	for i := 0; i < 32; i += 8 {
		h = (h ^ revState(byte(count>>i))) * fnvPrime
	}
	for i := 0; i < 64; i += 8 {
		h = (h ^ revState(byte(at>>i))) * fnvPrime
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
type Projector struct{ rd entity.Reader }

// AppendFields appends the members of the JSON object of the visible fields,
// without braces, to dst: the type's own fields, the system's, updatedAt and
// (where a person wrote) updatedBy.
func (p *Projector) AppendFields(dst, raw []byte, mask entity.Mask) ([]byte, Rev, error) {
	if err := p.rd.Read(raw, true); err != nil {
		return dst, 0, err
	}
	h := newRev(p.rd.ID)
	if mutant.On(mutant.RevTellsHidden) {
		h = h.cell(0, uint32(len(raw)), 0)
	}
	start := len(dst)
	last := entity.Stamp{}
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
		s := p.rd.Stamps[c.Stamp]
		h = h.cell(c.No, c.Count, s.At)
		if s.Pos >= last.Pos {
			last = s
		}
		if len(c.Segment) == 0 {
			continue
		}
		if len(dst) > start {
			dst = append(dst, ',')
		}
		dst = append(dst, c.Segment...)
	}
	if last.Pos > 0 {
		if len(dst) > start {
			dst = append(dst, ',')
		}
		dst = append(dst, `"updatedAt":"`...)
		dst = last.At.Time().AppendFormat(dst, "2006-01-02T15:04:05.000Z")
		dst = append(dst, '"')
		if last.By != "" {
			dst = append(dst, `,"updatedBy":"`...)
			dst = append(dst, last.By...)
			dst = append(dst, '"')
		}
	}
	return dst, h.finish(), nil
}

// ID returns the id of the record read last, until the next is read.
func (p *Projector) ID() []byte { return p.rd.ID }

// AppendStored appends the record as it stands in a page.
func (p *Projector) AppendStored(dst, raw []byte, t *entity.Type, mask entity.Mask, context bool) ([]byte, error) {
	if err := p.rd.Read(raw, false); err != nil {
		return dst, err
	}
	dst = append(dst, `{"type":"`...)
	dst = append(dst, t.Name...)
	dst = append(dst, `","id":"`...)
	dst = append(dst, p.rd.ID...)
	dst = append(dst, `","rev":"`...)
	at := len(dst)
	dst = append(dst, `0000000000000000"`...)
	if context {
		dst = append(dst, `,"context":true`...)
	}
	dst = append(dst, `,"fields":{`...)
	dst, rev, err := p.AppendFields(dst, raw, mask)
	if err != nil {
		return dst, err
	}
	rev.Append(dst[at:at])
	return append(dst, '}', '}'), nil
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
