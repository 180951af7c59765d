package syncapi

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gorilla/websocket"

	"satchel/internal/command"
	"satchel/internal/entity"
	"satchel/internal/ident"
	. "satchel/internal/testworld" //nolint:revive // its names are people
	"satchel/server/edge"
	"satchel/server/ws/upgrade"
	"satchel/sync/wire"
)

// liveWorld is a world whose sockets can be reached over the network.
type liveWorld struct {
	*World
	t    *testing.T
	s    *Server
	addr string
}

func newLiveWorld(t *testing.T, opts upgrade.Options, prepare ...func(*Server)) *liveWorld {
	t.Helper()
	l := &liveWorld{t: t}
	l.World = New(t, func(app *fiber.App, auth *edge.Auth, _ *entity.Catalogue) {
		l.s = &Server{Auth: auth, Sockets: upgrade.New(opts), PersonSockets: 1000}
		for _, f := range prepare {
			f(l.s)
		}
		upgrade.Configure(app)
		l.s.Mount(app)
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.addr = ln.Addr().String()
	served := make(chan error, 1)
	go func() { served <- l.App.Listener(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := l.s.Sockets.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := l.App.ShutdownWithContext(ctx); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return l
}

// liveDevice is a device's end of a socket.
type liveDevice struct {
	*websocket.Conn
	w    *liveWorld
	cp   string
	last wire.Page
}

// dial opens a socket, perhaps with preferences.
func (w *liveWorld) dial(token string, d *websocket.Dialer, prefer ...string) *liveDevice {
	w.t.Helper()
	ws, res, err := d.Dial("ws://"+w.addr+"/sync/v1/live", http.Header{"Authorization": {"Bearer " + token}, "Prefer": prefer})
	if err != nil {
		w.t.Fatalf("dial: %v %v", err, res)
	}
	w.t.Cleanup(func() { _ = ws.Close() })
	return &liveDevice{Conn: ws, w: w}
}

func (w *liveWorld) connect(who ident.RecordID, name string) *liveDevice {
	w.t.Helper()
	return w.dial(w.DeviceToken(who, name), websocket.DefaultDialer)
}

// stuck is a device that reads nothing, with as little room as can be.
func (w *liveWorld) stuck(who ident.RecordID, name string) *liveDevice {
	w.t.Helper()
	return w.dial(w.DeviceToken(who, name), &websocket.Dialer{NetDialContext: (&net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096) })
	}}).DialContext})
}

func (d *liveDevice) pull() {
	d.w.t.Helper()
	if err := d.WriteJSON(map[string]any{"kind": "pull", "checkpoint": d.cp}); err != nil {
		d.w.t.Fatal(err)
	}
}

// page reads the next page.
func (d *liveDevice) page() error {
	_ = d.SetReadDeadline(time.Now().Add(20 * time.Second))
	_, raw, err := d.ReadMessage()
	if err != nil {
		return err
	}
	var f struct {
		Kind string
		wire.Page
	}
	if err := json.Unmarshal(raw, &f); err != nil {
		return err
	}
	if f.Kind != wire.KindPage {
		return fmt.Errorf("instead of a page: %.300s", raw)
	}
	d.last, d.cp = f.Page, f.Checkpoint
	return nil
}

// catchUp takes pages until it is complete, and acknowledges the last.
func (d *liveDevice) catchUp() error {
	for {
		if err := d.page(); err != nil {
			return err
		}
		d.pull()
		if d.last.Complete != nil && !d.last.More {
			return nil
		}
	}
}

func (w *liveWorld) eventually(what string, ok func() bool) {
	w.t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatal("never happened: " + what)
		}
	}
}

// all is how many devices are at the gate or past it.
func (g *gate) all() (n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, l := range g.lines {
		n += l.all
	}
	return n
}

// running counts the goroutines that are in a function.
func running(function string) int {
	var b bytes.Buffer
	_ = pprof.Lookup("goroutine").WriteTo(&b, 2)
	n := 0
	for g := range strings.SplitSeq(b.String(), "\n\n") {
		if strings.Contains(g, function+"(") {
			n++
		}
	}
	return n
}

