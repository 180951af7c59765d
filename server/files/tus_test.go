package files_test

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
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

const (
	eng   = testworld.Engineer
	chunk = "application/offset+octet-stream"
)

// TestProtocol: what the protocol says of each request, good and bad.
func TestProtocol(t *testing.T) {
	w := newWorld(t, func(o *files.Options) { o.Limits.Upload = 1000 })
	o := w.send("", "OPTIONS", "/files/", nil, "Tus-Resumable", "-").want(204, "")
	for k, v := range map[string]string{
		"Tus-Resumable": "1.0.0", "Tus-Version": "1.0.0", "Tus-Max-Size": "1000",
		"Tus-Extension": "creation,creation-with-upload,checksum,expiration,termination", "Tus-Checksum-Algorithm": "sha1,sha256",
	} {
		if o.header.Get(k) != v {
			t.Errorf("%s: %q", k, o.header.Get(k))
		}
	}
	doc := meta("document", "doc-new-1", "filename", "a.png")
	for _, c := range []struct {
		name    string
		who     ident.RecordID
		headers []string
		status  int
		code    string
	}{
		{"nobody", "", []string{"Upload-Length", "10", "Upload-Metadata", doc}, 401, "invalid_token"},
		{"no right to any document", testworld.Nobody, []string{"Upload-Length", "10", "Upload-Metadata", doc}, 403, "not_allowed"},
		{"reads only", testworld.Guest, []string{"Upload-Length", "10", "Upload-Metadata", doc}, 403, "not_allowed"},
		{"another version", eng, []string{"Tus-Resumable", "0.2.2", "Upload-Length", "10", "Upload-Metadata", doc}, 412, "unsupported_protocol_version"},
		{"no version", eng, []string{"Tus-Resumable", "-", "Upload-Length", "10", "Upload-Metadata", doc}, 412, "unsupported_protocol_version"},
		{"no length", eng, []string{"Upload-Metadata", doc}, 400, "bad_parameter"},
		{"deferred length", eng, []string{"Upload-Defer-Length", "1", "Upload-Metadata", doc}, 400, "bad_parameter"},
		{"negative length", eng, []string{"Upload-Length", "-1", "Upload-Metadata", doc}, 400, "bad_parameter"},
		{"signed length", eng, []string{"Upload-Length", "+1", "Upload-Metadata", doc}, 400, "bad_parameter"},
		{"length of letters", eng, []string{"Upload-Length", "1e3", "Upload-Metadata", doc}, 400, "bad_parameter"},
		{"huge length", eng, []string{"Upload-Length", "99999999999999999999", "Upload-Metadata", doc}, 400, "bad_parameter"},
		{"too long", eng, []string{"Upload-Length", "1001", "Upload-Metadata", doc}, 413, "too_large"},
		{"no document", eng, []string{"Upload-Length", "10"}, 400, "bad_parameter"},
		{"bad document", eng, []string{"Upload-Length", "10", "Upload-Metadata", meta("document", "../../x")}, 400, "bad_parameter"},
		{"another type", eng, []string{"Upload-Length", "10", "Upload-Metadata", doc + "," + meta("type", "signature")}, 400, "bad_parameter"},
		{"bad metadata", eng, []string{"Upload-Length", "10", "Upload-Metadata", "document !!"}, 400, "bad_parameter"},
		{"compressed", eng, []string{"Upload-Length", "10", "Upload-Metadata", doc, "Content-Encoding", "gzip"}, 415, "content_encoding_refused"},
		{"good", eng, []string{"Upload-Length", "10", "Upload-Metadata", doc + "," + meta("type", "document")}, 201, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := w.send(c.who, "POST", "/files/", nil, c.headers...)
			r.t = t
			r.want(c.status, c.code)
			if r.header.Get("Tus-Resumable") != "1.0.0" {
				t.Error("the version is not told")
			}
			if (c.status == 412) != (r.header.Get("Tus-Version") != "") {
				t.Error("versions", r.header)
			}
			if c.status == 201 && (!strings.HasPrefix(r.header.Get("Location"), "/files/") || r.header.Get("Upload-Offset") != "0") {
				t.Error(r.header)
			}
		})
	}

	body := picture(100)
	at := w.begin(eng, "doc-new-2", 100)
	w.send(eng, "PATCH", at, bytes.NewReader(body), "Upload-Offset", "0").want(415, "unsupported_media_type")
	w.send(eng, "PATCH", at, bytes.NewReader(body), "Content-Type", chunk).want(400, "bad_parameter")
	w.patch(eng, at, 0, body, "Upload-Offset", "x").want(400, "bad_parameter")
	w.patch(eng, at, 0, body, "Content-Encoding", "gzip").want(415, "content_encoding_refused")
	w.patch(eng, at, 0, body, "Tus-Resumable", "-").want(412, "unsupported_protocol_version")
	w.patch("", at, 0, body).want(401, "invalid_token")
	w.patch(eng, at, 1, body).want(409, "offset_mismatch").offset(0)
	w.patch(eng, at, 0, append(bytes.Clone(body), 'x')).want(413, "too_large")
	w.patch(eng, at, 0, body, "Upload-Checksum", "md5 AAAA").want(400, "bad_parameter")
	w.patch(eng, at, 0, body, "Upload-Checksum", "sha1 AAAA").want(400, "bad_parameter")
	w.patch(eng, "/files/"+strings.Repeat("a", 26), 0, body).want(404, "not_found")
	w.patch(eng, "/files/..%2f..%2fetc", 0, body).want(404, "not_found")
	w.send(eng, "GET", at, nil).want(405, "method_not_allowed")
	w.send(eng, "POST", at, nil).want(405, "method_not_allowed")
	w.send(eng, "PUT", "/files/", nil).want(405, "method_not_allowed")
	h := w.send(eng, "HEAD", at, nil).want(200, "").offset(0)
	if h.header.Get("Upload-Length") != "100" || h.header.Get("Cache-Control") != "no-store" || h.header.Get("Upload-Metadata") == "" {
		t.Error(h.header)
	}
	w.patch(eng, at, 0, body[:30]).want(204, "").offset(30)
	r := w.patch(eng, at, 30, body[30:60]).want(204, "").offset(60)
	if when, err := time.Parse(time.RFC1123, r.header.Get("Upload-Expires")); err != nil || !when.After(w.Clock()) {
		t.Errorf("expires %q", r.header.Get("Upload-Expires"))
	}
	w.patch(eng, at, 30, body[30:]).want(409, "offset_mismatch").offset(60)
	w.send(eng, "POST", at, bytes.NewReader(body[60:]), "X-HTTP-Method-Override", "PATCH", "Upload-Offset", "60", "Content-Type", chunk).want(204, "").offset(100)
	w.send(eng, "HEAD", at, nil).want(200, "").offset(100)
	w.patch(eng, at, 100, nil).want(204, "").offset(100)
	w.patch(eng, at, 0, body).want(409, "offset_mismatch").offset(100)

	// Termination, also under another method's name.
	for _, how := range [][]string{{"DELETE"}, {"POST", "X-HTTP-Method-Override", "DELETE"}} {
		at = w.begin(eng, "doc-new-3", 100)
		w.patch(eng, at, 0, body[:10]).want(204, "")
		w.send(eng, how[0], at, nil, how[1:]...).want(204, "")
		w.send(eng, "HEAD", at, nil).want(404, "")
		w.patch(eng, at, 10, body[10:]).want(404, "not_found")
	}
	if left, err := filepath.Glob(filepath.Join(w.dir, "uploads", string(testworld.Slug), "*.part")); err != nil || len(left) > 1 {
		t.Errorf("left: %v", left) // the one of the table
	}
}

