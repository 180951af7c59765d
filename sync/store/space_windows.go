package store

import (
	"errors"
	"fmt"

	"golang.org/x/sys/windows"
)

// Free returns the bytes that can still be written on the volume of dir.
func Free(dir string) (uint64, error) {
	name, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, fmt.Errorf("store: free space of %s: %w", dir, err)
	}
	var free uint64
	if err := windows.GetDiskFreeSpaceEx(name, &free, nil, nil); err != nil {
		return 0, fmt.Errorf("store: free space of %s: %w", dir, err)
	}
	return free, nil
}

// fileSizeLimit says that there is none.
func fileSizeLimit() (bytes uint64, limited bool) { return 0, false }

// outOfSpace reports whether a write failed because the volume or a quota is
// full.
func outOfSpace(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL) || errors.Is(err, windows.ERROR_DISK_QUOTA_EXCEEDED)
}
