package files

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"satchel/internal/command"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/sync/tenant"
)

// Scanner judges content before it is kept.
type Scanner interface {
	// Scan reads a file and returns ErrHarmful, wrapped or not, where its
	// content must not be kept, and ErrUnscannable where this one will never be
	// judged. With any other error it could not be judged for now.
	Scan(ctx context.Context, file string) error
}

// Verdicts of a Scanner on content that must not be kept.
var (
	ErrHarmful     = errors.New("files: harmful content")
	ErrUnscannable = errors.New("files: content that can't be judged")
)

// Unscanned is what becomes of content that can't be judged for now.
type Unscanned string

// The choices.
const (
	// Hold keeps it, for nobody to read, and has it judged again until it is.
	Hold Unscanned = "hold"
	// Refuse refuses the upload: whoever sent it has to send it again.
	Refuse Unscanned = "refuse"
)

// statusHeader says how content that has arrived whole stands: waiting to be
// judged, or kept.
const (
	statusHeader = "Satchel-File-Status"
	waiting      = "waiting"
	kept         = "kept"
)

// scan judges an upload's content. It returns nil with e.Waiting set where that
// is to be done later: then the sender has sent what there is to send.
func (s *Server) scan(t *tenant.Tenant, sh *shelf, e *entry) (judged bool, err error) {
	ctx, cancel := s.storing()
	defer cancel()
	err = s.opts.Scanner.Scan(ctx, sh.part(e.ID))
	log := s.log.With(slog.String("tenant", string(t.ID())), slog.String("upload", e.ID), slog.String("by", string(e.Owner)))
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, ErrHarmful):
		log.Warn("harmful file refused", slog.String("verdict", err.Error()))
		return false, s.reject(t, sh, e, fault.FileRefused)
	case errors.Is(err, ErrUnscannable):
		log.Warn("file that can't be judged refused", slog.String("verdict", err.Error()))
		return false, s.reject(t, sh, e, fault.FileNotScanned)
	case s.opts.Unscanned == Refuse:
		log.Error("file refused: the scanner failed", slog.String("error", err.Error()))
		return false, s.reject(t, sh, e, fault.FileNotScanned)
	}
	if !e.Waiting {
		log.Error("file waits: the scanner failed", slog.String("error", err.Error()))
	}
	if e.Waiting && e.Expires-s.now() > s.lifetime()/2 {
		return false, nil
	}
	// It is over when it was judged, and not before.
	return false, sh.set(e, func(u *upload) { u.Waiting, u.Expires = true, s.now()+s.lifetime() })
}

// reject deletes content that is not to be kept, once its sender was told in
// the tenant's log, and returns the refusal. Should the server end in between,
// it is judged again.
func (s *Server) reject(t *tenant.Tenant, sh *shelf, e *entry, code fault.Code) error {
	ctx, cancel := s.submitting()
	defer cancel()
	_, err := t.Submit(ctx, &command.Command{Actor: e.Owner, File: &command.File{Document: e.Document, Upload: e.ID, Refused: string(code)}})
	switch {
	case fault.Is(err, fault.SessionRevoked): // somebody who is gone is told nothing
	case err != nil:
		return fault.New(fault.Busy).Because(fmt.Errorf("files: a refusal was not noted: %w", err))
	}
	if err := sh.remove(e); err != nil {
		return err
	}
	return fault.New(code)
}

// waits reports whether content for a document has arrived from one of the
// people and waits to be judged.
func (s *shelf) waits(document ident.RecordID, from ...ident.RecordID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.byID {
		if !e.Waiting || e.SHA256 != "" || e.Document != document {
			continue
		}
		for _, p := range from {
			if p != "" && p == e.Owner {
				return true
			}
		}
	}
	return false
}
