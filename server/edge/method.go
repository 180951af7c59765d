package edge

import (
	"slices"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"satchel/internal/fault"
)

// refuseUnknownMethods answers methods that HTTP does not have with a problem
// document, like any other refusal. Fiber would answer them itself, in words of
// its own and before the application is asked.
func refuseUnknownMethods(app *fiber.App) {
	srv, methods := app.Server(), app.Config().RequestMethods
	next := srv.Handler
	srv.Handler = func(ctx *fasthttp.RequestCtx) {
		if slices.Contains(methods, string(ctx.Method())) {
			next(ctx)
			return
		}
		c := app.AcquireCtx(ctx)
		defer app.ReleaseCtx(c)
		c.Set(fiber.HeaderXContentTypeOptions, "nosniff")
		c.Set(fiber.HeaderCacheControl, "no-store")
		if err := Problem(c, fault.New(fault.MethodNotAllowed)); err != nil {
			ctx.SetStatusCode(fiber.StatusInternalServerError)
		}
	}
}
