package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"

	"satchel/sync/wire"
)

// liveRig is a phone on a real listener with Live running.
type liveRig struct {
	*Phone
	s       *fakeServer
	mu      sync.Mutex
	changes []Change
	ended   chan error
	cancel  context.CancelFunc
}

func startLive(t *testing.T, s *fakeServer, prepare func(*Phone)) *liveRig {
	t.Helper()
	return startLiveTold(t, s, prepare, func(Change) {})
}

// startLiveTold also tells told of every change, outside of the rig's lock.
func startLiveTold(t *testing.T, s *fakeServer, prepare func(*Phone), told func(Change)) *liveRig {
	t.Helper()
	leaks := goleak.IgnoreCurrent()
	srv := httptest.NewServer(s)
	tr := &http.Transport{}
	o := options(tr)
	o.Server = srv.URL
	p, err := OpenMemory(NewMemory(), o)
	must(t, err)
	p.backoffMin, p.backoffMax = 5*time.Millisecond, 20*time.Millisecond
	must(t, p.Login(ctx, "ana", "secret"))
	if prepare != nil {
		prepare(p)
	}
	lctx, cancel := context.WithCancel(ctx)
	rig := &liveRig{Phone: p, s: s, ended: make(chan error, 1), cancel: cancel}
	go func() {
		rig.ended <- p.Live(lctx, func(c Change) {
			rig.mu.Lock()
			rig.changes = append(rig.changes, c)
			rig.mu.Unlock()
			told(c)
		})
	}()
	t.Cleanup(func() {
		cancel()
		must(t, p.Close())
		srv.CloseClientConnections()
		srv.Close()
		tr.CloseIdleConnections()
		goleak.VerifyNone(t, leaks)
	})
	return rig
}

// patience is how long a test waits for what only the machine's speed decides.
const patience = time.Minute

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if f() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

func (r *liveRig) has(typ, id string) bool { _, err := r.Get(typ, id); return err == nil }

func (r *liveRig) end(t *testing.T) error {
	t.Helper()
	select {
	case err := <-r.ended:
		return err
	case <-time.After(patience):
		t.Fatal("Live did not end")
		return nil
	}
}

func TestLive(t *testing.T) {
	s := newFake()
	s.page = 3
	for i := range 10 {
		s.put("job", fmt.Sprint("job", i), map[string]any{"a": "1"})
	}
	r := startLive(t, s, nil)
	eventually(t, "first sync", func() bool { st, _ := r.Status(); return st.Complete })
	for i := range 10 {
		if !r.has("job", fmt.Sprint("job", i)) {
			t.Fatalf("job%d is missing", i)
		}
	}
	s.put("job", "new", map[string]any{"a": "1"})
	eventually(t, "a new record", func() bool { return r.has("job", "new") })
	s.remove("job", "new")
	eventually(t, "a removal", func() bool { return !r.has("job", "new") })
	must(t, r.Patch("job", "job1", map[string]any{"a": "2"}))
	var ids []string
	for range 600 { // more than a push takes
		id, err := r.Create("note", map[string]any{"text": "x"})
		must(t, err)
		ids = append(ids, id)
	}
	eventually(t, "pushes", func() bool { st, _ := r.Status(); return st.Pending == 0 })
	eventually(t, "pages with them", func() bool {
		rec, err := r.Get("note", ids[599])
		return err == nil && !rec.Pending
	})
	must(t, r.Pin("job", "job1"))
	eventually(t, "pins", func() bool {
		found := false
		s.locked(func() { p := s.pulls[len(s.pulls)-1].Pins; found = p != nil && len(*p) == 1 })
		return found
	})
	// Nothing may spin when there is nothing to do, once what there was is done.
	eventually(t, "300 ms with hardly a pull", func() bool {
		var before, after int
		s.locked(func() { before = len(s.pulls) })
		time.Sleep(300 * time.Millisecond)
		s.locked(func() { after = len(s.pulls) })
		return after-before <= 2
	})
	r.cancel()
	if err := r.end(t); !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
	s.locked(func() { baseIs(t, r.Phone, s) })
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.changes[0].Connected {
		t.Errorf("first change %+v", r.changes[0])
	}
	results := 0
	for _, c := range r.changes {
		results += len(c.Results)
	}
	if results != 601 {
		t.Errorf("%d results told", results)
	}
}

