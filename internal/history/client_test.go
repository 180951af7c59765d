package history

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"satchel/internal/ident"
	"satchel/sync/wire"
)

// client is one person with one device, who does one thing after the other.
type client struct {
	t      testing.TB
	no     int
	who    ident.RecordID
	url    string
	http   *http.Client
	token  string
	prefix string
	rnd    *rand.Rand
	start  time.Time // of the history
	ops    map[string][]porcupine.Operation
	made   int

	// The device.
	checkpoint string
	n          uint64 // of the last mutation
	processed  uint64
	tasks      map[string]output // what it holds

	seen map[string]output // what was last seen of tasks, there or elsewhere

	unknown, retried, pulls, pushes int
}

func newClient(t testing.TB, no int, who ident.RecordID, url string, seed uint64, start time.Time) *client {
	tr := &http.Transport{MaxIdleConnsPerHost: 1, DisableCompression: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &client{
		t: t, no: no, who: who, url: url, http: &http.Client{Transport: tr, Timeout: 15 * time.Second},
		rnd: rand.New(rand.NewPCG(seed, uint64(no))), start: start, ops: map[string][]porcupine.Operation{}, tasks: map[string]output{}, seen: map[string]output{},
	}
}

func (c *client) now() int64 { return time.Since(c.start).Nanoseconds() }

// reply is an answer; got is false where none came.
type reply struct {
	got    bool
	status int
	body   []byte
}

func (r *reply) code() string {
	if r.status < 300 {
		return ""
	}
	var p wire.Problem
	if json.Unmarshal(r.body, &p) != nil || p.Code == "" {
		return fmt.Sprintf("status %d", r.status)
	}
	return p.Code
}

// send sends a request once.
func (c *client) send(method, path string, body any, headers ...string) *reply {
	var rd io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			c.t.Error(err)
			return &reply{}
		}
		rd = bytes.NewReader(b)
	}
	req, err := http.NewRequest(method, c.url+path, rd)
	if err != nil {
		c.t.Error(err)
		return &reply{}
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i+1] != "" {
			req.Header.Set(headers[i], headers[i+1])
		}
	}
	res, err := c.http.Do(req)
	if err != nil {
		return &reply{}
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	// A server that is ending, or too busy, says so; whether it had begun is not
	// relied on.
	if err != nil || res.StatusCode >= 500 {
		if err == nil && res.StatusCode != http.StatusServiceUnavailable {
			c.t.Errorf("%s %s: %d %s", method, path, res.StatusCode, b)
		}
		return &reply{}
	}
	return &reply{true, res.StatusCode, b}
}

// signIn opens a session with a device of its own.
func (c *client) signIn() {
	var got struct {
		AccessToken string `json:"accessToken"`
		Device      struct {
			Prefix string `json:"idPrefix"`
		} `json:"device"`
	}
	r := c.send("POST", "/v1/auth/login", map[string]any{
		"tenant": slug, "email": email(c.who), "password": pass,
		"device": map[string]any{"installation": fmt.Sprintf("device-%d", c.no), "incarnation": "1", "name": "d", "platform": "test"},
	})
	if err := json.Unmarshal(r.body, &got); err != nil || got.AccessToken == "" {
		c.t.Fatalf("%s: sign-in: %d %s", c.who, r.status, r.body)
	}
	c.token, c.prefix = got.AccessToken, got.Device.Prefix
}

func (c *client) newID() string {
	c.made++
	return fmt.Sprintf("%s%06d", c.prefix, c.made)
}

// note adds an operation to the history.
func (c *client) note(class string, in input, call int64, out output) {
	if out.unknown {
		c.unknown++
	}
	if out.again {
		c.retried++
	}
	c.ops[class] = append(c.ops[class], porcupine.Operation{ClientId: c.no, Input: in, Output: out, Call: call, Return: c.now()})
}

// record is what an answer shows of a record.
type record struct {
	Title    string `json:"title"`
	Status   string `json:"status"`
	Rev      string `json:"rev"`
	Quantity int    `json:"quantity"`
	Open     struct {
		Amount int `json:"amount"`
	} `json:"open"`
}

func (r *reply) output() output {
	if !r.got {
		return output{unknown: true}
	}
	o := output{code: r.code()}
	var rec record
	if o.code == "" && len(r.body) > 0 && json.Unmarshal(r.body, &rec) == nil {
		o.title, o.done, o.rev, o.n = rec.Title, rec.Status == "Done", rec.Rev, rec.Quantity
		if rec.Open.Amount > 0 {
			o.n = rec.Open.Amount
		}
	}
	return o
}

