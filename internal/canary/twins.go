package canary

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"satchel/internal/command"
	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/internal/oracle"
	"satchel/internal/testworld"
	"satchel/server/rest"
	"satchel/server/roles"
	"satchel/sync/apply"
	"satchel/sync/tenant"
)

// Mask is something of what reaches people that is not compared, with the
// reason.
type Mask struct {
	Channel, Name, Why string
	in                 *regexp.Regexp
}

// Channels of masks.
const (
	byHTTP = "http"
	byMail = "mail"
	byPush = "push"
)

// Masks are all that is not compared. Everything else, ids, revs, ETags, cursors,
// checkpoints and the lengths of answers among it, has to be the same: the two
// servers have one clock and one source of randomness, which begins anew with
// each request.
var Masks = []Mask{
	{byHTTP, "Date", "the machine's clock, which the HTTP library reads by itself", regexp.MustCompile(`(?m)^Date: .*$`)},
	{
		byHTTP, "cursor of the trail",
		"a sealed position of the log, always of one length, the same whenever it is asked for: nobody can tell one from another",
		regexp.MustCompile(`"next":"[A-Za-z0-9_-]{54}"`),
	},
	{byMail, "boundary", "drawn by the mail library from the system's randomness", regexp.MustCompile(`[0-9a-f]{60}`)},
	{
		byPush, "id and expiry",
		"of a push that only has a phone pull both are made of when it was sent, and changes are gathered by the machine's clock",
		regexp.MustCompile(`"data":\{"id":"[^"]*"|"apns-expiration":"\d+"`),
	},
}

func masked(channel string, b []byte) []byte {
	for _, m := range Masks {
		if m.Channel == channel {
			b = m.in.ReplaceAll(b, []byte("*"))
		}
	}
	return b
}

// Declassified: what may be told of hidden things, beyond Masks. Nothing hidden
// here does any of it.
//
//   - Documents without a number take the next one of their series, which counts
//     them. Whatever is hidden bears a number of its own.
//   - Whether a record can be deleted, where what hangs on it lies in an app or
//     area that is not the person's. Nobody here deletes what others made.
//   - Whether colleagues can be given work, which their rights decide. Nothing
//     hidden here is about anybody's rights, but for the hidden client's records.
//   - Times at which people are taken. What is hidden takes nobody's time.
//   - Stock on hand, which the judge shows to those who see it.
var declassified = map[string]bool{
	"billingRun/run": true, "ticket/to-job": true, "contract/activate": true, "agentInvoice/approve": true, "salesOrder/pick": true,
	"jobActivity/assign": true, "jobActivity/unassign": true, "ticket/assign": true, "ticket/unassign": true,
}

// privileges are types whose records decide what people may do.
var privileges = []string{
	"roleAssignment", "individualPermission", "clientVisibility", "visibilityRule", "organizationalRole", "organizationalRoleClient", "delegation",
	"employee", "onsiteClient", "setting",
}

// Groups are people who are watched together, of one pair of servers each: what
// differs is hidden from all of a group.
var Groups = [][]string{
	{"half-admin", "blind", "colleague", "crm-manager", "biller", "contractor", "staff", "onsite", "stock-ctrl", "debt-ops"},
	{"engineer", "rep", "guest-agent", "crm-guest", "basic", "stock-rep", "desk", "deputy", "sales-rep", "bill-rep", "crm-ops", "liaison"},
}

// TwinReport is what a pair of servers came to.
type TwinReport struct {
	// Differences are answers by which somebody can tell the worlds apart.
	Differences []string
	// Compared counts by what was asked; Hidden what was done in one world alone,
	// by type; Both what was done in both.
	Compared map[string]int
	Hidden   map[string]int
	Both     int
}

// twins is a pair under way.
type twins struct {
	tb     testing.TB
	a, b   *Server
	who    []*watcher
	routes []rest.Route
	r      *rand.Rand
	rep    *TwinReport
	other  [2]*Session // somebody who sees everything, on a device
	sent   [2]int      // the mutations they have pushed
	serial int
}

// watcher is a person in both worlds.
type watcher struct {
	key      string
	at       [2]*Session // on a device that pulls
	away     [2]*Session // on one that never does, and is told by push
	live     [2]*socket
	state    [2]map[string]string // what the live device holds
	last     [2]*Answer
	token    string // checkpoint, the same in both
	mutation int
}

