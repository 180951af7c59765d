package apply_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"satchel/internal/command"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/server/suite"
	"satchel/sync/apply"
	"satchel/sync/audit"
	"satchel/sync/oplog"
	"satchel/sync/state"
	"satchel/sync/store"
	"satchel/sync/subject"
	"satchel/sync/wire"
)

// canary marks every value that tells of the person under test, so that one
// search finds them all.
const canary = "zaunkoenig"

// left returns where the state holds a canary, as bucket and key. The log is
// left out: it goes with compaction.
func (w *world) left(word string) (out []string) {
	w.t.Helper()
	w.reader(func(rd *state.Reader) {
		for _, b := range store.Buckets() {
			if b == store.Log {
				continue
			}
			rd.KV().Scan(b, nil, func(k, v []byte) bool {
				if bytes.Contains(bytes.ToLower(k), []byte(word)) || bytes.Contains(bytes.ToLower(v), []byte(word)) {
					out = append(out, fmt.Sprintf("%s %q", b, k))
				}
				return true
			})
		}
	})
	return out
}

func erase(actor, id ident.RecordID) *command.Command {
	return &command.Command{Actor: actor, Erase: &command.Erase{Person: id}}
}

func tick() *command.Command { return &command.Command{Tick: &command.Tick{}} }

// erased erases somebody to the end.
func (w *world) erased(actor, id ident.RecordID) apply.Erasure {
	w.t.Helper()
	for range 100 {
		if x := w.ok(erase(actor, id)).Erased; x.Done {
			return *x
		}
	}
	w.t.Fatal("the erasure never ends")
	return apply.Erasure{}
}

func (w *world) survey(id ident.RecordID) (x apply.Erasure) {
	w.t.Helper()
	w.reader(func(rd *state.Reader) {
		var err error
		if x, err = apply.SurveyErasure(rd, id); err != nil {
			w.t.Fatal(err)
		}
		var at audit.Key
		for more := true; more; {
			var n int
			if n, at, more, err = apply.TrailOf(rd, id, at); err != nil {
				w.t.Fatal(err)
			}
			if n > 0 {
				x.Counts[apply.GoneAuditRows] += n
			}
		}
	})
	return x
}

// lived is a tenant in which emp-eng-1 has left something of every kind.
func lived(t *testing.T) (*world, *phone) {
	w := ruled(t)
	w.load(person("emp-boss-1", subject.Administrator)...)
	c := func(s string) string { return canary + " " + s }
	w.load(row("employee", "emp-eng-1", "name", c("name"), "email", canary+"@example.com", "phone", c("phone"), "title", c("title"), "oidcSubject", "https://idp.example "+canary),
		row("serviceAgent", "sa-eng-01", "name", c("as agent"), "employee", "emp-eng-1", "phone", c("+31")))
	w.load(row("agent", "agent-eng-1", "name", c("paid"), "employee", "emp-eng-1", "kind", "employee", "email", canary+"@paid.example", "notes", c("notes")))
	p := w.signIn("emp-eng-1", canary+"-installation")
	w.ok(&command.Command{Actor: p.who, Session: p.sess, Device: p.id, Address: &command.Address{Token: canary + "-token"}})
	p.sync()
	p.push(command.Mutation{Op: wire.OpCreate, Type: "comment", ID: p.new("remark"), Fields: obj("parent", "act-one-1", "text", "of the business")})
	// Offline work that was refused, and a conflict.
	want(t, p.push(made("timeEntry", p.new("entry"), "activity", "act-one-1", "note", c("typed")))[0], wire.Refused, fault.MissingField)
	w.ok(write("emp-mgr-1", command.Write{Op: "patch", Type: "jobActivity", ID: "act-one-1", Fields: obj("note", "theirs")}))
	if r := p.push(patch("jobActivity", "act-one-1", obj("note", c("mine")), obj("note", c("was"))))[0]; r.Status != wire.Conflict {
		t.Fatalf("%+v", r)
	}
	// What is theirs alone; one of it removed before.
	self := func(x command.Write) ident.RecordID {
		w.t.Helper()
		cmd := write(p.who, x)
		cmd.Session, cmd.Device = p.sess, p.id
		return w.ok(cmd).ID
	}
	self(command.Write{Op: "create", Type: "preference", Fields: obj("owner", "emp-eng-1", "key", "k1", "value", c("wish")), Key: canary + "-key"})
	old := self(command.Write{Op: "create", Type: "preference", Fields: obj("owner", "emp-eng-1", "key", "k2", "value", c("old wish"))})
	self(command.Write{Op: "patch", Type: "preference", ID: old, Fields: obj("value", c("another"))})
	self(command.Write{Op: "delete", Type: "preference", ID: old})
	self(command.Write{Op: "create", Type: "delegation", Fields: obj("delegator", "emp-eng-1", "delegate", "emp-eng-2", "until", "2029-01-01T00:00:00Z", "reason", c("reason"))})
	self(command.Write{Op: "create", Type: "filter", Fields: obj("name", c("filter"), "visibility", "private", "app", "service", "entityType", "job")})
	w.ok(&command.Command{Actor: p.who, Session: p.sess, Device: p.id, File: &command.File{
		Document: "doc-never-came", Upload: "u1", SHA256: strings.Repeat("ab", 32), Size: 3, MediaType: "image/png", Name: c("face.png"),
	}})
	w.ok(&command.Command{Invite: &command.Invite{Employee: "emp-eng-1", Digest: bytes.Repeat([]byte{7}, 32)}})
	w.ok(&command.Command{Deliver: &command.Deliver{Bounces: []command.Bounce{{Person: "emp-eng-1", Address: apply.AddressDigest(canary + "@example.com"), Mail: canary}}}})
	return w, p
}

