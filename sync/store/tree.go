package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"runtime"
	"unsafe"

	bolt "go.etcd.io/bbolt"
)

// tree looks keys up in the pages of one bucket, as a read transaction sees them;
// bbolt doesn't write to those while it is open. What a page is made of stands
// beside [Bolt.Check]. bbolt's own cursor finds the same, a key at a time: where
// pages lie in main memory, not in a cache, most of a lookup is waiting for one line
// of memory after the other. Many lookups that go down side by side wait at once, and
// take a quarter of the time.
type tree struct {
	file []byte // as mapped, as far as the transaction knows it
	root uint64 // page
}

// mapped returns the file as the read transaction has it mapped; it is valid until
// that ends.
func mapped(tx *bolt.Tx) []byte {
	info := tx.DB().Info()
	return unsafe.Slice(*(**byte)(unsafe.Pointer(&info.Data)), tx.Size())
}

// page returns a page from its header on, whether it is a branch, and how many
// elements it has.
func (t *tree) page(id uint64) (p []byte, branch bool, n int) {
	ne := binary.NativeEndian
	p = t.file[id*pageSize:]
	kind := ne.Uint16(p[8:])
	if ne.Uint64(p) != id || kind != branchPage && kind != leafPage {
		panic(fmt.Errorf("%w: page %d is of no tree", ErrCorrupt, id))
	}
	return p, kind == branchPage, int(ne.Uint16(p[10:]))
}

// element returns a page from its i-th element on, from where offsets count.
func element(p []byte, i int) []byte { return p[pageHeader+i*elementSize:] }

func branchKey(p []byte, i int) []byte {
	e := element(p, i)
	at, n := binary.NativeEndian.Uint32(e), binary.NativeEndian.Uint32(e[4:])
	return e[at:][:n]
}

// below returns the page beneath a branch's element.
func below(p []byte, i int) uint64 { return binary.NativeEndian.Uint64(element(p, i)[8:]) }

func leafKey(p []byte, i int) []byte {
	e := element(p, i)
	at, n := binary.NativeEndian.Uint32(e[4:]), binary.NativeEndian.Uint32(e[8:])
	return e[at:][:n]
}

func leafValue(p []byte, i int) []byte {
	e := element(p, i)
	at := binary.NativeEndian.Uint32(e[4:]) + binary.NativeEndian.Uint32(e[8:])
	n := binary.NativeEndian.Uint32(e[12:])
	return e[at:][:n:n]
}

// get returns the value of a key, nil where there is none.
func (t *tree) get(key []byte) []byte {
	id := t.root
	for range maxDepth {
		p, branch, n := t.page(id)
		if !branch {
			i := search(n, func(i int) bool { return bytes.Compare(leafKey(p, i), key) >= 0 })
			if i < n && bytes.Equal(leafKey(p, i), key) {
				return leafValue(p, i)
			}
			return nil
		}
		i := search(n, func(i int) bool { return bytes.Compare(branchKey(p, i), key) > 0 })
		id = below(p, max(i-1, 0))
	}
	panic(tooDeep())
}

func tooDeep() error { return fmt.Errorf("%w: a tree deeper than %d", ErrCorrupt, maxDepth) }

// search returns the first of n for which f holds, n for none. It is sort.Search,
// short enough to be inlined with f.
func search(n int, f func(int) bool) int {
	lo, hi := 0, n
	for lo < hi {
		if mid := int(uint(lo+hi) >> 1); f(mid) {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return lo
}

// abreast is how many lookups go down side by side: more than a processor has lines
// of memory under way, and few enough that what they found is still in its cache
// when it is used.
const abreast = 32

// way is where one of them stands.
type way struct {
	page uint64
	// The page's keys are at least lo and below hi.
	lo, hi uint64
	guess  int // of the element
}

// getAll sets values to those of the keys, which are numbers as four bytes, the
// highest first. All keys of the tree have to be such.
func (t *tree) getAll(keys []uint32, values [][]byte) {
	for len(keys) > 0 {
		n := min(len(keys), abreast)
		t.getSome(keys[:n], values[:n])
		keys, values = keys[n:], values[n:]
	}
}

// getSome is getAll for as many as go side by side. At each step all of them touch
// what they need next before the first of them uses it, so that the memory comes
// while the others ask for theirs. Keys are mostly spread evenly, so that where one
// stands can be told from those around.
func (t *tree) getSome(keys []uint32, values [][]byte) {
	var ways [abreast]way
	var touched byte
	for i := range keys {
		ways[i] = way{page: t.root, hi: 1 << 32}
	}
	branches := true
	for depth := 0; branches; depth++ {
		if depth == maxDepth {
			panic(tooDeep())
		}
		for i := range keys {
			touched ^= t.file[ways[i].page*pageSize]
		}
		_, branches, _ = t.page(ways[0].page)
		for i, key := range keys {
			w := &ways[i]
			p, branch, n := t.page(w.page)
			if branch != branches {
				panic(fmt.Errorf("%w: page %d is not as deep as others", ErrCorrupt, w.page))
			}
			if n == 0 {
				continue
			}
			off := uint64(key) - min(w.lo, uint64(key))
			if branch {
				off = off * uint64(n) / max(w.hi-w.lo, 1)
			}
			w.guess = int(min(off, uint64(n-1)))
			e := element(p, w.guess)
			touched ^= e[0]
			if branch { // keys of one length stand one behind the other
				touched ^= p[pageHeader+n*elementSize+4*w.guess]
			}
		}
		if !branches {
			break
		}
		for i, key := range keys {
			ways[i].down(t, key)
		}
	}
	for i := range keys {
		if p, _, n := t.page(ways[i].page); n > 0 {
			touched ^= leafKey(p, ways[i].guess)[0]
		}
	}
	for i, key := range keys {
		v := ways[i].value(t, key)
		values[i] = v
		for at := 0; at < len(v) && at < longTouched; at += memoryLine {
			touched ^= v[at]
		}
	}
	runtime.KeepAlive(touched)
}

// Of values as much is touched as most records have, a byte in each line of memory.
const memoryLine, longTouched = 64, 1 << 10

func number(key []byte) uint64 {
	if len(key) != 4 {
		panic(fmt.Errorf("%w: a key of %d bytes among numbers", ErrCorrupt, len(key)))
	}
	return uint64(binary.BigEndian.Uint32(key))
}

// down goes from a branch to the page below that has the key: away from the guess
// in steps that double, then in halves.
func (w *way) down(t *tree, key uint32) {
	p, _, n := t.page(w.page)
	o := uint64(key)
	i, beyond := -1, n // neighbours in the end: the last that isn't beyond the key, and the next
	for at, step := w.guess, 1; i+1 < beyond; step *= 2 {
		if k := number(branchKey(p, at)); k <= o {
			i, w.lo = at, k
		} else {
			beyond, w.hi = at, k
		}
		switch {
		case i < 0:
			at = max(beyond-step, 0)
		case beyond == n:
			at = min(i+step, n-1)
		default:
			at = int(uint(i+beyond) >> 1)
		}
	}
	w.page = below(p, max(i, 0))
}

// value returns the key's in the leaf that was come to, nil for none.
func (w *way) value(t *tree, key uint32) []byte {
	p, _, n := t.page(w.page)
	if n == 0 {
		return nil
	}
	o := uint64(key)
	if number(leafKey(p, w.guess)) == o {
		return leafValue(p, w.guess)
	}
	i := search(n, func(i int) bool { return number(leafKey(p, i)) >= o })
	if i < n && number(leafKey(p, i)) == o {
		return leafValue(p, i)
	}
	return nil
}
