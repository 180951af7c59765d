package rest_test

// sellingClauses are the cases of CRM and Sales.
var sellingClauses = map[string][]step{}