// Twins runs two servers that differ in what none of the watched may see, and
// compares what each of them is answered. Of so many steps each has something
// done in one world, something in both, and requests by everybody.
func Twins(tb testing.TB, seed int64, steps int, watched ...string) *TwinReport {
	tb.Helper()
	return playTwins(tb, seed, steps, nil, watched...)
}

// playTwins is Twins; plant, where not nil, does something to the second world
// that can be seen, to find out whether it is noticed.
func playTwins(tb testing.TB, seed int64, steps int, plant func(*Server), watched ...string) *TwinReport {
	tb.Helper()
	t := &twins{
		tb: tb, a: Start(tb, seed), b: Start(tb, seed), r: rand.New(rand.NewPCG(uint64(seed), 0x7477696e73)),
		rep: &TwinReport{Compared: map[string]int{}, Hidden: map[string]int{}},
	}
	var err error
	if t.routes, err = table(t.a.suite.Cat); err != nil {
		tb.Fatal(err)
	}
	for _, key := range watched {
		w := &watcher{key: key}
		for i, s := range t.both() {
			s.dice.Roll("sign-in " + key)
			w.at[i] = s.SignIn(key, "pulls-"+key)
			s.settle()
			s.woken(w.at[i])
			s.dice.Roll("away " + key)
			if w.at[i].Person.Mobile {
				w.away[i] = s.SignIn(key, "away-"+key)
				s.settle()
				s.woken(w.away[i])
			}
		}
		t.who = append(t.who, w)
	}
	for i, w := range t.who {
		if i%3 == 0 {
			t.open(w)
		}
	}
	for i, s := range t.both() {
		s.dice.Roll("somebody else")
		t.other[i] = s.SignIn("manager", "other")
		s.settle()
	}
	if plant != nil {
		plant(t.b)
	}
	for step := range steps {
		t.advance(10 * time.Second) // all of it lies within the life of an access token
		for range t.r.IntN(4) {
			t.hidden()
		}
		if plant == nil && step%3 == 1 {
			t.offline()
		}
		t.visible()
		t.settle()
		for _, w := range t.who {
			t.asks(w, step)
		}
		t.barrier(step)
		if len(t.rep.Differences) > 0 {
			break
		}
	}
	t.settle()
	for _, s := range t.both() { // and the day's letters
		s.dice.Roll("next day")
		s.nextDay()
	}
	t.settle()
	t.letters()
	return t.rep
}

func (t *twins) both() [2]*Server { return [2]*Server{t.a, t.b} }

func (t *twins) advance(d time.Duration) {
	for _, s := range t.both() {
		s.Advance(d)
	}
}

func (t *twins) settle() {
	for _, s := range t.both() {
		s.settle()
	}
}

func (t *twins) differ(format string, args ...any) {
	t.rep.Differences = append(t.rep.Differences, fmt.Sprintf(format, args...))
}

// views is what each of the watched sees, of every record, as one text a person.
func (t *twins) views(w *oracle.World) string {
	var b strings.Builder
	for _, who := range t.who {
		id := who.at[0].Person.ID
		for _, typ := range t.a.suite.Cat.Types {
			for _, r := range w.Records(typ.Name) {
				if s, ok := w.Sees(id, r.ID); ok {
					fmt.Fprintf(&b, "%s %s %s %v\n", who.key, r.ID, s.Rev, s.Context)
				}
			}
		}
	}
	return b.String()
}

// view is what the watched see in a world as it is.
func (t *twins) view(s *Server) (out string) {
	s.Look(func(w *oracle.World) { out = t.views(w) })
	return out
}

// trial tells what the watched would see after a command; ok is false where it is
// refused.
func (t *twins) trial(s *Server, c *command.Command) (view string, ok bool) {
	t.tb.Helper()
	ten := s.tenant()
	if err := ten.Read(func(v *tenant.View) error {
		tr := apply.NewTrial(apply.Config{Cat: ten.Catalogue(), Roles: ten.Roles(), Field: roles.Field()}, v.KV(), ten.Now())
		one := *c
		if res := tr.Do(&one); res.Err != nil || res.Refused != nil || len(res.Count.Rejected) > 0 {
			return nil
		}
		w, err := s.judge.Look(tr.After().KV())
		if err != nil {
			return err
		}
		view, ok = t.views(w), true
		return nil
	}); err != nil {
		t.tb.Fatal(err)
	}
	return view, ok
}

func (t *twins) word() string {
	t.serial++
	return t.a.World.m.word()
}

