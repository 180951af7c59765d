package client

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"satchel/sync/wire"
)

// direct sends requests straight to a handler; fault, where set, decides what
// happens to each.
type direct struct {
	h     http.Handler
	fault func(path string) fault
	pulls [][]byte // answers to pulls so far, for late ones
}

type fault int

const (
	fine fault = iota
	loseRequest
	loseAnswer
	twice
	late    // an earlier pull's answer comes instead
	lateTwo // the same, and the request got lost
)

var errNetwork = errors.New("network is down")

func (d *direct) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
	}
	do := func() *http.Response {
		w := httptest.NewRecorder()
		req := r.Clone(r.Context())
		req.Body = io.NopCloser(bytes.NewReader(body))
		d.h.ServeHTTP(w, req)
		return w.Result()
	}
	f := fine
	if d.fault != nil {
		f = d.fault(r.URL.Path)
	}
	pull := r.URL.Path == "/sync/v1/pull"
	switch f {
	case loseRequest:
		return nil, errNetwork
	case loseAnswer:
		do()
		return nil, errNetwork
	case twice:
		do()
	case late, lateTwo:
		if pull && len(d.pulls) > 0 {
			if f == late {
				do()
			}
			old := d.pulls[len(d.pulls)*2/3]
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(old))}, nil
		}
	}
	resp := do()
	if pull && resp.StatusCode == 200 {
		raw, _ := io.ReadAll(resp.Body)
		d.pulls = append(d.pulls, raw)
		resp.Body = io.NopCloser(bytes.NewReader(raw))
	}
	return resp, nil
}

var ctx = context.Background()

