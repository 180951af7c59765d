package app

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"satchel/server/session/limit"
)

// Connections bounds how many connections are open at once.
type Connections struct {
	// All of them, sockets included; 0 for 32,768, or 4,096 more than
	// Config.MaxSockets where that is more.
	All int
	// Address is how many come from one address, an IPv6 /64 counting as one; 0
	// for 2,048. Trusted proxies, and this machine, where proxies stand too, may
	// have any number.
	Address int
}

const (
	defaultConnections = 32_768
	besideSockets      = 4096
	defaultPerAddress  = 2048
)

func (c Connections) or(sockets int) Connections {
	if c.All == 0 {
		c.All = max(defaultConnections, sockets+besideSockets)
	}
	if c.Address == 0 {
		c.Address = defaultPerAddress
	}
	return c
}

// doors is a listener that closes what comes beyond Connections, unread. A
// client that holds connections open by sending slowly, or nothing, thus uses
// up its own share and nobody else's.
type doors struct {
	net.Listener
	most    Connections
	proxies limit.Proxies

	mu      sync.Mutex
	inside  map[*visitor]struct{}
	until   time.Time // when whatever was not read is not waited for, once closeUp was called
	all     int
	sites   map[string]int
	refused atomic.Int64
}

func newDoors(l net.Listener, most Connections, proxies limit.Proxies) *doors {
	return &doors{Listener: l, most: most, proxies: proxies, sites: map[string]int{}, inside: map[*visitor]struct{}{}}
}

// Accept implements net.Listener.
func (d *doors) Accept() (net.Conn, error) {
	for {
		c, err := d.Listener.Accept()
		if err != nil {
			return nil, err
		}
		site := d.site(c)
		tcp, ok := c.(*net.TCPConn)
		if !ok || !d.enter(site) {
			d.refused.Add(1)
			_ = c.Close() // it is not wanted either way
			continue
		}
		v := &visitor{TCPConn: tcp}
		v.leave = sync.OnceFunc(func() {
			d.leave(site)
			d.mu.Lock()
			delete(d.inside, v)
			d.mu.Unlock()
		})
		d.mu.Lock()
		d.inside[v] = struct{}{}
		if !d.until.IsZero() {
			v.closeUp(d.until)
		}
		d.mu.Unlock()
		return v, nil
	}
}

// site names what a connection counts for, "" for nothing but the whole.
func (d *doors) site(c net.Conn) string {
	at, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return ""
	}
	a := at.Addr().Unmap().WithZone("")
	if a.IsLoopback() || d.proxies.Trusts(a) {
		return ""
	}
	return limit.Site(a)
}

func (d *doors) enter(site string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.all >= d.most.All || site != "" && d.sites[site] >= d.most.Address {
		return false
	}
	d.all++
	if site != "" {
		d.sites[site]++
	}
	return true
}

func (d *doors) leave(site string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all--
	if site == "" {
		return
	}
	if d.sites[site]--; d.sites[site] <= 0 {
		delete(d.sites, site)
	}
}

// closeUp gives every connection, those that are yet to come in too, a moment to
// send something. A server that ends waits for the connections that have sent
// nothing yet, such as browsers open ahead, as if a request were on its way.
func (d *doors) closeUp(within time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.until = time.Now().Add(within)
	for v := range d.inside {
		v.closeUp(d.until)
	}
}

// visitor is a connection that is counted. What is to be had of a TCP
// connection is to be had of it.
type visitor struct {
	*net.TCPConn
	leave func()

	mu    sync.Mutex
	until time.Time // no reading waits beyond it, unless zero
}

// closeUp bounds every reading from now on. The bound outlives what is set
// later: the goroutine that serves a connection sets a deadline of its own when
// it gets to run, which may be after this.
func (v *visitor) closeUp(until time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.until = until
	_ = v.TCPConn.SetReadDeadline(until) // one that is closed needs none
}

// SetReadDeadline implements net.Conn.
func (v *visitor) SetReadDeadline(t time.Time) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.until.IsZero() && (t.IsZero() || t.After(v.until)) {
		t = v.until
	}
	return v.TCPConn.SetReadDeadline(t)
}

// SetDeadline implements net.Conn.
func (v *visitor) SetDeadline(t time.Time) error {
	return errors.Join(v.SetReadDeadline(t), v.SetWriteDeadline(t))
}

// Close implements net.Conn.
func (v *visitor) Close() error {
	v.leave()
	return v.TCPConn.Close()
}

// certificate is a server's certificate as it stands in two files, which are
// read again when they change.
type certificate struct {
	cert, key string
	now       atomic.Pointer[tls.Certificate]
	watched   watched
}

// newCertificate reads a certificate; both files are PEM, the certificate with
// its chain.
func newCertificate(cert, key string) (*certificate, error) {
	c := &certificate{cert: cert, key: key, watched: watched{paths: []string{cert, key}}}
	c.watched.changed()
	return c, c.read()
}

func (c *certificate) read() error {
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return fmt.Errorf("the TLS certificate: %w", err)
	}
	c.now.Store(&pair)
	return nil
}

// config is TLS 1.2 and later; of 1.2 only what has forward secrecy and an AEAD.
func (c *certificate) config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		CipherSuites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
		NextProtos:     []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.now.Load(), nil },
	}
}

// watched tells when one of some files is another than before.
type watched struct {
	paths []string
	last  []os.FileInfo
}

// changed reports whether a file was replaced or written since the last call. A
// file that can't be looked at has not changed.
func (w *watched) changed() (yes bool) {
	if w.last == nil {
		w.last = make([]os.FileInfo, len(w.paths))
	}
	for i, p := range w.paths {
		is, err := os.Stat(p)
		if err != nil {
			continue
		}
		was := w.last[i]
		if was == nil || !os.SameFile(was, is) || !was.ModTime().Equal(is.ModTime()) || was.Size() != is.Size() {
			yes, w.last[i] = true, is
		}
	}
	return yes
}
