package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"satchel/internal/bench/chart"
	"satchel/internal/ident"
)

// Growth says how far growth goes. Each of the three lists is gone through with
// the other two at the middle.
type Growth struct {
	Records, Users, Areas []int
	// Middle is what stays constant while something else grows.
	Middle Size
	// Share is how many records the measured person may see, however many there
	// are: they lie in an area of their own.
	Share int
}

// Size is a tenant's.
type Size struct {
	Records int `json:"records"`
	Users   int `json:"users"`
	Areas   int `json:"areas"`
}

// DefaultGrowth goes as far as can be measured in some minutes.
func DefaultGrowth() Growth {
	return Growth{
		Records: []int{10_000, 100_000, 1_000_000},
		Users:   []int{10, 100, 1_000},
		Areas:   []int{1, 10, 100, 1_000},
		Middle:  Size{Records: 100_000, Users: 100, Areas: 100},
		Share:   1_000,
	}
}

// changes are how many changes a delta pull has to bring; deltas is how many
// such pulls a run makes, and moves how often it takes the right to the share and
// gives it back, each being over soon.
var changes = []int{1, 10, 100}

const deltas, moves = 10, 10

func (g *Growth) check() error {
	if g.Share < slices.Max(changes) {
		return fmt.Errorf("the share must be %d records at least", slices.Max(changes))
	}
	for _, s := range g.sizes() {
		if s.Users < 2 || s.Areas < 1 || s.Records < publicAssets+g.Share+s.Areas {
			return fmt.Errorf("%d records can't be for %d people and in %d areas beside a share of %d", s.Records, s.Users, s.Areas, g.Share)
		}
	}
	return nil
}

// axis is one of the lists: what grows, from size to size.
type axis struct {
	name  string
	sizes []Size
	at    func(Size) int
}

func (g *Growth) axes() []axis {
	records, users, areas := make([]Size, 0, len(g.Records)), make([]Size, 0, len(g.Users)), make([]Size, 0, len(g.Areas))
	for _, n := range sortedUnique(g.Records) {
		records = append(records, Size{n, g.Middle.Users, g.Middle.Areas})
	}
	for _, n := range sortedUnique(g.Users) {
		users = append(users, Size{g.Middle.Records, n, g.Middle.Areas})
	}
	for _, n := range sortedUnique(g.Areas) {
		areas = append(areas, Size{g.Middle.Records, g.Middle.Users, n})
	}
	return []axis{
		{"records", records, func(s Size) int { return s.Records }},
		{"users", users, func(s Size) int { return s.Users }},
		{"areas", areas, func(s Size) int { return s.Areas }},
	}
}

func sortedUnique(list []int) []int { return slices.Compact(slices.Sorted(slices.Values(list))) }

func (g *Growth) sizes() (out []Size) {
	for _, a := range g.axes() {
		for _, s := range a.sizes {
			if !slices.Contains(out, s) {
				out = append(out, s)
			}
		}
	}
	return out
}

// grown is a figure at a size, as it stands in growth.json.
type grown struct {
	Axis string `json:"axis"`
	At   int    `json:"at"`
	Size
	Line
}

// growth measures the same works at every size, reports them, and draws what
// they do. A size that stands on several axes is measured once.
func (b *bench) growth(ctx context.Context) error {
	if b.Charts != "" { // found out before, not after, the minutes of measuring
		if err := os.MkdirAll(b.Charts, 0o750); err != nil {
			return err
		}
	}
	measured := map[Size][]Line{}
	var all []grown
	for _, a := range b.Growth.axes() {
		for _, s := range a.sizes {
			if measured[s] == nil {
				lines, err := b.growthAt(ctx, s)
				if err != nil {
					return fmt.Errorf("%d records, %d users, %d areas: %w", s.Records, s.Users, s.Areas, err)
				}
				measured[s] = lines
			}
			for _, l := range measured[s] {
				all = append(all, grown{a.name, a.at(s), s, l})
				l.Name = "growth." + a.name + short(a.at(s)) + "." + l.Name
				b.Report(l)
			}
		}
	}
	if b.Charts == "" {
		return nil
	}
	return drawGrowth(b.Charts, all)
}

