package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
)

// JSON returns a Report that writes a line of JSON for each figure: name, unit,
// value, p50, p99 and runs, or name and unsupported, which is why there is
// none.
func JSON(w io.Writer) func(Line) {
	enc := json.NewEncoder(w)
	return func(l Line) {
		if l.Unsupported != "" {
			_ = enc.Encode(map[string]string{"name": l.Name, "unsupported": l.Unsupported})
			return
		}
		l.Value, l.P50, l.P99 = rounded(l.Value), rounded(l.P50), rounded(l.P99)
		_ = enc.Encode(l) // where nobody reads there is nobody to tell
	}
}

// Table returns a Report for people, and what ends it. A figure that a peer
// can't give is "-".
func Table(w io.Writer) (report func(Line), end func() error) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "name\tvalue\tunit\tp50\tp99\truns\t")
	return func(l Line) {
		if l.Unsupported != "" {
			fmt.Fprintf(t, "%s\t-\t\t-\t-\t-\t\n", l.Name)
			return
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%d\t\n", l.Name, number(l.Value), l.Unit, number(l.P50), number(l.P99), l.Runs)
	}, t.Flush
}

// rounded leaves four significant digits; more would be noise.
func rounded(v float64) float64 {
	r, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 4, 64), 64)
	if err != nil {
		return v
	}
	return r
}

func number(v float64) string {
	if v >= 1000 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(rounded(v), 'f', -1, 64)
}
