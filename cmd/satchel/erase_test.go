package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"

	"satchel/internal/command"
	"satchel/internal/ident"
	"satchel/internal/testworld"
	"satchel/sync/apply"
	"satchel/sync/audit"
	"satchel/sync/state"
	"satchel/sync/tenant"
)

// canary is in every value that tells of the person under test.
const canary = "zaunkoenig"

// where lists the files beneath a folder that hold a word, in their bytes or in
// anything in them that gzip reads, and how often.
func where(t *testing.T, dir, word string) map[string]int {
	t.Helper()
	found := map[string]int{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		n := bytes.Count(bytes.ToLower(b), []byte(word)) + strings.Count(d.Name(), word)
		for at := 0; ; at++ {
			i := bytes.Index(b[at:], []byte{0x1f, 0x8b, 8})
			if i < 0 {
				break
			}
			at += i
			var out bytes.Buffer
			if r, err := gzip.NewReader(bytes.NewReader(b[at:])); err == nil {
				_, _ = out.ReadFrom(r) // up to whatever follows it
				n += bytes.Count(bytes.ToLower(out.Bytes()), []byte(word))
			}
		}
		if n > 0 {
			found[filepath.Base(path)] = n
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestEraseCompactGrep: before, the person is in the tenant's file, in what was
// uploaded and in the exports; after erasing and compacting nothing of a data
// folder, nor a backup that is made then, holds a word of them.
func TestEraseCompactGrep(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	at := "--data=" + data
	satchel(t, 0, "init", at, "--email=ada@example.com")
	satchel(t, 0, "user", "add", canary+"@example.com", "--name="+canary+" miller", at)
	photo := []byte("\x89PNG\r\n\x1a\n" + canary + " in the picture")
	sum := sha256.Sum256(photo)
	digest := hex.EncodeToString(sum[:])
	f := folder{data: data, tenant: "main"}
	do := func(fn func(t *tenant.Tenant) error) {
		t.Helper()
		if err := f.open(fn); err != nil {
			t.Fatal(err)
		}
	}
	var who ident.RecordID
	do(func(ten *tenant.Tenant) (err error) {
		if who, err = personOf(ten, canary+"@example.com"); err != nil {
			return err
		}
		ctx := context.Background()
		object := func(kv ...any) command.Object {
			o := command.Object{}
			for i := 0; i < len(kv); i += 2 {
				raw, err := json.Marshal(kv[i+1])
				if err != nil {
					t.Fatal(err)
				}
				o[kv[i].(string)] = raw
			}
			return o
		}
		rows := []command.Row{
			{Type: "salesArea", ID: "area-north", Fields: object("name", "North")},
			{Type: "client", ID: "client-one", Fields: object("name", "One", "salesArea", "area-north")},
			{Type: "contact", ID: "contact-one", Fields: object("client", "client-one", "name", canary+" senior", "phones", []string{canary + "-555"})},
			{Type: "job", ID: "job-one-1", Fields: object("client", "client-one", "title", "Boiler", "contact", "contact-one")},
			{Type: "document", ID: "photo-one", Fields: object("parent", "contact-one", "name", canary+".png", "sha256", digest, "size", len(photo), "mediaType", "image/png")},
		}
		for i := range 300 { // enough that the file has free pages with them
			rows = append(rows, command.Row{Type: "preference", ID: ident.RecordID(fmt.Sprintf("pref-%04d", i)), Fields: object("owner", who, "key", fmt.Sprint("k", i), "value", strings.Repeat(canary+" ", 20))})
		}
		for len(rows) > 0 {
			n := min(len(rows), 20)
			res, err := ten.Submit(ctx, &command.Command{Import: &command.Import{Rows: rows[:n]}})
			if err != nil || len(res.Count.Rejected) > 0 {
				return fmt.Errorf("%v %v", err, res.Count.Rejected)
			}
			rows = rows[n:]
		}
		for _, change := range []string{"another", "and another"} {
			if _, err := ten.Submit(ctx, &command.Command{Import: &command.Import{Rows: []command.Row{{Type: "contact", ID: "contact-one", Fields: object("notes", canary+" "+change)}}}}); err != nil {
				return err
			}
		}
		return nil
	})
	// Content, a thumbnail of it, an upload on its way and one taken aside.
	blobs := filepath.Join(data, "blobs", "main", digest[:2])
	uploads := filepath.Join(data, "uploads", "main")
	for path, b := range map[string][]byte{
		filepath.Join(blobs, digest): photo, filepath.Join(blobs, digest+".t96"): []byte("small " + canary),
		filepath.Join(uploads, "u1.json"): []byte(`{"id":"u1","owner":"` + string(who) + `","name":"` + canary + `.png","length":9,"offset":3}`),
		filepath.Join(uploads, "u1.part"): []byte(canary), filepath.Join(uploads, "refused", "u2.json"): []byte(`{"id":"u2","owner":"` + string(who) + `"}`),
		filepath.Join(uploads, "refused", "u2.bin"): []byte("bad " + canary),
		filepath.Join(uploads, "u3.json"):           []byte(`{"id":"u3","owner":"somebody-else","length":9,"offset":3}`),
		filepath.Join(uploads, "u3.part"):           []byte("other"),
	} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, b, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if out := satchel(t, 0, "verify", at, "--deep"); !strings.Contains(out, "1 documents, 1 contents, 1 read and hashed") {
		t.Error(out)
	}
	export := filepath.Join(t.TempDir(), "person.zip")
	satchel(t, 0, "export", at, "--person="+canary+"@example.com", "--out="+export)
	files, head := readPerson(t, export)
	for _, word := range []string{canary + " miller", canary + "@example.com", `"password": true`} {
		if !strings.Contains(head, word) {
			t.Errorf("the export lacks %s", word)
		}
	}
	if !strings.Contains(files["trail.jsonl"], "passwordSet") {
		t.Errorf("the export's trail: %.300s", files["trail.jsonl"])
	}
	satchel(t, 0, "export", at, "--person=contact-one", "--out="+export)
	if files, _ := readPerson(t, export); files["files/1-photo-one"] != string(photo) || !strings.Contains(files["trail.jsonl"], "and another") {
		t.Error("the export of the contact lacks the photo or the trail")
	}

	// The positive control: it is where it is looked for.
	before := where(t, data, canary)
	for _, name := range []string{"main.db", digest, digest + ".t96", "u1.part", "u1.json", "u2.bin"} {
		if before[name] == 0 {
			t.Errorf("nothing to be found in %s", name)
		}
	}
	satchel(t, 1, "erase", at, "--person=job-one-1")
	satchel(t, 1, "erase", at, "--person=ada@example.com") // the last administrator
	satchel(t, 2, "erase", at)
	head1 := satchel(t, 0, "verify", at)
	for _, person := range []string{canary + "@example.com", "contact-one"} {
		plan := satchel(t, 0, "erase", at, "--person="+person, "--dry-run")
		if !strings.Contains(plan, "auditRows") || strings.Contains(plan, canary) {
			t.Error(plan)
		}
		if !strings.Contains(head1, strings.TrimSpace(strings.SplitAfter(satchel(t, 0, "verify", at), "\n")[1])) && person == canary+"@example.com" {
			t.Error("a dry run left something")
		}
		done := satchel(t, 0, "erase", at, "--person="+person)
		if !strings.Contains(done, "is erased") {
			t.Error(done)
		}
	}
	// Erased, the words are in free pages and in the log all the same.
	if where(t, data, canary)["main.db"] == 0 {
		t.Error("compacting has nothing to do: this test shows nothing")
	}
	out := satchel(t, 0, "compact", at)
	if !strings.Contains(out, "log entries") || !strings.Contains(out, "1 contents of files and 2 uploads taken") {
		t.Error(out)
	}
	backup := filepath.Join(data, "backup.db")
	satchel(t, 0, "backup", at, "--out="+backup)
	if left := where(t, data, canary); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	if out := satchel(t, 0, "verify", at, "--deep"); !strings.Contains(out, "all agree") {
		t.Error(out)
	}
	if _, err := os.Stat(filepath.Join(uploads, "u3.part")); err != nil {
		t.Error("another person's upload went as well")
	}
	if out := satchel(t, 0, "compact", at); strings.Contains(out, "log entries") {
		t.Errorf("compacting twice took more: %s", out)
	}
	// What operators did is in the trail.
	var acts []string
	do(func(ten *tenant.Tenant) error {
		return ten.Read(func(v *tenant.View) error {
			return audit.Forward(v.KV(), audit.Key{}, func(r *audit.Row) bool {
				if r.Op == audit.Operator {
					acts = append(acts, strings.TrimSuffix(r.Name, " by "+operatorName()))
				}
				return true
			})
		})
	})
	if got, want := strings.Join(acts, ","), "user add,export,export,erase,erase,compact,backup"; got != want {
		t.Errorf("acts %s, want %s", got, want)
	}
	do(func(ten *tenant.Tenant) error {
		return ten.Read(func(v *tenant.View) error {
			if n := len(apply.ErasedRecords(v.Reader)); n != 2 {
				t.Errorf("%d erased", n)
			}
			if rec, ok := state.NewReader(v.Cat, v.KV()).Load("contact-one"); !ok || rec.Get("name").Text() != "Former contact" {
				t.Error("the contact of a job is gone")
			}
			return nil
		})
	})
}

// readPerson reads an export of a person: its entries, and person.json.
func readPerson(t *testing.T, path string) (files map[string]string, head string) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	files = testworld.Unzip(t, raw)
	return files, files["person.json"]
}
