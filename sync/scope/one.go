package scope

import (
	"satchel/internal/entity"
	"satchel/internal/policy"
	"satchel/sync/state"
)

// VisibleOf computes what Visible does for one type alone: the parts of that
// type. Lists of one type use it; they need not pay for all the others, unless
// the type is reached because others name it.
func VisibleOf(rd *state.Reader, sub *policy.Subject, t *entity.Type) Sets {
	if !sub.Active {
		return nil
	}
	if !mentions(sub, t) {
		return newEval(rd, sub, Window{}).split(t).sort()
	}
	var out Sets
	for _, p := range Visible(rd, sub) {
		if p.Type == t.No {
			out = append(out, p)
		}
	}
	return out
}
