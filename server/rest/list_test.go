package rest_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"

	"satchel/internal/command"
	"satchel/internal/ident"
	"satchel/internal/testworld"
)

// leaf reads a list page by page and returns all of it.
func leaf(t *testing.T, w *world, who ident.RecordID, path string, limit int, kv ...string) []map[string]any {
	t.Helper()
	q := url.Values{"limit": {fmt.Sprint(limit)}}
	for i := 0; i < len(kv); i += 2 {
		q.Set(kv[i], kv[i+1])
	}
	var out []map[string]any
	for range 1000 {
		res := w.HTTP(who, "GET", path+"?"+q.Encode(), nil)
		var page struct {
			Items []map[string]any `json:"items"`
			Next  string           `json:"next"`
		}
		if err := json.Unmarshal(res.Body, &page); err != nil || res.Status != 200 {
			t.Fatalf("%s %v: %d %s", path, kv, res.Status, res.Body)
		}
		out = append(out, page.Items...)
		if page.Next == "" {
			return out
		}
		if len(page.Items) != limit {
			t.Fatalf("a page of %d with a next", len(page.Items))
		}
		q.Set("cursor", page.Next)
	}
	t.Fatal("no end")
	return nil
}

func idsOf(items []map[string]any) []string {
	out := []string{}
	for _, it := range items {
		out = append(out, it["id"].(string))
	}
	return out
}

// crowd adds jobs with values of all sorts, many of them missing.
func crowd(w *world, n int) {
	r := rand.New(rand.NewPCG(1, 2))
	words := []string{"alpha", "Beta", "gamma ray", "Ölbrenner", `say "hi"`, "zeta\\n", "beta"}
	var rows []command.Row
	for i := range n {
		kv := []any{"client", []ident.RecordID{testworld.Acme, testworld.Blue, testworld.Corp}[r.IntN(3)], "title", words[r.IntN(len(words))]}
		if r.IntN(3) > 0 {
			kv = append(kv, "priority", []string{"low", "normal", "high", "urgent"}[r.IntN(4)])
		}
		if r.IntN(3) > 0 {
			kv = append(kv, "due", fmt.Sprintf("2026-0%d-1%dT00:00:00Z", 1+r.IntN(3), r.IntN(9)))
		}
		if r.IntN(2) > 0 {
			kv = append(kv, "number", fmt.Sprintf("N-%d", r.IntN(50)))
		}
		rows = append(rows, testworld.Row("job", ident.RecordID(fmt.Sprintf("crowd-%04d", i)), kv...))
	}
	w.Import(rows...)
}

var priorities = []string{"low", "normal", "high", "urgent"}

// TestPages: whatever the order and the page's size, the pages together are
// the whole list, each record once, in order.
func TestPages(t *testing.T) {
	w := newWorld(t)
	crowd(w, 230)
	whole := leaf(t, w, testworld.Manager, "/v1/service/jobs", 200)
	if len(whole) != 234 {
		t.Fatalf("%d jobs", len(whole))
	}
	text := func(f string) func(a, b map[string]any) int {
		return func(a, b map[string]any) int {
			x, ok := a[f].(string)
			y, ok2 := b[f].(string)
			if !ok || !ok2 { // without a value come last
				return cmp.Compare(map[bool]int{false: 1}[ok], map[bool]int{false: 1}[ok2])
			}
			if f == "priority" {
				return cmp.Compare(slices.Index(priorities, x), slices.Index(priorities, y))
			}
			return strings.Compare(strings.ToLower(x), strings.ToLower(y))
		}
	}
	down := func(f string) func(a, b map[string]any) int {
		return func(a, b map[string]any) int {
			if a[f] == nil || b[f] == nil {
				return text(f)(a, b)
			}
			return text(f)(b, a)
		}
	}
	for _, c := range []struct {
		sort string
		by   []func(a, b map[string]any) int
	}{
		{"title", []func(a, b map[string]any) int{text("title")}},
		{"-title", []func(a, b map[string]any) int{down("title")}},
		{"priority,-due", []func(a, b map[string]any) int{text("priority"), down("due")}},
		{"-priority,number,-id", []func(a, b map[string]any) int{down("priority"), text("number"), down("id")}},
		{"-updatedAt,id", []func(a, b map[string]any) int{down("updatedAt"), text("id")}},
	} {
		want := slices.Clone(whole)
		slices.SortStableFunc(want, func(a, b map[string]any) int {
			for _, f := range c.by {
				if d := f(a, b); d != 0 {
					return d
				}
			}
			return 0
		})
		for _, limit := range []int{1, 7, 50, 200} {
			if limit == 1 && testing.Short() {
				continue
			}
			if got := idsOf(leaf(t, w, testworld.Manager, "/v1/service/jobs", limit, "sort", c.sort)); !slices.Equal(got, idsOf(want)) {
				t.Errorf("sort %s by %d:\n%v\nwant\n%v", c.sort, limit, got, idsOf(want))
			}
		}
	}
	if got := idsOf(leaf(t, w, testworld.Manager, "/v1/service/jobs", 9)); !slices.Equal(got, idsOf(whole)) {
		t.Error("unsorted pages differ")
	}
}

