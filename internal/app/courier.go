package app

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"satchel/internal/ident"
	"satchel/server/courier"
	"satchel/server/push"
	"satchel/server/push/fcm"
	"satchel/server/push/mail"
	"satchel/sync/outbox"
	"satchel/sync/tenant"
)

// attend runs a courier for every tenant that is open or will be, and opens
// those that are not: what was to be sent when the server ended waits for
// nobody to ask for its tenant. The function it returns ends the couriers and
// waits for them.
func (a *App) attend() (leave func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	a.tenants.attend(func(t *tenant.Tenant) {
		c := courier.New(courier.Options{
			Tenant: t, Rules: a.tenants.suite.Rules, Pusher: a.cfg.Pusher, Mailer: a.cfg.Letters, Product: a.cfg.Product,
			DevicesLink: a.cfg.DevicesLink, Unsubscribe: a.letters.unsubscribe, Returns: a.letters.returns, Links: a.links(),
			Observe: a.metrics.sent, Log: a.cfg.Log,
		})
		wg.Go(func() { c.Run(ctx) })
	})
	wg.Go(func() {
		ids, err := a.tenants.List()
		if err != nil {
			a.cfg.Log.Error("tenants could not be listed", slog.String("error", err.Error()))
		}
		for _, id := range ids {
			if ctx.Err() != nil {
				return
			}
			if _, err := a.tenants.Tenant(id); err != nil {
				a.cfg.Log.Error("a tenant could not be opened", slog.String("tenant", string(id)), slog.String("error", err.Error()))
			}
		}
	})
	return func() {
		a.tenants.attend(nil)
		cancel()
		wg.Wait()
	}
}

// links makes those of mails with a token; nil where none are mailed.
func (a *App) links() courier.Links {
	if a.letters.links == nil {
		return nil
	}
	return a.letters.links
}

// attend has f called once for every tenant that is open and for each that is
// opened from now on; nil for nobody.
func (ts *Tenants) attend(f func(*tenant.Tenant)) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.opened = f; f == nil {
		return
	}
	for _, t := range ts.open {
		f(t)
	}
}

// backlog is how much a tenant's outbox holds, and for how long the oldest of it
// has waited, in seconds.
func backlog(t *tenant.Tenant) (n int, age float64) {
	err := t.Read(func(v *tenant.View) error {
		var oldest ident.Millis
		if n, oldest = outbox.Backlog(v.KV()); n > 0 {
			age = max(0, float64(t.Now()-oldest)/1000)
		}
		return nil
	})
	if err != nil {
		return 0, 0
	}
	return n, age
}

// ByFCM lets couriers send pushes through Firebase.
func ByFCM(s *fcm.Sender) courier.Pusher { return fcmPusher{s} }

type fcmPusher struct{ s *fcm.Sender }

// Push implements courier.Pusher.
func (p fcmPusher) Push(ctx context.Context, ms []courier.Push) []push.Outcome {
	out := make([]fcm.Message, len(ms))
	for i, m := range ms {
		out[i] = fcm.Message{
			Token: m.Token, Category: string(m.Category), Key: m.Key, CollapseKey: string(m.Category),
			High: m.High, Visible: m.Visible, TTL: m.TTL.Truncate(time.Second), Language: m.Language, Attempt: m.Attempt,
		}
	}
	return p.s.Send(ctx, out)
}

// BySMTP lets couriers send mail.
func BySMTP(s *mail.Sender) courier.Mailer { return smtpMailer{s} }

type smtpMailer struct{ s *mail.Sender }

// Mail implements courier.Mailer.
func (m smtpMailer) Mail(ctx context.Context, l courier.Letter) push.Outcome {
	return m.s.Send(ctx, []mail.Message{{
		To: l.To, Subject: l.Subject, Text: l.Text, HTML: l.HTML, Key: l.Key, Attempt: l.Attempt, Unsubscribe: l.Unsubscribe,
		Return: l.Return,
	}})[0]
}