// candidate makes up something that may happen to a record of a client, or of
// none.
func (t *twins) candidate(s *Server, client int) *command.Command {
	c := &command.Command{Seed: fmt.Appendf(nil, "candidate %08d", t.serial)}
	t.serial++
	var all []made
	var types []string
	for typ, list := range s.World.by {
		if slices.Contains(privileges, typ) || typ == "stockLevel" || typ == "notification" {
			continue
		}
		for _, x := range list {
			if x.client == client {
				types = append(types, typ)
				break
			}
		}
	}
	sort.Strings(types)
	if len(types) == 0 {
		return nil
	}
	typ := s.suite.Cat.Type(types[t.r.IntN(len(types))])
	for _, x := range s.World.by[typ.Name] {
		if x.client == client {
			all = append(all, x)
		}
	}
	x := all[t.r.IntN(len(all))]
	text := func() *entity.Field {
		var fs []*entity.Field
		for _, f := range typ.Fields {
			if (f.Kind == entity.String || f.Kind == entity.Text) && !f.ReadOnly && !f.Immutable && len(f.Values) == 0 {
				fs = append(fs, f)
			}
		}
		if len(fs) == 0 {
			return nil
		}
		return fs[t.r.IntN(len(fs))]
	}
	switch n := t.r.IntN(10); {
	case n < 4:
		if f := text(); f != nil && !slices.Contains([]string{"filter", "report"}, typ.Name) {
			c.Write = &command.Write{Op: "patch", Type: typ.Name, ID: x.id, Fields: testworld.Object(f.Name, t.word())}
		}
	case n < 6:
		if len(typ.Actions) > 0 {
			a := typ.Actions[t.r.IntN(len(typ.Actions))]
			if !declassified[typ.Name+"/"+a.Name] && !a.Removes {
				c.Write = &command.Write{Op: "action", Type: typ.Name, ID: x.id, Action: a.Name}
			}
		}
	case n < 7:
		c.Write = &command.Write{Op: "delete", Type: typ.Name, ID: x.id}
	default:
		fields := command.Object{}
		for _, f := range typ.Fields {
			if f.ReadOnly || untouched[typ.Name+"."+f.Name] || f.Kind == entity.Time || f.Name == "assignee" || f.Name == "status" {
				continue
			}
			if v := s.World.value(typ, f, client); v != nil {
				fields[f.Name] = v
			}
		}
		if typ.IsClient {
			return nil
		}
		if root := typ.Field(typ.Root); root != nil && len(root.Targets) == 0 {
			fields[typ.Root] = entityRef(s.World.Clients[max(client, 0)])
		}
		c.Write = &command.Write{Op: "create", Type: typ.Name, Fields: fields}
	}
	if c.Write == nil {
		return nil
	}
	return c
}

func entityRef(id ident.RecordID) json.RawMessage { return json.RawMessage(fmt.Sprintf("%q", id)) }

// hidden has something happen in the second world alone of which, by the judge,
// none of the watched can see a trace.
func (t *twins) hidden() {
	s := t.b
	before := t.view(s)
	for range 6 {
		var c *command.Command
		switch t.r.IntN(8) {
		case 0: // another client is hidden from somebody else, or comes back
			p := s.World.Person([]string{"manager", "guest", "ticketer", "admin"}[t.r.IntN(3)])
			c = &command.Command{Write: &command.Write{
				Op: "create", Type: "onsiteClient", Fields: testworld.Object("employee", p.ID, "client", s.World.Clients[blue]),
			}}
		case 1: // somebody else's own affairs
			p := s.World.Person([]string{"manager", "guest", "ticketer", "nobody"}[t.r.IntN(4)])
			typ := []string{"preference", "tag"}[t.r.IntN(2)]
			f := testworld.Object("owner", p.ID, "key", t.word())
			if typ == "tag" {
				f = testworld.Object("owner", p.ID, "name", t.word(), "visibility", "private")
			}
			c = &command.Command{Write: &command.Write{Op: "create", Type: typ, Fields: f}}
		default:
			c = t.candidate(s, []int{blue, blue, blue, corp, dune, acme, -1}[t.r.IntN(7)])
		}
		if c == nil {
			continue
		}
		if after, ok := t.trial(s, c); !ok || after != before {
			continue
		}
		_, err := s.tenant().Submit(context.Background(), c)
		if err != nil {
			continue
		}
		t.rep.Hidden[c.Write.Op+" "+c.Write.Type]++
		if got := t.view(s); got != before {
			t.tb.Fatalf("%s %s is seen", c.Write.Op, c.Write.Type)
		}
	}
}

