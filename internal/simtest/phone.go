package simtest

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"satchel/internal/command"
	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/internal/oracle"
	"satchel/internal/refresh"
	"satchel/server/session/token"
	"satchel/sync/apply"
	"satchel/sync/wire"
)

// phone is a small model of a device: a store that takes a page and its token
// together and only where the page begins at the token it has, and an outbox.
type phone struct {
	s            *sim
	who          ident.RecordID
	installation string
	name         string // in traces
	field        bool   // what it asks for at first

	incarnation string
	session     ident.SessionID
	access      ident.Millis // until when its access token is good
	refresh     string       // its refresh token
	nonce       string       // of a refresh whose answer it has not
	device      ident.DeviceID
	prefix      string
	store       map[ident.RecordID]oracle.Shown
	cp          string
	outbox      []command.Mutation
	last        uint64 // number of the last mutation made
	acked       uint64
	got         map[uint64]bool // results had, above acked
	asked       bool            // its profile was told
	astray      bool            // its token may mean nothing to the server
	expired     bool            // it was told that its access token is over
	enrols      bool            // it was told to enrol a second factor
	schema      int             // the version its app knows, 0 for whatever there is
	skew        ident.Millis    // by which its clock is off
	live        bool            // it has a socket
	dirty       bool            // a wake-up has come

	// The judge's book-keeping, which the phone itself knows nothing of.
	given    map[ident.RecordID]bool // ever on a page for this device
	late     []func()
	under    []request
	reliable bool
	quiet    bool // the last page was empty and applied; nothing has touched the device since
	older    *phone
	stolen   string // a refresh token that somebody else has
}

// wipe starts over with an empty store: a new incarnation.
func (p *phone) wipe() {
	p.s.serial++
	p.incarnation = fmt.Sprintf("inc-%d-%d", p.s.step, p.s.serial)
	p.signOut()
	p.device, p.prefix, p.cp = "", "", ""
	p.store, p.outbox, p.got = map[ident.RecordID]oracle.Shown{}, nil, map[uint64]bool{}
	p.last, p.acked, p.asked, p.astray = 0, 0, false, false
	p.given = map[ident.RecordID]bool{}
	p.late, p.under = nil, nil
}

// signOut forgets the session.
func (p *phone) signOut() {
	p.session, p.access, p.refresh, p.nonce, p.stolen = "", 0, "", "", ""
	p.expired, p.quiet, p.dirty = false, false, false
}

// restored: the server went back in time. What the phone did since may be
// gone there, its session with it.
func (p *phone) restored() {
	p.astray = true
	p.under, p.quiet = nil, false
}

// clone is a phone with the same store, session and outbox, that goes on by
// itself. What the judge knows of the device is the same for both.
func (p *phone) clone() *phone {
	c := *p
	c.store, c.got, c.outbox = maps.Clone(p.store), maps.Clone(p.got), copied(p.outbox)
	c.late, c.under, c.older = nil, nil, nil
	c.quiet, c.dirty = false, false
	return &c
}

func copied(outbox []command.Mutation) []command.Mutation {
	out := slices.Clone(outbox)
	for i := range out {
		out[i].After = slices.Clone(out[i].After)
	}
	return out
}

// goBack puts back what the phone was when it was last backed up.
func (p *phone) goBack() {
	o := p.older.clone()
	o.given, o.older, o.skew, o.schema = p.given, p.older, p.skew, p.schema
	if o.incarnation != p.incarnation { // of another device than it is by now
		o.given = p.older.given
	}
	*p = *o
}

// begin starts a new incarnation, as a phone does whose store was found to be a
// copy: unsent work moves along, all else begins anew.
func (p *phone) begin() {
	work, prefix := p.outbox, p.prefix
	p.wipe()
	p.outbox, p.prefix = work, prefix
}

// settleIn takes over a device that the server made for this incarnation:
// unsent work gets numbers of its own, and ids with its prefix.
func (p *phone) settleIn(prefix string) {
	p.renumber(0)
	if p.prefix != "" && p.prefix != prefix {
		for i := range p.outbox {
			p.rename(&p.outbox[i], prefix)
		}
	}
	p.prefix = prefix
}

