package store

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// content renders all rows of a store.
func content(t *testing.T, e Engine) []byte {
	t.Helper()
	s, err := e.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var b bytes.Buffer
	for _, bk := range Buckets() {
		s.Scan(bk, nil, func(k, v []byte) bool {
			fmt.Fprintf(&b, "%s %q %q\n", bk, k, v)
			return true
		})
	}
	return b.Bytes()
}

// TestTornCommits cuts commits short at random sectors: what is opened
// afterwards is the state before or the one after, and whole.
func TestTornCommits(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "tenant.db")
	small := Options{NoSync: true, InitialMmapSize: 1 << 20}
	e := mustOpen(t, path, small)
	rng := rand.New(rand.NewPCG(1, 2))
	seen := map[bool]int{}
	for round := range 12 {
		old := content(t, e)
		before, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		err = e.Update(func(w Writer) error {
			for range 1 + rng.IntN(40) {
				k := []byte(fmt.Sprintf("row-%d", rng.IntN(300)))
				if err := w.Put(Bucket(1+rng.IntN(int(maxBucket))), k, bytes.Repeat([]byte{byte(round)}, rng.IntN(3000))); err != nil {
					return err
				}
			}
			return w.Delete(Index, []byte("row-1"))
		})
		if err != nil {
			t.Fatal(err)
		}
		after, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		fresh := content(t, e)
		for cut := range 12 {
			torn := filepath.Join(dir, fmt.Sprintf("torn-%d-%d.db", round, cut))
			if err := os.WriteFile(torn, Torn(before, after, rng.IntN), 0o600); err != nil {
				t.Fatal(err)
			}
			x, err := OpenBolt(torn, small)
			if err != nil {
				t.Fatalf("round %d, cut %d: %v", round, cut, err)
			}
			got := content(t, x)
			if !bytes.Equal(got, old) && !bytes.Equal(got, fresh) {
				t.Fatalf("round %d, cut %d: neither the state before nor the one after", round, cut)
			}
			seen[bytes.Equal(got, fresh)]++
			if err := x.Check(); err != nil {
				t.Fatalf("round %d, cut %d: %v", round, cut, err)
			}
			if err := errors.Join(x.Close(), os.Remove(torn)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if seen[true] < 10 || seen[false] < 10 {
		t.Errorf("of the cuts %d kept the commit and %d lost it: too few of one kind", seen[true], seen[false])
	}
}

// TestTornSeesAMix makes sure that a store which is written without regard to
// the order of a commit would be noticed.
func TestTornSeesAMix(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "tenant.db")
	e := mustOpen(t, path, Options{NoSync: true})
	fill(t, e)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	put(t, e, Records, "row", "after")
	after, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// The head page without the pages that it leads to.
	mixed := bytes.Clone(before)
	mixed = append(mixed, make([]byte, len(after)-len(before))...)
	copy(mixed, after[:2*pageSize])
	if err := os.WriteFile(filepath.Join(dir, "mixed.db"), mixed, 0o600); err != nil {
		t.Fatal(err)
	}
	x, err := OpenBolt(filepath.Join(dir, "mixed.db"), Options{NoSync: true})
	if err == nil {
		err = x.Check()
		_ = x.Close()
	}
	if err == nil {
		t.Error("a head page before its pages went unnoticed")
	}
}

func TestMemFaultPoints(t *testing.T) {
	m := NewMem()
	put(t, m, Records, "a", "1")
	m.Refuse = func() error { return ErrDiskFull }
	ran := false
	if err := m.Update(func(Writer) error { ran = true; return nil }); err != ErrDiskFull || ran {
		t.Errorf("a full disk: %v, ran %v", err, ran)
	}
	m.Refuse = nil
	n := 0
	m.FailWrite = func() error {
		if n++; n == 2 {
			return ErrCorrupt
		}
		return nil
	}
	err := m.Update(func(w Writer) error {
		if err := w.Put(Records, []byte("a"), []byte("2")); err != nil {
			return err
		}
		return w.Delete(Records, []byte("a"))
	})
	if err != ErrCorrupt {
		t.Errorf("the second write: %v", err)
	}
	m.FailWrite = nil
	if got := get(t, m, Records, "a"); got != "1" {
		t.Errorf("after a write that failed the row has %q", got)
	}
	put(t, m, Records, "a", "3")
	if got := get(t, m.Clone(), Records, "a"); got != "3" {
		t.Errorf("the clone has %q", got)
	}
}
