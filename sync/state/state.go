// Package state is the typed view of a tenant's buckets: records by id and
// ordinal, and the indexes that scopes are made of. A Reader serves one
// snapshot; a Writer stages the changes of one batch of commands, each of
// which can be rolled back alone. Apply, pull and the edges' read paths stand
// on it; it decides nothing.
package state

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"sync"

	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/sync/bits"
	"satchel/sync/store"
)

// Key names a scope index. Its bytes lead the rows of the Index bucket,
// followed by the chunk number; keys of one kind have one length or carry it,
// so that none begins another.
//
//	'T' type u16                         live records of the type
//	'N'                                  live records without a client
//	'C' client u32                       the client and all that belongs to it
//	'A' area u32                         all whose client lies in the sales area
//	'R' type u16, field u8, target u32   records whose field refers to the target
//	'E' type u16, field u8, n u8, n bytes  records whose field has the value
//	'D' type u16, field u8, day i32+2^31   records whose time falls on the UTC day
//	'X'                                  archived records
//	'L' n u8                             records longer than Lengths[n]
type Key string

// TypeKey is the index of a type.
func TypeKey(no uint16) Key { return Key([]byte{'T', byte(no >> 8), byte(no)}) }

// NoClientKey is the index of records without a client.
const NoClientKey = Key("N")

// ArchivedKey is the index of archived records.
const ArchivedKey = Key("X")

// Lengths are the bytes, of a record as stored, by which long ones are told apart. So
// that pages can be cut without reading the records they bring: as many as a page
// may have (10,000, and 2,000 unless a device asks for another limit) fit into 4 MiB
// if none is longer than the first (the second). Another length asks for a migration.
var Lengths = [...]int{419, 2097}

// LongKey is the index of records longer than Lengths[n].
func LongKey(n int) Key { return longKeys[n] }

var longKeys = [len(Lengths)]Key{"L\x00", "L\x01"}

// ClientKey is the index of a client and all that belongs to it.
func ClientKey(client ident.Ordinal) Key { return ordKey('C', client) }

// AreaKey is the index of a sales area.
func AreaKey(area ident.Ordinal) Key { return ordKey('A', area) }

func ordKey(kind byte, o ident.Ordinal) Key {
	return Key(binary.BigEndian.AppendUint32([]byte{kind}, o))
}

// RefKey is the index of records whose field refers to the target.
func RefKey(typ uint16, field uint8, target ident.Ordinal) Key {
	return Key(binary.BigEndian.AppendUint32([]byte{'R', byte(typ >> 8), byte(typ), field}, target))
}

// target is the record that a RefKey's records refer to.
func (k Key) target() ident.Ordinal { return binary.BigEndian.Uint32([]byte(k[4:])) }

// ValueKey is the index of records whose field has the value.
func ValueKey(typ uint16, field uint8, value string) Key {
	return Key(append([]byte{'E', byte(typ >> 8), byte(typ), field, byte(len(value))}, value...))
}

// DayKey is the index of records whose time falls on the day.
func DayKey(typ uint16, field uint8, d ident.Day) Key {
	return Key(binary.BigEndian.AppendUint32([]byte{'D', byte(typ >> 8), byte(typ), field}, uint32(d)^1<<31))
}

// ErrDamaged is what reading panics with where stored rows can't be what this
// program wrote: the tenant must stop rather than serve on.
var ErrDamaged = errors.New("state: the store is damaged")

// Names of rows in the Meta bucket.
const (
	metaOrdinal = "ordinal" // u32, the last ordinal given out
	metaTime    = "time"    // i64, tenant time
	metaPolicy  = "policy"  // u64, counts changes of anybody's rights
	metaPos     = "applied" // u64, position of the last entry applied
	metaEpoch   = "epoch"   // u64, of the last entry applied
	metaForce   = "force"   // u64, what the last entry was applied by; none in states from before it was noted
)

// Reader reads one state.
type Reader struct {
	Cat   *entity.Catalogue
	kv    store.Reader
	index map[Key]bits.Set
	// same, where set, knows indexes that another reader has, see Writer.Like.
	same func(Key) (bits.Set, bool)
	// recent, where set, are the newest changes, in memory.
	recent *recent
}

// NewReader reads a snapshot. It remembers the indexes it has read; it is for
// one goroutine, like the snapshot.
func NewReader(cat *entity.Catalogue, kv store.Reader) *Reader {
	return &Reader{Cat: cat, kv: kv, index: map[Key]bits.Set{}}
}

// KV gives the rows beneath.
func (r *Reader) KV() store.Reader { return r.kv }

func u32(b []byte) uint32 {
	if len(b) < 4 {
		return 0
	}
	return binary.BigEndian.Uint32(b)
}