// TestChecksum: bytes that arrived damaged are dropped, and the upload goes on
// where it was.
func TestChecksum(t *testing.T) {
	w := newWorld(t)
	body := picture(1000)
	s1 := sha1.Sum(body[:400])
	s2 := sha256.Sum256(body[400:])
	sums := []string{"sha1 " + base64.StdEncoding.EncodeToString(s1[:]), "sha256 " + base64.StdEncoding.EncodeToString(s2[:])}
	doc := w.document(eng, "act-acme-1", "photo")
	at := w.begin(eng, doc, 1000)
	bad := bytes.Clone(body[:400])
	bad[399]++
	w.patch(eng, at, 0, bad, "Upload-Checksum", sums[0]).want(460, "checksum_mismatch")
	w.send(eng, "HEAD", at, nil).want(200, "").offset(0)
	// Of a body that broke off it can't be told.
	c := w.raw()
	c.write("PATCH %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\nContent-Type: %s\r\nUpload-Checksum: %s\r\nContent-Length: 400\r\n\r\n%s",
		at, w.Token(eng), chunk, sums[0], body[:399])
	_ = c.Close()
	soon(t, "the broken request ends", func() bool {
		r := w.patch(eng, at, 0, body[:400], "Upload-Checksum", sums[0])
		return r.status == 204
	})
	w.patch(eng, at, 400, body[:600], "Upload-Checksum", sums[1]).want(460, "checksum_mismatch")
	w.patch(eng, at, 400, body[400:], "Upload-Checksum", sums[1]).want(204, "").offset(1000)
	if got := w.send(eng, "GET", content(doc), nil).want(200, ""); !bytes.Equal(got.body, body) {
		t.Error("another content")
	}
}

