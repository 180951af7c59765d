package simtest

import (
	"slices"
	"sync"

	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/internal/policy"
	"satchel/server/roles"
	"satchel/server/suite"
	"satchel/sync/apply"
	"satchel/sync/store"
	"satchel/sync/subject"
)

// suites are the programs that a tenant is run by, one after another: the
// present one, one whose roles differ, and both with record types of which part
// is new to older apps.
type suites struct {
	plain, evolved   apply.Config
	altered, another apply.Config // the roles of plain and evolved changed
}

// novelties are the fields that the second edition of the record types brought.
var novelties = map[string][]string{
	"client": {"accessNotes", "city"}, "jobActivity": {"note"}, "ticket": {"due"}, "task": {"notes"}, "invoice": {"remarks"},
	"opportunity": {"notes"}, "salesOrder": {"notes"}, "comment": {"text"}, "product": {"description"}, "accrual": {"text"},
}

// worlds makes the suites, once: the types are shared and indexed in place.
var worlds = sync.OnceValue(func() *suites {
	all, err := suite.Load()
	must(err)
	cat, err := entity.NewCatalogue(all.Cat.Types...)
	must(err)
	must(cat.Evolve(entity.Edition{Version: 2, Fields: novelties}))
	return &suites{
		plain:   apply.Config{Cat: all.Cat, Roles: all.Roles, Field: all.Field, Rules: all.Rules, ChangeBlock: changeBlock},
		altered: apply.Config{Cat: all.Cat, Roles: rolesFor(all.Cat, true), Field: all.Field, Rules: all.Rules, ChangeBlock: changeBlock},
		evolved: apply.Config{Cat: cat, Roles: rolesFor(cat, false), Field: all.Field, Rules: all.Rules, ChangeBlock: changeBlock},
		another: apply.Config{Cat: cat, Roles: rolesFor(cat, true), Field: all.Field, Rules: all.Rules, ChangeBlock: changeBlock},
	}
})

// rolesFor compiles the roles of the manual; altered, some lose fields and one
// is another altogether.
func rolesFor(cat *entity.Catalogue, altered bool) *subject.Roles {
	compiled, err := roles.Compiled(cat)
	must(err)
	if altered {
		for _, r := range roles.All() {
			c := *r
			switch r.Key {
			case "service.engineer", "service.manager", "level.ticket-manager", "crm.manager", "sales.representative", "stock.controller",
				"billing.administrator", "agents.accounting-administrator":
				c.Cut = []string{"client.name", "jobActivity.note", "ticket.subject", "task.title", "invoice.remarks", "salesOrder.notes", "accrual.text"}
			case "service.guest", "crm.guest", "stock.guest", "billing.guest":
				i := slices.IndexFunc(roles.All(), func(o *policy.Role) bool {
					return o.Key == map[string]string{
						"service.guest": "service.manager", "crm.guest": "crm.representative", "stock.guest": "stock.sales-representative",
						"billing.guest": "billing.sales-representative",
					}[r.Key]
				})
				c.Clauses = roles.All()[i].Clauses
			default:
				continue
			}
			compiled[r.Key], err = policy.Compile(cat, &c)
			must(err)
		}
	}
	variants, err := roles.Variants(cat)
	must(err)
	rs, err := subject.NewRoles(cat, compiled, variants...)
	must(err)
	return rs
}

// changeBlock is how many entries the change index joins: few, so that phones
// meet rows of every size.
const changeBlock = 8

// grown reports whether the record types have their second edition.
func (s *sim) grown() bool { return s.cfg.Cat == s.suites.evolved.Cat }

// choose picks the program to be run next.
func (s *sim) choose(grown, altered bool) {
	switch {
	case grown && altered:
		s.cfg = s.suites.another
	case grown:
		s.cfg = s.suites.evolved
	case altered:
		s.cfg = s.suites.altered
	default:
		s.cfg = s.suites.plain
	}
	s.altered = altered
	// The judge reads by the types alone, which are the same.
	s.cat = s.cfg.Cat
	_, last := s.log.Bounds()
	s.eras = append(s.eras, era{last, s.cfg})
}

// newerThan are the fields, by type, that an app of the schema version does not
// know; nil for none.
func (s *sim) newerThan(schema int) map[string][]string {
	if !s.grown() || len(s.cfg.Cat.After(schema)) == 0 {
		return nil
	}
	return novelties
}

// templates are tenants as they are set up, by theme: to make one anew for
// every history would take a tenth of the time.
var templates [5]struct {
	once sync.Once
	mem  *store.Mem
}

// template returns the store of a tenant that is set up, and the log's end.
func (s *sim) template() *store.Mem {
	i := slices.Index(themes, s.theme)
	t := &templates[i]
	t.once.Do(func() {
		x := newSim(int64(i))
		x.theme, x.proposer = s.theme, "setup"
		x.open()
		x.found()
		t.mem = x.eng.(*store.Mem)
		x.snap.Close()
	})
	return t.mem
}

// era is since which position a program is run.
type era struct {
	after ident.Position
	cfg   apply.Config
}
