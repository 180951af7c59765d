// Package edge is what every HTTP edge shares: problem documents, reading
// bodies safely, and who is calling. The edges (session, rest, sync, mobile)
// import it; it imports no edge.
package edge

import (
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"satchel/internal/command"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/internal/policy"
	"satchel/server/session/limit"
	"satchel/server/session/token"
	"satchel/server/ws/upgrade"
	"satchel/sync/tenant"
)

// Tenants finds the tenants being served.
type Tenants interface {
	// Tenant returns a running tenant; a slug that is no tenant's is a
	// fault.InvalidCredentials, so that nobody can ask which there are.
	Tenant(ident.TenantID) (*tenant.Tenant, error)
}

// Limits of requests.
const (
	MaxBody       = 8 << 20 // bytes
	ReadTimeout   = 60 * time.Second
	WriteTimeout  = 120 * time.Second
	IdleTimeout   = 120 * time.Second
	maxHeaderSize = 16 << 10
)

// NewApp makes the Fiber application with the settings Satchel relies on:
// nothing taken from a request aliases Fiber's memory, bodies and times are
// bounded, and errors come out as problem documents.
func NewApp(onError func(c *fiber.Ctx, err error)) *fiber.App {
	app := fiber.New(fiber.Config{
		AppName: "Satchel", Immutable: true, BodyLimit: MaxBody, ReadBufferSize: maxHeaderSize,
		ReadTimeout: ReadTimeout, WriteTimeout: WriteTimeout, IdleTimeout: IdleTimeout,
		DisableStartupMessage: true, CaseSensitive: true, StrictRouting: true, UnescapePath: true,
		ErrorHandler: func(c *fiber.Ctx, err error) error {
			if onError != nil {
				onError(c, err)
			}
			return Problem(c, err)
		},
	})
	app.Server().NoDefaultServerHeader = true
	upgrade.Configure(app)
	refuseUnknownMethods(app)
	return app
}

// Secure sets the headers that every answer bears.
func Secure(c *fiber.Ctx) error { return secure(c, false) }

// SecureBehindTLS is Secure for a server that browsers reach by https alone,
// whoever ends TLS in front of it.
func SecureBehindTLS(c *fiber.Ctx) error { return secure(c, true) }

// secureHeaders are names in canonical form and values: nothing is to be done
// to them with each answer.
var secureHeaders = [...][2][]byte{
	{[]byte("X-Content-Type-Options"), []byte("nosniff")},
	{[]byte("Referrer-Policy"), []byte("no-referrer")},
	{[]byte("X-Frame-Options"), []byte("DENY")},
	{[]byte("Content-Security-Policy"), []byte("default-src 'none'; frame-ancestors 'none'")},
	{[]byte("Cache-Control"), []byte("no-store")},
}