func TestEraseEmployee(t *testing.T) {
	w, p := lived(t)
	before := w.left(canary)
	for _, b := range []string{"records", "names", "devices", "quarantine", "audit", "keys", "files", "results", "outbox"} {
		if !slices.ContainsFunc(before, func(s string) bool { return strings.HasPrefix(s, b+" ") }) {
			t.Errorf("nothing in %s to be erased: %q", b, before)
		}
	}
	w.refused(fault.NotAllowed, erase("emp-mgr-1", "emp-eng-1"))
	w.refused(fault.NotFoundCode, erase("", "never-was-1"))
	w.refused(fault.NotFoundCode, erase("", "job-one-1"))
	w.refused(fault.WrongStatus, erase("", "sa-eng-01"))  // the same person by another name
	w.refused(fault.WrongStatus, erase("", "client-one")) // a company
	plan := w.survey("emp-eng-1")
	if got := w.left(canary); !slices.Equal(got, before) {
		t.Fatal("the survey changed something")
	}
	began := w.trail(1)[0].Pos
	first := w.ok(erase("emp-boss-1", "emp-eng-1")).Erased
	if first.Done {
		t.Error("done at once")
	}
	// From the first entry on nobody is there any more.
	w.refused(fault.DeviceRevoked, p.pulling(command.Pull{}))
	w.refused(fault.InvalidCredentials, &command.Command{Login: &command.Login{Employee: "emp-eng-1", Credential: apply.CredentialDigest("h"), Session: "again"}})
	x := w.erased("emp-boss-1", "emp-eng-1")
	if got := w.left(canary); len(got) > 0 {
		t.Errorf("left: %q", got)
	}
	for _, f := range []struct{ id, field, want string }{
		{"emp-eng-1", "name", "Former employee"},
		{"emp-eng-1", "email", "emp-eng-1@erased.invalid"},
		{"emp-eng-1", "status", "Disabled"},
		{"emp-eng-1", "phone", ""},
		{"act-one-1", "assignee", "emp-eng-1"},
		{"act-one-1", "note", "theirs"},
	} {
		if got := w.value(ident.RecordID(f.id), f.field); got != f.want {
			t.Errorf("%s of %s is %q, want %q", f.field, f.id, got, f.want)
		}
	}
	for typ, field := range map[string]string{
		"roleAssignment": "employee", "preference": "owner", "delegation": "delegator", "filter": "owner", "notification": "recipient", "conflict": "author",
		"serviceAgent": "employee", "agent": "employee",
	} {
		if left := w.referring(typ, field, "emp-eng-1"); len(left) > 0 {
			t.Errorf("%s: %v", typ, left)
		}
	}
	if c := w.referring("comment", "author", "emp-eng-1"); len(c) != 1 || w.value(c[0], "text") != "of the business" {
		t.Error("what they wrote of the business is gone")
	}
	w.verified()
	// The dry run said what came.
	for k, n := range plan.Counts {
		if x.Counts[k] != n {
			t.Errorf("%s: %d went, %d were announced", k, x.Counts[k], n)
		}
	}
	if !maps.Equal(plan.Records, x.Records) || x.Former != plan.Former || x.Former != 3 || x.Removed != 2 || len(x.Counts) != len(plan.Counts) {
		t.Errorf("announced %+v, went %+v", plan, x)
	}
	for _, k := range []string{
		apply.GoneAuditRows, apply.GoneCredentials, apply.GoneDevices, apply.GoneInvitations, apply.GoneKeys, apply.GoneOfflineWork,
		apply.GoneResults, apply.GoneSessions, apply.GoneWaitingFiles,
	} {
		if x.Counts[k] == 0 {
			t.Errorf("no %s", k)
		}
	}
	last := w.trail(1)[0]
	if last.Op != audit.Erasure || last.Actor != "emp-boss-1" || last.ID != "emp-eng-1" || last.Name != x.Summary() {
		t.Errorf("%+v", last)
	}
	w.reader(func(rd *state.Reader) {
		if at := apply.ErasedUpTo(rd); at <= began || at > rd.Position() {
			t.Errorf("erased up to %d", at)
		}
	})
	// Once more: nothing more, and no other row.
	if again := w.erased("emp-boss-1", "emp-eng-1"); again.Summary() != x.Summary() || w.trail(1)[0].Key != last.Key {
		t.Errorf("again: %+v", again)
	}
	// Nobody comes back: not by the office, not by an import that runs anew.
	for _, cmd := range []*command.Command{
		write("emp-boss-1", command.Write{Op: "patch", Type: "employee", ID: "emp-eng-1", Fields: obj("name", canary)}),
		write("emp-boss-1", command.Write{Op: "action", Type: "employee", ID: "emp-eng-1", Action: "enable"}),
	} {
		w.refused(fault.WrongStatus, cmd)
	}
	if r := w.ok(rows(row("employee", "emp-eng-1", "name", canary, "email", canary+"@example.com", "status", "Active"))); len(r.Count.Rejected) != 1 {
		t.Error("the import brought them back")
	}
	if got := w.left(canary); len(got) > 0 {
		t.Errorf("came back: %q", got)
	}
}

