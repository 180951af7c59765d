package client

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"
)

// TestLeaseTakesNothingBack sets the clock at random, as somebody does who wants
// more time: a lease that is over stays so, and one that is not has been used for
// no longer than it is for, but for the slack.
func TestLeaseTakesNothingBack(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 500 {
		at := time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC)
		l := lease{For: 10 * 24 * time.Hour, Seen: at}
		real, offset, over := time.Duration(0), time.Duration(0), false
		for range 300 {
			real += time.Duration(r.IntN(int(6 * time.Hour)))
			if r.IntN(3) == 0 {
				offset += time.Duration(r.IntN(int(20*time.Minute))) - 10*time.Minute
			}
			l.pass(at.Add(real + offset))
			if over && !l.over() {
				t.Fatalf("given back: %+v", l)
			}
			over = l.over()
			if !over && real > l.For+leaseSlack {
				t.Fatalf("still shown after %v: %+v", real, l)
			}
			if (l.left() == 0) != over {
				t.Fatalf("%v left, over %v", l.left(), over)
			}
		}
	}
	none := lease{Seen: time.Unix(0, 0)}
	none.pass(time.Unix(1e9, 0))
	none.pass(time.Unix(0, 0))
	if none.over() {
		t.Error("a lease without end is over")
	}
}

// TestLeaseIsKept: what went by is written down, whatever ends the program; a
// wipe takes the lock along with what was locked.
func TestLeaseIsKept(t *testing.T) {
	at := time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC)
	mem := NewMemory()
	open := func() *Phone {
		p, err := OpenMemory(mem, Options{Server: "http://127.0.0.1:1", Tenant: "acme", Clock: func() time.Time { return at }})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	p := open()
	page := func(checkpoint, next string, seconds int64, more, live bool) {
		t.Helper()
		out, err := p.applyPage(&page{From: checkpoint, Checkpoint: next, Lease: seconds, More: more}, applyHow{live: live})
		if err != nil || !out.ok {
			t.Fatalf("%+v %v", out, err)
		}
	}
	locked := func(yes bool) {
		t.Helper()
		if _, err := p.List("job", nil); errors.Is(err, ErrLocked) != yes {
			t.Fatalf("%v, want locked %v", err, yes)
		}
	}
	page("", "1", 0, false, false) // a server that tells of none
	at = at.Add(1000 * time.Hour)
	locked(false)
	page("1", "2", 3600, false, false)
	for range 50 {
		at = at.Add(time.Minute)
		p = open() // killed each time
		locked(false)
	}
	at = at.Add(11 * time.Minute)
	p = open()
	locked(true)
	at = at.Add(-time.Hour)
	p = open()
	locked(true)
	p.heard()
	locked(true)
	page("2", "3", 0, true, false) // there is more to come: what goes may be in it
	locked(true)
	page("3", "4", 0, false, true) // over the socket the last word counts
	locked(false)
	at = at.Add(59 * time.Minute)
	locked(false)
	p.heard()
	at = at.Add(59 * time.Minute)
	p = open()
	locked(false)
	at = at.Add(2 * time.Minute)
	locked(true)
	if err := p.Erase(); err != nil {
		t.Fatal(err)
	}
	locked(false)
}
