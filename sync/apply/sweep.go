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
func sweepRow(at ident.Millis, what []byte) []byte { return agedRow('t', at, what) }

// over takes the first rows of a bucket that are over by tenant time and calls
// f for what each stands for.
func (m *Machine) over(b store.Bucket, f func(what []byte)) {
	m.aged(b, 't', m.w.Now(), func(_ ident.Millis, what []byte) { f(what) })
}

// oldest returns the instant of the first row of a kind.
func (m *Machine) oldest(b store.Bucket, kind byte) (at ident.Millis, ok bool) {
	store.ScanPrefix(m.w.Stage, b, []byte{kind}, func(k, _ []byte) bool {
		at, ok = ident.Millis(binary.BigEndian.Uint64(k[1:])^1<<63), true
		return false
	})
	return at, ok
}

// aged takes the first rows of a kind that bear an instant up to the given one,
// and calls f for each with that and with what it stands for.
func (m *Machine) aged(b store.Bucket, kind byte, upTo ident.Millis, f func(at ident.Millis, what []byte)) {
	var rows [][]byte
	store.ScanPrefix(m.w.Stage, b, []byte{kind}, func(k, _ []byte) bool {
		if len(rows) == maxSwept || ident.Millis(binary.BigEndian.Uint64(k[1:])^1<<63) > upTo {
			return false
		}
		rows = append(rows, slices.Clone(k))
		return true
	})
	for _, k := range rows {
		m.w.Delete(b, k)
		f(ident.Millis(binary.BigEndian.Uint64(k[1:])^1<<63), k[9:])
	}
}

// sweep deletes what is long over: idempotency keys, sessions, invitations,
// files without a document, notifications and quarantined work that was dealt
// with. It wakes nobody: an idle tenant keeps them a little longer.
func (m *Machine) sweep() {
	m.over(store.Keys, func(row []byte) {
		// The key may have been used again since.
		if at, ok := keyUsed(m.w.Get(store.Keys, row)); ok && at+keyLifetime <= m.w.Now() {
			m.w.Delete(store.Keys, row)
		}
	})
	m.over(store.Files, m.sweepFile)
	m.sweepQuarantine()
	m.sweepNotifications()
	m.sweepInvitations()
	m.sweepBounces()
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