// growthAt measures one size, on a tenant and with a server of its own.
func (b *bench) growthAt(ctx context.Context, s Size) (lines []Line, err error) {
	one := &bench{Config: b.Config, dir: filepath.Join(b.Folder, fmt.Sprintf("growth-%d-%d-%d", s.Records, s.Users, s.Areas))}
	one.Report = func(l Line) { lines = append(lines, l) }
	one.Users = s.Users
	// As many addresses as devices, see crowd.
	one.Serve = append(slices.Clone(b.Serve), "--trusted-proxy", "127.0.0.0/8")
	b.say("growth: building %d records, %d users, %d areas", s.Records, s.Users, s.Areas)
	w, took, err := one.buildAs(ctx, one.dir, shape{
		records: s.Records, users: s.Users, areas: s.Areas, devices: 1, share: b.Growth.Share, shareDevices: max(b.Runs, 1),
	})
	if err != nil {
		return nil, err
	}
	one.world = w
	one.one("load", "records/s", float64(s.Records)/took.Seconds())
	defer func() { err = errors.Join(err, one.stop()) }()
	if err := one.restart(ctx); err != nil {
		return nil, err
	}
	for _, step := range []func(context.Context) error{one.occupy, one.start, one.share, one.single, one.moveShare, one.leaf, one.weigh} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return lines, nil
}

// occupy lets everybody's device pull what its person may see: a tenant of so
// many users has so many devices to think of.
func (b *bench) occupy(ctx context.Context) error {
	var devices []*account
	for _, own := range b.world.phones[:b.world.users] {
		devices = append(devices, own...)
	}
	b.say("growth: first sync of %d devices", len(devices))
	spread(devices)
	return each(ctx, 8, devices, func(a *account) error {
		access, err := b.http.token(a)
		if err != nil {
			return err
		}
		got, err := b.http.syncFrom(a.from, access, "", fullLimit)
		if err != nil {
			return err
		}
		// The next pull acknowledges the last page.
		_, err = b.http.pull(a.from, access, "", got.checkpoint, fullLimit)
		return err
	})
}

// spread makes accounts come from addresses of their own.
func spread(list []*account) {
	for n, a := range list {
		a.from = fmt.Sprintf("10.%d.%d.%d", n>>16&255, n>>8&255, n&255)
	}
}

// share is a first sync of what the measured person sees, and of as many
// changes to it as in changes.
func (b *bench) share(ctx context.Context) error {
	phones := b.world.phones[b.world.users]
	var took []float64
	var cp string
	for _, a := range phones {
		access, err := b.http.token(a)
		if err != nil {
			return err
		}
		got, err := b.http.sync(access, "", fullLimit)
		if err != nil {
			return err
		}
		if want := len(b.world.share.assets) + publicAssets; got.records < want {
			return fmt.Errorf("%d records came, at least %d should", got.records, want)
		}
		took, cp = append(took, ms(got.took)), got.checkpoint
	}
	b.many("sync", "ms", took)
	for _, n := range changes {
		var took []float64
		for run := range deltas * b.Runs {
			d, next, err := b.delta(ctx, phones[len(phones)-1], cp, n, run)
			if err != nil {
				return err
			}
			took, cp = append(took, ms(d)), next
		}
		b.many(fmt.Sprintf("delta%d", n), "ms", took)
	}
	return nil
}

// delta changes so many records of the share and times the pull that brings
// them.
func (b *bench) delta(ctx context.Context, a *account, cp string, n, run int) (time.Duration, string, error) {
	access, err := b.http.token(a)
	if err != nil {
		return 0, "", err
	}
	before, err := b.http.pull("", access, "", cp, fullLimit)
	if err != nil {
		return 0, "", err
	}
	manager, err := b.manager()
	if err != nil {
		return 0, "", err
	}
	err = each(ctx, 8, b.world.share.assets[:n], func(id ident.RecordID) error {
		return b.http.send(http.MethodPatch, assetPath(id), manager, fmt.Appendf(nil, `{"notes":"Delta %d, run %d, %d"}`, n, run, time.Now().UnixNano()), nil)
	})
	if err != nil {
		return 0, "", err
	}
	got, err := b.http.pull("", access, "", before.checkpoint, fullLimit)
	if err == nil && got.records != n {
		err = fmt.Errorf("%d records came, %d were changed", got.records, n)
	}
	return got.took, got.checkpoint, err
}

// single is writes one after the other, anywhere.
func (b *bench) single(ctx context.Context) error {
	access, err := b.manager()
	if err != nil {
		return err
	}
	var took []float64
	for n := range plainWrites * b.Runs {
		if err := ctx.Err(); err != nil {
			return err
		}
		a := b.world.areas[rand.IntN(len(b.world.areas))]
		sent := time.Now()
		err := b.http.send(http.MethodPatch, assetPath(a.assets[rand.IntN(len(a.assets))]), access, fmt.Appendf(nil, `{"notes":"Single %d, %d"}`, n, sent.UnixNano()), nil)
		if err != nil {
			return err
		}
		took = append(took, ms(time.Since(sent)))
	}
	b.many("write", "ms", took)
	return nil
}

