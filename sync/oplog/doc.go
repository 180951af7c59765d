// Package oplog is the ordered durable log of a tenant: everything that ever
// changed it, in order. An entry and what it does to the state are one commit,
// so that after a crash both are there or neither is.
//
// [Log] is the seam: this package keeps the log in the tenant's own store; one
// that is shared by several machines implements the same interface and must
// pass the suite in oplogtest. A [Folder] turns entries into state.
//
// What applies entries (sync/apply) and what wires the parts together may
// import it; it imports internal/ident and sync/store.
//
// # Bytes on disk
//
// Bucket Log holds one row per entry. Its key is the position, 8 bytes
// big-endian; positions have no gaps. Its value is, with every number an
// unsigned varint in its shortest form unless said:
//
//	1 byte   codec version, 1
//	         epoch
//	         position, the same as the key's
//	         time, milliseconds, zigzag
//	         apply version
//	         length of proposer, proposer
//	         number
//	         count of commands, then for each its length and its bytes
//	4 bytes  CRC-32C (Castagnoli) of all bytes before, little-endian
//
// Bucket Meta holds these rows, written in the same commit as the entry:
//
//	"log/epoch"       the log's epoch, varint
//	"log/bounds"      floor and last position, two varints
//	"log/p/" NAME     for each proposer: its last number, the position of it
//
// Truncation deletes entries below a floor. It keeps the proposers' rows, all
// of them and for good (some 40 bytes for each start of a server), so that a
// retry of a proposer's last entry is recognized even when the entry is gone.
package oplog
