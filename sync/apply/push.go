package apply

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"satchel/internal/command"
	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/internal/mutant"
	"satchel/internal/policy"
	"satchel/sync/audit"
	"satchel/sync/outbox"
	"satchel/sync/project"
	"satchel/sync/state"
	"satchel/sync/store"
	"satchel/sync/subject"
	"satchel/sync/wire"
)

// resultRow is a mutation's result as stored until the device has it: codes,
// ids and the author's own text. Values of records are projected anew when it
// is told again.
type resultRow struct {
	Hash      []byte         `json:"hash"`
	Status    string         `json:"status"`
	Code      fault.Code     `json:"code,omitempty"`
	Message   string         `json:"message,omitempty"`
	Field     string         `json:"field,omitempty"`
	Type      string         `json:"type,omitempty"`
	ID        ident.RecordID `json:"id,omitempty"`
	Conflicts []Contended    `json:"conflicts,omitempty"`
}

func numberRow(d ident.DeviceID, n uint64) []byte {
	return binary.BigEndian.AppendUint64(append([]byte(d), 0), n)
}

func (r *run) push(p *command.Push) Result {
	stored, err := r.own()
	if err != nil {
		return Result{Err: err}
	}
	d := *stored
	d.Failed = slices.Clone(d.Failed)
	failures := failuresOf(&d)
	if p.Acked > d.Acked && p.Acked <= d.Processed {
		for n := d.Acked + 1; n <= p.Acked; n++ {
			r.settled(d.ID, n)
		}
		d.Acked = p.Acked
	}
	out := &wire.Results{Results: []wire.Result{}}
	first := map[string]ident.RecordID{} // status -> the first record it befell
	for i := range p.Mutations {
		m := &p.Mutations[i]
		switch {
		case m.N == 0:
			f := fault.Newf(fault.BadParameter, "Mutations are numbered from 1.").OnField("n")
			out.Results = append(out.Results, wire.Result{Status: wire.Refused, Code: string(f.Code), Message: f.Message})
		case m.N <= d.Processed && !mutant.On(mutant.MutationTwice):
			out.Results = append(out.Results, r.again(&d, m))
		case m.N > d.Processed+1 && !mutant.On(mutant.GapAccepted):
			f := fault.Newf(fault.NumberGap, "The next mutation is number %d.", d.Processed+1)
			out.Results = append(out.Results, wire.Result{N: m.N, Status: wire.Refused, Code: string(f.Code), Message: f.Message})
		default:
			res := r.mutation(&d, failures, p, m)
			d.Processed = m.N
			out.Results = append(out.Results, res)
			if _, told := first[res.Status]; !told && res.Status != wire.Applied {
				first[res.Status] = m.ID
			}
		}
	}
	out.Processed = d.Processed
	if d.Processed != stored.Processed || d.Acked != stored.Acked {
		r.storeDevice(&d)
	}
	for _, x := range []struct{ status, event string }{{wire.Refused, outbox.OfflineRefused}, {wire.Conflict, outbox.OfflineConflict}} {
		if about, ok := first[x.status]; ok {
			if err := r.offline(x.event, about); err != nil {
				return Result{Err: err}
			}
		}
	}
	return Result{Push: out}
}

// keptResults is of how many acknowledged mutations a device's hashes are
// remembered.
const keptResults = 5000

// settled drops what the device has by now of a result. What is left tells a
// repetition from another content under the same number.
func (r *run) settled(d ident.DeviceID, n uint64) {
	if n > keptResults {
		r.w.Delete(store.Results, numberRow(d, n-keptResults))
	}
	v := r.w.Get(store.Results, numberRow(d, n))
	var row resultRow
	if v == nil {
		return
	}
	if err := json.Unmarshal(v, &row); err != nil {
		panic(fmt.Errorf("%w: result %d of %s: %w", state.ErrDamaged, n, d, err))
	}
	r.w.Put(store.Results, numberRow(d, n), encode(resultRow{Hash: row.Hash, Status: row.Status, Code: row.Code, Type: row.Type, ID: row.ID}))
}

