package rest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"satchel/internal/command"
	"satchel/internal/fault"
	"satchel/internal/ident"
	. "satchel/internal/testworld" //nolint:revive // its names are people
	"satchel/sync/apply"
)

const ownDelegations = "/v1/me/delegations"

// hence is an instant some time from where the world's clock begins.
func hence(d time.Duration) string { return Start.Add(d).Format(time.RFC3339) }

// lends lets one person act for another, for an hour and in their own name,
// and returns the delegation's id.
func lends(t *testing.T, w *world, by, to ident.RecordID) ident.RecordID {
	t.Helper()
	res := w.HTTP(by, "POST", ownDelegations, Object("delegate", to, "until", hence(time.Hour), "reason", "Away")).Want(t, 201, "")
	return ident.RecordID(res.Object(t)["id"].(string))
}

func takes(t *testing.T, w *world, steps ...step) {
	t.Helper()
	for _, s := range steps {
		s.take(t, w)
	}
}

// tablet is a device in the office that goes on pulling.
type tablet struct {
	t    *testing.T
	w    *world
	cmd  command.Command
	cp   string
	held map[string]json.RawMessage
}

func newTablet(t *testing.T, w *world, who ident.RecordID) *tablet {
	t.Helper()
	claims, err := w.Signer.Verify(w.DeviceToken(who, fmt.Sprintf("tablet-%d", tablets.Add(1))), ident.MillisOf(w.Clock()))
	if err != nil {
		t.Fatal(err)
	}
	d := &tablet{t: t, w: w, held: map[string]json.RawMessage{}}
	d.cmd = command.Command{Actor: who, Session: claims.Session, Device: claims.Device}
	d.pull()
	return d
}

// pull brings the device up to date and returns what was taken from it.
func (d *tablet) pull() (removed []string) {
	d.t.Helper()
	for more := true; more; {
		c := d.cmd
		c.Pull = &command.Pull{Checkpoint: d.cp}
		got, err := d.w.Tenant.Pull(context.Background(), &c, apply.ToldSmall)
		if err != nil {
			d.t.Fatal(err)
		}
		var page struct {
			Removed []struct{ ID string }
			Records []struct {
				ID     string
				Fields json.RawMessage
			}
		}
		if err := json.Unmarshal(got.JSON, &page); err != nil {
			d.t.Fatal(err)
		}
		for _, r := range page.Removed {
			delete(d.held, r.ID)
			removed = append(removed, r.ID)
		}
		for _, r := range page.Records {
			d.held[r.ID] = r.Fields
		}
		d.cp, more = got.Checkpoint, got.More
	}
	return removed
}

func (d *tablet) has(ids ...string) {
	d.t.Helper()
	for _, id := range ids {
		if d.held[id] == nil {
			d.t.Errorf("the device lacks %s", id)
		}
	}
}

func (d *tablet) lacks(ids ...string) {
	d.t.Helper()
	for _, id := range ids {
		if d.held[id] != nil {
			d.t.Errorf("the device has %s", id)
		}
	}
}

