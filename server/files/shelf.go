package files

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"satchel/internal/durable"
	"satchel/internal/fault"
	"satchel/internal/ident"
)

// upload is one upload as it stands in its own file beside its bytes. What it
// says is durable: bytes behind Offset may be there and count for nothing.
type upload struct {
	ID       string          `json:"id"`
	Owner    ident.RecordID  `json:"owner"`
	Session  ident.SessionID `json:"session"` // that sent last
	Device   ident.DeviceID  `json:"device,omitempty"`
	Document ident.RecordID  `json:"document"`
	Name     string          `json:"name,omitempty"`
	Metadata string          `json:"metadata,omitempty"` // as sent
	Length   int64           `json:"length"`             // bytes
	Offset   int64           `json:"offset"`
	Expires  ident.Millis    `json:"expires"`
	// Of content that arrived whole and was found good: what it is. Done says
	// that it is kept and its document told; the rest is a receipt then.
	SHA256    string `json:"sha256,omitempty"`
	MediaType string `json:"mediaType,omitempty"`
	Done      bool   `json:"done,omitempty"`
	// Waiting: it arrived whole, could not be judged then, and its sender was
	// told that it will be.
	Waiting bool `json:"waiting,omitempty"`
}

// entry is an upload in memory. Whoever holds it may change it, under the
// shelf's lock where others read; the others wait for free.
type entry struct {
	upload
	hold *hold // nil while nobody works on it
}

// hold is one request's work on an upload.
type hold struct {
	stopped atomic.Bool
	conn    net.Conn      // nil for work that can't be interrupted
	free    chan struct{} // closed when it is over
}

// stop asks the request to come to an end: its next read fails. The flag is set
// before the deadline, and arriving looks at it after setting its own, so that
// one of the two is always seen.
func (h *hold) stop() {
	h.stopped.Store(true)
	if h.conn != nil {
		_ = h.conn.SetReadDeadline(time.Unix(1, 0)) // a connection that is gone needs none
	}
}

// shelf has the uploads of one tenant: ROOT/TENANT/ID.json and ID.part.
type shelf struct {
	dir string

	// blobs is held for reading while content is put, and for writing while
	// what nothing refers to is deleted.
	blobs sync.RWMutex

	mu   sync.Mutex
	byID map[string]*entry
	// stored is how many bytes the tenant's documents count for, each in full,
	// as of the last sweep, with what arrived since. That content is kept once
	// however often it is sent shows nowhere, here neither.
	stored int64
}

// openShelf reads what a tenant's uploads were when the process before ended.
// A file that can't be read is left alone and told.
func openShelf(dir string) (*shelf, []error, error) {
	if err := durable.MkdirAll(dir); err != nil {
		return nil, nil, fmt.Errorf("files: %w", err)
	}
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("files: %w", err)
	}
	s := &shelf{dir: dir, byID: map[string]*entry{}}
	var odd []error
	for _, n := range names {
		id, ok := strings.CutSuffix(n.Name(), ".json")
		if !ok || len(id) != idLength {
			continue
		}
		var u upload
		raw, err := os.ReadFile(filepath.Join(dir, n.Name()))
		if err == nil {
			err = json.Unmarshal(raw, &u)
		}
		if err != nil || u.ID != id || u.Offset < 0 || u.Offset > u.Length {
			odd = append(odd, fmt.Errorf("files: upload %s can't be read: %w", id, err))
			continue
		}
		s.byID[id] = &entry{upload: u}
	}
	return s, odd, nil
}

// refused is the folder where earlier versions kept content that a scan found
// harmful.
const refused = "refused"

func (s *shelf) part(id string) string { return filepath.Join(s.dir, id+".part") }

func (s *shelf) info(id string) string { return filepath.Join(s.dir, id+".json") }

// save makes what an upload says durable.
func (s *shelf) save(u *upload) error {
	raw, err := json.Marshal(u)
	if err != nil {
		return err
	}
	return writeFile(s.info(u.ID), raw)
}

// writeFile writes a file whole or not at all, durably.
func writeFile(path string, raw []byte) error { return storage(durable.WriteFile(path, raw)) }

// storage makes a refusal of a failed write: one that may pass, if the disk is
// full.
func storage(err error) error {
	switch {
	case err == nil:
		return nil
	case full(err):
		return fault.New(fault.DiskFull).Because(err)
	}
	return fault.New(fault.InternalError).Because(fmt.Errorf("files: %w", err))
}

