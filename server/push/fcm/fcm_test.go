package fcm

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"firebase.google.com/go/v4/messaging"
	"go.uber.org/goleak"

	"satchel/server/push"
	"satchel/server/push/fcm/emulator"
)

func TestMain(m *testing.M) {
	flag.Parse()
	goleak.VerifyTestMain(m)
}

// wide lets everything through, for tests that are not about limits.
var wide = Limits{DevicePerMinute: 1 << 30, DevicePerHour: 1 << 30, CollapseBurst: 1 << 20, ProjectPerMinute: 1 << 30}

var noon = time.Date(2025, 3, 1, 12, 0, 0, 0, time.UTC)

// world is a sender and the emulator it sends to.
type world struct {
	*Sender
	fcm *emulator.Emulator
	url string
}

func newWorld(t *testing.T, cfg Config, opts emulator.Options) world {
	t.Helper()
	e := emulator.New(opts)
	srv := httptest.NewServer(e)
	cfg.Project, cfg.Endpoint = "demo", srv.URL
	if cfg.Random == nil {
		cfg.Random = mathrand.New(mathrand.NewPCG(1, 2)).Float64
	}
	cfg.Log = slog.New(slog.DiscardHandler)
	s, err := New(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(); srv.Close() })
	return world{s, e, srv.URL}
}

func msg(token string, n int) Message {
	return Message{Token: token, Category: "work", Key: fmt.Sprintf("key-%d", n), CollapseKey: CollapseJobs, TTL: time.Hour, Language: "de"}
}

func count(out []push.Outcome) map[string]int {
	n := map[string]int{}
	for _, o := range out {
		k := o.Kind.String()
		if o.Reason != "" {
			k += " " + o.Reason
		}
		n[k]++
	}
	return n
}

func want(t *testing.T, out []push.Outcome, n map[string]int) {
	t.Helper()
	if got := count(out); fmt.Sprint(got) != fmt.Sprint(n) {
		t.Errorf("outcomes %v, want %v", got, n)
	}
}

func TestTwelveHundredMixed(t *testing.T) {
	w := newWorld(t, Config{Limits: wide}, emulator.Options{})
	w.fcm.Set("phone-dead", emulator.State{Dead: true})
	w.fcm.Set("phone-other", emulator.State{Mismatch: true})
	var ms []Message
	for i := range 1200 {
		m := msg(fmt.Sprintf("phone-%04d", i%30), i)
		switch i % 100 {
		case 10:
			m.Token = "phone-dead"
		case 20:
			m.Token = "phone-other"
		case 30:
			m.Token = "no token\r\nat all"
		case 40:
			m.CollapseKey = "client-4711"
		case 50:
			m.TTL = -time.Second
		case 60:
			m.Category = "Müller GmbH"
		case 70:
			m.Key = ""
		}
		ms = append(ms, m)
	}
	out := w.Send(t.Context(), ms)
	want(t, out, map[string]int{
		"sent": 1116, "dead unregistered": 12, "rejected sender_id_mismatch": 12, "rejected bad_token": 12,
		"rejected bad_collapse_key": 12, "rejected bad_ttl": 12, "rejected bad_category": 12, "rejected bad_key": 12,
	})
	// Same order: each outcome belongs to its message.
	for i, o := range out {
		if (ms[i].Token == "phone-dead") != (o.Kind == push.Dead) {
			t.Fatalf("message %d to %q: %+v", i, ms[i].Token, o)
		}
	}
	got := 0
	for i := range 30 {
		got += len(w.fcm.Token(fmt.Sprintf("phone-%04d", i)).Delivered)
	}
	if got != 1116 {
		t.Errorf("%d arrived", got)
	}
	if st := w.fcm.Stats(); st.Requests != 1140 || st.Peak > 200 {
		t.Errorf("stats %+v", st)
	}
}

