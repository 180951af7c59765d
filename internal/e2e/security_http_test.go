package e2e_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"satchel/internal/app"
	"satchel/internal/command"
	"satchel/server/edge"
	"satchel/server/session/limit"
)

// unlimited turns quotas off, for tests that ask more than people do.
func unlimited(c *app.Config) { c.Quotas = &limit.Quotas{Off: true} }

// heapNow is what is in use after a collection.
func heapNow() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestHeaders is a snapshot of what answers say about themselves.
func TestHeaders(t *testing.T) {
	s := newServer(t)
	c := s.signIn(ada, "")
	const api = "default-src 'none'; frame-ancestors 'none'"
	for _, r := range []struct {
		method, path, token string
		status              int
		policy              string // "" for any that is not api
	}{
		{"GET", "/healthz", "", 200, api},
		{"GET", "/v1/me", c.access, 200, api},
		{"GET", "/v1/me", "", 401, api},
		{"GET", "/v1/service/jobs", c.access, 200, api},
		{"GET", "/v1/service/jobs:export", c.access, 200, api},
		{"GET", "/v1/service/nothing", c.access, 404, api},
		{"PUT", "/v1/service/jobs", c.access, 405, api},
		{"POST", "/v1/auth/login", "", 400, api},
		{"POST", "/sync/v1/pull", c.access, 403, api},
		{"GET", "/sync/v1/live", "", 426, api},
		{"OPTIONS", "/files", "", 204, api},
		{"OPTIONS", "/v1/service/jobs", "", 405, api},
		{"GET", "/mobile/v1/capabilities", "", 200, api},
		{"GET", "/openapi.json", "", 200, api},
		{"GET", "/docs", "", 200, ""},
		{"GET", "/v1/auth/oidc/callback/acme", "", 401, ""},
	} {
		got := s.send(r.method, r.path, r.token, nil, "Origin", "https://evil.example")
		h := got.header
		if got.status != r.status && r.path != "/v1/auth/oidc/callback/acme" {
			t.Errorf("%s %s: %d %s", r.method, r.path, got.status, got.body)
		}
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY", "Cache-Control": "no-store",
			"Server": "", "X-Powered-By": "", "Strict-Transport-Security": "",
			"Access-Control-Allow-Origin": "", "Access-Control-Allow-Credentials": "", "Access-Control-Allow-Headers": "",
		} {
			if name == "Cache-Control" && (r.path == "/openapi.json" || r.path == "/docs") {
				continue // the same for everybody
			}
			if h.Get(name) != want {
				t.Errorf("%s %s: %s is %q, want %q", r.method, r.path, name, h.Get(name), want)
			}
		}
		policy := h.Get("Content-Security-Policy")
		if r.policy != "" && policy != r.policy || !strings.Contains(policy, "default-src 'none'") || !strings.Contains(policy, "frame-ancestors 'none'") ||
			strings.Contains(policy, "unsafe") {
			t.Errorf("%s %s: policy %q", r.method, r.path, policy)
		}
	}
	// What says in a header that it came by https is not believed; a server that
	// is reached by https says so always.
	if h := s.send("GET", "/healthz", "", nil, "X-Forwarded-Proto", "https").header.Get("Strict-Transport-Security"); h != "" {
		t.Errorf("over http: %q", h)
	}
	behind := newServer(t, func(c *app.Config) { c.PublicURL = "https://satchel.example.com" })
	for _, path := range []string{"/healthz", "/v1/me", "/nothing"} {
		if h := behind.send("GET", path, "", nil).header.Get("Strict-Transport-Security"); !strings.HasPrefix(h, "max-age=31536000") {
			t.Errorf("behind TLS %s: %q", path, h)
		}
	}
}

