package apply

import (
	"encoding/json"
	"maps"
	"slices"

	"satchel/internal/command"
	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/internal/policy"
	"satchel/sync/audit"
	"satchel/sync/project"
	"satchel/sync/state"
	"satchel/sync/store"
	"satchel/sync/wire"
)

// What the core knows of conflicts: the type, its fields' values and actions.
const (
	typeConflict = "conflict"

	conflictOpen    = "Open"
	conflictSettled = "Settled"

	keepMine   = "keep-mine"
	keepTheirs = "keep-theirs"
	keepEdited = "keep-edited"

	argValue = "value"
)

// howOf is how an action settles a conflict.
var howOf = map[string]string{keepMine: "mine", keepTheirs: "theirs", keepEdited: "edited"}

// contend keeps each field of a device's change that was in conflict as a
// record of its own. A change of what the same person had typed before and that
// is in conflict still takes that one's place: they saw what they typed over.
func (r *run) contend(d *Device, m *command.Mutation, o *outcome) error {
	if len(o.conflicts) == 0 {
		return nil
	}
	rec, ok := r.w.Load(o.id)
	if !ok {
		return fault.Newf(fault.InternalError, "a record in conflict is gone")
	}
	o.conflicts = slices.Clone(o.conflicts)
	for i := range o.conflicts {
		c := &o.conflicts[i]
		earlier := r.sequel(d, rec.ID, c)
		if earlier == nil {
			id, err := r.newConflict(d, m, rec, c)
			if err != nil {
				return err
			}
			c.ID = id
			continue
		}
		after := earlier.Clone()
		after.Set("mine", entity.StringValue(string(c.Mine)))
		after.Set("mutation", entity.IntValue(int64(m.N)))
		after.Set("at", entity.TimeValue(r.at))
		c.ID, c.Was = earlier.ID, json.RawMessage(earlier.Get("was").Text())
		r.settleQuarantined(earlier, superseded)
		if err := r.save(earlier, after); err != nil {
			return err
		}
	}
	return nil
}

// sequel returns the device's open conflict that a change was typed over.
func (r *run) sequel(d *Device, id ident.RecordID, c *Contended) (found *entity.Record) {
	t := r.cfg.Cat.Type(typeConflict)
	for o := range r.w.Referring(t, t.Field("record").No, id).All() {
		x, ok := r.w.LoadOrd(o)
		if ok && x.StatusText() == conflictOpen && x.Get("device").Ref() == d.ID && x.Get("field").Text() == c.Field &&
			x.Get("mine").Text() == string(c.Was) {
			return x
		}
	}
	return nil
}

func (r *run) newConflict(d *Device, m *command.Mutation, rec *entity.Record, c *Contended) (ident.RecordID, error) {
	t := r.cfg.Cat.Type(typeConflict)
	draft := &entity.Record{Type: t}
	draft.Set("author", entity.RefValue(d.Employee))
	draft.Set("record", entity.RefValue(rec.ID))
	draft.Set("recordType", entity.StringValue(rec.Type.Name))
	draft.Set("field", entity.StringValue(c.Field))
	draft.Set("mine", entity.StringValue(string(c.Mine)))
	draft.Set("was", entity.StringValue(string(c.Was)))
	draft.Set("device", entity.RefValue(d.ID))
	draft.Set("mutation", entity.IntValue(int64(m.N)))
	draft.Set("at", entity.TimeValue(r.at))
	draft.Set("status", entity.StringValue(conflictOpen))
	// The id derives from what the conflict is about: how many ids others took
	// before has no part in it.
	for n := uint32(0); ; n++ {
		draft.ID = ident.NewRecordID(r.derive("conflict", n, string(rec.ID)+"\x00"+c.Field+"\x00"+string(numberRow(d.ID, m.N))))
		if _, used := r.w.Identify(draft.ID); !used {
			break
		}
	}
	if err := r.belong(draft); err != nil {
		return "", err
	}
	made, err := r.insert(draft)
	if err != nil {
		return "", err
	}
	return made.ID, nil
}

