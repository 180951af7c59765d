package policy

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"satchel/internal/entity"
	"satchel/internal/ident"
)

// Verb is something one may do to a record: one of the constants, or the
// name of an action of its type.
type Verb string

// The verbs every type has. AnyAction stands in a clause for every action
// that the clause's app owns.
const (
	View      Verb = "view"
	Create    Verb = "create"
	Edit      Verb = "edit"
	Delete    Verb = "delete"
	Comment   Verb = "comment"
	AnyAction Verb = "*"
)

// Condition bounds a clause by the value of an enumerated field of the record
// or, with a path like "activity.status", of one it refers to.
type Condition struct {
	Path  string
	OneOf []string
}

// Clause is one sentence of the manual.
type Clause struct {
	ID      string
	Refuse  bool
	Verbs   []Verb
	Types   []*entity.Type // nil: every type of Apps
	Apps    []entity.App   // whose types "everything" means; nil: the role's own app
	Without []*entity.Type // left out of everything
	Scope   *Scope
	Fields  []string       // narrows what is reached to these fields
	Facets  []entity.Facet // replaces the facets that the clause's apps open
	Context bool           // seen only beneath a parent, never in a root list
	// Personal clauses reach past the ceiling of client staff and outside
	// workers: one's own record, the people one's own records name.
	Personal bool
	// House bounds the clause to the tenant's own people: outside workers and
	// client staff who hold the role do not get it.
	House bool
	While []Condition // the grant holds only while; on a refusal: refused while
	// Within bounds the clause, though it names its types, to what "everything"
	// in the role's app means of them.
	Within bool
	anyApp bool
	// Stated marks a refusal that takes nothing away, because the manual says
	// it and the roles give it to nobody here.
	Stated bool
}

// Role is a named list of clauses. Tenant-made roles load into the same
// struct and pass the same checks.
type Role struct {
	Key     string
	Title   string
	App     entity.App
	Clauses []*Clause
	// Apps and Cut narrow a tenant-made role: the apps it keeps (nil: all)
	// and the fields ("type.field") it loses.
	Apps []entity.App
	Cut  []string
	// Clients, where not nil, are the only clients, sorted, of whose records
	// the role grants anything; records without a client are not meant.
	Clients []ident.RecordID
}

// Clauses is a list of clauses under construction.
type Clauses []*Clause

// May begins a clause that grants.
func May(v ...Verb) *Clause { return &Clause{Verbs: v, Scope: All()} }

// MayNot begins a clause that takes away from what the same role grants.
func MayNot(v ...Verb) *Clause { return &Clause{Verbs: v, Refuse: true, Scope: All()} }

// On names the types.
func (c *Clause) On(t ...*entity.Type) *Clause { c.Types = t; return c }

// OnEverything means every type of the role's app.
func (c *Clause) OnEverything() *Clause { c.Types, c.Apps = nil, nil; return c }

// OnEverythingOf means every type of the apps, through the facets they open.
func (c *Clause) OnEverythingOf(apps ...entity.App) *Clause {
	c.Types, c.Apps = nil, apps
	return c
}

// Except leaves types out of everything.
func (c *Clause) Except(t ...*entity.Type) *Clause { c.Without = t; return c }

// In bounds the clause to a scope.
func (c *Clause) In(s *Scope) *Clause { c.Scope = s; return c }

// Only narrows the clause to fields.
func (c *Clause) Only(fields ...string) *Clause { c.Fields = fields; return c }

// Through replaces the facets that the role's app opens.
func (c *Clause) Through(f ...entity.Facet) *Clause { c.Facets = f; return c }

// InContext makes the clause reach records beneath a parent only.
func (c *Clause) InContext() *Clause { c.Context = true; return c }

// Self marks the clause personal, see Clause.Personal.
func (c *Clause) Self() *Clause { c.Personal = true; return c }

// InHouse bounds the clause to the tenant's own people, see Clause.House.
func (c *Clause) InHouse() *Clause { c.House = true; return c }

// When adds a condition.
func (c *Clause) When(path string, oneOf ...string) *Clause {
	c.While = append(c.While, Condition{path, oneOf})
	return c
}

// WithinApp bounds the clause to what the app means by everything, see
// Clause.Within; with any, to what some app of the type does.
func (c *Clause) WithinApp(anyApp bool) *Clause {
	c.Within = true
	c.anyApp = anyApp
	return c
}

// AsStated marks a refusal that need not take anything away.
func (c *Clause) AsStated() *Clause { c.Stated = true; return c }

// As gives the clause its id and ends it.
func (c *Clause) As(id string) *Clause { c.ID = id; return c }

// Grant is one clause compiled for one type and one verb.
type Grant struct {
	Type *entity.Type
	// Apps are those the grant belongs to: of the role, or those that its
	// clause about everything speaks of.
	Apps     []entity.App
	Role     string
	Clause   string
	Scope    *Scope
	Mask     entity.Mask
	Context  bool
	Personal bool
	Named    bool // the clause names the type
	House    bool // for the tenant's own people only
	While    []Condition
	Clients  []ident.RecordID // see Role.Clients
	// By is whose right this is where it was delegated, nil for the person's
	// own: scopes are read with that person's eyes.
	By *Subject
	// Unless are conditions of the role's own refusals, by their clause ids.
	Unless []Unless

	from *origin
}

