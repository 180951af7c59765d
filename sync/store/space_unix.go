//go:build linux || darwin || freebsd

package store

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Free returns the bytes that can still be written on the file system of dir.
func Free(dir string) (uint64, error) {
	var s unix.Statfs_t
	for {
		switch err := unix.Statfs(dir, &s); err {
		case nil:
			return uint64(max(int64(s.Bavail), 0)) * uint64(s.Bsize), nil
		case unix.EINTR:
		default:
			return 0, fmt.Errorf("store: free space of %s: %w", dir, err)
		}
	}
}
