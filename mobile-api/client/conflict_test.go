package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"satchel/sync/wire"
)

// keep makes a record of a conflict, as the real server does.
func (s *fakeServer) keep(m wire.Mutation, field string, mine, was json.RawMessage) string {
	if !s.keeps {
		return ""
	}
	s.changes++
	id := fmt.Sprintf("conflict%04d", s.changes)
	fields, _ := encodeFields(map[string]any{
		"record": m.ID, "recordType": m.Type, "field": field, "mine": string(mine), "was": string(was), "at": m.At, "status": "Open",
	})
	s.world[wire.Ref{Type: typeConflict, ID: id}] = fakeRecord{rev: s.changes, fields: fields}
	return id
}

// settle carries out an action on a conflict.
func (s *fakeServer) settle(ref wire.Ref, r fakeRecord, m wire.Mutation) wire.Result {
	var c conflictFields
	raw, _ := json.Marshal(r.fields)
	_ = json.Unmarshal(raw, &c)
	if !c.open() {
		return wire.Result{Status: wire.Refused, Code: "wrong_status"}
	}
	about := wire.Ref{Type: c.RecordType, ID: c.Record}
	rec, ok := s.world[about]
	value := json.RawMessage(c.Mine)
	if m.Action == keepEdited {
		value = m.Args["value"]
	}
	if m.Action != KeepTheirs.action {
		if !ok {
			return wire.Result{Status: wire.Refused, Code: "not_found"}
		}
		s.changes++
		next := fakeRecord{rev: s.changes, fields: map[string]json.RawMessage{}}
		for f, v := range rec.fields {
			next.fields[f] = v
		}
		next.fields[c.Field] = value
		s.world[about] = next
	}
	s.changes++
	done := fakeRecord{rev: s.changes, fields: map[string]json.RawMessage{}}
	for f, v := range r.fields {
		done.fields[f] = v
	}
	done.fields["status"], done.fields["how"] = json.RawMessage(`"Settled"`), json.RawMessage(`"`+choices[m.Action]+`"`)
	s.world[ref] = done
	return wire.Result{Status: wire.Applied, Rev: fmt.Sprint(done.rev)}
}

// clashed is a phone with a conflict on the title of job j1: "phone" against
// "office".
func clashed(t *testing.T) (*fakeServer, *Phone, string) {
	t.Helper()
	s := newFake()
	s.keeps = true
	s.put("job", "j1", map[string]any{"title": "old"})
	p, err := OpenMemory(NewMemory(), options(&direct{h: s}))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Login(ctx, "ana", "secret"); err != nil {
		t.Fatal(err)
	}
	synced(t, p)
	if err := p.Patch("job", "j1", map[string]any{"title": "phone"}); err != nil {
		t.Fatal(err)
	}
	s.put("job", "j1", map[string]any{"title": "office"})
	synced(t, p)
	cs, err := p.Conflicts()
	if err != nil || len(cs) != 1 {
		t.Fatalf("%+v %v", cs, err)
	}
	return s, p, cs[0].ID
}

func synced(t *testing.T, p *Phone) {
	t.Helper()
	if _, err := p.Sync(ctx); err != nil {
		t.Fatal(err)
	}
}

func title(t *testing.T, p *Phone) string {
	t.Helper()
	r, err := p.Get("job", "j1")
	if err != nil {
		t.Fatal(err)
	}
	return r.Text("title")
}

func TestConflictIsShown(t *testing.T) {
	_, p, id := clashed(t)
	cs, _ := p.Conflicts()
	c := cs[0]
	if c.ID != id || !c.Open || c.Choice != "" || c.Record != (wire.Ref{Type: "job", ID: "j1"}) || c.Field != "title" ||
		string(c.Mine) != `"phone"` || string(c.Was) != `"old"` || string(c.Theirs) != `"office"` || c.At == "" {
		t.Errorf("%+v", c)
	}
	prs, _ := p.Problems()
	if len(prs) != 1 || prs[0].Result.Conflicts[0].Conflict != id || title(t, p) != "office" {
		t.Errorf("%+v, %s", prs, title(t, p))
	}
}

