package upgrade

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"
)

const (
	// progress is how much of a long message counts as a sign of life: pings
	// and pongs can't overtake a frame, and a slow link may need longer for
	// the longest one than a silent peer is given.
	progress = 16 << 10
	// firstRead is what is set aside for a message of unknown length.
	firstRead = 512
	// maxReason is what a close frame has room for beside its code.
	maxReason = 123
	// maxDrain bounds what is read and thrown away of a peer that goes on
	// sending after the close frame.
	maxDrain = 1 << 20
)

// CloseError says how a connection ended. Code is 1006, which no frame
// carries, where the connection broke or was cut; Unwrap then gives the reason
// beneath: os.ErrDeadlineExceeded for a peer that was too slow or silent.
type CloseError struct {
	Code   int
	Reason string
	Remote bool // the peer closed it
	cause  error
}

func (e *CloseError) Error() string {
	by := "here"
	if e.Remote {
		by = "by the peer"
	}
	s := fmt.Sprintf("upgrade: connection closed %s with %d", by, e.Code)
	if e.Reason != "" {
		s += fmt.Sprintf(" (%q)", e.Reason)
	}
	if e.cause != nil {
		s += ": " + e.cause.Error()
	}
	return s
}

// Unwrap returns what made the connection end, nil where a close frame did.
func (e *CloseError) Unwrap() error { return e.cause }

// Is makes every CloseError a net.ErrClosed.
func (e *CloseError) Is(target error) bool { return target == net.ErrClosed }

// Conn is an open WebSocket. All methods are safe for concurrent use.
//
// Writers take turns by a lock instead of handing frames to a goroutine: a
// queue would hide a slow peer from those who send to it and keep pages in
// memory, while a lock gives each writer its own error, in order, and costs an
// idle connection neither a goroutine nor its stack. Pings come from a timer,
// so that reading is the only goroutine a connection has.
type Conn struct {
	ws   *websocket.Conn
	raw  net.Conn
	opts *Options

	turn   chan struct{} // holds one element while a frame is being written
	pinger *time.Timer

	reading   sync.Mutex
	extended  time.Time // when the read deadline was last set; of who reads
	readLimit atomic.Int64

	closing sync.Once
	done    chan struct{} // closed when closing begins
	cause   *CloseError   // set before done is closed
	said    chan struct{} // closed when the close frame is out or was given up
	grace   *time.Timer   // set before said is closed, or nil
	hangUp  sync.Once
	gone    atomic.Bool // the peer has closed, or the connection broke
}

func newConn(ws *websocket.Conn, raw net.Conn, opts *Options) *Conn {
	c := &Conn{
		ws: ws, raw: raw, opts: opts,
		turn: make(chan struct{}, 1),
		done: make(chan struct{}),
		said: make(chan struct{}),
	}
	c.readLimit.Store(opts.ReadLimit)
	ws.SetPongHandler(func(string) error { return c.extend() })
	ws.SetPingHandler(func(payload string) error {
		// A failure here shows at the next write; reading goes on until then.
		_ = ws.WriteControl(websocket.PongMessage, []byte(payload), time.Now().Add(opts.WriteTimeout))
		return c.extend()
	})
	// Set with a period that never passes and started afterwards: ping uses
	// the field itself.
	c.pinger = time.AfterFunc(time.Hour, c.ping)
	c.pinger.Reset(c.nextPing())
	return c
}

// nextPing spreads the pings of phones that all came back at once.
func (c *Conn) nextPing() time.Duration {
	return c.opts.PingPeriod - rand.N(c.opts.PingPeriod/10+1)
}

func (c *Conn) ping() {
	if c.closed() {
		return
	}
	if err := c.ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(c.opts.WriteTimeout)); err != nil {
		_ = c.writeFailed(err) // whoever reads or writes next is told
		return
	}
	c.pinger.Reset(c.nextPing())
}

// extend gives the peer more time for its next sign of life. To set a deadline
// costs more than to read a short frame, so that one is set for a little longer
// and then stays for a while.
func (c *Conn) extend() error {
	now, slack := time.Now(), c.opts.ReadTimeout/64
	if now.Sub(c.extended) < slack {
		return nil
	}
	c.extended = now
	return c.raw.SetReadDeadline(now.Add(c.opts.ReadTimeout + slack))
}

func (c *Conn) closed() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// RemoteAddr is the address of the socket's other end, which may be a proxy.
func (c *Conn) RemoteAddr() net.Addr { return c.raw.RemoteAddr() }

