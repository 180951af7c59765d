package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// count is a part that does what it is told and counts it.
func count(name string, total, portion int) *part {
	return &part{name: name, total: total, portion: portion, counts: map[string]int{}, try: func(_ context.Context, _, n int) (tried, error) {
		return tried{n: n, counts: map[string]int{"things": 2 * n}}, nil
	}}
}

func readTorture(t *testing.T, path string) (rep tortureReport) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &rep); err != nil {
		t.Fatal(err)
	}
	return rep
}

// TestTortureTurns: parts take turns by what is left of them, a violation of one
// stops it and not the others, and the report says all of it.
func TestTortureTurns(t *testing.T) {
	var order []string
	noting := func(p *part) *part {
		try := p.try
		p.try = func(ctx context.Context, from, n int) (tried, error) {
			order = append(order, p.name)
			return try(ctx, from, n)
		}
		return p
	}
	bad := noting(count("bad", 10, 1))
	bad.try = func(_ context.Context, from, n int) (tried, error) {
		if from < 2 {
			return tried{n: n}, nil
		}
		return tried{n: n, violation: "it broke", replay: "satchel again"}, nil
	}
	away := count("away", 3, 1)
	away.try = func(context.Context, int, int) (tried, error) { return tried{skipped: "not here"}, nil }
	stuck := count("stuck", 3, 1)
	stuck.try = func(context.Context, int, int) (tried, error) { return tried{n: 1}, errors.New("no disk") }
	parts := []*part{noting(count("a", 100, 50)), noting(count("b", 4, 1)), bad, away, stuck}
	var out bytes.Buffer
	o := &tortureOptions{JSON: filepath.Join(t.TempDir(), "report.json")}
	err := torture(context.Background(), parts, o, &out)
	if !errors.As(err, new(quietError)) {
		t.Errorf("ended with %v", err)
	}
	if got := strings.Join(order, ""); got != "abbabb" {
		t.Errorf("turns %s", got)
	}
	for _, want := range []string{"it broke", "satchel again", "left out: not here", "could not go on: no disk", "200 things"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
	rep := readTorture(t, o.JSON)
	if rep.OK || len(rep.Parts) != 5 || rep.Parts[2].Violation != "it broke" || rep.Parts[2].Done != 3 || rep.Parts[0].Counts["things"] != 200 {
		t.Errorf("%+v", rep)
	}
}

// TestTortureEnds: an interrupt and the end of the time both end the run with
// what there is, which is no violation.
func TestTortureEnds(t *testing.T) {
	for name, run := range map[string]func(*part, *tortureOptions) context.Context{
		"interrupt": func(p *part, _ *tortureOptions) context.Context {
			ctx, cancel := context.WithCancel(context.Background())
			try := p.try
			p.try = func(c context.Context, from, n int) (tried, error) {
				if from == 3 {
					cancel()
					return tried{}, c.Err()
				}
				return try(c, from, n)
			}
			return ctx
		},
		"time": func(p *part, o *tortureOptions) context.Context {
			o.For = 50 * time.Millisecond
			p.try = func(c context.Context, _, _ int) (tried, error) {
				<-c.Done()
				return tried{n: 3}, c.Err()
			}
			return context.Background()
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, o := count("a", 1000, 1), &tortureOptions{}
			var out bytes.Buffer
			if err := torture(run(p, o), []*part{p}, o, &out); err != nil {
				t.Error(err)
			}
			if p.done != 3 || !strings.Contains(out.String(), "nothing was violated") || strings.Contains(out.String(), "interrupted") != (name == "interrupt") {
				t.Errorf("%d done\n%s", p.done, out.String())
			}
		})
	}
}

// TestTorture: a little of each part that needs no sources, by the binary.
func TestTorture(t *testing.T) {
	if testing.Short() {
		t.Skip("starts servers")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "report.json")
	run := func(args ...string) *exec.Cmd {
		cmd := exec.Command(self, append([]string{"torture", "--dir", dir, "--json", path}, args...)...)
		cmd.Env, cmd.Dir = append(os.Environ(), asBinary+"=1"), dir
		return cmd
	}
	out, err := run("--seeds", "2", "--steps", "20", "--twins", "1", "--kills", "3", "--states", "60").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	rep := readTorture(t, path)
	if !rep.OK || len(rep.Parts) != 5 || rep.Parts[4].Skipped == "" {
		t.Errorf("%+v", rep)
	}
	for _, p := range rep.Parts[:4] {
		if p.Done != p.Total || p.Failed != "" || len(p.Counts) == 0 {
			t.Errorf("%+v", p)
		}
	}
	// An interrupt, once something was done.
	cmd := run("--seeds", "1000000", "--steps", "20", "--twins", "0", "--kills", "0", "--states", "0", "--mutants=false")
	lines, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := bufio.NewReader(lines)
	if _, err := said.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, said); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after an interrupt: %v", err)
	}
	if rep := readTorture(t, path); !rep.OK || !rep.Interrupted || rep.Parts[0].Done >= rep.Parts[0].Total {
		t.Errorf("%+v", rep)
	}
	out, err = run("--steps", "0").CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 2 {
		t.Errorf("no steps: %v %s", err, out)
	}
}
