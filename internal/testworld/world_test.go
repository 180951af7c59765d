package testworld_test

import (
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	"satchel/internal/entity"
	"satchel/internal/policy"
	"satchel/internal/testworld"
	"satchel/server/edge"
	"satchel/sync/tenant"
)

func who(app *fiber.App, auth *edge.Auth, _ *entity.Catalogue) {
	app.Get("/who", func(c *fiber.Ctx) error {
		caller, err := auth.Caller(c)
		if err != nil {
			return err
		}
		return caller.Read(func(_ *tenant.View, sub *policy.Subject) error { return c.JSON(fiber.Map{"roles": sub.Roles}) })
	})
}

// TestEverybodySignsIn: each person has a session and exactly their roles.
func TestEverybodySignsIn(t *testing.T) {
	w := testworld.New(t, who)
	for _, p := range testworld.People() {
		res := w.HTTP(p, "GET", "/who", nil).Want(t, 200, "")
		if got, _ := res.Object(t)["roles"].([]any); len(got) != len(testworld.Roles[p]) {
			t.Errorf("%s holds %v", p, got)
		}
	}
	w.HTTP("", "GET", "/who", nil).Want(t, 401, "invalid_token")
	if p := w.Prefix(testworld.Engineer, "phone"); len(p) != 9 {
		t.Errorf("prefix %q", p)
	}
}

// TestWorldsAreApart: what happens in one world is not in the next, and the
// clock carries sessions and roles with it.
func TestWorldsAreApart(t *testing.T) {
	one, two := testworld.New(t, who), testworld.New(t, who)
	one.Person("emp-someone", "service.guest")
	until := testworld.Start.Add(time.Hour).Format(time.RFC3339)
	one.Give("emp-someone", "service.manager", "until", until)
	count := func() int {
		got, _ := one.HTTP("emp-someone", "GET", "/who", nil).Want(t, 200, "").Object(t)["roles"].([]any)
		return len(got)
	}
	if n := count(); n != 2 {
		t.Errorf("%d roles", n)
	}
	one.Advance(time.Hour)
	if n := count(); n != 1 {
		t.Errorf("%d roles after one ended", n)
	}
	if err := two.Tenant.Read(func(v *tenant.View) error {
		if v.Subject("emp-someone") != nil {
			t.Error("a person of another world")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}