// offline has somebody push offline work on the hidden client that is refused:
// one change in the first world, several in the second.
func (t *twins) offline() {
	more := 1 + t.r.IntN(3)
	for i, s := range t.both() {
		var ms []any
		for range 1 + i*more {
			t.sent[i]++
			ms = append(ms, map[string]any{
				"n": t.sent[i], "op": "patch", "type": "job", "id": s.World.of("job", blue), "at": s.Now().Format(time.RFC3339),
				"fields": map[string]any{"noSuchField": t.word()}, "was": map[string]any{},
			})
		}
		s.dice.Roll(fmt.Sprint("offline ", t.sent[0]))
		a := t.other[i].Ask("POST", "/sync/v1/push", map[string]any{"acked": 0, "now": s.Now().Format(time.RFC3339), "mutations": ms})
		if a.Status != http.StatusOK || !bytes.Contains(a.Body, []byte("refused")) {
			t.tb.Fatalf("a push of somebody else: %d %s", a.Status, a.Body)
		}
		s.settle()
	}
	t.rep.Hidden["offline work"]++
	if t.view(t.a) != t.view(t.b) {
		t.tb.Fatal("offline work that was refused is seen")
	}
}

// visible has the same happen in both worlds, where it has the same effect on
// what is seen.
func (t *twins) visible() {
	for range 3 {
		c := t.candidate(t.a, []int{acme, acme, corp, dune, -1, blue}[t.r.IntN(6)])
		if c == nil || c.Write.Op == "delete" {
			continue
		}
		one, ok := t.trial(t.a, c)
		two, ok2 := t.trial(t.b, c)
		if !ok || !ok2 || one != two {
			continue
		}
		for _, s := range t.both() {
			again := *c
			s.Do(&again)
		}
		t.rep.Both++
	}
}

// ask sends the same request in both worlds and compares the answers.
func (t *twins) ask(w *watcher, what, method, path string, body any, headers ...string) *Answer {
	t.tb.Helper()
	var got [2]*Answer
	label := fmt.Sprintf("request %d", t.serial)
	t.serial++
	follow := slices.Equal(headers, []string{following})
	for i, s := range t.both() {
		s.dice.Roll(label)
		if !follow {
			got[i] = w.at[i].Ask(method, path, body, headers...)
			w.last[i] = got[i]
			continue
		}
		var page struct{ Next string }
		if json.Unmarshal(w.last[i].Body, &page) != nil || page.Next == "" {
			return w.last[i]
		}
		got[i] = w.at[i].Ask(method, path+page.Next, body)
	}
	t.rep.Compared[what]++
	if x, y := masked(byHTTP, got[0].raw()), masked(byHTTP, got[1].raw()); !bytes.Equal(x, y) {
		sent, _ := json.Marshal(body)
		t.differ("%s: %s %s %.300s\n%s", w.key, method, path, sent, apart(x, y))
	}
	if method != http.MethodGet {
		t.settle()
	}
	return got[0]
}

// following asks for the page behind the last answer, by the cursor that each
// world gave.
const following = "following"

// apart shows where two texts begin to differ.
func apart(x, y []byte) string {
	_, bx, _ := bytes.Cut(x, []byte("\n\n"))
	_, by, _ := bytes.Cut(y, []byte("\n\n"))
	if !bytes.Equal(bx, by) {
		x, y = bx, by
	}
	i := 0
	for i < len(x) && i < len(y) && x[i] == y[i] {
		i++
	}
	from := max(0, i-200)
	return fmt.Sprintf("  %.600q\n  %.600q", x[from:], y[from:])
}

// twice is pick for offline work, of ids that are in both worlds or in none. What
// is kept of it is concealed from administrators who may not know of a record
// that it names: whether there is one shows there, to whoever knows what was
// typed.
func (t *twins) twice(w *watcher, typ string, seen bool) ident.RecordID {
	id := t.pick(w, typ, seen)
	both := true
	for _, s := range t.both() {
		s.Look(func(world *oracle.World) {
			_, ok := world.Record(id)
			both = both && ok
		})
	}
	if !both {
		return never
	}
	return id
}

// pick returns one of the ids that the watcher sees of a type, the same in both
// worlds, or one that exists hidden, in both or in one, or never was.
func (t *twins) pick(w *watcher, typ string, seen bool) ident.RecordID {
	list := t.a.World.by[typ]
	var ids []ident.RecordID
	t.b.Look(func(world *oracle.World) {
		for _, r := range world.Records(typ) {
			if _, ok := world.Sees(w.at[0].Person.ID, r.ID); ok == seen {
				ids = append(ids, r.ID)
			}
		}
	})
	if len(ids) == 0 || (!seen && t.r.IntN(5) == 0) {
		if len(list) > 0 && t.r.IntN(2) == 0 && !seen {
			return list[t.r.IntN(len(list))].id
		}
		return never
	}
	return ids[t.r.IntN(len(ids))]
}

