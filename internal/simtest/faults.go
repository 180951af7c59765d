package simtest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"satchel/internal/ident"
	"satchel/sync/store"
)

// wanted are the counters that a long run must not leave at zero: what never
// happened proves nothing.
var wanted = slices.Concat([]string{
	"a day passes", "something falls due", "client listed", "client unlisted", "visibility mode switched", "role granted",
	"role revoked", "client moves to another area", "several commands in one entry", "histories on bolt", "log replayed",
	"complete page", "removal", "context record sent: jobActivity", "context record sent: task", "reset page",
	"reset page of some types", "mobile ended", "pull answered without an entry", "quiet device left alone",
	"page applied", "page refused by its from",
	"result told again", "outbox numbered anew", "push: number_gap", "push: number_reused",
	"mutation applied ", "mutation conflict conflict", "mutation refused depends_on", "mutation refused not_found",
	"mutation refused bad_id", "mutation refused not_allowed", "mutation refused mobile_module_required",
	"mutation of what is not seen", "write to what is not seen", "wipe ordered",
	"person who is out", "device in step", "clone in step", "right delegated", "person compared who acts for another",
	"role limited to clients", "conflict settled offline", "bundle replayed", "bundle not replayed", "bundle discarded",
	"done: conflict action keep-mine", "bulk action", "bulk item done", "right to write judged", "bulk item refused: not_found",
	"merge: written", "merge: kept", "delete of what nobody changed", "delete of what was changed",
	"work set aside is kept", "what was told written stands", "write with a key told again", "store verified",
	"session ended", "request of a revoked device", "request of a session that is over", "request of a session that has expired",
	"turned away: a pull", "turned away: a push", "refresh token current", "refresh token used again for a lost answer",
	"refresh token used twice", "refresh token of a session that is over", "refresh token of a revoked device",
	"thief served", "thief refused", "found to be a copy", "answer to an older refresh token", "refusal of an older session",
	"late answer arrives", "pull because of a wake-up", "changes that a slow reader lets pass", "rows cut from the audit trail",
	clockOff, appUpdated, tornWrite + ", the commit kept", tornWrite + ", the commit lost", tornWrite + " of several commands",
},
	each([]string{crashBefore, crashAfter}, " of ", "a write", "a pull", "a push", "a login", "a refresh", "a tick", "an import", "several commands"),
	each([]string{unknownLost, unknownKept, writeFails, diskFull}, " of ", "a write", "a pull", "a push", "a login", "a refresh", "several commands"),
	each([]string{requestLost, requestLate, requestTwice}, ": ", "a pull", "a push", "a login", "a refresh", "a write", "a bulk action",
		"a replay", "a conflict's settling"),
	each([]string{answerLost, answerLate, answerTwice}, ": ", "a pull", "a push", "a login", "a refresh"),
)

// each joins every fault with everything that it can befall.
func each(faults []string, by string, what ...string) (out []string) {
	for _, f := range faults {
		for _, w := range what {
			out = append(out, f+by+w)
		}
	}
	return out
}

// wantedOfTwins are those of twin worlds.
var wantedOfTwins = []string{"answers compared", "removal", "mutation applied ", "mutation refused not_found", "device in step", "hidden work replayed"}

// Faults of a commit.
const (
	crashBefore = "crash before commit"
	crashAfter  = "crash after commit"
	unknownLost = "commit unknown, lost"
	unknownKept = "commit unknown, kept"
	writeFails  = "write fails in the midst"
	diskFull    = "disk full"
	tornWrite   = "torn write"
)

// Faults of the network, of a request or of its answer.
const (
	requestLost  = "request lost"
	requestLate  = "request late"
	requestTwice = "request twice"
	answerLost   = "answer lost"
	answerLate   = "answer late"
	answerTwice  = "answer twice"
)

// Faults of the server beyond one commit.
const (
	restarted    = "restart"
	restored     = "restore from backup"
	compacted    = "store compacted"
	trailCut     = "audit trail cut"
	logTruncated = "log truncated"
	rolesChanged = "roles changed"
	schemaGrows  = "schema changed"
	clockAhead   = "clock years ahead"
	clockBack    = "clock set back"
)

// Faults of phones.
const (
	clockOff      = "phone's clock years off"
	phoneCloned   = "phone cloned"
	phoneOlder    = "phone restored unnoticed"
	phoneRestored = "phone restored"
	tokenOver     = "access token over"
	tokenStolen   = "refresh token stolen"
	refreshTwice  = "refresh token used twice"
	slowReader    = "slow reader"
	wakeLost      = "wake-up lost"
	sessionEnds   = "session about to end"
	appUpdated    = "app updated"
)

// States of the protocol that a phone is met in.
const (
	signedOut     = "signed out"
	noCheckpoint  = "no checkpoint"
	inFlight      = "page in flight"
	ackPending    = "acknowledgement pending"
	midRound      = "mid-round"
	resetPending  = "reset pending"
	astrayState   = "astray"
	atRest        = "at rest"
	outboxEmpty   = "outbox empty"
	outboxFull    = "outbox not empty"
	resultsNotHad = "results not had"
	refusedWork   = "refused work"
	fieldProfile  = "field"
	olderSchema   = "older schema"
)

