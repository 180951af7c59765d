package apply

import (
	"strings"

	"satchel/internal/command"
	"satchel/internal/fault"
	"satchel/sync/audit"
)

// Bounds of what a row says of an operator's act, in bytes.
const (
	maxAct      = 60
	maxOperator = 64
)

// acted leaves a row of something that an operator did outside the log. Who it
// was is what the operator's machine says: whoever has the folder has everything
// in it.
func (r *run) acted(a *command.Act) Result {
	odd := func(s string, most int) bool {
		return s == "" || len(s) > most || strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c == 0x7f || c == 0xfffd })
	}
	switch {
	case r.cmd.Actor != "":
		return Result{Err: fault.New(fault.NotAllowed)}
	case odd(a.Name, maxAct):
		return Result{Err: fault.New(fault.BadValue).OnField("name")}
	case odd(a.By, maxOperator):
		return Result{Err: fault.New(fault.BadValue).OnField("by")}
	}
	row := r.entered(audit.Operator)
	row.Name = a.Name + " by " + a.By
	if what, ok := r.w.Identify(a.About); ok {
		row.ID, row.Type = a.About, what.TypeNo
	}
	r.trail = append(r.trail, row)
	return Result{}
}
