package courier_test

import (
	"fmt"
	"testing"

	"satchel/internal/command"
	"satchel/internal/ident"
	tw "satchel/internal/testworld"
	"satchel/sync/apply"
)

// news gives the engineer a visit and returns to which tokens word of it went.
func (w *world) news(n int) []string {
	w.t.Helper()
	id := ident.RecordID(fmt.Sprintf("act-word-%d", n))
	w.Import(tw.Row("jobActivity", id, "job", "job-acme-1", "title", "Visit"))
	w.assign(string(id), tw.Engineer)
	return w.told()
}

// TestFormerUser: word for somebody never reaches a phone that somebody else
// uses by now, whether that is told by the phone or by the token.
func TestFormerUser(t *testing.T) {
	for _, c := range []struct{ name, installation, token string }{
		{"the same phone and token", "one", "token-one"},
		{"the same phone, a new token", "one", "token-two"},
		{"the token, from another installation", "two", "token-one"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.phone(tw.Engineer, "one", "token-one")
			same(t, "to the engineer's own", w.news(1), "token-one")
			w.Do(&command.Command{Login: &command.Login{
				Employee: tw.Onsite, Credential: apply.CredentialDigest("hash of " + string(tw.Onsite)), Session: "s-next", Prefix: "dnextuser",
				Device: &command.Device{Installation: c.installation, Incarnation: "1", PushToken: c.token},
			}})
			same(t, "to the phone's next user", w.news(2))
			same(t, "left", w.backlog())
		})
	}
}

// TestLiveDevices: a device that is live hears by its socket and is not pushed
// to; the person's other one is, and the first again once it is not live.
func TestLiveDevices(t *testing.T) {
	w := newWorld(t)
	one := w.phone(tw.Engineer, "one", "token-one")
	w.phone(tw.Engineer, "two", "token-two")
	live := w.Tenant.Join("s", one, tw.Engineer)
	same(t, "while it is live", w.news(1), "token-two")
	w.Tenant.Part(live)
	same(t, "afterwards", w.news(2), "token-one", "token-two")
	same(t, "left", w.backlog())
}
