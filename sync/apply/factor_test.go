package apply_test

import (
	"bytes"
	"testing"

	"satchel/internal/command"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/internal/refresh"
	"satchel/sync/apply"
	"satchel/sync/state"
	"satchel/sync/subject"
)

func keyOf(sealed string) []byte {
	f := apply.Factor{Sealed: []byte(sealed)}
	return f.Key()
}

func newFactor(sealed string, step int64, recovery ...string) *command.NewFactor {
	n := &command.NewFactor{Sealed: []byte(sealed), Step: step}
	for _, r := range recovery {
		n.Recovery = append(n.Recovery, token(r))
	}
	return n
}

// TestFactorsAreState: what a code is worth is judged when it is used, in the
// order of the log.
func TestFactorsAreState(t *testing.T) {
	w := field(t)
	const eve = ident.RecordID("emp-eng-1")
	w.ok(&command.Command{Secret: &command.Secret{Employee: eve, Hash: "h"}})
	n := 0
	login := func(u *command.FactorUse) *command.Command {
		n++
		return &command.Command{Login: &command.Login{
			Employee: eve, Credential: apply.CredentialDigest("h"), Session: ident.SessionID([]byte{'s', byte('a' + n)}), First: digest("t0"), Factor: u,
		}}
	}
	step := func(s int64) *command.FactorUse { return &command.FactorUse{Key: keyOf("one"), Step: s} }
	recovery := func(r string) *command.FactorUse {
		return &command.FactorUse{Key: keyOf("one"), Recovery: token(r)}
	}
	own := func(f *command.Factor) *command.Command { return &command.Command{Actor: eve, Factor: f} }
	w.ok(login(nil))
	w.refused(fault.InvalidCode, login(step(1))) // there is none
	w.ok(own(&command.Factor{Enrol: newFactor("one", 10, "r1", "r2")}))
	if got := w.value(eve, "secondFactor"); got != "totp" {
		t.Errorf("the record says %q", got)
	}
	w.refused(fault.WrongStatus, own(&command.Factor{Enrol: newFactor("two", 10)}))
	w.refused(fault.SecondFactor, login(nil))
	// What came before in an entry counts.
	res := w.entry(login(step(11)), login(step(11)), login(step(10)), login(step(12)), login(recovery("r1")), login(recovery("r1")), login(recovery("r3")))
	for i, code := range []fault.Code{"", fault.InvalidCode, fault.InvalidCode, "", "", fault.InvalidCode, fault.InvalidCode} {
		if code == "" && res[i].Err != nil || code != "" && !fault.Is(res[i].Err, code) {
			t.Errorf("command %d: %v, want %q", i, res[i].Err, code)
		}
	}
	// Judged by another secret.
	w.refused(fault.InvalidCode, login(&command.FactorUse{Key: keyOf("two"), Step: 99}))
	w.refused(fault.InvalidCode, login(&command.FactorUse{Step: 99}))
	// A refused sign-in uses no code up.
	bad := login(step(20))
	bad.Login.Device = &command.Device{}
	w.refused(fault.BadValue, bad)
	w.ok(login(step(20)))
	// Other codes, and none.
	w.ok(own(&command.Factor{Use: step(21), Recovery: [][]byte{token("n1")}}))
	w.refused(fault.InvalidCode, login(recovery("r2")))
	w.ok(login(recovery("n1")))
	w.refused(fault.InvalidCode, own(&command.Factor{Use: step(21)}))
	w.ok(own(&command.Factor{Use: step(22)}))
	if got := w.value(eve, "secondFactor"); got != "" {
		t.Errorf("the record says %q", got)
	}
	w.ok(login(nil))
	w.refused(fault.InvalidCode, own(&command.Factor{Use: step(23)}))

	// What the edge would never send.
	var many [][]byte
	for range apply.MaxRecovery + 1 {
		many = append(many, token("x"))
	}
	for _, f := range []*command.Factor{
		{},
		{Enrol: &command.NewFactor{}},
		{Enrol: &command.NewFactor{Sealed: []byte("x")}},
		{Enrol: &command.NewFactor{Sealed: []byte("x"), Step: -1}},
		{Enrol: &command.NewFactor{Sealed: []byte("x"), Step: 1, Recovery: [][]byte{[]byte("short")}}},
		{Enrol: &command.NewFactor{Sealed: []byte("x"), Step: 1, Recovery: many}},
	} {
		w.refused(fault.BadValue, own(f))
	}
	w.refused(fault.NotAllowed, &command.Command{Factor: &command.Factor{Enrol: newFactor("one", 1)}})
	w.refused(fault.NotFoundCode, &command.Command{Forget: &command.Forget{Employee: "client-one", Factor: true}})
	w.refused(fault.NotAllowed, &command.Command{Actor: "emp-ada-1", Forget: &command.Forget{Employee: "emp-ada-1", Factor: true}})
}