func u64(b []byte) uint64 {
	if len(b) < 8 {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}

// Now returns tenant time.
func (r *Reader) Now() ident.Millis { return ident.Millis(u64(r.kv.Get(store.Meta, []byte(metaTime)))) }

// Position returns the position of the last entry applied.
func (r *Reader) Position() ident.Position {
	return ident.Position(u64(r.kv.Get(store.Meta, []byte(metaPos))))
}

// InForce names what the last entry was applied by, 0 where that was not noted.
func (r *Reader) InForce() uint64 { return u64(r.kv.Get(store.Meta, []byte(metaForce))) }

// PolicyVersion counts the changes of anybody's rights.
func (r *Reader) PolicyVersion() uint64 { return u64(r.kv.Get(store.Meta, []byte(metaPolicy))) }

// LastOrdinal returns the highest ordinal given out.
func (r *Reader) LastOrdinal() ident.Ordinal { return u32(r.kv.Get(store.Meta, []byte(metaOrdinal))) }

// Index returns the set of an index.
func (r *Reader) Index(k Key) bits.Set {
	if s, ok := r.index[k]; ok {
		return s
	}
	if r.same != nil {
		if s, ok := r.same(k); ok {
			r.index[k] = s
			return s
		}
	}
	s, err := bits.Decode(r.chunks(k))
	if err != nil {
		// Rows are written by this program only; anything else is a damaged
		// file, which must not go on serving.
		panic(fmt.Errorf("%w: index %q: %w", ErrDamaged, string(k), err))
	}
	r.index[k] = s
	return s
}

func (r *Reader) chunks(k Key) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		store.ScanPrefix(r.kv, store.Index, []byte(k), func(key, v []byte) bool {
			if len(key) != len(k)+2 {
				return true
			}
			return yield(binary.BigEndian.Uint16(key[len(k):]), v)
		})
	}
}

// Identity is what an id stands for.
type Identity struct {
	Ord     ident.Ordinal
	TypeNo  uint16
	Deleted bool
}

// Identify looks an id up; ok is false where it was never used.
func (r *Reader) Identify(id ident.RecordID) (Identity, bool) {
	v := r.kv.Get(store.IDs, []byte(id))
	if len(v) != 7 {
		return Identity{}, false
	}
	return Identity{u32(v), binary.BigEndian.Uint16(v[4:]), v[6] == 1}, true
}

// Ordinal returns the ordinal of an id, 0 where it was never used.
func (r *Reader) Ordinal(id ident.RecordID) ident.Ordinal {
	if id == "" {
		return 0
	}
	i, _ := r.Identify(id)
	return i.Ord
}

// Name returns type and id of an ordinal, of a deleted record too.
func (r *Reader) Name(o ident.Ordinal) (*entity.Type, ident.RecordID) {
	v := r.kv.Get(store.Ordinals, binary.BigEndian.AppendUint32(nil, o))
	if len(v) < 2 {
		return nil, ""
	}
	return r.Cat.TypeNo(binary.BigEndian.Uint16(v)), ident.RecordID(v[2:])
}

// Names calls f with type and id of each ordinal of the set, in their order; those
// never given out are passed over.
func (r *Reader) Names(s bits.Set, f func(*entity.Type, []byte)) {
	r.rows(store.Ordinals, s, func(_ ident.Ordinal, v []byte) bool {
		if len(v) >= 2 {
			if t := r.Cat.TypeNo(binary.BigEndian.Uint16(v)); t != nil {
				f(t, v[2:])
			}
		}
		return true
	})
}

// Bytes returns a record as stored, nil for none.
func (r *Reader) Bytes(o ident.Ordinal) []byte {
	return r.kv.Get(store.Records, binary.BigEndian.AppendUint32(nil, o))
}

// Each calls f with the stored bytes of each live record of the set, in
// ordinal order, until f returns false. Dense sets are read in one sweep.
func (r *Reader) Each(s bits.Set, f func(ident.Ordinal, []byte) bool) { r.rows(store.Records, s, f) }

// rows is Each for the rows of any bucket that ordinals are the keys of.
func (r *Reader) rows(b store.Bucket, s bits.Set, f func(ident.Ordinal, []byte) bool) {
	n := s.Len()
	first, _ := s.Min()
	last, _ := s.Max()
	if dense(n, first, last) {
		r.kv.Scan(b, binary.BigEndian.AppendUint32(nil, first), func(k, v []byte) bool {
			o := binary.BigEndian.Uint32(k)
			if o > last {
				return false
			}
			return !s.Contains(o) || f(o, v)
		})
		return
	}
	l := newLookups()
	defer l.free()
	for o := range s.All() {
		l.keys = append(l.keys, o)
		if n--; len(l.keys) < batch && n > 0 {
			continue
		}
		for i, v := range l.of(r.kv, b) {
			if v != nil && !f(l.keys[i], v) {
				return
			}
		}
		l.keys = l.keys[:0]
	}
}

