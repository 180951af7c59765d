package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"satchel/internal/app"
	"satchel/internal/command"
	"satchel/internal/ident"
	"satchel/server/blob"
)

// filed is a data folder with a tenant that has documents with content.
type filed struct {
	t    *testing.T
	data string
	n    int
}

func newFiled(t *testing.T) *filed {
	t.Helper()
	f := &filed{t: t, data: filepath.Join(t.TempDir(), "data")}
	satchel(t, 0, "init", "--data="+f.data, "--email=ada@example.com")
	f.rows(
		command.Row{Type: "salesArea", ID: "area-north", Fields: command.Object{"name": []byte(`"North"`)}},
		command.Row{Type: "client", ID: "client-one", Fields: command.Object{"name": []byte(`"One"`), "salesArea": []byte(`"area-north"`)}},
	)
	return f
}

func (f *filed) rows(rows ...command.Row) {
	f.t.Helper()
	f.submit(&command.Command{Import: &command.Import{Rows: rows}})
}

func (f *filed) submit(c *command.Command) {
	f.t.Helper()
	ts, err := app.NewTenants(f.data, nil, time.Now)
	if err != nil {
		f.t.Fatal(err)
	}
	ten, err := ts.Tenant("main")
	if err != nil {
		f.t.Fatal(err)
	}
	res, err := ten.Submit(f.t.Context(), c)
	if err != nil {
		f.t.Fatal(err)
	}
	for _, r := range res.Count.Rejected {
		f.t.Fatal(r.Err)
	}
	if err := ts.Close(); err != nil {
		f.t.Fatal(err)
	}
}

// document makes one with content, which is kept unless lost, and returns its
// digest.
func (f *filed) document(content string, lost bool) string {
	f.t.Helper()
	f.n++
	sum := sha256.Sum256([]byte(content))
	digest := hex.EncodeToString(sum[:])
	if !lost {
		tmp := filepath.Join(f.t.TempDir(), "content")
		if err := os.WriteFile(tmp, []byte(content), 0o600); err != nil {
			f.t.Fatal(err)
		}
		if err := blob.NewFolder(filepath.Join(f.data, "blobs"), time.Now).Put(f.t.Context(), "main", blob.Key(digest), tmp); err != nil {
			f.t.Fatal(err)
		}
	}
	f.rows(command.Row{Type: "document", ID: ident.RecordID(fmt.Sprintf("document-%d", f.n)), Fields: command.Object{
		"parent": []byte(`"client-one"`), "name": []byte(`"note.txt"`), "sha256": []byte(`"` + digest + `"`),
		"size": fmt.Append(nil, len(content)), "mediaType": []byte(`"text/plain"`),
	}})
	return digest
}

func contentAt(root, digest string) string { return filepath.Join(root, "main", digest[:2], digest) }

// serving runs a server on a folder and returns its operators' address.
func (f *filed) serving() (admin string, end func()) {
	f.t.Helper()
	s, err := start(func() *exec.Cmd {
		cmd := exec.Command(os.Args[0], "serve", "--data="+f.data, "--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0")
		cmd.Env = append(os.Environ(), asBinary+"=1")
		return cmd
	})
	if err != nil {
		f.t.Fatal(err)
	}
	second := regexp.MustCompile(`admin listening on (\S+)`)
	for until := time.Now().Add(time.Minute); admin == ""; time.Sleep(10 * time.Millisecond) {
		if m := second.FindStringSubmatch(s.output()); m != nil {
			admin = m[1]
		} else if time.Now().After(until) {
			f.t.Fatal(s.output())
		}
	}
	return admin, func() {
		if err := s.stop(syscall.SIGTERM); err != nil {
			f.t.Error(err)
		}
	}
}

func reported(t *testing.T, out string) (r report) {
	t.Helper()
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%s: %v", out, err)
	}
	return r
}