// origin is the sentence that a grant was compiled from.
type origin struct {
	cat    *entity.Catalogue
	role   *Role
	clause *Clause
}

// Unless is a condition under which a grant does not hold.
type Unless struct {
	Condition
	Clause string
}

// key addresses compiled grants.
type key struct {
	typ  uint16
	verb Verb
}

// Compiled is a role ready for decisions.
type Compiled struct {
	Role    *Role
	Grants  map[key][]*Grant
	Refused map[key]string // verb refused by a clause of this id, for explanations
}

// Golden renders everything that decides what the role means.
func (c *Compiled) Golden() string {
	b := &strings.Builder{}
	fmt.Fprintf(b, "role %s %s apps %q cut %q\n", c.Role.Key, c.Role.App, c.Role.Apps, c.Role.Cut)
	compare := func(a, b key) int { return cmp.Or(cmp.Compare(a.typ, b.typ), cmp.Compare(a.verb, b.verb)) }
	for _, k := range slices.SortedFunc(maps.Keys(c.Grants), compare) {
		for _, g := range c.Grants[k] {
			fmt.Fprintf(b, "%s %d %x %q %s %s %t %t %t %t %v %q %v\n", k.verb, k.typ, uint64(g.Mask), g.Apps, g.Clause, g.Scope,
				g.Context, g.Personal, g.Named, g.House, g.While, g.Clients, g.Unless)
		}
	}
	for _, k := range slices.SortedFunc(maps.Keys(c.Refused), compare) {
		fmt.Fprintf(b, "not %s %d %s\n", k.verb, k.typ, c.Refused[k])
	}
	return b.String()
}

// Variant is a role of the manual as it is read while a tenant's setting is on.
type Variant struct {
	Setting string
	Role    *Compiled // its key is the role's that it stands in for
}

// For returns the role's grants of the verb on the type.
func (c *Compiled) For(t *entity.Type, v Verb) []*Grant { return c.Grants[key{t.No, v}] }

// Compile checks a role against the catalogue and compiles it.
func Compile(cat *entity.Catalogue, role *Role) (*Compiled, error) {
	out := &Compiled{Role: role, Grants: map[key][]*Grant{}, Refused: map[key]string{}}
	var errs []error
	fail := func(c *Clause, format string, args ...any) {
		errs = append(errs, fmt.Errorf("policy: role %s, clause %s: %s", role.Key, c.ID, fmt.Sprintf(format, args...)))
	}
	ids := map[string]bool{}
	cut := map[uint16]entity.Mask{}
	for _, s := range role.Cut {
		name, field, _ := strings.Cut(s, ".")
		t := cat.Type(name)
		if t == nil || t.Field(field) == nil {
			return nil, fmt.Errorf("policy: role %s cuts unknown field %q", role.Key, s)
		}
		cut[t.No] |= 1 << t.Field(field).No
	}
	for _, c := range role.Clauses {
		if c.ID == "" || ids[c.ID] {
			fail(c, "the id is missing or repeated")
		}
		ids[c.ID] = true
		types := c.Types
		if types == nil {
			for _, t := range cat.Types {
				if slices.ContainsFunc(c.apps(role), t.In) && !slices.Contains(c.Without, t) {
					types = append(types, t)
				}
			}
		}
		for _, n := range c.Fields {
			// "Everything" may name fields that only some types have.
			if !slices.ContainsFunc(types, func(t *entity.Type) bool { return t != nil && t.Field(n) != nil }) {
				fail(c, "names a field %q that none of its types has", n)
			}
		}
		removed, from := false, &origin{cat, role, c}
		if c.Scope.profileOnly() {
			fail(c, "uses a scope that depends on a device")
		}
		for _, t := range types {
			if t == nil || cat.TypeNo(t.No) != t {
				fail(c, "names a type that is not in the catalogue")
				continue
			}
			if c.Types == nil && c.Scope.check(cat, t) != nil {
				// "Everything in own areas" does not speak of types without a
				// client.
				continue
			}
			scope := c.Scope
			if c.Types == nil || c.Within {
				scope = bounded(cat, role, c, t)
			}
			if err := scope.check(cat, t); err != nil {
				fail(c, "%v", err)
				continue
			}
			for _, cond := range c.While {
				if err := cond.check(cat, t); err != nil {
					fail(c, "%v", err)
				}
			}
			if len(c.While) > 0 && slices.Contains(c.Verbs, View) {
				fail(c, "a view is bounded by scope, not by condition")
			}
			for _, v := range expand(c, role, t) {
				k := key{t.No, v}
				if v != View && v != Create && v != Edit && v != Delete && v != Comment && t.Action(string(v)) == nil {
					if len(types) == 1 {
						fail(c, "type %s has no action %q", t.Name, v)
					}
					continue
				}
				if c.Refuse {
					if len(out.Grants[k]) > 0 {
						removed = true
					}
					if len(c.While) == 0 {
						delete(out.Grants, k)
						out.Refused[k] = c.ID
						continue
					}
					for _, g := range out.Grants[k] {
						for _, cond := range c.While {
							g.Unless = append(g.Unless, Unless{cond, c.ID})
						}
					}
					continue
				}
				if role.Apps != nil && !keeps(role, t) {
					continue
				}
				m := mask(role, c, t)
				if m == 0 {
					fail(c, "reaches no field of %s", t.Name)
					continue
				}
				if m &^= cut[t.No]; m == 0 {
					continue
				}
				out.Grants[k] = append(out.Grants[k], &Grant{
					Type: t, Apps: c.apps(role), Role: role.Key, Clause: c.ID, Scope: scope, Mask: m, Context: c.Context,
					Personal: c.Personal, Named: c.Types != nil, House: c.House, While: c.While, Clients: role.Clients,
					from: from,
				})
			}
		}
		// What a tenant-made role cuts may be just what a clause would refuse.
		whole := role.Apps == nil && len(role.Cut) == 0
		if c.Refuse && !removed && !c.Stated && whole {
			fail(c, "takes nothing away and is not marked as stated")
		}
	}
	return out, errors.Join(errs...)
}

