package roles

import (
	"satchel/internal/entity"
	"satchel/internal/policy"
)

// MobileServiceAgentUser opens the Mobile Service Agent module and nothing
// else: its endpoints, the field profile and push ask for this role, and the
// phone then shows what the person's other roles let them see.
var MobileServiceAgentUser = &policy.Role{
	Key: "mobile.service-agent-user", Title: "Mobile service agent user", App: entity.Service,
	Clauses: policy.Clauses{
		policy.May().As("MOB-1"),
		policy.May().As("MOB-2"),
		policy.May().As("MOB-3"),
	},
}
