package audit

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"satchel/internal/entity"
	"satchel/internal/ident"
)

// Op is what was done. The numbers stand in files.
type Op uint8

// The operations.
const (
	Create       Op = 1
	Patch        Op = 2
	Delete       Op = 3
	Action       Op = 4 // Name is the action's; it may have made or removed the record
	Import       Op = 5 // a row of an import
	Rule         Op = 6 // followed from something else that was done
	SetUp        Op = 7 // the tenant's first administrator
	SignIn       Op = 8 // Name is "device" where the device is new
	SessionEnded Op = 9 // Session is the one that ended
	PasswordSet  Op = 10
	Refused      Op = 11 // what was tried would have left no administrator; Name is the code
	Replayed     Op = 12 // a bundle of refused offline work was done after all; Name says which
	Discarded    Op = 13 // a bundle of refused offline work was given up; Name says which and why
	Erasure      Op = 14 // a record that stood for a person, or one that went with it; of the whole, Name counts what went
	Operator     Op = 15 // something that an operator did on the command line; Name says what, and who by the machine's account
)

var opNames = [...]string{
	Create: "create", Patch: "patch", Delete: "delete", Action: "action", Import: "import", Rule: "rule", SetUp: "setUp",
	SignIn: "signIn", SessionEnded: "sessionEnded", PasswordSet: "passwordSet", Refused: "refused",
	Replayed: "replayed", Discarded: "discarded", Erasure: "erasure", Operator: "operator",
}

// String returns the operation's name.
func (o Op) String() string {
	if int(o) < len(opNames) && opNames[o] != "" {
		return opNames[o]
	}
	return fmt.Sprintf("op %d", uint8(o))
}

// OpNamed returns the operation with the name; ok is false where there is none.
func OpNamed(name string) (o Op, ok bool) {
	for i, n := range opNames {
		if n != "" && n == name {
			return Op(i), true
		}
	}
	return 0, false
}

// Ops returns the names of all operations in the order of their numbers.
func Ops() []string { return opNames[Create:] }

// State is what is left of a row's content.
type State uint8

// The states of content. Only a row without content has None.
const (
	None     State = 0
	Kept     State = 1
	HashOnly State = 2 // the salt and the hash are there, the values were never kept
	Erased   State = 3 // the values were there and were taken out
)

// Key is a row's place: the log position of its entry and its number within.
type Key struct {
	Pos ident.Position
	N   uint32
}

// String renders the place for operators, like 12.0.
func (k Key) String() string { return fmt.Sprintf("%d.%d", k.Pos, k.N) }

// Compare orders keys as the trail does.
func (k Key) Compare(o Key) int {
	switch {
	case k == o:
		return 0
	case k.Pos < o.Pos || (k.Pos == o.Pos && k.N < o.N):
		return -1
	}
	return 1
}

const (
	rowPrefix  = 'r'
	gonePrefix = 'd'
	keyLength  = 13
)

func (k Key) append(b []byte) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(append(b, rowPrefix), uint64(k.Pos)), k.N)
}

func parseKey(b []byte) (Key, bool) {
	if len(b) != keyLength || b[0] != rowPrefix {
		return Key{}, false
	}
	return Key{ident.Position(binary.BigEndian.Uint64(b[1:])), binary.BigEndian.Uint32(b[9:])}, true
}

// Hash is a SHA-256.
type Hash [sha256.Size]byte

// Salt keeps a hash of content from telling what the content was once that is
// erased: without it, a phone number could be found by trying all.
type Salt [12]byte

// Change is one changed field: its values before and after, nil for none.
type Change struct {
	No            uint8
	Before, After entity.Value
}

// Row is one step of the trail.
type Row struct {
	Key
	Hash Hash // of this row
	Op   Op
	Name string // see Op

	// At is tenant time, Done when it was done for the person: earlier where
	// it was done offline, by the phone's clock put right.
	At, Done ident.Millis
	Actor    ident.RecordID // "" for the system
	Session  ident.SessionID
	Device   ident.DeviceID
	For      ident.RecordID // whose right was used, where it was delegated; whose refused work it was

	// The record: of changes with its ordinal; what is no change of a record
	// names only the person it concerns.
	Type   uint16
	Ord    ident.Ordinal
	ID     ident.RecordID
	Client ident.RecordID // the record's at that time, "" for none
	// Link is the position of the record's change before this one: 0 for none,
	// Pos itself for an earlier row of the same entry.
	Link    ident.Position
	Removed bool
	Fields  entity.Mask // changed

	State   State
	content []byte
	salt    Salt
	flags   byte
	sum     Hash // of the content
}

