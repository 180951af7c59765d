// Package apply is the one deterministic writer: it folds log entries into
// state. The permission check happens here, in the transaction of the change.
// Nothing in it reads a clock, randomness or the order of a map; everything a
// command needs comes with it, and a command that is refused or panics leaves
// nothing behind.
package apply

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"

	"satchel/internal/command"
	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/internal/mutant"
	"satchel/internal/policy"
	"satchel/sync/audit"
	"satchel/sync/bits"
	"satchel/sync/oplog"
	"satchel/sync/outbox"
	"satchel/sync/project"
	"satchel/sync/pull"
	"satchel/sync/scope"
	"satchel/sync/state"
	"satchel/sync/store"
	"satchel/sync/subject"
	"satchel/sync/wire"
)

// Config is what a machine is made of.
type Config struct {
	Cat   *entity.Catalogue
	Roles *subject.Roles
	Field []policy.Selection // what a field device carries
	Rules *outbox.Rules      // what is told to whom; nil for nothing
	Log   *slog.Logger       // panics in commands; nil for none
	// ChangeBlock is for tests: see [state.Writer.Block]. 0 leaves it as it is.
	ChangeBlock int
	// Alone is for tests: each page is computed by itself, whoever else gets the
	// same. Nothing but time depends on it.
	Alone bool
}

// Result answers one command. Err is a *fault.Error or nil.
type Result struct {
	Err error
	// Refused is a refusal that nevertheless changed the state: a refresh
	// token used twice ends its session.
	Refused error

	// Of a write: the record and, where the actor still sees it, its body and
	// rev as the actor sees it.
	Type *entity.Type
	ID   ident.RecordID
	Body []byte
	Rev  string
	// Replayed: an earlier request with the same idempotency key did it.
	Replayed bool

	Bulk  []BulkItem
	Push  *wire.Results
	Page  *Page
	Login *Login
	Count ImportCount
	// Replay is what became of a bundle of refused work.
	Replay *Replayed
	// Invited is whom an invitation is for.
	Invited *Invited
	// Erased is how far the erasure of a person has come.
	Erased *Erasure
}

// BulkItem answers one record of a bulk action.
type BulkItem struct {
	ID  ident.RecordID
	Err error
	// Each answers each record that the action was to do something to for this
	// one, see [entity.Action.Each].
	Each []BulkItem
}

// ImportCount says what an import did.
type ImportCount struct {
	Created, Changed, Same int
	Rejected               []Rejection
}

// Rejection is an import row that was not taken.
type Rejection struct {
	Index int // within the command's rows
	Err   error
}

// Page is a computed page; its records are encoded from the snapshot of the
// commit that made it.
type Page struct {
	*pull.Page
	From, Checkpoint string
	Processed        uint64
	MobileEnded      bool
	Device           ident.DeviceID
	// Changes: of what the device holds only the fields that changed are told.
	Changes bool
	next    *next // nil where it is not foreseen
}

// Effects is what an entry did, for those who wake devices and close sockets.
type Effects struct {
	state.Effects
	// People whose rights changed; Everybody where that may be anybody.
	People    []ident.RecordID
	Everybody bool
	// Sessions that ended, with the close code for their sockets.
	Ended map[ident.SessionID]int
	// Posted: the outbox has something to be looked at.
	Posted bool
	// Addressed are devices that may have got or lost a push token.
	Addressed []ident.DeviceID
}

// Machine holds a tenant's state while it is open. All methods but those of
// oplog.Folder are for the goroutine that appends.
type Machine struct {
	cfg      Config
	inForce  uint64
	decide   map[uint16]entity.Mask // see deciding
	w        *state.Writer
	subjects remembered[ident.RecordID, *policy.Subject]
	views    remembered[ident.RecordID, *view]
	devices  remembered[ident.DeviceID, *Device]
	watch    watch
	sessions SessionCache
	table    classTable
	results  []Result
	effects  Effects
	secret   []byte
	mac      mac // by it
	epoch    uint64
	trail    []audit.Row // of the entry being folded
	holders  map[string][]holder
	memo     pull.Memo // of the state that is read
	// projector renders what writes are answered with.
	projector project.Projector
	standing  standing
	trying    run // by Peek
	expected  map[ident.DeviceID]*Foreseen
	trial     bool // nothing of it will be, so that nobody is told
	// Committed is called after each commit with the entry's results and
	// effects, before the next entry is folded.
	OnCommit func(e oplog.Entry, results []Result, eff Effects)
}

