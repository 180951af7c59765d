package apply

import (
	"bytes"
	"encoding/binary"
	"encoding/json"

	"satchel/internal/ident"
	"satchel/sync/state"
	"satchel/sync/store"
)

// EachHeldRow calls f for every row of a held set, with the ordinal of the
// device that it is of; ok is false for a row that can't be one.
func EachHeldRow(rd *state.Reader, f func(k []byte, dev ident.Ordinal, ok bool)) {
	rd.KV().Scan(store.Held, nil, func(k, _ []byte) bool {
		if len(k) != 8 {
			f(k, 0, false)
			return true
		}
		f(k, binary.BigEndian.Uint32(k), true)
		return true
	})
}

// EachArrivalRow calls f for every row that says since when a device has
// something, with the device's ordinal; ok is false for a row that can't be one.
func EachArrivalRow(rd *state.Reader, f func(k []byte, dev ident.Ordinal, ok bool)) {
	store.ScanPrefix(rd.KV(), store.Devices, []byte{'s'}, func(k, _ []byte) bool {
		if len(k) != 1+4+8 {
			f(k, 0, false)
			return true
		}
		f(k, binary.BigEndian.Uint32(k[1:]), true)
		return true
	})
}

// CheckWaitingFiles tells through fail what is wrong with the rows of files that
// wait for their documents, and returns how many there are: one that can't be
// read or stands in another's place, one of somebody who never was, one that no
// sweep will ever take.
func CheckWaitingFiles(rd *state.Reader, fail func(format string, args ...any)) (n int) {
	sweeps := map[string]bool{}
	rd.KV().Scan(store.Files, nil, func(k, v []byte) bool {
		switch {
		case k[0] == 't' && len(k) > 9 && len(v) == 0:
			sweeps[string(k[9:])] = true
		case k[0] == 'f':
			n++
			var w WaitingFile
			if err := json.Unmarshal(v, &w); err != nil {
				fail("waiting file: row %q can't be read: %v", k, err)
				return true
			}
			if !bytes.Equal(k, fileRow(w.File.Document, w.Author)) {
				fail("waiting file: row %q is of document %q and %q", k, w.File.Document, w.Author)
			}
			if _, known := rd.Identify(w.Author); !known {
				fail("waiting file of document %s: its author %q never was", w.File.Document, w.Author)
			}
			if w.Received > rd.Now() || w.File.Size < 0 || len(w.File.SHA256) != 64 {
				fail("waiting file of document %s: can't have come as it says", w.File.Document)
			}
		default:
			fail("waiting files: row %q is none", k)
		}
		return true
	})
	store.ScanPrefix(rd.KV(), store.Files, []byte{'f'}, func(k, _ []byte) bool {
		if !sweeps[string(k)] {
			fail("waiting file: row %q is never swept", k)
		}
		return true
	})
	return n
}
