package apply_test

import (
	"fmt"
	"slices"
	"testing"

	"satchel/internal/command"
	"satchel/internal/ident"
)

// TestDayFirst: a new field device gets the work of the day that it is where its
// person is, and what that work needs, on a page of its own; the rest follows. It
// does so in pages of a few records too. Where little else is to come, it is one
// page.
func TestDayFirst(t *testing.T) {
	const hour, far = 60 * 60 * 1000, 60
	w := field(t)
	visit := func(name string, in ident.Millis) []command.Row {
		id := func(of string) string { return of + "-" + name }
		return []command.Row{
			row("client", ident.RecordID(id("client")), "name", name, "salesArea", "area-south"), row("site", ident.RecordID(id("site")), "client", id("client"), "name", name),
			row("contact", ident.RecordID(id("contact")), "client", id("client"), "site", id("site"), "name", name),
			row("product", ident.RecordID(id("product")), "name", name), row("asset", ident.RecordID(id("asset")), "client", id("client"), "name", name, "product", id("product")),
			row("job", ident.RecordID(id("job")), "client", id("client"), "title", name, "site", id("site"), "asset", id("asset")),
			row("jobActivity", ident.RecordID(id("act")), "job", id("job"), "title", name, "assignee", "emp-eng-1",
				"scheduledStart", (w.now + in).RFC3339(), "scheduledEnd", (w.now + in + hour).RFC3339()),
			row("comment", ident.RecordID(id("comment")), "parent", id("act"), "text", name),
		}
	}
	w.load(visit("morning", -20*hour)...) // of the same day, far in the west
	w.load(visit("evening", 20*hour)...)
	little := w.signIn("emp-eng-1", "i1")
	if pg := little.page(w.ok(little.pulling(command.Pull{Profile: "field"}))); pg.More || pg.Complete == nil {
		t.Fatalf("%d records come in pages", len(pg.Records))
	}
	for n := range far {
		w.load(visit(fmt.Sprintf("later%d", n), ident.Millis(25+n)*hour)...)
	}
	day := []string{"emp-eng-1", "area-north", "area-south"}
	for _, name := range []string{"morning", "evening"} {
		for _, of := range []string{"client", "site", "contact", "product", "asset", "job", "act", "comment"} {
			day = append(day, of+"-"+name)
		}
	}
	for _, c := range []string{"one", "two"} { // without a schedule
		day = append(day, "client-"+c, "job-"+c+"-1", "act-"+c+"-1")
	}
	for i, limit := range []int{0, 10, 1} {
		p := w.login("emp-eng-1", fmt.Sprintf("phone-%d", i))
		got := map[string]bool{}
		pages := 0
		for slices.ContainsFunc(day, func(id string) bool { return !got[id] }) {
			pg := p.page(w.ok(p.pulling(command.Pull{Profile: "field", Limit: limit})))
			if !pg.More || pg.Complete != nil {
				t.Fatalf("limit %d: all is there after %d records", limit, len(got))
			}
			other := ""
			for _, r := range pg.Records {
				got[r.ID] = true
				switch of := slices.Contains(day, r.ID) || r.Type == "employee"; {
				case !of:
					other = r.ID
				case other != "":
					t.Errorf("limit %d: %s comes before %s of the day", limit, other, r.ID)
				}
			}
			if other != "" && limit == 0 {
				t.Errorf("%s is on the day's page", other)
			}
			pages++
		}
		if limit == 0 && pages != 1 {
			t.Errorf("the day takes %d pages", pages)
		}
		sent, _ := p.sync()
		if !sent["act-later0"] || sent["act-morning"] {
			t.Errorf("limit %d: what follows is %d records", limit, len(sent))
		}
	}
	office := w.login("emp-eng-1", "desk")
	if pg := office.page(w.ok(office.pulling(command.Pull{}))); pg.More {
		t.Error("an office device gets its day apart")
	}
}
