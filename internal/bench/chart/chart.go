// Package chart draws line charts with logarithmic axes as SVG, by hand: what
// grows with what is read off as a slope. They follow the reader's light or dark
// setting and need no font, script or network.
//
// Only internal/bench imports it.
package chart

import (
	"bytes"
	"cmp"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Chart is a drawing: lines of points over one axis each way, both logarithmic.
type Chart struct {
	Title string
	X, Y  string // what the axes show, with the unit
	Lines []Line
}

// Line is one line, its points in any order.
type Line struct {
	Name   string
	Points []Point
}

// Point is a value; both coordinates are above 0.
type Point struct{ X, Y float64 }

// MaxLines is how many lines a chart can tell apart.
const MaxLines = 8

// Measures of the drawing, in its own units.
const (
	width, height          = 760, 440
	left, right            = 72, 180
	top, bottom            = 48, 56
	plotWidth, plotHeight  = width - left - right, height - top - bottom
	labelHeight            = 16
	pointRadius, pointHalo = 3.5, 1.5
)

// palette is a set of colours; the lines' are told apart by those who don't see
// all colours too, and their names stand at their ends.
type palette struct {
	paper, ink, faint, grid string
	lines                   [MaxLines]string
}

var (
	light = palette{
		"#fff", "#1f2328", "#59636e", "#e4e7eb",
		[MaxLines]string{"#0b62a8", "#b5480b", "#0a7d5c", "#94317c", "#7a6100", "#4b4fc4", "#a3242f", "#3c6c7d"},
	}
	dark = palette{
		"#0f1419", "#e6e9ec", "#9aa5b1", "#2a323b",
		[MaxLines]string{"#6db6ff", "#ff9d5c", "#4fd1a5", "#f08fd6", "#e2c04a", "#a5a8ff", "#ff8a8f", "#8cc7da"},
	}
)

// rules are the style rules of a palette. They use no custom properties, which
// not everything that draws SVG knows.
func (p *palette) rules() string {
	var b strings.Builder
	fmt.Fprintf(&b, ".paper{fill:%s}text{fill:%s}.title{fill:%s}.grid{stroke:%s}.point{stroke:%s}", p.paper, p.faint, p.ink, p.grid, p.paper)
	for i, c := range p.lines {
		fmt.Fprintf(&b, ".s%d{stroke:%s}.f%d{fill:%s}", i, c, i, c)
	}
	return b.String()
}

const style = `
text{font:12px system-ui,sans-serif}
.title{font-size:15px;font-weight:600}
.grid{fill:none}
.line{fill:none;stroke-width:2;stroke-linejoin:round}
.lead{fill:none;stroke-width:1;opacity:.5}
`

// Write draws the chart. A chart without points, with more than MaxLines
// lines, or with a coordinate that has no logarithm, is an error.
func (c *Chart) Write(w io.Writer) error {
	x, y, err := c.scales()
	if err != nil {
		return err
	}
	d := &drawing{x: x, y: y}
	d.printf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-label="%s">`, width, height, escape(c.Title))
	d.printf("<title>%s</title><style>%s%s\n@media (prefers-color-scheme:dark){%s}</style>", escape(c.Title), style, light.rules(), dark.rules())
	d.printf(`<rect class="paper" width="%d" height="%d"/>`, width, height)
	d.printf(`<text class="title" x="%d" y="24">%s</text>`, left, escape(c.Title))
	d.axes(c.X, c.Y)
	for i, l := range c.Lines {
		d.line(i, l)
	}
	d.names(c.Lines)
	d.printf("</svg>\n")
	_, err = w.Write(d.out.Bytes())
	return err
}

// scales fits the axes to the points.
func (c *Chart) scales() (x, y scale, err error) {
	if len(c.Lines) > MaxLines {
		return x, y, fmt.Errorf("chart %s: %d lines, it can tell %d apart", c.Title, len(c.Lines), MaxLines)
	}
	var xs, ys []float64
	for _, l := range c.Lines {
		for _, p := range l.Points {
			for _, v := range []float64{p.X, p.Y} {
				if !(v > 0) || math.IsInf(v, 1) {
					return x, y, fmt.Errorf("chart %s, %s: %v has no place on a logarithmic axis", c.Title, l.Name, v)
				}
			}
			xs, ys = append(xs, p.X), append(ys, p.Y)
		}
	}
	if len(xs) == 0 {
		return x, y, errors.New("chart " + c.Title + ": no points")
	}
	// The values' axis goes from power of ten to power of ten, so that slopes and
	// distances can be compared between charts.
	x = scale{log: [2]float64{math.Log10(slices.Min(xs)), math.Log10(slices.Max(xs))}, at: [2]float64{left, left + plotWidth}}
	y = scale{log: [2]float64{math.Floor(math.Log10(slices.Min(ys))), math.Ceil(math.Log10(slices.Max(ys)))}, at: [2]float64{top + plotHeight, top}}
	x.widen()
	y.widen()
	return x, y, nil
}

// scale places values between two ends.
type scale struct{ log, at [2]float64 }

// widen gives an axis that has only one value some room.
func (s *scale) widen() {
	if s.log[1]-s.log[0] < 1e-9 {
		s.log[0], s.log[1] = math.Floor(s.log[0]-0.5), math.Ceil(s.log[1]+0.5)
	}
}

func (s scale) place(v float64) float64 {
	return s.at[0] + (math.Log10(v)-s.log[0])/(s.log[1]-s.log[0])*(s.at[1]-s.at[0])
}

// ticks are the powers of ten on the axis, and 2 and 5 times them where there
// are few.
func (s scale) ticks() []float64 {
	const slack = 1e-9
	steps := []float64{1}
	if s.log[1]-s.log[0] < 3 {
		steps = []float64{1, 2, 5}
	}
	var out []float64
	for e := math.Floor(s.log[0]); e <= s.log[1]+slack; e++ {
		for _, m := range steps {
			v := m * math.Pow(10, e)
			if l := math.Log10(v); l >= s.log[0]-slack && l <= s.log[1]+slack {
				out = append(out, v)
			}
		}
	}
	return out
}

// drawing is a chart under way.
type drawing struct {
	out  bytes.Buffer
	x, y scale
}

func (d *drawing) printf(format string, args ...any) { fmt.Fprintf(&d.out, format, args...) }

func (d *drawing) axes(x, y string) {
	for _, v := range d.y.ticks() {
		at := d.y.place(v)
		d.printf(`<path class="grid" d="M%d %sH%d"/>`, left, coordinate(at), left+plotWidth)
		d.printf(`<text x="%d" y="%s" text-anchor="end">%s</text>`, left-8, coordinate(at+4), Number(v))
	}
	for _, v := range d.x.ticks() {
		at := coordinate(d.x.place(v))
		d.printf(`<path class="grid" d="M%s %dV%d"/>`, at, top, top+plotHeight)
		d.printf(`<text x="%s" y="%d" text-anchor="middle">%s</text>`, at, top+plotHeight+18, Number(v))
	}
	d.printf(`<text x="%d" y="%d" text-anchor="middle">%s</text>`, left+plotWidth/2, height-14, escape(x))
	d.printf(`<text x="%d" y="%d">%s</text>`, left, top-8, escape(y))
}

func sorted(l Line) []Point {
	return slices.SortedFunc(slices.Values(l.Points), func(a, b Point) int { return cmp.Compare(a.X, b.X) })
}

func (d *drawing) line(no int, l Line) {
	var at []string
	for _, p := range sorted(l) {
		at = append(at, coordinate(d.x.place(p.X))+","+coordinate(d.y.place(p.Y)))
	}
	d.printf(`<polyline class="line s%d" points="%s"/>`, no, strings.Join(at, " "))
	for _, p := range sorted(l) {
		d.printf(`<circle class="point f%d" stroke-width="%v" cx="%s" cy="%s" r="%v"><title>%s: %s at %s</title></circle>`,
			no, pointHalo, coordinate(d.x.place(p.X)), coordinate(d.y.place(p.Y)), pointRadius, escape(l.Name), Number(p.Y), Number(p.X))
	}
}

// names writes each line's name beside its end, moved apart where they would
// cover each other.
func (d *drawing) names(lines []Line) {
	type name struct {
		no       int
		from, to float64 // where the line ends, where the name stands
		x        float64
	}
	var all []name
	for i, l := range lines {
		if len(l.Points) == 0 {
			continue
		}
		ps := sorted(l)
		last := ps[len(ps)-1]
		y := d.y.place(last.Y)
		all = append(all, name{no: i, from: y, to: y, x: d.x.place(last.X)})
	}
	slices.SortStableFunc(all, func(a, b name) int { return cmp.Compare(a.from, b.from) })
	for i := 1; i < len(all); i++ {
		all[i].to = max(all[i].to, all[i-1].to+labelHeight)
	}
	// What was pushed out at the bottom goes up again.
	floor := float64(top + plotHeight)
	for i := len(all) - 1; i >= 0; i-- {
		all[i].to = min(all[i].to, floor)
		floor = all[i].to - labelHeight
	}
	for _, n := range all {
		d.printf(`<path class="lead s%d" d="M%s %sL%d %s"/>`, n.no, coordinate(n.x+5), coordinate(n.from), left+plotWidth+12, coordinate(n.to))
		d.printf(`<text x="%d" y="%s" class="f%d">%s</text>`, left+plotWidth+16, coordinate(n.to+4), n.no, escape(lines[n.no].Name))
	}
}

// Number renders a value for people: 0.25, 40, 1,500 as 1.5k, 2M.
func Number(v float64) string {
	for _, u := range []struct {
		from float64
		name string
	}{{1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if v >= u.from {
			return short(v/u.from) + u.name
		}
	}
	return short(v)
}

func short(v float64) string {
	r, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 3, 64), 64)
	if err != nil {
		return strconv.FormatFloat(v, 'g', 3, 64)
	}
	return strconv.FormatFloat(r, 'f', -1, 64)
}

// coordinate leaves a tenth of a unit; more could not be seen.
func coordinate(v float64) string {
	return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64)
}

func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a strings.Builder takes everything
	return b.String()
}
