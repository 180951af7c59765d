package apply_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"satchel/internal/command"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/server/suite"
	"satchel/sync/apply"
	"satchel/sync/oplog"
	"satchel/sync/outbox"
	"satchel/sync/state"
	"satchel/sync/store"
	"satchel/sync/wire"
)

// entry applies commands as one entry and returns their results.
func (w *world) entry(cs ...*command.Command) []apply.Result {
	w.t.Helper()
	w.n++
	w.now += 1000
	var raws [][]byte
	for i, c := range cs {
		if c.Seed == nil {
			c.Seed = []byte{byte(w.n >> 8), byte(w.n), byte(i)}
		}
		raw, err := command.Encode(c)
		if err != nil {
			w.t.Fatal(err)
		}
		raws = append(raws, raw)
	}
	if _, err := w.log.Append(context.Background(), oplog.Draft{Time: w.now, Version: w.m.InForce(), Proposer: "p", Number: w.n, Commands: raws}); err != nil {
		w.t.Fatal(err)
	}
	return w.res
}

// refused applies a command that must be refused with the code.
func (w *world) refused(code fault.Code, c *command.Command) {
	w.t.Helper()
	if r := w.do(c); !fault.Is(r.Err, code) {
		w.t.Fatalf("want %s, got %v", code, r.Err)
	}
}

// reader reads the committed state.
func (w *world) reader(f func(rd *state.Reader)) {
	w.t.Helper()
	snap, err := w.eng.Snapshot()
	if err != nil {
		w.t.Fatal(err)
	}
	defer snap.Close()
	f(state.NewReader(w.cat, snap))
}

// value returns a field of a record as stored, "" for none and where the
// record is not there.
func (w *world) value(id ident.RecordID, field string) (v string) {
	w.t.Helper()
	w.reader(func(rd *state.Reader) {
		if r, ok := rd.Load(id); ok {
			v = r.Get(field).Text()
		}
	})
	return v
}

func row(typ string, id ident.RecordID, kv ...string) command.Row {
	return command.Row{Type: typ, ID: id, Fields: obj(kv...)}
}

func rows(rs ...command.Row) *command.Command {
	return &command.Command{Import: &command.Import{Rows: rs}}
}

// load imports rows, all of which must be taken.
func (w *world) load(rs ...command.Row) {
	w.t.Helper()
	r := w.ok(rows(rs...))
	for _, x := range r.Count.Rejected {
		w.t.Fatalf("row %d %s: %v", x.Index, rs[x.Index].ID, x.Err)
	}
}

func person(id ident.RecordID, roles ...string) []command.Row {
	out := []command.Row{row("employee", id, "name", string(id), "email", string(id)+"@example.com", "kind", "in-house", "status", "Active")}
	for i, r := range roles {
		out = append(out, row("roleAssignment", ident.RecordID(fmt.Sprintf("ra-%s-%d", id, i)), "employee", string(id), "role", r))
	}
	return out
}

// phone is a signed-in device.
type phone struct {
	w    *world
	who  ident.RecordID
	sess ident.SessionID
	id   ident.DeviceID
	pre  string
	cp   string
	n    uint64
}

func (w *world) signIn(who ident.RecordID, installation string) *phone {
	w.t.Helper()
	w.ok(&command.Command{Secret: &command.Secret{Employee: who, Hash: "h"}})
	return w.login(who, installation)
}

func (w *world) login(who ident.RecordID, installation string) *phone {
	w.t.Helper()
	w.logins++
	sess := ident.SessionID(fmt.Sprintf("sess-%d", w.logins))
	r := w.ok(&command.Command{Login: &command.Login{
		Employee: who, Credential: apply.CredentialDigest("h"), Session: sess, Prefix: fmt.Sprintf("d%08d", w.logins),
		Device: &command.Device{Installation: installation, Incarnation: "c1", Name: "phone"},
	}})
	return &phone{w: w, who: who, sess: sess, id: r.Login.Device, pre: r.Login.Prefix}
}

func (p *phone) cmd() *command.Command {
	return &command.Command{Actor: p.who, Session: p.sess, Device: p.id}
}

func (p *phone) pulling(x command.Pull) *command.Command {
	c := p.cmd()
	x.Checkpoint = p.cp
	c.Pull = &x
	return c
}

// page is a page as its device reads it.
func (p *phone) page(r apply.Result) wire.Page {
	p.w.t.Helper()
	if r.Err != nil {
		p.w.t.Fatalf("pull: %v", r.Err)
	}
	var out wire.Page
	if err := json.Unmarshal([]byte(p.w.encode(r.Page)), &out); err != nil {
		p.w.t.Fatal(err)
	}
	p.cp = out.Checkpoint
	return out
}

