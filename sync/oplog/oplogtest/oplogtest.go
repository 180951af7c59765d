// Package oplogtest is what every [oplog.Log] must pass. Only tests import it.
package oplogtest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"satchel/internal/ident"
	"satchel/sync/oplog"
	"satchel/sync/store"
)

// Node is one machine with its durable state, on which a log is opened, lost in
// a crash, and opened again.
type Node interface {
	// Open opens the log over the node's engine, opening that first if it is
	// not open.
	Open(f oplog.Folder, opts oplog.Options) (oplog.Log, error)
	// Engine returns the engine of the log, for looking at the folded state.
	Engine() store.Engine
	// Crash drops log and engine without a word; what is durable stays.
	Crash()
	// FailCommit makes the next commit fail; kept says whether it takes hold
	// all the same.
	FailCommit(kept bool)
	// Close ends the node.
	Close()
}

// TB is what the suite needs of testing.TB and rapid.T alike.
type TB interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Run runs the suite on nodes that open makes, each new and empty.
func Run(t *testing.T, open func(t TB) Node) {
	for name, fn := range map[string]func(*testing.T, Node){
		"Order": order, "Limits": limits, "Duplicates": duplicates, "FailedCommit": failedCommit,
		"FoldError": foldError, "FoldPanic": foldPanic, "Epoch": epoch, "Truncate": truncate,
		"Damage": damage, "Concurrent": concurrent, "Canceled": canceled, "Closed": closed,
		"FullDisk": fullDisk,
	} {
		t.Run(name, func(t *testing.T) {
			n := open(t)
			defer n.Close()
			fn(t, n)
		})
	}
	t.Run("Model", func(t *testing.T) {
		rapid.Check(t, func(rt *rapid.T) {
			n := open(rt)
			defer n.Close()
			model(rt, n)
		})
	})
}

// folder keeps a row per command and a count, and records its calls.
type folder struct {
	t     TB
	open  *oplog.Entry // folded, neither committed nor aborted
	calls []string
	fail  error // of the next Fold
	panic bool  // in the next Fold
}

var countKey = []byte("count")

func (f *folder) Fold(w store.Writer, e oplog.Entry) error {
	if f.open != nil {
		f.t.Errorf("entry %d was folded before %d was committed or aborted", e.Pos, f.open.Pos)
	}
	f.open = &e
	f.calls = append(f.calls, fmt.Sprintf("fold %d", e.Pos))
	if n := count(w); n+1 != uint64(e.Pos) {
		f.t.Errorf("entry %d was folded over a state of %d entries", e.Pos, n)
	}
	if err := w.Put(store.Records, countKey, binary.BigEndian.AppendUint64(nil, uint64(e.Pos))); err != nil {
		return err
	}
	for i, c := range e.Commands {
		if err := w.Put(store.Records, fmt.Appendf(nil, "c%d/%d", e.Pos, i), c); err != nil {
			return err
		}
	}
	if f.panic {
		f.panic = false
		panic("fold")
	}
	err := f.fail
	f.fail = nil
	return err
}

func (f *folder) Committed(e oplog.Entry) { f.end("committed", e) }

func (f *folder) Aborted(e oplog.Entry, err error) {
	if err == nil {
		f.t.Errorf("entry %d was aborted without an error", e.Pos)
	}
	f.end("aborted", e)
}

func (f *folder) end(how string, e oplog.Entry) {
	if f.open == nil || f.open.Pos != e.Pos {
		f.t.Errorf("entry %d was %s but not folded", e.Pos, how)
	}
	f.open = nil
	f.calls = append(f.calls, fmt.Sprintf("%s %d", how, e.Pos))
}

func count(r store.Reader) uint64 {
	if v := r.Get(store.Records, countKey); v != nil {
		return binary.BigEndian.Uint64(v)
	}
	return 0
}

// folded returns how many entries the committed state holds.
func folded(t TB, n Node) uint64 {
	t.Helper()
	s, err := n.Engine().Snapshot()
	must(t, err)
	defer s.Close()
	return count(s)
}

func must(t TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("unexpected error: %v", err)
	}
}