// TestWithCreation: the first bytes, or all, come with the request that
// creates the upload.
func TestWithCreation(t *testing.T) {
	w := newWorld(t)
	body := picture(500)
	create := func(doc ident.RecordID, length int, sent []byte, more ...string) *reply {
		return w.send(eng, "POST", "/files", bytes.NewReader(sent), append([]string{
			"Upload-Length", strconv.Itoa(length), "Content-Type", chunk, "Upload-Metadata", meta("document", string(doc)),
		}, more...)...)
	}
	doc := w.document(eng, "act-acme-1", "photo")
	create(doc, 500, body).want(201, "").offset(500)
	if got := w.send(eng, "GET", content(doc), nil).want(200, ""); !bytes.Equal(got.body, body) {
		t.Error("another content")
	}
	r := create("doc-more-1", 500, body[:200]).want(201, "").offset(200)
	w.patch(eng, r.header.Get("Location"), 200, body[200:]).want(204, "").offset(500)
	create("doc-more-2", 100, body).want(413, "too_large")
	create("doc-more-2", 500, body, "Content-Type", "text/plain").want(415, "unsupported_media_type")
	create("doc-more-2", 500, body, "Upload-Checksum", "sha1 "+base64.StdEncoding.EncodeToString(make([]byte, 20))).want(460, "checksum_mismatch")
	// Nothing to send is whole at once.
	empty := w.document(eng, "act-acme-1", "nothing.txt")
	w.send(eng, "POST", "/files/", nil, "Upload-Length", "0", "Upload-Metadata", meta("document", string(empty))).want(201, "").offset(0)
	if got := w.send(eng, "GET", content(empty), nil).want(200, ""); len(got.body) != 0 || got.header.Get("Content-Length") != "0" {
		t.Errorf("%q", got.body)
	}
	// In chunks of unknown total length, which are counted as they come.
	for i, sent := range [][]byte{body, append(bytes.Clone(body), 'x')} {
		at := w.begin(eng, ident.RecordID(fmt.Sprintf("doc-chunked-%d", i)), 500)
		r := w.send(eng, "PATCH", at, io.MultiReader(bytes.NewReader(sent)), "Upload-Offset", "0", "Content-Type", chunk)
		if i == 0 {
			r.want(204, "").offset(500)
		} else {
			r.want(413, "too_large")
			w.send(eng, "HEAD", at, nil).want(200, "").offset(0)
		}
	}
}

