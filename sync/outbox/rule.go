package outbox

import (
	"errors"
	"fmt"
	"strings"

	"satchel/internal/entity"
	"satchel/internal/ident"
)

// Category says what an event is about. It is all that a push tells, and the
// key under which a later push takes the place of an earlier one.
type Category string

// The categories; a carrier keeps one waiting push of each for a device.
const (
	Sync    Category = "sync"
	Jobs    Category = "jobs"
	Tickets Category = "tickets"
	Access  Category = "access"
)

// Channels are ways to tell somebody, as a set. The numbers stand in files.
type Channels uint8

// The channels.
const (
	InApp  Channels = 1 << iota // a notification record, which sync brings
	Push                        // a push that shows a general line
	Silent                      // a push that shows nothing
	Mail                        // an e-mail
	Digest                      // a line in the day's e-mail
)

// Names of the channels in preferences and metrics.
var channelNames = []struct {
	c    Channels
	name string
}{{InApp, "in-app"}, {Push, "push"}, {Silent, "silent"}, {Mail, "mail"}, {Digest, "digest"}}

// String names the channels, joined by commas.
func (c Channels) String() string {
	var out []string
	for _, n := range channelNames {
		if c&n.c != 0 {
			out = append(out, n.name)
		}
	}
	return strings.Join(out, ",")
}

// Context is what a rule may ask of the state, at the moment of the change.
type Context interface {
	entity.Context
	// Holding returns the active people for whom one of the roles is in force,
	// or a tenant-made role that is built on one, in a fixed order.
	Holding(roles ...string) []ident.RecordID
}

// Change is a record before and after: Before is nil for a new one, After for
// one that is gone.
type Change struct {
	Before, After *entity.Record
	// Written are the fields that were written; of a new record or one that is
	// gone, all.
	Written entity.Mask
}

// Record is the record as it stands, or as it stood before it went.
func (c Change) Record() *entity.Record {
	if c.After != nil {
		return c.After
	}
	return c.Before
}

// Rule turns a change of a record, or the arrival of an instant that stands in
// one, into news for people. People learn of nothing they may not see: of a
// rule that is not Nameless each must see the record, when it happens and again
// at each attempt to send.
type Rule struct {
	// Event names what happened, "ticket.assigned"; preferences name it.
	Event string
	// Type is whose changes are looked at; nil for what the core itself tells.
	Type *entity.Type
	// Fields are those of which one must have been written for When to be asked;
	// nil for any.
	Fields []string
	// When reports whether a change is the event. Of a rule with At it is nil.
	When func(c Context, x Change) bool
	// At is the instant that the event happens at, ok false where it does not;
	// it depends on the record alone.
	At func(r *entity.Record) (at ident.Millis, ok bool)
	// Until is the instant from which on it is too late for an event of At: a
	// change that puts At into the past before it is the event at once. nil: such
	// a change is none.
	Until func(r *entity.Record) (ident.Millis, bool)
	// People are those concerned, in a fixed order; empty ids and repetitions
	// are passed over.
	People func(c Context, x Change) []ident.RecordID
	// Overseers are told, too, of what they see: each must see the record, as it
	// is or was, even of news that are Nameless. nil: there are none.
	Overseers func(c Context, x Change) []ident.RecordID
	// Nameless news don't say what they are about, and ask of nobody to see it.
	Nameless bool
	// Former news are nameless, too, and for those who saw the record as it was.
	Former bool
	// ToActor tells whoever did it, too.
	ToActor bool
	Channels
	Category Category
	// High wakes a sleeping device; Urgent goes out in quiet hours, too.
	High, Urgent bool
	// Text is a general phrase by language; "en" must be there. It quotes no
	// record.
	Text map[string]string

	mask entity.Mask // of Fields
}

// Phrase returns the rule's phrase in the language of a tag ("de", "fr-CA"),
// English where there is none.
func (r *Rule) Phrase(tag string) string {
	base, _, _ := strings.Cut(strings.ReplaceAll(tag, "_", "-"), "-")
	if s := r.Text[strings.ToLower(base)]; s != "" {
		return s
	}
	return r.Text["en"]
}

