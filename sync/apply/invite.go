package apply

import (
	"crypto/sha256"
	"encoding/json"

	"satchel/internal/command"
	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/internal/policy"
	"satchel/sync/state"
	"satchel/sync/store"
	"satchel/sync/subject"
)

// InvitationLifetime is how long an invitation can be accepted, in
// milliseconds.
const InvitationLifetime ident.Millis = 7 * 24 * 60 * 60 * 1000

// verbInvite is the action of an employee that inviting needs the right to.
const verbInvite policy.Verb = "invite"

// Invited says that an employee may choose a password, by a token that only
// whoever made it knows.
type Invited struct {
	Employee ident.RecordID
	Expires  ident.Millis // it can be accepted before that
}

// invitation is Invited as stored.
type invitation struct {
	Employee ident.RecordID `json:"employee"`
	Expires  ident.Millis   `json:"expires"`
}

// Of the Sessions bucket: 'i' digest of the token -> invitation as JSON; 'v'
// employee id -> digest of the one invitation the employee has. An invitation
// is gone once it is accepted, followed by another, or its employee is disabled
// or given a password; one that is over stays until then and counts for
// nothing.
func invitationRow(digest []byte) []byte { return append([]byte{'i'}, digest...) }

func invitedRow(id ident.RecordID) []byte { return append([]byte{'v'}, id...) }

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
	return Invited(in), true
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
// as that employee, so that it takes a customer administrator, and the right to
// invite; nobody makes one for themselves, which would change a password
// without knowing it.
func (r *run) invite(in *command.Invite) Result {
	if len(in.Digest) != sha256.Size {
		return Result{Err: fault.New(fault.BadValue).OnField("digest")}
	}
	emp, _, err := r.find(r.cfg.Cat.Type(subject.Employee), in.Employee)
	if err != nil {
		return Result{Err: err}
	}
	if _, err := r.decide(verbInvite, emp); err != nil {
		return Result{Err: err}
	}
	if r.sub != nil && (!r.sub.Holds(subject.Administrator) || r.sub.ID == emp.ID) {
		return Result{Err: fault.New(fault.NotAllowed)}
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
	r.endInvitation(emp.ID)
	out := Invited{emp.ID, r.w.Now() + InvitationLifetime}
	r.w.Put(store.Sessions, invitationRow(in.Digest), encode(invitation(out)))
	r.w.Put(store.Sessions, invitedRow(emp.ID), in.Digest)
	return Result{ID: emp.ID, Invited: &out}
}

// endInvitation forgets the employee's invitation, if there is one.
func (r *run) endInvitation(id ident.RecordID) {
	digest := r.w.Get(store.Sessions, invitedRow(id))
	if digest == nil {
		return
	}
	r.w.Delete(store.Sessions, invitationRow(digest))
	r.w.Delete(store.Sessions, invitedRow(id))
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
