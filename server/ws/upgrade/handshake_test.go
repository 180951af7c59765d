package upgrade

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gorilla/websocket"

	"satchel/internal/fault"
)

func TestTLS(t *testing.T) {
	certified := httptest.NewTLSServer(http.NotFoundHandler()) // for its certificate
	defer certified.Close()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := startOn(t, tls.NewListener(ln, &tls.Config{Certificates: certified.TLS.Certificates}), quick, func(c *Conn) {
		frame, err := c.ReadJSONFrame()
		if err != nil {
			t.Error(err)
		}
		_ = c.Write(context.Background(), frame)
		_, err = c.ReadJSONFrame()
		wantEnd(t, err, 1003, false)
	})
	dialer := websocket.Dialer{TLSClientConfig: certified.Client().Transport.(*http.Transport).TLSClientConfig}
	ws, _, err := dialer.Dial("wss://"+s.addr+"/ws", http.Header{"Origin": {"https://" + s.addr}})
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	if err := ws.WriteMessage(websocket.TextMessage, make([]byte, 200_000)); err != nil {
		t.Fatal(err)
	}
	if _, got, err := ws.ReadMessage(); err != nil || len(got) != 200_000 {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	_ = ws.WriteMessage(websocket.BinaryMessage, make([]byte, 200_000))
	_, _, err = ws.ReadMessage()
	wantClosed(t, err, 1003)
	_, resp, err := dialer.Dial("wss://"+s.addr+"/ws", http.Header{"Origin": {"http://" + s.addr}})
	if err == nil || resp.StatusCode != http.StatusForbidden {
		t.Errorf("the http origin of a secure host: %v %v", resp, err)
	}
}

func TestBadHandshakes(t *testing.T) {
	s := start(t, Options{}, func(*Conn) { t.Error("served") }, func(app *fiber.App) {
		app.Use("/ws", func(c *fiber.Ctx) error {
			if c.Get("Authorization") == "Bearer wrong" {
				return fault.New(fault.InvalidToken)
			}
			return c.Next()
		})
	})
	for name, tc := range map[string]struct {
		method, path string
		headers      map[string]string
		status       int
		code         fault.Code
		answer       string // a header that must be there
	}{
		"POST":                {"POST", "/ws", nil, 405, fault.MethodNotAllowed, "Allow"},
		"HEAD":                {"HEAD", "/ws", nil, 405, "", "Allow"},
		"plain GET":           {"GET", "/ws", map[string]string{"Connection": "", "Upgrade": ""}, 426, fault.BadParameter, "Upgrade"},
		"no Connection":       {"GET", "/ws", map[string]string{"Connection": ""}, 426, fault.BadParameter, "Upgrade"},
		"another protocol":    {"GET", "/ws", map[string]string{"Upgrade": "h2c"}, 426, fault.BadParameter, "Upgrade"},
		"version 8":           {"GET", "/ws", map[string]string{"Sec-Websocket-Version": "8"}, 426, fault.BadParameter, "Sec-Websocket-Version"},
		"no version":          {"GET", "/ws", map[string]string{"Sec-Websocket-Version": ""}, 426, fault.BadParameter, "Sec-Websocket-Version"},
		"no key":              {"GET", "/ws", map[string]string{"Sec-Websocket-Key": ""}, 400, fault.BadParameter, ""},
		"short key":           {"GET", "/ws", map[string]string{"Sec-Websocket-Key": "c2hvcnQ="}, 400, fault.BadParameter, ""},
		"key not base64":      {"GET", "/ws", map[string]string{"Sec-Websocket-Key": "!!!"}, 400, fault.BadParameter, ""},
		"middleware says 401": {"GET", "/ws", map[string]string{"Authorization": "Bearer wrong"}, 401, fault.InvalidToken, ""},
		"token in URL":        {"GET", "/ws?x=1&token=s3cret", nil, 400, fault.BadParameter, ""},
		"access_token in URL": {"GET", "/ws?access_token=s3cret", nil, 400, fault.BadParameter, ""},
		"escaped name":        {"GET", "/ws?%74oken=s3cret", nil, 400, fault.BadParameter, ""},
		"other case":          {"GET", "/ws?Access-Token=s3cret", nil, 400, fault.BadParameter, ""},
		"token without value": {"GET", "/ws?token", nil, 400, fault.BadParameter, ""},
	} {
		t.Run(name, func(t *testing.T) {
			resp, body := s.get(t, tc.method, tc.path, tc.headers)
			if resp.StatusCode != tc.status || !strings.Contains(body, string(tc.code)) {
				t.Errorf("%d %s, want %d %s", resp.StatusCode, body, tc.status, tc.code)
			}
			if ct := resp.Header.Get("Content-Type"); ct != "application/problem+json" {
				t.Errorf("content type %q", ct)
			}
			if tc.answer != "" && resp.Header.Get(tc.answer) == "" {
				t.Errorf("no %s in %v", tc.answer, resp.Header)
			}
			if strings.Contains(body, "s3cret") {
				t.Error("the token is quoted")
			}
		})
	}
	if s.reg.Len() != 0 {
		t.Errorf("Len = %d", s.reg.Len())
	}
}

func TestOrigins(t *testing.T) {
	s := start(t, Options{Origins: []string{"https://App.Example.com", "https://b.example:8443", "capacitor://localhost"}}, echo)
	host := s.addr
	for _, tc := range []struct {
		origin, host, proto string
		ok                  bool
	}{
		{"", host, "", true},
		{"http://" + host, host, "", true},
		{"http://" + strings.ToUpper("h.example"), "H.example:80", "", true},
		{"https://h.example", "h.example", "", true},
		{"https://h.example:443", "h.example", "", true},
		{"https://h.example", "h.example", "https", true},
		{"http://h.example", "h.example", "https", false},
		{"https://h.example", "h.example:80", "", false},
		{"http://h.example:81", "h.example", "", false},
		{"https://app.example.com", host, "", true},
		{"https://APP.example.com:443", host, "", true},
		{"http://app.example.com", host, "", false},
		{"https://app.example.com.evil.example", host, "", false},
		{"https://evil.example", host, "", false},
		{"https://evilapp.example.com", host, "", false},
		{"https://b.example", host, "", false},
		{"https://b.example:8443", host, "", true},
		{"capacitor://localhost", host, "", true},
		{"ionic://localhost", host, "", false},
		{"null", host, "", false},
		{"*", host, "", false},
		{"https://app.example.com/", host, "", false},
		{"https://app.example.com@evil.example", host, "", false},
		{"https://app.example.com https://evil.example", host, "", false},
		{"//" + host, host, "", false},
	} {
		headers := map[string]string{"Origin": tc.origin, "Host": tc.host}
		if tc.proto != "" {
			headers["X-Forwarded-Proto"] = tc.proto
		}
		resp, body := s.get(t, "GET", "/ws", headers)
		if tc.ok {
			if resp.StatusCode != 101 || resp.Header.Get("Sec-Websocket-Accept") != aKeyAccepted {
				t.Errorf("%+v: %d %s", tc, resp.StatusCode, body)
			}
		} else if resp.StatusCode != 403 || !strings.Contains(body, string(fault.OriginRefused)) {
			t.Errorf("%+v: %d %s", tc, resp.StatusCode, body)
		}
	}
}

// raw sends bytes on a connection of its own and returns a reader of the answer.
func (s *server) raw(t *testing.T, request string) *bufio.Reader {
	t.Helper()
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	return bufio.NewReader(c)
}

func readResponse(t *testing.T, r *bufio.Reader) *http.Response {
	t.Helper()
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, max(resp.ContentLength, 0)))
	_ = resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp
}

