package rest_test

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"testing"

	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/internal/testworld"
)

// found returns the ids of a list's first page.
func found(t *testing.T, w *world, who ident.RecordID, path string, kv ...string) []string {
	t.Helper()
	q := url.Values{}
	for i := 0; i < len(kv); i += 2 {
		q.Set(kv[i], kv[i+1])
	}
	return w.HTTP(who, "GET", path+"?"+q.Encode(), nil).Want(t, 200, "").IDs(t)
}

// TestSearchFindsWhatIsSeen: neither a search nor a filter nor both with an
// order find records of a hidden client, though they fit, until it is hidden no
// more.
func TestSearchFindsWhatIsSeen(t *testing.T) {
	w := newWorld(t)
	w.Import(
		testworld.Row("job", "job-blue-9", "client", testworld.Blue, "title", "Sunken pump"),
		testworld.Row("job", "job-acme-9", "client", testworld.Acme, "title", "Sunken pump"),
	)
	for _, asked := range [][]string{
		{"q", "sunken"},
		{"q", "sunken pump", "sort", "title"},
		{"filter", "title eq 'Sunken pump'"},
		{"q", "sunken", "filter", "title contains pump", "sort", "-updatedAt"},
	} {
		if got := found(t, w, testworld.Blind, jobs, asked...); !slices.Equal(got, []string{"job-acme-9"}) {
			t.Errorf("%v finds %v for who may not know of the other client", asked, got)
		}
		got := found(t, w, testworld.Manager, jobs, asked...)
		if slices.Sort(got); !slices.Equal(got, []string{"job-acme-9", "job-blue-9"}) {
			t.Errorf("%v finds %v for who sees both", asked, got)
		}
	}
	if got := found(t, w, testworld.Blind, customers, "q", "blue"); len(got) != 0 {
		t.Errorf("the hidden client is found: %v", got)
	}
}

// TestUnknownFieldsOfLists: a field that no record may show the person is to
// lists what a field is that there is not, in an order and in a filter.
func TestUnknownFieldsOfLists(t *testing.T) {
	w := newWorld(t)
	const secret, absent = "accountNotes", "neverWasHere"
	for _, ask := range []func(name string) url.Values{
		func(name string) url.Values { return url.Values{"sort": {name}} },
		func(name string) url.Values { return url.Values{"sort": {"name,-" + name}} },
		func(name string) url.Values { return url.Values{"filter": {name + " null"}} },
		func(name string) url.Values { return url.Values{"filter": {name + " contains acme"}} },
	} {
		path := customers + "?" + ask(secret).Encode()
		hidden := w.HTTP(testworld.Manager, "GET", path, nil).Want(t, 400, "unknown_field")
		none := w.HTTP(testworld.Manager, "GET", customers+"?"+ask(absent).Encode(), nil).Want(t, 400, "unknown_field")
		var a, b map[string]any
		if json.Unmarshal(hidden.Body, &a) != nil || json.Unmarshal(none.Body, &b) != nil || a["title"] != b["title"] || a["field"] != secret {
			t.Errorf("%s: %s, and for no field %s", path, hidden.Body, none.Body)
		}
	}
	// Who may know of the field may filter by it.
	if got := found(t, w, testworld.CRMAdmin, "/v1/crm/accounts", "filter", secret+" contains crm-acme"); !slices.Equal(got, []string{"client-acme"}) {
		t.Errorf("by a field that is known: %v", got)
	}
}

// TestCursorsAreTheirOwn: a cursor is good for the person, the list and the
// question that it was made for, and for nothing else.
func TestCursorsAreTheirOwn(t *testing.T) {
	w := newWorld(t)
	first := func(who ident.RecordID, path, query string) string {
		t.Helper()
		var page struct {
			Next string `json:"next"`
		}
		res := w.HTTP(who, "GET", path+"?limit=1&"+query, nil).Want(t, 200, "")
		if err := json.Unmarshal(res.Body, &page); err != nil || page.Next == "" {
			t.Fatalf("%s has no second page: %s", path, res.Body)
		}
		return page.Next
	}
	cursor := first(testworld.Manager, jobs, "sort=title")
	at := func(path, query string) string {
		return path + "?limit=1&cursor=" + url.QueryEscape(cursor) + "&" + query
	}
	w.HTTP(testworld.Manager, "GET", at(jobs, "sort=title"), nil).Want(t, 200, "")
	for _, c := range []struct {
		what        string
		who         ident.RecordID
		path, query string
	}{
		{"of another person", testworld.SvcAdmin, jobs, "sort=title"},
		{"of who may not know of a client", testworld.Blind, jobs, "sort=title"},
		{"of another order", testworld.Manager, jobs, "sort=-title"},
		{"of no order", testworld.Manager, jobs, ""},
		{"of a filter", testworld.Manager, jobs, "sort=title&filter=title+null"},
		{"of another list", testworld.Manager, activities, "sort=title"},
		{"beneath a record", testworld.Manager, customers + "/client-acme/jobs", "sort=title"},
	} {
		res := w.HTTP(c.who, "GET", at(c.path, c.query), nil)
		if res.Status != 400 || res.Code() != "bad_parameter" {
			t.Errorf("a cursor %s: %d %s", c.what, res.Status, res.Body)
		}
	}
}