func (p *phone) pull() wire.Page {
	p.w.t.Helper()
	return p.page(p.w.do(p.pulling(command.Pull{})))
}

// sync pulls until the device is complete and returns the ids it was sent and
// those taken from it.
func (p *phone) sync() (sent, removed map[string]bool) {
	p.w.t.Helper()
	sent, removed = map[string]bool{}, map[string]bool{}
	for range 100 {
		pg := p.pull()
		for _, r := range pg.Records {
			sent[r.ID] = true
		}
		for _, r := range pg.Removed {
			removed[r.ID] = true
		}
		if !pg.More {
			return sent, removed
		}
	}
	p.w.t.Fatal("the device is never complete")
	return nil, nil
}

func (p *phone) pushing(ms ...command.Mutation) *command.Command {
	for i := range ms {
		if ms[i].N == 0 {
			p.n++
			ms[i].N = p.n
		}
		if ms[i].Hash == nil {
			ms[i].Hash = fmt.Append(nil, ms[i].N, ms[i].Op, ms[i].ID)
		}
	}
	c := p.cmd()
	c.Push = &command.Push{Now: p.w.now, Mutations: ms}
	return c
}

func (p *phone) push(ms ...command.Mutation) []wire.Result {
	p.w.t.Helper()
	r := p.w.ok(p.pushing(ms...))
	return r.Push.Results
}

func want(t *testing.T, r wire.Result, status string, code fault.Code) {
	t.Helper()
	if r.Status != status || r.Code != string(code) {
		t.Fatalf("want %s %s, got %+v", status, code, r)
	}
}

// field is a small tenant: an administrator, a manager, two engineers with the
// Mobile role, and two clients with a job and an activity each, assigned to
// emp-eng-1.
func field(t testing.TB) *world {
	t.Helper()
	return fieldOn(t, store.NewMem())
}

// ruled is field, with the rules about who is told of what.
func ruled(t testing.TB) *world {
	t.Helper()
	all, err := suite.Load()
	if err != nil {
		t.Fatal(err)
	}
	return fieldOn(t, store.NewMem(), all.Rules)
}

func fieldOn(t testing.TB, eng store.Engine, rules ...*outbox.Rules) *world {
	t.Helper()
	w := worldOn(t, eng, rules...)
	w.ok(&command.Command{Setup: &command.Setup{Name: "Ada", Email: "ada@example.com", Employee: "emp-ada-1", Hash: "h", Secret: []byte("0123456789abcdef")}})
	var rs []command.Row
	rs = append(rs, row("salesArea", "area-north", "name", "North"), row("salesArea", "area-south", "name", "South"))
	rs = append(rs, person("emp-mgr-1", "service.manager")...)
	rs = append(rs, person("emp-eng-1", "service.engineer", "mobile.service-agent-user")...)
	rs = append(rs, person("emp-eng-2", "service.engineer", "mobile.service-agent-user")...)
	for _, c := range []string{"one", "two"} {
		rs = append(rs, row("client", ident.RecordID("client-"+c), "name", c, "salesArea", "area-north"),
			row("job", ident.RecordID("job-"+c+"-1"), "client", "client-"+c, "title", "Boiler"),
			row("jobActivity", ident.RecordID("act-"+c+"-1"), "job", "job-"+c+"-1", "title", "Visit", "assignee", "emp-eng-1"))
	}
	w.load(rs...)
	return w
}

func patch(typ string, id ident.RecordID, fields, was command.Object) command.Mutation {
	return command.Mutation{Op: wire.OpPatch, Type: typ, ID: id, Fields: fields, Was: was}
}

func act(typ string, id ident.RecordID, action string, args command.Object) command.Mutation {
	return command.Mutation{Op: wire.OpAction, Type: typ, ID: id, Action: action, Args: args}
}

func write(actor ident.RecordID, x command.Write) *command.Command {
	return &command.Command{Actor: actor, Write: &x}
}

// referring returns the ids of the records of the type whose field names id.
func (w *world) referring(typ, f string, id ident.RecordID) (out []ident.RecordID) {
	w.t.Helper()
	w.reader(func(rd *state.Reader) {
		t := w.cat.Type(typ)
		for o := range rd.Referring(t, t.Field(f).No, id).All() {
			_, x := rd.Name(o)
			out = append(out, x)
		}
	})
	return out
}

// sees asks the policy, as of the committed state.
func (w *world) sees(who, id ident.RecordID) (yes bool) {
	w.t.Helper()
	w.reader(func(rd *state.Reader) {
		sub, ok := w.roles.Build(rd, who)
		rec, ok2 := rd.Load(id)
		yes = ok && ok2 && sub.View(rec, rd).Mask != 0
	})
	return yes
}
