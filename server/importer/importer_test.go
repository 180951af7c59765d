package importer_test

import (
	"context"
	"encoding/csv"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"satchel/internal/command"
	"satchel/internal/fault"
	"satchel/server/importer"
	"satchel/sync/apply"
	"satchel/sync/store"
)

// TestDirtyRequests imports rows with every kind of dirt that the published
// requests have, and some more.
func TestDirtyRequests(t *testing.T) {
	w := newWorld(t, store.NewMem())
	from := os.DirFS("testdata/dirty")
	rep, rejects, err := w.run(load(t, "stlouis-csb"), from)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := csv.NewReader(strings.NewReader(strings.ReplaceAll(rejects, "\r", ""))).ReadAll(); err == nil {
		t.Error("rows of several widths came out as one") // FieldsPerRecord is that of the header
	}
	r := csv.NewReader(strings.NewReader(rejects))
	r.FieldsPerRecord = -1
	rows, err := r.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	want := [][2]string{
		{"4", "no ward: no sales area"},
		{"9", `STATUS: the value map state has no "LOST"`},
		{"10", "no address: no client"},
		{"12", `created: "soon" is no time that the mapping knows; taken before that: salesArea, geoArea, employee, serviceAgent`},
		{"13", "text that is not UTF-8"},
		{"14", "3 columns where the header has 22"},
		{"15", "a quote out of place"},
		{"20", "no request number"},
		{"21", `"stl-crew-a-crew-with-a-name-that-is-far-too-long-for-an-id" can't be the id of a record; taken before that: salesArea, geoArea`},
		{"22", "a quote out of place"},
	}
	if len(rows)-1 != len(want) || rep.Rejected != len(want) {
		t.Errorf("%d rejects, want %d:\n%s", len(rows)-1, len(want), rejects)
	}
	for i, row := range rows[1:] {
		if i < len(want) && (row[0] != "2009.csv" || row[1] != want[i][0] || row[2] != want[i][1]) {
			t.Errorf("reject %d: %q, want %q", i, row[:3], want[i])
		}
	}
	if got := rows[1][3+16]; got != "2" {
		t.Errorf("the row's columns are gone: %q", rows[1])
	}
	if s := rep.Sources[0]; s.Rows != 21 || s.Taken != 9 || s.Repeated != 2 || s.Rejected != 10 {
		t.Errorf("%+v", s)
	}

	// Times of the city's zone, summer and winter.
	w.want("stl-ticket-00000001", "opened", "2009-07-02T13:26:34.000Z", "createdAt", "2009-07-02T13:26:34.000Z",
		"closedAt", "2009-07-05T15:00:00.500Z", "status", "Closed", "number", "1", "job", "stl-job-00000001", "assignee", "stl-crew-forestry")
	w.want("stl-job-00000001", "status", "Closed", "closedAt", "2009-07-05T15:00:00.500Z", "due", "2009-07-20T05:00:00.000Z", "kind", "maintenance")
	w.want("stl-activity-00000001", "status", "Closed", "arrivedAt", "2009-07-03T05:00:00.000Z", "finishedAt", "2009-07-05T15:00:00.500Z")
	// However it is written, cancelled is cancelled.
	for _, id := range []string{"00000003", "00000004", "00000005"} {
		w.want("stl-job-"+id, "status", "Cancelled")
		w.want("stl-activity-"+id, "status", "Cancelled")
		w.want("stl-ticket-"+id, "status", "Closed")
	}
	// One address is one client, in its first ward.
	if a, b := w.fields("stl-ticket-00000001")["client"], w.fields("stl-ticket-00000003")["client"]; a != b {
		t.Errorf("one address, two clients: %s, %s", a, b)
	}
	client := w.fields("stl-ticket-00000005")["client"]
	w.want(client, "salesArea", "stl-ward-03", "name", "200 Sample Av", "geoArea", "stl-neighborhood-59")
	if !slices.ContainsFunc(rep.Notes, func(n importer.Note) bool { return n.Line == 7 && strings.Contains(n.Text, "keeps salesArea") }) {
		t.Errorf("the other ward is not noted: %+v", rep.Notes)
	}
	if p := w.fields(client)["position"]; !strings.HasPrefix(p, `{"lat":38.6`) || !strings.Contains(p, `"lng":-90.2`) {
		t.Errorf("St. Louis lies at %s", p)
	}
	// A time that can't be is left out, and told.
	f := w.fields("stl-activity-00000006")
	if f["finishedAt"] != "" || f["status"] != "Closed" || !strings.Contains(f["note"], "finishedAt 2008-01-01") {
		t.Errorf("%v", f)
	}
	// Without a crew it is in the queue.
	w.want("stl-activity-00000009", "status", "New", "assignee", "")
	w.want("stl-ticket-00000009", "status", "New", "assignee", "")
	w.want("stl-ticket-00000012", "description", "Limb down. He said \"now\",\r\nand hung up")
	// The later file's row is laid over the first; what it lacks stays.
	w.want("stl-ticket-00000013", "status", "Closed", "description", "Limb down", "closedAt", "2012-01-05T16:00:00.000Z")
	w.want("stl-job-00000013", "status", "Closed")
	w.want("stl-activity-00000015", "status", "Accepted")
	w.want("stl-crew-forestry", "status", "Invited", "kind", "in-house", "email", "forestry@csb.example")

	again, rejects2, err := w.run(load(t, "stlouis-csb"), from)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range again.Rules {
		if c.Created+c.Changed > 0 {
			t.Errorf("a second run changes something: %+v", c)
		}
	}
	if rejects2 != rejects {
		t.Error("a second run rejects other rows")
	}
}

