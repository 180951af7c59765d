//go:build !satchel_mutants

package mutant

// On reports whether the fault is planted. In the product none is.
func On(ID) bool { return false }

// Refuse returns an error where the build is one that must not serve: nil in
// the product.
func Refuse() error { return nil }
