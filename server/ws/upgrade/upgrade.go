// Package upgrade puts gorilla/websocket on Fiber's own listener, so that
// HTTP and WebSocket share one port, one TLS configuration and one chain of
// middleware. It exists because Fiber runs on fasthttp, whose connections
// gorilla's Upgrader can't take over by itself, and because the generic
// adaptor between the two costs twice the memory of a connection.
//
// An upgrade has two halves. While the request is being handled, everything
// that can be wrong with it is checked and comes out as an ordinary HTTP
// response. Only when fasthttp has let go of the connection, flushed what was
// pipelined before and given its own buffers back, does gorilla write the 101
// and does the connection get its goroutine. Of the request only the
// challenge key is kept, as a copy.
//
// Only the packages of server/ws and the wiring in internal/app may import
// it. It knows nothing of sessions, tenants or the frames' content.
package upgrade

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gorilla/websocket"

	"satchel/internal/fault"
)

// The values Options takes where a field is zero.
const (
	DefaultMaxConns     = 10_000
	DefaultReadLimit    = 1 << 20
	DefaultWriteTimeout = 10 * time.Second
	DefaultPingPeriod   = 30 * time.Second
	DefaultReadTimeout  = 75 * time.Second
	DefaultCloseGrace   = time.Second
)

const (
	// readBuffer is the size of the buffer a connection owns: room for what
	// devices mostly send. writeBuffer is that of those it borrows. Longer
	// frames bypass both.
	readBuffer, writeBuffer = 256, 1024
	// handshakeTimeout bounds the time from Upgrade to the written 101. A
	// place that was reserved for a connection which fasthttp then lost
	// becomes free after it.
	handshakeTimeout = 10 * time.Second
)

// Options says what a Registry allows. The zero value is usable.
type Options struct {
	// Origins are the web origins that may connect besides the server's own,
	// each "scheme://host" or "scheme://host:port", hosts in ASCII form.
	Origins []string
	// MaxConns is how many connections may be open at once.
	MaxConns int
	// ReadLimit is the longest message taken from a peer, in bytes.
	ReadLimit int64
	// WriteTimeout is how long the peer may take to accept one frame.
	WriteTimeout time.Duration
	// PingPeriod is the time between pings; a tenth of it is random.
	PingPeriod time.Duration
	// ReadTimeout is how long a peer may give no sign of life; longer than
	// PingPeriod.
	ReadTimeout time.Duration
	// CloseGrace is how long the peer may take to accept a close frame, and
	// again how long to answer it.
	CloseGrace time.Duration
	// OnPanic is told what a serve function panicked with and the stack of
	// that moment. Absent, it is logged. It must be safe for concurrent use.
	OnPanic func(remote net.Addr, value any, stack []byte)
}

func (o Options) withDefaults() Options {
	if o.MaxConns == 0 {
		o.MaxConns = DefaultMaxConns
	}
	if o.ReadLimit == 0 {
		o.ReadLimit = DefaultReadLimit
	}
	if o.WriteTimeout == 0 {
		o.WriteTimeout = DefaultWriteTimeout
	}
	if o.PingPeriod == 0 {
		o.PingPeriod = DefaultPingPeriod
	}
	if o.ReadTimeout == 0 {
		o.ReadTimeout = DefaultReadTimeout
	}
	if o.CloseGrace == 0 {
		o.CloseGrace = DefaultCloseGrace
	}
	if o.OnPanic == nil {
		o.OnPanic = func(remote net.Addr, value any, stack []byte) {
			slog.Error("panic while serving a WebSocket", "remote", remote.String(), "panic", value, "stack", string(stack))
		}
	}
	return o
}

// Validate reports the first option that can't be used: an origin that is
// none, a negative number, or a PingPeriod that is not below ReadTimeout.
func (o Options) Validate() error {
	for _, s := range o.Origins {
		if _, ok := canonicalOrigin(s); !ok {
			return fmt.Errorf("upgrade: %q is not an origin like https://app.example.com", s)
		}
	}
	o = o.withDefaults()
	if o.MaxConns < 0 || o.ReadLimit < 0 || o.WriteTimeout < 0 || o.PingPeriod < 0 || o.ReadTimeout < 0 || o.CloseGrace < 0 {
		return errors.New("upgrade: limits and times can't be negative")
	}
	if o.PingPeriod >= o.ReadTimeout {
		return fmt.Errorf("upgrade: the ping period %v must be shorter than the read timeout %v", o.PingPeriod, o.ReadTimeout)
	}
	return nil
}

// Registry upgrades connections and knows the open ones: Fiber forgets a
// connection once it is taken over and would not wait for it at shutdown. Its
// methods are safe for concurrent use.
type Registry struct {
	opts     Options
	origins  map[string]struct{}
	upgrader websocket.Upgrader

	mu       sync.Mutex
	conns    map[*Conn]struct{}
	held     int           // open connections and places reserved for upgrades under way
	stopping bool          // Shutdown has been called
	empty    chan struct{} // closed when stopping and held is 0
}

