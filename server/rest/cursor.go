package rest

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"

	"satchel/internal/fault"
)

// sealer makes cursors nobody can read, change or use for another request. The
// nonce is derived from the content, so that the same place in the same list
// has the same cursor.
type sealer struct {
	aead cipher.AEAD
	mac  []byte
}

func newSealer(key [32]byte) *sealer {
	derive := func(what string) []byte {
		h := hmac.New(sha256.New, key[:])
		h.Write([]byte(what))
		return h.Sum(nil)
	}
	block, err := aes.NewCipher(derive("list cursor encryption"))
	if err != nil { // a key of 32 bytes always fits
		panic(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return &sealer{aead, derive("list cursor nonce")}
}

// seal encrypts what for use with the binding alone.
func (s *sealer) seal(what []byte, binding string) string {
	h := hmac.New(sha256.New, s.mac)
	h.Write([]byte(binding))
	h.Write([]byte{0})
	h.Write(what)
	nonce := h.Sum(nil)[:s.aead.NonceSize()]
	return base64.RawURLEncoding.EncodeToString(s.aead.Seal(nonce, nonce, what, []byte(binding)))
}

// open is the reverse; anything but what seal made for the binding is refused.
func (s *sealer) open(sealed, binding string) ([]byte, error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(sealed)
	if err != nil || len(raw) < s.aead.NonceSize() {
		return nil, badCursor()
	}
	n := s.aead.NonceSize()
	what, err := s.aead.Open(nil, raw[:n], raw[n:], []byte(binding))
	if err != nil {
		return nil, badCursor()
	}
	return what, nil
}

func badCursor() error {
	return fault.Newf(fault.BadParameter, "The cursor does not belong to this list. Start again without one.").OnField("cursor")
}
