package canary

import (
	"fmt"
	"slices"
	"strings"

	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/internal/oracle"
	"satchel/sync/state"
	"satchel/sync/tenant"
)

// Place is where a token stands: a record's id, or one of its fields.
type Place struct {
	Type  string
	ID    ident.RecordID
	Field string // "id" for the id itself
}

// String implements fmt.Stringer.
func (p Place) String() string { return fmt.Sprintf("%s/%s.%s", p.Type, p.ID, p.Field) }

// tokens are all tokens of a state with the places where they stand, and what
// has room for one and bears none.
type tokens struct {
	at    map[string][]Place
	empty []string                          // "type.field", sorted
	types map[string]int                    // records by type
	of    map[ident.RecordID]ident.RecordID // clients by record
}

// inventory reads every record.
func (s *Server) inventory() *tokens {
	s.tb.Helper()
	out := &tokens{at: map[string][]Place{}, types: map[string]int{}, of: map[ident.RecordID]ident.RecordID{}}
	full := map[string]bool{}
	var sc Scanner
	note := func(p Place, b []byte) {
		for t := range sc.plain(b) {
			out.at[t] = append(out.at[t], p)
			full[p.Type+"."+p.Field] = true
		}
	}
	if err := s.tenant().Read(func(v *tenant.View) error {
		for _, t := range v.Cat.Types {
			for o := range v.Index(state.TypeKey(t.No)).All() {
				rec, ok := v.LoadOrd(o)
				if !ok {
					continue
				}
				out.types[t.Name]++
				out.of[rec.ID] = rec.Client()
				note(Place{t.Name, rec.ID, "id"}, []byte(rec.ID))
				for _, f := range t.Fields {
					if val := rec.Value(f.No); !val.IsNull() {
						note(Place{t.Name, rec.ID, f.Name}, val)
					}
				}
			}
		}
		return nil
	}); err != nil {
		s.tb.Fatal(err)
	}
	for _, t := range s.suite.Cat.Types {
		for _, f := range t.Fields {
			if k := t.Name + "." + f.Name; bears(f) && !full[k] {
				out.empty = append(out.empty, k)
			}
		}
	}
	slices.Sort(out.empty)
	return out
}

// sight is what the judge lets a person know.
type sight struct {
	all map[string]bool // every token
	// root are those that stand in lists: without records that are seen beneath
	// others alone.
	root map[string]bool
	// own are those of the person's own record.
	own map[string]bool
	// rights are the ids of what gives or takes the person's own rights.
	rights map[string]bool

	seen, hidden map[string][]ident.RecordID // records by type
}

// sights asks the judge about people.
func (s *Server) sights(who ...*Person) map[string]*sight {
	s.tb.Helper()
	out := map[string]*sight{}
	s.Look(func(w *oracle.World) {
		for _, p := range who {
			out[p.Key] = s.sightOf(w, p)
		}
	})
	return out
}

func (s *Server) sightOf(w *oracle.World, p *Person) *sight {
	out := &sight{
		all: map[string]bool{}, root: map[string]bool{}, own: map[string]bool{}, rights: map[string]bool{},
		seen: map[string][]ident.RecordID{}, hidden: map[string][]ident.RecordID{},
	}
	var sc Scanner
	for _, t := range s.suite.Cat.Types {
		for _, r := range w.Records(t.Name) {
			if r.ID == p.ID {
				for _, v := range []string{string(r.ID), r.Text("name"), r.Text("email"), r.Text("client")} {
					for tok := range sc.plain([]byte(v)) {
						out.own[tok] = true
					}
				}
			}
			if decides(r, p.ID) {
				for tok := range sc.plain([]byte(strings.Join([]string{string(r.ID), r.Text("role"), r.Text("delegator")}, " "))) {
					out.rights[tok] = true
				}
			}
			shown, ok := w.Sees(p.ID, r.ID)
			if !ok {
				out.hidden[t.Name] = append(out.hidden[t.Name], r.ID)
				continue
			}
			out.seen[t.Name] = append(out.seen[t.Name], r.ID)
			text := []byte(r.ID)
			for _, v := range shown.Fields {
				text = append(append(text, '\n'), v...)
			}
			for tok := range sc.plain(text) {
				out.all[tok] = true
				if !shown.Context {
					out.root[tok] = true
				}
			}
		}
	}
	return out
}

// decides reports whether a record is one of those that give a person rights,
// or take some.
func decides(r *oracle.Record, who ident.RecordID) bool {
	switch r.Type.Name {
	case "roleAssignment", "individualPermission", "clientVisibility":
		return r.Text("employee") == string(who)
	case "delegation":
		return r.Text("delegate") == string(who)
	}
	return false
}

// worded are the word tokens that stand in a record's texts, by field.
func (s *Server) worded(id ident.RecordID) map[string]string {
	out := map[string]string{}
	if err := s.tenant().Read(func(v *tenant.View) error {
		rec, ok := v.Load(id)
		if !ok {
			return nil
		}
		for _, f := range rec.Type.Fields {
			if f.Kind != entity.String && f.Kind != entity.Text {
				continue
			}
			if m := wordIn(rec.Get(f.Name).Text()); m != "" {
				out[f.Name] = m
			}
		}
		return nil
	}); err != nil {
		s.tb.Fatal(err)
	}
	return out
}
