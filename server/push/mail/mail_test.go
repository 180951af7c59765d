package mail

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"math/big"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	netmail "net/mail"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"go.uber.org/goleak"

	"satchel/server/push"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// letter is one mail as the server got it.
type letter struct {
	from, to string
	raw      string
	secure   bool
}

// server is an SMTP server in the test's own process. Its answers are steered
// by the receiver's name.
type server struct {
	*smtp.Server
	addr  net.Addr
	trust *tls.Config

	mu   sync.Mutex
	got  []letter
	open map[*smtp.Conn]bool // all there ever were
	hung chan struct{}       // one for each receiver called hang
	end  chan struct{}
}

type session struct {
	s        *server
	conn     *smtp.Conn
	signedIn bool
	letter
}

var (
	unknown  = &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such user"}
	noRelay  = &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 7, 1}, Message: "relaying denied"}
	full     = &smtp.SMTPError{Code: 552, EnhancedCode: smtp.EnhancedCode{5, 2, 2}, Message: "mailbox full"}
	greylist = &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 7, 1}, Message: "try again later"}
	spam     = &smtp.SMTPError{Code: 554, EnhancedCode: smtp.EnhancedCode{5, 7, 1}, Message: "looks like spam"}
	busy     = &smtp.SMTPError{Code: 452, EnhancedCode: smtp.EnhancedCode{4, 3, 1}, Message: "no space"}
	closing  = &smtp.SMTPError{Code: 421, EnhancedCode: smtp.EnhancedCode{4, 3, 2}, Message: "closing down"}
	notYou   = &smtp.SMTPError{Code: 553, EnhancedCode: smtp.EnhancedCode{5, 7, 1}, Message: "sender refused"}
)

func (x *session) Reset()        { x.letter = letter{} }
func (x *session) Logout() error { return nil }

func (x *session) AuthMechanisms() []string { return []string{sasl.Plain} }

func (x *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, name, password string) error {
		if name != "satchel" || password != "right" {
			return smtp.ErrAuthFailed
		}
		x.signedIn = true
		return nil
	}), nil
}

func (x *session) Mail(from string, _ *smtp.MailOptions) error {
	if strings.HasPrefix(from, "nobody@") {
		return notYou
	}
	x.from = from
	return nil
}

func (x *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	x.to = to
	name, _, _ := strings.Cut(to, "@")
	switch name {
	case "unknown", "UNKNOWN", "gone", "left", "moved":
		return unknown
	case "elsewhere":
		return noRelay
	case "full":
		return full
	case "grey":
		return greylist
	case "closing":
		return closing
	case "hang":
		x.s.hung <- struct{}{}
		<-x.s.end
	case "cut":
		_ = x.conn.Close()
	}
	return nil
}

func (x *session) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	name, _, _ := strings.Cut(x.to, "@")
	switch name {
	case "spam":
		return spam
	case "busy":
		return busy
	}
	x.raw = string(b)
	_, x.secure = x.conn.TLSConnectionState()
	x.s.mu.Lock()
	x.s.got = append(x.s.got, x.letter)
	x.s.mu.Unlock()
	return nil
}

// certificate makes a self-signed certificate for localhost.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// serve starts a server: "starttls", "tls" or "none".
func serve(t *testing.T, security Security) *server {
	t.Helper()
	cert, pool := certificate(t)
	s := &server{trust: &tls.Config{RootCAs: pool}, open: map[*smtp.Conn]bool{}, hung: make(chan struct{}, 9), end: make(chan struct{})}
	s.Server = smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		s.mu.Lock()
		// Called again on the same connection when it has become secure.
		s.open[c] = true
		s.mu.Unlock()
		return &session{s: s, conn: c}, nil
	}))
	s.Domain, s.ReadTimeout, s.WriteTimeout = "localhost", 10*time.Second, 10*time.Second
	s.ErrorLog = log.New(io.Discard, "", 0)
	cfg := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = ln.Addr()
	switch security {
	case STARTTLS:
		s.TLSConfig = cfg
	case TLS:
		ln = tls.NewListener(ln, cfg)
	}
	done := make(chan struct{})
	go func() { _ = s.Serve(ln); close(done) }()
	t.Cleanup(func() { close(s.end); _ = s.Close(); <-done })
	return s
}

