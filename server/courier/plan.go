package courier

import (
	"fmt"
	"log/slog"
	"slices"
	"time"

	"satchel/internal/command"
	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/internal/mutant"
	"satchel/internal/policy"
	"satchel/server/push/mail/template"
	"satchel/sync/apply"
	"satchel/sync/outbox"
	"satchel/sync/tenant"
)

// plan is what one look at the outbox comes to. All of it is read from one
// committed state; nothing is sent while that is open.
type plan struct {
	c       *Courier
	now     ident.Millis
	v       *tenant.View
	people  map[ident.RecordID]*reader
	pushes  []outgoing
	letters []outletter
	said    result // what needs no sending
	digests map[ident.RecordID]*digest
	order   []ident.RecordID // of digests
	next    ident.Millis     // when something waits for its time, 0 for nothing
}

// digest gathers what one person is told in one letter.
type digest struct {
	who     *reader
	intents []outbox.Intent
	channel []outbox.Channels
	items   []template.Item
}

// reader is a person whom something is for, as of the plan's state.
type reader struct {
	sub   *policy.Subject
	rec   *entity.Record
	wants wishes
}

// draw looks at what is due. It returns how long until something else is.
func (p *plan) draw() (time.Duration, error) {
	later := ident.Millis(0)
	err := p.c.opts.Tenant.Read(func(v *tenant.View) error {
		p.v, p.people = v, map[ident.RecordID]*reader{}
		var due []outbox.Intent
		at, ok := outbox.Due(v.KV(), p.now, func(in outbox.Intent) bool {
			due = append(due, in)
			return len(due) < scanned
		})
		if ok {
			later = at
		}
		slices.SortFunc(due, compareIntents)
		for _, in := range due {
			p.judge(in)
		}
		p.bind()
		p.wake()
		return nil
	})
	if err != nil {
		return 0, err
	}
	if p.next != 0 && (later == 0 || p.next < later) {
		later = p.next
	}
	if later == 0 {
		return time.Hour, nil
	}
	return time.Duration(later-p.now) * time.Millisecond, nil
}

// soon has the courier look again by the instant.
func (p *plan) soon(at ident.Millis) {
	if p.next == 0 || at < p.next {
		p.next = at
	}
}

// say notes what is to be reported of an intent without sending anything.
func (p *plan) say(a command.Attempt) {
	p.said.attempts = append(p.said.attempts, a)
	p.said.done = append(p.said.done, a.Intent)
}

// person returns somebody with the rights of the plan's state; nil for nobody
// who is told anything.
func (p *plan) person(id ident.RecordID) *reader {
	if r, ok := p.people[id]; ok {
		return r
	}
	var out *reader
	if sub := p.v.Subject(id); sub != nil && sub.Active {
		if rec, ok := p.v.Load(id); ok {
			out = &reader{sub, rec, readWishes(p.v.Reader, rec)}
		}
	}
	p.people[id] = out
	return out
}

// judge decides what becomes of an intent: whether its person may still know,
// and on which of the channels left it goes out now.
func (p *plan) judge(in outbox.Intent) {
	if p.c.flying[in.ID] {
		return
	}
	if in.Nonce != nil {
		p.token(in)
		return
	}
	who := p.person(in.Person)
	if who == nil {
		p.withdraw(in)
		return
	}
	if u := who.sub.Until; u != 0 && u <= p.now {
		p.soon(p.now + 200) // rights are about to change by themselves
		return
	}
	var about *entity.Record
	var sight policy.Sight
	if in.About != "" {
		rec, ok := p.v.Load(in.About)
		if ok {
			sight = who.sub.Sees(rec, p.v.Reader)
		}
		if about = rec; !ok || (sight.Mask == 0 && !mutant.On(mutant.SendUnchecked)) {
			p.withdraw(in)
			return
		}
	}
	if in.Notification != "" {
		// Read already, or gone: nobody waits for word of it.
		if note, ok := p.v.Load(in.Notification); !ok || !note.Get("readAt").IsNull() {
			p.say(command.Attempt{Intent: in.ID, Done: uint8(in.Channels)})
			return
		}
	}
	if p.now-in.Created > keepTrying {
		p.c.opts.Observe(in.Channels.String(), "given-up")
		p.c.opts.Log.Warn("a delivery was given up", slog.String("tenant", string(p.c.opts.Tenant.ID())),
			slog.String("event", in.Event), slog.String("channels", in.Channels.String()), slog.Int("attempts", in.Attempts))
		p.say(command.Attempt{Intent: in.ID, Done: uint8(in.Channels)})
		return
	}
	var done outbox.Channels
	var until ident.Millis // the earliest of what waits
	busy := false
	for _, ch := range []outbox.Channels{outbox.Push, outbox.Silent, outbox.Mail, outbox.Digest} {
		if in.Channels&ch == 0 {
			continue
		}
		if p.c.flying[flight(in, ch)] {
			busy = true
			continue
		}
		var v verdict
		if ch == outbox.Push || ch == outbox.Silent {
			v = p.pushing(in, ch, who)
		} else {
			v = p.mailing(in, ch, who, about, sight)
		}
		switch {
		case v.done:
			done |= ch
		case v.at != 0:
			if until == 0 || v.at < until {
				until = v.at
			}
		default:
			busy = true
		}
	}
	switch {
	case done == in.Channels:
		p.say(command.Attempt{Intent: in.ID, Done: uint8(done)})
	case busy: // its outcome is reported; then the rest is looked at again
	case until != 0:
		p.say(command.Attempt{Intent: in.ID, Done: uint8(done), NotBefore: until})
	}
}

