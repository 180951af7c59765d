package module

import (
	"slices"
	"testing"

	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/internal/ident"
)

// bulk runs an action over records as the core does: all of it or nothing.
func (s *state) bulk(id, name string, records ...string) error {
	r := s.records[ident.RecordID(id)].Clone()
	before, order := map[ident.RecordID]*entity.Record{}, slices.Clone(s.order)
	for k, v := range s.records {
		before[k] = v
	}
	err := r.Type.Action(name).Do(s, r, entity.Args{"records": entity.SetValue(records)})
	if err != nil {
		s.records, s.order = before, order
	}
	return err
}

// tagged lists the records that have the tag, in the order of tagging.
func (s *state) tagged(tag string) []string {
	out := []string{}
	s.Referring("tagging", "tag", ident.RecordID(tag), func(r *entity.Record) bool {
		out = append(out, r.Get("parent").Text())
		return true
	})
	return out
}

func (s *state) want(code fault.Code, what string, err error) {
	s.t.Helper()
	if code == "" && err != nil || code != "" && !fault.Is(err, code) {
		s.t.Errorf("%s: %v, want %q", what, err, code)
	}
}

// TestTaggings: a tagging is for whom its tag is for, on what can be tagged,
// once.
func TestTaggings(t *testing.T) {
	s := newState(t)
	s.must(s.add("task", "task-0001", "title", "ring", "client", "client-1"))
	s.must(s.add("job", "job-00001", "client", "client-1", "title", "mend"))
	s.must(s.add("tag", "tag-open", "name", "key", "visibility", "public"))
	s.must(s.add("tag", "tag-mine", "name", "slow", "visibility", "private"))
	s.actor = "person-2"
	s.must(s.add("tagging", "tagging-1", "tag", "tag-open", "parent", "task-0001"))
	s.must(s.add("tagging", "tagging-2", "tag", "tag-mine", "parent", "task-0001"))
	for id, want := range map[ident.RecordID]string{"tagging-1": "public", "tagging-2": "private"} {
		r := s.records[id]
		if r.Get("visibility").Text() != want || r.Get("owner").Ref() != "person-1" || r.Get("parentType").Text() != "task" {
			t.Errorf("%s: %s, of %s, on a %s", id, r.Get("visibility"), r.Get("owner"), r.Get("parentType"))
		}
	}
	s.want(fault.Duplicate, "again", s.add("tagging", "tagging-3", "tag", "tag-open", "parent", "task-0001"))
	s.want("", "another record", s.add("tagging", "tagging-4", "tag", "tag-open", "parent", "client-1"))
	s.want(fault.BadReference, "on a job", s.add("tagging", "tagging-5", "tag", "tag-open", "parent", "job-00001"))
	s.want(fault.BadReference, "on nothing", s.add("tagging", "tagging-6", "tag", "tag-open", "parent", "nothing-1"))
	s.want(fault.BadReference, "on a tag", s.add("tagging", "tagging-7", "tag", "tag-open", "parent", "tag-open"))
	// What is judged is the draft: it says whose and for whom it would be.
	d := &entity.Record{Type: s.cat.Type("tagging"), ID: "tagging-8"}
	d.Set("tag", entity.RefValue("tag-mine"))
	d.Set("parent", entity.RefValue("job-00001"))
	d.Type.Drafted(s, d)
	if d.Get("visibility").Text() != "private" || d.Get("owner").Ref() != "person-1" || !d.Get("parentType").IsNull() {
		t.Errorf("the draft is %s, of %s, on a %s", d.Get("visibility"), d.Get("owner"), d.Get("parentType"))
	}
	// The system makes tags of nobody; so are their taggings.
	s.actor = ""
	s.must(s.add("tag", "tag-none", "name", "old", "visibility", "public"))
	s.actor = "person-2"
	s.must(s.add("tagging", "tagging-9", "tag", "tag-none", "parent", "client-1"))
	if !s.records["tagging-9"].Get("owner").IsNull() {
		t.Error("who attaches a tag is taken for its maker")
	}
}

func TestBulkTags(t *testing.T) {
	s := newState(t)
	s.must(s.add("client", "client-2", "name", "blue", "salesArea", "area-0001"))
	s.must(s.add("contact", "contact-1", "client", "client-1", "name", "c"))
	s.must(s.add("job", "job-00001", "client", "client-1", "title", "mend"))
	s.must(s.add("tag", "tag-open", "name", "key", "visibility", "public"))
	s.must(s.add("tag", "tag-two", "name", "two", "visibility", "public"))
	holds := func(want ...string) {
		t.Helper()
		if got := s.tagged("tag-open"); !slices.Equal(got, want) {
			t.Errorf("tagged are %v, want %v", got, want)
		}
	}
	s.must(s.bulk("tag-open", "bulk-attach", "client-2", "client-1"))
	holds("client-1", "client-2")
	s.must(s.bulk("tag-open", "bulk-attach", "client-1", "contact-1")) // the one has it
	holds("client-1", "client-2", "contact-1")
	s.must(s.bulk("tag-two", "bulk-attach", "client-1"))
	for _, refused := range []string{"job-00001", "nothing-1", "tag-two"} {
		s.want(fault.BadReference, refused, s.bulk("tag-open", "bulk-attach", "client-1", refused))
		s.want(fault.BadReference, refused, s.bulk("tag-open", "bulk-detach", "client-1", refused))
		holds("client-1", "client-2", "contact-1")
	}
	s.must(s.bulk("tag-open", "bulk-detach", "client-1", "client-2"))
	holds("contact-1")
	s.must(s.bulk("tag-open", "bulk-detach", "client-1")) // it has it no more
	holds("contact-1")
	if got := s.tagged("tag-two"); !slices.Equal(got, []string{"client-1"}) {
		t.Errorf("the other tag is on %v", got)
	}
}