// asks has a watcher ask for some things.
func (t *twins) asks(w *watcher, step int) {
	for n := 0; n < 6; n++ {
		r := t.routes[t.r.IntN(len(t.routes))]
		if r.Type == nil || r.Method != "GET" {
			n--
			continue
		}
		t.route(w, r)
	}
	switch t.r.IntN(6) {
	case 0:
		t.ask(w, "me", "GET", "/v1/me", nil)
		t.ask(w, "refused", "GET", "/v1/me/refused?limit=9", nil)
		t.ask(w, "personal data", "GET", "/v1/me/export", nil)
	case 1:
		t.ask(w, "notifications", "GET", "/v1/me/notifications?limit=200&archived=true", nil)
	case 2:
		typ := t.a.suite.Cat.Types[t.r.IntN(len(t.a.suite.Cat.Types))].Name
		t.ask(w, "explain", "GET", fmt.Sprintf("/v1/explain?action=%s&type=%s&id=%s", []string{"view", "edit", "delete"}[t.r.IntN(3)], typ, t.pick(w, typ, t.r.IntN(2) == 0)), nil)
	case 3:
		if slices.Contains(w.at[0].Person.Roles, "level.customer-administrator") {
			t.administers(w)
		} else if w.at[0].Person.Mobile {
			for _, path := range []string{"/me/day", "/me/week", "/dispatch", "/tickets?done=true", "/activities/" + string(t.pick(w, "jobActivity", t.r.IntN(2) == 0)), "/tickets/" + string(t.pick(w, "ticket", t.r.IntN(2) == 0))} {
				t.ask(w, "mobile", "GET", "/mobile/v1"+path, nil)
			}
		}
	case 4:
		t.file(w)
	}
	t.write(w)
	t.pulls(w, step)
}

// route asks one of the reading routes, with parameters.
func (t *twins) route(w *watcher, r rest.Route) {
	path := strings.Replace(r.Path, "{id}", string(t.pick(w, r.Type.Name, t.r.IntN(3) > 0)), 1)
	switch r.Kind {
	case rest.List, rest.Children, rest.Table:
		of := r.Type
		if r.Child != nil {
			of = r.Child
		}
		var q []string
		if r.Kind == rest.Table {
			q = append(q, "format="+[]string{"csv", "xlsx"}[t.r.IntN(2)], "names=true")
		} else {
			q = append(q, fmt.Sprintf("limit=%d", 1+t.r.IntN(6)))
		}
		f := of.Fields[t.r.IntN(len(of.Fields))]
		switch t.r.IntN(5) {
		case 0:
			q = append(q, "sort=-"+f.Name)
		case 1:
			q = append(q, "sort=updatedAt")
		case 2:
			q = append(q, "filter="+f.Name+"%20null%20false")
		case 3:
			q = append(q, "q=zq"+string(rune('a'+t.r.IntN(26))))
		case 4:
			q = append(q, "filter=id%20ne%20"+string(t.pick(w, of.Name, false)), "archived=true")
		}
		path += "?" + strings.Join(q, "&")
		a := t.ask(w, string(r.Kind), "GET", path, nil)
		var page struct{ Next string }
		for range 3 {
			if page.Next = ""; json.Unmarshal(a.Body, &page) != nil || page.Next == "" {
				break
			}
			a = t.ask(w, "cursor", "GET", path+"&cursor="+page.Next, nil)
		}
	case rest.Result:
		t.ask(w, "report", "GET", path+"?format="+[]string{"json", "csv", "xlsx"}[t.r.IntN(3)], nil)
	case rest.Assignees:
		if !strings.Contains(r.Path, "{id}") {
			path += "?under=" + string(t.pick(w, "client", t.r.IntN(2) == 0))
		}
		t.ask(w, "picker", "GET", path, nil)
	default:
		t.ask(w, string(r.Kind), "GET", path, nil)
	}
}

