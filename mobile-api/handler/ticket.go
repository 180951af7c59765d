package handler

import (
	"cmp"
	"encoding/json"
	"slices"

	"github.com/gofiber/fiber/v2"

	"satchel/internal/command"
	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/internal/policy"
	"satchel/server/booking"
	"satchel/server/edge"
	"satchel/sync/bits"
	"satchel/sync/state"
	"satchel/sync/subject"
	"satchel/sync/wire"
)

// maxTickets bounds a list of tickets.
const maxTickets = 200

// tickets answers those the person has to do with, and those of the clients they
// are onsite for: the open ones, newest first; which=mine or onsite narrows it,
// done=true adds what is over.
func (s *Server) tickets(c *fiber.Ctx, v *view) (any, error) {
	p, err := parameters(c, "which", "done")
	if err != nil {
		return nil, err
	}
	t := v.Cat.Type(typeTicket)
	var mine, onsite bits.Set
	for _, field := range []string{"assignee", "requester", "watchers"} {
		mine = bits.Or(mine, v.having(t, field, v.self()))
	}
	clients := append([]ident.RecordID{}, v.sub.Onsite...)
	for _, id := range v.sub.For {
		if by := v.sub.Lender(id); by != nil {
			clients = append(clients, by.Onsite...)
		}
	}
	onsite = v.having(t, "client", clients)
	var set bits.Set
	switch p["which"] {
	case "":
		set = bits.Or(mine, onsite)
	case "mine":
		set = mine
	case "onsite":
		set = onsite
	default:
		return nil, fault.Newf(fault.BadParameter, "which must be mine or onsite.").OnField("which")
	}
	switch p["done"] {
	case "", "false":
		set = bits.And(set, v.valued(t, t.Status.Field, t.Status.Open))
	case "true":
	default:
		return nil, fault.Newf(fault.BadParameter, "done must be true or false.").OnField("done")
	}
	items := []*shown{}
	for _, one := range v.among(set) {
		if !one.sight.Context {
			items = append(items, one)
		}
	}
	slices.SortFunc(items, func(a, b *shown) int {
		x, _ := a.time("opened")
		y, _ := b.time("opened")
		return cmp.Or(cmp.Compare(y, x), cmp.Compare(a.rec.ID, b.rec.ID))
	})
	more := len(items) > maxTickets
	items = items[:min(len(items), maxTickets)]
	list := make([]bundle, len(items))
	for i, one := range items {
		list[i] = v.about(one, "client", "site")
	}
	return struct {
		Items []bundle `json:"items"`
		More  bool     `json:"more,omitempty"` // there are others; the module API lists them
	}{list, more}, nil
}

// ticket answers a ticket with its conversation and what it is about.
func (s *Server) ticket(c *fiber.Ctx, v *view) (any, error) {
	if _, err := parameters(c); err != nil {
		return nil, err
	}
	one, err := v.find(typeTicket, ident.RecordID(c.Params("id")))
	if err != nil {
		return nil, err
	}
	v.etag = one.rev
	out := v.about(one, "client", "site", "contact", "asset")
	out.add("updates", v.under(typeUpdate, "ticket", one.rec.ID))
	out.add("documents", v.under(typeDocument, "parent", one.rec.ID))
	return out, nil
}

// about is a ticket with the records that some of its fields name.
func (v *view) about(t *shown, fields ...string) bundle {
	var out bundle
	out.add(typeTicket, t)
	for _, name := range fields {
		out.add(name, v.named(t, name))
	}
	return out
}

// open opens a ticket.
func (s *Server) open(c *fiber.Ctx, caller *edge.Caller) error {
	if _, err := parameters(c); err != nil {
		return err
	}
	b, err := members(c, caller, false)
	if err != nil {
		return err
	}
	w := &command.Write{Op: wire.OpCreate, Type: typeTicket, Fields: b.fields}
	if w.Key, w.KeyHash, err = idempotency(c, b); err != nil {
		return err
	}
	if err := clientID(w); err != nil {
		return err
	}
	return s.submit(c, caller, w, b, taken)
}

