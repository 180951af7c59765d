package pull

import (
	"testing"

	"pgregory.net/rapid"

	"satchel/internal/ident"
)

// TestSeen compares seen with a map, about the borders of pieces and words.
func TestSeen(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s seen
		model := map[ident.Ordinal]bool{}
		near := rapid.SampledFrom([]ident.Ordinal{1, 63, 64, pieceSize - 1, pieceSize, 5 * pieceSize, 1<<32 - pieceSize, 1<<32 - 4})
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			o := near.Draw(t, "near") + rapid.Uint32Range(0, 3).Draw(t, "off")
			if s.has(o) != model[o] {
				t.Fatalf("has %d: %v", o, s.has(o))
			}
			if rapid.Bool().Draw(t, "add") {
				s.add(o)
				model[o] = true
			}
		}
		for o := range model {
			if !s.has(o) {
				t.Fatalf("%d was added", o)
			}
		}
	})
}
