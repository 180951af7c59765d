// Package policy decides who may do what. Roles are data: clauses that grant
// verbs on types within a scope. The decision about one record and the set of
// all records a person may see are both derived from the same clause; a scope
// is therefore data too, never a function. The package is pure: it reads
// records through a Lookup and changes nothing.
package policy

import (
	"fmt"
	"slices"
	"strings"

	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/internal/mutant"
)

// Op is a scope's operator.
type Op uint8

// The operators. Each has a point reading (does the record lie in the scope)
// and a set reading (which ordinals do).
const (
	OpAll       Op = iota + 1 // every record of the type
	OpSelf                    // Field names the person (or a set with the person in it); "id" is the record itself
	OpWhere                   // Field has one of Values
	OpAreas                   // the record's client lies in one of the person's sales areas
	OpOwnClient               // the record belongs to the client the person is staff of
	OpOnsite                  // the record belongs to a client the person is onsite for
	OpAnd                     // in all of Subs
	OpOr                      // in one of Subs
	OpUnder                   // Field refers to a record of Type that lies in Subs[0]
	OpFrom                    // a record of Type in Subs[0] refers to this one by Field
	OpMentioned               // a record the person sees names this one in a field the person sees
	OpWindow                  // profiles only: Field lies in the device's window
	OpUnset                   // profiles only: Field has no value
)

// Scope says whose records a grant reaches.
type Scope struct {
	Op     Op
	Type   string
	Field  string
	Values []string
	Subs   []*Scope
}

// All reaches every record of the type.
func All() *Scope { return &Scope{Op: OpAll} }

// Self reaches records whose field names the person; "id" is the person's own
// employee record.
func Self(field string) *Scope { return &Scope{Op: OpSelf, Field: field} }

// Where reaches records whose enumerated field has one of the values.
func Where(field string, values ...string) *Scope {
	return &Scope{Op: OpWhere, Field: field, Values: values}
}

// AssignedSalesAreas reaches records whose client lies in the person's areas.
func AssignedSalesAreas() *Scope { return &Scope{Op: OpAreas} }

// OwnClient reaches records of the client the person is staff of.
func OwnClient() *Scope { return &Scope{Op: OpOwnClient} }

// OnsiteClients reaches records of the clients the person is onsite for.
func OnsiteClients() *Scope { return &Scope{Op: OpOnsite} }

// And reaches what lies in all of the scopes.
func And(s ...*Scope) *Scope { return &Scope{Op: OpAnd, Subs: s} }

// Or reaches what lies in any of the scopes.
func Or(s ...*Scope) *Scope { return &Scope{Op: OpOr, Subs: s} }

// Under reaches records whose field refers to a record of the type that lies
// in the scope.
func Under(field string, t *entity.Type, s *Scope) *Scope {
	return &Scope{Op: OpUnder, Field: field, Type: t.Name, Subs: []*Scope{s}}
}

// From reaches records that a record of the type, lying in the scope, refers
// to by its field.
func From(t *entity.Type, field string, s *Scope) *Scope {
	return &Scope{Op: OpFrom, Field: field, Type: t.Name, Subs: []*Scope{s}}
}

// Window reaches records whose time lies in the device's window; for
// profiles only, since it depends on the device.
func Window(field string) *Scope { return &Scope{Op: OpWindow, Field: field} }

// Unset reaches records whose field has no value; for profiles only.
func Unset(field string) *Scope { return &Scope{Op: OpUnset, Field: field} }

// Mentioned reaches records named by a record the person sees.
func Mentioned() *Scope { return &Scope{Op: OpMentioned} }

