package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"satchel/sync/wire"
)

// preferring notes what pulls prefer.
type preferring struct {
	direct
	prefer []string
}

func (d *preferring) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Path == "/sync/v1/pull" {
		d.prefer = append(d.prefer, r.Header.Get("Prefer"))
	}
	return d.direct.RoundTrip(r)
}

// inPart makes every record of a page the changed fields of one, against what
// the phone has.
func inPart(t testing.TB, p *Phone, pg *wire.Page) (n int) {
	for i := range pg.Records {
		r := &pg.Records[i]
		var was map[string]json.RawMessage
		must(t, p.st.view(func(t tx) error {
			v := t.get(bucketRecords, recordKey(r.Type, r.ID))
			if v == nil {
				return nil
			}
			_, _, fields, err := decodeRecord(v)
			if err != nil {
				return err
			}
			return json.Unmarshal(fields, &was)
		}))
		if was == nil {
			continue
		}
		whole := r.Fields
		r.Check, r.Fields = wire.Check(whole), map[string]json.RawMessage{}
		for name, v := range whole {
			if string(was[name]) != string(v) {
				r.Fields[name] = v
			}
		}
		for name := range was {
			if _, ok := whole[name]; !ok {
				r.Fields[name] = json.RawMessage("null")
			}
		}
		n++
	}
	return n
}

// TestChangedFields: changed fields are laid over the record that is here. Where
// that is not what the server takes it to be, nothing is stored and the type
// comes anew.
func TestChangedFields(t *testing.T) {
	for _, x := range []struct {
		name  string
		spoil func(*testing.T, *Phone, *wire.Page)
		heals bool
	}{
		{"as it should be", func(*testing.T, *Phone, *wire.Page) {}, false},
		{"another checksum", func(_ *testing.T, _ *Phone, pg *wire.Page) { pg.Records[0].Check = "00000000" }, true},
		{"a field lost here", func(t *testing.T, p *Phone, _ *wire.Page) {
			must(t, p.st.update(func(t tx) error {
				key := recordKey("job", "job03")
				rev, _, _, err := decodeRecord(t.get(bucketRecords, key))
				if err != nil {
					return err
				}
				return t.put(bucketRecords, key, encodeRecord(string(rev), false, []byte(`{"i":3}`)))
			}))
		}, true},
		{"not here", func(t *testing.T, p *Phone, _ *wire.Page) {
			must(t, p.st.update(func(t tx) error {
				if err := addCount(t, "job", -1); err != nil {
					return err
				}
				return t.del(bucketRecords, recordKey("job", "job03"))
			}))
		}, true},
		{"damaged here", func(t *testing.T, p *Phone, _ *wire.Page) {
			must(t, p.st.update(func(t tx) error {
				return t.put(bucketRecords, recordKey("job", "job03"), encodeRecord("1", false, []byte(`[`)))
			}))
		}, true},
		{"unreadable here", func(t *testing.T, p *Phone, _ *wire.Page) {
			must(t, p.st.update(func(t tx) error { return t.put(bucketRecords, recordKey("job", "job03"), []byte{0}) }))
		}, true},
	} {
		t.Run(x.name, func(t *testing.T) {
			s := newFake()
			for i := range 6 {
				s.put("job", fmt.Sprintf("job%02d", i), map[string]any{"i": i, "title": "A <b>é", "note": "n"})
				s.put("asset", fmt.Sprintf("asset%02d", i), map[string]any{"i": i})
			}
			p, _, _ := signedIn(t, s)
			s.put("job", "job03", map[string]any{"i": 33, "title": "A <b>é", "added": []string{"x", "y"}})
			s.put("asset", "asset09", map[string]any{"new": true})
			parts := 0
			s.onPage = func(pg *wire.Page) {
				if len(pg.Records) == 2 && parts == 0 {
					parts = inPart(t, p, pg)
					x.spoil(t, p, pg)
				}
			}
			rep := mustSync(t, p)
			if parts != 1 || slices.Equal(rep.Healed, []string{"job"}) != x.heals || !x.heals && rep.Healed != nil {
				t.Errorf("%d records in part, healed %v", parts, rep.Healed)
			}
			baseIs(t, p, s)
			r, err := p.Get("job", "job03")
			must(t, err)
			if want := map[string]json.RawMessage{"i": json.RawMessage("33"), "title": r.Fields["title"], "added": json.RawMessage(`["x","y"]`)}; !maps.EqualFunc(r.Fields, want, func(a, b json.RawMessage) bool { return string(a) == string(b) }) || r.Text("title") != "A <b>é" {
				t.Errorf("%s", r.Fields)
			}
		})
	}
}

