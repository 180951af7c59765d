// Package bench measures a server as its users meet it: it prepares a tenant,
// starts the server as a process of its own, and is every one of its clients,
// over HTTP and WebSockets on loopback. Commits are durable and permission
// checks are on, as always; there is no path through the server that only a
// benchmark takes. DESIGN.md says what each work does and how it is timed.
//
// cmd/satchel imports it; nothing else may.
package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"satchel/internal/bench/shaper"
	"satchel/internal/ident"
	"satchel/sync/tenant"
)

// Config says what is measured and how.
type Config struct {
	// Works names what is to be measured, as in Works; empty for all.
	Works []string
	// Runs is how often each work is done.
	Runs int
	// Records is how many assets the tenant has: ten of them public, the
	// others divided evenly among as many sales areas as there are users.
	Records int
	// Users is how many people look at them, an even number; user u sees the
	// public ones and those of area u/2.
	Users int
	// WriteTime is how long one run of B writes.
	WriteTime time.Duration
	// Large is how many assets the tenants of start1M, whatif, areas and everything have, and
	// how many jobs the largest of lists.
	Large int
	// Sockets is how many devices soak and storm have, SoakTime how long a soak
	// lasts and SoakRate how many records a second it changes.
	Sockets  int
	SoakTime time.Duration
	SoakRate int
	// Link is the bad link of link.
	Link shaper.Link
	// Growth says how far growth goes, and Charts is the folder that it draws in,
	// "" for none.
	Growth Growth
	Charts string
	// Tenants is how many tenants the folder of tenants has.
	Tenants int
	// Peer is the command line of an adapter to another server, empty to measure
	// this one, and PeerWait how long it may take to answer a request. DESIGN.md
	// says how it is spoken with.
	Peer     []string
	PeerWait time.Duration
	// Folder is where the data folders are made.
	Folder string
	// Serve is the command line that serves a data folder; the flags --data,
	// --listen and --admin-listen are put behind it.
	Serve []string
	// Open opens a data folder, a new one where it is empty; closing it leaves it
	// to a server.
	Open func(dir string) (DataFolder, error)
	// Report receives each figure as soon as it is known.
	Report func(Line)
	// Progress receives a line a step, nil for none.
	Progress func(string)
	// Log takes what the server writes to its standard error.
	Log io.Writer
}

// DataFolder is where tenants are made; *app.Tenants is one.
type DataFolder interface {
	// Create makes a tenant that is not there, Tenant opens one that is.
	Create(id ident.TenantID) (*tenant.Tenant, error)
	Tenant(id ident.TenantID) (*tenant.Tenant, error)
	// Path is where the file of a tenant lies.
	Path(id ident.TenantID) string
	Close() error
}

// Line is one figure. Value is the median, of the runs or of the single
// events, P50 and P99 are those of the single events where there are such.
type Line struct {
	Name  string  `json:"name"`
	Unit  string  `json:"unit"`
	Value float64 `json:"value"`
	P50   float64 `json:"p50"`
	P99   float64 `json:"p99"`
	// Runs counts what the figure is made of: runs, or single events.
	Runs int `json:"runs"`
	// Unsupported is why there is no figure: a peer can't do that. "" otherwise.
	Unsupported string `json:"-"`
}

// work is one thing to measure.
type work struct {
	name string
	does string
	run  func(*bench, context.Context) error
	// served: it needs the tenant and a running server.
	served bool
	// anywhere: it says nothing that only this server can do.
	anywhere bool
}