func (s *Scope) String() string {
	subs := func(sep string) string {
		var p []string
		for _, x := range s.Subs {
			p = append(p, x.String())
		}
		return strings.Join(p, sep)
	}
	switch s.Op {
	case OpAll:
		return "all"
	case OpSelf:
		return s.Field + "=self"
	case OpWhere:
		return s.Field + " in " + strings.Join(s.Values, "|")
	case OpAreas:
		return "own areas"
	case OpOwnClient:
		return "own client"
	case OpOnsite:
		return "onsite clients"
	case OpAnd:
		return "(" + subs(" and ") + ")"
	case OpOr:
		return "(" + subs(" or ") + ")"
	case OpUnder:
		return fmt.Sprintf("%s->%s[%s]", s.Field, s.Type, subs(""))
	case OpFrom:
		return fmt.Sprintf("<-%s.%s[%s]", s.Type, s.Field, subs(""))
	case OpMentioned:
		return "mentioned"
	case OpWindow:
		return s.Field + " in window"
	case OpUnset:
		return s.Field + " unset"
	}
	return "?"
}

// walk calls f for the scope and all within it.
func (s *Scope) walk(f func(*Scope)) {
	f(s)
	for _, x := range s.Subs {
		x.walk(f)
	}
}

// check holds a scope against the type it is applied to.
func (s *Scope) check(c *entity.Catalogue, t *entity.Type) error {
	field := func(t *entity.Type, kinds ...entity.Kind) error {
		f := t.Field(s.Field)
		if f == nil || !slices.Contains(kinds, f.Kind) || !f.Indexed() {
			return fmt.Errorf("type %s has no indexed field %q of the kind the scope needs", t.Name, s.Field)
		}
		return nil
	}
	switch s.Op {
	case OpAll:
		return nil
	case OpSelf:
		if s.Field == "id" {
			return nil
		}
		return field(t, entity.Ref, entity.Refs)
	case OpWhere:
		if err := field(t, entity.Enum, entity.Bool); err != nil {
			return err
		}
		for _, v := range s.Values {
			if f := t.Field(s.Field); f.Kind == entity.Enum && !slices.Contains(f.Values, v) {
				return fmt.Errorf("field %s.%s has no value %q", t.Name, s.Field, v)
			}
		}
		return nil
	case OpAreas, OpOwnClient, OpOnsite:
		if t.Root == "" && !t.IsClient {
			return fmt.Errorf("type %s belongs to no client", t.Name)
		}
		return nil
	case OpAnd, OpOr:
		for _, x := range s.Subs {
			if err := x.check(c, t); err != nil {
				return err
			}
		}
		return nil
	case OpUnder:
		if err := field(t, entity.Ref, entity.Refs); err != nil {
			return err
		}
		u := c.Type(s.Type)
		if u == nil {
			return fmt.Errorf("unknown type %q", s.Type)
		}
		return s.Subs[0].check(c, u)
	case OpFrom:
		u := c.Type(s.Type)
		if u == nil {
			return fmt.Errorf("unknown type %q", s.Type)
		}
		if err := field(u, entity.Ref, entity.Refs); err != nil {
			return err
		}
		return s.Subs[0].check(c, u)
	case OpMentioned:
		return nil
	case OpWindow, OpUnset:
		if f := t.Field(s.Field); f == nil || (s.Op == OpWindow && !f.Days) {
			return fmt.Errorf("type %s has no field %q that profiles can use", t.Name, s.Field)
		}
		return nil
	}
	return fmt.Errorf("unknown scope operator %d", s.Op)
}

// Lookup reads the state a decision needs, whoever may see it.
type Lookup interface {
	Load(id ident.RecordID) (*entity.Record, bool)
	// AnyReferring reports whether match holds for a record of the type whose
	// field refers to id.
	AnyReferring(typ, field string, id ident.RecordID, match func(*entity.Record) bool) bool
	// Naming calls f for each record that refers to id by any indexed field,
	// with the field's number, until f returns false.
	Naming(id ident.RecordID, f func(r *entity.Record, field uint8) bool)
}

