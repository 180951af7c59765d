package upgrade

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"pgregory.net/rapid"
)

func TestEcho(t *testing.T) {
	s := start(t, Options{}, echo)
	ws := s.dial(t)
	for _, n := range []int{0, 1, 125, 126, 511, 512, 513, 1023, 1024, 1025, 65535, 65536, DefaultReadLimit} {
		sent := bytes.Repeat([]byte{'x'}, n)
		if err := ws.WriteMessage(websocket.TextMessage, sent); err != nil {
			t.Fatal(err)
		}
		kind, got, err := ws.ReadMessage()
		if err != nil || kind != websocket.TextMessage || !bytes.Equal(got, sent) {
			t.Fatalf("%d bytes came back as %d of kind %d, %v", n, len(got), kind, err)
		}
	}
	// One message in many frames.
	w, _ := ws.NextWriter(websocket.TextMessage)
	for range 1000 {
		if _, err := w.Write(bytes.Repeat([]byte{'y'}, 100)); err != nil {
			t.Fatal(err)
		}
	}
	w.Close()
	if _, got, err := ws.ReadMessage(); err != nil || len(got) != 100_000 {
		t.Fatalf("fragments: %d bytes, %v", len(got), err)
	}
	if s.reg.Len() != 1 {
		t.Errorf("Len = %d", s.reg.Len())
	}
	_ = ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1000, "bye"), time.Now().Add(time.Second))
	_, _, err := ws.ReadMessage()
	wantClosed(t, err, 1000)
	eventually(t, "the place is free", func() bool { return s.reg.Len() == 0 })
}

// TestFramesAreTheReaders: what was read stays what it was, whatever is read later
// and by whom.
func TestFramesAreTheReaders(t *testing.T) {
	sizes := []int{1, 100, firstRead - 1, firstRead, firstRead + 1, 5000, 100, 1}
	s := start(t, Options{}, func(c *Conn) {
		var kept [][]byte
		for range sizes {
			frame, err := c.ReadJSONFrame()
			if err != nil {
				t.Error(err)
				return
			}
			kept = append(kept, frame)
		}
		_ = c.Write(context.Background(), bytes.Join(kept, nil))
		_, _ = c.ReadJSONFrame() // the peer closes
	})
	var want [2][]byte
	conns := [2]*websocket.Conn{s.dial(t), s.dial(t)}
	for i, n := range sizes {
		for j, ws := range conns {
			frame := bytes.Repeat([]byte{byte('a' + 2*i + j)}, n)
			want[j] = append(want[j], frame...)
			if err := ws.WriteMessage(websocket.TextMessage, frame); err != nil {
				t.Fatal(err)
			}
		}
	}
	for j, ws := range conns {
		if _, got, err := ws.ReadMessage(); err != nil || !bytes.Equal(got, want[j]) {
			t.Errorf("connection %d: %d bytes of %d, or others: %v", j, len(got), len(want[j]), err)
		}
		ws.Close()
	}
}

func TestPeerClose(t *testing.T) {
	ends := make(chan error, 1)
	s := start(t, Options{}, func(c *Conn) {
		if c.Err() != nil {
			t.Error("Err before the end")
		}
		_, err := c.ReadJSONFrame()
		<-c.Done()
		_, again := c.ReadJSONFrame()
		if again != err || c.Err() != err || c.Write(context.Background(), nil) != err {
			t.Errorf("first %v, then %v, %v", err, again, c.Err())
		}
		ends <- err
	})
	ws := s.dial(t)
	_ = ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(4321, "enough"), time.Now().Add(time.Second))
	err := <-ends
	wantEnd(t, err, 4321, true)
	if !strings.Contains(err.Error(), "enough") {
		t.Error(err)
	}

	ws = s.dial(t)
	_ = ws.NetConn().(*net.TCPConn).SetLinger(0)
	_ = ws.Close()
	wantEnd(t, <-ends, 1006, true)

	ws = s.dial(t)
	_ = ws.Close()
	wantEnd(t, <-ends, 1006, true)
}

