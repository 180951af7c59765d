package simtest

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"

	"satchel/internal/command"
	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/sync/apply"
)

// random takes one step.
func (s *sim) random() {
	if s.befallen() {
		return
	}
	switch n := s.rng.IntN(100); {
	case n < 42:
		s.phoneStep()
	case n < 61:
		s.send(s.write())
	case n < 63:
		s.send(s.bulk(""))
	case n < 72:
		s.submit(s.fault(), s.rights())
	case n < 81:
		s.together()
	case n < 83:
		s.clock()
	case n < 88:
		s.deliverLate()
	case n < 90:
		s.submit(s.fault(), s.imported())
	case n < 93:
		s.send(s.office())
	case n < 94:
		s.backup()
	default:
		s.round(pick(s.rng, s.phones))
	}
}

// befallen lets something happen to the server or to a phone as a whole.
func (s *sim) befallen() bool {
	years := ident.Millis(1+s.rng.IntN(5)) * 365 * day
	p := pick(s.rng, s.phones)
	switch {
	case s.befalls(restarted):
		s.restart()
	case s.befalls(restored):
		s.restore()
	case s.befalls(compacted):
		s.compact()
	case s.befalls(trailCut):
		s.cutTrail()
	case s.befalls(logTruncated):
		s.truncate()
	case s.befalls(rolesChanged), s.altered && s.chance(8):
		s.met(rolesChanged, s.phones...)
		s.program(s.grown(), !s.altered)
	case s.befalls(schemaGrows):
		s.met(schemaGrows, s.phones...)
		s.program(!s.grown(), s.altered)
	case s.befalls(clockAhead):
		s.jump(clockAhead, years)
	case s.befalls(clockBack):
		s.jump(clockBack, -years)
	case s.befalls(phoneCloned):
		s.clone(p)
	case s.befalls(phoneOlder), s.befalls(phoneRestored):
		s.phoneRestored(p)
	case s.befalls(slowReader):
		s.slow(p)
	case s.befalls(tokenStolen):
		s.steal(p)
	case s.befalls(sessionEnds):
		s.lastMinutes(p)
	case s.befalls(appUpdated):
		s.count(appUpdated)
		p.schema = s.rng.IntN(3)
		for _, c := range s.phonesOf(p.device) { // a copy has the same app
			c.schema = p.schema
		}
	default:
		return false
	}
	return true
}

// clone lets a phone go on twice; two of one are enough.
func (s *sim) clone(p *phone) {
	if p.device == "" || s.shared(p) || len(s.phones) > 14 {
		return
	}
	s.met(phoneCloned, p)
	c := p.clone()
	c.name += "'"
	s.note("%s is cloned", p.name)
	s.phones = append(s.phones, c)
}

// shared reports whether another phone passes for the same device.
func (s *sim) shared(p *phone) bool {
	return p.device != "" && len(s.phonesOf(p.device)) > 1
}

// phoneRestored backs a phone up, or puts it back to what it was then: noticed,
// it begins anew; unnoticed, it goes on as if nothing had been.
func (s *sim) phoneRestored(p *phone) {
	if p.older == nil || s.chance(20) {
		s.note("%s is backed up", p.name)
		p.older = p.clone()
		return
	}
	// What is under way comes to nobody.
	p.late, p.under = nil, nil
	if s.chance(50) {
		s.met(phoneOlder, p)
		s.note("%s is put back, unnoticed", p.name)
		p.goBack()
		return
	}
	s.met(phoneRestored, p)
	s.note("%s is put back", p.name)
	p.goBack()
	p.begin()
}

// slow lets a phone with a page on its way not read while hundreds of changes
// pass, and then read.
func (s *sim) slow(p *phone) {
	if p.session == "" || s.over(request{good: p.access}) {
		return
	}
	s.met(slowReader, p)
	r := p.pull()
	r.fate = answerLate
	s.submit("", r)
	for range 5 {
		var reqs []request
		for range 25 + s.rng.IntN(30) {
			if s.chance(10) {
				reqs = append(reqs, s.rights())
			} else {
				reqs = append(reqs, s.change(""))
			}
		}
		s.counters["changes that a slow reader lets pass"] += len(reqs)
		s.submit("", reqs...)
	}
	if n := len(p.late); n > 0 {
		last := p.late[n-1]
		p.late = p.late[:n-1]
		last()
	}
	if s.chance(60) {
		s.round(p)
	}
}

