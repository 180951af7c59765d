package spool_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"satchel/internal/fault"
	"satchel/server/spool"
	"satchel/sync/store"
)

func names(t *testing.T, dir string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	folder, err := spool.Open(dir, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the folder is there before it is needed: %v", err)
	}
	f, err := folder.Create("*.csv", 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"a,b\n", "c,d\n"} {
		if _, err := io.WriteString(f, s); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := f.Rewind(); n != 8 || err != nil {
		t.Errorf("%d %v", n, err)
	}
	if b, err := io.ReadAll(f); string(b) != "a,b\nc,d\n" || err != nil {
		t.Errorf("%q %v", b, err)
	}
	if n := names(t, dir); len(n) != 1 || !strings.HasSuffix(n[0], ".csv") {
		t.Errorf("%v", n)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if n := names(t, dir); len(n) > 0 {
		t.Errorf("left: %v", n)
	}
}

// TestReserve: what would reach into the reserve is refused, before it is begun and
// while it is written.
func TestReserve(t *testing.T) {
	for _, c := range []struct {
		name    string
		reserve uint64
		free    uint64
		known   uint64 // bytes
		ok      bool
	}{
		{"room", 1000, 1500, 500, true},
		{"one byte less", 1000, 1499, 500, false},
		{"less than the reserve", 1000, 999, 0, false},
		{"nothing", 1000, 0, 0, false},
		{"the default", 0, store.DefaultReserve, 0, true},
		{"less than the default", 0, store.DefaultReserve - 1, 0, false},
	} {
		folder, err := spool.Open(t.TempDir(), c.reserve)
		if err != nil {
			t.Fatal(err)
		}
		folder.Free = func(string) (uint64, error) { return c.free, nil }
		f, err := folder.Create("*", c.known)
		if c.ok != (err == nil) || !c.ok && fault.Of(err).Code != fault.DiskFull {
			t.Errorf("%s: %v", c.name, err)
		}
		if err == nil {
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		} else if n := names(t, folder.Dir()); len(n) > 0 {
			t.Errorf("%s: %v", c.name, n)
		}
	}

	folder, err := spool.Open(t.TempDir(), 1000)
	if err != nil {
		t.Fatal(err)
	}
	const total = 64 << 20
	folder.Free = func(dir string) (uint64, error) { // what is written is taken from what is free
		free := uint64(total)
		for _, n := range names(t, dir) {
			st, err := os.Stat(n)
			if err != nil {
				return 0, err
			}
			free -= uint64(st.Size())
		}
		return free, nil
	}
	f, err := folder.Create("*", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // another test's
	piece := bytes.Repeat([]byte("x"), 1<<20)
	written := 0
	for err == nil && written <= total {
		var n int
		n, err = f.Write(piece)
		written += n
	}
	if fault.Of(err).Code != fault.DiskFull || written < total/2 || written > total-1000 {
		t.Errorf("%d bytes of %d, then %v", written, total, err)
	}
}

// TestSwept: what was left is gone once the folder is opened again.
func TestSwept(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "excelize-1"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := spool.Open(dir, 0); err != nil {
		t.Fatal(err)
	}
	if n := names(t, dir); len(n) > 0 {
		t.Errorf("left: %v", n)
	}
}
