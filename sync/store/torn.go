package store

import "bytes"

// sectorSize is what a disk writes whole or not at all, in bytes.
const sectorSize = 512

// Torn returns what a power cut may leave of a store's file when it comes in
// the midst of a commit: before and after are the file's bytes as they were
// before the commit and as the commit would have left them, pick chooses one of
// n outcomes each time it is asked. It is for tests and simulations.
//
// A commit writes its pages in any order, waits until they are on the disk, and
// only then writes one of the two head pages. So either some sectors of the
// pages are there and no head page, or all pages and some sectors of the head.
// The file may have grown already. [OpenBolt] must find the state from before
// or the one from after in it, nothing between.
func Torn(before, after []byte, pick func(n int) int) []byte {
	image := make([]byte, len(after))
	copy(image, before)
	changed := func(at int) bool {
		end := min(at+sectorSize, len(after))
		return at >= len(before) || !bytes.Equal(before[at:min(end, len(before))], after[at:end])
	}
	write := func(at int) { copy(image[at:min(at+sectorSize, len(after))], after[at:]) }
	heads := min(2*pageSize, len(after))
	whole := pick(2) == 0
	// Some cuts come early, some late, some between.
	share := pick(5)
	for at := heads; at < len(after); at += sectorSize {
		if changed(at) && (whole || pick(4) < share) {
			write(at)
		}
	}
	if whole {
		for at := 0; at < heads; at += sectorSize {
			if changed(at) && pick(4) < share {
				write(at)
			}
		}
	} else if len(before) < len(after) && pick(2) == 0 {
		// Not even the length had been written, nor what lies beyond it.
		image = image[:len(before)]
	}
	return image
}
