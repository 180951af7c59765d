package apply

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"iter"
	"math"

	"satchel/internal/command"
	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/sync/bits"
	"satchel/sync/pull"
	"satchel/sync/scope"
	"satchel/sync/state"
	"satchel/sync/store"
)

// Device is what the state knows of a device beyond its record. A stored
// Device is never changed in memory: changes are made to a copy.
type Device struct {
	ID           ident.DeviceID  `json:"-"`
	Ord          ident.Ordinal   `json:"ord"`
	Employee     ident.RecordID  `json:"employee"`
	Installation string          `json:"installation"`
	Incarnation  string          `json:"incarnation"`
	Prefix       string          `json:"prefix"`
	Session      ident.SessionID `json:"session"`
	PushToken    string          `json:"pushToken,omitempty"`

	Field  bool            `json:"field,omitempty"`
	Window *command.Window `json:"window,omitempty"`
	Pins   []ident.Ref     `json:"pins,omitempty"`
	Schema int             `json:"schema,omitempty"`

	// Processed is the last mutation in effect, Acked the last whose result
	// the device has.
	Processed uint64   `json:"processed,omitempty"`
	Acked     uint64   `json:"acked,omitempty"`
	Failed    []failed `json:"failed,omitempty"`

	Sync pull.Device `json:"-"`
	// bare: Sync lacks its arrivals, which are as stored. Only what becomes of a
	// page under way changes them, and nobody else needs them in memory.
	bare bool

	now      scope.Sets // cached sync set
	nowView  *view
	nowMoves uint64
	nowDay   ident.Day
}

// failed is a refused mutation: what depends on it is refused as well.
type failed struct {
	N  uint64         `json:"n"`
	ID ident.RecordID `json:"id,omitempty"` // of a create
}

// maxFailed bounds how many refused mutations a device remembers.
const maxFailed = 2000

// The Devices bucket: 'd' device id -> deviceRow as JSON; 'i' employee,
// installation, incarnation (0 between) -> device id; 'p' prefix -> device id;
// 's' device u32, instant i64 with the sign bit flipped -> the records that went
// out to the device then and that it has or may have since, as one set. Devices
// from before such rows were kept have none for what they held then. Rows of
// addresses stand at tokenRow.
func deviceKey(id ident.DeviceID) []byte { return append([]byte{'d'}, id...) }

func installationRow(e ident.RecordID, installation, incarnation string) []byte {
	return fmt.Appendf(nil, "i%s\x00%s\x00%s", e, installation, incarnation)
}

func prefixRow(p string) []byte { return append([]byte{'p'}, p...) }

// arrivalRows lead a device's rows of arrivals.
func arrivalRows(dev ident.Ordinal) []byte { return binary.BigEndian.AppendUint32([]byte{'s'}, dev) }

func arrivalRow(dev ident.Ordinal, at ident.Millis) []byte {
	return binary.BigEndian.AppendUint64(arrivalRows(dev), uint64(at)^1<<63)
}

// deviceRow is a device as stored, its held set apart.
type deviceRow struct {
	Device
	Ack     uint64         `json:"ack,omitempty"`
	Last    uint64         `json:"last,omitempty"`
	Mark    pull.Mark      `json:"mark"`
	Target  ident.Position `json:"target,omitempty"`
	Pending *pendingRow    `json:"pending,omitempty"`
}

type pendingRow struct {
	N          uint64         `json:"n"`
	Removed    []byte         `json:"removed,omitempty"`
	Sent       []partRow      `json:"sent,omitempty"`
	At         ident.Millis   `json:"at,omitempty"`
	Mark       pull.Mark      `json:"mark"`
	Target     ident.Position `json:"target,omitempty"`
	Reset      bool           `json:"reset,omitempty"`
	ResetTypes []uint16       `json:"resetTypes,omitempty"`
}

type partRow struct {
	Class uint16 `json:"c"`
	Set   []byte `json:"s"`
}

// classTable numbers projection classes: the rows of held sets name them by
// number. Number 0 is the unsure set.
type classTable struct {
	ids  map[scope.Class]uint16
	list []scope.Class
}

func (t *classTable) load(kv store.Reader) {
	t.ids = map[scope.Class]uint16{}
	t.list = []scope.Class{{}}
	kv.Scan(store.Classes, nil, func(k, v []byte) bool {
		if len(v) != classLength {
			panic(fmt.Errorf("%w: class %x has %d bytes", state.ErrDamaged, k, len(v)))
		}
		c := scope.Class{Type: binary.BigEndian.Uint16(v), Mask: entity.Mask(binary.BigEndian.Uint64(v[2:])), Context: v[10] == 1}
		t.ids[c] = uint16(len(t.list))
		t.list = append(t.list, c)
		return true
	})
}

