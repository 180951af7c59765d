package token

import (
	"sync"

	"satchel/internal/ident"
)

// cache remembers verified tokens by their SHA-256, so that the tokens
// themselves are not kept, and forgets the one unused for longest when full.
// Checking a signature costs far more than finding it here.
type cache struct {
	mu      sync.Mutex
	most    int
	entries map[[32]byte]*entry
	ring    entry // ring.next is the last used, ring.prev the first to go
}

type entry struct {
	sum        [32]byte
	claims     Claims
	next, prev *entry
}

// newCache makes a cache of at most so many tokens; nil for none.
func newCache(most int) *cache {
	if most <= 0 {
		return nil
	}
	c := &cache{most: most, entries: make(map[[32]byte]*entry)}
	c.ring.next, c.ring.prev = &c.ring, &c.ring
	return c
}

func (c *cache) get(sum [32]byte) (Claims, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[sum]
	if !ok {
		return Claims{}, false
	}
	if c.ring.next != e {
		e.unlink()
		c.front(e)
	}
	return e.claims, true
}

// maxSwept is how many expired tokens are looked for with each new one: more than
// one, so that they grow fewer.
const maxSwept = 4

// put remembers a token that is good now.
func (c *cache) put(sum [32]byte, claims Claims, now ident.Millis) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.entries[sum]; ok {
		return
	}
	// Whoever had a token that expired has another by now, or is gone: it is among
	// those that were not used for longest.
	for range maxSwept {
		e := c.ring.prev
		if e == &c.ring || now < e.claims.ExpiresAt {
			break
		}
		e.unlink()
		delete(c.entries, e.sum)
	}
	var e *entry
	if len(c.entries) >= c.most {
		e = c.ring.prev
		e.unlink()
		delete(c.entries, e.sum)
	} else {
		e = new(entry)
	}
	e.sum, e.claims = sum, claims
	c.entries[sum] = e
	c.front(e)
}

func (c *cache) drop(sum [32]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.entries[sum]; ok {
		e.unlink()
		delete(c.entries, sum)
	}
}

func (c *cache) front(e *entry) {
	e.next, e.prev = c.ring.next, &c.ring
	e.next.prev, c.ring.next = e, e
}

func (e *entry) unlink() { e.prev.next, e.next.prev = e.next, e.prev }
