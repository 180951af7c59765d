// Package mail sends e-mail over SMTP and reads the reports of what bounced.
//
// It sends what it is given: who may know what was decided before, and the
// words come from the package template beneath. One message goes to one
// address, so that nobody learns of another receiver. Only this package knows
// the SMTP library; the outbox calls it through Send with plain values.
package mail

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	netmail "net/mail"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	gomail "github.com/wneessen/go-mail"
	"golang.org/x/net/idna"

	"satchel/server/push"
)

// Reasons of outcomes that are not Sent.
const (
	// Rejected before sending: the message's own field is at fault.
	ReasonAddress     = "bad_address"
	ReasonSubject     = "bad_subject"
	ReasonBody        = "bad_body"
	ReasonKey         = "bad_key"
	ReasonUnsubscribe = "bad_unsubscribe"
	ReasonReturn      = "bad_return"
	// Dead: the server says that the address doesn't exist or takes no mail, and
	// nothing else should be sent to it either.
	ReasonAddressRefused = "address_refused"
	// Rejected by the server, softly: the mailbox takes nothing for now.
	ReasonMailboxRefused = "mailbox_refused"
	// Rejected by the server for this message's sake; the address may be good.
	ReasonMessageRefused = "message_refused"
	// Retry.
	ReasonDeferred      = "deferred"      // 4xx
	ReasonUnreachable   = "unreachable"   // no connection, or it broke: it may or may not have been taken
	ReasonUnconfirmed   = "unconfirmed"   // the address was refused, which is to be said again before it is believed
	ReasonRelayRefuses  = "relay_refuses" // for reasons of policy, or whoever it is for: an operator is needed
	ReasonConfiguration = "configuration" // TLS, sign-in or sender refused: an operator is needed
	ReasonCancelled     = "cancelled"     // the caller's context ended
)

// Message is one mail to one person.
type Message struct {
	// To is one address, with or without a name ("Ann <ann@example.com>"). The
	// domain may have letters beyond ASCII, the part before the @ may not.
	To string
	// Subject is one line, 1 to 250 characters.
	Subject string
	// Text is the plain text, required; HTML the same as HTML, optional.
	// Together at most 1 MiB.
	Text, HTML string
	// Key identifies this mail: the same at every attempt, 1 to 200 bytes. Its
	// digest is the Message-ID, by which receivers tell a repeated mail.
	Key string
	// Unsubscribe is an https address that takes the person off this kind of
	// mail with one POST (RFC 8058); empty for mail one can't do without.
	Unsubscribe string
	// Return is the address that gets delivery reports of this mail (the
	// envelope's sender); empty for Config.Bounces.
	Return string
	// Attempt counts the earlier failed attempts; it sets the back-off.
	Attempt int
}

// Security is how the connection to the mail server is protected.
type Security string

// The kinds of security.
const (
	// STARTTLS is the default: a server that doesn't offer it gets nothing.
	STARTTLS Security = "starttls"
	// TLS from the first byte (port 465).
	TLS Security = "tls"
	// Plain sends readable mail over the network: for a relay on the same machine.
	Plain Security = "none"
)

// Auth is how to sign in to the mail server.
type Auth string

// The kinds of sign-in.
const (
	AuthPlain       Auth = "plain" // the default
	AuthLogin       Auth = "login"
	AuthSCRAMSHA256 Auth = "scram-sha-256"
	AuthXOAuth2     Auth = "xoauth2" // Password is the access token
)

