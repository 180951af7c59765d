package rest_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"satchel/internal/command"
	"satchel/internal/ident"
	. "satchel/internal/testworld" //nolint:revive // its names are people
)

// halfBlind adds an administrator from whom Blue is hidden, and one of Blue's
// own staff.
func halfBlind(w *world) (admin, staff ident.RecordID) {
	admin, staff = "emp-half-admin", "emp-blue-staff"
	w.Person(admin, "level.customer-administrator", "service.guest", "stock.guest")
	w.Hide(admin, Blue)
	w.Import(Row("employee", staff, "name", "bluestaff", "email", "bluestaff@example.com", "kind", "client-staff", "client", Blue, "status", "Active"))
	w.Give(staff, "level.basic")
	w.Permit(staff, "denial", "verb", "delete")
	return admin, staff
}

// TestHiddenStaff: from whom a client is hidden, its staff are hidden too, with
// their rights and devices, whatever record might name them.
func TestHiddenStaff(t *testing.T) {
	w := newWorld(t)
	admin, staff := halfBlind(w)
	w.Do(&command.Command{Secret: &command.Secret{Employee: staff, Hash: "hash of " + string(staff)}})
	device := w.Device(staff, "inst-1")
	w.HTTP(admin, "GET", employees+"/"+string(staff), nil).Want(t, 404, "not_found")
	for _, path := range []string{
		assigned + "?limit=200", assigned + "?limit=200&filter=employee%20eq%20" + string(staff), permits, visible, rules, "/v1/admin/delegations",
		"/v1/admin/devices", "/v1/admin/holders?device=" + string(device), "/v1/admin/audit?limit=200", "/v1/stock/warehouses?limit=200",
		"/v1/service/service-agents", "/v1/admin/access-review?client=" + string(Acme),
	} {
		for _, word := range []string{string(staff), string(device), "bluestaff"} {
			if res := w.HTTP(admin, "GET", path, nil); strings.Contains(string(res.Body), word) && !strings.Contains(path, word) {
				t.Errorf("%s names %s: %s", path, word, res.Body)
			}
		}
		if path != "/v1/admin/holders?device="+string(device) {
			w.HTTP(Admin, "GET", path, nil).Want(t, 200, "")
		}
	}
	if got := w.HTTP(Admin, "GET", assigned+"?limit=200&filter=employee%20eq%20"+string(staff), nil).IDs(t); len(got) != 1 {
		t.Errorf("an administrator who sees Blue sees %v", got)
	}
}

// TestOnlyTheirClientNamesItsStaff: records of another client, and of none,
// name nobody of a client, whoever writes them.
func TestOnlyTheirClientNamesItsStaff(t *testing.T) {
	w := newWorld(t)
	_, staff := halfBlind(w)
	refused := func(row command.Row) {
		t.Helper()
		res := w.Do(&command.Command{Import: &command.Import{Rows: []command.Row{row}}})
		if len(res.Count.Rejected) != 1 {
			t.Errorf("%s/%s is taken", row.Type, row.ID)
		}
	}
	refused(Row("warehouse", "wh-van-blue", "name", "Van", "kind", "van", "custodian", staff))
	refused(Row("serviceAgent", "agent-blue-1", "name", "Bob", "employee", staff))
	refused(Row("ticket", "ticket-acme-9", "client", Acme, "subject", "x", "watchers", []ident.RecordID{staff}))
	refused(Row("client", Acme, "owner", staff))
	refused(Row("delegation", "delegation-01", "delegator", staff, "delegate", Engineer, "until", "2030-01-01T00:00:00Z"))
	w.Import(
		Row("ticket", "ticket-blue-9", "client", Blue, "subject", "x", "watchers", []ident.RecordID{staff}, "requester", staff),
		Row("delegation", "delegation-02", "delegator", Engineer, "delegate", staff, "until", "2030-01-01T00:00:00Z"),
	)
	w.HTTP(SalesAdmin, "POST", salesTasks, Object("title", "x", "assignee", staff)).Want(t, 422, "assignee_not_eligible")
	w.HTTP(SalesAdmin, "POST", salesTasks, Object("title", "x", "client", Blue, "assignee", staff)).Want(t, 201, "")
}

