package e2e_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"satchel/internal/command"
	"satchel/internal/ident"
	"satchel/mobile-api/client"
	"satchel/server/session"
	"satchel/sync/apply"
	"satchel/sync/store"
	"satchel/sync/tenant"
)

const (
	newcomer = "emp-newcomer-1"
	chosen   = "chosen by myself"
)

// invited adds somebody new who has yet to choose a password.
func (s *server) invited() {
	s.t.Helper()
	s.Import(Row("employee", newcomer, "name", "Nina", "email", email(newcomer), "kind", "in-house"),
		Row("roleAssignment", "role-newcomer-1", "employee", newcomer, "role", "service.guest"))
}

// invite makes an invitation over HTTP.
func (c *signIn) invite(who ident.RecordID) (in session.Invitation) {
	c.s.t.Helper()
	r := c.post("/v1/auth/invitations", map[string]any{"employee": who}).want(c.s.t, http.StatusCreated, "")
	if err := json.Unmarshal(r.body, &in); err != nil {
		c.s.t.Fatal(err)
	}
	if r.header.Get("Cache-Control") != "no-store" {
		c.s.t.Errorf("an invitation may be stored: %v", r.header)
	}
	return in
}

func (s *server) accept(token, pw string) *reply {
	s.t.Helper()
	return s.post("/v1/auth/accept", "", map[string]any{"tenant": slug, "token": token, "password": pw})
}

func (s *server) login(who ident.RecordID, pw string) *reply {
	s.t.Helper()
	return s.post("/v1/auth/login", "", map[string]any{"tenant": slug, "email": email(who), "password": pw})
}

// TestInvitation walks a new employee from the invitation to the first
// request; the token is good for that once.
func TestInvitation(t *testing.T) {
	s := newServer(t)
	s.invited()
	admin := s.signIn(ada, "")
	s.login(newcomer, chosen).want(t, 401, "invalid_credentials")
	in := admin.invite(newcomer)
	if in.Employee != newcomer || len(in.Token) != 43 {
		t.Errorf("invitation %+v", in)
	}
	u, err := url.Parse(in.Path)
	if err != nil || u.Path != "/accept-invitation" || u.RawQuery != "" {
		t.Fatalf("path %q", in.Path)
	}
	if q, err := url.ParseQuery(u.Fragment); err != nil || q.Get("tenant") != slug || q.Get("token") != in.Token {
		t.Errorf("fragment %q", u.Fragment)
	}
	expires, err := time.Parse(time.RFC3339, in.Expires)
	if left := expires.Sub(s.clock.Now()); err != nil || left > 7*24*time.Hour || left < 7*24*time.Hour-time.Minute {
		t.Errorf("expires %s", in.Expires)
	}
	if s.value(newcomer, "invitedAt") == "" || s.value(newcomer, "status") != "Invited" {
		t.Error("the employee does not say that there is an invitation")
	}
	s.accept(in.Token, "short").want(t, 422, "bad_value")
	s.login(newcomer, chosen).want(t, 401, "invalid_credentials")
	s.accept(in.Token, chosen).want(t, 204, "")
	if got := s.value(newcomer, "status"); got != "Active" {
		t.Errorf("the employee is %s", got)
	}
	s.login(newcomer, chosen).want(t, 200, "")
	s.accept(in.Token, "another one then").want(t, 401, "invalid_credentials")
	s.login(newcomer, "another one then").want(t, 401, "invalid_credentials")
	// The token itself is nowhere in the store, log included.
	if bytes.Contains(readFile(t, s.backup()), []byte(in.Token)) {
		t.Error("the token is stored")
	}
}

