// Package storetest is what every [store.Engine] must pass, and engines that
// fail or stage on purpose. Only tests and simulations import it.
package storetest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"satchel/sync/store"
)

// Harness makes the engines under test.
type Harness struct {
	// Open returns a new, empty engine.
	Open func(t TB) store.Engine
	// Reopen closes the engine and opens it anew from what is durable; nil
	// where the engine has nothing durable.
	Reopen func(t TB, e store.Engine) store.Engine
}

// TB is what the suite needs of testing.TB and rapid.T alike.
type TB interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	t.Run("ReadYourWrites", func(t *testing.T) { readYourWrites(t, h) })
	t.Run("AllOrNothing", func(t *testing.T) { allOrNothing(t, h) })
	t.Run("Keys", func(t *testing.T) { keys(t, h) })
	t.Run("Slices", func(t *testing.T) { slicesAreCopied(t, h) })
	t.Run("Scan", func(t *testing.T) { scan(t, h) })
	t.Run("GetAll", func(t *testing.T) { rapid.Check(t, func(rt *rapid.T) { getAll(rt, h) }) })
	t.Run("WriteInScan", func(t *testing.T) { writeInScan(t, h) })
	t.Run("Ended", func(t *testing.T) { ended(t, h) })
	t.Run("Closed", func(t *testing.T) { closed(t, h) })
	t.Run("Concurrent", func(t *testing.T) { concurrent(t, h) })
	t.Run("Model", func(t *testing.T) { rapid.Check(t, func(rt *rapid.T) { model(rt, h) }) })
	t.Run("StageModel", func(t *testing.T) { rapid.Check(t, func(rt *rapid.T) { stageModel(rt, h) }) })
}

// row names a row of a model.
type row struct {
	b store.Bucket
	k string
}

// Dump returns every row but the engine's own, one a line, in order.
func Dump(r store.Reader) []string {
	var out []string
	for _, b := range store.Buckets() {
		r.Scan(b, nil, func(k, v []byte) bool {
			if b != store.Meta || string(k) != "format" {
				out = append(out, fmt.Sprintf("%s %x=%x", b, k, v))
			}
			return true
		})
	}
	return out
}

func dumpModel(m map[row]string) []string {
	ks := make([]row, 0, len(m))
	for k := range m {
		ks = append(ks, k)
	}
	slices.SortFunc(ks, func(a, b row) int {
		if a.b != b.b {
			return int(a.b) - int(b.b)
		}
		return bytes.Compare([]byte(a.k), []byte(b.k))
	})
	var out []string
	for _, k := range ks {
		out = append(out, fmt.Sprintf("%s %x=%x", k.b, k.k, m[k]))
	}
	return out
}

func must(t TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("unexpected error: %v", err)
	}
}

func update(t TB, e store.Engine, fn func(w store.Writer)) {
	t.Helper()
	must(t, e.Update(func(w store.Writer) error {
		fn(w)
		return nil
	}))
}

func view(t TB, e store.Engine, fn func(r store.Reader)) {
	t.Helper()
	s, err := e.Snapshot()
	must(t, err)
	defer s.Close()
	fn(s)
}

// same compares, nil and empty being different.
func same(t TB, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) || (got == nil) != (want == nil) {
		t.Errorf("%s: %#v, want %#v", what, got, want)
	}
}

func sameDump(t TB, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("%s:\n got %q\nwant %q", what, got, want)
	}
}

