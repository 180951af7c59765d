package policy

import (
	"maps"
	"slices"
	"strings"

	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/internal/mutant"
)

// Names of types and fields the policy itself reads.
const (
	TypeClient     = "client"
	FieldSalesArea = "salesArea"
)

// Kinds of employees, as stored.
const (
	InHouse       = "in-house"
	InsideIT      = "inside-it"
	ClientStaff   = "client-staff"
	Programmer    = "programmer"
	Subcontractor = "subcontractor"
)

// Subject is a person with everything that decides what the person may do.
// It is built from records at one position and never changed.
type Subject struct {
	ID         ident.RecordID
	Kind       string
	Active     bool
	Client     ident.RecordID   // of client staff
	Areas      []ident.RecordID // sorted
	Onsite     []ident.RecordID // sorted
	Scheduling []ident.RecordID // scheduling roles held, sorted
	Roles      []string         // keys in force, sorted
	Mobile     bool
	// Only: the person sees nothing but Clients (allow-list); otherwise
	// everything but Clients. Sorted.
	Only    bool
	Clients []ident.RecordID
	// Until is the next instant at which a time-bound part of this changes by
	// itself; 0 for never.
	Until ident.Millis

	held    *Holding // what Common returns
	grants  map[key][]*Grant
	refused map[key]string
	denials []Denial
	taken   map[key][]taken // what denials of apps took
	// For are the people whose rights were delegated to this one, sorted.
	For []ident.RecordID

	lenders []*Subject
	// brings are the types whose records may bring others into view without
	// being seen themselves; only where something narrows what the person sees.
	brings map[string]bool
	// reader is who acts with this person's rights, nil for the person alone.
	reader *Subject
}

// Build finishes a subject: what the roles held come to (nil for none), grants
// made to the person alone, and denials.
func (s *Subject) Build(held *Holding, personal []*Compiled, denials []Denial) *Subject {
	// Being onsite at a hidden client counts for nothing, not even for knowing
	// who else is there: those people belong to no client that hides them.
	s.Onsite = slices.DeleteFunc(slices.Clone(s.Onsite), s.Hides)
	s.held = nil
	if len(personal) == 0 && len(denials) == 0 {
		s.held = held
	}
	if held == nil {
		held = Hold(nil, s.Outside())
	}
	s.grants, s.refused, s.denials = held.grants, held.refused, denials
	narrowed := len(denials) > 0 || held.narrowed
	brings := held.brings
	if len(personal) > 0 {
		own := hold(personal, s.Outside())
		s.add(own.grants)
		brings = maps.Clone(brings)
		maps.Copy(brings, own.brings)
	}
	s.limit()
	s.brings = nil
	if narrowed {
		s.brings = brings
	}
	return s
}

// Common returns what the person's roles come to, shared with others who hold
// the same, where no grant or denial of their own and no right of another's
// changes it; nil otherwise. Two subjects of one Kind that have it in common
// have the same Grants, and Denied, Knows and Admits answer the same for them.
func (s *Subject) Common() *Holding { return s.held }

// add gives the person further grants. The lists it has may be shared with
// others, so they are replaced, not changed.
func (s *Subject) add(more map[key][]*Grant) {
	if len(more) == 0 {
		return
	}
	s.grants = maps.Clone(s.grants)
	for k, gs := range more {
		all := slices.Concat(s.grants[k], gs)
		inOrder(all)
		s.grants[k] = all
	}
}

// Brings reports whether a record of the type that the person does not see may
// nevertheless bring one into view that they do.
func (s *Subject) Brings(t *entity.Type) bool {
	if s.brings[t.Name] {
		return true
	}
	for _, l := range s.lenders {
		if l.brings[t.Name] {
			return true
		}
	}
	return false
}

// Lend adds the rights of another person, for whom this one acts: what by may
// do of itself, less what is personal, what by is denied, and what either of
// the two may not know of. Rights that were lent are not lent on. by must have
// been built for this one alone.
func (s *Subject) Lend(by *Subject) {
	if !by.Active || by.ID == s.ID {
		return
	}
	if !mutant.On(mutant.CommonAlthoughLent) {
		s.held = nil
	}
	s.For = append(s.For, by.ID)
	slices.Sort(s.For)
	s.lenders = append(s.lenders, by)
	by.reader = s
	more := map[key][]*Grant{}
	for k, gs := range by.grants {
		for _, g := range gs {
			if (g.Personal && !mutant.On(mutant.LendPersonal)) || g.By != nil || (g.House && s.Outside()) {
				continue
			}
			gone, all := by.Denied(g.Type, k.verb)
			if all || g.Mask&^gone == 0 {
				continue
			}
			lent := *g
			lent.Mask &^= gone
			lent.By = by
			more[k] = append(more[k], &lent)
		}
	}
	s.add(more)
	s.limit()
}

// Lender returns a person of For.
func (s *Subject) Lender(id ident.RecordID) *Subject {
	for _, l := range s.lenders {
		if l.ID == id {
			return l
		}
	}
	return nil
}