// config leads to a server.
func (s *server) config(security Security) Config {
	return Config{
		Host: "localhost", Port: s.addr.(*net.TCPAddr).Port, Security: security, From: "Satchel <office@example.com>",
		TLS: s.trust, Timeout: 5 * time.Second, Random: func() float64 { return 0.5 }, Log: slog.New(slog.DiscardHandler),
	}
}

func (s *server) letters() []letter {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]letter(nil), s.got...)
}

func (s *server) connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}

func sender(t *testing.T, cfg Config) *Sender {
	t.Helper()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func to(name string) Message {
	return Message{To: name + "@example.org", Subject: "Your summary", Text: "Hello\n", Key: "key-" + name}
}

func one(t *testing.T, s *Sender, m Message) push.Outcome {
	t.Helper()
	out := s.Send(t.Context(), []Message{m})
	if len(out) != 1 {
		t.Fatalf("%d outcomes", len(out))
	}
	return out[0]
}

func TestMailOverSTARTTLS(t *testing.T) {
	srv := serve(t, STARTTLS)
	cfg := srv.config(STARTTLS)
	cfg.Username, cfg.Password = "satchel", "right"
	cfg.Bounces, cfg.ReplyTo = "bounces@example.com", "Help <help@example.com>"
	cfg.Now = func() time.Time { return time.Date(2025, 3, 1, 12, 0, 0, 0, time.UTC) }
	s := sender(t, cfg)
	m := Message{
		To: "Zoë O'Neill <zoe@bücher.example>", Subject: "Prüfung: fünf Aufträge", Text: "Grüße\n.\nfrom.\n", HTML: "<p>Grüße</p>",
		Key: "k1", Unsubscribe: "https://work.example.com/u?t=abc&x=1",
	}
	if o := one(t, s, m); o.Kind != push.Sent {
		t.Fatalf("%+v", o)
	}
	got := srv.letters()
	if len(got) != 1 || !got[0].secure || got[0].from != "bounces@example.com" || got[0].to != "zoe@xn--bcher-kva.example" {
		t.Fatalf("%+v", got)
	}
	parsed, err := netmail.ReadMessage(strings.NewReader(got[0].raw))
	if err != nil {
		t.Fatal(err)
	}
	subject, _ := new(mime.WordDecoder).DecodeHeader(parsed.Header.Get("Subject"))
	for name, want := range map[string]string{
		"Auto-Submitted": "auto-generated", "Message-Id": "<" + s.MessageID("k1") + ">",
		"List-Unsubscribe": "<https://work.example.com/u?t=abc&x=1>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
		"Date": "Sat, 01 Mar 2025 12:00:00 +0000", "Reply-To": `"Help" <help@example.com>`, "From": `"Satchel" <office@example.com>`,
	} {
		if got := parsed.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if subject != m.Subject {
		t.Errorf("subject %q", subject)
	}
	for _, absent := range []string{"Bcc", "User-Agent", "X-Mailer"} {
		if v := parsed.Header.Get(absent); v != "" {
			t.Errorf("%s: %s", absent, v)
		}
	}
	kind, params, err := mime.ParseMediaType(parsed.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/alternative" {
		t.Fatalf("%s, %v", kind, err)
	}
	parts := multipart.NewReader(parsed.Body, params["boundary"])
	for _, want := range []string{m.Text, m.HTML} {
		p, err := parts.NextRawPart()
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(quotedprintable.NewReader(p))
		if err != nil || strings.TrimSpace(strings.ReplaceAll(string(b), "\r\n", "\n")) != strings.TrimSpace(want) {
			t.Errorf("part %q, want %q (%v)", b, want, err)
		}
	}
	// Mail one can't do without has no way to unsubscribe.
	if o := one(t, s, to("ann")); o.Kind != push.Sent {
		t.Fatalf("%+v", o)
	}
	if raw := srv.letters()[1].raw; strings.Contains(raw, "Unsubscribe") || strings.Contains(raw, "multipart") {
		t.Errorf("%s", raw)
	}
}

func TestSameKeySameMessageID(t *testing.T) {
	srv := serve(t, STARTTLS)
	s := sender(t, srv.config(STARTTLS))
	if s.MessageID("a") == s.MessageID("b") || !strings.HasSuffix(s.MessageID("a"), "@example.com") || strings.Contains(s.MessageID("secret"), "secret") {
		t.Errorf("%s %s", s.MessageID("a"), s.MessageID("b"))
	}
	s.Send(t.Context(), []Message{to("ann"), to("ann")})
	for _, l := range srv.letters() {
		if !strings.Contains(l.raw, "<"+s.MessageID("key-ann")+">") {
			t.Errorf("%s", l.raw)
		}
	}
}

func TestAnswersOfTheServer(t *testing.T) {
	srv := serve(t, STARTTLS)
	cfg := srv.config(STARTTLS)
	cfg.Parallel = 1 // in order, with mails that are taken in between
	s := sender(t, cfg)
	var ms []Message
	want := map[string]push.Outcome{
		"ann":       {Kind: push.Sent},
		"unknown":   {Kind: push.Dead, Reason: ReasonAddressRefused},
		"elsewhere": {Kind: push.Retry, Reason: ReasonRelayRefuses, Carrier: true, After: 7*time.Minute + 30*time.Second},
		"full":      {Kind: push.Rejected, Reason: ReasonMailboxRefused, Soft: true},
		"spam":      {Kind: push.Rejected, Reason: ReasonMessageRefused},
		"grey":      {Kind: push.Retry, Reason: ReasonDeferred, After: 225 * time.Second},
		"busy":      {Kind: push.Retry, Reason: ReasonDeferred, After: 225 * time.Second},
		"cut":       {Kind: push.Retry, Reason: ReasonUnreachable, After: 22500 * time.Millisecond},
		"bob":       {Kind: push.Sent},
	}
	for range 3 {
		for _, name := range []string{"ann", "unknown", "elsewhere", "full", "spam", "grey", "busy", "cut", "bob"} {
			m := to(name)
			if name == "unknown" {
				m.Attempt = 1 // what is refused for the first time may be refused by mistake
			}
			ms = append(ms, m)
		}
	}
	for i, o := range s.Send(t.Context(), ms) {
		name, _, _ := strings.Cut(ms[i].To, "@")
		if o != want[name] {
			t.Errorf("%s: %+v, want %+v", name, o, want[name])
		}
	}
	if n := len(srv.letters()); n != 6 {
		t.Errorf("%d letters", n)
	}
	m := to("grey")
	m.Attempt = 3
	if o := one(t, s, m); o.After != 30*time.Minute {
		t.Errorf("the fourth wait is %v", o.After)
	}
}

// A server that is closing down is not asked again for each of a thousand mails.
func TestServerThatClosesDown(t *testing.T) {
	srv := serve(t, STARTTLS)
	cfg := srv.config(STARTTLS)
	cfg.Parallel = 1
	s := sender(t, cfg)
	ms := []Message{to("ann"), to("closing")}
	for i := range 50 {
		ms = append(ms, to(fmt.Sprint("p", i)))
	}
	out := s.Send(t.Context(), ms)
	if out[0].Kind != push.Sent || out[1].Reason != ReasonDeferred || out[51].Reason != ReasonDeferred || len(srv.letters()) != 1 || srv.connections() != 1 {
		t.Errorf("%+v %+v %+v, %d letters, %d connections", out[0], out[1], out[51], len(srv.letters()), srv.connections())
	}
	if o := one(t, s, to("ann")); o.Kind != push.Sent {
		t.Errorf("next time: %+v", o)
	}
}

func TestConnectionsAreReused(t *testing.T) {
	srv := serve(t, STARTTLS)
	cfg := srv.config(STARTTLS)
	cfg.Parallel = 3
	s := sender(t, cfg)
	const n = mailsPerExchange/2 - 1 // sent twice, one connection may take them all
	var ms []Message
	for i := range n {
		ms = append(ms, to(fmt.Sprint("p", i)))
	}
	for range 2 {
		for i, o := range s.Send(t.Context(), ms) {
			if o.Kind != push.Sent {
				t.Fatalf("%d: %+v", i, o)
			}
		}
	}
	if got := srv.connections(); got > 3 {
		t.Errorf("%d connections for %d mails", got, 2*n)
	}
	seen := map[string]int{}
	for _, l := range srv.letters() {
		seen[l.to]++
	}
	if len(seen) != n || seen["p7@example.org"] != 2 {
		t.Errorf("%d receivers", len(seen))
	}
}

// A connection that the server closed while it lay idle costs no mail.
func TestStaleConnection(t *testing.T) {
	srv := serve(t, STARTTLS)
	cfg := srv.config(STARTTLS)
	cfg.Parallel = 1
	now := time.Now()
	cfg.Now = func() time.Time { return now }
	s := sender(t, cfg)
	for range 2 {
		if o := one(t, s, to("ann")); o.Kind != push.Sent {
			t.Fatalf("%+v", o)
		}
		srv.mu.Lock()
		for c := range srv.open {
			_ = c.Close()
		}
		srv.mu.Unlock()
	}
	if n := srv.connections(); n != 2 {
		t.Errorf("%d connections", n)
	}
	now = now.Add(time.Minute)
	if o := one(t, s, to("ann")); o.Kind != push.Sent {
		t.Fatalf("%+v", o)
	}
	now = now.Add(time.Minute)
	if o := one(t, s, to("ann")); o.Kind != push.Sent || srv.connections() != 4 {
		t.Errorf("%+v, %d connections", o, srv.connections())
	}
}

func TestSTARTTLSIsRequired(t *testing.T) {
	srv := serve(t, Plain) // offers none
	s := sender(t, srv.config(STARTTLS))
	o := one(t, s, to("ann"))
	if o.Kind != push.Retry || o.Reason != ReasonConfiguration || len(srv.letters()) != 0 {
		t.Errorf("%+v, %d letters", o, len(srv.letters()))
	}
	// Unless configured otherwise.
	s = sender(t, srv.config(Plain))
	if o := one(t, s, to("ann")); o.Kind != push.Sent || srv.letters()[0].secure {
		t.Errorf("%+v", o)
	}
}

func TestCertificateIsChecked(t *testing.T) {
	for _, security := range []Security{STARTTLS, TLS} {
		srv := serve(t, security)
		var out bytes.Buffer
		cfg := srv.config(security)
		cfg.TLS, cfg.Log = nil, slog.New(slog.NewTextHandler(&out, nil))
		if o := one(t, sender(t, cfg), to("ann")); o.Kind != push.Retry || o.Reason != ReasonConfiguration || len(srv.letters()) != 0 {
			t.Errorf("%s, unknown authority: %+v", security, o)
		}
		if !strings.Contains(out.String(), "certificate") || strings.Contains(out.String(), "example.org") {
			t.Errorf("log: %s", out.String())
		}
		cfg = srv.config(security)
		cfg.Host = "127.0.0.1"
		if o := one(t, sender(t, cfg), to("ann")); o.Reason != ReasonConfiguration || len(srv.letters()) != 0 {
			t.Errorf("%s, another name: %+v", security, o)
		}
	}
	cfg := Config{Host: "h", From: "a@example.com", Random: func() float64 { return 0 }, TLS: &tls.Config{InsecureSkipVerify: true}}
	if _, err := New(cfg); err == nil {
		t.Error("an unchecked certificate is taken")
	}
}

func TestImplicitTLSAndSignIn(t *testing.T) {
	srv := serve(t, TLS)
	cfg := srv.config(TLS)
	cfg.Username, cfg.Password = "satchel", "right"
	if o := one(t, sender(t, cfg), to("ann")); o.Kind != push.Sent || !srv.letters()[0].secure {
		t.Errorf("%+v", o)
	}
	cfg.Password = "wrong"
	before := srv.connections()
	var ms []Message
	for i := range 20 {
		ms = append(ms, to(fmt.Sprint("p", i)))
	}
	for _, o := range sender(t, cfg).Send(t.Context(), ms) {
		if o.Kind != push.Retry || o.Reason != ReasonConfiguration || o.After < 5*time.Minute {
			t.Fatalf("wrong password: %+v", o)
		}
	}
	if n := srv.connections() - before; n > 2 {
		t.Errorf("%d tries with a wrong password", n)
	}
	cfg.Auth, cfg.Password = AuthSCRAMSHA256, "right"
	if o := one(t, sender(t, cfg), to("ann")); o.Reason != ReasonConfiguration {
		t.Errorf("a sign-in that isn't offered: %+v", o)
	}
	cfg = srv.config(TLS)
	cfg.From = "nobody@example.com"
	if o := one(t, sender(t, cfg), to("ann")); o.Kind != push.Retry || o.Reason != ReasonConfiguration {
		t.Errorf("sender refused: %+v", o)
	}
}

func TestInjection(t *testing.T) {
	srv := serve(t, STARTTLS)
	s := sender(t, srv.config(STARTTLS))
	good := Message{To: "ann@example.org", Subject: "Hello", Text: "t", Key: "k"}
	for name, c := range map[string]struct {
		change func(*Message)
		reason string
	}{
		"subject CRLF":         {func(m *Message) { m.Subject = "a\r\nBcc: eve@example.org" }, ReasonSubject},
		"subject LF":           {func(m *Message) { m.Subject = "a\nBcc: eve@example.org" }, ReasonSubject},
		"subject CR":           {func(m *Message) { m.Subject = "a\rBcc: eve@example.org" }, ReasonSubject},
		"subject NUL":          {func(m *Message) { m.Subject = "a\x00b" }, ReasonSubject},
		"subject U+2028":       {func(m *Message) { m.Subject = "a\u2028b" }, ReasonSubject},
		"subject NEL":          {func(m *Message) { m.Subject = "a\u0085b" }, ReasonSubject},
		"subject empty":        {func(m *Message) { m.Subject = " " }, ReasonSubject},
		"subject no UTF-8":     {func(m *Message) { m.Subject = "a\xff" }, ReasonSubject},
		"subject long":         {func(m *Message) { m.Subject = strings.Repeat("ä", 251) }, ReasonSubject},
		"name CRLF":            {func(m *Message) { m.To = "\"Ann\r\nBcc: eve@example.org\" <ann@example.org>" }, ReasonAddress},
		"name encoded CRLF":    {func(m *Message) { m.To = "=?utf-8?q?Ann=0D=0ABcc:_eve@example.org?= <ann@example.org>" }, ReasonAddress},
		"address CRLF":         {func(m *Message) { m.To = "ann@example.org\r\nRCPT TO:<eve@example.org>" }, ReasonAddress},
		"two addresses":        {func(m *Message) { m.To = "ann@example.org, eve@example.org" }, ReasonAddress},
		"address in quotes":    {func(m *Message) { m.To = `"ann> RCPT"@example.org` }, ReasonAddress},
		"address with options": {func(m *Message) { m.To = "<ann@example.org> NOTIFY=SUCCESS" }, ReasonAddress},
		"local part not ASCII": {func(m *Message) { m.To = "änn@example.org" }, ReasonAddress},
		"literal":              {func(m *Message) { m.To = "ann@[127.0.0.1]" }, ReasonAddress},
		"no domain":            {func(m *Message) { m.To = "ann" }, ReasonAddress},
		"bad domain":           {func(m *Message) { m.To = "ann@exa_mple..org" }, ReasonAddress},
		"long address":         {func(m *Message) { m.To = strings.Repeat("a", 65) + "@example.org" }, ReasonAddress},
		"empty address":        {func(m *Message) { m.To = "" }, ReasonAddress},
		"unsubscribe CRLF":     {func(m *Message) { m.Unsubscribe = "https://x.example/\r\nBcc: eve@example.org" }, ReasonUnsubscribe},
		"unsubscribe closes":   {func(m *Message) { m.Unsubscribe = "https://x.example/>, <mailto:eve@example.org" }, ReasonUnsubscribe},
		"unsubscribe http":     {func(m *Message) { m.Unsubscribe = "http://x.example/" }, ReasonUnsubscribe},
		"unsubscribe mailto":   {func(m *Message) { m.Unsubscribe = "mailto:a@x.example" }, ReasonUnsubscribe},
		"no key":               {func(m *Message) { m.Key = "" }, ReasonKey},
		"long key":             {func(m *Message) { m.Key = strings.Repeat("k", 201) }, ReasonKey},
		"no text":              {func(m *Message) { m.Text = "" }, ReasonBody},
		"text NUL":             {func(m *Message) { m.HTML = "a\x00b" }, ReasonBody},
		"text no UTF-8":        {func(m *Message) { m.Text = "\xff" }, ReasonBody},
		"text long":            {func(m *Message) { m.Text = strings.Repeat("x", maxBody+1) }, ReasonBody},
	} {
		m := good
		c.change(&m)
		// A bad one among good ones harms nobody but itself.
		out := s.Send(t.Context(), []Message{good, m, good})
		if out[0].Kind != push.Sent || out[2].Kind != push.Sent || out[1] != (push.Outcome{Kind: push.Rejected, Reason: c.reason}) {
			t.Errorf("%s: %+v", name, out)
		}
	}
	for _, l := range srv.letters() {
		if l.to != "ann@example.org" || strings.Contains(l.raw, "eve@") {
			t.Fatalf("%+v", l)
		}
	}
	// Keys with line ends do no harm: only their digest is sent.
	m := good
	m.Key = "k\r\nBcc: eve@example.org"
	// Nor does text that looks like the end of the mail and another one.
	m.Text = "a\r\n.\r\nMAIL FROM:<eve@example.org>\r\n\n.\nRSET\r.\rQUIT\r\n"
	n := len(srv.letters())
	if o := one(t, s, m); o.Kind != push.Sent {
		t.Fatalf("%+v", o)
	}
	got := srv.letters()[n:]
	if len(got) != 1 || !strings.Contains(got[0].raw, "MAIL FROM:<eve@") {
		t.Errorf("%+v", got)
	}
	if head, _, _ := strings.Cut(got[0].raw, "\r\n\r\n"); strings.Contains(head, "eve@") {
		t.Errorf("%s", head)
	}
}

func TestCancellationAndTimeout(t *testing.T) {
	srv := serve(t, STARTTLS)
	cfg := srv.config(STARTTLS)
	cfg.Parallel = 1
	s := sender(t, cfg)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-srv.hung; cancel() }()
	start := time.Now()
	out := s.Send(ctx, []Message{to("ann"), to("hang"), to("bob")})
	if d := time.Since(start); d > 4*time.Second {
		t.Errorf("took %v", d)
	}
	if out[0].Kind != push.Sent || out[1].Reason != ReasonCancelled || out[2].Reason != ReasonCancelled || out[2].Kind != push.Retry {
		t.Errorf("%+v", out)
	}
	cfg.Timeout = 200 * time.Millisecond
	start = time.Now()
	if o := one(t, sender(t, cfg), to("hang")); o.Reason != ReasonUnreachable || time.Since(start) > 2*time.Second {
		t.Errorf("%+v after %v", o, time.Since(start))
	}
}

func TestNobodyThere(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := ln.Addr().(*net.TCPAddr).Port
	silent := make(chan net.Conn, 4)
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				close(silent)
				return
			}
			silent <- c
		}
	}()
	cfg := Config{Host: "127.0.0.1", Port: port, From: "office@example.com", Timeout: 200 * time.Millisecond, Parallel: 1, Random: func() float64 { return 0 }}
	start := time.Now()
	var ms []Message
	for i := range 30 {
		ms = append(ms, to(fmt.Sprint("p", i)))
	}
	for _, o := range sender(t, cfg).Send(t.Context(), ms) {
		if o.Kind != push.Retry || o.Reason != ReasonUnreachable || o.After == 0 {
			t.Fatalf("a server that says nothing: %+v", o)
		}
	}
	if d := time.Since(start); d > 15*cfg.Timeout { // one after the other they would take 30
		t.Errorf("30 mails to a silent server took %v", d)
	}
	_ = ln.Close()
	for c := range silent {
		_ = c.Close()
	}
	if o := one(t, sender(t, cfg), to("ann")); o.Reason != ReasonUnreachable {
		t.Errorf("%+v", o)
	}
}

