package simtest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"

	"satchel/internal/command"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/internal/oracle"
	"satchel/sync/apply"
	"satchel/sync/wire"
)

// Twin worlds: two histories of one seed that differ only in what one person
// may not see: what happens to a client hidden from them, in fields closed to
// them, among other people's own affairs. What that person's devices and
// requests are answered must be the same to the byte.

// watched are the people whose answers are compared, one a seed.
var watched = []struct {
	id, phones string
	only       bool
}{
	{"emp-eng001", "fo", false},
	{"emp-eng002", "of", true},
	{"emp-onsite", "fo", false},
	{"emp-tmgr01", "o", false},
	{"emp-staff1", "o", false},
	{"emp-gagent", "of", false},
	{"emp-subcon", "fo", true},
	{"emp-svcmgr", "o", false},
	{"emp-rep001", "o", false},
	{"emp-guest1", "o", true},
	{"emp-combo1", "o", false},
	{"emp-liaisn", "f", false},
	{"emp-crmrep", "o", false},
	{"emp-salgst", "o", false},
	{"emp-salrep", "o", true},
	{"emp-crmadm", "o", false},
	{"emp-stkrep", "o", false},
	{"emp-stkctl", "o", true},
	{"emp-bilgst", "o", false},
	{"emp-bilrep", "o", false},
	{"emp-debtor", "o", false},
	{"emp-agtadm", "o", false},
	{"emp-deputy", "fo", false},
	{"emp-outsel", "o", false},
}

// themed returns the theme of which somebody is; those who take part in every
// history are watched in one of Service.
func themed(id string) *theme {
	for _, a := range cast {
		for _, th := range themes {
			if a.id == id && a.theme == th.name {
				return th
			}
		}
	}
	return themes[0]
}

// Declassified are two things that many people share, whoever they may know of:
//
//   - Number series. A document without a number is given the next of its
//     series, which tells how many were given. So whatever is hidden here bears
//     a number of its own from the start and takes none from a series.
//   - Stock levels. What lies in a warehouse, and how much of it is spoken for,
//     is a sum over all clients. So nothing hidden here reserves or moves stock.

// The client that the watched person never sees, and the client and field that
// are seen but for the field.
const (
	hiddenClient = "client-dd"
	maskedClient = "client-aa"
)

type twin struct {
	*sim
	who     ident.RecordID
	only    bool
	variant uint64
	known   map[string][]*oracle.Record // as the tenant was set up
	all     []*oracle.Record
	lines   []string
}

// playTwins plays both worlds and compares the transcripts line by line.
func (sc script) playTwins() (out outcome) {
	out = outcome{script: sc}
	a, bad := sc.playTwin(0)
	if bad.text == "" {
		var b *twin
		if b, bad = sc.playTwin(1); bad.text == "" {
			out.counters, out.cells, out.step = b.counters, b.cells, b.step
			for i := range max(len(a.lines), len(b.lines)) {
				x, y := "nothing", "nothing"
				if i < len(a.lines) {
					x = a.lines[i]
				}
				if i < len(b.lines) {
					y = b.lines[i]
				}
				if x != y {
					out.violation = fmt.Sprintf("twins: %s can tell the worlds apart, answer %d:\n  %s\n  %s", a.who, i, x, y)
					out.trace, out.kind = b.traced(), "twins"
					return out
				}
			}
			out.counters["answers compared"] += len(a.lines)
			return out
		}
		a = b
	}
	out.violation, out.kind, out.trace, out.counters, out.cells, out.step = bad.text, bad.kind, a.traced(), a.counters, a.cells, a.step
	return out
}

