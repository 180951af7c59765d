package crashtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"satchel/internal/ident"
	"satchel/mobile-api/client"
	"satchel/server/suite"
)

// KillOptions say how a server is to be killed.
type KillOptions struct {
	Binary Binary
	// Open makes a tenant, as the binary would.
	Open Open
	// Dir is a folder for the data, which is gone afterwards unless something
	// was violated.
	Dir string
	// Rounds is how often the server is killed, 100 unless said.
	Rounds int
	// Seed decides when; what happens in between is up to the machine.
	Seed uint64
	// Progress is told how many of how many rounds are done; nil for nobody.
	Progress func(done, total int)
}

// KillReport is what was done and found.
type KillReport struct {
	Rounds int `json:"rounds"`
	// Starting are the rounds in which the server was killed before it listened.
	Starting int `json:"starting"`
	// Writes, Mutations, Uploads and Renewals were acknowledged: requests to the
	// module API, offline work of phones, files, and changes of tokens.
	Writes    int `json:"writes"`
	Mutations int `json:"mutations"`
	Uploads   int `json:"uploads"`
	Renewals  int `json:"renewals"`
	// Unanswered are requests that had no answer and were sent again.
	Unanswered int `json:"unanswered"`
	// Start is how long a server took to listen, in the median.
	Start time.Duration `json:"start"`
	Took  time.Duration `json:"took"`
	// Violation says what is wrong, "" for nothing; Kept is the folder that
	// shows it.
	Violation string `json:"violation,omitempty"`
	Kept      string `json:"kept,omitempty"`
}

// OK reports whether nothing was violated.
func (r KillReport) OK() bool { return r.Violation == "" }

// Add adds what another run did and found; the first violation stays, and the
// longer time to start.
func (r *KillReport) Add(o KillReport) {
	r.Rounds += o.Rounds
	r.Starting += o.Starting
	r.Writes += o.Writes
	r.Mutations += o.Mutations
	r.Uploads += o.Uploads
	r.Renewals += o.Renewals
	r.Unanswered += o.Unanswered
	r.Start = max(r.Start, o.Start)
	r.Took += o.Took
	if r.OK() {
		r.Violation, r.Kept = o.Violation, o.Kept
	}
}

// roundsPerWorld is after how many rounds a new data folder is taken, so that
// looking through it stays quick.
const roundsPerWorld = 25

// maxLoad bounds how long a server is under load before it is killed.
const maxLoad = 150 * time.Millisecond

// Kill runs the real server on a data folder, has people write, upload, push,
// pull and follow, ends it by SIGKILL at a random moment, again and again, and
// judges the folder each time: what was acknowledged is there exactly once, what
// was not at most once, and sent again exactly once; no file is half written;
// everything that verify checks agrees. In the end the phones have what the
// server has. It stops at the first violation, and when ctx ends.
func Kill(ctx context.Context, o KillOptions) (rep KillReport, err error) {
	if o.Rounds <= 0 {
		o.Rounds = 100
	}
	began := time.Now()
	all, err := suite.Load()
	if err != nil {
		return rep, err
	}
	dir, err := os.MkdirTemp(o.Dir, "satchel-kill-*")
	if err != nil {
		return rep, err
	}
	k := &killing{o: &o, rep: &rep, all: all, dir: dir, rng: rand.New(rand.NewPCG(o.Seed, 0x51915))}
	err = k.play(ctx)
	rep.Took = time.Since(began)
	if len(k.starts) > 0 {
		slices.Sort(k.starts)
		rep.Start = k.starts[len(k.starts)/2]
	}
	var v violation
	if errors.As(err, &v) {
		rep.Violation, rep.Kept = err.Error(), dir
		return rep, nil
	}
	if ctx.Err() != nil {
		err = nil // an end that was asked for
	}
	return rep, errors.Join(err, os.RemoveAll(dir))
}

// killing is one run of Kill.
type killing struct {
	o      *KillOptions
	rep    *KillReport
	all    *suite.Suite
	dir    string
	rng    *rand.Rand
	starts []time.Duration
}

