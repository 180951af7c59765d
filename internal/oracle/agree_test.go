package oracle_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/internal/oracle"
	"satchel/internal/policy"
	"satchel/server/suite"
	"satchel/sync/scope"
	"satchel/sync/state"
	"satchel/sync/store"
)

// Here the two readings of the manual, the server's and the judge's, look at
// the same small tenants: what each person sees of each record must be the
// same by both.

const now ident.Millis = 1_700_000_000_000

// dice draws a number below n; 0 is the plainest.
type dice func(n int) int

func (d dice) chance(percent int) bool { return d(100) >= 100-percent }

func draw[T any](d dice, xs []T) T { return xs[d(len(xs))] }

// tenant is a small random tenant under construction.
type tenant struct {
	t     testing.TB
	suite *suite.Suite
	judge *oracle.Judge
	w     *state.Writer
	by    map[string][]*entity.Record
	n     int
	pos   ident.Position
}

// GoString keeps a tenant's thousands of rows out of messages.
func (w *tenant) GoString() string { return fmt.Sprintf("%d records", w.n) }

func newTenant(t testing.TB) *tenant {
	all, err := suite.Load()
	if err != nil {
		t.Fatal(err)
	}
	snap, err := store.NewMem().Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	w := &tenant{t: t, suite: all, judge: oracle.New(all.Cat), w: state.NewWriter(all.Cat), by: map[string][]*entity.Record{}, pos: 1}
	w.w.Begin(snap, 1, now)
	return w
}

func (w *tenant) reader() *state.Reader { return &w.w.Reader }

func (w *tenant) look() *oracle.World {
	world, err := w.judge.Look(w.reader().KV())
	if err != nil {
		w.t.Fatal(err)
	}
	return world
}

// targets are the records that a field may name.
func (w *tenant) targets(typ *entity.Type, f *entity.Field) []*entity.Record {
	types := f.Targets
	if len(types) == 0 {
		types = []string{"client", "site", "job", "ticket", "invoice", "product", "campaign", "salesOrder", "receipt"}
		for _, n := range []string{"parentType", "causeType"} {
			if p := typ.Field(n); p != nil {
				types = p.Values
			}
		}
	}
	var out []*entity.Record
	for _, n := range types {
		out = append(out, w.by[n]...)
	}
	return out
}

// value draws what scopes and conditions may read; nil for none.
func (w *tenant) value(d dice, typ *entity.Type, f *entity.Field) entity.Value {
	one := func() *entity.Record {
		all := w.targets(typ, f)
		switch {
		case len(all) == 0:
			return nil
		case slices.Contains(f.Targets, "employee") && d.chance(50):
			return all[0] // whom the test asks about
		}
		return draw(d, all)
	}
	switch f.Kind {
	case entity.Ref:
		if !f.Required && d.chance(30) {
			return nil
		}
		if r := one(); r != nil {
			return entity.RefValue(r.ID)
		}
	case entity.Refs:
		if r := one(); r != nil && d.chance(60) {
			return entity.SetValue([]string{string(r.ID), string(one().ID)})
		}
	case entity.Enum:
		if d.chance(85) {
			return entity.StringValue(draw(d, f.Values))
		}
	case entity.String, entity.Text:
		return entity.StringValue("x")
	case entity.Bool:
		return entity.BoolValue(d.chance(50))
	}
	return nil
}

// record makes a record; given says what is not to be drawn, as names and
// values.
func (w *tenant) record(d dice, name string, given ...any) *entity.Record {
	typ := w.suite.Cat.Type(name)
	w.n++
	r := w.w.New(typ, ident.RecordID(fmt.Sprintf("%s-%04d", typ.Name, w.n)))
	fixed := map[string]entity.Value{}
	for i := 0; i < len(given); i += 2 {
		v, _ := given[i+1].(entity.Value)
		switch x := given[i+1].(type) {
		case string:
			v = entity.StringValue(x)
		case ident.RecordID:
			v = entity.RefValue(x)
		case []string:
			v = entity.SetValue(x)
		case bool:
			v = entity.BoolValue(x)
		}
		fixed[given[i].(string)] = v
	}
	for _, f := range typ.Fields {
		v, ok := fixed[f.Name]
		if !ok {
			v = w.value(d, typ, f)
		}
		r.Put(f.No, v)
	}
	if typ.IsClient {
		r.Put(entity.NoClientID, entity.RefValue(r.ID))
	} else if root := r.RootOf(); root != "" {
		up, ok := w.w.Load(root)
		if !ok {
			w.t.Fatalf("%s has no root", r.ID)
		}
		if c := up.Client(); c != "" {
			r.Put(entity.NoClientID, entity.RefValue(c))
		}
		for _, n := range []string{"parentType", "causeType"} {
			if typ.Field(n) != nil {
				r.Set(n, entity.StringValue(up.Type.Name))
			}
		}
	}
	r.Put(entity.NoCreatedAt, entity.TimeValue(1))
	w.w.Save(nil, r, "")
	w.by[name] = append(w.by[name], r)
	return r
}