// TestNoDebugEndpoints: nothing of the operators' listener answers on the main
// one, and nothing on that bears a secret or a name.
func TestNoDebugEndpoints(t *testing.T) {
	var out lockedBuffer
	s := newServer(t, func(c *app.Config) { c.AdminListen, c.Out = "127.0.0.1:0", &out })
	c := s.signIn(ada, "")
	for _, path := range []string{
		"/metrics", "/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/cmdline", "/debug/vars", "/debug", "/backup/acme", "/admin", "/monitor",
		"/.env", "/.git/config", "/keys.json", "/data/keys.json", "/server-status", "/actuator/health",
	} {
		for _, token := range []string{"", c.access} {
			if r := s.send("GET", path, token, nil); r.status != 404 {
				t.Errorf("GET %s: %d", path, r.status)
			}
		}
	}
	for _, method := range []string{"TRACE", "CONNECT", "TRACK"} {
		if r := s.raw(t, method+" / HTTP/1.1\r\nHost: x\r\nX-Canary: canary-echo\r\nConnection: close\r\n\r\n"); strings.Contains(r, "canary-echo") || strings.HasPrefix(r, "HTTP/1.1 200") {
			t.Errorf("%s: %s", method, r)
		}
	}
	s.send("GET", "/v1/service/jobs/canary-in-path", c.access, nil)
	s.send("GET", "/canary-nowhere?canary-query=1", c.access, nil, "User-Agent", "canary-agent")
	admin := ""
	soon(t, "the operators' listener", func() bool {
		_, rest, ok := strings.Cut(out.String(), "admin listening on ")
		admin, _, _ = strings.Cut(rest, "\n")
		return ok && admin != ""
	})
	get := func(path, host string) (int, string) {
		req, err := http.NewRequest("GET", admin+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if host != "" {
			req.Host = host
		}
		res, err := s.http.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		return res.StatusCode, string(b)
	}
	keys, err := os.ReadFile(filepath.Join(s.dir, "keys.json"))
	if err != nil {
		t.Fatal(err)
	}
	_, seed, _ := strings.Cut(string(keys), `"seed":"`)
	seed, _, _ = strings.Cut(seed, `"`)
	for _, path := range []string{"/metrics", "/debug/pprof/cmdline", "/debug/pprof/goroutine?debug=2"} {
		status, body := get(path, "")
		if status != 200 {
			t.Errorf("%s: %d", path, status)
		}
		for _, secret := range []string{seed, c.access, c.refresh, pass, email(ada), "canary"} {
			if strings.Contains(body, secret) {
				t.Errorf("%s shows %q", path, secret)
			}
		}
	}
	// A page in an operator's browser can make a name mean this machine; what it
	// then asks bears that name.
	for host, want := range map[string]int{"evil.example": 421, "127.0.0.1.evil.example:80": 421, "": 200, "localhost:9090": 200, "[::1]:9": 200, "192.0.2.1": 421} {
		if status, _ := get("/metrics", host); status != want {
			t.Errorf("host %q: %d, want %d", host, status, want)
		}
	}
}

// lockedBuffer is what a server writes.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestHeadOnTheWire: an answer to HEAD ends with its headers, so that the next
// one on the connection is read as what it is.
func TestHeadOnTheWire(t *testing.T) {
	s := newServer(t)
	c := s.signIn(ada, "")
	for _, path := range []string{"/v1/service/jobs", "/v1/service/jobs:export?format=csv", "/v1/admin/clients/never-was-1", "/openapi.json", "/v1/me/export"} {
		got := s.raw(t, "HEAD "+path+" HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+c.access+"\r\n\r\n"+
			"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		head, rest, ok := strings.Cut(got, "\r\n\r\n")
		if !ok || !strings.HasPrefix(head, "HTTP/1.1 ") || strings.HasPrefix(head, "HTTP/1.1 405") || !strings.HasPrefix(rest, "HTTP/1.1 200 OK\r\n") || !strings.HasSuffix(rest, "\r\n\r\nok\n") {
			t.Errorf("HEAD %s: %q", path, got)
		}
	}
}

// raw sends bytes and returns what comes until the server closes.
func (s *server) raw(t *testing.T, request string) string {
	t.Helper()
	c, err := net.Dial("tcp", s.app.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	b, _ := io.ReadAll(io.LimitReader(c, 1<<20))
	return string(b)
}

// bomb is some zeros, compressed: 512 MiB fit half a megabyte.
func bomb(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	zeros := make([]byte, 1<<20)
	for range 512 {
		if _, err := w.Write(zeros); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestBombs: bodies that would grow, nest or repeat without end are refused in
// memory that does not grow with them.
func TestBombs(t *testing.T) {
	if testing.Short() {
		t.Skip("compresses 512 MiB")
	}
	s := newServer(t, unlimited)
	c, up := s.signIn(ada, "desk"), s.signIn(mia, "")
	zip := bomb(t)
	if len(zip) > 600<<10 {
		t.Fatalf("the bomb has %d bytes", len(zip))
	}
	before := heapNow()
	for _, path := range []string{"/v1/service/jobs", "/sync/v1/push", "/sync/v1/pull", "/v1/auth/login", "/mobile/v1/tickets", "/v1/admin/what-if", "/files"} {
		for _, coding := range []string{"gzip", "deflate", "br", "zstd", "GZIP", "gzip, identity", "x-unknown"} {
			token := c.access
			if path == "/files" {
				token = up.access
			}
			r := s.post(path, token, zip, "Content-Encoding", coding, "Tus-Resumable", "1.0.0", "Upload-Length", "9")
			if path == "/mobile/v1/tickets" && r.status == 403 {
				continue
			}
			if r.status != 415 || r.code() != "content_encoding_refused" {
				t.Errorf("%s as %s: %d %.200s", path, coding, r.status, r.body)
			}
		}
	}
	if grown := heapNow() - before; grown > 32<<20 {
		t.Errorf("the heap grew by %d MB", grown>>20)
	}
	open := strings.Repeat("[", 33) + strings.Repeat("]", 33)
	deep := strings.Repeat(`{"a":`, 100_000) + "1" + strings.Repeat("}", 100_000)
	now := s.clock.Now().UTC().Format(time.RFC3339)
	many := `{"acked":0,"now":"` + now + `","mutations":[` + strings.TrimSuffix(strings.Repeat("{},", 100_000), ",") + `]}`
	for _, b := range []struct {
		path, body string
		status     int
	}{
		{"/v1/service/jobs", `{"title":` + open + `}`, 400},
		{"/v1/service/jobs", deep, 400},
		{"/sync/v1/push", deep, 400},
		{"/sync/v1/pull", deep, 400},
		{"/v1/auth/login", deep, 400},
		{"/sync/v1/push", many, 413},
		{"/v1/service/jobs", `{"title":"` + strings.Repeat("x", edge.MaxBody) + `"}`, 413},
		{"/v1/service/jobs", `{` + strings.TrimSuffix(strings.Repeat(`"title":1,`, 200_000), ",") + `}`, 400},
		{"/v1/service/jobs", `{"title":1e9999999999}`, 0},
	} {
		r := s.post(b.path, c.access, b.body)
		if b.status != 0 && r.status != b.status || r.status < 400 || r.status >= 500 {
			t.Errorf("%s %.60s: %d %.200s", b.path, b.body, r.status, r.body)
		}
	}
	if grown := heapNow() - before; grown > 48<<20 {
		t.Errorf("the heap grew by %d MB", grown>>20)
	}
}

// TestCaseVariantKeys: a key that a lax decoder would take for another is none,
// in every body that a person sends.
func TestCaseVariantKeys(t *testing.T) {
	s := newServer(t)
	a, d := s.signIn(ada, ""), s.signIn(mia, "desk")
	now := s.clock.Now().UTC().Format(time.RFC3339)
	for _, b := range []struct{ token, method, path, body string }{
		{a.access, "PATCH", "/v1/admin/employees/" + mia, `{"Name":"x"}`},
		{a.access, "PATCH", "/v1/admin/employees/" + mia, `{"name":"x","NAME":"y"}`},
		{a.access, "PATCH", "/v1/admin/employees/" + mia, `{"ſtatus":"x"}`}, // folds to status
		{a.access, "PATCH", "/v1/admin/employees/" + mia, `{"\u212aind":"x"}`},
		{a.access, "PATCH", "/v1/admin/employees/" + mia, `{"\u0000name":"x"}`},
		{a.access, "POST", "/v1/admin/role-assignments", `{"Employee":"` + mia + `","role":"level.customer-administrator"}`},
		{a.access, "POST", "/v1/admin/what-if", `{"change":[],"Change":[]}`},
		{a.access, "POST", "/v1/auth/invitations", `{"EMPLOYEE":"` + mia + `"}`},
		{"", "POST", "/v1/auth/login", `{"Tenant":"acme","email":"x","password":"y"}`},
		{"", "POST", "/v1/auth/login", `{"tenant":"acme","email":"x","password":"y","device":{"Installation":"1"}}`},
		{"", "POST", "/v1/auth/refresh", `{"RefreshToken":"x"}`},
		{"", "POST", "/v1/auth/reset", `{"tenant":"acme","Email":"x"}`},
		{d.access, "POST", "/sync/v1/pull", `{"Checkpoint":""}`},
		{d.access, "POST", "/sync/v1/pull", `{"window":{"FROM":"x"}}`},
		{d.access, "POST", "/sync/v1/push", `{"acked":0,"now":"` + now + `","MUTATIONS":[]}`},
		{d.access, "PUT", "/sync/v1/push-token", `{"PushToken":"x"}`},
		{d.access, "POST", "/sync/v1/verify", `{"TYPES":{}}`},
	} {
		if r := s.send(b.method, b.path, b.token, b.body); r.status != 400 || r.code() != "unknown_field" {
			t.Errorf("%s %s %s: %d %s", b.method, b.path, b.body, r.status, r.body)
		}
	}
	r := d.push(0, d.mutation(1, "patch", "client", "client-one", "fields", O("NAME", "x"), "was", O("NAME", nil)))
	if r.Results[0].Status != "refused" || s.value("client-one", "name") != "Client one" {
		t.Errorf("%+v", r)
	}
}

// dripper sends a byte of what it was given now and then until the connection
// ends, and says for how long that was.
func dripper(addr, first string, every time.Duration, stop <-chan struct{}) (time.Duration, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	began := time.Now()
	if _, err := io.WriteString(c, first); err != nil {
		return 0, err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(io.Discard, c)
	}()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ended:
			return time.Since(began), nil
		case <-stop:
			return time.Since(began), fmt.Errorf("still open after %v", time.Since(began))
		case <-tick.C:
			if _, err := io.WriteString(c, "a"); err != nil {
				return time.Since(began), nil //nolint:nilerr // that is the end waited for
			}
		}
	}
}

// TestSlowloris: connections whose requests trickle in end in bounded time,
// whether it is the header that trickles or the body; a thousand of them keep
// nobody from being served, and take little memory.
func TestSlowloris(t *testing.T) {
	const patience = 2 * time.Second
	s := newServer(t, unlimited, func(c *app.Config) { c.ReadTimeout = patience })
	c := s.signIn(mia, "desk")
	stop := make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait()
	deadline := time.AfterFunc(30*time.Second, func() { close(stop) })
	defer deadline.Stop()
	head := "POST /sync/v1/pull HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + c.access + "\r\nContent-Type: application/json\r\n"
	kinds := map[string]string{
		"nothing at all": "", "a request line": "GET /v", "a header": head + "X-Slow: ",
		"a body": head + "Content-Length: 100000\r\n\r\n{", "a chunked body": head + "Transfer-Encoding: chunked\r\n\r\n186a0\r\n{",
		"a login":    "POST /v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n{",
		"a big body": head + "Content-Length: 8000000\r\n\r\n" + strings.Repeat(" ", 9000),
	}
	before := heapNow()
	var mu sync.Mutex
	longest := map[string]time.Duration{}
	n := 0
	for range 150 {
		for kind, first := range kinds {
			n++
			wg.Add(1)
			go func() {
				defer wg.Done()
				took, err := dripper(s.app.Address(), first, 200*time.Millisecond, stop)
				if err != nil {
					t.Errorf("%s: %v", kind, err)
				}
				mu.Lock()
				defer mu.Unlock()
				longest[kind] = max(longest[kind], took)
			}()
		}
	}
	time.Sleep(patience / 2)
	// Meanwhile others are served.
	worst := time.Duration(0)
	for range 20 {
		at := time.Now()
		c.pull(map[string]any{})
		worst = max(worst, time.Since(at))
	}
	if worst > 5*time.Second {
		t.Errorf("beside %d slow connections a pull took %v", n, worst)
	}
	if grown := heapNow() - before; grown > int64(n)*100<<10 {
		t.Errorf("%d slow connections take %d MB", n, grown>>20)
	}
	wg.Wait()
	t.Logf("%d connections, the longest lived %v; a pull meanwhile took at most %v", n, longest, worst)
}

// smallBuffer gives a connection as little room for what it has not read as can
// be.
func smallBuffer(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096) })
}

