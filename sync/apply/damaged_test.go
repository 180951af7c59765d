package apply_test

import (
	"errors"
	"fmt"
	"testing"

	"satchel/internal/entity"
	"satchel/sync/apply"
	"satchel/sync/bits"
	"satchel/sync/state"
	"satchel/sync/store"
)

// TestWhatIsDamage: whatever part of a store finds that it is damaged, the tenant has to
// stop; nothing else that panics or fails means that.
func TestWhatIsDamage(t *testing.T) {
	for _, err := range []error{state.ErrDamaged, entity.ErrCorrupt, bits.ErrCorrupt, store.ErrCorrupt} {
		if !apply.Damaged(fmt.Errorf("found: %w", err)) {
			t.Errorf("%v is no damage", err)
		}
	}
	for _, p := range []any{errors.New("a fault of the program"), store.ErrDiskFull, "text", nil} {
		if apply.Damaged(p) {
			t.Errorf("%v is damage", p)
		}
	}
}
