package simtest

import (
	"fmt"
	"slices"

	"satchel/internal/command"
	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/sync/apply"
	"satchel/sync/store"
)

// random takes one step.
func (s *sim) random() {
	switch n := s.rng.IntN(100); {
	case n < 40:
		s.phoneStep()
	case n < 60:
		s.submit(s.fault(), s.write())
	case n < 62:
		s.submit(s.fault(), s.bulk(""))
	case n < 72:
		s.submit(s.fault(), s.rights())
	case n < 82:
		s.together()
	case n < 84:
		s.clock()
	case n < 88:
		s.deliverLate()
	case n < 90:
		s.submit(s.fault(), s.imported())
	case n < 91:
		s.submit(s.fault(), s.office())
	case n < 92:
		s.backup()
	case n < 93:
		s.restart()
	case n == 93 && s.chance(25):
		s.restore()
	default:
		p := pick(s.rng, s.phones)
		s.round(p)
	}
}

// fault picks what befalls a commit.
func (s *sim) fault() string {
	switch s.rng.IntN(60) {
	case 0:
		return "crash before commit"
	case 1:
		return "crash after commit"
	}
	return ""
}

// clock moves time: past the end of what is time-bound, over days, or to the
// very instant at which something falls due.
func (s *sim) clock() {
	switch s.rng.IntN(4) {
	case 0:
		s.now += ident.Millis(s.rng.IntN(100_000))
	case 1:
		s.now += 86_400_000
		s.count("a day passes")
	default:
		if at, ok := apply.NextDue(s.snap); ok && at > s.now {
			s.now = at
			s.count("something falls due")
		}
	}
	s.submit(s.fault(), request{cmd: &command.Command{Tick: &command.Tick{}}, what: "tick"})
}

func (s *sim) backup() {
	mem, ok := s.eng.(*store.Mem)
	if !ok {
		return
	}
	s.backups = append(s.backups, mem.Clone())
	if len(s.backups) > 3 {
		s.backups = s.backups[1:]
	}
	s.note("backup")
}

// together makes one entry of several commands, as a busy server does.
func (s *sim) together() {
	var reqs []request
	busy := map[*phone]bool{}
	for range 2 + s.rng.IntN(3) {
		switch s.rng.IntN(6) {
		case 0, 1:
			reqs = append(reqs, s.write())
		case 2:
			reqs = append(reqs, s.rights())
		default:
			p := pick(s.rng, s.phones)
			if busy[p] || p.session == "" {
				continue
			}
			busy[p] = true
			if s.chance(60) {
				reqs = append(reqs, p.pull())
			} else {
				p.work()
				reqs = append(reqs, p.push())
			}
		}
	}
	s.count("several commands in one entry")
	s.submit(s.fault(), reqs...)
}

// phoneStep lets one phone do something.
func (s *sim) phoneStep() {
	p := pick(s.rng, s.phones)
	if p.session == "" {
		s.submit(s.fault(), p.login())
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
		s.submit(s.fault(), r)
	case n < 65:
		p.work()
		s.submit(s.fault(), p.push())
	case n < 85:
		for range 1 + s.rng.IntN(4) { // offline
			p.work()
		}
		s.count("work queued offline")
	case n < 90:
		s.submit(s.fault(), p.hostile())
	case n < 93:
		s.submit(s.fault(), p.login()) // signs in again; the older session ends
	case n < 95:
		s.count("phone erased")
		p.wipe()
	default:
		// A request that arrives twice.
		r := p.pull()
		if s.chance(50) && len(p.outbox) > 0 {
			r = p.push()
		}
		again := *r.cmd
		s.count("request duplicated: " + kindOf(r.cmd))
		s.submit("", r)
		s.submit(s.fault(), request{cmd: &again, done: r.done, what: "again: " + r.what})
	}
}

// round takes a phone through pull and push without losses.
func (s *sim) round(p *phone) {
	if p.session == "" {
		return
	}
	p.reliable = true
	if len(p.outbox) > 0 {
		s.submit("", p.push())
	}
	for range 3 {
		if p.session != "" {
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
	if len(some) == 0 {
		return
	}
	p := pick(s.rng, some)
	if len(p.late) > 0 && (len(p.under) == 0 || s.chance(60)) {
		i := s.rng.IntN(len(p.late))
		f := p.late[i]
		p.late = slices.Delete(p.late, i, i+1)
		s.note("%s: late answer", p.installation)
		f()
		return
	}
	if len(p.under) > 0 {
		i := s.rng.IntN(len(p.under))
		c := p.under[i]
		p.under = slices.Delete(p.under, i, i+1)
		s.count("request late: " + kindOf(c.cmd))
		s.submit(s.fault(), c)
	}
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
	return request{
		cmd: &command.Command{Actor: actor, Write: w}, what: fmt.Sprintf("%s: %s %s/%s %s", actor, w.Op, w.Type, w.ID, w.Action),
	}
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
	return request{cmd: &command.Command{Actor: actor, Bulk: b}, what: fmt.Sprintf("%s: %s of %d %s", actor, a.Name, len(b.IDs), t.Name)}
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
			what: fmt.Sprintf("%s: %s %s/%s %s about %s", actor, w.Op, w.Type, w.ID, w.Action, who),
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
		what: fmt.Sprintf("%s: %s lets %s act", actor, by, to),
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
	return request{cmd: &command.Command{Import: &command.Import{Rows: rows}}, what: "import"}
}