// Done is closed as soon as the connection begins to close, whoever began.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err is nil while the connection is open and afterwards a *CloseError that
// says how it ended.
func (c *Conn) Err() error {
	select {
	case <-c.done:
		return c.cause
	default:
		return nil
	}
}

// SetReadLimit changes the longest message taken, in bytes, from the next call
// of ReadJSONFrame on: small while nobody has signed in yet. It panics where n
// is not positive.
func (c *Conn) SetReadLimit(n int64) {
	if n <= 0 {
		panic("upgrade: the read limit must be positive")
	}
	c.readLimit.Store(n)
}

// ReadJSONFrame waits for the next text message and returns its bytes, valid
// UTF-8, which belong to the caller; that they are JSON is for its decoder to
// say. It also answers pings and takes pongs, so somebody has to be in it
// nearly all the time. Any other end closes the connection and is returned as
// the *CloseError of Err: 1009 for a message beyond the read limit, 1003 for a
// binary one, 1007 for bad UTF-8, 1002 for a broken frame, 1001 for a peer
// without a sign of life (a frame, a pong, 16 KiB of a message) for
// Options.ReadTimeout.
func (c *Conn) ReadJSONFrame() ([]byte, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	if c.closed() {
		return nil, c.cause
	}
	c.ws.SetReadLimit(c.readLimit.Load())
	if err := c.extend(); err != nil {
		return nil, c.readFailed(err)
	}
	kind, r, err := c.ws.NextReader()
	if err != nil {
		return nil, c.readFailed(err)
	}
	if kind != websocket.TextMessage {
		return nil, c.refuse(websocket.CloseUnsupportedData, "only text frames are taken")
	}
	frame, err := c.readAll(r)
	if err != nil {
		return nil, c.readFailed(err)
	}
	if !utf8.Valid(frame) {
		return nil, c.refuse(websocket.CloseInvalidFramePayloadData, "text must be UTF-8")
	}
	if c.closed() {
		return nil, c.cause // what came after the close frame is nobody's
	}
	return frame, nil
}

// firstReads are what messages are read into to begin with: how long one is shows
// at its end, and most are far shorter.
var firstReads = sync.Pool{New: func() any { return new([firstRead]byte) }}

// readAll reads a message whose length the read limit bounds.
func (c *Conn) readAll(r io.Reader) ([]byte, error) {
	first := firstReads.Get().(*[firstRead]byte) //nolint:forcetypeassert // the pool's own
	defer firstReads.Put(first)
	frame := first[:0]
	seen := 0 // of frame, when the deadline was last extended
	for {
		if len(frame) == cap(frame) {
			frame = append(frame, 0)[:len(frame)]
		}
		n, err := r.Read(frame[len(frame):cap(frame)])
		frame = frame[:len(frame)+n]
		if err == io.EOF {
			if cap(frame) == firstRead {
				frame = bytes.Clone(frame)
			}
			return frame, nil
		}
		if err != nil {
			return nil, err
		}
		if len(frame)-seen >= progress {
			seen = len(frame)
			if err := c.extend(); err != nil {
				return nil, err
			}
		}
	}
}

// refuse closes the connection for what the peer sent.
func (c *Conn) refuse(code int, reason string) error {
	c.shut(&CloseError{Code: code, Reason: reason})
	return c.cause
}

// readFailed turns a failed read, after which no other may follow, into the
// connection's end and returns how it ended.
func (c *Conn) readFailed(err error) error {
	var closed *websocket.CloseError
	var network net.Error
	switch {
	case errors.As(err, &closed):
		c.gone.Store(true)
		end := &CloseError{Code: closed.Code, Reason: closed.Text, Remote: true}
		if closed.Code == websocket.CloseAbnormalClosure {
			end.cause = io.ErrUnexpectedEOF
			c.abort(end)
			break
		}
		c.shut(end) // gorilla has answered the frame already
	case errors.Is(err, websocket.ErrReadLimit):
		return c.refuse(websocket.CloseMessageTooBig, "message too long")
	case errors.As(err, &network) && network.Timeout():
		c.shut(&CloseError{Code: websocket.CloseGoingAway, Reason: "no sign of life", cause: os.ErrDeadlineExceeded})
	case errors.As(err, &network), errors.Is(err, net.ErrClosed), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		c.gone.Store(true)
		c.abort(&CloseError{Code: websocket.CloseAbnormalClosure, Remote: true, cause: err})
	default:
		return c.refuse(websocket.CloseProtocolError, "")
	}
	return c.cause
}

