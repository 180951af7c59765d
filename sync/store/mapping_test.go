package store

import (
	"bytes"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// large is a value that makes the file outgrow a mapping of its size.
func large(n int) []byte { return bytes.Repeat([]byte{byte(n)}, 1<<19) }

// TestReadersOfAnOutgrownFile: while a fold waits to map more of the file, who reads
// can read the latest commit as well, and what was read stays; the fold is done
// once nobody reads.
func TestReadersOfAnOutgrownFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "t.db")
	b := mustOpen(t, path, Options{InitialMmapSize: 1 << 18, FoldBytes: 1 << 30, FoldAfter: time.Hour})
	write := func(n int) {
		t.Helper()
		if err := b.Update(func(w Writer) error { return w.Put(Records, fmt.Append(nil, "k", n), large(n)) }); err != nil {
			t.Fatal(err)
		}
	}
	has := func(s Snapshot, n int) {
		t.Helper()
		for i := range n + 1 {
			if got := s.Get(Records, fmt.Append(nil, "k", i)); (i < n) != bytes.Equal(got, large(i)) || i == n && got != nil {
				t.Errorf("of %d values number %d has %d bytes", n, i, len(got))
			}
		}
	}
	for n := range 5 {
		write(n)
		early, err := b.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		folded := make(chan error, 1)
		go func() { folded <- b.fold() }()
		waits := func() bool {
			b.layMu.Lock()
			defer b.layMu.Unlock()
			return b.outgrown
		}
		for end := time.Now().Add(time.Minute); !waits() && len(folded) == 0; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("the fold neither waits nor ends")
			}
		}
		write(100 + n)
		late := make(chan Snapshot, 1)
		go func() {
			s, err := b.Snapshot()
			if err != nil {
				t.Error(err)
			}
			late <- s
		}()
		select {
		case s := <-late:
			has(s, n+1)
			if s.Get(Records, fmt.Append(nil, "k", 100+n)) == nil {
				t.Error("the latest commit is not read")
			}
			s.Close()
		case <-time.After(time.Minute):
			t.Fatal("a reader waits for a fold that waits for readers")
		}
		has(early, n+1)
		early.Close()
		if err := <-folded; err != nil {
			t.Fatal(err)
		}
	}
	if b.mapped < 5<<19 {
		t.Errorf("%d bytes are mapped", b.mapped)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := mustOpen(t, path, Options{}).Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	has(s, 5)
}

// TestOutgrowingUnderLoad: readers that have one snapshot and want another, and
// writers, all get on while the file outgrows its mapping again and again.
func TestOutgrowingUnderLoad(t *testing.T) {
	b := mustOpen(t, filepath.Join(t.TempDir(), "t.db"), Options{InitialMmapSize: 1 << 15, FoldBytes: 1 << 14, FoldAfter: time.Millisecond})
	put(t, b, Records, "first", "") // goes into the file itself
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				one, err := b.Snapshot()
				if err != nil {
					t.Error(err)
					return
				}
				two, err := b.Snapshot()
				if err != nil {
					t.Error(err)
					return
				}
				if len(two.Get(Meta, []byte("n"))) < len(one.Get(Meta, []byte("n"))) {
					t.Error("the later snapshot is the older")
				}
				two.Close()
				one.Close()
			}
		})
	}
	written := make(chan error, 1)
	go func() {
		for n := range 100 {
			err := b.Update(func(w Writer) error {
				if err := w.Put(Meta, []byte("n"), make([]byte, n)); err != nil {
					return err
				}
				return w.Put(Records, fmt.Append(nil, "k", n), make([]byte, 1<<13))
			})
			if err != nil {
				written <- err
				return
			}
		}
		written <- nil
	}()
	select {
	case err := <-written:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(2 * time.Minute):
		t.Fatal("writers and readers wait for each other")
	}
	close(done)
	readers.Wait()
}

func TestMapSize(t *testing.T) {
	for n, want := range map[int]int{0: 1 << 15, 1 << 15: 1 << 15, 1<<15 + 1: 1 << 16, 1 << 30: 1 << 30, 1<<30 + 1: 2 << 30, 4 << 30: 4 << 30, 4<<30 + 1: 5 << 30} {
		if got := mapSize(n); got != want {
			t.Errorf("%d bytes: %d, want %d", n, got, want)
		}
	}
}
