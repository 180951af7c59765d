package scope_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"satchel/internal/entity"
	"satchel/internal/policy"
	"satchel/server/roles"
	"satchel/sync/bits"
	"satchel/sync/scope"
)

func same(a, b scope.Sets) bool {
	return slices.EqualFunc(a, b, func(x, y scope.Part) bool { return x.Class == y.Class && bits.Equal(x.Set, y.Set) })
}

// TestCrowd: what people see does not depend on who was asked about before
// them, whether or not they have the same rights.
func TestCrowd(t *testing.T) {
	shared := 0
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		w.fill(t)
		people := w.by["employee"]
		for _, p := range people {
			w.rights(t, p.ID)
		}
		role := rapid.SampledFrom(w.roles.Keys()).Draw(t, "everybody's")
		if rapid.Bool().Draw(t, "tenant-made") {
			role = string(w.by["organizationalRole"][0].ID)
		}
		for _, p := range people {
			w.record(t, w.cat.Type("roleAssignment"), map[string]entity.Value{
				"employee": entity.RefValue(p.ID), "role": entity.StringValue(role), "from": nil, "until": nil,
			})
		}
		c := scope.NewCrowd(w.reader())
		keys := map[string]bool{}
		for _, p := range people {
			sub, ok := w.roles.Build(w.reader(), p.ID)
			if !ok {
				t.Fatal("nobody")
			}
			if got, want := c.Visible(sub), scope.Visible(w.reader(), sub); !same(got, want) {
				t.Fatalf("%s with %v: the crowd sees\n%v, alone\n%v", p.ID, sub.Roles, got, want)
			}
			for _, prof := range []scope.Profile{{}, {Field: true, Window: scope.DefaultWindow(w.reader().Now())}} {
				visible := c.Visible(sub)
				if got, want := c.Carried(sub, visible, prof, roles.Field()), scope.Carried(w.reader(), sub, visible, prof, roles.Field()); !same(got, want) {
					t.Fatalf("%s with %v: in the crowd %+v carries\n%v, alone\n%v", p.ID, sub.Roles, prof, got, want)
				}
			}
			for _, s := range c.Shares(sub) {
				if s.Key != "" && keys[s.Key] {
					shared++
				}
				keys[s.Key] = true
				for _, part := range s.Sets {
					if part.Type != s.Type.No {
						t.Fatalf("the share of %s has a part of type %d", s.Type.Name, part.Type)
					}
				}
			}
		}
	})
	if shared == 0 {
		t.Error("nobody shares anything")
	}
}

// TestCrowdInactive: who is not active sees nothing.
func TestCrowdInactive(t *testing.T) {
	if got := scope.NewCrowd(nil).Shares(&policy.Subject{}); got != nil {
		t.Errorf("%v", got)
	}
}
