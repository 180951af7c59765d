package tenant_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"satchel/internal/command"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/sync/apply"
	"satchel/sync/store"
	"satchel/sync/tenant"
	"satchel/sync/wire"
)

// taker takes the pages that a device is offered.
type taker struct {
	p *phone

	mu       sync.Mutex
	busy     bool
	took     []wire.Page
	errs     []error
	declined int
	dirty    int
	hold     chan struct{} // that Take waits for, nil for nothing
}

func (k *taker) Dirty()    { k.mu.Lock(); defer k.mu.Unlock(); k.dirty++ }
func (k *taker) Ended(int) {}

func (k *taker) Offer(c *command.Command) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.busy {
		return false
	}
	k.busy = true
	p := c.Pull
	*c = *k.p.cmd()
	c.Pull, p.Checkpoint = p, k.p.cp
	return true
}

func (k *taker) Take(e tenant.Encoded, err error) {
	k.mu.Lock()
	hold := k.hold
	k.mu.Unlock()
	if hold != nil {
		<-hold
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.busy = false
	var pg wire.Page
	if err == nil {
		err = json.Unmarshal(e.JSON, &pg)
	}
	if err == nil && (pg.Checkpoint != e.Checkpoint || pg.From != k.p.cp) {
		err = fmt.Errorf("from %q to %q, where it leads from %q to %q", pg.From, pg.Checkpoint, k.p.cp, e.Checkpoint)
	}
	if err != nil {
		k.errs = append(k.errs, err)
		return
	}
	k.took, k.p.cp = append(k.took, pg), e.Checkpoint
}

func (k *taker) Decline() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.busy = false
	k.declined++
}

// state reads k where nothing is done with it.
func (k *taker) state(f func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	f()
}

func (k *taker) eventually(what string, ok func() bool) {
	k.p.w.t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		done := false
		k.state(func() { done = ok() })
		if done {
			return
		}
		if time.Now().After(end) {
			k.p.w.t.Fatal("never happened: " + what)
		}
	}
}

// takers makes devices of the manager that are up to date and take pages.
func takers(w *world, n int) []*taker {
	out := make([]*taker, n)
	for i := range out {
		out[i] = &taker{p: w.login("emp-mgr-1", fmt.Sprint("install-", i), fmt.Sprint("session-", i))}
	}
	for _, k := range out { // each sees the devices of all
		k.p.sync("office")
		w.ten.Follow(k.p.sess, k.p.id, k.p.who, k)
	}
	return out
}

// TestOffered: devices that are up to date get the page of a change without
// asking, each once, and from then on ask with what it gave them.
func TestOffered(t *testing.T) {
	w := small(t, store.NewMem())
	const n = 40 // more than are worked out at once
	all := takers(w, n)
	before := w.ten.Stats.Entries.Load()
	for round := 1; round <= 3; round++ {
		said := fmt.Sprint("Boiler ", round)
		w.ok(title(said))
		for i, k := range all {
			k.eventually("the page comes", func() bool { return len(k.took) >= round || len(k.errs) > 0 || k.declined > 0 })
			k.state(func() {
				if len(k.errs) > 0 || k.declined > 0 || k.dirty > 0 {
					t.Fatalf("device %d: %v, declined %d, dirty %d", i, k.errs, k.declined, k.dirty)
				}
				pg := k.took[round-1]
				if len(pg.Records) != 1 || string(pg.Records[0].Fields["title"]) != fmt.Sprintf("%q", said) {
					t.Fatalf("device %d in round %d: %+v", i, round, pg)
				}
			})
		}
	}
	if got := w.ten.Stats.Entries.Load() - before; got != 3 {
		t.Errorf("%d entries", got)
	}
	for i, k := range all {
		pg, err := k.p.pull("")
		if err != nil || len(pg.Records)+len(pg.Removed) > 0 {
			t.Errorf("device %d has yet to get %+v, %v", i, pg, err)
		}
		k.state(func() {
			if len(k.took) != 3 {
				t.Errorf("device %d took %d pages", i, len(k.took))
			}
		})
	}
}

