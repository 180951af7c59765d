package app

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"satchel/server/session/password/passwordtest"
	"satchel/sync/store"
)

// copied is a server with one tenant and the operators' listener.
func copied(t *testing.T, dir string) (*App, *httptest.Server) {
	t.Helper()
	a, err := New(Config{Dir: dir, Hasher: passwordtest.New(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.tenants.Close(); err != nil {
			t.Error(err)
		}
	})
	if _, err := a.FirstTenant(t.Context()); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(a.adminHandler())
	t.Cleanup(srv.Close)
	return a, srv
}

// left are the names in the folder of copies.
func left(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "copies", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// fill makes a tenant's file larger than what may be on the way to somebody, and
// than what is copied between two looks at the disk.
func fill(t *testing.T, bolt *store.Bolt) {
	t.Helper()
	if err := bolt.Update(func(w store.Writer) error {
		for i := range 20 {
			if err := w.Put(store.Audit, fmt.Appendf(nil, "\xff%d", i), make([]byte, 1<<20)); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// TestSlowBackup: whoever takes a backup slowly keeps no state of the tenant
// open, and gets all of it; nothing is left behind, also when they go away.
func TestSlowBackup(t *testing.T) {
	dir := t.TempDir()
	a, srv := copied(t, dir)
	ten, err := a.tenants.Tenant("main")
	if err != nil {
		t.Fatal(err)
	}
	fill(t, ten.Engine().(*store.Bolt))
	ask := func() (net.Conn, *http.Response) {
		t.Helper()
		conn, err := net.Dial("tcp", srv.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprintf(conn, "GET /backup/main HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatal(res, err)
		}
		return conn, res
	}
	conn, res := ask()
	defer conn.Close()
	if n := left(t, dir); len(n) != 1 {
		t.Errorf("%v: is the answer too small to wait for its receiver?", n)
	}
	closed := make(chan error, 1)
	go func() { closed <- a.tenants.closeOne("main") }() // waits for states that are open
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Error("a state is open while the receiver takes its time")
	}
	path := filepath.Join(t.TempDir(), "main.db")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	n, err := io.Copy(f, res.Body)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	if res.Trailer.Get("X-Satchel-Complete") != fmt.Sprint(n) {
		t.Errorf("%d bytes, %v", n, res.Trailer)
	}
	if sealed, err := store.Unseal(path); !sealed || err != nil {
		t.Errorf("%v %v", sealed, err)
	}
	gone := func() bool { return len(left(t, dir)) == 0 }
	await(t, "the copy is gone", gone)

	conn, _ = ask()
	if gone() {
		t.Error("there is no copy")
	}
	_ = conn.Close()
	await(t, "the copy is gone although nobody took it", gone)
}

// await waits for something that happens by itself.
func await(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what)
		}
	}
}

// TestBackupSparesTheDisk: a copy that would reach into the reserve, or does so
// because others write meanwhile, is refused and leaves nothing.
func TestBackupSparesTheDisk(t *testing.T) {
	dir := t.TempDir()
	a, srv := copied(t, dir)
	ten, err := a.tenants.Tenant("main")
	if err != nil {
		t.Fatal(err)
	}
	bolt := ten.Engine().(*store.Bolt)
	fill(t, bolt)
	size, err := bolt.BackupSize()
	if err != nil {
		t.Fatal(err)
	}
	plenty := uint64(size) + store.DefaultReserve
	for name, x := range map[string]struct {
		free []uint64 // of each look; the last one stays
		want int
	}{
		"room":          {[]uint64{plenty}, http.StatusOK},
		"one byte less": {[]uint64{plenty - 1}, http.StatusInsufficientStorage},
		"less by then":  {[]uint64{plenty, store.DefaultReserve - 1}, http.StatusInsufficientStorage},
		"nothing":       {[]uint64{0}, http.StatusInsufficientStorage},
	} {
		looks := 0
		a.copies.Free = func(string) (uint64, error) {
			looks++
			return x.free[min(looks, len(x.free))-1], nil
		}
		if name == "room" { // what is copied is taken from what is free
			a.copies.Free = func(string) (uint64, error) {
				n := plenty
				for _, p := range left(t, dir) {
					if st, err := os.Stat(p); err == nil {
						n -= uint64(st.Size())
					}
				}
				return n, nil
			}
		}
		res, err := http.Get(srv.URL + "/backup/main")
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if res.StatusCode != x.want || err != nil {
			t.Errorf("%s: %d %v", name, res.StatusCode, err)
		}
		if x.want != http.StatusOK && !strings.Contains(string(b), "reserve") {
			t.Errorf("%s: %s", name, b)
		}
		await(t, name+": the copy is gone", func() bool { return len(left(t, dir)) == 0 })
	}
	if res, err := http.Get(srv.URL + "/backup/nobody"); err != nil || res.StatusCode != http.StatusNotFound {
		t.Errorf("%v %v", res, err)
	} else {
		_ = res.Body.Close()
	}
}

// TestCopiesAreSwept: what a process that was killed left of a backup, or of an
// export, is gone once the next one starts.
func TestCopiesAreSwept(t *testing.T) {
	dir := t.TempDir()
	halves := []string{filepath.Join(dir, "copies", "123.db"), filepath.Join(dir, "exports", "123")}
	for _, half := range halves {
		if err := os.Mkdir(filepath.Dir(half), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(half, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	copied(t, dir)
	for _, half := range halves {
		if _, err := os.Stat(half); !os.IsNotExist(err) {
			t.Errorf("%s is left: %v", half, err)
		}
	}
}
