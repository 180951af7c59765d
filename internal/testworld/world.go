package testworld

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	"satchel/internal/command"
	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/internal/refresh"
	"satchel/server/edge"
	"satchel/server/roles"
	"satchel/server/session/token"
	"satchel/server/suite"
	"satchel/sync/apply"
	"satchel/sync/outbox"
	"satchel/sync/store"
	"satchel/sync/subject"
	"satchel/sync/tenant"
)

// Slug is the tenant's.
const Slug ident.TenantID = "testworld"

// Start is where the clock stands when a world is new.
var Start = time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC)

// Mount puts the edge under test onto the application.
type Mount func(app *fiber.App, auth *edge.Auth, cat *entity.Catalogue)

// World is a running tenant and an application before it. Its methods may be
// called by many goroutines, but those that fail the test belong to the test's
// own.
type World struct {
	App     *fiber.App
	Auth    *edge.Auth
	Cat     *entity.Catalogue
	Roles   *subject.Roles
	Tenant  *tenant.Tenant
	Signer  *token.Signer
	Engine  *store.Mem
	t       testing.TB
	now     atomic.Int64
	numbers atomic.Uint64

	mu     sync.Mutex
	tokens map[string]minted
}

type minted struct {
	token   string
	session ident.SessionID
	device  ident.DeviceID
	until   ident.Millis
}

// source is randomness that repeats, for many goroutines.
type source struct {
	mu sync.Mutex
	r  *rand.ChaCha8
}

func (s *source) Read(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.r.Read(b)
}

// built is what is made once for all worlds of a test binary.
type built struct {
	cat    *entity.Catalogue
	roles  *subject.Roles
	rules  *outbox.Rules
	signer *token.Signer
	base   *store.Mem
}

var base = sync.OnceValues(func() (*built, error) {
	all, err := suite.Load()
	if err != nil {
		return nil, err
	}
	signer, err := token.NewSigner("https://satchel.example", "satchel", token.NewKeySet([32]byte{1}), 256)
	if err != nil {
		return nil, err
	}
	b := &built{cat: all.Cat, roles: all.Roles, rules: all.Rules, signer: signer}
	eng := store.NewMem()
	ten, err := b.open(eng, func() time.Time { return Start.Add(-time.Hour) }, 1)
	if err != nil {
		return nil, err
	}
	for _, c := range []*command.Command{
		{Setup: &command.Setup{Name: "admin", Email: "admin@example.com", Employee: Admin, Hash: hash(Admin), Secret: []byte("0123456789abcdef")}},
		{Import: &command.Import{Rows: seed()}},
	} {
		res, err := ten.Submit(context.Background(), c)
		if err != nil {
			return nil, err
		}
		if r := res.Count.Rejected; len(r) > 0 {
			return nil, fmt.Errorf("testworld: row %v: %w", c.Import.Rows[r[0].Index], r[0].Err)
		}
	}
	for _, p := range People() {
		if p == Admin {
			continue
		}
		if _, err := ten.Submit(context.Background(), &command.Command{Secret: &command.Secret{Employee: p, Hash: hash(p)}}); err != nil {
			return nil, err
		}
	}
	b.base = eng.Clone()
	return b, ten.Close()
})

func (b *built) open(eng store.Engine, clock func() time.Time, seed byte) (*tenant.Tenant, error) {
	return tenant.Open(tenant.Options{
		ID: Slug, Cat: b.cat, Roles: b.roles, Field: roles.Field(), Rules: b.rules, Engine: eng,
		Clock: clock, Random: &source{r: rand.NewChaCha8([32]byte{seed})},
	})
}

// hash stands for a password hash; no password has it.
func hash(p ident.RecordID) string { return "hash of " + string(p) }

// New makes a world; it is closed with the test.
func New(t testing.TB, mounts ...Mount) *World {
	t.Helper()
	b, err := base()
	if err != nil {
		t.Fatal(err)
	}
	w := &World{Cat: b.cat, Roles: b.roles, Signer: b.signer, Engine: b.base.Clone(), t: t, tokens: map[string]minted{}}
	w.now.Store(Start.UnixMilli())
	if w.Tenant, err = b.open(w.Engine, w.Clock, 2); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Tenant.Close(); err != nil {
			t.Error(err)
		}
	})
	w.Auth = &edge.Auth{Tenants: tenants{w}, Signer: w.Signer, Clock: w.Clock}
	w.App = edge.NewApp(func(_ *fiber.Ctx, err error) {
		if fault.Of(err).Code == fault.InternalError && !isFiber(err) {
			t.Errorf("internal error: %v", err)
		}
	})
	w.App.Use(edge.Secure)
	for _, m := range mounts {
		m(w.App, w.Auth, w.Cat)
	}
	return w
}

