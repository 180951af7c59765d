package apply_test

import (
	"crypto/sha256"
	"testing"

	"satchel/internal/command"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/sync/apply"
	"satchel/sync/state"
)

func token(s string) []byte {
	d := sha256.Sum256([]byte(s))
	return d[:]
}

// TestInvitationsAreState: what an invitation is worth is judged when it is
// used, in the order of the log.
func TestInvitationsAreState(t *testing.T) {
	w := field(t)
	invite := func(who ident.RecordID, tok string) *command.Command {
		return &command.Command{Actor: "emp-ada-1", Invite: &command.Invite{Employee: who, Digest: token(tok)}}
	}
	accept := func(tok string) *command.Command {
		return &command.Command{Accept: &command.Accept{Digest: token(tok), Hash: "chosen"}}
	}
	r := w.ok(invite("emp-eng-1", "a"))
	if r.Invited == nil || r.Invited.Employee != "emp-eng-1" || r.Invited.Expires != w.now+apply.InvitationLifetime {
		t.Fatalf("%+v", r.Invited)
	}
	// In one entry the first alone is let in, and what came before counts.
	res := w.entry(invite("emp-eng-1", "b"), accept("a"), accept("b"), accept("b"))
	for i, code := range []fault.Code{"", fault.InvalidCredentials, "", fault.InvalidCredentials} {
		if code == "" && res[i].Err != nil || code != "" && !fault.Is(res[i].Err, code) {
			t.Errorf("command %d: %v, want %q", i, res[i].Err, code)
		}
	}
	// Over at the very instant.
	w.ok(invite("emp-eng-1", "c"))
	w.now += apply.InvitationLifetime - 1000
	w.refused(fault.InvalidCredentials, accept("c"))
	w.ok(invite("emp-eng-1", "d"))
	w.now += apply.InvitationLifetime - 1001
	w.ok(accept("d"))
	// What the edge would never send.
	w.refused(fault.BadValue, &command.Command{Invite: &command.Invite{Employee: "emp-eng-1", Digest: []byte("short")}})
	w.refused(fault.NotFoundCode, &command.Command{Invite: &command.Invite{Employee: "client-one", Digest: token("x")}})
	w.ok(invite("emp-eng-1", "e"))
	w.refused(fault.InvalidCredentials, &command.Command{Accept: &command.Accept{Digest: token("e")}})
	w.refused(fault.InvalidCredentials, &command.Command{Accept: &command.Accept{Hash: "chosen"}})
	w.reader(func(rd *state.Reader) {
		if _, ok := apply.FindInvitation(rd, token("e"), w.now); !ok {
			t.Error("a refused acceptance used the invitation up")
		}
	})
}
