package store

import (
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