// TestEraseContact: a contact that jobs refer to stays as one that was, with
// nothing of the person; one that nothing refers to is gone; and phones that
// come late with what they know of either leave nothing of it.
func TestEraseContact(t *testing.T) {
	w := field(t)
	w.load(person("emp-boss-1", subject.Administrator)...)
	for _, id := range []ident.RecordID{"contact-kept", "contact-gone"} {
		w.load(row("contact", id, "client", "client-one", "name", canary+" miller"))
		w.ok(rows(command.Row{Type: "contact", ID: id, Fields: command.Object{"phones": json.RawMessage(`["` + canary + `-1"]`)}}))
		w.load(row("comment", id+"-comment", "parent", string(id), "text", canary+" is always late"))
		w.load(row("document", id+"-photo", "parent", string(id), "name", canary+".png", "sha256", strings.Repeat("cd", 32)))
	}
	w.load(row("job", "job-met-1", "client", "client-one", "title", "Met", "contact", "contact-kept"))
	p := w.signIn("emp-mgr-1", "i1")
	p.sync()
	for _, id := range []ident.RecordID{"contact-kept", "contact-gone"} {
		plan := w.survey(id)
		x := w.erased("", id)
		if x.Records["comment"] != 1 || x.Records["document"] != 1 || x.Counts[apply.GoneContents] != 1 || x.Counts[apply.GoneAuditRows] == 0 {
			t.Errorf("%+v", x)
		}
		if plan.Counts[apply.GoneAuditRows] != x.Counts[apply.GoneAuditRows] {
			t.Errorf("%+v, announced %+v", x, plan)
		}
		if gone := w.value(id, "name") == ""; gone != (id == "contact-gone") || x.Removed == 1 != gone {
			t.Errorf("%s: %+v, gone %v", id, x, gone)
		}
	}
	if got := w.left(canary); len(got) > 0 {
		t.Fatalf("left: %q", got)
	}
	// The phone is told, like of any change.
	if sent, removed := p.sync(); !sent["contact-kept"] || !removed["contact-gone"] {
		t.Errorf("the phone was told %v, and to remove %v", sent, removed)
	}
	for _, id := range []ident.RecordID{"contact-kept", "contact-gone"} {
		r := p.push(patch("contact", id, obj("title", canary), obj()))
		if r[0].Status != wire.Refused {
			t.Errorf("%+v", r)
		}
	}
	if got := w.left(canary); len(got) > 0 {
		t.Errorf("brought back by a phone: %q", got)
	}
	w.reader(func(rd *state.Reader) {
		if apply.ErasedUpTo(rd) != rd.Position() {
			t.Error("the log entry of the late phone would be kept")
		}
	})
	w.verified()
}

