package rest

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestPatience: the time of a write that has to wait begins when it is asked
// for, and a write that need not wait starts no timer.
func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		p := patience{Context: context.Background(), wait: 3 * time.Second}
		time.Sleep(time.Hour)
		if err := p.Err(); err != nil {
			t.Fatalf("before it was asked: %v", err)
		}
		p.end() // has nothing to end
		done := p.Done()
		if p.Done() != done {
			t.Error("asked again it begins anew")
		}
		<-done
		if took := time.Since(start) - time.Hour; took != 3*time.Second || !errors.Is(p.Err(), context.DeadlineExceeded) {
			t.Errorf("after %v: %v", took, p.Err())
		}
		p.end()
		q := patience{Context: context.Background(), wait: time.Hour}
		done = q.Done()
		q.end()
		select {
		case <-done:
		default:
			t.Error("its timer outlives it")
		}
	})
}
