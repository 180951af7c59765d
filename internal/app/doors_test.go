package app

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"satchel/server/session/limit"
	"satchel/server/session/password/passwordtest"
)

// certify writes a certificate for this machine that bears the number.
func certify(t *testing.T, dir string, number int64) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	like := &x509.Certificate{
		SerialNumber: big.NewInt(number), Subject: pkix.Name{CommonName: "satchel"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, like, like, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(path+".new", pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// said collects what a server writes.
type said struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *said) has(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Contains(s.b.String(), text)
}

// TestTLS: a server with a certificate speaks TLS 1.2 and later, to sockets too,
// says that it is to be reached so alone, and takes a renewed certificate over
// without a pause; one that is broken leaves the good one in place.
func TestTLS(t *testing.T) {
	dir := t.TempDir()
	cert, key := certify(t, dir, 1)
	var out, log said
	a, err := New(Config{
		Dir: filepath.Join(dir, "data"), Listen: "127.0.0.1:0", Hasher: passwordtest.New(t), TLSCert: cert, TLSKey: key, Out: &out,
		Log: slog.New(slog.NewJSONHandler(&log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	if err := a.Listen(ctx); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	if !out.has("listening on https://127.0.0.1:") {
		t.Error("the first line does not say https")
	}
	// Which certificate is shown is what is looked at here.
	dial := func(c *tls.Config) (*tls.ConnectionState, error) {
		c.InsecureSkipVerify = true
		conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 10 * time.Second}, "tcp", a.Address(), c)
		if err != nil {
			return nil, err
		}
		defer conn.Close()
		state := conn.ConnectionState()
		return &state, nil
	}
	serial := func() int64 {
		state, err := dial(&tls.Config{})
		if err != nil {
			t.Fatal(err)
		}
		return state.PeerCertificates[0].SerialNumber.Int64()
	}
	for _, v := range []struct {
		least, most uint16
		ok          bool
	}{{tls.VersionTLS10, tls.VersionTLS10, false}, {tls.VersionTLS10, tls.VersionTLS11, false}, {tls.VersionTLS12, tls.VersionTLS12, true}, {tls.VersionTLS13, tls.VersionTLS13, true}} {
		if _, err := dial(&tls.Config{MinVersion: v.least, MaxVersion: v.most}); (err == nil) != v.ok {
			t.Errorf("TLS up to %x: %v", v.most, err)
		}
	}
	for _, weak := range []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA, tls.TLS_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA} {
		if _, err := dial(&tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{weak}}); err == nil {
			t.Errorf("%s is taken", tls.CipherSuiteName(weak))
		}
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
	res, err := client.Get("https://" + a.Address() + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if res.StatusCode != 200 || !strings.HasPrefix(res.Header.Get("Strict-Transport-Security"), "max-age=31536000") {
		t.Errorf("%d %s %v", res.StatusCode, body, res.Header)
	}
	d := websocket.Dialer{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	ws, _, err := d.Dial("wss://"+a.Address()+"/sync/v1/live", http.Header{"Origin": {"https://" + a.Address()}})
	if err != nil {
		t.Fatal(err)
	}
	if err := ws.WriteMessage(websocket.TextMessage, []byte(`{"kind":"auth","token":"x"}`)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := ws.ReadMessage(); !websocket.IsCloseError(err, 4003) {
		t.Errorf("a socket over TLS: %v", err)
	}
	_ = ws.Close()
	if _, res, err := d.Dial("wss://"+a.Address()+"/sync/v1/live", http.Header{"Origin": {"http://" + a.Address()}}); err == nil || res == nil || res.StatusCode != 403 {
		t.Errorf("a page that came without TLS: %v", err)
	}
	if n := serial(); n != 1 {
		t.Fatalf("certificate %d", n)
	}
	certify(t, dir, 2)
	eventually(t, "the renewed certificate is shown", func() bool { return serial() == 2 })
	if err := os.WriteFile(cert, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the broken one is told", func() bool { return log.has("TLS certificate") && log.has("reload failed") })
	if n := serial(); n != 2 {
		t.Errorf("certificate %d", n)
	}
	for _, c := range []Config{{TLSCert: cert, TLSKey: key}, {TLSCert: filepath.Join(dir, "nowhere"), TLSKey: key}, {TLSCert: cert}} {
		c.Dir, c.Hasher = t.TempDir(), passwordtest.New(t)
		if _, err := New(c); err == nil {
			t.Errorf("%s and %s are taken", c.TLSCert, c.TLSKey)
		}
	}
}

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !cond(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// TestDoors: an address has its share of the connections, all together theirs;
// what goes makes room.
func TestDoors(t *testing.T) {
	d := newDoors(nil, Connections{All: 6, Address: 2}, limit.Proxies{netip.MustParsePrefix("192.0.2.9/32")})
	enter := func(site string, want bool) {
		t.Helper()
		if got := d.enter(site); got != want {
			t.Fatalf("%q: %v", site, got)
		}
	}
	enter("192.0.2.1", true)
	enter("192.0.2.1", true)
	enter("192.0.2.1", false)
	enter("192.0.2.2", true)
	for range 3 {
		enter("", true)
	}
	enter("", false)
	enter("192.0.2.3", false)
	d.leave("192.0.2.1")
	enter("192.0.2.1", true)
	d.leave("192.0.2.1")
	d.leave("192.0.2.1")
	d.leave("192.0.2.2")
	for range 3 {
		d.leave("")
	}
	if d.all != 0 || len(d.sites) != 0 {
		t.Errorf("%d left, %v", d.all, d.sites)
	}
	for addr, want := range map[string]string{
		"127.0.0.1:1": "", "[::1]:1": "", "192.0.2.9:1": "", "192.0.2.1:1": "192.0.2.1", "[2001:db8::1]:1": "2001:db8::/64", "[::ffff:192.0.2.1]:1": "192.0.2.1",
	} {
		at, err := net.ResolveTCPAddr("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if got := d.site(&peer{at: at}); got != want {
			t.Errorf("%s counts for %q, want %q", addr, got, want)
		}
	}
}

// peer is a connection that only has another end.
type peer struct {
	net.Conn
	at net.Addr
}

func (p *peer) RemoteAddr() net.Addr { return p.at }

// TestDoorsClose: what is beyond the bound is closed, and a connection that is
// closed twice leaves once.
func TestDoorsClose(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := newDoors(l, Connections{All: 1, Address: 1}, nil)
	defer d.Close()
	dial := func() net.Conn {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		return c
	}
	accepted := make(chan net.Conn)
	go func() {
		for {
			c, err := d.Accept()
			if err != nil {
				close(accepted)
				return
			}
			accepted <- c
		}
	}()
	first := dial()
	defer first.Close()
	in := <-accepted
	second := dial()
	defer second.Close()
	if _, err := second.Read(make([]byte, 1)); err == nil {
		t.Error("the second connection is open")
	}
	_, _ = in.Close(), in.Close()
	third := dial()
	defer third.Close()
	in = <-accepted
	if d.refused.Load() != 1 || d.all != 1 {
		t.Errorf("%d refused, %d open", d.refused.Load(), d.all)
	}
	if _, ok := in.(interface{ CloseWrite() error }); !ok {
		t.Error("a counted connection can't be half closed")
	}
	_ = in.Close()
}

// TestDoorsCloseUp: once a server ends, no connection is read for longer than a
// moment, whatever is set for it later: neither one that is inside, whose
// goroutine has yet to run, nor one that comes in late.
func TestDoorsCloseUp(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := newDoors(l, Connections{All: 9, Address: 9}, nil)
	defer d.Close()
	enter := func() net.Conn {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		in, err := d.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = in.Close() })
		return in
	}
	never := func(c net.Conn) error { return c.SetDeadline(time.Time{}) }
	late := func(c net.Conn) error { return c.SetReadDeadline(time.Now().Add(time.Hour)) }
	early := enter()
	again := enter()
	d.closeUp(20 * time.Millisecond)
	after := enter()
	untouched := enter()
	for _, x := range []struct {
		name string
		c    net.Conn
		set  func(net.Conn) error
	}{
		{"inside, set to an hour", early, late},
		{"inside, set to none", again, never},
		{"later, set to an hour", after, late},
		{"later, not set", untouched, func(net.Conn) error { return nil }},
	} {
		if err := x.set(x.c); err != nil {
			t.Fatal(err)
		}
		read := make(chan error, 1)
		go func() {
			_, err := x.c.Read(make([]byte, 1))
			read <- err
		}()
		select {
		case err := <-read:
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s: %v", x.name, err)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: still read", x.name)
		}
	}
}
