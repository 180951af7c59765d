package apply

import (
	"errors"
	"slices"

	"satchel/internal/entity"
	"satchel/internal/mutant"
	"satchel/sync/pull"
	"satchel/sync/state"
)

// Body is what the JSON of pages that bring the same has in common: what they
// remove and bring, and the digests. Whoever it was made for makes it, from the
// snapshot of the state that all of them are of; others wait. Its methods may be
// called by many goroutines.
type Body struct {
	done chan struct{}
	made contents
	err  error
	// room is how many bytes are free before the middle, for one page alone: it
	// need not be copied then.
	room int
}

// contents is the JSON of what a page brings: the members "removed" and "records",
// and what "complete" has, nil for nothing.
type contents struct{ middle, complete []byte }

// NewBody returns a body that is to be made, or abandoned.
func NewBody() *Body { return &Body{done: make(chan struct{})} }

// errAbandoned says that whoever was to make a body did not.
var errAbandoned = errors.New("apply: the page that this one has its records from was not encoded")

// Make makes it, for a page of which it is: with what [Page.Encode] takes.
func (b *Body) Make(p *Page, rd, twin *state.Reader, told Told) {
	defer b.Abandon() // where it panics
	var dst []byte
	if b.room > 0 {
		dst = make([]byte, b.room, b.room+p.room(len(p.Items))+removalBytes*p.Removed.Len()+256)
	}
	var c contents
	if c, b.err = p.contents(dst, rd, twin, told); b.err == nil {
		b.made = c
	}
	close(b.done)
}

// Abandon has those who wait for a body that was not made wait no longer. It is
// for whoever had to make it; once it is made it does nothing.
func (b *Body) Abandon() {
	select {
	case <-b.done:
	default:
		b.err = errAbandoned
		close(b.done)
	}
}

// Wait waits until it was made.
func (b *Body) Wait() error {
	<-b.done
	return b.err
}

// failed reports whether it was to be made and could not be. What kept its maker
// from it need not keep others.
func (b *Body) failed() bool {
	select {
	case <-b.done:
		return b.err != nil
	default:
		return false
	}
}

// EncodeWith is Encode for one of several pages that bring the same, whose body
// was made, or for an empty page that tells of no digests, whose body is nil.
func (p *Page) EncodeWith(cat *entity.Catalogue, b *Body) []byte { return p.AppendWith(nil, cat, b) }

// AppendWith is EncodeWith in room that is there already, of which dst is the
// empty beginning; it may return other.
func (p *Page) AppendWith(dst []byte, cat *entity.Catalogue, b *Body) []byte {
	var made contents
	switch {
	case b != nil:
		made = b.made
	default:
		made.middle = []byte(`"removed":[],"records":[]`)
		if p.Complete {
			made.complete = []byte(`{"types":{}}`)
		}
	}
	if b != nil && b.room > 0 {
		head := p.appendHead(nil)
		if from := b.room - len(head); from >= 0 {
			copy(made.middle[from:], head)
			return p.appendTail(cat, made.middle[from:], made.complete)
		}
		made.middle = made.middle[b.room:]
	}
	dst = p.appendHead(slices.Grow(dst, p.around()+len(made.middle)+len(made.complete)))
	return p.appendTail(cat, append(dst, made.middle...), made.complete)
}

// Bodies are those of pages of one state that are answered one after the other.
// The zero value is ready; it is for one goroutine.
type Bodies struct{ of map[bodyKey]*Body }

// bodyKey: all that decides about a body besides the state.
type bodyKey struct {
	content *pull.Content
	told    Told
	changes bool
}

// Told says of which types a complete page tells the digests.
type Told uint8

const (
	// ToldAll is of all that the device holds something of.
	ToldAll Told = iota
	// ToldTouched is of those that the page touches.
	ToldTouched
	// ToldSmall is of those of them that have few records.
	ToldSmall
	// ToldNone is of none.
	ToldNone
)

// Tells returns what the page tells of what was asked for. Of a round of several
// pages, and of what begins anew, that is everything: the types of one page alone
// would be less than was touched.
func (p *Page) Tells(asked Told) Told {
	if asked == ToldTouched && (p.Later || p.Reset || p.Rebase) {
		return ToldAll
	}
	return asked
}

// maxShared bounds what the visible segments of pages that share their body have at
// most: what is larger would be kept for those that may never come, and copied.
const maxShared = 40 << 10

// Of returns the body that a page shares with others; mine says that it is to be
// made by whoever answers this page. It is nil for a page by itself.
func (x *Bodies) Of(p *Page, told Told) (b *Body, mine bool) {
	if p.Content == nil || p.Size > maxShared {
		return nil, false
	}
	return x.Share(p, told)
}

// Share is Of for a page that is known to have others beside it, however large.
func (x *Bodies) Share(p *Page, told Told) (b *Body, mine bool) {
	k := bodyKey{p.Content, told, p.Changes}
	if mutant.On(mutant.BodyOfOthers) {
		k.told = ToldAll
	}
	if mutant.On(mutant.ChangesForAll) {
		k.changes = false
	}
	if b = x.of[k]; b != nil && !b.failed() {
		return b, false
	}
	if x.of == nil {
		x.of = map[bodyKey]*Body{}
	}
	b = NewBody()
	x.of[k] = b
	return b, true
}

// Forget forgets all. Those that are being made go to whoever waits for them.
func (x *Bodies) Forget() { x.of = nil }
