// Package tenant runs one tenant: it owns the engine, the log and the apply
// machine, gathers what is waiting into one entry and one commit, answers
// everybody, and wakes the devices that may have something to pull. Edges
// talk to tenants through it and nothing beneath.
package tenant

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"satchel/internal/command"
	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/internal/mutant"
	"satchel/internal/policy"
	"satchel/sync/apply"
	"satchel/sync/column"
	"satchel/sync/oplog"
	"satchel/sync/outbox"
	"satchel/sync/pull"
	"satchel/sync/state"
	"satchel/sync/store"
	"satchel/sync/subject"
)

// Options say how a tenant is run.
type Options struct {
	ID     ident.TenantID
	Cat    *entity.Catalogue
	Roles  *subject.Roles
	Field  []policy.Selection
	Rules  *outbox.Rules
	Engine store.Engine
	// Clock and Random stand outside apply: what they yield goes into
	// commands.
	Clock  func() time.Time
	Random io.Reader
	Log    *slog.Logger
	// KeepEntries is how many log entries are kept behind the last one; 0 for
	// DefaultKeepEntries. The state does not need them: they are there to be
	// looked at and replayed.
	KeepEntries int
	// Columns bounds the memory of the columns that lists use, together with
	// those of other tenants; nil for a budget of the tenant's own, of the
	// default size.
	Columns *column.Budget
}

// DefaultKeepEntries is how many log entries a tenant keeps.
const DefaultKeepEntries = 50_000

// truncateEvery is after how many entries the log's far end is cut, a commit's
// worth at a time.
const truncateEvery = 1000

// Limits of a batch.
const (
	maxBatch      = 256
	maxBatchBytes = oplog.MaxEntryBytes - 64<<10
	queueLength   = 4096
)

// Tenant is one tenant being served. Its methods may be called by many
// goroutines.
type Tenant struct {
	opts     Options
	machine  *apply.Machine
	log      oplog.Log
	queue    chan *request
	wake     chan struct{} // something about due times may have changed
	quit     chan struct{}
	done     chan struct{}
	closing  sync.Once
	proposer string
	number   uint64
	pages    chan struct{}               // pulls under way
	encoders chan struct{}               // pages being encoded
	handouts chan struct{}               // batches of pages that nobody asked for
	due      []*Live                     // that such pages are to be worked out for; the loop's
	stored   map[ident.DeviceID]struct{} // of those, who turned out to need an entry; the loop's
	failed   atomic.Pointer[error]
	rest     store.Snapshot

	batch   []*request // being appended, for answers
	answers *batchAnswers
	bodies  apply.Bodies // of pages of the committed state that need no entry
	keeps   bool         // there may be such, or what they bring

	day   ident.Day    // of the last entry: windows of field devices move with it
	retry ident.Millis // no tick before: the last one found no space

	mu    sync.Mutex
	lives map[ident.DeviceID]*Live
	came  map[ident.DeviceID]struct{} // or went, since the loop last looked
	gone  int                         // the close code for who joins once all were ended, 0 before

	posted   chan struct{} // the outbox, or devices to be told, want looking at
	sleepers sleepers

	reading atomic.Int64 // views and holds
	entered atomic.Int64 // when the last entry was made, in nanoseconds of the process

	subjects   subjectCache
	columns    *column.Store
	ahead      *apply.Ahead
	foresights foresights
	Stats      Stats
}

// Stats counts what a tenant did; read with atomic loads.
type Stats struct {
	Entries, Commands, Peeked, Pages, Wakes atomic.Uint64
	// Foreseen counts the pages that were computed before they were asked for,
	// Offered those that nobody asks for.
	Foreseen, Offered atomic.Uint64
}

type request struct {
	ctx  context.Context
	cmd  *command.Command
	raw  []byte
	told apply.Told // of a pull
	// foreseen is what a pull is presumed to bring, nil for nothing.
	foreseen *apply.Foreseen
	done     chan answer
}