// flight names an intent's attempt on a channel.
func flight(in outbox.Intent, ch outbox.Channels) string { return in.ID + "/" + ch.String() }

// verdict says what becomes of a channel: done with, to wait until an instant,
// or neither where it is under way or waits for a free place.
type verdict struct {
	done bool
	at   ident.Millis
}

func (p *plan) withdraw(in outbox.Intent) {
	p.c.opts.Observe(in.Channels.String(), "withdrawn")
	p.say(command.Attempt{Intent: in.ID, Withdraw: true})
}

// room reports whether another message may be under way.
func (p *plan) room() bool { return len(p.c.flying)+len(p.pushes)+len(p.letters) < inFlight }

// pushing plans the pushes to a person's devices.
func (p *plan) pushing(in outbox.Intent, ch outbox.Channels, who *reader) verdict {
	if p.c.opts.Pusher == nil || !who.sub.Mobile || who.wants.off(in.Event, ch) {
		return verdict{done: true}
	}
	if ch == outbox.Push && !in.Urgent {
		if end, quiet := who.wants.quiet(p.now); quiet {
			return verdict{at: end}
		}
	}
	var to []apply.Address
	for _, a := range apply.Addresses(p.v.Reader, in.Person, p.now) {
		if a.Device != in.Except && !slices.Contains(in.Reached, a.Device) && (!p.c.opts.Tenant.Live(a.Device) || mutant.On(mutant.PushToLive)) {
			to = append(to, a)
		}
	}
	if len(to) == 0 {
		return verdict{done: true}
	}
	if !p.room() {
		return verdict{}
	}
	for _, a := range to {
		p.pushes = append(p.pushes, outgoing{key: flight(in, ch), in: in, channel: ch, to: a, msg: Push{
			Key: in.ID + "/" + string(a.Device), Token: a.Token, Category: in.Category, Visible: ch == outbox.Push,
			High: in.High && ch == outbox.Push, TTL: alertTTL, Language: who.wants.language, Attempt: in.Attempts,
		}})
	}
	return verdict{}
}

// mailing plans a letter, or a line in the day's.
func (p *plan) mailing(in outbox.Intent, ch outbox.Channels, who *reader, about *entity.Record, sight policy.Sight) verdict {
	address := who.rec.Get("email").Text()
	// What warns of somebody else acting in one's name is not to be turned off.
	warning := in.Category == outbox.Access
	if p.c.opts.Mailer == nil || address == "" || apply.MailRefused(who.rec) || (!warning && (who.wants.mail == mailOff || who.wants.off(in.Event, ch))) {
		return verdict{done: true}
	}
	daily := ch == outbox.Digest || (who.wants.mail == mailDigest && !in.Urgent && !warning)
	if daily {
		if at := who.wants.digestAfter(in.Created); at > p.now {
			return verdict{at: at}
		}
	}
	if !in.Urgent && !warning {
		if end, quiet := who.wants.quiet(p.now); quiet {
			return verdict{at: end}
		}
	}
	title, line := p.words(in, who, about, sight)
	if daily {
		d := p.digests[in.Person]
		if d == nil {
			d = &digest{who: who}
			p.digests[in.Person] = d
			p.order = append(p.order, in.Person)
		}
		d.intents, d.channel = append(d.intents, in), append(d.channel, ch)
		d.items = append(d.items, template.Item{Title: title, Line: line, At: who.wants.local(in.Created)})
		return verdict{}
	}
	if !p.room() {
		return verdict{}
	}
	values := p.values(in, who, about, title, line)
	m, err := template.Render(who.wants.language, values)
	if err != nil {
		p.c.opts.Log.Error("a mail could not be written", slog.String("event", in.Event), slog.String("error", err.Error()))
		return verdict{done: true}
	}
	off := ""
	if !warning {
		off = p.c.opts.Unsubscribe.link(p.c.opts.Tenant.ID(), in.Person, in.Event)
	}
	p.letters = append(p.letters, outletter{
		keys: []string{flight(in, ch)}, intents: []outbox.Intent{in}, channel: []outbox.Channels{ch},
		msg: Letter{
			Key: in.ID, To: address, Subject: m.Subject, Text: m.Text, HTML: m.HTML, Attempt: in.Attempts, Unsubscribe: off,
			Return: p.comesBack(who.rec, in.ID, in.Created),
		},
	})
	return verdict{}
}

