package tenant

import (
	"context"
	"errors"
	"testing"

	"satchel/internal/fault"
)

// TestEnqueue: a caller's patience counts where there is no room, and a tenant
// that ends takes nothing more although there is.
func TestEnqueue(t *testing.T) {
	tn := &Tenant{queue: make(chan *request, 1), quit: make(chan struct{})}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := tn.enqueue(over, &request{}); err != nil {
		t.Fatalf("with room: %v", err)
	}
	if err := tn.enqueue(over, &request{}); !fault.Is(err, fault.Busy) || !errors.Is(err, context.Canceled) {
		t.Errorf("without room: %v", err)
	}
	taken := make(chan error)
	go func() { taken <- tn.enqueue(t.Context(), &request{}) }()
	<-tn.queue
	if err := <-taken; err != nil {
		t.Errorf("once there is room: %v", err)
	}
	<-tn.queue
	close(tn.quit)
	if err := tn.enqueue(t.Context(), &request{}); !fault.Is(err, fault.ShuttingDown) || len(tn.queue) > 0 {
		t.Errorf("at the end: %v, %d taken", err, len(tn.queue))
	}
}
