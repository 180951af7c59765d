// Package sheet writes tables that people open in a spreadsheet: as CSV
// (RFC 4180) and as XLSX. It knows rows of cells and how values of records
// become cells, nothing of who may see them. It is imported by server/rest and
// by cmd/satchel.
package sheet

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/xuri/excelize/v2"
	"golang.org/x/text/currency"

	"satchel/internal/entity"
)

// Formats of a sheet.
const (
	CSV  = "csv"
	XLSX = "xlsx"
)

// BOM is the mark that a CSV can begin with: spreadsheets take one without it for
// text in the desktop's own character set.
const BOM = "\ufeff"

// MaxRows is how many rows, without the heading, a sheet of the format takes.
func MaxRows(format string) int {
	if format == XLSX {
		return excelize.TotalRows - 1
	}
	return 5_000_000
}

// ContentType is the format's media type.
func ContentType(format string) string {
	if format == XLSX {
		return "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
	}
	return "text/csv; charset=utf-8"
}

// Cell is a string, float64, int64, bool, time.Time or Day; nil is an empty
// cell.
type Cell any

// Day is a date, YYYY-MM-DD, which a spreadsheet takes for one.
type Day string

// Writer takes rows, the heading first; Close ends the table. Discard gives up
// one that was not closed, and does nothing to one that was.
type Writer interface {
	Row(cells []Cell) error
	Close() error
	Discard() error
}

// New returns a writer of the format, CSV or XLSX. An XLSX is written to w as a
// whole by Close; until then it is kept in temporary files once it is large.
func New(w io.Writer, format, name string) (Writer, error) {
	return NewIn("", w, format, name)
}

// NewIn is New with the folder of the temporary files, "" for the system's.
func NewIn(dir string, w io.Writer, format, name string) (Writer, error) {
	if format == XLSX {
		return newBook(dir, w, name)
	}
	c := csv.NewWriter(w)
	c.UseCRLF = true
	return &commas{w: c}, nil
}

type commas struct {
	w   *csv.Writer
	row []string
}

// Row implements Writer.
func (c *commas) Row(cells []Cell) error {
	c.row = c.row[:0]
	for _, x := range cells {
		c.row = append(c.row, text(x))
	}
	return c.w.Write(c.row)
}

// Close implements Writer.
func (c *commas) Close() error {
	c.w.Flush()
	return c.w.Error()
}

// Discard implements Writer.
func (c *commas) Discard() error { return nil }

// text renders a cell for CSV. A text that a spreadsheet would take for a
// formula gets an apostrophe before it: what a client typed into a name must
// not run on the desk of whoever opens the export.
func text(c Cell) string {
	switch v := c.(type) {
	case nil:
		return ""
	case string:
		if v != "" && strings.ContainsRune("=+-@\t\r", rune(v[0])) {
			return "'" + v
		}
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case int64:
		return strconv.FormatInt(v, 10)
	case bool:
		return strconv.FormatBool(v)
	case time.Time:
		return v.UTC().Format("2006-01-02T15:04:05Z")
	case Day:
		return string(v)
	}
	return fmt.Sprint(c)
}

type book struct {
	w      io.Writer
	file   *excelize.File
	stream *excelize.StreamWriter
	row    int
	// The styles of instants and of dates.
	instant, day int
}

func newBook(dir string, w io.Writer, name string) (Writer, error) {
	// Options replace those it has by itself, of which the limits are two.
	f := excelize.NewFile(excelize.Options{TmpDir: dir, UnzipSizeLimit: excelize.UnzipSizeLimit, UnzipXMLSizeLimit: excelize.StreamChunkSize})
	name = sheetName(name)
	if err := f.SetSheetName("Sheet1", name); err != nil {
		return nil, err
	}
	instant, day := "yyyy-mm-dd hh:mm:ss", "yyyy-mm-dd"
	b := &book{w: w, file: f}
	var err error
	if b.instant, err = f.NewStyle(&excelize.Style{CustomNumFmt: &instant}); err != nil {
		return nil, err
	}
	if b.day, err = f.NewStyle(&excelize.Style{CustomNumFmt: &day}); err != nil {
		return nil, err
	}
	b.stream, err = f.NewStreamWriter(name)
	return b, err
}

