package files_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"satchel/internal/ident"
	"satchel/internal/testworld"
	"satchel/server/files"
)

// eicar is the text that every scanner takes for harmful, in two pieces so that
// none takes this file for it.
const eicar = `X5O!P%@AP[4\PZX54(P^)7CC)7}$` + "EICAR-STANDARD-ANTIVIRUS-" + "TEST-FILE!$H+H*"

// scanner finds eicar; it may fail, or find nothing to judge.
type scanner struct {
	mu    sync.Mutex
	fails error
}

// Scan implements files.Scanner.
func (s *scanner) Scan(_ context.Context, file string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fails != nil {
		return s.fails
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if strings.Contains(string(b), eicar) {
		return fmt.Errorf("signature: %w", files.ErrHarmful)
	}
	return nil
}

func (s *scanner) set(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fails = err
}

var errDown = errors.New("the scanner is down")

// told returns the records about which somebody was told that a file of theirs
// was refused, "" for one that is not there.
func (w *world) told(who ident.RecordID) (about []string) {
	w.t.Helper()
	for _, id := range w.HTTP(who, "GET", "/v1/me/notifications?limit=100&filter=event%20eq%20file.refused", nil).IDs(w.t) {
		n := w.HTTP(who, "GET", "/v1/me/notifications/"+id, nil).Object(w.t)
		s, _ := n["about"].(string)
		about = append(about, s)
	}
	return about
}

func (w *world) sweep() {
	w.t.Helper()
	if err := w.files.Sweep(context.Background(), w.Tenant); err != nil {
		w.t.Fatal(err)
	}
}

// empty reports whether nothing is left of any upload or content.
func (w *world) empty() bool {
	left, _ := filepath.Glob(filepath.Join(w.dir, "uploads", string(testworld.Slug), "*.part"))
	kept, _ := filepath.Glob(filepath.Join(w.dir, "blobs", "*", "*", "*"))
	aside, _ := filepath.Glob(filepath.Join(w.dir, "uploads", string(testworld.Slug), "refused", "*"))
	return len(left)+len(kept)+len(aside) == 0
}

// TestHarmful: harmful content is refused and deleted, whoever sent it is told,
// and so is the trail.
func TestHarmful(t *testing.T) {
	var scan scanner
	w := newWorld(t, func(o *files.Options) { o.Scanner = &scan })
	doc := w.document(eng, "act-acme-1", "note.txt")
	at := w.begin(eng, doc, len(eicar))
	w.patch(eng, at, 0, []byte(eicar)).want(422, "file_refused")
	w.send(eng, "HEAD", at, nil).want(404, "")
	w.send(eng, "GET", content(doc), nil).want(404, "not_found")
	if !w.empty() {
		t.Error("something is kept of it")
	}
	if got := w.told(eng); len(got) != 1 || got[0] != string(doc) {
		t.Errorf("told of %q", got)
	}
	trail := w.HTTP(testworld.Admin, "GET", "/v1/admin/audit?limit=5", nil).Want(t, 200, "")
	if !strings.Contains(string(trail.Body), "refuse file_refused") || !strings.Contains(string(trail.Body), string(doc)) {
		t.Errorf("%s", trail.Body)
	}
	// One whose document is not there, or hidden, names nothing.
	at = w.begin(eng, "doc-never-made", len(eicar))
	w.patch(eng, at, 0, []byte(eicar)).want(422, "file_refused")
	if got := w.told(eng); len(got) != 2 || got[0]+got[1] != string(doc) {
		t.Errorf("told of %q", got)
	}
	// What will never be judged is none to keep either.
	scan.set(files.ErrUnscannable)
	at = w.begin(eng, doc, 5)
	w.patch(eng, at, 0, []byte("plain")).want(422, "file_not_scanned")
	if len(w.told(eng)) != 3 || !w.empty() {
		t.Errorf("%q", w.told(eng))
	}
}

// TestHeld: content that can't be judged waits, for nobody to read, is judged
// by itself later, also when its sender has signed out or a week has passed, and
// is known to wait by those who may know of it.
func TestHeld(t *testing.T) {
	var scan scanner
	w := newWorld(t, func(o *files.Options) { o.Scanner = &scan })
	scan.set(errDown)
	doc := w.document(eng, "act-acme-1", "note.txt")
	w.send(eng, "GET", content(doc), nil).want(404, "not_found")
	at := w.begin(eng, doc, 5)
	if r := w.patch(eng, at, 0, []byte("plain")).want(204, ""); r.header.Get("Satchel-File-Status") != "waiting" {
		t.Errorf("%v", r.header)
	}
	if r := w.send(eng, "HEAD", at, nil).want(200, "").offset(5); r.header.Get("Satchel-File-Status") != "waiting" {
		t.Errorf("%v", r.header)
	}
	w.send(eng, "GET", content(doc), nil).want(409, "file_waiting")
	w.send(eng, "GET", strings.Replace(content(doc), "/content", "/thumbnail", 1), nil).want(404, "not_found")
	// To whom the document is hidden it is absent, with or without content.
	w.Hide(testworld.Manager, testworld.Acme)
	w.send(testworld.Manager, "GET", content(doc), nil).want(404, "not_found")

	other := w.document(eng, "act-acme-1", "other.txt")
	at2 := w.begin(eng, other, len(eicar))
	w.patch(eng, at2, 0, []byte(eicar)).want(204, "")

	w.Advance(8 * 24 * time.Hour) // longer than an upload waits for its bytes
	w.sweep()
	w.send(eng, "GET", content(doc), nil).want(409, "file_waiting")
	w.HTTP(eng, "POST", "/v1/admin/employees/"+string(eng)+"/disable", nil)
	scan.set(nil)
	w.sweep()
	if got := w.send(eng, "GET", content(doc), nil).want(200, ""); string(got.body) != "plain" {
		t.Errorf("%q", got.body)
	}
	w.send(eng, "GET", content(other), nil).want(404, "not_found")
	if got := w.told(eng); len(got) != 1 || got[0] != string(other) {
		t.Errorf("told of %q", got)
	}
	if left, _ := filepath.Glob(filepath.Join(w.dir, "uploads", string(testworld.Slug), "*.part")); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// TestHeldOverRestart: what waits is known to wait by the next process.
func TestHeldOverRestart(t *testing.T) {
	var scan scanner
	scan.set(errDown)
	w := newWorld(t, func(o *files.Options) { o.Scanner = &scan })
	doc := w.document(eng, "act-acme-1", "note.txt")
	at := w.begin(eng, doc, 5)
	w.patch(eng, at, 0, []byte("plain")).want(204, "")
	again := w.again()
	scan.set(nil)
	if err := again.files.Sweep(context.Background(), w.Tenant); err != nil {
		t.Fatal(err)
	}
	if got := w.send(eng, "GET", content(doc), nil).want(200, ""); string(got.body) != "plain" {
		t.Errorf("%q", got.body)
	}
}

// TestHeldOfSomebodyGone: content of somebody who may no longer send any is
// judged, and comes to nobody's document.
func TestHeldOfSomebodyGone(t *testing.T) {
	var scan scanner
	scan.set(errDown)
	w := newWorld(t, func(o *files.Options) { o.Scanner = &scan })
	doc := w.document(eng, "act-acme-1", "note.txt")
	w.patch(eng, w.begin(eng, doc, 5), 0, []byte("plain")).want(204, "")
	bad := w.document(eng, "act-acme-1", "bad.txt")
	w.patch(eng, w.begin(eng, bad, len(eicar)), 0, []byte(eicar)).want(204, "")
	w.HTTP(testworld.Admin, "POST", "/v1/admin/employees/"+string(eng)+"/disable", nil).Want(t, 200, "")
	scan.set(nil)
	w.sweep()
	w.send(testworld.Manager, "GET", content(doc), nil).want(404, "not_found")
	w.Advance(8 * 24 * time.Hour)
	w.sweep()
	w.Advance(48 * time.Hour)
	w.sweep()
	w.Advance(48 * time.Hour)
	w.sweep()
	if !w.empty() {
		t.Error("something is kept of it")
	}
}

// TestUnscannedRefused: where the tenant would rather have nothing than what
// was not judged, it is refused.
func TestUnscannedRefused(t *testing.T) {
	var scan scanner
	scan.set(errDown)
	w := newWorld(t, func(o *files.Options) { o.Scanner, o.Unscanned = &scan, files.Refuse })
	doc := w.document(eng, "act-acme-1", "note.txt")
	at := w.begin(eng, doc, 5)
	w.patch(eng, at, 0, []byte("plain")).want(422, "file_not_scanned")
	w.send(eng, "HEAD", at, nil).want(404, "")
	w.send(eng, "GET", content(doc), nil).want(404, "not_found")
	if len(w.told(eng)) != 1 || !w.empty() {
		t.Errorf("%q", w.told(eng))
	}
}
