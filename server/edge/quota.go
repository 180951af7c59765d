package edge

import (
	"bytes"
	"math"
	"net/netip"
	"strconv"
	"time"

	"github.com/gofiber/fiber/v2"

	"satchel/internal/fault"
	"satchel/server/session/limit"
)

// Address returns where a request comes from, by what trusted proxies say of
// it.
func (a *Auth) Address(c *fiber.Ctx) netip.Addr {
	peer, ok := netip.AddrFromSlice(c.Context().RemoteIP())
	if !ok {
		return netip.IPv4Unspecified()
	}
	if !a.Proxies.Trusts(peer) { // what it says is not looked at
		return peer.Unmap()
	}
	var forwarded []string
	for _, v := range c.Request().Header.PeekAll(fiber.HeaderXForwardedFor) {
		forwarded = append(forwarded, string(v))
	}
	return a.Proxies.Client(peer, forwarded)
}

// ClassOf returns what kind of request a request is, for the limits of people
// who have signed in.
func ClassOf(method string, path []byte) limit.Class {
	switch {
	case bytes.HasPrefix(path, []byte("/sync/v1/")):
		return limit.Sync
	case bytes.HasPrefix(path, []byte("/files")):
		if method != fiber.MethodHead && method != fiber.MethodGet {
			return limit.Upload
		}
		return limit.Read
	case method != fiber.MethodGet && method != fiber.MethodHead:
		return limit.Write
	case bytes.HasSuffix(path, []byte("export")), bytes.HasSuffix(path, []byte("/result")), bytes.HasSuffix(path, []byte("/access-review")):
		return limit.Export
	}
	return limit.Read
}

// allowed counts a request of the caller's.
func (a *Auth) allowed(c *fiber.Ctx, caller *Caller) error {
	wait, ok := a.Take(ClassOf(c.Method(), c.Request().URI().Path()), 1, caller)
	if !ok {
		return TooMany(c, wait)
	}
	return nil
}

// Take takes n tokens of the class from the caller; where there are too few,
// wait says when to come again.
func (a *Auth) Take(class limit.Class, n int, caller *Caller) (wait time.Duration, ok bool) {
	device := string(caller.Device)
	if device == "" {
		device = string(caller.Session)
	}
	return a.Quotas.Take(class, n, string(caller.Tenant.ID()), string(caller.Employee), device)
}

// TooMany is the refusal of a request that comes too soon, with when to come
// again in the answer's header.
func TooMany(c *fiber.Ctx, wait time.Duration) error {
	c.Set(fiber.HeaderRetryAfter, strconv.FormatInt(int64(math.Ceil(max(wait.Seconds(), 1))), 10))
	return fault.New(fault.TooManyRequests)
}
