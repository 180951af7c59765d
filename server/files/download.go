package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/internal/mutant"
	"satchel/internal/policy"
	"satchel/server/blob"
	"satchel/server/edge"
	"satchel/sync/tenant"
)

// held is what a document's content is.
type held struct {
	tenant    ident.TenantID
	key       blob.Key
	size      int64
	mediaType string
	name      string
	made      ident.RecordID // whoever created a document that has no content
}

// find returns what a document's content is, if the person may have it now:
// whoever sees the document and of it what tells its content. Hidden, absent
// and without content are one answer.
func (s *Server) find(c *fiber.Ctx, caller *edge.Caller) (held, error) {
	h := held{tenant: caller.Tenant.ID()}
	id := ident.RecordID(c.Params("id"))
	err := caller.Read(func(v *tenant.View, sub *policy.Subject) error {
		rec, ok := v.Load(id)
		if !ok || rec.Type != s.typ {
			return fault.New(fault.NotFoundCode)
		}
		mask := sub.Sees(rec, v.Reader).Mask
		h.key = blob.Key(strings.Clone(rec.Get("sha256").Text()))
		if !mask.Has(s.typ.Field("sha256").No) && !mutant.On(mutant.DownloadUnchecked) {
			return fault.New(fault.NotFoundCode)
		}
		if !h.key.Valid() {
			h.made = rec.Value(entity.NoCreatedBy).Ref()
			return fault.New(fault.NotFoundCode)
		}
		h.size = rec.Get("size").Int()
		h.mediaType = strings.Clone(rec.Get("mediaType").Text())
		if mask.Has(s.typ.Field("name").No) {
			h.name = strings.Clone(rec.Get("name").Text())
		}
		return nil
	})
	return h, err
}

// content answers a document's content, or a range of it.
func (s *Server) content(c *fiber.Ctx, caller *edge.Caller) error {
	h, err := s.find(c, caller)
	if err != nil {
		return s.perhapsLater(c, caller, h, err)
	}
	return s.send(c, h)
}

// perhapsLater is the answer where a document has no content. Whoever created
// it, and whoever sent some, is told of content that waits to be judged.
func (s *Server) perhapsLater(c *fiber.Ctx, caller *edge.Caller, h held, err error) error {
	if !fault.Is(err, fault.NotFoundCode) || s.opts.Scanner == nil || h.made == "" {
		return err
	}
	sh, serr := s.shelf(caller.Tenant)
	if serr != nil {
		return serr
	}
	if sh.waits(ident.RecordID(c.Params("id")), caller.Employee, h.made) {
		return fault.New(fault.FileWaiting)
	}
	return err
}

// send answers content. Whatever it is, a browser is to save it.
func (s *Server) send(c *fiber.Ctx, h held) error {
	ctx, cancel := context.WithTimeout(context.Background(), storeTime)
	info, err := s.opts.Blobs.Stat(ctx, h.tenant, h.key)
	if err != nil {
		cancel()
		return s.lacking(h, err)
	}
	tag := `"` + string(h.key) + `"`
	c.Set(fiber.HeaderETag, tag)
	c.Set(fiber.HeaderAcceptRanges, "bytes")
	c.Set(fiber.HeaderContentSecurityPolicy, "default-src 'none'; sandbox; frame-ancestors 'none'")
	c.Set(fiber.HeaderXContentTypeOptions, "nosniff")
	if matches(c.Get(fiber.HeaderIfNoneMatch), tag) {
		cancel()
		return c.SendStatus(fiber.StatusNotModified)
	}
	offset, length := int64(0), info.Size
	if want := c.Get(fiber.HeaderRange); want != "" && (c.Get(fiber.HeaderIfRange) == "" || c.Get(fiber.HeaderIfRange) == tag) {
		from, n, ok, sound := parseRange(want, info.Size)
		switch {
		case !sound: // a header that can't be read is none
		case !ok:
			cancel()
			c.Set(fiber.HeaderContentRange, fmt.Sprintf("bytes */%d", info.Size))
			return fiber.ErrRequestedRangeNotSatisfiable
		default:
			offset, length = from, n
			c.Status(fiber.StatusPartialContent)
			c.Set(fiber.HeaderContentRange, fmt.Sprintf("bytes %d-%d/%d", offset, offset+length-1, info.Size))
		}
	}
	mediaType := h.mediaType
	if mediaType == "" {
		mediaType = fiber.MIMEOctetStream
	}
	c.Set(fiber.HeaderContentType, mediaType)
	c.Set(fiber.HeaderContentDisposition, disposition(saveAs(h.name, h.mediaType)))
	if c.Method() == fiber.MethodHead {
		cancel()
		c.Response().SkipBody = true
		c.Response().Header.SetContentLength(int(length))
		return nil
	}
	r, err := s.opts.Blobs.Open(ctx, h.tenant, h.key, offset, length)
	if err != nil {
		cancel()
		return s.lacking(h, err)
	}
	c.Context().SetBodyStream(&leaving{r, c.Context().Conn(), cancel}, int(length))
	return nil
}

// lacking is the answer where content can't be had. What an import refers to
// may never have been brought along.
func (s *Server) lacking(h held, err error) error {
	if errors.Is(err, blob.ErrNotFound) {
		s.log.Warn("content is missing", slog.String("tenant", string(h.tenant)), slog.String("key", string(h.key)))
		return fault.New(fault.NotFoundCode)
	}
	return fault.New(fault.Busy).Because(err)
}

// leaving is content on its way out, whose every piece has its own deadline: a
// file takes as long as the network of a phone makes it take.
type leaving struct {
	io.ReadCloser
	conn   net.Conn
	cancel context.CancelFunc
}

// Read implements io.Reader. It is called on the server's goroutine, where a
// panic would end the process.
func (l *leaving) Read(p []byte) (n int, err error) {
	defer func() {
		if v := recover(); v != nil {
			n, err = 0, fmt.Errorf("files: panic: %v", v)
		}
	}()
	if err := l.conn.SetWriteDeadline(time.Now().Add(chunkTime)); err != nil {
		return 0, err
	}
	return l.ReadCloser.Read(p)
}

// Close implements io.Closer.
func (l *leaving) Close() error {
	defer l.cancel()
	return l.ReadCloser.Close()
}

// matches compares an If-None-Match header, weakly as it is meant to be.
func matches(header, tag string) bool {
	for one := range strings.SplitSeq(header, ",") {
		one = strings.TrimPrefix(strings.TrimSpace(one), "W/")
		if one == tag || one == "*" {
			return true
		}
	}
	return false
}

// parseRange reads a Range header of one range. sound is false for one that is
// to be ignored: of another unit, of several ranges, or not readable; ok is
// false where nothing lies in the range.
func parseRange(header string, size int64) (offset, length int64, ok, sound bool) {
	spec, isBytes := strings.CutPrefix(header, "bytes=")
	first, last, isRange := strings.Cut(strings.TrimSpace(spec), "-")
	if !isBytes || !isRange {
		return 0, 0, false, false
	}
	number := func(s string) (int64, bool) {
		n, err := strconv.ParseUint(s, 10, 62)
		return int64(n), err == nil
	}
	if first == "" { // the last so many
		n, is := number(last)
		if !is {
			return 0, 0, false, false
		}
		n = min(n, size)
		return size - n, n, n > 0, true
	}
	from, is := number(first)
	to, end := size-1, true
	if last != "" {
		to, end = number(last)
	}
	if !is || !end || last != "" && to < from {
		return 0, 0, false, false
	}
	to = min(to, size-1)
	return from, to - from + 1, from < size, true
}