// TestFilters holds each condition against the same judged by hand.
func TestFilters(t *testing.T) {
	w := newWorld(t)
	crowd(w, 200)
	whole := leaf(t, w, testworld.Manager, "/v1/service/jobs", 200)
	str := func(it map[string]any, f string) string { s, _ := it[f].(string); return s }
	has := func(it map[string]any, f string) bool { return it[f] != nil }
	for _, c := range []struct {
		filter string
		holds  func(map[string]any) bool
	}{
		{`title eq Beta`, func(it map[string]any) bool { return str(it, "title") == "Beta" }},
		{`title eq "say \"hi\""`, func(it map[string]any) bool { return str(it, "title") == `say "hi"` }},
		{`title eq "zeta\\n"`, func(it map[string]any) bool { return str(it, "title") == `zeta\n` }},
		{`title ne Beta`, func(it map[string]any) bool { return str(it, "title") != "Beta" }},
		{`title contains BET`, func(it map[string]any) bool { return strings.Contains(strings.ToLower(str(it, "title")), "bet") }},
		{`title contains ÖL`, func(it map[string]any) bool { return str(it, "title") == "Ölbrenner" }},
		{`title lt gamma`, func(it map[string]any) bool { return strings.ToLower(str(it, "title")) < "gamma" }},
		{`priority eq high`, func(it map[string]any) bool { return str(it, "priority") == "high" }},
		{`priority ne high`, func(it map[string]any) bool { return str(it, "priority") != "high" }},
		{`priority in (low, urgent)`, func(it map[string]any) bool { p := str(it, "priority"); return p == "low" || p == "urgent" }},
		{`priority ge high`, func(it map[string]any) bool { return slices.Index(priorities, str(it, "priority")) >= 2 }},
		{`priority lt normal`, func(it map[string]any) bool { return str(it, "priority") == "low" }},
		{`priority null`, func(it map[string]any) bool { return !has(it, "priority") }},
		{`priority null true`, func(it map[string]any) bool { return !has(it, "priority") }},
		{`priority null false`, func(it map[string]any) bool { return has(it, "priority") }},
		{`due ge 2026-02-01 and due lt 2026-03-01T00:00:00Z`, func(it map[string]any) bool { return strings.HasPrefix(str(it, "due"), "2026-02") }},
		{`due eq 2026-02-11T01:00:00+01:00`, func(it map[string]any) bool { return str(it, "due") == "2026-02-11T00:00:00.000Z" }},
		{`client eq client-blue and number null false`, func(it map[string]any) bool { return str(it, "client") == "client-blue" && has(it, "number") }},
		{`client in (client-blue, client-corp) and title eq alpha`, func(it map[string]any) bool {
			return str(it, "client") != "client-acme" && str(it, "client") != "client-dune" && str(it, "title") == "alpha"
		}},
		{`client eq never-was-1`, func(map[string]any) bool { return false }},
		{`client ne never-was-1`, func(map[string]any) bool { return true }},
		{`id in (crowd-0001, crowd-0002, never-was-1)`, func(it map[string]any) bool { return str(it, "id") == "crowd-0001" || str(it, "id") == "crowd-0002" }},
		{`id ne crowd-0001`, func(it map[string]any) bool { return str(it, "id") != "crowd-0001" }},
		{`status eq In Progress and title ne 'x'`, func(it map[string]any) bool { return str(it, "status") == "In Progress" }},
		{`status eq 'Scheduled'`, func(it map[string]any) bool { return str(it, "status") == "Scheduled" }},
		{`status eq Scheduled`, func(it map[string]any) bool { return str(it, "status") == "Scheduled" }},
		{`updatedAt gt 2026-03-02T09:30:00Z`, func(it map[string]any) bool { return str(it, "updatedAt") > "2026-03-02T09:30" }},
		{`description null`, func(it map[string]any) bool { return !has(it, "description") }},
	} {
		var want []string
		for _, it := range whole {
			if c.holds(it) {
				want = append(want, it["id"].(string))
			}
		}
		got := idsOf(leaf(t, w, testworld.Manager, "/v1/service/jobs", 40, "filter", c.filter))
		if !slices.Equal(got, append([]string{}, want...)) {
			t.Errorf("%s: %d records, want %d", c.filter, len(got), len(want))
		}
	}
	for q, want := range map[string]func(string) bool{
		"beta":      func(s string) bool { return strings.Contains(strings.ToLower(s), "beta") },
		"ray gamma": func(s string) bool { return s == "gamma ray" },
		"ölb":       func(s string) bool { return s == "Ölbrenner" },
		`"hi`:       func(s string) bool { return s == `say "hi"` },
		"nowhere":   func(string) bool { return false },
	} {
		n := 0
		for _, it := range whole {
			if want(str(it, "title")) {
				n++
			}
		}
		if got := leaf(t, w, testworld.Manager, "/v1/service/jobs", 40, "q", q); len(got) != n {
			t.Errorf("q %s: %d, want %d", q, len(got), n)
		}
	}
}