// sheetName is a name that a workbook takes: up to 31 characters, none of
// them of its own grammar.
func sheetName(s string) string {
	s = strings.Map(func(r rune) rune {
		if strings.ContainsRune(`:\/?*[]'`, r) {
			return -1
		}
		return r
	}, s)
	if r := []rune(s); len(r) > 31 {
		s = string(r[:31])
	}
	if s == "" {
		return "Sheet"
	}
	return s
}

// Row implements Writer. Texts are written as texts, never as formulas.
func (b *book) Row(cells []Cell) error {
	b.row++
	out := make([]any, len(cells))
	for i, c := range cells {
		switch v := c.(type) {
		case time.Time:
			out[i] = excelize.Cell{StyleID: b.instant, Value: v.UTC()}
		case Day:
			out[i] = b.date(v)
		case string:
			if r := []rune(v); len(r) > excelize.TotalCellChars {
				v = string(r[:excelize.TotalCellChars])
			}
			out[i] = v
		default:
			out[i] = c
		}
	}
	at, err := excelize.CoordinatesToCellName(1, b.row)
	if err != nil {
		return err
	}
	return b.stream.SetRow(at, out)
}

// date is a day as a spreadsheet keeps it, from 1901 on; one before that, of
// which each has its own idea, is a text.
func (b *book) date(d Day) any {
	t, err := time.Parse(time.DateOnly, string(d))
	if err != nil || t.Year() <= 1900 {
		return string(d)
	}
	return excelize.Cell{StyleID: b.day, Value: t}
}

// Close implements Writer.
func (b *book) Close() error {
	err := b.stream.Flush()
	if err == nil {
		_, err = b.file.WriteTo(b.w)
	}
	return errors.Join(err, b.Discard())
}

// Discard implements Writer: the temporary files go.
func (b *book) Discard() error { return b.file.Close() }

// Headings are the headings of a field's cells: one, or for money the sum and
// its currency, for a point its two coordinates.
func Headings(f *entity.Field) []string {
	switch f.Kind {
	case entity.Money:
		return []string{f.Name, f.Name + ".currency"}
	case entity.Point:
		return []string{f.Name + ".lat", f.Name + ".lng"}
	}
	return []string{f.Name}
}

// Cells appends the cells of a value, as many as Headings has; a null value
// gives empty ones.
func Cells(row []Cell, f *entity.Field, v entity.Value) []Cell {
	if v.IsNull() {
		for range Headings(f) {
			row = append(row, nil)
		}
		return row
	}
	switch f.Kind {
	case entity.Money:
		var m struct {
			Amount   int64  `json:"amount"`
			Currency string `json:"currency"`
		}
		if json.Unmarshal(v, &m) != nil {
			return append(row, nil, nil)
		}
		return append(row, major(m.Amount, m.Currency), m.Currency)
	case entity.Point:
		var p struct{ Lat, Lng float64 }
		if json.Unmarshal(v, &p) != nil {
			return append(row, nil, nil)
		}
		return append(row, p.Lat, p.Lng)
	case entity.Int:
		return append(row, v.Int())
	case entity.Number:
		x, err := strconv.ParseFloat(string(v), 64)
		if err != nil {
			return append(row, nil)
		}
		return append(row, x)
	case entity.Bool:
		return append(row, v.Bool())
	case entity.Time:
		if m, ok := v.Time(); ok {
			return append(row, m.Time())
		}
		return append(row, nil)
	case entity.Date:
		return append(row, Day(v.Text()))
	case entity.Refs, entity.Strings:
		return append(row, strings.Join(v.Set(), "; "))
	case entity.Lines:
		return append(row, string(v))
	}
	return append(row, v.Text())
}

// major turns minor units into the currency's own, by the digits of ISO 4217;
// a currency that it does not know has two.
func major(amount int64, code string) float64 {
	digits := 2
	if unit, err := currency.ParseISO(code); err == nil {
		digits, _ = currency.Standard.Rounding(unit)
	}
	whole := 1
	for range digits {
		whole *= 10
	}
	// Divided once: what is divided again and again is off by a little.
	return float64(amount) / float64(whole)
}
