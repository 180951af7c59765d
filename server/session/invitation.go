package session

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"

	"github.com/gofiber/fiber/v2"

	"satchel/internal/command"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/internal/strictjson"
	"satchel/server/edge"
	"satchel/server/session/password"
	"satchel/sync/apply"
	"satchel/sync/tenant"
)

// Invitation lets an employee choose a password, once. What is stored of it is
// the token's digest: this value is the only place where the token is, for
// whoever hands it on.
type Invitation struct {
	Employee ident.RecordID `json:"employee"`
	// Token is 43 characters of base64url, of 256 random bits; "" once it has
	// been handed on by mail.
	Token string `json:"token,omitempty"`
	// Path is where an app's page takes the invitation, relative to the app:
	// /accept-invitation with tenant and token behind the #, which browsers
	// send to no server. It goes with Token.
	Path string `json:"path,omitempty"`
	// Expires is when it is over, RFC 3339, UTC.
	Expires string `json:"expires"`
	// Mailed: the token goes out by mail and is not told.
	Mailed bool `json:"mailed,omitempty"`
}

// tokenBytes is the length of an invitation's token before it is written out,
// nonceBytes that of what the token of a mailed one is derived from.
const (
	tokenBytes = 32
	nonceBytes = 16
)

// Invite makes an invitation of an employee who has yet to choose a password
// or, being active, may choose another; it ends the one made before. by begins
// the command, in the name of whoever invites; an empty one is the operator's.
// What it says of a reset is kept. With links the token goes out by mail, which
// is in the outbox as soon as the invitation is made, and is returned only where
// mail to the employee is known to come back; without it is always returned.
//
// Errors are not_found for somebody the inviter does not see, not_allowed for
// whoever is no customer administrator with the right to invite and for
// oneself, wrong_status for a disabled employee.
func Invite(ctx context.Context, t *tenant.Tenant, by *command.Command, employee ident.RecordID, links *Links) (*Invitation, error) {
	in := &command.Invite{Employee: employee, Reset: by.Invite != nil && by.Invite.Reset}
	var token string
	if links != nil {
		in.Nonce = make([]byte, nonceBytes)
		t.Random(in.Nonce)
		token = links.token(t.ID(), employee, in.Nonce)
	} else {
		var random [tokenBytes]byte
		t.Random(random[:])
		token = base64.RawURLEncoding.EncodeToString(random[:])
	}
	in.Digest = tokenDigest(token)
	by.Invite = in
	res, err := t.Submit(ctx, by)
	if err != nil {
		return nil, err
	}
	out := &Invitation{
		Employee: res.Invited.Employee, Mailed: res.Invited.Mailed, Expires: res.Invited.Expires.Time().UTC().Format("2006-01-02T15:04:05.000Z"),
	}
	if !out.Mailed {
		out.Token, out.Path = token, acceptPath(t.ID(), token)
	}
	return out, nil
}

func tokenDigest(token string) []byte {
	d := sha256.Sum256([]byte(token))
	return d[:]
}

type inviteBody struct {
	Employee string `json:"employee"`
}

// about reads who asks something about which employee.
func (s *Service) about(c *fiber.Ctx) (*edge.Caller, ident.RecordID, error) {
	caller, err := s.Auth.Caller(c)
	if err != nil {
		return nil, "", err
	}
	raw, err := edge.Body(c)
	if err != nil {
		return nil, "", err
	}
	var b inviteBody
	if err := strictjson.Decode(raw, &b); err != nil {
		return nil, "", err
	}
	if b.Employee == "" {
		return nil, "", fault.New(fault.MissingField).OnField("employee")
	}
	return caller, ident.RecordID(b.Employee), nil
}

// invite answers a customer administrator with an invitation, this once; where
// mails are sent, it goes to the employee instead, unless mail to them is known
// to come back.
func (s *Service) invite(c *fiber.Ctx) error {
	caller, employee, err := s.about(c)
	if err != nil {
		return err
	}
	in, err := Invite(c.Context(), caller.Tenant, caller.Command(), employee, s.Links)
	if err != nil {
		return err
	}
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	return edge.JSON(c, fiber.StatusCreated, body)
}

type acceptBody struct {
	Tenant   string `json:"tenant"`
	Token    string `json:"token"`
	Password string `json:"password"`
}

// maxToken bounds what is looked at of a token, in bytes.
const maxToken = 1024

func (b *acceptBody) valid() error {
	switch {
	case b.Tenant == "" || len(b.Tenant) > 40:
		return fault.New(fault.MissingField).OnField("tenant")
	case b.Token == "" || len(b.Token) > maxToken:
		return fault.New(fault.MissingField).OnField("token")
	case b.Password == "":
		return fault.New(fault.MissingField).OnField("password")
	}
	// Judged before the token, so that it tells nothing of it.
	return password.Acceptable(b.Password)
}

// accept sets the password that an invited employee chose; signing in with it
// is the next request. Whatever is wrong with the invitation, a password is
// hashed and the answer is the same.
func (s *Service) accept(c *fiber.Ctx) error {
	var b acceptBody
	in, err := s.enter(c, &b)
	if err != nil {
		return err
	}
	if err := in.atSite(); err != nil {
		return err
	}
	return in.settle(s.choose(c, &b))
}

// choose is accept, once the request is let in.
func (s *Service) choose(c *fiber.Ctx, b *acceptBody) error {
	hash, err := s.Hasher.Hash(c.Context(), b.Password)
	if err != nil {
		return err
	}
	t, err := s.Auth.Tenants.Tenant(ident.TenantID(b.Tenant))
	if edge.Passes(err) {
		return err
	} else if err != nil {
		return uninvited()
	}
	digest := tokenDigest(b.Token)
	known := false
	err = t.Read(func(v *tenant.View) error {
		_, known = apply.FindInvitation(v.Reader, digest, t.Now())
		return nil
	})
	if err != nil {
		return err
	}
	if !known {
		return uninvited()
	}
	_, err = t.Submit(c.Context(), &command.Command{Accept: &command.Accept{Digest: digest, Hash: hash}})
	if fault.Is(err, fault.InvalidCredentials) { // somebody else was faster
		return uninvited()
	}
	if err != nil {
		return err
	}
	return c.SendStatus(fiber.StatusNoContent)
}

func uninvited() error {
	return fault.Newf(fault.InvalidCredentials, "The invitation is unknown, used or over.")
}
