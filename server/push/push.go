// Package push holds what the senders beneath it (fcm, mail) have in common:
// the outcome of one delivery attempt and how long to wait before the next.
//
// A sender makes one attempt and says what came of it. It keeps no queue and
// repeats nothing: what has to be sent, how often it was tried and until when
// it is worth trying are the durable business of the outbox, which also asks
// again, before each attempt, whether the receiver may still know.
package push

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Kind is what became of one delivery attempt.
type Kind uint8

// The kinds. Their numbers are stable: an outbox may store them.
const (
	// Sent: the carrier took it. It says nothing of the person having seen it.
	Sent Kind = 1
	// Retry: not taken, or not known to be taken; try again in After.
	Retry Kind = 2
	// Dead: the address (a device's token, a mailbox) no longer exists, or takes
	// nothing: send nothing more to it.
	Dead Kind = 3
	// Rejected: this message will never be taken for this address.
	Rejected Kind = 4
)

// String returns the kind's name in lower case, for logs and metrics.
func (k Kind) String() string {
	switch k {
	case Sent:
		return "sent"
	case Retry:
		return "retry"
	case Dead:
		return "dead"
	case Rejected:
		return "rejected"
	default:
		return "unknown"
	}
}

// Outcome is the answer to one message of a Send.
type Outcome struct {
	Kind Kind
	// After is how long to wait before the next attempt; only with Retry.
	After time.Duration
	// Soft: it is the address that doesn't take it for now, as a full mailbox,
	// and not this message; only with Rejected.
	Soft bool
	// Carrier: it is the carrier that takes nothing, or not from us, whoever it is
	// for; only with Retry.
	Carrier bool
	// Reason is a short stable code for logs and metrics (the sender's package
	// lists them); empty with Sent. It never quotes an address or a carrier's words.
	Reason string
}

// Backoff computes waits between attempts: exponential, with jitter, so that
// what failed together does not come back together. It is safe for use by
// several goroutines.
type Backoff struct {
	base, limit time.Duration
	mu          sync.Mutex
	random      func() float64
}

// longestTold bounds how long a carrier may tell us to stay away: its answers
// are input like any other.
const longestTold = 24 * time.Hour

// NewBackoff returns a back-off whose first wait is about base and whose waits
// double up to limit. random gives numbers in [0,1); it is called under a lock,
// so it need not be safe for concurrent use.
func NewBackoff(base, limit time.Duration, random func() float64) *Backoff {
	return &Backoff{base: base, limit: limit, random: random}
}

// After returns the wait before the next attempt. attempt counts the earlier
// failed attempts (0 after the first one failed). told is what the carrier
// asked for, 0 if nothing: it is never undercut, and at most a tenth is added.
// Without it the wait is between half and all of base·2^attempt, at most limit.
func (b *Backoff) After(attempt int, told time.Duration) time.Duration {
	b.mu.Lock()
	r := b.random()
	b.mu.Unlock()
	if told > 0 {
		told = min(told, longestTold)
		return told + time.Duration(r*float64(told)/10)
	}
	d := b.base
	for ; attempt > 0 && d < b.limit; attempt-- {
		d *= 2
	}
	d = min(d, b.limit)
	return d/2 + time.Duration(r*float64(d)/2)
}

// RetryAfter reads a Retry-After header: a number of seconds or an HTTP date.
// It returns 0 for none, for one it can't read and for a date that has passed.
func RetryAfter(h http.Header, now time.Time) time.Duration {
	v := strings.TrimSpace(h.Get("Retry-After"))
	if v == "" {
		return 0
	}
	if n, err := strconv.ParseUint(v, 10, 32); err == nil {
		return min(time.Duration(n)*time.Second, longestTold)
	}
	if at, err := http.ParseTime(v); err == nil {
		return min(max(at.Sub(now), 0), longestTold)
	}
	return 0
}
