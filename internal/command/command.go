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
	Factor  *Factor  `json:"factor,omitempty"`
	Forget  *Forget  `json:"forget,omitempty"`
	File    *File    `json:"file,omitempty"`
	Replay  *Replay  `json:"replay,omitempty"`
	Discard *Discard `json:"discard,omitempty"`
	Import  *Import  `json:"import,omitempty"`
	Setup   *Setup   `json:"setup,omitempty"`
	Tick    *Tick    `json:"tick,omitempty"`
	Deliver *Deliver `json:"deliver,omitempty"`
	Address *Address `json:"address,omitempty"`
	Rekey   *Rekey   `json:"rekey,omitempty"`
	Erase   *Erase   `json:"erase,omitempty"`
	Act     *Act     `json:"act,omitempty"`
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
	// At is when it happened for the person, put right at the edge by what the
	// phone took for now; 0 for now. It never lies in the future.
	At ident.Millis `json:"at,omitempty"`
	// Mobile: it came through the Mobile Service Agent module, which the actor
	// must have.
	Mobile bool `json:"mobile,omitempty"`
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
	// Changes: of records that the device holds it takes the changed fields alone.
	Changes bool `json:"changes,omitempty"`
	// Since and Ahead are the server's own: how far the device has come beyond
	// what is stored of it, and how many records it may be sent that way.
	Since *Mark `json:"since,omitempty"`
	Ahead int   `json:"ahead,omitempty"`
}

// Mark is a place in the order of changes.
type Mark struct {
	Pos ident.Position `json:"p"`
	Ord ident.Ordinal  `json:"o"`
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
// stored hash, which must still be in force when the command is applied; or an
// identity provider vouches for the person, and Credential is "".
type Login struct {
	Employee   ident.RecordID  `json:"employee"`
	Credential string          `json:"credential"` // SHA-256, hex, of the stored hash
	Identity   *Identity       `json:"identity,omitempty"`
	Factor     *FactorUse      `json:"factor,omitempty"` // of a person who has a second factor
	Enrol      *NewFactor      `json:"enrol,omitempty"`  // of one who needs one and has none
	Rehash     string          `json:"rehash,omitempty"`
	Session    ident.SessionID `json:"session"`
	First      refresh.Digest  `json:"first"` // of the first refresh token
	Device     *Device         `json:"device,omitempty"`
	Prefix     string          `json:"prefix,omitempty"` // proposed id prefix
}

// Identity is a person as an identity provider knows them.
type Identity struct {
	Issuer  string `json:"issuer"`
	Subject string `json:"subject"`
	// Email is an address that the issuer says it has verified, "" for none.
	Email string `json:"email,omitempty"`
}

// FactorUse is one use of a second factor, judged at the edge: a code of a
// time step, or a recovery code.
type FactorUse struct {
	Key      []byte `json:"key"`                // SHA-256 of the sealed secret that the code was judged by
	Step     int64  `json:"step,omitempty"`     // time step of the code; 0 with a recovery code
	Recovery []byte `json:"recovery,omitempty"` // SHA-256 of the recovery code
}

// NewFactor is a second factor that a person has shown to have.
type NewFactor struct {
	Sealed   []byte   `json:"sealed"`   // the secret, readable at the edge alone
	Step     int64    `json:"step"`     // of the code that showed it
	Recovery [][]byte `json:"recovery"` // SHA-256 of each recovery code
}

// Factor changes the actor's own second factor: Enrol adds one; Use alone
// removes the one there is, and with Recovery gives it other recovery codes.
type Factor struct {
	Enrol    *NewFactor `json:"enrol,omitempty"`
	Use      *FactorUse `json:"use,omitempty"`
	Recovery [][]byte   `json:"recovery,omitempty"`
}

// Forget takes from an employee, in an administrator's name, the second factor
// or the tie to an identity provider's account.
type Forget struct {
	Employee ident.RecordID `json:"employee"`
	Factor   bool           `json:"factor,omitempty"`
	Identity bool           `json:"identity,omitempty"`
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
	// Reset: nobody invites, whoever forgot the password asked for it.
	Reset bool `json:"reset,omitempty"`
	// Nonce is what the server that mails the token derives it from, with a key
	// that is in no log; nil where the token is handed on by other means.
	Nonce []byte `json:"nonce,omitempty"`
}

// Accept uses an invitation: it sets the password hash (PHC string) of whoever
// was invited by the token.
type Accept struct {
	Digest []byte `json:"digest"` // SHA-256 of the token
	Hash   string `json:"hash"`
}

// File says that an upload of the actor's has arrived whole: the content of a
// document that is there, or comes later.
type File struct {
	Document  ident.RecordID `json:"document"`
	Upload    string         `json:"upload"`    // its id
	SHA256    string         `json:"sha256"`    // of the content, lowercase hex
	Size      int64          `json:"size"`      // bytes
	MediaType string         `json:"mediaType"` // told from the content, without parameters
	Name      string         `json:"name,omitempty"`
	// Refused is the code for which the content was not kept; the content's
	// other members are empty then.
	Refused string `json:"refused,omitempty"`
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

// Encode renders the command as it stands in the log: as encoding/json does.
func Encode(c *Command) ([]byte, error) {
	if onlyWrites(c) {
		if b, ok := appendCommand(make([]byte, 0, 512), c); ok {
			return b, nil
		}
	}
	return json.Marshal(c)
}

// Decode reads a command from the log.
func Decode(b []byte) (*Command, error) {
	if c, ok := readCommand(b); ok {
		return c, nil
	}
	var c Command
	if err := json.Unmarshal(b, &c); err != nil {
		return nil, fmt.Errorf("command: %w", err)
	}
	return &c, nil
}
