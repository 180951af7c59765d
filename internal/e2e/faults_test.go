package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"satchel/internal/command"
	"satchel/internal/ident"
	"satchel/mobile-api/client"
	"satchel/sync/oplog"
	"satchel/sync/store"
	"satchel/sync/wire"
)

// TestRestart: a server that ends and starts again loses nothing, and live
// phones come back by themselves.
func TestRestart(t *testing.T) {
	s := newServer(t)
	p, m := s.phone(eve, "field"), s.phone(mia, "office")
	p.follow()
	m.follow()
	for i := range 3 {
		note := fmt.Sprintf("before %d", i)
		p.patch("jobActivity", "act-one-1", map[string]any{"note": note})
		s.restart()
		soon(t, "the note arrives", func() bool { return m.text("jobActivity", "act-one-1", "note") == note })
	}
	if rest := p.problems(); len(rest) > 0 {
		t.Errorf("problems %+v", rest)
	}
	p.unfollow()
	m.unfollow()
	p.verify()
	m.verify()
}

// TestRestore: a server put back from an older backup, with phones ahead of
// it: they converge, and what had not been seen on the server is typed in
// again by nobody.
func TestRestore(t *testing.T) {
	s := newServer(t)
	var cut atomic.Bool
	cutPulls := func(o *client.Options) {
		o.Transport = answerLost{s.http, func(r *http.Request) bool { return cut.Load() && r.URL.Path == "/sync/v1/pull" }}
	}
	old, live := s.phone(eve, "field", cutPulls), s.phone(mia, "office")
	entry := func(p *phone, text string) string {
		return p.create("comment", map[string]any{"parent": "act-one-1", "text": text})
	}
	quiet := s.phone(eve, "field", cutPulls)
	first := entry(old, "before the backup")
	old.sync()
	live.sync()
	saved := s.backup()

	// Confirmed and shown: gone with the server's disk, and with it a device
	// that signed in since.
	late := s.phone(eddie, "office", cutPulls)
	late.patch("client", "client-one", map[string]any{}) // nothing
	shown := entry(old, "confirmed and shown")
	old.sync()
	live.sync()
	live.want("comment/" + shown)
	// Confirmed, but no page has shown it yet.
	unshown := entry(old, "confirmed, not shown")
	lateText := late.create("comment", map[string]any{"parent": "client-two", "text": "from a device the backup does not know"})
	quietly := entry(quiet, "confirmed, not shown, nothing after it")
	cut.Store(true)
	for _, p := range []*phone{old, late, quiet} {
		if _, err := p.Sync(context.Background()); err == nil {
			t.Fatal("the pull got through")
		}
		if ms, err := p.Pending(); err != nil || len(ms) > 0 {
			t.Fatalf("pending %v %v", ms, err)
		}
	}
	cut.Store(false)
	unsent := entry(old, "not sent")
	s.Import(Row("client", "client-one", "city", "of the lost future"))
	live.sync()

	s.restore(saved)

	quiet.sync()
	if !s.exists(ident.RecordID(quietly)) {
		t.Errorf("%s is not on the server", quietly)
	}
	old.sync()
	old.want("comment/"+first, "comment/"+unshown, "comment/"+unsent)
	for _, id := range []string{first, unshown, unsent} {
		if !s.exists(ident.RecordID(id)) {
			t.Errorf("%s is not on the server", id)
		}
	}
	live.follow()
	soon(t, "the manager goes back to what is", func() bool {
		return live.has("comment", unsent) && live.text("client", "client-one", "city") == ""
	})
	live.lacks("comment/" + shown)
	if _, err := late.Sync(context.Background()); !errors.Is(err, client.ErrSignedOut) {
		t.Fatalf("a device from after the backup: %v", err)
	}
	late.login()
	late.sync()
	comments, err := late.List("comment", nil)
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, c := range comments {
		found = found || c.Text("text") == "from a device the backup does not know"
	}
	if !found {
		t.Errorf("what was typed on it is lost (made as %s): %v, problems %+v", lateText, comments, late.problems())
	}
	live.unfollow()
	for _, p := range []*phone{old, live, late, quiet} {
		p.sync()
		p.verify()
		if pr := p.problems(); len(pr) > 0 {
			t.Errorf("%s: problems %+v", p.who, pr)
		}
	}
}

// TestRestoreSendsLittle: after a restore a phone that was in step says what it
// holds, and only the types that differ are sent again.
func TestRestoreSendsLittle(t *testing.T) {
	s := newServer(t)
	p := s.phone(mia, "office")
	p.sync()
	saved := s.backup()
	s.Import(Row("client", "client-one", "city", "of the lost future"))
	s.restore(saved)
	rep, err := p.Sync(context.Background())
	if err != nil || !rep.Complete || rep.Records > 0 {
		t.Fatalf("%+v, %v", rep, err)
	}
	s.Import(Row("client", "client-one", "city", "of the new one"))
	if rep, err = p.Sync(context.Background()); err != nil || rep.Records != 1 {
		t.Fatalf("%+v, %v", rep, err)
	}
	p.verify()
}