// TestCut: what arrived before the connection broke is kept; the upload is
// one request's at a time, until its owner asks how it stands.
func TestCut(t *testing.T) {
	w := newWorld(t)
	body := picture(300_000)
	doc := w.document(eng, "act-acme-1", "photo")
	at := w.begin(eng, doc, len(body))
	c := w.raw()
	c.patching(w, eng, at, 0, len(body))
	c.write("%s", body[:100_000])
	// While it sends nobody else does.
	soon(t, "the upload is busy", func() bool {
		r := w.patch(eng, at, 0, body[:1], "Upload-Checksum", "sha1 "+base64.StdEncoding.EncodeToString(make([]byte, 20)))
		if r.status == 423 {
			r.want(423, "upload_locked")
		}
		return r.status == 423
	})
	w.patch(testworld.Manager, at, 0, body[:1]).want(404, "not_found")
	w.send(testworld.Manager, "HEAD", at, nil).want(404, "")
	// What arrived is kept: all of it, once it stands on the disk. To ask sooner
	// would end the request at work.
	soon(t, "what was sent is written", func() bool { return w.written(t) == 100_000 })
	_ = c.Close()
	n := 0
	soon(t, "what arrived is kept", func() bool {
		n, _ = strconv.Atoi(w.send(eng, "HEAD", at, nil).want(200, "").header.Get("Upload-Offset"))
		return n == 100_000
	})
	// A connection that hangs gives way to its owner who comes back.
	c = w.raw()
	c.patching(w, eng, at, n, len(body)-n)
	c.write("%s", body[n:200_000])
	soon(t, "the upload is busy", func() bool { return w.patch(eng, at, 1, nil).status == 423 })
	soon(t, "the rest is written", func() bool { return w.written(t) == 200_000 })
	w.send(eng, "HEAD", at, nil).want(200, "").offset(200_000)
	if res := c.answer(); res.StatusCode != 400 {
		t.Errorf("interrupted: %d", res.StatusCode)
	}
	c.ended()
	w.patch(eng, at, 200_000, body[200_000:]).want(204, "").offset(len(body))
	if got := w.send(eng, "GET", content(doc), nil).want(200, ""); !bytes.Equal(got.body, body) {
		t.Error("another content")
	}
	// One that ends takes the request at work on it along.
	at = w.begin(eng, "doc-gone-1", len(body))
	c = w.raw()
	c.patching(w, eng, at, 0, len(body))
	c.write("%s", body[:10_000]) // the server waits for the first 8 KB before anybody is asked
	soon(t, "the upload is busy", func() bool { return w.patch(eng, at, 1, nil).status == 423 })
	w.send(eng, "DELETE", at, nil).want(204, "")
	if res := c.answer(); res.StatusCode != 400 {
		t.Errorf("ended: %d", res.StatusCode)
	}
	c.ended()
}

// written returns how many bytes of the largest upload under way stand on the
// disk.
func (w *world) written(t *testing.T) (most int64) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(w.dir, "uploads"), func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			most = max(most, info.Size())
		}
		return nil // one that is gone by now is none
	})
	if err != nil {
		t.Fatal(err)
	}
	return most
}

// TestOthers: an upload is its creator's alone.
func TestOthers(t *testing.T) {
	w := newWorld(t)
	body := picture(100)
	at := w.begin(eng, "doc-new-1", 100)
	for _, who := range []ident.RecordID{testworld.Manager, testworld.Admin, testworld.Colleague} {
		none := "/files/" + strings.Repeat("b", 26)
		for _, m := range []string{"HEAD", "PATCH", "DELETE"} {
			a := w.send(who, m, at, bytes.NewReader(body), "Upload-Offset", "0", "Content-Type", chunk)
			b := w.send(who, m, none, bytes.NewReader(body), "Upload-Offset", "0", "Content-Type", chunk)
			if a.status != b.status || a.status == 204 || a.status == 200 || !bytes.Equal(a.body, b.body) {
				t.Errorf("%s %s: %d %s, absent: %d %s", who, m, a.status, a.body, b.status, b.body)
			}
		}
	}
	w.send(eng, "HEAD", at, nil).want(200, "").offset(0)
}

