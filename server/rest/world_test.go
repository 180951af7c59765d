package rest_test

import (
	"path/filepath"
	"testing"

	"github.com/gofiber/fiber/v2"

	"satchel/internal/entity"
	"satchel/internal/testworld"
	"satchel/mobile-api/handler"
	"satchel/server/blob"
	"satchel/server/edge"
	"satchel/server/files"
	"satchel/server/rest"
)

// world is a tenant behind the module API.
type world struct {
	*testworld.World
	rest *rest.Server
	tb   testing.TB
}

// newWorld puts the module API before a tenant, and then what else is mounted.
func newWorld(t testing.TB, also ...testworld.Mount) *world {
	t.Helper()
	w := &world{tb: t}
	w.World = testworld.New(t, append([]testworld.Mount{func(app *fiber.App, auth *edge.Auth, cat *entity.Catalogue) {
		s, err := rest.Mount(app, auth, cat, rest.Options{CursorKey: [32]byte{1}, ReadBelow: 1})
		if err != nil {
			t.Fatal(err)
		}
		w.rest = s
	}}, also...)...)
	return w
}

// wholeWorld is newWorld with the Mobile module and with files, which speak of
// the same records.
func wholeWorld(t testing.TB) *world {
	t.Helper()
	dir := t.TempDir()
	return newWorld(t, func(app *fiber.App, auth *edge.Auth, cat *entity.Catalogue) {
		files.Configure(app)
		_, err := files.Mount(app, auth, cat, files.Options{
			Dir: filepath.Join(dir, "uploads"), Blobs: blob.NewFolder(filepath.Join(dir, "blobs"), auth.Clock), Clock: auth.Clock,
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := handler.Mount(app, auth, cat, handler.Options{}); err != nil {
			t.Fatal(err)
		}
	})
}
