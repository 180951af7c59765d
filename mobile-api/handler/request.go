package handler

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"satchel/internal/command"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/internal/strictjson"
	mobile "satchel/mobile-api/wire"
	"satchel/server/edge"
)

const (
	headerKey    = "Idempotency-Key"
	maxKeyLength = 200
	maxParameter = 200
)

// parameters reads the query; any but the named is refused, as is one that
// stands twice.
func parameters(c *fiber.Ctx, names ...string) (map[string]string, error) {
	out := map[string]string{}
	for k, v := range c.Context().QueryArgs().All() {
		name := string(k)
		_, twice := out[name]
		switch {
		case twice || !slices.Contains(names, name):
			return nil, fault.Newf(fault.BadParameter, "This address takes no parameter %q, or takes it once.", name).OnField(name)
		case len(v) > maxParameter:
			return nil, fault.Newf(fault.BadParameter, "%s is too long.", name).OnField(name)
		}
		out[name] = string(v)
	}
	return out, nil
}

// days reads a date and a zone from the query: the first instant of the day and
// that of the day n days later. Without a date it is the present day.
func days(c *fiber.Ctx, v *view, param string, n int) (from, to ident.Millis, err error) {
	p, err := parameters(c, param, "zone")
	if err != nil {
		return 0, 0, err
	}
	zone := time.UTC
	if name := p["zone"]; name != "" {
		// "Local" would be the server's own.
		if zone, err = time.LoadLocation(name); err != nil || name == "Local" {
			return 0, 0, fault.Newf(fault.BadParameter, "zone must be a time zone like Europe/Berlin.").OnField("zone")
		}
	}
	now := v.now().Time().In(zone)
	day := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, zone)
	if s := p[param]; s != "" {
		day, err = time.ParseInLocation(time.DateOnly, s, zone)
		if err != nil || day.Year() < 1900 || day.Year() > 9000 {
			return 0, 0, fault.Newf(fault.BadParameter, "%s must be a date like 2026-01-31.", param).OnField(param)
		}
	}
	return ident.MillisOf(day), ident.MillisOf(day.AddDate(0, 0, n)), nil
}

// body is a request's body: its members, and what was said of when.
type body struct {
	fields command.Object
	raw    []byte
	at     ident.Millis // put right; 0 where nothing was said
}

// take removes a member and decodes it; ok is false where it is absent or null.
func (b *body) take(name string, into any) (ok bool, err error) {
	raw, ok := b.fields[name]
	delete(b.fields, name)
	if !ok || bytes.Equal(raw, []byte("null")) {
		return false, nil
	}
	if json.Unmarshal(raw, into) != nil {
		return false, fault.Newf(fault.BadValue, "%s has another form.", name).OnField(name)
	}
	return true, nil
}

// members reads the body, one JSON object; optional allows none. at and now are
// taken from it: what happened at a time on the phone is put right by what the
// phone takes for now, in the body or the header.
func members(c *fiber.Ctx, caller *edge.Caller, optional bool) (*body, error) {
	out := &body{fields: command.Object{}}
	if !optional || len(c.Request().Body()) > 0 {
		raw, err := edge.Body(c)
		if err != nil {
			return nil, err
		}
		out.raw = bytes.Clone(raw)
		fields, err := strictjson.Object(out.raw)
		if err != nil {
			return nil, err
		}
		for _, f := range fields {
			out.fields[f.Key] = f.Raw
		}
	}
	at, told, err := out.instant("at")
	if err != nil {
		return nil, err
	}
	now, corrected, err := out.instant("now")
	if err != nil {
		return nil, err
	}
	if h := c.Get(mobile.HeaderNow); h != "" && !corrected {
		if now, err = instant(mobile.HeaderNow, h); err != nil {
			return nil, err
		}
		corrected = true
	}
	if told {
		out.at = at
		if corrected {
			out.at += caller.Tenant.Now() - now
		}
		out.at = max(out.at, 1)
	}
	return out, nil
}

func (b *body) instant(name string) (ident.Millis, bool, error) {
	var s string
	ok, err := b.take(name, &s)
	if err != nil || !ok {
		return 0, false, err
	}
	at, err := instant(name, s)
	return at, true, err
}

func instant(name, s string) (ident.Millis, error) {
	t, err := time.Parse(time.RFC3339Nano, s)
	if t = t.UTC(); err != nil || t.Year() < 1970 || t.Year() > 9999 {
		return 0, fault.Newf(fault.BadValue, "%s must be a time like 2026-01-31T08:00:00Z.", name).OnField(name)
	}
	return ident.MillisOf(t), nil
}

// ifMatch reads an If-Match header: one rev, quoted as the ETag is or bare; ""
// for none and for "*", since what is not there is refused anyway.
func ifMatch(c *fiber.Ctx) (string, error) {
	rev := strings.TrimSpace(c.Get(fiber.HeaderIfMatch))
	if rev == "" || rev == "*" {
		return "", nil
	}
	if len(rev) >= 2 && rev[0] == '"' && rev[len(rev)-1] == '"' {
		rev = rev[1 : len(rev)-1]
	}
	if rev == "" || strings.ContainsAny(rev, `", `) || len(rev) > 100 {
		return "", fault.Newf(fault.BadParameter, "If-Match takes one rev, as the ETag has it, or *.").OnField(fiber.HeaderIfMatch)
	}
	return rev, nil
}

// idempotency reads the Idempotency-Key and names the request it came with. The
// time of the phone is no part of that: a repetition is sent later.
func idempotency(c *fiber.Ctx, b *body) (string, []byte, error) {
	key := strings.TrimSpace(c.Get(headerKey))
	if key == "" {
		return "", nil, nil
	}
	if len(key) > maxKeyLength || strings.ContainsFunc(key, func(r rune) bool { return r < ' ' || r > '~' }) {
		return "", nil, fault.Newf(fault.BadParameter, "An idempotency key is up to %d printable ASCII characters.", maxKeyLength).OnField(headerKey)
	}
	rest, err := json.Marshal(b.fields)
	if err != nil {
		return "", nil, err
	}
	if rest, err = strictjson.Canonical(rest); err != nil {
		return "", nil, err
	}
	h := sha256.New()
	for _, part := range []string{c.Method(), c.Path()} {
		h.Write([]byte(part))
		h.Write([]byte{0})
	}
	h.Write(rest)
	return key, h.Sum(nil), nil
}

func sendJSON(c *fiber.Ctx, status int, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return edge.JSON(c, status, raw)
}