func TestConcurrentWriters(t *testing.T) {
	const writers, frames = 8, 50
	s := start(t, Options{PingPeriod: time.Millisecond}, func(c *Conn) {
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				for i := range frames {
					frame := fmt.Sprintf("%d %d %s", w, i, strings.Repeat("z", i*40))
					if err := c.Write(context.Background(), []byte(frame)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		go wg.Wait()
		_, _ = c.ReadJSONFrame()
		wg.Wait()
	})
	ws := s.dial(t)
	next := [writers]int{}
	for range writers * frames {
		_, got, err := ws.ReadMessage()
		if err != nil {
			t.Fatal(err)
		}
		var w, i int
		var z string
		_, _ = fmt.Sscanf(string(got), "%d %d %s", &w, &i, &z)
		if i != next[w] || len(z) != i*40 {
			t.Fatalf("writer %d: frame %d with %d bytes, want frame %d", w, i, len(z), next[w])
		}
		next[w]++
	}
	_ = ws.Close()
}

func TestRefusedFrames(t *testing.T) {
	ends := make(chan error, 1)
	s := start(t, Options{ReadLimit: 1000}, func(c *Conn) {
		for {
			if _, err := c.ReadJSONFrame(); err != nil {
				ends <- err
				return
			}
		}
	})
	for name, tc := range map[string]struct {
		send func(*websocket.Conn)
		code int
	}{
		"oversize": {func(ws *websocket.Conn) { _ = ws.WriteMessage(websocket.TextMessage, make([]byte, 1001)) }, 1009},
		"far beyond, unread when the connection closes": {func(ws *websocket.Conn) { _ = ws.WriteMessage(websocket.TextMessage, make([]byte, 300_000)) }, 1009},
		"oversize in fragments": {func(ws *websocket.Conn) {
			w, _ := ws.NextWriter(websocket.TextMessage)
			for range 12 {
				_, _ = w.Write(make([]byte, 1000))
			}
			_ = w.Close()
		}, 1009},
		"binary":     {func(ws *websocket.Conn) { _ = ws.WriteMessage(websocket.BinaryMessage, []byte("{}")) }, 1003},
		"bad UTF-8":  {func(ws *websocket.Conn) { _ = ws.WriteMessage(websocket.TextMessage, []byte{'"', 0xff, '"'}) }, 1007},
		"unmasked":   {func(ws *websocket.Conn) { _, _ = ws.NetConn().Write([]byte{0x81, 0x02, '{', '}'}) }, 1002},
		"compressed": {func(ws *websocket.Conn) { _, _ = ws.NetConn().Write([]byte{0xc1, 0x80, 1, 2, 3, 4}) }, 1002},
		"63-bit size": {func(ws *websocket.Conn) {
			_, _ = ws.NetConn().Write([]byte{0x81, 0xff, 0x7f, 255, 255, 255, 255, 255, 255, 255, 1, 2, 3, 4})
		}, 1009},
		"64-bit size": {func(ws *websocket.Conn) {
			_, _ = ws.NetConn().Write([]byte{0x81, 0xff, 255, 255, 255, 255, 255, 255, 255, 255, 1, 2, 3, 4})
		}, 1009},
	} {
		t.Run(name, func(t *testing.T) {
			ws := s.dial(t)
			tc.send(ws)
			wantEnd(t, <-ends, tc.code, false)
			_ = ws.SetReadDeadline(time.Now().Add(30 * time.Second))
			_, _, err := ws.ReadMessage()
			wantClosed(t, err, tc.code)
		})
	}
	ws := s.dial(t)
	if err := ws.WriteMessage(websocket.TextMessage, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	_ = ws.WriteMessage(websocket.BinaryMessage, nil)
	wantEnd(t, <-ends, 1003, false) // the first, just at the limit, was taken
}

func TestSetReadLimit(t *testing.T) {
	ended := make(chan struct{})
	s := start(t, Options{}, func(c *Conn) {
		defer close(ended)
		c.SetReadLimit(10)
		if _, err := c.ReadJSONFrame(); err != nil {
			t.Error(err)
		}
		c.SetReadLimit(100)
		if _, err := c.ReadJSONFrame(); err != nil {
			t.Error(err)
		}
		c.SetReadLimit(10)
		_, err := c.ReadJSONFrame()
		wantEnd(t, err, 1009, false)
	})
	ws := s.dial(t)
	for _, n := range []int{10, 100, 11} {
		_ = ws.WriteMessage(websocket.TextMessage, make([]byte, n))
	}
	_, _, err := ws.ReadMessage()
	wantClosed(t, err, 1009)
	<-ended
}

// After the close frame the server has nothing more to say and says so, but
// listens on for the grace time: a peer that is still sending must not be
// reset before it has read why.
func TestCloseIsNoReset(t *testing.T) {
	s := start(t, Options{ReadLimit: 1000, CloseGrace: 20 * time.Second}, echo)
	ws := s.dial(t)
	raw := ws.NetConn()
	if _, err := raw.Write([]byte{0x81, 0xff, 0, 0, 0, 0, 0, 0x10, 0, 0, 1, 2, 3, 4}); err != nil { // a frame of 1 MiB
		t.Fatal(err)
	}
	for range 10 {
		time.Sleep(5 * time.Millisecond)
		if _, err := raw.Write(make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	_ = raw.SetReadDeadline(time.Now().Add(15 * time.Second))
	answer, err := io.ReadAll(raw)
	if err != nil || len(answer) != 4 || answer[0] != 0x88 || int(answer[2])<<8|int(answer[3]) != 1009 {
		t.Errorf("%x, %v", answer, err)
	}
	_ = raw.Close()
	eventually(t, "the place is free", func() bool { return s.reg.Len() == 0 })
}

// quick leaves a busy machine time for a pong.
var quick = Options{PingPeriod: 100 * time.Millisecond, ReadTimeout: 600 * time.Millisecond, CloseGrace: 100 * time.Millisecond}

func TestSilentPeer(t *testing.T) {
	ends := make(chan error, 1)
	s := start(t, quick, func(c *Conn) {
		_, err := c.ReadJSONFrame()
		ends <- err
	})
	s.dial(t) // doesn't read, so doesn't answer pings
	begin := time.Now()
	err := <-ends
	wantEnd(t, err, 1001, false)
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
	if d := time.Since(begin); d < 100*time.Millisecond {
		t.Errorf("after %v", d)
	}
	eventually(t, "the place is free", func() bool { return s.reg.Len() == 0 })
}

func TestPongsKeepAlive(t *testing.T) {
	s := start(t, quick, echo)
	ws := s.dial(t)
	var pings atomic.Int32
	answer := ws.PingHandler()
	ws.SetPingHandler(func(p string) error {
		pings.Add(1)
		return answer(p)
	})
	_ = ws.SetReadDeadline(time.Now().Add(4 * quick.ReadTimeout))
	if _, _, err := ws.ReadMessage(); !isTimeout(err) {
		t.Errorf("an idle peer that answers got %v", err)
	}
	if n := pings.Load(); n < 5 {
		t.Errorf("%d pings", n)
	}
	if s.reg.Len() != 1 {
		t.Error("the connection is gone")
	}
}

func TestPeersOwnPings(t *testing.T) {
	s := start(t, quick, echo)
	ws := s.dial(t)
	var pong atomic.Value
	ws.SetPongHandler(func(p string) error { pong.Store(p); return nil })
	ws.SetPingHandler(func(string) error { return nil }) // doesn't answer, but pings itself
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(30 * time.Millisecond):
				_ = ws.WriteControl(websocket.PingMessage, []byte("are you there"), time.Now().Add(time.Second))
			}
		}
	})
	_ = ws.SetReadDeadline(time.Now().Add(3 * quick.ReadTimeout))
	if _, _, err := ws.ReadMessage(); !isTimeout(err) {
		t.Error(err)
	}
	close(stop)
	wg.Wait()
	if pong.Load() != "are you there" {
		t.Errorf("pong %v", pong.Load())
	}
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

// A link that needs longer for one frame than a silent peer is given.
func TestSlowSender(t *testing.T) {
	s := start(t, quick, echo)
	ws := s.dial(t)
	const n = 300_000
	frame := append([]byte{0x81, 0xff, 0, 0, 0, 0, 0, n >> 16, n >> 8 & 0xff, n & 0xff, 0, 0, 0, 0}, bytes.Repeat([]byte{'s'}, n)...)
	begin := time.Now()
	for len(frame) > 0 {
		k := min(len(frame), 30_000)
		if _, err := ws.NetConn().Write(frame[:k]); err != nil {
			t.Fatal(err)
		}
		frame = frame[k:]
		time.Sleep(quick.ReadTimeout / 4)
	}
	if _, got, err := ws.ReadMessage(); err != nil || len(got) != n || time.Since(begin) < 2*quick.ReadTimeout {
		t.Errorf("%d bytes after %v: %v", len(got), time.Since(begin), err)
	}
	// Stuck in the middle of a frame.
	_, _ = ws.NetConn().Write([]byte{0x81, 0x90, 1, 2, 3, 4, 'x'})
	ws.SetPingHandler(func(string) error { return nil })
	_, _, err := ws.ReadMessage()
	wantClosed(t, err, 1001)
}

func TestSlowReader(t *testing.T) {
	ends := make(chan error, 3)
	s := start(t, Options{WriteTimeout: 200 * time.Millisecond}, func(c *Conn) {
		page := bytes.Repeat([]byte{'p'}, 64<<10)
		var wg sync.WaitGroup
		for range 2 { // one of them is waiting for its turn when the other fails
			wg.Go(func() {
				for {
					if err := c.Write(context.Background(), page); err != nil {
						ends <- err
						return
					}
				}
			})
		}
		_, err := c.ReadJSONFrame()
		wg.Wait()
		ends <- err
	})
	s.dial(t)
	for range 3 {
		err := <-ends
		wantEnd(t, err, 1006, false)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
	}
	eventually(t, "the place is free", func() bool { return s.reg.Len() == 0 })
}

func TestWriteContext(t *testing.T) {
	done := make(chan struct{})
	s := start(t, Options{}, func(c *Conn) {
		defer close(done)
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		if err := c.Write(ended, []byte("never")); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		c.turn <- struct{}{} // as if another frame were being written
		soon, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		defer cancel()
		if err := c.Write(soon, []byte("never")); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		<-c.turn
		if err := c.Write(context.Background(), []byte("still open")); err != nil {
			t.Error(err)
		}
		// A deadline that is sooner than the write timeout counts.
		big := make([]byte, 64<<20) // before the time runs
		begin := time.Now()
		short, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		err := c.Write(short, big)
		wantEnd(t, err, 1006, false)
		if d := time.Since(begin); d > 2*time.Second {
			t.Errorf("took %v", d)
		}
	})
	ws := s.dial(t)
	if _, got, err := ws.ReadMessage(); err != nil || string(got) != "still open" {
		t.Errorf("%q %v", got, err)
	}
	<-done
}

func TestClose(t *testing.T) {
	for name, tc := range map[string]struct {
		code, want   int
		reason, said string
	}{
		"application code":       {4001, 4001, "expired", "expired"},
		"no reason":              {4003, 4003, "", ""},
		"unsendable 1006":        {1006, 1011, "x", "x"},
		"unsendable 0":           {0, 1011, "x", "x"},
		"unsendable 5000":        {5000, 1011, "x", "x"},
		"reason too long":        {4009, 4009, strings.Repeat("ä", 100), strings.Repeat("ä", 61)},
		"reason not valid UTF-8": {1000, 1000, "a\xffb", "a\uFFFDb"},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, Options{}, func(c *Conn) {
				var wg sync.WaitGroup
				wg.Go(func() { _, _ = c.ReadJSONFrame() })
				time.Sleep(5 * time.Millisecond)
				c.Close(tc.code, tc.reason)
				for range 8 {
					wg.Go(func() { c.Close(1000, "later") })
				}
				wg.Wait()
				wantEnd(t, c.Err(), tc.want, false)
			})
			ws := s.dial(t)
			_, _, err := ws.ReadMessage()
			var closed *websocket.CloseError
			if !errors.As(err, &closed) || closed.Code != tc.want || closed.Text != tc.said {
				t.Errorf("got %v", err)
			}
			_ = ws.Close()
			eventually(t, "the place is free", func() bool { return s.reg.Len() == 0 })
		})
	}
}

