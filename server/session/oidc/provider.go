package oidc

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	gooidc "github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"satchel/internal/command"
)

// How long what a provider says of itself is believed, and how long one that
// could not be asked is left alone.
const (
	metadataKept  = time.Hour
	failureRested = 5 * time.Second
)

// provider is one tenant's identity provider.
type provider struct {
	cfg      Config
	http     *http.Client
	callback string
	now      func() time.Time

	turn   chan struct{} // one at a time looks the provider up
	found  *metadata
	until  time.Time // when found, or the failure, is over
	failed error
}

// metadata is what discovery found.
type metadata struct {
	client   oauth2.Config
	verifier *gooidc.IDTokenVerifier
	// names: answers to authorization requests name their issuer (RFC 9207).
	names bool
}

func newProvider(cfg Config, callback string, now func() time.Time) *provider {
	p := &provider{cfg: cfg, callback: callback, now: now, turn: make(chan struct{}, 1)}
	p.http = p.cfg.egress()
	return p
}

// metadata looks the provider up where that has not been done of late.
func (p *provider) metadata(ctx context.Context) (*metadata, error) {
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	now := p.now()
	if now.Before(p.until) && (p.found != nil || p.failed != nil) {
		return p.found, p.failed
	}
	found, err := p.discover(ctx)
	switch {
	case err == nil:
		p.found, p.failed, p.until = found, nil, now.Add(metadataKept)
	case p.found != nil:
		// What was found before still serves while the provider can't be asked.
		p.until = now.Add(failureRested)
	default:
		p.failed, p.until = err, now.Add(failureRested)
	}
	return p.found, p.failed
}

func (p *provider) discover(ctx context.Context) (*metadata, error) {
	ctx = gooidc.ClientContext(ctx, p.http)
	got, err := gooidc.NewProvider(ctx, p.cfg.Issuer)
	if err != nil {
		return nil, err
	}
	var more struct {
		Keys    string   `json:"jwks_uri"`
		Methods []string `json:"token_endpoint_auth_methods_supported"`
		Names   bool     `json:"authorization_response_iss_parameter_supported"`
	}
	if err := got.Claims(&more); err != nil {
		return nil, err
	}
	ends := got.Endpoint()
	for _, e := range []string{ends.AuthURL, ends.TokenURL, more.Keys} {
		u, err := url.Parse(e)
		if err != nil {
			return nil, err
		}
		if err := p.cfg.reachable(u); err != nil {
			return nil, err
		}
	}
	switch {
	case p.cfg.ClientSecret == "", len(more.Methods) > 0 && !slices.Contains(more.Methods, "client_secret_basic"):
		ends.AuthStyle = oauth2.AuthStyleInParams
	default:
		ends.AuthStyle = oauth2.AuthStyleInHeader
	}
	return &metadata{
		client: oauth2.Config{
			ClientID: p.cfg.ClientID, ClientSecret: p.cfg.ClientSecret, Endpoint: ends, RedirectURL: p.callback,
			Scopes: append([]string{gooidc.ScopeOpenID}, p.cfg.Scopes...),
		},
		verifier: got.Verifier(&gooidc.Config{ClientID: p.cfg.ClientID, SupportedSigningAlgs: p.cfg.Algorithms, Now: p.now}),
		names:    more.Names,
	}, nil
}

// maxIDToken bounds an ID token, in bytes.
const maxIDToken = 64 << 10

// errToken says that an ID token is not to be believed.
var errToken = errors.New("oidc: the ID token can't be used")

// exchange turns the provider's code into who the person is.
func (p *provider) exchange(ctx context.Context, code, verifier, nonce string) (*command.Identity, error) {
	m, err := p.metadata(ctx)
	if err != nil {
		return nil, err
	}
	ctx = gooidc.ClientContext(ctx, p.http)
	tok, err := m.client.Exchange(ctx, code, oauth2.VerifierOption(verifier))
	if err != nil {
		return nil, err
	}
	raw, ok := tok.Extra("id_token").(string)
	if !ok || len(raw) > maxIDToken {
		return nil, fmt.Errorf("%w: there is none", errToken)
	}
	id, err := m.verifier.Verify(ctx, raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errToken, err)
	}
	if id.Issuer != p.cfg.Issuer || subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(nonce)) != 1 {
		return nil, fmt.Errorf("%w: issuer or nonce", errToken)
	}
	if id.IssuedAt.After(p.now().Add(clockSkew)) {
		return nil, fmt.Errorf("%w: it is of the future", errToken)
	}
	var claims map[string]json.RawMessage
	if err := id.Claims(&claims); err != nil {
		return nil, fmt.Errorf("%w: %w", errToken, err)
	}
	// Whoever else a token may be for, it was made for us.
	if azp := text(claims["azp"]); azp != "" && azp != p.cfg.ClientID || azp == "" && len(id.Audience) > 1 {
		return nil, fmt.Errorf("%w: it is another's", errToken)
	}
	return p.identity(claims)
}

// clockSkew is how far a provider's clock may be ahead.
const clockSkew = 5 * time.Minute

// identity takes from verified claims who the person is.
func (p *provider) identity(claims map[string]json.RawMessage) (*command.Identity, error) {
	who := &command.Identity{Issuer: p.cfg.Issuer, Subject: text(claims[p.cfg.SubjectClaim])}
	if who.Subject == "" || len(who.Subject) > maxSubject || strings.ContainsFunc(who.Subject, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return nil, fmt.Errorf("%w: it names nobody", errToken)
	}
	switch string(claims["email_verified"]) {
	case "true", `"true"`: // some providers write it as text
		if e := text(claims[p.cfg.EmailClaim]); len(e) <= 320 {
			who.Email = e
		}
	}
	if len(p.cfg.EmailDomains) > 0 {
		at := strings.LastIndexByte(who.Email, '@')
		if at < 1 || !slices.Contains(p.cfg.EmailDomains, strings.ToLower(who.Email[at+1:])) {
			return nil, fmt.Errorf("%w: the e-mail domain is not among those let in", errToken)
		}
	}
	return who, nil
}

// text is a claim that is a text, "" for anything else.
func text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}
