package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"satchel/mobile-api/client"
	"satchel/sync/wire"
)

// asBinary makes the test binary be satchel, for tests that are no scripts.
const asBinary = "SATCHEL_AS_BINARY"

func TestMain(m *testing.M) {
	if os.Getenv(asBinary) != "" {
		main()
	}
	testscript.Main(m, map[string]func(){"satchel": main})
}

// served is a server process.
type served struct {
	cmd    *exec.Cmd
	addr   string // http://host:port
	ready  chan string
	stdout bytes.Buffer // guarded by mu
	stderr bytes.Buffer
	mu     sync.Mutex
	ended  chan error
}

// Write takes what the server writes and finds the address in its first line.
func (s *served) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	had := bytes.IndexByte(s.stdout.Bytes(), '\n') >= 0
	s.stdout.Write(b)
	if line, _, ok := bytes.Cut(s.stdout.Bytes(), []byte("\n")); ok && !had {
		s.ready <- strings.TrimPrefix(string(line), "listening on ")
	}
	return len(b), nil
}

func (s *served) output() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stdout.String()
}

// start runs a server until it listens. Another process may have been given
// the port of one that ended, for a moment.
func start(build func() *exec.Cmd) (s *served, err error) {
	for range 20 {
		if s, err = startOnce(build()); err == nil || !strings.Contains(err.Error(), "address already in use") {
			return s, err
		}
		time.Sleep(200 * time.Millisecond)
	}
	return nil, err
}

func startOnce(cmd *exec.Cmd) (*served, error) {
	s := &served{cmd: cmd, ready: make(chan string, 1), ended: make(chan error, 1)}
	cmd.Stdout, cmd.Stderr = s, &s.stderr
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() { s.ended <- cmd.Wait() }()
	select {
	case s.addr = <-s.ready:
		return s, nil
	case err := <-s.ended:
		return nil, fmt.Errorf("the server ended: %w\n%s", err, s.stderr.String())
	case <-time.After(time.Minute):
		_ = cmd.Process.Kill()
		<-s.ended
		return nil, fmt.Errorf("the server never listened\n%s", s.stderr.String())
	}
}

// stop sends a signal and waits for the end.
func (s *served) stop(sig syscall.Signal) error {
	if err := s.cmd.Process.Signal(sig); err != nil {
		return err
	}
	select {
	case err := <-s.ended:
		return err
	case <-time.After(30 * time.Second):
		_ = s.cmd.Process.Kill()
		return fmt.Errorf("the server did not end on %v", sig)
	}
}

type serverKey struct{}

// TestScripts runs testdata/script: the binary as people use it. Beside what
// testscript knows there are
//
//	serve ARGS…     start a server, its address in $SATCHEL_SERVER; started
//	                again it listens at the same address
//	halt [kill]     end it by SIGTERM, which must exit with 0, or by SIGKILL
//	served          what it printed, as stdout of a command
//	code N CMD…     run a command that must exit with N
//	first VAR FILE  the first field of the last line of a file, in $VAR
//	follow ARGS…    start satchel phone ARGS… follow and wait until it is connected
//	followed TEXT…  wait until follow has printed a line with all the texts
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"),
		Setup: func(e *testscript.Env) error {
			st := &scriptState{}
			e.Values[serverKey{}] = st
			e.Defer(st.end)
			e.Setenv("SATCHEL_TENANT", "demo")
			e.Setenv("SATCHEL_PASSWORD", "satchel-demo-1")
			e.Setenv("XDG_CONFIG_HOME", filepath.Join(e.WorkDir, "config"))
			e.Setenv("HOME", e.WorkDir)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"serve": func(ts *testscript.TestScript, _ bool, args []string) { stateOf(ts).serve(ts, args) },
			"halt":  func(ts *testscript.TestScript, _ bool, args []string) { stateOf(ts).stop(ts, args) },
			"served": func(ts *testscript.TestScript, _ bool, _ []string) {
				fmt.Fprint(ts.Stdout(), stateOf(ts).server.output())
			},
			"follow":   func(ts *testscript.TestScript, _ bool, args []string) { stateOf(ts).follow(ts, args) },
			"followed": func(ts *testscript.TestScript, neg bool, args []string) { stateOf(ts).followed(ts, neg, args) },
			"code": func(ts *testscript.TestScript, _ bool, args []string) {
				err := ts.Exec(args[1], args[2:]...)
				got := 0
				var exit *exec.ExitError
				if errors.As(err, &exit) {
					got = exit.ExitCode()
				} else {
					ts.Check(err)
				}
				if fmt.Sprint(got) != args[0] {
					ts.Fatalf("exit code %d, want %s", got, args[0])
				}
			},
			"first": func(ts *testscript.TestScript, _ bool, args []string) {
				lines := strings.Split(strings.TrimSpace(ts.ReadFile(args[1])), "\n")
				ts.Setenv(args[0], strings.Split(lines[len(lines)-1], "\t")[0])
			},
		},
	})
}

