// Package verify walks a tenant's file and checks that everything derived
// agrees with the records it is derived from: indexes, the change index,
// names, ids, held sets, the log. It changes nothing. The command line uses
// it, and so does whoever reopens a tenant after a crash.
package verify

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/sync/apply"
	"satchel/sync/bits"
	"satchel/sync/oplog"
	"satchel/sync/state"
	"satchel/sync/store"
)

// Report says what was looked at and what is wrong.
type Report struct {
	Records  int      `json:"records"`
	Indexes  int      `json:"indexes"`
	Devices  int      `json:"devices"`
	Entries  int      `json:"entries"`
	Problems []string `json:"problems"`
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
	step  func(done, total int)
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
	c.records()
	c.changes()
	c.ids()
	c.indexes()
	c.devices()
	return rep
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
	p := r.Last(^entity.Mask(0)).Pos
	row := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(nil, uint64(p)), r.Ord)
	if c.rd.KV().Get(store.Changes, row) == nil {
		c.fail("%s/%s: no row in the change index at its last change", r.Type.Name, r.ID)
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
		if v := r.Value(f.No); f.Unique && !v.IsNull() && !slices.Contains(c.rd.Named(r.Type, f.Name, v.Text()), r.Ord) {
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

func (c *checker) changes() {
	live := c.live.Set()
	n := 0
	c.rd.KV().Scan(store.Changes, nil, func(k, _ []byte) bool {
		n++
		if len(k) != 12 || !live.Contains(binary.BigEndian.Uint32(k[8:])) {
			c.fail("change index: row %x leads to no record", k)
		}
		return true
	})
	if n != c.Records {
		c.fail("change index: %d rows for %d records", n, c.Records)
	}
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
	for _, id := range ids {
		c.device(id, apply.ReadDevice(c.rd, classes, id))
	}
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
	if d.Acked > d.Processed || d.Sync.Ack > d.Sync.Last {
		c.fail("device %s: counters run backwards", id)
	}
}
