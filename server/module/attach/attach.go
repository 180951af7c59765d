// Package attach holds what comments and documents have in common: both hang
// on a record of one of several types, follow its client, and carry the name
// of whoever wrote them. Only the module packages import it.
package attach

import (
	"slices"
	"strings"

	"satchel/internal/entity"
	"satchel/internal/fault"
)

// Names of the fields that Created fills and reads.
const (
	Parent     = "parent"     // the record hung on; the root of the type
	ParentType = "parentType" // the name of its type
)

// Created returns a hook that notes the parent's type and, in the field named
// by, the person who creates the record. A parent of a type that parentType
// does not list is refused with bad_reference.
func Created(by string) func(entity.Context, *entity.Record) error {
	return func(c entity.Context, r *entity.Record) error {
		p, ok := c.Load(r.Get(Parent).Ref())
		if !ok {
			return fault.New(fault.BadReference).OnField(Parent)
		}
		allowed := r.Type.Field(ParentType).Values
		if !slices.Contains(allowed, p.Type.Name) {
			return fault.Newf(fault.BadReference, "%s must be one of: %s.", Parent, strings.Join(allowed, ", ")).OnField(Parent)
		}
		r.Set(ParentType, entity.StringValue(p.Type.Name))
		Author(c, r, by)
		return nil
	}
}

// Author writes the person who acts into the field unless it has a value;
// what the system does has no author.
func Author(c entity.Context, r *entity.Record, field string) {
	if c.Actor() != "" && r.Get(field).IsNull() {
		r.Set(field, entity.RefValue(c.Actor()))
	}
}
