// Package fcm sends push messages to phones and browsers through Firebase
// Cloud Messaging, with Google's own SDK.
//
// Every message is an opaque wake-up: the device then pulls what its person
// may see. No business data passes through here, so there is nothing to
// leak to the carrier, to a lock screen or to the next user of a phone. Only
// this package knows Firebase; the outbox calls it through Send with plain values.
package fcm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	firebase "firebase.google.com/go/v4"
	"firebase.google.com/go/v4/errorutils"
	"firebase.google.com/go/v4/messaging"
	"golang.org/x/oauth2"
	"google.golang.org/api/option"
	"google.golang.org/api/transport"
	htransport "google.golang.org/api/transport/http"

	"satchel/server/push"
)

// Reasons of outcomes that are not Sent.
const (
	// Rejected before sending: the message's own field is at fault.
	ReasonToken       = "bad_token"
	ReasonCategory    = "bad_category"
	ReasonKey         = "bad_key"
	ReasonCollapseKey = "bad_collapse_key"
	ReasonTTL         = "bad_ttl"
	// Rejected by the carrier.
	ReasonInvalid        = "invalid_argument"
	ReasonSenderMismatch = "sender_id_mismatch"
	// Dead: the token is no longer registered.
	ReasonUnregistered = "unregistered"
	// Retry.
	ReasonRateLimited   = "rate_limited"   // by our own limits, nothing was sent
	ReasonQuota         = "quota_exceeded" // by the carrier
	ReasonUnavailable   = "unavailable"    // 5xx
	ReasonUnreachable   = "unreachable"    // no answer: it may or may not have been taken
	ReasonConfiguration = "configuration"  // credentials or project refused: an operator is needed
	ReasonCancelled     = "cancelled"      // the caller's context ended
)

// Config says where and how to send.
type Config struct {
	// Project is the Firebase project's id. Empty: taken from the credentials.
	Project string
	// CredentialsFile is a service account's JSON file. Empty: Google's
	// application default credentials.
	CredentialsFile string
	// Endpoint is the base address of a stand-in for Google
	// ("http://127.0.0.1:9099"); no authentication is used there. Empty: Google.
	Endpoint string
	// Title stands above the line of a visible message: the product's name, at
	// most 40 characters; "Satchel" if empty.
	Title string
	// Parallel is how many SDK calls run at once, each with up to 50 requests
	// in flight; 4 if zero.
	Parallel int
	// CallTimeout bounds one request; 10 seconds if zero.
	CallTimeout time.Duration
	// Limits are the carrier's limits; zero means Google's figures.
	Limits Limits
	// Random gives numbers in [0,1) for jitter; it need not be safe for
	// concurrent use. Required.
	Random func() float64
	// Now is the clock; time.Now if nil.
	Now func() time.Time
	// Log gets one line per Send that met a fault an operator has to mend;
	// slog.Default if nil.
	Log *slog.Logger

	// base carries the calls; tests put their own beneath the authentication.
	base http.RoundTripper
}

// batchLimit is the SDK's: at most so many messages a call.
const batchLimit = 500

// sdkWorkers is how many requests one call of the SDK has in flight.
const sdkWorkers = 50

const messagingScope = "https://www.googleapis.com/auth/firebase.messaging"

// each is what is used of the SDK's client.
type each interface {
	SendEach(context.Context, []*messaging.Message) (*messaging.BatchResponse, error)
}

// Sender sends messages. It is safe for use by several goroutines, which share
// its limits and its bounded concurrency.
type Sender struct {
	sdk      each
	title    string
	now      func() time.Time
	log      *slog.Logger
	limits   *limiter
	calls    chan struct{}
	idle     func()
	short    *push.Backoff // 5xx, network
	quota    *push.Backoff // 429 without Retry-After
	operator *push.Backoff // credentials, project
	pace     *push.Backoff // our own limits
}

