package scope_test

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/internal/policy"
	"satchel/server/roles"
	"satchel/server/suite"
	"satchel/sync/scope"
	"satchel/sync/state"
	"satchel/sync/store"
	"satchel/sync/subject"
)

type world struct {
	cat   *entity.Catalogue
	roles *subject.Roles
	w     *state.Writer
	by    map[string][]*entity.Record // live records by type
	n     int
}

func newWorld(t rapid.TB) *world {
	all, err := suite.Load()
	if err != nil {
		t.Fatal(err)
	}
	cat, rs := all.Cat, all.Roles
	w := &world{cat: cat, roles: rs, w: state.NewWriter(cat), by: map[string][]*entity.Record{}}
	snap, err := store.NewMem().Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	w.w.Begin(snap, 1, 1_700_000_000_000)
	return w
}

// reader reads what was staged, remembering nothing of it.
func (w *world) reader() *state.Reader { return &w.w.Reader }

// record makes a record with every field that a scope may read drawn at
// random; given says what is not.
func (w *world) record(t *rapid.T, typ *entity.Type, given map[string]entity.Value) *entity.Record {
	w.n++
	r := w.w.New(typ, ident.RecordID(fmt.Sprintf("%s-%04d", typ.Name[:3], w.n)))
	pick := func(f *entity.Field) entity.Value {
		targets := f.Targets
		if len(targets) == 0 { // to any type: those that something hangs on
			targets = []string{"client", "site", "asset", "job", "jobActivity", "ticket", "invoice", "product"}
			if p := typ.Field("parentType"); p != nil {
				targets = p.Values
			}
		}
		var ids []ident.RecordID
		for _, n := range targets {
			for _, x := range w.by[n] {
				ids = append(ids, x.ID)
			}
		}
		if len(ids) == 0 {
			return nil
		}
		if slices.Contains(targets, "employee") && rapid.Bool().Draw(t, "self") {
			return entity.RefValue(ids[0]) // whom the test asks about
		}
		return entity.RefValue(rapid.SampledFrom(ids).Draw(t, f.Name))
	}
	for _, f := range typ.Fields {
		v, ok := given[f.Name]
		switch {
		case ok:
		case f.Kind == entity.Ref && (f.Name == typ.Root || f.Required || rapid.IntRange(0, 3).Draw(t, "has "+f.Name) > 0):
			v = pick(f)
		case f.Kind == entity.Refs && rapid.Bool().Draw(t, "has "+f.Name):
			if one := pick(f); one != nil {
				v = entity.SetValue([]string{one.Text(), pick(f).Text()})
			}
		case f.Kind == entity.Enum && rapid.IntRange(0, 4).Draw(t, "has "+f.Name) > 0:
			v = entity.StringValue(rapid.SampledFrom(f.Values).Draw(t, f.Name))
		case f.Kind == entity.Time && f.Days && rapid.Bool().Draw(t, "has "+f.Name):
			v = entity.TimeValue(ident.Millis(1_700_000_000_000 + rapid.Int64Range(-200, 200).Draw(t, f.Name)*6*60*60*1000))
		case f.Kind == entity.String:
			v = entity.StringValue("x")
		}
		r.Put(f.No, v)
	}
	if typ.IsClient {
		r.Put(entity.NoClientID, entity.RefValue(r.ID))
	}
	if root := r.RootOf(); root != "" {
		p, ok := w.w.Load(root)
		if !ok {
			t.Fatalf("root %s of %s", root, r.ID)
		}
		if c := p.Client(); c != "" {
			r.Put(entity.NoClientID, entity.RefValue(c))
		}
		if p := typ.Field("parentType"); p != nil {
			up, _ := w.w.Load(root)
			r.Set("parentType", entity.StringValue(up.Type.Name))
		}
	}
	r.Put(entity.NoCreatedAt, entity.TimeValue(1))
	w.w.Save(nil, r, "")
	w.by[typ.Name] = append(w.by[typ.Name], r)
	return r
}