// tellsTouched has the server name the digests of what a page touches alone, where
// that is preferred.
func tellsTouched(s *fakeServer, tr *preferring) {
	s.onPage = func(pg *wire.Page) {
		if pg.Complete == nil || tr.prefer[len(tr.prefer)-1] != "fields=changed, digests=touched" {
			return
		}
		named := map[string]bool{}
		for _, r := range pg.Records {
			named[r.Type] = true
		}
		maps.DeleteFunc(pg.Complete.Types, func(typ string, _ wire.Summary) bool { return !named[typ] })
	}
}

// TestTouchedDigests: within a day of all digests having agreed those of what a
// page touches will do; otherwise all are asked for, and what is not named differs.
func TestTouchedDigests(t *testing.T) {
	s := newFake()
	for i := range 3 {
		s.put("job", fmt.Sprint("job", i), map[string]any{"i": i})
		s.put("asset", fmt.Sprint("asset", i), map[string]any{"i": i})
	}
	now := time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)
	tr := &preferring{direct: direct{h: s}}
	opts := options(tr)
	opts.Clock = func() time.Time { return now }
	p, err := OpenMemory(NewMemory(), opts)
	must(t, err)
	must(t, p.Login(ctx, "ana", "secret"))
	const all, touched = "fields=changed", "fields=changed, digests=touched"
	tellsTouched(s, tr)
	asks := func(want ...string) {
		t.Helper()
		tr.prefer = nil
		mustSync(t, p)
		if !slices.Equal(tr.prefer, want) {
			t.Errorf("prefers %q, want %q", tr.prefer, want)
		}
		baseIs(t, p, s)
	}
	asks(all, touched) // the first sync, its acknowledgement
	s.put("job", "job1", map[string]any{"i": 11})
	asks(touched, touched)
	now = now.Add(checkAll)
	asks(all)
	asks(touched)
	now = now.Add(-time.Hour) // a clock that was put right
	asks(all)

	// What a page that touches others doesn't tell is found the next day.
	must(t, p.st.update(func(t tx) error {
		return t.put(bucketRecords, recordKey("asset", "asset2"), encodeRecord("77", false, []byte(`{}`)))
	}))
	clear(p.sums)
	s.put("job", "job2", map[string]any{"i": 22})
	if rep := mustSync(t, p); rep.Healed != nil {
		t.Errorf("healed %v", rep.Healed)
	}
	now = now.Add(2 * checkAll)
	if rep := mustSync(t, p); !slices.Equal(rep.Healed, []string{"asset"}) {
		t.Errorf("healed %v", rep.Healed)
	}
	baseIs(t, p, s)
	asks(touched)

	// A server that names less than it was asked for is not believed.
	now = now.Add(2 * checkAll)
	cut := true
	s.onPage = func(pg *wire.Page) {
		if pg.Complete != nil && cut {
			delete(pg.Complete.Types, "asset")
			cut = false
		}
	}
	if rep := mustSync(t, p); !slices.Equal(rep.Healed, []string{"asset"}) {
		t.Errorf("healed %v", rep.Healed)
	}
}

// spoiled makes the records of a page changed fields that are not of what the
// phone has.
func spoiled(t testing.TB, p *Phone, pg *wire.Page) {
	if inPart(t, p, pg) == 0 {
		t.Fatal("no record is here")
	}
	for i := range pg.Records {
		pg.Records[i].Check = "00000000"
	}
}

