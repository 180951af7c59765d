package bits

import (
	"testing"
)

// TestFewAreNoRuns: few ordinals are an array whatever they were made from,
// after decoding too.
func TestFewAreNoRuns(t *testing.T) {
	runs := func(s Set) bool {
		for _, e := range s.slots {
			if e.c.n <= arrayMax && e.c.bm.HasRunCompression() {
				return true
			}
		}
		return false
	}
	few, many := Range(10, 20), Range(0, 10_000)
	decoded, err := Decode(func(yield func(uint16, []byte) bool) {
		for k, c := range few.Chunks() {
			if !yield(k, c.Bytes()) {
				return
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := Parse(few.AppendTo(nil))
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]Set{
		"range": few, "decoded": decoded, "parsed": parsed, "and": And(many, Range(9_000, 12_000)),
		"andnot": AndNot(many, Range(100, 10_000)), "or": Or(few, Of(500)), "all": OrAll(few, Of(500), Range(700, 705)),
		"with": few.With(20), "without": few.Without(15),
	} {
		if runs(s) {
			t.Errorf("%s keeps runs", name)
		}
	}
	if !Range(0, 10_000).slots[0].c.bm.HasRunCompression() {
		t.Error("many consecutive ordinals should be runs")
	}
}

// BenchmarkJoin joins a sales area, ordinals that lie apart, with a few that
// follow each other, as they come from the store.
func BenchmarkJoin(b *testing.B) {
	var area Builder
	for i := range uint32(1000) {
		area.Add(300 + i*60)
	}
	x, y := area.Set(), Range(10, 20)
	b.ReportAllocs()
	for b.Loop() {
		if Or(x, y).Len() != 1010 {
			b.Fatal("not all")
		}
	}
}
