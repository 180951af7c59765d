package crashtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"satchel/internal/command"
	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/server/suite"
	"satchel/sync/apply"
	"satchel/sync/state"
	"satchel/sync/store"
	"satchel/sync/tenant"
	"satchel/sync/verify"
	"satchel/sync/wire"
)

// StatesOptions say how many crash states are to be tried.
type StatesOptions struct {
	// Dir is a folder for the files, which are gone afterwards; one in memory is
	// fastest.
	Dir string
	// States is how many to try, 5,000 unless said.
	States int
	// Seed is that of the first history; each has its own.
	Seed uint64
	// Workers is how many histories are tried beside each other, 1 unless said.
	Workers int
	// Progress is told how many of how many were tried, one call at a time; nil
	// for nobody.
	Progress func(done, total int)

	// unordered has the head written without waiting for the data: what a store
	// must not do, for the test of the test.
	unordered bool
}

// StatesReport is what was tried and found.
type StatesReport struct {
	States    int `json:"states"`
	Histories int `json:"histories"`
	Commits   int `json:"commits"`
	// Appends are the commits that went to the journal, Folds the times that one was
	// brought into the file.
	Appends int `json:"appends"`
	Folds   int `json:"folds"`
	// Old and New are how many states were found to be as before their commit,
	// and as after it.
	Old int `json:"old"`
	New int `json:"new"`
	// Continued are the states on which a tenant went on.
	Continued int           `json:"continued"`
	Took      time.Duration `json:"took"`
	// Violation says what is wrong, "" for nothing; Seed is that of its history.
	Violation string `json:"violation,omitempty"`
	Seed      uint64 `json:"seed,omitempty"`
}

// OK reports whether nothing was violated.
func (r StatesReport) OK() bool { return r.Violation == "" }

// Add adds what another run tried and found; the first violation stays.
func (r *StatesReport) Add(o StatesReport) {
	r.States += o.States
	r.Histories += o.Histories
	r.Commits += o.Commits
	r.Appends += o.Appends
	r.Folds += o.Folds
	r.Old += o.Old
	r.New += o.New
	r.Continued += o.Continued
	r.Took += o.Took
	if r.OK() {
		r.Violation, r.Seed = o.Violation, o.Seed
	}
}

// How a history goes: rounds of a few commits, each round on a state that a
// crash left of the one before.
const (
	roundsPerHistory = 6
	commitsPerRound  = 8
	statesPerCommit  = 24
)

// States takes the files of a real tenant before and after each of its commits,
// writes what a power cut in between can leave, and opens that. Of a commit to
// the file, and of a fold, these are any of the sectors of the data with the old
// head, and with all the data any part of the new head, because the store syncs
// the one before it writes the other; of a commit to the journal any of the
// sectors of the record, and any length. Each must be exactly the state before
// the commit or the one after it, with every page in its place. It stops at the
// first violation, and when ctx ends.
func States(ctx context.Context, o StatesOptions) (rep StatesReport, err error) {
	if o.States <= 0 {
		o.States = 5000
	}
	began := time.Now()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	workers := min(max(o.Workers, 1), o.States)
	reports, errs := make([]StatesReport, workers), make([]error, workers)
	var tried atomic.Int64
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range workers {
		one := o
		one.States = (o.States + i) / workers
		one.Seed += uint64(i) << workerShift
		if o.Progress != nil {
			one.Progress = func(more, _ int) {
				done := tried.Add(int64(more))
				mu.Lock()
				defer mu.Unlock()
				o.Progress(int(done), o.States)
			}
		}
		wg.Go(func() {
			if reports[i], errs[i] = histories(ctx, one); errs[i] != nil || !reports[i].OK() {
				stop()
			}
		})
	}
	wg.Wait()
	for _, r := range reports {
		rep.Add(r)
	}
	rep.Took = time.Since(began)
	return rep, errors.Join(errs...)
}

// workerShift keeps the seeds of workers apart.
const workerShift = 32

