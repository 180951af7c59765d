package blob

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"satchel/internal/ident"
)

// S3Options say where a bucket is and who asks.
type S3Options struct {
	// Endpoint is the service, https://s3.eu-central-1.amazonaws.com say; the
	// bucket is named in the path, as all services with this interface take it.
	Endpoint, Region, Bucket string
	// Prefix leads every object's name; "" for none, otherwise it ends with /.
	Prefix               string
	AccessKey, SecretKey string
	SessionToken         string // of temporary keys; "" for none
	// Encryption is the value of x-amz-server-side-encryption for every object,
	// AES256 or aws:kms; "" for the bucket's default.
	Encryption string
	// Transport carries the requests; nil for one with timeouts.
	Transport http.RoundTripper
	Clock     func() time.Time
}

// S3 keeps content in a bucket of a service with the S3 interface, as objects
// PREFIX TENANT/KEY. Each request is signed (Signature Version 4) together
// with the SHA-256 of what it sends, which the service checks: for content that
// is its very name.
type S3 struct {
	opts S3Options
	base *url.URL
	http *http.Client
}

// NewS3 keeps content in a bucket that exists. Nothing is asked of the service
// yet.
func NewS3(opts S3Options) (*S3, error) {
	u, err := url.Parse(opts.Endpoint)
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") || u.RawQuery != "" {
		return nil, fmt.Errorf("blob: %q is no endpoint", opts.Endpoint)
	}
	if opts.Region == "" || opts.Bucket == "" || opts.AccessKey == "" || opts.SecretKey == "" {
		return nil, errors.New("blob: a bucket needs a region, a name and keys")
	}
	if opts.Clock == nil {
		opts.Clock = time.Now
	}
	if opts.Transport == nil {
		opts.Transport = &http.Transport{
			Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 16, IdleConnTimeout: 90 * time.Second,
			TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: time.Minute, DisableCompression: true,
		}
	}
	return &S3{opts, u, &http.Client{
		Transport: opts.Transport,
		// A signature is for one address.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// emptySum is the SHA-256 of nothing, in hex.
const emptySum = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// do sends a signed request. sum is the SHA-256 of the body in hex. An answer
// other than 2xx is an error.
func (s *S3) do(ctx context.Context, method, object string, query url.Values, header http.Header, body io.Reader, size int64, sum string) (*http.Response, error) {
	u := *s.base
	u.Path = strings.TrimSuffix(u.Path, "/") + "/" + s.opts.Bucket
	if object != "" {
		u.Path += "/" + s.opts.Prefix + object
	}
	u.RawQuery = canonicalQuery(query)
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, fmt.Errorf("blob: %w", err)
	}
	maps.Copy(req.Header, header)
	req.ContentLength = size
	s.sign(req, sum)
	res, err := s.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("blob: %w", err)
	}
	if res.StatusCode/100 == 2 {
		return res, nil
	}
	text, _ := io.ReadAll(io.LimitReader(res.Body, 1<<10)) // an explanation, if it can be had
	_ = res.Body.Close()
	if res.StatusCode == http.StatusNotFound && !bytes.Contains(text, []byte("NoSuchBucket")) {
		return nil, ErrNotFound
	}
	return nil, fmt.Errorf("blob: %s: %s: %s", method, res.Status, text)
}

// sign adds the Authorization header of Signature Version 4.
func (s *S3) sign(req *http.Request, sum string) {
	at := s.opts.Clock().UTC()
	req.Header.Set("X-Amz-Date", at.Format("20060102T150405Z"))
	req.Header.Set("X-Amz-Content-Sha256", sum)
	if s.opts.SessionToken != "" {
		req.Header.Set("X-Amz-Security-Token", s.opts.SessionToken)
	}
	signed := map[string]string{"host": req.URL.Host}
	for name, values := range req.Header {
		signed[strings.ToLower(name)] = strings.TrimSpace(strings.Join(values, ","))
	}
	names := slices.Sorted(maps.Keys(signed))
	var canonical strings.Builder
	fmt.Fprintf(&canonical, "%s\n%s\n%s\n", req.Method, req.URL.EscapedPath(), req.URL.RawQuery)
	for _, n := range names {
		fmt.Fprintf(&canonical, "%s:%s\n", n, signed[n])
	}
	list := strings.Join(names, ";")
	fmt.Fprintf(&canonical, "\n%s\n%s", list, sum)
	scope := at.Format("20060102") + "/" + s.opts.Region + "/s3/aws4_request"
	digest := sha256.Sum256([]byte(canonical.String()))
	text := "AWS4-HMAC-SHA256\n" + at.Format("20060102T150405Z") + "\n" + scope + "\n" + hex.EncodeToString(digest[:])
	key := []byte("AWS4" + s.opts.SecretKey)
	for part := range strings.SplitSeq(scope, "/") {
		key = mac(key, part)
	}
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+s.opts.AccessKey+"/"+scope+
		",SignedHeaders="+list+",Signature="+hex.EncodeToString(mac(key, text)))
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// canonicalQuery renders a query as it is signed: sorted, with %20 for spaces.
func canonicalQuery(q url.Values) string { return strings.ReplaceAll(q.Encode(), "+", "%20") }

