package e2e_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"satchel/internal/command"
	"satchel/internal/ident"
	"satchel/mobile-api/client"
	"satchel/server/session/token"
	"satchel/sync/wire"
)

// TestRevokedDevice: the socket dies at once, the next contact orders
// the wipe, and what the phone pushes is refused.
func TestRevokedDevice(t *testing.T) {
	s := newServer(t)
	var wiped []wire.Mutation
	var wipes atomic.Int32
	p := s.phone(eve, "field", func(o *client.Options) {
		o.OnWipe = func(unsent []wire.Mutation) { wiped = unsent; wipes.Add(1) }
	})
	q := s.phone(eve, "field") // the person's other phone
	q.follow()
	raw := s.signIn(eve, "raw")
	sock := s.socket(raw.access)
	sock.catchUp("", "field")
	p.follow()

	for _, d := range []string{p.device(), raw.device} {
		s.Write(ada, command.Write{Op: "action", Type: "device", ID: ident.RecordID(d), Action: "revoke"})
	}
	sock.closes(wire.CloseRevoked)
	if err := p.ends(); !errors.Is(err, client.ErrWiped) {
		t.Fatalf("live ended with %v", err)
	}
	if st, err := p.Status(); err != nil || st.SignedIn || wipes.Load() != 1 || len(wiped) != 0 {
		t.Errorf("after the wipe: %+v %v, %d wipes", st, err, wipes.Load())
	}
	if types, err := p.Types(); err != nil || len(types) > 0 {
		t.Errorf("left on the phone: %v %v", types, err)
	}
	for _, path := range []string{"/sync/v1/pull", "/sync/v1/push", "/sync/v1/verify"} {
		body := map[string]any{}
		if path == "/sync/v1/push" {
			body = raw.pushBody(0, raw.mutation(1, "action", "jobActivity", "act-one-1", "action", "accept"))
		}
		if path == "/sync/v1/verify" {
			body["types"] = map[string]any{}
		}
		r := raw.post(path, body).want(t, 403, "device_revoked")
		if !strings.Contains(string(r.body), `"wipe":true`) {
			t.Errorf("%s: %s", path, r.body)
		}
	}
	s.post("/v1/auth/refresh", "", map[string]any{"refreshToken": raw.refresh, "nonce": "n1"}).want(t, 403, "device_revoked")
	if got := s.value("act-one-1", "status"); got != "Assigned" {
		t.Errorf("a revoked device's push took effect: %s", got)
	}
	// The same installation and incarnation stay out.
	s.post("/v1/auth/login", "", map[string]any{"tenant": slug, "email": email(eve), "password": pass, "device": map[string]any{
		"installation": "raw", "incarnation": "1", "name": "raw", "platform": "test",
	}}).want(t, 403, "device_revoked")
	q.want("jobActivity/act-one-1")
	q.unfollow()
	q.verify()
}

// TestDisabledEmployee: every socket and session of the person is dead at
// once; on the phones everything stays for whoever signs in again.
func TestDisabledEmployee(t *testing.T) {
	s := newServer(t)
	p := s.phone(eve, "field")
	raw := s.signIn(eve, "raw")
	desk := s.signIn(eve, "")
	sock := s.socket(raw.access)
	sock.catchUp("", "field")
	p.follow()
	s.Write(ada, command.Write{Op: "action", Type: "employee", ID: eve, Action: "disable"})
	sock.closes(wire.CloseRevoked)
	if err := p.ends(); !errors.Is(err, client.ErrSignedOut) || errors.Is(err, client.ErrWiped) {
		t.Fatalf("live ended with %v", err)
	}
	raw.post("/sync/v1/pull", map[string]any{}).want(t, 401, "session_revoked")
	desk.post("/v1/auth/password", map[string]any{"current": pass, "new": "another long one"}).want(t, 401, "session_revoked")
	s.post("/v1/auth/refresh", "", map[string]any{"refreshToken": desk.refresh, "nonce": "n"}).want(t, 401, "session_revoked")
	if err := p.Login(context.Background(), email(eve), pass); err == nil {
		t.Fatal("a disabled employee signed in")
	}
	p.patch("jobActivity", "act-one-1", map[string]any{"note": "typed all the same"})
	s.Write(ada, command.Write{Op: "action", Type: "employee", ID: eve, Action: "enable"})
	p.login()
	p.sync()
	if got := s.value("act-one-1", "note"); got != "typed all the same" {
		t.Errorf("note %q", got)
	}
}