// histories plays one after the other.
func histories(ctx context.Context, o StatesOptions) (rep StatesReport, err error) {
	all, err := suite.Load()
	if err != nil {
		return rep, err
	}
	dir, err := os.MkdirTemp(o.Dir, "satchel-states-*")
	if err != nil {
		return rep, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a scratch folder
	for seed := o.Seed; rep.States < o.States && ctx.Err() == nil; seed++ {
		h := &history{
			o: &o, rep: &rep, all: all, dir: dir, rng: rand.New(rand.NewPCG(seed, 0x5a7c4e1)),
			source: rand.NewChaCha8(sha256.Sum256(binary.LittleEndian.AppendUint64(nil, seed))), made: map[ident.RecordID]string{},
		}
		h.clock.Store(1_767_600_000_000)
		h.journal = seed%2 == 1 && !o.unordered
		rep.Histories++
		if err := h.play(ctx); err != nil {
			var v violation
			if !errors.As(err, &v) {
				return rep, err
			}
			rep.Violation, rep.Seed = v.Error(), seed
			return rep, nil
		}
	}
	return rep, nil
}

// violation is a promise that was broken.
type violation struct{ text string }

func (v violation) Error() string { return v.text }

func broke(format string, args ...any) error { return violation{fmt.Sprintf(format, args...)} }

// history is one tenant under one seed.
type history struct {
	o     *StatesOptions
	rep   *StatesReport
	all   *suite.Suite
	dir   string
	rng   *rand.Rand
	clock atomic.Int64

	sourceMu sync.Mutex
	source   *rand.ChaCha8

	made    map[ident.RecordID]string // what was acknowledged: id and name
	number  int
	started bool
	journal bool // whether commits go to the journal
}

// Read implements io.Reader for the tenant's randomness.
func (h *history) Read(b []byte) (int, error) {
	h.sourceMu.Lock()
	defer h.sourceMu.Unlock()
	return h.source.Read(b)
}

func (h *history) now() time.Time { return time.UnixMilli(h.clock.Add(1)) }

// recorder is the store of a tenant, which notes what each commit changes.
type recorder struct {
	*store.Bolt
	file    *os.File
	fold    bool // the journal, now and then
	on      atomic.Bool
	last    image
	commits []recorded
}

// recorded is one commit, or a fold, which changes nothing of what is read.
type recorded struct {
	before image
	change
	fold bool
}

// Update implements store.Engine.
func (r *recorder) Update(fn func(store.Writer) error) error {
	if !r.on.Load() {
		return r.Bolt.Update(fn)
	}
	var err error
	if r.last.used == nil {
		if r.last, err = readImage(r.file); err != nil {
			return err
		}
	}
	if err := r.Bolt.Update(fn); err != nil {
		return err
	}
	after, err := readImage(r.file)
	if err != nil {
		return err
	}
	r.commits = append(r.commits, recorded{r.last, changeBetween(r.last, after), false})
	r.last = after
	if r.fold && len(r.commits)%foldEvery == 0 {
		if err := r.Check(); err != nil { // folds first
			return err
		}
		if after, err = readImage(r.file); err != nil {
			return err
		}
		if c := changeBetween(r.last, after); len(c.head) > 0 {
			r.commits = append(r.commits, recorded{r.last, c, true})
		}
		r.last = after
	}
	return nil
}

// foldEvery is after how many commits the journal is folded.
const foldEvery = 3

const (
	administrator = ident.RecordID("emp-ada-1")
	engineer      = ident.RecordID("emp-eve-1")
	secret        = "hash"
)

func object(kv ...any) command.Object {
	o := command.Object{}
	for i := 0; i < len(kv); i += 2 {
		b, err := json.Marshal(kv[i+1])
		if err != nil {
			panic(err)
		}
		o[kv[i].(string)] = b
	}
	return o
}

// play goes through the rounds of a history.
func (h *history) play(ctx context.Context) (err error) {
	path := filepath.Join(h.dir, "tenant.db")
	defer func() { // the next history makes its own
		err = errors.Join(err, os.Remove(path), store.RemoveJournal(path))
	}()
	var unsure []*command.Command
	for range roundsPerHistory {
		commits, sent, err := h.work(path, unsure)
		if err != nil {
			return err
		}
		next, err := h.crash(ctx, commits)
		if err != nil || ctx.Err() != nil || h.rep.States >= h.o.States {
			return err
		}
		if err := next.write(path); err != nil {
			return err
		}
		// Nobody got an answer since the state that it goes on with.
		unsure = sent
		h.rep.Continued++
	}
	return nil
}

// open runs the tenant on a file.
func (h *history) open(path string) (*tenant.Tenant, *recorder, error) {
	// Nothing is folded but when the recorder asks for it.
	eng, err := store.OpenBolt(path, store.Options{NoSync: !h.journal, FoldAfter: time.Hour, FoldBytes: 1 << 30})
	if err != nil {
		return nil, nil, broke("the store can't be opened: %v", err)
	}
	r := &recorder{Bolt: eng, fold: h.journal}
	if r.file, err = os.Open(path); err != nil {
		return nil, nil, errors.Join(err, eng.Close())
	}
	t, err := tenant.Open(tenant.Options{
		ID: "crash", Cat: h.all.Cat, Roles: h.all.Roles, Field: h.all.Field, Rules: h.all.Rules, Engine: r,
		Clock: h.now, Random: h,
	})
	if err != nil {
		return nil, nil, errors.Join(broke("the tenant can't be opened: %v", err), r.file.Close(), eng.Close())
	}
	return t, r, nil
}

// work opens the tenant, sends again what had no answer, and does a few things
// of which the commits are recorded. It returns what was sent meanwhile.
func (h *history) work(path string, unsure []*command.Command) (commits []recorded, sent []*command.Command, err error) {
	t, r, err := h.open(path)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, t.Close(), r.file.Close()) }()
	if !h.started {
		if err := h.begin(t); err != nil {
			return nil, nil, err
		}
		h.started = true
	}
	if err := h.send(t, unsure); err != nil {
		return nil, nil, err
	}
	if err := h.judge(t); err != nil {
		return nil, nil, err
	}
	p, err := h.signIn(t)
	if err != nil {
		return nil, nil, err
	}
	r.on.Store(true)
	made := maps.Clone(h.made)
	for len(r.commits) < commitsPerRound {
		cmds := h.commands(p)
		sent = append(sent, cmds...)
		if err := h.send(t, cmds); err != nil {
			return nil, nil, err
		}
		if h.rng.IntN(3) == 0 {
			if err := p.pull(t); err != nil {
				return nil, nil, err
			}
		}
	}
	// What was acknowledged since may not be there after the crash, and is sent
	// again.
	h.made = made
	return r.commits, sent, nil
}