func readYourWrites(t *testing.T, h Harness) {
	e := h.Open(t)
	update(t, e, func(w store.Writer) {
		same(t, "absent", w.Get(store.Records, []byte("a")), nil)
		must(t, w.Put(store.Records, []byte("a"), []byte("1")))
		same(t, "own write", w.Get(store.Records, []byte("a")), []byte("1"))
		same(t, "other bucket", w.Get(store.Log, []byte("a")), nil)
		must(t, w.Put(store.Records, []byte("a"), []byte("2")))
		same(t, "replaced", w.Get(store.Records, []byte("a")), []byte("2"))
		must(t, w.Put(store.Records, []byte("empty"), []byte{}))
		must(t, w.Put(store.Records, []byte("nil"), nil))
		same(t, "empty", w.Get(store.Records, []byte("empty")), []byte{})
		same(t, "nil", w.Get(store.Records, []byte("nil")), []byte{})
		must(t, w.Delete(store.Records, []byte("never there")))
	})
	check := func(e store.Engine) {
		view(t, e, func(r store.Reader) {
			same(t, "committed", r.Get(store.Records, []byte("a")), []byte("2"))
			same(t, "empty", r.Get(store.Records, []byte("empty")), []byte{})
			same(t, "nil", r.Get(store.Records, []byte("nil")), []byte{})
			same(t, "the empty key", r.Get(store.Records, nil), nil)
		})
	}
	check(e)
	if n, err := e.Size(); err != nil || n <= 0 {
		t.Errorf("size: %d, %v", n, err)
	}
	if h.Reopen != nil {
		e = h.Reopen(t, e)
		check(e)
	}
	before, err := e.Snapshot()
	must(t, err)
	update(t, e, func(w store.Writer) {
		must(t, w.Delete(store.Records, []byte("a")))
		same(t, "deleted", w.Get(store.Records, []byte("a")), nil)
	})
	same(t, "older snapshot", before.Get(store.Records, []byte("a")), []byte("2"))
	before.Close()
	before.Close()
	view(t, e, func(r store.Reader) { same(t, "deleted", r.Get(store.Records, []byte("a")), nil) })
	must(t, e.Close())
}

func allOrNothing(t *testing.T, h Harness) {
	e := h.Open(t)
	update(t, e, func(w store.Writer) { must(t, w.Put(store.IDs, []byte("kept"), []byte("1"))) })
	spoil := func(w store.Writer) {
		must(t, w.Put(store.IDs, []byte("lost"), []byte("1")))
		must(t, w.Put(store.IDs, []byte("kept"), []byte("2")))
		must(t, w.Delete(store.IDs, []byte("kept")))
	}
	no := errors.New("no")
	if err := e.Update(func(w store.Writer) error { spoil(w); return no }); err != no { //nolint:errorlint // as it is
		t.Errorf("error of fn came back as %v", err)
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		_ = e.Update(func(w store.Writer) error { spoil(w); panic("no") })
	}()
	view(t, e, func(r store.Reader) { sameDump(t, "after an error and a panic", Dump(r), []string{"ids 6b657074=31"}) })
	update(t, e, func(w store.Writer) { must(t, w.Put(store.IDs, []byte("kept"), []byte("3"))) })
	must(t, e.Close())
}

func keys(t *testing.T, h Harness) {
	e := h.Open(t)
	long := bytes.Repeat([]byte{7}, store.MaxKeyLength)
	err := e.Update(func(w store.Writer) error {
		must(t, w.Put(store.Names, long, []byte("x")))
		for _, k := range [][]byte{nil, {}, append(long, 7)} {
			if err := w.Put(store.Names, k, []byte("x")); !errors.Is(err, store.ErrKey) {
				t.Errorf("put of a key of %d bytes: %v", len(k), err)
			}
			if err := w.Delete(store.Names, k); !errors.Is(err, store.ErrKey) {
				t.Errorf("delete of a key of %d bytes: %v", len(k), err)
			}
		}
		if err := w.Put(store.Meta, []byte("format"), []byte("x")); !errors.Is(err, store.ErrKey) {
			t.Errorf("put of the format: %v", err)
		}
		for _, b := range []store.Bucket{0, 100, 255} {
			if err := w.Put(b, []byte("k"), nil); !errors.Is(err, store.ErrBucket) {
				t.Errorf("put in bucket %d: %v", b, err)
			}
		}
		return nil
	})
	must(t, err)
	view(t, e, func(r store.Reader) { same(t, "longest key", r.Get(store.Names, long), []byte("x")) })
	must(t, e.Close())
}

