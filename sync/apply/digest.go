package apply

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/sync/bits"
	"satchel/sync/project"
	"satchel/sync/pull"
	"satchel/sync/scope"
	"satchel/sync/state"
	"satchel/sync/wire"
)

var emptyDigest = hex.EncodeToString(sha256.New().Sum(nil))

// Digest summarises a sync set's records of a type: how many, and the hex
// SHA-256 over "id\0rev\n" of each, sorted by id.
func Digest(rd *state.Reader, sets scope.Sets, typ uint16) (int, string) {
	l := lists.Get().(*list)
	defer l.free()
	for _, p := range sets {
		if p.Type == typ {
			l.read(rd, p)
		}
	}
	return l.digest()
}

// Digests summarises all types that a sync set has records of.
func Digests(rd *state.Reader, sets scope.Sets) map[string]wire.Summary {
	s := newSummary(sets, TypesOf(sets), false)
	t := s.tally()
	t.read(rd)
	t.end()
	return s.digests(rd.Cat)
}

// TypesOf returns the types that a sync set has records of.
func TypesOf(sets scope.Sets) []uint16 {
	var out []uint16
	for _, p := range sets {
		if !slices.Contains(out, p.Type) {
			out = append(out, p.Type)
		}
	}
	return out
}

// summary is the making of the digests of some types. Several goroutines may read
// for it at once, each with a Reader and a tally of its own.
type summary struct {
	types []uint16
	parts []scope.Part // to be read
	next  atomic.Int64 // of parts

	mu    sync.Mutex
	lists map[uint16]*list
}

// pieceSize is how many ordinals are read in one go where several read: few
// enough that all of them are done at about the same time.
const pieceSize = 4 << 10

// newSummary begins the digests of the types. shared says that more than one
// goroutine will read.
func newSummary(sets scope.Sets, types []uint16, shared bool) *summary {
	s := &summary{types: types, lists: map[uint16]*list{}}
	for _, p := range sets {
		switch {
		case !slices.Contains(types, p.Type):
		case !shared || p.Set.Len() <= pieceSize:
			s.parts = append(s.parts, p)
		default:
			s.cut(p)
		}
	}
	return s
}

// cut adds a part in pieces.
func (s *summary) cut(p scope.Part) {
	first, _ := p.Set.Min()
	last, _ := p.Set.Max()
	for from := uint64(first); from <= uint64(last); from += pieceSize {
		to := min(from+pieceSize, uint64(last)+1, math.MaxUint32)
		if piece := bits.And(p.Set, bits.Range(uint32(from), uint32(to))); !piece.IsEmpty() {
			s.parts = append(s.parts, scope.Part{Class: p.Class, Set: piece})
		}
	}
}

// tally is what one goroutine reads for a summary, which has it when it is ended.
type tally struct {
	s     *summary
	lists map[uint16]*list
	typ   uint16 // of last
	last  *list
}

func (s *summary) tally() *tally { return &tally{s: s, lists: map[uint16]*list{}} }

func (t *tally) list(typ uint16) *list {
	if t.last == nil || t.typ != typ {
		if t.lists[typ] == nil {
			t.lists[typ] = lists.Get().(*list)
		}
		t.typ, t.last = typ, t.lists[typ]
	}
	return t.last
}

// read reads parts until there are none left.
func (t *tally) read(rd *state.Reader) {
	s := t.s
	for i := s.next.Add(1); i <= int64(len(s.parts)); i = s.next.Add(1) {
		p := s.parts[i-1]
		t.list(p.Type).read(rd, p)
	}
}

// end adds what was read to the summary.
func (t *tally) end() {
	s := t.s
	s.mu.Lock()
	defer s.mu.Unlock()
	for typ, l := range t.lists {
		if other := s.lists[typ]; other != nil {
			l.join(other)
			other.free()
		}
		s.lists[typ] = l
	}
}

// manyShown is how many records a page shows for it to be worth while not to read
// them again for the digests.
const manyShown = 32

// without returns the sets without what a page shows of them, which is noted as
// it is encoded.
func without(sets scope.Sets, items []pull.Item) scope.Sets {
	by := map[scope.Class]*bits.Builder{}
	var b *bits.Builder
	for i, it := range items {
		if i == 0 || it.Class != items[i-1].Class {
			if b = by[it.Class]; b == nil {
				b = &bits.Builder{}
				by[it.Class] = b
			}
		}
		b.Add(it.Ord)
	}
	out := make(scope.Sets, 0, len(sets))
	for _, p := range sets {
		if b := by[p.Class]; b != nil {
			p.Set = bits.AndNot(p.Set, b.Set())
		}
		if !p.Set.IsEmpty() {
			out = append(out, p)
		}
	}
	return out
}

// digests ends the summary, by type.
func (s *summary) digests(cat *entity.Catalogue) map[string]wire.Summary {
	out := map[string]wire.Summary{}
	for _, typ := range s.types {
		l := s.lists[typ]
		if l == nil {
			out[cat.TypeNo(typ).Name] = wire.Summary{Digest: emptyDigest}
			continue
		}
		n, d := l.digest()
		out[cat.TypeNo(typ).Name] = wire.Summary{Count: n, Digest: d}
		l.free()
	}
	return out
}

