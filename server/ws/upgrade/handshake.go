package upgrade

import (
	"encoding/base64"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/gofiber/fiber/v2"

	"satchel/internal/fault"
)

// checkHandshake returns a copy of the challenge key of a request that RFC
// 6455 lets be upgraded.
func checkHandshake(c *fiber.Ctx) (key string, err error) {
	h := &c.Request().Header
	refuse := func(status int, code fault.Code, words string) (string, error) {
		return "", &HandshakeError{Status: status, fault: fault.Newf(code, "%s", words)}
	}
	if string(h.Method()) != http.MethodGet {
		c.Set(fiber.HeaderAllow, http.MethodGet)
		return refuse(http.StatusMethodNotAllowed, fault.MethodNotAllowed, "A WebSocket is opened with GET.")
	}
	if !listed(h.PeekAll(fiber.HeaderConnection), "upgrade") || !listed(h.PeekAll(fiber.HeaderUpgrade), "websocket") {
		c.Set(fiber.HeaderUpgrade, "websocket")
		c.Set(fiber.HeaderConnection, "Upgrade")
		return refuse(http.StatusUpgradeRequired, fault.BadParameter, "This address speaks WebSocket only.")
	}
	if !h.IsHTTP11() {
		return refuse(http.StatusBadRequest, fault.BadParameter, "A WebSocket needs HTTP/1.1.")
	}
	if v := h.PeekAll(fiber.HeaderSecWebSocketVersion); len(v) != 1 || string(v[0]) != "13" {
		c.Set(fiber.HeaderSecWebSocketVersion, "13")
		return refuse(http.StatusUpgradeRequired, fault.BadParameter, "Only WebSocket version 13 is spoken.")
	}
	if n := h.Peek(fiber.HeaderContentLength); (len(n) != 0 && string(n) != "0") || len(h.Peek(fiber.HeaderTransferEncoding)) != 0 {
		// What fasthttp doesn't read as a body would be read as frames.
		c.Context().SetConnectionClose()
		return refuse(http.StatusBadRequest, fault.BadParameter, "A WebSocket handshake has no body.")
	}
	keys := h.PeekAll(fiber.HeaderSecWebSocketKey)
	if len(keys) != 1 {
		return refuse(http.StatusBadRequest, fault.BadParameter, "A WebSocket handshake has one Sec-WebSocket-Key.")
	}
	key = string(keys[0])
	if nonce, err := base64.StdEncoding.DecodeString(key); err != nil || len(nonce) != 16 {
		return refuse(http.StatusBadRequest, fault.BadParameter, "Sec-WebSocket-Key must be 16 bytes in base64.")
	}
	return key, nil
}

// tokenParameters are names under which clients put credentials into a URL,
// where proxies and logs would keep them; lower case, without separators.
var tokenParameters = map[string]bool{
	"token": true, "accesstoken": true, "refreshtoken": true, "idtoken": true, "bearer": true, "bearertoken": true, "authorization": true,
}

var separators = strings.NewReplacer("_", "", "-", "")

// checkQuery refuses credentials in the URL. The words don't quote them.
func checkQuery(c *fiber.Ctx) error {
	for key := range c.Context().QueryArgs().All() {
		if tokenParameters[separators.Replace(strings.ToLower(string(key)))] {
			return fault.Newf(fault.BadParameter, "A token must not stand in the URL: send it in the Authorization header or the first frame.")
		}
	}
	return nil
}

// checkOrigin lets in programs that are no browsers (no Origin header), pages
// of the host the request was sent to, and the allowed origins. The host is
// what the Host header says: forwarded ones anybody can write.
func (r *Registry) checkOrigin(c *fiber.Ctx) error {
	values := c.Request().Header.PeekAll(fiber.HeaderOrigin)
	if len(values) == 0 {
		return nil
	}
	if len(values) == 1 {
		if origin, ok := canonicalOrigin(string(values[0])); ok {
			if _, ok := r.origins[origin]; ok || sameOrigin(origin, string(c.Request().Header.Host()), c.Secure()) {
				return nil
			}
		}
	}
	return fault.New(fault.OriginRefused)
}

// sameOrigin compares a canonical origin with the host a request was sent to.
// Behind a proxy that ends TLS the request may look like plain HTTP, so only a
// request known to be secure rules the http origin out.
func sameOrigin(origin, host string, secure bool) bool {
	scheme, _, _ := strings.Cut(origin, "://")
	if scheme != "https" && (scheme != "http" || secure) {
		return false
	}
	own, ok := canonicalOrigin(scheme + "://" + host)
	return ok && own == origin
}

// canonicalOrigin brings an origin into the one form in which origins are
// compared: lower case, without the scheme's default port. It reports false
// for anything else, "null" and "*" among it.
func canonicalOrigin(s string) (string, bool) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme == "" || u.Hostname() == "" || u.User != nil || u.Opaque != "" ||
		u.Path != "" || u.RawQuery != "" || u.ForceQuery || strings.Contains(s, "#") || strings.ContainsAny(u.Host, "*%, ") {
		return "", false
	}
	host, port := strings.ToLower(u.Hostname()), u.Port()
	if strings.HasSuffix(u.Host, ":") {
		return "", false
	}
	bracketed := strings.HasPrefix(u.Host, "[")
	if _, err := netip.ParseAddr(host); bracketed && err != nil || !bracketed && strings.Contains(host, ":") {
		return "", false
	}
	if u.Scheme == "http" && port == "80" || u.Scheme == "https" && port == "443" {
		port = ""
	}
	switch {
	case port != "":
		host = net.JoinHostPort(host, port)
	case bracketed:
		host = "[" + host + "]"
	}
	return u.Scheme + "://" + host, true
}