// steal lets somebody else have the phone's refresh token, and use it.
func (s *sim) steal(p *phone) {
	switch {
	case p.stolen != "" && s.chance(80):
		s.met(tokenStolen, p)
		p.thief()
	case p.refresh != "":
		p.stolen = p.refresh
		if s.chance(50) { // used at once, before the phone's own next use
			s.met(tokenStolen, p)
			p.thief()
		}
	}
}

// lastMinutes takes a phone that refreshes its tokens just in time to the end
// of its session's days, and a little further: its access token is still good.
func (s *sim) lastMinutes(p *phone) {
	if p.session == "" || s.now < s.world.Now {
		return
	}
	s.met(sessionEnds, p)
	p.reliable = true
	defer func() { p.reliable = false }()
	for range 6 {
		row := s.session(p.session)
		if row.over(max(s.now, s.world.Now)) {
			return
		}
		s.now = max(s.now, row.Family.IdleExpiresAt-120_000)
		s.send(p.refreshing())
		if row.Family.IdleExpiresAt == row.Family.ExpiresAt {
			break
		}
	}
	for range 3 {
		s.now += ident.Millis(s.rng.IntN(200_000))
		if s.signedIn(p) {
			s.send(p.pull())
		}
	}
}

// clock moves time: past the end of what is time-bound, over days, or to the
// very instant at which something falls due.
func (s *sim) clock() {
	switch s.rng.IntN(8) {
	case 0, 1:
		s.now += ident.Millis(s.rng.IntN(1_000_000))
	case 2:
		s.now += day
		s.count("a day passes")
	case 3:
		if s.chance(15) {
			s.now += 90 * day
			s.count("a season passes")
		}
	default:
		if at, ok := apply.NextDue(s.snap); ok && at > s.now {
			s.now = at
			s.count("something falls due")
		}
	}
	s.submit(s.fault(), request{cmd: &command.Command{Tick: &command.Tick{}}, what: said("tick")})
}

// together makes one entry of several commands, as a busy server does.
func (s *sim) together() {
	var reqs []request
	busy := map[*phone]bool{}
	for range 2 + s.rng.IntN(3) {
		switch s.rng.IntN(8) {
		case 0, 1:
			reqs = append(reqs, s.write())
		case 2:
			reqs = append(reqs, s.rights())
		default:
			p := pick(s.rng, s.phones)
			if busy[p] {
				continue
			}
			busy[p] = true
			switch {
			case p.session == "":
				reqs = append(reqs, p.login())
			case p.expired || s.chance(10):
				reqs = append(reqs, p.refreshing())
			case s.chance(60):
				reqs = append(reqs, p.pull())
			default:
				p.work()
				reqs = append(reqs, p.push())
			}
		}
	}
	s.count("several commands in one entry")
	s.submit(s.fault(), reqs...)
}

// signedIn makes sure that a phone has a session and a token that is good as
// far as it knows, which takes a request; it reports whether it had both.
func (s *sim) signedIn(p *phone) bool {
	switch {
	case p.session == "":
		s.send(p.login())
	case p.expired:
		if s.befalls(refreshTwice) && !p.reliable {
			s.met(refreshTwice, p)
			s.twice(p)
			return false
		}
		s.send(p.refreshing())
	default:
		return true
	}
	return false
}

// twice uses a refresh token twice: as the repetition of one attempt, in one
// entry or after the answer was lost, or as two attempts, which ends the
// session.
func (s *sim) twice(p *phone) {
	first := p.refreshing()
	again := first.repeated()
	switch s.rng.IntN(3) {
	case 0:
		s.submit(s.fault(), first, again)
	case 1:
		first.fate = answerLost
		s.submit(s.fault(), first)
		s.send(again)
	default:
		first.fate = answerLost
		s.submit(s.fault(), first)
		p.nonce = ""
		s.send(p.refreshing())
	}
}

