package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"

	"satchel/internal/app"
	"satchel/internal/command"
	"satchel/internal/ident"
	"satchel/internal/testworld"
	"satchel/mobile-api/client"
	"satchel/server/session/password/passwordtest"
	"satchel/sync/apply"
	"satchel/sync/store"
	"satchel/sync/tenant"
	"satchel/sync/wire"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// fasthttp's clock lives as long as the process, its sweeper of idle
		// workers ends within ten seconds.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"))
}

const (
	slug = "acme"
	pass = "correct horse"
)

// The people of every server here.
const (
	ada   = "emp-ada-1"   // customer administrator
	mia   = "emp-mia-1"   // service manager, in the office
	eve   = "emp-eve-1"   // service engineer with a phone
	eddie = "emp-eddie-1" // another
	ron   = "emp-ron-1"   // sales representative of the north
)

var rolesOf = map[ident.RecordID][]string{
	ada:   {"level.customer-administrator"},
	mia:   {"service.manager"},
	eve:   {"service.engineer", "mobile.service-agent-user"},
	eddie: {"service.engineer", "mobile.service-agent-user"},
	ron:   {"service.sales-representative"},
}

func email(person ident.RecordID) string {
	return strings.Split(string(person), "-")[1] + "@example.com"
}

// Row and O are import rows and field objects.
var (
	Row = testworld.Row
	O   = testworld.Object
)

// seed is the state every server starts from. Every client c of one, two
// (north) and three (south) has job-c-1 with act-c-1, assigned to eve, and
// act-c-2, which is nobody's.
func seed() []command.Row {
	rows := []command.Row{Row("salesArea", "area-north", "name", "North"), Row("salesArea", "area-south", "name", "South")}
	for _, p := range []ident.RecordID{mia, eve, eddie, ron} {
		kv := []any{"name", email(p), "email", email(p), "kind", "in-house", "status", "Active"}
		if p == ron {
			kv = append(kv, "salesAreas", []string{"area-north"})
		}
		rows = append(rows, Row("employee", p, kv...))
		for i, r := range rolesOf[p] {
			rows = append(rows, Row("roleAssignment", ident.RecordID(fmt.Sprintf("role-%s-%d", p[4:], i)), "employee", p, "role", r))
		}
	}
	for c, area := range map[string]string{"one": "north", "two": "north", "three": "south"} {
		id := func(f string) ident.RecordID { return ident.RecordID(strings.ReplaceAll(f, "*", c)) }
		rows = append(rows,
			Row("client", id("client-*"), "name", "Client "+c, "salesArea", "area-"+area, "accessNotes", "gate "+c),
			Row("job", id("job-*-1"), "client", id("client-*"), "title", "Boiler of "+c),
			Row("jobActivity", id("act-*-1"), "job", id("job-*-1"), "title", "Visit "+c, "assignee", eve),
			Row("jobActivity", id("act-*-2"), "job", id("job-*-1"), "title", "Spare "+c),
		)
	}
	// Parents come before children whatever order the map had.
	rank := map[string]int{"client": 1, "job": 2, "jobActivity": 3}
	var out []command.Row
	for want := 0; want <= 3; want++ {
		for _, r := range rows {
			if rank[r.Type] == want {
				out = append(out, r)
			}
		}
	}
	return out
}

// clock is the system's, moved by what a test added.
type clock struct{ ahead atomic.Int64 }

func (c *clock) Now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

func (c *clock) Advance(d time.Duration) { c.ahead.Add(int64(d)) }

// server is one running server with the tenant acme.
type server struct {
	t     testing.TB
	dir   string
	clock *clock
	app   *app.App
	url   string
	http  *http.Transport
	stop  context.CancelFunc
	ended chan error
	fresh atomic.Int64
	quiet bool // errors in the log are expected
	setup []func(*app.Config)
}

