// Package courier sends what a tenant's outbox holds: it looks at what is due
// in the committed state, judges with the rights of that moment who may still
// know, hands messages to the senders, and reports back through the log. Where
// devices are merely to pull it sends silent pushes.
//
// It is an edge: clocks, time zones and the network are met here and not in
// apply. DESIGN.md says what happens when it stops half-way. Only internal/app
// and tests import it.
package courier

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"satchel/internal/command"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/server/push"
	"satchel/sync/apply"
	"satchel/sync/outbox"
	"satchel/sync/tenant"
)

// Push is one push message for one device. It says nothing but its category.
type Push struct {
	// Key is the same at every attempt.
	Key      string
	Token    string
	Category outbox.Category
	// Visible shows a general line; High wakes the device.
	Visible, High bool
	TTL           time.Duration
	Language      string // a tag like "de"; "" for English
	Attempt       int    // earlier failed attempts
}

// Pusher makes one attempt at each message and returns as many outcomes in the
// same order.
type Pusher interface {
	Push(ctx context.Context, ms []Push) []push.Outcome
}

// Letter is one e-mail to one person.
type Letter struct {
	// Key is the same at every attempt.
	Key        string
	To         string // address
	Subject    string
	Text, HTML string
	Attempt    int // earlier failed attempts
	// Unsubscribe is where one click takes the person off such mail; "" for
	// what can't be turned off.
	Unsubscribe string
	// Return is the address that the mail comes back to if it can't be
	// delivered; "" for the sender's own.
	Return string
}

// Mailer makes one attempt at a letter.
type Mailer interface {
	Mail(ctx context.Context, l Letter) push.Outcome
}

// Links makes the links of mails that carry a token.
type Links interface {
	// Link is where a person chooses a password, by a token that is derived from
	// the nonce and a key; known finds invitations by their token's digest, and ok is
	// false where it finds none. It is a secret of the receiver's and belongs into no
	// log.
	Link(t ident.TenantID, person ident.RecordID, nonce []byte, known func(digest []byte) bool) (link string, ok bool)
}

// Options say how a tenant's courier works.
type Options struct {
	Tenant *tenant.Tenant
	Rules  *outbox.Rules
	Pusher Pusher // nil: nothing is pushed, and what was to be is done with
	Mailer Mailer // nil: likewise
	// Product is what the system is called in mails, "Satchel" if empty.
	Product string
	// Unsubscribe makes the addresses to unsubscribe at; nil for none.
	Unsubscribe *Unsubscriber
	// Returns makes the addresses that mails come back to; nil for none.
	Returns *Returns
	// Links makes those of invitations and resets; nil: they are not mailed.
	Links Links
	// DevicesLink is where a person revokes devices, "" for nowhere.
	DevicesLink string
	// Observe counts attempts: channel is "push", "silent", "mail" or "wake",
	// outcome a push.Kind's name, "refused-by-carrier" (for a retry), "withdrawn" or
	// "given-up"; nil for nobody.
	// Several goroutines call it.
	Observe func(channel, outcome string)
	Log     *slog.Logger // nil for none
}

const (
	// inFlight bounds the messages under way.
	inFlight = 64
	// scanned bounds the intents looked at in one round.
	scanned = 2000
	// reported bounds the attempts in one command.
	reported = 200
	// keepTrying is for how long an intent is worth trying.
	keepTrying ident.Millis = 3 * 24 * 60 * 60 * 1000
	// Waits between attempts where the sender names none, in milliseconds.
	firstWait, longestWait ident.Millis = 10_000, 60 * 60 * 1000
	// wakes is how many devices are told to pull at once, every wakePause.
	wakes     = 100
	wakePause = 250 * time.Millisecond
	// wakeTries is how often telling a device to pull is tried.
	wakeTries = 5
	// Lifetimes of pushes at the carrier.
	alertTTL = 3 * 24 * time.Hour
	wakeTTL  = 7 * 24 * time.Hour
	// sendFor bounds one attempt.
	sendFor = time.Minute
	// endFor is how long what is under way may take when the courier ends.
	endFor = 5 * time.Second
)

// Courier is one tenant's. Run or Once are for one goroutine.
type Courier struct {
	opts    Options
	results chan result
	flying  map[string]bool // what is under way, by key and channel
	sending sync.WaitGroup
	waking  []waking  // devices to be told again
	resume  time.Time // no owed devices are told before
}

// result is what came of some messages.
type result struct {
	attempts []command.Attempt
	dead     []command.DeadAddress
	bounces  []command.Bounce
	again    []waking
	done     []string // of flying
}

// waking is a device that is told to pull.
type waking struct {
	device  ident.DeviceID
	key     string
	attempt int
	at      ident.Millis // not before
}

