package files_test

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"go.uber.org/goleak"

	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/internal/testworld"
	"satchel/server/blob"
	"satchel/server/edge"
	"satchel/server/files"
	"satchel/server/rest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"))
}

// png is the beginning of a picture of one pixel, and enough to be told for
// one.
var png = []byte("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00\x1f\x15\xc4\x89\x00\x00\x00\rIDATx\x9cc\xf8\xff\xff\xff\x7f\x00\t\xfb\x03\xfd\x05CE\xca\x00\x00\x00\x00IEND\xaeB`\x82")

// picture is n bytes that are a picture by their beginning and like no other.
func picture(n int) []byte {
	b := make([]byte, n)
	if _, err := rand.Read(b); err != nil {
		panic(err)
	}
	copy(b, png)
	return b
}

// world is a tenant with files on a real listener.
type world struct {
	*testworld.World
	t     testing.TB
	dir   string
	opts  files.Options
	files *files.Server
	addr  string
}

func newWorld(t testing.TB, change ...func(*files.Options)) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir()}
	w.World = testworld.New(t, func(app *fiber.App, auth *edge.Auth, cat *entity.Catalogue) {
		files.Configure(app)
		w.opts = files.Options{
			Dir: filepath.Join(w.dir, "uploads"), Blobs: blob.NewFolder(filepath.Join(w.dir, "blobs"), auth.Clock), Clock: auth.Clock,
		}
		for _, f := range change {
			f(&w.opts)
		}
		var err error
		if w.files, err = files.Mount(app, auth, cat, w.opts); err != nil {
			t.Fatal(err)
		}
		if _, err := rest.Mount(app, auth, cat, rest.Options{}); err != nil {
			t.Fatal(err)
		}
		app.Post("/echo", func(c *fiber.Ctx) error { return c.Send(c.Request().Body()) })
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.addr = l.Addr().String()
	served := make(chan error, 1)
	go func() { served <- w.App.Listener(l) }()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		if err := w.App.Shutdown(); err != nil {
			t.Error(err)
		}
		_ = l.Close()
		<-served
	})
	return w
}

// reply is an answer, read.
type reply struct {
	t      testing.TB
	status int
	header http.Header
	body   []byte
}

func (r *reply) code() string {
	var p struct {
		Code string `json:"code"`
	}
	_ = json.Unmarshal(r.body, &p)
	return p.Code
}

func (r *reply) want(status int, code string) *reply {
	r.t.Helper()
	if r.status != status || r.code() != code {
		r.t.Fatalf("answered %d %q, want %d %q: %s", r.status, r.code(), status, code, r.body)
	}
	return r
}

// offset demands the offset an upload is told to be at.
func (r *reply) offset(n int) *reply {
	r.t.Helper()
	if got := r.header.Get("Upload-Offset"); got != strconv.Itoa(n) {
		r.t.Fatalf("offset %q, want %d", got, n)
	}
	return r
}

// send sends a request of a person's, "" for nobody's, as the protocol's.
func (w *world) send(who ident.RecordID, method, path string, body io.Reader, headers ...string) *reply {
	w.t.Helper()
	req, err := http.NewRequest(method, "http://"+w.addr+path, body)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Tus-Resumable", "1.0.0")
	if who != "" {
		req.Header.Set("Authorization", "Bearer "+w.Token(who))
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i+1] == "-" {
			req.Header.Del(headers[i])
			continue
		}
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return &reply{w.t, res.StatusCode, res.Header, b}
}

func meta(kv ...string) string {
	var out []string
	for i := 0; i < len(kv); i += 2 {
		out = append(out, kv[i]+" "+base64.StdEncoding.EncodeToString([]byte(kv[i+1])))
	}
	return strings.Join(out, ",")
}

// begin creates an upload for a document and returns where it is.
func (w *world) begin(who ident.RecordID, document ident.RecordID, length int) string {
	w.t.Helper()
	r := w.send(who, "POST", "/files/", nil, "Upload-Length", strconv.Itoa(length), "Upload-Metadata", meta("document", string(document), "filename", "photo.png")).want(201, "")
	return r.header.Get("Location")
}

func (w *world) patch(who ident.RecordID, at string, offset int, body []byte, headers ...string) *reply {
	w.t.Helper()
	return w.send(who, "PATCH", at, bytes.NewReader(body), append([]string{"Upload-Offset", strconv.Itoa(offset), "Content-Type", "application/offset+octet-stream"}, headers...)...)
}

// upload brings content for a document, whole.
func (w *world) upload(who ident.RecordID, document ident.RecordID, content []byte) string {
	w.t.Helper()
	at := w.begin(who, document, len(content))
	w.patch(who, at, 0, content).want(204, "").offset(len(content))
	return at
}

