package rest_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"satchel/internal/command"
	"satchel/internal/ident"
	"satchel/internal/testworld"
)

const reports = "/v1/admin/reports"

func report(t *testing.T, w *world, kv ...any) string {
	t.Helper()
	return w.HTTP(testworld.Admin, "POST", reports, testworld.Object(kv...)).Want(t, 201, "").Object(t)["id"].(string)
}

// TestReports: a report runs over what its runner may see, and no more.
func TestReports(t *testing.T) {
	w := newWorld(t)
	w.Import(
		testworld.Row("timeEntry", "time-x-1", "activity", "act-acme-2", "kind", "travel", "start", "2026-03-02T08:00:00Z"),
		testworld.Row("partUsed", "part-x-01", "activity", "act-acme-2", "product", "product-pump", "quantity", 5),
	)
	parts := report(t, w, "name", "Parts", "app", "service", "entityType", "partUsed", "groupBy", []string{"product"},
		"totals", []string{"sum:quantity", "avg:quantity", "max:quantity"})
	run := func(who ident.RecordID, id, query string) string {
		res := w.HTTP(who, "GET", reports+"/"+id+"/result"+query, nil).Want(t, 200, "")
		return strings.TrimSpace(string(res.Body))
	}
	want := func(who ident.RecordID, id, want string) {
		t.Helper()
		if got := run(who, id, ""); got != want {
			t.Errorf("%s gets\n%s\nnot\n%s", who, got, want)
		}
	}
	want(testworld.Manager, parts, `{"groups":[`+
		`{"by":{"product":"product-pump"},"count":1,"totals":{"avg:quantity":5,"max:quantity":5,"sum:quantity":5}},`+
		`{"by":{"product":"product-seal"},"count":4,"totals":{"avg:quantity":2,"max:quantity":2,"sum:quantity":8}}],`+
		`"total":{"count":5,"totals":{"avg:quantity":2.6,"max:quantity":5,"sum:quantity":13}}}`)
	// A client less, and an engineer's own alone.
	want(testworld.Blind, parts, `{"groups":[`+
		`{"by":{"product":"product-pump"},"count":1,"totals":{"avg:quantity":5,"max:quantity":5,"sum:quantity":5}},`+
		`{"by":{"product":"product-seal"},"count":3,"totals":{"avg:quantity":2,"max:quantity":2,"sum:quantity":6}}],`+
		`"total":{"count":4,"totals":{"avg:quantity":2.75,"max:quantity":5,"sum:quantity":11}}}`)
	want(testworld.Colleague, parts, `{"groups":[{"by":{"product":"product-seal"},"count":1,"totals":{"avg:quantity":2,"max:quantity":2,"sum:quantity":2}}],`+
		`"total":{"count":1,"totals":{"avg:quantity":2,"max:quantity":2,"sum:quantity":2}}}`)
	// Without the type there is no report of it; a report is not for outsiders.
	w.HTTP(testworld.Nobody, "GET", reports+"/"+parts+"/result", nil).Want(t, 403, "not_allowed")
	w.HTTP(testworld.Staff, "GET", reports+"/"+parts+"/result", nil).Want(t, 404, "not_found")
	// The tables.
	if got := run(testworld.Manager, parts, "?format=csv&bom=false"); got != strings.Join([]string{
		"product,count,avg:quantity,max:quantity,sum:quantity", "product-pump,1,5,5,5", "product-seal,4,2,2,8", ",5,2.6,5,13",
	}, "\r\n") {
		t.Errorf("%s", got)
	}
	if got := run(testworld.Manager, parts, "?format=csv&bom=false&names=true"); got != strings.Join([]string{
		"product,product.name,count,avg:quantity,max:quantity,sum:quantity", "product-pump,Pump,1,5,5,5", "product-seal,Seal,4,2,2,8", ",,5,2.6,5,13",
	}, "\r\n") {
		t.Errorf("%s", got)
	}
	if got := run(testworld.Manager, parts, "?names=true"); !strings.HasPrefix(got, `{"groups":[{"by":{"product":"product-pump"},"names":{"product":"Pump"},"count":1,`) {
		t.Errorf("%s", got)
	}
	w.HTTP(testworld.Manager, "GET", reports+"/"+parts+"/result?names=maybe", nil).Want(t, 400, "bad_parameter")
	w.HTTP(testworld.Manager, "GET", reports+"/"+parts+"/result?format=xlsx", nil).Want(t, 200, "")
	w.HTTP(testworld.Manager, "GET", reports+"/"+parts+"/result?format=pdf", nil).Want(t, 400, "bad_parameter")

	// Instants by month, a filter, nothing grouped.
	w.Import(testworld.Row("timeEntry", "time-x-2", "activity", "act-acme-2", "kind", "travel", "start", "2026-04-01T00:30:00Z"))
	months := report(t, w, "name", "Months", "app", "service", "entityType", "timeEntry", "groupBy", []string{"start:month", "kind"}, "filter", "activity ne act-dune-1")
	want(testworld.Blind, months, `{"groups":[{"by":{"kind":"work","start:month":"2026-03"},"count":2},`+
		`{"by":{"kind":"travel","start:month":"2026-03"},"count":1},{"by":{"kind":"travel","start:month":"2026-04"},"count":1}],"total":{"count":4}}`)
	none := report(t, w, "name", "None", "app", "service", "entityType", "job", "filter", "title contains nowhere", "totals", []string{"min:reported"})
	want(testworld.Manager, none, `{"groups":[],"total":{"count":0,"totals":{"min:reported":null}}}`)
}

