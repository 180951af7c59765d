package main

import (
	"bytes"
	"context"
	"net/http"
	"net/http/cookiejar"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"satchel/internal/app"
	"satchel/internal/command"
	"satchel/internal/ident"
	"satchel/internal/testworld"
	"satchel/mobile-api/client"
	"satchel/server/session/oidc"
	"satchel/server/session/oidc/oidctest"
	"satchel/server/session/password/passwordtest"
)

// words collects what a command says while it runs.
type words struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (w *words) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(p)
}

func (w *words) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}

// TestPhoneSignsIn: the command line signs in by a second factor, which may be
// chosen while signing in, and by the company's identity provider.
func TestPhoneSignsIn(t *testing.T) {
	idp := oidctest.New(t, time.Now)
	a, err := app.New(app.Config{
		Dir: t.TempDir(), Listen: "127.0.0.1:0", Hasher: passwordtest.New(t), PublicURL: "http://127.0.0.1:1", // the browser is the test
		OIDC: map[ident.TenantID]oidc.Config{"demo": {
			Issuer: idp.URL, ClientID: oidctest.ClientID, ClientSecret: oidctest.ClientSecret, AllowLoopbackHTTP: true,
			RedirectURIs: []string{client.LoopbackRedirect},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ten, err := a.Tenants().SetUp(ctx, "demo", app.Administrator{Name: "Ada", Email: "ada@example.com", Password: "correct horse"}, a.Hasher())
	if err != nil {
		t.Fatal(err)
	}
	rows := []command.Row{testworld.Row("setting", "setting-factor-1", "key", "second-factor-for-administrators", "on", true)}
	if _, err := ten.Submit(ctx, &command.Command{Import: &command.Import{Rows: rows}}); err != nil {
		t.Fatal(err)
	}
	if err := a.Listen(ctx); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	server := "http://" + a.Address()
	phone := func(said *words, args ...string) error {
		cmd := root()
		cmd.SetArgs(append([]string{
			"phone", "--server", server, "--tenant", "demo", "--user", "ada@example.com", "--password", "correct horse", "--store", filepath.Join(t.TempDir(), "phone.db"),
		}, args...))
		cmd.SetIn(strings.NewReader(""))
		cmd.SetOut(said)
		cmd.SetErr(said)
		return cmd.ExecuteContext(ctx)
	}
	// Asked for a code, and given none, it says so and shows what to enrol; the
	// secret belongs to that sign-in alone.
	var said words
	if err := phone(&said, "login"); err == nil || !strings.Contains(err.Error(), "--code") {
		t.Fatalf("%v\n%s", err, said.String())
	}
	if !strings.Contains(said.String(), "otpauth://totp/") {
		t.Errorf("%s", said.String())
	}
	if err := phone(&words{}, "login", "--code", "000001"); err == nil || !strings.Contains(err.Error(), "invalid_code") {
		t.Errorf("%v", err)
	}
	// Somebody who has one.
	secret := enrol(t, server)
	code, err := totp.GenerateCode(secret, time.Now().Add(30*time.Second)) // the step before is used up
	if err != nil {
		t.Fatal(err)
	}
	said = words{}
	if err := phone(&said, "--code", code, "login"); err != nil || !strings.Contains(said.String(), "Signed in as ada@example.com") {
		t.Errorf("%v\n%s", err, said.String())
	}
	// By the provider: the test is the browser that the printed address is opened in.
	said = words{}
	done := make(chan error, 1)
	go func() { done <- phone(&said, "login", "--oidc", "--wait", "20s") }()
	address := regexp.MustCompile(`http://127\.0\.0\.1:\d+/v1/auth/oidc/authorize\?\S+`)
	for end := time.Now().Add(10 * time.Second); !address.MatchString(said.String()); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no address: %s", said.String())
		}
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	visit := func(u string) string {
		res, err := browser.Get(u)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		return res.Header.Get("Location")
	}
	to := visit(address.FindString(said.String()))
	back := idp.SignIn(to, map[string]any{"sub": "subject-of-ada", "email": "ada@example.com", "email_verified": true})
	visit(visit(strings.Replace(back, "http://127.0.0.1:1", server, 1)))
	if err := <-done; err != nil || !strings.Contains(said.String(), "Signed in as") {
		t.Errorf("%v\n%s", err, said.String())
	}
	if err := phone(&words{}, "login", "--oidc", "--wait", "1ms"); err == nil || !strings.Contains(err.Error(), "nobody signed in") {
		t.Errorf("%v", err)
	}
}

// enrol signs Ada in on a device of the client package and chooses a second
// factor there; it returns the secret.
func enrol(t *testing.T, server string) string {
	t.Helper()
	p, err := client.OpenMemory(client.NewMemory(), client.Options{Server: server, Tenant: "demo", Name: "x", Platform: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close() //nolint:errcheck // in memory
	c, ok := client.ChallengeOf(p.Login(context.Background(), "ada@example.com", "correct horse"))
	if !ok || c.Enrol == nil {
		t.Fatalf("%+v", c)
	}
	code, err := totp.GenerateCode(c.Enrol.Secret, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.SecondFactor(context.Background(), c, code); err != nil {
		t.Fatal(err)
	}
	return c.Enrol.Secret
}
