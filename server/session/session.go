// Package session is the edge where people sign in: passwords, codes and what
// identity providers say are checked here, tokens made and refreshed. What a
// session is stands in the tenant's state; what it may do is decided there at
// each use.
//
// A sign-in by password of somebody with a second factor answers
// second_factor_required with a challenge: sealed with a key of this process,
// good for five minutes and five codes, bound to person, password and device. A
// sign-in by the company's identity provider asks for no second factor of ours:
// the provider asks for what the company demands.
package session

import (
	"context"
	"encoding/base32"
	"encoding/json"
	"log/slog"
	"strings"
	"sync"

	"github.com/gofiber/fiber/v2"

	"satchel/internal/command"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/internal/refresh"
	"satchel/internal/strictjson"
	"satchel/server/edge"
	"satchel/server/session/limit"
	"satchel/server/session/oidc"
	"satchel/server/session/password"
	"satchel/server/session/sealed"
	"satchel/server/session/token"
	"satchel/sync/apply"
	"satchel/sync/tenant"
)

// Service answers the routes beneath /v1/auth, and those beneath /v1/me/totp.
// Its fields are set before Mount and not changed afterwards.
type Service struct {
	Auth   *edge.Auth
	Hasher *password.Hasher
	OIDC   *oidc.Service // nil where no tenant has an identity provider
	Links  *Links        // of mails with a token; nil where no mail is sent
	// Proxies are believed about where requests come from.
	Proxies limit.Proxies
	Limits  *Limits      // nil for DefaultLimits
	Log     *slog.Logger // nil for none

	gate  *gate
	box   *sealed.Box
	tries *limit.Uses // of challenges

	mailing    chan struct{}
	background sync.WaitGroup
	ending     sync.Mutex
	ended      bool
}

// Mount adds the routes. Close ends what they leave behind.
func (s *Service) Mount(app *fiber.App) {
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	limits := DefaultLimits()
	if s.Limits != nil {
		limits = *s.Limits
	}
	s.gate = newGate(limits, s.Proxies, s.Log, s.Auth.Clock)
	s.box, s.tries = sealed.Fresh(), limit.NewUses(maxChallenges, s.Auth.Clock)
	s.mailing = make(chan struct{}, maxMailing)
	app.Post("/v1/auth/login", s.login)
	app.Post("/v1/auth/refresh", s.refresh)
	app.Post("/v1/auth/logout", s.logout)
	app.Post("/v1/auth/password", s.password)
	app.Post("/v1/auth/invitations", s.invite)
	app.Post("/v1/auth/accept", s.accept)
	app.Post("/v1/auth/reset", s.reset)
	app.Post("/v1/auth/second-factor", s.secondFactor)
	app.Post("/v1/auth/second-factor/reset", s.forget(command.Forget{Factor: true}))
	app.Post("/v1/me/totp", s.enrol)
	app.Post("/v1/me/totp/confirm", s.confirm)
	app.Post("/v1/me/totp/disable", s.disable)
	app.Post("/v1/me/totp/recovery-codes", s.renew)
	app.Get("/v1/auth/oidc/authorize", s.authorize)
	app.Get(oidc.CallbackPath+":tenant", s.callback)
	app.Post("/v1/auth/oidc/token", s.oidcToken)
	app.Post("/v1/auth/oidc/reset", s.forget(command.Forget{Identity: true}))
}

type deviceBody struct {
	Installation string `json:"installation"`
	Incarnation  string `json:"incarnation"`
	Name         string `json:"name"`
	Platform     string `json:"platform"`
	PushToken    string `json:"pushToken"`
}

type loginBody struct {
	Tenant   string      `json:"tenant"`
	Email    string      `json:"email"`
	Password string      `json:"password"`
	Device   *deviceBody `json:"device"`
}

// Session ids begin with their tenant, so that a refresh token says where it
// belongs.
var lower32 = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

