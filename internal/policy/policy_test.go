package policy

import (
	"slices"
	"strings"
	"testing"

	"satchel/internal/entity"
	"satchel/internal/ident"
)

// The types of these tests: a client, work under it, and a person.
var (
	client = &entity.Type{
		No: 1, Name: "client", Apps: []entity.App{entity.CRM, entity.Service}, IsClient: true, Archivable: true,
		Fields: []*entity.Field{
			entity.Str(1, "name"), entity.To(2, "salesArea", "area"), entity.Str(3, "deal").In(entity.FacetCRM),
			entity.Str(4, "access").In(entity.FacetService),
		},
		Actions: []*entity.Action{{Name: "move", App: entity.CRM}},
	}
	area = &entity.Type{No: 2, Name: "area", Apps: []entity.App{entity.CRM}, Fields: []*entity.Field{entity.Str(1, "name")}}
	work = &entity.Type{
		No: 3, Name: "work", Apps: []entity.App{entity.Service}, Root: "client",
		Fields: []*entity.Field{
			entity.To(1, "client", "client").Fixed(), entity.To(2, "doer", "employee"), entity.ToMany(3, "watchers", "employee"),
			entity.OneOf(4, "status", "Open", "Done").System(), entity.Flag(5, "urgent"), entity.Str(6, "title"),
		},
		Status:  &entity.Lifecycle{Field: "status", Initial: "Open", States: []string{"Open", "Done"}},
		Actions: []*entity.Action{{Name: "finish", App: entity.Service, To: "Done"}},
	}
	part = &entity.Type{
		No: 4, Name: "part", Apps: []entity.App{entity.Service}, Root: "work",
		Fields: []*entity.Field{entity.To(1, "work", "work").Fixed(), entity.Str(2, "name")},
	}
	employee = &entity.Type{
		No: 5, Name: "employee", Apps: []entity.App{entity.Admin}, Root: "client",
		Fields: []*entity.Field{entity.Str(1, "name"), entity.Str(2, "email").In(entity.FacetAdmin), entity.To(3, "client", "client").Fixed()},
	}
	cat = func() *entity.Catalogue {
		c, err := entity.NewCatalogue(client, area, work, part, employee)
		if err != nil {
			panic(err)
		}
		return c
	}()
)

type records map[ident.RecordID]*entity.Record

func (w records) Load(id ident.RecordID) (*entity.Record, bool) { r, ok := w[id]; return r, ok }

func (w records) AnyReferring(typ, field string, id ident.RecordID, match func(*entity.Record) bool) bool {
	for _, r := range w {
		if r.Type.Name == typ && names(r, field, id) && match(r) {
			return true
		}
	}
	return false
}

func (w records) Naming(id ident.RecordID, f func(*entity.Record, uint8) bool) {
	for _, r := range w {
		for _, x := range r.Type.Fields {
			if (x.Kind == entity.Ref || x.Kind == entity.Refs) && names(r, x.Name, id) && !f(r, x.No) {
				return
			}
		}
	}
}

func (w records) add(t *entity.Type, id, of string, kv ...string) *entity.Record {
	r := &entity.Record{Type: t, ID: ident.RecordID(id)}
	if of != "" {
		r.Put(entity.NoClientID, entity.StringValue(of))
	}
	for i := 0; i < len(kv); i += 2 {
		v := entity.StringValue(kv[i+1])
		switch t.Field(kv[i]).Kind {
		case entity.Refs:
			v = entity.SetValue([]string{kv[i+1]})
		case entity.Bool:
			v = entity.Value(kv[i+1])
		}
		r.Set(kv[i], v)
	}
	w[r.ID] = r
	return r
}

func sample() records {
	w := records{}
	w.add(client, "client-a", "client-a", "name", "A", "salesArea", "area-0001")
	w.add(client, "client-b", "client-b", "name", "B", "salesArea", "area-0002")
	w.add(client, "client-c", "client-c", "name", "C") // in no area
	w.add(area, "area-0001", "", "name", "north")
	w.add(work, "work-a", "client-a", "client", "client-a", "doer", "person-1", "status", "Open", "urgent", "true")
	w.add(work, "work-b", "client-b", "client", "client-b", "doer", "person-2", "watchers", "person-1", "status", "Done")
	w.add(part, "part-a", "client-a", "work", "work-a", "name", "p")
	w.add(part, "part-b", "client-b", "work", "work-b", "name", "p")
	w.add(employee, "person-1", "", "name", "one", "email", "e")
	w.add(employee, "person-2", "", "name", "two", "email", "e")
	w.add(employee, "person-3", "client-b", "name", "three", "client", "client-b")
	return w
}