// TestDelegation: the delegate sees and does what the delegator may, online
// and on a device, until the hour is over; no write ends it.
func TestDelegation(t *testing.T) {
	w := newWorld(t)
	office := newTablet(t, w, Nobody)
	takes(t, w, get(Nobody, jobs).forbidden(), get(Nobody, jobs+"/job-acme-1").absent())
	id := lends(t, w, Manager, Nobody)
	takes(t, w,
		get(Nobody, jobs).shows("job-acme-1", "job-blue-1", "job-corp-1", "job-dune-1"),
		get(Nobody, customers+"/client-acme").shows("accessNotes").hides("accountNotes", "billingNotes", "debtorNotes"),
		patch(Nobody, jobs+"/job-acme-1", "title", "Mended for the manager"),
		create(Nobody, jobs, "client", "client-corp", "title", "New work"),
		post(Nobody, activities+"/act-corp-2/assign", "assignee", Colleague),
		remove(Nobody, activities+"/act-dune-2"),
		// Not more than the delegator may.
		post(Nobody, customers+"/client-dune/archive").forbidden(),
		get(Nobody, tickets).forbidden(),
		patch(Nobody, customers+"/client-acme", "accountNotes", "x").no(400, fault.UnknownField),
		get(Nobody, "/v1/me/delegations/"+string(id)).shows("delegator", "until"),
		get(Manager, "/v1/me/delegations/"+string(id)),
		// It is the delegator's to change, and nobody else's to know of.
		patch(Nobody, ownDelegations+"/"+string(id), "until", hence(5*time.Hour)).forbidden(),
		remove(Nobody, ownDelegations+"/"+string(id)).forbidden(),
		get(Guest, ownDelegations+"/"+string(id)).absent(),
		get(Admin, "/v1/admin/delegations").shows(string(id)),
		patch(Admin, "/v1/admin/delegations/"+string(id), "reason", "Ill"),
	)
	office.pull()
	office.has("job-acme-1", "client-dune", "act-blue-1")
	office.lacks("ticket-acme-1", "pref-manager", "note-manager")
	// Nothing happens at the very end but that time passes.
	w.Advance(time.Hour - time.Millisecond)
	takes(t, w, get(Nobody, jobs).shows("job-acme-1"))
	w.Advance(time.Millisecond)
	takes(t, w,
		get(Nobody, jobs).forbidden(), get(Nobody, jobs+"/job-acme-1").absent(), patch(Nobody, jobs+"/job-acme-1", "title", "x").absent(),
		get(Manager, jobs).shows("job-acme-1"),
	)
	if gone := office.pull(); !slices.Contains(gone, "job-acme-1") {
		t.Errorf("the device was told to remove %v", gone)
	}
	office.lacks("job-acme-1", "client-dune", "act-blue-1")
	// Given again it comes back, and taken back by hand it is gone at once.
	w.Import(Row("delegation", id, "until", hence(3*time.Hour)))
	takes(t, w, get(Nobody, jobs).shows("job-acme-1"))
	office.pull()
	office.has("job-acme-1")
	takes(t, w, remove(Manager, ownDelegations+"/"+string(id)), get(Nobody, jobs).forbidden())
	office.pull()
	office.lacks("job-acme-1")
}

// TestDelegationBegins: before its time a delegation counts for nothing.
func TestDelegationBegins(t *testing.T) {
	w := newWorld(t)
	office := newTablet(t, w, Nobody)
	takes(t, w, create(Manager, ownDelegations, "delegate", Nobody, "from", hence(time.Hour), "until", hence(2*time.Hour)), get(Nobody, jobs).forbidden())
	w.Advance(time.Hour)
	takes(t, w, get(Nobody, jobs).shows("job-acme-1"))
	office.pull()
	office.has("job-acme-1")
	w.Advance(time.Hour)
	takes(t, w, get(Nobody, jobs).forbidden())
	office.pull()
	office.lacks("job-acme-1")
}

// TestDelegationRefused: what no delegation can be.
func TestDelegationRefused(t *testing.T) {
	w := newWorld(t)
	takes(t, w,
		create(Manager, ownDelegations, "delegate", Nobody).no(422, fault.MissingField),
		create(Manager, ownDelegations, "until", hence(time.Hour)).no(422, fault.MissingField),
		create(Manager, ownDelegations, "delegate", Manager, "until", hence(time.Hour)).no(422, fault.BadValue),
		create(Manager, ownDelegations, "delegate", Nobody, "from", hence(2*time.Hour), "until", hence(time.Hour)).no(422, fault.BadValue),
		create(Manager, ownDelegations, "delegate", "client-acme", "until", hence(time.Hour)).no(422, fault.BadReference),
		create(Manager, ownDelegations, "delegate", "never-was-1", "until", hence(time.Hour)).no(422, fault.BadReference),
		// Another's rights are not one's own to lend.
		create(Nobody, ownDelegations, "delegator", Manager, "delegate", Nobody, "until", hence(time.Hour)).forbidden(),
		create(Nobody, ownDelegations, "delegator", Manager, "delegate", Basic, "until", hence(time.Hour)).forbidden(),
		create(SvcAdmin, ownDelegations, "delegator", Manager, "delegate", Nobody, "until", hence(time.Hour)).forbidden(),
		get(Nobody, jobs).forbidden(),
		// Whoever runs the tenant does it for somebody who is ill.
		create(Admin, "/v1/admin/delegations", "delegator", Manager, "delegate", Nobody, "until", hence(time.Hour)),
		get(Nobody, jobs).shows("job-acme-1"),
		create(Admin, "/v1/admin/delegations", "delegator", Guest, "delegate", Guest, "until", hence(time.Hour)).no(422, fault.BadValue),
	)
}