const rawHandshake = "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + aKey + "\r\n"

func TestRawHandshakes(t *testing.T) {
	s := start(t, Options{}, func(c *Conn) { _, _ = c.ReadJSONFrame() })
	for name, tc := range map[string]struct {
		request  string
		statuses []int
	}{
		"as it should be":        {rawHandshake + "\r\n", []int{101}},
		"after another request":  {"GET /plain/a HTTP/1.1\r\nHost: h\r\n\r\n" + rawHandshake + "\r\n", []int{200, 101}},
		"a frame comes early":    {rawHandshake + "\r\n\x81\x82\x01\x02\x03\x04xx", []int{400}},
		"a request hides behind": {rawHandshake + "\r\nGET /plain/a HTTP/1.1\r\nHost: h\r\n\r\n", []int{400}},
		"a body":                 {rawHandshake + "Content-Length: 2\r\n\r\n{}", []int{400}},
		"a chunked body":         {rawHandshake + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", []int{400}},
		"an empty body":          {rawHandshake + "Content-Length: 0\r\n\r\n", []int{101}},
		"two keys":               {rawHandshake + "Sec-WebSocket-Key: " + aKey + "\r\n\r\n", []int{400}},
		"two origins":            {rawHandshake + "Origin: http://h\r\nOrigin: http://h\r\n\r\n", []int{403}},
		"one origin":             {rawHandshake + "Origin: http://h\r\n\r\n", []int{101}},
		"an empty origin":        {rawHandshake + "Origin:\r\n\r\n", []int{403}},
		"HTTP/1.0":               {strings.Replace(rawHandshake, "HTTP/1.1", "HTTP/1.0", 1) + "\r\n", []int{400}},
		"a header too long":      {rawHandshake + "X: " + strings.Repeat("x", 5000) + "\r\n\r\n", []int{431}},
	} {
		t.Run(name, func(t *testing.T) {
			r := s.raw(t, tc.request)
			for i, want := range tc.statuses {
				resp := readResponse(t, r)
				if resp.StatusCode != want {
					t.Fatalf("answer %d: %d, want %d", i, resp.StatusCode, want)
				}
				if want == 101 && (resp.Header.Get("Sec-Websocket-Accept") != aKeyAccepted || resp.Header.Get("Sec-Websocket-Extensions") != "") {
					t.Errorf("%v", resp.Header)
				}
			}
			if last := tc.statuses[len(tc.statuses)-1]; last == 400 && (strings.Contains(name, "body") || strings.Contains(name, "early") || strings.Contains(name, "behind")) {
				if b, err := r.ReadByte(); err != io.EOF {
					t.Errorf("the connection went on: %q %v", b, err)
				}
			}
		})
	}
}

func TestNotConfigured(t *testing.T) {
	for name, spoil := range map[string]func(*fiber.App){
		"closing hijacked connections": func(app *fiber.App) { app.Server().KeepHijackedConns = false },
		"limit per address":            func(app *fiber.App) { app.Server().MaxConnsPerIP = 100 },
	} {
		t.Run(name, func(t *testing.T) {
			if raceEnabled && strings.HasPrefix(name, "limit") {
				t.Skip("fasthttp's wrapper around such connections has races of its own")
			}
			s := start(t, Options{}, echo, spoil)
			if resp, body := s.get(t, "GET", "/ws", nil); resp.StatusCode != 500 || strings.Contains(body, "Configure") {
				t.Errorf("%d %s", resp.StatusCode, body)
			}
		})
	}
}

// Requests that fasthttp serves from the same memory, before and after, must
// not show in what a connection keeps.
func TestNothingAliasesRequestMemory(t *testing.T) {
	const n = 20
	var mu sync.Mutex
	keys := map[string]string{} // remote address -> key as checkHandshake gave it
	frames := map[string][]byte{}
	s := start(t, Options{}, func(c *Conn) {
		for {
			frame, err := c.ReadJSONFrame()
			if err != nil {
				return
			}
			mu.Lock()
			frames[c.RemoteAddr().String()] = frame
			mu.Unlock()
			_ = c.Write(context.Background(), frame)
		}
	}, func(app *fiber.App) {
		app.Use("/ws", func(c *fiber.Ctx) error {
			if key, err := checkHandshake(c); err == nil {
				mu.Lock()
				keys[c.Context().RemoteAddr().String()] = key
				mu.Unlock()
			}
			return c.Next()
		})
	})
	sent := map[string]string{}
	clients := map[string]*websocket.Conn{}
	for i := range n {
		key := base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "nonce-%010d", i))
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		// gorilla's client makes its own keys; this one must be known.
		fmt.Fprintf(conn, "GET /ws?n=%d HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n", i, key)
		r := bufio.NewReader(conn)
		if resp := readResponse(t, r); resp.StatusCode != 101 {
			t.Fatal(resp.Status)
		}
		t.Cleanup(func() { _ = conn.Close() })
		local := conn.LocalAddr().String()
		sent[local] = key
		frame := fmt.Sprintf("frame-%010d", i)
		masked := append([]byte{0x81, 0x80 | byte(len(frame)), 0, 0, 0, 0}, frame...)
		if _, err := conn.Write(masked); err != nil {
			t.Fatal(err)
		}
		echoed := make([]byte, 2+len(frame))
		if _, err := io.ReadFull(r, echoed); err != nil || string(echoed[2:]) != frame {
			t.Fatalf("%q %v", echoed, err)
		}
		clients[local] = nil
	}
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for i := range 100 {
				v := strings.Repeat(string(rune('A'+(w+i)%26)), 24+i%40)
				req, _ := http.NewRequest("GET", "http://"+s.addr+"/plain/"+v, nil)
				req.Header.Set("Sec-Websocket-Key", v)
				req.Header.Set("Upgrade", v)
				resp, err := client.Do(req)
				if err != nil {
					t.Error(err)
					return
				}
				body, _ := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if string(body) != v {
					t.Errorf("%q came back as %q", v, body)
				}
			}
		})
	}
	wg.Wait()
	mu.Lock()
	defer mu.Unlock()
	if len(keys) != n || len(frames) != n {
		t.Fatalf("%d keys, %d frames", len(keys), len(frames))
	}
	for addr, key := range sent {
		i := 0
		nonce, _ := base64.StdEncoding.DecodeString(key)
		_, _ = fmt.Sscanf(string(nonce), "nonce-%d", &i)
		if keys[addr] != key || string(frames[addr]) != fmt.Sprintf("frame-%010d", i) {
			t.Errorf("%s: key %q is now %q, frame %q", addr, key, keys[addr], frames[addr])
		}
	}
}

