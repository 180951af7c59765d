// Package outbox says what is to be told to whom when a record changes, and
// keeps what is still to be sent. Rules are declared by the server's modules
// and handed down; apply runs them in the transaction of the change and writes
// what follows: a notification, which is a record like any other, and an
// [Intent] for whatever has to leave the server. The courier reads intents and
// reports back through the log.
//
// # Rows of the Outbox bucket
//
//	'i' id                                   Intent as JSON
//	'n' instant i64 (sign bit flipped), id   nothing: when the intent is looked at next
//	'b', 'c', 'r', 'u'                       apply's: mail that came back, and notifications by age
//
// An intent is there as long as something of it is left to do. Its id begins
// with the instant it was made at, so that the first row is the oldest.
//
// It imports entity, ident and store alone. Apply, tenant, the courier and the
// declarations of the rules import it.
package outbox
