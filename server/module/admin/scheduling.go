package admin

import (
	"errors"

	"satchel/internal/calendar"
	"satchel/internal/entity"
	"satchel/internal/fault"
)

// SchedulingRole is what people are dispatched as: what its holders can do,
// when they work, and who may send them. An activity may ask for one; it gives
// no rights to data. The core judges by it who can be given an activity.
var SchedulingRole = &entity.Type{
	No: 907, Name: "schedulingRole", Apps: app, Rank: 1,
	Fields: []*entity.Field{
		entity.Str(1, "name").Need().Only().Searched(),
		entity.Long(2, "description").UpTo(2000),
		entity.Set(3, "skills").UpTo(50),
		// The weekly hours; without any, holders work at all times. Who works past
		// midnight has two lines, until 24:00 and from 00:00.
		entity.List(4, "hours",
			entity.OneOf(1, "day", calendar.Weekdays...).Need(),
			entity.Str(2, "from").Need().UpTo(5),
			entity.Str(3, "until").Need().UpTo(5),
		).UpTo(50),
		// By how many minutes hours and daysOff are ahead of UTC. It is no time
		// zone: whoever keeps the role moves it with the summer time.
		entity.Integer(5, "utcOffset").AtLeast(calendar.MinOffset),
		// Dates on which nobody works, as 2026-12-25.
		entity.Set(6, "daysOff").UpTo(400),
		// Those who hold one of these may dispatch its holders; without any, all
		// who may assign. Everybody may take work themselves.
		entity.ToMany(7, "dispatchedBy", "schedulingRole").UpTo(50),
	},
	Check: func(_ entity.Context, _, after *entity.Record) error {
		_, err := calendar.Of(after)
		if f := (*calendar.Fault)(nil); errors.As(err, &f) {
			return fault.Newf(fault.BadValue, "%s", f.Words).OnField(f.Field)
		}
		return err
	},
}