// change sends a change; with a key it is sent until there is an answer.
func (c *client) change(class string, in input, keyed bool, method, path string, body any) output {
	key := ""
	if keyed {
		key = "key-" + c.newID()
	}
	call := c.now()
	var out output
	for again := false; ; again = true {
		out = c.send(method, path, body, "If-Match", in.rev, "Idempotency-Key", key).output()
		out.again = again || keyed // the transport repeats those by itself
		if !out.unknown || !keyed {
			break
		}
		c.pause()
	}
	c.note(class, in, call, out)
	return out
}

// read sends a read; one without an answer says nothing.
func (c *client) read(class string, in input, path string) (output, bool) {
	call := c.now()
	out := c.send("GET", path, nil).output()
	if out.unknown {
		c.pause()
		return out, false
	}
	c.note(class, in, call, out)
	return out, true
}

// pause waits a moment: the server may be on its way down or up.
func (c *client) pause() { time.Sleep(time.Duration(1+c.rnd.IntN(5)) * time.Millisecond) }

// push sends one mutation until it is answered.
func (c *client) push(in input) output {
	c.pushes++
	c.n++
	call := c.now()
	at := time.Now().UTC().Format(time.RFC3339Nano)
	body := map[string]any{"acked": c.n - 1, "now": at, "mutations": []map[string]any{{
		"n": c.n, "op": "patch", "type": "task", "id": in.key, "fields": map[string]any{"title": in.text}, "was": map[string]any{"title": in.was}, "at": at,
	}}}
	for again := false; ; again = true {
		r := c.send("POST", "/sync/v1/push", body)
		if !r.got {
			c.pause()
			continue
		}
		var got wire.Results
		if err := json.Unmarshal(r.body, &got); err != nil || r.status != 200 || len(got.Results) != 1 || got.Results[0].N != c.n {
			c.t.Errorf("push: %d %s", r.status, r.body)
			return output{}
		}
		if got.Processed < c.processed || got.Processed < c.n {
			c.t.Errorf("%s: processed %d after %d, of %d", c.who, got.Processed, c.processed, c.n)
		}
		c.processed = got.Processed
		res := got.Results[0]
		out := output{code: res.Code, rev: res.Rev, again: again}
		if res.Status == wire.Applied {
			out.code, out.title = "", in.text
		}
		c.note("tasks", in, call, out)
		return out
	}
}

// pull brings the device up to date and notes what it then holds of the tasks.
func (c *client) pull(look []string) {
	c.pulls++
	call := c.now()
	for {
		body := map[string]any{"limit": 1000, "profile": "office"}
		if c.checkpoint != "" {
			body["checkpoint"] = c.checkpoint
		}
		r := c.send("POST", "/sync/v1/pull", body)
		if !r.got {
			c.pause()
			continue
		}
		var pg wire.Page
		if err := json.Unmarshal(r.body, &pg); err != nil || r.status != 200 {
			c.t.Errorf("pull: %d %s", r.status, r.body)
			return
		}
		if pg.From != c.checkpoint {
			c.t.Errorf("%s: a page from %q for %q", c.who, pg.From, c.checkpoint)
			return
		}
		if pg.Reset {
			clear(c.tasks)
		}
		for _, ref := range pg.Removed {
			delete(c.tasks, ref.ID)
		}
		for _, rec := range pg.Records {
			if rec.Type == "task" {
				c.tasks[rec.ID] = output{title: text(rec.Fields["title"]), done: text(rec.Fields["status"]) == "Done", rev: rec.Rev}
			}
		}
		c.checkpoint = pg.Checkpoint
		if pg.Processed < c.processed {
			c.t.Errorf("%s: a page with %d processed after %d", c.who, pg.Processed, c.processed)
		}
		c.processed = pg.Processed
		if pg.More {
			continue
		}
		for _, id := range look {
			out, ok := c.tasks[id]
			if !ok {
				out = output{code: "not_found"}
			} else {
				c.seen[id] = out
			}
			c.note("tasks", input{key: id, kind: "read"}, call, out)
		}
		return
	}
}

func text(raw json.RawMessage) (s string) {
	_ = json.Unmarshal(raw, &s) // "" for what is none
	return s
}
