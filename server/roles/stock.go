package roles

import "satchel/internal/policy"

// stockRoles are the roles of Stock.
var stockRoles []*policy.Role
