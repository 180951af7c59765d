package entity

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"sort"
	"strings"

	"satchel/internal/fault"
	"satchel/internal/ident"
)

// Catalogue is the set of types a server knows, checked and indexed.
type Catalogue struct {
	Types  []*Type // ascending by number
	byName map[string]*Type
	byNo   map[uint16]*Type
	// editions are the schema versions after the first, see Evolve.
	editions []Edition
}

// Type finds a type by its name, nil for none.
func (c *Catalogue) Type(name string) *Type { return c.byName[name] }

// TypeNo finds a type by its number, nil for none.
func (c *Catalogue) TypeNo(no uint16) *Type { return c.byNo[no] }

// Collection finds the type that a collection of an app's URLs names.
func (c *Catalogue) Collection(a App, name string) *Type {
	for _, t := range c.Types {
		if t.In(a) && (t.Plural == name || t.Aliases[a] == name) {
			return t
		}
	}
	return nil
}

var camel = regexp.MustCompile(`^[a-z][a-zA-Z0-9]*$`)

// NewCatalogue checks the declarations against each other and indexes them.
// It is called once at start-up; every fault it finds is the program's.
func NewCatalogue(types ...*Type) (*Catalogue, error) {
	c := &Catalogue{byName: map[string]*Type{}, byNo: map[uint16]*Type{}}
	for _, t := range types {
		if t.Plural == "" {
			t.Plural = kebab(t.Name) + "s"
		}
		t.index()
		if c.byName[t.Name] != nil || c.byNo[t.No] != nil || t.No == 0 {
			return nil, fmt.Errorf("entity: type %s (%d) is declared twice or has no number", t.Name, t.No)
		}
		c.byName[t.Name], c.byNo[t.No] = t, t
		c.Types = append(c.Types, t)
	}
	sort.Slice(c.Types, func(i, j int) bool { return c.Types[i].No < c.Types[j].No })
	for _, t := range c.Types {
		if err := c.check(t); err != nil {
			return nil, fmt.Errorf("entity: type %s: %w", t.Name, err)
		}
	}
	return c, nil
}

func (c *Catalogue) check(t *Type) error {
	if !camel.MatchString(t.Name) || len(t.Apps) == 0 {
		return fmt.Errorf("name or apps missing")
	}
	names, nos := map[string]bool{}, map[uint8]bool{}
	for _, f := range t.Fields {
		if f.No == 0 || f.No > MaxFieldNo || nos[f.No] || names[f.Name] || !camel.MatchString(f.Name) {
			return fmt.Errorf("field %q: number or name unusable or repeated", f.Name)
		}
		if slices.Contains([]string{"id", "rev", "type", "fields", "updatedAt", "updatedBy", "context"}, f.Name) {
			return fmt.Errorf("field %q: the name is the system's", f.Name)
		}
		nos[f.No], names[f.Name] = true, true
		if err := c.checkField(f); err != nil {
			return err
		}
	}
	if t.Root != "" {
		f := t.byName[t.Root]
		if f == nil || f.Kind != Ref {
			return fmt.Errorf("root %q is no reference", t.Root)
		}
		if !f.Immutable {
			return fmt.Errorf("root %q can change; the client of a record is fixed", t.Root)
		}
	}
	for _, f := range t.Fields {
		// Only the root may lead to a client: a record refers to no client but
		// its own.
		if (f.Kind == Ref || f.Kind == Refs) && slices.Contains(f.Targets, "client") && f.Name != t.Root {
			return fmt.Errorf("field %q refers to a client besides the record's own", f.Name)
		}
	}
	if err := c.checkPersonal(t); err != nil {
		return err
	}
	for _, n := range t.Parents {
		if f := t.byName[n]; f == nil || f.Kind != Ref || !f.Indexed() {
			return fmt.Errorf("parent %q is no reference", n)
		}
	}
	for _, b := range t.Everything {
		f := t.byName[b.Field]
		if f == nil || f.Kind != Enum || (b.Value != "" && !slices.Contains(f.Values, b.Value)) {
			return fmt.Errorf("everything is bounded by %q, which has no such value", b.Field)
		}
	}
	if t.Status != nil {
		f := t.byName[t.Status.Field]
		if f == nil || f.Kind != Enum || !f.ReadOnly || !slices.Equal(f.Values, t.Status.States) || !slices.Contains(f.Values, t.Status.Initial) {
			return fmt.Errorf("status field %q must be a read-only enumeration of the states", t.Status.Field)
		}
	}
	seen := map[string]bool{}
	for _, a := range t.Actions {
		if seen[a.Name] || a.App == "" {
			return fmt.Errorf("action %q is repeated or belongs to no app", a.Name)
		}
		seen[a.Name] = true
		if (a.To != "" || a.From != nil) && t.Status == nil {
			return fmt.Errorf("action %q moves a status the type has not", a.Name)
		}
		for _, s := range append(slices.Clone(a.From), a.To) {
			if s != "" && !slices.Contains(t.Status.States, s) {
				return fmt.Errorf("action %q: unknown status %q", a.Name, s)
			}
		}
		for _, f := range a.Args {
			if err := c.checkField(f); err != nil {
				return err
			}
			if same := t.byName[f.Name]; same != nil && same.Kind != f.Kind {
				return fmt.Errorf("action %q: argument %q is written to a field of another kind", a.Name, f.Name)
			}
		}
		for _, n := range append(slices.Clone(a.Stamps), a.Clears...) {
			if t.byName[n] == nil {
				return fmt.Errorf("action %q: unknown field %q", a.Name, n)
			}
		}
		for _, n := range a.Stamps {
			if t.byName[n].Kind != Time {
				return fmt.Errorf("action %q stamps %q, which is no time", a.Name, n)
			}
		}
		if a.Assigns != "" && t.byName[a.Assigns] == nil {
			return fmt.Errorf("action %q assigns unknown field %q", a.Name, a.Assigns)
		}
		if a.Each != "" && !slices.ContainsFunc(a.Args, func(f *Field) bool { return f.Name == a.Each && f.Kind == Refs && f.Required && a.Bulk }) {
			return fmt.Errorf("action %q judges each of %q, which is no required set of references of a bulk action", a.Name, a.Each)
		}
	}
	return nil
}

