package apply

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"satchel/internal/command"
	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/internal/mutant"
	"satchel/internal/policy"
	"satchel/sync/state"
	"satchel/sync/store"
	"satchel/sync/wire"
)

// The Quarantine bucket: device id, 0, number u64 -> Quarantined as JSON; 1,
// instant i64 with the sign bit flipped, 'q' and a row of the first kind or 'c'
// and the id of a conflict -> nothing: what is dealt with is deleted then.
// Device ids begin with no such byte.

// Quarantined is refused or conflicting offline work, kept until a person has
// dealt with it and for a while longer.
type Quarantined struct {
	Device   ident.DeviceID `json:"device"`
	Author   ident.RecordID `json:"author"`
	Received ident.Millis   `json:"received"`
	PhoneNow ident.Millis   `json:"phoneNow"`
	Status   string         `json:"status"` // refused or conflict
	Code     fault.Code     `json:"code,omitempty"`
	Message  string         `json:"message,omitempty"`
	// Client is whose record it is about, as far as that could be told when it
	// came; "" for nobody's.
	Client    ident.RecordID   `json:"client,omitempty"`
	Conflicts []Contended      `json:"conflicts,omitempty"`
	Root      uint64           `json:"root"` // the lowest number of its bundle
	Mutation  command.Mutation `json:"mutation"`
	// Closed says how it was dealt with; nil while it waits for that.
	Closed *Closing `json:"closed,omitempty"`
	// Erased: what the author typed was taken out.
	Erased bool `json:"erased,omitempty"`
}

// Contended is one field that both sides changed; the server's value stands.
type Contended struct {
	Field string          `json:"f"`
	Mine  json.RawMessage `json:"m"`
	Was   json.RawMessage `json:"w,omitempty"`
	// ID is the conflict's record. It may be gone, with the record it was of.
	ID ident.RecordID `json:"i,omitempty"`
	// How it was settled, "" while it is open.
	How string `json:"h,omitempty"`
}

// superseded is how a conflict of a mutation ends that the same person's later
// change of the same field built on: that one is in conflict now.
const superseded = "superseded"

// Closing says how kept work was dealt with.
type Closing struct {
	How    string         `json:"how"`
	At     ident.Millis   `json:"at"`
	By     ident.RecordID `json:"by,omitempty"` // "" for the system
	Reason string         `json:"reason,omitempty"`
	// As is the id of the record that was made, where it is another than the
	// device gave it.
	As ident.RecordID `json:"as,omitempty"`
}

// How kept work is dealt with.
const (
	HowReplayed  = "replayed"
	HowDiscarded = "discarded"
	HowSettled   = "settled" // each of its conflicts was
)

// How long what was dealt with is kept.
const (
	keptClosed  ident.Millis = 90 * 24 * 60 * 60 * 1000
	keptSettled ident.Millis = 30 * 24 * 60 * 60 * 1000 // conflicts, which phones carry
)

const (
	dueQuarantined = 'q'
	dueConflict    = 'c'
)

// Bundle names the bundle that the work is part of.
func (q *Quarantined) Bundle() command.Bundle { return command.Bundle{Device: q.Device, Root: q.Root} }

// Typed is when the author did it, by the phone's clock put right.
func (q *Quarantined) Typed() ident.Millis { return putRight(q.Mutation.At, q.PhoneNow, q.Received) }

// putRight corrects an instant by a clock that took now for said. The phone's
// clock may be off by years; the result never lies in the future.
func putRight(at, said, now ident.Millis) ident.Millis { return max(0, min(now, at+(now-said))) }

// BundleID renders a bundle's name for addresses: the device's id, a dot and
// the number.
func BundleID(b command.Bundle) string {
	return string(b.Device) + "." + strconv.FormatUint(b.Root, 10)
}

// ParseBundleID reads what BundleID renders.
func ParseBundleID(s string) (b command.Bundle, ok bool) {
	device, number, ok := strings.Cut(s, ".")
	n, err := strconv.ParseUint(number, 10, 64)
	if !ok || err != nil || n == 0 || strconv.FormatUint(n, 10) != number || !ident.RecordID(device).Valid() {
		return b, false
	}
	return command.Bundle{Device: ident.DeviceID(device), Root: n}, true
}

