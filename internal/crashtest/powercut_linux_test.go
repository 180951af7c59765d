package crashtest

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"satchel/internal/durable"
	"satchel/server/blob"
	"satchel/server/suite"
	"satchel/sync/store"
)

// powered is a server on a disk whose power can be cut.
type powered struct {
	*killing
	t      *testing.T
	disk   *disk
	listen string
	args   []string
	s      *server
	people *people
}

func newPowered(t *testing.T) *powered {
	t.Helper()
	b := program(t)
	d := newDisk(t, "") // skips before anything is made
	d.unmount()
	all, err := suite.Load()
	if err != nil {
		t.Fatal(err)
	}
	p := &powered{
		killing: &killing{o: &KillOptions{Binary: b, Rounds: 1 << 30}, rep: &KillReport{}, all: all, rng: rand.New(rand.NewPCG(7, 7))},
		t:       t, listen: freePort(),
	}
	data := t.TempDir()
	if err := populate(context.Background(), filepath.Join(data, "data"), open); err != nil {
		t.Fatal(err)
	}
	p.plug(data)
	if p.people, err = p.killing.people(context.Background(), "http://"+p.listen); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.people.transport.CloseIdleConnections()
		_, _ = p.people.eve.Close(), p.people.eddie.Close()
	})
	return p
}

// plug starts the server on a disk that has what is in a folder.
func (p *powered) plug(from string) {
	p.t.Helper()
	p.disk = newDisk(p.t, from)
	config, err := unlimited(p.t.TempDir())
	if err != nil {
		p.t.Fatal(err)
	}
	p.args = []string{"--config", config, "--data", filepath.Join(p.disk.dir, "data"), "--listen", p.listen, "--log-level", "info", "--reserve", "16"}
	if p.s, err = p.o.Binary.start(context.Background(), p.args...); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(p.s.kill) // before the disk goes
}

