package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// never keeps a journal from being folded but where the test asks for it.
var never = Options{FoldAfter: time.Hour, FoldBytes: 1 << 30, InitialMmapSize: 1 << 20}

// files are the bytes of a store's file and of its segments, nil where there is
// none.
type files [3][]byte

func filesOf(t *testing.T, path string) (f files) {
	t.Helper()
	for i, p := range append([]string{path}, SegmentPaths(path)...) {
		b, err := os.ReadFile(p)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		f[i] = b
	}
	return f
}

func (f files) write(t *testing.T, path string) {
	t.Helper()
	for i, p := range append([]string{path}, SegmentPaths(path)...) {
		if f[i] == nil {
			continue
		}
		if err := os.WriteFile(p, f[i], 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// afterCrash opens a copy of a store's files and returns what it has.
func afterCrash(t *testing.T, f files) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tenant.db")
	f.write(t, path)
	b, err := OpenBolt(path, Options{NoSync: true, InitialMmapSize: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer closed(t, b)
	if left := filesOf(t, path); left[1] != nil || left[2] != nil {
		t.Error("segments are left although they were folded")
	}
	if err := b.Check(); err != nil {
		t.Fatal(err)
	}
	return content(t, b)
}

func closed(t *testing.T, b *Bolt) {
	t.Helper()
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

// churn makes a random commit.
func churn(t *testing.T, e Engine, rng *rand.Rand) {
	t.Helper()
	err := e.Update(func(w Writer) error {
		for range 1 + rng.IntN(20) {
			bk := Bucket(2 + rng.IntN(int(maxBucket)-1))
			k := fmt.Appendf(nil, "row-%d", rng.IntN(60))
			if rng.IntN(3) == 0 {
				if err := w.Delete(bk, k); err != nil {
					return err
				}
				continue
			}
			if err := w.Put(bk, k, bytes.Repeat([]byte{byte(rng.Uint32())}, rng.IntN(700))); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestJournalAfterCrash(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	path := filepath.Join(t.TempDir(), "tenant.db")
	b := mustOpen(t, path, never)
	defer closed(t, b)
	both := 0
	for round := range 60 {
		churn(t, b, rng)
		switch rng.IntN(8) {
		case 0:
			if err := b.fold(); err != nil {
				t.Fatal(err)
			}
		case 1: // a fold that has not reached the file
			b.folding.Lock()
			b.write.Lock()
			if b.frozen == nil && b.journal != nil {
				b.freeze()
			}
			b.write.Unlock()
			b.folding.Unlock()
		}
		f := filesOf(t, path)
		if f[1] != nil && f[2] != nil && b.frozen != nil && b.top != nil {
			both++
		}
		if want := content(t, b); !bytes.Equal(afterCrash(t, f), want) {
			t.Fatalf("round %d: what is there after a crash is not what was committed", round)
		}
	}
	if both < 5 {
		t.Errorf("both segments counted %d times only", both)
	}
}

// TestTornJournal cuts appends short at random sectors: what is opened has the
// commit or it does not, and all before it in any case.
func TestTornJournal(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	path := filepath.Join(t.TempDir(), "tenant.db")
	b := mustOpen(t, path, never)
	defer closed(t, b)
	churn(t, b, rng)
	had, lost := 0, 0
	for round := range 40 {
		if rng.IntN(6) == 0 {
			if err := b.fold(); err != nil {
				t.Fatal(err)
			}
		}
		before, old := filesOf(t, path), content(t, b)
		churn(t, b, rng)
		after, fresh := filesOf(t, path), content(t, b)
		for range 6 {
			f := after
			for i := 1; i < 3; i++ {
				f[i] = tornAppend(before[i], after[i], rng)
			}
			switch got := afterCrash(t, f); {
			case bytes.Equal(got, fresh):
				had++
			case bytes.Equal(got, old):
				lost++
			default:
				t.Fatalf("round %d: neither the state before nor the one after", round)
			}
		}
	}
	if had < 20 || lost < 20 {
		t.Errorf("of the cuts %d kept the commit and %d lost it: too few of one kind", had, lost)
	}
}

// tornAppend returns a segment of which some sectors were written, and the
// length maybe.
func tornAppend(before, after []byte, rng *rand.Rand) []byte {
	if bytes.Equal(before, after) {
		return after
	}
	out := make([]byte, len(after))
	copy(out, before)
	share := rng.IntN(5)
	for at := 0; at < len(after); at += sectorSize {
		end := min(at+sectorSize, len(after))
		// The head was synced before the first record was written.
		if share == 4 || rng.IntN(4) < share {
			copy(out[at:end], after[at:end])
		}
	}
	if len(before) < journalHead {
		copy(out, after[:journalHead])
	}
	if len(before) < len(after) && rng.IntN(2) == 0 {
		out = out[:len(before)+rng.IntN(len(after)-len(before)+1)]
	}
	return out
}

// TestTornFold cuts folds short: nothing of them is seen.
func TestTornFold(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	path := filepath.Join(t.TempDir(), "tenant.db")
	b := mustOpen(t, path, never)
	defer closed(t, b)
	for range 15 {
		for range 1 + rng.IntN(5) {
			churn(t, b, rng)
		}
		before := filesOf(t, path)
		if err := b.fold(); err != nil {
			t.Fatal(err)
		}
		after, want := filesOf(t, path), content(t, b)
		for range 6 {
			f := before
			f[0] = Torn(before[0], after[0], rng.IntN)
			if !bytes.Equal(afterCrash(t, f), want) {
				t.Fatal("a fold that was cut short changed what is there")
			}
		}
	}
}

// TestSegmentsUsedAgain goes on in a segment that has longer commits of before
// behind the new ones.
func TestSegmentsUsedAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tenant.db")
	b := mustOpen(t, path, never)
	defer closed(t, b)
	put(t, b, Records, "first", "goes into the file")
	for i := range 12 {
		size := 3000 / (i + 1)
		for n := range 3 {
			put(t, b, Records, fmt.Sprintf("row-%d", n), strings.Repeat(string(rune('a'+i)), size))
		}
		if got, want := afterCrash(t, filesOf(t, path)), content(t, b); !bytes.Equal(got, want) {
			t.Fatalf("turn %d: %d bytes where %d were committed", i, len(got), len(want))
		}
		if err := b.fold(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestJournalOfAnother refuses to take over commits that are not of the file, and
// to lose them unasked.
func TestJournalOfAnother(t *testing.T) {
	dir := t.TempDir()
	open := func(name string) (*Bolt, string) {
		path := filepath.Join(dir, name)
		b := mustOpen(t, path, never)
		put(t, b, Records, "first", name)
		return b, path
	}
	a, pathA := open("a.db")
	b, pathB := open("b.db")
	defer closed(t, a)
	defer closed(t, b)
	early := filesOf(t, pathA)
	put(t, a, Records, "second", "a")
	put(t, b, Records, "second", "b")
	if err := a.fold(); err != nil {
		t.Fatal(err)
	}
	put(t, a, Records, "third", "a")
	put(t, a, Records, "fourth", "a")
	ofA, ofB := filesOf(t, pathA), filesOf(t, pathB)
	for name, f := range map[string]files{
		"another store's":         {ofA[0], ofB[1], ofB[2]},
		"one that lacks commits":  {early[0], nil, ofA[2]},
		"a file that never had":   {filesOf(t, emptyStore(t))[0], ofA[1], ofA[2]},
		"one of no kind":          {ofA[0], []byte("something else that is long enough to be one"), nil},
		"both, one another store": {ofA[0], ofA[1], ofB[1]},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "tenant.db")
			f.write(t, path)
			if b, err := OpenBolt(path, never); err == nil {
				_ = b.Close()
				t.Fatal("opened")
			} else if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			if got := filesOf(t, path); !slices.EqualFunc(got[1:], f[1:], bytes.Equal) {
				t.Error("the segments are not as they were")
			}
			if err := RemoveJournal(path); err != nil {
				t.Fatal(err)
			}
			closed(t, mustOpen(t, path, never))
		})
	}
	// The file that it is of takes it over.
	if got := afterCrash(t, files{early[0], ofA[1], ofA[2]}); !bytes.Equal(got, content(t, a)) {
		t.Error("an older copy of the file with the whole journal is not the whole")
	}
}

func emptyStore(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "tenant.db")
	closed(t, mustOpen(t, path, never))
	return path
}

// TestJournalBeginnings opens what a crash leaves of a journal that was being made.
func TestJournalBeginnings(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tenant.db")
	b := mustOpen(t, path, never)
	defer closed(t, b)
	put(t, b, Records, "first", "a")
	want, f := content(t, b), filesOf(t, path)
	put(t, b, Records, "second", "a")
	whole := filesOf(t, path)[1]
	for name, seg := range map[string][]byte{
		"empty": {}, "a length alone": make([]byte, 4096), "a head cut short": whole[:10], "a head": whole[:journalHead],
		"a length of a record": whole[:journalHead+3], "no sum": whole[:journalHead+8], "a record of 4 GiB": binary.LittleEndian.AppendUint32(slices.Clone(whole[:journalHead]), 1<<32-1),
	} {
		t.Run(name, func(t *testing.T) {
			f[1] = seg
			if !bytes.Equal(afterCrash(t, f), want) {
				t.Error("it has something else than the file")
			}
		})
	}
}

// TestSnapshotsBesideFolds reads while commits are made and folded: each snapshot
// is one commit, forwards and backwards and key by key.
func TestSnapshotsBesideFolds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tenant.db")
	b := mustOpen(t, path, Options{FoldAfter: time.Millisecond, FoldBytes: 4096, InitialMmapSize: 1 << 24})
	defer closed(t, b)
	const rows, commits = 40, 400
	key := func(i int) []byte { return fmt.Appendf(nil, "row-%02d", i) }
	commit := func(n int) {
		err := b.Update(func(w Writer) error {
			for i := range rows {
				// A third of the rows comes and goes.
				if i%3 == 0 && (n+i)%2 == 0 {
					if err := w.Delete(Records, key(i)); err != nil {
						return err
					}
				} else if err := w.Put(Records, key(i), fmt.Appendf(nil, "%d", n)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	commit(0)
	done := make(chan struct{})
	var group sync.WaitGroup
	for range 3 {
		group.Go(func() {
			for seen := -1; ; {
				select {
				case <-done:
					return
				default:
				}
				s, err := b.Snapshot()
				if err != nil {
					t.Error(err)
					return
				}
				n := judge(t, s, rows, key)
				s.Close()
				if n < seen {
					t.Errorf("commit %d after %d", n, seen)
				}
				seen = n
			}
		})
	}
	for n := 1; n <= commits; n++ {
		commit(n)
	}
	close(done)
	group.Wait()
}

// judge returns the commit that a snapshot shows.
func judge(t *testing.T, s Snapshot, rows int, key func(int) []byte) int {
	n := -1
	_, _ = fmt.Sscan(string(s.Get(Records, key(1))), &n)
	want := map[string]string{}
	for i := range rows {
		if i%3 != 0 || (n+i)%2 != 0 {
			want[string(key(i))] = fmt.Sprint(n)
		}
	}
	got := map[string]string{}
	var forth, back []string
	s.Scan(Records, nil, func(k, v []byte) bool {
		forth, got[string(k)] = append(forth, string(k)), string(v)
		return true
	})
	ScanBack(s, Records, nil, func(k, v []byte) bool {
		back = append(back, string(k))
		if string(v) != got[string(k)] {
			t.Errorf("%s is %s backwards and %s forwards", k, v, got[string(k)])
		}
		return true
	})
	slices.Reverse(back)
	if !maps.Equal(got, want) || !slices.IsSorted(forth) || !slices.Equal(forth, back) {
		t.Errorf("commit %d shows %v and, backwards, %v", n, got, back)
	}
	for i := range rows {
		if v, ok := want[string(key(i))]; string(s.Get(Records, key(i))) != v || ok == (s.Get(Records, key(i)) == nil) {
			t.Errorf("commit %d has %q for %s", n, s.Get(Records, key(i)), key(i))
		}
	}
	return n
}

// TestUpdatesWaitForFolds bounds what lies over the file.
func TestUpdatesWaitForFolds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tenant.db")
	opts := never
	opts.FoldBytes = 1000
	b := mustOpen(t, path, opts)
	defer closed(t, b)
	for i := range 500 {
		put(t, b, Records, fmt.Sprintf("row-%d", i), strings.Repeat("x", 300))
		if over := b.over.Load(); over > heavy*1000+400 {
			t.Fatalf("%d bytes lie over the file", over)
		}
	}
}

// TestFoldFails: a fold whose outcome is unknown stops the store, and nothing of
// what was committed is lost.
func TestFoldFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tenant.db")
	b := mustOpen(t, path, never)
	put(t, b, Records, "first", "in the file")
	for i := range 30 {
		put(t, b, Records, fmt.Sprintf("row-%d", i), strings.Repeat("x", 100<<10))
	}
	want := content(t, b)
	b.db.MaxSize = 1
	if err := b.fold(); !errors.Is(err, ErrUnknown) {
		t.Fatal(err)
	}
	if err := b.Update(func(Writer) error { return nil }); !errors.Is(err, ErrUnknown) {
		t.Errorf("update: %v", err)
	}
	closed(t, b)
	b = mustOpen(t, path, never)
	if !bytes.Equal(content(t, b), want) {
		t.Error("something is lost")
	}
	closed(t, b)
}

// TestJournalFails: an append whose outcome is unknown stops the store.
func TestJournalFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tenant.db")
	b := mustOpen(t, path, never)
	put(t, b, Records, "first", "in the file")
	put(t, b, Records, "second", "in the journal")
	want := content(t, b)
	if err := b.journal.close(); err != nil {
		t.Fatal(err)
	}
	b.journal.segs[0].f, _ = os.Open(path) // not for writing
	write := func(w Writer) error { return w.Put(Records, []byte("third"), []byte("nowhere")) }
	if err := b.Update(write); !errors.Is(err, ErrUnknown) {
		t.Fatal(err)
	}
	if _, err := b.Snapshot(); !errors.Is(err, ErrUnknown) {
		t.Errorf("snapshot: %v", err)
	}
	closed(t, b)
	b = mustOpen(t, path, never)
	if !bytes.Equal(content(t, b), want) {
		t.Error("what was committed before is not what is there")
	}
	closed(t, b)
}

// TestJournalDamaged: what a crash leaves at the journal's end is taken for its end,
// and damage before commits that were answered is not.
func TestJournalDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tenant.db")
	b := mustOpen(t, path, never)
	defer closed(t, b)
	put(t, b, Records, "first", "goes into the file")
	var ends []int // of the records in the second segment
	var before []byte
	for turn := range 3 { // the third writes over the first segment's records
		for i := range 4 {
			if turn == 2 {
				seg := &b.journal.segs[b.journal.cur]
				ends, before = append(ends, int(seg.end)), content(t, b)
			}
			put(t, b, Records, fmt.Sprintf("row-%d-%d", turn, i), strings.Repeat(string(rune('a'+turn)), 900-200*turn))
		}
		if turn < 2 {
			if err := b.fold(); err != nil {
				t.Fatal(err)
			}
		}
	}
	cur := 1 + b.journal.cur
	whole := filesOf(t, path)
	for n, from := range ends {
		for _, at := range []int{0, 3, 4, 12, 19, recordHead, recordHead + 100} {
			f := whole
			f[cur] = slices.Clone(f[cur])
			f[cur][from+at] ^= 0x40
			if n == len(ends)-1 {
				if got := afterCrash(t, f); !bytes.Equal(got, before) {
					t.Errorf("damaged at %d: the last commit's damage changed others", at)
				}
				continue
			}
			damaged := filepath.Join(t.TempDir(), "tenant.db")
			f.write(t, damaged)
			if b, err := OpenBolt(damaged, never); err == nil {
				_ = b.Close()
				t.Errorf("damaged at %d of record %d it opens, without commits that were answered", at, n)
			} else if !errors.Is(err, ErrCorrupt) {
				t.Errorf("damaged at %d of record %d: %v", at, n, err)
			}
		}
	}
}

// TestSegmentCannotBeMade: a segment that can't be opened, as by a process with too
// many files, costs the updates that need it and says nothing about the store.
func TestSegmentCannotBeMade(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tenant.db")
	b := mustOpen(t, path, never)
	put(t, b, Records, "first", "in the file")
	want := content(t, b)
	inTheWay := SegmentPaths(path)[0]
	if err := os.Mkdir(inTheWay, 0o700); err != nil {
		t.Fatal(err)
	}
	write := func(w Writer) error { return w.Put(Records, []byte("second"), []byte("in the journal")) }
	if err := b.Update(write); err == nil || errors.Is(err, ErrUnknown) {
		t.Fatalf("an update without a journal: %v", err)
	}
	if got := content(t, b); !bytes.Equal(got, want) {
		t.Error("what was not committed is there")
	}
	if err := os.Remove(inTheWay); err != nil {
		t.Fatal(err)
	}
	if err := b.Update(write); err != nil {
		t.Fatal(err)
	}
	if got := afterCrash(t, filesOf(t, path)); !bytes.Equal(got, content(t, b)) {
		t.Error("what was committed then is not there after a crash")
	}
	closed(t, b)
}