func (sc script) playTwin(variant uint64) (t *twin, bad violation) {
	w := watched[int(uint64(sc.seed)%uint64(len(watched)))]
	s := newSim(sc.seed)
	t = &twin{sim: s, who: ident.RecordID(w.id), only: w.only, variant: variant}
	defer s.close()
	defer func() {
		if p := recover(); p != nil {
			bad = recovered(p)
		}
	}()
	s.quietSetup = true
	s.theme = themed(w.id)
	s.begin()
	t.setup(w.phones)
	sc.each(func(n int) {
		s.enter(n)
		base := start + 1_000_000 + ident.Millis(n)*60_000
		t.phase(base, 3+variant, t.hidden)
		t.phase(base+15_000, 1, t.visible)
		t.phase(base+30_000, 2, t.watch)
	})
	s.enter(sc.steps)
	t.phase(s.now+1000, 9, func() {
		s.still = true
		for _, p := range s.phones {
			p.reliable = true
			for range 3 {
				s.signedIn(p)
				if p.session != "" && !p.expired && len(p.outbox) > 0 {
					s.submit("", p.push())
				}
			}
		}
		for _, p := range s.phones {
			s.sync(p)
			s.converged(p)
		}
	})
	return t, bad
}

// phase gives a part of a step its own randomness and time, so that neither
// depends on what the other parts did.
func (t *twin) phase(at ident.Millis, kind uint64, f func()) {
	t.rng = rand.New(rand.NewPCG(uint64(t.seed)<<8|kind, uint64(t.step)))
	t.now = at
	serial := t.serial
	t.seeds = t.step*100_000 + int(kind)*10_000
	f()
	if kind >= 3 && kind < 9 {
		t.serial = serial
	}
}

func (t *twin) setup(phones string) {
	mode := "all-but"
	var rows []command.Row
	// Client staff see their own client alone, and no rule names them beside
	// another.
	own := ""
	if r, ok := t.world.Record(t.who); ok {
		own = r.Text("client")
	}
	rule := func(id, c string) {
		if own == "" || own == c {
			rows = append(rows, row("visibilityRule", id, "visibility", "vis-watched", "client", c))
		}
	}
	if t.only {
		mode = "only"
		for _, c := range []string{"client-aa", "client-bb", "client-cc"} {
			rule("rule-"+c, c)
		}
	} else {
		rule("rule-hidden", hiddenClient)
	}
	rows = append([]command.Row{
		row("clientVisibility", "vis-watched", "employee", t.who, "mode", mode),
		row("individualPermission", "deny-watched", "employee", t.who, "effect", "denial", "verb", "view", "entityType", "client", "field", "accessNotes"),
	}, rows...)
	if t.who == "emp-deputy" {
		// Everything of the watched person's own work is somebody else's.
		for i, by := range []ident.RecordID{"emp-eng001", "emp-tmgr01"} {
			rows = append(rows, row("delegation", fmt.Sprintf("acts-for-%d", i), "delegator", by, "delegate", t.who, "until", (t.now+400*day).RFC3339()))
		}
	}
	res := t.do(&command.Command{Import: &command.Import{Rows: rows}})
	if len(res.Count.Rejected) > 0 {
		t.fail("setting up: %v", res.Count.Rejected[0].Err)
	}
	t.known = map[string][]*oracle.Record{}
	for _, ty := range t.cat.Types {
		t.known[ty.Name] = t.world.Records(ty.Name)
		t.all = append(t.all, t.known[ty.Name]...)
	}
	t.fixed = t.known
	for i, profile := range phones {
		t.phone(t.who, fmt.Sprintf("watched-%d", i), profile == 'f')
	}
	t.answered = t.record
}

// record writes down what the watched person was answered.
func (t *twin) record(r request, res apply.Result) {
	c := r.cmd
	if c.Actor != t.who && (c.Login == nil || c.Login.Employee != t.who) {
		return
	}
	line := r.what() + " -> "
	switch {
	case res.Err != nil:
		f := fault.Of(res.Err)
		extra, err := json.Marshal(f.Extra)
		must(err)
		line += fmt.Sprintf("%s %q field=%q %s", f.Code, f.Message, f.Field, extra)
	case res.Page != nil:
		rd := t.reader()
		raw, err := res.Page.Encode(rd, nil, apply.ToldAll)
		must(err)
		line += string(raw)
	case res.Push != nil:
		raw, err := json.Marshal(res.Push)
		must(err)
		line += string(raw)
	case res.Login != nil:
		line += fmt.Sprintf("%+v", *res.Login)
	default:
		line += fmt.Sprintf("%s %s %s %s", res.ID, res.Rev, res.Body, count(res.Bulk))
	}
	t.lines = append(t.lines, line)
}

