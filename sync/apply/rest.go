package apply

import (
	"satchel/internal/command"
	"satchel/internal/ident"
	"satchel/sync/state"
	"satchel/sync/store"
)

// Rest lets the machine read a committed state between entries. The snapshot
// must stay open until the next Rest, Append or Leave.
func (m *Machine) Rest(kv store.Reader) {
	was := m.w.Pos()
	m.w.Rest(kv)
	if m.w.Pos() != was {
		m.memo.Forget()
		m.standing.forget()
	}
	m.load()
}

// Leave ends Rest.
func (m *Machine) Leave() { m.w.Stage.Reset(nil) }

// Reader reads the state of Rest.
func (m *Machine) Reader() *state.Reader { return &m.w.Reader }

// Sessions is what the machine remembers of sessions. Any goroutine may read it.
func (m *Machine) Sessions() *SessionCache { return &m.sessions }

// SetEpoch tells the machine the log's epoch before the first entry.
func (m *Machine) SetEpoch(e uint64) { m.epoch = e }

// Peek applies a command to the state of Rest and takes everything back. done
// is true where there was nothing to take back: then the answer stands and
// the command need not go through the log. A pull that has nothing to send is
// such a command.
func (m *Machine) Peek(c *command.Command) (res Result, done bool) {
	if m.brings(c) {
		return Result{}, false
	}
	mark := m.w.Mark()
	rows := m.w.Len()
	r := &m.trying // one after the other: nothing of a run outlives it
	*r = *m.start(c)
	r.brief = true
	defer func() {
		if p := recover(); p != nil {
			res, done = Result{Err: m.panicked(p)}, true
		}
		m.rollback(mark, r, 0, 0)
		*r = run{}
	}()
	res = r.dispatch()
	return res, !r.unfinished && m.w.Len() == rows && res.Err == nil
}

// brings reports whether a pull is sure to have a page that must be stored: of
// a device that has nothing, or in the midst of a round. To compute such a
// page only to find that it can't be answered from here would double its cost.
func (m *Machine) brings(c *command.Command) bool {
	if c.Pull == nil {
		return false
	}
	if c.Pull.Checkpoint == "" {
		return true
	}
	d, _ := m.devices.get(c.Device)
	return d != nil && d.Sync.Pending != nil && d.Sync.Pending.Target != 0
}

// Owes reports whether a pull would bring the device anything: the device of
// somebody who may use the Mobile module. What it was sent last it is taken to
// have. ahead says, for the checkpoint of a stored page, how far the device has
// come beyond it. It reads the state of Rest.
func (m *Machine) Owes(id ident.DeviceID, ahead func(checkpoint string) *command.Mark) (owes bool) {
	d := m.loadDevice(id)
	if d == nil {
		return false
	}
	if sub := m.subject(d.Employee); sub == nil || !sub.Active || !sub.Mobile {
		return false
	}
	n := d.Sync.Ack
	if d.Sync.Pending != nil {
		n = d.Sync.Pending.N
	}
	if n == 0 {
		return true // it has yet to begin
	}
	mark := m.w.Mark()
	at := m.checkpoint(id, n)
	r := m.start(&command.Command{
		Actor: d.Employee, Session: d.Session, Device: id, Pull: &command.Pull{Checkpoint: at, Since: ahead(at), Limit: 1},
	})
	defer func() {
		if p := recover(); p != nil {
			_ = m.panicked(p) // logged; the device finds out by itself
			owes = false
		}
		m.rollback(mark, r, 0, 0)
	}()
	res := r.dispatch()
	return res.Page != nil && !res.Page.Empty()
}

// Forgo forgets what pages of the present state bring: devices that are told of
// the same change ask at about the same time, and few later.
func (m *Machine) Forgo() { m.memo.Forget() }

// FieldDevice reports whether the device carries the field profile with a
// window that moves with the days.
func (m *Machine) FieldDevice(id ident.DeviceID) bool {
	d := m.loadDevice(id)
	return d != nil && d.Field && d.Window == nil
}
