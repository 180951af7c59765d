package courier

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"satchel/internal/ident"
)

// FuzzUnseal: an address in a mail opens only as it was sealed: with a bit
// changed, cut, or written in another way it stands for nothing.
func FuzzUnseal(f *testing.F) {
	u := NewUnsubscriber([32]byte{1}, "https://satchel.example", nil)
	f.Add("acme", "emp-engineer", "ticketOpened", uint(3), byte(1))
	f.Add("", "", "*", uint(0), byte(0x80))
	f.Fuzz(func(t *testing.T, tenant, person, event string, at uint, flip byte) {
		link := u.link(ident.TenantID(tenant), ident.RecordID(person), event)
		token, ok := strings.CutPrefix(link, "https://satchel.example"+unsubscribePath)
		if !ok || u.link(ident.TenantID(tenant), ident.RecordID(person), event) != link {
			t.Fatalf("%q", link)
		}
		raw, ok := u.unseal(token)
		var w wish
		if !ok || json.Unmarshal(raw, &w) != nil {
			t.Fatalf("%q does not open", token)
		}
		// Texts that are none come back mended, as in any JSON.
		if b, err := json.Marshal(wish{ident.TenantID(tenant), ident.RecordID(person), event}); err != nil || !bytes.Equal(b, raw) {
			t.Fatalf("%s is %s", raw, b)
		}
		sealed, err := base64.RawURLEncoding.DecodeString(token)
		if err != nil {
			t.Fatal(err)
		}
		if flip != 0 {
			sealed[at%uint(len(sealed))] ^= flip
			if _, ok := u.unseal(base64.RawURLEncoding.EncodeToString(sealed)); ok {
				t.Fatal("opens with a bit changed")
			}
		}
		if _, ok := u.unseal(token[:at%uint(len(token))]); ok {
			t.Fatal("opens though it is cut")
		}
	})
}

// FuzzOpen: what nobody sealed opens nothing.
func FuzzOpen(f *testing.F) {
	u := NewUnsubscriber([32]byte{1}, "https://satchel.example", nil)
	other := NewUnsubscriber([32]byte{2}, "https://satchel.example", nil)
	f.Add("")
	f.Add(strings.TrimPrefix(other.link("acme", "emp-engineer", "*"), "https://satchel.example"+unsubscribePath))
	f.Add(strings.Repeat("A", 100))
	f.Add("AAAA====")
	f.Fuzz(func(t *testing.T, s string) {
		if b, ok := u.unseal(s); ok {
			t.Fatalf("%q opens as %q", s, b)
		}
	})
}
