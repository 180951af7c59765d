package rest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/gofiber/fiber/v2"

	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/internal/policy"
	"satchel/server/edge"
	"satchel/sync/subject"
	"satchel/sync/tenant"
)

// Explanation says whether somebody may do something, and what decides.
type Explanation struct {
	Principal ident.RecordID `json:"principal"`
	Action    string         `json:"action"`
	Type      string         `json:"type"`
	ID        ident.RecordID `json:"id,omitempty"`
	Allowed   bool           `json:"allowed"`
	// Reason is granted, no_grant, refused, closed, denied, hidden, inactive
	// or context.
	Reason string         `json:"reason"`
	Role   string         `json:"role,omitempty"`
	Clause string         `json:"clause,omitempty"`
	Denial ident.RecordID `json:"denial,omitempty"`
	// For is the employee whose right it is, where it was delegated.
	For ident.RecordID `json:"for,omitempty"`
	// Visibility is the record by which the client is hidden.
	Visibility ident.RecordID `json:"visibility,omitempty"`
	// Scope says whose records the deciding clause reaches.
	Scope string `json:"scope,omitempty"`
	// Near are the rights to do this to other records of the type that the person
	// has, where none gives it on this one.
	Near []Near `json:"near,omitempty"`
	// Status is set where the right is there, but the record's state stands
	// in the way: wrong_status or archived.
	Status string `json:"status,omitempty"`
	Text   string `json:"text"`
}

// Near is a right that does not reach as far as a record.
type Near struct {
	Role   string `json:"role"`
	Clause string `json:"clause"`
	Scope  string `json:"scope"`
}

// maxNear bounds how many of them are told.
const maxNear = 5

// question is what is asked, as far as the query string tells.
type question struct {
	verb policy.Verb
	t    *entity.Type
	id   ident.RecordID
}

func (s *Server) question(p map[string]string) (question, error) {
	return ask(s.cat, p["action"], p["type"], p["id"])
}

func ask(cat *entity.Catalogue, action, typ, id string) (question, error) {
	q := question{verb: policy.Verb(action), t: cat.Type(typ), id: ident.RecordID(id)}
	if q.t == nil {
		return q, badParameter("type", "type must be the name of a type.")
	}
	switch q.verb {
	case policy.View, policy.Create, policy.Edit, policy.Delete, policy.Comment:
	default:
		if q.t.Action(string(q.verb)) == nil {
			return q, badParameter("action", "action must be view, create, edit, delete, comment or an action of the type.")
		}
	}
	if q.id == "" && q.verb != policy.Create {
		return q, badParameter("id", "id is required.")
	}
	return q, nil
}

// explain answers what the caller may do, and why. What the caller can't see
// is not there.
func (s *Server) explain(c *fiber.Ctx, caller *edge.Caller) error {
	p, err := parameters(c, "action", "type", "id")
	if err != nil {
		return err
	}
	q, err := s.question(p)
	if err != nil {
		return err
	}
	var out Explanation
	err = caller.Read(func(v *tenant.View, sub *policy.Subject) error {
		if q.id == "" {
			out = anywhere(sub, q)
			out.Text = "You " + out.Text
			return nil
		}
		rec, sight, err := see(v, sub, q.t, q.id)
		if err != nil {
			return err
		}
		out = decide(v, sub, q, rec, sight.Mask)
		out.Text = "You " + out.Text
		return nil
	})
	if err != nil {
		return err
	}
	return c.JSON(out)
}

// anywhere explains the right to create records of a type at all.
func anywhere(sub *policy.Subject, q question) Explanation {
	out := Explanation{Principal: sub.ID, Action: string(q.verb), Type: q.t.Name}
	d := sub.Decide(q.verb, &entity.Record{Type: q.t}, nothing{})
	if _, all := sub.Denied(q.t, q.verb); all || !sub.Active {
		out.take(q, d, sub)
		return out
	}
	for _, g := range sub.Grants(q.t, q.verb) {
		if q.t.Root == "" && !q.t.IsClient && !sub.Admits(g) {
			continue
		}
		out.Allowed, out.Reason, out.Role, out.Clause, out.Scope = true, "granted", g.Role, g.Clause, g.Scope.String()
		if g.By != nil {
			out.For = g.By.ID
		}
		out.Text = fmt.Sprintf("may create records of type %s, by clause %s of %s%s, as far as they are: %s.", q.t.Name, g.Clause, g.Role, out.acting(), out.Scope)
		return out
	}
	out.take(q, d, sub)
	return out
}

// nothing is a state without records.
type nothing struct{}

// Load implements policy.Lookup.
func (nothing) Load(ident.RecordID) (*entity.Record, bool) { return nil, false }

// AnyReferring implements policy.Lookup.
func (nothing) AnyReferring(string, string, ident.RecordID, func(*entity.Record) bool) bool {
	return false
}