func TestConfigIsChecked(t *testing.T) {
	ok := Config{Host: "h", From: "a@example.com", Random: func() float64 { return 0 }}
	if _, err := New(ok); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Config){
		"no host":                func(c *Config) { c.Host = "" },
		"host in two lines":      func(c *Config) { c.Host = "a\r\nb" },
		"no random":              func(c *Config) { c.Random = nil },
		"no sender":              func(c *Config) { c.From = "" },
		"sender in two lines":    func(c *Config) { c.From = "a@example.com\r\nX: y" },
		"reply":                  func(c *Config) { c.ReplyTo = "x" },
		"bounces":                func(c *Config) { c.Bounces = "x" },
		"security":               func(c *Config) { c.Security = "ssl" },
		"sign-in":                func(c *Config) { c.Auth = "ntlm" },
		"port":                   func(c *Config) { c.Port = 65536 },
		"password in plain text": func(c *Config) { c.Security, c.Username = Plain, "a" },
	} {
		cfg := ok
		change(&cfg)
		if _, err := New(cfg); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func TestClosedSenderKeepsNothing(t *testing.T) {
	srv := serve(t, STARTTLS)
	s := sender(t, srv.config(STARTTLS))
	s.Close()
	// A send that was under way still gets its answer; its connection is closed after.
	if o := one(t, s, to("ann")); o.Kind != push.Sent {
		t.Fatalf("%+v", o)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.idle) != 0 {
		t.Error("a connection is kept")
	}
}

func TestBounces(t *testing.T) {
	for name, c := range map[string]struct {
		raw  string
		want []Bounce
	}{
		"unknown user": {
			report("Final-Recipient: rfc822; Ann@EXAMPLE.org\r\nAction: failed\r\nStatus: 5.1.1\r\nDiagnostic-Code: smtp; 550 no\r\n", ""),
			[]Bounce{{"Ann@example.org", "failed", "5.1.1", true, false, "id@example.com"}},
		},
		"forwarded": {
			report("Original-Recipient: rfc822;ann@example.org\r\nFinal-Recipient: rfc822; other@example.net\r\nAction: Failed (bad)\r\nStatus: 5.0.0 (x)\r\n", ""),
			[]Bounce{{"ann@example.org", "failed", "5.0.0", true, false, "id@example.com"}},
		},
		"full":    {report("Final-Recipient: rfc822; ann@example.org\r\nAction: failed\r\nStatus: 5.2.2\r\n", ""), []Bounce{{"ann@example.org", "failed", "5.2.2", false, true, "id@example.com"}}},
		"policy":  {report("Final-Recipient: rfc822; ann@example.org\r\nAction: failed\r\nStatus: 5.7.1\r\n", ""), []Bounce{{"ann@example.org", "failed", "5.7.1", false, false, "id@example.com"}}},
		"delay":   {report("Final-Recipient: rfc822; ann@example.org\r\nAction: delayed\r\nStatus: 4.4.1\r\n", ""), []Bounce{{"ann@example.org", "delayed", "4.4.1", false, false, "id@example.com"}}},
		"expired": {report("Final-Recipient: rfc822; ann@example.org\r\nAction: failed\r\nStatus: 4.4.7\r\n", ""), []Bounce{{"ann@example.org", "failed", "4.4.7", false, true, "id@example.com"}}},
		"two": {
			report("Final-Recipient: rfc822; ann@example.org\r\nAction: delivered\r\nStatus: 2.0.0\r\n\r\nFinal-Recipient:\r\n rfc822;\r\n <bob@example.org>\r\nAction: failed\r\nStatus: 5.1.2\r\n", ""),
			[]Bounce{{"ann@example.org", "delivered", "2.0.0", false, false, "id@example.com"}, {"bob@example.org", "failed", "5.1.2", true, false, "id@example.com"}},
		},
		"base64": {
			report("RmluYWwtUmVjaXBpZW50OiByZmM4MjI7IGFubkBleGFtcGxlLm9yZwpBY3Rpb246IGZhaWxl\r\nZApTdGF0dXM6IDUuMS4xCg==\r\n", "Content-Transfer-Encoding: base64\r\n"),
			[]Bounce{{"ann@example.org", "failed", "5.1.1", true, false, "id@example.com"}},
		},
		"no status":      {report("Final-Recipient: rfc822; ann@example.org\r\nAction: failed\r\n", ""), []Bounce{{"ann@example.org", "failed", "", false, true, "id@example.com"}}},
		"strange kind":   {report("Final-Recipient: x400; /C=de/\r\nAction: failed\r\nStatus: 5.1.1\r\n", ""), nil},
		"no address":     {report("Final-Recipient: rfc822; ann\r\nAction: failed\r\nStatus: 5.1.1\r\n", ""), nil},
		"strange action": {report("Final-Recipient: rfc822; ann@example.org\r\nAction: eaten\r\nStatus: 5.1.1\r\n", ""), nil},
		"answer":         {"From: ann@example.org\r\nSubject: Re\r\n\r\nFinal-Recipient: rfc822; ann@example.org\r\nAction: failed\r\n", nil},
		"read receipt":   {strings.Replace(report("Final-Recipient: rfc822; ann@example.org\r\nAction: failed\r\nStatus: 5.1.1\r\n", ""), "delivery-status; boundary", "disposition-notification; boundary", 1), nil},
		"empty":          {"", nil},
	} {
		got, err := Bounces([]byte(c.raw))
		if fmt.Sprint(got) != fmt.Sprint(c.want) || (err == nil) != (c.want != nil) || (err != nil && !errors.Is(err, ErrNoBounce)) {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, c.want)
		}
	}
	if _, err := Bounces(make([]byte, maxReport+1)); !errors.Is(err, ErrNoBounce) {
		t.Errorf("too long: %v", err)
	}
}

