package badinput

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// TestBadFrames sends frames that are none on live sockets. Each is answered
// with an error frame, a close or both, within a moment, and the server is
// there for the next one.
func TestBadFrames(t *testing.T) {
	w := newWorld(t)
	served := w.served()
	before, at := w.digest(), w.position()
	now := `"now":"2026-03-01T00:00:00Z"`
	var frames []string
	for _, v := range bodies() {
		frames = append(frames, v.raw)
	}
	for _, kind := range []string{"auth", "pull", "push", "page", "results", "error", "PULL", "", "pull\\u0000", "no such kind"} {
		frames = append(frames, `{"kind":"`+kind+`","no such member":1}`, `{"kind":"`+kind+`","kind":"pull"}`)
	}
	for _, form := range []string{`1`, `null`, `true`, `"x"`, `[]`, `{}`, `-1`, `1e400`, `"\ud800"`, deep(40)} {
		for _, m := range []string{"kind", "checkpoint", "limit", "profile", "window", "pins", "schema", "reconcile", "heal", "acked", "now", "mutations", "token"} {
			if lenient(m, form) {
				continue
			}
			kind := `"pull"`
			switch m {
			case "kind":
				frames = append(frames, `{"kind":`+form+`}`)
				continue
			case "acked", "now", "mutations":
				kind = `"push"`
			case "token":
				kind = `"auth"`
			}
			frames = append(frames, `{"kind":`+kind+`,`+quote(m)+`:`+form+`}`)
		}
	}
	frames = append(frames,
		`{"kind":"pull","limit":10001}`, `{"kind":"pull","limit":0}`, `{"kind":"pull","profile":"warehouse"}`, `{"kind":"pull","pins":[{"type":"client","id":"../x"}]}`, `{"kind":"pull","mutations":[]}`, `{"kind":"pull","token":"x"}`,
		`{"kind":"pull","window":{"from":"x","to":"y"}}`, `{"kind":"pull","checkpoint":"`+strings.Repeat("x", 300)+`"}`,
		`{"kind":"push",`+now+`}`+` `, `{"kind":"push","acked":0,`+now+`,"mutations":[{}]}`, `{"kind":"push","acked":0,`+now+`,"mutations":[1]}`, `{"kind":"push","acked":0,`+now+`,"mutations":[{"n":0}]}`,
		`{"kind":"push","acked":0,`+now+`,"mutations":[{"n":-1}]}`, `{"kind":"push","acked":0,`+now+`,"mutations":[{"n":1,"n":1}]}`, `{"kind":"push","acked":0,"now":"x","mutations":[]}`,
		`{"kind":"push","acked":0,`+now+`,"mutations":[`+strings.TrimSuffix(strings.Repeat(`{"n":1},`, 501), ",")+`]}`,
		"\x00", "\xff\xfe", " ", "", strings.Repeat("x", 2<<20), `{"kind":"pull","checkpoint":"`+strings.Repeat("x", 2<<20)+`"}`,
	)
	asked := 0
	for i, frame := range frames {
		if frame == `{"kind":"push",`+now+`}`+" " {
			continue // a push of nothing is one
		}
		asked++
		if code, err := w.frame(w.device, websocket.TextMessage, frame); err != nil {
			t.Errorf("%d: %.100q: %v", i, frame, err)
		} else if code != "" && !served[code] {
			t.Errorf("%d: %.100q: the code %q is not documented", i, frame, code)
		}
		// To who has not signed in.
		if i%4 == 0 {
			if _, err := w.frame("", websocket.TextMessage, frame); err != nil {
				t.Errorf("%d, unsigned: %.100q: %v", i, frame, err)
			}
		}
	}
	if _, err := w.frame(w.device, websocket.BinaryMessage, `{"kind":"pull"}`); err != nil {
		t.Error(err)
	}
	for _, raw := range []string{
		"\x81\x05hello",                                            // not masked
		"\xff\x85\x00\x00\x00\x00hello",                            // reserved bits
		"\x83\x85\x00\x00\x00\x00hello",                            // an opcode that is none
		"\x80\x85\x00\x00\x00\x00hello",                            // goes on with nothing
		"\x89\xfe\x00\xff\x00\x00\x00\x00",                         // a ping too long
		"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00", // 2^63-1 bytes to come
		"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00", // a negative length
		"\x88\x81\x00\x00\x00\x00x",                                // a close of one byte
		"\x88\x82\x00\x00\x00\x00\x03\xe7",                         // a close code that is none
		"\x81\x84\x00\x00\x00\x00\xff\xfe\xfd\xfc",                 // text that is none
	} {
		asked++
		if err := w.bytes(raw); err != nil {
			t.Errorf("%q: %v", raw, err)
		}
	}
	if asked < 150 {
		t.Errorf("only %d frames", asked)
	}
	if diff := differences(before, w.digest()); len(diff) > 0 {
		t.Errorf("left behind in %v", diff)
	}
	if n := w.touched(at); n > 0 {
		t.Errorf("%d records are changed", n)
	}
	// The control: a pull is answered by a page, and moves the device.
	if code, err := w.frame(w.device, websocket.TextMessage, `{"kind":"pull","profile":"office"}`); err == nil {
		t.Errorf("a good frame was refused as %q", code)
	}
	if diff := differences(before, w.digest()); len(diff) == 0 {
		t.Error("a page moved nothing")
	}
	t.Logf("%d frames", asked)
}

