package rest

import (
	"slices"

	"github.com/gofiber/fiber/v2"

	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/internal/policy"
	"satchel/server/edge"
	"satchel/sync/subject"
	"satchel/sync/tenant"
)

// principal is the caller, as the caller sees it.
type principal struct {
	ID     ident.RecordID `json:"id"`
	Name   string         `json:"name"`
	Kind   string         `json:"kind"`
	Client ident.RecordID `json:"client,omitempty"`
}

// menu is one app and its collections that have a list for the caller.
type menu struct {
	App  entity.App `json:"app"`
	Menu []string   `json:"menu"`
}

// me answers who the caller is and what there is to open.
func (s *Server) me(c *fiber.Ctx, caller *edge.Caller) error {
	if _, err := parameters(c); err != nil {
		return err
	}
	var out struct {
		Principal principal `json:"principal"`
		Roles     []string  `json:"roles"`
		Apps      []menu    `json:"apps"`
	}
	err := caller.Read(func(v *tenant.View, sub *policy.Subject) error {
		emp, ok := v.Load(sub.ID)
		if !ok {
			return notFound()
		}
		out.Principal = principal{sub.ID, emp.Get("name").Text(), sub.Kind, sub.Client}
		out.Roles = append([]string{}, sub.Roles...)
		out.Apps = s.menus(caller.Tenant.Roles(), v, sub)
		return nil
	})
	if err != nil {
		return err
	}
	return c.JSON(out)
}

// menus lists what stands in the person's menus: in each app the types of
// which a role of that app, or a grant for it, gives a root list.
func (s *Server) menus(roles *subject.Roles, v *tenant.View, sub *policy.Subject) []menu {
	known := map[[2]string][]entity.App{}
	apps := func(g *policy.Grant) []entity.App {
		k := [2]string{g.Role, g.Clause}
		if g.Role != individual {
			k[1] = ""
		}
		as, ok := known[k]
		if !ok {
			as = appsOf(roles, v, g)
			known[k] = as
		}
		return as
	}
	out := []menu{}
	for _, a := range entity.Apps {
		m := menu{App: a}
		for _, t := range s.cat.Types {
			if !t.In(a) {
				continue
			}
			if _, all := sub.Denied(t, policy.View); all {
				continue
			}
			for _, g := range sub.Grants(t, policy.View) {
				free := t.Root == "" && !t.IsClient
				if g.Personal || g.Context || (free && !sub.Admits(g)) || !slices.Contains(apps(g), a) {
					continue
				}
				m.Menu = append(m.Menu, t.CollectionIn(a))
				break
			}
		}
		if len(m.Menu) > 0 {
			out = append(out, m)
		}
	}
	return out
}

// individual is the role that grants made to one person alone bear.
const individual = "individual"

// appsOf returns the apps that a grant belongs to: those of its role and of
// what the role's sentences about everything speak of; of a tenant-made role,
// those of its base roles, as far as it keeps them.
func appsOf(roles *subject.Roles, v *tenant.View, g *policy.Grant) []entity.App {
	shipped := func(key string) []entity.App {
		c := roles.Shipped(key)
		if c == nil {
			return nil
		}
		as := []entity.App{c.Role.App}
		for _, cl := range c.Role.Clauses {
			if !cl.Refuse && cl.Types == nil {
				as = append(as, cl.Apps...)
			}
		}
		return as
	}
	if as := shipped(g.Role); as != nil {
		return as
	}
	id := g.Role
	if id == individual {
		id = g.Clause
	}
	rec, ok := v.Load(ident.RecordID(id))
	if !ok {
		return nil
	}
	switch rec.Type.Name {
	case subject.Permission:
		if a := rec.Get("app").Text(); a != "" {
			return []entity.App{entity.App(a)}
		}
		if t := v.Cat.Type(rec.Get("entityType").Text()); t != nil {
			return t.Apps[:1]
		}
	case subject.Organizational:
		keep := rec.Get("apps").Set()
		var as []entity.App
		for _, k := range rec.Get("baseRoles").Set() {
			for _, a := range shipped(k) {
				if len(keep) == 0 || slices.Contains(keep, string(a)) {
					as = append(as, a)
				}
			}
		}
		return as
	}
	return nil
}
