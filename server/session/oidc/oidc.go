// Package oidc signs people in by their company's identity provider (OpenID
// Connect). It exists so that everything by which that can go wrong stands in
// one place: what an app may ask for, where people are sent, what is believed
// of the provider, and where this server connects to. The session edge imports
// it; it knows no HTTP framework and no person.
//
// # The flow
//
// An app (RFC 8252) does the authorization code flow with PKCE against this
// server, in the system's browser; this server does the same flow against the
// provider. So an app needs to know no provider, and the provider knows one
// client.
//
//	app       -> server    Begin: redirect URI, state, S256 challenge of the app's
//	server    -> provider  our state, nonce and S256 challenge
//	provider  -> server    Finish: code, state; the code is exchanged, the ID token verified
//	server    -> app       a code of ours, the app's state
//	app       -> server    Redeem: the code and the verifier
//
// # State
//
// What Begin must remember is sealed into the state parameter and costs this
// process nothing; nonce and verifier are derived from its id. A state is bound
// to the browser that began by a cookie, to the tenant, and is good once within
// ten minutes. Codes live in memory for a minute, are good once, whatever
// verifier comes with them, and bound to tenant and challenge. Keys and codes
// are this process's: a restart ends sign-ins under way.
//
// # Mix-up
//
// Each tenant has a callback address of its own, so that a provider's answer
// can't be taken for another's; and where a provider names itself in its
// answers (RFC 9207), it must.
package oidc

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	gooidc "github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"satchel/internal/command"
	"satchel/internal/ident"
	"satchel/server/session/limit"
	"satchel/server/session/sealed"
)

// CallbackPath is where providers send people back to, with the tenant's slug
// behind it.
const CallbackPath = "/v1/auth/oidc/callback/"

// How long a person has at the provider, and an app to come for the tokens.
const (
	StateLifetime = 10 * time.Minute
	CodeLifetime  = time.Minute
)

// How many states that came back, and codes that were not redeemed, there may
// be at once.
const (
	maxStates = 100_000
	maxCodes  = 10_000
)

// Options say how sign-ins are served.
type Options struct {
	// PublicURL is where people's browsers reach this server, as
	// https://satchel.example.com. It is configured, since what a request says
	// of its host is its sender's choice.
	PublicURL string
	Tenants   map[ident.TenantID]Config
	Clock     func() time.Time
}

// Service signs people in for the tenants that have a provider. It is safe for
// concurrent use.
type Service struct {
	providers map[ident.TenantID]*provider
	public    string
	now       func() time.Time
	box       *sealed.Box
	key       [32]byte // nonces, verifiers and cookies derive from it
	used      *limit.Uses

	mu     sync.Mutex
	grants map[[32]byte]grant // by SHA-256 of the code
}

// grant is what a code of ours stands for.
type grant struct {
	tenant    ident.TenantID
	who       command.Identity
	challenge string
	until     time.Time
}

// New serves the tenants' sign-ins. Providers are looked up when they are
// first needed. Errors are about the configuration and quote no secret.
func New(o Options) (*Service, error) {
	u, err := url.Parse(o.PublicURL)
	if err != nil || u.Host == "" || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return nil, fmt.Errorf("oidc: publicUrl %q must be like https://satchel.example.com", o.PublicURL)
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())) {
		return nil, fmt.Errorf("oidc: publicUrl %q must be https", o.PublicURL)
	}
	s := &Service{
		providers: map[ident.TenantID]*provider{}, public: strings.TrimSuffix(o.PublicURL, "/"), now: o.Clock,
		box: sealed.Fresh(), used: limit.NewUses(maxStates, o.Clock), grants: map[[32]byte]grant{},
	}
	rand.Read(s.key[:]) // never fails: it would end the process
	for id, c := range o.Tenants {
		done, err := c.complete()
		if err != nil {
			return nil, fmt.Errorf("tenant %s: %w", id, err)
		}
		s.providers[id] = newProvider(done, s.public+CallbackPath+string(id), o.Clock)
	}
	return s, nil
}

// Secure reports whether people's browsers reach this server by https.
func (s *Service) Secure() bool { return strings.HasPrefix(s.public, "https://") }

// ErrRefused is all that is told of a sign-in that failed. What it wraps is for
// the log: which step failed, never what was sent.
var ErrRefused = errors.New("oidc: refused")

// ParameterError names a parameter of an app's request that can't be used.
type ParameterError string

// Error implements error.
func (e ParameterError) Error() string { return "oidc: parameter " + string(e) }

