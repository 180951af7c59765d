package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"satchel/internal/durable"
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
// one key, which stands in the data folder and outlives the mails.
type letters struct {
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
	l := &letters{}
	if cfg.Bounces != nil && cfg.Letters == nil {
		return nil, errors.New("app: mail comes back where none is sent")
	}
	if cfg.Letters == nil || cfg.PublicURL == "" && cfg.Bounces == nil {
		return l, nil
	}
	key, err := mailKey(cfg.Dir, cfg.Random)
	if err != nil {
		return nil, err
	}
	if cfg.PublicURL != "" {
		l.links, l.unsubscribe = session.NewLinks(key, cfg.PublicURL), courier.NewUnsubscriber(key, cfg.PublicURL, ts)
	}
	b := cfg.Bounces
	if b == nil {
		return l, nil
	}
	l.returns = courier.NewReturns(key, b.Domain, ts, cfg.Clock)
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

// mailKey reads the key that addresses and links in mails are made with,
// making it in a new folder. Mails are old when people think better of them.
func mailKey(dir string, from io.Reader) (key [32]byte, err error) {
	path := filepath.Join(dir, "mail.key")
	b, err := os.ReadFile(path)
	switch {
	case err == nil && len(b) == len(key):
		return [32]byte(b), nil
	case err == nil:
		return key, fmt.Errorf("%s: %d bytes are no key", path, len(b))
	case !errors.Is(err, fs.ErrNotExist):
		return key, err
	}
	if _, err := io.ReadFull(from, key[:]); err != nil {
		return key, err
	}
	return key, durable.WriteFile(path, key[:])
}
