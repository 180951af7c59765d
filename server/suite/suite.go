// Package suite puts together what every tenant of a server shares: the types
// of all modules, the roles, what a field device carries and what people are
// told of, checked against each other. App hands it to the core; tests start from it.
package suite

import (
	"sync"

	"satchel/internal/entity"
	"satchel/internal/policy"
	"satchel/server/module"
	"satchel/server/notify"
	"satchel/server/roles"
	"satchel/sync/outbox"
	"satchel/sync/subject"
)

// Suite is the business side of this program.
type Suite struct {
	Cat   *entity.Catalogue
	Roles *subject.Roles
	Field []policy.Selection
	Rules *outbox.Rules
}

// Load returns it, built once; every error is a fault of the declarations.
var Load = sync.OnceValues(func() (*Suite, error) {
	cat, err := module.Catalogue()
	if err != nil {
		return nil, err
	}
	compiled, err := roles.Compiled(cat)
	if err != nil {
		return nil, err
	}
	variants, err := roles.Variants(cat)
	if err != nil {
		return nil, err
	}
	rs, err := subject.NewRoles(cat, compiled, variants...)
	if err != nil {
		return nil, err
	}
	field := roles.Field()
	if err := policy.CheckProfile(cat, field); err != nil {
		return nil, err
	}
	rules, err := notify.Rules()
	if err != nil {
		return nil, err
	}
	return &Suite{cat, rs, field, rules}, nil
})
