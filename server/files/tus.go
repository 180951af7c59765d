package files

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"strconv"
	"sync"

	"github.com/gofiber/fiber/v2"

	"satchel/internal/command"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/internal/policy"
	"satchel/server/blob"
	"satchel/server/edge"
	"satchel/sync/tenant"
)

// The protocol spoken, and what of its extensions.
const (
	version   = "1.0.0"
	offered   = "creation,creation-with-upload,checksum,expiration,termination"
	chunkType = "application/offset+octet-stream"
)

// statuses are the protocol's own, where the code's kind has another.
var statuses = map[fault.Code]int{fault.UploadLocked: fiber.StatusLocked, fault.ChecksumMismatch: 460}

// tus makes a handler of one of the protocol's requests.
func (s *Server) tus(h func(*fiber.Ctx, *edge.Caller) error) fiber.Handler {
	do := s.called(func(c *fiber.Ctx, caller *edge.Caller) error {
		if c.Get("Tus-Resumable") != version {
			c.Set("Tus-Version", version)
			return fault.New(fault.ProtocolVersion)
		}
		return h(c, caller)
	})
	return func(c *fiber.Ctx) error {
		c.Set("Tus-Resumable", version)
		err := do(c)
		if err == nil {
			return nil
		}
		status, own := statuses[fault.Of(err).Code]
		if !own {
			return err
		}
		if err := edge.Problem(c, err); err != nil {
			return err
		}
		c.Status(status)
		return nil
	}
}

// options answers what the server can do; it is the same for everybody.
func (s *Server) options(c *fiber.Ctx) error {
	c.Set("Tus-Resumable", version)
	c.Set("Tus-Version", version)
	c.Set("Tus-Extension", offered)
	c.Set("Tus-Checksum-Algorithm", checksumAlgorithms)
	c.Set("Tus-Max-Size", strconv.FormatInt(s.limits.Upload, 10))
	return c.SendStatus(fiber.StatusNoContent)
}

// override lets a POST stand for a method that something on the way lets
// through for nobody.
func (s *Server) override(c *fiber.Ctx, caller *edge.Caller) error {
	switch c.Get("X-HTTP-Method-Override") {
	case fiber.MethodPatch:
		return s.patch(c, caller)
	case fiber.MethodDelete:
		return s.terminate(c, caller)
	case fiber.MethodHead:
		return s.head(c, caller)
	}
	return fiber.ErrMethodNotAllowed
}

// mayUpload refuses whoever may neither create nor edit any document, and
// whose session is over.
func (s *Server) mayUpload(caller *edge.Caller) error {
	return caller.Read(func(_ *tenant.View, sub *policy.Subject) error {
		if len(sub.Grants(s.typ, policy.Create)) == 0 && len(sub.Grants(s.typ, policy.Edit)) == 0 {
			return fault.New(fault.NotAllowed)
		}
		return nil
	})
}

// identity refuses bodies with a content encoding: offsets and limits are of
// the bytes sent.
func identity(c *fiber.Ctx) error {
	if enc := c.Get(fiber.HeaderContentEncoding); enc != "" && enc != "identity" {
		return fault.New(fault.EncodingRefused)
	}
	return nil
}