// again tells the result of a mutation that was processed before.
func (r *run) again(d *Device, m *command.Mutation) wire.Result {
	v := r.w.Get(store.Results, numberRow(d.ID, m.N))
	var row resultRow
	switch {
	case v != nil && json.Unmarshal(v, &row) != nil:
		panic(fmt.Errorf("%w: result %d of %s is no JSON", state.ErrDamaged, m.N, d.ID))
	// Of a number from long ago nothing is known any more; a device that uses
	// it again has lost its place, and must not be told that all is well.
	case !bytes.Equal(row.Hash, m.Hash) && !mutant.On(mutant.NumberTakenAgain), v == nil:
		f := fault.New(fault.NumberReused)
		return wire.Result{N: m.N, Status: wire.Refused, Code: string(f.Code), Message: f.Message}
	}
	return r.tell(m.N, row)
}

// tell renders a result as its author may see it now.
func (r *run) tell(n uint64, row resultRow) wire.Result {
	res := wire.Result{N: n, Status: row.Status, Code: string(row.Code), Message: row.Message}
	rec, ok := r.w.Load(row.ID)
	var sight policy.Sight
	if ok {
		sight = r.sub.Sees(rec, &r.w.Reader)
	}
	if sight.Mask != 0 && row.Status != wire.Refused {
		res.Rev = project.RevOfRecord(rec, sight.Mask).String()
	}
	for _, c := range row.Conflicts {
		fc := wire.FieldConflict{Field: c.Field, Mine: c.Mine, Theirs: json.RawMessage("null"), Conflict: string(c.ID)}
		if sight.Mask != 0 {
			if f := rec.Type.Field(c.Field); f != nil && sight.Mask.Has(f.No) {
				// Copied: the value may lie in the store, the result outlives it.
				fc.Theirs = bytes.Clone(jsonOf(rec.Value(f.No)))
			}
		}
		res.Conflicts = append(res.Conflicts, fc)
	}
	return res
}

// mutation applies one mutation in an overlay of its own.
func (r *run) mutation(d *Device, failures *failures, p *command.Push, m *command.Mutation) wire.Result {
	mark := r.savepoint()
	row := resultRow{Hash: m.Hash, Status: wire.Applied, Type: m.Type, ID: m.ID}
	r.at = putRight(m.At, p.Now, r.w.Now())
	roots, err := r.depends(d, failures, m)
	if err == nil && m.Refuse != "" {
		err = fault.Newf(m.Refuse, "%s", m.RefuseText)
	}
	if err == nil && d.Field && !r.sub.Mobile {
		err = fault.New(fault.MobileModuleRequired)
	}
	if err == nil {
		was := m.Was
		if m.Op == wire.OpPatch && was == nil {
			was = command.Object{}
		}
		var o outcome
		o, err = r.guarded(func() (outcome, error) {
			o, err := r.identified(change{
				op: m.Op, typ: m.Type, id: m.ID, fields: m.Fields, was: was, action: m.Action, args: m.Args, prefix: d.Prefix,
			})
			if err == nil {
				err = r.contend(d, m, &o)
			}
			return o, err
		})
		row.Conflicts = o.conflicts
	}
	r.at = r.w.Now()
	if err != nil {
		r.undo(mark)
		r.trail = append(r.trail, r.attempted(err)...)
		r.alarm(err)
		f := fault.Of(err)
		row.Status, row.Code, row.Message, row.Field, row.Conflicts = wire.Refused, f.Code, f.Message, f.Field, nil
		failure := failed{N: m.N}
		if _, used := r.w.Identify(m.ID); m.Op == wire.OpCreate && m.ID.Valid() && (!used || !m.ID.HasPrefix(d.Prefix)) {
			// What can't be an id would have made nothing, and may be any text. Of the device's own ids, not one that stands for a record: its
			// record is there. Of others, whether they do is told to nobody.
			failure.ID = m.ID
		}
		failures.add(d, failure)
	} else if m.Op == wire.OpCreate {
		// What comes later builds on this attempt, not on one before it.
		failures.forget(d, m.ID)
	} else if len(row.Conflicts) > 0 {
		row.Status, row.Code, row.Message = wire.Conflict, fault.EditConflict, fault.EditConflict.Text()
	}
	if row.Status != wire.Applied {
		r.setAside(d, p, m, &row, roots)
	}
	if !mutant.On(mutant.ResultLost) {
		r.w.Put(store.Results, numberRow(d.ID, m.N), encode(row))
	}
	// The subject may have changed by what was just done.
	r.renew()
	return r.tell(m.N, row)
}