// moveShare takes the right to the share from the person, who has one live
// device, and gives it back. The first time, for which the server reads much that
// it has not read since its start, is reported apart, and so is the worst of the
// others.
func (b *bench) moveShare(ctx context.Context) error {
	user := b.world.users
	access, err := b.http.token(b.world.phones[user][0])
	if err != nil {
		return err
	}
	p, err := connect(ctx, b.server.address, access, "")
	if err != nil {
		return err
	}
	defer p.close()
	admin, err := b.http.token(b.world.admin)
	if err != nil {
		return err
	}
	need := len(b.world.share.assets) + clientsPerArea
	took := map[bool][]float64{}
	for range moves*b.Runs + 1 {
		for _, own := range []bool{false, true} {
			if err := ctx.Err(); err != nil {
				return err
			}
			count := removed
			if own {
				count = records
			}
			body := []byte(`{"salesAreas":` + b.world.areasOf(user, own) + `}`)
			var at [2]float64
			err := b.move(p, count, need, func() error {
				return b.http.send(http.MethodPatch, "/v1/admin/employees/"+string(b.world.people[user]), admin, body, nil)
			}, &at)
			if err != nil {
				return err
			}
			took[own] = append(took[own], at[1])
		}
	}
	for _, right := range []struct {
		name string
		own  bool
	}{{"revoke", false}, {"grant", true}} {
		first, others := took[right.own][0], took[right.own][1:]
		b.one(right.name+"first", "ms", first)
		b.many(right.name, "ms", others)
		b.one(right.name+"worst", "ms", slices.Max(others))
	}
	return nil
}

// leaf is a page of a sorted list, by the manager and by the measured person.
// The first time, which may build columns, does not count.
func (b *bench) leaf(ctx context.Context) error {
	for _, who := range []struct {
		name string
		a    *account
	}{{"list", b.world.writers[0]}, {"listown", b.world.phones[b.world.users][0]}} {
		access, err := b.http.token(who.a)
		if err != nil {
			return err
		}
		var took []float64
		for n := range 10*b.Runs + 1 {
			if err := ctx.Err(); err != nil {
				return err
			}
			sent := time.Now()
			if err := b.http.send(http.MethodGet, fmt.Sprintf("/v1/service/assets?limit=%d&sort=-name", listPage), access, nil, nil); err != nil {
				return err
			}
			if n == 0 {
				b.one(who.name+"first", "ms", ms(time.Since(sent)))
				continue
			}
			took = append(took, ms(time.Since(sent)))
		}
		b.many(who.name, "ms", took)
	}
	return nil
}

// weigh is the server's memory after all of it.
func (b *bench) weigh(ctx context.Context) error {
	m, err := b.server.memory(ctx)
	if err != nil {
		return err
	}
	b.one("rssend", "MB", m.resident/1e6)
	b.one("anonend", "MB", m.anonymous/1e6)
	return nil
}

// growthCharts are the drawings of each axis: which figures, under which names.
var growthCharts = []struct {
	name, title, unit string
	lines             [][2]string
}{
	{"pull", "Sync", "ms", [][2]string{{"sync", "first sync"}, {"delta100", "100 changes"}, {"delta10", "10 changes"}, {"delta1", "1 change"}}},
	{"work", "Writes, rights and lists", "ms", [][2]string{{"write", "write"}, {"revoke", "right taken"}, {"grant", "right given"}, {"list", "list page of all"}, {"listown", "list page of own"}}},
	{"start", "Start", "ms", [][2]string{{"start", "ready"}, {"startfirst", "first answer"}}},
	{"memory", "Memory", "MB", [][2]string{{"rss", "resident, started"}, {"rssend", "resident, in use"}, {"anonend", "anonymous, in use"}}},
}

// drawGrowth writes growth.json and the drawings, growth-AXIS-NAME.svg.
func drawGrowth(dir string, all []grown) error {
	for i := range all {
		l := &all[i].Line
		l.Value, l.P50, l.P99 = rounded(l.Value), rounded(l.P50), rounded(l.P99)
	}
	raw, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "growth.json"), append(raw, '\n'), 0o600); err != nil {
		return err
	}
	for _, axis := range []string{"records", "users", "areas"} {
		for _, d := range growthCharts {
			c := chart.Chart{Title: d.title + " by " + axis, X: axis, Y: d.unit}
			for _, l := range d.lines {
				c.Lines = append(c.Lines, chart.Line{Name: l[1], Points: pointsOf(all, axis, l[0])})
			}
			if err := drawTo(filepath.Join(dir, "growth-"+axis+"-"+d.name+".svg"), &c); err != nil {
				return err
			}
		}
	}
	return nil
}

func pointsOf(all []grown, axis, name string) (out []chart.Point) {
	for _, g := range all {
		if g.Axis == axis && g.Name == name {
			out = append(out, chart.Point{X: float64(g.At), Y: g.Value})
		}
	}
	return out
}

func drawTo(path string, c *chart.Chart) (err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return c.Write(f)
}
