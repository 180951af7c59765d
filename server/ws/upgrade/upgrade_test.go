package upgrade

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gorilla/websocket"
	"go.uber.org/goleak"

	"satchel/internal/fault"
)

func TestMain(m *testing.M) {
	if n := os.Getenv(holdEnv); n != "" {
		holdConnections(n)
		return
	}
	goleak.VerifyTestMain(m,
		// fasthttp's clock runs for as long as the process does.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		// Its pool's sweeper notices only after its sleep that the pool ended.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"))
}

// problem renders an error as the product's edge would.
func problem(c *fiber.Ctx, err error) error {
	f := fault.Of(err)
	status := f.Code.Kind().Status()
	var bad *HandshakeError
	var routed *fiber.Error
	if errors.As(err, &bad) {
		status = bad.Status
	} else if errors.As(err, &routed) {
		status = routed.Code
	}
	c.Status(status)
	return c.JSON(fiber.Map{"code": f.Code, "detail": f.Message}, "application/problem+json")
}

type server struct {
	reg  *Registry
	addr string
}

// start serves /ws with reg and whatever more adds, until the test ends.
func start(t testing.TB, opts Options, serve func(*Conn), more ...func(*fiber.App)) *server {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return startOn(t, ln, opts, serve, more...)
}

func startOn(t testing.TB, ln net.Listener, opts Options, serve func(*Conn), more ...func(*fiber.App)) *server {
	t.Helper()
	reg := New(opts)
	app := fiber.New(fiber.Config{DisableStartupMessage: true, ErrorHandler: problem})
	Configure(app)
	for _, f := range more {
		f(app)
	}
	app.All("/ws", func(c *fiber.Ctx) error { return reg.Upgrade(c, serve) })
	app.Get("/plain/:v", func(c *fiber.Ctx) error { return c.SendString(c.Params("v")) })
	served := make(chan error, 1)
	go func() { served <- app.Listener(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := reg.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := app.ShutdownWithContext(ctx); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return &server{reg, ln.Addr().String()}
}

func (s *server) dial(t testing.TB) *websocket.Conn {
	t.Helper()
	ws, resp, err := websocket.DefaultDialer.Dial("ws://"+s.addr+"/ws", nil)
	if err != nil {
		t.Fatalf("dial: %v %v", err, resp)
	}
	t.Cleanup(func() { _ = ws.Close() })
	return ws
}

// get sends a handshake with the headers changed ("" removes one) and returns
// status and body.
func (s *server) get(t *testing.T, method, path string, headers map[string]string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(method, "http://"+s.addr+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-Websocket-Version": "13", "Sec-Websocket-Key": aKey} {
		req.Header.Set(k, v)
	}
	for k, v := range headers {
		if k == "Host" {
			req.Host = v
		} else if v == "" {
			req.Header.Del(k)
		} else {
			req.Header.Set(k, v)
		}
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return resp, ""
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

const aKey = "dGhlIHNhbXBsZSBub25jZQ=="

// aKeyAccepted is the answer RFC 6455 gives as the example for aKey.
const aKeyAccepted = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

func echo(c *Conn) {
	for {
		frame, err := c.ReadJSONFrame()
		if err != nil {
			return
		}
		if c.Write(context.Background(), frame) != nil {
			return
		}
	}
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never happened: " + what)
		}
	}
}

func wantClosed(t testing.TB, err error, code int) {
	t.Helper()
	if !websocket.IsCloseError(err, code) {
		t.Errorf("the client got %v, want close %d", err, code)
	}
}

func wantEnd(t testing.TB, err error, code int, remote bool) {
	t.Helper()
	var end *CloseError
	if !errors.As(err, &end) || end.Code != code || end.Remote != remote {
		t.Errorf("the server got %v, want code %d, remote %v", err, code, remote)
	}
	if !errors.Is(err, net.ErrClosed) {
		t.Errorf("%v is no net.ErrClosed", err)
	}
}

func TestMaxConns(t *testing.T) {
	s := start(t, Options{MaxConns: 2}, echo)
	a := s.dial(t)
	s.dial(t)
	if resp, body := s.get(t, "GET", "/ws", nil); resp.StatusCode != 429 || !strings.Contains(body, string(fault.TooManyRequests)) {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	_ = a.Close()
	eventually(t, "a place is free", func() bool { return s.reg.Len() == 1 })
	s.dial(t)
}

func TestMaxConnsUnderRush(t *testing.T) {
	var open, most atomic.Int32
	s := start(t, Options{MaxConns: 5}, func(c *Conn) {
		n := open.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		_, _ = c.ReadJSONFrame()
		open.Add(-1)
	})
	var wg sync.WaitGroup
	var in atomic.Int32
	for range 40 {
		wg.Go(func() {
			ws, _, err := websocket.DefaultDialer.Dial("ws://"+s.addr+"/ws", nil)
			if err == nil {
				in.Add(1)
				t.Cleanup(func() { _ = ws.Close() })
			}
		})
	}
	wg.Wait()
	if in.Load() != 5 || most.Load() > 5 {
		t.Errorf("%d got in, %d at once", in.Load(), most.Load())
	}
}

func TestShutdown(t *testing.T) {
	const n = 500
	s := start(t, Options{}, echo)
	clients := make([]*websocket.Conn, n)
	var wg sync.WaitGroup
	for w := range 10 {
		wg.Go(func() {
			for i := w; i < n; i += 10 {
				clients[i] = s.dial(t)
			}
		})
	}
	wg.Wait()
	if s.reg.Len() != n {
		t.Fatalf("Len = %d", s.reg.Len())
	}
	var told atomic.Int32
	for _, ws := range clients {
		wg.Go(func() {
			defer ws.Close()
			if _, _, err := ws.ReadMessage(); websocket.IsCloseError(err, websocket.CloseGoingAway) {
				told.Add(1)
			}
		})
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	begin := time.Now()
	if err := s.reg.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d connections closed in %v", n, time.Since(begin))
	wg.Wait()
	if told.Load() != n || s.reg.Len() != 0 {
		t.Errorf("%d were told, %d remain", told.Load(), s.reg.Len())
	}
	if resp, body := s.get(t, "GET", "/ws", nil); resp.StatusCode != 503 || !strings.Contains(body, string(fault.ShuttingDown)) {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}

func TestShutdownCutsThoseWhoStay(t *testing.T) {
	release := make(chan struct{})
	var end atomic.Value
	s := start(t, Options{CloseGrace: time.Minute}, func(c *Conn) {
		_, err := c.ReadJSONFrame()
		end.Store(err)
		<-release
	})
	ws := s.dial(t) // never reads, so never answers the close frame
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if err := s.reg.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "1 connections") {
		t.Error(err)
	}
	eventually(t, "the reader is cut off", func() bool { return end.Load() != nil })
	wantEnd(t, end.Load().(error), 1001, false)
	_ = ws.Close()
	close(release)
}

func TestOptions(t *testing.T) {
	for name, o := range map[string]Options{
		"origin with path":   {Origins: []string{"https://a.example/"}},
		"any origin":         {Origins: []string{"*"}},
		"wildcard":           {Origins: []string{"https://*.a.example"}},
		"no scheme":          {Origins: []string{"a.example"}},
		"negative limit":     {ReadLimit: -1},
		"negative number":    {MaxConns: -1},
		"pings too rare":     {PingPeriod: time.Minute, ReadTimeout: time.Minute},
		"pings beyond usual": {PingPeriod: 2 * time.Minute},
	} {
		if o.Validate() == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if err := (Options{}).Validate(); err != nil {
		t.Error(err)
	}
	defer func() {
		if recover() == nil {
			t.Error("New took an origin that is none")
		}
	}()
	New(Options{Origins: []string{"*"}})
}
