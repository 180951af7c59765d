package apply

import (
	"crypto/sha256"
	"encoding/json"

	"satchel/internal/command"
	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/internal/policy"
	"satchel/sync/audit"
	"satchel/sync/outbox"
	"satchel/sync/state"
	"satchel/sync/store"
	"satchel/sync/subject"
)

// InvitationLifetime is how long an invitation can be accepted, in
// milliseconds.
const InvitationLifetime ident.Millis = 7 * 24 * 60 * 60 * 1000

// ResetLifetime is how long a password can be chosen after somebody forgot it,
// in milliseconds.
const ResetLifetime ident.Millis = 60 * 60 * 1000

// verbInvite is the action of an employee that inviting needs the right to.
const verbInvite policy.Verb = "invite"

// Invited says that an employee may choose a password, by a token that only
// whoever made it knows.
type Invited struct {
	Employee ident.RecordID
	Expires  ident.Millis // it can be accepted before that
	// Mailed: a mail with the token is in the outbox.
	Mailed bool
}

// invitation is Invited as stored.
type invitation struct {
	Employee ident.RecordID `json:"employee"`
	Expires  ident.Millis   `json:"expires"`
}

// Of the Sessions bucket: 'i' digest of the token -> invitation as JSON; 'v'
// employee id -> digest of the one invitation the employee has; 'w' employee
// id -> digest of the one reset of a forgotten password, which is an invitation
// that nobody made. One is gone once it is accepted, followed by another of its
// kind, or its employee is disabled or given a password; one that is over counts
// for nothing, and is swept a month later.
func invitationRow(digest []byte) []byte { return append([]byte{'i'}, digest...) }

func invitedRow(id ident.RecordID) []byte { return append([]byte{'v'}, id...) }

func resetRow(id ident.RecordID) []byte { return append([]byte{'w'}, id...) }

// FindInvitation returns whom a token with the digest invites, as the edge
// needs it to refuse tokens without a command; ok is false for one that is
// unknown, used or over by tenant time now.
func FindInvitation(rd *state.Reader, digest []byte, now ident.Millis) (Invited, bool) {
	var in invitation
	v := rd.KV().Get(store.Sessions, invitationRow(digest))
	if v == nil || json.Unmarshal(v, &in) != nil || now >= in.Expires {
		return Invited{}, false
	}
	e, ok := rd.Load(in.Employee)
	if !ok || !invitable(e) {
		return Invited{}, false
	}
	return Invited{Employee: in.Employee, Expires: in.Expires}, true
}

// FindInvitable returns the employee with the e-mail address who can be
// invited: who has yet to choose a password, or may choose another.
func FindInvitable(rd *state.Reader, email string) (ident.RecordID, bool) {
	for _, o := range rd.Named(rd.Cat.Type(subject.Employee), "email", email) {
		if e, ok := rd.LoadOrd(o); ok && invitable(e) {
			return e.ID, true
		}
	}
	return "", false
}

func invitable(e *entity.Record) bool {
	return e.Type.Name == subject.Employee && (e.StatusText() == subject.Invited || e.StatusText() == subject.Active)
}

// invite lets an employee choose a password. Whoever has the token can sign in
// as that employee; one for oneself would change a password without knowing it.
func (r *run) invite(in *command.Invite) Result {
	if len(in.Digest) != sha256.Size {
		return Result{Err: fault.New(fault.BadValue).OnField("digest")}
	}
	if n := len(in.Nonce); in.Nonce != nil && (n < leastNonce || n > maxNonce) {
		return Result{Err: fault.New(fault.BadValue).OnField("nonce")}
	}
	if in.Reset {
		return r.resetPassword(in)
	}
	emp, err := r.trusted(in.Employee)
	if err != nil {
		return Result{Err: err}
	}
	if !invitable(emp) {
		return Result{Err: fault.New(fault.WrongStatus)}
	}
	after := emp.Clone()
	after.Set("invitedAt", entity.TimeValue(r.w.Now()))
	if err := r.save(emp, after); err != nil {
		return Result{Err: err}
	}
	if err := r.settle(); err != nil {
		return Result{Err: err}
	}
	return Result{ID: emp.ID, Invited: r.putInvitation(invitedRow(emp.ID), in, InvitationLifetime, after)}
}