func TestSellingChecks(t *testing.T) {
	s := newState(t)
	s.must(s.add("client", "client-2", "name", "blue", "salesArea", "area-0001"))
	own := func(typ, id, client string) *entity.Record { // with its client, as the core has it
		r := &entity.Record{Type: s.cat.Type(typ), ID: ident.RecordID(id)}
		r.Set("client", entity.RefValue(ident.RecordID(client)))
		r.Put(entity.NoClientID, entity.RefValue(ident.RecordID(client)))
		return r
	}
	o := own("opportunity", "opp-00001", "client-1")
	s.records[o.ID] = o
	beneath := func(typ, client string) error {
		r := own(typ, "work-0001", client)
		if client == "" {
			r = &entity.Record{Type: s.cat.Type(typ), ID: "work-0001"}
		}
		r.Set("opportunity", entity.RefValue("opp-00001"))
		return r.Type.Created(s, r)
	}
	s.must(s.add("campaign", "campaign-1", "name", "spring", "starts", "2026-03-01", "ends", "2026-03-01"))
	s.must(s.add("campaign", "campaign-2", "name", "summer"))
	s.must(s.add("campaignMember", "member-001", "campaign", "campaign-1", "client", "client-1"))
	for _, c := range []struct {
		name string
		code fault.Code
		err  error
	}{
		{"campaign that ends before it starts", fault.BadValue, s.add("campaign", "campaign-3", "name", "x", "starts", "2026-03-02", "ends", "2026-03-01")},
		{"campaign without an end", "", s.add("campaign", "campaign-4", "name", "x", "starts", "2026-03-02")},
		{"member twice", fault.Duplicate, s.add("campaignMember", "member-002", "campaign", "campaign-1", "client", "client-1")},
		{"another member", "", s.add("campaignMember", "member-003", "campaign", "campaign-1", "client", "client-2")},
		{"member of another campaign", "", s.add("campaignMember", "member-004", "campaign", "campaign-2", "client", "client-1")},
		{"task of the opportunity's client", "", beneath("task", "client-1")},
		{"task of another client", fault.BadReference, beneath("task", "client-2")},
		{"task of no client", fault.BadReference, beneath("task", "")},
		{"activity of no client", fault.BadReference, beneath("activity", "")},
		{"filter", "", s.add("filter", "filter-01", "name", "x", "visibility", "private", "app", "billing", "entityType", "contract")},
		{"filter of another app's type", fault.BadValue, s.add("filter", "filter-02", "name", "x", "visibility", "private", "app", "crm", "entityType", "contract")},
		{"filter of no type", fault.BadValue, s.add("filter", "filter-03", "name", "x", "visibility", "private", "app", "crm", "entityType", "Task")},
	} {
		s.want(c.code, c.name, c.err)
	}
	for _, c := range []struct {
		probability string
		code        fault.Code
	}{{"0", ""}, {"100", ""}, {"101", fault.BadValue}} {
		r := own("opportunity", "opp-00002", "client-1")
		v, err := r.Type.Field("probability").Normalize([]byte(c.probability))
		s.must(err)
		r.Set("probability", v)
		s.want(c.code, "probability "+c.probability, r.Type.Check(s, nil, r))
	}
}

// TestWorkHasAnOwner: what a person makes is somebody's; what the system makes
// may wait for one.
func TestWorkHasAnOwner(t *testing.T) {
	for typ, field := range map[string]string{
		"activity": "owner", "task": "assignee", "opportunity": "owner", "campaign": "owner", "tag": "owner", "filter": "owner",
	} {
		s := newState(t)
		d := func() *entity.Record {
			r := &entity.Record{Type: s.cat.Type(typ), ID: "work-0001"}
			r.Type.Drafted(s, r)
			return r
		}
		if got := d().Get(field).Ref(); got != "person-1" {
			t.Errorf("%s: the %s is %q", typ, field, got)
		}
		s.actor = ""
		if got := d().Get(field).Ref(); got != "" {
			t.Errorf("%s: the system's %s is %q", typ, field, got)
		}
		// An edit never takes the owner away, and an assignment names one.
		f := s.cat.Type(typ).Field(field)
		if !f.Immutable {
			t.Errorf("%s.%s can be edited", typ, field)
		}
		if a := s.cat.Type(typ).Action("assign"); a != nil && (a.Assigns != field || !a.Args[0].Required) {
			t.Errorf("%s can be assigned to nobody", typ)
		}
	}
}

// TestFiltersKnowTheTypes holds the types that filters take against the
// catalogue, app by app.
func TestFiltersKnowTheTypes(t *testing.T) {
	s := newState(t)
	filter := s.cat.Type("filter")
	for _, app := range filter.Field("app").Values {
		for _, typ := range s.cat.Types {
			r := &entity.Record{Type: filter, ID: "filter-01"}
			r.Set("app", entity.StringValue(app))
			r.Set("entityType", entity.StringValue(typ.Name))
			if takes := filter.Check(s, nil, r) == nil; takes != typ.In(entity.App(app)) {
				t.Errorf("%s has %s: %v; filters take it: %v", app, typ.Name, typ.In(entity.App(app)), takes)
			}
		}
	}
}
