package client

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
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
	// The server does as it is told.
	s.onPage = func(pg *wire.Page) {
		if pg.Complete == nil || tr.prefer[len(tr.prefer)-1] != touched {
			return
		}
		named := map[string]bool{}
		for _, r := range pg.Records {
			named[r.Type] = true
		}
		maps.DeleteFunc(pg.Complete.Types, func(typ string, _ wire.Summary) bool { return !named[typ] })
	}
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