// TestSlowReaders: whoever takes answers slowly is cut off, and costs no more
// than the answer.
func TestSlowReaders(t *testing.T) {
	s := newServer(t, unlimited, func(c *app.Config) { c.WriteTimeout = 2 * time.Second })
	long := strings.Repeat("x", 15_000)
	for range 40 { // as much as a request may change at once
		var rows []command.Row
		for range 10 {
			rows = append(rows, Row("comment", s.newID("comment"), "parent", "client-one", "text", long))
		}
		s.Import(rows...)
	}
	c := s.signIn(mia, "")
	before := heapNow()
	const n = 20
	conns := make([]net.Conn, n)
	for i := range conns {
		d := net.Dialer{Control: smallBuffer}
		conn, err := d.Dial("tcp", s.app.Address())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conns[i] = conn
		if _, err := fmt.Fprintf(conn, "GET /v1/service/comments?limit=200 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", c.access); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(500 * time.Millisecond)
	if r := c.get("/v1/me"); r.status != 200 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	if grown := heapNow() - before; grown > n*8<<20 {
		t.Errorf("%d answers that nobody takes hold %d MB", n, grown>>20)
	}
	time.Sleep(3 * time.Second) // beyond the timeout: what is still to be had is what the kernel took
	for i, conn := range conns {
		_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			continue
		}
		body, err := io.ReadAll(res.Body)
		if err == nil && len(body) >= 200*15_000 {
			t.Errorf("connection %d got all %d bytes", i, len(body))
		}
	}
}