// TestArrivals: devices that are all back at once wait for their turn and are
// all served; who is up to date is not delayed by them, nor are they by one that
// takes its page slowly.
func TestArrivals(t *testing.T) {
	const places, n = 2, 60
	w := newLiveWorld(t, upgrade.Options{}, func(s *Server) { s.arrivals.places = places })
	alone := w.connect(Manager, "alone")
	alone.pull()
	if err := alone.catchUp(); err != nil {
		t.Fatal(err)
	}
	// Nothing is left over from it.
	w.eventually("the gate is empty", func() bool { return w.s.arrivals.all() == 0 })
	for range places {
		w.s.arrivals.enter(w.Tenant, nil)
	}
	var back [n]*liveDevice
	for i := range back {
		back[i] = w.connect(Engineer, fmt.Sprint("back-", i))
		back[i].pull()
	}
	w.eventually("all wait", func() bool { return w.s.arrivals.all() == places+n })
	pages := w.Tenant.Stats.Pages.Load()
	w.Import(Row("comment", "comment-new", "parent", Acme, "text", "New"))
	if err := alone.page(); err != nil {
		t.Fatal(err)
	}
	if len(alone.last.Records) != 1 {
		t.Errorf("%d records", len(alone.last.Records))
	}
	alone.pull()
	if got := w.Tenant.Stats.Pages.Load() - pages; got > 2 { // the one alone's, and the answer to its acknowledgement
		t.Errorf("%d pages were made while the gate was full", got)
	}
	// One gives up.
	_ = back[n-1].Close()
	w.eventually("one has gone", func() bool { return w.s.arrivals.all() == places+n-1 })
	// They are served one at a time: the other place is not given back.
	w.s.arrivals.leave(w.Tenant)
	for _, d := range back[:n-1] {
		if err := d.catchUp(); err != nil {
			t.Fatal(err)
		}
	}
	w.s.arrivals.leave(w.Tenant)
	w.eventually("the gate is empty", func() bool { return w.s.arrivals.all() == 0 })
}

// fill makes records that everybody's devices get: more than what lies between
// a server and a device that reads nothing takes.
func (w *liveWorld) fill() {
	long := strings.Repeat("x", 15_000)
	for i := range 300 {
		w.Import(Row("comment", ident.RecordID(fmt.Sprintf("comment-%04d", i)), "parent", Acme, "text", fmt.Sprint(i)+long))
	}
}

// TestSlowArrival: a device keeps its place while its page is made, not while
// it takes it.
func TestSlowArrival(t *testing.T) {
	w := newLiveWorld(t, upgrade.Options{WriteTimeout: time.Minute}, func(s *Server) { s.arrivals.places = 1 })
	w.fill()
	slow := w.stuck(Manager, "slow")
	for range 4 {
		slow.pull()
	}
	w.eventually("a page is being sent", func() bool { return running("upgrade.(*Conn).Write") == 1 })
	d := w.connect(Manager, "quick")
	d.pull()
	if err := d.page(); err != nil {
		t.Fatal(err)
	}
	if running("upgrade.(*Conn).Write") != 1 {
		t.Error("the first page waited until the slow device had its own")
	}
}

// TestIdleSocket: what an idle device has is one goroutine.
func TestIdleSocket(t *testing.T) {
	const n = 40
	w := newLiveWorld(t, upgrade.Options{})
	for i := range n {
		d := w.connect(Engineer, fmt.Sprint("idle-", i))
		d.pull()
		if err := d.catchUp(); err != nil {
			t.Fatal(err)
		}
	}
	// What the last of them sent may still be on its way.
	w.eventually("nothing is being done", func() bool {
		return running("satchel/server/ws/")+running("satchel/server/syncapi.") <= n+1 // this goroutine among them
	})
	if got := running("syncapi.(*liveConn).read"); got != n {
		t.Errorf("%d goroutines read", got)
	}
}