// interruption bounds how long a request waits for another one of the same
// person, which it asked to stop.
const interruption = 5 * time.Second

// take returns an upload of the person for one request alone. Somebody else's,
// one that is over and one that never was are the same answer. Where a request
// is at work on it the answer is upload_locked; with urgent set that request is
// asked to stop first: a phone that comes back on another network must not
// wait until the server notices that the old connection is dead.
func (s *shelf) take(id string, owner ident.RecordID, now ident.Millis, conn net.Conn, urgent bool) (*entry, error) {
	give := time.NewTimer(interruption)
	defer give.Stop()
	for {
		s.mu.Lock()
		e := s.byID[id]
		if e == nil || e.Owner != owner || e.Expires <= now {
			s.mu.Unlock()
			return nil, fault.Newf(fault.NotFoundCode, "There is no such upload.")
		}
		if e.hold == nil {
			e.hold = &hold{conn: conn, free: make(chan struct{})}
			s.mu.Unlock()
			return e, nil
		}
		other := e.hold
		if urgent {
			other.stop() // under the lock: once released its connection is another request's
		}
		s.mu.Unlock()
		if !urgent {
			return nil, fault.New(fault.UploadLocked)
		}
		select {
		case <-other.free:
		case <-give.C:
			return nil, fault.New(fault.UploadLocked)
		}
	}
}

// interrupt asks all requests at work on uploads to stop.
func (s *shelf) interrupt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.byID {
		if e.hold != nil {
			e.hold.stop()
		}
	}
}

// release ends a request's hold on an upload.
func (s *shelf) release(e *entry) {
	s.mu.Lock()
	h := e.hold
	e.hold = nil
	s.mu.Unlock()
	close(h.free)
}

// set changes an upload, here and on the disk. The caller holds it.
func (s *shelf) set(e *entry, change func(*upload)) error {
	u := e.upload
	change(&u)
	if err := s.save(&u); err != nil {
		return err
	}
	s.mu.Lock()
	e.upload = u
	s.mu.Unlock()
	return nil
}

// remove ends an upload that the caller holds.
func (s *shelf) remove(e *entry) error {
	s.mu.Lock()
	delete(s.byID, e.ID)
	s.mu.Unlock()
	// The bytes go last: with them alone nothing is left that counts.
	err := os.Remove(s.info(e.ID))
	if part := os.Remove(s.part(e.ID)); !errors.Is(part, fs.ErrNotExist) {
		err = errors.Join(err, part)
	}
	return storage(err)
}

// refers reports whether an upload has content with the digest.
func (s *shelf) refers(digest string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.byID {
		if e.SHA256 == digest {
			return true
		}
	}
	return false
}

// room refuses an upload for which a quota has no room.
func (s *shelf) room(owner ident.RecordID, length int64, l *Limits) error {
	mine, count, open := int64(0), 0, int64(0)
	for _, e := range s.byID {
		if e.Done {
			continue
		}
		open += e.Length
		if e.Owner == owner {
			mine += e.Length
			count++
		}
	}
	if mine+length > l.OpenBytes || count >= l.OpenCount || s.stored+open+length > l.TenantBytes {
		return fault.New(fault.QuotaExceeded)
	}
	return nil
}

// add puts a new upload on the shelf, held by the caller, if there is room.
func (s *shelf) add(u *upload, conn net.Conn, l *Limits) (*entry, error) {
	e := &entry{upload: *u, hold: &hold{conn: conn, free: make(chan struct{})}}
	s.mu.Lock()
	if err := s.room(u.Owner, u.Length, l); err != nil {
		s.mu.Unlock()
		return nil, err
	}
	s.byID[u.ID] = e
	s.mu.Unlock()
	f, err := os.OpenFile(s.part(u.ID), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		err = f.Close()
	}
	if err = storage(err); err == nil {
		err = s.save(u)
	}
	if err != nil {
		err = errors.Join(err, s.remove(e))
		s.release(e)
		return nil, err
	}
	return e, nil
}

// all returns the uploads there are, as they are now.
func (s *shelf) all() []upload {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]upload, 0, len(s.byID))
	for _, e := range s.byID {
		out = append(out, e.upload)
	}
	return out
}
