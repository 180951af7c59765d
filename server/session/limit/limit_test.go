package limit_test

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"satchel/server/session/limit"
)

type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

func start() *clock { return &clock{time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC)} }

func TestBuckets(t *testing.T) {
	c := start()
	b := limit.NewBuckets(limit.Rate{Burst: 3, Every: 10 * time.Second}, 100, c.now)
	k, other := limit.KeyOf("a"), limit.KeyOf("b")
	for i := range 3 {
		if _, ok := b.Take(k); !ok {
			t.Fatalf("attempt %d was refused", i)
		}
	}
	wait, ok := b.Take(k)
	if ok || wait != 10*time.Second {
		t.Fatalf("the fourth: %v, wait %v", ok, wait)
	}
	if _, ok := b.Take(other); !ok {
		t.Fatal("another key's bucket is empty")
	}
	c.at = c.at.Add(9 * time.Second)
	if wait, ok := b.Take(k); ok || wait < 900*time.Millisecond || wait > 1100*time.Millisecond {
		t.Fatalf("after nine seconds: %v, wait %v", ok, wait)
	}
	c.at = c.at.Add(-time.Hour) // clocks are set back
	if _, ok := b.Take(k); ok {
		t.Fatal("a clock set back filled the bucket")
	}
	c.at = c.at.Add(time.Hour + 2*time.Second)
	if _, ok := b.Take(k); !ok {
		t.Fatal("after ten seconds there is none")
	}
	b.Return(k)
	if _, ok := b.Take(k); !ok {
		t.Fatal("what was returned is not there")
	}
	c.at = c.at.Add(24 * time.Hour)
	for i := range 4 {
		if _, ok := b.Take(k); ok != (i < 3) {
			t.Fatalf("after a day attempt %d: %v", i, ok)
		}
	}
	for range 10 {
		b.Return(other)
	}
	for i := range 4 {
		if _, ok := b.Take(other); ok != (i < 3) {
			t.Fatalf("returned too often, attempt %d: %v", i, ok)
		}
	}
}

// TestBucketsAreBounded: many keys take no more memory than promised, and one
// that goes on asking is not forgotten among them.
func TestBucketsAreBounded(t *testing.T) {
	c := start()
	b := limit.NewBuckets(limit.Rate{Burst: 2, Every: time.Hour}, 100, c.now)
	k := limit.KeyOf("guesser")
	let := 0
	for i := range 10_000 {
		b.Take(limit.KeyOf("other", fmt.Sprint(i)))
		if i%50 == 0 {
			if _, ok := b.Take(k); ok {
				let++
			}
		}
		if n := b.Len(); n > 200 {
			t.Fatalf("%d keys after %d", n, i)
		}
	}
	if let > 2 {
		t.Errorf("%d were let through, want 2", let)
	}
}

func TestBucketsAtOnce(t *testing.T) {
	c := start()
	b := limit.NewBuckets(limit.Rate{Burst: 50, Every: time.Hour}, 100, c.now)
	var wg sync.WaitGroup
	var mu sync.Mutex
	let := 0
	for range 200 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if _, ok := b.Take(limit.KeyOf("k")); ok {
				mu.Lock()
				let++
				mu.Unlock()
			}
		}()
	}
	wg.Wait()
	if let != 50 {
		t.Errorf("%d of 200 were let through, want 50", let)
	}
}

func TestKeys(t *testing.T) {
	seen := map[limit.Key]string{}
	for _, parts := range [][]string{{}, {""}, {"", ""}, {"ab"}, {"a", "b"}, {"a", "b", ""}, {"ab", ""}, {"", "ab"}} {
		k := limit.KeyOf(parts...)
		if was, twice := seen[k]; twice {
			t.Errorf("%q has the key of %s", parts, was)
		}
		seen[k] = fmt.Sprintf("%q", parts)
	}
}

func TestUses(t *testing.T) {
	c := start()
	u := limit.NewUses(2, c.now)
	end := c.at.Add(time.Minute)
	for want := 1; want <= 3; want++ {
		if n, ok := u.Add(limit.KeyOf("a"), 1, end); !ok || n != want {
			t.Fatalf("use %d counts as %d, %v", want, n, ok)
		}
	}
	if n, ok := u.Add(limit.KeyOf("b"), 5, end); !ok || n != 5 {
		t.Fatal("another thing's uses are counted with it")
	}
	if _, ok := u.Add(limit.KeyOf("c"), 1, end); ok {
		t.Fatal("there is room for a third")
	}
	if n, ok := u.Add(limit.KeyOf("a"), 1, end); !ok || n != 4 {
		t.Fatal("the first was forgotten to make room")
	}
	c.at = end
	if n, ok := u.Add(limit.KeyOf("c"), 1, end.Add(time.Minute)); !ok || n != 1 {
		t.Fatal("what is over makes no room")
	}
}

func TestClient(t *testing.T) {
	proxies := limit.Proxies{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for _, c := range []struct {
		what, peer string
		forwarded  []string
		want       string
	}{
		{"nobody is trusted", "203.0.113.9", []string{"198.51.100.1"}, "203.0.113.9"},
		{"no header", "10.0.0.1", nil, "10.0.0.1"},
		{"one proxy", "10.0.0.1", []string{"198.51.100.1"}, "198.51.100.1"},
		{"invented before", "10.0.0.1", []string{"1.1.1.1, 198.51.100.1"}, "198.51.100.1"},
		{"two proxies", "10.0.0.1", []string{"1.1.1.1, 198.51.100.1, 10.2.3.4"}, "198.51.100.1"},
		{"two headers", "10.0.0.1", []string{"1.1.1.1", "198.51.100.1", "10.2.3.4"}, "198.51.100.1"},
		{"with a port", "10.0.0.1", []string{"198.51.100.1:1234"}, "198.51.100.1"},
		{"of IPv6", "fd00::1", []string{"2001:db8::5"}, "2001:db8::5"},
		{"of IPv6 with a port", "fd00::1", []string{"[2001:db8::5]:80"}, "2001:db8::5"},
		{"mapped", "::ffff:10.0.0.1", []string{"::ffff:198.51.100.1"}, "198.51.100.1"},
		{"rubbish", "10.0.0.1", []string{"198.51.100.1, unknown"}, "10.0.0.1"},
		{"empty", "10.0.0.1", []string{""}, "10.0.0.1"},
		{"all proxies", "10.0.0.1", []string{"10.0.0.2, 10.0.0.3"}, "10.0.0.2"},
	} {
		if got := proxies.Client(netip.MustParseAddr(c.peer), c.forwarded); got.String() != c.want {
			t.Errorf("%s: %s, want %s", c.what, got, c.want)
		}
	}
	if got := limit.Proxies(nil).Client(netip.MustParseAddr("127.0.0.1"), []string{"198.51.100.1"}); got.String() != "127.0.0.1" {
		t.Errorf("by default %s is believed", got)
	}
}

func TestSite(t *testing.T) {
	for a, want := range map[string]string{
		"198.51.100.1": "198.51.100.1", "::ffff:198.51.100.1": "198.51.100.1",
		"2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64", "2001:db8:1:2::9": "2001:db8:1:2::/64", "fe80::1%eth0": "fe80::/64",
	} {
		if got := limit.Site(netip.MustParseAddr(a)); got != want {
			t.Errorf("%s: %s, want %s", a, got, want)
		}
	}
}