// trusted returns an employee whom the actor may let in, or near to it: it
// takes a customer administrator, and the right to invite; nobody does it for
// themselves.
func (r *run) trusted(employee ident.RecordID) (*entity.Record, error) {
	emp, _, err := r.find(r.cfg.Cat.Type(subject.Employee), employee)
	if err != nil {
		return nil, err
	}
	if _, err := r.decide(verbInvite, emp); err != nil {
		return nil, err
	}
	if r.sub != nil && (!r.sub.Holds(subject.Administrator) || r.sub.ID == emp.ID) {
		return nil, fault.New(fault.NotAllowed)
	}
	return emp, nil
}

// resetPassword lets somebody who forgot the password choose another. Anybody
// may ask for it in anybody's name, so that it is the server that asks, it
// changes no record, and it leaves an administrator's invitation alone.
func (r *run) resetPassword(in *command.Invite) Result {
	emp, ok := r.w.Load(in.Employee)
	if r.sub != nil {
		return Result{Err: fault.New(fault.NotAllowed)}
	}
	if !ok || emp.Type.Name != subject.Employee {
		return Result{Err: notFound()}
	}
	if emp.StatusText() != subject.Active || Credential(&r.w.Reader, emp.ID) == "" {
		return Result{Err: fault.New(fault.WrongStatus)}
	}
	row := r.concerning(audit.Action, emp.ID)
	row.Name = "requestPasswordReset"
	r.trail = append(r.trail, row)
	return Result{ID: emp.ID, Invited: r.putInvitation(resetRow(emp.ID), in, ResetLifetime, emp)}
}

// Bounds of a nonce, in bytes.
const (
	leastNonce = 16
	maxNonce   = 64
)

// putInvitation stores an invitation in the place of the one that the row
// names, if it does, and with it the intent to mail its token, unless mail to
// the employee is known to come back.
func (r *run) putInvitation(row []byte, in *command.Invite, lifetime ident.Millis, emp *entity.Record) *Invited {
	r.dropInvitation(row)
	out := Invited{Employee: in.Employee, Expires: r.w.Now() + lifetime}
	if in.Nonce != nil && !emp.Get("email").IsNull() && !MailRefused(emp) {
		event := outbox.Invitation
		if in.Reset {
			event = outbox.PasswordReset
		}
		out.Mailed = true
		r.post(outbox.Intent{
			Person: emp.ID, Event: event, Category: outbox.Access, Urgent: true, Channels: outbox.Mail,
			Created: r.w.Now(), NotBefore: r.w.Now(), Nonce: in.Nonce,
		})
	}
	r.w.Put(store.Sessions, invitationRow(in.Digest), encode(invitation{out.Employee, out.Expires}))
	r.w.Put(store.Sessions, row, in.Digest)
	r.w.Put(store.Sessions, agedRow(agedInvitation, out.Expires, in.Digest), nil)
	return &out
}

func (r *run) dropInvitation(row []byte) {
	if digest := r.w.Get(store.Sessions, row); digest != nil {
		r.w.Delete(store.Sessions, invitationRow(digest))
		r.w.Delete(store.Sessions, row)
	}
}

// endInvitation forgets the employee's invitation and reset, if there are any.
func (r *run) endInvitation(id ident.RecordID) {
	r.dropInvitation(invitedRow(id))
	r.dropInvitation(resetRow(id))
}

// accept sets the password that an invited employee chose. Whoever is new is
// active from then on; other sessions of the employee end.
func (r *run) accept(a *command.Accept) Result {
	in, ok := FindInvitation(&r.w.Reader, a.Digest, r.w.Now())
	if !ok || a.Hash == "" {
		return Result{Err: fault.New(fault.InvalidCredentials)}
	}
	emp, ok := r.w.Load(in.Employee)
	if !ok {
		return Result{Err: fault.New(fault.InvalidCredentials)}
	}
	r.putCredential(emp.ID, a.Hash)
	if emp.StatusText() == subject.Invited {
		r.cmd.Actor = emp.ID // it is the person's own doing
		after := emp.Clone()
		after.Set("status", entity.StringValue(subject.Active))
		if err := r.save(emp, after); err != nil {
			return Result{Err: err}
		}
		if err := r.settle(); err != nil {
			return Result{Err: err}
		}
	}
	return Result{ID: emp.ID}
}
