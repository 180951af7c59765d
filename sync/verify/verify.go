// Package verify walks a tenant's file and checks that everything derived
// agrees with the records it is derived from: indexes, the change index,
// names, ids, held sets with since when, files that wait for their documents, the
// log, and that the audit trail is whole. Whether the content of documents is
// where it should be, Content tells. It changes nothing. The command line uses
// it, and so does whoever reopens a tenant after a crash.
package verify

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"sort"

	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/sync/apply"
	"satchel/sync/audit"
	"satchel/sync/bits"
	"satchel/sync/oplog"
	"satchel/sync/pull"
	"satchel/sync/state"
	"satchel/sync/store"
)

// Report says what was looked at and what is wrong.
type Report struct {
	Records int `json:"records"`
	Indexes int `json:"indexes"`
	Devices int `json:"devices"`
	Entries int `json:"entries"`
	// Waiting counts files that came before their documents.
	Waiting int   `json:"waiting"`
	Audit   Audit `json:"audit"`
	// Content is nil where content was not looked at.
	Content  *Stored  `json:"content,omitempty"`
	Problems []string `json:"problems"`
}

// Audit says what there is of the audit trail.
type Audit struct {
	Rows   int `json:"rows"`
	Erased int `json:"erased,omitempty"` // rows whose values were taken out
	// Head is the end of the trail as audit.Head renders it, to be kept
	// elsewhere; "" where there is none.
	Head string `json:"head,omitempty"`
	// Cut is the place behind which the trail is kept; "" where it is whole.
	Cut string `json:"cut,omitempty"`
}

// maxProblems bounds how many problems are told one by one.
const maxProblems = 100

func (r *Report) fail(format string, args ...any) {
	if len(r.Problems) < maxProblems {
		r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
	}
}

// OK reports whether nothing is wrong.
func (r *Report) OK() bool { return len(r.Problems) == 0 }

type checker struct {
	*Report
	cat   *entity.Catalogue
	rd    *state.Reader
	want  map[state.Key]*bits.Builder
	areas map[ident.Ordinal]ident.Ordinal // of clients
	live  bits.Builder
	// changed are the rows of the change index, in order.
	changed []state.ChangedIn
	step    func(done, total int)
	trail   *audit.Report
}

// Run checks the state of a snapshot. step, where given, is told how many of
// the ordinals were looked at. It never panics on damaged rows: they are
// problems.
func Run(cat *entity.Catalogue, snap store.Reader, step func(done, total int)) (rep *Report) {
	rep = &Report{Problems: []string{}}
	defer func() {
		if p := recover(); p != nil {
			rep.fail("reading stopped: %v", p)
		}
	}()
	if step == nil {
		step = func(int, int) {}
	}
	c := &checker{
		Report: rep, cat: cat, rd: state.NewReader(cat, snap), step: step,
		want: map[state.Key]*bits.Builder{}, areas: map[ident.Ordinal]ident.Ordinal{},
	}
	c.clients()
	c.audit()
	c.changes()
	c.records()
	c.ids()
	c.indexes()
	c.devices()
	c.files()
	return rep
}

// Head checks that a head of the audit trail which was kept elsewhere still
// lies on it: a trail that was cut off behind it, or written anew before it, is
// found by that alone.
func Head(snap store.Reader, kept audit.Head, rep *Report) {
	if err := audit.Contains(snap, kept); err != nil {
		rep.fail("%v", err)
	}
}

// Log checks that every entry of a log can be read, in order.
func Log(l oplog.Log, rep *Report) {
	next := ident.Position(0)
	err := l.Entries(0, func(e oplog.Entry) (bool, error) {
		if next != 0 && e.Pos != next {
			rep.fail("log: entry %d where %d was due", e.Pos, next)
		}
		next = e.Pos + 1
		rep.Entries++
		return true, nil
	})
	if err != nil {
		rep.fail("log: %v", err)
	}
	if _, last := l.Bounds(); next != 0 && last != next-1 {
		rep.fail("log: ends at %d, not %d", next-1, last)
	}
}