// comesBack is where a mail to a person comes back to; the same at every
// attempt.
func (p *plan) comesBack(person *entity.Record, key string, begun ident.Millis) string {
	return p.c.opts.Returns.address(p.c.opts.Tenant.ID(), person.Ord, person.Get("email").Text(), key, begun)
}

// token plans the letter of an invitation or of a reset. It is tried until its
// link is of no use: accepted, followed by another, or over. What the person
// prefers has no part in it but for the language.
func (p *plan) token(in outbox.Intent) {
	done := command.Attempt{Intent: in.ID, Done: uint8(in.Channels)}
	c, t := p.c.opts, p.c.opts.Tenant.ID()
	emp, ok := p.v.Load(in.Person)
	if !ok || c.Mailer == nil || c.Links == nil || emp.Get("email").IsNull() || apply.MailRefused(emp) {
		p.say(done)
		return
	}
	var invited apply.Invited
	link, ok := c.Links.Link(t, in.Person, in.Nonce, func(digest []byte) (found bool) {
		invited, found = apply.FindInvitation(p.v.Reader, digest, p.now)
		return found
	})
	if !ok || invited.Employee != in.Person {
		p.c.opts.Observe(in.Channels.String(), "withdrawn")
		p.say(done)
		return
	}
	if p.c.flying[flight(in, outbox.Mail)] || !p.room() {
		return // its outcome is reported; or a place becomes free
	}
	wants := readWishes(p.v.Reader, emp)
	who := template.Person{Name: emp.Get("name").Text(), Product: c.Product}
	var v template.Values
	switch until := wants.local(invited.Expires); in.Event {
	case outbox.PasswordReset:
		v = template.PasswordReset{Person: who, Link: link, Until: until}
	default:
		v = template.Invitation{Person: who, Link: link, Until: until}
	}
	m, err := template.Render(wants.language, v)
	if err != nil {
		c.Log.Error("a mail could not be written", slog.String("event", in.Event), slog.String("error", err.Error()))
		p.say(done)
		return
	}
	p.letters = append(p.letters, outletter{
		keys: []string{flight(in, outbox.Mail)}, intents: []outbox.Intent{in}, channel: []outbox.Channels{outbox.Mail},
		msg: Letter{
			Key: in.ID, To: emp.Get("email").Text(), Subject: m.Subject, Text: m.Text, HTML: m.HTML, Attempt: in.Attempts,
			Return: p.comesBack(emp, in.ID, in.Created),
		},
	})
}

// bind makes letters of the digests. Its key is that of the oldest line: what
// is sent again after a crash is the same letter.
func (p *plan) bind() {
	for _, id := range p.order {
		if !p.room() {
			p.soon(p.now + 1000)
			return
		}
		d := p.digests[id]
		m, err := template.Render(d.who.wants.language, template.Digest{Person: p.greet(d.who), Items: d.items})
		if err != nil {
			p.c.opts.Log.Error("a digest could not be written", slog.String("error", err.Error()))
			for i, in := range d.intents {
				p.say(command.Attempt{Intent: in.ID, Done: uint8(d.channel[i])})
			}
			continue
		}
		l := outletter{intents: d.intents, channel: d.channel, msg: Letter{
			Key: "digest/" + d.intents[0].ID, To: d.who.rec.Get("email").Text(), Subject: m.Subject, Text: m.Text, HTML: m.HTML,
			Unsubscribe: p.c.opts.Unsubscribe.link(p.c.opts.Tenant.ID(), id, allMail),
			Return:      p.comesBack(d.who.rec, "digest/"+d.intents[0].ID, d.intents[0].Created),
		}}
		for i, in := range d.intents {
			l.keys = append(l.keys, flight(in, d.channel[i]))
			l.msg.Attempt = max(l.msg.Attempt, in.Attempts)
		}
		p.letters = append(p.letters, l)
	}
}

