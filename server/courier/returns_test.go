package courier_test

import (
	"strings"
	"testing"
	"time"

	"satchel/internal/command"
	"satchel/internal/ident"
	tw "satchel/internal/testworld"
	"satchel/server/push"
	"satchel/sync/apply"
	"satchel/sync/tenant"
)

// mailed has the engineer asked for an update and returns the mails sent.
func (w *world) mailed() (n int, back string) {
	w.t.Helper()
	w.does(tw.Staff, "POST", "/v1/helpdesk/tickets/ticket-acme-3/request-update")
	w.send()
	_, ls := w.to.taken()
	for _, l := range ls {
		if l.To == "engineer@example.com" {
			n++
			back = l.Return
		}
	}
	return n, back
}

// confirm has the engineer say that the address takes mail again.
func (w *world) confirm() {
	w.t.Helper()
	w.prefer(tw.Engineer, "mail-address", `"Engineer@example.com"`)
}

func (w *world) mailStatus(who ident.RecordID) (status string, since bool) {
	w.t.Helper()
	w.read(func(v *tenant.View) {
		e, _ := v.Load(who)
		status, since = e.Get("mailStatus").Text(), !e.Get("mailRefusedAt").IsNull()
	})
	return status, since
}

// TestAddressRefused: an address that the server refuses for good is written to
// no more; other channels go on; the person and administrators see it, and
// either of them, or another address, ends it.
func TestAddressRefused(t *testing.T) {
	w := newWorld(t)
	w.phone(tw.Engineer, "one", "token-one")
	refuse := func(to string) push.Outcome {
		if to == "engineer@example.com" {
			return push.Outcome{Kind: push.Dead, Reason: "address_refused"}
		}
		return push.Outcome{Kind: push.Sent}
	}
	w.to.answer = refuse
	if n, _ := w.mailed(); n != 1 {
		t.Fatalf("%d mails", n)
	}
	if s, since := w.mailStatus(tw.Engineer); s != "refused" || !since {
		t.Fatalf("%q %v", s, since)
	}
	w.to.answer = nil
	w.does(tw.Staff, "POST", "/v1/helpdesk/tickets/ticket-acme-3/request-update")
	w.send()
	ps, ls := w.to.taken()
	if len(ps) != 1 {
		t.Errorf("%d pushes", len(ps))
	}
	for _, l := range ls {
		if l.To == "engineer@example.com" {
			t.Errorf("mailed again: %+v", l)
		}
	}
	// Warnings are no exception: nobody would read them there.
	w.DeviceToken(tw.Engineer, "two")
	w.send()
	if _, ls := w.to.taken(); len(ls) != 0 {
		t.Errorf("%+v", ls)
	}
	same(t, "left", w.backlog())
	for _, who := range []ident.RecordID{tw.Engineer, tw.Admin} {
		e := w.HTTP(who, "GET", "/v1/admin/employees/"+string(tw.Engineer), nil).Want(t, 200, "").Object(t)
		if e["mailStatus"] != "refused" || e["mailRefusedAt"] == nil {
			t.Errorf("%s sees %v", who, e)
		}
	}
	// A colleague does not see it, and nobody writes it by hand.
	if e := w.HTTP(tw.Onsite, "GET", "/v1/admin/employees/"+string(tw.Engineer), nil); e.Status == 200 && strings.Contains(string(e.Body), "mail") {
		t.Errorf("%s", e.Body)
	}
	w.HTTP(tw.Admin, "PATCH", "/v1/admin/employees/"+string(tw.Engineer), tw.Object("mailStatus", nil)).Want(t, 422, "read_only_field")
	w.HTTP(tw.Staff, "POST", "/v1/admin/employees/"+string(tw.Engineer)+"/confirm-mail", tw.Object()).Want(t, 403, "not_allowed")

	for _, mend := range []struct {
		name string
		do   func()
	}{
		{"the person", func() { w.confirm() }},
		{"an administrator", func() { w.does(tw.Admin, "POST", "/v1/admin/employees/"+string(tw.Engineer)+"/confirm-mail") }},
		{"another address", func() {
			w.does(tw.Admin, "PATCH", "/v1/admin/employees/"+string(tw.Engineer), "email", "other@example.com")
		}},
	} {
		mend.do()
		if s, since := w.mailStatus(tw.Engineer); s != "" || since {
			t.Errorf("%s: %q %v", mend.name, s, since)
		}
		if mend.name == "another address" {
			break
		}
		w.to.answer = refuse
		if n, _ := w.mailed(); n != 1 {
			t.Errorf("%s: %d mails", mend.name, n)
		}
		w.to.answer = nil
	}
	// What was on its way to the former address says nothing of the other.
	w.Do(&command.Command{Deliver: &command.Deliver{Bounces: []command.Bounce{
		{Person: tw.Engineer, Address: apply.AddressDigest("engineer@example.com"), Mail: "x", Permanent: true},
		{Person: "never-there", Address: apply.AddressDigest("other@example.com"), Mail: "x", Permanent: true},
		{Person: tw.Acme, Address: apply.AddressDigest("other@example.com"), Mail: "x", Permanent: true},
	}}})
	if s, _ := w.mailStatus(tw.Engineer); s != "" {
		t.Error("a late report of another address counts")
	}
}

