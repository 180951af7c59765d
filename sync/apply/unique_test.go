package apply_test

import (
	"testing"

	"satchel/internal/command"
	"satchel/internal/fault"
	"satchel/internal/ident"
)

// TestTakenNames: a name is taken for whoever sees the record that has it, and
// free for whoever may not know of that record.
func TestTakenNames(t *testing.T) {
	w := field(t)
	w.load(person("emp-adm-1", "level.customer-administrator")...)
	w.load(
		row("employee", "emp-sta-1", "name", "Stan", "email", "stan@one.example", "kind", "client-staff", "client", "client-one", "status", "Active"),
		row("roleAssignment", "ra-adm-2", "employee", "emp-mgr-1", "role", "level.customer-administrator"),
		row("clientVisibility", "vis-mgr-1", "employee", "emp-mgr-1", "mode", "all-but"),
		row("visibilityRule", "rule-mgr-1", "visibility", "vis-mgr-1", "client", "client-one"),
	)
	hire := func(actor ident.RecordID, email string) *command.Command {
		return write(actor, command.Write{Op: "create", Type: "employee", Fields: obj("name", "Another", "email", email, "kind", "in-house")})
	}
	w.refused(fault.Duplicate, hire("emp-adm-1", "Stan@one.example"))
	// The staff of a hidden client is nobody to this one.
	w.ok(hire("emp-mgr-1", "stan@one.example"))
	w.refused(fault.Duplicate, hire("emp-mgr-1", "emp-eng-1@example.com"))
	w.refused(fault.Duplicate, hire("emp-mgr-1", "STAN@one.example"))
}
