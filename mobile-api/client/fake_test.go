package client

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"satchel/sync/wire"
)

// fakeServer is the protocol's server side with the least that a client can
// tell from the real one: one world that everybody sees, per-device held sets,
// numbered mutations with stored results.
type fakeServer struct {
	mu      sync.Mutex
	world   map[wire.Ref]fakeRecord
	changes int
	page    int // records a page
	devices map[string]*fakeDevice
	tokens  map[string]string // access -> device id, "expired", "revoked", "wipe"
	refresh map[string]string // refresh -> device id
	nonces  map[string]loginAnswer
	logins  []loginRequest
	serial  int

	refreshes []refreshRequest
	pulls     []wire.Pull
	pushes    []wire.Push
	refuse    map[string]string // field value -> code, to refuse a mutation that has it
	badPush   string            // a push whose body has this is malformed
	summary   func(map[string]wire.Summary)
	reject    func(path string) *wire.Problem
	sockets   map[*websocket.Conn]string
	upgrades  int
	prefer    string // of the last one
	deferAcks bool
	acks      []string
	noSocket  bool
	closes    int // the code by which a push closes the socket, 0 for an answer
	// retryAfter goes with refused sockets, the first of them at refused.
	retryAfter string
	refused    time.Time
	came       time.Time // when a socket or pages were asked for first since it was cleared
	onPage     func(*wire.Page)
	then       map[string]map[wire.Ref]fakeRecord // token -> the world when its page was made
	keeps      bool                               // conflicts are kept as records
}

type fakeRecord struct {
	rev     int
	context bool
	fields  map[string]json.RawMessage
}

type fakeDevice struct {
	id, prefix, user string
	held, pending    map[wire.Ref]int  // ref -> rev
	unsure, leftover map[wire.Ref]bool // leftover: what the page in flight leaves unsure
	acked, token     string
	processed        uint64
	results          map[uint64]wire.Result
	contents         map[uint64]string
	dirty, inFlight  bool // of the live socket
}

func newFake() *fakeServer {
	return &fakeServer{
		world: map[wire.Ref]fakeRecord{}, page: 1000, devices: map[string]*fakeDevice{},
		tokens: map[string]string{}, refresh: map[string]string{}, nonces: map[string]loginAnswer{},
		refuse: map[string]string{}, sockets: map[*websocket.Conn]string{},
	}
}

func (s *fakeServer) put(typ, id string, fields map[string]any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changes++
	raw, _ := encodeFields(fields)
	s.world[wire.Ref{Type: typ, ID: id}] = fakeRecord{rev: s.changes, fields: raw}
	s.live()
}

func (s *fakeServer) remove(typ, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.world, wire.Ref{Type: typ, ID: id})
	s.live()
}

func (s *fakeServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/sync/v1/live" {
		s.serveLive(w, r)
		return
	}
	raw, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reject != nil {
		if pr := s.reject(r.URL.Path); pr != nil {
			writeProblem(w, *pr)
			return
		}
	}
	answer := func(v any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v)
	}
	switch r.URL.Path {
	case "/v1/auth/login":
		var req loginRequest
		_ = json.Unmarshal(raw, &req)
		s.logins = append(s.logins, req)
		if req.Password != "secret" {
			writeProblem(w, wire.Problem{Status: 401, Code: "invalid_credentials"})
			return
		}
		id := req.Email + "|" + req.Device.Installation + "|" + req.Device.Incarnation
		d := s.devices[id]
		if d == nil {
			s.serial++
			d = &fakeDevice{
				id: id, user: req.Email, prefix: fmt.Sprintf("dev%06d", s.serial), held: map[wire.Ref]int{}, unsure: map[wire.Ref]bool{},
				results: map[uint64]wire.Result{}, contents: map[uint64]string{},
			}
			s.devices[id] = d
		}
		answer(s.session(d))
		return
	case "/v1/auth/refresh":
		var req refreshRequest
		_ = json.Unmarshal(raw, &req)
		s.refreshes = append(s.refreshes, req)
		id, ok := s.refresh[req.RefreshToken]
		if again, known := s.nonces[req.RefreshToken+req.Nonce]; known {
			answer(again)
			return
		}
		if !ok {
			writeProblem(w, wire.Problem{Status: 401, Code: codeSessionRevoked})
			return
		}
		if id == "wipe" {
			writeProblem(w, wire.Problem{Status: 403, Code: codeDeviceRevoked, Wipe: true})
			return
		}
		delete(s.refresh, req.RefreshToken)
		a := s.session(s.devices[id])
		s.nonces[req.RefreshToken+req.Nonce] = a
		answer(a)
		return
	case "/v1/auth/logout":
		answer(struct{}{})
		return
	}
	d, pr := s.device(r)
	if pr != nil {
		writeProblem(w, *pr)
		return
	}
	switch r.URL.Path {
	case "/sync/v1/rules":
		writeProblem(w, wire.Problem{Status: 404, Code: "not_found"})
	case "/sync/v1/pull":
		var req wire.Pull
		_ = json.Unmarshal(raw, &req)
		pg, pr := s.pull(d, req)
		if pr != nil {
			writeProblem(w, *pr)
			return
		}
		answer(pg)
	case "/sync/v1/push":
		if s.badPush != "" && bytes.Contains(raw, []byte(s.badPush)) {
			writeProblem(w, wire.Problem{Status: 400, Code: "too_deep", Detail: "nested"})
			return
		}
		var req wire.Push
		_ = json.Unmarshal(raw, &req)
		answer(s.push(d, req))
	case "/sync/v1/verify":
		var req wire.Types
		_ = json.Unmarshal(raw, &req)
		v := wire.Verified{OK: true}
		for typ, sum := range s.sums(d.held) {
			if req.Types[typ] != sum {
				v.OK, v.Types = false, append(v.Types, typ)
			}
		}
		answer(v)
	}
}