// New makes a tenant's courier; it does nothing before Run.
func New(o Options) *Courier {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Observe == nil {
		o.Observe = func(string, string) {}
	}
	if o.Product == "" {
		o.Product = "Satchel"
	}
	if o.Pusher != nil {
		o.Tenant.Watch()
	}
	return &Courier{opts: o, results: make(chan result, inFlight+1), flying: map[string]bool{}}
}

// Run sends until ctx or the tenant ends. What is under way then is given a
// moment and reported; whatever is not known to have been sent is sent again by
// the next courier.
func (c *Courier) Run(ctx context.Context) {
	alive, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	timer := time.NewTimer(0)
	defer timer.Stop()
	var open []result
	for {
		if len(open) > 0 {
			if !c.report(open) {
				// The tenant is busy or its disk full; what was sent stays known here.
				select {
				case <-time.After(time.Second):
					continue
				case <-ctx.Done():
					return
				case <-c.opts.Tenant.Done():
					return
				}
			}
			open = open[:0]
		}
		timer.Reset(c.launch(alive))
		select {
		case r := <-c.results:
			open = append(open, r)
			for more := true; more; {
				select {
				case r := <-c.results:
					open = append(open, r)
				default:
					more = false
				}
			}
		case <-c.opts.Tenant.Posted():
		case <-timer.C:
		case <-c.opts.Tenant.Done():
			return
		case <-ctx.Done():
			c.report(append(open, c.last(stop)...))
			return
		}
	}
}

// last waits a moment for what is under way and returns what came of it.
func (c *Courier) last(stop func()) (out []result) {
	over := make(chan struct{})
	go func() { c.sending.Wait(); close(over) }()
	patience := time.AfterFunc(endFor, stop)
	defer patience.Stop()
	for {
		select {
		case r := <-c.results:
			out = append(out, r)
		case <-over:
			for {
				select {
				case r := <-c.results:
					out = append(out, r)
				default:
					return out
				}
			}
		}
	}
}

// Once sends what is due now and returns when it is reported: at once, or with
// the error of the tenant that could not take the report.
func (c *Courier) Once(ctx context.Context) error {
	for {
		before := len(c.flying)
		c.resume = time.Time{}
		c.launch(ctx)
		if len(c.flying) == before && len(c.results) == 0 {
			return nil
		}
		var open []result
		for len(c.flying) > 0 {
			r := <-c.results
			open = append(open, r)
			for _, k := range r.done {
				delete(c.flying, k)
			}
		}
		if !c.report(open) {
			return errors.New("courier: the tenant took no report")
		}
	}
}

// report hands in what came of attempts; it is false where that has to be done
// again.
func (c *Courier) report(rs []result) bool {
	var d command.Deliver
	for _, r := range rs {
		d.Attempts = append(d.Attempts, r.attempts...)
		d.Dead = append(d.Dead, r.dead...)
		d.Bounces = append(d.Bounces, r.bounces...)
	}
	for len(d.Attempts) > 0 || len(d.Dead) > 0 || len(d.Bounces) > 0 {
		part := command.Deliver{
			Attempts: d.Attempts[:min(reported, len(d.Attempts))], Dead: d.Dead[:min(reported, len(d.Dead))],
			Bounces: d.Bounces[:min(reported, len(d.Bounces))],
		}
		if _, err := c.opts.Tenant.Submit(context.Background(), &command.Command{Deliver: &part}); err != nil {
			if !fault.Is(err, fault.ShuttingDown) && !fault.Is(err, fault.TenantStopped) {
				c.opts.Log.Error("deliveries could not be noted", slog.String("error", err.Error()))
			}
			return false
		}
		d.Attempts, d.Dead, d.Bounces = d.Attempts[len(part.Attempts):], d.Dead[len(part.Dead):], d.Bounces[len(part.Bounces):]
	}
	for _, r := range rs {
		c.waking = append(c.waking, r.again...)
		for _, k := range r.done {
			delete(c.flying, k)
		}
	}
	return true
}

// launch starts what is due and may be sent, and returns for how long there is
// nothing more to look at unless something happens.
func (c *Courier) launch(ctx context.Context) time.Duration {
	now := c.opts.Tenant.Now()
	p := &plan{c: c, now: now, digests: map[ident.RecordID]*digest{}}
	next, err := p.draw()
	if err != nil {
		return time.Second
	}
	for _, l := range p.letters {
		c.fly(l.keys, func() result { return c.mail(ctx, l) })
	}
	if len(p.pushes) > 0 {
		var keys []string
		for _, x := range p.pushes {
			if !slices.Contains(keys, x.key) {
				keys = append(keys, x.key)
			}
		}
		c.fly(keys, func() result { return c.push(ctx, p.pushes) })
	}
	if len(p.said.attempts) > 0 {
		c.fly(p.said.done, func() result { return p.said })
	}
	return max(0, min(next, 30*time.Second))
}

