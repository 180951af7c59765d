package store

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestDiskReallyFull: a disk that fills up beneath a store that has just looked
// costs the commits that find no space, and nothing else.
func TestDiskReallyFull(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=24m"); err != nil {
		t.Skipf("no file system of its own can be mounted here: %v", err)
	}
	defer func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	// Nothing is held back, so that the commit meets the end of the disk.
	b := mustOpen(t, filepath.Join(dir, "tenant.db"), Options{Reserve: 4, MinFree: 1})
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 8<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	n := fillUp(t, b, 0)
	if n == 0 {
		t.Fatal("no rows")
	}
	for range 3 {
		soon(b)
		if m := fillUp(t, b, n); m < n {
			t.Fatalf("%d rows, had %d", m, n)
		} else {
			n = m
		}
		whole(t, b, n)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	soon(b)
	grown(t, b, n)
}

// TestFullDiskAfterCrash: where there is no space to fold what a crash left, it
// can be read, and written to once there is.
func TestFullDiskAfterCrash(t *testing.T) {
	path, ballast, tight, want := fullAfterCrash(t)
	var b *Bolt
	for range 2 { // it may be opened and closed meanwhile
		b = mustOpen(t, path, tight)
		if !bytes.Equal(content(t, b), want) {
			t.Fatal("it does not have what was committed")
		}
		if err := b.Check(); err != nil {
			t.Error(err)
		}
		if err := b.Update(func(Writer) error { return nil }); !errors.Is(err, ErrDiskFull) {
			t.Errorf("an update: %v", err)
		}
		closed(t, b)
	}
	b = mustOpen(t, path, tight)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	soon(b)
	put(t, b, Records, "row-000000", "there is space again")
	want = content(t, b)
	if left := filesOf(t, path); left[1] != nil || left[2] != nil {
		t.Error("segments are left although they were folded")
	}
	closed(t, b)
	if b = mustOpen(t, path, tight); !bytes.Equal(content(t, b), want) {
		t.Error("opened again it has something else")
	}
	closed(t, b)
}

// fullAfterCrash puts a store with commits in its journal alone on a disk without
// space to fold them.
func fullAfterCrash(t *testing.T) (path, ballast string, opts Options, want []byte) {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=16m"); err != nil {
		t.Skipf("no file system of its own can be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	from := filepath.Join(t.TempDir(), "tenant.db")
	b := mustOpen(t, from, never)
	for i := range 20 {
		row(t, b, i)
	}
	want = content(t, b)
	path, ballast = filepath.Join(dir, "tenant.db"), filepath.Join(dir, "ballast")
	filesOf(t, from).write(t, path)
	closed(t, b)
	if err := os.WriteFile(ballast, make([]byte, 8<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	return path, ballast, Options{Reserve: 4, MinFree: 1, InitialMmapSize: 64 << 20}, want
}

// TestCompactOnFullDisk: what can't be folded is not left out of the copy that
// takes the file's place.
func TestCompactOnFullDisk(t *testing.T) {
	path, ballast, opts, want := fullAfterCrash(t)
	dst := filepath.Join(t.TempDir(), "compact.db")
	if err := Compact(path, dst, nil); !errors.Is(err, ErrDiskFull) {
		t.Fatalf("compacted without what could not be folded: %v", err)
	}
	if _, err := os.Stat(dst); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the copy: %v", err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if err := Compact(path, dst, nil); err != nil {
		t.Fatal(err)
	}
	b := mustOpen(t, dst, opts)
	defer closed(t, b)
	if !bytes.Equal(content(t, b), want) {
		t.Error("the copy does not have what was committed")
	}
}

// TestLeftJournalStays: as long as what a crash left can't be removed the store
// begins no journal of its own beside it.
func TestLeftJournalStays(t *testing.T) {
	path, ballast, opts, _ := fullAfterCrash(t)
	b := mustOpen(t, path, opts)
	inTheWay := SegmentPaths(path)[1]
	if err := os.MkdirAll(filepath.Join(inTheWay, "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	soon(b)
	for range 2 {
		if err := b.Update(func(w Writer) error { return w.Put(Records, []byte("row-x"), nil) }); err == nil {
			t.Fatal("an update beside what a crash left")
		}
	}
	if err := os.RemoveAll(inTheWay); err != nil {
		t.Fatal(err)
	}
	put(t, b, Records, "row-x", "all of it is gone")
	put(t, b, Records, "row-y", "in the journal")
	want := content(t, b)
	if !bytes.Equal(afterCrash(t, filesOf(t, path)), want) {
		t.Error("after a crash it has something else")
	}
	closed(t, b)
}