// TestInvitationsThatDoNotCount: whatever is wrong with one, the answer is the
// same, and nothing has changed.
func TestInvitationsThatDoNotCount(t *testing.T) {
	s := newServer(t)
	s.invited()
	admin := s.signIn(ada, "")
	followed := admin.invite(newcomer)
	last := admin.invite(newcomer)
	first := s.accept("nonsense", chosen).want(t, 401, "invalid_credentials")
	for what, r := range map[string]*reply{
		"followed by another": s.accept(followed.Token, chosen),
		"changed by a letter": s.accept(last.Token[:42]+"!", chosen),
		"of another tenant":   s.post("/v1/auth/accept", "", map[string]any{"tenant": "other", "token": last.Token, "password": chosen}),
		"of no tenant":        s.post("/v1/auth/accept", "", map[string]any{"tenant": "../acme", "token": last.Token, "password": chosen}),
		"a thousand bytes":    s.accept(strings.Repeat("x", 1000), chosen),
	} {
		if r.status != 401 || !bytes.Equal(r.body, first.body) {
			t.Errorf("%s: %d %s, not %s", what, r.status, r.body, first.body)
		}
	}
	for _, b := range []string{
		``, `{`, `[]`, `{"tenant":"acme","token":"x"}`, `{"tenant":"acme","password":"long enough"}`, `{"token":"x","password":"long enough"}`,
		`{"tenant":"acme","token":"x","password":"long enough","extra":1}`, `{"tenant":"acme","Token":"x","password":"long enough"}`,
		`{"tenant":"acme","token":7,"password":"long enough"}`, `{"tenant":"acme","token":"` + strings.Repeat("x", 2000) + `","password":"long enough"}`,
	} {
		if r := s.post("/v1/auth/accept", "", b); r.status < 400 || r.status >= 500 || r.status == 401 || r.code() == "" {
			t.Errorf("%s: answered %d %s", b, r.status, r.body)
		}
	}
	// Over after seven days, by the server's clock, without a write.
	s.clock.Advance(7*24*time.Hour - time.Minute)
	if known(s, last.Token) != true {
		t.Error("over too early")
	}
	s.clock.Advance(time.Minute + time.Second)
	if r := s.accept(last.Token, chosen); r.status != 401 || !bytes.Equal(r.body, first.body) {
		t.Errorf("over: %d %s", r.status, r.body)
	}
	if got := s.value(newcomer, "status"); got != "Invited" {
		t.Errorf("the employee is %s", got)
	}
	// Disabling ends an invitation for good.
	admin = s.signIn(ada, "")
	off := admin.invite(newcomer)
	s.Write(ada, command.Write{Op: "action", Type: "employee", ID: newcomer, Action: "disable"})
	s.accept(off.Token, chosen).want(t, 401, "invalid_credentials")
	admin.post("/v1/auth/invitations", map[string]any{"employee": newcomer}).want(t, 409, "wrong_status")
	s.Write(ada, command.Write{Op: "action", Type: "employee", ID: newcomer, Action: "enable"})
	s.accept(off.Token, chosen).want(t, 401, "invalid_credentials")
	// A role that is given meanwhile does not.
	s.Import(Row("employee", "emp-later-1", "name", "Lars", "email", email("emp-later-1"), "kind", "in-house"))
	on := admin.invite("emp-later-1")
	s.Import(Row("roleAssignment", "role-later-1", "employee", "emp-later-1", "role", "service.guest"))
	s.accept(on.Token, chosen).want(t, 204, "")
	s.login("emp-later-1", chosen).want(t, 200, "")
}

// known reports whether a token counts as of now.
func known(s *server, token string) (ok bool) {
	s.read(func(v *tenant.View) {
		_, ok = apply.FindInvitation(v.Reader, digestOf(token), ident.MillisOf(s.clock.Now()))
	})
	return ok
}

// TestPasswordReset: an active employee who forgot the password is given a
// token; used, it ends what was signed in, and nothing before that does.
func TestPasswordReset(t *testing.T) {
	s := newServer(t)
	admin := s.signIn(ada, "")
	p := s.phone(eve, "field")
	p.follow()
	raw := s.signIn(eve, "raw")
	in := admin.invite(eve)
	raw.pull(map[string]any{})
	s.login(eve, pass).want(t, 200, "")
	s.accept(in.Token, chosen).want(t, 204, "")
	if err := p.ends(); !errors.Is(err, client.ErrSignedOut) || errors.Is(err, client.ErrWiped) {
		t.Errorf("live ended with %v", err)
	}
	raw.post("/sync/v1/pull", map[string]any{}).want(t, 401, "session_revoked")
	s.login(eve, pass).want(t, 401, "invalid_credentials")
	s.login(eve, chosen).want(t, 200, "")
	// Whoever changes the password meanwhile ends the token with the sessions.
	in = admin.invite(mia)
	desk := s.signIn(mia, "")
	if r := desk.post("/v1/auth/password", map[string]any{"current": pass, "new": chosen}); r.status != 204 {
		t.Fatalf("answered %d: %s", r.status, r.body)
	}
	s.accept(in.Token, "another one then").want(t, 401, "invalid_credentials")
	s.login(mia, chosen).want(t, 200, "")
}

