package canary

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"satchel/internal/app"
	"satchel/internal/command"
	"satchel/internal/ident"
	"satchel/internal/oracle"
	"satchel/internal/testworld"
	"satchel/server/courier"
	"satchel/server/files"
	"satchel/server/push/fcm"
	"satchel/server/push/fcm/emulator"
	"satchel/server/push/mail"
	"satchel/server/session/limit"
	"satchel/server/session/password/passwordtest"
	"satchel/server/suite"
	"satchel/sync/apply"
	"satchel/sync/outbox"
	"satchel/sync/tenant"
)

const slug ident.TenantID = "canary"

const password = "correct horse battery"

// start is where the clock of every server stands at first.
var start = time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC)

// dice is randomness that repeats: after Roll the same bytes come as after
// another Roll with the same label.
type dice struct {
	mu   sync.Mutex
	seed int64
	r    *rand.ChaCha8
}

// Roll begins anew.
func (d *dice) Roll(label string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var key [32]byte
	copy(key[:], fmt.Sprintf("%d %s", d.seed, label))
	d.r = rand.NewChaCha8(key)
}

// Read implements io.Reader.
func (d *dice) Read(b []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.r.Read(b)
}

// wire is something that left the server other than as an answer.
type wire struct {
	to  string // the push token or the address
	raw []byte
}

// Server is one whole server with a [World] in it: on real ports, with a stand-in
// for Firebase, a mail server and files.
type Server struct {
	World *World

	tb    testing.TB
	suite *suite.Suite
	judge *oracle.Judge
	dice  *dice
	ahead atomic.Int64
	app   *app.App
	url   string
	admin string
	http  *http.Client

	mu     sync.Mutex
	logs   bytes.Buffer
	pushes []wire
	mails  []wire
	refuse map[string]bool // addresses that the mail server refuses
}

// Start runs a server with the world of a seed until the test ends.
func Start(tb testing.TB, seed int64) *Server {
	tb.Helper()
	all, err := suite.Load()
	if err != nil {
		tb.Fatal(err)
	}
	s := &Server{
		tb: tb, suite: all, judge: oracle.New(all.Cat), dice: &dice{seed: seed}, World: NewWorld(all.Cat, seed), refuse: map[string]bool{},
		http: &http.Client{
			Transport:     &http.Transport{MaxIdleConnsPerHost: 16, DisableCompression: true},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	s.dice.Roll("start")
	log := slog.New(slog.NewJSONHandler(s, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s.run(app.Config{
		Dir: tb.TempDir(), Listen: "127.0.0.1:0", AdminListen: "127.0.0.1:0", Clock: s.Now, Hasher: passwordtest.New(tb), Log: log, Random: s.dice,
		Pusher: s.carrier(log), Letters: s.post(log), PublicURL: "https://canary.example", DevicesLink: "https://canary.example/devices",
		Files:  files.Limits{TenantBytes: 1 << 60}, // documents say that they are of any size
		Quotas: &limit.Quotas{Off: true},           // people here ask for more than people do
	})
	s.fill()
	return s
}

// Now is the server's clock.
func (s *Server) Now() time.Time { return start.Add(time.Duration(s.ahead.Load())) }

// Advance moves the clock.
func (s *Server) Advance(d time.Duration) { s.ahead.Add(int64(d)) }

// Write implements io.Writer: it takes the log.
func (s *Server) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.logs.Write(b)
}

var tokenOf = regexp.MustCompile(`"token":"([^"]*)"`)

// carrier makes what pushes go through, and notes them.
func (s *Server) carrier(log *slog.Logger) courier.Pusher {
	em := emulator.New(emulator.Options{Now: s.Now})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			s.tb.Error(err)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		to := ""
		if m := tokenOf.FindSubmatch(body); m != nil {
			to = string(m[1])
		}
		raw := fmt.Appendf(nil, "%s %s\n", r.Method, r.URL)
		for _, k := range slices.Sorted(maps.Keys(r.Header)) {
			raw = fmt.Appendf(raw, "%s: %s\n", k, strings.Join(r.Header[k], ", "))
		}
		s.mu.Lock()
		s.pushes = append(s.pushes, wire{to, append(raw, body...)})
		s.mu.Unlock()
		em.ServeHTTP(w, r)
	}))
	s.tb.Cleanup(srv.Close)
	sender, err := fcm.New(context.Background(), fcm.Config{Project: "demo", Endpoint: srv.URL, Random: func() float64 { return 0.5 }, Now: s.Now, Log: log})
	if err != nil {
		s.tb.Fatal(err)
	}
	s.tb.Cleanup(sender.Close)
	return app.ByFCM(sender)
}

