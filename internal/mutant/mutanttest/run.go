// Package mutanttest shows that the tests find what is broken: it builds the
// program and its tests with a switch for planted faults (package mutant),
// plants one fault after the other, and runs the tests that must find it. It
// needs the module's sources and the go command. Commands for long runs and
// tests import it.
package mutanttest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"satchel/internal/mutant"
)

// tag is the build tag of the switch.
const tag = "satchel_mutants"

// Options say what to run. The zero value is every fault, each until the first
// test has found it.
type Options struct {
	// Root is the folder of the module's go.mod; "" looks for it from the
	// working directory up.
	Root string
	// Only are names of faults; nil for all.
	Only []string
	// Every asks each killer of a fault rather than stop at the first that finds
	// it. Then all of them must.
	Every bool
	// Seeds and Steps are the histories of the simulation and their length, 50
	// and 100 unless said; twins are half as long. Seed is the first, 1 unless
	// said.
	Seeds, Steps int
	Seed         int64
	// Workers is how many faults are looked for beside each other, 2 unless
	// said.
	Workers int
	// Patience bounds one run of one killer, 3 minutes unless said. A fault by
	// which a killer hangs is found.
	Patience time.Duration
	// Progress is called after each fault with how many are done; nil for none.
	// Calls come one at a time.
	Progress func(done, total int)
}

// Report is what a run found.
type Report struct {
	// Err says why nothing could be found out: what does not build, a killer
	// that fails without a fault, an unknown name, the end of the context.
	Err error
	// Baseline are the killers without a fault.
	Baseline []Verdict
	Rows     []Row
	Built    time.Duration // what building took
	Took     time.Duration // all of it
	every    bool
}

// Row is what became of one fault.
type Row struct {
	mutant.Fault
	Verdicts []Verdict // in the order of the killers asked
}

// Verdict is what one killer said of one fault, or of none.
type Verdict struct {
	mutant.Killer
	// Failed: the killer failed. Reached: the fault had made a difference by
	// then. Killed is both: a killer that fails before has found something else.
	Failed, Reached, Killed bool
	// Seeds is after how many histories the simulation failed, 0 for others.
	Seeds int
	Said  string // of a failure, what it said; at most some lines
	Took  time.Duration
}

// Killed reports whether some killer found the fault.
func (r Row) Killed() bool {
	return slices.ContainsFunc(r.Verdicts, func(v Verdict) bool { return v.Killed })
}

// Survivors returns the faults that no killer found.
func (r Report) Survivors() []Row {
	return slices.DeleteFunc(slices.Clone(r.Rows), Row.Killed)
}

// Missed returns the faults that some killer which was asked did not find.
func (r Report) Missed() []Row {
	return slices.DeleteFunc(slices.Clone(r.Rows), func(x Row) bool {
		return len(x.Verdicts) > 0 && !slices.ContainsFunc(x.Verdicts, func(v Verdict) bool { return !v.Killed })
	})
}

// OK reports whether every fault was found: by some killer or, with
// Options.Every, by each of its killers.
func (r Report) OK() bool {
	return r.Err == nil && len(r.Survivors()) == 0 && (!r.every || len(r.Missed()) == 0)
}

// Run builds, proves that every killer passes where nothing is planted, and
// looks for the faults. It leaves nothing on disk.
func Run(ctx context.Context, o Options) (rep Report) {
	began := time.Now()
	defer func() { rep.Took = time.Since(began) }()
	o = o.filled()
	rep.every = o.Every
	b, err := build(ctx, o)
	if b != nil {
		defer os.RemoveAll(b.dir) //nolint:errcheck // temporary files
	}
	if rep.Built = time.Since(began); err != nil {
		rep.Err = err
		return rep
	}
	if rep.Baseline, rep.Err = b.baseline(ctx); rep.Err != nil {
		return rep
	}
	rep.Rows = make([]Row, len(b.faults))
	var mu sync.Mutex // of done
	done := 0
	rep.Err = b.each(len(b.faults), func(i int) error {
		row, err := b.hunt(ctx, b.faults[i])
		rep.Rows[i] = row
		mu.Lock()
		defer mu.Unlock()
		if done++; o.Progress != nil {
			o.Progress(done, len(b.faults))
		}
		return err
	})
	if rep.Err != nil { // rows of faults that were not looked for say nothing
		rep.Rows = slices.DeleteFunc(rep.Rows, func(r Row) bool { return len(r.Verdicts) == 0 })
	}
	return rep
}

func (o Options) filled() Options {
	number := func(n *int, otherwise int) {
		if *n <= 0 {
			*n = otherwise
		}
	}
	number(&o.Seeds, 50)
	number(&o.Steps, 100)
	number(&o.Workers, 2)
	if o.Seed == 0 {
		o.Seed = 1
	}
	if o.Patience <= 0 {
		o.Patience = 3 * time.Minute
	}
	return o
}