// TestSilentDevice: a device that reads nothing answers no ping. It is closed
// after the read timeout, and holds no more than one page until then.
func TestSilentDevice(t *testing.T) {
	const silence = 1500 * time.Millisecond // time for pages to be made, and for a pong of a busy machine
	w := newLiveWorld(t, upgrade.Options{PingPeriod: silence / 10, ReadTimeout: silence, CloseGrace: 50 * time.Millisecond})
	w.fill()
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	for _, busy := range []bool{false, true} {
		t.Run(map[bool]string{false: "idle", true: "owed pages"}[busy], func(t *testing.T) {
			before := heap()
			const n = 5
			began := time.Now()
			for i := range n {
				d := w.stuck(Manager, fmt.Sprint("silent-", busy, i))
				if busy {
					d.pull()
				}
			}
			if busy {
				w.eventually("pages are being sent", func() bool { return running("upgrade.(*Conn).Write") > 0 })
				for i := range 50 {
					w.Import(Row("comment", ident.RecordID(fmt.Sprintf("comment-%04d", i)), "text", strings.Repeat("y", 15_000)))
				}
				if after := heap(); after > before+n*(16<<20) {
					t.Errorf("the heap grew by %d KB", (after-before)>>10)
				}
			}
			w.eventually("all are closed", func() bool { return w.Tenant.LiveCount() == 0 && w.s.Sockets.Len() == 0 })
			if took := time.Since(began); took < silence*5/6 {
				t.Errorf("closed after %v", took)
			}
			w.eventually("nothing is left of them", func() bool {
				return running("syncapi.(*liveConn)") == 0 && w.s.arrivals.all() == 0
			})
		})
	}
	// A device that reads is not closed: it answers the pings.
	d := w.connect(Engineer, "awake")
	d.pull()
	closed := make(chan error, 1)
	go func() {
		for {
			if _, _, err := d.ReadMessage(); err != nil {
				closed <- err
				return
			}
		}
	}()
	select {
	case err := <-closed:
		t.Errorf("closed: %v", err)
	case <-time.After(silence * 5 / 3):
	}
}

func (w *liveWorld) only() *liveConn {
	w.s.lives.mu.Lock()
	defer w.s.lives.mu.Unlock()
	if len(w.s.lives.of) != 1 {
		w.t.Fatalf("%d are live", len(w.s.lives.of))
	}
	for _, c := range w.s.lives.of {
		return c
	}
	return nil
}

// TestExpiryWhileSending: the end of a token does not wait for a device that
// takes its page slowly.
func TestExpiryWhileSending(t *testing.T) {
	w := newLiveWorld(t, upgrade.Options{WriteTimeout: time.Minute, CloseGrace: 50 * time.Millisecond})
	w.fill()
	d := w.stuck(Manager, "slow")
	for range 4 {
		d.pull()
	}
	w.eventually("a page is being sent", func() bool { return running("upgrade.(*Conn).Write") == 1 })
	l := w.only()
	l.expire()
	if l.closed() {
		t.Fatal("closed before its time")
	}
	w.Advance(time.Hour)
	l.expire() // as the timer has it done
	if !l.closed() {
		t.Error("open after the token's end")
	}
	w.eventually("it is gone", func() bool { return w.s.Sockets.Len() == 0 })
}

// TestExpiryWhileComputing: a page that was asked for before the token's end and
// made after it is not sent: it may tell of what happened in between.
func TestExpiryWhileComputing(t *testing.T) {
	var w *liveWorld
	var most atomic.Uint64
	most.Store(1 << 32)
	w = newLiveWorld(t, upgrade.Options{}, func(s *Server) {
		clock := s.Auth.Clock
		s.Auth.Clock = func() time.Time {
			if w != nil && w.Tenant.Stats.Pages.Load() > most.Load() {
				return clock().Add(time.Hour)
			}
			return clock()
		}
	})
	d := w.connect(Engineer, "late")
	d.pull()
	if err := d.catchUp(); err != nil {
		t.Fatal(err)
	}
	w.eventually("all is done", func() bool { return running("syncapi.(*liveConn).work") == 0 })
	most.Store(w.Tenant.Stats.Pages.Load())
	w.Import(Row("comment", "comment-late", "parent", "act-acme-1", "text", "after the end"))
	for {
		_ = d.SetReadDeadline(time.Now().Add(10 * time.Second))
		_, raw, err := d.ReadMessage()
		if err != nil {
			if !websocket.IsCloseError(err, wire.CloseExpired) {
				t.Error(err)
			}
			return
		}
		if bytes.Contains(raw, []byte("after the end")) {
			t.Fatalf("told after the end: %s", raw)
		}
	}
}

