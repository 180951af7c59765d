// Package durable changes files and names in such a way that they outlive a
// power cut once the call has returned. A file's bytes and its name are made
// durable apart from each other: syncing a file says nothing of the folder that
// names it, and a rename, a link or a new folder lasts only when the folder it
// stands in was synced too. Anything may import it; it imports nothing of
// Satchel.
package durable

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// WriteFile writes a file whole or not at all: path has the old content, or
// none, until it has the new. The file is readable by its owner alone. What a
// crash may leave beside it is named ".new-*".
func WriteFile(path string, b []byte) error {
	return Write(path, func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	})
}

// Write is WriteFile for content that is written by fn. An error of fn's is
// returned as it is, and path stays as it was.
func Write(path string, fn func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) //nolint:errcheck // gone after the rename
	if err := f.Chmod(0o600); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := fn(f); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	return Rename(f.Name(), path)
}

// Rename gives a file, whose content is durable already, another name; what had
// that name is gone.
func Rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	if err := SyncDir(filepath.Dir(to)); err != nil || filepath.Dir(from) == filepath.Dir(to) {
		return err
	}
	return SyncDir(filepath.Dir(from))
}

// MkdirAll makes a folder and those above it that are missing, for their owner
// alone. A folder that is there already is taken to be durable.
func MkdirAll(path string) error {
	switch st, err := os.Stat(path); {
	case err == nil && st.IsDir():
		return nil
	case err == nil:
		return fmt.Errorf("%s is no folder", path)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	parent := filepath.Dir(path)
	if parent != path {
		if err := MkdirAll(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return SyncDir(parent)
}

// SyncDir makes the names in a folder durable, where the platform can.
func SyncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // a folder can't be opened for it, and NTFS journals names
	}
	return Sync(dir)
}

// Sync makes the content of a file durable that was written through another
// handle.
func Sync(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
