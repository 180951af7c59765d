package rest_test

import (
	"sync"
	"testing"

	. "satchel/internal/testworld" //nolint:revive // its names are people
)

// TestRefundsAtOnce: of what is open of a payment no more is paid back and
// allocated together than there is, however many do it at once.
func TestRefundsAtOnce(t *testing.T) {
	w := newWorld(t)
	const each = 300 // 30.00 are open of the payment
	var group sync.WaitGroup
	codes := make([]int, 24)
	for i := range codes {
		group.Add(1)
		go func() {
			defer group.Done()
			if i%2 == 0 {
				codes[i] = w.HTTP(DebtOps, "POST", payments+"/payment-acme-1/refund", Object("sum", eur(each))).Status
			} else {
				codes[i] = w.HTTP(DebtAdmin, "POST", payments+"/payment-acme-1/allocate", Object("invoice", "invoice-acme-2", "sum", eur(each))).Status
			}
		}()
	}
	group.Wait()
	did, refunded := 0, 0
	for i, code := range codes {
		switch {
		case code == 200:
			did++
			if i%2 == 0 {
				refunded++
			}
		case code != 422 && code != 409:
			t.Errorf("answered %d", code)
		}
	}
	if did != 10 {
		t.Errorf("%d were done, want 10", did)
	}
	worth(DebtOps, payments+"/payment-acme-1", "open", 0, "refunded", refunded*each, "allocated", 5000-refunded*each).take(t, w)
	worth(DebtOps, debts+"/invoice-acme-2", "open", 6000-(did-refunded)*each).take(t, w)
	sound().take(t, w)
}
