package session

import (
	"context"
	"encoding/json"
	"time"

	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/sync/tenant"
)

// MailKind is what a mail is about.
type MailKind string

// The kinds of mail.
const (
	MailInvitation MailKind = "invitation"     // somebody new may choose a password
	MailReset      MailKind = "password-reset" // whoever forgot the password may choose another
)

// Mail is what a person is to be told by mail.
type Mail struct {
	Kind     MailKind
	Tenant   ident.TenantID
	Employee ident.RecordID
	Address  string // as it stands in the employee's record
	Name     string
	Language string // BCP 47, as the person prefers; "" where nothing is known
	// Path is where an app's page takes the token, relative to the app; see
	// Invitation. It is a secret of the receiver's and belongs into no log.
	Path    string
	Expires time.Time
}

// Mailer hands mails on. Send returns once the mail is sure to be tried, not
// when it has arrived. It is called by several goroutines at once.
type Mailer interface {
	Send(ctx context.Context, m Mail) error
}

// languageKey is the preference by which people choose their language.
const languageKey = "language"

// mailTo begins a mail to an employee.
func mailTo(t *tenant.Tenant, v *tenant.View, kind MailKind, id ident.RecordID, in *Invitation) (Mail, bool) {
	e, ok := v.Load(id)
	if !ok || e.Get("email").IsNull() {
		return Mail{}, false
	}
	m := Mail{
		Kind: kind, Tenant: t.ID(), Employee: id, Address: e.Get("email").Text(), Name: e.Get("name").Text(),
		Path: in.Path, Expires: in.expires.Time().UTC(),
	}
	pref := t.Catalogue().Type("preference")
	for o := range v.Referring(pref, pref.Field("owner").No, id).All() {
		if p, ok := v.LoadOrd(o); ok && p.Get("key").Text() == languageKey {
			m.Language = language(p.Get("value"))
		}
	}
	return m, true
}

// language is a preference's value where it can be a language's tag: text, or
// text as JSON.
func language(v entity.Value) string {
	s := v.Text()
	var quoted string
	if json.Unmarshal([]byte(s), &quoted) == nil {
		s = quoted
	}
	if len(s) > 35 {
		return ""
	}
	for _, c := range []byte(s) {
		if c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return ""
		}
	}
	return s
}
