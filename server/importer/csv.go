package importer

import (
	"bytes"
	"errors"
	"unicode/utf8"
)

// The encodings of sources.
const (
	utf8Encoding   = "utf-8"
	latin1Encoding = "iso-8859-1"
)

var byteOrderMark = []byte("\xef\xbb\xbf")

// line is one record of a CSV file.
type line struct {
	no    int // of the physical line it begins on, from 1
	cells []string
	bad   string // why it can't be read; cells then hold the raw line
}

// splitCSV cuts a file into records (RFC 4180; line ends CR LF, LF or CR).
// Empty lines are none. It never gives up: where a quote stands out of place
// or is not closed, that physical line alone is bad, and reading goes on with
// the next, so that one quote doesn't swallow the rest of a file.
func splitCSV(b []byte, encoding string) []line {
	b = bytes.TrimPrefix(b, byteOrderMark)
	var out []line
	no := 1
	for len(b) > 0 {
		if n := lineEnd(b); n > 0 { // an empty line
			b = b[n:]
			no++
			continue
		}
		cells, n, lines, err := cutRecord(b)
		l := line{no: no}
		if err != nil {
			n = bytes.IndexAny(b, "\r\n")
			if n < 0 {
				n = len(b)
			}
			cells = [][]byte{b[:n]}
			n += lineEnd(b[n:])
			lines = 1
			l.bad = err.Error()
		}
		l.cells = make([]string, len(cells))
		for i, c := range cells {
			switch {
			case encoding == latin1Encoding:
				l.cells[i] = latin1(c)
			case utf8.Valid(c):
				l.cells[i] = string(c)
			default:
				l.cells[i] = string(bytes.ToValidUTF8(c, []byte("\uFFFD")))
				if l.bad == "" {
					l.bad = "text that is not UTF-8"
				}
			}
		}
		out = append(out, l)
		b = b[n:]
		no += lines
	}
	return out
}

// lineEnd returns the length of the line end that b begins with, 0 for none.
func lineEnd(b []byte) int {
	switch {
	case bytes.HasPrefix(b, []byte("\r\n")):
		return 2
	case len(b) > 0 && (b[0] == '\n' || b[0] == '\r'):
		return 1
	}
	return 0
}

var (
	errBareQuote = errors.New("a quote out of place")
	errOpenQuote = errors.New("a quote that is not closed")
)

// cutRecord reads one record from the start of b: its cells, its length with the
// line end, and how many physical lines it takes.
func cutRecord(b []byte) (cells [][]byte, n, lines int, err error) {
	lines = 1
	for {
		if n < len(b) && b[n] == '"' {
			cell, used, breaks, err := quoted(b[n:])
			if err != nil {
				return nil, 0, 0, err
			}
			cells = append(cells, cell)
			n += used
			lines += breaks
		} else {
			end := bytes.IndexAny(b[n:], ",\r\n\"")
			if end < 0 {
				end = len(b) - n
			}
			if n+end < len(b) && b[n+end] == '"' {
				return nil, 0, 0, errBareQuote
			}
			cells = append(cells, b[n:n+end])
			n += end
		}
		if n == len(b) {
			return cells, n, lines, nil
		}
		if e := lineEnd(b[n:]); e > 0 {
			return cells, n + e, lines, nil
		}
		if b[n] != ',' {
			return nil, 0, 0, errBareQuote
		}
		n++
	}
}

// quoted reads a cell in quotes.
func quoted(b []byte) (cell []byte, n, breaks int, err error) {
	n = 1
	for {
		q := bytes.IndexByte(b[n:], '"')
		if q < 0 {
			return nil, 0, 0, errOpenQuote
		}
		piece := b[n : n+q]
		breaks += bytes.Count(piece, []byte("\n")) + bytes.Count(piece, []byte("\r")) - bytes.Count(piece, []byte("\r\n"))
		cell = append(cell, piece...)
		n += q + 1
		if n == len(b) || b[n] != '"' {
			return cell, n, breaks, nil
		}
		cell = append(cell, '"')
		n++
	}
}

func latin1(b []byte) string {
	rs := make([]rune, len(b))
	for i, c := range b {
		rs[i] = rune(c)
	}
	return string(rs)
}