// TestPasswordChanged: every other session ends with the password.
func TestPasswordChanged(t *testing.T) {
	s := newServer(t)
	p := s.phone(eve, "field")
	p.follow()
	raw := s.signIn(eve, "raw")
	raw.post("/v1/auth/password", map[string]any{"current": "wrong", "new": "another long one"}).want(t, 401, "invalid_credentials")
	raw.post("/v1/auth/password", map[string]any{"current": pass, "new": "short"}).want(t, 422, "bad_value")
	if r := raw.post("/v1/auth/password", map[string]any{"current": pass, "new": "another long one"}); r.status != 204 {
		t.Fatalf("answered %d: %s", r.status, r.body)
	}
	if err := p.ends(); !errors.Is(err, client.ErrSignedOut) {
		t.Errorf("live ended with %v", err)
	}
	if err := p.Login(context.Background(), email(eve), pass); err == nil {
		t.Error("the old password still works")
	}
	if err := p.Login(context.Background(), email(eve), "another long one"); err != nil {
		t.Error(err)
	}
	p.sync()
}

// TestSignInFailures: whatever is wrong, the answer is one and the same.
func TestSignInFailures(t *testing.T) {
	s := newServer(t)
	var first string
	for i, b := range []map[string]any{
		{"tenant": slug, "email": email(eve), "password": "wrong horse"},
		{"tenant": slug, "email": "nobody@example.com", "password": pass},
		{"tenant": "other", "email": email(eve), "password": pass},
		{"tenant": "../acme", "email": email(eve), "password": pass},
		{"tenant": slug, "email": email(eve), "password": strings.Repeat("x", 1000)},
	} {
		r := s.post("/v1/auth/login", "", b).want(t, 401, "invalid_credentials")
		if i == 0 {
			first = string(r.body)
		} else if string(r.body) != first {
			t.Errorf("%v: %s, not %s", b, r.body, first)
		}
	}
	for _, b := range []string{
		`{"tenant":"acme","Email":"eve@example.com","password":"x"}`,
		`{"tenant":"acme","email":"eve@example.com","password":"x","extra":1}`,
		`{"tenant":"acme","email":"eve@example.com","password":"x","device":{"installation":"a\u0000b","incarnation":"1"}}`,
		`{"tenant":"acme","email":"eve@example.com","password":"x","device":{"incarnation":"1"}}`,
		`{"tenant":7}`, `[]`, `{`, ``,
	} {
		if r := s.post("/v1/auth/login", "", b); r.status < 400 || r.status >= 500 || r.code() == "" {
			t.Errorf("%s: answered %d %s", b, r.status, r.body)
		}
	}
}

