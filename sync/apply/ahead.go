package apply

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"strconv"
	"strings"
	"sync"

	"satchel/internal/command"
	"satchel/internal/ident"
	"satchel/internal/mutant"
	"satchel/sync/pull"
)

// Ahead knows how far devices have come beyond what is stored of them. A page
// that only updates what a device holds needs no entry of the log: it gets a
// checkpoint that names the stored page beneath it and a number of this run,
// and up to where that leads is kept in memory. What is forgotten, with the
// process or for want of room, costs no more than that the same updates are sent
// once more: the stored page is still named. Whether a page is one of these is
// the machine's to say; that devices can't make such checkpoints up is seen to
// by a key that ends with the run as well.
//
// Its methods may be called by many goroutines.
type Ahead struct {
	mu  sync.Mutex
	key [32]byte // of this run
	mac mac
	of  map[ident.DeviceID]*ahead
}

// Asked is where a device is that asks, as Before found it.
type Asked struct {
	checkpoint, base string
	number           uint64
	run              [32]byte // the key
}

// ahead is a device. Numbers of pages go on for as long as it is remembered, so
// that none means two things.
type ahead struct {
	base    string // the checkpoint of the stored page
	given   string // the last one given out beyond it, "" for none
	last    uint64 // the number last given out
	has     step   // what it was last known to have
	sent    step   // what was sent to it since, if anything
	records int    // sent since base
}

// step is a page that was not stored, 0 for the stored one beneath, and up to
// where it leads.
type step struct {
	number uint64
	mark   pull.Mark
}

const (
	// maxAhead is how many records a device may be sent before it gets a stored
	// page again: as many are sent once more after a restart.
	maxAhead = 64
	// maxAheadDevices bounds the devices that are remembered.
	maxAheadDevices = 50_000
)

// NewAhead begins a run, of random bytes that no other has.
func NewAhead(key [32]byte) *Ahead {
	return &Ahead{key: key, of: map[ident.DeviceID]*ahead{}}
}

// Before readies a pull for the log: it takes from its checkpoint what is of
// this run alone. The command is changed; what it asked with is for After.
func (a *Ahead) Before(c *command.Command) Asked {
	a.mu.Lock()
	defer a.mu.Unlock()
	d := a.of[c.Device]
	base, number := a.read(d, c.Device, c.Pull.Checkpoint)
	asked := Asked{c.Pull.Checkpoint, base, number, a.key}
	c.Pull.Checkpoint, c.Pull.Ahead, c.Pull.Since = base, maxAhead, nil
	if d == nil || d.base != base {
		return asked
	}
	c.Pull.Ahead = max(maxAhead-d.records, 0)
	s := d.step(number)
	if mutant.On(mutant.AheadAssumed) && d.sent.number != 0 {
		s = d.sent
	}
	c.Pull.Since = s.since()
	return asked
}

// step returns the step of a number; one that is not remembered leads nowhere.
func (d *ahead) step(number uint64) step {
	switch number {
	case d.has.number:
		return d.has
	case d.sent.number:
		return d.sent
	}
	return step{number: number}
}

// since is the step for the log, nil where it leads nowhere.
func (s step) since() *command.Mark {
	if s.mark == (pull.Mark{}) {
		return nil
	}
	return &command.Mark{Pos: s.mark.Pos, Ord: s.mark.Ord}
}

// After gives a page the checkpoints by which the device knows it, and notes how
// far the device comes with it.
func (a *Ahead) After(device ident.DeviceID, asked Asked, p *Page) {
	p.From = asked.checkpoint
	if p.Empty() {
		p.Checkpoint = asked.checkpoint
	}
	if asked.checkpoint == "" || !p.Empty() && !p.Ahead {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	d := a.device(device, asked.base)
	from := step{}
	if asked.run == a.key {
		from = d.step(asked.number)
	}
	if p.Empty() {
		if asked.run == a.key {
			// Whoever is where this device is has all up to here.
			from.mark = p.Mark
			d.has, d.sent = from, step{}
		}
		return
	}
	d.last++
	d.records += len(p.Items)
	d.has, d.sent = from, step{d.last, p.Mark}
	d.given = a.checkpoint(device, asked.base, d.last)
	p.Checkpoint = d.given
}

// device returns what is known of a device beyond a stored page.
func (a *Ahead) device(id ident.DeviceID, base string) *ahead {
	was := a.of[id]
	if was != nil && was.base == base {
		return was
	}
	d := &ahead{base: base}
	switch {
	case was != nil:
		d.last = was.last
	case len(a.of) >= maxAheadDevices:
		// Numbers begin anew, and so must what vouches for them.
		a.of, a.key = map[ident.DeviceID]*ahead{}, sha256.Sum256(a.key[:])
	}
	a.of[id] = d
	return d
}

// Where returns the mark up to which a device was sent what it has, nil where
// that is what is stored.
func (a *Ahead) Where(id ident.DeviceID, base string) *command.Mark {
	a.mu.Lock()
	defer a.mu.Unlock()
	d := a.of[id]
	if d == nil || d.base != base {
		return nil
	}
	if d.sent.number != 0 {
		return d.sent.since()
	}
	return d.has.since()
}

// read is parse for a device of which d is known, nil for nothing: most ask with
// what they were given last.
func (a *Ahead) read(d *ahead, id ident.DeviceID, checkpoint string) (base string, number uint64) {
	if d != nil && d.given != "" && len(d.given) == len(checkpoint) && hmac.Equal([]byte(d.given), []byte(checkpoint)) {
		return d.base, d.last
	}
	return a.parse(id, checkpoint)
}

// parse takes a checkpoint apart: that of the stored page, and the number of the
// page after it. One of another run is as good as none: whoever has it has at
// least the stored page.
func (a *Ahead) parse(d ident.DeviceID, checkpoint string) (base string, number uint64) {
	parts := strings.SplitN(checkpoint, ".", 5)
	if len(parts) != 4 {
		return checkpoint, 0
	}
	base = parts[0] + "." + parts[1]
	n, err := strconv.ParseUint(parts[2], 36, 64)
	if err != nil || !hmac.Equal([]byte(parts[3]), a.tag(d, base, n)) {
		return base, 0
	}
	return base, n
}

// checkpoint renders the checkpoint of a page after a stored one.
func (a *Ahead) checkpoint(d ident.DeviceID, base string, n uint64) string {
	tag := a.tag(d, base, n)
	var room [96]byte
	b := append(append(room[:0], base...), '.')
	b = append(strconv.AppendUint(b, n, 36), '.')
	return string(append(b, tag...))
}

// tag is valid until the next.
func (a *Ahead) tag(d ident.DeviceID, base string, n uint64) []byte {
	msg := append(append(a.mac.message(), d...), 0)
	return a.mac.tag(a.key[:], binary.BigEndian.AppendUint64(append(msg, base...), n), 8)
}