// create begins an upload, with its first bytes where the request has some.
func (s *Server) create(c *fiber.Ctx, caller *edge.Caller) error {
	if err := s.mayUpload(caller); err != nil {
		return err
	}
	if err := identity(c); err != nil {
		return err
	}
	if c.Get("Upload-Defer-Length") != "" {
		return badHeader("Upload-Defer-Length", "The length must be known when the upload is created.")
	}
	length, err := whole("Upload-Length", c.Get("Upload-Length"))
	if err != nil {
		return err
	}
	if length > s.limits.Upload {
		return fault.Newf(fault.TooBig, "A file has at most %d bytes.", s.limits.Upload)
	}
	header := c.Get("Upload-Metadata")
	meta, err := parseMetadata(header)
	if err != nil {
		return err
	}
	if t, told := meta["type"]; told && t != typeDocument {
		return badHeader("Upload-Metadata", "type must be %s.", typeDocument)
	}
	document := ident.RecordID(meta["document"])
	if !document.Valid() {
		return badHeader("Upload-Metadata", "document must be the id of a document, made or yet to be made.")
	}
	sent := c.Request().Header.ContentLength() != 0
	var sum *checksum
	if sent {
		if c.Get(fiber.HeaderContentType) != chunkType {
			return fault.Newf(fault.MediaType, "The first bytes of an upload are sent as %s.", chunkType)
		}
		if n := int64(c.Request().Header.ContentLength()); n > length {
			return fault.Newf(fault.TooBig, "The upload was announced with %d bytes.", length)
		}
		if sum, err = parseChecksum(c.Get("Upload-Checksum")); err != nil {
			return err
		}
	}
	sh, err := s.shelf(caller.Tenant)
	if err != nil {
		return err
	}
	// The disk is the records' too: it is not filled up with files.
	if free, err := s.opts.Free(sh.dir); err == nil && free < uint64(length)+4*s.opts.Reserve {
		return fault.New(fault.DiskFull)
	}
	id, err := s.freshID()
	if err != nil {
		return err
	}
	name := meta["filename"]
	if name == "" {
		name = meta["name"]
	}
	e, err := sh.add(&upload{
		ID: id, Owner: caller.Employee, Session: caller.Session, Device: caller.Device, Document: document,
		Name: cleanName(name), Metadata: header, Length: length, Expires: s.now() + s.lifetime(),
	}, c.Context().Conn(), &s.limits)
	if err != nil {
		return err
	}
	defer sh.release(e)
	if sent {
		// Nobody learns of an upload that got no answer: what came is dropped.
		if err := s.receive(c, caller, sh, e, sum); err != nil {
			return errors.Join(err, sh.remove(e))
		}
	}
	if err := s.arrived(caller, sh, e); err != nil {
		return err
	}
	c.Set(fiber.HeaderLocation, Base+"/"+id)
	s.tell(c, e)
	c.Status(fiber.StatusCreated)
	return nil
}

func (s *Server) lifetime() ident.Millis { return ident.Millis(s.limits.Lifetime.Milliseconds()) }

// tell sets the headers that say how an upload stands.
func (s *Server) tell(c *fiber.Ctx, e *entry) {
	c.Set("Upload-Offset", strconv.FormatInt(e.Offset, 10))
	c.Set("Upload-Expires", e.Expires.Time().Format(http.TimeFormat))
	switch {
	case e.Done:
		c.Set(statusHeader, kept)
	case e.Waiting:
		c.Set(statusHeader, waiting)
	}
}

// head answers how an upload stands. A request that is at work on it is asked
// to stop: who asks is about to go on with it.
func (s *Server) head(c *fiber.Ctx, caller *edge.Caller) error {
	sh, e, err := s.hold(c, caller, true)
	if err != nil {
		return err
	}
	defer sh.release(e)
	if err := s.arrived(caller, sh, e); err != nil {
		return err
	}
	s.tell(c, e)
	c.Set("Upload-Length", strconv.FormatInt(e.Length, 10))
	if e.Metadata != "" {
		c.Set("Upload-Metadata", e.Metadata)
	}
	return nil
}

// hold takes the upload that the request is for.
func (s *Server) hold(c *fiber.Ctx, caller *edge.Caller, urgent bool) (*shelf, *entry, error) {
	if err := caller.Read(func(*tenant.View, *policy.Subject) error { return nil }); err != nil {
		return nil, nil, err
	}
	sh, err := s.shelf(caller.Tenant)
	if err != nil {
		return nil, nil, err
	}
	e, err := sh.take(c.Params("id"), caller.Employee, s.now(), c.Context().Conn(), urgent)
	return sh, e, err
}

