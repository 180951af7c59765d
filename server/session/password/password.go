// Package password turns passwords into argon2id hashes and checks them. It
// exists so that one place decides what a hash costs, how many are computed at
// once (each takes 19 MiB and a core for some 30 ms, so a rush of sign-ins
// must queue rather than exhaust the machine), and that a sign-in takes the
// same time whether the person exists or not. The session edge, administrator
// actions and the operators' commands may import it; apply must not: hashing
// happens before a command is proposed, and the command carries the result.
package password

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"

	"satchel/internal/fault"
	"satchel/server/session/password/internal/insecure"
)

// Params is what a hash costs.
type Params struct {
	Memory  uint32 // KiB
	Time    uint32 // passes over the memory
	Threads uint8  // lanes
}

// Default is the least that Satchel takes: 19 MiB, two passes, one lane.
var Default = Params{Memory: 19 * 1024, Time: 2, Threads: 1}

// Bounds of a stored hash. Whoever could write one must not be able to make
// the server spend without limit on reading it.
const (
	maxMemory  = 256 * 1024 // KiB
	maxTime    = 16
	maxThreads = 16
	minSalt    = 8  // bytes
	minKey     = 16 // bytes
	maxLength  = 64 // bytes, of either

	saltLength = 16 // bytes, of what Hash makes
	keyLength  = 32 // bytes
)

// The length of a password that may be chosen, in characters.
const (
	MinCharacters = 8
	MaxCharacters = 256
)

// maxBytes is the longest password that is looked at: MaxCharacters of four
// bytes each.
const maxBytes = 4 * MaxCharacters

// Hasher hashes and verifies passwords, so many at once. It is safe for
// concurrent use.
type Hasher struct {
	params Params
	slots  chan struct{}
	dummy  parsed
}

// New makes a Hasher that works at no less than Default; parallel is how many
// hashes are computed at once, 0 for as many as there are cores. Parameters
// below the floor or beyond what Verify would read are an error.
func New(p Params, parallel int) (*Hasher, error) {
	if p.Memory < Default.Memory || p.Time < Default.Time || p.Threads < 1 {
		return nil, fmt.Errorf("password: m=%d,t=%d,p=%d is weaker than m=%d,t=%d,p=1", p.Memory, p.Time, p.Threads, Default.Memory, Default.Time)
	}
	if !p.bounded() {
		return nil, fmt.Errorf("password: m=%d,t=%d,p=%d is more than a stored hash may cost", p.Memory, p.Time, p.Threads)
	}
	return newHasher(p, parallel), nil
}

// NewBelowFloor is New without the floor, for passwordtest: nothing else can
// make the permit.
func NewBelowFloor(_ insecure.Permit, p Params, parallel int) *Hasher { return newHasher(p, parallel) }

func newHasher(p Params, parallel int) *Hasher {
	if parallel <= 0 {
		parallel = runtime.GOMAXPROCS(0)
	}
	return &Hasher{
		params: p,
		slots:  make(chan struct{}, parallel),
		// Nothing hashes to zeros, so the dummy can't be matched.
		dummy: parsed{params: p, salt: make([]byte, saltLength), key: make([]byte, keyLength)},
	}
}

func (p Params) bounded() bool {
	return p.Time >= 1 && p.Time <= maxTime && p.Threads >= 1 && p.Threads <= maxThreads &&
		p.Memory >= 8*uint32(p.Threads) && p.Memory <= maxMemory
}

// Hash returns the hash of a password with a fresh random salt, as a PHC
// string: $argon2id$v=19$m=19456,t=2,p=1$<salt>$<hash>, base64 without
// padding. It waits for a turn as long as ctx allows (else fault.Busy, which
// unwraps to ctx's error). It doesn't judge the password; see Acceptable.
func (h *Hasher) Hash(ctx context.Context, pw string) (string, error) {
	if len(pw) > maxBytes {
		return "", tooLong()
	}
	salt := make([]byte, saltLength)
	rand.Read(salt) // never fails: it would end the process
	key, err := h.derive(ctx, pw, parsed{params: h.params, salt: salt, key: make([]byte, keyLength)})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.params.Memory, h.params.Time, h.params.Threads,
		b64.EncodeToString(salt), b64.EncodeToString(key)), nil
}

// Verify reports whether pw is the password that encoded was made from, and if
// so whether it should be hashed anew because the parameters have changed
// since. It waits for a turn as Hash does. An encoded string that is no
// argon2id hash within bounds is fault.InternalError: it was stored by us and
// nothing the caller sent is at fault.
func (h *Hasher) Verify(ctx context.Context, encoded, pw string) (ok, rehash bool, err error) {
	want, err := parse(encoded)
	if err != nil {
		return false, false, fault.New(fault.InternalError).Because(err)
	}
	ok, err = h.matches(ctx, want, pw)
	return ok, ok && (want.params != h.params || len(want.key) != keyLength || len(want.salt) != saltLength), err
}

