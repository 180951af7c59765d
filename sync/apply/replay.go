package apply

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"satchel/internal/command"
	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/internal/mutant"
	"satchel/sync/audit"
	"satchel/sync/subject"
	"satchel/sync/wire"
)

// Replayed is what became of a bundle of refused work that was done after all:
// all of it, or nothing.
type Replayed struct {
	Done    bool             `json:"done"`
	Results []ReplayedResult `json:"results"` // up to the first that can't be done
}

// ReplayedResult answers one mutation of a bundle, as whoever replays it may see
// it.
type ReplayedResult struct {
	wire.Result
	// ID is the record's: another than the author's device gave it where that
	// one can't be used.
	ID    ident.RecordID `json:"id,omitempty"`
	Field string         `json:"field,omitempty"` // at fault
}

// maxReason bounds the words why work was given up, in characters.
const maxReason = 500

// bundle returns the work of a bundle that waits to be dealt with, as far as
// the actor may deal with it: customer administrators, from whom no client that
// it is about is hidden.
func (r *run) bundle(b command.Bundle) ([]Quarantined, error) {
	if r.sub == nil || !r.sub.Holds(subject.Administrator) {
		return nil, fault.New(fault.NotAllowed)
	}
	all := InBundle(&r.w.Reader, b)
	for i := range all {
		if Conceals(&r.w.Reader, r.sub, &all[i]) {
			return nil, notFound()
		}
	}
	if len(all) == 0 {
		return nil, notFound()
	}
	open := slices.DeleteFunc(all, func(q Quarantined) bool { return q.Closed != nil || q.Erased })
	if len(open) == 0 {
		return nil, fault.New(fault.WrongStatus)
	}
	return open, nil
}

// replay does a bundle of refused work in the order in which it was done
// offline. It is judged as if whoever replays it did it now: by their rights,
// not by those of its author, who may have lost them, or have clients hidden
// from them, since. The words are the author's: fields that name whoever wrote
// something name the author, and the trail names both.
func (r *run) replay(c *command.Replay) Result {
	if c.Key != "" {
		if res, ok := r.repeated(c.Key, c.KeyHash); ok {
			return res
		}
	}
	work, err := r.bundle(c.Bundle)
	if err != nil {
		return Result{Err: err}
	}
	for _, n := range slices.Sorted(maps.Keys(c.Fields)) {
		if !slices.ContainsFunc(work, func(q Quarantined) bool { return q.Mutation.N == n }) {
			return Result{Err: fault.Newf(fault.BadParameter, "There is no mutation %d in the bundle that waits.", n).OnField("mutations")}
		}
	}
	mark := r.savepoint()
	p := &replaying{run: r, ids: map[ident.RecordID]ident.RecordID{}}
	if d := r.loadDevice(c.Device); d != nil {
		p.prefix = d.Prefix
	}
	out := &Replayed{Done: true, Results: []ReplayedResult{}}
	r.behalf = work[0].Author
	for i := range work {
		res := p.one(&work[i], c.Fields[work[i].Mutation.N])
		out.Results = append(out.Results, res)
		if res.Status != wire.Applied {
			out.Done = false
			break
		}
	}
	if !out.Done {
		if !mutant.On(mutant.ReplayedInPart) {
			r.undo(mark)
		}
		r.renew()
		for i := range out.Results { // what was done is undone again
			out.Results[i].Rev = ""
		}
		return Result{Replay: out}
	}
	for i := range work {
		q, ok := r.quarantined(c.Device, work[i].Mutation.N) // settling a conflict may have closed it
		if !ok || q.Closed != nil {
			continue
		}
		end := Closing{How: HowReplayed}
		if id := out.Results[i].ID; id != q.Mutation.ID {
			end.As = id
		}
		r.closeQuarantined(&q, end)
	}
	r.dealt(audit.Replayed, work, "")
	if c.Key != "" {
		r.remember(c.Key, keyRow{Hash: c.KeyHash, Replay: withoutRevs(out)})
	}
	return Result{Replay: out}
}

// withoutRevs is what is kept of an answer: what a record is by then is not
// part of it.
func withoutRevs(p *Replayed) *Replayed {
	kept := &Replayed{Done: p.Done, Results: slices.Clone(p.Results)}
	for i := range kept.Results {
		kept.Results[i].Rev = ""
	}
	return kept
}

