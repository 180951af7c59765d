package simtest

import (
	"os"
	"strings"
	"testing"
)

func TestSim(t *testing.T) {
	var b strings.Builder
	rep := Run(Options{Seeds: 40, Steps: 120, Out: &b})
	if !rep.OK() {
		t.Fatal(b.String())
	}
	if os.Getenv("SIM_VERBOSE") != "" {
		t.Log(b.String())
	}
}

func TestTwins(t *testing.T) {
	var b strings.Builder
	rep := Run(Options{Seeds: len(watched), Steps: 50, Twins: true, Out: &b})
	if !rep.OK() {
		t.Fatal(b.String())
	}
	if rep.Counters["answers compared"] < 1000 {
		t.Errorf("only %d answers were compared", rep.Counters["answers compared"])
	}
}
