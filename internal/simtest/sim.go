// Package simtest runs the whole core under faults: seeded random histories of
// people and phones over the apply machine and its log, single-threaded, so
// that one seed replays one history. After every step an independent judge
// (package oracle) and a few invariants say whether anything went wrong. It is
// imported by the sim command and by tests; DESIGN.md says what is played, what
// is judged, and what was found.
package simtest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"sort"
	"strings"
	"sync"

	"satchel/internal/command"
	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/internal/oracle"
	"satchel/server/session/token"
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
	// Shrink is how many shorter histories are tried to make a failing one
	// short, 100 unless said; less than 0 for none.
	Shrink int
	Out    io.Writer // the report, nil for none
	// Progress is called after each seed with how many are done; nil for none.
	// Calls come one at a time.
	Progress func(done, total int)
}

// twiceEvery is which seeds are played twice: the two must be the same to the
// byte.
const twiceEvery = 50

// longRun is from how many steps in all on a run has met everything that it is
// to meet: see [Report.Missing].
const longRun = 100_000

// Report is what a run found.
type Report struct {
	Seeds, Steps int
	Twins        bool
	// Failed is the seed of the violation found first, by number of seed;
	// Violation says what is wrong, "" for nothing.
	Failed    int64
	Violation string
	// Replay is the command line that shows the violation again, History what is
	// left of the history after it was shortened.
	Replay  string
	History Replay
	// Trace is the end of the failing history.
	Trace []string
	// Counters says how often what happened.
	Counters map[string]int
	// Matrix says how often which fault met which state of the protocol.
	Matrix map[Cell]int
}

// OK reports whether nothing was violated.
func (r Report) OK() bool { return r.Violation == "" }

// Long reports whether the run had enough steps to have met all that it is to
// meet: 100,000.
func (r Report) Long() bool { return r.Seeds*r.Steps >= longRun }

// Missing returns the counters and the cells of the matrix that are at zero and
// should not be. A short run may well miss some; of one that is Long it is a
// fault of the simulation, which then proves less than it says.
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
	if r.Twins {
		return out
	}
	for _, f := range faultNames {
		for _, st := range f.meets {
			if r.Matrix[Cell{f.name, st}] == 0 {
				out = append(out, f.name+" × "+st)
			}
		}
	}
	return out
}

