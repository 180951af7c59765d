package rest_test

import (
	"testing"
	"time"

	"satchel/internal/fault"
	"satchel/internal/ident"
	. "satchel/internal/testworld" //nolint:revive // its names are people
)

// TestServiceLevels: what nobody gave a time is due by the client's service
// level and the work's priority, in the office and from a phone; what somebody
// typed stands, and so does what is imported.
func TestServiceLevels(t *testing.T) {
	w := newWorld(t)
	const settings = "/v1/admin/settings"
	due := func(who ident.RecordID, path, id string) any {
		return w.HTTP(who, "GET", path+"/"+id, nil).Object(t)["due"]
	}
	from := time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)
	after := func(hours int) string {
		return from.Add(time.Duration(hours) * time.Hour).Format("2006-01-02T15:04:05.000Z")
	}
	open := func(kv ...any) string {
		t.Helper()
		return made(t, w, Ticketer, tickets, append([]any{"client", "client-acme", "subject", "Cold", "opened", after(0)}, kv...)...)
	}
	want := func(id string, exp any) {
		t.Helper()
		if got := due(Ticketer, tickets, id); got != exp {
			t.Errorf("%s is due %v, not %v", id, got, exp)
		}
	}
	want(open(), after(72))
	want(open("priority", "urgent"), after(8))
	typed := open("priority", "urgent", "due", after(100))
	want(typed, after(100))
	w.Import(Row("client", "client-acme", "serviceLevel", "critical"), Row("ticket", "ticket-told", "client", Acme, "subject", "Old", "opened", after(0)))
	want("ticket-told", nil)
	ticket := open("priority", "low")
	want(ticket, after(24))

	// It follows the priority, unless it was typed.
	takes(t, w, patch(Ticketer, tickets+"/"+ticket, "priority", "high"), patch(Ticketer, tickets+"/"+typed, "priority", "low"))
	want(ticket, after(4))
	want(typed, after(100))
	takes(t, w, patch(Ticketer, tickets+"/"+ticket, "priority", "urgent", "due", after(9)))
	want(ticket, after(9))

	// A job has it likewise, and that of its ticket where it comes of one.
	job := made(t, w, Manager, jobs, "client", "client-acme", "title", "Cold", "reported", after(0), "priority", "normal")
	if got := due(Manager, jobs, job); got != after(8) {
		t.Errorf("the job is due %v", got)
	}
	takes(t, w, post(Ticketer, tickets+"/"+typed+"/to-job"))
	its := w.HTTP(Ticketer, "GET", tickets+"/"+typed, nil).Object(t)["job"].(string)
	if got := due(Manager, jobs, its); got != after(100) {
		t.Errorf("the ticket's job is due %v", got)
	}

	// From a phone, by who sees no service level.
	p := w.handset(t, Basic)
	p.pull("office")
	id := w.Prefix(Basic, "phone-of-a-reading") + "cold"
	if got := p.push(map[string]any{"n": 1, "op": "create", "type": "ticket", "id": id, "fields": map[string]any{"client": "client-acme", "subject": "Cold", "priority": "high"}}); got != "applied" {
		t.Fatal(got)
	}
	opened, err := time.Parse(time.RFC3339, w.HTTP(Ticketer, "GET", tickets+"/"+id, nil).Object(t)["opened"].(string))
	if err != nil {
		t.Fatal(err)
	}
	want(id, opened.Add(4*time.Hour).Format("2006-01-02T15:04:05.000Z"))
	if p.pull(""); !p.has(id) {
		t.Error("the phone is not told the time")
	}

	// The tenant has other targets, or none.
	takes(t, w,
		create(Admin, settings, "key", "service-level-targets", "on", true, "days", 3).no(422, fault.BadValue),
		create(Admin, settings, "key", "guest-agent-own-jobs", "on", true, "targets", []any{line("1", "standard", "low", 1)}).no(422, fault.BadValue),
		create(Admin, settings, "key", "service-level-targets", "on", true, "targets", []any{line("1", "standard", "low", 0)}).no(422, fault.BadValue),
		create(Admin, settings, "key", "service-level-targets", "on", true, "targets", []any{line("1", "standard", "low", 8761)}).no(422, fault.BadValue),
		create(Admin, settings, "key", "service-level-targets", "on", true, "targets",
			[]any{line("1", "standard", "low", 1), line("2", "standard", "low", 2)}).no(422, fault.BadValue),
	)
	res := w.HTTP(Admin, "POST", settings, Object("key", "service-level-targets", "on", true, "targets", []any{line("1", "critical", "high", 1)})).Want(t, 201, "")
	set := res.Object(t)["id"].(string)
	want(open("priority", "high"), after(1))
	want(open("priority", "urgent"), after(2))
	takes(t, w, patch(Admin, settings+"/"+set, "on", false))
	want(open("priority", "high"), nil)
	// Nothing lies beyond the calendar.
	w.HTTP(Admin, "DELETE", settings+"/"+set, nil).Want(t, 204, "")
	want(open("opened", "9999-12-31T23:00:00Z"), nil)
}

