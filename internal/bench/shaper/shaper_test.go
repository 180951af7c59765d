package shaper

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// link starts a server of one connection after another and a link to it.
func link(t *testing.T, l Link, serve func(net.Conn)) *Proxy {
	t.Helper()
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	wait.Go(func() {
		for {
			c, err := server.Accept()
			if err != nil {
				return
			}
			wait.Go(func() {
				defer c.Close()
				serve(c)
			})
		}
	})
	p, err := Listen(server.Addr().String(), l)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(p.Close(), server.Close()); err != nil {
			t.Error(err)
		}
		wait.Wait()
	})
	return p
}

func dial(t *testing.T, p *Proxy) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", p.Address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c.(*net.TCPConn)
}

func echo(c net.Conn) {
	_, _ = io.Copy(c, c)
	_ = c.(*net.TCPConn).CloseWrite()
}

// ask sends a byte and waits for its echo.
func ask(t *testing.T, c net.Conn) time.Duration {
	t.Helper()
	began := time.Now()
	b := []byte{1}
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, b); err != nil {
		t.Fatal(err)
	}
	return time.Since(began)
}

// TestDelay: an answer takes a round trip, the first one also the handshake's.
func TestDelay(t *testing.T) {
	const rtt = 120 * time.Millisecond
	p := link(t, Link{Latency: rtt / 2}, echo)
	c := dial(t, p)
	if took := ask(t, c); took < 2*rtt-10*time.Millisecond {
		t.Errorf("the first answer took %v, want two round trips of %v", took, rtt)
	}
	for range 3 {
		if took := ask(t, c); took < rtt || took > 5*rtt {
			t.Errorf("an answer took %v, want %v", took, rtt)
		}
	}
	if took := ask(t, dial(t, link(t, Link{}, echo))); took > rtt {
		t.Errorf("a link that delays nothing took %v", took)
	}
}

// TestRate: content passes at the rate of its direction, which connections
// share.
func TestRate(t *testing.T) {
	const size = 50_000 // a second of 400 kbit/s
	p := link(t, Link{Down: 400}, func(c net.Conn) { _, _ = c.Write(make([]byte, size/2)) })
	began := time.Now()
	var wait sync.WaitGroup
	for range 2 {
		c := dial(t, p)
		wait.Go(func() {
			if n, err := io.Copy(io.Discard, c); n != size/2 || err != nil {
				t.Errorf("%d bytes, %v", n, err)
			}
		})
	}
	wait.Wait()
	if took := time.Since(began); took < 980*time.Millisecond || took > 3*time.Second {
		t.Errorf("%d bytes at 400 kbit/s took %v, want a second", size, took)
	}
	up := link(t, Link{Up: 400}, func(c net.Conn) {
		_, _ = io.Copy(io.Discard, c)
		_, _ = c.Write([]byte{1})
	})
	c := dial(t, up)
	began = time.Now()
	_, err := c.Write(make([]byte, size/2))
	if err = errors.Join(err, c.CloseWrite()); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(c); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < 490*time.Millisecond || took > 2*time.Second {
		t.Errorf("%d bytes up at 400 kbit/s took %v, want half a second", size/2, took)
	}
	if got := up.Traffic(); got.Up != size/2 || got.Down != 1 {
		t.Errorf("counted %+v", got)
	}
}

// TestContent: with losses, both ways at once and an end on each side,
// everything arrives, in order.
func TestContent(t *testing.T) {
	p := link(t, Link{Latency: time.Millisecond, Loss: 0.05, Seed: 7, Buffer: 16 << 10}, echo)
	c := dial(t, p)
	sent := make([]byte, 60_000)
	chacha := rand.NewChaCha8([32]byte{1})
	_, _ = chacha.Read(sent)
	var wait sync.WaitGroup
	wait.Go(func() {
		_, err := c.Write(sent)
		if err = errors.Join(err, c.CloseWrite()); err != nil {
			t.Error(err)
		}
	})
	got, err := io.ReadAll(c)
	wait.Wait()
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d bytes came back of %d, %v; %x and %x", len(got), len(sent), err, sha256.Sum256(got), sha256.Sum256(sent))
	}
	if lost := p.Traffic(); lost.LostUp == 0 || lost.LostDown == 0 || lost.Up != int64(len(sent)) || lost.Down != int64(len(sent)) {
		t.Errorf("traffic %+v", lost)
	}
}

