// Package insecure holds the permit to hash passwords more cheaply than is
// safe. It exists so that the compiler, not a convention, keeps cheap hashing
// out of the server: only packages beneath server/session/password can import
// it, and passwordtest, which demands a testing.TB, is the one that does.
package insecure

// Permit allows parameters below the floor.
type Permit struct{}