// Nothing but the id and the token tells two messages of a category apart.
func TestPayloadsOfACategoryAreIdentical(t *testing.T) {
	w := newWorld(t, Config{Limits: wide, Now: func() time.Time { return noon }}, emulator.Options{})
	var ms []Message
	for i := range 300 {
		m := msg(fmt.Sprintf("phone-%04d", i), i)
		m.Key = strings.Repeat("k", 1+i%200) + fmt.Sprint(i)
		m.Key = m.Key[:min(len(m.Key), maxKey)]
		m.High, m.Visible = i%3 == 0, i%3 != 1
		ms = append(ms, m)
	}
	want(t, w.Send(t.Context(), ms), map[string]int{"sent": 300})
	kinds := map[string]map[string]bool{}
	id := regexp.MustCompile(`"id":"[A-Za-z0-9_-]{22}"`)
	for i, m := range ms {
		d := w.fcm.Token(m.Token).Delivered
		if len(d) != 1 {
			t.Fatalf("%d deliveries for %s", len(d), m.Token)
		}
		body := string(d[0].Message)
		if !strings.Contains(body, `"id":"`+ID(m.Key)+`"`) || strings.Contains(body, m.Category) || strings.Contains(body, "kkkkkk") {
			t.Fatalf("message %d: %s", i, body)
		}
		body = strings.Replace(id.ReplaceAllString(body, `"id":"…"`), m.Token, "…", 1)
		k := fmt.Sprint(i % 3)
		if kinds[k] == nil {
			kinds[k] = map[string]bool{}
		}
		kinds[k][body] = true
	}
	for k, bodies := range kinds {
		if len(bodies) != 1 {
			t.Errorf("kind %s has %d payloads: %v", k, len(bodies), bodies)
		}
	}
}

func TestPayloadByFlags(t *testing.T) {
	s := newSender(Config{Title: "Satchel", Now: func() time.Time { return noon }, Parallel: 1, Random: func() float64 { return 0 }}, nil)
	for name, c := range map[string]struct {
		m    Message
		want string
	}{
		"silent": {
			Message{Key: "a", CollapseKey: "sync", TTL: 90 * time.Second, High: true},
			`{"data":{"id":"ID","s":"1"},"android":{"ttl":"90s","collapse_key":"sync","priority":"normal"},` +
				`"webpush":{"headers":{"TTL":"90","Topic":"sync","Urgency":"normal"}},` +
				`"apns":{"headers":{"apns-collapse-id":"sync","apns-expiration":"1740830490","apns-priority":"5","apns-push-type":"background"},` +
				`"payload":{"aps":{"content-available":1}}},"token":"T"}`,
		},
		"urgent alert": {
			Message{Key: "a", CollapseKey: "jobs", TTL: time.Hour, High: true, Visible: true, Language: "de-AT"},
			`{"data":{"id":"ID","s":"1"},"notification":{"title":"Satchel","body":"Sie haben neue Arbeit"},` +
				`"android":{"ttl":"3600s","collapse_key":"jobs","priority":"high","notification":{"tag":"jobs"}},` +
				`"webpush":{"headers":{"TTL":"3600","Topic":"jobs","Urgency":"high"}},` +
				`"apns":{"headers":{"apns-collapse-id":"jobs","apns-expiration":"1740834000","apns-priority":"10","apns-push-type":"alert"},` +
				`"payload":{"aps":{"content-available":1,"sound":"default"}}},"token":"T"}`,
		},
		"now or never": {
			Message{Key: "a", Visible: true, Language: "xx"},
			`{"data":{"id":"ID","s":"1"},"notification":{"title":"Satchel","body":"There is something new for you"},` +
				`"android":{"ttl":"0s","priority":"normal","notification":{}},"webpush":{"headers":{"TTL":"0","Urgency":"normal"}},` +
				`"apns":{"headers":{"apns-expiration":"0","apns-priority":"10","apns-push-type":"alert"},` +
				`"payload":{"aps":{"content-available":1}}},"token":"T"}`,
		},
	} {
		c.m.Token = "T"
		b, err := json.Marshal(s.payload(&c.m, noon))
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Replace(string(b), ID("a"), "ID", 1); got != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, c.want)
		}
	}
}

