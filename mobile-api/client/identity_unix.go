//go:build unix

package client

import (
	"os"
	"syscall"
)

func identify(path string) fileIdentity {
	id := fileIdentity{Path: path}
	if fi, err := os.Stat(path); err == nil {
		if st, ok := fi.Sys().(*syscall.Stat_t); ok {
			//nolint:unconvert // the fields' widths differ between systems
			id.Device, id.Inode = uint64(st.Dev), uint64(st.Ino)
		}
	}
	return id
}