func count(items []apply.BulkItem) string {
	if len(items) == 0 {
		return ""
	}
	return fmt.Sprint(items)
}

// hidden does what the watched person can't know of; how much of it, and what,
// is what the worlds differ in.
func (t *twin) hidden() {
	for range t.rng.IntN(1 + 3*int(t.variant)) {
		t.submit("", t.secret())
	}
}

func (t *twin) secret() request {
	t.serial++
	text := fmt.Sprintf("secret-%d-%d", t.variant, t.serial)
	write := func(w *command.Write) request {
		return request{cmd: &command.Command{Write: w}, what: said("hidden: %s %s/%s", w.Op, w.Type, w.ID)}
	}
	other := func() ident.RecordID {
		for {
			if id := t.somebody(); id != t.who {
				return id
			}
		}
	}
	of := func(typ string) ident.RecordID {
		var ids []ident.RecordID
		for _, r := range t.world.Records(typ) {
			if r.Text("clientId") == hiddenClient {
				ids = append(ids, r.ID)
			}
		}
		if len(ids) == 0 {
			return "nothing-here"
		}
		return pick(t.rng, ids)
	}
	if r, ok := t.secretBusiness(text, write, of); ok && t.chance(50) {
		return r
	}
	switch t.rng.IntN(19) {
	case 17, 18:
		// What the watched person tried on the hidden client is done after all.
		waits := slices.DeleteFunc(t.waiting(), func(q apply.Quarantined) bool {
			return q.Author != t.who || q.Mutation.Op != wire.OpPatch || slices.ContainsFunc(apply.InBundle(t.reader(), q.Bundle()), func(x apply.Quarantined) bool {
				return x.Client != hiddenClient
			})
		})
		if len(waits) > 0 {
			t.count("hidden work replayed")
			return t.clear(pick(t.rng, waits), "emp-keeper")
		}
		return request{cmd: &command.Command{Tick: &command.Tick{}}, what: said("hidden: tick")}
	case 14:
		return write(&command.Write{Op: "create", Type: "delegation", Fields: t.delegation(other(), other())})
	case 15:
		return write(&command.Write{Op: "create", Type: "tag", Fields: obj("name", text, "visibility", "private", "owner", other())})
	case 16:
		return write(&command.Write{Op: "create", Type: "filter", Fields: obj("name", text, "visibility", "private", "owner", other(), "app", "crm", "entityType", "client")})
	case 0:
		return write(&command.Write{Op: "patch", Type: "client", ID: hiddenClient, Fields: obj("name", text, "accessNotes", text)})
	case 1:
		return write(&command.Write{Op: "create", Type: "job", Fields: obj("client", hiddenClient, "title", text, "site", "site-"+hiddenClient)})
	case 2:
		return write(&command.Write{Op: "create", Type: "jobActivity", Fields: obj("job", of("job"), "title", text, "assignee", other())})
	case 3:
		return write(&command.Write{Op: "create", Type: "ticket", Fields: obj("client", hiddenClient, "subject", text, "requester", other())})
	case 4:
		// Fields of apps that the watched person has no part in.
		fields := obj("billingNotes", text, "debtorNotes", text, "paymentTermDays", t.rng.IntN(90))
		if t.theme.name == "money" {
			fields = obj("accountNotes", text, "deliveryNotes", text)
		}
		return write(&command.Write{Op: "patch", Type: "client", ID: maskedClient, Fields: fields})
	case 5:
		return write(&command.Write{Op: "patch", Type: "client", ID: maskedClient, Fields: obj("accessNotes", text)})
	case 6:
		return write(&command.Write{Op: "create", Type: "preference", Fields: obj("owner", other(), "key", text)})
	case 7:
		typ := pick(t.rng, []string{"asset", "contact", "ticket", "jobActivity", "job", "comment", "document"})
		return write(&command.Write{Op: "delete", Type: typ, ID: of(typ)})
	case 8:
		return write(&command.Write{Op: "action", Type: "client", ID: hiddenClient, Action: "set-area", Args: obj("salesArea", pick(t.rng, []string{"area-north", "area-south"}))})
	case 9:
		return write(&command.Write{Op: "create", Type: "roleAssignment", Fields: obj("employee", "emp-newbie", "role", "level.basic")})
	case 10:
		return write(&command.Write{Op: "action", Type: "jobActivity", ID: of("jobActivity"), Action: pick(t.rng, []string{"cancel", "accept", "unassign", "reopen"})})
	case 11:
		rows := []command.Row{row("notification", fmt.Sprintf("hidden-note-%d-%d-%d", t.step, t.serial, t.variant), "recipient", t.who, "about", hiddenClient, "text", text)}
		return request{cmd: &command.Command{Import: &command.Import{Rows: rows}}, what: said("hidden: a notification about the hidden client")}
	case 12:
		who := other()
		h := fmt.Sprintf("%d/%d/%d", t.step, t.serial, t.variant)
		return request{cmd: &command.Command{Login: &command.Login{
			Employee: who, Credential: apply.CredentialDigest(password), Session: ident.SessionID("hidden-" + h), Prefix: ident.NewPrefix([5]byte([]byte(h + "....."))),
			Device: &command.Device{Installation: h, Incarnation: h},
		}}, what: said("hidden: somebody signs in")}
	default:
		return request{cmd: &command.Command{Tick: &command.Tick{}}, what: said("hidden: tick")}
	}
}

