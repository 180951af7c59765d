package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"satchel/internal/durable"
	"satchel/internal/fault"
	"satchel/internal/mutant"
)

const pageSize = 4096

// The defaults of [Options].
const (
	DefaultTimeout   = 2 * time.Second
	DefaultReserve   = 64 << 20
	DefaultFoldBytes = 16 << 20
	DefaultFoldAfter = time.Second
)

// Options say how a [Bolt] store is opened. The zero value is right for
// production.
type Options struct {
	// Timeout is how long to wait for another process to let go of the file;
	// zero means [DefaultTimeout].
	Timeout time.Duration
	// InitialMmapSize is the address space to reserve, in bytes. While the file
	// is smaller than that, growing it waits for no snapshot. Zero means 4 GiB,
	// or nothing on Windows, where it would be the size of the file, and on
	// 32-bit machines; a machine that refuses the default does with less.
	InitialMmapSize int
	// Reserve is the disk space in bytes below which [Bolt.Scarce] says that
	// what can wait should; zero means [DefaultReserve].
	Reserve uint64
	// MinFree is the disk space in bytes below which Update refuses with
	// [ErrDiskFull]; zero means a quarter of Reserve.
	MinFree uint64
	// Free replaces [Free] as the way to ask for the free bytes of a folder.
	Free func(dir string) (uint64, error)
	// NoSync leaves commits to the operating system's leisure, and writes them
	// into the file at once, without a journal: for tests and for bulk loads that
	// start over after a crash.
	NoSync bool
	// FoldBytes is how much of keys and values a journal takes before it is folded
	// into the file, 0 for [DefaultFoldBytes]; FoldAfter how long it may be until
	// then, 0 for [DefaultFoldAfter].
	FoldBytes int
	FoldAfter time.Duration
}

// Bolt is an engine on one bbolt file, which no other process can open
// meanwhile, and while it is open on the journal beside it: a commit is durable
// there first, with one sync, and folded into the file with others later. What
// is not folded yet lies over the file in memory. Opening folds what a crash
// left.
type Bolt struct {
	db   *bolt.DB
	path string
	opts Options

	// folding is held through a fold, write through an Update; where both are,
	// folding is taken first.
	folding sync.Mutex
	write   sync.Mutex
	journal *journal // under write; nil before the first Update
	number  uint64   // of the last commit in the journal; under write
	record  []byte   // for the next one; under write
	timer   *time.Timer
	due     bool         // a fold was asked for; under write
	rushed  bool         // at once; under write
	over    atomic.Int64 // bytes of top

	// layMu guards what lies over the file, and readers. It is held while a snapshot
	// opens its transaction, so that the two fit together.
	layMu    sync.Mutex
	top      *layer      // the newest
	frozen   *layer      // being folded
	frozenOf nonce       // the journal that it is of; under folding
	frozenTo uint64      // the last commit that it has; under folding
	left     atomic.Bool // frozen is what a crash left, for which there was no space; until that is folded and removed
	readers  int         // that have a transaction
	outgrown bool        // a fold waits until there are none, or is under way without any
	calm     sync.Cond   // of layMu: there are none, or the fold is over
	mapped   int         // bytes of the file; under folding
	bounded  bool        // a commit must do with those; under folding

	// spaceMu guards what the last look at the disk showed.
	spaceMu sync.Mutex
	spaceT  time.Time
	free    uint64
	told    bool // whether the platform could tell

	mu     sync.RWMutex // guards broken
	broken error        // why nothing more is taken
}

// OpenBolt opens the store at path, or makes a new one when there is no such
// file, in a folder that exists. The error names the file and says whether it
// is in use by another process ([ErrInUse]), empty, cut short, damaged, no store at all, or
// of a format this program doesn't know ([ErrFormat]).
func OpenBolt(path string, opts Options) (*Bolt, error) { return openBolt(path, opts, migrations) }