func (t *twins) administers(w *watcher) {
	c := string(t.pick(w, "client", t.r.IntN(2) == 0))
	p := string(t.pick(w, "employee", t.r.IntN(3) > 0))
	for _, path := range []string{
		"holders?client=" + c, "holders?employee=" + p, "access-review?client=" + c, "access-review?employee=" + p, "access-review?limit=7", "audit?limit=20",
		"audit?limit=3&client=" + c, "audit?record=" + c, "audit/head", "quarantine?state=all", "quarantine:export?state=all",
		"explain?principal=" + p + "&action=view&type=client&id=" + c,
	} {
		t.ask(w, "administration", "GET", "/v1/admin/"+path, nil)
		t.ask(w, "administration", "GET", "/v1/admin/"+path+"&cursor=", nil, following)
	}
	t.ask(w, "what-if", "POST", "/v1/admin/what-if", map[string]any{"change": []any{
		map[string]any{"op": "create", "type": "clientVisibility", "as": "v", "fields": map[string]any{"employee": p, "mode": "all-but"}},
		map[string]any{"op": "create", "type": "visibilityRule", "fields": map[string]any{"visibility": "$v", "client": c}},
	}})
	t.ask(w, "what-if", "POST", "/v1/admin/what-if", map[string]any{"change": map[string]any{
		"op": "create", "type": "roleAssignment", "fields": map[string]any{"employee": p, "role": "service.guest"},
	}})
}

// file uploads something that somebody else may have uploaded where it is
// hidden, and asks for it.
func (t *twins) file(w *watcher) {
	content := []byte("the same for everybody")
	job := t.pick(w, "job", true)
	a := t.ask(w, "write", "POST", "/v1/service/documents", map[string]any{"parent": job, "name": t.word()})
	var doc struct{ ID ident.RecordID }
	if json.Unmarshal(a.Body, &doc) != nil || a.Status != http.StatusCreated {
		return
	}
	var got [2]*Answer
	label := "upload " + fmt.Sprint(t.serial)
	for i, s := range t.both() {
		if i == 1 { // in the second world it is there already
			by := t.other[i]
			c := &command.Command{Actor: by.Person.ID, Write: &command.Write{
				Op: "create", Type: "document", Fields: testworld.Object("parent", s.World.of("job", blue), "name", "hidden"),
			}}
			if after, ok := t.trial(s, c); !ok || after != t.view(s) {
				s.dice.Roll(label)
				got[i] = w.at[i].upload(doc.ID, "x.txt", content)
				continue
			}
			made := by.Ask("POST", "/v1/service/documents", map[string]any{"parent": s.World.of("job", blue), "name": "hidden"})
			var d struct{ ID ident.RecordID }
			if json.Unmarshal(made.Body, &d) == nil {
				by.upload(d.ID, "x.txt", content)
				t.rep.Hidden["upload of a document"]++
			}
			s.settle()
		}
		s.dice.Roll(label)
		got[i] = w.at[i].upload(doc.ID, "x.txt", content)
	}
	t.rep.Compared["upload"]++
	if x, y := masked(byHTTP, got[0].raw()), masked(byHTTP, got[1].raw()); !bytes.Equal(x, y) {
		t.differ("%s: an upload\n%s", w.key, apart(x, y))
	}
	t.settle()
	t.ask(w, "file", "GET", "/v1/service/documents/"+string(doc.ID)+"/content", nil)
	// Content for what is hidden, or never was: nobody tells which.
	over := t.pick(w, "document", false)
	for i, s := range t.both() {
		s.dice.Roll("over " + label)
		got[i] = w.at[i].upload(over, "x.txt", content)
	}
	if x, y := masked(byHTTP, got[0].raw()), masked(byHTTP, got[1].raw()); !bytes.Equal(x, y) {
		t.differ("%s: an upload for %s\n%s", w.key, over, apart(x, y))
	}
	t.settle()
	t.ask(w, "personal data", "GET", "/v1/me/export", nil)
	t.ask(w, "file", "GET", "/v1/service/documents/"+string(t.pick(w, "document", false))+"/content", nil)
}