// TestLogInjection: what strangers choose stands in no log, and can't begin a
// line of its own there.
func TestLogInjection(t *testing.T) {
	var log logged
	s := newServer(t, log.into, func(c *app.Config) { c.TrustedProxies = nil })
	s.quiet = true
	c := s.signIn(ada, "")
	evil := "canary\r\n{\"level\":\"ERROR\",\"msg\":\"forged\"}\x1b[31m\u2028"
	quoted := strings.NewReplacer("\r", "%0d", "\n", "%0a", "\x1b", "%1b", " ", "%20", `"`, "%22", "\u2028", "%e2%80%a8", "{", "%7b", "}", "%7d", "[", "%5b").Replace(evil)
	for _, path := range []string{
		"/" + quoted, "/v1/service/jobs/" + quoted, "/v1/service/jobs?q=" + quoted, "/v1/service/jobs?sort=" + quoted, "/v1/service/jobs?filter=" + quoted,
		"/v1/auth/oidc/callback/" + quoted, "/v1/admin/audit?type=" + quoted, "/files/" + quoted, "/v1/service/documents/" + quoted + "/content", "/mobile/v1/activities/" + quoted,
	} {
		for _, method := range []string{"GET", "DELETE", "PATCH"} {
			r := s.send(method, path, c.access, nil, "User-Agent", "canary-agent\t", "X-Forwarded-For", "canary-address")
			if r.status >= 500 {
				t.Errorf("%s %s: %d %s", method, path, r.status, r.body)
			}
			for name, values := range r.header {
				if strings.ContainsAny(strings.Join(values, ""), "\r\n\x1b") || name == "Forged" {
					t.Errorf("%s %s: header %s %q", method, path, name, values)
				}
			}
		}
	}
	s.post("/v1/auth/login", "", map[string]any{"tenant": evil, "email": evil, "password": evil, "device": map[string]any{"installation": evil, "incarnation": evil, "name": evil}})
	s.post("/v1/auth/login", "", map[string]any{
		"tenant": slug, "email": email(ada), "password": pass,
		"device": map[string]any{"installation": evil, "incarnation": evil, "name": "canary-name", "platform": evil},
	})
	s.raw(t, "GET / HTTP/1.1\r\nHost: canary-host\r\nX-Broken canary-broken\r\n\r\n")
	s.raw(t, "canary-method\x1b / HTTP/9\r\n\r\n")
	slog.New(slog.NewJSONHandler(&log, nil)).Info("the end")
	for line := range strings.Lines(log.String()) {
		if !strings.HasPrefix(line, `{"time":`) || strings.ContainsAny(strings.TrimSuffix(line, "\n"), "\r\x1b\u2028") {
			t.Errorf("a line that is no entry: %q", line)
		}
		if strings.Contains(line, "canary") || strings.Contains(line, "forged") {
			t.Errorf("a log has what a stranger wrote: %q", line)
		}
	}
	if !strings.Contains(log.String(), "the end") {
		t.Fatal("the log is not what was looked at")
	}
}