// TestRevokedWhileWaiting: a device that waits for its turn is closed like any
// other, and its place in the line is free.
func TestRevokedWhileWaiting(t *testing.T) {
	w := newLiveWorld(t, upgrade.Options{}, func(s *Server) { s.arrivals.places = 1 })
	w.s.arrivals.enter(w.Tenant, nil)
	d := w.connect(Engineer, "waits")
	d.pull()
	w.eventually("it waits", func() bool { return w.s.arrivals.all() == 2 })
	w.Do(&command.Command{Actor: Engineer, Logout: &command.Logout{Session: w.only().caller.Session}})
	if err := d.page(); !websocket.IsCloseError(err, wire.CloseRevoked) {
		t.Errorf("got %v", err)
	}
	w.eventually("its place is free", func() bool { return w.s.arrivals.all() == 1 })
	w.s.arrivals.leave(w.Tenant)
}

// TestPanicOnASocket: it costs the one device its connection and is reported.
func TestPanicOnASocket(t *testing.T) {
	told := make(chan any, 1)
	var boom atomic.Bool
	w := newLiveWorld(t, upgrade.Options{OnPanic: func(_ net.Addr, v any, _ []byte) { told <- v }}, func(s *Server) {
		clock := s.Auth.Clock
		s.Auth.Clock = func() time.Time {
			if boom.CompareAndSwap(true, false) {
				panic("boom")
			}
			return clock()
		}
	})
	other := w.connect(Manager, "other")
	d := w.connect(Engineer, "unlucky")
	d.pull()
	if err := d.catchUp(); err != nil {
		t.Fatal(err)
	}
	w.eventually("all is done", func() bool { return running("syncapi.(*liveConn).work") == 0 })
	boom.Store(true)
	d.pull()
	if _, _, err := d.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseInternalServerErr) {
		t.Errorf("got %v", err)
	}
	if v := <-told; v != "boom" {
		t.Errorf("told %v", v)
	}
	other.pull()
	if err := other.catchUp(); err != nil {
		t.Error(err)
	}
}

// TestFramesInOrder: what a device sends faster than it is served is answered
// one after the other.
func TestFramesInOrder(t *testing.T) {
	w := newLiveWorld(t, upgrade.Options{})
	d := w.connect(Engineer, "hasty")
	const n = 50
	go func() {
		for i := range n {
			_ = d.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, `{"kind":"push","acked":0,"now":%q,"mutations":[{"n":%d,"op":"nonsense"}]}`, w.Clock().Format(time.RFC3339Nano), i+1))
		}
	}()
	for i := range n {
		_ = d.SetReadDeadline(time.Now().Add(10 * time.Second))
		_, raw, err := d.ReadMessage()
		if err != nil {
			t.Fatalf("after %d: %v", i, err)
		}
		var f struct {
			Kind    string
			Results []struct{ N int }
		}
		if err := json.Unmarshal(raw, &f); err != nil || f.Kind != wire.KindResults || len(f.Results) != 1 || f.Results[0].N != i+1 {
			t.Fatalf("answer %d: %s", i, raw)
		}
	}
}

// TestAcknowledgedUpdates: the acknowledgement of a page of updates costs
// nothing, unless something has happened since.
func TestAcknowledgedUpdates(t *testing.T) {
	w := newLiveWorld(t, upgrade.Options{})
	d := w.connect(Manager, "phone")
	d.pull()
	if err := d.catchUp(); err != nil {
		t.Fatal(err)
	}
	idle := func() bool {
		return running("syncapi.(*liveConn).work") == 0 && running("syncapi.(*liveConn).read") == 1
	}
	w.eventually("the last acknowledgement is taken", func() bool { return w.only().acknowledged(d.cp) })
	w.eventually("the device is served", idle)
	change := func(n int) {
		w.Import(Row("client", Acme, "name", fmt.Sprint("Acme ", n)))
	}
	comes := func(n int) {
		t.Helper()
		if err := d.page(); err != nil {
			t.Fatal(err)
		}
		if len(d.last.Records) != 1 || string(d.last.Records[0].Fields["name"]) != fmt.Sprintf(`"Acme %d"`, n) {
			t.Fatalf("change %d: %+v", n, d.last.Records)
		}
	}
	for n := range 5 {
		change(n)
		comes(n)
		w.eventually("the page is sent", idle)
		before := w.Tenant.Stats.Pages.Load()
		d.pull()
		w.eventually("the frame is taken", func() bool { return w.only().acknowledged(d.cp) })
		w.eventually("the frame is handled", idle)
		if after := w.Tenant.Stats.Pages.Load(); after != before {
			t.Fatalf("%d pages were computed for an acknowledgement", after-before)
		}
	}
	// What happened between the page and its acknowledgement comes with that.
	for n := 5; n < 10; n++ {
		change(n)
		comes(n)
		change(n + 100)
		w.eventually("the change is noticed", func() bool { return w.only().notices() })
		d.pull()
		comes(n + 100)
		d.pull()
	}
}

