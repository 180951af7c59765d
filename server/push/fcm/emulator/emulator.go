// Package emulator is a stand-in for Firebase Cloud Messaging: an HTTP handler
// that speaks FCM HTTP v1 well enough for Google's SDK, judges messages as
// Google does, behaves towards devices that are away as Google documents, and
// fails when told to. It is for tests and demonstrations, behind
// `satchel fcm-emulator`; nothing of the server imports it.
//
// Besides POST /v1/projects/{project}/messages:send it answers
//
//	GET    /emulator/tokens/{token}   a Token: state, what arrived, what waits
//	PUT    /emulator/tokens/{token}   a State: away, dead, mismatch
//	POST   /emulator/faults           a Fault: the next requests fail
//	GET    /emulator/stats            Stats
//	DELETE /emulator                  forget everything
package emulator

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Fault makes requests fail. It is used up by Count requests that match.
type Fault struct {
	// Token limits it to one token; empty for all.
	Token string `json:"token,omitempty"`
	// Count is how many requests it spoils; 1 if zero.
	Count int `json:"count,omitempty"`
	// Status answered: 400, 401, 403, 404, 429, 500 or 503; 0 to let the request
	// succeed after the delay.
	Status int `json:"status,omitempty"`
	// Code is the FCM error code in the answer's details; the status's usual one
	// if empty, "-" for an answer without details.
	Code string `json:"code,omitempty"`
	// RetryAfter is the header's value: seconds or an HTTP date.
	RetryAfter string `json:"retryAfter,omitempty"`
	// DelayMillis holds the answer back, in milliseconds.
	DelayMillis int `json:"delayMillis,omitempty"`
	// Drop closes the connection without an answer. Took says whether the
	// message is taken all the same, as when the answer is lost on its way.
	Drop bool `json:"drop,omitempty"`
	Took bool `json:"took,omitempty"`
}

// Stats counts since the start or the last reset.
type Stats struct {
	Requests int `json:"requests"`
	Accepted int `json:"accepted"`
	// Peak is how many requests were in progress at once at most.
	Peak int `json:"peak"`
}

// Event is one request, for whoever watches.
type Event struct {
	At      time.Time         `json:"at"`
	Project string            `json:"project"`
	Token   string            `json:"token"`
	Status  int               `json:"status"`
	Outcome string            `json:"outcome"` // delivered, stored, dropped, validated, or the error code
	Key     string            `json:"collapseKey,omitempty"`
	High    bool              `json:"high,omitempty"`
	Visible bool              `json:"visible,omitempty"`
	Data    map[string]string `json:"data,omitempty"`
}

// Options set an emulator up; the zero value will do.
type Options struct {
	// Latency holds back every answer.
	Latency time.Duration
	// Now is the clock of TTLs; time.Now if nil.
	Now func() time.Time
	// Seen is called for each request to send, one at a time.
	Seen func(Event)
}

// Emulator is the state behind the handler; safe for use by several goroutines.
type Emulator struct {
	opts  Options
	mux   *http.ServeMux
	watch sync.Mutex // around Seen; never held together with mu

	mu      sync.Mutex
	devices map[string]*device
	faults  []*Fault
	stats   Stats
	open    int
	serial  int
}

// New returns an emulator that knows no tokens: the first message to one makes
// it known, as a device that is there.
func New(o Options) *Emulator {
	if o.Now == nil {
		o.Now = time.Now
	}
	e := &Emulator{opts: o, mux: http.NewServeMux(), devices: map[string]*device{}}
	e.mux.HandleFunc("POST /v1/projects/{project}/messages:send", e.send)
	e.mux.HandleFunc("GET /emulator/tokens/{token}", func(w http.ResponseWriter, r *http.Request) {
		answer(w, http.StatusOK, e.Token(r.PathValue("token")))
	})
	e.mux.HandleFunc("PUT /emulator/tokens/{token}", func(w http.ResponseWriter, r *http.Request) {
		var s State
		if take(w, r, &s) {
			e.Set(r.PathValue("token"), s)
			answer(w, http.StatusOK, e.Token(r.PathValue("token")))
		}
	})
	e.mux.HandleFunc("POST /emulator/faults", func(w http.ResponseWriter, r *http.Request) {
		var f Fault
		if !take(w, r, &f) {
			return
		}
		if err := e.Fail(f); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	e.mux.HandleFunc("GET /emulator/stats", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, e.Stats()) })
	e.mux.HandleFunc("DELETE /emulator", func(w http.ResponseWriter, _ *http.Request) {
		e.Reset()
		w.WriteHeader(http.StatusNoContent)
	})
	return e
}

