package session_test

import (
	"testing"

	"github.com/gofiber/fiber/v2"

	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/internal/testworld"
	"satchel/server/edge"
	"satchel/server/session"
	"satchel/server/session/password"
	"satchel/server/session/token"
	"satchel/sync/tenant"
)

// stopped refuses every tenant with a code.
type stopped struct{ code fault.Code }

func (s stopped) Tenant(ident.TenantID) (*tenant.Tenant, error) { return nil, fault.New(s.code) }

// TestStoppedTenant: while a tenant is stopped for a moment nobody is told that
// tokens or passwords are wrong. Clients would throw their tokens away, and
// could not come back without their owner.
func TestStoppedTenant(t *testing.T) {
	hasher, err := password.New(password.Default, 1)
	if err != nil {
		t.Fatal(err)
	}
	w := testworld.New(t, func(app *fiber.App, auth *edge.Auth, _ *entity.Catalogue) {
		(&session.Service{Auth: auth, Hasher: hasher}).Mount(app)
		app.Get("/v1/probe", func(c *fiber.Ctx) error {
			if _, err := auth.Caller(c); err != nil {
				return err
			}
			return c.SendStatus(fiber.StatusNoContent)
		})
	})
	refresh, err := token.RefreshKey{1}.NewRefresh([32]byte{1}, ident.SessionID(testworld.Slug+"_abcdefgh"))
	if err != nil {
		t.Fatal(err)
	}
	w.HTTP(testworld.Admin, "GET", "/v1/probe", nil).Want(t, 204, "")
	for _, c := range []struct {
		code   fault.Code
		status int
		// Instead of the code where there is no such tenant at all.
		access, refresh, login, accept fault.Code
	}{
		{fault.TenantStopped, 503, fault.TenantStopped, fault.TenantStopped, fault.TenantStopped, fault.TenantStopped},
		{fault.ShuttingDown, 503, fault.ShuttingDown, fault.ShuttingDown, fault.ShuttingDown, fault.ShuttingDown},
		{fault.InvalidCredentials, 401, fault.InvalidToken, fault.InvalidToken, fault.InvalidCredentials, fault.InvalidCredentials},
	} {
		w.Auth.Tenants = stopped{c.code}
		w.HTTP(testworld.Admin, "GET", "/v1/probe", nil).Want(t, c.status, string(c.access))
		w.HTTP("", "POST", "/v1/auth/refresh", map[string]any{"refreshToken": refresh, "nonce": "0123456789abcdef"}).Want(t, c.status, string(c.refresh))
		w.HTTP("", "POST", "/v1/auth/login", map[string]any{"tenant": testworld.Slug, "email": "admin@example.com", "password": "wrong"}).Want(t, c.status, string(c.login))
		w.HTTP("", "POST", "/v1/auth/accept", map[string]any{"tenant": testworld.Slug, "token": "unknown", "password": "long enough"}).Want(t, c.status, string(c.accept))
	}
}
