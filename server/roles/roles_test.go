package roles

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"satchel/internal/entity"
	"satchel/internal/policy"
	"satchel/server/module"
)

var update = flag.Bool("update", false, "write the golden files anew")

func catalogue(t testing.TB) *entity.Catalogue {
	t.Helper()
	cat, err := module.Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	return cat
}

func compiled(t testing.TB) map[string]*policy.Compiled {
	t.Helper()
	c, err := Compiled(catalogue(t))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestMatrixGolden makes every change of what a role may do a visible one: a
// line per role, type, verb and clause.
func TestMatrixGolden(t *testing.T) {
	cat, roles := catalogue(t), compiled(t)
	var b strings.Builder
	for _, r := range All() {
		for _, typ := range cat.Types {
			for _, v := range verbs(typ) {
				for _, g := range roles[r.Key].For(typ, v) {
					fmt.Fprintf(&b, "%s\t%s\t%s\t%s\t%s\t%s\n", r.Key, typ.Name, v, g.Clause, g.Scope, fields(typ, g))
				}
			}
		}
	}
	path := filepath.Join("testdata", "matrix.txt")
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(b.String(), "\n")); d != "" {
		t.Errorf("the roles changed; if that is meant, run with -update (-want +got):\n%s", d)
	}
}

func verbs(t *entity.Type) []policy.Verb {
	vs := []policy.Verb{policy.View, policy.Create, policy.Edit, policy.Delete, policy.Comment}
	for _, a := range t.Actions {
		vs = append(vs, policy.Verb(a.Name))
	}
	return vs
}

// fields renders what a grant reaches: facets where they fit, otherwise the
// fields, and what else bounds it.
func fields(t *entity.Type, g *policy.Grant) string {
	var facets []string
	var m entity.Mask
	for _, f := range []entity.Facet{
		entity.Core, entity.FacetCRM, entity.FacetBilling, entity.FacetService, entity.FacetStock, entity.FacetDebtors,
		entity.FacetAgents, entity.FacetHelpdesk, entity.FacetAdmin,
	} {
		if fm := t.FacetMask(f); fm != 0 && g.Mask&fm == fm {
			facets = append(facets, string(f))
			m |= fm
		}
	}
	out := strings.Join(facets, "+")
	if m != g.Mask {
		var names []string
		for no := range uint8(64) {
			if g.Mask.Has(no) {
				names = append(names, t.FieldNo(no).Name)
			}
		}
		out = strings.Join(names, ",")
	}
	for _, x := range []struct {
		on   bool
		word string
	}{{g.Context, "context"}, {g.Personal, "personal"}, {g.House, "in-house"}, {!g.Named, "everything"}} {
		if x.on {
			out += " " + x.word
		}
	}
	for _, c := range g.While {
		out += fmt.Sprintf(" while %s in %s", c.Path, strings.Join(c.OneOf, "|"))
	}
	for _, u := range g.Unless {
		out += fmt.Sprintf(" unless %s in %s (%s)", u.Path, strings.Join(u.OneOf, "|"), u.Clause)
	}
	return out
}

// TestReadOnlyRolesWriteNothing holds the roles that the manual calls read
// only against everything but viewing.
func TestReadOnlyRolesWriteNothing(t *testing.T) {
	cat, roles := catalogue(t), compiled(t)
	for _, key := range []string{
		"service.sales-representative", "service.guest-agent", "service.guest", "mobile.service-agent-user", "crm.guest-manager", "crm.guest",
		"sales.guest-manager", "sales.guest", "billing.sales-representative", "billing.guest", "stock.sales-representative", "stock.guest",
	} {
		for _, typ := range cat.Types {
			for _, v := range verbs(typ) {
				if v != policy.View && len(roles[key].For(typ, v)) > 0 {
					t.Errorf("%s may %s %s", key, v, typ.Name)
				}
			}
		}
	}
}

// TestMobileRoleGrantsNothing: MOB-3.
func TestMobileRoleGrantsNothing(t *testing.T) {
	if n := len(compiled(t)["mobile.service-agent-user"].Grants); n != 0 {
		t.Errorf("the mobile role grants %d things", n)
	}
}

// TestOnlyAdministratorsDecideRights: reading 29, and 16: nobody else writes
// what decides rights.
func TestOnlyAdministratorsDecideRights(t *testing.T) {
	cat, roles := catalogue(t), compiled(t)
	for _, name := range []string{
		"employee", "roleAssignment", "individualPermission", "clientVisibility", "visibilityRule", "onsiteClient",
		"organizationalRole", "schedulingRole",
	} {
		typ := cat.Type(name)
		for key, c := range roles {
			for _, v := range verbs(typ) {
				if v == policy.View {
					continue
				}
				if got := len(c.For(typ, v)) > 0; got && key != "level.customer-administrator" {
					t.Errorf("%s may %s %s", key, v, name)
				}
			}
		}
	}
	// And the visibility of clients is not even seen.
	for key, c := range roles {
		for _, n := range []string{"clientVisibility", "visibilityRule"} {
			if key != "level.customer-administrator" && len(c.For(cat.Type(n), policy.View)) > 0 {
				t.Errorf("%s sees %s", key, n)
			}
		}
	}
}