// TestReturned: a mail's own address leads back to its person, and to nobody
// else's; it can't be made, changed or kept.
func TestReturned(t *testing.T) {
	w := newWorld(t)
	_, back := w.mailed()
	local, domain, _ := strings.Cut(back, "@")
	if domain != "bounces.example.com" || len(local) > 64 || !strings.HasPrefix(local, "bounce+") || strings.ToLower(back) != back || strings.Contains(back, "engineer") {
		t.Fatalf("%q", back)
	}
	_, other := w.mailed()
	if other == back {
		t.Error("two mails have one address")
	}
	if !w.back.Knows(back) || !w.back.Knows(strings.ToUpper(back)) {
		t.Error("it is not known")
	}
	flip := func(i int) string {
		b := []byte(back)
		b[i] = map[bool]byte{true: 'b', false: 'a'}[b[i] == 'a']
		return string(b)
	}
	for _, forged := range []string{
		"", "bounce+", "bounce+@bounces.example.com", "bounce+" + strings.Repeat("a", 56) + "@bounces.example.com", local,
		local + "@example.com", local + "a@bounces.example.com", strings.Replace(back, "bounce+", "", 1), flip(8), flip(30), flip(33), flip(60),
	} {
		if w.back.Knows(forged) {
			t.Errorf("%q is known", forged)
		}
		if err := w.back.Take(t.Context(), forged, true); err != nil {
			t.Error(err)
		}
	}
	if s, _ := w.mailStatus(tw.Engineer); s != "" {
		t.Fatal("a forged address counts")
	}
	// Full mailboxes count up to a limit, each mail once.
	for i := range apply.BouncesTaken {
		if s, _ := w.mailStatus(tw.Engineer); s != "" {
			t.Fatalf("refused after %d", i)
		}
		for range 3 {
			if err := w.back.Take(t.Context(), back, false); err != nil {
				t.Fatal(err)
			}
		}
		w.Advance(24 * time.Hour)
		if i+1 < apply.BouncesTaken {
			_, back = w.mailed()
		}
	}
	if s, _ := w.mailStatus(tw.Engineer); s != "refused" {
		t.Error("full for good and written to still")
	}
	w.confirm()
	n, back := w.mailed()
	if n != 1 {
		t.Fatalf("%d mails", n)
	}
	if err := w.back.Take(t.Context(), strings.ToUpper(back), true); err != nil {
		t.Fatal(err)
	}
	if s, _ := w.mailStatus(tw.Engineer); s != "refused" {
		t.Error("a hard bounce does not count")
	}
	w.confirm()
	_, back = w.mailed()
	w.Advance(16 * 24 * time.Hour)
	if w.back.Knows(back) {
		t.Error("it is known for ever")
	}
}

// TestSoftBouncesAge: what came back long ago does not count, and is forgotten.
func TestSoftBouncesAge(t *testing.T) {
	w := newWorld(t)
	for range 3 * apply.BouncesTaken {
		_, back := w.mailed()
		if err := w.back.Take(t.Context(), back, false); err != nil {
			t.Fatal(err)
		}
		w.Advance(2 * 24 * time.Hour)
	}
	if s, _ := w.mailStatus(tw.Engineer); s != "" {
		t.Error("one every other day is taken for none at all")
	}
}