func openBolt(path string, opts Options, table []migration) (*Bolt, error) {
	if opts.Timeout <= 0 {
		opts.Timeout = DefaultTimeout
	}
	if opts.Reserve == 0 {
		opts.Reserve = DefaultReserve
	}
	if opts.MinFree == 0 {
		opts.MinFree = opts.Reserve / 4
	}
	if opts.Free == nil {
		opts.Free = Free
	}
	if opts.FoldBytes <= 0 {
		opts.FoldBytes = DefaultFoldBytes
	}
	if opts.FoldAfter <= 0 {
		opts.FoldAfter = DefaultFoldAfter
	}
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		if err := create(path, opts, uint64(1+len(table))); err != nil {
			return nil, fmt.Errorf("store: making %s: %w", path, err)
		}
	}
	db, reserved, err := openFile(path, opts, false)
	if err != nil {
		return nil, fmt.Errorf("store: %s: %w", path, err)
	}
	b := &Bolt{db: db, path: path, opts: opts}
	b.calm.L = &b.layMu
	if err := b.settle(); err != nil {
		return nil, errors.Join(fmt.Errorf("store: %s: %w", path, err), guard(db.Close))
	}
	if err := b.recover(); err != nil {
		return nil, errors.Join(fmt.Errorf("store: %s: %w", path, err), guard(db.Close))
	}
	if err := b.prepare(table); err != nil {
		return nil, errors.Join(fmt.Errorf("store: %s: %w", path, err), guard(db.Close))
	}
	if err := b.noteMapped(reserved); err != nil {
		return nil, errors.Join(err, guard(db.Close))
	}
	return b, nil
}

// settle makes durable what the file is read as. A process that was killed
// between writing a head page, or a record, and syncing it leaves a commit which
// every reader sees and which a power cut would still take back.
func (b *Bolt) settle() error {
	if b.opts.NoSync {
		return nil
	}
	return errors.Join(b.db.Sync(), syncJournal(b.path))
}

// prepare checks that the file is a store, migrates it, and adds buckets that
// are new.
func (b *Bolt) prepare(table []migration) error {
	return guard(func() error {
		err := b.db.View(func(tx *bolt.Tx) error {
			if tx.Bucket(bucketName(Meta)) == nil {
				return errors.New("a bbolt file, but not a Satchel store")
			}
			return nil
		})
		if err != nil {
			return err
		}
		if err := migrate(b, table); err != nil {
			return err
		}
		missing := false
		err = b.db.View(func(tx *bolt.Tx) error {
			for _, bk := range Buckets() {
				missing = missing || tx.Bucket(bucketName(bk)) == nil
			}
			return nil
		})
		if err != nil || !missing {
			return err
		}
		return b.db.Update(makeBuckets)
	})
}

func makeBuckets(tx *bolt.Tx) error {
	for _, b := range Buckets() {
		if _, err := tx.CreateBucketIfNotExists(bucketName(b)); err != nil {
			return fmt.Errorf("%s: %w", b, err)
		}
	}
	return nil
}

// create makes an empty store at path in such a way that path either does not
// exist or is complete.
func create(path string, opts Options, format uint64) (err error) {
	tmp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-*")
	if err != nil {
		return err
	}
	name := tmp.Name()
	defer os.Remove(name) //nolint:errcheck // gone after the rename
	if err := errors.Join(tmp.Chmod(0o600), tmp.Close()); err != nil {
		return err
	}
	db, _, err := openFile(name, opts, true)
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bolt.Tx) error {
		if err := makeBuckets(tx); err != nil {
			return err
		}
		return tx.Bucket(bucketName(Meta)).Put([]byte(formatKey), binary.AppendUvarint(nil, format))
	})
	if err := errors.Join(err, db.Sync(), db.Close()); err != nil {
		return err
	}
	return place(name, path)
}

// place gives the file tmp the name path, unless there is one already, which
// then stays and counts as success: another process made it meanwhile.
func place(tmp, path string) error {
	err := os.Link(tmp, path)
	switch {
	case err == nil, errors.Is(err, os.ErrExist):
	default:
		// No hard links here (some network and removable file systems).
		if _, err := os.Stat(path); err == nil {
			return nil
		}
		if err := os.Rename(tmp, path); err != nil {
			return err
		}
	}
	return durable.SyncDir(filepath.Dir(path))
}

