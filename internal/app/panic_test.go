package app

import (
	"errors"
	"io"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gofiber/fiber/v2"

	"satchel/server/session/password/passwordtest"
)

// TestPanicsAreHidden: what a handler panics with, or fails with for no reason
// that has a code, is told to the log and to nobody else, and the next request is
// answered.
func TestPanicsAreHidden(t *testing.T) {
	var log said
	a, err := New(Config{Dir: t.TempDir(), Hasher: passwordtest.New(t), Log: slog.New(slog.NewJSONHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer a.tenants.Close()
	a.fiber.Get("/test/panic", func(*fiber.Ctx) error { panic("canary of a panic") })
	a.fiber.Get("/test/nil", func(*fiber.Ctx) error { var none *Config; return errors.New(none.Dir) })
	a.fiber.Get("/test/error", func(*fiber.Ctx) error { return errors.New("open /secret/canary: permission denied") })
	for _, path := range []string{"/test/panic", "/test/nil", "/test/error"} {
		res, err := a.fiber.Test(httptest.NewRequest("GET", path, nil), -1)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		if res.StatusCode != 500 || !strings.Contains(string(body), `"internal_error"`) || strings.Contains(string(body), "canary") ||
			strings.Contains(string(body), "goroutine") || strings.Contains(string(body), ".go:") {
			t.Errorf("%s: %d %s", path, res.StatusCode, body)
		}
		if res.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: headers %v", path, res.Header)
		}
	}
	if !log.has("request panicked") || !log.has("request failed") {
		t.Error("the log was not told")
	}
	if res, err := a.fiber.Test(httptest.NewRequest("GET", "/healthz", nil), -1); err != nil || res.StatusCode != 200 {
		t.Errorf("afterwards: %v %v", res, err)
	}
}