// New makes a registry. It panics where opts.Validate fails: check what an
// operator wrote first.
func New(opts Options) *Registry {
	if err := opts.Validate(); err != nil {
		panic(err)
	}
	r := &Registry{
		opts:    opts.withDefaults(),
		origins: make(map[string]struct{}, len(opts.Origins)),
		conns:   make(map[*Conn]struct{}),
		empty:   make(chan struct{}),
		upgrader: websocket.Upgrader{
			HandshakeTimeout: handshakeTimeout,
			ReadBufferSize:   readBuffer,
			WriteBufferSize:  writeBuffer,
			WriteBufferPool:  &sync.Pool{},
			// The origin was judged before; the request that gorilla sees
			// doesn't carry it.
			CheckOrigin: func(*http.Request) bool { return true },
		},
	}
	for _, s := range opts.Origins {
		o, _ := canonicalOrigin(s)
		r.origins[o] = struct{}{}
	}
	return r
}

// Configure sets what the bridge needs of app's server and must be called
// before the app listens: KeepHijackedConns, so that the goroutine, the
// buffers and the context of the HTTP request are given back while the
// WebSocket lives on.
//
// Of fiber.Config the bridge needs nothing; these matter to it: ReadBufferSize
// bounds the handshake's header (4 KiB by default; a longer one is answered by
// Fiber), ReadTimeout and WriteTimeout end with the upgrade, Immutable and
// StreamRequestBody may be on or off. Server().MaxConnsPerIP must stay 0: the
// wrapper it puts around connections is used again for another peer once
// closed.
func Configure(app *fiber.App) { app.Server().KeepHijackedConns = true }

// Upgrade answers the request with 101 and calls serve, on a goroutine of its
// own, with the open connection; it is closed when serve returns. Upgrade
// itself returns before either happens, and after nil the handler must return
// nil too.
//
// A request that can't be upgraded gives an error and stays an ordinary one:
// a *HandshakeError (405, 426 or 400) for a bad handshake, or a *fault.Error:
// BadParameter for an access token in the URL, OriginRefused, ShuttingDown,
// TooManyRequests where Options.MaxConns are open, InternalError where
// Configure was forgotten. Headers that belong to the status are already set
// on c's response.
//
// serve may keep nothing of c; what it wants from the request, take as a copy
// before. It must return soon after Conn.Done, and its panic closes the
// connection with 1011 and is reported to Options.OnPanic.
func (r *Registry) Upgrade(c *fiber.Ctx, serve func(*Conn)) error {
	if s := c.App().Server(); !s.KeepHijackedConns || s.MaxConnsPerIP != 0 {
		return fault.New(fault.InternalError).Because(errors.New("upgrade: the app's server is not set up as Configure says"))
	}
	key, err := checkHandshake(c)
	if err != nil {
		return err
	}
	if err := checkQuery(c); err != nil {
		return err
	}
	if err := r.checkOrigin(c); err != nil {
		return err
	}
	if err := r.reserve(); err != nil {
		return err
	}
	// fasthttp drops the hijack handler where the connection breaks in
	// between. Whoever stops the timer owns the reserved place.
	reservation := time.AfterFunc(handshakeTimeout, r.release)
	c.Context().HijackSetNoResponse(true)
	c.Context().Hijack(func(hijacked net.Conn) {
		r.begin(hijacked, reservation, key, serve)
	})
	c.Status(fiber.StatusSwitchingProtocols) // for loggers; gorilla writes the answer
	return nil
}

// begin runs when fasthttp has handed the connection over.
func (r *Registry) begin(hijacked net.Conn, reservation *time.Timer, key string, serve func(*Conn)) {
	raw := hijacked.(interface{ UnsafeConn() net.Conn }).UnsafeConn()
	if !reservation.Stop() {
		_ = raw.Close()
		return
	}
	if sentEarly(hijacked) {
		// What follows the request's header was sent before the 101 could be
		// known: a body, a pipelined request, or a smuggled one.
		_ = raw.SetWriteDeadline(time.Now().Add(handshakeTimeout))
		_, _ = raw.Write([]byte("HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"))
		_ = raw.Close()
		r.release()
		return
	}
	ws, err := r.upgrader.Upgrade(handover{raw}, canonicalRequest(key), nil)
	if err != nil {
		_ = raw.Close()
		r.release()
		return
	}
	c := newConn(ws, raw, &r.opts)
	r.mu.Lock()
	r.conns[c] = struct{}{}
	stopping := r.stopping
	r.mu.Unlock()
	if stopping {
		c.Close(websocket.CloseGoingAway, shutdownReason)
	}
	// A goroutine of its own, so that fasthttp gets its reader and its
	// request context back when this function returns.
	go r.run(c, serve)
}