// TestAGrantOpensNothingPrivate: an individual grant on a type opens what people
// share of it, of the app it is for.
func TestAGrantOpensNothingPrivate(t *testing.T) {
	w := newWorld(t)
	w.Permit(Basic, "grant", "verb", "view", "entityType", "tag", "app", "crm")
	w.Permit(Basic, "grant", "verb", "view", "entityType", "comment", "app", "service")
	w.HTTP(Basic, "GET", "/v1/crm/tags/tag-key-1", nil).Want(t, 200, "")
	w.HTTP(Basic, "GET", "/v1/crm/tags/tag-secret-admin", nil).Want(t, 404, "not_found")
	w.HTTP(Basic, "GET", comments+"/comment-acme-3", nil).Want(t, 200, "")
	w.HTTP(Basic, "GET", comments+"/comment-wide-1", nil).Want(t, 404, "not_found") // on a campaign
}

// TestQuarantineConcealsWhatItRefersTo: work that refers to a hidden client
// anywhere, in arguments and lists too, is not shown, nor is what people of one
// did to records of others.
func TestQuarantineConcealsWhatItRefersTo(t *testing.T) {
	w := newWorld(t)
	admin, staff := halfBlind(w)
	w.Do(&command.Command{Secret: &command.Secret{Employee: staff, Hash: "hash of " + string(staff)}})
	for _, c := range []struct {
		who ident.RecordID
		m   map[string]any
	}{
		{DebtAdmin, map[string]any{
			"n": 1, "op": "action", "type": "payment", "id": "payment-acme-1", "action": "allocate",
			"args": map[string]any{"invoice": "invoice-blue-3", "sum": map[string]any{"amount": 1, "currency": "EUR"}},
		}},
		{Ticketer, map[string]any{
			"n": 1, "op": "patch", "type": "ticket", "id": "ticket-acme-1", "fields": map[string]any{"watchers": []any{staff}}, "was": map[string]any{"watchers": nil},
		}},
		{StockAdmin, map[string]any{
			"n": 1, "op": "patch", "type": "job", "id": "job-acme-1", "fields": map[string]any{"asset": "asset-blue"}, "was": map[string]any{"asset": nil},
		}},
		{Engineer, map[string]any{
			"n": 1, "op": "patch", "type": "job", "id": "job-acme-1", "fields": map[string]any{"asset": json.RawMessage(`"\u0061sset-blue"`), "title": "by another name"},
			"was": map[string]any{"asset": nil, "title": nil},
		}},
		{staff, map[string]any{
			"n": 1, "op": "patch", "type": "job", "id": "job-acme-1", "fields": map[string]any{"title": "not theirs"}, "was": map[string]any{"title": nil},
		}},
	} {
		if got := w.handset(t, c.who).push(c.m); !strings.HasPrefix(got, "refused") {
			t.Errorf("%v is %s", c.m, got)
		}
	}
	res := w.HTTP(admin, "GET", "/v1/admin/quarantine", nil).Want(t, 200, "")
	for _, word := range []string{"invoice-blue-3", string(staff), "asset-blue", "by another name", "not theirs"} {
		if strings.Contains(string(res.Body), word) {
			t.Errorf("the quarantine names %s: %s", word, res.Body)
		}
		if all := w.HTTP(Admin, "GET", "/v1/admin/quarantine", nil).Want(t, 200, ""); !strings.Contains(string(all.Body), word) {
			t.Errorf("an administrator who sees Blue lacks %s: %s", word, all.Body)
		}
	}
}

