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
	mark             string // of the first record that has one
}

var (
	errPage = errors.New("this is no page")

	atCheckpoint = []byte(`"checkpoint":"`)
	atRemoved    = []byte(`"removed":[`)
	atRecords    = []byte(`],"records":[`)
	atProcessed  = []byte(`],"processed":`)
	oneRecord    = []byte(`","rev":"`)
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
	p.records = bytes.Count(rest[:end], oneRecord)
	if _, mark, ok := bytes.Cut(rest[:end], atMark); ok {
		mark, _, _ = bytes.Cut(mark, []byte(`"`))
		p.mark = string(mark)
	}
	p.more = bytes.Contains(rest[end:], yesMore)
	p.complete = bytes.Contains(rest[end:], yesComplete)
	return p, nil
}
