package files_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	stdpng "image/png"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"satchel/internal/command"
	"satchel/internal/ident"
	"satchel/internal/testworld"
	"satchel/server/blob"
	"satchel/server/files"
)

func itoa(n int) string { return strconv.Itoa(n) }

// TestRange: whole, in part, and by what the client has already.
func TestRange(t *testing.T) {
	w := newWorld(t)
	body := picture(100_000)
	doc := w.document(eng, "act-acme-1", "photo.png")
	w.upload(eng, doc, body)
	tag := w.send(eng, "GET", content(doc), nil).want(200, "").header.Get("ETag")
	for _, c := range []struct {
		header   string
		status   int
		from, to int
	}{
		{"bytes=0-99", 206, 0, 100},
		{"bytes=99999-", 206, 99_999, 100_000},
		{"bytes=500-999999", 206, 500, 100_000},
		{"bytes=-10", 206, 99_990, 100_000},
		{"bytes=-200000", 206, 0, 100_000},
		{"bytes=100000-", 416, 0, 0},
		{"bytes=-0", 416, 0, 0},
		{"bytes=5-4", 200, 0, 100_000},
		{"bytes=0-1,5-6", 200, 0, 100_000},
		{"bytes=a-b", 200, 0, 100_000},
		{"bytes=--5", 200, 0, 100_000},
		{"items=0-5", 200, 0, 100_000},
		{"bytes=99999999999999999999-", 200, 0, 100_000},
	} {
		r := w.send(eng, "GET", content(doc), nil, "Range", c.header)
		if r.status != c.status {
			t.Errorf("%s: %d", c.header, r.status)
			continue
		}
		if c.status == 416 {
			if r.header.Get("Content-Range") != "bytes */100000" {
				t.Errorf("%s: %s", c.header, r.header.Get("Content-Range"))
			}
			continue
		}
		if !bytes.Equal(r.body, body[c.from:c.to]) {
			t.Errorf("%s: %d bytes, not what lies there", c.header, len(r.body))
		}
		if want := "bytes " + itoa(c.from) + "-" + itoa(c.to-1) + "/100000"; c.status == 206 && r.header.Get("Content-Range") != want {
			t.Errorf("%s: %s", c.header, r.header.Get("Content-Range"))
		}
	}
	if r := w.send(eng, "GET", content(doc), nil, "Range", "bytes=0-9", "If-Range", tag); r.status != 206 {
		t.Errorf("If-Range: %d", r.status)
	}
	if r := w.send(eng, "GET", content(doc), nil, "Range", "bytes=0-9", "If-Range", `"other"`); r.status != 200 {
		t.Errorf("If-Range of another: %d", r.status)
	}
	if r := w.send(eng, "GET", content(doc), nil, "If-None-Match", `"x", W/`+tag); r.status != 304 || len(r.body) > 0 {
		t.Errorf("If-None-Match: %d", r.status)
	}
	h := w.send(eng, "HEAD", content(doc), nil)
	if h.status != 200 || h.header.Get("Content-Length") != "100000" || h.header.Get("Accept-Ranges") != "bytes" || len(h.body) > 0 {
		t.Errorf("HEAD: %d %v", h.status, h.header)
	}
	if r := w.send(eng, "POST", content(doc), nil); r.status != 405 {
		t.Errorf("POST: %d", r.status)
	}
}

