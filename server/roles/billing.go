package roles

import "satchel/internal/policy"

// billingRoles are the roles of Billing.
var billingRoles []*policy.Role