var works = []work{
	{"parts", "what the disk, the store and loopback HTTP give by themselves", (*bench).partsOf, true, false},
	{"start", "from the start of the process to the first answers", (*bench).start, true, false},
	{"startdemo", "start and memory with the demo tenant", (*bench).startDemo, false, false},
	{"A1", "first sync of one user's records by a fresh device", (*bench).firstSync, true, true},
	{"A2", "first sync of everything by a fresh device", (*bench).fullSync, true, true},
	{"B16", "durable updates from 16 writers", func(b *bench, ctx context.Context) error { return b.writes(ctx, 16) }, true, true},
	{"B64", "durable updates from 64 writers", func(b *bench, ctx context.Context) error { return b.writes(ctx, 64) }, true, true},
	{"C10", "a write that 10 of 500 live clients may see", (*bench).someSee, true, true},
	{"C500", "a write that all 500 live clients see", (*bench).allSee, true, true},
	{"D1000", "the right to 1,000 records taken", (*bench).revoked, true, true},
	{"R1000", "the right to 1,000 records given back", (*bench).restored, true, true},
	{"D1", "one record leaves the view", (*bench).left, true, true},
	{"E", "memory of an idle live client", (*bench).idle, true, true},
	{"start1M", "start and memory with 1,000,000 records", (*bench).startLarge, false, false},
	{"lists", "list pages of 50 with 10,000, 100,000 and 1,000,000 records", (*bench).lists, false, false},
	{"explain", "why somebody may or may not do something to a record", (*bench).explains, true, false},
	{"whatif", "a change of a role that 100 people hold over 1,000,000 records, tried", (*bench).whatIfs, false, false},
	{"areas", "the right to an area of 100,000 records taken and given back", (*bench).areaRights, false, false},
	{"everything", "the right to 1,000,000 records taken and given back", (*bench).allRights, false, false},
	{"link", "a phone's first sync, day and live changes over a bad link", (*bench).badLink, false, false},
	{"growth", "what grows with records, people and areas", (*bench).growth, false, false},
	{"tenants", "start and first answers with 1,000 small tenants in one folder", (*bench).tenants, false, false},
	{"storm", "10,000 devices come back at once after a restart", (*bench).storm, false, false},
	{"soak", "10,000 live devices under a stream of changes", (*bench).soak, false, false},
}

// Work is a work's name and what it does. A large one makes a tenant of its own
// of as many records as Config.Large says; one for anywhere can be done with a
// peer.
type Work struct {
	Name, Does      string
	Large, Anywhere bool
}

// Works lists what can be measured, in the order it is done in.
func Works() []Work {
	out := make([]Work, len(works))
	for i, w := range works {
		out[i] = Work{w.name, w.does, !w.served, w.anywhere}
	}
	return out
}

// Check reports what is wrong with the configuration.
func (c *Config) Check() error {
	for _, n := range c.Works {
		i := slices.IndexFunc(works, func(w work) bool { return w.name == n })
		if i < 0 {
			return fmt.Errorf("there is no work %q", n)
		}
		if len(c.Peer) > 0 && !works[i].anywhere {
			return fmt.Errorf("%s measures what only this server does, so not a peer", n)
		}
	}
	switch {
	case len(c.Peer) > 0 && c.PeerWait <= 0:
		return errors.New("the time that a peer's adapter has to answer must be positive")
	case c.Runs < 1:
		return errors.New("there must be one run at least")
	case c.Users < 2 || c.Users%2 != 0:
		return errors.New("the users must be an even number")
	case c.Records < c.Users || c.Large < c.Users:
		return errors.New("there must be a record for each user at least")
	case c.WriteTime <= 0:
		return errors.New("the time to write must be positive")
	case c.Sockets < 2*devicesPerUser:
		return fmt.Errorf("the sockets must be %d at least", 2*devicesPerUser)
	case c.SoakTime <= 0 || c.SoakRate <= 0:
		return errors.New("the time and the rate of a soak must be positive")
	case c.Tenants < 1:
		return errors.New("there must be one tenant at least")
	}
	return errors.Join(c.Link.Check(), c.Growth.check())
}

// bench is a run of the benchmark.
type bench struct {
	Config
	dir    string
	peer   peer
	world  *world
	server *process
	http   *client
	live   []*live // of C, D and R, connected when first needed
	last   *event  // that these were in
	fresh  int     // devices used up by A1
	full   int     // devices used up by A2
	taken  int     // users that D1000 and R1000 have done

	large  *bench     // of whatif, areas and everything, once it was needed
	desk   []*account // of large: the role's holders
	filled bool       // of large: their devices have pulled

	multitude *bench // of storm and soak, once it was needed
	devices   []*device
}

