package importer_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"satchel/server/importer"
	"satchel/sync/store"
)

// TestFullSets loads the full data sets into a store on disk, with its
// commits made durable, twice.
func TestFullSets(t *testing.T) {
	for _, c := range []struct {
		set     string
		created map[string]int
		limit   time.Duration
	}{
		{"adventureworks", map[string]int{
			"salesArea": 10, "geoArea": 181, "employee": 290, "client": 19185, "contact": 635, "supplier": 104, "site": 19220,
			"product": 504, "warehouse": 14, "stockLevel": 1069, "carrier": 5, "purchaseOrder": 4012,
		}, 20 * time.Second},
		{"stlouis-csb", map[string]int{
			"salesArea": 28, "geoArea": 85, "employee": 34, "serviceAgent": 34, "client": 4135, "ticket": 4372, "job": 4372, "jobActivity": 4372,
		}, 20 * time.Second},
	} {
		t.Run(c.set, func(t *testing.T) {
			from := shared(t, c.set)
			engine, err := store.OpenBolt(filepath.Join(t.TempDir(), "tenant.db"), store.Options{})
			if err != nil {
				t.Fatal(err)
			}
			w := newWorld(t, engine)
			began := time.Now()
			first, rejects, err := w.run(load(t, c.set), from)
			took := time.Since(began)
			if err != nil {
				t.Fatalf("%v %+v", err, first)
			}
			t.Logf("%d batches, %v", w.batches, took)
			for _, r := range first.Rules {
				t.Logf("%+v", r)
			}
			for _, s := range first.Sources {
				t.Logf("%+v", s)
			}
			t.Logf("notes %d, rejects %d, unread %v", len(first.Notes), first.Rejected, first.Unread)
			if lines := strings.Split(rejects, "\n"); len(lines) > 3 {
				t.Logf("%s", strings.Join(lines[:4], "\n"))
			}
			if took > c.limit {
				t.Errorf("took %v", took)
			}
			got := map[string]importer.TypeCount{}
			for _, x := range first.Types {
				got[x.Type] = x
				t.Logf("%+v", x)
			}
			for typ, n := range c.created {
				if got[typ].Created != n || got[typ].Changed+got[typ].Rejected != 0 {
					t.Errorf("%s: %+v, want %d", typ, got[typ], n)
				}
			}
			began = time.Now()
			second, again, err := w.run(load(t, c.set), from)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("second run %v", time.Since(began))
			for _, r := range second.Rules {
				if r.Created+r.Changed > 0 {
					t.Errorf("a second run changes something: %+v", r)
				}
			}
			if again != rejects {
				t.Error("a second run rejects other rows")
			}
		})
	}
}
