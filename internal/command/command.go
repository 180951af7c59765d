// Package command is what may be asked of a tenant's state: the kinds of
// command and their encoding in the log. A command carries everything that
// applying it needs, times and randomness included, so that applying it is a
// function of the state and the command alone.
package command

import (
	"encoding/json"
	"fmt"

	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/internal/refresh"
)

// Command is one request; exactly one of the pointers is set.
type Command struct {
	// Actor is the employee who asks, "" for the system; Session and Device
	// are those of the sign-in, "" where there is none.
	Actor   ident.RecordID  `json:"a,omitempty"`
	Session ident.SessionID `json:"s,omitempty"`
	Device  ident.DeviceID  `json:"d,omitempty"`
	// Seed is the command's randomness: ids made while applying it derive
	// from it.
	Seed []byte `json:"r,omitempty"`

	Write   *Write   `json:"write,omitempty"`
	Bulk    *Bulk    `json:"bulk,omitempty"`
	Push    *Push    `json:"push,omitempty"`
	Pull    *Pull    `json:"pull,omitempty"`
	Login   *Login   `json:"login,omitempty"`
	Refresh *Refresh `json:"refresh,omitempty"`
	Logout  *Logout  `json:"logout,omitempty"`
	Secret  *Secret  `json:"secret,omitempty"`
	Invite  *Invite  `json:"invite,omitempty"`
	Accept  *Accept  `json:"accept,omitempty"`
	Import  *Import  `json:"import,omitempty"`
	Setup   *Setup   `json:"setup,omitempty"`
	Tick    *Tick    `json:"tick,omitempty"`
}

// Object is a JSON object split into members; the values are as sent.
type Object map[string]json.RawMessage

// Write is one change of one record through the module API.
type Write struct {
	Op      string         `json:"op"` // create, patch, delete, action
	App     string         `json:"app,omitempty"`
	Type    string         `json:"type"`
	ID      ident.RecordID `json:"id,omitempty"` // of a create: "" to have one made
	Fields  Object         `json:"fields,omitempty"`
	Action  string         `json:"action,omitempty"`
	Args    Object         `json:"args,omitempty"`
	IfMatch string         `json:"ifMatch,omitempty"`
	// Key is the Idempotency-Key with the hash of the request it came with.
	Key     string `json:"key,omitempty"`
	KeyHash []byte `json:"keyHash,omitempty"`
}

// Bulk is one action on many records, each judged on its own.
type Bulk struct {
	App    string           `json:"app,omitempty"`
	Type   string           `json:"type"`
	Action string           `json:"action"`
	IDs    []ident.RecordID `json:"ids"`
	Args   Object           `json:"args,omitempty"`
	// Key is the Idempotency-Key with the hash of the request it came with.
	Key     string `json:"key,omitempty"`
	KeyHash []byte `json:"keyHash,omitempty"`
}

// Mutation is one piece of offline work.
type Mutation struct {
	N      uint64         `json:"n"`
	Op     string         `json:"op"`
	Type   string         `json:"type"`
	ID     ident.RecordID `json:"id"`
	Fields Object         `json:"fields,omitempty"`
	Was    Object         `json:"was,omitempty"`
	Action string         `json:"action,omitempty"`
	Args   Object         `json:"args,omitempty"`
	After  []uint64       `json:"after,omitempty"`
	At     ident.Millis   `json:"at"`
	Hash   []byte         `json:"hash"` // SHA-256 of the canonical mutation
	// Refuse is the edge's own verdict on a mutation it could not read; it is
	// refused alone and does not hold up what follows.
	Refuse     fault.Code `json:"refuse,omitempty"`
	RefuseText string     `json:"refuseText,omitempty"`
}

// Push is a device's offline work, or a part of it.
type Push struct {
	Acked     uint64       `json:"acked"`
	Now       ident.Millis `json:"now"`
	Mutations []Mutation   `json:"mutations"`
}

// Window bounds a field device's own work by scheduled time.
type Window struct {
	From ident.Millis `json:"from"`
	To   ident.Millis `json:"to"`
}

// Summary is what a device says it holds of a type.
type Summary struct {
	Count  int    `json:"count"`
	Digest string `json:"digest"`
}

// Pull asks for a device's next page.
type Pull struct {
	Checkpoint string       `json:"cp,omitempty"`
	Limit      int          `json:"limit,omitempty"`
	Profile    string       `json:"profile,omitempty"`
	Window     *Window      `json:"window,omitempty"`
	Pins       *[]ident.Ref `json:"pins,omitempty"`
	Schema     int          `json:"schema,omitempty"`
	// Reconcile says what the device holds, for an unknown checkpoint.
	Reconcile map[string]Summary `json:"reconcile,omitempty"`
	Heal      []string           `json:"heal,omitempty"`
}

// Device describes the device that signs in.
type Device struct {
	Installation string `json:"installation"`
	Incarnation  string `json:"incarnation"`
	Name         string `json:"name,omitempty"`
	Platform     string `json:"platform,omitempty"`
	PushToken    string `json:"pushToken,omitempty"`
}

// Login opens a session. The password was verified against Credential, the
// stored hash, which must still be in force when the command is applied.
type Login struct {
	Employee   ident.RecordID  `json:"employee"`
	Credential string          `json:"credential"` // SHA-256, hex, of the stored hash
	Rehash     string          `json:"rehash,omitempty"`
	Session    ident.SessionID `json:"session"`
	First      refresh.Digest  `json:"first"` // of the first refresh token
	Device     *Device         `json:"device,omitempty"`
	Prefix     string          `json:"prefix,omitempty"` // proposed id prefix
}

// Refresh rotates a session's refresh token.
type Refresh struct {
	Session ident.SessionID `json:"session"`
	Attempt refresh.Attempt `json:"attempt"`
}

// Logout ends a session.
type Logout struct {
	Session ident.SessionID `json:"session"`
}

// Secret sets an employee's password hash (PHC string).
type Secret struct {
	Employee ident.RecordID `json:"employee"`
	Hash     string         `json:"hash"`
}

// Invite lets an employee choose a password, once, by a token of which only
// the digest is known here.
type Invite struct {
	Employee ident.RecordID `json:"employee"`
	Digest   []byte         `json:"digest"` // SHA-256 of the token
}

// Accept uses an invitation: it sets the password hash (PHC string) of whoever
// was invited by the token.
type Accept struct {
	Digest []byte `json:"digest"` // SHA-256 of the token
	Hash   string `json:"hash"`
}

// Row is one record of an import: every field may be given, the system's
// included.
type Row struct {
	Type   string         `json:"type"`
	ID     ident.RecordID `json:"id"`
	Fields Object         `json:"fields"`
	At     ident.Millis   `json:"at,omitempty"` // createdAt
}

// Import writes records as the system: creates what is absent, patches what
// differs, leaves what is equal.
type Import struct {
	Rows []Row `json:"rows"`
}

// Setup makes a new tenant's first administrator.
type Setup struct {
	Name     string         `json:"name"`
	Email    string         `json:"email"`
	Employee ident.RecordID `json:"employee"`
	Hash     string         `json:"hash"`
	Secret   []byte         `json:"secret"` // the tenant's key for tokens it makes
}

// Tick carries time forward so that what is due happens.
type Tick struct{}

// Encode renders the command as it stands in the log.
func Encode(c *Command) ([]byte, error) { return json.Marshal(c) }

// Decode reads a command from the log.
func Decode(b []byte) (*Command, error) {
	var c Command
	if err := json.Unmarshal(b, &c); err != nil {
		return nil, fmt.Errorf("command: %w", err)
	}
	return &c, nil
}
