package session

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"net/url"
	"strings"
	"sync/atomic"

	"satchel/internal/ident"
)

// Links makes the links of invitations and resets that go out by mail. Their
// tokens are derived from a nonce, which goes through the log with the
// invitation, and a key, which stands beside the tenants' files and in none of
// them: so the mail is as durable as the invitation, and neither log nor outbox
// nor backup has a token in it.
type Links struct {
	keys atomic.Pointer[[][]byte] // the one that tokens are made with first
	base string
}

// NewLinks returns Links to the apps' pages beneath base, as
// https://satchel.example.com. The key must outlive the invitations; whoever has
// it and a tenant's file can accept those that are open.
func NewLinks(key [32]byte, base string) *Links {
	l := &Links{base: strings.TrimRight(base, "/")}
	l.Rekey([][32]byte{key})
	return l
}

// Rekey has tokens made with the first of some keys; of letters that are yet to be
// sent, those that were made with any of them are found. It may be called at any
// time.
func (l *Links) Rekey(keys [][32]byte) {
	list := make([][]byte, len(keys))
	for i, k := range keys {
		m := hmac.New(sha256.New, k[:])
		m.Write([]byte("invitation: token"))
		list[i] = m.Sum(nil)
	}
	l.keys.Store(&list)
}

// token is the one that a nonce stands for.
func (l *Links) token(t ident.TenantID, employee ident.RecordID, nonce []byte) string {
	return derived((*l.keys.Load())[0], t, employee, nonce)
}

func derived(key []byte, t ident.TenantID, employee ident.RecordID, nonce []byte) string {
	m := hmac.New(sha256.New, key)
	for _, part := range []string{string(t), string(employee), string(nonce)} {
		m.Write(binary.BigEndian.AppendUint32(nil, uint32(len(part))))
		m.Write([]byte(part))
	}
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

// Link is where the employee chooses a password: a secret of theirs. known finds
// the invitation by the digest of its token; ok is false where that is of no key.
func (l *Links) Link(t ident.TenantID, employee ident.RecordID, nonce []byte, known func(digest []byte) bool) (link string, ok bool) {
	for _, k := range *l.keys.Load() {
		if token := derived(k, t, employee, nonce); known(tokenDigest(token)) {
			return l.base + acceptPath(t, token), true
		}
	}
	return "", false
}

// Digest is that of the token, as it is stored.
func (l *Links) Digest(t ident.TenantID, employee ident.RecordID, nonce []byte) []byte {
	return tokenDigest(l.token(t, employee, nonce))
}

// acceptPath is where an app's page takes a token; see Invitation.Path.
func acceptPath(t ident.TenantID, token string) string {
	return "/accept-invitation#" + url.Values{"tenant": {string(t)}, "token": {token}}.Encode()
}
