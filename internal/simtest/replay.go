package simtest

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// Replay is a history that is played again: of one seed, the steps that are
// kept. As text it is a few lines of a name and its value; lines that begin
// with # are for people.
type Replay struct {
	Seed  int64
	Steps int // of the whole history, after which everything settles
	Twins bool
	Keep  []int // the steps played, ascending; nil for all
	// About is what it showed when it was written, and the end of its trace.
	About []string
}

// File is the name that a replay is written to.
func (r Replay) File() string {
	twins := ""
	if r.Twins {
		twins = "twins-"
	}
	return fmt.Sprintf("satchel-sim-%s%d.replay", twins, r.Seed)
}

// WriteTo writes the replay as text.
func (r Replay) WriteTo(w io.Writer) (int64, error) {
	var b strings.Builder
	for _, l := range r.About {
		for _, l := range strings.Split(strings.TrimRight(l, "\n"), "\n") {
			fmt.Fprintf(&b, "# %s\n", l)
		}
	}
	fmt.Fprintf(&b, "seed %d\nsteps %d\n", r.Seed, r.Steps)
	if r.Twins {
		b.WriteString("twins true\n")
	}
	if r.Keep != nil {
		fmt.Fprintf(&b, "keep %s\n", spans(r.Keep))
	}
	n, err := io.WriteString(w, b.String())
	return int64(n), err
}

// spans renders ascending numbers, those in a row as one span.
func spans(ns []int) string {
	var out []string
	for i := 0; i < len(ns); {
		j := i
		for j+1 < len(ns) && ns[j+1] == ns[j]+1 {
			j++
		}
		s := strconv.Itoa(ns[i])
		if j > i {
			s += "-" + strconv.Itoa(ns[j])
		}
		out = append(out, s)
		i = j + 1
	}
	return strings.Join(out, " ")
}

// maxSteps bounds the steps that a replay may have.
const maxSteps = 1 << 20

// ReadReplay reads what WriteTo wrote. Errors name the line.
func ReadReplay(r io.Reader) (out Replay, err error) {
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, 1<<20)
	seen := map[string]bool{}
	for n := 1; sc.Scan(); n++ {
		line := strings.TrimSpace(sc.Text())
		if line == "" {
			continue
		}
		if about, ok := strings.CutPrefix(line, "#"); ok {
			out.About = append(out.About, strings.TrimSpace(about))
			continue
		}
		name, value, _ := strings.Cut(line, " ")
		if seen[name] {
			return Replay{}, fmt.Errorf("replay: line %d: a second %s", n, name)
		}
		seen[name] = true
		switch name {
		case "seed":
			out.Seed, err = strconv.ParseInt(value, 10, 64)
		case "steps":
			if out.Steps, err = strconv.Atoi(value); err == nil && (out.Steps < 1 || out.Steps > maxSteps) {
				err = fmt.Errorf("%d steps", out.Steps)
			}
		case "twins":
			out.Twins, err = strconv.ParseBool(value)
		case "keep":
			out.Keep, err = parseSpans(value)
		default:
			err = fmt.Errorf("%q is nothing a replay says", name)
		}
		if err != nil {
			return Replay{}, fmt.Errorf("replay: line %d: %w", n, err)
		}
	}
	switch {
	case sc.Err() != nil:
		return Replay{}, fmt.Errorf("replay: %w", sc.Err())
	case !seen["seed"] || !seen["steps"]:
		return Replay{}, fmt.Errorf("replay: no seed, or no steps")
	case len(out.Keep) > 0 && out.Keep[len(out.Keep)-1] >= out.Steps:
		return Replay{}, fmt.Errorf("replay: step %d of %d", out.Keep[len(out.Keep)-1], out.Steps)
	}
	return out, nil
}

func parseSpans(s string) ([]int, error) {
	out := []int{}
	for _, part := range strings.Fields(s) {
		from, to, span := strings.Cut(part, "-")
		a, err := strconv.Atoi(from)
		if err != nil {
			return nil, err
		}
		b := a
		if span {
			if b, err = strconv.Atoi(to); err != nil {
				return nil, err
			}
		}
		if a < 0 || b < a || b >= maxSteps || len(out) > 0 && a <= out[len(out)-1] {
			return nil, fmt.Errorf("%q: steps ascend", part)
		}
		for n := a; n <= b; n++ {
			out = append(out, n)
		}
	}
	return out, nil
}

// Play plays a replay once. The report has its violation, if it still has one,
// and the end of its trace.
func Play(r Replay) Report {
	worlds()
	rep := Report{Seeds: 1, Steps: r.Steps, Twins: r.Twins, Counters: map[string]int{}, Matrix: map[Cell]int{}}
	out := script{seed: r.Seed, steps: r.Steps, twins: r.Twins, keep: r.Keep}.play()
	out.addTo(&rep)
	return rep
}

// Write prints the report as a run does.
func (r Report) Write(w io.Writer) { r.print(w) }

func (sc script) replay(about string, trace []string) Replay {
	return Replay{Seed: sc.seed, Steps: sc.steps, Twins: sc.twins, Keep: sc.keep, About: append([]string{about, "The end of it:"}, trace...)}
}

// shrink leaves out of a failing history the steps that it does not take to
// fail in the same way, by halves, quarters and so on (delta debugging), with at
// most so many tries.
func shrink(out outcome, tries int, play func(script) outcome) outcome {
	keep := out.script.all()
	if i := slices.IndexFunc(keep, func(n int) bool { return n > out.step }); i >= 0 {
		keep = keep[:i]
	}
	best := out
	attempt := func(keep []int) bool {
		if tries--; tries < 0 {
			return false
		}
		sc := best.script
		sc.keep = append([]int{}, keep...)
		got := play(sc)
		if got.violation == "" || got.kind != out.kind {
			return false
		}
		if i := slices.IndexFunc(sc.keep, func(n int) bool { return n > got.step }); i >= 0 {
			got.script.keep = sc.keep[:i]
		}
		got.counters, got.cells = out.counters, out.cells
		best = got
		return true
	}
	attempt(keep)
	for parts := 2; len(best.script.all()) > 1 && tries > 0; {
		keep := best.script.all()
		size := (len(keep) + parts - 1) / parts
		shorter := false
		for at := 0; at < len(keep) && tries > 0; at += size {
			rest := slices.Concat(keep[:at], keep[min(at+size, len(keep)):])
			if attempt(rest) {
				shorter = true
				break
			}
		}
		switch {
		case shorter:
			parts = max(parts-1, 2)
		case size == 1:
			return best
		default:
			parts = min(2*parts, len(keep))
		}
	}
	return best
}