// TestOfferedPages: to devices that wait for nothing a change goes without their
// connections' work, one page at a time: what happens before it is acknowledged
// comes afterwards, in one.
func TestOfferedPages(t *testing.T) {
	const n = 20
	w := newLiveWorld(t, upgrade.Options{})
	var all []*liveDevice
	for i := range n {
		all = append(all, w.connect(Manager, fmt.Sprint("phone-", i)))
	}
	for _, d := range all {
		d.pull()
		if err := d.catchUp(); err != nil {
			t.Fatal(err)
		}
	}
	taken := func() bool {
		w.s.lives.mu.Lock()
		defer w.s.lives.mu.Unlock()
		at := map[string]bool{}
		for _, c := range w.s.lives.of {
			c.mu.Lock()
			if !c.busy && !c.inflight && !c.marked {
				at[c.checkpoint] = true
			}
			c.mu.Unlock()
		}
		for _, d := range all {
			if !at[d.cp] {
				return false
			}
		}
		return true
	}
	comes := func(name string) {
		t.Helper()
		for i, d := range all {
			if err := d.page(); err != nil {
				t.Fatal(err)
			}
			if len(d.last.Records) != 1 || string(d.last.Records[0].Fields["name"]) != fmt.Sprintf("%q", name) {
				t.Fatalf("device %d: %+v", i, d.last)
			}
		}
	}
	w.eventually("all wait", taken)
	before, wakes := w.Tenant.Stats.Offered.Load(), w.Tenant.Stats.Wakes.Load()
	w.Import(Row("client", Acme, "name", "Acme 1"))
	comes("Acme 1")
	if got := w.Tenant.Stats.Offered.Load() - before; got != n {
		t.Errorf("%d pages were offered", got)
	}
	w.Import(Row("client", Acme, "name", "Acme 2"))
	w.Import(Row("client", Acme, "name", "Acme 3"))
	w.eventually("all are told", func() bool { return w.Tenant.Stats.Wakes.Load() == wakes+3*n })
	for _, d := range all {
		d.acknowledge()
	}
	comes("Acme 3")
	for _, d := range all {
		d.acknowledge()
	}
	w.eventually("all wait", taken)
}

// acknowledge is pull as this program's own client writes it.
func (d *liveDevice) acknowledge() {
	d.w.t.Helper()
	frame := fmt.Sprintf(`{"kind":"pull","checkpoint":%q}`, d.cp)
	if err := d.WriteMessage(websocket.TextMessage, []byte(frame)); err != nil {
		d.w.t.Fatal(err)
	}
}