// rename gives what was made under the former prefix, and what refers to it, ids
// under another.
func (p *phone) rename(m *command.Mutation, prefix string) {
	move := func(o command.Object) command.Object {
		out := command.Object{}
		for k, v := range o {
			out[k] = bytes.ReplaceAll(v, []byte(`"`+p.prefix), []byte(`"`+prefix))
		}
		return out
	}
	if m.Fields != nil {
		m.Fields = move(m.Fields)
	}
	if m.Args != nil {
		m.Args = move(m.Args)
	}
	if rest, ok := strings.CutPrefix(string(m.ID), p.prefix); ok {
		m.ID = ident.RecordID(prefix + rest)
	}
	m.Hash = hashOf(*m)
}

func (p *phone) login() request {
	s := p.s
	s.serial++
	session := ident.SessionID(fmt.Sprintf("s-%s-%d-%d", p.installation, s.step+1, s.serial))
	h := sha256.Sum256([]byte(session))
	first, err := s.key.NewRefresh(h, session)
	must(err)
	c := &command.Command{Login: &command.Login{
		Employee: p.who, Credential: apply.CredentialDigest(password), Session: session, First: refresh.Hash(first), Prefix: ident.NewPrefix([5]byte(h[:5])),
		Device: &command.Device{Installation: p.installation, Incarnation: p.incarnation, Name: "phone", Platform: "sim"},
	}}
	// The edge asks for a code of whoever has a second factor.
	if f, has := apply.ReadFactor(s.reader(), p.who); has {
		c.Login.Factor = &command.FactorUse{Key: f.Key(), Step: max(f.Step, int64(s.now)/30_000) + 1}
		s.count("signs in with a second factor")
	} else if p.enrols {
		c.Login.Enrol = &command.NewFactor{Sealed: []byte(s.unique()), Step: int64(s.now) / 30_000}
		s.count("enrols a second factor")
	}
	return request{cmd: c, from: p, again: p.login, what: said("%s signs in", p.name), read: func(res *apply.Result) func() {
		err, l, good := res.Err, res.Login, s.now+token.Lifetime
		return func() {
			if err != nil {
				p.signOut()
				p.enrols = fault.Is(err, fault.SecondFactor)
				if fault.Is(err, fault.DeviceRevoked) { // the wipe
					s.count("wipe ordered")
					p.wipe()
				}
				return
			}
			p.signOut()
			p.session, p.access, p.refresh = l.Session, good, first
			switch {
			case p.device != "" && p.device != l.Device:
				// The server no longer knows the device: its numbers begin anew.
				p.settleIn(l.Prefix)
				p.astray = true
			case p.device == "":
				p.settleIn(l.Prefix)
			}
			p.device, p.prefix = l.Device, l.Prefix
		}
	}}
}

// renumber numbers the outbox from after on.
func (p *phone) renumber(after uint64) {
	moved := map[uint64]uint64{}
	for i := range p.outbox {
		m := &p.outbox[i]
		moved[m.N] = after + uint64(i) + 1
		m.N = moved[m.N]
	}
	for i := range p.outbox {
		for k, n := range p.outbox[i].After {
			p.outbox[i].After[k] = moved[n]
		}
	}
	p.last = after + uint64(len(p.outbox))
	p.acked, p.got = min(p.acked, after), map[uint64]bool{}
}

func (p *phone) command() *command.Command {
	return &command.Command{Actor: p.who, Session: p.session, Device: p.device}
}

// listless are those who see some records beneath others only.
var listless = map[ident.RecordID]bool{
	"emp-gagent": true, "emp-combo1": true, "emp-crmgst": true, "emp-salgst": true, "emp-salrep": true, "emp-outsel": true,
}