// secretBusiness changes what the theme has of the hidden client; ok is false
// where the theme has nothing.
func (t *twin) secretBusiness(text string, write func(*command.Write) request, of func(string) ident.RecordID) (request, bool) {
	one := []map[string]any{{"id": "l0", "product": "prod-pump", "quantity": 1}}
	sum := map[string]any{"amount": 1 + t.rng.IntN(50), "currency": "EUR"}
	others := pick(t.rng, slices.DeleteFunc(slices.Clone(t.theme.workers), func(id ident.RecordID) bool { return id == t.who }))
	type kind struct {
		create  command.Object
		change  string // a text field
		actions []string
	}
	var kinds map[string]kind
	switch t.theme.name {
	case "selling":
		camp := pick(t.rng, []string{"camp-0001", "camp-0002", "camp-0003"})
		kinds = map[string]kind{
			"task":           {obj("client", hiddenClient, "title", text, "assignee", others), "notes", []string{"complete", "reopen", "bulk-delete"}},
			"opportunity":    {obj("client", hiddenClient, "name", text, "owner", others, "campaign", camp), "notes", []string{"win", "lose", "reopen"}},
			"activity":       {obj("client", hiddenClient, "subject", text, "kind", "call", "owner", others, "campaign", camp), "notes", nil},
			"campaignMember": {obj("client", hiddenClient, "campaign", camp), "notes", nil},
			"tagging":        {obj("parent", hiddenClient, "tag", "tag-publ1"), "", nil},
			"comment":        {obj("parent", "opp-"+hiddenClient, "text", text), "text", nil},
		}
	case "stock":
		kinds = map[string]kind{
			"salesOrder": {obj("client", hiddenClient, "number", text, "warehouse", "ware-main1", "lines", one), "notes", []string{"cancel"}},
			"partOrder":  {obj("client", hiddenClient, "product", "prod-pump", "quantity", 1), "notes", []string{"order", "cancel"}},
			"comment":    {obj("parent", "salo-"+hiddenClient, "text", text), "text", nil},
			"document":   {obj("parent", "salo-"+hiddenClient, "name", text), "name", nil},
		}
	case "money":
		kinds = map[string]kind{
			"invoice":        {obj("client", hiddenClient, "number", text, "lines", t.priced()), "remarks", []string{"approve", "send", "void"}},
			"contract":       {obj("client", hiddenClient, "number", text, "title", text, "kind", "other", "interval", "monthly", "starts", t.day(-9), "lines", t.priced()), "notes", []string{"activate", "expire"}},
			"payment":        {obj("client", hiddenClient, "received", t.day(0), "amount", sum), "notes", []string{"allocate", "reverse"}},
			"creditNote":     {obj("client", hiddenClient, "number", text, "invoice", "invo-"+hiddenClient, "lines", t.priced()), "reason", []string{"approve"}},
			"collectionNote": {obj("client", hiddenClient, "text", text), "text", nil},
			"statement":      {obj("client", hiddenClient, "from", t.day(-9), "to", t.day(0), "currency", "EUR"), "", nil},
		}
	case "agents":
		kinds = map[string]kind{
			"accrual":           {obj("client", hiddenClient, "agent", "agnt-0002", "basis", "other", "amount", sum, "text", text), "text", []string{"cancel"}},
			"accountAssignment": {obj("client", hiddenClient, "agent", "agnt-0001", "from", t.day(-2)), "", nil},
		}
	default:
		return request{}, false
	}
	typ := pick(t.rng, sortedKeys(kinds))
	k := kinds[typ]
	id := of(typ)
	switch n := t.rng.IntN(10); {
	case n < 4:
		return write(&command.Write{Op: "create", Type: typ, Fields: k.create}), true
	case n < 6 && k.change != "":
		return write(&command.Write{Op: "patch", Type: typ, ID: id, Fields: obj(k.change, text)}), true
	case n < 9 && k.actions != nil:
		w := &command.Write{Op: "action", Type: typ, ID: id, Action: pick(t.rng, k.actions)}
		if w.Action == "allocate" {
			w.Args = obj("invoice", "invo-"+hiddenClient, "sum", sum)
		}
		return write(w), true
	}
	return write(&command.Write{Op: "delete", Type: typ, ID: id}), true
}