func quarantineSweep(at ident.Millis, kind byte, what []byte) []byte {
	b := binary.BigEndian.AppendUint64([]byte{1}, uint64(at)^1<<63)
	return append(append(b, kind), what...)
}

func readQuarantined(k, v []byte) Quarantined {
	var q Quarantined
	if err := json.Unmarshal(v, &q); err != nil {
		panic(fmt.Errorf("%w: quarantine row %x: %w", state.ErrDamaged, k, err))
	}
	return q
}

// EachQuarantined calls f for everything kept in the quarantine, what was dealt
// with included, by device and number, until f returns false.
func EachQuarantined(rd *state.Reader, f func(Quarantined) bool) {
	rd.KV().Scan(store.Quarantine, []byte{2}, func(k, v []byte) bool { return f(readQuarantined(k, v)) })
}

// QuarantinedAfter is EachQuarantined from behind a device's mutation on; from
// the beginning where no device is named.
func QuarantinedAfter(rd *state.Reader, d ident.DeviceID, n uint64, f func(Quarantined) bool) {
	if d == "" {
		EachQuarantined(rd, f)
		return
	}
	rd.KV().Scan(store.Quarantine, append(numberRow(d, n), 0), func(k, v []byte) bool { return f(readQuarantined(k, v)) })
}

// DeviceQuarantined is EachQuarantined of one device.
func DeviceQuarantined(rd *state.Reader, d ident.DeviceID, f func(Quarantined) bool) {
	store.ScanPrefix(rd.KV(), store.Quarantine, append([]byte(d), 0), func(k, v []byte) bool { return f(readQuarantined(k, v)) })
}

// InBundle returns the work of a bundle in the order it was done in.
func InBundle(rd *state.Reader, b command.Bundle) (out []Quarantined) {
	DeviceQuarantined(rd, b.Device, func(q Quarantined) bool {
		if q.Root == b.Root {
			out = append(out, q)
		}
		return true
	})
	return out
}

// Conceals reports whether kept work concerns a client that is hidden from the
// reader: by its record, by any record that it refers to or by its author, who
// is one of the client's people. From a reader from whom anything is hidden,
// work is concealed too of which the client can't be told and, so that nothing
// follows from what is left out, work that refers to what is not there: whether
// an id that somebody typed is that of a hidden record shows nowhere.
func Conceals(rd *state.Reader, sub *policy.Subject, q *Quarantined) bool {
	if !sub.Conceals() {
		return false
	}
	if sub.Hides(q.Client) {
		return true
	}
	if author, ok := rd.Load(q.Author); ok && sub.Hides(author.Client()) {
		return true
	}
	prefix := prefixOf(rd, q.Device)
	placed := q.Client != ""
	hidden := q.refers(rd.Cat, func(id ident.RecordID) bool {
		rec, ok := rd.Load(id)
		if !ok {
			_, used := rd.Identify(id)
			return used || !id.HasPrefix(prefix) // the device alone makes such ids
		}
		placed = placed || rec.Client() != ""
		return sub.Hides(rec.Client())
	})
	return hidden || !placed
}

// refers calls f with the ids that the work refers to, until f returns true, and
// reports whether it did: its record and what stands where the type has
// references. What is no part of the type, or of an unknown one, may be
// anything. Texts refer to nothing, whatever they say.
func (q *Quarantined) refers(cat *entity.Catalogue, f func(ident.RecordID) bool) bool {
	m := &q.Mutation
	if m.ID.Valid() && f(m.ID) {
		return true
	}
	field, arg := func(string) *entity.Field { return nil }, func(string) *entity.Field { return nil }
	if t := cat.Type(m.Type); t != nil {
		field = t.Field
		if a := t.Action(m.Action); a != nil {
			arg = fieldIn(a.Args)
		}
	}
	return refersIn(m.Fields, field, f) || refersIn(m.Was, field, f) || refersIn(m.Args, arg, f)
}

func refersIn(o map[string]json.RawMessage, field func(string) *entity.Field, f func(ident.RecordID) bool) bool {
	for name, raw := range o {
		if refersBy(field(name), raw, f) {
			return true
		}
	}
	return false
}