// TestOwnWorkDelegated: "own" in a right that was lent is the delegator's own.
func TestOwnWorkDelegated(t *testing.T) {
	w := newWorld(t)
	lends(t, w, Engineer, Colleague)
	takes(t, w,
		get(Colleague, activities).shows("act-acme-1", "act-dune-1").hides("act-acme-2", "act-blue-3"),
		post(Colleague, activities+"/act-acme-1/travel"),
		create(Colleague, times, "activity", "act-acme-1", "start", "2026-03-02T10:00:00Z", "kind", "travel"),
		get(Colleague, "/v1/stock/stock-levels").shows("level-van-seal"),
		get(Engineer, activities).hides("act-dune-1"),
		// The phone is the engineer's: the module is not lent.
		pull(Colleague, "field", fault.MobileModuleRequired),
	)
	// What hangs on that work follows it: reassigned, it is neither's.
	w.Import(Row("jobActivity", "act-corp-1", "assignee", GuestAgent))
	takes(t, w, get(Colleague, activities+"/act-corp-1").absent(), get(Engineer, activities+"/act-corp-1").absent())
}

// TestDelegationHides: what is hidden from either is hidden from the delegate
// in what was lent, and hiding it later takes it away.
func TestDelegationHides(t *testing.T) {
	w := newWorld(t)
	lends(t, w, Blind, Nobody)
	takes(t, w,
		get(Nobody, jobs).shows("job-acme-1", "job-corp-1").hides("job-blue-1"),
		asAbsent(Nobody, "GET", nil, customers+"/client-blue", jobs+"/job-blue-1", activities+"/act-blue-1"),
		asAbsent(Nobody, "PATCH", Object("title", "x"), jobs+"/job-blue-1"),
		create(Nobody, jobs, "client", "client-blue", "title", "x").no(422, fault.BadReference),
	)
	office := newTablet(t, w, Nobody)
	office.has("job-corp-1", "client-corp")
	office.lacks("job-blue-1", "client-blue")
	w.Hide(Nobody, Corp)
	takes(t, w, get(Nobody, jobs).shows("job-acme-1").hides("job-corp-1"), get(Blind, jobs).shows("job-corp-1"))
	office.pull()
	office.lacks("job-corp-1", "client-corp")
	w.Import(Row("visibilityRule", "rule-blind-2", "visibility", "visible-blind", "client", Acme))
	takes(t, w, get(Nobody, jobs).shows("job-dune-1").hides("job-acme-1"))
	office.pull()
	office.lacks("job-acme-1", "client-acme")
	office.has("job-dune-1")
	// What the delegate sees by an own right a delegator's hiding leaves alone.
	w.Give(Nobody, "service.guest")
	takes(t, w,
		get(Nobody, jobs).shows("job-acme-1", "job-blue-1").hides("job-corp-1"),
		patch(Nobody, jobs+"/job-blue-1", "title", "x").forbidden(),
		patch(Nobody, jobs+"/job-dune-1", "title", "For Blind"),
	)
	// An allow-list and the ceiling of client staff hold in what is lent.
	lends(t, w, Contractor, MobileOnly)
	lends(t, w, SvcAdmin, Staff)
	takes(t, w,
		get(MobileOnly, jobs).shows("job-acme-1").hides("job-blue-1", "job-corp-1"),
		get(MobileOnly, "/v1/service/checklists").hides("checklist-one"),
		get(Staff, jobs).shows("job-acme-1").hides("job-blue-1"),
		patch(Staff, jobs+"/job-acme-1", "title", "By staff"),
		get(Staff, "/v1/service/checklists").hides("checklist-one"),
		asAbsent(Staff, "GET", nil, jobs+"/job-corp-1", customers+"/client-blue"),
	)
}