// TestFreshFollow: a new phone that goes live at once is sent its records once,
// though its settings and its first pull leave at the same moment.
func TestFreshFollow(t *testing.T) {
	s := newServer(t)
	p := s.phone(eve, "office")
	if err := p.Erase(); err != nil {
		t.Fatal(err)
	}
	p.login()
	if err := p.SetProfile("field"); err != nil {
		t.Fatal(err)
	}
	ten, err := s.app.Tenants().Tenant(slug)
	if err != nil {
		t.Fatal(err)
	}
	before := ten.Stats.Pages.Load()
	p.follow()
	soon(t, "the work arrives", func() bool { return p.has("jobActivity", "act-one-1") })
	time.Sleep(300 * time.Millisecond)
	p.unfollow()
	if n := ten.Stats.Pages.Load() - before; n > 6 {
		t.Errorf("%d pages for one small sync", n)
	}
	p.verify()
}

// TestTwoWaysAtOnce: one device over the socket and over HTTP at the same
// time, with answers lost, while it works and others do: it converges, and a
// change costs no second copy of everything.
func TestTwoWaysAtOnce(t *testing.T) {
	s := newServer(t)
	var lossy atomic.Bool
	rnd := rand.New(rand.NewPCG(1, 2))
	var mu sync.Mutex
	p := s.phone(eve, "field", func(o *client.Options) {
		o.Transport = answerLost{s.http, func(r *http.Request) bool {
			mu.Lock()
			defer mu.Unlock()
			return lossy.Load() && r.Method == http.MethodPost && strings.HasPrefix(r.URL.Path, "/sync/") && rnd.IntN(4) == 0
		}}
		// The transport above is no *http.Transport; the socket needs none.
		o.PageLimit = 3
	})
	p.follow()
	lossy.Store(true)
	for i := range 60 {
		switch i % 4 {
		case 0:
			s.Import(Row("jobActivity", "act-one-1", "instructions", fmt.Sprintf("do %d", i)))
		case 1:
			_, _ = p.Sync(context.Background()) // some fail
		case 2:
			p.create("timeEntry", map[string]any{"activity": "act-two-1", "employee": eve, "kind": "work", "start": "2026-01-05T08:00:00Z"})
		case 3:
			to := []ident.RecordID{eve, eddie}[i/4%2]
			s.Import(Row("jobActivity", "act-three-1", "assignee", to))
		}
	}
	lossy.Store(false)
	soon(t, "the socket has caught up", func() bool {
		st, err := p.Status()
		return err == nil && st.Pending == 0 && st.Complete && p.text("jobActivity", "act-one-1", "instructions") == "do 56"
	})
	p.sync()
	p.unfollow()
	p.sync()
	p.verify()
	if list, err := p.List("timeEntry", nil); err != nil || len(list) != 15 {
		t.Errorf("%d entries %v", len(list), err)
	}
}

// TestOvertakenSocket: a device that has gone on over HTTP is told by its
// socket that there is more, and the change costs no second copy of all.
func TestOvertakenSocket(t *testing.T) {
	s := newServer(t)
	c := s.signIn(eddie, "raw")
	sock := s.socket(c.access)
	cp := sock.catchUp("", "field")
	sock.send(map[string]any{"kind": "push", "acked": 0, "now": s.clock.Now().UTC().Format(time.RFC3339Nano), "mutations": []any{}})
	sock.frame(wire.KindResults, nil) // so the acknowledgement before it was taken
	pinned := c.pull(map[string]any{"checkpoint": cp, "pins": []wire.Ref{{Type: "client", ID: "client-three"}}})
	s.Import(Row("client", "client-three", "city", "Gouda"))
	var nudge wire.Page
	sock.frame(wire.KindPage, &nudge)
	if nudge.From != cp || nudge.Checkpoint != cp || !nudge.More || nudge.Reset || len(nudge.Records) > 0 {
		t.Fatalf("nudge %+v", nudge)
	}
	// No second one before the device has answered.
	s.Import(Row("client", "client-three", "city", "Delft"))
	sock.send(map[string]any{"kind": "pull", "checkpoint": pinned.Checkpoint})
	var pg wire.Page
	sock.frame(wire.KindPage, &pg)
	if pg.From != pinned.Checkpoint || pg.Reset || len(pg.Records) != 1 || string(pg.Records[0].Fields["city"]) != `"Delft"` {
		t.Fatalf("page %+v", pg)
	}
}

