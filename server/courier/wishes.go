package courier

import (
	"encoding/json"
	"strings"
	"time"
	_ "time/tzdata" // zones are part of the program: phones and servers agree on them

	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/sync/outbox"
	"satchel/sync/state"
)

// Keys and values of preferences that say how a person is told. Clients write
// them like any preference; what makes no sense counts as not said.
//
//	notify.EVENT.CHANNEL  "off"   push, silent or mail of one event
//	quiet-hours           {"from":"22:00","to":"07:00"}   local times
//	mail                  "immediate" (unless said), "digest" or "off"
//	language              a tag like "de"
//	mail-address          the person's address: it takes mail again; apply reads it
//
// Text may also stand as JSON, in quotes.
const (
	wishPrefix  = "notify."
	wishQuiet   = "quiet-hours"
	wishMail    = "mail"
	wishLang    = "language"
	wishOff     = "off"
	mailDigest  = "digest"
	mailOff     = "off"
	digestAt    = 7 // o'clock, in the person's zone
	typeWishes  = "preference"
	maxLanguage = 35
)

// wishes are how a person wants to be told, and where they are in time.
type wishes struct {
	zone     *time.Location
	from, to int // quiet hours, minutes since midnight; equal for none
	mail     string
	language string
	refused  map[string]bool // EVENT.CHANNEL
}

// readWishes reads an employee's preferences. Of two with the same key the
// later one counts.
func readWishes(rd *state.Reader, employee *entity.Record) wishes {
	w := wishes{zone: time.UTC, refused: map[string]bool{}}
	if name := employee.Get("timeZone").Text(); name != "" && name != "Local" {
		if z, err := time.LoadLocation(name); err == nil {
			w.zone = z
		}
	}
	t := rd.Cat.Type(typeWishes)
	for o := range rd.Referring(t, t.Field("owner").No, employee.ID).All() {
		r, ok := rd.LoadOrd(o)
		if !ok {
			continue
		}
		key, value := r.Get("key").Text(), strings.TrimSpace(r.Get("value").Text())
		var quoted string
		if json.Unmarshal([]byte(value), &quoted) == nil {
			value = quoted
		}
		switch {
		case key == wishQuiet:
			w.from, w.to = hours(value)
		case key == wishMail:
			w.mail = value
		case key == wishLang && len(value) <= maxLanguage:
			w.language = value
		case strings.HasPrefix(key, wishPrefix):
			w.refused[strings.TrimPrefix(key, wishPrefix)] = value == wishOff
		}
	}
	return w
}

// hours reads quiet hours; 0, 0 for none.
func hours(s string) (from, to int) {
	var q struct{ From, To string }
	if json.Unmarshal([]byte(s), &q) != nil {
		return 0, 0
	}
	minutes := func(s string) (int, bool) {
		t, err := time.Parse("15:04", s)
		return t.Hour()*60 + t.Minute(), err == nil
	}
	from, ok := minutes(q.From)
	to, ok2 := minutes(q.To)
	if !ok || !ok2 {
		return 0, 0
	}
	return from, to
}

// off reports whether the person refuses an event on a channel.
func (w wishes) off(event string, ch outbox.Channels) bool {
	name := ch.String()
	if ch == outbox.Digest {
		name = outbox.Mail.String()
	}
	return w.refused[event+"."+name]
}

// local is an instant on the person's clock.
func (w wishes) local(at ident.Millis) time.Time { return at.Time().In(w.zone) }

// quiet reports whether the instant lies in the person's quiet hours, and when
// those end. They are hours of the clock on the wall: on a night when it is put
// forward or back they are shorter or longer.
func (w wishes) quiet(at ident.Millis) (end ident.Millis, ok bool) {
	if w.from == w.to {
		return 0, false
	}
	t := w.local(at)
	m := t.Hour()*60 + t.Minute()
	day := t.Day()
	switch {
	case w.from < w.to:
		if m < w.from || m >= w.to {
			return 0, false
		}
	case m >= w.from:
		day++
	case m >= w.to:
		return 0, false
	}
	end = ident.MillisOf(time.Date(t.Year(), t.Month(), day, w.to/60, w.to%60, 0, 0, w.zone))
	if end <= at {
		// The clock was put back past the end, which comes a second time.
		end = at + 60_000
	}
	return end, true
}

// digestAfter is when the first digest after an instant goes out.
func (w wishes) digestAfter(at ident.Millis) ident.Millis {
	t := w.local(at)
	for day := t.Day(); ; day++ {
		if m := ident.MillisOf(time.Date(t.Year(), t.Month(), day, digestAt, 0, 0, 0, w.zone)); m > at {
			return m
		}
	}
}
