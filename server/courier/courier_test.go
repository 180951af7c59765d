package courier_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	"satchel/internal/command"
	"satchel/internal/entity"
	"satchel/internal/ident"
	tw "satchel/internal/testworld"
	"satchel/server/courier"
	"satchel/server/edge"
	"satchel/server/push"
	"satchel/server/rest"
	"satchel/server/session"
	"satchel/server/suite"
	"satchel/server/syncapi"
	"satchel/sync/apply"
	"satchel/sync/outbox"
	"satchel/sync/tenant"
)

// carrier takes pushes and letters and answers as it is told.
type carrier struct {
	mu      sync.Mutex
	pushes  []courier.Push
	letters []courier.Letter
	// answer is for letters and for pushes that are word of something; nil:
	// everything is taken.
	answer func(to string) push.Outcome
}

func (c *carrier) Push(_ context.Context, ms []courier.Push) (out []push.Outcome) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range ms {
		c.pushes = append(c.pushes, m)
		if m.Category == outbox.Sync {
			out = append(out, push.Outcome{Kind: push.Sent})
			continue
		}
		out = append(out, c.outcome(m.Token))
	}
	return out
}

func (c *carrier) Mail(_ context.Context, l courier.Letter) push.Outcome {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.letters = append(c.letters, l)
	return c.outcome(l.To)
}

func (c *carrier) outcome(to string) push.Outcome {
	if c.answer == nil {
		return push.Outcome{Kind: push.Sent}
	}
	return c.answer(to)
}

// taken returns what came and forgets it.
func (c *carrier) taken() (ps []courier.Push, ls []courier.Letter) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ps, ls = c.pushes, c.letters
	c.pushes, c.letters = nil, nil
	return ps, ls
}

type world struct {
	*tw.World
	t     *testing.T
	to    *carrier
	c     *courier.Courier
	seen  []string // what was observed, under to.mu
	rules *outbox.Rules
	off   *courier.Unsubscriber
	back  *courier.Returns
	links *session.Links
}

// here are the world's tenant, and one that can't be opened.
type here struct{ edge.Tenants }

func (h here) List() ([]ident.TenantID, error) { return []ident.TenantID{"another", tw.Slug}, nil }

func newWorld(t *testing.T) *world {
	t.Helper()
	all, err := suite.Load()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, to: &carrier{}, rules: all.Rules}
	w.World = tw.New(t, func(app *fiber.App, auth *edge.Auth, cat *entity.Catalogue) {
		(&syncapi.Server{Auth: auth}).Mount(app)
		if _, err := rest.Mount(app, auth, cat, rest.Options{CursorKey: [32]byte{1}}); err != nil {
			t.Fatal(err)
		}
		w.off = courier.NewUnsubscriber([32]byte{7}, "https://satchel.example/", auth.Tenants)
		w.off.Mount(app)
		w.back = courier.NewReturns([32]byte{7}, "bounces.example.com", here{auth.Tenants}, func() time.Time { return w.Clock() })
		w.links = session.NewLinks([32]byte{7}, "https://satchel.example")
	})
	w.c = w.courier()
	return w
}

func (w *world) courier() *courier.Courier {
	return courier.New(courier.Options{
		Tenant: w.Tenant, Rules: w.rules, Pusher: w.to, Mailer: w.to, Unsubscribe: w.off, Returns: w.back, Links: w.links,
		Observe: func(ch, out string) {
			w.to.mu.Lock()
			defer w.to.mu.Unlock()
			w.seen = append(w.seen, ch+" "+out)
		},
	})
}

// phone signs somebody in with a device that has the token.
func (w *world) phone(who ident.RecordID, installation, token string) ident.DeviceID {
	w.t.Helper()
	w.Send(w.DeviceToken(who, installation), "PUT", "/sync/v1/push-token", tw.Object("pushToken", token)).Want(w.t, 204, "")
	w.send() // that a device is new goes out by mail
	w.to.taken()
	return w.Device(who, installation)
}