type answer struct {
	res  apply.Result
	snap store.Snapshot // of the commit, where the result has a page
	twin store.Snapshot // another of the same, where the page is large
	body *apply.Body    // that the page shares with others; nil for none
	mine bool           // it is to be made here
	room []byte         // that the page may be encoded in; nil for room of its own
	err  error
}

// close lets go of the state that the answer's page is read from, and of those
// who wait for its body.
func (a *answer) close() {
	if a.mine {
		a.body.Abandon()
	}
	for _, s := range []store.Snapshot{a.snap, a.twin} {
		if s != nil {
			s.Close()
		}
	}
}

type batchAnswers struct {
	results []apply.Result
	eff     apply.Effects
}

// Open starts a tenant on its engine. The engine is the tenant's from then on
// and closed with it.
func Open(opts Options) (*Tenant, error) {
	if opts.Clock == nil || opts.Random == nil {
		return nil, errors.New("tenant: no clock or randomness")
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	var inc [16]byte
	var run [32]byte
	if _, err := io.ReadFull(opts.Random, inc[:]); err != nil {
		return nil, fmt.Errorf("tenant: %w", err)
	}
	if _, err := io.ReadFull(opts.Random, run[:]); err != nil {
		return nil, fmt.Errorf("tenant: %w", err)
	}
	t := &Tenant{
		opts:     opts,
		machine:  apply.New(apply.Config{Cat: opts.Cat, Roles: opts.Roles, Field: opts.Field, Rules: opts.Rules, Log: opts.Log}),
		queue:    make(chan *request, queueLength),
		wake:     make(chan struct{}, 1),
		quit:     make(chan struct{}),
		done:     make(chan struct{}),
		proposer: hex.EncodeToString(inc[:]),
		pages:    make(chan struct{}, maxBatch),
		encoders: make(chan struct{}, max(2, runtime.GOMAXPROCS(0))),
		handouts: make(chan struct{}, handouts()),
		lives:    map[ident.DeviceID]*Live{},
		came:     map[ident.DeviceID]struct{}{},
		stored:   map[ident.DeviceID]struct{}{},
		ahead:    apply.NewAhead(run),
		posted:   make(chan struct{}, 1),
	}
	t.sleepers.timer = time.NewTimer(time.Hour)
	t.sleepers.timer.Stop()
	if opts.Columns == nil {
		opts.Columns = column.NewBudget(column.DefaultBytes)
	}
	t.columns = column.New(opts.Columns, func(f func(*state.Reader) error) error {
		return t.Read(func(v *View) error { return f(v.Reader) })
	})
	t.machine.OnCommit = func(_ oplog.Entry, results []apply.Result, eff apply.Effects) {
		t.answers = &batchAnswers{results, eff}
	}
	log, err := oplog.Open(opts.Engine, t.machine, oplog.Options{})
	if err != nil {
		return nil, fmt.Errorf("tenant %s: %w", opts.ID, err)
	}
	t.log = log
	t.machine.SetEpoch(log.Epoch())
	t.sound(func() {
		if t.resting() {
			t.day = t.machine.Reader().Now().Day()
			t.leave()
		}
	})
	if err := t.Failed(); err != nil {
		return nil, errors.Join(fmt.Errorf("tenant %s: %w", opts.ID, err), log.Close())
	}
	go t.run()
	return t, nil
}

// ID returns the tenant's slug.
func (t *Tenant) ID() ident.TenantID { return t.opts.ID }

// Catalogue returns the types.
func (t *Tenant) Catalogue() *entity.Catalogue { return t.opts.Cat }

// Roles returns the roles.
func (t *Tenant) Roles() *subject.Roles { return t.opts.Roles }

// Field returns the selections of the field profile.
func (t *Tenant) Field() []policy.Selection { return t.opts.Field }

// Now returns the clock's time.
func (t *Tenant) Now() ident.Millis { return ident.MillisOf(t.opts.Clock()) }

// Random fills b with randomness for commands.
func (t *Tenant) Random(b []byte) {
	if _, err := io.ReadFull(t.opts.Random, b); err != nil {
		panic(err) // the system's randomness does not fail
	}
}

// Engine gives the store beneath, for backups and verification.
func (t *Tenant) Engine() store.Engine { return t.opts.Engine }

// Log gives the log beneath, for verification.
func (t *Tenant) Log() oplog.Log { return t.log }

// Columns gives the columns of the records, for lists.
func (t *Tenant) Columns() *column.Store { return t.columns }

// Failed returns the error that stopped the tenant, nil while it runs.
func (t *Tenant) Failed() error {
	if p := t.failed.Load(); p != nil {
		return *p
	}
	return nil
}

// Submit hands in a command and waits until it is durable and applied, or
// refused. A command with a page is for Pull. Once accepted a command is
// carried out even if ctx ends.
func (t *Tenant) Submit(ctx context.Context, c *command.Command) (apply.Result, error) {
	a, err := t.submit(ctx, &request{cmd: c})
	if err != nil {
		return apply.Result{}, err
	}
	a.close()
	if a.res.Err != nil {
		return a.res, a.res.Err
	}
	return a.res, a.res.Refused
}

func (t *Tenant) submit(ctx context.Context, req *request) (answer, error) {
	c := req.cmd
	req.ctx, req.done = ctx, make(chan answer, 1)
	if c.Pull == nil || c.Pull.Pins != nil || c.Pull.Reconcile != nil {
		if err := t.ready(req); err != nil {
			return answer{}, err
		}
	}
	if err := t.Failed(); err != nil {
		return answer{}, fault.New(fault.TenantStopped).Because(err)
	}
	if waits(c) {
		if s, ok := t.opts.Engine.(scarcer); ok {
			if err := s.Scarce(); err != nil {
				return answer{}, fault.New(fault.DiskFull).Because(err)
			}
		}
	}
	if err := t.enqueue(ctx, req); err != nil {
		return answer{}, err
	}
	select {
	case a := <-req.done:
		return a, a.err
	case <-t.done:
		// The loop may have answered on its way out.
		select {
		case a := <-req.done:
			return a, a.err
		default:
			return answer{}, fault.New(fault.ShuttingDown)
		}
	}
}

// enqueue hands a request to the loop. ctx is only asked where it has to wait
// for room, which is rare.
func (t *Tenant) enqueue(ctx context.Context, req *request) error {
	select {
	case <-t.quit: // what is accepted by now is finished, and no more comes to it
		return fault.New(fault.ShuttingDown)
	default:
	}
	select {
	case t.queue <- req:
		return nil
	default:
	}
	select {
	case t.queue <- req:
		return nil
	case <-t.quit:
		return fault.New(fault.ShuttingDown)
	case <-ctx.Done():
		return fault.New(fault.Busy).Because(ctx.Err())
	}
}

// ready makes a request ready for the log. Most pulls of live devices never get
// there; those that are short are made ready by the loop.
func (t *Tenant) ready(req *request) error {
	if req.raw != nil {
		return nil
	}
	c := req.cmd
	if c.Seed == nil {
		c.Seed = make([]byte, 16)
		t.Random(c.Seed)
	}
	raw, err := command.Encode(c)
	if err != nil {
		return fault.New(fault.InternalError).Because(err)
	}
	if len(raw) > oplog.MaxCommandBytes {
		return fault.Newf(fault.TooBig, "A request may change at most %d KiB at once.", oplog.MaxCommandBytes>>10)
	}
	req.raw = raw
	return nil
}

// scarcer is an engine that knows when its disk is nearly full, before it
// refuses everything.
type scarcer interface {
	// Scarce returns [store.ErrDiskFull] where what can wait should.
	Scarce() error
}

// waits reports whether a command waits until there is space on the disk. What
// brings more to keep does. What people need to go on with what they have
// doesn't, nor what makes the system safe, or smaller: to pull, to sign in and
// out, to administer: to take rights and devices away, to delete and erase, to note what was
// sent. These use the last of the space, and little of it.
func waits(c *command.Command) bool {
	switch {
	case c.Write != nil:
		return c.Write.Op != "delete" && c.Write.App != string(entity.Admin)
	case c.Bulk != nil:
		return c.Bulk.App != string(entity.Admin)
	}
	return c.Push != nil || c.File != nil || c.Replay != nil || c.Import != nil || c.Invite != nil
}

// run is the loop: the one goroutine that appends.
func (t *Tenant) run() {
	defer close(t.done)
	defer t.leave()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	defer t.sleepers.timer.Stop()
	for {
		t.sound(t.lookUp)
		wait := maxIdle
		t.sound(func() { wait = t.untilDue() })
		timer.Reset(wait)
		select {
		case req := <-t.queue:
			t.gather()
			t.round(req)
		case <-timer.C:
			t.forgo()
			t.sound(t.tick)
		case t.turn() <- struct{}{}:
			t.sound(t.offer)
		case <-t.sleepers.timer.C:
			t.sound(t.look)
		case <-t.wake:
		case <-t.quit:
			// What was accepted is finished.
			for {
				select {
				case req := <-t.queue:
					t.round(req)
				default:
					return
				}
			}
		}
	}
}

// gather lets those run who are about to hand something in: callers that were
// just answered, devices that were just woken. A commit costs a wait for
// the disk however much is in it, so what can be had without waiting belongs
// into it. Where nobody else can run this costs nothing.
func (t *Tenant) gather() {
	const turns = 8
	for range turns {
		n := len(t.queue)
		runtime.Gosched()
		if len(t.queue) == n {
			return
		}
	}
}

// round takes the request and what else is waiting, answers pulls that have
// nothing to send at once, and appends the rest as one entry.
func (t *Tenant) round(first *request) {
	t.batch = t.batch[:0]
	size := 0
	req := first
	for req != nil {
		if !t.peek(req) {
			if err := t.ready(req); err != nil {
				req.done <- answer{err: err}
			} else {
				t.batch = append(t.batch, req)
				size += oplog.CommandSize(len(req.raw))
			}
		}
		if len(t.batch) >= maxBatch || size > maxBatchBytes-oplog.MaxCommandBytes {
			break
		}
		select {
		case req = <-t.queue:
		default:
			req = nil
		}
	}
	if len(t.batch) > 0 {
		t.append(t.batch)
	}
}

// peek answers a pull that changes nothing without an entry.
func (t *Tenant) peek(req *request) bool {
	if req.cmd.Pull == nil || t.needsEntry(req.cmd.Device) || len(t.batch) > 0 {
		return false
	}
	var res apply.Result
	done := false
	t.sound(func() {
		// Not where time itself has something to do first.
		if t.resting() && !t.overdue() {
			res, done = t.machine.Peek(req.cmd)
		}
	})
	if !done {
		return false
	}
	a, ok := t.peeked(res, req.told)
	if !ok {
		return false
	}
	t.Stats.Peeked.Add(1)
	req.done <- a
	return true
}

// peeked answers from the committed state. Only who encodes something has to
// read it.
func (t *Tenant) peeked(res apply.Result, asked apply.Told) (a answer, ok bool) {
	a.res, t.keeps = res, true
	page := res.Page
	if page == nil {
		return a, true
	}
	told := page.Tells(asked)
	if page.Empty() && told != apply.ToldAll {
		return a, true
	}
	if a.body, a.mine = t.bodies.Of(page, told); a.body == nil || a.mine {
		snap, err := t.snapshot()
		if err != nil {
			a.close()
			return answer{}, false
		}
		a.snap = snap
	}
	return a, true
}

// keptFor is how long after the last request what pages of the committed state
// have in common is kept for others.
const keptFor = time.Second

func (t *Tenant) forgo() {
	if t.keeps {
		t.machine.Forgo()
		t.bodies.Forget()
		t.keeps = false
	}
}

// overdue reports whether something has fallen due, or a day begun, that no
// entry has taken notice of. It reads the state of Rest.
func (t *Tenant) overdue() bool {
	now := t.Now()
	at, ok := apply.NextDue(t.rest)
	return ok && at <= now || now.Day() > t.machine.Reader().Now().Day()
}

// sound runs what reads the state; a panic in it stops the tenant, not the
// process with all other tenants.
func (t *Tenant) sound(f func()) {
	defer func() {
		if p := recover(); p != nil {
			t.stop(panicError(p))
		}
	}()
	f()
}

// panicError keeps what was recovered from a panic as an error.
func panicError(p any) error {
	if err, ok := p.(error); ok {
		return fmt.Errorf("tenant: panic: %w", err)
	}
	return fmt.Errorf("tenant: panic: %v", p)
}

// resting makes the committed state readable by the machine.
func (t *Tenant) resting() bool {
	if t.rest != nil {
		return true
	}
	if t.Failed() != nil {
		return false
	}
	snap, err := t.snapshot()
	if err != nil {
		return false
	}
	t.rest = snap
	t.machine.Rest(snap)
	return true
}

func (t *Tenant) leave() {
	if t.rest != nil {
		t.machine.Leave()
		t.rest.Close()
		t.rest = nil
	}
}

func (t *Tenant) append(batch []*request) {
	t.leave()
	t.bodies.Forget()
	if err := t.Failed(); err != nil {
		t.fail(batch, err)
		return
	}
	cmds := make([][]byte, len(batch))
	for i, r := range batch {
		cmds[i] = r.raw
		if r.foreseen != nil {
			t.machine.Expect(r.foreseen)
		}
	}
	t.answers = nil
	t.number++
	now := t.Now()
	err := t.fold(oplog.Draft{Time: now, Version: t.machine.InForce(), Proposer: t.proposer, Number: t.number, Commands: cmds})
	if err == nil && t.answers == nil {
		err = errTaken
	}
	if err != nil {
		t.fail(batch, err)
		return
	}
	t.retry = 0
	t.entered.Store(int64(time.Since(processStart)))
	t.Stats.Entries.Add(1)
	t.Stats.Commands.Add(uint64(len(batch)))
	t.answer(batch, t.answers.results)
	t.sound(func() {
		t.notify(t.answers.eff)
		t.gatherEffects(t.answers.eff)
		if t.answers.eff.Posted {
			t.post()
		}
		if day := now.Day(); day > t.day {
			t.day = day
			t.wakeField()
		}
	})
	t.truncate()
}

// answer answers a batch that was committed.
func (t *Tenant) answer(batch []*request, results []apply.Result) {
	alike := map[*pull.Content]int{}
	for i := range batch {
		if p := results[i].Page; p != nil && p.Content != nil {
			alike[p.Content]++
		}
	}
	var bodies apply.Bodies
	for i, r := range batch {
		a := answer{res: results[i]}
		if p := a.res.Page; p != nil {
			switch {
			case r.foreseen != nil && r.foreseen.Is(p):
				a.body = r.foreseen.Body
				t.Stats.Foreseen.Add(1)
			case alike[p.Content] > 1:
				a.body, a.mine = bodies.Share(p, p.Tells(r.told))
			}
			if a.body == nil || a.mine {
				t.open(&a)
			}
		}
		r.done <- a
	}
}

// open opens the state that the answer's page is encoded from, before the next
// entry is folded: its records are read as of the commit that permitted them.
func (t *Tenant) open(a *answer) {
	snap, err := t.snapshot()
	if err != nil {
		a.close()
		*a = answer{err: fault.New(fault.InternalError).Because(err)}
		return
	}
	a.snap = snap
	if a.res.Page.Large() {
		// Without it the page takes longer, no more.
		a.twin, _ = t.opts.Engine.Snapshot()
	}
}

// errTaken says that the log has an entry of this number of this proposer,
// which another run of the tenant must have appended: what names proposers is
// not random. Nothing of the batch was done.
var errTaken = errors.New("tenant: the log has an entry by this proposer and number already")

// truncate cuts the far end of the log from time to time.
func (t *Tenant) truncate() {
	keep := t.opts.KeepEntries
	if keep == 0 {
		keep = DefaultKeepEntries
	}
	floor, last := t.log.Bounds()
	if int64(last)-int64(floor) < int64(keep+truncateEvery) || t.Failed() != nil {
		return
	}
	t.leave() // an open state would keep the freed pages from being used again
	err := t.log.Truncate(last - ident.Position(keep))
	switch {
	case err == nil, errors.Is(err, store.ErrDiskFull): // tried again with the next entry
	default:
		t.stop(err)
	}
}

// fold appends an entry; a panic while it is applied is an error.
func (t *Tenant) fold(d oplog.Draft) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = panicError(p)
		}
	}()
	_, err = t.log.Append(context.Background(), d)
	return err
}