func (h *history) begin(t *tenant.Tenant) error {
	ctx := context.Background()
	row := func(typ string, id ident.RecordID, kv ...any) command.Row {
		return command.Row{Type: typ, ID: id, Fields: object(kv...)}
	}
	for _, c := range []*command.Command{
		{Setup: &command.Setup{Name: "Ada", Email: "ada@example.com", Employee: administrator, Hash: secret, Secret: []byte("0123456789abcdef0123456789abcdef")}},
		{Import: &command.Import{Rows: []command.Row{
			row("employee", engineer, "name", "Eve", "email", "eve@example.com", "kind", "in-house", "status", "Active"),
			row("roleAssignment", "role-eve-1", "employee", engineer, "role", "service.manager"),
			row("salesArea", "area-north", "name", "North"),
			row("client", "client-one", "name", "One", "salesArea", "area-north"),
			row("job", "job-one-1", "client", "client-one", "title", "Boiler"),
		}}},
		{Secret: &command.Secret{Employee: engineer, Hash: secret}},
	} {
		res, err := t.Submit(ctx, c)
		if err != nil {
			return err
		}
		for _, r := range res.Count.Rejected {
			return r.Err
		}
	}
	return nil
}

// device is a phone in the roughest outline.
type device struct {
	session    ident.SessionID
	id         ident.DeviceID
	prefix     string // of the ids it makes
	number     uint64 // of its last mutation
	checkpoint string
}

func (d *device) command() *command.Command {
	return &command.Command{Actor: engineer, Session: d.session, Device: d.id}
}

// signIn signs a device in: always the same, in a session of its own.
func (h *history) signIn(t *tenant.Tenant) (*device, error) {
	h.number++
	d := &device{session: ident.SessionID(fmt.Sprintf("session-%d", h.number))}
	var p [5]byte
	binary.BigEndian.PutUint32(p[1:], uint32(h.number))
	res, err := t.Submit(context.Background(), &command.Command{Login: &command.Login{
		Employee: engineer, Credential: apply.CredentialDigest(secret), Session: d.session, Prefix: ident.NewPrefix(p),
		Device: &command.Device{Installation: "i1", Incarnation: fmt.Sprint(h.number)},
	}})
	if err != nil {
		return nil, err
	}
	d.id, d.prefix = res.Login.Device, res.Login.Prefix
	return d, nil
}

func (d *device) pull(t *tenant.Tenant) error {
	c := d.command()
	c.Pull = &command.Pull{Checkpoint: d.checkpoint, Limit: 20}
	page, err := t.Pull(context.Background(), c, apply.ToldAll)
	if err == nil {
		d.checkpoint = page.Checkpoint
	}
	return err
}