// checkPersonal makes sure that every person can be erased: something can stand
// for each value that a record can't be without.
func (c *Catalogue) checkPersonal(t *Type) error {
	if b := t.PersonalIf; b != nil {
		f := t.byName[b.Field]
		if f == nil || f.Kind != Enum || !slices.Contains(f.Values, b.Value) {
			return fmt.Errorf("what is personal is bounded by %q, which has no such value", b.Field)
		}
	}
	for _, f := range t.Fields {
		switch {
		case !f.Personal:
		case f.Kind == Ref && !f.Indexed():
			return fmt.Errorf("personal reference %q has no index to be found by", f.Name)
		case f.Required && f.Kind != Ref && (f.Kind != String || t.Former == ""):
			return fmt.Errorf("personal field %q is required, and nothing can stand for it", f.Name)
		}
	}
	return nil
}

func (c *Catalogue) checkField(f *Field) error {
	if f.Kind == 0 {
		return fmt.Errorf("field %q has no kind", f.Name)
	}
	for _, n := range f.Targets {
		if c.byName[n] == nil {
			return fmt.Errorf("field %q refers to unknown type %q", f.Name, n)
		}
	}
	if f.Kind == Enum && (len(f.Values) == 0 || len(f.Values) > 250) {
		return fmt.Errorf("field %q needs 1 to 250 values", f.Name)
	}
	for _, it := range f.Items {
		if it.Kind == Lines {
			return fmt.Errorf("field %q has lines within lines", f.Name)
		}
		if err := c.checkField(it); err != nil {
			return err
		}
	}
	return nil
}

// Golden renders the catalogue as text, a line per type, field and action;
// a change of it is a change of the format that phones and files rely on.
func (c *Catalogue) Golden() string {
	var b strings.Builder
	for _, t := range c.Types {
		fmt.Fprintf(&b, "type %d %s /%s apps=%v root=%q", t.No, t.Name, t.Plural, t.Apps, t.Root)
		if t.Former != "" {
			fmt.Fprintf(&b, " former=%q", t.Former)
		}
		if t.PersonalIf != nil {
			fmt.Fprintf(&b, " personal-if=%s:%s", t.PersonalIf.Field, t.PersonalIf.Value)
		}
		b.WriteByte('\n')
		for _, f := range t.Fields {
			golden(&b, "  field", f)
		}
		for _, a := range t.Actions {
			fmt.Fprintf(&b, "  action %s app=%s from=%v to=%q", a.Name, a.App, a.From, a.To)
			for _, also := range a.Also {
				fmt.Fprintf(&b, " also=%s", also)
			}
			b.WriteByte('\n')
			for _, f := range a.Args {
				golden(&b, "    arg", f)
			}
		}
	}
	return b.String()
}

func golden(b *strings.Builder, what string, f *Field) {
	fmt.Fprintf(b, "%s %d %s %s", what, f.No, f.Name, f.Kind)
	if f.Facet != "" && f.Facet != Core {
		fmt.Fprintf(b, " facet=%s", f.Facet)
	}
	for _, m := range []struct {
		on   bool
		word string
	}{{f.Required, "required"}, {f.Immutable, "immutable"}, {f.ReadOnly, "read-only"}, {f.Unique, "unique"}, {f.Days, "by-day"}, {f.Personal, "personal"}} {
		if m.on {
			b.WriteString(" " + m.word)
		}
	}
	if len(f.Targets) > 0 {
		fmt.Fprintf(b, " ->%s", strings.Join(f.Targets, "|"))
	}
	if len(f.Values) > 0 {
		fmt.Fprintf(b, " {%s}", strings.Join(f.Values, "|"))
	}
	for _, it := range f.Items {
		fmt.Fprintf(b, " [%s %s]", it.Name, it.Kind)
	}
	b.WriteByte('\n')
}

// Hash names the catalogue's content; it stands in the state.
func (c *Catalogue) Hash() string {
	h := sha256.Sum256([]byte(c.Golden()))
	return hex.EncodeToString(h[:8])
}

func archive(c Context, r *Record, _ Args) error {
	if r.Archived() {
		return fault.New(fault.Archived)
	}
	r.Put(NoArchived, TimeValue(c.Now()))
	return nil
}

func restore(_ Context, r *Record, _ Args) error {
	if !r.Archived() {
		return fault.New(fault.NotArchived)
	}
	r.Put(NoArchived, nil)
	return nil
}

// RootOf returns the id in the record's root field: the record that hands its
// client down. "" for types without a client.
func (r *Record) RootOf() ident.RecordID {
	if r.Type.Root == "" {
		return ""
	}
	return r.Get(r.Type.Root).Ref()
}
