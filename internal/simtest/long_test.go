package simtest

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

// TestLong is the long form for CI: SIM_LONG=500x300 says how many seeds of
// how many steps, SIM_FROM the first seed.
func TestLong(t *testing.T) {
	seeds, steps, ok := strings.Cut(os.Getenv("SIM_LONG"), "x")
	if !ok {
		t.Skip("SIM_LONG is not set")
	}
	n, _ := strconv.Atoi(seeds)
	m, _ := strconv.Atoi(steps)
	from, _ := strconv.ParseInt(os.Getenv("SIM_FROM"), 10, 64)
	var b strings.Builder
	rep := Run(Options{Seeds: n, Steps: m, Seed: from, Out: &b, Twins: os.Getenv("SIM_TWINS") != ""})
	if !rep.OK() {
		t.Fatal(b.String())
	}
	t.Log(b.String())
	if missing := rep.Missing(); len(missing) > 0 && rep.Long() {
		t.Errorf("never met: %q", missing)
	}
}