// fill makes a random tenant: parents first.
func (w *world) fill(t *rapid.T) {
	types := slices.Clone(w.cat.Types)
	slices.SortStableFunc(types, func(a, b *entity.Type) int { return a.Rank - b.Rank })
	some := func(name string, from, to int, given map[string]entity.Value) {
		for range rapid.IntRange(from, to).Draw(t, name) {
			w.record(t, w.cat.Type(name), given)
		}
	}
	some("salesArea", 1, 2, nil)
	some("client", 1, 3, nil)
	for range rapid.IntRange(1, 4).Draw(t, "people") {
		w.person(t)
	}
	for _, typ := range types {
		switch typ.Name {
		case "salesArea", "client", "employee", "roleAssignment", "individualPermission", "clientVisibility", "visibilityRule", "organizationalRole":
			continue
		}
		// A root to any type needs something to hang on.
		some(typ.Name, 1, 3, nil)
	}
}

func (w *world) person(t *rapid.T) *entity.Record {
	kind := rapid.SampledFrom([]string{"in-house", "in-house", "client-staff", "subcontractor"}).Draw(t, "kind")
	given := map[string]entity.Value{"kind": entity.StringValue(kind), "status": entity.StringValue(subject.Active), "client": nil}
	if kind == "client-staff" {
		given["client"] = entity.RefValue(rapid.SampledFrom(w.by["client"]).Draw(t, "client").ID)
	}
	return w.record(t, w.cat.Type("employee"), given)
}

// rights gives a person random roles, visibility and denials.
func (w *world) rights(t *rapid.T, who ident.RecordID) {
	emp := entity.RefValue(who)
	make := func(name string, given map[string]entity.Value) *entity.Record {
		given["employee"] = emp
		return w.record(t, w.cat.Type(name), given)
	}
	org := w.record(t, w.cat.Type("organizationalRole"), map[string]entity.Value{
		"baseRoles": entity.SetValue([]string{rapid.SampledFrom(w.roles.Keys()).Draw(t, "base")}),
		"apps":      rapid.SampledFrom([]entity.Value{nil, entity.SetValue([]string{"service"}), entity.SetValue([]string{"helpdesk", "service"})}).Draw(t, "apps"),
		"cutFields": rapid.SampledFrom([]entity.Value{nil, entity.SetValue([]string{"client.name", "job.title"})}).Draw(t, "cut"),
	})
	// The one role with context-only records comes up more often than by chance.
	keys := append(w.roles.Keys(), string(org.ID), "service.guest-agent", "service.guest-agent", "service.guest-agent", "service.guest-agent")
	for range rapid.IntRange(1, 3).Draw(t, "roles") {
		make("roleAssignment", map[string]entity.Value{"role": entity.StringValue(rapid.SampledFrom(keys).Draw(t, "role")), "from": nil, "until": nil})
	}
	for range rapid.IntRange(0, 2).Draw(t, "permissions") {
		typ := rapid.SampledFrom(w.cat.Types).Draw(t, "of type")
		f := rapid.SampledFrom(typ.Fields).Draw(t, "of field")
		given := map[string]entity.Value{
			"effect":     entity.StringValue(rapid.SampledFrom([]string{"grant", "denial"}).Draw(t, "effect")),
			"verb":       entity.StringValue("view"),
			"entityType": entity.StringValue(typ.Name), "field": nil, "app": nil, "from": nil, "until": nil,
		}
		if rapid.Bool().Draw(t, "one field") {
			given["field"] = entity.StringValue(f.Name)
		}
		make("individualPermission", given)
	}
	for range rapid.IntRange(0, 1).Draw(t, "onsite") {
		make("onsiteClient", map[string]entity.Value{"client": entity.RefValue(rapid.SampledFrom(w.by["client"]).Draw(t, "onsite client").ID)})
	}
	if rapid.Bool().Draw(t, "visibility") {
		v := make("clientVisibility", map[string]entity.Value{"mode": entity.StringValue(rapid.SampledFrom([]string{"all-but", "only"}).Draw(t, "mode"))})
		for range rapid.IntRange(0, 2).Draw(t, "rules") {
			w.record(t, w.cat.Type("visibilityRule"), map[string]entity.Value{
				"visibility": entity.RefValue(v.ID), "client": entity.RefValue(rapid.SampledFrom(w.by["client"]).Draw(t, "rule").ID),
			})
		}
	}
}