func mustOpen(t TB, n Node) (oplog.Log, *folder) {
	t.Helper()
	f := &folder{t: t}
	l, err := n.Open(f, oplog.Options{})
	must(t, err)
	return l, f
}

func draft(proposer string, number uint64, commands ...string) oplog.Draft {
	d := oplog.Draft{Time: ident.Millis(1000 + number), Version: 3, Proposer: proposer, Number: number}
	for _, c := range commands {
		d.Commands = append(d.Commands, []byte(c))
	}
	return d
}

func add(t TB, l oplog.Log, d oplog.Draft, want ident.Position) {
	t.Helper()
	if pos, err := l.Append(context.Background(), d); err != nil || pos != want {
		t.Fatalf("append of %s/%d: position %d, %v, want %d", d.Proposer, d.Number, pos, err, want)
	}
}

func bounds(t TB, l oplog.Log, floor, last ident.Position) {
	t.Helper()
	if f, p := l.Bounds(); f != floor || p != last {
		t.Fatalf("bounds %d to %d, want %d to %d", f, p, floor, last)
	}
}

func entries(t TB, l oplog.Log, from ident.Position) []oplog.Entry {
	t.Helper()
	var es []oplog.Entry
	must(t, l.Entries(from, func(e oplog.Entry) (bool, error) {
		es = append(es, e)
		return true, nil
	}))
	return es
}

func line(e oplog.Entry) string {
	return fmt.Sprintf("%d/%d t%d v%d %s/%d %q", e.Epoch, e.Pos, e.Time, e.Version, e.Proposer, e.Number, e.Commands)
}

func lines(es []oplog.Entry) []string {
	var out []string
	for _, e := range es {
		out = append(out, line(e))
	}
	return out
}

func order(t *testing.T, n Node) {
	l, f := mustOpen(t, n)
	bounds(t, l, 1, 0)
	if l.Epoch() != 1 {
		t.Errorf("a new log has epoch %d", l.Epoch())
	}
	if es := entries(t, l, 0); len(es) != 0 {
		t.Errorf("a new log has entries: %v", es)
	}
	for i := range uint64(600) {
		add(t, l, draft("a", i+1, fmt.Sprint(i), "", "x"), ident.Position(i+1))
	}
	for i := 0; i < len(f.calls); i += 2 {
		pos := i/2 + 1
		if f.calls[i] != fmt.Sprintf("fold %d", pos) || f.calls[i+1] != fmt.Sprintf("committed %d", pos) {
			t.Fatalf("calls %q", f.calls[i:i+2])
		}
	}
	check := func(l oplog.Log) {
		t.Helper()
		bounds(t, l, 1, 600)
		es := entries(t, l, 0)
		if len(es) != 600 {
			t.Fatalf("%d entries", len(es))
		}
		for i, e := range es {
			want := fmt.Sprintf(`1/%d t%d v3 a/%d ["%d" "" "x"]`, i+1, 1001+i, i+1, i)
			if line(e) != want {
				t.Fatalf("entry %s, want %s", line(e), want)
			}
		}
		if es := entries(t, l, 599); len(es) != 2 || es[0].Pos != 599 {
			t.Errorf("from 599: %q", lines(es))
		}
		if es := entries(t, l, 601); len(es) != 0 {
			t.Errorf("from beyond the end: %q", lines(es))
		}
	}
	check(l)
	seen := 0
	must(t, l.Entries(0, func(oplog.Entry) (bool, error) { seen++; return seen < 5, nil }))
	no := errors.New("no")
	if err := l.Entries(0, func(oplog.Entry) (bool, error) { seen++; return true, no }); !errors.Is(err, no) || seen != 6 {
		t.Errorf("stopped after %d entries with %v", seen, err)
	}
	n.Crash()
	l, f = mustOpen(t, n)
	check(l)
	add(t, l, draft("b", 1), 601) // another start of the server
	if folded(t, n) != 601 || len(f.calls) != 2 {
		t.Errorf("%d entries folded, calls %q", folded(t, n), f.calls)
	}
}