// Config says where and how to send.
type Config struct {
	// Host and Port of the mail server; port 0 means 587, with TLS 465, with
	// Plain 25.
	Host     string
	Port     int
	Security Security
	// Username and Password; no sign-in if the name is empty. They are refused
	// with Plain.
	Username, Password string
	Auth               Auth
	// From is the sender, with or without a name. Required. Its domain is that
	// of Message-IDs.
	From string
	// ReplyTo is where answers go, if not to From.
	ReplyTo string
	// Bounces is the address that gets delivery reports (the envelope's
	// sender), if not From.
	Bounces string
	// Hello is the name we greet with; the machine's own if empty.
	Hello string
	// TLS holds certificates to trust; nil for the system's. The server's name
	// and at least TLS 1.2 are always required.
	TLS *tls.Config
	// Parallel is how many connections are open at most; 2 if zero.
	Parallel int
	// Timeout bounds connecting, and then each message; 30 seconds if zero.
	Timeout time.Duration
	// Idle is how long an unused connection is kept; 30 seconds if zero.
	Idle time.Duration
	// Confirm is how long the first refusal of an address waits for the next, by
	// which it is believed; 5 minutes if zero.
	Confirm time.Duration
	// Random gives numbers in [0,1) for jitter; it need not be safe for
	// concurrent use. Required.
	Random func() float64
	// Now is the clock; time.Now if nil.
	Now func() time.Time
	// Log gets one line per Send that met a fault an operator has to mend;
	// slog.Default if nil.
	Log *slog.Logger
}

// Bounds of a message and of a connection's use.
const (
	maxSubject       = 250
	maxBody          = 1 << 20
	maxKey           = 200
	maxAddress       = 254
	mailsPerExchange = 100 // servers close connections that never end
)

// Sender sends mail. It is safe for use by several goroutines, which share its
// connections.
type Sender struct {
	cfg          Config
	tls          *tls.Config
	from         *netmail.Address
	replyTo      *netmail.Address
	bounces      *netmail.Address
	short        *push.Backoff // connection
	deferred     *push.Backoff // 4xx: greylisting wants minutes
	operator     *push.Backoff
	confirm      *push.Backoff // what is said again
	relay        relay
	slots        chan struct{}
	mu           sync.Mutex
	idle         []*exchange
	closed       bool
	messageIDEnd string
}

// New returns a sender. It connects to nobody: a wrong server shows at the
// first Send, as Retry.
func New(cfg Config) (*Sender, error) {
	if cfg.Random == nil {
		return nil, errors.New("mail: no source of randomness")
	}
	if cfg.Host == "" || strings.ContainsFunc(cfg.Host, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) }) {
		return nil, errors.New("mail: no mail server")
	}
	if cfg.Security == "" {
		cfg.Security = STARTTLS
	}
	port, ok := map[Security]int{STARTTLS: 587, TLS: 465, Plain: 25}[cfg.Security]
	if !ok {
		return nil, fmt.Errorf("mail: security %q: starttls, tls or none", cfg.Security)
	}
	if cfg.Security == Plain && cfg.Username != "" {
		return nil, errors.New("mail: a password doesn't go over a connection that anybody can read")
	}
	if cfg.Port == 0 {
		cfg.Port = port
	}
	if cfg.Port < 0 || cfg.Port > 65535 {
		return nil, fmt.Errorf("mail: port %d", cfg.Port)
	}
	if cfg.Auth == "" {
		cfg.Auth = AuthPlain
	}
	if _, ok := authTypes[cfg.Auth]; !ok {
		return nil, fmt.Errorf("mail: sign-in %q: plain, login, scram-sha-256 or xoauth2", cfg.Auth)
	}
	if cfg.Parallel <= 0 {
		cfg.Parallel = 2
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = 30 * time.Second
	}
	if cfg.Idle <= 0 {
		cfg.Idle = 30 * time.Second
	}
	if cfg.Confirm <= 0 {
		cfg.Confirm = confirmAfter
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	s := &Sender{
		cfg: cfg, slots: make(chan struct{}, cfg.Parallel),
		short:    push.NewBackoff(30*time.Second, time.Hour, cfg.Random),
		deferred: push.NewBackoff(5*time.Minute, 4*time.Hour, cfg.Random),
		operator: push.NewBackoff(10*time.Minute, 2*time.Hour, cfg.Random),
		confirm:  push.NewBackoff(cfg.Confirm, 12*cfg.Confirm, cfg.Random),
	}
	if s.tls = cfg.TLS.Clone(); s.tls == nil {
		s.tls = &tls.Config{}
	}
	s.tls.ServerName = cfg.Host
	s.tls.MinVersion = max(s.tls.MinVersion, tls.VersionTLS12)
	if s.tls.InsecureSkipVerify {
		return nil, errors.New("mail: the server's certificate must be checked")
	}
	var err error
	if s.from, err = parseAddress(cfg.From); err != nil {
		return nil, fmt.Errorf("mail: the sender: %w", err)
	}
	_, domain, _ := strings.Cut(s.from.Address, "@")
	s.messageIDEnd = "@" + domain
	for _, a := range []struct {
		name, value string
		to          **netmail.Address
	}{{"reply address", cfg.ReplyTo, &s.replyTo}, {"address for bounces", cfg.Bounces, &s.bounces}} {
		if a.value == "" {
			continue
		}
		if *a.to, err = parseAddress(a.value); err != nil {
			return nil, fmt.Errorf("mail: the %s: %w", a.name, err)
		}
	}
	return s, nil
}

