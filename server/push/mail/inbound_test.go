package mail

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
)

// desk knows one address and notes what is told.
type desk struct {
	mu    sync.Mutex
	told  []Verdict
	fail  bool
	asked int
}

const ours = "bounce+abc@bounces.example.com"

func (d *desk) Knows(address string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked++
	return address == ours
}

func (d *desk) Take(_ context.Context, address string, v Verdict) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if address != ours {
		return fmt.Errorf("told of %s", address)
	}
	if d.fail {
		return errors.New("not now")
	}
	d.told = append(d.told, v)
	return nil
}

func (d *desk) all() []Verdict {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]Verdict(nil), d.told...)
}

// inbound runs a server for reports.
func inbound(t *testing.T, to Returned, change func(*InboundConfig)) (addr string, dial func() (*smtp.Client, error)) {
	t.Helper()
	cfg := InboundConfig{Domain: "bounces.example.com", To: to, Timeout: 5 * time.Second, Log: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&cfg)
	}
	in, err := NewInbound(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- in.Serve(ln) }()
	t.Cleanup(func() {
		if err := errors.Join(in.Close(), <-done); err != nil {
			t.Error(err)
		}
	})
	return ln.Addr().String(), func() (*smtp.Client, error) { return smtp.Dial(ln.Addr().String()) }
}

// deliver hands a mail to a server and returns the code of its answer, 250
// where it took the mail.
func deliver(t *testing.T, c *smtp.Client, from, to, raw string) int {
	t.Helper()
	code := func(err error) int {
		var e *smtp.SMTPError
		if errors.As(err, &e) {
			_ = c.Reset()
			return e.Code
		}
		t.Fatalf("%s -> %s: %v", from, to, err)
		return 0
	}
	if err := c.Mail(from, nil); err != nil {
		return code(err)
	}
	if err := c.Rcpt(to, nil); err != nil {
		return code(err)
	}
	w, err := c.Data()
	if err != nil {
		return code(err)
	}
	if _, err := io.WriteString(w, raw); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		return code(err)
	}
	return 250
}

func failed(status string) string {
	return report("Final-Recipient: rfc822; ann@example.org\r\nAction: failed\r\nStatus: "+status+"\r\n", "")
}

// TestInbound: reports without a sender, to an address of ours, are taken and
// understood. Everything else is refused for good, so that nobody tries again
// and no answer comes of it.
func TestInbound(t *testing.T) {
	d := &desk{}
	_, dial := inbound(t, d, nil)
	two := report("Final-Recipient: rfc822; a@x.example\r\nAction: relayed\r\nStatus: 2.0.0\r\n\r\nFinal-Recipient: rfc822; b@x.example\r\nAction: failed\r\nStatus: 5.1.1\r\n", "")
	for _, x := range []struct {
		name, from, to, raw string
		code                int
		told                int // -1 for nothing
	}{
		{"hard", "", ours, failed("5.1.1"), 250, int(HardBounce)},
		{"in capitals", "", strings.ToUpper(ours), failed("5.1.1"), 250, int(HardBounce)},
		{"full", "", ours, failed("5.2.2"), 250, int(SoftBounce)},
		{"policy", "", ours, failed("5.7.1"), 250, int(Delayed)},
		{"delayed", "", ours, report("Final-Recipient: rfc822; ann@example.org\r\nAction: delayed\r\nStatus: 4.4.1\r\n", ""), 250, int(Delayed)},
		{"reached somebody", "", ours, two, 250, int(SoftBounce)},
		{"with a sender", "mallory@evil.example", ours, failed("5.1.1"), 550, -1},
		{"to somebody else", "", "office@bounces.example.com", failed("5.1.1"), 550, -1},
		{"a guessed token", "", "bounce+abd@bounces.example.com", failed("5.1.1"), 550, -1},
		{"away until Monday", "", ours, "From: ann@example.org\r\nAuto-Submitted: auto-replied\r\nSubject: Re: Your summary\r\n\r\nI am away.\r\n", 554, -1},
		{"nothing", "", ours, "", 554, -1},
	} {
		t.Run(x.name, func(t *testing.T) {
			c, err := dial()
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			before := len(d.all())
			if got := deliver(t, c, x.from, x.to, x.raw); got != x.code {
				t.Errorf("code %d, want %d", got, x.code)
			}
			switch told := d.all()[before:]; {
			case x.told < 0 && len(told) != 0, x.told >= 0 && (len(told) != 1 || int(told[0]) != x.told):
				t.Errorf("told %v", told)
			}
		})
	}
	// What can't be noted now is to come again.
	d.mu.Lock()
	d.fail = true
	d.mu.Unlock()
	c, err := dial()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := deliver(t, c, "", ours, failed("5.1.1")); got != 451 {
		t.Errorf("a report that was not noted: %d", got)
	}
}