func limits(t *testing.T, n Node) {
	l, f := mustOpen(t, n)
	sized := func(ns ...int) oplog.Draft {
		d := draft("a", 1)
		for _, n := range ns {
			d.Commands = append(d.Commands, make([]byte, n))
		}
		return d
	}
	const c = oplog.MaxCommandBytes
	for name, tc := range map[string]struct {
		d    oplog.Draft
		want error
	}{
		"command":       {sized(1, c+1), oplog.ErrTooLarge},
		"entry":         {sized(c, c, c, c), oplog.ErrTooLarge},
		"no proposer":   {draft("", 1), oplog.ErrDraft},
		"long proposer": {draft(string(bytes.Repeat([]byte("p"), oplog.MaxProposerBytes+1)), 1), oplog.ErrDraft},
		"number 0":      {draft("a", 0), oplog.ErrDraft},
		"gap":           {draft("a", 2), oplog.ErrGap},
	} {
		if _, err := l.Append(context.Background(), tc.d); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	bounds(t, l, 1, 0)
	if len(f.calls) > 0 {
		t.Errorf("calls %q", f.calls)
	}
	d := sized(c, c, c, c-200)
	if oplog.Size(d) > oplog.MaxEntryBytes {
		t.Fatalf("%d bytes", oplog.Size(d))
	}
	add(t, l, d, 1)
	add(t, l, draft(string(bytes.Repeat([]byte("p"), oplog.MaxProposerBytes)), 1), 2)
	es := entries(t, l, 0)
	if len(es) != 2 || len(es[0].Commands) != 4 || len(es[0].Commands[3]) != c-200 {
		t.Error("the largest entry came back otherwise")
	}
}

func duplicates(t *testing.T, n Node) {
	l, _ := mustOpen(t, n)
	add(t, l, draft("a", 1, "x"), 1)
	add(t, l, draft("b", 1, "y"), 2)
	add(t, l, draft("a", 2, "z"), 3)
	again := func(l oplog.Log, f *folder) {
		t.Helper()
		before := len(f.calls)
		add(t, l, draft("a", 1, "x"), 1)
		add(t, l, draft("b", 1, "y"), 2)
		add(t, l, draft("a", 2, "z"), 3)
		if len(f.calls) != before || folded(t, n) != 3 {
			t.Errorf("duplicates were folded: %q", f.calls)
		}
		if _, err := l.Append(context.Background(), draft("b", 3)); !errors.Is(err, oplog.ErrGap) {
			t.Errorf("a gap: %v", err)
		}
	}
	again(l, &folder{})
	must(t, l.Close())
	l, f := mustOpen(t, n)
	again(l, f)
	n.Crash()
	l, f = mustOpen(t, n)
	again(l, f)
	must(t, l.Truncate(4))
	n.Crash()
	l, f = mustOpen(t, n)
	add(t, l, draft("b", 1, "y"), 2) // a last number is kept
	add(t, l, draft("a", 2, "z"), 3)
	if _, err := l.Append(context.Background(), draft("a", 1, "x")); !errors.Is(err, oplog.ErrTruncated) {
		t.Errorf("an old number that was truncated: %v", err)
	}
	if len(f.calls) != 0 || folded(t, n) != 3 {
		t.Errorf("duplicates were folded: %q", f.calls)
	}
	add(t, l, draft("a", 3), 4)
}

func failedCommit(t *testing.T, n Node) {
	for i, kept := range []bool{false, true} {
		l, f := mustOpen(t, n)
		pos := ident.Position(2*i + 1)
		add(t, l, draft("a", uint64(pos)), pos)
		n.FailCommit(kept)
		d := draft("a", uint64(pos)+1, "unsure")
		if _, err := l.Append(context.Background(), d); !errors.Is(err, store.ErrUnknown) {
			t.Fatalf("failed commit: %v", err)
		}
		if last := f.calls[len(f.calls)-1]; last != fmt.Sprintf("aborted %d", pos+1) {
			t.Errorf("calls %q", f.calls)
		}
		if _, err := l.Append(context.Background(), d); err == nil {
			t.Error("it went on after a failed commit")
		}
		n.Crash()
		l, f = mustOpen(t, n)
		want := pos
		if kept {
			want++
		}
		if _, last := l.Bounds(); last != want || folded(t, n) != uint64(want) {
			t.Errorf("kept %v: last position %d, %d folded, want %d", kept, last, folded(t, n), want)
		}
		add(t, l, d, pos+1) // exactly once in all
		bounds(t, l, 1, pos+1)
		if folded(t, n) != uint64(pos+1) || (len(f.calls) == 0) != kept {
			t.Errorf("kept %v: %d folded, calls %q", kept, folded(t, n), f.calls)
		}
		must(t, l.Close())
	}
}

// retry appends a draft whose first attempt failed, on a new log if the old one
// is halted.
func retry(t TB, n Node, l oplog.Log, d oplog.Draft, want ident.Position) oplog.Log {
	t.Helper()
	if _, err := l.Append(context.Background(), d); errors.Is(err, oplog.ErrHalted) {
		n.Crash()
		l, _ = mustOpen(t, n)
	} else {
		must(t, err)
	}
	add(t, l, d, want)
	return l
}

func foldError(t *testing.T, n Node) {
	l, f := mustOpen(t, n)
	add(t, l, draft("a", 1), 1)
	f.fail = errors.New("no")
	want := f.fail
	if _, err := l.Append(context.Background(), draft("a", 2, "x")); !errors.Is(err, want) {
		t.Fatalf("append: %v", err)
	}
	if !slices.Equal(f.calls[2:], []string{"fold 2", "aborted 2"}) {
		t.Errorf("calls %q", f.calls)
	}
	bounds(t, l, 1, 1)
	if folded(t, n) != 1 {
		t.Errorf("%d folded", folded(t, n))
	}
	l = retry(t, n, l, draft("a", 2, "x"), 2)
	if len(entries(t, l, 0)) != 2 || folded(t, n) != 2 {
		t.Errorf("%d folded", folded(t, n))
	}
}

func foldPanic(t *testing.T, n Node) {
	l, f := mustOpen(t, n)
	f.panic = true
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		_, _ = l.Append(context.Background(), draft("a", 1))
	}()
	if !slices.Equal(f.calls, []string{"fold 1", "aborted 1"}) {
		t.Errorf("calls %q", f.calls)
	}
	l = retry(t, n, l, draft("a", 1), 1)
	bounds(t, l, 1, 1)
}

