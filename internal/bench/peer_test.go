package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// toyProgram is the adapter of testdata, built once for all tests.
var toyProgram = sync.OnceValues(func() (string, error) { return program("toy", "./testdata/toy") })

// withToy is a benchmark of the toy by a relay that keeps a journal of the
// requests, and spoils what its mode says.
func withToy(t *testing.T, mode string, flags ...string) (cfg Config, figures map[string]Line, journal string) {
	t.Helper()
	if testing.Short() {
		t.Skip("builds an adapter")
	}
	toy, err := toyProgram()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	figures, journal = map[string]Line{}, filepath.Join(dir, "journal")
	return Config{
		Runs: 1, Records: 400, Users: 4, Large: 400, WriteTime: 200 * time.Millisecond, Sockets: 20, SoakTime: time.Second, SoakRate: 1,
		Growth: DefaultGrowth(), Link: BadLink(), Tenants: 1, Folder: dir,
		Peer: append(append([]string{os.Args[0], relayArg, mode, journal, toy}, flags...), dir), PeerWait: 20 * time.Second,
		Report: func(l Line) { figures[l.Name] = l },
		Log:    os.Stderr,
	}, figures, journal
}

// inTenant is how many records the tenant of withToy has: areas are equal.
const (
	inTenant = publicAssets + 4*97
	inView   = publicAssets + 97
)