func TestEveryPayloadFitsAndEveryLineIsThere(t *testing.T) {
	s := newSender(Config{Title: strings.Repeat("ü", 40), Now: func() time.Time { return noon }, Parallel: 1, Random: func() float64 { return 0 }}, nil)
	for language, table := range lines {
		for _, key := range []string{"", CollapseSync, CollapseJobs, CollapseTickets, CollapseAccess} {
			if table[key] == "" {
				t.Errorf("%s has no line for %q", language, key)
			}
			m := Message{Token: "t", Key: strings.Repeat("k", maxKey), CollapseKey: key, High: true, Visible: true, TTL: maxTTL, Language: language}
			if b, err := json.Marshal(s.payload(&m, noon)); err != nil || len(b) > maxPayload {
				t.Errorf("%s %s: %d bytes, %v", language, key, len(b), err)
			}
		}
	}
	for tag, want := range map[string]string{"fr": "fr", "FR-ca": "fr", "de_CH": "de", "": "en", "zz": "en", "deutsch": "en"} {
		if got := line(CollapseJobs, tag); got != lines[want][CollapseJobs] {
			t.Errorf("%q: %q", tag, got)
		}
	}
}

func TestTooManyRequests(t *testing.T) {
	w := newWorld(t, Config{Limits: wide, Now: func() time.Time { return noon }}, emulator.Options{})
	fail := func(f emulator.Fault) {
		t.Helper()
		if err := w.fcm.Fail(f); err != nil {
			t.Fatal(err)
		}
	}
	var ms []Message
	for i := range 120 {
		ms = append(ms, msg(fmt.Sprintf("phone-%04d", i), i))
	}
	fail(emulator.Fault{Status: 429, RetryAfter: "30", Count: 70})
	out := w.Send(t.Context(), ms)
	want(t, out, map[string]int{"sent": 50, "retry quota_exceeded": 70})
	spread := map[time.Duration]bool{}
	for _, o := range out {
		if o.Kind == push.Retry {
			spread[o.After] = true
			if o.After < 30*time.Second || o.After > 33*time.Second {
				t.Fatalf("told 30 s, waits %v", o.After)
			}
		}
	}
	if len(spread) < 35 {
		t.Errorf("only %d different waits of 70", len(spread))
	}

	one := func(f emulator.Fault, attempt int) push.Outcome {
		t.Helper()
		before := w.fcm.Stats().Requests
		fail(f)
		m := msg("phone-0000", 1)
		m.Attempt = attempt
		o := w.Send(t.Context(), []Message{m})[0]
		if n := w.fcm.Stats().Requests - before; n != 1 {
			t.Errorf("%+v: %d requests for one attempt", f, n)
		}
		return o
	}
	for _, c := range []struct {
		f        emulator.Fault
		attempt  int
		reason   string
		min, max time.Duration
	}{
		{emulator.Fault{Status: 429, RetryAfter: noon.Add(5 * time.Minute).Format(http.TimeFormat)}, 3, ReasonQuota, 5 * time.Minute, 330 * time.Second},
		{emulator.Fault{Status: 429}, 0, ReasonQuota, time.Minute, 2 * time.Minute},
		{emulator.Fault{Status: 429, Code: "-"}, 1, ReasonQuota, 2 * time.Minute, 4 * time.Minute},
		{emulator.Fault{Status: 500}, 0, ReasonUnavailable, 5 * time.Second, 10 * time.Second},
		{emulator.Fault{Status: 500}, 4, ReasonUnavailable, 80 * time.Second, 160 * time.Second},
		{emulator.Fault{Status: 503, RetryAfter: "100"}, 0, ReasonUnavailable, 100 * time.Second, 110 * time.Second},
		{emulator.Fault{Status: 503}, 60, ReasonUnavailable, 30 * time.Minute, time.Hour},
		{emulator.Fault{Drop: true}, 0, ReasonUnreachable, 5 * time.Second, 10 * time.Second},
		{emulator.Fault{Status: 401}, 0, ReasonConfiguration, 5 * time.Minute, 10 * time.Minute},
		{emulator.Fault{Status: 403, Code: "-"}, 0, ReasonConfiguration, 5 * time.Minute, 10 * time.Minute},
		{emulator.Fault{Status: 404, Code: "-"}, 0, ReasonConfiguration, 5 * time.Minute, 10 * time.Minute},
	} {
		if o := one(c.f, c.attempt); o.Kind != push.Retry || o.Reason != c.reason || o.After < c.min || o.After > c.max {
			t.Errorf("%+v, attempt %d: %+v", c.f, c.attempt, o)
		}
	}
	for status, wanted := range map[int]push.Outcome{
		400: {Kind: push.Rejected, Reason: ReasonInvalid}, 403: {Kind: push.Rejected, Reason: ReasonSenderMismatch}, 404: {Kind: push.Dead, Reason: ReasonUnregistered},
	} {
		if o := one(emulator.Fault{Status: status}, 0); o != wanted {
			t.Errorf("%d: %+v", status, o)
		}
	}
}

