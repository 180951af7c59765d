package rest_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"

	"satchel/internal/ident"
	"satchel/internal/policy"
	"satchel/internal/testworld"
	"satchel/server/rest"
	"satchel/sync/scope"
	"satchel/sync/tenant"
)

func review(t *testing.T, w *world, who ident.RecordID, query string) (page rest.ReviewPage) {
	t.Helper()
	res := w.HTTP(who, "GET", "/v1/admin/access-review?"+query, nil).Want(t, 200, "")
	if err := json.Unmarshal(res.Body, &page); err != nil {
		t.Fatalf("%v %s", err, res.Body)
	}
	return page
}

func typeOf(r rest.Review, app, typ string) (out rest.ReviewType) {
	for _, a := range r.Apps {
		for _, x := range a.Types {
			if string(a.App) == app && x.Type == typ {
				return x
			}
		}
	}
	return out
}

// TestReviewPerson: what somebody may do, by what, since when, and who gave it.
func TestReviewPerson(t *testing.T) {
	w := newWorld(t)
	w.HTTP(testworld.Admin, "POST", "/v1/admin/role-assignments",
		testworld.Object("employee", testworld.Rep, "role", "level.basic", "from", "2026-01-01T00:00:00Z", "until", "2026-12-31T00:00:00Z")).Want(t, 201, "")
	w.HTTP(testworld.Admin, "POST", "/v1/admin/role-assignments",
		testworld.Object("employee", testworld.Rep, "role", "stock.guest", "from", "2027-01-01T00:00:00Z")).Want(t, 201, "")
	w.Permit(testworld.Rep, "denial", "verb", "view", "entityType", "invoice")
	w.Hide(testworld.Rep, testworld.Blue)
	w.Import(testworld.Row("delegation", "delegation-1", "delegator", testworld.Engineer, "delegate", testworld.Rep, "from", "2026-01-01T00:00:00Z", "until", "2026-12-31T00:00:00Z"),
		testworld.Row("onsiteClient", "onsite-rep-1", "employee", testworld.Rep, "client", testworld.Acme))
	page := review(t, w, testworld.Admin, "employee="+string(testworld.Rep))
	if len(page.Items) != 1 {
		t.Fatalf("%+v", page)
	}
	r := page.Items[0]
	if r.Employee.ID != testworld.Rep || r.Status != "Active" || len(r.Areas) != 1 || r.Areas[0].Name != "North" || len(r.Onsite) != 1 {
		t.Errorf("%+v", r)
	}
	roles := map[string]rest.ReviewRole{}
	for _, x := range r.Roles {
		roles[x.Role] = x
	}
	basic, later, own := roles["level.basic"], roles["stock.guest"], roles["service.sales-representative"]
	if !basic.InForce || basic.Until != "2026-12-31T00:00:00.000Z" || basic.By == nil || basic.By.ID != testworld.Admin || basic.By.Name == "" || basic.At == "" {
		t.Errorf("%+v", basic)
	}
	if later.InForce || own.By != nil || !own.InForce || own.Title == "" || own.From != "" {
		t.Errorf("%+v\n%+v", later, own)
	}
	if len(r.Permissions) != 1 || r.Permissions[0].Effect != "denial" || len(r.Visibility) != 1 || len(r.Visibility[0].Clients) != 1 || r.Visibility[0].Clients[0].ID != testworld.Blue {
		t.Errorf("%+v %+v", r.Permissions, r.Visibility)
	}
	if len(r.Delegations) != 1 || r.Delegations[0].Delegator.ID != testworld.Engineer || !r.Delegations[0].InForce {
		t.Errorf("%+v", r.Delegations)
	}
	job := typeOf(r, "service", "job")
	var clauses []string
	lent := false
	for _, x := range job.Rights {
		clauses = append(clauses, x.Clause+": "+x.Scope)
		lent = lent || x.For != nil && x.For.ID == testworld.Engineer
	}
	if job.Visible == 0 || !slices.ContainsFunc(clauses, func(s string) bool { return strings.HasSuffix(s, ": clients in the person's sales areas") }) || !lent {
		t.Errorf("%d jobs, %v, lent %v", job.Visible, clauses, lent)
	}
	if x := typeOf(r, "service", "invoice"); slices.ContainsFunc(x.Rights, func(x rest.ReviewRight) bool { return slices.Contains(x.Verbs, policy.View) }) || x.Visible != 0 {
		t.Errorf("denied: %+v", x)
	}
	// A disabled person may do nothing.
	if r := review(t, w, testworld.Admin, "employee=emp-leaver").Items[0]; len(r.Apps) != 0 || r.Status != "Disabled" {
		t.Errorf("%+v", r)
	}
}

