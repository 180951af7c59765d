package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"satchel/internal/app"
	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/server/blob"
	"satchel/sync/apply"
	"satchel/sync/oplog"
	"satchel/sync/state"
	"satchel/sync/store"
	"satchel/sync/verify"
)

// blobsOf opens where the content of a data folder's documents is kept: in the
// folder, or as the server's configuration file says.
func blobsOf(data, config string) (blob.Store, error) {
	if config != "" {
		b, err := os.ReadFile(config)
		if err != nil {
			return nil, usageError{err}
		}
		var from serveFile
		if err := json.Unmarshal(b, &from); err != nil {
			return nil, usageError{fmt.Errorf("%s: %w", config, err)}
		}
		var cfg app.Config
		if err := content(from.Files, &cfg); err != nil {
			return nil, err
		}
		if cfg.Content != nil {
			return cfg.Content, nil
		}
	}
	return blob.NewFolder(filepath.Join(data, "blobs"), time.Now), nil
}

// kept is a tenant's content, as verify looks at it.
type kept struct {
	store  blob.Store
	tenant ident.TenantID
}

// Open implements verify.Contents.
func (k kept) Open(ctx context.Context, digest string) (io.ReadCloser, error) {
	r, err := k.store.Open(ctx, k.tenant, blob.Key(digest), 0, -1)
	if errors.Is(err, blob.ErrNotFound) {
		return nil, verify.ErrNoContent
	}
	return r, err
}

// Each implements verify.Contents.
func (k kept) Each(ctx context.Context, f func(digest, variant string, size int64) error) error {
	return k.store.Each(ctx, k.tenant, func(i blob.Info) error {
		_, variant, _ := strings.Cut(string(i.Key), ".")
		return f(i.Key.Digest(), variant, i.Size)
	})
}

// contentText says in a line what there is of content.
func contentText(s *verify.Stored) string {
	if s == nil {
		return ""
	}
	text := fmt.Sprintf("  content: %d documents, %d contents", s.Documents, s.Kept)
	if s.Orphans > 0 {
		text += fmt.Sprintf(", %d of them nothing refers to", s.Orphans)
	}
	if s.Hashed > 0 {
		text += fmt.Sprintf(", %d read and hashed", s.Hashed)
	}
	return text + "\n"
}

// purged says what compacting took because somebody was erased.
type purged struct {
	Entries  int `json:"logEntries"`
	Contents int `json:"contents"`
	Uploads  int `json:"uploads"`
}

func (p *purged) text() string {
	if *p == (purged{}) {
		return ""
	}
	return fmt.Sprintf("erased: %d log entries, %d contents of files and %d uploads taken\n", p.Entries, p.Contents, p.Uploads)
}

// errErasing says that an erasure has yet to come to its end.
var errErasing = errors.New("somebody is being erased; start the server, or run satchel erase again, to have it end first")

// purge takes from a tenant what an erasure can't reach: the log entries that
// spoke of the person, uploads of theirs that were not finished or whose receipt
// is kept, and content that nothing refers to any more. Where nothing was erased
// since it was done last it does nothing.
func purge(ctx context.Context, cat *entity.Catalogue, path, uploads string, content kept) (out purged, err error) {
	eng, err := store.OpenBolt(path, store.Options{Timeout: time.Second})
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, eng.Close()) }()
	upTo, people, refers, err := erasedIn(cat, eng)
	if err != nil || upTo == 0 {
		return out, err
	}
	log, err := oplog.Open(eng, discard{}, oplog.Options{})
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	floor, last := log.Bounds()
	if upTo = min(upTo, last); floor > upTo {
		return out, nil
	}
	// The log goes last: until then a run that broke off is begun again.
	if out.Uploads, err = purgeUploads(uploads, people, refers); err != nil {
		return out, err
	}
	if out.Contents, err = purgeContent(ctx, content, refers); err != nil {
		return out, err
	}
	out.Entries = int(upTo - floor + 1)
	return out, log.Truncate(upTo + 1)
}

// erasedIn reads up to where the log is to go, who was erased, and which content
// documents and waiting files refer to.
func erasedIn(cat *entity.Catalogue, eng store.Engine) (upTo ident.Position, people map[ident.RecordID]bool, refers map[string]bool, err error) {
	snap, err := eng.Snapshot()
	if err != nil {
		return 0, nil, nil, err
	}
	defer snap.Close()
	rd := state.NewReader(cat, snap)
	if upTo = apply.ErasedUpTo(rd); upTo == 0 {
		return 0, nil, nil, nil
	}
	people, refers = apply.ErasedRecords(rd), map[string]bool{}
	apply.EachErased(rd, func(e apply.Erasure) {
		if !e.Done {
			err = errErasing
		}
	})
	t := cat.Type(apply.TypeDocument)
	for o := range rd.Index(state.TypeKey(t.No)).All() {
		if rec, ok := rd.LoadOrd(o); ok && !rec.Get("sha256").IsNull() {
			refers[rec.Get("sha256").Text()] = true
		}
	}
	apply.EachWaitingFile(rd, func(w apply.WaitingFile) bool {
		refers[w.File.SHA256] = true
		return true
	})
	return upTo, people, refers, err
}

// purgeUploads removes the uploads of people who were erased, and adds what the
// others have to what is referred to. An upload is a JSON file beside its bytes;
// those found harmful stand in a folder of their own.
func purgeUploads(dir string, people map[ident.RecordID]bool, refers map[string]bool) (n int, err error) {
	for _, sub := range []string{dir, filepath.Join(dir, "refused")} {
		names, err := os.ReadDir(sub)
		if errors.Is(err, os.ErrNotExist) {
			continue
		} else if err != nil {
			return n, err
		}
		for _, name := range names {
			id, ok := strings.CutSuffix(name.Name(), ".json")
			if !ok {
				continue
			}
			raw, err := os.ReadFile(filepath.Join(sub, name.Name()))
			if err != nil {
				return n, err
			}
			var u struct {
				Owner  ident.RecordID `json:"owner"`
				SHA256 string         `json:"sha256"`
			}
			if err := json.Unmarshal(raw, &u); err != nil {
				return n, fmt.Errorf("upload %s can't be read: %w", id, err)
			}
			if !people[u.Owner] {
				refers[u.SHA256] = true
				continue
			}
			n++
			for _, suffix := range []string{".part", ".bin", ".json"} { // what names the bytes goes last
				if err := os.Remove(filepath.Join(sub, id+suffix)); err != nil && !errors.Is(err, os.ErrNotExist) {
					return n, err
				}
			}
		}
	}
	return n, nil
}

// purgeContent deletes content that nothing refers to, with what was derived
// from it.
func purgeContent(ctx context.Context, from kept, refers map[string]bool) (n int, err error) {
	var gone []blob.Key
	if err := from.store.Each(ctx, from.tenant, func(i blob.Info) error {
		if !refers[i.Key.Digest()] {
			gone = append(gone, i.Key)
		}
		return nil
	}); err != nil {
		return 0, err
	}
	for _, k := range slices.Backward(gone) {
		if err := from.store.Delete(ctx, from.tenant, k); err != nil {
			return n, err
		}
		if !k.Derived() {
			n++
		}
	}
	return n, nil
}
