package subject

import (
	"slices"

	"satchel/internal/calendar"
	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/internal/policy"
)

// SchedulingRole is the type of what people are dispatched as, and the field by
// which work asks for one; OnsiteGroup is the field that says for whom of those
// who are onsite work is.
const (
	SchedulingRole = "schedulingRole"
	OnsiteGroup    = "onsiteGroup"
)

// Assignment is work that somebody is to be given by an action that assigns.
type Assignment struct {
	Record *entity.Record  // as it would stand
	By     *policy.Subject // who gives it; nil for the system
	Bound  bool            // By may only assign to those who are onsite
}

// Eligible reports whether a person can be given the work: active, knowing of
// its client, where bound onsite there, of the onsite group that it is for, and
// to be dispatched to it.
func (a Assignment) Eligible(look policy.Lookup, person *policy.Subject) bool {
	client := a.Record.Client()
	if person == nil || !person.Active || person.Hides(client) {
		return false
	}
	// Whoever belongs to a client is named by records of that client alone.
	if person.Kind == policy.ClientStaff && person.Client != client {
		return false
	}
	return InGroup(look, a.Record, person) && a.dispatched(look, person) && (!a.Bound || person.Client == client || contains(person.Onsite, client))
}

// dispatched judges work that people are dispatched to, which is of a type that
// can ask for a scheduling role. A person is sent in the role that is asked for
// or, where none is, in one of those the person holds, if any: in its working
// hours, by who may send its holders.
func (a Assignment) dispatched(look policy.Lookup, person *policy.Subject) bool {
	f := a.Record.Type.Field(SchedulingRole)
	if f == nil {
		return true
	}
	if !Holds(a.Record, person) {
		return false
	}
	held := person.Scheduling
	if asked := a.Record.Value(f.No); !asked.IsNull() {
		held = []ident.RecordID{asked.Ref()}
	}
	roles := load(look, held)
	return len(roles) == 0 || slices.ContainsFunc(roles, func(role *entity.Record) bool {
		return a.sends(role, person) && a.inHours(role)
	})
}

// Holds reports whether a person holds the scheduling role that a record asks
// for, if it asks for one.
func Holds(rec *entity.Record, person *policy.Subject) bool {
	f := rec.Type.Field(SchedulingRole)
	if f == nil || rec.Value(f.No).IsNull() {
		return true
	}
	return person != nil && contains(person.Scheduling, rec.Value(f.No).Ref())
}

// InGroup reports whether a person is of the group of people onsite at the
// client whom a record is for, if it is for one.
func InGroup(look policy.Lookup, rec *entity.Record, person *policy.Subject) bool {
	group := rec.Get(OnsiteGroup).Text()
	if group == "" {
		return true
	}
	client := rec.Client()
	return person != nil && look.AnyReferring(OnsiteClient, "employee", person.ID, func(o *entity.Record) bool {
		return o.Client() == client && o.Get("group").Text() == group
	})
}

// sends reports whether the assigner may dispatch holders of a role. Who acts
// for others dispatches for them; work that one takes oneself needs nobody.
func (a Assignment) sends(role *entity.Record, person *policy.Subject) bool {
	by := role.Get("dispatchedBy").Set()
	if len(by) == 0 || a.By == nil || a.By.ID == person.ID {
		return true
	}
	one := func(s *policy.Subject) bool {
		return slices.ContainsFunc(by, func(id string) bool { return contains(s.Scheduling, ident.RecordID(id)) })
	}
	return one(a.By) || slices.ContainsFunc(a.By.For, func(id ident.RecordID) bool { return one(a.By.Lender(id)) })
}

// inHours reports whether the work, as far as it is scheduled, begins and ends
// in a role's working hours.
func (a Assignment) inHours(role *entity.Record) bool {
	c, err := calendar.Of(role)
	if err != nil {
		return true // it was checked when it was saved
	}
	return c.Within(instant(a.Record, "scheduledStart"), instant(a.Record, "scheduledEnd"))
}

func instant(r *entity.Record, field string) *ident.Millis {
	if at, ok := r.Get(field).Time(); ok {
		return &at
	}
	return nil
}

// Hours returns when a person works within a span of time, in any of their
// scheduling roles; ok is false where nothing says so.
func Hours(look policy.Lookup, person *policy.Subject, within calendar.Span) (hours []calendar.Span, ok bool) {
	for _, role := range load(look, person.Scheduling) {
		if c, err := calendar.Of(role); err == nil {
			hours, ok = append(hours, c.Spans(within)...), true
		}
	}
	return calendar.Merge(hours, within), ok
}

// load returns the scheduling roles that there are.
func load(look policy.Lookup, ids []ident.RecordID) (out []*entity.Record) {
	for _, id := range ids {
		if r, ok := look.Load(id); ok && r.Type.Name == SchedulingRole {
			out = append(out, r)
		}
	}
	return out
}

func contains(sorted []ident.RecordID, id ident.RecordID) bool {
	_, ok := slices.BinarySearch(sorted, id)
	return ok
}