func slicesAreCopied(t *testing.T, h Harness) {
	e := h.Open(t)
	k, v := []byte("key"), []byte("value")
	update(t, e, func(w store.Writer) {
		must(t, w.Put(store.Due, k, v))
		copy(k, "xxx")
		copy(v, "xxxxx")
		same(t, "in the transaction", w.Get(store.Due, []byte("key")), []byte("value"))
	})
	view(t, e, func(r store.Reader) {
		same(t, "after it", r.Get(store.Due, []byte("key")), []byte("value"))
		same(t, "the other", r.Get(store.Due, []byte("xxx")), nil)
	})
	must(t, e.Close())
}

func scan(t *testing.T, h Harness) {
	e := h.Open(t)
	ks := []string{"\x00", "a", "a\x00", "ab", "abc", "b", "\xff", "\xff\xff"}
	update(t, e, func(w store.Writer) {
		for i := range ks {
			must(t, w.Put(store.Index, []byte(ks[(i*3)%len(ks)]), []byte{byte((i * 3) % len(ks))}))
		}
		must(t, w.Put(store.Held, []byte("aa"), []byte("not of this bucket")))
	})
	view(t, e, func(r store.Reader) {
		collect := func(n int, do func(fn func(k, v []byte) bool)) []string {
			var got []string
			do(func(k, _ []byte) bool {
				got = append(got, string(k))
				return len(got) < n
			})
			return got
		}
		from := func(s string, n int) []string {
			return collect(n, func(fn func(k, v []byte) bool) { r.Scan(store.Index, []byte(s), fn) })
		}
		prefix := func(s string, n int) []string {
			return collect(n, func(fn func(k, v []byte) bool) { store.ScanPrefix(r, store.Index, []byte(s), fn) })
		}
		sameDump(t, "everything", from("", 99), ks)
		sameDump(t, "from a key", from("ab", 99), ks[3:])
		sameDump(t, "from between", from("aa", 99), ks[3:])
		sameDump(t, "beyond", from("\xff\xff\xff", 99), nil)
		sameDump(t, "stopped", from("", 3), ks[:3])
		sameDump(t, "prefix", prefix("a", 99), ks[1:5])
		sameDump(t, "prefix stopped", prefix("a", 2), ks[1:3])
		sameDump(t, "prefix at the end", prefix("\xff", 99), ks[6:])
		sameDump(t, "empty prefix", prefix("", 99), ks)
		sameDump(t, "no such prefix", prefix("c", 99), nil)
		back := func(s []byte, n int) []string {
			return collect(n, func(fn func(k, v []byte) bool) { store.ScanBack(r, store.Index, s, fn) })
		}
		reversed := func(ss []string) []string {
			ss = slices.Clone(ss)
			slices.Reverse(ss)
			return ss
		}
		sameDump(t, "everything, back", back(nil, 99), reversed(ks))
		sameDump(t, "back from a key", back([]byte("ab"), 99), reversed(ks[:4]))
		sameDump(t, "back from between", back([]byte("aa"), 99), reversed(ks[:3]))
		sameDump(t, "back from beyond", back([]byte("\xff\xff\xff"), 99), reversed(ks))
		sameDump(t, "back from before the first", back([]byte{}, 99), nil)
		sameDump(t, "back, stopped", back([]byte("b"), 2), []string{"b", "abc"})
		store.ScanBack(r, store.Names, nil, func(k, _ []byte) bool {
			t.Errorf("an empty bucket has %q", k)
			return true
		})
		r.Scan(store.Index, nil, func(k, v []byte) bool {
			same(t, "read in a scan", r.Get(store.Index, k), v)
			inner := 0
			r.Scan(store.Index, k, func(_, _ []byte) bool { inner++; return true })
			if want := len(ks) - int(v[0]); inner != want {
				t.Errorf("scan in a scan from %q: %d rows, want %d", k, inner, want)
			}
			return true
		})
	})
	must(t, e.Close())
}

