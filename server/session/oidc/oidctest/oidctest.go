// Package oidctest is an identity provider for tests, honest unless told to
// misbehave. Only tests may import it.
package oidctest

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"
)

// Client is how a provider knows whoever signs people in by it.
const (
	ClientID     = "satchel-client"
	ClientSecret = "client secret of the tests"
)

// Provider is an identity provider on this machine.
type Provider struct {
	URL string
	tb  testing.TB
	now func() time.Time

	mu    sync.Mutex
	key   *rsa.PrivateKey
	kid   int
	codes map[string]request
	// Calls counts the requests to each path.
	calls map[string]int

	meta    func(map[string]any)
	token   func(*Token)
	respond func(w http.ResponseWriter, r *http.Request) bool
}

// request is an authorization request that was granted.
type request struct {
	person    map[string]any
	nonce     string
	challenge string
	redirect  string
}

// Token is an ID token about to be signed.
type Token struct {
	Header, Claims map[string]any
	// Signer replaces the provider's key; Raw the whole token.
	Signer *rsa.PrivateKey
	Raw    string
}

// New starts a provider; it ends with the test. now is its clock.
func New(tb testing.TB, now func() time.Time) *Provider {
	tb.Helper()
	p := &Provider{tb: tb, now: now, codes: map[string]request{}, calls: map[string]int{}}
	p.Rotate()
	srv := httptest.NewServer(http.HandlerFunc(p.serve))
	tb.Cleanup(srv.Close)
	p.URL = srv.URL
	return p
}

// Rotate gives the provider another key; nobody can verify by the old one any
// more.
func (p *Provider) Rotate() {
	key := NewKey(p.tb)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.key = key
	p.kid++
}