// Run measures. It stops the server it started, whatever happens.
func Run(ctx context.Context, cfg Config) (err error) {
	if err := cfg.Check(); err != nil {
		return err
	}
	b := &bench{Config: cfg, dir: filepath.Join(cfg.Folder, "data")}
	defer func() { err = apart(err, b.end()) }()
	for _, w := range cfg.todo() {
		if w.served && b.world == nil {
			if err := b.prepare(ctx); err != nil {
				return fmt.Errorf("preparing: %w", err)
			}
		}
		b.say("%s: %s", w.name, w.does)
		if err := b.do(ctx, w); err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// todo are the works that were asked for, in their order.
func (c *Config) todo() (out []work) {
	for _, w := range works {
		asked := slices.Contains(c.Works, w.name)
		if len(c.Works) == 0 {
			asked = w.anywhere || len(c.Peer) == 0
		}
		if asked {
			out = append(out, w)
		}
	}
	return out
}

// do measures one work, or says that the peer can't do it.
func (b *bench) do(ctx context.Context, w work) error {
	if w.served {
		if why, cannot := b.peer.traits().cannot[w.name]; cannot {
			b.missing(w.name, why)
			return nil
		}
	}
	err := w.run(b, ctx)
	if why, yes := unsupported(err); yes {
		b.missing(w.name, why)
		return nil
	}
	return err
}

// prepare fills the server with the tenant and starts it.
func (b *bench) prepare(ctx context.Context) error {
	if b.peer = (satchel{b}); len(b.Peer) > 0 {
		a, err := startAdapter(ctx, b.Config)
		if err != nil {
			return err
		}
		b.peer = a
		b.say("the peer is %s", a.name)
	}
	if err := b.pipe(ctx); err != nil {
		return err
	}
	b.say("load: %d records", b.Records)
	w, took, err := b.peer.load(ctx, b.shape(b.Records))
	if err != nil {
		return err
	}
	b.world = w
	b.one("load", "records/s", float64(b.Records)/took.Seconds())
	return nil
}

// shape is that of a tenant for the works, with devices for each of their runs.
func (b *bench) shape(records int) shape {
	return shape{records: records, users: b.Users, devices: devicesPerUser, fresh: 3 * b.Runs, all: b.Runs}
}

// build makes a data folder with a tenant in it.
func (b *bench) build(ctx context.Context, dir string, records int) (*world, time.Duration, error) {
	return b.buildAs(ctx, dir, b.shape(records))
}

func (b *bench) buildAs(ctx context.Context, dir string, s shape) (*world, time.Duration, error) {
	t, closing, err := b.create(dir)
	if err != nil {
		return nil, 0, err
	}
	w, took, err := build(ctx, t, s)
	return w, took, errors.Join(err, closing())
}

// create makes a data folder with an empty tenant.
func (b *bench) create(dir string) (t *tenant.Tenant, closing func() error, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, err
	}
	folder, err := b.Open(dir)
	if err != nil {
		return nil, nil, err
	}
	if t, err = folder.Create(slug); err != nil {
		return nil, nil, errors.Join(err, folder.Close())
	}
	return t, folder.Close, nil
}

// restart starts the server anew; every live client is gone then.
func (b *bench) restart(ctx context.Context) error {
	if err := b.stop(); err != nil {
		return err
	}
	p, err := start(ctx, b.Serve, b.dir, b.Log)
	if err != nil {
		return err
	}
	b.server, b.http = p, newClient(p.address)
	return nil
}

func (b *bench) stop() error {
	// Clients of this server have nothing to fail with.
	_ = b.disconnect(context.Background())
	if b.server == nil {
		return nil
	}
	err := b.server.stop()
	b.server = nil
	return err
}

// end stops every server.
func (b *bench) end() (err error) {
	if b.peer != nil {
		err = b.peer.close()
	}
	for _, other := range []*bench{b.large, b.multitude} {
		if other != nil {
			err = errors.Join(err, other.stop())
		}
	}
	return err
}

func (b *bench) say(format string, args ...any) {
	if b.Progress != nil {
		b.Progress(fmt.Sprintf(format, args...))
	}
}

// one reports a figure that was measured once.
func (b *bench) one(name, unit string, v float64) {
	b.Report(Line{Name: name, Unit: unit, Value: v, P50: v, P99: v, Runs: 1})
}

// many reports a figure that is the median of what was measured.
func (b *bench) many(name, unit string, vs []float64) { b.Report(line(name, unit, vs)) }

func line(name, unit string, vs []float64) Line {
	vs = slices.Sorted(slices.Values(vs))
	m := quantile(vs, 0.5)
	return Line{Name: name, Unit: unit, Value: m, P50: m, P99: quantile(vs, 0.99), Runs: len(vs)}
}

// quantile returns the smallest of the sorted values that at least the share
// q of them does not exceed.
func quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	i := int(q*float64(len(sorted))+0.999999) - 1
	return sorted[min(max(i, 0), len(sorted)-1)]
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
