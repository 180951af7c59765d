package sheet_test

import (
	"bytes"
	"encoding/csv"
	"strings"
	"testing"

	"github.com/xuri/excelize/v2"

	"satchel/server/sheet"
)

// table makes a table of two rows.
func table(t *testing.T, format, name string, cells []sheet.Cell) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := sheet.New(&b, format, name)
	if err != nil {
		t.Fatalf("%s %q: %v", format, name, err)
	}
	for _, row := range [][]sheet.Cell{{"heading"}, cells} {
		if err := w.Row(row); err != nil {
			t.Fatalf("%s: %v", format, err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatalf("%s %q: %v", format, name, err)
	}
	return b.Bytes()
}

// FuzzCSV: a text comes back as it was written, but for how lines end, and none
// is one that a spreadsheet would run.
func FuzzCSV(f *testing.F) {
	for _, s := range []string{"", "plain", "=1+1", "@SUM(A1)", "-1", "\t=1", "a,b", "a\"b", "a\r\nb", "\ufeff=1", "\r=1", " =1", "'x", "\n=1"} {
		f.Add(s, "b")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		raw := table(t, sheet.CSV, "x", []sheet.Cell{a, b, int64(7), nil})
		r := csv.NewReader(bytes.NewReader(raw))
		r.FieldsPerRecord = -1
		rows, err := r.ReadAll()
		if err != nil || len(rows) != 2 || len(rows[1]) != 4 {
			t.Fatalf("%q: %v %q", raw, err, rows)
		}
		for i, want := range []string{a, b} {
			got := rows[1][i]
			if got != "" && strings.ContainsRune("=+-@\t\r", rune(got[0])) {
				t.Errorf("%q runs", got)
			}
			want = strings.ReplaceAll(want, "\r", "")
			if got != want && got != "'"+want {
				t.Errorf("%q came back as %q", want, got)
			}
		}
	})
}

// FuzzBook: whatever stands in a text, the workbook can be opened, and the text
// in it is a text and the one that was written.
func FuzzBook(f *testing.F) {
	for _, s := range []string{"", "plain", "=1+1", "a<b>&\"c\"", "a\x01b", "\x00", "a\r\nb", "\ufffe", "_x000D_", " spaced ", "\u202e", strings.Repeat("x", 40)} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, name, s string) {
		raw := table(t, sheet.XLSX, name, []sheet.Cell{s, 1.5, true})
		book, err := excelize.OpenReader(bytes.NewReader(raw))
		if err != nil {
			t.Fatalf("%q %q: %v", name, s, err)
		}
		defer book.Close()
		sheets := book.GetSheetList()
		if len(sheets) != 1 {
			t.Fatalf("sheets %q", sheets)
		}
		rows, err := book.GetRows(sheets[0])
		if err != nil || len(rows) != 2 {
			t.Fatalf("%q %q: %v %q", name, s, err, rows)
		}
		if formula, err := book.GetCellFormula(sheets[0], "A2"); err != nil || formula != "" {
			t.Errorf("%q is the formula %q, %v", s, formula, err)
		}
		// XML has no place for some characters; all others come back.
		if got := rows[1][0]; plain(s) && got != s {
			t.Errorf("%q came back as %q", s, got)
		}
	})
}

// plain reports whether a text is of characters that XML has, with line ends
// that it keeps.
func plain(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool {
		return r < ' ' && r != '\n' && r != '\t' || r == '\ufffd' || r == '\ufffe' || r == '\uffff'
	}) && !strings.Contains(s, "_x")
}