// write has a watcher write, well and badly.
func (t *twins) write(w *watcher) {
	typ := t.a.suite.Cat.Type([]string{"client", "contact", "job", "jobActivity", "ticket", "ticketUpdate", "comment", "document", "task", "activity", "opportunity", "invoice", "asset", "tag", "preference", "salesOrder", "payment", "campaign"}[t.r.IntN(18)])
	app := string(typ.Apps[t.r.IntN(len(typ.Apps))])
	base := "/v1/" + app + "/" + typ.CollectionIn(entity.App(app))
	id := t.pick(w, typ.Name, t.r.IntN(2) == 0)
	switch t.r.IntN(6) {
	case 0, 1: // create, over a hidden id, or beneath something hidden
		f := map[string]any{}
		for _, fd := range typ.Fields {
			switch {
			case fd.ReadOnly || fd.Name == "number":
			case fd.Kind == entity.Ref && len(fd.Targets) > 0 && (fd.Required || t.r.IntN(3) == 0):
				f[fd.Name] = t.pick(w, fd.Targets[0], t.r.IntN(3) > 0)
			case fd.Kind == entity.Ref && len(fd.Targets) == 0:
				f[fd.Name] = t.pick(w, "client", t.r.IntN(3) > 0)
			case fd.Kind == entity.Enum && fd.Required:
				f[fd.Name] = fd.Values[0]
			case (fd.Kind == entity.String || fd.Kind == entity.Text) && fd.Required:
				f[fd.Name] = t.word()
			}
		}
		if typ.Field("number") != nil {
			f["number"] = t.word()
		}
		if t.r.IntN(3) == 0 {
			f["id"] = t.pick(w, typ.Name, false)
		}
		t.ask(w, "create", "POST", base, f)
	case 2, 3:
		for _, fd := range typ.Fields {
			if (fd.Kind == entity.String || fd.Kind == entity.Text) && !fd.ReadOnly && !fd.Immutable && t.r.IntN(3) == 0 {
				t.ask(w, "patch", "PATCH", base+"/"+string(id), map[string]any{fd.Name: t.word()}, "Idempotency-Key", t.word())
				break
			}
		}
	case 4:
		if len(typ.Actions) > 0 {
			a := typ.Actions[t.r.IntN(len(typ.Actions))]
			if !a.Removes && !declassified[typ.Name+"/"+a.Name] {
				t.ask(w, "action", "POST", base+"/"+string(id)+"/"+a.Name, map[string]any{})
			}
		}
	default:
		t.ask(w, "delete", "DELETE", base+"/"+string(t.pick(w, typ.Name, false)), nil)
	}
}

// pulls has a watcher synchronise: a page, at times with a limit, and pushes.
func (t *twins) pulls(w *watcher, step int) {
	req := map[string]any{"checkpoint": w.token}
	if w.token == "" {
		req["profile"] = "office"
		if w.at[0].Person.Mobile && t.r.IntN(2) == 0 {
			req["profile"] = "field"
		}
	}
	if t.r.IntN(3) > 0 {
		req["limit"] = 1 + t.r.IntN(40)
	}
	if t.r.IntN(6) == 0 {
		req["pins"] = []any{map[string]any{"type": "client", "id": t.pick(w, "client", t.r.IntN(2) == 0)}}
	}
	var prefer []string
	if t.r.IntN(2) == 0 {
		prefer = []string{"Prefer", "fields=changed, digests=touched"}
	}
	a := t.ask(w, "pull", "POST", "/sync/v1/pull", req, prefer...)
	var p struct{ Checkpoint string }
	if a.Status == http.StatusOK && json.Unmarshal(a.Body, &p) == nil {
		w.token = p.Checkpoint
	} else {
		w.token = ""
	}
	switch (step + len(w.key)) % 4 {
	case 0:
		t.ask(w, "verify", "POST", "/sync/v1/verify", map[string]any{"types": map[string]any{}})
		t.ask(w, "rules", "GET", "/sync/v1/rules", nil)
	case 1, 2:
		var ms []any
		for range 1 + t.r.IntN(3) {
			w.mutation++
			typ := []string{"client", "job", "jobActivity", "ticket", "contact"}[t.r.IntN(5)]
			id := t.twice(w, typ, t.r.IntN(3) == 0)
			m := map[string]any{"n": w.mutation, "op": "patch", "type": typ, "id": id, "at": t.a.Now().Format(time.RFC3339)}
			field := map[string]string{"client": "city", "job": "title", "jobActivity": "note", "ticket": "subject", "contact": "name"}[typ]
			switch t.r.IntN(4) {
			case 0:
				m["op"], m["was"] = "delete", map[string]any{}
				if t.r.IntN(2) == 0 {
					m["id"] = t.twice(w, typ, false)
				} else {
					m["id"] = never
				}
			case 1:
				m["op"], m["fields"] = "create", map[string]any{"client": t.twice(w, "client", t.r.IntN(2) == 0), "title": t.word()}
				m["type"], m["id"] = "job", t.twice(w, "job", false)
			default:
				m["fields"], m["was"] = map[string]any{field: t.word()}, map[string]any{field: t.word()}
			}
			ms = append(ms, m)
		}
		t.ask(w, "push", "POST", "/sync/v1/push", map[string]any{"acked": max(0, w.mutation-8), "now": t.a.Now().Format(time.RFC3339), "mutations": ms})
	}
}