// post makes what mail goes through, and notes it.
func (s *Server) post(log *slog.Logger) courier.Mailer {
	srv := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &letterbox{s: s}, nil }))
	srv.Domain = "localhost"
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.tb.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	sender, err := mail.New(mail.Config{
		Host: "127.0.0.1", Port: ln.Addr().(*net.TCPAddr).Port, Security: mail.Plain, From: "Satchel <satchel@example.com>",
		Hello: "canary.example", Random: func() float64 { return 0.5 }, Now: s.Now, Log: log,
	})
	if err != nil {
		s.tb.Fatal(err)
	}
	s.tb.Cleanup(func() {
		sender.Close()
		_ = srv.Close() // what is under way is of no use to anybody
		if err := <-served; err != nil && !errors.Is(err, smtp.ErrServerClosed) {
			s.tb.Error(err)
		}
	})
	return app.BySMTP(sender)
}

// letterbox is a connection of the mail server.
type letterbox struct {
	s    *Server
	from string
	to   []string
}

// Reset implements smtp.Session.
func (l *letterbox) Reset() { l.to = nil }

// Logout implements smtp.Session.
func (l *letterbox) Logout() error { return nil }

// Mail implements smtp.Session.
func (l *letterbox) Mail(from string, _ *smtp.MailOptions) error { l.from = from; return nil }

// Rcpt implements smtp.Session. A refusal quotes the address, as servers do.
func (l *letterbox) Rcpt(to string, _ *smtp.RcptOptions) error {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	if l.s.refuse[to] {
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "<" + to + ">: no such user here"}
	}
	l.to = append(l.to, to)
	return nil
}

// Data implements smtp.Session.
func (l *letterbox) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	for _, to := range l.to {
		l.s.mails = append(l.s.mails, wire{to, b})
	}
	return err
}

// run starts the server and ends it with the test.
func (s *Server) run(cfg app.Config) {
	s.tb.Helper()
	var out bytes.Buffer
	cfg.Out = &out
	var err error
	if s.app, err = app.New(cfg); err != nil {
		s.tb.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	if err := s.app.Listen(ctx); err != nil {
		stop()
		s.tb.Fatal(err)
	}
	s.url = "http://" + s.app.Address()
	if _, s.admin, _ = strings.Cut(strings.TrimSpace(out.String()), "admin listening on "); s.admin == "" {
		stop()
		s.tb.Fatalf("no second listener: %q", out.String())
	}
	ended := make(chan error, 1)
	go func() { ended <- s.app.Run(ctx) }()
	s.tb.Cleanup(func() {
		s.http.CloseIdleConnections()
		stop()
		if err := <-ended; err != nil {
			s.tb.Errorf("the server ended with %v", err)
		}
	})
}

// fill makes the tenant.
func (s *Server) fill() {
	s.tb.Helper()
	ctx := context.Background()
	if _, err := s.app.Tenants().Create(slug); err != nil {
		s.tb.Fatal(err)
	}
	s.Do(&command.Command{Setup: &command.Setup{Secret: []byte("0123456789abcdef0123456789abcdef")}})
	for part := range slices.Chunk(s.World.Rows, 150) {
		s.Import(part...)
	}
	hash, err := s.app.Hasher().Hash(ctx, password)
	if err != nil {
		s.tb.Fatal(err)
	}
	for _, p := range s.World.People {
		s.Do(&command.Command{Secret: &command.Secret{Employee: p.ID, Hash: hash}})
	}
}

func (s *Server) tenant() *tenant.Tenant {
	s.tb.Helper()
	t, err := s.app.Tenants().Tenant(slug)
	if err != nil {
		s.tb.Fatal(err)
	}
	return t
}

// Do submits a command as the system would; a refusal ends the test.
func (s *Server) Do(c *command.Command) apply.Result {
	s.tb.Helper()
	res, err := s.tenant().Submit(context.Background(), c)
	if err != nil {
		s.tb.Fatalf("refused: %v", err)
	}
	return res
}

// Import writes rows as the system; a row that is refused ends the test.
func (s *Server) Import(rows ...command.Row) {
	s.tb.Helper()
	for _, r := range s.Do(&command.Command{Import: &command.Import{Rows: rows}}).Count.Rejected {
		s.tb.Fatalf("row %s %s: %v", rows[r.Index].Type, rows[r.Index].Fields, r.Err)
	}
}

// Look lets the judge look at the state as it is now.
func (s *Server) Look(f func(*oracle.World)) {
	s.tb.Helper()
	err := s.tenant().Read(func(v *tenant.View) error {
		w, err := s.judge.Look(v.KV())
		if err != nil {
			return err
		}
		f(w)
		return nil
	})
	if err != nil {
		s.tb.Fatal(err)
	}
}

// nextDay moves the clock by a day and lets happen what is due by then: the
// day's letters among it. Whoever sleeps in the server does so by the machine's
// clock, and is woken by news.
func (s *Server) nextDay() {
	s.tb.Helper()
	s.Advance(24 * time.Hour)
	s.Do(&command.Command{Seed: []byte("next day"), Tick: &command.Tick{}})
	for i, x := range s.World.by["ticket"] {
		for _, kind := range []string{"update-request", "reply"} {
			// Not all of them are there any more.
			_, _ = s.tenant().Submit(context.Background(), &command.Command{Seed: fmt.Appendf(nil, "%s of %d", kind, i), Write: &command.Write{
				Op: "create", Type: "ticketUpdate", Fields: testworld.Object("ticket", x.id, "visibility", "public", "kind", kind, "text", "?"),
			}})
		}
	}
}

// settle waits until nothing that is due is left to be sent.
func (s *Server) settle() {
	s.tb.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		due := 0
		if err := s.tenant().Read(func(v *tenant.View) error {
			outbox.Due(v.KV(), ident.MillisOf(s.Now()), func(outbox.Intent) bool { due++; return true })
			return nil
		}); err != nil {
			s.tb.Fatal(err)
		}
		if due == 0 {
			return
		}
		if time.Now().After(end) {
			s.tb.Fatalf("%d deliveries are not made", due)
		}
	}
}

