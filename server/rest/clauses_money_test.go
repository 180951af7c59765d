package rest_test

// moneyClauses are the cases of Billing and Debtors.
var moneyClauses = map[string][]step{}