// lineID is the member that each line has, of which the line is known.
var lineID = entity.Str(0, "id")

// fieldIn finds fields in a list by their name.
func fieldIn(list []*entity.Field) func(string) *entity.Field {
	return func(name string) *entity.Field {
		for _, f := range list {
			if f.Name == name {
				return f
			}
		}
		return nil
	}
}

func refersBy(field *entity.Field, raw json.RawMessage, f func(ident.RecordID) bool) bool {
	if field != nil && field.Kind == entity.Lines {
		var rows []map[string]json.RawMessage
		if json.Unmarshal(raw, &rows) == nil {
			members := fieldIn(append([]*entity.Field{lineID}, field.Items...))
			return slices.ContainsFunc(rows, func(row map[string]json.RawMessage) bool {
				return refersIn(row, members, f)
			})
		}
		field = nil
	}
	if field != nil && field.Kind != entity.Ref && field.Kind != entity.Refs {
		return false
	}
	return named(raw, func(s []byte) bool { return ident.RecordID(s).Valid() && f(ident.RecordID(s)) })
}

// prefixOf is what the ids begin with that a device makes; "" where there is no
// such device.
func prefixOf(rd *state.Reader, d ident.DeviceID) string {
	k := deviceKey(d)
	v := rd.KV().Get(store.Devices, k)
	if v == nil {
		return ""
	}
	var row struct {
		Prefix string `json:"prefix"`
	}
	if err := json.Unmarshal(v, &row); err != nil {
		panic(fmt.Errorf("%w: device %s: %w", state.ErrDamaged, d, err))
	}
	return row.Prefix
}

// named calls f for each string in a JSON value, as what it means however it is
// written, until f returns true, and reports whether it did.
func named(raw []byte, f func([]byte) bool) bool {
	for {
		i := bytes.IndexByte(raw, '"')
		if i < 0 {
			return false
		}
		raw = raw[i+1:]
		end, plain := 0, true
		for end < len(raw) && raw[end] != '"' {
			if raw[end] == '\\' {
				plain = false
				end++
			}
			end++
		}
		if end >= len(raw) {
			return false
		}
		text := raw[:end]
		if !plain {
			var s string
			if json.Unmarshal(append(append([]byte{'"'}, text...), '"'), &s) == nil {
				text = []byte(s)
			}
		}
		if f(text) {
			return true
		}
		raw = raw[end+1:]
	}
}

// clientOf tells whose record a mutation is about: the record's own client, or
// that of the record which a new one is to belong to.
func (r *run) clientOf(m *command.Mutation) ident.RecordID {
	if rec, ok := r.w.Load(m.ID); ok {
		return rec.Client()
	}
	t := r.cfg.Cat.Type(m.Type)
	if t == nil || t.Root == "" {
		return ""
	}
	if rec, ok := r.w.Load(entity.Value(m.Fields[t.Root]).Ref()); ok {
		return rec.Client()
	}
	return ""
}

// setAside puts a mutation into the quarantine, under the lowest of the bundles
// that it belongs to; those become one with it.
func (r *run) setAside(d *Device, p *command.Push, m *command.Mutation, row *resultRow, roots []uint64) {
	q := Quarantined{
		Device: d.ID, Author: d.Employee, Received: r.w.Now(), PhoneNow: p.Now, Status: row.Status, Code: row.Code,
		Message: row.Message, Client: r.clientOf(m), Conflicts: row.Conflicts, Root: m.N, Mutation: *m,
	}
	if WasErased(&r.w.Reader, m.ID) {
		// A phone that had not heard of it yet: what it has of the person is not
		// kept again, nor for long in the log.
		q.blank()
		r.markErased()
	}
	for _, n := range roots {
		q.Root = min(q.Root, n)
	}
	for _, n := range roots {
		if n == q.Root {
			if first, ok := r.quarantined(d.ID, n); ok && q.Client == "" {
				q.Client = first.Client
			}
			continue
		}
		for _, other := range InBundle(&r.w.Reader, command.Bundle{Device: d.ID, Root: n}) {
			if other.Closed == nil {
				other.Root = q.Root
				r.putQuarantined(&other)
			}
		}
	}
	if !mutant.On(mutant.QuarantineDropped) {
		r.putQuarantined(&q)
	}
}

