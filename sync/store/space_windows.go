package store

import (
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
