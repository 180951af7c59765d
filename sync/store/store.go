package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"satchel/internal/fault"
)

// Bucket is a key space of its own within an engine. The numbers stand in
// files: they are never renumbered or reused.
type Bucket uint8

// The buckets, what their keys are and what their values. Numbers in keys are
// big-endian so that they sort.
const (
	Meta        Bucket = 1  // name -> what the tenant has one of; "format" is the engine's own
	Log         Bucket = 2  // position u64 -> log entry
	Records     Bucket = 3  // ordinal u32 -> record
	IDs         Bucket = 4  // record id -> ordinal, type
	Index       Bucket = 5  // index name, chunk u16 -> chunk of a set of ordinals
	Changes     Bucket = 6  // last position u64 -> first position, ordinals that changed between
	Devices     Bucket = 7  // device id -> device
	Held        Bucket = 8  // device id, class, chunk u16 -> chunk of what the device has
	Results     Bucket = 9  // device id, mutation number u64 -> result not yet acknowledged
	Quarantine  Bucket = 10 // refused offline work, kept
	Sessions    Bucket = 11 // session id -> session
	Due         Bucket = 12 // instant i64, what -> what falls due then
	Ordinals    Bucket = 13 // ordinal u32 -> type, id; outlives the record
	Classes     Bucket = 14 // projection classes
	Names       Bucket = 15 // unique values
	Outbox      Bucket = 16 // deliveries to be made
	Keys        Bucket = 17 // idempotency keys
	Credentials Bucket = 18 // what people sign in with
	Audit       Bucket = 19 // who did what when, as a chain of hashes
	Files       Bucket = 20 // content that came before its document
)

// maxBucket is the highest bucket number in use.
const maxBucket = Files

var bucketNames = [maxBucket + 1]string{
	Meta: "meta", Log: "log", Records: "records", IDs: "ids", Index: "index", Changes: "changes",
	Devices: "devices", Held: "held", Results: "results", Quarantine: "quarantine", Sessions: "sessions",
	Due: "due", Ordinals: "ordinals", Classes: "classes", Names: "names", Outbox: "outbox", Keys: "keys",
	Credentials: "credentials", Audit: "audit", Files: "files",
}

// Valid reports whether b is one of the buckets.
func (b Bucket) Valid() bool { return b >= Meta && b <= maxBucket }

// String returns the bucket's name for people; files hold the number.
func (b Bucket) String() string {
	if !b.Valid() {
		return fmt.Sprintf("bucket %d", uint8(b))
	}
	return bucketNames[b]
}

// Buckets returns all buckets in ascending order.
func Buckets() []Bucket {
	bs := make([]Bucket, 0, maxBucket)
	for b := Meta; b <= maxBucket; b++ {
		bs = append(bs, b)
	}
	return bs
}

// MaxKeyLength bounds a key, in bytes. The shortest key has one byte.
const MaxKeyLength = 32 << 10

// Reader reads one state of the buckets. A Reader is for one goroutine.
// Reading a bucket that is not [Bucket.Valid] panics.
type Reader interface {
	// Get returns the value of key, nil when there is none; the value of a key
	// that stands for itself is empty, not nil. The slice is valid until the
	// transaction ends and must not be written to.
	Get(b Bucket, key []byte) []byte
	// Scan calls fn for every key that is at least from (nil: every key), in
	// ascending order of bytes, until fn returns false. k and v are valid
	// until fn returns and must not be written to. fn may read; it must not
	// write to the bucket that is being scanned.
	Scan(b Bucket, from []byte, fn func(k, v []byte) bool)
}

// Writer reads and changes the state within one [Engine.Update]; reads see its
// own writes.
type Writer interface {
	Reader
	// Put sets the value of a key. Both are copied, so that the caller may use
	// the slices again at once.
	Put(b Bucket, k, v []byte) error
	// Delete removes a key; it is no error when there is none.
	Delete(b Bucket, k []byte) error
}

// Snapshot reads the state as of one commit for as long as it is open. An open
// snapshot keeps old pages from being used again, so it should be closed within
// milliseconds. It is for one goroutine at a time.
type Snapshot interface {
	Reader
	// Close ends the snapshot; what it returned is invalid from then on and
	// reading panics. Closing again does nothing.
	Close()
}

// Engine is an ordered key/value store with one writer at a time and any number
// of readers beside it. All methods may be called by many goroutines.
type Engine interface {
	// Update runs fn and makes what it wrote durable in one commit. When fn
	// returns an error or panics, nothing is left of it and Update returns that
	// error as it is. When the commit fails the error is [ErrUnknown]: whether
	// the change is there is known only after the store is opened again, and
	// until then the engine refuses everything with the same error.
	// [ErrDiskFull] comes before fn is called and leaves the engine usable.
	Update(fn func(Writer) error) error
	// Snapshot opens the state of the latest commit.
	Snapshot() (Snapshot, error)
	// Size returns the bytes the store takes up, on disk where it has one.
	Size() (int64, error)
	// Close waits for the update under way and ends the engine; all snapshots
	// must have been closed. Closing again does nothing.
	Close() error
}