func newSession(t *tenant.Tenant) ident.SessionID {
	var b [12]byte
	t.Random(b[:])
	return ident.SessionID(string(t.ID()) + "_" + lower32.EncodeToString(b[:]))
}

func tenantOf(s ident.SessionID) ident.TenantID {
	i := strings.LastIndexByte(string(s), '_')
	if i < 0 {
		return ""
	}
	return ident.TenantID(s[:i])
}

// refreshKey derives the key of a tenant's refresh tokens.
func refreshKey(t *tenant.Tenant) (token.RefreshKey, error) {
	var key token.RefreshKey
	err := t.Read(func(v *tenant.View) error {
		key = token.RefreshKey(apply.DerivedKey(v.Reader, "refresh"))
		return nil
	})
	return key, err
}

func (b *loginBody) valid() error {
	switch {
	case b.Tenant == "" || len(b.Tenant) > 40:
		return fault.New(fault.MissingField).OnField("tenant")
	case b.Email == "" || len(b.Email) > 320:
		return fault.New(fault.MissingField).OnField("email")
	case b.Password == "" || len(b.Password) > 1024:
		return fault.New(fault.MissingField).OnField("password")
	}
	return b.Device.valid()
}

func (d *deviceBody) valid() error {
	if d == nil {
		return nil
	}
	if d.Installation == "" || len(d.Installation) > 128 || strings.ContainsRune(d.Installation, 0) {
		return fault.New(fault.MissingField).OnField("device.installation")
	}
	if d.Incarnation == "" || len(d.Incarnation) > 128 || strings.ContainsRune(d.Incarnation, 0) {
		return fault.New(fault.MissingField).OnField("device.incarnation")
	}
	if len(d.Name) > 200 || len(d.Platform) > 60 || len(d.PushToken) > 4096 {
		return fault.New(fault.BadValue).OnField("device")
	}
	return nil
}

func (s *Service) login(c *fiber.Ctx) error {
	var b loginBody
	in, err := s.enter(c, &b)
	if err != nil {
		return err
	}
	t, err := s.Auth.Tenants.Tenant(ident.TenantID(b.Tenant))
	if edge.Passes(err) {
		return in.settle(err)
	} else if err != nil {
		t = nil
	}
	p, err := find(t, &b)
	if err != nil {
		return err
	}
	if err := in.at(ident.TenantID(b.Tenant), b.Email, p.known); err != nil {
		return err
	}
	return in.settle(s.signIn(c, t, p, &b))
}

// proof is what a sign-in by password is checked by, and found to be.
type proof struct {
	employee ident.RecordID // "" for nobody
	email    string         // as stored
	stored   string
	known    *deviceBody // the device, where the person has signed in on it before
	factor   bool        // the person has a second factor
	owes     bool        // or needs one

	credential, rehash string
}

// find looks up whom a sign-in is of.
func find(t *tenant.Tenant, b *loginBody) (*proof, error) {
	p := &proof{}
	if t == nil {
		return p, nil
	}
	err := t.Read(func(v *tenant.View) error {
		id, ok := apply.FindEmployee(v.Reader, b.Email)
		if !ok {
			return nil
		}
		p.employee, p.stored = id, apply.Credential(v.Reader, id)
		if e, ok := v.Load(id); ok {
			p.email = e.Get("email").Text()
		}
		if d := b.Device; d != nil && apply.KnownDevice(v.Reader, id, d.Installation, d.Incarnation) {
			p.known = d
		}
		_, p.factor = apply.ReadFactor(v.Reader, id)
		p.owes = !p.factor && owes(v, id)
		return nil
	})
	return p, err
}

