package bench

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/valyala/fasthttp"

	mobile "satchel/mobile-api/wire"
	"satchel/sync/wire"
)

// client speaks HTTP with the server over connections that are kept.
type client struct {
	host *fasthttp.HostClient
	base string
}

func newClient(address string) *client {
	return &client{
		host: &fasthttp.HostClient{Addr: address, MaxConns: 1024, MaxIdleConnDuration: time.Minute, ReadTimeout: time.Minute, WriteTimeout: time.Minute},
		base: "http://" + address,
	}
}

// send makes a request and calls f with the answer's body, which is valid
// until f returns. encoding is what the client accepts, "" for nothing.
func (c *client) send(method, path, access string, body []byte, f func([]byte) error) error {
	return c.sendFrom("", method, path, access, "", body, f)
}

// sendFrom makes a request that a proxy in front says came from an address.
func (c *client) sendFrom(from, method, path, access, encoding string, body []byte, f func([]byte) error) error {
	req, res := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(res)
	req.Header.SetMethod(method)
	req.SetRequestURI(c.base + path)
	if access != "" {
		req.Header.Set("Authorization", "Bearer "+access)
	}
	if from != "" {
		req.Header.Set("X-Forwarded-For", from)
	}
	if encoding != "" {
		req.Header.Set("Accept-Encoding", encoding)
	}
	if body != nil {
		req.Header.SetContentType("application/json")
		req.SetBodyRaw(body)
	}
	if err := c.host.Do(req, res); err != nil {
		return err
	}
	if s := res.StatusCode(); s >= http.StatusMultipleChoices {
		return fmt.Errorf("%s %s: %d %s", method, path, s, res.Body())
	}
	if got := string(res.Header.Peek("Content-Encoding")); got != encoding && len(res.Body()) > 4096 {
		return fmt.Errorf("%s: the answer's encoding is %q", path, got)
	}
	if f == nil {
		return nil
	}
	return f(res.Body())
}

// token returns an access token that is good for a while yet.
func (c *client) token(a *account) (string, error) {
	if time.Until(a.until) > time.Minute {
		return a.access, nil
	}
	body, err := json.Marshal(map[string]string{"refreshToken": a.refresh})
	if err != nil {
		return "", err
	}
	var out struct {
		Access    string `json:"accessToken"`
		Refresh   string `json:"refreshToken"`
		ExpiresIn int64  `json:"expiresIn"`
	}
	err = c.sendFrom(a.from, http.MethodPost, "/v1/auth/refresh", "", "", body, func(b []byte) error { return json.Unmarshal(b, &out) })
	if err != nil {
		return "", err
	}
	a.access, a.refresh, a.until = out.Access, out.Refresh, time.Now().Add(time.Duration(out.ExpiresIn)*time.Second)
	return a.access, nil
}

// apart joins two errors, one of which may have been the cause of the other.
func apart(err, more error) error {
	switch {
	case more == nil, errors.Is(err, more):
		return err
	case err == nil:
		return more
	}
	return errors.Join(err, more)
}