func (s *fakeServer) device(r *http.Request) (*fakeDevice, *wire.Problem) {
	id := s.tokens[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]
	switch id {
	case "":
		return nil, &wire.Problem{Status: 401, Code: codeInvalidToken}
	case "expired":
		return nil, &wire.Problem{Status: 401, Code: codeTokenExpired}
	case "revoked":
		return nil, &wire.Problem{Status: 401, Code: codeSessionRevoked}
	case "wipe":
		return nil, &wire.Problem{Status: 403, Code: codeDeviceRevoked, Wipe: true}
	}
	return s.devices[id], nil
}

// mark turns every access token into what is said of it.
func (s *fakeServer) mark(as string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for t := range s.tokens {
		s.tokens[t] = as
	}
}

func writeProblem(w http.ResponseWriter, p wire.Problem) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p)
}

func (s *fakeServer) session(d *fakeDevice) loginAnswer {
	s.serial++
	a := loginAnswer{AccessToken: fmt.Sprint("a", s.serial), RefreshToken: fmt.Sprint("r", s.serial), ExpiresIn: 900}
	a.User, _ = json.Marshal(map[string]string{"id": d.user})
	a.Device = &struct {
		ID       string `json:"id"`
		IDPrefix string `json:"idPrefix"`
	}{d.id, d.prefix}
	s.tokens[a.AccessToken], s.refresh[a.RefreshToken] = d.id, d.id
	return a
}

func (s *fakeServer) sums(held map[wire.Ref]int) map[string]wire.Summary {
	lines := map[string][]string{}
	for ref, rev := range held {
		lines[ref.Type] = append(lines[ref.Type], fmt.Sprintf("%s\x00%d\n", ref.ID, rev))
	}
	out := map[string]wire.Summary{}
	for typ, ls := range lines {
		sort.Strings(ls)
		h := sha256.Sum256([]byte(strings.Join(ls, "")))
		out[typ] = wire.Summary{Count: len(ls), Digest: hex.EncodeToString(h[:])}
	}
	return out
}