// TestBackupWithContent: a backup of a running server has the records and all
// content they refer to; the next one copies what is new; what is damaged is
// found before anything is restored, and mended by the next backup.
func TestBackupWithContent(t *testing.T) {
	f := newFiled(t)
	one, two := f.document("the first", false), f.document("the second", false)
	f.document("the first", false) // two documents, one content
	to := filepath.Join(t.TempDir(), "backups")
	admin, end := f.serving()
	first := reported(t, satchel(t, 0, "backup", "--admin="+admin, "--to="+to, "--json"))
	if first.Files != 2 || first.Copied != 2 || first.Bytes != int64(len("the first")+len("the second")) || first.Missing != 0 || first.Content != "here" {
		t.Errorf("%+v", first)
	}
	for _, path := range []string{"/content/" + strings.Repeat("0", 64), "/content/..%2f..%2fkeys.json", "/content/" + one + ".w320"} {
		if res, err := http.Get(admin + "/backup/main" + path); err != nil || res.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %v %v", path, res, err)
		} else {
			_ = res.Body.Close()
		}
	}
	end()
	three := f.document("the third", false)
	admin, end = f.serving()
	second := reported(t, satchel(t, 0, "backup", "--admin="+admin, "--to="+to, "--json"))
	end()
	if second.Files != 3 || second.Copied != 1 || second.Manifest == first.Manifest {
		t.Errorf("%+v", second)
	}
	if left, _ := filepath.Glob(filepath.Join(to, ".new-*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}

	// The newest of a folder, or the one that is named.
	for from, want := range map[string][]string{to: {one, two, three}, first.Manifest: {one, two}} {
		data := filepath.Join(t.TempDir(), "restored")
		satchel(t, 0, "restore", "--data="+data, "--from="+from)
		for _, d := range want {
			if b, err := os.ReadFile(contentAt(filepath.Join(data, "blobs"), d)); err != nil || !strings.HasPrefix(string(b), "the ") {
				t.Errorf("%s: %q %v", d, b, err)
			}
		}
		if kept, _ := filepath.Glob(filepath.Join(data, "blobs", "main", "*", "*")); len(kept) != len(want) {
			t.Errorf("%v", kept)
		}
		satchel(t, 0, "verify", "--data="+data)
	}

	// Content that is damaged in the backup.
	data := filepath.Join(t.TempDir(), "restored")
	damage := func() {
		if err := os.WriteFile(contentAt(filepath.Join(to, "content"), two), []byte("the sec0nd"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	damage()
	if out := satchel(t, 1, "restore", "--data="+data, "--from="+to); !strings.Contains(out, two) || !strings.Contains(out, "nothing was changed") {
		t.Errorf("%s", out)
	}
	if _, err := os.Stat(filepath.Join(data, "tenants", "main.db")); err == nil {
		t.Error("restored although content is damaged")
	}
	satchel(t, 0, "restore", "--data="+data, "--from="+to, "--partial")
	if _, err := os.Stat(contentAt(filepath.Join(data, "blobs"), two)); err == nil {
		t.Error("damaged content was restored")
	}
	if r := reported(t, satchel(t, 0, "backup", "--data="+f.data, "--to="+to, "--json")); r.Copied != 0 {
		t.Errorf("%+v", r)
	}
	if r := reported(t, satchel(t, 0, "backup", "--data="+f.data, "--to="+to, "--json", "--rehash")); r.Copied != 1 {
		t.Errorf("%+v", r)
	}
	// What is there and sound stays, what is there and damaged does not.
	if err := os.WriteFile(contentAt(filepath.Join(data, "blobs"), one), []byte("the f1rst"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := satchel(t, 1, "restore", "--data="+data, "--from="+to); !strings.Contains(out, "--force") {
		t.Errorf("%s", out)
	}
	satchel(t, 0, "restore", "--data="+data, "--from="+to, "--force")
	for d, want := range map[string]string{one: "the first", two: "the second"} {
		if b, err := os.ReadFile(contentAt(filepath.Join(data, "blobs"), d)); err != nil || string(b) != want {
			t.Errorf("%q %v", b, err)
		}
	}
	// A copy under another name brings its content along.
	satchel(t, 0, "restore", "--data="+data, "--from="+first.Manifest, "--tenant=other")
	if _, err := os.Stat(filepath.Join(data, "blobs", "other", one[:2], one)); err != nil {
		t.Error(err)
	}
}

// TestNoHalfBackups: without its manifest, or with other records than the
// manifest's, there is no backup; one that breaks off leaves none, and no content
// under a name that is not its own.
func TestNoHalfBackups(t *testing.T) {
	f := newFiled(t)
	digest := f.document("the content", false)
	to := filepath.Join(t.TempDir(), "backups")
	r := reported(t, satchel(t, 0, "backup", "--data="+f.data, "--to="+to, "--json"))
	data := filepath.Join(t.TempDir(), "restored")
	raw, err := os.ReadFile(r.Manifest)
	if err != nil {
		t.Fatal(err)
	}
	records := strings.TrimSuffix(r.Manifest, ".json") + ".db"
	copied, err := os.ReadFile(records)
	if err != nil {
		t.Fatal(err)
	}
	write := func(path string, b []byte) {
		t.Helper()
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	flipped := bytes.Clone(copied)
	flipped[len(flipped)/2] ^= 1
	for name, spoil := range map[string]func(){
		"records changed":  func() { write(records, flipped) },
		"records cut":      func() { write(records, copied[:len(copied)-4096]) },
		"no manifest":      func() { _ = os.Remove(r.Manifest) },
		"manifest cut":     func() { write(r.Manifest, raw[:len(raw)/2]) },
		"manifest empty":   func() { write(r.Manifest, nil) },
		"another format":   func() { write(r.Manifest, bytes.Replace(raw, []byte(`"format": 1`), []byte(`"format": 2`), 1)) },
		"somebody's file":  func() { write(r.Manifest, bytes.Replace(raw, []byte(filepath.Base(records)), []byte("../../x.db"), 1)) },
		"no key":           func() { write(r.Manifest, bytes.ReplaceAll(raw, []byte(digest), []byte("../../../x"))) },
		"a member unknown": func() { write(r.Manifest, bytes.Replace(raw, []byte(`"format"`), []byte(`"Format"`), 1)) },
	} {
		spoil()
		satchel(t, 1, "restore", "--data="+data, "--from="+to)
		if _, err := os.Stat(filepath.Join(data, "tenants", "main.db")); err == nil {
			t.Errorf("%s: restored", name)
		}
		write(records, copied)
		write(r.Manifest, raw)
	}
	satchel(t, 1, "restore", "--data="+data, "--from="+to, "--tenant=mai")
	satchel(t, 0, "restore", "--data="+data, "--from="+to)

	for name, x := range map[string]struct {
		content string
		cut     bool
	}{"broken off": {"the cont", false}, "another": {"the c0ntent", false}, "records broken off": {"the content", true}} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if strings.Contains(req.URL.Path, "/content/") {
				_, _ = io.WriteString(w, x.content)
				return
			}
			w.Header().Set("Trailer", "X-Satchel-Complete")
			w.Header().Set(app.ContentHeader, app.ContentHere)
			if x.cut {
				_, _ = w.Write(copied[:8192])
				return
			}
			_, _ = w.Write(copied)
			w.Header().Set("X-Satchel-Complete", fmt.Sprint(len(copied)))
		}))
		dir := filepath.Join(t.TempDir(), "backups")
		if _, err := backupTo(context.Background(), running{srv.URL, "main"}, dir, "main", false); err == nil {
			t.Errorf("%s: taken", name)
		}
		srv.Close()
		if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) > 0 {
			t.Errorf("%s: left %v", name, left)
		}
		if left, _ := filepath.Glob(filepath.Join(dir, ".new-*")); len(left) > 0 {
			t.Errorf("%s: left %v", name, left)
		}
	}
}

// TestBackupLacksContent: content that the server has lost is named, and the
// command says so by its end.
func TestBackupLacksContent(t *testing.T) {
	f := newFiled(t)
	f.document("the first", false)
	lost := f.document("the lost", true)
	to := filepath.Join(t.TempDir(), "backups")
	if out := satchel(t, 1, "backup", "--data="+f.data, "--to="+to); !strings.Contains(out, "1 files of content that the server lacks") {
		t.Errorf("%s", out)
	}
	path, err := findManifest(to, "main")
	if err != nil {
		t.Fatal(err)
	}
	m, err := readManifest(path)
	if err != nil || len(m.Missing) != 1 || m.Missing[0] != lost || len(m.Files) != 1 {
		t.Errorf("%+v %v", m, err)
	}
	satchel(t, 0, "restore", "--data="+filepath.Join(t.TempDir(), "restored"), "--from="+to)
}

// TestBackupOfABucket: content in a bucket stays there; its keys are noted.
func TestBackupOfABucket(t *testing.T) {
	f := newFiled(t)
	digest := f.document("in the bucket", true)
	dir := t.TempDir()
	key, config := filepath.Join(dir, "key"), filepath.Join(dir, "config.json")
	if err := os.WriteFile(key, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(config, fmt.Appendf(nil, `{"files":{"s3":{"endpoint":"https://s3.example","region":"eu-1","bucket":"b","accessKey":"a","secretKeyFile":%q}}}`, key), 0o600); err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(dir, "backups")
	r := reported(t, satchel(t, 0, "backup", "--data="+f.data, "--to="+to, "--config="+config, "--json"))
	if r.Content != "elsewhere" || r.Files != 1 || r.Copied != 0 {
		t.Errorf("%+v", r)
	}
	if m, err := readManifest(r.Manifest); err != nil || m.Files[0].SHA256 != digest {
		t.Errorf("%+v %v", m, err)
	}
	if _, err := os.Stat(filepath.Join(to, "content")); err == nil {
		t.Error("content was copied")
	}
	satchel(t, 0, "restore", "--data="+filepath.Join(dir, "restored"), "--from="+to, "--config="+config)
}

// TestBackupFlags: what is no whole request is refused before anything is done.
func TestBackupFlags(t *testing.T) {
	f := newFiled(t)
	for _, args := range [][]string{{}, {"--to=x", "--out=y"}} {
		satchel(t, 2, append([]string{"backup", "--data=" + f.data}, args...)...)
	}
	satchel(t, 2, "restore", "--data="+f.data)
}
