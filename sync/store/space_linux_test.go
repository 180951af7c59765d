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
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=16m"); err != nil {
		t.Skipf("no file system of its own can be mounted here: %v", err)
	}
	defer func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	from := filepath.Join(t.TempDir(), "tenant.db")
	b := mustOpen(t, from, never)
	for i := range 20 {
		row(t, b, i)
	}
	want := content(t, b)
	path, ballast := filepath.Join(dir, "tenant.db"), filepath.Join(dir, "ballast")
	filesOf(t, from).write(t, path)
	closed(t, b)
	if err := os.WriteFile(ballast, make([]byte, 8<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	tight := Options{Reserve: 4, MinFree: 1, InitialMmapSize: 64 << 20}
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
