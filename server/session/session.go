// Package session is the edge where people sign in: passwords are checked
// here, tokens made and refreshed. What a session is stands in the tenant's
// state; what it may do is decided there at each use.
package session

import (
	"context"
	"encoding/base32"
	"encoding/json"
	"strings"

	"github.com/gofiber/fiber/v2"

	"satchel/internal/command"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/internal/policy"
	"satchel/internal/refresh"
	"satchel/internal/strictjson"
	"satchel/server/edge"
	"satchel/server/session/password"
	"satchel/server/session/token"
	"satchel/sync/apply"
	"satchel/sync/tenant"
)

// Service answers the routes beneath /v1/auth.
type Service struct {
	Auth   *edge.Auth
	Hasher *password.Hasher
}

// Mount adds the routes.
func (s *Service) Mount(app *fiber.App) {
	app.Post("/v1/auth/login", s.login)
	app.Post("/v1/auth/refresh", s.refresh)
	app.Post("/v1/auth/logout", s.logout)
	app.Post("/v1/auth/password", s.password)
	app.Post("/v1/auth/invitations", s.invite)
	app.Post("/v1/auth/accept", s.accept)
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
	d := b.Device
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
	raw, err := edge.Body(c)
	if err != nil {
		return err
	}
	var b loginBody
	if err := strictjson.Decode(raw, &b); err != nil {
		return err
	}
	if err := b.valid(); err != nil {
		return err
	}
	t, err := s.Auth.Tenants.Tenant(ident.TenantID(b.Tenant))
	if err != nil {
		t = nil
	}
	// A sign-in beside this one may have renewed the stored hash meanwhile;
	// then the password is checked once more.
	for try := 0; ; try++ {
		l, first, err := s.check(c.Context(), t, &b)
		if err != nil {
			return err
		}
		res, err := t.Submit(c.Context(), &command.Command{Login: l})
		if fault.Is(err, fault.InvalidCredentials) && try == 0 {
			continue
		}
		if err != nil {
			return err
		}
		return s.answer(c, t, res.Login, first)
	}
}

// check verifies the password and makes the command that opens the session,
// with the session's first refresh token. Whatever is wrong, a password is
// hashed and the answer is the same.
func (s *Service) check(ctx context.Context, t *tenant.Tenant, b *loginBody) (*command.Login, string, error) {
	var employee ident.RecordID
	var stored string
	if t != nil {
		err := t.Read(func(v *tenant.View) error {
			if id, ok := apply.FindEmployee(v.Reader, b.Email); ok {
				employee, stored = id, apply.Credential(v.Reader, id)
			}
			return nil
		})
		if err != nil {
			return nil, "", err
		}
	}
	if stored == "" {
		if err := s.Hasher.Dummy(ctx, b.Password); err != nil {
			return nil, "", err
		}
		return nil, "", fault.New(fault.InvalidCredentials)
	}
	ok, rehash, err := s.Hasher.Verify(ctx, stored, b.Password)
	if err != nil {
		return nil, "", err
	}
	if !ok {
		return nil, "", fault.New(fault.InvalidCredentials)
	}
	key, err := refreshKey(t)
	if err != nil {
		return nil, "", err
	}
	session := newSession(t)
	var random [32]byte
	t.Random(random[:])
	first, err := key.NewRefresh(random, session)
	if err != nil {
		return nil, "", err
	}
	l := &command.Login{Employee: employee, Credential: apply.CredentialDigest(stored), Session: session, First: refresh.Hash(first)}
	if rehash {
		if l.Rehash, err = s.Hasher.Hash(ctx, b.Password); err != nil {
			return nil, "", err
		}
	}
	if d := b.Device; d != nil {
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
	b, t, id, err := s.refreshToken(c)
	if err != nil {
		return err
	}
	key, err := refreshKey(t)
	if err != nil {
		return err
	}
	attempt, successor, err := key.Attempt(b.RefreshToken, b.Nonce)
	if err != nil {
		return err
	}
	res, err := t.Submit(c.Context(), &command.Command{Refresh: &command.Refresh{Session: id, Attempt: attempt}})
	if err != nil {
		return err
	}
	return s.answer(c, t, res.Login, successor)
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
	if err != nil {
		return b, nil, "", fault.Newf(fault.InvalidToken, "The refresh token can't be used.")
	}
	return b, t, id, nil
}

// answer is the body of a sign-in and of a refresh.
func (s *Service) answer(c *fiber.Ctx, t *tenant.Tenant, l *apply.Login, refreshTok string) error {
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
		Access    string  `json:"accessToken"`
		Refresh   string  `json:"refreshToken"`
		ExpiresIn int64   `json:"expiresIn"` // seconds
		User      user    `json:"user"`
		Device    *device `json:"device,omitempty"`
	}{Access: access, Refresh: refreshTok, ExpiresIn: int64(token.Lifetime / 1000), User: user{ID: l.Employee}}
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
	caller, err := s.Auth.Caller(c)
	if err != nil {
		return err
	}
	raw, err := edge.Body(c)
	if err != nil {
		return err
	}
	var b passwordBody
	if err := strictjson.Decode(raw, &b); err != nil {
		return err
	}
	if err := password.Acceptable(b.New); err != nil {
		return err
	}
	var stored string
	err = caller.Read(func(v *tenant.View, _ *policy.Subject) error {
		stored = apply.Credential(v.Reader, caller.Employee)
		return nil
	})
	if err != nil {
		return err
	}
	ok, _, err := s.Hasher.Verify(c.Context(), stored, b.Current)
	if err != nil {
		return err
	}
	if !ok {
		return fault.New(fault.InvalidCredentials)
	}
	hash, err := s.Hasher.Hash(c.Context(), b.New)
	if err != nil {
		return err
	}
	cmd := caller.Command()
	cmd.Secret = &command.Secret{Employee: caller.Employee, Hash: hash}
	if _, err := caller.Tenant.Submit(c.Context(), cmd); err != nil {
		return err
	}
	return c.SendStatus(fiber.StatusNoContent)
}