// TestPeer: an adapter gets what the tenant has, in order, and the figures come
// from what its clients are told.
func TestPeer(t *testing.T) {
	t.Parallel()
	cfg, figures, journal := withToy(t, "")
	if err := Run(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	for name, runs := range map[string]int{
		"pipe": pings, "load": 1, "A1": 1, "A1gzip": 1, "A2": 1, "B16": 1, "B64": 1,
		"C10": someWrites * 2 * socketsPerUser, "C10last": someWrites, "C500": allWrites, "D1000": 1, "R1000": 1, "D1": leaves, "E": 1,
	} {
		if l := figures[name]; l.Runs != runs || l.Value <= 0 {
			t.Errorf("%s: %+v, want %d runs", name, l, runs)
		}
	}
	for name, want := range map[string]float64{"A1records": inView, "A1bytes": inView * recordBytes, "E": 1} {
		if got := figures[name].Value; got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if plain, packed := figures["A1bytes"].Value, figures["A1bytesgzip"].Value; packed <= 0 || packed >= plain {
		t.Errorf("%v bytes, %v with gzip", plain, packed)
	}
	if l := figures["A1zstd"]; l.Unsupported == "" || l.Runs != 0 {
		t.Errorf("A1zstd, which the toy can't do: %+v", l)
	}
	for _, name := range []string{"start", "B16server", "Einuse", "lists"} {
		if l, ok := figures[name]; ok {
			t.Errorf("%+v says nothing about a peer", l)
		}
	}
	checkJournal(t, journal, figures)
}

// TestOwnWorks: the works for any server measure this one by the same code.
func TestOwnWorks(t *testing.T) {
	cfg, figures := tiny(t)
	measure(t, cfg, "A1", "A2", "B16", "C10", "C500", "D1000", "R1000", "D1", "E")
	within(t, figures, "A1records", inView, 2*inView)
	within(t, figures, "A1byteszstd", 1, figures["A1bytes"].Value/2)
	within(t, figures, "B16batch", 1, 16)
	for name, runs := range map[string]int{
		"A1": 1, "A2": 1, "B16server": 1, "C10": someWrites * 2 * socketsPerUser, "C500": allWrites, "D1000": 1, "R1000": 1, "D1": leaves, "Einuse": 1,
	} {
		if l := figures[name]; l.Runs != runs || l.Value <= 0 {
			t.Errorf("%s: %+v, want %d runs", name, l, runs)
		}
	}
	if l, ok := figures["pipe"]; ok {
		t.Errorf("there is no pipe to this server: %+v", l)
	}
}

func checkJournal(t *testing.T, journal string, figures map[string]Line) {
	t.Helper()
	raw, err := os.ReadFile(journal)
	if err != nil {
		t.Fatal(err)
	}
	count, order := map[string]int{}, []string{}
	records, open := map[string]bool{}, map[string]bool{}
	for line := range bytes.Lines(raw) {
		var q struct {
			Do, As string
			Device bool
			Rows   []json.RawMessage
		}
		if err := json.Unmarshal(line, &q); err != nil {
			t.Fatal(err)
		}
		if count[q.Do]++; count[q.Do] == 1 {
			order = append(order, q.Do)
		}
		switch q.Do {
		case doRecords:
			for _, r := range q.Rows {
				if len(r) != recordBytes {
					t.Fatalf("a record of %d bytes: %s", len(r), r)
				}
				records[string(r[:40])] = true
			}
		case doSignIn:
			if open[q.As] {
				t.Errorf("%s signs in twice", q.As)
			}
			open[q.As] = q.Device
		case doClose:
			delete(open, q.As)
		}
	}
	if len(records) != inTenant {
		t.Errorf("%d records, want %d", len(records), inTenant)
	}
	want := []string{
		doHello, doPing, doAreas, doPeople, doRecords, doLoaded, doSignIn, doSync, doClose, doWrite, doLive, doMemory, doAssign, doDelete, doRestart, doEnd,
	}
	if !slices.Equal(order, want) {
		t.Errorf("first of each: %v, want %v", order, want)
	}
	if n := figures["B16p99"].Runs + figures["B64p99"].Runs + someWrites + allWrites; count[doWrite] != n {
		t.Errorf("%d writes, %d measured", count[doWrite], n)
	}
	for do, want := range map[string]int{doDelete: leaves, doAssign: 4, doRestart: 1, doLoaded: 1, doEnd: 1, doLive: 4*socketsPerUser + 4*devicesPerUser} {
		if count[do] != want {
			t.Errorf("%s %d times, want %d", do, count[do], want)
		}
	}
	for as, device := range open {
		if device {
			t.Errorf("%s was not closed", as)
		}
	}
}

// TestPeerCannot: what an adapter can't do is said, and the rest measured: also
// where it is what would undo a measured change.
func TestPeerCannot(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, mode, flag string
		cannot           []string
		can              []string
	}{
		{"never told", "", "-cannot=D1000", []string{"D1000"}, []string{"R1000", "D1"}},
		{"not backfilled", "", "-cannot=R1000,A2", []string{"R1000", "A2"}, []string{"D1000", "D1"}},
		{"no live clients", "no live", "-pid", []string{"C10", "C500", "E"}, []string{"A1", "A2"}},
		{"no restart", "no restart", "-pid", []string{"E"}, []string{"C10"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cfg, figures, _ := withToy(t, c.mode, c.flag)
			cfg.Works = append(c.cannot, c.can...)
			if err := Run(t.Context(), cfg); err != nil {
				t.Fatal(err)
			}
			for _, name := range c.cannot {
				if l := figures[name]; l.Unsupported == "" {
					t.Errorf("%s was measured: %+v", name, l)
				}
			}
			for _, name := range c.can {
				if l := figures[name]; l.Value <= 0 || l.Unsupported != "" {
					t.Errorf("%s was not measured: %+v", name, l)
				}
			}
		})
	}
}

// TestPeerProcess: memory is that of the processes which an adapter names.
func TestPeerProcess(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Skip("the platform does not tell")
	}
	cfg, _, _ := withToy(t, "", "-pid")
	a, err := startAdapter(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if m, err := a.memory(t.Context()); err != nil || m.anonymous < 100<<10 || m.anonymous > 100<<20 {
		t.Errorf("%+v, %v", m, err)
	}
	if err := a.close(); err != nil {
		t.Error(err)
	}
}

// TestPeerSpoilt: what goes wrong with an adapter ends the run soon, and says
// what it was. Nothing of it is left.
func TestPeerSpoilt(t *testing.T) {
	t.Parallel()
	for mode, want := range map[string]string{
		"dies":       "the adapter ended: exit status 3",
		"leaves":     "the adapter ended: exit status 3", // somebody else has its output
		"closes":     "closed its output",
		"garbage":    `no message: `,
		"typo":       `no field "removd"`,
		"long":       "no message",
		"silent":     "has not answered sync of user-0.10",
		"deaf":       "does not read loadRecords",
		"refuses":    "write of writer-0: the adapter says: out of order",
		"unasked":    "request 999999, which is not under way",
		"nobody":     `news of "nobody", which is not live`,
		"closed":     `news of "user-0.10", which is not live`,
		"negative":   "less than nothing",
		"too much":   fmt.Sprintf("%d records came, %d should", inView+1, inView),
		"too little": fmt.Sprintf("%d records came, %d should", inView-1, inView),
		"no count":   "sync: the answer has no records",
		"tells":      "device 4 of user 3: 1 records",
		"cut":        "a client lost its connection: by the toy",
		"stays":      "has not ended",
		"fails":      "the adapter's end: exit status 4",
		"other":      "speaks version 7",
		"which":      `can't do "Z9", which is no work`,
	} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			cfg, _, _ := withToy(t, mode)
			if slices.Contains([]string{"silent", "deaf", "stays"}, mode) {
				cfg.PeerWait = 3 * time.Second
			}
			cfg.Works = []string{"A1", "C10"}
			began := time.Now()
			err := Run(t.Context(), cfg)
			if err == nil || !strings.Contains(err.Error(), want) || strings.Count(err.Error(), want) > 1 {
				t.Errorf("%v, want something about %q, once", err, want)
			}
			if took := time.Since(began); took > eventWait-time.Second {
				t.Errorf("it took %v", took)
			}
			lingers(t, cfg.Folder)
		})
	}
}