func (r *run) quarantined(d ident.DeviceID, n uint64) (q Quarantined, ok bool) {
	k := numberRow(d, n)
	v := r.w.Get(store.Quarantine, k)
	if v == nil {
		return q, false
	}
	return readQuarantined(k, v), true
}

func (r *run) putQuarantined(q *Quarantined) {
	r.w.Put(store.Quarantine, numberRow(q.Device, q.Mutation.N), encode(q))
}

// closeQuarantined notes how kept work was dealt with.
func (r *run) closeQuarantined(q *Quarantined, c Closing) {
	c.At, c.By = r.w.Now(), r.cmd.Actor
	q.Closed = &c
	r.putQuarantined(q)
	r.w.Put(store.Quarantine, quarantineSweep(r.w.Now()+keptClosed, dueQuarantined, numberRow(q.Device, q.Mutation.N)), nil)
}

// sweepQuarantine deletes what was dealt with long ago.
func (m *Machine) sweepQuarantine() {
	var rows [][]byte
	store.ScanPrefix(m.w.Stage, store.Quarantine, []byte{1}, func(k, _ []byte) bool {
		if len(rows) == maxSwept || ident.Millis(binary.BigEndian.Uint64(k[1:])^1<<63) > m.w.Now() {
			return false
		}
		rows = append(rows, bytes.Clone(k))
		return true
	})
	for _, k := range rows {
		m.w.Delete(store.Quarantine, k)
		switch what := k[10:]; k[9] {
		case dueQuarantined:
			if v := m.w.Get(store.Quarantine, what); v != nil && readQuarantined(what, v).Closed != nil {
				m.w.Delete(store.Quarantine, what)
			}
		case dueConflict:
			m.endConflict(ident.RecordID(what))
		}
	}
}

// EraseQuarantine takes out of the quarantine, and out of the results that
// devices have not acknowledged, what was typed in the work that which chooses.
// That there was something, of what kind and what became of it stays. It
// returns how many rows it changed. Conflicts are records, and erased as such.
func EraseQuarantine(w *state.Writer, which func(*Quarantined) bool) int {
	var rows []Quarantined
	EachQuarantined(&w.Reader, func(q Quarantined) bool {
		if !q.Erased && which(&q) {
			rows = append(rows, q)
		}
		return true
	})
	blank := func(list []Contended) []Contended {
		out := make([]Contended, len(list))
		for i, c := range list {
			out[i] = Contended{Field: c.Field, Mine: json.RawMessage("null"), ID: c.ID, How: c.How}
		}
		return out
	}
	n := len(rows)
	for i := range rows {
		q := &rows[i]
		m := q.Mutation
		conflicts := blank(q.Conflicts)
		q.blank()
		q.Conflicts = conflicts
		w.Put(store.Quarantine, numberRow(q.Device, m.N), encode(q))
		v := w.Get(store.Results, numberRow(q.Device, m.N))
		var row resultRow
		if v == nil {
			continue
		}
		if err := json.Unmarshal(v, &row); err != nil {
			panic(fmt.Errorf("%w: result %d of %s: %w", state.ErrDamaged, m.N, q.Device, err))
		}
		row.Message, row.Conflicts = row.Code.Text(), blank(row.Conflicts)
		w.Put(store.Results, numberRow(q.Device, m.N), encode(row))
	}
	return n
}

// blank takes out what was typed, by the author and by whoever gave the work up,
// with the hash that would tell it to who tries everything.
func (q *Quarantined) blank() {
	m := q.Mutation
	q.Mutation = command.Mutation{N: m.N, Op: m.Op, Type: m.Type, ID: m.ID, Action: m.Action, After: m.After, At: m.At}
	q.Erased, q.Message, q.Conflicts = true, "", nil
	if q.Closed != nil {
		c := *q.Closed
		c.Reason = ""
		q.Closed = &c
	}
}

// contested reports whether it was done but for fields that are in conflict.
func (q *Quarantined) contested() bool { return q.Status == wire.Conflict }