// bounded is the scope of a clause about everything, for a type of which
// everything is not all.
func bounded(cat *entity.Catalogue, role *Role, c *Clause, t *entity.Type) *Scope {
	if len(t.Everything) == 0 {
		return c.Scope
	}
	apps := slices.DeleteFunc(slices.Clone(c.apps(role)), func(a entity.App) bool { return !t.In(a) })
	if len(apps) == 0 || c.anyApp {
		apps = t.Apps
	}
	var ways []*Scope
	for _, a := range apps {
		var all []*Scope
		for _, b := range t.Everything {
			all = append(all, Where(b.Field, b.Values(cat, t, a)...))
		}
		ways = append(ways, And(all...))
	}
	out := ways[0]
	if len(ways) > 1 {
		out = Or(ways...)
	}
	if c.Scope.Op == OpAll {
		return out
	}
	return And(c.Scope, out)
}

func keeps(role *Role, t *entity.Type) bool {
	for _, a := range role.Apps {
		if t.In(a) {
			return true
		}
	}
	return false
}

// expand replaces AnyAction by the actions the role's app owns.
func expand(c *Clause, role *Role, t *entity.Type) []Verb {
	var out []Verb
	for _, v := range c.Verbs {
		if v != AnyAction {
			out = append(out, v)
			continue
		}
		for _, a := range t.Actions {
			if a.OwnedBy(role.App) || (t.Archivable && (a.Name == "archive" || a.Name == "restore")) {
				out = append(out, Verb(a.Name))
			}
		}
	}
	return out
}

func mask(role *Role, c *Clause, t *entity.Type) entity.Mask {
	if c.Fields != nil {
		// Nothing comes along by itself, not even the client's id: a colleague's
		// name must not tell more than the name.
		var m entity.Mask
		for _, n := range c.Fields {
			if f := t.Field(n); f != nil {
				m |= 1 << f.No
			}
		}
		return m
	}
	facets := c.Facets
	if facets == nil {
		for _, a := range c.apps(role) {
			facets = append(facets, a.Opens()...)
		}
	}
	return t.FacetMask(facets...)
}

// apps are those whose types and facets the clause speaks of.
func (c *Clause) apps(role *Role) []entity.App {
	if c.Apps != nil {
		return c.Apps
	}
	return []entity.App{role.App}
}

func (c Condition) check(cat *entity.Catalogue, t *entity.Type) error {
	path, field := splitPath(c.Path)
	if path != "" {
		f := t.Field(path)
		if f == nil || f.Kind != entity.Ref || len(f.Targets) != 1 {
			return fmt.Errorf("condition %q: %s.%s refers to no single type", c.Path, t.Name, path)
		}
		t = cat.Type(f.Targets[0])
	}
	f := t.Field(field)
	if f == nil || f.Kind != entity.Enum {
		return fmt.Errorf("condition %q: %s.%s is no enumeration", c.Path, t.Name, field)
	}
	for _, v := range c.OneOf {
		if !slices.Contains(f.Values, v) {
			return fmt.Errorf("condition %q: unknown value %q", c.Path, v)
		}
	}
	return nil
}

func splitPath(p string) (ref, field string) {
	if a, b, ok := strings.Cut(p, "."); ok {
		return a, b
	}
	return "", p
}

func (c Condition) holds(r *entity.Record, look Lookup) bool {
	path, field := splitPath(c.Path)
	if path != "" {
		p, ok := look.Load(r.Get(path).Ref())
		if !ok {
			return false
		}
		r = p
	}
	return slices.Contains(c.OneOf, r.Get(field).Text())
}

// Merge adds another role's grants.
func (c *Compiled) Merge(o *Compiled) {
	if c.Grants == nil {
		c.Grants, c.Refused = map[key][]*Grant{}, map[key]string{}
	}
	for k, g := range o.Grants {
		c.Grants[k] = append(c.Grants[k], g...)
	}
	for k, id := range o.Refused {
		c.Refused[k] = id
	}
}
