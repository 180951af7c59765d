// Package shaper puts a bad link between a client and a server on one machine:
// a TCP proxy with a delay, a rate and losses. It needs no rights and no
// kernel's help, so that the same link is there wherever a benchmark runs.
//
// Only internal/bench imports it.
//
// # The model
//
// What a peer sends is cut into segments of at most SegmentSize bytes. All
// connections share one line for each direction, which passes one segment at a
// time at the link's rate; a segment arrives Latency after it has left the line.
// A lost segment is sent again after the retransmission timeout, max(200 ms,
// 2 RTT), which doubles each time it is lost again; what follows on the same
// connection waits for it, as TCP hands on nothing out of order. Each sending
// takes its turn on the line. A connection is usable a round trip after it was
// accepted, as after a handshake.
//
// What a connection may have under way is bounded; beyond it nothing is read,
// and the sender's own TCP makes it wait. There is no congestion window: where
// the product of rate and delay is below the ten segments that TCP begins with,
// it would not bound anything. Headers, acknowledgements and handshakes take no
// time on the line and are not lost.
package shaper

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// SegmentSize is how much content a packet of 1,500 bytes carries.
	SegmentSize = 1448
	// DefaultBuffer is what a connection may have under way in a direction, in
	// bytes.
	DefaultBuffer = 64 << 10

	minRTO = 200 * time.Millisecond
	// maxRTO bounds the doubling, and socketBuffer what the kernel holds on the
	// proxy's side of a connection besides.
	maxRTO       = time.Minute
	socketBuffer = 16 << 10
)

// Link is what lies between the two ends. The zero value is a link that is
// there but delays nothing.
type Link struct {
	// Latency is each way; a round trip takes twice as long.
	Latency time.Duration
	// Up and Down are the rates from and to the client in kbit/s, 0 for
	// boundless.
	Up, Down int
	// Loss is the share of segments that are lost, from 0 to below 1.
	Loss float64
	// Seed makes the losses: connections that send the same segments in the same
	// order lose the same.
	Seed uint64
	// Buffer bounds what a connection has under way in a direction, in bytes; 0
	// for DefaultBuffer.
	Buffer int
}

// Check reports what is wrong with a link.
func (l *Link) Check() error {
	switch {
	case l.Latency < 0:
		return errors.New("shaper: the latency is negative")
	case l.Up < 0 || l.Down < 0:
		return errors.New("shaper: a rate is negative")
	case l.Loss < 0 || l.Loss >= 1:
		return fmt.Errorf("shaper: a loss of %v, it must be from 0 to below 1", l.Loss)
	case l.Buffer < 0:
		return errors.New("shaper: the buffer is negative")
	}
	return nil
}

// rto is the first retransmission timeout.
func (l *Link) rto() time.Duration { return max(minRTO, 4*l.Latency) }

// window is how many segments a connection has under way at most.
func (l *Link) window() int {
	b := l.Buffer
	if b == 0 {
		b = DefaultBuffer
	}
	return max(1, b/SegmentSize)
}

// Proxy is a link at work: Listen, then Close.
type Proxy struct {
	link   Link
	target string
	listen net.Listener
	up     line
	down   line

	ctx    context.Context //nolint:containedctx // the proxy's life, ended by Close
	cancel context.CancelFunc
	wait   sync.WaitGroup
}

// line is one direction of the link, which all connections share.
type line struct {
	perByte time.Duration
	bytes   atomic.Int64
	lost    atomic.Int64

	mu   sync.Mutex
	free time.Time // when the line is free again
}

// perByte is how long a byte is on a line of so many kbit/s.
func perByte(kbits int) time.Duration {
	if kbits == 0 {
		return 0
	}
	return 8 * time.Second / time.Duration(kbits) / 1000
}

// Listen opens a link to a server, host:port, on a port of its own of the
// loopback interface.
func Listen(target string, link Link) (*Proxy, error) {
	if err := link.Check(); err != nil {
		return nil, err
	}
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{link: link, target: target, listen: l}
	p.up.perByte, p.down.perByte = perByte(link.Up), perByte(link.Down)
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.wait.Go(p.accept)
	return p, nil
}

// Address is where clients connect, host:port.
func (p *Proxy) Address() string { return p.listen.Addr().String() }

// Traffic is what went over a link so far, from and to the client.
type Traffic struct {
	Up, Down         int64 // bytes of content that were read, each counted once
	LostUp, LostDown int64 // segments, counted each time they were lost
}

// Traffic returns what went over the link so far.
func (p *Proxy) Traffic() Traffic {
	return Traffic{p.up.bytes.Load(), p.down.bytes.Load(), p.up.lost.Load(), p.down.lost.Load()}
}

