package entity

import (
	"strings"
	"testing"
)

func evolving(t *testing.T) *Catalogue {
	t.Helper()
	c, err := NewCatalogue(&Type{
		No: 1, Name: "job", Apps: []App{Service},
		Fields: []*Field{
			Str(1, "title").Need(), Str(2, "floor"), OneOf(3, "kind", "repair", "upgrade", "other").Else("other"),
			OneOf(4, "colour", "red", "blue"), OneOf(5, "status", "Open", "Done").System(),
		},
		Status:  &Lifecycle{Field: "status", Initial: "Open", States: []string{"Open", "Done"}},
		Actions: []*Action{{Name: "finish", App: Service, To: "Done"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestEvolve: what is new is told from what is not, version by version.
func TestEvolve(t *testing.T) {
	c := evolving(t)
	if c.Edition() != 1 || c.After(1) != nil || c.After(0) != nil || c.NewerThan(c.Type("job"), 1) != 0 {
		t.Error("a catalogue without editions has some")
	}
	err := c.Evolve(
		Edition{Version: 2, Fields: map[string][]string{"job": {"floor"}}},
		Edition{Version: 3, Values: map[string][]string{"job.kind": {"upgrade"}}, RenamedActions: map[string]string{"job.finish": "end"}},
	)
	if err != nil {
		t.Fatal(err)
	}
	job := c.Type("job")
	if c.Edition() != 3 || len(c.After(1)) != 2 || len(c.After(2)) != 1 || len(c.After(3))+len(c.After(0))+len(c.After(9)) != 0 {
		t.Error("wrong editions")
	}
	if c.NewerThan(job, 1) != 1<<2 || c.NewerThan(job, 2) != 0 || c.NewerThan(job, 0) != 0 {
		t.Error("wrong fields")
	}
}

// TestEvolveRefuses: a declaration that can't be is a fault at start-up.
func TestEvolveRefuses(t *testing.T) {
	for what, e := range map[string]Edition{
		"3 stands where 2": {Version: 3},
		"job.roof":         {Version: 2, Fields: map[string][]string{"job": {"roof"}}},
		"boat.title":       {Version: 2, Fields: map[string][]string{"boat": {"title"}}},
		"no enumeration":   {Version: 2, Values: map[string][]string{"job.title": {"x"}}},
		"not there":        {Version: 2, Values: map[string][]string{"job.kind": {"sale"}}},
		"no older one":     {Version: 2, Values: map[string][]string{"job.kind": {"upgrade", "other"}}},
		"job.colour":       {Version: 2, Values: map[string][]string{"job.colour": {"blue"}}},
		"renames":          {Version: 2, Renamed: map[string]string{"job.name": "title"}},
		"the action":       {Version: 2, RenamedActions: map[string]string{"job.end": "finish"}},
	} {
		c := evolving(t)
		if err := c.Evolve(e); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
		if c.Edition() != 1 {
			t.Errorf("%s: taken all the same", what)
		}
	}
}