// lenient reports whether a form of a member is no mistake.
func lenient(member, form string) bool {
	switch form {
	case `null`:
		return member != "mutations" && member != "kind" && member != "now" && member != "token"
	case `1`:
		return member == "limit" || member == "schema" || member == "acked"
	case `[]`:
		return member == "pins" || member == "heal" || member == "mutations"
	case `{}`:
		return member == "reconcile"
	case `"x"`:
		return member == "heal" || member == "checkpoint" // one that is not known begins anew
	}
	return false
}

var errAnswered = errors.New("was taken for a good one")

func (w *world) dial(token string) (*websocket.Conn, error) {
	h := http.Header{}
	if token != "" {
		h.Set("Authorization", "Bearer "+token)
	}
	d := websocket.Dialer{HandshakeTimeout: 10 * time.Second}
	c, _, err := d.Dial("ws://"+w.addr+"/sync/v1/live", h)
	return c, err
}

// frame sends one frame on a socket of its own and returns the code of the
// error frame that answers it; a close alone has none.
func (w *world) frame(token string, kind int, frame string) (code string, err error) {
	c, err := w.dial(token)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.WriteMessage(kind, []byte(frame)); err != nil {
		return "", err
	}
	if err := c.SetReadDeadline(time.Now().Add(8 * time.Second)); err != nil {
		return "", err
	}
	var got struct{ Kind, Code string }
	if err := c.ReadJSON(&got); err != nil {
		var ce *websocket.CloseError
		if !errors.As(err, &ce) {
			var ne net.Error
			if errors.As(err, &ne) && ne.Timeout() {
				return "", err
			}
			return "", nil // cut off: more was sent than is read
		}
		if ce.Code == websocket.CloseInternalServerErr {
			return "", err
		}
		return "", nil
	}
	if got.Kind != "error" {
		return "", fmt.Errorf("%w: answered by %s", errAnswered, got.Kind)
	}
	if got.Code == "" {
		return "", errors.New("an error frame without a code")
	}
	return got.Code, nil
}

// bytes sends bytes beneath the protocol's frames: the server must end the
// connection.
func (w *world) bytes(raw string) error {
	c, err := w.dial(w.device)
	if err != nil {
		return err
	}
	defer c.Close()
	n := c.NetConn()
	if _, err := n.Write([]byte(raw)); err != nil {
		return err
	}
	if err := n.SetReadDeadline(time.Now().Add(8 * time.Second)); err != nil {
		return err
	}
	buf := make([]byte, 256)
	for {
		k, err := n.Read(buf)
		if err != nil {
			var ne net.Error
			if errors.As(err, &ne) && ne.Timeout() {
				return err
			}
			return nil
		}
		if k >= 4 && buf[0] == 0x88 { // the close, with its code
			if at := 2; int(buf[at])<<8|int(buf[at+1]) == websocket.CloseInternalServerErr {
				return errors.New("closed as an internal error")
			}
			return nil
		}
	}
}