// Author is the person with whose eyes the grant's scope is read.
func (s *Subject) Author(g *Grant) *Subject {
	if g.By != nil {
		return g.By
	}
	return s
}

// reaches reports whether a grant of the person reaches the record, which is
// not hidden from the person itself.
func (s *Subject) reaches(g *Grant, r *entity.Record, look Lookup) bool {
	switch client := r.Client(); {
	case client == "":
		if !s.Admits(g) {
			return false
		}
	case g.By != nil && g.By.Hides(client) && !mutant.On(mutant.LendHidden):
		return false
	case g.Clients != nil:
		if _, ok := slices.BinarySearch(g.Clients, client); !ok {
			return false
		}
	}
	return g.Scope.holds(s.Author(g), r, look)
}

// Grants returns the subject's grants of the verb on the type.
func (s *Subject) Grants(t *entity.Type, v Verb) []*Grant { return s.grants[key{t.No, v}] }

// Through reports whether the person works with records of the type by way of
// the app. A type that several apps share is reached through those that the
// person's grants belong to; one that none of these has, through any app it is
// in, because otherwise there would be no way to it.
func (s *Subject) Through(t *entity.Type, app entity.App) bool {
	proper := false
	look := func(v Verb) bool {
		return slices.ContainsFunc(s.grants[key{t.No, v}], func(g *Grant) bool {
			proper = proper || slices.ContainsFunc(g.Apps, t.In)
			return slices.Contains(g.Apps, app)
		})
	}
	for _, v := range []Verb{View, Create, Edit, Delete, Comment} {
		if look(v) {
			return true
		}
	}
	for _, a := range t.Actions {
		if look(Verb(a.Name)) {
			return true
		}
	}
	return !proper || len(t.Everything) > 0
}

// Outside reports whether the person is no employee of the tenant itself.
func (s *Subject) Outside() bool { return s.Kind != InHouse }

// Hides reports whether records of the client are gone for this person,
// whatever roles the person holds.
func (s *Subject) Hides(client ident.RecordID) bool {
	if client == "" || mutant.On(mutant.ForgetHidden) {
		return false
	}
	if s.Kind == ClientStaff && client != s.Client {
		return true
	}
	_, listed := slices.BinarySearch(s.Clients, client)
	return listed != s.Only
}

// unaware reports whether records of the client are gone for this person, or
// for who acts with this person's rights.
func (s *Subject) unaware(client ident.RecordID) bool {
	return s.Hides(client) || (s.reader != nil && s.reader.Hides(client))
}

// Conceals reports whether any client is hidden from the person.
func (s *Subject) Conceals() bool {
	return s.Kind == ClientStaff || s.Only || len(s.Clients) > 0
}

// Admits reports whether the ceiling lets the grant reach records without a
// client; those with one are judged by Hides.
func (s *Subject) Admits(g *Grant) bool {
	if g.By != nil && g.By != s && !g.By.Admits(g) {
		return false
	}
	switch {
	case g.Personal || s.Kind == InHouse:
		return true
	case s.Kind == ClientStaff:
		return false
	default:
		return g.Named
	}
}

// Sight is what a person sees of a record.
type Sight struct {
	Mask    entity.Mask // 0: nothing
	Context bool        // only beneath a parent
	Grant   *Grant      // one that reaches it
}

// View returns what the person sees of the record.
func (s *Subject) View(r *entity.Record, look Lookup) Sight {
	if !s.Active {
		return Sight{}
	}
	if s.Hides(r.Client()) {
		return Sight{}
	}
	gone, all := s.Denied(r.Type, View)
	if all {
		return Sight{}
	}
	var root, beneath Sight
	for _, g := range s.grants[key{r.Type.No, View}] {
		into := &root
		if g.Context && !mutant.On(mutant.ContextAsRoot) {
			into = &beneath
		}
		if g.Mask&^into.Mask == 0 || !s.reaches(g, r, look) {
			continue
		}
		if into.Grant == nil {
			into.Grant = g
		}
		into.Mask |= g.Mask
		if mutant.On(mutant.SkipMask) {
			into.Mask = r.Type.All()
		}
	}
	if root.Mask == 0 {
		root, root.Context = beneath, true
	}
	root.Mask &^= gone
	if root.Mask == 0 {
		return Sight{}
	}
	return root
}

// Reason says what decided.
type Reason uint8

// The reasons.
const (
	NoGrant  Reason = iota // no role or grant gives it
	Granted                // a clause gives it
	Hidden                 // the record's client is hidden from the person
	Denying                // an individual denial takes it
	Refusing               // a clause of a role held says it may not, and no other gives it
	Closed                 // given, but not in the record's present status
	Inactive               // the person is disabled
)

// Decision is an answer with its reason.
type Decision struct {
	Allowed bool
	Reason  Reason
	Role    string
	Clause  string
	Denial  ident.RecordID
	// For is whose right was used, where it was delegated.
	For ident.RecordID
	// Mask is what of the record the verb reaches, for create and edit.
	Mask entity.Mask
}

