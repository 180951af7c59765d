package badinput

import (
	"slices"
	"testing"
	"time"

	"satchel/internal/fault"
)

// least is how many requests the corpus has at least.
const least = 5_000

// TestBadRequests sends the corpus. Everything in it is refused by name, and
// nothing of it is left behind.
func TestBadRequests(t *testing.T) {
	w := newWorld(t)
	c := &corpus{w: w}
	homes := c.homes()
	c.fields(homes)
	c.arguments(homes)
	c.every(homes)
	c.queries(homes)
	c.changes(homes)
	c.broken()
	c.members()
	c.syncing()
	c.uploads()
	c.addresses()
	if len(c.list) < least {
		t.Errorf("only %d requests", len(c.list))
	}
	met := map[string]int{}
	for _, r := range c.list {
		met[r.route]++
	}
	for _, r := range c.routes(homes) {
		if met[r.pattern] < 2 && !slices.Contains(open, r.pattern) {
			t.Errorf("%s %s is asked %d times", r.method, r.pattern, met[r.pattern])
		}
	}

	before, start := w.digest(), time.Now()
	seen := c.run(t)
	took := time.Since(start)
	if diff := differences(before, w.digest()); len(diff) > 0 {
		t.Errorf("left behind in %v", diff)
	}
	c.report(t, seen)
	t.Logf("%d requests in %v", len(c.list), took.Round(time.Millisecond))
	if seen[fault.InternalError] > 0 || w.panics.Load() > 0 {
		t.Errorf("%d internal errors, %d panics", seen[fault.InternalError], w.panics.Load())
	}

	// The control: one good request is answered, and changes what the digest is
	// of.
	at := w.position()
	a, err := w.send(&request{method: "PATCH", path: "/v1/service/jobs/job-acme-1", body: []byte(`{"title":"Changed"}`), token: w.token})
	if err != nil || a.status != 200 {
		t.Fatalf("a good request: %v %v", a, err)
	}
	if diff := differences(before, w.digest()); !slices.Contains(diff, "records") || w.touched(at) == 0 {
		t.Errorf("a good request changed only %v, and %d records by the change index", diff, w.touched(at))
	}
}