// Run runs the simulation and stops at the first violation.
func Run(o Options) Report {
	o.Seeds, o.Steps = max(o.Seeds, 1), cmpOr(o.Steps, 300)
	workers := cmpOr(o.Workers, runtime.GOMAXPROCS(0))
	rep := Report{Steps: o.Steps, Twins: o.Twins, Counters: map[string]int{}, Matrix: map[Cell]int{}}
	worlds() // before others read what it makes
	// Much is thrown away and little kept.
	defer debug.SetGCPercent(debug.SetGCPercent(400))
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
				sc := script{seed: o.Seed + int64(i), steps: o.Steps, twins: o.Twins}
				one := runSeed(sc, o.Shrink)
				mu.Lock()
				done++
				rep.Seeds++
				one.addTo(&rep)
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

// addTo adds what one history came to.
func (one *outcome) addTo(rep *Report) {
	for k, n := range one.counters {
		rep.Counters[k] += n
	}
	for c, n := range one.cells {
		rep.Matrix[c] += n
	}
	if one.violation != "" && (rep.OK() || one.script.seed < rep.Failed) {
		rep.Failed, rep.Violation, rep.Trace = one.script.seed, one.violation, one.trace
		rep.History = one.script.replay(one.violation, one.trace)
		rep.Replay = fmt.Sprintf("satchel sim --seed %d --seeds 1 --steps %d", one.script.seed, one.script.steps)
		if one.script.twins {
			rep.Replay += " --twins"
		}
	}
}

// runSeed plays a seed, some of them twice, and shortens what fails.
func runSeed(sc script, tries int) outcome {
	twice := !sc.twins && sc.seed%twiceEvery == 0
	sc.hashed = twice
	out := sc.play()
	if out.violation == "" && twice {
		if again := sc.play(); again.hash != out.hash {
			out.violation, out.kind = fmt.Sprintf("played twice, the history is two: %s and %s, entry by entry alike up to %d",
				out.hash, again.hash, alike(out.entries, again.entries)), "played twice"
			out.trace = append(out.trace, again.trace...)
		}
		out.count("histories played twice")
		return out
	}
	if out.violation != "" && tries >= 0 {
		return shrink(out, cmpOr(tries, 100), script.play)
	}
	return out
}

// alike is how many entries two histories have in common from the start.
func alike(a, b [][sha256.Size]byte) int {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
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
	printMatrix(&b, r.Matrix)
	if r.OK() {
		fmt.Fprintf(&b, "%d seeds of %d steps: no violation\n", r.Seeds, r.Steps)
	} else {
		for _, l := range r.Trace {
			fmt.Fprintf(&b, "  %s\n", l)
		}
		fmt.Fprintf(&b, "seed %d: %s\n", r.Failed, r.Violation)
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

// script is a history to be played: which steps of which seed. A step draws
// from a stream of chances of its own, so that steps which are left out leave
// the others as they are.
type script struct {
	seed   int64
	steps  int
	twins  bool
	keep   []int // the steps to be played, ascending; nil for all
	hashed bool  // with a hash of everything
	// planted is a fault of the product's, or of a phone's, that the judge must
	// find: for tests.
	planted planted
}

// planted are faults that stand in no history but those of tests.
type planted string

const (
	plantFrom planted = "phones apply a page wherever they are"
	plantWake planted = "devices that a change touches are not named"
	plantLoss planted = "what was committed is gone after a crash"
)

// each calls f for the steps of the script.
func (sc script) each(f func(step int)) {
	if sc.keep != nil {
		for _, n := range sc.keep {
			f(n)
		}
		return
	}
	for n := range sc.steps {
		f(n)
	}
}

// all are the steps of the script.
func (sc script) all() (out []int) {
	sc.each(func(n int) { out = append(out, n) })
	return out
}

// outcome is what one history came to.
type outcome struct {
	script    script
	violation string
	kind      string // of violation, without what differs from one to the next
	step      int    // at which it showed; that of settling is script.steps
	trace     []string
	counters  map[string]int
	cells     map[Cell]int
	hash      string
	entries   [][sha256.Size]byte // each entry's, where hashed
}

func (one *outcome) count(what string) { one.counters[what]++ }

// play plays a script.
func (sc script) play() outcome {
	if sc.twins {
		return sc.playTwins()
	}
	return sc.playOne()
}

// violation ends a history.
type violation struct{ text, kind string }

func (v violation) Error() string { return v.text }

// recovered makes a violation of what was recovered from a panic.
func recovered(p any) violation {
	if v, ok := p.(violation); ok {
		return v
	}
	buf := make([]byte, 4096)
	return violation{fmt.Sprintf("panic: %v\n%s", p, buf[:runtime.Stack(buf, false)]), "panic"}
}

func (sc script) playOne() (out outcome) {
	s := newSim(sc.seed)
	defer s.close()
	s.planted = sc.planted
	if sc.hashed {
		s.hash = sha256.New()
	}
	defer func() {
		p := recover()
		out = outcome{script: sc, counters: s.counters, cells: s.cells, trace: s.traced(), step: s.step, entries: s.hashes}
		if s.hash != nil {
			out.hash = hex.EncodeToString(s.hash.Sum(nil)[:8])
		}
		if p != nil {
			v := recovered(p)
			out.violation, out.kind = v.text, v.kind
		}
	}()
	s.begin()
	s.begun = true
	s.draw()
	sc.each(func(n int) {
		s.enter(n)
		s.random()
	})
	s.enter(sc.steps)
	s.settle()
	return out
}

// enter begins a step with chances of its own: those of the history and,
// apart, those of what is looked at.
func (s *sim) enter(n int) {
	s.step, s.serial, s.seeds = n, 0, 0
	s.rng = rand.New(rand.NewPCG(uint64(s.seed), uint64(n)+1))
	s.dice = rand.New(rand.NewPCG(uint64(s.seed)^0x5eed, uint64(n)+1))
}

// sim is one history.
type sim struct {
	seed int64
	step int
	rng  *rand.Rand // of what happens
	dice *rand.Rand // of what is looked at
	// weather is how often which fault befalls this history.
	weather weather
	planted planted
	cat     *entity.Catalogue
	suites  *suites
	cfg     apply.Config
	eras    []era
	// theme is what the history is mostly about.
	theme *theme

	eng      store.Engine
	dir      string // of a bolt store
	files    int    // made there
	dead     []store.Engine
	log      oplog.Log
	m        *apply.Machine
	proposer string
	starts   int
	runs     int // of the machine, each with an ahead of its own
	ahead    *apply.Ahead
	number   uint64
	now      ident.Millis // the server's clock
	pace     int          // up to how many milliseconds pass between entries
	serial   int          // for unique values
	seeds    int
	key      token.RefreshKey

	results []apply.Result
	effects apply.Effects
	changes int // of records, so far
	folded  bool
	begun   bool // the tenant is set up
	still   bool // time stands, so that nothing falls due while everybody pulls

	judge *oracle.Judge
	snap  store.Snapshot
	looks int           // how many worlds were looked at
	world *oracle.World // as of the latest commit
	prev  *oracle.World // one before; its rows are not to be read
	due   ident.Millis  // when something next falls due, 0 for never
	fell  bool          // something did with the latest commit
	held  map[ident.DeviceID]map[ident.RecordID]oracle.Shown
	// altered: the roles are not those of the manual for now, so that what
	// people may see is not held against it.
	altered bool
	passed  bool // the pull being judged is not the last of its device in the entry

	people   []ident.RecordID
	phones   []*phone
	under    []request // of people without a phone, that are late
	backups  []backup
	base     *store.Mem // what the log's entries are replayed on
	baseAt   ident.Position
	told     map[toldKey]string        // results told, by device and number
	floor    map[ident.DeviceID]uint64 // numbers in effect before the push under way
	sessions map[ident.SessionID]sessionRow
	parsed   map[string]sessionRow   // by the row's bytes
	devices  map[string]deviceRow    // likewise
	made     map[ident.RecordID]bool // acknowledged creations
	keyed    map[string]keyUse

	counters map[string]int
	cells    map[Cell]int
	trace    []note
	hash     hash.Hash
	hashes   [][sha256.Size]byte

	// Of twin worlds: no phones of the cast's own, what is picked from is fixed,
	// and answers are written down.
	quietSetup bool
	fixed      map[string][]*oracle.Record
	answered   func(r request, res apply.Result)
}

// keyUse is what an idempotency key was used for, and when.
type keyUse struct {
	id ident.RecordID
	at ident.Millis
}

type toldKey struct {
	device ident.DeviceID
	n      uint64
}

// note is a line of the trace, put into words only when somebody reads it.
type note struct {
	step   int
	format string
	args   []any
}

// start is when every history begins.
const start ident.Millis = 1_700_000_000_000

func newSim(seed int64) *sim {
	all := worlds()
	s := &sim{
		seed: seed, step: -1, theme: themes[uint64(seed)%uint64(len(themes))], suites: all, cat: all.plain.Cat, cfg: all.plain,
		now: start, pace: 2000, judge: oracle.New(all.plain.Cat), weather: weather{},
		counters: map[string]int{}, cells: map[Cell]int{}, told: map[toldKey]string{}, sessions: map[ident.SessionID]sessionRow{},
		parsed: map[string]sessionRow{}, devices: map[string]deviceRow{},
		made: map[ident.RecordID]bool{}, keyed: map[string]keyUse{}, held: map[ident.DeviceID]map[ident.RecordID]oracle.Shown{},
	}
	s.enter(-1)
	s.eng = store.NewMem()
	return s
}

func must(err error) {
	if err != nil {
		panic(violation{err.Error(), "error"})
	}
}

func (s *sim) close() {
	if s.snap != nil {
		s.snap.Close()
		s.snap = nil
	}
	if s.log != nil {
		_ = s.log.Close()
	}
	for _, e := range append(s.dead, s.eng) {
		_ = e.Close()
	}
	if s.dir != "" {
		_ = os.RemoveAll(s.dir)
	}
}

func (s *sim) count(what string) { s.counters[what]++ }

// maxTrace is how many lines of the trace are kept.
const maxTrace = 60

// note adds a line to the trace; its arguments must stay as they are.
func (s *sim) note(format string, args ...any) {
	if len(s.trace) >= 4*maxTrace {
		s.trace = append(s.trace[:0], s.trace[len(s.trace)-maxTrace:]...)
	}
	s.trace = append(s.trace, note{s.step, format, args})
}

// traced puts the end of the trace into words.
func (s *sim) traced() (out []string) {
	for _, n := range s.trace[max(0, len(s.trace)-maxTrace):] {
		for i, a := range n.args {
			if f, ok := a.(func() string); ok {
				n.args[i] = f()
			}
		}
		out = append(out, fmt.Sprintf("%d: ", n.step)+fmt.Sprintf(n.format, n.args...))
	}
	return out
}

func (s *sim) fail(format string, args ...any) {
	panic(violation{fmt.Sprintf("step %d: ", s.step) + fmt.Sprintf(format, args...), format})
}

// open starts a machine on the engine as it is.
func (s *sim) open() {
	s.m = apply.New(s.cfg)
	s.runs++
	for _, p := range s.phones {
		p.quiet = false // their sockets were closed, and they pull when they connect
	}
	s.ahead = apply.NewAhead(sha256.Sum256(fmt.Appendf(nil, "%d/%d", s.seed, s.runs)))
	s.m.OnCommit = func(e oplog.Entry, res []apply.Result, eff apply.Effects) {
		s.results, s.effects, s.folded = append([]apply.Result(nil), res...), eff, true
		s.changes += len(eff.Touched)
		if s.hash != nil {
			raw := oplog.Encode(e)
			s.hash.Write(raw)
			s.hashes = append(s.hashes, sha256.Sum256(raw))
		}
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
	for _, e := range s.dead {
		must(e.Close())
	}
	s.dead = s.dead[:0]
	snap, err := s.eng.Snapshot()
	must(err)
	s.snap = snap
	s.looks++
	s.prev = s.world
	w, err := s.judge.Look(snap)
	must(err)
	s.world = w
	clear(s.held)
	s.fell = s.due != 0 && s.due <= w.Now
	s.due, _ = apply.NextDue(snap)
	if s.prev != nil && w.Now < s.prev.Now {
		s.fail("tenant time went back by %d ms", s.prev.Now-w.Now)
	}
}

func (s *sim) reader() *state.Reader { return state.NewReader(s.cat, s.snap) }

// request is one command and what happens with its answer.
type request struct {
	cmd  *command.Command
	what func() string
	from *phone // who sends it, nil for people without a phone
	good ident.Millis
	// read judges the answer as of the commit and returns what it does to
	// whoever gets it; nil for nothing.
	read func(res *apply.Result) func()
	// again makes the request once more, as its sender would; nil for the same
	// command with other randomness of the edge's.
	again func() request
	fate  string      // of the answer
	asked apply.Asked // of a pull
	run   int         // of the machine that it was sent to
}

// depart is what a tenant does with a pull before it goes on to the log. The
// request as it was sent stays what it was.
func (s *sim) depart(r request) request {
	if r.cmd.Pull == nil {
		return r
	}
	sent, c, p := r.cmd, *r.cmd, *r.cmd.Pull
	c.Pull = &p
	r.asked, r.run = s.ahead.Before(&c), s.runs
	if r.again == nil {
		r.again = func() request {
			again := r
			again.cmd, again.again = sent, nil
			return again.repeated()
		}
	}
	r.cmd = &c
	return r
}

func said(format string, args ...any) func() string {
	return func() string { return fmt.Sprintf(format, args...) }
}

// repeated is the request once more.
func (r request) repeated() request {
	if r.again != nil {
		return r.again()
	}
	c := *r.cmd
	c.Seed = nil
	r.cmd, r.fate = &c, ""
	return r
}

// peek answers a pull without an entry where there is nothing to keep, as a
// tenant does; ok is false where the log is needed.
func (s *sim) peek(r request) (ok bool) {
	if s.over(r) {
		return false
	}
	if at, due := apply.NextDue(s.snap); (due && at <= s.now) || s.now.Day() > s.world.Now.Day() {
		return false
	}
	s.m.Rest(s.snap)
	r = s.depart(r)
	res, ok := s.m.Peek(r.cmd)
	s.m.Leave()
	if !ok {
		return false
	}
	s.note("%s, peeked", r.what)
	s.count("pull answered without an entry")
	s.effects = apply.Effects{}
	s.remember([]request{r})
	s.answer(r, res, true)
	return true
}

// submit hands requests to the server in one entry. What befalls the commit is
// said by fault, "" for nothing.
func (s *sim) submit(fault string, reqs ...request) {
	if !s.still && len(reqs) > 0 {
		s.now += ident.Millis(s.rng.IntN(s.pace))
	}
	reqs = slices.DeleteFunc(reqs, s.turnedAway)
	if len(reqs) == 0 {
		return
	}
	s.number++
	d := oplog.Draft{Time: s.now, Version: s.m.InForce(), Proposer: s.proposer, Number: s.number}
	for i, r := range reqs {
		s.seeds++
		r = s.depart(r)
		reqs[i] = r
		if r.cmd.Seed == nil {
			r.cmd.Seed = fmt.Appendf(nil, "%d/%d/%d", s.seed, s.step, s.seeds)
		}
		raw, err := command.Encode(r.cmd)
		must(err)
		d.Commands = append(d.Commands, raw)
		s.note("%s %s", fault, r.what)
	}
	s.remember(reqs)
	s.folded = false
	if !s.commit(fault, d, reqs) {
		return
	}
	s.look()
	if !s.folded {
		for _, r := range reqs {
			if r.cmd.Pull != nil {
				s.lostPage(r.cmd.Device)
			}
			s.unanswered(r)
		}
		s.afterCommit()
		return
	}
	results := s.results
	if len(results) != len(reqs) {
		s.fail("%d results for %d commands", len(results), len(reqs))
	}
	for i, r := range reqs {
		// What a device said of itself with a later pull of the same entry did not
		// count for the earlier one's page.
		s.passed = r.cmd.Pull != nil && slices.ContainsFunc(reqs[i+1:], func(o request) bool {
			return o.cmd.Pull != nil && o.cmd.Device == r.cmd.Device
		})
		s.answer(r, results[i], len(reqs) == 1)
	}
	s.passed = false
	s.afterCommit()
}

// answer judges a result and hands it to whoever asked.
func (s *sim) answer(r request, res apply.Result, alone bool) {
	if res.Page != nil {
		if res.Page.Ahead {
			s.count("page that is not stored")
			if r.cmd.Pull.Since != nil {
				s.count("page that is not stored, after another")
			}
		}
		s.ahead.After(r.cmd.Device, r.asked, res.Page)
	}
	if s.hash != nil {
		s.hashResult(&res)
	}
	s.judgeResult(r, res, alone)
	if s.answered != nil {
		s.answered(r, res)
	}
	if r.read == nil {
		return
	}
	take := r.read(&res)
	if take == nil {
		return
	}
	p := r.from
	incarnation := ""
	if p != nil {
		incarnation = p.incarnation
	}
	arrive := func() {
		if p == nil || p.incarnation == incarnation {
			take()
		}
		if p != nil && r.run != s.runs {
			p.quiet = false // another run of the server does not know where it is
		}
	}
	switch r.fate {
	case answerLost:
	case answerLate:
		p.late = append(p.late, arrive)
	case answerTwice:
		arrive()
		arrive()
	default:
		arrive()
	}
}

// hashResult adds what a command was answered to the history's hash.
func (s *sim) hashResult(res *apply.Result) {
	x := struct {
		Err, Refused string
		ID           ident.RecordID
		Body         string
		Rev          string
		Push, Login  any
		Bulk         []string
	}{ID: res.ID, Body: string(res.Body), Rev: res.Rev, Push: res.Push, Login: res.Login}
	for _, e := range []struct {
		err error
		to  *string
	}{{res.Err, &x.Err}, {res.Refused, &x.Refused}} {
		if e.err != nil {
			f := fault.Of(e.err)
			*e.to = string(f.Code) + " " + f.Message + " " + f.Field
		}
	}
	for _, it := range res.Bulk {
		x.Bulk = append(x.Bulk, fmt.Sprint(it))
	}
	b, err := json.Marshal(x)
	must(err)
	s.hash.Write(b)
}

func kindOf(c *command.Command) string {
	switch {
	case c.Write != nil && c.Write.Type == conflictType:
		return "a conflict's settling"
	case c.Write != nil:
		return "a write"
	case c.Push != nil:
		return "a push"
	case c.Pull != nil:
		return "a pull"
	case c.Login != nil:
		return "a login"
	case c.Refresh != nil:
		return "a refresh"
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

// unique returns a text that no other value of this history has.
func (s *sim) unique() string {
	s.serial++
	return fmt.Sprintf("v%d-%d", s.step, s.serial)
}

func pick[T any](r *rand.Rand, xs []T) T { return xs[r.IntN(len(xs))] }

func (s *sim) chance(percent int) bool { return s.rng.IntN(100) < percent }

// path is the name of a new file of a bolt store.
func (s *sim) path() string {
	if s.dir == "" {
		dir, err := os.MkdirTemp("", "satchel-sim-")
		must(err)
		s.dir = dir
	}
	s.files++
	return filepath.Join(s.dir, fmt.Sprintf("tenant-%d.db", s.files))
}

func (s *sim) openBolt(path string) store.Engine {
	b, err := store.OpenBolt(path, store.Options{NoSync: true, InitialMmapSize: 16 << 20})
	must(err)
	return b
}

var errCrash = errors.New("crash")

func (s *sim) append(d oplog.Draft) error {
	_, err := s.log.Append(context.Background(), d)
	return err
}