func epoch(t *testing.T, n Node) {
	l, err := n.Open(&folder{t: t}, oplog.Options{Epoch: 7})
	must(t, err)
	if l.Epoch() != 7 {
		t.Errorf("epoch %d", l.Epoch())
	}
	add(t, l, draft("a", 1), 1)
	must(t, l.Close())
	if _, err := n.Open(&folder{t: t}, oplog.Options{Epoch: 8}); !errors.Is(err, oplog.ErrEpoch) {
		t.Errorf("another epoch: %v", err)
	}
	l, f := mustOpen(t, n)
	// A later restore of the same backup must not get the same epoch: the clock
	// tells them apart, and chance where it does not; one that goes wrong doesn't
	// let the epoch fall.
	for _, x := range []struct {
		at     ident.Millis
		random uint32
		want   uint64
	}{{-5, 0, 8}, {3, 0, 9}, {3, 90, 100}, {1_000_000, 0, 1_000_000}, {2, 0, 1_000_001}} {
		if e, err := oplog.BumpEpoch(n.Engine(), x.at, x.random); err != nil || e != x.want {
			t.Errorf("epoch %d at %d, %v", e, x.at, err)
		}
	}
	for range 2 { // the log that was open meanwhile halts
		if _, err := l.Append(context.Background(), draft("a", 2)); !errors.Is(err, oplog.ErrEpoch) {
			t.Errorf("append under an old epoch: %v", err)
		}
	}
	if err := l.Truncate(2); !errors.Is(err, oplog.ErrEpoch) {
		t.Errorf("truncate under an old epoch: %v", err)
	}
	if len(f.calls) > 0 {
		t.Errorf("calls %q", f.calls)
	}
	must(t, l.Close())
	l, err = n.Open(&folder{t: t}, oplog.Options{Epoch: 1_000_001})
	must(t, err)
	add(t, l, draft("a", 2), 2)
	if got, want := lines(entries(t, l, 0)), []string{"7/1 t1001 v3 a/1 []", "1000001/2 t1002 v3 a/2 []"}; !slices.Equal(got, want) {
		t.Errorf("entries %q", got)
	}
	must(t, l.Close())
	put(t, n, store.Meta, "log/epoch", []byte{7}) // behind its entries
	if _, err := n.Open(&folder{t: t}, oplog.Options{}); !errors.Is(err, oplog.ErrEpoch) {
		t.Errorf("entries of a later epoch: %v", err)
	}
}