func compile(t testing.TB, clauses ...*Clause) *Compiled {
	t.Helper()
	c, err := Compile(cat, &Role{Key: "test.role", App: entity.Service, Clauses: clauses})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func person(roles ...*Compiled) *Subject {
	s := &Subject{ID: "person-1", Kind: InHouse, Active: true}
	return s.Build(Hold(roles, s.Outside()), nil, nil)
}

// TestScopes is the point reading of every operator.
func TestScopes(t *testing.T) {
	w := sample()
	for _, c := range []struct {
		name  string
		typ   *entity.Type
		scope *Scope
		want  []string
	}{
		{"all", work, All(), []string{"work-a", "work-b"}},
		{"self", work, Self("doer"), []string{"work-a"}},
		{"self in a set", work, Self("watchers"), []string{"work-b"}},
		{"own record", employee, Self("id"), []string{"person-1"}},
		{"status", work, Where("status", "Done"), []string{"work-b"}},
		{"flag", work, Where("urgent", "true"), []string{"work-a"}},
		{"flag unset", work, Where("urgent", "false"), []string{"work-b"}},
		{"areas of a client", client, AssignedSalesAreas(), []string{"client-a"}},
		{"areas of work", work, AssignedSalesAreas(), []string{"work-a"}},
		{"own client", work, OwnClient(), []string{"work-b"}},
		{"onsite", client, OnsiteClients(), []string{"client-a", "client-b"}},
		{"and", work, And(All(), Self("doer")), []string{"work-a"}},
		{"or", work, Or(Self("doer"), Self("watchers")), []string{"work-a", "work-b"}},
		{"under", part, Under("work", work, Self("doer")), []string{"part-a"}},
		{"from", client, From(work, "client", Self("doer")), []string{"client-a"}},
		{"from a set", employee, From(work, "watchers", All()), []string{"person-1"}},
	} {
		s := &Subject{
			ID: "person-1", Kind: InHouse, Active: true, Areas: []ident.RecordID{"area-0001"},
			Client: "client-b", Onsite: []ident.RecordID{"client-a", "client-b"},
		}
		s.Build(Hold([]*Compiled{compile(t, May(View).On(c.typ).In(c.scope).Through(entity.Core, entity.FacetAdmin).As("T-1"))}, false), nil, nil)
		var got []string
		for id, r := range w {
			if r.Type == c.typ && s.View(r, w).Mask != 0 {
				got = append(got, string(id))
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, c.want) {
			t.Errorf("%s (%s): %v, want %v", c.name, c.scope, got, c.want)
		}
	}
}

// TestAreasWithoutAreas: a client in no area is in nobody's areas, also not in
// those of somebody who has none.
func TestAreasWithoutAreas(t *testing.T) {
	w := sample()
	s := person(compile(t, May(View).On(client).In(AssignedSalesAreas()).As("T-1")))
	for id, r := range w {
		if s.View(r, w).Mask != 0 {
			t.Errorf("sees %s", id)
		}
	}
}

func TestMentioned(t *testing.T) {
	w := sample()
	directory := May(View).On(employee).In(Mentioned()).Only("name").Self().As("T-2")
	s := person(compile(t, May(View).On(work).In(Self("watchers")).Only("title", "doer").As("T-1"), directory))
	if got := s.View(w["person-2"], w); got.Mask != 1<<1 {
		t.Errorf("the doer of a visible work shows %b", got.Mask)
	}
	if got := s.View(w["person-1"], w); got.Mask != 0 {
		t.Error("somebody named in a field that is not seen shows")
	}
	w["work-b"].Set("doer", entity.StringValue("person-3"))
	if s.View(w["person-3"], w).Mask == 0 || s.View(w["person-2"], w).Mask != 0 {
		t.Error("the directory does not follow the record")
	}
	hidden := &Subject{ID: "person-1", Kind: InHouse, Active: true, Clients: []ident.RecordID{"client-b"}}
	hidden.Build(Hold([]*Compiled{compile(t, May(View).On(work).As("T-1"), directory)}, false), nil, nil)
	if hidden.View(w["person-3"], w).Mask != 0 {
		t.Error("a hidden record names somebody")
	}
}

func TestFacetsAndMasks(t *testing.T) {
	w := sample()
	w["client-a"].Set("deal", entity.StringValue("x"))
	view := func(s *Subject) entity.Mask { return s.View(w["client-a"], w).Mask }
	svc := compile(t, May(View).On(client).As("T-1"))
	core := compile(t, May(View).On(client).Through(entity.Core).As("T-1"))
	every := compile(t, May(View).OnEverythingOf(entity.CRM, entity.Service).Except(work).As("T-1"))
	if m := view(person(svc)); m.Has(3) || !m.Has(4) {
		t.Errorf("service sees %b", m)
	}
	if m := view(person(core)); m.Has(3) || m.Has(4) || !m.Has(1) {
		t.Errorf("core is %b", m)
	}
	s := person(every)
	if m := view(s); m != client.All() {
		t.Errorf("both apps see %b", m)
	}
	if s.View(w["work-a"], w).Mask != 0 || s.View(w["part-a"], w).Mask == 0 {
		t.Error("everything but one type is not that")
	}
	// What two roles see adds up.
	if m := view(person(core, svc)); !m.Has(4) {
		t.Errorf("together they see %b", m)
	}
}

// TestNobodyWritesUnread: a right to change or make reaches no field that the
// person reads nowhere.
func TestNobodyWritesUnread(t *testing.T) {
	w := sample()
	wide := compile(t, May(Create, Edit).On(client).As("T-2"))
	core := compile(t, May(View).On(client).Through(entity.Core).As("T-1"))
	for _, v := range []Verb{Create, Edit} {
		d := person(core, wide).Decide(v, w["client-a"], w)
		if !d.Allowed || d.Mask.Has(4) || !d.Mask.Has(1) {
			t.Errorf("%s reaches %b", v, d.Mask)
		}
		if d := person(compile(t, May(View).On(client).As("T-1")), wide).Decide(v, w["client-a"], w); !d.Mask.Has(4) {
			t.Errorf("%s of what is read reaches %b", v, d.Mask)
		}
	}
	// Who sees no record of the type makes them as granted, and changes none.
	if d := person(wide).Decide(Create, w["client-a"], w); !d.Mask.Has(4) {
		t.Errorf("create alone reaches %b", d.Mask)
	}
	if d := person(wide).Decide(Edit, w["client-a"], w); d.Mask != 0 {
		t.Errorf("edit alone reaches %b", d.Mask)
	}
}

func TestContextOnly(t *testing.T) {
	w := sample()
	s := person(compile(t,
		May(View).On(work).InContext().As("T-1"), May(View).On(work).In(Self("doer")).Only("title", "doer").As("T-2")))
	if got := s.View(w["work-a"], w); got.Context || got.Grant.Clause != "T-2" || got.Mask.Has(4) {
		t.Errorf("own work: %+v", got)
	}
	if got := s.View(w["work-b"], w); !got.Context || got.Grant.Clause != "T-1" {
		t.Errorf("other work: %+v", got)
	}
}

func TestConditions(t *testing.T) {
	w := sample()
	role := compile(t,
		May(View, Edit, "finish").On(work).As("T-1"),
		May(Edit).On(part).As("T-2"),
		MayNot(Edit).On(work).When("status", "Done").As("T-3"),
		MayNot(Edit).On(part).When("work.status", "Done").As("T-4"),
		May(Delete).On(work).When("status", "Done").As("T-5"))
	s := person(role)
	for _, c := range []struct {
		v      Verb
		id     ident.RecordID
		reason Reason
		clause string
	}{
		{Edit, "work-a", Granted, "T-1"},
		{Edit, "work-b", Closed, "T-3"},
		{"finish", "work-b", Granted, "T-1"},
		{Edit, "part-a", Granted, "T-2"},
		{Edit, "part-b", Closed, "T-4"},
		{Delete, "work-a", Closed, "T-5"},
		{Delete, "work-b", Granted, "T-5"},
		{Create, "work-a", NoGrant, ""},
	} {
		d := s.Decide(c.v, w[c.id], w)
		if d.Reason != c.reason || d.Clause != c.clause || d.Allowed != (c.reason == Granted) {
			t.Errorf("%s %s: %+v", c.v, c.id, d)
		}
	}
	// What one role closes another may leave open.
	open := compile(t, May(Edit).On(work).As("O-1"))
	open.Role.Key = "test.other"
	if d := person(role, open).Decide(Edit, w["work-b"], w); !d.Allowed || d.Clause != "O-1" {
		t.Errorf("both roles: %+v", d)
	}
}

func TestRefusals(t *testing.T) {
	w := sample()
	strict := compile(t, May(View, Edit, AnyAction).OnEverything().As("T-1"), MayNot("archive").On(client).As("T-2"))
	d := person(strict).Decide("archive", w["client-a"], w)
	if d.Allowed || d.Reason != Refusing || d.Clause != "T-2" {
		t.Errorf("%+v", d)
	}
	if d := person(strict).Decide("restore", w["client-a"], w); !d.Allowed {
		t.Errorf("restore: %+v", d)
	}
	// Every action of another app is not among them.
	if d := person(strict).Decide("move", w["client-a"], w); d.Allowed {
		t.Errorf("move: %+v", d)
	}
	lax := compile(t, May("archive").On(client).As("T-9"))
	if d := person(strict, lax).Decide("archive", w["client-a"], w); !d.Allowed || d.Clause != "T-9" {
		t.Errorf("one role's cannot binds another: %+v", d)
	}
}

func TestRank(t *testing.T) {
	w := sample()
	role := compile(t, May(View, Edit).OnEverything().As("T-1"))
	grant := compile(t, May(Delete).On(work).As("grant-01"))
	denyEdit := Denial{ID: "denial-1", Verb: Edit, Type: "work"}
	denyField := Denial{ID: "denial-2", Type: "work", Field: "title"}
	denySee := Denial{ID: "denial-3", Verb: View, Type: "part"}
	s := &Subject{ID: "person-1", Kind: InHouse, Active: true, Clients: []ident.RecordID{"client-b"}}
	s.Build(Hold([]*Compiled{role}, false), []*Compiled{grant}, []Denial{denySee, denyField, denyEdit})
	for _, c := range []struct {
		v      Verb
		id     ident.RecordID
		reason Reason
		denial ident.RecordID
	}{
		{Edit, "work-a", Denying, "denial-1"},
		{Delete, "work-a", Granted, ""},
		{View, "work-a", Granted, ""},
		{Delete, "work-b", Hidden, ""},
		{View, "client-b", Hidden, ""},
		{Edit, "part-a", Denying, "denial-3"}, // what may not be seen may not be changed
		{Edit, "client-a", Granted, ""},
	} {
		if d := s.Decide(c.v, w[c.id], w); d.Reason != c.reason || d.Denial != c.denial {
			t.Errorf("%s %s: %+v", c.v, c.id, d)
		}
	}
	if m := s.View(w["work-a"], w).Mask; m.Has(6) || !m.Has(4) {
		t.Errorf("a denied field shows: %b", m)
	}
	if s.View(w["part-a"], w).Mask != 0 || s.View(w["work-b"], w).Mask != 0 {
		t.Error("denied or hidden records show")
	}
	// Nobody else is touched.
	if d := person(role).Decide(Edit, w["work-a"], w); !d.Allowed {
		t.Errorf("another person: %+v", d)
	}
}

// TestDenialOfApp: it takes what comes by way of the app, of a record or of one
// field, from rights that were lent too; what another app gives stays.
func TestDenialOfApp(t *testing.T) {
	w := sample()
	work := compile(t, May(View, Edit).OnEverything().As("T-1")) // of Service
	both := compile(t, May(View).OnEverythingOf(entity.CRM, entity.Service).As("T-2"))
	selling, err := Compile(cat, &Role{Key: "sells", App: entity.CRM, Clauses: Clauses{May(View).On(client).As("T-3")}})
	if err != nil {
		t.Fatal(err)
	}
	service := Denial{ID: "denial-1", App: entity.Service}
	build := func(d Denial, roles ...*Compiled) *Subject {
		s := &Subject{ID: "person-1", Kind: InHouse, Active: true}
		return s.Build(Hold(roles, false), nil, []Denial{d})
	}
	for _, c := range []struct {
		name        string
		sub         *Subject
		client, job entity.Mask
	}{
		{"the only app", build(service, work), 0, 0},
		{"beside another", build(service, work, selling), person(selling).View(w["client-a"], w).Mask, 0},
		{"of two in one role", build(service, both), person(selling).View(w["client-a"], w).Mask, 0},
		{"of another app", build(Denial{App: entity.CRM}, work), person(work).View(w["client-a"], w).Mask, person(work).View(w["work-a"], w).Mask},
		{"to change alone", build(Denial{App: entity.Service, Verb: Edit}, work), person(work).View(w["client-a"], w).Mask, person(work).View(w["work-a"], w).Mask},
		{
			"a field", build(Denial{App: entity.Service, Type: "client", Field: "name"}, work),
			person(work).View(w["client-a"], w).Mask &^ (1 << client.Field("name").No), person(work).View(w["work-a"], w).Mask,
		},
		{
			"a field beside another", build(Denial{App: entity.Service, Type: "client", Field: "name"}, both),
			person(both).View(w["client-a"], w).Mask, person(both).View(w["work-a"], w).Mask,
		},
	} {
		if m := c.sub.View(w["client-a"], w).Mask; m != c.client {
			t.Errorf("%s: of a shared record %b, not %b", c.name, m, c.client)
		}
		if m := c.sub.View(w["work-a"], w).Mask; m != c.job {
			t.Errorf("%s: of the app's own record %b, not %b", c.name, m, c.job)
		}
	}
	if d := build(service, work).Decide(Edit, w["work-a"], w); d.Allowed || d.Reason != Denying || d.Denial != "denial-1" {
		t.Errorf("%+v", d)
	}
	if d := build(service).Decide(Edit, w["work-a"], w); d.Reason != NoGrant {
		t.Errorf("who had nothing to be denied: %+v", d)
	}
	// What is lent is denied likewise, to who lends and to who borrows.
	for _, c := range []struct{ own, others []Denial }{{[]Denial{service}, nil}, {nil, []Denial{service}}} {
		s := (&Subject{ID: "person-9", Kind: InHouse, Active: true}).Build(Hold([]*Compiled{selling}, false), nil, c.own)
		s.Lend((&Subject{ID: "person-2", Kind: InHouse, Active: true}).Build(Hold([]*Compiled{work}, false), nil, c.others))
		if s.View(w["work-a"], w).Mask != 0 || s.View(w["client-a"], w).Mask == 0 {
			t.Errorf("lent though denied: %+v", c)
		}
	}
	// The roles are shared with others.
	if person(both).View(w["work-a"], w).Mask == 0 || person(work).View(w["work-a"], w).Mask == 0 {
		t.Error("somebody else is touched")
	}
}

func TestCeiling(t *testing.T) {
	w := sample()
	everything := compile(t, May(View).OnEverythingOf(entity.CRM, entity.Service).As("T-1"))
	named := compile(t, May(View).On(area).Through(entity.Core).As("T-2"))
	own := compile(t, May(View).On(area).Through(entity.Core).Self().As("T-3"))
	house := compile(t, May(View).On(work).InHouse().As("T-4"))
	for _, c := range []struct {
		kind  string
		roles []*Compiled
		id    ident.RecordID
		want  bool
	}{
		{InHouse, []*Compiled{everything}, "area-0001", true},
		{Subcontractor, []*Compiled{everything}, "area-0001", false},
		{Subcontractor, []*Compiled{named}, "area-0001", true},
		{ClientStaff, []*Compiled{named, everything}, "area-0001", false},
		{ClientStaff, []*Compiled{own}, "area-0001", true},
		{ClientStaff, []*Compiled{everything}, "work-a", true},
		{ClientStaff, []*Compiled{everything}, "work-b", false},
		{Programmer, []*Compiled{everything}, "work-b", true},
		{InHouse, []*Compiled{house}, "work-a", true},
		{InsideIT, []*Compiled{house}, "work-a", false},
	} {
		s := &Subject{ID: "person-1", Kind: c.kind, Active: true}
		if c.kind == ClientStaff {
			s.Client = "client-a"
		}
		s.Build(Hold(c.roles, s.Outside()), nil, nil)
		if got := s.View(w[c.id], w).Mask != 0; got != c.want {
			t.Errorf("%s with %s sees %s: %v", c.kind, c.roles[0].Role.Clauses[0].ID, c.id, got)
		}
	}
}

func TestHides(t *testing.T) {
	for _, c := range []struct {
		s      Subject
		client ident.RecordID
		want   bool
	}{
		{Subject{Kind: InHouse}, "client-a", false},
		{Subject{Kind: InHouse}, "", false},
		{Subject{Kind: InHouse, Clients: []ident.RecordID{"client-a"}}, "client-a", true},
		{Subject{Kind: InHouse, Clients: []ident.RecordID{"client-a"}}, "client-b", false},
		{Subject{Kind: InHouse, Only: true}, "client-a", true},
		{Subject{Kind: InHouse, Only: true, Clients: []ident.RecordID{"client-a"}}, "client-a", false},
		{Subject{Kind: InHouse, Only: true}, "", false},
		{Subject{Kind: ClientStaff, Client: "client-a"}, "client-a", false},
		{Subject{Kind: ClientStaff, Client: "client-a"}, "client-b", true},
		{Subject{Kind: ClientStaff, Client: "client-a", Clients: []ident.RecordID{"client-a"}}, "client-a", true},
	} {
		if got := c.s.Hides(c.client); got != c.want {
			t.Errorf("%+v hides %q: %v", c.s, c.client, got)
		}
	}
	s := &Subject{Kind: InHouse, Active: true, Clients: []ident.RecordID{"client-a"}, Onsite: []ident.RecordID{"client-a", "client-b"}}
	if s.Build(nil, nil, nil); !slices.Equal(s.Onsite, []ident.RecordID{"client-b"}) {
		t.Errorf("onsite at %v", s.Onsite)
	}
}

func TestCompileRefuses(t *testing.T) {
	for name, clauses := range map[string][]*Clause{
		"no id":                  {May(View).On(work)},
		"an id twice":            {May(View).On(work).As("T"), May(Edit).On(work).As("T")},
		"a strange type":         {May(View).On(&entity.Type{No: 99, Name: "x"}).As("T")},
		"no such action":         {May("fly").On(work).As("T")},
		"scope of no such field": {May(View).On(work).In(Self("nobody")).As("T")},
		"scope of another kind":  {May(View).On(work).In(Self("title")).As("T")},
		"unknown value":          {May(View).On(work).In(Where("status", "Lost")).As("T")},
		"areas without a client": {May(View).On(area).In(AssignedSalesAreas()).As("T")},
		"wrong inner scope":      {May(View).On(part).In(Under("work", work, Self("nobody"))).As("T")},
		"condition on a text":    {May(Edit).On(work).When("title", "x").As("T")},
		"condition on any type":  {May(Edit).On(work).When("client.status", "x").As("T")},
		"condition's value":      {May(Edit).On(work).When("status", "Lost").As("T")},
		"view under condition":   {May(View).On(work).When("status", "Done").As("T")},
		"refused view likewise":  {May(View).On(work).As("T"), MayNot(View).On(work).When("status", "Done").As("U")},
		"a refusal of nothing":   {MayNot(Edit).On(work).As("T")},
		"a refusal too early":    {MayNot(Edit).On(work).As("T"), May(Edit).On(work).As("U")},
		"no field reached":       {May(View).On(work).Through(entity.FacetCRM).As("T")},
		"an unknown field":       {May(View).On(work).Only("titel").As("T")},
		"a device's scope":       {May(View).On(work).In(Window("title")).As("T")},
	} {
		_, err := Compile(cat, &Role{Key: "test.role", App: entity.Service, Clauses: clauses})
		if err == nil || !strings.Contains(err.Error(), "test.role") {
			t.Errorf("%s is taken: %v", name, err)
		}
	}
	if _, err := Compile(cat, &Role{Key: "test.role", Cut: []string{"work.titel"}}); err == nil {
		t.Error("a cut of no such field is taken")
	}
}

// TestTenantRole: the apps and fields that a role cuts limit what it grants
// itself.
func TestTenantRole(t *testing.T) {
	w := sample()
	c, err := Compile(cat, &Role{
		Key: "org", App: entity.Service, Apps: []entity.App{entity.CRM}, Cut: []string{"client.name"},
		Clauses: Clauses{May(View).OnEverything().As("T-1")},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := person(c)
	if s.View(w["work-a"], w).Mask != 0 {
		t.Error("a type of no app that is kept shows")
	}
	if m := s.View(w["client-a"], w).Mask; m.Has(1) || !m.Has(2) {
		t.Errorf("a cut field shows: %b", m)
	}
	// Cutting what a clause refuses, or all that it reaches, leaves the rest.
	c2, err := Compile(cat, &Role{
		Key: "org", App: entity.Service, Apps: []entity.App{entity.CRM}, Cut: []string{"client.access"},
		Clauses: Clauses{
			May(View, Edit).OnEverything().As("T-1"), MayNot(Edit).On(work).As("T-2"), May("archive").On(client).Only("access").As("T-3"),
		},
	})
	if err != nil || len(c2.For(client, View)) != 1 || len(c2.For(client, "archive")) != 0 {
		t.Errorf("a role cut to what is left: %v", err)
	}
	full := compile(t, May(View).On(client).As("T-2"))
	if m := person(c, full).View(w["client-a"], w).Mask; !m.Has(1) {
		t.Error("a cut takes from another role")
	}
}

// TestHiddenBringsNothing: a record of a hidden client does not bring along
// what it refers to, neither for the person nor for who acts for the person.
func TestHiddenBringsNothing(t *testing.T) {
	w := sample()
	role := compile(t, May(View).On(employee).In(From(work, "doer", All())).As("T-1"))
	hiding := []ident.RecordID{"client-a"}
	for _, c := range []struct {
		own, others []ident.RecordID // hidden from whose right it is, and from who acts
		want        bool
	}{{nil, nil, true}, {hiding, nil, false}, {nil, hiding, false}} {
		by := (&Subject{ID: "person-2", Kind: InHouse, Active: true, Clients: c.own}).Build(Hold([]*Compiled{role}, false), nil, nil)
		if c.others == nil {
			if got := by.View(w["person-1"], w).Mask != 0; got != c.want {
				t.Errorf("with %v hidden, whom work names is seen: %v", c.own, got)
			}
		}
		s := (&Subject{ID: "person-9", Kind: InHouse, Active: true, Clients: c.others}).Build(nil, nil, nil)
		s.Lend(by)
		if got := s.View(w["person-1"], w).Mask != 0; got != c.want {
			t.Errorf("with %v and %v hidden, who acts for another sees whom work names: %v", c.own, c.others, got)
		}
	}
}

// TestOwnRightsComeFirst: a decision names a lender only where nothing else
// gives the right, whatever the roles are called.
func TestOwnRightsComeFirst(t *testing.T) {
	w := sample()
	compiledAs := func(key string) *Compiled {
		c, err := Compile(cat, &Role{Key: key, App: entity.Service, Clauses: Clauses{May(View, Edit).On(work).As("T-1")}})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	lender := (&Subject{ID: "lender-01", Kind: InHouse, Active: true}).Build(Hold([]*Compiled{compiledAs("a.role")}, false), nil, nil)
	both := (&Subject{ID: "person-9", Kind: InHouse, Active: true}).Build(Hold([]*Compiled{compiledAs("z.role")}, false), nil, nil)
	both.Lend(lender)
	if d := both.Decide(Edit, w["work-a"], w); !d.Allowed || d.For != "" || d.Role != "z.role" {
		t.Errorf("%+v", d)
	}
	none := (&Subject{ID: "person-8", Kind: InHouse, Active: true}).Build(nil, nil, nil)
	none.Lend(lender)
	if d := none.Decide(Edit, w["work-a"], w); !d.Allowed || d.For != "lender-01" {
		t.Errorf("%+v", d)
	}
	if none.Lender("lender-01") != lender || none.Lender("nobody-1") != nil {
		t.Error("the lender is not told")
	}
}
