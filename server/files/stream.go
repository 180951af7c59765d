package files

import (
	"bytes"
	"errors"
	"io"
	"net"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"satchel/server/edge"
)

// Limits of what is read of a body that nobody wants: enough that a client
// that sends before it reads gets its answer, and no more.
const (
	maxDrained = 2 * edge.MaxBody // bytes: who sends more than is read may find a reset instead of the answer
	drainTime  = 2 * time.Second
)

// Configure makes the application's server hand the bodies of requests beneath
// Base to their handlers as they arrive, so that an upload takes no memory. The
// bodies of all other requests are read whole before their handler runs, up to
// the application's BodyLimit, as if they were never streamed. It must be
// called before the server serves.
//
// fasthttp streams all bodies of a server or none, and then bounds none: what
// it does for bodies that it reads itself is done here. What a handler left of
// a body must not be taken for the next request, which is why the connection
// ends unless the body was read to its end.
func Configure(app *fiber.App) {
	srv := app.Server()
	limit := int64(app.Config().BodyLimit)
	next := srv.Handler
	srv.StreamRequestBody = true
	// Forms would be read into files, whatever their size, before any handler.
	srv.DisablePreParseMultipartForm = true
	srv.Handler = func(ctx *fasthttp.RequestCtx) {
		body := ctx.RequestBodyStream()
		switch {
		case body == nil:
			next(ctx)
		case streamed(ctx.Request.Header.RequestURI()):
			s := &stream{from: body}
			ctx.SetUserValue(streamKey{}, s)
			next(ctx)
			settle(ctx, s)
		default:
			s := &stream{from: body}
			if err := gather(ctx, s, limit); err != nil {
				srv.ErrorHandler(ctx, err)
				settle(ctx, s)
				ctx.Response.SetConnectionClose()
				return
			}
			next(ctx)
		}
	}
}

// stream is a body as it arrives. fasthttp's own does not remember that it came
// to its end: read once more it takes the next request for a part of itself.
type stream struct {
	from  io.Reader
	ended error // what the first Read that failed, or was the last, returned
}

// streamKey is where the stream of a request stands among its values.
type streamKey struct{}

// bodyOf returns the body of a request, streamed or not.
func bodyOf(c *fiber.Ctx) io.Reader {
	if s, ok := c.Context().UserValue(streamKey{}).(*stream); ok {
		return s
	}
	return bytes.NewReader(c.Request().Body())
}

// Read implements io.Reader.
func (s *stream) Read(p []byte) (n int, err error) {
	if s.ended == nil {
		n, s.ended = s.from.Read(p)
	}
	return n, s.ended
}

// streamed reports whether a request's body is for its handler to read. It
// looks at the target as sent: one that only amounts to a path beneath Base, or
// leaves it again, is gathered like any other, and no route but those beneath
// Base can match one that is streamed.
func streamed(target []byte) bool {
	rest, ok := bytes.CutPrefix(target, []byte(Base))
	return ok && (len(rest) == 0 || rest[0] == '/' || rest[0] == '?')
}

// prefetched is up to what length the server has read a body before it calls
// the handler.
const prefetched = 8 << 10

// gather reads a body whole.
func gather(ctx *fasthttp.RequestCtx, body *stream, limit int64) error {
	n := int64(ctx.Request.Header.ContentLength())
	switch {
	case n > limit:
		return fasthttp.ErrBodyTooLarge
	case n >= 0 && n <= prefetched:
		ctx.Request.Body() // is there; this only ends the stream
		return nil
	}
	var b bytes.Buffer
	if n > 0 {
		b.Grow(int(min(n, 64<<10))) // more once more has come
	}
	got, err := io.Copy(&b, io.LimitReader(body, limit+1))
	switch {
	case err != nil:
		return err
	case got > limit:
		return fasthttp.ErrBodyTooLarge
	case n >= 0 && got < n: // the stream ends like a whole body where the connection does
		return io.ErrUnexpectedEOF
	}
	ctx.Request.SetBodyRaw(b.Bytes())
	return nil
}

// settle reads what is left of a body, within limits, and ends the connection
// after the answer where that is not all.
func settle(ctx *fasthttp.RequestCtx, body *stream) {
	if ctx.Response.ConnectionClose() || errors.Is(body.ended, io.EOF) {
		return
	}
	if err := ctx.Conn().SetReadDeadline(time.Now().Add(drainTime)); err != nil {
		ctx.Response.SetConnectionClose()
		return
	}
	if _, err := io.CopyN(io.Discard, body, maxDrained); !errors.Is(err, io.EOF) {
		ctx.Response.SetConnectionClose()
	}
}

// errInterrupted says that another request took the upload over.
var errInterrupted = errors.New("files: interrupted")

// chunkTime is how long an upload may pause, in bytes on the wire. It bounds
// each read rather than the request, which may take hours on a bad network.
const chunkTime = 30 * time.Second

// arriving is the body of an upload, whose every read has its own deadline.
type arriving struct {
	body io.Reader
	conn net.Conn
	hold *hold
}

func (a *arriving) Read(p []byte) (int, error) {
	if err := a.conn.SetReadDeadline(time.Now().Add(chunkTime)); err != nil {
		return 0, err
	}
	if a.hold.stopped.Load() { // after the deadline was set: see hold.stop
		return 0, errInterrupted
	}
	return a.body.Read(p)
}
