package roles

import "satchel/internal/policy"

// salesRoles are the roles of Sales.
var salesRoles []*policy.Role
