// Package attach holds what records of several modules have in common: those
// that hang on a record of one of several types, follow its client and carry
// the name of whoever wrote them; those that are private to their maker or
// shared. Only the module packages import it.
package attach

import (
	"slices"
	"strings"

	"satchel/internal/entity"
	"satchel/internal/fault"
)

// Apps are the apps whose records can be commented on.
var Apps = []entity.App{
	entity.Service, entity.CRM, entity.Sales, entity.Billing, entity.Stock, entity.Debtors, entity.Agents, entity.Helpdesk,
}

// OfApp bounds "everything" in an app to what hangs on records of the app.
var OfApp = []entity.Bound{{Field: ParentType, TypeOfApp: true}}

// Names of the fields that Created fills and reads.
const (
	Parent     = "parent"     // the record hung on; the root of the type
	ParentType = "parentType" // the name of its type
)

// Drafted notes the type of the parent, by which the right to hang something
// on it is judged; a parent of a type that parentType does not list leaves it
// open.
func Drafted(c entity.Context, r *entity.Record) {
	p, ok := c.Load(r.Get(Parent).Ref())
	if ok && slices.Contains(r.Type.Field(ParentType).Values, p.Type.Name) {
		r.Set(ParentType, entity.StringValue(p.Type.Name))
	}
}

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

// Discard deletes what was written on a record that a rule is about to delete:
// it would keep it.
func Discard(c entity.Context, r *entity.Record) error {
	var all []*entity.Record
	c.Referring("comment", Parent, r.ID, func(o *entity.Record) bool {
		all = append(all, o)
		return true
	})
	for _, o := range all {
		if err := c.Delete(o); err != nil {
			return err
		}
	}
	return nil
}

// Author writes the person who acts into the field unless it has a value;
// what the system does has no author.
func Author(c entity.Context, r *entity.Record, field string) {
	if c.Actor() != "" && r.Get(field).IsNull() {
		r.Set(field, entity.RefValue(c.Actor()))
	}
}

// InOrder refuses a span of two instants or dates that ends before it begins
// with bad_value on the later one.
func InOrder(r *entity.Record, from, to string) error {
	a, b := r.Get(from), r.Get(to)
	if a.IsNull() || b.IsNull() || a.Text() <= b.Text() {
		return nil
	}
	return fault.Newf(fault.BadValue, "%s must not be before %s.", to, from).OnField(to)
}

// Who a tag or filter is for.
const (
	Public  = "public"
	Private = "private"
)
