// Package store is the ordered key/value engine beneath a tenant: numbered
// buckets, one writer, durable commits, snapshots. [Bolt] keeps a tenant in one
// file, with a journal beside it while it is open; [Mem] is the same in memory, for tests and simulations; [Stage] holds
// the writes of commands back until they are wanted. What the keys and values
// mean is the business of the packages above.
//
// It is the only package that knows bbolt. Everything under sync/ may import
// it; of Satchel it imports internal/durable and internal/fault.
//
// # Bytes on disk
//
// A store is one bbolt file (format version 2, pages of 4,096 bytes, freelist
// kept in the file). Each [Bucket] is a bucket at the top level whose name is
// one byte, the bucket's number. There are no nested buckets. Keys are 1 to
// 32,768 bytes, ordered as bytes; values may be empty.
//
// The row "format" of bucket 1 (Meta) holds the version of everything in the
// file as an unsigned varint:
//
//	1  the first version: buckets 1 to 18
//	2  bucket 19: every change has a row there, so that a program which
//	   writes none must not open the file
//	3  rows of bucket 7 that lead from push tokens to devices, and of buckets 12
//	   and 16 that news wait in: a program that keeps none up would have what is
//	   for one person pushed to the next user of the phone
//	4  rows of bucket 1 that say what is yet to be erased of a person
//	5  bucket 6 has a row for each entry of the log instead of one for each record
//	6  rows of bucket 15 that index the numbers of documents
//	7  commits may stand in a journal beside the file
//
// A program opens files of its own version or older. An older file is brought
// forward one version at a time, each in a transaction of its own that is
// verified before it is committed; a file of a newer version is refused.
//
// The bucket at the top level whose name is the byte 255 holds one row, "folded":
// the nonce of the journal that was written last (16 bytes) and the number of its
// last commit that is in the file (64 bits, little-endian). The journal itself is two
// files beside the store's, there while it is open and after a crash; their bytes
// are described in journal.go.
//
// A backup is such a file, as long as its pages in use, followed by a seal of 56
// bytes: "satchel-backup-1", the length of what comes before (64 bits,
// big-endian), and the SHA-256 of that. It can be opened as it is: bbolt writes
// over what lies behind the pages in use. Backups of earlier versions have none.
//
// A new store is made under another name in the same folder and linked into
// place when it is complete, so that a file of the right name is never half
// made.
package store
