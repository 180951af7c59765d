package client_test

import (
	"encoding/json"
	"testing"

	"satchel/internal/command"
	"satchel/internal/ident"
	"satchel/internal/testworld"
	"satchel/mobile-api/client"
	"satchel/sync/wire"
)

// TestDeleteOfWhatChanged: what somebody else has changed since is not deleted,
// whether a value was replaced or an empty field filled.
func TestDeleteOfWhatChanged(t *testing.T) {
	for _, c := range []struct {
		name  string
		mine  func(t *testing.T, p *client.Phone) // before the delete
		other map[string]any                      // what the office writes meanwhile
		code  string
	}{
		{"nothing changed", nil, nil, ""},
		{"a value replaced", nil, map[string]any{"name": "Depot"}, "conflict"},
		{"an empty field filled", nil, map[string]any{"accessNotes": "Ring twice."}, "conflict"},
		{"changed here before", func(t *testing.T, p *client.Phone) {
			if err := p.Patch("site", "site-spare", map[string]any{"name": "Shed"}); err != nil {
				t.Fatal(err)
			}
		}, nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := tenantWorld(t)
			w.Import(testworld.Row("site", "site-spare", "client", string(testworld.Acme), "name", "Spare"))
			p := phoneOf(t, w, testworld.Manager, "office", nil)
			if c.mine != nil {
				c.mine(t, p)
			}
			if err := p.Delete("site", "site-spare"); err != nil {
				t.Fatal(err)
			}
			if c.other != nil {
				if res := w.Do(&command.Command{Actor: testworld.Manager, Write: &command.Write{Op: "patch", Type: "site", ID: "site-spare", Fields: raw(t, c.other)}}); res.Err != nil {
					t.Fatal(res.Err)
				}
			}
			results := sync(t, p)
			r := results[len(results)-1]
			if r.Code != c.code || (r.Status == wire.Applied) != (c.code == "") {
				t.Fatalf("%+v", r)
			}
			rec, err := p.Get("site", "site-spare")
			if (err == nil) != (c.code != "") {
				t.Fatalf("%+v, %v", rec, err)
			}
			for name, v := range c.other {
				if rec.Text(name) != v {
					t.Errorf("%s is %q, not %q", name, rec.Text(name), v)
				}
			}
			probs, err := p.Problems()
			if err != nil || (len(probs) == 1) != (c.code != "") {
				t.Errorf("%+v, %v", probs, err)
			}
		})
	}
}

func raw(t *testing.T, fields map[string]any) command.Object {
	t.Helper()
	out := command.Object{}
	for k, v := range fields {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		out[k] = b
	}
	return out
}

// TestDeleteOfWhatWasDone: work that somebody else took a step further stays.
func TestDeleteOfWhatWasDone(t *testing.T) {
	w := tenantWorld(t)
	w.Import(testworld.Row("task", "task-spare", "client", string(testworld.Acme), "title", "Call"))
	p := phoneOf(t, w, testworld.SalesManager, "office", nil)
	if err := p.Delete("task", "task-spare"); err != nil {
		t.Fatal(err)
	}
	done := &command.Command{Actor: testworld.SalesManager, Write: &command.Write{Op: "action", Type: "task", ID: "task-spare", Action: "complete"}}
	if res := w.Do(done); res.Err != nil {
		t.Fatal(res.Err)
	}
	results := sync(t, p)
	if r := results[len(results)-1]; r.Code != "conflict" {
		t.Errorf("%+v", r)
	}
	if rec, err := p.Get("task", "task-spare"); err != nil || rec.Text("status") == "open" {
		t.Errorf("%+v, %v", rec, err)
	}
}

// TestDeleteOfWhatIsNew: a record made and deleted before the next contact goes,
// although the server has filled in more than was typed.
func TestDeleteOfWhatIsNew(t *testing.T) {
	w := tenantWorld(t)
	p := phoneOf(t, w, testworld.Manager, "office", nil)
	id, err := p.Create("comment", map[string]any{"parent": testworld.Acme, "text": "Mistaken"})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Delete("comment", id); err != nil {
		t.Fatal(err)
	}
	results := sync(t, p)
	for _, r := range results {
		if r.Status != wire.Applied {
			t.Errorf("%+v", r)
		}
	}
	if len(results) != 2 {
		t.Errorf("%+v", results)
	}
}

// TestDeleteOfAnything: where nobody else has changed anything no delete is in
// conflict, whatever the record's fields are.
func TestDeleteOfAnything(t *testing.T) {
	applied := 0
	for _, who := range []ident.RecordID{testworld.Manager, testworld.Admin, testworld.SalesManager, testworld.StockOrders, testworld.DebtAdmin} {
		w := tenantWorld(t)
		p := phoneOf(t, w, who, "office", nil)
		types, err := p.Types()
		if err != nil {
			t.Fatal(err)
		}
		for _, typ := range types {
			list, err := p.List(typ, nil)
			if err != nil {
				t.Fatal(err)
			}
			if typ == "device" || typ == "employee" || typ == "roleAssignment" {
				continue // nobody may end the phone under test
			}
			for _, r := range list {
				if err := p.Delete(typ, r.ID, client.EditAnyway); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, r := range sync(t, p) {
			switch {
			case r.Status == wire.Applied:
				applied++
			case r.Code == "conflict":
				t.Errorf("%s: %+v", who, r)
			}
		}
		dismiss(t, p)
	}
	if applied < 100 {
		t.Errorf("only %d records were deleted", applied)
	}
}