// open opens a live socket in both worlds, on a device of its own.
func (t *twins) open(w *watcher) {
	for i, s := range t.both() {
		s.dice.Roll("live " + w.key)
		c := s.SignIn(w.key, "live-"+w.key)
		s.settle()
		w.live[i], w.state[i] = c.live(), map[string]string{}
		if err := w.live[i].say(map[string]any{"kind": "pull", "profile": "office"}); err != nil {
			t.tb.Fatal(err)
		}
	}
}

// barrier waits until everything that happened has reached the live devices, by
// a change that each of them sees, and compares what they hold. Where a page
// ends depends on how fast changes come after each other; a page that brings
// nothing depends on something hidden.
func (t *twins) barrier(step int) {
	for _, w := range t.who {
		if w.live[0] == nil {
			continue
		}
		mark := ident.RecordID(fmt.Sprintf("barrier-%s-%d", w.key, step))
		for i, s := range t.both() {
			s.Import(testworld.Row("preference", mark, "owner", w.at[i].Person.ID, "key", fmt.Sprint("barrier ", step)))
			for there := false; !there; {
				b, ok := w.live[i].frame(20 * time.Second)
				if !ok {
					t.tb.Fatalf("%s: no page comes", w.key)
				}
				var p struct {
					Kind, Checkpoint string
					Removed          []struct{ ID string }
					Records          []json.RawMessage
					Complete         json.RawMessage
					More             bool
				}
				if err := json.Unmarshal(b, &p); err != nil || p.Kind != "page" {
					t.differ("%s: a frame %.300s", w.key, b)
					break
				}
				if len(p.Records)+len(p.Removed) == 0 && step > 0 {
					t.differ("%s: a page that brings nothing, in world %d: %.300s", w.key, i, b)
				}
				for _, r := range p.Removed {
					delete(w.state[i], r.ID)
				}
				for _, raw := range p.Records {
					var r struct{ ID string }
					if err := json.Unmarshal(raw, &r); err != nil {
						t.tb.Fatal(err)
					}
					w.state[i][r.ID] = string(raw)
					there = there || r.ID == string(mark)
				}
				if err := w.live[i].say(map[string]any{"kind": "pull", "checkpoint": p.Checkpoint}); err != nil {
					t.tb.Fatal(err)
				}
				there = there && !p.More
			}
		}
		t.rep.Compared["live"]++
		if !maps.Equal(w.state[0], w.state[1]) {
			for _, id := range slices.Sorted(maps.Keys(w.state[1])) {
				if x, y := w.state[0][id], w.state[1][id]; x != y {
					t.differ("%s: live device holds\n%s", w.key, apart([]byte(x), []byte(y)))
				}
			}
			for id, x := range w.state[0] {
				if _, ok := w.state[1][id]; !ok {
					t.differ("%s: live device lacks %.300s", w.key, x)
				}
			}
		}
	}
}

// sorted sorts a mail's headers: the mail library takes some of them from a map.
func sorted(mail []byte) []byte {
	head, body, _ := strings.Cut(string(mail), "\r\n\r\n")
	lines := strings.Split(head, "\r\n")
	slices.Sort(lines)
	return []byte(strings.Join(lines, "\r\n") + "\r\n\r\n" + body)
}

// letters compares what was mailed and pushed to the watched.
func (t *twins) letters() {
	gather := func(s *Server, w *watcher, i int) (mails, pushes []string) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, m := range s.mails {
			if m.to == w.at[i].Person.Email {
				mails = append(mails, string(masked(byMail, sorted(m.raw))))
			}
		}
		for _, p := range s.pushes {
			for _, c := range []*Session{w.at[i], w.away[i]} {
				if c != nil && c.Push != "" && p.to == c.Push {
					pushes = append(pushes, string(masked(byPush, p.raw)))
				}
			}
		}
		slices.Sort(mails)
		slices.Sort(pushes)
		return mails, slices.Compact(pushes)
	}
	for _, w := range t.who {
		am, ap := gather(t.a, w, 0)
		bm, bp := gather(t.b, w, 1)
		for _, x := range []struct {
			what string
			a, b []string
		}{{"mail", am, bm}, {"push", ap, bp}} {
			t.rep.Compared[x.what] += len(x.a)
			if !slices.Equal(x.a, x.b) {
				t.differ("%s: %d and %d of %s\n%s", w.key, len(x.a), len(x.b), x.what, apart([]byte(strings.Join(x.a, "\n")), []byte(strings.Join(x.b, "\n"))))
			}
		}
	}
}
