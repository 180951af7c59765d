package crashtest

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"satchel/internal/command"
	"satchel/internal/ident"
)

// populated is a data folder with a tenant of some size, and content of a file.
func populated(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := populate(context.Background(), dir, open); err != nil {
		t.Fatal(err)
	}
	ten, end, err := reopen(dir)
	if err != nil {
		t.Fatal(err)
	}
	var rows []command.Row
	for i := range 2000 {
		rows = append(rows, command.Row{Type: "salesArea", ID: ident.RecordID(fmt.Sprintf("area-%06d", i)), Fields: object("name", fmt.Sprintf("Area %06d %s", i, strings.Repeat("x", 150)))})
	}
	for len(rows) > 0 {
		n := min(len(rows), 500)
		if _, err := ten.Submit(context.Background(), &command.Command{Import: &command.Import{Rows: rows[:n]}}); err != nil {
			t.Fatal(err)
		}
		rows = rows[n:]
	}
	if err := end(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// sums are the files of a tree with their sums.
func sums(t *testing.T, dir string) map[string][sha256.Size]byte {
	t.Helper()
	out := map[string][sha256.Size]byte{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		out[path] = sha256.Sum256(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestBackupBrokenOff: a backup that is killed, or for which there is no space,
// is none: what has its name can be restored, and otherwise nothing has.
func TestBackupBrokenOff(t *testing.T) {
	b := program(t)
	data := populated(t)
	rng := rand.New(rand.NewPCG(3, 3))
	for _, flag := range []string{"--out", "--to"} {
		t.Run(flag, func(t *testing.T) {
			whole := 0
			for i := range 12 {
				to := filepath.Join(t.TempDir(), "backup")
				cmd := b.command("backup", "--data", data, "--tenant", string(slug), flag, to)
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				kill := time.AfterFunc(time.Duration(rng.Int64N(int64(150*time.Millisecond))), func() { _ = cmd.Process.Kill() })
				err := cmd.Wait()
				kill.Stop()
				other := t.TempDir()
				out, rerr := b.run("restore", "--data", other, "--tenant", string(slug), "--from", to)
				switch _, serr := os.Stat(to); {
				case err == nil && rerr != nil:
					t.Fatalf("%d: the backup came to its end and can't be restored: %v", i, rerr)
				case flag == "--out" && serr == nil && rerr != nil:
					t.Fatalf("%d: half a backup has the name of one: %v", i, rerr)
				case rerr != nil:
					if strings.Contains(out, "panic") || !strings.Contains(out, "satchel: ") {
						t.Errorf("%d: refused by %q", i, out)
					}
					continue
				}
				whole++
				if out, err := b.run("verify", "--data", other, "--all"); err != nil || !strings.Contains(out, "all agree") {
					t.Errorf("%d: %s %v", i, out, err)
				}
			}
			t.Logf("%d of 12 came to their end", whole)
			// No space: the process may not make a file as long as it would be.
			to := filepath.Join(t.TempDir(), "backup")
			short := Binary{Args: append([]string{"/bin/sh", "-c", `ulimit -f 64; exec "$0" "$@"`}, b.Args...)}
			if out, err := short.run("backup", "--data", data, "--tenant", string(slug), flag, to); err == nil {
				t.Fatalf("written with no space: %s", out)
			}
			if out, err := b.run("restore", "--data", t.TempDir(), "--tenant", string(slug), "--from", to); err == nil {
				t.Errorf("restored what had no space: %s", out)
			}
		})
	}
}

// TestRestoreRefuses: what is not to the bit a backup is refused with a reason,
// and what is there stays.
func TestRestoreRefuses(t *testing.T) {
	b := program(t)
	data := populated(t)
	good := filepath.Join(t.TempDir(), "backup")
	if _, err := b.run("backup", "--data", data, "--tenant", string(slug), "--out", good); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(5, 5))
	bad := filepath.Join(t.TempDir(), "bad")
	refused := func(what string, b2 []byte) {
		t.Helper()
		if err := os.WriteFile(bad, b2, 0o600); err != nil {
			t.Fatal(err)
		}
		before := sums(t, data)
		out, err := b.run("restore", "--data", data, "--tenant", string(slug), "--from", bad, "--force")
		if err == nil {
			t.Fatalf("%s: restored: %s", what, out)
		}
		if strings.Contains(out, "panic") || !strings.Contains(out, "satchel: ") {
			t.Errorf("%s: refused by %q", what, out)
		}
		after := sums(t, data)
		if len(after) != len(before) {
			t.Errorf("%s: %d files became %d", what, len(before), len(after))
		}
		for path, sum := range before {
			if after[path] != sum {
				t.Errorf("%s: %s was changed", what, path)
			}
		}
	}
	for range 12 {
		at, bit := rng.IntN(len(content)), rng.IntN(8)
		turned := append([]byte(nil), content...)
		turned[at] ^= 1 << bit
		refused(fmt.Sprintf("bit %d of byte %d of %d turned over", bit, at, len(content)), turned)
	}
	for _, length := range []int{0, 1000, len(content) / 3, len(content) - 1} {
		refused(fmt.Sprintf("cut to %d of %d bytes", length, len(content)), content[:length])
	}
	refused("something else", []byte(strings.Repeat("Lorem ipsum ", 5000)))
	if _, err := b.run("restore", "--data", data, "--tenant", string(slug), "--from", good, "--force"); err != nil {
		t.Errorf("the good one: %v", err)
	}
}