// lingers fails where a process of an adapter is left: its command line has
// the folder in it. Those that were killed may take a moment.
func lingers(t *testing.T, folder string) {
	t.Helper()
	var left []string
	for until := time.Now().Add(10 * time.Second); time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
		left = nil
		files, err := filepath.Glob("/proc/[0-9]*/cmdline")
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if b, err := os.ReadFile(f); err == nil && bytes.Contains(b, []byte(folder)) {
				left = append(left, string(bytes.ReplaceAll(b, []byte{0}, []byte(" "))))
			}
		}
		if left == nil {
			return
		}
	}
	t.Errorf("left behind: %q", left)
}

// TestPeerStopped: a run that is stopped ends its adapter in order.
func TestPeerStopped(t *testing.T) {
	t.Parallel()
	cfg, _, journal := withToy(t, "")
	cfg.Works, cfg.WriteTime = []string{"B16"}, time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cfg.Progress = func(s string) {
		if strings.HasPrefix(s, "B16") {
			time.AfterFunc(100*time.Millisecond, cancel)
		}
	}
	if err := Run(ctx, cfg); err == nil || !strings.Contains(err.Error(), "canceled") {
		t.Errorf("%v", err)
	}
	raw, err := os.ReadFile(journal)
	if err != nil || !strings.HasSuffix(strings.TrimSpace(string(raw)), `"do":"end"}`) {
		t.Errorf("%v, the last request: %.200s", err, raw[max(len(raw)-200, 0):])
	}
	lingers(t, cfg.Folder)
}

// TestPeerConfig: only the works for any server are done with a peer.
func TestPeerConfig(t *testing.T) {
	cfg, _, _ := withToy(t, "")
	var names []string
	for _, w := range cfg.todo() {
		names = append(names, w.name)
	}
	if want := []string{"A1", "A2", "B16", "B64", "C10", "C500", "D1000", "R1000", "D1", "E"}; !slices.Equal(names, want) {
		t.Errorf("all is %v, want %v", names, want)
	}
	cfg.Works = []string{"A1", "start"}
	if err := cfg.Check(); err == nil || !strings.Contains(err.Error(), "start") {
		t.Errorf("start of a peer: %v", err)
	}
	cfg.Works, cfg.PeerWait = nil, 0
	if cfg.Check() == nil {
		t.Error("no time to answer was accepted")
	}
}

// TestProtocol: each message stands in the text for users and in DESIGN.md.
func TestProtocol(t *testing.T) {
	design, err := os.ReadFile("DESIGN.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, do := range []string{
		doHello, doPing, doAreas, doPeople, doRecords, doLoaded, doSignIn, doSync, doLive, doClose, doWrite, doDelete, doAssign, doMemory, doRestart, doEnd,
	} {
		if !strings.Contains(Protocol, " "+do+" ") && !strings.Contains(Protocol, " "+do+"\n") {
			t.Errorf("the text for users has no %s", do)
		}
		if !strings.Contains(string(design), `{"id":1,"do":"`+do+`"`) {
			t.Errorf("DESIGN.md has no %s", do)
		}
	}
}