func (p *phone) pull() request {
	s := p.s
	p.dirty = false
	c := p.command()
	c.Pull = &command.Pull{Checkpoint: p.cp, Schema: p.schema, Changes: s.chance(60)}
	if s.chance(60) {
		c.Pull.Limit = 1 + s.rng.IntN(8)
	}
	if !p.asked {
		p.asked = true
		if p.field {
			c.Pull.Profile = "field"
		}
	} else if s.chance(4) {
		c.Pull.Profile = pick(s.rng, []string{"field", "office"})
		s.count("profile asked for")
	}
	if s.chance(4) {
		from := s.now - ident.Millis(s.rng.IntN(20*86_400_000))
		c.Pull.Window = &command.Window{From: from, To: from + ident.Millis(1+s.rng.IntN(60*86_400_000))}
		s.count("window changed")
	}
	if s.chance(6) || (listless[p.who] && s.chance(25)) {
		pins := []ident.Ref{}
		for range s.rng.IntN(4) {
			r := s.any()
			if s.chance(60) {
				if x := s.some(pick(s.rng, []string{"client", "job", "job", "ticket", "opportunity", "campaign"})); x != nil {
					r = x
				}
			}
			pins = append(pins, ident.Ref{Type: r.Type.Name, ID: r.ID})
		}
		c.Pull.Pins = &pins
		s.count("pins changed")
	}
	if p.astray && p.cp != "" && s.chance(70) {
		c.Pull.Reconcile = map[string]command.Summary{}
		for t, sum := range oracle.Summarise(p.store) {
			c.Pull.Reconcile[t] = command.Summary{Count: sum.Count, Digest: sum.Digest}
		}
	} else if s.chance(3) {
		for range 1 + s.rng.IntN(2) {
			c.Pull.Heal = append(c.Pull.Heal, pick(s.rng, s.cat.Types).Name)
		}
		s.count("heal asked for")
	}
	return request{cmd: c, from: p, good: p.access, what: func() string { return p.name + " pulls " + detail(c.Pull) }, read: func(res *apply.Result) func() {
		if res.Err != nil {
			return p.refusal(c, res.Err)
		}
		page := s.encode(res.Page)
		rests, looks := res.Page.Empty() && res.Page.Complete, s.looks
		return func() { p.apply(page, rests && looks == s.looks) }
	}}
}

func detail(p *command.Pull) string {
	q := *p
	told := ""
	if q.Reconcile != nil {
		told = fmt.Sprintf(" and says what it holds of %d types", len(q.Reconcile))
	}
	q.Reconcile = nil
	b, _ := json.Marshal(q)
	return string(b) + told
}

// refusal is what a refusal of a request does to the phone. One of a session
// that is no longer the phone's changes nothing.
func (p *phone) refusal(c *command.Command, err error) func() {
	s, session := p.s, c.Session
	switch {
	case fault.Is(err, fault.SessionRevoked), fault.Is(err, fault.DeviceRevoked), fault.Is(err, fault.MobileModuleRequired):
	default:
		s.fail("%s is refused: %v", p.name, err)
	}
	return func() {
		switch {
		case fault.Is(err, fault.MobileModuleRequired):
			s.count("field profile refused")
		case p.session != session:
			s.count("refusal of an older session")
		case fault.Is(err, fault.DeviceRevoked):
			s.count("wipe ordered")
			p.wipe()
		default:
			p.signOut()
		}
	}
}

// apply takes a page, if it begins where the phone is. rests says that there was
// nothing more to pull, as of now.
func (p *phone) apply(pg *wire.Page, rests bool) {
	s := p.s
	if pg.From != p.cp && s.planted != plantFrom {
		s.count("page refused by its from")
		return
	}
	s.count("page applied")
	if pg.Reset {
		for id, r := range p.store {
			if pg.ResetTypes == nil || slices.Contains(pg.ResetTypes, r.Type) {
				delete(p.store, id)
			}
		}
		p.astray = false
	}
	for _, r := range pg.Removed {
		delete(p.store, ident.RecordID(r.ID))
	}
	for _, r := range pg.Records {
		p.store[ident.RecordID(r.ID)] = p.laid(r)
	}
	p.cp = pg.Checkpoint
	p.quiet = rests && pg.Checkpoint == pg.From && !s.shared(p)
	if pg.Complete != nil {
		have := oracle.Summarise(p.store)
		for t, w := range pg.Complete.Types {
			if h := have[t]; h.Count != w.Count || h.Digest != w.Digest {
				s.fail("%s: a complete page leaves %d %s where it says %d", p.name, h.Count, t, w.Count)
			}
		}
		for t := range have {
			if _, ok := pg.Complete.Types[t]; !ok {
				s.fail("%s: a complete page leaves %d %s and does not name them", p.name, have[t].Count, t)
			}
		}
	}
}

