package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"satchel/internal/durable"
	"satchel/internal/ident"
)

// Folder keeps content as files: ROOT/TENANT/ab/KEY, where ab are the first
// two characters of the key. A file is complete or not there: it is written
// beside its place, synced and renamed.
type Folder struct {
	root string
	now  func() time.Time
}

// NewFolder keeps content beneath root, which is made when needed; now tells
// when content was put.
func NewFolder(root string, now func() time.Time) *Folder { return &Folder{root, now} }

func (f *Folder) path(tenant ident.TenantID, k Key) string {
	return filepath.Join(f.root, string(tenant), string(k[:2]), string(k))
}

// Put implements Store. A file on the same file system is moved, any other
// copied.
func (f *Folder) Put(_ context.Context, tenant ident.TenantID, k Key, file string) error {
	if err := check(tenant, k); err != nil {
		return err
	}
	to := f.path(tenant, k)
	if _, err := os.Stat(to); err == nil {
		if err := os.Chtimes(to, f.now(), f.now()); err != nil {
			return fmt.Errorf("blob: %w", err)
		}
		// Whoever put it may not have come as far as making its name durable.
		if err := f.names(to); err != nil {
			return err
		}
		return os.Remove(file)
	}
	if err := durable.MkdirAll(filepath.Dir(to)); err != nil {
		return fmt.Errorf("blob: %w", err)
	}
	if err := durable.Sync(file); err != nil {
		return fmt.Errorf("blob: %w", err)
	}
	if err := os.Chtimes(file, f.now(), f.now()); err != nil {
		return fmt.Errorf("blob: %w", err)
	}
	if err := os.Rename(file, to); err != nil {
		if err := f.copy(file, to); err != nil {
			return fmt.Errorf("blob: %w", err)
		}
		if err := os.Remove(file); err != nil {
			return fmt.Errorf("blob: %w", err)
		}
	}
	return f.names(to)
}

// names makes the name of content durable, and those of the folders that lead
// to it.
func (f *Folder) names(to string) error {
	for dir := filepath.Dir(to); len(dir) >= len(f.root); dir = filepath.Dir(dir) {
		if err := durable.SyncDir(dir); err != nil {
			return fmt.Errorf("blob: %w", err)
		}
	}
	return nil
}

// copy brings a file from another file system.
func (f *Folder) copy(from, to string) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	tmp, err := os.CreateTemp(filepath.Dir(to), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) //nolint:errcheck // gone after the rename
	_, err = io.Copy(tmp, src)
	if err := errors.Join(err, tmp.Sync(), tmp.Close(), os.Chtimes(tmp.Name(), f.now(), f.now())); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), to)
}

func notFound(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return ErrNotFound
	}
	return fmt.Errorf("blob: %w", err)
}

// Open implements Store.
func (f *Folder) Open(_ context.Context, tenant ident.TenantID, k Key, offset, length int64) (io.ReadCloser, error) {
	if err := check(tenant, k); err != nil {
		return nil, err
	}
	file, err := os.Open(f.path(tenant, k))
	if err != nil {
		return nil, notFound(err)
	}
	if _, err := file.Seek(offset, io.SeekStart); err != nil {
		return nil, fmt.Errorf("blob: %w", errors.Join(err, file.Close()))
	}
	if length < 0 {
		return file, nil
	}
	return part{io.LimitReader(file, length), file}, nil
}

// part is a stretch of a file.
type part struct {
	io.Reader
	io.Closer
}

// Stat implements Store.
func (f *Folder) Stat(_ context.Context, tenant ident.TenantID, k Key) (Info, error) {
	if err := check(tenant, k); err != nil {
		return Info{}, err
	}
	st, err := os.Stat(f.path(tenant, k))
	if err != nil {
		return Info{}, notFound(err)
	}
	return Info{k, st.Size(), st.ModTime()}, nil
}

// Delete implements Store.
func (f *Folder) Delete(_ context.Context, tenant ident.TenantID, k Key) error {
	if err := check(tenant, k); err != nil {
		return err
	}
	if err := os.Remove(f.path(tenant, k)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("blob: %w", err)
	}
	return nil
}

// Each implements Store. What a crash left of a copy is removed on the way,
// once it is a day old.
func (f *Folder) Each(ctx context.Context, tenant ident.TenantID, each func(Info) error) error {
	if err := checkTenant(tenant); err != nil {
		return err
	}
	return filepath.WalkDir(filepath.Join(f.root, string(tenant)), func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // no content yet, or gone since it was listed
		}
		if err = errors.Join(err, ctx.Err()); err != nil || d.IsDir() {
			return err
		}
		st, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		} else if err != nil {
			return fmt.Errorf("blob: %w", err)
		}
		k := Key(d.Name())
		if !k.Valid() {
			if f.now().Sub(st.ModTime()) > 24*time.Hour {
				return os.Remove(path)
			}
			return nil
		}
		return each(Info{k, st.Size(), st.ModTime()})
	})
}

var _ Store = (*Folder)(nil)
