// Package token makes and judges the two tokens of a session. It exists so
// that their formats, and the rules by which a refresh token may be used
// again, stand in one place. It reads no clock and no random source: instants
// and random bytes are arguments.
//
// An access token is a JWT (RFC 9068 typ at+jwt) signed with Ed25519, good for
// ten minutes. It says who and which session, never what they may do: rights
// are looked up when they are needed.
//
// A refresh token is rt1.<session id>.<43 characters base64url>. The 32 bytes
// of its secret are
//
//	20 bytes  random, or derived from the token before
//	12 bytes  tag: HMAC-SHA256 over session and those 20, truncated
//
// Only SHA-256 of the token is stored. The tag proves, without a list of all
// tokens a session ever had, that this server issued a token: so an old token
// that turns up again ends the session however often it was rotated since, and
// a stranger who knows a session's id can't end it by presenting nonsense.
//
// A token's successor is derived from it, the tenant's key and a nonce that
// the device keeps for the attempt. A retry with the same nonce, after the
// answer was lost, gets the very same successor, though no token is stored.
//
// The session edge imports this package. refresh.Family.Rotate is pure, for the apply
// loop to run; package app hands it down, since sync imports nothing of
// server.
package token
