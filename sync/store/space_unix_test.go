//go:build linux || darwin || freebsd

package store

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// limitEnv makes the test binary be the process with the limit.
const limitEnv = "SATCHEL_TEST_FILE_SIZE_LIMIT"

// TestFileSizeLimit: a process that may not make files longer refuses writes
// while reading goes on, and goes on itself once it may. The limit is for a
// whole process, so this runs in one of its own.
func TestFileSizeLimit(t *testing.T) {
	if os.Getenv(limitEnv) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestFileSizeLimit$", "-test.v")
		cmd.Env = append(os.Environ(), limitEnv+"=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	limit := func(bytes uint64) {
		t.Helper()
		var l unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &l); err != nil {
			t.Fatal(err)
		}
		l.Cur = l.Max
		if bytes > 0 {
			l.Cur = bytes
		}
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &l); err != nil {
			t.Fatal(err)
		}
	}
	// Foreseen: the store refuses before the limit is met.
	limit(64 << 20)
	b := mustOpen(t, filepath.Join(t.TempDir(), "tenant.db"), Options{Reserve: 4 << 20})
	n := fillUp(t, b, 0)
	if st, err := os.Stat(b.Path()); err != nil || n == 0 || st.Size() >= 64<<20 {
		t.Fatalf("%d rows, %d bytes, %v", n, st.Size(), err)
	}
	whole(t, b, n)
	if err := b.Scarce(); !errors.Is(err, ErrDiskFull) {
		t.Errorf("Scarce: %v", err)
	}
	limit(0)
	soon(b)
	grown(t, b, n)

	// Unforeseen: the limit comes down beneath a store that has just looked.
	b = mustOpen(t, filepath.Join(t.TempDir(), "tenant.db"), Options{Reserve: 4 << 20})
	n = 3
	for i := range n {
		row(t, b, i)
	}
	st, err := os.Stat(b.Path())
	if err != nil {
		t.Fatal(err)
	}
	limit(uint64(st.Size()))
	n = fillUp(t, b, n)
	whole(t, b, n)
	limit(0)
	soon(b)
	grown(t, b, n)
}

// soon makes the store look at the disk again as if time had passed.
func soon(b *Bolt) {
	b.spaceMu.Lock()
	b.spaceT = b.spaceT.Add(-1 << 40)
	b.spaceMu.Unlock()
}

func rowKey(i int) []byte { return fmt.Appendf(nil, "row-%06d", i) }

const rowBytes = 300 << 10

// row writes row i, of 300 KB.
func row(t *testing.T, b *Bolt, i int) {
	t.Helper()
	if err := b.Update(func(w Writer) error { return w.Put(Records, rowKey(i), make([]byte, rowBytes)) }); err != nil {
		t.Fatal(err)
	}
}

// fillUp writes rows from i on until there is no space, looking at the disk no
// more than it would by itself, and returns how many there are.
func fillUp(t *testing.T, b *Bolt, i int) int {
	t.Helper()
	for ; i < 1000; i++ {
		err := b.Update(func(w Writer) error { return w.Put(Records, rowKey(i), make([]byte, rowBytes)) })
		if errors.Is(err, ErrDiskFull) {
			return i
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Fatal("the disk never was full")
	return 0
}

// whole checks that the store is sound and has n rows.
func whole(t *testing.T, b *Bolt, n int) {
	t.Helper()
	if err := b.Check(); err != nil {
		t.Error(err)
	}
	have := 0
	err := b.view(func(r Reader) error {
		r.Scan(Records, nil, func(k, v []byte) bool {
			if string(k) != string(rowKey(have)) || len(v) != rowBytes {
				t.Errorf("row %d: %s, %d bytes", have, k, len(v))
			}
			have++
			return true
		})
		return nil
	})
	if err != nil || have != n {
		t.Errorf("%d rows, want %d, %v", have, n, err)
	}
}

// grown checks that rows can be written again, and that they are there when
// the store is opened anew.
func grown(t *testing.T, b *Bolt, n int) {
	t.Helper()
	for i := range 5 {
		row(t, b, n+i)
	}
	whole(t, b, n+5)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	whole(t, mustOpen(t, b.Path(), Options{}), n+5)
}
