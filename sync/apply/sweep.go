package apply

import (
	"encoding/binary"
	"slices"

	"satchel/internal/ident"
	"satchel/sync/store"
)

// maxSwept bounds the rows that one entry sweeps from a bucket: what is over
// goes little by little, with the entries that come anyway.
const maxSwept = 64

// sweepRow says that something stored under what is over at the instant. It
// sorts by instant, as the rows of Due do.
func sweepRow(at ident.Millis, what []byte) []byte {
	b := binary.BigEndian.AppendUint64([]byte{'t'}, uint64(at)^1<<63)
	return append(b, what...)
}

// over takes the first rows of a bucket that are over by tenant time and calls
// f for what each stands for.
func (m *Machine) over(b store.Bucket, f func(what []byte)) {
	var rows [][]byte
	store.ScanPrefix(m.w.Stage, b, []byte{'t'}, func(k, _ []byte) bool {
		if len(rows) == maxSwept || ident.Millis(binary.BigEndian.Uint64(k[1:])^1<<63) > m.w.Now() {
			return false
		}
		rows = append(rows, slices.Clone(k))
		return true
	})
	for _, k := range rows {
		m.w.Delete(b, k)
		f(k[9:])
	}
}

// sweep deletes idempotency keys, sessions and files without a document that
// are long over. It wakes
// nobody: an idle tenant keeps them a little longer.
func (m *Machine) sweep() {
	m.over(store.Keys, func(row []byte) {
		// The key may have been used again since.
		if at, ok := keyUsed(m.w.Get(store.Keys, row)); ok && at+keyLifetime <= m.w.Now() {
			m.w.Delete(store.Keys, row)
		}
	})
	m.over(store.Files, m.sweepFile)
	m.sweepQuarantine()
	m.over(store.Sessions, func(id []byte) {
		s, ok := ReadSession(&m.w.Reader, ident.SessionID(id))
		if !ok {
			return
		}
		// A phone that was cut off is told to wipe itself however late it comes.
		if rec, ok := m.w.Load(s.Device); ok && rec.StatusText() == deviceRevoked {
			return
		}
		m.w.Delete(store.Sessions, sessionRow(ident.SessionID(id)))
		m.w.Delete(store.Sessions, append(employeeSessions(s.Employee), id...))
	})
}
