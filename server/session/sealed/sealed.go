// Package sealed makes values that nobody but their maker can read or change.
// It exists so that what the session edge hands out to be handed back (a
// challenge, the state of a sign-in at an identity provider) and what it has
// the core keep (the secret of a second factor) are protected in one way. Only
// the session edge imports it.
package sealed

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"fmt"
)

// Box seals with one key: AES-256-GCM, with a random nonce of 12 bytes before
// what is sealed. It is safe for concurrent use. A key must not seal more than
// some four billion values.
type Box struct{ aead cipher.AEAD }

// New returns a box with the key.
func New(key [32]byte) *Box {
	block, err := aes.NewCipher(key[:])
	if err != nil { // a key of 32 bytes always fits
		panic(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return &Box{aead}
}

// Fresh returns a box with a random key, for what need not outlive the
// process.
func Fresh() *Box {
	var key [32]byte
	rand.Read(key[:]) // never fails: it would end the process
	return New(key)
}

// Seal returns what, sealed for the purpose: opened for another, it is refused.
func (b *Box) Seal(what []byte, purpose string) []byte {
	nonce := make([]byte, b.aead.NonceSize(), b.aead.NonceSize()+len(what)+b.aead.Overhead())
	rand.Read(nonce)
	return b.aead.Seal(nonce, nonce, what, []byte(purpose))
}

// Open is the reverse of Seal; ok is false for anything else than what Seal
// made with this key for this purpose.
func (b *Box) Open(sealed []byte, purpose string) (what []byte, ok bool) {
	n := b.aead.NonceSize()
	if len(sealed) < n {
		return nil, false
	}
	what, err := b.aead.Open(nil, sealed[:n], sealed[n:], []byte(purpose))
	return what, err == nil
}

var b64 = base64.RawURLEncoding.Strict()

// SealText is Seal as base64url, for what people's programs carry.
func (b *Box) SealText(what []byte, purpose string) string {
	return b64.EncodeToString(b.Seal(what, purpose))
}

// OpenText is the reverse of SealText.
func (b *Box) OpenText(sealed, purpose string) (what []byte, ok bool) {
	raw, err := b64.DecodeString(sealed)
	if err != nil || len(sealed) != b64.EncodedLen(len(raw)) { // decoding skips line breaks
		return nil, false
	}
	return b.Open(raw, purpose)
}

// String keeps the key from %v.
func (b *Box) String() string { return fmt.Sprintf("sealed.Box(%p)", b) }

// GoString keeps the key from %#v.
func (b *Box) GoString() string { return b.String() }