// send lets the courier send what is due.
func (w *world) send() {
	w.t.Helper()
	if err := w.c.Once(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) does(who ident.RecordID, method, path string, kv ...any) {
	w.t.Helper()
	if res := w.HTTP(who, method, path, tw.Object(kv...)); res.Status >= 300 {
		w.t.Fatalf("%s %s: %d %s", method, path, res.Status, res.Body)
	}
}

func (w *world) assign(act string, who ident.RecordID) {
	w.t.Helper()
	w.does(tw.Manager, "POST", "/v1/service/job-activities/"+act+"/assign", "assignee", who)
}

func (w *world) prefer(who ident.RecordID, key, value string) {
	w.t.Helper()
	w.does(who, "POST", "/v1/me/preferences", "key", key, "value", value)
}

// backlog is the events that the outbox holds.
func (w *world) backlog() (out []string) {
	w.read(func(v *tenant.View) {
		outbox.Due(v.KV(), 1<<60, func(in outbox.Intent) bool { out = append(out, in.Event); return true })
	})
	return out
}

func (w *world) read(f func(v *tenant.View)) {
	w.t.Helper()
	if err := w.Tenant.Read(func(v *tenant.View) error { f(v); return nil }); err != nil {
		w.t.Fatal(err)
	}
}

// words sends and returns the pushes that are word of something. That a device
// is to pull is none, and comes in its own time.
func (w *world) words() []courier.Push {
	w.t.Helper()
	w.send()
	ps, _ := w.to.taken()
	return slices.DeleteFunc(ps, func(p courier.Push) bool { return p.Category == outbox.Sync })
}

// told is to which tokens word went.
func (w *world) told() (out []string) {
	w.t.Helper()
	for _, p := range w.words() {
		out = append(out, p.Token)
	}
	slices.Sort(out)
	return out
}

// tokens sends and returns to which tokens pushes of any kind went.
func (w *world) tokens() (out []string) {
	w.t.Helper()
	w.send()
	ps, _ := w.to.taken()
	for _, p := range ps {
		out = append(out, p.Token)
	}
	slices.Sort(out)
	return out
}

func same(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// TestPush: news of work goes to each of a person's phones once, and says
// nothing.
func TestPush(t *testing.T) {
	w := newWorld(t)
	w.phone(tw.Engineer, "one", "token-one")
	w.phone(tw.Engineer, "two", "token-two")
	w.phone(tw.Onsite, "three", "token-three")
	w.Send(w.DeviceToken(tw.Colleague, "four"), "PUT", "/sync/v1/push-token", tw.Object("pushToken", "token-four")).
		Want(t, http.StatusForbidden, "mobile_module_required")

	w.assign("act-acme-2", tw.Engineer)
	w.assign("act-corp-2", tw.Engineer)
	w.assign("act-blue-2", tw.Colleague)
	w.send()
	ps, _ := w.to.taken()
	if len(ps) != 4 {
		t.Fatalf("%+v", ps)
	}
	keys := map[string]bool{}
	for _, p := range ps {
		if p.Key == "" || keys[p.Key] {
			t.Errorf("key %q twice", p.Key)
		}
		keys[p.Key] = true
		p.Key, p.Token = "", ""
		if want := (courier.Push{Category: outbox.Jobs, Visible: true, High: true, TTL: 72 * time.Hour}); p != want {
			t.Errorf("%+v, want %+v", p, want)
		}
	}
	same(t, "again", w.told())
	same(t, "left", w.backlog())
}

// TestWithdrawn: what somebody may not know any more when it is sent is not
// sent, and gone from the inbox.
func TestWithdrawn(t *testing.T) {
	for _, c := range []struct {
		name string
		hide func(w *world)
	}{
		{"client hidden", func(w *world) { w.Hide(tw.Engineer, tw.Blue) }},
		{"role ended", func(w *world) {
			w.does(tw.Admin, "DELETE", "/v1/admin/role-assignments/role-engineer-1")
		}},
		{"person disabled", func(w *world) { w.does(tw.Admin, "POST", "/v1/admin/employees/emp-engineer/disable") }},
		{"deleted", func(w *world) { w.does(tw.SvcAdmin, "DELETE", "/v1/service/job-activities/act-blue-2") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.phone(tw.Engineer, "one", "token-one")
			w.Import(tw.Row("ticket", "ticket-x", "client", tw.Blue, "subject", "Cold", "requester", tw.Basic, "assignee", tw.Engineer))
			w.assign("act-blue-2", tw.Engineer)
			w.does(tw.Basic, "POST", "/v1/helpdesk/tickets/ticket-x/request-update")
			if n := len(w.backlog()); n != 2 {
				t.Fatalf("%d in the outbox", n)
			}
			c.hide(w)
			w.send()
			ps, ls := w.to.taken()
			ps = slices.DeleteFunc(ps, func(p courier.Push) bool { return p.Category == outbox.Access || p.Category == outbox.Sync })
			want := 0
			if c.name == "deleted" { // the ticket is still there, and that the visit is gone is news
				want = 2
			}
			if len(ps) != want || len(ls) != want/2 {
				t.Errorf("sent %+v %+v", ps, ls)
			}
			same(t, "left", w.backlog())
			w.read(func(v *tenant.View) {
				typ := w.Cat.Type(apply.TypeNotification)
				for o := range v.Referring(typ, typ.Field("recipient").No, tw.Engineer).All() {
					if r, _ := v.LoadOrd(o); r.Get("about").Ref() == "act-blue-2" {
						t.Errorf("still in the inbox: %s", r.Get("event").Text())
					}
				}
			})
		})
	}
}

// TestCrash: what was sent but not noted is sent again under the same key, to
// the same devices.
func TestCrash(t *testing.T) {
	w := newWorld(t)
	w.phone(tw.Engineer, "one", "token-one")
	w.prefer(tw.Engineer, "mail", "digest")
	w.Import(tw.Row("ticket", "ticket-x", "client", tw.Blue, "subject", "Cold", "requester", tw.Basic, "assignee", tw.Engineer))
	w.assign("act-acme-2", tw.Engineer)
	w.does(tw.Basic, "POST", "/v1/helpdesk/tickets/ticket-x/request-update")
	w.does(tw.Basic, "POST", "/v1/helpdesk/tickets/ticket-x/request-update", "message", "Now?")
	w.Advance(22 * time.Hour) // past the hour of the digest
	var before []courier.Push
	var letters []courier.Letter
	for i := range 3 {
		c := w.courier()
		c.Die(t.Context())
		ps, ls := w.to.taken()
		slices.SortFunc(ps, func(a, b courier.Push) int { return strings.Compare(a.Key, b.Key) })
		if i == 0 {
			if before, letters = ps, ls; len(ps) != 3 || len(ls) != 1 {
				t.Fatalf("%+v %+v", ps, ls)
			}
		} else if !slices.Equal(ps, before) || !slices.Equal(ls, letters) {
			t.Errorf("%+v %+v, want %+v %+v", ps, ls, before, letters)
		}
	}
	w.c = w.courier()
	w.send()
	if ps, _ := w.to.taken(); len(ps) != 3 {
		t.Errorf("%+v", ps)
	}
	w.c = w.courier()
	same(t, "once it is noted", w.told())
	same(t, "left", w.backlog())
}

// TestRetry: what was not taken is tried again, when the carrier says so, for
// the devices that do not have it; after three days it is given up.
func TestRetry(t *testing.T) {
	w := newWorld(t)
	w.phone(tw.Engineer, "one", "token-one")
	w.phone(tw.Engineer, "two", "token-two")
	w.to.answer = func(token string) push.Outcome {
		if token == "token-two" {
			return push.Outcome{Kind: push.Retry, After: 30 * time.Second, Reason: "quota_exceeded"}
		}
		return push.Outcome{Kind: push.Sent}
	}
	w.assign("act-acme-2", tw.Engineer)
	same(t, "first", w.told(), "token-one", "token-two")
	same(t, "at once", w.told())
	w.Advance(29 * time.Second)
	same(t, "early", w.told())
	w.Advance(time.Second)
	if ps := w.words(); len(ps) != 1 || ps[0].Token != "token-two" || ps[0].Attempt != 1 {
		t.Errorf("%+v", ps)
	}
	w.Advance(73 * time.Hour)
	same(t, "after three days", w.told())
	same(t, "left", w.backlog())
	if !slices.Contains(w.seen, "push given-up") {
		t.Errorf("%q", w.seen)
	}
}

// TestAddresses: a token is one device's; one that is dead, or of a session
// that is over, or of somebody who used the phone before, gets nothing.
func TestAddresses(t *testing.T) {
	news := 0
	tell := func(w *world) []string { // of the engineer, each time of another visit
		news++
		id := ident.RecordID(fmt.Sprintf("act-news-%d", news))
		w.Import(tw.Row("jobActivity", id, "job", "job-acme-1", "title", "Visit"))
		w.assign(string(id), tw.Engineer)
		return w.told()
	}
	login := func(w *world, who ident.RecordID, installation, incarnation, token string) {
		w.t.Helper()
		w.Do(&command.Command{Login: &command.Login{
			Employee: who, Credential: apply.CredentialDigest("hash of " + string(who)), Session: ident.SessionID(fmt.Sprint("s-", token, incarnation, who)),
			Prefix: "d" + fmt.Sprintf("%08d", len(token)+len(incarnation)),
			Device: &command.Device{Installation: installation, Incarnation: incarnation, PushToken: token},
		}})
	}
	for _, c := range []struct {
		name string
		do   func(w *world)
		want []string
	}{
		{"nothing", func(*world) {}, []string{"token-one"}},
		{"another token", func(w *world) { w.phone(tw.Engineer, "one", "token-new") }, []string{"token-new"}},
		{"no token", func(w *world) {
			w.Send(w.DeviceToken(tw.Engineer, "one"), "PUT", "/sync/v1/push-token", `{"pushToken":null}`).Want(w.t, 204, "")
		}, nil},
		{"the token is another's", func(w *world) { w.phone(tw.Onsite, "other", "token-one") }, nil},
		{"somebody else signs in on the phone", func(w *world) { login(w, tw.Onsite, "one", "9", "token-two") }, nil},
		{"somebody else signs in without a token", func(w *world) { login(w, tw.Guest, "one", "9", "") }, nil},
		{"the same person's store was made anew", func(w *world) { login(w, tw.Engineer, "one", "9", "token-two") }, []string{"token-two"}},
		{"signed in again without a token", func(w *world) { login(w, tw.Engineer, "one", "1", "") }, nil},
		{"signed out", func(w *world) {
			var s ident.SessionID
			w.read(func(v *tenant.View) {
				s = apply.ReadDevice(v.Reader, apply.Classes(v.Reader), w.Device(tw.Engineer, "one")).Session
			})
			w.Do(&command.Command{Actor: tw.Engineer, Session: s, Device: w.Device(tw.Engineer, "one"), Logout: &command.Logout{Session: s}})
		}, nil},
		{"revoked", func(w *world) {
			w.does(tw.Admin, "POST", "/v1/admin/devices/"+string(w.Device(tw.Engineer, "one"))+"/revoke")
		}, nil},
		{"password changed", func(w *world) {
			w.Do(&command.Command{Secret: &command.Secret{Employee: tw.Engineer, Hash: "other"}})
		}, nil},
		{"session run out", func(w *world) { w.Advance(61 * 24 * time.Hour) }, nil},
		{"dead", func(w *world) {
			w.to.answer = func(string) push.Outcome { return push.Outcome{Kind: push.Dead, Reason: "unregistered"} }
			same(w.t, "dying", tell(w), "token-one")
			w.to.answer = nil
		}, nil},
		{"rejected once", func(w *world) {
			w.to.answer = func(string) push.Outcome { return push.Outcome{Kind: push.Rejected, Reason: "invalid_argument"} }
			same(w.t, "rejected", tell(w), "token-one")
			w.to.answer = nil
		}, []string{"token-one"}},
		{"live", func(w *world) {
			w.Tenant.Join("s", w.Device(tw.Engineer, "one"), tw.Engineer)
		}, nil},
		{"the module is taken away", func(w *world) {
			w.does(tw.Admin, "DELETE", "/v1/admin/role-assignments/role-engineer-2")
		}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.phone(tw.Engineer, "one", "token-one")
			c.do(w)
			w.send()
			w.to.taken()
			same(t, "sent", tell(w), c.want...)
			same(t, "left", w.backlog())
		})
	}
}

// TestWishes: events that a person does not want to hear of by a channel, and
// what was read meanwhile, are not sent; what warns of misuse is.
func TestWishes(t *testing.T) {
	w := newWorld(t)
	w.phone(tw.Engineer, "one", "token-one")
	w.prefer(tw.Engineer, "notify.jobActivity.assigned.push", "off")
	w.prefer(tw.Engineer, "mail", "off")
	w.assign("act-acme-2", tw.Engineer)
	w.does(tw.Manager, "PATCH", "/v1/service/job-activities/act-acme-1", "scheduledStart", "2026-03-09T08:00:00Z")
	w.DeviceToken(tw.Engineer, "new")
	w.does(tw.Staff, "POST", "/v1/helpdesk/tickets/ticket-acme-3/request-update")
	w.send()
	ps, ls := w.to.taken()
	if len(ps) != 2 || len(ls) != 1 || !strings.Contains(ls[0].Subject, "new device") {
		t.Errorf("%+v %+v", ps, ls)
	}
	w.does(tw.Manager, "PATCH", "/v1/service/job-activities/act-acme-1", "scheduledStart", "2026-03-10T08:00:00Z")
	ids := w.HTTP(tw.Engineer, "GET", "/v1/me/notifications", nil).IDs(t)
	w.does(tw.Engineer, "POST", "/v1/me/notifications:read", "ids", ids)
	same(t, "read", w.told())
	same(t, "left", w.backlog())
}

// TestQuietHours: they hold back pushes and mail in the person's own time, but
// not the inbox, nor what can't wait.
func TestQuietHours(t *testing.T) {
	w := newWorld(t)
	w.phone(tw.Engineer, "one", "token-one")
	w.does(tw.Admin, "PATCH", "/v1/admin/employees/emp-engineer", "timeZone", "America/New_York")
	w.prefer(tw.Engineer, "quiet-hours", `{"from":"22:00","to":"07:00"}`)
	w.Advance(17*time.Hour + 30*time.Minute) // 03:30 UTC is 22:30 there
	w.assign("act-acme-2", tw.Engineer)
	w.does(tw.Staff, "POST", "/v1/helpdesk/tickets/ticket-acme-3/request-update")
	if n := len(w.HTTP(tw.Engineer, "GET", "/v1/me/notifications", nil).IDs(t)); n != 3 { // one of the seed
		t.Errorf("%d in the inbox", n)
	}
	same(t, "by night", w.told())
	w.does(tw.Manager, "POST", "/v1/service/job-activities/act-corp-1/cancel")
	same(t, "what can't wait", w.told(), "token-one")
	w.Advance(8 * time.Hour) // 06:30
	same(t, "early", w.told())
	w.Advance(30 * time.Minute)
	w.send()
	ps, ls := w.to.taken()
	if len(ps) != 2 || len(ls) != 1 {
		t.Errorf("in the morning: %+v %+v", ps, ls)
	}
}

// TestClocks: quiet hours and the hour of the digest are the wall clock's, on
// nights too when it is changed.
func TestClocks(t *testing.T) {
	w := newWorld(t)
	at := func(s string) ident.Millis {
		x, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return ident.MillisOf(x)
	}
	for i, c := range []struct {
		zone, hours, now string
		end, digest      string // "" for not quiet
	}{
		{"Europe/Berlin", `{"from":"22:00","to":"07:00"}`, "2026-03-28T22:30:00Z", "2026-03-29T05:00:00Z", "2026-03-29T05:00:00Z"}, // put forward at 01:00 UTC
		{"Europe/Berlin", `{"from":"22:00","to":"07:00"}`, "2026-10-24T22:30:00Z", "2026-10-25T06:00:00Z", "2026-10-25T06:00:00Z"}, // put back
		{"Europe/Berlin", `{"from":"22:00","to":"02:30"}`, "2026-03-29T00:30:00Z", "2026-03-29T01:30:00Z", "2026-03-29T05:00:00Z"}, // ends in the hour that is not
		{"Europe/Berlin", `{"from":"22:00","to":"02:30"}`, "2026-03-29T02:00:00Z", "", "2026-03-29T05:00:00Z"},
		{"Asia/Kolkata", `{"from":"22:00","to":"07:00"}`, "2026-03-02T16:29:00Z", "", "2026-03-03T01:30:00Z"},
		{"Asia/Kolkata", `{"from":"22:00","to":"07:00"}`, "2026-03-02T16:30:00Z", "2026-03-03T01:30:00Z", "2026-03-03T01:30:00Z"},
		{"Asia/Kolkata", `{"from":"22:00","to":"07:00"}`, "2026-03-03T01:30:00Z", "", "2026-03-04T01:30:00Z"},
		{"America/St_Johns", `{"from":"12:00","to":"13:00"}`, "2026-03-02T16:00:00Z", "2026-03-02T16:30:00Z", "2026-03-03T10:30:00Z"},
		{"Nowhere/Atall", `{"from":"22:00","to":"07:00"}`, "2026-03-02T23:00:00Z", "2026-03-03T07:00:00Z", "2026-03-03T07:00:00Z"},
		{"../etc/passwd", `{"from":"22:00","to":"22:00"}`, "2026-03-02T23:00:00Z", "", "2026-03-03T07:00:00Z"},
		{"", `{"from":"25:00","to":"07:00"}`, "2026-03-02T23:00:00Z", "", "2026-03-03T07:00:00Z"},
		{"", `nonsense`, "2026-03-02T23:00:00Z", "", "2026-03-03T07:00:00Z"},
	} {
		who := ident.RecordID(fmt.Sprintf("emp-clock-%d", i))
		w.Person(who)
		w.Import(
			tw.Row("employee", who, "timeZone", c.zone),
			tw.Row("preference", ident.RecordID(fmt.Sprintf("pref-clock-%d", i)), "owner", who, "key", "quiet-hours", "value", c.hours))
		w.read(func(v *tenant.View) {
			rec, _ := v.Load(who)
			end, quiet := courier.Quiet(v.Reader, rec, at(c.now))
			if quiet != (c.end != "") || (quiet && end != at(c.end)) {
				t.Errorf("%s %s at %s: quiet %v until %s, want %q", c.zone, c.hours, c.now, quiet, end.RFC3339(), c.end)
			}
			if got := courier.DigestAfter(v.Reader, rec, at(c.now)); got != at(c.digest) {
				t.Errorf("%s at %s: digest at %s, want %s", c.zone, c.now, got.RFC3339(), c.digest)
			}
		})
	}
}

// TestDigest: one letter a day, in place of many, of what its reader may still
// know, in the words that the reader's own fields give.
func TestDigest(t *testing.T) {
	w := newWorld(t)
	w.prefer(tw.Basic, "mail", "digest")
	w.does(tw.Admin, "PATCH", "/v1/admin/employees/emp-basic", "timeZone", "Europe/Berlin")
	for i, c := range []ident.RecordID{tw.Acme, tw.Blue, tw.Corp} {
		id := ident.RecordID(fmt.Sprintf("ticket-digest-%d", i))
		w.Import(tw.Row("ticket", id, "client", c, "subject", fmt.Sprintf("Boiler %d", i), "requester", tw.Basic, "assignee", tw.Engineer))
		w.does(tw.Engineer, "POST", "/v1/helpdesk/ticket-updates", "ticket", id, "visibility", "public", "kind", "reply", "text", "Soon")
	}
	w.send()
	if _, ls := w.to.taken(); len(ls) != 0 {
		t.Errorf("at once: %+v", ls)
	}
	w.Hide(tw.Basic, tw.Blue)
	w.Advance(19*time.Hour + 59*time.Minute) // 05:59 UTC
	w.send()
	if _, ls := w.to.taken(); len(ls) != 0 {
		t.Errorf("early: %+v", ls)
	}
	w.Advance(time.Minute)
	w.send()
	_, ls := w.to.taken()
	if len(ls) != 1 || ls[0].To != "basic@example.com" || !strings.Contains(ls[0].Text, "Boiler 0") || !strings.Contains(ls[0].Text, "Boiler 2") ||
		strings.Contains(ls[0].Text+ls[0].HTML, "Boiler 1") || strings.ContainsAny(ls[0].Subject, "\r\n") {
		t.Errorf("%+v", ls)
	}
	same(t, "left", w.backlog())

	// Nothing left of it: no letter.
	w.does(tw.Engineer, "POST", "/v1/helpdesk/ticket-updates", "ticket", "ticket-digest-0", "visibility", "public", "kind", "reply", "text", "Done")
	w.Import(tw.Row("visibilityRule", "rule-digest-x", "visibility", w.visibility(tw.Basic), "client", tw.Acme))
	w.Advance(24 * time.Hour)
	w.send()
	if _, ls := w.to.taken(); len(ls) != 0 {
		t.Errorf("of nothing: %+v", ls)
	}
	same(t, "left", w.backlog())
}

func (w *world) visibility(who ident.RecordID) (id ident.RecordID) {
	w.read(func(v *tenant.View) {
		typ := w.Cat.Type("clientVisibility")
		for o := range v.Referring(typ, typ.Field("employee").No, who).All() {
			_, id = v.Name(o)
		}
	})
	return id
}

// sync pulls until a device is in step.
func (w *world) sync(who ident.RecordID, installation string, cp any) any {
	w.t.Helper()
	for range 100 {
		res := w.Send(w.DeviceToken(who, installation), "POST", "/sync/v1/pull", tw.Object("checkpoint", cp)).Want(w.t, 200, "")
		var page struct {
			Checkpoint string
			More       bool
			Records    []json.RawMessage
		}
		if err := json.Unmarshal(res.Body, &page); err != nil {
			w.t.Fatal(err)
		}
		if cp = page.Checkpoint; !page.More {
			return cp
		}
	}
	w.t.Fatal("no end of pages")
	return nil
}

// woken waits a moment for silent pushes and returns to whom they went.
func (w *world) woken(want int) (out []string) {
	w.t.Helper()
	limit := 400 * time.Millisecond // nothing is to come
	if want > 0 {
		limit = time.Minute
	}
	for end := time.Now().Add(limit); time.Now().Before(end) && (want == 0 || len(out) < want); time.Sleep(10 * time.Millisecond) {
		w.send()
		ps, _ := w.to.taken()
		for _, p := range ps {
			if p.Visible || p.High || p.Category != outbox.Sync {
				w.t.Errorf("%+v", p)
			}
			out = append(out, p.Token)
		}
	}
	slices.Sort(out)
	return out
}

// TestWake: devices that are away are told to pull when a pull would bring them
// something: once, until they do.
func TestWake(t *testing.T) {
	w := newWorld(t)
	w.phone(tw.Engineer, "one", "token-one")
	w.phone(tw.Onsite, "two", "token-two")
	w.woken(0) // they have yet to begin
	one, two := w.sync(tw.Engineer, "one", nil), w.sync(tw.Onsite, "two", nil)
	touch := func(n int) {
		w.Import(tw.Row("site", "site-corp", "name", fmt.Sprint("Yard ", n)))
	}
	touch(1)
	same(t, "a change that one of them sees", w.woken(1), "token-one")
	touch(2)
	same(t, "told already", w.woken(0))
	one = w.sync(tw.Engineer, "one", one)
	touch(3)
	same(t, "after a pull", w.woken(1), "token-one")
	w.Advance(59 * time.Minute)
	touch(4)
	same(t, "within the hour", w.woken(0))
	w.Advance(time.Minute)
	touch(5)
	same(t, "after an hour", w.woken(1), "token-one")
	one = w.sync(tw.Engineer, "one", one)

	w.Import(tw.Row("supplier", "supplier-one", "name", "Other"), tw.Row("client", tw.Corp, "salesArea", tw.AreaNorth, "debtorNotes", "late"))
	w.woken(0) // the client itself, which the engineer sees
	one = w.sync(tw.Engineer, "one", one)
	w.Import(tw.Row("client", tw.Corp, "debtorNotes", "later"))
	same(t, "a change that neither sees", w.woken(0))

	// A right that goes takes something away, which is worth a pull as well.
	w.Hide(tw.Onsite, tw.Acme)
	same(t, "a client hidden", w.woken(1), "token-two")
	w.sync(tw.Onsite, "two", two)

	// A live one needs no push; it gets one when it was cut off in the midst.
	l := w.Tenant.Join("s", w.Device(tw.Engineer, "one"), tw.Engineer)
	touch(6)
	same(t, "live", w.woken(0))
	w.Tenant.Part(l)
	same(t, "cut off", w.woken(1), "token-one")
	w.sync(tw.Engineer, "one", one)

	// What shows a line makes the phone pull; no other push goes with it.
	w.assign("act-acme-2", tw.Engineer)
	same(t, "news", w.tokens(), "token-one")
	same(t, "nothing beside it", w.woken(0))
}

// TestWakeAfterRestart: a tenant that was opened looks at every device once.
func TestWakeAfterRestart(t *testing.T) {
	w := newWorld(t)
	w.phone(tw.Engineer, "one", "token-one")
	w.woken(0)
	w.sync(tw.Engineer, "one", nil)
	w.Import(tw.Row("site", "site-corp", "name", "Yard 2"))
	all, err := suite.Load()
	if err != nil {
		t.Fatal(err)
	}
	again, err := tenant.Open(tenant.Options{
		ID: tw.Slug, Cat: all.Cat, Roles: all.Roles, Field: all.Field, Rules: all.Rules, Engine: w.Engine.Clone(), Clock: w.Clock,
		Random: strings.NewReader(strings.Repeat("random", 1000)),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	to := &carrier{}
	c := courier.New(courier.Options{Tenant: again, Pusher: to, Mailer: to})
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan struct{})
	go func() { c.Run(ctx); close(over) }()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if ps, _ := to.taken(); len(ps) > 0 {
			if len(ps) != 1 || ps[0].Token != "token-one" {
				t.Errorf("%+v", ps)
			}
			cancel()
			<-over
			return
		}
	}
	cancel()
	t.Error("nobody was told")
}
