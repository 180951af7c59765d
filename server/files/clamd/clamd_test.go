package clamd_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"satchel/server/files"
	"satchel/server/files/clamd"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// eicar is the text that every scanner takes for harmful, in two pieces so that
// none takes this file for it.
const eicar = `X5O!P%@AP[4\PZX54(P^)7CC)7}$` + "EICAR-STANDARD-ANTIVIRUS-" + "TEST-FILE!$H+H*"

// daemon speaks the daemon's side of INSTREAM.
type daemon struct {
	limit  int    // StreamMaxLength; 0 for none
	say    string // instead of a verdict, sent at once
	hang   bool   // says nothing
	mu     sync.Mutex
	open   int
	most   int
	judged int
}

// run listens until the test ends.
func (d *daemon) run(t *testing.T, network, address string) string {
	t.Helper()
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				d.serve(conn)
			})
		}
	})
	t.Cleanup(func() { _ = ln.Close(); wg.Wait() })
	return ln.Addr().String()
}

func (d *daemon) serve(conn net.Conn) {
	d.mu.Lock()
	d.open++
	d.most = max(d.most, d.open)
	d.mu.Unlock()
	defer func() { d.mu.Lock(); d.open--; d.mu.Unlock() }()
	in := bufio.NewReader(conn)
	cmd, err := in.ReadString(0)
	if err != nil || cmd != "zINSTREAM\x00" {
		_, _ = io.WriteString(conn, "UNKNOWN COMMAND\x00")
		return
	}
	if d.say != "" {
		_, _ = io.WriteString(conn, d.say)
		return
	}
	var all bytes.Buffer
	for {
		var n uint32
		if err := binary.Read(in, binary.BigEndian, &n); err != nil {
			return
		}
		if n == 0 {
			break
		}
		if d.limit > 0 && all.Len()+int(n) > d.limit {
			_, _ = io.WriteString(conn, "INSTREAM size limit exceeded. ERROR\x00")
			return
		}
		if _, err := io.CopyN(&all, in, int64(n)); err != nil {
			return
		}
	}
	if d.hang {
		_, _ = in.ReadByte() // until the other side gives up
		return
	}
	d.mu.Lock()
	d.judged++
	d.mu.Unlock()
	time.Sleep(20 * time.Millisecond)
	if bytes.Contains(all.Bytes(), []byte(eicar)) {
		_, _ = io.WriteString(conn, "stream: Eicar-Test-Signature FOUND\x00")
		return
	}
	_, _ = io.WriteString(conn, "stream: OK\x00")
}

func file(t *testing.T, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func client(t *testing.T, cfg clamd.Config) *clamd.Client {
	t.Helper()
	c, err := clamd.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestScan: over both kinds of socket what is harmless passes, whatever its
// size, and the test text is found wherever it stands.
func TestScan(t *testing.T) {
	d := &daemon{}
	sock := filepath.Join(t.TempDir(), "clamd.ctl")
	d.run(t, "unix", sock)
	for name, address := range map[string]string{"unix": "unix:" + sock, "unix as an address": "unix://" + sock, "tcp": "tcp://" + d.run(t, "tcp", "127.0.0.1:0")} {
		c := client(t, clamd.Config{Address: address})
		for what, x := range map[string]struct {
			content []byte
			harmful bool
		}{
			"nothing":    {nil, false},
			"text":       {[]byte("plain"), false},
			"a chunk":    {bytes.Repeat([]byte("x"), 64<<10), false},
			"many":       {bytes.Repeat([]byte("x"), 3<<20+1), false},
			"eicar":      {[]byte(eicar), true},
			"eicar last": {append(bytes.Repeat([]byte("x"), 64<<10-20), eicar...), true},
		} {
			err := c.Scan(t.Context(), file(t, x.content))
			if x.harmful != errors.Is(err, files.ErrHarmful) || !x.harmful && err != nil {
				t.Errorf("%s, %s: %v", name, what, err)
			}
			if x.harmful && !strings.Contains(err.Error(), "Eicar-Test-Signature") {
				t.Errorf("no signature: %v", err)
			}
		}
	}
}

// TestNoVerdict: what is no verdict is none: neither good nor harmful.
func TestNoVerdict(t *testing.T) {
	big := file(t, bytes.Repeat([]byte("x"), 16<<20))
	small := file(t, []byte("plain"))
	scan := func(d *daemon, path string, timeout time.Duration) error {
		t.Helper()
		return client(t, clamd.Config{Address: "tcp://" + d.run(t, "tcp", "127.0.0.1:0"), Timeout: timeout}).Scan(t.Context(), path)
	}
	if err := scan(&daemon{limit: 1 << 20}, big, time.Minute); !errors.Is(err, files.ErrUnscannable) {
		t.Errorf("beyond StreamMaxLength: %v", err)
	}
	for _, say := range []string{
		"stream: OK", "OK\x00", "stream: \x00", "\x00", "stream: OKAY\x00", "stream: Can't allocate memory ERROR\x00", "COMMAND READ TIMED OUT\x00",
		"x\nstream: OK\x00", strings.Repeat("y", 1<<20) + "\x00",
	} {
		for _, path := range []string{small, big} {
			if err := scan(&daemon{say: say}, path, time.Minute); err == nil || errors.Is(err, files.ErrHarmful) || errors.Is(err, files.ErrUnscannable) || strings.Contains(err.Error(), "\n\n") {
				t.Errorf("%.30q: %v", say, err)
			}
		}
	}
	// A verdict before it was all there may only be a bad one.
	if err := scan(&daemon{say: "stream: OK\x00"}, big, time.Minute); err == nil {
		t.Error("good by its beginning")
	}
	if err := scan(&daemon{say: "stream: Bad FOUND\x00"}, big, time.Minute); !errors.Is(err, files.ErrHarmful) {
		t.Errorf("harmful by its beginning: %v", err)
	}
	start := time.Now()
	if err := scan(&daemon{hang: true}, small, 200*time.Millisecond); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 30*time.Second {
		t.Errorf("a daemon that says nothing: %v", err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	_ = ln.Close()
	c := client(t, clamd.Config{Address: "tcp://" + addr})
	if err := c.Scan(t.Context(), small); err == nil || errors.Is(err, files.ErrHarmful) {
		t.Errorf("nobody there: %v", err)
	}
	if err := c.Scan(t.Context(), filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// TestAtOnce: no more files are judged at once than the daemon has threads for,
// and who waits too long gives up.
func TestAtOnce(t *testing.T) {
	d := &daemon{}
	c := client(t, clamd.Config{Address: "tcp://" + d.run(t, "tcp", "127.0.0.1:0"), AtOnce: 2})
	path := file(t, []byte("plain"))
	var wg sync.WaitGroup
	for range 12 {
		wg.Go(func() {
			if err := c.Scan(t.Context(), path); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.most > 3 || d.judged != 12 { // the other side may see an end late
		t.Errorf("%d at once, %d judged", d.most, d.judged)
	}
}

// TestAddress: an address is whole, or refused before anything starts.
func TestAddress(t *testing.T) {
	for _, bad := range []string{
		"", "clamd", "unix:", "unix:clamd.ctl", "tcp:", "tcp://", "tcp://host", "tcp://:3310", "tcp://host:3310/x", "http://host:3310", "tcp://u@host:3310",
	} {
		if _, err := clamd.New(clamd.Config{Address: bad}); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
