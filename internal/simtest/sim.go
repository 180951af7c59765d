// Package simtest runs the whole core under faults: seeded random histories of
// people and phones over the apply machine and its log, single-threaded, so
// that one seed replays one history. After every step an independent judge
// (package oracle) and a few invariants say whether anything went wrong. It is
// imported by the sim command and by tests.
package simtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sort"
	"strings"
	"sync"

	"satchel/internal/command"
	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/internal/oracle"
	"satchel/server/suite"
	"satchel/sync/apply"
	"satchel/sync/oplog"
	"satchel/sync/state"
	"satchel/sync/store"
)

// Options say what to run. The zero value of a number means its default.
type Options struct {
	Seeds int   // histories to run, 1 unless said
	Steps int   // steps a history, 300 unless said
	Seed  int64 // of the first history; the others count up from it
	// Twins runs each seed as a pair of worlds that differ only in what one
	// person may not see, and compares what that person's devices are told.
	Twins bool
	// Workers is how many seeds run beside each other, GOMAXPROCS unless said.
	Workers int
	Out     io.Writer // the report, nil for none
	// Progress is called after each seed with how many are done; nil for none.
	// Calls come one at a time.
	Progress func(done, total int)
}

// Report is what a run found.
type Report struct {
	Seeds, Steps int
	Twins        bool
	// Failed is the seed of the violation found first, by number of seed;
	// Violation says what is wrong, "" for nothing.
	Failed    int64
	Violation string
	// Replay is the command line that shows the violation again.
	Replay string
	// Trace is the end of the failing history.
	Trace []string
	// Counters says how often which fault met which state of the protocol.
	Counters map[string]int
}

// OK reports whether nothing was violated.
func (r Report) OK() bool { return r.Violation == "" }

// wanted are the counters that a long run must not leave at zero: a fault that
// never met the protocol proves nothing.
var wanted = []string{
	"a day passes", "something falls due", "client listed", "client unlisted", "visibility mode switched", "role granted",
	"role revoked", "client moves to another area", "several commands in one entry", "histories on bolt", "restart",
	"restore from backup", "log replayed", "crash before commit of a pull", "crash after commit of a pull",
	"crash before commit of a push", "crash after commit of a push", "crash before commit of a write",
	"crash after commit of a write", "page lost", "page late applied", "page late refused by its from",
	"page twice refused by its from", "complete page", "removal", "context record sent: jobActivity", "context record sent: task", "reset page",
	"reset page of some types", "mobile ended", "pull answered without an entry", "quiet device left alone",
	"request late: a pull", "request late: a push", "request duplicated: a pull", "request duplicated: a push",
	"results lost", "results late", "result told again", "outbox numbered anew", "push: number_gap", "push: number_reused",
	"mutation applied ", "mutation conflict conflict", "mutation refused depends_on", "mutation refused not_found",
	"mutation refused bad_id", "mutation refused not_allowed", "mutation refused mobile_module_required",
	"mutation of what is not seen", "write to what is not seen", "session ended by a change of rights", "wipe ordered",
	"person who is out", "device in step", "right delegated", "person compared who acts for another", "role limited to clients",
	"conflict settled offline", "bundle replayed", "bundle not replayed", "bundle discarded", "done: conflict action keep-mine",
	"bulk action", "bulk item done", "right to write judged", "bulk item refused: not_found",
}

// wantedOfTwins are those of twin worlds.
var wantedOfTwins = []string{"answers compared", "removal", "mutation applied ", "mutation refused not_found", "device in step", "hidden work replayed"}

// Missing returns the counters of a run that are at zero and should not be; a
// short run may well miss some.
func (r Report) Missing() []string {
	want := wanted
	if r.Twins {
		want = wantedOfTwins
	}
	var out []string
	for _, k := range want {
		if r.Counters[k] == 0 {
			out = append(out, k)
		}
	}
	return out
}

