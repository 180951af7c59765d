package importer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
)

// maxFileBytes bounds a source file: it is read into memory whole.
const maxFileBytes = 1 << 30

// table is one file of a source.
type table struct {
	file    string
	columns map[string]int
}

// row is one line of a source, and what became of it.
type row struct {
	source   *data
	table    *table
	line     int
	cells    []string
	over     []*row // repeats laid over it
	first    *row   // that it is a repeat of
	lets     map[string]string
	taken    []string // types of the records it went into
	rejected bool
	own      bool // some record is made of it in the first place
	further  bool // it went into another row's record
}

// data is a source with its rows read.
type data struct {
	*Source
	rows  []*row
	index map[string]map[string][]*row // column -> value -> rows in file order
}

// get returns a column or computed value, "" for none.
func (r *row) get(name string) string {
	if r == nil {
		return ""
	}
	if v, ok := r.lets[name]; ok {
		return v
	}
	for i := len(r.over) - 1; i >= 0; i-- {
		if v := r.over[i].get(name); strings.TrimSpace(v) != "" {
			return v
		}
	}
	if i, ok := r.table.columns[name]; ok {
		return r.cells[i]
	}
	return ""
}

// lookup returns the rows whose column has the value.
func (d *data) lookup(column, value string) []*row {
	ix := d.index[column]
	if ix == nil {
		ix = map[string][]*row{}
		for _, r := range d.rows {
			if r.first != nil {
				continue
			}
			if v := strings.TrimSpace(r.get(column)); v != "" && !r.rejected {
				ix[v] = append(ix[v], r)
			}
		}
		d.index[column] = ix
	}
	return ix[value]
}

// read reads the files of a source. What is wrong with a file is an error;
// what is wrong with a row goes to reject.
func (s *Source) read(dir fs.FS, reject func(*row, string)) (*data, error) {
	d := &data{Source: s, index: map[string]map[string][]*row{}}
	byKey := map[string]*row{}
	for _, name := range s.Files {
		lines, err := readLines(dir, name, s.Encoding)
		if err != nil {
			return nil, err
		}
		head := lines[0]
		if head.bad != "" {
			return nil, fmt.Errorf("importer: %s: the header has %s", name, head.bad)
		}
		t := &table{file: name, columns: map[string]int{}}
		for i, c := range head.cells {
			c = strings.TrimSpace(c)
			if _, twice := t.columns[c]; twice {
				return nil, fmt.Errorf("importer: %s: column %q stands twice in the header", name, c)
			}
			t.columns[c] = i
		}
		var missing []string
		for _, c := range sortedKeys(s.columns) {
			if _, ok := t.columns[c]; !ok {
				missing = append(missing, c)
			}
		}
		if len(missing) > 0 {
			return nil, fmt.Errorf("importer: %s lacks the column %s; it has: %s", name, strings.Join(missing, ", "), strings.Join(head.cells, ", "))
		}
		for _, l := range lines[1:] {
			r := &row{source: d, table: t, line: l.no, cells: l.cells}
			d.rows = append(d.rows, r)
			switch {
			case l.bad != "":
				reject(r, l.bad)
			case len(l.cells) != len(head.cells):
				reject(r, fmt.Sprintf("%d columns where the header has %d", len(l.cells), len(head.cells)))
			default:
				reason := s.complete(r)
				if reason == "" && s.key != nil {
					reason = r.repeat(byKey)
				}
				if reason != "" {
					reject(r, reason)
				}
			}
			if len(l.cells) < len(head.cells) {
				// Rejected, but still looked at by its own columns.
				r.cells = slices.Concat(l.cells, make([]string, len(head.cells)-len(l.cells)))
			}
		}
	}
	return d, nil
}

// repeat lays a row over the first one of the same key.
func (r *row) repeat(byKey map[string]*row) (reason string) {
	key, _, err := r.source.key.eval(r.get)
	switch {
	case err != nil:
		return err.Error()
	case key == "":
		return "nothing that says what the row is about"
	case byKey[key] == nil:
		byKey[key] = r
		return ""
	}
	first := byKey[key]
	r.first, first.over = first, append(first.over, r)
	first.lets = nil
	reason = r.source.complete(first)
	if reason != "" { // the two together are nothing; the first stands alone
		first.over = first.over[:len(first.over)-1]
		r.first = nil
		r.source.complete(first)
	}
	return reason
}

// complete computes the row's values and says what it lacks.
func (s *Source) complete(r *row) (reason string) {
	r.lets = make(map[string]string, len(s.computed))
	for _, c := range s.computed {
		v, _, err := c.value.eval(r.get)
		if err != nil {
			return err.Error()
		}
		r.lets[c.name] = v
	}
	for _, q := range s.required {
		v, _, err := q.value.eval(r.get)
		if err != nil {
			return err.Error()
		}
		if v == "" {
			return q.reason
		}
	}
	return ""
}

func readLines(dir fs.FS, name, encoding string) ([]line, error) {
	f, err := dir.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("importer: the folder has no file %s", name)
	}
	if err != nil {
		return nil, fmt.Errorf("importer: %w", err)
	}
	defer f.Close() //nolint:errcheck // only read from
	b, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("importer: reading %s: %w", name, err)
	case len(b) > maxFileBytes:
		return nil, fmt.Errorf("importer: %s has more than %d MiB", name, maxFileBytes>>20)
	case bytes.HasPrefix(b, []byte("\xff\xfe")), bytes.HasPrefix(b, []byte("\xfe\xff")):
		return nil, fmt.Errorf("importer: %s is UTF-16; save it as UTF-8", name)
	}
	lines := splitCSV(b, encoding)
	if len(lines) == 0 {
		return nil, fmt.Errorf("importer: %s is empty", name)
	}
	return lines, nil
}
