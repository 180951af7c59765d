package client

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/tidwall/btree"
	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// bucket names a part of the store. The numbers stand on disk; none is ever
// given another meaning.
type bucket byte

const (
	bucketMeta     bucket = 1 // single values, see the meta keys
	bucketRecords  bucket = 2 // type 0 id -> record as the server sent it
	bucketOutbox   bucket = 3 // n, big endian -> unsent mutation, JSON
	bucketSettled  bucket = 4 // n -> mutation in effect on the server, not yet seen in a page
	bucketTouched  bucket = 5 // type 0 id 0 n -> empty: which edits concern a record
	bucketCreates  bucket = 6 // id -> n of the unsent create that makes it
	bucketProblems bucket = 7 // own number -> Problem, JSON
	bucketHidden   bucket = 8 // type 0 id -> empty: taken away while edits to it were unsent
	bucketCounts   bucket = 9 // type -> number of records, big endian
	lastBucket            = bucketCounts
)

// tx is a transaction. Slices it returns are valid until it ends and must not
// be changed; slices given to put belong to the store from then on. Nothing
// may be written while a scan runs.
type tx interface {
	get(b bucket, key []byte) []byte
	put(b bucket, key, value []byte) error
	del(b bucket, key []byte) error
	scan(b bucket, prefix []byte, f func(key, value []byte) error) error
	clear(b bucket) error
}

// store is what a phone keeps its state in. update is atomic and durable.
type store interface {
	view(func(tx) error) error
	update(func(tx) error) error
	// erase removes everything, also what lingers in unused parts of the file.
	erase() error
	close() error
	// identity says which file this is; label is the sidecar beside it (nil
	// where there is none).
	identity() fileIdentity
	label() ([]byte, error)
	setLabel([]byte) error
}

// errStop ends a scan early without an error.
var errStop = errors.New("stop")

// Memory is a store without a file, for simulations and tests of many phones.
// It outlives the Phone that is opened on it, like a file does, so a phone
// that is killed and started again is OpenMemory on the same Memory. Safe for
// use by several goroutines.
type Memory struct {
	mu   sync.RWMutex
	rows *btree.Map[string, []byte]
	lab  []byte
	id   string
}

// NewMemory returns an empty Memory.
func NewMemory() *Memory {
	return &Memory{rows: new(btree.Map[string, []byte]), id: randomText(nil, 10)}
}

// Clone returns a copy under another identity, as if the store and what stands
// beside it had been copied to another place.
func (m *Memory) Clone() *Memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &Memory{rows: m.rows.Copy(), lab: m.lab, id: randomText(nil, 10)}
}

// RestoreFrom puts the content of an earlier Clone in place of this one's, as
// if a backup of the store file alone had been copied over it.
func (m *Memory) RestoreFrom(backup *Memory) {
	backup.mu.Lock()
	rows := backup.rows.Copy()
	backup.mu.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rows = rows
}

func (m *Memory) view(f func(tx) error) error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return f(memoryTx{m.rows})
}

func (m *Memory) update(f func(tx) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	next := m.rows.Copy() // shares nodes until they are written
	if err := f(memoryTx{next}); err != nil {
		return err
	}
	m.rows = next
	return nil
}

func (m *Memory) erase() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rows = new(btree.Map[string, []byte])
	return nil
}

func (m *Memory) close() error           { return nil }
func (m *Memory) identity() fileIdentity { return fileIdentity{Path: m.id} }

func (m *Memory) label() ([]byte, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.lab, nil
}

func (m *Memory) setLabel(b []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lab = b
	return nil
}

type memoryTx struct{ rows *btree.Map[string, []byte] }

func memoryKey(b bucket, key []byte) string {
	var s strings.Builder
	s.Grow(len(key) + 1)
	s.WriteByte(byte(b))
	s.Write(key)
	return s.String()
}

func (t memoryTx) get(b bucket, key []byte) []byte {
	v, _ := t.rows.Get(memoryKey(b, key))
	return v
}

func (t memoryTx) put(b bucket, key, value []byte) error {
	if value == nil {
		value = []byte{}
	}
	t.rows.Set(memoryKey(b, key), value)
	return nil
}

