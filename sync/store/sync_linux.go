package store

import (
	"os"
	"syscall"
)

// datasync makes a file's content durable, and its length where that changed.
func datasync(f *os.File) error {
	for {
		if err := syscall.Fdatasync(int(f.Fd())); err != syscall.EINTR {
			return err
		}
	}
}
