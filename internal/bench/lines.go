package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"

	"satchel/internal/strictjson"
)

// ask is a request to an adapter. DESIGN.md has what stands in which.
type ask struct {
	ID      int64    `json:"id"`
	Do      string   `json:"do"`
	As      string   `json:"as,omitempty"`
	Version int      `json:"version,omitempty"`
	Folder  string   `json:"folder,omitempty"`
	Rows    any      `json:"rows,omitempty"`
	Person  string   `json:"person,omitempty"`
	Device  *bool    `json:"device,omitempty"`
	Accept  *string  `json:"accept,omitempty"`
	Record  string   `json:"record,omitempty"`
	Notes   string   `json:"notes,omitempty"`
	Areas   []string `json:"areas,omitempty"`
}

// told is what an adapter says: an answer where it has an id, else news.
type told struct {
	ID          int64  `json:"id"`
	Error       string `json:"error"`
	Unsupported string `json:"unsupported"`

	Version int               `json:"version"`
	Name    string            `json:"name"`
	Cannot  map[string]string `json:"cannot"`
	PerArea int               `json:"perArea"`
	Beside  bool              `json:"beside"`

	Records   *int    `json:"records"`
	Bytes     *int64  `json:"bytes"`
	Processes []int   `json:"processes"`
	InUse     float64 `json:"inUse"`

	As      string `json:"as"`
	Changed int    `json:"changed"`
	Removed int    `json:"removed"`
	Mark    string `json:"mark"`
	Lost    string `json:"lost"`
}

const (
	// longestLine is what an adapter may say at once, in bytes.
	longestLine = 1 << 20
	// lastWords is how long an adapter that ended, or its output, is waited for.
	lastWords = time.Second
)

// lines is an adapter's process, spoken with in lines of JSON. The first thing
// that goes wrong with it ends it: whatever is under way, and is asked later,
// fails with that.
type lines struct {
	cmd     *exec.Cmd
	in      *os.File
	wait    time.Duration // for an answer
	writing sync.Mutex

	read   chan struct{} // closed when its output has ended
	exited chan struct{} // closed after status was set
	status error
	down   chan struct{} // closed after broken was set

	mu      sync.Mutex
	broken  error
	n       int64
	pending map[int64]pending
	live    map[string]*listener
}

// pending is a request without an answer yet.
type pending struct {
	do, as string
	back   chan told
}

// listener is a live client of an adapter.
type listener struct {
	tell func(news)
	on   bool // live was answered
}

// startLines starts an adapter. Its standard error goes to log.
func startLines(command []string, wait time.Duration, log io.Writer) (*lines, error) {
	theirIn, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	out, theirOut, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, theirIn.Close(), in.Close())
	}
	l := &lines{
		cmd: exec.Command(command[0], command[1:]...), //nolint:noctx // it is stopped properly, not killed
		in:  in, wait: wait, read: make(chan struct{}), exited: make(chan struct{}), down: make(chan struct{}),
		pending: map[int64]pending{}, live: map[string]*listener{},
	}
	l.cmd.Stdin, l.cmd.Stdout, l.cmd.Stderr, l.cmd.WaitDelay = theirIn, theirOut, log, lastWords
	ownGroup(l.cmd)
	err = errors.Join(l.cmd.Start(), theirIn.Close(), theirOut.Close())
	if err != nil {
		return nil, errors.Join(err, in.Close(), out.Close())
	}
	go l.follow(out)
	go l.outlive(out)
	return l, nil
}

// follow takes what the adapter says until its output ends.
func (l *lines) follow(out io.Reader) {
	defer close(l.read)
	r := bufio.NewReaderSize(out, 64<<10)
	for {
		line, err := readLine(r)
		at := time.Now()
		if err != nil {
			break
		}
		if err := l.take(line, at); err != nil {
			_ = l.fail(err)
			return
		}
	}
	go func() {
		select {
		case <-l.exited: // outlive has more to say
		case <-time.After(lastWords):
			_ = l.fail(errors.New("the adapter closed its output"))
		}
	}()
}

// outlive waits for the adapter's end. What it started may hold its output
// open.
func (l *lines) outlive(out *os.File) {
	l.status = l.cmd.Wait()
	close(l.exited)
	select {
	case <-l.read:
	case <-time.After(lastWords):
	}
	_ = l.fail(fmt.Errorf("the adapter ended: %v", l.cmd.ProcessState))
	_ = out.Close()
}

// readLine returns a line without its end, valid until the next. One that is
// too long is returned cut, and so is no message.
func readLine(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	if err == nil {
		return line[:len(line)-1], nil
	}
	whole := append([]byte(nil), line...)
	for errors.Is(err, bufio.ErrBufferFull) && len(whole) < longestLine {
		line, err = r.ReadSlice('\n')
		whole = append(whole, line...)
	}
	if err != nil && len(whole) < longestLine {
		return nil, err
	}
	return whole, nil
}

