package tenant

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"satchel/internal/command"
	"satchel/internal/ident"
	"satchel/sync/apply"
)

// Taker is a Listener that takes pages it did not ask for. To a change that many
// see, most devices are alike: nothing is under way for them, and it is known
// what they have. The loop works their pages out by itself then, a few in each
// turn, and a few goroutines hand them out. A device that asked for itself would
// cost a goroutine, and be waited for and woken twice.
type Taker interface {
	Listener
	// Offer is Dirty where the device is to pull by itself: it is false then. Else
	// it makes c, which has an empty Pull, the device's pull, and Take or Decline
	// follows; nothing else is done for the device before. c is valid until then. It
	// is called by the loop and returns at once.
	Offer(c *command.Command) bool
	// Take hands over the page, or why there is none, and may wait for the
	// device to take it. The page's JSON is the Taker's until it returns.
	Take(page Encoded, err error)
	// Decline has the device pull by itself after all.
	Decline()
}

const (
	// offeredAtOnce is how many pages are worked out in one turn of the loop.
	offeredAtOnce = 16
	// stalled is how long a batch waits for a device that is slow to take its
	// page before somebody else goes on with the others.
	stalled = 10 * time.Millisecond
)

// offered is a page for a device.
type offered struct {
	to    Taker
	cmd   command.Command
	pull  command.Pull // of cmd
	asked apply.Asked
	answer
}

// offers are what the pages of a turn are worked out in. They are needed until
// the last was taken.
var offers = sync.Pool{New: func() any { return new([offeredAtOnce]offered) }}

// written are what pages are encoded in until they were taken.
var written = sync.Pool{New: func() any { return new([]byte) }}

// maxWritten bounds the pages whose memory is kept, in bytes.
const maxWritten = 64 << 10

// handout is some pages that are handed out one after the other.
type handout struct {
	t    *Tenant
	of   *[offeredAtOnce]offered
	n    int // of them
	next atomic.Int64
	left atomic.Int64 // to be taken
	slow *time.Timer
}

// giveBack lets go of what the pages were worked out in, which nobody uses any
// more.
func (h *handout) giveBack() {
	clear(h.of[:])
	offers.Put(h.of)
}

// handouts is how many are under way at most: what is worked out waits in memory.
func handouts() int { return max(4, 2*runtime.GOMAXPROCS(0)) }

// put has a device told in one of the next turns of the loop that it may have
// something to pull. It is the loop's.
func (t *Tenant) put(l *Live) {
	if l.taker == nil {
		l.mark()
		return
	}
	if !l.due {
		l.due = true
		t.due = append(t.due, l)
	}
}

// turn is where the loop has its next pages worked out, nil where nobody is due.
func (t *Tenant) turn() chan<- struct{} {
	if len(t.due) == 0 {
		return nil
	}
	return t.handouts
}

// offer works out some pages and has them handed out. The loop has a place for
// that.
func (t *Tenant) offer() {
	h := &handout{t: t, of: offers.Get().(*[offeredAtOnce]offered)} //nolint:forcetypeassert // the pool's own
	done := false
	defer func() {
		if done {
			return
		}
		for i := range h.n { // it panicked, or there are none
			h.of[i].close()
			h.of[i].to.Decline()
		}
		h.giveBack()
		<-t.handouts
	}()
	// The committed state may still be open from the turn before.
	able := t.Failed() == nil && t.resting() && !t.overdue()
	for n := 0; n < offeredAtOnce && len(t.due) > 0; n++ {
		l := t.due[0]
		t.due[0], t.due, l.due = nil, t.due[1:], false
		if !able {
			l.mark()
			continue
		}
		o := &h.of[h.n]
		*o = offered{to: l.taker}
		o.cmd.Pull = &o.pull
		if !l.taker.Offer(&o.cmd) {
			continue
		}
		h.n++
		if !t.workOut(o) {
			h.n--
			l.taker.Decline()
		}
	}
	if len(t.due) == 0 {
		t.due = nil
	}
	if done = h.n > 0; done {
		h.left.Store(int64(h.n))
		go h.begin()
	}
}

// workOut answers a pull that needs no entry; false where it does, or fails.
func (t *Tenant) workOut(o *offered) bool {
	t.sleepers.pulled(o.cmd.Device)
	o.asked = t.ahead.Before(&o.cmd)
	res, ok := t.machine.Peek(&o.cmd)
	if !ok || res.Err != nil {
		t.stored[o.cmd.Device] = struct{}{}
		return false
	}
	if o.answer, ok = t.peeked(res, apply.ToldSmall); ok {
		t.Stats.Peeked.Add(1)
		t.Stats.Offered.Add(1)
	}
	return ok
}

// needsEntry reports whether a page was tried to be worked out for a device that
// asks now, and can't be without an entry: to try again would only cost as much
// again.
func (t *Tenant) needsEntry(id ident.DeviceID) bool {
	_, ok := t.stored[id]
	if ok {
		delete(t.stored, id)
	}
	return ok
}

func (h *handout) begin() {
	// Set with a period that never passes and started afterwards: goOn uses the
	// field itself.
	h.slow = time.AfterFunc(time.Hour, h.goOn)
	h.goOn()
}

// goOn hands out what nobody has begun with. Whoever finds that there is nothing
// left first gives the place back.
func (h *handout) goOn() {
	if int(h.next.Load()) > h.n {
		return
	}
	h.slow.Reset(stalled)
	for {
		i := int(h.next.Add(1)) - 1
		if i >= h.n {
			if i == h.n {
				h.slow.Stop()
				<-h.t.handouts
			}
			return
		}
		h.hand(&h.of[i])
		if h.left.Add(-1) == 0 {
			h.giveBack()
		}
	}
}

func (h *handout) hand(o *offered) {
	own := written.Get().(*[]byte) //nolint:forcetypeassert // the pool's own
	o.room = (*own)[:0]
	page, err := h.t.finish(o)
	o.to.Take(page, err)
	if n := cap(page.JSON); n > cap(*own) && n <= maxWritten {
		*own = make([]byte, 0, n)
	}
	written.Put(own)
}

// finish encodes a page that was worked out.
func (t *Tenant) finish(o *offered) (Encoded, error) {
	defer o.close()
	t.ahead.After(o.cmd.Device, o.asked, o.res.Page)
	if o.snap != nil {
		return t.encodeInTurn(o.answer, apply.ToldSmall)
	}
	if o.body != nil {
		if err := o.body.Wait(); err != nil {
			return Encoded{}, t.unencoded(err)
		}
	}
	t.Stats.Pages.Add(1)
	return t.encode(o.answer, apply.ToldSmall)
}
