package durable

import (
	"os"
	"syscall"
)

// Data makes a file's content durable, and its length where that changed; of
// what else is known of it, as its times, nothing is waited for.
func Data(f *os.File) error {
	for {
		if err := syscall.Fdatasync(int(f.Fd())); err != syscall.EINTR {
			return err
		}
	}
}
