package limit

import (
	"net/netip"
	"strings"
)

// Proxies are the addresses of the proxies in front of this server, whose word
// about where a request comes from is taken. None is trusted by default.
type Proxies []netip.Prefix

// Trusts reports whether the address is one of theirs.
func (ps Proxies) Trusts(a netip.Addr) bool {
	a = a.Unmap()
	for _, p := range ps {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// maxHops bounds how many addresses of a forwarding chain are looked at.
const maxHops = 32

// Client returns where a request comes from: peer, the other end of the
// connection, or, where that is a trusted proxy, the last address of the
// X-Forwarded-For chain that no trusted proxy has. forwarded are the values of
// that header in the order they came. What stands before an address that is
// not trusted is its sender's invention and not looked at.
func (ps Proxies) Client(peer netip.Addr, forwarded []string) netip.Addr {
	at := peer.Unmap()
	hops := strings.Split(strings.Join(forwarded, ","), ",")
	for i := len(hops) - 1; i >= 0 && i >= len(hops)-maxHops && ps.Trusts(at); i-- {
		a, ok := parseHop(strings.TrimSpace(hops[i]))
		if !ok {
			break
		}
		at = a
	}
	return at
}

// parseHop reads an address, with or without a port.
func parseHop(s string) (netip.Addr, bool) {
	if a, err := netip.ParseAddr(s); err == nil {
		return a.WithZone("").Unmap(), true
	}
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().WithZone("").Unmap(), true
	}
	return netip.Addr{}, false
}

// Site returns what is limited as one: an IPv4 address, or the /64 that one
// subscriber has of IPv6.
func Site(a netip.Addr) string {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.String()
		}
	}
	return a.String()
}