// Close must not wait for a peer that takes nothing.
func TestCloseOfStuckPeer(t *testing.T) {
	took := make(chan time.Duration, 1)
	const grace = 3 * time.Second
	s := start(t, Options{CloseGrace: grace}, func(c *Conn) {
		var wg sync.WaitGroup
		wg.Go(func() {
			for c.Write(context.Background(), make([]byte, 64<<10)) == nil {
			}
		})
		time.Sleep(100 * time.Millisecond)
		begin := time.Now()
		c.Close(4003, "revoked")
		took <- time.Since(begin)
		wg.Wait()
	})
	s.dial(t)
	if d := <-took; d > grace/2 {
		t.Errorf("Close took %v", d)
	}
	eventually(t, "the place is free", func() bool { return s.reg.Len() == 0 })
}

func TestServeReturns(t *testing.T) {
	s := start(t, Options{}, func(c *Conn) { _ = c.Write(context.Background(), []byte("bye")) })
	ws := s.dial(t)
	if _, got, err := ws.ReadMessage(); err != nil || string(got) != "bye" {
		t.Errorf("%q %v", got, err)
	}
	_, _, err := ws.ReadMessage()
	wantClosed(t, err, 1000)
}

func TestPanic(t *testing.T) {
	type report struct {
		remote net.Addr
		value  any
		stack  []byte
	}
	reports := make(chan report, 1)
	opts := Options{OnPanic: func(remote net.Addr, v any, stack []byte) {
		reports <- report{remote, v, stack}
		panic("the hook too")
	}}
	s := start(t, opts, func(c *Conn) { explode() })
	ws := s.dial(t)
	_, _, err := ws.ReadMessage()
	wantClosed(t, err, 1011)
	r := <-reports
	if r.remote.String() != ws.LocalAddr().String() || r.value != "boom" || !bytes.Contains(r.stack, []byte("explode")) {
		t.Errorf("%v %v\n%s", r.remote, r.value, r.stack)
	}
	_ = ws.Close()
	eventually(t, "the place is free", func() bool { return s.reg.Len() == 0 })
}

func explode() { panic("boom") }

func TestFitReason(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := string(rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "bytes"))
		if rapid.Bool().Draw(t, "text") {
			s = rapid.StringN(0, 200, 400).Draw(t, "text")
		}
		got := fitReason(s)
		if len(got) > maxReason || strings.ToValidUTF8(got, "") != got {
			t.Fatalf("%q", got)
		}
		if !strings.HasPrefix(strings.ToValidUTF8(s, "\uFFFD"), got) {
			t.Fatalf("%q is no beginning of %q", got, s)
		}
		if len(got) < min(len(strings.ToValidUTF8(s, "\uFFFD")), maxReason-3) {
			t.Fatalf("cut to %d bytes", len(got))
		}
	})
}
