package apply

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"

	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/internal/ident"
	"satchel/internal/mutant"
	"satchel/sync/audit"
	"satchel/sync/subject"
)

// doing is the change under way, as the trail tells it.
type doing struct {
	op   audit.Op
	name string         // of an action
	id   ident.RecordID // whatever changes beside this record followed from it
	by   ident.RecordID // whose right was used, where it was delegated
}

var opOf = map[string]audit.Op{"create": audit.Create, "patch": audit.Patch, "delete": audit.Delete, "action": audit.Action}

// keptOfImport is up to how many rows of one import command keep their values
// in the trail: those of an operator's few, not those of a migration, which
// would stand in the file twice.
const keptOfImport = 20

// entered begins a row of the trail with who does it.
func (r *run) entered(op audit.Op) audit.Row {
	c := r.cmd
	row := audit.Row{Op: op, At: r.w.Now(), Done: r.at, Actor: c.Actor, Device: c.Device, For: cmp.Or(r.behalf, r.doing.by)}
	if c.Device == "" { // a device has one session
		row.Session = c.Session
	}
	return row
}

// trace adds a change of a record to the trail; before is nil for a new one,
// after for one that is gone. fields are those written.
func (r *run) trace(before, after *entity.Record, fields entity.Mask) {
	rec := after
	if rec == nil {
		rec = before
	}
	row := r.entered(audit.Rule)
	switch {
	case r.cmd.Setup != nil:
		row.Op = audit.SetUp
	case r.cmd.Invite != nil:
		row.Op, row.Name = audit.Action, string(verbInvite)
	case r.cmd.Accept != nil:
		row.Op, row.Name = audit.Action, "accept"
	case r.depth == 0 && r.doing.id == rec.ID:
		row.Op, row.Name = r.doing.op, r.doing.name
	}
	keep := r.cmd.Import == nil || len(r.cmd.Import.Rows) <= keptOfImport
	if r.erasing != nil {
		keep = false // what stood there before is what goes
	}
	row.Describe(before, after, fields, r.salt(), keep)
	if r.erasing != nil && after == nil {
		row.Forget()
		r.erasing.removed(before)
	}
	if !mutant.On(mutant.AuditSkipped) {
		r.trail = append(r.trail, row)
	}
}

// salt derives what keeps the hash of a row's values from telling them.
func (r *run) salt() (s audit.Salt) {
	var room [64]byte
	b := append(append(room[:0], "audit salt"...), r.cmd.Seed...)
	sum := sha256.Sum256(binary.BigEndian.AppendUint32(b, uint32(len(r.Machine.trail)+len(r.trail))))
	copy(s[:], sum[:])
	return s
}

// valued is the fields of a record that have a value.
func valued(rec *entity.Record) (m entity.Mask) {
	for _, c := range rec.Cells {
		if !c.Value.IsNull() {
			m |= 1 << c.No
		}
	}
	return m
}

// concerning makes a row of what is no change of a record but concerns a
// person.
func (r *run) concerning(op audit.Op, person ident.RecordID) audit.Row {
	row := r.entered(op)
	row.ID, row.Type = person, r.cfg.Cat.Type(subject.Employee).No
	return row
}

// attempted adds a refusal that administrators must learn of to the trail: an
// attempt to leave the tenant without an administrator. It is called once what
// was refused has been rolled back.
func (r *run) attempted(err error) (rows []audit.Row) {
	if !fault.Is(err, fault.LastAdministrator) {
		return nil
	}
	row := r.entered(audit.Refused)
	row.Name, row.ID = string(fault.LastAdministrator), r.doing.id
	if what, ok := r.w.Identify(row.ID); ok {
		row.Type = what.TypeNo
	}
	return []audit.Row{row}
}