func truncate(t *testing.T, n Node) {
	l, _ := mustOpen(t, n)
	must(t, l.Truncate(1))
	if err := l.Truncate(2); err == nil {
		t.Error("truncated beyond the end")
	}
	const last = 2500 // takes several commits
	for i := range uint64(last) {
		add(t, l, draft("a", i+1), ident.Position(i+1))
	}
	for _, step := range []struct{ to, floor ident.Position }{{3, 3}, {2, 3}, {0, 3}, {2400, 2400}, {2400, 2400}} {
		must(t, l.Truncate(step.to))
		bounds(t, l, step.floor, last)
		es := entries(t, l, 0)
		if len(es) != int(last+1-step.floor) || es[0].Pos != step.floor {
			t.Fatalf("%d entries from floor %d", len(es), step.floor)
		}
		if err := l.Entries(step.floor-1, func(oplog.Entry) (bool, error) { return true, nil }); !errors.Is(err, oplog.ErrTruncated) {
			t.Errorf("from below the floor: %v", err)
		}
	}
	n.Crash()
	l, _ = mustOpen(t, n)
	bounds(t, l, 2400, last)
	must(t, l.Truncate(last+1))
	bounds(t, l, last+1, last)
	if es := entries(t, l, 0); len(es) != 0 {
		t.Errorf("entries %q", lines(es))
	}
	n.Crash()
	l, _ = mustOpen(t, n)
	bounds(t, l, last+1, last)
	add(t, l, draft("a", last+1), last+1)
	bounds(t, l, last+1, last+1)
	if folded(t, n) != last+1 {
		t.Errorf("%d folded", folded(t, n))
	}
	// Truncation overtakes a reader.
	for i := range uint64(1000) {
		add(t, l, draft("b", i+1), ident.Position(last+2+i))
	}
	err := l.Entries(0, func(e oplog.Entry) (bool, error) {
		if e.Pos == last+1 {
			must(t, l.Truncate(last+1000))
		}
		return true, nil
	})
	if !errors.Is(err, oplog.ErrTruncated) {
		t.Errorf("overtaken: %v", err)
	}
}

// put writes a row behind the log's back; nil removes it.
func put(t TB, n Node, b store.Bucket, k string, v []byte) {
	t.Helper()
	must(t, n.Engine().Update(func(w store.Writer) error {
		if v == nil {
			return w.Delete(b, []byte(k))
		}
		return w.Put(b, []byte(k), v)
	}))
}

func rowKey(p uint64) string { return string(binary.BigEndian.AppendUint64(nil, p)) }