// Write sends frame as one text message. It waits for its turn as long as ctx
// allows, and then for the peer to accept the frame for Options.WriteTimeout
// or until ctx's deadline, whichever is sooner; ctx's cancellation doesn't
// interrupt a frame that has begun. frame is not kept. A frame that could not
// be sent whole leaves the stream broken: the connection is cut, and this
// call and all later ones return the *CloseError of Err. Where ctx ends before
// the frame's turn, nothing was sent, the connection stays open, and the error
// is ctx's.
func (c *Conn) Write(ctx context.Context, frame []byte) error {
	select {
	case c.turn <- struct{}{}: // mostly nobody else writes
	default:
		select {
		case c.turn <- struct{}{}:
		case <-c.done:
			return c.cause
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	defer func() { <-c.turn }()
	if c.closed() {
		return c.cause
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	deadline := time.Now().Add(c.opts.WriteTimeout)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	_ = c.ws.SetWriteDeadline(deadline)
	if err := c.ws.WriteMessage(websocket.TextMessage, frame); err != nil {
		return c.writeFailed(err)
	}
	return nil
}

// writeFailed cuts the connection after a frame of which a part may be out,
// and returns how it ended.
func (c *Conn) writeFailed(err error) error {
	if errors.Is(err, websocket.ErrCloseSent) {
		// A close frame of ours came first. Where gorilla sent it, as an answer
		// or an objection, the reader is about to say why.
		<-c.done
		return c.cause
	}
	var network net.Error
	if errors.As(err, &network) && network.Timeout() {
		err = os.ErrDeadlineExceeded // gorilla hides which timeout it was
	}
	c.abort(&CloseError{Code: websocket.CloseAbnormalClosure, Reason: "write failed", cause: err})
	return c.cause
}

// Close begins to close the connection and returns at once: nothing more is
// taken from the peer or sent to it, except a close frame with the code and
// the reason. The first call counts. A code that may not stand in a frame is
// sent as 1011, a reason is cut to the 123 bytes there is room for.
func (c *Conn) Close(code int, reason string) {
	if !sendable(code) {
		code = websocket.CloseInternalServerErr
	}
	c.shut(&CloseError{Code: code, Reason: fitReason(reason)})
}

// sendable reports whether RFC 6455 lets an endpoint send the code.
func sendable(code int) bool {
	switch code {
	case websocket.CloseNoStatusReceived, websocket.CloseAbnormalClosure, 1004:
		return false
	}
	return code >= 1000 && code <= 1014 || code >= 3000 && code <= 4999
}

// fitReason makes the reason valid UTF-8 that a close frame has room for.
func fitReason(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= maxReason {
		return s
	}
	n := maxReason
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// shut begins a proper close; the first cause stays.
func (c *Conn) shut(cause *CloseError) {
	c.closing.Do(func() {
		c.cause = cause
		close(c.done)
		go c.farewell()
	})
}

// abort cuts the connection, also one that is being closed properly.
func (c *Conn) abort(cause *CloseError) {
	c.closing.Do(func() {
		c.cause = cause
		close(c.done)
		close(c.said)
	})
	c.hangUp.Do(func() {
		// What a peer didn't take would stay in the kernel for minutes.
		if l, ok := c.raw.(interface{ SetLinger(int) error }); ok {
			_ = l.SetLinger(0)
		}
		_ = c.raw.Close()
	})
}

// farewell sends the close frame and says that nothing follows it. The peer
// then has the grace time to close its side; closing ours at once, with its
// bytes unread, would reset the connection and could take the frame with it.
func (c *Conn) farewell() {
	defer close(c.said)
	payload := websocket.FormatCloseMessage(c.cause.Code, c.cause.Reason)
	err := c.ws.WriteControl(websocket.CloseMessage, payload, time.Now().Add(c.opts.CloseGrace))
	if err != nil && !errors.Is(err, websocket.ErrCloseSent) {
		c.abort(c.cause)
		return
	}
	if half, ok := c.raw.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	c.grace = time.AfterFunc(c.opts.CloseGrace, c.disconnect)
}

func (c *Conn) disconnect() {
	c.hangUp.Do(func() { _ = c.raw.Close() })
}

// finish closes the connection, where that has not begun, and returns when
// nothing of it is left. The caller has stopped using it.
func (c *Conn) finish() {
	c.Close(websocket.CloseNormalClosure, "")
	c.pinger.Stop()
	<-c.said
	if !c.gone.Load() {
		_ = c.raw.SetReadDeadline(time.Now().Add(c.opts.CloseGrace))
		_, _ = io.CopyN(io.Discard, c.raw, maxDrain) // until the peer closes
	}
	c.disconnect()
	if c.grace != nil {
		c.grace.Stop()
	}
}