// woken waits until a device that has yet to begin was told to pull, if it can
// be: that takes a moment by the machine's clock, and news that came before it
// would take its place.
func (s *Server) woken(c *Session) {
	s.tb.Helper()
	told := func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return slices.ContainsFunc(s.pushes, func(p wire) bool { return p.to == c.Push && !bytes.Contains(p.raw, []byte(`"notification"`)) })
	}
	for end := time.Now().Add(time.Minute); c.Push != "" && !told(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			s.tb.Fatalf("%s is not told to pull", c.Device)
		}
	}
}

// Answer is what came back for a request.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// raw is the answer as it came, headers sorted, without those that drop.
func (a *Answer) raw(drop ...string) []byte {
	out := fmt.Appendf(nil, "%d\n", a.Status)
	for _, k := range slices.Sorted(maps.Keys(a.Header)) {
		if !slices.Contains(drop, k) {
			out = fmt.Appendf(out, "%s: %s\n", k, strings.Join(a.Header[k], " | "))
		}
	}
	return append(append(out, '\n'), a.Body...)
}

// Code is the code of a problem document, "" for anything else.
func (a *Answer) Code() string {
	var p struct {
		Code string `json:"code"`
	}
	if json.Unmarshal(a.Body, &p) != nil {
		return ""
	}
	return p.Code
}

// Session is a sign-in of a person.
type Session struct {
	Person *Person
	Token  string
	Device ident.DeviceID
	Prefix string
	// Push is the token by which the device is sent pushes, "" for none.
	Push string

	s *Server
}

// SignIn signs a person in; on a device where installation is not "", which has
// a push token where the person has the Mobile module.
func (s *Server) SignIn(key, installation string) *Session {
	s.tb.Helper()
	p := s.World.Person(key)
	out := &Session{Person: p, s: s}
	body := map[string]any{"tenant": slug, "email": p.Email, "password": password}
	if installation != "" {
		d := map[string]any{"installation": installation, "incarnation": "1", "name": s.World.m.word(), "platform": s.World.m.word()}
		if p.Mobile {
			out.Push = "push-" + s.World.m.word()
			d["pushToken"] = out.Push
		}
		body["device"] = d
	}
	a := s.send("", "POST", "/v1/auth/login", body)
	var got struct {
		AccessToken string
		Device      struct {
			ID       ident.DeviceID
			IDPrefix string
		}
	}
	if err := json.Unmarshal(a.Body, &got); err != nil || a.Status != http.StatusOK {
		s.tb.Fatalf("%s can't sign in: %d %s", key, a.Status, a.Body)
	}
	out.Token, out.Device, out.Prefix = got.AccessToken, got.Device.ID, got.Device.IDPrefix
	return out
}

// Ask sends a request in the person's name.
func (c *Session) Ask(method, path string, body any, headers ...string) *Answer {
	c.s.tb.Helper()
	return c.s.send(c.Token, method, path, body, headers...)
}

// send sends a request; body is nil, bytes that are sent as they are, or
// anything that marshals to JSON.
func (s *Server) send(token, method, path string, body any, headers ...string) *Answer {
	s.tb.Helper()
	return s.to(s.url, token, method, path, body, headers...)
}

func (s *Server) to(base, token, method, path string, body any, headers ...string) *Answer {
	s.tb.Helper()
	{
		var rd io.Reader
		switch b := body.(type) {
		case nil:
		case []byte:
			rd = bytes.NewReader(b)
		default:
			raw, err := json.Marshal(b)
			if err != nil {
				s.tb.Fatal(err)
			}
			rd = bytes.NewReader(raw)
		}
		req, err := http.NewRequest(method, base+path, rd)
		if err != nil {
			s.tb.Fatal(err)
		}
		if rd != nil {
			req.Header.Set("Content-Type", "application/json")
		}
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		for i := 0; i+1 < len(headers); i += 2 {
			req.Header.Set(headers[i], headers[i+1])
		}
		res, err := s.http.Do(req)
		if err != nil {
			s.tb.Fatalf("%s %s: %v", method, path, err)
		}
		b, err := io.ReadAll(res.Body)
		if err := errors.Join(err, res.Body.Close()); err != nil {
			s.tb.Fatalf("%s %s: %v", method, path, err)
		}
		return &Answer{res.StatusCode, res.Header, b}
	}
}
