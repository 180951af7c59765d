// Package column keeps values of a tenant's records by field, in memory, so
// that lists over a million records are filtered, searched and sorted without
// reading records. It only finds: what it returns is a short list of records
// among which the answer is, and the caller reads those and judges them anew.
// Columns are derived, built when first wanted and dropped when memory is
// short; DESIGN.md says how they stay true.
//
// Package tenant owns a tenant's columns, server/rest asks them.
package column
