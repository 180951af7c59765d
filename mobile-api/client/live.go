package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/gorilla/websocket"

	mobile "satchel/mobile-api/wire"
	"satchel/sync/wire"
)

// Change tells of something that Live did. Fields that do not apply are zero.
type Change struct {
	// Records and Removed name what a page brought or took away. Reset: a page
	// began by dropping records, so whatever is shown should be read again.
	Records []wire.Ref
	Removed []wire.Ref
	Reset   bool
	// Complete: the page ended a round and its digests agreed.
	Complete bool
	// MobileEnded: the field set is empty because the Mobile module is no
	// longer among the person's roles.
	MobileEnded bool
	// Results are answers to offline work.
	Results []wire.Result
	// Online is set on a change of the connection: Connected says to what, and
	// Err why, where it was lost or could not be had.
	Online    bool
	Connected bool
	Err       error
}

// frame is any frame of the live socket that a server sends.
type frame struct {
	Kind string `json:"kind"`

	page
	Results []result `json:"results"`

	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Code   string `json:"code"`
	Detail string `json:"detail"`
	Field  string `json:"field"`
	Wipe   bool   `json:"wipe"`
}

type pullFrame struct {
	Kind string `json:"kind"`
	wire.Pull
}

type pushFrame struct {
	Kind string `json:"kind"`
	pushBody
}

type ackFrame struct {
	Kind string `json:"kind"`
	wire.Ack
}

const (
	writeWait = 10 * time.Second
	closeWait = time.Second      // for why the server closed what can't be written to
	pushWait  = 30 * time.Second // for the results of a push
	// pushRecheck is when to look again for unsent work after a push over HTTP
	// was found under way.
	pushRecheck = 100 * time.Millisecond
	emptyPause  = 250 * time.Millisecond // before a second empty page in a row is acknowledged
	// ackWait is how long an acknowledgement waits that the server does not wait for:
	// one for several pages, and none while a change is on its way to other devices.
	ackWait = 100 * time.Millisecond
)

// errRetry ends a connection that should be opened again at once.
var errRetry = errors.New("client: reconnect")

// Live keeps the device up to date over a socket until ctx or the phone ends,
// and returns why: the context's error, ErrClosed, ErrSignedOut, ErrWiped or
// ErrSuperseded. Pages are applied as they come and edits are pushed as they
// are made. While the socket can't be had it tries again, at growing random
// intervals of up to two minutes, with a Sync over HTTP each time and whenever
// there is an edit. Where the server went away or has too much to do, all its
// devices are told at once: each first waits for a random time of up to four
// seconds, or as long as the server asks and a random time more. onChange, which may be nil, is called from one goroutine,
// outside of transactions; while it runs nothing is received. A phone has one
// Live at a time.
func (p *Phone) Live(ctx context.Context, onChange func(Change)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-p.closed:
			cancel()
		case <-ctx.Done():
		}
	}()
	if onChange == nil {
		onChange = func(Change) {}
	}
	failures := 0
	wipes := p.wipes.Load()
	for {
		opened, useful, err := p.liveOnce(ctx, onChange)
		err = p.orWiped(wipes, err)
		select {
		case <-p.closed:
			return ErrClosed
		default:
		}
		if cerr := ctx.Err(); cerr != nil {
			return cerr
		}
		if useful {
			failures = 0
		}
		if opened || failures == 0 {
			onChange(Change{Online: true, Err: err})
		}
		if over(err) || errors.Is(err, ErrSuperseded) {
			return err
		}
		if errors.Is(err, errRetry) && failures == 0 {
			failures++
			continue
		}
		p.log.Info("live connection lost", "error", err, "failures", failures)
		if crowded(err) {
			failures = max(failures, crowdFailures)
		}
		if err := p.betweenLives(ctx, onChange, p.backoff(failures, err), opened, err); err != nil {
			return err
		}
		failures++
	}
}

// crowdFailures is where the intervals begin when a server's devices all come
// back at the same time: at four seconds.
const crowdFailures = 2

// crowded reports whether an end of the connection, or a refusal of one, is
// likely to be that of many devices: the server went away, broke off or has too
// much to do.
func crowded(err error) bool {
	var closed *websocket.CloseError
	if errors.As(err, &closed) {
		switch closed.Code {
		case websocket.CloseGoingAway, websocket.CloseAbnormalClosure, websocket.CloseServiceRestart, websocket.CloseTryAgainLater:
			return true
		}
		return false
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Status == http.StatusTooManyRequests || e.Status == http.StatusServiceUnavailable
	}
	return false
}