func defaultMmapSize() int {
	const want = int64(4 << 30)
	if runtime.GOOS == "windows" || want > math.MaxInt {
		return 0
	}
	return int(want)
}

func bucketName(b Bucket) []byte { return []byte{byte(b)} }

// stopped returns why nothing more is taken, if so.
func (b *Bolt) stopped() error {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.broken
}

func (b *Bolt) stop(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.broken == nil {
		b.broken = err
	}
}

// look returns how many bytes can still be written, and whether that is known.
// It asks at most every 100 ms: the answer costs a system call, and what is
// written meanwhile fits into the reserve many times over.
func (b *Bolt) look() (free uint64, known bool) {
	b.spaceMu.Lock()
	defer b.spaceMu.Unlock()
	now := time.Now()
	if !b.spaceT.IsZero() && now.Sub(b.spaceT) < 100*time.Millisecond {
		return b.free, b.told
	}
	// A platform or folder that can't tell is no reason to refuse; a disk that
	// is full then shows as a failed commit.
	free, err := b.opts.Free(filepath.Dir(b.path))
	b.spaceT, b.free, b.told = now, free, err == nil
	if room, limited := b.room(); limited {
		if !b.told || room < b.free {
			b.free = room
		}
		b.told = true
	}
	return b.free, b.told
}

// room returns how far the file may still grow where the process has a limit on
// the size of files. The file grows in steps, so the last step counts for nothing.
func (b *Bolt) room() (bytes uint64, limited bool) {
	limit, limited := fileSizeLimit()
	if !limited {
		return 0, false
	}
	st, err := os.Stat(b.path)
	if err != nil {
		return 0, false
	}
	used := uint64(st.Size()) + uint64(b.db.AllocSize)
	if used >= limit {
		return 0, true
	}
	return limit - used, true
}

// short returns [ErrDiskFull] where less than want bytes are free.
func (b *Bolt) short(want uint64) error {
	free, known := b.look()
	if !known || free >= want {
		return nil
	}
	return fault.New(fault.DiskFull).Because(
		fmt.Errorf("store: %d bytes free beside %s, %d wanted", free, b.path, want))
}

// Scarce returns [ErrDiskFull] where the disk has less left than
// [Options].Reserve: what can wait should not be written then, so that what
// can't wait still finds space. Update itself goes on down to MinFree.
func (b *Bolt) Scarce() error { return b.short(b.opts.Reserve) }

// Update implements [Engine].
func (b *Bolt) Update(fn func(Writer) error) error {
	if err := b.relieve(); err != nil {
		return err
	}
	b.write.Lock()
	defer b.write.Unlock()
	if err := b.stopped(); err != nil {
		return err
	}
	if err := b.short(b.opts.MinFree); err != nil {
		return err
	}
	switch {
	case b.opts.NoSync:
		return b.commit(func(w *boltWriter) error { return fn(w) })
	case b.journal == nil:
		return b.begin(fn)
	}
	return b.append(fn)
}

// commit runs fn in a transaction of the file, and makes it durable.
func (b *Bolt) commit(fn func(*boltWriter) error) error {
	tx, err := b.db.Begin(true)
	if err != nil {
		return fmt.Errorf("store: %s: %w", b.path, err)
	}
	w := &boltWriter{boltReader: boltReader{tx: tx}}
	committing := false
	defer func() {
		w.tx = nil
		if !committing {
			// Only for fn's error or panic: a commit ends the transaction itself.
			_ = tx.Rollback()
		}
	}()
	if err := fn(w); err != nil {
		return err
	}
	committing = true
	id := tx.ID()
	if err := guard(tx.Commit); err != nil {
		// A commit that panicked has not let go of the file, and Close would
		// wait for it for ever; one that erred has.
		_ = guard(tx.Rollback)
		if b.bounded && errors.Is(err, berrors.ErrMaxSizeReached) {
			return errOutgrown
		}
		if outOfSpace(err) && b.before(uint64(id)) {
			return fault.New(fault.DiskFull).Because(fmt.Errorf("store: %s: %w", b.path, err))
		}
		err = fmt.Errorf("%w: %s: %w", ErrUnknown, b.path, err)
		b.stop(err)
		return err
	}
	return nil
}