// report makes a delivery status notification around groups of receivers.
func report(receivers, partHeader string) string {
	first := "Reporting-MTA: dns; mx.example.org\r\nArrival-Date: Sat, 1 Mar 2025 12:00:00 +0000\r\n\r\n"
	if partHeader != "" {
		first = ""
	}
	return "From: MAILER-DAEMON@mx.example.org\r\nTo: bounces@example.com\r\nSubject: Undelivered\r\nAuto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n" +
		"Content-Type: multipart/report; report-type=delivery-status; boundary=\"XX\"\r\n\r\n" +
		"--XX\r\nContent-Type: text/plain\r\n\r\nSorry.\r\n\r\n--XX\r\nContent-Type: message/delivery-status\r\n" + partHeader + "\r\n" + first + receivers +
		"\r\n--XX\r\nContent-Type: text/rfc822-headers\r\n\r\nMessage-ID: <id@example.com>\r\nSubject: x\r\n\r\n--XX--\r\n"
}

func FuzzBounces(f *testing.F) {
	f.Add([]byte(report("Final-Recipient: rfc822; ann@example.org\r\nAction: failed\r\nStatus: 5.1.1\r\n", "")))
	f.Add([]byte(report("RmluYWwt\r\n", "Content-Transfer-Encoding: base64\r\n")))
	f.Add([]byte(report("Original-Recipient: utf-8; \xff@b\r\nAction: delayed\r\n", "Content-Transfer-Encoding: quoted-printable\r\n")))
	f.Add([]byte("Content-Type: multipart/report; report-type=delivery-status; boundary=a\n\n--a\n\n--a--"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, err := Bounces(raw)
		if (err == nil) != (len(got) > 0) {
			t.Fatalf("%v, %v", got, err)
		}
		for _, b := range got {
			if a, err := parseAddress(b.Address); err != nil || a.Address != b.Address || !plainLine(b.MessageID) {
				t.Fatalf("%+v: %v", b, err)
			}
			if b.Permanent && b.Soft || b.Soft && b.Action != "failed" || b.Permanent && (b.Action != "failed" || !strings.HasPrefix(b.Status, "5.")) {
				t.Fatalf("%+v", b)
			}
		}
	})
}

