// Package ident holds the small typed names that every other package speaks
// in. It imports nothing of Satchel and may be imported by all of it.
package ident

import (
	"encoding/base32"
	"strings"
	"time"
)

// TenantID is the slug of a tenant: 1 to 40 characters of [a-z0-9-].
type TenantID string

// RecordID names a record within a tenant, whatever its type. Ids are never
// reused: a deleted record's id stays taken.
type RecordID string

// PrincipalID is the id of the employee record a person signs in as.
type PrincipalID = RecordID

// DeviceID is the id of the device record of one (principal, installation,
// store incarnation).
type DeviceID = RecordID

// SessionID names one sign-in: a family of refresh tokens.
type SessionID string

// Ordinal is the dense per-tenant number of a record. It never leaves the
// server and is never reused; 0 is no record.
type Ordinal = uint32

// Position is a place in a tenant's log, dense from 1; 0 is before the first
// entry. It never leaves the server.
type Position uint64

// Millis is an instant: milliseconds since 1970-01-01T00:00:00Z.
type Millis int64

// MillisOf converts a time, dropping what is finer than a millisecond.
func MillisOf(t time.Time) Millis { return Millis(t.UnixMilli()) }

// Time converts back, in UTC.
func (m Millis) Time() time.Time { return time.UnixMilli(int64(m)).UTC() }

// RFC3339 renders the instant as it stands in JSON, with milliseconds, in UTC.
func (m Millis) RFC3339() string { return m.Time().Format("2006-01-02T15:04:05.000Z") }

// Day is a UTC calendar day: days since 1970-01-01.
type Day int32

const millisPerDay = 24 * 60 * 60 * 1000

// Day returns the UTC day the instant falls on.
func (m Millis) Day() Day {
	d := int64(m) / millisPerDay
	if int64(m)%millisPerDay < 0 {
		d--
	}
	return Day(d)
}

// Start returns the first instant of the day.
func (d Day) Start() Millis { return Millis(int64(d) * millisPerDay) }

// Ref names a record together with its type.
type Ref struct {
	Type string   `json:"type"`
	ID   RecordID `json:"id"`
}

func (r Ref) String() string { return r.Type + "/" + string(r.ID) }

// MaxIDLength bounds a record id; PrefixLength is the length of the prefix a
// device's own ids start with, and of nothing else's.
const (
	MaxIDLength  = 40
	PrefixLength = 9 // "d" and eight characters
)

// Valid reports whether id is syntactically a record id: 8 to 40 characters
// of [a-z0-9_-], beginning with a letter or digit.
func (id RecordID) Valid() bool {
	if len(id) < 8 || len(id) > MaxIDLength {
		return false
	}
	for i := range len(id) {
		c := id[i]
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
		case (c == '-' || c == '_') && i > 0:
		default:
			return false
		}
	}
	return true
}

var lower32 = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// NewRecordID renders 15 random bytes as a record id that the server makes
// ("r" and 24 characters). The randomness comes with the command, never from
// apply.
func NewRecordID(random [15]byte) RecordID {
	return RecordID("r" + lower32.EncodeToString(random[:]))
}

// NewPrefix renders five random bytes as a device's id prefix.
func NewPrefix(random [5]byte) string { return "d" + lower32.EncodeToString(random[:]) }

// HasPrefix reports whether id is one that the device with this prefix may
// make: the prefix and at least four more characters.
func (id RecordID) HasPrefix(prefix string) bool {
	return prefix != "" && strings.HasPrefix(string(id), prefix) && len(id) >= len(prefix)+4
}
