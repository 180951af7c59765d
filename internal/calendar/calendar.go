// Package calendar reckons working hours: weekly ones and the days on which
// nobody works, at a fixed offset from UTC. It knows no time zones, which differ
// from machine to machine, so that the deterministic core may ask it. Modules
// check by it what is entered, the core and the edges judge by it.
package calendar

import (
	"cmp"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"satchel/internal/entity"
	"satchel/internal/ident"
)

// Weekdays are the names of days in hours, in their order.
var Weekdays = []string{"monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"}

// Offsets from UTC that there are, in minutes.
const (
	MinOffset = -12 * 60
	MaxOffset = 14 * 60
)

const (
	minute = ident.Millis(time.Minute / time.Millisecond)
	day    = 24 * 60 * minute
)

// Span is a span of time, its end not included.
type Span struct{ From, To ident.Millis }

// Calendar is when somebody works.
type Calendar struct {
	// weekly are the spans of each weekday, in milliseconds from midnight,
	// sorted; nil for the whole of every day.
	weekly [7][]Span
	always bool
	off    map[string]bool // dates
	offset ident.Millis
}

// Of reads the calendar of a record with the fields hours, daysOff and
// utcOffset. Errors are in words for a person, see [Fault].
func Of(r *entity.Record) (*Calendar, error) {
	var rows []struct{ Day, From, Until string }
	if v := r.Get("hours"); !v.IsNull() {
		if err := json.Unmarshal(v, &rows); err != nil {
			return nil, &Fault{"hours", "hours can't be read."}
		}
	}
	c := &Calendar{always: len(rows) == 0, off: map[string]bool{}, offset: ident.Millis(r.Get("utcOffset").Int()) * minute}
	if c.offset < MinOffset*minute || c.offset > MaxOffset*minute {
		return nil, &Fault{"utcOffset", "utcOffset is in minutes, from -720 to 840."}
	}
	for _, row := range rows {
		i := slices.Index(Weekdays, row.Day)
		from, err := clock(row.From)
		until, err2 := clock(row.Until)
		if i < 0 || err != nil || err2 != nil || until <= from {
			return nil, &Fault{"hours", "hours are from a time until a later one of the same day, as 08:00 and 16:30; a day ends at 24:00."}
		}
		c.weekly[i] = append(c.weekly[i], Span{from, until})
	}
	for _, date := range r.Get("daysOff").Set() {
		if _, err := time.Parse(time.DateOnly, date); err != nil {
			return nil, &Fault{"daysOff", "daysOff are dates like 2026-12-25."}
		}
		c.off[date] = true
	}
	return c, nil
}

// Fault is what is wrong with a calendar.
type Fault struct{ Field, Words string }

// Error implements error.
func (f *Fault) Error() string { return f.Words }

var errClock = errors.New("calendar: no time of a day")

// clock reads a time of a day like 08:30, from midnight on; 24:00 is its end.
func clock(s string) (ident.Millis, error) {
	if s == "24:00" {
		return day, nil
	}
	t, err := time.Parse("15:04", s)
	if err != nil || len(s) != len("15:04") {
		return 0, errClock
	}
	return ident.Millis(t.Hour()*60+t.Minute()) * minute, nil
}

// Within reports whether work that begins and ends at the instants, either of
// which may be unknown, begins and ends in working hours. In between may lie a
// night.
func (c *Calendar) Within(from, to *ident.Millis) bool {
	return (from == nil || c.works(*from)) && (to == nil || c.works(*to-1))
}

// works reports whether an instant lies in working hours.
func (c *Calendar) works(at ident.Millis) bool {
	d := floor(at + c.offset)
	return slices.ContainsFunc(c.of(d), func(s Span) bool { return s.From <= at && at < s.To })
}

// Spans returns the working hours within a span of time, in their order, those
// that meet as one.
func (c *Calendar) Spans(within Span) []Span {
	var out []Span
	for d := floor(within.From + c.offset); d <= floor(within.To+c.offset); d++ {
		out = append(out, c.of(d)...)
	}
	return Merge(out, within)
}

// Merge joins spans that meet, in their order, cut to what lies within.
func Merge(all []Span, within Span) []Span {
	var out []Span
	for _, s := range slices.SortedFunc(slices.Values(all), func(a, b Span) int { return cmp.Compare(a.From, b.From) }) {
		s = Span{max(s.From, within.From), min(s.To, within.To)}
		switch n := len(out); {
		case s.From >= s.To:
		case n > 0 && s.From <= out[n-1].To:
			out[n-1].To = max(out[n-1].To, s.To)
		default:
			out = append(out, s)
		}
	}
	return out
}

// of returns the working hours of a local day, counted from 1970, a Thursday.
func (c *Calendar) of(d ident.Millis) []Span {
	midnight := d*day - c.offset
	if c.off[time.UnixMilli(int64(d*day)).UTC().Format(time.DateOnly)] {
		return nil
	}
	if c.always {
		return []Span{{midnight, midnight + day}}
	}
	var out []Span
	for _, s := range c.weekly[((d+3)%7+7)%7] {
		out = append(out, Span{midnight + s.From, midnight + s.To})
	}
	return out
}

// floor returns the day in which a local time lies.
func floor(local ident.Millis) ident.Millis {
	d := local / day
	if local%day < 0 {
		d--
	}
	return d
}