// TestReviewCounts: for everybody the counts are those of the sync set.
func TestReviewCounts(t *testing.T) {
	w := newWorld(t)
	got := map[ident.RecordID]rest.Review{}
	cursor := ""
	for range 20 {
		page := review(t, w, testworld.Admin, "limit=11&cursor="+cursor)
		for _, r := range page.Items {
			if _, twice := got[r.Employee.ID]; twice {
				t.Errorf("%s twice", r.Employee.ID)
			}
			got[r.Employee.ID] = r
		}
		if len(page.Items) > 11 {
			t.Errorf("%d on a page", len(page.Items))
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	if err := w.World.Tenant.Read(func(v *tenant.View) error {
		for _, p := range testworld.People() {
			want, n := map[string]int{}, map[string]int{}
			sees := scope.Visible(v.Reader, v.Subject(testworld.Admin)).All()
			for _, part := range scope.Visible(v.Reader, v.Subject(p)) {
				for o := range part.Set.All() {
					if sees.Contains(o) {
						want[v.Cat.TypeNo(part.Type).Name]++
					}
				}
			}
			for _, a := range got[p].Apps {
				for _, x := range a.Types {
					if x.Visible > 0 {
						n[x.Type] = x.Visible
					}
				}
			}
			for typ := range want {
				if want[typ] != n[typ] {
					t.Errorf("%s sees %d of %s, the review says %d", p, want[typ], typ, n[typ])
				}
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// TestReviewClient: who sees a client and by what clause, who holds it, from
// whom it is hidden.
func TestReviewClient(t *testing.T) {
	w := newWorld(t)
	p := syncing(t, w, testworld.Rep)
	p.pull()
	p.pull()
	w.Hide(testworld.Rep, testworld.Acme)
	ask := func(who ident.RecordID, client string) map[ident.RecordID]rest.ClientReview {
		t.Helper()
		var page rest.ClientReviewPage
		if err := json.Unmarshal(w.HTTP(who, "GET", "/v1/admin/access-review?limit=200&client="+client, nil).Want(t, 200, "").Body, &page); err != nil {
			t.Fatal(err)
		}
		out := map[ident.RecordID]rest.ClientReview{}
		for _, x := range page.Items {
			out[x.Employee.ID] = x
		}
		return out
	}
	acme, blue := ask(testworld.Admin, "client-acme"), ask(testworld.Admin, "client-blue")
	if x := acme[testworld.Rep]; x.Sees || x.Reason != "hidden" || x.Visibility == "" || x.Records != 0 || len(x.Devices) != 1 || x.Devices[0].ToRemove == 0 || x.Devices[0].Acknowledged {
		t.Errorf("%+v", x)
	}
	if x := blue[testworld.Rep]; !x.Sees || x.Clause == "" || x.Scope != "clients in the person's sales areas" || x.Records == 0 || len(x.Devices) != 1 || !x.Devices[0].Acknowledged {
		t.Errorf("%+v", x)
	}
	if x := blue[testworld.Blind]; x.Reason != "hidden" || x.Visibility != "rule-blind" {
		t.Errorf("%+v", x)
	}
	if x, ok := blue[testworld.Staff]; ok { // client staff of another
		t.Errorf("%+v", x)
	}
	if _, ok := blue[testworld.Nobody]; ok {
		t.Error("somebody without a role is listed")
	}
	if x := acme[testworld.Staff]; !x.Sees || x.Records == 0 {
		t.Errorf("%+v", x)
	}
	w.Person("emp-second", "level.customer-administrator")
	w.Hide("emp-second", testworld.Acme)
	hidden := w.HTTP("emp-second", "GET", "/v1/admin/access-review?client=client-acme", nil).Want(t, 404, "not_found")
	never := w.HTTP("emp-second", "GET", "/v1/admin/access-review?client=never-was-1", nil)
	if !bytes.Equal(hidden.Body, never.Body) {
		t.Errorf("%s / %s", hidden.Body, never.Body)
	}
	if _, ok := ask("emp-second", "client-blue")[testworld.Staff]; ok {
		t.Error("staff of a hidden client is listed")
	}
	r := review(t, w, "emp-second", "employee="+string(testworld.Rep)).Items[0]
	if len(r.Visibility) != 1 || len(r.Visibility[0].Clients) != 0 {
		t.Errorf("a hidden client is named: %+v", r.Visibility)
	}
	if all := typeOf(review(t, w, testworld.Admin, "employee=emp-manager").Items[0], "service", "job").Visible; typeOf(review(t, w, "emp-second", "employee=emp-manager").Items[0], "service", "job").Visible != all-1 {
		t.Error("jobs of a hidden client are counted")
	}
}

// TestReviewCountsNothingHidden: what somebody sees only because a record names
// it is not counted for an administrator from whom that record's client is
// hidden, however the rights look at it.
func TestReviewCountsNothingHidden(t *testing.T) {
	w := newWorld(t)
	admin, _ := halfBlind(w)
	w.Import(
		testworld.Row("employee", "emp-doer", "name", "doer", "email", "doer@example.com", "kind", "subcontractor", "status", "Active"),
		testworld.Row("employee", "emp-known", "name", "known", "email", "known@example.com", "kind", "subcontractor", "status", "Active"),
	)
	w.Person("emp-looker", "service.guest")
	counts := func(who ident.RecordID) map[string]int {
		t.Helper()
		n := map[string]int{}
		for _, r := range review(t, w, who, "limit=200").Items {
			for _, app := range r.Apps {
				for _, typ := range app.Types {
					n[string(r.Employee.ID)+" "+typ.Type] = typ.Visible
				}
			}
		}
		return n
	}
	half, all := counts(admin), counts(testworld.Admin)
	w.Import(testworld.Row("jobActivity", "act-blue-doer", "job", "job-blue-1", "title", "x", "assignee", "emp-doer"))
	const looks = "emp-looker employee"
	if now := counts(admin); !maps.Equal(now, half) {
		t.Errorf("an activity of a hidden client shows: %v, before %v", now, half)
	}
	if now := counts(testworld.Admin); now[looks] != all[looks]+1 {
		t.Errorf("%d are seen after %d", now[looks], all[looks])
	}
	w.Import(testworld.Row("jobActivity", "act-acme-known", "job", "job-acme-1", "title", "x", "assignee", "emp-known"))
	if now := counts(admin); now[looks] != half[looks]+1 {
		t.Errorf("%d are counted after %d", now[looks], half[looks])
	}
}

// TestReviewTable: the same facts as a table, in which no text is a formula.
func TestReviewTable(t *testing.T) {
	w := newWorld(t)
	w.Import(testworld.Row("employee", "emp-evil", "name", `=HYPERLINK("http://x")`, "email", "evil@example.com", "kind", "in-house", "status", "Active"),
		testworld.Row("roleAssignment", "role-evil-1", "employee", "emp-evil", "role", "service.guest"))
	table := func(query string) [][]string {
		t.Helper()
		res := w.HTTP(testworld.Admin, "GET", "/v1/admin/access-review?format=csv&"+query, nil).Want(t, 200, "")
		if got := res.Header.Get("Content-Type"); got != "text/csv; charset=utf-8" {
			t.Errorf("%s", got)
		}
		rows, err := csv.NewReader(bytes.NewReader(unmarked(t, res.Body))).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		return rows
	}
	one := table("employee=emp-evil")
	if len(one) < 3 || one[0][0] != "employee" || one[1][1] != `'=HYPERLINK("http://x")` {
		t.Fatalf("%v", one)
	}
	people := map[string]bool{}
	for _, r := range table("")[1:] {
		people[r[0]] = true
		for _, cell := range r {
			if cell != "" && strings.ContainsAny(cell[:1], "=+-@\t\r") {
				t.Errorf("a formula: %q", cell)
			}
		}
	}
	if len(people) < len(testworld.People()) {
		t.Errorf("%d people", len(people))
	}
	by := table("client=client-acme")
	if len(by) < 3 || by[0][0] != "client" || by[1][0] != "client-acme" {
		t.Errorf("%v", by)
	}
	for _, q := range []string{"format=pdf", "format=csv&limit=3", "employee=emp-basic&client=client-acme", "sort=x"} {
		w.HTTP(testworld.Admin, "GET", "/v1/admin/access-review?"+q, nil).Want(t, 400, "bad_parameter")
	}
	for _, q := range []string{"", "employee=emp-basic", "client=client-acme", "format=csv", "employee=" + url.QueryEscape("emp basic")} {
		for _, who := range []ident.RecordID{testworld.SvcAdmin, testworld.Basic, testworld.Staff} {
			w.HTTP(who, "GET", "/v1/admin/access-review?"+q, nil).Want(t, 403, "not_allowed")
		}
	}
	w.HTTP(testworld.Admin, "GET", "/v1/admin/access-review?format=csv&client=never-was-1", nil).Want(t, 404, "not_found")
	out, err := rest.AccessReview(w.World.Tenant, rest.Asked{Employee: "emp-evil"})
	if page, ok := out.(*rest.ReviewPage); err != nil || !ok || len(page.Items) != 1 {
		t.Errorf("%v %+v", err, out)
	}
}
