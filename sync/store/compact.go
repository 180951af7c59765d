package store

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	bolt "go.etcd.io/bbolt"
)

// compactBytes is how much Compact copies in one transaction.
const compactBytes = 32 << 20

// Compact copies the store in the file src, which no process may have open for
// writing, into a new file dst without its free pages. dst must not exist and
// does not appear before it is complete and checked. progress, unless nil, is
// told how many rows of how many are done. It leaves src as it is, but for folding
// what a crash left beside it.
func Compact(src, dst string, progress func(done, total int64)) (err error) {
	fail := func(err error) error { return fmt.Errorf("store: compacting %s: %w", src, err) }
	if _, err := os.Lstat(dst); err == nil {
		return fail(fmt.Errorf("%s: %w", dst, os.ErrExist))
	}
	if err := foldLeft(src); err != nil {
		return fail(err)
	}
	if err := checkHead(src); err != nil {
		return fail(err)
	}
	from, err := openMapped(src, Options{Timeout: DefaultTimeout}, 0, true)
	if err != nil {
		return fail(err)
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	// Under the lock, so that nobody writes.
	if HasJournal(src) {
		return fail(errors.New("beside it is a journal with commits that it may not have"))
	}
	if err := checkPages(src); err != nil {
		return fail(err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(dst), filepath.Base(dst)+".new-*")
	if err != nil {
		return fail(err)
	}
	defer os.Remove(tmp.Name()) //nolint:errcheck // gone after the rename
	if err := errors.Join(tmp.Chmod(0o600), tmp.Close()); err != nil {
		return fail(err)
	}
	to, _, err := openFile(tmp.Name(), Options{Timeout: DefaultTimeout, NoSync: true}, true)
	if err != nil {
		return fail(err)
	}
	err = guard(func() error {
		return from.View(func(tx *bolt.Tx) error { return copyRows(to, tx, progress) })
	})
	if err := errors.Join(err, to.Sync(), to.Close()); err != nil {
		return fail(err)
	}
	if err := checkPages(tmp.Name()); err != nil {
		return fail(err)
	}
	if _, err := os.Lstat(dst); err == nil {
		return fail(fmt.Errorf("%s: %w", dst, os.ErrExist))
	}
	if err := place(tmp.Name(), dst); err != nil {
		return fail(err)
	}
	return nil
}

// copyRows puts every row of src into to.
func copyRows(to *bolt.DB, src *bolt.Tx, progress func(done, total int64)) error {
	if src.Bucket(bucketName(Meta)) == nil {
		return errors.New("a bbolt file, but not a Satchel store")
	}
	var done, total int64
	if progress == nil {
		progress = func(_, _ int64) {}
	}
	err := src.ForEach(func(name []byte, b *bolt.Bucket) error {
		if !bytes.Equal(name, journalBucket) {
			total += int64(b.Stats().KeyN)
		}
		return nil
	})
	if err != nil {
		return err
	}
	progress(0, total)
	return src.ForEach(func(name []byte, b *bolt.Bucket) error {
		if bytes.Equal(name, journalBucket) {
			return nil // of the old file
		}
		c := b.Cursor()
		k, v := c.First()
		for first := true; first || k != nil; first = false {
			err := to.Update(func(tx *bolt.Tx) error {
				out, err := tx.CreateBucketIfNotExists(name)
				if err != nil {
					return err
				}
				out.FillPercent = 0.9
				for n := 0; k != nil && n < compactBytes; k, v = c.Next() {
					if v == nil {
						return fmt.Errorf("%w: bucket %x holds another bucket", ErrCorrupt, name)
					}
					if err := out.Put(k, v); err != nil {
						return err
					}
					n += len(k) + len(v)
					done++
				}
				return nil
			})
			if err != nil {
				return err
			}
			progress(done, total)
		}
		return nil
	})
}