func (s *fakeServer) pull(d *fakeDevice, req wire.Pull) (*wire.Page, *wire.Problem) {
	s.pulls = append(s.pulls, req)
	s.comes()
	reset := false
	switch {
	case d.token != "" && req.Checkpoint == d.token:
		d.held, d.acked = d.pending, d.token
		d.unsure, d.leftover = d.leftover, nil
	case req.Checkpoint == d.acked:
		if d.unsure == nil {
			d.unsure = map[wire.Ref]bool{}
		}
		for ref := range d.pending {
			if d.pending[ref] != d.held[ref] {
				d.unsure[ref] = true
			}
		}
		for ref := range d.held {
			if _, ok := d.pending[ref]; d.pending != nil && !ok {
				d.unsure[ref] = true
			}
		}
	case req.Checkpoint == "" || req.Reconcile != nil:
		d.held, d.unsure, d.leftover, reset = map[wire.Ref]int{}, map[wire.Ref]bool{}, nil, true
		d.acked = req.Checkpoint
	default:
		return nil, &wire.Problem{Status: 400, Code: codeBadCheckpoint}
	}
	s.serial++
	pg := &wire.Page{From: req.Checkpoint, Checkpoint: fmt.Sprint("t", s.serial), Processed: d.processed, Reset: reset}
	held := map[wire.Ref]int{}
	for ref, rev := range d.held {
		held[ref] = rev
	}
	heal := map[string]bool{}
	for _, typ := range req.Heal {
		heal[typ] = true
		pg.Reset, pg.ResetTypes = true, append(pg.ResetTypes, typ)
	}
	for ref := range held {
		if heal[ref.Type] {
			delete(held, ref)
			continue
		}
		if _, ok := s.world[ref]; !ok {
			pg.Removed = append(pg.Removed, ref)
			delete(held, ref)
		}
	}
	for ref := range d.unsure {
		if _, ok := s.world[ref]; !ok {
			pg.Removed = append(pg.Removed, ref)
		}
	}
	var refs []wire.Ref
	for ref, r := range s.world {
		if held[ref] != r.rev || d.unsure[ref] {
			refs = append(refs, ref)
		}
	}
	sort.Slice(refs, func(i, j int) bool { return s.world[refs[i]].rev < s.world[refs[j]].rev })
	if len(refs) > s.page {
		refs, pg.More = refs[:s.page], true
	}
	d.leftover = map[wire.Ref]bool{}
	for ref := range d.unsure {
		if _, ok := s.world[ref]; ok && !slices.Contains(refs, ref) {
			d.leftover[ref] = true
		}
	}
	for _, ref := range refs {
		r := s.world[ref]
		held[ref] = r.rev
		pg.Records = append(pg.Records, wire.Record{Type: ref.Type, ID: ref.ID, Rev: fmt.Sprint(r.rev), Context: r.context, Fields: r.fields})
	}
	if !pg.More {
		pg.Complete = &wire.Types{Types: s.sums(held)}
		if s.summary != nil {
			s.summary(pg.Complete.Types)
		}
	}
	d.pending, d.token = held, pg.Checkpoint
	if s.then != nil {
		s.then[pg.Checkpoint] = maps.Clone(s.world)
	}
	if s.onPage != nil {
		s.onPage(pg)
	}
	return pg, nil
}

func (s *fakeServer) push(d *fakeDevice, req wire.Push) any {
	s.pushes = append(s.pushes, req)
	type answer struct {
		Results   []result `json:"results"`
		Processed uint64   `json:"processed"`
	}
	out := answer{Results: []result{}}
	for _, m := range req.Mutations {
		raw, _ := json.Marshal(m)
		if was, ok := d.contents[m.N]; ok {
			r := d.results[m.N]
			if was != string(raw) {
				r = wire.Result{N: m.N, Status: wire.Refused, Code: codeNumberReused}
			}
			out.Results = append(out.Results, result{Result: r})
			continue
		}
		if m.N != d.processed+1 {
			out.Results = append(out.Results, result{Result: wire.Result{N: m.N, Status: wire.Refused, Code: codeNumberGap}, Expected: d.processed + 1})
			continue
		}
		r := s.mutate(d, m)
		r.N = m.N
		d.processed = m.N
		d.contents[m.N], d.results[m.N] = string(raw), r
		out.Results = append(out.Results, result{Result: r})
	}
	out.Processed = d.processed
	s.live()
	return out
}

func (s *fakeServer) mutate(d *fakeDevice, m wire.Mutation) wire.Result {
	for _, v := range m.Fields {
		if code, ok := s.refuse[string(v)]; ok {
			return wire.Result{Status: wire.Refused, Code: code, Message: "no"}
		}
	}
	for _, n := range m.After {
		if d.results[n].Status == wire.Refused {
			return wire.Result{Status: wire.Refused, Code: "depends_on"}
		}
	}
	ref := wire.Ref{Type: m.Type, ID: m.ID}
	r, ok := s.world[ref]
	if m.Op == wire.OpCreate {
		if !strings.HasPrefix(m.ID, d.prefix) || ok {
			return wire.Result{Status: wire.Refused, Code: "bad_id"}
		}
	} else if !ok {
		return wire.Result{Status: wire.Refused, Code: "not_found"}
	}
	s.changes++
	next := fakeRecord{rev: s.changes, fields: map[string]json.RawMessage{}}
	for f, v := range r.fields {
		next.fields[f] = v
	}
	res := wire.Result{Status: wire.Applied, Rev: fmt.Sprint(next.rev)}
	switch m.Op {
	case wire.OpDelete:
		delete(s.world, ref)
		return res
	case wire.OpAction:
		if m.Type == typeConflict {
			return s.settle(ref, r, m)
		}
		next.fields["status"] = json.RawMessage(`"` + m.Action + `"`)
	default:
		for f, v := range m.Fields {
			was := m.Was[f]
			have := r.fields[f]
			if have == nil {
				have = json.RawMessage("null")
			}
			if m.Op == wire.OpPatch && string(was) != string(have) {
				res.Status = wire.Conflict
				res.Conflicts = append(res.Conflicts, wire.FieldConflict{Field: f, Mine: v, Theirs: have, Conflict: s.keep(m, f, v, was)})
				continue
			}
			next.fields[f] = v
		}
	}
	s.world[ref] = next
	return res
}