// Naming implements policy.Lookup.
func (nothing) Naming(ident.RecordID, func(*entity.Record, uint8) bool) {}

// decide explains a right on one record; seen is the mask of what whoever asks
// sees of it.
func decide(v *tenant.View, sub *policy.Subject, q question, rec *entity.Record, seen entity.Mask) Explanation {
	out := Explanation{Principal: sub.ID, Action: string(q.verb), Type: q.t.Name, ID: rec.ID}
	d := sub.Decide(q.verb, rec, v.Reader)
	out.take(q, d, sub)
	if q.verb == policy.View {
		sight := sub.View(rec, v.Reader)
		if out.Allowed = sight.Mask != 0; sight.Context {
			out.Reason = "context"
			out.Text = fmt.Sprintf("may see %s only beneath a record it belongs to, by clause %s of %s%s.", rec.ID, out.Clause, out.Role, out.acting())
		}
	}
	a := q.t.Action(string(q.verb))
	switch {
	case out.Allowed && q.verb == policy.Delete && q.t.NoDelete:
		out.Status = string(fault.WrongStatus)
		out.Text += " But records of this kind are kept: archive, disable, reverse or void them instead."
	case !out.Allowed || q.verb == policy.View || q.verb == policy.Create || q.verb == policy.Comment:
	case rec.Archived() && seen.Has(entity.NoArchived) && (a == nil || !a.WhenArchived) && q.verb != policy.Delete:
		out.Status = string(fault.Archived)
		out.Text += " The record is archived and must be restored first."
	case a != nil && a.From != nil && seen.Has(q.t.Field(q.t.Status.Field).No) && !slices.Contains(a.From, rec.StatusText()):
		out.Status = string(fault.WrongStatus)
		out.Text += fmt.Sprintf(" Its status, %s, does not allow it now.", rec.StatusText())
	}
	return out
}

// take puts a decision into the Explanation, with words that begin after the
// person.
func (e *Explanation) take(q question, d policy.Decision, sub *policy.Subject) {
	e.Allowed, e.Role, e.Clause, e.Denial, e.For = d.Allowed, d.Role, d.Clause, d.Denial, d.For
	what := string(q.verb) + " records of type " + q.t.Name
	if e.ID != "" {
		what = fmt.Sprintf("%s %s %s", q.verb, q.t.Name, e.ID)
	}
	switch d.Reason {
	case policy.Granted:
		e.Reason = "granted"
		e.Text = fmt.Sprintf("may %s, by clause %s of %s%s.", what, d.Clause, d.Role, e.acting())
		for _, g := range sub.Grants(q.t, q.verb) {
			if g.Role == d.Role && g.Clause == d.Clause && sub.Author(g).ID == cmp.Or(d.For, sub.ID) {
				e.Scope = g.Scope.String()
			}
		}
	case policy.NoGrant:
		e.Reason = "no_grant"
		e.Text = fmt.Sprintf("may not %s: no role or permission gives that.", what)
		if e.near(q, sub); len(e.Near) > 0 {
			e.Text = fmt.Sprintf("may not %s: no role or permission gives that here.%s", what, reaches(e.Near))
		}
	case policy.Refusing:
		e.Reason = "refused"
		e.Text = fmt.Sprintf("may not %s: clause %s says so, and no other role gives it.", what, d.Clause)
	case policy.Closed:
		e.Reason = "closed"
		e.Text = fmt.Sprintf("may not %s in its present status, by clause %s.", what, d.Clause)
	case policy.Denying:
		e.Reason = "denied"
		e.Text = fmt.Sprintf("may not %s: the individual denial %s takes it.", what, d.Denial)
	case policy.Hidden:
		e.Reason = "hidden"
		e.Text = fmt.Sprintf("may not %s: its client is hidden.", what)
	case policy.Inactive:
		e.Reason = "inactive"
		e.Text = fmt.Sprintf("may not %s: the person is not active.", what)
	}
}

// near notes the person's own rights of the kind that do not reach the record.
func (e *Explanation) near(q question, sub *policy.Subject) {
	if e.ID == "" {
		return
	}
	for _, g := range sub.Grants(q.t, q.verb) {
		n := Near{g.Role, g.Clause, g.Scope.String()}
		if len(g.Clients) > 0 {
			n.Scope += ", of the clients that the role is limited to"
		}
		if g.By == nil && len(e.Near) < maxNear && !slices.Contains(e.Near, n) {
			e.Near = append(e.Near, n)
		}
	}
}

// reaches says in words how far rights reach.
func reaches(near []Near) string {
	var b strings.Builder
	for _, n := range near {
		fmt.Fprintf(&b, " Clause %s of %s gives it as far as records are: %s.", n.Clause, n.Role, n.Scope)
	}
	return b.String()
}