// TestLoss: a lost segment costs the timeout, doubled each time it is lost
// again, and holds up what is behind it.
func TestLoss(t *testing.T) {
	const seed, loss = 3, 0.5
	l := Link{Loss: loss, Seed: seed}
	// What the connection's first segments are going to lose.
	lost := func(stream uint64) time.Duration {
		r := rand.New(rand.NewPCG(seed, stream))
		stall := time.Duration(0)
		for rto := minRTO; r.Float64() < loss; rto *= 2 {
			stall += rto
		}
		return stall
	}
	p := link(t, l, echo)
	stalled := 0
	for n := range uint64(4) {
		want := lost(2*n) + lost(2*n+1)
		if want > 0 {
			stalled++
		}
		if took := ask(t, dial(t, p)); took < want || took > want+150*time.Millisecond {
			t.Errorf("connection %d took %v, want %v", n, took, want)
		}
	}
	if stalled == 0 || stalled == 4 {
		t.Fatalf("%d of 4 connections lose something: the test needs another seed", stalled)
	}
	if a, b := (&Link{}).rto(), (&Link{Latency: 150 * time.Millisecond}).rto(); a != 200*time.Millisecond || b != 600*time.Millisecond {
		t.Errorf("timeouts %v and %v", a, b)
	}
}

// TestLine: what a line says is a function of the seed, nothing overtakes, and
// a lost segment is on the line twice.
func TestLine(t *testing.T) {
	arrivals := func() (out []time.Duration, lost int64) {
		w := line{perByte: perByte(200)}
		r := rand.New(rand.NewPCG(1, 1))
		begin := time.Now().Add(time.Hour) // later than any now: times don't depend on the clock
		for range 200 {
			out = append(out, w.pass(SegmentSize, Link{Latency: time.Second, Loss: 0.05}, r, begin).Sub(begin))
		}
		return out, w.lost.Load()
	}
	a, lost := arrivals()
	b, _ := arrivals()
	if fmt.Sprint(a) != fmt.Sprint(b) {
		t.Error("the same seed gave other arrivals")
	}
	if lost < 3 || lost > 20 {
		t.Errorf("%d of 200 were lost, want about 10", lost)
	}
	each := time.Duration(SegmentSize) * 8 * time.Second / 200_000
	// The last ones may be stalled: the line's own time is what is bounded.
	if want := time.Second + time.Duration(200+lost)*each; a[199] < want-time.Millisecond {
		t.Errorf("the last arrived at %v, the line alone takes %v", a[199], want)
	}
}

// TestBackPressure: a sender whose reader does not read is made to wait, soon.
func TestBackPressure(t *testing.T) {
	blocked := make(chan int64, 1)
	p := link(t, Link{Down: 100, Buffer: 8 << 10}, func(c net.Conn) {
		_ = c.(*net.TCPConn).SetWriteBuffer(16 << 10)
		var n int64
		chunk := make([]byte, 4<<10)
		for {
			_ = c.SetWriteDeadline(time.Now().Add(700 * time.Millisecond))
			k, err := c.Write(chunk)
			n += int64(k)
			if err != nil {
				blocked <- n
				return
			}
		}
	})
	dial(t, p)
	select {
	case n := <-blocked:
		// Kernels hold some too; without the bound, megabytes go in at once.
		if n > 400<<10 {
			t.Errorf("%d bytes were taken of a connection that passes 12 kB a second", n)
		}
	case <-time.After(30 * time.Second):
		t.Error("the sender was never made to wait")
	}
}

// TestCut: Close ends connections under way, and a server that is gone is seen.
func TestCut(t *testing.T) {
	p := link(t, Link{Latency: time.Hour}, echo)
	c := dial(t, p)
	if _, err := c.Write([]byte("never to arrive")); err != nil {
		t.Fatal(err)
	}
	closed := make(chan error, 1)
	go func() { closed <- p.Close() }()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("Close waits for what is under way")
	}
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("the connection outlived the link")
	}

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	q, err := Listen(gone, Link{})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	if _, err := dial(t, q).Read(make([]byte, 1)); err == nil {
		t.Error("an answer from nowhere")
	}
}

func TestCheck(t *testing.T) {
	for want, l := range map[string]Link{
		"latency": {Latency: -1}, "rate": {Up: -1}, "loss": {Loss: 1}, "buffer": {Buffer: -1},
	} {
		if _, err := Listen("127.0.0.1:1", l); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v", l, err)
		}
	}
}