// retryAfter is what the server asked for, 0 for nothing.
func retryAfter(err error) time.Duration {
	var e *Error
	if errors.As(err, &e) {
		return e.RetryAfter
	}
	return 0
}

// backoff is exponential with full jitter. What the server asked for comes
// before it: those who were told the same must not be back in the same instant.
func (p *Phone) backoff(failures int, err error) time.Duration {
	ceiling := p.backoffMax
	if failures < 20 {
		ceiling = min(ceiling, p.backoffMin<<failures)
	}
	return retryAfter(err) + rand.N(ceiling) + 1
}

// betweenLives syncs over HTTP, waits, and syncs again for every edit; lost says
// why the socket was lost or, where it was not opened, could not be had. Among
// many devices it waits first, and syncs afterwards if there is no socket. Edits
// are a person's own: they wait only where the server asks for it.
func (p *Phone) betweenLives(ctx context.Context, onChange func(Change), wait time.Duration, opened bool, lost error) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	wake := p.wake
	if retryAfter(lost) > 0 {
		wake = nil
	}
	// What was handed to the socket as it closed is a person's edit as well.
	st, err := p.Status()
	unsent := err == nil && st.Pending > 0
	due, synced := !crowded(lost) || unsent && wake != nil, false
	for {
		if due {
			if err := p.syncBetween(ctx, onChange); err != nil {
				return err
			}
			synced = true
		}
		select {
		case <-timer.C:
			if opened || synced {
				return nil
			}
			return p.syncBetween(ctx, onChange)
		case <-ctx.Done():
			return nil // the caller tells why
		case <-wake:
			due = true
		}
	}
}

// syncBetween syncs over HTTP and tells of it. An error is the end of Live.
func (p *Phone) syncBetween(ctx context.Context, onChange func(Change)) error {
	rep, err := p.Sync(ctx)
	if over(err) {
		return err
	}
	if rep.Pages > 0 || len(rep.Results) > 0 {
		// Which records is not kept; whoever shows some reads them again.
		onChange(Change{Reset: rep.Records+rep.Removed > 0, Results: rep.Results, Complete: rep.Complete})
	}
	var refusal *Error
	if errors.As(err, &refusal) {
		onChange(Change{Online: true, Err: err})
	}
	return nil
}

func (p *Phone) dialer() *websocket.Dialer {
	if p.opts.Dialer != nil {
		return p.opts.Dialer
	}
	d := *websocket.DefaultDialer
	if t, ok := p.opts.Transport.(*http.Transport); ok {
		d.TLSClientConfig, d.NetDialContext, d.Proxy = t.TLSClientConfig, t.DialContext, t.Proxy
	}
	return &d
}

// connect opens the socket, perhaps for changed fields, with a token that may
// first have to be refreshed.
func (p *Phone) connect(ctx context.Context, changes bool) (conn *websocket.Conn, token string, err error) {
	if token, err = p.token(ctx); err != nil {
		return nil, "", err
	}
	u := *p.server
	u.Scheme = map[string]string{"http": "ws", "https": "wss"}[u.Scheme]
	u.Path += "/sync/v1/live"
	for try := 0; ; try++ {
		dctx, cancel := context.WithTimeout(ctx, p.opts.Timeout)
		header := http.Header{"Authorization": {"Bearer " + token}, mobile.HeaderProtocol: {strconv.Itoa(mobile.Protocol)}}
		header.Set(mobile.HeaderPrefer, mobile.PreferDeferred)
		if changes {
			header.Add(mobile.HeaderPrefer, mobile.PreferChanges)
		}
		conn, resp, err := p.dialer().DialContext(dctx, u.String(), header)
		cancel()
		if err == nil {
			return conn, token, nil
		}
		if resp == nil {
			return nil, token, fmt.Errorf("client: live: %w", err)
		}
		raw, rerr := p.readBody(resp) // gorilla keeps the first kilobyte of a refusal
		_ = resp.Body.Close()         // it holds no connection any more
		if rerr != nil {
			raw = nil
		}
		refusal := problem(resp.StatusCode, resp.Header, raw, p.now())
		if try == 0 && refusal.Status == http.StatusUnauthorized && refusal.Code != codeSessionRevoked {
			if token, err = p.refresh(ctx, token); err != nil {
				return nil, token, err
			}
			continue
		}
		return nil, token, p.judge(refusal, token)
	}
}