// TestPointAndSet: the set of what a person sees, and each record asked for by
// itself, agree for every role in random tenants: records, fields and context.
func TestPointAndSet(t *testing.T) {
	seen, context := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		w.fill(t)
		who := w.by["employee"][0].ID
		w.rights(t, who)
		sub, ok := w.roles.Build(w.reader(), who)
		if !ok {
			t.Fatal("nobody")
		}
		sets := scope.Visible(w.reader(), sub)
		total := 0
		for _, rs := range w.by {
			for _, r := range rs {
				point := sub.View(r, w.reader())
				class, in := sets.Of(r.Ord)
				if in != (point.Mask != 0) || in && (class.Mask != point.Mask || class.Context != point.Context || class.Type != r.Type.No) {
					t.Fatalf("%s with %v: %s is %+v as a point and %v %+v in the set", who, sub.Roles, r.ID, point, in, class)
				}
				if in {
					total++
				}
				if class.Context {
					context++
				}
			}
		}
		// The parts are disjoint, none is empty, and they are in order.
		if sets.Len() != sets.All().Len() || sets.Len() != total {
			t.Fatalf("%d in parts, %d in all, %d seen", sets.Len(), sets.All().Len(), total)
		}
		seen += total
		carried(t, w, sub, sets)
	})
	if seen == 0 || context == 0 {
		t.Fatalf("the worlds are empty: %d seen, %d in context", seen, context)
	}
}

// carried checks what devices of the person take along.
func carried(t *rapid.T, w *world, sub *policy.Subject, visible scope.Sets) {
	var pins []ident.RecordID
	for range rapid.IntRange(0, 2).Draw(t, "pins") {
		typ := rapid.SampledFrom([]string{"client", "job", "jobActivity", "ticket", "employee"}).Draw(t, "pin type")
		if rs := w.by[typ]; len(rs) > 0 {
			pins = append(pins, rapid.SampledFrom(rs).Draw(t, "pin").ID)
		}
	}
	// Point by point: a record lies beneath a pin that the person sees in a
	// root list if it is pinned, of a pinned client, or its root lies beneath.
	live := func(id ident.RecordID) bool {
		c, ok := visible.Of(w.reader().Ordinal(id))
		return ok && !c.Context && slices.Contains(pins, id)
	}
	var beneath func(r *entity.Record) bool
	beneath = func(r *entity.Record) bool {
		if live(r.ID) || r.Client() != "" && live(r.Client()) {
			return true
		}
		p, ok := w.reader().Load(r.RootOf())
		return ok && beneath(p)
	}
	now := w.reader().Now()
	office := scope.Carried(w.reader(), sub, visible, scope.Profile{Pins: pins, Window: scope.DefaultWindow(now)}, roles.Field())
	field := scope.Carried(w.reader(), sub, visible, scope.Profile{Field: true, Pins: pins, Window: scope.DefaultWindow(now)}, roles.Field())
	bare := scope.Carried(w.reader(), sub, visible, scope.Profile{Field: true, Window: scope.DefaultWindow(now)}, roles.Field())
	if !sub.Mobile && len(field) > 0 {
		t.Fatal("a field device of somebody without the Mobile role carries something")
	}
	for _, rs := range w.by {
		for _, r := range rs {
			seen, ok := visible.Of(r.Ord)
			o, inOffice := office.Of(r.Ord)
			f, inField := field.Of(r.Ord)
			_, inBare := bare.Of(r.Ord)
			if want := ok && (!seen.Context || beneath(r)); inOffice != want {
				t.Fatalf("%s, pins %v: office carries %s: %v", sub.ID, pins, r.ID, inOffice)
			}
			if (inOffice && o != seen) || (inField && f != seen) {
				t.Fatalf("%s is carried in another class than it is seen in", r.ID)
			}
			if inField && !inOffice {
				t.Fatalf("%s is carried by field devices only", r.ID)
			}
			if sub.Mobile && ok && beneath(r) && !inField {
				t.Fatalf("%s lies beneath a pin and is not carried", r.ID)
			}
			if seen.Context && inBare {
				t.Fatalf("%s is carried without its parent pinned", r.ID)
			}
			if inBare && !inField {
				t.Fatalf("a pin takes %s away", r.ID)
			}
			if own := r.Type.Name == "jobActivity" && sub.Mobile && ok && !seen.Context && r.Get("assignee").Ref() == sub.ID; own {
				start, has := r.Get("scheduledStart").Time()
				win := scope.DefaultWindow(now)
				want := has && start >= win.From && start < win.To || !has && slices.Contains(r.Type.Status.Open, r.StatusText())
				if inBare != want {
					t.Fatalf("own activity %s at %d, %s: carried %v", r.ID, start, r.StatusText(), inBare)
				}
			}
		}
	}
}