func damage(t *testing.T, n Node) {
	l, _ := mustOpen(t, n)
	for i := range uint64(5) {
		add(t, l, draft("a", i+1, "command"), ident.Position(i+1))
	}
	must(t, l.Close())
	s, err := n.Engine().Snapshot()
	must(t, err)
	rows := map[store.Bucket]map[string][]byte{store.Log: {}, store.Meta: {}}
	for b := range rows {
		s.Scan(b, nil, func(k, v []byte) bool {
			rows[b][string(k)] = bytes.Clone(v)
			return true
		})
	}
	s.Close()
	flip := func(v []byte) []byte {
		v = bytes.Clone(v)
		v[len(v)/2] ^= 1
		return v
	}
	for name, tc := range map[string]struct {
		b store.Bucket
		k string
		v []byte
	}{
		"first flipped":       {store.Log, rowKey(1), flip(rows[store.Log][rowKey(1)])},
		"last flipped":        {store.Log, rowKey(5), flip(rows[store.Log][rowKey(5)])},
		"middle flipped":      {store.Log, rowKey(3), flip(rows[store.Log][rowKey(3)])},
		"first missing":       {store.Log, rowKey(1), nil},
		"last missing":        {store.Log, rowKey(5), nil},
		"middle missing":      {store.Log, rowKey(3), nil},
		"one in another's":    {store.Log, rowKey(3), rows[store.Log][rowKey(2)]},
		"one beyond":          {store.Log, rowKey(6), rows[store.Log][rowKey(5)]},
		"one below":           {store.Log, rowKey(0), rows[store.Log][rowKey(1)]},
		"a strange key":       {store.Log, "\x00x", []byte("x")},
		"no bounds":           {store.Meta, "log/bounds", nil},
		"no epoch":            {store.Meta, "log/epoch", nil},
		"epoch 0":             {store.Meta, "log/epoch", []byte{0}},
		"unreadable bounds":   {store.Meta, "log/bounds", []byte{1, 5, 0}},
		"last too low":        {store.Meta, "log/bounds", []byte{1, 4}},
		"last too high":       {store.Meta, "log/bounds", []byte{1, 6}},
		"floor above":         {store.Meta, "log/bounds", []byte{7, 5}},
		"floor moved":         {store.Meta, "log/bounds", []byte{2, 5}},
		"proposer unreadable": {store.Meta, "log/p/a", []byte{0x80}},
		"proposer ahead":      {store.Meta, "log/p/a", []byte{6, 6}},
	} {
		put(t, n, tc.b, tc.k, tc.v)
		l, err := n.Open(&folder{t: t}, oplog.Options{})
		if err == nil { // what lies in the middle shows when it is read
			err = l.Entries(0, func(oplog.Entry) (bool, error) { return true, nil })
			must(t, l.Close())
		}
		if !errors.Is(err, oplog.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
		put(t, n, tc.b, tc.k, rows[tc.b][tc.k])
	}
	l, f := mustOpen(t, n)
	put(t, n, store.Meta, "log/bounds", []byte{1, 4}) // while it is open
	for range 2 {
		if _, err := l.Append(context.Background(), draft("a", 6)); !errors.Is(err, oplog.ErrCorrupt) {
			t.Errorf("append over moved bounds: %v", err)
		}
	}
	if len(f.calls) > 0 {
		t.Errorf("calls %q", f.calls)
	}
}

func concurrent(t *testing.T, n Node) {
	l, _ := mustOpen(t, n)
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				_, last := l.Bounds()
				next := ident.Position(0)
				err := l.Entries(0, func(e oplog.Entry) (bool, error) {
					if next != 0 && e.Pos != next {
						t.Errorf("entry %d after %d", e.Pos, next-1)
					}
					next = e.Pos + 1
					return true, nil
				})
				if err != nil && !errors.Is(err, oplog.ErrTruncated) {
					t.Errorf("entries: %v", err)
				}
				if err == nil && last > 0 && next <= last {
					t.Errorf("ended at %d, %d was there", next-1, last)
				}
			}
		})
	}
	for i := range uint64(300) {
		add(t, l, draft("a", i+1), ident.Position(i+1))
		if i%50 == 49 {
			must(t, l.Truncate(ident.Position(i-20)))
		}
	}
	close(stop)
	readers.Wait()
}

func canceled(t *testing.T, n Node) {
	l, f := mustOpen(t, n)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := l.Append(ctx, draft("a", 1)); !errors.Is(err, context.Canceled) || len(f.calls) > 0 {
		t.Errorf("append: %v, calls %q", err, f.calls)
	}
	add(t, l, draft("a", 1), 1)
}

