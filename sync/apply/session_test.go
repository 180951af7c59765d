package apply_test

import (
	"bytes"
	"path/filepath"
	"testing"

	"satchel/internal/command"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/internal/refresh"
	"satchel/sync/apply"
	"satchel/sync/state"
	"satchel/sync/store"
	"satchel/sync/wire"
)

func digest(s string) refresh.Digest { return refresh.Hash(s) }

func TestDevices(t *testing.T) {
	w := field(t)
	a := w.signIn("emp-eng-1", "i1")
	b := w.signIn("emp-eng-2", "i1")
	if a.id == b.id || a.pre == b.pre {
		t.Fatal("one installation joined two principals' devices")
	}
	again := w.login("emp-eng-1", "i1")
	if again.id != a.id || again.pre != a.pre {
		t.Fatal("a known installation got another device")
	}
	// The older session of the device is over; its sockets close.
	w.refused(fault.SessionRevoked, a.pulling(command.Pull{}))
	w.ok(again.pulling(command.Pull{}))
	// A restored store is another device, and starts from nothing.
	c := &command.Command{Login: &command.Login{
		Employee: "emp-eng-1", Credential: apply.CredentialDigest("h"), Session: "s9", Prefix: again.pre,
		Device: &command.Device{Installation: "i1", Incarnation: "c2"},
	}}
	r := w.ok(c)
	if r.Login.Device == a.id || r.Login.Prefix == a.pre {
		t.Fatal("an incarnation shares device or prefix with another")
	}
	// A session is no other device's.
	x := again.pulling(command.Pull{})
	x.Device = b.id
	w.refused(fault.SessionRevoked, x)
	x = again.pulling(command.Pull{})
	x.Actor = "emp-eng-2"
	w.refused(fault.SessionRevoked, x)
	// A checkpoint is no other device's: it counts as unknown.
	again.sync()
	b.sync()
	b.cp = again.cp
	if pg := b.pull(); !pg.Reset {
		t.Fatal("another device's checkpoint was taken")
	}
}

func TestBadDevices(t *testing.T) {
	w := field(t)
	w.ok(&command.Command{Secret: &command.Secret{Employee: "emp-eng-1", Hash: "h"}})
	for _, d := range []command.Device{
		{},
		{Installation: "i1"},
		{Installation: "i\x00c1", Incarnation: "x"},
		{Installation: string(make([]byte, 40_000)), Incarnation: "x"},
		{Installation: "i", Incarnation: "x", Name: "two\nlines"},
		{Installation: "i", Incarnation: "x", PushToken: string(make([]byte, 5000))},
	} {
		w.refused(fault.BadValue, &command.Command{Login: &command.Login{Employee: "emp-eng-1", Credential: apply.CredentialDigest("h"), Session: "s1", Device: &d}})
	}
}

func TestRevokedDevice(t *testing.T) {
	w := field(t)
	p := w.signIn("emp-eng-1", "i1")
	p.sync()
	res := w.entry(write("emp-ada-1", command.Write{Op: "action", Type: "device", ID: p.id, Action: "revoke"}), p.pulling(command.Pull{}),
		p.pushing(act("jobActivity", "act-one-1", "accept", nil)))
	if res[0].Err != nil {
		t.Fatal(res[0].Err)
	}
	for _, r := range res[1:] {
		if !fault.Is(r.Err, fault.DeviceRevoked) || fault.Of(r.Err).Extra["wipe"] != true {
			t.Fatalf("a revoked device was told %v", r.Err)
		}
	}
	// At its next contact too, whatever it tries.
	w.refused(fault.DeviceRevoked, &command.Command{Refresh: &command.Refresh{Session: p.sess, Attempt: refresh.Attempt{Presented: digest("t"), Successor: digest("u")}}})
	w.refused(fault.DeviceRevoked, &command.Command{Login: &command.Login{Employee: "emp-eng-1", Credential: apply.CredentialDigest("h"), Session: "s2", Device: &command.Device{Installation: "i1", Incarnation: "c1"}}})
	// Much later as well: its session is not swept.
	for range 3 {
		w.now += int64ms(400)
		w.ok(&command.Command{Tick: &command.Tick{}})
	}
	w.refused(fault.DeviceRevoked, p.pulling(command.Pull{}))
}

func int64ms(days int) ident.Millis { return ident.Millis(days) * 24 * 60 * 60 * 1000 }