const orders = `{
  "name": "orders", "layouts": ["2006-01-02"],
  "sources": {
    "supplier": {"files": ["supplier.csv"], "encoding": "iso-8859-1"},
    "product": {"files": ["product.csv"]},
    "order": {"files": ["order.csv"]},
    "line": {"files": ["line.csv"]}
  },
  "maps": {"status": {"O": "Draft", "R": "Received"}},
  "rules": [
    {"from": "supplier", "type": "supplier", "id": "supplier-{id}", "fields": {"name": "{name}", "preferred": "{pref}", "leadTimeDays": "{days}", "phones": {"all": ["{tel}", "{tel2}"]}}},
    {"from": "product", "type": "product", "id": "product-{id}", "fields": {"name": "{name}", "listPrice": {"value": "{price}", "currency": "EUR"}}},
    {"from": "order", "type": "purchaseOrder", "id": "order-{id|pad:4}", "fields": {
      "supplier": "supplier-{supplier}", "ordered": "{ordered}",
      "expected": {"value": "{expected}", "notBefore": "ordered", "disorder": "reject"},
      "status": {"value": "{status}", "map": "status"},
      "lines": {"lines": {"source": "line", "column": "order", "equals": "{id}", "id": "line{no}", "fields": {"product": "product-{product}", "quantity": "{qty}"}}}}}
  ]
}`

// small is the files of the orders mapping, with rows to go wrong.
func small() (kv []string) {
	return []string{
		"supplier.csv", "id,name,pref,days,tel,tel2\n1,Caf\xe9,1,17.00,b,a\n2,Two,maybe,,,\n3,,0,,,\n",
		"product.csv", "id,name,price\n1,One,.995\n2,Two,-3\n3,Three,1e5\n",
		"order.csv", "id,supplier,ordered,expected,status\n1,1,2020-01-01,2020-01-02,R\n2,2,2020-01-01,,O\n3,1,2020-01-05,2020-01-02,O\n4,1,2020-02-30,,O\n5,,2020-01-01,,\n",
		"line.csv", "order,no,product,qty\n1,1,1,5\n1,2,1,0.5\n1,3,2,\n2,4,1,1\n9,5,1,1\n",
		"other.csv", "a\n",
	}
}

func TestReferencesAndLines(t *testing.T) {
	m, err := importer.Parse([]byte(orders))
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, store.NewMem())
	rep, rejects, err := w.run(m, files(small()...))
	if err != nil {
		t.Fatal(err)
	}
	w.want("supplier-1", "name", "Café", "preferred", "true", "leadTimeDays", "17", "phones", `["a","b"]`)
	w.want("product-1", "listPrice", `{"amount":100,"currency":"EUR"}`)
	w.want("product-2", "listPrice", `{"amount":-300,"currency":"EUR"}`)
	w.want("order-0001", "status", "Received", "expected", "2020-01-02", "lines", `[{"id":"line1","product":"product-1","quantity":5}]`)
	for _, line := range []string{
		`supplier.csv,3,"preferred: ""maybe"" is neither yes nor no",2,Two`,
		`supplier.csv,4,"supplier supplier-3, name: name is required. (missing_field)"`,
		`product.csv,4,"listPrice: ""1e5"" is no amount of money"`,
		`order.csv,3,"purchaseOrder order-0002, supplier: `,
		`order.csv,4,expected 2020-01-02 lies before ordered 2020-01-05`,
		`order.csv,5,"ordered: ""2020-02-30"" is no time that the mapping knows"`,
		`order.csv,6,"purchaseOrder order-0005, supplier: supplier is required. (missing_field)"`,
		`line.csv,3,"quantity: ""0.5"" is no whole number"`,
		`line.csv,4,quantity is missing`,
		`line.csv,5,"purchaseOrder order-0002, supplier: `,
		`line.csv,6,nothing in the mapping takes this row`,
	} {
		if !strings.Contains(rejects, "\n"+line) {
			t.Errorf("no reject %q in\n%s", line, rejects)
		}
	}
	if rep.Rejected != 11 || !slices.Equal(rep.Unread, []string{"other.csv"}) {
		t.Errorf("%+v", rep)
	}
}

