package session

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"net/url"
	"strings"

	"satchel/internal/ident"
)

// Links makes the links of invitations and resets that go out by mail. Their
// tokens are derived from a nonce, which goes through the log with the
// invitation, and a key, which stands beside the tenants' files and in none of
// them: so the mail is as durable as the invitation, and neither log nor outbox
// nor backup has a token in it.
type Links struct {
	key  []byte
	base string
}

// NewLinks returns Links to the apps' pages beneath base, as
// https://satchel.example.com. The key must outlive the invitations; whoever has
// it and a tenant's file can accept those that are open.
func NewLinks(key [32]byte, base string) *Links {
	m := hmac.New(sha256.New, key[:])
	m.Write([]byte("invitation: token"))
	return &Links{m.Sum(nil), strings.TrimRight(base, "/")}
}

// token is the one that a nonce stands for.
func (l *Links) token(t ident.TenantID, employee ident.RecordID, nonce []byte) string {
	m := hmac.New(sha256.New, l.key)
	for _, part := range []string{string(t), string(employee), string(nonce)} {
		m.Write(binary.BigEndian.AppendUint32(nil, uint32(len(part))))
		m.Write([]byte(part))
	}
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

// Link is where the employee chooses a password: a secret of theirs.
func (l *Links) Link(t ident.TenantID, employee ident.RecordID, nonce []byte) string {
	return l.base + acceptPath(t, l.token(t, employee, nonce))
}

// Digest is that of the token, as it is stored.
func (l *Links) Digest(t ident.TenantID, employee ident.RecordID, nonce []byte) []byte {
	return tokenDigest(l.token(t, employee, nonce))
}

// acceptPath is where an app's page takes a token; see Invitation.Path.
func acceptPath(t ident.TenantID, token string) string {
	return "/accept-invitation#" + url.Values{"tenant": {string(t)}, "token": {token}}.Encode()
}
