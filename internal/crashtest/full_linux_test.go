package crashtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"satchel/mobile-api/client"
	"satchel/server/suite"
)

// codeOf is the code of a refusal.
func codeOf(r answer) string {
	var problem struct {
		Code string `json:"code"`
	}
	if json.Unmarshal(r.body, &problem) != nil {
		return ""
	}
	return problem.Code
}

// filled is a server whose disk fills up.
type filled struct {
	t      *testing.T
	data   string
	s      *server
	people *people
}

func newFilled(t *testing.T, data string, reserve string) *filled {
	t.Helper()
	b := program(t)
	made := t.TempDir()
	if err := populate(context.Background(), made, open); err != nil {
		t.Fatal(err)
	}
	if err := copyTree(made, data); err != nil {
		t.Fatal(err)
	}
	config, err := unlimited(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	listen := freePort()
	s, err := b.start(context.Background(), "--config", config, "--data", data, "--listen", listen, "--log-level", "info", "--reserve", reserve)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.kill)
	k := &killing{}
	p, err := k.people(context.Background(), "http://"+listen)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.transport.CloseIdleConnections()
		_, _ = p.eve.Close(), p.eddie.Close()
	})
	return &filled{t: t, data: data, s: s, people: p}
}

// do sends a request that has to be answered like this.
func (f *filled) do(a *api, method, path, body string, status int, code string) {
	f.t.Helper()
	var b []byte
	if body != "" {
		b = []byte(body)
	}
	r, err := a.do(context.Background(), method, path, b)
	if err != nil || r.status != status || codeOf(r) != code {
		f.t.Errorf("%s %s: %v %v, want %d %q", method, path, r, err, status, code)
	}
}

// write makes a scheduling role, and waits until that is answered like this.
func (f *filled) write(status int, code string) {
	f.t.Helper()
	w := f.people.writers[0]
	var r answer
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		w.made++
		name := fmt.Sprintf("%sfilled %d", roleName, w.made)
		var err error
		r, err = f.people.files.api.do(context.Background(), http.MethodPost, "/v1/helpdesk/documents", fmt.Appendf(nil, `{"parent":"job-one-1","name":%q}`, name))
		if err != nil {
			f.t.Fatal(err)
		}
		if r.status == status && codeOf(r) == code {
			return
		}
	}
	f.t.Fatalf("writing: %v, want %d %q", r, status, code)
}

// goOn checks what goes on while nothing may be added.
func (f *filled) goOn() {
	f.t.Helper()
	ctx := context.Background()
	who := f.people.files.api
	f.do(who, http.MethodGet, "/v1/helpdesk/documents", "", http.StatusOK, "")
	f.do(who, http.MethodGet, "/v1/me", "", http.StatusOK, "")
	if err := f.people.clerk.renew(ctx); err != nil {
		f.t.Error(err)
	}
	if err := (&api{http: who.http, base: who.base}).login(ctx, mailOf(mia)); err != nil {
		f.t.Error(err)
	}
	// A phone is refused what it has to say, keeps it, and is told what is new.
	eve := f.people.eve
	if err := eve.enter(roleName + "while full"); err != nil {
		f.t.Fatal(err)
	}
	f.do(f.people.writers[1].api, http.MethodPatch, "/v1/admin/employees/"+string(eve.person), fmt.Sprintf(`{"name":"Eve %d"}`, time.Now().UnixNano()), http.StatusOK, "")
	rep, err := eve.Sync(ctx)
	var told *client.Error
	if !errors.As(err, &told) || told.Code != "disk_full" || told.Status != http.StatusInsufficientStorage {
		f.t.Errorf("push: %v", err)
	}
	if rep.Records == 0 {
		f.t.Error("nothing was pulled")
	}
	if st, err := eve.Status(); err != nil || st.Pending == 0 || st.Problems > 0 {
		f.t.Errorf("%+v %v", st, err)
	}
	r, err := who.do(ctx, http.MethodPost, "/files", nil, tus("Upload-Length", "100", "Upload-Metadata", "document ZG9jLTEyMzQ1Njc4")...)
	if err != nil || r.status != http.StatusInsufficientStorage || codeOf(r) != "disk_full" {
		f.t.Errorf("upload: %v %v", r, err)
	}
}

// recovered checks that everything goes on, and that nothing was lost.
func (f *filled) recovered() {
	f.t.Helper()
	f.write(http.StatusCreated, "")
	for _, p := range []*phone{f.people.eve, f.people.eddie, f.people.eve} {
		if complete, err := p.sync(context.Background()); err != nil || !complete {
			f.t.Errorf("%s: complete %v, %v", p.person, complete, err)
		}
	}
	if st, err := f.people.eve.Status(); err != nil || st.Pending > 0 || st.Problems > 0 {
		f.t.Errorf("%+v %v", st, err)
	}
}