// TestFactorDemanded: an administrator's session that was opened without a
// second factor is over at its next refresh; it is refused and it stays so.
func TestFactorDemanded(t *testing.T) {
	w := field(t)
	const ada = ident.RecordID("emp-ada-1")
	login := func(session string, change func(*command.Login)) *command.Command {
		l := &command.Login{Employee: ada, Credential: apply.CredentialDigest("h"), Session: ident.SessionID(session), First: digest(session)}
		if change != nil {
			change(l)
		}
		return &command.Command{Login: l}
	}
	rotate := func(session string) *command.Command {
		return &command.Command{Refresh: &command.Refresh{
			Session: ident.SessionID(session), Attempt: refresh.Attempt{Presented: digest(session), Issued: true, Successor: digest(session + "+")},
		}}
	}
	w.ok(login("weak", nil))
	w.load(row("setting", "setting-1", "key", "second-factor-for-administrators"), row("setting", "setting-2", "key", "guest-agent-own-jobs"))
	w.ok(login("still", nil)) // the setting is there and off
	w.ok(rows(command.Row{Type: "setting", ID: "setting-1", Fields: command.Object{"on": []byte("true")}}))
	w.refused(fault.SecondFactor, login("none", nil))
	if r := w.do(rotate("weak")); r.Err != nil || !fault.Is(r.Refused, fault.SessionRevoked) {
		t.Fatalf("%+v", r)
	}
	w.refused(fault.SessionRevoked, rotate("weak"))
	w.ok(login("chosen", func(l *command.Login) { l.Enrol = newFactor("one", 5, "r") }))
	w.ok(rotate("chosen"))
	w.ok(login("shown", func(l *command.Login) { l.Factor = &command.FactorUse{Key: keyOf("one"), Step: 6} }))
	w.ok(rotate("shown"))
	w.refused(fault.NotAllowed, &command.Command{Actor: ada, Factor: &command.Factor{Use: &command.FactorUse{Key: keyOf("one"), Step: 7}}})
	// The refusal used no code up.
	w.ok(login("again", func(l *command.Login) { l.Factor = &command.FactorUse{Key: keyOf("one"), Step: 7} }))
	w.ok(login("vouched", func(l *command.Login) {
		l.Credential, l.Identity = "", &command.Identity{Issuer: "https://idp", Subject: "1", Email: "ada@example.com"}
	}))
	w.ok(rotate("vouched"))
}

// TestIdentities: an account is tied to one person, by the verified address
// once and by issuer and subject from then on.
func TestIdentities(t *testing.T) {
	w := field(t)
	w.load(
		row("employee", "emp-twin-1", "name", "Twin", "email", "kim@example.com", "kind", "in-house", "status", "Active"),
		row("employee", "emp-off-1", "name", "Off", "email", "off@example.com", "kind", "in-house", "status", "Disabled"))
	const eve = ident.RecordID("emp-eng-1")
	mail := string(eve) + "@example.com"
	id := func(issuer, subject, email string) *command.Identity {
		return &command.Identity{Issuer: issuer, Subject: subject, Email: email}
	}
	n := 0
	login := func(who ident.RecordID, by *command.Identity) *command.Command {
		n++
		return &command.Command{Login: &command.Login{Employee: who, Identity: by, Session: ident.SessionID([]byte{'i', byte('a' + n)}), First: digest("x")}}
	}
	for what, c := range map[string]*command.Command{
		"nobody's":               login(eve, id("https://idp", "1", "nobody@example.com")),
		"without an address":     login(eve, id("https://idp", "1", "")),
		"another's":              login("emp-eng-2", id("https://idp", "1", mail)),
		"a disabled person's":    login("emp-off-1", id("https://idp", "1", "off@example.com")),
		"folded":                 login("emp-twin-1", id("https://idp", "1", "\u212aim@example.com")),
		"of a record that is no": login("client-one", id("https://idp", "1", mail)),
	} {
		if r := w.do(c); !fault.Is(r.Err, fault.InvalidCredentials) {
			t.Errorf("%s: %v", what, r.Err)
		}
	}
	if got := w.value(eve, "oidcSubject"); got != "" {
		t.Errorf("tied to %q by a refusal", got)
	}
	w.ok(login(eve, id("https://idp", "One", "EMP-Eng-1@Example.COM")))
	if got := w.value(eve, "oidcSubject"); got != "https://idp One" {
		t.Errorf("tied to %q", got)
	}
	w.ok(login(eve, id("https://idp", "One", "")))
	w.ok(login(eve, id("https://idp", "One", "emp-eng-2@example.com")))
	w.refused(fault.InvalidCredentials, login(eve, id("https://idp", "one", "")))
	w.refused(fault.InvalidCredentials, login(eve, id("https://idp", "Two", mail)))
	w.refused(fault.InvalidCredentials, login("emp-eng-2", id("https://idp", "One", "emp-eng-2@example.com")))
	// A company that changes its provider: the address counts once more.
	w.ok(login(eve, id("https://other", "7", mail)))
	w.refused(fault.InvalidCredentials, login(eve, id("https://idp", "Two", "")))
	// Untied by an administrator.
	w.ok(&command.Command{Actor: "emp-ada-1", Forget: &command.Forget{Employee: eve, Identity: true}})
	w.refused(fault.InvalidCredentials, login(eve, id("https://other", "7", "")))
	w.ok(login(eve, id("https://other", "8", mail)))
	w.reader(func(rd *state.Reader) {
		if who, ok := apply.FindIdentity(rd, id("https://other", "8", "")); !ok || who != eve {
			t.Errorf("found %s, %v", who, ok)
		}
	})
	// Of two with one address it is nobody's. There can be two where whoever
	// made the second does not see the first.
	w.load(append(person("emp-ada-2", subject.Administrator),
		row("employee", "emp-staff-1", "name", "Sam", "email", "sam@example.com", "kind", "client-staff", "client", "client-one", "status", "Active"),
		row("clientVisibility", "vis-ada-2", "employee", "emp-ada-2", "mode", "all-but"),
		row("visibilityRule", "rule-ada-2", "visibility", "vis-ada-2", "client", "client-one"))...)
	sam := id("https://idp", "sam", "sam@example.com")
	w.reader(func(rd *state.Reader) {
		if who, ok := apply.FindIdentity(rd, sam); !ok || who != "emp-staff-1" {
			t.Errorf("found %s, %v", who, ok)
		}
	})
	made := w.ok(write("emp-ada-2", command.Write{Op: "create", Type: "employee", Fields: obj("name", "Sam", "email", "Sam@example.com", "kind", "in-house")}))
	w.ok(write("emp-ada-2", command.Write{Op: "action", Type: "employee", ID: made.ID, Action: "enable"}))
	w.refused(fault.InvalidCredentials, login("emp-staff-1", sam))
	w.refused(fault.InvalidCredentials, login(made.ID, sam))
}