// phoneStep lets one phone do something, rather one that was woken.
func (s *sim) phoneStep() {
	p := pick(s.rng, s.phones)
	if woken := slices.DeleteFunc(slices.Clone(s.phones), func(p *phone) bool { return !p.dirty }); len(woken) > 0 && s.chance(50) {
		p = pick(s.rng, woken)
		s.count("pull because of a wake-up")
		if s.signedIn(p) {
			s.send(p.pull())
		}
		return
	}
	if !s.signedIn(p) {
		return
	}
	switch n := s.rng.IntN(100); {
	case n < 45:
		r := p.pull()
		r.cmd.Seed = []byte{1}
		if s.chance(50) && s.peek(r) {
			return
		}
		r.cmd.Seed = nil
		s.send(r)
	case n < 65:
		p.work()
		s.send(p.push())
	case n < 83:
		for range 1 + s.rng.IntN(4) { // offline
			p.work()
		}
		s.count("work queued offline")
	case n < 88:
		s.submit(s.fault(), p.hostile())
	case n < 91:
		s.send(p.login()) // signs in again; the older session ends
	case n < 94:
		s.send(p.refreshing()) // before its token is over
	case n < 96:
		s.count("phone erased")
		p.wipe()
	default:
		s.batch(p)
	}
}

// batch sends several requests one after the other while time passes, so that
// the access token may be over in the midst of it.
func (s *sim) batch(p *phone) {
	s.count("batch")
	for range 3 + s.rng.IntN(3) {
		s.now += ident.Millis(s.rng.IntN(300_000))
		if !s.signedIn(p) {
			continue
		}
		if len(p.outbox) > 0 && s.chance(60) {
			s.send(p.push())
		} else {
			s.send(p.pull())
		}
	}
}

// round takes a phone through pull and push without losses.
func (s *sim) round(p *phone) {
	p.reliable = true
	s.signedIn(p)
	if p.session != "" && !p.expired && len(p.outbox) > 0 {
		s.submit("", p.push())
	}
	for range 3 {
		if p.session != "" && !p.expired {
			s.submit("", p.pull())
		}
	}
	p.reliable = false
}

// deliverLate hands a phone an answer that was under way, or the server a
// request.
func (s *sim) deliverLate() {
	var some []*phone
	for _, p := range s.phones {
		if len(p.late)+len(p.under) > 0 {
			some = append(some, p)
		}
	}
	if n := len(s.under); n > 0 && (len(some) == 0 || s.chance(30)) {
		r := s.under[0]
		s.under = s.under[1:]
		s.count("late request arrives: " + kindOf(r.cmd))
		s.submit(s.fault(), r)
		return
	}
	if len(some) == 0 {
		return
	}
	p := pick(s.rng, some)
	if len(p.late) > 0 && (len(p.under) == 0 || s.chance(60)) {
		i := s.rng.IntN(len(p.late))
		f := p.late[i]
		p.late = slices.Delete(p.late, i, i+1)
		s.note("%s: late answer", p.name)
		s.count("late answer arrives")
		f()
		return
	}
	i := s.rng.IntN(len(p.under))
	r := p.under[i]
	p.under = slices.Delete(p.under, i, i+1)
	s.count("late request arrives: " + kindOf(r.cmd))
	s.submit(s.fault(), r)
}

// write changes a random record as a random person, or as the system.
func (s *sim) write() request {
	actor := s.somebody()
	switch s.rng.IntN(10) {
	case 0, 1, 2, 3:
		actor = ""
	case 4, 5:
		actor = pick(s.rng, s.theme.bosses)
	}
	return s.change(actor)
}

func (s *sim) typ() *entity.Type {
	if s.chance(75) {
		return s.cat.Type(pick(s.rng, s.theme.mostly))
	}
	return pick(s.rng, s.cat.Types)
}

func (s *sim) change(actor ident.RecordID) request {
	t := s.typ()
	w := &command.Write{Type: t.Name}
	rec := s.some(t.Name)
	kind := s.rng.IntN(10)
	if s.fixed == nil && len(s.world.Records(t.Name)) > 14 && s.chance(50) {
		kind = 9
	}
	switch {
	case rec == nil || kind < 3:
		w.Op, w.Fields = "create", s.fields(t)
	case kind < 6:
		w.Op, w.ID, w.Fields = "patch", rec.ID, s.patchOf(t)
	case kind < 9 && len(t.Actions) > 0:
		a := pick(s.rng, t.Actions)
		w.Op, w.ID, w.Action, w.Args = "action", rec.ID, a.Name, s.args(a)
	default:
		w.Op, w.ID = "delete", rec.ID
	}
	if actor != "" && s.chance(40) {
		w.Key = s.unique()
		w.KeyHash = keyHash(w)
	}
	return request{
		cmd: &command.Command{Actor: actor, Write: w}, what: said("%s: %s %s/%s %s", actor, w.Op, w.Type, w.ID, w.Action),
	}
}

