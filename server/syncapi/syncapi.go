// Package syncapi is the edge that devices synchronise through: pull, push
// and verify over HTTP, and the live socket. It translates between the wire
// and commands and decides nothing.
package syncapi

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"slices"
	"time"

	"github.com/gofiber/fiber/v2"

	"satchel/internal/command"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/internal/policy"
	"satchel/internal/strictjson"
	mobile "satchel/mobile-api/wire"
	"satchel/server/edge"
	"satchel/server/session/limit"
	"satchel/server/ws/upgrade"
	"satchel/sync/apply"
	"satchel/sync/pull"
	"satchel/sync/tenant"
	"satchel/sync/wire"
)

// Limits of a push.
const (
	MaxMutations = 500
	// maxChunk bounds a command of mutations, below what the log takes.
	maxChunk = 180 << 10
	// maxMutation bounds one mutation, in bytes of JSON.
	maxMutation = 160 << 10
)

// Server answers the routes beneath /sync/v1.
type Server struct {
	Auth    *edge.Auth
	Sockets *upgrade.Registry
	// PersonSockets is how many of one person's devices may be live at once; 0
	// for 32.
	PersonSockets int
	// SiteStrangers is how many sockets of one address may wait for their
	// sign-in at once; 0 for 64. All together are at most 16 times that.
	SiteStrangers int

	lives     lives
	strangers strangers
	signIns   gate
	arrivals  gate
	rules     rulesCache
}

// Mount adds the routes.
func (s *Server) Mount(app *fiber.App) {
	s.PersonSockets, s.SiteStrangers = cmp.Or(s.PersonSockets, defaultPersonSockets), cmp.Or(s.SiteStrangers, defaultSiteStrangers)
	app.Post("/sync/v1/pull", s.pull)
	app.Post("/sync/v1/push", s.push)
	app.Post("/sync/v1/verify", s.verify)
	app.Put("/sync/v1/push-token", s.pushToken)
	app.Get("/sync/v1/live", s.live)
	app.Get("/sync/v1/rules", s.serveRules)
}

// device returns the caller, who must have signed in with a device and speak a
// protocol that is known here.
func (s *Server) device(c *fiber.Ctx) (*edge.Caller, error) {
	if err := edge.Speak(c); err != nil {
		return nil, err
	}
	caller, err := s.Auth.Caller(c)
	if err != nil {
		return nil, err
	}
	if caller.Device == "" {
		return nil, fault.New(fault.DeviceRequired)
	}
	return caller, nil
}

// request returns the caller as device does, and the body.
func (s *Server) request(c *fiber.Ctx) (*edge.Caller, []byte, error) {
	caller, err := s.device(c)
	if err != nil {
		return nil, nil, err
	}
	raw, err := edge.Body(c)
	return caller, raw, err
}

func (s *Server) pull(c *fiber.Ctx) error {
	caller, raw, err := s.request(c)
	if err != nil {
		return err
	}
	p, err := readPull(raw)
	if err != nil {
		return err
	}
	s.lives.overtake(caller)
	p.Changes = edge.Prefers(c, mobile.PreferChanges)
	told := apply.ToldAll
	if edge.Prefers(c, mobile.PreferTouched) {
		told = apply.ToldTouched
	}
	cmd := caller.Command()
	cmd.Pull = p
	page, err := caller.Tenant.Pull(c.Context(), cmd, told)
	if err != nil {
		return err
	}
	words, err := speaks(caller, p.Schema)
	if err != nil {
		return err
	}
	body, err := words.page(page.JSON)
	if err != nil {
		return err
	}
	if p.Changes && words == nil {
		c.Append(mobile.HeaderApplied, mobile.PreferChanges)
	}
	if told == apply.ToldTouched {
		c.Append(mobile.HeaderApplied, mobile.PreferTouched)
	}
	if !page.More {
		if body, err = s.withRules(caller, body); err != nil {
			return err
		}
		if body, err = withLease(caller, body); err != nil {
			return err
		}
	}
	return edge.JSON(c, fiber.StatusOK, body)
}

// readPull decodes a pull request.
func readPull(raw []byte) (*command.Pull, error) {
	var w wire.Pull
	if err := strictjson.Decode(raw, &w); err != nil {
		return nil, err
	}
	return pullCommand(&w)
}