// TestQuarantineTellsNoIDs: whoever lets an accomplice type ids into work that is
// refused learns nothing of hidden records from what is shown: an id of one and
// one of nothing come to the same, wherever they stand. Work on what the
// administrator sees is shown, whatever its texts say.
func TestQuarantineTellsNoIDs(t *testing.T) {
	w := newWorld(t)
	admin, _ := halfBlind(w)
	const job = "job-acme-1"
	lines := func(id string) map[string]any {
		return map[string]any{"lines": []any{map[string]any{"id": "line-one-1", "product": id, "text": "x", "quantity": 1, "account": id}}}
	}
	places := map[string]func(id string) map[string]any{
		"record": func(id string) map[string]any {
			return map[string]any{"op": "patch", "type": "job", "id": id, "fields": map[string]any{"title": "x", "client": Acme}, "was": map[string]any{"title": nil}}
		},
		"record of another type": func(id string) map[string]any {
			return map[string]any{"op": "patch", "type": "client", "id": id, "fields": map[string]any{"owner": Engineer, "parent": Acme}, "was": map[string]any{"owner": nil}}
		},
		"field": func(id string) map[string]any {
			return map[string]any{"op": "patch", "type": "job", "id": job, "fields": map[string]any{"asset": id, "title": "x"}, "was": map[string]any{"asset": nil, "title": nil}}
		},
		"former value": func(id string) map[string]any {
			return map[string]any{"op": "patch", "type": "job", "id": job, "fields": map[string]any{"title": "x"}, "was": map[string]any{"title": nil, "asset": id}}
		},
		"set": func(id string) map[string]any {
			return map[string]any{"op": "patch", "type": "ticket", "id": "ticket-acme-1", "fields": map[string]any{"watchers": map[string]any{"add": []any{id}}}, "was": map[string]any{}}
		},
		"unknown field": func(id string) map[string]any {
			return map[string]any{"op": "patch", "type": "job", "id": job, "fields": map[string]any{"balloon": []any{map[string]any{"x": id}}}, "was": map[string]any{}}
		},
		"unknown type": func(id string) map[string]any {
			return map[string]any{"op": "patch", "type": "balloon", "id": job, "fields": map[string]any{"x": id}, "was": map[string]any{}}
		},
		"argument": func(id string) map[string]any {
			return map[string]any{"op": "action", "type": "jobActivity", "id": "act-acme-1", "action": "assign", "args": map[string]any{"assignee": id}}
		},
		"unknown argument": func(id string) map[string]any {
			return map[string]any{"op": "action", "type": "jobActivity", "id": "act-acme-1", "action": "accept", "args": map[string]any{"x": id}}
		},
		"lines": func(id string) map[string]any {
			return map[string]any{"op": "patch", "type": "invoice", "id": "invoice-acme-1", "fields": lines(id), "was": map[string]any{"lines": nil}}
		},
		"text": func(id string) map[string]any {
			return map[string]any{"op": "patch", "type": "job", "id": job, "fields": map[string]any{"title": id, "description": id}, "was": map[string]any{"title": "never that"}}
		},
	}
	p, n := w.handset(t, Ticketer), 0
	shows := func(who ident.RecordID, n int) bool {
		res := w.HTTP(who, "GET", "/v1/admin/quarantine?state=all&limit=200", nil).Want(t, 200, "")
		var page struct {
			Items []struct {
				Mutation struct{ N int }
			}
		}
		if err := json.Unmarshal(res.Body, &page); err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(page.Items, func(x struct {
			Mutation struct{ N int }
		},
		) bool {
			return x.Mutation.N == n
		})
	}
	for _, place := range slices.Sorted(maps.Keys(places)) {
		var seen []bool
		for _, id := range []string{"asset-blue", "job-blue-1", "never-was-12", "neverwasnot"} {
			n++
			m := places[place](id)
			m["n"] = n
			if got := p.push(m); !strings.HasPrefix(got, "refused") {
				t.Fatalf("%s %s: %s", place, id, got)
			}
			if !shows(Admin, n) {
				t.Fatalf("%s %s is not kept", place, id)
			}
			seen = append(seen, shows(admin, n))
		}
		if want := place == "text"; slices.Contains(seen, !want) {
			t.Errorf("%s: %v of what is hidden, hidden, and never was twice", place, seen)
		}
	}
	// What the phone itself makes is there for nobody yet.
	n++
	if got := p.push(map[string]any{"n": n, "op": "create", "type": "job", "id": w.Prefix(Ticketer, "phone-of-a-reading") + "0001", "fields": map[string]any{"client": Acme}}); !strings.HasPrefix(got, "refused") || !shows(admin, n) {
		t.Errorf("a job that is not made is %s, shown: %v", got, shows(admin, n))
	}
}

// TestDeniedNamesStandNowhere: a name that an administrator is denied is in no
// sentence about whom it is of, and in no file's name.
func TestDeniedNamesStandNowhere(t *testing.T) {
	w := newWorld(t)
	admin, _ := halfBlind(w)
	w.Import(Row("report", "report-one", "name", "Layoffs", "app", "service", "entityType", "job"))
	explain, result := "/v1/admin/explain?principal="+string(Engineer)+"&action=view&type=job&id=job-acme-1", "/v1/admin/reports/report-one/result?format=csv"
	told := func(word, path string) bool {
		res := w.HTTP(admin, "GET", path, nil).Want(t, 200, "")
		return strings.Contains(string(res.Body)+res.Header.Get("Content-Disposition"), word)
	}
	if !told("engineer may", explain) || !told("Layoffs", result) {
		t.Error("names are not told before they are denied")
	}
	w.Permit(admin, "denial", "verb", "view", "entityType", "employee", "field", "name")
	w.Permit(admin, "denial", "verb", "view", "entityType", "report", "field", "name")
	if told("engineer may", explain) && !told("emp-engineer may", explain) || told("Layoffs", result) {
		t.Error("a name that is denied is told")
	}
}
