// Package limit bounds how often strangers may try something: token buckets
// for attempts, counts for what may be used so many times. It exists so that
// guessing passwords and codes is slow whoever guesses, in memory that does not
// grow with the number of guessers; and how much people who have signed in may
// ask for. It reads no clock of its own and holds no names, only digests of
// them. The session edge and package edge import it.
//
// Everything here is of one process and forgotten with it. A tenant is served
// by one process at a time.
package limit

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"sync"
	"time"
)

// Key names what is limited.
type Key [16]byte

// KeyOf makes the key of a list of texts; other lists have other keys.
func KeyOf(parts ...string) Key {
	h := sha256.New()
	for _, p := range parts {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(p))))
		h.Write([]byte(p))
	}
	return Key(h.Sum(nil)[:16])
}

// Rate is how often: Burst at once, and one more each Every.
type Rate struct {
	Burst int
	Every time.Duration
}

// Buckets are token buckets of one rate, one for each key. They are safe for
// concurrent use.
//
// At most 2·max keys are remembered. Beyond that the ones not asked for longest
// are forgotten, which fills their buckets: whoever wants that has to come with
// that many keys, so that at least one kind of key of a request should be one
// that can't be had in numbers, such as an address.
type Buckets struct {
	rate Rate
	max  int
	now  func() time.Time

	mu       sync.Mutex
	cur, old map[Key]bucket
}

type bucket struct {
	tokens float64
	at     time.Time // when there were so many
}

// NewBuckets makes buckets that start full. The clock need not be monotonic: a
// step back only delays the filling.
func NewBuckets(r Rate, max int, now func() time.Time) *Buckets {
	return &Buckets{rate: r, max: max, now: now, cur: map[Key]bucket{}}
}

// Take takes a token of the key's. Where there is none, ok is false and wait
// says when there will be one.
func (b *Buckets) Take(k Key) (wait time.Duration, ok bool) { return b.TakeN(k, 1) }

// TakeN takes n tokens of the key's, or none where there are fewer; more than
// the burst there never are.
func (b *Buckets) TakeN(k Key, n int) (wait time.Duration, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	x := b.get(k)
	if want := float64(n); x.tokens < want {
		b.put(k, x) // whoever goes on asking is not forgotten
		return time.Duration(math.Ceil((want - x.tokens) * float64(b.rate.Every))), false
	}
	x.tokens -= float64(n)
	b.put(k, x)
	return 0, true
}

// Return gives back a token that was taken for what turned out to be no
// attempt that counts.
func (b *Buckets) Return(k Key) { b.ReturnN(k, 1) }

// ReturnN gives back n tokens.
func (b *Buckets) ReturnN(k Key, n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	x := b.get(k)
	x.tokens = min(x.tokens+float64(n), float64(b.rate.Burst))
	b.put(k, x)
}

// get returns a key's bucket as it is now.
func (b *Buckets) get(k Key) bucket {
	now := b.now()
	x, ok := b.cur[k]
	if !ok {
		x, ok = b.old[k]
	}
	if !ok {
		return bucket{float64(b.rate.Burst), now}
	}
	if passed := now.Sub(x.at); passed > 0 {
		x.tokens = min(x.tokens+float64(passed)/float64(b.rate.Every), float64(b.rate.Burst))
		x.at = now
	}
	return x
}

func (b *Buckets) put(k Key, x bucket) {
	if _, there := b.cur[k]; !there && len(b.cur) >= b.max {
		b.old, b.cur = b.cur, map[Key]bucket{}
	}
	b.cur[k] = x
}

// Len returns how many keys are remembered.
func (b *Buckets) Len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.cur) + len(b.old)
}

// Uses counts how often each of many things that end by themselves was used.
// Nothing is forgotten before it ends; while there are too many, none is added.
// It is safe for concurrent use.
type Uses struct {
	max int
	now func() time.Time

	mu   sync.Mutex
	uses map[Key]use
	next time.Time // no sweep before
}

type use struct {
	n     int
	until time.Time
}

// NewUses counts the uses of at most max things at once.
func NewUses(max int, now func() time.Time) *Uses {
	return &Uses{max: max, now: now, uses: map[Key]use{}}
}

// Add counts n more uses of a thing that ends at until, and returns how many
// there are with them. ok is false where there is no room to count.
func (u *Uses) Add(k Key, n int, until time.Time) (total int, ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	x, there := u.uses[k]
	if !there && len(u.uses) >= u.max && !u.sweep() {
		return 0, false
	}
	x.n += n
	if until.After(x.until) {
		x.until = until
	}
	u.uses[k] = x
	return x.n, true
}

// sweep forgets what is over and reports whether that made room. It looks
// once a second at most.
func (u *Uses) sweep() bool {
	now := u.now()
	if now.Before(u.next) {
		return false
	}
	u.next = now.Add(time.Second)
	for k, x := range u.uses {
		if !now.Before(x.until) {
			delete(u.uses, k)
		}
	}
	return len(u.uses) < u.max
}