// Close cuts every connection and waits until nothing of the proxy runs. A
// second Close does nothing.
func (p *Proxy) Close() error {
	p.cancel()
	err := p.listen.Close()
	p.wait.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (p *Proxy) accept() {
	for n := uint64(0); ; n++ {
		c, err := p.listen.Accept()
		if err != nil {
			return // closed
		}
		p.wait.Go(func() { p.serve(c, n) })
	}
}

// serve carries one connection, number n.
func (p *Proxy) serve(near net.Conn, n uint64) {
	opened := time.Now().Add(2 * p.link.Latency)
	far, err := new(net.Dialer).DialContext(p.ctx, "tcp", p.target)
	if err != nil {
		_ = near.Close() // the client sees what it would see
		return
	}
	cut := sync.OnceFunc(func() {
		_, _ = near.Close(), far.Close()
	})
	defer cut()
	stop := context.AfterFunc(p.ctx, cut)
	defer stop()
	var wait sync.WaitGroup
	wait.Go(func() { p.carry(near, far, &p.up, opened, 2*n, cut) })
	wait.Go(func() { p.carry(far, near, &p.down, opened, 2*n+1, cut) })
	wait.Wait()
}

// segment is a piece on its way; the last one, empty, is the sender's end.
type segment struct {
	due  time.Time
	data []byte
}

// carry takes one direction of a connection from one end to the other. stream
// numbers it for its losses. A connection that breaks is cut on both sides; one
// that a side ends goes on in the other direction.
func (p *Proxy) carry(from, to net.Conn, way *line, opened time.Time, stream uint64, cut func()) {
	small(from, to)
	// One more is in each of the two loops' hands.
	queue := make(chan segment, max(1, p.link.window()-2))
	gone := make(chan struct{}) // closed when nobody takes segments any more
	var wait sync.WaitGroup
	wait.Go(func() {
		defer close(gone)
		if err := p.deliver(to, queue); err != nil {
			cut()
		}
	})
	if err := p.collect(from, way, opened, stream, queue, gone); err != nil {
		cut()
	}
	close(queue)
	wait.Wait()
}

// small keeps the kernel from buffering what the link is to hold back.
func small(from, to net.Conn) {
	if c, ok := from.(*net.TCPConn); ok {
		_ = c.SetReadBuffer(socketBuffer) // without it the link is only more patient
	}
	if c, ok := to.(*net.TCPConn); ok {
		_ = c.SetWriteBuffer(socketBuffer)
	}
}

// collect cuts what comes into segments and says when each is due.
func (p *Proxy) collect(from net.Conn, way *line, opened time.Time, stream uint64, queue chan<- segment, gone <-chan struct{}) error {
	random := rand.New(rand.NewPCG(p.link.Seed, stream))
	last := opened
	for {
		buf := make([]byte, SegmentSize)
		n, err := from.Read(buf)
		if n > 0 {
			due := way.pass(n, p.link, random, opened)
			if due.Before(last) {
				due = last
			}
			last = due
			if !put(queue, segment{due, buf[:n]}, gone) {
				return nil
			}
		}
		if errors.Is(err, io.EOF) {
			end := time.Now().Add(p.link.Latency)
			if end.Before(last) {
				end = last
			}
			put(queue, segment{due: end}, gone)
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func put(queue chan<- segment, s segment, gone <-chan struct{}) bool {
	select {
	case queue <- s:
		return true
	case <-gone:
		return false
	}
}

// pass sends a segment over the line and returns when it arrives.
func (w *line) pass(size int, link Link, random *rand.Rand, opened time.Time) time.Time {
	w.bytes.Add(int64(size))
	stall := time.Duration(0)
	sendings := 1
	for rto := link.rto(); random.Float64() < link.Loss; rto = min(2*rto, maxRTO) {
		stall += rto
		sendings++
	}
	w.lost.Add(int64(sendings - 1))
	w.mu.Lock()
	defer w.mu.Unlock()
	start := time.Now()
	for _, t := range []time.Time{w.free, opened} {
		if start.Before(t) {
			start = t
		}
	}
	w.free = start.Add(time.Duration(sendings*size) * w.perByte)
	return w.free.Add(stall + link.Latency)
}

// deliver writes each segment when it is due.
func (p *Proxy) deliver(to net.Conn, queue <-chan segment) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for s := range queue {
		if wait := time.Until(s.due); wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-p.ctx.Done():
				return p.ctx.Err()
			}
		}
		if s.data == nil {
			return end(to)
		}
		if _, err := to.Write(s.data); err != nil {
			return err
		}
	}
	return nil
}

// end tells a peer that nothing more comes.
func end(c net.Conn) error {
	if t, ok := c.(*net.TCPConn); ok {
		return t.CloseWrite()
	}
	return c.Close()
}
