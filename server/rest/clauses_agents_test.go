package rest_test

// agentsClauses are the cases of Agents, and of what only administrators do.
var agentsClauses = map[string][]step{}
