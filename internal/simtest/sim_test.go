package simtest

import (
	"os"
	"slices"
	"strings"
	"testing"
)

func TestSim(t *testing.T) {
	var b strings.Builder
	rep := Run(Options{Seeds: 30, Steps: 120, Seed: 1, Out: &b, Shrink: 40})
	if !rep.OK() {
		t.Fatal(b.String())
	}
	if os.Getenv("SIM_VERBOSE") != "" {
		t.Log(b.String())
	}
}

func TestTwins(t *testing.T) {
	var b strings.Builder
	rep := Run(Options{Seeds: len(watched), Steps: 50, Twins: true, Out: &b, Shrink: 20})
	if !rep.OK() {
		t.Fatal(b.String())
	}
	if rep.Counters["answers compared"] < 1000 {
		t.Errorf("only %d answers were compared", rep.Counters["answers compared"])
	}
}

// TestTwice plays histories twice: in memory, and on files.
func TestTwice(t *testing.T) {
	worlds()
	for _, seed := range []int64{twiceEvery, 23} {
		sc := script{seed: seed, steps: 80, hashed: true}
		a, b := sc.play(), sc.play()
		if a.violation != "" || a.hash == "" || len(a.entries) < 80 {
			t.Fatalf("seed %d: %q, hash %q, %d entries", seed, a.violation, a.hash, len(a.entries))
		}
		if a.hash != b.hash {
			t.Errorf("seed %d: two histories, alike up to entry %d", seed, alike(a.entries, b.entries))
		}
		if c := (script{seed: seed + 1, steps: 80, hashed: true}).play(); c.hash == a.hash {
			t.Error("two seeds have one hash")
		}
	}
	if n := Run(Options{Seeds: 1, Steps: 20, Seed: 2 * twiceEvery}).Counters["histories played twice"]; n != 1 {
		t.Errorf("%d histories were played twice", n)
	}
}

// TestPlanted makes sure that the judge finds what is wrong: each fault that is
// planted is found within a few histories, and shortened.
func TestPlanted(t *testing.T) {
	worlds()
	for _, bad := range []planted{plantFrom, plantWake, plantLoss} {
		t.Run(string(bad), func(t *testing.T) {
			for seed := int64(1); seed <= 12; seed++ {
				out := script{seed: seed, steps: 150, planted: bad}.play()
				if out.violation == "" {
					continue
				}
				short := shrink(out, 30, script.play)
				if n, all := len(short.script.all()), len(out.script.all()); short.violation == "" || short.kind != out.kind || n >= all {
					t.Errorf("%d of %d steps are left, which show %q, not %q", n, all, short.violation, out.violation)
				}
				t.Logf("seed %d, %d steps: %s", seed, len(short.script.all()), short.violation)
				return
			}
			t.Error("not found")
		})
	}
}

// TestShrink shortens a made-up history that fails when three of its steps are
// there, and in another way when a fourth is there without them.
func TestShrink(t *testing.T) {
	needs := []int{7, 40, 41}
	plays := 0
	play := func(sc script) outcome {
		plays++
		out := outcome{script: sc, step: 63}
		switch all := sc.all(); {
		case !slices.ContainsFunc(needs, func(n int) bool { return !slices.Contains(all, n) }):
			out.violation, out.kind, out.step = "seven and forty", "that", 41
		case slices.Contains(all, 12):
			out.violation, out.kind = "twelve", "another"
		}
		return out
	}
	whole := play(script{seed: 9, steps: 64})
	short := shrink(whole, 100, play)
	if !slices.Equal(short.script.keep, needs) || short.violation != "seven and forty" {
		t.Errorf("left are %d: %q", short.script.keep, short.violation)
	}
	plays = 0
	if short := shrink(whole, 5, play); plays > 5 || short.violation != "seven and forty" {
		t.Errorf("%d tries where 5 are allowed: %q", plays, short.violation)
	}
}

func TestMissing(t *testing.T) {
	rep := Report{Seeds: 250, Steps: 400, Counters: map[string]int{}, Matrix: map[Cell]int{}}
	for _, k := range wanted {
		rep.Counters[k] = 1
	}
	for _, f := range faultNames {
		for _, st := range f.meets {
			rep.Matrix[Cell{f.name, st}] = 1
		}
	}
	if got := rep.Missing(); len(got) > 0 || !rep.Long() {
		t.Errorf("missing of a run that met everything: %q, long %v", got, rep.Long())
	}
	rep.Counters["removal"] = 0
	delete(rep.Matrix, Cell{requestLate, midRound})
	if got := rep.Missing(); !slices.Equal(got, []string{"removal", "request late × mid-round"}) {
		t.Errorf("missing: %q", got)
	}
	for _, f := range faultNames {
		for _, st := range f.meets {
			if !slices.Contains(everyState, st) {
				t.Errorf("%s is to meet %q, which is no state", f.name, st)
			}
		}
	}
}