func isFiber(err error) bool {
	_, ok := err.(*fiber.Error) //nolint:errorlint // fiber returns it bare
	return ok
}

// tenants is the one tenant, found by its slug.
type tenants struct{ w *World }

// Tenant implements edge.Tenants.
func (ts tenants) Tenant(id ident.TenantID) (*tenant.Tenant, error) {
	if id != Slug {
		return nil, fault.New(fault.InvalidCredentials)
	}
	return ts.w.Tenant, nil
}

// Clock returns the world's time.
func (w *World) Clock() time.Time { return time.UnixMilli(w.now.Load()).UTC() }

// Advance moves the clock and lets what falls due by then happen.
func (w *World) Advance(d time.Duration) {
	w.t.Helper()
	w.now.Add(d.Milliseconds())
	w.Do(&command.Command{Tick: &command.Tick{}})
}

// Do submits a command and fails the test where it is refused. A command
// without an actor is the system's.
func (w *World) Do(c *command.Command) apply.Result {
	w.t.Helper()
	res, err := w.Tenant.Submit(context.Background(), c)
	if err != nil {
		w.t.Fatalf("refused: %v", err)
	}
	return res
}

// Import writes rows as the system and fails the test where one is rejected.
func (w *World) Import(rows ...command.Row) {
	w.t.Helper()
	for _, r := range w.Do(&command.Command{Import: &command.Import{Rows: rows}}).Count.Rejected {
		w.t.Fatalf("row %s/%s: %v", rows[r.Index].Type, rows[r.Index].ID, r.Err)
	}
}

// fresh returns an id that was not used before in this world.
func (w *World) fresh(kind string) ident.RecordID {
	return ident.RecordID(fmt.Sprintf("%s-made-%d", kind, w.numbers.Add(1)))
}

// Person adds an active in-house employee who holds the roles and can sign in.
func (w *World) Person(id ident.RecordID, keys ...string) {
	w.t.Helper()
	w.Import(Row("employee", id, "name", name(id), "email", name(id)+"@example.com", "kind", "in-house", "status", "Active"))
	for _, k := range keys {
		w.Give(id, k)
	}
	w.Do(&command.Command{Secret: &command.Secret{Employee: id, Hash: hash(id)}})
}

// Give assigns a role and returns the assignment's id; more fields, as until,
// may follow.
func (w *World) Give(person ident.RecordID, role string, more ...any) ident.RecordID {
	w.t.Helper()
	id := w.fresh("role")
	w.Import(Row("roleAssignment", id, append([]any{"employee", person, "role", role}, more...)...))
	return id
}

// Permit adds an individual permission with the fields and returns its id.
func (w *World) Permit(person ident.RecordID, effect string, more ...any) ident.RecordID {
	w.t.Helper()
	id := w.fresh("permission")
	w.Import(Row("individualPermission", id, append([]any{"employee", person, "effect", effect}, more...)...))
	return id
}

// Hide hides clients from a person who has no client visibility yet.
func (w *World) Hide(person ident.RecordID, clients ...ident.RecordID) {
	w.visibility(person, "all-but", clients)
}

// Allow leaves a person who has no client visibility yet only the clients.
func (w *World) Allow(person ident.RecordID, clients ...ident.RecordID) {
	w.visibility(person, "only", clients)
}

func (w *World) visibility(person ident.RecordID, mode string, clients []ident.RecordID) {
	w.t.Helper()
	id := w.fresh("visible")
	rows := []command.Row{Row("clientVisibility", id, "employee", person, "mode", mode)}
	for _, c := range clients {
		rows = append(rows, Row("visibilityRule", w.fresh("rule"), "visibility", id, "client", c))
	}
	w.Import(rows...)
}

// Token returns an access token of the person, of a sign-in without a device.
// It signs in when needed.
func (w *World) Token(person ident.RecordID) string {
	w.t.Helper()
	return w.signIn(person, "").token
}

// DeviceToken returns an access token of a sign-in on the installation, with
// the device's id and id prefix by Device.
func (w *World) DeviceToken(person ident.RecordID, installation string) string {
	w.t.Helper()
	return w.signIn(person, installation).token
}

// Device returns the device of the person's sign-in on the installation.
func (w *World) Device(person ident.RecordID, installation string) ident.DeviceID {
	w.t.Helper()
	return w.signIn(person, installation).device
}

