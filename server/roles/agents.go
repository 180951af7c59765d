package roles

import (
	"satchel/internal/entity"
	"satchel/internal/policy"
	"satchel/server/module/agents"
	"satchel/server/module/crm"
)

// agentsRoles are the roles of Agents.
var agentsRoles = []*policy.Role{AgentsAccountingAdministrator}

// AgentsAccountingAdministrator settles with the agents: their rates, what
// accrues to them, their invoices and statements.
var AgentsAccountingAdministrator = &policy.Role{
	Key: "agents.accounting-administrator", Title: "Agents accounting administrator", App: entity.Agents,
	Clauses: policy.Clauses{
		policy.May(anything...).OnEverything().Except(crm.Client).As("AGT-ADMIN-1"),
		// Clients are only picked: whom an agent looks after and earns with.
		policy.May(policy.View).On(crm.Client).Through(entity.Core).As("AGT-ADMIN-1/clients"),
		// A statement's lines come and go with it.
		policy.MayNot(policy.Create, policy.Edit, policy.Delete).On(agents.StatementLine).As("AGT-ADMIN-1/lines"),
	},
}
