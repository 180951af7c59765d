package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"satchel/internal/ident"
	"satchel/sync/store"
)

// Rows of the Meta bucket.
const (
	metaHead = "audit"
	metaCut  = "auditCut"
)

// Genesis is what stands for the hash of the row before the first.
var Genesis = Hash(sha256.Sum256([]byte("satchel audit trail, version 1")))

// Head is the end of a trail at some time, or the place where it was cut: the
// row's key, how many rows there were up to it since the trail began, and its
// hash. Kept elsewhere, it proves later that nothing before it was changed.
type Head struct {
	Key
	Count uint64
	Hash  Hash
}

// String renders the head for people to keep: the hash in hexadecimal, @, the
// position of its entry.
func (h Head) String() string {
	return hex.EncodeToString(h.Hash[:]) + "@" + strconv.FormatUint(uint64(h.Pos), 10)
}

// ParseHead reads what Head.String wrote; number and count are not in it.
func ParseHead(s string) (h Head, err error) {
	sum, pos, ok := strings.Cut(s, "@")
	raw, herr := hex.DecodeString(sum)
	p, perr := strconv.ParseUint(pos, 10, 64)
	if !ok || herr != nil || len(raw) != len(h.Hash) || perr != nil {
		return h, errors.New("audit: a head is 64 hexadecimal digits, @ and a position")
	}
	copy(h.Hash[:], raw)
	h.Pos = ident.Position(p)
	return h, nil
}

const headLength = 8 + 4 + 8 + sha256.Size

func (h Head) bytes() []byte {
	b := make([]byte, 0, headLength)
	b = binary.BigEndian.AppendUint64(b, uint64(h.Pos))
	b = binary.BigEndian.AppendUint32(b, h.N)
	b = binary.BigEndian.AppendUint64(b, h.Count)
	return append(b, h.Hash[:]...)
}

// getter is the part of a store that heads are read from.
type getter interface {
	Get(b store.Bucket, key []byte) []byte
}

func readHead(r getter, name string) (h Head, ok bool) {
	v := r.Get(store.Meta, []byte(name))
	if len(v) != headLength {
		return Head{}, false
	}
	h.Pos = ident.Position(binary.BigEndian.Uint64(v))
	h.N = binary.BigEndian.Uint32(v[8:])
	h.Count = binary.BigEndian.Uint64(v[12:])
	copy(h.Hash[:], v[20:])
	return h, true
}

// ReadHead returns the end of the trail; ok is false where it has not begun.
func ReadHead(r getter) (h Head, ok bool) { return readHead(r, metaHead) }

// ReadCut returns the place behind which the trail is kept: where nothing was
// cut, the one before its first row, with a Count of 0.
func ReadCut(r getter) (h Head, ok bool) { return readHead(r, metaCut) }

// Stage takes the rows of an entry; Put copies what it is given.
type Stage interface {
	Get(b store.Bucket, key []byte) []byte
	Put(b store.Bucket, k, v []byte)
}

// Seal adds the rows of a log entry to the trail, in order: it numbers them,
// chains them and moves the head. It is called once for an entry, which must
// come behind all that are in the trail.
func Seal(to Stage, pos ident.Position, rows []Row) {
	if len(rows) == 0 {
		return
	}
	head, begun := ReadHead(to)
	if !begun {
		head = Head{Key: Key{Pos: pos - 1}, Hash: Genesis}
		to.Put(store.Meta, []byte(metaCut), head.bytes())
	}
	var hashed, value []byte
	for i := range rows {
		r := &rows[i]
		r.Key = Key{pos, uint32(i)}
		hashed = append(hashed[:0], head.Hash[:]...)
		hashed = r.Key.append(hashed)
		key := hashed[len(head.Hash):]
		hashed = r.appendHead(hashed)
		r.Hash = sha256.Sum256(hashed)
		text := hashed[len(head.Hash)+keyLength:]
		value = append(value[:0], r.Hash[:]...)
		value = append(binary.AppendUvarint(value, uint64(len(text))), text...)
		value = r.appendTail(value)
		to.Put(store.Audit, key, value)
		if r.Removed {
			to.Put(store.Audit, goneKey(r.Ord), key[1:])
		}
		head = Head{r.Key, head.Count + 1, r.Hash}
	}
	to.Put(store.Meta, []byte(metaHead), head.bytes())
}

func goneKey(o ident.Ordinal) []byte {
	return binary.BigEndian.AppendUint32([]byte{gonePrefix}, o)
}

// Read returns the row at a place; nil where there is none.
func Read(r getter, k Key) (*Row, error) {
	v := r.Get(store.Audit, k.append(nil))
	if v == nil {
		return nil, nil //nolint:nilnil // no row is no error
	}
	return decode(k, v)
}

// Gone returns the row of the removal of a record, nil where the record was
// not removed or the trail no longer has it.
func Gone(r getter, o ident.Ordinal) (*Row, error) {
	v := r.Get(store.Audit, goneKey(o))
	if len(v) != keyLength-1 {
		return nil, nil //nolint:nilnil // no row is no error
	}
	k, _ := parseKey(append([]byte{rowPrefix}, v...))
	return Read(r, k)
}