// fly runs one attempt beside the others.
func (c *Courier) fly(keys []string, f func() result) {
	for _, k := range keys {
		c.flying[k] = true
	}
	c.sending.Go(func() {
		r := f()
		r.done = keys
		select {
		case c.results <- r:
		case <-c.opts.Tenant.Done(): // nobody will ask
		}
	})
}

// wait is how long to wait after an attempt.
func wait(o push.Outcome, attempts int) ident.Millis {
	if o.After > 0 {
		return min(ident.Millis(o.After.Milliseconds()), longestWait)
	}
	d := firstWait
	for ; attempts > 0 && d < longestWait; attempts-- {
		d *= 2
	}
	return min(d, longestWait)
}

// outgoing is a push of an intent, or of nothing but the wish that the device
// pulls.
type outgoing struct {
	key     string // of flying
	in      outbox.Intent
	channel outbox.Channels
	to      apply.Address
	wake    *waking
	msg     Push
}

// push makes one attempt at pushes.
func (c *Courier) push(ctx context.Context, list []outgoing) (r result) {
	ctx, cancel := context.WithTimeout(ctx, sendFor)
	defer cancel()
	ms := make([]Push, len(list))
	for i, x := range list {
		ms[i] = x.msg
	}
	out := c.opts.Pusher.Push(ctx, ms)
	now := c.opts.Tenant.Now()
	byKey := map[string]*command.Attempt{}
	var order []string
	for i, x := range list {
		o := push.Outcome{Kind: push.Retry}
		if i < len(out) {
			o = out[i]
		}
		channel := x.channel.String()
		if x.wake != nil {
			channel = "wake"
		}
		c.opts.Observe(channel, o.Kind.String())
		switch o.Kind {
		case push.Sent:
			c.opts.Tenant.Told(x.to.Device)
		case push.Dead:
			r.dead = append(r.dead, command.DeadAddress{Device: x.to.Device, Token: x.to.Digest()})
		case push.Rejected:
			c.opts.Log.Warn("a push was rejected", slog.String("event", x.in.Event), slog.String("reason", o.Reason))
		case push.Retry:
		}
		if x.wake != nil {
			if o.Kind == push.Retry {
				if w := *x.wake; w.attempt+1 < wakeTries {
					w.at = now + wait(o, w.attempt)
					w.attempt++
					r.again = append(r.again, w)
				} else {
					c.opts.Tenant.NotTold(w.device)
				}
			}
			continue
		}
		a := byKey[x.key]
		if a == nil {
			a = &command.Attempt{Intent: x.in.ID, Done: uint8(x.channel)}
			byKey[x.key] = a
			order = append(order, x.key)
		}
		if o.Kind == push.Retry {
			at := now + wait(o, x.in.Attempts)
			if !a.Failed || at < a.NotBefore {
				a.NotBefore = at
			}
			a.Done, a.Failed = 0, true
			continue
		}
		a.Reached = append(a.Reached, x.to.Device)
	}
	for _, k := range order {
		r.attempts = append(r.attempts, *byKey[k])
	}
	return r
}

// outletter is a letter with what it is about.
type outletter struct {
	keys    []string // of flying
	intents []outbox.Intent
	channel []outbox.Channels // of each intent
	msg     Letter
}

// mail makes one attempt at a letter.
func (c *Courier) mail(ctx context.Context, l outletter) (r result) {
	ctx, cancel := context.WithTimeout(ctx, sendFor)
	defer cancel()
	o := c.opts.Mailer.Mail(ctx, l.msg)
	if o.Carrier {
		c.opts.Observe("mail", "refused-by-carrier")
	} else {
		c.opts.Observe("mail", o.Kind.String())
	}
	if o.Kind == push.Rejected || o.Kind == push.Dead {
		c.opts.Log.Warn("a mail was rejected", slog.String("person", string(l.intents[0].Person)), slog.String("reason", o.Reason))
	}
	if o.Kind == push.Dead || o.Soft {
		sum := sha256.Sum256([]byte(l.msg.Key))
		r.bounces = append(r.bounces, command.Bounce{
			Person: l.intents[0].Person, Address: apply.AddressDigest(l.msg.To), Mail: hex.EncodeToString(sum[:6]), Permanent: o.Kind == push.Dead,
		})
	}
	now := c.opts.Tenant.Now()
	for i, in := range l.intents {
		a := command.Attempt{Intent: in.ID, Done: uint8(l.channel[i])}
		if o.Kind == push.Retry {
			a.Done, a.Failed, a.NotBefore = 0, true, now+wait(o, in.Attempts)
		}
		r.attempts = append(r.attempts, a)
	}
	return r
}

// compareIntents orders intents as they were made.
func compareIntents(a, b outbox.Intent) int { return bytes.Compare([]byte(a.ID), []byte(b.ID)) }
