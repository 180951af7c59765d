package app_test

import (
	"context"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"satchel/internal/app"
	"satchel/internal/command"
	"satchel/internal/refresh"
	tw "satchel/internal/testworld"
	"satchel/server/push/fcm"
	"satchel/server/push/fcm/emulator"
	"satchel/server/push/mail"
	"satchel/sync/apply"
	"satchel/sync/outbox"
	"satchel/sync/tenant"
)

// letterbox is a mail server that keeps what it gets.
type letterbox struct {
	mu   sync.Mutex
	mail []string
}

type delivery struct{ to *letterbox }

func (d delivery) Reset()                               {}
func (d delivery) Logout() error                        { return nil }
func (d delivery) Mail(string, *smtp.MailOptions) error { return nil }
func (d delivery) Rcpt(string, *smtp.RcptOptions) error { return nil }

func (d delivery) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	d.to.mu.Lock()
	defer d.to.mu.Unlock()
	d.to.mail = append(d.to.mail, string(b))
	return err
}

func (l *letterbox) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.mail...)
}

// TestDelivered: what waited in the outbox when the server ended goes out, by
// the carrier's protocol and by SMTP, once it runs again, without anybody asking
// for the tenant.
func TestDelivered(t *testing.T) {
	dir := t.TempDir()
	carrier := emulator.New(emulator.Options{})
	fcmServer := httptest.NewServer(carrier)
	defer fcmServer.Close()
	box := &letterbox{}
	smtpServer := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return delivery{box}, nil }))
	smtpServer.Domain = "localhost"
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = smtpServer.Serve(ln) }()
	defer smtpServer.Close()

	// While nothing sends.
	a, err := app.New(app.Config{Dir: dir, Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
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
		tw.Row("roleAssignment", "role-eve-1", "employee", "emp-eve-1", "role", "service.engineer"),
		tw.Row("roleAssignment", "role-eve-2", "employee", "emp-eve-1", "role", "mobile.service-agent-user"),
		tw.Row("salesArea", "area-north", "name", "North"),
		tw.Row("client", "client-one", "name", "Secret client", "salesArea", "area-north"),
		tw.Row("ticket", "ticket-one", "client", "client-one", "subject", "Secret boiler", "assignee", "emp-eve-1"),
	}}})
	do(&command.Command{Secret: &command.Secret{Employee: "emp-eve-1", Hash: "h"}})
	do(&command.Command{Login: &command.Login{
		Employee: "emp-eve-1", Credential: apply.CredentialDigest("h"), Session: "acme_s1", First: refresh.Hash("s1"), Prefix: "daaaaaaaa",
		Device: &command.Device{Installation: "i1", Incarnation: "1", Name: "Eve's phone", PushToken: "token-of-eve"},
	}})
	do(&command.Command{Write: &command.Write{Op: "action", Type: "ticket", ID: "ticket-one", Action: "request-update"}})
	if err := a.Tenants().Close(); err != nil {
		t.Fatal(err)
	}

	pusher, err := fcm.New(t.Context(), fcm.Config{Project: "demo", Endpoint: fcmServer.URL, Random: rand.Float64})
	if err != nil {
		t.Fatal(err)
	}
	defer pusher.Close()
	mailer, err := mail.New(mail.Config{
		Host: "127.0.0.1", Port: ln.Addr().(*net.TCPAddr).Port, Security: mail.Plain, From: "Satchel <satchel@example.com>", Random: rand.Float64,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer mailer.Close()
	a, err = app.New(app.Config{Dir: dir, Listen: "127.0.0.1:0", Pusher: app.ByFCM(pusher), Letters: app.BySMTP(mailer)})
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
	left := func() (n int) {
		ten, err := a.Tenants().Tenant("acme")
		if err != nil {
			t.Fatal(err)
		}
		_ = ten.Read(func(v *tenant.View) error { n, _ = outbox.Backlog(v.KV()); return nil })
		return n
	}
	for end := time.Now().Add(time.Minute); left() > 0 && time.Now().Before(end); {
		time.Sleep(20 * time.Millisecond)
	}
	got := carrier.Token("token-of-eve")
	if n := len(got.Delivered); n == 0 || left() > 0 {
		t.Fatalf("%d in the outbox; %+v", left(), got)
	}
	for _, d := range got.Delivered {
		if raw, err := json.Marshal(d); err != nil || strings.Contains(strings.ToLower(string(raw)), "secret") || len(d.Data) > 2 {
			t.Errorf("%+v", d)
		}
	}
	letters := box.all()
	if len(letters) != 2 || !strings.Contains(strings.Join(letters, ""), "Secret boiler") || !strings.Contains(strings.Join(letters, ""), "new device") {
		t.Errorf("%d letters: %q", len(letters), letters)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