// TestAdministratorsEditOnlyAdmin: reading 31.
func TestAdministratorsEditOnlyAdmin(t *testing.T) {
	cat, c := catalogue(t), compiled(t)["level.customer-administrator"]
	for _, typ := range cat.Types {
		if typ.In(entity.Everyone) && !typ.In(entity.Admin) {
			if len(c.For(typ, policy.View)) > 0 {
				t.Errorf("sees other people's %s", typ.Name)
			}
			continue
		}
		var m entity.Mask
		for _, g := range c.For(typ, policy.View) {
			m |= g.Mask
		}
		if m != typ.All() {
			t.Errorf("sees not all of %s", typ.Name)
		}
		for _, v := range verbs(typ) {
			if v != policy.View && !typ.In(entity.Admin) && len(c.For(typ, v)) > 0 {
				t.Errorf("may %s %s", v, typ.Name)
			}
		}
	}
}

// TestStatusesBelongToTheirApp: reading 23 and 35: the owning app's roles
// alone approve, send, activate, void, and move a client to another area.
func TestStatusesBelongToTheirApp(t *testing.T) {
	cat, roles := catalogue(t), compiled(t)
	for _, c := range []struct {
		typ   string
		verbs []policy.Verb
		may   []string
	}{
		{"invoice", []policy.Verb{"approve"}, []string{"billing.administrator"}},
		{"invoice", []policy.Verb{"send"}, []string{"billing.administrator", "billing.agent"}},
		{"invoice", []policy.Verb{"void"}, []string{"debtors.administrator"}},
		{"contract", []policy.Verb{"activate"}, []string{"billing.administrator"}},
		{"client", []policy.Verb{"set-area"}, []string{
			"crm.administrator", "crm.manager", "sales.administrator", "sales.manager", "sales.operations",
		}},
		{"client", []policy.Verb{"archive", "restore"}, []string{
			"crm.administrator", "crm.manager", "billing.administrator", "service.administrator", "stock.administrator",
			"sales.administrator", "debtors.administrator", "debtors.operations",
		}},
		{"task", []policy.Verb{"bulk-delete"}, []string{"crm.administrator", "sales.administrator", "sales.manager"}},
	} {
		for key, r := range roles {
			for _, v := range c.verbs {
				if got, want := len(r.For(cat.Type(c.typ), v)) > 0, slices.Contains(c.may, key); got != want {
					t.Errorf("%s may %s a record of %s: %v", key, v, c.typ, got)
				}
			}
		}
	}
}

// TestDeleteIsForFew: reading 10: administrators, the roles that do anything
// but named exceptions, and owners of their own work and of what is private.
func TestDeleteIsForFew(t *testing.T) {
	cat, roles := catalogue(t), compiled(t)
	may := []string{
		"crm.administrator", "billing.administrator", "service.administrator", "stock.administrator", "sales.administrator",
		"debtors.administrator", "agents.accounting-administrator", "level.customer-administrator", "base",
		"service.manager", "sales.manager", "billing.agent", "stock.controller",
	}
	owners := []string{"crm.manager", "crm.representative", "crm.operations", "sales.representative", "sales.operations"}
	for key, c := range roles {
		for _, typ := range cat.Types {
			// Taking a tag off is no deleting of anybody's work.
			if typ.Name == "tagging" {
				continue
			}
			own := slices.Contains(owners, key) && slices.Contains([]string{"activity", "task", "opportunity"}, typ.Name)
			for _, g := range c.For(typ, policy.Delete) {
				if !slices.Contains(may, key) && (!own || g.Scope.Op != policy.OpSelf) {
					t.Errorf("%s may delete %s by %s", key, typ.Name, g.Clause)
				}
			}
		}
	}
}

// TestNobodyWritesWhatTheyDontRead: in every role, each field that it lets
// somebody fill in or change is one that it, or Base, shows of some record.
func TestNobodyWritesWhatTheyDontRead(t *testing.T) {
	cat, roles := catalogue(t), compiled(t)
	for key, c := range roles {
		for _, typ := range cat.Types {
			var read entity.Mask
			for _, r := range []*policy.Compiled{c, roles["base"]} {
				for _, g := range r.For(typ, policy.View) {
					read |= g.Mask
				}
			}
			for _, v := range []policy.Verb{policy.Create, policy.Edit} {
				for _, g := range c.For(typ, v) {
					if g.Mask&^read != 0 {
						t.Errorf("%s may %s fields of %s by %s that it does not show", key, v, typ.Name, g.Clause)
					}
				}
			}
		}
	}
}
