//go:build linux || darwin || freebsd

package store

import (
	"errors"
	"fmt"
	"math"
	"strings"

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

// fileSizeLimit returns how long this process may make a file, in bytes; not
// limited where it may make it as long as it likes.
func fileSizeLimit() (bytes uint64, limited bool) {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &l); err != nil || uint64(l.Cur) >= math.MaxInt64 {
		return 0, false
	}
	return uint64(l.Cur), true
}

// outOfSpace reports whether a write failed because nothing more may be written:
// the disk or a quota is full, or the file may not grow.
func outOfSpace(err error) bool {
	for _, full := range []unix.Errno{unix.ENOSPC, unix.EDQUOT, unix.EFBIG} {
		// bbolt keeps of an error while it makes a file longer only the words.
		if errors.Is(err, full) || strings.HasSuffix(err.Error(), full.Error()) {
			return true
		}
	}
	return false
}