// TestErasePersonClient: a client that is a person goes with its sites and
// contacts.
func TestErasePersonClient(t *testing.T) {
	w := field(t)
	w.load(
		row("client", "client-three", "name", canary, "kind", "person", "salesArea", "area-north", "street", canary+" street 1", "accountNotes", canary),
		row("site", "site-home-1", "client", "client-three", "name", canary+" home", "street", canary+" street 1"),
		row("contact", "contact-home", "client", "client-three", "name", canary+" junior"),
		row("job", "job-home-1", "client", "client-three", "title", "Boiler", "site", "site-home-1"),
	)
	x := w.erased("", "client-three")
	if got := w.left(canary); len(got) > 0 || x.Former != 3 || x.Removed != 1 {
		t.Errorf("left %q, %+v", got, x)
	}
	if w.value("client-three", "name") != "Former client" || w.value("site-home-1", "name") != "Former site" || w.value("job-home-1", "title") != "Boiler" {
		t.Error("what is left is not what should be")
	}
	w.verified()
}

// TestEraseDeleted: of somebody who was deleted long ago the history goes.
func TestEraseDeleted(t *testing.T) {
	w := field(t)
	w.load(row("contact", "contact-old", "client", "client-one", "name", canary))
	w.ok(write("", command.Write{Op: "delete", Type: "contact", ID: "contact-old"}))
	if len(w.left(canary)) == 0 {
		t.Fatal("nothing to erase")
	}
	x := w.erased("", "contact-old")
	if got := w.left(canary); len(got) > 0 || x.Counts[apply.GoneAuditRows] != 2 || x.Removed != 1 {
		t.Errorf("left %q, %+v", got, x)
	}
	w.verified()
}

func TestEraseLastAdministrator(t *testing.T) {
	w := field(t)
	w.refused(fault.LastAdministrator, erase("", "emp-ada-1"))
	if w.value("emp-ada-1", "name") != "Ada" {
		t.Fatal("a refused erasure left something")
	}
	w.reader(func(rd *state.Reader) {
		if apply.WasErased(rd, "emp-ada-1") || apply.ErasedUpTo(rd) != 0 {
			t.Error("a refused erasure is on record")
		}
	})
	// With another one it goes, asked for by themselves too.
	w.load(person("emp-boss-1", subject.Administrator)...)
	if x := w.ok(erase("emp-ada-1", "emp-ada-1")).Erased; x.Done {
		t.Fatal("done at once")
	}
	w.refused(fault.SessionRevoked, erase("emp-ada-1", "emp-ada-1"))
	for range 20 {
		w.ok(tick())
	}
	if x := w.ok(erase("", "emp-ada-1")).Erased; !x.Done {
		t.Errorf("%+v", x)
	}
	w.refused(fault.LastAdministrator, erase("emp-boss-1", "emp-boss-1"))
	w.verified()
}