// truncate forgets the classes numbered since there were n.
func (t *classTable) truncate(n int) {
	for len(t.list) > n {
		delete(t.ids, t.list[len(t.list)-1])
		t.list = t.list[:len(t.list)-1]
	}
}

// class returns a class's number, a new one where it has none yet.
func (m *Machine) class(c scope.Class) uint16 {
	if id, ok := m.table.ids[c]; ok {
		return id
	}
	if len(m.table.list) > math.MaxUint16 {
		panic("apply: there are too many projection classes")
	}
	id := uint16(len(m.table.list))
	m.table.ids[c] = id
	m.table.list = append(m.table.list, c)
	m.w.Put(store.Classes, binary.BigEndian.AppendUint16(nil, id), classRow(c))
	return id
}

// classLength is how many bytes classRow makes.
const classLength = 11

func classRow(c scope.Class) []byte {
	b := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint16(nil, c.Type), uint64(c.Mask))
	if c.Context {
		return append(b, 1)
	}
	return append(b, 0)
}

// loadDevice returns a device, nil for none.
func (m *Machine) loadDevice(id ident.DeviceID) *Device {
	if d, ok := m.devices.get(id); ok {
		return d
	}
	d := readDevice(&m.w.Reader, m.table.list, id)
	if d != nil {
		d.bare = true
		m.devices.put(id, d)
	}
	return d
}

// complete returns a device with its arrivals.
func (m *Machine) complete(d *Device) *Device {
	if !d.bare {
		return d
	}
	full := *d
	full.Sync.Arrivals, full.bare = readArrivals(&m.w.Reader, d.Ord), false
	return &full
}

// Classes reads the class table, for readers of snapshots.
func Classes(rd *state.Reader) []scope.Class {
	var t classTable
	t.load(rd.KV())
	return t.list
}

// ReadDevice reads a device with its held set, nil for none.
func ReadDevice(rd *state.Reader, classes []scope.Class, id ident.DeviceID) *Device {
	d := readDevice(rd, classes, id)
	if d != nil {
		d.Sync.Arrivals = readArrivals(rd, d.Ord)
	}
	return d
}

// readDevice is ReadDevice without the arrivals.
func readDevice(rd *state.Reader, classes []scope.Class, id ident.DeviceID) *Device {
	v := rd.KV().Get(store.Devices, deviceKey(id))
	if v == nil {
		return nil
	}
	var row deviceRow
	if err := json.Unmarshal(v, &row); err != nil {
		panic(fmt.Errorf("%w: device %s: %w", state.ErrDamaged, id, err))
	}
	d := row.Device
	d.ID = id
	d.Sync = pull.Device{Ack: row.Ack, Last: row.Last, Mark: row.Mark, Target: row.Target}
	if p := row.Pending; p != nil {
		d.Sync.Pending = &pull.Pending{
			N: p.N, Removed: parse(p.Removed), At: p.At, Mark: p.Mark, Target: p.Target, Reset: p.Reset, ResetTypes: p.ResetTypes,
		}
		for _, part := range p.Sent {
			d.Sync.Pending.Sent = append(d.Sync.Pending.Sent, scope.Part{Class: classAt(classes, part.Class, id), Set: parse(part.Set)})
		}
	}
	type chunk struct {
		hi  uint16
		val []byte
	}
	byClass := map[uint16][]chunk{}
	var order []uint16
	p := binary.BigEndian.AppendUint32(nil, d.Ord)
	store.ScanPrefix(rd.KV(), store.Held, p, func(k, v []byte) bool {
		if len(k) != len(p)+4 {
			panic(fmt.Errorf("%w: held set of %s: a row %x", state.ErrDamaged, id, k))
		}
		c := binary.BigEndian.Uint16(k[4:])
		if byClass[c] == nil {
			order = append(order, c)
		}
		byClass[c] = append(byClass[c], chunk{binary.BigEndian.Uint16(k[6:]), v})
		return true
	})
	for _, c := range order {
		set, err := bits.Decode(iter.Seq2[uint16, []byte](func(yield func(uint16, []byte) bool) {
			for _, x := range byClass[c] {
				if !yield(x.hi, x.val) {
					return
				}
			}
		}))
		if err != nil {
			panic(fmt.Errorf("%w: held set of %s: %w", state.ErrDamaged, id, err))
		}
		if c == 0 {
			d.Sync.Unsure = set
		} else {
			d.Sync.Held = append(d.Sync.Held, scope.Part{Class: classAt(classes, c, id), Set: set})
		}
	}
	return &d
}

