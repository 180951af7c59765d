package oidc

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// Config is what a tenant says of its identity provider.
type Config struct {
	// Issuer is the provider's address exactly as it names itself.
	Issuer   string `json:"issuer"`
	ClientID string `json:"clientId"`
	// ClientSecret is "" for a public client, which PKCE alone protects.
	ClientSecret string `json:"clientSecret,omitempty"`
	// RedirectURIs are the addresses of apps that a sign-in may end at, to the
	// letter. For http://127.0.0.1/… and http://[::1]/… the port is the app's
	// choice (RFC 8252, 7.3).
	RedirectURIs []string `json:"redirectUris"`
	// Scopes are asked for beside openid; email where there are none.
	Scopes []string `json:"scopes,omitempty"`
	// SubjectClaim and EmailClaim name the claims that identify a person and
	// tell the address; sub and email where they are "".
	SubjectClaim string `json:"subjectClaim,omitempty"`
	EmailClaim   string `json:"emailClaim,omitempty"`
	// EmailDomains are the only domains of verified addresses to be let in;
	// none for any.
	EmailDomains []string `json:"emailDomains,omitempty"`
	// Algorithms are those that ID tokens may be signed with; RS256, ES256,
	// PS256 and EdDSA where there are none.
	Algorithms []string `json:"algorithms,omitempty"`
	// AllowAddresses are networks that the provider may stand in although they
	// are not public.
	AllowAddresses []netip.Prefix `json:"allowAddresses,omitempty"`
	// AllowLoopbackHTTP lets a provider on this machine be reached without TLS:
	// for trying things out.
	AllowLoopbackHTTP bool `json:"allowLoopbackHttp,omitempty"`
}

// String hides the secret.
func (c Config) String() string { return fmt.Sprintf("oidc.Config(%s)", c.Issuer) }

// GoString hides the secret.
func (c Config) GoString() string { return c.String() }

var (
	defaultAlgorithms = []string{"RS256", "ES256", "PS256", "EdDSA"}
	allAlgorithms     = []string{"RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "EdDSA"}
)

// complete fills in what was left out and judges the rest.
func (c Config) complete() (Config, error) {
	u, err := url.Parse(c.Issuer)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.ContainsAny(c.Issuer, " \t\r\n") {
		return c, fmt.Errorf("oidc: issuer %q is no address", c.Issuer)
	}
	if err := c.reachable(u); err != nil {
		return c, err
	}
	if len(c.Issuer) > maxIssuer {
		return c, fmt.Errorf("oidc: the issuer has more than %d characters", maxIssuer)
	}
	if c.ClientID == "" {
		return c, errors.New("oidc: clientId is missing")
	}
	if len(c.RedirectURIs) == 0 {
		return c, errors.New("oidc: redirectUris is empty: no app could use the sign-in")
	}
	for _, r := range c.RedirectURIs {
		if err := checkRedirect(r); err != nil {
			return c, err
		}
	}
	for i, d := range c.EmailDomains {
		c.EmailDomains[i] = strings.ToLower(strings.TrimPrefix(d, "@"))
		if c.EmailDomains[i] == "" || strings.ContainsAny(d, " *") {
			return c, fmt.Errorf("oidc: %q is no e-mail domain", d)
		}
	}
	for _, a := range c.Algorithms {
		if !slices.Contains(allAlgorithms, a) {
			return c, fmt.Errorf("oidc: %q is no algorithm to sign ID tokens with; there are %s", a, strings.Join(allAlgorithms, ", "))
		}
	}
	if len(c.Algorithms) == 0 {
		c.Algorithms = defaultAlgorithms
	}
	if len(c.Scopes) == 0 {
		c.Scopes = []string{"email"}
	}
	if c.SubjectClaim == "" {
		c.SubjectClaim = "sub"
	}
	if c.EmailClaim == "" {
		c.EmailClaim = "email"
	}
	return c, nil
}

// maxIssuer and maxSubject bound what a person's tie to an account is made of,
// in bytes.
const (
	maxIssuer  = 300
	maxSubject = 255
)

// reachable refuses addresses that no request is sent to.
func (c *Config) reachable(u *url.URL) error {
	switch {
	case u.Scheme == "https" && u.Hostname() != "" && u.User == nil:
		return nil
	case u.Scheme == "http" && c.AllowLoopbackHTTP && loopback(u.Hostname()) && u.User == nil:
		return nil
	}
	return fmt.Errorf("oidc: %s://%s is not reached by https", u.Scheme, u.Host)
}

// loopback reports whether a host is an address of this machine; a name is
// none, since it may come to mean anything.
func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback()
}

// checkRedirect refuses addresses that nobody should be sent to.
func checkRedirect(r string) error {
	u, err := url.Parse(r)
	if err != nil || len(r) > maxRedirect || u.Fragment != "" || strings.Contains(r, "#") || u.User != nil || strings.ContainsAny(r, " \t\r\n\\") {
		return fmt.Errorf("oidc: redirect URI %q can't be used", r)
	}
	switch {
	case u.Scheme == "https" && u.Host != "":
		return nil
	case u.Scheme == "http" && loopback(u.Hostname()):
		return nil
	case strings.Contains(u.Scheme, ".") && u.Host == "":
		return nil // an app's own scheme, named after a domain (RFC 8252, 7.1)
	}
	return fmt.Errorf("oidc: redirect URI %q: https://…, http://127.0.0.1/…, http://[::1]/… or com.example.app:/…", r)
}

const maxRedirect = 300

// allows reports whether a sign-in may end at the address.
func (c *Config) allows(r string) bool {
	if len(r) > maxRedirect+6 {
		return false
	}
	for _, have := range c.RedirectURIs {
		if have == r || withPort(have, r) {
			return true
		}
	}
	return false
}

// withPort reports whether r is the loopback address have with some port.
func withPort(have, r string) bool {
	for _, host := range []string{"http://127.0.0.1", "http://[::1]"} {
		path, ok := strings.CutPrefix(have, host)
		if !ok || path != "" && path[0] != '/' && path[0] != '?' { // it has a port already
			continue
		}
		rest, ok := strings.CutPrefix(r, host+":")
		if !ok {
			continue
		}
		port, ok := strings.CutSuffix(rest, path)
		if ok && validPort(port) {
			return true
		}
	}
	return false
}

func validPort(s string) bool {
	n := 0
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
		n = n*10 + int(c-'0')
		if n > 65535 {
			return false
		}
	}
	return n > 0 && s[0] != '0'
}
