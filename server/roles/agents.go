package roles

import "satchel/internal/policy"

// agentsRoles are the roles of Agents.
var agentsRoles []*policy.Role
