package app

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"satchel/internal/fault"
	"satchel/server/courier"
	"satchel/server/push"
	"satchel/server/push/mail/template"
	"satchel/server/session"
)

// letters sends the mails that carry a token: invitations and resets. They
// don't go through a tenant's outbox, which would keep the token where backups
// and logs are made of; they are tried for as long as the process lives and
// then are gone, and whoever waits for one asks again.
type letters struct {
	by      courier.Mailer
	link    string // where the apps' pages are
	product string
	log     *slog.Logger
	queue   chan session.Mail
}

const (
	lettersWaiting  = 200 // at most; more are refused as busy
	lettersAttempts = 6
	lettersAtOnce   = 2
)

// newLetters makes a session.Mailer; run sends until ctx ends.
func newLetters(by courier.Mailer, link, product string, log *slog.Logger) *letters {
	return &letters{
		by: by, link: strings.TrimRight(link, "/"), product: cmp.Or(product, "Satchel"), log: log,
		queue: make(chan session.Mail, lettersWaiting),
	}
}

// Send implements session.Mailer.
func (l *letters) Send(_ context.Context, m session.Mail) error {
	select {
	case l.queue <- m:
		return nil
	default:
		return fault.New(fault.Busy)
	}
}

func (l *letters) run(ctx context.Context) {
	work := make(chan struct{}, lettersAtOnce)
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-l.queue:
			work <- struct{}{}
			go func() {
				defer func() { <-work }()
				l.deliver(ctx, m)
			}()
		}
	}
}

// deliver tries a mail until it is taken, refused for good, or too late. Its
// link is in no line of the log.
func (l *letters) deliver(ctx context.Context, m session.Mail) {
	letter, err := l.write(m)
	if err != nil {
		l.log.Error("a mail could not be written", slog.String("kind", string(m.Kind)), slog.String("error", err.Error()))
		return
	}
	for letter.Attempt = 0; letter.Attempt < lettersAttempts; letter.Attempt++ {
		done := l.by.Mail(ctx, letter)
		if done.Kind == push.Sent {
			return
		}
		if done.Kind != push.Retry {
			l.log.Warn("a mail was refused", slog.String("kind", string(m.Kind)), slog.String("reason", done.Reason))
			return
		}
		wait := time.NewTimer(cmp.Or(done.After, 30*time.Second))
		select {
		case <-ctx.Done():
			wait.Stop()
			return
		case <-wait.C:
		}
	}
	l.log.Warn("a mail was given up", slog.String("kind", string(m.Kind)))
}

func (l *letters) write(m session.Mail) (courier.Letter, error) {
	who := template.Person{Name: m.Name, Product: l.product}
	link := l.link + "/" + strings.TrimLeft(m.Path, "/")
	var v template.Values
	switch m.Kind {
	case session.MailInvitation:
		v = template.Invitation{Person: who, Link: link, Until: m.Expires}
	case session.MailReset:
		v = template.PasswordReset{Person: who, Link: link, Until: m.Expires}
	default:
		return courier.Letter{}, fmt.Errorf("app: there is no mail of kind %q", m.Kind)
	}
	words, err := template.Render(m.Language, v)
	if err != nil {
		return courier.Letter{}, err
	}
	// The key is the same at every attempt and tells nothing of the token.
	sum := sha256.Sum256([]byte(string(m.Tenant) + "\x00" + string(m.Employee) + "\x00" + m.Path))
	return courier.Letter{To: m.Address, Subject: words.Subject, Text: words.Text, HTML: words.HTML, Key: hex.EncodeToString(sum[:16])}, nil
}