func newServer(t testing.TB, setup ...func(*app.Config)) *server {
	t.Helper()
	s := &server{t: t, dir: t.TempDir(), clock: &clock{}, http: &http.Transport{MaxIdleConnsPerHost: 64}, setup: setup}
	s.boot(freePort(t))
	t.Cleanup(func() {
		s.halt()
		s.http.CloseIdleConnections()
	})
	hash, err := s.app.Hasher().Hash(context.Background(), pass)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.app.Tenants().SetUp(context.Background(), slug, app.Administrator{}, s.app.Hasher()); err != nil {
		t.Fatal(err)
	}
	s.Import(Row("employee", ada, "name", "Ada", "email", email(ada), "kind", "in-house", "status", "Active"),
		Row("roleAssignment", "role-ada-1", "employee", ada, "role", "level.customer-administrator"))
	s.Import(seed()...)
	for p := range rolesOf {
		s.Do(&command.Command{Secret: &command.Secret{Employee: p, Hash: hash}})
	}
	return s
}

// freePort returns an address to listen on, and to listen on again later. It
// lies beneath the ports that connections are given: a phone that dials a
// closed port out of those may be given the very port as its own, and is then
// connected to itself.
func freePort(t testing.TB) string {
	t.Helper()
	for range 100 {
		addr := fmt.Sprintf("127.0.0.1:%d", 20_000+rand.IntN(12_000))
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return addr
	}
	t.Fatal("no free port")
	return ""
}

func (s *server) boot(listen string) {
	s.t.Helper()
	cfg := app.Config{Dir: s.dir, Listen: listen, Clock: s.clock.Now, Hasher: passwordtest.New(s.t)}
	if !s.quiet {
		cfg.Log = testworld.ErrorLog(s.t)
	}
	for _, f := range s.setup {
		f(&cfg)
	}
	var err error
	if s.app, err = app.New(cfg); err != nil {
		s.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	// Another process may have been given the port for a moment.
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if err = s.app.Listen(ctx); err == nil {
			break
		}
		if time.Now().After(end) {
			stop()
			s.t.Fatal(err)
		}
	}
	s.stop = stop
	s.url = "http://" + s.app.Address()
	s.ended = make(chan error, 1)
	a, ended := s.app, s.ended
	go func() { ended <- a.Run(ctx) }()
}

// halt ends the server in good order.
func (s *server) halt() {
	s.t.Helper()
	if s.stop == nil {
		return
	}
	s.stop()
	s.stop = nil
	s.http.CloseIdleConnections()
	select {
	case err := <-s.ended:
		if err != nil {
			s.t.Errorf("server ended with %v", err)
		}
	case <-time.After(30 * time.Second):
		s.t.Fatal("server did not end")
	}
}

// restart ends the server and starts it again at the same address.
func (s *server) restart() {
	s.t.Helper()
	addr := s.app.Address()
	s.halt()
	s.boot(addr)
}

func (s *server) tenant() *tenant.Tenant {
	s.t.Helper()
	t, err := s.app.Tenants().Tenant(slug)
	if err != nil {
		s.t.Fatal(err)
	}
	return t
}

func (s *server) Do(c *command.Command) apply.Result {
	s.t.Helper()
	res, err := s.tenant().Submit(context.Background(), c)
	if err != nil {
		s.t.Fatalf("refused: %v", err)
	}
	return res
}

// Import writes rows as the system.
func (s *server) Import(rows ...command.Row) {
	s.t.Helper()
	for _, r := range s.Do(&command.Command{Import: &command.Import{Rows: rows}}).Count.Rejected {
		s.t.Fatalf("row %s/%s: %v", rows[r.Index].Type, rows[r.Index].ID, r.Err)
	}
}

// Write makes a change as a person would through the module API.
func (s *server) Write(by ident.RecordID, w command.Write) apply.Result {
	s.t.Helper()
	return s.Do(&command.Command{Actor: by, Write: &w})
}

// newID returns an unused id.
func (s *server) newID(kind string) ident.RecordID {
	return ident.RecordID(fmt.Sprintf("%s-made-%d", kind, s.fresh.Add(1)))
}

