// Package module puts the types of all apps together into the catalogue that
// the rest of the program walks. The apps' packages beneath it hold the
// declarations. It is imported by internal/app, by server/roles in tests, and
// by nothing in sync.
package module

import (
	"slices"
	"sync"

	"satchel/internal/entity"
	"satchel/server/module/admin"
	"satchel/server/module/agents"
	"satchel/server/module/billing"
	"satchel/server/module/crm"
	"satchel/server/module/debtors"
	"satchel/server/module/everyone"
	"satchel/server/module/helpdesk"
	"satchel/server/module/service"
	"satchel/server/module/stock"
)

// The declarations are shared and indexed in place, so they are indexed once.
var catalogue = sync.OnceValues(func() (*entity.Catalogue, error) {
	return entity.NewCatalogue(slices.Concat(
		crm.Types(), service.Types(), helpdesk.Types(), stock.Types(), billing.Types(),
		debtors.Types(), agents.Types(), admin.Types(), everyone.Types(),
	)...)
})

// Catalogue returns the catalogue of all types; the same one every time. An
// error is a fault in the declarations.
func Catalogue() (*entity.Catalogue, error) { return catalogue() }