// connection is one live socket and what is under way on it. Only the
// goroutine that runs it writes.
type connection struct {
	p        *Phone
	ws       *websocket.Conn
	token    string
	onChange func(Change)
	emptied  int64 // how often the store had been emptied when it was opened
	changes  bool  // it was opened for changed fields

	pull pullState
	// ackedCP is the checkpoint that the last pull frame acknowledged, and
	// ackedVersion the settings' version that the first frame with it brought:
	// a page from there was made after those settings.
	ackedCP      string
	acked        bool
	ackedVersion uint64
	sentVersion  uint64 // the settings' version that the last pull frame brought
	ignored      int
	wasEmpty     bool
	useful       bool
	// pause is until a pull that was put off is sent.
	pause *time.Timer
	// unsaid is the checkpoint that is to be acknowledged at ack, "" for none.
	unsaid string
	ack    *time.Timer
	// rules has the version that a page told of last, for whoever fetches them.
	rules chan string

	release  func() // of the lock held while a push is on its way
	pushedAt *time.Timer
	gaps     int
}

// liveOnce runs one connection. opened: there was one; useful: it brought a
// page.
func (p *Phone) liveOnce(ctx context.Context, onChange func(Change)) (opened, useful bool, err error) {
	emptied, changes := p.emptied.Load(), p.wantsChanges()
	ws, token, err := p.connect(ctx, changes)
	if err != nil {
		return false, false, err
	}
	c := &connection{p: p, ws: ws, token: token, onChange: onChange, emptied: emptied, changes: changes, pushedAt: time.NewTimer(time.Hour), pause: time.NewTimer(time.Hour), ack: time.NewTimer(time.Hour), rules: make(chan string, 1)}
	c.pushedAt.Stop()
	c.pause.Stop()
	c.ack.Stop()
	frames := make(chan frame)
	failed := make(chan error, 1)
	done := make(chan struct{})
	finished := make(chan struct{})
	ws.SetReadLimit(p.opts.MaxResponse)
	alive := func() error { return ws.SetReadDeadline(time.Now().Add(p.pongWait)) }
	ws.SetPongHandler(func(string) error { p.heard(); return alive() })
	pong := ws.PingHandler()
	ws.SetPingHandler(func(s string) error { return errors.Join(alive(), pong(s)) })
	go func() {
		defer close(finished)
		for {
			if err := alive(); err != nil {
				failed <- err
				return
			}
			_, raw, err := ws.ReadMessage()
			var f frame
			if err == nil {
				if jerr := json.Unmarshal(raw, &f); jerr != nil {
					err = &Error{Code: codeBadAnswer, Detail: jerr.Error()}
				}
			}
			if err != nil {
				failed <- err
				return
			}
			select {
			case frames <- f:
			case <-done:
				return
			}
		}
	}()
	onChange(Change{Online: true, Connected: true})
	asking, enough := context.WithCancel(ctx)
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		p.followRules(asking, c.rules) // what ends the session, the socket is told too
	}()
	err = c.run(ctx, frames, failed)
	var unsent *writeError
	if errors.As(err, &unsent) {
		err = lastWord(ctx, err, frames, failed)
	}
	close(done)
	enough()
	<-asked
	if ctx.Err() != nil {
		_ = ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(time.Second))
	}
	_ = ws.Close() // the connection is given up either way
	<-finished
	c.pushedAt.Stop()
	c.pause.Stop()
	c.ack.Stop()
	if c.release != nil {
		c.release()
	}
	return true, c.useful, c.why(ctx, err)
}

// writeError is a frame that could not be sent. The server may have closed the
// connection for a reason, which only the reader is told.
type writeError struct{ err error }

func (e *writeError) Error() string { return "client: live: " + e.err.Error() }
func (e *writeError) Unwrap() error { return e.err }

// lastWord is why the server closed a connection that can't be written to any
// more, if it said so; otherwise err.
func lastWord(ctx context.Context, err error, frames <-chan frame, failed <-chan error) error {
	patience := time.NewTimer(closeWait)
	defer patience.Stop()
	for {
		select {
		case <-frames: // sent again after the next connection
		case read := <-failed:
			var ce *websocket.CloseError
			if errors.As(read, &ce) {
				return read
			}
			return err
		case <-patience.C:
			return err
		case <-ctx.Done():
			return err
		}
	}
}