// TestAstrayKeepsWorkShown: an edit is laid over its record until a page shows it.
// One whose changed fields are not of what is here does not.
func TestAstrayKeepsWorkShown(t *testing.T) {
	s := newFake()
	s.put("job", "job1", map[string]any{"title": "old", "note": "n"})
	p, _, _ := signedIn(t, s)
	must(t, p.Patch("job", "job1", map[string]any{"title": "new"}))
	pages := 0
	s.onPage = func(pg *wire.Page) {
		if got := text(t, p, "job", "job1", "title"); got != "new" {
			t.Errorf("shows %q before page %d", got, pages)
		}
		if pages++; pages == 1 {
			spoiled(t, p, pg)
		}
	}
	if rep := mustSync(t, p); !slices.Equal(rep.Healed, []string{"job"}) {
		t.Errorf("healed %v", rep.Healed)
	}
	r, err := p.Get("job", "job1")
	must(t, err)
	if r.Pending || r.Text("title") != "new" {
		t.Errorf("%+v", r)
	}
}

// TestFoundIsNotForgotten: what was found to differ and could not be healed at once
// is found again, however little the next pages tell.
func TestFoundIsNotForgotten(t *testing.T) {
	world := func() *fakeServer {
		s := newFake()
		for i := range alwaysChecked + 1 {
			s.put("job", fmt.Sprintf("job%04d", i), map[string]any{"i": i})
		}
		s.put("asset", "asset1", map[string]any{"i": 1})
		return s
	}
	// brings has the phone apply what a socket brings it.
	brings := func(t *testing.T, s *fakeServer, p *Phone, spoil func(*wire.Page)) applied {
		t.Helper()
		var own string
		must(t, p.st.view(func(t tx) error { own = string(t.get(bucketMeta, keyCheckpoint)); return nil }))
		for _, d := range s.devices {
			sent, problem := s.pull(d, wire.Pull{Checkpoint: own})
			if problem != nil {
				t.Fatal(problem)
			}
			spoil(sent)
			raw, err := json.Marshal(sent)
			must(t, err)
			var pg page
			must(t, json.Unmarshal(raw, &pg))
			out, err := p.applyPage(&pg, applyHow{live: true, emptied: p.emptied.Load()})
			must(t, err)
			return out
		}
		t.Fatal("no device")
		return applied{}
	}
	// The type is large: on a socket its digest was looked at a moment ago, and
	// pages that touch it do not tell it.
	astray := func(t *testing.T, s *fakeServer, p *Phone) {
		s.put("job", "job0001", map[string]any{"i": -1})
		brings(t, s, p, func(*wire.Page) {})
		s.put("job", "job0001", map[string]any{"i": -2})
		out := brings(t, s, p, func(pg *wire.Page) { spoiled(t, p, pg); delete(pg.Complete.Types, "job") })
		if !slices.Equal(out.differ, []string{"job"}) {
			t.Fatalf("%v differ", out.differ)
		}
	}
	t.Run("by the next connection", func(t *testing.T) {
		s := world()
		p, _, _ := signedIn(t, s)
		astray(t, s, p)
		if out := brings(t, s, p, func(*wire.Page) {}); !slices.Equal(out.differ, []string{"job"}) {
			t.Errorf("%v differ", out.differ)
		}
	})
	sparing := func(t *testing.T, s *fakeServer) (*Phone, *preferring) {
		p, _, tr := signedIn(t, s)
		asked := &preferring{direct: *tr}
		p.http.Transport = asked
		return p, asked
	}
	t.Run("over HTTP", func(t *testing.T) {
		s := world()
		p, asked := sparing(t, s)
		astray(t, s, p)
		s.put("asset", "asset1", map[string]any{"i": 2})
		brings(t, s, p, func(pg *wire.Page) { delete(pg.Complete.Types, "job") })
		tellsTouched(s, asked)
		if rep := mustSync(t, p); !slices.Equal(rep.Healed, []string{"job"}) {
			t.Errorf("healed %v, asked with %q", rep.Healed, asked.prefer)
		}
		baseIs(t, p, s)
	})
	t.Run("by Verify", func(t *testing.T) {
		s := world()
		p, asked := sparing(t, s)
		tellsTouched(s, asked)
		must(t, p.st.update(func(t tx) error {
			return t.put(bucketRecords, recordKey("job", "job0001"), encodeRecord("77", false, []byte(`{}`)))
		}))
		asked.fault = func(path string) fault {
			if path == "/sync/v1/pull" {
				return loseRequest
			}
			return fine
		}
		if _, err := p.Verify(ctx); !errors.Is(err, errNetwork) {
			t.Fatal(err)
		}
		asked.fault = nil
		if rep := mustSync(t, p); !slices.Equal(rep.Healed, []string{"job"}) {
			t.Errorf("healed %v, asked with %q", rep.Healed, asked.prefer)
		}
		baseIs(t, p, s)
	})
}