// binaries are what the killers are run from.
type binaries struct {
	Options
	dir    string
	faults []mutant.Fault
	runs   int
	mu     sync.Mutex // of runs
}

// build makes the program and the tests with the switch, once for all faults.
func build(ctx context.Context, o Options) (*binaries, error) {
	b := &binaries{Options: o}
	var err error
	if b.Root == "" {
		if b.Root, err = root(); err != nil {
			return nil, err
		}
	}
	if b.dir, err = os.MkdirTemp("", "satchel-mutants-"); err != nil {
		return nil, err
	}
	if err := b.do(ctx, "build", "-tags", tag, "-o", b.program(), "./cmd/satchel"); err != nil {
		return b, err
	}
	list := exec.CommandContext(ctx, b.program())
	list.Env = append(os.Environ(), "SATCHEL_MUTANT=list")
	out, err := list.Output()
	if err == nil {
		err = json.Unmarshal(out, &b.faults)
	}
	if err != nil {
		return b, fmt.Errorf("mutanttest: the table of faults: %w", err)
	}
	for _, name := range b.Only {
		if !slices.ContainsFunc(b.faults, func(f mutant.Fault) bool { return f.Name == name }) {
			return b, fmt.Errorf("mutanttest: there is no fault %q", name)
		}
	}
	if b.Only != nil {
		b.faults = slices.DeleteFunc(b.faults, func(f mutant.Fault) bool { return !slices.Contains(b.Only, f.Name) })
	}
	args := []string{"test", "-c", "-tags", tag, "-o", b.dir + string(filepath.Separator)}
	pkgs := b.packages()
	if len(pkgs) == 0 {
		return b, nil
	}
	for _, p := range pkgs {
		args = append(args, "./"+p)
	}
	return b, b.do(ctx, args...)
}

// do runs the go command in the module.
func (b *binaries) do(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = b.Root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("mutanttest: go %s: %w\n%s", args[0], err, tail(string(out), 30))
	}
	return nil
}

func (b *binaries) program() string { return filepath.Join(b.dir, "satchel") }

// packages are those of the directed tests, sorted.
func (b *binaries) packages() (out []string) {
	for _, f := range b.faults {
		for _, k := range f.Killers {
			if k.Kind == mutant.Directed && !slices.Contains(out, k.Package) {
				out = append(out, k.Package)
			}
		}
	}
	slices.Sort(out)
	return out
}

// root finds the module from the working directory up.
func root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("mutanttest: there is no go.mod here or above: the module's sources are needed")
		}
		dir = up
	}
}

// baseline runs every killer with nothing planted: one that fails then, or that
// is not there, finds nothing.
func (b *binaries) baseline(ctx context.Context) (all []Verdict, err error) {
	tests := map[string][]string{}
	kinds := map[mutant.Kind]bool{}
	for _, f := range b.faults {
		for _, k := range f.Killers {
			kinds[k.Kind] = true
			if k.Kind == mutant.Directed && !slices.Contains(tests[k.Package], k.Test) {
				tests[k.Package] = append(tests[k.Package], k.Test)
			}
		}
	}
	var todo []mutant.Killer // what takes longest first
	for _, kind := range []mutant.Kind{mutant.Simulation, mutant.Twins} {
		if kinds[kind] {
			todo = append(todo, mutant.Killer{Kind: kind})
		}
	}
	for _, p := range b.packages() {
		slices.Sort(tests[p])
		todo = append(todo, mutant.Killer{Kind: mutant.Directed, Package: p, Test: strings.Join(tests[p], "|")})
	}
	all = make([]Verdict, len(todo))
	return all, b.each(len(todo), func(i int) error {
		k := todo[i]
		v, out, err := b.ask(ctx, k, "")
		if all[i] = v; err != nil {
			return err
		}
		if v.Failed {
			at := ""
			if v.Seeds > 0 {
				at = fmt.Sprintf(" (seed %d)", b.Seed+int64(v.Seeds)-1)
			}
			return fmt.Errorf("mutanttest: %s%s fails though no fault is planted:\n%s", k, at, v.Said)
		}
		for name := range strings.SplitSeq(k.Test, "|") {
			if k.Kind == mutant.Directed && !strings.Contains(out, "--- PASS: "+name+" ") {
				return fmt.Errorf("mutanttest: %s has no test %s, or skips it", k.Package, name)
			}
		}
		return nil
	})
}

