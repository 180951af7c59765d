// Package bits holds sets of record ordinals: who may see what, what belongs
// to what, what a device holds. A [Set] is a value: every operation returns a
// new one and leaves its inputs as they were, and sets that are alike share
// memory, so that keeping many near-identical sets (one per device, one per
// policy) costs little and a set that was handed out never changes under its
// reader.
//
// A set is cut into chunks of 65,536 ordinals. A chunk is what is copied when
// one ordinal changes, and what is one row of a store: see [Set.Chunks],
// [Changed] and [Decode].
//
// # Bytes
//
// A chunk row and [Set.AppendTo] are both roaring bitmaps in the portable
// format (https://github.com/RoaringBitmap/RoaringFormatSpec) of the full
// 32-bit ordinals, so that any roaring library reads one row by itself. Equal
// sets have equal bytes, whatever the order in which they came about.
//
// The package knows nothing of Satchel; all of it may import it.
package bits