// TestNothingWritten: what is wrong with files or mapping is found before the
// first row goes out.
func TestNothingWritten(t *testing.T) {
	for name, change := range map[string]struct {
		mapping, file, content, want string
	}{
		"no file":        {file: "line.csv", content: "", want: "no file line.csv"},
		"empty file":     {file: "line.csv", content: "\xef\xbb\xbf\r\n", want: "line.csv is empty"},
		"no column":      {file: "line.csv", content: "order,no,product\n", want: "line.csv lacks the column qty"},
		"twice":          {file: "product.csv", content: "id,name,price,id\n", want: `column "id" stands twice`},
		"utf-16":         {file: "product.csv", content: "\xff\xfei\x00", want: "UTF-16"},
		"broken header":  {file: "product.csv", content: "id,\"name,price\n", want: "the header has a quote"},
		"unknown type":   {mapping: strings.Replace(orders, `"type": "supplier"`, `"type": "supplyer"`, 1), want: `no type "supplyer"`},
		"unknown field":  {mapping: strings.Replace(orders, `"preferred"`, `"prefered"`, 1), want: "no such field"},
		"required field": {mapping: strings.Replace(orders, `"name": "{name}", "pref`, `"pref`, 1), want: "needs name"},
		"no currency":    {mapping: strings.Replace(orders, `, "currency": "EUR"`, ``, 1), want: "currency"},
		"no lines":       {mapping: strings.Replace(orders, `"ordered": "{ordered}"`, `"ordered": "{ordered}", "warehouse": {"all": ["{id}"]}`, 1), want: "all is for sets"},
	} {
		t.Run(name, func(t *testing.T) {
			if change.mapping == "" {
				change.mapping = orders
			}
			m, err := importer.Parse([]byte(change.mapping))
			if err != nil {
				t.Fatal(err)
			}
			from := files(small()...)
			switch {
			case change.file != "" && change.content == "":
				delete(from, change.file)
			case change.file != "":
				from[change.file].Data = []byte(change.content)
			}
			w := newWorld(t, store.NewMem())
			rep, _, err := w.run(m, from)
			if err == nil || !strings.Contains(err.Error(), change.want) || rep != nil || w.batches > 0 {
				t.Errorf("%v, report %v, %d batches", err, rep, w.batches)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	ok := `{"sources": {"a": {"files": ["a.csv"]}}, "rules": [{"from": "a", "type": "carrier", "id": "carrier-{id}", "fields": {"name": "{name}"}}]}`
	if _, err := importer.Parse([]byte(ok)); err != nil {
		t.Fatal(err)
	}
	for _, c := range [][3]string{
		{`"from"`, `"frm"`, "unknown_field"},
		{`"from": "a"`, `"from": "b"`, `no source "b"`},
		{`["a.csv"]`, `["../a.csv"]`, "without folders"},
		{`["a.csv"]`, `["a.csv"], "encoding": "cp437"`, "encoding"},
		{`{name}`, `{name`, "not closed"},
		{`{name}`, `name}`, "closes nothing"},
		{`{name}`, `{}`, "is no column"},
		{`{name}`, `{name|shout}`, "no function"},
		{`{name}`, `{name|pad}`, "wrong argument"},
		{`{name}`, `{name|hash:99}`, "wrong number"},
		{`{name}`, `{name|map:x}`, "no value map"},
		{`{name}`, `{b.name}`, "nothing is looked up"},
		{`"{name}"`, `{"value": "{name}", "map": "x"}`, "no value map"},
		{`"{name}"`, `{"value": "{name}", "first": ["{a}"]}`, "one of value"},
		{`"{name}"`, `{"value": "{name}", "notBefore": "x"}`, "no field of the rule"},
		{`"{name}"`, `{"value": "{name}", "notBefore": "name"}`, "circle"},
		{`"{name}"`, `null`, "empty"},
		{`"type": "carrier"`, `"type": "carrier", "reject": "why"`, "makes nothing"},
		{`"type": "carrier"`, `"type": "carrier", "keep": "both"`, "keep"},
		{`"type": "carrier"`, `"type": "carrier", "when": [{"value": "{x}"}]`, "condition"},
		{`"sources"`, `"timeZone": "Mars/Olympus", "sources"`, "unknown time zone"},
		{`"sources"`, `"timeZone": "Local", "sources"`, "IANA"},
		{`"sources"`, `"maps": {"m": {"A": "1", "a ": "2"}}, "sources"`, "stands twice"},
	} {
		text := strings.Replace(ok, c[0], c[1], 1)
		if _, err := importer.Parse([]byte(text)); err == nil || !strings.Contains(err.Error()+code(err), c[2]) {
			t.Errorf("%s: %v, want %s", text, err, c[2])
		}
	}
	if _, err := importer.Load("nothing-of-the-kind"); err == nil || !strings.Contains(err.Error(), "adventureworks, stlouis-csb") {
		t.Errorf("%v", err)
	}
}

// TestStops: an error of the tenant ends the import with what was done, the
// rejects are written all the same, and the next run goes on.
func TestStops(t *testing.T) {
	m, err := importer.Parse([]byte(orders))
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, store.NewMem())
	broken := errors.New("disk full")
	w.fail = func(n int) error {
		if n == 2 {
			return broken
		}
		return nil
	}
	rep, rejects, err := w.run(m, files(small()...))
	if !errors.Is(err, broken) || rep == nil || rep.Rules[0].Created != 1 || !strings.Contains(rejects, "supplier.csv,3") {
		t.Fatalf("%v %+v", err, rep)
	}
	w.fail = nil
	rep, _, err = w.run(m, files(small()...))
	if err != nil || rep.Rules[0].Same != 1 || rep.Rules[1].Created != 2 {
		t.Errorf("%v %+v", err, rep)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err = importer.Run(ctx, importer.Options{Mapping: m, Catalogue: catalogue(t), From: files(small()...), To: w, Rejects: io.Discard}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	// An answer that doesn't fit what was sent is no result.
	for _, res := range []apply.ImportCount{{}, {Same: 9}, {Rejected: []apply.Rejection{{Index: 7}}}} {
		to := importer.SubmitFunc(func(context.Context, *command.Import) (apply.ImportCount, error) { return res, nil })
		if _, err = importer.Run(context.Background(), importer.Options{Mapping: m, Catalogue: catalogue(t), From: files(small()...), To: to, Rejects: io.Discard}); err == nil {
			t.Errorf("%+v was believed", res)
		}
	}
}

func TestProgress(t *testing.T) {
	m, err := importer.Parse([]byte(orders))
	if err != nil {
		t.Fatal(err)
	}
	last, total := 0, 0
	w := newWorld(t, store.NewMem())
	_, err = importer.Run(context.Background(), importer.Options{
		Mapping: m, Catalogue: catalogue(t), From: files(small()...), To: w, Rejects: io.Discard,
		Progress: func(done, all int, label string) {
			if done < last || done > all || label == "" {
				t.Errorf("%d of %d, %s", done, all, label)
			}
			last, total = done, all
		},
	})
	if err != nil || last != total || total != 11 {
		t.Errorf("%v, ended at %d of %d", err, last, total)
	}
}

// code returns the stable code of a refusal of the mapping's JSON.
func code(err error) string { return string(fault.Of(err).Code) }

// TestNamesThatPretend: a row with characters that turn the direction of a name
// goes to the rejects, and the rows around it are taken.
func TestNamesThatPretend(t *testing.T) {
	m, err := importer.Parse([]byte(strings.Replace(orders, `"encoding": "iso-8859-1"`, `"encoding": "utf-8"`, 1)))
	if err != nil {
		t.Fatal(err)
	}
	kv := small()
	kv[1] = "id,name,pref,days,tel,tel2\n1,One,1,,,\n2,Two \u202eowT,1,,,\n3,Ca\u0085fe,1,,,\n4,\u0646\u0648\u0631 (4)\u200f,1,,,\n"
	w := newWorld(t, store.NewMem())
	_, rejects, err := w.run(m, files(kv...))
	if err != nil {
		t.Fatal(err)
	}
	w.want("supplier-1", "name", "One")
	w.want("supplier-4", "name", "\u0646\u0648\u0631 (4)\u200f")
	for _, line := range []string{`supplier.csv,3,"supplier supplier-2, name: name has a character that can't be stored. (bad_value)"`, `supplier.csv,4,"supplier supplier-3, name: `} {
		if !strings.Contains(rejects, "\n"+line) {
			t.Errorf("no reject %q in\n%s", line, rejects)
		}
	}
}