// MessageID returns the Message-ID, without angle brackets, of the mail with a
// key. A bounce that names another one was not caused by us.
func (s *Sender) MessageID(key string) string {
	sum := sha256.Sum256([]byte("satchel mail\x00" + key))
	return hex.EncodeToString(sum[:16]) + s.messageIDEnd
}

var errAddress = errors.New("no valid e-mail address")

// parseAddress takes one address with an optional name. The domain comes back
// in ASCII. What could mean something to SMTP or to a header is refused, not
// escaped.
func parseAddress(v string) (*netmail.Address, error) {
	if v == "" || len(v) > 2*maxAddress || !plainLine(v) {
		return nil, errAddress
	}
	a, err := netmail.ParseAddress(v)
	if err != nil || !plainLine(a.Name) {
		return nil, errAddress
	}
	at := strings.LastIndexByte(a.Address, '@')
	if at < 0 {
		return nil, errAddress
	}
	local := a.Address[:at]
	domain, err := idna.Lookup.ToASCII(a.Address[at+1:])
	if err != nil || domain == "" || !dotAtom(local) {
		return nil, errAddress
	}
	a.Address = local + "@" + domain
	if len(a.Address) > maxAddress {
		return nil, errAddress
	}
	return a, nil
}

// dotAtom tells whether an address's first part needs no quoting (RFC 5322).
func dotAtom(s string) bool {
	if s == "" || len(s) > 64 || s[0] == '.' || s[len(s)-1] == '.' || strings.Contains(s, "..") {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case strings.IndexByte("!#$%&'*+-/=?^_`{|}~.", c) >= 0:
		default:
			return false
		}
	}
	return true
}

// plainLine tells whether a text is valid UTF-8 without line ends and other
// control characters, including Unicode's line and paragraph separators.
func plainLine(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return unicode.IsControl(r) || r == '\u2028' || r == '\u2029'
	})
}

// compose checks a message and makes the mail of it, or returns the reason to
// reject it.
func (s *Sender) compose(m *Message) (*gomail.Msg, string) {
	to, err := parseAddress(m.To)
	switch {
	case err != nil:
		return nil, ReasonAddress
	case strings.TrimSpace(m.Subject) == "" || utf8.RuneCountInString(m.Subject) > maxSubject || !plainLine(m.Subject):
		return nil, ReasonSubject
	case m.Text == "" || len(m.Text)+len(m.HTML) > maxBody || !utf8.ValidString(m.Text+m.HTML) || strings.ContainsRune(m.Text+m.HTML, 0):
		return nil, ReasonBody
	case m.Key == "" || len(m.Key) > maxKey:
		return nil, ReasonKey
	}
	out := gomail.NewMsg(gomail.WithNoDefaultUserAgent(), gomail.WithEncoding(gomail.EncodingQP))
	out.FromMailAddress(s.from)
	switch {
	case m.Return != "":
		back, err := parseAddress(m.Return)
		if err != nil || back.Name != "" {
			return nil, ReasonReturn
		}
		out.EnvelopeFromMailAddress(back)
	case s.bounces != nil:
		out.EnvelopeFromMailAddress(s.bounces)
	}
	if s.replyTo != nil {
		out.SetAddrHeaderFromMailAddress(gomail.HeaderReplyTo, s.replyTo)
	}
	out.SetAddrHeaderFromMailAddress(gomail.HeaderTo, to)
	out.Subject(m.Subject)
	out.SetMessageIDWithValue(s.MessageID(m.Key))
	out.SetDateWithValue(s.cfg.Now())
	// No holiday notes back, by the standard (RFC 3834) and by Exchange's own.
	out.SetGenHeader("Auto-Submitted", "auto-generated")
	out.SetGenHeader(gomail.HeaderXAutoResponseSuppress, "All")
	if m.Unsubscribe != "" {
		u, err := url.Parse(m.Unsubscribe)
		if err != nil || u.Scheme != "https" || u.Host == "" || len(m.Unsubscribe) > 900 || strings.ContainsAny(m.Unsubscribe, "<> ,") || !plainLine(m.Unsubscribe) {
			return nil, ReasonUnsubscribe
		}
		if err := out.SetListUnsubscribeOneClick(m.Unsubscribe); err != nil {
			return nil, ReasonUnsubscribe
		}
	}
	out.SetBodyString(gomail.TypeTextPlain, m.Text)
	if m.HTML != "" {
		out.AddAlternativeString(gomail.TypeTextHTML, m.HTML)
	}
	return out, ""
}

