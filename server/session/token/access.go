package token

import (
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/golang-jwt/jwt/v5"

	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/internal/strictjson"
)

// Lifetime is how long an access token is good: ten minutes, in milliseconds.
const Lifetime ident.Millis = 10 * 60 * 1000

// MaxSize bounds an access token in bytes; longer ones are not looked at.
const MaxSize = 2048

const (
	accessType = "at+jwt"
	algorithm  = "EdDSA"
)

// Claims is what an access token says. Mint sets IssuedAt and ExpiresAt, both
// to whole seconds; Device is "" for a session without a device.
type Claims struct {
	Tenant    ident.TenantID
	Principal ident.PrincipalID
	Session   ident.SessionID
	Device    ident.DeviceID
	ID        string // jti, unique per token, up to 64 bytes
	IssuedAt  ident.Millis
	ExpiresAt ident.Millis
}

// header is the one header Verify takes. Anything else in it is refused with
// the unknown fields: jku, jwk, x5u, x5c and crit, by which a token would
// bring its own key or its own rules.
type header struct {
	Algorithm string `json:"alg"`
	Type      string `json:"typ"`
	KeyID     string `json:"kid"`
}

// payload is Claims as it stands in the token; instants in seconds.
type payload struct {
	Issuer    string            `json:"iss"`
	Audience  string            `json:"aud"`
	Principal ident.PrincipalID `json:"sub"`
	Tenant    ident.TenantID    `json:"tid"`
	Session   ident.SessionID   `json:"sid"`
	Device    ident.DeviceID    `json:"did"`
	IssuedAt  int64             `json:"iat"`
	ExpiresAt int64             `json:"exp"`
	ID        string            `json:"jti"`
}

// claims lets the parser decode a payload strictly, not its own way.
type claims struct {
	payload
	jwt.MapClaims // only for the methods of jwt.Claims, which are not called
}

func (c *claims) UnmarshalJSON(data []byte) error { return strictjson.Decode(data, &c.payload) }

// Signer mints and verifies access tokens under one issuer, audience and
// KeySet, which Replace changes. It is safe for concurrent use.
type Signer struct {
	issuer, audience string
	parser           *jwt.Parser
	remember         int
	ring             atomic.Pointer[ring]
}

// ring is a KeySet at work, with the tokens that were verified by it: a key
// that goes takes with it what was remembered of its tokens.
type ring struct {
	signing key
	public  map[string]ed25519.PublicKey
	cache   *cache
}

// NewSigner makes a Signer. remember is how many verified tokens it remembers
// until they expire, 0 for none; 4,096 take about 2 MB. An empty key set,
// issuer or audience is an error.
func NewSigner(issuer, audience string, keys KeySet, remember int) (*Signer, error) {
	if issuer == "" || audience == "" {
		return nil, errors.New("token: a signer needs an issuer and an audience")
	}
	s := &Signer{
		issuer: issuer, audience: audience, remember: remember,
		parser: jwt.NewParser(jwt.WithValidMethods([]string{algorithm}), jwt.WithStrictDecoding(), jwt.WithoutClaimsValidation()),
	}
	return s, s.Replace(keys)
}

// Replace makes the Signer work with other keys from the next call on. Tokens of
// keys that both sets have stay good; those of a key that is gone are
// fault.InvalidToken at once. An empty set is an error, and changes nothing.
func (s *Signer) Replace(keys KeySet) error {
	if len(keys.keys) == 0 {
		return errors.New("token: a signer needs a key")
	}
	r := &ring{signing: keys.keys[0], public: make(map[string]ed25519.PublicKey, len(keys.keys)), cache: newCache(s.remember)}
	for _, k := range keys.keys {
		r.public[k.id] = k.private.Public().(ed25519.PublicKey)
	}
	s.ring.Store(r)
	return nil
}

// Mint signs an access token that is good from now for Lifetime, less what now
// has of a second. Tenant, principal, session and id must be there, and all of
// it must fit MaxSize; else it is fault.InternalError.
func (s *Signer) Mint(c Claims, now ident.Millis) (string, error) {
	if c.Tenant == "" || c.Principal == "" || c.Session == "" || c.ID == "" {
		return "", fault.New(fault.InternalError).Because(errors.New("token: claims without tenant, principal, session or id"))
	}
	issued, signing := seconds(now), &s.ring.Load().signing
	t := jwt.Token{
		Header: map[string]any{"alg": algorithm, "typ": accessType, "kid": signing.id},
		Claims: jwt.MapClaims{
			"iss": s.issuer, "aud": s.audience, "sub": c.Principal, "tid": c.Tenant, "sid": c.Session, "did": c.Device,
			"iat": issued, "exp": issued + int64(Lifetime/1000), "jti": c.ID,
		},
		Method: jwt.SigningMethodEdDSA,
	}
	signed, err := t.SignedString(signing.private)
	if err == nil && len(signed) > MaxSize {
		err = fmt.Errorf("token: an access token of %d bytes", len(signed))
	}
	if err != nil {
		return "", fault.New(fault.InternalError).Because(err)
	}
	return signed, nil
}

