package syncapi

import (
	"strconv"
	"time"

	"satchel/internal/policy"
	"satchel/server/edge"
	"satchel/server/module/admin"
	"satchel/sync/state"
	"satchel/sync/tenant"
)

// leaseOf returns for how long devices of the tenant may show what they hold
// without a contact, 0 for without end.
func leaseOf(v *tenant.View) time.Duration {
	const day = 24 * time.Hour
	t := v.Cat.Type(admin.Setting.Name)
	for o := range v.Index(state.ValueKey(t.No, t.Field("key").No, admin.OfflineLease)).All() {
		s, ok := v.LoadOrd(o)
		if !ok {
			continue
		}
		if !s.Get("on").Bool() {
			return 0
		}
		if days := s.Get("days"); !days.IsNull() {
			return time.Duration(min(max(days.Int(), 1), admin.MaxOfflineLeaseDays)) * day
		}
	}
	return admin.OfflineLeaseDays * day
}

// withLease adds the lease to a page after which there are no more.
func withLease(caller *edge.Caller, page []byte) ([]byte, error) {
	var lease time.Duration
	err := caller.Read(func(v *tenant.View, _ *policy.Subject) error {
		lease = leaseOf(v)
		return nil
	})
	if err != nil || lease == 0 {
		return page, err
	}
	page = append(page[:len(page)-1], `,"lease":`...)
	return append(strconv.AppendInt(page, int64(lease/time.Second), 10), '}'), nil
}
