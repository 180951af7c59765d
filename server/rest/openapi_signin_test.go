package rest_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/gofiber/fiber/v2"

	"satchel/internal/entity"
	"satchel/internal/testworld"
	"satchel/server/edge"
	"satchel/server/rest"
	"satchel/server/session"
	"satchel/server/session/password/passwordtest"
)

// TestSignInIsDescribed: every route of the session interface stands in the
// document, and nothing that is none.
func TestSignInIsDescribed(t *testing.T) {
	mounted := map[string]bool{}
	w := testworld.New(t, func(app *fiber.App, auth *edge.Auth, _ *entity.Catalogue) {
		s := &session.Service{Auth: auth, Hasher: passwordtest.New(t)}
		s.Mount(app)
		t.Cleanup(s.Close)
		placeholder := regexp.MustCompile(`:(\w+)`)
		for _, r := range app.GetRoutes(true) {
			if r.Method != fiber.MethodHead {
				mounted[strings.ToLower(r.Method)+" "+placeholder.ReplaceAllString(r.Path, "{$1}")] = true
			}
		}
	}, func(app *fiber.App, auth *edge.Auth, cat *entity.Catalogue) {
		if _, err := rest.Mount(app, auth, cat, rest.Options{}); err != nil {
			t.Fatal(err)
		}
	})
	var doc struct {
		Paths map[string]map[string]any `json:"paths"`
	}
	if err := json.Unmarshal(w.HTTP("", "GET", "/openapi.json", nil).Body, &doc); err != nil {
		t.Fatal(err)
	}
	if len(mounted) < 17 {
		t.Errorf("only %d routes", len(mounted))
	}
	for r := range mounted {
		method, path, _ := strings.Cut(r, " ")
		if doc.Paths[path][method] == nil {
			t.Errorf("%s is not described", r)
		}
	}
	for path, item := range doc.Paths {
		if !strings.HasPrefix(path, "/v1/auth/") && !strings.HasPrefix(path, "/v1/me/totp") {
			continue
		}
		for method := range item {
			if !mounted[method+" "+path] {
				t.Errorf("%s %s is described and not there", method, path)
			}
		}
	}
}