// why turns the end of a connection into what Live acts on.
func (c *connection) why(ctx context.Context, err error) error {
	var ce *websocket.CloseError
	if !errors.As(err, &ce) {
		return err
	}
	switch ce.Code {
	case wire.CloseExpired:
		if _, err := c.p.refresh(ctx, c.token); err != nil {
			return err
		}
		return errRetry
	case wire.CloseSuperseded:
		return ErrSuperseded
	case wire.CloseRevoked:
		// Whether the device is to be wiped is said over HTTP only.
		if _, err := c.p.refresh(ctx, c.token); err != nil && over(err) {
			return err
		}
		return c.p.signedOut(&Error{Status: http.StatusUnauthorized, Code: codeSessionRevoked, Detail: ce.Text}, c.token)
	}
	return err
}

func (c *connection) run(ctx context.Context, frames <-chan frame, failed <-chan error) error {
	if err := c.sendPull(); err != nil {
		return err
	}
	if err := c.sendPush(); err != nil {
		return err
	}
	ping := time.NewTicker(c.p.pingEvery)
	defer ping.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err = <-failed:
			return err
		case <-ping.C:
			if perr := c.ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(writeWait)); perr != nil {
				err = &writeError{perr}
			}
		case <-c.pause.C:
			err = c.sendPull()
		case <-c.ack.C:
			err = c.sendAck()
		case <-c.pushedAt.C:
			return errors.New("client: live: a push was not answered in time")
		case <-c.p.wake:
			if err = c.sendPush(); err == nil {
				err = c.sendSettings()
			}
		case f := <-frames:
			switch f.Kind {
			case wire.KindPage:
				var next answer
				if next, err = c.onPage(&f.page); err == nil {
					switch next {
					case pullLater:
						c.pause.Reset(emptyPause)
					case pullNow:
						err = c.sendPull()
					case ackLater:
						if c.unsaid == "" {
							c.ack.Reset(ackWait)
						}
						c.unsaid = f.Checkpoint
					case pullNot:
					}
				}
			case wire.KindResults:
				err = c.onResults(results{Results: f.Results, Processed: f.Processed})
			case wire.KindError:
				err = c.onError(&f)
			}
		}
		if err != nil {
			return err
		}
	}
}

func (c *connection) write(v any) error {
	if err := c.ws.SetWriteDeadline(time.Now().Add(writeWait)); err != nil {
		return &writeError{err}
	}
	if err := c.ws.WriteJSON(v); err != nil {
		return &writeError{err}
	}
	return nil
}

// sendPull pulls, unless a Sync does so over HTTP: two that pull at once would
// supersede each other's pages, and none would ever count as applied.
func (c *connection) sendPull() error {
	if len(c.p.syncing) > 0 {
		c.pause.Reset(emptyPause)
		return nil
	}
	req, version, err := c.p.pullRequest(&c.pull)
	if err != nil {
		return err
	}
	if !c.acked || req.Checkpoint != c.ackedCP {
		c.acked, c.ackedCP, c.ackedVersion = true, req.Checkpoint, version
	}
	c.sentVersion = version
	c.unsaid = "" // this says it
	return c.write(pullFrame{wire.KindPull, req})
}

// sendAck acknowledges the pages that the server did not wait for.
func (c *connection) sendAck() error {
	checkpoint := c.unsaid
	if c.unsaid = ""; checkpoint == "" {
		return nil
	}
	return c.write(ackFrame{wire.KindAck, wire.Ack{Checkpoint: checkpoint}})
}

// sendSettings pulls if there are settings that are neither confirmed nor on
// their way.
func (c *connection) sendSettings() error {
	unsent := false
	err := c.p.st.view(func(t tx) error {
		s, err := readSettings(t)
		unsent = max(s.ProfileV, s.WindowV, s.PinsV, s.SchemaV) > max(s.Acked, c.sentVersion)
		return err
	})
	if err != nil || !unsent {
		return err
	}
	return c.sendPull()
}