// commands are what a few people do at once, to be gathered into few commits:
// each has a key, or an id, by which it is done once.
func (h *history) commands(d *device) []*command.Command {
	var out []*command.Command
	for range 1 + h.rng.IntN(6) {
		h.number++
		name := fmt.Sprintf("Made %06d %0*d", h.number, 1+h.rng.IntN(150), 0)
		switch h.rng.IntN(4) {
		case 0: // rows that are wide, and many at once, which split pages
			var rows []command.Row
			for i := range 1 + h.rng.IntN(20) {
				id := ident.RecordID(fmt.Sprintf("area-%d-%d", h.number, i))
				rows = append(rows, command.Row{Type: "salesArea", ID: id, Fields: object("name", fmt.Sprintf("%s.%d", name, i))})
			}
			out = append(out, &command.Command{Import: &command.Import{Rows: rows}})
		case 1:
			out = append(out, &command.Command{Actor: engineer, Write: &command.Write{
				Op: "patch", App: "service", Type: "job", ID: "job-one-1", Fields: object("title", name),
				Key: fmt.Sprint("patch-", h.number), KeyHash: []byte(name),
			}})
		default:
			out = append(out, &command.Command{Actor: administrator, Write: &command.Write{
				Op: "create", App: "admin", Type: "schedulingRole", Fields: object("name", name),
				Key: fmt.Sprint("create-", h.number), KeyHash: []byte(name),
			}})
		}
	}
	// Offline work, one push at a time, as phones do.
	h.number++
	d.number++
	push := d.command()
	push.Push = &command.Push{Now: ident.Millis(h.clock.Load()), Mutations: []command.Mutation{{
		N: d.number, Op: "create", Type: "job", ID: ident.RecordID(fmt.Sprintf("%sjob%06d", d.prefix, h.number)),
		Fields: object("title", fmt.Sprintf("Made %06d offline", h.number), "client", "client-one"),
		At:     ident.Millis(h.clock.Load()), Hash: binary.BigEndian.AppendUint64(make([]byte, 24), d.number),
	}}}
	out = append(out, push)
	for _, c := range out {
		c.Seed = make([]byte, 16)
		_, _ = h.Read(c.Seed)
	}
	return out
}

// send submits commands beside each other and notes what was acknowledged.
func (h *history) send(t *tenant.Tenant, cmds []*command.Command) error {
	results := make([]apply.Result, len(cmds))
	errs := make([]error, len(cmds))
	var wg sync.WaitGroup
	for i, c := range cmds {
		wg.Go(func() { results[i], errs[i] = t.Submit(context.Background(), c) })
	}
	wg.Wait()
	for i, c := range cmds {
		if errs[i] != nil {
			return broke("a command that is right was refused: %v", errs[i])
		}
		for _, r := range results[i].Count.Rejected {
			return broke("a row that is right was refused: %v", r.Err)
		}
		switch {
		case c.Import != nil:
			for _, r := range c.Import.Rows {
				h.made[r.ID] = text(r.Fields)
			}
		case c.Push != nil:
			m := c.Push.Mutations[0]
			if list := results[i].Push.Results; len(list) != 1 || list[0].N != m.N || list[0].Status != wire.Applied {
				return broke("mutation %d, which is right, was answered %+v", m.N, list)
			}
			h.made[m.ID] = text(m.Fields)
		case c.Write.Op == "create":
			h.made[results[i].ID] = text(c.Write.Fields)
		}
	}
	return nil
}

func text(o command.Object) (s string) {
	name := o["name"]
	if name == nil {
		name = o["title"]
	}
	if err := json.Unmarshal(name, &s); err != nil {
		panic(err)
	}
	return s
}

// judge holds what the tenant has against what was acknowledged: everything
// once, and nothing else.
func (h *history) judge(t *tenant.Tenant) error {
	return t.Read(func(v *tenant.View) error { return judgeNames(h.all.Cat, v.Reader, h.made) })
}

