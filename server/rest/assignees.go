package rest

import (
	"cmp"
	"slices"
	"strings"

	"github.com/gofiber/fiber/v2"

	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/internal/mutant"
	"satchel/internal/policy"
	"satchel/server/edge"
	"satchel/sync/state"
	"satchel/sync/subject"
	"satchel/sync/tenant"
)

// assigns returns the action of a type that assigns its records to people, nil
// for none.
func assigns(t *entity.Type) *entity.Action {
	i := slices.IndexFunc(t.Actions, func(a *entity.Action) bool { return a.Assigns != "" })
	if i < 0 {
		return nil
	}
	return t.Actions[i]
}

// assignees answers whom a record can be assigned to, by name: those who would
// not be refused. Nobody is told who is left out, or why.
func (s *Server) assignees(c *fiber.Ctx, caller *edge.Caller, t *entity.Type) error {
	return s.pick(c, caller, func(v *tenant.View, sub *policy.Subject, _ map[string]string) (*entity.Record, policy.Verb, error) {
		rec, _, err := see(v, sub, t, ident.RecordID(c.Params("id")))
		if err != nil {
			return nil, "", err
		}
		verb := policy.Verb(assigns(t).Name)
		if !sub.Decide(verb, rec, v.Reader).Allowed {
			return nil, "", fault.New(fault.NotAllowed)
		}
		return rec, verb, nil
	}, plannedFor(t))
}

// plannedFor is the fields by which an assignment of a record may differ from
// the record: those that assigning is told of beside the person.
func plannedFor(t *entity.Type) []string {
	var out []string
	for _, f := range assigns(t).Args {
		if f.Name != assigns(t).Assigns && t.Field(f.Name) != nil {
			out = append(out, f.Name)
		}
	}
	return out
}

// plannedAnew is likewise those of a record that is yet to be made.
func plannedAnew(t *entity.Type) []string {
	if t.Field(subject.SchedulingRole) == nil {
		return plannedFor(t)
	}
	return append(plannedFor(t), subject.SchedulingRole)
}

// futureAssignees answers the same for a record that is yet to be made, beneath
// the record that "under" names.
func (s *Server) futureAssignees(c *fiber.Ctx, caller *edge.Caller, t *entity.Type) error {
	return s.pick(c, caller, func(v *tenant.View, sub *policy.Subject, p map[string]string) (*entity.Record, policy.Verb, error) {
		if len(sub.Grants(t, policy.Create)) == 0 {
			return nil, "", fault.New(fault.NotAllowed)
		}
		draft := &entity.Record{Type: t}
		under := p["under"]
		if under == "" {
			if root := t.Field(t.Root); root != nil && root.Required {
				return nil, "", badParameter("under", "under is required: the %s that it will belong to.", t.Root)
			}
			return draft, policy.Verb(assigns(t).Name), nil
		}
		parent, ok := v.Load(ident.RecordID(under))
		if !ok || t.Root == "" || !slices.Contains(t.Field(t.Root).Targets, parent.Type.Name) || sub.View(parent, v.Reader).Mask == 0 {
			return nil, "", fault.New(fault.BadReference).OnField("under")
		}
		draft.Set(t.Root, entity.RefValue(parent.ID))
		if client := parent.Client(); client != "" {
			draft.Put(entity.NoClientID, entity.RefValue(client))
		}
		return draft, policy.Verb(assigns(t).Name), nil
	}, plannedAnew(t))
}

// planned is a record as it would stand with what the request says of it.
func planned(v *tenant.View, sub *policy.Subject, rec *entity.Record, p map[string]string, names []string) (*entity.Record, error) {
	out := rec.Clone()
	for _, name := range names {
		f := rec.Type.Field(name)
		if p[name] == "" {
			continue
		}
		val, err := f.Normalize(entity.StringValue(p[name]))
		if err != nil {
			return nil, badParameter(name, "%s", fault.Of(err).Message)
		}
		if f.Kind == entity.Ref {
			if to, ok := v.Load(val.Ref()); !ok || !slices.Contains(f.Targets, to.Type.Name) || sub.View(to, v.Reader).Mask == 0 {
				return nil, fault.New(fault.BadReference).OnField(name)
			}
		}
		out.Put(f.No, val)
	}
	return out, nil
}

// maxPicked bounds the people of one answer; q narrows it.
const maxPicked = 200

// pick answers whom a record that find names can be assigned to; for the fields
// in plan other values than the record's may be asked about.
func (s *Server) pick(
	c *fiber.Ctx, caller *edge.Caller,
	find func(*tenant.View, *policy.Subject, map[string]string) (*entity.Record, policy.Verb, error), plan []string,
) error {
	p, err := parameters(c, append([]string{"q", "under"}, plan...)...)
	if err != nil {
		return err
	}
	if len(p["q"]) > maxSearch {
		return badParameter("q", "q may have at most %d bytes.", maxSearch)
	}
	items := []named{}
	more := false
	err = caller.Read(func(v *tenant.View, sub *policy.Subject) error {
		rec, verb, err := find(v, sub, p)
		if err != nil {
			return err
		}
		given := subject.Assignment{By: sub, Bound: sub.BoundOnsite(verb, rec, v.Reader)}
		if given.Record, err = planned(v, sub, rec, p, plan); err != nil {
			return err
		}
		typ := v.Cat.Type(subject.Employee)
		name := typ.Field("name")
		for o := range v.Index(state.TypeKey(typ.No)).All() {
			emp, ok := v.LoadOrd(o)
			if !ok || !given.Eligible(v.Reader, v.Subject(emp.ID)) {
				continue
			}
			// The tenant's own people know their colleagues; whoever else
			// assigns, assigns to those they know of anyway.
			if (sub.Outside() || sub.Hides(emp.Client())) && !sub.View(emp, v.Reader).Mask.Has(name.No) && !mutant.On(mutant.PickerListsHidden) {
				continue
			}
			if text := emp.Value(name.No).Text(); strings.Contains(fold(text), fold(p["q"])) {
				items = append(items, named{emp.ID, text})
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(items, func(a, b named) int {
		return cmp.Or(strings.Compare(fold(a.Name), fold(b.Name)), strings.Compare(string(a.ID), string(b.ID)))
	})
	if len(items) > maxPicked {
		items, more = items[:maxPicked], true
	}
	return c.JSON(struct {
		Items []named `json:"items"`
		More  bool    `json:"more,omitempty"` // there are others; ask with q
	}{items, more})
}
