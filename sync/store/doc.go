// Package store is the ordered key/value engine beneath a tenant: numbered
// buckets, one writer, durable commits, snapshots. [Bolt] keeps a tenant in one
// file; [Mem] is the same in memory, for tests and simulations; [Stage] holds
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
//
// A program opens files of its own version or older. An older file is brought
// forward one version at a time, each in a transaction of its own that is
// verified before it is committed; a file of a newer version is refused.
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