// list is what is hashed of one type: a line for each record. All lines stand
// one behind the other as they were read; only where they begin is sorted.
type list struct {
	pr     project.Projector
	text   []byte
	lines  []line
	spare  []line
	common []byte // what all ids begin with
	out    []byte
}

// line is one line: where in the text it stands, as offset<<16 and length, and the
// eight bytes after what all of them begin with, which mostly decide the order.
type line struct {
	key   uint64
	place uint64
}

func lineAt(at, n int) line { return line{place: uint64(at)<<16 | uint64(n)} }

func (i line) at() int { return int(i.place >> 16) }

// lists are kept between digests: those of a large type take megabytes.
var lists = sync.Pool{New: func() any { return &list{} }}

func (l *list) free() {
	l.pr, l.text, l.lines, l.common = project.Projector{}, l.text[:0], l.lines[:0], l.common[:0]
	lists.Put(l)
}

// The length of what follows the id on a line: 0, the rev, a line feed.
const afterID = 1 + 16 + 1

// read adds the records of a part.
func (l *list) read(rd *state.Reader, p scope.Part) {
	n := p.Set.Len()
	l.lines = slices.Grow(l.lines, n)
	l.text = slices.Grow(l.text, n*(len(ident.NewRecordID([15]byte{}))+afterID))
	rd.Each(p.Set, func(o ident.Ordinal, raw []byte) bool {
		rev, err := l.pr.RevOf(raw, p.Mask)
		if err != nil {
			panic(fmt.Errorf("%w: record %d: %w", state.ErrDamaged, o, err))
		}
		l.add(l.pr.ID(), rev)
		return true
	})
}

func (l *list) add(id []byte, rev project.Rev) {
	l.begins(id)
	l.lines = append(l.lines, lineAt(len(l.text), len(id)+afterID))
	l.text = append(append(l.text, id...), 0)
	l.text = append(rev.Append(l.text), '\n')
}

// begins notes what the id of a line to come, or of several, begins with.
func (l *list) begins(id []byte) {
	if len(l.lines) == 0 {
		l.common = append(l.common[:0], id...)
	} else if !bytes.HasPrefix(id, l.common) {
		n := 0
		for n < len(id) && id[n] == l.common[n] {
			n++
		}
		l.common = l.common[:n]
	}
}

// join adds another's lines.
func (l *list) join(other *list) {
	if len(other.lines) == 0 {
		return
	}
	l.begins(other.common)
	at := len(l.text)
	l.text = append(l.text, other.text...)
	for _, x := range other.lines {
		l.lines = append(l.lines, line{place: x.place + uint64(at)<<16})
	}
}

// digest sorts and hashes the lines.
func (l *list) digest() (int, string) {
	l.sort()
	h := sha256.New()
	l.hash(h)
	return len(l.lines), hex.EncodeToString(h.Sum(nil))
}

func (l *list) bytes(i line) []byte {
	at := i.at()
	return l.text[at : at+int(uint16(i.place))]
}

// hash gives the lines to h in larger pieces.
func (l *list) hash(h hash.Hash) {
	const piece = 32 << 10
	l.out = slices.Grow(l.out[:0], piece)
	for _, i := range l.lines {
		b := l.bytes(i)
		if len(l.out)+len(b) > piece {
			h.Write(l.out)
			l.out = l.out[:0]
		}
		l.out = append(l.out, b...)
	}
	h.Write(l.out)
}

// sort puts the lines in ascending order of bytes: by their keys, and where keys
// are the same by all of the line.
func (l *list) sort() {
	for i := range l.lines {
		// A line is longer than its id by more than a key.
		l.lines[i].key = binary.BigEndian.Uint64(l.text[l.lines[i].at()+len(l.common):])
	}
	l.radix()
	for from := 0; from < len(l.lines); {
		to := from + 1
		for to < len(l.lines) && l.lines[to].key == l.lines[from].key {
			to++
		}
		if to > from+1 {
			slices.SortFunc(l.lines[from:to], func(a, b line) int { return bytes.Compare(l.bytes(a), l.bytes(b)) })
		}
		from = to
	}
}

// radix sorts the lines by their keys, a byte in each pass, the lowest first.
// Bytes that are the same in all keys take no pass.
func (l *list) radix() {
	byKey := func(a, b line) int { return cmp.Compare(a.key, b.key) }
	const few = 256
	if len(l.lines) < few || slices.IsSortedFunc(l.lines, byKey) {
		slices.SortFunc(l.lines, byKey)
		return
	}
	var counts [8][256]int
	for _, x := range l.lines {
		for i := range counts {
			counts[i][byte(x.key>>(8*i))]++
		}
	}
	l.spare = slices.Grow(l.spare[:0], len(l.lines))[:len(l.lines)]
	for i := range counts {
		at := &counts[i]
		if at[byte(l.lines[0].key>>(8*i))] == len(l.lines) {
			continue
		}
		sum := 0
		for b, n := range at {
			at[b] = sum
			sum += n
		}
		for _, x := range l.lines {
			b := byte(x.key >> (8 * i))
			l.spare[at[b]] = x
			at[b]++
		}
		l.lines, l.spare = l.spare, l.lines
	}
}
