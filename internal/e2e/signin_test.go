package e2e_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"satchel/internal/app"
	"satchel/internal/command"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/mobile-api/client"
	"satchel/server/courier"
	"satchel/server/push"
	"satchel/server/session/oidc"
	"satchel/server/session/oidc/oidctest"
	"satchel/sync/apply"
	"satchel/sync/tenant"
)

// logged collects everything a server logs.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logged) into(cfg *app.Config) {
	cfg.Log = slog.New(slog.NewJSONHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// authenticator is a person's app with their second factor.
type authenticator struct {
	s        *server
	secret   string
	recovery []string
}

// code is what the app shows.
func (a *authenticator) code() string {
	a.s.t.Helper()
	c, err := totp.GenerateCode(a.secret, a.s.clock.Now())
	if err != nil {
		a.s.t.Fatal(err)
	}
	return c
}

// next waits for the next code.
func (a *authenticator) next() string {
	a.s.clock.Advance(30 * time.Second)
	return a.code()
}

type enrolling struct {
	Secret    string `json:"secret"`
	URI       string `json:"uri"`
	Enrolment string `json:"enrolment"`
}

func (r *reply) recoveries(t testing.TB) []string {
	t.Helper()
	var out struct {
		Codes []string `json:"recoveryCodes"`
	}
	r.into(t, &out)
	return out.Codes
}

// enrol gives the person a second factor.
func (c *signIn) enrol() *authenticator {
	c.s.t.Helper()
	var e enrolling
	c.post("/v1/me/totp", map[string]any{"password": pass}).into(c.s.t, &e)
	a := &authenticator{s: c.s, secret: e.Secret}
	a.recovery = c.post("/v1/me/totp/confirm", map[string]any{"enrolment": e.Enrolment, "code": a.code()}).recoveries(c.s.t)
	return a
}

// challenge is the challenge of a sign-in.
func (r *reply) challenge(t testing.TB) string {
	t.Helper()
	r.want(t, 401, "second_factor_required")
	var p struct {
		Challenge string `json:"challenge"`
		ExpiresIn int    `json:"expiresIn"`
	}
	if err := json.Unmarshal(r.body, &p); err != nil || p.Challenge == "" || p.ExpiresIn != 300 {
		t.Fatalf("%s", r.body)
	}
	return p.Challenge
}

func (s *server) second(challenge string, kv ...any) *reply {
	s.t.Helper()
	body := map[string]any{"tenant": slug, "challenge": challenge}
	for i := 0; i < len(kv); i += 2 {
		body[kv[i].(string)] = kv[i+1]
	}
	return s.post("/v1/auth/second-factor", "", body)
}

// TestSecondFactor walks one person from enrolling to removing a second
// factor; nothing of it stands readable anywhere.
func TestSecondFactor(t *testing.T) {
	var logs logged
	s := newServer(t, logs.into)
	me := s.signIn(eve, "")
	me.post("/v1/me/totp", map[string]any{"password": "wrong"}).want(t, 401, "invalid_credentials")
	s.post("/v1/me/totp", "", map[string]any{"password": pass}).want(t, 401, "invalid_token")
	var e enrolling
	me.post("/v1/me/totp", map[string]any{"password": pass}).into(t, &e)
	if u, err := url.Parse(e.URI); err != nil || u.Query().Get("secret") != e.Secret || !strings.Contains(e.URI, "eve%40example.com") {
		t.Errorf("uri %s", e.URI)
	}
	// Not in force before a code came back, and only for the session that asked.
	s.login(eve, pass).want(t, 200, "")
	a := &authenticator{s: s, secret: e.Secret}
	me.post("/v1/me/totp/confirm", map[string]any{"enrolment": e.Enrolment, "code": "000000"}).want(t, 401, "invalid_code")
	other := s.signIn(eddie, "")
	other.post("/v1/me/totp/confirm", map[string]any{"enrolment": e.Enrolment, "code": a.code()}).want(t, 401, "challenge_expired")
	me.post("/v1/me/totp/confirm", map[string]any{"enrolment": e.Enrolment + "AAAA", "code": a.code()}).want(t, 401, "challenge_expired")
	a.recovery = me.post("/v1/me/totp/confirm", map[string]any{"enrolment": e.Enrolment, "code": a.code()}).recoveries(t)
	if len(a.recovery) != 10 || s.value(eve, "secondFactor") != "totp" {
		t.Fatalf("%d recovery codes, second factor %q", len(a.recovery), s.value(eve, "secondFactor"))
	}
	me.post("/v1/me/totp", map[string]any{"password": pass}).want(t, 409, "wrong_status")
	me.post("/v1/me/totp/confirm", map[string]any{"enrolment": e.Enrolment, "code": a.next()}).want(t, 409, "wrong_status")

	// A wrong password says nothing of it; the right one is not enough.
	s.login(eve, "wrong").want(t, 401, "invalid_credentials")
	ch := s.login(eve, pass).challenge(t)
	s.second(ch, "code", "123456").want(t, 401, "invalid_code")
	now := a.next()
	var in loginAnswer
	s.second(ch, "code", now).into(t, &in)
	(&signIn{s: s, access: in.Access}).post("/sync/v1/pull", map[string]any{}).want(t, 403, "device_required")
	// A code is good once, with whatever challenge, and so is a challenge.
	s.second(s.login(eve, pass).challenge(t), "code", now).want(t, 401, "invalid_code")
	s.second(ch, "code", a.next()).want(t, 401, "challenge_expired")
	// An earlier step is used up with the later one, though it is in the window.
	late := s.login(eve, pass).challenge(t)
	early := a.code()
	s.second(late, "code", a.next()).want(t, 200, "")
	s.second(s.login(eve, pass).challenge(t), "code", early).want(t, 401, "invalid_code")
	// Clocks that are half a minute off will do, in both directions; more won't.
	for off, ok := range map[time.Duration]bool{-30 * time.Second: true, 30 * time.Second: true, 2 * time.Minute: false, -2 * time.Minute: false} {
		s.clock.Advance(5 * time.Minute)
		c, err := totp.GenerateCode(a.secret, s.clock.Now().Add(off))
		if err != nil {
			t.Fatal(err)
		}
		if r := s.second(s.login(eve, pass).challenge(t), "code", c); (r.status == 200) != ok {
			t.Errorf("%v off: %d %s", off, r.status, r.body)
		}
	}
	// Recovery codes, once each, however they are typed.
	s.second(s.login(eve, pass).challenge(t), "recoveryCode", strings.ToUpper(a.recovery[0])).want(t, 200, "")
	s.second(s.login(eve, pass).challenge(t), "recoveryCode", a.recovery[0]).want(t, 401, "invalid_code")
	s.second(s.login(eve, pass).challenge(t), "recoveryCode", "aaaa-bbbb-cccc-dddd").want(t, 401, "invalid_code")
	s.clock.Advance(5 * time.Minute)
	r := s.second(s.login(eve, pass).challenge(t), "code", a.next())
	r.into(t, &in)
	me = &signIn{s: s, access: in.Access}
	fresh := me.post("/v1/me/totp/recovery-codes", map[string]any{"password": pass, "code": a.next()}).recoveries(t)
	s.second(s.login(eve, pass).challenge(t), "recoveryCode", a.recovery[1]).want(t, 401, "invalid_code")
	s.second(s.login(eve, pass).challenge(t), "recoveryCode", fresh[1]).want(t, 200, "")

	// Removing it takes password and code.
	me.post("/v1/me/totp/disable", map[string]any{"password": pass, "code": "123456"}).want(t, 401, "invalid_code")
	me.post("/v1/me/totp/disable", map[string]any{"password": "wrong", "code": a.next()}).want(t, 401, "invalid_credentials")
	me.post("/v1/me/totp/disable", map[string]any{"password": pass}).want(t, 422, "missing_field")
	me.post("/v1/me/totp/disable", map[string]any{"password": pass, "code": a.next()}).want(t, 204, "")
	s.login(eve, pass).want(t, 200, "")
	if s.value(eve, "secondFactor") != "" {
		t.Error("the record still says that there is one")
	}
	me.post("/v1/me/totp/disable", map[string]any{"password": pass, "code": a.next()}).want(t, 409, "wrong_status")

	raw, err := base32.StdEncoding.DecodeString(a.secret)
	if err != nil {
		t.Fatal(err)
	}
	file, told := readFile(t, s.backup()), logs.String()
	for what, secret := range map[string]string{
		"the secret": a.secret, "its bytes": string(raw), "its bytes in base64": base64.StdEncoding.EncodeToString(raw),
		"a recovery code": a.recovery[3], "its letters": strings.ReplaceAll(a.recovery[3], "-", ""), "a renewed one": fresh[0],
	} {
		if bytes.Contains(file, []byte(secret)) {
			t.Errorf("%s stands in the file", what)
		}
		if strings.Contains(told, secret) {
			t.Errorf("%s stands in the log", what)
		}
	}
	// The trail tells what was done, in the person's name, and nothing secret.
	for _, name := range []string{"enrolSecondFactor", "renewRecoveryCodes", "removeSecondFactor"} {
		if !bytes.Contains(file, []byte(name)) {
			t.Errorf("the trail does not tell %s", name)
		}
	}
}

// TestChallenges: a challenge is this person's on this device, as it was made,
// for five minutes and five codes; after that the password is asked for again.
func TestChallenges(t *testing.T) {
	s := newServer(t)
	a := s.signIn(eve, "").enrol()
	device := map[string]any{"installation": "eves-phone", "incarnation": "1", "name": "Phone"}
	challenge := func(body map[string]any) string {
		t.Helper()
		b := map[string]any{"tenant": slug, "email": email(eve), "password": pass}
		for k, v := range body {
			b[k] = v
		}
		return s.post("/v1/auth/login", "", b).challenge(t)
	}
	a.next()
	ch := challenge(map[string]any{"device": device})
	over := s.second("nonsense", "code", a.code(), "device", device).want(t, 401, "challenge_expired")
	for what, r := range map[string]*reply{
		"without the device":    s.second(ch, "code", a.code()),
		"on another device":     s.second(ch, "code", a.code(), "device", map[string]any{"installation": "another", "incarnation": "1"}),
		"on a restored device":  s.second(ch, "code", a.code(), "device", map[string]any{"installation": "eves-phone", "incarnation": "2"}),
		"for another tenant":    s.second(ch, "code", a.code(), "device", device, "tenant", "other"),
		"cut":                   s.second(ch[:len(ch)-2], "code", a.code(), "device", device),
		"longer":                s.second(ch+"AA", "code", a.code(), "device", device),
		"of another challenge":  s.second(ch[:40]+challenge(nil)[40:], "code", a.code(), "device", device),
		"which is an enrolment": s.second(func() string { return enrolment(t, s) }(), "code", a.code()),
	} {
		if r.status != 401 || !bytes.Equal(r.body, over.body) {
			t.Errorf("%s: %d %s", what, r.status, r.body)
		}
	}
	for i := range 20 {
		bad := []byte(ch)
		at := i * len(ch) / 20
		if bad[at]++; bad[at] > 'z' || bad[at] == '[' || bad[at] == ':' || bad[at] == '`' {
			bad[at] = 'A'
		}
		if r := s.second(string(bad), "code", a.code(), "device", device); !bytes.Equal(r.body, over.body) {
			t.Errorf("changed at %d: %d %s", at, r.status, r.body)
		}
	}
	// None of that used it up.
	s.second(ch, "code", a.code(), "device", device).want(t, 200, "")

	// Five codes.
	ch = challenge(map[string]any{"device": device})
	for range 5 {
		s.second(ch, "code", "000001", "device", device).want(t, 401, "invalid_code")
	}
	s.second(ch, "code", a.next(), "device", device).want(t, 401, "challenge_expired")
	// Five minutes.
	ch = challenge(nil)
	s.clock.Advance(5*time.Minute + time.Second)
	s.second(ch, "code", a.next()).want(t, 401, "challenge_expired")
	// As long as the password is the one it was made with.
	ch = challenge(nil)
	s.password(eve, chosen)
	s.second(ch, "code", a.next()).want(t, 401, "challenge_expired")
	s.password(eve, pass)
	// As long as the person may sign in at all.
	ch = challenge(nil)
	s.Write(ada, command.Write{Op: "action", Type: "employee", ID: eve, Action: "disable"})
	s.second(ch, "code", a.next()).want(t, 401, "challenge_expired")
	s.Write(ada, command.Write{Op: "action", Type: "employee", ID: eve, Action: "enable"})
	// And for this process.
	ch = challenge(nil)
	s.restart()
	s.second(ch, "code", a.next()).want(t, 401, "challenge_expired")
	s.second(challenge(nil), "code", a.next()).want(t, 200, "")
	for what, body := range map[string]string{
		"nothing":   `{"tenant":"acme","challenge":"x"}`,
		"both":      `{"tenant":"acme","challenge":"x","code":"123456","recoveryCode":"aaaa-bbbb-cccc-dddd"}`,
		"a number":  `{"tenant":"acme","challenge":"x","code":123456}`,
		"a novel":   `{"tenant":"acme","challenge":"` + strings.Repeat("x", 5000) + `","code":"123456"}`,
		"no tenant": `{"challenge":"x","code":"123456"}`,
		"more":      `{"tenant":"acme","challenge":"x","code":"123456","x":1}`,
	} {
		if r := s.post("/v1/auth/second-factor", "", body); r.status != 422 && r.status != 400 {
			t.Errorf("%s: %d %s", what, r.status, r.body)
		}
	}
}

// password gives a person a password as an operator does.
func (s *server) password(who ident.RecordID, pw string) {
	s.t.Helper()
	hash, err := s.app.Hasher().Hash(context.Background(), pw)
	if err != nil {
		s.t.Fatal(err)
	}
	s.Do(&command.Command{Secret: &command.Secret{Employee: who, Hash: hash}})
}

// enrolment is a sealed value of another purpose.
func enrolment(t *testing.T, s *server) string {
	t.Helper()
	var e enrolling
	s.signIn(mia, "").post("/v1/me/totp", map[string]any{"password": pass}).into(t, &e)
	return e.Enrolment
}

// TestGuessedCodes: codes can't be guessed on challenge after challenge, and
// whoever tries locks nobody out.
func TestGuessedCodes(t *testing.T) {
	s := newServer(t)
	device := map[string]any{"installation": "eves-phone", "incarnation": "1", "name": "Phone"}
	s.signIn(eve, "eves-phone")
	a := s.signIn(eve, "").enrol()
	tries := 0
	for {
		r := s.second(s.login(eve, pass).challenge(t), "code", "000001")
		if r.status == 429 {
			if r.header.Get("Retry-After") == "" || r.code() != "too_many_requests" {
				t.Errorf("%v %s", r.header, r.body)
			}
			break
		}
		r.want(t, 401, "invalid_code")
		if tries++; tries > 20 {
			t.Fatal("codes are guessed without end")
		}
	}
	ch := s.post("/v1/auth/login", "", map[string]any{"tenant": slug, "email": email(eve), "password": pass, "device": device}).challenge(t)
	s.second(ch, "code", a.next(), "device", device).want(t, 200, "")
	s.second(s.login(eve, pass).challenge(t), "recoveryCode", a.recovery[0]).want(t, 200, "")
	if r := s.second(s.login(eve, pass).challenge(t), "code", a.next()); r.status != 429 {
		t.Errorf("the guesser goes on: %d", r.status)
	}
	s.clock.Advance(10 * time.Minute)
	s.second(s.login(eve, pass).challenge(t), "code", a.next()).want(t, 200, "")
}

// TestSameCodeAtOnce: of many who come with one code at once one is let in.
func TestSameCodeAtOnce(t *testing.T) {
	s := newServer(t)
	a := s.signIn(eve, "").enrol()
	code := a.next()
	var chs []string
	for range 6 {
		chs = append(chs, s.login(eve, pass).challenge(t))
	}
	var wg sync.WaitGroup
	statuses := make([]int, len(chs))
	for i, ch := range chs {
		wg.Add(1)
		go func() {
			defer wg.Done()
			statuses[i] = s.second(ch, "code", code).status
		}()
	}
	wg.Wait()
	slices.Sort(statuses)
	if statuses[0] != 200 || statuses[1] != 401 || statuses[5] != 401 {
		t.Errorf("answered %v", statuses)
	}
}

// TestAdministratorsNeedOne: once the tenant demands it, administrators choose a
// second factor while signing in, can't remove it, and their older sessions
// are over at the next refresh; nobody else notices.
func TestAdministratorsNeedOne(t *testing.T) {
	s := newServer(t)
	admin, office := s.signIn(ada, ""), s.signIn(mia, "")
	s.Import(Row("setting", "setting-factor-1", "key", "second-factor-for-administrators", "on", true))
	office.post("/v1/auth/refresh", map[string]any{"refreshToken": office.refresh}).want(t, 200, "")
	admin.post("/v1/auth/refresh", map[string]any{"refreshToken": admin.refresh}).want(t, 401, "session_revoked")
	s.login(mia, pass).want(t, 200, "")
	r := s.login(ada, pass)
	ch := r.challenge(t)
	var p struct {
		Enrol enrolling `json:"enrol"`
	}
	if err := json.Unmarshal(r.body, &p); err != nil || p.Enrol.Secret == "" {
		t.Fatalf("%s", r.body)
	}
	a := &authenticator{s: s, secret: p.Enrol.Secret}
	s.second(ch, "recoveryCode", "aaaa-bbbb-cccc-dddd").want(t, 401, "invalid_code")
	s.second(ch, "code", "000001").want(t, 401, "invalid_code")
	// A second enrolment that was begun beside it comes too late.
	beside := s.login(ada, pass).challenge(t)
	var in loginAnswer
	done := s.second(ch, "code", a.code())
	done.into(t, &in)
	if len(done.recoveries(t)) != 10 {
		t.Errorf("%s", done.body)
	}
	s.second(beside, "code", a.next()).want(t, 401, "challenge_expired")
	admin = &signIn{s: s, access: in.Access, refresh: in.Refresh}
	admin.post("/v1/me/totp/disable", map[string]any{"password": pass, "code": a.next()}).want(t, 403, "not_allowed")
	admin.post("/v1/auth/refresh", map[string]any{"refreshToken": in.Refresh}).want(t, 200, "")
	s.second(s.login(ada, pass).challenge(t), "code", a.next()).want(t, 200, "")
	// Switched off, they may do without.
	s.Import(Row("setting", "setting-factor-1", "on", false))
	admin.post("/v1/me/totp/disable", map[string]any{"password": pass, "code": a.next()}).want(t, 204, "")
	s.login(ada, pass).want(t, 200, "")
}

// TestResetByAdministrator: administrators free somebody who lost the second
// factor, others don't, and nobody does for themselves.
func TestResetByAdministrator(t *testing.T) {
	s := newServer(t)
	s.signIn(eve, "").enrol()
	admin := s.signIn(ada, "")
	admin.enrol()
	s.login(eve, pass).challenge(t)
	body := map[string]any{"employee": eve}
	s.post("/v1/auth/second-factor/reset", "", body).want(t, 401, "invalid_token")
	s.signIn(mia, "").post("/v1/auth/second-factor/reset", body).want(t, 403, "not_allowed")
	s.signIn(ron, "").post("/v1/auth/second-factor/reset", map[string]any{"employee": ada}).want(t, 404, "not_found")
	admin.post("/v1/auth/second-factor/reset", map[string]any{"employee": ada}).want(t, 403, "not_allowed")
	admin.post("/v1/auth/second-factor/reset", map[string]any{"employee": "client-one"}).want(t, 404, "not_found")
	admin.post("/v1/auth/second-factor/reset", map[string]any{}).want(t, 422, "missing_field")
	admin.post("/v1/auth/second-factor/reset", body).want(t, 204, "")
	s.login(eve, pass).want(t, 200, "")
	if s.value(eve, "secondFactor") != "" {
		t.Error("the record still says that there is one")
	}
	admin.post("/v1/auth/second-factor/reset", body).want(t, 204, "")
	r := admin.get("/v1/admin/audit?record=" + eve)
	if r.status != 200 || !bytes.Contains(r.body, []byte(`"resetSecondFactor"`)) || !bytes.Contains(r.body, []byte(`"enrolSecondFactor"`)) {
		t.Errorf("the trail does not tell: %d %s", r.status, r.body)
	}
}

func (c *signIn) get(path string) *reply {
	c.s.t.Helper()
	req, err := http.NewRequest(http.MethodGet, c.s.url+path, nil)
	if err != nil {
		c.s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+c.access)
	res, err := c.s.http.RoundTrip(req)
	if err != nil {
		c.s.t.Fatal(err)
	}
	defer res.Body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(res.Body); err != nil {
		c.s.t.Fatal(err)
	}
	return &reply{res.StatusCode, res.Header, b.Bytes()}
}

// TestPhoneWithSecondFactor: the client package signs in with one.
func TestPhoneWithSecondFactor(t *testing.T) {
	s := newServer(t)
	p := s.phone(eve, "field")
	a := s.signIn(eve, "").enrol()
	ctx := context.Background()
	if err := p.Logout(ctx); err != nil {
		t.Fatal(err)
	}
	challenge, ok := client.ChallengeOf(p.Login(ctx, email(eve), pass))
	if !ok || challenge.Enrol != nil {
		t.Fatalf("%+v, %v", challenge, ok)
	}
	if _, err := p.SecondFactor(ctx, challenge, "000001"); err == nil {
		t.Fatal("any code is taken")
	}
	if _, err := p.SecondFactor(ctx, challenge, a.next()); err != nil {
		t.Fatal(err)
	}
	p.sync()
	if err := p.Logout(ctx); err != nil {
		t.Fatal(err)
	}
	challenge, _ = client.ChallengeOf(p.Login(ctx, email(eve), pass))
	if _, err := p.SecondFactor(ctx, challenge, a.recovery[0]); err != nil {
		t.Fatal(err)
	}
	p.sync()
	// One is chosen while signing in where it is needed.
	s.Import(Row("setting", "setting-factor-1", "key", "second-factor-for-administrators", "on", true))
	q := &phone{s: s, t: t, who: ada, mem: client.NewMemory(), opts: client.Options{Server: s.url, Tenant: slug, Transport: s.http, Clock: s.clock.Now}}
	q.open()
	t.Cleanup(func() { _ = q.Close() })
	challenge, ok = client.ChallengeOf(q.Login(ctx, email(ada), pass))
	if !ok || challenge.Enrol == nil {
		t.Fatalf("%+v, %v", challenge, ok)
	}
	b := &authenticator{s: s, secret: challenge.Enrol.Secret}
	recovery, err := q.SecondFactor(ctx, challenge, b.code())
	if err != nil || len(recovery) != 10 {
		t.Fatalf("%d recovery codes, %v", len(recovery), err)
	}
	q.sync()
}

// letters keeps the mails with a token that it is given.
type letters struct {
	mu   sync.Mutex
	sent []courier.Letter
	// wait, where there is one, is waited for before a mail is taken; called is
	// told then.
	called, wait chan struct{}
}

// mailing has a server send its mail there.
func (l *letters) mailing(c *app.Config) { c.Letters, c.PublicURL = l, "https://work.example" }

func (l *letters) Mail(ctx context.Context, m courier.Letter) push.Outcome {
	if !strings.Contains(m.Text, "/accept-invitation#") {
		return push.Outcome{Kind: push.Sent}
	}
	if l.wait != nil {
		l.called <- struct{}{}
		select {
		case <-l.wait:
		case <-ctx.Done():
			return push.Outcome{Kind: push.Retry}
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent = append(l.sent, m)
	return push.Outcome{Kind: push.Sent}
}

func (l *letters) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.sent)
}

func (l *letters) last() courier.Letter { return l.nth(l.count() - 1) }

func (l *letters) nth(i int) courier.Letter {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sent[i]
}

// tokenOf is the token in a mail's link.
func tokenOf(t testing.TB, m courier.Letter) string {
	t.Helper()
	_, fragment, _ := strings.Cut(m.Text, "https://work.example/accept-invitation#")
	fragment, _, _ = strings.Cut(fragment, "\n")
	q, err := url.ParseQuery(strings.TrimSpace(fragment))
	if err != nil || q.Get("tenant") != slug || len(q.Get("token")) != 43 {
		t.Fatalf("text %q", m.Text)
	}
	return q.Get("token")
}

func (s *server) forgot(address string) *reply {
	s.t.Helper()
	return s.post("/v1/auth/reset", "", map[string]any{"tenant": slug, "email": address})
}

// TestForgottenPassword: whoever forgot the password is sent a token; nobody
// learns from the answer whether there is such a person.
func TestForgottenPassword(t *testing.T) {
	var logs logged
	mails := &letters{}
	s := newServer(t, logs.into, mails.mailing)
	s.Import(
		Row("preference", "pref-eve-1", "owner", eve, "key", "language", "value", "de-AT"),
		Row("employee", "emp-gone-1", "name", "Gone", "email", email("emp-gone-1"), "kind", "in-house", "status", "Disabled"),
		Row("employee", "emp-bare-1", "name", "Bare", "email", email("emp-bare-1"), "kind", "in-house", "status", "Active"))
	s.invited()
	s.password("emp-gone-1", pass)
	first := s.forgot("nobody@example.com")
	for _, address := range []string{"nobody@example.com", email("emp-gone-1"), email("emp-bare-1"), email(newcomer), "not an address", email(eve)} {
		if r := s.forgot(address); r.status != 202 || !bytes.Equal(r.body, first.body) {
			t.Errorf("%s: %d %s", address, r.status, r.body)
		}
	}
	if r := s.post("/v1/auth/reset", "", map[string]any{"tenant": "other", "email": email(eve)}); r.status != 202 {
		t.Errorf("a tenant that is none: %d", r.status)
	}
	soon(t, "the mail is sent", func() bool { return mails.count() > 0 })
	m := mails.last()
	if m.Subject != "Neues Passwort wählen" || m.To != email(eve) || m.Key == "" || strings.Contains(m.Key, tokenOf(t, m)) {
		t.Errorf("%+v", m)
	}
	if s.value(eve, "invitedAt") != "" {
		t.Error("a stranger changed a record")
	}
	p := s.signIn(eve, "")
	s.accept(tokenOf(t, m), chosen).want(t, 204, "")
	s.login(eve, chosen).want(t, 200, "")
	s.login(eve, pass).want(t, 401, "invalid_credentials")
	p.post("/v1/me/totp", map[string]any{"password": chosen}).want(t, 401, "session_revoked")
	s.accept(tokenOf(t, m), "another one then").want(t, 401, "invalid_credentials")
	if mails.count() != 1 {
		t.Errorf("%d mails", mails.count())
	}
	// The address of the mail is the record's, whatever spelling was asked with.
	s.clock.Advance(time.Hour)
	if r := s.forgot("EVE@Example.com"); r.status != 202 {
		t.Fatal(r.status)
	}
	soon(t, "a second mail", func() bool { return mails.count() == 2 })
	older := mails.last()
	if older.To != email(eve) || older.Key == m.Key {
		t.Errorf("sent to %s", older.To)
	}
	// An administrator's invitation is left alone by it.
	s.signIn(ada, "").post("/v1/auth/invitations", map[string]any{"employee": eve}).want(t, 201, "")
	soon(t, "the invitation's mail", func() bool { return mails.count() == 3 })
	s.forgot(email(eve))
	soon(t, "mails of both", func() bool { return mails.count() == 4 })
	s.accept(tokenOf(t, older), "x long enough").want(t, 401, "invalid_credentials")
	s.clock.Advance(time.Hour)
	if r := s.accept(tokenOf(t, mails.last()), "x long enough"); r.status != 401 {
		t.Error("a reset is good after an hour")
	}
	invitation := mails.nth(2)
	if invitation.Subject != "Ihr Zugang zu Satchel" {
		t.Fatalf("%+v", invitation)
	}
	s.accept(tokenOf(t, invitation), pass).want(t, 204, "")
	// Nothing of it stands readable anywhere; the trail tells that it was asked.
	file := readFile(t, s.backup())
	for _, m := range mails.sent {
		tok := tokenOf(t, m)
		if bytes.Contains(file, []byte(tok)) || strings.Contains(logs.String(), tok) {
			t.Error("a token stands in the file or the log")
		}
	}
	if strings.Contains(logs.String(), "example.com") {
		t.Errorf("an address stands in the log:\n%s", logs.String())
	}
	if !bytes.Contains(file, []byte("requestPasswordReset")) {
		t.Error("the trail does not tell")
	}
	for _, body := range []string{``, `{}`, `{"tenant":"acme"}`, `{"email":"x"}`, `{"tenant":"acme","email":"x","x":1}`, `{"tenant":"acme","email":"` + strings.Repeat("x", 500) + `"}`} {
		if r := s.post("/v1/auth/reset", "", body); r.status < 400 || r.status >= 500 {
			t.Errorf("%.60s: %d", body, r.status)
		}
	}
}

// TestMailsAreFew: nobody's mailbox is filled by asking again, and nobody asks
// for everybody.
func TestMailsAreFew(t *testing.T) {
	mails := &letters{}
	s := newServer(t, mails.mailing)
	for i := range 10 {
		s.forgot(email(eve)).want(t, 202, "")
		if i < 3 { // one that another follows before it went out is not sent
			soon(t, "a mail", func() bool { return mails.count() == i+1 })
		}
	}
	s.forgot(email(mia))
	soon(t, "the other's mail", func() bool { return mails.last().To == email(mia) || mails.count() > 4 })
	if n := mails.count(); n != 4 {
		t.Errorf("%d mails, want three and one", n)
	}
	for i := range 30 {
		if r := s.forgot(fmt.Sprintf("x%d@example.com", i)); r.status == 429 {
			if r.header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
			return
		}
	}
	t.Error("one address asks for everybody")
}

// TestResetWithoutMail: where no mail is sent the answer is the same.
func TestResetWithoutMail(t *testing.T) {
	s := newServer(t)
	for _, address := range []string{email(eve), "nobody@example.com"} {
		s.forgot(address).want(t, 202, "")
	}
	in := s.signIn(ada, "").invite(eve)
	if in.Token == "" || in.Mailed {
		t.Errorf("%+v", in)
	}
}

// TestResetDoesNotWait: nobody's answer waits for a mail, and a mail that was
// not taken when the server ended is the same one when it goes on.
func TestResetDoesNotWait(t *testing.T) {
	t.Parallel() // the server's end waits for the mail as long as it may
	mails := &letters{called: make(chan struct{}, 10), wait: make(chan struct{})}
	s := newServer(t, mails.mailing)
	s.forgot(email(eve)).want(t, 202, "")
	<-mails.called // while it waits, others are answered
	s.forgot(email(mia)).want(t, 202, "")
	s.forgot("nobody@example.com").want(t, 202, "")
	<-mails.called
	s.restart()
	<-mails.called
	<-mails.called
	close(mails.wait)
	soon(t, "both mails", func() bool { return mails.count() == 2 })
	for i := range 2 {
		if m := mails.nth(i); m.To == email(eve) {
			s.accept(tokenOf(t, m), chosen).want(t, 204, "")
		}
	}
	s.login(eve, chosen).want(t, 200, "")
}

// TestMailedInvitations: where mails are sent, the inviter is not told the
// token, unless mail to that address is known to come back.
func TestMailedInvitations(t *testing.T) {
	mails := &letters{}
	s := newServer(t, mails.mailing)
	s.invited()
	admin := s.signIn(ada, "")
	in := admin.invite(newcomer)
	if in.Token != "" || in.Path != "" || !in.Mailed || in.Expires == "" {
		t.Errorf("%+v", in)
	}
	soon(t, "the mail", func() bool { return mails.count() == 1 })
	s.accept(tokenOf(t, mails.last()), chosen).want(t, 204, "")
	s.login(newcomer, chosen).want(t, 200, "")
	s.Do(&command.Command{Deliver: &command.Deliver{Bounces: []command.Bounce{
		{Person: newcomer, Address: apply.AddressDigest(email(newcomer)), Mail: "m", Permanent: true},
	}}})
	in = admin.invite(newcomer)
	if in.Token == "" || in.Path == "" || in.Mailed {
		t.Errorf("%+v", in)
	}
	s.accept(in.Token, "another one then").want(t, 204, "")
	if n := mails.count(); n != 1 {
		t.Errorf("%d mails", n)
	}
	s.forgot(email(newcomer)).want(t, 202, "")
	s.forgot(email(mia)).want(t, 202, "")
	soon(t, "the other's mail", func() bool { return mails.count() == 2 && mails.last().To == email(mia) })
}

// TestGuessedPasswords: guessing is slowed down by account and address, the
// same for people that are not there; phones go on, and nobody is locked out
// for good.
func TestGuessedPasswords(t *testing.T) {
	s := newServer(t)
	device := map[string]any{"installation": "eves-phone", "incarnation": "1", "name": "Phone"}
	s.signIn(eve, "eves-phone")
	until := func(address string) int {
		for n := range 40 {
			r := s.post("/v1/auth/login", "", map[string]any{"tenant": slug, "email": address, "password": "guess"})
			if r.status == 429 {
				if w, err := strconv.Atoi(r.header.Get("Retry-After")); err != nil || w < 1 || w > 60 {
					t.Errorf("Retry-After %q", r.header.Get("Retry-After"))
				}
				return n
			}
			r.want(t, 401, "invalid_credentials")
		}
		return -1
	}
	there, nobody := until(email(eve)), until("nobody@example.com")
	if there != 10 || nobody != there {
		t.Errorf("after %d guesses, %d where there is nobody", there, nobody)
	}
	// In capitals it is the same account.
	if r := s.post("/v1/auth/login", "", map[string]any{"tenant": slug, "email": "EVE@EXAMPLE.COM", "password": pass}); r.status != 429 {
		t.Errorf("in capitals: %d", r.status)
	}
	s.login(mia, pass).want(t, 200, "")
	// The person's own phone is not held up, by password or refresh.
	s.post("/v1/auth/login", "", map[string]any{"tenant": slug, "email": email(eve), "password": pass, "device": device}).want(t, 200, "")
	known := s.signIn(eve, "eves-phone")
	s.post("/v1/auth/refresh", "", map[string]any{"refreshToken": known.refresh}).want(t, 200, "")
	// An attacker can't take that way without knowing the installation.
	if r := s.post("/v1/auth/login", "", map[string]any{
		"tenant": slug, "email": email(eve), "password": pass, "device": map[string]any{"installation": "a-guess", "incarnation": "1"},
	}); r.status != 429 {
		t.Errorf("from an unknown device: %d", r.status)
	}
	s.clock.Advance(time.Minute)
	s.login(eve, pass).want(t, 200, "")
	// Right passwords are never too many.
	for range 30 {
		s.login(mia, pass).want(t, 200, "")
	}
	// Failures of an address add up whatever they are tried at.
	for n := range 200 {
		r := s.post("/v1/auth/login", "", map[string]any{"tenant": slug, "email": fmt.Sprintf("x%d@example.com", n), "password": "guess"})
		if n%2 == 1 {
			r = s.accept("no token", "long enough")
		}
		if r.status != 429 {
			continue
		}
		if n < 50 {
			t.Errorf("an address may fail only %d times", n)
		}
		s.post("/v1/auth/refresh", "", map[string]any{"refreshToken": "rt1.acme_x." + strings.Repeat("A", 43)}).want(t, 429, "too_many_requests")
		s.post("/v1/auth/refresh", "", map[string]any{"refreshToken": s.signIn(eve, "eves-phone").refresh}).want(t, 200, "")
		return
	}
	t.Error("an address fails without end")
}

// TestProxies: who a request comes from is the connection's other end, unless
// that is a proxy that is trusted; what a client writes into the header itself
// counts for nothing.
func TestProxies(t *testing.T) {
	for what, c := range map[string]struct {
		trusted []netip.Prefix
		header  func(n int) string
		slowed  bool
	}{
		"invented, nobody trusted": {nil, func(n int) string { return fmt.Sprintf("198.51.100.%d", n) }, true},
		"one client of a proxy":    {[]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, func(n int) string { return fmt.Sprintf("203.0.113.%d, 198.51.100.7", n) }, true},
		"many clients of a proxy":  {[]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, func(n int) string { return fmt.Sprintf("198.51.100.%d", n) }, false},
	} {
		var logs logged
		s := newServer(t, logs.into, func(cfg *app.Config) { cfg.TrustedProxies = c.trusted })
		slowed := false
		for n := range 14 {
			r := s.post("/v1/auth/login", "", map[string]any{"tenant": slug, "email": email(eve), "password": "guess"}, "X-Forwarded-For", c.header(n))
			slowed = slowed || r.status == 429
		}
		if slowed != c.slowed {
			t.Errorf("%s: slowed %v", what, slowed)
		}
		if warned := strings.Count(logs.String(), "trustedProxies"); (warned == 1) != (c.trusted == nil) {
			t.Errorf("%s: warned %d times", what, warned)
		}
	}
}

// browser is a person's system browser, which never sees what apps keep.
type browser struct {
	*http.Client
	t testing.TB
}

func (s *server) browser() *browser {
	s.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return &browser{&http.Client{
		Transport: s.http, Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, s.t}
}

// visit returns where the browser is sent, and the answer's status.
func (b *browser) visit(address string) (string, *reply) {
	b.t.Helper()
	res, err := b.Get(address)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	var body bytes.Buffer
	if _, err := body.ReadFrom(res.Body); err != nil {
		b.t.Fatal(err)
	}
	return res.Header.Get("Location"), &reply{res.StatusCode, res.Header, body.Bytes()}
}

const loopback = "http://127.0.0.1:49152/callback"

// withProvider serves with an identity provider.
func withProvider(t testing.TB, setup ...func(*app.Config)) (*server, *oidctest.Provider) {
	t.Helper()
	ahead := &clock{}
	idp := oidctest.New(t, func() time.Time { return ahead.Now() })
	s := newServer(t, append(setup, func(c *app.Config) {
		c.PublicURL = "http://" + c.Listen
		c.OIDC = map[ident.TenantID]oidc.Config{slug: {
			Issuer: idp.URL, ClientID: oidctest.ClientID, ClientSecret: oidctest.ClientSecret, AllowLoopbackHTTP: true,
			RedirectURIs: []string{client.LoopbackRedirect, "com.example.satchel:/oauth"},
		}}
	})...)
	return s, idp
}

const verifier = "a-verifier-of-an-app-with-forty-three-characters-or-more"

func (s *server) authorizeURL(kv ...string) string {
	sum := sha256.Sum256([]byte(verifier))
	q := url.Values{
		"tenant": {slug}, "redirect_uri": {loopback}, "response_type": {"code"}, "state": {"state of the app"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}
	for i := 0; i < len(kv); i += 2 {
		if q.Set(kv[i], kv[i+1]); kv[i+1] == "" {
			q.Del(kv[i])
		}
	}
	return s.url + "/v1/auth/oidc/authorize?" + q.Encode()
}

func claims(sub, email string) map[string]any {
	return map[string]any{"sub": sub, "email": email, "email_verified": true}
}

// through takes the browser through a sign-in and returns what the app is told.
func (s *server) through(idp *oidctest.Provider, person map[string]any) url.Values {
	s.t.Helper()
	b := s.browser()
	to, r := b.visit(s.authorizeURL())
	if r.status != 302 {
		s.t.Fatalf("authorize: %d %s", r.status, r.body)
	}
	back, r := b.visit(idp.SignIn(to, person))
	u, err := url.Parse(back)
	if err != nil || r.status != 302 || !strings.HasPrefix(back, loopback+"?") {
		s.t.Fatalf("callback: %d, to %q: %s", r.status, back, r.body)
	}
	if u.Query().Get("state") != "state of the app" {
		s.t.Fatalf("the app's state came back as %q", u.Query().Get("state"))
	}
	return u.Query()
}

func (s *server) redeem(code string, kv ...any) *reply {
	s.t.Helper()
	body := map[string]any{"tenant": slug, "code": code, "code_verifier": verifier}
	for i := 0; i < len(kv); i += 2 {
		body[kv[i].(string)] = kv[i+1]
	}
	return s.post("/v1/auth/oidc/token", "", body)
}

// TestProviderSignIn: the first sign-in ties the account to the person by the
// verified address, later ones go by the account alone.
func TestProviderSignIn(t *testing.T) {
	var logs logged
	s, idp := withProvider(t, logs.into)
	q := s.through(idp, claims("subject-of-eve", "Eve@Example.com"))
	var in loginAnswer
	s.redeem(q.Get("code"), "device", map[string]any{"installation": "eves-phone", "incarnation": "1", "name": "Phone"}).into(t, &in)
	if in.User.ID != eve || in.Device.ID == "" || in.Device.Prefix == "" {
		t.Fatalf("%+v", in)
	}
	(&signIn{s: s, access: in.Access}).pull(map[string]any{})
	s.post("/v1/auth/refresh", "", map[string]any{"refreshToken": in.Refresh}).want(t, 200, "")
	if got := s.value(eve, "oidcSubject"); got != idp.URL+" subject-of-eve" {
		t.Errorf("tied to %q", got)
	}
	// The address has served: another one, or somebody else's, changes nothing.
	q = s.through(idp, claims("subject-of-eve", email(mia)))
	s.redeem(q.Get("code")).into(t, &in)
	if in.User.ID != eve {
		t.Errorf("signed in as %s", in.User.ID)
	}
	// A second factor of ours is not asked for; by password it is.
	s.signIn(eve, "").enrol()
	s.login(eve, pass).challenge(t)
	s.redeem(s.through(idp, claims("subject-of-eve", email(eve))).Get("code")).want(t, 200, "")
	// It counts as one where administrators need it.
	s.Import(Row("setting", "setting-factor-1", "key", "second-factor-for-administrators", "on", true))
	s.redeem(s.through(idp, claims("subject-of-ada", email(ada))).Get("code")).into(t, &in)
	s.post("/v1/auth/refresh", "", map[string]any{"refreshToken": in.Refresh}).want(t, 200, "")
	// The trail tells, in the person's name.
	r := (&signIn{s: s, access: in.Access}).get("/v1/admin/audit?record=" + eve)
	if !bytes.Contains(r.body, []byte(`"tieIdentity"`)) {
		t.Errorf("the trail does not tell: %s", r.body)
	}
	for _, secret := range []string{oidctest.ClientSecret, q.Get("code"), in.Access, in.Refresh, verifier, "subject-of", "example.com"} {
		if strings.Contains(logs.String(), secret) {
			t.Errorf("%q stands in the log", secret)
		}
	}
}

// TestProviderStrangers: whoever may not sign in is told the same, whatever the
// reason, and nothing is made.
func TestProviderStrangers(t *testing.T) {
	s, idp := withProvider(t)
	s.Import(
		Row("employee", "emp-gone-1", "name", "Gone", "email", email("emp-gone-1"), "kind", "in-house", "status", "Disabled"),
		Row("employee", "emp-kim-1", "name", "Kim", "email", "kim@example.com", "kind", "in-house", "status", "Active"))
	s.invited()
	s.redeem(s.through(idp, claims("subject-of-mia", email(mia))).Get("code")).want(t, 200, "")
	before := position(s)
	unverified := claims("new", email(eve))
	unverified["email_verified"] = false
	for what, person := range map[string]map[string]any{
		"nobody's address":               claims("new", "nobody@example.com"),
		"an address nobody verified":     unverified,
		"no address":                     {"sub": "new"},
		"a disabled person":              claims("new", email("emp-gone-1")),
		"an invited person":              claims("new", email(newcomer)),
		"another account of one's":       claims("new", email(mia)),
		"an account in another case":     claims("Subject-Of-Mia", "nobody@example.com"),
		"an address that folds to it":    claims("new", "\u212aim@example.com"), // the sign for kelvin
		"a subject like another's":       claims("subject-of-mia ", "nobody@example.com"),
		"an address with a space behind": claims("new", email(eve)+" "),
	} {
		q := s.through(idp, person)
		if q.Get("error") != "access_denied" || q.Has("code") || len(q) != 3 {
			t.Errorf("%s: %v", what, q)
		}
	}
	if after := position(s); after != before {
		t.Errorf("something was written: %d, %d before", after, before)
	}
	// Disabled between the callback and the token; tied to somebody else meanwhile.
	code := s.through(idp, claims("subject-of-mia", email(mia))).Get("code")
	s.Write(ada, command.Write{Op: "action", Type: "employee", ID: mia, Action: "disable"})
	first := s.redeem(code).want(t, 401, "sign_in_refused")
	if q := s.through(idp, claims("subject-of-mia", email(eve))); q.Get("error") != "access_denied" {
		t.Errorf("a disabled person's account is somebody else's: %v", q)
	}
	if r := s.redeem("nonsense"); r.status != 401 || !bytes.Equal(r.body, first.body) {
		t.Errorf("%d %s", r.status, r.body)
	}
	s.Write(ada, command.Write{Op: "action", Type: "employee", ID: mia, Action: "enable"})
	// An administrator unties the account, and the next one may be tied.
	admin := s.signIn(ada, "")
	s.signIn(eve, "").post("/v1/auth/oidc/reset", map[string]any{"employee": mia}).want(t, 404, "not_found")
	admin.post("/v1/auth/oidc/reset", map[string]any{"employee": mia}).want(t, 204, "")
	s.redeem(s.through(idp, claims("new account", email(mia))).Get("code")).want(t, 200, "")
}

// position is how much was ever written.
func position(s *server) (n ident.Position) {
	s.read(func(v *tenant.View) { n = v.Position() })
	return n
}

// TestProviderFlows: what can be tried with authorize, callback and token.
func TestProviderFlows(t *testing.T) {
	s, idp := withProvider(t)
	b := s.browser()
	// Nobody is sent anywhere by a request that is not right.
	for what, kv := range map[string][]string{
		"another address": {"redirect_uri", "https://evil.example.com/"}, "another path": {"redirect_uri", loopback + "/more"},
		"no address": {"redirect_uri", ""}, "no state": {"state", ""}, "no challenge": {"code_challenge", ""}, "plain": {"code_challenge_method", "plain"},
		"no method": {"code_challenge_method", ""}, "a token at once": {"response_type", "token"}, "no tenant": {"tenant", ""}, "another tenant": {"tenant", "other"},
	} {
		if to, r := b.visit(s.authorizeURL(kv...)); to != "" || r.status != 400 && r.status != 401 || r.code() == "" {
			t.Errorf("%s: %d, to %q: %s", what, r.status, to, r.body)
		}
	}
	if to, r := b.visit(s.authorizeURL() + "&redirect_uri=https://evil.example.com/"); to != "" || r.status != 400 {
		t.Errorf("two addresses: %d, to %q", r.status, to)
	}
	if to, r := b.visit(s.authorizeURL("redirect_uri", "com.example.satchel:/oauth")); r.status != 302 || !strings.HasPrefix(to, idp.URL) {
		t.Errorf("an app's own scheme: %d, to %q", r.status, to)
	}
	// Someone else's browser, no browser, used before, changed.
	to, r := b.visit(s.authorizeURL())
	if c := r.header.Get("Set-Cookie"); !strings.Contains(c, "HttpOnly") || !strings.Contains(c, "SameSite=Lax") || !strings.Contains(strings.ToLower(c), "path=/v1/auth/oidc/callback/") {
		t.Errorf("cookie %q", c)
	}
	back := idp.SignIn(to, claims("subject-of-eve", email(eve)))
	first := s.visitRaw(back).want(t, 401, "sign_in_refused")
	if to, r := s.browser().visit(back); to != "" || !bytes.Equal(r.body, first.body) {
		t.Errorf("in another browser: %d, to %q", r.status, to)
	}
	for _, bad := range []string{
		s.url + "/v1/auth/oidc/callback/acme", s.url + "/v1/auth/oidc/callback/acme?code=x", s.url + "/v1/auth/oidc/callback/acme?code=x&state=x",
		strings.Replace(back, "/callback/acme", "/callback/other", 1), back + "&state=x", s.url + "/v1/auth/oidc/callback/acme?error=x&error_description=<script>",
	} {
		if to, r := b.visit(bad); to != "" || r.status != 401 && r.status != 400 {
			t.Errorf("%s: %d, to %q", bad, r.status, to)
		}
	}
	done, _ := b.visit(back)
	if !strings.HasPrefix(done, loopback+"?code=") {
		t.Fatalf("to %q", done)
	}
	if to, r := b.visit(back); to != "" || !bytes.Equal(r.body, first.body) {
		t.Errorf("once more: %d, to %q", r.status, to)
	}
	u, err := url.Parse(done)
	if err != nil {
		t.Fatal(err)
	}
	code := u.Query().Get("code")
	refused := s.redeem(code, "code_verifier", strings.Repeat("x", 43)).want(t, 401, "sign_in_refused")
	for what, r := range map[string]*reply{
		"after a wrong verifier": s.redeem(code),
		"another tenant":         s.redeem(s.through(idp, claims("subject-of-eve", email(eve))).Get("code"), "tenant", "other"),
		"a state":                s.redeem(strings.Repeat("x", 43)),
	} {
		if r.status != 401 || !bytes.Equal(r.body, refused.body) {
			t.Errorf("%s: %d %s", what, r.status, r.body)
		}
	}
	code = s.through(idp, claims("subject-of-eve", email(eve))).Get("code")
	s.redeem(code).want(t, 200, "")
	if r := s.redeem(code); !bytes.Equal(r.body, refused.body) {
		t.Errorf("a code twice: %d %s", r.status, r.body)
	}
	code = s.through(idp, claims("subject-of-eve", email(eve))).Get("code")
	s.clock.Advance(time.Minute)
	if r := s.redeem(code); !bytes.Equal(r.body, refused.body) {
		t.Errorf("after a minute: %d %s", r.status, r.body)
	}
	for _, body := range []string{`{}`, `{"tenant":"acme","code":"x"}`, `{"tenant":"acme","code":"x","code_verifier":"y","x":1}`, `{"tenant":"acme","code":"x","code_verifier":"y","device":{}}`} {
		if r := s.post("/v1/auth/oidc/token", "", body); r.status != 422 && r.status != 400 {
			t.Errorf("%s: %d %s", body, r.status, r.body)
		}
	}
	// A revoked device is told so, as by password.
	phone := map[string]any{"installation": "eves-phone", "incarnation": "1", "name": "Phone"}
	var in loginAnswer
	s.redeem(s.through(idp, claims("subject-of-eve", email(eve))).Get("code"), "device", phone).into(t, &in)
	s.Write(ada, command.Write{Op: "action", Type: "device", ID: ident.RecordID(in.Device.ID), Action: "revoke"})
	s.redeem(s.through(idp, claims("subject-of-eve", email(eve))).Get("code"), "device", phone).want(t, 403, string(fault.DeviceRevoked))
}

// visitRaw asks without a browser's memory.
func (s *server) visitRaw(address string) *reply {
	s.t.Helper()
	_, r := (&browser{&http.Client{Transport: s.http, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, s.t}).visit(address)
	return r
}

// TestWithoutProvider: a server without any says no, and nothing else.
func TestWithoutProvider(t *testing.T) {
	s := newServer(t)
	for _, address := range []string{s.authorizeURL(), s.url + "/v1/auth/oidc/callback/acme?code=x&state=y"} {
		if to, r := s.browser().visit(address); to != "" || r.status != 401 || r.code() != "sign_in_refused" {
			t.Errorf("%s: %d %s", address, r.status, r.body)
		}
	}
	s.redeem("x").want(t, 401, "sign_in_refused")
}

// TestPhoneByProvider: the client package signs in by the provider, on a port of
// its own.
func TestPhoneByProvider(t *testing.T) {
	s, idp := withProvider(t)
	p := &phone{s: s, t: t, who: eve, mem: client.NewMemory(), opts: client.Options{Server: s.url, Tenant: slug, Name: "p", Platform: "test", Transport: s.http, Clock: s.clock.Now}}
	p.open()
	t.Cleanup(func() { _ = p.Close() })
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	person := claims("subject-of-eve", email(eve))
	show := func(address string) error {
		go func() {
			b := s.browser()
			to, _ := b.visit(address)
			back, _ := b.visit(idp.SignIn(to, person))
			// Somebody else on this machine knocks first.
			u, err := url.Parse(back)
			if err != nil {
				t.Error(err)
				return
			}
			knock := *u
			knock.RawQuery = "code=stolen&state=guessed"
			if _, r := b.visit(knock.String()); r.status != 400 {
				t.Errorf("a stranger's knock: %d", r.status)
			}
			b.visit(back)
		}()
		return nil
	}
	if err := p.LoginByProvider(ctx, show); err != nil {
		t.Fatal(err)
	}
	if err := p.SetProfile("field"); err != nil {
		t.Fatal(err)
	}
	p.sync()
	if p.text("jobActivity", "act-one-1", "title") == "" {
		t.Error("nothing arrived")
	}
	person = claims("stranger", "nobody@example.com")
	if err := p.LoginByProvider(ctx, show); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("a stranger: %v", err)
	}
	l := p.BeginProviderLogin(loopback)
	if err := p.FinishProviderLogin(ctx, l, loopback+"?code=x&state=y"); err == nil {
		t.Error("another sign-in's answer is taken")
	}
}