// Last is a key behind every row.
var Last = Key{1<<64 - 1, 1<<32 - 1}

// Back calls f for the rows at from and before it, newest first, until f
// returns false.
func Back(r store.Reader, from Key, f func(*Row) bool) (err error) {
	store.ScanBack(r, store.Audit, from.append(nil), func(k, v []byte) bool {
		key, ok := parseKey(k)
		if !ok {
			return false
		}
		var row *Row
		row, err = decode(key, v)
		return err == nil && f(row)
	})
	return err
}

// Of calls f for the changes of one record, newest first, until f returns
// false: from its change at the place from or before it in the same entry,
// along the links. It reads the entries in which the record changed and no
// others.
func Of(r store.Reader, o ident.Ordinal, from Key, f func(*Row) bool) error {
	for from.Pos != 0 {
		var next ident.Position
		more := true
		err := Back(r, from, func(row *Row) bool {
			if row.Pos != from.Pos {
				return false
			}
			if row.Ord != o {
				return true
			}
			next, more = row.Link, f(row)
			return more && next == from.Pos
		})
		if err != nil || !more || next >= from.Pos {
			return err
		}
		from = Key{next, Last.N}
	}
	return nil
}

// Until returns the key of the last row before an instant: every row at it or
// before it is older than at, every later one is not.
func Until(r store.Reader, at ident.Millis) (Key, error) {
	head, ok := ReadHead(r)
	cut, _ := ReadCut(r)
	if !ok {
		return Key{}, nil
	}
	// Times never fall along the trail.
	lo, hi := cut.Pos+1, head.Pos+1 // the first entry at or after the instant lies in [lo, hi]
	for lo < hi {
		mid := lo + (hi-lo)/2
		var row *Row
		var err error
		r.Scan(store.Audit, Key{Pos: mid}.append(nil), func(k, v []byte) bool {
			if key, ok := parseKey(k); ok {
				row, err = decode(key, v)
			}
			return false
		})
		if err != nil {
			return Key{}, err
		}
		if row == nil || row.At >= at {
			hi = mid
		} else {
			lo = row.Pos + 1
		}
	}
	return Key{lo - 1, Last.N}, nil
}

// maxCut is how many rows one transaction of Cut takes, entries whole.
const maxCut = 10_000

// Cut takes from the trail the rows from before an instant: at most 10,000 and
// the rest of an entry, so that a caller repeats it while more is true. The
// place of the cut stays, so that what is kept still proves itself; whoever
// relies on the trail signs that head off before.
func Cut(w store.Writer, before ident.Millis) (cut Head, removed int, more bool, err error) {
	cut, ok := ReadCut(w)
	if !ok {
		return cut, 0, false, nil
	}
	var gone [][]byte
	w.Scan(store.Audit, Key{}.append(nil), func(k, v []byte) bool {
		var row *Row
		key, ok := parseKey(k)
		if !ok {
			err = fmt.Errorf("%w: key %x", ErrCorrupt, k)
			return false
		}
		if row, err = decode(key, v); err != nil || row.At >= before {
			return false
		}
		if more = removed >= maxCut && key.Pos != cut.Pos; more {
			return false
		}
		removed++
		gone = append(gone, bytes.Clone(k))
		if row.Removed {
			gone = append(gone, goneKey(row.Ord))
		}
		cut = Head{key, cut.Count + 1, row.Hash}
		return true
	})
	if err != nil || removed == 0 {
		return cut, 0, false, err
	}
	for _, k := range gone {
		if err := w.Delete(store.Audit, k); err != nil {
			return cut, 0, false, err
		}
	}
	return cut, removed, more, w.Put(store.Meta, []byte(metaCut), cut.bytes())
}

// Erase takes the values out of a row, and the salt without which their hash
// tells nothing. The chain stands as it stood. It returns false where there was
// nothing to take.
func Erase(to Stage, k Key) (bool, error) {
	v := to.Get(store.Audit, k.append(nil))
	if v == nil {
		return false, fmt.Errorf("audit: there is no row at %s", k)
	}
	row, err := decode(k, v)
	if err != nil || row.State == None || row.State == Erased {
		return false, err
	}
	s, _ := split(v)
	row.State, row.content = Erased, nil
	out := binary.AppendUvarint(append([]byte(nil), s.hash[:]...), uint64(len(s.head)))
	to.Put(store.Audit, k.append(nil), row.appendTail(append(out, s.head...)))
	return true, nil
}

// Forward calls f for the rows behind a place, oldest first, until f returns
// false.
func Forward(r store.Reader, behind Key, f func(*Row) bool) (err error) {
	r.Scan(store.Audit, append(behind.append(nil), 0), func(k, v []byte) bool {
		key, ok := parseKey(k)
		if !ok {
			return true
		}
		var row *Row
		row, err = decode(key, v)
		return err == nil && f(row)
	})
	return err
}