// TestDelegationIsNotPersonal: neither the tenant nor a person's own affairs
// can be lent.
func TestDelegationIsNotPersonal(t *testing.T) {
	w := newWorld(t)
	phone := w.Device(Manager, "phone")
	w.HTTP(Manager, "POST", "/v1/service/filters", Object("name", "Mine", "visibility", "private", "app", "service", "entityType", "job")).Want(t, 201, "")
	lends(t, w, Manager, Nobody)
	takes(t, w,
		get(Nobody, "/v1/me/preferences").shows("pref-nobody").hides("pref-manager"),
		get(Nobody, "/v1/me/preferences/pref-manager").absent(),
		create(Nobody, "/v1/me/preferences", "owner", Manager, "key", "x", "value", "1").forbidden(),
		get(Nobody, "/v1/me/notifications").shows("note-nobody").hides("note-manager"),
		post(Nobody, "/v1/me/notifications/note-manager/read").absent(),
		get(Nobody, "/v1/admin/devices/"+string(phone)).absent(),
		post(Nobody, "/v1/admin/devices/"+string(phone)+"/revoke").absent(),
		get(Nobody, "/v1/service/filters").quiet("Mine"),
		get(Nobody, employees+"/emp-manager").hides("email", "kind", "phone"),
	)
	// The administrator's rights stay with the administrator, also where they
	// are held beside others.
	lends(t, w, Admin, Basic)
	w.Give(Admin, "service.guest")
	takes(t, w,
		get(Basic, jobs).shows("job-acme-1"),
		get(Basic, assigned).forbidden(), get(Basic, rules).forbidden(), get(Basic, permits).forbidden(),
		create(Basic, assigned, "employee", Basic, "role", "level.customer-administrator").forbidden(),
		create(Basic, employees, "name", "x", "email", "x@example.com", "kind", "in-house").forbidden(),
		get(Basic, employees+"/emp-guest").absent(),
		get(Basic, "/v1/admin/holders?client=client-acme").forbidden(),
		get(Basic, "/v1/admin/quarantine").forbidden(),
		get(Basic, "/v1/admin/explain?principal=emp-guest&action=view&type=job&id=job-acme-1").forbidden(),
		get(Basic, "/v1/stock/suppliers").forbidden(),
	)
	// An organizational role is lent, a role of the manual in disguise.
	w.Person("emp-desk", "orgrole-1")
	lends(t, w, "emp-desk", MobileOnly)
	takes(t, w, get(MobileOnly, jobs).shows("job-acme-1"), patch(MobileOnly, jobs+"/job-acme-1", "title", "x").forbidden())
}

// TestNotLentOn: what was lent is not the delegate's to lend, and two who act
// for each other have no more than both.
func TestNotLentOn(t *testing.T) {
	w := newWorld(t)
	lends(t, w, Manager, Nobody)
	lends(t, w, Nobody, MobileOnly)
	takes(t, w, get(Nobody, jobs).shows("job-acme-1"), get(MobileOnly, jobs).forbidden(), get(MobileOnly, jobs+"/job-acme-1").absent())
	lends(t, w, Guest, Engineer)
	lends(t, w, Engineer, Guest)
	takes(t, w,
		get(Engineer, activities).shows("act-acme-1", "act-dune-1"),
		post(Engineer, activities+"/act-dune-1/travel").forbidden(),
		post(Guest, activities+"/act-acme-1/travel"),
		post(Guest, activities+"/act-dune-1/travel").forbidden(),
	)
	// From two people at once, each under their own conditions.
	lends(t, w, Rep, Basic)
	lends(t, w, Contractor, Basic)
	takes(t, w,
		get(Basic, jobs).shows("job-acme-1", "job-blue-1").hides("job-corp-1", "job-dune-1"),
		patch(Basic, jobs+"/job-acme-1", "title", "For the contractor"),
		patch(Basic, jobs+"/job-blue-1", "title", "x").forbidden(),
	)
}

// TestDelegatorLoses: what the delegator has no more, the delegate has no
// more; no delegation is written for it.
func TestDelegatorLoses(t *testing.T) {
	for name, lose := range map[string]func(t *testing.T, w *world){
		"the role is taken": func(t *testing.T, w *world) { remove(Admin, assigned+"/role-manager-1").take(t, w) },
		"the role ends":     func(_ *testing.T, w *world) { w.Advance(30 * time.Minute) },
		"the person is disabled": func(t *testing.T, w *world) {
			post(Admin, employees+"/emp-manager/disable").take(t, w)
		},
		"the person is denied all": func(_ *testing.T, w *world) { w.Permit(Manager, "denial") },
		"every client is hidden":   func(_ *testing.T, w *world) { w.Allow(Manager) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.Import(Row("roleAssignment", "role-manager-1", "until", hence(30*time.Minute)))
			lends(t, w, Manager, Nobody)
			office := newTablet(t, w, Nobody)
			office.has("job-acme-1")
			takes(t, w, get(Nobody, jobs).shows("job-acme-1"))
			lose(t, w)
			takes(t, w, get(Nobody, jobs+"/job-acme-1").absent(), patch(Nobody, jobs+"/job-acme-1", "title", "x").absent())
			office.pull()
			office.lacks("job-acme-1", "client-acme", "act-corp-1")
		})
	}
}