// TestListsFollowWrites: what was listed before a write is not what is listed
// after it.
func TestListsFollowWrites(t *testing.T) {
	w := newWorld(t)
	has := func(who ident.RecordID, id string) bool {
		t.Helper()
		return slices.Contains(found(t, w, who, jobs, "limit", "200"), id)
	}
	for _, who := range []ident.RecordID{testworld.Manager, testworld.Blind} {
		if has(who, "job-acme-8") {
			t.Fatal("it is there before it was made")
		}
	}
	w.Import(testworld.Row("job", "job-acme-8", "client", testworld.Acme, "title", "Eight"))
	w.Import(testworld.Row("job", "job-blue-8", "client", testworld.Blue, "title", "Eight"))
	for _, who := range []ident.RecordID{testworld.Manager, testworld.Blind} {
		if !has(who, "job-acme-8") || has(who, "job-blue-8") != (who == testworld.Manager) {
			t.Errorf("%s is not listed what was made", who)
		}
	}
	w.HTTP(testworld.SvcAdmin, "DELETE", jobs+"/job-acme-8", nil).Want(t, 204, "")
	if has(testworld.Manager, "job-acme-8") {
		t.Error("what was deleted is listed")
	}
}

// TestUnreadFieldsAreNotWritten: nobody writes into a field that they don't
// read, though a grant to change or make records is wider than what shows them.
func TestUnreadFieldsAreNotWritten(t *testing.T) {
	const helpdesk = "/v1/helpdesk/customers"
	w := newWorld(t)
	w.Permit(testworld.Basic, "grant", "verb", "edit", "entityType", "client", "app", "crm")
	w.Permit(testworld.Basic, "grant", "verb", "create", "entityType", "client", "app", "crm")
	takes(t, w,
		get(testworld.Basic, helpdesk+"/client-acme").shows("name").hides("accountNotes"),
		patch(testworld.Basic, helpdesk+"/client-acme", "name", "Acme anew"),
		patch(testworld.Basic, helpdesk+"/client-acme", "accountNotes", "x").no(400, fault.UnknownField),
		patch(testworld.Basic, crmAccounts+"/client-acme", "accountNotes", "x").no(400, fault.UnknownField),
		create(testworld.Basic, crmAccounts, "name", "Fresh", "salesArea", testworld.AreaNorth),
		create(testworld.Basic, crmAccounts, "name", "Fresh", "salesArea", testworld.AreaNorth, "accountNotes", "x").no(400, fault.UnknownField),
	)
	if got := w.HTTP(testworld.CRMAdmin, "GET", crmAccounts+"/client-acme", nil).Object(t)["accountNotes"]; got != "crm-acme" {
		t.Errorf("the notes are %v", got)
	}
	// Shown, it can be changed.
	w.Permit(testworld.Basic, "grant", "verb", "view", "entityType", "client", "app", "crm")
	takes(t, w, patch(testworld.Basic, crmAccounts+"/client-acme", "accountNotes", "Likes tea"))
}

// TestUnreadArguments: what an action writes into a field is no argument of it
// to whom the field is not shown, in bulk likewise.
func TestUnreadArguments(t *testing.T) {
	w := newWorld(t)
	for typ, field := range map[string]string{"client": "geoArea", "opportunity": "lostReason", "task": "assignee"} {
		w.Permit(testworld.SalesAdmin, "denial", "verb", "view", "entityType", typ, "field", field)
	}
	alike := func(path, name, value string) {
		t.Helper()
		var told [2]map[string]any
		for i, arg := range []string{name, "neverWas"} {
			res := w.HTTP(testworld.SalesAdmin, "POST", path, testworld.Object(arg, value)).Want(t, 400, "unknown_field")
			told[i] = res.Object(t)
			if told[i]["field"] != arg {
				t.Errorf("%s {%s}: %s", path, arg, res.Body)
			}
		}
		if told[0]["title"] != told[1]["title"] || told[0]["status"] != told[1]["status"] {
			t.Errorf("%s: %v, and for no argument %v", path, told[0], told[1])
		}
	}
	alike("/v1/sales/accounts/client-acme/set-area", "geoArea", "geo-west-1")
	alike("/v1/sales/opportunities/opportunity-acme-1/lose", "lostReason", "x")
	alike(inSales.tasks+"/task-acme-1/assign", "assignee", string(testworld.SalesRep))
	takes(t, w,
		post(testworld.SalesAdmin, inSales.tasks+"/task-acme-1/assign").no(422, fault.MissingField),
		post(testworld.SalesAdmin, "/v1/sales/accounts/client-acme/set-area", "salesArea", testworld.AreaSouth),
		post(testworld.SalesAdmin, "/v1/sales/opportunities/opportunity-acme-1/lose"),
	)
	for path, want := range map[string]any{
		"/v1/crm/accounts/client-acme|geoArea":                  nil,
		"/v1/sales/opportunities/opportunity-acme-1|lostReason": nil,
	} {
		path, field, _ := strings.Cut(path, "|")
		if got := w.HTTP(testworld.CRMAdmin, "GET", path, nil).Object(t)[field]; got != want {
			t.Errorf("%s of %s is %v", field, path, got)
		}
	}
}