// audit walks the audit trail.
func (c *checker) audit() {
	c.trail = audit.Check(c.rd.KV(), c.fail)
	c.Audit = Audit{Rows: c.trail.Rows, Erased: c.trail.Erased}
	if c.trail.Begun {
		c.Audit.Head = c.trail.Head.String()
		if c.trail.Head.Pos > c.rd.Position() {
			c.fail("audit: its head is at %d, the last entry applied is %d", c.trail.Head.Pos, c.rd.Position())
		}
	}
	if c.trail.Cut.Count > 0 {
		c.Audit.Cut = c.trail.Cut.String()
	}
}

// traced holds a record against the last change of it in the audit trail.
func (c *checker) traced(r *entity.Record, last entity.Stamp) {
	if !c.trail.Begun || last.Pos <= c.trail.Cut.Pos {
		return // from before the trail, or cut off it
	}
	k, ok := c.trail.Last(r.Ord)
	if !ok || k.Pos != last.Pos {
		c.fail("%s/%s: its last change, at %d, is not in the audit trail", r.Type.Name, r.ID, last.Pos)
		return
	}
	row, err := audit.Read(c.rd.KV(), k)
	if err != nil || row == nil {
		return // told already
	}
	if row.ID != r.ID || row.Type != r.Type.No || row.Client != r.Client() || row.Removed {
		c.fail("%s/%s: audit %s speaks of %s as it can't have been", r.Type.Name, r.ID, k, row.ID)
	}
	for _, cell := range r.Cells {
		if !row.Fields.Has(cell.No) {
			continue
		}
		if s := r.Stamps[cell.Stamp]; s.Pos != k.Pos || s.By != row.Actor || s.At != row.At {
			c.fail("%s/%s: field %d was written by %q at %d, audit %s has %q", r.Type.Name, r.ID, cell.No, s.By, s.Pos, k, row.Actor)
		}
	}
	if same, known := row.Agrees(r); known && !same {
		c.fail("%s/%s: has other values than audit %s left it with", r.Type.Name, r.ID, k)
	}
}

func (c *checker) add(k state.Key, o ident.Ordinal) {
	b := c.want[k]
	if b == nil {
		b = &bits.Builder{}
		c.want[k] = b
	}
	b.Add(o)
}

// clients learns the sales area of each client.
func (c *checker) clients() {
	for _, t := range c.cat.Types {
		if !t.IsClient {
			continue
		}
		for o := range c.rd.Index(state.TypeKey(t.No)).All() {
			if r, ok := c.rd.LoadOrd(o); ok {
				c.areas[o] = c.rd.Ordinal(r.Get("salesArea").Ref())
			}
		}
	}
}

func (c *checker) records() {
	total := int(c.rd.LastOrdinal())
	c.rd.KV().Scan(store.Records, nil, func(k, v []byte) bool {
		if len(k) != 4 {
			c.fail("record key of %d bytes", len(k))
			return true
		}
		o := binary.BigEndian.Uint32(k)
		r, err := c.cat.Decode(o, v)
		if err != nil {
			c.fail("record %d: %v", o, err)
			return true
		}
		c.Records++
		if c.Records%4096 == 0 {
			c.step(int(o), total)
		}
		c.live.Add(o)
		for n, length := range state.Lengths {
			if len(v) > length {
				c.add(state.LongKey(n), o)
			}
		}
		c.record(r)
		return true
	})
	c.step(total, total)
}

