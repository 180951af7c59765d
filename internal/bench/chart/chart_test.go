package chart

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func growth() *Chart {
	return &Chart{
		Title: `Writes & "reads" <fast>`, X: "records", Y: "ms",
		Lines: []Line{
			{"first sync", []Point{{1e6, 300}, {1e4, 5}, {1e5, 40}}},
			{"write", []Point{{1e4, 2}, {1e5, 2.1}, {1e6, 2.2}}},
			{"<delta>", []Point{{1e4, 2.01}, {1e6, 2.21}}},
		},
	}
}

// drawn is what a reader finds in a drawing.
type drawn struct {
	circles, lines [][2]float64 // every coordinate, in the order of drawing
	polylines      int
	text           string
}

func parse(t *testing.T, b []byte) drawn {
	t.Helper()
	var d drawn
	number := func(s string) float64 {
		v, err := strconv.ParseFloat(s, 64)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	dec := xml.NewDecoder(bytes.NewReader(b))
	for {
		tok, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return d
		}
		if err != nil {
			t.Fatalf("not well-formed: %v\n%s", err, b)
		}
		switch e := tok.(type) {
		case xml.CharData:
			d.text += string(e) + "|"
		case xml.StartElement:
			at := map[string]string{}
			for _, a := range e.Attr {
				at[a.Name.Local] = a.Value
			}
			switch e.Name.Local {
			case "circle":
				d.circles = append(d.circles, [2]float64{number(at["cx"]), number(at["cy"])})
			case "polyline":
				d.polylines++
				for _, p := range strings.Fields(at["points"]) {
					x, y, _ := strings.Cut(p, ",")
					d.lines = append(d.lines, [2]float64{number(x), number(y)})
				}
			}
		}
	}
}

func TestWrite(t *testing.T) {
	var b bytes.Buffer
	if err := growth().Write(&b); err != nil {
		t.Fatal(err)
	}
	d := parse(t, b.Bytes())
	if len(d.circles) != 8 || d.polylines != 3 || !slices.Equal(d.circles, d.lines) {
		t.Errorf("%d points, %d lines through %d", len(d.circles), d.polylines, len(d.lines))
	}
	for _, want := range []string{`Writes & "reads" <fast>`, "first sync", "<delta>", "10k|", "1M|", "records|", "ms|", "first sync: 300 at 1M"} {
		if !strings.Contains(d.text, want) {
			t.Errorf("no %q in %s", want, d.text)
		}
	}
	if !strings.Contains(b.String(), "prefers-color-scheme:dark") {
		t.Error("it doesn't follow the reader's setting")
	}
	// Equal factors are equal distances, values rise upwards, points go from
	// left to right and stay inside.
	p := d.circles
	if a, b := p[1][0]-p[0][0], p[2][0]-p[1][0]; math.Abs(a-b) > 0.2 || a <= 0 {
		t.Errorf("from 10k to 100k %v, from there to 1M %v", a, b)
	}
	if p[0][1] <= p[1][1] || p[1][1] <= p[2][1] {
		t.Errorf("greater values are not higher up: %v", p[:3])
	}
	for _, at := range p {
		if at[0] < left || at[0] > left+plotWidth || at[1] < top || at[1] > top+plotHeight {
			t.Errorf("%v is outside", at)
		}
	}
}

// TestNames: names at the ends don't cover each other, however close the lines.
func TestNames(t *testing.T) {
	for _, y := range []float64{1, 5, 10} { // at the bottom, in the middle, on top
		c := &Chart{Title: "t", X: "x", Y: "y", Lines: []Line{{"scale", []Point{{1, 1}, {2, 10}}}}}
		for i := range MaxLines - 1 {
			c.Lines = append(c.Lines, Line{"line " + strconv.Itoa(i), []Point{{1, y}, {2, y}}})
		}
		var b bytes.Buffer
		if err := c.Write(&b); err != nil {
			t.Fatal(err)
		}
		parse(t, b.Bytes())
		var at []float64
		for _, part := range strings.Split(b.String(), `<text x="`+strconv.Itoa(left+plotWidth+16)+`" y="`)[1:] {
			n, _, _ := strings.Cut(part, `"`)
			v, err := strconv.ParseFloat(n, 64)
			if err != nil {
				t.Fatal(err)
			}
			at = append(at, v)
		}
		if len(at) != MaxLines {
			t.Fatalf("%d names", len(at))
		}
		slices.Sort(at)
		for i := 1; i < len(at); i++ {
			if at[i]-at[i-1] < labelHeight-0.2 {
				t.Errorf("at %v: names at %v and %v", y, at[i-1], at[i])
			}
		}
		if at[0] < 0 || at[len(at)-1] > height {
			t.Errorf("names from %v to %v", at[0], at[len(at)-1])
		}
	}
}

// TestOnePoint: a single point has its place too.
func TestOnePoint(t *testing.T) {
	var b bytes.Buffer
	c := &Chart{Title: "one", Lines: []Line{{"a", []Point{{100, 10}}}}}
	if err := c.Write(&b); err != nil {
		t.Fatal(err)
	}
	if d := parse(t, b.Bytes()); len(d.circles) != 1 || math.IsNaN(d.circles[0][0]) || math.IsNaN(d.circles[0][1]) {
		t.Errorf("%v", d.circles)
	}
}

func TestRefused(t *testing.T) {
	many := &Chart{Title: "many"}
	for range MaxLines + 1 {
		many.Lines = append(many.Lines, Line{"l", []Point{{1, 1}}})
	}
	for name, c := range map[string]*Chart{
		"empty": {}, "zero": {Lines: []Line{{"a", []Point{{0, 1}}}}}, "negative": {Lines: []Line{{"a", []Point{{1, -1}}}}},
		"nothing": {Lines: []Line{{"a", []Point{{1, math.NaN()}}}}}, "boundless": {Lines: []Line{{"a", []Point{{1, math.Inf(1)}}}}}, "many": many,
	} {
		var b bytes.Buffer
		if err := c.Write(&b); err == nil || b.Len() > 0 {
			t.Errorf("%s was drawn", name)
		}
	}
}

func TestNumber(t *testing.T) {
	for want, v := range map[string]float64{"0.25": 0.25, "40": 40, "1.5k": 1500, "10k": 10_000, "2M": 2e6, "1.23": 1.2345, "0.001": 0.001} {
		if got := Number(v); got != want {
			t.Errorf("%v is %s, want %s", v, got, want)
		}
	}
}
