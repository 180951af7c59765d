package oidc

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzClaims: what a provider claims of a person ties an account to a bounded
// subject of printable characters, and to an address only where the provider
// says that it is verified and its domain is let in.
func FuzzClaims(f *testing.F) {
	for _, s := range []string{
		`{"sub":"248289761001","email":"jane@example.com","email_verified":true}`, `{"sub":"1","email":"jane@example.com","email_verified":"true"}`,
		`{"sub":1}`, `{"sub":"a\u0000b"}`, `{"sub":"x","email":["a@example.com"],"email_verified":true}`, `{"sub":"x","email":"a@evil.example@example.com","email_verified":true}`,
		`{"sub":"x","email":"@example.com","email_verified":true}`, `{"sub":"x","email":"a@EXAMPLE.com","email_verified":1}`, `{"sub":"\ud800"}`,
	} {
		f.Add([]byte(s), true)
		f.Add([]byte(s), false)
	}
	f.Fuzz(func(t *testing.T, raw []byte, bound bool) {
		var claims map[string]json.RawMessage
		if json.Unmarshal(raw, &claims) != nil {
			return
		}
		p := &provider{cfg: Config{Issuer: "https://idp.example", SubjectClaim: "sub", EmailClaim: "email"}}
		if bound {
			p.cfg.EmailDomains = []string{"example.com"}
		}
		who, err := p.identity(claims)
		if err != nil {
			if who != nil {
				t.Fatal("refused, and somebody all the same")
			}
			return
		}
		if who.Issuer != p.cfg.Issuer || who.Subject == "" || len(who.Subject) > maxSubject || !utf8.ValidString(who.Subject) || strings.ContainsFunc(who.Subject, func(r rune) bool { return r < ' ' }) {
			t.Fatalf("%q", who.Subject)
		}
		verified := string(claims["email_verified"])
		if who.Email != "" && verified != "true" && verified != `"true"` || len(who.Email) > 320 {
			t.Fatalf("%q with email_verified %s", who.Email, verified)
		}
		if bound && !strings.HasSuffix(strings.ToLower(who.Email), "@example.com") {
			t.Fatalf("%q is let in", who.Email)
		}
		// A person is told again by the same claims.
		again, err := p.identity(claims)
		if err != nil || *again != *who {
			t.Fatalf("%+v, then %+v, %v", who, again, err)
		}
	})
}

// FuzzRedirect: an address that a sign-in may end at is one that was
// configured, but for the port of a loopback address.
func FuzzRedirect(f *testing.F) {
	for _, s := range []string{
		"https://app.example/callback", "http://127.0.0.1:8080/cb", "http://[::1]:1/cb", "http://127.0.0.1/cb", "http://127.0.0.1:80@evil.example/cb", "http://127.0.0.1:0/cb", "http://127.0.0.1:/cb",
		"https://app.example/callback#x", "https://app.example:443/callback", "http://127.0.0.1:99999/cb", "app.example:/x",
	} {
		f.Add(s)
	}
	c := Config{RedirectURIs: []string{"https://app.example/callback", "http://127.0.0.1/cb", "http://[::1]/cb", "com.example.app:/done"}}
	f.Fuzz(func(t *testing.T, r string) {
		if !c.allows(r) {
			return
		}
		u, err := url.Parse(r)
		if err != nil {
			t.Fatalf("%q is let through: %v", r, err)
		}
		port := u.Port()
		if u.User != nil || u.Fragment != "" || u.RawQuery != "" {
			t.Fatalf("%q is let through", r)
		}
		plain := strings.Replace(r, ":"+port+"/", "/", 1)
		for _, want := range c.RedirectURIs {
			if r == want || port != "" && (u.Hostname() == "127.0.0.1" || u.Hostname() == "::1") && plain == want {
				return
			}
		}
		t.Fatalf("%q is let through", r)
	})
}