// TestResetsAreState: a reset stands beside an invitation, and both end with
// the password.
func TestResetsAreState(t *testing.T) {
	w := field(t)
	const eve = ident.RecordID("emp-eng-1")
	reset := func(tok string) *command.Command {
		return &command.Command{Invite: &command.Invite{Employee: eve, Digest: token(tok), Reset: true}}
	}
	accept := func(tok string) *command.Command {
		return &command.Command{Accept: &command.Accept{Digest: token(tok), Hash: "chosen"}}
	}
	w.refused(fault.WrongStatus, reset("a")) // no password yet: there is nothing to forget
	w.ok(&command.Command{Secret: &command.Secret{Employee: eve, Hash: "h"}})
	by := reset("a")
	by.Actor = "emp-ada-1"
	w.refused(fault.NotAllowed, by)
	w.refused(fault.NotFoundCode, &command.Command{Invite: &command.Invite{Employee: "client-one", Digest: token("a"), Reset: true}})
	w.refused(fault.BadValue, &command.Command{Invite: &command.Invite{Employee: eve, Digest: []byte("a"), Reset: true}})
	w.ok(&command.Command{Actor: "emp-ada-1", Invite: &command.Invite{Employee: eve, Digest: token("invited")}})
	stamp := w.value(eve, "invitedAt")
	var rev []byte
	w.reader(func(rd *state.Reader) { rev = bytes.Clone(rd.Bytes(rd.Ordinal(eve))) })
	r := w.ok(reset("a"))
	if r.Invited == nil || r.Invited.Expires != w.now+apply.ResetLifetime {
		t.Fatalf("%+v", r.Invited)
	}
	w.ok(reset("b"))
	w.refused(fault.InvalidCredentials, accept("a"))
	w.reader(func(rd *state.Reader) {
		if !bytes.Equal(rev, rd.Bytes(rd.Ordinal(eve))) || w.value(eve, "invitedAt") != stamp {
			t.Error("asking for a reset changed the record")
		}
		if _, ok := apply.FindInvitation(rd, token("invited"), w.now); !ok {
			t.Error("asking for a reset ended the invitation")
		}
	})
	w.ok(accept("b"))
	w.refused(fault.InvalidCredentials, accept("invited"))
	w.ok(reset("c"))
	w.now += apply.ResetLifetime
	w.refused(fault.InvalidCredentials, accept("c"))
	w.ok(reset("d"))
	w.ok(write("emp-ada-1", command.Write{Op: "action", Type: "employee", ID: eve, Action: "disable"}))
	w.refused(fault.InvalidCredentials, accept("d"))
	w.refused(fault.WrongStatus, reset("e"))
}