func (t memoryTx) del(b bucket, key []byte) error {
	t.rows.Delete(memoryKey(b, key))
	return nil
}

func (t memoryTx) scan(b bucket, prefix []byte, f func(key, value []byte) error) error {
	from := memoryKey(b, prefix)
	var err error
	t.rows.Ascend(from, func(k string, v []byte) bool {
		if !strings.HasPrefix(k, from) {
			return false
		}
		err = f([]byte(k[1:]), v)
		return err == nil
	})
	if errors.Is(err, errStop) {
		return nil
	}
	return err
}

func (t memoryTx) clear(b bucket) error {
	var keys []string
	from := string([]byte{byte(b)})
	t.rows.Ascend(from, func(k string, _ []byte) bool {
		if k[0] != byte(b) {
			return false
		}
		keys = append(keys, k)
		return true
	})
	for _, k := range keys {
		t.rows.Delete(k)
	}
	return nil
}

// fileStore keeps everything in one bbolt file and a label beside it.
type fileStore struct {
	path string
	// mu is held for reading by transactions and for writing while erase
	// exchanges the file.
	mu sync.RWMutex
	db *bolt.DB
}

func openFile(path string) (*fileStore, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	s := &fileStore{path: abs}
	if s.db, err = openBolt(abs); err != nil {
		return nil, err
	}
	return s, nil
}

func openBolt(path string) (*bolt.DB, error) {
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Second})
	if err != nil {
		return nil, fmt.Errorf("client: open %s: %w", path, err)
	}
	err = db.Update(func(t *bolt.Tx) error {
		for b := bucketMeta; b <= lastBucket; b++ {
			if _, err := t.CreateBucketIfNotExists([]byte{byte(b)}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

func (s *fileStore) view(f func(tx) error) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return closedAs(s.db.View(func(t *bolt.Tx) error { return f(boltTx{t}) }))
}

func (s *fileStore) update(f func(tx) error) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return closedAs(s.db.Update(func(t *bolt.Tx) error { return f(boltTx{t}) }))
}

func closedAs(err error) error {
	if errors.Is(err, bolterrors.ErrDatabaseNotOpen) {
		return ErrClosed
	}
	return err
}

// erase starts a new file: deleting keys would leave their content in pages
// that bbolt merely considers free.
func (s *fileStore) erase() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.db.Close(); err != nil {
		return err
	}
	if err := os.Remove(s.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	db, err := openBolt(s.path)
	if err != nil {
		return err
	}
	s.db = db
	return nil
}

func (s *fileStore) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.db.Close()
}

func (s *fileStore) identity() fileIdentity { return identify(s.path) }

func (s *fileStore) labelPath() string { return s.path + ".label" }

func (s *fileStore) label() ([]byte, error) {
	b, err := os.ReadFile(s.labelPath())
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return b, err
}

func (s *fileStore) setLabel(b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(s.path), filepath.Base(s.path)+".label-*")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), s.labelPath())
	}
	if err != nil {
		_ = os.Remove(f.Name()) // the first error is the one that counts
	}
	return err
}

type boltTx struct{ t *bolt.Tx }

func (t boltTx) get(b bucket, key []byte) []byte { return t.t.Bucket([]byte{byte(b)}).Get(key) }

func (t boltTx) put(b bucket, key, value []byte) error {
	return t.t.Bucket([]byte{byte(b)}).Put(key, value)
}

func (t boltTx) del(b bucket, key []byte) error { return t.t.Bucket([]byte{byte(b)}).Delete(key) }

func (t boltTx) scan(b bucket, prefix []byte, f func(key, value []byte) error) error {
	c := t.t.Bucket([]byte{byte(b)}).Cursor()
	for k, v := c.Seek(prefix); k != nil && strings.HasPrefix(string(k), string(prefix)); k, v = c.Next() {
		if err := f(k, v); err != nil {
			if errors.Is(err, errStop) {
				return nil
			}
			return err
		}
	}
	return nil
}

func (t boltTx) clear(b bucket) error {
	if err := t.t.DeleteBucket([]byte{byte(b)}); err != nil {
		return err
	}
	_, err := t.t.CreateBucket([]byte{byte(b)})
	return err
}
