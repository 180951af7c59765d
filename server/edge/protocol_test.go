package edge

import (
	"net/http/httptest"
	"testing"

	"github.com/gofiber/fiber/v2"
)

// TestPrefers: preferences as RFC 7240 has them: lists over several lines, commas
// and semicolons in quotes are no ends, and of several of a name the first counts.
func TestPrefers(t *testing.T) {
	for _, c := range []struct {
		lines []string
		want  bool
	}{
		{nil, false},
		{[]string{""}, false},
		{[]string{"fields=changed"}, true},
		{[]string{`FIELDS = "changed" ; by="a, b"`}, true},
		{[]string{"respond-async,,fields=changed"}, true},
		{[]string{"respond-async", "wait=10, fields=changed"}, true},
		{[]string{"fields"}, false},
		{[]string{"fields=changed-not"}, false},
		{[]string{"fields=Changed"}, false},
		{[]string{"xfields=changed"}, false},
		{[]string{`note="a, fields=changed"`}, false},
		{[]string{`note="a\", fields=changed"`}, false},
		{[]string{`note="a, b", fields=changed`}, true},
		{[]string{`note=a; by="x, fields=changed, y"`}, false},
		{[]string{`fields="changed;not"`}, false},
		{[]string{`note="never closed, fields=changed`}, false},
		{[]string{"fields=all, fields=changed"}, false},
		{[]string{"fields=changed", "fields=all"}, true},
	} {
		app := fiber.New()
		got := false
		app.Get("/", func(c *fiber.Ctx) error { got = Prefers(c, "fields=changed"); return nil })
		req := httptest.NewRequest("GET", "/", nil)
		for _, line := range c.lines {
			req.Header.Add("Prefer", line)
		}
		res, err := app.Test(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if got != c.want {
			t.Errorf("%q: %v", c.lines, got)
		}
	}
}
