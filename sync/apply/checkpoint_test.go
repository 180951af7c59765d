package apply_test

import (
	"fmt"
	"testing"

	"satchel/internal/command"
	"satchel/sync/apply"
	"satchel/sync/oplog"
	"satchel/sync/wire"
)

// TestForeignCheckpoints: a checkpoint is its device's own. From anybody else's,
// another device's of the same person among them, everything is sent anew.
func TestForeignCheckpoints(t *testing.T) {
	w := field(t)
	one, two, other := w.signIn("emp-eng-1", "i1"), w.login("emp-eng-1", "i2"), w.signIn("emp-mgr-1", "i3")
	for _, p := range []*phone{one, two, other} {
		p.sync()
		if pg := p.pull(); pg.Reset { // each is known by now to be its device's
			t.Fatalf("%s begins anew from its own", p.id)
		}
	}
	for _, from := range []*phone{two, other} {
		if from.cp == one.cp {
			t.Fatal("two devices have one checkpoint")
		}
		c := one.pulling(command.Pull{})
		c.Pull.Checkpoint = from.cp
		own := one.cp
		if pg := one.page(w.do(c)); !pg.Reset || pg.ResetTypes != nil {
			t.Errorf("from the checkpoint of %s: reset %v, %d records", from.id, pg.Reset, len(pg.Records))
		}
		if sent, _ := one.sync(); one.cp == own || len(sent) != 0 {
			t.Errorf("after the reset: %v", sent)
		}
	}
	// Its own is good still.
	w.load(row("jobActivity", "act-one-1", "title", "Later"))
	if pg := one.pull(); pg.Reset || len(pg.Records) != 1 {
		t.Errorf("from its own: reset %v, %d records", pg.Reset, len(pg.Records))
	}
}

// TestCheckpointsOfAnotherEpoch: a server that was restored takes no checkpoint
// from before for one of its own, though it gave out pages of the same numbers.
func TestCheckpointsOfAnotherEpoch(t *testing.T) {
	w := field(t)
	p := w.signIn("emp-eng-1", "i1")
	p.sync()
	if pg := p.pull(); pg.Reset { // it is known by now to be its own
		t.Fatal("from its own it begins anew")
	}
	if err := w.log.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := oplog.BumpEpoch(w.eng, w.now, 0); err != nil {
		t.Fatal(err)
	}
	var err error
	if w.log, err = oplog.Open(w.eng, w.m, oplog.Options{}); err != nil {
		t.Fatal(err)
	}
	w.m.SetEpoch(w.log.Epoch())
	if pg := p.pull(); !pg.Reset || pg.ResetTypes != nil {
		t.Errorf("reset %v, %d records", pg.Reset, len(pg.Records))
	}
}

// afoot is a server's run, as a phone meets it.
type afoot struct {
	*phone
	ahead *apply.Ahead
}

// get pulls from a checkpoint, and returns the page with the checkpoints by which
// the phone knows it, and whether it was stored.
func (a *afoot) get(from string) (pg wire.Page, stored bool) {
	a.w.t.Helper()
	c := a.cmd()
	c.Pull = &command.Pull{Checkpoint: from}
	asked := a.ahead.Before(c)
	res := a.w.do(c)
	if res.Err != nil {
		a.w.t.Fatal(res.Err)
	}
	a.ahead.After(a.id, asked, res.Page)
	pg = a.page(res)
	if pg.From != from {
		a.w.t.Errorf("asked from %q, answered from %q", from, pg.From)
	}
	return pg, !res.Page.Ahead && !res.Page.Empty()
}

// titles are those of a page's records.
func titles(pg wire.Page) (out []string) {
	for _, r := range pg.Records {
		out = append(out, string(r.Fields["title"]))
	}
	return out
}

// TestAhead: pages of updates are not stored, and whoever did not have one, or
// comes from another run, gets what it brought once more.
func TestAhead(t *testing.T) {
	w := field(t)
	p := &afoot{w.signIn("emp-eng-1", "i1"), apply.NewAhead([32]byte{1})}
	p.sync()
	base := p.cp
	rename := func(title string) { w.load(row("jobActivity", "act-one-1", "title", title)) }
	// gets pulls and looks for one record of a title, on a page that is not stored.
	gets := func(from, title string) string {
		t.Helper()
		pg, stored := p.get(from)
		if got := titles(pg); stored || len(got) != 1 || got[0] != `"`+title+`"` || pg.Checkpoint == from {
			t.Fatalf("from %q: %v, stored %v", from, got, stored)
		}
		return pg.Checkpoint
	}
	rests := func(from string) {
		t.Helper()
		if pg, _ := p.get(from); len(pg.Records) != 0 || pg.Checkpoint != from || pg.Reset {
			t.Fatalf("from %q: %v, reset %v", from, titles(pg), pg.Reset)
		}
	}
	rests(base)
	rename("First")
	one := gets(base, "First")
	again := gets(base, "First") // the answer was lost
	if one == again {
		t.Fatal("two pages have one checkpoint")
	}
	rests(again)
	rename("Second")
	two := gets(again, "Second")
	rests(two)
	// A copy of the phone that has less, and one that has a page whose number is
	// remembered no more.
	gets(one, "Second")
	gets(base, "Second")
	rests(gets(again, "Second"))
	if tampered := two[:len(two)-1] + "x"; gets(tampered, "Second") == tampered {
		t.Fatal("a tag that is none")
	}
	p.ahead = apply.NewAhead([32]byte{2}) // a restart
	rests(gets(two, "Second"))
	// What more than updates is stored, from wherever it is asked.
	at := gets(two, "Second")
	w.load(row("jobActivity", "act-new-1", "title", "New", "job", "job-one-1", "assignee", "emp-eng-1"))
	pg, stored := p.get(at)
	if !stored || len(pg.Records) == 0 || pg.Reset {
		t.Fatalf("an arrival: %v, stored %v, reset %v", titles(pg), stored, pg.Reset)
	}
	rests(pg.Checkpoint)
}

// TestAheadIsBounded: after so many records a page is stored, so that no restart
// sends more than that once more.
func TestAheadIsBounded(t *testing.T) {
	w := field(t)
	p := &afoot{w.signIn("emp-eng-1", "i1"), apply.NewAhead([32]byte{1})}
	p.sync()
	p.get(p.cp) // says that it has them
	n := 0
	for at := p.cp; ; n++ {
		w.load(row("jobActivity", "act-one-1", "title", fmt.Sprint("Title ", n)))
		pg, stored := p.get(at)
		if stored {
			break
		}
		if at = pg.Checkpoint; n > 200 {
			t.Fatal("no page is ever stored")
		}
	}
	if n != 64 {
		t.Errorf("%d pages were not stored", n)
	}
}
