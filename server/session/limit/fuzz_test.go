package limit_test

import (
	"net/netip"
	"strings"
	"testing"

	"satchel/server/session/limit"
)

// FuzzClient: whatever a request says of where it comes from, it is counted for
// its own end of the connection unless that is a proxy that is trusted, and
// what a stranger invented before the last address never counts.
func FuzzClient(f *testing.F) {
	proxies := limit.Proxies{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	f.Add("203.0.113.9", "1.2.3.4")
	f.Add("10.0.0.1", "1.2.3.4, 5.6.7.8")
	f.Add("::ffff:10.0.0.1", "1.2.3.4, 10.1.1.1")
	f.Add("fd00::1", "[2001:db8::1%eth0]:443, fd00::2")
	f.Add("10.0.0.1", "unknown, ,,")
	f.Add("10.0.0.1", strings.Repeat("10.0.0.2,", 100)+"10.0.0.3")
	f.Fuzz(func(t *testing.T, peer, forwarded string) {
		at, err := netip.ParseAddr(peer)
		if err != nil {
			return
		}
		got := proxies.Client(at, []string{forwarded})
		if !got.IsValid() || limit.Site(got) == "" {
			t.Fatalf("%q %q is %v", peer, forwarded, got)
		}
		if !proxies.Trusts(at) && got != at.Unmap() {
			t.Fatalf("%q is believed that it is %v", peer, got)
		}
		// What is put before a chain that ends with a stranger changes nothing.
		if !proxies.Trusts(got) {
			if again := proxies.Client(at, []string{"198.51.100.77," + forwarded}); again != got && proxies.Client(at, []string{"198.51.100.78," + forwarded}) != again {
				t.Fatalf("%q %q is %v, with more before it %v", peer, forwarded, got, again)
			}
		}
		if site := limit.Site(got); got.Unmap().Is4() != !strings.Contains(site, ":") {
			t.Fatalf("%v is the site %q", got, site)
		}
	})
}
