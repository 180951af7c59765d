package crashtest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"

	"satchel/sync/store"
)

// The geometry of a bbolt file: pages of 4 KiB of which the first two are head
// pages, written last. A disk writes a sector whole or not at all.
const (
	pageBytes   = 4096
	sectorBytes = 512
	headBytes   = 2 * pageBytes
	wordBytes   = 8
	// A head page has the number of pages in use at this place.
	pagesAt = 56
)

// stretch is a run of bytes that a commit changes.
type stretch struct {
	at       int64
	old, new []byte // of the same length; zeros where the file was shorter
}

// change is what one commit does to a file: in the order of its syncs the
// length, then the data, then the head. One that goes to the journal makes a
// segment of it longer, or writes over it, and leaves the file as it is.
type change struct {
	oldLength, newLength int64
	data, head           []stretch

	segment                int // where the two differ
	oldSegment, newSegment []byte
}

// appends reports whether the change is one of the journal.
func (c change) appends() bool { return c.newSegment != nil }

// image is the part of a file that is in use, and how long the file is, and the
// segments of its journal, nil where there is none.
type image struct {
	used     []byte
	length   int64
	segments [2][]byte
}

// readImage reads a store's file and journal while no commit is under way.
func readImage(f *os.File) (image, error) {
	st, err := f.Stat()
	if err != nil {
		return image{}, err
	}
	head := make([]byte, headBytes)
	if _, err := f.ReadAt(head, 0); err != nil {
		return image{}, err
	}
	var pages uint64
	for at := pagesAt; at < headBytes; at += pageBytes {
		pages = max(pages, binary.NativeEndian.Uint64(head[at:]))
	}
	if pages > uint64(st.Size())/pageBytes {
		return image{}, errors.New("crashtest: the file is shorter than its head says")
	}
	im := image{used: make([]byte, pages*pageBytes), length: st.Size()}
	if _, err := io.ReadFull(io.NewSectionReader(f, 0, int64(len(im.used))), im.used); err != nil {
		return image{}, err
	}
	for i, path := range store.SegmentPaths(f.Name()) {
		b, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return image{}, err
		}
		im.segments[i] = b
	}
	return im, nil
}

// write makes the files of the image.
func (im image) write(path string) error {
	if err := os.WriteFile(path, im.used, 0o600); err != nil {
		return err
	}
	for i, p := range store.SegmentPaths(path) {
		if im.segments[i] == nil {
			if err := os.Remove(p); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		} else if err := os.WriteFile(p, im.segments[i], 0o600); err != nil {
			return err
		}
	}
	return os.Truncate(path, im.length)
}

// changeBetween splits what differs into sectors.
func changeBetween(old, now image) change {
	c := change{oldLength: old.length, newLength: now.length}
	was := old.used
	if len(was) < len(now.used) {
		// Beyond what was in use lie zeros, or what was in use long ago: of that
		// nothing is ever read.
		was = append(bytes.Clone(was), make([]byte, len(now.used)-len(was))...)
	}
	for at := 0; at < len(now.used); at += sectorBytes {
		a, b := was[at:at+sectorBytes], now.used[at:at+sectorBytes]
		if bytes.Equal(a, b) {
			continue
		}
		s := stretch{at: int64(at), old: bytes.Clone(a), new: bytes.Clone(b)}
		if at < headBytes {
			c.head = append(c.head, s)
		} else {
			c.data = append(c.data, s)
		}
	}
	for i := range now.segments {
		if !bytes.Equal(old.segments[i], now.segments[i]) {
			c.segment, c.oldSegment, c.newSegment = i, old.segments[i], now.segments[i]
		}
	}
	return c
}

// words splits stretches into pieces of eight bytes: a head page that is torn
// within a sector, which is worse than disks promise.
func words(in []stretch) []stretch {
	var out []stretch
	for _, s := range in {
		for i := 0; i < len(s.old); i += wordBytes {
			a, b := s.old[i:i+wordBytes], s.new[i:i+wordBytes]
			if !bytes.Equal(a, b) {
				out = append(out, stretch{s.at + int64(i), a, b})
			}
		}
	}
	return out
}
