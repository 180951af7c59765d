package apply

import (
	"strings"

	"satchel/internal/command"
	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/sync/state"
	"satchel/sync/subject"
)

// tie renders an account of an identity provider as it stands in an
// employee's record. An issuer is an address and holds no space.
func tie(who *command.Identity) string { return who.Issuer + " " + who.Subject }

// FindIdentity returns the active employee whom an identity provider's account
// is tied to. An account that is tied to nobody may be tied to the one active
// employee with its verified e-mail address, unless another account of the same
// issuer is. ok is false where there is no such employee.
func FindIdentity(rd *state.Reader, who *command.Identity) (id ident.RecordID, ok bool) {
	t := rd.Cat.Type(subject.Employee)
	name := tie(who)
	for _, o := range rd.Named(t, fieldIdentity, name) {
		e, loaded := rd.LoadOrd(o)
		if !loaded || e.Get(fieldIdentity).Text() != name { // names are found whatever their case
			continue
		}
		return e.ID, e.StatusText() == subject.Active
	}
	if who.Email == "" {
		return "", false
	}
	for _, o := range rd.Named(t, "email", who.Email) {
		e, loaded := rd.LoadOrd(o)
		if !loaded || e.StatusText() != subject.Active || !sameAddress(e.Get("email").Text(), who.Email) {
			continue
		}
		if ok {
			return "", false // of two people with one address it is nobody's
		}
		id, ok = e.ID, true
	}
	if ok {
		e, _ := rd.Load(id)
		if issuer, _, tied := strings.Cut(e.Get(fieldIdentity).Text(), " "); tied && issuer == who.Issuer {
			return "", false
		}
	}
	return id, ok
}

// sameAddress compares e-mail addresses, whatever the case of their ASCII
// letters. Unicode's folding makes other letters of theirs, by which somebody
// else's address would pass for this one.
func sameAddress(a, b string) bool {
	lower := func(c byte) byte {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		return c
	}
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

// proven returns whom a sign-in is of: a password was checked, or an identity
// provider vouches.
func (r *run) proven(l *command.Login) (*entity.Record, error) {
	emp, ok := r.w.Load(l.Employee)
	if !ok || emp.Type.Name != subject.Employee || emp.StatusText() != subject.Active {
		return nil, fault.New(fault.InvalidCredentials)
	}
	if l.Identity == nil {
		stored := Credential(&r.w.Reader, l.Employee)
		if stored == "" || CredentialDigest(stored) != l.Credential {
			return nil, fault.New(fault.InvalidCredentials)
		}
		return emp, nil
	}
	if id, ok := FindIdentity(&r.w.Reader, l.Identity); !ok || id != emp.ID {
		return nil, fault.New(fault.InvalidCredentials)
	}
	if name := tie(l.Identity); emp.Get(fieldIdentity).Text() != name {
		err := r.bySelf(emp, "tieIdentity", func(e *entity.Record) { e.Set(fieldIdentity, entity.StringValue(name)) })
		if err != nil {
			return nil, err
		}
		emp, _ = r.w.Load(emp.ID)
	}
	return emp, nil
}