// laid is a record of a page as it stands on the phone, which may have been sent
// the changed fields of it.
func (p *phone) laid(r wire.Record) oracle.Shown {
	s := p.s
	if r.Check == "" {
		return shown(r)
	}
	was, held := p.store[ident.RecordID(r.ID)]
	if !held || was.Context != r.Context {
		s.fail("%s: changes of %s/%s, of which it has another version or none", p.name, r.Type, r.ID)
	}
	s.count("changed fields applied")
	now := wire.Record{Type: r.Type, ID: r.ID, Rev: r.Rev, Context: r.Context, Fields: map[string]json.RawMessage{}}
	for name, v := range was.Fields {
		now.Fields[name] = json.RawMessage(v)
	}
	for name, v := range r.Fields {
		now.Fields[name] = v
		if string(v) == "null" {
			s.count("cleared field applied")
			delete(now.Fields, name)
		}
	}
	if wire.Check(now.Fields) != r.Check {
		s.fail("%s: the changes of %s/%s, laid over what it has, come to another record: %v over %v", p.name, r.Type, r.ID, r, was)
	}
	return shown(now)
}

func shown(r wire.Record) oracle.Shown {
	out := oracle.Shown{Type: r.Type, ID: ident.RecordID(r.ID), Rev: r.Rev, Context: r.Context, Fields: map[string]string{}}
	for k, v := range r.Fields {
		out.Fields[k] = string(v)
	}
	return out
}

// clock is what the phone takes for now.
func (p *phone) clock() ident.Millis { return p.s.now + p.skew }

// number gives a mutation its place in the outbox.
func (p *phone) number(m command.Mutation) {
	p.last++
	m.N = p.last
	m.At = p.clock() - ident.Millis(p.s.rng.IntN(100_000))
	m.Hash = hashOf(m)
	p.outbox = append(p.outbox, m)
}

// hashOf covers what a mutation says, not its number.
func hashOf(m command.Mutation) []byte {
	m.N, m.Hash = 0, nil
	m.After = nil
	b, err := json.Marshal(m)
	must(err)
	h := sha256.Sum256(b)
	return h[:]
}

// mine returns a record that the phone holds, nil for none.
func (p *phone) mine(types ...string) *oracle.Shown {
	var ids []string
	for id, r := range p.store {
		if len(types) == 0 || slices.Contains(types, r.Type) {
			ids = append(ids, string(id))
		}
	}
	if len(ids) == 0 {
		return nil
	}
	slices.Sort(ids)
	r := p.store[ident.RecordID(pick(p.s.rng, ids))]
	return &r
}

func (p *phone) newID() ident.RecordID {
	p.s.serial++
	return ident.RecordID(fmt.Sprintf("%s%04d-%d", p.prefix, p.s.serial, p.s.step))
}