// New returns a sender. It reads credentials but calls nobody: wrong ones show
// at the first Send, as Retry with ReasonConfiguration. ctx lives as long as
// the sender: tokens are renewed under it.
func New(ctx context.Context, cfg Config) (*Sender, error) {
	if cfg.Random == nil {
		return nil, errors.New("fcm: no source of randomness")
	}
	if cfg.Title == "" {
		cfg.Title = "Satchel"
	}
	if utf8.RuneCountInString(cfg.Title) > 40 || !utf8.ValidString(cfg.Title) || strings.ContainsFunc(cfg.Title, unicode.IsControl) {
		return nil, errors.New("fcm: the title must be plain text of at most 40 characters")
	}
	if cfg.Parallel <= 0 {
		cfg.Parallel = 4
	}
	if cfg.CallTimeout <= 0 {
		cfg.CallTimeout = 10 * time.Second
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	sdk, idle, err := connect(ctx, cfg)
	if err != nil {
		return nil, err
	}
	s := newSender(cfg, sdk)
	s.idle = idle
	return s, nil
}

func newSender(cfg Config, sdk each) *Sender {
	return &Sender{
		sdk: sdk, title: cfg.Title, now: cfg.Now, log: cfg.Log,
		limits: newLimiter(cfg.Limits), calls: make(chan struct{}, cfg.Parallel), idle: func() {},
		short:    push.NewBackoff(10*time.Second, time.Hour, cfg.Random),
		quota:    push.NewBackoff(2*time.Minute, time.Hour, cfg.Random),
		operator: push.NewBackoff(10*time.Minute, 2*time.Hour, cfg.Random),
		pace:     push.NewBackoff(2*time.Second, 2*time.Second, cfg.Random),
	}
}

// connect makes the SDK's client over a transport of our own. Given an HTTP
// client the SDK adds no authentication to it, so that is done here, by the
// same library.
func connect(ctx context.Context, cfg Config) (each, func(), error) {
	base := cfg.base
	idle := func() {}
	if base == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.MaxIdleConns = 0
		t.MaxIdleConnsPerHost = cfg.Parallel * sdkWorkers
		base, idle = t, t.CloseIdleConnections
	}
	var opts []option.ClientOption
	project := cfg.Project
	if cfg.Endpoint != "" {
		u, err := url.Parse(cfg.Endpoint)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			return nil, nil, fmt.Errorf("fcm: the endpoint %q is no http or https address", cfg.Endpoint)
		}
		if cfg.CredentialsFile != "" {
			return nil, nil, errors.New("fcm: an endpoint of one's own takes no credentials")
		}
		opts = append(opts, option.WithEndpoint(strings.TrimSuffix(u.String(), "/")+"/v1"), option.WithoutAuthentication())
	} else {
		// Fetching an access token is outside of the call's deadline.
		ctx := context.WithValue(ctx, oauth2.HTTPClient, &http.Client{Timeout: cfg.CallTimeout})
		auth := []option.ClientOption{option.WithScopes(messagingScope)}
		if cfg.CredentialsFile != "" {
			auth = append(auth, option.WithCredentialsFile(cfg.CredentialsFile))
		}
		creds, err := transport.Creds(ctx, auth...)
		if err != nil {
			return nil, nil, fmt.Errorf("fcm: credentials: %w", err)
		}
		if project == "" {
			project = creds.ProjectID
		}
		if base, err = htransport.NewTransport(ctx, base, append(auth, option.WithTelemetryDisabled())...); err != nil {
			return nil, nil, fmt.Errorf("fcm: credentials: %w", err)
		}
	}
	if project == "" {
		return nil, nil, errors.New("fcm: no project, and the credentials name none")
	}
	if !only(project, "-.:") {
		return nil, nil, fmt.Errorf("fcm: %q is no project id", project)
	}
	// A redirect would take tokens, ours and the devices', somewhere else.
	client := &http.Client{
		Transport:     carry{next: base, timeout: cfg.CallTimeout},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	app, err := firebase.NewApp(ctx, &firebase.Config{ProjectID: project}, append(opts, option.WithHTTPClient(client))...)
	if err != nil {
		return nil, nil, fmt.Errorf("fcm: %w", err)
	}
	sdk, err := app.Messaging(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("fcm: %w", err)
	}
	return sdk, idle, nil
}

// Close lets go of idle connections. Sends that run are not touched.
func (s *Sender) Close() { s.idle() }

