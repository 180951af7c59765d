package fcm

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"golang.org/x/oauth2"
)

// maxAnswer bounds what is read of an answer; Google's are under a kilobyte.
const maxAnswer = 64 << 10

// unreachable stands in the answer that carry makes up for a call that got
// none.
const unreachable = "X-Satchel-Unreachable"

// carry makes one HTTP call for the SDK and hides from it what it would repeat
// by itself. The SDK sleeps inside the call for as long as a 503 tells it, up
// to two minutes, four times over, and seven seconds on a network error, while
// one of its fifty workers stands still. Waiting is the outbox's business: it
// is durable, and asks before each attempt whether the message may still go.
//
// So a 503 arrives as a 500 (its body, which names the error, and Retry-After
// stay as they are), a network error as an empty 502, and credentials that
// Google's token service refused as an empty 401.
type carry struct {
	next    http.RoundTripper
	timeout time.Duration
}

// RoundTrip implements http.RoundTripper. It returns an error only when the
// caller's own context has ended.
func (c carry) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(req.Context(), c.timeout)
	defer cancel()
	body, resp, err := c.call(req.WithContext(ctx))
	switch {
	case req.Context().Err() != nil:
		return nil, req.Context().Err()
	case errors.As(err, new(*oauth2.RetrieveError)):
		return madeUp(req, http.StatusUnauthorized, http.Header{}), nil
	case err != nil:
		return madeUp(req, http.StatusBadGateway, http.Header{unreachable: {"1"}}), nil
	}
	if resp.StatusCode == http.StatusServiceUnavailable {
		resp.Status, resp.StatusCode = "500 Internal Server Error", http.StatusInternalServerError
	}
	resp.Header.Del(unreachable)
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return resp, nil
}

func madeUp(req *http.Request, status int, h http.Header) *http.Response {
	return &http.Response{
		Status: http.StatusText(status), StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: h, Body: http.NoBody, Request: req,
	}
}

// call reads the whole answer while its deadline still runs.
func (c carry) call(req *http.Request) ([]byte, *http.Response, error) {
	resp, err := c.next.RoundTrip(req)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err == nil && len(body) > maxAnswer {
		err = errors.New("fcm: an answer of more than 64 KiB")
	}
	return body, resp, err
}