// TestTokenExpires: an open socket ends with its access token, by the server's
// clock, unless it is given a new one; the client package goes on by itself.
func TestTokenExpires(t *testing.T) {
	s := newServer(t)
	p := s.phone(mia, "office")
	raw, other := s.signIn(eve, "raw"), s.signIn(eve, "other")
	life := time.Duration(token.Lifetime) * time.Millisecond
	const left = 4 * time.Second // of the first socket's token: to catch up in
	s.clock.Advance(life - time.Minute)
	renewed := s.socket(other.access)
	cp := renewed.catchUp("", "field")
	var a loginAnswer
	s.post("/v1/auth/refresh", "", map[string]any{"refreshToken": other.refresh, "nonce": "n"}).into(t, &a)
	renewed.send(map[string]any{"kind": "auth", "token": a.Access})
	s.clock.Advance(time.Minute - left)
	sock := s.socket(raw.access)
	sock.catchUp("", "field")
	p.follow()
	sock.closesWithin(wire.CloseExpired, left+promptly)
	s.Import(Row("jobActivity", "act-one-1", "note", "later"))
	var pg wire.Page
	renewed.frame(wire.KindPage, &pg)
	renewed.send(map[string]any{"kind": "pull", "checkpoint": pg.Checkpoint})
	if pg.From != cp {
		t.Errorf("from %q, want %q", pg.From, cp)
	}
	raw.post("/sync/v1/pull", map[string]any{}).want(t, 401, "token_expired")
	if _, res, err := s.dial(raw.access); err == nil || res == nil || res.StatusCode != 401 {
		t.Errorf("an expired token opened a socket: %v", err)
	}
	// A clock that jumps: what comes over the socket is judged by it at once.
	s.clock.Advance(life)
	renewed.send(map[string]any{"kind": "pull", "checkpoint": pg.Checkpoint})
	var problem wire.Problem
	renewed.frame(wire.KindError, &problem)
	if problem.Code != "token_expired" {
		t.Errorf("problem %+v", problem)
	}
	renewed.closes(wire.CloseExpired)
	s.Import(Row("client", "client-one", "city", "Leiden"))
	soon(t, "the client package renews and goes on", func() bool { return p.text("client", "client-one", "city") == "Leiden" })
	p.unfollow()
	p.verify()
}

// TestBrowserSignsIn: without a header the first frame must say who it is.
func TestBrowserSignsIn(t *testing.T) {
	s := newServer(t)
	raw, desk := s.signIn(eve, "raw"), s.signIn(eve, "")
	good := s.socket("")
	good.send(map[string]any{"kind": "auth", "token": raw.access})
	good.catchUp("", "field")
	for _, c := range []struct {
		frame any
		code  int
	}{
		{map[string]any{"kind": "pull"}, wire.CloseExpired},
		{map[string]any{"kind": "auth", "token": raw.access, "more": 1}, wire.CloseExpired},
		{`{"kind":"auth"`, wire.CloseExpired},
		{map[string]any{"kind": "auth", "token": "x" + raw.access}, wire.CloseRevoked},
		{map[string]any{"kind": "auth", "token": desk.access}, 1008}, // no device
		{`{"kind":"auth","token":"` + strings.Repeat("x", 9000) + `"}`, 1009},
	} {
		sock := s.socket("")
		sock.send(c.frame)
		sock.closes(c.code)
	}
	if _, res, err := s.dial(desk.access); err == nil || res == nil || res.StatusCode != 403 {
		t.Errorf("a session without a device opened a socket: %v", err)
	}
	// Another session's token does not renew this one.
	good.send(map[string]any{"kind": "auth", "token": s.signIn(eve, "third").access})
	good.closes(wire.CloseRevoked)
}

// TestSuperseded: a newer socket of a device closes the older, and a newer
// sign-in of it the older's session.
func TestSuperseded(t *testing.T) {
	s := newServer(t)
	raw := s.signIn(eve, "raw")
	first := s.socket(raw.access)
	cp := first.catchUp("", "field")
	second := s.socket(raw.access)
	second.catchUp(cp, "field")
	first.closes(wire.CloseSuperseded)
	s.Import(Row("jobActivity", "act-one-1", "note", "x"))
	second.frame(wire.KindPage, nil)
	again := s.signIn(eve, "raw")
	second.closes(wire.CloseSuperseded)
	if again.device != raw.device || again.prefix != raw.prefix {
		t.Errorf("the same installation became %s, was %s", again.device, raw.device)
	}
	raw.post("/sync/v1/pull", map[string]any{}).want(t, 401, "session_revoked")
}