// ServeHTTP implements http.Handler.
func (e *Emulator) ServeHTTP(w http.ResponseWriter, r *http.Request) { e.mux.ServeHTTP(w, r) }

// Token returns what is known of a token; one never heard of is a device that
// is there and got nothing.
func (e *Emulator) Token(token string) Token {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := Token{Token: token, Delivered: []Delivery{}, Stored: []Delivery{}}
	if d, ok := e.devices[token]; ok {
		d.expire(e.opts.Now())
		t.State, t.Deleted = d.State, d.deleted
		t.Delivered = append(t.Delivered, d.delivered...)
		t.Stored = append(t.Stored, d.stored...)
	}
	return t
}

// Set changes how a token behaves. A device that comes back gets what is stored.
func (e *Emulator) Set(token string, s State) {
	e.mu.Lock()
	defer e.mu.Unlock()
	d := e.device(token)
	d.State = s
	switch {
	case s.Dead:
		d.stored = nil
	case !s.Away:
		d.back(e.opts.Now())
	}
}

// Fail queues a fault after those that are queued. It refuses a status that
// FCM doesn't answer and more than 1,000 faults.
func (e *Emulator) Fail(f Fault) error {
	if _, ok := errorsByStatus[f.Status]; !ok && f.Status != 0 {
		return fmt.Errorf("status %d is none that FCM answers", f.Status)
	}
	if f.Count < 0 || f.DelayMillis < 0 {
		return errors.New("count and delayMillis must not be negative")
	}
	f.Count = max(1, f.Count)
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.faults) >= maxFaultsQueued {
		return errors.New("too many faults are queued")
	}
	e.faults = append(e.faults, &f)
	return nil
}

// Stats returns the counters.
func (e *Emulator) Stats() Stats {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.stats
}

// Reset forgets tokens, faults and counters.
func (e *Emulator) Reset() {
	e.mu.Lock()
	defer e.mu.Unlock()
	clear(e.devices)
	e.faults, e.stats = nil, Stats{Peak: e.open}
}

// device returns a token's state, making it known; e.mu is held. Beyond 100,000
// tokens an arbitrary other one is forgotten.
func (e *Emulator) device(token string) *device {
	d, ok := e.devices[token]
	if !ok {
		if len(e.devices) >= maxTokens {
			for other := range e.devices {
				delete(e.devices, other)
				break
			}
		}
		d = &device{}
		e.devices[token] = d
	}
	return d
}

// fault uses up one count of the first fault that matches; e.mu is held.
func (e *Emulator) fault(token string) Fault {
	for i, f := range e.faults {
		if f.Token != "" && f.Token != token {
			continue
		}
		if f.Count--; f.Count == 0 {
			e.faults = slices.Delete(e.faults, i, i+1)
		}
		return *f
	}
	return Fault{}
}

const maxBody = 64 << 10

func (e *Emulator) send(w http.ResponseWriter, r *http.Request) {
	project := r.PathValue("project")
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		refuse(w, http.StatusBadRequest, "", "Request payload size exceeds the limit.", nil)
		return
	}
	p, bad, malformed := parse(body)

	e.mu.Lock()
	e.stats.Requests++
	e.open++
	e.stats.Peak = max(e.stats.Peak, e.open)
	f := e.fault(p.token)
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		e.open--
		e.mu.Unlock()
	}()

	if wait := e.opts.Latency + time.Duration(f.DelayMillis)*time.Millisecond; wait > 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		select {
		case <-t.C:
		case <-r.Context().Done():
		}
	}
	ev := Event{Project: project, Token: p.token, Key: p.collapseKey, High: p.high, Visible: p.visible, Data: p.data}
	switch {
	case f.Drop:
		if f.Took && bad == nil {
			e.accept(project, p)
		}
		e.seen(ev, 0, "connection dropped")
		// The server closes the connection and logs nothing.
		panic(http.ErrAbortHandler)
	case f.Status != 0:
		if f.RetryAfter != "" {
			w.Header().Set("Retry-After", f.RetryAfter)
		}
		known := errorsByStatus[f.Status]
		code := known.code
		if f.Code != "" {
			code = f.Code
		}
		e.seen(ev, f.Status, code)
		if code == "-" {
			code = ""
		}
		refuse(w, f.Status, code, known.words, nil)
	case bad != nil:
		code := "INVALID_ARGUMENT"
		e.seen(ev, http.StatusBadRequest, code)
		if malformed {
			code = ""
		}
		refuse(w, http.StatusBadRequest, code, bad.why, bad)
	default:
		name, outcome, status := e.accept(project, p)
		e.seen(ev, status, outcome)
		if status != http.StatusOK {
			refuse(w, status, outcome, errorsByStatus[status].words, nil)
			return
		}
		answer(w, http.StatusOK, map[string]string{"name": name})
	}
}

