package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"satchel/internal/app"
	"satchel/internal/durable"
	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/internal/strictjson"
	"satchel/server/blob"
	"satchel/server/files"
	"satchel/server/suite"
	"satchel/sync/state"
	"satchel/sync/store"
	"satchel/sync/tenant"
)

// A backup folder has, of each backup, the copy of the tenant's file and a
// manifest, and of all together each content once:
//
//	TENANT-20260302T100000.000Z.db     the records
//	TENANT-20260302T100000.000Z.json   the manifest: there is a backup if there is one
//	content/TENANT/ab/SHA256           as in a data folder
//
// The manifest is written last, when all that it names is durable.

// manifest says what a backup consists of.
type manifest struct {
	Format  int       `json:"format"`
	Tenant  string    `json:"tenant"`
	Made    time.Time `json:"made"` // when the copy of the records was begun
	Records recorded  `json:"records"`
	// Content is "here", beneath the folder, or "elsewhere", in a storage that
	// has its own versions: then its keys alone stand in the manifest.
	Content string      `json:"content"`
	Files   []contained `json:"files"`
	// Missing is what documents refer to and the server did not have.
	Missing []string `json:"missing,omitempty"`
}

type recorded struct {
	File   string `json:"file"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

type contained struct {
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
}

const (
	manifestFormat = 1
	// maxManifest bounds a manifest, in bytes: about ten million files.
	maxManifest = 1 << 30
	// leftover is how old a file must be that a backup which broke off left
	// behind, for the next one to remove it.
	leftover = 24 * time.Hour
	// stampLayout is when a backup was made, in the names of its files.
	stampLayout = "20060102T150405.000Z"
)

// source is what a backup is made of: a running server or a data folder.
type source interface {
	// records writes a copy of the tenant's file and says where content is kept,
	// as app.ContentHeader has it.
	records(ctx context.Context, w io.Writer) (place string, err error)
	// content opens content, or returns blob.ErrNotFound.
	content(ctx context.Context, k blob.Key) (io.ReadCloser, error)
}

// report is what a backup did.
type report struct {
	Manifest string `json:"manifest"`
	Content  string `json:"content"`
	Files    int    `json:"files"`
	Copied   int    `json:"copied"` // of Files; the others were there
	Bytes    int64  `json:"bytes"`  // of Copied
	Missing  int    `json:"missing"`
	// Pruned is how many older backups were removed, PrunedContent how many
	// files of content that only they named.
	Pruned        int `json:"pruned,omitempty"`
	PrunedContent int `json:"prunedContent,omitempty"`
}

// backupTo makes a backup in a folder: the records first, then the content they
// refer to. The server keeps what they no longer refer to for files.Limits.Grace,
// so that nothing is gone before it was copied.
func backupTo(ctx context.Context, from source, dir, tenantID string, rehash bool) (out report, err error) {
	if err := durable.MkdirAll(dir); err != nil {
		return out, err
	}
	if err := sweepLeftovers(dir); err != nil {
		return out, err
	}
	m := manifest{Format: manifestFormat, Tenant: tenantID, Made: time.Now().UTC().Truncate(time.Millisecond), Files: []contained{}}
	name := tenantID + "-" + m.Made.Format(stampLayout)
	tmp, err := os.CreateTemp(dir, ".new-*.db")
	if err != nil {
		return out, err
	}
	defer os.Remove(tmp.Name()) //nolint:errcheck // gone after the rename
	m.Content, err = from.records(ctx, tmp)
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return out, err
	}
	want, err := refersTo(tmp.Name())
	if err != nil {
		return out, err
	}
	if m.Records.Size, m.Records.SHA256, err = hashFile(tmp.Name()); err != nil {
		return out, err
	}
	kept := blob.NewFolder(filepath.Join(dir, "content"), time.Now)
	step, end := progress("content")
	defer end()
	for i, c := range want {
		if m.Content == app.ContentHere {
			n, err := copyContent(ctx, from, kept, dir, ident.TenantID(tenantID), c, rehash)
			switch {
			case errors.Is(err, blob.ErrNotFound):
				m.Missing = append(m.Missing, c.SHA256)
				continue
			case err != nil:
				return out, fmt.Errorf("content %s: %w", c.SHA256, err)
			case n >= 0:
				out.Copied++
				out.Bytes += n
			}
		}
		m.Files = append(m.Files, c)
		step(int64(i+1), int64(len(want)))
	}
	if err := complete(ctx, kept, &m); err != nil {
		return out, err
	}
	m.Records.File = name + ".db"
	if err := durable.Rename(tmp.Name(), filepath.Join(dir, m.Records.File)); err != nil {
		return out, err
	}
	raw, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return out, err
	}
	out.Manifest = filepath.Join(dir, name+".json")
	out.Content, out.Files, out.Missing = m.Content, len(m.Files), len(m.Missing)
	return out, durable.WriteFile(out.Manifest, raw)
}

// sweepLeftovers removes what backups that broke off left in a folder.
func sweepLeftovers(dir string) error {
	names, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, n := range names {
		if st, err := n.Info(); err != nil || n.IsDir() || !strings.HasPrefix(n.Name(), ".new-") || time.Since(st.ModTime()) < leftover {
			continue
		}
		if err := os.Remove(filepath.Join(dir, n.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// refersTo reads what content a copy of a tenant's file refers to, in order.
func refersTo(path string) ([]contained, error) {
	all, err := suite.Load()
	if err != nil {
		return nil, err
	}
	eng, err := store.OpenBolt(path, store.Options{Timeout: time.Second})
	if err != nil {
		return nil, fmt.Errorf("the copy of the records: %w", err)
	}
	out, err := contentIn(all.Cat, eng)
	return out, errors.Join(err, eng.Close())
}

func contentIn(cat *entity.Catalogue, eng store.Engine) (out []contained, err error) {
	snap, err := eng.Snapshot()
	if err != nil {
		return nil, err
	}
	defer snap.Close()
	sizes := map[string]int64{}
	files.EachContent(state.NewReader(cat, snap), func(digest string, size int64) {
		if k := blob.Key(digest); k.Valid() && !k.Derived() {
			sizes[strings.Clone(digest)] = size
		}
	})
	for digest, size := range sizes {
		out = append(out, contained{digest, size})
	}
	slices.SortFunc(out, func(a, b contained) int { return strings.Compare(a.SHA256, b.SHA256) })
	return out, nil
}

// copyContent copies what the folder does not have; it returns the bytes
// copied, -1 for none. Nothing gets a content's name that is not that content.
func copyContent(ctx context.Context, from source, kept *blob.Folder, dir string, t ident.TenantID, c contained, rehash bool) (int64, error) {
	k := blob.Key(c.SHA256)
	switch info, err := kept.Stat(ctx, t, k); {
	case errors.Is(err, blob.ErrNotFound):
	case err != nil:
		return -1, err
	case info.Size == c.Size && (!rehash || sound(ctx, kept, t, c) == nil):
		return -1, nil
	default: // damaged since it was put there
		if err := kept.Delete(ctx, t, k); err != nil {
			return -1, err
		}
	}
	in, err := from.content(ctx, k)
	if err != nil {
		return -1, err
	}
	defer in.Close() //nolint:errcheck // only read
	return c.Size, put(ctx, kept, dir, t, c, in)
}

// put reads content into a store by way of a file in a folder, and refuses what
// it is not.
func put(ctx context.Context, to blob.Store, dir string, t ident.TenantID, c contained, in io.Reader) error {
	tmp, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) //nolint:errcheck // gone once it is put
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(tmp, h), io.LimitReader(in, c.Size+1))
	if err := errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	if err := matches(c, n, h); err != nil {
		return err
	}
	return to.Put(ctx, t, blob.Key(c.SHA256), tmp.Name())
}

// sound reads content and returns an error where it is not what it is called.
func sound(ctx context.Context, in blob.Store, t ident.TenantID, c contained) error {
	r, err := in.Open(ctx, t, blob.Key(c.SHA256), 0, -1)
	if err != nil {
		return err
	}
	defer r.Close() //nolint:errcheck // only read
	h := sha256.New()
	n, err := io.Copy(h, r)
	if err != nil {
		return err
	}
	return matches(c, n, h)
}

func matches(c contained, n int64, h hash.Hash) error {
	if got := hex.EncodeToString(h.Sum(nil)); n != c.Size || got != c.SHA256 {
		return errors.New("it is not what its name says: it broke off or is damaged")
	}
	return nil
}

func hashFile(path string) (int64, string, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, "", err
	}
	defer f.Close() //nolint:errcheck // only read
	h := sha256.New()
	n, err := io.Copy(h, f)
	return n, hex.EncodeToString(h.Sum(nil)), err
}

// running is a server, by its operators' listener.
type running struct{ admin, tenant string }

func (s running) get(ctx context.Context, path string) (*http.Response, error) {
	return s.ask(ctx, http.MethodGet, "/backup/"+s.tenant+path)
}

// ask asks for something; content that is not there is blob.ErrNotFound.
func (s running) ask(ctx context.Context, method, path string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimRight(s.admin, "/")+path, http.NoBody)
	if err != nil {
		return nil, usageError{err}
	}
	req.Header.Set(app.OperatorHeader, operatorName())
	res, err := http.DefaultClient.Do(req)
	if err != nil || res.StatusCode == http.StatusOK {
		return res, err
	}
	defer res.Body.Close() //nolint:errcheck // only words
	b, _ := io.ReadAll(io.LimitReader(res.Body, 500))
	err = fmt.Errorf("the server answered %s: %s", res.Status, strings.TrimSpace(string(b)))
	if strings.Contains(path, "/content/") && res.StatusCode == http.StatusNotFound {
		err = errors.Join(blob.ErrNotFound, err)
	}
	return nil, err
}

func (s running) records(ctx context.Context, w io.Writer) (string, error) {
	res, err := s.get(ctx, "")
	if err != nil {
		return "", err
	}
	defer res.Body.Close() //nolint:errcheck // read to its end or failed
	n, err := io.Copy(w, res.Body)
	if err == nil && res.Trailer.Get("X-Satchel-Complete") != fmt.Sprint(n) {
		err = errors.New("the backup broke off before its end")
	}
	return res.Header.Get(app.ContentHeader), err
}

func (s running) content(ctx context.Context, k blob.Key) (io.ReadCloser, error) {
	res, err := s.get(ctx, "/content/"+string(k))
	if err != nil {
		return nil, err
	}
	return res.Body, nil
}

// resting is an open tenant of a folder that no server runs on.
type resting struct {
	t    *tenant.Tenant
	kept blob.Store
}

func (s resting) records(_ context.Context, w io.Writer) (string, error) {
	bolt, ok := s.t.Engine().(*store.Bolt)
	if !ok {
		return "", errors.New("the tenant is not kept in a file")
	}
	place := app.ContentElsewhere
	if _, ok := s.kept.(*blob.Folder); ok {
		place = app.ContentHere
	}
	_, err := bolt.Backup(w)
	return place, err
}

func (s resting) content(ctx context.Context, k blob.Key) (io.ReadCloser, error) {
	return s.kept.Open(ctx, s.t.ID(), k, 0, -1)
}

// backup makes a backup of a server or a folder, in a folder, and leaves there
// the newest, keep in all; 0 for every one.
func (f *folder) backup(ctx context.Context, admin, to, config string, rehash bool, keep int) error {
	var out report
	write := func(from source) (err error) {
		out, err = backupTo(ctx, from, to, f.tenant, rehash)
		return err
	}
	var err error
	if admin != "" {
		err = write(running{admin, f.tenant})
	} else {
		err = f.open(func(t *tenant.Tenant) error {
			kept, err := blobsOf(f.data, config)
			if err != nil {
				return err
			}
			return write(resting{t, kept})
		})
	}
	if err != nil {
		return err
	}
	if keep > 0 {
		if out.Pruned, out.PrunedContent, err = prune(ctx, to, f.tenant, out.Manifest, keep); err != nil {
			return fmt.Errorf("%s was made, but: %w", out.Manifest, err)
		}
	}
	text := fmt.Sprintf("%s: %d files of content, %d of them copied\n", out.Manifest, out.Files, out.Copied)
	if out.Content == app.ContentElsewhere {
		text = fmt.Sprintf("%s: the keys of %d files of content, which are kept elsewhere\n", out.Manifest, out.Files)
	}
	if out.Pruned+out.PrunedContent > 0 {
		text += fmt.Sprintf("removed: %d older backups, %d files of content\n", out.Pruned, out.PrunedContent)
	}
	if err := f.print(out, text); err != nil {
		return err
	}
	if out.Missing > 0 {
		return fmt.Errorf("the backup is whole but for %d files of content that the server lacks; its manifest names them", out.Missing)
	}
	return nil
}

// findManifest returns the manifest that a path names: itself, or the newest
// of the tenant in a folder. A path that is neither is a copy of a tenant's file;
// then there is none.
func findManifest(path, tenantID string) (string, error) {
	st, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !st.IsDir() {
		if strings.HasSuffix(path, ".json") {
			return path, nil
		}
		return "", nil
	}
	names, err := os.ReadDir(path)
	if err != nil {
		return "", err
	}
	newest := ""
	for _, n := range names {
		if ending, ok := stamped(n.Name(), tenantID); ok && ending == ".json" && n.Type().IsRegular() && n.Name() > newest {
			newest = n.Name()
		}
	}
	if newest == "" {
		return "", fmt.Errorf("%s has no backup of tenant %s", path, tenantID)
	}
	return filepath.Join(path, newest), nil
}

func readManifest(path string) (m manifest, err error) {
	st, err := os.Stat(path)
	if err == nil && st.Size() > maxManifest {
		err = errors.New("it is too large to be a manifest")
	}
	var raw []byte
	if err == nil {
		raw, err = os.ReadFile(path)
	}
	if err == nil {
		err = strictjson.Decode(raw, &m)
	}
	switch {
	case err != nil:
		return m, fmt.Errorf("%s: %w", path, err)
	case m.Format != manifestFormat:
		return m, fmt.Errorf("%s has format %d, this program reads %d", path, m.Format, manifestFormat)
	case m.Records.File == "" || filepath.Base(m.Records.File) != m.Records.File || m.Content != app.ContentHere && m.Content != app.ContentElsewhere:
		return m, fmt.Errorf("%s is no manifest", path)
	}
	for _, c := range m.Files {
		if k := blob.Key(c.SHA256); !k.Valid() || k.Derived() || c.Size < 0 {
			return m, fmt.Errorf("%s is no manifest", path)
		}
	}
	return m, nil
}

// restoreWith restores what a manifest names. All of it is held against the
// manifest before anything is changed; content comes back before the records
// that refer to it. With partial, content that is damaged or lost is left out.
func (f *folder) restoreWith(ctx context.Context, path, config string, force, partial bool) error {
	m, err := readManifest(path)
	if err != nil {
		return err
	}
	dir := filepath.Dir(path)
	records := filepath.Join(dir, m.Records.File)
	size, sum, err := hashFile(records)
	switch {
	case err != nil:
		return err
	case size != m.Records.Size || sum != m.Records.SHA256:
		return fmt.Errorf("%s is not the one that the manifest speaks of", records)
	}
	if err := f.replaceable(force); err != nil {
		return err
	}
	if m.Content == app.ContentHere {
		if err := f.restoreContent(ctx, &m, dir, config, partial); err != nil {
			return err
		}
	}
	return f.restore(records, force)
}

// restoreContent brings a backup's content back to where the folder's is kept.
func (f *folder) restoreContent(ctx context.Context, m *manifest, dir, config string, partial bool) error {
	from := blob.NewFolder(filepath.Join(dir, "content"), time.Now)
	of, t := ident.TenantID(m.Tenant), ident.TenantID(f.tenant)
	step, end := progress("checking content")
	var good []contained
	var bad []string
	for i, c := range m.Files {
		if err := sound(ctx, from, of, c); err != nil {
			bad = append(bad, fmt.Sprintf("%s: %v", c.SHA256, err))
		} else {
			good = append(good, c)
		}
		step(int64(i+1), int64(len(m.Files)))
	}
	end()
	if len(bad) > 0 && !partial {
		return fmt.Errorf("%d files of content are damaged or lost, the first is %s; nothing was changed; --partial restores the others", len(bad), bad[0])
	}
	for _, b := range bad {
		fmt.Fprintln(os.Stderr, "satchel: left out:", b)
	}
	to, err := blobsOf(f.data, config)
	if err != nil {
		return err
	}
	if err := durable.MkdirAll(f.data); err != nil {
		return err
	}
	step, end = progress("restoring content")
	defer end()
	for i, c := range good {
		if err := bringBack(ctx, from, to, f.data, of, t, c); err != nil {
			return fmt.Errorf("content %s: %w", c.SHA256, err)
		}
		step(int64(i+1), int64(len(good)))
	}
	return nil
}

// bringBack puts content back unless it is there, sound.
func bringBack(ctx context.Context, from, to blob.Store, data string, of, t ident.TenantID, c contained) error {
	if _, err := to.Stat(ctx, t, blob.Key(c.SHA256)); err == nil {
		if sound(ctx, to, t, c) == nil {
			return nil
		}
		if err := to.Delete(ctx, t, blob.Key(c.SHA256)); err != nil {
			return err
		}
	} else if !errors.Is(err, blob.ErrNotFound) {
		return err
	}
	in, err := from.Open(ctx, of, blob.Key(c.SHA256), 0, -1)
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // only read
	return put(ctx, to, data, t, c, in)
}