func secure(c *fiber.Ctx, https bool) error {
	for _, h := range secureHeaders {
		c.Response().Header.SetCanonical(h[0], h[1])
	}
	if https || c.Context().IsTLS() { // not what a header says, which anybody can send
		c.Set("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
	}
	return c.Next()
}

// Problem answers with an RFC 9457 problem document. An error without a code
// is an internal one, and nothing of its text is shown.
func Problem(c *fiber.Ctx, err error) error {
	status, f := problem(err)
	doc := map[string]any{
		"type": "about:blank", "title": f.Code.Text(), "status": status, "code": string(f.Code), "detail": f.Message,
	}
	if f.Field != "" {
		doc["field"] = f.Field
	}
	for k, v := range f.Extra {
		doc[k] = v
	}
	b, merr := json.Marshal(doc)
	if merr != nil {
		return merr
	}
	if f.Code.Kind() == fault.Unauthenticated {
		c.Set(fiber.HeaderWWWAuthenticate, "Bearer")
	}
	if f.Code.Kind() == fault.TooMany || f.Code.Kind() == fault.Unavailable {
		if c.GetRespHeader(fiber.HeaderRetryAfter) == "" {
			c.Set(fiber.HeaderRetryAfter, "1")
		}
	}
	c.Set(fiber.HeaderContentType, "application/problem+json")
	return c.Status(status).Send(b)
}

func problem(err error) (int, *fault.Error) {
	var hs *upgrade.HandshakeError
	if errors.As(err, &hs) {
		return hs.Status, fault.Of(err)
	}
	var fe *fiber.Error
	if errors.As(err, &fe) {
		switch fe.Code {
		case fiber.StatusNotFound:
			return fe.Code, fault.Newf(fault.NotFoundCode, "There is nothing at this address.")
		case fiber.StatusMethodNotAllowed:
			return fe.Code, fault.New(fault.MethodNotAllowed)
		case fiber.StatusRequestEntityTooLarge:
			return fe.Code, fault.New(fault.TooBig)
		}
		if fe.Code >= 400 && fe.Code < 500 {
			return fe.Code, fault.Newf(fault.BadParameter, "The request can't be read.")
		}
	}
	f := fault.Of(err)
	return f.Code.Kind().Status(), f
}

// Body returns the request's JSON body. It is bounded, and bodies with a
// content encoding are refused, since the bound is on the bytes sent.
func Body(c *fiber.Ctx) ([]byte, error) {
	if enc := c.Get(fiber.HeaderContentEncoding); enc != "" && enc != "identity" {
		return nil, fault.New(fault.EncodingRefused)
	}
	media, _, _ := strings.Cut(c.Get(fiber.HeaderContentType), ";")
	if media = strings.TrimSpace(strings.ToLower(media)); media != "application/json" && media != "" {
		return nil, fault.New(fault.MediaType)
	}
	b := c.Request().Body()
	if len(b) == 0 {
		return nil, fault.Newf(fault.Malformed, "A JSON body is required.")
	}
	return b, nil
}

// Caller is who asks: a principal of a tenant, with session and device.
type Caller struct {
	Tenant   *tenant.Tenant
	Employee ident.RecordID
	Session  ident.SessionID
	Device   ident.DeviceID
	Expires  ident.Millis // of the access token
}

// Command begins a command of the caller.
func (c *Caller) Command() *command.Command {
	return &command.Command{Actor: c.Employee, Session: c.Session, Device: c.Device}
}

// Read calls f with the latest state and the caller's rights in it.
func (c *Caller) Read(f func(v *tenant.View, sub *policy.Subject) error) error {
	return c.Tenant.Read(func(v *tenant.View) error {
		sub, err := v.SignedIn(c.Session, c.Employee)
		if err != nil {
			return err
		}
		return f(v, sub)
	})
}

// Auth tells callers from their access tokens.
type Auth struct {
	Tenants Tenants
	Signer  *token.Signer
	Clock   func() time.Time
	// Proxies are believed about where requests come from.
	Proxies limit.Proxies
	// Quotas bound what callers may ask for; nil for no bound.
	Quotas *limit.People
}

// Passes reports whether a tenant can't be had for a while only: it stopped
// after a storage error, or the server is ending. That is said as it is and
// never by a code that makes a client throw its tokens away, which it could not
// replace without its owner's password. That there is such a tenant it tells too.
func Passes(err error) bool {
	return err != nil && fault.Of(err).Code.Kind() == fault.Unavailable
}

// Caller returns who sent the request, by its Authorization header. It counts
// the request against the quotas of its address, person and device, of which
// fault.TooManyRequests tells: a handler asks once.
func (a *Auth) Caller(c *fiber.Ctx) (*Caller, error) {
	scheme, tok, ok := strings.Cut(c.Get(fiber.HeaderAuthorization), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return nil, fault.Newf(fault.InvalidToken, "Send an access token in the Authorization header.")
	}
	if a.Quotas != nil {
		// Before the token is looked at: bad ones cost the most.
		if wait, ok := a.Quotas.At(a.Address(c)); !ok {
			return nil, TooMany(c, wait)
		}
	}
	caller, err := a.Verify(strings.TrimSpace(tok))
	if err != nil || a.Quotas == nil {
		return caller, err
	}
	return caller, a.allowed(c, caller)
}

// Verify returns who an access token is of. That the session still lives is
// checked where the state is read.
func (a *Auth) Verify(tok string) (*Caller, error) {
	claims, err := a.Signer.Verify(tok, ident.MillisOf(a.Clock()))
	if err != nil {
		return nil, err
	}
	t, err := a.Tenants.Tenant(claims.Tenant)
	if Passes(err) {
		return nil, err
	} else if err != nil {
		return nil, fault.New(fault.InvalidToken)
	}
	return &Caller{Tenant: t, Employee: claims.Principal, Session: claims.Session, Device: claims.Device, Expires: claims.ExpiresAt}, nil
}
