package rest_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"satchel/internal/ident"
	"satchel/internal/testworld"
	"satchel/server/rest"
	"satchel/sync/tenant"
)

type holderItem struct {
	Device, Employee, Client struct{ ID, Name string }
	Since                    string
	Records, Unsure          int
	ToRemove, Removing       int
	Acknowledged             bool
}

func holders(t *testing.T, w *world, who ident.RecordID, query string) (items []holderItem, next string) {
	t.Helper()
	var page struct {
		Items []holderItem
		Next  string
	}
	if err := json.Unmarshal(w.HTTP(who, "GET", "/v1/admin/holders?"+query, nil).Want(t, 200, "").Body, &page); err != nil {
		t.Fatal(err)
	}
	return page.Items, page.Next
}

// TestHoldersSince: the time of the first page with a record of the client that
// was not given up since; a removal counts when it was acknowledged.
func TestHoldersSince(t *testing.T) {
	w := newWorld(t)
	p := syncing(t, w, testworld.Manager)
	one := func(query string) holderItem {
		t.Helper()
		items, _ := holders(t, w, testworld.Admin, query)
		if len(items) != 1 || items[0].Device.ID != string(p.device) {
			t.Fatalf("%s: %+v", query, items)
		}
		return items[0]
	}
	const acme = "client=client-acme"
	first := w.Clock()
	p.pull()
	if h := one(acme); h.Since != ident.MillisOf(first).RFC3339() || h.Unsure != h.Records || !h.Acknowledged {
		t.Errorf("sent: %+v", h)
	}
	w.Advance(time.Hour)
	p.pull()
	// What comes later leaves the client's time as it is.
	w.Import(testworld.Row("job", "job-acme-7", "client", testworld.Acme, "title", "Seven"))
	w.Advance(time.Hour)
	p.pull()
	p.pull()
	if h := one(acme); h.Since != ident.MillisOf(first).RFC3339() || h.Unsure != 0 {
		t.Errorf("more came: %+v", h)
	}
	w.Hide(testworld.Manager, testworld.Acme)
	if h := one(acme); h.Acknowledged || h.ToRemove != h.Records || h.Removing != 0 {
		t.Errorf("hidden: %+v", h)
	}
	p.pull()
	if h := one(acme); h.Acknowledged || h.Removing != h.Records || h.Since != ident.MillisOf(first).RFC3339() {
		t.Errorf("removal sent: %+v", h)
	}
	p.pull()
	if items, _ := holders(t, w, testworld.Admin, acme); len(items) != 0 {
		t.Errorf("removal acknowledged: %+v", items)
	}
	w.HTTP(testworld.Admin, "DELETE", "/v1/admin/visibility-rules/"+ruleOf(t, w), nil).Want(t, 204, "")
	w.Advance(time.Hour)
	again := w.Clock()
	p.pull()
	p.pull()
	if h := one(acme); h.Since != ident.MillisOf(again).RFC3339() || !h.Acknowledged {
		t.Errorf("given back: %+v", h)
	}
	if h := one("client=client-blue"); h.Since != ident.MillisOf(first).RFC3339() {
		t.Errorf("another client: %+v", h)
	}
}

// ruleOf returns the one visibility rule that hides Acme.
func ruleOf(t *testing.T, w *world) string {
	t.Helper()
	var page struct {
		Items []struct{ ID, Client string }
	}
	if err := json.Unmarshal(w.HTTP(testworld.Admin, "GET", "/v1/admin/visibility-rules?limit=200", nil).Body, &page); err != nil {
		t.Fatal(err)
	}
	for _, r := range page.Items {
		if r.Client == string(testworld.Acme) && r.ID != "rule-contractor" {
			return r.ID
		}
	}
	t.Fatal("no rule")
	return ""
}

// TestHeldClients: of a device and of a person, client by client.
func TestHeldClients(t *testing.T) {
	w := newWorld(t)
	p := syncing(t, w, testworld.Rep)
	p.pull()
	p.pull()
	q := "device=" + string(p.device)
	items, _ := holders(t, w, testworld.Admin, q)
	if len(items) != 2 {
		t.Fatalf("%+v", items)
	}
	for i, want := range []ident.RecordID{testworld.Acme, testworld.Blue} {
		got := items[i]
		by, _ := holders(t, w, testworld.Admin, "client="+string(want))
		if got.Client.ID != string(want) || got.Client.Name == "" || got.Employee.ID != string(testworld.Rep) || len(by) != 1 ||
			by[0].Records != got.Records || by[0].Since != got.Since || by[0].Client.ID != "" {
			t.Errorf("%+v, by client %+v", got, by)
		}
	}
	same, _ := holders(t, w, testworld.Admin, "employee="+string(testworld.Rep))
	if len(same) != 2 || same[0] != items[0] || same[1] != items[1] {
		t.Errorf("%+v", same)
	}
	one, next := holders(t, w, testworld.Admin, q+"&limit=1")
	two, end := holders(t, w, testworld.Admin, q+"&limit=1&cursor="+next)
	if len(one) != 1 || len(two) != 1 || one[0] != items[0] || two[0] != items[1] || end != "" {
		t.Errorf("%+v %+v %q", one, two, end)
	}
	if none, _ := holders(t, w, testworld.Admin, "employee=emp-nobody"); len(none) != 0 {
		t.Errorf("%+v", none)
	}
	// Hidden clients are in no list.
	w.Person("emp-second", "level.customer-administrator")
	w.Hide("emp-second", testworld.Acme)
	if items, _ = holders(t, w, "emp-second", q); len(items) != 1 || items[0].Client.ID != string(testworld.Blue) {
		t.Errorf("%+v", items)
	}
	for _, bad := range []string{"", "device=" + string(p.device) + "&employee=emp-basic", "client=client-acme&device=x"} {
		w.HTTP(testworld.Admin, "GET", "/v1/admin/holders?"+bad, nil).Want(t, 400, "bad_parameter")
	}
	for _, kind := range []string{"device", "employee", "client"} {
		w.HTTP(testworld.Admin, "GET", "/v1/admin/holders?"+kind+"=never-was-1", nil).Want(t, 404, "not_found")
		w.HTTP(testworld.SvcAdmin, "GET", "/v1/admin/holders?"+kind+"=never-was-1", nil).Want(t, 403, "not_allowed")
	}
	// Hidden people are not there.
	w.Person("emp-third", "level.customer-administrator")
	w.Hide("emp-third", testworld.Acme)
	hidden := w.HTTP("emp-third", "GET", "/v1/admin/holders?employee=emp-staff", nil).Want(t, 404, "not_found")
	if never := w.HTTP("emp-third", "GET", "/v1/admin/holders?employee=never-was-1", nil); !bytes.Equal(hidden.Body, never.Body) {
		t.Errorf("%s / %s", hidden.Body, never.Body)
	}
	if err := w.World.Tenant.Read(func(v *tenant.View) error {
		list, err := rest.Holders(v, rest.Held{Device: p.device})
		if err == nil && len(list) != 2 {
			t.Errorf("the operator is told of %d", len(list))
		}
		return err
	}); err != nil {
		t.Error(err)
	}
}
