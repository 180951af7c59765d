package rest_test

// stockClauses are the cases of Stock.
var stockClauses = map[string][]step{}