// fail answers a batch that could not be committed. A full disk leaves the
// tenant running; anything else stops it until it is opened again.
func (t *Tenant) fail(batch []*request, err error) {
	code := fault.TenantStopped
	if errors.Is(err, store.ErrDiskFull) {
		code = fault.DiskFull
		t.number-- // the number was not used
		t.retry = t.Now() + diskRetry
	} else {
		t.stop(err)
	}
	for _, r := range batch {
		r.done <- answer{err: fault.New(code).Because(err)}
	}
}

// diskRetry is how long a tick waits after one that found the disk full, in
// milliseconds.
const diskRetry ident.Millis = 5000

// stop ends the tenant's service after an error that leaves its state in
// doubt; it is opened again by whoever looks after it.
func (t *Tenant) stop(err error) {
	if t.failed.CompareAndSwap(nil, &err) {
		t.opts.Log.Error("tenant stopped", slog.String("tenant", string(t.opts.ID)), slog.String("error", err.Error()))
	}
	t.endAll()
}

// maxIdle bounds how long the loop sleeps, so that a clock that is set is
// noticed.
const maxIdle = 30 * time.Second

// untilDue is how long nothing falls due.
func (t *Tenant) untilDue() time.Duration {
	if !t.resting() {
		return maxIdle
	}
	now := t.Now()
	wait := maxIdle
	if t.retry > now {
		t.leave()
		return time.Duration(t.retry-now) * time.Millisecond
	}
	consider := func(at ident.Millis) {
		if d := time.Duration(at-now) * time.Millisecond; d < wait {
			wait = max(d, 0)
		}
	}
	if at, ok := apply.NextDue(t.rest); ok {
		consider(at)
	}
	if t.LiveCount() > 0 { // whether a window moves is seen when the day ends
		consider((t.machine.Reader().Now().Day() + 1).Start())
	}
	// The committed state is not kept open while nothing happens, nor while devices
	// are waited for.
	if len(t.due) == 0 || len(t.handouts) == cap(t.handouts) {
		t.leave()
	}
	if t.keeps {
		wait = min(wait, keptFor)
	}
	return wait
}

// tick carries time forward where something has fallen due.
func (t *Tenant) tick() {
	if !t.resting() {
		return
	}
	now := t.Now()
	at, ok := apply.NextDue(t.rest)
	newDay := now.Day() > t.machine.Reader().Now().Day() && t.LiveCount() > 0
	if !newDay && (!ok || at > now || mutant.On(mutant.NoTick)) {
		return
	}
	raw, err := command.Encode(&command.Command{Tick: &command.Tick{}})
	if err != nil {
		return
	}
	req := &request{ctx: context.Background(), cmd: &command.Command{Tick: &command.Tick{}}, raw: raw, done: make(chan answer, 1)}
	t.append([]*request{req})
}

// Done is closed when the tenant has ended.
func (t *Tenant) Done() <-chan struct{} { return t.done }

// Close finishes what was accepted, ends live devices, and closes log and
// engine.
func (t *Tenant) Close() error {
	t.closing.Do(func() { close(t.quit) })
	<-t.done
	t.endAll()
	t.foresights.forget()
	t.columns.Close()
	return errors.Join(t.log.Close(), t.opts.Engine.Close())
}
