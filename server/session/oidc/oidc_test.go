package oidc_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"satchel/internal/command"
	"satchel/internal/ident"
	"satchel/server/session/oidc"
	"satchel/server/session/oidc/oidctest"
)

const (
	slug     = "acme"
	loopback = "http://127.0.0.1:49152/callback"
	verifier = "the-verifier-of-an-app-with-forty-three-chars-or-more"
)

func challenge() string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// world is a service with a provider, and a browser.
type world struct {
	t    *testing.T
	at   time.Time
	idp  *oidctest.Provider
	svc  *oidc.Service
	jar  map[string]string
	seen *command.Identity // whom Finish asked about
}

func (w *world) now() time.Time { return w.at }

func newWorld(t *testing.T, change ...func(*oidc.Config)) *world {
	t.Helper()
	w := &world{t: t, at: time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC), jar: map[string]string{}}
	w.idp = oidctest.New(t, w.now)
	w.svc = w.serve(change...)
	return w
}

func (w *world) config() oidc.Config {
	return oidc.Config{
		Issuer: w.idp.URL, ClientID: oidctest.ClientID, ClientSecret: oidctest.ClientSecret, AllowLoopbackHTTP: true,
		RedirectURIs: []string{"http://127.0.0.1/callback", "com.example.satchel:/oauth", "https://app.example.com/signed-in?x=1"},
	}
}

