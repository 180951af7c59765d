// Package spool keeps files that are made to be sent, each until it was: whoever
// takes one slowly holds no state of a tenant open meanwhile, and what can't be
// made is answered as a refusal, never by half of it. They stand beside the data,
// are bounded by the reserve of its disk, and what a process that was killed left
// is removed when the next one starts. It is imported by server/rest, for exports,
// and by internal/app, for the copies of backups.
package spool

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"satchel/internal/durable"
	"satchel/internal/fault"
	"satchel/sync/store"
)

// lookEvery is after how many bytes it is looked again what the disk has left:
// others write meanwhile.
const lookEvery = 8 << 20

// Folder is where files stand until they were sent. It is good for many at once.
type Folder struct {
	// Free says how many bytes the disk of a folder has left; an error, that it
	// can't be asked.
	Free func(dir string) (uint64, error)

	dir     string
	reserve uint64 // bytes of the disk that are left free
}

// Open returns a folder, emptied; it is made once there is something to keep.
// reserve is how many bytes of the disk its files leave free, 0 for
// [store.DefaultReserve].
func Open(dir string, reserve uint64) (*Folder, error) {
	if reserve == 0 {
		reserve = store.DefaultReserve
	}
	f := &Folder{Free: store.Free, dir: dir, reserve: reserve}
	left, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	for _, e := range left {
		err = errors.Join(err, os.Remove(filepath.Join(dir, e.Name())))
	}
	return f, err
}

// Temporary returns the system's folder for temporary files, which is shared and
// therefore not emptied: for servers that keep no data in a folder.
func Temporary() *Folder {
	return &Folder{Free: store.Free, dir: os.TempDir(), reserve: store.DefaultReserve}
}

// Dir is the folder's path. Whoever writes there by other means than Create asks
// Room.
func (f *Folder) Dir() string { return f.dir }

// Room refuses with [fault.DiskFull] to write so many bytes where they would reach
// into the reserve. A disk that can't be asked shows that it is full by a failed
// write.
func (f *Folder) Room(bytes uint64) error {
	free, err := f.Free(f.dir)
	if err != nil || free >= bytes && free-bytes >= f.reserve {
		return nil //nolint:nilerr // see above
	}
	return fault.New(fault.DiskFull).Because(fmt.Errorf("%d bytes free in %s, %d wanted beside the reserve", free, f.dir, bytes))
}

// Create makes a file that so many bytes are known to come into, 0 for not known.
// It refuses with [fault.DiskFull] where they would reach into the reserve.
// pattern is as [os.CreateTemp] takes it.
func (f *Folder) Create(pattern string, bytes uint64) (*File, error) {
	if err := durable.MkdirAll(f.dir); err != nil {
		return nil, err
	}
	if err := f.Room(bytes); err != nil {
		return nil, err
	}
	file, err := os.CreateTemp(f.dir, pattern)
	if err != nil {
		return nil, err
	}
	return &File{file: file, in: f}, nil
}

// File is written, read from its beginning once it was rewound, and gone once it
// is closed.
type File struct {
	file  *os.File
	in    *Folder
	since int // written since it was looked what the disk has left
}

// Write refuses with [fault.DiskFull] what would reach into the reserve.
func (f *File) Write(b []byte) (int, error) {
	if f.since += len(b); f.since >= lookEvery {
		f.since = 0
		if err := f.in.Room(uint64(len(b))); err != nil {
			return 0, err
		}
	}
	return f.file.Write(b)
}

// Rewind goes back to the beginning and returns how many bytes were written.
func (f *File) Rewind() (int64, error) {
	st, err := f.file.Stat()
	if err != nil {
		return 0, err
	}
	_, err = f.file.Seek(0, io.SeekStart)
	return st.Size(), err
}

// Read reads what was written.
func (f *File) Read(b []byte) (int, error) { return f.file.Read(b) }

// Close closes and removes the file.
func (f *File) Close() error { return errors.Join(f.file.Close(), os.Remove(f.file.Name())) }
