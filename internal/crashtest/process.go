package crashtest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Binary is how the satchel program is called.
type Binary struct {
	// Args are the program and what comes before the name of a command.
	Args []string
	// Env is added to the environment, as NAME=VALUE.
	Env []string
}

// command makes a call that is not tied to a context: what runs is ended by its
// owner.
func (b Binary) command(args ...string) *exec.Cmd {
	cmd := exec.Command(b.Args[0], append(b.Args[1:len(b.Args):len(b.Args)], args...)...) //nolint:noctx // ended by its owner
	cmd.Env = append(os.Environ(), b.Env...)
	return cmd
}

// run runs a command to its end and returns what it wrote to both outputs.
func (b Binary) run(args ...string) (string, error) {
	out, err := b.command(args...).CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("satchel %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// errOutput bounds what is kept of what a server logs, in bytes.
const errOutput = 1 << 20

// tail keeps the beginning of what is written to it.
type tail struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.b.Len() < errOutput {
		t.b.Write(p)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.String()
}

// server is a running serve.
type server struct {
	cmd   *exec.Cmd
	log   tail
	ended chan struct{} // closed once it is gone
	err   error         // how it ended; read after ended
	began time.Time
	ready time.Duration
}

// startWait bounds how long a server may take to listen.
const startWait = time.Minute

// errPort says that the address was taken for a moment.
var errPort = errors.New("address already in use")

// start starts serve and waits until it listens. Where the port was given to
// somebody else for a moment, it tries again.
func (b Binary) start(ctx context.Context, args ...string) (*server, error) {
	for {
		s, err := b.startOnce(ctx, args)
		if !errors.Is(err, errPort) {
			return s, err
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// launch starts serve and does not wait for it. What it prints goes to lines,
// which is closed at its end.
func (b Binary) launch(args []string) (s *server, lines chan string, err error) {
	s = &server{cmd: b.command(append([]string{"serve"}, args...)...), ended: make(chan struct{}), began: time.Now()}
	s.cmd.Stderr = &s.log
	endWithParent(s.cmd)
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, nil, err
	}
	lines = make(chan string, 16)
	go func() {
		sc := bufio.NewScanner(out)
		for sc.Scan() {
			select {
			case lines <- sc.Text():
			default: // nobody reads the tables that follow
			}
		}
		close(lines)
		_, _ = io.Copy(io.Discard, out)
		s.err = s.cmd.Wait()
		close(s.ended)
	}()
	return s, lines, nil
}

func (b Binary) startOnce(ctx context.Context, args []string) (*server, error) {
	s, lines, err := b.launch(args)
	if err != nil {
		return nil, err
	}
	wait := time.NewTimer(startWait)
	defer wait.Stop()
	for {
		select {
		case line, ok := <-lines:
			switch {
			case !ok:
				<-s.ended
				if strings.Contains(s.log.String(), errPort.Error()) {
					return nil, errPort
				}
				return nil, fmt.Errorf("the server ended before it listened: %w\n%s", s.err, s.log.String())
			case strings.HasPrefix(line, "listening on "):
				s.ready = time.Since(s.began)
				return s, nil
			}
		case <-wait.C:
			s.kill()
			return nil, fmt.Errorf("the server did not listen within %v\n%s", startWait, s.log.String())
		case <-ctx.Done():
			s.kill()
			return nil, ctx.Err()
		}
	}
}

// kill ends the server, where there is one, by SIGKILL and waits until it is
// gone.
func (s *server) kill() {
	if s == nil {
		return
	}
	_ = s.cmd.Process.Kill() // it may be gone already
	<-s.ended
}

// stop ends the server as an operator does.
func (s *server) stop() error {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.kill()
		return err
	}
	select {
	case <-s.ended:
	case <-time.After(startWait):
		s.kill()
		return errors.New("the server did not end on SIGTERM")
	}
	if s.err != nil {
		return fmt.Errorf("the server's end: %w\n%s", s.err, s.log.String())
	}
	return nil
}

// complaints returns the first line at level ERROR that the server logged, or
// of a panic, "" where there is none.
func (s *server) complaints() string {
	for line := range strings.Lines(s.log.String()) {
		if strings.Contains(line, `"level":"ERROR"`) || strings.Contains(line, "panic") || strings.Contains(line, "fatal error") {
			return strings.TrimSpace(line)
		}
	}
	return ""
}

// freePort returns an address that can be listened on again later: it lies
// beneath the ports that outgoing connections are given.
func freePort() string {
	for {
		addr := fmt.Sprintf("127.0.0.1:%d", 20_000+rand.IntN(12_000))
		if l, err := net.Listen("tcp", addr); err == nil && l.Close() == nil { //nolint:noctx // closed at once
			return addr
		}
	}
}
