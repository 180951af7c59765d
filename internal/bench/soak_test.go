package bench

import (
	"math"
	"testing"
	"time"
)

// TestSlope: what a few samples are off does not count as growth.
func TestSlope(t *testing.T) {
	var xs []sample
	for i := range 41 {
		x := sample{at: time.Duration(i) * 5 * time.Second, heap: 1000 + 2*float64(i)*5}
		if i%10 == 9 {
			x.heap += 5000
		}
		xs = append(xs, x)
	}
	of := func(x sample) float64 { return x.heap }
	if got := slope(xs, of); math.Abs(got-2) > 0.2 {
		t.Errorf("%v a second, want 2", got)
	}
	if got := slope(xs[:4], of); got != 2 {
		t.Errorf("%v a second, want 2", got)
	}
}