func (w *world) serve(change ...func(*oidc.Config)) *oidc.Service {
	w.t.Helper()
	c := w.config()
	for _, f := range change {
		f(&c)
	}
	s, err := oidc.New(oidc.Options{PublicURL: "https://satchel.example.com", Tenants: map[ident.TenantID]oidc.Config{slug: c}, Clock: w.now})
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

func request() oidc.Request {
	return oidc.Request{RedirectURI: loopback, State: "state of the app", Challenge: challenge(), Method: "S256"}
}

func (w *world) begin() string {
	w.t.Helper()
	b, err := w.svc.Begin(context.Background(), slug, request())
	if err != nil {
		w.t.Fatal(err)
	}
	w.jar[b.CookieName] = b.Cookie
	return b.Location
}

// finish follows the browser back and returns what the app is told.
func (w *world) finish(callback string) (url.Values, error) {
	w.t.Helper()
	u, err := url.Parse(callback)
	if err != nil {
		w.t.Fatal(err)
	}
	if got, want := u.Scheme+"://"+u.Host+u.Path, "https://satchel.example.com/v1/auth/oidc/callback/acme"; got != want {
		w.t.Fatalf("the provider sent the browser to %s, want %s", got, want)
	}
	return w.finishWith(slug, u.Query())
}

func (w *world) finishWith(tenant ident.TenantID, q url.Values) (url.Values, error) {
	w.t.Helper()
	w.seen = nil
	f, err := w.svc.Finish(context.Background(), tenant, q, func(name string) string { return w.jar[name] },
		func(who *command.Identity) (bool, error) { w.seen = who; return who.Subject != "stranger", nil })
	if err != nil {
		return nil, err
	}
	to, err := url.Parse(f.Location)
	if err != nil {
		w.t.Fatal(err)
	}
	if !strings.HasPrefix(f.Location, loopback+"?") {
		w.t.Fatalf("the app was sent to %s", f.Location)
	}
	a := to.Query()
	if a.Get("state") != "state of the app" || a.Get("iss") != "https://satchel.example.com" {
		w.t.Fatalf("the app was told %v", a)
	}
	if a.Has("error") != (f.Refused != nil) || a.Has("error") == a.Has("code") {
		w.t.Fatalf("%v with %v", a, f.Refused)
	}
	return a, nil
}

func eve() map[string]any {
	return map[string]any{"sub": "subject-of-eve", "email": "eve@example.com", "email_verified": true}
}

// TestSignIn: the way it should go, once.
func TestSignIn(t *testing.T) {
	w := newWorld(t)
	a, err := w.finish(w.idp.SignIn(w.begin(), eve()))
	if err != nil || a.Get("code") == "" {
		t.Fatalf("%v, %v", a, err)
	}
	want := command.Identity{Issuer: w.idp.URL, Subject: "subject-of-eve", Email: "eve@example.com"}
	if *w.seen != want {
		t.Errorf("%+v", w.seen)
	}
	who, err := w.svc.Redeem(slug, a.Get("code"), verifier)
	if err != nil || *who != want {
		t.Fatalf("%+v, %v", who, err)
	}
	if _, err := w.svc.Redeem(slug, a.Get("code"), verifier); !errors.Is(err, oidc.ErrRefused) {
		t.Errorf("a code was good twice: %v", err)
	}
	// Keys are replaced without anybody being told.
	w.idp.Rotate()
	if a, err := w.finish(w.idp.SignIn(w.begin(), eve())); err != nil || a.Get("code") == "" {
		t.Errorf("after the key was replaced: %v, %v", a, err)
	}
	if n := w.idp.Calls("/.well-known/openid-configuration"); n != 1 {
		t.Errorf("the provider was looked up %d times", n)
	}
}

// TestTokens: what an ID token must not be.
func TestTokens(t *testing.T) {
	w := newWorld(t)
	foreign := oidctest.NewKey(t)
	set := func(name string, v any) func(*oidctest.Token) {
		return func(tok *oidctest.Token) { tok.Claims[name] = v }
	}
	for what, change := range map[string]func(*oidctest.Token){
		"another's issuer":            set("iss", "https://idp.example.com"),
		"the issuer with a slash":     set("iss", w.idp.URL+"/"),
		"another's audience":          set("aud", "another"),
		"no audience":                 set("aud", []string{}),
		"two audiences without azp":   set("aud", []string{oidctest.ClientID, "another"}),
		"another's azp":               set("azp", "another"),
		"another nonce":               set("nonce", "another"),
		"no nonce":                    func(tok *oidctest.Token) { delete(tok.Claims, "nonce") },
		"over":                        set("exp", w.at.Add(-time.Second).Unix()),
		"no end":                      func(tok *oidctest.Token) { delete(tok.Claims, "exp") },
		"not yet":                     set("nbf", w.at.Add(time.Hour).Unix()),
		"issued in an hour":           set("iat", w.at.Add(time.Hour).Unix()),
		"no subject":                  func(tok *oidctest.Token) { delete(tok.Claims, "sub") },
		"a subject that is no text":   set("sub", 7),
		"a subject of 300 characters": set("sub", strings.Repeat("s", 300)),
		"a subject with a line break": set("sub", "a\nb"),
		"another's signature":         func(tok *oidctest.Token) { tok.Signer = foreign },
		"an unknown key":              func(tok *oidctest.Token) { tok.Signer, tok.Header["kid"] = foreign, "new" },
		"a key of its own": func(tok *oidctest.Token) {
			tok.Signer = foreign
			tok.Header["jku"] = "https://evil.example.com/keys"
			delete(tok.Header, "kid")
		},
		"no signature": func(tok *oidctest.Token) {
			tok.Header = map[string]any{"alg": "none"}
			tok.Raw = oidctest.Input(t, tok) + "."
		},
		"its signature cut off": func(tok *oidctest.Token) {
			s := oidctest.Sign(t, tok)
			tok.Raw = s[:strings.LastIndexByte(s, '.')+1]
		},
		"signed with the public key as a secret": func(tok *oidctest.Token) {
			tok.Header["alg"] = "HS256"
			tok.Raw = oidctest.SignHMAC(t, tok, w.idp.PublicPEM())
		},
		"signed with the client's secret": func(tok *oidctest.Token) {
			tok.Header["alg"] = "HS256"
			tok.Raw = oidctest.SignHMAC(t, tok, []byte(oidctest.ClientSecret))
		},
		"no token":     func(tok *oidctest.Token) { tok.Raw = "nonsense" },
		"far too long": set("padding", strings.Repeat("x", 100_000)),
	} {
		w.idp.OnToken(change)
		a, err := w.finish(w.idp.SignIn(w.begin(), eve()))
		if err != nil || a.Get("error") != "access_denied" || w.seen != nil {
			t.Errorf("%s: %v, %v, asked about %+v", what, a, err, w.seen)
		}
	}
	w.idp.OnToken(set("aud", []string{oidctest.ClientID, "another"}))
	both := eve()
	both["azp"] = oidctest.ClientID
	if a, err := w.finish(w.idp.SignIn(w.begin(), both)); err != nil || !a.Has("code") {
		t.Errorf("a token for us among others: %v, %v", a, err)
	}
}

// TestAddresses: an address that nobody verified, or of a domain that is not
// let in, is none.
func TestAddresses(t *testing.T) {
	w := newWorld(t)
	for what, c := range map[string]struct {
		verified any
		want     string
	}{"verified": {true, "eve@example.com"}, "as text": {"true", "eve@example.com"}, "not": {false, ""}, "not, as text": {"false", ""}, "a number": {1, ""}, "unsaid": {nil, ""}} {
		p := eve()
		if p["email_verified"] = c.verified; c.verified == nil {
			delete(p, "email_verified")
		}
		if _, err := w.finish(w.idp.SignIn(w.begin(), p)); err != nil || w.seen == nil || w.seen.Email != c.want {
			t.Errorf("%s: %+v, %v", what, w.seen, err)
		}
	}
	w.svc = w.serve(func(c *oidc.Config) { c.EmailDomains = []string{"@Example.com"} })
	for address, in := range map[string]bool{
		"eve@example.com": true, "eve@EXAMPLE.COM": true, "eve@example.com.evil.org": false, "eve@evil.org": false, "example.com": false,
		"@example.com": false, "eve@sub.example.com": false, "": false,
	} {
		p := eve()
		p["email"] = address
		if _, err := w.finish(w.idp.SignIn(w.begin(), p)); err != nil || (w.seen != nil) != in {
			t.Errorf("%q: let in %v, %v", address, w.seen != nil, err)
		}
	}
	p := eve()
	p["email_verified"] = false
	if _, err := w.finish(w.idp.SignIn(w.begin(), p)); err != nil || w.seen != nil {
		t.Error("a domain counts though nobody verified the address")
	}
}

// TestStates: the state is this browser's, this tenant's, good once and for
// ten minutes. Where it is not, nobody is sent anywhere.
func TestStates(t *testing.T) {
	w := newWorld(t)
	back := func() url.Values {
		u, err := url.Parse(w.idp.SignIn(w.begin(), eve()))
		if err != nil {
			t.Fatal(err)
		}
		return u.Query()
	}
	lost := func(what string, tenant ident.TenantID, q url.Values) {
		t.Helper()
		if a, err := w.finishWith(tenant, q); !errors.Is(err, oidc.ErrRefused) || w.seen != nil {
			t.Errorf("%s: %v, %v", what, a, err)
		}
	}
	q := back()
	if _, err := w.finishWith(slug, q); err != nil {
		t.Fatal(err)
	}
	lost("used before", slug, q)
	q = back()
	lost("of another tenant", "other", q)
	for _, i := range []int{0, 10, len(q.Get("state")) - 1} {
		bad := []byte(q.Get("state"))
		if bad[i]++; bad[i] > 'z' {
			bad[i] = 'a'
		}
		lost("changed", slug, url.Values{"code": q["code"], "state": {string(bad)}})
	}
	lost("missing", slug, url.Values{"code": q["code"]})
	jar := w.jar
	w.jar = map[string]string{}
	lost("in another browser", slug, q)
	w.jar = map[string]string{}
	for name := range jar {
		w.jar[name] = "guessed"
	}
	lost("with an invented cookie", slug, q)
	w.jar = jar
	w.at = w.at.Add(oidc.StateLifetime)
	lost("after ten minutes", slug, q)
	q = back()
	w.svc = w.serve()
	lost("of a process that is gone", slug, q)
	// One whose provider refused is used up as well.
	q = back()
	if a, err := w.finishWith(slug, url.Values{"error": {"access_denied"}, "state": q["state"]}); err != nil || a.Get("error") != "access_denied" {
		t.Errorf("refused by the provider: %v, %v", a, err)
	}
	lost("after a refusal", slug, q)
}

// TestInjection: a code of another sign-in, or from another provider, is worth
// nothing.
func TestInjection(t *testing.T) {
	w := newWorld(t)
	query := func(callback string) url.Values {
		u, err := url.Parse(callback)
		if err != nil {
			t.Fatal(err)
		}
		return u.Query()
	}
	// The attacker's own code in the victim's browser, and the reverse.
	mallory := query(w.idp.SignIn(w.begin(), map[string]any{"sub": "mallory", "email": "m@example.com", "email_verified": true}))
	victim := query(w.idp.SignIn(w.begin(), eve()))
	a, err := w.finishWith(slug, url.Values{"code": mallory["code"], "state": victim["state"]})
	if err != nil || a.Get("error") != "access_denied" || w.seen != nil {
		t.Errorf("an injected code: %v, %v, %+v", a, err, w.seen)
	}
	// A provider that names itself must, and be the right one.
	w.idp.OnMetadata(func(m map[string]any) { m["authorization_response_iss_parameter_supported"] = true })
	w.svc = w.serve()
	for what, iss := range map[string][]string{"not named": nil, "named wrongly": {"https://evil.example.com"}} {
		q := query(w.idp.SignIn(w.begin(), eve()))
		if iss != nil {
			q["iss"] = iss
		}
		calls := w.idp.Calls("/token")
		if a, err := w.finishWith(slug, q); err != nil || a.Get("error") != "access_denied" || w.idp.Calls("/token") != calls {
			t.Errorf("%s: %v, %v", what, a, err)
		}
	}
	q := query(w.idp.SignIn(w.begin(), eve()))
	q.Set("iss", w.idp.URL)
	if a, err := w.finishWith(slug, q); err != nil || !a.Has("code") {
		t.Errorf("named rightly: %v, %v", a, err)
	}
	// A stranger is told what everybody is told.
	p := eve()
	p["sub"] = "stranger"
	q = query(w.idp.SignIn(w.begin(), p))
	q.Set("iss", w.idp.URL)
	if a, err := w.finishWith(slug, q); err != nil || a.Get("error") != "access_denied" || len(a) != 3 {
		t.Errorf("a stranger: %v, %v", a, err)
	}
}

// TestRedeem: a code of ours is the tenant's and the verifier's, for a minute,
// and one wrong attempt uses it up.
func TestRedeem(t *testing.T) {
	w := newWorld(t)
	code := func() string {
		a, err := w.finish(w.idp.SignIn(w.begin(), eve()))
		if err != nil {
			t.Fatal(err)
		}
		return a.Get("code")
	}
	for what, try := range map[string]func(code string) (ident.TenantID, string, string){
		"another tenant":   func(c string) (ident.TenantID, string, string) { return "other", c, verifier },
		"a wrong verifier": func(c string) (ident.TenantID, string, string) { return slug, c, verifier + "x" },
		"no verifier":      func(c string) (ident.TenantID, string, string) { return slug, c, "" },
		"the challenge":    func(c string) (ident.TenantID, string, string) { return slug, c, challenge() },
		"a changed code":   func(c string) (ident.TenantID, string, string) { return slug, "x" + c[1:], verifier },
		"after a minute": func(c string) (ident.TenantID, string, string) {
			w.at = w.at.Add(oidc.CodeLifetime)
			return slug, c, verifier
		},
	} {
		c := code()
		if who, err := w.svc.Redeem(try(c)); !errors.Is(err, oidc.ErrRefused) || who != nil {
			t.Errorf("%s: %+v, %v", what, who, err)
		}
		if what == "a wrong verifier" {
			if _, err := w.svc.Redeem(slug, c, verifier); !errors.Is(err, oidc.ErrRefused) {
				t.Error("a code outlives a wrong verifier")
			}
		}
	}
}

// TestRequests: what an app may ask with.
func TestRequests(t *testing.T) {
	w := newWorld(t)
	for _, r := range []string{
		loopback, "http://127.0.0.1:1/callback", "http://127.0.0.1:65535/callback", "http://127.0.0.1/callback",
		"com.example.satchel:/oauth", "https://app.example.com/signed-in?x=1",
	} {
		q := request()
		q.RedirectURI = r
		if _, err := w.svc.Begin(context.Background(), slug, q); err != nil {
			t.Errorf("%s: %v", r, err)
		}
	}
	for _, r := range []string{
		"", "http://127.0.0.1:0/callback", "http://127.0.0.1:65536/callback", "http://127.0.0.1:080/callback", "http://127.0.0.1:/callback",
		"http://127.0.0.1:80:80/callback", "http://127.0.0.1:49152/callback/", "http://127.0.0.1:49152/callback?x=1", "http://127.0.0.1:49152/callback#x",
		"http://127.0.0.1:49152/Callback", "http://127.0.0.1:49152/../callback", "http://127.0.0.1:49152@evil.org/callback", "http://127.0.0.1:a@evil.org:1/callback",
		"http://127.0.0.1.evil.org:1/callback", "http://localhost:49152/callback", "http://127.0.0.2:49152/callback", "https://127.0.0.1:49152/callback",
		"HTTP://127.0.0.1:49152/callback", "http://[::1]:49152/callback", "http://2130706433:49152/callback", "http://evil.org/callback",
		"com.example.satchel:/oauth2", "com.example.satchel:/oauth?x", "com.evil.satchel:/oauth", "https://app.example.com/signed-in", "https://app.example.com/signed-in?x=1&y=2",
		"https://app.example.com:8443/signed-in?x=1", "https://app.example.com\\@evil.org/signed-in?x=1", "javascript:alert(1)", "//evil.org", " " + loopback, loopback + "\r\nX: y",
		strings.Repeat("x", 10_000),
	} {
		q := request()
		q.RedirectURI = r
		if b, err := w.svc.Begin(context.Background(), slug, q); err == nil {
			t.Errorf("%.80q: sent to %s", r, b.Location)
		}
	}
	for what, change := range map[string]func(*oidc.Request){
		"code_challenge":        func(r *oidc.Request) { r.Challenge = "" },
		"code_challenge ":       func(r *oidc.Request) { r.Challenge = r.Challenge[1:] },
		"code_challenge  ":      func(r *oidc.Request) { r.Challenge = r.Challenge[:42] + "=" },
		"code_challenge_method": func(r *oidc.Request) { r.Method = "plain" },
		// Without a method it would be plain.
		"code_challenge_method ": func(r *oidc.Request) { r.Method = "" },
		"state":                  func(r *oidc.Request) { r.State = "" },
		"state ":                 func(r *oidc.Request) { r.State = strings.Repeat("s", 1000) },
	} {
		q := request()
		change(&q)
		_, err := w.svc.Begin(context.Background(), slug, q)
		var bad oidc.ParameterError
		if !errors.As(err, &bad) || string(bad) != strings.TrimSpace(what) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := w.svc.Begin(context.Background(), "other", request()); !errors.Is(err, oidc.ErrRefused) {
		t.Errorf("a tenant without a provider: %v", err)
	}
}

// TestProviders: what a provider can't make this server do.
func TestProviders(t *testing.T) {
	began := func(w *world) url.Values {
		t.Helper()
		b, err := w.svc.Begin(context.Background(), slug, request())
		if err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(b.Location)
		if err != nil {
			t.Fatal(err)
		}
		return u.Query()
	}
	for what, change := range map[string]func(w *world, m map[string]any){
		"another issuer":            func(_ *world, m map[string]any) { m["issuer"] = "https://evil.example.com" },
		"keys without TLS":          func(_ *world, m map[string]any) { m["jwks_uri"] = "http://idp.example.com/keys" },
		"tokens from a file":        func(_ *world, m map[string]any) { m["token_endpoint"] = "file:///etc/passwd" },
		"people sent to a script":   func(_ *world, m map[string]any) { m["authorization_endpoint"] = "javascript:alert(1)" },
		"a name for this machine":   func(_ *world, m map[string]any) { m["token_endpoint"] = "http://localhost/token" },
		"addresses with a password": func(_ *world, m map[string]any) { m["token_endpoint"] = "https://a:b@idp.example.com/token" },
		"a megabyte of metadata":    func(_ *world, m map[string]any) { m["padding"] = strings.Repeat("x", 2<<20) },
	} {
		w := newWorld(t)
		w.idp.OnMetadata(func(m map[string]any) { change(w, m) })
		if q := began(w); q.Get("error") != "temporarily_unavailable" || q.Get("state") != "state of the app" {
			t.Errorf("%s: %v", what, q)
		}
	}
	// A redirect is not followed, wherever to.
	w := newWorld(t)
	reached := false
	w.idp.OnRequest(func(rw http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/elsewhere" {
			reached = true
		}
		http.Redirect(rw, r, "/elsewhere", http.StatusFound)
		return true
	})
	if q := began(w); q.Get("error") != "temporarily_unavailable" || reached {
		t.Errorf("a redirect: %v, followed %v", q, reached)
	}
	// One that can't be asked is left alone for a while, and then asked again.
	began(w)
	if n := w.idp.Calls("/.well-known/openid-configuration"); n != 1 {
		t.Errorf("asked %d times at once", n)
	}
	w.idp.OnRequest(nil)
	w.at = w.at.Add(10 * time.Second)
	if q := began(w); q.Has("error") {
		t.Errorf("still out of reach: %v", q)
	}
	// What was found serves on while the provider can't be asked.
	w.idp.OnRequest(func(rw http.ResponseWriter, _ *http.Request) bool { rw.WriteHeader(http.StatusBadGateway); return true })
	w.at = w.at.Add(2 * time.Hour)
	if q := began(w); q.Has("error") {
		t.Errorf("forgotten: %v", q)
	}
}

// TestAddressesReached: no request leaves for an address that is not public,
// whatever name stands for it, unless it was allowed.
func TestAddressesReached(t *testing.T) {
	w := newWorld(t)
	for what, issuer := range map[string]string{
		"this machine": strings.Replace(w.idp.URL, "http://", "https://", 1), "by name": "https://localhost/", "metadata of a cloud": "https://169.254.169.254",
		"private": "https://10.0.0.1", "mapped": "https://[::ffff:127.0.0.1]", "of IPv6": "https://[::1]", "unique local": "https://[fd00::1]",
		"unspecified": "https://0.0.0.0", "translated": "https://[64:ff9b::7f00:1]", "shared": "https://100.64.0.1",
	} {
		start := time.Now()
		w.svc = w.serve(func(c *oidc.Config) { c.Issuer, c.AllowLoopbackHTTP = issuer, false })
		b, err := w.svc.Begin(context.Background(), slug, request())
		if err != nil || !strings.Contains(b.Location, "temporarily_unavailable") {
			t.Errorf("%s: %+v, %v", what, b, err)
		}
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("%s: tried for %v", what, took)
		}
	}
	if n := w.idp.Calls("/.well-known/openid-configuration"); n != 0 {
		t.Errorf("the provider was asked %d times", n)
	}
}

