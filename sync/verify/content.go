package verify

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"satchel/internal/entity"
	"satchel/sync/apply"
	"satchel/sync/state"
	"satchel/sync/store"
)

// ErrNoContent says that there is no such content, for errors.Is.
var ErrNoContent = errors.New("verify: no such content")

// Contents is where the content of a tenant's documents is kept.
type Contents interface {
	// Open reads content by its SHA-256 in lowercase hex; ErrNoContent where
	// there is none.
	Open(ctx context.Context, digest string) (io.ReadCloser, error)
	// Each calls f for everything that is kept, with its size in bytes, until f
	// returns an error, which it returns. variant names what is derived from
	// the content, such as a thumbnail; "" for the content itself.
	Each(ctx context.Context, f func(digest, variant string, size int64) error) error
}

// Stored says what there is of the content of documents.
type Stored struct {
	Documents int `json:"documents"` // that have content
	Kept      int `json:"kept"`      // contents that are kept
	Derived   int `json:"derived"`   // what was made of them
	// Orphans counts contents that nothing refers to: the server's sweep takes
	// them after a while.
	Orphans int `json:"orphans"`
	Hashed  int `json:"hashed"` // contents that were read to the end
}

// Content checks that the content of every document, and of every file that
// waits for one, is kept with the size that the state has of it; deep reads each
// and compares its hash. It finds content that was cut, swapped or lost, whoever
// did it. Problems are told in rep; an error says that the place can't be read.
func Content(ctx context.Context, cat *entity.Catalogue, snap store.Reader, from Contents, deep bool, rep *Report) error {
	out := &Stored{}
	rep.Content = out
	wants := map[string]int64{} // by digest, the size
	named := map[string]string{}
	want := func(what, digest string, size int64) {
		if had, ok := wants[digest]; ok && had != size {
			rep.fail("%s: has %d bytes, %s of the same content has %d", what, size, named[digest], had)
			return
		}
		wants[digest], named[digest] = size, what
	}
	rd := state.NewReader(cat, snap)
	t := cat.Type(apply.TypeDocument)
	for o := range rd.Index(state.TypeKey(t.No)).All() {
		rec, ok := rd.LoadOrd(o)
		if !ok || rec.Get("sha256").IsNull() {
			continue
		}
		out.Documents++
		want("document/"+string(rec.ID), rec.Get("sha256").Text(), rec.Get("size").Int())
	}
	apply.EachWaitingFile(rd, func(w apply.WaitingFile) bool {
		want("waiting file of document "+string(w.File.Document), w.File.SHA256, w.File.Size)
		return true
	})
	found := map[string]bool{}
	err := from.Each(ctx, func(digest, variant string, size int64) error {
		if variant != "" {
			out.Derived++
			return nil
		}
		out.Kept++
		found[digest] = true
		due, referred := wants[digest]
		switch {
		case !referred:
			out.Orphans++
		case due != size:
			rep.fail("%s: its content has %d bytes, %d are due", named[digest], size, due)
		}
		if !deep {
			return nil
		}
		out.Hashed++
		return hashed(ctx, from, digest, named[digest], rep)
	})
	if err != nil {
		return fmt.Errorf("verify: content: %w", err)
	}
	for digest, what := range named {
		if !found[digest] {
			rep.fail("%s: its content %s is not there", what, digest)
		}
	}
	return nil
}

// hashed reads content and compares its hash with its name.
func hashed(ctx context.Context, from Contents, digest, what string, rep *Report) error {
	if what == "" {
		what = "content of no document"
	}
	r, err := from.Open(ctx, digest)
	if errors.Is(err, ErrNoContent) {
		rep.fail("%s: its content %s went while it was looked at", what, digest)
		return nil
	} else if err != nil {
		return err
	}
	h := sha256.New()
	_, err = io.Copy(h, r)
	if err := errors.Join(err, r.Close()); err != nil {
		return err
	}
	if is := hex.EncodeToString(h.Sum(nil)); is != digest {
		rep.fail("%s: its content is kept as %s and has the hash %s", what, digest, is)
	}
	return nil
}