// keyHash stands for the hash of the request that an idempotency key came with.
func keyHash(w *command.Write) []byte {
	b, err := json.Marshal(w)
	must(err)
	h := sha256.Sum256(b)
	return h[:]
}

// bulk does one thing to several records of a type that has such an action:
// some that the actor sees, some not. With no actor said, it is somebody.
func (s *sim) bulk(actor ident.RecordID) request {
	if actor == "" {
		actor = s.somebody()
		if s.chance(50) {
			actor = pick(s.rng, s.theme.bosses)
		}
	}
	var able []*entity.Type
	for _, t := range s.cat.Types {
		if s.some(t.Name) != nil && slices.ContainsFunc(t.Actions, func(a *entity.Action) bool { return a.Bulk }) {
			able = append(able, t)
		}
	}
	t := pick(s.rng, able)
	var acts []*entity.Action
	for _, a := range t.Actions {
		if a.Bulk {
			acts = append(acts, a)
		}
	}
	a := pick(s.rng, acts)
	b := &command.Bulk{Type: t.Name, Action: a.Name, Args: s.args(a)}
	for range 1 + s.rng.IntN(4) {
		b.IDs = append(b.IDs, s.some(t.Name).ID)
	}
	s.count("bulk action")
	return request{cmd: &command.Command{Actor: actor, Bulk: b}, what: said("%s: %s of %d %s", actor, a.Name, len(b.IDs), t.Name)}
}

func (s *sim) patchOf(t *entity.Type) command.Object {
	o := command.Object{}
	var can []*entity.Field
	for _, f := range t.Fields {
		if !f.ReadOnly && !f.Immutable {
			can = append(can, f)
		}
	}
	for range 1 + s.rng.IntN(2) {
		if len(can) == 0 {
			break
		}
		f := pick(s.rng, can)
		v := s.value(f)
		if v == nil || (!f.Required && s.chance(15)) {
			o[f.Name] = []byte("null")
			continue
		}
		o[f.Name] = obj("v", v)["v"]
	}
	return o
}

// rights changes what somebody may see, as an administrator or the system.
func (s *sim) rights() request {
	actor := pick(s.rng, []ident.RecordID{"", "emp-admin1", "emp-admin2"})
	who := s.somebody()
	client := s.some("client")
	write := func(w *command.Write) request {
		return request{
			cmd:  &command.Command{Actor: actor, Write: w},
			what: said("%s: %s %s/%s %s about %s", actor, w.Op, w.Type, w.ID, w.Action, who),
		}
	}
	create := func(typ string, o command.Object) request {
		return write(&command.Write{Op: "create", Type: typ, Fields: o})
	}
	remove := func(typ string) request {
		if r := s.some(typ); r != nil {
			who = ident.RecordID(r.Text("employee"))
			return write(&command.Write{Op: "delete", Type: typ, ID: r.ID})
		}
		return s.change(actor)
	}
	if client == nil {
		return s.change("")
	}
	switch max(0, s.rng.IntN(28)-4) {
	case 0, 1, 2:
		for _, v := range s.world.Records("clientVisibility") {
			if v.Text("employee") == string(who) {
				s.count("client listed")
				return create("visibilityRule", obj("visibility", v.ID, "client", client.ID))
			}
		}
		return create("clientVisibility", obj("employee", who, "mode", pick(s.rng, []string{"all-but", "all-but", "only"})))
	case 3:
		s.count("client unlisted")
		return remove("visibilityRule")
	case 4:
		if v := s.some("clientVisibility"); v != nil {
			who = ident.RecordID(v.Text("employee"))
			s.count("visibility mode switched")
			return write(&command.Write{Op: "patch", Type: "clientVisibility", ID: v.ID, Fields: obj("mode", pick(s.rng, []string{"all-but", "only"}))})
		}
		return remove("clientVisibility")
	case 5:
		return remove("clientVisibility")
	case 6, 7:
		o := obj("employee", who, "role", s.roleKey())
		s.times(o)
		s.count("role granted")
		return create("roleAssignment", o)
	case 8:
		s.count("role revoked")
		return remove("roleAssignment")
	case 9:
		if r := s.some("roleAssignment"); r != nil {
			who = ident.RecordID(r.Text("employee"))
			return write(&command.Write{Op: "patch", Type: "roleAssignment", ID: r.ID, Fields: obj("until", (s.now + ident.Millis(1+s.rng.IntN(60_000))).RFC3339())})
		}
		return remove("roleAssignment")
	case 10, 11:
		return create("individualPermission", s.permission(who))
	case 12:
		return remove("individualPermission")
	case 13:
		return create("onsiteClient", obj("employee", who, "client", client.ID))
	case 14:
		return remove("onsiteClient")
	case 15:
		if a := s.some("salesArea"); a != nil {
			s.count("client moves to another area")
			return write(&command.Write{Op: "action", Type: "client", ID: client.ID, Action: "set-area", Args: obj("salesArea", a.ID)})
		}
		return s.change("")
	case 16:
		var areas []string
		for range s.rng.IntN(3) {
			if a := s.some("salesArea"); a != nil {
				areas = append(areas, string(a.ID))
			}
		}
		return write(&command.Write{Op: "patch", Type: "employee", ID: who, Fields: obj("salesAreas", areas)})
	case 17:
		if s.chance(40) {
			return write(&command.Write{Op: "action", Type: "employee", ID: who, Action: "disable"})
		}
		return write(&command.Write{Op: "action", Type: "employee", ID: who, Action: "enable"})
	case 18:
		if r := s.some("organizationalRole"); r != nil && s.chance(60) {
			o := s.organizational()
			delete(o, "name")
			return write(&command.Write{Op: "patch", Type: "organizationalRole", ID: r.ID, Fields: o})
		}
		return create("organizationalRole", s.organizational())
	case 20, 21:
		return s.delegates(who)
	case 22:
		return remove("delegation")
	case 23:
		if r := s.some("organizationalRoleClient"); r != nil && s.chance(40) {
			return remove("organizationalRoleClient")
		}
		if r := s.some("organizationalRole"); r != nil {
			return create("organizationalRoleClient", obj("role", r.ID, "client", client.ID))
		}
		return create("organizationalRole", s.organizational())
	default:
		if d := s.some("device"); d != nil && s.chance(30) {
			return write(&command.Write{Op: "action", Type: "device", ID: d.ID, Action: "revoke"})
		}
		if e := s.world.Records("employee"); len(e) > 0 {
			return write(&command.Write{Op: "patch", Type: "employee", ID: pick(s.rng, e).ID, Fields: obj("kind", pick(s.rng, []string{"in-house", "in-house", "inside-it", "subcontractor"}))})
		}
		return s.change("")
	}
}

