package apply_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"satchel/internal/command"
	"satchel/internal/ident"
	"satchel/sync/apply"
	"satchel/sync/state"
	"satchel/sync/store"
	"satchel/sync/wire"
)

// summed is what the lines of the records, sorted, hash to, by type.
func summed(records []wire.Record) map[string]wire.Summary {
	lines := map[string][]string{}
	for _, r := range records {
		lines[r.Type] = append(lines[r.Type], r.ID+"\x00"+r.Rev+"\n")
	}
	out := map[string]wire.Summary{}
	for typ, ls := range lines {
		slices.Sort(ls)
		h := sha256.Sum256([]byte(strings.Join(ls, "")))
		out[typ] = wire.Summary{Count: len(ls), Digest: hex.EncodeToString(h[:])}
	}
	return out
}

// many loads sites whose ids are alike in all ways that matter to sorting: random
// ones, numbered ones, and some that begin others.
func many(w *world, n int) {
	w.t.Helper()
	id := func(i int) ident.RecordID {
		switch h := sha256.Sum256(fmt.Append(nil, i)); i % 4 {
		case 0:
			return ident.NewRecordID([15]byte(h[:15]))
		case 1:
			return ident.RecordID(fmt.Sprintf("site-of-a-long-name-%d", i)) // not in the order of numbers
		case 2:
			return ident.RecordID("site-" + strings.Repeat("a", 4+i/4%28) + fmt.Sprint(i/112))
		default:
			return ident.RecordID(hex.EncodeToString(h[:4+i%16]))
		}
	}
	for from := 0; from < n; from += 1000 {
		var rs []command.Row
		for i := from; i < min(n, from+1000); i++ {
			rs = append(rs, row("site", id(i), "client", "client-one", "name", fmt.Sprintf("Site %d", i)))
		}
		w.load(rs...)
	}
}

// TestDigestsOfMany: what a first sync of several pages brings has the digests
// that its last page names, whether one goroutine or two encode it, and the bytes
// are the same.
func TestDigestsOfMany(t *testing.T) {
	w := field(t)
	many(w, 9_000)
	p := w.signIn("emp-mgr-1", "i1")
	var got []wire.Record
	for more := true; more; {
		page := w.ok(p.pulling(command.Pull{Limit: 4_000})).Page
		if !page.Large() {
			t.Errorf("a page of %d records, later %v, is not large", len(page.Items), page.Later)
		}
		one, two := w.encodeBoth(page)
		if !bytes.Equal(one, two) {
			t.Fatalf("pages of %d and %d bytes differ", len(one), len(two))
		}
		var out wire.Page
		if err := json.Unmarshal(two, &out); err != nil {
			t.Fatal(err)
		}
		got = append(got, out.Records...)
		p.cp, more = out.Checkpoint, out.More
		if out.Complete == nil {
			continue
		}
		want := summed(got)
		if len(want) != len(out.Complete.Types) || want["site"].Count != 9_000 {
			t.Errorf("%d types came, %d are summed up; %d sites", len(want), len(out.Complete.Types), want["site"].Count)
		}
		for typ, is := range want {
			if said := out.Complete.Types[typ]; said != is {
				t.Errorf("%s: %v is said, %v came", typ, said, is)
			}
		}
	}
	// What has changed of many of them is told in part, by two goroutines too.
	p.cp = w.ok(p.pulling(command.Pull{Limit: 4_000})).Page.Checkpoint
	sites := slices.DeleteFunc(slices.Clone(got), func(r wire.Record) bool { return r.Type != "site" })
	for from := range 2 {
		var again []command.Row
		for i := range 800 {
			again = append(again, row("site", ident.RecordID(sites[10*i+from].ID), "client", "client-one", "name", "Another name"))
		}
		w.load(again...)
	}
	page := w.ok(p.pulling(command.Pull{Changes: true})).Page
	one, two := w.encodeBoth(page)
	if n := bytes.Count(two, []byte(`"check":"`)); !page.Large() || n != 1_600 || !bytes.Equal(one, two) {
		t.Errorf("%d of %d changed records are told in part, large %v, alike %v", n, len(page.Items), page.Large(), bytes.Equal(one, two))
	}
	p.cp = page.Checkpoint
	w.ok(p.pulling(command.Pull{}))
	// A change of one record later is no round of pages.
	w.ok(write("emp-mgr-1", command.Write{Op: "patch", Type: "site", ID: "site-of-a-long-name-1", Fields: obj("name", "x")}))
	if page := w.ok(p.pulling(command.Pull{})).Page; page.Large() || len(page.Items) != 1 {
		t.Errorf("a page of %d records is large: %v", len(page.Items), page.Large())
	}
}

// encodeBoth encodes a page by one goroutine and by two.
func (w *world) encodeBoth(p *apply.Page) (one, two []byte) {
	w.t.Helper()
	w.reader(func(rd *state.Reader) {
		w.reader(func(twin *state.Reader) {
			var errs [2]error
			one, errs[0] = p.Encode(rd, nil, apply.ToldAll)
			two, errs[1] = p.Encode(rd, twin, apply.ToldAll)
			if err := errors.Join(errs[:]...); err != nil {
				w.t.Fatal(err)
			}
		})
	})
	return one, two
}

// broken is a store that can't be read.
type broken struct{ store.Reader }

func (broken) Get(store.Bucket, []byte) []byte { panic(state.ErrDamaged) }

func (broken) Scan(store.Bucket, []byte, func(k, v []byte) bool) { panic(state.ErrDamaged) }

// TestTwinPanics: what the other goroutine panics with is the caller's, who stops
// the tenant, not the process.
func TestTwinPanics(t *testing.T) {
	w := field(t)
	p := w.signIn("emp-mgr-1", "i1")
	page := w.ok(p.pulling(command.Pull{})).Page
	w.reader(func(rd *state.Reader) {
		defer func() {
			if got := recover(); !apply.Damaged(got) {
				t.Errorf("recovered %v", got)
			}
		}()
		_, err := page.Encode(rd, state.NewReader(w.cat, broken{}), apply.ToldNone)
		t.Errorf("returned, with %v", err)
	})
}

// TestRoom: a large page is not copied as it grows, and has little more room than
// it needs.
func TestRoom(t *testing.T) {
	if testing.Short() {
		t.Skip("the race detector, under which short tests run, allocates as well")
	}
	w := field(t)
	var rs []command.Row
	for i := range 1_000 {
		rs = append(rs, row("site", ident.RecordID(fmt.Sprintf("rabcdefghijklmnopqrstu%03d", i)), "client", "client-one", "name", "Site"))
	}
	c := rows(rs...)
	c.Actor = "emp-ada-1"
	w.ok(c)
	page := w.ok(w.signIn("emp-mgr-1", "i1").pulling(command.Pull{})).Page
	w.reader(func(rd *state.Reader) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		body, err := page.Encode(rd, nil, apply.ToldNone)
		runtime.ReadMemStats(&after)
		if err != nil || !bytes.Contains(body, []byte(`"updatedBy":"emp-ada-1"`)) {
			t.Fatalf("%v, %.400s", err, body)
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > uint64(len(body))*3/2 {
			t.Errorf("%d bytes were allocated for %d", took, len(body))
		}
	})
}
