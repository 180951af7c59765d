package session

import (
	"context"
	"log/slog"
	"time"

	"github.com/gofiber/fiber/v2"

	"satchel/internal/command"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/server/session/limit"
	"satchel/sync/apply"
	"satchel/sync/tenant"
)

type resetBody struct {
	Tenant string `json:"tenant"`
	Email  string `json:"email"`
}

func (b *resetBody) valid() error {
	switch {
	case b.Tenant == "" || len(b.Tenant) > 40:
		return fault.New(fault.MissingField).OnField("tenant")
	case b.Email == "" || len(b.Email) > 320:
		return fault.New(fault.MissingField).OnField("email")
	}
	return nil
}

// Mails that wait to be made, and how long one may take.
const (
	maxMailing  = 64
	mailTimeout = 30 * time.Second
)

// reset takes note that somebody forgot the password. The answer tells nothing
// and comes before anything is looked up, so that its time tells nothing
// either.
func (s *Service) reset(c *fiber.Ctx) error {
	var b resetBody
	in, err := s.enter(c, &b)
	if err != nil {
		return err
	}
	if wait, ok := s.gate.mailFrom.Take(limit.KeyOf(in.site)); !ok {
		return in.refuse(wait)
	}
	if s.Links != nil {
		s.later(func(ctx context.Context) error { return s.forgot(ctx, b) })
	}
	return c.SendStatus(fiber.StatusAccepted)
}

// later does something after the answer; it is left undone where too much
// waits already, or the server ends.
func (s *Service) later(f func(context.Context) error) {
	s.ending.Lock()
	defer s.ending.Unlock()
	if s.ended {
		return
	}
	select {
	case s.mailing <- struct{}{}:
	default:
		s.Log.Warn("too many mails wait to be made; one was left out")
		return
	}
	s.background.Add(1)
	go func() {
		defer s.background.Done()
		defer func() { <-s.mailing }()
		ctx, cancel := context.WithTimeout(context.Background(), mailTimeout)
		defer cancel()
		if err := f(ctx); err != nil {
			s.Log.Warn("a mail was not made", slog.String("code", string(fault.Of(err).Code)))
		}
	}()
}

// Close waits for what is done after answers. Requests must have ended.
func (s *Service) Close() {
	s.ending.Lock()
	s.ended = true
	s.ending.Unlock()
	s.background.Wait()
}

// forgot lets an active person with a password choose another, by a token that
// is mailed. Others are not told that somebody asked.
func (s *Service) forgot(ctx context.Context, b resetBody) error {
	t, err := s.Auth.Tenants.Tenant(ident.TenantID(b.Tenant))
	if err != nil {
		return nil //nolint:nilerr // there is no such tenant
	}
	var id ident.RecordID
	err = t.Read(func(v *tenant.View) error {
		if e, ok := apply.FindEmployee(v.Reader, b.Email); ok && apply.Credential(v.Reader, e) != "" {
			id = e
		}
		return nil
	})
	if err != nil || id == "" {
		return err
	}
	if _, ok := s.gate.mail.Take(limit.KeyOf(string(t.ID()), string(id))); !ok {
		return nil
	}
	_, err = Invite(ctx, t, &command.Command{Invite: &command.Invite{Reset: true}}, id, s.Links)
	return err
}
