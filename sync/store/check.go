package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	bolt "go.etcd.io/bbolt"
)

// maxFaults is how many faults one check reports.
const maxFaults = 10

// Check reads the whole file and verifies that it is consistent: every page is
// used once or free, every tree is in order, all buckets are there and the
// format is readable. It folds the journal first and holds up updates meanwhile. The
// error is [ErrCorrupt] and lists the first ten faults.
func (b *Bolt) Check() error {
	b.folding.Lock()
	defer b.folding.Unlock()
	b.write.Lock()
	defer b.write.Unlock()
	if err := b.stopped(); err != nil {
		return err
	}
	// On a full disk the file is checked as it is.
	if err := b.foldHeld(true); err != nil && !errors.Is(err, ErrDiskFull) {
		return fmt.Errorf("store: %s: %w", b.path, err)
	}
	// The pages first, off the file: bbolt's own check runs on a goroutine of
	// its own and would take the process down with it on a wild pointer.
	if err := checkPages(b.path); err != nil {
		return fmt.Errorf("store: %s: %w", b.path, err)
	}
	err := guard(func() error {
		return b.db.View(func(tx *bolt.Tx) error {
			var faults []error
			for err := range tx.Check() { // to its end: it blocks otherwise
				if len(faults) < maxFaults {
					faults = append(faults, fmt.Errorf("%w: %w", ErrCorrupt, err))
				}
			}
			for _, bk := range Buckets() {
				if tx.Bucket(bucketName(bk)) == nil {
					faults = append(faults, fmt.Errorf("%w: bucket %s is missing", ErrCorrupt, bk))
				}
			}
			return errors.Join(faults...)
		})
	})
	if err != nil {
		return fmt.Errorf("store: %s: %w", b.path, err)
	}
	return b.view(func(r Reader) error {
		_, err := readFormat(r)
		return err
	})
}

// A page begins with its number (64 bits), kind and count of elements (16 bits
// each), and the number of further pages it runs on over (32 bits). A branch
// element is: offset of the key from the element and its length (32 bits each),
// page (64 bits). A leaf element is: flags, offset, length of key, length of
// value (32 bits each). A bucket is a leaf element with flag 1 whose value
// begins with its root page (0: the bucket's page follows within the value) and
// sequence (64 bits each).
const (
	branchPage   = 0x01
	leafPage     = 0x02
	freelistPage = 0x10

	elementSize = 16
	bucketFlag  = 0x01
	bucketHead  = 16
	maxDepth    = 64
)

// pages walks a bbolt file by reading it, trusting nothing.
type pages struct {
	f     *os.File
	count uint64
	used  map[uint64]bool
	deep  bool // whether to look into the buckets
}

// checkPages verifies that every page that the newest head page leads to is
// within the file, used once, of the right kind and in order.
func checkPages(path string) error { return walkPages(path, true) }

// checkHead does that for the freelist and the list of buckets only, which
// takes no time: so a file that bbolt would take for a new one, or would crash
// on while opening it, is refused before.
func checkHead(path string) error { return walkPages(path, false) }

func walkPages(path string, deep bool) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	m, err := latestMeta(f)
	if err != nil {
		return err
	}
	p := pages{f: f, count: m.pages, used: map[uint64]bool{0: true, 1: true}, deep: deep}
	if m.freelist != noFreelist {
		if err := p.freelist(m.freelist); err != nil {
			return fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
	}
	if err := p.tree(m.root, nil, nil, 0); err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return nil
}

// load reads a page with all it runs on over, and marks it used.
func (p *pages) load(id uint64) ([]byte, error) {
	if id < 2 || id >= p.count {
		return nil, fmt.Errorf("page %d of %d", id, p.count)
	}
	head := make([]byte, pageHeader)
	if _, err := p.f.ReadAt(head, int64(id)*pageSize); err != nil {
		return nil, err
	}
	more := uint64(binary.NativeEndian.Uint32(head[12:]))
	if got := binary.NativeEndian.Uint64(head); got != id {
		return nil, fmt.Errorf("page %d says that it is page %d", id, got)
	}
	if more >= p.count-id {
		return nil, fmt.Errorf("page %d runs on beyond the end", id)
	}
	for i := id; i <= id+more; i++ {
		if p.used[i] {
			return nil, fmt.Errorf("page %d is used twice", i)
		}
		p.used[i] = true
	}
	b := make([]byte, (more+1)*pageSize)
	_, err := p.f.ReadAt(b, int64(id)*pageSize)
	return b, err
}

