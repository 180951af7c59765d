package subject

import (
	"slices"

	"satchel/internal/entity"
	"satchel/internal/ident"
	"satchel/internal/policy"
)

// Eligible reports whether a person can be given the work of a record by an
// action that assigns: active, knowing of the client, holding the scheduling
// role that the record asks for and, where bound says that the assigner may
// only assign to those who are onsite, onsite at its client.
func Eligible(rec *entity.Record, person *policy.Subject, bound bool) bool {
	client := rec.Client()
	if person == nil || !person.Active || person.Hides(client) {
		return false
	}
	// Whoever belongs to a client is named by records of that client alone.
	if person.Kind == policy.ClientStaff && person.Client != client {
		return false
	}
	if f := rec.Type.Field("schedulingRole"); f != nil {
		if want := rec.Value(f.No); !want.IsNull() && !contains(person.Scheduling, want.Ref()) {
			return false
		}
	}
	return !bound || person.Client == client || contains(person.Onsite, client)
}

func contains(sorted []ident.RecordID, id ident.RecordID) bool {
	_, ok := slices.BinarySearch(sorted, id)
	return ok
}