// TestRefreshRotation: a retry with the same nonce gets the same successor; a
// replaced token used by somebody else ends the session and its sockets.
func TestRefreshRotation(t *testing.T) {
	s := newServer(t)
	raw := s.signIn(eve, "raw")
	refresh := func(tok, nonce string) *reply {
		return s.post("/v1/auth/refresh", "", map[string]any{"refreshToken": tok, "nonce": nonce})
	}
	var a, b, c loginAnswer
	refresh(raw.refresh, "one").into(t, &a)
	refresh(raw.refresh, "one").into(t, &b)
	if a.Refresh != b.Refresh || a.Device.Prefix != raw.prefix || a.Device.ID != raw.device || a.User.ID != eve {
		t.Fatalf("a retry got another answer: %+v, %+v", a, b)
	}
	sock := s.socket(b.Access)
	sock.catchUp("", "field")
	refresh(b.Refresh, "two").into(t, &c)
	refresh(raw.refresh, "thief").want(t, 401, "session_revoked")
	sock.closes(wire.CloseRevoked)
	refresh(c.Refresh, "three").want(t, 401, "session_revoked")
	s.post("/sync/v1/pull", c.Access, map[string]any{}).want(t, 401, "session_revoked")
	for _, bad := range []string{"", "x", raw.refresh + "x", strings.Replace(raw.refresh, slug, "other", 1)} {
		refresh(bad, "n").want(t, 401, "invalid_token")
	}
}

// answerLost is a transport that loses the answers to requests it is told to.
type answerLost struct {
	http.RoundTripper
	lose func(*http.Request) bool
}

func (a answerLost) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := a.RoundTripper.RoundTrip(r)
	if err == nil && a.lose(r) {
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		return nil, errors.New("the answer was lost")
	}
	return res, err
}

// TestLostAnswers: whatever answer is lost, each change takes effect once and
// the session goes on.
func TestLostAnswers(t *testing.T) {
	s := newServer(t)
	var lose atomic.Int64
	p := s.phone(eve, "field", func(o *client.Options) {
		o.Transport = answerLost{s.http, func(r *http.Request) bool {
			return !strings.HasSuffix(r.URL.Path, "/login") && lose.Add(-1) >= 0
		}}
	})
	for i := range 12 {
		s.clock.Advance(time.Duration(token.Lifetime) * time.Millisecond) // a refresh each time
		p.create("timeEntry", map[string]any{"activity": "act-one-1", "employee": eve, "kind": "work", "start": "2026-01-05T08:00:00Z"})
		for n := int64(1); n <= int64(i%4)+1; n++ {
			lose.Store(n)
			_, _ = p.Sync(context.Background()) // may get through: a refresh is tried twice
		}
		lose.Store(0)
		p.sync()
	}
	entries, err := p.List("timeEntry", nil)
	if err != nil || len(entries) != 12 {
		t.Fatalf("%d entries, %v", len(entries), err)
	}
	if len(p.problems()) > 0 {
		t.Errorf("problems %+v", p.problems())
	}
	p.verify()
}

// TestLogout: the session is over on the server too, also when its access
// token had expired already.
func TestLogout(t *testing.T) {
	s := newServer(t)
	p := s.phone(eve, "field")
	raw := s.signIn(eve, "raw")
	sock := s.socket(raw.access)
	sock.catchUp("", "field")
	if r := raw.post("/v1/auth/logout", map[string]any{}); r.status != 204 {
		t.Fatalf("logout: %d %s", r.status, r.body)
	}
	sock.closes(wire.CloseRevoked)
	if r := raw.post("/v1/auth/logout", map[string]any{}); r.status != 204 { // again is no error
		t.Errorf("logout again: %d %s", r.status, r.body)
	}
	raw.post("/sync/v1/pull", map[string]any{}).want(t, 401, "session_revoked")
	s.post("/v1/auth/logout", "", map[string]any{}).want(t, 401, "invalid_token")

	s.clock.Advance(2 * time.Duration(token.Lifetime) * time.Millisecond)
	if err := p.Logout(context.Background()); err != nil {
		t.Fatalf("after the token expired: %v", err)
	}
	if _, err := p.Sync(context.Background()); !errors.Is(err, client.ErrSignedOut) {
		t.Errorf("sync: %v", err)
	}
	p.patch("jobActivity", "act-one-1", map[string]any{"note": "kept"})
	p.login()
	p.sync()
	if got := s.value("act-one-1", "note"); got != "kept" {
		t.Errorf("note %q", got)
	}
}