type scriptState struct {
	server   *served
	follower *exec.Cmd
	done     chan struct{} // closed when the follower has ended
	mu       sync.Mutex
	lines    []string
}

func stateOf(ts *testscript.TestScript) *scriptState { return ts.Value(serverKey{}).(*scriptState) }

// satchelCommand runs satchel with the script's environment.
func satchelCommand(ts *testscript.TestScript, args ...string) *exec.Cmd {
	bin, err := exec.LookPath("satchel")
	for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
		if _, serr := os.Stat(filepath.Join(dir, "satchel")); serr == nil {
			bin, err = filepath.Join(dir, "satchel"), nil
			break
		}
	}
	ts.Check(err)
	cmd := exec.Command(bin, args...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = os.Environ()
	for _, name := range []string{"SATCHEL_SERVER", "SATCHEL_TENANT", "SATCHEL_PASSWORD", "XDG_CONFIG_HOME", "HOME", "TESTSCRIPT_COMMAND"} {
		cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
	}
	return cmd
}

func (st *scriptState) serve(ts *testscript.TestScript, args []string) {
	listen := freePort()
	if had := ts.Getenv("SATCHEL_SERVER"); had != "" {
		listen = strings.TrimPrefix(had, "http://")
	}
	s, err := start(func() *exec.Cmd {
		return satchelCommand(ts, append([]string{"serve", "--listen", listen}, args...)...)
	})
	ts.Check(err)
	st.server = s
	ts.Setenv("SATCHEL_SERVER", s.addr)
}

func (st *scriptState) stop(ts *testscript.TestScript, args []string) {
	sig := syscall.SIGTERM
	if len(args) > 0 {
		sig = syscall.SIGKILL
	}
	err := st.server.stop(sig)
	if sig == syscall.SIGTERM && err != nil {
		ts.Fatalf("the server ended with %v\n%s", err, st.server.stderr.String())
	}
	st.server = nil
}

func (st *scriptState) follow(ts *testscript.TestScript, args []string) {
	st.follower = satchelCommand(ts, append(append([]string{"phone"}, args...), "follow")...)
	out, err := st.follower.StdoutPipe()
	ts.Check(err)
	ts.Check(st.follower.Start())
	st.done = make(chan struct{})
	go func() {
		defer close(st.done)
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			st.mu.Lock()
			st.lines = append(st.lines, lines.Text())
			st.mu.Unlock()
		}
	}()
	st.followed(ts, false, []string{"connected"})
}

func (st *scriptState) followed(ts *testscript.TestScript, neg bool, texts []string) {
	hit := func() bool {
		st.mu.Lock()
		defer st.mu.Unlock()
		for _, l := range st.lines {
			all := true
			for _, t := range texts {
				all = all && strings.Contains(l, t)
			}
			if all {
				return true
			}
		}
		return false
	}
	end := time.Now().Add(20 * time.Second)
	for !neg && !hit() && time.Now().Before(end) {
		time.Sleep(5 * time.Millisecond)
	}
	if hit() == neg {
		st.mu.Lock()
		defer st.mu.Unlock()
		ts.Fatalf("followed %q: %v, in\n%s", texts, !neg, strings.Join(st.lines, "\n"))
	}
}

