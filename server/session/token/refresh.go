package token

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"strings"

	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/internal/refresh"
)

// RefreshKey is a tenant's secret that refresh tokens are derived and tagged
// with: 32 random bytes. With a new one sessions go on, but a retry across the
// change and the reuse of a token from before it are no longer recognised.
type RefreshKey [32]byte

// String hides the secret from %v.
func (RefreshKey) String() string { return "token.RefreshKey" }

// GoString hides the secret from %#v.
func (RefreshKey) GoString() string { return "token.RefreshKey" }

const (
	refreshPrefix = "rt1."
	secretLength  = 32
	seedLength    = 20 // of the secret; the rest is the tag
	secretText    = 43 // characters of base64url
)

// MaxSession and MaxNonce bound a session id and a nonce in bytes.
const (
	MaxSession = 64
	MaxNonce   = 128
)

// NewRefresh makes the first refresh token of a session from 32 random bytes.
// A session id must be 1 to MaxSession characters of [A-Za-z0-9_-]; anything
// else is fault.InternalError.
func (k RefreshKey) NewRefresh(random [32]byte, session ident.SessionID) (string, error) {
	if !validSession(string(session)) {
		return "", fault.New(fault.InternalError).Because(errors.New("token: the session id can't stand in a refresh token"))
	}
	return k.render(session, k.mac("new", session, random[:])), nil
}

// Successor returns the refresh token that follows the given one in an attempt
// with this nonce: the same for the same arguments, unguessable without the
// key. nonce is what the device sent, "" for none. A token that Parse refuses,
// and a nonce longer than MaxNonce, are fault.InvalidToken.
func (k RefreshKey) Successor(token, nonce string) (string, error) {
	session, secret, err := Parse(token)
	if err != nil {
		return "", err
	}
	if len(nonce) > MaxNonce {
		return "", invalid(errors.New("token: the nonce is too long"))
	}
	return k.render(session, k.mac("successor", session, secret[:], []byte(nonce))), nil
}

// Issued reports whether this server made the token for the session it names,
// whatever has become of it since.
func (k RefreshKey) Issued(token string) bool {
	session, secret, err := Parse(token)
	if err != nil {
		return false
	}
	tag := k.mac("tag", session, secret[:seedLength])
	return hmac.Equal(secret[seedLength:], tag[:secretLength-seedLength])
}

// render tags the first bytes of seed and writes the token.
func (k RefreshKey) render(session ident.SessionID, seed [32]byte) string {
	tag := k.mac("tag", session, seed[:seedLength])
	copy(seed[seedLength:], tag[:])
	return refreshPrefix + string(session) + "." + b64.EncodeToString(seed[:])
}

// mac is HMAC-SHA256 over a purpose, a session and further parts, each with
// its length before it: no two lists of parts give the same bytes.
func (k RefreshKey) mac(purpose string, session ident.SessionID, parts ...[]byte) (sum [32]byte) {
	h := hmac.New(sha256.New, k[:])
	for _, p := range append([][]byte{[]byte("satchel refresh 1 " + purpose), []byte(session)}, parts...) {
		var n [4]byte
		binary.BigEndian.PutUint32(n[:], uint32(len(p)))
		h.Write(n[:])
		h.Write(p)
	}
	h.Sum(sum[:0])
	return sum
}

// Parse takes a refresh token apart. It accepts exactly the one spelling that
// NewRefresh and Successor write; anything else is fault.InvalidToken. That a
// token parses says nothing about whether it was ever issued.
func Parse(token string) (ident.SessionID, [32]byte, error) {
	var secret [32]byte
	rest, ok := strings.CutPrefix(token, refreshPrefix)
	if !ok || len(rest) > MaxSession+1+secretText {
		return "", secret, malformedRefresh()
	}
	session, text, ok := strings.Cut(rest, ".")
	if !ok || len(text) != secretText || !validSession(session) {
		return "", secret, malformedRefresh()
	}
	if n, err := b64.Decode(secret[:], []byte(text)); err != nil || n != secretLength {
		return "", [32]byte{}, malformedRefresh()
	}
	return ident.SessionID(session), secret, nil
}

func malformedRefresh() error {
	return fault.Newf(fault.InvalidToken, "The refresh token can't be used.").Because(errors.New("token: not a refresh token"))
}

func validSession(s string) bool {
	if s == "" || len(s) > MaxSession {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}

// Attempt works out an attempt from the token and nonce that a device sent,
// and the successor to answer with if the outcome is Rotated or Retried.
// Errors are those of Successor.
func (k RefreshKey) Attempt(token, nonce string) (a refresh.Attempt, successor string, err error) {
	successor, err = k.Successor(token, nonce)
	if err != nil {
		return refresh.Attempt{}, "", err
	}
	return refresh.Attempt{Presented: refresh.Hash(token), Issued: k.Issued(token), Nonce: nonce, Successor: refresh.Hash(successor)}, successor, nil
}