func TestLiveReconnects(t *testing.T) {
	s := newFake()
	r := startLive(t, s, nil)
	eventually(t, "connection", func() bool { st, _ := r.Status(); return st.Complete })
	s.mark("expired")
	s.closeSockets(wire.CloseExpired)
	s.put("job", "a", nil)
	eventually(t, "after 4001", func() bool { return r.has("job", "a") })
	s.locked(func() {
		if len(s.refreshes) == 0 {
			t.Error("no refresh")
		}
	})
	s.closeSockets(1001)
	s.put("job", "b", nil)
	eventually(t, "after 1001", func() bool { return r.has("job", "b") })
	// Without a socket it syncs over HTTP.
	s.locked(func() { s.noSocket = true })
	s.closeSockets(1001)
	id, err := r.Create("note", map[string]any{"text": "x"})
	must(t, err)
	eventually(t, "HTTP instead", func() bool { rec, err := r.Get("note", id); return err == nil && !rec.Pending })
	s.locked(func() { s.noSocket = false })
	eventually(t, "socket again", func() bool {
		n := 0
		s.locked(func() { n = len(s.sockets) })
		return n == 1
	})
	// The server forgets the checkpoint.
	s.locked(func() {
		for _, d := range s.devices {
			d.acked, d.token, d.pending = "older", "", nil
		}
	})
	s.closeSockets(1001)
	s.put("job", "c", nil)
	eventually(t, "after bad_checkpoint", func() bool { return r.has("job", "c") })
	eventually(t, "quiet", func() bool { st, _ := r.Status(); return st.Complete })
	s.locked(func() { baseIs(t, r.Phone, s) })
}

func TestLiveEnds(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(*liveRig)
		want error
	}{
		{"superseded", func(r *liveRig) { r.s.closeSockets(wire.CloseSuperseded) }, ErrSuperseded},
		{"revoked", func(r *liveRig) { r.s.closeSockets(wire.CloseRevoked) }, ErrSignedOut},
		{"wipe", func(r *liveRig) {
			r.s.mark("wipe")
			r.s.locked(func() {
				for t := range r.s.refresh {
					r.s.refresh[t] = "wipe"
				}
			})
			r.s.closeSockets(wire.CloseRevoked)
		}, ErrWiped},
		{"closed", func(r *liveRig) { _ = r.Close() }, ErrClosed},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newFake()
			s.put("job", "a", nil)
			r := startLive(t, s, nil)
			eventually(t, "connection", func() bool {
				n := 0
				s.locked(func() { n = len(s.sockets) })
				return n == 1
			})
			c.do(r)
			if err := r.end(t); !errors.Is(err, c.want) {
				t.Errorf("ended with %v", err)
			}
		})
	}
}

// A connection may be closed while the phone is about to write: the write fails
// before the reason has been looked at. The reason must win, or two phones with
// one session would go on throwing each other out.
func TestLiveEndsWhileWriting(t *testing.T) {
	for code, want := range map[int]error{wire.CloseSuperseded: ErrSuperseded, wire.CloseRevoked: ErrSignedOut} {
		t.Run(strconv.Itoa(code), func(t *testing.T) {
			s := newFake()
			r := startLiveTold(t, s, nil, func(c Change) {
				if c.Online {
					return
				}
				// A page, which the phone is about to acknowledge.
				s.closeSockets(code)
				time.Sleep(50 * time.Millisecond) // the close is answered: nothing may be written any more
			})
			if err := r.end(t); !errors.Is(err, want) {
				t.Errorf("ended with %v", err)
			}
		})
	}
}

// Another request may be told to wipe the store before the socket is closed:
// the session is gone by the time Live asks why.
func TestLiveEndsAfterAWipe(t *testing.T) {
	s := newFake()
	s.put("job", "a", nil)
	var r *liveRig
	ready, once := make(chan struct{}), sync.Once{}
	// Live asks for the rules beside its socket; that request is not to be the
	// one that is told of the wipe.
	rules, asked := make(chan struct{}), sync.Once{}
	s.reject = func(path string) *wire.Problem {
		if path == "/sync/v1/rules" {
			asked.Do(func() { close(rules) })
		}
		return nil
	}
	r = startLiveTold(t, s, nil, func(c Change) {
		if c.Online {
			return
		}
		<-ready
		<-rules
		once.Do(func() {
			s.mark("wipe")
			if _, err := r.Sync(ctx); !errors.Is(err, ErrWiped) {
				t.Errorf("sync: %v", err)
			}
			s.closeSockets(wire.CloseRevoked)
		})
	})
	close(ready)
	if err := r.end(t); !errors.Is(err, ErrWiped) {
		t.Errorf("ended with %v", err)
	}
}

