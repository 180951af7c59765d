package apply_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"satchel/internal/command"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/server/suite"
	"satchel/sync/apply"
	"satchel/sync/oplog"
	"satchel/sync/outbox"
	"satchel/sync/state"
	"satchel/sync/store"
)

// counted is an engine that counts what is read in it: looked up rows, and
// rows passed over by scans.
type counted struct {
	store.Engine
	reads map[store.Bucket]int
}

func (c *counted) Update(f func(store.Writer) error) error {
	return c.Engine.Update(func(w store.Writer) error { return f(&countedWriter{w, c}) })
}

func (c *counted) Snapshot() (store.Snapshot, error) {
	s, err := c.Engine.Snapshot()
	return &countedSnapshot{s, c}, err
}

// take returns how many rows were read since it was last called, and of which
// buckets. Of the trail the last row is found from the end, which this engine
// can't do.
func (c *counted) take() (n int, of string) {
	delete(c.reads, store.Audit)
	for _, b := range slices.Sorted(maps.Keys(c.reads)) {
		n += c.reads[b]
		of += fmt.Sprint(" ", b, ":", c.reads[b])
	}
	c.reads = map[store.Bucket]int{}
	return n, of
}

func (c *counted) scanned(b store.Bucket, f func(k, v []byte) bool) func(k, v []byte) bool {
	c.reads[b]++
	return func(k, v []byte) bool { c.reads[b]++; return f(k, v) }
}

type countedWriter struct {
	store.Writer
	c *counted
}

func (w *countedWriter) Get(b store.Bucket, k []byte) []byte {
	w.c.reads[b]++
	return w.Writer.Get(b, k)
}

func (w *countedWriter) Scan(b store.Bucket, from []byte, f func(k, v []byte) bool) {
	w.Writer.Scan(b, from, w.c.scanned(b, f))
}

type countedSnapshot struct {
	store.Snapshot
	c *counted
}

func (s *countedSnapshot) Get(b store.Bucket, k []byte) []byte {
	s.c.reads[b]++
	return s.Snapshot.Get(b, k)
}

func (s *countedSnapshot) Scan(b store.Bucket, from []byte, f func(k, v []byte) bool) {
	s.Snapshot.Scan(b, from, s.c.scanned(b, f))
}

// crowd is a tenant with so many sales representatives, each with a live device
// that holds all that they may see, and an area that none of them has. Somebody
// names each of them.
func crowd(t *testing.T, n int) (*world, *counted, []*phone) {
	t.Helper()
	eng := &counted{store.NewMem(), map[store.Bucket]int{}}
	all, err := suite.Load()
	if err != nil {
		t.Fatal(err)
	}
	w := fieldOn(t, eng, all.Rules)
	rs := []command.Row{row("salesArea", "area-east", "name", "East"), row("client", "client-east", "name", "East", "salesArea", "area-east"), row("client", "client-share", "name", "Share", "salesArea", "area-south")}
	for i := range 20 {
		rs = append(rs, row("site", ident.RecordID(fmt.Sprintf("site-%05d", i)), "client", "client-share", "name", "Site"))
	}
	w.load(rs...)
	var phones []*phone
	for i := range n {
		who := ident.RecordID(fmt.Sprintf("emp-crowd-%05d", i))
		w.load(append(person(who, "service.sales-representative"),
			command.Row{Type: "employee", ID: who, Fields: values("salesAreas", `["area-north"]`)},
			row("job", ident.RecordID(fmt.Sprintf("job-crowd-%05d", i)), "client", "client-east", "title", "Boiler"),
			row("jobActivity", ident.RecordID(fmt.Sprintf("act-crowd-%05d", i)), "job", fmt.Sprintf("job-crowd-%05d", i), "title", "Visit", "assignee", string(who)))...)
		phones = append(phones, w.signIn(who, "i1"))
	}
	for _, p := range phones {
		p.sync()
		p.sync() // acknowledges
		w.m.Watch(apply.Watched{Device: p.id, Employee: p.who})
	}
	return w, eng, phones
}

// again opens the tenant anew: nothing is remembered.
func (w *world) again() {
	w.t.Helper()
	all, err := suite.Load()
	if err != nil {
		w.t.Fatal(err)
	}
	w.m = apply.New(apply.Config{Cat: w.cat, Roles: w.roles, Field: all.Field, Rules: all.Rules})
	w.m.OnCommit = func(_ oplog.Entry, res []apply.Result, _ apply.Effects) { w.res = res }
	if w.log, err = oplog.Open(w.eng, w.m, oplog.Options{}); err != nil {
		w.t.Fatal(err)
	}
	w.m.SetEpoch(w.log.Epoch())
}

