package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"satchel/internal/app"
	"satchel/internal/bench/shaper"
)

// programFolder is where programs are built, "" as long as no test needs one.
var programFolder string

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == relayArg {
		os.Exit(runRelay(os.Args[2:]))
	}
	code := m.Run()
	if programFolder != "" {
		_ = os.RemoveAll(programFolder)
	}
	os.Exit(code)
}

// built is the real program, made once for all tests.
var built = sync.OnceValues(func() (string, error) { return program("satchel", "satchel/cmd/satchel") })

var programFolderOnce = sync.OnceValue(func() (err error) {
	programFolder, err = os.MkdirTemp("", "satchel-program-*")
	return err
})

// program builds a package.
func program(name, pkg string) (string, error) {
	if err := programFolderOnce(); err != nil {
		return "", err
	}
	path := filepath.Join(programFolder, name)
	if out, err := exec.Command("go", "build", "-o", path, pkg).CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
}

// tiny is a benchmark of the real program that is over soon.
func tiny(t *testing.T) (cfg Config, figures map[string]Line) {
	t.Helper()
	if testing.Short() {
		t.Skip("builds the program")
	}
	program, err := built()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "config.json")
	if err := os.WriteFile(config, []byte(`{"limits":{"off":true,"socketsPerPerson":1000}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	figures = map[string]Line{}
	return Config{
		Runs: 1, Records: 400, Users: 4, Large: 400, WriteTime: time.Second, Sockets: 20, SoakTime: time.Second, SoakRate: 1,
		Link:   shaper.Link{Latency: 40 * time.Millisecond, Up: 2000, Down: 2000, Loss: 0.02, Seed: 1},
		Growth: Growth{Records: []int{300, 600}, Users: []int{2, 4}, Areas: []int{1, 3}, Middle: Size{600, 4, 3}, Share: 100},
		Charts: filepath.Join(dir, "charts"), Tenants: 3, Folder: filepath.Join(dir, "data"),
		Serve: []string{program, "serve", "--config", config},
		Open: func(dir string) (DataFolder, error) {
			ts, err := app.NewTenants(dir, nil, time.Now)
			if err != nil {
				return nil, err
			}
			return ts, nil
		},
		Report: func(l Line) { figures[l.Name] = l },
		Log:    os.Stderr,
	}, figures
}

func measure(t *testing.T, cfg Config, works ...string) {
	t.Helper()
	cfg.Works = works
	if err := Run(context.Background(), cfg); err != nil {
		t.Fatal(err)
	}
}

// within fails where a figure is missing or out of its bounds.
func within(t *testing.T, figures map[string]Line, name string, low, high float64) {
	t.Helper()
	if l, ok := figures[name]; !ok || l.Value < low || l.Value > high {
		t.Errorf("%s is %v (measured: %v), want %v to %v", name, l.Value, ok, low, high)
	}
}

// TestGrowth: every size has every figure, and the drawings have a point for
// each.
func TestGrowth(t *testing.T) {
	cfg, figures := tiny(t)
	measure(t, cfg, "growth")
	for _, at := range []string{"records300", "records600", "users2", "users4", "areas1", "areas3"} {
		for _, name := range []string{"sync", "delta1", "delta10", "delta100", "write", "revoke", "revokefirst", "revokeworst", "grant", "grantfirst", "grantworst", "list", "listown", "start", "startfirst", "rss", "rssend"} {
			within(t, figures, "growth."+at+"."+name, 0.001, 60_000)
		}
	}
	raw, err := os.ReadFile(filepath.Join(cfg.Charts, "growth.json"))
	if err != nil {
		t.Fatal(err)
	}
	var all []grown
	if err := json.Unmarshal(raw, &all); err != nil {
		t.Fatal(err)
	}
	at := func(axis string, n int, name string) float64 {
		i := slices.IndexFunc(all, func(g grown) bool { return g.Axis == axis && g.At == n && g.Name == name })
		if i < 0 {
			t.Fatalf("no %s at %s %d", name, axis, n)
		}
		return all[i].Value
	}
	// What stands on three axes was measured once.
	if a, b, c := at("records", 600, "sync"), at("users", 4, "sync"), at("areas", 3, "sync"); a != b || b != c {
		t.Errorf("the same size took %v, %v and %v", a, b, c)
	}
	circle := regexp.MustCompile(`<circle `)
	for _, axis := range []string{"records", "users", "areas"} {
		for _, d := range growthCharts {
			svg, err := os.ReadFile(filepath.Join(cfg.Charts, "growth-"+axis+"-"+d.name+".svg"))
			if err != nil {
				t.Fatal(err)
			}
			if n := len(circle.FindAll(svg, -1)); n != 2*len(d.lines) {
				t.Errorf("%s by %s has %d points, want %d", d.name, axis, n, 2*len(d.lines))
			}
		}
	}
}

// TestTenants: each of the tenants answers, by its own file.
func TestTenants(t *testing.T) {
	cfg, figures := tiny(t)
	measure(t, cfg, "tenants")
	for _, name := range []string{"start", "opened", "startrss", "rss", "anon", "first", "again", "sync", "rssall", "anonall", "woken", "rssidle", "anonidle"} {
		within(t, figures, "tenants."+name, 0.001, 60_000)
	}
	if n := figures["tenants.first"].Runs; n != cfg.Tenants*cfg.Runs {
		t.Errorf("%d first answers of %d tenants", n, cfg.Tenants)
	}
	files, err := filepath.Glob(filepath.Join(cfg.Folder, "tenants", "tenants", "*.db"))
	if err != nil || len(files) != cfg.Tenants {
		t.Errorf("%v, %v", files, err)
	}
}

// TestEverything: a role is taken from a person and given again, and all records
// leave the live device and come back.
func TestEverything(t *testing.T) {
	cfg, figures := tiny(t)
	measure(t, cfg, "everything")
	for _, name := range []string{"everythingrevoke", "everythinggrant"} {
		within(t, figures, name+"first", 0.1, 60_000)
		within(t, figures, name+"all", figures[name+"first"].Value, 60_000)
	}
}

// TestStartDemo: the demo tenant starts, and somebody signs in to it.
func TestStartDemo(t *testing.T) {
	cfg, figures := tiny(t)
	measure(t, cfg, "startdemo")
	within(t, figures, "startdemo", 1, 60_000)
	within(t, figures, "startfirstdemo", figures["startdemo"].Value, 60_000)
	within(t, figures, "rssdemo", 10, 1000)
}

// TestLink: over the bad link everything takes at least the round trips that it
// has to, without it nothing like that.
func TestLink(t *testing.T) {
	cfg, figures := tiny(t)
	measure(t, cfg, "link")
	rtt := 2 * cfg.Link.Latency
	for _, c := range []string{"gzip", "zstd", "small"} {
		for _, name := range []string{"first", "day"} {
			for _, suffix := range []string{"", ".screen"} {
				slow, fast := figures["link."+c+"."+name+suffix], figures["link0."+c+"."+name+suffix]
				if slow.Unit != "s" || slow.Value < rtt.Seconds() || fast.Value <= 0 || fast.Value > slow.Value {
					t.Errorf("%s.%s%s: %v over the bad link, %v without", c, name, suffix, slow.Value, fast.Value)
				}
			}
			within(t, figures, "link."+c+"."+name+".bytes", 1000, 1e6)
		}
		within(t, figures, "link."+c+".day.records", 2+newVisits, 200)
	}
	within(t, figures, "link.gzip.live", ms(cfg.Link.Latency), 5000)
	within(t, figures, "link.gzip.edit", ms(rtt), 5000)
	if z, g, s := figures["link.zstd.first.bytes"].Value, figures["link.gzip.first.bytes"].Value, figures["link.small.first.bytes"].Value; z >= g || g >= s {
		t.Errorf("zstd %v bytes, gzip %v, in small pages %v", z, g, s)
	}
}

// TestFieldwork: the demo has a phone's work whatever the hour.
func TestFieldwork(t *testing.T) {
	for h := range 24 {
		f, err := fieldworkOf(time.Date(2026, 7, 25, h, 59, 30, 0, time.UTC))
		if err != nil {
			t.Fatalf("at %d: %v", h, err)
		}
		if !strings.Contains(f.email, "@") || len(f.today) < 3 || len(f.open) < 2 {
			t.Errorf("at %d: %+v", h, f)
		}
	}
}

func TestGrowthCheck(t *testing.T) {
	good := DefaultGrowth()
	if err := good.check(); err != nil {
		t.Error(err)
	}
	for name, spoil := range map[string]func(*Growth){
		"share": func(g *Growth) { g.Share = 99 }, "user": func(g *Growth) { g.Users = []int{1} },
		"areas": func(g *Growth) { g.Areas = []int{0} }, "room": func(g *Growth) { g.Records = []int{1_050} },
	} {
		g := DefaultGrowth()
		spoil(&g)
		if g.check() == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	// The middle stands on every axis and is one size.
	if n := len(good.sizes()); n != 3+3+4-2 {
		t.Errorf("%d sizes", n)
	}
}

// TestAreaOf: half of the areas have users, as many each; the person after the
// users has the share.
func TestAreaOf(t *testing.T) {
	for _, s := range []Size{{0, 100, 100}, {0, 100, 1}, {0, 1000, 100}, {0, 10, 100}, {0, 100, 1000}} {
		w := &world{shape: shape{users: s.Users}, areas: make([]area, s.Areas)}
		of := map[*area]int{}
		for u := range s.Users {
			a := w.areaOf(u)
			of[a]++
			if s.Users == s.Areas && a != &w.areas[u/2] {
				t.Errorf("user %d of %d has another area", u, s.Users)
			}
		}
		for _, n := range of {
			if n != s.Users/len(of) {
				t.Errorf("%d areas of %d users have %v", s.Areas, s.Users, n)
				break
			}
		}
		if w.areaOf(s.Users) != &w.share {
			t.Error("the share is somebody else's")
		}
	}
}