// step makes a refusal that says where it happened. The cause itself may quote
// what a provider or a stranger sent and is not kept, but for its kind.
func step(name string, err error) error {
	kind := "failed"
	switch {
	case errors.Is(err, errAddress):
		kind = "address not allowed"
	case errors.Is(err, errLong):
		kind = "answer too long"
	case errors.Is(err, errToken):
		kind = "token not believed"
	case errors.Is(err, context.DeadlineExceeded):
		kind = "timed out"
	}
	return fmt.Errorf("%w: %s: %s", ErrRefused, name, kind)
}

// Request is what an app asks with; all of it is needed.
type Request struct {
	RedirectURI string
	State       string // the app's own, given back as it is
	Challenge   string // code_challenge
	Method      string // code_challenge_method, which is S256
}

// Begun is a sign-in that has begun.
type Begun struct {
	// Location is where the browser is to go: the provider, or back to the app
	// with an error where the provider can't be reached.
	Location string
	// Cookie, with its name, binds the sign-in to the browser; "" for none.
	CookieName, Cookie string
}

// pending is what the state parameter holds.
type pending struct {
	ID        string         `json:"i"`
	Tenant    ident.TenantID `json:"t"`
	Redirect  string         `json:"r"`
	State     string         `json:"s"`
	Challenge string         `json:"c"`
	Until     int64          `json:"u"` // milliseconds
}

const maxState = 512

var b64 = base64.RawURLEncoding.Strict()

// derive makes a value of a pending sign-in that only this process can make:
// 43 characters.
func (s *Service) derive(what, id string) string {
	h := hmac.New(sha256.New, s.key[:])
	h.Write([]byte(what + "\x00" + id))
	return b64.EncodeToString(h.Sum(nil))
}

// cookieName tells the cookies of sign-ins in one browser apart.
func (s *Service) cookieName(id string) string {
	name := "satchel-oidc-" + id[:8]
	if s.Secure() {
		name = "__Secure-" + name
	}
	return name
}

func (r *Request) valid(c *Config) error {
	// Nothing else is looked at before it is certain where answers may go.
	switch {
	case !c.allows(r.RedirectURI):
		return ParameterError("redirect_uri")
	case r.State == "" || len(r.State) > maxState:
		return ParameterError("state")
	case r.Method != "S256":
		return ParameterError("code_challenge_method")
	}
	if raw, err := b64.DecodeString(r.Challenge); err != nil || len(raw) != sha256.Size || len(r.Challenge) != b64.EncodedLen(sha256.Size) {
		return ParameterError("code_challenge")
	}
	return nil
}

// Begin starts a sign-in. Errors are ErrRefused for a tenant without a
// provider, and ParameterError; nobody is to be redirected for either.
func (s *Service) Begin(ctx context.Context, tenant ident.TenantID, r Request) (*Begun, error) {
	p := s.providers[tenant]
	if p == nil {
		return nil, step("tenant", nil)
	}
	if err := r.valid(&p.cfg); err != nil {
		return nil, err
	}
	m, err := p.metadata(ctx)
	if err != nil {
		return &Begun{Location: s.answer(r.RedirectURI, url.Values{"error": {"temporarily_unavailable"}, "state": {r.State}})}, nil
	}
	var random [16]byte
	rand.Read(random[:])
	x := pending{
		ID: b64.EncodeToString(random[:]), Tenant: tenant, Redirect: r.RedirectURI, State: r.State, Challenge: r.Challenge,
		Until: s.now().Add(StateLifetime).UnixMilli(),
	}
	raw, err := json.Marshal(x)
	if err != nil {
		return nil, step("state", err)
	}
	location := m.client.AuthCodeURL(s.box.SealText(raw, "state"), gooidc.Nonce(s.derive("nonce", x.ID)),
		oauth2.S256ChallengeOption(s.derive("verifier", x.ID)))
	return &Begun{Location: location, CookieName: s.cookieName(x.ID), Cookie: s.derive("cookie", x.ID)}, nil
}

// Finished is a sign-in that came back from the provider.
type Finished struct {
	Location   string // the app's, with a code or an error
	CookieName string // of the cookie that has served
	// Refused is why it is an error, nil for a code; for the log.
	Refused error
}

