package rest_test

import (
	"testing"
	"time"

	"satchel/internal/fault"
	. "satchel/internal/testworld" //nolint:revive // its names are people
)

// TestAssignmentsThatDoNothing: an assignment that is over before it is made,
// and a second one for a time in which the person has the role, are refused.
func TestAssignmentsThatDoNothing(t *testing.T) {
	const path = "/v1/admin/role-assignments"
	w := newWorld(t)
	at := func(d time.Duration) string { return w.Clock().Add(d).UTC().Format(time.RFC3339) }
	const day = 24 * time.Hour
	add := func(kv ...any) step {
		return create(Admin, path, append([]any{"employee", Nobody, "role", "billing.guest"}, kv...)...)
	}
	takes(t, w,
		add("until", at(-time.Hour)).no(422, fault.BadValue),
		add("from", at(-2*day), "until", at(-day)).no(422, fault.BadValue),
	)
	this := made(t, w, Admin, path, "employee", Nobody, "role", "billing.guest", "until", at(10*day))
	takes(t, w,
		add().no(409, fault.Duplicate),
		add("until", at(day)).no(409, fault.Duplicate),
		add("from", at(9*day), "until", at(20*day)).no(409, fault.Duplicate),
		add("from", at(-day)).no(409, fault.Duplicate),
	)
	next := made(t, w, Admin, path, "employee", Nobody, "role", "billing.guest", "from", at(10*day))
	takes(t, w,
		patch(Admin, path+"/"+next, "from", at(9*day)).no(409, fault.Duplicate),
		patch(Admin, path+"/"+this, "until", nil).no(409, fault.Duplicate),
		create(Admin, path, "employee", Nobody, "role", "stock.guest"),
		create(Admin, path, "employee", Guest, "role", "billing.guest"),
		// One that runs is ended by an end that has come, and is in nobody's way.
		patch(Admin, path+"/"+this, "until", at(-time.Minute)),
		get(Nobody, bills).forbidden(),
		add("until", at(10*day)),
		get(Nobody, bills).shows("invoice-acme"),
	)
}