func TestSlowAnswersAndDeadEndpoints(t *testing.T) {
	w := newWorld(t, Config{Limits: wide, CallTimeout: 50 * time.Millisecond}, emulator.Options{})
	if err := w.fcm.Fail(emulator.Fault{DelayMillis: 2000}); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	want(t, w.Send(t.Context(), []Message{msg("phone-0000", 1)}), map[string]int{"retry unreachable": 1})
	// The SDK by itself would try five times over seven seconds.
	if d := time.Since(start); d > 1500*time.Millisecond {
		t.Errorf("took %v", d)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = ln.Close()
	s, err := New(t.Context(), Config{Project: "demo", Endpoint: "http://" + ln.Addr().String(), Random: func() float64 { return 0 }, Limits: wide})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var ms []Message
	for i := range 600 {
		ms = append(ms, msg("phone-0000", i))
	}
	start = time.Now()
	want(t, s.Send(t.Context(), ms), map[string]int{"retry unreachable": 600})
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("nobody there: took %v", d)
	}
}

func TestStrangeAnswers(t *testing.T) {
	var elsewhere atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		reason string
	}{
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
		}, ReasonUnavailable},
		"endless": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(bytes.Repeat([]byte("x"), 1<<20))
		}, ReasonUnreachable},
		"no json":     {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }, ReasonUnavailable},
		"forged mark": {func(w http.ResponseWriter, _ *http.Request) { w.Header().Set(unreachable, "1"); w.WriteHeader(500) }, ReasonUnavailable},
		"teapot":      {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(418) }, ReasonUnavailable},
		"bad retryafter": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "-1e9")
			w.WriteHeader(429)
		}, ReasonQuota},
	} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(c.answer)
			defer srv.Close()
			s, err := New(t.Context(), Config{Project: "demo", Endpoint: srv.URL, Random: func() float64 { return 0 }})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			o := s.Send(t.Context(), []Message{msg("phone-0000", 1)})[0]
			if o.Kind != push.Retry || o.Reason != c.reason || o.After <= 0 {
				t.Errorf("%+v", o)
			}
		})
	}
	if elsewhere.Load() != 0 {
		t.Error("a redirect was followed")
	}
}