// Finish takes the provider's answer: its parameters, of which each stands
// once, and the browser's cookies. known says whether there is a person to sign
// in. The error is ErrRefused where the answer belongs to no sign-in of this
// browser: then there is nowhere to redirect to.
func (s *Service) Finish(ctx context.Context, tenant ident.TenantID, q url.Values, cookie func(name string) string, known func(*command.Identity) (bool, error)) (*Finished, error) {
	p := s.providers[tenant]
	raw, ok := s.box.OpenText(q.Get("state"), "state")
	var x pending
	if p == nil || !ok || json.Unmarshal(raw, &x) != nil || x.Tenant != tenant {
		return nil, step("state", nil)
	}
	until := time.UnixMilli(x.Until)
	f := &Finished{CookieName: s.cookieName(x.ID)}
	if !s.now().Before(until) || subtle.ConstantTimeCompare([]byte(cookie(f.CookieName)), []byte(s.derive("cookie", x.ID))) != 1 {
		return nil, step("browser", nil)
	}
	if n, ok := s.used.Add(limit.KeyOf(x.ID), 1, until); !ok || n != 1 {
		return nil, step("state used", nil)
	}
	code, err := s.finish(ctx, p, &x, q, known)
	if err != nil {
		// The app is told the same whatever it was.
		f.Refused = err
		f.Location = s.answer(x.Redirect, url.Values{"error": {"access_denied"}, "state": {x.State}})
		return f, nil
	}
	f.Location = s.answer(x.Redirect, url.Values{"code": {code}, "state": {x.State}})
	return f, nil
}

// maxCode bounds a provider's code, in bytes.
const maxCode = 4096

func (s *Service) finish(ctx context.Context, p *provider, x *pending, q url.Values, known func(*command.Identity) (bool, error)) (string, error) {
	m, err := p.metadata(ctx)
	if err != nil {
		return "", step("discovery", err)
	}
	if iss, given := q["iss"]; given && iss[0] != p.cfg.Issuer || !given && m.names {
		return "", step("issuer of the answer", nil)
	}
	code := q.Get("code")
	if q.Has("error") || code == "" || len(code) > maxCode {
		return "", step("provider refused", nil)
	}
	who, err := p.exchange(ctx, code, s.derive("verifier", x.ID), s.derive("nonce", x.ID))
	if err != nil {
		return "", step("exchange", err)
	}
	ok, err := known(who)
	if err != nil {
		return "", step("person", err)
	}
	if !ok {
		return "", step("person unknown", nil)
	}
	return s.grant(grant{tenant: x.Tenant, who: *who, challenge: x.Challenge, until: s.now().Add(CodeLifetime)})
}

// grant makes a code.
func (s *Service) grant(g grant) (string, error) {
	var random [32]byte
	rand.Read(random[:])
	code := b64.EncodeToString(random[:])
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.grants) >= maxCodes {
		now := s.now()
		for k, old := range s.grants {
			if !now.Before(old.until) {
				delete(s.grants, k)
			}
		}
		if len(s.grants) >= maxCodes {
			return "", step("too many sign-ins", nil)
		}
	}
	s.grants[sha256.Sum256([]byte(code))] = g
	return code, nil
}

// Redeem returns who a code of Finish is of, once. Whatever is wrong with code
// or verifier, the error is ErrRefused and the code is good for nothing more.
func (s *Service) Redeem(tenant ident.TenantID, code, verifier string) (*command.Identity, error) {
	key := sha256.Sum256([]byte(code))
	s.mu.Lock()
	g, ok := s.grants[key]
	delete(s.grants, key)
	s.mu.Unlock()
	if !ok || g.tenant != tenant || !s.now().Before(g.until) {
		return nil, step("code", nil)
	}
	sum := sha256.Sum256([]byte(verifier))
	if !validVerifier(verifier) || subtle.ConstantTimeCompare([]byte(b64.EncodeToString(sum[:])), []byte(g.challenge)) != 1 {
		return nil, step("verifier", nil)
	}
	return &g.who, nil
}

// validVerifier reports whether a text can be a verifier (RFC 7636, 4.1).
func validVerifier(v string) bool {
	if len(v) < 43 || len(v) > 128 {
		return false
	}
	for _, c := range []byte(v) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '.', c == '_', c == '~':
		default:
			return false
		}
	}
	return true
}

// answer is an app's address with our answer; we name ourselves in it, for
// apps that sign in at several servers.
func (s *Service) answer(redirect string, q url.Values) string {
	q.Set("iss", s.public)
	sep := "?"
	if strings.Contains(redirect, "?") {
		sep = "&"
	}
	return redirect + sep + q.Encode()
}
