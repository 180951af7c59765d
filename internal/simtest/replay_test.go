package simtest

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

// TestReplay runs one history, named by the environment.
func TestReplay(t *testing.T) {
	seed, err := strconv.ParseInt(os.Getenv("SIM_SEED"), 10, 64)
	if err != nil {
		t.Skip("SIM_SEED is not set")
	}
	steps, _ := strconv.Atoi(os.Getenv("SIM_STEPS"))
	var b strings.Builder
	if rep := Run(Options{Seeds: 1, Seed: seed, Steps: steps, Out: &b, Twins: os.Getenv("SIM_TWINS") != ""}); !rep.OK() {
		t.Error(b.String())
	}
}