// rights are the types by which rights are given, made by hand.
var rights = []string{
	"roleAssignment", "individualPermission", "clientVisibility", "visibilityRule", "organizationalRole", "organizationalRoleClient",
	"onsiteClient", "delegation",
}

// fill makes the tenant's records: parents before children.
func (w *tenant) fill(d dice) {
	for range 2 {
		w.record(d, "salesArea")
	}
	for range 2 + d(2) {
		w.record(d, "client")
	}
	for i := range 2 + d(2) {
		kind := draw(d, []string{"in-house", "in-house", "in-house", "subcontractor", "client-staff"})
		client := entity.Value(nil)
		if kind == "client-staff" {
			client = entity.RefValue(draw(d, w.by["client"]).ID)
		}
		status := "Active"
		if i > 0 && d.chance(15) {
			status = "Disabled"
		}
		w.record(d, "employee", "kind", kind, "client", client, "status", status)
	}
	types := slices.Clone(w.suite.Cat.Types)
	slices.SortStableFunc(types, func(a, b *entity.Type) int { return a.Rank - b.Rank })
	for _, t := range types {
		if slices.Contains(rights, t.Name) || slices.Contains([]string{"salesArea", "client", "employee"}, t.Name) {
			continue
		}
		for range 1 + d(3) {
			w.record(d, t.Name)
		}
	}
}

// about gives a person visibility, a place to be onsite at and individual
// permissions, at random.
func (w *tenant) about(d dice, who ident.RecordID) {
	client := func() ident.RecordID { return draw(d, w.by["client"]).ID }
	if d.chance(40) {
		v := w.record(d, "clientVisibility", "employee", who, "mode", draw(d, []string{"all-but", "all-but", "only"}))
		for range 1 + d(2) {
			w.record(d, "visibilityRule", "visibility", v.ID, "client", client())
		}
	}
	if d.chance(30) {
		w.record(d, "onsiteClient", "employee", who, "client", client())
	}
	for d.chance(20) {
		t := draw(d, w.suite.Cat.Types)
		var typ, field, app entity.Value
		if d.chance(70) {
			typ = entity.StringValue(t.Name)
			if d.chance(50) {
				field = entity.StringValue(draw(d, t.Fields).Name)
			}
		}
		if typ == nil || d.chance(30) {
			app = entity.StringValue(string(draw(d, entity.Apps[:len(entity.Apps)-1])))
		}
		w.record(d, "individualPermission", "employee", who, "effect", draw(d, []string{"grant", "denial"}), "verb", "view",
			"entityType", typ, "field", field, "app", app)
	}
}

// hold gives a person a role, now and then by way of an organizational one.
func (w *tenant) hold(d dice, who ident.RecordID, role string) {
	if d.chance(30) && role != "level.customer-administrator" {
		var apps, cut entity.Value
		if d.chance(40) {
			apps = entity.SetValue([]string{string(draw(d, entity.Apps)), string(draw(d, entity.Apps))})
		}
		if d.chance(40) {
			t := draw(d, w.suite.Cat.Types)
			cut = entity.SetValue([]string{t.Name + "." + draw(d, t.Fields).Name})
		}
		limited := d.chance(50)
		o := w.record(d, "organizationalRole", "baseRoles", []string{role}, "apps", apps, "cutFields", cut, "limitClients", limited)
		if limited {
			for range d(3) {
				w.record(d, "organizationalRoleClient", "role", o.ID, "client", draw(d, w.by["client"]).ID)
			}
		}
		role = string(o.ID)
	}
	until := entity.Value(nil)
	if d.chance(10) {
		until = entity.TimeValue(now + ident.Millis(d(3)-1))
	}
	w.record(d, "roleAssignment", "employee", who, "role", role, "from", nil, "until", until)
}