// before reports whether the file's head is older than a transaction: nothing
// of that one is in effect then, nor will it be, because a head page is written
// last and bbolt has taken the rest back.
func (b *Bolt) before(id uint64) bool {
	f, err := os.Open(b.path)
	if err != nil {
		return false
	}
	defer f.Close()
	m, err := latestMeta(f)
	return err == nil && m.txid < id
}

// view runs fn on a snapshot of its own.
func (b *Bolt) view(fn func(Reader) error) error {
	s, err := b.Snapshot()
	if err != nil {
		return err
	}
	defer s.Close()
	return fn(s)
}

// Snapshot implements [Engine].
func (b *Bolt) Snapshot() (Snapshot, error) {
	if err := b.stopped(); err != nil {
		return nil, err
	}
	r, err := b.layers()
	if err != nil {
		return nil, err
	}
	return &boltSnapshot{r}, nil
}

// layers opens the state of the latest commit.
func (b *Bolt) layers() (layers, error) {
	b.layMu.Lock()
	defer b.layMu.Unlock()
	b.admit()
	tx, err := b.db.Begin(false)
	if err != nil {
		return layers{}, fmt.Errorf("store: %s: %w", b.path, err)
	}
	b.readers++
	over := [2]*layer{b.top, b.frozen}
	if mutant.On(mutant.FrozenNotRead) {
		over[1] = nil
	}
	return layers{boltReader: boltReader{tx: tx}, over: over, of: b}, nil
}

// Size implements [Engine]: the length of the file, which never shrinks, see
// [Compact], and that of the journal.
func (b *Bolt) Size() (int64, error) {
	var n int64
	for i, p := range append([]string{b.path}, SegmentPaths(b.path)...) {
		fi, err := os.Stat(p)
		if err == nil {
			n += fi.Size()
		} else if i == 0 {
			return 0, fmt.Errorf("store: %w", err)
		}
	}
	return n, nil
}

// Path returns the file's name as it was opened.
func (b *Bolt) Path() string { return b.path }

// Close implements [Engine]. It waits for open snapshots. A journal that can't be
// folded for want of space stays, and is folded when the store is opened again.
func (b *Bolt) Close() error {
	b.folding.Lock()
	defer b.folding.Unlock()
	b.write.Lock()
	defer b.write.Unlock()
	broken := b.stopped()
	if errors.Is(broken, ErrClosed) {
		return nil
	}
	err := b.end(broken == nil)
	b.mu.Lock()
	b.broken = ErrClosed
	b.mu.Unlock()
	if err := errors.Join(err, b.db.Close()); err != nil {
		return fmt.Errorf("store: closing %s: %w", b.path, err)
	}
	return nil
}

// BackupSize returns how long a copy by [Bolt.Backup] would be at most, in bytes:
// as long as the file once the journal is folded.
func (b *Bolt) BackupSize() (int64, error) {
	if err := b.fold(); err != nil {
		return 0, fmt.Errorf("store: backup of %s: %w", b.path, err)
	}
	fi, err := os.Stat(b.path)
	if err != nil {
		return 0, fmt.Errorf("store: %w", err)
	}
	return fi.Size(), nil
}

// Backup writes a copy of the latest commit, a complete store file, to w while
// updates go on, and returns its length in bytes, its seal included, by which
// [Unseal] knows whether it is still what was written. Space that is given up
// meanwhile is not used again until it ends, so w should be a file, not a
// network connection.
func (b *Bolt) Backup(w io.Writer) (int64, error) {
	if err := b.stopped(); err != nil {
		return 0, err
	}
	if err := b.fold(); err != nil {
		return 0, fmt.Errorf("store: backup of %s: %w", b.path, err)
	}
	var n int64
	h := sha256.New()
	err := b.db.View(func(tx *bolt.Tx) (err error) {
		n, err = tx.WriteTo(io.MultiWriter(w, h))
		return err
	})
	if err == nil {
		var more int
		more, err = w.Write(seal(n, h.Sum(nil)))
		n += int64(more)
	}
	if err != nil {
		return n, fmt.Errorf("store: backup of %s: %w", b.path, err)
	}
	return n, nil
}

