package limit_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"satchel/server/session/limit"
)

func few() limit.Quotas {
	q := limit.DefaultQuotas()
	q.Of[limit.Read] = limit.Quota{Person: limit.Rate{Burst: 5, Every: time.Second}, Device: limit.Rate{Burst: 3, Every: time.Second}}
	q.Site = limit.Rate{Burst: 2, Every: time.Second}
	return q
}

// TestPeople: a device has its share, a person theirs, and classes, people and
// tenants don't meet.
func TestPeople(t *testing.T) {
	c := start()
	p := limit.NewPeople(few(), c.now)
	take := func(class limit.Class, n int, who, device string, want bool) {
		t.Helper()
		if wait, ok := p.Take(class, n, "acme", who, device); ok != want || ok != (wait == 0) {
			t.Fatalf("%s %d of %s on %s: %v, wait %v", class, n, who, device, ok, wait)
		}
	}
	take(limit.Read, 3, "ana", "one", true)
	take(limit.Read, 1, "ana", "one", false)
	take(limit.Read, 1, "ana", "two", true)
	take(limit.Read, 2, "ana", "two", false) // the person has one left: the device's stay
	take(limit.Read, 1, "ana", "two", true)
	take(limit.Read, 1, "ana", "two", false)
	take(limit.Read, 1, "ana", "three", false)
	take(limit.Write, 5, "ana", "one", true)
	take(limit.Read, 3, "ben", "one of his", true)
	if _, ok := p.Take(limit.Read, 1, "other", "ana", "one"); !ok {
		t.Fatal("another tenant's person of the same name is refused")
	}
	c.at = c.at.Add(2 * time.Second)
	take(limit.Read, 2, "ana", "one", true)
	take(limit.Read, 1, "ana", "one", false)
}

// TestSites: an address has its share; an IPv6 subscriber's many count as one.
func TestSites(t *testing.T) {
	p := limit.NewPeople(few(), start().now)
	for i, a := range []string{
		"192.0.2.1", "::ffff:192.0.2.1", "192.0.2.1", "192.0.2.2", "2001:db8:1:2::1", "2001:db8:1:2:ffff::9", "2001:db8:1:2::1", "2001:db8:1:3::1",
	} {
		if _, ok := p.At(netip.MustParseAddr(a)); ok != (i != 2 && i != 6) {
			t.Errorf("%d: %s: %v", i, a, ok)
		}
	}
}

func TestQuotasCheck(t *testing.T) {
	good := limit.DefaultQuotas()
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*limit.Quotas){
		"write of a device": func(q *limit.Quotas) { q.Of[limit.Write].Device.Burst = 0 },
		"sync of a person":  func(q *limit.Quotas) { q.Of[limit.Sync].Person.Every = 0 },
		"site":              func(q *limit.Quotas) { q.Site.Every = -1 },
		"changes":           func(q *limit.Quotas) { q.Of[limit.Changes].Device.Burst = 499 },
	} {
		q := limit.DefaultQuotas()
		change(&q)
		if err := q.Check(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	off := limit.Quotas{Off: true}
	if err := off.Check(); err != nil {
		t.Error(err)
	}
	var none *limit.People
	for _, p := range []*limit.People{none, limit.NewPeople(off, time.Now)} {
		for range 100 {
			if _, ok := p.Take(limit.Export, 100, "a", "b", "c"); !ok {
				t.Fatal("refused")
			}
			if _, ok := p.At(netip.MustParseAddr("192.0.2.1")); !ok {
				t.Fatal("refused")
			}
		}
	}
}

// BenchmarkQuotas is what a request of somebody who has signed in costs: its
// address, device and person.
func BenchmarkQuotas(b *testing.B) {
	p := limit.NewPeople(limit.DefaultQuotas(), time.Now)
	people, devices := make([]string, 1000), make([]string, 1000)
	for i := range people {
		people[i], devices[i] = fmt.Sprintf("emp-somebody-%d", i), fmt.Sprintf("d0123456789abcdef%d", i)
	}
	a := netip.MustParseAddr("192.0.2.1")
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		p.At(a)
		p.Take(limit.Write, 1, "acme", people[i%1000], devices[i%1000])
	}
}