func (k *killing) play(ctx context.Context) error {
	template := filepath.Join(k.dir, "template")
	if err := populate(ctx, template, k.o.Open); err != nil {
		return err
	}
	for n := 0; k.rep.Rounds < k.o.Rounds && ctx.Err() == nil; n++ {
		data := filepath.Join(k.dir, fmt.Sprintf("world-%d", n))
		if err := copyTree(template, data); err != nil {
			return err
		}
		if err := k.world(ctx, data); err != nil {
			return err
		}
		if err := os.RemoveAll(data); err != nil {
			return err
		}
	}
	return nil
}

// people are those who use one data folder.
type people struct {
	transport *http.Transport
	writers   []*writer
	files     *uploader
	clerk     *api // changes tokens
	eve       *phone
	eddie     *phone
	number    int // of what Eve typed
	notes     int // of what Eddie typed
}

// writer creates scheduling roles, and counts one up.
type writer struct {
	api     *api
	name    string
	counter ident.RecordID
	count   [2]int // acknowledged, sent
	pending *write // sent and not answered
	counts  bool   // pending is of the counter
	made    int
	asked   map[string]bool
}

// uploader uploads files.
type uploader struct {
	api  *api
	name string
	now  *upload
	done []*upload
	made int
}

func (k *killing) people(ctx context.Context, base string) (*people, error) {
	tr := &http.Transport{MaxIdleConnsPerHost: 16}
	p := &people{transport: tr}
	sign := func(email string) (*api, error) {
		a := &api{http: &http.Client{Transport: tr}, base: base}
		return a, a.login(ctx, email)
	}
	for i := range 3 {
		a, err := sign(adaMail)
		if err != nil {
			return nil, err
		}
		p.writers = append(p.writers, &writer{api: a, name: fmt.Sprintf("w%d", i), asked: map[string]bool{}})
	}
	a, err := sign(mailOf(mia))
	if err != nil {
		return nil, err
	}
	p.files = &uploader{api: a, name: "files"}
	if p.clerk, err = sign(mailOf(mia)); err != nil {
		return nil, err
	}
	if p.eve, err = newPhone(ctx, base, tr, eve, client.ProfileOffice); err != nil {
		return nil, err
	}
	p.eddie, err = newPhone(ctx, base, tr, eddie, client.ProfileField)
	return p, err
}

// world kills the servers of one data folder.
func (k *killing) world(ctx context.Context, data string) (err error) {
	listen := freePort()
	config, err := unlimited(k.dir)
	if err != nil {
		return err
	}
	args := []string{"--config", config, "--data", data, "--listen", listen, "--log-level", "info", "--reserve", "16"}
	s, err := k.o.Binary.start(ctx, args...)
	if err != nil {
		return err
	}
	defer func() { s.kill() }()
	p, err := k.people(ctx, "http://"+listen)
	if err != nil {
		return err
	}
	defer p.transport.CloseIdleConnections()
	defer func() { err = errors.Join(err, p.eve.Close(), p.eddie.Close()) }()
	judged := make(chan error, 1)
	judged <- nil // of the state before the first round
	for i := 0; i < roundsPerWorld && k.rep.Rounds < k.o.Rounds && ctx.Err() == nil; i++ {
		err := k.round(ctx, p, s)
		if complaint := s.complaints(); err == nil && complaint != "" {
			err = broke("the server logged: %s", complaint)
		}
		if err = errors.Join(err, <-judged); err != nil {
			return err
		}
		k.rep.Rounds++
		if k.o.Progress != nil {
			k.o.Progress(k.rep.Rounds, k.o.Rounds)
		}
		// The judge looks at a copy, while the server starts on the original.
		seen := filepath.Join(k.dir, "seen")
		if err := errors.Join(os.RemoveAll(seen), copyTree(data, seen)); err != nil {
			return err
		}
		want := p.expected()
		go func() { judged <- judge(k.all, seen, want) }()
		for k.rng.IntN(6) == 0 { // killed while it starts
			s, _, err = k.o.Binary.launch(args)
			if err != nil {
				return err
			}
			time.Sleep(time.Duration(k.rng.Int64N(int64(80 * time.Millisecond))))
			s.kill()
			k.rep.Starting++
			if complaint := s.complaints(); complaint != "" {
				return broke("the server, killed while it started, logged: %s", complaint)
			}
		}
		if s, err = k.o.Binary.start(ctx, args...); ctx.Err() != nil {
			return nil
		} else if err != nil {
			return broke("after being killed it does not start: %v", err)
		}
		k.starts = append(k.starts, s.ready)
	}
	if err := <-judged; err != nil || ctx.Err() != nil {
		return err
	}
	// What is begun is ended, or it would look as if something were missing.
	return k.settle(context.WithoutCancel(ctx), data, p, s)
}