// TestInboundGiants: of a giant report its beginning is enough; a mail beyond
// all measure is refused, and a connection that only brings more ends.
func TestInboundGiants(t *testing.T) {
	d := &desk{}
	addr, dial := inbound(t, d, nil)
	c, err := dial()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	line := strings.Repeat("x", 76) + "\r\n"
	long := strings.TrimSuffix(failed("5.1.1"), "--XX--\r\n") + strings.Repeat(line, 4<<20/len(line)) + "--XX--\r\n"
	if got := deliver(t, c, "", ours, long); got != 250 || len(d.all()) != 1 || d.all()[0] != HardBounce {
		t.Errorf("%d %v", got, d.all())
	}
	if got := deliver(t, c, "", ours, failed("5.1.1")+strings.Repeat(line, (inboundMail+1<<20)/len(line))); got != 552 || len(d.all()) != 1 {
		t.Errorf("beyond measure: %d %v", got, d.all())
	}
	raw, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	_ = raw.SetDeadline(time.Now().Add(30 * time.Second))
	fmt.Fprintf(raw, "EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<%s>\r\nDATA\r\n", ours)
	go func() { _, _ = io.Copy(io.Discard, raw) }()
	chunk := bytes.Repeat([]byte(line), 1000)
	sent := 0
	for sent < 4*inboundBytes {
		n, err := raw.Write(chunk)
		if sent += n; err != nil {
			return
		}
	}
	t.Errorf("%d MiB came through", sent>>20)
}

// TestInboundMany: connections, refusals and mails are bounded, and who is
// turned away may come again.
func TestInboundMany(t *testing.T) {
	d := &desk{}
	now := time.Unix(0, 0)
	var mu sync.Mutex
	addr, dial := inbound(t, d, func(c *InboundConfig) {
		c.Connections, c.PerMinute = 2, 3
		c.Now = func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	})
	one, err := dial()
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		want := 250
		if i >= 3 {
			want = 451
		}
		if got := deliver(t, one, "", ours, failed("5.1.1")); got != want {
			t.Errorf("mail %d: %d, want %d", i, got, want)
		}
	}
	mu.Lock()
	now = now.Add(20 * time.Second)
	mu.Unlock()
	for _, want := range []int{250, 451} {
		if got := deliver(t, one, "", ours, failed("5.1.1")); got != want {
			t.Errorf("later: %d, want %d", got, want)
		}
	}
	two, err := dial()
	if err != nil {
		t.Fatal(err)
	}
	defer two.Close()
	if err := two.Hello("x"); err != nil {
		t.Fatal(err)
	}
	raw, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(raw)
	_ = raw.Close()
	if err != nil || !strings.HasPrefix(string(answer), "421 ") {
		t.Errorf("a third connection: %q %v", answer, err)
	}
	if err := one.Close(); err != nil {
		t.Fatal(err)
	}
	var three *smtp.Client
	for range 200 { // its place becomes free a moment later
		if three, err = dial(); err == nil {
			if err = three.Hello("x"); err == nil {
				break
			}
			_ = three.Close()
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer three.Close()
	refused := 0
	for range 3 * inboundRefusals {
		err := three.Mail("mallory@evil.example", nil)
		var e *smtp.SMTPError
		if !errors.As(err, &e) {
			break
		}
		refused++
	}
	if refused >= inboundRefusals {
		t.Errorf("%d refusals and still there", refused)
	}
}

// TestInboundTLS: with a certificate STARTTLS is offered, without one it is not.
func TestInboundTLS(t *testing.T) {
	cert, pool := certificate(t)
	d := &desk{}
	addr, _ := inbound(t, d, func(c *InboundConfig) {
		c.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	})
	c, err := smtp.DialStartTLS(addr, &tls.Config{RootCAs: pool, ServerName: "localhost"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := deliver(t, c, "", ours, failed("5.1.1")); got != 250 || len(d.all()) != 1 {
		t.Errorf("%d %v", got, d.all())
	}
	_, dial := inbound(t, d, nil)
	plain, err := dial()
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	if ok, _ := plain.Extension("STARTTLS"); ok {
		t.Error("STARTTLS without a certificate")
	}
}

// TestInboundConfig: what could not work is refused before it runs.
func TestInboundConfig(t *testing.T) {
	for _, domain := range []string{"", "a b", "x@y", "-"} {
		if _, err := NewInbound(InboundConfig{Domain: domain, To: &desk{}}); err == nil {
			t.Errorf("domain %q is taken", domain)
		}
	}
	if _, err := NewInbound(InboundConfig{Domain: "example.com"}); err == nil {
		t.Error("nobody takes the reports")
	}
}

// TestReturnAddress: a mail's own address for reports is its envelope's sender,
// and nothing else is.
func TestReturnAddress(t *testing.T) {
	srv := serve(t, STARTTLS)
	s := sender(t, srv.config(STARTTLS))
	m := to("ann")
	m.Return = ours
	if o := one(t, s, m); o.Kind.String() != "sent" {
		t.Fatalf("%+v", o)
	}
	if got := srv.letters(); len(got) != 1 || got[0].from != ours || strings.Contains(got[0].raw, "bounce+") {
		t.Errorf("%+v", got)
	}
	for _, bad := range []string{"x", "Name <x@example.com>", "a@b.example\r\nRCPT TO:<c@d.example>"} {
		m.Return = bad
		if o := one(t, s, m); o.Reason != ReasonReturn {
			t.Errorf("%q: %+v", bad, o)
		}
	}
}