func TestLiveNoticesADeadPeer(t *testing.T) {
	s := newFake()
	const wait = time.Second // longer than a busy machine keeps a pong
	r := startLive(t, s, func(p *Phone) { p.pingEvery, p.pongWait = wait/20, wait })
	eventually(t, "connection", func() bool { st, _ := r.Status(); return st.Complete })
	time.Sleep(wait * 3 / 2) // pongs keep it open
	var n int
	s.locked(func() { n = s.upgrades })
	if n != 1 {
		t.Errorf("%d connections", n)
	}
	s.locked(func() { time.Sleep(100 * time.Millisecond) }) // reading stops only while a frame is handled
	s.mu.Lock()
	// A server that hangs: the next frame it reads waits for the lock, and with
	// it every pong.
	_, err := r.Create("note", map[string]any{"text": "x"})
	if err != nil {
		t.Error(err)
	}
	eventually(t, "loss of the connection", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.changes[len(r.changes)-1].Err != nil
	})
	s.mu.Unlock()
}

func TestBackoff(t *testing.T) {
	p, err := OpenMemory(NewMemory(), options(nil))
	must(t, err)
	for failures := range 70 {
		for range 20 {
			d := p.backoff(failures, nil)
			if d <= 0 || d > p.backoffMax+1 || failures == 0 && d > p.backoffMin+1 {
				t.Fatalf("backoff(%d) = %v", failures, d)
			}
		}
	}
	// What the server asks for is kept, and those who were told the same are not
	// back in the same instant.
	told := map[time.Duration]bool{}
	for range 20 {
		d := p.backoff(0, &Error{RetryAfter: time.Hour})
		if d <= time.Hour || d > time.Hour+p.backoffMin+1 {
			t.Errorf("after Retry-After: %v", d)
		}
		told[d] = true
	}
	if len(told) < 15 {
		t.Errorf("%d different times of 20", len(told))
	}
}

func TestCrowded(t *testing.T) {
	for code, want := range map[int]bool{1000: false, 1001: true, 1006: true, 1008: false, 1011: false, 1012: true, 1013: true, wire.CloseExpired: false} {
		if got := crowded(fmt.Errorf("lost: %w", &websocket.CloseError{Code: code})); got != want {
			t.Errorf("%d: %v", code, got)
		}
	}
	for status, want := range map[int]bool{401: false, 404: false, 429: true, 500: false, 503: true} {
		if got := crowded(&Error{Status: status}); got != want {
			t.Errorf("%d: %v", status, got)
		}
	}
	if crowded(io.ErrClosedPipe) {
		t.Error("an error of one's own is nobody else's")
	}
}

// TestLiveSpreads: when a server goes away all its devices are told at once.
// None may be back at once, over HTTP neither, unless its person has work to
// send; and it is back within the time over which they spread.
func TestLiveSpreads(t *testing.T) {
	s := newFake()
	const first = 200 * time.Millisecond
	r := startLive(t, s, func(p *Phone) { p.backoffMin, p.backoffMax = first, 2*time.Minute })
	eventually(t, "connection", func() bool { st, _ := r.Status(); return st.Complete })
	back := func() (upgrades, pulls int) {
		s.locked(func() { upgrades, pulls = s.upgrades, len(s.pulls) })
		return
	}
	early := 0
	const rounds = 5
	for range rounds {
		upgrades, pulls := back()
		s.locked(func() { s.came = time.Time{} })
		closed := time.Now()
		s.closeSockets(websocket.CloseGoingAway)
		eventually(t, "anything of it", func() bool { u, n := back(); return u > upgrades || n > pulls })
		s.locked(func() {
			if s.came.Sub(closed) < first/20 {
				early++ // one in 80 is
			}
		})
		eventually(t, "back", func() bool { u, _ := back(); return u > upgrades })
		eventually(t, "complete", func() bool { _, n := back(); return n > pulls+1 })
	}
	if early == rounds {
		t.Error("back at once each time")
	}
}