// TestForwardedFor: where a request says it comes from counts only where a
// trusted proxy says so.
func TestForwardedFor(t *testing.T) {
	tight := limit.DefaultQuotas()
	tight.Site = limit.Rate{Burst: 20, Every: time.Hour}
	ask := func(s *server, token string, i int) *reply {
		return s.send("GET", "/v1/me", token, nil, "X-Forwarded-For", fmt.Sprintf("203.0.113.%d, 198.51.100.%d", i, i), "X-Real-Ip", fmt.Sprintf("203.0.113.%d", i),
			"Forwarded", fmt.Sprintf("for=203.0.113.%d", i))
	}
	direct := newServer(t, func(c *app.Config) { c.Quotas = &tight })
	c := direct.signIn(mia, "")
	for i := range 20 {
		if r := ask(direct, c.access, i); r.status != 200 {
			t.Fatalf("request %d: %d %s", i, r.status, r.body)
		}
	}
	r := ask(direct, c.access, 99).want(t, 429, "too_many_requests")
	if r.header.Get("Retry-After") != "3600" {
		t.Errorf("Retry-After %q", r.header.Get("Retry-After"))
	}
	behind := newServer(t, func(c *app.Config) {
		c.Quotas, c.TrustedProxies = &tight, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	})
	c = behind.signIn(mia, "")
	for i := range 40 {
		if r := ask(behind, c.access, i); r.status != 200 {
			t.Fatalf("behind a proxy, request %d: %d %s", i, r.status, r.body)
		}
	}
	for i := range 21 { // the first address is its sender's invention
		r := behind.send("GET", "/v1/me", c.access, nil, "X-Forwarded-For", fmt.Sprintf("203.0.113.%d, 192.0.2.7", i))
		if (r.status == 200) != (i < 20) {
			t.Fatalf("one address, request %d: %d", i, r.status)
		}
	}
}
