package state_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"satchel/internal/ident"
	"satchel/sync/bits"
	"satchel/sync/state"
	"satchel/sync/store"
)

// rowsOf makes a store with a row for every ordinal up to n that has says yes to.
func rowsOf(t testing.TB, n int, has func(int) bool) store.Reader {
	t.Helper()
	eng, err := store.OpenBolt(filepath.Join(t.TempDir(), "t.db"), store.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = eng.Close() })
	err = eng.Update(func(w store.Writer) error {
		for o := 1; o <= n; o++ {
			if !has(o) {
				continue
			}
			if err := w.Put(store.Records, binary.BigEndian.AppendUint32(nil, uint32(o)), fmt.Appendf(nil, "row %d, as long as a record is: %0250d", o, o)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	snap, err := eng.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(snap.Close)
	return snap
}

// TestEachOf: whether a list or a set is swept or looked up row by row, what is
// found is what is there, in order, until the caller has enough.
func TestEachOf(t *testing.T) {
	const n = 3000
	rd := state.NewReader(cat, rowsOf(t, n, func(o int) bool { return o%7 != 0 }))
	rnd := rand.New(rand.NewPCG(1, 2))
	ord := func(o *ident.Ordinal) ident.Ordinal { return *o }
	for range 300 {
		from := rnd.IntN(n)
		every := 1 + rnd.IntN(20)
		var list []ident.Ordinal
		for o := from; o < n+40 && len(list) < 400; o += 1 + rnd.IntN(every) {
			list = append(list, ident.Ordinal(o))
		}
		enough := 1 + rnd.IntN(400)
		var want, got, swept []string
		for _, o := range list {
			if raw := rd.Bytes(o); raw != nil && len(want) < enough {
				want = append(want, fmt.Sprint(o, string(raw)))
			}
		}
		state.EachOf(rd, list, ord, func(o *ident.Ordinal, raw []byte) bool {
			got = append(got, fmt.Sprint(*o, string(raw)))
			return len(got) < enough
		})
		rd.Each(bits.Of(list...), func(o ident.Ordinal, raw []byte) bool {
			swept = append(swept, fmt.Sprint(o, string(raw)))
			return len(swept) < enough
		})
		if !slices.Equal(got, want) || !slices.Equal(swept, want) {
			t.Fatalf("of %d from %d: %d and %d rows, not %d", len(list), from, len(got), len(swept), len(want))
		}
	}
	state.EachOf(rd, nil, ord, func(*ident.Ordinal, []byte) bool { t.Error("a row of nothing"); return true })
}

// BenchmarkEachOf reads 1,000 records of 90,000, which lie apart and together.
func BenchmarkEachOf(b *testing.B) {
	rd := state.NewReader(cat, rowsOf(b, 90_000, func(int) bool { return true }))
	for name, gap := range map[string]int{"apart": 89, "together": 1} {
		list := make([]ident.Ordinal, 1000)
		for i := range list {
			list[i] = ident.Ordinal(1 + i*gap)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				read := 0
				state.EachOf(rd, list, func(o *ident.Ordinal) ident.Ordinal { return *o }, func(*ident.Ordinal, []byte) bool { read++; return true })
				if read != len(list) {
					b.Fatal(read)
				}
			}
		})
	}
}