// TestDeferredAcks: a device that prefers it gets pages of updates one after the other
// and may acknowledge them later, several at a time, but not too many; what is
// stored of it, it acknowledges first. It may always ask from where it stands.
func TestDeferredAcks(t *testing.T) {
	w := newLiveWorld(t, upgrade.Options{})
	d := w.dial(w.DeviceToken(Manager, "phone"), websocket.DefaultDialer, "fields=changed", "acks=deferred")
	d.pull()
	if err := d.catchUp(); err != nil {
		t.Fatal(err)
	}
	if d.last.Ack != "" {
		t.Errorf("the last page of the first sync says %q", d.last.Ack)
	}
	w.eventually("the last acknowledgement is taken", func() bool { return w.only().acknowledged(d.cp) })
	n := 0
	change := func() {
		n++
		w.Import(Row("client", Acme, "name", fmt.Sprint("Acme ", n)))
	}
	comes := func(ack string) {
		t.Helper()
		from := d.cp
		if err := d.page(); err != nil {
			t.Fatal(err)
		}
		if len(d.last.Records) != 1 || string(d.last.Records[0].Fields["name"]) != fmt.Sprintf(`"Acme %d"`, n) {
			t.Fatalf("change %d: %+v", n, d.last.Records)
		}
		if d.last.From != from || d.last.Ack != ack {
			t.Fatalf("change %d: from %q, not %q; its ack is %q, want %q", n, d.last.From, from, d.last.Ack, ack)
		}
	}
	ack := func(checkpoint, more string) {
		if err := d.WriteMessage(websocket.TextMessage, []byte(`{"kind":"ack","checkpoint":"`+checkpoint+`"`+more+`}`)); err != nil {
			t.Fatal(err)
		}
	}
	open := func(want int) func() bool {
		return func() bool {
			l := w.only()
			l.mu.Lock()
			defer l.mu.Unlock()
			return !l.busy && len(l.unconfirmed) == want
		}
	}
	var cps []string
	for range maxUnconfirmed {
		change()
		comes(wire.AckDeferred)
		cps = append(cps, d.cp)
	}
	ack("of another device", "")
	ack(cps[4], "")
	w.eventually("five are confirmed", open(maxUnconfirmed-5))
	ack(cps[4], " ") // not as this program's own client writes it, and once more
	for range 5 {
		change()
		comes(wire.AckDeferred)
	}
	w.eventually("all are sent", open(maxUnconfirmed))
	change()
	comes("") // enough: this one is waited for
	last := d.cp
	change()
	w.eventually("the change is noticed", func() bool { return w.only().notices() })
	ack(last, "") // is no answer to that
	w.eventually("it is taken", open(maxUnconfirmed))
	if !w.only().notices() {
		t.Error("the next page was sent before the one that is waited for was acknowledged")
	}
	d.acknowledge()
	comes(wire.AckDeferred)
	w.eventually("it is sent", open(1))

	// What is new is stored, and waited for. Asked from the page before, it is sent
	// again.
	n++
	older := d.cp
	w.Import(Row("client", "client-new", "name", fmt.Sprint("Acme ", n), "salesArea", "area-north"))
	comes("")
	d.cp = older
	d.acknowledge()
	comes("")
	d.acknowledge()
	w.eventually("it is acknowledged", func() bool { return w.only().acknowledged(d.cp) && !w.only().notices() })

	// A device that did not apply the last page goes on from where it stands.
	older = d.cp
	change()
	comes(wire.AckDeferred)
	d.cp = older
	change()
	w.eventually("the change is sent", open(2))
	if err := d.page(); err != nil || d.last.From == older {
		t.Fatalf("%v, from %q", err, d.last.From)
	}
	d.cp = older
	d.acknowledge()
	comes(wire.AckDeferred)

	ack(d.cp, `,"limit":1`)
	if err := d.page(); err == nil || !strings.Contains(err.Error(), "unknown_field") {
		t.Errorf("an ack with a limit: %v", err)
	}
}

// TestExpiredAcknowledgement: an acknowledgement that needs no work is taken
// without any, and is refused like all others after the token's end.
func TestExpiredAcknowledgement(t *testing.T) {
	w := newLiveWorld(t, upgrade.Options{})
	d := w.connect(Manager, "phone")
	d.pull()
	if err := d.catchUp(); err != nil {
		t.Fatal(err)
	}
	// updated sends the device an update of what it has, and waits until no more
	// is done for it.
	updated := func(n int) {
		t.Helper()
		w.eventually("the device is up to date", func() bool { return w.only().acknowledged(d.cp) })
		w.Import(Row("client", Acme, "name", fmt.Sprint("Acme ", n)))
		if err := d.page(); err != nil {
			t.Fatal(err)
		}
		w.eventually("the page is sent", func() bool { return w.only().atRest() })
		if w.only().settles([]byte(`{"kind":"pull","checkpoint":"another"}`)) {
			t.Fatal("another checkpoint is taken for an acknowledgement")
		}
	}
	for n := range 3 {
		updated(n)
		d.acknowledge()
	}
	updated(3)
	w.Advance(time.Hour)
	d.acknowledge()
	if err := d.page(); !websocket.IsCloseError(err, wire.CloseExpired) {
		// What was refused is said first.
		if err = d.page(); !websocket.IsCloseError(err, wire.CloseExpired) {
			t.Errorf("after the token's end: %v", err)
		}
	}
}

func (l *liveConn) acknowledged(checkpoint string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.busy && l.checkpoint == checkpoint
}

// atRest: whoever sent the last page is done with it.
func (l *liveConn) atRest() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.busy
}

func (l *liveConn) notices() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.marked
}
