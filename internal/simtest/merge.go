package simtest

import (
	"bytes"
	"encoding/json"
	"slices"

	"satchel/internal/command"
	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/sync/wire"
)

// Whether what two people changed was brought together by the rule, said once
// more: a field that has what it was changed from is written, one that somebody
// else has changed since keeps what it has.

// byItself reports whether nothing else in a push can have changed what mutation
// i changes.
func byItself(ms []command.Mutation, i int) bool {
	for k := range ms {
		if k != i && (ms[k].ID == ms[i].ID || ms[k].Op == wire.OpDelete || ms[k].Op == wire.OpAction) {
			return false
		}
	}
	return true
}

// judgeMerge holds the outcome of a mutation, which nothing else in its entry
// touched, against what its author saw before it.
func (s *sim) judgeMerge(c *command.Command, m *command.Mutation, r wire.Result) {
	if s.prev == nil || s.altered || s.fell || s.newerThan(s.deviceRow(c.Device).Schema) != nil {
		return
	}
	switch {
	case m.Op == wire.OpPatch && r.Status != wire.Refused:
		s.judgePatched(c, m, r)
	case m.Op == wire.OpDelete && (r.Status == wire.Applied || r.Code == string(fault.EditConflict)):
		s.judgeDeleted(c, m, r)
	}
}

// judgePatched looks at fields of plain text: sets and lines merge by member.
func (s *sim) judgePatched(c *command.Command, m *command.Mutation, r wire.Result) {
	before, ok := s.prev.Sees(c.Actor, m.ID)
	after, still := s.world.Sees(c.Actor, m.ID)
	if !ok || !still {
		return
	}
	mask, _ := s.prev.Mask(c.Actor, m.ID)
	left, _ := s.world.Mask(c.Actor, m.ID)
	t := s.cat.Type(m.Type)
	for _, name := range sortedKeys(m.Fields) {
		f := t.Field(name)
		was, told := m.Was[name]
		if f == nil || !told || f.Kind != entity.String && f.Kind != entity.Text || mask&left>>f.No&1 == 0 {
			continue
		}
		had, has := textIn(before.Fields, name), textIn(after.Fields, name)
		mine := text(m.Fields[name])
		clash := slices.ContainsFunc(r.Conflicts, func(x wire.FieldConflict) bool { return x.Field == name })
		switch {
		case had == text(was) || had == mine:
			if clash || has != mine {
				s.fail("mutation %d changes %s.%s from %q to %q, which nobody else had changed: it is %q, in conflict %v", m.N, m.ID, name, had, mine, has, clash)
			}
			s.count("merge: written")
		case !clash || has != had:
			s.fail("mutation %d changes %s.%s from %s to %q, somebody else to %q: it is %q, in conflict %v", m.N, m.ID, name, was, mine, had, has, clash)
		default:
			s.count("merge: kept")
		}
	}
}

// judgeDeleted: what was changed since its author saw it is not deleted, and
// nothing else stops for that.
func (s *sim) judgeDeleted(c *command.Command, m *command.Mutation, r wire.Result) {
	before, ok := s.prev.Sees(c.Actor, m.ID)
	if !ok {
		return
	}
	mask, _ := s.prev.Mask(c.Actor, m.ID)
	t, changed := s.cat.Type(m.Type), ""
	for _, name := range sortedKeys(m.Was) {
		f := t.Field(name)
		if f == nil || !t.ByHand(f) || mask>>f.No&1 == 0 {
			continue
		}
		had, ok := before.Fields[name]
		if !ok {
			had = "null"
		}
		if !bytes.Equal(m.Was[name], []byte(had)) {
			changed = name
		}
	}
	switch applied := r.Status == wire.Applied; {
	case applied && changed != "":
		s.fail("mutation %d deleted %s, of which %s was changed since its author saw it", m.N, m.ID, changed)
	case !applied && changed == "":
		s.fail("mutation %d did not delete %s, of which nothing was changed since its author saw it", m.N, m.ID)
	case applied:
		s.count("delete of what nobody changed")
	default:
		s.count("delete of what was changed")
	}
}

// text is the text that a value is, "" for none.
func text(raw []byte) (out string) {
	_ = json.Unmarshal(raw, &out) // what is no text is none
	return out
}

func textIn(fields map[string]string, name string) string { return text([]byte(fields[name])) }