// run serves c to its end.
func (r *Registry) run(c *Conn, serve func(*Conn)) {
	defer func() { // also where serve ended its goroutine
		c.finish()
		r.mu.Lock()
		delete(r.conns, c)
		r.mu.Unlock()
		r.release()
	}()
	defer func() {
		if v := recover(); v != nil {
			c.Close(websocket.CloseInternalServerErr, "")
			r.reportPanic(c, v, debug.Stack())
		}
	}()
	serve(c)
}

// reportPanic keeps a hook that panics itself from ending the process.
func (r *Registry) reportPanic(c *Conn, v any, stack []byte) {
	defer func() {
		if v := recover(); v != nil {
			slog.Error("the panic hook panicked", "panic", v)
		}
	}()
	r.opts.OnPanic(c.RemoteAddr(), v, stack)
}

// sentEarly reports whether fasthttp's reader holds bytes beyond the request.
// With a deadline in the past, a read finds only what is buffered.
func sentEarly(hijacked net.Conn) bool {
	if err := hijacked.SetReadDeadline(time.Unix(1, 0)); err != nil {
		return false // a closed connection; writing the 101 will find out
	}
	var b [1]byte
	n, err := hijacked.Read(b[:])
	return n > 0 || err == nil || !errors.Is(err, os.ErrDeadlineExceeded)
}

// canonicalRequest is what gorilla needs to see of a request that was checked.
func canonicalRequest(key string) *http.Request {
	return &http.Request{
		Method: http.MethodGet, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{
			"Connection":            {"Upgrade"},
			"Upgrade":               {"websocket"},
			"Sec-Websocket-Version": {"13"},
			"Sec-Websocket-Key":     {key},
		},
	}
}

// handover gives gorilla a connection that is already ours. The other two
// methods are there for its error responses, which checked requests don't get.
type handover struct{ raw net.Conn }

func (h handover) Header() http.Header         { return http.Header{} }
func (h handover) Write(p []byte) (int, error) { return len(p), nil }
func (h handover) WriteHeader(int)             {}

func (h handover) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	// gorilla asks whether the reader holds early bytes and writes its answer
	// through the writer's buffer; neither lives beyond the handshake.
	return h.raw, bufio.NewReadWriter(bufio.NewReaderSize(h.raw, 16), bufio.NewWriterSize(h.raw, 256)), nil
}

func (r *Registry) reserve() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopping {
		return fault.New(fault.ShuttingDown)
	}
	if r.held >= r.opts.MaxConns {
		return fault.New(fault.TooManyRequests)
	}
	r.held++
	return nil
}

func (r *Registry) release() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held--
	if r.stopping && r.held == 0 {
		close(r.empty)
	}
}

// Len is the number of connections that are open or being upgraded.
func (r *Registry) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.held
}

const shutdownReason = "server is shutting down"

// Shutdown refuses new upgrades, closes every connection with 1001 and waits
// until all are gone and their serve functions have returned. When ctx ends
// before, it cuts the connections that remain and returns an error that wraps
// ctx's. It may be called more than once.
func (r *Registry) Shutdown(ctx context.Context) error {
	r.mu.Lock()
	if !r.stopping {
		r.stopping = true
		if r.held == 0 {
			close(r.empty)
		}
	}
	open := r.snapshot()
	r.mu.Unlock()
	for _, c := range open {
		c.Close(websocket.CloseGoingAway, shutdownReason)
	}
	select {
	case <-r.empty:
		return nil
	case <-ctx.Done():
	}
	r.mu.Lock()
	open = r.snapshot()
	n := r.held
	r.mu.Unlock()
	if n == 0 {
		return nil
	}
	for _, c := range open {
		c.abort(&CloseError{Code: websocket.CloseAbnormalClosure, Reason: shutdownReason, cause: ctx.Err()})
	}
	return fmt.Errorf("upgrade: %d connections cut: %w", n, ctx.Err())
}

// snapshot lists the open connections; the caller holds mu.
func (r *Registry) snapshot() []*Conn {
	open := make([]*Conn, 0, len(r.conns))
	for c := range r.conns {
		open = append(open, c)
	}
	return open
}

// HandshakeError says why a request is no WebSocket handshake. Unwrap gives
// the *fault.Error with code and words; the status is more precise than the
// fault's kind, so an error handler should look for it first.
type HandshakeError struct {
	Status int // 400, 405 or 426
	fault  *fault.Error
}

func (e *HandshakeError) Error() string { return e.fault.Error() }

// Unwrap returns the *fault.Error.
func (e *HandshakeError) Unwrap() error { return e.fault }

// listed reports whether one of the comma-separated header values holds the
// token, in any case.
func listed(values [][]byte, token string) bool {
	for _, v := range values {
		for part := range strings.SplitSeq(string(v), ",") {
			if strings.EqualFold(strings.Trim(part, " \t"), token) {
				return true
			}
		}
	}
	return false
}