func (c *checker) record(r *entity.Record) {
	if id, ok := c.rd.Identify(r.ID); !ok || id.Ord != r.Ord || id.TypeNo != r.Type.No || id.Deleted {
		c.fail("%s/%s: its id does not lead to it", r.Type.Name, r.ID)
	}
	if t, id := c.rd.Name(r.Ord); t != r.Type || id != r.ID {
		c.fail("%s/%s: its ordinal names something else", r.Type.Name, r.ID)
	}
	last := r.Last(^entity.Mask(0))
	c.traced(r, last)
	if !c.changedAt(last.Pos).Contains(r.Ord) {
		c.fail("%s/%s: not in the change index at its last change", r.Type.Name, r.ID)
	}
	c.add(state.TypeKey(r.Type.No), r.Ord)
	if client := c.rd.Ordinal(r.Client()); client == 0 {
		c.add(state.NoClientKey, r.Ord)
	} else {
		c.add(state.ClientKey(client), r.Ord)
		if a := c.areas[client]; a != 0 {
			c.add(state.AreaKey(a), r.Ord)
		}
	}
	if r.Archived() {
		c.add(state.ArchivedKey, r.Ord)
	}
	for _, f := range r.Type.Indexed() {
		for _, k := range state.FieldKeys(c.rd, r, f) {
			c.add(k, r.Ord)
		}
	}
	for _, f := range r.Type.Fields {
		if v := r.Value(f.No); f.Unique && !v.IsNull() && apply.NamesIndexed(c.rd, r.Type, f) && !slices.Contains(c.rd.Named(r.Type, f.Name, v.Text()), r.Ord) {
			c.fail("%s/%s: %s is not in the index of names", r.Type.Name, r.ID, f.Name)
		}
	}
	if want := c.client(r); want != r.Client() {
		c.fail("%s/%s: belongs to client %q, its parent to %q", r.Type.Name, r.ID, r.Client(), want)
	}
}

// client is the client the record should have by its root.
func (c *checker) client(r *entity.Record) ident.RecordID {
	if r.Type.IsClient {
		return r.ID
	}
	parent, ok := c.rd.Load(r.RootOf())
	if !ok {
		if r.RootOf() != "" {
			c.fail("%s/%s: its parent is gone", r.Type.Name, r.ID)
		}
		return r.Client()
	}
	return parent.Client()
}

// changes reads the change index, before the records that must be in it.
func (c *checker) changes() {
	var before ident.Position
	c.rd.KV().Scan(store.Changes, nil, func(k, v []byte) bool {
		row, err := state.ParseChanges(k, v)
		if err != nil {
			c.fail("%v", err)
			return true
		}
		if row.First <= before || row.Last > c.rd.Position() {
			c.fail("change index: a row speaks of positions %d to %d, the one before it ends at %d, the log at %d", row.First, row.Last, before, c.rd.Position())
		}
		before = row.Last
		if o, ok := row.Set.Max(); ok && o > c.rd.LastOrdinal() {
			c.fail("change index: the row of %d names ordinal %d, which nothing has", row.Last, o)
		}
		c.changed = append(c.changed, row)
		return true
	})
}

// changedAt returns what the change index has of the range that a position lies
// in.
func (c *checker) changedAt(p ident.Position) bits.Set {
	i := sort.Search(len(c.changed), func(i int) bool { return c.changed[i].Last >= p })
	if i == len(c.changed) || c.changed[i].First > p {
		return bits.Set{}
	}
	return c.changed[i].Set
}

func (c *checker) ids() {
	live := c.live.Set()
	c.rd.KV().Scan(store.IDs, nil, func(k, v []byte) bool {
		if len(v) != 7 {
			c.fail("id %q: row of %d bytes", k, len(v))
			return true
		}
		o := binary.BigEndian.Uint32(v)
		if deleted := v[6] == 1; deleted == live.Contains(o) {
			c.fail("id %q: deleted is %v, but there is a record: %v", k, deleted, live.Contains(o))
		}
		if _, id := c.rd.Name(o); string(id) != string(k) {
			c.fail("id %q: its ordinal names %q", k, id)
		}
		return true
	})
}