// Events that the core tells of without a change of a record.
const (
	OfflineRefused  = "offline.refused"
	OfflineConflict = "offline.conflict"
	LastAdmin       = "administrator.attempt"
	FileRefused     = "file.refused"
)

var coreEvents = []string{OfflineRefused, OfflineConflict, LastAdmin, FileRefused}

// Rules are checked rules, found by type and by event. The nil Rules has none.
type Rules struct {
	all    []*Rule
	byType map[uint16][]*Rule
	timed  map[uint16][]*Rule
	byName map[string]*Rule
}

// NewRules checks rules.
func NewRules(list ...*Rule) (*Rules, error) {
	rs := &Rules{all: list, byType: map[uint16][]*Rule{}, timed: map[uint16][]*Rule{}, byName: map[string]*Rule{}}
	var errs []error
	for _, r := range list {
		if err := r.check(); err != nil {
			errs = append(errs, fmt.Errorf("outbox: rule %q: %w", r.Event, err))
		}
		if rs.byName[r.Event] == nil {
			rs.byName[r.Event] = r
		} else if old := rs.byName[r.Event]; old.Phrase("en") != r.Phrase("en") || old.Channels != r.Channels || old.Category != r.Category || old.Nameless != r.Nameless {
			errs = append(errs, fmt.Errorf("outbox: rules of event %q differ", r.Event))
		}
		r.mask = ^entity.Mask(0)
		if r.Fields != nil && r.Type != nil {
			r.mask = 0
			for _, n := range r.Fields {
				f := r.Type.Field(n)
				if f == nil {
					errs = append(errs, fmt.Errorf("outbox: rule %q: %s has no field %s", r.Event, r.Type, n))
					continue
				}
				r.mask |= 1 << f.No
			}
		}
		switch {
		case r.Type == nil:
		case r.At != nil:
			rs.timed[r.Type.No] = append(rs.timed[r.Type.No], r)
		default:
			rs.byType[r.Type.No] = append(rs.byType[r.Type.No], r)
		}
	}
	for _, e := range coreEvents {
		if rs.byName[e] == nil {
			errs = append(errs, fmt.Errorf("outbox: no rule for %q", e))
		}
	}
	return rs, errors.Join(errs...)
}

func (r *Rule) check() error {
	switch {
	case r.Event == "" || r.Text["en"] == "":
		return errors.New("it has no name or no English phrase")
	case r.Channels == 0 || r.Channels >= Digest<<1:
		return errors.New("it goes nowhere")
	case r.Category != Sync && r.Category != Jobs && r.Category != Tickets && r.Category != Access:
		return errors.New("unknown category")
	case r.High && r.Channels&Push == 0:
		return errors.New("what wakes a device must show something")
	case r.Former && !r.Nameless:
		return errors.New("what was is not named")
	case r.Type == nil && r.When == nil && r.At == nil:
		return nil
	case r.Type == nil || (r.When == nil) == (r.At == nil) || r.People == nil:
		return errors.New("it needs a type, people, and either When or At")
	case r.At == nil && r.Until != nil:
		return errors.New("until without at")
	}
	return nil
}

// Asks reports whether When is to be asked about a change that wrote the
// fields.
func (r *Rule) Asks(written entity.Mask) bool { return written&r.mask != 0 }

// Of returns the rules about changes of the type.
func (rs *Rules) Of(t *entity.Type) []*Rule {
	if rs == nil {
		return nil
	}
	return rs.byType[t.No]
}

// Timed returns the rules about instants in records of the type.
func (rs *Rules) Timed(t *entity.Type) []*Rule {
	if rs == nil {
		return nil
	}
	return rs.timed[t.No]
}

// Types returns the types that have rules about instants.
func (rs *Rules) Types(c *entity.Catalogue) []*entity.Type {
	var out []*entity.Type
	for _, t := range c.Types {
		if len(rs.Timed(t)) > 0 {
			out = append(out, t)
		}
	}
	return out
}

// Event returns a rule of the event, nil for none.
func (rs *Rules) Event(name string) *Rule {
	if rs == nil {
		return nil
	}
	return rs.byName[name]
}

// All returns the rules as they were declared.
func (rs *Rules) All() []*Rule {
	if rs == nil {
		return nil
	}
	return rs.all
}