func TestSessions(t *testing.T) {
	w := field(t)
	w.ok(&command.Command{Secret: &command.Secret{Employee: "emp-eng-1", Hash: "h"}})
	login := func(credential, session string) *command.Command {
		return &command.Command{Login: &command.Login{Employee: "emp-eng-1", Credential: apply.CredentialDigest(credential), Session: ident.SessionID(session), First: digest("t0")}}
	}
	w.refused(fault.InvalidCredentials, login("old", "s1"))
	w.ok(login("h", "s1"))
	rotate := func(token, next, nonce string) *command.Command {
		return &command.Command{Refresh: &command.Refresh{Session: "s1", Attempt: refresh.Attempt{Presented: digest(token), Issued: true, Nonce: nonce, Successor: digest(next)}}}
	}
	w.ok(rotate("t0", "t1", "n"))
	w.ok(rotate("t0", "t1", "n")) // its answer was lost
	w.ok(rotate("t1", "t2", "m"))
	asks := &command.Command{Actor: "emp-eng-1", Session: "s1", Write: &command.Write{Op: "create", Type: "preference", Fields: obj("owner", "emp-eng-1", "key", "k")}}
	w.ok(asks)
	// Reuse ends the session, durably, though it is answered by a refusal.
	if r := w.do(rotate("t0", "t1", "thief")); r.Err != nil || !fault.Is(r.Refused, fault.SessionRevoked) {
		t.Fatalf("%+v", r)
	}
	w.refused(fault.SessionRevoked, asks)
	w.refused(fault.SessionRevoked, rotate("t2", "t3", "x"))
	// A new password, and being disabled, end all sessions.
	w.ok(login("h", "s2"))
	asks.Session = "s2"
	w.ok(asks)
	w.ok(&command.Command{Actor: "emp-eng-1", Session: "s2", Secret: &command.Secret{Employee: "emp-eng-1", Hash: "h2"}})
	w.refused(fault.SessionRevoked, asks)
	w.ok(login("h2", "s3"))
	asks.Session = "s3"
	w.ok(asks)
	w.ok(write("emp-ada-1", command.Write{Op: "action", Type: "employee", ID: "emp-eng-1", Action: "disable"}))
	w.refused(fault.SessionRevoked, asks)
	w.ok(write("emp-ada-1", command.Write{Op: "action", Type: "employee", ID: "emp-eng-1", Action: "enable"}))
	w.refused(fault.SessionRevoked, asks)
	// Nobody sets another's password, or ends another's session.
	w.refused(fault.NotAllowed, &command.Command{Actor: "emp-mgr-1", Secret: &command.Secret{Employee: "emp-eng-1", Hash: "x"}})
	w.ok(login("h2", "s4"))
	w.refused(fault.SessionRevoked, &command.Command{Actor: "emp-mgr-1", Logout: &command.Logout{Session: "s4"}})
	// It is over after its time, and forgotten some time after that.
	asks.Session = "s4"
	w.now += apply.SessionIdle
	w.refused(fault.SessionRevoked, asks)
	count := func() (n int) {
		w.reader(func(rd *state.Reader) {
			rd.KV().Scan(store.Sessions, nil, func(_, _ []byte) bool { n++; return true })
			rd.KV().Scan(store.Keys, nil, func(_, _ []byte) bool { n++; return true })
		})
		return n
	}
	keyed := write("emp-mgr-1", command.Write{Op: "create", Type: "job", Fields: obj("client", "client-one", "title", "x"), Key: "k", KeyHash: []byte("h")})
	w.ok(keyed)
	if count() == 0 {
		t.Fatal("nothing to sweep")
	}
	w.now += apply.SessionLifetime + int64ms(31)
	w.ok(&command.Command{Tick: &command.Tick{}})
	if n := count(); n != 0 {
		t.Fatalf("%d rows of sessions and keys are never swept", n)
	}
	if r := w.ok(keyed); r.Replayed {
		t.Fatal("a key is remembered for ever")
	}
}

// TestRefusedLogin: a sign-in that fails late leaves no device behind.
func TestRefusedLogin(t *testing.T) {
	w := field(t)
	w.ok(&command.Command{Secret: &command.Secret{Employee: "emp-eng-1", Hash: "h"}})
	var before, after []byte
	w.reader(func(rd *state.Reader) { before = dump(rd.KV()) })
	w.refused(fault.BadValue, &command.Command{Login: &command.Login{
		Employee: "emp-eng-1", Credential: apply.CredentialDigest("h"), Session: "s1", Rehash: "h3",
		Device: &command.Device{Installation: "i1", Incarnation: "c1", Name: string(make([]byte, 300))},
	}})
	w.reader(func(rd *state.Reader) { after = dump(rd.KV()) })
	if len(before) != len(after) {
		t.Fatal("a refused sign-in left something")
	}
}

// TestResultsOutliveTheStore: what a result tells was copied out of the store's
// pages, which are gone or reused once the entry is committed.
func TestResultsOutliveTheStore(t *testing.T) {
	eng, err := store.OpenBolt(filepath.Join(t.TempDir(), "t.db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer eng.Close()
	w := fieldOn(t, eng)
	w.load(row("jobActivity", "act-one-1", "note", "office"))
	p := w.signIn("emp-eng-1", "i1")
	r := p.push(patch("jobActivity", "act-one-1", obj("note", "phone"), obj("note", "")))[0]
	want(t, r, wire.Conflict, fault.EditConflict)
	theirs := r.Conflicts[0].Theirs
	if cap(theirs) > 64 { // a slice of a page has the rest of the page behind it
		t.Fatalf("the value lies in the store: capacity %d", cap(theirs))
	}
	if !bytes.Equal(theirs, []byte(`"office"`)) {
		t.Fatalf("%s", theirs)
	}
}

// TestDamaged: a command that meets rows this program can't have written is
// not refused like any other; it must stop the tenant.
func TestDamaged(t *testing.T) {
	w := field(t)
	p := w.signIn("emp-eng-1", "i1")
	var ord ident.Ordinal
	w.reader(func(rd *state.Reader) { ord = rd.Ordinal("act-one-1") })
	if err := w.eng.Update(func(tx store.Writer) error {
		return tx.Put(store.Records, []byte{byte(ord >> 24), byte(ord >> 16), byte(ord >> 8), byte(ord)}, []byte{9, 9, 9})
	}); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]*command.Command{"push": p.pushing(act("jobActivity", "act-one-1", "accept", nil)), "pull": p.pulling(command.Pull{})} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if r := recover(); !apply.Damaged(r) {
					t.Fatalf("recovered %v", r)
				}
			}()
			w.do(c)
		})
		break // the log is halted from then on
	}
}