// each calls f for every account, some at a time, and returns the first error.
func each[T any](ctx context.Context, at int, list []T, f func(T) error) error {
	var wait sync.WaitGroup
	var mu sync.Mutex
	var failed error
	room := make(chan struct{}, at)
	for _, x := range list {
		room <- struct{}{}
		mu.Lock()
		stop := failed != nil || ctx.Err() != nil
		mu.Unlock()
		if stop {
			break
		}
		wait.Go(func() {
			defer func() { <-room }()
			if err := f(x); err != nil {
				mu.Lock()
				failed = apart(failed, err)
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	return apart(failed, ctx.Err())
}

// synced says what a first sync took.
type synced struct {
	took       time.Duration
	wire       int // bytes of bodies as sent
	records    int
	checkpoint string
}

var (
	gunzips = sync.Pool{New: func() any { return new(gzip.Reader) }}
	unzstd  = sync.OnceValues(func() (*zstd.Decoder, error) { return zstd.NewReader(nil, zstd.WithDecoderConcurrency(1)) })
)

// sync pulls over HTTP until the device is complete. The time is from the
// first request to the end of the last page, decompressed and looked through.
func (c *client) sync(access, encoding string, limit int) (synced, error) {
	return c.syncFrom("", access, encoding, limit)
}

func (c *client) syncFrom(from, access, encoding string, limit int) (synced, error) {
	return c.pull(from, access, encoding, "", limit)
}

// pull goes on from a checkpoint, "" for the beginning.
func (c *client) pull(from, access, encoding, cp string, limit int) (synced, error) {
	var out synced
	began := time.Now()
	for {
		body := fmt.Appendf(nil, `{"checkpoint":"%s","limit":%d}`, cp, limit)
		var p page
		err := c.sendFrom(from, http.MethodPost, "/sync/v1/pull", access, encoding, body, func(b []byte) (err error) {
			out.wire += len(b)
			if b, err = decode(encoding, b); err != nil {
				return err
			}
			p, err = scan(b)
			return err
		})
		if err != nil {
			return out, err
		}
		cp = p.checkpoint
		out.records += p.records
		if p.complete {
			out.took, out.checkpoint = time.Since(began), cp
			return out, nil
		}
		if !p.more {
			return out, errors.New("a page that is neither complete nor followed by another")
		}
	}
}

// maxGuess bounds what is set aside for a body by what it says of itself, in bytes.
const maxGuess = 16 << 20

func decode(encoding string, b []byte) ([]byte, error) {
	switch encoding {
	case "gzip":
		r := gunzips.Get().(*gzip.Reader) //nolint:forcetypeassert // the pool's own
		defer gunzips.Put(r)
		if err := r.Reset(bytes.NewReader(b)); err != nil {
			return nil, err
		}
		// A member ends with how long it is decompressed; what it says wrongly costs
		// time or memory, no more.
		out := bytes.NewBuffer(make([]byte, 0, min(binary.LittleEndian.Uint32(b[len(b)-4:]), maxGuess)+bytes.MinRead))
		_, err := out.ReadFrom(r)
		return out.Bytes(), err
	case "zstd":
		d, err := unzstd()
		if err != nil {
			return nil, err
		}
		return d.DecodeAll(b, nil)
	}
	return b, nil
}

// phone is a live client.
type phone struct {
	ws         *websocket.Conn
	checkpoint string
	done       chan struct{}
	failed     error // after done
	onPage     atomic.Pointer[func(*phone, page, time.Time)]
	onEnd      atomic.Pointer[func(error)] // told why it is done, unless it was closed
	pages      atomic.Int64

	writing sync.Mutex
	unsaid  atomic.Pointer[string] // the checkpoint that is to be acknowledged later
	deaf    atomic.Bool            // it reads nothing more
	hungUp  chan struct{}          // closed by close
}

// connect opens a live socket and brings the device up to date. onPage is
// told of later pages, each before it is acknowledged.
func connect(ctx context.Context, address, access, checkpoint string) (*phone, error) {
	return connectFrom(ctx, "", address, access, checkpoint)
}

func connectFrom(ctx context.Context, from, address, access, checkpoint string) (*phone, error) {
	d := websocket.Dialer{ReadBufferSize: 2048, WriteBufferSize: 512}
	h := http.Header{"Authorization": {"Bearer " + access}, mobile.HeaderPrefer: {mobile.PreferDeferred}}
	if from != "" {
		h.Set("X-Forwarded-For", from)
	}
	ws, res, err := d.DialContext(ctx, "ws://"+address+"/sync/v1/live", h)
	if err != nil {
		return nil, refusedWith(res, err)
	}
	p := &phone{ws: ws, checkpoint: checkpoint, done: make(chan struct{}), hungUp: make(chan struct{})}
	for {
		if err := p.pull(); err != nil {
			return nil, errors.Join(err, ws.Close())
		}
		got, err := p.read()
		if err != nil {
			return nil, errors.Join(err, ws.Close())
		}
		acknowledge := got.checkpoint != p.checkpoint
		p.checkpoint = got.checkpoint
		if got.complete {
			if acknowledge {
				err = p.pull()
			}
			if err != nil {
				return nil, errors.Join(err, ws.Close())
			}
			go p.follow()
			return p, nil
		}
	}
}

func (p *phone) pull() error {
	return p.write([]byte(`{"kind":"pull","checkpoint":"` + p.checkpoint + `"}`))
}

func (p *phone) write(frame []byte) error {
	p.writing.Lock()
	defer p.writing.Unlock()
	return p.ws.WriteMessage(websocket.TextMessage, frame)
}

// frames are what pages are read into, one at a time: they are large now and then,
// and there are many phones.
var frames = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// read takes the next page and the mark in it.
func (p *phone) read() (page, error) {
	_, r, err := p.ws.NextReader()
	if err != nil {
		return page{}, err
	}
	buf := frames.Get().(*bytes.Buffer) //nolint:forcetypeassert // the pool's own
	defer frames.Put(buf)
	buf.Reset()
	if _, err := buf.ReadFrom(r); err != nil {
		return page{}, err
	}
	got, err := scan(buf.Bytes())
	if err != nil {
		return got, fmt.Errorf("%w: %.300s", err, buf.Bytes())
	}
	got.mark = markIn(buf.Bytes())
	got.deferred = bytes.HasSuffix(buf.Bytes(), []byte(`"ack":"`+wire.AckDeferred+`"}`))
	return got, nil
}

// follow takes pages until the connection ends.
func (p *phone) follow() {
	defer close(p.done)
	for {
		got, err := p.read()
		at := time.Now()
		if p.deaf.Load() {
			<-p.hungUp
			return
		}
		if err != nil {
			p.end(err)
			return
		}
		p.pages.Add(1)
		if f := p.onPage.Load(); f != nil {
			(*f)(p, got, at)
		}
		p.checkpoint = got.checkpoint
		if got.deferred {
			p.ackLater(got.checkpoint)
			continue
		}
		p.unsaid.Store(nil) // this says it
		if err := p.pull(); err != nil {
			p.end(err)
			return
		}
	}
}

// ackWait is how long an acknowledgement waits that the server does not wait for,
// as in package client.
const ackWait = 100 * time.Millisecond

// ackLater acknowledges a page after a while, and those that came meanwhile with
// it. That the connection was lost, whoever reads is told.
func (p *phone) ackLater(checkpoint string) {
	if p.unsaid.Swap(&checkpoint) != nil {
		return
	}
	time.AfterFunc(ackWait, func() {
		if cp := p.unsaid.Swap(nil); cp != nil {
			_ = p.write([]byte(`{"kind":"ack","checkpoint":"` + *cp + `"}`))
		}
	})
}

func (p *phone) end(err error) {
	p.failed = err
	if f := p.onEnd.Load(); f != nil {
		(*f)(err)
	}
}

// deafen has it read nothing any more, from now on.
func (p *phone) deafen() error {
	p.deaf.Store(true)
	return p.ws.SetReadDeadline(time.Unix(1, 0))
}

func (p *phone) close() {
	p.onEnd.Store(nil)
	_ = p.ws.Close()
	close(p.hungUp)
	<-p.done
}
