// Package wire is the sync protocol as JSON: what a device sends and gets
// over HTTP and in WebSocket frames. Servers and client packages share it;
// it imports nothing of Satchel. Names are fixed; members are only added.
package wire

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
)

// Ref names a record.
type Ref struct {
	Type string `json:"type"`
	ID   string `json:"id"`
}

// Window bounds a field device's own work by scheduled time, RFC 3339.
type Window struct {
	From string `json:"from"`
	To   string `json:"to"`
}

// Summary is what one side holds of a type: how many records, and the
// lowercase hex SHA-256 over the lines "id\0rev\n" of them, sorted by id.
type Summary struct {
	Count  int    `json:"count"`
	Digest string `json:"digest"`
}

// Types carries a summary per type name.
type Types struct {
	Types map[string]Summary `json:"types"`
}

// Pull asks for the next page. Checkpoint is the token of the last page the
// device applied, "" or absent for nothing. Absent Profile, Window, Pins and
// Schema leave the device's own as they are; absent Limit is the server's.
type Pull struct {
	Checkpoint string  `json:"checkpoint,omitempty"`
	Limit      *int    `json:"limit,omitempty"` // records a page, 1 to 10,000
	Profile    string  `json:"profile,omitempty"`
	Window     *Window `json:"window,omitempty"`
	Pins       *[]Ref  `json:"pins,omitempty"` // present and empty: no pins
	Schema     int     `json:"schema,omitempty"`
	// Reconcile says what the device holds, for a checkpoint that the server
	// may not know; types that agree are not sent again.
	Reconcile *Types `json:"reconcile,omitempty"`
	// Heal names types to be sent anew, after verify found them different.
	Heal []string `json:"heal,omitempty"`
}

// Record is one record of a page, as its reader sees it.
type Record struct {
	Type    string                     `json:"type"`
	ID      string                     `json:"id"`
	Rev     string                     `json:"rev"`
	Context bool                       `json:"context,omitempty"`
	Fields  map[string]json.RawMessage `json:"fields"`
	// Check stands where Fields has only those that may have changed since the
	// device got the record, with null for what was cleared. Devices get such
	// records that prefer it. They are laid over the record as it is held: fields
	// that are named replace the device's, null takes them away, all others stay.
	// Check is the [Check] of what comes of that; where it is not, or the record
	// is not held, the device keeps what it has and heals the type.
	Check string `json:"check,omitempty"`
}

// Lay lays changed fields over those of a record, as said of Record.Check.
func Lay(fields, changed map[string]json.RawMessage) {
	for name, value := range changed {
		if string(value) == "null" {
			delete(fields, name)
		} else {
			fields[name] = value
		}
	}
}

// Check returns a checksum of a record's fields, 8 lowercase hex digits: the sum,
// modulo 2^32, of the first four bytes, the highest first, of the SHA-256 of each
// of its members as it stands in a page, `"name":value`. It does not depend on
// their order.
func Check(fields map[string]json.RawMessage) string {
	var all uint32
	for name, value := range fields {
		sum := sha256.Sum256([]byte(`"` + name + `":` + string(value)))
		all += binary.BigEndian.Uint32(sum[:])
	}
	return fmt.Sprintf("%08x", all)
}

// Page is the answer to a pull. A device applies it in one local transaction,
// together with Checkpoint, and only if From is its own checkpoint.
type Page struct {
	From       string   `json:"from"`
	Checkpoint string   `json:"checkpoint"`
	Removed    []Ref    `json:"removed"`
	Records    []Record `json:"records"`
	// Processed is the last mutation number in effect at this page.
	Processed uint64 `json:"processed"`
	More      bool   `json:"more"`
	// Reset: drop every record of ResetTypes (of all types where absent)
	// before applying. Unsent work stays.
	Reset      bool     `json:"reset,omitempty"`
	ResetTypes []string `json:"resetTypes,omitempty"`
	// Complete stands on the last page of a round. Over HTTP it names every
	// type the device holds, or only those that the page touched where the
	// device prefers that; on a live page it may name only some of those.
	Complete *Types `json:"complete,omitempty"`
	// Rules is the version of the rules that GET /sync/v1/rules would answer
	// now. It stands on completed pages over HTTP; on a live page where the
	// device was not told of it on the same connection.
	Rules string `json:"rules,omitempty"`
	// Lease is for how many seconds from now the device may show what it holds
	// without another contact; 0 for without end. It stands on pages after which
	// there are no more; of those of a live socket it is told on the first.
	Lease int64 `json:"lease,omitempty"`
	// Ack is AckDeferred on a live page that the server does not wait for: the next
	// may come before this one is acknowledged. Devices get such pages that prefer
	// it. An ack frame within a second or two is enough, and one for several; where
	// there is something to pull for, the pull stands for it.
	Ack string `json:"ack,omitempty"`
	// MobileEnded says that the field set is empty because the Mobile module
	// is no longer among the person's roles.
	MobileEnded bool `json:"mobileEnded,omitempty"`
}

