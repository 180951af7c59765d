package importer

import (
	"bytes"
	"encoding/csv"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestCSVReadsWhatIsWritten: any cells, written by the standard library, are
// read back, at the right lines.
func TestCSVReadsWhatIsWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rows := rapid.SliceOfN(rapid.SliceOfN(rapid.StringOf(rapid.SampledFrom([]rune("ab,\"\n é"))), 2, 4), 1, 6).Draw(t, "rows")
		var b bytes.Buffer
		w := csv.NewWriter(&b)
		w.UseCRLF = rapid.Bool().Draw(t, "crlf")
		if err := w.WriteAll(rows); err != nil {
			t.Fatal(err)
		}
		got := splitCSV(b.Bytes(), utf8Encoding)
		if len(got) != len(rows) {
			t.Fatalf("%d records of %d in %q", len(got), len(rows), b.String())
		}
		no := 1
		for i, l := range got {
			for j := range l.cells {
				l.cells[j] = strings.ReplaceAll(l.cells[j], "\r\n", "\n")
			}
			if l.bad != "" || l.no != no || !slices.Equal(l.cells, rows[i]) {
				t.Fatalf("record %d: %+v, want line %d %q", i, l, no, rows[i])
			}
			no += 1 + strings.Count(strings.Join(rows[i], ""), "\n")
		}
	})
}

// FuzzCSV: any bytes are read to the end, with lines that ascend, valid text,
// and nothing lost but line ends, quotes, commas and marks.
func FuzzCSV(f *testing.F) {
	for _, s := range []string{"", "a,b\r\n1,\"2\n3\"\n", "\"", "a\"b,c\nd", "\xef\xbb\xbfa\r\rb", "\"a\"b\nc", "\xff,\n,"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, enc := range []string{utf8Encoding, latin1Encoding} {
			last, letters := 0, 0
			for _, l := range splitCSV(b, enc) {
				if l.no <= last || len(l.cells) == 0 {
					t.Fatalf("line %d after %d", l.no, last)
				}
				last = l.no
				for _, c := range l.cells {
					if c != strings.ToValidUTF8(c, "") {
						t.Fatalf("%q", c)
					}
					letters += strings.Count(c, "x")
				}
			}
			if letters != bytes.Count(b, []byte("x")) {
				t.Fatalf("%d of %d letters", letters, bytes.Count(b, []byte("x")))
			}
		}
	})
}

// FuzzParse: no mapping crashes the program.
func FuzzParse(f *testing.F) {
	for _, name := range Builtin() {
		b, err := builtin.ReadFile("mappings/" + name + ".json")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"rules": [null], "sources": {"a": null}}`))
	f.Fuzz(func(_ *testing.T, b []byte) { _, _ = Parse(b) })
}

func TestFunctions(t *testing.T) {
	m := &Mapping{Maps: map[string]map[string]string{"m": {"A": "1", "": "none"}, "any": {"*": "x"}}, Rules: []*Rule{{From: "s", Reject: "all"}}, Sources: map[string]*Source{"s": {Files: []string{"s.csv"}}}}
	if err := m.prepare(); err != nil {
		t.Fatal(err)
	}
	for _, c := range [][3]string{
		{"{v|upper}", "é b", "É B"},
		{"{v|title}", "o'NEIL'S 3RD st", "O'neil's 3rd St"},
		{"{v|squeeze}", " a \t b ", "a b"},
		{"{v|slug}", " St. Louis, MO! ", "st-louis-mo"},
		{"{v|slug}", "é", ""},
		{"id-{v|pad:4}", "7", "id-0007"},
		{"id-{v|pad:4}", "", ""},
		{"id-{v|pad:4}", "12345", "id-12345"},
		{"{v|hash:8}", "abc", "ba7816bf"},
		{"{v|before:,}", "FORESTRY,", "FORESTRY"},
		{"{v|after:\\}", `house\ken`, "ken"},
		{"{v|after:\\}", "ken", "ken"},
		{"{v|cut:3}", "äbcd", "äb…"},
		{"{v|map:m}", " a", "1"},
		{"{v|map:m}", "", "none"},
		{"{v|map:any}", "whatever", "x"},
		{"{v|map:any}", "", ""},
		{"{w}{v|prefix:, }", "b", "a, b"},
		{"{w}{v|prefix:, }", "", "a"},
		{"{v|nonzero}", ".0000", ""},
		{"{v|nonzero}", "1.0", "1.0"},
		{"constant", "", "constant"},
	} {
		tpl, err := parseTemplate(c[0], m)
		if err != nil {
			t.Fatal(err)
		}
		got, _, err := tpl.eval(func(name string) string { return map[string]string{"v": c[1], "w": "a"}[name] })
		if err != nil || got != c[2] {
			t.Errorf("%s of %q: %q, %v; want %q", c[0], c[1], got, err, c[2])
		}
	}
	tpl, err := parseTemplate("{v|map:m}", m)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := tpl.eval(func(string) string { return "b" }); err == nil {
		t.Error("a value that the map lacks went through")
	}
}

func TestNumbers(t *testing.T) {
	for s, want := range map[string]int64{"1": 100, ".5": 50, "1.995": 200, "-0.015": -2, "12.3400": 1234, "-1": -100, "0": 0} {
		if got, err := minor(s); err != nil || got != want {
			t.Errorf("minor %q: %d %v", s, got, err)
		}
	}
	for _, s := range []string{"", "-", ".", "1e3", "1,5", "--1", "99999999999999999999", "NaN", "1.2.3", "+1"} {
		if n, err := minor(s); err == nil {
			t.Errorf("minor %q: %d", s, n)
		}
	}
	for s, want := range map[string]int64{"1": 1, "3.00": 3, ".00": 0, "-2.": -2} {
		if got, err := whole(s); err != nil || got != want {
			t.Errorf("whole %q: %d %v", s, got, err)
		}
	}
	for _, s := range []string{"", "1.5", "x", "1e3"} {
		if n, err := whole(s); err == nil {
			t.Errorf("whole %q: %d", s, n)
		}
	}
}

// TestGrid holds the inverse against the forward projection's defining points:
// the origin, and one degree of arc along the central meridian.
func TestGrid(t *testing.T) {
	g := &Grid{Latitude: 35 + 50.0/60, Longitude: -90.5, Scale: 1 - 1.0/15000, FalseEasting: 250000, Unit: 1200.0 / 3937}
	lat, lng := g.degrees(g.FalseEasting/g.Unit, 0)
	if math.Abs(lat-g.Latitude) > 1e-9 || lng != -90.5 {
		t.Errorf("origin at %v %v", lat, lng)
	}
	// Symmetric about the central meridian, and a known distance: at this
	// latitude a degree of longitude is about 87.0 km.
	d := 87000 / g.Unit
	latE, east := g.degrees(g.FalseEasting/g.Unit+d, 1028841)
	latW, west := g.degrees(g.FalseEasting/g.Unit-d, 1028841)
	if math.Abs(latE-latW) > 1e-9 || math.Abs(east+west+181) > 1e-9 || math.Abs(east-west-2) > 0.01 {
		t.Errorf("%v %v, %v %v", latE, east, latW, west)
	}
	if v, err := position(g, "0 0"); err != nil || v != nil {
		t.Errorf("%s %v", v, err)
	}
	for _, s := range []string{"1", "a b", "1 b", "1 1e300"} {
		if v, err := position(g, s); err == nil {
			t.Errorf("position %q: %s", s, v)
		}
	}
}