var everyState = []string{
	signedOut, noCheckpoint, inFlight, ackPending, midRound, resetPending, astrayState, atRest, outboxEmpty, outboxFull,
	resultsNotHad, refusedWork, fieldProfile, olderSchema,
}

// faultNames are all faults, how often each comes where it comes lightly, per
// thousand of its occasions, and the states that a long run must meet it in.
var faultNames = []struct {
	name  string
	rate  int
	meets []string
}{
	// Of commits: each request that is in the entry counts for its phone.
	{crashBefore, 8, without(everyState, resetPending, olderSchema)},
	{crashAfter, 8, without(everyState, resetPending, olderSchema)},
	{unknownLost, 6, without(everyState, resetPending, olderSchema)},
	{unknownKept, 6, without(everyState, resetPending, olderSchema)},
	{writeFails, 6, without(everyState, resetPending, olderSchema)},
	{diskFull, 8, without(everyState, resetPending, olderSchema)},
	{tornWrite, 30, without(everyState, noCheckpoint, resetPending, resultsNotHad, olderSchema)},
	// Of the network: the phone whose request it is.
	{requestLost, 40, without(everyState)},
	{requestLate, 40, without(everyState)},
	{requestTwice, 40, without(everyState)},
	{answerLost, 60, without(everyState)},
	{answerLate, 60, without(everyState)},
	{answerTwice, 40, without(everyState)},
	// Of the server: every phone.
	{restarted, 12, without(everyState)},
	{restored, 3, without(everyState, resetPending, olderSchema)},
	{compacted, 12, without(everyState, resetPending, olderSchema)},
	{trailCut, 3, without(everyState)},
	{logTruncated, 3, without(everyState)},
	{rolesChanged, 5, without(everyState)},
	{schemaGrows, 5, without(everyState)},
	{clockAhead, 3, without(everyState, astrayState)},
	{clockBack, 3, without(everyState, astrayState)},
	// Of a phone: that one.
	{clockOff, 200, nil},
	{phoneCloned, 4, without(everyState, signedOut, resetPending, olderSchema)},
	{phoneOlder, 6, without(everyState, resetPending, olderSchema)},
	{phoneRestored, 6, without(everyState, resetPending, olderSchema)},
	{tokenOver, 0, without(everyState, signedOut)},
	{tokenStolen, 8, without(everyState, signedOut, resetPending, olderSchema)},
	{refreshTwice, 200, without(everyState, signedOut)},
	{slowReader, 3, without(everyState, signedOut, resetPending, astrayState, resultsNotHad, olderSchema)},
	{wakeLost, 300, []string{ackPending, atRest, outboxEmpty, outboxFull, refusedWork, fieldProfile}},
	{sessionEnds, 3, nil},
	{appUpdated, 20, nil},
}

func without(all []string, less ...string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(s string) bool { return slices.Contains(less, s) })
}

// weather is how often which fault comes, per thousand of its occasions.
type weather map[string]int

// draw gives the history a character of its own: which faults it has and how
// often, and how fast time passes.
func (s *sim) draw() {
	rng := rand.New(rand.NewPCG(uint64(s.seed), 1<<62))
	s.weather = weather{}
	mood := rng.IntN(12)
	for _, f := range faultNames {
		switch n := rng.IntN(10); {
		case mood == 0: // calm
		case mood == 1, n >= 8:
			s.weather[f.name] = min(4*f.rate, 600)
		case n >= 4:
			s.weather[f.name] = f.rate
		}
	}
	if _, mem := s.eng.(*store.Mem); !mem && mood != 0 { // a few histories have a file at all
		s.weather[tornWrite], s.weather[compacted] = 60, 20
	}
	s.pace = []int{500, 2000, 2000, 20_000, 90_000}[rng.IntN(5)]
	for _, p := range s.phones {
		p.live = rng.IntN(100) < 60
		if s.weather[schemaGrows] > 0 {
			p.schema = rng.IntN(3)
		}
		if rng.IntN(1000) < s.weather[clockOff] {
			p.skew = ident.Millis(rng.IntN(20)-10) * 365 * day
			s.count(clockOff)
		} else {
			p.skew = ident.Millis(rng.IntN(600_000) - 300_000)
		}
	}
}

const day ident.Millis = 24 * 60 * 60 * 1000

// befalls reports whether a fault comes on this occasion.
func (s *sim) befalls(f string) bool {
	n := s.weather[f]
	return n > 0 && s.rng.IntN(1000) < n
}

// fault picks what befalls a commit, "" for nothing.
func (s *sim) fault() string {
	_, mem := s.eng.(*store.Mem)
	for _, f := range []string{crashBefore, crashAfter, unknownLost, unknownKept, writeFails, diskFull} {
		if s.befalls(f) && mem {
			return f
		}
	}
	if s.befalls(tornWrite) && !mem {
		return tornWrite
	}
	return ""
}