// hide hides a client from a person.
func (s *server) hide(person, client ident.RecordID) {
	s.t.Helper()
	id := s.newID("visible")
	s.Import(Row("clientVisibility", id, "employee", person, "mode", "all-but"),
		Row("visibilityRule", s.newID("rule"), "visibility", id, "client", client))
}

// drop deletes a record: the administrator what the app Admin has, the manager
// anything else.
func (s *server) drop(typ string, id ident.RecordID) {
	s.t.Helper()
	by := ident.RecordID(mia)
	if typ == "roleAssignment" || typ == "individualPermission" {
		by = ada
	}
	s.Write(by, command.Write{Op: "delete", Type: typ, ID: id})
}

// value reads a field as the system sees it.
func (s *server) value(id ident.RecordID, field string) string {
	s.t.Helper()
	var out string
	s.read(func(v *tenant.View) {
		rec, ok := v.Load(id)
		if !ok {
			s.t.Fatalf("there is no %s", id)
		}
		if val := rec.Get(field); !val.IsNull() {
			out = val.Text()
		}
	})
	return out
}

// exists reports whether a record lives.
func (s *server) exists(id ident.RecordID) (ok bool) {
	s.t.Helper()
	s.read(func(v *tenant.View) { _, ok = v.Load(id) })
	return ok
}

func (s *server) read(f func(*tenant.View)) {
	s.t.Helper()
	if err := s.tenant().Read(func(v *tenant.View) error { f(v); return nil }); err != nil {
		s.t.Fatal(err)
	}
}

// quarantined returns what is in the quarantine.
func (s *server) quarantined() (out []apply.Quarantined) {
	s.t.Helper()
	s.read(func(v *tenant.View) {
		apply.EachQuarantined(v.Reader, func(q apply.Quarantined) bool { out = append(out, q); return true })
	})
	return out
}