// TestSlowTaker: devices that are slow to take their pages hold up no others, and
// no writes, and their pages stay what they were.
func TestSlowTaker(t *testing.T) {
	w := small(t, store.NewMem())
	all := takers(w, 60)
	hold := make(chan struct{})
	slow := func(i int) bool { return i%4 == 0 }
	for i, k := range all {
		if slow(i) {
			k.state(func() { k.hold = hold })
		}
	}
	for round := 1; round <= 2; round++ {
		w.ok(title(fmt.Sprint("Boiler ", round)))
		for i, k := range all {
			if !slow(i) {
				k.eventually("the page comes", func() bool { return len(k.took) == round })
			}
		}
	}
	close(hold)
	for i, k := range all {
		if slow(i) {
			k.eventually("the page was taken", func() bool { return len(k.took) == 1 || len(k.errs) > 0 })
			k.state(func() {
				if len(k.errs) > 0 || len(k.took[0].Records) != 1 || string(k.took[0].Records[0].Fields["title"]) != `"Boiler 1"` {
					t.Errorf("device %d: %v, %+v", i, k.errs, k.took)
				}
			})
		}
	}
}

// TestOffersLeave: the state that pages are worked out from is open for as long as
// some are to be, and no longer.
func TestOffersLeave(t *testing.T) {
	eng := &counted{Engine: store.NewMem()}
	w := small(t, eng)
	all := takers(w, 3*tenant.OfferedAtOnce)
	for round := 1; round <= 3; round++ {
		w.ok(title(fmt.Sprint("Boiler ", round)))
		for _, k := range all {
			k.eventually("the page comes", func() bool { return len(k.took) == round })
		}
		all[0].eventually("the state is closed", func() bool { return eng.open.Load() == 0 })
	}
}

// TestOfferedNothing: a device whose session ended, or that was revoked, or whose
// page must be stored is told to ask for itself; what it is told then is what it
// was told before there were offers.
func TestOfferedNothing(t *testing.T) {
	for name, tc := range map[string]struct {
		do   func(w *world, k *taker)
		code fault.Code // of the pull, "" for a page
	}{
		"signed out": {func(w *world, k *taker) {
			w.ok(&command.Command{Actor: k.p.who, Logout: &command.Logout{Session: k.p.sess}})
		}, fault.SessionRevoked},
		"revoked": {func(w *world, k *taker) {
			w.ok(&command.Command{Import: &command.Import{Rows: []command.Row{row("device", ident.RecordID(k.p.id), "status", "Revoked")}}})
		}, fault.DeviceRevoked},
		"expired": {func(w *world, k *taker) { w.clock.add(61 * 24 * time.Hour) }, fault.SessionRevoked},
		"deleted": {func(w *world, _ *taker) {
			w.ok(write("emp-mgr-1", command.Write{Op: "delete", Type: "job", ID: "job-two-1"}))
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := small(t, store.NewMem())
			w.load(row("job", "job-two-1", "client", "client-one", "title", "Pump"))
			k := takers(w, 1)[0]
			// What is known of the session and the device is known by now.
			w.ok(title("Boiler 1"))
			k.eventually("the page comes", func() bool { return len(k.took) == 1 })
			tc.do(w, k)
			w.ok(title("Boiler 2"))
			if tc.code == "" {
				k.eventually("it is told to ask", func() bool { return k.declined > 0 })
			}
			c := k.p.cmd()
			c.Pull = &command.Pull{Checkpoint: k.p.cp}
			_, err := w.ten.Pull(context.Background(), c, apply.ToldSmall)
			switch {
			case tc.code != "" && (err == nil || fault.Of(err).Code != tc.code):
				t.Errorf("got %v", err)
			case tc.code == "" && err != nil:
				t.Error(err)
			}
			k.state(func() {
				if len(k.took) != 1 {
					t.Errorf("took %+v", k.took[1:])
				}
			})
		})
	}
}

// TestOffersEnd: a tenant that is closed leaves nobody waiting, whoever was due.
func TestOffersEnd(t *testing.T) {
	w := small(t, store.NewMem())
	all := takers(w, 40)
	w.ok(title("Boiler 1"))
	if err := w.ten.Close(); err != nil {
		t.Fatal(err)
	}
	for _, k := range all {
		k.eventually("nothing is under way", func() bool { return !k.busy })
	}
}