// TestOfflineForLong: much work at once, in pushes of many mutations, with
// a bundle refused in the middle.
func TestOfflineForLong(t *testing.T) {
	s := newServer(t)
	p := s.phone(eve, "field")
	long := strings.Repeat("a long story ", 300)
	var bad string
	for i := range 700 {
		switch i {
		case 300:
			bad = p.create("comment", map[string]any{"parent": "no-such-record", "text": "orphan"})
		case 301: // no edit that the phone's rules would let pass
			if err := p.Patch("comment", bad, map[string]any{"text": "still an orphan"}, client.EditAnyway); err != nil {
				t.Fatal(err)
			}
		default:
			kv := map[string]any{"parent": "act-one-1", "text": fmt.Sprint(i)}
			if i%10 == 0 {
				kv["text"] = long
			}
			p.create("comment", kv)
		}
	}
	rep := p.sync()
	applied := 0
	for _, r := range rep.Results {
		if r.Status == wire.Applied {
			applied++
		}
	}
	if len(rep.Results) != 700 || applied != 698 {
		t.Fatalf("%d results, %d applied", len(rep.Results), applied)
	}
	pr := p.problems()
	if len(pr) != 2 || pr[0].Result.Code != "bad_reference" && pr[0].Result.Code != "not_found" || pr[1].Result.Code != "depends_on" {
		t.Errorf("problems %+v", pr)
	}
	if q := s.quarantined(); len(q) != 2 || q[1].Root != q[0].Mutation.N {
		t.Errorf("quarantine %+v", q)
	}
	m := s.phone(mia, "office")
	if list, err := m.List("comment", nil); err != nil || len(list) != 698 {
		t.Errorf("%d comments, %v", len(list), err)
	}
	p.verify()
}

// TestSlowPhone: a phone that does not read costs no memory and loses nothing,
// and nobody waits for it, nor does its own revocation.
func TestSlowPhone(t *testing.T) {
	s := newServer(t)
	long := strings.Repeat("x", 15_000)
	const n = 300
	var rows []command.Row
	for i := range n {
		rows = append(rows, Row("comment", ident.RecordID(fmt.Sprintf("comment-%04d", i)), "parent", "client-one", "text", fmt.Sprint(i)+long))
	}
	for part := range slices.Chunk(rows, 15) {
		s.Import(part...)
	}
	slow, idle := s.signIn(mia, "slow"), s.signIn(mia, "idle")
	// One that takes pages but acknowledges none.
	sock := s.socket(idle.access)
	sock.send(map[string]any{"kind": "pull", "profile": "office"})
	var pg wire.Page
	sock.frame(wire.KindPage, &pg)
	// And one that reads nothing, with as little room as can be.
	d := websocket.Dialer{NetDialContext: (&net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096) })
	}}).DialContext}
	stuck, _, err := d.Dial("ws"+strings.TrimPrefix(s.url, "http")+"/sync/v1/live", http.Header{"Authorization": {"Bearer " + slow.access}})
	if err != nil {
		t.Fatal(err)
	}
	defer stuck.Close()
	for range 4 { // more than the buffers on the way take
		if err := stuck.WriteJSON(map[string]any{"kind": "pull", "profile": "office"}); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(200 * time.Millisecond)
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before, start := heap(), time.Now()
	const changes = 300
	for i := range changes {
		s.Import(Row("comment", ident.RecordID(fmt.Sprintf("comment-%04d", i%n)), "text", fmt.Sprint("again ", i)+long))
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("%d changes took %v", changes, took)
	}
	// Room for the one page under way, not for 300 changes of 15 KB each twice.
	if after := heap(); after > before+4<<20 {
		t.Errorf("the heap grew by %d KB", (after-before)>>10)
	}
	if got := len(sock.frames); got > 0 {
		t.Errorf("%d frames on top of a page that was not acknowledged", got)
	}
	at := time.Now()
	s.Write(ada, command.Write{Op: "action", Type: "device", ID: ident.RecordID(slow.device), Action: "revoke"})
	// It reads nothing, so what tells it of the end is that it can't write.
	for stuck.WriteControl(websocket.PingMessage, nil, time.Now().Add(time.Second)) == nil && time.Since(at) < 8*time.Second {
		time.Sleep(10 * time.Millisecond)
	}
	if took := time.Since(at); took > 2*time.Second { // one second for a farewell that nobody takes
		t.Errorf("the stuck socket lived %v after its revocation", took)
	}
	sock.catchUp(pg.Checkpoint, "office")
}

// restore puts a backup in the tenant's place, as satchel restore does.
func (s *server) restore(saved string) {
	s.t.Helper()
	addr := s.app.Address()
	s.halt()
	if err := os.Rename(saved, s.dir+"/tenants/"+slug+".db"); err != nil {
		s.t.Fatal(err)
	}
	eng, err := store.OpenBolt(s.dir+"/tenants/"+slug+".db", store.Options{})
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := oplog.BumpEpoch(eng, ident.MillisOf(time.Now()), rand.Uint32()); err != nil {
		s.t.Fatal(err)
	}
	if err := eng.Close(); err != nil {
		s.t.Fatal(err)
	}
	s.boot(addr)
}