// Session returns the session of the person's sign-in without a device.
func (w *World) Session(person ident.RecordID) ident.SessionID {
	w.t.Helper()
	return w.signIn(person, "").session
}

// Prefix returns the id prefix of the device of the sign-in.
func (w *World) Prefix(person ident.RecordID, installation string) string {
	w.t.Helper()
	var p string
	d := w.Device(person, installation)
	if err := w.Tenant.Read(func(v *tenant.View) error {
		p = apply.ReadDevice(v.Reader, apply.Classes(v.Reader), d).Prefix
		return nil
	}); err != nil {
		w.t.Fatal(err)
	}
	return p
}

func (w *World) signIn(person ident.RecordID, installation string) minted {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	key := string(person) + "\x00" + installation
	now := ident.MillisOf(w.Clock())
	m, ok := w.tokens[key]
	if ok && now < m.until {
		return m
	}
	if !ok {
		m.session = ident.SessionID("s-" + fmt.Sprint(w.numbers.Add(1)))
		l := &command.Login{
			Employee: person, Credential: apply.CredentialDigest(hash(person)), Session: m.session, First: refresh.Hash(string(m.session)),
		}
		if installation != "" {
			sum := sha256.Sum256([]byte(key))
			l.Prefix = ident.NewPrefix([5]byte(sum[:5]))
			l.Device = &command.Device{Installation: installation, Incarnation: "1", Name: installation, Platform: "test"}
		}
		m.device = w.Do(&command.Command{Login: l}).Login.Device
	}
	var err error
	m.token, err = w.Signer.Mint(token.Claims{
		Tenant: Slug, Principal: person, Session: m.session, Device: m.device, ID: fmt.Sprint(w.numbers.Add(1)),
	}, now)
	if err != nil {
		w.t.Fatal(err)
	}
	m.until = now + token.Lifetime - 1000
	w.tokens[key] = m
	return m
}

// Response is an answer, its body read.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
}

// Code returns the code of a problem document, "" for anything else.
func (r *Response) Code() string {
	var p struct {
		Code string `json:"code"`
	}
	if r.Header.Get("Content-Type") != "application/problem+json" || json.Unmarshal(r.Body, &p) != nil {
		return ""
	}
	return p.Code
}

// Want fails the test where status or code differ; code "" is no problem.
func (r *Response) Want(t testing.TB, status int, code string) *Response {
	t.Helper()
	if r.Status != status || r.Code() != code {
		t.Errorf("answered %d %q, want %d %q: %s", r.Status, r.Code(), status, code, clip(r.Body))
	}
	return r
}

func clip(b []byte) string {
	if len(b) > 600 {
		return string(b[:600]) + "…"
	}
	return string(b)
}

// Object decodes the body, one JSON object.
func (r *Response) Object(t testing.TB) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(r.Body, &m); err != nil {
		t.Fatalf("no object: %v: %s", err, clip(r.Body))
	}
	return m
}

// IDs returns the ids of a list's items, in their order.
func (r *Response) IDs(t testing.TB) []string {
	t.Helper()
	var l struct {
		Items []struct {
			ID string `json:"id"`
		} `json:"items"`
	}
	if err := json.Unmarshal(r.Body, &l); err != nil || r.Status != http.StatusOK {
		t.Fatalf("no list: %d %s", r.Status, clip(r.Body))
	}
	ids := []string{}
	for _, it := range l.Items {
		ids = append(ids, it.ID)
	}
	return ids
}

// HTTP sends a request in the person's name, "" for nobody's, and reads the
// answer. body may be nil, a string or []byte (sent as they are), or anything
// that marshals to JSON. Headers follow as names and values.
func (w *World) HTTP(person ident.RecordID, method, path string, body any, headers ...string) *Response {
	w.t.Helper()
	tok := ""
	if person != "" {
		tok = w.Token(person)
	}
	return w.Send(tok, method, path, body, headers...)
}

// Send is HTTP with an access token, "" for none.
func (w *World) Send(tok, method, path string, body any, headers ...string) *Response {
	w.t.Helper()
	var rd io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		rd = strings.NewReader(b)
	case []byte:
		rd = bytes.NewReader(b)
	default:
		raw, err := json.Marshal(b)
		if err != nil {
			w.t.Fatal(err)
		}
		rd = bytes.NewReader(raw)
	}
	req := httptest.NewRequest(method, path, rd)
	if rd != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if tok != "" {
		req.Header.Set("Authorization", "Bearer "+tok)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := w.App.Test(req, -1)
	if err != nil {
		w.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return &Response{res.StatusCode, res.Header, b}
}
