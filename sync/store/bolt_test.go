package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"satchel/internal/fault"
	"satchel/sync/bits"
)

func mustOpen(t testing.TB, path string, opts Options) *Bolt {
	t.Helper()
	b, err := OpenBolt(path, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func put(t testing.TB, e Engine, b Bucket, k, v string) {
	t.Helper()
	if err := e.Update(func(w Writer) error { return w.Put(b, []byte(k), []byte(v)) }); err != nil {
		t.Fatal(err)
	}
}

func get(t testing.TB, e Engine, b Bucket, k string) string {
	t.Helper()
	s, err := e.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	return string(s.Get(b, []byte(k)))
}

// fill writes enough that the store has branch pages, free pages and values
// over several pages.
func fill(t testing.TB, e Engine) {
	t.Helper()
	for round := range 3 {
		err := e.Update(func(w Writer) error {
			for i := range 2000 {
				k := binary.BigEndian.AppendUint32(nil, uint32(i))
				if err := w.Put(Records, k, bytes.Repeat([]byte{byte(i + round)}, 100)); err != nil {
					return err
				}
				if round == 2 && i%3 == 0 {
					if err := w.Delete(Records, k); err != nil {
						return err
					}
				}
			}
			return w.Put(Index, []byte("large"), bytes.Repeat([]byte("x"), 20_000))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestStableNumbers(t *testing.T) {
	want := "1meta 2log 3records 4ids 5index 6changes 7devices 8held 9results 10quarantine 11sessions 12due " +
		"13ordinals 14classes 15names 16outbox 17keys 18credentials 19audit 20files"
	var got []string
	for _, b := range Buckets() {
		got = append(got, fmt.Sprintf("%d%s", uint8(b), b))
	}
	if s := strings.Join(got, " "); s != want {
		t.Errorf("the numbers stand in files and must stay:\n got %s\nwant %s", s, want)
	}
	if Bucket(0).Valid() || Bucket(21).Valid() {
		t.Error("a number without a bucket is valid")
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	whole := filepath.Join(dir, "whole.db")
	b := mustOpen(t, whole, Options{})
	fill(t, b)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	used := pagesOf(t, whole)
	foreign := filepath.Join(dir, "foreign.db")
	db, err := bolt.Open(foreign, 0o600, &bolt.Options{PageSize: pageSize})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	foreignBytes, err := os.ReadFile(foreign)
	if err != nil {
		t.Fatal(err)
	}
	edit := func(fn func(b []byte)) []byte {
		c := bytes.Clone(good)
		fn(c)
		return c
	}
	for name, c := range map[string]struct {
		content []byte
		want    string
	}{
		"empty":     {nil, "empty"},
		"short":     {good[:100], "cut short"},
		"three":     {good[:3*pageSize], "cut short"},
		"half":      {good[:used/2*pageSize], "cut short"},
		"text":      {bytes.Repeat([]byte("not a store at all\n"), 2000), "not a bbolt file"},
		"zeros":     {make([]byte, 1<<16), "not a bbolt file"},
		"foreign":   {foreignBytes, "not a Satchel store"},
		"bothMetas": {edit(func(b []byte) { b[40] ^= 1; b[pageSize+40] ^= 1 }), "checksum"},
		"noTree":    {edit(func(b []byte) { clear(b[2*pageSize:]) }), "damaged"},
		"noMetaBucket": {edit(func(b []byte) { // the buckets' own pages, so that opening gets that far
			for i := 4; i < used; i++ {
				b[i*pageSize+8] = 0x40
			}
		}), "damaged"},
		"wildTree": {edit(func(b []byte) {
			rand.NewChaCha8([32]byte{1}).Read(b[2*pageSize:])
		}), "damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "tenant.db")
			if err := os.WriteFile(path, c.content, 0o600); err != nil {
				t.Fatal(err)
			}
			b, err := OpenBolt(path, Options{})
			if err == nil {
				b.Close()
				t.Fatal("it was opened")
			}
			if !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("error %q does not name the file or say %q", err, c.want)
			}
			// Nothing of the attempt stays behind: a good file opens at once.
			if err := os.WriteFile(path, good, 0o600); err != nil {
				t.Fatal(err)
			}
			mustOpen(t, path, Options{Timeout: time.Millisecond})
		})
	}
	if _, err := OpenBolt(dir, Options{}); err == nil || !strings.Contains(err.Error(), "folder") {
		t.Errorf("a folder: %v", err)
	}
	if _, err := OpenBolt(filepath.Join(dir, "none", "tenant.db"), Options{}); err == nil {
		t.Error("a folder that is not there was no error")
	}
}

// pagesOf returns how many pages of the file are in use; the file may be longer.
func pagesOf(t *testing.T, path string) int {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := latestMeta(f)
	if err != nil {
		t.Fatal(err)
	}
	return int(m.pages)
}

func TestOneHeadPageIsEnough(t *testing.T) {
	for page := range 2 {
		path := filepath.Join(t.TempDir(), "tenant.db")
		b := mustOpen(t, path, Options{})
		put(t, b, Records, "k", "v")
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		clear(content[page*pageSize : (page+1)*pageSize])
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		mustOpen(t, path, Options{}) // the newer or the one before
	}
}

func TestInUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tenant.db")
	mustOpen(t, path, Options{})
	_, err := OpenBolt(path, Options{Timeout: 20 * time.Millisecond})
	if err == nil || !strings.Contains(err.Error(), "in use") || !strings.Contains(err.Error(), path) {
		t.Errorf("second open: %v", err)
	}
}

func TestNewStoreLeavesNothingBeside(t *testing.T) {
	dir := t.TempDir()
	mustOpen(t, filepath.Join(dir, "tenant.db"), Options{})
	es, err := os.ReadDir(dir)
	if err != nil || len(es) != 1 {
		t.Errorf("%v, %v", es, err)
	}
	// A store that another process made first is left alone.
	b2 := filepath.Join(dir, "other.db")
	if err := os.WriteFile(b2, []byte("theirs"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := create(b2, Options{}, Format); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(b2); string(got) != "theirs" {
		t.Error("an existing file was replaced")
	}
}

func TestMigrations(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tenant.db")
	b, err := openBolt(path, Options{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	put(t, b, Names, "k", "one")
	reopen := func(table []migration) (*Bolt, error) {
		b, err := openBolt(path, Options{}, table)
		if err == nil {
			t.Cleanup(func() { _ = b.Close() })
		}
		return b, err
	}
	closeAll := func(b *Bolt) {
		t.Helper()
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
	closeAll(b)

	to := func(f uint64, v string) migration {
		return migration{
			to: f, name: "to " + v,
			run: func(w Writer) error { return w.Put(Names, []byte("k"), []byte(v)) },
			verify: func(r Reader) error {
				if string(r.Get(Names, []byte("k"))) != v {
					return errors.New("not as expected")
				}
				return nil
			},
		}
	}
	table := []migration{to(2, "two"), to(3, "three")}
	table[1].verify = func(Reader) error { return errors.New("unfit") }
	if _, err := reopen(table); err == nil || !strings.Contains(err.Error(), "unfit") || !strings.Contains(err.Error(), "format 3") {
		t.Fatalf("a migration that does not verify: %v", err)
	}
	b, err = reopen(table[:1]) // the step before was kept, the failed one not
	if err != nil {
		t.Fatal(err)
	}
	if v := get(t, b, Names, "k"); v != "two" {
		t.Errorf("after the failed migration: %q", v)
	}
	closeAll(b)
	table[1] = to(3, "three")
	if b, err = reopen(table); err != nil {
		t.Fatal(err)
	}
	if v := get(t, b, Names, "k"); v != "three" {
		t.Errorf("after both migrations: %q", v)
	}
	closeAll(b)
	for f := uint64(4); f <= Format+1; f++ {
		table = append(table, to(f, fmt.Sprint(f)))
	}
	if b, err = reopen(table); err != nil {
		t.Fatal(err)
	}
	closeAll(b)
	if _, err := OpenBolt(path, Options{}); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), fmt.Sprintf("format %d", Format+1)) {
		t.Errorf("a newer format: %v", err)
	}
	if uint64(1+len(migrations)) != Format {
		t.Errorf("%d migrations do not lead to format %d", len(migrations), Format)
	}
}

func TestCommitErrorIsSticky(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tenant.db")
	b := mustOpen(t, path, Options{NoSync: true})
	put(t, b, Records, "k", "old")
	// A full disk in the middle of a commit: the file may not grow.
	b.db.MaxSize = 1
	write := func(w Writer) error { return w.Put(Records, []byte("k"), make([]byte, 32<<20)) }
	if err := b.Update(write); !errors.Is(err, ErrUnknown) {
		t.Fatalf("update: %v", err)
	}
	called := false
	if err := b.Update(func(Writer) error { called = true; return nil }); !errors.Is(err, ErrUnknown) || called {
		t.Errorf("second update: %v, called %v", err, called)
	}
	if _, err := b.Snapshot(); !errors.Is(err, ErrUnknown) {
		t.Errorf("snapshot: %v", err)
	}
	if err := b.Check(); !errors.Is(err, ErrUnknown) {
		t.Errorf("check: %v", err)
	}
	_ = b.Close()
	if v := get(t, mustOpen(t, path, Options{}), Records, "k"); v != "old" {
		t.Errorf("reopened: %q", v)
	}
}

// TestCommitPanics: a commit that panics inside bbolt stops the store, and
// leaves no lock behind that Close would wait for.
func TestCommitPanics(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tenant.db")
	b := mustOpen(t, path, Options{NoSync: true})
	put(t, b, Records, "k", "old")
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := latestMeta(f)
	if err != nil {
		t.Fatal(err)
	}
	// bbolt refuses to free a page that says it is page 0.
	if _, err := f.WriteAt(make([]byte, 8), int64(m.freelist)*pageSize); err != nil {
		t.Fatal(err)
	}
	if err := b.Update(func(w Writer) error { return w.Put(Records, []byte("k"), []byte("new")) }); !errors.Is(err, ErrUnknown) {
		t.Fatalf("update: %v", err)
	}
	closed := make(chan error, 1)
	go func() { closed <- b.Close() }()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("Close waits for ever")
	}
	if _, err := OpenBolt(path, Options{}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("reopened: %v", err)
	}
}

// TestScarce: what can wait is told to before what can't.
func TestScarce(t *testing.T) {
	var free uint64
	b := mustOpen(t, filepath.Join(t.TempDir(), "tenant.db"), Options{
		Reserve: 4 << 20,
		Free:    func(string) (uint64, error) { return free, nil },
	})
	for _, c := range []struct {
		free           uint64
		scarce, refuse bool
	}{
		{4 << 20, false, false},
		{4<<20 - 1, true, false},
		{1 << 20, true, false},
		{1<<20 - 1, true, true},
		{0, true, true},
		{1 << 30, false, false},
	} {
		free = c.free
		b.spaceT = time.Time{}
		if err := b.Scarce(); errors.Is(err, ErrDiskFull) != c.scarce {
			t.Errorf("%d bytes: Scarce %v", c.free, err)
		}
		if err := b.Update(func(Writer) error { return nil }); errors.Is(err, ErrDiskFull) != c.refuse {
			t.Errorf("%d bytes: Update %v", c.free, err)
		}
	}
}

func TestDiskFull(t *testing.T) {
	free, asked := uint64(1<<40), 0
	b := mustOpen(t, filepath.Join(t.TempDir(), "tenant.db"), Options{
		MinFree: 1 << 20,
		Free:    func(string) (uint64, error) { asked++; return free, nil },
	})
	for range 20 {
		put(t, b, Records, "k", "v")
	}
	if asked > 3 {
		t.Errorf("asked %d times in a moment", asked)
	}
	free = 1<<20 - 1
	b.spaceT = time.Time{} // as if time had passed
	called := false
	err := b.Update(func(Writer) error { called = true; return nil })
	if !errors.Is(err, ErrDiskFull) || !fault.Is(err, fault.DiskFull) || called {
		t.Errorf("update: %v, called %v", err, called)
	}
	if get(t, b, Records, "k") != "v" {
		t.Error("reading stopped")
	}
	free = 1 << 20
	b.spaceT = time.Time{}
	put(t, b, Records, "k", "w")
	b.opts.Free = func(string) (uint64, error) { return 0, errors.ErrUnsupported }
	b.spaceT = time.Time{}
	put(t, b, Records, "k", "x")
}

func TestFree(t *testing.T) {
	if n, err := Free(t.TempDir()); err != nil || n == 0 {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := Free(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("no error for a folder that is not there")
	}
}

func TestBackup(t *testing.T) {
	b := mustOpen(t, filepath.Join(t.TempDir(), "tenant.db"), Options{})
	fill(t, b)
	put(t, b, Names, "k", "v")
	var w bytes.Buffer
	n, err := b.Backup(&w)
	if err != nil || n != int64(w.Len()) {
		t.Fatalf("%d of %d bytes, %v", n, w.Len(), err)
	}
	put(t, b, Names, "k", "later")
	path := filepath.Join(t.TempDir(), "copy.db")
	if err := os.WriteFile(path, w.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	c := mustOpen(t, path, Options{})
	if err := c.Check(); err != nil {
		t.Error(err)
	}
	if v := get(t, c, Names, "k"); v != "v" {
		t.Errorf("the copy has %q", v)
	}
}

// TestUnseal: a backup that is not to the bit what was written is refused, and
// what was never sealed is taken as it is.
func TestUnseal(t *testing.T) {
	dir := t.TempDir()
	b := mustOpen(t, filepath.Join(dir, "tenant.db"), Options{})
	fill(t, b)
	var w bytes.Buffer
	if _, err := b.Backup(&w); err != nil {
		t.Fatal(err)
	}
	whole := w.Bytes()
	path := filepath.Join(dir, "copy.db")
	unseal := func(content []byte) (bool, error) {
		t.Helper()
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return Unseal(path)
	}
	if sealed, err := unseal(whole); err != nil || !sealed {
		t.Errorf("sealed %v, %v", sealed, err)
	}
	if st, err := os.Stat(path); err != nil || st.Size() != int64(len(whole)-sealLength) {
		t.Errorf("%d bytes left of %d, %v", st.Size(), len(whole), err)
	}
	if sealed, err := Unseal(path); err != nil || sealed {
		t.Errorf("again: sealed %v, %v", sealed, err)
	}
	if err := mustOpen(t, path, Options{}).Close(); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	own, err := os.ReadFile(b.Path())
	if err != nil {
		t.Fatal(err)
	}
	if sealed, err := unseal(own); err != nil || sealed {
		t.Errorf("a store's own file: sealed %v, %v", sealed, err)
	}
	for _, at := range []int{100, 3*pageSize + 99, len(whole) / 2, len(whole) - sealLength - 1, len(whole) - sealLength, len(whole) - 40, len(whole) - 1} {
		turned := bytes.Clone(whole)
		turned[at] ^= 0x10
		if _, err := unseal(turned); !errors.Is(err, ErrCorrupt) {
			t.Errorf("a bit of byte %d of %d turned over: %v", at, len(whole), err)
		}
	}
	for _, length := range []int{0, 1, pageSize, len(whole) / 2, len(whole) - sealLength - 1, len(whole) - 1} {
		if _, err := unseal(whole[:length]); !errors.Is(err, ErrCorrupt) {
			t.Errorf("cut to %d of %d bytes: %v", length, len(whole), err)
		}
	}
	if _, err := unseal(append(bytes.Clone(whole), 0)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a byte too many: %v", err)
	}
	if _, err := unseal([]byte(strings.Repeat("not a store", 10_000))); !errors.Is(err, ErrCorrupt) {
		t.Errorf("something else: %v", err)
	}
	if _, err := Unseal(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("nothing: %v", err)
	}
}

func TestCompact(t *testing.T) {
	dir := t.TempDir()
	src, dst := filepath.Join(dir, "a.db"), filepath.Join(dir, "b.db")
	b := mustOpen(t, src, Options{})
	fill(t, b)
	if err := Compact(src, dst, nil); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a store in use: %v", err)
	}
	before := dump(t, b)
	size, _ := b.Size()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	var last, total int64 = -1, 0
	err := Compact(src, dst, func(done, of int64) {
		if done < last {
			t.Errorf("progress went back from %d to %d", last, done)
		}
		last, total = done, of
	})
	if err != nil || last != total || total < 1333 {
		t.Fatalf("%d of %d rows, %v", last, total, err)
	}
	c := mustOpen(t, dst, Options{})
	if after := dump(t, c); after != before {
		t.Error("the rows differ")
	}
	if err := c.Check(); err != nil {
		t.Error(err)
	}
	if n, _ := c.Size(); n >= size {
		t.Errorf("%d bytes became %d", size, n)
	}
	if err := Compact(src, dst, nil); !errors.Is(err, os.ErrExist) {
		t.Errorf("onto an existing file: %v", err)
	}
	es, _ := os.ReadDir(dir)
	if len(es) != 2 {
		t.Errorf("left behind: %v", es)
	}
	if err := Compact(filepath.Join(dir, "none.db"), filepath.Join(dir, "c.db"), nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no source: %v", err)
	}
}

func dump(t testing.TB, e Engine) string {
	t.Helper()
	s, err := e.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var out strings.Builder
	for _, b := range Buckets() {
		s.Scan(b, nil, func(k, v []byte) bool {
			fmt.Fprintf(&out, "%s %x %x\n", b, k, v)
			return true
		})
	}
	return out.String()
}

// TestCheckFindsDamage flips bytes all over a file: neither the walk over the
// pages nor opening may panic, and damage to the structure is found.
func TestCheckFindsDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tenant.db")
	b := mustOpen(t, path, Options{})
	fill(t, b)
	if err := b.Check(); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	rnd, used := rand.New(rand.NewPCG(1, 2)), pagesOf(t, path)
	const flips = 200
	found := 0
	for range flips {
		bad := bytes.Clone(good)
		// Within the heads of pages, where it hurts.
		at := (2+rnd.IntN(used-2))*pageSize + rnd.IntN(200)
		bad[at] ^= byte(1 + rnd.IntN(255))
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := checkPages(path); err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("byte %d: %v", at, err)
			}
			found++
			continue // opening it is tested above
		}
		c, err := OpenBolt(path, Options{NoSync: true, InitialMmapSize: 1 << 20})
		if err != nil {
			continue
		}
		_ = c.Check()
		_ = c.Close()
	}
	if found < flips/5 { // the others lie in free pages and values
		t.Errorf("only %d of %d flips were found", found, flips)
	}
}

// A snapshot that stays open does not keep the file from growing.
func TestGrowsBesideASnapshot(t *testing.T) {
	b := mustOpen(t, filepath.Join(t.TempDir(), "tenant.db"), Options{NoSync: true})
	s, err := b.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	done := make(chan error, 1)
	go func() {
		done <- b.Update(func(w Writer) error { return w.Put(Index, []byte("k"), make([]byte, 40<<20)) })
	}()
	select {
	case err := <-done:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the update waits for the snapshot")
	}
}

func TestSequentialBucketsAreDense(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tenant.db")
	b := mustOpen(t, path, Options{NoSync: true})
	for i := range 200 {
		err := b.Update(func(w Writer) error {
			for j := range 50 {
				if err := w.Put(Log, binary.BigEndian.AppendUint64(nil, uint64(i*50+j)), make([]byte, 300)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	err := b.db.View(func(tx *bolt.Tx) error {
		s := tx.Bucket(bucketName(Log)).Stats()
		if use := float64(s.LeafInuse) / float64(s.LeafAlloc); use < 0.8 {
			t.Errorf("leaf pages are %.0f%% full", 100*use)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestMemHooks(t *testing.T) {
	m := NewMem()
	put(t, m, Records, "k", "1")
	no := errors.New("no")
	m.FailCommit = func() error { return no }
	write := func(w Writer) error { return w.Put(Records, []byte("k"), []byte("2")) }
	if err := m.Update(write); !errors.Is(err, ErrUnknown) || !errors.Is(err, no) {
		t.Fatalf("failed commit: %v", err)
	}
	if _, err := m.Snapshot(); !errors.Is(err, ErrUnknown) {
		t.Errorf("snapshot after it: %v", err)
	}
	c := m.Clone()
	if v := get(t, c, Records, "k"); v != "1" {
		t.Errorf("after a failed commit: %q", v)
	}
	c.LoseCommit = func() error { return no }
	if err := c.Update(write); !errors.Is(err, ErrUnknown) {
		t.Fatalf("lost commit: %v", err)
	}
	if v := get(t, c.Clone(), Records, "k"); v != "2" {
		t.Errorf("after a lost commit: %q", v)
	}
}

func TestMemCloneIsApart(t *testing.T) {
	m := NewMem()
	for i := range 1000 {
		put(t, m, Records, fmt.Sprint(i), "m")
	}
	c := m.Clone()
	before := dump(t, m)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 1000 {
			_ = c.Update(func(w Writer) error { return w.Put(Records, []byte(fmt.Sprint(i)), []byte("c")) })
		}
	}()
	for i := range 1000 {
		put(t, m, Names, fmt.Sprint(i), "m")
		_ = m.Update(func(w Writer) error { return w.Delete(Names, []byte(fmt.Sprint(i))) })
	}
	<-done
	if dump(t, m) != before {
		t.Error("a clone's writes show in the original")
	}
}

func sizeOf(t testing.TB, e Engine) int64 {
	t.Helper()
	n, err := e.Size()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestMemSize(t *testing.T) {
	m := NewMem()
	empty := sizeOf(t, m)
	put(t, m, Records, "key", "value")
	put(t, m, Records, "key", "val")
	if n := sizeOf(t, m); n != empty+6 {
		t.Errorf("%d bytes more, want 6", n-empty)
	}
	if err := m.Update(func(w Writer) error { return w.Delete(Records, []byte("key")) }); err != nil {
		t.Fatal(err)
	}
	if n := sizeOf(t, m); n != empty {
		t.Errorf("%d bytes more after the delete", n-empty)
	}
}

func TestStagePanics(t *testing.T) {
	s := NewStage(&memSnapshot{&memState{}})
	for name, fn := range map[string]func(){
		"empty key":        func() { s.Put(Records, nil, nil) },
		"format":           func() { s.Delete(Meta, []byte(formatKey)) },
		"no bucket":        func() { s.Put(0, []byte("k"), nil) },
		"read no bucket":   func() { s.Get(77, []byte("k")) },
		"rollback forward": func() { s.Rollback(s.Mark() + 1) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			fn()
		}()
	}
	if s.Len() != 0 {
		t.Errorf("%d rows were staged", s.Len())
	}
}

func BenchmarkStagedCommit(b *testing.B) {
	for _, rows := range []int{10, 640} {
		b.Run(fmt.Sprintf("rows=%d", rows), func(b *testing.B) {
			e := mustOpen(b, filepath.Join(b.TempDir(), "tenant.db"), Options{})
			rnd := rand.New(rand.NewPCG(1, 2))
			v := make([]byte, 300)
			for b.Loop() {
				err := e.Update(func(w Writer) error {
					s := NewStage(w)
					for range rows {
						s.Put(Records, binary.BigEndian.AppendUint32(nil, rnd.Uint32N(100_000)), v)
					}
					return s.Flush(w)
				})
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestFormat1 opens a file from before there was an audit trail.
func TestFormat1(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tenant.db")
	b, err := openBolt(path, Options{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	put(t, b, Records, "k", "kept")
	if err := b.db.Update(func(tx *bolt.Tx) error { return tx.DeleteBucket(bucketName(Audit)) }); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b = mustOpen(t, path, Options{})
	put(t, b, Audit, "k", "row")
	if get(t, b, Records, "k") != "kept" || get(t, b, Audit, "k") != "row" {
		t.Error("the rows are not there")
	}
	if err := b.Check(); err != nil {
		t.Error(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := openBolt(path, Options{}, nil); !errors.Is(err, ErrFormat) {
		t.Errorf("a program that knows no audit trail opens the file: %v", err)
	}
}

// TestChangesByEntry: the change index of a store of format 4 says the same
// afterwards.
func TestChangesByEntry(t *testing.T) {
	path := filepath.Join(t.TempDir(), "t.db")
	old, err := openBolt(path, Options{}, migrations[:3])
	if err != nil {
		t.Fatal(err)
	}
	want := map[uint64][]uint32{3: {1, 2, 70_000}, 4: {9}, 900: {3, 5}}
	if err := old.Update(func(w Writer) error {
		for pos, ords := range want {
			for _, o := range ords {
				if err := w.Put(Changes, binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(nil, pos), o), nil); err != nil {
					return err
				}
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := OpenBolt(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	got := map[uint64][]uint32{}
	if err := b.view(func(r Reader) error {
		r.Scan(Changes, nil, func(k, v []byte) bool {
			pos, n := binary.Uvarint(v)
			set, err := bits.Parse(v[n:])
			if err != nil || len(k) != 8 || pos != binary.BigEndian.Uint64(k) {
				t.Errorf("row %x: %x, %v", k, v, err)
			}
			got[pos] = set.Slice()
			return true
		})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v, was %v", got, want)
	}
}