// TestLiveEditsDoNotWait: work is somebody's own and is sent at once, unless the
// server asked for time.
func TestLiveEditsDoNotWait(t *testing.T) {
	s := newFake()
	r := startLive(t, s, func(p *Phone) { p.backoffMin, p.backoffMax = time.Hour, 2*time.Hour })
	eventually(t, "connection", func() bool { st, _ := r.Status(); return st.Complete })
	s.closeSockets(websocket.CloseGoingAway)
	id, err := r.Create("note", map[string]any{"text": "x"})
	must(t, err)
	eventually(t, "the edit's answer", func() bool { rec, err := r.Get("note", id); return err == nil && !rec.Pending })
}

// TestLiveEditAsItCloses: an edit that is handed to the socket as it closes does
// not wait either.
func TestLiveEditAsItCloses(t *testing.T) {
	s := newFake()
	r := startLive(t, s, func(p *Phone) { p.backoffMin, p.backoffMax = time.Hour, 2*time.Hour })
	eventually(t, "connection", func() bool { st, _ := r.Status(); return st.Complete })
	s.locked(func() { s.closes = websocket.CloseGoingAway })
	id, err := r.Create("note", map[string]any{"text": "x"})
	must(t, err)
	eventually(t, "the edit's answer", func() bool { rec, err := r.Get("note", id); return err == nil && !rec.Pending })
}

// TestLiveKeepsRetryAfter: while the server asks for time nothing is sent, an
// edit neither. A socket that can't be had keeps nobody from syncing afterwards.
func TestLiveKeepsRetryAfter(t *testing.T) {
	s := newFake()
	r := startLive(t, s, nil)
	eventually(t, "connection", func() bool { st, _ := r.Status(); return st.Complete })
	s.locked(func() { s.noSocket, s.retryAfter = true, "1" })
	s.closeSockets(websocket.CloseGoingAway)
	var refused time.Time
	eventually(t, "a refusal", func() bool { s.locked(func() { refused = s.refused }); return !refused.IsZero() })
	id, err := r.Create("note", map[string]any{"text": "x"})
	must(t, err)
	eventually(t, "the edit's answer", func() bool { rec, err := r.Get("note", id); return err == nil && !rec.Pending })
	if took := time.Since(refused); took < time.Second {
		t.Errorf("back after %v", took)
	}
}

// TestAcksDeferred: pages that the server does not wait for are acknowledged a little
// later, several at a time; all others at once, and those before them with them.
func TestAcksDeferred(t *testing.T) {
	s := newFake()
	s.deferAcks = true
	for i := range 3 {
		s.put("job", fmt.Sprint("job", i), map[string]any{"i": 0})
	}
	r := startLive(t, s, nil)
	eventually(t, "first sync", func() bool { st, _ := r.Status(); return st.Complete })
	has := func(id string, i int) func() bool {
		return func() bool {
			rec, err := r.Get("job", id)
			return err == nil && string(rec.Fields["i"]) == fmt.Sprint(i)
		}
	}
	var pulls int
	s.locked(func() { pulls = len(s.pulls) })
	for i := 1; i <= 3; i++ { // all of them may come before the first ack
		s.put("job", "job1", map[string]any{"i": i})
		eventually(t, fmt.Sprint("change ", i), has("job1", i))
	}
	var d *fakeDevice
	s.locked(func() {
		for _, d = range s.devices {
		}
	})
	last := func() (cp string) {
		s.locked(func() { cp = d.token })
		return cp
	}
	said := func() (acks []string) {
		s.locked(func() { acks = slices.Clone(s.acks) })
		return acks
	}
	eventually(t, "ack", func() bool { acks := said(); return len(acks) > 0 && acks[len(acks)-1] == last() })
	s.locked(func() {
		if len(s.acks) > 3 || len(s.pulls) != pulls+3 {
			t.Errorf("%d acks, %d pages", len(s.acks), len(s.pulls)-pulls)
		}
		s.acks = nil
	})
	s.put("job", "job1", map[string]any{"i": 4})
	s.put("job", "job9", map[string]any{"i": 9}) // new: it waits for that
	eventually(t, "both", func() bool { return has("job1", 4)() && has("job9", 9)() })
	eventually(t, "pull", func() (ok bool) {
		s.locked(func() { ok = !d.inFlight && d.acked == d.token })
		return ok
	})
	time.Sleep(2 * ackWait)
	if acks := said(); len(acks) > 0 && acks[len(acks)-1] == last() {
		t.Error("a page that was pulled from is acknowledged once more")
	}
	baseIs(t, r.Phone, s)
}