// A reserved place whose connection fasthttp lost becomes free by the timer,
// which is then the owner: a hijack that comes later is turned away.
func TestLateHijack(t *testing.T) {
	r := New(Options{MaxConns: 1})
	if err := r.reserve(); err != nil {
		t.Fatal(err)
	}
	if err := r.reserve(); !fault.Is(err, fault.TooManyRequests) {
		t.Fatal(err)
	}
	expired := time.AfterFunc(0, r.release)
	eventually(t, "the place is free", func() bool { return r.Len() == 0 })
	here, there := net.Pipe()
	defer there.Close()
	r.begin(unsafeConn{here}, expired, aKey, func(*Conn) { t.Error("served") })
	if _, err := there.Read(make([]byte, 1)); err != io.EOF {
		t.Error(err)
	}
	if r.Len() != 0 {
		t.Error(r.Len())
	}
}

type unsafeConn struct{ net.Conn }

func (c unsafeConn) UnsafeConn() net.Conn { return c.Conn }

func FuzzCanonicalOrigin(f *testing.F) {
	for _, s := range []string{"https://a.example", "http://A.example:80", "null", "*", "https://[::1]:443", "https://a@b", "capacitor://localhost", "http://h:", "HTTP://H", "https://a.example/", "https://a?", "https://a#", "A://::0", "http://[a]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		o, ok := canonicalOrigin(s)
		if !ok {
			return
		}
		if again, ok := canonicalOrigin(o); !ok || again != o {
			t.Fatalf("%q -> %q -> %q %v", s, o, again, ok)
		}
		scheme, host, _ := strings.Cut(o, "://")
		if scheme == "" || host == "" || strings.ContainsAny(host, "/?#@*") {
			t.Fatalf("%q -> %q", s, o)
		}
	})
}
