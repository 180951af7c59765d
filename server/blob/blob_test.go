package blob

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	gosync "sync"
	"testing"
	"time"

	"satchel/internal/ident"
)

var now = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func clock() time.Time { return now }

// bucket is a service with the S3 interface: it checks what it is sent
// against the hash that was signed, and lists two objects a page.
type bucket struct {
	t  *testing.T
	mu gosync.Mutex
	in map[string][]byte
}

func (b *bucket) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential=key/20260304/here/s3/aws4_request,SignedHeaders=") {
		b.t.Errorf("authorization %q", r.Header.Get("Authorization"))
	}
	name, ok := strings.CutPrefix(r.URL.Path, "/bucket/")
	body, err := io.ReadAll(r.Body)
	if err != nil {
		b.t.Error(err)
	}
	if sum := sha256.Sum256(body); hex.EncodeToString(sum[:]) != r.Header.Get("X-Amz-Content-Sha256") {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if !ok {
		b.list(w, r)
		return
	}
	switch r.Method {
	case http.MethodPut:
		if r.Header.Get("X-Amz-Server-Side-Encryption") != "AES256" {
			b.t.Error("not encrypted")
		}
		b.in[name] = body
	case http.MethodDelete:
		delete(b.in, name)
		w.WriteHeader(http.StatusNoContent)
	default:
		if _, ok := b.in[name]; !ok {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		http.ServeContent(w, r, "", now, strings.NewReader(string(b.in[name])))
	}
}

func (b *bucket) list(w http.ResponseWriter, r *http.Request) {
	var names []string
	for n := range b.in {
		if strings.HasPrefix(n, r.URL.Query().Get("prefix")) && n > r.URL.Query().Get("continuation-token") {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	type object struct {
		Key          string
		Size         int
		LastModified string
	}
	var out struct {
		XMLName               xml.Name `xml:"ListBucketResult"`
		IsTruncated           bool
		NextContinuationToken string
		Contents              []object
	}
	for _, n := range names {
		if len(out.Contents) == 2 {
			out.IsTruncated, out.NextContinuationToken = true, out.Contents[1].Key
			break
		}
		out.Contents = append(out.Contents, object{n, len(b.in[n]), now.Format("2006-01-02T15:04:05.000Z")})
	}
	_ = xml.NewEncoder(w).Encode(out)
}

func stores(t *testing.T) map[string]Store {
	srv := httptest.NewServer(&bucket{t: t, in: map[string][]byte{"files/acme/not-a-key": nil}})
	t.Cleanup(srv.Close)
	s3, err := NewS3(S3Options{
		Endpoint: srv.URL, Region: "here", Bucket: "bucket", Prefix: "files/", AccessKey: "key", SecretKey: "secret",
		Encryption: "AES256", Clock: clock,
	})
	if err != nil {
		t.Fatal(err)
	}
	return map[string]Store{"folder": NewFolder(t.TempDir(), clock), "s3": s3}
}

func file(t *testing.T, content string) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(p, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

func keyOf(content string) Key { return KeyOf(sha256.Sum256([]byte(content))) }

// TestStores: what every place for content promises.
func TestStores(t *testing.T) {
	for name, s := range stores(t) {
		t.Run(name, func(t *testing.T) {
			ctx := context.Background()
			read := func(tenant ident.TenantID, k Key, off, n int64) string {
				t.Helper()
				r, err := s.Open(ctx, tenant, k, off, n)
				if err != nil {
					t.Fatal(err)
				}
				b, err := io.ReadAll(r)
				if err := errors.Join(err, r.Close()); err != nil {
					t.Fatal(err)
				}
				return string(b)
			}
			const text = "0123456789"
			k := keyOf(text)
			for range 2 { // again is no error, and takes the file all the same
				p := file(t, text)
				if err := s.Put(ctx, "acme", k, p); err != nil {
					t.Fatal(err)
				}
				if _, err := os.Stat(p); !errors.Is(err, os.ErrNotExist) {
					t.Error("the file is still there")
				}
			}
			for _, c := range []struct {
				off, n int64
				want   string
			}{{0, -1, text}, {0, 10, text}, {3, -1, "3456789"}, {3, 4, "3456"}, {9, 1, "9"}, {0, 0, ""}} {
				if got := read("acme", k, c.off, c.n); got != c.want {
					t.Errorf("%d+%d: %q", c.off, c.n, got)
				}
			}
			if err := s.Put(ctx, "acme", k.Variant("t96"), file(t, "small")); err != nil {
				t.Fatal(err)
			}
			if err := s.Put(ctx, "acme", keyOf(""), file(t, "")); err != nil {
				t.Fatal(err)
			}
			if got := read("acme", keyOf(""), 0, -1); got != "" {
				t.Errorf("%q", got)
			}
			if info, err := s.Stat(ctx, "acme", k); err != nil || info.Size != 10 || !info.Modified.Equal(now) || info.Key != k {
				t.Errorf("%+v %v", info, err)
			}
			var have []Key
			if err := s.Each(ctx, "acme", func(i Info) error { have = append(have, i.Key); return nil }); err != nil {
				t.Fatal(err)
			}
			want := []Key{k, k.Variant("t96"), keyOf("")}
			slices.Sort(have)
			slices.Sort(want)
			if !slices.Equal(have, want) {
				t.Errorf("has %v, want %v", have, want)
			}
			// Another tenant has none of it.
			if _, err := s.Stat(ctx, "blue", k); !errors.Is(err, ErrNotFound) {
				t.Errorf("blue: %v", err)
			}
			if _, err := s.Open(ctx, "blue", k, 0, -1); !errors.Is(err, ErrNotFound) {
				t.Errorf("blue: %v", err)
			}
			if err := s.Each(ctx, "blue", func(i Info) error { return fmt.Errorf("has %s", i.Key) }); err != nil {
				t.Error(err)
			}
			if err := s.Put(ctx, "acme", k, filepath.Join(t.TempDir(), "gone")); name == "s3" && err == nil {
				t.Error("put a file that is not there")
			}
			// Whoever lists may delete.
			if err := s.Each(ctx, "acme", func(i Info) error { return s.Delete(ctx, "acme", i.Key) }); err != nil {
				t.Fatal(err)
			}
			if err := s.Delete(ctx, "acme", k); err != nil {
				t.Error(err)
			}
			if _, err := s.Stat(ctx, "acme", k); !errors.Is(err, ErrNotFound) {
				t.Errorf("deleted: %v", err)
			}
		})
	}
}

// TestBadNames: what is no name reaches neither file system nor service.
func TestBadNames(t *testing.T) {
	ctx := context.Background()
	good := keyOf("x")
	for name, s := range stores(t) {
		for _, c := range []struct {
			tenant ident.TenantID
			k      Key
		}{
			{"acme", ""},
			{"acme", "../../etc/passwd"},
			{"acme", Key(strings.Repeat("A", 64))},
			{"acme", Key(strings.Repeat("a", 63))},
			{"acme", good + "."},
			{"acme", good + "./x"},
			{"acme", good + ".seventeenletters1"},
			{"acme", good + ".T"},
			{"../acme", good},
			{"", good},
			{"Acme", good},
			{"a/b", good},
			{ident.TenantID(strings.Repeat("a", 41)), good},
		} {
			if err := s.Put(ctx, c.tenant, c.k, file(t, "x")); err == nil {
				t.Errorf("%s: put %q %q", name, c.tenant, c.k)
			}
			if r, err := s.Open(ctx, c.tenant, c.k, 0, -1); err == nil || errors.Is(err, ErrNotFound) {
				t.Errorf("%s: open %q %q: %v %v", name, c.tenant, c.k, r, err)
			}
			if _, err := s.Stat(ctx, c.tenant, c.k); err == nil || errors.Is(err, ErrNotFound) {
				t.Errorf("%s: stat %q %q: %v", name, c.tenant, c.k, err)
			}
			if err := s.Delete(ctx, c.tenant, c.k); err == nil {
				t.Errorf("%s: delete %q %q", name, c.tenant, c.k)
			}
		}
		if err := s.Each(ctx, "..", func(Info) error { return nil }); err == nil {
			t.Errorf("%s: lists ..", name)
		}
	}
}

// TestSignature is the example of the service's own documentation.
func TestSignature(t *testing.T) {
	s, err := NewS3(S3Options{
		Endpoint: "https://examplebucket.s3.amazonaws.com", Region: "us-east-1", Bucket: "examplebucket",
		AccessKey: "AKIAIOSFODNN7EXAMPLE", SecretKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
		Clock: func() time.Time { return time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC) },
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ path, header, want string }{
		{"/test.txt", "bytes=0-9", "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"},
		{"/?max-keys=2&prefix=J", "", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"},
	} {
		req, err := http.NewRequest(http.MethodGet, "https://examplebucket.s3.amazonaws.com"+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if c.header != "" {
			req.Header.Set("Range", c.header)
		}
		s.sign(req, emptySum)
		if got := req.Header.Get("Authorization"); !strings.HasSuffix(got, ",Signature="+c.want) {
			t.Errorf("%s: %s", c.path, got)
		}
	}
}

// TestBadBucket: a bucket that can't be reached, or refuses, is no bucket
// without the content.
func TestBadBucket(t *testing.T) {
	for _, o := range []S3Options{
		{},
		{Endpoint: "s3.example.com", Region: "r", Bucket: "b", AccessKey: "a", SecretKey: "s"},
		{Endpoint: "ftp://s3.example.com", Region: "r", Bucket: "b", AccessKey: "a", SecretKey: "s"},
		{Endpoint: "https://s3.example.com?x=y", Region: "r", Bucket: "b", AccessKey: "a", SecretKey: "s"},
		{Endpoint: "https://s3.example.com", Region: "r", Bucket: "b", AccessKey: "a"},
	} {
		if _, err := NewS3(o); err == nil {
			t.Errorf("%+v", o)
		}
	}
	var status int
	var text string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if status == http.StatusTemporaryRedirect {
			w.Header().Set("Location", "/elsewhere")
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}))
	defer srv.Close()
	s, err := NewS3(S3Options{Endpoint: srv.URL, Region: "r", Bucket: "b", AccessKey: "a", SecretKey: "s"})
	if err != nil {
		t.Fatal(err)
	}
	for _, status = range []int{http.StatusForbidden, http.StatusInternalServerError, http.StatusTemporaryRedirect, http.StatusNotFound} {
		text = "<Error><Code>NoSuchBucket</Code></Error>"
		p := file(t, "x")
		if err := s.Put(context.Background(), "acme", keyOf("x"), p); err == nil || errors.Is(err, ErrNotFound) {
			t.Errorf("%d: put: %v", status, err)
		}
		if _, err := os.Stat(p); err != nil {
			t.Errorf("%d: the file is gone: %v", status, err)
		}
		if _, err := s.Open(context.Background(), "acme", keyOf("x"), 0, -1); err == nil || errors.Is(err, ErrNotFound) {
			t.Errorf("%d: open: %v", status, err)
		}
	}
	srv.Close()
	if err := s.Delete(context.Background(), "acme", keyOf("x")); err == nil {
		t.Error("deleted without a service")
	}
}

// TestFolderLeavings: what a crash left of a copy goes after a day, and is
// listed never.
func TestFolderLeavings(t *testing.T) {
	root := t.TempDir()
	at := now
	f := NewFolder(root, func() time.Time { return at })
	if err := f.Put(context.Background(), "acme", keyOf("x"), file(t, "x")); err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(root, "acme", string(keyOf("x")[:2]), ".new-1")
	if err := os.WriteFile(left, []byte("hal"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(left, now, now); err != nil {
		t.Fatal(err)
	}
	for _, gone := range []bool{false, true} {
		n := 0
		if err := f.Each(context.Background(), "acme", func(Info) error { n++; return nil }); err != nil || n != 1 {
			t.Fatalf("%d %v", n, err)
		}
		if _, err := os.Stat(left); errors.Is(err, os.ErrNotExist) != gone {
			t.Errorf("after %v: %v", at.Sub(now), err)
		}
		at = now.Add(25 * time.Hour)
	}
	if st, err := os.Stat(filepath.Join(root, "acme")); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("%v %v", st.Mode(), err)
	}
}
