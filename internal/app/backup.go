package app

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"

	"satchel/internal/ident"
	"satchel/server/blob"
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
