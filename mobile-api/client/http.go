package client

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	mobile "satchel/mobile-api/wire"
	"satchel/sync/wire"
)

// maxWindow bounds what a zstd answer may refer back to, in bytes: what RFC 8878
// would have everybody support.
const maxWindow = 8 << 20

// maxRefreshes is how often one call exchanges tokens: the first answer may be
// the repetition of one that was lost long ago, with a token that is over too.
const maxRefreshes = 2

// call sends a request with the session's token and perhaps with preferences; a
// token that has expired is refreshed.
func (p *Phone) call(ctx context.Context, path string, in, out any, prefer ...string) error {
	token, err := p.token(ctx)
	if err != nil {
		return err
	}
	err = p.send(ctx, path, token, in, out, prefer...)
	for try := 0; try < maxRefreshes && (hasCode(err, codeTokenExpired) || hasCode(err, codeInvalidToken)); try++ {
		if token, err = p.refresh(ctx, token); err != nil {
			return err
		}
		err = p.send(ctx, path, token, in, out, prefer...)
	}
	return p.judge(err, token)
}

// send posts JSON and reads the JSON answer. token and out may be empty.
func (p *Phone) send(ctx context.Context, path, token string, in, out any, prefer ...string) error {
	ctx, cancel := context.WithTimeout(ctx, p.opts.Timeout)
	defer cancel()
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.server.String()+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	for _, x := range prefer {
		if x != "" {
			req.Header.Add(mobile.HeaderPrefer, x)
		}
	}
	status, raw, err := p.exchange(req, path, token)
	if err != nil || out == nil {
		return err
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return &Error{Status: status, Code: codeBadAnswer, Detail: fmt.Sprintf("%s: %v", path, err)}
	}
	return nil
}

// get fetches a document with the session's token; nil where it is still the
// version that is known ("" for none).
func (p *Phone) get(ctx context.Context, path, known string) ([]byte, error) {
	token, err := p.token(ctx)
	if err != nil {
		return nil, err
	}
	fetch := func() (int, []byte, error) {
		ctx, cancel := context.WithTimeout(ctx, p.opts.Timeout)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.server.String()+path, nil)
		if err != nil {
			return 0, nil, err
		}
		if known != "" {
			req.Header.Set("If-None-Match", strconv.Quote(known))
		}
		return p.exchange(req, path, token)
	}
	status, raw, err := fetch()
	if hasCode(err, codeTokenExpired) || hasCode(err, codeInvalidToken) {
		if token, err = p.refresh(ctx, token); err != nil {
			return nil, err
		}
		status, raw, err = fetch()
	}
	if status == http.StatusNotModified {
		return nil, nil
	}
	return raw, p.judge(err, token)
}

// exchange sends a request and reads the answer; any but a success, or 304, is
// an *Error.
func (p *Phone) exchange(req *http.Request, path, token string) (int, []byte, error) {
	req.Header.Set("Accept", "application/json, application/problem+json")
	req.Header.Set(mobile.HeaderProtocol, strconv.Itoa(mobile.Protocol))
	// Set here and undone below, so that any transport will do and the limit
	// counts decompressed bytes.
	req.Header.Set("Accept-Encoding", "zstd, gzip")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := p.http.Do(req)
	if err != nil {
		return 0, nil, fmt.Errorf("client: %s: %w", path, err)
	}
	defer resp.Body.Close()
	raw, err := p.readBody(resp)
	if err != nil {
		return resp.StatusCode, nil, err
	}
	if (resp.StatusCode < 200 || resp.StatusCode > 299) && resp.StatusCode != http.StatusNotModified {
		return resp.StatusCode, nil, problem(resp.StatusCode, resp.Header, raw, p.now())
	}
	return resp.StatusCode, raw, nil
}

func (p *Phone) readBody(resp *http.Response) ([]byte, error) {
	var r io.Reader = resp.Body
	coding := strings.ToLower(resp.Header.Get("Content-Encoding"))
	if resp.Uncompressed {
		coding = ""
	}
	switch coding {
	case "gzip":
		z, err := gzip.NewReader(r)
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("client: compressed answer: %w", err)
		}
		defer z.Close() //nolint:errcheck // only read from
		r = z
	case "zstd":
		// One goroutine, and no more memory than what the server's needs.
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, fmt.Errorf("client: compressed answer: %w", err)
		}
		defer z.Close()
		r = z
	}
	raw, err := io.ReadAll(io.LimitReader(r, p.opts.MaxResponse+1))
	if err != nil {
		return nil, fmt.Errorf("client: answer broke off: %w", err)
	}
	if int64(len(raw)) > p.opts.MaxResponse {
		return nil, &Error{Status: resp.StatusCode, Code: codeAnswerTooLarge, Detail: fmt.Sprintf("more than %d bytes", p.opts.MaxResponse)}
	}
	return raw, nil
}

// problem makes an *Error of an answer that is no success, whatever its body.
func problem(status int, h http.Header, raw []byte, now time.Time) *Error {
	e := &Error{Status: status, Code: codeUnexpectedReply, Title: http.StatusText(status)}
	var doc wire.Problem
	if json.Unmarshal(raw, &doc) == nil && doc.Code != "" {
		e.Code, e.Title, e.Detail, e.Field, e.Wipe = doc.Code, doc.Title, doc.Detail, doc.Field, doc.Wipe
		var all map[string]json.RawMessage
		if json.Unmarshal(raw, &all) == nil {
			for _, known := range []string{"type", "title", "status", "code", "detail", "field", "wipe", "kind"} {
				delete(all, known)
			}
			if len(all) > 0 {
				e.Extra = all
			}
		}
	}
	if s := h.Get("Retry-After"); s != "" {
		if n, err := strconv.ParseInt(s, 10, 32); err == nil && n >= 0 {
			e.RetryAfter = time.Duration(n) * time.Second
		} else if at, err := http.ParseTime(s); err == nil && at.After(now) {
			e.RetryAfter = at.Sub(now)
		}
	}
	return e
}