// The errors of engines, for errors.Is.
var (
	// ErrClosed says that the engine was closed.
	ErrClosed = errors.New("store: closed")
	// ErrUnknown says that a commit failed and may or may not have taken hold.
	ErrUnknown = errors.New("store: the outcome of a commit is unknown; the store must be opened again")
	// ErrDiskFull says that too little space is left to write at all. It has
	// the code [fault.DiskFull].
	ErrDiskFull error = fault.New(fault.DiskFull)
	// ErrKey says that a key is empty, longer than [MaxKeyLength], or the
	// engine's own.
	ErrKey = errors.New("store: key refused")
	// ErrScanned says that a bucket was written to inside a scan of it.
	ErrScanned = errors.New("store: write to a bucket inside a scan of it")
	// ErrBucket says that a bucket has no such number.
	ErrBucket = errors.New("store: no such bucket")
	// ErrEnded says that an Update's Writer was used after Update returned.
	ErrEnded = errors.New("store: the transaction has ended")
)

// ScanPrefix calls fn for every key that begins with prefix, in ascending
// order, until fn returns false; the rules of [Reader.Scan] hold.
func ScanPrefix(r Reader, b Bucket, prefix []byte, fn func(k, v []byte) bool) {
	r.Scan(b, prefix, func(k, v []byte) bool {
		return bytes.HasPrefix(k, prefix) && fn(k, v)
	})
}

// backward is a Reader that can be read from the end.
type backward interface {
	scanBack(b Bucket, from []byte, fn func(k, v []byte) bool)
}

// ScanBack calls fn for every key that is at most from (nil: every key), in
// descending order, until fn returns false; the rules of [Reader.Scan] hold.
// Snapshots of [Bolt] and [Mem] read only what fn takes; of any other Reader
// all that lies before from is read first.
func ScanBack(r Reader, b Bucket, from []byte, fn func(k, v []byte) bool) {
	if back, ok := r.(backward); ok {
		back.scanBack(b, from, fn)
		return
	}
	var rows []item
	r.Scan(b, nil, func(k, v []byte) bool {
		if from != nil && bytes.Compare(k, from) > 0 {
			return false
		}
		k, v = copyPair(k, v)
		rows = append(rows, item{k: k, v: v})
		return true
	})
	for i := len(rows) - 1; i >= 0 && fn(rows[i].k, rows[i].v); i-- { //nolint:revive // fn does the work
	}
}

// many is a Reader that looks many keys up faster than one after the other.
type many interface {
	getAll(b Bucket, keys []uint32, values [][]byte)
}

// GetAll sets each value to what [Reader.Get] returns for its key, the number as
// four bytes, the highest first. There must be as many values as keys, and the bucket
// must have no other kind of keys. Snapshots of [Bolt], its writers and a [Stage] over
// them take much less time than by looking up one after the other where keys lie
// apart.
func GetAll(r Reader, b Bucket, keys []uint32, values [][]byte) {
	values = values[:len(keys)]
	if m, ok := r.(many); ok {
		m.getAll(b, keys, values)
		return
	}
	getEach(r, b, keys, values)
}

func getEach(r Reader, b Bucket, keys []uint32, values [][]byte) {
	key := make([]byte, 4)
	for i, k := range keys {
		binary.BigEndian.PutUint32(key, k)
		values[i] = r.Get(b, key)
	}
}

// formatKey is the row of Meta that holds the format; only engines write it.
const formatKey = "format"

// checkWrite refuses what no engine takes.
func checkWrite(b Bucket, k []byte) error {
	switch {
	case !b.Valid():
		return fmt.Errorf("%w: %d", ErrBucket, uint8(b))
	case len(k) == 0 || len(k) > MaxKeyLength:
		return fmt.Errorf("%w: %d bytes in %s", ErrKey, len(k), b)
	case b == Meta && string(k) == formatKey:
		return fmt.Errorf("%w: %q is the engine's own", ErrKey, formatKey)
	}
	return nil
}

// ownedPutter is a Writer that can take over slices that will never be written
// to again, which saves the copy.
type ownedPutter interface {
	putOwned(b Bucket, k, v []byte) error
}

// copyPair returns copies of k and v, neither nil, made in one allocation.
func copyPair(k, v []byte) (kk, vv []byte) {
	buf := make([]byte, len(k)+len(v))
	copy(buf, k)
	copy(buf[len(k):], v)
	return buf[:len(k):len(k)], buf[len(k):]
}

// scans counts the scans under way in each bucket.
type scans [maxBucket + 1]int

func (s *scans) check(b Bucket) error {
	if s[b] > 0 {
		return fmt.Errorf("%w: %s", ErrScanned, b)
	}
	return nil
}
