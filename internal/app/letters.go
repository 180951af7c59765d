package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"time"

	"satchel/internal/ident"
	"satchel/server/courier"
	"satchel/server/push/mail"
	"satchel/server/session"
)

// Bounces says where reports of undeliverable mail come in by SMTP: the
// company's mail server hands on whatever is addressed to bounce+…@Domain.
type Bounces struct {
	// Listen is an address like 10.0.0.5:2525. Strangers need not reach it.
	Listen string
	Domain string
	// TLSCert and TLSKey are PEM files by which STARTTLS is offered; "" for none.
	// They are read again when they change.
	TLSCert, TLSKey string
	// Connections and PerMinute bound what comes; zeros are the defaults of
	// mail.InboundConfig.
	Connections, PerMinute int
}

// letters is what mail needs besides somebody who sends it. All of it hangs on
// one key, which stands in the data folder and outlives the mails, or another
// that followed it.
type letters struct {
	dir         string
	now         func() time.Time
	keys        watched // no paths where no mail is sent
	links       *session.Links
	unsubscribe *courier.Unsubscriber
	returns     *courier.Returns // nil where no reports come in
	inbound     *mail.Inbound    // nil likewise
	cert        *certificate     // nil where reports come unencrypted
	listen      net.Listener
}

// newLetters sets mail up. Without Config.Letters there is none, without
// Config.PublicURL none that has a link.
func newLetters(cfg *Config, ts *Tenants) (*letters, error) {
	l := &letters{dir: cfg.Dir, now: cfg.Clock}
	if cfg.Bounces != nil && cfg.Letters == nil {
		return nil, errors.New("app: mail comes back where none is sent")
	}
	if cfg.Letters == nil || cfg.PublicURL == "" && cfg.Bounces == nil {
		return l, nil
	}
	keys, err := someMailKeys(cfg.Dir, cfg.Random)
	if err != nil {
		return nil, err
	}
	l.keys.paths = []string{filepath.Join(cfg.Dir, mailKeyFile)}
	l.keys.changed()
	key := [32]byte(keys.Keys[0].Key)
	if cfg.PublicURL != "" {
		l.links, l.unsubscribe = session.NewLinks(key, cfg.PublicURL), courier.NewUnsubscriber(key, cfg.PublicURL, ts)
	}
	b := cfg.Bounces
	if b == nil {
		l.rekey(keys)
		return l, nil
	}
	l.returns = courier.NewReturns(key, b.Domain, ts, cfg.Clock)
	l.rekey(keys)
	in := mail.InboundConfig{Domain: b.Domain, To: returned{l.returns}, Connections: b.Connections, PerMinute: b.PerMinute, Log: cfg.Log}
	if b.TLSCert != "" || b.TLSKey != "" {
		if l.cert, err = newCertificate(b.TLSCert, b.TLSKey); err != nil {
			return nil, err
		}
		in.TLS = l.cert.config()
		in.TLS.NextProtos = nil
	}
	if l.inbound, err = mail.NewInbound(in); err != nil {
		return nil, err
	}
	return l, nil
}

// reload takes over changed keys.
func (l *letters) reload() error {
	keys, err := readMailKeys(l.dir)
	if err == nil {
		l.rekey(keys)
	}
	return err
}

// rekey has mails made with the first key, and takes what stands in those that
// were made with the others.
func (l *letters) rekey(keys mailKeys) {
	good := keys.good(ident.MillisOf(l.now()))
	if l.links != nil {
		l.links.Rekey(good)
		l.unsubscribe.Rekey(good)
	}
	if l.returns != nil {
		l.returns.Rekey(good)
	}
}

// open binds the listener of reports, if there is one, and says so.
func (l *letters) open(ctx context.Context, cfg *Config) (err error) {
	if l.inbound == nil {
		return nil
	}
	var lc net.ListenConfig
	if l.listen, err = lc.Listen(ctx, "tcp", cfg.Bounces.Listen); err != nil {
		return fmt.Errorf("bounces: %w", err)
	}
	fmt.Fprintf(cfg.Out, "bounces listening on %s\n", l.listen.Addr())
	return nil
}

// serve takes reports until close; at once where none come in.
func (l *letters) serve() error {
	if l.inbound == nil {
		return nil
	}
	return l.inbound.Serve(l.listen)
}

func (l *letters) close() error {
	if l.inbound == nil {
		return nil
	}
	err := l.inbound.Close()
	if l.listen != nil {
		// Told to end before it began to serve it knows no listener yet.
		if cerr := l.listen.Close(); !errors.Is(cerr, net.ErrClosed) {
			err = errors.Join(err, cerr)
		}
	}
	return err
}

// returned hands reports to whoever knows what they are about.
type returned struct{ *courier.Returns }

// Take implements mail.Returned.
func (r returned) Take(ctx context.Context, address string, v mail.Verdict) error {
	if v == mail.Delayed {
		return nil
	}
	return r.Returns.Take(ctx, address, v == mail.HardBounce)
}
