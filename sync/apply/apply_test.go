package apply_test

import (
	"context"
	"encoding/json"
	"testing"

	"satchel/internal/command"
	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/server/module"
	"satchel/server/suite"
	"satchel/sync/apply"
	"satchel/sync/oplog"
	"satchel/sync/outbox"
	"satchel/sync/state"
	"satchel/sync/store"
	"satchel/sync/subject"
)

// world is a machine on an in-memory store, one entry a command.
type world struct {
	t     testing.TB
	m     *apply.Machine
	eng   store.Engine
	log   oplog.Log
	n     uint64
	now   ident.Millis
	res   []apply.Result
	cat   *entity.Catalogue
	roles *subject.Roles

	logins int
}

func newWorld(t testing.TB) *world {
	t.Helper()
	return worldOn(t, store.NewMem())
}

// worldOn is newWorld on a store; with rules it tells people, too.
func worldOn(t testing.TB, eng store.Engine, rules ...*outbox.Rules) *world {
	t.Helper()
	all, err := suite.Load()
	if err != nil {
		t.Fatal(err)
	}
	cat, rs := all.Cat, all.Roles
	w := &world{t: t, eng: eng, now: 1_700_000_000_000, cat: cat, roles: rs}
	cfg := apply.Config{Cat: cat, Roles: rs, Field: all.Field}
	if len(rules) > 0 {
		cfg.Rules = rules[0]
	}
	w.m = apply.New(cfg)
	w.m.OnCommit = func(_ oplog.Entry, res []apply.Result, _ apply.Effects) { w.res = res }
	if w.log, err = oplog.Open(w.eng, w.m, oplog.Options{}); err != nil {
		t.Fatal(err)
	}
	w.m.SetEpoch(w.log.Epoch())
	return w
}

func (w *world) do(c *command.Command) apply.Result {
	w.t.Helper()
	w.n++
	w.now += 1000
	if c.Seed == nil {
		c.Seed = []byte{byte(w.n >> 8), byte(w.n)}
	}
	raw, err := command.Encode(c)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.log.Append(context.Background(), oplog.Draft{Time: w.now, Version: w.m.InForce(), Proposer: "p", Number: w.n, Commands: [][]byte{raw}}); err != nil {
		w.t.Fatal(err)
	}
	return w.res[0]
}

func (w *world) ok(c *command.Command) apply.Result {
	w.t.Helper()
	r := w.do(c)
	if r.Err != nil {
		w.t.Fatalf("refused: %v", r.Err)
	}
	return r
}

func (w *world) encode(p *apply.Page) string {
	w.t.Helper()
	snap, err := w.eng.Snapshot()
	if err != nil {
		w.t.Fatal(err)
	}
	defer snap.Close()
	cat, _ := module.Catalogue()
	rd := state.NewReader(cat, snap)
	b, err := p.Encode(rd, nil, apply.ToldAll)
	if err != nil {
		w.t.Fatal(err)
	}
	if !json.Valid(b) {
		w.t.Fatalf("not JSON: %s", b)
	}
	return string(b)
}

func obj(kv ...string) command.Object {
	o := command.Object{}
	for i := 0; i < len(kv); i += 2 {
		b, _ := json.Marshal(kv[i+1])
		o[kv[i]] = b
	}
	return o
}

// TestFirstSlice takes one activity, one engineer and one phone the whole way.
func TestFirstSlice(t *testing.T) {
	w := newWorld(t)
	admin := w.ok(&command.Command{Setup: &command.Setup{Name: "Ada", Email: "ada@example.com", Employee: "emp-ada-1", Hash: "x", Secret: []byte("0123456789abcdef")}})
	imp := w.ok(&command.Command{Import: &command.Import{Rows: []command.Row{
		{Type: "salesArea", ID: "area-north", Fields: obj("name", "North")},
		{Type: "client", ID: "client-one", Fields: obj("name", "One", "salesArea", "area-north")},
		{Type: "client", ID: "client-two", Fields: obj("name", "Two", "salesArea", "area-north")},
		{Type: "employee", ID: "emp-eng-1", Fields: obj("name", "Eng", "email", "eng@example.com", "kind", "in-house", "status", "Active")},
		{Type: "roleAssignment", ID: "ra-eng-01", Fields: obj("employee", "emp-eng-1", "role", "service.engineer")},
		{Type: "roleAssignment", ID: "ra-eng-02", Fields: obj("employee", "emp-eng-1", "role", "mobile.service-agent-user")},
		{Type: "job", ID: "job-one-1", Fields: obj("client", "client-one", "title", "Boiler")},
		{Type: "jobActivity", ID: "act-one-1", Fields: obj("job", "job-one-1", "title", "Visit", "assignee", "emp-eng-1")},
	}}})
	if imp.Count.Created != 8 {
		t.Fatalf("import: %+v", imp.Count.Rejected)
	}
	_ = admin
	w.ok(&command.Command{Secret: &command.Secret{Employee: "emp-eng-1", Hash: "h"}})
	login := w.ok(&command.Command{Login: &command.Login{
		Employee: "emp-eng-1", Credential: apply.CredentialDigest("h"), Session: "s1", Prefix: "dabcdefgh",
		Device: &command.Device{Installation: "i1", Incarnation: "c1", Name: "phone"},
	}})
	if login.Login == nil || login.Login.Prefix != "dabcdefgh" {
		t.Fatalf("login: %+v", login.Login)
	}
	me := func() *command.Command {
		return &command.Command{Actor: "emp-eng-1", Session: "s1", Device: login.Login.Device}
	}
	c := me()
	c.Pull = &command.Pull{Profile: "field"}
	page := w.ok(c).Page
	text := w.encode(page)
	t.Log(text)
	if !page.Complete || len(page.Items) == 0 {
		t.Fatalf("page: %+v", page.Page)
	}
	c = me()
	c.Push = &command.Push{Now: w.now, Mutations: []command.Mutation{{N: 1, Op: "action", Type: "jobActivity", ID: "act-one-1", Action: "accept", At: w.now, Hash: []byte("1")}}}
	res := w.ok(c).Push
	if res.Results[0].Status != "applied" {
		t.Fatalf("push: %+v", res)
	}
	c = me()
	c.Pull = &command.Pull{Checkpoint: page.Checkpoint}
	page = w.ok(c).Page
	t.Log(w.encode(page))
	// Hidden: everything of the client leaves.
	w.ok(&command.Command{Import: &command.Import{Rows: []command.Row{
		{Type: "clientVisibility", ID: "vis-eng-1", Fields: obj("employee", "emp-eng-1", "mode", "all-but")},
		{Type: "visibilityRule", ID: "rule-eng-1", Fields: obj("visibility", "vis-eng-1", "client", "client-one")},
	}}})
	c = me()
	c.Pull = &command.Pull{Checkpoint: page.Checkpoint}
	page = w.ok(c).Page
	t.Log(w.encode(page))
	if page.Removed.Len() < 3 {
		t.Fatalf("removed %d", page.Removed.Len())
	}
}