// TestTwice: content that is there already is taken like any other, byte by
// byte, and nothing in the answers differs.
func TestTwice(t *testing.T) {
	w := newWorld(t)
	body := picture(5000)
	var first []string
	for i := range 3 {
		doc := w.document(eng, "act-acme-1", "photo")
		at := w.begin(eng, doc, len(body))
		a := w.patch(eng, at, 0, body[:2500]).want(204, "").offset(2500)
		b := w.patch(eng, at, 2500, body[2500:]).want(204, "").offset(5000)
		got := []string{fmt.Sprint(len(a.header), a.header.Get("Upload-Offset")), fmt.Sprint(len(b.header), b.header.Get("Upload-Offset"))}
		if i == 0 {
			first = got
		} else if strings.Join(first, " ") != strings.Join(got, " ") {
			t.Errorf("%v, the first time %v", got, first)
		}
		if r := w.send(eng, "GET", content(doc), nil).want(200, ""); !bytes.Equal(r.body, body) {
			t.Error("another content")
		}
	}
	kept, err := filepath.Glob(filepath.Join(w.dir, "blobs", string(testworld.Slug), "*", "*"))
	if err != nil || len(kept) != 1 {
		t.Errorf("kept %v", kept)
	}
	sum := sha256.Sum256(body)
	if want := filepath.Join(w.dir, "blobs", string(testworld.Slug), hex.EncodeToString(sum[:1]), hex.EncodeToString(sum[:])); kept[0] != want {
		t.Errorf("kept as %s", kept[0])
	}
}

// TestQuotas: of each person and of the tenant, and uploads that are over make
// room again.
func TestQuotas(t *testing.T) {
	w := newWorld(t, func(o *files.Options) {
		o.Limits = files.Limits{Upload: 1000, OpenBytes: 2500, OpenCount: 4, TenantBytes: 6000, Lifetime: time.Hour}
	})
	try := func(who ident.RecordID, n int) *reply {
		return w.send(who, "POST", "/files/", nil, "Upload-Length", strconv.Itoa(n), "Upload-Metadata", meta("document", "doc-new-1"))
	}
	first := try(eng, 1000).want(201, "").header.Get("Location")
	try(eng, 1000).want(201, "")
	try(eng, 501).want(413, "quota_exceeded")
	try(eng, 500).want(201, "")
	try(eng, 0).want(201, "") // finished at once, so not open
	try(eng, 1).want(413, "quota_exceeded")
	w.send(eng, "DELETE", first, nil).want(204, "")
	for range 2 {
		try(eng, 1).want(201, "")
	}
	try(eng, 1).want(413, "quota_exceeded") // too many
	// Others have quotas of their own, until the tenant's is used up.
	try(testworld.Manager, 1000).want(201, "")
	try(testworld.Manager, 1000).want(201, "")
	try(testworld.SvcAdmin, 1000).want(201, "")
	try(testworld.SvcAdmin, 1000).want(201, "")
	try(testworld.SvcAdmin, 499).want(413, "quota_exceeded")
	w.Advance(time.Hour + time.Second)
	if err := w.files.Sweep(context.Background(), w.Tenant); err != nil {
		t.Fatal(err)
	}
	// Documents count, each in full, though their content is kept once.
	body := picture(1000)
	for range 5 {
		w.upload(eng, w.document(eng, "act-acme-1", "x"), body)
	}
	try(testworld.SvcAdmin, 1000).want(201, "")
	try(testworld.SvcAdmin, 1).want(413, "quota_exceeded")
	if err := w.files.Sweep(context.Background(), w.Tenant); err != nil {
		t.Fatal(err)
	}
	try(testworld.SvcAdmin, 1).want(413, "quota_exceeded")
	// So they do for a server that starts anew.
	w2 := w.again()
	if r := w2.try(1); r != "quota_exceeded" {
		t.Errorf("after a start: %q", r)
	}
}

