package roles

import "satchel/internal/policy"

// crmRoles are the roles of CRM.
var crmRoles []*policy.Role
