package mutanttest

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// Write writes the report as a table: fault, what it breaks, which killer found
// it, after how many histories of the simulation, and how long all of its
// killers took; then what was not found.
func (r Report) Write(out io.Writer) error {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	fmt.Fprintf(w, "fault\tbreaks\tkilled by\tseeds\tseconds\n")
	for _, row := range r.Rows {
		var by []string
		seeds, took := "", time.Duration(0)
		for _, v := range row.Verdicts {
			took += v.Took
			if !v.Killed {
				continue
			}
			by = append(by, v.Killer.String())
			if v.Seeds > 0 {
				seeds = strings.TrimSpace(fmt.Sprint(seeds, " ", v.Seeds))
			}
		}
		if by == nil {
			by = []string{"NOBODY"}
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%.1f\n", row.Name, row.Breaks, strings.Join(by, ", "), seeds, took.Seconds())
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, row := range r.Missed() {
		for _, v := range row.Verdicts {
			switch {
			case v.Killed:
			case v.Failed:
				fmt.Fprintf(&b, "%s (%s): %s failed before the fault made a difference: %s\n", row.Name, row.Where, v.Killer, v.Said)
			case v.Reached:
				fmt.Fprintf(&b, "%s (%s): %s passes though the fault made a difference\n", row.Name, row.Where, v.Killer)
			default:
				fmt.Fprintf(&b, "%s (%s): %s passes and never came by\n", row.Name, row.Where, v.Killer)
			}
		}
	}
	base := time.Duration(0)
	for _, v := range r.Baseline {
		base += v.Took
	}
	killed := len(r.Rows) - len(r.Survivors())
	fmt.Fprintf(&b, "%d of %d faults killed; built in %.0f s, baseline %.0f s, all in %.0f s\n", killed, len(r.Rows), r.Built.Seconds(), base.Seconds(), r.Took.Seconds())
	if r.Err != nil {
		fmt.Fprintf(&b, "%v\n", r.Err)
	}
	_, err := io.WriteString(out, b.String())
	return err
}