// acting says for whom the person acts in this, "" for themselves.
func (e *Explanation) acting() string {
	if e.For == "" {
		return ""
	}
	return fmt.Sprintf(", which %s holds and delegated", e.For)
}

// administrator refuses whoever is no customer administrator.
func administrator(sub *policy.Subject) error {
	if !sub.Holds(subject.Administrator) {
		return fault.New(fault.NotAllowed)
	}
	return nil
}

// adminExplain answers a customer administrator what somebody may do, and why:
// with the rule, the denial or the hidden client that decides. What is hidden
// from the administrator is not there.
func (s *Server) adminExplain(c *fiber.Ctx, caller *edge.Caller) error {
	p, err := parameters(c, "principal", "action", "type", "id")
	if err != nil {
		return err
	}
	var out Explanation
	err = caller.Read(func(v *tenant.View, sub *policy.Subject) error {
		if err := administrator(sub); err != nil {
			return err
		}
		q, err := s.question(p)
		if err != nil {
			return err
		}
		if p["principal"] == "" {
			return badParameter("principal", "principal is required.")
		}
		emp, _, err := see(v, sub, v.Cat.Type(subject.Employee), ident.RecordID(p["principal"]))
		if err != nil {
			return err
		}
		out, err = about(v, sub, emp, q)
		return err
	})
	if err != nil {
		return err
	}
	return c.JSON(out)
}

// about explains what an employee may do to whoever may know: an administrator,
// to whom what is hidden from them is not there, or (nil) the operator.
func about(v *tenant.View, admin *policy.Subject, emp *entity.Record, q question) (out Explanation, err error) {
	who := v.Subject(emp.ID)
	if who == nil {
		return out, notFound()
	}
	if q.id == "" {
		out = anywhere(who, q)
	} else {
		rec, ok := v.Load(q.id)
		mask := q.t.All()
		if admin != nil {
			var sight policy.Sight
			if rec, sight, err = see(v, admin, q.t, q.id); err != nil {
				return out, err
			}
			mask = sight.Mask
		} else if !ok || rec.Type != q.t {
			return out, notFound()
		}
		if out = decide(v, who, q, rec, mask); out.Reason == "hidden" {
			out.hidden(v, admin, who, rec)
		}
	}
	out.withhold(v, admin)
	out.Text = cmp.Or(nameIn(v.Reader, admin, emp.ID).Name, string(emp.ID)) + " " + out.Text
	return out, nil
}

// withhold leaves out for whom somebody acts where an administrator may not
// know of that person.
func (e *Explanation) withhold(v *tenant.View, admin *policy.Subject) {
	if e.For == "" || admin == nil {
		return
	}
	if by, ok := v.Load(e.For); ok && admin.View(by, v.Reader).Mask != 0 {
		return
	}
	e.Text = strings.Replace(e.Text, e.acting(), ", which somebody delegated", 1)
	e.For = ""
}

// Explain tells an operator why an employee may or may not do something.
func Explain(v *tenant.View, employee ident.RecordID, action, typ, id string) (Explanation, error) {
	q, err := ask(v.Cat, action, typ, id)
	if err != nil {
		return Explanation{}, err
	}
	emp, ok := v.Load(employee)
	if !ok {
		return Explanation{}, notFound()
	}
	return about(v, nil, emp, q)
}

// hidden says by what a record's client is hidden from the person, as far as
// the administrator sees it.
func (e *Explanation) hidden(v *tenant.View, admin, who *policy.Subject, rec *entity.Record) {
	client := rec.Client()
	name := string(client)
	if cl, ok := v.Load(client); ok && (admin == nil || admin.View(cl, v.Reader).Mask.Has(cl.Type.Field("name").No)) {
		name = fmt.Sprintf("%s (%s)", cl.Get("name").Text(), client)
	}
	if who.Kind == policy.ClientStaff && who.Client != client {
		e.Text = fmt.Sprintf("may not %s %s %s: it belongs to %s, and client staff see their own client alone.", e.Action, e.Type, e.ID, name)
		return
	}
	visibility, rule := v.Cat.Type(subject.Visibility), v.Cat.Type(subject.VisibilityRule)
	for o := range v.Referring(visibility, visibility.Field("employee").No, who.ID).All() {
		set, ok := v.LoadOrd(o)
		if !ok {
			continue
		}
		e.Visibility = set.ID
		for r := range v.Referring(rule, rule.Field("visibility").No, set.ID).All() {
			if one, ok := v.LoadOrd(r); ok && one.Client() == client {
				e.Visibility = one.ID
			}
		}
	}
	how := fmt.Sprintf("is hidden from this person by %s", e.Visibility)
	if who.Only {
		how = fmt.Sprintf("is not among the clients that %s allows this person", e.Visibility)
	}
	e.Text = fmt.Sprintf("may not %s %s %s: the client %s %s.", e.Action, e.Type, e.ID, name, how)
}
