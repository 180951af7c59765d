package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"runtime/debug"
	"syscall"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// ErrCorrupt says that a file is empty, cut short, damaged or no store.
var ErrCorrupt = errors.New("store: damaged")

// ErrInUse says that another process has the file open.
var ErrInUse = errors.New("in use by another process")

var errPanic = errors.New("unreadable")

// guard runs fn and turns a panic, or a fault on a page of the file that can't
// be read, into an error: bbolt trusts the bytes it maps.
func guard(fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %w: %v", ErrCorrupt, errPanic, r)
		}
	}()
	return fn()
}

// openFile opens a bbolt file; it must have been made by create or be new. It
// returns for how many bytes address space was reserved, 0 for none beyond the
// file's own.
func openFile(path string, opts Options, fresh bool) (db *bolt.DB, reserved int, err error) {
	if !fresh {
		// A file that is being written to may look damaged for a moment; then
		// the lock is what to complain about.
		if err := checkHead(path); err != nil && !inUse(path) {
			return nil, 0, err
		}
	}
	reserved = opts.InitialMmapSize
	if reserved == 0 && !fresh {
		reserved = defaultMmapSize()
	}
	db, err = openMapped(path, opts, reserved, false)
	if opts.InitialMmapSize == 0 && reserved > 0 && errors.Is(err, syscall.ENOMEM) {
		reserved = 0
		db, err = openMapped(path, opts, 0, false)
	}
	return db, reserved, err
}

func openMapped(path string, opts Options, mmap int, readOnly bool) (db *bolt.DB, err error) {
	var file *os.File
	err = guard(func() (err error) {
		db, err = bolt.Open(path, 0o600, &bolt.Options{
			Timeout:         opts.Timeout,
			InitialMmapSize: mmap,
			PageSize:        pageSize,
			FreelistType:    bolt.FreelistMapType, // the same bytes, faster when much is free
			NoSync:          opts.NoSync,
			NoStatistics:    true,
			ReadOnly:        readOnly,
			PreLoadFreelist: true,
			OpenFile: func(name string, flag int, mode os.FileMode) (f *os.File, err error) {
				if readOnly {
					flag &^= os.O_CREATE
				}
				f, err = os.OpenFile(name, flag, mode)
				file = f
				return f, err
			},
		})
		return err
	})
	switch {
	case err == nil:
		return db, nil
	case errors.Is(err, berrors.ErrTimeout):
		err = fmt.Errorf("%w (waited %s): %w", ErrInUse, opts.Timeout, err)
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrChecksum), errors.Is(err, berrors.ErrVersionMismatch):
		err = fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if file != nil && errors.Is(err, errPanic) {
		// Nobody else would, and the lock would stay with this process.
		unlock(file)
		_ = file.Close()
	}
	return nil, err
}

// meta is what one of the two head pages of a bbolt file says.
type meta struct {
	root     uint64 // page of the root bucket
	freelist uint64 // page of the freelist
	pages    uint64 // number of pages in use, free ones included
	txid     uint64
}

// noFreelist stands for a freelist that is not in the file.
const noFreelist = ^uint64(0)

// A head page: 16 bytes of page header, then magic, version, page size and
// flags (32 bits each), root page, sequence, freelist page, number of pages and
// transaction (64 bits each), and the FNV-1a sum of all that; in the byte order
// of the machine.
const (
	pageHeader  = 16
	metaLength  = 64
	boltMagic   = 0xED0CDAED
	boltVersion = 2
)

func parseMeta(page []byte) (meta, error) {
	ne := binary.NativeEndian
	b := page[pageHeader : pageHeader+metaLength]
	h := fnv.New64a()
	_, _ = h.Write(b[:metaLength-8])
	switch {
	case ne.Uint32(b) != boltMagic:
		return meta{}, errors.New("not a bbolt file")
	case ne.Uint32(b[4:]) != boltVersion:
		return meta{}, fmt.Errorf("bbolt file format %d", ne.Uint32(b[4:]))
	case ne.Uint64(b[metaLength-8:]) != h.Sum64():
		return meta{}, errors.New("wrong checksum")
	case ne.Uint32(b[8:]) != pageSize:
		return meta{}, fmt.Errorf("pages of %d bytes where %d are expected", ne.Uint32(b[8:]), pageSize)
	}
	return meta{root: ne.Uint64(b[16:]), freelist: ne.Uint64(b[32:]), pages: ne.Uint64(b[40:]), txid: ne.Uint64(b[48:])}, nil
}

// latestMeta returns the head page that counts: the newer of those that are whole.
func latestMeta(f *os.File) (meta, error) {
	fi, err := f.Stat()
	if err != nil {
		return meta{}, err
	}
	switch {
	case fi.IsDir():
		return meta{}, fmt.Errorf("%w: a folder, not a file", ErrCorrupt)
	case fi.Size() == 0:
		return meta{}, fmt.Errorf("%w: the file is empty; remove it to start a new store, or put back a backup", ErrCorrupt)
	case fi.Size() < 4*pageSize:
		return meta{}, fmt.Errorf("%w: %d bytes are no store, or one cut short", ErrCorrupt, fi.Size())
	}
	var best meta
	var errs [2]error
	for i := range errs {
		page := make([]byte, pageHeader+metaLength)
		if _, err := f.ReadAt(page, int64(i)*pageSize); err != nil {
			return meta{}, err
		}
		m, err := parseMeta(page)
		if errs[i] = err; err == nil && (best.pages == 0 || m.txid > best.txid) {
			best = m
		}
	}
	if errs[0] != nil && errs[1] != nil {
		return meta{}, fmt.Errorf("%w: %w", ErrCorrupt, errs[0])
	}
	if best.pages < 4 || best.pages > uint64(fi.Size())/pageSize {
		return meta{}, fmt.Errorf("%w: cut short, %d pages are in use and the file has %d", ErrCorrupt, best.pages, fi.Size()/pageSize)
	}
	if best.root < 2 || best.root >= best.pages || best.freelist != noFreelist && (best.freelist < 2 || best.freelist >= best.pages) {
		return meta{}, fmt.Errorf("%w: a head page points outside the file", ErrCorrupt)
	}
	return best, nil
}