// Decide says whether the person may do verb to the record as it stands (for
// create: as it would stand). It does not ask whether the person sees it.
func (s *Subject) Decide(v Verb, r *entity.Record, look Lookup) Decision {
	if !s.Active {
		return Decision{Reason: Inactive}
	}
	if s.Hides(r.Client()) {
		return Decision{Reason: Hidden}
	}
	gone, all := s.Denied(r.Type, v)
	if all {
		d := Decision{Reason: Denying}
		for _, x := range s.denials {
			if x.Field == "" && x.App == "" && x.means(r.Type, v) {
				d.Denial = x.ID
				break
			}
		}
		return d
	}
	k := key{r.Type.No, v}
	out := Decision{Reason: NoGrant}
	if id := s.refused[k]; id != "" {
		out = Decision{Reason: Refusing, Clause: id}
	}
	for _, g := range s.grants[k] {
		if g.Mask&^out.Mask == 0 || !s.reaches(g, r, look) {
			continue
		}
		if c, ok := g.open(r, look); !ok {
			if !out.Allowed {
				out = Decision{Reason: Closed, Role: g.Role, Clause: c}
			}
			continue
		}
		if !out.Allowed {
			out = Decision{Allowed: true, Reason: Granted, Role: g.Role, Clause: g.Clause}
			if g.By != nil {
				out.For = g.By.ID
			}
		}
		out.Mask |= g.Mask
	}
	out.Mask &^= gone
	if out.Allowed {
		out.Mask &= s.readable(v, r, look)
	} else if out.Reason == NoGrant {
		if id := s.denying(k, r, look); id != "" {
			out = Decision{Reason: Denying, Denial: id}
		}
	}
	return out
}

// readable is what of the record a change may reach because the person reads
// it: nobody writes over what they can't read. A new record is seen by nobody
// yet, so that there the fields count that some record of the type would show;
// who sees none of the type at all has nothing that the fields could differ
// from, and writes what was granted.
func (s *Subject) readable(v Verb, r *entity.Record, look Lookup) entity.Mask {
	if v == Edit {
		return s.View(r, look).Mask
	}
	if v == Create {
		if m := s.granted(r.Type, View); m != 0 {
			return m
		}
	}
	return r.Type.All()
}

// granted is the fields that some grant of the verb reaches.
func (s *Subject) granted(t *entity.Type, v Verb) entity.Mask {
	var m entity.Mask
	for _, g := range s.grants[key{t.No, v}] {
		m |= g.Mask
	}
	return m
}

// Knows is the fields of a type that the person can know of: those that some
// record of it would show or, where none is ever shown, those that a new one is
// given. Any other is an unknown field, whatever grants there are to change it.
func (s *Subject) Knows(t *entity.Type) entity.Mask {
	m := s.granted(t, View)
	if m == 0 {
		m = s.granted(t, Create)
	}
	gone, _ := s.Denied(t, View)
	return m &^ gone
}

// open judges a grant's conditions; it returns the clause that closes it.
func (g *Grant) open(r *entity.Record, look Lookup) (string, bool) {
	for _, c := range g.While {
		if !c.holds(r, look) {
			return g.Clause, false
		}
	}
	for _, u := range g.Unless {
		if u.holds(r, look) && !mutant.On(mutant.IgnoreUnless) {
			return u.Clause, false
		}
	}
	return "", true
}

// Holds reports whether a role is in force for the person.
func (s *Subject) Holds(role string) bool {
	_, ok := slices.BinarySearch(s.Roles, role)
	return ok
}

// Apps returns the apps in which the person may see something, sorted as
// entity.Apps.
func (s *Subject) Apps(cat *entity.Catalogue) []entity.App {
	seen := map[string]bool{}
	for _, r := range s.Roles {
		app, _, _ := strings.Cut(r, ".")
		seen[app] = true
	}
	var out []entity.App
	for _, a := range entity.Apps {
		for _, t := range cat.Types {
			if a == entity.Everyone || !t.In(a) {
				continue
			}
			for _, g := range s.Grants(t, View) {
				if !g.Personal && !g.Context && (seen[string(a)] || !strings.Contains(g.Role, ".") || strings.HasPrefix(g.Role, "level.") || strings.HasPrefix(g.Role, "org.")) {
					out = append(out, a)
					break
				}
			}
			if len(out) > 0 && out[len(out)-1] == a {
				break
			}
		}
	}
	return out
}

// BoundOnsite reports whether every grant that lets the person do verb to the
// record is one for the clients the person is onsite for.
func (s *Subject) BoundOnsite(v Verb, r *entity.Record, look Lookup) bool {
	bound := false
	for _, g := range s.grants[key{r.Type.No, v}] {
		if !s.reaches(g, r, look) {
			continue
		}
		if _, open := g.open(r, look); !open {
			continue
		}
		if g.Scope.Op != OpOnsite {
			return false
		}
		bound = true
	}
	return bound
}
