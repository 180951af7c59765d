package bench

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"satchel/internal/command"
	"satchel/internal/ident"
	"satchel/server/session/password"
	"satchel/sync/tenant"
)

// Shape of the tenants of lists: jobs of clients in sales areas, of which one
// person has two.
const (
	listAreas   = 100
	listOwn     = 2
	listClients = 10 // per area
	listPage    = 50
)

// listed is one list that is asked for.
type listed struct {
	name, query string
	// pages is how far one leafs before what is timed.
	pages int
}

// rareWord is in one job, commonWord in a sixth of them.
const (
	rareWord   = "J-000777"
	commonWord = "compressor"
)

var listsAsked = []listed{
	{"plain", "", 0},
	{"sort", "sort=-title", 0},
	{"filter", "sort=title&filter=" + url.QueryEscape("priority eq high and due ge 2026-02-01 and due lt 2026-03-01"), 0},
	{"rare", "sort=title&q=" + rareWord, 0},
	{"common", "sort=-due&q=" + commonWord, 0},
	{"nothing", "sort=title&q=nowhere+to+be+found", 0},
	{"contains", "sort=number&filter=" + url.QueryEscape("title contains 'no. 99'"), 0},
	{"two", "sort=" + url.QueryEscape("-priority,due"), 0},
	{"recent", "sort=-updatedAt", 0},
	{"deep", "sort=title", 40},
}

// lists measures list pages with more and more records. Each list is asked for
// once before, which builds what it takes, and that is a figure of its own.
func (b *bench) lists(ctx context.Context) error {
	sizes := []int{10_000, 100_000, b.Large}
	slices.Sort(sizes)
	for _, n := range slices.Compact(sizes) {
		if n > b.Large {
			break
		}
		one := &bench{Config: b.Config, dir: filepath.Join(b.Folder, fmt.Sprintf("lists%d", n))}
		if err := one.listsOf(ctx, n); err != nil {
			return errors.Join(fmt.Errorf("%d records: %w", n, err), one.stop())
		}
		if err := one.stop(); err != nil {
			return err
		}
	}
	return nil
}

// short renders a number of records.
func short(n int) string {
	switch {
	case n%1_000_000 == 0:
		return fmt.Sprintf("%dM", n/1_000_000)
	case n%1000 == 0:
		return fmt.Sprintf("%dk", n/1000)
	}
	return fmt.Sprint(n)
}

func (b *bench) listsOf(ctx context.Context, n int) error {
	b.say("lists: building %d records", n)
	began := time.Now()
	if err := b.buildLists(ctx, n); err != nil {
		return err
	}
	prefix := "lists" + short(n)
	b.one(prefix+".load", "s", time.Since(began).Seconds())
	if err := b.restart(ctx); err != nil {
		return err
	}
	before, err := b.server.memory(ctx)
	if err != nil {
		return err
	}
	for _, who := range []struct {
		name    string
		account *account
	}{{"admin", b.world.admin}, {"person", b.world.phones[0][0]}} {
		for _, l := range listsAsked {
			b.say("%s: %s by %s", prefix, l.name, who.name)
			if err := b.timeList(ctx, prefix+"."+who.name+"."+l.name, who.account, l); err != nil {
				return fmt.Errorf("%s: %w", l.name, err)
			}
		}
	}
	after, err := b.server.memory(ctx)
	if err != nil {
		return err
	}
	figures, err := get(ctx, b.server.admin+"/metrics")
	if err != nil {
		return err
	}
	b.one(prefix+".columns", "MB", metric(figures, "satchel_columns_bytes")/1e6)
	b.one(prefix+".building", "s", metric(figures, "satchel_columns_building_seconds_total"))
	b.one(prefix+".inuse", "MB", (after.inUse-before.inUse)/1e6)
	if wrong := metric(figures, "satchel_columns_mistaken_total"); wrong > 0 {
		return fmt.Errorf("columns were wrong %v times", wrong)
	}
	return nil
}

// timeList reports how long the first page of the kind takes, how long it
// takes from then on, and how long with a write before each.
func (b *bench) timeList(ctx context.Context, name string, a *account, l listed) error {
	path := fmt.Sprintf("/v1/service/jobs?limit=%d&%s", listPage, l.query)
	ask := func(path string) (took time.Duration, next string, err error) {
		access, err := b.http.token(a)
		if err != nil {
			return 0, "", err
		}
		began := time.Now()
		err = b.http.send(http.MethodGet, path, access, nil, func(body []byte) error {
			took = time.Since(began)
			var p struct {
				Next string `json:"next"`
			}
			err := json.Unmarshal(body, &p)
			next = p.Next
			return err
		})
		return took, next, err
	}
	first, next, err := ask(path)
	if err != nil {
		return err
	}
	b.one(name+".first", "ms", ms(first))
	for range l.pages {
		path = fmt.Sprintf("/v1/service/jobs?limit=%d&%s&cursor=%s", listPage, l.query, url.QueryEscape(next))
		if _, next, err = ask(path); err != nil {
			return err
		}
		if next == "" {
			break // the person has fewer
		}
	}
	var quiet, written []float64
	for i := range 10 * b.Runs {
		if err := ctx.Err(); err != nil {
			return err
		}
		took, _, err := ask(path)
		if err != nil {
			return err
		}
		quiet = append(quiet, ms(took))
		if err := b.writeJob(i); err != nil {
			return err
		}
		if took, _, err = ask(path); err != nil {
			return err
		}
		written = append(written, ms(took))
	}
	b.many(name, "ms", quiet)
	b.many(name+".written", "ms", written)
	return nil
}

