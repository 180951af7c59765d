package tenant_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"satchel/internal/command"
	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/server/suite"
	"satchel/sync/apply"
	"satchel/sync/oplog"
	"satchel/sync/state"
	"satchel/sync/store"
	"satchel/sync/tenant"
	"satchel/sync/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// random is a source that several goroutines may read.
type random struct {
	mu  sync.Mutex
	src *rand.ChaCha8
}

func (r *random) Read(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.src.Read(b)
}

// clock is set by hand.
type clock struct{ at atomic.Int64 }

func (c *clock) now() time.Time { return time.UnixMilli(c.at.Load()) }

func (c *clock) add(d time.Duration) { c.at.Add(d.Milliseconds()) }

type world struct {
	t     testing.TB
	ten   *tenant.Tenant
	eng   store.Engine
	clock *clock
	cat   *entity.Catalogue
}

func open(t testing.TB, eng store.Engine) *world { return openKeeping(t, eng, 0) }

func openKeeping(t testing.TB, eng store.Engine, entries int) *world {
	t.Helper()
	all, err := suite.Load()
	if err != nil {
		t.Fatal(err)
	}
	cat, rs := all.Cat, all.Roles
	w := &world{t: t, eng: eng, clock: &clock{}, cat: cat}
	w.clock.at.Store(1_700_000_000_000)
	w.ten, err = tenant.Open(tenant.Options{
		ID: "t", Cat: cat, Roles: rs, Field: all.Field, Engine: eng, Clock: w.clock.now, Random: &random{src: rand.NewChaCha8([32]byte{1})}, KeepEntries: entries,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.ten.Close() })
	return w
}