// TestPowerCut: what was acknowledged is there after the power was cut, be it
// that nothing else reached the disk or that any part of the rest did: changes,
// offline work, tokens, the keys by which they are judged, and files.
func TestPowerCut(t *testing.T) {
	p := newPowered(t)
	const rounds = 6
	for i := range rounds {
		if err := p.round(context.Background(), p.people, p.s); err != nil {
			t.Fatal(err)
		}
		if c := p.s.complaints(); c != "" {
			t.Fatalf("the server logged: %s", c)
		}
		p.disk.unmount()
		rng := p.rng
		if i%2 == 0 {
			rng = nil
		}
		left := p.disk.cut(t, rng)
		if err := judge(p.all, filepath.Join(left, "data"), p.people.expected()); err != nil {
			t.Fatalf("after cut %d: %v", i+1, err)
		}
		p.plug(left)
	}
	// As settle does, on the disk.
	for _, w := range p.people.writers {
		if err := w.step(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	for p.people.files.now != nil {
		if err := p.people.files.step(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	for _, ph := range []*phone{p.people.eve, p.people.eddie, p.people.eve} {
		if complete, err := ph.sync(context.Background()); err != nil || !complete {
			t.Fatalf("%s: complete %v, %v", ph.person, complete, err)
		}
		if healed, err := ph.Verify(context.Background()); err != nil || len(healed) > 0 {
			t.Fatalf("%s: healed %v, %v", ph.person, healed, err)
		}
	}
	n := 0
	for _, w := range p.people.writers {
		n += len(w.asked) + w.count[0]
	}
	t.Logf("%d cuts, %d writes, %d time entries, %d files, %d renewals", rounds, n,
		len(p.people.eve.typed)+len(p.people.eddie.typed), len(p.people.files.done), p.rep.Renewals)
	if n == 0 || len(p.people.files.done) == 0 || p.rep.Renewals == 0 {
		t.Error("something was never done")
	}
}

// TestPowerCutAtBirth: a data folder that a command has made, and one that a
// server has begun to serve, outlive a power cut: the tenant, its people, and
// the keys of the tokens that were given out.
func TestPowerCutAtBirth(t *testing.T) {
	b := program(t)
	d := newDisk(t, "")
	data := filepath.Join("deep", "down", "data")
	cmd := b.command("init", "--data", filepath.Join(d.dir, data), "--tenant", string(slug), "--email", adaMail)
	cmd.Stdin = strings.NewReader(passWord + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	left := d.cut(t, nil)
	if out, err := b.run("verify", "--data", filepath.Join(left, data), "--all"); err != nil || !strings.Contains(out, "all agree") {
		t.Fatalf("what init made: %s %v", out, err)
	}
	// The first start makes keys; who has a token of it keeps it.
	serve := func(d *disk, listen string) *server {
		t.Helper()
		s, err := b.start(context.Background(), "--data", filepath.Join(d.dir, data), "--listen", listen)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	listen := freePort()
	s := serve(d, listen)
	t.Cleanup(s.kill)
	a := &api{http: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, base: "http://" + listen}
	if err := a.login(context.Background(), adaMail); err != nil {
		t.Fatal(err)
	}
	s.kill()
	d.unmount()
	d = newDisk(t, d.cut(t, nil))
	s = serve(d, listen)
	t.Cleanup(s.kill)
	if r, err := a.do(context.Background(), http.MethodGet, "/v1/me", nil); err != nil || r.status != http.StatusOK {
		t.Errorf("a token from before the cut: %v %v", r, err)
	}
	if err := a.renew(context.Background()); err != nil {
		t.Error(err)
	}
}

// TestPowerCutAfterBackup: a backup whose command has come to its end is there.
func TestPowerCutAfterBackup(t *testing.T) {
	b := program(t)
	d := newDisk(t, "")
	data := t.TempDir()
	if err := populate(context.Background(), data, open); err != nil {
		t.Fatal(err)
	}
	if _, err := b.run("backup", "--data", data, "--tenant", string(slug), "--out", filepath.Join(d.dir, "backup")); err != nil {
		t.Fatal(err)
	}
	left := d.cut(t, nil)
	other := t.TempDir()
	if _, err := b.run("restore", "--data", other, "--tenant", string(slug), "--from", filepath.Join(left, "backup")); err != nil {
		t.Fatal(err)
	}
	// And what was restored, or compacted, to the disk is there.
	at := filepath.Join(d.dir, "data")
	if _, err := b.run("restore", "--data", at, "--tenant", string(slug), "--from", filepath.Join(left, "backup")); err != nil {
		t.Fatal(err)
	}
	if out, err := b.run("verify", "--data", filepath.Join(d.cut(t, nil), "data"), "--all"); err != nil || !strings.Contains(out, "all agree") {
		t.Errorf("what was restored: %s %v", out, err)
	}
	if _, err := b.run("compact", "--data", at, "--tenant", string(slug)); err != nil {
		t.Fatal(err)
	}
	if out, err := b.run("verify", "--data", filepath.Join(d.cut(t, nil), "data"), "--all"); err != nil || !strings.Contains(out, "all agree") {
		t.Errorf("what was compacted: %s %v", out, err)
	}
	list, err := os.ReadDir(filepath.Join(at, "tenants"))
	if err != nil || len(list) != 1 {
		t.Errorf("left beside the tenant: %v %v", list, err)
	}
}

// TestPowerCutStore: each commit of a store that was answered is there after the
// power was cut right then, with whatever else reached the disk.
func TestPowerCutStore(t *testing.T) {
	d := newDisk(t, "")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), storeEnv+"="+filepath.Join(d.dir, "tenant.db"))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { // before the disk goes
		if err := errors.Join(in.Close(), cmd.Wait()); err != nil {
			t.Error(err)
		}
	}()
	answers := bufio.NewScanner(out)
	rng := rand.New(rand.NewPCG(9, 9))
	for n := range 24 {
		if _, err := fmt.Fprintf(in, "row-%d\n", n); err != nil {
			t.Fatal(err)
		}
		if !answers.Scan() {
			t.Fatal("no answer")
		}
		kept := []*rand.Rand{nil, rng}[n%2]
		has(t, filepath.Join(d.cut(t, kept), "tenant.db"), n+1)
	}
}

// has looks for the first n rows of a store.
func has(t *testing.T, path string, n int) {
	t.Helper()
	b, err := store.OpenBolt(path, store.Options{NoSync: true, InitialMmapSize: 16 << 20})
	if err != nil {
		t.Fatalf("after commit %d: %v", n, err)
	}
	defer b.Close() //nolint:errcheck // of a copy
	s, err := b.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for i := range n {
		if s.Get(store.Records, fmt.Appendf(nil, "row-%d", i)) == nil {
			t.Fatalf("after commit %d was answered and the power cut, commit %d is gone", n, i+1)
		}
	}
}

// TestFailedSync: a disk that answers a sync with an error, having kept the
// bytes or lost them, stops the tenant, which is looked through and goes on. Where
// it was the journal's, nobody was told that the change was made, and sent again
// it is there once; where it was that of a fold, nothing is lost. Both also after the
// power is cut.
func TestFailedSync(t *testing.T) {
	for name, kept := range map[string]bool{"lost": false, "kept": true} {
		// A commit syncs the journal; a fold the data first and the head after it.
		for place, ending := range map[string]string{"journal": "-journal-", "data": ".db", "head": ".db"} {
			which := 1
			if place == "head" {
				which = 2
			}
			t.Run(name+" "+place, func(t *testing.T) {
				p := newPowered(t)
				w := p.people.writers[0]
				for range 5 {
					if err := w.step(context.Background()); err != nil {
						t.Fatal(err)
					}
				}
				n := 0
				p.disk.failing(func(name string) (syscall.Errno, bool) {
					if !strings.Contains(name, ending) || ending == ".db" && strings.Contains(name, "-journal-") {
						return 0, true
					}
					if n++; n == which {
						return syscall.EIO, kept
					}
					return 0, true
				})
				w.made++
				w.pending = &write{
					key: "failing", method: http.MethodPost, path: "/v1/admin/scheduling-roles", name: roleName + "failing",
					body: []byte(`{"name":"` + roleName + `failing"}`),
				}
				w.asked[w.pending.name] = false
				stopped := false
				for end := time.Now().Add(30 * time.Second); w.pending != nil && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
					r, err := w.api.do(context.Background(), w.pending.method, w.pending.path, w.pending.body, "Idempotency-Key", w.pending.key)
					if err != nil {
						t.Fatal(err)
					}
					var problem struct {
						Code string `json:"code"`
					}
					switch {
					case r.status == http.StatusCreated:
						w.asked[w.pending.name], w.pending = true, nil
					case r.status == http.StatusServiceUnavailable && json.Unmarshal(r.body, &problem) == nil && problem.Code == "tenant_stopped":
						stopped = true
					default:
						t.Fatalf("answered %v", r)
					}
				}
				if stopped != (place == "journal") || w.pending != nil {
					t.Fatalf("stopped %v, pending %v\n%s", stopped, w.pending, p.s.log.String())
				}
				for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
					log := p.s.log.String()
					if strings.Contains(log, "tenant stopped") && strings.Contains(log, "was checked and goes on") {
						break
					}
					if time.Now().After(end) {
						t.Fatalf("the log says\n%s", log)
					}
					// Folds are made beside everything: whoever asks next finds out.
					if _, err := w.api.do(context.Background(), http.MethodGet, "/v1/me", nil); err != nil {
						t.Fatal(err)
					}
				}
				if err := w.step(context.Background()); err != nil {
					t.Fatal(err)
				}
				p.s.kill()
				p.disk.unmount()
				left := p.disk.cut(t, nil)
				if err := judge(p.all, filepath.Join(left, "data"), p.people.expected()); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// TestPowerCutContent: content that was put is there, also where somebody else
// had come as far as giving it its name.
func TestPowerCutContent(t *testing.T) {
	d := newDisk(t, "")
	root := filepath.Join(d.dir, "deep", "blobs")
	s := blob.NewFolder(root, time.Now)
	put := func(content string) blob.Key {
		t.Helper()
		file := filepath.Join(d.dir, "upload")
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		k := blob.KeyOf(sha256.Sum256([]byte(content)))
		if err := s.Put(context.Background(), "acme", k, file); err != nil {
			t.Fatal(err)
		}
		return k
	}
	left := func(k blob.Key, want string) {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(d.cut(t, nil), "deep", "blobs", "acme", string(k[:2]), string(k)))
		if err != nil || string(b) != want {
			t.Errorf("%q %v, want %q", b, err, want)
		}
	}
	left(put("one"), "one")
	// The other one synced the content and renamed it, and got no further.
	const content = "two"
	k := blob.KeyOf(sha256.Sum256([]byte(content)))
	half := filepath.Join(root, "acme", string(k[:2]), string(k))
	if err := os.MkdirAll(filepath.Dir(half), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(half, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := durable.Sync(half); err != nil {
		t.Fatal(err)
	}
	left(put(content), content)
}