// EachOf is Each for a list that ascends by ordinal: f is given the items whose
// records live.
func EachOf[T any](r *Reader, list []T, ord func(*T) ident.Ordinal, f func(item *T, raw []byte) bool) {
	if len(list) == 0 {
		return
	}
	first, last := ord(&list[0]), ord(&list[len(list)-1])
	if !dense(len(list), first, last) {
		l := newLookups()
		defer l.free()
		for len(list) > 0 {
			some := list[:min(len(list), batch)]
			list = list[len(some):]
			l.keys = l.keys[:0]
			for i := range some {
				l.keys = append(l.keys, ord(&some[i]))
			}
			for i, raw := range l.of(r.kv, store.Records) {
				if raw != nil && !f(&some[i], raw) {
					return
				}
			}
		}
		return
	}
	r.kv.Scan(store.Records, binary.BigEndian.AppendUint32(nil, first), func(k, raw []byte) bool {
		o := binary.BigEndian.Uint32(k)
		for len(list) > 0 && ord(&list[0]) < o {
			list = list[1:]
		}
		if len(list) == 0 || ord(&list[0]) > o {
			return len(list) > 0
		}
		item := &list[0]
		list = list[1:]
		return f(item, raw) && len(list) > 0
	})
}

// batch is how many rows are looked up at once. Where somebody stops after the
// first, the others were looked up in vain.
const batch = 64

// lookups are rows that are looked up together.
type lookups struct {
	keys   []ident.Ordinal
	values [batch][]byte
}

var lookupsPool = sync.Pool{New: func() any { return &lookups{keys: make([]ident.Ordinal, 0, batch)} }}

func newLookups() *lookups { return lookupsPool.Get().(*lookups) }

func (l *lookups) free() {
	clear(l.values[:])
	l.keys = l.keys[:0]
	lookupsPool.Put(l)
}

// of returns the values of the keys, nil for those that have none.
func (l *lookups) of(kv store.Reader, b store.Bucket) [][]byte {
	store.GetAll(kv, b, l.keys, l.values[:])
	return l.values[:len(l.keys)]
}

// dense reports whether n records between two ordinals are read faster by
// passing over what lies between them than by looking each up.
func dense(n int, first, last ident.Ordinal) bool {
	return n >= 64 && uint64(last-first) <= 8*uint64(n)
}

// LoadOrd returns a live record by its ordinal.
func (r *Reader) LoadOrd(o ident.Ordinal) (*entity.Record, bool) {
	b := r.Bytes(o)
	if b == nil {
		return nil, false
	}
	rec, err := r.Cat.Decode(o, b)
	if err != nil {
		panic(fmt.Errorf("%w: record %d: %w", ErrDamaged, o, err))
	}
	return rec, true
}

// Load returns a live record by its id.
func (r *Reader) Load(id ident.RecordID) (*entity.Record, bool) {
	i, ok := r.Identify(id)
	if !ok || i.Deleted {
		return nil, false
	}
	return r.LoadOrd(i.Ord)
}

// Referring returns the set of records of the type whose field refers to id.
func (r *Reader) Referring(t *entity.Type, field uint8, id ident.RecordID) bits.Set {
	o := r.Ordinal(id)
	if o == 0 {
		return bits.Set{}
	}
	return r.Index(RefKey(t.No, field, o))
}

// AnyReferring implements policy.Lookup.
func (r *Reader) AnyReferring(typ, field string, id ident.RecordID, match func(*entity.Record) bool) bool {
	t := r.Cat.Type(typ)
	if t == nil || t.Field(field) == nil {
		return false
	}
	for o := range r.Referring(t, t.Field(field).No, id).All() {
		if rec, ok := r.LoadOrd(o); ok && match(rec) {
			return true
		}
	}
	return false
}

// Naming implements policy.Lookup.
func (r *Reader) Naming(id ident.RecordID, f func(*entity.Record, uint8) bool) {
	i, ok := r.Identify(id)
	if !ok {
		return
	}
	name := r.Cat.TypeNo(i.TypeNo).Name
	for _, t := range r.Cat.Types {
		for _, fd := range t.RefsTo(name) {
			for o := range r.Index(RefKey(t.No, fd.No, i.Ord)).All() {
				if rec, ok := r.LoadOrd(o); ok && !f(rec, fd.No) {
					return
				}
			}
		}
	}
}