// Send makes one attempt at each message and returns as many outcomes in the
// same order. It returns early with Retry for what is left when ctx ends. It
// sends at least once: an outcome Retry may belong to a message that arrived.
func (s *Sender) Send(ctx context.Context, ms []Message) []push.Outcome {
	out := make([]push.Outcome, len(ms))
	now := s.now()
	ready := make([]int, 0, len(ms))
	for i := range ms {
		m := &ms[i]
		if reason := check(m); reason != "" {
			out[i] = push.Outcome{Kind: push.Rejected, Reason: reason}
			continue
		}
		if wait := s.limits.take(m.Token, m.CollapseKey != "", now); wait > 0 {
			// Not sooner than in a second or two: coming back for one token is no use.
			out[i] = push.Outcome{Kind: push.Retry, After: wait + s.pace.After(0, 0), Reason: ReasonRateLimited}
			continue
		}
		ready = append(ready, i)
	}
	var wg sync.WaitGroup
	for batch := range batches(ready, cap(s.calls)) {
		select {
		case s.calls <- struct{}{}:
		case <-ctx.Done():
			for _, i := range batch {
				out[i] = push.Outcome{Kind: push.Retry, Reason: ReasonCancelled}
			}
			continue
		}
		wg.Go(func() {
			defer func() { <-s.calls }()
			msgs := make([]*messaging.Message, len(batch))
			for j, i := range batch {
				msgs[j] = s.payload(&ms[i], now)
			}
			s.call(ctx, msgs, func(j int, err error) { out[batch[j]] = s.outcome(ctx, err, ms[batch[j]].Attempt) })
		})
	}
	wg.Wait()
	broken := 0
	for _, i := range ready {
		if out[i].Kind == push.Retry {
			s.limits.giveBack(ms[i].Token, ms[i].CollapseKey != "")
		}
		if out[i].Reason == ReasonConfiguration {
			broken++
		}
	}
	if broken > 0 {
		s.log.WarnContext(ctx, "push refused: check the project and its credentials", "messages", broken)
	}
	return out
}

// batches cuts indexes into calls: as many as may run at once, but none with
// fewer messages than a call has workers, nor more than the SDK takes.
func batches(ready []int, parallel int) func(func([]int) bool) {
	size := min(max((len(ready)+parallel-1)/parallel, sdkWorkers), batchLimit)
	return func(yield func([]int) bool) {
		for rest := ready; len(rest) > 0; {
			n := min(size, len(rest))
			if !yield(rest[:n]) {
				return
			}
			rest = rest[n:]
		}
	}
}

// call sends one batch and reports each message's error. The SDK refuses a
// call whole, before sending any of it, when one message displeases it: then
// halves are tried, until that message stands alone.
func (s *Sender) call(ctx context.Context, msgs []*messaging.Message, report func(int, error)) {
	resp, err := s.sdk.SendEach(ctx, msgs)
	switch {
	case err == nil:
		for j, r := range resp.Responses {
			report(j, r.Error)
		}
	case len(msgs) == 1:
		report(0, refusedBySDK{err})
	default:
		half := len(msgs) / 2
		s.call(ctx, msgs[:half], report)
		s.call(ctx, msgs[half:], func(j int, err error) { report(half+j, err) })
	}
}

// refusedBySDK marks a message that the SDK would not send.
type refusedBySDK struct{ error }

// outcome judges one message's error.
func (s *Sender) outcome(ctx context.Context, err error, attempt int) push.Outcome {
	if err == nil {
		return push.Outcome{Kind: push.Sent}
	}
	retry := func(b *push.Backoff, told time.Duration, reason string) push.Outcome {
		return push.Outcome{Kind: push.Retry, After: b.After(attempt, told), Reason: reason}
	}
	var told time.Duration
	status := 0
	if resp := errorutils.HTTPResponse(err); resp != nil {
		status = resp.StatusCode
		told = push.RetryAfter(resp.Header, s.now())
		if resp.Header.Get(unreachable) != "" {
			return retry(s.short, 0, ReasonUnreachable)
		}
	}
	switch {
	case errors.As(err, new(refusedBySDK)):
		return push.Outcome{Kind: push.Rejected, Reason: ReasonInvalid}
	case messaging.IsUnregistered(err):
		// The only answer on which a token is given up: a bare 404 may be a wrong project.
		return push.Outcome{Kind: push.Dead, Reason: ReasonUnregistered}
	case messaging.IsSenderIDMismatch(err):
		return push.Outcome{Kind: push.Rejected, Reason: ReasonSenderMismatch}
	case messaging.IsThirdPartyAuthError(err), status == http.StatusUnauthorized, status == http.StatusForbidden, status == http.StatusNotFound:
		return retry(s.operator, told, ReasonConfiguration)
	case messaging.IsInvalidArgument(err), errorutils.IsInvalidArgument(err):
		return push.Outcome{Kind: push.Rejected, Reason: ReasonInvalid}
	case messaging.IsQuotaExceeded(err), status == http.StatusTooManyRequests:
		return retry(s.quota, told, ReasonQuota)
	case ctx.Err() != nil && status == 0:
		return push.Outcome{Kind: push.Retry, Reason: ReasonCancelled}
	default:
		return retry(s.short, told, ReasonUnavailable)
	}
}