// TestUnreadable: a type of which a record can't be read comes anew, however the
// phone comes to look at it.
func TestUnreadable(t *testing.T) {
	for name, notice := range map[string]func(*testing.T, *Phone, *fakeServer){
		"at Verify": func(t *testing.T, p *Phone, _ *fakeServer) {
			healed, err := p.Verify(ctx)
			if must(t, err); !slices.Equal(healed, []string{"job"}) {
				t.Errorf("healed %v", healed)
			}
		},
		"at a change of another": func(t *testing.T, p *Phone, s *fakeServer) {
			s.put("job", "job2", map[string]any{"i": 22})
			if rep := mustSync(t, p); !slices.Equal(rep.Healed, []string{"job"}) {
				t.Errorf("healed %v", rep.Healed)
			}
		},
		"as the server is restored": func(t *testing.T, p *Phone, s *fakeServer) {
			for _, d := range s.devices {
				d.acked, d.token, d.pending = "older", "", nil
			}
			mustSync(t, p)
			said := slices.IndexFunc(s.pulls, func(req wire.Pull) bool { return req.Reconcile != nil })
			if said < 0 || s.pulls[said].Reconcile.Types["job"] != (wire.Summary{Count: 3}) {
				t.Errorf("says that it holds %+v", s.pulls)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newFake()
			for i := range 3 {
				s.put("job", fmt.Sprint("job", i), map[string]any{"i": i})
				s.put("asset", fmt.Sprint("asset", i), map[string]any{"i": i})
			}
			p, _, _ := signedIn(t, s)
			must(t, p.st.update(func(t tx) error { return t.put(bucketRecords, recordKey("job", "job1"), []byte{0}) }))
			notice(t, p, s)
			baseIs(t, p, s)
		})
	}
}

// TestAlwaysAstray: a phone on which changed fields never come out right is healed
// a few times and then asks for whole records, on its socket and over HTTP.
func TestAlwaysAstray(t *testing.T) {
	s := newFake()
	s.put("job", "job1", map[string]any{"i": 0, "title": "A <b>é"})
	r := startLive(t, s, nil)
	eventually(t, "first sync", func() bool { st, _ := r.Status(); return st.Complete })
	heals := 0
	s.locked(func() {
		s.onPage = func(pg *wire.Page) {
			switch {
			case pg.Reset:
				heals++
			case strings.Contains(s.prefer, "fields=changed") && len(pg.Records) > 0:
				spoiled(t, r.Phone, pg)
			}
		}
	})
	for i := 1; i < 3*maxHeals; i++ {
		s.put("job", "job1", map[string]any{"i": i, "title": "A <b>é"})
		eventually(t, fmt.Sprint("change ", i), func() bool {
			rec, err := r.Get("job", "job1")
			return err == nil && string(rec.Fields["i"]) == fmt.Sprint(i)
		})
	}
	s.locked(func() {
		if heals > maxAstray || s.upgrades != 2 || strings.Contains(s.prefer, "fields=changed") {
			t.Errorf("healed %d times, on %d sockets, the last of which prefers %q", heals, s.upgrades, s.prefer)
		}
	})
	var over pullState
	if prefer, err := r.prefers(&over); err != nil || strings.Contains(prefer, "fields") {
		t.Errorf("prefers %q over HTTP, %v", prefer, err)
	}
}