// boltReader reads one bbolt transaction.
type boltReader struct {
	tx *bolt.Tx // nil once ended
	// cursors look keys up. Each begins at the root again, but keeps the memory
	// for its way down, which Get of bbolt's own makes anew for every key.
	cursors [maxBucket + 1]*bolt.Cursor
}

func (r *boltReader) bucket(b Bucket) *bolt.Bucket { return r.cursor(b).Bucket() }

// cursor returns what looks keys up in a bucket; whoever goes on from where it
// stands takes one of his own.
func (r *boltReader) cursor(b Bucket) *bolt.Cursor {
	if c := r.cursors[mustBucket(b)]; c != nil && r.tx != nil {
		return c
	}
	if r.tx == nil {
		panic("store: read after the transaction ended")
	}
	bk := r.tx.Bucket(bucketName(b))
	if sequential[b] {
		// Rows come in ascending order and stay: full pages halve the file.
		bk.FillPercent = 0.9
	}
	r.cursors[b] = bk.Cursor()
	return r.cursors[b]
}

// sequential marks the buckets whose keys ascend as they are added.
var sequential = [maxBucket + 1]bool{Log: true, Records: true, Changes: true, Ordinals: true, Audit: true}

// Get implements [Reader].
func (r *boltReader) Get(b Bucket, key []byte) []byte {
	if k, v := r.cursor(b).Seek(key); bytes.Equal(k, key) {
		return v
	}
	return nil
}

// Scan implements [Reader].
func (r *boltReader) Scan(b Bucket, from []byte, fn func(k, v []byte) bool) {
	c := r.bucket(b).Cursor()
	for k, v := c.Seek(from); k != nil && fn(k, v); {
		k, v = c.Next()
	}
}

// scanBack reads from the end, for [ScanBack].
func (r *boltReader) scanBack(b Bucket, from []byte, fn func(k, v []byte) bool) {
	c := r.bucket(b).Cursor()
	var k, v []byte
	if from == nil {
		k, v = c.Last()
	} else if k, v = c.Seek(from); k == nil {
		k, v = c.Last()
	} else if !bytes.Equal(k, from) {
		k, v = c.Prev()
	}
	for k != nil && fn(k, v) {
		k, v = c.Prev()
	}
}

type boltSnapshot struct{ layers }

func (s *boltSnapshot) Close() { s.end() }

type boltWriter struct {
	boltReader
	scans scans
}

func (w *boltWriter) Scan(b Bucket, from []byte, fn func(k, v []byte) bool) {
	w.scans[mustBucket(b)]++
	defer func() { w.scans[b]-- }()
	w.boltReader.Scan(b, from, fn)
}

func (w *boltWriter) scanBack(b Bucket, from []byte, fn func(k, v []byte) bool) {
	w.scans[mustBucket(b)]++
	defer func() { w.scans[b]-- }()
	w.boltReader.scanBack(b, from, fn)
}

func (w *boltWriter) check(b Bucket, k []byte) error {
	if w.tx == nil {
		return ErrEnded
	}
	if err := checkWrite(b, k); err != nil {
		return err
	}
	return w.scans.check(b)
}

func (w *boltWriter) Put(b Bucket, k, v []byte) error {
	// bbolt copies the key but keeps the value until the commit.
	return w.putOwned(b, k, append(make([]byte, 0, len(v)), v...))
}

func (w *boltWriter) putOwned(b Bucket, k, v []byte) error {
	if err := w.check(b, k); err != nil {
		return err
	}
	if err := w.bucket(b).Put(k, v); err != nil {
		return fmt.Errorf("store: put in %s: %w", b, err)
	}
	return nil
}

func (w *boltWriter) Delete(b Bucket, k []byte) error {
	if err := w.check(b, k); err != nil {
		return err
	}
	if err := w.bucket(b).Delete(k); err != nil {
		return fmt.Errorf("store: delete in %s: %w", b, err)
	}
	return nil
}

// putFormat sets the row that no other Put may touch.
func (w *boltWriter) putFormat(f uint64) error {
	return w.bucket(Meta).Put([]byte(formatKey), binary.AppendUvarint(nil, f))
}
