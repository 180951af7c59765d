package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"satchel/internal/app"
	"satchel/internal/crashtest"
	"satchel/internal/durable"
	"satchel/internal/ident"
	"satchel/internal/mutant/mutanttest"
	"satchel/internal/simtest"
	"satchel/sync/tenant"
)

// tortureOptions say how long what is tried.
type tortureOptions struct {
	Seeds, Steps, Twins, Kills, States int
	Mutants                            bool
	Seed                               int64
	For                                time.Duration
	JSON                               string
	Dir                                string
}

func tortureCommand() *cobra.Command {
	var o tortureOptions
	var hours float64
	cmd := &cobra.Command{
		Use: "torture", Short: "Try for hours to break this program, and say what broke", Args: cobra.NoArgs,
		Long: `Try for hours to break this program, and say what broke.

The parts take turns, so that each has had its share whenever the run ends:

  sim      random histories against the core, each step judged by the oracle
  twins    histories in two worlds that differ in what one person may not see
  kills    a server of this program ended by SIGKILL under load, its folder judged
  states   what a power cut can leave of a commit, sector by sector
  mutants  planted faults, each of which a test must find; needs Go and the sources

A part is left out with 0, or --mutants=false. An interrupt ends the run with
what was found so far. The exit code is 1 if anything was violated; the report
says how to see it again.`,
		RunE: func(c *cobra.Command, _ []string) error {
			if hours > 0 && o.For > 0 {
				return usageError{errors.New("--hours and --for say the same")}
			}
			if hours > 0 {
				o.For = time.Duration(hours * float64(time.Hour))
			}
			if o.Steps < 1 || min(o.Seeds, o.Twins, o.Kills, o.States) < 0 || o.For < 0 || o.Seed < 0 {
				return usageError{errors.New("numbers must not be negative, and --steps at least 1")}
			}
			parts, err := tortureParts(&o)
			if err != nil {
				return err
			}
			return torture(c.Context(), parts, &o, c.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.Float64Var(&hours, "hours", 0, "end after so many hours; 0 for when all is done")
	f.DurationVar(&o.For, "for", 0, "end after so long, as 90m; 0 for when all is done")
	f.IntVar(&o.Seeds, "seeds", 10_000, "histories of the simulation")
	f.IntVar(&o.Steps, "steps", 2000, "steps of each history, twins too")
	f.IntVar(&o.Twins, "twins", 10_000, "histories in two worlds")
	f.IntVar(&o.Kills, "kills", 1000, "times to kill a server")
	f.IntVar(&o.States, "states", 1_000_000, "crash states to try")
	f.BoolVar(&o.Mutants, "mutants", true, "have the tests find planted faults")
	f.Int64Var(&o.Seed, "seed", 1, "seed of the first history")
	f.StringVar(&o.JSON, "json", "", "file to write the report to")
	f.StringVar(&o.Dir, "dir", "", "folder for what is made on the way; the system's by default")
	return cmd
}

// part is one way to try. It is gone through in portions.
type part struct {
	name string
	// total is how much there is to do, portion how much at once.
	total, portion int
	// try does so much more, from what was done before on, and says how much it
	// did; less only when ctx has ended.
	try func(ctx context.Context, from, n int) (tried, error)

	done      int
	took      time.Duration
	counts    map[string]int
	violation string
	replay    string
	skipped   string // why it was not tried
	failed    error  // why it could not go on
}

// tried is what a portion came to.
type tried struct {
	n         int
	counts    map[string]int // to be added up
	violation string
	replay    string
	skipped   string
}

// over reports whether nothing of the part is left to do.
func (p *part) over() bool {
	return p.done >= p.total || p.violation != "" || p.skipped != "" || p.failed != nil
}

// share is how much of the part is done, from 0 to 1.
func (p *part) share() float64 { return float64(p.done) / float64(p.total) }

func (p *part) step(ctx context.Context) {
	began := time.Now()
	t, err := p.try(ctx, p.done, min(p.portion, p.total-p.done))
	p.took += time.Since(began)
	p.done += t.n
	for k, n := range t.counts {
		p.counts[k] += n
	}
	p.violation, p.replay, p.skipped = t.violation, t.replay, t.skipped
	if ctx.Err() == nil {
		p.failed = err // otherwise it was told to end
	}
}

func (p *part) line() string {
	switch {
	case p.skipped != "":
		return fmt.Sprintf("%-8s left out: %s", p.name, p.skipped)
	case p.failed != nil:
		return fmt.Sprintf("%-8s %d of %d, then it could not go on: %v", p.name, p.done, p.total, p.failed)
	}
	text := fmt.Sprintf("%-8s %d of %d in %v", p.name, p.done, p.total, p.took.Round(time.Second))
	keys := make([]string, 0, len(p.counts))
	for k := range p.counts {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		text += fmt.Sprintf(", %d %s", p.counts[k], k)
	}
	return text
}

// tellEvery is how often a line says how far a run is.
const tellEvery = 30 * time.Second

// torture goes through the parts, always the one of which least is done, and
// reports. Its error is quiet: what there is to say is in the report.
func torture(ctx context.Context, parts []*part, o *tortureOptions, out io.Writer) error {
	began := time.Now()
	run, cancel := ctx, context.CancelFunc(func() {})
	if o.For > 0 {
		run, cancel = context.WithTimeout(ctx, o.For)
	}
	defer cancel()
	told := time.Now()
	tell := func() {
		told = time.Now()
		text := ""
		for _, p := range parts {
			if p.skipped == "" {
				text += fmt.Sprintf("  %s %d/%d", p.name, p.done, p.total)
			}
		}
		fmt.Fprintf(out, "%s%s\n", told.Format(time.TimeOnly), text)
	}
	tell()
	for run.Err() == nil {
		var next *part
		for _, p := range parts {
			if !p.over() && (next == nil || p.share() < next.share()) {
				next = p
			}
		}
		if next == nil {
			break
		}
		next.step(run)
		switch {
		case next.violation != "":
			fmt.Fprintf(out, "%s VIOLATION %s: %s\n", time.Now().Format(time.TimeOnly), next.name, next.violation)
		case time.Since(told) < tellEvery && !next.over():
			continue
		}
		tell()
	}
	return reportTorture(parts, o, out, time.Since(began), ctx.Err() != nil)
}

// tortureReport is what --json writes.
type tortureReport struct {
	OK          bool          `json:"ok"`
	Interrupted bool          `json:"interrupted,omitempty"`
	Seconds     float64       `json:"seconds"`
	Go          string        `json:"go"`
	Platform    string        `json:"platform"`
	CPUs        int           `json:"cpus"`
	Parts       []torturePart `json:"parts"`
}

type torturePart struct {
	Name      string         `json:"name"`
	Done      int            `json:"done"`
	Total     int            `json:"total"`
	Seconds   float64        `json:"seconds"`
	Counts    map[string]int `json:"counts,omitempty"`
	Violation string         `json:"violation,omitempty"`
	Replay    string         `json:"replay,omitempty"`
	Skipped   string         `json:"skipped,omitempty"`
	Failed    string         `json:"failed,omitempty"`
}

func reportTorture(parts []*part, o *tortureOptions, out io.Writer, took time.Duration, interrupted bool) error {
	rep := tortureReport{
		OK: true, Interrupted: interrupted, Seconds: took.Seconds(), Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH, CPUs: runtime.NumCPU(),
	}
	if interrupted {
		fmt.Fprintf(out, "interrupted after %v\n", took.Round(time.Second))
	}
	for _, p := range parts {
		t := torturePart{
			Name: p.name, Done: p.done, Total: p.total, Seconds: p.took.Seconds(), Counts: p.counts, Violation: p.violation, Replay: p.replay, Skipped: p.skipped,
		}
		fmt.Fprintln(out, p.line())
		if p.violation != "" {
			fmt.Fprintf(out, "         VIOLATED: %s\n         again:    %s\n", p.violation, p.replay)
		}
		if p.failed != nil {
			t.Failed = p.failed.Error()
		}
		rep.OK = rep.OK && p.violation == "" && p.failed == nil
		rep.Parts = append(rep.Parts, t)
	}
	if rep.OK {
		fmt.Fprintln(out, "nothing was violated")
	}
	if o.JSON != "" {
		b, err := json.MarshalIndent(rep, "", "  ")
		if err != nil {
			return err
		}
		if err := durable.WriteFile(o.JSON, append(b, '\n')); err != nil {
			return err
		}
	}
	if !rep.OK {
		return quietError{errors.New("something was violated")}
	}
	return nil
}

// tortureParts are the parts that were asked for.
func tortureParts(o *tortureOptions) ([]*part, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	var parts []*part
	add := func(name string, total, portion int, try func(ctx context.Context, from, n int) (tried, error)) {
		if total > 0 {
			parts = append(parts, &part{name: name, total: total, portion: portion, try: try, counts: map[string]int{}})
		}
	}
	cores := runtime.GOMAXPROCS(0)
	add("sim", o.Seeds, cores, trySim(o, false))
	add("twins", o.Twins, cores, trySim(o, true))
	add("kills", o.Kills, 25, tryKills(o, crashtest.Binary{Args: []string{self}}))
	add("states", o.States, 5000, tryStates(o, cores))
	if o.Mutants {
		add("mutants", 1, 1, tryMutants)
	}
	return parts, nil
}

func trySim(o *tortureOptions, twins bool) func(context.Context, int, int) (tried, error) {
	return func(_ context.Context, from, n int) (tried, error) {
		rep := simtest.Run(simtest.Options{Seeds: n, Steps: o.Steps, Seed: o.Seed + int64(from), Twins: twins})
		return tried{n: rep.Seeds, counts: map[string]int{"steps": rep.Seeds * rep.Steps}, violation: rep.Violation, replay: rep.Replay}, nil
	}
}

func tryKills(o *tortureOptions, b crashtest.Binary) func(context.Context, int, int) (tried, error) {
	return func(ctx context.Context, from, n int) (tried, error) {
		seed := uint64(o.Seed) + uint64(from)
		rep, err := crashtest.Kill(ctx, crashtest.KillOptions{Binary: b, Open: openTenant, Dir: o.Dir, Rounds: n, Seed: seed})
		t := tried{n: rep.Rounds, violation: rep.Violation, counts: map[string]int{
			"writes": rep.Writes, "offline changes": rep.Mutations, "files": rep.Uploads, "token changes": rep.Renewals,
			"requests unanswered": rep.Unanswered, "killed while starting": rep.Starting,
		}}
		if rep.Violation != "" {
			t.replay = fmt.Sprintf("look at %s, or try: satchel torture --seeds 0 --twins 0 --states 0 --mutants=false --kills %d --seed %d", rep.Kept, n, seed)
		}
		return t, err
	}
}

func tryStates(o *tortureOptions, workers int) func(context.Context, int, int) (tried, error) {
	return func(ctx context.Context, from, n int) (tried, error) {
		dir := o.Dir
		if st, err := os.Stat("/dev/shm"); dir == "" && err == nil && st.IsDir() {
			dir = "/dev/shm" // in memory: what is written is read once
		}
		rep, err := crashtest.States(ctx, crashtest.StatesOptions{Dir: dir, States: n, Seed: uint64(o.Seed) + uint64(from), Workers: workers})
		t := tried{n: rep.States, violation: rep.Violation, counts: map[string]int{
			"commits": rep.Commits, "as before": rep.Old, "as after": rep.New, "gone on with": rep.Continued,
		}}
		if rep.Violation != "" {
			t.replay = fmt.Sprintf("satchel torture --seeds 0 --twins 0 --kills 0 --mutants=false --states %d --seed %d", n, rep.Seed)
		}
		return t, err
	}
}

// openTenant makes a tenant in a data folder.
func openTenant(dir string, slug ident.TenantID) (*tenant.Tenant, func() error, error) {
	ts, err := app.NewTenants(dir, nil, time.Now)
	if err != nil {
		return nil, nil, err
	}
	t, err := ts.Create(slug)
	return t, ts.Close, err
}

// tryMutants has the tests find planted faults, where there are sources and the
// means to build them.
func tryMutants(ctx context.Context, _, _ int) (tried, error) {
	root, ok := sources()
	if !ok {
		return tried{skipped: "the sources are not here"}, nil
	}
	if _, err := exec.LookPath("go"); err != nil {
		return tried{skipped: "there is no go command"}, nil //nolint:nilerr // which is no failure
	}
	rep := mutanttest.Run(ctx, mutanttest.Options{Root: root})
	if rep.Err != nil {
		return tried{}, rep.Err
	}
	survivors := rep.Survivors()
	t := tried{n: 1, counts: map[string]int{"faults": len(rep.Rows), "found": len(rep.Rows) - len(survivors)}}
	if len(survivors) > 0 {
		names := make([]string, len(survivors))
		for i, r := range survivors {
			names[i] = r.Name
		}
		t.violation = "not found: " + strings.Join(names, ", ")
		t.replay = "satchel torture --seeds 0 --twins 0 --kills 0 --states 0"
	}
	return t, nil
}

// sources finds the module's folder from the working directory up.
func sources() (root string, ok bool) {
	dir, err := os.Getwd()
	for err == nil {
		b, rerr := os.ReadFile(filepath.Join(dir, "go.mod"))
		if rerr == nil && strings.HasPrefix(string(b), "module satchel\n") {
			return dir, true
		}
		up := filepath.Dir(dir)
		if up == dir {
			break
		}
		dir = up
	}
	return "", false
}
