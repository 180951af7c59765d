package apply

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"slices"

	"satchel/internal/command"
	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/sync/audit"
	"satchel/sync/state"
	"satchel/sync/store"
	"satchel/sync/subject"
)

// The names of what is known to have a meaning here: a field of employees, its
// value, and the key of the setting by which administrators need one.
const (
	fieldFactor   = "secondFactor"
	fieldIdentity = "oidcSubject"
	factorTOTP    = "totp"
	settingFactor = "second-factor-for-administrators"
)

// MaxRecovery bounds the recovery codes that a second factor has.
const MaxRecovery = 10

// Factor is a person's second factor as stored.
type Factor struct {
	// Sealed is the secret as the edge sealed it; nothing here reads it.
	Sealed []byte `json:"sealed"`
	// Step is the time step of the last code that was used: codes of it and of
	// steps before it are used up.
	Step int64 `json:"step"`
	// Recovery is SHA-256 of each recovery code that is left.
	Recovery [][]byte `json:"recovery,omitempty"`
}

// Key names the factor without telling it: SHA-256 of the sealed secret.
func (f *Factor) Key() []byte {
	sum := sha256.Sum256(f.Sealed)
	return sum[:]
}

// Of the Credentials bucket, beside the password hashes under employees' ids:
// 0, 'f', employee id -> Factor as JSON. No id begins with 0.
func factorRow(id ident.RecordID) []byte { return append([]byte{0, 'f'}, id...) }

// ReadFactor returns an employee's second factor; ok is false for none.
func ReadFactor(rd *state.Reader, employee ident.RecordID) (f Factor, ok bool) {
	v := rd.KV().Get(store.Credentials, factorRow(employee))
	return f, v != nil && json.Unmarshal(v, &f) == nil
}

// FactorDemanded reports whether the tenant demands a second factor of its
// customer administrators.
func FactorDemanded(rd *state.Reader) bool {
	t := rd.Cat.Type(subject.Setting)
	for o := range rd.Index(state.ValueKey(t.No, t.Field("key").No, settingFactor)).All() {
		if s, ok := rd.LoadOrd(o); ok && s.Get("on").Bool() {
			return true
		}
	}
	return false
}

// needsFactor reports whether the employee needs a second factor, whether or
// not there is one.
func (r *run) needsFactor(employee ident.RecordID) bool {
	if !FactorDemanded(&r.w.Reader) {
		return false
	}
	sub := r.subject(employee)
	return sub != nil && sub.Holds(subject.Administrator)
}

// pass judges the second part of a sign-in by password: strong is true where
// there was one.
func (r *run) pass(emp *entity.Record, l *command.Login) (strong bool, err error) {
	_, has := ReadFactor(&r.w.Reader, emp.ID)
	switch {
	case has && l.Factor == nil:
		return false, fault.New(fault.SecondFactor)
	case has:
		return true, r.useFactor(emp.ID, l.Factor)
	case l.Factor != nil: // it was removed in between
		return false, fault.New(fault.InvalidCode)
	case l.Enrol != nil:
		return true, r.enrol(emp, l.Enrol)
	case r.needsFactor(emp.ID):
		return false, fault.New(fault.SecondFactor)
	}
	return false, nil
}

// useFactor uses a code up. One of a step that was used before, or of one
// before that, and a recovery code that is not left are refused.
func (r *run) useFactor(employee ident.RecordID, u *command.FactorUse) error {
	f, ok := ReadFactor(&r.w.Reader, employee)
	if !ok || !bytes.Equal(f.Key(), u.Key) {
		return fault.New(fault.InvalidCode)
	}
	if len(u.Recovery) > 0 {
		i := slices.IndexFunc(f.Recovery, func(d []byte) bool { return bytes.Equal(d, u.Recovery) })
		if i < 0 {
			return fault.New(fault.InvalidCode)
		}
		f.Recovery = slices.Delete(f.Recovery, i, i+1)
	} else {
		if u.Step <= f.Step {
			return fault.New(fault.InvalidCode)
		}
		f.Step = u.Step
	}
	r.w.Put(store.Credentials, factorRow(employee), encode(f))
	return nil
}

