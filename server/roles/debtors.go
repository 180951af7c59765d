package roles

import "satchel/internal/policy"

// debtorsRoles are the roles of Debtors.
var debtorsRoles []*policy.Role