func TestSettleOffline(t *testing.T) {
	for _, c := range []struct {
		keep              Keep
		choice, shows, is string
	}{
		{KeepMine, "mine", "phone", "phone"},
		{KeepTheirs, "theirs", "office", "office"},
		{KeepValue("office and phone"), "edited", "office and phone", "office and phone"},
	} {
		t.Run(c.choice, func(t *testing.T) {
			s, p, id := clashed(t)
			if err := p.Settle(id, c.keep); err != nil {
				t.Fatal(err)
			}
			// Here at once, and no problem any more.
			if got := title(t, p); got != c.shows {
				t.Errorf("shows %q", got)
			}
			list, err := p.List("job", nil)
			if err != nil || len(list) != 1 || list[0].Text("title") != c.shows {
				t.Errorf("lists %+v %v", list, err)
			}
			cs, _ := p.Conflicts()
			if prs, _ := p.Problems(); len(prs) != 0 || cs[0].Choice != c.choice || !cs[0].Open || string(cs[0].Theirs) != `"office"` {
				t.Errorf("%+v %+v", cs, prs)
			}
			if err := p.Settle(id, KeepMine); !errors.Is(err, ErrSettled) {
				t.Errorf("settled twice: %v", err)
			}
			// What is typed next is typed over what shows.
			if err := p.Patch("job", "j1", map[string]any{"title": "next"}); err != nil {
				t.Fatal(err)
			}
			synced(t, p)
			if prs, _ := p.Problems(); len(prs) != 0 || title(t, p) != "next" {
				t.Errorf("%+v, %s", prs, title(t, p))
			}
			cs, _ = p.Conflicts()
			if cs[0].Open || cs[0].How != c.choice || cs[0].Choice != "" {
				t.Errorf("%+v", cs)
			}
			baseIs(t, p, s)
		})
	}
}

// TestSettledElsewhere: somebody else was first.
func TestSettledElsewhere(t *testing.T) {
	s, p, id := clashed(t)
	ref := wire.Ref{Type: typeConflict, ID: id}
	s.locked(func() { s.settle(ref, s.world[ref], wire.Mutation{Action: KeepTheirs.action}) })
	if err := p.Settle(id, KeepValue("mine, edited")); err != nil {
		t.Fatal(err)
	}
	synced(t, p)
	// The words are not lost: they are with the refusal.
	prs, _ := p.Problems()
	if len(prs) != 1 || prs[0].Result.Code != "wrong_status" || string(prs[0].Mutation.Args["value"]) != `"mine, edited"` || title(t, p) != "office" {
		t.Errorf("%+v, %s", prs, title(t, p))
	}
	if err := p.Settle(id, KeepMine); !errors.Is(err, ErrSettled) {
		t.Errorf("%v", err)
	}
	baseIs(t, p, s)

	// Seen before anything is done, the problem goes by itself.
	s, p, id = clashed(t)
	ref = wire.Ref{Type: typeConflict, ID: id}
	s.locked(func() { s.settle(ref, s.world[ref], wire.Mutation{Action: KeepMine.action}) })
	synced(t, p)
	if prs, _ := p.Problems(); len(prs) != 0 || title(t, p) != "phone" {
		t.Errorf("%+v, %s", prs, title(t, p))
	}
}

func TestSettleRefusals(t *testing.T) {
	_, p, id := clashed(t)
	if err := p.Settle("nothing-here", KeepMine); !errors.Is(err, ErrNotFound) {
		t.Errorf("%v", err)
	}
	if err := p.Settle(id, Keep{}); err == nil {
		t.Error("settled in no way")
	}
	if err := p.Settle(id, KeepValue(func() {})); err == nil {
		t.Error("settled with what is no value")
	}
	if pending, _ := p.Pending(); len(pending) != 0 {
		t.Errorf("%+v", pending)
	}
}

// Where its record is taken away, nothing of a settled conflict shows.
func TestConflictOfWhatIsGone(t *testing.T) {
	s, p, id := clashed(t)
	if err := p.Settle(id, KeepMine); err != nil {
		t.Fatal(err)
	}
	s.remove("job", "j1")
	s.remove(typeConflict, id)
	synced(t, p)
	if cs, _ := p.Conflicts(); len(cs) != 0 {
		t.Errorf("%+v", cs)
	}
	if _, err := p.Get("job", "j1"); !errors.Is(err, ErrNotFound) {
		t.Errorf("%v", err)
	}
	if list, _ := p.List("job", nil); len(list) != 0 {
		t.Errorf("%+v", list)
	}
	baseIs(t, p, s)
}

