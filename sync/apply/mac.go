package apply

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"hash"
)

// mac is HMAC-SHA-256 by a key that seldom changes: to begin with a key costs
// more than the few bytes that are vouched for. It is for one goroutine.
type mac struct {
	key  []byte
	h    hash.Hash
	msg  []byte // what is vouched for, its memory kept for the next
	sum  [sha256.Size]byte
	text [2 * sha256.Size]byte
}

// message returns room for what is to be vouched for next.
func (m *mac) message() []byte { return m.msg[:0] }

// tag vouches for a message by a key: the first n bytes of its code, in hex. It is
// valid until the next.
func (m *mac) tag(key, msg []byte, n int) []byte {
	if m.h == nil || !bytes.Equal(m.key, key) {
		m.key, m.h = bytes.Clone(key), hmac.New(sha256.New, key)
	} else {
		m.h.Reset()
	}
	m.msg = msg
	m.h.Write(msg)
	return m.text[:hex.Encode(m.text[:], m.h.Sum(m.sum[:0])[:n])]
}
