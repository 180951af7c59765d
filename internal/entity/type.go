// Package entity declares what kinds of records there are. A Type is declared
// once, as a Go literal in a module package; REST routes, validation, the
// OpenAPI document, projections, encodings and index keys all walk the
// declaration. The package knows no storage, no policy and no transport.
package entity

import (
	"slices"
	"strings"

	"satchel/internal/ident"
)

// App is one application of the suite; a grant belongs to an app.
type App string

// The apps. Everyone is the app of records that belong to a person rather
// than to an application (preferences, notifications).
const (
	CRM      App = "crm"
	Sales    App = "sales"
	Billing  App = "billing"
	Service  App = "service"
	Stock    App = "stock"
	Debtors  App = "debtors"
	Agents   App = "agents"
	Helpdesk App = "helpdesk"
	Admin    App = "admin"
	Everyone App = "me"
)

// Apps lists every app in a fixed order.
var Apps = []App{CRM, Sales, Billing, Service, Stock, Debtors, Agents, Helpdesk, Admin, Everyone}

// Facet is a group of a type's fields that belongs to one app. Core belongs
// to all of them.
type Facet string

// The facets.
const (
	Core          Facet = "core"
	FacetCRM      Facet = "crm" // opened by CRM and by Sales
	FacetBilling  Facet = "billing"
	FacetService  Facet = "service"
	FacetStock    Facet = "stock"
	FacetDebtors  Facet = "debtors"
	FacetAgents   Facet = "agents"
	FacetHelpdesk Facet = "helpdesk"
	FacetAdmin    Facet = "admin"
)

// Opens returns the facets a grant through the app reaches.
func (a App) Opens() []Facet {
	switch a {
	case CRM, Sales:
		return []Facet{Core, FacetCRM}
	case Everyone:
		return []Facet{Core}
	case Billing, Service, Stock, Debtors, Agents, Helpdesk, Admin:
		return []Facet{Core, Facet(a)}
	}
	return nil
}

// Mask is a set of field numbers of one type: bit n is field n.
type Mask uint64

// Has reports whether field no is in the mask.
func (m Mask) Has(no uint8) bool { return m&(1<<no) != 0 }

// Field numbers the system owns, on every type. Numbers 1 to 55 are a
// type's own.
const (
	MaxFieldNo  = 55
	NoClientID  = 60
	NoCreatedAt = 61
	NoCreatedBy = 62
	NoArchived  = 63
)

// SystemMask covers the fields the system owns; they are core.
const SystemMask = Mask(1<<NoClientID | 1<<NoCreatedAt | 1<<NoCreatedBy | 1<<NoArchived)

// Type is one kind of record.
type Type struct {
	No      uint16 // stable, never reused
	Name    string // camelCase
	Plural  string // kebab-case collection in URLs
	Aliases map[App]string
	Apps    []App
	// Rank orders arrivals: parents before children.
	Rank   int
	Fields []*Field
	// Root names the field whose record hands its clientId down; "" for types
	// without a client. A type with IsClient is its own client.
	Root     string
	IsClient bool
	// Parents names the reference fields beneath whose records a record of the
	// type stands in context; nil for the root alone.
	Parents []string
	// Everything bounds what a role's "everything" in an app means of this
	// type; nil for all of its records.
	Everything []Bound
	// Archivable types have the actions archive and restore.
	Archivable bool
	// Falls with what it belongs to: records of the type never keep one from
	// being deleted, and go with it. Whether there are any tells nobody
	// anything.
	Falls bool
	// Kept while anything names it: a record of the type is not deleted as long
	// as another one, of a type that doesn't fall with it, refers to it.
	Kept bool
	// NoDelete types are never deleted (only archived, disabled, revoked).
	NoDelete bool
	// Former says that records of the type stand for people, or for where they
	// live, and what such a record is called once its person was erased; "" for
	// any other type.
	Former string
	// PersonalIf bounds which records Former and personal references speak of; nil
	// for all. Its field has the value, and never another: it is immutable for
	// what goes whole.
	PersonalIf *Bound
	Status     *Lifecycle
	Actions    []*Action
	// Drafted fills in what the writer of a new record left out, before the
	// right to create it is judged: who owns it, say. It changes nothing else.
	Drafted func(c Context, r *Record)
	// Check judges a whole record about to be written; before is nil on create.
	Check func(c Context, before, after *Record) error
	// Created runs after a create passed validation and may set read-only
	// fields and the status.
	Created func(c Context, r *Record) error
	// Changed runs after any change of a record of the type was staged; a
	// derived status of a parent is kept up here.
	Changed func(c Context, before, after *Record) error

	byName map[string]*Field
	byNo   [64]*Field
	facets map[Facet]Mask
	all    Mask
	indexd []*Field
	refsTo map[string][]*Field
}

