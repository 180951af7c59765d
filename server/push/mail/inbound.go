package mail

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emersion/go-smtp"
)

// Verdict is what a report says of the mail it is about.
type Verdict uint8

// The verdicts.
const (
	// Delayed: it is still being tried, or did arrive.
	Delayed Verdict = iota
	// SoftBounce: it was given up, another one may arrive.
	SoftBounce
	// HardBounce: nothing sent to this address will arrive.
	HardBounce
)

// verdictOf is what a report comes to. A mail goes to one address, which may
// pass it on to several: as long as it reaches one of them the address is good.
func verdictOf(all []Bounce) Verdict {
	v, reached := Delayed, false
	for _, b := range all {
		switch {
		case b.Permanent:
			v = HardBounce
		case b.Soft:
			v = max(v, SoftBounce)
		case b.Action != "failed":
			reached = true
		}
	}
	if reached {
		v = min(v, SoftBounce)
	}
	return v
}

// Returned takes what comes back.
type Returned interface {
	// Knows reports whether an address is one that a mail of ours bore as its
	// envelope's sender, and not so long ago that nothing can come back any more.
	// It is asked of addresses that anybody may have made up.
	Knows(address string) bool
	// Take is told what a report says that came to a known address. With an
	// error the report is to be sent again later.
	Take(ctx context.Context, address string, v Verdict) error
}

// InboundConfig says how reports are taken. Domain and To are required.
type InboundConfig struct {
	// Domain is that of the addresses, and the name we greet with.
	Domain string
	To     Returned
	// TLS has the certificate by which STARTTLS is offered; nil for none.
	TLS *tls.Config
	// Connections bounds those open at once, 16 if zero; PerMinute the mails
	// taken in a minute, 600 if zero.
	Connections, PerMinute int
	// Timeout bounds the wait for a command, or for a mail's content; a minute
	// if zero. A connection ends after ten times that.
	Timeout time.Duration
	Now     func() time.Time // time.Now if nil
	Log     *slog.Logger     // slog.Default if nil
}

const (
	// inboundReport bounds what is read of a mail: what a report says stands
	// before what it quotes. inboundMail bounds what is let come, and
	// inboundBytes a connection's bytes; all in bytes.
	inboundReport = 512 << 10
	inboundMail   = 8 << 20
	inboundBytes  = 64 << 20
	// inboundRefusals is how many refusals end a connection.
	inboundRefusals = 10
	// taking bounds how long a report may take to be noted.
	taking = 30 * time.Second
)

// Inbound is an SMTP server that takes reports of mails that could not be
// delivered, and nothing else: mail without a sender, to an address that a mail
// of ours bore. It sends nothing to anybody, so that no loop goes through it.
type Inbound struct {
	cfg  InboundConfig
	smtp *smtp.Server
	open chan struct{} // a place for each connection

	mu    sync.Mutex
	next  time.Time // when the next mail may come
	ended bool
}

// NewInbound makes a server; Serve runs it.
func NewInbound(cfg InboundConfig) (*Inbound, error) {
	if cfg.To == nil {
		return nil, errors.New("mail: nobody takes the reports")
	}
	if a, err := parseAddress("postmaster@" + cfg.Domain); err != nil || a.Address != "postmaster@"+cfg.Domain {
		return nil, fmt.Errorf("mail: %q is no domain", cfg.Domain)
	}
	cfg.Connections, cfg.PerMinute = cmp.Or(cfg.Connections, 16), cmp.Or(cfg.PerMinute, 600)
	cfg.Timeout, cfg.Log = cmp.Or(cfg.Timeout, time.Minute), cmp.Or(cfg.Log, slog.Default())
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	in := &Inbound{cfg: cfg, open: make(chan struct{}, cfg.Connections)}
	in.smtp = smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		return &visit{in: in, conn: c}, nil
	}))
	in.smtp.Domain, in.smtp.TLSConfig = cfg.Domain, cfg.TLS
	in.smtp.MaxRecipients, in.smtp.MaxMessageBytes = 1, inboundMail
	in.smtp.ReadTimeout, in.smtp.WriteTimeout = cfg.Timeout, cfg.Timeout
	in.smtp.ErrorLog = quiet{cfg.Log}
	return in, nil
}

// Serve takes connections until Close, which it returns nil for.
func (in *Inbound) Serve(ln net.Listener) error {
	err := in.smtp.Serve(&door{ln, in})
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.ended {
		return nil
	}
	return err
}

// Close ends the server and its connections. A report that was not answered is
// sent again.
func (in *Inbound) Close() error {
	in.mu.Lock()
	in.ended = true
	in.mu.Unlock()
	if err := in.smtp.Close(); err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, smtp.ErrServerClosed) {
		return fmt.Errorf("mail: %w", err)
	}
	return nil
}

