package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"satchel/internal/app"
	"satchel/internal/durable"
	"satchel/internal/ident"
	"satchel/server/blob"
)

// shelved is a backup in a folder that has its manifest.
type shelved struct {
	path string // of the manifest
	manifest
}

// stamped returns the ending of the name of a tenant's backup; ok is false for
// other names. A tenant's name may begin with another's.
func stamped(name, tenantID string) (ending string, ok bool) {
	at, ok := strings.CutPrefix(name, tenantID+"-")
	ending = filepath.Ext(at)
	at = strings.TrimSuffix(at, ending)
	_, err := time.Parse(stampLayout, at)
	return ending, ok && err == nil
}

// prune leaves the newest backups of a tenant in a folder, so many with the one
// that was just made, and removes the older ones, what backups that broke off
// left a day ago, and the content that no manifest names any more. A manifest
// goes before what it names: a prune that breaks off leaves whole backups, and
// what is too much to the next one.
func prune(ctx context.Context, dir, tenantID, made string, keep int) (backups, contents int, err error) {
	list, err := shelf(dir, tenantID)
	if err != nil {
		return 0, 0, err
	}
	named := map[string]bool{} // content, and records, that stay
	for _, b := range list {
		name := filepath.Base(b.path)
		_, regular := stamped(name, tenantID)
		// What somebody gave another name is theirs to remove; so is what is not
		// whole, which may be on its way to another place.
		if regular && name != filepath.Base(made) && whole(&b) {
			if keep--; keep < 1 {
				if err := unshelve(&b); err != nil {
					return backups, 0, err
				}
				backups++
				continue
			}
		}
		named[b.Records.File] = true
		for _, c := range b.Files {
			named[c.SHA256] = true
		}
	}
	if err := sweepHalfMade(dir, tenantID, named); err != nil {
		return backups, 0, err
	}
	contents, err = dropContent(ctx, dir, tenantID, named)
	return backups, contents, err
}

// shelf reads all manifests of a tenant in a folder, the newest first. One that
// bears a tenant's backup's name and can't be read is an error: nobody knows what
// content it names.
func shelf(dir, tenantID string) (list []shelved, err error) {
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, n := range names {
		if filepath.Ext(n.Name()) != ".json" || !n.Type().IsRegular() {
			continue
		}
		path := filepath.Join(dir, n.Name())
		m, err := readManifest(path)
		switch _, ours := stamped(n.Name(), tenantID); {
		case err != nil && ours:
			return nil, fmt.Errorf("nothing was pruned: %w", err)
		case err == nil && m.Tenant == tenantID:
			list = append(list, shelved{path, m})
		}
	}
	slices.SortFunc(list, func(a, b shelved) int { return strings.Compare(filepath.Base(b.path), filepath.Base(a.path)) })
	return list, nil
}

// whole reports whether a backup's records are there, under the name of its
// manifest.
func whole(b *shelved) bool {
	st, err := os.Stat(b.records())
	return err == nil && st.Size() == b.Records.Size && strings.TrimSuffix(filepath.Base(b.path), ".json")+".db" == b.Records.File
}

// records is the file of a backup's records.
func (b *shelved) records() string { return filepath.Join(filepath.Dir(b.path), b.Records.File) }

// unshelve removes a backup but for its content.
func unshelve(b *shelved) error {
	if err := os.Remove(b.path); err != nil {
		return err
	}
	if err := durable.SyncDir(filepath.Dir(b.path)); err != nil {
		return err
	}
	return os.Remove(b.records())
}

// halfMade lists what backups of a tenant that are not finished have in a
// folder: files without a name yet, and records that no manifest names.
func halfMade(dir, tenantID string, named map[string]bool) (list []fs.FileInfo, err error) {
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, n := range names {
		ending, ok := stamped(n.Name(), tenantID)
		if n.IsDir() || !strings.HasPrefix(n.Name(), ".new-") && (!ok || ending != ".db" || named[n.Name()]) {
			continue
		}
		st, err := n.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return nil, err
		}
		list = append(list, st)
	}
	return list, nil
}

// sweepHalfMade removes what backups that broke off left in a folder.
func sweepHalfMade(dir, tenantID string, named map[string]bool) error {
	list, err := halfMade(dir, tenantID, named)
	for _, st := range list {
		if time.Since(st.ModTime()) < leftover {
			continue
		}
		if rerr := os.Remove(filepath.Join(dir, st.Name())); !errors.Is(rerr, fs.ErrNotExist) {
			err = errors.Join(err, rerr)
		}
	}
	return err
}

// dropContent deletes a tenant's content that is not named. It stops where
// another backup is being made, whose manifest is yet to name what it needs; what
// is left then goes the next time.
func dropContent(ctx context.Context, dir, tenantID string, named map[string]bool) (n int, err error) {
	kept, t := blob.NewFolder(filepath.Join(dir, "content"), time.Now), ident.TenantID(tenantID)
	err = kept.Each(ctx, t, func(in blob.Info) error {
		if named[string(in.Key)] {
			return nil
		}
		if list, err := halfMade(dir, tenantID, named); err != nil || len(list) > 0 {
			return errors.Join(err, errBusyFolder)
		}
		n++
		return kept.Delete(ctx, t, in.Key)
	})
	if errors.Is(err, errBusyFolder) {
		err = nil
	}
	return n, err
}

// errBusyFolder ends the deleting of content.
var errBusyFolder = errors.New("another backup is being made in the folder")

// complete fails where content that a backup names is not in its folder any
// more: somebody removed it while the backup was made.
func complete(ctx context.Context, kept *blob.Folder, m *manifest) error {
	if m.Content != app.ContentHere {
		return nil
	}
	for _, c := range m.Files {
		if _, err := kept.Stat(ctx, ident.TenantID(m.Tenant), blob.Key(c.SHA256)); err != nil {
			return fmt.Errorf("content %s went while the backup was made: %w", c.SHA256, err)
		}
	}
	return nil
}
