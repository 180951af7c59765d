package importer

import (
	"encoding/csv"
	"fmt"
	"io"
	"sort"
	"strconv"
)

// Report says what an import did.
type Report struct {
	Mapping string        `json:"mapping"`
	Sources []SourceCount `json:"sources"`
	Rules   []RuleCount   `json:"rules"`
	// Types counts records by type, in the order of the rules. What an Update
	// rule changes of a record is not in it.
	Types []TypeCount `json:"types"`
	// Rejected is how many rows are in the rejects, those of sources that are
	// only looked up among them.
	Rejected int `json:"rejected"`
	// Notes are remarks on rows that were taken, without what was wrong.
	Notes []Note `json:"notes"`
	// Unread are the CSV files of the folder that the mapping doesn't mention.
	Unread []string `json:"unread"`
}

// SourceCount accounts for a source's rows: Rows = Taken + Repeated +
// Rejected. A row is Repeated when it was laid over one of the same key, or when
// all it went into are other rows' records.
type SourceCount struct {
	Name     string `json:"name"`
	Rows     int    `json:"rows"`
	Taken    int    `json:"taken"`
	Repeated int    `json:"repeated"`
	Rejected int    `json:"rejected"`
	// Lookup marks a source that no record is made of; its rows that could be
	// read count as taken.
	Lookup bool `json:"lookup"`
}

// RuleCount accounts for the rows that a rule wanted: Rows = Created +
// Changed + Same + Repeated + Rejected.
type RuleCount struct {
	Type     string `json:"type"` // "" for a rule that rejects
	From     string `json:"from"`
	Update   bool   `json:"update"`
	Rows     int    `json:"rows"`
	Created  int    `json:"created"`
	Changed  int    `json:"changed"`
	Same     int    `json:"same"`
	Repeated int    `json:"repeated"`
	Rejected int    `json:"rejected"`
}

// TypeCount counts records of a type. Rejected counts those that the tenant
// refused; of rows that never became a record see RuleCount.
type TypeCount struct {
	Type     string `json:"type"`
	Created  int    `json:"created"`
	Changed  int    `json:"changed"`
	Same     int    `json:"same"`
	Rejected int    `json:"rejected"`
}

// Note is a remark on a row.
type Note struct {
	File string `json:"file"`
	Line int    `json:"line"`
	Text string `json:"text"`
}

// reject is a row that was not taken.
type reject struct {
	row    *row
	reason string
}

// writeRejects writes the rejects as CSV, by file and line: file, line (of
// the file, the header being 1), reason, and then the row's own columns as
// they stood.
func writeRejects(w io.Writer, rejects []reject) error {
	sort.SliceStable(rejects, func(i, j int) bool {
		a, b := rejects[i].row, rejects[j].row
		if a.table.file != b.table.file {
			return a.table.file < b.table.file
		}
		return a.line < b.line
	})
	c := csv.NewWriter(w)
	rows := [][]string{{"file", "line", "reason", "row"}}
	for _, r := range rejects {
		rows = append(rows, append([]string{r.row.table.file, strconv.Itoa(r.row.line), r.reason}, r.row.cells...))
	}
	if err := c.WriteAll(rows); err != nil {
		return fmt.Errorf("importer: writing the rejects: %w", err)
	}
	return nil
}

// check proves that no row is unaccounted for.
func (r *Report) check() error {
	for _, c := range r.Rules {
		if c.Rows != c.Created+c.Changed+c.Same+c.Repeated+c.Rejected {
			return fmt.Errorf("importer: rows of %s for %s don't add up: %+v", c.From, c.Type, c)
		}
	}
	for _, c := range r.Sources {
		if c.Rows != c.Taken+c.Repeated+c.Rejected {
			return fmt.Errorf("importer: rows of %s don't add up: %+v", c.Name, c)
		}
	}
	return nil
}