const (
	version = 1

	flagRemoved = 1
	flagBefore  = 2
	flagAfter   = 4
	flagContent = 8
	flagUnkept  = 16
)

// Describe makes the row one of a change of a record: before is nil for a new
// record, after for one that is gone. fields are those that were written;
// keep says whether their values stay in the trail.
func (r *Row) Describe(before, after *entity.Record, fields entity.Mask, salt Salt, keep bool) {
	rec := after
	switch {
	case after == nil:
		rec, r.Removed, r.flags = before, true, flagRemoved|flagBefore|flagContent
	case before == nil || !keep:
		r.flags = flagAfter | flagContent
	default:
		r.flags = flagBefore | flagAfter | flagContent
	}
	if before != nil {
		r.Link = before.Last(^entity.Mask(0)).Pos
	}
	r.Type, r.Ord, r.ID, r.Client, r.Fields = rec.Type.No, rec.Ord, rec.ID, rec.Client(), fields
	r.content = content(r.flags, before, after, fields)
	r.salt, r.sum = salt, sumOf(salt, r.content)
	r.State = Kept
	if !keep {
		r.State, r.content, r.flags = HashOnly, nil, r.flags|flagUnkept
	}
}

// Forget takes the values out of a row that was described and not sealed yet,
// with the salt: the trail never has what went with a person who was erased.
func (r *Row) Forget() {
	if r.State != None {
		r.State, r.content, r.salt = Erased, nil, Salt{}
	}
}

func content(flags byte, before, after *entity.Record, fields entity.Mask) []byte {
	b := make([]byte, 0, 48*bits.OnesCount64(uint64(fields)))
	add := func(v entity.Value) {
		b = binary.AppendUvarint(b, uint64(len(v)))
		b = append(b, v...)
	}
	for m := uint64(fields); m != 0; m &= m - 1 {
		no := uint8(bits.TrailingZeros64(m))
		if flags&flagBefore != 0 {
			add(before.Value(no))
		}
		if flags&flagAfter != 0 {
			add(after.Value(no))
		}
	}
	return b
}

func sumOf(salt Salt, content []byte) Hash {
	var room [512]byte
	return sha256.Sum256(append(append(room[:0], salt[:]...), content...))
}

// Changes returns the changed fields with their values, ascending; without
// values where they are not kept. The values are the row's own.
func (r *Row) Changes() ([]Change, error) {
	out := make([]Change, 0, bits.OnesCount64(uint64(r.Fields)))
	rest, ok := r.content, true
	next := func() (v entity.Value) {
		var part []byte
		if part, rest, ok = take(rest); !ok || len(part) == 0 {
			return nil
		}
		return part
	}
	for m := uint64(r.Fields); m != 0; m &= m - 1 {
		c := Change{No: uint8(bits.TrailingZeros64(m))}
		if r.State == Kept {
			if ok && r.flags&flagBefore != 0 {
				c.Before = next()
			}
			if ok && r.flags&flagAfter != 0 {
				c.After = next()
			}
		}
		out = append(out, c)
	}
	if !ok || len(rest) > 0 {
		return nil, fmt.Errorf("%w: %s: its content can't be read", ErrCorrupt, r.Key)
	}
	return out, nil
}

// Agrees reports whether the values that the row left its record with are
// those of rec. It can't tell of a removal, nor once the values are erased.
func (r *Row) Agrees(rec *entity.Record) (yes, known bool) {
	if r.flags&flagAfter == 0 || r.State == Erased || r.State == None {
		return false, false
	}
	if r.State == HashOnly {
		return sumOf(r.salt, content(flagAfter, nil, rec, r.Fields)) == r.sum, true
	}
	cs, err := r.Changes()
	if err != nil {
		return false, true
	}
	for _, c := range cs {
		if string(c.After) != string(rec.Value(c.No)) {
			return false, true
		}
	}
	return true, true
}

// Was rebuilds the record as it stood before a row of its removal, without
// stamps; ok is false where the row is no such one or its values are gone.
func (r *Row) Was(cat *entity.Catalogue) (rec *entity.Record, ok bool) {
	t := cat.TypeNo(r.Type)
	if t == nil || !r.Removed || r.State != Kept {
		return nil, false
	}
	cs, err := r.Changes()
	if err != nil {
		return nil, false
	}
	rec = &entity.Record{Type: t, ID: r.ID, Ord: r.Ord}
	for _, c := range cs {
		if t.FieldNo(c.No) != nil {
			rec.Put(c.No, c.Before)
		}
	}
	return rec, true
}