// TestFullDisk: the disk is the records' too.
func TestFullDisk(t *testing.T) {
	free := uint64(1 << 40)
	w := newWorld(t, func(o *files.Options) { o.Free = func(string) (uint64, error) { return free, nil } })
	at := w.begin(eng, "doc-new-1", 100)
	free = 255 << 20
	w.send(eng, "POST", "/files/", nil, "Upload-Length", "100", "Upload-Metadata", meta("document", "doc-new-1")).want(507, "disk_full")
	w.patch(eng, at, 0, picture(100)).want(204, "") // for this one there was room
}

// TestExpiry: an upload that nothing was sent to for its lifetime is gone, as
// if it had never been.
func TestExpiry(t *testing.T) {
	w := newWorld(t)
	body := picture(100)
	at := w.begin(eng, "doc-new-1", 100)
	w.Advance(6 * 24 * time.Hour)
	w.patch(eng, at, 0, body[:50]).want(204, "")
	w.Advance(6 * 24 * time.Hour)
	w.send(eng, "HEAD", at, nil).want(200, "").offset(50)
	if err := w.files.Sweep(context.Background(), w.Tenant); err != nil {
		t.Fatal(err)
	}
	w.Advance(24 * time.Hour)
	w.send(eng, "HEAD", at, nil).want(404, "")
	w.patch(eng, at, 50, body[50:]).want(404, "not_found")
	if err := w.files.Sweep(context.Background(), w.Tenant); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(w.dir, "uploads", string(testworld.Slug), "*.*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// TestBinding: the content finds its document whichever comes first, and never
// another person's.
func TestBinding(t *testing.T) {
	w := newWorld(t)
	body := picture(100)
	// The document later, by a phone.
	prefix := w.Prefix(eng, "phone")
	doc := ident.RecordID(prefix + "doc-1")
	w.upload(eng, doc, body)
	w.send(eng, "GET", content(doc), nil).want(404, "not_found")
	w.Do(&command.Command{Actor: eng, Session: w.Session2(eng, "phone"), Device: w.Device(eng, "phone"), Write: &command.Write{
		Op: "create", Type: "document", ID: doc, Fields: testworld.Object("parent", "act-acme-1", "name", "photo"),
	}})
	if got := w.send(eng, "GET", content(doc), nil).want(200, ""); !bytes.Equal(got.body, body) {
		t.Error("another content")
	}
	// Content for a document of somebody else: taken like any other, and used
	// for nothing.
	other := w.document(testworld.Manager, "job-corp-1", "plan")
	w.upload(eng, other, body)
	w.send(testworld.Manager, "GET", content(other), nil).want(404, "not_found")
	w.upload(testworld.Manager, other, body[:99])
	if got := w.send(testworld.Manager, "GET", content(other), nil).want(200, ""); len(got.body) != 99 {
		t.Error("another content")
	}
	// A document has one content.
	w.upload(testworld.Manager, other, body)
	if got := w.send(testworld.Manager, "GET", content(other), nil).want(200, ""); len(got.body) != 99 {
		t.Error("the content was replaced")
	}
	// A session that ends while the bytes come binds nothing; the next one does.
	late := w.document(eng, "act-acme-1", "photo")
	at := w.begin(eng, late, 100)
	w.patch(eng, at, 0, body[:99]).want(204, "")
	w.Do(&command.Command{Actor: eng, Session: w.Session(eng), Logout: &command.Logout{Session: w.Session(eng)}})
	w.patch(eng, at, 99, body[99:]).want(401, "session_revoked")
	w.patch(eng, at, 99, body[99:], "Authorization", "Bearer "+w.DeviceToken(eng, "phone")).want(204, "")
	w.send(eng, "GET", content(late), nil, "Authorization", "Bearer "+w.DeviceToken(eng, "phone")).want(200, "")
}

// TestRestart: a server that was killed goes on with what it had made durable;
// an upload that was whole is finished by whoever asks next, or by the sweep.
func TestRestart(t *testing.T) {
	w := newWorld(t)
	body := picture(1000)
	doc := w.document(eng, "act-acme-1", "photo")
	at := w.begin(eng, doc, 1000)
	w.patch(eng, at, 0, body[:600]).want(204, "")
	// Bytes behind what is told, as a crash leaves them.
	part := filepath.Join(w.dir, "uploads", string(testworld.Slug), strings.TrimPrefix(at, "/files/")+".part")
	f, err := os.OpenFile(part, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(make([]byte, 300)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Close(), os.WriteFile(filepath.Join(filepath.Dir(part), strings.Repeat("c", 26)+".json"), []byte("{"), 0o600)); err != nil {
		t.Fatal(err)
	}
	w2 := w.again()
	if n := w2.head(at); n != "600" {
		t.Fatalf("goes on at %s", n)
	}
	w2.patch(at, 600, body[600:])
	if got := w.send(eng, "GET", content(doc), nil).want(200, ""); !bytes.Equal(got.body, body) {
		t.Error("another content")
	}
	// Whole, but never examined; and put in its place, but never told.
	for i, name := range []string{"asks", "sweep"} {
		doc := w.document(eng, "act-acme-1", "photo")
		b := picture(500 + i)
		id := strings.Repeat(string(rune('d'+i)), 26)
		info := fmt.Sprintf(`{"id":%q,"owner":%q,"session":%q,"document":%q,"length":%d,"offset":%d,"expires":%d`, id, eng, w.Session(eng), doc, len(b), len(b), w.Clock().Add(time.Hour).UnixMilli())
		if name == "sweep" {
			sum := sha256.Sum256(b)
			info += fmt.Sprintf(`,"sha256":%q,"mediaType":"image/png"`, hex.EncodeToString(sum[:]))
			tmp := filepath.Join(t.TempDir(), "x")
			if err := errors.Join(os.WriteFile(tmp, b, 0o600), w.opts.Blobs.Put(context.Background(), testworld.Slug, blob.KeyOf(sum), tmp)); err != nil {
				t.Fatal(err)
			}
		} else if err := os.WriteFile(filepath.Join(w.dir, "uploads", string(testworld.Slug), id+".part"), b, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(w.dir, "uploads", string(testworld.Slug), id+".json"), []byte(info+"}"), 0o600); err != nil {
			t.Fatal(err)
		}
		w3 := w.again()
		if name == "sweep" {
			if err := w3.files.Sweep(context.Background(), w.Tenant); err != nil {
				t.Fatal(err)
			}
		} else if n := w3.head("/files/" + id); n != strconv.Itoa(len(b)) {
			t.Fatalf("%s: at %s", name, n)
		}
		if got := w.send(eng, "GET", content(doc), nil).want(200, ""); !bytes.Equal(got.body, b) {
			t.Errorf("%s: another content", name)
		}
	}
}

// TestTypes: the type is told from the content; names and what the client says
// count for nothing.
func TestTypes(t *testing.T) {
	w := newWorld(t)
	polyglot := append(bytes.Clone(png), "<html><script>alert(1)</script></html>"...)
	for _, c := range []struct {
		name      string
		body      string
		mediaType string // "" where it is refused
		saved     string
	}{
		{"photo.png", string(png), "image/png", "photo.png"},
		{"photo.html", string(polyglot), "image/png", "photo.html.png"},
		{"../../etc/passwd", "root:x:0", "text/plain", "passwd.txt"},
		{`..\..\boot.ini`, "[boot]", "text/plain", "boot.ini.txt"},
		{"invoice\u200fgnp.exe", string(png), "image/png", "invoicegnp.exe.png"},
		{"a\"b;c%22: x.png", string(png), "image/png", "a_b;c%22_ x.png"},
		{"Größe.png", string(png), "image/png", "Größe.png"},
		{"...", string(png), "image/png", "document.png"},
		{"page.png", "<!DOCTYPE html><html><script>alert(1)</script></html>", "", ""},
		{"page.png", "  <html>", "", ""},
		{"x.png", `<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><script/></svg>`, "", ""},
		{"x.png", "\x7fELF\x02\x01\x01\x00", "", ""},
		{"x.png", "MZ\x90\x00\x03\x00\x00\x00", "", ""},
		{"x.png", "#!/usr/bin/perl\n", "", ""},
		{"x.pdf", "%PDF-1.4\n", "application/pdf", "x.pdf"},
	} {
		doc := w.document(eng, "act-acme-1", c.name)
		at := w.begin(eng, doc, len(c.body))
		r := w.patch(eng, at, 0, []byte(c.body))
		if c.mediaType == "" {
			r.want(415, "file_type_refused")
			w.send(eng, "HEAD", at, nil).want(404, "")
			w.send(eng, "GET", content(doc), nil).want(404, "not_found")
			continue
		}
		r.want(204, "")
		got := w.send(eng, "GET", content(doc), nil).want(200, "")
		_, params := disposition(t, got.header.Get("Content-Disposition"))
		if params["filename"] != c.saved {
			t.Errorf("%q is saved as %q, want %q", c.name, params["filename"], c.saved)
		}
		if string(got.body) != c.body || got.header.Get("Content-Type") != c.mediaType {
			t.Errorf("%q: %s", c.name, got.header.Get("Content-Type"))
		}
		for k, v := range map[string]string{"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "X-Frame-Options": "DENY"} {
			if got.header.Get(k) != v {
				t.Errorf("%s: %q", k, got.header.Get(k))
			}
		}
		if csp := got.header.Get("Content-Security-Policy"); !strings.Contains(csp, "sandbox") || !strings.Contains(csp, "default-src 'none'") {
			t.Errorf("policy %q", csp)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(w.dir, "*", "*", "*")); strings.Contains(strings.Join(left, " "), "passwd") {
		t.Errorf("a name reached the disk: %v", left)
	}
}

// TestMemory: what passes through takes no memory, whatever its size.
func TestMemory(t *testing.T) {
	size := 200 << 20
	if testing.Short() {
		size = 40 << 20
	}
	w := newWorld(t)
	doc := w.document(eng, "act-acme-1", "film")
	at := w.begin(eng, doc, size)
	at2 := w.begin(eng, "doc-else-1", size)
	var most uint64
	stop, done := make(chan struct{}), make(chan struct{})
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	base := m.HeapInuse + m.StackInuse
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				most = max(most, m.HeapInuse+m.StackInuse)
			}
		}
	}()
	start := time.Now()
	w.send(eng, "PATCH", at, io.LimitReader(io.MultiReader(bytes.NewReader(png), zeros{}), int64(size)), "Upload-Offset", "0", "Content-Type", chunk, "Content-Length", strconv.Itoa(size)).want(204, "").offset(size)
	up := time.Since(start)
	h := sha256.New()
	if _, err := io.Copy(h, io.LimitReader(io.MultiReader(bytes.NewReader(png), zeros{}), int64(size))); err != nil {
		t.Fatal(err)
	}
	w.send(eng, "PATCH", at2, io.LimitReader(io.MultiReader(bytes.NewReader(png), zeros{}), int64(size)), "Upload-Offset", "0", "Content-Type", chunk, "Upload-Checksum", "sha256 "+base64.StdEncoding.EncodeToString(h.Sum(nil))).want(204, "").offset(size)
	start = time.Now()
	if n := w.download(content(doc)); n != int64(size) {
		t.Errorf("downloaded %d", n)
	}
	down := time.Since(start)
	close(stop)
	<-done
	grew := int64(most) - int64(base)
	t.Logf("%d MB: up %v, down %v, %d KB more memory", size>>20, up, down, grew>>10)
	if grew > 20<<20 {
		t.Errorf("%d MB more memory", grew>>20)
	}
}

type zeros struct{}

// Read implements io.Reader.
func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// Session2 is the session of a device.
func (w *world) Session2(who ident.RecordID, installation string) ident.SessionID {
	w.t.Helper()
	caller, err := w.Auth.Verify(w.DeviceToken(who, installation))
	if err != nil {
		w.t.Fatal(err)
	}
	return caller.Session
}