// guarded makes a change and judges what it did to people's rights; a panic in
// it refuses this change alone.
func (r *run) guarded(f func() (outcome, error)) (o outcome, err error) {
	defer func() {
		if p := recover(); p != nil {
			o, err = outcome{}, r.panicked(p)
		}
	}()
	if o, err = f(); err == nil {
		err = r.settle()
	}
	return o, err
}

// identified makes a change of which the writer must have said the id.
func (r *run) identified(c change) (outcome, error) {
	if len(c.id) == 0 || !c.id.Valid() {
		return outcome{}, fault.New(fault.BadID).OnField("id")
	}
	if c.op == wire.OpCreate && c.prefix == "" {
		return outcome{}, fault.New(fault.BadID).OnField("id")
	}
	return r.change(c)
}

// failures finds a device's refused mutations, while a push is applied, by
// their numbers and by the ids of what they would have made.
type failures struct {
	numbers map[uint64]bool
	ids     map[ident.RecordID][]uint64
}

func failuresOf(d *Device) *failures {
	x := &failures{}
	x.read(d)
	return x
}

func (x *failures) read(d *Device) {
	x.numbers, x.ids = make(map[uint64]bool, len(d.Failed)), map[ident.RecordID][]uint64{}
	for _, f := range d.Failed {
		x.note(f)
	}
}

func (x *failures) note(f failed) {
	x.numbers[f.N] = true
	if f.ID != "" {
		x.ids[f.ID] = append(x.ids[f.ID], f.N)
	}
}

// add remembers a refused mutation; d's list is the push's own.
func (x *failures) add(d *Device, f failed) {
	d.Failed = append(d.Failed, f)
	x.note(f)
	if len(d.Failed) > maxFailed {
		d.Failed = slices.Delete(d.Failed, 0, max(len(d.Failed)-maxFailed, maxFailed/10))
		x.read(d)
	}
}

// forget drops those that would have made the record.
func (x *failures) forget(d *Device, id ident.RecordID) {
	if len(x.ids[id]) == 0 {
		return
	}
	d.Failed = slices.DeleteFunc(d.Failed, func(f failed) bool { return f.ID == id })
	x.read(d)
}

// recovered reports whether refused work was done after all, as far as its
// author may know: of what is hidden from them by now it stays refused.
func (r *run) recovered(d *Device, n uint64) bool {
	q, ok := r.quarantined(d.ID, n)
	if !ok || q.Closed == nil || q.Closed.How != HowReplayed {
		return false
	}
	rec, ok := r.w.Load(q.Mutation.ID)
	return ok && q.Closed.As == "" && r.sub.Sees(rec, &r.w.Reader).Mask != 0
}

// depends refuses a mutation that builds on refused ones: it names them in
// after, concerns the record that one would have made, or refers to it. It
// returns the numbers of the bundles that it belongs to.
func (r *run) depends(d *Device, x *failures, m *command.Mutation) (roots []uint64, err error) {
	if len(x.numbers) == 0 || mutant.On(mutant.DependsIgnored) {
		return nil, nil
	}
	var on []uint64
	for _, n := range m.After {
		if x.numbers[n] {
			on = append(on, n)
		}
	}
	if m.Op != wire.OpCreate { // a create of the same id is another attempt, not a consequence
		on = append(on, x.ids[m.ID]...)
	}
	if len(x.ids) > 0 {
		for _, o := range []command.Object{m.Fields, m.Args} {
			for _, k := range slices.Sorted(maps.Keys(o)) {
				named(o[k], func(s []byte) bool {
					if id := ident.RecordID(s); id != m.ID || m.Op != wire.OpCreate {
						on = append(on, x.ids[id]...)
					}
					return false
				})
			}
		}
	}
	on = slices.DeleteFunc(on, func(n uint64) bool { return n == m.N || r.recovered(d, n) })
	if len(on) == 0 {
		return nil, nil
	}
	slices.Sort(on)
	for _, n := range slices.Compact(on) {
		q, ok := r.quarantined(d.ID, n)
		if !ok || q.Closed != nil {
			continue // what it depends on was given up
		}
		if !slices.Contains(roots, q.Root) {
			roots = append(roots, q.Root)
		}
	}
	return roots, fault.Newf(fault.DependsOn, "Change %d, on which this one depends, was refused.", on[0])
}

