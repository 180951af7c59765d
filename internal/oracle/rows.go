// Package oracle is an independent judge of what devices hold: it reads a
// tenant's raw rows and works out, record by record, what each person sees
// and each device carries. It shares no code with the policy, the sync sets
// or the pages that it judges, and knows the manual's roles as plain Go of
// its own, so that a mistake would have to be made twice. Only simulations
// and tests import it.
package oracle

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sort"
	"time"

	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/sync/store"
)

// ErrRow is within every error about a row that is not as documented.
var ErrRow = errors.New("oracle: a stored row is not as documented")

// stamp is when and by whom a field was last written.
type stamp struct {
	pos uint64
	at  int64 // milliseconds
	by  string
}

// cell is one field of a record.
type cell struct {
	no    uint8
	count uint64
	at    stamp
	value []byte // JSON; nil where cleared
}

// Record is one live record.
type Record struct {
	Ord   uint32
	Type  *entity.Type
	ID    ident.RecordID
	cells []cell
	// What rules read, by field: of those that hold one text, the text, and of
	// those that hold a set, its members.
	texts map[string]string
	lists map[string][]string
	// shown are the renderings that were asked for.
	shown map[rendering]Shown
}

// rendering says what of a record is shown.
type rendering struct {
	fields  fields
	context bool
}

// World is one state of a tenant, as of one commit.
type World struct {
	// Now is tenant time.
	Now ident.Millis

	cat     *entity.Catalogue
	devices map[ident.DeviceID]deviceRow // of the judge
	kv      store.Reader
	records []*Record // by ordinal
	byID    map[ident.RecordID]*Record
	byType  map[string][]*Record
	people  map[ident.RecordID]*person
	naming  map[reference]map[string][]*Record
	facets  map[*entity.Type]map[entity.Facet]fields
}

// reference is a field that refers to other records.
type reference struct{ typ, field string }

// Judge reads worlds. It remembers decoded records by their bytes, so that
// looking at one world after another stays cheap; nothing else is carried
// over. It is for one goroutine.
type Judge struct {
	cat     *entity.Catalogue
	seen    map[uint32]decoded
	facets  map[*entity.Type]map[entity.Facet]fields
	devices map[ident.DeviceID]deviceRow
	looks   int
	records int // of the latest world
}

// namesEvery is how often the names of all ordinals are looked at, and not of
// those alone whose records have changed.
const namesEvery = 32

type decoded struct {
	raw []byte
	rec *Record
}

// deviceRow is a device's row and what it says.
type deviceRow struct {
	raw []byte
	dev *Device
}

// New makes a judge. The catalogue is used for the declarations of types and
// fields alone.
func New(cat *entity.Catalogue) *Judge {
	j := &Judge{
		cat: cat, seen: map[uint32]decoded{}, facets: map[*entity.Type]map[entity.Facet]fields{}, devices: map[ident.DeviceID]deviceRow{},
	}
	for _, t := range cat.Types {
		j.facets[t] = facets(t)
	}
	return j
}

// Look reads the world that kv holds; kv must stay readable for as long as
// the world is used.
func (j *Judge) Look(kv store.Reader) (*World, error) {
	w := &World{
		cat: j.cat, kv: kv, devices: j.devices,
		records: make([]*Record, 0, j.records+8), byID: make(map[ident.RecordID]*Record, j.records+8), byType: make(map[string][]*Record, len(j.cat.Types)),
		people: map[ident.RecordID]*person{}, naming: map[reference]map[string][]*Record{}, facets: j.facets,
	}
	if v := kv.Get(store.Meta, []byte("time")); len(v) == 8 {
		w.Now = ident.Millis(binary.BigEndian.Uint64(v))
	}
	j.looks++
	var err error
	kv.Scan(store.Records, nil, func(k, v []byte) bool {
		if len(k) != 4 {
			err = fmt.Errorf("%w: record key of %d bytes", ErrRow, len(k))
			return false
		}
		ord := binary.BigEndian.Uint32(k)
		d, ok := j.seen[ord]
		changed := !ok || !bytes.Equal(d.raw, v)
		if changed {
			var rec *Record
			if rec, err = decode(j.cat, ord, v); err != nil {
				err = fmt.Errorf("record %d: %w", ord, err)
				return false
			}
			d = decoded{bytes.Clone(v), rec}
			j.seen[ord] = d
		}
		if changed || j.looks%namesEvery == 0 {
			if err = named(kv, d.rec); err != nil {
				return false
			}
		}
		w.records = append(w.records, d.rec)
		w.byID[d.rec.ID] = d.rec
		w.byType[d.rec.Type.Name] = append(w.byType[d.rec.Type.Name], d.rec)
		return true
	})
	if err != nil {
		return nil, err
	}
	j.records = len(w.records)
	return w, nil
}