// work queues a piece of offline work.
func (p *phone) work() {
	s := p.s
	if p.prefix == "" || p.device == "" || len(p.outbox) > 12 {
		return
	}
	create := func(typ string, kv ...any) ident.RecordID {
		id := p.newID()
		p.number(command.Mutation{Op: wire.OpCreate, Type: typ, ID: id, Fields: obj(kv...)})
		return id
	}
	if c := p.mine(conflictType); c != nil && s.chance(35) {
		s.count("conflict settled offline")
		action := pick(s.rng, settlings)
		p.number(command.Mutation{Op: wire.OpAction, Type: conflictType, ID: c.ID, Action: action, Args: s.settling(action)})
		return
	}
	switch s.rng.IntN(15) {
	case 13:
		if a := p.mine("jobActivity", "ticket", "client", "task", "opportunity"); a != nil {
			// The same field twice, one after the other.
			p.patch(a)
			again := p.outbox[len(p.outbox)-1]
			was := again.Fields
			again.Fields = command.Object{}
			for _, k := range sortedKeys(was) {
				again.Fields[k] = obj("v", s.unique())["v"]
			}
			again.Was = was
			p.number(again)
		}
	case 0, 1, 2:
		if a := p.mine("jobActivity", "ticket", "task", "opportunity", "campaign", "salesOrder", "partOrder", "invoice", "contract", "payment"); a != nil {
			t := s.cat.Type(a.Type)
			act := pick(s.rng, t.Actions)
			p.number(command.Mutation{Op: wire.OpAction, Type: t.Name, ID: a.ID, Action: act.Name, Args: s.args(act)})
		}
	case 3, 4:
		if a := p.mine("jobActivity", "timeEntry", "preference", "client", "ticket", "document", "task", "activity", "opportunity", "salesOrder", "invoice"); a != nil {
			p.patch(a)
		}
	case 5:
		if a := p.mine("client", "asset", "jobActivity", "task", "opportunity", "campaign", "invoice", "salesOrder"); a != nil {
			id := create("comment", "parent", a.ID, "text", s.unique())
			if s.chance(40) { // builds on it
				p.number(command.Mutation{Op: wire.OpPatch, Type: "comment", ID: id, Fields: obj("text", s.unique()), Was: obj("text", "x"), After: []uint64{p.last}})
			}
		}
	case 6:
		if a := p.mine("jobActivity"); a != nil {
			create("timeEntry", "activity", a.ID, "start", s.someTime().RFC3339(), "note", s.unique())
		}
	case 7:
		if a := p.mine("ticket"); a != nil {
			create("ticketUpdate", "ticket", a.ID, "visibility", pick(s.rng, []string{"public", "internal"}), "kind", "note", "text", s.unique())
		}
	case 8:
		create("preference", "owner", p.who, "key", s.unique(), "value", s.unique())
	case 9:
		if c := p.mine("client"); c != nil {
			// A ticket and, on the ticket that may never come to be, an update.
			id := create("ticket", "client", c.ID, "subject", s.unique(), "priority", pick(s.rng, []string{"low", "nonsense", "high"}))
			create("ticketUpdate", "ticket", id, "visibility", "public", "kind", "note", "text", s.unique())
			s.count("work that builds on work")
		}
	case 10:
		if c := p.mine("client", "opportunity", "campaign"); c != nil {
			id := create("task", c.Type, c.ID, "title", s.unique())
			if s.chance(40) {
				p.number(command.Mutation{Op: wire.OpAction, Type: "task", ID: id, Action: "complete", After: []uint64{p.last}})
			}
		}
	case 11:
		create("tag", "name", s.unique(), "visibility", pick(s.rng, []string{"public", "private"}))
	case 12:
		if r := p.mine(); r != nil {
			p.number(command.Mutation{Op: wire.OpDelete, Type: r.Type, ID: r.ID, Was: p.seenOf(r)})
		}
	default: // what no honest phone does
		switch s.rng.IntN(5) {
		case 0:
			r := s.any()
			p.number(command.Mutation{Op: wire.OpPatch, Type: r.Type.Name, ID: r.ID, Fields: s.patchOf(r.Type), Was: command.Object{}})
		case 1:
			p.number(command.Mutation{Op: wire.OpCreate, Type: "comment", ID: s.any().ID, Fields: obj("text", "over another")})
		case 2:
			p.number(command.Mutation{Op: wire.OpCreate, Type: "comment", ID: ident.RecordID("dzzzzzzzz" + s.unique()), Fields: obj("text", "x")})
		case 3:
			r := s.any()
			p.number(command.Mutation{Op: wire.OpDelete, Type: r.Type.Name, ID: r.ID})
		default:
			if r := p.mine(); r != nil {
				p.number(command.Mutation{Op: wire.OpPatch, Type: r.Type, ID: r.ID, Fields: obj("noSuchField", 1), Was: obj("noSuchField", 0)})
			}
		}
	}
}

// seenOf is what a delete says was there: some of what is shown, or, as the
// client does, all that can be written and null for what is empty; now and then
// what stood there before.
func (p *phone) seenOf(r *oracle.Shown) command.Object {
	t, all, stale := p.s.cat.Type(r.Type), p.s.chance(50), p.s.chance(30)
	newer := p.s.newerThan(p.schema)[r.Type]
	was := command.Object{}
	for _, f := range t.Fields {
		v, ok := r.Fields[f.Name]
		switch {
		case slices.Contains(newer, f.Name) || !all && (!ok || !p.s.chance(30)):
		case stale && f.Kind == entity.String:
			was[f.Name] = obj("v", p.s.unique())["v"]
			stale = false
		case ok:
			was[f.Name] = []byte(v)
		default:
			was[f.Name] = []byte("null")
		}
	}
	return was
}

