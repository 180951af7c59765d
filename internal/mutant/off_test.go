//go:build !satchel_mutants

package mutant

import "testing"

// TestNothingIsPlanted: the product has no fault and may serve, whatever the
// environment says.
func TestNothingIsPlanted(t *testing.T) {
	t.Setenv("SATCHEL_MUTANT", "policy/skip-mask")
	for id := range end {
		if On(id) {
			t.Errorf("fault %d is planted", id)
		}
	}
	if err := Refuse(); err != nil {
		t.Error(err)
	}
}
