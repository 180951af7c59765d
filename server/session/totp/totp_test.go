package totp_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"satchel/internal/ident"
	"satchel/server/session/totp"
)

// reference is the secret of RFC 6238, appendix B.
func reference(t *testing.T) totp.Secret {
	t.Helper()
	s, ok := totp.Parse([]byte("12345678901234567890"))
	if !ok {
		t.Fatal("the reference secret is none")
	}
	return s
}

// TestVectors: the codes of RFC 6238, their last six digits.
func TestVectors(t *testing.T) {
	s := reference(t)
	for at, code := range map[ident.Millis]string{
		59: "287082", 1111111109: "081804", 1111111111: "050471", 1234567890: "005924", 2000000000: "279037", 20000000000: "353130",
	} {
		if step, ok := s.Match(code, at*1000); !ok || step != int64(at/30) {
			t.Errorf("%s at %d: step %d, %v", code, at, step, ok)
		}
	}
}

// TestWindow: a code is taken in its own step and the ones beside it, and says
// which step it is of.
func TestWindow(t *testing.T) {
	s := reference(t)
	const code, step = "081804", int64(1111111109 / 30)
	begin := ident.Millis(step) * totp.Step
	for at, want := range map[ident.Millis]bool{
		begin - totp.Step - 1: false, begin - totp.Step: true, begin: true, begin + totp.Step - 1: true,
		begin + 2*totp.Step - 1: true, begin + 2*totp.Step: false, 0: false,
	} {
		if got, ok := s.Match(code, at); ok != want || ok && got != step {
			t.Errorf("at %+d ms: %v, step %d", at-begin, ok, got)
		}
	}
}

func TestNoCodes(t *testing.T) {
	s := reference(t)
	const at = 1111111109 * 1000
	for _, code := range []string{
		"", "0", "81804", "0818040", "081805", "08180a", "-81804", "+81804", "０８１８０４", "081804\n", strings.Repeat("081804", 100),
	} {
		if _, ok := s.Match(code, at); ok {
			t.Errorf("%q is taken", code)
		}
	}
	if _, ok := s.Match("081 804", at); !ok {
		t.Error("a code as apps show it is refused")
	}
}

func TestSecret(t *testing.T) {
	s := totp.New()
	if again, ok := totp.Parse(s.Bytes()); !ok || again != s {
		t.Error("a secret does not come back")
	}
	if s == totp.New() {
		t.Error("two secrets are one")
	}
	for _, n := range []int{0, totp.SecretSize - 1, totp.SecretSize + 1} {
		if _, ok := totp.Parse(make([]byte, n)); ok {
			t.Errorf("%d bytes are a secret", n)
		}
	}
	if len(s.Text()) != 32 || strings.Contains(fmt.Sprintf("%v %+v %#v %s", s, s, s, s), s.Text()) {
		t.Error("printing shows the secret")
	}
	u, err := url.Parse(s.URI("Acme: tools & more", "eve+x@example.com"))
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	if u.Scheme != "otpauth" || u.Host != "totp" || u.Path != "/Acme  tools & more:eve+x@example.com" ||
		q.Get("secret") != s.Text() || q.Get("issuer") != "Acme: tools & more" || q.Get("period") != "30" || q.Get("digits") != "6" {
		t.Errorf("%s", u)
	}
}

func TestRecovery(t *testing.T) {
	codes := totp.NewRecovery()
	seen := map[string]bool{}
	for _, c := range codes {
		d, ok := totp.RecoveryDigest(c)
		if !ok || len(d) != 32 || seen[string(d)] {
			t.Fatalf("%s: %x %v", c, d, ok)
		}
		seen[string(d)] = true
		typed, ok := totp.RecoveryDigest(" " + strings.ToUpper(strings.ReplaceAll(c, "-", " ")))
		if !ok || string(typed) != string(d) {
			t.Errorf("%s typed in capitals is another", c)
		}
	}
	if len(seen) != totp.Recoveries {
		t.Errorf("%d codes", len(seen))
	}
	for _, c := range []string{"", "abcd", "081804", codes[0] + "a", codes[0][:18], "abcd-efgh-ijkl-mno1", strings.Repeat("a", 10_000)} {
		if _, ok := totp.RecoveryDigest(c); ok {
			t.Errorf("%.30q is a recovery code", c)
		}
	}
}