// TestListSettings covers sets, flags, sums and archived records.
func TestListSettings(t *testing.T) {
	w := newWorld(t)
	w.Import(
		testworld.Row("client", testworld.Acme, "phones", []string{"1", "2"}, "dunningHold", true, "creditLimit", json.RawMessage(`{"amount":500,"currency":"EUR"}`)),
		testworld.Row("client", testworld.Blue, "phones", []string{"2"}, "creditLimit", json.RawMessage(`{"amount":-20,"currency":"EUR"}`)),
		testworld.Row("client", testworld.Corp, "dunningHold", false, "paymentTermDays", 30),
		testworld.Row("ticket", "ticket-acme-2", "watchers", []string{"emp-staff", "emp-guest"}),
	)
	const clients, tickets = "/v1/crm/accounts", "/v1/helpdesk/tickets"
	for _, c := range []struct {
		path, filter string
		want         []string
	}{
		{clients, "phones contains 1", []string{"client-acme"}},
		{clients, "phones eq 2", []string{"client-acme", "client-blue"}},
		{clients, "phones in (1, 9)", []string{"client-acme"}},
		{clients, "phones null", []string{"client-corp", "client-dune"}},
		{clients, "phones ne 1", []string{"client-blue", "client-corp", "client-dune"}},
		{clients, "dunningHold eq true", []string{"client-acme"}},
		{clients, "dunningHold eq false", []string{"client-corp"}},
		{clients, "dunningHold ne true", []string{"client-blue", "client-corp", "client-dune"}},
		{clients, "creditLimit gt -100 and creditLimit lt 500", []string{"client-blue"}},
		{clients, "creditLimit eq 500", []string{"client-acme"}},
		{clients, "paymentTermDays ge 30", []string{"client-corp"}},
		{clients, "position null and phones contains 2", []string{"client-acme", "client-blue"}},
		{tickets, "watchers contains emp-staff", []string{"ticket-acme-2"}},
		{tickets, "watchers in (emp-guest, emp-basic)", []string{"ticket-acme-2"}},
	} {
		if got := idsOf(leaf(t, w, testworld.Admin, c.path, 2, "filter", c.filter)); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.filter, got, c.want)
		}
	}
	if got := idsOf(leaf(t, w, testworld.Admin, clients, 3, "sort", "-creditLimit")); !slices.Equal(got[:2], []string{"client-acme", "client-blue"}) {
		t.Errorf("by sums: %v", got)
	}
	w.HTTP(testworld.SvcAdmin, "POST", "/v1/service/customers/client-blue/archive", nil).Want(t, 200, "")
	if got := idsOf(leaf(t, w, testworld.Admin, clients, 50)); slices.Contains(got, "client-blue") {
		t.Error("the archived stand in the default list")
	}
	if got := idsOf(leaf(t, w, testworld.Admin, clients, 50, "archived", "true")); !slices.Contains(got, "client-blue") {
		t.Error("the archived can't be listed")
	}
}