// visible does what is the same in both worlds.
func (t *twin) visible() {
	if !t.chance(70) {
		return
	}
	write := func(w *command.Write) {
		t.submit("", request{cmd: &command.Command{Write: w}, what: said("both: %s %s/%s %s", w.Op, w.Type, w.ID, w.Action)})
	}
	one := func(types ...string) *oracle.Record {
		var rs []*oracle.Record
		types = slices.Concat(types, business[t.theme.name])
		for _, typ := range types {
			for _, r := range t.known[typ] {
				if r.Text("clientId") != hiddenClient {
					rs = append(rs, r)
				}
			}
		}
		return pick(t.rng, rs)
	}
	switch t.rng.IntN(12) {
	case 0, 1, 2:
		r := one("jobActivity", "ticket")
		if len(r.Type.Actions) == 0 {
			return
		}
		a := pick(t.rng, r.Type.Actions)
		write(&command.Write{Op: "action", Type: r.Type.Name, ID: r.ID, Action: a.Name, Args: t.args(a)})
	case 3, 4, 5:
		// A field that everything has which people write on.
		r := one("client", "job", "jobActivity", "ticket", "site", "contact", "asset", "product", "document", "comment")
		write(&command.Write{Op: "patch", Type: r.Type.Name, ID: r.ID, Fields: obj(cmp.Or(map[string]string{
			"client": "city", "job": "title", "jobActivity": "note", "ticket": "subject", "site": "name", "contact": "name",
			"asset": "notes", "product": "description", "document": "name", "comment": "text",
			"campaign": "description", "invoice": "remarks", "collectionNote": "text", "creditNote": "reason", "accrual": "text",
			"billingRun": "name",
		}[r.Type.Name], "notes"), t.unique())})
	case 6:
		write(&command.Write{Op: "create", Type: "jobActivity", Fields: obj("job", pick(t.rng, []string{"job-0000", "job-0001", "job-0002"}), "title", t.unique(), "assignee", t.who)})
	case 7:
		write(&command.Write{Op: "create", Type: "ticketUpdate", Fields: obj("ticket", "ticket-0", "visibility", pick(t.rng, []string{"public", "internal"}), "kind", "note", "text", t.unique())})
	case 8: // another client is hidden, or comes back
		rule := ident.RecordID("rule-client-bb")
		if _, there := t.world.Record(rule); there {
			write(&command.Write{Op: "delete", Type: "visibilityRule", ID: rule})
		} else if !t.only {
			// By import, which takes the id.
			rows := []command.Row{row("visibilityRule", fmt.Sprintf("rule-bb-%d", t.step), "visibility", "vis-watched", "client", "client-bb")}
			t.submit("", request{cmd: &command.Command{Import: &command.Import{Rows: rows}}, what: said("both: client-bb hidden")})
		}
	case 9:
		o := obj("employee", t.who, "role", pick(t.rng, temporary[t.theme.name]))
		o["until"] = obj("v", (t.now + ident.Millis(t.rng.IntN(600_000)+1)).RFC3339())["v"]
		write(&command.Write{Op: "create", Type: "roleAssignment", Fields: o})
	case 10:
		write(&command.Write{Op: "create", Type: "individualPermission", Fields: obj("employee", t.who, "effect", "denial", "verb", "view",
			"entityType", pick(t.rng, []string{"ticket", "job", "contact"}), "field", pick(t.rng, []string{"due", "description", "notes"}),
			"until", (t.now + ident.Millis(t.rng.IntN(600_000)+1)).RFC3339())})
	default:
		write(&command.Write{Op: "action", Type: "client", ID: "client-cc", Action: "set-area", Args: obj("salesArea", pick(t.rng, []string{"area-north", "area-south", "area-westx"}))})
	}
}