func (p *plan) greet(who *reader) template.Person {
	return template.Person{Name: who.rec.Get("name").Text(), Product: p.c.opts.Product}
}

// words is an event in a few words, and the record it is about as its reader
// sees it.
func (p *plan) words(in outbox.Intent, who *reader, about *entity.Record, sight policy.Sight) (title, line string) {
	title = in.Event
	if rule := p.c.opts.Rules.Event(in.Event); rule != nil {
		title = rule.Phrase(who.wants.language)
	}
	if in.By != "" {
		if by, ok := p.v.Load(in.By); ok {
			if s := who.sub.Sees(by, p.v.Reader); s.Mask.Has(by.Type.Field("name").No) {
				return title, by.Get("name").Text()
			}
		}
	}
	for depth := 0; about != nil && depth < 3; depth++ {
		if line = called(about, sight.Mask); line != "" {
			return title, line
		}
		// What hangs on a record has no name of its own.
		above, ok := p.v.Load(about.RootOf())
		if !ok {
			break
		}
		about, sight = above, who.sub.Sees(above, p.v.Reader)
	}
	return title, ""
}

// called is what a record is called, of the fields that are seen.
func called(r *entity.Record, seen entity.Mask) string {
	text := func(names ...string) string {
		for _, n := range names {
			if f := r.Type.Field(n); f != nil && seen.Has(f.No) && f.Kind == entity.String {
				if s := r.Value(f.No).Text(); s != "" {
					return s
				}
			}
		}
		return ""
	}
	name, number := text("subject", "title", "name"), text("number")
	switch {
	case number == "":
		return name
	case name == "":
		return number
	}
	return number + " · " + name
}

// values are what the mail of an event is made of.
func (p *plan) values(in outbox.Intent, who *reader, about *entity.Record, title, line string) template.Values {
	if about != nil && about.Type.Name == "device" {
		if p.c.opts.DevicesLink != "" {
			return template.NewDevice{
				Person: p.greet(who), Device: about.Get("name").Text(), Platform: about.Get("platform").Text(),
				At: who.wants.local(in.Created), Link: p.c.opts.DevicesLink,
			}
		}
		if platform := about.Get("platform").Text(); platform != "" {
			line = fmt.Sprintf("%s (%s)", line, platform)
		}
	}
	return template.Notice{Person: p.greet(who), Title: title, Line: line}
}

// wake plans silent pushes to devices that are to pull, some at a time.
func (p *plan) wake() {
	c := p.c
	if c.opts.Pusher == nil {
		return
	}
	send := func(w waking) {
		a, ok := apply.ReadAddress(p.v.Reader, w.device, p.now)
		if !ok || c.opts.Tenant.Live(w.device) {
			return
		}
		who := p.person(a.Employee)
		if who == nil || !who.sub.Mobile {
			return
		}
		key := "wake/" + string(w.device)
		if slices.ContainsFunc(p.pushes, func(x outgoing) bool { return x.to.Device == w.device }) || c.flying[key] {
			return // something else has it pull
		}
		p.pushes = append(p.pushes, outgoing{key: key, to: a, channel: outbox.Silent, wake: &w, msg: Push{
			Key: w.key, Token: a.Token, Category: outbox.Sync, TTL: wakeTTL, Attempt: w.attempt,
		}})
	}
	var rest []waking
	for _, w := range c.waking {
		if w.at > p.now {
			rest = append(rest, w)
			p.soon(w.at)
			continue
		}
		send(w)
	}
	c.waking = rest
	if pause := time.Until(c.resume); pause > 0 {
		p.soon(p.now + max(1, ident.Millis(pause.Milliseconds())))
		return
	}
	ids, more := c.opts.Tenant.TakeOwed(wakes)
	for _, id := range ids {
		send(waking{device: id, key: fmt.Sprintf("wake/%s/%d", id, p.now)})
	}
	if len(ids) > 0 {
		c.resume = time.Now().Add(wakePause)
	}
	if more {
		p.soon(p.now + ident.Millis(wakePause.Milliseconds()))
	}
}