// TestDownloadRights: the right is asked for anew each time; hidden, absent and
// without content are one answer, in every app.
func TestDownloadRights(t *testing.T) {
	w := newWorld(t)
	doc := w.document(testworld.Manager, "job-acme-1", "plan")
	w.upload(testworld.Manager, doc, png)
	absent := w.send(testworld.Rep, "GET", content("doc-never-1"), nil).want(404, "not_found")
	same := func(who ident.RecordID, id ident.RecordID) {
		t.Helper()
		for _, what := range []string{"/content", "/thumbnail"} {
			r := w.send(who, "GET", strings.TrimSuffix(content(id), "/content")+what, nil).want(404, "not_found")
			if !bytes.Equal(r.body, absent.body) {
				t.Errorf("%s: %s", who, r.body)
			}
		}
	}
	w.send(testworld.Rep, "GET", content(doc), nil).want(200, "")
	w.send("", "GET", content(doc), nil).want(401, "invalid_token")
	same(testworld.Basic, doc)
	same(testworld.Nobody, doc)
	same(testworld.Rep, "document-acme-1") // has no content
	same(testworld.Rep, "job-acme-1")      // no document
	same(testworld.Rep, "document-corp-1") // not in the area
	w.Hide(testworld.Rep, testworld.Acme)
	same(testworld.Rep, doc)
	for _, app := range []string{"service", "crm", "sales", "billing", "stock", "debtors", "agents"} {
		w.send(testworld.Manager, "GET", strings.Replace(content(doc), "helpdesk", app, 1), nil).want(200, "")
	}
	w.send(testworld.Manager, "GET", strings.Replace(content(doc), "helpdesk", "admin", 1), nil).want(404, "not_found")
	// What tells the content may be taken from somebody, and the content with
	// it.
	w.Permit(testworld.Manager, "denial", "entityType", "document", "verb", "view", "field", "sha256")
	w.send(testworld.Manager, "GET", "/v1/helpdesk/documents/"+string(doc), nil).want(200, "")
	same(testworld.Manager, doc)
	w.Do(&command.Command{Write: &command.Write{Op: "delete", Type: "document", ID: doc}})
	same(testworld.SvcAdmin, doc)
}

// TestMissing: a document may refer to content that an import never brought.
func TestMissing(t *testing.T) {
	w := newWorld(t)
	w.Import(testworld.Row("document", "doc-old-1", "parent", "job-acme-1", "name", "old.png", "sha256", strings.Repeat("a", 64), "size", 5, "mediaType", "image/png"),
		testworld.Row("document", "doc-odd-1", "parent", "job-acme-1", "name", "odd", "sha256", "../../../keys.json", "size", 5, "mediaType", "image/png"))
	for _, id := range []ident.RecordID{"doc-old-1", "doc-odd-1"} {
		w.send(testworld.Manager, "GET", content(id), nil).want(404, "not_found")
		w.send(testworld.Manager, "GET", strings.Replace(content(id), "/content", "/thumbnail", 1), nil).want(404, "not_found")
	}
}

// quarters is a picture whose quarters are red, green, blue and white, in
// reading order.
func quarters(w, h int) image.Image {
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	colors := []color.RGBA{{255, 0, 0, 255}, {0, 255, 0, 255}, {0, 0, 255, 255}, {255, 255, 255, 255}}
	for y := range h {
		for x := range w {
			img.SetRGBA(x, y, colors[y*2/h*2+x*2/w])
		}
	}
	return img
}

// exif is a segment of a JPEG that says how the camera was held.
func exif(order binary.ByteOrder, turn uint16) []byte {
	head := "II*\x00"
	if order == binary.BigEndian {
		head = "MM\x00*"
	}
	b := []byte("Exif\x00\x00" + head)
	put := func(v any) {
		var err error
		if b, err = binary.Append(b, order, v); err != nil {
			panic(err)
		}
	}
	put(uint32(8))
	put(uint16(1))
	put(uint16(0x0112))
	put(uint16(3))
	put(uint32(1))
	put(turn)
	put(uint16(0))
	return append(binary.BigEndian.AppendUint16([]byte{0xff, 0xe1}, uint16(len(b)+2)), b...)
}