// TestBadConnections speaks what is no HTTP. Whatever comes back is a refusal
// or the end of the connection, and nobody else notices.
func TestBadConnections(t *testing.T) {
	w := newWorld(t)
	before, at := w.digest(), w.position()
	auth := "Authorization: Bearer " + w.token + "\r\n"
	patch := func(headers, body string) string {
		return "PATCH /v1/service/jobs/job-acme-1 HTTP/1.1\r\nHost: x\r\n" + auth + "Content-Type: application/json\r\n" + headers + "\r\n" + body
	}
	for _, c := range []struct{ name, raw string }{
		{"nothing", ""},
		{"noise", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"},
		{"zeros", strings.Repeat("\x00", 2000)},
		{"no version", "GET /v1/me\r\n\r\n"},
		{"a version that is none", "GET /v1/me HTTP/9.9\r\nHost: x\r\n\r\n"},
		{"HTTP/2 by surprise", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},
		{"no address", "GET  HTTP/1.1\r\nHost: x\r\n\r\n"},
		{"lower case method", "patch /v1/service/jobs/job-acme-1 HTTP/1.1\r\nHost: x\r\n" + auth + "\r\n"},
		{"a long line", "GET /" + strings.Repeat("a", 40_000) + " HTTP/1.1\r\nHost: x\r\n\r\n"},
		{"a long header", "GET /v1/me HTTP/1.1\r\nHost: x\r\nX-A: " + strings.Repeat("a", 40_000) + "\r\n\r\n"},
		{"many headers", "GET /v1/me HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X-A: b\r\n", 20_000) + "\r\n"},
		{"a header without a colon", "GET /v1/me HTTP/1.1\r\nHost: x\r\nnonsense\r\n\r\n"},
		{"a NUL in a header", "GET /v1/me HTTP/1.1\r\nHost: x\r\nX-A: a\x00b\r\n\r\n"},
		{"a space before the colon", "GET /v1/me HTTP/1.1\r\nHost: x\r\nContent-Length : 5\r\n\r\nhello"},
		{"a folded header", "GET /v1/me HTTP/1.1\r\nHost: x\r\nX-A: a\r\n b\r\n\r\n"},
		{"a negative length", patch("Content-Length: -5\r\n", `{"title":"no"}`)},
		{"a length that is none", patch("Content-Length: five\r\n", `{"title":"no"}`)},
		{"a length with a sign", patch("Content-Length: +14\r\n", `{"title":"no"}`)},
		{"a huge length", patch("Content-Length: 99999999999999999999\r\n", `{"title":"no"}`)},
		{"more than is taken", patch("Content-Length: 99999999\r\n", `{"title":"no"}`)},
		{"shorter than said", patch("Content-Length: 100\r\n", `{"title":"no"}`)},
		{"longer than said", patch("Content-Length: 5\r\n", `{"title":"no"}`)},
		{"two lengths", patch("Content-Length: 14\r\nContent-Length: 3\r\n", `{"title":"no"}`)},
		{"a length and chunks", patch("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n")},
		{"an encoding that is none", patch("Transfer-Encoding: gzip, chunked\r\n", "5\r\nhello\r\n0\r\n\r\n")},
		{"chunks twice", patch("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "5\r\nhello\r\n0\r\n\r\n")},
		{"a chunk size that is none", patch("Transfer-Encoding: chunked\r\n", "zz\r\nhello\r\n0\r\n\r\n")},
		{"a negative chunk", patch("Transfer-Encoding: chunked\r\n", "-1\r\nhello\r\n0\r\n\r\n")},
		{"a huge chunk", patch("Transfer-Encoding: chunked\r\n", "ffffffffffffffff\r\nhello")},
		{"a chunk without an end", patch("Transfer-Encoding: chunked\r\n", "5\r\nhelloX0\r\n\r\n")},
		{"chunks that stop", patch("Transfer-Encoding: chunked\r\n", "e\r\n{\"title\":")},
		{"a request smuggled in a body", "GET /v1/me HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nX"},
		{"an expectation", patch("Expect: nonsense\r\nContent-Length: 14\r\n", "")},
		{"no host", "GET /v1/me HTTP/1.1\r\n\r\n"},
		{"line feeds alone", "GET /v1/nothing HTTP/1.1\nHost: x\n\n"},
		{"another server's address", "GET http://evil.example/v1/me HTTP/1.1\r\nHost: x\r\n\r\n"},
		{"CONNECT", "CONNECT evil.example:443 HTTP/1.1\r\nHost: x\r\n\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, err := net.DialTimeout("tcp", w.addr, 5*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			defer n.Close()
			// A server that has seen enough may close while more is sent.
			_, _ = n.Write([]byte(c.raw))
			if err := n.(*net.TCPConn).CloseWrite(); err != nil && !strings.Contains(err.Error(), "not connected") {
				t.Fatal(err)
			}
			if err := n.SetReadDeadline(time.Now().Add(8 * time.Second)); err != nil {
				t.Fatal(err)
			}
			res, err := http.ReadResponse(bufio.NewReader(n), nil)
			var ne net.Error
			if errors.As(err, &ne) && ne.Timeout() {
				t.Fatal("the connection hangs")
			}
			if err != nil {
				return // cut off
			}
			_ = res.Body.Close()
			if res.StatusCode < 400 || res.StatusCode > 499 {
				t.Errorf("answered %d", res.StatusCode)
			}
		})
	}
	if diff := differences(before, w.digest()); len(diff) > 0 {
		t.Errorf("left behind in %v", diff)
	}
	if n := w.touched(at); n > 0 {
		t.Errorf("%d records are changed", n)
	}
	if a, err := w.send(&request{method: "GET", path: "/v1/me", token: w.token}); err != nil || a.status != 200 {
		t.Errorf("afterwards: %v %v", a, err)
	}
}