// ErrCorrupt says that stored bytes are no row of a trail, or don't follow
// from the one before.
var ErrCorrupt = errors.New("audit: the trail is damaged")

func appendText[T ~string](b []byte, s T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// appendHead encodes what the row's hash covers beside its key.
func (r *Row) appendHead(b []byte) []byte {
	b = append(b, version, byte(r.Op), r.flags)
	b = binary.AppendUvarint(b, uint64(r.At))
	b = binary.AppendVarint(b, int64(r.Done-r.At))
	b = appendText(b, r.Actor)
	b = appendText(b, r.Session)
	b = appendText(b, r.Device)
	b = appendText(b, r.For)
	b = appendText(b, r.Name)
	b = binary.AppendUvarint(b, uint64(r.Type))
	b = binary.AppendUvarint(b, uint64(r.Ord))
	b = appendText(b, r.ID)
	b = appendText(b, r.Client)
	b = binary.AppendUvarint(b, uint64(r.Link))
	b = binary.AppendUvarint(b, uint64(r.Fields))
	if r.flags&flagContent != 0 {
		b = append(b, r.sum[:]...)
	}
	return b
}

// appendTail encodes what is left of the content.
func (r *Row) appendTail(b []byte) []byte {
	b = append(b, byte(r.State))
	if r.State == Kept || r.State == HashOnly {
		b = append(b, r.salt[:]...)
	}
	if r.State == Kept {
		b = append(b, r.content...)
	}
	return b
}

func take(b []byte) (part, rest []byte, ok bool) {
	n, w := binary.Uvarint(b)
	if w <= 0 || n > uint64(len(b)-w) {
		return nil, nil, false
	}
	return b[w : w+int(n)], b[w+int(n):], true
}

// stored is a row's bytes, taken apart but not understood.
type stored struct {
	hash       Hash
	head, tail []byte
}

func split(v []byte) (s stored, ok bool) {
	if len(v) < len(s.hash) {
		return s, false
	}
	copy(s.hash[:], v)
	s.head, s.tail, ok = take(v[len(s.hash):])
	return s, ok
}

// decode reads a row. Its texts and values are its own.
func decode(k Key, v []byte) (*Row, error) {
	s, ok := split(v)
	r := &Row{Key: k, Hash: s.hash}
	if !ok || !r.decodeHead(s.head) || !r.decodeTail(s.tail) {
		return nil, fmt.Errorf("%w: %s can't be read", ErrCorrupt, k)
	}
	return r, nil
}

func (r *Row) decodeHead(b []byte) bool {
	if len(b) < 3 || b[0] != version {
		return false
	}
	r.Op, r.flags = Op(b[1]), b[2]
	ok := true
	b = b[3:]
	number := func(most uint64) uint64 {
		v, w := binary.Uvarint(b)
		if ok = ok && w > 0 && v <= most; !ok {
			return 0
		}
		b = b[w:]
		return v
	}
	text := func() string {
		var part []byte
		if ok {
			part, b, ok = take(b)
		}
		return string(part)
	}
	r.At = ident.Millis(number(1 << 62))
	if ok {
		d, w := binary.Varint(b)
		if ok = w > 0; ok {
			r.Done, b = r.At+ident.Millis(d), b[w:]
		}
	}
	r.Actor, r.Session = ident.RecordID(text()), ident.SessionID(text())
	r.Device, r.For, r.Name = ident.DeviceID(text()), ident.RecordID(text()), text()
	r.Type, r.Ord = uint16(number(1<<16-1)), ident.Ordinal(number(1<<32-1))
	r.ID, r.Client = ident.RecordID(text()), ident.RecordID(text())
	r.Link, r.Fields = ident.Position(number(1<<64-1)), entity.Mask(number(1<<64-1))
	r.Removed = r.flags&flagRemoved != 0
	if ok && r.flags&flagContent != 0 {
		if ok = len(b) == len(r.sum); ok {
			copy(r.sum[:], b)
			b = nil
		}
	}
	return ok && len(b) == 0
}

func (r *Row) decodeTail(b []byte) bool {
	if len(b) == 0 {
		return false
	}
	r.State = State(b[0])
	b = b[1:]
	if (r.State == None) != (r.flags&flagContent == 0) {
		return false
	}
	if r.State == Kept || r.State == HashOnly {
		if len(b) < len(r.salt) {
			return false
		}
		copy(r.salt[:], b)
		b = b[len(r.salt):]
	}
	if r.State == Kept {
		r.content = append([]byte(nil), b...)
		b = nil
	}
	return r.State <= Erased && len(b) == 0
}