// signIn checks the password and opens the session, or answers with a
// challenge.
func (s *Service) signIn(c *fiber.Ctx, t *tenant.Tenant, p *proof, b *loginBody) error {
	// A sign-in beside this one may have renewed the stored hash meanwhile, or
	// a second factor come or gone; then everything is checked once more.
	for try := 0; ; try++ {
		if err := s.check(c.Context(), p, b.Password); err != nil {
			return err
		}
		if p.factor || p.owes {
			return s.challenged(t, p, b.Device)
		}
		l, first, err := s.opening(c, t, p.employee, b.Device)
		if err != nil {
			return err
		}
		l.Credential, l.Rehash, l.First = p.credential, p.rehash, refresh.Hash(first)
		res, err := t.Submit(c.Context(), &command.Command{Login: l})
		if (fault.Is(err, fault.InvalidCredentials) || fault.Is(err, fault.SecondFactor)) && try == 0 {
			if p, err = find(t, b); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		return s.answer(c, t, res.Login, first, nil)
	}
}

// check verifies the password. Whatever is wrong, a password is hashed and the
// answer is the same.
func (s *Service) check(ctx context.Context, p *proof, pw string) error {
	if p.stored == "" {
		if err := s.Hasher.Dummy(ctx, pw); err != nil {
			return err
		}
		return fault.New(fault.InvalidCredentials)
	}
	ok, rehash, err := s.Hasher.Verify(ctx, p.stored, pw)
	if err != nil {
		return err
	}
	if !ok {
		return fault.New(fault.InvalidCredentials)
	}
	p.credential = apply.CredentialDigest(p.stored)
	if rehash {
		p.rehash, err = s.Hasher.Hash(ctx, pw)
	}
	return err
}

// opening begins the command that opens a session for a person, with the
// session's first refresh token.
func (s *Service) opening(c *fiber.Ctx, t *tenant.Tenant, person ident.RecordID, d *deviceBody) (*command.Login, string, error) {
	if err := s.gate.opens(c, t.ID(), person); err != nil {
		return nil, "", err
	}
	key, err := refreshKey(t)
	if err != nil {
		return nil, "", err
	}
	l := &command.Login{Employee: person, Session: newSession(t)}
	var random [32]byte
	t.Random(random[:])
	first, err := key.NewRefresh(random, l.Session)
	if err != nil {
		return nil, "", err
	}
	if d != nil {
		var p [5]byte
		t.Random(p[:])
		l.Prefix = ident.NewPrefix(p)
		l.Device = &command.Device{
			Installation: d.Installation, Incarnation: d.Incarnation, Name: d.Name, Platform: d.Platform, PushToken: d.PushToken,
		}
	}
	return l, first, nil
}

type refreshBody struct {
	RefreshToken string `json:"refreshToken"`
	Nonce        string `json:"nonce"`
}

func (s *Service) refresh(c *fiber.Ctx) error {
	in, err := s.gate.enter(c)
	if err != nil {
		return err
	}
	t, id, attempt, successor, err := s.attempt(c)
	if !attempt.Issued {
		// Only what nobody was ever given can be a guess: a phone that comes
		// with its own token is let in whatever others do at its address.
		if err := in.atSite(); err != nil {
			return err
		}
	}
	if err != nil {
		return in.settle(err)
	}
	return in.settle(s.renewed(c, t, id, attempt, successor))
}

// attempt reads a refresh token and works out its successor.
func (s *Service) attempt(c *fiber.Ctx) (t *tenant.Tenant, id ident.SessionID, a refresh.Attempt, successor string, err error) {
	b, t, id, err := s.refreshToken(c)
	if err != nil {
		return nil, "", a, "", err
	}
	key, err := refreshKey(t)
	if err != nil {
		return nil, "", a, "", err
	}
	a, successor, err = key.Attempt(b.RefreshToken, b.Nonce)
	return t, id, a, successor, err
}

// renewed answers a refresh token with its successor.
func (s *Service) renewed(c *fiber.Ctx, t *tenant.Tenant, id ident.SessionID, attempt refresh.Attempt, successor string) error {
	res, err := t.Submit(c.Context(), &command.Command{Refresh: &command.Refresh{Session: id, Attempt: attempt}})
	if err != nil {
		return err
	}
	return s.answer(c, t, res.Login, successor, nil)
}

func (s *Service) refreshToken(c *fiber.Ctx) (b refreshBody, t *tenant.Tenant, id ident.SessionID, err error) {
	raw, err := edge.Body(c)
	if err != nil {
		return b, nil, "", err
	}
	if err := strictjson.Decode(raw, &b); err != nil {
		return b, nil, "", err
	}
	id, _, err = token.Parse(b.RefreshToken)
	if err != nil {
		return b, nil, "", err
	}
	t, err = s.Auth.Tenants.Tenant(tenantOf(id))
	if edge.Passes(err) {
		return b, nil, "", err
	} else if err != nil {
		return b, nil, "", fault.Newf(fault.InvalidToken, "The refresh token can't be used.")
	}
	return b, t, id, nil
}

// answer is the body of a sign-in and of a refresh; recovery are codes to be
// told this once.
func (s *Service) answer(c *fiber.Ctx, t *tenant.Tenant, l *apply.Login, refreshTok string, recovery []string) error {
	var jti [12]byte
	t.Random(jti[:])
	access, err := s.Auth.Signer.Mint(token.Claims{
		Tenant: t.ID(), Principal: l.Employee, Session: l.Session, Device: l.Device, ID: lower32.EncodeToString(jti[:]),
	}, t.Now())
	if err != nil {
		return err
	}
	type user struct {
		ID   ident.RecordID `json:"id"`
		Name string         `json:"name"`
	}
	type device struct {
		ID     ident.DeviceID `json:"id"`
		Prefix string         `json:"idPrefix"`
	}
	out := struct {
		Access    string   `json:"accessToken"`
		Refresh   string   `json:"refreshToken"`
		ExpiresIn int64    `json:"expiresIn"` // seconds
		User      user     `json:"user"`
		Device    *device  `json:"device,omitempty"`
		Recovery  []string `json:"recoveryCodes,omitempty"`
	}{Recovery: recovery, Access: access, Refresh: refreshTok, ExpiresIn: int64(token.Lifetime / 1000), User: user{ID: l.Employee}}
	err = t.Read(func(v *tenant.View) error {
		if e, ok := v.Load(l.Employee); ok {
			out.User.Name = e.Get("name").Text()
		}
		return nil
	})
	if err != nil {
		return err
	}
	if l.Device != "" {
		out.Device = &device{l.Device, l.Prefix}
	}
	body, err := json.Marshal(out)
	if err != nil {
		return err
	}
	return edge.JSON(c, fiber.StatusOK, body)
}

// logout ends the caller's session, by its access token.
func (s *Service) logout(c *fiber.Ctx) error {
	caller, err := s.Auth.Caller(c)
	if err != nil {
		return err
	}
	cmd := caller.Command()
	cmd.Logout = &command.Logout{Session: caller.Session}
	if _, err := caller.Tenant.Submit(c.Context(), cmd); err != nil {
		return err
	}
	return c.SendStatus(fiber.StatusNoContent)
}

type passwordBody struct {
	Current string `json:"current"`
	New     string `json:"new"`
}

// password changes the caller's own password; every session of theirs ends.
func (s *Service) password(c *fiber.Ctx) error {
	var b passwordBody
	m, err := s.own(c, &b)
	if err != nil {
		return err
	}
	if err := password.Acceptable(b.New); err != nil {
		return m.in.settle(err)
	}
	if err := m.in.settle(m.password(c, s, b.Current)); err != nil {
		return err
	}
	hash, err := s.Hasher.Hash(c.Context(), b.New)
	if err != nil {
		return err
	}
	cmd := m.Command()
	cmd.Secret = &command.Secret{Employee: m.Employee, Hash: hash}
	if _, err := m.Tenant.Submit(c.Context(), cmd); err != nil {
		return err
	}
	return c.SendStatus(fiber.StatusNoContent)
}