// indexes compares the stored chunks with those of the records.
func (c *checker) indexes() {
	seen := map[string]bool{}
	c.Indexes = len(c.want)
	for k, b := range c.want {
		for hi, chunk := range b.Set().Chunks() {
			row := binary.BigEndian.AppendUint16([]byte(k), hi)
			seen[string(row)] = true
			if !bytes.Equal(c.rd.KV().Get(store.Index, row), chunk.Bytes()) {
				c.fail("index %q, chunk %d: differs from the records", string(k), hi)
			}
		}
	}
	c.rd.KV().Scan(store.Index, nil, func(k, _ []byte) bool {
		if !seen[string(k)] {
			c.fail("index row %q: no record is in it", k)
		}
		return true
	})
}

// devices checks that held sets can be read and name only what exists or did.
func (c *checker) devices() {
	classes := apply.Classes(c.rd)
	var ids []ident.DeviceID
	apply.EachDevice(c.rd, func(id ident.DeviceID) bool {
		ids = append(ids, id)
		return true
	})
	known := map[ident.Ordinal]bool{}
	for _, id := range ids {
		d := apply.ReadDevice(c.rd, classes, id)
		c.device(id, d)
		known[d.Ord] = true
	}
	apply.EachHeldRow(c.rd, func(k []byte, dev ident.Ordinal, ok bool) {
		if !ok || !known[dev] {
			c.fail("held set: row %x is no device's", k)
		}
	})
	apply.EachArrivalRow(c.rd, func(k []byte, dev ident.Ordinal, ok bool) {
		if !ok || !known[dev] {
			c.fail("arrivals: row %x is no device's", k)
		}
	})
}

// arrivals checks since when a device has what: each of its sets ascends in
// time, has what no other has, and nothing that the device can't have.
func (c *checker) arrivals(id ident.DeviceID, d *apply.Device) {
	has := bits.Or(d.Sync.Held.All(), d.Sync.Unsure)
	var seen bits.Set
	if n := len(d.Sync.Arrivals); n > pull.MaxArrivals {
		c.fail("device %s: %d arrivals are kept, at most %d may be", id, n, pull.MaxArrivals)
	}
	last := ident.Millis(-1 << 62)
	for _, a := range d.Sync.Arrivals {
		at := a.At.RFC3339()
		if a.At <= last || a.At > c.rd.Now() {
			c.fail("device %s: the arrivals of %s are out of order, or of a time that is yet to come", id, at)
		}
		last = a.At
		if a.Set.IsEmpty() {
			c.fail("device %s: nothing arrived at %s", id, at)
		}
		if bits.Intersects(seen, a.Set) {
			c.fail("device %s: what arrived at %s arrived before, too", id, at)
		}
		if lost := bits.AndNot(a.Set, has); !lost.IsEmpty() {
			o, _ := lost.Min()
			c.fail("device %s: %d records that arrived at %s it does not have, ordinal %d for one", id, lost.Len(), at, o)
		}
		seen = bits.Or(seen, a.Set)
	}
}

// files checks the rows of files that wait for their documents.
func (c *checker) files() {
	rows := apply.CheckWaitingFiles(c.rd, c.fail)
	c.Waiting = rows
}

func (c *checker) device(id ident.DeviceID, d *apply.Device) {
	c.Devices++
	if rec, ok := c.rd.Load(id); !ok || rec.Ord != d.Ord {
		c.fail("device %s: has no record", id)
	}
	var seen bits.Set
	for _, p := range d.Sync.Held {
		if bits.Intersects(seen, p.Set) {
			c.fail("device %s: a record is held in two classes", id)
		}
		seen = bits.Or(seen, p.Set)
		for o := range p.Set.All() {
			if t, _ := c.rd.Name(o); t == nil || t.No != p.Type {
				c.fail("device %s: holds ordinal %d as type %d, which it is not", id, o, p.Type)
			}
		}
	}
	c.arrivals(id, d)
	if d.Acked > d.Processed || d.Sync.Ack > d.Sync.Last {
		c.fail("device %s: counters run backwards", id)
	}
}