func (f *filled) finish() {
	f.t.Helper()
	if err := f.s.stop(); err != nil {
		f.t.Error(err)
	}
	if c := f.s.complaints(); c != "" {
		f.t.Errorf("the server logged: %s", c)
	}
	all, err := suite.Load()
	if err != nil {
		f.t.Fatal(err)
	}
	if err := judge(all, f.data, f.people.expected()); err != nil {
		f.t.Error(err)
	}
}

// TestFullDisk: before the disk is full nothing is added any more, by a code of
// its own; people read, pull, sign in and are administered; and once there is
// space everything goes on.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64m"); err != nil {
		t.Skipf("no file system of its own can be mounted here: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	f := newFilled(t, filepath.Join(dir, "data"), "8")
	ballast := filepath.Join(dir, "ballast")
	// leave fills the disk up to so many bytes.
	leave := func(bytes int64) {
		t.Helper()
		_ = os.Remove(ballast)
		var st unix.Statfs_t
		if err := unix.Statfs(dir, &st); err != nil {
			t.Fatal(err)
		}
		b, err := os.OpenFile(ballast, os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		// Others write meanwhile, so there may be less by now.
		for size := int64(st.Bavail)*st.Bsize - bytes; size > 0; size -= 64 << 10 {
			if err := unix.Fallocate(int(b.Fd()), 0, 0, size); err == nil {
				break
			} else if !errors.Is(err, unix.ENOSPC) {
				t.Fatal(err)
			}
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
	f.write(http.StatusCreated, "")
	leave(6 << 20)
	f.write(http.StatusInsufficientStorage, "disk_full")
	f.goOn()
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	f.recovered()
	// Beneath a quarter of the reserve nothing is written at all; reading goes on.
	leave(1 << 20)
	f.write(http.StatusInsufficientStorage, "disk_full")
	time.Sleep(200 * time.Millisecond)
	f.do(f.people.writers[1].api, http.MethodPatch, "/v1/admin/employees/"+string(f.people.eve.person), `{"name":"Eve"}`, http.StatusInsufficientStorage, "disk_full")
	f.do(f.people.files.api, http.MethodGet, "/v1/helpdesk/documents", "", http.StatusOK, "")
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	f.recovered()
	// The disk fills up from one moment to the next, beneath people at work.
	var wg sync.WaitGroup
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	for i := range 4 {
		wg.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				body := fmt.Appendf(nil, `{"parent":"job-one-1","name":"worker %d, document %d %s"}`, i, n, strings.Repeat("x", 150))
				r, err := f.people.files.api.do(context.Background(), http.MethodPost, "/v1/helpdesk/documents", body)
				if err != nil || r.status != http.StatusCreated && codeOf(r) != "disk_full" {
					t.Errorf("answered %v %v", r, err)
					return
				}
			}
		})
	}
	for ctx.Err() == nil {
		time.Sleep(50 * time.Millisecond)
		leave(0)
		time.Sleep(150 * time.Millisecond)
		if err := os.Remove(ballast); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
	f.recovered()
	f.finish()
}

// TestFileSizeLimit: the same where the server may not make its files longer,
// which needs no rights to try.
func TestFileSizeLimit(t *testing.T) {
	f := newFilled(t, filepath.Join(t.TempDir(), "data"), "8")
	f.write(http.StatusCreated, "")
	limit := func(l unix.Rlimit) {
		t.Helper()
		if err := unix.Prlimit(f.s.cmd.Process.Pid, unix.RLIMIT_FSIZE, &l, nil); err != nil {
			t.Skipf("no limit can be set: %v", err)
		}
	}
	var was unix.Rlimit
	if err := unix.Prlimit(f.s.cmd.Process.Pid, unix.RLIMIT_FSIZE, nil, &was); err != nil {
		t.Skipf("no limit can be read: %v", err)
	}
	st, err := os.Stat(filepath.Join(f.data, "tenants", string(slug)+".db"))
	if err != nil {
		t.Fatal(err)
	}
	// The store grows in steps of 16 MiB: so there is room for one, and 4 MiB.
	limit(unix.Rlimit{Cur: uint64(st.Size()) + 20<<20, Max: was.Max})
	f.write(http.StatusInsufficientStorage, "disk_full")
	f.do(f.people.files.api, http.MethodGet, "/v1/helpdesk/documents", "", http.StatusOK, "")
	if err := f.people.clerk.renew(context.Background()); err != nil {
		t.Error(err)
	}
	limit(was)
	f.recovered()
	f.finish()
}
