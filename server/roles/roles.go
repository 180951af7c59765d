// Package roles is the permission manual as Go: one file an app, one literal a
// role, one clause a sentence. The clauses' ids are the manual's; what a
// sentence needs besides stands under its id and a word, as in
// "SVC-ENG-3/write". Clauses without a verb grant nothing: they stand where
// the manual says something that the core enforces. The package is imported by
// internal/app, which hands the compiled roles down.
package roles

import (
	"errors"
	"fmt"
	"slices"

	"satchel/internal/entity"
	"satchel/internal/policy"
	"satchel/server/module/admin"
	"satchel/server/module/attach"
	"satchel/server/module/crm"
)

// All lists every role, Base among them.
func All() []*policy.Role {
	return slices.Concat(
		[]*policy.Role{Base},
		crmRoles, salesRoles, billingRoles, serviceRoles, stockRoles, debtorsRoles, agentsRoles,
		[]*policy.Role{MobileServiceAgentUser},
		[]*policy.Role{CustomerAdministrator, Basic, TicketManager, OnsiteManager},
	)
}

// Compiled compiles every role against the catalogue, by key. Errors are
// faults in the declarations, all of them joined.
func Compiled(cat *entity.Catalogue) (map[string]*policy.Compiled, error) {
	out := map[string]*policy.Compiled{}
	var errs []error
	for _, r := range All() {
		if out[r.Key] != nil {
			errs = append(errs, fmt.Errorf("roles: %s is declared twice", r.Key))
			continue
		}
		c, err := policy.Compile(cat, r)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		out[r.Key] = c
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return out, nil
}

// Variants are what stands in for a role of the manual while a tenant's setting
// is on.
func Variants(cat *entity.Catalogue) ([]policy.Variant, error) {
	c, err := policy.Compile(cat, guestAgentOwnJobs)
	if err != nil {
		return nil, err
	}
	return []policy.Variant{{Setting: admin.GuestAgentOwnJobs, Role: c}}, nil
}

// anything and anyWrite are what "everything" and "read only" mean.
var (
	anything = []policy.Verb{policy.View, policy.Create, policy.Edit, policy.Delete, policy.Comment, policy.AnyAction}
	anyWrite = []policy.Verb{policy.Create, policy.Edit, policy.Delete, policy.Comment, policy.AnyAction}
)

// noPublicFilters takes public filters from a role that makes everything else;
// private ones are everybody's own.
func noPublicFilters(id string) *policy.Clause {
	return policy.MayNot(policy.Create, policy.Edit, policy.Delete).On(crm.Filter).When("visibility", attach.Public).As(id)
}

// noPublicTags takes public tags from a role likewise.
func noPublicTags(id string) *policy.Clause {
	return policy.MayNot(policy.Create, policy.Edit, policy.Delete).On(crm.Tag).When("visibility", attach.Public).As(id)
}
