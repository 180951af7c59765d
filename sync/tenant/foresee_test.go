package tenant_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"satchel/internal/command"
	"satchel/internal/ident"
	"satchel/sync/apply"
	"satchel/sync/store"
	"satchel/sync/tenant"
	"satchel/sync/wire"
)

// wide is a tenant of so many sites that a first sync takes several large pages.
func wide(t *testing.T) *world {
	return wideOn(t, func(e store.Engine) store.Engine { return e })
}

// wideOn is wide on an engine of its own over that of a file.
func wideOn(t *testing.T, over func(store.Engine) store.Engine) *world {
	bolt, err := store.OpenBolt(filepath.Join(t.TempDir(), "t.db"), store.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	w := small(t, over(bolt))
	all := sites(7_000)
	for len(all) > 0 {
		n := min(len(all), 2_500)
		w.load(all[:n]...)
		all = all[n:]
	}
	return w
}

// firstSync is the pages of a device's first sync as they were sent, while
// things happen in between: each with the same likelihood as nothing.
func firstSync(t *testing.T, seed uint64) (pages []string, foreseen uint64) {
	w := wide(t)
	w.person("emp-mgr-2", "service.manager")
	p := w.login("emp-mgr-2", "i1", "s1")
	rng := rand.New(rand.NewPCG(seed, 1))
	for n := 0; ; n++ {
		c := p.cmd()
		c.Pull = &command.Pull{Checkpoint: p.cp, Limit: 1_100}
		if n == 4 && rng.IntN(2) == 0 {
			c.Pull.Limit = 1_000
		}
		e, err := w.ten.Pull(context.Background(), c, apply.ToldAll)
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, string(e.JSON))
		if !e.More {
			break
		}
		if n > 40 {
			t.Fatal("it never ends")
		}
		if lost := rng.IntN(8) == 0; !lost {
			p.cp = e.Checkpoint
		}
		id := ident.RecordID(fmt.Sprintf("site-%06d", rng.IntN(7_000)))
		switch what := rng.IntN(10); {
		case seed == 0 || what > 4:
		case what == 0: // one that is still to come, or has come
			w.load(row("site", id, "client", "client-one", "name", fmt.Sprint("Other ", n)))
		case what == 1:
			_, _ = w.ten.Submit(context.Background(), write("emp-mgr-1", command.Write{Op: "delete", Type: "site", ID: id}))
		case what == 2: // they see others
			w.load(row("clientVisibility", "vis-mgr-2", "employee", "emp-mgr-2", "mode", "all-but"),
				row("visibilityRule", ident.RecordID(fmt.Sprintf("rule-%03d", n)), "visibility", "vis-mgr-2", "client", "client-one"))
		case what == 3:
			w.clock.add(24 * 60 * 60 * 1000 * 1_000_000)
		case what == 4: // another device, of which nothing depends
			w.login("emp-eng-1", fmt.Sprint("i", n), fmt.Sprint("x", n))
		}
	}
	return pages, w.ten.Stats.Foreseen.Load()
}

// TestForeseen: pages that were computed and encoded before they were asked for
// are those that would have been otherwise, byte for byte, whatever happens in
// between.
func TestForeseen(t *testing.T) {
	var foreseen uint64
	for seed := range uint64(6) {
		got, n := firstSync(t, seed)
		foreseen += n
		restore := tenant.Unforeseen()
		want, none := firstSync(t, seed)
		restore()
		if none != 0 {
			t.Fatalf("%d pages were foreseen nevertheless", none)
		}
		if seed == 0 && n == 0 {
			t.Error("nothing was foreseen of a sync that nothing disturbs")
		}
		if len(got) != len(want) {
			t.Fatalf("seed %d: %d pages, otherwise %d", seed, len(got), len(want))
		}
		for i := range got {
			if got[i] != want[i] {
				t.Fatalf("seed %d, page %d:\n%.300s\notherwise:\n%.300s", seed, i, got[i], want[i])
			}
		}
	}
	t.Logf("%d pages were foreseen", foreseen)
}

// TestForeseenIsOld: a page that was computed and encoded before what it brings
// changed is not sent.
func TestForeseenIsOld(t *testing.T) {
	w := wide(t)
	foreseen := 0
	for n := range 4 {
		p := w.login("emp-mgr-1", fmt.Sprint("i", n), fmt.Sprint("s", n))
		pull := func() (pg wire.Page) {
			c := p.cmd()
			c.Pull = &command.Pull{Checkpoint: p.cp, Limit: 1_100}
			e, err := w.ten.Pull(context.Background(), c, apply.ToldSmall)
			if err == nil {
				err = json.Unmarshal(e.JSON, &pg)
			}
			if err != nil {
				t.Fatal(err)
			}
			p.cp = e.Checkpoint
			return pg
		}
		pull()
		there := w.ten.Foresees(p.id)
		name := fmt.Sprint("Other ", n)
		var changed []command.Row
		for i := 0; i < 7_000; i += 50 {
			changed = append(changed, row("site", ident.RecordID(fmt.Sprintf("site-%06d", i)), "client", "client-one", "name", name))
		}
		w.load(changed...)
		fresh := 0
		for _, r := range pull().Records {
			if r.Type != "site" || number(ident.RecordID(r.ID))%50 != 0 {
				continue
			}
			if fresh++; string(r.Fields["name"]) != fmt.Sprintf("%q", name) {
				t.Fatalf("%s is %s after it was changed to %q", r.ID, r.Fields["name"], name)
			}
		}
		if there && fresh > 0 {
			foreseen++
		}
	}
	if foreseen == 0 {
		t.Error("no page was foreseen that had something changed")
	}
	if n := w.ten.Stats.Foreseen.Load(); n != 0 {
		t.Errorf("%d pages were sent as they were foreseen", n)
	}
}

// number is the number in a site's id.
func number(id ident.RecordID) (n int) {
	_, _ = fmt.Sscanf(string(id), "site-%d", &n)
	return n
}
