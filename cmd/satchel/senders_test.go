package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/http"
	netmail "net/mail"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
)

// TestBounceSettings: where mail comes back to is an address or a listener,
// never half of one.
func TestBounceSettings(t *testing.T) {
	for raw, want := range map[string]string{
		`{}`:                             "nothing",
		`{"bounces":"back@example.com"}`: "address",
		`{"bounces":{}}`:                 "nothing",
		`{"bounces":{"listen":"127.0.0.1:0","domain":"Bounces.example.com"}}`: "listener",
		`{"bounces":{"listen":"127.0.0.1:0"}}`:                                "error",
		`{"bounces":{"domain":"example.com"}}`:                                "error",
		`{"bounces":{"perMinute":3}}`:                                         "error",
		`{"bounces":{"listen":"x","domain":"y","tlsCert":"z"}}`:               "error",
		`{"bounces":{"listen":"x","domain":"y","perMinute":-1}}`:              "error",
		`{"bounces":{"listen":"x","domain":"y","key":"z"}}`:                   "error",
		`{"bounces":7}`: "error",
	} {
		var m mailSettings
		got := "error"
		if err := json.Unmarshal([]byte(raw), &m); err == nil {
			switch b, err := m.Bounces.reports(); {
			case err != nil:
			case b != nil && b.Domain == "bounces.example.com":
				got = "listener"
			case m.Bounces.Address != "":
				got = "address"
			default:
				got = "nothing"
			}
		}
		if got != want {
			t.Errorf("%s: %s, want %s", raw, got, want)
		}
	}
}

// post is a mail server that answers to no mail before it is told to.
type post struct {
	mu      sync.Mutex
	take    bool
	never   chan struct{}
	offered int
	taken   [][]byte
}

type posting struct{ p *post }

func (posting) Reset()                                 {}
func (posting) Logout() error                          { return nil }
func (posting) Mail(string, *smtp.MailOptions) error   { return nil }
func (x posting) Rcpt(string, *smtp.RcptOptions) error { return nil }

func (x posting) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	x.p.mu.Lock()
	x.p.offered++
	take := x.p.take
	x.p.mu.Unlock()
	if !take {
		<-x.p.never
		return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "too late"}
	}
	x.p.mu.Lock()
	defer x.p.mu.Unlock()
	x.p.taken = append(x.p.taken, b)
	return err
}

func (p *post) counts() (offered, taken int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.offered, len(p.taken)
}

// TestResetSurvivesKill: a mail with a token that was promised goes out though
// the server was killed between the promise and the mail, and its link works.
// Neither the folder nor the log has the token.
func TestResetSurvivesKill(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	satchel(t, 0, "init", "--data="+data, "--email=ada@example.com")
	box := &post{never: make(chan struct{})}
	defer close(box.never)
	srv := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return posting{box}, nil }))
	srv.Domain = "localhost"
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = srv.Serve(ln) }()
	defer srv.Close()
	config := filepath.Join(t.TempDir(), "config.json")
	err = os.WriteFile(config, fmt.Appendf(nil, `{"publicUrl":"https://work.example","mail":{"host":"127.0.0.1","port":%d,"security":"none","from":"office@example.com"}}`,
		ln.Addr().(*net.TCPAddr).Port), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	run := func() *served {
		t.Helper()
		s, err := start(func() *exec.Cmd {
			cmd := exec.Command(os.Args[0], "serve", "--data="+data, "--listen=127.0.0.1:0", "--config="+config)
			cmd.Env = append(os.Environ(), asBinary+"=1")
			return cmd
		})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	ask := func(s *served, path string, body map[string]string) int {
		t.Helper()
		raw, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.Post(s.addr+path, "application/json", bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	first := run()
	if code := ask(first, "/v1/auth/reset", map[string]string{"tenant": "main", "email": "ada@example.com"}); code != http.StatusAccepted {
		t.Fatal(code)
	}
	wait := func(what string, f func() bool) {
		t.Helper()
		for end := time.Now().Add(time.Minute); !f(); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal(what)
			}
		}
	}
	wait("the mail is not tried", func() bool { n, _ := box.counts(); return n > 0 })
	if err := first.stop(syscall.SIGKILL); err == nil {
		t.Fatal("it was not killed")
	}
	box.mu.Lock()
	box.take = true
	box.mu.Unlock()
	second := run()
	wait("the mail is not sent", func() bool { _, n := box.counts(); return n > 0 })
	box.mu.Lock()
	m, err := netmail.ReadMessage(bytes.NewReader(box.taken[0]))
	box.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	_, boundary, _ := strings.Cut(m.Header.Get("Content-Type"), "boundary=")
	part, err := multipart.NewReader(m.Body, strings.Trim(boundary, `"`)).NextRawPart()
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(quotedprintable.NewReader(part))
	if err != nil {
		t.Fatal(err)
	}
	_, fragment, _ := strings.Cut(string(text), "https://work.example/accept-invitation#")
	fragment, _, _ = strings.Cut(fragment, "\n")
	link, err := url.ParseQuery(strings.TrimSpace(fragment))
	if err != nil || link.Get("tenant") != "main" || link.Get("token") == "" {
		t.Fatalf("%s", text)
	}
	err = filepath.WalkDir(data, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte(link.Get("token"))) {
			t.Errorf("%s has the token", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if code := ask(second, "/v1/auth/accept", map[string]string{"tenant": "main", "token": link.Get("token"), "password": "another-long-one-2"}); code != http.StatusNoContent {
		t.Errorf("accept: %d", code)
	}
	if code := ask(second, "/v1/auth/login", map[string]string{"tenant": "main", "email": "ada@example.com", "password": "another-long-one-2"}); code != http.StatusOK {
		t.Errorf("login: %d", code)
	}
	if err := second.stop(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	for _, s := range []*served{first, second} {
		if strings.Contains(s.stderr.String(), link.Get("token")) {
			t.Error("the log has the token")
		}
	}
}
