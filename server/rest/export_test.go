package rest_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gofiber/fiber/v2"
	"github.com/xuri/excelize/v2"

	"satchel/internal/command"
	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/internal/testworld"
	"satchel/server/edge"
	"satchel/server/rest"
	"satchel/server/sheet"
	"satchel/server/spool"
	"satchel/sync/store"
)

// unmarked is a CSV without the mark that it must begin with.
func unmarked(t *testing.T, body []byte) []byte {
	t.Helper()
	rest, ok := bytes.CutPrefix(body, []byte(sheet.BOM))
	if !ok {
		t.Errorf("no byte order mark: %.40q", body)
	}
	return rest
}

// table reads a CSV export: the heading, and a map by heading for each row.
func table(t *testing.T, body []byte) (head []string, rows []map[string]string) {
	t.Helper()
	all, err := csv.NewReader(bytes.NewReader(unmarked(t, body))).ReadAll()
	if err != nil || len(all) == 0 {
		t.Fatalf("%v: %s", err, body)
	}
	for _, r := range all[1:] {
		m := map[string]string{}
		for i, h := range all[0] {
			m[h] = r[i]
		}
		rows = append(rows, m)
	}
	return all[0], rows
}

// TestExportHasWhatTheListHas compares every person's export of every list with
// the list: the same records in the same order, and no column of a field that
// they see in none.
func TestExportHasWhatTheListHas(t *testing.T) {
	w := newWorld(t)
	exports := 0
	for n, who := range testworld.People() {
		seen := sights(t, w, who)
		for i, r := range w.rest.Routes() {
			if r.Same != "" || r.Kind != rest.Table || (i+n)%sparse(8) != 0 {
				continue
			}
			list := strings.TrimSuffix(r.Path, ":export")
			res := w.HTTP(who, "GET", r.Path, nil)
			if page := w.HTTP(who, "GET", list, nil); page.Status != 200 {
				if res.Status != page.Status || !bytes.Equal(res.Body, page.Body) {
					t.Fatalf("%s: %s is %d %s, the list %d", who, r.Path, res.Status, res.Body, page.Status)
				}
				continue
			}
			exports++
			want := idsOf(leaf(t, w, who, list, 100))
			head, rows := table(t, res.Body)
			got := []string{}
			for _, row := range rows {
				got = append(got, row["id"])
				sight := seen[r.Type.Name][ident.RecordID(row["id"])]
				for h, v := range row {
					name, _, _ := strings.Cut(h, ".")
					f := r.Type.Field(name)
					if v != "" && name != "id" && name != "updatedAt" && (f == nil || !sight.Mask.Has(f.No)) {
						t.Errorf("%s: %s of %s is exported: %q", who, h, row["id"], v)
					}
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: %s has %v, the list %v", who, r.Path, got, want)
			}
			for _, h := range head {
				if name, _, _ := strings.Cut(h, "."); r.Type.Field(name) == nil && name != "id" && name != "updatedAt" {
					t.Errorf("%s: column %s", r.Path, h)
				}
			}
		}
	}
	if exports < 300/sparse(20) {
		t.Errorf("only %d exports were looked at", exports)
	}
}

// TestExportsSpareTheDisk: exports stand in the folder they are given until they
// were sent, and are refused where they would reach into the disk's reserve.
func TestExportsSpareTheDisk(t *testing.T) {
	folder, err := spool.Open(filepath.Join(t.TempDir(), "exports"), 0)
	if err != nil {
		t.Fatal(err)
	}
	w := testworld.New(t, func(app *fiber.App, auth *edge.Auth, cat *entity.Catalogue) {
		if _, err := rest.Mount(app, auth, cat, rest.Options{Spool: folder}); err != nil {
			t.Fatal(err)
		}
	})
	var rows []command.Row
	for i := range 1500 {
		rows = append(rows, testworld.Row("job", ident.RecordID(fmt.Sprintf("job-many-%04d", i)), "client", "client-acme", "title", "x"))
	}
	for chunk := range slices.Chunk(rows, 500) {
		w.Import(chunk...)
	}
	routes := []string{jobs + ":export", jobs + ":export?format=xlsx", persons + string(testworld.Engineer) + "/export"}
	for _, c := range []struct {
		name   string
		free   []uint64 // of each look; the last one stays
		want   int
		routes []string
	}{
		{"room", []uint64{store.DefaultReserve}, 200, routes},
		{"no room", []uint64{store.DefaultReserve - 1}, 507, routes},
		{"no room by then", []uint64{store.DefaultReserve, 0}, 507, routes[:2]}, // that of a person is short
	} {
		for _, route := range c.routes {
			looks, there := 0, 0
			folder.Free = func(dir string) (uint64, error) {
				if left, err := os.ReadDir(dir); err == nil {
					there = max(there, len(left))
				}
				looks++
				return c.free[min(looks, len(c.free))-1], nil
			}
			res := w.HTTP(testworld.Admin, "GET", route, nil)
			if res.Status != c.want || c.want == 507 && res.Code() != string(fault.DiskFull) {
				t.Errorf("%s: %s: %d %.200s", c.name, route, res.Status, res.Body)
			}
			if looks == 0 || len(c.free) > 1 && there == 0 {
				t.Errorf("%s: %s: %d looks at the disk, at most %d files there", c.name, route, looks, there)
			}
			if left, err := os.ReadDir(folder.Dir()); err != nil || len(left) > 0 {
				t.Errorf("%s: %s: left %v %v", c.name, route, left, err)
			}
		}
	}
}

func TestExport(t *testing.T) {
	w := newWorld(t)
	// More than is read from one state.
	var rs []command.Row
	for i := range 4500 {
		rs = append(rs, testworld.Row("job", ident.RecordID(fmt.Sprintf("job-many-%04d", i)), "client", "client-acme", "title", fmt.Sprintf("Job %04d", 4499-i)))
	}
	rs[7].Fields["title"] = json.RawMessage(`"=1+1"`)
	for chunk := range slices.Chunk(rs, 1000) {
		w.Import(chunk...)
	}
	res := w.HTTP(testworld.Blind, "GET", jobs+":export?sort=title&filter=client%20eq%20client-acme&names=true", nil).Want(t, 200, "")
	if ct, cd := res.Header.Get("Content-Type"), res.Header.Get("Content-Disposition"); ct != "text/csv; charset=utf-8" || !strings.Contains(cd, "jobs.csv") {
		t.Errorf("%s %s", ct, cd)
	}
	head, rows := table(t, res.Body)
	if len(rows) != 4501 || !slices.Contains(head, "client.name") {
		t.Fatalf("%d rows, %v", len(rows), head)
	}
	seen := map[string]bool{}
	for i, r := range rows {
		if seen[r["id"]] || r["client"] != "client-acme" || r["client.name"] != "acme ltd" {
			t.Fatalf("row %d: %v", i, r)
		}
		seen[r["id"]] = true
		if i > 1 && i < 4499 && r["title"] < rows[i-1]["title"] {
			t.Fatalf("row %d is out of order: %s after %s", i, r["title"], rows[i-1]["title"])
		}
	}
	if got := rows[0]["title"]; got != "'=1+1" {
		t.Errorf("a formula is exported as %q", got)
	}
	// What has no name is known by its title, subject or number, as far as it is
	// seen; who made a record by theirs.
	own := w.HTTP(testworld.SvcAdmin, "POST", "/v1/service/invoices", testworld.Object("client", "client-acme", "job", "job-acme-1")).Want(t, 201, "").Object(t)["id"]
	_, rows = table(t, w.HTTP(testworld.SvcAdmin, "GET", "/v1/service/invoices:export?names=true", nil).Want(t, 200, "").Body)
	i := slices.IndexFunc(rows, func(r map[string]string) bool { return r["id"] == own })
	if i < 0 || !strings.HasPrefix(rows[i]["job.name"], "Mend boiler") || rows[i]["createdBy.name"] == "" {
		t.Errorf("%v", rows)
	}
	// An XLSX of the same.
	res = w.HTTP(testworld.Blind, "GET", customers+":export?format=xlsx", nil).Want(t, 200, "")
	book, err := excelize.OpenReader(bytes.NewReader(res.Body))
	if err != nil {
		t.Fatal(err)
	}
	defer book.Close()
	cells, err := book.GetRows(book.GetSheetList()[0])
	if err != nil || len(cells) != 4 { // acme, corp, dune and the heading: blue is hidden
		t.Errorf("%v: %v", err, cells)
	}
	if bytes.Contains(res.Body, []byte("blue")) {
		t.Error("the hidden client is in the file")
	}
	for _, c := range []struct{ query, field string }{
		{"format=pdf", "format"}, {"names=maybe", "names"}, {"bom=maybe", "bom"}, {"filter=nosuch%20eq%201", "nosuch"}, {"limit=5", ""}, {"saved=never-was-1", "saved"},
	} {
		res := w.HTTP(testworld.Blind, "GET", jobs+":export?"+c.query, nil)
		if res.Status != 400 {
			t.Errorf("%s: %d %s", c.query, res.Status, res.Body)
		}
	}
	w.HTTP(testworld.Nobody, "GET", jobs+":export", nil).Want(t, 403, "not_allowed")
}

// TestMarkedTables: a CSV begins with the mark by which spreadsheets know it for
// UTF-8, once, unless it is asked for without; nothing else does.
func TestMarkedTables(t *testing.T) {
	w := newWorld(t)
	id := report(t, w, "name", "Jobs", "app", "service", "entityType", "job", "groupBy", []string{"priority"})
	for _, path := range []string{jobs + ":export?", reports + "/" + id + "/result?", quarantined + ":export?", "/v1/admin/access-review?client=client-acme&"} {
		with := w.HTTP(testworld.Admin, "GET", path+"format=csv", nil).Want(t, 200, "").Body
		said := w.HTTP(testworld.Admin, "GET", path+"format=csv&bom=true", nil).Want(t, 200, "").Body
		without := w.HTTP(testworld.Admin, "GET", path+"format=csv&bom=false", nil).Want(t, 200, "").Body
		if len(without) == 0 || bytes.Contains(without, []byte(sheet.BOM)) || string(with) != sheet.BOM+string(without) || !bytes.Equal(with, said) {
			t.Errorf("%s: %.30q, without %.30q", path, with, without)
		}
		if book := w.HTTP(testworld.Admin, "GET", path+"format=xlsx", nil).Want(t, 200, "").Body; !bytes.HasPrefix(book, []byte("PK")) {
			t.Errorf("%s: a workbook begins with %.10q", path, book)
		}
		w.HTTP(testworld.Admin, "GET", path+"format=csv&bom=1", nil).Want(t, 400, "bad_parameter")
	}
}

// TestSavedFilters: reading 11: a filter runs with the rights of whoever runs
// it, and a private one is its maker's alone.
func TestSavedFilters(t *testing.T) {
	w := newWorld(t)
	const filters = "/v1/service/filters"
	make := func(who ident.RecordID, kv ...any) string {
		res := w.HTTP(who, "POST", filters, testworld.Object(append([]any{"app", "service"}, kv...)...)).Want(t, 201, "")
		return res.Object(t)["id"].(string)
	}
	private := make(testworld.Manager, "name", "Mine", "visibility", "private", "entityType", "job", "query", `priority eq normal`, "sort", "-title")
	public := make(testworld.SvcAdmin, "name", "Ours", "visibility", "public", "entityType", "job", "query", `client in (client-acme, client-blue)`)
	text := make(testworld.SvcAdmin, "name", "Boilers", "visibility", "public", "entityType", "job", "search", "boiler of a")
	facet := make(testworld.SvcAdmin, "name", "Access", "visibility", "public", "entityType", "client", "query", `accessNotes contains blue`)

	run := func(who ident.RecordID, id, more string) []string {
		return w.HTTP(who, "GET", jobs+"?saved="+id+more, nil).Want(t, 200, "").IDs(t)
	}
	has := func(got []string, want ...string) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	}
	has(run(testworld.Manager, public, "&sort=title"), "job-acme-1", "job-blue-1")
	has(run(testworld.Blind, public, ""), "job-acme-1")
	has(run(testworld.Guest, public, "&filter=client%20eq%20client-blue"), "job-blue-1")
	has(run(testworld.Manager, text, ""), "job-acme-1")
	// What it searches for and what the list asks for must both be there.
	both := make(testworld.SvcAdmin, "name", "All boilers", "visibility", "public", "entityType", "job", "search", "boiler")
	has(run(testworld.Manager, both, "&q=ACME"), "job-acme-1")
	has(run(testworld.Manager, both, "&q=boiler%20acme"), "job-acme-1")
	has(run(testworld.Manager, both, "&q=nothing"))
	if all := run(testworld.Manager, both, ""); len(all) < 2 {
		t.Errorf("%v has no other", all)
	}
	next, ok := w.HTTP(testworld.Manager, "GET", jobs+"?limit=1&saved="+both, nil).Want(t, 200, "").Object(t)["next"].(string)
	if !ok {
		t.Fatal("there is no next page")
	}
	// Of another search it is no cursor.
	other := w.HTTP(testworld.Manager, "GET", jobs+"?limit=1&cursor="+url.QueryEscape(next), nil)
	if same := w.HTTP(testworld.Manager, "GET", jobs+"?limit=1&saved="+both+"&cursor="+url.QueryEscape(next), nil); same.Status != 200 || other.Status != 400 {
		t.Errorf("the cursor is taken %d, of another search %d", same.Status, other.Status)
	}
	if _, rows := table(t, w.HTTP(testworld.Manager, "GET", jobs+":export?saved="+both+"&q=acme", nil).Want(t, 200, "").Body); len(rows) != 1 {
		t.Errorf("%d are exported", len(rows))
	}
	if got := run(testworld.Manager, private, "&limit=2"); got[0] < got[1] {
		t.Errorf("%v is not sorted", got)
	}
	// Somebody else's private filter is not there, like one that never was.
	hidden := w.HTTP(testworld.SvcAdmin, "GET", jobs+"?saved="+private, nil).Want(t, 400, "bad_parameter")
	never := w.HTTP(testworld.SvcAdmin, "GET", jobs+"?saved=never-was-1", nil).Want(t, 400, "bad_parameter")
	if !bytes.Equal(hidden.Body, never.Body) {
		t.Errorf("%s / %s", hidden.Body, never.Body)
	}
	if got := w.HTTP(testworld.Manager, "GET", filters, nil).IDs(t); !slices.Contains(got, private) || !slices.Contains(got, public) {
		t.Errorf("%v", got)
	}
	for _, who := range []ident.RecordID{testworld.SvcAdmin, testworld.Admin} {
		if got := w.HTTP(who, "GET", filters, nil).IDs(t); slices.Contains(got, private) {
			t.Errorf("%s sees another's private filter", who)
		}
	}
	// A field that the runner doesn't know is not there for the filter either.
	w.HTTP(testworld.Manager, "GET", customers+"?saved="+facet, nil).Want(t, 200, "")
	w.Import(testworld.Row("individualPermission", "denial-access", "employee", testworld.Guest, "effect", "denial", "verb", "view", "entityType", "client", "field", "accessNotes"))
	w.HTTP(testworld.Guest, "GET", customers+"?saved="+facet, nil).Want(t, 400, "unknown_field")
	// About another type.
	w.HTTP(testworld.Manager, "GET", assets+"?saved="+public, nil).Want(t, 400, "bad_parameter")

	// What nobody could run is refused where it is made.
	for _, bad := range []struct{ typ, query, sort, field string }{
		{"job", "nosuch eq 1", "", ""}, {"job", "title like x", "", "query"}, {"job", "", "nosuch", ""}, {"ticket", "", "", "entityType"}, {"nosuch", "", "", "entityType"},
	} {
		res := w.HTTP(testworld.SvcAdmin, "POST", filters, testworld.Object("app", "service", "name", "Bad", "visibility", "public", "entityType", bad.typ,
			"query", bad.query, "sort", bad.sort))
		if res.Status != 422 || res.Code() != "bad_value" {
			t.Errorf("%+v: %d %s", bad, res.Status, res.Body)
		}
	}
	w.HTTP(testworld.SvcAdmin, "PATCH", filters+"/"+public, testworld.Object("query", "nosuch eq 1")).Want(t, 422, "bad_value")
	w.HTTP(testworld.SvcAdmin, "PATCH", filters+"/"+public, testworld.Object("query", "status eq Open")).Want(t, 200, "")
	w.HTTP(testworld.Manager, "PATCH", filters+"/"+public, testworld.Object("name", "x")).Want(t, 403, "not_allowed")
}

