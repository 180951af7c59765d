package files

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"image"
	_ "image/gif" // pictures that are decoded
	"image/jpeg"
	_ "image/png" // likewise
	"io"
	"os"
	"strconv"
	"time"

	"github.com/gofiber/fiber/v2"
	"golang.org/x/image/draw"
	_ "golang.org/x/image/webp" // likewise

	"satchel/internal/fault"
	"satchel/server/blob"
	"satchel/server/edge"
)

// sizes are the edges of thumbnails, in pixels; what is asked for is rounded up
// to one of them, so that nobody fills the disk with every size there is.
var sizes = []int{96, 192, 384, 768}

// maxPixels bounds the pictures that are decoded: 40 megapixels take up to 160
// MB of memory, of two at once.
const maxPixels = 40_000_000

// decodeTime bounds the wait for the turn to decode.
const decodeTime = 20 * time.Second

// thumbnail answers a small JPEG of a document that is a picture.
func (s *Server) thumbnail(c *fiber.Ctx, caller *edge.Caller) error {
	size := sizes[1]
	if text := c.Query("size"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > sizes[len(sizes)-1] {
			return fault.Newf(fault.BadParameter, "size is the length of the longer edge in pixels, 1 to %d.", sizes[len(sizes)-1]).OnField("size")
		}
		for _, size = range sizes {
			if size >= n {
				break
			}
		}
	}
	h, err := s.find(c, caller)
	if err != nil {
		return err
	}
	switch h.mediaType {
	case "image/jpeg", "image/png", "image/gif", "image/webp":
	default:
		return noThumbnail()
	}
	small := h
	small.key = h.key.Variant("t" + strconv.Itoa(size))
	small.mediaType = "image/jpeg"
	ctx, cancel := context.WithTimeout(context.Background(), decodeTime)
	defer cancel()
	if _, err := s.opts.Blobs.Stat(ctx, h.tenant, small.key); errors.Is(err, blob.ErrNotFound) {
		sh, err := s.shelf(caller.Tenant)
		if err != nil {
			return err
		}
		if err := s.derive(ctx, sh, h, small.key, size); err != nil {
			return err
		}
	} else if err != nil {
		return s.lacking(h, err)
	}
	return s.send(c, small)
}

func noThumbnail() error {
	return fault.Newf(fault.NotFoundCode, "There is no thumbnail of this file.")
}

// derive makes a thumbnail and keeps it.
func (s *Server) derive(ctx context.Context, sh *shelf, h held, k blob.Key, size int) error {
	select {
	case s.decode <- struct{}{}:
		defer func() { <-s.decode }()
	case <-ctx.Done():
		return fault.New(fault.Busy)
	}
	small, err := s.shrink(ctx, h, size)
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(sh.dir, ".new-*")
	if err != nil {
		return storage(err)
	}
	defer os.Remove(tmp.Name()) //nolint:errcheck // gone once it was put
	err = jpeg.Encode(tmp, small, &jpeg.Options{Quality: 80})
	if err := errors.Join(err, tmp.Close()); err != nil {
		return storage(err)
	}
	return s.put(sh, h.tenant, k, tmp.Name())
}

// shrink decodes a picture and makes it small. A picture that can't be decoded
// has no thumbnail: it may be damaged, or never have been one.
func (s *Server) shrink(ctx context.Context, h held, size int) (small image.Image, err error) {
	defer func() {
		if v := recover(); v != nil { // decoders meet bytes from anybody
			small, err = nil, noThumbnail()
		}
	}()
	r, err := s.opts.Blobs.Open(ctx, h.tenant, h.key, 0, -1)
	if err != nil {
		return nil, s.lacking(h, err)
	}
	defer r.Close()
	// What a decoder reads to learn the size stands before all pixels.
	head, err := io.ReadAll(io.LimitReader(r, 256<<10))
	if err != nil {
		return nil, s.lacking(h, err)
	}
	cfg, _, err := image.DecodeConfig(bytes.NewReader(head))
	if err != nil || cfg.Width < 1 || cfg.Height < 1 || int64(cfg.Width)*int64(cfg.Height) > maxPixels {
		return nil, noThumbnail()
	}
	img, _, err := image.Decode(io.MultiReader(bytes.NewReader(head), r))
	if err != nil {
		return nil, noThumbnail()
	}
	turn := orientation(head)
	w, hh := cfg.Width, cfg.Height
	if w >= hh && w > size {
		w, hh = size, max(1, hh*size/w)
	} else if hh > size {
		w, hh = max(1, w*size/hh), size
	}
	dst := image.NewRGBA(image.Rect(0, 0, w, hh))
	// What shows through is white: JPEG has no transparency.
	draw.Draw(dst, dst.Bounds(), image.White, image.Point{}, draw.Src)
	draw.ApproxBiLinear.Scale(dst, dst.Bounds(), img, img.Bounds(), draw.Over, nil)
	return upright(dst, turn), nil
}

// upright turns a picture as its camera was held: the values 1 to 8 of Exif's
// orientation.
func upright(src *image.RGBA, turn int) *image.RGBA {
	if turn <= 1 || turn > 8 {
		return src
	}
	w, h := src.Rect.Dx(), src.Rect.Dy()
	dst := image.NewRGBA(image.Rect(0, 0, w, h))
	if turn >= 5 {
		dst = image.NewRGBA(image.Rect(0, 0, h, w))
	}
	for y := range h {
		for x := range w {
			var dx, dy int
			switch turn {
			case 2:
				dx, dy = w-1-x, y
			case 3:
				dx, dy = w-1-x, h-1-y
			case 4:
				dx, dy = x, h-1-y
			case 5:
				dx, dy = y, x
			case 6:
				dx, dy = h-1-y, x
			case 7:
				dx, dy = h-1-y, w-1-x
			case 8:
				dx, dy = y, w-1-x
			}
			dst.SetRGBA(dx, dy, src.RGBAAt(x, y))
		}
	}
	return dst
}

// orientation finds Exif's orientation in the beginning of a JPEG; 1, as it
// lies, for anything that has none.
func orientation(head []byte) int {
	if len(head) < 4 || head[0] != 0xff || head[1] != 0xd8 {
		return 1
	}
	for b := head[2:]; len(b) >= 4 && b[0] == 0xff; {
		n := int(binary.BigEndian.Uint16(b[2:])) // of the segment, these two bytes included
		if b[1] == 0xda || n < 2 || len(b) < 2+n {
			break
		}
		if tiff, ok := bytes.CutPrefix(b[4:2+n], []byte("Exif\x00\x00")); ok && b[1] == 0xe1 {
			return tiffOrientation(tiff)
		}
		b = b[2+n:]
	}
	return 1
}

func tiffOrientation(b []byte) int {
	var order binary.ByteOrder = binary.LittleEndian
	if bytes.HasPrefix(b, []byte("MM")) {
		order = binary.BigEndian
	}
	if len(b) < 8 {
		return 1
	}
	at := int64(order.Uint32(b[4:]))
	if at+2 > int64(len(b)) {
		return 1
	}
	rows := b[at+2:]
	for range order.Uint16(b[at:]) {
		if len(rows) < 12 {
			break
		}
		if order.Uint16(rows) == 0x0112 {
			if v := int(order.Uint16(rows[8:])); v >= 1 && v <= 8 {
				return v
			}
			break
		}
		rows = rows[12:]
	}
	return 1
}