func object(tenant ident.TenantID, k Key) string { return string(tenant) + "/" + string(k) }

// Put implements Store.
func (s *S3) Put(ctx context.Context, tenant ident.TenantID, k Key, file string) error {
	if err := check(tenant, k); err != nil {
		return err
	}
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("blob: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return fmt.Errorf("blob: %w", err)
	}
	sum := k.Digest()
	if k.Derived() {
		h := sha256.New()
		if _, err := io.Copy(h, f); err != nil {
			return fmt.Errorf("blob: %w", err)
		}
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return fmt.Errorf("blob: %w", err)
		}
		sum = hex.EncodeToString(h.Sum(nil))
	}
	header := http.Header{"Content-Type": {"application/octet-stream"}}
	if s.opts.Encryption != "" {
		header.Set("X-Amz-Server-Side-Encryption", s.opts.Encryption)
	}
	var body io.Reader = http.NoBody
	if st.Size() > 0 {
		body = io.NopCloser(f) // closed here, whatever becomes of the request
	}
	res, err := s.do(ctx, http.MethodPut, object(tenant, k), nil, header, body, st.Size(), sum)
	if err != nil {
		return err
	}
	_ = res.Body.Close()
	return os.Remove(file)
}

// Open implements Store.
func (s *S3) Open(ctx context.Context, tenant ident.TenantID, k Key, offset, length int64) (io.ReadCloser, error) {
	if err := check(tenant, k); err != nil {
		return nil, err
	}
	if length == 0 {
		_, err := s.Stat(ctx, tenant, k)
		return io.NopCloser(strings.NewReader("")), err
	}
	header := http.Header{}
	switch {
	case length > 0:
		header.Set("Range", fmt.Sprintf("bytes=%d-%d", offset, offset+length-1))
	case offset > 0:
		header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
	}
	res, err := s.do(ctx, http.MethodGet, object(tenant, k), nil, header, nil, 0, emptySum)
	if err != nil {
		return nil, err
	}
	return res.Body, nil
}

// Stat implements Store.
func (s *S3) Stat(ctx context.Context, tenant ident.TenantID, k Key) (Info, error) {
	if err := check(tenant, k); err != nil {
		return Info{}, err
	}
	res, err := s.do(ctx, http.MethodHead, object(tenant, k), nil, nil, nil, 0, emptySum)
	if err != nil {
		return Info{}, err
	}
	_ = res.Body.Close()
	if res.ContentLength < 0 {
		return Info{}, fmt.Errorf("blob: the service does not tell the size of %s", k)
	}
	at, err := http.ParseTime(res.Header.Get("Last-Modified"))
	if err != nil {
		return Info{}, fmt.Errorf("blob: age of %s: %w", k, err)
	}
	return Info{k, res.ContentLength, at}, nil
}

// Delete implements Store.
func (s *S3) Delete(ctx context.Context, tenant ident.TenantID, k Key) error {
	if err := check(tenant, k); err != nil {
		return err
	}
	res, err := s.do(ctx, http.MethodDelete, object(tenant, k), nil, nil, nil, 0, emptySum)
	if errors.Is(err, ErrNotFound) {
		return nil
	} else if err != nil {
		return err
	}
	return res.Body.Close()
}

// listing is an answer of ListObjectsV2.
type listing struct {
	IsTruncated           bool
	NextContinuationToken string
	Contents              []struct {
		Key          string
		Size         int64
		LastModified time.Time
	}
}

// maxListing bounds one page of a listing, in bytes: a thousand objects.
const maxListing = 4 << 20

// Each implements Store.
func (s *S3) Each(ctx context.Context, tenant ident.TenantID, each func(Info) error) error {
	if err := checkTenant(tenant); err != nil {
		return err
	}
	prefix := s.opts.Prefix + string(tenant) + "/"
	query := url.Values{"list-type": {"2"}, "prefix": {prefix}}
	for {
		res, err := s.do(ctx, http.MethodGet, "", query, nil, nil, 0, emptySum)
		if err != nil {
			return err
		}
		var l listing
		err = xml.NewDecoder(io.LimitReader(res.Body, maxListing)).Decode(&l)
		if err := errors.Join(err, res.Body.Close()); err != nil {
			return fmt.Errorf("blob: listing: %w", err)
		}
		for _, o := range l.Contents {
			k := Key(strings.TrimPrefix(o.Key, prefix))
			if !k.Valid() {
				continue // somebody else's
			}
			if err := each(Info{k, o.Size, o.LastModified}); err != nil {
				return err
			}
		}
		if !l.IsTruncated || l.NextContinuationToken == "" {
			return nil
		}
		query.Set("continuation-token", l.NextContinuationToken)
	}
}

var _ Store = (*S3)(nil)
