package rest

import (
	"fmt"
	"testing"

	"satchel/internal/command"
	"satchel/internal/ident"
	"satchel/internal/testworld"
	"satchel/sync/tenant"
)

// TestAuditReadsABoundedPart: a page ends where enough was read, with a cursor,
// and what is hidden from the reader does not count.
func TestAuditReadsABoundedPart(t *testing.T) {
	var bounded [2]int
	for i, jobs := range [][]string{{"job-acme-1"}, {"job-acme-1", "job-blue-1"}} {
		w := testworld.New(t)
		w.Person("emp-half-admin", "level.customer-administrator")
		w.Hide("emp-half-admin", testworld.Blue)
		for n := range 30 {
			for _, job := range jobs {
				w.Do(&command.Command{Actor: testworld.Manager, Write: &command.Write{
					Op: "patch", Type: "job", ID: ident.RecordID(job), Fields: testworld.Object("title", fmt.Sprint(n)),
				}})
			}
		}
		pages := func(examined, passed int) (n, rows int) {
			g := paging{limit: maxLimit, sealer: newSealer([32]byte{1}), binding: "x"}
			for {
				n++
				out := auditPage{}
				if err := w.Tenant.Read(func(v *tenant.View) error {
					q := auditQuery{actor: string(testworld.Manager), typ: v.Cat.Type("job"), from: 1, examined: examined, passed: passed}
					return readAudit(v, v.Subject("emp-half-admin"), &q, &g, &out)
				}); err != nil {
					t.Fatal(err)
				}
				if rows += len(out.Items); out.Next == "" || n > 10_000 {
					return n, rows
				}
				raw, err := g.sealer.open(out.Next, g.binding)
				if err != nil {
					t.Fatal(err)
				}
				g.after = string(raw)
			}
		}
		if n, rows := pages(1<<20, 1<<20); n != 1 || rows != 30 {
			t.Errorf("%d pages, %d rows", n, rows)
		}
		n, rows := pages(10, 1<<20)
		if bounded[i] = n; n < 10 || rows != 30 {
			t.Errorf("%d pages, %d rows", n, rows)
		}
		if n, rows := pages(1<<20, 7); n < 20 || rows != 30 {
			t.Errorf("%d pages, %d rows", n, rows)
		}
	}
	if bounded[0] != bounded[1] {
		t.Errorf("what is hidden makes %d pages of %d", bounded[1], bounded[0])
	}
}