// patch takes an upload's next bytes.
func (s *Server) patch(c *fiber.Ctx, caller *edge.Caller) error {
	if err := identity(c); err != nil {
		return err
	}
	if c.Get(fiber.HeaderContentType) != chunkType {
		return fault.Newf(fault.MediaType, "The bytes of an upload are sent as %s.", chunkType)
	}
	offset, err := whole("Upload-Offset", c.Get("Upload-Offset"))
	if err != nil {
		return err
	}
	sum, err := parseChecksum(c.Get("Upload-Checksum"))
	if err != nil {
		return err
	}
	if err := s.mayUpload(caller); err != nil {
		return err
	}
	sh, e, err := s.hold(c, caller, false)
	if err != nil {
		return err
	}
	defer sh.release(e)
	if offset != e.Offset {
		s.tell(c, e)
		return fault.New(fault.OffsetMismatch)
	}
	if n := int64(c.Request().Header.ContentLength()); n > e.Length-e.Offset {
		return fault.Newf(fault.TooBig, "The upload was announced with %d bytes.", e.Length)
	}
	if err := s.receive(c, caller, sh, e, sum); err != nil {
		return err
	}
	if err := s.arrived(caller, sh, e); err != nil {
		return err
	}
	s.tell(c, e)
	return c.SendStatus(fiber.StatusNoContent)
}

// buffers are what bytes pass through on their way to the disk.
var buffers = sync.Pool{New: func() any { return new([64 << 10]byte) }}

// durably is after how many bytes what arrived is made durable while more
// comes: that much at most is sent again after a crash.
const durably = 8 << 20

// receive writes the bytes of a request behind those there are. Those that
// arrived before the connection broke count, unless a checksum of all of them
// was promised.
func (s *Server) receive(c *fiber.Ctx, caller *edge.Caller, sh *shelf, e *entry, sum *checksum) error {
	f, err := os.OpenFile(sh.part(e.ID), os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) && e.Offset == e.Length {
		return nil // moved to its place already
	} else if err != nil {
		return storage(err)
	}
	defer f.Close()
	announced := int64(c.Request().Header.ContentLength())
	in := &arriving{body: bodyOf(c), conn: c.Context().Conn(), hold: e.hold}
	buf := buffers.Get().(*[64 << 10]byte)
	defer buffers.Put(buf)
	start, at := e.Offset, e.Offset
	keep := func() error {
		if at == e.Offset {
			return nil
		}
		if err := f.Sync(); err != nil {
			return storage(err)
		}
		return sh.set(e, func(u *upload) {
			u.Offset, u.Expires, u.Session, u.Device = at, s.now()+s.lifetime(), caller.Session, caller.Device
		})
	}
	var ended error
	for ended == nil {
		var n int
		n, ended = in.Read(buf[:])
		if at+int64(n) > e.Length {
			// None of it counts: it can't be told which of it was meant.
			return errors.Join(fault.Newf(fault.TooBig, "The upload was announced with %d bytes.", e.Length), s.revert(sh, e, start))
		}
		if n == 0 {
			continue
		}
		if _, err := f.WriteAt(buf[:n], at); err != nil {
			if sum == nil {
				err = errors.Join(err, keep())
			}
			return storage(err)
		}
		at += int64(n)
		if sum != nil {
			sum.hash.Write(buf[:n])
		} else if at-e.Offset >= durably {
			if err := keep(); err != nil {
				return err
			}
		}
	}
	// A connection that broke ends a body of known length like one that came
	// to its end.
	broken := !errors.Is(ended, io.EOF) || announced >= 0 && at-start < announced
	if broken {
		c.Context().Response.SetConnectionClose() // nothing more is expected on it
	}
	if sum != nil && (broken || !sum.holds()) {
		return fault.New(fault.ChecksumMismatch)
	}
	if err := keep(); err != nil {
		return err
	}
	if broken {
		s.tell(c, e)
		return fault.Newf(fault.BadParameter, "The body broke off. What arrived is kept.")
	}
	return nil
}