// judgeNames holds the records whose names begin with "Made" against what they
// should be.
func judgeNames(cat *entity.Catalogue, rd *state.Reader, made map[ident.RecordID]string) error {
	seen := map[string]ident.RecordID{}
	for typ, field := range map[string]string{"schedulingRole": "name", "salesArea": "name", "job": "title"} {
		for o := range rd.Index(state.TypeKey(cat.Type(typ).No)).All() {
			r, ok := rd.LoadOrd(o)
			if !ok {
				return broke("record %d of %s is in the index and not there", o, typ)
			}
			name := r.Get(field).Text()
			if !strings.HasPrefix(name, "Made") || r.ID == "job-one-1" {
				continue
			}
			if other, twice := seen[name]; twice {
				return broke("%q is there twice, as %s and as %s", name, other, r.ID)
			}
			seen[name] = r.ID
			if made[r.ID] != name {
				return broke("%s is %q, acknowledged was %q", r.ID, name, made[r.ID])
			}
		}
	}
	for id, name := range made {
		if seen[name] != id {
			return broke("%s %q was acknowledged and is not there", id, name)
		}
	}
	return nil
}

// digest is a sum over all rows of all buckets.
func digest(r store.Reader) [sha256.Size]byte {
	h := sha256.New()
	var size [10]byte
	for _, b := range store.Buckets() {
		size[0] = byte(b)
		h.Write(size[:1])
		r.Scan(b, nil, func(k, v []byte) bool {
			binary.LittleEndian.PutUint16(size[:], uint16(len(k)))
			binary.LittleEndian.PutUint64(size[2:], uint64(len(v)))
			h.Write(size[:])
			h.Write(k)
			h.Write(v)
			return true
		})
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// found is what a file is read as.
type found struct {
	digest [sha256.Size]byte
	sound  error // what the check of all pages says
}

func look(path string) (f found, err error) {
	eng, err := store.OpenBolt(path, store.Options{NoSync: true})
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, eng.Close()) }()
	if f.sound = eng.Check(); f.sound != nil {
		return f, nil // to read pages that are not what they should be may panic
	}
	snap, err := eng.Snapshot()
	if err != nil {
		return f, err
	}
	defer snap.Close()
	f.digest = digest(snap)
	return f, nil
}

// whole looks at a state that no crash touched, and verifies all of it. What
// has the same digest needs no verifying of its own.
func (h *history) whole(path string) (found, error) {
	f, err := look(path)
	if err != nil {
		return f, broke("a state between two commits can't be opened: %v", err)
	}
	if f.sound != nil {
		return f, broke("a state between two commits: %v", f.sound)
	}
	eng, err := store.OpenBolt(path, store.Options{})
	if err != nil {
		return f, err
	}
	defer eng.Close() //nolint:errcheck // only read
	snap, err := eng.Snapshot()
	if err != nil {
		return f, err
	}
	defer snap.Close()
	if rep := verify.Run(h.all.Cat, snap, nil); !rep.OK() {
		return f, broke("a state between two commits: %s", rep.Problems[0])
	}
	return f, nil
}

// crash tries states of each commit, and returns one of the last commit's.
func (h *history) crash(ctx context.Context, commits []recorded) (next image, err error) {
	path := filepath.Join(h.dir, "state.db")
	for i, c := range commits {
		last := i == len(commits)-1
		if next, err = h.crashOf(ctx, path, c, last); err != nil || ctx.Err() != nil || h.rep.States >= h.o.States {
			return next, err
		}
	}
	return next, nil
}

