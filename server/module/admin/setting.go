package admin

import (
	"satchel/internal/entity"
	"satchel/internal/fault"
)

// Keys of the settings there are.
const (
	// GuestAgentOwnJobs narrows what guest agents see to the jobs of their own
	// activities.
	GuestAgentOwnJobs = "guest-agent-own-jobs"
	// SecondFactorForAdministrators makes customer administrators sign in with
	// a second factor: who has none chooses one while signing in.
	SecondFactorForAdministrators = "second-factor-for-administrators"
)

// Setting is one choice that the tenant made about how the manual is to be
// read; what has no record is off.
var Setting = &entity.Type{
	No: 912, Name: "setting", Apps: app, Rank: 68,
	Fields: []*entity.Field{
		entity.OneOf(1, "key", GuestAgentOwnJobs, SecondFactorForAdministrators).Need().Fixed(),
		entity.Flag(2, "on"),
	},
	Created: func(c entity.Context, r *entity.Record) error {
		twice := false
		c.Each("setting", "key", r.Get("key").Text(), func(o *entity.Record) bool {
			twice = o.ID != r.ID
			return !twice
		})
		if twice {
			return fault.New(fault.Duplicate).OnField("key")
		}
		return nil
	},
}
