//go:build !linux && !darwin && !freebsd && !windows

package store

import "errors"

// Free returns [errors.ErrUnsupported]: this platform is not asked.
func Free(string) (uint64, error) { return 0, errors.ErrUnsupported }