// Whatever the fields hold, a mail that is composed has exactly the headers
// that were meant, and one receiver.
func FuzzCompose(f *testing.F) {
	f.Add("Ann <ann@example.org>", "Hello", "text", "<p>", "key", "https://x.example/")
	f.Add("=?utf-8?q?a=0D=0Ab?= <ann@example.org>", "a\nb", "\r\n.\r\n", "", "\r", "https://x.example/>")
	s, err := New(Config{Host: "h", From: "office@example.com", Random: func() float64 { return 0 }, Now: func() time.Time { return time.Unix(0, 0) }})
	if err != nil {
		f.Fatal(err)
	}
	known := map[string]bool{}
	for _, h := range []string{"From", "To", "Subject", "Date", "Message-Id", "Mime-Version", "Auto-Submitted", "X-Auto-Response-Suppress", "List-Unsubscribe", "List-Unsubscribe-Post", "Content-Type", "Content-Transfer-Encoding"} {
		known[h] = true
	}
	f.Fuzz(func(t *testing.T, to, subject, text, html, key, unsubscribe string) {
		m, reason := s.compose(&Message{To: to, Subject: subject, Text: text, HTML: html, Key: key, Unsubscribe: unsubscribe})
		if reason != "" {
			return
		}
		var b bytes.Buffer
		if _, err := m.WriteTo(&b); err != nil {
			t.Fatal(err)
		}
		parsed, err := netmail.ReadMessage(&b)
		if err != nil {
			t.Fatal(err)
		}
		for h, v := range parsed.Header {
			if !known[h] || len(v) != 1 {
				t.Fatalf("header %q: %q", h, v)
			}
		}
		receivers, err := m.GetRecipients()
		if list, err2 := parsed.Header.AddressList("To"); err != nil || err2 != nil || len(list) != 1 || len(receivers) != 1 {
			t.Fatalf("%q: %v %v %v %v", to, list, receivers, err, err2)
		}
	})
}