// TestEraseHalfBlind: who does not see every client can't answer for what goes.
func TestEraseHalfBlind(t *testing.T) {
	w := field(t)
	w.load(person("emp-half-1", subject.Administrator)...)
	w.load(row("clientVisibility", "cv-half-1", "employee", "emp-half-1", "mode", "all-but"),
		row("visibilityRule", "vr-half-1", "visibility", "cv-half-1", "client", "client-two"))
	w.refused(fault.NotAllowed, erase("emp-half-1", "emp-eng-1"))
	w.refused(fault.NotAllowed, erase("emp-half-1", "never-was-1"))
}

// TestEraseResumes stops after every entry of an erasure and goes on with a new
// machine, by the clock alone: it comes to the same end, and never holds an
// entry's worth of too much.
func TestEraseResumes(t *testing.T) {
	w, _ := lived(t)
	var many []command.Row
	for i := range 900 {
		many = append(many, row("preference", ident.RecordID(fmt.Sprintf("pref-%04d", i)), "owner", "emp-eng-1", "key", fmt.Sprintf("many-%d", i), "value", canary))
	}
	w.load(many...)
	w.ok(erase("", "emp-eng-1"))
	entries := 0
	for ; entries < 50; entries++ {
		w = worldAgain(t, w)
		done := false
		w.reader(func(rd *state.Reader) {
			apply.EachErased(rd, func(e apply.Erasure) { done = e.Done })
			if at, ok := apply.NextDue(rd.KV()); !done && (!ok || at > rd.Now()) {
				t.Fatal("nothing is due, and it is not done")
			}
		})
		if done {
			break
		}
		w.ok(tick())
	}
	if got := w.left(canary); len(got) > 0 || entries < 6 {
		t.Errorf("after %d entries left: %q", entries, got)
	}
	w.verified()
}

// worldAgain opens the store with a machine that remembers nothing.
func worldAgain(t *testing.T, w *world) *world {
	t.Helper()
	if err := w.log.Close(); err != nil {
		t.Fatal(err)
	}
	next := worldOn(t, w.eng)
	next.n, next.now, next.logins = w.n, w.now, w.logins
	return next
}

// TestEraseReplay folds an erasure's entries into a fresh machine: the same
// bytes.
func TestEraseReplay(t *testing.T) {
	w, _ := lived(t)
	w.erased("emp-boss-1", "emp-eng-1")
	all, err := suite.Load()
	if err != nil {
		t.Fatal(err)
	}
	other := worldOn(t, store.NewMem(), all.Rules)
	if err := w.log.Entries(0, func(e oplog.Entry) (bool, error) {
		_, err := other.log.Append(context.Background(), oplog.Draft{Time: e.Time, Version: e.Version, Proposer: e.Proposer, Number: e.Number, Commands: e.Commands})
		return err == nil, err
	}); err != nil {
		t.Fatal(err)
	}
	w.reader(func(a *state.Reader) {
		other.reader(func(b *state.Reader) {
			if !bytes.Equal(dump(a.KV()), dump(b.KV())) {
				t.Error("the replay differs")
			}
		})
	})
}

// TestAct: what an operator did outside the log leaves a row; nobody else can
// leave one.
func TestAct(t *testing.T) {
	w := field(t)
	w.ok(&command.Command{Act: &command.Act{Name: "backup", By: "root"}})
	w.ok(&command.Command{Act: &command.Act{Name: "user invite", By: "root", About: "emp-eng-1"}})
	w.wantTrail("operator user invite by root emp-eng-1 by", "operator backup by root  by")
	w.refused(fault.NotAllowed, &command.Command{Actor: "emp-ada-1", Act: &command.Act{Name: "backup", By: "root"}})
	for _, a := range []command.Act{{Name: "", By: "x"}, {Name: "x", By: ""}, {Name: "a\nb", By: "x"}, {Name: "x", By: strings.Repeat("x", 65)}, {Name: "x", By: "\x00"}} {
		w.refused(fault.BadValue, &command.Command{Act: &a})
	}
	w.verified()
}
