package mutanttest

import (
	"strings"
	"testing"
	"time"

	"satchel/internal/mutant"
)

// TestVerdicts: a fault counts as killed only where a killer failed once the
// fault had made a difference.
func TestVerdicts(t *testing.T) {
	sim := mutant.Killer{Kind: mutant.Simulation}
	test := mutant.Killer{Kind: mutant.Directed, Package: "a/b", Test: "TestC"}
	row := func(name string, vs ...Verdict) Row {
		return Row{Fault: mutant.Fault{Name: name, Breaks: "I2: x", Where: "a.go: f"}, Verdicts: vs}
	}
	rep := Report{Rows: []Row{
		row("a/killed", Verdict{Killer: sim, Failed: true, Reached: true, Killed: true, Seeds: 7, Took: time.Second}),
		row("a/second", Verdict{Killer: sim, Reached: true}, Verdict{Killer: test, Failed: true, Reached: true, Killed: true}),
		row("a/elsewhere", Verdict{Killer: test, Failed: true, Said: "no port"}),
		row("a/alive", Verdict{Killer: sim, Reached: true}),
		row("a/idle", Verdict{Killer: test}),
	}}
	all := rep.Rows
	names := func(rows []Row) string {
		var out []string
		for _, r := range rows {
			out = append(out, r.Name)
		}
		return strings.Join(out, " ")
	}
	if got := names(rep.Survivors()); got != "a/elsewhere a/alive a/idle" {
		t.Errorf("survivors: %s", got)
	}
	if got := names(rep.Missed()); got != "a/second a/elsewhere a/alive a/idle" {
		t.Errorf("missed: %s", got)
	}
	if rep.OK() {
		t.Error("a report with survivors is taken for a good one")
	}
	rep = Report{Rows: rep.Rows[:2]}
	if !rep.OK() {
		t.Error("a fault that one killer found is taken for missed")
	}
	if rep.every = true; rep.OK() {
		t.Error("every killer was to find it, one did not")
	}
	rep.Rows = all
	var b strings.Builder
	if err := rep.Write(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"a/second     I2: x   a/b TestC", "a/alive      I2: x   NOBODY",
		"a/elsewhere (a.go: f): a/b TestC failed before the fault made a difference: no port",
		"a/alive (a.go: f): sim passes though the fault made a difference",
		"a/idle (a.go: f): a/b TestC passes and never came by", "2 of 5 faults killed",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the report lacks %q:\n%s", want, b.String())
		}
	}
}

// TestSaid reads the seed of a violation, and what a test found wrong.
func TestSaid(t *testing.T) {
	b := &binaries{Options: Options{Seed: 11}}
	said, seeds := b.said(mutant.Killer{Kind: mutant.Twins}, "   9  pulls\n  3: x\nseed 14: step 2: I3: wrong\nreplay: y\n", false)
	if said != "step 2: I3: wrong" || seeds != 4 {
		t.Errorf("%q after %d seeds", said, seeds)
	}
	if said, seeds = b.said(mutant.Killer{Kind: mutant.Simulation}, "panic: at once", false); said != "panic: at once" || seeds != 0 {
		t.Errorf("%q after %d seeds", said, seeds)
	}
	said, _ = b.said(mutant.Killer{Kind: mutant.Directed}, "=== RUN   TestA\n    a_test.go:3: shown\n--- FAIL: TestA (0.00s)\nFAIL\n", false)
	if said != "a_test.go:3: shown\n--- FAIL: TestA (0.00s)" {
		t.Errorf("%q", said)
	}
	if said, _ = b.said(mutant.Killer{Kind: mutant.Directed}, "=== RUN   TestA\n", true); said != "it did not end in time" {
		t.Errorf("%q", said)
	}
}

// TestNothingIsShortened: a history that found a fault has done its part; the
// simulation is asked not to look for shorter ones.
func TestNothingIsShortened(t *testing.T) {
	b := &binaries{Options: Options{Seeds: 5, Steps: 7, Seed: 3}.filled()}
	for kind, want := range map[mutant.Kind]string{
		mutant.Simulation: "sim --shrink 0 --seeds 5 --steps 7 --seed 3",
		mutant.Twins:      "sim --shrink 0 --twins --seeds 3 --steps 4 --seed 3",
	} {
		cmd := b.command(t.Context(), mutant.Killer{Kind: kind})
		if got := strings.Join(cmd.Args[1:], " "); got != want {
			t.Errorf("%s: %s, want %s", kind, got, want)
		}
	}
}