// business are the types of each theme that are changed in both worlds, beside
// those of Service.
var business = map[string][]string{
	"selling": {"task", "opportunity", "activity", "campaign", "campaignMember"},
	"stock":   {"salesOrder", "partOrder", "purchaseOrder", "transfer", "count"},
	"money":   {"invoice", "contract", "creditNote", "payment", "collectionNote", "billingRun"},
	"agents":  {"accrual", "agent", "agentInvoice"},
}

// temporary are the roles that watched people get for a while: of the theme's
// apps, so that what lies beyond those stays out of sight.
var temporary = map[string][]string{
	"service": {"service.guest", "level.basic", "service.guest-agent", "mobile.service-agent-user"},
	"selling": {"crm.guest", "level.basic", "sales.guest", "crm.representative", "sales.operations"},
	"stock":   {"stock.guest", "level.basic", "stock.sales-representative", "stock.warehouse-operations"},
	"money":   {"billing.guest", "level.basic", "billing.sales-representative"},
	"agents":  {"level.basic", "agents.accounting-administrator"},
}

// watch lets the watched person do something, at times in one entry with what
// they can't see.
func (t *twin) watch() {
	p := pick(t.rng, t.phones)
	var r request
	switch {
	case p.session == "":
		r = p.login()
	case p.expired || t.now >= p.access || t.chance(5):
		r = p.refreshing()
	case t.chance(50):
		r = p.pull()
	case t.chance(60):
		p.work()
		if p.prefix != "" && t.chance(30) { // what they had typed before the client was hidden
			typ := pick(t.rng, []string{"jobActivity", "client", "job", "contact"})
			hidden := slices.DeleteFunc(slices.Clone(t.known[typ]), func(r *oracle.Record) bool { return r.Text("clientId") != hiddenClient })
			if len(hidden) > 0 {
				rec := pick(t.rng, hidden)
				p.number(command.Mutation{Op: wire.OpPatch, Type: typ, ID: rec.ID, Fields: t.patchOf(rec.Type), Was: command.Object{}})
			}
		}
		r = p.push()
	case t.chance(20):
		r = t.bulk(t.who)
	default:
		r = t.change(t.who)
	}
	reqs := []request{r}
	if t.variant == 1 && t.step%3 == 0 {
		rng, serial := t.rng, t.serial
		t.rng = rand.New(rand.NewPCG(uint64(t.seed)<<8|77, uint64(t.step)))
		s := t.secret()
		s.cmd.Seed = fmt.Appendf(nil, "beside/%d", t.step)
		t.rng, t.serial = rng, serial
		reqs = append(reqs, s)
	}
	t.submit("", reqs...)
}
