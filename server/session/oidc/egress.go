package oidc

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"syscall"
	"time"
)

// Bounds of a request to a provider.
const (
	dialTimeout = 5 * time.Second
	callTimeout = 10 * time.Second
	maxAnswer   = 1 << 20 // bytes
	maxHeaders  = 64 << 10
)

// errAddress says that a host's address is none to send requests to.
var errAddress = errors.New("oidc: the address is not public")

// reserved are networks that no provider is in unless the configuration says
// so, beside those that netip tells: what means this network, shared address
// space, protocol assignments, documentation, benchmarks, the reserved class,
// and what translates into IPv4, behind which any of these may stand.
var reserved = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("192.88.99.0/24"), netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("100::/64"),
	netip.MustParsePrefix("2001::/23"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("2002::/16"),
	netip.MustParsePrefix("3fff::/20"), netip.MustParsePrefix("5f00::/16"), netip.MustParsePrefix("fec0::/10"), netip.MustParsePrefix("::/96"),
}

func public(a netip.Addr) bool {
	if !a.IsValid() || !a.IsGlobalUnicast() || a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsMulticast() {
		return false
	}
	for _, p := range reserved {
		if p.Contains(a) {
			return false
		}
	}
	return true
}

// dials reports whether a connection to the address may be made. It is asked
// with the address that the connection is made to, after its name was looked
// up: what a name meant a moment ago is nobody's guarantee.
func (c *Config) dials(address string, ports map[uint16]bool) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %w", errAddress, err)
	}
	a := ap.Addr().Unmap()
	if c.AllowLoopbackHTTP && a.IsLoopback() {
		return nil
	}
	if !ports[ap.Port()] {
		return fmt.Errorf("%w: port %d", errAddress, ap.Port())
	}
	for _, p := range c.AllowAddresses {
		if p.Contains(a) {
			return nil
		}
	}
	if !public(a) {
		return errAddress
	}
	return nil
}

// egress makes the client for requests to one provider: by https, to public
// addresses, on 443 or the issuer's own port, through no proxy, following no
// redirect, with bounds on time and size.
func (c *Config) egress() *http.Client {
	ports := map[uint16]bool{443: true}
	if u, err := url.Parse(c.Issuer); err == nil && u.Port() != "" {
		if n, err := strconv.ParseUint(u.Port(), 10, 16); err == nil {
			ports[uint16(n)] = true
		}
	}
	d := &net.Dialer{
		Timeout: dialTimeout,
		Control: func(_, address string, _ syscall.RawConn) error { return c.dials(address, ports) },
	}
	return &http.Client{
		Timeout:       callTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &bounded{c, &http.Transport{
			DialContext: d.DialContext, TLSHandshakeTimeout: dialTimeout, ResponseHeaderTimeout: callTimeout,
			MaxResponseHeaderBytes: maxHeaders, DisableCompression: true, DisableKeepAlives: true, ForceAttemptHTTP2: true,
		}},
	}
}

// bounded sends a provider's requests, and ends answers that are too long.
type bounded struct {
	cfg  *Config
	next http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (b *bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := b.cfg.reachable(r.URL); err != nil {
		return nil, err
	}
	res, err := b.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	res.Body = &shortBody{res.Body, maxAnswer}
	return res, nil
}

type shortBody struct {
	io.ReadCloser
	left int64
}

// errLong says that an answer has more than maxAnswer bytes.
var errLong = errors.New("oidc: the answer is too long")

// Read implements io.Reader.
func (b *shortBody) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, errLong
	}
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return n, errLong
	}
	return n, err
}