// getAll: many keys looked up at once are found as one by one, whatever the order in
// which they are asked for, in an update that changes them too.
func getAll(t *rapid.T, h Harness) {
	e := h.Open(t)
	key := rapid.OneOf(rapid.Uint32Range(1, 300), rapid.Uint32(), rapid.SampledFrom([]uint32{0, 1<<32 - 1}))
	model := map[uint32]string{}
	judge := func(r store.Reader) {
		keys := rapid.SliceOfN(key, 0, 200).Draw(t, "keys")
		values := make([][]byte, len(keys)+1)
		for i := range values {
			values[i] = []byte("left")
		}
		store.GetAll(r, store.Ordinals, keys, values)
		for i, k := range keys {
			row := binary.BigEndian.AppendUint32(nil, k)
			same(t, fmt.Sprintf("key %d of %d", i, len(keys)), values[i], r.Get(store.Ordinals, row))
			want, ok := model[k]
			if string(values[i]) != want || (values[i] != nil) != ok {
				t.Fatalf("key %d: %q, want %q", k, values[i], want)
			}
		}
		same(t, "behind the last", values[len(keys)], []byte("left"))
	}
	for range rapid.IntRange(1, 5).Draw(t, "updates") {
		update(t, e, func(w store.Writer) {
			for range rapid.SampledFrom([]int{0, 1, 20, 400}).Draw(t, "writes") {
				k := key.Draw(t, "key")
				row := binary.BigEndian.AppendUint32(nil, k)
				if rapid.IntRange(0, 3).Draw(t, "delete") == 0 {
					must(t, w.Delete(store.Ordinals, row))
					delete(model, k)
					continue
				}
				v := strings.Repeat("v", rapid.SampledFrom([]int{0, 3, 300, 5000}).Draw(t, "length"))
				must(t, w.Put(store.Ordinals, row, []byte(v)))
				model[k] = v
			}
			judge(w)
		})
		view(t, e, judge)
		if h.Reopen != nil && rapid.IntRange(0, 3).Draw(t, "reopen") == 0 {
			e = h.Reopen(t, e)
			view(t, e, judge)
		}
	}
	must(t, e.Close())
}

func writeInScan(t *testing.T, h Harness) {
	e := h.Open(t)
	update(t, e, func(w store.Writer) { must(t, w.Put(store.Due, []byte("a"), []byte("1"))) })
	err := e.Update(func(w store.Writer) error {
		store.ScanBack(w, store.Due, nil, func(k, _ []byte) bool {
			same(t, "read back in an update", k, []byte("a"))
			return true
		})
		w.Scan(store.Due, nil, func(k, v []byte) bool {
			if err := w.Put(store.Due, []byte("b"), v); !errors.Is(err, store.ErrScanned) {
				t.Errorf("put in a scan: %v", err)
			}
			if err := w.Delete(store.Due, k); !errors.Is(err, store.ErrScanned) {
				t.Errorf("delete in a scan: %v", err)
			}
			must(t, w.Put(store.Outbox, k, v))
			return true
		})
		return w.Delete(store.Due, []byte("a"))
	})
	must(t, err)
	view(t, e, func(r store.Reader) { sameDump(t, "afterwards", Dump(r), []string{"outbox 61=31"}) })
	must(t, e.Close())
}

func ended(t *testing.T, h Harness) {
	e := h.Open(t)
	var kept store.Writer
	update(t, e, func(w store.Writer) { kept = w })
	if err := kept.Put(store.Due, []byte("a"), nil); !errors.Is(err, store.ErrEnded) {
		t.Errorf("put after the end: %v", err)
	}
	s, err := e.Snapshot()
	must(t, err)
	s.Close()
	defer func() {
		if recover() == nil {
			t.Error("reading a closed snapshot did not panic")
		}
		must(t, e.Close())
	}()
	s.Get(store.Due, []byte("a"))
}

func closed(t *testing.T, h Harness) {
	e := h.Open(t)
	must(t, e.Close())
	must(t, e.Close())
	if err := e.Update(func(store.Writer) error { return nil }); !errors.Is(err, store.ErrClosed) {
		t.Errorf("update: %v", err)
	}
	if _, err := e.Snapshot(); !errors.Is(err, store.ErrClosed) {
		t.Errorf("snapshot: %v", err)
	}
}

