// Package audit is the trail of who did what when: a row for every change of a
// record and for what concerns signing in, written in the transaction of the
// change, each bound to the one before it by a hash. It writes, reads, checks
// and shortens the trail and decides nothing: sync/apply says what happened,
// server/rest who may read it. It imports sync/store and internal/entity and
// may be imported by everything above them. DESIGN.md says why it is as it is.
//
// # Bytes
//
// Bucket Audit. Numbers in keys are big-endian:
//
//	'd' ordinal u32             position u64, n u32 of the row of its removal
//	'r' position u64, n u32     a row; n counts from 0 within the log entry
//
// A row, of which the head is never written again:
//
//	32 bytes  hash: SHA-256(hash of the row before, key, head)
//	uvarint   length of the head
//	head:
//	  1         version 1
//	  1         operation, see Op
//	  1         flags: 1 the record was removed; 2 the content has values from
//	            before; 4 it has values from after; 8 there is content; 16 of
//	            which only the hash was kept
//	  uvarint   tenant time, milliseconds
//	  varint    when it was done for the person, less tenant time
//	  texts     actor, session, device, for whom, name, each uvarint n, n bytes
//	  uvarint   type number
//	  uvarint   ordinal of the record
//	  texts     id of the record, client
//	  uvarint   position of the record's change before this one, 0 for none
//	  uvarint   mask of the changed fields
//	  32        SHA-256(salt, content); only with flag 8
//	1         what is left of the content: 0 there is none, 1 kept, 2 the salt
//	          alone, 3 erased
//	12        salt; of kept content and where it is alone
//	content   for each changed field in ascending order the values before and
//	          after, as the flags say: uvarint n, n bytes of JSON, 0 for none
//
// Bucket Meta, both as position u64, n u32, rows up to there u64, hash 32:
//
//	"audit"     the last row
//	"auditCut"  the row before the first that is kept; where nothing was cut,
//	            the position before the trail's first, with Genesis for a hash
package audit