// seconds rounds down, before 1970 too.
func seconds(m ident.Millis) int64 {
	s := int64(m) / 1000
	if int64(m)%1000 < 0 {
		s--
	}
	return s
}

// Verify returns what a token says if this Signer's keys signed it, and only
// as Mint does, for the same issuer and audience, and it is good at now: it is
// from the instant in exp on that it isn't, without leeway. A token that was
// good once is fault.TokenExpired; anything else is fault.InvalidToken, its
// reason kept for logs. iat is not held against now: among machines whose
// clocks differ a little, a fresh token must be good everywhere.
func (s *Signer) Verify(token string, now ident.Millis) (Claims, error) {
	if len(token) > MaxSize {
		return Claims{}, invalid(fmt.Errorf("token: %d bytes", len(token)))
	}
	var sum [32]byte
	r := s.ring.Load()
	if r.cache != nil {
		var room [MaxSize]byte // a copy of the token that is not garbage afterwards
		sum = sha256.Sum256(room[:copy(room[:], token)])
		if c, ok := r.cache.get(sum); ok {
			if now >= c.ExpiresAt {
				r.cache.drop(sum)
				return Claims{}, fault.New(fault.TokenExpired)
			}
			return c, nil
		}
	}
	c, err := s.verify(r, token)
	if err != nil {
		return Claims{}, invalid(err)
	}
	if now >= c.ExpiresAt {
		return Claims{}, fault.New(fault.TokenExpired)
	}
	if r.cache != nil {
		r.cache.put(sum, c, now)
	}
	return c, nil
}

func invalid(err error) error { return fault.New(fault.InvalidToken).Because(err) }

// verify judges everything but the expiry.
func (s *Signer) verify(r *ring, token string) (Claims, error) {
	// encoding/base64 skips line breaks even when strict, which would give
	// one token many spellings.
	if strings.ContainsAny(token, "\r\n") {
		return Claims{}, errors.New("token: line breaks")
	}
	first, _, _ := strings.Cut(token, ".")
	text, err := b64.DecodeString(first)
	if err != nil {
		return Claims{}, err
	}
	// The header is read here, strictly, before the parser reads it its way.
	var h header
	if err := strictjson.Decode(text, &h); err != nil {
		return Claims{}, err
	}
	if h.Algorithm != algorithm || h.Type != accessType {
		return Claims{}, fmt.Errorf("token: alg %.20q, typ %.20q", h.Algorithm, h.Type)
	}
	public, ok := r.public[h.KeyID]
	if !ok {
		return Claims{}, fmt.Errorf("token: kid %.40q", h.KeyID)
	}
	var in claims
	if _, err := s.parser.ParseWithClaims(token, &in, func(*jwt.Token) (any, error) { return public, nil }); err != nil {
		return Claims{}, err
	}
	return s.accept(in.payload)
}

func (s *Signer) accept(p payload) (Claims, error) {
	switch {
	case p.Issuer != s.issuer:
		return Claims{}, fmt.Errorf("token: iss %.40q", p.Issuer)
	case p.Audience != s.audience:
		return Claims{}, fmt.Errorf("token: aud %.40q", p.Audience)
	case p.Principal == "" || p.Tenant == "" || p.Session == "" || p.ID == "":
		return Claims{}, errors.New("token: sub, tid, sid or jti is missing")
	// One of our keys signed it, but no token of ours lives longer; the first
	// two comparisons keep the arithmetic from overflowing.
	case p.IssuedAt < -maxSeconds || p.ExpiresAt > maxSeconds || p.ExpiresAt <= p.IssuedAt || p.ExpiresAt-p.IssuedAt > int64(Lifetime/1000):
		return Claims{}, fmt.Errorf("token: iat %d, exp %d", p.IssuedAt, p.ExpiresAt)
	}
	return Claims{
		Tenant: p.Tenant, Principal: p.Principal, Session: p.Session, Device: p.Device, ID: p.ID,
		IssuedAt: ident.Millis(p.IssuedAt * 1000), ExpiresAt: ident.Millis(p.ExpiresAt * 1000),
	}, nil
}

const maxSeconds = 1 << 50
