package bench

import (
	"bytes"
	"errors"
)

// page is what a client needs to know of a page. Clients share the machine
// with the server, so pages are not parsed: their members stand in a fixed
// order, and what the tenant holds has no quotes in it.
type page struct {
	checkpoint       string
	records, removed int
	more, complete   bool
	mark             string // see markIn; scan does not look for it
	deferred         bool   // its acknowledgement can wait; scan does not look for that either
}

var (
	errPage = errors.New("this is no page")

	atCheckpoint = []byte(`"checkpoint":"`)
	atRemoved    = []byte(`"removed":[`)
	atRecords    = []byte(`],"records":[`)
	atProcessed  = []byte(`],"processed":`)
	atType       = []byte(`"type":"`)
	atID         = []byte(`","id":"`)
	atRev        = []byte(`","rev":"`)
	oneRemoved   = []byte(`{"type":"`)
	yesMore      = []byte(`"more":true`)
	yesComplete  = []byte(`"complete":{`)
	atMark       = []byte(`":"` + markPrefix)
)

// markPrefix begins the fields by which a write is known again; what follows is
// its mark.
const markPrefix = "mark-"

// scan reads a page, with or without the kind of a frame before it.
func scan(b []byte) (page, error) {
	var p page
	_, rest, ok := bytes.Cut(b, atCheckpoint)
	if !ok {
		return p, errPage
	}
	cp, rest, ok := bytes.Cut(rest, []byte(`"`))
	if !ok {
		return p, errPage
	}
	p.checkpoint = string(cp)
	_, rest, ok = bytes.Cut(rest, atRemoved)
	if !ok {
		return p, errPage
	}
	removed, rest, ok := bytes.Cut(rest, atRecords)
	if !ok {
		return p, errPage
	}
	end := bytes.LastIndex(rest, atProcessed)
	if end < 0 {
		return p, errPage
	}
	p.removed = bytes.Count(removed, oneRemoved)
	p.records = countRecords(rest[:end])
	p.more = bytes.Contains(rest[end:], yesMore)
	p.complete = bytes.Contains(rest[end:], yesComplete)
	return p, nil
}

// countRecords looks from brace to brace: there are two a record, and what begins
// one is far rarer than what its parts begin with.
func countRecords(b []byte) (n int) {
	for {
		i := bytes.IndexByte(b, '{')
		if i < 0 {
			return n
		}
		b = b[i+1:]
		if rest, ok := bytes.CutPrefix(b, atType); ok && isRecord(rest) {
			n++
		}
	}
}

// isRecord reports whether what follows a type's beginning is the type, an id and
// a rev, as records have them and what is in them doesn't.
func isRecord(b []byte) bool {
	for _, next := range [...][]byte{atID, atRev} {
		i := bytes.IndexByte(b, '"')
		if i < 0 {
			return false
		}
		var ok bool
		if b, ok = bytes.CutPrefix(b[i:], next); !ok {
			return false
		}
	}
	return true
}

// markIn returns the mark of the first record of a page that has one, "" for none.
func markIn(page []byte) string {
	last := atMark[len(atMark)-1] // of all its bytes the rarest
	for from := 0; ; {
		i := bytes.IndexByte(page[from:], last)
		if i < 0 {
			return ""
		}
		from += i + 1
		if bytes.HasSuffix(page[:from], atMark) {
			mark, _, _ := bytes.Cut(page[from:], []byte(`"`))
			return string(mark)
		}
	}
}