// TestReportsAddMoneyByCurrency, and count what a reader does not see as none.
func TestReportsAddMoneyByCurrency(t *testing.T) {
	w := newWorld(t)
	var rs []command.Row
	for i, m := range []string{`{"amount":1000,"currency":"EUR"}`, `{"amount":250,"currency":"EUR"}`, `{"amount":-30,"currency":"CHF"}`} {
		rs = append(rs, testworld.Row("client", ident.RecordID(fmt.Sprintf("client-m-%d", i)), "name", "M", "salesArea", "area-north", "creditLimit", json.RawMessage(m)))
	}
	w.Import(rs...)
	id := report(t, w, "name", "Limits", "app", "debtors", "entityType", "client", "filter", "name eq M", "totals", []string{"sum:creditLimit", "min:creditLimit", "avg:creditLimit"})
	got := strings.TrimSpace(string(w.HTTP(testworld.Admin, "GET", reports+"/"+id+"/result", nil).Want(t, 200, "").Body))
	if got != `{"groups":[],"total":{"count":3,"totals":{"avg:creditLimit":{"CHF":-30,"EUR":625},"min:creditLimit":{"CHF":-30,"EUR":250},"sum:creditLimit":{"CHF":-30,"EUR":1250}}}}` {
		t.Errorf("%s", got)
	}
	got = strings.TrimSpace(string(w.HTTP(testworld.Admin, "GET", reports+"/"+id+"/result?format=csv&bom=false", nil).Want(t, 200, "").Body))
	if got != "count,avg:creditLimit CHF,avg:creditLimit EUR,min:creditLimit CHF,min:creditLimit EUR,sum:creditLimit CHF,sum:creditLimit EUR\r\n3,-0.3,6.25,-0.3,2.5,-0.3,12.5" {
		t.Errorf("%s", got)
	}
	// The field belongs to Debtors: to Service it is not there.
	w.HTTP(testworld.Manager, "GET", reports+"/"+id+"/result", nil).Want(t, 400, "unknown_field")
}

func TestBadReportsAreRefused(t *testing.T) {
	w := newWorld(t)
	for _, c := range [][]any{
		{"entityType", "nosuch"},
		{"entityType", "ticket"}, // not Service's
		{"entityType", "job", "groupBy", []string{"nosuch"}},
		{"entityType", "job", "groupBy", []string{"description"}},
		{"entityType", "job", "groupBy", []string{"status:month"}},
		{"entityType", "job", "groupBy", []string{"due:week"}},
		{"entityType", "job", "totals", []string{"count"}},
		{"entityType", "job", "totals", []string{"sum:title"}},
		{"entityType", "job", "totals", []string{"median:due"}},
		{"entityType", "job", "filter", "status is Open"},
	} {
		res := w.HTTP(testworld.Admin, "POST", reports, testworld.Object(append([]any{"name", "Bad", "app", "service"}, c...)...))
		if res.Status != 422 || res.Code() != "bad_value" {
			t.Errorf("%v: %d %s", c, res.Status, res.Body)
		}
	}
	// Only customer administrators make reports.
	w.HTTP(testworld.Manager, "POST", reports, testworld.Object("name", "Mine", "app", "service", "entityType", "job")).Want(t, 403, "not_allowed")
}