// backup copies the tenant's file as it stands.
func (s *server) backup() string {
	s.t.Helper()
	path := filepath.Join(s.t.TempDir(), "backup.db")
	f, err := os.Create(path)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.tenant().Engine().(*store.Bolt).Backup(f); err != nil {
		s.t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// phone is a device of a person.
type phone struct {
	*client.Phone
	s    *server
	t    testing.TB
	who  ident.RecordID
	mem  *client.Memory
	opts client.Options
	live *following
}

// phone signs a new device in and syncs it.
func (s *server) phone(who ident.RecordID, profile string, change ...func(*client.Options)) *phone {
	s.t.Helper()
	p := &phone{s: s, t: s.t, who: who, mem: client.NewMemory(), opts: client.Options{
		Server: s.url, Tenant: slug, Name: "phone of " + string(who), Platform: "test", Transport: s.http, Clock: s.clock.Now,
	}}
	for _, f := range change {
		f(&p.opts)
	}
	p.open()
	s.t.Cleanup(func() {
		p.unfollow()
		if err := p.Close(); err != nil && !errors.Is(err, client.ErrClosed) {
			s.t.Error(err)
		}
	})
	p.login()
	if err := p.SetProfile(profile); err != nil {
		s.t.Fatal(err)
	}
	p.sync()
	return p
}

func (p *phone) open() {
	p.t.Helper()
	var err error
	if p.Phone, err = client.OpenMemory(p.mem, p.opts); err != nil {
		p.t.Fatal(err)
	}
}

func (p *phone) login() {
	p.t.Helper()
	if err := p.Login(context.Background(), email(p.who), pass); err != nil {
		p.t.Fatalf("%s: login: %v", p.who, err)
	}
}

// sync syncs and demands that everything agrees afterwards.
func (p *phone) sync() client.Report {
	p.t.Helper()
	rep, err := p.Sync(context.Background())
	if err != nil {
		p.t.Fatalf("%s: sync: %v", p.who, err)
	}
	if !rep.Complete || len(rep.Healed) > 0 {
		p.t.Fatalf("%s: sync: %+v", p.who, rep)
	}
	return rep
}

// verify syncs and demands that the server then finds nothing that differs.
func (p *phone) verify() {
	p.t.Helper()
	p.sync()
	healed, err := p.Verify(context.Background())
	if err != nil || len(healed) > 0 {
		p.t.Fatalf("%s: verify: %v %v", p.who, healed, err)
	}
}

func (p *phone) has(typ, id string) bool {
	p.t.Helper()
	_, err := p.Get(typ, id)
	if err != nil && !errors.Is(err, client.ErrNotFound) {
		p.t.Fatal(err)
	}
	return err == nil
}

// want demands that the phone shows the records, lacks that it doesn't.
func (p *phone) want(refs ...string) {
	p.t.Helper()
	for _, ref := range refs {
		if typ, id, _ := strings.Cut(ref, "/"); !p.has(typ, id) {
			p.t.Fatalf("%s lacks %s", p.who, ref)
		}
	}
}

func (p *phone) lacks(refs ...string) {
	p.t.Helper()
	for _, ref := range refs {
		if typ, id, _ := strings.Cut(ref, "/"); p.has(typ, id) {
			p.t.Fatalf("%s still has %s", p.who, ref)
		}
	}
}

func (p *phone) text(typ, id, field string) string {
	p.t.Helper()
	r, err := p.Get(typ, id)
	if err != nil {
		p.t.Fatalf("%s: %v", p.who, err)
	}
	return r.Text(field)
}

func (p *phone) act(typ, id, action string, args map[string]any) {
	p.t.Helper()
	if err := p.Action(typ, id, action, args); err != nil {
		p.t.Fatal(err)
	}
}

func (p *phone) patch(typ, id string, kv map[string]any) {
	p.t.Helper()
	if err := p.Patch(typ, id, kv); err != nil {
		p.t.Fatal(err)
	}
}

func (p *phone) create(typ string, kv map[string]any) string {
	p.t.Helper()
	id, err := p.Create(typ, kv)
	if err != nil {
		p.t.Fatal(err)
	}
	return id
}

func (p *phone) device() string {
	p.t.Helper()
	st, err := p.Status()
	if err != nil {
		p.t.Fatal(err)
	}
	return st.Device
}

func (p *phone) problems() []client.Problem {
	p.t.Helper()
	list, err := p.Problems()
	if err != nil {
		p.t.Fatal(err)
	}
	return list
}

// following is a Live under way.
type following struct {
	cancel context.CancelFunc
	ended  chan error
	mu     sync.Mutex
	list   []client.Change
}

// follow connects the phone and waits until it has caught up.
func (p *phone) follow() *following {
	p.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	f := &following{cancel: cancel, ended: make(chan error, 1)}
	p.live = f
	up := make(chan struct{})
	once := sync.OnceFunc(func() { close(up) })
	ph := p.Phone
	go func() {
		f.ended <- ph.Live(ctx, func(c client.Change) {
			f.mu.Lock()
			f.list = append(f.list, c)
			f.mu.Unlock()
			if c.Complete {
				once()
			}
		})
	}()
	select {
	case <-up:
	case err := <-f.ended:
		p.live = nil
		cancel()
		p.t.Fatalf("%s: live ended: %v", p.who, err)
	case <-time.After(patience):
		p.t.Fatalf("%s: live never caught up", p.who)
	}
	return f
}

// unfollow ends Live and returns why it ended.
func (p *phone) unfollow() error {
	if p.live == nil {
		return nil
	}
	p.live.cancel()
	err := <-p.live.ended
	p.live = nil
	return err
}

const (
	// patience is how long a test waits for what only the machine's speed decides.
	patience = time.Minute
	// promptly is how soon a connection ends because of what happened. A second is
	// promised, and TestRevokedWithinASecond tells what it takes; machines that do
	// other things take longer, and no period after which it would end by itself
	// is as short.
	promptly = 8 * time.Second
)

// ends waits for Live to end by itself, promptly.
func (p *phone) ends() error {
	p.t.Helper()
	select {
	case err := <-p.live.ended:
		p.live.cancel()
		p.live = nil
		return err
	case <-time.After(promptly):
		p.t.Fatalf("%s: still live after %v", p.who, promptly)
		return nil
	}
}

// soon waits until cond holds.
func soon(t testing.TB, what string, cond func() bool) {
	t.Helper()
	end := time.Now().Add(patience)
	for !cond() {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// signIn is a session without the client package, to send what it would not.
type signIn struct {
	s                        *server
	access, refresh          string
	device, prefix, employee string
}

// reply is an answer, read.
type reply struct {
	status int
	header http.Header
	body   []byte
}

func (r *reply) code() string {
	var p wire.Problem
	if json.Unmarshal(r.body, &p) != nil {
		return ""
	}
	return p.Code
}

func (r *reply) want(t testing.TB, status int, code string) *reply {
	t.Helper()
	if r.status != status || r.code() != code {
		t.Fatalf("answered %d %q, want %d %q: %s", r.status, r.code(), status, code, r.body)
	}
	return r
}

func (r *reply) into(t testing.TB, v any) {
	t.Helper()
	if r.status != http.StatusOK {
		t.Fatalf("answered %d: %s", r.status, r.body)
	}
	if err := json.Unmarshal(r.body, v); err != nil {
		t.Fatalf("%v: %s", err, r.body)
	}
}

// post sends a body, as it is if it is text or bytes, and as JSON otherwise.
func (s *server) post(path, token string, body any, headers ...string) *reply {
	s.t.Helper()
	var raw []byte
	switch b := body.(type) {
	case string:
		raw = []byte(b)
	case []byte:
		raw = b
	default:
		var err error
		if raw, err = json.Marshal(b); err != nil {
			s.t.Fatal(err)
		}
	}
	req, err := http.NewRequest(http.MethodPost, s.url+path, bytes.NewReader(raw))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := s.http.RoundTrip(req)
	if err != nil {
		s.t.Fatalf("%s: %v", path, err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return &reply{res.StatusCode, res.Header, b}
}

type loginAnswer struct {
	Access  string `json:"accessToken"`
	Refresh string `json:"refreshToken"`
	User    struct {
		ID string `json:"id"`
	} `json:"user"`
	Device struct {
		ID     string `json:"id"`
		Prefix string `json:"idPrefix"`
	} `json:"device"`
}

func (s *server) signIn(who ident.RecordID, installation string) *signIn {
	s.t.Helper()
	body := map[string]any{"tenant": slug, "email": email(who), "password": pass}
	if installation != "" {
		body["device"] = map[string]any{"installation": installation, "incarnation": "1", "name": "raw", "platform": "test"}
	}
	var a loginAnswer
	s.post("/v1/auth/login", "", body).into(s.t, &a)
	return &signIn{s: s, access: a.Access, refresh: a.Refresh, device: a.Device.ID, prefix: a.Device.Prefix, employee: a.User.ID}
}

func (c *signIn) post(path string, body any, headers ...string) *reply {
	c.s.t.Helper()
	return c.s.post(path, c.access, body, headers...)
}

func (c *signIn) pull(p map[string]any) wire.Page {
	c.s.t.Helper()
	var pg wire.Page
	c.post("/sync/v1/pull", p).into(c.s.t, &pg)
	return pg
}

func (c *signIn) push(acked uint64, ms ...map[string]any) wire.Results {
	c.s.t.Helper()
	var r wire.Results
	c.post("/sync/v1/push", c.pushBody(acked, ms...)).into(c.s.t, &r)
	return r
}

func (c *signIn) pushBody(acked uint64, ms ...map[string]any) map[string]any {
	if ms == nil {
		ms = []map[string]any{}
	}
	return map[string]any{"acked": acked, "now": c.s.clock.Now().UTC().Format(time.RFC3339Nano), "mutations": ms}
}

func (c *signIn) mutation(n int, op, typ, id string, more ...any) map[string]any {
	m := map[string]any{"n": n, "op": op, "type": typ, "id": id, "at": c.s.clock.Now().UTC().Format(time.RFC3339Nano)}
	for i := 0; i < len(more); i += 2 {
		m[more[i].(string)] = more[i+1]
	}
	return m
}

// socket is a live socket without the client package.
type socket struct {
	*websocket.Conn
	t      testing.TB
	frames chan map[string]json.RawMessage
	closed chan struct{}
	code   int // set before closed is closed
}

func (s *server) dial(token string) (*websocket.Conn, *http.Response, error) {
	h := http.Header{}
	if token != "" {
		h.Set("Authorization", "Bearer "+token)
	}
	d := websocket.Dialer{HandshakeTimeout: 10 * time.Second}
	return d.Dial("ws"+strings.TrimPrefix(s.url, "http")+"/sync/v1/live", h)
}

func (s *server) socket(token string) *socket {
	s.t.Helper()
	ws, res, err := s.dial(token)
	if err != nil {
		s.t.Fatalf("dial: %v %v", err, res)
	}
	c := &socket{Conn: ws, t: s.t, frames: make(chan map[string]json.RawMessage, 1024), closed: make(chan struct{})}
	go func() {
		defer close(c.closed)
		for {
			var f map[string]json.RawMessage
			if err := ws.ReadJSON(&f); err != nil {
				var ce *websocket.CloseError
				if errors.As(err, &ce) {
					c.code = ce.Code
				}
				return
			}
			c.frames <- f
		}
	}()
	s.t.Cleanup(func() {
		_ = ws.Close()
		<-c.closed
	})
	return c
}

func (c *socket) send(v any) {
	c.t.Helper()
	if raw, ok := v.(string); ok {
		if err := c.WriteMessage(websocket.TextMessage, []byte(raw)); err != nil {
			c.t.Fatal(err)
		}
		return
	}
	if err := c.WriteJSON(v); err != nil {
		c.t.Fatal(err)
	}
}

// next waits for the next frame. One that came before the close counts, though
// both are there by the time anybody looks.
func (c *socket) next(kind string) map[string]json.RawMessage {
	c.t.Helper()
	select {
	case f := <-c.frames:
		return f
	case <-c.closed:
		select {
		case f := <-c.frames:
			return f
		default:
		}
		c.t.Fatalf("closed with %d, want a frame %s", c.code, kind)
	case <-time.After(patience):
		c.t.Fatalf("no frame %s", kind)
	}
	return nil
}

// frame waits for the next frame and demands its kind.
func (c *socket) frame(kind string, into any) {
	c.t.Helper()
	f := c.next(kind)
	raw, err := json.Marshal(f)
	if err != nil {
		c.t.Fatal(err)
	}
	if string(f["kind"]) != `"`+kind+`"` {
		c.t.Fatalf("a frame %s, want %s", raw, kind)
	}
	if into != nil {
		if err := json.Unmarshal(raw, into); err != nil {
			c.t.Fatal(err)
		}
	}
}

// closes waits for the server to close with the code, promptly.
func (c *socket) closes(code int) {
	c.t.Helper()
	c.closesWithin(code, promptly)
}

// closesWithin is closes where something else has to pass first.
func (c *socket) closesWithin(code int, within time.Duration) {
	c.t.Helper()
	select {
	case <-c.closed:
		if c.code != code {
			c.t.Fatalf("closed with %d, want %d", c.code, code)
		}
	case <-time.After(within):
		c.t.Fatalf("still open after %v", within)
	}
}

// catchUp pulls on the socket until nothing more comes and returns the
// checkpoint.
func (c *socket) catchUp(checkpoint, profile string) string {
	c.t.Helper()
	req := map[string]any{"kind": "pull", "checkpoint": checkpoint, "profile": profile}
	for {
		c.send(req)
		var pg wire.Page
		c.frame(wire.KindPage, &pg)
		req = map[string]any{"kind": "pull", "checkpoint": pg.Checkpoint}
		checkpoint = pg.Checkpoint
		if !pg.More {
			c.send(req)
			return checkpoint
		}
	}
}