// view is a person's sync set as of so many moves.
type view struct {
	sub    *policy.Subject
	moves  uint64
	sets   scope.Sets
	office map[int]scope.Sets // by schema version
}

// New makes a machine. Open reads what it keeps in memory.
func New(cfg Config) *Machine {
	m := &Machine{cfg: cfg, inForce: inForce(cfg), decide: deciding(cfg), w: state.NewWriter(cfg.Cat)}
	if cfg.ChangeBlock > 0 {
		m.w.Block(cfg.ChangeBlock)
	}
	m.forget()
	return m
}

// forget drops everything derived from state.
func (m *Machine) forget() {
	m.subjects.forget()
	m.views.forget()
	m.devices.forget()
	m.table = classTable{}
	m.holders = nil
	m.secret = nil
	m.memo.Forget()
	m.standing.forget()
	m.expected = map[ident.DeviceID]*Foreseen{}
}

// maxRemembered and maxViews are of how many people and devices, and of how many
// people's sync sets, what was asked for is kept; up to as many that were asked
// for before stay beside them.
const maxRemembered, maxViews = 20_000, 1_000

// trim forgets some of what was remembered of people or devices once it is too
// much; it is read again when needed.
func (m *Machine) trim() {
	m.subjects.trim(maxRemembered)
	m.views.trim(maxViews)
	m.devices.trim(maxRemembered)
}

// Fold implements oplog.Folder: it applies an entry in the transaction that
// makes it durable.
func (m *Machine) Fold(tx store.Writer, e oplog.Entry) error {
	if e.Version != m.inForce {
		return fmt.Errorf("apply: entry %d needs %s, this server has %s", e.Pos, force(e.Version), force(m.inForce))
	}
	m.trim()
	m.memo.Forget()
	m.w.Begin(tx, e.Pos, e.Time)
	m.w.Enter(e.Epoch)
	m.w.Force(e.Version)
	m.epoch = e.Epoch
	m.results, m.trail = m.results[:0], m.trail[:0]
	m.effects = Effects{Ended: map[ident.SessionID]int{}}
	m.load()
	m.catchUp()
	m.due()
	m.sweep()
	if err := m.commands(e); err != nil {
		return err
	}
	audit.Seal(m.w.Stage, e.Pos, m.trail)
	eff, err := m.w.Flush(tx)
	m.effects.Effects = eff
	m.standing.after(m.w.Writes(store.Sessions), eff.Touched)
	return err
}

// commands applies the entry's commands in order, pulls after all others: a
// page speaks of the state that the entry leaves, because that is the state its
// records are encoded from and everything the entry changed counts as sent.
func (m *Machine) commands(e oplog.Entry) error {
	m.results = append(m.results, make([]Result, len(e.Commands))...)
	var pulls []int
	held := make([]*command.Command, len(e.Commands))
	for i, raw := range e.Commands {
		c, err := command.Decode(raw)
		if err != nil {
			return fmt.Errorf("apply: entry %d: %w", e.Pos, err)
		}
		if c.Pull != nil && !mutant.On(mutant.PullsInPlace) {
			pulls, held[i] = append(pulls, i), c
			continue
		}
		m.results[i] = m.command(c)
	}
	if len(pulls) > 0 {
		m.w.NoteChanges()
		m.memo.Forget()
	}
	for _, i := range pulls {
		m.results[i] = m.command(held[i])
	}
	return nil
}

// Committed implements oplog.Folder.
func (m *Machine) Committed(e oplog.Entry) {
	m.memo.Forget()
	clear(m.expected)
	if m.OnCommit != nil {
		m.OnCommit(e, m.results, m.effects)
	}
}

// Aborted implements oplog.Folder.
func (m *Machine) Aborted(oplog.Entry, error) {
	m.w.Abort()
	m.forget()
}

var _ oplog.Folder = (*Machine)(nil)

