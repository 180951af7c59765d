package rest_test

import (
	"slices"
	"testing"

	"satchel/internal/ident"
	"satchel/internal/testworld"
)

// TestAssignees: readings 27 and 39: pickers hold those whom the assignment
// would be taken for, and nobody else; it is the same answer that assigning
// gives.
func TestAssignees(t *testing.T) {
	w := newWorld(t)
	pick := func(who ident.RecordID, path string) []string {
		return w.HTTP(who, "GET", path, nil).Want(t, 200, "").IDs(t)
	}
	has := func(list []string, want bool, ids ...ident.RecordID) {
		t.Helper()
		for _, id := range ids {
			if got := slices.Contains(list, string(id)); got != want {
				t.Errorf("%s is among %v: %v", id, list, got)
			}
		}
	}
	of := func(who ident.RecordID, act string) []string { return pick(who, activities+"/"+act+"/assignees") }
	// Blue is hidden from Blind, the Contractor sees Acme alone, the Leaver is gone.
	has(of(testworld.Manager, "act-blue-2"), true, testworld.Engineer, testworld.Colleague)
	has(of(testworld.Manager, "act-blue-2"), false, testworld.Blind, testworld.Contractor, testworld.Staff, testworld.Leaver)
	has(of(testworld.Manager, "act-acme-2"), true, testworld.Blind, testworld.Contractor, testworld.Staff)
	// A skill that is asked for leaves the others out.
	w.Import(
		testworld.Row("jobActivity", "act-acme-9", "job", "job-acme-1", "title", "Gas", "schedulingRole", "skill-gas-1"),
		testworld.Row("employee", testworld.Colleague, "schedulingRoles", []string{"skill-gas-1"}),
	)
	if got := of(testworld.Manager, "act-acme-9"); !slices.Equal(got, []string{string(testworld.Colleague)}) {
		t.Errorf("%v", got)
	}
	// What the picker holds is taken, what it leaves out is refused.
	everyone := append(testworld.People(), testworld.Leaver)
	for _, act := range []string{"act-blue-2", "act-acme-2", "act-acme-9"} {
		can := of(testworld.SvcAdmin, act)
		for _, p := range everyone {
			res := w.HTTP(testworld.SvcAdmin, "POST", activities+"/"+act+"/assign", testworld.Object("assignee", p))
			if ok := res.Status == 200; ok != slices.Contains(can, string(p)) {
				t.Errorf("%s to %s: %d %s, picked %v", act, p, res.Status, res.Code(), !ok)
			} else if !ok {
				res.Want(t, 422, "assignee_not_eligible")
			}
		}
	}
	// An onsite manager has the staff of the place; so has the client's own.
	has(pick(testworld.Onsite, tickets+"/ticket-acme-1/assignees"), true, testworld.Onsite, testworld.Liaison, testworld.Staff)
	has(pick(testworld.Onsite, tickets+"/ticket-acme-1/assignees"), false, testworld.Engineer, testworld.Manager)
	if got := pick(testworld.Liaison, tickets+"/ticket-acme-1/assignees"); !slices.Equal(slices.Sorted(slices.Values(got)),
		[]string{string(testworld.Liaison), string(testworld.Onsite), string(testworld.Staff)}) {
		t.Errorf("%v", got)
	}
	// Outsiders are shown nobody whom they don't know of anyway.
	has(of(testworld.Contractor, "act-acme-2"), false, testworld.Manager, testworld.SvcAdmin)
	// A name, and nothing more; by a part of it.
	res := w.HTTP(testworld.Manager, "GET", activities+"/act-acme-2/assignees?q=ENGI", nil).Want(t, 200, "")
	if got := res.IDs(t); !slices.Equal(got, []string{string(testworld.Engineer)}) {
		t.Errorf("%s", res.Body)
	}
	// Whoever can't assign has no picker; what is hidden is not there.
	w.HTTP(testworld.Engineer, "GET", activities+"/act-acme-1/assignees", nil).Want(t, 403, "not_allowed")
	w.HTTP(testworld.Blind, "GET", activities+"/act-blue-2/assignees", nil).Want(t, 404, "not_found")

	// Before there is a record: beneath which it will stand.
	has(pick(testworld.Manager, activities+":assignees?under=job-blue-1"), true, testworld.Engineer)
	has(pick(testworld.Manager, activities+":assignees?under=job-blue-1"), false, testworld.Blind)
	w.HTTP(testworld.Blind, "GET", activities+":assignees?under=job-blue-1", nil).Want(t, 422, "bad_reference")
	w.HTTP(testworld.Blind, "GET", activities+":assignees?under=never-was-1", nil).Want(t, 422, "bad_reference")
	w.HTTP(testworld.Manager, "GET", activities+":assignees?under=client-acme", nil).Want(t, 422, "bad_reference")
	w.HTTP(testworld.Manager, "GET", activities+":assignees", nil).Want(t, 400, "bad_parameter")
	w.HTTP(testworld.Guest, "GET", activities+":assignees?under=job-blue-1", nil).Want(t, 403, "not_allowed")
	has(pick(testworld.Onsite, tickets+":assignees?under=client-acme"), false, testworld.Engineer)
}