// TestWhoInvites: customer administrators alone, and not themselves.
func TestWhoInvites(t *testing.T) {
	s := newServer(t)
	s.invited()
	s.Import(
		Row("employee", "emp-staff-1", "name", "Sue", "email", email("emp-staff-1"), "kind", "client-staff", "client", "client-one"),
		Row("employee", "emp-boss-1", "name", "Bo", "email", email("emp-boss-1"), "kind", "in-house", "status", "Active"),
		Row("roleAssignment", "role-boss-1", "employee", "emp-boss-1", "role", "level.customer-administrator"))
	admin := s.signIn(ada, "")
	boss := admin.invite("emp-boss-1")
	s.accept(boss.Token, pass).want(t, 204, "")
	for who, c := range map[*signIn]struct {
		status int
		code   string
	}{s.signIn(mia, ""): {404, "not_found"}, s.signIn(eve, ""): {404, "not_found"}, s.signIn(eve, "raw"): {404, "not_found"}} {
		who.post("/v1/auth/invitations", map[string]any{"employee": newcomer}).want(t, c.status, c.code)
	}
	s.post("/v1/auth/invitations", "", map[string]any{"employee": newcomer}).want(t, 401, "invalid_token")
	admin.post("/v1/auth/invitations", map[string]any{"employee": ada}).want(t, 403, "not_allowed")
	for _, id := range []string{"never-was-1", "client-one", "\x00", strings.Repeat("x", 300)} {
		admin.post("/v1/auth/invitations", map[string]any{"employee": id}).want(t, 404, "not_found")
	}
	for _, b := range []string{``, `{}`, `{"employee":""}`, `{"employee":1}`, `{"Employee":"emp-newcomer-1"}`, `{"employee":"emp-newcomer-1","x":1}`} {
		if r := admin.post("/v1/auth/invitations", b); r.status < 400 || r.status >= 500 {
			t.Errorf("%s: answered %d %s", b, r.status, r.body)
		}
	}
	// The right to invite, given to one person, makes no administrator: with a
	// token one signs in as somebody else.
	for i, kv := range [][]any{{"verb", "invite"}, {"verb", "view"}} {
		s.Import(Row("individualPermission", ident.RecordID("permit-mia-"+string(rune('1'+i))), append(kv, "employee", mia, "effect", "grant", "entityType", "employee")...))
	}
	s.signIn(mia, "").post("/v1/auth/invitations", map[string]any{"employee": ada}).want(t, 403, "not_allowed")
	// Of the client's staff an administrator knows nothing from whom the client
	// is hidden, and a denial takes the right.
	other := s.signIn("emp-boss-1", "")
	s.hide("emp-boss-1", "client-one")
	other.post("/v1/auth/invitations", map[string]any{"employee": "emp-staff-1"}).want(t, 404, "not_found")
	admin.invite("emp-staff-1")
	s.Import(Row("individualPermission", "deny-boss-1", "employee", "emp-boss-1", "effect", "denial", "verb", "invite", "entityType", "employee"))
	other.post("/v1/auth/invitations", map[string]any{"employee": newcomer}).want(t, 403, "not_allowed")
	// A right that ended is gone with the session still open.
	s.Import(Row("roleAssignment", "role-boss-1", "until", "2020-01-01T00:00:00Z"))
	other.post("/v1/auth/invitations", map[string]any{"employee": newcomer}).want(t, 404, "not_found")
}

// TestAcceptedOnce: of many who use a token at once one is let in.
func TestAcceptedOnce(t *testing.T) {
	s := newServer(t)
	s.invited()
	in := s.signIn(ada, "").invite(newcomer)
	var mu sync.Mutex
	var won []string
	var wg sync.WaitGroup
	for _, pw := range []string{"password of one", "password of two", "password of three", "password of four", "password of five"} {
		wg.Add(1)
		go func() {
			defer wg.Done()
			r := s.accept(in.Token, pw)
			mu.Lock()
			defer mu.Unlock()
			if r.status == 204 {
				won = append(won, pw)
			} else if r.status != 401 || r.code() != "invalid_credentials" {
				t.Errorf("answered %d %s", r.status, r.body)
			}
		}()
	}
	wg.Wait()
	if len(won) != 1 {
		t.Fatalf("%d were let in", len(won))
	}
	s.login(newcomer, won[0]).want(t, 200, "")
	// Nothing is left of the invitation.
	snap, err := s.tenant().Engine().Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer snap.Close()
	for _, kind := range []byte{'i', 'v'} {
		store.ScanPrefix(snap, store.Sessions, []byte{kind}, func(k, _ []byte) bool {
			t.Errorf("row %q is left", k)
			return true
		})
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func digestOf(token string) []byte {
	d := sha256.Sum256([]byte(token))
	return d[:]
}