// round has everybody work until the server is killed.
func (k *killing) round(ctx context.Context, p *people, s *server) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	errs := make(chan error, 16)
	work := func(step func(context.Context) error) {
		wg.Go(func() {
			for ctx.Err() == nil {
				if err := step(ctx); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	for _, w := range p.writers {
		work(w.step)
	}
	work(p.files.step)
	renewals := 0
	work(func(ctx context.Context) error {
		if err := p.clerk.renew(ctx); err != nil {
			return err
		}
		renewals++
		return nil
	})
	work(func(ctx context.Context) error {
		p.number++
		if err := p.eve.enter(fmt.Sprintf("%seve %d", roleName, p.number)); err != nil {
			return err
		}
		_, err := p.eve.sync(ctx)
		return err
	})
	var told error
	wg.Go(func() {
		err := p.eddie.Live(ctx, func(c client.Change) { told = errors.Join(told, p.eddie.take(c.Results)) })
		var refused *client.Error
		if errors.As(err, &refused) || errors.Is(err, client.ErrSignedOut) || errors.Is(err, client.ErrWiped) {
			errs <- broke("%s follows: %v", eddie, err)
		}
	})
	wg.Go(func() {
		for ctx.Err() == nil {
			p.notes++
			if err := p.eddie.enter(fmt.Sprintf("%seddie %d", roleName, p.notes)); err != nil {
				errs <- err
				return
			}
			select {
			case <-time.After(7 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	})
	time.Sleep(time.Duration(k.rng.Int64N(int64(maxLoad))))
	s.kill()
	cancel()
	wg.Wait()
	close(errs)
	k.rep.Renewals += renewals
	p.transport.CloseIdleConnections()
	var bad error
	for err := range errs {
		var v violation
		switch {
		case errors.As(err, &v):
			bad = errors.Join(bad, err)
		case errors.Is(err, errUnanswered):
			k.rep.Unanswered++
		case !errors.Is(err, context.Canceled):
			bad = errors.Join(bad, err)
		}
	}
	return errors.Join(bad, told)
}

// step sends what is pending, or one more.
func (w *writer) step(ctx context.Context) error {
	if w.pending == nil {
		w.made++
		w.pending = &write{key: fmt.Sprintf("%s-%d", w.name, w.made), method: http.MethodPost, path: "/v1/admin/scheduling-roles"}
		switch {
		case w.counter == "":
			w.pending.name = fmt.Sprintf("Counter %s #0", w.name)
		case w.made%3 == 0:
			w.count[1]++
			w.counts = true
			w.pending.method, w.pending.path = http.MethodPatch, w.pending.path+"/"+string(w.counter)
			w.pending.name = fmt.Sprintf("Counter %s #%d", w.name, w.count[1])
		default:
			w.pending.name = fmt.Sprintf("%s%s %d", roleName, w.name, w.made)
			w.asked[w.pending.name] = false
		}
		body, err := json.Marshal(map[string]string{"name": w.pending.name})
		if err != nil {
			return err
		}
		w.pending.body = body
	}
	r, err := w.api.send(ctx, w.pending)
	if err != nil {
		return err
	}
	switch {
	case w.counts:
		w.count[0] = w.count[1]
	case w.counter == "":
		if w.counter, err = idOf(r); err != nil {
			return err
		}
	default:
		w.asked[w.pending.name] = true
	}
	w.pending, w.counts = nil, false
	return nil
}

// step takes a file one request further.
func (u *uploader) step(ctx context.Context) error {
	if u.now == nil {
		u.made++
		body, err := json.Marshal(map[string]string{"parent": "job-one-1", "name": fmt.Sprintf("file %d", u.made)})
		if err != nil {
			return err
		}
		u.now = &upload{
			create:  write{key: fmt.Sprintf("%s-%d", u.name, u.made), method: http.MethodPost, path: "/v1/helpdesk/documents", body: body},
			content: []byte(strings.Repeat(fmt.Sprintf("line of file %d\n", u.made), 1+u.made%4000)),
		}
	} else if err := u.now.resume(ctx, u.api); err != nil {
		return err
	}
	if !u.now.done {
		if err := u.now.step(ctx, u.api); err != nil {
			return err
		}
	}
	if u.now.done {
		u.done, u.now = append(u.done, u.now), nil
	}
	return nil
}

// expected is what must be there by now. Nobody may be at work.
func (p *people) expected() *expected {
	e := &expected{
		roles: map[string]bool{}, entries: map[string]bool{}, entryIDs: map[string]ident.RecordID{},
		counters: map[ident.RecordID][2]int{}, contents: map[ident.RecordID][]byte{},
	}
	for _, w := range p.writers {
		maps.Copy(e.roles, w.asked)
		if w.counter != "" {
			e.counters[w.counter] = w.count
		}
	}
	for _, ph := range []*phone{p.eve, p.eddie} {
		for id, note := range ph.typed {
			e.entries[note], e.entryIDs[note] = ph.acknowledged[id], id
		}
	}
	for _, u := range p.files.done {
		e.contents[u.document] = u.content
	}
	return e
}

// settle lets things fall quiet: everything that had no answer is sent again,
// the phones synchronise, and then everything must be there once, on the phones
// too.
func (k *killing) settle(ctx context.Context, data string, p *people, s *server) error {
	for _, w := range p.writers {
		if err := w.step(ctx); err != nil {
			return fmt.Errorf("%s, in the end: %w", w.name, err)
		}
	}
	for p.files.now != nil {
		if err := p.files.step(ctx); err != nil {
			return fmt.Errorf("uploads, in the end: %w", err)
		}
	}
	if err := p.clerk.renew(ctx); err != nil {
		return fmt.Errorf("tokens, in the end: %w", err)
	}
	phones := []*phone{p.eve, p.eddie}
	for range 2 { // the second time they learn of each other's
		for _, ph := range phones {
			if complete, err := ph.sync(ctx); err != nil || !complete {
				return errors.Join(err, broke("%s does not converge", ph.person))
			}
		}
	}
	for _, ph := range phones {
		if healed, err := ph.Verify(ctx); err != nil || len(healed) > 0 {
			return broke("%s differs from the server in %v: %v", ph.person, healed, err)
		}
		st, err := ph.Status()
		if err != nil {
			return err
		}
		if st.Pending > 0 || st.Problems > 0 {
			return broke("%s has %d changes unsent and %d problems", ph.person, st.Pending, st.Problems)
		}
		for id := range ph.typed {
			if !ph.acknowledged[id] {
				// It was in effect, and the page said so, before the answer came
				// a second time.
				ph.acknowledged[id] = true
			}
			if _, err := ph.Get("timeEntry", string(id)); err != nil {
				return broke("%s has lost its time entry %s: %v", ph.person, id, err)
			}
		}
	}
	if err := s.stop(); err != nil {
		return broke("%v", err)
	}
	if complaint := s.complaints(); complaint != "" {
		return broke("the server logged: %s", complaint)
	}
	want := p.expected()
	for name, acknowledged := range want.roles {
		if !acknowledged {
			return broke("%q never was acknowledged", name)
		}
	}
	if err := judge(k.all, data, want); err != nil {
		return err
	}
	if out, err := k.o.Binary.run("verify", "--data", data, "--all"); err != nil {
		return broke("%v", err)
	} else if !strings.Contains(out, "all agree") {
		return broke("verify says %s", out)
	}
	for _, w := range p.writers {
		k.rep.Writes += len(w.asked) + w.count[0]
	}
	k.rep.Mutations += len(p.eve.typed) + len(p.eddie.typed)
	k.rep.Uploads += len(p.files.done)
	return nil
}