// TestThumbnail: small, upright and cached; none of what is no picture, or too
// large to decode.
func TestThumbnail(t *testing.T) {
	w := newWorld(t)
	thumb := func(id ident.RecordID, query string) *reply {
		t.Helper()
		return w.send(eng, "GET", strings.Replace(content(id), "/content", "/thumbnail", 1)+query, nil)
	}
	bring := func(name string, body []byte) ident.RecordID {
		t.Helper()
		doc := w.document(eng, "act-acme-1", name)
		w.upload(eng, doc, body)
		return doc
	}
	var plain, asPNG, asGIF bytes.Buffer
	if err := errors.Join(jpeg.Encode(&plain, quarters(1200, 600), nil), stdpng.Encode(&asPNG, quarters(30, 60)), gif.Encode(&asGIF, quarters(300, 300), nil)); err != nil {
		t.Fatal(err)
	}
	turned := func(order binary.ByteOrder, turn uint16) []byte {
		return append(append([]byte{0xff, 0xd8}, exif(order, turn)...), plain.Bytes()[2:]...)
	}
	corner := func(img image.Image) string { // of the upper left
		r, g, b, _ := img.At(5, 5).RGBA()
		name := ""
		for i, v := range []uint32{r, g, b} {
			if v > 0x8000 {
				name += string("rgb"[i])
			}
		}
		return name
	}
	for _, c := range []struct {
		name          string
		body          []byte
		query         string
		width, height int
		corner        string
	}{
		{"plain.jpg", plain.Bytes(), "", 192, 96, "r"},
		{"plain.jpg", plain.Bytes(), "?size=96", 96, 48, "r"},
		{"plain.jpg", plain.Bytes(), "?size=97", 192, 96, "r"},
		{"plain.jpg", plain.Bytes(), "?size=768", 768, 384, "r"},
		{"small.png", asPNG.Bytes(), "?size=96", 48, 96, "r"},
		{"small.png", asPNG.Bytes(), "?size=384", 30, 60, "r"},
		{"some.gif", asGIF.Bytes(), "?size=100", 192, 192, "r"},
		{"turned.jpg", turned(binary.BigEndian, 3), "?size=96", 96, 48, "rgb"},
		{"turned.jpg", turned(binary.LittleEndian, 6), "?size=96", 48, 96, "b"},
		{"turned.jpg", turned(binary.BigEndian, 8), "?size=96", 48, 96, "g"},
		{"turned.jpg", turned(binary.LittleEndian, 2), "?size=96", 96, 48, "g"},
		{"turned.jpg", turned(binary.LittleEndian, 4), "?size=96", 96, 48, "b"},
		{"turned.jpg", turned(binary.LittleEndian, 5), "?size=96", 48, 96, "r"},
		{"turned.jpg", turned(binary.LittleEndian, 7), "?size=96", 48, 96, "rgb"},
		{"turned.jpg", turned(binary.LittleEndian, 9), "?size=96", 96, 48, "r"},
	} {
		doc := bring(c.name, c.body)
		for range 2 { // the second time it is there
			r := thumb(doc, c.query).want(200, "")
			if r.header.Get("Content-Type") != "image/jpeg" || r.header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%s: %v", c.name, r.header)
			}
			img, err := jpeg.Decode(bytes.NewReader(r.body))
			if err != nil {
				t.Fatal(err)
			}
			want := image.Pt(c.width, c.height)
			if c.name == "small.png" && c.query == "?size=96" {
				want = image.Pt(30, 60) // never made larger
			}
			if img.Bounds().Size() != want || corner(img) != c.corner {
				t.Errorf("%s%s: %v %q, want %v %q", c.name, c.query, img.Bounds().Size(), corner(img), want, c.corner)
			}
		}
	}
	doc := bring("plain.jpg", plain.Bytes())
	for _, q := range []string{"?size=0", "?size=-1", "?size=769", "?size=x"} {
		thumb(doc, q).want(400, "bad_parameter")
	}
	thumb(doc, "?size=384").want(200, "")
	sum := sha256.Sum256(plain.Bytes())
	kept, err := filepath.Glob(filepath.Join(w.dir, "blobs", string(testworld.Slug), "*", string(blob.KeyOf(sum))+".*"))
	if err != nil || len(kept) != 4 {
		t.Errorf("kept %v", kept)
	}
	bomb := bytes.Clone(asPNG.Bytes())
	binary.BigEndian.PutUint32(bomb[16:], 10_000)
	binary.BigEndian.PutUint32(bomb[20:], 4001)
	binary.BigEndian.PutUint32(bomb[29:], crc32.ChecksumIEEE(bomb[12:29]))
	for name, body := range map[string][]byte{
		"text.txt": []byte("plain"), "cut.png": asPNG.Bytes()[:60], "cut.jpg": plain.Bytes()[:2000], "bomb.png": bomb, "noise.png": picture(5000),
	} {
		thumb(bring(name, body), "").want(404, "not_found")
	}
}

