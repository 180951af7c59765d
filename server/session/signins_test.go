package session

import (
	"net/http/httptest"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/server/session/limit"
)

// TestSignInsAreBounded: an account opens so many sessions and no more, whoever
// asks, and no other account's.
func TestSignInsAreBounded(t *testing.T) {
	l := DefaultLimits()
	l.SignIns = limit.Rate{Burst: 3, Every: time.Hour}
	g := newGate(l, nil, nil, time.Now)
	app := fiber.New()
	app.Get("/:who", func(c *fiber.Ctx) error {
		if err := g.opens(c, "acme", ident.RecordID(c.Params("who"))); !fault.Is(err, fault.TooManyRequests) {
			return err
		}
		return c.SendStatus(fiber.StatusTooManyRequests)
	})
	for i, who := range []string{"ana", "ana", "ana", "ana", "ben"} {
		req := httptest.NewRequest("GET", "/"+who, nil)
		res, err := app.Test(req, -1)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if refused := res.StatusCode == 429; refused != (i == 3) || refused && res.Header.Get("Retry-After") != "3600" {
			t.Errorf("sign-in %d of %s: %d, Retry-After %q", i, who, res.StatusCode, res.Header.Get("Retry-After"))
		}
	}
}
