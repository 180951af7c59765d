package mail

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/textproto"
	"time"

	gomail "github.com/wneessen/go-mail"
	"github.com/wneessen/go-mail/smtp"
)

var authTypes = map[Auth]gomail.SMTPAuthType{
	AuthPlain: gomail.SMTPAuthPlain, AuthLogin: gomail.SMTPAuthLogin,
	AuthSCRAMSHA256: gomail.SMTPAuthSCRAMSHA256, AuthXOAuth2: gomail.SMTPAuthXOAUTH2,
}

// exchange is one connection with a mail server, signed in and ready.
type exchange struct {
	lib  *gomail.Client
	smtp *smtp.Client
	raw  net.Conn
	sent int
	last time.Time
}

// fault is why a mail was not taken.
type fault struct {
	reason string
	// everybody: it would meet the next mail just the same.
	everybody bool
	// stage and code are for the log: where in the exchange, and the server's
	// reply code (0 for none). The server's words are not kept.
	stage string
	code  int
	// status is the enhanced status code that came with a refused mail, "" for none.
	status string
}

// deliver sends one mail over a connection that is idle or a new one.
func (s *Sender) deliver(ctx context.Context, mail *gomail.Msg) *fault {
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
	}
	if ctx.Err() != nil {
		return &fault{reason: ReasonCancelled, everybody: true}
	}
	for {
		x := s.reuse()
		fresh := x == nil
		if fresh {
			var f *fault
			if x, f = s.dial(ctx); f != nil {
				return f
			}
		}
		// Closing is the one way out of a read that waits for the server.
		stop := context.AfterFunc(ctx, func() { _ = x.raw.Close() })
		err := x.lib.SendWithSMTPClient(x.smtp, mail)
		alive := stop()
		x.sent++
		// The library also reports an error when the server took the mail and
		// broke off afterwards; sending it again would double it.
		if mail.IsDelivered() {
			s.keep(x, alive && err == nil)
			return nil
		}
		if ctx.Err() != nil {
			s.keep(x, false)
			return &fault{reason: ReasonCancelled, everybody: true}
		}
		f, gone := judge(err)
		if !gone && f.stage == "content" {
			// The library begins anew by itself only after the earlier stages.
			gone = x.lib.ResetWithSMTPClient(x.smtp) != nil
		}
		s.keep(x, alive && !gone)
		if gone && !fresh && f.stage == "check" {
			// It was closed while it lay idle; nothing of this mail was said.
			continue
		}
		return f
	}
}

// judge reads the library's error: the fault, and whether the connection is of
// no more use.
func judge(err error) (*fault, bool) {
	var e *gomail.SendError
	if !errors.As(err, &e) {
		return &fault{reason: ReasonUnreachable, stage: "send"}, true
	}
	code := e.ErrorCode()
	f := &fault{code: code, reason: ReasonDeferred, status: e.EnhancedStatusCode()}
	switch e.Reason {
	case gomail.ErrConnCheck:
		return &fault{reason: ReasonUnreachable, stage: "check"}, true
	case gomail.ErrSMTPMailFrom:
		f.stage = "sender"
	case gomail.ErrSMTPRcptTo:
		f.stage = "receiver"
	default:
		f.stage = "content"
	}
	switch {
	case code == 0:
		f.reason = ReasonUnreachable
		return f, true
	case code == 421:
		// The server is closing down.
		f.everybody = true
		return f, true
	case code < 500:
	case f.stage == "sender" && code != 552:
		// It is us that it doesn't want: no one's address is to blame.
		f.reason, f.everybody = ReasonConfiguration, true
	case f.stage == "receiver" && ofPolicy(f.status):
		// It is the relay that won't have it; the address may be as good as any.
		f.reason = ReasonRelayRefuses
	case f.stage == "receiver" && ofAddress(e.EnhancedStatusCode()):
		f.reason = ReasonAddressRefused
	case f.stage == "receiver" && ofMailbox(e.EnhancedStatusCode()):
		f.reason = ReasonMailboxRefused
	default:
		f.reason = ReasonMessageRefused
	}
	return f, false
}

