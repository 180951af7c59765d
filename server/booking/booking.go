// Package booking tells when people are taken: the times of their activities
// and tickets, and nothing of what they are; and when they don't work. Whoever assigns work is told the
// times of everybody's work, of clients hidden from them too: that much is
// declassified. Edges ask it; nothing is refused because of it.
package booking

import (
	"cmp"
	"slices"
	"time"

	"satchel/internal/calendar"
	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/internal/policy"
	"satchel/sync/state"
	"satchel/sync/subject"
	"satchel/sync/wire"
)

// Usual is how long work takes of which only one end is known, and a ticket
// before it is due.
const Usual = ident.Millis(time.Hour / time.Millisecond)

// Longest bounds a span of time that can be asked about.
const Longest = ident.Millis(62 * 24 * time.Hour / time.Millisecond)

// Slot is a span of time, its end not included.
type Slot calendar.Span

// MarshalJSON renders {"from","to"} in RFC 3339.
func (s Slot) MarshalJSON() ([]byte, error) {
	return []byte(`{"from":"` + s.From.RFC3339() + `","to":"` + s.To.RFC3339() + `"}`), nil
}

func (s Slot) meets(o Slot) bool { return s.From < o.To && o.From < s.To }

// kinds are the types whose records take people's time, with the fields of its
// begin and end; where only the end is told, it is when the work is due.
var kinds = []struct{ typ, from, to string }{
	{"jobActivity", "scheduledStart", "scheduledEnd"},
	{"ticket", "", "due"},
}

// Of returns the time that a record of work takes of its assignee; ok is false
// for a type that takes none, and for work without a time or that is done.
func Of(r *entity.Record) (Slot, bool) {
	i := slices.IndexFunc(kinds, func(k struct{ typ, from, to string }) bool { return k.typ == r.Type.Name })
	if i < 0 || !slices.Contains(r.Type.Status.Open, r.StatusText()) {
		return Slot{}, false
	}
	to, ended := r.Get(kinds[i].to).Time()
	from, begun := ident.Millis(0), false
	if kinds[i].from != "" {
		from, begun = r.Get(kinds[i].from).Time()
	}
	switch {
	case begun && ended && to > from:
	case begun:
		to = from + Usual
	case ended:
		from = to - Usual
	default:
		return Slot{}, false
	}
	return Slot{from, to}, true
}

// Busy returns when a person is taken within a span, merged, so that it does
// not show how much work there is. Work of the record without is left out.
func Busy(rd *state.Reader, person ident.RecordID, within Slot, without ident.RecordID) []Slot {
	var all []Slot
	for _, k := range kinds {
		t := rd.Cat.Type(k.typ)
		for o := range rd.Referring(t, t.Field("assignee").No, person).All() {
			r, ok := rd.LoadOrd(o)
			if !ok || r.ID == without {
				continue
			}
			if s, ok := Of(r); ok && s.meets(within) {
				all = append(all, Slot{max(s.From, within.From), min(s.To, within.To)})
			}
		}
	}
	slices.SortFunc(all, func(a, b Slot) int { return cmp.Compare(a.From, b.From) })
	var out []Slot
	for _, s := range all {
		if n := len(out); n > 0 && s.From <= out[n-1].To {
			out[n-1].To = max(out[n-1].To, s.To)
			continue
		}
		out = append(out, s)
	}
	return out
}

// Off returns when a person does not work within a span, by the calendars of
// their scheduling roles; nothing where none says so.
func Off(look policy.Lookup, person *policy.Subject, within Slot) []Slot {
	hours, told := subject.Hours(look, person, calendar.Span(within))
	if !told {
		return nil
	}
	var out []Slot
	from := within.From
	for _, h := range append(hours, calendar.Span{From: within.To, To: within.To}) {
		if from < h.From {
			out = append(out, Slot{from, h.From})
		}
		from = h.To
	}
	return out
}

// Free reports whether somebody who is busy and off at those times within a
// span, see Busy and Off, works in it and has nothing to do.
func Free(within Slot, busy, off []Slot) bool {
	return len(busy) == 0 && !slices.Equal(off, []Slot{within})
}

// Warnings tells at which times whoever a record is assigned to has other work.
// Work without a time, as most tickets are, is taken to begin now.
func Warnings(rd *state.Reader, id ident.RecordID) []wire.Warning {
	r, ok := rd.Load(id)
	if !ok {
		return nil
	}
	f := r.Type.Field("assignee")
	if f == nil || r.Value(f.No).IsNull() {
		return nil
	}
	at, ok := Of(r)
	if !ok {
		at = Slot{rd.Now(), rd.Now() + Usual}
	}
	var out []wire.Warning
	for _, s := range Busy(rd, r.Value(f.No).Ref(), at, r.ID) {
		out = append(out, wire.Warning{
			Code: wire.DoubleBooked, Message: "The person has other work at this time.", From: s.From.RFC3339(), To: s.To.RFC3339(),
		})
	}
	return out
}