// document makes one and returns its id.
func (w *world) document(who ident.RecordID, parent, name string) ident.RecordID {
	w.t.Helper()
	res := w.HTTP(who, "POST", "/v1/helpdesk/documents", testworld.Object("parent", parent, "name", name)).Want(w.t, 201, "")
	var doc struct{ ID ident.RecordID }
	if err := json.Unmarshal(res.Body, &doc); err != nil {
		w.t.Fatal(err)
	}
	return doc.ID
}

func content(id ident.RecordID) string { return "/v1/helpdesk/documents/" + string(id) + "/content" }

// raw is a connection on which a request can be left unfinished.
type raw struct {
	net.Conn
	t testing.TB
	r *bufio.Reader
}

func (w *world) raw() *raw {
	w.t.Helper()
	c, err := net.Dial("tcp", w.addr)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		w.t.Fatal(err)
	}
	return &raw{c, w.t, bufio.NewReader(c)}
}

func (c *raw) write(format string, args ...any) {
	c.t.Helper()
	if _, err := fmt.Fprintf(c, format, args...); err != nil {
		c.t.Fatal(err)
	}
}

// patching writes the head of a PATCH with a body of length bytes.
func (c *raw) patching(w *world, who ident.RecordID, at string, offset, length int) {
	c.t.Helper()
	c.write("PATCH %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: %d\r\nContent-Type: application/offset+octet-stream\r\nContent-Length: %d\r\n\r\n",
		at, w.Token(who), offset, length)
}

func (c *raw) answer() *http.Response {
	c.t.Helper()
	res, err := http.ReadResponse(c.r, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		c.t.Fatal(err)
	}
	return res
}

// ended demands that the server closes the connection.
func (c *raw) ended() {
	c.t.Helper()
	b, err := io.ReadAll(c.r)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Fatal("the connection stays open")
	}
	if err == nil && len(b) > 0 {
		c.t.Fatalf("the connection goes on: %q", b)
	}
}

// soon waits until cond holds.
func soon(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !cond(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// second is a server that starts anew on what another one left.
type second struct {
	w     *world
	app   *fiber.App
	files *files.Server
}

func (w *world) again() *second {
	w.t.Helper()
	s := &second{w: w, app: edge.NewApp(nil)}
	files.Configure(s.app)
	var err error
	if s.files, err = files.Mount(s.app, w.Auth, w.Cat, w.opts); err != nil {
		w.t.Fatal(err)
	}
	return s
}

func (s *second) do(method, path string, body []byte, headers ...string) *http.Response {
	s.w.t.Helper()
	req, err := http.NewRequest(method, "http://x"+path, bytes.NewReader(body))
	if err != nil {
		s.w.t.Fatal(err)
	}
	req.Header.Set("Tus-Resumable", "1.0.0")
	req.Header.Set("Authorization", "Bearer "+s.w.Token(testworld.Engineer))
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := s.app.Test(req, -1)
	if err != nil {
		s.w.t.Fatal(err)
	}
	return res
}

// try asks for an upload and returns the code of the refusal, "" for none.
func (s *second) try(n int) string {
	s.w.t.Helper()
	res := s.do("POST", "/files/", nil, "Upload-Length", strconv.Itoa(n), "Upload-Metadata", meta("document", "doc-new-1"))
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		s.w.t.Fatal(err)
	}
	return (&reply{body: b}).code()
}

// head returns the offset of an upload.
func (s *second) head(at string) string {
	s.w.t.Helper()
	res := s.do("HEAD", at, nil)
	_ = res.Body.Close()
	return res.Header.Get("Upload-Offset")
}

func (s *second) patch(at string, offset int, body []byte) {
	s.w.t.Helper()
	res := s.do("PATCH", at, body, "Upload-Offset", strconv.Itoa(offset), "Content-Type", "application/offset+octet-stream")
	_ = res.Body.Close()
	if res.StatusCode != 204 {
		s.w.t.Fatalf("patch: %d", res.StatusCode)
	}
}

// disposition reads a Content-Disposition, which must be one to save.
func disposition(t testing.TB, header string) (string, map[string]string) {
	t.Helper()
	kind, params, err := mime.ParseMediaType(header)
	if err != nil || kind != "attachment" {
		t.Fatalf("%q: %s %v", header, kind, err)
	}
	return kind, params
}

// download reads a document's content and drops it.
func (w *world) download(path string) int64 {
	w.t.Helper()
	req, err := http.NewRequest("GET", "http://"+w.addr+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+w.Token(testworld.Engineer))
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	n, err := io.Copy(io.Discard, res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}