// enrol gives an employee who has none a second factor.
func (r *run) enrol(emp *entity.Record, n *command.NewFactor) error {
	if _, has := ReadFactor(&r.w.Reader, emp.ID); has {
		return fault.Newf(fault.WrongStatus, "There is a second factor already.")
	}
	if len(n.Sealed) == 0 || n.Step <= 0 || !digests(n.Recovery) {
		return fault.New(fault.BadValue).OnField("enrol")
	}
	r.w.Put(store.Credentials, factorRow(emp.ID), encode(Factor{n.Sealed, n.Step, n.Recovery}))
	return r.bySelf(emp, "enrolSecondFactor", func(e *entity.Record) { e.Set(fieldFactor, entity.StringValue(factorTOTP)) })
}

// digests reports whether these can be digests of recovery codes.
func digests(list [][]byte) bool {
	return len(list) <= MaxRecovery && !slices.ContainsFunc(list, func(d []byte) bool { return len(d) != sha256.Size })
}

// changeFactor is a signed-in person's change of their own second factor.
func (r *run) changeFactor(f *command.Factor) Result {
	emp, ok := r.w.Load(r.cmd.Actor)
	if r.sub == nil || !ok {
		return Result{Err: fault.New(fault.NotAllowed)}
	}
	switch {
	case f.Enrol != nil:
		if err := r.enrol(emp, f.Enrol); err != nil {
			return Result{Err: err}
		}
		// Whoever enrolled has just shown it.
		if s, ok := ReadSession(&r.w.Reader, r.cmd.Session); ok {
			s.Strong = true
			r.putSession(r.cmd.Session, s)
		}
		return Result{ID: emp.ID}
	case f.Use == nil || !digests(f.Recovery):
		return Result{Err: fault.New(fault.BadValue).OnField("use")}
	}
	if err := r.useFactor(emp.ID, f.Use); err != nil {
		return Result{Err: err}
	}
	if len(f.Recovery) > 0 {
		left, _ := ReadFactor(&r.w.Reader, emp.ID)
		left.Recovery = f.Recovery
		r.w.Put(store.Credentials, factorRow(emp.ID), encode(left))
		row := r.concerning(audit.Action, emp.ID)
		row.Name = "renewRecoveryCodes"
		r.trail = append(r.trail, row)
		return Result{ID: emp.ID}
	}
	if r.needsFactor(emp.ID) {
		return Result{Err: fault.Newf(fault.NotAllowed, "Administrators need a second factor here.")}
	}
	r.w.Delete(store.Credentials, factorRow(emp.ID))
	err := r.bySelf(emp, "removeSecondFactor", func(e *entity.Record) { e.Set(fieldFactor, nil) })
	return Result{ID: emp.ID, Err: err}
}

// forgetFactor takes the second factor from somebody who lost it, or the tie
// to an account that is theirs no more. It takes what inviting takes: whoever
// could do it alone would be nearer to signing in as somebody else.
func (r *run) forgetFactor(f *command.Forget) Result {
	emp, err := r.trusted(f.Employee)
	if err != nil {
		return Result{Err: err}
	}
	after := emp.Clone()
	name := "resetSecondFactor"
	if f.Factor {
		r.w.Delete(store.Credentials, factorRow(emp.ID))
		after.Set(fieldFactor, nil)
	}
	if f.Identity {
		after.Set(fieldIdentity, nil)
		name = "resetIdentity"
	}
	r.doing = doing{op: audit.Action, name: name, id: emp.ID}
	if err := r.save(emp, after); err != nil {
		return Result{Err: err}
	}
	return Result{ID: emp.ID, Err: r.settle()}
}

// bySelf changes an employee's record in their own name, as what they did with
// their way of signing in.
func (r *run) bySelf(emp *entity.Record, name string, change func(*entity.Record)) error {
	actor, what := r.cmd.Actor, r.doing
	r.cmd.Actor, r.doing = emp.ID, doing{op: audit.Action, name: name, id: emp.ID}
	defer func() { r.cmd.Actor, r.doing = actor, what }()
	after := emp.Clone()
	change(after)
	if err := r.save(emp, after); err != nil {
		return err
	}
	return r.settle()
}
