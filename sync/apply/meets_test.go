package apply

import (
	"testing"

	"satchel/sync/bits"
)

// TestMeets: few changed records and many are looked for in different ways,
// with one answer.
func TestMeets(t *testing.T) {
	held := bits.Or(bits.Range(100, 200), bits.Of(70_000))
	for _, c := range []struct {
		changed bits.Set
		want    bool
	}{
		{bits.Set{}, false},
		{bits.Of(99), false},
		{bits.Of(5, 70_000), true},
		{bits.Range(0, 100), false},
		{bits.Range(0, 101), true},
		{bits.Of(1, 2, 3, 4, 5, 6, 7, 199), true},
		{bits.Range(200, 209), false},
	} {
		changed := changedOf(1, c.changed)
		if changed.meets(held) != c.want || changed.meets(bits.Set{}) {
			t.Errorf("%v: want %v", c.changed.Slice(), c.want)
		}
	}
}
