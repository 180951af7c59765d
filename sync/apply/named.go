package apply

import (
	"slices"

	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/internal/policy"
	"satchel/sync/state"
)

// unnamed reads the state as if no record named any. A record that comes into
// somebody's view because others name it is found by these others: they were
// touched themselves, and who sees them is concerned. To go through all that
// name a person is much work, for each of those who don't see it otherwise.
type unnamed struct{ *state.Reader }

// Naming implements policy.Lookup.
func (unnamed) Naming(ident.RecordID, func(*entity.Record, uint8) bool) {}

// namedAndMore reports whether a grant asks for more of what is named than that.
func namedAndMore(g *policy.Grant) bool {
	return g.Scope.Op != policy.OpMentioned && mentions(g.Scope)
}

func mentions(s *policy.Scope) bool {
	return s.Op == policy.OpMentioned || slices.ContainsFunc(s.Subs, mentions)
}

// deciding returns, by type number, the fields by which a record that somebody
// sees only because others name it may yet bring something to their device:
// itself, where the device carries what a selection chooses or what stands
// beneath a pinned record, or others that a scope reaches by way of it. A change
// of its other fields leaves everything where it is.
func deciding(cfg Config) map[uint16]entity.Mask {
	d := decider{cfg.Cat, map[uint16]entity.Mask{}}
	for _, t := range cfg.Cat.Types {
		d.fields[t.No] = bit(entity.NoClientID)
		for _, f := range t.Above() {
			d.fields[t.No] |= bit(f.No)
		}
	}
	for _, s := range cfg.Field {
		d.of(s.Type, s.Scope)
	}
	cfg.Roles.Each(func(c *policy.Compiled) {
		for _, gs := range c.Grants {
			for _, g := range gs {
				d.through(g.Scope)
			}
		}
	})
	return d.fields
}

// every is all fields.
const every = ^entity.Mask(0)

func bit(no uint8) entity.Mask { return 1 << no }

type decider struct {
	cat    *entity.Catalogue
	fields map[uint16]entity.Mask
}

// of adds the fields by which a record of the type is in the scope.
func (d *decider) of(t *entity.Type, s *policy.Scope) {
	d.through(s)
	switch s.Op {
	case policy.OpAll, policy.OpFrom, policy.OpMentioned: // others decide that
	case policy.OpAnd, policy.OpOr:
		for _, x := range s.Subs {
			d.of(t, x)
		}
	case policy.OpAreas, policy.OpOwnClient, policy.OpOnsite: // by the client
		if t.IsClient {
			d.fields[t.No] = every
		}
	default:
		if s.Field != "id" {
			d.fields[t.No] |= bit(t.Field(s.Field).No)
		}
	}
}

// through adds the fields of all types by way of which the scope leads.
func (d *decider) through(s *policy.Scope) {
	if s.Op == policy.OpFrom || s.Op == policy.OpUnder {
		t := d.cat.Type(s.Type)
		d.fields[t.No] = every
	}
	for _, x := range s.Subs {
		d.through(x)
	}
}