// delegate lets one person act for another.
func (w *tenant) delegate(d dice, by, to ident.RecordID) {
	from, until := entity.Value(nil), entity.TimeValue(now+1)
	switch d(6) {
	case 5:
		until = entity.TimeValue(now) // just over
	case 4:
		from = entity.TimeValue(now + 1) // not yet
	case 3:
		from = entity.TimeValue(now)
	}
	w.record(d, "delegation", "delegator", by, "delegate", to, "from", from, "until", until)
}

// difference is a record of which the two see different things.
type difference struct {
	rec    *entity.Record
	policy policy.Sight
	judge  entity.Mask
	beside bool // by the judge, in context
}

// String says it by names of fields.
func (x difference) String() string {
	more := func(a, b entity.Mask) string {
		var out []string
		for no := range uint8(64) {
			if f := x.rec.Type.FieldNo(no); f != nil && a.Has(no) && !b.Has(no) {
				out = append(out, f.Name)
			}
		}
		return strings.Join(out, ",")
	}
	how := func(m entity.Mask, context bool) string {
		switch {
		case m == 0:
			return "nothing"
		case context:
			return "it beneath a parent"
		}
		return "it in lists"
	}
	name := string(x.rec.ID)
	if on := x.rec.Get("parent"); !on.IsNull() {
		name += " on " + on.Text()
	}
	s := fmt.Sprintf("%s: the policy sees %s, the judge %s", name, how(x.policy.Mask, x.policy.Context), how(x.judge, x.beside))
	if x.policy.Mask != 0 && x.judge != 0 {
		if m := more(x.policy.Mask, x.judge); m != "" {
			s += "; only the policy " + m
		}
		if m := more(x.judge, x.policy.Mask); m != "" {
			s += "; only the judge " + m
		}
	}
	if g := x.policy.Grant; g != nil {
		s += " (by " + g.Role + " " + g.Clause + ")"
	}
	return s
}

// compare asks both about all records, as points and as sets, and calls f
// with what differs.
func (w *tenant) compare(who ident.RecordID, f func(difference)) (compared, seen int) {
	sub, ok := w.suite.Roles.Build(w.reader(), who)
	if !ok {
		w.t.Fatalf("there is no %s", who)
	}
	world := w.look()
	sets := scope.Visible(w.reader(), sub)
	for _, t := range w.suite.Cat.Types {
		for _, r := range w.by[t.Name] {
			if _, live := world.Record(r.ID); !live {
				continue
			}
			bits, context := world.Mask(who, r.ID)
			mask := entity.Mask(bits)
			point := sub.View(r, w.reader())
			class, _ := sets.Of(r.Ord)
			compared++
			if mask != 0 {
				seen++
			}
			for _, p := range []policy.Sight{point, {Mask: class.Mask, Context: class.Context, Grant: point.Grant}} {
				if p.Mask != mask || (mask != 0 && p.Context != context) {
					f(difference{r, p, mask, context})
					break
				}
			}
		}
	}
	return compared, seen
}

// describe says who somebody is, for messages.
func (w *tenant) describe(who ident.RecordID) string {
	sub, _ := w.suite.Roles.Build(w.reader(), who)
	e, _ := w.w.Load(who)
	s := fmt.Sprintf("%s (%s, areas %s, roles %v", who, sub.Kind, e.Get("salesAreas"), sub.Roles)
	for _, r := range w.by["organizationalRole"] {
		s += fmt.Sprintf("; %s is %s of apps %s less %s, limited %s", r.ID, r.Get("baseRoles"), r.Get("apps"), r.Get("cutFields"), r.Get("limitClients"))
	}
	if len(sub.Clients) > 0 || sub.Only {
		s += fmt.Sprintf("; only these clients: %v, %v", sub.Only, sub.Clients)
	}
	if len(sub.Onsite) > 0 {
		s += fmt.Sprintf("; onsite at %v", sub.Onsite)
	}
	for _, id := range sub.For {
		s += "; acts for " + w.describe(id)
	}
	return s + ")"
}

