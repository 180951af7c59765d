// Package passwordtest makes password hashers that are fast enough for tests
// and far too weak for anything else. Only tests may import it.
package passwordtest

import (
	"testing"

	"satchel/server/session/password"
	"satchel/server/session/password/internal/insecure"
)

// New returns a Hasher that takes well under a millisecond a password, eight
// at once. It
// demands a testing.TB, which nothing but the testing package can make.
func New(tb testing.TB) *password.Hasher {
	tb.Helper()
	return password.NewBelowFloor(insecure.Permit{}, password.Params{Memory: 8, Time: 1, Threads: 1}, 8)
}