// concurrent moves a unit between two rows; their sum is always the same.
func concurrent(t *testing.T, h Harness) {
	e := h.Open(t)
	update(t, e, func(w store.Writer) {
		must(t, w.Put(store.Records, []byte("a"), []byte{100}))
		must(t, w.Put(store.Names, []byte("b"), []byte{100}))
	})
	stop := make(chan struct{})
	var readers, writers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				s, err := e.Snapshot()
				if err != nil {
					t.Errorf("snapshot: %v", err)
					return
				}
				if sum := s.Get(store.Records, []byte("a"))[0] + s.Get(store.Names, []byte("b"))[0]; sum != 200 {
					t.Errorf("a snapshot saw half a commit: %d", sum)
				}
				s.Close()
			}
		})
		writers.Go(func() {
			for range 50 {
				err := e.Update(func(w store.Writer) error {
					a, b := w.Get(store.Records, []byte("a"))[0], w.Get(store.Names, []byte("b"))[0]
					return errors.Join(w.Put(store.Records, []byte("a"), []byte{a - 1}), w.Put(store.Names, []byte("b"), []byte{b + 1}))
				})
				if err != nil {
					t.Errorf("update: %v", err)
				}
			}
		})
	}
	writers.Wait()
	close(stop)
	readers.Wait()
	view(t, e, func(r store.Reader) { same(t, "every update counted", r.Get(store.Records, []byte("a")), []byte{0}) })
	must(t, e.Close())
}

var (
	someBucket = rapid.SampledFrom([]store.Bucket{store.Records, store.Index, store.Credentials})
	someKey    = rapid.SliceOfN(rapid.ByteRange(0, 3), 1, 3)
	someValue  = rapid.OneOf(rapid.SliceOfN(rapid.Byte(), 0, 3), rapid.Just(bytes.Repeat([]byte("large "), 1000)))
)

// compare checks random reads of r against the model, and now and then all.
func compare(t *rapid.T, what string, r store.Reader, m map[row]string) {
	b, k := someBucket.Draw(t, "bucket"), someKey.Draw(t, "key")
	got := r.Get(b, k)
	if want, ok := m[row{b: b, k: string(k)}]; ok != (got != nil) || string(got) != want {
		t.Fatalf("%s: get %s %x: %x, want %x (%v)", what, b, k, got, want, ok)
	}
	n := rapid.IntRange(1, 5).Draw(t, "rows")
	var rows, want []string
	r.Scan(b, k, func(k, v []byte) bool {
		rows = append(rows, fmt.Sprintf("%s %x=%x", b, k, v))
		return len(rows) < n
	})
	for _, line := range dumpModel(only(m, b, string(k))) {
		if len(want) < n {
			want = append(want, line)
		}
	}
	sameDump(t, what+": scan", rows, want)
}

func only(m map[row]string, b store.Bucket, from string) map[row]string {
	out := map[row]string{}
	for k, v := range m {
		if k.b == b && k.k >= from {
			out[k] = v
		}
	}
	return out
}

func clone(m map[row]string) map[row]string {
	out := make(map[row]string, len(m))
	for k, v := range m {
		out[k] = v
	}
	return out
}

