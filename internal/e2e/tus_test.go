package e2e_test

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// tusClient is the protocol's own client, from npm, in a folder of its own.
func tusClient(t *testing.T) (dir string) {
	t.Helper()
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("no %s", tool)
		}
	}
	dir = t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/tus")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		// Where the registry can't be reached, that says nothing of the server;
		// in CI anything else is a fault of ours.
		away := regexp.MustCompile(`ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|E403|E5\d\d`).Match(out)
		if os.Getenv("CI") == "" || away {
			t.Skipf("npm can't install the client: %v\n%s", err, out)
		}
		t.Fatalf("npm: %v\n%s", err, out)
	}
	return dir
}

// process is the server as its own process, to be killed.
type process struct {
	t    *testing.T
	bin  string
	dir  string
	addr string
	cmd  *exec.Cmd
}

func (p *process) start() {
	p.t.Helper()
	p.cmd = exec.Command(p.bin, "serve", "--data", p.dir, "--listen", p.addr)
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "listening on ") {
		p.t.Fatalf("%q %v", line, err)
	}
	cmd := p.cmd
	p.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
}

func (p *process) kill() {
	p.t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		p.t.Fatal(err)
	}
	_ = p.cmd.Wait() // it says that it was killed
}

// sent is what the client says of an upload.
type sent struct {
	URL      string  `json:"url"`
	Requests [][]any `json:"requests"`
	Error    string  `json:"error"`
	Status   int     `json:"status"`
}

func (s *sent) count(method string, status int) (n int) {
	for _, r := range s.Requests {
		if r[0] == method && r[1] == float64(status) {
			n++
		}
	}
	return n
}

// TestTusClient: the protocol's own client sends files to the real program: in
// pieces, after an interruption, with checksums, and through a crash in the
// midst of one.
func TestTusClient(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program")
	}
	client := tusClient(t)
	bin := filepath.Join(t.TempDir(), "satchel")
	if out, err := exec.Command("go", "build", "-o", bin, "satchel/cmd/satchel").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s := newServer(t)
	addr := s.app.Address()
	s.halt()
	p := &process{t: t, bin: bin, dir: s.dir, addr: addr}
	p.start()
	me := s.signIn(mia, "")

	document := func() string {
		t.Helper()
		r := me.post("/v1/helpdesk/documents", map[string]any{"parent": "job-one-1", "name": "photo.png"})
		var doc struct {
			ID string `json:"id"`
		}
		if r.status != http.StatusCreated || json.Unmarshal(r.body, &doc) != nil {
			t.Fatalf("%d %s", r.status, r.body)
		}
		return doc.ID
	}
	order := func(o map[string]any) *exec.Cmd {
		t.Helper()
		o["endpoint"], o["token"] = s.url+"/files/", me.access
		raw, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("node", "send.mjs", string(raw))
		cmd.Dir = client
		cmd.Stderr = os.Stderr
		return cmd
	}
	read := func(raw []byte, err error) *sent {
		t.Helper()
		var out sent
		if err != nil || json.Unmarshal(raw, &out) != nil {
			t.Fatalf("%s: %v", raw, err)
		}
		return &out
	}
	send := func(o map[string]any) *sent { t.Helper(); return read(order(o).Output()) }
	file := func(size int) (string, [32]byte) {
		t.Helper()
		b := make([]byte, size)
		if _, err := rand.Read(b); err != nil {
			t.Fatal(err)
		}
		copy(b, "\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR")
		path := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path, sha256.Sum256(b)
	}
	arrived := func(doc string, want [32]byte) {
		t.Helper()
		req, err := http.NewRequest(http.MethodGet, s.url+"/v1/helpdesk/documents/"+doc+"/content", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+me.access)
		res, err := s.http.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		h := sha256.New()
		if _, err := io.Copy(h, res.Body); err != nil {
			t.Fatal(err)
		}
		if res.StatusCode != http.StatusOK || !bytes.Equal(h.Sum(nil), want[:]) {
			t.Fatalf("%s: %d, or another content", doc, res.StatusCode)
		}
	}

	path, sum := file(3 << 20)
	t.Run("in pieces", func(t *testing.T) {
		doc := document()
		out := send(map[string]any{"file": path, "document": doc, "chunk": 256 << 10})
		if out.Error != "" || out.count("POST", 201) != 1 || out.count("PATCH", 204) != 12 {
			t.Fatalf("%+v", out)
		}
		arrived(doc, sum)
	})
	t.Run("with the creation", func(t *testing.T) {
		doc := document()
		if out := send(map[string]any{"file": path, "document": doc, "withCreation": true}); out.Error != "" || len(out.Requests) != 1 {
			t.Fatalf("%+v", out)
		}
		arrived(doc, sum)
	})
	t.Run("by POST alone", func(t *testing.T) {
		doc := document()
		if out := send(map[string]any{"file": path, "document": doc, "override": true, "chunk": 1 << 20}); out.Error != "" || out.count("POST", 204) != 3 {
			t.Fatalf("%+v", out)
		}
		arrived(doc, sum)
	})
	t.Run("stopped and resumed over a crash", func(t *testing.T) {
		doc := document()
		out := send(map[string]any{"file": path, "document": doc, "chunk": 1 << 20, "stopAt": 2 << 20})
		if out.Error != "" || out.URL == "" || out.count("PATCH", 204) != 2 {
			t.Fatalf("%+v", out)
		}
		p.kill()
		p.start()
		out = send(map[string]any{"file": path, "document": doc, "url": out.URL})
		if out.Error != "" || out.count("HEAD", 200) != 1 || out.count("PATCH", 204) != 1 || out.Requests[0][2] != float64(2<<20) {
			t.Fatalf("%+v", out)
		}
		arrived(doc, sum)
	})
	t.Run("checksums", func(t *testing.T) {
		for _, algorithm := range []string{"sha1", "sha256"} {
			doc := document()
			out := send(map[string]any{"file": path, "document": doc, "checksum": algorithm, "damaged": 1})
			if out.Status != 460 {
				t.Fatalf("%+v", out)
			}
			out = send(map[string]any{"file": path, "document": doc, "url": out.URL, "checksum": algorithm})
			if out.Error != "" || out.Requests[0][2] != float64(0) || out.count("PATCH", 204) != 1 {
				t.Fatalf("%+v", out)
			}
			arrived(doc, sum)
		}
	})
	t.Run("killed in the midst", func(t *testing.T) {
		path, sum := file(150 << 20)
		doc := document()
		cmd := order(map[string]any{"file": path, "document": doc, "retries": []int{100, 300, 500, 1000, 2000, 3000, 5000}})
		var stdout bytes.Buffer
		cmd.Stdout = &stdout
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		half := false
		for end := time.Now().Add(30 * time.Second); !half && time.Now().Before(end); time.Sleep(time.Millisecond) {
			parts, err := filepath.Glob(filepath.Join(p.dir, "uploads", slug, "*.part"))
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range parts {
				st, err := os.Stat(f)
				half = half || err == nil && st.Size() > 20<<20 && st.Size() < 140<<20
			}
		}
		if !half {
			_ = cmd.Process.Kill()
			t.Fatal("the upload was never seen half way")
		}
		p.kill()
		p.start()
		err := cmd.Wait()
		out := read(stdout.Bytes(), err)
		if out.Error != "" || out.count("HEAD", 200) < 1 {
			t.Fatalf("%+v", out)
		}
		for _, r := range out.Requests {
			if r[0] == "HEAD" && r[1] == float64(200) && r[2].(float64) < 8<<20 {
				t.Errorf("began again at %v", r[2])
			}
		}
		arrived(doc, sum)
	})
}