// patch changes a field or two of what the phone shows.
func (p *phone) patch(a *oracle.Shown) {
	t := p.s.cat.Type(a.Type)
	o := p.s.patchOf(t)
	was := command.Object{}
	for _, k := range sortedKeys(o) {
		was[k] = []byte("null")
		if v, ok := a.Fields[k]; ok {
			was[k] = []byte(v)
		}
		if f := t.Field(k); p.s.chance(40) && (f.Kind == entity.String || f.Kind == entity.Text) {
			was[k] = obj("v", p.s.unique())["v"] // typed over what stood there before
		}
	}
	p.number(command.Mutation{Op: wire.OpPatch, Type: t.Name, ID: a.ID, Fields: o, Was: was})
}

func (p *phone) push() request {
	n := len(p.outbox)
	if n > 0 && !p.reliable {
		n = 1 + p.s.rng.IntN(n)
	}
	return p.pushing(slices.Clone(p.outbox[:n]), "")
}

// hostile pushes what breaks the numbering.
func (p *phone) hostile() request {
	s := p.s
	n := s.deviceRow(p.device).Processed
	if n > p.acked && s.chance(60) {
		// Another content under a number that is in effect already.
		m := command.Mutation{N: n, Op: wire.OpCreate, Type: "preference", ID: p.newID(), Fields: obj("owner", p.who, "key", s.unique())}
		m.Hash = hashOf(m)
		return p.pushing([]command.Mutation{m}, string(fault.NumberReused))
	}
	m := command.Mutation{N: max(p.last, n) + 5, Op: wire.OpCreate, Type: "preference", ID: p.newID(), Fields: obj("owner", p.who, "key", s.unique())}
	m.Hash = hashOf(m)
	return p.pushing([]command.Mutation{m}, string(fault.NumberGap))
}

// pushing makes a push of the mutations; trick is the code that a push
// which breaks the numbering must be refused with.
func (p *phone) pushing(ms []command.Mutation, trick string) request {
	s := p.s
	c := p.command()
	c.Push = &command.Push{Acked: p.acked, Now: p.clock(), Mutations: ms}
	what := func() string {
		var names []string
		for _, m := range ms {
			names = append(names, fmt.Sprintf("%d %s %s/%s%s", m.N, m.Op, m.Type, m.ID, m.Action))
		}
		return fmt.Sprintf("%s pushes [%s]", p.name, strings.Join(names, ", "))
	}
	return request{cmd: c, from: p, good: p.access, what: what, read: func(res *apply.Result) func() {
		if res.Err != nil {
			return p.refusal(c, res.Err)
		}
		if trick != "" {
			s.count("push that breaks the numbering")
			if got := res.Push.Results[0].Code; got != trick {
				s.fail("I1: a push that breaks the numbering is answered %q, not %s", got, trick)
			}
			return nil
		}
		got := *res.Push
		return func() { p.take(got) }
	}}
}

// take stores results and acknowledges what is without a gap.
func (p *phone) take(res wire.Results) {
	for _, r := range res.Results {
		i := slices.IndexFunc(p.outbox, func(m command.Mutation) bool { return m.N == r.N })
		if i < 0 {
			continue
		}
		switch r.Code {
		case string(fault.NumberGap):
			// The server went back in time: what it lacks and the phone no
			// longer has is lost; the rest is sent again under new numbers.
			if res.Processed < p.outbox[0].N-1 && len(p.late)+len(p.under) == 0 {
				p.s.count("outbox numbered anew")
				p.renumber(res.Processed)
			}
			return
		case string(fault.NumberReused):
			// The numbers are those of another copy, or from before a restore.
			p.s.count("found to be a copy")
			p.begin()
			return
		}
		p.outbox = slices.Delete(p.outbox, i, i+1)
		p.got[r.N] = true
	}
	for p.got[p.acked+1] {
		p.acked++
		delete(p.got, p.acked)
	}
}