// TestBulkWithAKey: a bulk action that is sent again is done once, and
// answered as it was.
func TestBulkWithAKey(t *testing.T) {
	w := newWorld(t)
	send := func(body, key string) *testworld.Response {
		return w.HTTP(testworld.Manager, "POST", "/v1/me/notifications:read", body, "Idempotency-Key", key)
	}
	one := send(`{"ids":["note-manager","note-guest"]}`, "b1").Want(t, 200, "")
	rev := w.HTTP(testworld.Manager, "GET", "/v1/me/notifications/note-manager", nil).Header.Get("ETag")
	w.Advance(1000)
	two := send(`{"ids":["note-manager","note-guest"]}`, "b1").Want(t, 200, "")
	var a, b struct {
		Results []struct{ ID, Status, Code string }
	}
	if json.Unmarshal(one.Body, &a) != nil || json.Unmarshal(two.Body, &b) != nil || len(a.Results) != 2 || !slices.Equal(a.Results, b.Results) {
		t.Errorf("%s / %s", one.Body, two.Body)
	}
	if a.Results[0].Status != "applied" || a.Results[1].Code != "not_found" {
		t.Errorf("%s", one.Body)
	}
	if again := w.HTTP(testworld.Manager, "GET", "/v1/me/notifications/note-manager", nil).Header.Get("ETag"); again != rev {
		t.Error("it was done twice")
	}
	send(`{"ids":["note-manager"]}`, "b1").Want(t, 422, "idempotency_key_reused")
}
