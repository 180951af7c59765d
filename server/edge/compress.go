package edge

import (
	"bytes"
	"strings"
	"sync"

	"github.com/gofiber/fiber/v2"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

const (
	// minCompress is the size in bytes from which an answer is compressed.
	minCompress = 1024
	// minFast is the size from which compressing saves time rather than bytes. What a
	// phone on a bad link asks for is smaller: there a sixth fewer bytes are worth more
	// than the half millisecond that 200 kB cost. zstd goes to such lengths from
	// minDense on; beneath it would take ten times as long for nothing.
	minFast  = 256 << 10
	minDense = 4 << 10
)

var (
	gzips, fastGzips = gzipsOf(6), gzipsOf(gzip.BestSpeed)
	// zstd's encoder is safe for concurrent EncodeAll; its memory is bounded
	// by the concurrency it was made with.
	denseZstd, fastZstd = zstdOf(zstd.SpeedBetterCompression), zstdOf(zstd.SpeedFastest)
)

func zstdOf(level zstd.EncoderLevel) func() *zstd.Encoder {
	return sync.OnceValue(func() *zstd.Encoder {
		e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(level), zstd.WithEncoderConcurrency(2), zstd.WithLowerEncoderMem(true))
		if err != nil {
			panic(err) // the options are constant
		}
		return e
	})
}

func gzipsOf(level int) *sync.Pool {
	return &sync.Pool{New: func() any {
		w, err := gzip.NewWriterLevel(nil, level)
		if err != nil {
			panic(err) // the level is one of the package's own
		}
		return w
	}}
}

// JSON sends a JSON answer, compressed as the client accepts it.
func JSON(c *fiber.Ctx, status int, body []byte) error {
	c.Status(status).Set(fiber.HeaderContentType, fiber.MIMEApplicationJSON)
	return Send(c, body)
}

// Send sends a body, compressed as the client accepts it.
func Send(c *fiber.Ctx, body []byte) error {
	c.Vary(fiber.HeaderAcceptEncoding)
	if len(body) < minCompress {
		return c.Send(body)
	}
	switch accepts := c.Get(fiber.HeaderAcceptEncoding); {
	case accepted(accepts, "zstd"):
		c.Set(fiber.HeaderContentEncoding, "zstd")
		encoder := fastZstd
		if len(body) >= minDense && len(body) < minFast {
			encoder = denseZstd
		}
		return c.Send(encoder().EncodeAll(body, make([]byte, 0, len(body)/4)))
	case accepted(accepts, "gzip"):
		var b bytes.Buffer
		b.Grow(len(body) / 4)
		pool := gzips
		if len(body) >= minFast {
			pool = fastGzips
		}
		w := pool.Get().(*gzip.Writer)
		w.Reset(&b)
		_, err := w.Write(body)
		if cerr := w.Close(); err == nil {
			err = cerr
		}
		pool.Put(w)
		if err != nil {
			return err
		}
		c.Set(fiber.HeaderContentEncoding, "gzip")
		return c.Send(b.Bytes())
	}
	return c.Send(body)
}

// accepted reports whether an Accept-Encoding header names the coding and
// does not refuse it.
func accepted(header, coding string) bool {
	for part := range strings.SplitSeq(header, ",") {
		name, params, _ := strings.Cut(part, ";")
		if strings.EqualFold(strings.TrimSpace(name), coding) {
			q := strings.TrimSpace(params)
			return q != "q=0" && q != "q=0.0" && q != "q=0.00" && q != "q=0.000"
		}
	}
	return false
}