// writeJob changes a job.
func (b *bench) writeJob(i int) error {
	access, err := b.http.token(b.world.writers[0])
	if err != nil {
		return err
	}
	body := fmt.Appendf(nil, `{"description":"Changed %d"}`, time.Now().UnixNano())
	return b.http.send(http.MethodPatch, "/v1/service/jobs/"+string(key("job %d", i*37)), access, body, nil)
}

// buildLists makes the tenant.
func (b *bench) buildLists(ctx context.Context, n int) (err error) {
	t, closing, err := b.openIn()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closing()) }()
	hasher, err := password.New(password.Default, 0)
	if err != nil {
		return err
	}
	hash, err := hasher.Hash(ctx, rand.Text())
	if err != nil {
		return err
	}
	setup := &command.Setup{Name: "Ada Admin", Email: "admin@example.com", Employee: adminID(), Hash: hash, Secret: make([]byte, 32)}
	t.Random(setup.Secret)
	if _, err := t.Submit(ctx, &command.Command{Setup: setup}); err != nil {
		return err
	}
	l := &loader{ctx: ctx, t: t, room: make(chan struct{}, 16)}
	var own []string
	for a := range listAreas {
		id := key("area %d", a)
		l.add(row("salesArea", id, "name", fmt.Sprintf("Area %d", a)))
		if a < listOwn {
			own = append(own, `"`+string(id)+`"`)
		}
	}
	if err := l.flush(); err != nil {
		return err
	}
	for c := range listAreas * listClients {
		l.add(row("client", key("client %d", c), "name", fmt.Sprintf("Customer %d", c), "salesArea", string(key("area %d", c%listAreas))))
	}
	if err := l.flush(); err != nil {
		return err
	}
	for j := range n {
		l.add(jobRow(j, n))
	}
	if err := l.flush(); err != nil {
		return err
	}
	w := &world{shape: shape{devices: devicesPerUser}, people: []ident.RecordID{key("person")}, hash: hash}
	for _, p := range []struct{ id, name, role, areas string }{
		{string(adminID()), "", "service.administrator", ""},
		{string(managerID()), "Max Manager", "service.manager", "[]"},
		{string(w.people[0]), "Pat Person", "service.sales-representative", "[" + strings.Join(own, ",") + "]"},
	} {
		id := ident.RecordID(p.id)
		if p.name != "" {
			l.add(row("employee", id, "name", p.name, "email", strings.ToLower(p.name[:3])+"@example.com", "kind", "in-house", "status", "Active", "salesAreas", p.areas))
		}
		l.add(row("roleAssignment", key("role of %s", id), "employee", string(id), "role", p.role))
	}
	if err := l.flush(); err != nil {
		return err
	}
	for _, id := range []ident.RecordID{managerID(), w.people[0]} {
		l.submit(&command.Command{Secret: &command.Secret{Employee: id, Hash: hash}})
	}
	if err := l.flush(); err != nil {
		return err
	}
	b.world = w
	return w.signIns(l)
}

// openIn opens the tenant of the bench's folder.
func (b *bench) openIn() (*tenant.Tenant, func() error, error) {
	return b.create(b.dir)
}

var (
	listKinds      = []string{"repair", "maintenance", "installation", "inspection", "other"}
	listPriorities = []string{"low", "normal", "high", "urgent"}
	listMakes      = []string{"Rollfix 200", "Hydra lift", "Cold store 4", "Heat pump M", "Gate drive", "Compressor 7"}
)

// jobRow is job j of n: its client, title and times in no relation to the
// order in which jobs come.
func jobRow(j, n int) command.Row {
	mixed := j * 7919 % n
	due := time.Date(2026, 1, 1, 8, 0, 0, 0, time.UTC).Add(time.Duration(mixed%(365*24)) * time.Hour)
	return row("job", key("job %d", j),
		"client", string(key("client %d", mixed%(listAreas*listClients))),
		"title", fmt.Sprintf("Mend %s no. %d", listMakes[mixed%len(listMakes)], mixed),
		"number", fmt.Sprintf("J-%06d", j),
		"kind", listKinds[j%len(listKinds)],
		"priority", listPriorities[mixed/7%len(listPriorities)],
		"due", due.Format(time.RFC3339),
		"description", noteOf(j)+". It stopped without a warning; whoever comes should bring the usual set of seals.")
}