// keyRow is what an idempotency key stands for.
type keyRow struct {
	Hash []byte         `json:"hash"`
	Type string         `json:"type"`
	ID   ident.RecordID `json:"id"`
	At   ident.Millis   `json:"at"`
	// Bulk is what a bulk action answered for each record: codes and ids.
	Bulk []keyItem `json:"bulk,omitempty"`
	// Replay is what a replay came to that was done.
	Replay *Replayed `json:"replay,omitempty"`
}

// keyItem is the answer for one record; Code is "" where it was done.
type keyItem struct {
	ID   ident.RecordID `json:"id"`
	Code fault.Code     `json:"code,omitempty"`
	Each []keyItem      `json:"each,omitempty"`
}

// keptItems is what a key keeps of the answers of a bulk action.
func keptItems(items []BulkItem) (out []keyItem) {
	for _, it := range items {
		k := keyItem{ID: it.ID, Each: keptItems(it.Each)}
		if it.Err != nil {
			k.Code = fault.Of(it.Err).Code
		}
		out = append(out, k)
	}
	return out
}

// toldItems is the answers again.
func toldItems(items []keyItem) (out []BulkItem) {
	for _, it := range items {
		item := BulkItem{ID: it.ID, Each: toldItems(it.Each)}
		if it.Code != "" {
			item.Err = fault.New(it.Code)
		}
		out = append(out, item)
	}
	return out
}

// The Keys bucket: 'k' actor, 0, key -> keyRow as JSON; 't' instant, row of the
// first kind -> nothing, for the sweep.
func idempotencyRow(actor ident.RecordID, key string) []byte {
	return append(append(append([]byte{'k'}, actor...), 0), key...)
}

// keyUsed returns when the key of a stored row was used.
func keyUsed(v []byte) (ident.Millis, bool) {
	var row keyRow
	if v == nil || json.Unmarshal(v, &row) != nil {
		return 0, false
	}
	return row.At, true
}

// keyLifetime is how long an idempotency key is remembered.
const keyLifetime ident.Millis = 24 * 60 * 60 * 1000

// repeated answers a request whose idempotency key was used before: with the
// record as it now stands, or with what was answered for each record of a bulk
// action; a refusal if the request differs.
func (r *run) repeated(key string, hash []byte) (Result, bool) {
	v := r.w.Get(store.Keys, idempotencyRow(r.cmd.Actor, key))
	var row keyRow
	if v == nil || json.Unmarshal(v, &row) != nil || row.At+keyLifetime <= r.w.Now() {
		return Result{}, false
	}
	if !bytes.Equal(row.Hash, hash) && !mutant.On(mutant.KeyOfAnother) {
		return Result{Err: fault.New(fault.KeyReused)}, true
	}
	if row.Bulk != nil {
		return Result{Replayed: true, Bulk: toldItems(row.Bulk)}, true
	}
	if row.Replay != nil {
		return Result{Replay: row.Replay, Replayed: true}, true
	}
	res := r.answer(outcome{typ: r.cfg.Cat.Type(row.Type), id: row.ID})
	res.Replayed = true
	return res, true
}