// admit reports whether another mail may come now: as many at once as may come
// in a minute, and then one after the other.
func (in *Inbound) admit() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	now := in.cfg.Now()
	each := time.Minute / time.Duration(in.cfg.PerMinute)
	if in.next.Before(now) {
		in.next = now
	}
	if in.next.Sub(now) > time.Minute-each {
		return false
	}
	in.next = in.next.Add(each)
	return true
}

// door lets so many connections in; the others are told to come again.
type door struct {
	net.Listener
	in *Inbound
}

// Accept implements net.Listener.
func (d *door) Accept() (net.Conn, error) {
	for {
		c, err := d.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case d.in.open <- struct{}{}:
			v := &visitor{Conn: c, in: d.in}
			v.left.Store(inboundBytes)
			v.over = time.AfterFunc(10*d.in.cfg.Timeout, func() { _ = c.Close() })
			return v, nil
		default:
			// Not waited for: the writing of a few bytes to a new connection.
			_ = c.SetDeadline(time.Now().Add(time.Second))
			_, _ = io.WriteString(c, "421 4.3.2 Too busy. Try again later.\r\n")
			_ = c.Close()
		}
	}
}

// visitor is a connection with an end, by bytes and by time.
type visitor struct {
	net.Conn
	in   *Inbound
	left atomic.Int64
	over *time.Timer
	once sync.Once
}

var errTooMuch = errors.New("mail: the connection brings too much")

// Read implements net.Conn.
func (v *visitor) Read(b []byte) (int, error) {
	if v.left.Load() <= 0 {
		return 0, errTooMuch
	}
	n, err := v.Conn.Read(b)
	v.left.Add(-int64(n))
	return n, err
}

// Close implements net.Conn.
func (v *visitor) Close() error {
	v.once.Do(func() {
		v.over.Stop()
		<-v.in.open
	})
	return v.Conn.Close()
}

// visit is one conversation.
type visit struct {
	in      *Inbound
	conn    *smtp.Conn
	to      string
	refused int
}

var (
	notNull   = &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 7, 1}, Message: "Reports of undeliverable mail alone are taken here"}
	notHere   = &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "No such address"}
	noReport  = &smtp.SMTPError{Code: 554, EnhancedCode: smtp.EnhancedCode{5, 6, 0}, Message: "Not a delivery status notification"}
	tooMany   = &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 7, 0}, Message: "Too many at once. Try again later"}
	notNow    = &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "Not now. Try again later"}
	cameBroke = &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 4, 2}, Message: "The mail broke off"}
)

// refuse answers with a refusal; the last of many ends the connection.
func (v *visit) refuse(e *smtp.SMTPError) error {
	if v.refused++; v.refused >= inboundRefusals {
		_ = v.conn.Close()
	}
	return e
}

// Reset implements smtp.Session.
func (v *visit) Reset() { v.to = "" }

// Logout implements smtp.Session.
func (v *visit) Logout() error { return nil }

// Mail implements smtp.Session. Reports come without a sender, so that nobody
// reports of them: whatever has one is no report, and not listened to.
func (v *visit) Mail(from string, _ *smtp.MailOptions) error {
	if from != "" {
		return v.refuse(notNull)
	}
	if !v.in.admit() {
		return v.refuse(tooMany)
	}
	return nil
}

// Rcpt implements smtp.Session.
func (v *visit) Rcpt(to string, _ *smtp.RcptOptions) error {
	if len(to) > maxAddress || !v.in.cfg.To.Knows(strings.ToLower(to)) {
		return v.refuse(notHere)
	}
	v.to = strings.ToLower(to)
	return nil
}

// Data implements smtp.Session.
func (v *visit) Data(r io.Reader) error {
	var head bytes.Buffer
	_, err := io.CopyN(&head, r, inboundReport)
	if err == nil {
		_, err = io.Copy(io.Discard, r)
	} else if errors.Is(err, io.EOF) {
		err = nil
	}
	var told *smtp.SMTPError
	switch {
	case errors.As(err, &told): // too large
		return v.refuse(told)
	case err != nil:
		_ = v.conn.Close()
		return cameBroke
	}
	all, err := Bounces(head.Bytes())
	if err != nil {
		return v.refuse(noReport)
	}
	ctx, cancel := context.WithTimeout(context.Background(), taking)
	defer cancel()
	if err := v.in.cfg.To.Take(ctx, v.to, verdictOf(all)); err != nil {
		v.in.cfg.Log.Error("a report of undeliverable mail was not noted", slog.String("error", err.Error()))
		return notNow
	}
	return nil
}

// quiet is where the SMTP library complains: of connections, which are other
// people's doing.
type quiet struct{ log *slog.Logger }

// Printf implements smtp.Logger.
func (q quiet) Printf(format string, v ...any) {
	q.log.Debug("inbound mail", slog.String("note", fmt.Sprintf(format, v...)))
}

// Println implements smtp.Logger.
func (q quiet) Println(v ...any) { q.log.Debug("inbound mail", slog.String("note", fmt.Sprint(v...))) }