func (p *pages) freelist(id uint64) error {
	b, err := p.load(id)
	if err != nil {
		return fmt.Errorf("freelist: %w", err)
	}
	ne := binary.NativeEndian
	if ne.Uint16(b[8:]) != freelistPage {
		return fmt.Errorf("freelist: page %d is no freelist", id)
	}
	n, at := uint64(ne.Uint16(b[10:])), uint64(pageHeader)
	if n == 0xffff { // the count did not fit and stands in front
		n, at = ne.Uint64(b[at:]), at+8
	}
	if n > (uint64(len(b))-at)/8 {
		return fmt.Errorf("freelist: %d pages in %d bytes", n, len(b))
	}
	for i := range n {
		free := ne.Uint64(b[at+8*i:])
		if free < 2 || free >= p.count || p.used[free] {
			return fmt.Errorf("freelist: page %d is used or not there", free)
		}
		p.used[free] = true
	}
	return nil
}

// tree checks a page of a tree and what lies beneath. Its keys must be at least
// lo and below hi, where these are not nil.
func (p *pages) tree(id uint64, lo, hi []byte, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("page %d lies deeper than %d", id, maxDepth)
	}
	b, err := p.load(id)
	if err != nil {
		return err
	}
	if err := p.node(b, lo, hi, depth); err != nil {
		return fmt.Errorf("page %d: %w", id, err)
	}
	return nil
}

// node checks the elements of one page, which may stand within a value.
func (p *pages) node(b, lo, hi []byte, depth int) error {
	ne := binary.NativeEndian
	kind, n := ne.Uint16(b[8:]), int(ne.Uint16(b[10:]))
	if kind != branchPage && kind != leafPage {
		return fmt.Errorf("kind %#x where a tree should be", kind)
	}
	if kind == branchPage && n == 0 {
		return errors.New("a branch without elements")
	}
	if pageHeader+n*elementSize > len(b) {
		return fmt.Errorf("%d elements in %d bytes", n, len(b))
	}
	elements := func(i int) []byte { return b[pageHeader+i*elementSize:] }
	keyOf := func(i int) (key, rest []byte, err error) {
		e := elements(i)
		off, size := uint64(ne.Uint32(e)), uint64(ne.Uint32(e[4:]))
		if kind == leafPage {
			off, size = uint64(ne.Uint32(e[4:])), uint64(ne.Uint32(e[8:]))
		}
		if off < elementSize || off+size > uint64(len(e)) {
			return nil, nil, fmt.Errorf("element %d points outside", i)
		}
		return e[off : off+size], e[off+size:], nil
	}
	prev := lo
	for i := range n {
		k, rest, err := keyOf(i)
		if err != nil {
			return err
		}
		if c := bytes.Compare(k, prev); prev != nil && (c < 0 || c == 0 && i > 0) || hi != nil && bytes.Compare(k, hi) >= 0 {
			return fmt.Errorf("element %d is out of order", i)
		}
		prev = k
		e := elements(i)
		if kind == branchPage {
			next := hi
			if i+1 < n {
				if next, _, err = keyOf(i + 1); err != nil {
					return err
				}
			}
			if err := p.tree(ne.Uint64(e[8:]), k, next, depth+1); err != nil {
				return err
			}
			continue
		}
		size := uint64(ne.Uint32(e[12:]))
		if size > uint64(len(rest)) {
			return fmt.Errorf("the value of element %d runs over the page", i)
		}
		if ne.Uint32(e)&bucketFlag != 0 {
			if err := p.bucket(rest[:size], depth); err != nil {
				return fmt.Errorf("bucket %x: %w", k, err)
			}
		}
	}
	return nil
}

func (p *pages) bucket(v []byte, depth int) error {
	if len(v) < bucketHead {
		return errors.New("cut short")
	}
	if root := binary.NativeEndian.Uint64(v); root != 0 {
		if !p.deep {
			return nil
		}
		return p.tree(root, nil, nil, depth+1)
	}
	if len(v) < bucketHead+pageHeader {
		return errors.New("cut short")
	}
	if depth > maxDepth {
		return fmt.Errorf("buckets nested deeper than %d", maxDepth)
	}
	return p.node(v[bucketHead:], nil, nil, depth+1)
}