func (r *run) remember(key string, answer keyRow) {
	answer.At = r.w.Now()
	row := idempotencyRow(r.cmd.Actor, key)
	r.w.Put(store.Keys, row, encode(answer))
	r.w.Put(store.Keys, sweepRow(r.w.Now()+keyLifetime, row), nil)
}

// importRows writes rows as the system. A row that can't be taken is left out
// and reported; the others are written.
func (r *run) importRows(im *command.Import) Result {
	var res Result
	for i := range im.Rows {
		row := &im.Rows[i]
		mark := r.savepoint()
		did, err := r.importRow(row)
		if err == nil {
			err = r.settle()
		}
		if err != nil {
			r.undo(mark)
			r.trail = append(r.trail, r.attempted(err)...)
			res.Count.Rejected = append(res.Count.Rejected, Rejection{i, fault.Of(err)})
			continue
		}
		switch did {
		case rowCreated:
			res.Count.Created++
		case rowChanged:
			res.Count.Changed++
		default:
			res.Count.Same++
		}
	}
	return res
}

type rowOutcome uint8

const (
	rowSame rowOutcome = iota
	rowCreated
	rowChanged
)

func (r *run) importRow(row *command.Row) (rowOutcome, error) {
	t := r.cfg.Cat.Type(row.Type)
	if t == nil {
		return rowSame, fault.Newf(fault.BadValue, "There is no type %q.", row.Type)
	}
	if !row.ID.Valid() {
		return rowSame, fault.New(fault.BadID)
	}
	r.doing = doing{op: audit.Import, id: row.ID}
	read := reading((*entity.Field).Normalize)
	if held, ok := r.w.Load(row.ID); ok && held.Type == t {
		read = replacing(held)
	}
	vals, err := r.values(t, row.Fields, t.All(), read)
	if err != nil {
		return rowSame, err
	}
	nos := slices.Sorted(maps.Keys(vals))
	if id, used := r.w.Identify(row.ID); used {
		before, ok := r.w.LoadOrd(id.Ord)
		if !ok || before.Type != t {
			return rowSame, fault.New(fault.BadID)
		}
		after := before.Clone()
		for _, no := range nos {
			if f := t.FieldNo(no); (f.Name == t.Root || no == entity.NoClientID) && !bytes.Equal(before.Value(no), vals[no]) {
				return rowSame, fault.New(fault.ImmutableField).OnField(f.Name)
			}
			after.Put(no, vals[no])
		}
		if after.Dirty() == 0 {
			return rowSame, nil
		}
		if t.Former != "" && (t.Name == subject.Employee || after.Dirty()&t.PersonalValues() != 0) && WasErased(&r.w.Reader, row.ID) {
			return rowSame, errErased()
		}
		if err := r.refer(after, after.Dirty()); err != nil {
			return rowSame, err
		}
		return rowChanged, r.save(before, after)
	}
	draft := &entity.Record{Type: t, ID: row.ID}
	for _, no := range nos {
		if no != entity.NoClientID { // it comes from the root alone
			draft.Put(no, vals[no])
		}
	}
	if err := r.refer(draft, draft.Dirty()); err != nil {
		return rowSame, err
	}
	if err := r.belong(draft); err != nil {
		return rowSame, err
	}
	if said, ok := vals[entity.NoClientID]; ok && !bytes.Equal(said, draft.Value(entity.NoClientID)) {
		return rowSame, fault.New(fault.ImmutableField).OnField("clientId")
	}
	if t.Drafted != nil {
		t.Drafted(r, draft)
	}
	if t.Status != nil && draft.Get(t.Status.Field).IsNull() {
		draft.Set(t.Status.Field, entity.StringValue(t.Status.Initial))
	}
	rec := r.w.New(t, draft.ID)
	rec.Cells = draft.Cells
	at := r.w.Now()
	if row.At != 0 {
		at = row.At
	}
	rec.Put(entity.NoCreatedAt, entity.TimeValue(at))
	if t.Created != nil {
		if err := t.Created(r, rec); err != nil {
			return rowSame, err
		}
		for _, no := range nos { // what the row says stands
			rec.Put(no, vals[no])
		}
	}
	return rowCreated, r.save(nil, rec)
}
