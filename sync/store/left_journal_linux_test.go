package store

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"satchel/sync/bits"
)

// TestLongRecordsOfLeftJournal: what a crash of a program of format 7 left in the
// journal counts among the long records, also where there was no space to fold it
// before the store is brought to format 8.
func TestLongRecordsOfLeftJournal(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=16m"); err != nil {
		t.Skipf("no file system of its own can be mounted here: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	from := filepath.Join(t.TempDir(), "tenant.db")
	b, err := openBolt(from, never, migrations[:6])
	if err != nil {
		t.Fatal(err)
	}
	key := func(i int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(i)) }
	fill := func(fn func(w Writer) error) {
		t.Helper()
		if err := b.Update(fn); err != nil {
			t.Fatal(err)
		}
	}
	fill(func(w Writer) error {
		for i := range 300 {
			if err := w.Put(Records, key(i), make([]byte, 1000)); err != nil {
				return err
			}
		}
		return nil
	})
	fill(func(w Writer) error { // makes free pages
		for i := range 280 {
			if err := w.Delete(Records, key(i)); err != nil {
				return err
			}
		}
		return nil
	})
	if err := b.fold(); err != nil {
		t.Fatal(err)
	}
	fill(func(w Writer) error { return w.Put(Meta, []byte("x"), nil) })
	if err := b.fold(); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		fill(func(w Writer) error { return w.Put(Records, key(1000+i), make([]byte, 300<<10)) })
	}
	path, ballast := filepath.Join(dir, "tenant.db"), filepath.Join(dir, "ballast")
	filesOf(t, from).write(t, path)
	closed(t, b)
	if err := os.WriteFile(ballast, make([]byte, 8<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	tight := Options{Reserve: 4, MinFree: 1, InitialMmapSize: 64 << 20}
	b, err = OpenBolt(path, tight)
	if errors.Is(err, ErrDiskFull) {
		if err := os.Remove(ballast); err != nil { // opened once there is space
			t.Fatal(err)
		}
		b, err = OpenBolt(path, tight)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("left: %v", b.left.Load())
	_ = os.Remove(ballast)
	if err := b.fold(); err != nil {
		t.Fatal(err)
	}
	long := map[uint32]bool{}
	if err := b.view(func(r Reader) error {
		r.Scan(Index, []byte("L\x00"), func(k, v []byte) bool {
			s, err := bits.Decode(func(yield func(uint16, []byte) bool) { yield(binary.BigEndian.Uint16(k[2:]), v) })
			if err != nil {
				t.Error(err)
			}
			if k[1] == 0 {
				for _, o := range s.Slice() {
					long[o] = true
				}
			}
			return true
		})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		if !long[uint32(1000+i)] {
			t.Fatalf("record %d has %d bytes and is not among the long ones; those are %d", 1000+i, 300<<10, len(long))
		}
	}
	closed(t, b)
}