// TestFilterWithinSight: what a person does not see in a record is null there,
// to filters, to order and to search, though it has a value.
func TestFilterWithinSight(t *testing.T) {
	w := newWorld(t)
	// Onsite people see name and e-mail of themselves, names of others.
	const path = "/v1/admin/employees"
	if got := idsOf(leaf(t, w, testworld.Onsite, path, 50, "filter", "email null false")); !slices.Equal(got, []string{"emp-onsite"}) {
		t.Errorf("e-mails of %v", got)
	}
	if got := idsOf(leaf(t, w, testworld.Onsite, path, 50, "q", "example.com")); !slices.Equal(got, []string{"emp-onsite"}) {
		t.Errorf("found by e-mail: %v", got)
	}
	if got := idsOf(leaf(t, w, testworld.Onsite, path, 50, "filter", "email eq staff@example.com")); len(got) != 0 {
		t.Errorf("guessed %v", got)
	}
	all := leaf(t, w, testworld.Onsite, path, 50)
	sorted := leaf(t, w, testworld.Onsite, path, 1, "sort", "-email")
	if len(all) != len(sorted) || sorted[0]["id"] != "emp-onsite" {
		t.Errorf("by e-mail: %v", idsOf(sorted))
	}
	if got := idsOf(leaf(t, w, testworld.Onsite, path, 50, "filter", "email ne onsite@example.com")); len(got) != len(all)-1 {
		t.Errorf("%v of %v", got, idsOf(all))
	}
	// A parent that is hidden in the child's record leads to no list of it.
	w.Permit(testworld.Guest, "denial", "verb", "view", "entityType", "job", "field", "asset")
	if got := idsOf(leaf(t, w, testworld.Guest, "/v1/service/assets/asset-acme/jobs", 50)); len(got) != 0 {
		t.Errorf("beneath a field that is not seen: %v", got)
	}
	if got := idsOf(leaf(t, w, testworld.Manager, "/v1/service/assets/asset-acme/jobs", 50)); !slices.Equal(got, []string{"job-acme-1"}) {
		t.Errorf("beneath: %v", got)
	}
}

// BenchmarkList measures a page of 50 with a filter and an order over 100,000
// records, and pages that can stop early.
func BenchmarkList(b *testing.B) {
	w := newWorld(b)
	const n = 100_000
	for at := 0; at < n; at += 1000 {
		var rows []command.Row
		for i := at; i < at+1000; i++ {
			rows = append(rows, testworld.Row("job", ident.RecordID(fmt.Sprintf("bench-%06d", i)), "client", []ident.RecordID{testworld.Acme, testworld.Corp}[i%2],
				"title", fmt.Sprintf("Job %06d", (i*7919)%n), "priority", priorities[i%4], "kind", "repair", "number", fmt.Sprint(i), "description", "Something is broken and has to be mended soon."))
		}
		w.Import(rows...)
	}
	for _, c := range []struct{ name, query string }{
		{"FilterSort", "?filter=title+contains+9&sort=-title"},
		{"SortAll", "?sort=title"},
		{"IndexedSort", "?filter=priority+eq+high+and+client+eq+client-acme&sort=title"},
		{"Search", "?q=job+0999&sort=title"},
		{"FirstPage", ""},
		{"FilteredPage", "?filter=priority+eq+high"},
		{"NothingFound", "?filter=title+eq+nothing"},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				if res := w.HTTP(testworld.Manager, "GET", "/v1/service/jobs"+c.query, nil); res.Status != 200 {
					b.Fatalf("%s", res.Body)
				}
			}
		})
	}
	b.Run("One", func(b *testing.B) {
		for b.Loop() {
			w.HTTP(testworld.Manager, "GET", "/v1/service/jobs/bench-050000", nil)
		}
	})
}