// dealt adds to the trail that a bundle was dealt with.
func (r *run) dealt(op audit.Op, work []Quarantined, reason string) {
	row := r.concerning(op, work[0].Author)
	row.Name, row.For = BundleID(work[0].Bundle()), work[0].Author
	if reason != "" {
		row.Name += ": " + reason
	}
	for i := range work {
		row.Client = cmp.Or(row.Client, work[i].Client)
	}
	r.trail = append(r.trail, row)
}

// discard gives a bundle up. What was typed is kept for a while; conflicts end
// with the record as it is.
func (r *run) discard(c *command.Discard) Result {
	switch n := len([]rune(c.Reason)); {
	case n == 0:
		return Result{Err: fault.Newf(fault.MissingField, "reason is required.").OnField("reason")}
	case n > maxReason:
		return Result{Err: fault.Newf(fault.BadValue, "reason may have at most %d characters.", maxReason).OnField("reason")}
	case !entity.Fit(entity.Text, c.Reason):
		return Result{Err: fault.Newf(fault.BadValue, "reason has a character that can't be stored.").OnField("reason")}
	}
	work, err := r.bundle(c.Bundle)
	if err != nil {
		return Result{Err: err}
	}
	for i := range work {
		q := &work[i]
		for _, x := range q.Conflicts {
			rec, ok := r.w.Load(x.ID)
			if !ok || rec.Type.Name != typeConflict || rec.StatusText() != conflictOpen {
				continue
			}
			r.doing = doing{op: audit.Action, name: keepTheirs, id: rec.ID}
			if err := r.resolve(rec, howOf[keepTheirs], nil); err != nil {
				return Result{Err: err}
			}
		}
		if kept, ok := r.quarantined(q.Device, q.Mutation.N); ok {
			r.closeQuarantined(&kept, Closing{How: HowDiscarded, Reason: c.Reason})
		}
	}
	r.dealt(audit.Discarded, work, c.Reason)
	return Result{}
}

// replaying is a replay under way.
type replaying struct {
	*run
	prefix string
	// ids are those that records got in place of others.
	ids map[ident.RecordID]ident.RecordID
}

// one does one piece of kept work, with corrections.
func (p *replaying) one(q *Quarantined, fixed command.Object) ReplayedResult {
	r := p.run
	m := p.renamed(q.Mutation)
	mark := r.savepoint()
	r.at = q.Typed()
	row := resultRow{Status: wire.Applied, Type: m.Type, ID: m.ID}
	o, err := r.guarded(func() (outcome, error) {
		if q.contested() {
			return p.settled(q, fixed)
		}
		c, err := p.change(m, fixed)
		if err != nil {
			return outcome{}, err
		}
		row.ID = c.id
		return r.identified(c)
	})
	r.at = r.w.Now()
	if err == nil && len(o.conflicts) > 0 {
		row.Status, row.Code, row.Message = wire.Conflict, fault.EditConflict, fault.EditConflict.Text()
		row.Conflicts = o.conflicts
	}
	out := ReplayedResult{ID: row.ID}
	if err != nil {
		r.undo(mark)
		f := fault.Of(err)
		row.Status, row.Code, row.Message = wire.Refused, f.Code, f.Message
		out.Field = f.Field
	}
	r.renew()
	out.Result = r.tell(m.N, row)
	return out
}

// renamed is a mutation that speaks of records by the ids that they got.
func (p *replaying) renamed(m command.Mutation) command.Mutation {
	if len(p.ids) == 0 {
		return m
	}
	if m.Op != wire.OpCreate {
		m.ID = cmp.Or(p.ids[m.ID], m.ID)
	}
	for _, o := range []*command.Object{&m.Fields, &m.Was, &m.Args} {
		if *o == nil {
			continue
		}
		out := command.Object{}
		for _, k := range slices.Sorted(maps.Keys(*o)) {
			out[k] = p.rename((*o)[k])
		}
		*o = out
	}
	return m
}