func closed(t *testing.T, n Node) {
	l, _ := mustOpen(t, n)
	must(t, l.Close())
	must(t, l.Close())
	if _, err := l.Append(context.Background(), draft("a", 1)); !errors.Is(err, oplog.ErrClosed) {
		t.Errorf("append: %v", err)
	}
	if err := l.Truncate(1); !errors.Is(err, oplog.ErrClosed) {
		t.Errorf("truncate: %v", err)
	}
}

// fullDisk: an engine that refuses before it begins is no reason to halt.
func fullDisk(t *testing.T, n Node) {
	full := &fullEngine{Engine: nil}
	l, f := mustOpen(t, n)
	must(t, l.Close())
	full.Engine = n.Engine()
	l, err := oplog.Open(full, f, oplog.Options{})
	must(t, err)
	full.full = true
	if _, err := l.Append(context.Background(), draft("a", 1)); !errors.Is(err, store.ErrDiskFull) || len(f.calls) > 0 {
		t.Errorf("append: %v, calls %q", err, f.calls)
	}
	full.full = false
	add(t, l, draft("a", 1), 1)
}

type fullEngine struct {
	store.Engine
	full bool
}

func (e *fullEngine) Update(fn func(store.Writer) error) error {
	if e.full {
		return store.ErrDiskFull
	}
	return e.Engine.Update(fn)
}

// model runs random appends, retries, failures, crashes and truncations against
// a list; the state and the log always agree.
func model(t *rapid.T, n Node) {
	l, f := mustOpen(t, n)
	var all []string // every entry there ever was
	numbers := map[string]uint64{}
	floor := 1
	reopen := func() {
		n.Crash()
		l, f = mustOpen(t, n)
	}
	next := func(p string) oplog.Draft {
		d := draft(p, numbers[p]+1)
		for range rapid.IntRange(0, 3).Draw(t, "commands") {
			d.Commands = append(d.Commands, rapid.SliceOfN(rapid.Byte(), 0, 5).Draw(t, "command"))
		}
		return d
	}
	take := func(d oplog.Draft) {
		numbers[d.Proposer]++
		all = append(all, line(oplog.Entry{
			Epoch: 1, Pos: ident.Position(len(all) + 1), Time: d.Time, Version: d.Version,
			Proposer: d.Proposer, Number: d.Number, Commands: d.Commands,
		}))
	}
	for range rapid.IntRange(1, 30).Draw(t, "steps") {
		d := next(rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "proposer"))
		switch rapid.IntRange(0, 9).Draw(t, "step") {
		case 0:
			reopen()
		case 1:
			to := rapid.IntRange(0, len(all)+1).Draw(t, "floor")
			must(t, l.Truncate(ident.Position(to)))
			floor = max(floor, to)
		case 2:
			f.fail = errors.New("no")
			if _, err := l.Append(context.Background(), d); err == nil {
				t.Fatalf("appended though the fold failed")
			}
			if rapid.Bool().Draw(t, "again") {
				l = retry(t, n, l, d, ident.Position(len(all)+1))
				take(d)
			}
			reopen()
		case 3:
			kept := rapid.Bool().Draw(t, "kept")
			n.FailCommit(kept)
			if _, err := l.Append(context.Background(), d); err == nil {
				t.Fatalf("appended though the commit failed")
			}
			reopen()
			if kept || rapid.Bool().Draw(t, "again") {
				add(t, l, d, ident.Position(len(all)+1))
				take(d)
			}
		case 4:
			if d.Number > 1 { // the last one again
				d.Number--
				if pos, err := l.Append(context.Background(), d); err != nil || int(pos) > len(all) || pos == 0 {
					t.Fatalf("duplicate: position %d, %v", pos, err)
				}
			}
		default:
			add(t, l, d, ident.Position(len(all)+1))
			take(d)
		}
		bounds(t, l, ident.Position(floor), ident.Position(len(all)))
		if got := lines(entries(t, l, 0)); !slices.Equal(got, all[floor-1:]) {
			t.Fatalf("entries\n got %q\nwant %q", got, all[floor-1:])
		}
		if folded(t, n) != uint64(len(all)) {
			t.Fatalf("%d folded of %d", folded(t, n), len(all))
		}
	}
}
