package simtest

import (
	"slices"

	"satchel/internal/command"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/internal/oracle"
	"satchel/sync/apply"
	"satchel/sync/wire"
)

// What is done with work that was refused or is in conflict, in the office and
// on phones.

const conflictType = "conflict"

// settlings are the actions on a conflict.
var settlings = []string{"keep-mine", "keep-theirs", "keep-edited"}

// settling is the arguments of an action on a conflict.
func (s *sim) settling(action string) command.Object {
	if action != "keep-edited" {
		return nil
	}
	return obj("value", s.unique())
}

// waiting is all that waits in the quarantine.
func (s *sim) waiting() (out []apply.Quarantined) {
	apply.EachQuarantined(s.reader(), func(q apply.Quarantined) bool {
		if q.Closed == nil {
			out = append(out, q)
		}
		return true
	})
	return out
}

// office deals with something that was refused or is in conflict: an
// administrator with all of Service replays it or gives it up, or somebody
// settles a conflict.
func (s *sim) office() request {
	if rs := s.world.Records(conflictType); len(rs) > 0 && s.chance(50) {
		r, action := pick(s.rng, rs), pick(s.rng, settlings)
		who := pick(s.rng, slices.Concat(s.theme.bosses, []ident.RecordID{ident.RecordID(r.Text("author")), s.somebody(), ""}))
		return request{
			cmd:  &command.Command{Actor: who, Write: &command.Write{Op: "action", Type: conflictType, ID: r.ID, Action: action, Args: s.settling(action)}},
			what: said("%s: %s %s", who, action, r.ID),
		}
	}
	waits := s.waiting()
	if len(waits) == 0 {
		return s.change("")
	}
	return s.clear(pick(s.rng, waits), pick(s.rng, []ident.RecordID{"emp-keeper", "emp-keeper", "emp-admin1", s.somebody()}))
}

// clear replays a bundle or gives it up.
func (s *sim) clear(q apply.Quarantined, who ident.RecordID) request {
	b := q.Bundle()
	if s.chance(25) {
		return request{
			cmd:  &command.Command{Actor: who, Discard: &command.Discard{Bundle: b, Reason: s.unique()}},
			what: said("%s discards %s", who, apply.BundleID(b)),
		}
	}
	fixed := map[uint64]command.Object{}
	if q.Mutation.Op == wire.OpPatch && q.Status == wire.Refused && s.chance(60) {
		fixed[q.Mutation.N] = q.Mutation.Fields
	}
	if t := s.cat.Type(q.Mutation.Type); t != nil && q.Mutation.Op == wire.OpCreate && s.chance(60) {
		fixed[q.Mutation.N] = command.Object{}
		for _, k := range sortedKeys(q.Mutation.Fields) {
			if f := t.Field(k); f != nil && (f.Kind.String() == "enum" || k == t.Root) {
				if v := s.value(f); v != nil {
					fixed[q.Mutation.N][k] = obj("v", v)["v"]
				}
			}
		}
	}
	return request{
		cmd:  &command.Command{Actor: who, Replay: &command.Replay{Bundle: b, Fields: fixed}},
		what: said("%s replays %s", who, apply.BundleID(b)),
	}
}

// touched are the types of the records that the entry's commands changed:
// without the news of what fell due before them, and conflicts swept then.
func (s *sim) touched() (types []string) {
	for _, t := range s.effects.Touched {
		swept := t.Type.Name == conflictType && !slices.ContainsFunc(s.world.Records(conflictType), func(r *oracle.Record) bool { return r.Ord == t.Ord })
		if t.Type.Name != apply.TypeNotification && !swept {
			types = append(types, t.Type.Name)
		}
	}
	return types
}

// judgeKept holds what was done with refused work against what may be done with
// it: by administrators alone, whole or not at all, and leaving nothing that
// waits where it was done.
func (s *sim) judgeKept(c *command.Command, res apply.Result) {
	var b command.Bundle
	switch {
	case c.Replay != nil:
		b = c.Replay.Bundle
	case c.Discard != nil:
		b = c.Discard.Bundle
	default:
		return
	}
	if res.Err != nil {
		s.count("quarantine refused: " + string(fault.Of(res.Err).Code))
		return
	}
	if s.prev != nil && !s.prev.Administers(c.Actor) && !s.world.Administers(c.Actor) {
		s.fail("%s, who is no administrator, dealt with refused work", c.Actor)
	}
	waits := slices.ContainsFunc(s.waiting(), func(q apply.Quarantined) bool { return q.Bundle() == b })
	if r := res.Replay; r != nil && !r.Done {
		s.count("bundle not replayed")
		if !waits {
			s.fail("bundle %s was not done and waits no more", apply.BundleID(b))
		}
		if touched := s.touched(); len(touched) > 0 {
			s.fail("a replay that was not done touched %s", touched)
		}
		if last := r.Results[len(r.Results)-1]; last.Status == wire.Applied {
			s.fail("a replay was not done although all of it could be")
		}
		return
	}
	if waits {
		s.fail("bundle %s was dealt with and still waits", apply.BundleID(b))
	}
	if res.Replay == nil {
		s.count("bundle discarded")
		return
	}
	s.count("bundle replayed")
	for _, x := range res.Replay.Results {
		if x.Status != wire.Applied {
			s.fail("a replay was done but for %d: %s", x.N, x.Code)
		}
	}
}

// judgeConflicts: what was typed and is in conflict is kept, for its author and
// for nobody whom the field is not shown to.
func (s *sim) judgeConflicts(c *command.Command, m *command.Mutation, r wire.Result) {
	for _, x := range r.Conflicts {
		k, ok := s.world.Record(ident.RecordID(x.Conflict))
		if !ok {
			s.fail("mutation %d is in conflict on %s, which is kept nowhere", m.N, x.Field)
		}
		if k.Text("author") != string(c.Actor) || k.Text("record") != string(m.ID) || k.Text("field") != x.Field {
			s.fail("the conflict of mutation %d on %s is kept as another's", m.N, x.Field)
		}
		if k.Text("status") == "Open" && k.Text("mine") != string(x.Mine) {
			s.fail("the conflict of mutation %d on %s has %s, not %s", m.N, x.Field, k.Text("mine"), x.Mine)
		}
	}
}

// settlesAsEditor reports whether somebody who does not see a conflict sees the
// field that it is about, and may so settle it.
func (s *sim) settlesAsEditor(actor, id ident.RecordID) bool {
	c, ok := s.prev.Record(id)
	if !ok || c.Type.Name != conflictType {
		return false
	}
	r, ok := s.prev.Record(ident.RecordID(c.Text("record")))
	if !ok {
		return false
	}
	f := r.Type.Field(c.Text("field"))
	mask, _ := s.prev.Mask(actor, r.ID)
	return f != nil && mask>>f.No&1 == 1
}
