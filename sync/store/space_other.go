//go:build !linux && !darwin && !freebsd && !windows

package store

import "errors"

// Free returns [errors.ErrUnsupported]: this platform is not asked.
func Free(string) (uint64, error) { return 0, errors.ErrUnsupported }

// fileSizeLimit says that nothing is known of a limit.
func fileSizeLimit() (bytes uint64, limited bool) { return 0, false }

// outOfSpace reports false: then the outcome of the commit is unknown.
func outOfSpace(error) bool { return false }