// Run runs the simulation and stops at the first violation.
func Run(o Options) Report {
	o.Seeds, o.Steps = max(o.Seeds, 1), cmpOr(o.Steps, 300)
	workers := cmpOr(o.Workers, runtime.GOMAXPROCS(0))
	rep := Report{Steps: o.Steps, Twins: o.Twins, Counters: map[string]int{}}
	var mu sync.Mutex
	next, done := 0, 0
	var wg sync.WaitGroup
	for range min(workers, o.Seeds) {
		wg.Go(func() {
			for {
				mu.Lock()
				i := next
				next++
				stop := i >= o.Seeds || !rep.OK()
				mu.Unlock()
				if stop {
					return
				}
				seed := o.Seed + int64(i)
				var one outcome
				if o.Twins {
					one = runTwins(seed, o.Steps)
				} else {
					one = runSeed(seed, o.Steps)
				}
				mu.Lock()
				done++
				rep.Seeds++
				for k, n := range one.counters {
					rep.Counters[k] += n
				}
				if one.violation != "" && (rep.OK() || seed < rep.Failed) {
					rep.Failed, rep.Violation, rep.Trace = seed, one.violation, one.trace
					rep.Replay = fmt.Sprintf("satchel sim --seed %d --seeds 1 --steps %d", seed, one.steps)
					if o.Twins {
						rep.Replay += " --twins"
					}
				}
				if o.Progress != nil {
					o.Progress(done, o.Seeds)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if o.Out != nil {
		rep.print(o.Out)
	}
	return rep
}

func cmpOr(n, otherwise int) int {
	if n > 0 {
		return n
	}
	return otherwise
}

func (r Report) print(w io.Writer) {
	var b strings.Builder
	for _, k := range sortedKeys(r.Counters) {
		fmt.Fprintf(&b, "%9d  %s\n", r.Counters[k], k)
	}
	if r.OK() {
		fmt.Fprintf(&b, "%d seeds of %d steps: no violation\n", r.Seeds, r.Steps)
	} else {
		for _, l := range r.Trace {
			fmt.Fprintf(&b, "  %s\n", l)
		}
		fmt.Fprintf(&b, "seed %d: %s\nreplay: %s\n", r.Failed, r.Violation, r.Replay)
	}
	_, _ = io.WriteString(w, b.String())
}

func sortedKeys[V any](m map[string]V) []string {
	var ks []string
	for k := range m {
		ks = append(ks, k)
	}
	sort.Strings(ks)
	return ks
}

// outcome is what one history came to.
type outcome struct {
	violation string
	steps     int // the least number of steps that shows it
	trace     []string
	counters  map[string]int
}

// violation ends a history.
type violation string

func (v violation) Error() string { return string(v) }

// runSeed runs one history. A failing one is run again with fewer steps, as
// long as that still fails.
func runSeed(seed int64, steps int) outcome {
	out := history(seed, steps)
	if out.violation == "" || out.steps >= steps {
		return shorten(seed, out)
	}
	return out
}

// shorten looks for a shorter history that fails as well where the violation
// was only found when everything had fallen quiet.
func shorten(seed int64, out outcome) outcome {
	if out.violation == "" {
		return out
	}
	for low, high, tries := 1, out.steps, 0; low < high && tries < 12; tries++ {
		mid := (low + high) / 2
		if o := history(seed, mid); o.violation != "" {
			o.counters = out.counters
			out, high = o, min(mid, o.steps)
		} else {
			low = mid + 1
		}
	}
	return out
}

func history(seed int64, steps int) (out outcome) {
	s := newSim(seed)
	defer s.close()
	defer func() {
		out.counters, out.trace = s.counters, s.trace
		if p := recover(); p != nil {
			v, ok := p.(violation)
			if !ok {
				buf := make([]byte, 4096)
				v = violation(fmt.Sprintf("panic: %v\n%s", p, buf[:runtime.Stack(buf, false)]))
			}
			out.violation, out.steps = string(v), min(s.step+1, steps)
		}
	}()
	s.begin()
	s.begun = true
	for s.step = 0; s.step < steps; s.step++ {
		s.rng = rand.New(rand.NewPCG(uint64(seed), uint64(s.step)+1))
		s.random()
	}
	s.step = steps - 1
	s.settle()
	return out
}

// sim is one history.
type sim struct {
	seed int64
	step int
	rng  *rand.Rand
	cat  *entity.Catalogue
	cfg  apply.Config
	// theme is what the history is mostly about.
	theme *theme

	eng      store.Engine
	dir      string // of a bolt store
	log      oplog.Log
	m        *apply.Machine
	proposer string
	starts   int
	number   uint64
	now      ident.Millis
	serial   int // for unique values
	seeds    int

	results []apply.Result
	effects apply.Effects
	folded  bool
	begun   bool // the tenant is set up
	still   bool // time stands, so that nothing falls due while everybody pulls

	judge *oracle.Judge
	snap  store.Snapshot
	world *oracle.World // as of the latest commit
	prev  *oracle.World // one before; its rows are not to be read

	people  []ident.RecordID
	phones  []*phone
	backups []*store.Mem
	told    map[toldKey]string        // results told, by device and number
	floor   map[ident.DeviceID]uint64 // numbers in effect before the push under way

	counters map[string]int
	trace    []string

	// Of twin worlds: no phones of the cast's own, what is picked from is fixed,
	// and answers are written down.
	quietSetup bool
	fixed      map[string][]*oracle.Record
	answered   func(r request, res apply.Result)
}

type toldKey struct {
	device ident.DeviceID
	n      uint64
}

func newSim(seed int64) *sim {
	all, err := suite.Load()
	must(err)
	s := &sim{
		seed: seed, theme: themes[uint64(seed)%uint64(len(themes))], cat: all.Cat, cfg: apply.Config{Cat: all.Cat, Roles: all.Roles, Field: all.Field, Rules: all.Rules},
		rng: rand.New(rand.NewPCG(uint64(seed), 0)), now: 1_700_000_000_000, judge: oracle.New(all.Cat),
		counters: map[string]int{}, told: map[toldKey]string{},
	}
	s.eng = store.NewMem()
	if seed%16 == 7 {
		s.dir, err = os.MkdirTemp("", "satchel-sim-")
		must(err)
		s.eng, err = store.OpenBolt(filepath.Join(s.dir, "tenant.db"), store.Options{})
		must(err)
		s.count("histories on bolt")
	}
	s.open()
	return s
}

func must(err error) {
	if err != nil {
		panic(violation(err.Error()))
	}
}

func (s *sim) close() {
	if s.snap != nil {
		s.snap.Close()
		s.snap = nil
	}
	_ = s.log.Close()
	_ = s.eng.Close()
	if s.dir != "" {
		_ = os.RemoveAll(s.dir)
	}
}

func (s *sim) count(what string) { s.counters[what]++ }

func (s *sim) note(format string, args ...any) {
	s.trace = append(s.trace, fmt.Sprintf("%d: ", s.step)+fmt.Sprintf(format, args...))
	if len(s.trace) > 60 {
		s.trace = s.trace[len(s.trace)-60:]
	}
}

func (s *sim) fail(format string, args ...any) {
	panic(violation(fmt.Sprintf("step %d: ", s.step) + fmt.Sprintf(format, args...)))
}

// open starts a machine on the engine as it is.
func (s *sim) open() {
	s.m = apply.New(s.cfg)
	s.m.OnCommit = func(_ oplog.Entry, res []apply.Result, eff apply.Effects) {
		s.results, s.effects, s.folded = append([]apply.Result(nil), res...), eff, true
	}
	log, err := oplog.Open(s.eng, s.m, oplog.Options{})
	must(err)
	s.log = log
	s.m.SetEpoch(log.Epoch())
	if s.proposer == "" {
		s.newProposer()
	}
}

func (s *sim) newProposer() {
	s.starts++
	s.proposer, s.number = fmt.Sprintf("p%d", s.starts), 0
}

// look reads the world that the latest commit left.
func (s *sim) look() {
	if s.snap != nil {
		s.snap.Close()
	}
	snap, err := s.eng.Snapshot()
	must(err)
	s.snap = snap
	s.prev = s.world
	w, err := s.judge.Look(snap)
	must(err)
	s.world = w
}

func (s *sim) reader() *state.Reader { return state.NewReader(s.cat, s.snap) }

// request is one command and what happens with its answer; res is nil where
// the answer was lost with the server.
type request struct {
	cmd  *command.Command
	done func(res *apply.Result)
	what string
}

// peek answers a pull without an entry where there is nothing to keep, as a
// tenant does; ok is false where the log is needed.
func (s *sim) peek(r request) (ok bool) {
	s.m.Rest(s.snap)
	res, ok := s.m.Peek(r.cmd)
	s.m.Leave()
	if !ok {
		return false
	}
	s.note("%s, peeked", r.what)
	s.count("pull answered without an entry")
	s.effects = apply.Effects{}
	s.judgeResult(r, res, true)
	r.done(&res)
	return true
}

// submit appends one entry with the requests' commands.
func (s *sim) submit(fault string, reqs ...request) {
	if len(reqs) == 0 {
		return
	}
	if !s.still {
		s.now += ident.Millis(s.rng.IntN(2000))
	}
	s.number++
	d := oplog.Draft{Time: s.now, Version: apply.Version, Proposer: s.proposer, Number: s.number}
	for _, r := range reqs {
		s.seeds++
		if r.cmd.Seed == nil {
			r.cmd.Seed = fmt.Appendf(nil, "%d/%d", s.seed, s.seeds)
		}
		raw, err := command.Encode(r.cmd)
		must(err)
		d.Commands = append(d.Commands, raw)
		s.note("%s %s", fault, r.what)
	}
	if s.snap != nil && slices.ContainsFunc(reqs, func(r request) bool { return r.cmd.Push != nil }) {
		s.floor = s.processed()
	}
	mem, _ := s.eng.(*store.Mem)
	if mem == nil {
		fault = ""
	}
	crash := errors.New("crash")
	switch fault {
	case "crash before commit":
		mem.FailCommit = func() error { return crash }
	case "crash after commit":
		mem.LoseCommit = func() error { return crash }
	}
	s.folded = false
	_, err := s.log.Append(context.Background(), d)
	if fault != "" {
		s.count(fault + " of " + kindOf(reqs[0].cmd))
		if !errors.Is(err, store.ErrUnknown) {
			s.fail("a failed commit was told as %v", err)
		}
		s.folded = false
		s.eng = mem.Clone()
		s.open()
		_, err = s.log.Append(context.Background(), d)
		if s.folded != (fault == "crash before commit") {
			s.fail("after %s the retried draft was folded: %v", fault, s.folded)
		}
	}
	must(err)
	s.look()
	if !s.folded {
		for _, r := range reqs {
			if r.cmd.Pull != nil {
				s.lostPage(r.cmd.Device)
			}
			if r.done != nil {
				r.done(nil)
			}
		}
		s.afterCommit()
		return
	}
	results := s.results
	if len(results) != len(reqs) {
		s.fail("%d results for %d commands", len(results), len(reqs))
	}
	for i, r := range reqs {
		s.judgeResult(r, results[i], len(reqs) == 1)
		if s.answered != nil {
			s.answered(r, results[i])
		}
		if r.done != nil {
			res := results[i]
			r.done(&res)
		}
	}
	s.afterCommit()
}

func kindOf(c *command.Command) string {
	switch {
	case c.Write != nil:
		return "a write"
	case c.Push != nil:
		return "a push"
	case c.Pull != nil:
		return "a pull"
	case c.Login != nil:
		return "a login"
	case c.Import != nil:
		return "an import"
	case c.Tick != nil:
		return "a tick"
	case c.Bulk != nil:
		return "a bulk action"
	case c.Replay != nil, c.Discard != nil:
		return "a replay"
	}
	return "another command"
}

// restart opens the store again, as a server that was stopped would.
func (s *sim) restart() {
	s.note("restart")
	s.count("restart")
	must(s.log.Close())
	if mem, ok := s.eng.(*store.Mem); ok {
		s.eng = mem.Clone()
	}
	s.open()
	s.newProposer()
	s.look()
}

// restore puts the server back to an earlier backup: phones are ahead of it.
func (s *sim) restore() {
	if len(s.backups) == 0 {
		return
	}
	i := s.rng.IntN(len(s.backups))
	s.note("restore backup %d of %d", i, len(s.backups))
	s.count("restore from backup")
	must(s.log.Close())
	s.eng = s.backups[i].Clone()
	s.backups = s.backups[:i+1]
	s.now++
	_, err := oplog.BumpEpoch(s.eng, s.now)
	must(err)
	s.open()
	s.newProposer()
	s.world = nil
	s.look()
	s.told = map[toldKey]string{}
	for _, p := range s.phones {
		p.restored()
	}
}

// unique returns a text that no other value of this history has.
func (s *sim) unique() string {
	s.serial++
	return fmt.Sprintf("v%d-%d", s.step, s.serial)
}

func pick[T any](r *rand.Rand, xs []T) T { return xs[r.IntN(len(xs))] }

func (s *sim) chance(percent int) bool { return s.rng.IntN(100) < percent }
