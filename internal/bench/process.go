package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a server that was started.
type process struct {
	cmd     *exec.Cmd
	address string // host:port
	admin   string // http://host:port
	ready   time.Duration
}

// startWait bounds how long a server may take to listen and to be ready.
const startWait = 60 * time.Second

// start starts a server on a data folder and waits until it is ready.
func start(ctx context.Context, serve []string, dir string, log io.Writer) (*process, error) {
	args := append(serve[1:len(serve):len(serve)], "--data", dir, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--log-level", "warn")
	p := &process{cmd: exec.Command(serve[0], args...)} //nolint:noctx // it is stopped properly, not killed
	p.cmd.Stderr = log
	ownGroup(p.cmd)
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	if err := p.listen(ctx, out); err != nil {
		return nil, errors.Join(err, p.stop())
	}
	if err := p.waitReady(ctx); err != nil {
		return nil, errors.Join(err, p.stop())
	}
	p.ready = time.Since(began)
	return p, nil
}

// listen reads the two lines that say where the server listens.
func (p *process) listen(ctx context.Context, out io.Reader) error {
	found := make(chan error, 1)
	go func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			l := lines.Text()
			if a, ok := strings.CutPrefix(l, "listening on http://"); ok {
				p.address = a
			}
			if a, ok := strings.CutPrefix(l, "admin listening on "); ok {
				p.admin = a
				found <- nil
				_, _ = io.Copy(io.Discard, out) // so that the server never waits for it
				return
			}
		}
		found <- errors.Join(errors.New("the server ended before it listened"), lines.Err())
	}()
	select {
	case err := <-found:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *process) waitReady(ctx context.Context) error {
	for {
		if _, err := get(ctx, "http://"+p.address+"/readyz"); err == nil {
			return nil
		}
		select {
		case <-time.After(2 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func get(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close() //nolint:errcheck // it was read
	b, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answered %d", url, res.StatusCode)
	}
	return b, err
}

// collect makes the server collect its garbage.
func (p *process) collect(ctx context.Context) error {
	_, err := get(ctx, p.admin+"/debug/pprof/heap?gc=1")
	return err
}

// memory is what a process takes up, in bytes.
type memory struct {
	resident  float64 // all pages in memory, those of the mapped file too
	anonymous float64 // those without a file behind them
	inUse     float64 // heap objects and stacks of the Go runtime
}

// memory collects garbage and then looks.
func (p *process) memory(ctx context.Context) (m memory, err error) {
	for range 2 { // the second run frees what finalizers held on to
		if err := p.collect(ctx); err != nil {
			return m, err
		}
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return m, err
	}
	m.resident, m.anonymous = kilobytes(b, "VmRSS:"), kilobytes(b, "RssAnon:")
	if b, err = get(ctx, p.admin+"/metrics"); err != nil {
		return m, err
	}
	m.inUse = metric(b, "go_memstats_heap_alloc_bytes") + metric(b, "go_memstats_stack_inuse_bytes")
	return m, nil
}

// spent is what a server has used up since it started.
type spent struct {
	processor float64 // seconds of processor time
	entries   float64 // of the log, so commits
}

func (p *process) spent(ctx context.Context) (spent, error) {
	b, err := get(ctx, p.admin+"/metrics")
	if err != nil {
		return spent{}, err
	}
	return spent{metric(b, "process_cpu_seconds_total"), metric(b, `satchel_entries_total{tenant="`+slug+`"}`)}, nil
}

func kilobytes(b []byte, name string) float64 {
	_, rest, _ := bytes.Cut(b, []byte(name))
	line, _, _ := bytes.Cut(rest, []byte(" kB"))
	n, err := strconv.ParseFloat(string(bytes.TrimSpace(line)), 64)
	if err != nil {
		return 0
	}
	return n * 1024
}

func metric(b []byte, name string) float64 {
	for l := range bytes.Lines(b) {
		if rest, ok := bytes.CutPrefix(l, []byte(name+" ")); ok {
			n, err := strconv.ParseFloat(string(bytes.TrimSpace(rest)), 64)
			if err == nil {
				return n
			}
		}
	}
	return 0
}

// stopWait is how long an orderly end may take before it is forced.
const stopWait = 30 * time.Second

// stop ends the server as an operator would.
func (p *process) stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return errors.Join(err, p.cmd.Process.Kill(), p.cmd.Wait())
	}
	kill := time.AfterFunc(stopWait, func() { _ = p.cmd.Process.Kill() })
	defer kill.Stop()
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("the server's end: %w", err)
	}
	return nil
}