// live sends every connected device the page it is due, if none is in flight.
func (s *fakeServer) live() {
	for ws, id := range s.sockets {
		d := s.devices[id]
		if d.inFlight {
			d.dirty = true
			continue
		}
		s.sendPage(ws, d, wire.Pull{Checkpoint: d.acked})
	}
}

func (s *fakeServer) sendPage(ws *websocket.Conn, d *fakeDevice, req wire.Pull) {
	pg, pr := s.pull(d, req)
	if pr != nil {
		_ = ws.WriteJSON(struct {
			Kind string `json:"kind"`
			*wire.Problem
		}{wire.KindError, pr})
		return
	}
	d.inFlight, d.dirty = true, false
	if s.deferAcks && strings.Contains(s.prefer, "acks=deferred") && !pg.More && !pg.Reset && len(pg.Removed) == 0 && len(pg.Records) > 0 &&
		!slices.ContainsFunc(pg.Records, func(r wire.Record) bool { return d.held[wire.Ref{Type: r.Type, ID: r.ID}] == 0 }) {
		pg.Ack, d.inFlight = wire.AckDeferred, false
		d.held, d.acked, d.unsure = d.pending, d.token, d.leftover
	}
	_ = ws.WriteJSON(struct {
		Kind string `json:"kind"`
		*wire.Page
	}{wire.KindPage, pg})
}

func (s *fakeServer) serveLive(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	d, pr := s.device(r)
	s.upgrades++
	s.prefer = strings.Join(r.Header.Values("Prefer"), ", ")
	s.comes()
	if pr == nil && s.noSocket {
		pr = &wire.Problem{Status: 503, Code: "busy"}
	}
	if pr != nil && s.retryAfter != "" {
		if s.refused.IsZero() {
			s.refused = time.Now()
		}
		w.Header().Set("Retry-After", s.retryAfter)
	}
	s.mu.Unlock()
	if pr != nil {
		writeProblem(w, *pr)
		return
	}
	ws, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer ws.Close()
	defer func() {
		s.mu.Lock()
		delete(s.sockets, ws)
		s.mu.Unlock()
	}()
	first := true
	for {
		_, raw, err := ws.ReadMessage()
		if err != nil {
			return
		}
		var kind struct {
			Kind string `json:"kind"`
		}
		_ = json.Unmarshal(raw, &kind)
		s.mu.Lock()
		switch kind.Kind {
		case wire.KindPull:
			var req wire.Pull
			_ = json.Unmarshal(raw, &req)
			d.inFlight = false
			s.sockets[ws] = d.id
			// An acknowledgement is answered only if there is something new.
			if !first && req.Checkpoint == d.token && len(req.Heal) == 0 && !d.dirty {
				d.held, d.acked, d.unsure = d.pending, d.token, d.leftover
				s.pulls = append(s.pulls, req)
				if !s.behind(d) {
					break
				}
			}
			first = false
			s.sendPage(ws, d, req)
		case wire.KindAck:
			var ack wire.Ack
			_ = json.Unmarshal(raw, &ack)
			s.acks = append(s.acks, ack.Checkpoint)
		case wire.KindPush:
			if s.closes != 0 {
				_ = ws.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(s.closes, ""))
				break
			}
			var req wire.Push
			_ = json.Unmarshal(raw, &req)
			inFlight := d.inFlight
			d.inFlight = true // results first
			res := s.push(d, req)
			b, _ := json.Marshal(res)
			_ = ws.WriteMessage(websocket.TextMessage, append([]byte(`{"kind":"results",`), b[1:]...))
			if d.inFlight = inFlight; !inFlight {
				s.live()
			}
		}
		s.mu.Unlock()
	}
}

func (s *fakeServer) behind(d *fakeDevice) bool {
	if len(d.held) != len(s.world) {
		return true
	}
	for ref, r := range s.world {
		if d.held[ref] != r.rev {
			return true
		}
	}
	return false
}

// comes notes that somebody asks for a socket or for pages.
func (s *fakeServer) comes() {
	if s.came.IsZero() {
		s.came = time.Now()
	}
}

// closeSockets ends every live connection with a code.
func (s *fakeServer) closeSockets(code int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ws := range s.sockets {
		_ = ws.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(code, ""))
		delete(s.sockets, ws)
	}
}

func (s *fakeServer) locked(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}
