package session_test

import (
	"context"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	"satchel/internal/command"
	"satchel/internal/entity"
	"satchel/internal/testworld"
	"satchel/server/edge"
	"satchel/server/session"
	"satchel/server/session/password"
)

// TestAcceptTakesAsLong: whatever is wrong with an invitation, a password is
// hashed before the answer, so that its time tells nothing.
func TestAcceptTakesAsLong(t *testing.T) {
	hasher, err := password.New(password.Default, 1)
	if err != nil {
		t.Fatal(err)
	}
	w := testworld.New(t, func(app *fiber.App, auth *edge.Auth, _ *entity.Catalogue) {
		(&session.Service{Auth: auth, Hasher: hasher}).Mount(app)
	})
	in, err := session.Invite(context.Background(), w.Tenant, &command.Command{}, testworld.Basic, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.Advance(8 * 24 * time.Hour)
	const pw = "long enough"
	fastest := func(f func()) time.Duration {
		best := time.Hour
		for range 5 {
			start := time.Now()
			f()
			best = min(best, time.Since(start))
		}
		return best
	}
	cost := fastest(func() {
		if _, err := hasher.Hash(context.Background(), pw); err != nil {
			t.Fatal(err)
		}
	})
	for what, body := range map[string]map[string]any{
		"over":              {"tenant": testworld.Slug, "token": in.Token, "password": pw},
		"unknown":           {"tenant": testworld.Slug, "token": "unknown", "password": pw},
		"of another tenant": {"tenant": "other", "token": in.Token, "password": pw},
	} {
		took := fastest(func() { w.HTTP("", "POST", "/v1/auth/accept", body).Want(t, 401, "invalid_credentials") })
		if took < cost/8 { // a busy machine measures the two differently
			t.Errorf("%s: answered after %v, a hash takes %v", what, took, cost)
		}
	}
}