func options(tr http.RoundTripper) Options {
	return Options{Server: "http://satchel.test", Tenant: "acme", Transport: tr}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// signedIn returns a phone in memory that is signed in and in sync.
func signedIn(t testing.TB, s *fakeServer) (*Phone, *Memory, *direct) {
	t.Helper()
	m, tr := NewMemory(), &direct{h: s}
	p, err := OpenMemory(m, options(tr))
	must(t, err)
	must(t, p.Login(ctx, "ana", "secret"))
	mustSync(t, p)
	return p, m, tr
}

func mustSync(t testing.TB, p *Phone) Report {
	t.Helper()
	rep, err := p.Sync(ctx)
	must(t, err)
	if !rep.Complete {
		t.Fatalf("sync ended incomplete: %+v", rep)
	}
	return rep
}

// baseIs compares the stored records with the fake's world.
func baseIs(t interface{ Fatalf(string, ...any) }, p *Phone, s *fakeServer) {
	baseIsWorld(t, p, s.world)
}

func baseIsWorld(t interface{ Fatalf(string, ...any) }, p *Phone, world map[wire.Ref]fakeRecord) {
	want := map[string]string{}
	for ref, r := range world {
		f, _ := json.Marshal(r.fields)
		want[ref.Type+"/"+ref.ID] = fmt.Sprintln(r.rev, r.context, string(f))
	}
	counts := map[string]uint64{}
	err := p.st.view(func(t2 tx) error {
		n := 0
		err := t2.scan(bucketRecords, nil, func(k, v []byte) error {
			rev, context, fields, err := decodeRecord(v)
			if err != nil {
				return err
			}
			var m map[string]json.RawMessage
			if err := json.Unmarshal(fields, &m); err != nil {
				return err
			}
			f, _ := json.Marshal(m)
			typ, id := splitKey(k)
			counts[typ]++
			n++
			if got := fmt.Sprintln(string(rev), context, string(f)); want[typ+"/"+id] != got {
				t.Fatalf("%s/%s is %q here and %q there", typ, id, got, want[typ+"/"+id])
			}
			return nil
		})
		if n != len(want) {
			t.Fatalf("%d records here, %d there", n, len(want))
		}
		for typ, c := range counts {
			if n, err := count(t2, typ); err != nil || n != c {
				t.Fatalf("counted %d of %s, there are %d: %v", n, typ, c, err)
			}
		}
		return err
	})
	if err != nil {
		t.Fatalf("%v", err)
	}
}

func text(t testing.TB, p *Phone, typ, id, field string) string {
	t.Helper()
	r, err := p.Get(typ, id)
	must(t, err)
	return r.Text(field)
}

func TestEditsRoundTrip(t *testing.T) {
	s := newFake()
	s.put("job", "job1", map[string]any{"title": "old", "note": "n"})
	p, _, _ := signedIn(t, s)
	must(t, p.Patch("job", "job1", map[string]any{"title": "a"}))
	must(t, p.Patch("job", "job1", map[string]any{"title": "b", "extra": 1}))
	id, err := p.Create("jobNote", map[string]any{"job": "job1", "text": "hello"})
	must(t, err)
	must(t, p.Patch("jobNote", id, map[string]any{"text": "hello again"}))
	child, err := p.Create("jobPart", map[string]any{"lines": []any{map[string]any{"note": id}}})
	must(t, err)
	must(t, p.Action("job", "job1", "accept", map[string]any{"note": id}))
	pend, err := p.Pending()
	must(t, err)
	if len(pend) != 6 {
		t.Fatalf("%d pending", len(pend))
	}
	if got := string(pend[0].Was["title"]) + string(pend[1].Was["title"]) + string(pend[1].Was["extra"]); got != `"old""a"null` {
		t.Errorf("was: %s", got)
	}
	for i, want := range []string{"[]", "[]", "[]", "[3]", "[3]", "[3]"} {
		if got := fmt.Sprint(pend[i].After); got != want {
			t.Errorf("mutation %d is after %s, want %s", i+1, got, want)
		}
		if pend[i].N != uint64(i+1) {
			t.Errorf("number %d at %d", pend[i].N, i)
		}
	}
	r, err := p.Get("jobNote", id)
	must(t, err)
	if !r.Pending || r.Rev != "" || r.Text("text") != "hello again" {
		t.Errorf("local record: %+v", r)
	}
	if types, _ := p.Types(); fmt.Sprint(types) != "[job jobNote jobPart]" {
		t.Errorf("types %v", types)
	}
	rep := mustSync(t, p)
	if len(rep.Results) != 6 {
		t.Fatalf("results %+v", rep.Results)
	}
	baseIs(t, p, s)
	r, err = p.Get("job", "job1")
	must(t, err)
	if r.Pending || r.Text("title") != "b" || r.Text("status") != "accept" {
		t.Errorf("after sync: %+v", r)
	}
	if _, err := p.Get("jobPart", child); err != nil {
		t.Error(err)
	}
	must(t, p.Delete("job", "job1"))
	if _, err := p.Get("job", "job1"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a deleted record shows: %v", err)
	}
	if err := p.Patch("job", "job1", map[string]any{"title": "x"}); !errors.Is(err, ErrNotFound) {
		t.Errorf("patch of a deleted record: %v", err)
	}
	mustSync(t, p)
	baseIs(t, p, s)
	if last := s.pushes[len(s.pushes)-1]; last.Acked != 6 {
		t.Errorf("acked %d", last.Acked)
	}
}

func TestNoFlickerUntilThePage(t *testing.T) {
	s := newFake()
	s.page = 1
	s.put("job", "job1", map[string]any{"title": "old"})
	s.put("job", "job2", map[string]any{"title": "x"})
	p, _, _ := signedIn(t, s)
	s.put("job", "job2", map[string]any{"title": "y"})
	must(t, p.Patch("job", "job1", map[string]any{"title": "new"}))
	// Every state that a page leaves must show the new value.
	s.onPage = func(*wire.Page) {
		if got := text(t, p, "job", "job1", "title"); got != "new" {
			t.Errorf("shows %q between pages", got)
		}
	}
	mustSync(t, p)
	r, err := p.Get("job", "job1")
	must(t, err)
	if r.Pending || r.Text("title") != "new" {
		t.Errorf("%+v", r)
	}
}

func TestRefusalAndConflict(t *testing.T) {
	s := newFake()
	s.put("job", "job1", map[string]any{"a": "1", "b": "1"})
	s.refuse[`"bad"`] = "bad_value"
	p, m, tr := signedIn(t, s)
	s.put("job", "job1", map[string]any{"a": "theirs", "b": "1"})
	must(t, p.Patch("job", "job1", map[string]any{"a": "mine", "b": "2"}))
	id, err := p.Create("note", map[string]any{"text": "bad"})
	must(t, err)
	must(t, p.Patch("note", id, map[string]any{"text": "better"}))
	mustSync(t, p)
	r, err := p.Get("job", "job1")
	must(t, err)
	if r.Text("a") != "theirs" || r.Text("b") != "2" {
		t.Errorf("conflict left %v", r.Fields)
	}
	if _, err := p.Get("note", id); !errors.Is(err, ErrNotFound) {
		t.Errorf("refused create shows: %v", err)
	}
	p, err = OpenMemory(m, options(tr)) // problems outlive the program
	must(t, err)
	ps, err := p.Problems()
	must(t, err)
	if len(ps) != 3 || ps[0].Result.Conflicts[0].Field != "a" || ps[1].Result.Code != "bad_value" || ps[2].Result.Code != "depends_on" {
		t.Fatalf("problems %+v", ps)
	}
	if string(ps[1].Mutation.Fields["text"]) != `"bad"` {
		t.Error("what the person entered is lost")
	}
	must(t, p.Dismiss(ps[0].ID))
	if ps, _ = p.Problems(); len(ps) != 2 {
		t.Errorf("%d problems after dismissing", len(ps))
	}
}

func TestRemovedRecordIsHiddenAndItsEditsErased(t *testing.T) {
	s := newFake()
	s.put("job", "job1", map[string]any{"title": "secret of client"})
	p, m, _ := signedIn(t, s)
	// A problem about it, and a conflict's values, exist already.
	s.refuse[`"bad"`] = "bad_value"
	must(t, p.Patch("job", "job1", map[string]any{"title": "bad"}))
	mustSync(t, p)
	must(t, p.Patch("job", "job1", map[string]any{"title": "typed text"}))
	s.remove("job", "job1")
	pushed := false
	s.reject = func(path string) *wire.Problem { // the push fails, the pull must come all the same
		if path == "/sync/v1/push" && !pushed {
			pushed = true
			return &wire.Problem{Status: 503, Code: "busy"}
		}
		return nil
	}
	if _, err := p.Sync(ctx); !hasCode(err, "busy") {
		t.Fatalf("sync: %v", err)
	}
	if _, err := p.Get("job", "job1"); !errors.Is(err, ErrNotFound) {
		t.Errorf("taken away and still shown: %v", err)
	}
	if pend, _ := p.Pending(); len(pend) != 0 {
		t.Errorf("the edit is shown: %+v", pend)
	}
	if st, _ := p.Status(); st.Pending != 1 {
		t.Errorf("status %+v", st)
	}
	mustSync(t, p)
	last := s.pushes[len(s.pushes)-1].Mutations
	if len(last) != 1 || string(last[0].Fields["title"]) != `"typed text"` {
		t.Fatalf("the edit was not sent: %+v", last)
	}
	ps, _ := p.Problems()
	if len(ps) != 2 || !ps[0].Hidden || !ps[1].Hidden || ps[1].Result.Code != "not_found" {
		t.Errorf("problems %+v", ps)
	}
	for k, v := range dump(m) {
		if strings.Contains(k+v, "typed text") || strings.Contains(v, "secret of client") || strings.Contains(v, "bad\"") {
			t.Errorf("left in the store: %q %q", k, v)
		}
	}
}

// A record made here, taken away before the create was answered, stays hidden.
func TestRevokedCreateStaysHidden(t *testing.T) {
	s := newFake()
	p, _, tr := signedIn(t, s)
	id, err := p.Create("note", map[string]any{"text": "x"})
	must(t, err)
	tr.fault = func(path string) fault {
		if path == "/sync/v1/push" {
			return loseAnswer
		}
		return fine
	}
	_, err = p.Sync(ctx)
	if !errors.Is(err, errNetwork) {
		t.Fatal(err)
	}
	must(t, p.pullAll(ctx, &Report{}, nil, nil)) // as the socket would
	s.remove("note", id)
	must(t, p.pullAll(ctx, &Report{}, nil, nil))
	if _, err := p.Get("note", id); !errors.Is(err, ErrNotFound) {
		t.Errorf("shown: %v", err)
	}
	tr.fault = nil
	mustSync(t, p)
	if l, _ := p.List("note", nil); len(l) != 0 {
		t.Errorf("list %+v", l)
	}
}

func dump(m *Memory) map[string]string {
	out := map[string]string{}
	m.rows.Scan(func(k string, v []byte) bool { out[k] = string(v); return true })
	return out
}

// TestPageLimit: a phone that wants the server's own limit names none.
func TestPageLimit(t *testing.T) {
	for _, n := range []int{0, 3} {
		s := newFake()
		o := options(&direct{h: s})
		o.PageLimit = n
		p, err := OpenMemory(NewMemory(), o)
		must(t, err)
		must(t, p.Login(ctx, "ana", "secret"))
		mustSync(t, p)
		if len(s.pulls) == 0 {
			t.Fatal("nothing was pulled")
		}
		for _, req := range s.pulls {
			if named := req.Limit != nil; named != (n > 0) || named && *req.Limit != n {
				t.Errorf("of %d: %+v", n, req)
			}
		}
	}
}

func TestHealAndVerify(t *testing.T) {
	s := newFake()
	for i := range 20 {
		s.put("job", fmt.Sprintf("job%02d", i), map[string]any{"i": i})
		s.put("asset", fmt.Sprintf("asset%02d", i), map[string]any{"i": i})
	}
	s.page = 7
	p, _, _ := signedIn(t, s)
	damage := func() {
		must(t, p.st.update(func(t tx) error {
			return errors.Join(t.put(bucketRecords, recordKey("job", "job03"), encodeRecord("77", false, []byte(`{}`))),
				t.put(bucketRecords, recordKey("job", "ghost"), encodeRecord("1", false, []byte(`{}`))), addCount(t, "job", 1))
		}))
	}
	damage()
	healed, err := p.Verify(ctx)
	must(t, err)
	if fmt.Sprint(healed) != "[job]" {
		t.Errorf("healed %v", healed)
	}
	baseIs(t, p, s)
	damage()
	s.put("job", "job99", map[string]any{})
	rep := mustSync(t, p)
	if fmt.Sprint(rep.Healed) != "[job]" {
		t.Errorf("healed %v", rep.Healed)
	}
	baseIs(t, p, s)
	// A server whose digests never agree must not be asked for ever.
	s.summary = func(m map[string]wire.Summary) { m["asset"] = wire.Summary{Count: 20, Digest: "no"} }
	before := len(s.pulls)
	rep, err = p.Sync(ctx)
	if !errors.Is(err, ErrDiverged) || rep.Complete {
		t.Errorf("%v %+v", err, rep)
	}
	if n := len(s.pulls) - before; n > 40 {
		t.Errorf("%d pulls", n)
	}
}

func TestServerRestored(t *testing.T) {
	s := newFake()
	s.put("job", "job1", map[string]any{"a": "1"})
	p, _, _ := signedIn(t, s)
	must(t, p.SetProfile(ProfileField))
	must(t, p.Patch("job", "job1", map[string]any{"a": "2"}))
	must(t, p.Patch("job", "job1", map[string]any{"a": "3"}))
	mustSync(t, p)
	// The server goes back to before the two edits, and forgets the device.
	s.locked(func() {
		for _, d := range s.devices {
			d.processed, d.contents, d.results = 1, map[uint64]string{1: "x"}, map[uint64]wire.Result{1: {N: 1, Status: wire.Applied}}
			d.acked, d.token, d.held, d.pending = "older", "", map[wire.Ref]int{}, nil
		}
	})
	must(t, p.Patch("job", "job1", map[string]any{"a": "4"})) // number 3, the server waits for 2
	mustSync(t, p)
	baseIs(t, p, s)
	last := s.pulls[len(s.pulls)-2]
	if last.Profile != ProfileField && s.pulls[len(s.pulls)-3].Profile != ProfileField {
		t.Errorf("the profile was not told again: %+v", s.pulls)
	}
	if got := text(t, p, "job", "job1", "a"); got != "4" {
		t.Errorf("a = %s", got)
	}
	reconciled := false
	for _, pull := range s.pulls {
		reconciled = reconciled || pull.Reconcile != nil && pull.Reconcile.Types["job"].Count == 1
	}
	if !reconciled {
		t.Error("no digests were sent")
	}
	must(t, p.Patch("job", "job1", map[string]any{"a": "5"}))
	mustSync(t, p)
	if d := s.devices["ana|"+p.installation+"|"+incarnation(t, p)]; d.processed != 3 {
		t.Errorf("processed %d", d.processed)
	}
}

// What the server confirmed and then lost is sent again, as long as it is here.
func TestServerRestoredLosesConfirmedWork(t *testing.T) {
	s := newFake()
	s.put("job", "job1", map[string]any{"a": "1"})
	p, _, tr := signedIn(t, s)
	must(t, p.Patch("job", "job1", map[string]any{"a": "2"}))
	tr.fault = func(path string) fault {
		if path == "/sync/v1/pull" {
			return loseRequest
		}
		return fine
	}
	if _, err := p.Sync(ctx); !errors.Is(err, errNetwork) {
		t.Fatal(err)
	}
	tr.fault = nil
	if st, _ := p.Status(); st.Pending != 0 {
		t.Fatalf("status %+v", st)
	}
	s.put("job", "job1", map[string]any{"a": "1"})
	s.locked(func() {
		for _, d := range s.devices {
			d.processed, d.contents, d.results = 0, map[uint64]string{}, map[uint64]wire.Result{}
			d.acked, d.token, d.held, d.pending = "older", "", map[wire.Ref]int{}, nil
		}
	})
	mustSync(t, p) // finds out
	if got := text(t, p, "job", "job1", "a"); got != "2" {
		t.Errorf("shows %q meanwhile", got)
	}
	mustSync(t, p)
	baseIs(t, p, s)
	if got := string(s.world[wire.Ref{Type: "job", ID: "job1"}].fields["a"]); got != `"2"` {
		t.Errorf("the server has %s", got)
	}
}

// A record that a reset drops and does not bring back is gone like one that a
// page removes: nothing about it may still be read.
func TestResetThatDoesNotBringARecordBack(t *testing.T) {
	t.Run("of one type", func(t *testing.T) { testReset(t, false) })
	t.Run("of all", func(t *testing.T) { testReset(t, true) })
}

func testReset(t *testing.T, whole bool) {
	s := newFake()
	s.put("job", "job1", map[string]any{"a": "1"})
	s.put("job", "job2", map[string]any{"a": "1"})
	s.refuse[`"bad"`] = "bad_value"
	p, _, tr := signedIn(t, s)
	for _, id := range []string{"job1", "job2"} {
		must(t, p.Patch("job", id, map[string]any{"a": "bad"}))
	}
	note, err := p.Create("note", map[string]any{"a": "bad"})
	must(t, err)
	mustSync(t, p)
	made, err := p.Create("job", map[string]any{"a": "2"})
	must(t, err)
	tr.fault = func(path string) fault {
		if path == "/sync/v1/push" {
			return loseAnswer
		}
		return fine
	}
	if _, err := p.Sync(ctx); !errors.Is(err, errNetwork) {
		t.Fatal(err)
	}
	must(t, p.pullAll(ctx, &Report{}, nil, nil))
	s.remove("job", "job1")
	s.remove("job", made)
	heal := []string{"job"} // the reset of a heal names no removals
	if whole {
		heal = nil
		s.locked(func() {
			for _, d := range s.devices {
				d.acked, d.token, d.pending = "older", "", nil
			}
		})
	}
	must(t, p.pullAll(ctx, &Report{}, heal, nil))
	ps, err := p.Problems()
	must(t, err)
	if len(ps) != 3 || !ps[0].Hidden || ps[1].Hidden || ps[2].Hidden || ps[2].Mutation.ID != note {
		t.Errorf("problems %+v", ps)
	}
	if l, _ := p.List("job", nil); len(l) != 1 || l[0].ID != "job2" {
		t.Errorf("list %+v", l)
	}
	tr.fault = nil
	mustSync(t, p)
	baseIs(t, p, s)
}

// A backup taken while the phone was open, put back after it was closed.
func TestBackupOfAnOpenStoreIsNoticed(t *testing.T) {
	p, m, tr := signedIn(t, newFake())
	inc := incarnation(t, p)
	backup := m.Clone()
	must(t, p.Close())
	m.RestoreFrom(backup)
	p, err := OpenMemory(m, options(tr))
	must(t, err)
	if incarnation(t, p) == inc {
		t.Error("went unnoticed")
	}
}

func incarnation(t interface{ Fatal(...any) }, p *Phone) string {
	st, err := p.Status()
	if err != nil {
		t.Fatal(err)
	}
	return st.Incarnation
}

func TestCloneBecomesAnotherDevice(t *testing.T) {
	s := newFake()
	s.put("job", "job1", map[string]any{"a": "1"})
	p, m, tr := signedIn(t, s)
	must(t, p.Patch("job", "job1", map[string]any{"a": "2"}))
	mustSync(t, p)
	id, err := p.Create("note", map[string]any{"text": "x"})
	must(t, err)
	must(t, p.Patch("job", "job1", map[string]any{"notes": []any{id, "other"}}))
	must(t, p.Pin("note", id))
	copied := m.Clone()
	q, err := OpenMemory(copied, options(tr))
	must(t, err)
	st, _ := q.Status()
	if st.SignedIn || st.Incarnation == incarnation(t, p) || st.Device != "" {
		t.Fatalf("the copy is %+v", st)
	}
	if _, err := q.Sync(ctx); !errors.Is(err, ErrSignedOut) {
		t.Errorf("sync of a copy: %v", err)
	}
	if l, _ := q.List("note", nil); len(l) != 1 {
		t.Error("unsent work is gone from the copy")
	}
	must(t, q.Login(ctx, "ana", "secret"))
	pend, _ := q.Pending()
	st, _ = q.Status()
	if len(pend) != 2 || pend[0].N != 1 || pend[1].N != 2 || !strings.HasPrefix(pend[0].ID, st.Prefix) || fmt.Sprint(pend[1].After) != "[1]" ||
		string(pend[1].Fields["notes"]) != `["`+pend[0].ID+`","other"]` || pend[0].ID == id {
		t.Fatalf("renumbered to %+v", pend)
	}
	if pins, _ := q.Pins(); pins[0].ID != pend[0].ID {
		t.Errorf("pins %v", pins)
	}
	mustSync(t, p)
	mustSync(t, q)
	mustSync(t, p)
	baseIs(t, p, s)
	baseIs(t, q, s)
	if len(s.world) != 3 {
		t.Errorf("%d records", len(s.world))
	}
	// The original is still itself after a restart.
	p2, err := OpenMemory(m, options(tr))
	must(t, err)
	if incarnation(t, p2) != incarnation(t, p) {
		t.Error("a restart began a new incarnation")
	}
}

func TestFileStoreCopiesAreNoticed(t *testing.T) {
	s := newFake()
	dir := t.TempDir()
	path := filepath.Join(dir, "phone.db")
	tr := &direct{h: s}
	open := func(path string) *Phone {
		t.Helper()
		p, err := Open(path, options(tr))
		must(t, err)
		return p
	}
	p := open(path)
	must(t, p.Login(ctx, "ana", "secret"))
	_, err := p.Create("note", map[string]any{"text": "x"})
	must(t, err)
	inc, inst := incarnation(t, p), p.installation
	if _, err := Open(path, options(tr)); err == nil {
		t.Error("opened twice")
	}
	must(t, p.Close())
	must(t, p.Close())
	if _, err := p.Sync(ctx); !errors.Is(err, ErrClosed) {
		t.Errorf("sync after close: %v", err)
	}
	if _, err := p.Get("note", "x"); !errors.Is(err, ErrClosed) {
		t.Errorf("get after close: %v", err)
	}
	backup := read(t, path)
	p = open(path)
	if incarnation(t, p) != inc || p.installation != inst {
		t.Error("an ordinary restart began a new incarnation")
	}
	must(t, p.Close())
	moved := filepath.Join(dir, "moved.db")
	must(t, os.Rename(path, moved))
	must(t, os.Rename(path+".label", moved+".label"))
	p = open(moved)
	if incarnation(t, p) != inc {
		t.Error("moving began a new incarnation")
	}
	must(t, p.Close())
	// Copied with its label, and without.
	for _, with := range []bool{true, false} {
		to := filepath.Join(dir, fmt.Sprint("copy", with))
		must(t, os.WriteFile(to, read(t, moved), 0o600))
		if with {
			must(t, os.WriteFile(to+".label", read(t, moved+".label"), 0o600))
		}
		q := open(to)
		if incarnation(t, q) == inc {
			t.Errorf("a copy (label %v) went unnoticed", with)
		}
		if pend, _ := q.Pending(); len(pend) != 1 {
			t.Error("unsent work lost in the copy")
		}
		must(t, q.Close())
	}
	// An older state written into the same file.
	f, err := os.OpenFile(moved, os.O_WRONLY|os.O_TRUNC, 0)
	must(t, err)
	_, err = f.Write(backup)
	must(t, errors.Join(err, f.Close()))
	p = open(moved)
	if incarnation(t, p) == inc {
		t.Error("a restored backup went unnoticed")
	}
	must(t, p.Login(ctx, "ana", "secret"))
	mustSync(t, p)
	baseIs(t, p, s)
	must(t, p.Erase())
	if b := read(t, moved); bytes.Contains(b, []byte("text")) {
		t.Error("erased content is still in the file")
	}
	must(t, p.Close())
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	return b
}

func TestNumberReusedBeginsNewIncarnation(t *testing.T) {
	s := newFake()
	p, m, tr := signedIn(t, s)
	backup := m.Clone()
	_, err := p.Create("note", map[string]any{"text": "one"})
	must(t, err)
	mustSync(t, p)
	m.RestoreFrom(backup) // while open, so the label does not tell
	p, err = OpenMemory(m, options(tr))
	must(t, err)
	_, err = p.Create("note", map[string]any{"text": "two"})
	must(t, err)
	if _, err := p.Sync(ctx); !errors.Is(err, ErrSignedOut) {
		t.Fatalf("sync: %v", err)
	}
	must(t, p.Login(ctx, "ana", "secret"))
	mustSync(t, p)
	if len(s.world) != 2 {
		t.Errorf("world %v", s.world)
	}
	baseIs(t, p, s)
}

func TestTokens(t *testing.T) {
	s := newFake()
	p, m, tr := signedIn(t, s)
	s.mark("expired")
	tr.fault = func(path string) fault {
		if path == "/v1/auth/refresh" {
			return loseAnswer
		}
		return fine
	}
	if _, err := p.Sync(ctx); !errors.Is(err, errNetwork) {
		t.Fatalf("sync: %v", err)
	}
	tr.fault = nil
	p, err := OpenMemory(m, options(tr)) // killed in between
	must(t, err)
	mustSync(t, p)
	if len(s.refreshes) != 2 || s.refreshes[0] != s.refreshes[1] || s.refreshes[0].Nonce == "" {
		t.Errorf("refreshes %+v", s.refreshes)
	}
	s.mark("expired")
	mustSync(t, p)
	if s.refreshes[2].Nonce == s.refreshes[1].Nonce {
		t.Error("a nonce was used for two exchanges")
	}
	// Many at once: one refresh.
	s.mark("expired")
	sess, _ := p.session()
	got := make(chan string)
	for range 8 {
		go func() { a, _ := p.refresh(ctx, sess.Access); got <- a }()
	}
	first := <-got
	for range 7 {
		if a := <-got; a != first || a == "" {
			t.Errorf("tokens %q and %q", a, first)
		}
	}
	if len(s.refreshes) != 4 {
		t.Errorf("%d refreshes", len(s.refreshes))
	}
	s.put("job", "job1", map[string]any{"a": 1})
	mustSync(t, p)
	s.mark("revoked")
	if _, err := p.Sync(ctx); !errors.Is(err, ErrSignedOut) {
		t.Errorf("revoked: %v", err)
	}
	if _, err := p.Get("job", "job1"); err != nil {
		t.Errorf("records are gone with the session: %v", err)
	}
	if err := p.Login(ctx, "ana", "wrong"); !hasCode(err, "invalid_credentials") {
		t.Errorf("login: %v", err)
	}
	must(t, p.Login(ctx, "ana", "secret"))
	mustSync(t, p)
	must(t, p.Logout(ctx))
	if _, err := p.Sync(ctx); !errors.Is(err, ErrSignedOut) {
		t.Errorf("after logout: %v", err)
	}
}

func TestWipe(t *testing.T) {
	s := newFake()
	s.put("job", "job1", map[string]any{"a": "1"})
	var saved []wire.Mutation
	m := NewMemory()
	o := options(&direct{h: s})
	o.OnWipe = func(ms []wire.Mutation) { saved = ms }
	p, err := OpenMemory(m, o)
	must(t, err)
	must(t, p.Login(ctx, "ana", "secret"))
	mustSync(t, p)
	inc := incarnation(t, p)
	must(t, p.Patch("job", "job1", map[string]any{"a": "unsent"}))
	s.mark("wipe")
	if _, err := p.Sync(ctx); !errors.Is(err, ErrWiped) {
		t.Fatalf("sync: %v", err)
	}
	if len(saved) != 1 || string(saved[0].Fields["a"]) != `"unsent"` {
		t.Errorf("handed over %+v", saved)
	}
	st, _ := p.Status()
	if st.SignedIn || st.Pending != 0 || st.Incarnation == inc {
		t.Errorf("status %+v", st)
	}
	for k, v := range dump(m) {
		if strings.Contains(v, "unsent") || strings.Contains(k, "job1") {
			t.Errorf("left: %q %q", k, v)
		}
	}
}

// meanwhile does something while a request is on its way, before it arrives or,
// with after, before its answer does; once.
type meanwhile struct {
	http.RoundTripper
	path  string
	after bool
	do    func()
}

func (m *meanwhile) RoundTrip(r *http.Request) (*http.Response, error) {
	do := m.do
	if r.URL.Path != m.path || do == nil {
		return m.RoundTripper.RoundTrip(r)
	}
	m.do = nil
	if !m.after {
		do()
	}
	res, err := m.RoundTripper.RoundTrip(r)
	if m.after {
		do()
	}
	return res, err
}

// TestWipeToldToAnother: while a Sync runs, another request of the device, such
// as Live's for the rules, may be the one that is told of the wipe. The Sync then
// ends with that too, wherever it was, and leaves nothing behind.
func TestWipeToldToAnother(t *testing.T) {
	for _, c := range []struct {
		name, path string
		after      bool
	}{
		{"before a push", "/sync/v1/push", false},
		{"before the answer to a push", "/sync/v1/push", true},
		{"before a pull", "/sync/v1/pull", false},
		{"before the first page", "/sync/v1/pull", true},
		{"before the rules", "/sync/v1/rules", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, m := newFake(), NewMemory()
			s.put("job", "job1", map[string]any{"a": "secret"})
			tr := &meanwhile{RoundTripper: &direct{h: s}, path: c.path, after: c.after}
			p, err := OpenMemory(m, options(tr))
			must(t, err)
			must(t, p.Login(ctx, "ana", "secret"))
			_, err = p.Create("note", map[string]any{"text": "x"})
			must(t, err)
			told := false
			tr.do = func() {
				s.mark("wipe")
				told = errors.Is(p.fetchRules(ctx, "?"), ErrWiped)
			}
			_, err = p.Sync(ctx)
			if !told {
				t.Fatal("the other request was not told")
			}
			if !errors.Is(err, ErrWiped) || errors.Is(err, ErrSignedOut) {
				t.Errorf("sync: %v", err)
			}
			for k, v := range dump(m) {
				if strings.Contains(k, "job1") || strings.Contains(v, "secret") {
					t.Errorf("left: %q %q", k, v)
				}
			}
			if _, err := p.Sync(ctx); !errors.Is(err, ErrSignedOut) {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

func TestOtherUser(t *testing.T) {
	s := newFake()
	s.put("job", "job1", map[string]any{"a": "1"})
	p, _, _ := signedIn(t, s)
	must(t, p.Patch("job", "job1", map[string]any{"a": "2"}))
	if err := p.Login(ctx, "bob", "secret"); !errors.Is(err, ErrOtherUser) {
		t.Fatalf("login: %v", err)
	}
	mustSync(t, p) // still the first person's
	must(t, p.Login(ctx, "bob", "secret"))
	if l, _ := p.List("job", nil); len(l) != 0 {
		t.Error("the next person sees the former one's records")
	}
	mustSync(t, p)
	baseIs(t, p, s)
}

func TestPoisonedMutationDoesNotHoldUpTheRest(t *testing.T) {
	s := newFake()
	s.badPush = "poison"
	p, _, _ := signedIn(t, s)
	for i := range 5 {
		v := fmt.Sprint("v", i)
		if i == 2 {
			v = "poison"
		}
		_, err := p.Create("note", map[string]any{"text": v})
		must(t, err)
	}
	mustSync(t, p)
	if len(s.world) != 4 {
		t.Errorf("%d records arrived", len(s.world))
	}
	ps, _ := p.Problems()
	if len(ps) != 1 || ps[0].Result.Code != "too_deep" || !strings.Contains(string(ps[0].Mutation.Fields["text"]), "poison") {
		t.Errorf("problems %+v", ps)
	}
	_, err := p.Create("note", map[string]any{"text": "poison last"})
	must(t, err)
	mustSync(t, p)
	_, err = p.Create("note", map[string]any{"text": "fine"})
	must(t, err)
	mustSync(t, p)
	if len(s.world) != 5 {
		t.Errorf("%d records arrived", len(s.world))
	}
}

func TestChunks(t *testing.T) {
	s := newFake()
	p, _, _ := signedIn(t, s)
	if _, err := p.Create("note", map[string]any{"text": strings.Repeat("x", maxPushBytes)}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("huge: %v", err)
	}
	for range 1100 {
		_, err := p.Create("note", map[string]any{"text": "x"})
		must(t, err)
	}
	for range 10 {
		_, err := p.Create("note", map[string]any{"text": strings.Repeat("y", 60<<10)})
		must(t, err)
	}
	mustSync(t, p)
	if len(s.world) != 1110 {
		t.Errorf("%d arrived", len(s.world))
	}
	next := uint64(1)
	for _, push := range s.pushes {
		raw, _ := json.Marshal(push)
		if len(push.Mutations) > maxPushMutations || len(raw) > maxPushBytes {
			t.Errorf("a push of %d mutations, %d bytes", len(push.Mutations), len(raw))
		}
		if push.Acked != next-1 {
			t.Errorf("acked %d before %d", push.Acked, next)
		}
		next += uint64(len(push.Mutations))
	}
}

func TestSettingsAreSentUntilTaken(t *testing.T) {
	s := newFake()
	p, m, tr := signedIn(t, s)
	must(t, p.SetProfile(ProfileField))
	must(t, p.SetWindow(time.Unix(0, 0), time.Unix(86400, 0)))
	must(t, p.Pin("client", "c1"))
	if err := p.SetProfile("all"); err == nil {
		t.Error("an unknown profile was taken")
	}
	if err := p.SetWindow(time.Unix(5, 0), time.Unix(5, 0)); err == nil {
		t.Error("an empty window was taken")
	}
	tr.fault = func(string) fault { return loseAnswer }
	_, _ = p.Sync(ctx)
	tr.fault = nil
	p, err := OpenMemory(m, options(tr))
	must(t, err)
	mustSync(t, p)
	last := s.pulls[len(s.pulls)-1]
	if last.Profile != ProfileField || last.Window == nil || last.Window.To != "1970-01-02T00:00:00.000Z" || len(*last.Pins) != 1 {
		t.Errorf("sent %+v", last)
	}
	mustSync(t, p)
	if last := s.pulls[len(s.pulls)-1]; last.Profile != "" || last.Window != nil || last.Pins != nil {
		t.Errorf("sent again %+v", last)
	}
	must(t, p.Unpin("client", "c1"))
	mustSync(t, p)
	if last := s.pulls[len(s.pulls)-1]; last.Profile != "" || last.Pins == nil || len(*last.Pins) != 0 {
		t.Errorf("after unpinning %+v", last)
	}
}

func TestHTTPLimits(t *testing.T) {
	var body []byte
	h := http.Header{}
	status := 200
	tr := roundTrip(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(bytes.NewReader(body))}, nil
	})
	o := options(tr)
	o.MaxResponse = 1000
	p, err := OpenMemory(NewMemory(), o)
	must(t, err)
	var out map[string]any
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	_, _ = w.Write([]byte(`{"a":"b"}`))
	_ = w.Close()
	body, h = z.Bytes(), http.Header{"Content-Encoding": {"gzip"}}
	must(t, p.send(ctx, "/x", "", struct{}{}, &out))
	if out["a"] != "b" {
		t.Errorf("gzip: %v", out)
	}
	enc, err := zstd.NewWriter(nil)
	must(t, err)
	body, h = enc.EncodeAll([]byte(`{"a":"c"}`), nil), http.Header{"Content-Encoding": {"zstd"}}
	must(t, p.send(ctx, "/x", "", struct{}{}, &out))
	if out["a"] != "c" {
		t.Errorf("zstd: %v", out)
	}
	body = body[:len(body)-2]
	if err := p.send(ctx, "/x", "", struct{}{}, &out); err == nil {
		t.Error("half an answer was taken")
	}
	body = enc.EncodeAll([]byte(`"`+strings.Repeat("a", 1<<20)+`"`), nil)
	if err := p.send(ctx, "/x", "", struct{}{}, &out); !hasCode(err, codeAnswerTooLarge) {
		t.Errorf("a bomb: %v", err)
	}
	h = http.Header{"Content-Encoding": {"gzip"}}
	z.Reset()
	w = gzip.NewWriter(&z)
	_, _ = w.Write([]byte(`"` + strings.Repeat("a", 1<<20) + `"`))
	_ = w.Close()
	body = z.Bytes()
	if err := p.send(ctx, "/x", "", struct{}{}, &out); !hasCode(err, codeAnswerTooLarge) {
		t.Errorf("a bomb: %v", err)
	}
	body, h = []byte(`<html>`), http.Header{"Retry-After": {"7"}}
	if err := p.send(ctx, "/x", "", struct{}{}, &out); !hasCode(err, codeBadAnswer) {
		t.Errorf("html: %v", err)
	}
	status = 502
	var e *Error
	if err := p.send(ctx, "/x", "", struct{}{}, &out); !errors.As(err, &e) || e.Status != 502 || e.RetryAfter != 7*time.Second {
		t.Errorf("502: %v", err)
	}
	status, body = 401, []byte(`{"code":"second_factor_required","title":"t","challenge":"c1"}`)
	if err := p.send(ctx, "/x", "", struct{}{}, &out); !errors.As(err, &e) || string(e.Extra["challenge"]) != `"c1"` {
		t.Errorf("challenge: %v", err)
	}
	if _, err := OpenMemory(NewMemory(), Options{Server: "ftp://x"}); err == nil {
		t.Error("ftp was taken")
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestMalformedPagesLeaveNothing(t *testing.T) {
	s := newFake()
	s.put("job", "job1", map[string]any{"a": "1"})
	p, m, _ := signedIn(t, s)
	before := dump(m)
	for _, pg := range []page{
		{From: before[string([]byte{1})+"checkpoint"]},
		{Checkpoint: "x", Records: []pageRecord{{Type: "a\x00b", ID: "c", Fields: json.RawMessage(`{}`)}}},
		{Checkpoint: "x", Records: []pageRecord{{Type: "a", ID: "", Fields: json.RawMessage(`{}`)}}},
		{Checkpoint: "x", Records: []pageRecord{{Type: "a", ID: "b", Fields: json.RawMessage(`[]`)}}},
		{Checkpoint: "x", Removed: []wire.Ref{{Type: "", ID: "b"}}},
	} {
		if _, err := p.applyPage(&pg, applyHow{}); !hasCode(err, codeBadAnswer) {
			t.Errorf("%+v: %v", pg, err)
		}
	}
	if fmt.Sprint(dump(m)) != fmt.Sprint(before) {
		t.Error("a malformed page changed the store")
	}
}

func TestSetChange(t *testing.T) {
	for _, c := range []struct{ old, patch, want string }{
		{`["a","b"]`, `{"add":["c","a"],"remove":["b"]}`, `["a","c"]`},
		{`null`, `{"add":["c"]}`, `["c"]`},
		{`["a"]`, `{"remove":["a"]}`, `[]`},
		{`["a"]`, `["z"]`, `["z"]`},
		{`{"x":1}`, `{"add":["c"]}`, `{"add":["c"]}`},
		{`null`, `{"add":["c"],"other":1}`, `{"add":["c"],"other":1}`},
		{``, `{}`, `{}`},
	} {
		if got := string(laidOver(json.RawMessage(c.old), json.RawMessage(c.patch))); got != c.want {
			t.Errorf("%s with %s: %s, want %s", c.old, c.patch, got, c.want)
		}
	}
}

func FuzzDecodeRecord(f *testing.F) {
	f.Add(encodeRecord("rev", true, []byte(`{"a":1}`)))
	f.Add([]byte{1, 200})
	f.Fuzz(func(t *testing.T, v []byte) {
		rev, context, fields, err := decodeRecord(v)
		if err != nil {
			return
		}
		r2, c2, f2, err := decodeRecord(encodeRecord(string(rev), context, fields))
		if err != nil || string(r2) != string(rev) || c2 != context || string(f2) != string(fields) {
			t.Fatalf("%q", v)
		}
	})
}

func FuzzPage(f *testing.F) {
	f.Add([]byte(`{"from":"","checkpoint":"t","removed":[{"type":"a","id":"b"}],"records":[{"type":"a","id":"b","rev":"1","fields":{"x":1}}],"processed":3,"complete":{"types":{"a":{"count":1}}}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var pg page
		if json.Unmarshal(raw, &pg) != nil {
			return
		}
		p, err := OpenMemory(NewMemory(), options(nil))
		must(t, err)
		if _, err := p.applyPage(&pg, applyHow{}); err != nil {
			return
		}
		types, err := p.Types()
		must(t, err)
		for _, typ := range types {
			if _, err := p.List(typ, nil); err != nil {
				t.Fatal(err)
			}
		}
	})
}
