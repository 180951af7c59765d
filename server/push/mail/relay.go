package mail

import (
	"context"
	"strings"
	"sync"
	"time"
)

// What is believed of a relay's refusals. A relay that is set up wrongly, or
// whose machine is on a list, refuses everybody as if each address were at fault,
// and what is noted of an address stops its mail.
const (
	// several is how many addresses that are refused by the same answer, with
	// none taken in between, speak of the relay and not of them.
	several = 3
	// enough is how often one address has to be refused, where the relay took
	// nothing in between, to be believed on its own.
	enough = 3
	// confirmAfter is how long the first refusal of an address waits for the next.
	confirmAfter = 5 * time.Minute
)

// answer is what a relay says by a refusal.
type answer struct {
	stage  string
	code   int
	status string // enhanced status code, "" for none
}

// relay remembers what the mail server has said since it last took a mail. It is
// kept in memory: whoever starts anew waits for more refusals, never for fewer.
type relay struct {
	mu sync.Mutex
	// took: it has taken a mail since the start.
	took bool
	// refused counts the refusals of each address by last since it took a mail; of
	// addresses beyond several nothing is kept.
	last    answer
	refused map[string]int
	// trouble: an operator was told that it takes nothing.
	trouble bool
}

// weigh judges what came of a mail to an address, nil for taken, in the light of
// what the server said of others. attempt counts the mail's earlier attempts.
func (s *Sender) weigh(ctx context.Context, to string, attempt int, f *fault) *fault {
	r := &s.relay
	r.mu.Lock()
	defer r.mu.Unlock()
	if f == nil {
		r.took, r.refused, r.trouble = true, nil, false
		return nil
	}
	switch f.reason {
	case ReasonRelayRefuses:
		s.tell(ctx, f)
		return f
	case ReasonAddressRefused, ReasonMailboxRefused, ReasonMessageRefused:
	default:
		return f
	}
	n := r.count(strings.ToLower(to), answer{f.stage, f.code, f.status})
	switch {
	case len(r.refused) >= several:
		f.reason = ReasonRelayRefuses
		s.tell(ctx, f)
	case f.reason != ReasonAddressRefused || n >= enough || n == 1 && attempt > 0 && r.took:
		// It takes others' mail, or has said so again and again.
	default:
		f.reason = ReasonUnconfirmed
	}
	return f
}

// count notes a refusal and returns how many of the address there were by this
// answer since a mail was taken.
func (r *relay) count(to string, by answer) int {
	if r.refused == nil || r.last != by {
		r.refused, r.last = map[string]int{}, by
	}
	if _, known := r.refused[to]; known || len(r.refused) < several {
		r.refused[to]++
	}
	return r.refused[to]
}

// tell says once that the server takes nothing, until it takes something. The
// caller holds the relay's lock.
func (s *Sender) tell(ctx context.Context, f *fault) {
	if s.relay.trouble {
		return
	}
	s.relay.trouble = true
	s.cfg.Log.WarnContext(ctx, "the mail server refuses mail whoever it is for: check its settings, its sender and whether its address is blocked",
		"server", s.cfg.Host, "stage", f.stage, "code", f.code, "status", f.status)
}

// ofPolicy tells whether a failure of class 5 speaks of who may send what where
// (RFC 3463, 5.7).
func ofPolicy(status string) bool { return strings.HasPrefix(status, "5.7.") }
