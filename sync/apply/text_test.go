package apply_test

import (
	"encoding/json"
	"testing"

	"satchel/internal/command"
	"satchel/internal/fault"
	"satchel/sync/apply"
	"satchel/sync/wire"
)

// pretender is a name that reads backwards from its middle.
const pretender = "Ada \u202eretniW"

// TestNamesThatPretend: a name with characters that turn its direction is
// refused however it comes, and said to be so; a person's own script is not.
func TestNamesThatPretend(t *testing.T) {
	w := field(t)
	p := w.signIn("emp-mgr-1", "i1")
	edit := func(name string) *command.Command {
		return write("emp-mgr-1", command.Write{Op: "patch", Type: "client", ID: "client-one", Fields: obj("name", name)})
	}
	for _, name := range []string{pretender, "a\u2066b", "a\u0085b", "a\u007fb", "a\u2028b"} {
		r := w.do(edit(name))
		if f := fault.Of(r.Err); f == nil || f.Code != fault.BadValue || f.Field != "name" {
			t.Errorf("%+q: %v", name, r.Err)
		}
		want(t, p.push(patch("client", "client-one", obj("name", name), obj("name", w.value("client-one", "name"))))[0], wire.Refused, fault.BadValue)
		if c := w.ok(rows(row("client", "client-one", "name", name))).Count; len(c.Rejected) != 1 || !fault.Is(c.Rejected[0].Err, fault.BadValue) {
			t.Errorf("%+q is imported: %+v", name, c)
		}
	}
	const arabic = "\u0634\u0631\u0643\u0629 (\u0646\u0648\u0631)\u200f"
	w.ok(edit(arabic))
	if got := w.value("client-one", "name"); got != arabic {
		t.Errorf("%+q", got)
	}
	gaveUp := p.cmd()
	gaveUp.Discard = &command.Discard{Reason: pretender}
	if r := w.do(gaveUp); !fault.Is(r.Err, fault.BadValue) {
		t.Errorf("a reason that pretends: %v", r.Err)
	}
}

// TestOldNamesStay: a record that holds such a name from before is edited as
// any other; the name can be sent along, be changed, and not come anew.
func TestOldNamesStay(t *testing.T) {
	w := newWorld(t)
	const ada = "emp-ada-1"
	w.ok(&command.Command{Setup: &command.Setup{Name: pretender, Email: "ada@example.com", Employee: ada, Hash: "x", Secret: []byte("0123456789abcdef")}})
	if got := w.value(ada, "name"); got != pretender {
		t.Fatalf("%+q: the world has no old name", got)
	}
	p := w.signIn(ada, "i1")
	edit := func(kv ...string) *command.Command {
		return write(ada, command.Write{Op: "patch", App: "admin", Type: "employee", ID: ada, Fields: obj(kv...)})
	}
	w.ok(edit("phone", "1"))
	w.ok(edit("phone", "2", "name", pretender))
	w.load(row("employee", ada, "phone", "3", "name", pretender))
	w.refused(fault.BadValue, edit("name", pretender+"!"))
	want(t, p.push(patch("employee", ada, obj("phone", "4"), obj("phone", "3", "name", pretender)))[0], wire.Applied, "")
	// A phone says what it changed: that it was such a name is no conflict.
	want(t, p.push(patch("employee", ada, obj("name", "Ada"), obj("name", pretender)))[0], wire.Applied, "")
	if got := w.value(ada, "name"); got != "Ada" {
		t.Errorf("%+q", got)
	}
	w.refused(fault.BadValue, edit("name", pretender))
}

// TestOldSetsStay likewise, of members.
func TestOldSetsStay(t *testing.T) {
	w := field(t)
	raw := func(v any) json.RawMessage {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	phones := func(v any) command.Object { return command.Object{"phones": raw(v)} }
	edit := func(v any) *command.Command {
		return write("emp-mgr-1", command.Write{Op: "patch", Type: "client", ID: "client-one", Fields: phones(v)})
	}
	const odd = "1\u202e2"
	w.ok(edit([]string{"1", "2"}))
	w.refused(fault.BadValue, edit([]string{"1", "2", odd}))
	w.refused(fault.BadValue, edit(map[string]any{"add": []string{odd}}))
	w.ok(edit(map[string]any{"remove": []string{odd, "2"}}))
	p := w.signIn("emp-mgr-1", "i1")
	want(t, p.push(patch("client", "client-one", phones([]string{"3", odd}), phones([]string{"1", odd})))[0], wire.Refused, fault.BadValue)
	want(t, p.push(patch("client", "client-one", phones([]string{"3"}), phones([]string{"1", odd})))[0], wire.Applied, "")
}

// TestDeviceNames: a system that sets marks around the name of a phone does not
// keep its user out; the name is kept without them.
func TestDeviceNames(t *testing.T) {
	w := field(t)
	w.ok(&command.Command{Secret: &command.Secret{Employee: "emp-eng-1", Hash: "h"}})
	r := w.ok(&command.Command{Login: &command.Login{
		Employee: "emp-eng-1", Credential: apply.CredentialDigest("h"), Session: "s1", Prefix: "dabcdefgh",
		Device: &command.Device{Installation: "i1", Incarnation: "c1", Name: "\u2068Eng\u2069's phone", Platform: "x\u202ey"},
	}})
	if got := w.value(r.Login.Device, "name") + "/" + w.value(r.Login.Device, "platform"); got != "Eng's phone/xy" {
		t.Errorf("%+q", got)
	}
}
