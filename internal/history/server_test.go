package history

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"satchel/internal/app"
	"satchel/internal/command"
	"satchel/internal/ident"
	"satchel/internal/testworld"
	"satchel/server/session/password/passwordtest"
	"satchel/sync/tenant"
	"satchel/sync/verify"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"))
}

const (
	slug = "acme"
	pass = "correct horse"
)

// row is an import row.
var row = testworld.Row

// server is a whole server in a folder of its own, that can be ended and
// started again at its address.
type server struct {
	t     testing.TB
	dir   string
	addr  string
	app   *app.App
	stop  context.CancelFunc
	ended chan error
}

func newServer(t testing.TB, rows []command.Row, people ...ident.RecordID) *server {
	t.Helper()
	s := &server{t: t, dir: t.TempDir(), addr: "127.0.0.1:0"}
	s.boot()
	t.Cleanup(s.halt)
	ctx := context.Background()
	ten, err := s.app.Tenants().SetUp(ctx, slug, app.Administrator{}, s.app.Hasher())
	if err != nil {
		t.Fatal(err)
	}
	s.do(ten, &command.Command{Import: &command.Import{Rows: rows}})
	hash, err := s.app.Hasher().Hash(ctx, pass)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range people {
		s.do(ten, &command.Command{Secret: &command.Secret{Employee: p, Hash: hash}})
	}
	return s
}

func (s *server) do(ten *tenant.Tenant, c *command.Command) {
	s.t.Helper()
	res, err := ten.Submit(context.Background(), c)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, r := range res.Count.Rejected {
		s.t.Fatalf("row %d: %v", r.Index, r.Err)
	}
}

func (s *server) boot() {
	s.t.Helper()
	var err error
	if s.app, err = app.New(app.Config{
		Dir: s.dir, Listen: s.addr, Hasher: passwordtest.New(s.t), Log: testworld.ErrorLog(s.t),
	}); err != nil {
		s.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if err = s.app.Listen(ctx); err == nil {
			break
		}
		if time.Now().After(end) {
			stop()
			s.t.Fatal(err)
		}
	}
	s.stop, s.ended = stop, make(chan error, 1)
	if addr := s.app.Address(); s.addr != addr { // from then on it stays
		s.addr = addr
	}
	a, ended := s.app, s.ended
	go func() { ended <- a.Run(ctx) }()
}

func (s *server) halt() {
	if s.stop == nil {
		return
	}
	s.stop()
	s.stop = nil
	select {
	case err := <-s.ended:
		if err != nil {
			s.t.Errorf("the server ended with %v", err)
		}
	case <-time.After(30 * time.Second):
		s.t.Error("the server did not end")
	}
}

// read calls f with the state at rest.
func (s *server) read(f func(*tenant.View)) {
	s.t.Helper()
	ten, err := s.app.Tenants().Tenant(slug)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := ten.Read(func(v *tenant.View) error { f(v); return nil }); err != nil {
		s.t.Fatal(err)
	}
}

// sound demands that everything derived agrees with the records.
func (s *server) sound() {
	s.t.Helper()
	ten, err := s.app.Tenants().Tenant(slug)
	if err != nil {
		s.t.Fatal(err)
	}
	snap, err := ten.Engine().Snapshot()
	if err != nil {
		s.t.Fatal(err)
	}
	defer snap.Close()
	if rep := verify.Run(ten.Catalogue(), snap, nil); !rep.OK() {
		s.t.Errorf("verify: %v", rep.Problems)
	}
}

// proxy stands between clients and the server and cuts connections.
type proxy struct {
	l      net.Listener
	server *server
	mu     sync.Mutex
	rnd    *rand.Rand
	conns  map[net.Conn]bool
	wg     sync.WaitGroup
	// oneIn is how many pieces pass, on average, before a connection is cut; 0
	// for none.
	oneIn atomic.Int64
	// What was cut: before the piece was passed on, in its middle, after it.
	before, within, after atomic.Int64
}

func newProxy(t testing.TB, s *server, seed uint64) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{l: l, server: s, rnd: rand.New(rand.NewPCG(seed, 7)), conns: map[net.Conn]bool{}}
	p.wg.Go(p.accept)
	t.Cleanup(func() {
		_ = l.Close()
		p.cutAll()
		p.wg.Wait()
	})
	return p
}

func (p *proxy) accept() {
	for {
		c, err := p.l.Accept()
		if err != nil {
			return
		}
		p.wg.Go(func() { p.serve(c) })
	}
}

func (p *proxy) serve(down net.Conn) {
	defer down.Close()
	up, err := net.DialTimeout("tcp", p.server.addr, 2*time.Second)
	if err != nil {
		return
	}
	defer up.Close()
	p.keep(down, true)
	defer p.keep(down, false)
	var both sync.WaitGroup
	both.Go(func() { p.pass(up, down) })
	both.Go(func() { p.pass(down, up) })
	both.Wait()
}

func (p *proxy) keep(c net.Conn, on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if on {
		p.conns[c] = true
	} else {
		delete(p.conns, c)
	}
}

// cutAll cuts every connection there is, as a machine that loses its power.
func (p *proxy) cutAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
}

func (p *proxy) roll() int {
	n := int(p.oneIn.Load())
	if n == 0 {
		return -1
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rnd.IntN(3 * n)
}

func (p *proxy) pass(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			switch p.roll() {
			case 0:
				p.before.Add(1)
				return
			case 1:
				p.within.Add(1)
				_, _ = to.Write(buf[:n/2])
				return
			case 2:
				p.after.Add(1)
				_, _ = to.Write(buf[:n])
				return
			}
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// email is that of a person of this package.
func email(p ident.RecordID) string { return fmt.Sprintf("%s@example.com", p) }