// Mutation ops.
const (
	OpCreate = "create"
	OpPatch  = "patch"
	OpDelete = "delete"
	OpAction = "action"
)

// Mutation is one piece of offline work. N counts from 1 per device, dense.
type Mutation struct {
	N      uint64                     `json:"n"`
	Op     string                     `json:"op"`
	Type   string                     `json:"type"`
	ID     string                     `json:"id"`
	Fields map[string]json.RawMessage `json:"fields,omitempty"`
	Was    map[string]json.RawMessage `json:"was,omitempty"`
	Action string                     `json:"action,omitempty"`
	Args   map[string]json.RawMessage `json:"args,omitempty"`
	After  []uint64                   `json:"after,omitempty"`
	At     string                     `json:"at"` // RFC 3339, by the phone's clock
}

// Push brings offline work. Acked is the highest mutation number whose result
// the device has stored; Now is the phone's clock. Schema is the version of the
// record types in whose words the mutations are, absent for that of the last
// pull.
type Push struct {
	Acked     uint64     `json:"acked"`
	Now       string     `json:"now"`
	Schema    int        `json:"schema,omitempty"`
	Mutations []Mutation `json:"mutations"`
}

// Result statuses.
const (
	Applied  = "applied"
	Conflict = "conflict"
	Refused  = "refused"
)

// FieldConflict is one field that both sides changed; the server's value
// (Theirs) stands, the device's (Mine) is kept on the server.
type FieldConflict struct {
	Field  string          `json:"field"`
	Mine   json.RawMessage `json:"mine"`
	Theirs json.RawMessage `json:"theirs"`
	// Conflict is the id of the conflict record, by which it can be settled.
	Conflict string `json:"conflict,omitempty"`
}

// Result answers one mutation.
type Result struct {
	N         uint64          `json:"n"`
	Status    string          `json:"status"`
	Code      string          `json:"code,omitempty"`
	Message   string          `json:"message,omitempty"`
	Rev       string          `json:"rev,omitempty"`
	Conflicts []FieldConflict `json:"conflicts,omitempty"`
	Warnings  []Warning       `json:"warnings,omitempty"`
}

// DoubleBooked is the code of a warning that somebody was given work for a time
// at which they have other work.
const DoubleBooked = "double_booked"

// Warning tells of something that was done and deserves a look. From and To,
// RFC 3339, are the time that it concerns.
type Warning struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	From    string `json:"from,omitempty"`
	To      string `json:"to,omitempty"`
}

// AckDeferred is the Ack of pages.
const AckDeferred = "deferred"

// Ack says that the device has applied the page with the checkpoint, and all before
// it, and asks for nothing.
type Ack struct {
	Checkpoint string `json:"checkpoint"`
}

// Results answers a push.
type Results struct {
	Results   []Result `json:"results"`
	Processed uint64   `json:"processed"`
}

// Verified answers a verify: OK, or the types that differ.
type Verified struct {
	OK    bool     `json:"ok"`
	Types []string `json:"types,omitempty"`
}

// Frame kinds of the live socket. A frame is one JSON object with "kind" and
// the members of the HTTP body of the same name beside it.
const (
	KindAuth    = "auth"    // client: {token}
	KindPull    = "pull"    // client: Pull
	KindAck     = "ack"     // client: Ack
	KindPage    = "page"    // server: Page
	KindPush    = "push"    // client: Push
	KindResults = "results" // server: Results
	KindError   = "error"   // server: Problem
)

// Close codes of the live socket.
const (
	CloseExpired    = 4001
	CloseRevoked    = 4003
	CloseSuperseded = 4009
)

// Problem is an RFC 9457 problem document with Satchel's stable code.
type Problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Code   string `json:"code"`
	Detail string `json:"detail,omitempty"`
	Field  string `json:"field,omitempty"`
	Wipe   bool   `json:"wipe,omitempty"`
}