// Dummy costs what Verify costs, and matches nothing. Call it where there is
// no such person, so that the time of the answer doesn't tell.
func (h *Hasher) Dummy(ctx context.Context, pw string) error {
	_, err := h.matches(ctx, h.dummy, pw)
	return err
}

func (h *Hasher) matches(ctx context.Context, want parsed, pw string) (bool, error) {
	long := len(pw) > maxBytes
	if long {
		pw = "" // can't be anybody's, but must cost the same
	}
	got, err := h.derive(ctx, pw, want)
	return err == nil && subtle.ConstantTimeCompare(got, want.key) == 1 && !long, err
}

// derive computes the key of pw under the parameters, salt and key length of
// like, when it is this caller's turn.
func (h *Hasher) derive(ctx context.Context, pw string, like parsed) ([]byte, error) {
	// A caller that is gone gets no turn, even when one is free.
	if err := ctx.Err(); err != nil {
		return nil, fault.New(fault.Busy).Because(err)
	}
	select {
	case h.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, fault.New(fault.Busy).Because(ctx.Err())
	}
	defer func() { <-h.slots }()
	return argon2.IDKey([]byte(pw), like.salt, like.params.Time, like.params.Memory, like.params.Threads, uint32(len(like.key))), nil
}

// parsed is a PHC string taken apart.
type parsed struct {
	params    Params
	salt, key []byte
}

var (
	b64 = base64.RawStdEncoding.Strict()

	errEncoding = errors.New("password: not an argon2id hash in PHC form")
	errCost     = errors.New("password: the hash's parameters are out of bounds")
)

// parse takes exactly what Hash writes, with any bounded parameters. It
// doesn't quote the string in errors, since they reach logs.
func parse(encoded string) (parsed, error) {
	const longest = 256
	var out parsed
	parts := strings.Split(encoded[:min(len(encoded), longest)], "$")
	if len(encoded) > longest || len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != "v=19" {
		return out, errEncoding
	}
	cost := strings.Split(parts[3], ",")
	if len(cost) != 3 {
		return out, errEncoding
	}
	var numbers [3]uint32
	for i, name := range [...]string{"m=", "t=", "p="} {
		digits, ok := strings.CutPrefix(cost[i], name)
		if !ok || digits == "" || digits[0] == '0' {
			return out, errEncoding
		}
		if len(digits) > 9 {
			return out, errCost
		}
		for _, c := range []byte(digits) {
			if c < '0' || c > '9' {
				return out, errEncoding
			}
			numbers[i] = numbers[i]*10 + uint32(c-'0')
		}
	}
	if numbers[2] > maxThreads {
		return out, errCost
	}
	out.params = Params{Memory: numbers[0], Time: numbers[1], Threads: uint8(numbers[2])}
	if !out.params.bounded() {
		return out, errCost
	}
	var err error
	if out.salt, err = b64.DecodeString(parts[4]); err != nil || len(out.salt) < minSalt || len(out.salt) > maxLength {
		return out, errEncoding
	}
	if out.key, err = b64.DecodeString(parts[5]); err != nil || len(out.key) < minKey || len(out.key) > maxLength {
		return out, errEncoding
	}
	// Decoding base64 skips line breaks; what was written has none.
	if strings.ContainsAny(encoded, "\r\n") {
		return out, errEncoding
	}
	return out, nil
}

func tooLong() error {
	return fault.Newf(fault.BadValue, "The password must have at most %d characters.", MaxCharacters).OnField("password")
}

// Acceptable judges a password that somebody wants to have: 8 to 256
// characters of valid UTF-8, not one character over and over, and none of those
// that are tried first. No other composition is demanded. The refusal is fault.BadValue on the field
// password; it never quotes the password.
func Acceptable(pw string) error {
	if len(pw) > maxBytes {
		return tooLong()
	}
	if !utf8.ValidString(pw) {
		return fault.Newf(fault.BadValue, "The password must be valid text.").OnField("password")
	}
	switch n := utf8.RuneCountInString(pw); {
	case n < MinCharacters:
		return fault.Newf(fault.BadValue, "The password must have at least %d characters.", MinCharacters).OnField("password")
	case n > MaxCharacters:
		return tooLong()
	}
	_, size := utf8.DecodeRuneInString(pw)
	if strings.Count(pw, pw[:size])*size == len(pw) {
		return fault.Newf(fault.BadValue, "The password can't be one character over and over.").OnField("password")
	}
	if guessed(pw) {
		return fault.Newf(fault.BadValue, "This password is among the first that are guessed. Take several words, for example.").OnField("password")
	}
	return nil
}
