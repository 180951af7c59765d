package client

import (
	"errors"
	"sync"
	"time"
)

// ErrLocked says that the device was without contact for longer than the company
// lets it show what it holds, or its clock was set back by more than an hour. Nothing is
// lost: unsent work is still there and is sent, and records show again, with the
// next Sync or Live that completes.
var ErrLocked = errors.New("client: locked until the next contact with the server")

const (
	// leaseSlack is by how much the phone's clock may be set back between two
	// contacts, all in all: clocks are put right by a little.
	leaseSlack = time.Hour
	// leaseNoted is how much time may pass before it is written down: what a
	// program that is killed again and again gains each time.
	leaseNoted = time.Minute
)

// keyLease is where the lease stands in the store: lease, as JSON.
var keyLease = []byte("lease")

// lease is how long the device may show what it holds, and how much of that is
// used up. The time that has passed is the sum of what the clock was seen to move
// forward; where it stands is not asked, so that no setting of it gives anything
// back.
type lease struct {
	For  time.Duration `json:"for"` // 0 for without end
	Seen time.Time     `json:"seen"`
	Used time.Duration `json:"used"`
	Back time.Duration `json:"back"` // that the clock was set back, all in all
}

// pass notes what time it is now.
func (l *lease) pass(now time.Time) {
	if d := now.Sub(l.Seen); d >= 0 {
		l.Used += d
	} else {
		l.Back -= d
	}
	l.Seen = now
}

func (l *lease) over() bool { return l.For > 0 && (l.Used >= l.For || l.Back > leaseSlack) }

// left is how long the device goes on showing what it holds; 0 once it does not.
func (l *lease) left() time.Duration {
	if l.over() {
		return 0
	}
	return l.For - l.Used
}

// leaseState is the lease in memory, so that reading a record writes nothing.
type leaseState struct {
	mu     sync.Mutex
	now    *lease // nil before it was read
	stored lease  // as it stands in the store
}

// leased returns the lease as it is now. What passed is written down now and
// then.
func (p *Phone) leased() (lease, error) {
	s := &p.lease
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now == nil {
		var l lease
		if err := p.st.view(func(t tx) error { return getJSON(t, keyLease, &l) }); err != nil {
			return l, err
		}
		s.now, s.stored = &l, l
	}
	if s.now.For == 0 {
		return *s.now, nil
	}
	was := s.stored.over()
	// Without what a clock reads since the program began: it stands still while
	// the phone sleeps.
	s.now.pass(p.now().Round(0).UTC())
	l := *s.now
	if l.over() == was && l.Used-s.stored.Used < leaseNoted && l.Back == s.stored.Back {
		return l, nil
	}
	if err := p.st.update(func(t tx) error { return putJSON(t, keyLease, l) }); err != nil {
		return l, err
	}
	s.stored = l
	return l, nil
}

// unlocked refuses what shows records once the lease is over.
func (p *Phone) unlocked() error {
	l, err := p.leased()
	if err == nil && l.over() {
		err = ErrLocked
	}
	return err
}

// renewLease begins the lease anew, in the transaction of a page after which
// there are no more. told is what the page says; over the socket, where it says
// nothing, the last word counts.
func (p *Phone) renewLease(t tx, told int64, live bool) (lease, error) {
	var l lease
	if err := getJSON(t, keyLease, &l); err != nil {
		return l, err
	}
	next := lease{For: time.Duration(min(max(told, 0), maxLease)) * time.Second, Seen: p.now().Round(0).UTC()}
	if live && told == 0 {
		next.For = l.For
	}
	if next.For == 0 && l.For == 0 {
		return next, nil
	}
	return next, putJSON(t, keyLease, next)
}

// maxLease is the longest lease that is understood, in seconds: a hundred years.
const maxLease = 100 * 366 * 24 * 60 * 60

// renewed takes over what renewLease wrote, once its transaction is through.
func (s *leaseState) renewed(l lease) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now, s.stored = &l, l
}

// forgotten makes the lease be read from the store again.
func (s *leaseState) forgotten() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = nil
}

// heard renews the lease for a sign of life of a server that the device is
// connected with and agrees with. One that is over stays so: that takes a page.
func (p *Phone) heard() {
	s := &p.lease
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now == nil || s.now.For == 0 {
		return
	}
	now := p.now().Round(0).UTC()
	if s.now.pass(now); s.now.over() {
		return
	}
	l := lease{For: s.now.For, Seen: now}
	s.now = &l
	if l.Seen.Sub(s.stored.Seen) < leaseNoted && s.stored.Back == 0 && s.stored.Used == 0 {
		return
	}
	if err := p.st.update(func(t tx) error { return putJSON(t, keyLease, l) }); err != nil {
		p.log.Warn("the lease could not be noted", "error", err)
		return
	}
	s.stored = l
}