// TestDigestsComeBack: a digest has an address of its own too, the same after a
// crash.
func TestDigestsComeBack(t *testing.T) {
	w := newWorld(t)
	w.prefer(tw.Engineer, "mail", "digest")
	w.does(tw.Staff, "POST", "/v1/helpdesk/tickets/ticket-acme-3/request-update")
	w.Advance(24 * time.Hour)
	w.c.Die(t.Context())
	_, first := w.to.taken()
	w.c = w.courier()
	w.send()
	_, again := w.to.taken()
	if len(first) != 1 || len(again) != 1 || first[0].Return == "" || first[0].Return != again[0].Return || first[0].Key != again[0].Key {
		t.Errorf("%+v\n%+v", first, again)
	}
}

// invitee makes an invitation whose token goes out by mail.
func (w *world) invitee(who ident.RecordID, nonce string, reset bool) {
	w.t.Helper()
	c := &command.Command{Invite: &command.Invite{Employee: who, Nonce: []byte(nonce), Reset: reset, Digest: w.links.Digest(tw.Slug, who, []byte(nonce))}}
	if r := w.Do(c); r.Err != nil || !r.Invited.Mailed {
		w.t.Fatalf("%+v", r)
	}
}

// TestTokens: a mail with a token is as durable as what it is for, is the same
// letter after a crash, and is not sent once it is of no use.
func TestTokens(t *testing.T) {
	const one, two, three = "nonce-number-one", "nonce-number-two", "nonce-number-six"
	w := newWorld(t)
	w.prefer(tw.Engineer, "mail", "off")
	w.prefer(tw.Engineer, "quiet-hours", `{"from":"00:00","to":"23:59"}`)
	w.prefer(tw.Engineer, "language", `"de"`)
	w.invitee(tw.Engineer, one, true)
	w.c.Die(t.Context())
	_, first := w.to.taken()
	w.c = w.courier()
	w.send()
	_, again := w.to.taken()
	if len(first) != 1 || len(again) != 1 || first[0] != again[0] || first[0].To != "engineer@example.com" || first[0].Unsubscribe != "" {
		t.Fatalf("%+v\n%+v", first, again)
	}
	if link := w.link(one); !strings.Contains(first[0].Text, link) || strings.Contains(first[0].Text, one) {
		t.Errorf("%s", first[0].Text)
	}
	if !strings.Contains(first[0].Subject, "Passwort") {
		t.Errorf("subject %q", first[0].Subject)
	}
	same(t, "left", w.backlog())

	// One that is followed by another is not sent, nor one that was used.
	w.invitee(tw.Engineer, one, true)
	w.invitee(tw.Engineer, two, true)
	w.send()
	if _, ls := w.to.taken(); len(ls) != 1 || !strings.Contains(ls[0].Text, w.link(two)) {
		t.Errorf("%d letters", len(ls))
	}
	w.invitee(tw.Engineer, three, false)
	w.Do(&command.Command{Accept: &command.Accept{Digest: w.links.Digest(tw.Slug, tw.Engineer, []byte(three)), Hash: "h"}})
	w.send()
	if _, ls := w.to.taken(); len(ls) != 0 {
		t.Errorf("%+v", ls)
	}
	// One that is over is not tried any more; until then it is.
	w.to.answer = func(string) push.Outcome { return push.Outcome{Kind: push.Retry} }
	w.Do(&command.Command{Secret: &command.Secret{Employee: tw.Engineer, Hash: "h"}})
	w.invitee(tw.Engineer, one, true)
	for range 3 {
		w.send()
		w.Advance(10 * time.Minute)
	}
	if _, ls := w.to.taken(); len(ls) != 3 || ls[2].Attempt != 2 {
		t.Errorf("%d attempts", len(ls))
	}
	w.Advance(time.Hour)
	w.send()
	if _, ls := w.to.taken(); len(ls) != 0 {
		t.Errorf("%d attempts after its end", len(ls))
	}
	same(t, "left", w.backlog())

	// Somebody who is not active yet is sent an invitation, but not to an address
	// that takes no mail.
	w.to.answer = nil
	w.Import(tw.Row("employee", "emp-fresh-1", "name", "Fresh", "email", "fresh@example.com", "kind", "in-house", "status", "Invited"))
	w.invitee("emp-fresh-1", one, false)
	w.send()
	if _, ls := w.to.taken(); len(ls) != 1 || ls[0].To != "fresh@example.com" {
		t.Errorf("%+v", ls)
	}
	w.invitee("emp-fresh-1", two, false)
	w.Do(&command.Command{Deliver: &command.Deliver{Bounces: []command.Bounce{
		{Person: "emp-fresh-1", Address: apply.AddressDigest("FRESH@example.com "), Mail: "x", Permanent: true},
	}}})
	w.send()
	if _, ls := w.to.taken(); len(ls) != 0 {
		t.Errorf("%+v", ls)
	}
	r := w.Do(&command.Command{Invite: &command.Invite{Employee: "emp-fresh-1", Nonce: []byte(three), Digest: w.links.Digest(tw.Slug, "emp-fresh-1", []byte(three))}})
	if r.Err != nil || r.Invited.Mailed {
		t.Errorf("%+v", r)
	}
	same(t, "left", w.backlog())
}