// rename exchanges ids wherever they stand in a JSON value.
func (p *replaying) rename(raw json.RawMessage) json.RawMessage {
	hit := named(raw, func(s []byte) bool { return p.ids[ident.RecordID(s)] != "" })
	if !hit {
		return raw
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return raw
	}
	var walk func(any) any
	walk = func(v any) any {
		switch v := v.(type) {
		case string:
			return string(cmp.Or(p.ids[ident.RecordID(v)], ident.RecordID(v)))
		case []any:
			for i := range v {
				v[i] = walk(v[i])
			}
		case map[string]any:
			for k := range v {
				v[k] = walk(v[k])
			}
		}
		return v
	}
	out, err := json.Marshal(walk(v))
	if err != nil {
		panic(fmt.Errorf("apply: %w", err))
	}
	return out
}

// change makes of a mutation and its corrections what is to be done.
func (p *replaying) change(m command.Mutation, fixed command.Object) (change, error) {
	t := p.cfg.Cat.Type(m.Type)
	c := change{op: m.Op, typ: m.Type, id: m.ID, fields: m.Fields, was: m.Was, action: m.Action, args: m.Args, prefix: p.prefix}
	switch m.Op {
	case wire.OpAction:
		c.args = p.corrected(m.Args, fixed, func(name string) bool {
			a := (*entity.Action)(nil)
			if t != nil {
				a = t.Action(m.Action)
			}
			return a != nil && slices.ContainsFunc(a.Args, func(f *entity.Field) bool { return f.Name == name })
		})
		return c, nil
	case wire.OpDelete:
		if len(fixed) > 0 {
			return c, fault.Newf(fault.BadParameter, "A delete has no fields.").OnField("fields")
		}
		return c, nil
	}
	c.fields = p.corrected(m.Fields, fixed, func(name string) bool { return t != nil && t.Field(name) != nil })
	if m.Op == wire.OpCreate {
		_, used := p.w.Identify(m.ID)
		if used || !m.ID.Valid() || !m.ID.HasPrefix(p.prefix) {
			c.id = p.freshID()
			c.prefix = string(c.id[:ident.PrefixLength])
			if m.ID != "" {
				p.ids[m.ID] = c.id
			}
		}
		return c, nil
	}
	// What is corrected is written as it is: whoever corrects it sees what is
	// there.
	c.was = maps.Clone(m.Was)
	if c.was == nil {
		c.was = command.Object{}
	}
	rec, ok := p.w.Load(c.id)
	for name := range fixed {
		delete(c.was, name)
		if ok && rec.Type == t && t.Field(name) != nil {
			c.was[name] = json.RawMessage(jsonOf(rec.Get(name)))
		}
	}
	return c, nil
}

// corrected lays corrections over what was typed.
func (p *replaying) corrected(typed, fixed command.Object, known func(string) bool) command.Object {
	if len(fixed) == 0 {
		return typed
	}
	out := maps.Clone(typed)
	if out == nil {
		out = command.Object{}
	}
	for name, v := range fixed {
		if string(v) == "null" && !known(name) {
			delete(out, name)
			continue
		}
		out[name] = v
	}
	return out
}

// settled settles the open conflicts of a mutation with what was typed, or with
// the corrections.
func (p *replaying) settled(q *Quarantined, fixed command.Object) (outcome, error) {
	for _, name := range slices.Sorted(maps.Keys(fixed)) {
		if !slices.ContainsFunc(q.Conflicts, func(c Contended) bool { return c.Field == name && c.How == "" }) {
			return outcome{}, fault.Newf(fault.BadParameter, "%s is not in conflict.", name).OnField(name)
		}
	}
	for _, c := range q.Conflicts {
		if c.How != "" {
			continue
		}
		rec, ok := p.w.Load(c.ID)
		if !ok || rec.Type.Name != typeConflict {
			return outcome{}, notFound()
		}
		action, value := keepMine, json.RawMessage(nil)
		if v, ok := fixed[c.Field]; ok {
			action, value = keepEdited, v
		}
		p.doing = doing{op: audit.Action, name: action, id: rec.ID}
		if err := p.resolve(rec, howOf[action], value); err != nil {
			return outcome{}, err
		}
	}
	return outcome{typ: p.cfg.Cat.Type(q.Mutation.Type), id: q.Mutation.ID}, nil
}