func readArrivals(rd *state.Reader, dev ident.Ordinal) (out []pull.Arrival) {
	rows := arrivalRows(dev)
	store.ScanPrefix(rd.KV(), store.Devices, rows, func(k, v []byte) bool {
		if len(k) == len(rows)+8 {
			at := ident.Millis(binary.BigEndian.Uint64(k[len(rows):]) ^ 1<<63)
			out = append(out, pull.Arrival{At: at, Set: parse(v)})
		}
		return true
	})
	return out
}

// classAt finds the class that a device's row names by its number.
func classAt(classes []scope.Class, n uint16, id ident.DeviceID) scope.Class {
	if int(n) >= len(classes) {
		panic(fmt.Errorf("%w: device %s: there is no class %d", state.ErrDamaged, id, n))
	}
	return classes[n]
}

func parse(b []byte) bits.Set {
	if len(b) == 0 {
		return bits.Set{}
	}
	s, err := bits.Parse(b)
	if err != nil {
		panic(fmt.Errorf("%w: stored set: %w", state.ErrDamaged, err))
	}
	return s
}

// EachDevice calls f with the id of every device.
func EachDevice(rd *state.Reader, f func(ident.DeviceID) bool) {
	store.ScanPrefix(rd.KV(), store.Devices, []byte{'d'}, func(k, _ []byte) bool {
		return f(ident.DeviceID(k[1:]))
	})
}

// storeDevice stages a device's row and the chunks of its held set that
// differ from what is remembered of it.
func (r *run) storeDevice(d *Device) {
	row := deviceRow{Device: *d, Ack: d.Sync.Ack, Last: d.Sync.Last, Mark: d.Sync.Mark, Target: d.Sync.Target}
	if p := d.Sync.Pending; p != nil {
		row.Pending = &pendingRow{N: p.N, At: p.At, Mark: p.Mark, Target: p.Target, Reset: p.Reset, ResetTypes: p.ResetTypes}
		if !p.Removed.IsEmpty() {
			row.Pending.Removed = p.Removed.AppendTo(nil)
		}
		for _, part := range p.Sent {
			row.Pending.Sent = append(row.Pending.Sent, partRow{r.class(part.Class), part.Set.AppendTo(nil)})
		}
	}
	// Before the row is staged: what is remembered must be what was stored.
	var was pull.Device
	if old := r.loadDevice(d.ID); old != nil && old != d {
		if !d.bare {
			old = r.complete(old)
		}
		was = old.Sync
	}
	r.w.Put(store.Devices, deviceKey(d.ID), encode(row))
	r.putHeld(d.Ord, 0, was.Unsure, d.Sync.Unsure)
	for _, p := range was.Held {
		r.putHeld(d.Ord, r.class(p.Class), p.Set, part(d.Sync.Held, p.Class))
	}
	for _, p := range d.Sync.Held {
		if part(was.Held, p.Class).IsEmpty() {
			r.putHeld(d.Ord, r.class(p.Class), bits.Set{}, p.Set)
		}
	}
	if !d.bare {
		r.putArrivals(d.Ord, was.Arrivals, d.Sync.Arrivals)
		d.Sync.Arrivals, d.bare = nil, true
	}
	prev, _ := r.devices.get(d.ID)
	r.devicesTouched = append(r.devicesTouched, deviceUndo{d.ID, prev})
	r.devices.put(d.ID, d)
	r.watch.changed(d.ID)
}

type deviceUndo struct {
	id   ident.DeviceID
	prev *Device
}

func part(s scope.Sets, c scope.Class) bits.Set {
	for _, p := range s {
		if p.Class == c {
			return p.Set
		}
	}
	return bits.Set{}
}

func (r *run) putHeld(dev ident.Ordinal, class uint16, was, is bits.Set) {
	for hi, c := range bits.Changed(was, is) {
		k := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint32(nil, dev), class)
		k = binary.BigEndian.AppendUint16(k, hi)
		if c.IsEmpty() {
			r.w.Delete(store.Held, k)
		} else {
			r.w.Put(store.Held, k, c.Bytes())
		}
	}
}

// putArrivals stages the rows of a device's arrivals that differ; both lists
// ascend by time.
func (r *run) putArrivals(dev ident.Ordinal, was, is []pull.Arrival) {
	for len(was) > 0 || len(is) > 0 {
		switch {
		case len(is) == 0 || len(was) > 0 && was[0].At < is[0].At:
			r.w.Delete(store.Devices, arrivalRow(dev, was[0].At))
			was = was[1:]
		case len(was) == 0 || is[0].At < was[0].At:
			r.w.Put(store.Devices, arrivalRow(dev, is[0].At), is[0].Set.AppendTo(nil))
			is = is[1:]
		default:
			if !bits.Equal(was[0].Set, is[0].Set) {
				r.w.Put(store.Devices, arrivalRow(dev, is[0].At), is[0].Set.AppendTo(nil))
			}
			was, is = was[1:], is[1:]
		}
	}
}
