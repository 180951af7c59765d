package client

import (
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"satchel/sync/wire"
)

// dying is a store whose program ends at a chosen update, before or after the
// commit, and does nothing from then on.
type dying struct {
	*Memory
	left  int
	after bool
	dead  bool
}

var errDied = errors.New("the program ended here")

func (d *dying) update(f func(tx) error) error {
	if d.dead {
		return errDied
	}
	if d.left--; d.left < 0 {
		d.dead = true
		if d.after {
			_ = d.Memory.update(f)
		}
		return errDied
	}
	return d.Memory.update(f)
}

func (d *dying) setLabel(b []byte) error {
	if d.dead {
		return errDied
	}
	if d.left--; d.left < 0 {
		d.dead = true
		return errDied
	}
	return d.Memory.setLabel(b)
}

// However answers are lost, doubled or late, and whenever the program ends,
// the store is exactly the server's model whenever the phone says that it is
// complete, each edit is in effect once, and in the end everything gets there.
func TestConvergesUnderFaults(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newFake()
		s.then = map[string]map[wire.Ref]fakeRecord{}
		s.page = rapid.IntRange(1, 6).Draw(t, "page")
		tr := &direct{h: s}
		m := NewMemory()
		p, err := OpenMemory(m, options(tr))
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Login(ctx, "ana", "secret"); err != nil {
			t.Fatal(err)
		}
		inc := incarnation(t, p)
		faults := rapid.SliceOfN(rapid.SampledFrom([]fault{fine, fine, fine, loseRequest, loseAnswer, twice, late, lateTwo}), 1, 40).Draw(t, "faults")
		at, calm := 0, false
		tr.fault = func(path string) fault {
			if calm || path == "/sync/v1/rules" { // which are fetched beside the others
				return fine
			}
			at++
			return faults[at%len(faults)]
		}
		reopen := func() {
			var err error
			if p, err = OpenMemory(m, options(tr)); err != nil {
				t.Fatal(err)
			}
			if got := incarnation(t, p); got != inc {
				t.Fatalf("a crash began incarnation %s", got)
			}
		}
		edit := func(p *Phone) error {
			recs, err := p.List("job", nil)
			if err != nil {
				return err
			}
			op := rapid.IntRange(0, 3).Draw(t, "edit")
			if op == 0 || len(recs) == 0 {
				_, err := p.Create("job", map[string]any{"v": rapid.IntRange(0, 9).Draw(t, "v")})
				return err
			}
			id := recs[rapid.IntRange(0, len(recs)-1).Draw(t, "rec")].ID
			switch op {
			case 1:
				return p.Patch("job", id, map[string]any{"v": rapid.IntRange(0, 9).Draw(t, "v")})
			case 2:
				return p.Action("job", id, "go", nil)
			}
			return p.Delete("job", id)
		}
		check := func(rep Report, err error) {
			if errors.Is(err, ErrSignedOut) {
				t.Fatal(err)
			}
			if err == nil && rep.Complete {
				// A late page is the server's model of when it was made.
				var cp string
				_ = p.st.view(func(t tx) error { cp = string(t.get(bucketMeta, keyCheckpoint)); return nil })
				world, ok := s.then[cp]
				if !ok {
					t.Fatalf("checkpoint %q was never given", cp)
				}
				baseIsWorld(t, p, world)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				s.put(rapid.SampledFrom([]string{"job", "asset"}).Draw(t, "type"), fmt.Sprint("r", rapid.IntRange(0, 9).Draw(t, "id")), map[string]any{"v": s.changes})
			},
			"remove": func(t *rapid.T) {
				s.remove(rapid.SampledFrom([]string{"job", "asset"}).Draw(t, "type"), fmt.Sprint("r", rapid.IntRange(0, 9).Draw(t, "id")))
			},
			"edit": func(t *rapid.T) { _ = edit(p) },
			"sync": func(t *rapid.T) { check(p.Sync(ctx)) },
			"pull": func(t *rapid.T) {
				var rep Report
				err := p.pullAll(ctx, &rep, nil, nil)
				check(rep, err)
			},
			"verify": func(t *rapid.T) { _, _ = p.Verify(ctx) },
			"expire": func(t *rapid.T) { s.mark("expired") },
			"reopen": func(t *rapid.T) { reopen() },
			"die": func(t *rapid.T) {
				d := &dying{Memory: m, left: rapid.IntRange(0, 8).Draw(t, "left"), after: rapid.Bool().Draw(t, "after")}
				if q, err := openOn(d, options(tr)); err == nil {
					_ = edit(q)
					_, _ = q.Sync(ctx)
				}
				reopen()
			},
		})
		calm = true
		rep, err := p.Sync(ctx)
		if err != nil || !rep.Complete {
			t.Fatalf("after the faults: %v %+v", err, rep)
		}
		baseIs(t, p, s)
		if st, _ := p.Status(); st.Pending != 0 || !st.Complete {
			t.Fatalf("status %+v", st)
		}
		recs, err := p.List("job", nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range recs {
			if r.Pending {
				t.Fatalf("still pending: %+v", r)
			}
		}
		if len(recs) != int(countIn(s, "job")) {
			t.Fatalf("%d shown, %d there", len(recs), countIn(s, "job"))
		}
		for _, d := range s.devices {
			var next uint64
			_ = p.st.view(func(t tx) error { next, err = nextNumber(t); return err })
			if next != d.processed+1 {
				t.Fatalf("%d mutations in effect, next is %d", d.processed, next)
			}
			for n := uint64(1); n <= d.processed; n++ {
				if d.contents[n] == "" {
					t.Fatalf("mutation %d is missing", n)
				}
			}
		}
		for k := range dump(m) {
			switch bucket(k[0]) {
			case bucketOutbox, bucketSettled, bucketTouched, bucketCreates, bucketHidden:
				t.Fatalf("left over: %q", k)
			}
		}
	})
}

func countIn(s *fakeServer, typ string) (n int) {
	for ref := range s.world {
		if ref.Type == typ {
			n++
		}
	}
	return n
}
