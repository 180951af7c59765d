package simtest

import (
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

// TestReplays plays the histories that showed a bug once.
func TestReplays(t *testing.T) {
	files, err := filepath.Glob("testdata/*.replay")
	if err != nil || len(files) == 0 {
		t.Fatalf("no replays: %v", err)
	}
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			f, err := os.Open(name)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			r, err := ReadReplay(f)
			if err != nil {
				t.Fatal(err)
			}
			if rep := Play(r); !rep.OK() {
				t.Errorf("%s\n%s", rep.Violation, strings.Join(rep.Trace, "\n"))
			}
		})
	}
}

func TestReplayText(t *testing.T) {
	for _, r := range []Replay{
		{Seed: 12, Steps: 400, Keep: []int{0, 1, 2, 7, 9, 10, 399}, About: []string{"step 3: I1: gone", "second line"}},
		{Seed: -4, Steps: 1, Twins: true},
		{Seed: 1, Steps: 9, Keep: []int{}},
	} {
		var b strings.Builder
		n, err := r.WriteTo(&b)
		if err != nil || n != int64(b.Len()) {
			t.Fatalf("%d bytes: %v", n, err)
		}
		got, err := ReadReplay(strings.NewReader(b.String()))
		if err != nil || !reflect.DeepEqual(got, r) {
			t.Errorf("%+v came back as %+v: %v", r, got, err)
		}
	}
	if got := spans([]int{0, 1, 2, 7, 9, 10}); got != "0-2 7 9-10" {
		t.Error(got)
	}
	for name, text := range map[string]string{
		"nothing":      "",
		"no steps":     "seed 1\n",
		"no seed":      "steps 10\n",
		"no number":    "seed one\nsteps 10\n",
		"too many":     "seed 1\nsteps 99999999999\n",
		"no step":      "seed 1\nsteps 0\n",
		"second seed":  "seed 1\nseed 2\nsteps 3\n",
		"unknown":      "seed 1\nsteps 3\nspeed 4\n",
		"descending":   "seed 1\nsteps 9\nkeep 5 3\n",
		"twice":        "seed 1\nsteps 9\nkeep 3 3\n",
		"turned round": "seed 1\nsteps 9\nkeep 5-3\n",
		"beyond":       "seed 1\nsteps 9\nkeep 9\n",
		"negative":     "seed 1\nsteps 9\nkeep -1\n",
		"endless":      "seed 1\nsteps 9\nkeep 0-99999999\n",
	} {
		if r, err := ReadReplay(strings.NewReader(text)); err == nil {
			t.Errorf("%s: taken as %+v", name, r)
		}
	}
}

// TestLeftOutStepsDisturbNone: what a step draws does not depend on the steps
// before it.
func TestLeftOutStepsDisturbNone(t *testing.T) {
	worlds()
	drawn := func(keep []int) (out []int) {
		s := newSim(5)
		defer s.close()
		script{seed: 5, steps: 50, keep: keep}.each(func(n int) {
			s.enter(n)
			if n == 40 {
				out = append(out, s.rng.IntN(1<<30), s.rng.IntN(1<<30), s.serial)
			} else {
				s.rng.IntN(10)
				s.unique()
			}
		})
		return out
	}
	if a, b := drawn(nil), drawn([]int{3, 40}); !reflect.DeepEqual(a, b) || len(a) == 0 {
		t.Errorf("step 40 draws %d, and %d with others left out", a, b)
	}
}

// TestSeed runs one history, named by the environment.
func TestSeed(t *testing.T) {
	seed, err := strconv.ParseInt(os.Getenv("SIM_SEED"), 10, 64)
	if err != nil {
		t.Skip("SIM_SEED is not set")
	}
	steps, _ := strconv.Atoi(os.Getenv("SIM_STEPS"))
	var b strings.Builder
	rep := Run(Options{Seeds: 1, Seed: seed, Steps: steps, Out: &b, Twins: os.Getenv("SIM_TWINS") != "", Shrink: -1})
	if !rep.OK() {
		t.Error(b.String())
	}
}