// TestDelegationDenied: an individual denial of either holds.
func TestDelegationDenied(t *testing.T) {
	w := newWorld(t)
	lends(t, w, Manager, Nobody)
	w.Permit(Manager, "denial", "verb", "edit", "entityType", "job")
	w.Permit(Manager, "denial", "verb", "view", "entityType", "client", "field", "accessNotes")
	w.Permit(Nobody, "denial", "verb", "view", "entityType", "asset")
	denial := w.Permit(Nobody, "denial", "verb", "cancel", "entityType", "jobActivity", "until", hence(30*time.Minute))
	takes(t, w,
		patch(Nobody, jobs+"/job-acme-1", "title", "x").forbidden(),
		get(Nobody, customers+"/client-acme").shows("name").hides("accessNotes"),
		seek(Nobody, customers, "filter", "accessNotes contains access").no(400, fault.UnknownField),
		get(Nobody, assets).forbidden(), get(Nobody, assets+"/asset-acme").absent(),
		get(Manager, assets).shows("asset-acme"),
		post(Nobody, activities+"/act-acme-2/cancel").forbidden(),
		get(Nobody, "/v1/explain?action=cancel&type=jobActivity&id=act-acme-2"),
	)
	e := w.HTTP(Nobody, "GET", "/v1/explain?action=cancel&type=jobActivity&id=act-acme-2", nil).Object(t)
	if e["allowed"] != false || e["denial"] != string(denial) || e["for"] != nil {
		t.Errorf("%v", e)
	}
	w.Advance(30 * time.Minute)
	takes(t, w, post(Nobody, activities+"/act-acme-2/cancel"))
	// An own right is not the delegator's to lose.
	w.Give(Nobody, "service.manager")
	takes(t, w, patch(Nobody, jobs+"/job-acme-1", "title", "By an own right"))
}

// TestDelegationExplained: whose right it was is said, to the delegate and to
// an administrator.
func TestDelegationExplained(t *testing.T) {
	w := newWorld(t)
	lends(t, w, Manager, Nobody)
	for _, c := range []struct{ action, id, clause string }{
		{"view", "&id=job-acme-1", "SVC-MGR-1"}, {"edit", "&id=job-acme-1", "SVC-MGR-1"}, {"create", "", "SVC-MGR-1"},
	} {
		q := "action=" + c.action + "&type=job" + c.id
		for who, path := range map[ident.RecordID]string{Nobody: "/v1/explain?" + q, Admin: "/v1/admin/explain?principal=emp-nobody&" + q} {
			e := w.HTTP(who, "GET", path, nil).Want(t, 200, "").Object(t)
			text, _ := e["text"].(string)
			if e["allowed"] != true || e["for"] != "emp-manager" || e["clause"] != c.clause || !strings.Contains(text, "which emp-manager holds and delegated") {
				t.Errorf("%s: %s: %v", who, c.action, e)
			}
		}
	}
	// One's own right is one's own, and what nobody lent is explained as ever.
	e := w.HTTP(Manager, "GET", "/v1/explain?action=edit&type=job&id=job-acme-1", nil).Object(t)
	if e["for"] != nil || strings.Contains(e["text"].(string), "delegated") {
		t.Errorf("%v", e)
	}
	e = w.HTTP(Nobody, "GET", "/v1/explain?action=archive&type=client&id=client-acme", nil).Object(t)
	if e["allowed"] != false || e["for"] != nil {
		t.Errorf("%v", e)
	}
	// What is hidden from the delegator is not there, rather than explained.
	lends(t, w, Blind, Basic)
	takes(t, w, get(Basic, "/v1/explain?action=view&type=job&id=job-blue-1").absent().quiet("emp-blind", "rule"))
}
