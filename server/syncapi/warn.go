package syncapi

import (
	"satchel/internal/command"
	"satchel/internal/policy"
	"satchel/server/booking"
	"satchel/server/edge"
	"satchel/sync/tenant"
	"satchel/sync/wire"
)

// warn adds to results what deserves a look: work that was given to somebody who
// has other work at the time. Nothing is read where nobody was assigned.
func warn(caller *edge.Caller, results []wire.Result, muts []command.Mutation) {
	cat := caller.Tenant.Catalogue()
	at := map[uint64]*command.Mutation{}
	for i := range muts {
		m := &muts[i]
		if t := cat.Type(m.Type); m.Op == wire.OpAction && t != nil {
			if a := t.Action(m.Action); a != nil && a.Assigns != "" {
				at[m.N] = m
			}
		}
	}
	if len(at) == 0 {
		return
	}
	// What was done stays done if this can't be told.
	_ = caller.Read(func(v *tenant.View, sub *policy.Subject) error {
		for i := range results {
			m := at[results[i].N]
			if m == nil || results[i].Status != wire.Applied {
				continue
			}
			// A repetition may come when the author no longer sees the record.
			if rec, ok := v.Load(m.ID); ok && sub.Decide(policy.Verb(m.Action), rec, v.Reader).Allowed {
				results[i].Warnings = booking.Warnings(v.Reader, m.ID)
			}
		}
		return nil
	})
}
