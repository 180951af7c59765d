package apply

import (
	"encoding/binary"
	"encoding/json"

	"satchel/internal/command"
	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/sync/state"
	"satchel/sync/store"
	"satchel/sync/subject"
)

const day ident.Millis = 24 * 60 * 60 * 1000

// How long notifications are kept unless the tenant says otherwise: once they
// are read, and while they are not. An invitation is kept for invitationKept
// once it is over, so that whoever asks why a link is of no use can be told.
const (
	NotificationKept       = 30 * day
	UnreadNotificationKept = 180 * day

	invitationKept = 30 * day
)

// Keys of the settings by which a tenant says otherwise, and the field that
// has the days.
const (
	settingReadKept   = "read-notifications-kept"
	settingUnreadKept = "unread-notifications-kept"
	fieldDays         = "days"
)

// leastKept is the shortest time that a tenant may choose.
const leastKept = day

// Of the Outbox bucket: 'u' instant, notification id -> nothing: when it was
// made; 'r' likewise: when it was read. They bear when something began and not
// when it ends, so that a tenant's other choice counts for what is there.
const (
	agedMade = 'u'
	agedRead = 'r'
)

// Of the Sessions bucket: 'x' instant, digest of a token -> nothing: when the
// invitation is over.
const agedInvitation = 'x'

// agedRow sorts by instant within its kind.
func agedRow(kind byte, at ident.Millis, what []byte) []byte {
	b := binary.BigEndian.AppendUint64([]byte{kind}, uint64(at)^1<<63)
	return append(b, what...)
}

// keepTrack notes the age of a notification that is staged.
func (r *run) keepTrack(before, after *entity.Record) {
	if after == nil || after.Type.Name != TypeNotification {
		return
	}
	if before == nil {
		r.w.Put(store.Outbox, agedRow(agedMade, r.w.Now(), []byte(after.ID)), nil)
	}
	if !after.Get("readAt").IsNull() && (before == nil || before.Get("readAt").IsNull()) {
		r.w.Put(store.Outbox, agedRow(agedRead, r.w.Now(), []byte(after.ID)), nil)
	}
}

// sweepNotifications deletes notifications that were kept long enough: they
// leave devices as whatever is deleted does.
func (m *Machine) sweepNotifications() {
	for _, x := range []struct {
		kind    byte
		setting string
		kept    ident.Millis
	}{{agedRead, settingReadKept, NotificationKept}, {agedMade, settingUnreadKept, UnreadNotificationKept}} {
		oldest, ok := m.oldest(store.Outbox, x.kind)
		if !ok || oldest+leastKept > m.w.Now() {
			continue
		}
		m.aged(store.Outbox, x.kind, m.w.Now()-m.chosen(x.setting, x.kept), func(_ ident.Millis, id []byte) {
			note, ok := m.w.Load(ident.RecordID(id))
			if !ok || note.Type.Name != TypeNotification || note.Get("readAt").IsNull() != (x.kind == agedMade) {
				return // one that was read has a row of the other kind
			}
			m.discardRecord(note)
		})
	}
}

// chosen is how long the tenant wants something to be kept.
func (m *Machine) chosen(key string, otherwise ident.Millis) ident.Millis {
	t := m.cfg.Cat.Type(subject.Setting)
	for o := range m.w.Index(state.ValueKey(t.No, t.Field("key").No, key)).All() {
		if s, ok := m.w.LoadOrd(o); ok && s.Get("on").Bool() {
			if n := s.Get(fieldDays).Int(); n > 0 {
				return max(leastKept, ident.Millis(n)*day)
			}
		}
	}
	return otherwise
}

// discardRecord deletes a record in nobody's name, between commands.
func (m *Machine) discardRecord(rec *entity.Record) {
	mark := m.w.Mark()
	r := m.start(&command.Command{})
	if err := r.Delete(rec); err != nil {
		m.rollback(mark, r, 0, 0)
		return
	}
	m.join(r)
}

// sweepInvitations forgets invitations and resets that have been over for long.
func (m *Machine) sweepInvitations() {
	m.aged(store.Sessions, agedInvitation, m.w.Now()-invitationKept, func(over ident.Millis, digest []byte) {
		var in invitation
		row := invitationRow(digest)
		v := m.w.Get(store.Sessions, row)
		if v == nil || json.Unmarshal(v, &in) != nil || in.Expires != over {
			return
		}
		m.w.Delete(store.Sessions, row)
		for _, k := range [][]byte{invitedRow(in.Employee), resetRow(in.Employee)} {
			if string(m.w.Get(store.Sessions, k)) == string(digest) {
				m.w.Delete(store.Sessions, k)
			}
		}
	})
}

// metaAges stands in the Meta bucket: up to which ordinal notifications of
// earlier versions have been given rows by their age; agesDone once all have.
const metaAges = "ages"

const (
	agesDone ident.Ordinal = 1<<32 - 1
	// agesAtOnce bounds the notifications that one entry gives rows.
	agesAtOnce = 500
)

// catchUpAges gives what earlier versions left its rows, some with each entry.
func (m *Machine) catchUpAges() {
	var next ident.Ordinal
	if v := m.w.Get(store.Meta, []byte(metaAges)); len(v) == 4 {
		if next = binary.BigEndian.Uint32(v); next == agesDone {
			return
		}
	} else {
		var rows [][]byte
		store.ScanPrefix(m.w.Stage, store.Sessions, []byte{'i'}, func(k, v []byte) bool {
			var in invitation
			if json.Unmarshal(v, &in) == nil {
				rows = append(rows, agedRow(agedInvitation, in.Expires, k[1:]))
			}
			return true
		})
		for _, k := range rows {
			m.w.Put(store.Sessions, k, nil)
		}
	}
	n, upTo := 0, agesDone
	for o := range m.w.Index(state.TypeKey(m.cfg.Cat.Type(TypeNotification).No)).From(next) {
		if n++; n > agesAtOnce {
			upTo = o
			break
		}
		rec, ok := m.w.LoadOrd(o)
		if !ok {
			continue
		}
		if at, ok := rec.Value(entity.NoCreatedAt).Time(); ok {
			m.w.Put(store.Outbox, agedRow(agedMade, at, []byte(rec.ID)), nil)
		}
		if at, ok := rec.Get("readAt").Time(); ok {
			m.w.Put(store.Outbox, agedRow(agedRead, at, []byte(rec.ID)), nil)
		}
	}
	m.w.Put(store.Meta, []byte(metaAges), binary.BigEndian.AppendUint32(nil, upTo))
}
