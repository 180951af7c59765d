package app

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/server/blob"
	"satchel/server/spool"
	"satchel/sync/store"
)

// ContentHeader says, with the copy of a tenant's file, where the content of
// its documents is kept: ContentHere, where it can be had from the same
// listener, or ContentElsewhere, in a storage that has its own versions.
const (
	ContentHeader    = "X-Satchel-Content"
	ContentHere      = "here"
	ContentElsewhere = "elsewhere"
)

// place is the value of ContentHeader.
func (a *App) place() string {
	if _, ok := a.content.(*blob.Folder); ok {
		return ContentHere
	}
	return ContentElsewhere
}

// completeTrailer says how many bytes a copy has, so that one that broke off is
// noticed.
const completeTrailer = "X-Satchel-Complete"

// backup sends a consistent copy of a tenant's file. It is made beside the data
// first: whoever takes it slowly holds no state of the tenant open meanwhile,
// and what can't be made is refused rather than broken off.
func (a *App) backup(w http.ResponseWriter, r *http.Request) {
	t, err := a.tenants.Tenant(ident.TenantID(r.PathValue("tenant")))
	if err != nil {
		refuse(w, err)
		return
	}
	bolt, ok := t.Engine().(*store.Bolt)
	if !ok {
		http.Error(w, "the tenant is not kept in a file", http.StatusNotImplemented)
		return
	}
	defer t.Hold()()
	a.acted(r, t, "backup")
	file, err := a.copies.of(r.Context(), bolt)
	if err != nil {
		a.cfg.Log.Error("backup failed", slog.String("tenant", string(t.ID())), slog.String("error", err.Error()))
		refuse(w, err)
		return
	}
	defer func() {
		if err := file.Close(); err != nil {
			a.cfg.Log.Error("the copy of a backup could not be removed", slog.String("error", err.Error()))
		}
	}()
	w.Header().Set("Trailer", completeTrailer)
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set(ContentHeader, a.place())
	n, err := io.Copy(&patient{w, http.NewResponseController(w)}, file)
	if err != nil {
		a.cfg.Log.Warn("backup broke off", slog.String("tenant", string(t.ID())), slog.String("error", err.Error()))
		return
	}
	w.Header().Set(completeTrailer, strconv.FormatInt(n, 10))
}

// refuse answers an operator why something can't be had; what has no code of its
// own stands in the log.
func refuse(w http.ResponseWriter, err error) {
	f := fault.Of(err)
	switch f.Code {
	case fault.InvalidCredentials: // as people who sign in are told
		http.Error(w, "no such tenant", http.StatusNotFound)
	case fault.DiskFull:
		http.Error(w, "the disk has no room for a copy beside its reserve", f.Code.Kind().Status())
	case fault.TenantStopped: // with why: it is the operator who can do something about it
		http.Error(w, f.Error(), f.Code.Kind().Status())
	default:
		http.Error(w, f.Message, f.Code.Kind().Status())
	}
}

// takeTime bounds how long a receiver may take for each part of a copy: one that
// is gone without a word must not keep it for ever.
const takeTime = 5 * time.Minute

// patient writes a part of an answer after the other, each within takeTime.
type patient struct {
	w  io.Writer
	to *http.ResponseController
}

func (p *patient) Write(b []byte) (int, error) {
	if err := p.to.SetWriteDeadline(time.Now().Add(takeTime)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	return p.w.Write(b)
}

// copies are the copies of tenants' files that are being sent. They stand in a
// folder of their own beside the tenants, each until it was sent.
type copies struct {
	*spool.Folder
	making sync.Mutex // held while one is made: what it takes shows on the disk before the next
}

// newCopies empties the folder of copies.
func newCopies(data string, reserve uint64) (*copies, error) {
	f, err := spool.Open(filepath.Join(data, "copies"), reserve)
	return &copies{Folder: f}, err
}

// of makes a copy of a tenant's file, to be read from its beginning; closed, it
// is gone. It refuses with [fault.DiskFull] what would reach into the reserve.
func (c *copies) of(ctx context.Context, bolt *store.Bolt) (_ io.ReadCloser, err error) {
	c.making.Lock()
	defer c.making.Unlock()
	if err := ctx.Err(); err != nil { // whoever asked left while others' were made
		return nil, err
	}
	size, err := bolt.BackupSize()
	if err != nil {
		return nil, err
	}
	f, err := c.Create("*.db", uint64(size))
	if err != nil {
		return nil, err
	}
	_, err = bolt.Backup(f)
	if err == nil {
		_, err = f.Rewind()
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// backupContent answers the content of a tenant's documents, by its digest: a
// backup asks for what the copy of the records that it was given refers to. It
// is on the operators' listener, which gives out whole tenants.
func (a *App) backupContent(w http.ResponseWriter, r *http.Request) {
	t, k := ident.TenantID(r.PathValue("tenant")), blob.Key(r.PathValue("digest"))
	if !k.Valid() || k.Derived() || a.place() != ContentHere {
		http.Error(w, "no such content", http.StatusNotFound)
		return
	}
	info, err := a.content.Stat(r.Context(), t, k)
	var in io.ReadCloser
	if err == nil {
		in, err = a.content.Open(r.Context(), t, k, 0, -1)
	}
	switch {
	case errors.Is(err, blob.ErrNotFound):
		http.Error(w, "no such content", http.StatusNotFound)
		return
	case err != nil:
		a.cfg.Log.Error("content could not be read", slog.String("error", err.Error()))
		http.Error(w, "the content can't be read", http.StatusInternalServerError)
		return
	}
	defer in.Close() //nolint:errcheck // only read
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.FormatInt(info.Size, 10))
	if _, err := io.Copy(w, in); err != nil {
		// Whoever asked counts and hashes what comes.
		a.cfg.Log.Warn("content broke off", slog.String("error", err.Error()))
	}
}