// link is the engineer's, of an invitation with a nonce.
func (w *world) link(nonce string) string {
	w.t.Helper()
	link, ok := w.links.Link(tw.Slug, tw.Engineer, []byte(nonce), func([]byte) bool { return true })
	if !ok {
		w.t.Fatal("no link")
	}
	return link
}

// TestAnotherKey: what stands in mails that were sent under a key is good while
// that key is among those that count, and for nothing afterwards; a letter that was
// promised under it is sent.
func TestAnotherKey(t *testing.T) {
	const nonce = "nonce-number-one"
	older, newer := [32]byte{7}, [32]byte{8}
	rekey := func(w *world, keys ...[32]byte) {
		w.back.Rekey(keys)
		w.off.Rekey(keys)
		w.links.Rekey(keys)
	}
	w := newWorld(t)
	n, back := w.mailed()
	if n != 1 {
		t.Fatalf("%d mails", n)
	}
	w.invitee(tw.Engineer, nonce, true)
	link := w.link(nonce)
	rekey(w, newer, older)
	w.send()
	if _, ls := w.to.taken(); len(ls) != 1 || !strings.Contains(ls[0].Text, link) {
		t.Errorf("promised before: %+v", ls)
	}
	if n, other := w.mailed(); n != 1 || other == back || !w.back.Knows(other) {
		t.Errorf("%d mails, %s", n, other)
	}
	w.Advance(14 * 24 * time.Hour)
	if err := w.back.Take(t.Context(), back, true); err != nil {
		t.Fatal(err)
	}
	if s, _ := w.mailStatus(tw.Engineer); s != "refused" {
		t.Errorf("%q: two weeks after it was sent under the older key", s)
	}
	rekey(w, newer)
	if w.back.Knows(back) {
		t.Error("known although its key is gone")
	}
	w.invitee(tw.Staff, "nonce-number-two", true)
	rekey(w, older)
	w.send()
	if _, ls := w.to.taken(); len(ls) != 0 {
		t.Errorf("a letter whose key is gone: %+v", ls)
	}
}

// TestCarrierRefusesAll: a relay's own trouble costs nobody anything; the mail
// goes once it is over.
func TestCarrierRefusesAll(t *testing.T) {
	w := newWorld(t)
	w.to.answer = func(string) push.Outcome {
		return push.Outcome{Kind: push.Retry, Carrier: true, After: 10 * time.Minute, Reason: "relay_refuses"}
	}
	if n, _ := w.mailed(); n != 1 {
		t.Fatalf("%d mails", n)
	}
	w.to.mu.Lock()
	seen := strings.Join(w.seen, ",")
	w.to.mu.Unlock()
	if s, _ := w.mailStatus(tw.Engineer); s != "" || !strings.Contains(seen, "mail refused-by-carrier") || strings.Contains(seen, "mail retry") {
		t.Errorf("%q, %s", s, seen)
	}
	w.to.answer = nil
	w.Advance(10 * time.Minute)
	w.send()
	if _, ls := w.to.taken(); len(ls) != 1 {
		t.Errorf("%+v", ls)
	}
}