// TestSweep: content goes once nothing has referred to it for a while, with
// what was made of it, and not before.
func TestSweep(t *testing.T) {
	w := newWorld(t, func(o *files.Options) { o.Limits.Lifetime = time.Hour })
	var pic bytes.Buffer
	if err := stdpng.Encode(&pic, quarters(20, 20)); err != nil {
		t.Fatal(err)
	}
	kept := func() int {
		t.Helper()
		all, err := filepath.Glob(filepath.Join(w.dir, "blobs", string(testworld.Slug), "*", "*"))
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	sweep := func(want int) {
		t.Helper()
		if err := w.files.Sweep(context.Background(), w.Tenant); err != nil {
			t.Fatal(err)
		}
		if n := kept(); n != want {
			t.Fatalf("%d kept, want %d", n, want)
		}
	}
	doc := w.document(eng, "act-acme-1", "photo.png")
	twin := w.document(eng, "act-acme-1", "photo.png")
	w.upload(eng, doc, pic.Bytes())
	w.upload(eng, twin, pic.Bytes())
	w.upload(eng, "doc-late-1", picture(50)) // waits for its document
	w.send(eng, "GET", strings.Replace(content(doc), "/content", "/thumbnail", 1), nil).want(200, "")
	sweep(3)
	w.Advance(48 * time.Hour)
	sweep(3)
	drop := func(id ident.RecordID) {
		w.Do(&command.Command{Write: &command.Write{Op: "delete", Type: "document", ID: id}})
	}
	drop(doc)
	w.Advance(48 * time.Hour)
	sweep(3)
	sweep(3)
	drop(twin)
	w.Advance(48 * time.Hour)
	sweep(3) // noticed only now
	w.Advance(23 * time.Hour)
	sweep(3)
	// Sent again it begins anew.
	again := w.document(eng, "act-acme-1", "photo.png")
	w.upload(eng, again, pic.Bytes())
	w.Advance(2 * time.Hour)
	sweep(3)
	drop(again)
	sweep(3)
	w.Advance(24*time.Hour - time.Second)
	sweep(3)
	w.Advance(2 * time.Second)
	sweep(1)
	// What waited a month in vain goes too.
	w.Advance(31 * 24 * time.Hour)
	w.Advance(time.Second)
	sweep(1)
	w.Advance(25 * time.Hour)
	sweep(0)
	// Files that belong to nothing.
	dir := filepath.Join(w.dir, "uploads", string(testworld.Slug))
	old := w.Clock().Add(-2 * time.Hour)
	for _, n := range []string{strings.Repeat("z", 26) + ".part", ".new-1"} {
		if err := errors.Join(os.WriteFile(filepath.Join(dir, n), nil, 0o600), os.Chtimes(filepath.Join(dir, n), old, old)); err != nil {
			t.Fatal(err)
		}
	}
	sweep(0)
	names, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if n.Name() != "orphans" && n.Name() != "refused" {
			t.Errorf("left: %s", n.Name())
		}
	}
}
