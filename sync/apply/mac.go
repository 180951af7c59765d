package apply

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"hash"
)

// mac is HMAC-SHA-256 by a key that seldom changes: to begin with a key costs
// more than the few bytes that are vouched for. It is for one goroutine.
type mac struct {
	key []byte
	h   hash.Hash
}

// by begins anew by a key.
func (m *mac) by(key []byte) hash.Hash {
	if m.h == nil || !bytes.Equal(m.key, key) {
		m.key, m.h = bytes.Clone(key), hmac.New(sha256.New, key)
	} else {
		m.h.Reset()
	}
	return m.h
}
