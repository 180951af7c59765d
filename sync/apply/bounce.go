package apply

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"satchel/internal/command"
	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/sync/state"
	"satchel/sync/store"
	"satchel/sync/subject"
)

// Fields of an employee that say that mail comes back: the status has no value
// while it does not.
const (
	fieldMailStatus  = "mailStatus"
	fieldMailRefused = "mailRefusedAt"

	mailRefused = "refused"
)

// A mailbox may be full for a while: so many mails that come back within the
// time make an address one that takes none.
const (
	BouncesTaken              = 5
	BounceWindow ident.Millis = 7 * 24 * 60 * 60 * 1000
)

// maxMailName bounds what names a mail that came back, in bytes.
const maxMailName = 40

// AddressDigest names an e-mail address without telling it: the SHA-256 of it
// in lower case, without the space around it.
func AddressDigest(address string) []byte {
	sum := sha256.Sum256([]byte(strings.ToLower(strings.TrimSpace(address))))
	return sum[:]
}

// MailRefused reports whether an employee's address is known to take no mail:
// nothing is sent there until it is another one, or somebody confirms it.
func MailRefused(employee *entity.Record) bool {
	return employee.Get(fieldMailStatus).Text() == mailRefused
}

// A preference with this key, and with the person's address as its value, says
// that the address takes mail again: people may write preferences, whatever
// else they may not.
const (
	typePreference = "preference"
	keyMailAddress = "mail-address"
)

// confirm ends it that mail to a person is held back, when that is what they
// have just written among their preferences.
func (r *run) confirm(after *entity.Record) error {
	if after == nil || after.Type.Name != typePreference || after.Get("key").Text() != keyMailAddress || after.Get("owner").Ref() != r.cmd.Actor {
		return nil
	}
	address := after.Get("value").Text()
	var quoted string
	if json.Unmarshal([]byte(address), &quoted) == nil { // some clients keep values as JSON
		address = quoted
	}
	emp, ok := r.w.Load(r.cmd.Actor)
	if !ok || emp.Type.Name != subject.Employee || !MailRefused(emp) || !bytes.Equal(AddressDigest(address), AddressDigest(emp.Get("email").Text())) {
		return nil
	}
	good := emp.Clone()
	good.Set(fieldMailStatus, nil)
	good.Set(fieldMailRefused, nil)
	return r.unsigned(func() error { return r.save(emp, good) })
}

// Of the Outbox bucket: 'b' person -> comingBack as JSON; 'c' instant, person ->
// nothing: when that is over.
func comingBackRow(id ident.RecordID) []byte { return append([]byte{'b'}, id...) }

// comingBack is what of late did not reach a person who may be reached later.
type comingBack struct {
	Address []byte       `json:"address"` // SHA-256
	Mails   []cameBack   `json:"mails"`   // by time
	Until   ident.Millis `json:"until"`   // when all of them are too old to count
}

type cameBack struct {
	Mail string       `json:"mail"`
	At   ident.Millis `json:"at"`
}

// bounced takes note that a mail could not be delivered. Reports of mails to
// an address that the person no longer has count for nothing, and so does what
// is reported once more. One that can't be noted is left out: it must not hold
// up the others.
func (r *run) bounced(b command.Bounce) {
	emp, ok := r.w.Load(b.Person)
	if !ok || emp.Type.Name != subject.Employee || MailRefused(emp) || len(b.Mail) > maxMailName ||
		!bytes.Equal(b.Address, AddressDigest(emp.Get("email").Text())) {
		return
	}
	row := comingBackRow(b.Person)
	if !b.Permanent {
		c := comingBack{Address: b.Address}
		if v := r.w.Get(store.Outbox, row); v != nil {
			if had := readComingBack(v); bytes.Equal(had.Address, b.Address) {
				c = had
			}
		}
		c.Mails = slices.DeleteFunc(c.Mails, func(m cameBack) bool { return m.At+BounceWindow <= r.w.Now() })
		if slices.ContainsFunc(c.Mails, func(m cameBack) bool { return m.Mail == b.Mail }) {
			return
		}
		c.Mails = append(c.Mails, cameBack{b.Mail, r.w.Now()})
		if len(c.Mails) < BouncesTaken {
			c.Until = r.w.Now() + BounceWindow
			r.w.Put(store.Outbox, row, encode(c))
			r.w.Put(store.Outbox, agedRow('c', c.Until, []byte(b.Person)), nil)
			return
		}
	}
	to := r.savepoint()
	after := emp.Clone()
	after.Set(fieldMailStatus, entity.StringValue(mailRefused))
	after.Set(fieldMailRefused, entity.TimeValue(r.w.Now()))
	err := r.save(emp, after)
	if err == nil {
		err = r.settle()
	}
	if err != nil {
		r.undo(to)
		return
	}
	r.w.Delete(store.Outbox, row)
}

func readComingBack(v []byte) (c comingBack) {
	if err := json.Unmarshal(v, &c); err != nil {
		panic(fmt.Errorf("%w: mail that came back: %w", state.ErrDamaged, err))
	}
	return c
}

// sweepBounces forgets mail that came back long ago.
func (m *Machine) sweepBounces() {
	m.aged(store.Outbox, 'c', m.w.Now(), func(_ ident.Millis, who []byte) {
		row := comingBackRow(ident.RecordID(who))
		if v := m.w.Get(store.Outbox, row); v != nil && readComingBack(v).Until <= m.w.Now() {
			m.w.Delete(store.Outbox, row)
		}
	})
}
