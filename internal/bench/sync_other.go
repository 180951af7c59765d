//go:build !linux

package bench

import "os"

// datasync makes a file's content durable, as the store does.
func datasync(f *os.File) error { return f.Sync() }
