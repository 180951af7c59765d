package app

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"satchel/internal/fault"
	"satchel/server/courier"
	"satchel/server/push"
	"satchel/server/session"
)

// postman notes what is sent and answers as told.
type postman struct {
	got     []courier.Letter
	answers []push.Outcome
}

func (p *postman) Mail(_ context.Context, l courier.Letter) push.Outcome {
	p.got = append(p.got, l)
	if len(p.answers) == 0 {
		return push.Outcome{Kind: push.Sent}
	}
	a := p.answers[0]
	p.answers = p.answers[1:]
	return a
}

// TestLetters: a mail with a token is tried until it is taken, in the person's
// language, and its link stands in no log.
func TestLetters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		post := &postman{answers: []push.Outcome{{Kind: push.Retry, After: time.Minute}, {Kind: push.Retry}, {Kind: push.Sent}, {Kind: push.Rejected, Reason: "address_refused"}}}
		l := newLetters(post, "https://satchel.example/", "", slog.New(slog.NewJSONHandler(&log, nil)))
		ctx, cancel := context.WithCancel(t.Context())
		go l.run(ctx)
		defer synctest.Wait()
		defer cancel()
		m := session.Mail{
			Kind: session.MailInvitation, Tenant: "acme", Employee: "emp-anna-1", Address: "anna@example.com", Name: "Anna", Language: "de",
			Path: "/invitation#secret-token", Expires: time.Now().Add(time.Hour),
		}
		if err := l.Send(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		if len(post.got) != 3 || post.got[0].Key != post.got[2].Key || post.got[0].To != "anna@example.com" {
			t.Fatalf("%+v", post.got)
		}
		if !strings.Contains(post.got[0].Text, "https://satchel.example/invitation#secret-token") {
			t.Errorf("the link is missing: %s", post.got[0].Text)
		}
		m.Kind = session.MailReset
		if err := l.Send(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if len(post.got) != 4 { // refused for good
			t.Errorf("%d attempts", len(post.got))
		}
		if strings.Contains(log.String(), "secret-token") || !strings.Contains(log.String(), "address_refused") {
			t.Errorf("%s", log.String())
		}
		// A queue that is full is an answer.
		cancel()
		synctest.Wait()
		var err error
		for range lettersWaiting + 1 {
			err = l.Send(t.Context(), m)
		}
		if !errors.Is(err, fault.New(fault.Busy)) {
			t.Errorf("%v", err)
		}
	})
}