func line(id, level, priority string, hours int) map[string]any {
	return map[string]any{"id": id, "level": level, "priority": priority, "hours": hours}
}

// TestOnsiteGroups: a ticket for a group of the people onsite at its client is
// assigned to nobody else, in the office, by pickers and from a phone.
func TestOnsiteGroups(t *testing.T) {
	w := newWorld(t)
	onsite := "/v1/admin/onsite-clients"
	takes(t, w,
		patch(Ticketer, tickets+"/ticket-acme-1", "onsiteGroup", "Desk").no(422, fault.BadValue),
		patch(Admin, onsite+"/onsite-row-2", "group", "Desk"),
		patch(Ticketer, tickets+"/ticket-blue-1", "onsiteGroup", "Desk").no(422, fault.BadValue), // of another client
		create(Basic, tickets, "client", "client-acme", "subject", "x", "onsiteGroup", "Desk").no(403, fault.FieldNotAllowed),
		post(Ticketer, tickets+"/ticket-acme-1/assign", "assignee", Onsite),
		patch(Ticketer, tickets+"/ticket-acme-1", "onsiteGroup", "Desk").no(422, fault.AssigneeNotEligible), // who has it is not of it
		post(Ticketer, tickets+"/ticket-acme-1/unassign"),
		patch(Onsite, tickets+"/ticket-acme-1", "onsiteGroup", "Desk"),
		get(Onsite, tickets+"/ticket-acme-1/assignees").shows(string(Liaison)).hides(string(Onsite), string(Staff)),
		get(Ticketer, tickets+"/ticket-acme-1/assignees").shows(string(Liaison)).hides(string(Engineer), string(Manager)),
		post(Ticketer, tickets+"/ticket-acme-1/assign", "assignee", Manager).no(422, fault.AssigneeNotEligible),
		create(Ticketer, tickets, "client", "client-acme", "subject", "x", "onsiteGroup", "Desk", "assignee", Onsite).no(422, fault.AssigneeNotEligible),
		create(Ticketer, tickets, "client", "client-acme", "subject", "x", "onsiteGroup", "Desk", "assignee", Liaison),
	)
	p := w.handset(t, Onsite)
	p.pull("field")
	assign := func(n int, to ident.RecordID) string {
		return p.push(map[string]any{"n": n, "op": "action", "type": "ticket", "id": "ticket-acme-1", "action": "assign", "args": map[string]any{"assignee": to}})
	}
	if got := assign(1, Staff); got != "refused assignee_not_eligible" {
		t.Errorf("pushed to who is not of the group: %s", got)
	}
	if got := assign(2, Liaison); got != "applied" {
		t.Errorf("pushed to who is: %s", got)
	}
	takes(t, w,
		// A group that is no more stands where it is, and is nobody's.
		patch(Admin, onsite+"/onsite-row-2", "group", nil),
		patch(Ticketer, tickets+"/ticket-acme-1", "subject", "Cold still"),
		post(Ticketer, tickets+"/ticket-acme-1/assign", "assignee", Liaison).no(422, fault.AssigneeNotEligible),
		patch(Ticketer, tickets+"/ticket-acme-1", "onsiteGroup", nil),
		post(Ticketer, tickets+"/ticket-acme-1/assign", "assignee", Engineer),
	)
}
