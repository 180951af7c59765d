package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"satchel/sync/audit"
	"satchel/sync/store"
)

// satchel runs the binary; it fails the test where the exit code is another.
func satchel(t *testing.T, code int, args ...string) string {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), asBinary+"=1")
	cmd.Stdin = strings.NewReader("a-long-password-1\n")
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != code {
		t.Fatalf("satchel %v: %v, want exit %d\n%s", args, err, code, out)
	}
	return string(out)
}

// TestAuditOfAFolder is the operator's side of the trail: a head that was kept
// proves later that nothing was cut off or written anew, and old rows can go.
func TestAuditOfAFolder(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	at := "--data=" + data
	satchel(t, 0, "init", at, "--email=ada@example.com")
	head := func() string {
		t.Helper()
		m := regexp.MustCompile(`audit: \d+ rows, head ([0-9a-f]{64}@\d+)`).FindStringSubmatch(satchel(t, 0, "verify", at))
		if m == nil {
			t.Fatal("verify prints no head")
		}
		return m[1]
	}
	first := head()
	backup := filepath.Join(t.TempDir(), "backup.db")
	satchel(t, 0, "backup", at, "--out="+backup)
	satchel(t, 0, "user", "add", "bob@example.com", at)
	second := head()
	if first == second {
		t.Fatal("the head stands")
	}
	satchel(t, 0, "verify", at, "--head="+first)
	satchel(t, 0, "verify", at, "--head="+second)
	forged := "0" + second[1:]
	if second[0] == '0' {
		forged = "1" + second[1:]
	}
	if out := satchel(t, 1, "verify", at, "--head="+forged); !strings.Contains(out, "written anew") {
		t.Error(out)
	}
	satchel(t, 2, "verify", at, "--head=nothing")
	satchel(t, 2, "verify", at, "--all", "--head="+first)

	// Rows that are old enough go; the head from before still proves the rest.
	if out := satchel(t, 0, "compact", at, "--audit-days=1"); !strings.Contains(out, "audit: 0 rows taken\n") {
		t.Error(out)
	}
	satchel(t, 2, "compact", at, "--audit-days=0")
	if head() != second {
		t.Error("compacting moved the head")
	}
	path := filepath.Join(data, "tenants", "main.db")
	out, text, err := cutAudit(path, time.Now().Add(time.Hour))
	if err != nil || out.Removed < 4 || out.Head != second || !strings.Contains(text, second) {
		t.Errorf("%+v %q %v", out, text, err)
	}
	if s := satchel(t, 0, "verify", at, "--head="+second); !strings.Contains(s, "audit: 0 rows") || !strings.Contains(s, "cut behind "+second) {
		t.Error(s)
	}
	if s := satchel(t, 1, "verify", at, "--head="+first); !strings.Contains(s, "before the cut") {
		t.Error(s)
	}
	satchel(t, 0, "user", "add", "eve@example.com", at)
	satchel(t, 0, "verify", at, "--head="+second)

	// Going back to a backup loses what came after it, which shows.
	satchel(t, 0, "restore", at, "--from="+backup, "--force")
	satchel(t, 0, "verify", at, "--head="+first)
	if s := satchel(t, 1, "verify", at, "--json", "--head="+second); !strings.Contains(s, "cut off") {
		t.Error(s)
	}
	var rep struct {
		OK     bool
		Report struct{ Audit struct{ Head string } }
	}
	if err := json.Unmarshal([]byte(satchel(t, 0, "verify", at, "--json")), &rep); err != nil || !rep.OK || rep.Report.Audit.Head == first { // the restore left its row
		t.Errorf("%v %+v", err, rep)
	}
}

// TestDamagedTrail: verify names the row, and nothing is cut from such a trail.
func TestDamagedTrail(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	satchel(t, 0, "init", "--data="+data, "--email=ada@example.com")
	path := filepath.Join(data, "tenants", "main.db")
	eng, err := store.OpenBolt(path, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var last *audit.Row
	err = eng.Update(func(w store.Writer) error {
		var k, v []byte
		w.Scan(store.Audit, []byte("r"), func(key, val []byte) bool {
			k, v = append([]byte(nil), key...), append([]byte(nil), val...)
			return false
		})
		v[len(v)-1] ^= 1
		if err := audit.Back(w, audit.Last, func(r *audit.Row) bool { last = r; return true }); err != nil {
			return err
		}
		return w.Put(store.Audit, k, v)
	})
	if err != nil || last == nil {
		t.Fatal(err, last)
	}
	if err := eng.Close(); err != nil {
		t.Fatal(err)
	}
	if s := satchel(t, 1, "verify", "--data="+data); !strings.Contains(s, "audit "+last.Key.String()+": its values") {
		t.Error(s)
	}
	if _, _, err := cutAudit(path, time.Now().Add(time.Hour)); err == nil || !strings.Contains(err.Error(), "nothing was cut") {
		t.Errorf("cut from a damaged trail: %v", err)
	}
}
