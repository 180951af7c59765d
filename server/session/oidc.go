package session

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"time"

	"github.com/gofiber/fiber/v2"

	"satchel/internal/command"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/internal/refresh"
	"satchel/server/edge"
	"satchel/server/session/limit"
	"satchel/server/session/oidc"
	"satchel/sync/apply"
	"satchel/sync/tenant"
)

// providerTimeout bounds what one request waits for a provider.
const providerTimeout = 15 * time.Second

// patience bounds what a request waits for a provider. It does not derive from
// the request's own context, which must not be watched beyond the request.
func patience() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), providerTimeout)
}

// once reads a query in which each parameter stands once.
func once(c *fiber.Ctx) (url.Values, error) {
	q, err := url.ParseQuery(string(c.Context().QueryArgs().QueryString()))
	if err != nil {
		return nil, fault.New(fault.BadParameter)
	}
	for name, vs := range q {
		if len(vs) > 1 {
			return nil, fault.Newf(fault.BadParameter, "A parameter stands twice.").OnField(name)
		}
	}
	return q, nil
}

// authorize sends an app's user to the identity provider.
func (s *Service) authorize(c *fiber.Ctx) error {
	in, err := s.gate.enter(c)
	if err != nil {
		return err
	}
	if wait, ok := s.gate.authorize.Take(limit.KeyOf(in.site)); !ok {
		return in.refuse(wait)
	}
	q, err := once(c)
	if err != nil {
		return err
	}
	if s.OIDC == nil {
		return fault.New(fault.SignInRefused)
	}
	if rt := q.Get("response_type"); rt != "" && rt != "code" {
		return fault.Newf(fault.BadParameter, "response_type must be code.").OnField("response_type")
	}
	ctx, cancel := patience()
	defer cancel()
	b, err := s.OIDC.Begin(ctx, ident.TenantID(q.Get("tenant")), oidc.Request{
		RedirectURI: q.Get("redirect_uri"), State: q.Get("state"), Challenge: q.Get("code_challenge"), Method: q.Get("code_challenge_method"),
	})
	var bad oidc.ParameterError
	switch {
	case errors.As(err, &bad):
		return fault.Newf(fault.BadParameter, "%s can't be used.", string(bad)).OnField(string(bad))
	case err != nil:
		return s.refused(q.Get("tenant"), err)
	}
	if b.CookieName != "" {
		c.Cookie(&fiber.Cookie{
			Name: b.CookieName, Value: b.Cookie, Path: oidc.CallbackPath, MaxAge: int(oidc.StateLifetime / time.Second),
			HTTPOnly: true, Secure: s.OIDC.Secure(), SameSite: fiber.CookieSameSiteLaxMode,
		})
	}
	return c.Redirect(b.Location, fiber.StatusFound)
}

// callback takes the identity provider's answer back to the app.
func (s *Service) callback(c *fiber.Ctx) error {
	in, err := s.gate.enter(c)
	if err != nil {
		return err
	}
	if err := in.atSite(); err != nil {
		return err
	}
	q, err := once(c)
	if err != nil {
		return in.settle(err)
	}
	if s.OIDC == nil {
		return in.settle(fault.New(fault.SignInRefused))
	}
	slug := c.Params("tenant")
	ctx, cancel := patience()
	defer cancel()
	f, err := s.OIDC.Finish(ctx, ident.TenantID(slug), q, func(name string) string { return c.Cookies(name) },
		func(who *command.Identity) (known bool, err error) {
			t, err := s.Auth.Tenants.Tenant(ident.TenantID(slug))
			if err != nil {
				return false, err
			}
			err = t.Read(func(v *tenant.View) error {
				_, known = apply.FindIdentity(v.Reader, who)
				return nil
			})
			return known, err
		})
	if err != nil {
		return in.settle(s.refused(slug, err))
	}
	c.Cookie(&fiber.Cookie{
		Name: f.CookieName, Path: oidc.CallbackPath, Expires: time.Unix(1, 0), HTTPOnly: true,
		Secure: s.OIDC.Secure(), SameSite: fiber.CookieSameSiteLaxMode,
	})
	if f.Refused != nil {
		// Counted like any failure, though the answer is a redirect.
		_ = in.settle(s.refused(slug, f.Refused))
	} else {
		_ = in.settle(nil)
	}
	return c.Redirect(f.Location, fiber.StatusFound)
}

// refused notes which step of a sign-in failed; the answer is always the same.
func (s *Service) refused(slug string, err error) error {
	if s.OIDC != nil && len(slug) <= 40 {
		s.Log.Warn("sign-in by identity provider refused", slog.String("tenant", slug), slog.String("reason", err.Error()))
	}
	return fault.New(fault.SignInRefused)
}

type oidcTokenBody struct {
	Tenant   string      `json:"tenant"`
	Code     string      `json:"code"`
	Verifier string      `json:"code_verifier"`
	Device   *deviceBody `json:"device"`
}

func (b *oidcTokenBody) valid() error {
	switch {
	case b.Tenant == "" || len(b.Tenant) > 40:
		return fault.New(fault.MissingField).OnField("tenant")
	case b.Code == "" || len(b.Code) > 200:
		return fault.New(fault.MissingField).OnField("code")
	case b.Verifier == "" || len(b.Verifier) > 200:
		return fault.New(fault.MissingField).OnField("code_verifier")
	}
	return b.Device.valid()
}

// oidcToken opens a session for an app that comes with a code of callback's.
// No second factor of ours is asked for: the identity provider asks for what
// the company demands.
func (s *Service) oidcToken(c *fiber.Ctx) error {
	var b oidcTokenBody
	in, err := s.enter(c, &b)
	if err != nil {
		return err
	}
	if err := in.atSite(); err != nil {
		return err
	}
	if s.OIDC == nil {
		return in.settle(fault.New(fault.SignInRefused))
	}
	who, err := s.OIDC.Redeem(ident.TenantID(b.Tenant), b.Code, b.Verifier)
	if err != nil {
		return in.settle(s.refused(b.Tenant, err))
	}
	return in.settle(s.vouched(c, &b, who))
}

// vouched opens the session of whom an identity provider vouches for.
func (s *Service) vouched(c *fiber.Ctx, b *oidcTokenBody, who *command.Identity) error {
	t, err := s.Auth.Tenants.Tenant(ident.TenantID(b.Tenant))
	if edge.Passes(err) {
		return err
	} else if err != nil {
		return fault.New(fault.SignInRefused)
	}
	var id ident.RecordID
	var ok bool
	err = t.Read(func(v *tenant.View) error {
		id, ok = apply.FindIdentity(v.Reader, who)
		return nil
	})
	if err != nil {
		return err
	}
	if !ok {
		return fault.New(fault.SignInRefused)
	}
	l, first, err := s.opening(c, t, id, b.Device)
	if err != nil {
		return err
	}
	l.Identity, l.First = who, refresh.Hash(first)
	res, err := t.Submit(c.Context(), &command.Command{Login: l})
	if fault.Is(err, fault.InvalidCredentials) || fault.Is(err, fault.Duplicate) {
		return fault.New(fault.SignInRefused)
	}
	if err != nil {
		return err
	}
	return s.answer(c, t, res.Login, first, nil)
}
