// Package refresh is the state of a session's refresh tokens and the rule by
// which they are replaced: pure, so that it runs inside the deterministic
// apply loop. The tokens themselves are made and read in server/session/token.
package refresh

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"

	"satchel/internal/fault"
	"satchel/internal/ident"
)

// Digest is the SHA-256 of a refresh token: all that is stored of it. In JSON
// it is 43 characters of base64url. The zero Digest is no token's.
type Digest [32]byte

// Hash returns the digest of a refresh token.
func Hash(token string) Digest { return sha256.Sum256([]byte(token)) }

var b64 = base64.RawURLEncoding.Strict()

// IsZero reports whether d is the digest of no token.
func (d Digest) IsZero() bool { return d == Digest{} }

// MarshalText renders d as base64url.
func (d Digest) MarshalText() ([]byte, error) { return b64.AppendEncode(nil, d[:]), nil }

// UnmarshalText reads what MarshalText wrote.
func (d *Digest) UnmarshalText(text []byte) error {
	if len(text) != b64.EncodedLen(len(d)) {
		return errors.New("refresh: a digest has 43 characters")
	}
	var out Digest
	if n, err := b64.Decode(out[:], text); err != nil || n != len(out) {
		return errors.New("refresh: a digest is base64url of 32 bytes")
	}
	*d = out
	return nil
}

// matches compares in constant time; the zero Digest matches nothing.
func (d Digest) matches(other Digest) bool {
	return !d.IsZero() && subtle.ConstantTimeCompare(d[:], other[:]) == 1
}

// Grace is how long after a rotation a retry without a nonce is taken for one,
// in milliseconds. With a nonce there is no such limit, since nobody but the
// device knows it; without one, a thief who keeps in step with the device
// would never be noticed.
const Grace ident.Millis = 2 * 60 * 1000

// Family is the state of a session's refresh tokens: each is replaced by its
// successor when it is used. At most one, the one behind Current, is good.
type Family struct {
	Current Digest `json:"current"`
	// Previous was replaced by Current in an attempt with PreviousNonce, at
	// RotatedAt; zero as long as the first token is the current one.
	Previous      Digest       `json:"previous,omitzero"`
	PreviousNonce string       `json:"previousNonce,omitempty"`
	RotatedAt     ident.Millis `json:"rotatedAt,omitempty"`

	IssuedAt      ident.Millis `json:"issuedAt"`      // sign-in
	ExpiresAt     ident.Millis `json:"expiresAt"`     // whatever happens
	IdleFor       ident.Millis `json:"idleFor"`       // how long it lasts unused, as a duration
	IdleExpiresAt ident.Millis `json:"idleExpiresAt"` // unless used before
	Revoked       bool         `json:"revoked,omitempty"`
}

// NewFamily starts a family with the digest of its first token. absolute and
// idle are durations in milliseconds.
func NewFamily(first Digest, now, absolute, idle ident.Millis) Family {
	return Family{
		Current: first, IssuedAt: now, ExpiresAt: now + absolute,
		IdleFor: idle, IdleExpiresAt: min(now+idle, now+absolute),
	}
}

// Attempt is one use of a refresh token, as a command carries it: worked out
// at the edge, without the tokens themselves.
type Attempt struct {
	Presented Digest `json:"presented"`
	// Issued is what the tenant's refresh key says of the presented token. It alone
	// makes a token that is no longer current count as reused.
	Issued    bool   `json:"issued,omitempty"`
	Nonce     string `json:"nonce,omitempty"`
	Successor Digest `json:"successor"` // of RefreshKey.Successor(presented, nonce)
}

// Outcome is what became of an attempt.
type Outcome uint8

// The outcomes. Only the first two hand out a token.
const (
	// Unknown: no token of this session. The session goes on, whoever asks.
	Unknown Outcome = iota
	// Rotated: the current token was used and replaced by its successor.
	Rotated
	// Retried: the last attempt once more, its answer having been lost. The
	// successor is the same, as long as the tenant's key is.
	Retried
	// ReuseRevoked: a token that had been replaced was used again, so two
	// parties have the family's tokens. It is revoked now.
	ReuseRevoked
	// Expired: too old, or unused for too long.
	Expired
	// Ended: revoked before.
	Ended
)

// String names the outcome for logs and audit.
func (o Outcome) String() string {
	names := [...]string{"unknown", "rotated", "retried", "reuse_revoked", "expired", "ended"}
	if int(o) >= len(names) {
		return "invalid"
	}
	return names[o]
}

// Rotate judges an attempt at an instant and advances the family. It depends
// on its arguments alone. The error is nil for Rotated and Retried, for
// Unknown fault.InvalidToken, for everything else fault.SessionRevoked. A
// family is changed by Rotated, Retried and ReuseRevoked only.
//
// A family that is good until an instant isn't at that instant.
func (f *Family) Rotate(a Attempt, now ident.Millis) (Outcome, error) {
	current, previous := f.Current.matches(a.Presented), f.Previous.matches(a.Presented)
	switch {
	case !current && !previous && !a.Issued, a.Successor.IsZero():
		return Unknown, fault.Newf(fault.InvalidToken, "The refresh token can't be used.")
	case f.Revoked:
		return Ended, fault.New(fault.SessionRevoked)
	case now >= f.ExpiresAt || now >= f.IdleExpiresAt:
		return Expired, fault.New(fault.SessionRevoked)
	case current:
		f.Previous, f.PreviousNonce, f.RotatedAt = f.Current, a.Nonce, now
		f.advance(a.Successor, now)
		return Rotated, nil
	// That Previous is still the one before Current says that Current has
	// never been used: its use would have replaced both.
	case previous && a.Nonce == f.PreviousNonce && (a.Nonce != "" || now-f.RotatedAt <= Grace):
		// Under a new key of the tenant the successor is another one; it then
		// takes the place of the one that nobody has used.
		f.advance(a.Successor, now)
		return Retried, nil
	default:
		f.Revoked = true
		return ReuseRevoked, fault.New(fault.SessionRevoked)
	}
}

func (f *Family) advance(successor Digest, now ident.Millis) {
	f.Current = successor
	f.IdleExpiresAt = min(now+f.IdleFor, f.ExpiresAt)
}