// accept takes a good message and returns its name and what became of it, or
// the error that its token stands for.
func (e *Emulator) accept(project string, p parsed) (name, outcome string, status int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.opts.Now()
	if !p.toMany {
		if d, ok := e.devices[p.token]; ok {
			switch {
			case d.Dead:
				return "", "UNREGISTERED", http.StatusNotFound
			case d.Mismatch:
				return "", "SENDER_ID_MISMATCH", http.StatusForbidden
			}
		}
	}
	if p.validateOnly {
		return "projects/" + project + "/messages/fake_message_id", "validated", http.StatusOK
	}
	e.serial++
	e.stats.Accepted++
	name = "projects/" + project + "/messages/" + strconv.Itoa(e.serial)
	if p.toMany {
		// Nobody subscribes to topics here.
		return name, "delivered", http.StatusOK
	}
	outcome = e.device(p.token).take(Delivery{
		Name: name, Sent: now, CollapseKey: p.collapseKey, TTL: p.ttl, High: p.high, Visible: p.visible, Data: p.data, Message: p.message,
	}, now)
	return name, outcome, http.StatusOK
}

func (e *Emulator) seen(ev Event, status int, outcome string) {
	if e.opts.Seen == nil {
		return
	}
	e.watch.Lock()
	defer e.watch.Unlock()
	ev.At, ev.Status, ev.Outcome = e.opts.Now(), status, outcome
	e.opts.Seen(ev)
}

// errorsByStatus are the statuses that FCM answers, with their canonical name,
// the usual FCM error code and Google's words.
var errorsByStatus = map[int]struct{ status, code, words string }{
	http.StatusBadRequest:          {"INVALID_ARGUMENT", "INVALID_ARGUMENT", "Request contains an invalid argument."},
	http.StatusUnauthorized:        {"UNAUTHENTICATED", "THIRD_PARTY_AUTH_ERROR", "Request is missing required authentication credential."},
	http.StatusForbidden:           {"PERMISSION_DENIED", "SENDER_ID_MISMATCH", "SenderId mismatch"},
	http.StatusNotFound:            {"NOT_FOUND", "UNREGISTERED", "Requested entity was not found."},
	http.StatusTooManyRequests:     {"RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", "Resource has been exhausted (e.g. check quota)."},
	http.StatusInternalServerError: {"INTERNAL", "INTERNAL", "Internal error encountered."},
	http.StatusServiceUnavailable:  {"UNAVAILABLE", "UNAVAILABLE", "The service is currently unavailable."},
}

// refuse writes an error as Google does. code is the FCM error code, empty for
// none; at the field at fault, if any.
func refuse(w http.ResponseWriter, status int, code, words string, at *violation) {
	details := []any{}
	if code != "" {
		details = append(details, map[string]string{"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": code})
	}
	if at != nil {
		details = append(details, map[string]any{
			"@type":           "type.googleapis.com/google.rpc.BadRequest",
			"fieldViolations": []map[string]string{{"field": at.field, "description": at.why}},
		})
	}
	body := map[string]any{"code": status, "message": words, "status": errorsByStatus[status].status}
	if len(details) > 0 {
		body["details"] = details
	}
	answer(w, status, map[string]any{"error": body})
}

func answer(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(status)
	_, _ = w.Write(b)
}

// take reads a control request's body into v and answers 400 if it can't.
func take(w http.ResponseWriter, r *http.Request, v any) bool {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return false
	}
	return true
}

var control = regexp.MustCompile(`[^\x21-\x7e]`)

// String is one line for a terminal. Tokens are shortened: whoever has one
// and the project's key can push to its device.
func (ev Event) String() string {
	token := control.ReplaceAllString(ev.Token, "?")
	if len(token) > 16 {
		token = token[:12] + "…"
	}
	if token == "" {
		token = "-"
	}
	key, prio, shows := ev.Key, "normal", "silent"
	if key == "" {
		key = "-"
	}
	if ev.High {
		prio = "high"
	}
	if ev.Visible {
		shows = "visible"
	}
	data, _ := json.Marshal(ev.Data)
	return fmt.Sprintf("%s %3d %-10s %-16s %-8s %-6s %-7s %s",
		ev.At.UTC().Format("15:04:05.000"), ev.Status, ev.Outcome, token, control.ReplaceAllString(key, "?"), prio, shows, data)
}