// Send makes one attempt at each message and returns as many outcomes in the
// same order. It returns early with Retry for what is left when ctx ends or
// the server can't be used. It sends at least once: an outcome Retry may belong
// to a mail that arrived.
func (s *Sender) Send(ctx context.Context, ms []Message) []push.Outcome {
	out := make([]push.Outcome, len(ms))
	var next atomic.Int64
	// down is why the server can't be used; the rest isn't tried one by one.
	var down atomic.Pointer[fault]
	var wg sync.WaitGroup
	for range min(cap(s.slots), len(ms)) {
		wg.Go(func() {
			for {
				i := int(next.Add(1) - 1)
				if i >= len(ms) {
					return
				}
				mail, reason := s.compose(&ms[i])
				switch f := down.Load(); {
				case reason != "":
					out[i] = push.Outcome{Kind: push.Rejected, Reason: reason}
				case f != nil:
					out[i] = s.outcome(f, ms[i].Attempt)
				default:
					f := s.weigh(ctx, ms[i].To, ms[i].Attempt, s.deliver(ctx, mail))
					if f != nil && f.everybody {
						down.CompareAndSwap(nil, f)
					}
					out[i] = s.outcome(f, ms[i].Attempt)
				}
			}
		})
	}
	wg.Wait()
	if f := down.Load(); f != nil && f.reason == ReasonConfiguration {
		s.cfg.Log.WarnContext(ctx, "mail refused: check the mail server's settings", "server", s.cfg.Host, "fault", f.stage, "code", f.code)
	}
	return out
}

// outcome turns a fault, nil for none, into what the outbox gets.
func (s *Sender) outcome(f *fault, attempt int) push.Outcome {
	if f == nil {
		return push.Outcome{Kind: push.Sent}
	}
	o := push.Outcome{Kind: push.Retry, Reason: f.reason}
	switch f.reason {
	case ReasonAddressRefused:
		o.Kind = push.Dead
	case ReasonMailboxRefused:
		o.Kind, o.Soft = push.Rejected, true
	case ReasonMessageRefused:
		o.Kind = push.Rejected
	case ReasonDeferred:
		o.After = s.deferred.After(attempt, 0)
	case ReasonConfiguration:
		o.After = s.operator.After(attempt, 0)
	case ReasonRelayRefuses:
		o.After, o.Carrier = s.operator.After(attempt, 0), true
	case ReasonUnconfirmed:
		o.After = s.confirm.After(attempt, 0)
	case ReasonUnreachable:
		o.After = s.short.After(attempt, 0)
	}
	return o
}

// Close closes the connections that are idle, and those in use once their
// message is through. Send works no more.
func (s *Sender) Close() {
	s.mu.Lock()
	idle := s.idle
	s.idle, s.closed = nil, true
	s.mu.Unlock()
	for _, x := range idle {
		x.end()
	}
}

// address is host:port.
func (s *Sender) address() string { return net.JoinHostPort(s.cfg.Host, fmt.Sprint(s.cfg.Port)) }
