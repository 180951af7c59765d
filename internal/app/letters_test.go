package app_test

import (
	"bytes"
	"context"
	cryptorand "crypto/rand"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"satchel/internal/app"
	"satchel/internal/command"
	"satchel/internal/ident"
	tw "satchel/internal/testworld"
	"satchel/server/push/mail"
	"satchel/sync/tenant"
)

// envelopes is a mail server that keeps who its mails come from, and may refuse
// whom they are for.
type envelopes struct {
	mu     sync.Mutex
	from   []string
	refuse string
}

type enveloped struct {
	e    *envelopes
	from string
}

func (x *enveloped) Reset()                                      {}
func (x *enveloped) Logout() error                               { return nil }
func (x *enveloped) Mail(from string, _ *smtp.MailOptions) error { x.from = from; return nil }

func (x *enveloped) Rcpt(to string, _ *smtp.RcptOptions) error {
	x.e.mu.Lock()
	defer x.e.mu.Unlock()
	if to == x.e.refuse {
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such user"}
	}
	return nil
}

func (x *enveloped) Data(r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	x.e.mu.Lock()
	defer x.e.mu.Unlock()
	x.e.from = append(x.e.from, x.from)
	return err
}

func (e *envelopes) all() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]string(nil), e.from...)
}

// soon waits for something that happens by itself.
func soon(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !f(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what)
		}
	}
}

// TestComesBack: a mail's report, handed on by the company's mail server, finds
// its person through the mail's own address; so does a refusal when it is sent.
// Forged reports find nobody.
func TestComesBack(t *testing.T) {
	box := &envelopes{}
	out := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &enveloped{e: box}, nil }))
	out.Domain = "localhost"
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = out.Serve(ln) }()
	defer out.Close()
	mailer, err := mail.New(mail.Config{
		Host: "127.0.0.1", Port: ln.Addr().(*net.TCPAddr).Port, Security: mail.Plain, From: "Satchel <satchel@example.com>", Random: rand.Float64,
		Confirm: 10 * time.Millisecond, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer mailer.Close()
	lines := &said{}
	dir := t.TempDir()
	a, err := app.New(app.Config{
		Dir: dir, Listen: "127.0.0.1:0", Letters: app.BySMTP(mailer), Out: lines,
		Bounces: &app.Bounces{Listen: "127.0.0.1:0", Domain: "bounces.example.com"},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if err := a.Listen(ctx); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	ten, err := a.Tenants().SetUp(t.Context(), "acme", app.Administrator{}, a.Hasher())
	if err != nil {
		t.Fatal(err)
	}
	do := func(c *command.Command) {
		t.Helper()
		res, err := ten.Submit(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range res.Count.Rejected {
			t.Fatal(r.Err)
		}
	}
	do(&command.Command{Import: &command.Import{Rows: []command.Row{
		tw.Row("employee", "emp-eve-1", "name", "Eve", "email", "eve@example.com", "kind", "in-house", "status", "Active"),
		tw.Row("employee", "emp-bob-1", "name", "Bob", "email", "bob@example.com", "kind", "in-house", "status", "Active"),
		tw.Row("roleAssignment", "role-eve-1", "employee", "emp-eve-1", "role", "service.engineer"),
		tw.Row("roleAssignment", "role-bob-1", "employee", "emp-bob-1", "role", "service.engineer"),
		tw.Row("salesArea", "area-north", "name", "North"),
		tw.Row("client", "client-one", "name", "Client", "salesArea", "area-north"),
		tw.Row("ticket", "ticket-one", "client", "client-one", "subject", "Boiler", "assignee", "emp-eve-1"),
		tw.Row("ticket", "ticket-two", "client", "client-one", "subject", "Boiler", "assignee", "emp-bob-1"),
	}}})
	status := func(id string) (s string) {
		_ = ten.Read(func(v *tenant.View) error {
			if e, ok := v.Load(ident.RecordID(id)); ok {
				s = e.Get("mailStatus").Text()
			}
			return nil
		})
		return s
	}
	ask := func(ticket string) {
		do(&command.Command{Write: &command.Write{Op: "action", Type: "ticket", ID: ident.RecordID(ticket), Action: "request-update"}})
	}
	ask("ticket-one")
	soon(t, "a mail", func() bool { return len(box.all()) == 1 })
	back := box.all()[0]
	if !strings.HasPrefix(back, "bounce+") || !strings.HasSuffix(back, "@bounces.example.com") {
		t.Fatalf("envelope from %q", back)
	}
	report := func(to string) error {
		c, err := smtp.Dial(lines.bounces(t))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.SendMail("", []string{to}, strings.NewReader("From: MAILER-DAEMON@mx.example\r\nSubject: Undelivered\r\nMIME-Version: 1.0\r\n"+
			"Content-Type: multipart/report; report-type=delivery-status; boundary=XX\r\n\r\n--XX\r\nContent-Type: text/plain\r\n\r\nSorry.\r\n"+
			"--XX\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example\r\n\r\n"+
			"Final-Recipient: rfc822; eve@example.com\r\nAction: failed\r\nStatus: 5.1.1\r\n\r\n--XX--\r\n"))
	}
	var refused *smtp.SMTPError
	forged := []byte(back)
	forged[20] ^= 1 // another letter, or a digit that is none
	if err := report(string(forged)); !errors.As(err, &refused) || refused.Code != 550 {
		t.Errorf("a forged address: %v", err)
	}
	turn := func(void bool) {
		t.Helper()
		if err := app.RotateMailKey(dir, cryptorand.Reader, time.Now(), void); err != nil {
			t.Fatal(err)
		}
	}
	turn(false) // what was sent before comes back all the same
	if err := report(back); err != nil {
		t.Fatal(err)
	}
	if s := status("emp-eve-1"); s != "refused" {
		t.Errorf("%q", s)
	}
	if s := status("emp-bob-1"); s != "" {
		t.Errorf("the other: %q", s)
	}
	box.mu.Lock()
	box.refuse = "bob@example.com"
	box.mu.Unlock()
	ask("ticket-two")
	soon(t, "the refusal is noted", func() bool { return status("emp-bob-1") == "refused" })
	turn(true)
	soon(t, "addresses of before are void", func() bool { return errors.As(report(back), &refused) })
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", lines.bounces(t)); err == nil {
		t.Error("it listens still")
	}
	for name, b := range map[string]*app.Bounces{
		"no domain":      {Listen: "127.0.0.1:0"},
		"no certificate": {Listen: "127.0.0.1:0", Domain: "example.com", TLSCert: "/nowhere", TLSKey: "/nowhere"},
	} {
		if _, err := app.New(app.Config{Dir: t.TempDir(), Letters: app.BySMTP(mailer), Bounces: b}); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if _, err := app.New(app.Config{Dir: t.TempDir(), Bounces: &app.Bounces{Listen: "127.0.0.1:0", Domain: "example.com"}}); err == nil {
		t.Error("mail comes back where none is sent")
	}
}

// said is what a server writes.
type said struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

// bounces is where reports come in.
func (s *said) bounces(t *testing.T) string {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	_, at, ok := strings.Cut(s.b.String(), "bounces listening on ")
	if !ok {
		t.Fatal(s.b.String())
	}
	at, _, _ = strings.Cut(at, "\n")
	return at
}