// NewKey makes a key.
func NewKey(tb testing.TB) *rsa.PrivateKey {
	tb.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

// PublicPEM is the provider's public key as text, as an attacker would use it
// for a secret.
func (p *Provider) PublicPEM() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	der, err := x509.MarshalPKIXPublicKey(&p.key.PublicKey)
	if err != nil {
		p.tb.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// Calls returns how often a path was asked for.
func (p *Provider) Calls(path string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls[path]
}

// OnMetadata changes what discovery answers; nil for nothing.
func (p *Provider) OnMetadata(f func(map[string]any)) { p.mu.Lock(); p.meta = f; p.mu.Unlock() }

// OnToken changes the ID tokens that are issued; nil for nothing.
func (p *Provider) OnToken(f func(*Token)) { p.mu.Lock(); p.token = f; p.mu.Unlock() }

// OnRequest answers requests itself where it returns true; nil for none.
func (p *Provider) OnRequest(f func(w http.ResponseWriter, r *http.Request) bool) {
	p.mu.Lock()
	p.respond = f
	p.mu.Unlock()
}

// SignIn is a person who comes with the browser to location and signs in there:
// it returns where the browser is sent. person are the claims about them.
func (p *Provider) SignIn(location string, person map[string]any) string {
	p.tb.Helper()
	u, err := url.Parse(location)
	if err != nil {
		p.tb.Fatal(err)
	}
	q := u.Query()
	if got := u.Scheme + "://" + u.Host + u.Path; got != p.URL+"/authorize" {
		p.tb.Fatalf("the browser was sent to %s", got)
	}
	for name, want := range map[string]string{"response_type": "code", "client_id": ClientID, "code_challenge_method": "S256", "scope": "openid email"} {
		if q.Get(name) != want {
			p.tb.Fatalf("%s is %q, want %q", name, q.Get(name), want)
		}
	}
	if len(q.Get("nonce")) < 32 || len(q.Get("state")) < 32 || len(q.Get("code_challenge")) != 43 {
		p.tb.Fatalf("a weak request: %s", location)
	}
	code := rand.Text()
	p.mu.Lock()
	p.codes[code] = request{maps.Clone(person), q.Get("nonce"), q.Get("code_challenge"), q.Get("redirect_uri")}
	p.mu.Unlock()
	return q.Get("redirect_uri") + "?" + url.Values{"code": {code}, "state": {q.Get("state")}}.Encode()
}

func (p *Provider) serve(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.calls[r.URL.Path]++
	meta, respond := p.meta, p.respond
	p.mu.Unlock()
	if respond != nil && respond(w, r) {
		return
	}
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		m := map[string]any{
			"issuer": p.URL, "authorization_endpoint": p.URL + "/authorize", "token_endpoint": p.URL + "/token", "jwks_uri": p.URL + "/keys",
			"id_token_signing_alg_values_supported": []string{"RS256", "HS256", "none"},
		}
		if meta != nil {
			meta(m)
		}
		p.answer(w, http.StatusOK, m)
	case "/keys":
		p.mu.Lock()
		pub, kid := p.key.PublicKey, p.kid
		p.mu.Unlock()
		p.answer(w, http.StatusOK, map[string]any{"keys": []any{map[string]any{
			"kty": "RSA", "alg": "RS256", "use": "sig", "kid": fmt.Sprint(kid), "n": encode(pub.N.Bytes()), "e": encode(big.NewInt(int64(pub.E)).Bytes()),
		}}})
	case "/token":
		p.issue(w, r)
	default:
		http.NotFound(w, r)
	}
}

// issue is the token endpoint: it demands what a real one does.
func (p *Provider) issue(w http.ResponseWriter, r *http.Request) {
	refuse := func(why string) {
		p.answer(w, http.StatusBadRequest, map[string]any{"error": "invalid_grant", "error_description": why})
	}
	id, secret, basic := r.BasicAuth()
	if !basic || id != ClientID || secret != url.QueryEscape(ClientSecret) {
		refuse("client")
		return
	}
	p.mu.Lock()
	req, ok := p.codes[r.PostFormValue("code")]
	delete(p.codes, r.PostFormValue("code"))
	change, key, kid := p.token, p.key, p.kid
	p.mu.Unlock()
	sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	switch {
	case !ok, r.PostFormValue("grant_type") != "authorization_code":
		refuse("code")
		return
	case r.PostFormValue("redirect_uri") != req.redirect:
		refuse("redirect_uri")
		return
	case encode(sum[:]) != req.challenge:
		refuse("verifier")
		return
	}
	now := p.now()
	t := &Token{
		Header: map[string]any{"alg": "RS256", "typ": "JWT", "kid": fmt.Sprint(kid)},
		Claims: map[string]any{"iss": p.URL, "aud": ClientID, "nonce": req.nonce, "iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix()},
		Signer: key,
	}
	maps.Copy(t.Claims, req.person)
	if change != nil {
		change(t)
	}
	if t.Raw == "" {
		t.Raw = Sign(p.tb, t)
	}
	p.answer(w, http.StatusOK, map[string]any{"access_token": rand.Text(), "token_type": "Bearer", "expires_in": 300, "id_token": t.Raw})
}

func (p *Provider) answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(v); err != nil {
		p.tb.Error(err)
	}
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// Input is the part of a token that is signed.
func Input(tb testing.TB, t *Token) string {
	tb.Helper()
	h, err := json.Marshal(t.Header)
	if err != nil {
		tb.Fatal(err)
	}
	c, err := json.Marshal(t.Claims)
	if err != nil {
		tb.Fatal(err)
	}
	return encode(h) + "." + encode(c)
}

// Sign signs a token with its signer, RS256.
func Sign(tb testing.TB, t *Token) string {
	tb.Helper()
	in := Input(tb, t)
	sum := sha256.Sum256([]byte(in))
	sig, err := rsa.SignPKCS1v15(rand.Reader, t.Signer, crypto.SHA256, sum[:])
	if err != nil {
		tb.Fatal(err)
	}
	return in + "." + encode(sig)
}

// SignHMAC signs a token with a secret, HS256.
func SignHMAC(tb testing.TB, t *Token, secret []byte) string {
	tb.Helper()
	in := Input(tb, t)
	h := hmac.New(sha256.New, secret)
	h.Write([]byte(in))
	return in + "." + encode(h.Sum(nil))
}