func (w *world) ok(c *command.Command) apply.Result {
	w.t.Helper()
	r, err := w.ten.Submit(context.Background(), c)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func obj(kv ...string) command.Object {
	o := command.Object{}
	for i := 0; i < len(kv); i += 2 {
		o[kv[i]], _ = json.Marshal(kv[i+1])
	}
	return o
}

func row(typ string, id ident.RecordID, kv ...string) command.Row {
	return command.Row{Type: typ, ID: id, Fields: obj(kv...)}
}

func (w *world) load(rs ...command.Row) {
	w.t.Helper()
	for _, x := range w.ok(&command.Command{Import: &command.Import{Rows: rs}}).Count.Rejected {
		w.t.Fatal(x.Err)
	}
}

func (w *world) person(id ident.RecordID, keys ...string) {
	w.t.Helper()
	w.load(row("employee", id, "name", string(id), "email", string(id)+"@example.com", "kind", "in-house", "status", "Active"))
	for i, k := range keys {
		w.load(row("roleAssignment", ident.RecordID(fmt.Sprintf("ra-%s-%d", id, i)), "employee", string(id), "role", k))
	}
	w.ok(&command.Command{Secret: &command.Secret{Employee: id, Hash: "h"}})
}

func small(t testing.TB, eng store.Engine) *world { return fill(open(t, eng)) }

func fill(w *world) *world {
	w.ok(&command.Command{Setup: &command.Setup{Name: "Ada", Email: "ada@example.com", Employee: "emp-ada-1", Hash: "h", Secret: []byte("0123456789abcdef")}})
	w.person("emp-eng-1", "service.engineer", "mobile.service-agent-user")
	w.person("emp-eng-2", "service.engineer", "mobile.service-agent-user")
	w.person("emp-mgr-1", "service.manager")
	w.load(row("salesArea", "area-north", "name", "North"), row("client", "client-one", "name", "One", "salesArea", "area-north"),
		row("job", "job-one-1", "client", "client-one", "title", "Boiler"),
		row("jobActivity", "act-one-1", "job", "job-one-1", "title", "Visit", "assignee", "emp-eng-1"))
	return w
}

type phone struct {
	w    *world
	who  ident.RecordID
	sess ident.SessionID
	id   ident.DeviceID
	cp   string
}

func (w *world) login(who ident.RecordID, installation, session string) *phone {
	w.t.Helper()
	r := w.ok(&command.Command{Login: &command.Login{
		Employee: who, Credential: apply.CredentialDigest("h"), Session: ident.SessionID(session),
		Device: &command.Device{Installation: installation, Incarnation: "c"},
	}})
	return &phone{w: w, who: who, sess: ident.SessionID(session), id: r.Login.Device}
}

func (p *phone) cmd() *command.Command {
	return &command.Command{Actor: p.who, Session: p.sess, Device: p.id}
}

func (p *phone) pull(profile string) (wire.Page, error) {
	c := p.cmd()
	c.Pull = &command.Pull{Checkpoint: p.cp, Profile: profile}
	e, err := p.w.ten.Pull(context.Background(), c, apply.ToldAll)
	if err != nil {
		return wire.Page{}, err
	}
	var pg wire.Page
	if err := json.Unmarshal(e.JSON, &pg); err != nil {
		return wire.Page{}, err
	}
	p.cp = e.Checkpoint
	return pg, nil
}

func (p *phone) sync(profile string) {
	p.w.t.Helper()
	for {
		pg, err := p.pull(profile)
		if err != nil {
			p.w.t.Fatal(err)
		}
		if !pg.More && len(pg.Records)+len(pg.Removed) == 0 {
			return
		}
	}
}

func (p *phone) join() *tenant.Live { return p.w.ten.Join(p.sess, p.id, p.who) }

func write(actor ident.RecordID, x command.Write) *command.Command {
	return &command.Command{Actor: actor, Write: &x}
}

func title(s string) *command.Command {
	return write("emp-mgr-1", command.Write{Op: "patch", Type: "job", ID: "job-one-1", Fields: obj("title", s)})
}

// woken waits for the mark of a live device; a device that is not to be woken
// is given time to be woken wrongly.
func woken(l *tenant.Live, wait time.Duration) bool {
	select {
	case <-l.Dirty():
		return true
	case <-time.After(wait):
		return false
	}
}

func ended(t *testing.T, l *tenant.Live) int {
	t.Helper()
	select {
	case c := <-l.Ended():
		return c
	case <-time.After(time.Minute):
		t.Fatal("the connection was not ended")
		return 0
	}
}

// TestGroupCommit: many submitters share entries, and each gets the answer to
// its own command.
func TestGroupCommit(t *testing.T) {
	for name, eng := range map[string]func() store.Engine{
		"mem": func() store.Engine { return store.NewMem() },
		"bolt": func() store.Engine {
			e, err := store.OpenBolt(filepath.Join(t.TempDir(), "t.db"), store.Options{})
			if err != nil {
				t.Fatal(err)
			}
			return e
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := small(t, eng())
			before := w.ten.Stats.Entries.Load()
			const people, each = 64, 10
			var wg sync.WaitGroup
			errs := make(chan error, people)
			for i := range people {
				wg.Go(func() {
					for j := range each {
						key := fmt.Sprintf("k%d-%d", i, j)
						r, err := w.ten.Submit(context.Background(), write("emp-mgr-1", command.Write{Op: "create", Type: "preference", Fields: obj("owner", "emp-mgr-1", "key", key)}))
						var body struct{ Key string }
						if err == nil {
							err = json.Unmarshal(r.Body, &body)
						}
						if err == nil && body.Key != key {
							err = fmt.Errorf("asked for %s, answered %s", key, body.Key)
						}
						if err != nil {
							errs <- err
							return
						}
					}
				})
			}
			wg.Wait()
			close(errs)
			for err := range errs {
				t.Fatal(err)
			}
			entries := w.ten.Stats.Entries.Load() - before
			t.Logf("%d commands in %d entries", people*each, entries)
			if name == "bolt" && entries > people*each/2 {
				t.Fatalf("%d commands took %d entries", people*each, entries)
			}
			if err := w.ten.Read(func(v *tenant.View) error {
				if n := v.Index(state.TypeKey(w.cat.Type("preference").No)).Len(); n != people*each {
					return fmt.Errorf("%d of %d records", n, people*each)
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestCloseUnderLoad: everybody is answered, and what was answered with success
// is there.
func TestCloseUnderLoad(t *testing.T) {
	mem := store.NewMem()
	w := small(t, mem)
	p := w.login("emp-mgr-1", "i1", "s1")
	var wg sync.WaitGroup
	var done atomic.Int64
	for i := range 32 {
		wg.Go(func() {
			for j := 0; ; j++ {
				var err error
				if i == 0 {
					_, err = p.pull("")
				} else {
					_, err = w.ten.Submit(context.Background(), write("emp-mgr-1", command.Write{Op: "create", Type: "preference", Fields: obj("owner", "emp-mgr-1", "key", fmt.Sprintf("k%d-%d", i, j))}))
				}
				if err != nil {
					if !fault.Is(err, fault.ShuttingDown) && !fault.Is(err, fault.TenantStopped) {
						t.Errorf("answered %v", err)
					}
					return
				}
				if i > 0 {
					done.Add(1)
				}
			}
		})
	}
	l := p.join()
	time.Sleep(20 * time.Millisecond)
	if err := w.ten.Close(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if c := ended(t, l); c != 1001 {
		t.Fatalf("ended with %d", c)
	}
	// Who joins too late is ended at once.
	if c := ended(t, p.join()); c != 1001 {
		t.Fatalf("ended with %d", c)
	}
	snap, err := mem.Clone().Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer snap.Close()
	if n := state.NewReader(w.cat, snap).Index(state.TypeKey(w.cat.Type("preference").No)).Len(); int64(n) != done.Load() {
		t.Fatalf("%d acknowledged, %d there", done.Load(), n)
	}
}

// TestWakes: whoever may know of a change is woken, nobody else.
func TestWakes(t *testing.T) {
	w := small(t, store.NewMem())
	one, two, mgr := w.login("emp-eng-1", "i1", "s1"), w.login("emp-eng-2", "i2", "s2"), w.login("emp-mgr-1", "i3", "s3")
	for _, p := range []*phone{one, two, mgr} {
		p.sync("")
	}
	lives := []*tenant.Live{one.join(), two.join(), mgr.join()}
	check := func(what string, want ...bool) {
		t.Helper()
		for i, l := range lives {
			wait := 30 * time.Millisecond
			if want[i] {
				wait = time.Minute
			}
			if got := woken(l, wait); got != want[i] {
				t.Errorf("%s: device %d woken: %v", what, i, got)
			}
		}
	}
	w.ok(write("emp-mgr-1", command.Write{Op: "patch", Type: "jobActivity", ID: "act-one-1", Fields: obj("note", "x")}))
	check("own activity", true, false, true)
	w.ok(write("emp-mgr-1", command.Write{Op: "action", Type: "jobActivity", ID: "act-one-1", Action: "assign", Args: obj("assignee", "emp-eng-2")}))
	check("moved", true, true, true)
	w.ok(write("emp-ada-1", command.Write{Op: "patch", Type: "employee", ID: "emp-eng-2", Fields: obj("title", "x")}))
	check("somebody's record", false, true, false)
	w.ok(write("emp-ada-1", command.Write{Op: "create", Type: "organizationalRole", Fields: obj("name", "Desk")}))
	check("a role", true, true, true)
}

func TestEnds(t *testing.T) {
	w := small(t, store.NewMem())
	p := w.login("emp-eng-1", "i1", "s1")
	first := p.join()
	second := p.join()
	if c := ended(t, first); c != wire.CloseSuperseded {
		t.Fatalf("ended with %d", c)
	}
	w.login("emp-eng-1", "i1", "s2")
	if c := ended(t, second); c != wire.CloseSuperseded {
		t.Fatalf("ended with %d", c)
	}
	p = w.login("emp-eng-1", "i1", "s3")
	l := p.join()
	w.ok(write("emp-ada-1", command.Write{Op: "action", Type: "device", ID: p.id, Action: "revoke"}))
	if c := ended(t, l); c != wire.CloseRevoked {
		t.Fatalf("ended with %d", c)
	}
	if w.ten.LiveCount() != 0 {
		t.Fatal("who ended is still live")
	}
	q := w.login("emp-eng-2", "i2", "s4")
	l = q.join()
	w.ok(write("emp-ada-1", command.Write{Op: "action", Type: "employee", ID: "emp-eng-2", Action: "disable"}))
	if c := ended(t, l); c != wire.CloseRevoked {
		t.Fatalf("ended with %d", c)
	}
	if err := w.ten.Read(func(v *tenant.View) error {
		_, err := v.SignedIn("s3", "emp-eng-1")
		return err
	}); !fault.Is(err, fault.DeviceRevoked) {
		t.Fatal(err)
	}
}

// TestMidnight: a window that moves with the days wakes its device, also where
// an entry of somebody else is the first of the day.
func TestMidnight(t *testing.T) {
	w := small(t, store.NewMem())
	p, office := w.login("emp-eng-1", "i1", "s1"), w.login("emp-eng-2", "i2", "s2")
	p.sync("field")
	office.sync("office")
	l, o := p.join(), office.join()
	woken(l, 10*time.Millisecond)
	woken(o, 10*time.Millisecond)
	w.clock.add(24 * time.Hour)
	// Neither sees this.
	w.load(row("employee", "emp-mgr-1", "title", "x"))
	if !woken(l, time.Minute) {
		t.Fatal("the field device sleeps through midnight")
	}
	if woken(o, 30*time.Millisecond) {
		t.Fatal("a device without such a window was woken")
	}
}

// TestOverdue: a pull that finds nothing to send does not look at a state in
// which a right has not ended yet that has.
func TestOverdue(t *testing.T) {
	w := small(t, store.NewMem())
	w.person("emp-tmp-1")
	until := ident.Millis(w.clock.at.Load() + 3_600_000)
	w.load(row("roleAssignment", "ra-tmp-001", "employee", "emp-tmp-1", "role", "service.guest", "until", until.RFC3339()))
	p := w.login("emp-tmp-1", "i1", "s1")
	p.sync("")
	w.clock.add(time.Hour)
	pg, err := p.pull("")
	if err != nil {
		t.Fatal(err)
	}
	if len(pg.Removed) == 0 {
		t.Fatal("the role outlives its end")
	}
}

// full is an engine whose disk is full while set.
type full struct {
	store.Engine
	on   atomic.Bool
	asks atomic.Int64
}

func (f *full) Update(fn func(store.Writer) error) error {
	f.asks.Add(1)
	if f.on.Load() {
		return store.ErrDiskFull
	}
	return f.Engine.Update(fn)
}

func TestDiskFull(t *testing.T) {
	eng := &full{Engine: store.NewMem()}
	w := small(t, eng)
	eng.on.Store(true)
	for range 3 {
		if _, err := w.ten.Submit(context.Background(), title("x")); !fault.Is(err, fault.DiskFull) {
			t.Fatal(err)
		}
	}
	eng.on.Store(false)
	w.ok(title("y"))
	if w.ten.Failed() != nil {
		t.Fatal(w.ten.Failed())
	}
	// What is due can't be done while the disk is full; it is not tried over
	// and over.
	until := ident.Millis(w.clock.at.Load() + 3_600_000)
	w.load(row("roleAssignment", "ra-tmp-001", "employee", "emp-eng-2", "role", "service.guest", "until", until.RFC3339()))
	eng.on.Store(true)
	w.clock.add(2 * time.Hour)
	eng.asks.Store(0)
	if _, err := w.ten.Submit(context.Background(), title("z")); !fault.Is(err, fault.DiskFull) {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond)
	if n := eng.asks.Load(); n > 3 {
		t.Fatalf("tried %d times", n)
	}
	eng.on.Store(false)
}

// scarce is an engine whose disk is nearly full, when on is set.
type scarce struct {
	store.Engine
	on atomic.Bool
}

func (s *scarce) Scarce() error {
	if s.on.Load() {
		return store.ErrDiskFull
	}
	return nil
}

// TestScarce: while the disk is nearly full nothing is added, and people go on
// with what they have: they pull, sign in and out, and are signed out.
func TestScarce(t *testing.T) {
	eng := &scarce{Engine: store.NewMem()}
	w := small(t, eng)
	p := w.login("emp-eng-1", "i1", "s1")
	p.sync("")
	w.ok(title("before"))
	eng.on.Store(true)
	ctx := context.Background()
	push := p.cmd()
	push.Push = &command.Push{Mutations: []command.Mutation{{N: 1, Op: "patch", Type: "jobActivity", ID: "act-one-1", Fields: obj("note", "x"), Hash: make([]byte, 32)}}}
	for name, c := range map[string]*command.Command{
		"patch":  title("x"),
		"create": write("emp-mgr-1", command.Write{Op: "create", App: "service", Type: "job", Fields: obj("title", "x", "client", "client-one")}),
		"push":   push,
		"import": {Import: &command.Import{Rows: []command.Row{row("salesArea", "area-south", "name", "South")}}},
		"bulk":   {Actor: "emp-mgr-1", Bulk: &command.Bulk{App: "service", Type: "jobActivity", Action: "accept", IDs: []ident.RecordID{"act-one-1"}}},
	} {
		if _, err := w.ten.Submit(ctx, c); !fault.Is(err, fault.DiskFull) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The page with what was written before is one for which an entry is made.
	pg, err := p.pull("")
	if err != nil || len(pg.Records) != 1 {
		t.Fatalf("pull: %d records, %v", len(pg.Records), err)
	}
	w.login("emp-eng-2", "i2", "s2")
	w.ok(&command.Command{Actor: "emp-ada-1", Write: &command.Write{Op: "delete", App: "admin", Type: "roleAssignment", ID: "ra-emp-eng-1-0"}})
	w.ok(&command.Command{Actor: "emp-ada-1", Write: &command.Write{Op: "patch", App: "admin", Type: "employee", ID: "emp-eng-1", Fields: obj("name", "Gone")}})
	eng.on.Store(false)
	w.ok(title("after"))
}

// TestStops: an unknown outcome, or a damaged store, stops this tenant with
// everybody answered, and not the process.
func TestStops(t *testing.T) {
	t.Run("commit", func(t *testing.T) {
		mem := store.NewMem()
		w := small(t, mem)
		l := w.login("emp-eng-1", "i1", "s1").join()
		mem.FailCommit = func() error { return errors.New("disk gone") }
		for range 2 {
			if _, err := w.ten.Submit(context.Background(), title("x")); !fault.Is(err, fault.TenantStopped) {
				t.Fatal(err)
			}
		}
		if c := ended(t, l); c != 1001 {
			t.Fatalf("ended with %d", c)
		}
	})
	t.Run("randomness that repeats", func(t *testing.T) {
		mem := store.NewMem()
		small(t, mem)
		again := open(t, mem.Clone()) // names itself as the one before did
		if _, err := again.ten.Submit(context.Background(), title("x")); !fault.Is(err, fault.TenantStopped) {
			t.Fatal(err)
		}
	})
	t.Run("damage", func(t *testing.T) {
		mem := store.NewMem()
		w := small(t, mem)
		p := w.login("emp-eng-1", "i1", "s1")
		var ord ident.Ordinal
		if err := w.ten.Read(func(v *tenant.View) error { ord = v.Ordinal("job-one-1"); return nil }); err != nil {
			t.Fatal(err)
		}
		if err := mem.Update(func(tx store.Writer) error {
			return tx.Put(store.Records, binary.BigEndian.AppendUint32(nil, ord), []byte{9, 9, 9})
		}); err != nil {
			t.Fatal(err)
		}
		if _, err := p.pull(""); !fault.Is(err, fault.TenantStopped) {
			t.Fatal(err)
		}
		if _, err := w.ten.Submit(context.Background(), title("x")); !fault.Is(err, fault.TenantStopped) {
			t.Fatal(err)
		}
		if err := w.ten.Failed(); !errors.Is(err, state.ErrDamaged) && !errors.Is(err, entity.ErrCorrupt) {
			t.Fatal(err)
		}
	})
}

func TestTooBig(t *testing.T) {
	w := small(t, store.NewMem())
	big := title(string(make([]byte, oplog.MaxCommandBytes)))
	if _, err := w.ten.Submit(context.Background(), big); !fault.Is(err, fault.TooBig) {
		t.Fatal(err)
	}
	if w.ten.Failed() != nil {
		t.Fatal(w.ten.Failed())
	}
}

// TestManyBig: commands that together are more than an entry takes are spread
// over entries.
func TestManyBig(t *testing.T) {
	w := small(t, store.NewMem())
	var wg sync.WaitGroup
	text := string(make([]byte, 60<<10)) // six bytes each in JSON: refused, but after it was logged
	for range 40 {
		wg.Go(func() {
			_, err := w.ten.Submit(context.Background(), write("emp-mgr-1", command.Write{Op: "create", Type: "job", Fields: obj("title", text[:40<<10])}))
			if err == nil || fault.Is(err, fault.TenantStopped) || fault.Is(err, fault.TooBig) {
				t.Errorf("answered %v", err)
			}
		})
	}
	wg.Wait()
}

// TestLogIsCut: the log keeps what it is told to, and the state does not mind.
func TestLogIsCut(t *testing.T) {
	eng := store.NewMem()
	w := fill(openKeeping(t, eng, 50))
	for i := range 1200 {
		w.ok(title(fmt.Sprintf("Boiler %d", i)))
	}
	floor, last := w.ten.Log().Bounds()
	if kept := int(last-floor) + 1; kept < 50 || kept > 1100 {
		t.Fatalf("%d entries kept, %d to %d", kept, floor, last)
	}
	if err := w.ten.Close(); err != nil {
		t.Fatal(err)
	}
}