// named checks what an ordinal is said to stand for.
func named(kv store.Reader, r *Record) error {
	v := kv.Get(store.Ordinals, binary.BigEndian.AppendUint32(nil, r.Ord))
	if len(v) < 2 || binary.BigEndian.Uint16(v) != r.Type.No || ident.RecordID(v[2:]) != r.ID {
		return fmt.Errorf("%w: ordinal %d is not named as record %s", ErrRow, r.Ord, r.ID)
	}
	return nil
}

// cursor reads the documented record format.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) number() uint64 {
	v, n := binary.Uvarint(c.b)
	if n <= 0 {
		c.bad, c.b = true, nil
		return 0
	}
	c.b = c.b[n:]
	return v
}

func (c *cursor) octet() byte {
	if len(c.b) == 0 {
		c.bad = true
		return 0
	}
	x := c.b[0]
	c.b = c.b[1:]
	return x
}

func (c *cursor) bytes() []byte {
	n := c.number()
	if n > uint64(len(c.b)) {
		c.bad, c.b = true, nil
		return nil
	}
	x := c.b[:n]
	c.b = c.b[n:]
	return x
}

func decode(cat *entity.Catalogue, ord uint32, raw []byte) (*Record, error) {
	c := &cursor{b: bytes.Clone(raw)}
	if c.octet() != 1 {
		return nil, fmt.Errorf("%w: version", ErrRow)
	}
	no := c.number()
	r := &Record{Ord: ord, ID: ident.RecordID(c.bytes()), texts: map[string]string{}, lists: map[string][]string{}}
	for _, t := range cat.Types {
		if uint64(t.No) == no {
			r.Type = t
		}
	}
	if r.Type == nil {
		return nil, fmt.Errorf("%w: unknown type %d", ErrRow, no)
	}
	var stamps []stamp
	for n := c.number(); n > 0 && !c.bad; n-- {
		stamps = append(stamps, stamp{c.number(), int64(c.number()), string(c.bytes())})
	}
	borne := map[byte]bool{}
	last := -1
	for n := c.number(); n > 0 && !c.bad; n-- {
		f, s := c.octet(), c.octet()
		x := cell{no: f, count: c.number()}
		seg := c.bytes()
		if c.bad || int(s) >= len(stamps) || int(f) <= last || r.Type.FieldNo(f) == nil || x.count == 0 {
			return nil, fmt.Errorf("%w: cell %d of %s", ErrRow, f, r.ID)
		}
		last, borne[s] = int(f), true
		x.at = stamps[s]
		if len(seg) > 0 {
			head := `"` + r.Type.FieldNo(f).Name + `":`
			if !bytes.HasPrefix(seg, []byte(head)) || !json.Valid(seg[len(head):]) {
				return nil, fmt.Errorf("%w: segment %q of %s", ErrRow, seg, r.ID)
			}
			x.value = seg[len(head):]
		}
		r.cells = append(r.cells, x)
		r.remember(x)
	}
	if c.bad || len(c.b) > 0 || len(borne) != len(stamps) {
		return nil, fmt.Errorf("%w: %d bytes left over in %s, %d of %d stamps borne", ErrRow, len(c.b), r.ID, len(borne), len(stamps))
	}
	return r, nil
}

// remember decodes a cell that holds a text or a set of texts.
func (r *Record) remember(c cell) {
	if len(c.value) == 0 {
		return
	}
	name := r.Type.FieldNo(c.no).Name
	switch c.value[0] {
	case '"':
		var s string
		if json.Unmarshal(c.value, &s) == nil {
			r.texts[name] = s
		}
	case '[':
		var ss []string
		if json.Unmarshal(c.value, &ss) == nil {
			r.lists[name] = ss
		}
	}
}

// Text returns a field that holds one text, "" for none.
func (r *Record) Text(field string) string { return r.texts[field] }

// List returns a field that holds a set of texts.
func (r *Record) List(field string) []string { return r.lists[field] }