// dial connects, secures and signs in.
func (s *Sender) dial(ctx context.Context) (*exchange, *fault) {
	x := &exchange{}
	stop := func() bool { return true }
	opts := []gomail.Option{
		gomail.WithPort(s.cfg.Port), gomail.WithTimeout(s.cfg.Timeout), gomail.WithTLSConfig(s.tls),
		// Addresses are ASCII here: no demand on servers further on.
		gomail.WithoutSMTPUTF8(),
		gomail.WithDialContextFunc(func(dialing context.Context, _, _ string) (net.Conn, error) {
			conn, err := s.connect(dialing)
			if err == nil {
				x.raw = conn
				// The greeting, STARTTLS and the sign-in read without a context.
				stop = context.AfterFunc(ctx, func() { _ = conn.Close() })
			}
			return conn, err
		}),
	}
	if s.cfg.Security == STARTTLS {
		opts = append(opts, gomail.WithTLSPolicy(gomail.TLSMandatory))
	} else {
		// With TLS from the first byte there is nothing to start.
		opts = append(opts, gomail.WithTLSPolicy(gomail.NoTLS))
	}
	if s.cfg.Hello != "" {
		opts = append(opts, gomail.WithHELO(s.cfg.Hello))
	}
	if s.cfg.Username != "" {
		opts = append(opts, gomail.WithSMTPAuth(authTypes[s.cfg.Auth]), gomail.WithUsername(s.cfg.Username), gomail.WithPassword(s.cfg.Password))
	}
	lib, err := gomail.NewClient(s.cfg.Host, opts...)
	if err != nil {
		return nil, &fault{reason: ReasonConfiguration, everybody: true, stage: "settings"}
	}
	x.lib = lib
	x.smtp, err = lib.DialToSMTPClientWithContext(ctx)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err == nil {
		return x, nil
	}
	if x.raw != nil {
		_ = x.raw.Close()
	}
	f := &fault{everybody: true, stage: "connect"}
	var reply *textproto.Error
	var network net.Error
	switch {
	case ctx.Err() != nil:
		f.reason = ReasonCancelled
	case errors.As(err, &reply):
		f.code, f.reason = reply.Code, ReasonConfiguration
		if reply.Code < 500 {
			f.reason = ReasonDeferred
		}
	case errors.As(err, new(*tls.CertificateVerificationError)):
		f.reason, f.stage = ReasonConfiguration, "certificate"
	case errors.As(err, &network), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		f.reason = ReasonUnreachable
	default:
		// STARTTLS or a way to sign in that the server doesn't offer.
		f.reason = ReasonConfiguration
	}
	return nil, f
}

func (s *Sender) connect(ctx context.Context) (net.Conn, error) {
	d := &net.Dialer{}
	if s.cfg.Security == TLS {
		return (&tls.Dialer{NetDialer: d, Config: s.tls}).DialContext(ctx, "tcp", s.address())
	}
	return d.DialContext(ctx, "tcp", s.address())
}

// reuse returns an idle connection, nil if there is none. Those unused for
// too long are closed.
func (s *Sender) reuse() *exchange {
	now := s.cfg.Now()
	var stale []*exchange
	s.mu.Lock()
	var x *exchange
	for len(s.idle) > 0 && x == nil {
		last := s.idle[len(s.idle)-1]
		s.idle = s.idle[:len(s.idle)-1]
		if now.Sub(last.last) > s.cfg.Idle {
			stale = append(stale, last)
		} else {
			x = last
		}
	}
	s.mu.Unlock()
	for _, old := range stale {
		old.end()
	}
	return x
}

// keep puts a connection back, or closes it when it is of no more use.
func (s *Sender) keep(x *exchange, good bool) {
	if !good {
		_ = x.raw.Close()
		return
	}
	x.last = s.cfg.Now()
	s.mu.Lock()
	if !s.closed && x.sent < mailsPerExchange {
		s.idle = append(s.idle, x)
		x = nil
	}
	s.mu.Unlock()
	if x != nil {
		x.end()
	}
}

// goodbye is how long a server has to answer our QUIT.
const goodbye = 2 * time.Second

// end says QUIT and closes.
func (x *exchange) end() {
	_ = x.raw.SetDeadline(time.Now().Add(goodbye))
	_ = x.smtp.Quit()
	_ = x.raw.Close()
}
