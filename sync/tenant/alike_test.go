package tenant_test

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"satchel/internal/command"
	"satchel/internal/ident"
	"satchel/sync/apply"
	"satchel/sync/store"
	"satchel/sync/tenant"
	"satchel/sync/wire"
)

// TestAlike: devices that see the same change at the same time each get it whole,
// as a page of their own, and no state stays open for those who waited for
// another's encoding.
func TestAlike(t *testing.T) {
	bolt, err := store.OpenBolt(filepath.Join(t.TempDir(), "t.db"), store.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	eng := &counted{Engine: bolt}
	w := small(t, eng)
	w.person("emp-mgr-2", "service.manager")
	w.load(sites(300)...)
	var phones []*phone
	for i := range 12 {
		who := []ident.RecordID{"emp-mgr-1", "emp-mgr-2"}[i%2]
		phones = append(phones, w.login(who, fmt.Sprint("i", i), fmt.Sprint("s", i)))
	}
	for _, p := range phones { // each sees the others' devices
		p.sync("")
	}
	pulls := func(what func(int, *phone, tenant.Encoded, wire.Page)) {
		var all sync.WaitGroup
		for i, p := range phones {
			all.Go(func() {
				c := p.cmd()
				c.Pull = &command.Pull{Checkpoint: p.cp}
				told := apply.ToldSmall
				if i%3 == 0 {
					told = apply.ToldAll
				}
				e, err := w.ten.Pull(context.Background(), c, told)
				var pg wire.Page
				if err == nil {
					err = json.Unmarshal(e.JSON, &pg)
				}
				if err != nil {
					t.Error(err)
					return
				}
				if pg.From != p.cp || pg.Checkpoint != e.Checkpoint {
					t.Errorf("a page from %q to %q, of a device at %q that comes to %q", pg.From, pg.Checkpoint, p.cp, e.Checkpoint)
				}
				what(i, p, e, pg)
				p.cp = e.Checkpoint
			})
		}
		all.Wait()
	}
	for n := range 30 {
		name := fmt.Sprint("Boiler ", n)
		w.ok(title(name))
		pulls(func(i int, _ *phone, e tenant.Encoded, pg wire.Page) {
			if len(pg.Records) != 1 || string(pg.Records[0].Fields["title"]) != fmt.Sprintf("%q", name) || pg.Reset || e.More {
				t.Errorf("step %d, device %d: %.300s", n, i, e.JSON)
			}
			if all := len(pg.Complete.Types) > 2; all != (i%3 == 0) {
				t.Errorf("step %d, device %d: digests of %d types", n, i, len(pg.Complete.Types))
			}
		})
		if n%10 == 9 { // many come, in entries
			w.load(command.Row{Type: "site", ID: ident.RecordID(fmt.Sprintf("site-x-%04d", n)), Fields: obj("client", "client-one", "name", "Site")})
			pulls(func(i int, _ *phone, e tenant.Encoded, pg wire.Page) {
				if len(pg.Records) != 1 || pg.Records[0].Type != "site" {
					t.Errorf("step %d, device %d: %.300s", n, i, e.JSON)
				}
			})
			pulls(func(i int, _ *phone, e tenant.Encoded, _ wire.Page) {
				if !e.Empty {
					t.Errorf("step %d, device %d is not up to date: %.300s", n, i, e.JSON)
				}
			})
		}
	}
	if err := w.ten.Close(); err != nil {
		t.Fatal(err)
	}
	if n := eng.open.Load(); n != 0 {
		t.Errorf("%d snapshots are open", n)
	}
}

// TestAlikeDamaged: where the page that others wait for can't be encoded, nobody
// waits for ever.
func TestAlikeDamaged(t *testing.T) {
	eng := &counted{Engine: store.NewMem()}
	w := small(t, eng)
	w.load(sites(1_500)...)
	var phones []*phone
	for i := range 6 {
		phones = append(phones, w.login("emp-mgr-1", fmt.Sprint("i", i), fmt.Sprint("s", i)))
	}
	eng.swept.Store(1)
	eng.damaged.Store(true)
	var all sync.WaitGroup
	for _, p := range phones {
		all.Go(func() {
			if pg, err := p.pull(""); err == nil {
				t.Errorf("a page of %d records came from a damaged store", len(pg.Records))
			}
		})
	}
	all.Wait()
	if w.ten.Failed() == nil {
		t.Error("the tenant goes on")
	}
	_ = w.ten.Close()
	if n := eng.open.Load(); n != 0 {
		t.Errorf("%d snapshots are open", n)
	}
}