// TestRightsOfFew: what is read to change somebody's rights, to find out which
// live devices that concerns, and to bring their own device what follows, does
// not depend on how many others there are with roles and devices; nor does
// a change that is refused cost the others anything later.
func TestRightsOfFew(t *testing.T) {
	type step struct {
		name string
		n    int
		of   string
	}
	measure := func(size int) (steps []step) {
		w, eng, phones := crowd(t, size)
		p := phones[size/2]
		var eff apply.Effects
		on := func() {
			w.m.OnCommit = func(_ oplog.Entry, res []apply.Result, e apply.Effects) { w.res, eff = res, e }
		}
		on()
		note := func(name string) {
			n, of := eng.take()
			steps = append(steps, step{name, n, of})
		}
		areas := func(list string) *command.Command {
			return write("emp-ada-1", command.Write{Op: "patch", Type: "employee", ID: p.who, App: "admin", Fields: values("salesAreas", list)})
		}
		change := func(name, list string, sent, removed int) {
			t.Helper()
			eng.take()
			w.ok(areas(list))
			note(name)
			var named []ident.DeviceID
			w.reader(func(rd *state.Reader) {
				w.m.Rest(rd.KV())
				defer w.m.Leave()
				w.m.TouchedWatched(eff, func(id ident.DeviceID) { named = append(named, id) })
			})
			note(name + ", who is concerned")
			if len(named) > 3 || !slices.Contains(named, p.id) && name != "given anew" {
				t.Errorf("%d live people, %s: %d devices are concerned", size, name, len(named))
			}
			s, r := p.sync()
			note(name + ", what follows")
			if len(s) < sent || len(r) < removed {
				t.Fatalf("%s: %d came, %d left", name, len(s), len(r))
			}
		}
		change("given", `["area-north","area-south"]`, 21, 0)
		change("taken", `["area-north"]`, 0, 21)
		w.ok(areas(`["area-north"]`))
		others := func(name string) {
			for _, q := range phones[:5] {
				q.sync()
			}
			note(name)
		}
		others("others")
		others("others again")
		w.refused(fault.LastAdministrator, write("emp-ada-1", command.Write{Op: "action", Type: "employee", ID: "emp-ada-1", Action: "disable"}))
		note("refused, all roles read once")
		w.refused(fault.LastAdministrator, write("emp-ada-1", command.Write{Op: "action", Type: "employee", ID: "emp-ada-1", Action: "disable"}))
		note("refused")
		others("others after that")
		if made, refused := steps[len(steps)-5].n, steps[len(steps)-1].n; refused > made {
			t.Errorf("%d rows are read for others after somebody's rights changed, %d after that was refused", made, refused)
		}
		w.again()
		on()
		change("given anew", `["area-north","area-south"]`, 21, 0)
		return steps
	}
	few, many := measure(10), measure(150)
	for i, f := range few {
		m := many[i]
		t.Logf("%-32s %5d %5d", f.name, f.n, m.n)
		if f.name != "refused, all roles read once" && m.n > f.n+10 {
			t.Errorf("%s: %d rows are read with 10 people, %d with 150:\n%s\n%s", f.name, f.n, m.n, f.of, m.of)
		}
	}
}

// TestHoldersOfUndoneRoles: who is told as an administrator is one: also after a
// change of roles that was taken back, whether roles were read before or in its
// midst.
func TestHoldersOfUndoneRoles(t *testing.T) {
	w := ruled(t)
	role := w.referring("roleAssignment", "employee", "emp-ada-1")[0]
	told := func() (people []ident.RecordID) {
		w.reader(func(rd *state.Reader) {
			outbox.Each(rd.KV(), func(in outbox.Intent) bool {
				if in.Event == outbox.LastAdmin {
					people = append(people, in.Person)
				}
				return true
			})
		})
		return people
	}
	for n := range 3 {
		w.refused(fault.LastAdministrator, write("emp-ada-1", command.Write{Op: "delete", Type: "roleAssignment", ID: role}))
		if got := told(); len(got) != n+1 || got[n] != "emp-ada-1" {
			t.Fatalf("%d changes were tried, told are %v", n+1, got)
		}
	}
}
