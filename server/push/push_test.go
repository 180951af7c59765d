package push

import (
	"net/http"
	"testing"
	"time"
)

func TestBackoffGrowsAndIsBounded(t *testing.T) {
	for _, r := range []float64{0, 0.5, 0.999} {
		b := NewBackoff(10*time.Second, time.Hour, func() float64 { return r })
		last := time.Duration(0)
		for n := range 80 {
			full := time.Hour
			if n < 9 {
				full = min(full, 10*time.Second<<n)
			}
			d := b.After(n, 0)
			if d < full/2 || d > full {
				t.Fatalf("attempt %d, random %v: %v is outside [%v, %v]", n, r, d, full/2, full)
			}
			if d < last {
				t.Fatalf("attempt %d: %v after %v", n, d, last)
			}
			last = d
		}
	}
}

func TestBackoffNeverUndercutsWhatItWasTold(t *testing.T) {
	b := NewBackoff(time.Minute, time.Hour, func() float64 { return 0.5 })
	if d := b.After(7, 2*time.Second); d < 2*time.Second || d > 2200*time.Millisecond {
		t.Errorf("told 2 s: %v", d)
	}
	if d := b.After(0, 1000*time.Hour); d > 27*time.Hour {
		t.Errorf("a carrier can send us away for %v", d)
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2025, 3, 1, 12, 0, 0, 0, time.UTC)
	for v, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, " 7 ": 7 * time.Second, "0": 0, "-3": 0, "soon": 0, "1.5": 0,
		"99999999999999999999": 0, "4000000000": longestTold,
		now.Add(90 * time.Second).Format(http.TimeFormat): 90 * time.Second,
		now.Add(-time.Hour).Format(http.TimeFormat):       0,
	} {
		if got := RetryAfter(http.Header{"Retry-After": {v}}, now); got != want {
			t.Errorf("%q: %v, want %v", v, got, want)
		}
	}
}

func TestKindsHaveNames(t *testing.T) {
	for k, want := range map[Kind]string{Sent: "sent", Retry: "retry", Dead: "dead", Rejected: "rejected", 0: "unknown"} {
		if k.String() != want {
			t.Errorf("%d: %s", k, k)
		}
	}
}