// settleConflict carries out an action on a conflict. Whose it is may settle
// it, and so may whoever may see and edit the field of the record; to anybody
// else it is not there.
func (r *run) settleConflict(t *entity.Type, c change) (outcome, error) {
	before, own, err := r.findConflict(t, c.id, policy.Verb(c.action))
	if err != nil {
		return outcome{}, err
	}
	how, ok := howOf[c.action]
	if !ok {
		return outcome{}, fault.Newf(fault.BadParameter, "There is no such action.").OnField("action")
	}
	if own {
		if _, err := r.decide(policy.Verb(c.action), before); err != nil {
			return outcome{}, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.args)) {
		if c.action != keepEdited || name != argValue {
			return outcome{}, fault.Newf(fault.UnknownField, "%s takes no %q.", c.action, name).OnField(name)
		}
	}
	if before.StatusText() != conflictOpen {
		return outcome{}, fault.New(fault.WrongStatus)
	}
	sight := policy.Sight{Mask: t.All()}
	if own {
		sight = r.sub.Sees(before, &r.w.Reader)
	}
	if err := r.match(before, sight, c.ifMatch); err != nil {
		return outcome{}, err
	}
	value, given := c.args[argValue]
	if c.action == keepEdited && !given {
		return outcome{}, fault.Newf(fault.MissingField, "%s is required.", argValue).OnField(argValue)
	}
	return outcome{typ: t, id: before.ID}, r.resolve(before, how, value)
}

// findConflict returns a conflict that the person may settle; own says that it
// is shown to them by itself.
func (r *run) findConflict(t *entity.Type, id ident.RecordID, v policy.Verb) (c *entity.Record, own bool, err error) {
	c, ok := r.w.Load(id)
	switch {
	case !ok || c.Type != t:
		return nil, false, notFound()
	case r.sub == nil:
		return c, false, nil
	case r.sub.Sees(c, &r.w.Reader).Mask != 0:
		return c, true, nil
	}
	if _, denied := r.sub.Denied(t, v); denied || !EditsContended(&r.w.Reader, r.sub, c) {
		return nil, false, notFound()
	}
	return c, false, nil
}

// ConflictRev is a conflict's rev, the same for whoever may see it.
func ConflictRev(c *entity.Record) string { return project.RevOfRecord(c, c.Type.All()).String() }

// EditsContended reports whether somebody may see and edit the field that a
// conflict is about: to them the conflict is shown with the record, whoever's it
// is.
func EditsContended(rd *state.Reader, sub *policy.Subject, c *entity.Record) bool {
	rec, ok := rd.Load(c.Get("record").Ref())
	if !ok {
		return false
	}
	f := rec.Type.Field(c.Get("field").Text())
	return f != nil && sub.Sees(rec, rd).Mask.Has(f.No) && sub.Decide(policy.Edit, rec, rd).Mask.Has(f.No)
}

// resolve settles an open conflict: value is what an edit is to write. Whatever
// is written is judged like any edit of the record by whoever settles it.
func (r *run) resolve(before *entity.Record, how string, value json.RawMessage) error {
	if how != howOf[keepTheirs] {
		if how == howOf[keepMine] {
			value = json.RawMessage(before.Get("mine").Text())
		}
		id, name := before.Get("record").Ref(), before.Get("field").Text()
		t := r.cfg.Cat.Type(before.Get("recordType").Text())
		if t == nil {
			return notFound()
		}
		what := r.doing
		r.doing = doing{op: audit.Patch, id: id}
		_, err := r.patch(t, change{op: wire.OpPatch, typ: t.Name, id: id, fields: command.Object{name: value}})
		r.doing = what
		if err != nil {
			return err
		}
	}
	after := before.Clone()
	after.Set("status", entity.StringValue(conflictSettled))
	after.Set("how", entity.StringValue(how))
	if r.cmd.Actor != "" {
		after.Set("settledBy", entity.RefValue(r.cmd.Actor))
	}
	after.Set("settledAt", entity.TimeValue(r.at))
	r.settleQuarantined(before, how)
	r.w.Put(store.Quarantine, quarantineSweep(r.w.Now()+keptSettled, dueConflict, []byte(before.ID)), nil)
	return r.save(before, after)
}

// settleQuarantined notes in the quarantine how a conflict ended. Once each of
// a mutation's did, it is dealt with.
func (r *run) settleQuarantined(c *entity.Record, how string) {
	q, ok := r.quarantined(c.Get("device").Ref(), uint64(c.Get("mutation").Int()))
	if !ok || q.Closed != nil {
		return
	}
	open := 0
	for i := range q.Conflicts {
		if x := &q.Conflicts[i]; x.ID == c.ID {
			x.How = how
		} else if x.How == "" {
			open++
		}
	}
	if open == 0 {
		r.closeQuarantined(&q, Closing{How: HowSettled})
		return
	}
	r.putQuarantined(&q)
}

// endConflict deletes a conflict that was settled long ago.
func (m *Machine) endConflict(id ident.RecordID) {
	rec, ok := m.w.Load(id)
	if !ok || rec.Type.Name != typeConflict || rec.StatusText() != conflictSettled {
		return
	}
	m.discardRecord(rec)
}