// delegates lets somebody act for another, mostly for one of those who do the
// work; whoever's right it is says so, or the system.
func (s *sim) delegates(to ident.RecordID) request {
	by := s.somebody()
	if s.chance(70) {
		by = pick(s.rng, slices.Concat(s.theme.workers, s.theme.bosses))
	}
	actor := ident.RecordID("")
	if s.chance(60) {
		actor = by
	}
	s.count("right delegated")
	return request{
		cmd:  &command.Command{Actor: actor, Write: &command.Write{Op: "create", Type: "delegation", Fields: s.delegation(by, to)}},
		what: said("%s: %s lets %s act", actor, by, to),
	}
}

// derived reports whether a field repeats what another record says: written by
// itself it would be wrong.
func derived(t *entity.Type, f *entity.Field) bool {
	return f.Name == "parentType" || f.Name == "causeType" || t.Name == "tagging"
}

// imported writes a few rows as the system, read-only fields included.
func (s *sim) imported() request {
	var rows []command.Row
	for range 1 + s.rng.IntN(3) {
		t := s.cat.Type(pick(s.rng, append([]string{"notification", "jobActivity", "ticket", "job", "preference"}, s.theme.mostly...)))
		r := s.some(t.Name)
		if r != nil && s.chance(60) {
			o := command.Object{}
			f := pick(s.rng, t.Fields)
			if v := s.value(f); v != nil && f.Name != t.Root && !derived(t, f) {
				o[f.Name] = obj("v", v)["v"]
			}
			rows = append(rows, command.Row{Type: t.Name, ID: r.ID, Fields: o})
			continue
		}
		o := s.fields(t)
		if t.Name == "notification" {
			o = obj("recipient", s.somebody(), "about", s.any().ID, "text", s.unique())
		}
		s.serial++
		rows = append(rows, command.Row{Type: t.Name, ID: ident.RecordID(fmt.Sprintf("imported-%d-%d", s.step, s.serial)), Fields: o})
	}
	return request{cmd: &command.Command{Import: &command.Import{Rows: rows}}, what: said("import")}
}