func pullCommand(w *wire.Pull) (*command.Pull, error) {
	if w.Limit != nil && (*w.Limit < 1 || *w.Limit > pull.MaxLimit) {
		return nil, fault.Newf(fault.BadParameter, "limit must be 1 to %d.", pull.MaxLimit).OnField("limit")
	}
	if len(w.Checkpoint) > 200 {
		return nil, fault.New(fault.BadCheckpoint).OnField("checkpoint")
	}
	if w.Schema < 0 {
		return nil, fault.New(fault.BadParameter).OnField("schema")
	}
	p := &command.Pull{Checkpoint: w.Checkpoint, Profile: w.Profile, Schema: w.Schema, Heal: w.Heal}
	if w.Limit != nil {
		p.Limit = *w.Limit
	}
	if w.Window != nil {
		from, err := instant("window.from", w.Window.From)
		if err != nil {
			return nil, err
		}
		to, err := instant("window.to", w.Window.To)
		if err != nil {
			return nil, err
		}
		p.Window = &command.Window{From: from, To: to}
	}
	if w.Pins != nil {
		pins := make([]ident.Ref, 0, len(*w.Pins))
		for _, r := range *w.Pins {
			if !ident.RecordID(r.ID).Valid() {
				return nil, fault.New(fault.BadParameter).OnField("pins")
			}
			pins = append(pins, ident.Ref{Type: r.Type, ID: ident.RecordID(r.ID)})
		}
		p.Pins = &pins
	}
	if w.Reconcile != nil {
		p.Reconcile = map[string]command.Summary{}
		for name, sum := range w.Reconcile.Types {
			p.Reconcile[name] = command.Summary{Count: sum.Count, Digest: sum.Digest}
		}
	}
	return p, nil
}

func instant(field, s string) (ident.Millis, error) {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil || t.Year() < 1900 || t.Year() > 9999 {
		return 0, fault.Newf(fault.BadParameter, "%s must be a time like 2026-01-31T08:00:00Z.", field).OnField(field)
	}
	return ident.MillisOf(t), nil
}

func (s *Server) push(c *fiber.Ctx) error {
	caller, raw, err := s.request(c)
	if err != nil {
		return err
	}
	var wait time.Duration
	res, err := push(c.Context(), caller, raw, func(n int) (ok bool) {
		wait, ok = s.Auth.Take(limit.Changes, n, caller)
		return ok
	})
	if err != nil {
		if wait > 0 {
			return edge.TooMany(c, wait)
		}
		return err
	}
	body, err := json.Marshal(res)
	if err != nil {
		return err
	}
	return edge.JSON(c, fiber.StatusOK, body)
}

// pushBody is wire.Push with its mutations still unread: one that can't be
// read is refused alone.
type pushBody struct {
	Acked     uint64            `json:"acked"`
	Now       string            `json:"now"`
	Schema    int               `json:"schema,omitempty"`
	Mutations []json.RawMessage `json:"mutations"`
}

// push carries out a push of so many mutations as admit lets through; where it
// does not, nothing is done and the push is fault.TooManyRequests.
func push(ctx context.Context, caller *edge.Caller, raw []byte, admit func(n int) bool) (*wire.Results, error) {
	var b pushBody
	if err := strictjson.Decode(raw, &b); err != nil {
		return nil, err
	}
	if len(b.Mutations) > MaxMutations {
		return nil, fault.Newf(fault.TooBig, "A push takes at most %d mutations.", MaxMutations).OnField("mutations")
	}
	if !admit(len(b.Mutations)) {
		return nil, fault.New(fault.TooManyRequests)
	}
	now, err := instant("now", b.Now)
	if err != nil {
		return nil, err
	}
	if b.Schema < 0 {
		return nil, fault.New(fault.BadParameter).OnField("schema")
	}
	words, err := speaks(caller, b.Schema)
	if err != nil {
		return nil, err
	}
	muts := make([]command.Mutation, len(b.Mutations))
	for i, m := range b.Mutations {
		if muts[i], err = mutation(m); err != nil {
			return nil, err
		}
		words.mutation(&muts[i])
	}
	out := &wire.Results{Results: []wire.Result{}}
	for first := true; first || len(muts) > 0; first = false {
		n, size := 0, 0
		for n < len(muts) {
			size += len(b.Mutations[n]) + len(b.Mutations[n])/4 + 200
			if n > 0 && size > maxChunk {
				break
			}
			n++
		}
		cmd := caller.Command()
		cmd.Push = &command.Push{Acked: b.Acked, Now: now, Mutations: muts[:n]}
		res, err := caller.Tenant.Submit(ctx, cmd)
		if err != nil {
			if !first {
				// What was processed is told; the rest is sent again.
				return out, nil
			}
			return nil, err
		}
		words.results(res.Push.Results, muts[:n])
		warn(caller, res.Push.Results, muts[:n])
		out.Results = append(out.Results, res.Push.Results...)
		out.Processed = res.Push.Processed
		muts, b.Mutations = muts[n:], b.Mutations[n:]
	}
	return out, nil
}