// run is one command being applied.
type run struct {
	*Machine
	cmd *command.Command
	sub *policy.Subject // nil for the system
	at  ident.Millis    // when it happened for the person
	// behalf is whose refused work is being replayed, "" for none.
	behalf ident.RecordID
	ids    int     // ids derived so far
	eff    Effects // of this command; joined to the entry's when it succeeds
	// trail is joined like the effects.
	trail []audit.Row
	doing doing
	// policyTouched: records that decide rights were written and not judged yet.
	policyTouched bool
	// admins are the people whose rights such records decide, and whether each was
	// an administrator before the first of them was written.
	admins map[ident.RecordID]bool
	// reheld are changes of what is remembered of assignments of roles.
	reheld []reheld
	// devicesTouched are devices stored, with what was remembered before.
	devicesTouched []deviceUndo
	classes        int // how many there were before the command
	depth          int
	erasing        *erasure // of a person, of which this is a part; nil for none
	// brief: the command is tried only to see whether it can be answered without
	// an entry; unfinished says that it can't.
	brief, unfinished bool
}

func (m *Machine) start(c *command.Command) *run {
	return &run{
		Machine: m, cmd: c, at: m.w.Now(), classes: len(m.table.list),
	}
}

// command applies one command in an overlay.
func (m *Machine) command(c *command.Command) (res Result) {
	mark := m.w.Mark()
	r := m.start(c)
	defer func() {
		if p := recover(); p != nil {
			res = Result{Err: m.panicked(p)}
		}
		if res.Err != nil {
			res.Err = fault.Of(res.Err)
			m.rollback(mark, r, 0, 0)
			m.trail = append(m.trail, r.attempted(res.Err)...)
			after := m.start(c)
			after.alarm(res.Err)
			m.join(after)
			return
		}
		m.join(r)
	}()
	return r.dispatch()
}

// Damaged reports whether what was recovered from a panic says that stored
// rows can't be what this program wrote.
func Damaged(p any) bool {
	err, ok := p.(error)
	return ok && (errors.Is(err, state.ErrDamaged) || errors.Is(err, entity.ErrCorrupt) || errors.Is(err, bits.ErrCorrupt) || errors.Is(err, store.ErrCorrupt))
}

// panicked turns a panic into the refusal of what caused it. A damaged store
// is no such panic: it must stop the tenant.
func (m *Machine) panicked(p any) error {
	if Damaged(p) {
		panic(p)
	}
	if m.cfg.Log != nil {
		m.cfg.Log.LogAttrs(context.Background(), slog.LevelError, "command panicked",
			slog.String("panic", fmt.Sprintf("%T", p)), slog.String("stack", string(debug.Stack())))
	}
	return fault.New(fault.InternalError).Because(fmt.Errorf("apply: panic: %v", p))
}

// rollback takes back what was staged since the mark, when r had touched so
// many devices and changed so many assignments of roles.
func (m *Machine) rollback(mark state.Mark, r *run, devices, assignments int) {
	m.w.Rollback(mark)
	for i := len(r.devicesTouched) - 1; i >= devices && !mutant.On(mutant.UndoLeavesDevice); i-- {
		u := r.devicesTouched[i]
		m.watch.changed(u.id)
		if u.prev == nil {
			m.devices.drop(u.id)
		} else {
			m.devices.put(u.id, u.prev)
		}
	}
	r.devicesTouched = r.devicesTouched[:devices]
	m.table.truncate(r.classes)
	if r.eff.Everybody {
		m.subjects.forget()
	}
	for _, id := range r.eff.People { // whose rights were read as they were to be
		m.subjects.drop(id)
	}
	for i := len(r.reheld) - 1; i >= assignments; i-- {
		m.rehold(reheld{r.reheld[i].after, r.reheld[i].before})
	}
	r.reheld = r.reheld[:assignments]
}

func (m *Machine) join(r *run) {
	m.trail = append(m.trail, r.trail...)
	m.effects.People = append(m.effects.People, r.eff.People...)
	m.effects.Everybody = m.effects.Everybody || r.eff.Everybody
	m.effects.Posted = m.effects.Posted || r.eff.Posted
	m.effects.Addressed = append(m.effects.Addressed, r.eff.Addressed...)
	for s, code := range r.eff.Ended {
		m.effects.Ended[s] = code
	}
}