// flag returns a field that holds a yes or no.
func (r *Record) flag(field string) bool {
	f := r.Type.Field(field)
	for _, c := range r.cells {
		if f != nil && c.no == f.No {
			return string(c.value) == "true"
		}
	}
	return false
}

// instant returns a field that holds a time.
func (r *Record) instant(field string) (ident.Millis, bool) {
	s := r.Text(field)
	if s == "" {
		return 0, false
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return 0, false
	}
	return ident.Millis(t.UnixMilli()), true
}

// client is the client a record belongs to, "" for none.
func (r *Record) client() string { return r.Text("clientId") }

// fields is a set of field numbers of one type.
type fields uint64

func (f fields) has(no uint8) bool { return f>>no&1 == 1 }

// Shown is a record as one reader is to see it.
type Shown struct {
	Type    string
	ID      ident.RecordID
	Rev     string
	Context bool
	// Fields are the visible ones that have a value, by name, as JSON;
	// updatedAt and updatedBy among them. They are shared and not to be changed.
	Fields map[string]string
}

// show renders what the fields leave of a record. The rev is the documented
// hash: FNV-1a of 64 bits over the id and, for each visible field ever
// written, its number, its count of writes (4 bytes) and the instant of the
// last one (8 bytes), little-endian, its bits then mixed.
func (r *Record) show(f fields, context bool) Shown {
	k := rendering{f, context}
	if s, ok := r.shown[k]; ok {
		return s
	}
	if r.shown == nil {
		r.shown = map[rendering]Shown{}
	}
	s := r.render(f, context)
	r.shown[k] = s
	return s
}

func (r *Record) render(f fields, context bool) Shown {
	out := Shown{Type: r.Type.Name, ID: r.ID, Context: context, Fields: map[string]string{}}
	sum := []byte(r.ID)
	var last stamp
	for _, c := range r.cells {
		if !f.has(c.no) {
			continue
		}
		sum = append(sum, c.no)
		sum = binary.LittleEndian.AppendUint32(sum, uint32(c.count))
		sum = binary.LittleEndian.AppendUint64(sum, uint64(c.at.at))
		if c.at.pos >= last.pos { // of several writes of one entry, the highest field's
			last = c.at
		}
		if c.value != nil {
			out.Fields[r.Type.FieldNo(c.no).Name] = string(c.value)
		}
	}
	if last.pos > 0 {
		out.Fields["updatedAt"] = `"` + time.UnixMilli(last.at).UTC().Format("2006-01-02T15:04:05.000Z") + `"`
		if last.by != "" {
			out.Fields["updatedBy"] = `"` + last.by + `"`
		}
	}
	out.Rev = hash(sum)
	return out
}

func hash(b []byte) string {
	h := uint64(0xcbf29ce484222325)
	for _, x := range b {
		h ^= uint64(x)
		h *= 0x100000001b3
	}
	for _, m := range []uint64{0xff51afd7ed558ccd, 0xc4ceb9fe1a85ec53} {
		h = (h ^ h>>33) * m
	}
	return fmt.Sprintf("%016x", h^h>>33)
}

// Summary is the count and the digest of one type.
type Summary struct {
	Count  int
	Digest string
}

// Summarise counts records by type and digests them as devices do.
func Summarise(all map[ident.RecordID]Shown) map[string]Summary {
	lines := map[string][]string{}
	for id, s := range all {
		lines[s.Type] = append(lines[s.Type], string(id)+"\x00"+s.Rev+"\n")
	}
	out := map[string]Summary{}
	for t, ls := range lines {
		sort.Strings(ls)
		h := sha256.New()
		for _, l := range ls {
			h.Write([]byte(l))
		}
		out[t] = Summary{len(ls), hex.EncodeToString(h.Sum(nil))}
	}
	return out
}

// whose returns the records of a type whose field names an id.
func (w *World) whose(typ, field string, id ident.RecordID) []*Record {
	k := reference{typ, field}
	by := w.naming[k]
	if by == nil {
		by = map[string][]*Record{}
		for _, r := range w.byType[typ] {
			if s := r.Text(field); s != "" {
				by[s] = append(by[s], r)
			}
		}
		w.naming[k] = by
	}
	return by[string(id)]
}

// Record returns a live record.
func (w *World) Record(id ident.RecordID) (*Record, bool) {
	r, ok := w.byID[id]
	return r, ok
}

// Records returns the live records of a type, by ordinal.
func (w *World) Records(typ string) []*Record { return w.byType[typ] }