func TestConfigurations(t *testing.T) {
	w := newWorld(t)
	for what, change := range map[string]func(*oidc.Config){
		"no issuer":                   func(c *oidc.Config) { c.Issuer = "" },
		"an issuer without TLS":       func(c *oidc.Config) { c.Issuer = "http://idp.example.com" },
		"TLS left out on the machine": func(c *oidc.Config) { c.AllowLoopbackHTTP = false },
		"an issuer with a query":      func(c *oidc.Config) { c.Issuer = "https://idp.example.com/?x=1" },
		"an issuer with a space":      func(c *oidc.Config) { c.Issuer = "https://idp.example.com/a b" },
		"a long issuer":               func(c *oidc.Config) { c.Issuer = "https://idp.example.com/" + strings.Repeat("x", 400) },
		"no client":                   func(c *oidc.Config) { c.ClientID = "" },
		"no redirects":                func(c *oidc.Config) { c.RedirectURIs = nil },
		"a redirect without TLS":      func(c *oidc.Config) { c.RedirectURIs = []string{"http://app.example.com/x"} },
		"a redirect to localhost":     func(c *oidc.Config) { c.RedirectURIs = []string{"http://localhost/x"} },
		"a script":                    func(c *oidc.Config) { c.RedirectURIs = []string{"javascript:alert(1)"} },
		"a scheme without a domain":   func(c *oidc.Config) { c.RedirectURIs = []string{"satchel:/oauth"} },
		"a fragment":                  func(c *oidc.Config) { c.RedirectURIs = []string{"https://app.example.com/#x"} },
		"symmetric signatures":        func(c *oidc.Config) { c.Algorithms = []string{"HS256"} },
		"none":                        func(c *oidc.Config) { c.Algorithms = []string{"none"} },
		"any domain":                  func(c *oidc.Config) { c.EmailDomains = []string{"*"} },
	} {
		c := w.config()
		change(&c)
		_, err := oidc.New(oidc.Options{PublicURL: "https://satchel.example.com", Tenants: map[ident.TenantID]oidc.Config{slug: c}, Clock: w.now})
		if err == nil || strings.Contains(err.Error(), oidctest.ClientSecret) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, u := range []string{"", "satchel.example.com", "http://satchel.example.com", "https://satchel.example.com/x", "https://u:p@satchel.example.com", "https://satchel.example.com?x"} {
		if _, err := oidc.New(oidc.Options{PublicURL: u, Clock: w.now}); err == nil {
			t.Errorf("publicUrl %q is taken", u)
		}
	}
	if s := fmt.Sprintf("%v %+v %#v", w.config(), w.config(), w.config()); strings.Contains(s, oidctest.ClientSecret) {
		t.Error("printing shows the secret")
	}
}
