package files_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"satchel/internal/testworld"
	"satchel/server/edge"
)

// TestOtherBodies: the bodies of all other requests reach their handlers whole
// and bounded, however they are sent.
func TestOtherBodies(t *testing.T) {
	w := newWorld(t)
	echo := func(body io.Reader, n int, status int) {
		t.Helper()
		r := w.send("", "POST", "/echo", body)
		if r.status != status || status == 200 && len(r.body) != n {
			t.Errorf("%d bytes: %d, %d came back", n, r.status, len(r.body))
		}
	}
	for _, n := range []int{0, 1, 8<<10 - 1, 8 << 10, 8<<10 + 1, 70 << 10, edge.MaxBody} {
		echo(bytes.NewReader(make([]byte, n)), n, 200)
		echo(io.MultiReader(bytes.NewReader(make([]byte, n))), n, 200) // chunked
	}
	over := make([]byte, edge.MaxBody+1)
	for _, body := range []io.Reader{bytes.NewReader(over), io.MultiReader(bytes.NewReader(over))} {
		req, err := http.NewRequest("POST", "http://"+w.addr+"/echo", body)
		if err != nil {
			t.Fatal(err)
		}
		// The connection may end before all is sent.
		if res, err := http.DefaultClient.Do(req); err == nil {
			_ = res.Body.Close()
			if res.StatusCode != 413 {
				t.Errorf("over the limit: %d", res.StatusCode)
			}
		}
	}
	want := strings.Repeat("0123456789abcdef", 2000)
	if r := w.send("", "POST", "/echo", strings.NewReader(want)); string(r.body) != want {
		t.Error("not what was sent")
	}
}

// TestHugeAnnounced: a body that is announced as too large is refused before
// it comes, and nothing is set aside for it.
func TestHugeAnnounced(t *testing.T) {
	w := newWorld(t)
	for _, target := range []string{"/echo", "/v1/service/jobs", "//files/", "/x/../files/", "/%66iles/", "/filesx", "http://x/files/"} {
		t.Run(target, func(t *testing.T) {
			t.Parallel()
			c := w.raw()
			c.write("POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 9000000000\r\n\r\n%s",
				target, w.Token(eng), strings.Repeat("x", 64<<10))
			if res := c.answer(); res.StatusCode != 413 || !res.Close {
				t.Errorf("%d, closing: %v", res.StatusCode, res.Close)
			}
			c.ended()
		})
	}
}

// TestCutBody: a body that broke off reaches no handler.
func TestCutBody(t *testing.T) {
	w := newWorld(t)
	body := `{"client":"client-acme","title":"cut"}`
	pad := strings.Repeat(" ", 9000)
	c := w.raw()
	// Valid JSON, followed by blanks that never all come.
	c.write("POST /v1/service/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		w.Token(testworld.Manager), len(body)+2*len(pad), body+pad)
	_ = c.Close()
	w.HTTP(testworld.Manager, "POST", "/v1/service/jobs", testworld.Object("client", "client-acme", "title", "whole")).Want(t, 201, "")
	if r := w.HTTP(testworld.Manager, "GET", "/v1/service/jobs?q=cut", nil).Want(t, 200, ""); strings.Contains(string(r.Body), "cut") {
		t.Error("half a body was taken for a whole one")
	}
}

// TestNoSmuggling: what a handler leaves of a body is never taken for the next
// request.
func TestNoSmuggling(t *testing.T) {
	w := newWorld(t)
	inner := "DELETE /v1/service/jobs/job-corp-1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + w.Token(testworld.Manager) + "\r\n\r\n"
	for _, c := range []struct {
		name, head, body string
		goesOn           bool
	}{
		{"refused, small", "POST /files/ HTTP/1.1\r\nContent-Length: %LEN%\r\n", inner, true},
		{"refused, large", "POST /files/ HTTP/1.1\r\nContent-Length: %LEN%\r\n", strings.Repeat("x", 18<<20) + inner, false},
		{"no such route", "POST /files/a/b HTTP/1.1\r\nContent-Length: %LEN%\r\n", inner, true},
		{"no such method", "PUT /files/ HTTP/1.1\r\nContent-Length: %LEN%\r\n", inner, true},
		{"with a query", "PATCH /files?x=1 HTTP/1.1\r\nContent-Length: %LEN%\r\n", inner, true},
		{"of a GET", "GET /files/x HTTP/1.1\r\nContent-Length: %LEN%\r\n", inner, true},
		{"options", "OPTIONS /files/ HTTP/1.1\r\nContent-Length: %LEN%\r\n", inner, true},
		{"chunked", "POST /files/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n", true},
		{"chunked, never ending well", "POST /files/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n", "5\r\nhelloXX" + inner, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn := w.raw()
			go func() { // the server may close before it has read all
				_, _ = io.WriteString(conn, strings.Replace(c.head, "%LEN%", itoa(len(c.body)), 1)+"Host: x\r\n\r\n"+c.body+
					"GET /openapi.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
			}()
			res := conn.answer()
			if res.StatusCode == 200 {
				t.Errorf("answered %d", res.StatusCode)
			}
			if res.Close == c.goesOn {
				t.Errorf("closing: %v", res.Close)
			}
			if c.goesOn {
				if res := conn.answer(); res.StatusCode != 200 {
					t.Errorf("the next request: %d", res.StatusCode)
				}
			}
			conn.ended()
			w.HTTP(testworld.Manager, "GET", "/v1/service/jobs/job-corp-1", nil).Want(t, 200, "")
		})
	}
}

// TestChunkedThenNext: a body of unknown length that was read to its end is not
// read beyond it.
func TestChunkedThenNext(t *testing.T) {
	w := newWorld(t)
	at := w.begin(eng, "doc-new-1", 10)
	c := w.raw()
	for i := range 2 {
		c.write("PATCH %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: %d\r\nContent-Type: %s\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
			at, w.Token(eng), 5*i, chunk)
	}
	c.write("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET /openapi.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	start := time.Now()
	for i, want := range []int{204, 204, 200, 200} {
		if res := c.answer(); res.StatusCode != want {
			t.Fatalf("request %d: %d, want %d", i, res.StatusCode, want)
		}
	}
	if d := time.Since(start); d >= 2*time.Second { // as long as the server would
		t.Errorf("took %v: somebody waited for more of a body that had ended", d)
	}
	c.ended()
}

// TestExpectContinue: a client that asks first is told to go on.
func TestExpectContinue(t *testing.T) {
	w := newWorld(t)
	body := picture(20_000)
	at := w.begin(eng, "doc-new-1", len(body))
	req, err := http.NewRequest("PATCH", "http://"+w.addr+at, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+w.Token(eng))
	req.Header.Set("Tus-Resumable", "1.0.0")
	req.Header.Set("Upload-Offset", "0")
	req.Header.Set("Content-Type", chunk)
	req.Header.Set("Expect", "100-continue")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != 204 || res.Header.Get("Upload-Offset") != "20000" {
		t.Errorf("%d %v", res.StatusCode, res.Header)
	}
}
