package apply_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"satchel/internal/command"
	"satchel/internal/ident"
	"satchel/sync/apply"
	"satchel/sync/state"
)

// TestRoomOfAFewLongRecords: a few long records at the head of a page don't have it
// make room as if all were as long.
func TestRoomOfAFewLongRecords(t *testing.T) {
	w := field(t)
	var rs []command.Row
	for i := range 9_000 {
		notes := "short"
		if i < 32 {
			notes = strings.Repeat("n", 20_000)
		}
		rs = append(rs, row("site", ident.RecordID(fmt.Sprintf("site-%06d", i)), "client", "client-one", "name", "Site", "accessNotes", notes))
		if len(rs) == 1000 || i < 32 && len(rs) == 8 {
			w.load(rs...)
			rs = nil
		}
	}
	p := w.signIn("emp-mgr-1", "i1")
	page := w.ok(p.pulling(command.Pull{Limit: 10_000})).Page
	w.reader(func(rd *state.Reader) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		body, err := page.Encode(rd, nil, apply.ToldNone)
		runtime.ReadMemStats(&after)
		if err != nil {
			t.Fatal(err)
		}
		got := after.TotalAlloc - before.TotalAlloc
		t.Logf("%d records, %d bytes, room for %d, %d allocated", len(page.Items), len(body), cap(body), got)
		if got > 8*uint64(len(body)) {
			t.Errorf("a page of %d bytes took %d", len(body), got)
		}
	})
}
