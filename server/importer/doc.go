// Package importer brings the CSV files of other systems into a tenant. What
// becomes of which column is said by a mapping, a JSON document; the program
// knows nothing of any particular source. Two mappings come with it, for the
// AdventureWorks sample and for the requests of the St. Louis Citizens'
// Service Bureau. cmd/satchel and tests import the package; it writes through
// a [Submitter] and knows no tenant.
//
// # Rows
//
// Ids derive from the source's own keys, so that a second run finds what the
// first one made. A source may say what its rows are about: a later row of the
// same key is laid over the first before any rule sees them. Rows of one rule
// that lead to the same id are folded into one record before anything is sent:
// the later row's values stand, or the first one's where the rule says so. The
// further rows count as repeated, of the source and of the rule.
//
// A row that can't be taken goes to the rejects, once, with its file, line and
// reason: text that is not in the source's encoding, a number of columns other
// than the header's, a quote out of place, a required value that is missing, a
// value that is in no value map, a reference to nothing, a record that the
// tenant refuses, or no rule that wants it. From there on it is out: later
// rules don't see it. The reason names what earlier rules had taken of it.
// Times that contradict each other don't cost a row: see Value.NotBefore.
//
// Of each rule, the rows it wants are all accounted for:
//
//	rows = created + changed + same + repeated + rejected
//
// and of each source that rules read from:
//
//	rows = taken + repeated + rejected
//
// Run checks both and fails rather than report sums that don't hold.
// Everything that can be found out beforehand is found out before the first
// row is sent: files and columns that are missing, an empty file, a mapping
// that doesn't fit the catalogue.
package importer