// model compares an engine with a map through updates that succeed and fail,
// with snapshots held open over them.
func model(t *rapid.T, h Harness) {
	e := h.Open(t)
	defer func() { must(t, e.Close()) }()
	state := map[row]string{}
	type held struct {
		s     store.Snapshot
		state map[row]string
	}
	var open []held
	release := func() {
		for _, o := range open {
			sameDump(t, "held snapshot", Dump(o.s), dumpModel(o.state))
			o.s.Close()
		}
		open = nil
	}
	defer release()
	for range rapid.IntRange(1, 8).Draw(t, "updates") {
		next, fail := clone(state), rapid.IntRange(0, 3).Draw(t, "fail") == 0
		err := e.Update(func(w store.Writer) error {
			for range rapid.IntRange(0, 12).Draw(t, "writes") {
				b, k := someBucket.Draw(t, "bucket"), someKey.Draw(t, "key")
				if rapid.Bool().Draw(t, "put") {
					v := someValue.Draw(t, "value")
					must(t, w.Put(b, k, v))
					next[row{b: b, k: string(k)}] = string(v)
				} else {
					must(t, w.Delete(b, k))
					delete(next, row{b: b, k: string(k)})
				}
				compare(t, "in the update", w, next)
			}
			if fail {
				return errors.New("no")
			}
			return nil
		})
		if fail != (err != nil) {
			t.Fatalf("update: %v", err)
		}
		if !fail {
			state = next
		}
		s, err := e.Snapshot()
		must(t, err)
		sameDump(t, "after the update", Dump(s), dumpModel(state))
		if rapid.Bool().Draw(t, "hold") {
			open = append(open, held{s, state})
		} else {
			s.Close()
		}
		if h.Reopen != nil && rapid.IntRange(0, 5).Draw(t, "reopen") == 0 {
			release()
			e = h.Reopen(t, e)
		}
	}
}

// stageModel compares a stage with a map through writes, marks and rollbacks,
// then flushes it.
func stageModel(t *rapid.T, h Harness) {
	e := h.Open(t)
	defer func() { must(t, e.Close()) }()
	state := map[row]string{}
	must(t, e.Update(func(w store.Writer) error {
		for range rapid.IntRange(0, 10).Draw(t, "before") {
			b, k, v := someBucket.Draw(t, "bucket"), someKey.Draw(t, "key"), someValue.Draw(t, "value")
			must(t, w.Put(b, k, v))
			state[row{b: b, k: string(k)}] = string(v)
		}
		return nil
	}))
	s, err := e.Snapshot()
	must(t, err)
	stage := store.NewStage(s)
	for round := range 2 {
		type mark struct {
			at, rows, bytes int
			state           map[row]string
		}
		marks := []mark{{stage.Mark(), stage.Len(), stage.Bytes(), clone(state)}}
		if stage.Len() != 0 || stage.Bytes() != 0 {
			t.Fatalf("round %d begins with %d rows of %d bytes", round, stage.Len(), stage.Bytes())
		}
		for range rapid.IntRange(0, 25).Draw(t, "steps") {
			b, k := someBucket.Draw(t, "bucket"), someKey.Draw(t, "key")
			switch rapid.IntRange(0, 4).Draw(t, "step") {
			case 0, 1:
				v := bytes.Clone(someValue.Draw(t, "value"))
				state[row{b: b, k: string(k)}] = string(v)
				stage.Put(b, k, v)
				clear(k) // the caller's own again
				clear(v)
			case 2:
				stage.Delete(b, k)
				delete(state, row{b: b, k: string(k)})
			case 3:
				marks = append(marks, mark{stage.Mark(), stage.Len(), stage.Bytes(), clone(state)})
			case 4:
				i := rapid.IntRange(0, len(marks)-1).Draw(t, "mark")
				m := marks[i]
				marks = marks[:i+1]
				stage.Rollback(m.at)
				state = clone(m.state)
				if stage.Len() != m.rows || stage.Bytes() != m.bytes {
					t.Fatalf("rolled back to %d rows of %d bytes, not %d of %d", stage.Len(), stage.Bytes(), m.rows, m.bytes)
				}
			}
			compare(t, "stage", stage, state)
		}
		sameDump(t, "stage", Dump(stage), dumpModel(state))
		must(t, e.Update(stage.Flush))
		sameDump(t, "stage after the flush", Dump(stage), dumpModel(state))
		s.Close()
		s, err = e.Snapshot()
		must(t, err)
		sameDump(t, "flushed", Dump(s), dumpModel(state))
		stage.Reset(s)
		sameDump(t, "reset", Dump(stage), dumpModel(state))
	}
	s.Close()
}
