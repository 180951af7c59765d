package scope_test

import (
	"testing"

	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/internal/policy"
	"satchel/server/suite"
	"satchel/sync/scope"
	"satchel/sync/state"
	"satchel/sync/store"
	"satchel/sync/subject"
)

// TestMaskedFieldsNameNobody: a person whom a record names is shown to whoever
// sees the record, unless the field that names them is not seen: by a role that
// cuts it, or by a denial.
func TestMaskedFieldsNameNobody(t *testing.T) {
	all, err := suite.Load()
	if err != nil {
		t.Fatal(err)
	}
	snap, err := store.NewMem().Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer snap.Close()
	w := state.NewWriter(all.Cat)
	w.Begin(snap, 1, 1_700_000_000_000)
	add := func(typ string, id ident.RecordID, kv ...any) {
		t.Helper()
		ty := all.Cat.Type(typ)
		r := w.New(ty, id)
		for i := 0; i < len(kv); i += 2 {
			switch v := kv[i+1].(type) {
			case string:
				r.Set(kv[i].(string), entity.StringValue(v))
			case []string:
				r.Set(kv[i].(string), entity.SetValue(v))
			}
		}
		if ty.IsClient {
			r.Put(entity.NoClientID, entity.RefValue(id))
		} else if root := r.RootOf(); root != "" {
			if p, ok := w.Load(root); ok && p.Client() != "" {
				r.Put(entity.NoClientID, entity.RefValue(p.Client()))
			}
		}
		r.Put(entity.NoCreatedAt, entity.TimeValue(1))
		w.Save(nil, r, "")
	}
	person := func(id, role string) {
		add("employee", ident.RecordID(id), "name", id, "email", id+"@example.com", "kind", policy.InHouse, "status", subject.Active)
		if role != "" {
			add("roleAssignment", ident.RecordID("role-"+id), "employee", id, "role", role)
		}
	}
	add("organizationalRole", "org-cut-1", "name", "Without names", "baseRoles", []string{"service.guest"}, "cutFields", []string{"jobActivity.assignee"})
	person("emp-doer", "")
	person("emp-guest", "service.guest")
	person("emp-cut", "org-cut-1")
	person("emp-denied", "service.guest")
	add("individualPermission", "deny-1", "employee", "emp-denied", "effect", "denial", "verb", "view", "entityType", "jobActivity", "field", "assignee")
	add("client", "client-one", "name", "One")
	add("job", "job-one", "client", "client-one", "title", "Boiler")
	add("jobActivity", "act-one", "job", "job-one", "title", "Visit", "assignee", "emp-doer")
	for who, named := range map[ident.RecordID]bool{"emp-guest": true, "emp-cut": false, "emp-denied": false} {
		sub, ok := all.Roles.Build(&w.Reader, who)
		if !ok {
			t.Fatalf("no %s", who)
		}
		sets := scope.Visible(&w.Reader, sub)
		act, seen := sets.Of(w.Ordinal("act-one"))
		if !seen || act.Mask.Has(all.Cat.Type("jobActivity").Field("assignee").No) != named {
			t.Fatalf("%s sees of the activity %v %b", who, seen, act.Mask)
		}
		if _, shown := sets.Of(w.Ordinal("emp-doer")); shown != named {
			t.Errorf("%s is shown the assignee: %v", who, shown)
		}
		doer, _ := w.Load("emp-doer")
		if shown := sub.View(doer, &w.Reader).Mask != 0; shown != named {
			t.Errorf("%s is shown the assignee as a point: %v", who, shown)
		}
	}
}
