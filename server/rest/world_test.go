package rest_test

import (
	"testing"

	"github.com/gofiber/fiber/v2"

	"satchel/internal/entity"
	"satchel/internal/testworld"
	"satchel/server/edge"
	"satchel/server/rest"
)

// world is a tenant behind the module API.
type world struct {
	*testworld.World
	rest *rest.Server
	tb   testing.TB
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{tb: t}
	w.World = testworld.New(t, func(app *fiber.App, auth *edge.Auth, cat *entity.Catalogue) {
		s, err := rest.Mount(app, auth, cat, rest.Options{CursorKey: [32]byte{1}, ReadBelow: 1})
		if err != nil {
			t.Fatal(err)
		}
		w.rest = s
	})
	return w
}
