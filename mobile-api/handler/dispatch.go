package handler

import (
	"cmp"
	"slices"

	"github.com/gofiber/fiber/v2"

	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/internal/policy"
	"satchel/server/booking"
	"satchel/sync/bits"
	"satchel/sync/state"
)

// agentDay is one agent's part of a dispatcher's day.
type agentDay struct {
	Agent      *shown         `json:"agent"`
	Activities []bundle       `json:"activities"`
	Busy       []booking.Slot `json:"busy"`
	Off        []booking.Slot `json:"off,omitempty"` // outside the working hours of the scheduling roles
}

// dispatch answers whoever assigns activities with what waits for somebody and
// each agent's day. Work that the dispatcher may not see shows as time taken.
func (s *Server) dispatch(c *fiber.Ctx, v *view) (any, error) {
	t := v.Cat.Type(typeActivity)
	if _, all := v.sub.Denied(t, "assign"); all || len(v.sub.Grants(t, policy.Verb("assign"))) == 0 {
		return nil, fault.New(fault.NotAllowed)
	}
	from, to, err := days(c, v, "date", 1)
	if err != nil {
		return nil, err
	}
	queue := []*shown{}
	more := false
	for _, a := range v.among(v.valued(t, t.Status.Field, []string{t.Status.Initial})) {
		if a.sight.Context || !a.get("assignee").IsNull() {
			continue
		}
		if len(queue) == most {
			more = true
			break
		}
		queue = append(queue, a)
	}
	byTime(queue)
	agents := []agentDay{}
	at := v.Cat.Type(typeAgent)
	for _, agent := range v.among(bits.AndNot(v.Index(state.TypeKey(at.No)), v.Index(state.ArchivedKey))) {
		person := agent.get("employee").Ref()
		if person == "" {
			continue
		}
		planned, unplanned := v.work(v.having(t, "assignee", []ident.RecordID{person}), from, to)
		one, within := agentDay{Agent: agent, Activities: v.all(append(planned, unplanned...))}, booking.Slot{From: from, To: to}
		one.Busy = append([]booking.Slot{}, booking.Busy(v.Reader, person, within, "")...)
		if who := v.Subject(person); who != nil {
			one.Off = booking.Off(v.Reader, who, within)
		}
		agents = append(agents, one)
	}
	slices.SortFunc(agents, func(a, b agentDay) int {
		return cmp.Or(cmp.Compare(a.Agent.get("name").Text(), b.Agent.get("name").Text()), cmp.Compare(a.Agent.rec.ID, b.Agent.rec.ID))
	})
	return struct {
		From   string     `json:"from"`
		To     string     `json:"to"`
		Queue  []bundle   `json:"queue"`
		More   bool       `json:"more,omitempty"` // of the queue; the module API lists it whole
		Agents []agentDay `json:"agents"`
	}{from.RFC3339(), to.RFC3339(), v.all(queue), more, agents}, nil
}
