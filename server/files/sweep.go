package files

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"satchel/internal/ident"
	"satchel/server/blob"
	"satchel/server/edge"
	"satchel/sync/apply"
	"satchel/sync/state"
	"satchel/sync/tenant"
)

// What is over is cleared away every so often; content, for which all documents
// are read, at every so many of these times.
const (
	judgeEvery   = 30 * time.Second // content that waits to be judged
	sweepEvery   = 10               // times that
	contentEvery = 120
)

// Run finishes uploads that a crash left whole, and clears away what is over,
// until ctx ends.
func (s *Server) Run(ctx context.Context) {
	tick := time.NewTicker(judgeEvery)
	defer tick.Stop()
	for n := 0; ; n++ {
		s.opts.Tenants(func(t *tenant.Tenant) {
			if ctx.Err() != nil || t.Failed() != nil {
				return
			}
			if err := s.turn(ctx, t, n); err != nil && ctx.Err() == nil {
				s.log.Error("files not swept", slog.String("tenant", string(t.ID())), slog.String("error", err.Error()))
			}
		})
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// turn does what the n-th turn of Run does for a tenant.
func (s *Server) turn(ctx context.Context, t *tenant.Tenant, n int) error {
	if n%sweepEvery == 0 {
		return s.sweep(ctx, t, n%contentEvery == 0)
	}
	sh, err := s.shelf(t)
	if err != nil {
		return err
	}
	return s.sweepUploads(t, sh)
}

// Sweep does for one tenant what Run does for all: uploads that are whole are
// finished, those that are over are removed, and so is content that nothing
// has referred to for Limits.Grace.
func (s *Server) Sweep(ctx context.Context, t *tenant.Tenant) error { return s.sweep(ctx, t, true) }

// Unfinished reports whether a tenant has uploads that are not done with: some
// that a device may go on with, or content that waits to be judged.
func (s *Server) Unfinished(id ident.TenantID) bool {
	s.mu.Lock()
	sh := s.shelves[id]
	s.mu.Unlock()
	return sh != nil && len(sh.all()) > 0
}

func (s *Server) sweep(ctx context.Context, t *tenant.Tenant, content bool) error {
	sh, err := s.shelf(t)
	if err != nil {
		return err
	}
	err = s.sweepUploads(t, sh)
	if err := errors.Join(err, s.sweepFolder(sh)); err != nil || !content {
		return err
	}
	return s.sweepContent(ctx, t, sh)
}

// sweepUploads finishes or removes uploads that nobody is at work on.
func (s *Server) sweepUploads(t *tenant.Tenant, sh *shelf) error {
	var errs []error
	for _, u := range sh.all() {
		over := s.over(&u)
		if !over && (u.Done || u.Offset < u.Length) {
			continue
		}
		e, err := sh.take(u.ID, u.Owner, ident.Millis(0), nil, false)
		if err != nil {
			continue // somebody is at work on it, or it is gone
		}
		if s.over(&e.upload) {
			err = sh.remove(e)
		} else if err = s.arrived(&edge.Caller{Tenant: t, Employee: e.Owner, Session: e.Session, Device: e.Device}, sh, e); err != nil {
			// Its owner, signed in anew, can still finish it.
			s.log.Warn("upload not finished", slog.String("upload", e.ID), slog.String("error", err.Error()))
			err = nil
		}
		sh.release(e)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// over reports whether an upload's time has passed. Content that was taken and
// waits to be judged has all the time that takes.
func (s *Server) over(u *upload) bool {
	return u.Expires <= s.now() && !(u.Waiting && u.SHA256 == "" && s.opts.Scanner != nil)
}

// sweepFolder removes files that stand for no upload: what a crash left, and
// harmful content after its time.
func (s *Server) sweepFolder(sh *shelf) error {
	var errs []error
	for _, dir := range []struct {
		path string
		keep time.Duration
		is   func(name string) bool
	}{
		{sh.dir, time.Hour, func(name string) bool {
			id, part := strings.CutSuffix(name, ".part")
			sh.mu.Lock()
			defer sh.mu.Unlock()
			return part && sh.byID[id] == nil || strings.HasPrefix(name, ".new-")
		}},
		{filepath.Join(sh.dir, refused), refusedLifetime, func(string) bool { return true }},
	} {
		names, err := os.ReadDir(dir.path)
		if errors.Is(err, fs.ErrNotExist) && dir.path != sh.dir {
			continue
		}
		if err != nil {
			return fmt.Errorf("files: %w", err)
		}
		for _, n := range names {
			st, err := n.Info()
			if err != nil || n.IsDir() || !dir.is(n.Name()) || s.opts.Clock().Sub(st.ModTime()) < dir.keep {
				continue
			}
			if err := os.Remove(filepath.Join(dir.path, n.Name())); !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// EachContent calls f with the digest and the size of all content that a
// tenant's state refers to: that of documents, archived or not, and what waits
// for its document. It may name one more than once.
func EachContent(rd *state.Reader, f func(digest string, size int64)) {
	typ := rd.Cat.Type(typeDocument)
	for o := range rd.Index(state.TypeKey(typ.No)).All() {
		if rec, ok := rd.LoadOrd(o); ok && !rec.Get("sha256").IsNull() {
			f(rec.Get("sha256").Text(), rec.Get("size").Int())
		}
	}
	apply.EachWaitingFile(rd, func(w apply.WaitingFile) bool { f(w.File.SHA256, w.File.Size); return true })
}

// scanned is how many documents are read from one state.
const scanned = 2000

// references returns the digests that a tenant's documents refer to, and those
// that wait for theirs, with the bytes they count for, each in full.
func references(t *tenant.Tenant) (digests map[string]bool, size int64, err error) {
	digests = map[string]bool{}
	typ := t.Catalogue().Type(typeDocument)
	next, more := ident.Ordinal(0), true
	for more {
		err = t.Read(func(v *tenant.View) error {
			n := 0
			more = false
			for o := range v.Index(state.TypeKey(typ.No)).From(next) {
				if n++; n > scanned {
					next, more = o, true
					break
				}
				if rec, ok := v.LoadOrd(o); ok && !rec.Get("sha256").IsNull() {
					digests[strings.Clone(rec.Get("sha256").Text())] = true
					size += rec.Get("size").Int()
				}
			}
			return nil
		})
		if err != nil {
			return nil, 0, err
		}
	}
	err = t.Read(func(v *tenant.View) error {
		apply.EachWaitingFile(v.Reader, func(w apply.WaitingFile) bool {
			digests[w.File.SHA256] = true
			size += w.File.Size
			return true
		})
		return nil
	})
	return digests, size, err
}

// orphans is where it stands since when nothing refers to which content.
const orphans = "orphans"

// sweepContent deletes content that nothing refers to and nothing referred to
// at any sweep within the grace time.
func (s *Server) sweepContent(ctx context.Context, t *tenant.Tenant, sh *shelf) error {
	path := filepath.Join(sh.dir, orphans)
	since := map[string]ident.Millis{}
	if raw, err := os.ReadFile(path); err == nil {
		if err := json.Unmarshal(raw, &since); err != nil {
			since = map[string]ident.Millis{} // counted from now on
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("files: %w", err)
	}
	sh.mu.Lock()
	before := sh.stored
	sh.mu.Unlock()
	live, size, err := references(t)
	if err != nil {
		return err
	}
	sh.mu.Lock()
	sh.stored += size - before // what arrived meanwhile counts twice until the next sweep, at most
	sh.mu.Unlock()
	now, grace := s.now(), ident.Millis(s.limits.Grace.Milliseconds())
	still := map[string]ident.Millis{}
	err = s.opts.Blobs.Each(ctx, t.ID(), func(i blob.Info) error {
		d := i.Key.Digest()
		if live[d] || sh.refers(d) {
			return nil
		}
		from, known := since[d]
		if !known {
			from = now
		}
		// Put again since by somebody else: the time begins anew.
		from = max(from, ident.MillisOf(i.Modified))
		still[d] = max(still[d], from)
		if now < from+grace {
			return nil
		}
		return s.discard(ctx, t.ID(), sh, i.Key)
	})
	if err != nil {
		return err
	}
	raw, err := json.Marshal(still)
	if err != nil {
		return err
	}
	return writeFile(path, raw)
}

// discard deletes content unless an upload came that has it.
func (s *Server) discard(ctx context.Context, t ident.TenantID, sh *shelf, k blob.Key) error {
	sh.blobs.Lock()
	defer sh.blobs.Unlock()
	if sh.refers(k.Digest()) {
		return nil
	}
	return s.opts.Blobs.Delete(ctx, t, k)
}