// TestEveryRoleIsKnown: a role that the server has and the judge does not know
// would be judged as giving nothing.
func TestEveryRoleIsKnown(t *testing.T) {
	all, err := suite.Load()
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range all.Roles.Keys() {
		if !oracle.Knows(k) {
			t.Errorf("the judge does not know the role %s", k)
		}
	}
}

// TestRoleByRole lets one person hold each role in turn, in many tenants, and
// lists all that the readings differ in by role, type and kind of difference.
// ORACLE_TENANTS says how many tenants.
func TestRoleByRole(t *testing.T) {
	tenants := 40
	if n, err := strconv.Atoi(os.Getenv("ORACLE_TENANTS")); err == nil {
		tenants = n
	}
	found := map[string]string{}
	seen := map[string]int{}
	compared := 0
	for n := range tenants {
		rng := rand.New(rand.NewPCG(uint64(n), 1))
		d := dice(func(k int) int { return rng.IntN(k) })
		w := newTenant(t)
		w.fill(d)
		who := w.by["employee"][0].ID
		if n%2 == 1 {
			w.about(d, who)
		}
		for _, role := range w.suite.Roles.Keys() {
			m := w.w.Mark()
			w.record(d, "roleAssignment", "employee", who, "role", role, "from", nil, "until", nil)
			c, s := w.compare(who, func(x difference) {
				k := role + " " + x.rec.Type.Name
				if on := x.rec.Get("parentType"); !on.IsNull() {
					k += " on a " + on.Text()
				}
				if x.judge == 0 {
					k += " (only the policy)"
				} else if x.policy.Mask == 0 {
					k += " (only the judge)"
				}
				if found[k] == "" {
					found[k] = fmt.Sprintf("tenant %d: %s: %s", n, w.describe(who), x)
				}
			})
			compared += c
			seen[role] += s
			w.w.Rollback(m)
			ra := w.by["roleAssignment"]
			w.by["roleAssignment"] = ra[:len(ra)-1]
		}
	}
	for _, k := range slices.Sorted(func(yield func(string) bool) {
		for k := range found {
			if !yield(k) {
				return
			}
		}
	}) {
		t.Errorf("%s: %s", k, found[k])
	}
	t.Logf("%d comparisons", compared)
	for role, n := range seen {
		if n == 0 {
			t.Errorf("nobody saw anything as %s", role)
		}
	}
}

// TestPeopleAgree mixes everything that decides about seeing: several roles,
// tenant-made ones, individual permissions, hidden clients, and people who act
// for others.
func TestPeopleAgree(t *testing.T) {
	compared, seen, lent := 0, 0, 0
	mixed := rapid.Custom(func(rt *rapid.T) *tenant {
		d := dice(func(n int) int { return rapid.IntRange(0, n-1).Draw(rt, "n") })
		w := newTenant(t)
		w.fill(d)
		keys := w.suite.Roles.Keys()
		people := w.by["employee"]
		for _, p := range people[:2] {
			w.about(d, p.ID)
			for range 1 + d(2) {
				w.hold(d, p.ID, draw(d, keys))
			}
		}
		if d.chance(60) {
			w.delegate(d, people[1].ID, people[0].ID)
		}
		if d.chance(20) {
			w.delegate(d, people[0].ID, people[1].ID)
		}
		return w
	})
	rapid.Check(t, func(rt *rapid.T) {
		w := mixed.Draw(rt, "tenant")
		for _, p := range w.by["employee"] {
			c, s := w.compare(p.ID, func(x difference) { rt.Fatalf("%s: %s", w.describe(p.ID), x) })
			compared, seen = compared+c, seen+s
			if sub, _ := w.suite.Roles.Build(w.reader(), p.ID); len(sub.For) > 0 {
				lent += s
			}
		}
	})
	t.Logf("%d comparisons, %d records seen, %d of them by people who act for others", compared, seen, lent)
	if seen == 0 || lent == 0 {
		t.Error("the tenants are empty")
	}
}