// reply writes on a ticket: for everybody on it unless it says internal.
func (s *Server) reply(c *fiber.Ctx, caller *edge.Caller) error {
	return s.beneath(typeUpdate, "ticket", func(_ *view, b *body) error {
		if _, said := b.fields["kind"]; said {
			return fault.New(fault.UnknownField).OnField("kind")
		}
		b.fields["kind"] = json.RawMessage(`"reply"`)
		if _, said := b.fields["visibility"]; !said {
			b.fields["visibility"] = json.RawMessage(`"public"`)
		}
		return nil
	})(c, caller)
}

// candidate is somebody who can be given work.
type candidate struct {
	ID   ident.RecordID `json:"id"`
	Name string         `json:"name"`
	Free bool           `json:"free"` // works in the span, and has nothing to do
	Busy []booking.Slot `json:"busy"`
	Off  []booking.Slot `json:"off,omitempty"` // outside the working hours of the scheduling roles
}

// assignees answers whom a ticket can be assigned to, and when they are taken
// between from and to (the next 24 hours unless said). Of their work the times
// alone are told, whoever it is for.
func (s *Server) assignees(c *fiber.Ctx, v *view) (any, error) {
	p, err := parameters(c, "from", "to")
	if err != nil {
		return nil, err
	}
	within := booking.Slot{From: v.now(), To: 0}
	for name, into := range map[string]*ident.Millis{"from": &within.From, "to": &within.To} {
		if p[name] == "" {
			continue
		}
		if *into, err = instant(name, p[name]); err != nil {
			return nil, fault.Newf(fault.BadParameter, "%s must be a time like 2026-01-31T08:00:00Z.", name).OnField(name)
		}
	}
	if within.To == 0 {
		within.To = within.From + 24*booking.Usual
	}
	if within.To <= within.From || within.To-within.From > booking.Longest {
		return nil, fault.Newf(fault.BadParameter, "to must be later than from, by at most 62 days.").OnField("to")
	}
	one, err := v.find(typeTicket, ident.RecordID(c.Params("id")))
	if err != nil {
		return nil, err
	}
	const verb = policy.Verb("assign")
	if !v.sub.Decide(verb, one.rec, v.Reader).Allowed {
		return nil, fault.New(fault.NotAllowed)
	}
	given := subject.Assignment{Record: one.rec, By: v.sub, Bound: v.sub.BoundOnsite(verb, one.rec, v.Reader)}
	items := []candidate{}
	people := v.Cat.Type(typeEmployee)
	name := people.Field("name")
	for o := range v.Index(state.TypeKey(people.No)).All() {
		emp, ok := v.LoadOrd(o)
		if !ok {
			continue
		}
		person := v.Subject(emp.ID)
		if !given.Eligible(v.Reader, person) || !v.knows(emp, name) {
			continue
		}
		busy, off := booking.Busy(v.Reader, emp.ID, within, one.rec.ID), booking.Off(v.Reader, person, within)
		items = append(items, candidate{
			emp.ID, emp.Value(name.No).Text(), booking.Free(within, busy, off), append([]booking.Slot{}, busy...), off,
		})
	}
	slices.SortFunc(items, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
	return struct {
		From  string      `json:"from"`
		To    string      `json:"to"`
		Items []candidate `json:"items"`
	}{within.From.RFC3339(), within.To.RFC3339(), items}, nil
}

// knows reports whether the person may be told of an employee: the tenant's own
// people know their colleagues, whoever else assigns those they see anyway.
func (v *view) knows(emp *entity.Record, name *entity.Field) bool {
	if !v.sub.Outside() && !v.sub.Hides(emp.Client()) {
		return true
	}
	return v.sub.View(emp, v.Reader).Mask.Has(name.No)
}