func TestCancellation(t *testing.T) {
	w := newWorld(t, Config{Limits: wide, Parallel: 1}, emulator.Options{Latency: 40 * time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	var ms []Message
	for i := range 1200 {
		ms = append(ms, msg(fmt.Sprintf("phone-%04d", i%50), i))
	}
	go func() {
		for w.fcm.Stats().Accepted <= 100 { // the third round of fifty
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	start := time.Now()
	out := w.Send(ctx, ms)
	if d := time.Since(start); d > 2*time.Second {
		t.Errorf("took %v to stop", d)
	}
	n := count(out)
	if n["sent"] == 0 || n["retry cancelled"] == 0 || n["sent"]+n["retry cancelled"] != 1200 {
		t.Errorf("%v", n)
	}
	for _, o := range out {
		if o.Kind == push.Retry && o.After != 0 {
			t.Fatalf("%+v", o)
		}
	}
	// The slots are free again.
	want(t, w.Send(t.Context(), ms[:10]), map[string]int{"sent": 10})
	// A context that has ended sends nothing.
	before := w.fcm.Stats().Accepted
	if n := count(w.Send(ctx, ms[:100])); n["retry cancelled"] != 100 {
		t.Errorf("%v", n)
	}
	if w.fcm.Stats().Accepted != before {
		t.Error("sent after the end")
	}
}

// picky refuses a whole call for one message, as the SDK does.
type picky struct{ calls, sent atomic.Int32 }

func (p *picky) SendEach(_ context.Context, ms []*messaging.Message) (*messaging.BatchResponse, error) {
	p.calls.Add(1)
	for i, m := range ms {
		if strings.Contains(m.Token, "odd") {
			return nil, fmt.Errorf("invalid message at index %d", i)
		}
	}
	p.sent.Add(int32(len(ms)))
	r := &messaging.BatchResponse{}
	for range ms {
		r.Responses = append(r.Responses, &messaging.SendResponse{Success: true})
	}
	return r, nil
}

func TestOneMessageTheSDKDislikes(t *testing.T) {
	p := &picky{}
	s := newSender(Config{Now: time.Now, Parallel: 1, Limits: wide, Random: func() float64 { return 0 }}, p)
	var ms []Message
	for i := range 500 {
		ms = append(ms, msg(fmt.Sprintf("phone-%04d", i), i))
	}
	ms[123].Token, ms[400].Token = "odd-phone-1", "odd-phone-2"
	out := s.Send(t.Context(), ms)
	want(t, out, map[string]int{"sent": 498, "rejected invalid_argument": 2})
	if out[123].Kind != push.Rejected || out[400].Kind != push.Rejected || p.sent.Load() != 498 || p.calls.Load() > 40 {
		t.Errorf("%+v %+v, %d sent in %d calls", out[123], out[400], p.sent.Load(), p.calls.Load())
	}
}

func TestBatches(t *testing.T) {
	for _, c := range []struct {
		n, parallel int
		want        string
	}{
		{0, 4, "[]"},
		{1, 4, "[1]"},
		{50, 4, "[50]"},
		{51, 4, "[50 1]"},
		{400, 4, "[100 100 100 100]"},
		{1200, 4, "[300 300 300 300]"},
		{1200, 1, "[500 500 200]"},
		{5000, 4, "[500 500 500 500 500 500 500 500 500 500]"},
	} {
		got := []int{}
		for b := range batches(make([]int, c.n), c.parallel) {
			got = append(got, len(b))
		}
		if fmt.Sprint(got) != c.want {
			t.Errorf("%d over %d: %v, want %s", c.n, c.parallel, got, c.want)
		}
	}
}

func TestConfigIsChecked(t *testing.T) {
	r := func() float64 { return 0 }
	for name, cfg := range map[string]Config{
		"no random":              {Project: "demo", Endpoint: "http://127.0.0.1:1"},
		"no project":             {Endpoint: "http://127.0.0.1:1", Random: r},
		"project with a slash":   {Project: "demo/../other", Endpoint: "http://127.0.0.1:1", Random: r},
		"file endpoint":          {Project: "demo", Endpoint: "file:///etc/passwd", Random: r},
		"endpoint with password": {Project: "demo", Endpoint: "http://u:p@host", Random: r},
		"endpoint and file":      {Project: "demo", Endpoint: "http://127.0.0.1:1", CredentialsFile: "x.json", Random: r},
		"absent file":            {Project: "demo", CredentialsFile: "absent.json", Random: r},
		"title in two lines":     {Project: "demo", Endpoint: "http://127.0.0.1:1", Title: "a\nb", Random: r},
		"long title":             {Project: "demo", Endpoint: "http://127.0.0.1:1", Title: strings.Repeat("x", 41), Random: r},
	} {
		if _, err := New(t.Context(), cfg); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

// toEmulator leads calls for Google to the emulator and keeps what they carried.
type toEmulator struct {
	host  string
	auth  atomic.Value
	first atomic.Value
}

func (d *toEmulator) RoundTrip(r *http.Request) (*http.Response, error) {
	d.auth.Store(r.Header.Get("Authorization"))
	d.first.CompareAndSwap(nil, r.URL.String())
	r = r.Clone(r.Context())
	r.URL.Scheme, r.URL.Host = "http", d.host
	return http.DefaultTransport.RoundTrip(r)
}

// account writes a service account's file whose tokens come from tokenURL.
func account(t *testing.T, tokenURL string) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(map[string]string{
		"type": "service_account", "project_id": "from-the-file", "private_key_id": "1",
		"private_key":  string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		"client_email": "sender@from-the-file.iam.gserviceaccount.com", "client_id": "1", "token_uri": tokenURL,
	})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "account.json")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestServiceAccount(t *testing.T) {
	var tokens, broken atomic.Int32
	auth := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tokens.Add(1)
		w.Header().Set("Content-Type", "application/json")
		if broken.Load() > 0 {
			w.WriteHeader(400)
			fmt.Fprint(w, `{"error":"invalid_grant"}`)
			return
		}
		if r.FormValue("assertion") == "" {
			t.Error("no assertion")
		}
		fmt.Fprint(w, `{"access_token":"secret-1","token_type":"Bearer","expires_in":3600}`)
	}))
	defer auth.Close()
	e := emulator.New(emulator.Options{})
	srv := httptest.NewServer(e)
	defer srv.Close()
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	u, _ := url.Parse(srv.URL)
	lead := &toEmulator{host: u.Host}
	var log bytes.Buffer
	cfg := Config{CredentialsFile: account(t, auth.URL), Random: func() float64 { return 0 }, base: lead, Log: slog.New(slog.NewTextHandler(&log, nil))}
	s, err := New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	var ms []Message
	for i := range 120 {
		ms = append(ms, msg(fmt.Sprintf("phone-%04d", i), i))
	}
	want(t, s.Send(t.Context(), ms), map[string]int{"sent": 120})
	if got := lead.auth.Load(); got != "Bearer secret-1" {
		t.Errorf("authorization %q", got)
	}
	if got := lead.first.Load(); got != "https://fcm.googleapis.com/v1/projects/from-the-file/messages:send" {
		t.Errorf("called %s", got)
	}
	if tokens.Load() != 1 {
		t.Errorf("%d access tokens for 120 messages", tokens.Load())
	}
	// An account that was withdrawn is the operator's business, not the token's.
	broken.Store(1)
	s, err = New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	out := s.Send(t.Context(), ms[:2])
	want(t, out, map[string]int{"retry configuration": 2})
	if !strings.Contains(log.String(), "check the project") || strings.Contains(log.String(), "phone-") {
		t.Errorf("log: %s", log.String())
	}
	// Nobody answers at the token service.
	auth.Close()
	s, err = New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	want(t, s.Send(t.Context(), ms[:1]), map[string]int{"retry unreachable": 1})
}

func TestDeviceLimits(t *testing.T) {
	now := noon
	w := newWorld(t, Config{Now: func() time.Time { return now }, Random: func() float64 { return 0 }}, emulator.Options{})
	same := func(n int, key string) []Message {
		var ms []Message
		for i := range n {
			m := msg("phone-0000", i)
			m.CollapseKey = key
			ms = append(ms, m)
		}
		return ms
	}
	out := w.Send(t.Context(), same(25, CollapseSync))
	want(t, out, map[string]int{"sent": 20, "retry rate_limited": 5})
	if a := out[24].After; a < 3*time.Minute || a > 3*time.Minute+2*time.Second {
		t.Errorf("waits %v", a)
	}
	// Without a collapse key there is still room; so there is for another device.
	want(t, w.Send(t.Context(), same(10, "")), map[string]int{"sent": 10})
	want(t, w.Send(t.Context(), []Message{msg("phone-0001", 1)}), map[string]int{"sent": 1})
	now = now.Add(3 * time.Minute)
	want(t, w.Send(t.Context(), same(2, CollapseJobs)), map[string]int{"sent": 1, "retry rate_limited": 1})
	// What the carrier didn't take doesn't count.
	now = now.Add(3 * time.Minute)
	for range 3 {
		if err := w.fcm.Fail(emulator.Fault{Status: 500}); err != nil {
			t.Fatal(err)
		}
		want(t, w.Send(t.Context(), same(1, CollapseJobs)), map[string]int{"retry unavailable": 1})
	}
	want(t, w.Send(t.Context(), same(1, CollapseJobs)), map[string]int{"sent": 1})
}

// No window of a minute or an hour ever holds more than the carrier allows,
// however the messages come.
func TestWindowsAreNeverOverrun(t *testing.T) {
	r := mathrand.New(mathrand.NewPCG(7, 7))
	for _, c := range []struct {
		b      bucket
		n      int
		window time.Duration
	}{
		{inWindow(240, time.Minute, 120), 240, time.Minute},
		{inWindow(5000, time.Hour, 2500), 5000, time.Hour},
		{inWindow(600_000, time.Minute, 10_000), 600_000, time.Minute},
		{inWindow(7, time.Minute, 3), 7, time.Minute},
		{inWindow(1, time.Minute, 0), 2, time.Minute},
	} {
		var full int64
		var taken []int64
		now := noon.UnixNano()
		first := 0
		most := 0
		for range 100_000 {
			if c.b.wait(full, now) == 0 {
				c.b.take(&full, now)
				taken = append(taken, now)
				for taken[first] <= now-int64(c.window) {
					first++
				}
				most = max(most, len(taken)-first)
			}
			if r.IntN(3) == 0 {
				now += int64(r.ExpFloat64() * float64(c.window) / float64(c.n))
			}
			if r.IntN(20_000) == 0 {
				now += int64(c.window)
			}
		}
		if most > c.n {
			t.Errorf("%d in %v, allowed %d", most, c.window, c.n)
		}
		if most < min(c.n, 30_000)/4 {
			t.Errorf("only %d of %d get through", most, c.n)
		}
	}
}

func TestLimiterForgetsQuietDevices(t *testing.T) {
	l := newLimiter(Limits{})
	now := noon
	for i := range 100_000 {
		l.take(fmt.Sprint("phone-", i), true, now)
		now = now.Add(100 * time.Millisecond)
	}
	if n := len(l.devices); n > 3*leastSweep {
		t.Errorf("%d devices are remembered", n)
	}
}

var measure = flag.Bool("measure", false, "measure throughput against the emulator at 50 ms a call")

// With -measure it prints messages/s at more concurrency levels; always it
// holds that calls run at once, and no more of them than was said.
func TestThroughput(t *testing.T) {
	levels, n := []int{1, 4}, 1200
	if *measure {
		levels, n = []int{1, 2, 4, 8, 16}, 12_000
	}
	for _, parallel := range levels {
		w := newWorld(t, Config{Limits: wide, Parallel: parallel}, emulator.Options{Latency: 50 * time.Millisecond})
		var ms []Message
		for i := range n {
			ms = append(ms, msg(fmt.Sprintf("phone-%05d", i%2000), i))
		}
		start := time.Now()
		out := w.Send(t.Context(), ms)
		took := time.Since(start)
		want(t, out, map[string]int{"sent": n})
		peak := w.fcm.Stats().Peak
		t.Logf("%2d calls at once: %6.0f messages/s, %d requests in flight at most", parallel, float64(n)/took.Seconds(), peak)
		// A machine that is busy with something else makes rates meaningless;
		// how many are under way at once is ours.
		if peak > 50*parallel || parallel > 1 && peak <= 50 {
			t.Errorf("%d requests in flight with %d calls at once", peak, parallel)
		}
		w.Close()
	}
}

func FuzzCheck(f *testing.F) {
	f.Add("phone-0000", "work", "key", "jobs", int64(time.Hour))
	f.Add("a b", "Ä", "", "x", int64(-1))
	s := newSender(Config{Title: "Satchel", Now: time.Now, Parallel: 1, Random: func() float64 { return 0 }}, nil)
	f.Fuzz(func(t *testing.T, token, category, key, collapse string, ttl int64) {
		m := Message{Token: token, Category: category, Key: key, CollapseKey: collapse, TTL: time.Duration(ttl), Visible: ttl%2 == 0, High: true}
		if check(&m) != "" {
			return
		}
		p := s.payload(&m, noon)
		p.Token = ""
		b, err := json.Marshal(p)
		if err != nil || len(b) > maxPayload {
			t.Fatalf("%d bytes, %v", len(b), err)
		}
		if _, err := (&picky{}).SendEach(context.Background(), []*messaging.Message{p}); err != nil {
			t.Fatal(errors.Join(errors.New("the SDK refuses"), err))
		}
	})
}
