package rest_test

import (
	"encoding/json"
	"slices"
	"sync/atomic"
	"testing"

	"satchel/internal/ident"
)

// tablets numbers the installations that tests make.
var tablets atomic.Uint64

// synced requires that a device of the person, one that had nothing, has the
// records of these ids when it has pulled everything, and none of those.
func synced(who ident.RecordID, has, lacks []string) step {
	return do(func(t *testing.T, w *world) {
		t.Helper()
		d := newTablet(t, w, who)
		d.has(has...)
		d.lacks(lacks...)
		w.were(t, lacks...)
	}).as(onDevices | allowing.when(len(has) > 0) | refusing.when(len(lacks) > 0))
}

// carries requires that such a device has these fields of the record, and none
// of those.
func carries(who ident.RecordID, id string, has, lacks []string) step {
	return do(func(t *testing.T, w *world) {
		t.Helper()
		d := newTablet(t, w, who)
		var fields map[string]json.RawMessage
		if d.has(id); d.held[id] == nil {
			return
		}
		if err := json.Unmarshal(d.held[id], &fields); err != nil {
			t.Fatal(err)
		}
		for _, f := range has {
			if fields[f] == nil {
				t.Errorf("%s's device lacks %s of %s", who, f, id)
			}
		}
		for _, f := range lacks {
			if fields[f] != nil {
				t.Errorf("%s's device has %s of %s", who, f, id)
			}
		}
		w.filled(t, map[string]any{"id": id}, lacks)
	}).as(onDevices | allowing.when(len(has) > 0) | refusing.when(len(lacks) > 0))
}

// takesAway requires that a device of the person that has the records loses those
// that are gone by what the steps do, and keeps the others.
func takesAway(who ident.RecordID, gone, kept []string, steps ...step) step {
	return do(func(t *testing.T, w *world) {
		t.Helper()
		d := newTablet(t, w, who)
		d.has(gone...)
		d.has(kept...)
		takes(t, w, steps...)
		removed := d.pull()
		d.lacks(gone...)
		d.has(kept...)
		for _, id := range gone {
			if !slices.Contains(removed, id) {
				t.Errorf("%s's device is not told that %s is gone", who, id)
			}
		}
	}).as(onDevices | allowing.when(len(kept) > 0) | refusing.when(len(gone) > 0))
}