// revert takes back what a request added to an upload.
func (s *Server) revert(sh *shelf, e *entry, offset int64) error {
	if e.Offset == offset {
		return nil
	}
	return sh.set(e, func(u *upload) { u.Offset = offset })
}

// terminate ends an upload. The content of one that is finished stays with its
// document.
func (s *Server) terminate(c *fiber.Ctx, caller *edge.Caller) error {
	sh, e, err := s.hold(c, caller, true)
	if err != nil {
		return err
	}
	defer sh.release(e)
	if err := sh.remove(e); err != nil {
		return err
	}
	return c.SendStatus(fiber.StatusNoContent)
}

// arrived finishes an upload all of whose bytes are there: it examines them,
// gives them to the place for content and tells the document. Each step can be
// done again, so that an upload which a crash left in between is finished by
// whoever asks next.
func (s *Server) arrived(caller *edge.Caller, sh *shelf, e *entry) error {
	if e.Done || e.Offset < e.Length {
		return nil
	}
	if e.SHA256 == "" {
		if judged, err := s.examine(caller.Tenant, sh, e); err != nil || !judged {
			return err
		}
	}
	ctx, cancel := s.submitting()
	defer cancel()
	k := blob.Key(e.SHA256)
	if err := s.put(sh, caller.Tenant.ID(), k, sh.part(e.ID)); err != nil {
		return err
	}
	cmd := caller.Command()
	if e.Waiting { // it was taken from the sender then, whose session may be over
		cmd = &command.Command{Actor: e.Owner}
	}
	cmd.File = &command.File{
		Document: e.Document, Upload: e.ID, SHA256: e.SHA256, Size: e.Length, MediaType: e.MediaType, Name: e.Name,
	}
	if _, err := caller.Tenant.Submit(ctx, cmd); err != nil {
		return err
	}
	sh.mu.Lock()
	sh.stored += e.Length
	sh.mu.Unlock()
	return sh.set(e, func(u *upload) { u.Done, u.Expires = true, s.now()+s.lifetime() })
}

// put gives a file to the place for content. One that is gone was given there
// before.
func (s *Server) put(sh *shelf, t ident.TenantID, k blob.Key, file string) error {
	ctx, cancel := s.storing()
	defer cancel()
	sh.blobs.RLock()
	defer sh.blobs.RUnlock()
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		if _, err := s.opts.Blobs.Stat(ctx, t, k); err == nil {
			return nil
		}
	}
	if err := s.opts.Blobs.Put(ctx, t, k, file); err != nil {
		if full(err) {
			return fault.New(fault.DiskFull).Because(err)
		}
		// What arrived is kept, and given there when somebody asks again.
		return fault.New(fault.Busy).Because(err)
	}
	return nil
}

// examine tells what content is, and refuses what is not taken; judged is false
// where it can't be told yet whether it is.
func (s *Server) examine(t *tenant.Tenant, sh *shelf, e *entry) (judged bool, err error) {
	f, err := os.Open(sh.part(e.ID))
	if err != nil {
		return false, storage(err)
	}
	defer f.Close()
	head := make([]byte, min(sniffed, e.Length))
	if _, err := io.ReadFull(f, head); err != nil {
		return false, storage(err)
	}
	mediaType := sniff(head)
	if !takes(s.limits.Types, mediaType) {
		return false, errors.Join(fault.New(fault.FileTypeRefused), sh.remove(e))
	}
	if s.opts.Scanner != nil {
		if judged, err := s.scan(t, sh, e); err != nil || !judged {
			return false, err
		}
	}
	h := sha256.New()
	h.Write(head)
	n, err := io.Copy(h, f)
	if err != nil {
		return false, storage(err)
	}
	if n += int64(len(head)); n != e.Length {
		return false, storage(fmt.Errorf("upload %s has %d bytes, not %d", e.ID, n, e.Length))
	}
	return true, sh.set(e, func(u *upload) { u.SHA256, u.MediaType = hex.EncodeToString(h.Sum(nil)), mediaType })
}