// Bound is one condition on the records that "everything" in an app covers;
// exactly one member besides Field is set.
type Bound struct {
	Field string // an enumeration
	Value string // it must have this value
	// OfApp: the field must name the app.
	OfApp bool
	// TypeOfApp: the field must name a type of the app.
	TypeOfApp bool
}

// Values returns the values of the field that fulfil the bound in an app.
func (b Bound) Values(c *Catalogue, t *Type, a App) []string {
	switch {
	case b.Value != "":
		return []string{b.Value}
	case b.OfApp:
		return []string{string(a)}
	}
	var out []string
	for _, v := range t.Field(b.Field).Values {
		if of := c.Type(v); of != nil && of.In(a) {
			out = append(out, v)
		}
	}
	return out
}

// Lifecycle is a type's status field and its values in order.
type Lifecycle struct {
	Field   string
	Initial string
	States  []string
	// Open are the states in which the work is still to be done: taken from
	// its assignee, it goes back to Initial.
	Open []string
}

// Past returns the states after s in order; side states are wherever they
// stand in the order.
func (l *Lifecycle) Past(s string) []string {
	i := slices.Index(l.States, s)
	return l.States[i+1:]
}

// UpTo returns the states up to and including s.
func (l *Lifecycle) UpTo(s string) []string {
	i := slices.Index(l.States, s)
	return l.States[:i+1]
}

// Action is a named change beyond field edits: a status transition, an
// assignment, an archive. Whoever holds the verb of its name may do it.
type Action struct {
	Name string
	// App owns the action; grants of "every action" in an app that is neither
	// this nor among Also don't give it.
	App  App
	Also []App
	From []string // statuses it starts from; nil for any
	To   string   // status it leads to; "" leaves it
	// Args are the action's arguments; an argument named like a field of the
	// type is written to that field.
	Args []*Field
	// Stamps are time fields set to the instant of the action (on the phone,
	// where one is told).
	Stamps []string
	Clears []string
	Bulk   bool
	// Each names the argument, a required set of references, whose records a
	// bulk action judges one by one.
	Each string
	// WhenArchived lets the action run on an archived record.
	WhenArchived bool
	// Removes deletes the record, under the rules of a delete.
	Removes bool
	// Assigns names the field (and argument) that receives a person, who must
	// be able to see the record's client, be onsite there where the assigner
	// is bound to that, of the record's onsite group, and to be dispatched in its
	// scheduling role.
	Assigns string
	// Do runs after From, Args, To, Stamps and Clears were handled.
	Do func(c Context, r *Record, args Args) error
}

// OwnedBy reports whether the app owns the action, alone or with others.
func (a *Action) OwnedBy(app App) bool { return a.App == app || slices.Contains(a.Also, app) }

// Args are an action's validated arguments by name.
type Args map[string]Value

// Has reports whether the argument was given (and not null).
func (a Args) Has(name string) bool { v, ok := a[name]; return ok && !v.IsNull() }

// Context is what hand-written rules of a module may ask of and do to the
// state, inside the transaction of the change. Everything in it is
// deterministic.
type Context interface {
	// Now is the entry's time; At the time on the phone, or Now.
	Now() ident.Millis
	At() ident.Millis
	// Actor is the employee who asked; "" for the system.
	Actor() ident.RecordID
	// Load returns a record whether or not anybody may see it.
	Load(id ident.RecordID) (*Record, bool)
	// Referring calls f for each record of the type whose field refers to id,
	// in ordinal order, until f returns false.
	Referring(typ, field string, id ident.RecordID, f func(*Record) bool)
	// Pair returns the first record of the type whose one field refers to a
	// and whose other field refers to b.
	Pair(typ, one string, a ident.RecordID, other string, b ident.RecordID) (*Record, bool)
	// Save stages a changed record; who and when are the command's.
	Save(r *Record) error
	// Create stages a new record with a derived id.
	Create(typ string, values map[string]Value) (*Record, error)
	// Delete stages the end of a record that a rule made.
	Delete(r *Record) error
	// Each calls f for each record of the type whose enumerated field has the
	// value, in ordinal order, until f returns false.
	Each(typ, field, value string, f func(*Record) bool)
	// Named reports whether a record of the type has the text in the field, which
	// is unique, whatever the case; whether anybody may see that record or not.
	Named(typ, field, text string) bool
	// Number returns the next number of a tenant's series, from 1. A number
	// that a refused command took is given again.
	Number(series string) int64
	// FreshID derives an id from the command's own randomness.
	FreshID() ident.RecordID
}

// Field finds a field by its name, system fields included.
func (t *Type) Field(name string) *Field { return t.byName[name] }

// ByHand reports whether people set a field, by writing it or by an action that
// moves the status, rather than the system by itself.
func (t *Type) ByHand(f *Field) bool {
	return !f.ReadOnly || t.Status != nil && t.Status.Field == f.Name
}

// FieldNo finds a field by its number.
func (t *Type) FieldNo(no uint8) *Field {
	if no > 63 {
		return nil
	}
	return t.byNo[no]
}

