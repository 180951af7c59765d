// Package totp makes and checks the codes of authenticator apps (RFC 6238, six
// digits, HMAC-SHA-1, steps of 30 seconds: what every such app does) and the
// recovery codes for whoever lost theirs. It reads no clock and remembers
// nothing: that a code is good once is for the core to see to, which is told
// the step that a code is of. The session edge imports it.
package totp

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"net/url"
	"strings"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"

	"satchel/internal/ident"
)

// Step is how long a code is shown, in milliseconds.
const Step ident.Millis = 30_000

// window is how many steps before and after the present one are taken too: a
// phone's clock is not quite right, and typing takes a while.
const window = 1

const digits = 6

// SecretSize is the length of a secret in bytes: as long as the hash, as RFC
// 4226 recommends.
const SecretSize = 20

// Secret is what an authenticator app and the server share. Printing one shows
// nothing.
type Secret struct{ text string }

var base32Text = base32.StdEncoding.WithPadding(base32.NoPadding)

// New makes a random secret.
func New() Secret {
	var raw [SecretSize]byte
	rand.Read(raw[:]) // never fails: it would end the process
	return Secret{base32Text.EncodeToString(raw[:])}
}

// Parse reads the bytes of a secret; ok is false where there are not
// SecretSize.
func Parse(raw []byte) (s Secret, ok bool) {
	if len(raw) != SecretSize {
		return s, false
	}
	return Secret{base32Text.EncodeToString(raw)}, true
}

// Bytes returns the secret's bytes.
func (s Secret) Bytes() []byte {
	raw, err := base32Text.DecodeString(s.text)
	if err != nil { // it was made by encoding
		panic("totp: not a secret")
	}
	return raw
}

// Text returns the secret as people type it into their app: 32 characters of
// base32.
func (s Secret) Text() string { return s.text }

// URI returns the secret as apps scan it, with the names that the app shows.
func (s Secret) URI(issuer, account string) string {
	escape := func(t string) string { return strings.ReplaceAll(url.QueryEscape(t), "+", "%20") } // apps read no + as a space
	plain := strings.NewReplacer(":", " ")                                                        // which parts the two names
	return fmt.Sprintf("otpauth://totp/%s:%s?secret=%s&issuer=%s&algorithm=SHA1&digits=%d&period=%d",
		escape(plain.Replace(issuer)), escape(plain.Replace(account)), s.text, escape(issuer), digits, Step/1000)
}

// String hides the secret.
func (Secret) String() string { return "totp.Secret" }

// GoString hides the secret.
func (Secret) GoString() string { return "totp.Secret" }

// Match reports whether code is the secret's at the instant or up to one step
// before or after, and the number of the step that it is of; the latest where
// several have it. Spaces within the code don't count.
func (s Secret) Match(code string, at ident.Millis) (step int64, ok bool) {
	code = strings.ReplaceAll(code, " ", "")
	now := int64(at / Step)
	opts := hotp.ValidateOpts{Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1}
	// All are tried, so that the time does not tell which it was.
	for n := now - window; n <= now+window; n++ {
		if n < 0 {
			continue
		}
		if good, err := hotp.ValidateCustom(code, uint64(n), s.text, opts); err == nil && good && allDigits(code) {
			step, ok = n, true
		}
	}
	return step, ok
}

func allDigits(s string) bool {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(s) == digits
}

// Recoveries is how many recovery codes a person is given.
const Recoveries = 10

// recoverySize is the length of a recovery code in bytes: too long to be found
// from its digest by trying.
const recoverySize = 10

var lower32 = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// NewRecovery makes Recoveries recovery codes, each four groups of four
// characters, as abcd-efgh-ijkl-mnop.
func NewRecovery() []string {
	out := make([]string, Recoveries)
	for i := range out {
		var raw [recoverySize]byte
		rand.Read(raw[:])
		c := lower32.EncodeToString(raw[:])
		out[i] = c[:4] + "-" + c[4:8] + "-" + c[8:12] + "-" + c[12:]
	}
	return out
}

// RecoveryDigest returns what is stored of a recovery code: SHA-256 of its
// sixteen characters. Capitals, spaces and hyphens don't count; ok is false
// where it is no recovery code at all.
func RecoveryDigest(code string) (digest []byte, ok bool) {
	code = strings.ToLower(strings.NewReplacer("-", "", " ", "").Replace(code))
	if raw, err := lower32.DecodeString(code); err != nil || len(raw) != recoverySize || len(code) != lower32.EncodedLen(recoverySize) {
		return nil, false
	}
	sum := sha256.Sum256([]byte(code))
	return sum[:], true
}
