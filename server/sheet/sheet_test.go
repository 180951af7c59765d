package sheet_test

import (
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/xuri/excelize/v2"

	"satchel/internal/entity"
	"satchel/server/sheet"
)

var at = time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC)

var rows = [][]sheet.Cell{
	{"name", "sum", "n", "done", "when", "due"},
	{"Acme", 12.5, int64(7), true, at, sheet.Day("2026-03-31")},
	{`=HYPERLINK("https://bad.example","x")`, nil, nil, false, nil, nil},
	{"+41 1", -3.25, int64(-1), nil, nil, sheet.Day("1871-01-18")},
	{"comma, \"quote\"\nline", 0.0, int64(0), nil, nil, nil},
	{"@x", nil, nil, nil, nil, nil},
}

func write(t *testing.T, format string) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := sheet.New(&b, format, "Clients: all/of them?")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		if err := w.Row(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestCSV(t *testing.T) {
	got, err := csv.NewReader(bytes.NewReader(write(t, sheet.CSV))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	want := [][]string{
		{"name", "sum", "n", "done", "when", "due"},
		{"Acme", "12.5", "7", "true", "2026-03-02T10:00:00Z", "2026-03-31"},
		{`'=HYPERLINK("https://bad.example","x")`, "", "", "false", "", ""},
		{"'+41 1", "-3.25", "-1", "", "", "1871-01-18"},
		{"comma, \"quote\"\nline", "0", "0", "", "", ""},
		{"'@x", "", "", "", "", ""},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%q", got)
	}
}

func TestXLSX(t *testing.T) {
	f, err := excelize.OpenReader(bytes.NewReader(write(t, sheet.XLSX)))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	name := f.GetSheetList()[0]
	if name != "Clients allof them" {
		t.Errorf("the sheet is called %q", name)
	}
	cell := func(at string) string {
		v, err := f.GetCellValue(name, at)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for at, want := range map[string]string{
		"A2": "Acme", "B2": "12.5", "C2": "7", "D2": "TRUE", "E2": "2026-03-02 10:00:00", "F2": "2026-03-31", "F4": "1871-01-18",
		"A3": `=HYPERLINK("https://bad.example","x")`, "B4": "-3.25", "A5": "comma, \"quote\"\nline",
	} {
		if got := cell(at); got != want {
			t.Errorf("%s is %q, want %q", at, got, want)
		}
	}
	// A date is one to a spreadsheet too, which can then sort and reckon by it.
	if raw, err := f.GetCellValue(name, "F2", excelize.Options{RawCellValue: true}); err != nil || raw != "46112" {
		t.Errorf("F2 is kept as %q", raw)
	}
	// What looks like a formula is a text.
	if formula, err := f.GetCellFormula(name, "A3"); err != nil || formula != "" {
		t.Errorf("A3 is the formula %q", formula)
	}
}

func TestCells(t *testing.T) {
	for _, c := range []struct {
		field *entity.Field
		raw   string
		want  []sheet.Cell
	}{
		{entity.Amount(1, "total"), `{"amount":1234,"currency":"EUR"}`, []sheet.Cell{12.34, "EUR"}},
		{entity.Amount(1, "total"), `{"amount":47706,"currency":"EUR"}`, []sheet.Cell{477.06, "EUR"}},
		{entity.Amount(1, "total"), `{"amount":1234,"currency":"JPY"}`, []sheet.Cell{1234.0, "JPY"}},
		{entity.Amount(1, "total"), `{"amount":-5,"currency":"KWD"}`, []sheet.Cell{-0.005, "KWD"}},
		{entity.Amount(1, "total"), `null`, []sheet.Cell{nil, nil}},
		{entity.Position(1, "position"), `{"lat":1.5,"lng":-2}`, []sheet.Cell{1.5, -2.0}},
		{entity.Integer(1, "n"), `42`, []sheet.Cell{int64(42)}},
		{entity.Decimal(1, "x"), `0.25`, []sheet.Cell{0.25}},
		{entity.Flag(1, "f"), `true`, []sheet.Cell{true}},
		{entity.At(1, "at"), `"2026-03-02T12:00:00+02:00"`, []sheet.Cell{at}},
		{entity.On(1, "on"), `"2026-03-02"`, []sheet.Cell{sheet.Day("2026-03-02")}},
		{entity.Set(1, "s"), `["b","a"]`, []sheet.Cell{"a; b"}},
		{entity.Str(1, "s"), `"a\"b"`, []sheet.Cell{`a"b`}},
		{entity.List(1, "l", entity.Str(1, "text")), `[{"id":"1","text":"x"}]`, []sheet.Cell{`[{"id":"1","text":"x"}]`}},
	} {
		v, err := c.field.Normalize([]byte(c.raw))
		if err != nil {
			t.Fatal(err)
		}
		got := sheet.Cells(nil, c.field, v)
		for i, g := range got {
			if m, ok := g.(time.Time); ok {
				got[i] = m.UTC()
			}
		}
		if !reflect.DeepEqual(got, c.want) || len(got) != len(sheet.Headings(c.field)) {
			t.Errorf("%s %s: %v, want %v", c.field.Kind, c.raw, got, c.want)
		}
	}
}

func TestLongTextsFit(t *testing.T) {
	var b bytes.Buffer
	w, err := sheet.New(&b, sheet.XLSX, strings.Repeat("n", 50))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Row([]sheet.Cell{strings.Repeat("ä", 40_000)}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := excelize.OpenReader(&b); err != nil {
		t.Error(err)
	}
}

// TestTemporaryFiles: a large XLSX grows in the folder it is given, and leaves
// nothing there, whether it is closed or given up.
func TestTemporaryFiles(t *testing.T) {
	for name, end := range map[string]func(sheet.Writer) error{
		"closed": sheet.Writer.Close, "given up": sheet.Writer.Discard,
		"closed, then given up": func(w sheet.Writer) error { return errors.Join(w.Close(), w.Discard()) },
		"a writer that fails":   func(w sheet.Writer) error { _ = w.Close(); return nil },
	} {
		dir := t.TempDir()
		to := io.Discard
		if name == "a writer that fails" {
			var closed *io.PipeWriter
			_, closed = io.Pipe()
			_ = closed.Close()
			to = closed
		}
		w, err := sheet.NewIn(dir, to, sheet.XLSX, "Jobs")
		if err != nil {
			t.Fatal(err)
		}
		long := strings.Repeat("x", 30_000)
		for range 700 { // more than is kept in memory
			if err := w.Row([]sheet.Cell{long}); err != nil {
				t.Fatal(err)
			}
		}
		if there, err := os.ReadDir(dir); err != nil || len(there) == 0 {
			t.Errorf("%s: before the end there is %v %v", name, there, err)
		}
		if err := end(w); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("%s: left %v %v", name, left, err)
		}
	}
}