// FacetMask returns the fields of the facets.
func (t *Type) FacetMask(fs ...Facet) Mask {
	var m Mask
	for _, f := range fs {
		m |= t.facets[f]
	}
	return m
}

// Indexed returns the fields that have scope indexes, by number.
func (t *Type) Indexed() []*Field { return t.indexd }

// IsPersonal reports whether a record of the type is among those that its
// personal fields and Former speak of.
func (t *Type) IsPersonal(r *Record) bool {
	return t.PersonalIf == nil || r.Get(t.PersonalIf.Field).Text() == t.PersonalIf.Value
}

// PersonalValues returns the fields whose values tell of the person that a
// record stands for.
func (t *Type) PersonalValues() (m Mask) {
	for _, f := range t.Fields {
		if f.Personal && f.Kind != Ref {
			m |= 1 << f.No
		}
	}
	return m
}

// PersonalRefs returns the references to a person with whom a record of the
// type goes when that one is erased.
func (t *Type) PersonalRefs() (out []*Field) {
	for _, f := range t.Fields {
		if f.Personal && f.Kind == Ref {
			out = append(out, f)
		}
	}
	return out
}

// RefsTo returns the indexed reference fields that may name a record of the
// type.
func (t *Type) RefsTo(name string) []*Field {
	if fs, ok := t.refsTo[name]; ok {
		return fs
	}
	return t.refsTo[""]
}

// Above returns the reference fields beneath whose records a record of the
// type stands in context.
func (t *Type) Above() []*Field {
	names := t.Parents
	if names == nil && t.Root != "" {
		names = []string{t.Root}
	}
	var out []*Field
	for _, n := range names {
		out = append(out, t.byName[n])
	}
	return out
}

// All is the mask of all fields.
func (t *Type) All() Mask { return t.all }

// In reports whether the app has the type.
func (t *Type) In(a App) bool { return slices.Contains(t.Apps, a) }

// Action finds an action by its name.
func (t *Type) Action(name string) *Action {
	for _, a := range t.Actions {
		if a.Name == name {
			return a
		}
	}
	return nil
}

// CollectionIn returns the collection's name in the app's URLs; every type
// also answers to Plural.
func (t *Type) CollectionIn(a App) string {
	if s, ok := t.Aliases[a]; ok {
		return s
	}
	return t.Plural
}

func (t *Type) String() string { return t.Name }

// index fills the lookup tables and appends the system's fields.
func (t *Type) index() {
	t.byName = map[string]*Field{}
	t.facets = map[Facet]Mask{}
	t.byNo = [64]*Field{}
	t.all = 0
	add := func(f *Field) {
		t.byName[f.Name] = f
		t.byNo[f.No] = f
		t.facets[f.Facet] |= 1 << f.No
		t.all |= 1 << f.No
	}
	for _, f := range t.Fields {
		if f.Facet == "" {
			f.Facet = Core
		}
		add(f)
	}
	for _, f := range systemFields {
		if f.No == NoClientID && t.Root == "" && !t.IsClient {
			continue
		}
		if f.No == NoArchived && !t.Archivable {
			continue
		}
		add(f)
	}
	t.indexd, t.refsTo = nil, map[string][]*Field{}
	for _, f := range t.byNo {
		if f == nil || !f.Indexed() {
			continue
		}
		t.indexd = append(t.indexd, f)
		if f.Kind == Ref || f.Kind == Refs {
			for _, n := range f.Targets {
				t.refsTo[n] = append(t.refsTo[n], f)
			}
			if len(f.Targets) == 0 {
				t.refsTo[""] = append(t.refsTo[""], f)
			}
		}
	}
	// A reference to any type stands beside those to one.
	for n := range t.refsTo {
		if n != "" {
			t.refsTo[n] = append(t.refsTo[n], t.refsTo[""]...)
		}
	}
	if t.Archivable && t.Action("archive") == nil {
		t.Actions = append(t.Actions,
			&Action{Name: "archive", App: t.Apps[0], Do: archive},
			&Action{Name: "restore", App: t.Apps[0], WhenArchived: true, Do: restore})
	}
}

var systemFields = []*Field{
	{No: NoClientID, Name: "clientId", Kind: Ref, Facet: Core, ReadOnly: true, Targets: []string{"client"}},
	{No: NoCreatedAt, Name: "createdAt", Kind: Time, Facet: Core, ReadOnly: true},
	{No: NoCreatedBy, Name: "createdBy", Kind: Ref, Facet: Core, ReadOnly: true, Targets: []string{"employee"}, unindexed: true},
	{No: NoArchived, Name: "archivedAt", Kind: Time, Facet: Core, ReadOnly: true},
}

// kebab turns a camelCase name into kebab-case.
func kebab(s string) string {
	var b strings.Builder
	for i, r := range s {
		if r >= 'A' && r <= 'Z' {
			if i > 0 {
				b.WriteByte('-')
			}
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String()
}