// send gives a request to the network, which may lose, hold back or double it
// or its answer.
func (s *sim) send(r request) {
	p := r.from
	if p != nil && p.reliable {
		s.submit("", r)
		return
	}
	meets := func(f string) {
		s.met(f, p)
		s.count(f + ": " + kindOf(r.cmd))
	}
	later := func(r request) {
		if p != nil {
			p.under = append(p.under, r)
		} else {
			s.under = append(s.under, r)
		}
	}
	switch {
	case s.befalls(requestLost):
		meets(requestLost)
		s.note("lost: %s", r.what)
		return
	case s.befalls(requestLate):
		meets(requestLate)
		s.note("late: %s", r.what)
		later(r)
		return
	}
	if p != nil {
		for _, f := range []string{answerLost, answerLate, answerTwice} {
			if s.befalls(f) {
				meets(f)
				r.fate = f
				break
			}
		}
	}
	if !s.befalls(requestTwice) {
		s.submit(s.fault(), r)
		return
	}
	meets(requestTwice)
	again := r.repeated()
	what := again.what
	again.what = func() string { return "again: " + what() }
	switch s.rng.IntN(3) {
	case 0: // both at once
		s.submit(s.fault(), r, again)
	case 1:
		s.submit(s.fault(), r)
		s.submit(s.fault(), again)
	default:
		later(again)
		s.submit(s.fault(), r)
	}
}

// Cell says that a fault met a phone in a state of the protocol.
type Cell struct{ Fault, State string }

// met counts which states a fault met; a nil phone has none.
func (s *sim) met(f string, phones ...*phone) {
	s.count(f)
	for _, p := range phones {
		if p != nil {
			for _, st := range s.states(p) {
				s.cells[Cell{f, st}]++
			}
		}
	}
}

// states are those that a phone and the server's account of it are in.
func (s *sim) states(p *phone) (out []string) {
	add := func(name string, is bool) {
		if is {
			out = append(out, name)
		}
	}
	row := s.deviceRow(p.device)
	n := pageNumber(p.cp)
	add(signedOut, p.session == "")
	add(noCheckpoint, p.session != "" && p.cp == "")
	add(inFlight, row.Pending != nil && row.Pending.N != n)
	add(ackPending, row.Pending != nil && row.Pending.N == n)
	add(midRound, row.Target != 0 || row.Pending != nil && row.Pending.Target != 0)
	add(resetPending, row.Pending != nil && row.Pending.Reset)
	add(astrayState, p.astray)
	add(atRest, p.session != "" && p.cp != "" && row.Pending == nil && row.Target == 0)
	add(outboxEmpty, len(p.outbox) == 0)
	add(outboxFull, len(p.outbox) > 0)
	add(resultsNotHad, row.Processed > p.acked)
	add(refusedWork, len(row.Failed) > 0)
	add(fieldProfile, row.Field)
	add(olderSchema, s.newerThan(row.Schema) != nil)
	return out
}

// deviceRow is what is stored of a device, as far as it is looked at here.
type deviceRow struct {
	Processed uint64            `json:"processed"`
	Acked     uint64            `json:"acked"`
	Target    ident.Position    `json:"target"`
	Failed    []json.RawMessage `json:"failed"`
	Field     bool              `json:"field"`
	Schema    int               `json:"schema"`
	Pending   *struct {
		N      uint64         `json:"n"`
		Target ident.Position `json:"target"`
		Reset  bool           `json:"reset"`
	} `json:"pending"`
}

// deviceRow reads a device's row, a zero one where there is none.
func (s *sim) deviceRow(id ident.DeviceID) (row deviceRow) {
	v := s.snap.Get(store.Devices, append([]byte{'d'}, id...))
	if v == nil || id == "" {
		return row
	}
	row, ok := s.devices[string(v)]
	if !ok {
		must(json.Unmarshal(v, &row))
		s.devices[string(v)] = row
	}
	return row
}

// pageNumber is the number of the page that a checkpoint is of, 0 for none.
func pageNumber(checkpoint string) uint64 {
	num, _, _ := strings.Cut(checkpoint, ".")
	n, _ := strconv.ParseUint(num, 36, 64)
	return n
}

// printMatrix renders the matrix, a line a fault, the states above.
func printMatrix(b *strings.Builder, m map[Cell]int) {
	if len(m) == 0 {
		return
	}
	for i, st := range everyState {
		fmt.Fprintf(b, "%28s%s %s\n", "", strings.Repeat("       |", i), "     ┌ "+st)
	}
	for _, f := range faultNames {
		line := ""
		for _, st := range everyState {
			line += fmt.Sprintf("%8d", m[Cell{f.name, st}])
		}
		fmt.Fprintf(b, "%-28s%s\n", f.name, line)
	}
}
