package client

import (
	"encoding/json"
	"errors"
	"strconv"
	"time"
)

// What the caller has to act on. Compare with errors.Is; where the server said
// it, errors.As finds the *Error too.
var (
	// ErrSignedOut: there is no session (never signed in, signed out, session
	// revoked, device revoked, or the store began a new incarnation). Records
	// and unsent work are still there; call Login.
	ErrSignedOut = errors.New("client: not signed in")
	// ErrWiped: the server ordered this device to be wiped, and it was: records,
	// unsent work, problems, settings and session are gone.
	ErrWiped = errors.New("client: the store was wiped on the server's order")
	// ErrSuperseded: another live connection of the same device took over.
	ErrSuperseded = errors.New("client: another live connection took over")
	// ErrOtherUser: the store holds unsent work of another person, which must
	// never be sent in this one's name. Let that person sign in and sync, or
	// call Erase.
	ErrOtherUser = errors.New("client: the store holds another person's unsent work")
	// ErrNotFound: there is no such record on this device, or no more.
	ErrNotFound = errors.New("client: no such record on this device")
	// ErrTooLarge: one edit is larger than a push may carry.
	ErrTooLarge = errors.New("client: the change is too large to be sent")
	// ErrDiverged: types differ from the server's digest although they were
	// sent anew several times.
	ErrDiverged = errors.New("client: the store differs from the server's digest")
	// ErrStale: several answers in a row did not start from this device's
	// checkpoint; nothing of them was applied. Try again.
	ErrStale = errors.New("client: only stale pages arrived")
	// ErrClosed: the phone was closed.
	ErrClosed = errors.New("client: closed")
)

// The server's codes that change what the client does.
const (
	codeTokenExpired    = "token_expired"
	codeInvalidToken    = "invalid_token"
	codeSessionRevoked  = "session_revoked"
	codeDeviceRevoked   = "device_revoked"
	codeSecondFactor    = "second_factor_required"
	codeBadCheckpoint   = "bad_checkpoint"
	codeNumberGap       = "number_gap"
	codeNumberReused    = "number_reused"
	codeBadAnswer       = "bad_answer"       // made here: the answer is not of the protocol
	codeAnswerTooLarge  = "answer_too_large" // made here: beyond Options.MaxResponse
	codeUnexpectedReply = "unexpected_status"
)

// Error is a refusal by the server, or an answer that is none of the
// protocol's.
type Error struct {
	Status int    // HTTP status; 0 for an error frame without one
	Code   string // Satchel's stable code; "unexpected_status" where the answer was no problem document
	Title  string // short words of the code
	Detail string // words for a person, may be empty
	Field  string // the field at fault, "" for none
	Wipe   bool   // the device is to be wiped
	// RetryAfter is what the server asked for, 0 for nothing.
	RetryAfter time.Duration
	// Extra holds the problem document's further members as JSON, among them
	// a second factor's challenge.
	Extra map[string]json.RawMessage
}

// Error implements error.
func (e *Error) Error() string {
	s := "client: server answered " + strconv.Itoa(e.Status) + " " + e.Code
	if e.Detail != "" {
		s += ": " + e.Detail
	} else if e.Title != "" {
		s += ": " + e.Title
	}
	if e.Field != "" {
		s += " (" + e.Field + ")"
	}
	return s
}

func hasCode(err error, code string) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == code
}
