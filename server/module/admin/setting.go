package admin

import (
	"satchel/internal/entity"
	"satchel/internal/fault"
	"satchel/server/module/sla"
)

// Keys of the settings there are.
const (
	// GuestAgentOwnJobs narrows what guest agents see to the jobs of their own
	// activities.
	GuestAgentOwnJobs = "guest-agent-own-jobs"
	// SecondFactorForAdministrators makes customer administrators sign in with
	// a second factor: who has none chooses one while signing in.
	SecondFactorForAdministrators = "second-factor-for-administrators"
	// OfflineLease is for how many days a device shows what it holds without a
	// contact with the server. Without a record they are OfflineLeaseDays; a
	// record that is off lets devices show it for ever.
	OfflineLease = "offline-lease"
	// ReadNotificationsKept and UnreadNotificationsKept say for how many days
	// notifications are kept once they are read, and as long as they are not;
	// without a record, or with one that is off, 30 and 180.
	ReadNotificationsKept   = "read-notifications-kept"
	UnreadNotificationsKept = "unread-notifications-kept"
	// ServiceLevelTargets says by when tickets and jobs are due that nobody gave
	// a time; without a record, or for a pair that its targets lack, the usual
	// ones of package sla count. Off, they are given none.
	ServiceLevelTargets = sla.Setting
)

// MaxNotificationDays is the longest that notifications can be chosen to be kept.
const MaxNotificationDays = 3650

// OfflineLeaseDays is how long an offline lease is where the tenant chose none,
// MaxOfflineLeaseDays the longest; whoever wants it longer turns it off.
const (
	OfflineLeaseDays    = 30
	MaxOfflineLeaseDays = 365
)

// longest is how many days a setting that is a time may have.
var longest = map[string]int64{
	OfflineLease: MaxOfflineLeaseDays, ReadNotificationsKept: MaxNotificationDays, UnreadNotificationsKept: MaxNotificationDays,
}

// Setting is one choice that the tenant made about how the manual is to be
// read; what has no record is off, unless its key says otherwise.
var Setting = &entity.Type{
	No: 912, Name: "setting", Apps: app, Rank: 68,
	Fields: []*entity.Field{
		entity.OneOf(1, "key", GuestAgentOwnJobs, SecondFactorForAdministrators, OfflineLease, ReadNotificationsKept, UnreadNotificationsKept,
			ServiceLevelTargets).Need().Fixed(),
		entity.Flag(2, "on"),
		// Of settings that are a time.
		entity.Integer(3, "days").AtLeast(1),
		// Of service-level-targets.
		sla.Targets(4),
	},
	Check: func(_ entity.Context, _, after *entity.Record) error {
		most, timed := longest[after.Get("key").Text()]
		days := after.Get("days")
		switch {
		case !timed && !days.IsNull():
			return fault.Newf(fault.BadValue, "This setting has no days.").OnField("days")
		case days.Int() > most:
			return fault.Newf(fault.BadValue, "This setting has at most %d days.", most).OnField("days")
		case after.Get("key").Text() != ServiceLevelTargets && !after.Get("targets").IsNull():
			return fault.Newf(fault.BadValue, "This setting has no targets.").OnField("targets")
		}
		return sla.CheckTargets(after.Get("targets"))
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
