package fcm

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"satchel/server/push"
)

// canned answers every request with one answer.
type canned struct {
	status int
	retry  string
	kind   string
	body   []byte
}

func (c *canned) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		_, _ = io.Copy(io.Discard, r.Body)
		_ = r.Body.Close()
	}
	h := http.Header{"Content-Type": {c.kind}}
	if c.retry != "" {
		h.Set("Retry-After", c.retry)
	}
	return &http.Response{
		StatusCode: c.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: h, Body: io.NopCloser(bytes.NewReader(c.body)), Request: r,
	}, nil
}

// FuzzAnswer: whatever the carrier, or what stands between, answers through the
// SDK, a message has one outcome, a token is given up on the one answer that
// says so, and nobody is told to wait for longer than a day and a tenth.
func FuzzAnswer(f *testing.F) {
	unregistered := `{"error":{"code":404,"status":"NOT_FOUND","details":[{"@type":"type.googleapis.com/google.firebase.fcm.v1.FcmError","errorCode":"UNREGISTERED"}]}}`
	f.Add(200, "", "application/json", []byte(`{"name":"projects/demo/messages/1"}`))
	f.Add(404, "", "application/json", []byte(unregistered))
	f.Add(404, "", "text/html", []byte(`<html>Not found</html>`))
	f.Add(429, "120", "application/json", []byte(`{"error":{"status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.firebase.fcm.v1.FcmError","errorCode":"QUOTA_EXCEEDED"}]}}`))
	f.Add(503, "Wed, 21 Oct 2095 07:28:00 GMT", "application/json", []byte(`{"error":{"status":"UNAVAILABLE"}}`))
	f.Add(400, "-1", "application/json", []byte(`{"error":{"status":"INVALID_ARGUMENT","details":[1,null,{"@type":2}]}}`))
	f.Add(403, "99999999999", "", []byte(`{"error":[]}`))
	f.Add(500, "", "application/json", []byte{0xff, 0xfe})
	f.Add(401, "1", "application/json", []byte(`{"error":{"code":"x"}}`))
	f.Add(200, "", "application/json", []byte(`{"name":`))
	f.Fuzz(func(t *testing.T, status int, retry, kind string, body []byte) {
		if status < 200 || status > 599 || strings.ContainsAny(retry+kind, "\r\n") {
			return // no answer of HTTP
		}
		dead := status == 404 && string(body) == unregistered // as Google says it
		s, err := New(context.Background(), Config{
			Project: "demo", Endpoint: "http://127.0.0.1:1", Random: func() float64 { return 0.5 }, Now: func() time.Time { return noon },
			Log: slog.New(slog.DiscardHandler), Limits: wide, base: &canned{status, retry, kind, body},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		start := time.Now()
		out := s.Send(ctx, []Message{msg("phone-0000", 1)})
		if len(out) != 1 {
			t.Fatalf("%d outcomes", len(out))
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("took %v", took)
		}
		o := out[0]
		switch {
		case dead != (o.Kind == push.Dead) && dead,
			o.Kind == push.Sent && status >= 300,
			o.Kind == push.Dead && (status < 300 || !bytes.Contains(body, []byte("UNREGISTERED"))),
			o.Kind != push.Retry && o.After != 0,
			o.After < 0 || o.After > 27*time.Hour,
			o.Kind != push.Sent && o.Reason == "",
			// What the carrier can't do now is tried again later.
			status >= 500 && o.Kind != push.Retry && !bytes.Contains(body, []byte("rror")):
			t.Errorf("%d %q %q: %+v", status, retry, body, o)
		}
	})
}