// sendPush sends the next chunk, unless one is on its way over the socket or
// over HTTP; the latter's end is noticed by the results being stored.
func (c *connection) sendPush() error {
	if c.release != nil {
		return nil
	}
	select {
	case c.p.pushing <- struct{}{}:
	default:
		time.AfterFunc(pushRecheck, c.p.poke) // that push may have begun before the newest edit
		return nil
	}
	body, _, ok, err := c.p.nextPush(maxPushMutations)
	if err != nil || !ok {
		<-c.p.pushing
		return err
	}
	c.release = func() { <-c.p.pushing }
	c.pushedAt.Reset(pushWait)
	return c.write(pushFrame{wire.KindPush, body})
}

func (c *connection) onResults(rs results) error {
	out, err := c.p.storeResults(rs)
	if c.release != nil {
		c.release()
		c.release = nil
		c.pushedAt.Stop()
	}
	if err != nil {
		return err
	}
	if len(out.stored) > 0 {
		c.onChange(Change{Results: out.stored})
	}
	if err := c.p.pushed(out, &c.gaps); err != nil {
		return err
	}
	if !out.gap {
		c.gaps = 0
	}
	return c.sendPush()
}

// answer is what a page is answered with.
type answer uint8

const (
	pullNow answer = iota
	// pullLater: two that answer each other with nothing must not spin.
	pullLater
	// pullNot: a pull from where the device stands is on its way already. A
	// second one would supersede its page, and the two would go on superseding
	// each other's for ever.
	pullNot
	// ackLater: the server goes on without.
	ackLater
)

// onPage applies a page.
func (c *connection) onPage(pg *page) (answer, error) {
	if c.pull.offers(pg) {
		if err := c.p.st.update(func(t tx) error { return resendSettings(t, nil) }); err != nil {
			return pullNot, err
		}
		c.acked = false
		return pullNow, nil
	}
	how := applyHow{reconciled: c.pull.reconcile, live: true, emptied: c.emptied}
	if c.acked && pg.From == c.ackedCP {
		how.settings = c.ackedVersion
	}
	out, err := c.p.applyPage(pg, how)
	if err != nil {
		return pullNot, err
	}
	if c.p.emptied.Load() != c.emptied {
		return pullNot, errRetry // the connection is of a session that went with what was here
	}
	if !out.ok {
		if c.ignored++; c.ignored > maxIgnored {
			return pullNot, ErrStale
		}
		return c.asked()
	}
	c.ignored, c.useful = 0, true
	if pg.Rules != "" {
		select {
		case <-c.rules: // an older one
		default:
		}
		c.rules <- pg.Rules // nobody else puts one there
	}
	if out.requeued {
		c.p.poke()
	}
	if diverged := c.pull.after(out); len(diverged) > 0 {
		c.p.log.Error("types differ from the server's digest after healing", "types", diverged)
	}
	next := pullNow
	switch {
	case len(c.pull.heal) > 0:
	case pg.Ack == wire.AckDeferred:
		next = ackLater
	case pg.empty() && c.wasEmpty:
		next = pullLater
	}
	c.wasEmpty = pg.empty()
	ch := Change{
		Removed: pg.Removed, Reset: pg.Reset || pg.From == "", MobileEnded: pg.MobileEnded,
		Complete: pg.Complete != nil && !pg.More && len(out.differ) == 0,
	}
	for i := range pg.Records {
		ch.Records = append(ch.Records, wire.Ref{Type: pg.Records[i].Type, ID: pg.Records[i].ID})
	}
	c.onChange(ch)
	if c.changes && !c.p.wantsChanges() {
		return pullNot, errRetry // for whole records
	}
	return next, nil
}

// asked tells whether the last pull went out from where the device stands.
func (c *connection) asked() (answer, error) {
	own := ""
	err := c.p.st.view(func(t tx) error {
		own = string(t.get(bucketMeta, keyCheckpoint))
		return nil
	})
	if err == nil && c.acked && c.ackedCP == own {
		return pullNot, nil
	}
	return pullNow, err
}

func (c *connection) onError(f *frame) error {
	if f.Code == codeBadCheckpoint {
		if err := c.p.refusedCheckpoint(&c.pull); err != nil {
			return err
		}
		c.acked = false
		return c.sendPull()
	}
	e := &Error{Status: f.Status, Code: f.Code, Title: f.Title, Detail: f.Detail, Field: f.Field, Wipe: f.Wipe}
	if e.Code == codeTokenExpired || e.Code == codeInvalidToken {
		return &websocket.CloseError{Code: wire.CloseExpired}
	}
	// Anything else is tried again over HTTP, which says what it is about.
	return c.p.judge(e, c.token)
}