// mutation reads one mutation. Only a number that can't be read fails the
// push as a whole: everything else is refused under its number.
func mutation(raw json.RawMessage) (command.Mutation, error) {
	var w wire.Mutation
	canonical, derr := strictjson.Canonical(raw)
	if derr != nil {
		// A number that no computer holds has no canonical form; a phone that
		// sends it again sends the same bytes.
		canonical = raw
	} else {
		derr = strictjson.Decode(raw, &w)
	}
	hash := sha256.Sum256(canonical)
	if derr != nil {
		m, ok := unread(raw)
		if !ok {
			return command.Mutation{}, derr
		}
		f := fault.Of(derr)
		m.Hash, m.Refuse, m.RefuseText = hash[:], f.Code, f.Message
		if len(raw) > maxMutation {
			m = command.Mutation{N: m.N, Hash: m.Hash, Refuse: m.Refuse, RefuseText: m.RefuseText}
		}
		return m, nil
	}
	if w.N == 0 {
		return command.Mutation{}, fault.Newf(fault.BadValue, "Mutations are numbered from 1.").OnField("n")
	}
	m := command.Mutation{
		N: w.N, Op: w.Op, Type: w.Type, ID: ident.RecordID(w.ID), Fields: command.Object(w.Fields), Was: command.Object(w.Was),
		Action: w.Action, Args: command.Object(w.Args), After: w.After, Hash: hash[:],
	}
	if len(raw) > maxMutation {
		return command.Mutation{
			N: w.N, Op: w.Op, Type: w.Type, ID: m.ID, Hash: hash[:], Refuse: fault.TooBig,
			RefuseText: "This change is too large to be sent.",
		}, nil
	}
	if w.Op == wire.OpPatch && w.Was == nil {
		m.Refuse, m.RefuseText = fault.MissingField, "A patch needs was."
	}
	var err error
	if m.At, err = instant("at", w.At); err != nil {
		m.Refuse, m.RefuseText = fault.BadValue, "at must be a time like 2026-01-31T08:00:00Z."
	}
	return m, nil
}

// unread takes what can be taken of a mutation that is not as it should be, so
// that its content can be kept: members that have no place of their own stand
// among the fields. ok is false where it has no number to be refused under.
func unread(raw json.RawMessage) (m command.Mutation, ok bool) {
	members, err := strictjson.Object(raw)
	if err != nil {
		return m, false
	}
	places := map[string]any{
		"n": &m.N, "op": &m.Op, "type": &m.Type, "id": &m.ID, "fields": &m.Fields, "was": &m.Was,
		"action": &m.Action, "args": &m.Args, "after": &m.After,
	}
	var rest strictjson.Fields
	for _, f := range members {
		into, known := places[f.Key]
		if !known || json.Unmarshal(f.Raw, into) != nil {
			rest = append(rest, f)
		}
	}
	if m.Fields == nil && len(rest) > 0 {
		m.Fields = command.Object{}
	}
	for _, f := range rest {
		if _, taken := m.Fields[f.Key]; !taken {
			m.Fields[f.Key] = f.Raw
		}
	}
	return m, m.N > 0
}

func (s *Server) verify(c *fiber.Ctx) error {
	caller, raw, err := s.request(c)
	if err != nil {
		return err
	}
	var w wire.Types
	if err := strictjson.Decode(raw, &w); err != nil {
		return err
	}
	out := wire.Verified{}
	err = caller.Read(func(v *tenant.View, sub *policy.Subject) error {
		want, err := v.Expected(sub, caller.Device)
		if err != nil {
			return err
		}
		for _, t := range v.Cat.Types {
			said, ok := w.Types[t.Name]
			is, held := want[t.Name]
			if (ok || held) && (said.Count != is.Count || (is.Count > 0 && said.Digest != is.Digest)) {
				out.Types = append(out.Types, t.Name)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	slices.Sort(out.Types)
	out.OK = len(out.Types) == 0
	body, err := json.Marshal(out)
	if err != nil {
		return err
	}
	return edge.JSON(c, fiber.StatusOK, body)
}