// holds is the point reading.
func (s *Scope) holds(sub *Subject, r *entity.Record, look Lookup) bool {
	switch s.Op {
	case OpAll:
		return true
	case OpSelf:
		if s.Field == "id" {
			return r.ID == sub.ID
		}
		return names(r, s.Field, sub.ID)
	case OpWhere:
		f := r.Type.Field(s.Field)
		if f.Kind == entity.Bool {
			return slices.Contains(s.Values, boolText(r.Value(f.No)))
		}
		return slices.Contains(s.Values, r.Value(f.No).Text())
	case OpAreas:
		if len(sub.Areas) == 0 {
			return false
		}
		c := r.Client()
		if c == "" {
			return false
		}
		client, ok := clientOf(r, c, look)
		return ok && slices.Contains(sub.Areas, client.Get(FieldSalesArea).Ref())
	case OpOwnClient:
		return sub.Client != "" && r.Client() == sub.Client
	case OpOnsite:
		return slices.Contains(sub.Onsite, r.Client()) && r.Client() != ""
	case OpAnd:
		for _, x := range s.Subs {
			if !x.holds(sub, r, look) {
				return false
			}
		}
		return true
	case OpOr:
		for _, x := range s.Subs {
			if x.holds(sub, r, look) {
				return true
			}
		}
		return false
	case OpUnder:
		for _, id := range refs(r, s.Field) {
			if p, ok := look.Load(id); ok && p.Type.Name == s.Type && s.Subs[0].holds(sub, p, look) {
				return true
			}
		}
		return false
	case OpFrom:
		return look.AnyReferring(s.Type, s.Field, r.ID, func(p *entity.Record) bool {
			// What is hidden brings nothing along: it would tell that it is there.
			return (!sub.unaware(p.Client()) || mutant.On(mutant.HiddenBrings)) && s.Subs[0].holds(sub, p, look)
		})
	case OpWindow, OpUnset:
		return false // profiles only, and those are read as sets
	case OpMentioned:
		found := false
		look.Naming(r.ID, func(p *entity.Record, no uint8) bool {
			// A record that is itself only reached by mention names nobody:
			// otherwise directories would chain.
			found = p.Type != r.Type && sub.View(p, look).Mask.Has(no)
			return !found
		})
		return found
	}
	return false
}

func clientOf(r *entity.Record, c ident.RecordID, look Lookup) (*entity.Record, bool) {
	if r.Type.IsClient {
		return r, true
	}
	return look.Load(c)
}

// refs returns what a Ref or Refs field refers to.
func refs(r *entity.Record, field string) []ident.RecordID {
	f := r.Type.Field(field)
	if f == nil {
		return nil
	}
	v := r.Value(f.No)
	if v.IsNull() {
		return nil
	}
	if f.Kind == entity.Refs {
		var out []ident.RecordID
		for _, s := range v.Set() {
			out = append(out, ident.RecordID(s))
		}
		return out
	}
	return []ident.RecordID{v.Ref()}
}

func names(r *entity.Record, field string, id ident.RecordID) bool {
	return slices.Contains(refs(r, field), id)
}

func boolText(v entity.Value) string {
	if v.Bool() {
		return "true"
	}
	return "false"
}

// profileOnly reports whether the scope depends on a device.
func (s *Scope) profileOnly() bool {
	return s.Op == OpWindow || s.Op == OpUnset || slices.ContainsFunc(s.Subs, (*Scope).profileOnly)
}

// Selection says which of the records a person may see a field device
// carries: those of Type in Scope.
type Selection struct {
	Type  *entity.Type
	Scope *Scope
	// First: a day's work needs them. With the window narrowed to a day they are
	// what a device is to have before anything else.
	First bool
}

// CheckProfile holds a profile's selections against the catalogue.
func CheckProfile(cat *entity.Catalogue, sel []Selection) error {
	for _, s := range sel {
		if s.Type == nil || cat.TypeNo(s.Type.No) != s.Type {
			return fmt.Errorf("policy: a profile selects a type that is not in the catalogue")
		}
		if err := s.Scope.check(cat, s.Type); err != nil {
			return fmt.Errorf("policy: profile, type %s: %w", s.Type.Name, err)
		}
	}
	return nil
}