func (r *run) dispatch() Result {
	c := r.cmd
	switch {
	case c.Setup != nil:
		return r.setup(c.Setup)
	case c.Login != nil:
		return r.login(c.Login)
	case c.Refresh != nil:
		return r.refresh(c.Refresh)
	case c.Logout != nil:
		return r.logout(c.Logout)
	case c.Tick != nil:
		return Result{}
	case c.Import != nil:
		if err := r.imports(); err != nil {
			return Result{Err: err}
		}
		return r.importRows(c.Import)
	case c.Secret != nil:
		return r.setSecret(c.Secret)
	case c.Accept != nil:
		return r.accept(c.Accept)
	case c.Deliver != nil:
		return r.deliver(c.Deliver)
	case c.Rekey != nil:
		return r.rekey(c.Rekey)
	case c.Act != nil:
		return r.acted(c.Act)
	}
	if err := r.signedIn(); err != nil {
		return Result{Err: err}
	}
	switch {
	case c.Write != nil:
		return r.write(c.Write)
	case c.Bulk != nil:
		return r.bulk(c.Bulk)
	case c.Push != nil:
		return r.push(c.Push)
	case c.Pull != nil:
		return r.pull(c.Pull)
	case c.Invite != nil:
		return r.invite(c.Invite)
	case c.Address != nil:
		return r.address(c.Address)
	case c.File != nil:
		return r.file(c.File)
	case c.Replay != nil:
		return r.replay(c.Replay)
	case c.Discard != nil:
		return r.discard(c.Discard)
	case c.Factor != nil:
		return r.changeFactor(c.Factor)
	case c.Erase != nil:
		return r.erase(c.Erase)
	case c.Forget != nil:
		return r.forgetFactor(c.Forget)
	}
	return Result{Err: fault.Newf(fault.InternalError, "empty command")}
}

// signedIn resolves who asks: the session must be alive and the person
// active, as of this entry.
func (r *run) signedIn() error {
	c := r.cmd
	if c.Actor == "" {
		return nil // the system itself
	}
	if c.Session != "" {
		s, ok := r.session(c.Session)
		if !ok || s.Employee != c.Actor || s.Device != c.Device {
			return fault.New(fault.SessionRevoked)
		}
		if s.Ended(r.w.Now()) && !mutant.On(mutant.RevokedAnswered) {
			if r.revoked(s.Device) {
				return fault.New(fault.DeviceRevoked).With("wipe", !mutant.On(mutant.WipeNotOrdered))
			}
			return fault.New(fault.SessionRevoked)
		}
	}
	r.sub = r.subject(c.Actor)
	if r.sub == nil || !r.sub.Active {
		return fault.New(fault.SessionRevoked)
	}
	return nil
}

// imports lets a person import who runs the tenant; the rows are then written
// as the system's.
func (r *run) imports() error {
	if r.cmd.Actor == "" {
		return nil
	}
	if err := r.signedIn(); err != nil {
		return err
	}
	if !r.sub.Holds(subject.Administrator) {
		return fault.New(fault.NotAllowed)
	}
	r.sub = nil
	return nil
}

// subject returns a person's subject as of the present state.
func (m *Machine) subject(id ident.RecordID) *policy.Subject {
	if s, ok := m.subjects.get(id); ok {
		return s
	}
	s, ok := m.cfg.Roles.Build(&m.w.Reader, id)
	if !ok {
		return nil
	}
	m.subjects.put(id, s)
	return s
}

// visible returns a person's sync set as of the present state.
func (m *Machine) visible(sub *policy.Subject) *view {
	v, _ := m.views.get(sub.ID)
	if v != nil && v.sub == sub && (v.moves == m.w.Moves() || mutant.On(mutant.StaleSyncSet)) {
		return v
	}
	sets := scope.Visible(&m.w.Reader, sub)
	if v != nil && v.sub == sub && v.sets.Equal(sets) {
		v.moves = m.w.Moves() // what moved was others'
		return v
	}
	v = &view{sub: sub, moves: m.w.Moves(), sets: sets}
	m.views.put(sub.ID, v)
	return v
}