// crashOf tries states of one commit.
func (h *history) crashOf(ctx context.Context, path string, c recorded, keep bool) (next image, err error) {
	h.rep.Commits++
	if err := c.before.write(path); err != nil {
		return next, err
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return next, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	old, err := h.whole(path)
	if err != nil {
		return next, err
	}
	if err := h.leave(f, c, c.all()); err != nil {
		return next, err
	}
	now, err := h.whole(path)
	if err != nil {
		return next, err
	}
	switch {
	case c.fold:
		h.rep.Folds++
	case c.appends():
		h.rep.Appends++
	}
	if c.fold != (old.digest == now.digest) {
		return next, broke("fold %v, although what is read changed %v", c.fold, old.digest != now.digest)
	}
	for range statesPerCommit {
		if ctx.Err() != nil || h.rep.States >= h.o.States {
			return next, nil
		}
		r := h.choose(c.change)
		if err := h.leave(f, c, r); err != nil {
			return next, err
		}
		if keep { // before it is looked at, which folds the journal
			if next, err = readAll(f); err != nil {
				return next, err
			}
		}
		h.rep.States++
		if h.o.Progress != nil {
			h.o.Progress(1, h.o.States)
		}
		what := fmt.Sprintf("%d of %d sectors of data and %d pieces of the head, or %d of %d bytes of the journal",
			len(r.data), len(c.data), len(r.head), len(r.segment), len(c.newSegment))
		is, err := look(path)
		switch {
		case err != nil:
			return next, broke("with %s the store can't be opened: %v", what, err)
		case is.sound != nil:
			return next, broke("with %s: %v", what, is.sound)
		case is.digest == now.digest && r.done:
			h.rep.New++
		case is.digest == old.digest:
			h.rep.Old++
		case is.digest == now.digest:
			return next, broke("with %s the commit is there before it was made", what)
		default:
			return next, broke("with %s the state is neither that before the commit nor that after it", what)
		}
	}
	return next, nil
}

// reached is what of a change reached the disk.
type reached struct {
	length     int64
	data, head []stretch
	segment    []byte // of the journal, where the change is one of it
	done       bool   // so much that the commit may be there
}

// all is what reaches the disk of a commit that is not cut short.
func (c change) all() reached {
	return reached{c.newLength, c.data, c.head, c.newSegment, true}
}

// leave makes the files such as a crash leaves them.
func (h *history) leave(f *os.File, c recorded, r reached) error {
	im := c.before
	if c.appends() {
		im.segments[c.segment] = r.segment
	}
	if err := im.write(f.Name()); err != nil {
		return err
	}
	return put(f, r.length, r.data, r.head)
}

// choose picks what reached the disk.
func (h *history) choose(c change) reached {
	if c.appends() {
		return h.chooseAppend(c)
	}
	r := reached{length: c.newLength}
	if h.rng.IntN(4) == 0 || h.o.unordered { // everything else did; the head is torn
		r.head, r.data, r.done = c.head, c.data, true
		if h.o.unordered {
			r.data = h.some(r.data)
		}
		if h.rng.IntN(2) == 0 {
			r.head = words(r.head)
		}
		r.head = h.some(r.head)
		return r
	}
	if r.data = h.some(c.data); len(r.data) == 0 && h.rng.IntN(2) == 0 {
		r.length = c.oldLength
	}
	return r
}

// chooseAppend picks what reached the disk of a record: any of its sectors, and
// the length, which may have come before the bytes.
func (h *history) chooseAppend(c change) reached {
	r := reached{length: c.newLength, segment: make([]byte, len(c.newSegment))}
	copy(r.segment, c.oldSegment)
	var pieces []stretch
	for at := 0; at < len(c.newSegment); at += sectorBytes {
		end := min(at+sectorBytes, len(c.newSegment))
		if !bytes.Equal(r.segment[at:end], c.newSegment[at:end]) {
			pieces = append(pieces, stretch{at: int64(at), new: c.newSegment[at:end]})
		}
	}
	if h.rng.IntN(4) > 0 {
		pieces = h.some(pieces)
	}
	for _, p := range pieces {
		copy(r.segment[p.at:], p.new)
	}
	if more := len(c.newSegment) - len(c.oldSegment); more > 0 && h.rng.IntN(3) == 0 {
		r.segment = r.segment[:len(c.oldSegment)+h.rng.IntN(more+1)]
	}
	r.done = bytes.Equal(r.segment, c.newSegment)
	return r
}

// some picks any, few, most or all but one of the pieces.
func (h *history) some(in []stretch) []stretch {
	share := []float64{0.02, 0.2, 0.5, 0.8, 0.98, 1}[h.rng.IntN(6)]
	out := slices.DeleteFunc(slices.Clone(in), func(stretch) bool { return h.rng.Float64() >= share })
	if len(out) == len(in) && len(in) > 0 && h.rng.IntN(2) == 0 {
		i := h.rng.IntN(len(in))
		out = slices.Delete(out, i, i+1)
	}
	return out
}

// put writes the new bytes of pieces.
func put(f *os.File, length int64, pieces ...[]stretch) error {
	if err := f.Truncate(length); err != nil {
		return err
	}
	for _, list := range pieces {
		for _, s := range list {
			if _, err := f.WriteAt(s.new, s.at); err != nil {
				return err
			}
		}
	}
	return nil
}

// readAll reads the file with what lies beyond what is in use.
func readAll(f *os.File) (image, error) {
	im, err := readImage(f)
	if err != nil {
		return im, err
	}
	more := make([]byte, min(im.length, int64(len(im.used))+256*pageBytes))
	if _, err := f.ReadAt(more, 0); err != nil {
		return im, err
	}
	im.used = more
	return im, nil
}