// each calls f for the numbers below n, some beside each other, until one
// fails.
func (b *binaries) each(n int, f func(int) error) (first error) {
	var mu sync.Mutex
	next := 0
	var wg sync.WaitGroup
	for range b.Workers {
		wg.Go(func() {
			for {
				mu.Lock()
				i := next
				next++
				stop := i >= n || first != nil
				mu.Unlock()
				if stop {
					return
				}
				if err := f(i); err != nil {
					mu.Lock()
					if first == nil {
						first = err
					}
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return first
}

// hunt asks the killers of a fault.
func (b *binaries) hunt(ctx context.Context, f mutant.Fault) (Row, error) {
	row := Row{Fault: f}
	for _, k := range f.Killers {
		v, _, err := b.ask(ctx, k, f.Name)
		if err != nil {
			return row, err
		}
		row.Verdicts = append(row.Verdicts, v)
		if v.Killed && !b.Every {
			break
		}
	}
	return row, nil
}

// ask runs one killer with a fault, "" for none, and returns what it wrote.
func (b *binaries) ask(ctx context.Context, k mutant.Killer, fault string) (v Verdict, out string, err error) {
	b.mu.Lock()
	b.runs++
	mark := filepath.Join(b.dir, "reached-"+strconv.Itoa(b.runs))
	b.mu.Unlock()
	patient, cancel := context.WithTimeout(ctx, b.Patience)
	defer cancel()
	cmd := b.command(patient, k)
	var buf bytes.Buffer
	cmd.Stdout, cmd.Stderr = &buf, &buf
	cmd.Env = append(os.Environ(), "SATCHEL_MUTANT="+fault, "SATCHEL_MUTANT_REACHED="+mark)
	cmd.WaitDelay = 5 * time.Second
	began := time.Now()
	failure := cmd.Run()
	v = Verdict{Killer: k, Took: time.Since(began)}
	if err := ctx.Err(); err != nil {
		return v, "", err
	}
	out = buf.String()
	var exit *exec.ExitError
	hung := patient.Err() != nil
	switch {
	case failure == nil:
	case hung, errors.As(failure, &exit) && exit.ExitCode() != 3:
		v.Failed = true
	default: // it did not start, or does not know the fault
		return v, "", fmt.Errorf("mutanttest: %s: %w\n%s", k, failure, tail(out, 10))
	}
	if _, err := os.Stat(mark); err == nil {
		v.Reached = true
	} else if !errors.Is(err, fs.ErrNotExist) {
		return v, "", err
	}
	v.Killed = v.Failed && v.Reached
	if v.Failed {
		v.Said, v.Seeds = b.said(k, out, hung)
	}
	return v, out, nil
}

// command makes the process that is a killer.
func (b *binaries) command(ctx context.Context, k mutant.Killer) *exec.Cmd {
	if k.Kind == mutant.Directed {
		base := filepath.Base(filepath.FromSlash(k.Package)) + ".test"
		cmd := exec.CommandContext(ctx, filepath.Join(b.dir, base), "-test.v", "-test.run", "^("+k.Test+")$")
		cmd.Dir = filepath.Join(b.Root, filepath.FromSlash(k.Package))
		return cmd
	}
	cmd := exec.CommandContext(ctx, b.program(), b.simulation(k.Kind == mutant.Twins)...)
	cmd.Dir = b.dir
	return cmd
}

// simulation is how the program is asked for histories. One that fails has found
// the fault: no time goes into making it shorter.
func (b *binaries) simulation(twins bool) []string {
	args, seeds, steps := []string{"sim", "--shrink", "0"}, b.Seeds, b.Steps
	if twins {
		args, seeds, steps = append(args, "--twins"), (seeds+1)/2, (steps+1)/2
	}
	return append(args, "--seeds", strconv.Itoa(seeds), "--steps", strconv.Itoa(steps), "--seed", strconv.FormatInt(b.Seed, 10))
}

var violated = regexp.MustCompile(`(?m)^seed (-?\d+): (.*)$`)

// said returns what a killer said, and of the simulation after how many
// histories.
func (b *binaries) said(k mutant.Killer, out string, hung bool) (string, int) {
	if hung {
		return "it did not end in time", 0
	}
	if k.Kind != mutant.Directed {
		if m := violated.FindStringSubmatch(out); m != nil {
			if seed, err := strconv.ParseInt(m[1], 10, 64); err == nil {
				return m[2], int(seed-b.Seed) + 1
			}
		}
		return tail(out, 5), 0
	}
	var lines []string
	for line := range strings.Lines(out) {
		if s := strings.TrimSpace(line); strings.HasPrefix(s, "--- FAIL") || strings.Contains(s, "_test.go:") || strings.HasPrefix(s, "panic:") {
			lines = append(lines, s)
		}
	}
	if len(lines) == 0 {
		return tail(out, 5), 0
	}
	return strings.Join(lines[:min(len(lines), 8)], "\n"), 0
}

func tail(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