func (st *scriptState) end() {
	if st.follower != nil {
		_ = st.follower.Process.Signal(os.Interrupt)
		<-st.done
		_ = st.follower.Wait()
	}
	if st.server != nil {
		_ = st.server.stop(syscall.SIGKILL)
	}
}

// TestKilledServer: a server that is killed again and again while a phone
// pushes has everything that it acknowledged, and all that was typed once.
func TestKilledServer(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	listen := freePort()
	serve := func() *served {
		t.Helper()
		s, err := start(func() *exec.Cmd {
			cmd := exec.Command(self, "serve", "--data", filepath.Join(dir, "data"), "--listen", listen)
			cmd.Env = append(os.Environ(), asBinary+"=1")
			return cmd
		})
		if err != nil {
			t.Fatal(err)
		}
		listen = strings.TrimPrefix(s.addr, "http://")
		return s
	}
	s := serve()
	running := true
	defer func() {
		if running {
			_ = s.stop(syscall.SIGKILL)
		}
	}()
	var password string
	for end := time.Now().Add(10 * time.Second); password == "" && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if _, rest, ok := strings.Cut(s.output(), "password "); ok {
			password, _, _ = strings.Cut(rest, " ")
		}
	}
	open := func(name string) *client.Phone {
		t.Helper()
		p, err := client.Open(filepath.Join(dir, name), client.Options{Server: s.addr, Tenant: "main", Name: name})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = p.Close() })
		if err := p.Login(context.Background(), "admin@example.com", password); err != nil {
			t.Fatal(err)
		}
		return p
	}
	p := open("pushing.db")
	acknowledged := map[uint64]bool{}
	note := func(rep client.Report) {
		for _, r := range rep.Results {
			if r.Status != wire.Applied {
				t.Errorf("result %+v", r)
			}
			acknowledged[r.N] = true
		}
	}
	const rounds, each = 6, 400 // more than one push a round
	want := map[string]bool{}
	for i := range rounds {
		for j := range each {
			name := fmt.Sprintf("Skill %d.%d %s", i, j, strings.Repeat("x", 180))
			want[name] = true
			if _, err := p.Create("schedulingRole", map[string]any{"name": name}); err != nil {
				t.Fatal(err)
			}
		}
		done := make(chan client.Report)
		go func() {
			rep, _ := p.Sync(context.Background()) // the server dies under it
			done <- rep
		}()
		time.Sleep(time.Duration(10+25*i) * time.Millisecond)
		_ = s.stop(syscall.SIGKILL)
		note(<-done)
		t.Logf("round %d: %d of %d acknowledged", i+1, len(acknowledged), (i+1)*each)
		s = serve()
	}
	rep, err := p.Sync(context.Background())
	if err != nil || !rep.Complete {
		t.Fatalf("%+v %v", rep, err)
	}
	note(rep)
	if len(acknowledged) != rounds*each {
		t.Errorf("%d changes acknowledged of %d", len(acknowledged), rounds*each)
	}
	// Another device sees each once.
	q := open("looking.db")
	if _, err := q.Sync(context.Background()); err != nil {
		t.Fatal(err)
	}
	list, err := q.List("schedulingRole", nil)
	if err != nil || len(list) != rounds*each {
		t.Errorf("%d skills, want %d, %v", len(list), rounds*each, err)
	}
	for _, r := range list {
		if !want[r.Text("name")] {
			t.Errorf("%q twice, or from nowhere", r.Text("name"))
		}
		delete(want, r.Text("name"))
	}
	if _, err := p.Sync(context.Background()); err != nil { // the other device's record
		t.Fatal(err)
	}
	if healed, err := p.Verify(context.Background()); err != nil || len(healed) > 0 {
		t.Errorf("verify: %v %v", healed, err)
	}
	running = false
	if err := s.stop(syscall.SIGTERM); err != nil {
		t.Errorf("SIGTERM: %v\n%s", err, s.stderr.String())
	}
}

// freePort returns an address that can be listened on again later: it lies
// beneath the ports that outgoing connections are given.
func freePort() string {
	for {
		addr := fmt.Sprintf("127.0.0.1:%d", 20_000+rand.IntN(12_000))
		if l, err := net.Listen("tcp", addr); err == nil && l.Close() == nil {
			return addr
		}
	}
}