func TestUnsupportedReports(t *testing.T) {
	l := Line{Name: "D1000", Unsupported: "never told"}
	var b bytes.Buffer
	JSON(&b)(l)
	if got := b.String(); got != `{"name":"D1000","unsupported":"never told"}`+"\n" {
		t.Errorf("JSON %s", got)
	}
	b.Reset()
	report, end := Table(&b)
	report(l)
	if err := end(); err != nil || strings.Count(b.String(), "-") != 4 {
		t.Errorf("table %q, %v", b.String(), err)
	}
}

// relayArg makes the test binary a relay.
const relayArg = "relay"

// relay stands between a benchmark and an adapter.
type relay struct {
	mode, journal string
	mu            sync.Mutex // of standard output
}

// runRelay is what the test binary does as a relay: args are the mode, the
// journal and the adapter's command line.
func runRelay(args []string) int {
	r := &relay{mode: args[0], journal: args[1]}
	if r.mode == "linger" {
		time.Sleep(10 * time.Minute)
		return 0
	}
	cmd := exec.Command(args[2], args[3:]...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		panic(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		panic(err)
	}
	if err := cmd.Start(); err != nil {
		panic(err)
	}
	go r.ask(in)
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			break
		}
		r.say(r.answer(string(line)))
	}
	_ = cmd.Wait()
	switch r.mode {
	case "stays":
		select {}
	case "fails":
		return 4
	}
	return 0
}

func (r *relay) say(s string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, _ = io.WriteString(os.Stdout, s)
}

// ask passes requests on.
func (r *relay) ask(to io.Writer) {
	journal, err := os.Create(r.journal)
	if err != nil {
		panic(err)
	}
	in := bufio.NewReader(os.Stdin)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		if _, err := journal.Write(line); err != nil {
			panic(err)
		}
		var q struct {
			ID int64
			Do string
		}
		if err := json.Unmarshal(line, &q); err != nil {
			panic(err)
		}
		if r.spoil(q.ID, q.Do) {
			_, _ = to.Write(line)
		}
	}
}

// spoil does what the mode says about a request, and reports whether it is
// passed on.
func (r *relay) spoil(id int64, do string) bool {
	switch r.mode + "/" + do {
	case "dies/write":
		os.Exit(3)
	case "leaves/write":
		c := exec.Command(os.Args[0], relayArg, "linger", r.journal)
		c.Stdout = os.Stdout
		if err := c.Start(); err != nil {
			panic(err)
		}
		os.Exit(3)
	case "closes/write":
		_ = os.Stdout.Close()
		return false
	case "garbage/write":
		r.say("Listening on :8090\n")
	case "typo/write":
		r.say(`{"as":"user-0.0","removd":1}` + "\n")
	case "long/write":
		r.say(strings.Repeat("x", 2*longestLine))
	case "silent/sync":
		return false
	case "deaf/loadPeople":
		r.say(fmt.Sprintf(`{"id":%d}`+"\n", id))
		select {}
	case "refuses/write":
		r.say(fmt.Sprintf(`{"id":%d,"error":"out of order"}`+"\n", id))
		return false
	case "unasked/write":
		r.say(`{"id":999999}` + "\n")
	case "nobody/write":
		r.say(`{"as":"nobody","changed":1}` + "\n")
	case "closed/write":
		r.say(`{"as":"user-0.10","changed":1}` + "\n")
	case "negative/write":
		r.say(`{"as":"user-0.0","changed":-1}` + "\n")
	case "tells/write":
		r.say(`{"as":"user-3.4","changed":1,"mark":"what user 3 may not see"}` + "\n")
	case "cut/write":
		r.say(`{"as":"user-0.0","lost":"by the toy"}` + "\n")
	case "no live/live", "no restart/restart":
		r.say(fmt.Sprintf(`{"id":%d,"unsupported":"there is no such thing"}`+"\n", id))
		return false
	}
	return true
}

// answer is what becomes of a line of the adapter's.
func (r *relay) answer(line string) string {
	count := fmt.Sprintf(`"records":%d`, inView)
	switch r.mode {
	case "too much":
		return strings.Replace(line, count, fmt.Sprintf(`"records":%d`, inView+1), 1)
	case "too little":
		return strings.Replace(line, count, fmt.Sprintf(`"records":%d`, inView-1), 1)
	case "no count":
		return strings.Replace(line, ","+count, "", 1)
	case "other":
		return strings.Replace(line, `"version":1`, `"version":7`, 1)
	case "which":
		return strings.Replace(line, `"cannot":{}`, `"cannot":{"Z9":"why not"}`, 1)
	}
	return line
}