// take is one line of the adapter's, which arrived at a time.
func (l *lines) take(line []byte, at time.Time) error {
	var m told
	if err := strictjson.Decode(line, &m); err != nil {
		return fmt.Errorf("the adapter wrote what is no message: %w: %.200q", err, line)
	}
	if m.ID != 0 {
		return l.answered(m)
	}
	l.mu.Lock()
	to := l.live[m.As]
	on := to != nil && to.on
	if on && m.Lost != "" {
		to.on = false
	}
	l.mu.Unlock()
	switch {
	case to == nil:
		return fmt.Errorf("the adapter told news of %q, which is not live: %.200q", m.As, line)
	case m.Changed < 0 || m.Removed < 0:
		return fmt.Errorf("the adapter told news of less than nothing: %.200q", line)
	case !on: // of the first sync, or after the last word
	case m.Lost != "":
		to.tell(news{at: at, lost: errors.New(m.Lost)})
	default:
		to.tell(news{at: at, changed: m.Changed, removed: m.Removed, mark: markOf(m.Mark)})
	}
	return nil
}

func (l *lines) answered(m told) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	p, ok := l.pending[m.ID]
	if !ok {
		return fmt.Errorf("the adapter answered request %d, which is not under way", m.ID)
	}
	delete(l.pending, m.ID)
	to := l.live[p.as]
	switch {
	case to == nil:
	case p.do == doLive && m.Error == "" && m.Unsupported == "":
		to.on = true // before the next line is read
	case p.do == doLive || p.do == doClose:
		delete(l.live, p.as)
	}
	p.back <- m
	return nil
}

// listen has a client's news told once it is live.
func (l *lines) listen(as string, tell func(news)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.live[as] = &listener{tell: tell}
}

// call asks and waits for the answer. Where the adapter can't do it, the error
// is an unsupportedError.
func (l *lines) call(ctx context.Context, q ask) (told, error) {
	back := make(chan told, 1)
	l.mu.Lock()
	if l.broken != nil {
		defer l.mu.Unlock()
		return told{}, l.broken
	}
	l.n++
	q.ID = l.n
	l.pending[q.ID] = pending{q.Do, q.As, back}
	l.mu.Unlock()
	if err := l.send(&q); err != nil {
		return told{}, err
	}
	late := time.NewTimer(l.wait)
	defer late.Stop()
	select {
	case m := <-back:
		return m, m.refusal(&q)
	case <-l.down:
		select {
		case m := <-back: // its last
			return m, m.refusal(&q)
		default:
			return told{}, l.broken
		}
	case <-late.C:
		return told{}, l.fail(fmt.Errorf("the adapter has not answered %s after %v", &q, l.wait))
	case <-ctx.Done():
		return told{}, ctx.Err()
	}
}

func (l *lines) send(q *ask) error {
	line, err := json.Marshal(q)
	if err != nil {
		return err
	}
	l.writing.Lock()
	_ = l.in.SetWriteDeadline(time.Now().Add(l.wait)) // where the platform can
	_, err = l.in.Write(append(line, '\n'))
	l.writing.Unlock()
	if err == nil {
		return nil
	}
	select {
	case <-l.down: // which says why
	case <-time.After(2 * lastWords):
	}
	return l.fail(fmt.Errorf("the adapter does not read %s: %w", q, err))
}

// String is the request as errors name it.
func (q *ask) String() string {
	if q.As != "" {
		return q.Do + " of " + q.As
	}
	return q.Do
}

// refusal is an answer's error, if it is one.
func (m *told) refusal(q *ask) error {
	switch {
	case m.Unsupported != "":
		return &unsupportedError{m.Unsupported}
	case m.Error != "":
		return fmt.Errorf("%s: the adapter says: %s", q, m.Error)
	}
	return nil
}

// fail ends the adapter for a reason, and returns the first that there was.
func (l *lines) fail(err error) error {
	l.mu.Lock()
	if l.broken != nil {
		defer l.mu.Unlock()
		return l.broken
	}
	l.broken = err
	var clients []*listener
	for _, c := range l.live {
		if c.on {
			clients = append(clients, c)
		}
	}
	l.mu.Unlock()
	close(l.down)
	killGroup(l.cmd)
	for _, c := range clients {
		c.tell(news{at: time.Now(), lost: err})
	}
	return err
}

// close asks the adapter to end, waits until it has, and ends what it left.
func (l *lines) close() error {
	defer killGroup(l.cmd)
	wait := min(l.wait, stopWait)
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	_, err := l.call(ctx, ask{Do: doEnd})
	err = apart(err, l.in.Close())
	select {
	case <-l.exited:
	case <-time.After(wait):
		err = apart(err, l.fail(fmt.Errorf("the adapter has not ended %v after it was asked to", wait)))
		<-l.exited
	}
	if err == nil && l.status != nil {
		err = fmt.Errorf("the adapter's end: %w", l.status)
	}
	return err
}