// TestSettledStoreIsTheServers: after any course of edits, conflicts and their
// settling by two phones, with whatever is lost or repeated on the way, each
// store is the server's world and nothing is left over.
func TestSettledStoreIsTheServers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newFake()
		s.keeps = true
		s.page = rapid.IntRange(1, 6).Draw(t, "page")
		for i := range 3 {
			s.put("job", fmt.Sprint("j", i), map[string]any{"title": "t", "note": "n"})
		}
		faults := rapid.SliceOfN(rapid.SampledFrom([]fault{fine, fine, fine, loseRequest, loseAnswer, twice, late}), 1, 20).Draw(t, "faults")
		var phones []*Phone
		var stores []*Memory
		calm := false
		for i := range 2 {
			at := i
			tr := &direct{h: s}
			tr.fault = func(string) fault {
				if calm || len(phones) < 2 {
					return fine
				}
				at++
				return faults[at%len(faults)]
			}
			m := NewMemory()
			p, err := OpenMemory(m, options(tr))
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Login(ctx, fmt.Sprint("user", i), "secret"); err != nil {
				t.Fatal(err)
			}
			if _, err := p.Sync(ctx); err != nil {
				t.Fatal(err)
			}
			phones, stores = append(phones, p), append(stores, m)
		}
		words := 0
		word := func() string { words++; return fmt.Sprint("w", words) }
		which := func() *Phone { return rapid.SampledFrom(phones).Draw(t, "phone") }
		t.Repeat(map[string]func(*rapid.T){
			"edit": func(t *rapid.T) {
				_ = which().Patch("job", fmt.Sprint("j", rapid.IntRange(0, 2).Draw(t, "job")), map[string]any{rapid.SampledFrom([]string{"title", "note"}).Draw(t, "field"): word()})
			},
			"settle": func(t *rapid.T) {
				p := which()
				cs, err := p.Conflicts()
				if err != nil {
					t.Fatal(err)
				}
				if len(cs) == 0 {
					return
				}
				c := rapid.SampledFrom(cs).Draw(t, "conflict")
				before, err := p.Get(c.Record.Type, c.Record.ID)
				if err != nil {
					t.Fatal(err)
				}
				keep := rapid.SampledFrom([]Keep{KeepMine, KeepTheirs, KeepValue(word())}).Draw(t, "keep")
				err = p.Settle(c.ID, keep)
				if (err == nil) != (c.Open && c.Choice == "") {
					t.Fatalf("%+v: %v", c, err)
				}
				if err != nil {
					return
				}
				want := before.Text(c.Field)
				switch keep.action {
				case KeepMine.action:
					_ = json.Unmarshal(c.Mine, &want)
				case keepEdited:
					want, _ = keep.value.(string)
				}
				if got, err := p.Get(c.Record.Type, c.Record.ID); err != nil || got.Text(c.Field) != want || !got.Pending && keep.action != KeepTheirs.action {
					t.Fatalf("shows %q, not %q: %v", got.Text(c.Field), want, err)
				}
			},
			"sync": func(*rapid.T) { _, _ = which().Sync(ctx) },
		})
		calm = true
		for range 2 {
			for _, p := range phones {
				if _, err := p.Sync(ctx); err != nil {
					t.Fatal(err)
				}
			}
		}
		for i, p := range phones {
			baseIs(t, p, s)
			list, err := p.List("job", nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range list {
				for f, v := range s.world[wire.Ref{Type: "job", ID: r.ID}].fields {
					if string(r.Fields[f]) != string(v) || r.Pending {
						t.Fatalf("%s shows %s as %s, the server has %s", r.ID, f, r.Fields[f], v)
					}
				}
			}
			cs, err := p.Conflicts()
			if err != nil || len(cs) != countIn(s, typeConflict) {
				t.Fatalf("%d conflicts, the server has %d: %v", len(cs), countIn(s, typeConflict), err)
			}
			for _, c := range cs {
				if c.Choice != "" {
					t.Fatalf("%+v waits for ever", c)
				}
			}
			for k := range dump(stores[i]) {
				switch bucket(k[0]) {
				case bucketOutbox, bucketSettled, bucketTouched, bucketCreates, bucketHidden:
					t.Fatalf("left over: %q", k)
				}
			}
		}
	})
}
