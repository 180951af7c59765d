package oidc

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
)

// TestDials: which addresses a connection may be made to, told by the address
// itself at the time of the connection.
func TestDials(t *testing.T) {
	ports := map[uint16]bool{443: true, 8443: true}
	c := &Config{AllowAddresses: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}}
	for address, ok := range map[string]bool{
		"93.184.216.34:443": true, "93.184.216.34:8443": true, "[2606:2800:220:1:248:1893:25c8:1946]:443": true, "10.1.2.3:443": true, "[::ffff:10.1.2.3]:443": true,
		"93.184.216.34:80": false, "93.184.216.34:22": false, "10.1.2.3:22": false, "10.2.0.1:443": false, "127.0.0.1:443": false, "127.9.9.9:443": false,
		"[::1]:443": false, "[::ffff:127.0.0.1]:443": false, "[::127.0.0.1]:443": false, "169.254.169.254:443": false, "[fe80::1%eth0]:443": false,
		"192.168.1.1:443": false, "172.16.0.1:443": false, "[fd12::1]:443": false, "0.0.0.0:443": false, "[::]:443": false, "100.64.0.1:443": false,
		"224.0.0.1:443": false, "[ff02::1]:443": false, "255.255.255.255:443": false, "[64:ff9b::7f00:1]:443": false, "[2002:7f00:1::]:443": false,
		"198.18.0.1:443": false, "240.0.0.1:443": false, "idp.example.com:443": false, "": false,
	} {
		if err := c.dials(address, ports); (err == nil) != ok {
			t.Errorf("%s: %v", address, err)
		}
	}
	loop := &Config{AllowLoopbackHTTP: true}
	for address, ok := range map[string]bool{"127.0.0.1:1234": true, "[::1]:80": true, "10.0.0.1:443": false} {
		if err := loop.dials(address, ports); (err == nil) != ok {
			t.Errorf("with loopback %s: %v", address, err)
		}
	}
}

// TestRebinding: a name that means an address of this network when the
// connection is made is not connected to, whatever it meant before.
func TestRebinding(t *testing.T) {
	var reached atomic.Int32
	inside := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	defer inside.Close()
	_, port, err := net.SplitHostPort(inside.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"localhost", "127.0.0.1", "[::ffff:127.0.0.1]", "0x7f.1", "2130706433"} {
		c := Config{Issuer: "https://" + host + ":" + port}
		res, err := c.egress().Get(c.Issuer + "/.well-known/openid-configuration")
		if err == nil {
			_ = res.Body.Close()
		}
		// The last two are no addresses, and must not be taken for any.
		if err == nil || strings.HasPrefix(host, "local") && !errors.Is(err, errAddress) {
			t.Errorf("%s: %v", host, err)
		}
	}
	if reached.Load() != 0 {
		t.Error("a request came through")
	}
}

// TestRedirectsAreNotFollowed: what a provider points to is not asked, nor is a
// proxy of the environment.
func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	var reached atomic.Int32
	inside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	defer inside.Close()
	provider := httptest.NewServer(http.RedirectHandler(inside.URL+"/latest/meta-data", http.StatusFound))
	defer provider.Close()
	c := Config{Issuer: provider.URL, AllowLoopbackHTTP: true}
	res, err := c.egress().Get(provider.URL)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusFound || reached.Load() != 0 {
		t.Errorf("%d, reached %d times", res.StatusCode, reached.Load())
	}
}
